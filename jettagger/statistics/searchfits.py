"""Fits of the templates of a search: parameters, impacts, goodness of fit, significance; needs the extra ``stats``.

The strength may be negative in these fits, so that its estimate is unbiased, unless bins without data would be expected
to have less than nothing: then it ends at zero. The goodness of fit is the saturated one
(R. D. Cousins, 2013): -2 ln L relative to a model in which each bin is as observed. The significance is the square root
of q0 of Cowan, Cranmer, Gross and Vitells (2011), zero for a negative strength.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from jettagger.arguments import Workspace, guard, in_range
from jettagger.display import Brief
from jettagger.errors import InvalidValues
from jettagger.statistics.fits import Likelihood, asimov, guess_strength, model_of, toys_at
from jettagger.statistics.toyfits import toy_deviances
from jettagger.statistics.transfer import COEFFICIENT, YIELD, joined
from jettagger.statistics.workspaces import unit_of
from jettagger.types import Floats

__all__ = [
    "FittedParameter",
    "SaturatedTest",
    "SearchFit",
    "SpectrumFit",
    "StrengthImpact",
    "fit_search",
    "fitted_spectra",
    "plain",
    "steps",
]

#: how the names of the parameters of simulated statistics begin
MCSTAT = "mcstat_"
#: bounds of the strength, in units of two standard deviations of the background
NEGATIVE, POSITIVE = -10.0, 1e4
#: groups that are always there
DATA, SIMULATION = "data", "simulated events"
#: that of the parameters of backgrounds from data, where there are any
FROM_DATA = "backgrounds from data"


@dataclass(frozen=True)
class FittedParameter(Brief):
    """A parameter after the fit.

    Attributes
    ----------
    name : str
        With an index for one of several bins.
    value, uncertainty : float
        The uncertainty is 0 at a bound.
    pull : float or None
        (value - nominal) / width before the fit; None for free parameters.
    constraint : float or None
        Uncertainty relative to the width before the fit; None for free parameters.
    at_bound : bool
        Whether the fit ended at a bound of the parameter.
    """

    name: str
    value: float
    uncertainty: float
    pull: float | None
    constraint: float | None
    at_bound: bool = False


@dataclass(frozen=True)
class StrengthImpact(Brief):
    """Changes of the strength, in units of the signal, if a parameter is moved and fixed.

    Attributes
    ----------
    name : str
    up, down : float or None
        By one standard deviation after the fit; None if the fit does not converge.
    prefit_up, prefit_down : float or None
        By one before the fit; None for free parameters, too.
    """

    name: str
    up: float | None
    down: float | None
    prefit_up: float | None
    prefit_down: float | None

    @property
    def size(self) -> float:
        """The larger of both changes after the fit."""
        return max(abs(self.up or 0.0), abs(self.down or 0.0))


@dataclass(frozen=True)
class SaturatedTest(Brief):
    """The saturated goodness of fit.

    Attributes
    ----------
    statistic : float
        -2 ln L relative to the saturated model.
    degrees : int
        Bins minus free parameters.
    asymptotic : float
        Probability of a larger value for a chi-square distribution.
    toys : int
        Number of toys whose fit converged.
    probability : float or None
        Fraction of toys with a larger value; None without toys.
    uncertainty : float or None
        Its binomial standard deviation.
    failed : int
        Number of toys whose fit does not converge; they are left out.
    """

    statistic: float
    degrees: int
    asymptotic: float
    toys: int = 0
    probability: float | None = None
    uncertainty: float | None = None
    failed: int = 0


@dataclass(frozen=True)
class SpectrumFit(Brief):
    """Expected and observed events of a region.

    Attributes
    ----------
    region : str
    processes : dict of str to float64[bins]
        The signal among them.
    total, uncertainty : float64[bins]
        Sum of all, and its total uncertainty.
    data : float64[bins]
    """

    region: str
    processes: dict[str, Floats]
    total: Floats
    uncertainty: Floats
    data: Floats


@dataclass(frozen=True)
class SearchFit(Brief):
    """The fit of one signal.

    Attributes
    ----------
    signal : str
    mass : float
        In GeV.
    strength, uncertainty : float
        In units of the signal.
    parameters : tuple of FittedParameter
        Without the strength.
    names : tuple of str
        All parameters that float in the fit, the strength among them.
    correlation : float64[names, names]
    impacts : tuple of StrengthImpact
        From the largest to the smallest.
    groups : dict of str to float
        Group of uncertainties -> its contribution to the uncertainty of the strength, subtracted in quadrature;
        ``data`` is what remains without all uncertainties.
    goodness : SaturatedTest or None
        None if nothing was observed.
    significance : float or None
        In standard deviations; None if nothing was observed.
    expected_significance : float
        For the signal as simulated.
    prefit, postfit : tuple of SpectrumFit
    asimov : bool
        Whether the data are the sum of the backgrounds in some region, so that nothing is observed.
    """

    signal: str
    mass: float
    strength: float
    uncertainty: float
    parameters: tuple[FittedParameter, ...]
    names: tuple[str, ...]
    correlation: Floats
    impacts: tuple[StrengthImpact, ...]
    groups: dict[str, float]
    goodness: SaturatedTest | None
    significance: float | None
    expected_significance: float
    prefit: tuple[SpectrumFit, ...] = field(repr=False)
    postfit: tuple[SpectrumFit, ...] = field(repr=False)
    asimov: bool = False

    def to_dict(self) -> dict[str, Any]:
        """All numbers for JSON."""
        made: dict[str, Any] = plain(self)
        return made

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> SearchFit:
        """A fit of its numbers.

        Parameters
        ----------
        content : mapping
            From `to_dict`, also by way of JSON.

        Returns
        -------
        SearchFit

        Raises
        ------
        KeyError, TypeError
            If it is something else.
        """
        arrays = ("total", "uncertainty", "data")
        spectra = {
            when: tuple(
                SpectrumFit(
                    item["region"],
                    {name: np.asarray(values) for name, values in item["processes"].items()},
                    *(np.asarray(item[name]) for name in arrays),
                )
                for item in content[when]
            )
            for when in ("prefit", "postfit")
        }
        good = content["goodness"]
        changed = {
            "parameters": tuple(FittedParameter(**item) for item in content["parameters"]),
            "names": tuple(content["names"]),
            "correlation": np.asarray(content["correlation"]),
            "impacts": tuple(StrengthImpact(**item) for item in content["impacts"]),
            "goodness": None if good is None else SaturatedTest(**good),
        }
        return cls(**{**content, **changed, **spectra})


def plain(value: Any) -> Any:
    """Results for JSON: dataclasses are mappings, arrays are lists.

    Parameters
    ----------
    value : dataclass, mapping, sequence, array or number
    """
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if hasattr(value, "__dataclass_fields__"):
        return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
    return value


def fit_search(
    workspace: Workspace,
    *,
    signal: str = "",
    mass: float = 0.0,
    asimov_data: bool = False,
    toys: int = 0,
    seed: int = 1,
    groups: Mapping[str, Sequence[str]] | None = None,
    scales: Mapping[str, Sequence[float] | Floats] | None = None,
    progress: Callable[[int], Any] | None = None,
    workers: int = 1,
) -> SearchFit:
    """Fit the workspace of one signal.

    Parameters
    ----------
    workspace : mapping
        In pyhf's JSON format.
    signal : str
    mass : float
        Stored with the result, in GeV.
    asimov_data : bool
        Whether the data are the sum of the backgrounds in some region: there is no observed significance and no
        goodness of fit then.
    toys : int
        Number of toys for the goodness of fit, drawn from the fitted model.
    seed : int
    groups : mapping, optional
        Group -> names of its uncertainties.
    scales : mapping, optional
        Region -> events in the workspace per event, float64[bins], where they differ (see
        :mod:`jettagger.statistics.workspaces`).
    progress : callable, optional
        Called with the number of parameters and toys done since its last call; `steps` is their sum.
    workers : int
        Number of processes that fit toys; it does not change the results.

    Returns
    -------
    SearchFit

    Raises
    ------
    InvalidValues
        If the fit does not converge.
    """
    in_range(toys, "fit_search(), argument toys", 0)
    in_range(workers, "fit_search(), argument workers", 1)
    what = f"signal {signal!r}" if signal else "the signal"
    guess, unit = guess_strength(workspace, what), unit_of(workspace)
    bounds = (NEGATIVE * guess, POSITIVE * guess)
    likelihood = Likelihood(workspace, bounds, guess)
    data, poi = likelihood.data, likelihood.model.config.poi_index
    point, best = likelihood.minimise(data, what)
    if (likelihood.deviance.rates(point) < 0).any():
        # bins without data have no logarithm that would forbid negative expectations
        bounds = (0.0, POSITIVE * guess)
        likelihood = Likelihood(workspace, bounds, guess)
        point, best = likelihood.minimise(data, what)
    covariance = likelihood.covariance(point, data, what)
    sigmas = np.sqrt(np.diag(covariance))
    names = list(likelihood.model.config.par_names)
    nominal, widths = _priors(likelihood)
    bounded = likelihood.at_bounds(point)
    advance = progress or (lambda number: None)
    parameters, impacts = [], []
    for index, name in enumerate(names):
        if index == poi or likelihood.fixed[index]:
            continue
        width = widths.get(index)
        pull = None if width is None else float((point[index] - nominal[index]) / width)
        constraint = None if width is None else float(sigmas[index] / width)
        parameters.append(
            FittedParameter(name, float(point[index]), float(sigmas[index]), pull, constraint, bool(bounded[index]))
        )
        impacts.append(_impact(likelihood, index, width, point, covariance, unit, what))
        advance(1)
    zero = likelihood.minimise(data, what, strength=0.0, start=point)[1]
    floating = [index for index in range(len(names)) if sigmas[index] > 0]
    correlation = covariance[np.ix_(floating, floating)] / np.outer(sigmas[floating], sigmas[floating])
    fit_toys = partial(toy_deviances, likelihood, workspace, (bounds, guess), point, workers=workers, advance=advance)
    goodness = None if asimov_data else _goodness(likelihood, point, best, toys, seed, fit_toys)
    prior = np.zeros_like(covariance)
    for index, width in widths.items():
        prior[index, index] = width**2 * (not likelihood.fixed[index])
    before = likelihood.start.copy()
    before[poi] = 1 / unit
    spectra = {
        name: tuple(fitted_spectra(likelihood, where, spread, workspace, scales or {}))
        for name, where, spread in (("prefit", before, prior), ("postfit", point, covariance))
    }
    return SearchFit(
        signal,
        mass,
        float(point[poi]) * unit,
        float(sigmas[poi]) * unit,
        tuple(parameters),
        tuple(names[index] for index in floating),
        correlation,
        tuple(sorted(impacts, key=lambda item: -item.size)),
        _contributions(likelihood, covariance, groups or {}, unit),
        goodness,
        None if asimov_data else _significance(point[poi], zero, best),
        _expected_significance(likelihood, 1 / unit, what),
        spectra["prefit"],
        spectra["postfit"],
        asimov_data,
    )


def steps(workspace: Workspace, *, asimov_data: bool = False, toys: int = 0) -> int:
    """Number of parameters and toys of `fit_search`, for its progress.

    Parameters
    ----------
    workspace, asimov_data, toys
        As for `fit_search`.

    Returns
    -------
    int
    """
    model, _ = model_of(workspace, validate=False)
    floating = len(model.config.par_names) - sum(model.config.suggested_fixed()) - 1
    return floating + (0 if asimov_data else toys)


def _priors(likelihood: Likelihood) -> tuple[dict[int, float], dict[int, float]]:
    """Nominal values and widths of the constrained parameters, by their positions."""
    where, positions, widths = likelihood.deviance.constraints
    nominal = dict(zip(positions.tolist(), likelihood.data[where].tolist(), strict=True))
    return nominal, dict(zip(positions.tolist(), widths.tolist(), strict=True))


def _significance(strength: float, zero: float, best: float) -> float:
    return math.sqrt(max(zero - best, 0.0)) if strength > 0 else 0.0


def _expected_significance(likelihood: Likelihood, strength: float, what: str) -> float:
    """That of data without fluctuations, which fit perfectly with this strength."""
    data = asimov(likelihood.model, strength)
    return math.sqrt(max(likelihood.minimise(data, what, strength=0.0)[1], 0.0))


def _impact(
    likelihood: Likelihood,
    index: int,
    width: float | None,
    point: Floats,
    covariance: Floats,
    unit: float,
    what: str,
) -> StrengthImpact:
    """Of one parameter; those of single bins of the simulation are the limit for small changes, from the covariance."""
    poi, name = likelihood.model.config.poi_index, likelihood.model.config.par_names[index]
    sigma = math.sqrt(covariance[index, index])
    column = covariance[:, index] / sigma**2 if sigma > 0 else np.zeros(len(point))

    def change(size: float | None) -> float | None:
        if size is None:
            return None
        if name.startswith((MCSTAT, YIELD)) or sigma == 0:
            return float(column[poi] * size) * unit
        moved = float(np.clip(point[index] + size, likelihood.low[index], likelihood.high[index]))
        start = np.clip(point + column * (moved - point[index]), likelihood.low, likelihood.high)
        try:
            found, _ = likelihood.minimise(likelihood.data, what, fixed={index: moved}, start=start)
        except InvalidValues:
            return None
        return float(found[poi] - point[poi]) * unit

    below = None if width is None else -width
    return StrengthImpact(name, change(sigma), change(-sigma), change(width), change(below))


def _contributions(
    likelihood: Likelihood, covariance: Floats, groups: Mapping[str, Sequence[str]], unit: float
) -> dict[str, float]:
    """What groups add to the variance of the strength: with their parameters fixed it is smaller."""
    poi, names = likelihood.model.config.poi_index, list(likelihood.model.config.par_names)
    floating = [index for index in range(len(names)) if covariance[index, index] > 0]
    if poi not in floating:
        return {}
    precision = np.linalg.inv(covariance[np.ix_(floating, floating)])

    def variance(fixed: set[int]) -> float:
        left = [row for row, index in enumerate(floating) if index not in fixed]
        inverse = np.linalg.inv(precision[np.ix_(left, left)])
        position = [floating[row] for row in left].index(poi)
        return float(inverse[position, position])

    total = variance(set())
    members = {group: {names.index(name) for name in items if name in names} for group, items in groups.items()}
    members[SIMULATION] = {index for index, name in enumerate(names) if name.startswith(MCSTAT)}
    of_data = {index for index, name in enumerate(names) if name.startswith((COEFFICIENT, YIELD))}
    members |= {FROM_DATA: of_data} if of_data else {}
    found = {group: math.sqrt(max(total - variance(fixed), 0.0)) * unit for group, fixed in members.items() if fixed}
    return {**found, DATA: math.sqrt(variance(set(range(len(names))) - {poi})) * unit}


def _goodness(
    likelihood: Likelihood,
    point: Floats,
    best: float,
    number: int,
    seed: int,
    fit_toys: Callable[[Floats], list[float | None]],
) -> SaturatedTest:
    from scipy.stats import chi2

    model = likelihood.model
    bins = sum(model.config.channel_nbins.values())
    free = int(np.count_nonzero(~likelihood.fixed)) - len(likelihood.deviance.constraints[0])
    degrees = max(bins - free, 0)
    values = fit_toys(toys_at(model, point, number, seed)) if number else []
    converged = sum(value is not None for value in values)
    larger, failed = sum(value is not None and value >= best for value in values), len(values) - converged
    asymptotic = float(chi2.sf(best, degrees)) if degrees else 1.0
    if not converged:
        return SaturatedTest(best, degrees, asymptotic, failed=failed)
    probability = larger / converged
    # the binomial standard deviation, with half an event where none or all are larger
    share = min(max(probability, 0.5 / converged), 1 - 0.5 / converged)
    uncertainty = math.sqrt(share * (1 - share) / converged)
    return SaturatedTest(best, degrees, asymptotic, converged, probability, uncertainty, failed)


def fitted_spectra(
    likelihood: Likelihood,
    point: Floats,
    covariance: Floats,
    workspace: Mapping[str, Any],
    scales: Mapping[str, Any],
) -> list[SpectrumFit]:
    """Expected events in each region, in events and not in those of the workspace.

    Parameters
    ----------
    likelihood : Likelihood
    point : float64[parameters]
    covariance : float64[parameters, parameters]
    workspace : mapping
        Of the likelihood.
    scales : mapping
        As for `fit_search`.

    Returns
    -------
    list of SpectrumFit
    """
    contents = iter(likelihood.deviance.contents(point))
    of_cells: dict[str, dict[str, Any]] = {}
    for channel in likelihood.model.spec["channels"]:
        found_in = of_cells.setdefault(channel["name"], {})
        for sample in channel["samples"]:
            process = joined(sample)
            found_in[process] = found_in.get(process, 0.0) + next(contents)
    jacobian = likelihood.deviance.jacobian(point)
    sigmas = np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", jacobian, covariance, jacobian), 0.0))
    slices = likelihood.model.config.channel_slices
    found = []
    for channel in workspace["channels"]:
        region = channel["name"]
        where = slices[region]
        per_event = np.asarray(scales.get(region, 1.0), dtype=np.float64)
        processes = {name: values / per_event for name, values in of_cells[region].items()}
        total = np.sum(list(processes.values()), axis=0)
        data = likelihood.data[: len(sigmas)][where] / per_event
        found.append(SpectrumFit(region, processes, total, sigmas[where] / per_event, data))
    return found


guard(globals())
