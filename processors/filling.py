"""Histograms, cutflows and counts of one chunk of a search or a measurement; scaled sums of all chunks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from coffea.analysis_tools import PackedSelection, Weights
from jettagger.processors.candidates import CandidateColumns

from jettagger.display import Brief
from jettagger.errors import UnknownName
from jettagger.histograms import HistSpec, categories_of, sort_categories
from jettagger.search.definition import EVENTS, JETS, NOMINAL, Sample, Search
from jettagger.search.masses import without_mass_cuts

__all__ = ["SearchChunk", "check_column", "cutflow", "fill", "rounded", "scaled", "weight_variations"]

#: binary digits to which sums are rounded: ten decimal ones
DIGITS = 34


@dataclass(frozen=True)
class SearchChunk(Brief):
    """Data of a chunk that is common to all variations.

    Parameters
    ----------
    dataset : str
    sample : Sample
    events : NanoEvents
    numbers : int[events]
        Event numbers.
    generator : float64[events]
        Generator weights.
    passed : bool[events]
        Events that pass the event cut.
    histograms, curves : dict of str to hist.Hist
        Histograms to fill; curves are those of discriminants with fine bins, in inclusive regions.
    specs : mapping of str to HistSpec
        Specifications of the curves.
    masses : dict of str to hist.Hist
        Histograms of masses to fill without cuts on masses.
    mass_specs : mapping of str to HistSpec
        Their specifications.
    """

    dataset: str
    sample: Sample
    events: Any
    numbers: Any
    generator: Any
    passed: Any
    histograms: dict[str, Any] = field(default_factory=dict)
    curves: dict[str, Any] = field(default_factory=dict)
    specs: Mapping[str, HistSpec] = field(default_factory=dict)
    masses: dict[str, Any] = field(default_factory=dict)
    mass_specs: Mapping[str, HistSpec] = field(default_factory=dict)


def weight_variations(shift: str, weights: Weights) -> dict[str, str | None]:
    """The variations to fill with the jets of one variation.

    Parameters
    ----------
    shift : str
        The variation of the jets.
    weights : coffea.analysis_tools.Weights

    Returns
    -------
    dict of str to str or None
        Variation -> modifier of the weights: ``shift`` -> None, and with `NOMINAL` jets the variations of the weights.
    """
    names = sorted(str(name) for name in weights.variations) if shift == NOMINAL else []
    return {shift: None, **dict(zip(names, names, strict=True))}


def check_column(name: str, columns: CandidateColumns, where: str) -> None:
    """Refuse a column that does not exist.

    Parameters
    ----------
    name : str
        ``run``, or ``jet1.pt``.
    columns : CandidateColumns
    where : str
        What needs it.

    Raises
    ------
    UnknownName
        With the nearest names.
    """
    found: Any = columns
    for part in name.split("."):
        known = list(found) if isinstance(found, Mapping) else list(getattr(found, "fields", []))
        if part not in known:
            raise UnknownName("column", name, known, where)
        found = found[part]


def cutflow(selection: PackedSelection, cuts: Iterable[str], weights: Weights) -> dict[str, dict[str, float]]:
    """Events after each cut.

    Parameters
    ----------
    selection : coffea.analysis_tools.PackedSelection
    cuts : iterable of str
    weights : coffea.analysis_tools.Weights

    Returns
    -------
    dict
        Cut -> ``events`` and ``weighted``.
    """
    flow = selection.cutflow(*cuts, weights=weights).result()
    rows = zip(flow.labels, flow.nevcutflow, flow.wgtevcutflow, strict=True)
    return {str(label): {"events": int(events), "weighted": float(weight)} for label, events, weight in rows}


def fill(
    search: Search,
    chunk: SearchChunk,
    shift: str,
    columns: CandidateColumns,
    selection: PackedSelection,
    weights: Weights,
    factors: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Fill the histograms of a chunk for one variation of the jets.

    Parameters
    ----------
    search : Search
    chunk : SearchChunk
    shift : str
        The variation, or `NOMINAL`, for which the variations of weights are filled, too.
    columns : CandidateColumns
    selection : coffea.analysis_tools.PackedSelection
        All cuts.
    weights : coffea.analysis_tools.Weights
    factors : mapping of str to float64[events], optional
        Further variations, filled with the nominal jets: category -> factors of the nominal weights.

    Returns
    -------
    dict
        ``cutflow``, ``overlaps`` and ``passing`` of the nominal selection; empty for variations.

    Raises
    ------
    UnknownName
        If a histogram needs a column that does not exist.
    """
    variations = weight_variations(shift, weights)
    masks = {name: selection.all(EVENTS, JETS, *region.cuts) for name, region in search.regions.items()}
    arrays = {name: columns.find(name) for spec in search.histograms for name in _needs(spec, columns)}
    blind = search.blind and chunk.sample.data
    hidden = np.zeros(len(chunk.passed), dtype=bool)
    for region in search.signal_regions if blind else ():
        hidden |= masks[region]
    varied = {category: weights.weight(modifier) for category, modifier in variations.items()}
    if shift == NOMINAL:
        varied |= {category: varied[NOMINAL] * factor for category, factor in (factors or {}).items()}
    for region, mask in masks.items():
        mask = mask & ~hidden
        chosen = {name: array[mask] for name, array in arrays.items()}
        mine = {category: weight[mask] for category, weight in varied.items()}
        place = {"dataset": chunk.dataset, "region": region}
        for spec in search.histograms:
            spec.fill_variations(chunk.histograms[spec.name], chosen, mine, events=chunk.numbers[mask], **place)
        if shift == NOMINAL and search.regions[region].kind == "inclusive":
            for name, spec in chunk.specs.items():
                weight = {NOMINAL: mine[NOMINAL]}
                spec.fill_variations(chunk.curves[name], chosen, weight, events=chunk.numbers[mask], **place)
    if shift != NOMINAL:
        return {}
    for region, item in search.regions.items() if chunk.mass_specs and not chunk.sample.data else ():
        mask = selection.all(EVENTS, JETS, *without_mass_cuts(search, item))
        place = {"dataset": chunk.dataset, "region": region, "variation": NOMINAL}
        for name, spec in chunk.mass_specs.items():
            chosen = {column: arrays[column][mask] for column in spec.needs}
            spec.fill(chunk.masses[name], chosen, weights.weight()[mask], events=chunk.numbers[mask], **place)
    overlaps = {}
    kinds = {name: item.kind for name, item in search.regions.items()}
    for name, kind in kinds.items():
        for other in kinds:
            if kind == "signal" and kinds[other] in ("validation", "control"):
                shared = 0 if blind else int(np.count_nonzero(masks[name] & masks[other]))
                overlaps[f"{name} & {other}"] = shared
    passing = {} if chunk.sample.data else _passing(search, selection)
    flows = {name: cutflow(selection, (EVENTS, JETS, *region.cuts), weights) for name, region in search.regions.items()}
    return {"cutflow": {chunk.dataset: flows}, "overlaps": overlaps, "passing": passing}


def _passing(search: Search, selection: PackedSelection) -> dict[str, dict[str, int]]:
    """Numbers of events that pass and fail each cut: of all events, and of those with candidates."""
    found = {}
    if search.event_cut is not None:
        passed = int(np.count_nonzero(selection.all(EVENTS)))
        found[EVENTS] = {"passed": passed, "failed": len(selection.all(EVENTS)) - passed}
    for name in search.cuts:
        found[name] = {
            word: int(np.count_nonzero(selection.all(EVENTS, JETS, cut)))
            for word, cut in (("passed", name), ("failed", f"not {name}"))
        }
    return found


def _needs(spec: HistSpec, columns: CandidateColumns) -> tuple[str, ...]:
    for axis in spec.axes:
        for name in axis.parsed.names:
            check_column(name, columns, f"histogram {spec.name!r}")
    return spec.needs


def scaled(histogram: Any, scales: Mapping[str, float]) -> Any:
    """A histogram with sorted categories and each data set scaled by its factor.

    Parameters
    ----------
    histogram : hist.Hist
        Weighted, with the category ``dataset``.
    scales : mapping of str to float
        Data set -> factor.

    Returns
    -------
    hist.Hist
        With values and variances `rounded` before scaling; the same one, if its categories are sorted.
    """
    known = categories_of(histogram)
    if any(values != sorted(values) for values in known.values()):  # otherwise without a copy
        histogram = sort_categories(histogram)
    ordered = histogram
    view = ordered.view(flow=True)
    position = [axis.name for axis in ordered.axes].index("dataset")
    for number, dataset in enumerate(ordered.axes["dataset"]):
        part = view[(slice(None),) * position + (number,)]
        part["value"] = rounded(part["value"]) * scales[dataset]
        part["variance"] = rounded(part["variance"]) * scales[dataset] ** 2
    return ordered


def rounded(values: Any) -> Any:
    """Sums rounded to ten digits: this removes differences that depend on the order of summation.

    Parameters
    ----------
    values : float or float64 array

    Returns
    -------
    float64 array

    Examples
    --------
    >>> bool(rounded(0.1 + 0.2) == rounded(0.3))
    True
    """
    mantissa, exponent = np.frexp(values)
    return np.ldexp(np.round(mantissa * 2.0**DIGITS) / 2.0**DIGITS, exponent)
