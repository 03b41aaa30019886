"""A standard correction from simulated jets: pile-up offset, then the inverted median response in |eta| and pt.

The offset is linear in rho * area and in the number of vertices, with slopes in bins of |eta|; it is zero without
pile-up. What is left is divided by the median response, a function of |eta| and pt that is linear in ln(pt) between
nodes, such that the median of the corrected over the true pt is one in bins of the true pt (numerical inversion, with
the remaining deviation iterated away). It is what JES corrections of simulation do (CMS, JINST 12 (2017) P02014), and
knows no flavour and no constituents.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from jettagger._version import __version__
from jettagger.arguments import Numbers, guard, in_range
from jettagger.display import Brief
from jettagger.errors import ConfigError, InputFileError, InvalidValues, MismatchError
from jettagger.files.corrections import CorrectionText
from jettagger.files.jsonfile import parse_json
from jettagger.statistics.bootstrap import BinnedQuantiles
from jettagger.types import Floats, Ints

__all__ = [
    "STANDARD_ETA",
    "STANDARD_PT",
    "ClosureBin",
    "StandardCorrection",
    "derive_standard",
]

#: bins of |eta| of the jets; the last one reaches beyond
STANDARD_ETA = (0.0, 0.4, 0.8, 1.2, 1.6, 2.0, 2.25, 2.5, 2.75, 3.0, 3.5, 5.0)

#: bins of the true pt in GeV, 15 % wide; below, thresholds on the pt of jets keep upward fluctuations only
STANDARD_PT: tuple[float, ...] = tuple(float(edge) for edge in np.geomspace(20.0, 4000.0, 39))

#: jets in a bin of |eta|, over those in one of |eta| and pt: slopes of fewer jets are mostly statistical fluctuations
_PER_ETA = 10

#: smallest factor of the offset: more than this part of the pt is not taken for pile-up
FLOOR = 0.1

#: inputs of the corrections, as the branches of shards are named
INPUTS: Mapping[str, str] = {
    "eta": "pseudorapidity of the jet",
    "area": "area of the jet",
    "rho": "median energy density of the event in GeV",
    "num_pv": "number of reconstructed vertices",
    "pt": "uncorrected pt of the jet in GeV; for 'response' after the offset",
}

#: name of the compound correction
NAME = "standard"

_FORMAT = "standard correction 1"


@dataclass(frozen=True)
class ClosureBin(Brief):
    """Deviation of the median of corrected over true pt from one, for the jets of the derivation.

    Attributes
    ----------
    eta, pt : (float, float)
        Range of |eta| and of the true pt in GeV.
    jets : int
    response : float
        Median before the correction.
    closure : float
        Median after it.
    """

    eta: tuple[float, float]
    pt: tuple[float, float]
    jets: int
    response: float
    closure: float


class StandardCorrection(CorrectionText):
    """A standard correction of jets as a value: correctionlib JSON.

    Its compound correction ``standard`` is the product of the corrections ``offset`` and ``response``.

    Parameters
    ----------
    text : str
        The JSON.
    name : str
        Its name in messages, e.g. that of the file.

    Raises
    ------
    InputFileError
        If it is not a standard correction.
    """

    title: ClassVar[str] = "standard correction"

    def __init__(self, text: str, name: str = "") -> None:
        super().__init__(text, name)
        content = self._parsed()
        try:
            self.record: dict[str, Any] = parse_json(content["description"], "description", kind=dict)["jettagger"]
            compounds = [item["name"] for item in content["compound_corrections"]]
        except (KeyError, TypeError, InputFileError):
            self.record, compounds = {}, []
        if self.record.get("format") != _FORMAT or NAME not in compounds:
            raise InputFileError(
                f"{self._name}: not a standard correction of 'jettagger jec standard': found the keys "
                f"{', '.join(map(str, content))}"
            )

    @property
    def closure(self) -> list[ClosureBin]:
        """The bins of the derivation, with the median response before and after."""
        return [
            ClosureBin((row["eta"][0], row["eta"][1]), (row["pt"][0], row["pt"][1]), *(row[key] for key in _NUMBERS))
            for row in self.record["closure"]
        ]

    def factor(self, pt: Numbers, eta: Numbers, area: Numbers, rho: Numbers, num_pv: Numbers) -> Floats:
        """The factor on the uncorrected pt.

        Parameters
        ----------
        pt, eta, area, rho, num_pv : float[jets]
            Of the jets and their events; pt without any correction in GeV.

        Returns
        -------
        float64[jets]
            NaN where an input is not finite, or the pt not positive.

        Raises
        ------
        MismatchError
            If the inputs differ in length.
        """
        given = {"eta": eta, "area": area, "rho": rho, "num_pv": num_pv, "pt": pt}
        arrays = {name: np.asarray(values, dtype=np.float64) for name, values in given.items()}
        _same_length(arrays)
        good = np.isfinite(np.stack(list(arrays.values()))).all(axis=0) & (arrays["pt"] > 0)
        factors = np.full(len(good), np.nan)
        if good.any():
            compound = self.corrections.compound[NAME]
            factors[good] = compound.evaluate(*(arrays[name][good] for name in INPUTS))
        return factors


_NUMBERS = ("jets", "response", "closure")


def _same_length(arrays: Mapping[str, Any]) -> None:
    lengths = {name: array.shape for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {int(np.prod(shape))}" for name, shape in lengths.items())
        raise MismatchError(f"inputs of different lengths: {listed}")


def derive_standard(
    pt: Numbers,
    eta: Numbers,
    area: Numbers,
    rho: Numbers,
    num_pv: Numbers,
    pt_gen: Numbers,
    *,
    weight: Numbers | None = None,
    eta_edges: Numbers = STANDARD_ETA,
    pt_edges: Numbers = STANDARD_PT,
    min_jets: int = 100,
    iterations: int = 20,
    tolerance: float = 0.001,
) -> StandardCorrection:
    """Derive a standard correction from matched jets.

    Parameters
    ----------
    pt, eta, area, rho, num_pv : float[jets]
        Of the jets and their events; pt without any correction in GeV.
    pt_gen : float[jets]
        True pt in GeV.
    weight : float[jets], optional
        Default: 1.
    eta_edges, pt_edges : float[bins + 1]
        Bins of |eta| and of the true pt in GeV; those with few jets are merged with the next.
    min_jets : int
        Number of jets in a merged bin of |eta| and pt, and a tenth of that in a bin of |eta|.
    iterations : int
        Maximum number of iterations of the closure.
    tolerance : float
        Largest deviation of the median of corrected over true pt from one at which the iteration ends.

    Returns
    -------
    StandardCorrection

    Raises
    ------
    ConfigError
        If edges do not rise, or numbers are out of range.
    MismatchError
        If the inputs differ in length.
    InvalidValues
        If there are too few jets.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> true, eta, rho = rng.uniform(20, 200, 4000), rng.uniform(-2, 2, 4000), rng.uniform(5, 40, 4000)
    >>> area, vertices = np.full(4000, 0.5), rng.poisson(30, 4000)
    >>> pt = 0.9 * true * rng.normal(1, 0.1, 4000) + 0.8 * rho * area
    >>> correction = derive_standard(pt, eta, area, rho, vertices, true, min_jets=500)
    >>> print(round(correction.factor([100.0], [0.3], [0.5], [20.0], [30])[0], 1))  # (100 - 8) / 0.9
    1.0
    """
    in_range(min_jets, "min_jets", 10)
    in_range(iterations, "iterations", 1)
    in_range(tolerance, "tolerance", 0, above=True)
    given = {"pt": pt, "eta": eta, "area": area, "rho": rho, "num_pv": num_pv, "pt_gen": pt_gen}
    arrays = {name: np.asarray(values, dtype=np.float64) for name, values in given.items()}
    arrays["weight"] = np.ones(len(arrays["pt"])) if weight is None else np.asarray(weight, dtype=np.float64)
    _same_length(arrays)
    edges = {"eta": _edges("eta_edges", eta_edges), "pt": _edges("pt_edges", pt_edges)}
    with np.errstate(invalid="ignore"):
        good = np.isfinite(np.stack(list(arrays.values()))).all(axis=0) & (arrays["pt"] > 0)
        good &= (arrays["pt_gen"] >= edges["pt"][0]) & (arrays["pt_gen"] < edges["pt"][-1])
    jets = {name: values[good] for name, values in arrays.items()}
    if len(jets["pt"]) < min_jets:
        raise InvalidValues(
            f"{len(jets['pt'])} of {len(good)} jets have finite inputs and a true pt from {edges['pt'][0]:g} to "
            f"{edges['pt'][-1]:g} GeV, expected at least {min_jets} (min_jets)"
        )
    # what is beyond the last edge is treated as the last bin
    jets["eta"] = np.minimum(np.abs(jets["eta"]), np.nextafter(edges["eta"][-1], 0))
    eta_bins = _merged(jets["eta"], edges["eta"], _PER_ETA * min_jets)
    made = [
        _derive_bin(jets, eta_bins, number, edges["pt"], min_jets, iterations, tolerance)
        for number in range(len(eta_bins) - 1)
    ]
    record = {
        "format": _FORMAT,
        "version": __version__,
        "jets": len(jets["pt"]),
        "left_out": int(np.count_nonzero(~good)),
        "weighted": weight is not None,
        "tolerance": tolerance,
        "iterations": [item.iterations for item in made],
        "closure": [asdict(row) for item in made for row in item.closure],
    }
    return StandardCorrection(_text(eta_bins, made, record))


def _edges(name: str, given: Any) -> Floats:
    values = np.asarray(given, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2 or not (np.diff(values) > 0).all() or values[0] < 0:
        raise ConfigError(
            f"{name}: expected at least 2 rising bin edges from 0 up, got {np.array2string(values, threshold=8)}"
        )
    return values


def _merged(values: Floats, edges: Floats, min_jets: int) -> Floats:
    """The edges between which there are at least so many jets; too few at the end are added to the bin before."""
    counts = np.histogram(values, edges)[0]
    kept, number = [float(edges[0])], 0
    for count, edge in zip(counts, edges[1:], strict=True):
        number += int(count)
        if number >= min_jets:
            kept.append(float(edge))
            number = 0
    if len(kept) == 1:
        return np.array([edges[0], edges[-1]])
    last = np.max(np.flatnonzero(counts), initial=0)
    kept[-1] = float(edges[last + 1])
    return np.array(kept)


@dataclass(frozen=True, eq=False)
class _EtaBin:
    """The correction in one bin of |eta|."""

    #: GeV per GeV of rho * area, and GeV per vertex
    slopes: Floats
    #: nodes in pt after the offset, and the factors there
    nodes: Floats
    factors: Floats
    iterations: int
    closure: Sequence[ClosureBin]


def _derive_bin(
    jets: Mapping[str, Floats],
    eta_edges: Floats,
    number: int,
    pt_edges: Floats,
    min_jets: int,
    iterations: int,
    tolerance: float,
) -> _EtaBin:
    low, high = eta_edges[number], eta_edges[number + 1]
    mask = (jets["eta"] >= low) & (jets["eta"] < high)
    pt, truth, weight = (jets[name][mask] for name in ("pt", "pt_gen", "weight"))
    edges = _merged(truth, pt_edges, min_jets)
    size = len(edges) - 1
    bins = np.clip(np.searchsorted(edges, truth, side="right") - 1, 0, size - 1)
    inputs = np.stack([jets["rho"][mask] * jets["area"][mask], jets["num_pv"][mask]], axis=1)
    slopes = _slopes(pt, inputs, bins, weight, size)
    pt_after = pt * np.maximum(1 - inputs @ slopes / pt, FLOOR)

    def medians(values: Floats) -> Floats:
        return BinnedQuantiles(values, bins, size).at(weight, [0.5])[0]

    response, places = medians(pt / truth), medians(pt_after)
    kept = _rising(places)
    nodes = np.log(places[kept])
    factors = -np.log(medians(pt_after / truth)[kept])
    done = 0
    while True:
        corrected = pt_after * np.exp(np.interp(np.log(pt_after), nodes, factors))
        closure = medians(corrected / truth)
        if np.nanmax(np.abs(closure[kept] - 1)) <= tolerance or done == iterations:
            break
        factors = factors - np.log(closure[kept])
        done += 1
    counts = np.bincount(bins, minlength=size)
    rows = [
        ClosureBin(
            (float(low), float(high)),
            (float(edges[row]), float(edges[row + 1])),
            int(counts[row]),
            float(response[row]),
            float(closure[row]),
        )
        for row in range(size)
        if math.isfinite(closure[row])
    ]
    return _EtaBin(slopes, np.exp(nodes), np.exp(factors), done, rows)


def _rising(places: Floats) -> Ints:
    """The bins whose medians rise, from high to low pt: a threshold on the pt of jets bends the lowest ones up."""
    kept: list[int] = []
    for number in range(len(places) - 1, -1, -1):
        if (
            math.isfinite(places[number])
            and places[number] > 0
            and (not kept or places[number] < 0.99 * places[kept[-1]])
        ):
            kept.append(number)
    return np.array(kept[::-1], dtype=np.int64)


def _slopes(pt: Floats, inputs: Floats, bins: Ints, weight: Floats, size: int) -> Floats:
    """Slopes of the median of pt at fixed true pt: least absolute deviations with a free constant in each bin.

    By iteratively reweighted least squares (E. Schlossmacher, J. Am. Stat. Assoc. 68 (1973) 857); deviations count in
    units of the spread of their bin.
    """
    low, middle, high = BinnedQuantiles(pt, bins, size).at(weight, [0.25, 0.5, 0.75])
    spread = np.maximum(high - low, 1e-3 * middle)[bins]
    slopes = np.zeros(inputs.shape[1])
    good = np.isfinite(spread) & (weight > 0)
    x, y, groups, scale, factor = inputs[good], pt[good], bins[good], spread[good], weight[good]

    def centred(values: Floats, weights: Floats) -> Floats:
        sums = np.bincount(groups, weights * values, size)
        return values - (sums / np.maximum(np.bincount(groups, weights, size), 1e-300))[groups]

    deviation = centred(y, factor)
    for _ in range(30):
        weights = factor / scale**2 / np.maximum(np.abs(deviation) / scale, 0.02)
        columns = np.stack([centred(column, weights) for column in x.T], axis=1)
        root = np.sqrt(weights)
        # inputs that are constant, or the same, get the smallest slopes that describe them
        size_of = np.sqrt((weights[:, None] * columns**2).sum(axis=0))
        unit = np.where(size_of > 1e-9 * max(float(size_of.max()), 1e-300), size_of, np.inf)
        found = np.linalg.lstsq(root[:, None] * columns / unit, root * centred(y, weights), rcond=1e-6)[0] / unit
        deviation = centred(y - x @ found, weights)
        if np.allclose(found, slopes, rtol=1e-5, atol=1e-7):
            break
        slopes = found
    return found


# ---------------------------------------------------------------------------------------- correctionlib


def _text(eta_edges: Floats, made: Sequence[_EtaBin], record: Mapping[str, Any]) -> str:
    offset = [
        {
            "nodetype": "formula",
            "expression": f"max(1-({_number(item.slopes[0])}*z*y+{_number(item.slopes[1])}*t)/x,{FLOOR!r})",
            "parser": "TFormula",
            "variables": ["pt", "area", "rho", "num_pv"],
        }
        for item in made
    ]
    response = [_response(item) for item in made]
    content = {
        "schema_version": 2,
        "description": json.dumps({"jettagger": dict(record)}, allow_nan=False),
        "corrections": [
            _correction("offset", list(INPUTS), _in_eta(eta_edges, offset)),
            {
                **_correction("response", ["eta", "pt"], _in_eta(eta_edges, response)),
                "generic_formulas": [
                    {
                        "nodetype": "formula",
                        "expression": "[0]*pow(x,[1])",
                        "parser": "TFormula",
                        "variables": ["pt"],
                    }
                ],
            },
        ],
        "compound_corrections": [
            {
                "name": NAME,
                "description": "factor on the uncorrected pt: offset, then response",
                "inputs": _variables(list(INPUTS)),
                "output": {"name": "factor", "type": "real"},
                "inputs_update": ["pt"],
                "input_op": "*",
                "output_op": "*",
                "stack": ["offset", "response"],
            }
        ],
    }
    return json.dumps(content, allow_nan=False) + "\n"


def _number(value: float) -> str:
    """A number in a formula, in parentheses if it has a sign."""
    return f"({value:.12g})"


def _variables(names: Sequence[str]) -> list[dict[str, str]]:
    return [{"name": name, "type": "real", "description": INPUTS[name]} for name in names]


def _correction(name: str, inputs: Sequence[str], data: Mapping[str, Any]) -> dict[str, Any]:
    texts = {"offset": "pile-up, linear in rho * area and num_pv", "response": "inverted median response"}
    return {
        "name": name,
        "description": texts[name],
        "version": 1,
        "inputs": _variables(inputs),
        "output": {"name": "factor", "type": "real"},
        "data": data,
    }


def _in_eta(edges: Floats, content: Sequence[Any]) -> dict[str, Any]:
    return {
        "nodetype": "transform",
        "input": "eta",
        "rule": {"nodetype": "formula", "expression": "abs(x)", "parser": "TFormula", "variables": ["eta"]},
        "content": {
            "nodetype": "binning",
            "input": "eta",
            "edges": edges.tolist(),
            "content": list(content),
            "flow": "clamp",
        },
    }


def _response(item: _EtaBin) -> dict[str, Any]:
    """Powers of pt between the nodes, constant beyond."""
    x, c = item.nodes, item.factors
    powers = np.diff(np.log(c)) / np.diff(np.log(x))
    pairs = [(float(c[0]), 0.0), *((float(c[n] * x[n] ** -powers[n]), float(powers[n])) for n in range(len(powers)))]
    pairs.append((float(c[-1]), 0.0))
    return {
        "nodetype": "binning",
        "input": "pt",
        "edges": [0.0, *x.tolist(), "inf"],
        "content": [{"nodetype": "formularef", "index": 0, "parameters": list(pair)} for pair in pairs],
        "flow": "clamp",
    }


guard(globals())
