"""Templates of a search: regions x processes x variations, for CMS combine (ROOT) and for pyhf (JSON).

The histogram that they are made of has the categories ``dataset``, ``region`` and ``variation`` and one
variable. A variation ``jes`` is a pair of categories ``jesUp`` and ``jesDown`` beside ``nominal``.

Bins that no fit can use are repaired, and each repair is reported: a negative bin of a process is set to zero
and the rest of the process is scaled to keep its yield; a process without a positive yield is left out of the
region. Where a background has no simulated event, it is not known to be absent: the bin gets the yield and the
uncertainty of one event, or bins are merged, or it is refused.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jettagger._version import __version__
from jettagger.arguments import guard
from jettagger.display import Displayed, ObjectSummary
from jettagger.errors import ConfigError, InputFileError, InvalidValues, MismatchError, UnknownName
from jettagger.files import complete_or_absent
from jettagger.files.jsonfile import read_object
from jettagger.files.root import write_objects
from jettagger.histograms import categories_of, pick, variables_of
from jettagger.provenance import Provenance
from jettagger.statistics import workspaces
from jettagger.statistics.bins import (
    ONE_EVENT,
    REFUSE,
    Template,
    effective_events,
    event_weights,
    fill_empty,
    groups,
    intervals,
)
from jettagger.types import Floats

__all__ = ["FEW_EVENTS", "Signal", "Template", "TemplateSpec", "Templates", "build", "load_report", "load_workspaces"]

#: bins with fewer effective events of a background are named in the report
FEW_EVENTS = 10.0

#: which names in the ROOT file have a pattern
_PATTERNS = ("nominal", "shifted", "data")

_FORMAT = "jettagger templates"
VERSION = 1


@dataclass(frozen=True)
class Signal:
    """A signal: its data sets and the mass of the resonance.

    Attributes
    ----------
    datasets : tuple of str
        Added together.
    mass : float
        In GeV.
    cross_section : float
        In pb, the one that the histograms are scaled to; limits on the strength times this are limits in pb.
    """

    datasets: Sequence[str]
    mass: float
    cross_section: float = 1.0


@dataclass(frozen=True)
class TemplateSpec:
    """What to make templates of.

    Parameters
    ----------
    processes : mapping
        Background to its data sets.
    signals : mapping
        Signal to a :class:`Signal`.
    regions : sequence of str, optional
        By default all that the histogram has.
    data : sequence of str
        Data sets of data; without any, the sum of the backgrounds is taken (an Asimov data set).
    blind : sequence of str
        Regions whose data are not looked at: there the sum of the backgrounds is taken in any case.
    variations : sequence of str, optional
        Shape variations without ``Up`` and ``Down``; by default all that the histogram has.
    normalisations : mapping
        Name of an uncertainty to ``{process: relative uncertainty}``, log-normal, e.g.
        ``{"lumi": {"tt": 0.016, "signal1000": 0.016}}``.
    free : sequence of str
        Backgrounds whose normalisation the fit may choose.
    empty_bin_yield : str or float
        What a background gets, with an uncertainty of 100 %, in a bin in which it has no simulated event:
        ``"one_event"``, the mean weight of one event of it in that bin in all regions of the histogram; or a
        number of events; or ``"refuse"``, then there are no templates.
    min_effective_events : float
        If above zero, neighbouring bins are merged, the same in all regions, until each background has so many
        effective events, ``(sum w)^2 / sum w^2``, in each.
    names : mapping
        Patterns for names in the ROOT file, ``nominal``, ``shifted`` and ``data``, as :meth:`Templates.to_root` has it.

    Raises
    ------
    ConfigError
        If names are used twice, or an uncertainty is not a number above zero.
    UnknownName
        If an uncertainty or ``free`` names a process that is not there.
    """

    processes: Mapping[str, Sequence[str]]
    signals: Mapping[str, Signal]
    regions: Sequence[str] | None = None
    data: Sequence[str] = ()
    blind: Sequence[str] = ()
    variations: Sequence[str] | None = None
    normalisations: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    free: Sequence[str] = ()
    empty_bin_yield: str | float = ONE_EVENT
    min_effective_events: float = 0.0
    names: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        both = sorted(set(self.processes) & set(self.signals))
        if both:
            raise ConfigError(f"{', '.join(both)}: both a background and a signal")
        if not self.processes:
            raise ConfigError("templates need at least one background process")
        if isinstance(self.empty_bin_yield, str):
            valid = self.empty_bin_yield in (ONE_EVENT, REFUSE)
        else:
            valid = 0 < self.empty_bin_yield < math.inf
        if not valid:
            raise ConfigError(
                f"'empty_bin_yield' must be {ONE_EVENT}, {REFUSE} or a number of events above zero, "
                f"got {self.empty_bin_yield!r}"
            )
        if not 0 <= self.min_effective_events < math.inf:
            raise ConfigError(
                f"'min_effective_events' must be a number of events, or 0, got {self.min_effective_events!r}"
            )
        for name, parts in self.normalisations.items():
            unknown = [key for key in parts if key not in self.processes and key not in self.signals]
            if unknown:
                raise UnknownName("process", unknown, [*self.processes, *self.signals], f"uncertainty {name!r}")
            for process, value in parts.items():
                if not 0 < value < 10:
                    raise ConfigError(f"uncertainty {name!r} of {process}: expected a relative one, got {value}")
        unknown = [name for name in self.names if name not in _PATTERNS]
        if unknown:
            raise UnknownName("pattern", unknown, _PATTERNS, "the names of templates")
        unknown = [name for name in self.free if name not in self.processes]
        if unknown:
            raise UnknownName("background", unknown, self.processes, "the free normalisations")


@dataclass(frozen=True)
class Templates(Displayed):
    """Templates that fits can use.

    Attributes
    ----------
    spec : TemplateSpec
        What was asked for.
    variable : hist axis
        The variable and its bins, after merging.
    nominal : dict
        Region to process to :class:`~jettagger.statistics.bins.Template`; signals are among the processes.
    data : dict
        Region to observed events in each bin.
    asimov : bool
        Whether the data are the sum of the backgrounds, in all regions or in the blind ones: nothing is observed.
    report : tuple of str
        Which bins stand on few simulated events or none, and what was repaired, merged or scaled; one line each.
    """

    spec: TemplateSpec
    variable: Any
    nominal: dict[str, dict[str, Template]]
    data: dict[str, Floats]
    asimov: bool
    report: tuple[str, ...]

    def __repr__(self) -> str:
        bins, data = len(self.variable.edges) - 1, "Asimov data" if self.asimov else "observed data"
        regions, processes = ", ".join(self.nominal), ", ".join((*self.spec.processes, *self.spec.signals))
        return f"<Templates of {self.variable.name}, {bins} bins: {processes}; in {regions}; {data}>"

    def summary(self) -> ObjectSummary:
        """Yields of each region and process with their uncertainties, as notebooks and rich show them."""
        from jettagger.statistics.summary import templates_summary

        return templates_summary(self)

    # ---------------------------------------------------------------------------------------- ROOT

    def to_root(
        self,
        path: str | os.PathLike[str],
        *,
        nominal: str = "{region}/{process}",
        shifted: str = "{region}/{process}_{variation}{direction}",
        data: str = "{region}/data_obs",
        provenance: Provenance | None = None,
    ) -> list[str]:
        """Write them as histograms with the names that CMS combine expects.

        Parameters
        ----------
        path : path
            The ROOT file.
        nominal, shifted, data : str
            Patterns of the names; ``{direction}`` is ``Up`` or ``Down``.
        provenance : Provenance, optional
            How they were made; kept as the object ``jettagger``.

        Returns
        -------
        list of str
            The names that were written.

        Raises
        ------
        ConfigError
            If a pattern has unknown parts or gives a name twice.
        OutputError
            If the file cannot be written.
        """
        parts: dict[str, Any] = {}

        def put(pattern: str, values: Floats, variances: Floats, **names: str) -> None:
            try:
                key = pattern.format(**names)
            except (KeyError, IndexError, ValueError) as error:
                allowed = ", ".join(f"{{{name}}}" for name in names)
                raise ConfigError(f"the pattern {pattern!r} cannot be used: {error}. Allowed: {allowed}") from error
            if key in parts:
                raise ConfigError(f"the pattern {pattern!r} gives the name {key!r} twice")
            parts[key] = self._histogram(values, variances)

        for region, processes in self.nominal.items():
            put(data, self.data[region], self.data[region], region=region)
            for process, template in processes.items():
                names = {"region": region, "process": process}
                put(nominal, template.values, template.variances, **names)
                for variation, (up, down) in template.shifts.items():
                    for direction, values in (("Up", up), ("Down", down)):
                        shift = {**names, "variation": variation, "direction": direction}
                        put(shifted, values, template.variances, **shift)
        write_objects(path, parts, (provenance or Provenance("templates")).text)
        return list(parts)

    def _histogram(self, values: Floats, variances: Floats) -> Any:
        import hist

        histogram = hist.Hist(self.variable, storage=hist.storage.Weight())
        view = histogram.view()
        view["value"], view["variance"] = values, variances
        return histogram

    # ---------------------------------------------------------------------------------------- pyhf

    def workspace(self, signal: str, *, bounds: tuple[float, float] | None = None) -> dict[str, Any]:
        """The pyhf workspace for one signal.

        Parameters
        ----------
        signal : str
            Its name.
        bounds : (float, float), optional
            Of the signal strength, in units of the signal. By default the unit is chosen so that the expected limit
            is of order one, and the bounds lie above it; the entry ``strength_unit`` of the measurement says
            how many times the signal a strength of 1 is.

        Returns
        -------
        dict
            In pyhf's JSON format, as :mod:`jettagger.statistics.workspaces` describes it. ``mu`` scales the signal;
            ``mcstat_<region>`` are the statistical uncertainties of the sum of the backgrounds,
            ``mcstat_<region>_<signal>`` those of the signal; variations and normalisations have their own names;
            ``norm_<process>`` are free.

        Raises
        ------
        UnknownName
            If there is no such signal.
        InvalidValues
            If the signal has no events in any region.
        """
        return self._workspace(signal, bounds)[0]

    def _workspace(self, signal: str, bounds: tuple[float, float] | None = None) -> tuple[dict[str, Any], list[str]]:
        if signal not in self.spec.signals:
            raise UnknownName("signal", signal, self.spec.signals)
        if not any(signal in processes for processes in self.nominal.values()):
            raise InvalidValues(f"signal {signal!r} has no events in any region")
        nominal = {
            region: {name: item for name, item in processes.items() if name in self.spec.processes or name == signal}
            for region, processes in self.nominal.items()
        }
        content = workspaces.WorkspaceContent(nominal, self.data, signal, self.spec.normalisations, self.spec.free)
        return workspaces.workspace(content, bounds)

    # ---------------------------------------------------------------------------------------- files

    def save(self, folder: str | os.PathLike[str], *, provenance: Provenance | None = None) -> list[Path]:
        """Write ``templates.root``, a ``workspace_<signal>.json`` for each signal, and ``templates.json``.

        Parameters
        ----------
        folder : path
            An existing one.
        provenance : Provenance, optional
            How the histograms were made. The format of workspaces has no room for it: ``templates.json`` holds their
            checksums.

        Returns
        -------
        list of pathlib.Path
            The files.

        Raises
        ------
        OutputError
            If a file cannot be written.
        """
        folder = Path(folder)
        written = [folder / "templates.root"]
        provenance = provenance or Provenance("templates")
        self.to_root(written[0], **self.spec.names, provenance=provenance)
        listed = {}
        for name, signal in self.spec.signals.items():
            if not any(name in processes for processes in self.nominal.values()):
                continue
            path = folder / f"workspace_{name}.json"
            with complete_or_absent(path) as part:
                part.write_text(text := json.dumps(self.workspace(name), indent=1), encoding="utf-8")
            listed[name] = {
                "mass": signal.mass,
                "cross_section": signal.cross_section,
                "workspace": path.name,
                "sha256": hashlib.sha256(text.encode()).hexdigest(),
            }
            written.append(path)
        content = {
            "format": _FORMAT,
            "version": VERSION,
            "jettagger": __version__,
            "provenance": provenance.to_dict(),
            "asimov": self.asimov,
            "signals": listed,
            "report": list(self.report),
        }
        with complete_or_absent(folder / "templates.json") as part:
            part.write_text(json.dumps(content, indent=1), encoding="utf-8")
        return [*written, folder / "templates.json"]


def load_workspaces(folder: str | os.PathLike[str]) -> tuple[dict[str, Signal], dict[str, Any], bool]:
    """Read the workspaces that :meth:`Templates.save` wrote.

    Returns
    -------
    signals : dict
        Name to :class:`Signal`, by rising mass.
    workspaces : dict
        Name to pyhf workspace.
    asimov : bool
        Whether the data are the sum of the backgrounds.

    Raises
    ------
    InputFileError
        If a file is missing, damaged or of another version.
    """
    folder = Path(folder)
    content = _listing(folder)
    try:
        listed = sorted(content["signals"].items(), key=lambda item: float(item[1]["mass"]))
        signals = {name: Signal((), float(item["mass"]), float(item["cross_section"])) for name, item in listed}
        paths = {name: folder / item["workspace"] for name, item in listed}
        asimov = bool(content["asimov"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(folder, error) from error
    return signals, {name: read_object(path) for name, path in paths.items()}, asimov


def load_report(folder: str | os.PathLike[str]) -> list[str]:
    """What was said about the templates in a folder when they were made.

    Returns
    -------
    list of str
        Which bins stand on few simulated events or none, and what was repaired, merged or scaled.

    Raises
    ------
    InputFileError
        If the file is missing, damaged or of another version.
    """
    report = _listing(Path(folder)).get("report")
    if not isinstance(report, list) or not all(isinstance(line, str) for line in report):
        raise _damaged(Path(folder), f"'report' is {report!r}, expected a list of lines")
    return report


def _damaged(folder: Path, reason: object) -> InputFileError:
    return InputFileError(f"{folder / 'templates.json'}: not a list of templates as jettagger writes it: {reason}")


def _listing(folder: Path) -> dict[str, Any]:
    """The list of templates in a folder."""
    path = folder / "templates.json"
    content = read_object(path)
    if content.get("format") != _FORMAT:
        raise InputFileError(f"{path}: expected the format {_FORMAT!r}")
    if content.get("version") != VERSION:
        raise InputFileError(f"{path}: templates of version {content.get('version')!r}, expected {VERSION}")
    return content


# ---------------------------------------------------------------------------------------- building


def build(histogram: Any, spec: TemplateSpec) -> Templates:
    """Make templates of a histogram.

    Parameters
    ----------
    histogram : hist.Hist
        With the categories ``dataset``, ``region``, ``variation``, one variable, and weighted storage; scaled
        to the luminosity of the data.
    spec : TemplateSpec
        What to make.

    Returns
    -------
    Templates
        Under- and overflow are left out.

    Raises
    ------
    MismatchError
        If the histogram has other categories, several variables, or half of a variation.
    UnknownName
        If a data set, a region or a variation is not there.
    InvalidValues
        If contents are not finite, data are negative, or a region has no background.
    """
    known = categories_of(histogram)
    variables = variables_of(histogram)
    if set(known) != {"dataset", "region", "variation"} or len(variables) != 1:
        got = ", ".join(axis.name for axis in histogram.axes)
        raise MismatchError(f"templates need the axes dataset, region, variation and one variable, got {got}")
    regions = _known("region", spec.regions, known["region"])
    sources = {**spec.processes, **{name: signal.datasets for name, signal in spec.signals.items()}}
    for datasets in (*sources.values(), spec.data):
        _known("dataset", datasets, known["dataset"])
    variations = _variations(spec, known["variation"])
    report: list[str] = []
    axis, starts = _merged(histogram, spec, regions, report)
    source = _Source(histogram, np.asarray(starts), axis)
    weights = {
        process: event_weights(*_over_regions(source, process_datasets, known["region"]))
        for process, process_datasets in spec.processes.items()
    }
    nominal: dict[str, dict[str, Template]] = {}
    data: dict[str, Floats] = {}
    for region in regions:
        found: dict[str, Template] = {}
        for process, datasets in sources.items():
            absent = weights.get(process) is None
            template = _template(source, region, process, datasets, variations, report, keep=not absent)
            if template is not None:
                found[process] = template
        backgrounds = [process for process in spec.processes if process in found]
        if not any(found[process].values.sum() > 0 for process in backgrounds):
            raise InvalidValues(f"region {region!r} has no background: it selects nothing, or only negative yields")
        bare = [effective_events(found[name].values, found[name].variances) == 0 for name in backgrounds]
        for process in backgrounds:
            found[process] = _stand(source, region, process, found[process], weights[process], spec, report)
        nominal[region] = found
        if spec.data and region not in spec.blind:
            observed = source.contents(region, spec.data, "nominal")[0]
            if (observed < 0).any() or not np.isfinite(observed).all():
                raise InvalidValues(f"region {region!r}: data with negative or infinite contents")
            data[region] = observed
            alone = np.flatnonzero(np.all(bare, axis=0) & (observed > 0))
            if len(alone):
                report.append(
                    f"{region}: data ({', '.join(f'{observed[i]:g}' for i in alone)} events) without a simulated event "
                    f"of any background in bins {intervals(axis, alone)}"
                )
        else:
            data[region] = np.sum([found[process].values for process in backgrounds], axis=0)
    blind = [region for region in regions if region in spec.blind]
    if spec.data and blind:
        report.append(f"{', '.join(blind)}: blind, the sum of the backgrounds stands for the data")
    made = Templates(spec, axis, nominal, data, bool(blind) or not spec.data, tuple(report))
    for signal in spec.signals:
        if any(signal in processes for processes in nominal.values()):
            report += [line for line in made._workspace(signal)[1] if line not in report]
    return replace(made, report=tuple(report))


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
    """A histogram whose bins are merged."""

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
    """The axis of the variable and the first bin of each group of bins that are merged."""
    (axis,) = variables_of(histogram)
    if not spec.min_effective_events:
        return axis, list(range(len(axis)))
    import hist

    whole = _Source(histogram, np.arange(len(axis)), axis)
    contents = {}
    for region in regions:
        for process, datasets in spec.processes.items():
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


def _positive(values: Floats, what: str, report: list[str]) -> Floats:
    """Contents without negative bins, of the same sum."""
    if not np.isfinite(values).all():
        bins = np.flatnonzero(~np.isfinite(values)).tolist()
        raise InvalidValues(f"{what}: contents that are not finite in bins {bins}")
    negative = values < 0
    if not negative.any():
        return values
    total = values.sum()
    clipped = np.where(negative, 0.0, values)
    bins, lost = np.flatnonzero(negative).tolist(), values[negative].sum()
    if total <= 0:
        return np.zeros_like(values)
    factor = total / clipped.sum()
    report.append(f"{what}: negative bins {bins} ({lost:.3g} events) set to zero, the others scaled by {factor:.4g}")
    return np.asarray(clipped * factor)


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
    values = _positive(raw, what, report)
    # what is scaled keeps its relative uncertainty, what is set to zero its absolute one
    positive = raw > 0
    variances = np.where(positive, variances * np.square(values / np.where(positive, raw, 1.0)), variances)
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
            _positive(half, f"{what}, {variation}{side}", report)
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
    """A background with a yield in each bin; says how many simulated events it stands on."""
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
