"""The linear form: a score minus a straight line in rho' = ln(m^2 / (pt * 1 GeV)).

Dolen et al., Thinking outside the ROCs: Designing Decorrelated Taggers (DDT) for jet substructure, arXiv:1603.00027.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from jettagger.arguments import guard, in_range
from jettagger.decorrelation.grid import POSITIVE, binning_node, formula_node, inputs_of
from jettagger.decorrelation.mapfile import DecorrelationMap, as_discriminant, category, map_text, variables
from jettagger.discriminants import Discriminant
from jettagger.discriminants.derived import NEVER, SYSTEMATICS, ThresholdCurve, background_sample
from jettagger.errors import ConfigError, InvalidValues, UnknownName
from jettagger.types import Floats

__all__ = ["LinearMap", "fit_linear"]


class LinearMap(DecorrelationMap):
    """``score - slope * (rho' - pivot)`` with ``rho' = ln(m^2 / (pt * 1 GeV))``.

    Attributes
    ----------
    slope, slope_uncertainty, offset : float
        Of the straight line ``offset + slope * rho'`` that was fitted to the background.
    pivot : float
        The rho' at which the number is the score itself.
    range : tuple of float
        The rho' of the fit; the line is used beyond it, too.
    """

    method: ClassVar[str] = "linear"

    def _read(self, described: dict[str, Any]) -> None:
        super()._read(described)
        record = self.record
        self.slope, self.slope_uncertainty = float(record["slope"]), float(record["slope_uncertainty"])
        self.offset, self.pivot = float(record["offset"]), float(record["pivot"])
        low, high = record["range"]
        self.range = (float(low), float(high))

    def _rows(self) -> list[list[str]]:
        record = self.record
        return [
            ["statistic", "slope", "uncertainty", "offset", "pivot", "range of rho'", "chi2 / ndf", "bins"],
            [
                record["statistic"],
                f"{self.slope:.6g}",
                f"{self.slope_uncertainty:.2g}",
                f"{self.offset:.6g}",
                f"{self.pivot:g}",
                f"{self.range[0]:.4g} to {self.range[1]:.4g}",
                f"{record['chi2']:.4g} / {record['ndf']}",
                str(len(record["profile"])),
            ],
        ]


def fit_linear(
    discriminant: Discriminant | str,
    background: Any,
    *,
    weights: Any = None,
    columns: Mapping[str, str] | None = None,
    range: tuple[float, float] | None = None,
    bins: int = 20,
    statistic: str = "mean",
    pivot: float = 0.0,
    signal: str = "high",
    least: float = 10.0,
    prefix: str | None = None,
    collection: str = "FatJet",
    model: Any = None,
    name: str = "",
) -> LinearMap:
    """Fit the linear form to a background.

    The mean (or median) of the score in bins of rho' is fitted with a straight line by least squares, weighted with
    the inverse variances of the means.

    Parameters
    ----------
    discriminant : Discriminant or str
        The score; as text a preset, an expression, or the name of a column such as ``tau2 / tau1``.
    background : jets
        A background sample, in any form accepted by discriminants.
    weights : array or False, optional
        One per jet or one per event; default: the generator weights of the table, if any. False: none.
    columns : mapping, optional
        The columns of ``mass`` and ``pt``; default: ``msoftdrop`` and ``pt``.
    range : (float, float), optional
        The rho' of the fit; default: from the 2 % to the 98 % quantile of the background.
    bins : int
        Bins of equal width in the range; those with fewer than ``least`` effective jets are left out and counted.
    statistic : {"mean", "median"}
    pivot : float
        The rho' at which the number is the score itself; 0 in the publication.
    signal : {"high", "low"}
        Whether signal has high or low scores (``low`` for tau21), which determines the value for jets outside.
    least : float
        Minimum effective number of jets in a bin.
    prefix, collection, model
        As for discriminants and working points.
    name : str
        Of the map; default: that of the discriminant.

    Returns
    -------
    LinearMap

    Raises
    ------
    ConfigError, UnknownName
        If an option is invalid.
    InvalidValues
        If a protected column is constant or missing everywhere, or fewer than three bins have enough jets.
    MissingColumns, MismatchError
        As for `jettagger.discriminants.derive`.

    Examples
    --------
    >>> random = np.random.default_rng(1)
    >>> jets = {"msoftdrop": random.uniform(50, 200, 5000), "pt": random.uniform(300, 600, 5000)}
    >>> jets["tau21"] = 0.6 - 0.06 * np.log(jets["msoftdrop"] ** 2 / jets["pt"]) + 0.1 * random.normal(size=5000)
    >>> line = fit_linear("tau21", jets, signal="low", name="tau21DDT")
    >>> round(line.slope, 2)
    -0.06
    """
    item = as_discriminant(discriminant)
    for key, value, known in (("statistic", statistic, ("mean", "median")), ("signal", signal, ("high", "low"))):
        if value not in known:
            raise UnknownName(key, value, known, "fit_linear()")
    in_range(bins, "fit_linear(), argument bins", 3)
    in_range(least, "fit_linear(), argument least", 2)
    inputs = inputs_of({"mass": 1, "pt": 1}, columns)
    sample = background_sample(
        item, background, inputs, weights=weights, prefix=prefix, collection=collection, model=model, what="lines"
    )
    rho = rho_prime(sample.columns["mass"], sample.columns["pt"])
    scored = np.isfinite(sample.scores)
    used = scored & np.isfinite(rho)
    if not used.any():
        raise InvalidValues(
            f"rho' is defined for none of {int(scored.sum())} jets: it needs a mass and a pt above zero"
        )
    if rho[used].min() == rho[used].max():
        raise InvalidValues(f"rho' has the single value {rho[used][0]:g} in all {int(used.sum())} jets: no line fits")
    if range is None:
        curve = ThresholdCurve(rho[used], np.abs(sample.weights[used]))
        range = (curve.at(0.98), curve.at(0.02))
    low, high = float(range[0]), float(range[1])
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ConfigError(f"the range of rho' must be two rising numbers, got {range}")
    edges = np.linspace(low, high, bins + 1)
    profile, left_out = [], 0
    for first, last in itertools.pairwise(edges):
        chosen = used & (rho >= first) & (rho < last)
        entry = _mean(rho[chosen], sample.scores[chosen], sample.weights[chosen], statistic, least)
        left_out += entry is None
        profile += [] if entry is None else [entry]
    if len(profile) < 3:
        raise InvalidValues(
            f"only {len(profile)} of {bins} bins of rho' from {low:.4g} to {high:.4g} have {least:g} effective jets: "
            f"expected at least three; {int(used.sum())} jets have a rho'"
        )
    place, means, error = (np.array([entry[key] for entry in profile]) for key in ("rho", "value", "uncertainty"))
    if not bool((error > 0).all()):
        raise InvalidValues("the score is constant in a bin of rho': its mean has no uncertainty to weight it with")
    basis = np.column_stack([np.ones(len(place)), place]) / error[:, None]
    (offset, slope), *_ = np.linalg.lstsq(basis, means / error, rcond=None)
    covariance = np.linalg.inv(basis.T @ basis)
    chi2 = float((((means - offset - slope * place) / error) ** 2).sum())
    uncertainty = float(math.sqrt(covariance[1, 1]))
    outside = -NEVER if signal == "high" else NEVER
    record = {
        "jets": int(used.sum()),
        "outside": int((scored & ~used).sum()),
        "in_range": int((used & (rho >= low) & (rho < high)).sum()),
        "slope": float(slope),
        "slope_uncertainty": uncertainty,
        "offset": float(offset),
        "offset_uncertainty": float(math.sqrt(covariance[0, 0])),
        "pivot": float(pivot),
        "range": [low, high],
        "statistic": statistic,
        "signal": signal,
        "chi2": chi2,
        "ndf": len(profile) - 2,
        "bins_left_out": left_out,
        "profile": profile,
    }
    # a steeper line lowers the numbers at high rho', so that up is the threshold that is higher there
    slopes = dict(zip(SYSTEMATICS, (slope, slope + uncertainty, slope - uncertainty), strict=True))

    def corrections(title: str) -> list[dict[str, Any]]:
        tree: Any = category(
            "systematic",
            {
                key: formula_node("x-[0]*(log(y*y/z)-[1])", ["score", "mass", "pt"], [float(number), float(pivot)])
                for key, number in slopes.items()
            },
        )
        for axis in ("pt", "mass"):
            tree = binning_node(axis, (POSITIVE, math.inf), [tree], outside)
        text = f"{title} = {item} minus {slope:.6g} * (ln(m^2 / (pt * 1 GeV)) - {pivot:g}); {outside:g} outside"
        return [
            {
                "name": title,
                "description": text,
                "version": 1,
                "inputs": variables(inputs, score=str(item)),
                "output": {"name": "number", "type": "real", "description": "decorrelated score"},
                "data": tree,
            }
        ]

    return LinearMap(
        map_text(
            "linear",
            item,
            sample,
            name=name,
            inputs=inputs,
            record=record,
            corrections=corrections,
            outside=outside,
            efficiencies={},
        )
    )


def rho_prime(mass: Floats, pt: Floats) -> Floats:
    """``ln(m^2 / (pt * 1 GeV))``, NaN where mass or pt is not above zero.

    Examples
    --------
    >>> rho_prime(np.array([20.0, 0.0]), np.array([400.0, 400.0]))
    array([ 0., nan])
    """
    defined = (mass >= POSITIVE) & (pt >= POSITIVE)
    mass, pt = np.where(defined, mass, 1.0), np.where(defined, pt, 1.0)
    return np.where(defined, np.log(mass * mass / pt), np.nan)


def _mean(rho: Floats, scores: Floats, weights: Floats, statistic: str, least: float) -> dict[str, float] | None:
    """One point of the profile, or None if it has too few jets."""
    total, squares = float(weights.sum()), float((weights**2).sum())
    if not (total > 0 and total**2 / squares >= least):
        return None
    place = float((weights * rho).sum() / total)
    if statistic == "median":
        point = ThresholdCurve(scores, weights).point(0.5)
        return {"rho": place, "value": point["threshold"], "uncertainty": (point["up"] - point["down"]) / 2}
    mean = float((weights * scores).sum() / total)
    sigma = math.sqrt(float((weights**2 * (scores - mean) ** 2).sum())) / total
    return {"rho": place, "value": mean, "uncertainty": sigma}


guard(globals(), "fit_linear")
