"""Templates from the histogram of a search: unusable bins, their treatment, and the report on it.

The histogram has the categories ``dataset``, ``region`` and ``variation`` and one variable. A variation ``jes`` is a
pair of categories ``jesUp`` and ``jesDown`` in addition to ``nominal``.

A negative bin of a process is set to zero and the other bins are scaled to preserve the yield; a process without a
positive yield is left out of the region. Bins without simulated events may still have background: the bin gets the
yield and the uncertainty of one event, or bins are merged, or it is refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jettagger.arguments import guard
from jettagger.errors import InvalidValues, MismatchError, UnknownName
from jettagger.histograms import categories_of, pick, variables_of
from jettagger.statistics.bins import (
    ONE_EVENT,
    REFUSE,
    Template,
    effective_events,
    event_weights,
    fill_empty,
    groups,
    intervals,
    positive,
)
from jettagger.statistics.estimating import Unrolled, estimate, resolve, unroll
from jettagger.statistics.specification import TemplateSpec
from jettagger.statistics.templates import Templates
from jettagger.statistics.transfer import Transfer, TransferFactor
from jettagger.statistics.workspaces import WorkspaceContent
from jettagger.types import Floats

__all__ = ["FEW_EVENTS", "build"]

#: bins with fewer effective events of a background are listed in the report
FEW_EVENTS = 10.0


def build(histogram: Any, spec: TemplateSpec) -> Templates:
    """Make templates from a histogram.

    Parameters
    ----------
    histogram : hist.Hist
        With the categories ``dataset``, ``region``, ``variation``, one variable, and weighted storage; scaled
        to the luminosity of the data.
    spec : TemplateSpec
        Definition of the templates.

    Returns
    -------
    Templates
        Underflow and overflow are left out.

    Raises
    ------
    MismatchError
        If the histogram has other categories, several variables, or half of a variation.
    UnknownName
        If a data set, a region, a variation or an uncertainty of a group does not exist.
    InvalidValues
        If contents are not finite, data are negative, or a region has no background.
    """
    known = categories_of(histogram)
    variables = variables_of(histogram)
    most = 2 if spec.from_data else 1
    if set(known) != {"dataset", "region", "variation"} or not 1 <= len(variables) <= most:
        got = ", ".join(axis.name for axis in histogram.axes)
        number = "one variable, or two with backgrounds from data" if spec.from_data else "one variable"
        raise MismatchError(f"templates need the axes dataset, region, variation and {number}, got {got}")
    _known("region", spec.blind, known["region"])  # a misspelled one would show its data
    for factor in spec.from_data.values():
        for pair in (*factor.pairs, factor.validation or ()):
            _known("region", pair, known["region"])
    unrolled = unroll(histogram)
    histogram = unrolled.histogram
    regions = unrolled.over(_known("region", spec.regions, known["region"]))
    blind = unrolled.over(spec.blind)
    spec = replace(spec, blind=blind)
    known = categories_of(histogram)
    sources = {**spec.processes, **{name: signal.datasets for name, signal in spec.signals.items()}}
    for datasets in (*sources.values(), spec.data):
        _known("dataset", datasets, known["dataset"])
    variations = _variations(spec, known["variation"])
    for group, uncertainties in spec.groups.items():
        unknown = [name for name in uncertainties if name not in variations and name not in spec.normalisations]
        if unknown:
            raise UnknownName("uncertainty", unknown, [*variations, *spec.normalisations], f"the group {group!r}")
    report: list[str] = []
    axis, starts = _merged(histogram, spec, regions, report)
    source = _Source(histogram, np.asarray(starts), axis)
    weights = {
        process: event_weights(*_over_regions(source, process_datasets, known["region"])) if process_datasets else None
        for process, process_datasets in spec.processes.items()
    }
    maker = _Maker(source, spec, sources, weights, variations)
    factors = {}
    for process, factor in spec.from_data.items():
        pairs, basis = resolve(process, factor, factor.pairs, unrolled, axis)
        factors[process] = (pairs, basis, unrolled.over([factor.passing]))
    nominal, data, transfers = maker.make(regions, factors, report)
    closures = {
        process: found
        for process, factor in spec.from_data.items()
        if (found := _closure(maker, process, factor, unrolled, report)) is not None
    }
    blind = [region for region in regions if region in spec.blind]
    if spec.data and blind:
        report.append(f"{', '.join(blind)}: blind, the sum of the backgrounds is used as data")
    made = Templates(spec, axis, nominal, data, bool(blind) or not spec.data, tuple(report), transfers, closures)
    for signal in spec.signals:
        if any(signal in processes for processes in nominal.values()):
            report += [line for line in made.reported_workspace(signal)[1] if line not in report]
    return replace(made, report=tuple(report))


def _closure(
    maker: _Maker, process: str, factor: TransferFactor, unrolled: Unrolled, report: list[str]
) -> WorkspaceContent | None:
    """The validation regions of a background from data, for a fit without a signal."""
    if factor.validation is None:
        return None
    both = (factor.validation, *(() if factor.control is None else (factor.control,)))
    pairs, basis = resolve(process, factor, both, unrolled, maker.source.axis)
    unseen = [region for pair in pairs for region in pair if region in maker.spec.blind]
    if unseen or not maker.spec.data:
        report.append(f"{process}: no closure, {'no data' if not unseen else f'{unseen[0]} is blind'}")
        return None
    lines: list[str] = []
    regions = [region for pair in pairs for region in pair]
    nominal, data, transfers = maker.make(regions, {process: (pairs, basis, ())}, lines)
    report += [f"closure of {process}: {line}" for line in lines]
    nominal = {
        region: {name: item for name, item in parts.items() if name in maker.spec.processes}
        for region, parts in nominal.items()
    }
    return WorkspaceContent(nominal, data, "", maker.spec.normalisations, (), transfers)


@dataclass(frozen=True)
class _Maker:
    """What templates of any regions are made of."""

    source: _Source
    spec: TemplateSpec
    sources: Mapping[str, Sequence[str]]
    weights: Mapping[str, Floats | None]
    variations: Sequence[str]

    def make(
        self,
        regions: Sequence[str],
        factors: Mapping[str, tuple[Sequence[tuple[str, str]], Sequence[Floats], Sequence[str]]],
        report: list[str],
    ) -> tuple[dict[str, dict[str, Template]], dict[str, Floats], tuple[Transfer, ...]]:
        """Templates, data and backgrounds from data, whose pairs of regions, basis and predictions are given."""
        from_data = {region: name for name, (pairs, *_) in factors.items() for pair in pairs for region in pair}
        nominal, observed, bare = {}, {}, {}
        for region in regions:
            nominal[region], bare[region] = self._simulated(region, from_data.get(region), report)
            observed[region] = self._observed(region)
        transfers = []
        for process, (pairs, basis, predicted) in factors.items():
            transfer, templates = estimate(
                process, pairs, basis, predicted, nominal, list(self.spec.processes), observed, report
            )
            transfers.append(transfer)
            for region, template in templates.items():
                parts = {**nominal[region], process: template}
                nominal[region] = {name: parts[name] for name in self.sources if name in parts}
        data = {}
        for region, processes in nominal.items():
            backgrounds = [processes[name] for name in self.spec.processes if name in processes]
            seen = observed[region]
            if seen is None:
                data[region] = np.sum([template.values for template in backgrounds], axis=0)
                continue
            data[region] = seen
            alone = np.flatnonzero(bare[region] & (seen > 0) & (region not in from_data))
            if len(alone):
                report.append(
                    f"{region}: data ({', '.join(f'{seen[i]:g}' for i in alone)} events) without a simulated event "
                    f"of any background in bins {intervals(self.source.axis, alone)}"
                )
        return nominal, data, tuple(transfers)

    def _simulated(
        self, region: str, from_data: str | None, report: list[str]
    ) -> tuple[dict[str, Template], NDArray[np.bool_]]:
        """Simulated templates of a region, and the bins without simulated events of any background."""
        found: dict[str, Template] = {}
        for process, datasets in self.sources.items():
            if not datasets:
                if process != from_data:
                    raise InvalidValues(
                        f"region {region!r}: the background {process!r} has neither simulated samples nor a transfer "
                        "factor there; leave the region out of the fit, or give samples"
                    )
                continue
            absent = self.weights.get(process) is None
            lines: list[str] = [] if process == from_data else report
            template = _template(self.source, region, process, datasets, self.variations, lines, keep=not absent)
            if template is not None:
                found[process] = template
        backgrounds = [process for process in self.spec.processes if process in found]
        if from_data is None and not any(found[process].values.sum() > 0 for process in backgrounds):
            raise InvalidValues(f"region {region!r} has no background: no process has a positive yield in it")
        bare = [effective_events(found[name].values, found[name].variances) == 0 for name in backgrounds]
        for process in backgrounds:
            weights = self.weights[process]
            if process != from_data:
                found[process] = _stand(self.source, region, process, found[process], weights, self.spec, report)
            elif weights is not None:
                found[process], _ = fill_empty(found[process], weights)
        return found, np.all(bare, axis=0) if bare else np.zeros(len(self.source.axis), dtype=bool)

    def _observed(self, region: str) -> Floats | None:
        """The data of a region; None without any, or if they are blinded."""
        if not self.spec.data or region in self.spec.blind:
            return None
        observed = self.source.contents(region, self.spec.data, "nominal")[0]
        if (observed < 0).any() or not np.isfinite(observed).all():
            bad = np.flatnonzero((observed < 0) | ~np.isfinite(observed))
            raise InvalidValues(
                f"region {region!r}: data of {observed[bad[0]]:g} events in bins "
                f"{intervals(self.source.axis, bad)}, expected finite numbers that are not negative"
            )
        return observed


def _known(kind: str, wanted: Sequence[str] | None, known: Sequence[str]) -> list[str]:
    unknown = [name for name in wanted or () if name not in known]
    if unknown:
        raise UnknownName(kind, unknown, known, "the histogram")
    return list(known if wanted is None else wanted)


def _variations(spec: TemplateSpec, known: Sequence[str]) -> list[str]:
    if "nominal" not in known:
        raise UnknownName("variation", "nominal", known, "the histogram")
    stems = [name.removesuffix("Up").removesuffix("Down") for name in known if name != "nominal"]
    wanted = list(dict.fromkeys(stems)) if spec.variations is None else list(spec.variations)
    for stem in wanted:
        halves = [name for name in (f"{stem}Up", f"{stem}Down") if name not in known]
        if len(halves) == 2:
            raise UnknownName("variation", stem, stems, "the histogram")
        if halves:
            raise MismatchError(f"variation {stem!r}: {halves[0]} is not in the histogram")
    return wanted


@dataclass(frozen=True)
class _Source:
    """A histogram with merged bins."""

    histogram: Any
    starts: NDArray[np.intp]
    axis: Any

    def contents(self, region: str, datasets: Sequence[str], variation: str) -> tuple[Floats, Floats]:
        part = pick(self.histogram, region=region, dataset=list(datasets), variation=variation)
        values = np.asarray(part.values(), dtype=np.float64)
        variances = values if part.variances() is None else np.asarray(part.variances(), dtype=np.float64)
        return np.add.reduceat(values, self.starts), np.add.reduceat(variances, self.starts)


def _over_regions(source: _Source, datasets: Sequence[str], regions: Sequence[str]) -> tuple[Floats, Floats]:
    parts = [source.contents(region, datasets, "nominal") for region in regions]
    # what is not finite is refused, with its bin, where it is used
    values, variances = (np.nan_to_num(np.sum(sums, axis=0)) for sums in zip(*parts, strict=True))
    return values, variances


def _merged(histogram: Any, spec: TemplateSpec, regions: Sequence[str], report: list[str]) -> tuple[Any, list[int]]:
    """The axis of the variable and the first bin of each group of merged bins."""
    (axis,) = variables_of(histogram)
    if not spec.min_effective_events:
        return axis, list(range(len(axis)))
    import hist

    whole = _Source(histogram, np.arange(len(axis)), axis)
    contents = {}
    for region in regions:
        for process, datasets in spec.processes.items():
            if process in spec.from_data:
                continue  # its data fluctuate like any others
            values, variances = whole.contents(region, datasets, "nominal")
            if variances.any():
                contents[f"{process} in {region}"] = (values, variances)
    starts, lacking = groups(contents, spec.min_effective_events) if contents else ([0], {})
    if lacking:
        counted = ", ".join(f"{name} has {count:.3g}" for name, count in lacking.items())
        raise InvalidValues(
            f"bins cannot be merged to {spec.min_effective_events:g} effective events of each background: {counted} in "
            "all bins together. Simulate more, loosen the cuts of the region, join the process with another, or "
            "lower min_effective_events"
        )
    if len(starts) == len(axis):
        return axis, starts
    edges = np.asarray(axis.edges)[[*starts, len(axis)]]
    report.append(
        f"{len(axis)} bins merged to {len(starts)}, each with at least {spec.min_effective_events:g} effective events "
        f"of each background: edges {', '.join(f'{edge:g}' for edge in edges)}"
    )
    return hist.axis.Variable(edges, name=axis.name, label=axis.label), starts


def _template(
    source: _Source,
    region: str,
    process: str,
    datasets: Sequence[str],
    variations: Sequence[str],
    report: list[str],
    *,
    keep: bool,
) -> Template | None:
    """The template of a process; one without a positive yield is left out, or kept as an empty one."""
    what = f"{region}, {process}"
    raw, variances = source.contents(region, datasets, "nominal")
    values = positive(raw, what, report)
    # what is scaled keeps its relative uncertainty, what is set to zero its absolute one
    kept = raw > 0
    variances = np.where(kept, variances * np.square(values / np.where(kept, raw, 1.0)), variances)
    if values.sum() <= 0:
        if keep:
            return Template(values, variances, {})
        report.append(f"{what}: left out, its yield is {raw.sum():.3g} events")
        return None
    shifts = {}
    for variation in variations:
        halves = [source.contents(region, datasets, f"{variation}{side}") for side in ("Up", "Down")]
        # A process that does not have the variation has nothing in it.
        if all(not half.any() and not variance.any() for half, variance in halves):
            continue
        up, down = (
            positive(half, f"{what}, {variation}{side}", report)
            for side, (half, _) in zip(("Up", "Down"), halves, strict=True)
        )
        if up.sum() <= 0 or down.sum() <= 0:
            report.append(f"{what}: variation {variation} left out, one side of it has no events")
            continue
        shifts[variation] = (up, down)
    return Template(values, variances, shifts)


def _stand(
    source: _Source,
    region: str,
    process: str,
    template: Template,
    weights: Floats | None,
    spec: TemplateSpec,
    report: list[str],
) -> Template:
    """A background with a yield in each bin; reports the number of simulated events it is based on."""
    counts = effective_events(template.values, template.variances)
    total = effective_events(template.values.sum(keepdims=True), template.variances.sum(keepdims=True))[0]
    one_event = np.ones_like(counts) if weights is None else weights
    chosen = spec.empty_bin_yield
    filled, empty = fill_empty(template, one_event if isinstance(chosen, str) else np.full_like(counts, chosen))
    what = f"{region}, {process} ({total:.3g} effective simulated events)"
    if len(empty):
        names = intervals(source.axis, empty)
        if chosen == REFUSE:
            weighs = ", ".join(f"{one_event[i]:.4g}" for i in empty)
            raise InvalidValues(
                f"{what}: none in bins {names}, where one event weighs {weighs}. "
                "Wider bins, min_effective_events, or another empty_bin_yield"
            )
        yields = ", ".join(f"{filled.values[i]:.4g} ± {math.sqrt(filled.variances[i]):.4g}" for i in empty)
        source_of_yield = "the weight of one event" if chosen == ONE_EVENT else "empty_bin_yield"
        report.append(f"{what}: none in bins {names}; got {yields} events ({source_of_yield})")
    few = np.setdiff1d(np.flatnonzero(counts < FEW_EVENTS), empty)
    if len(few):
        numbers = ", ".join(f"{counts[i]:.2g}" for i in few)
        report.append(f"{what}: few ({numbers}) in bins {intervals(source.axis, few)}")
    return filled


guard(globals())
