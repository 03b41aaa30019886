"""Templates of a search: regions x processes x variations, for CMS combine (ROOT) and for pyhf (JSON).

The histogram that they are made of has the categories ``dataset``, ``region`` and ``variation`` and one
variable. A variation ``jes`` is a pair of categories ``jesUp`` and ``jesDown`` beside ``nominal``.

Bins that no fit can use are repaired, and each repair is reported: a negative bin of a process is set to zero
and the rest of the process is scaled to keep its yield; a process without a positive yield is left out of the
region; a bin in which no background is expected gets a small one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jettagger._version import __version__
from jettagger.errors import ConfigError, InputFileError, InvalidValues, MismatchError, UnknownName
from jettagger.files import complete_or_absent
from jettagger.histograms import categories_of, pick, variables_of

__all__ = ["POI", "Signal", "Template", "TemplateSpec", "Templates", "build", "load_workspaces"]

#: the parameter of interest: the signal's strength
POI = "mu"

#: which names in the ROOT file have a pattern
_PATTERNS = ("nominal", "shifted", "data")

_FORMAT = "jettagger templates"
VERSION = 1

Floats = NDArray[np.float64]


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
    floor : float
        What the first background gets in a bin where none is expected, in events.
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
    floor: float = 1e-3
    names: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        both = sorted(set(self.processes) & set(self.signals))
        if both:
            raise ConfigError(f"{', '.join(both)}: both a background and a signal")
        if not self.processes:
            raise ConfigError("templates need at least one background process")
        if not self.floor > 0:
            raise ConfigError(f"the floor of empty bins must be above zero, got {self.floor}")
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
class Template:
    """One process in one region.

    Attributes
    ----------
    values, variances : numpy.ndarray
        Events and the variance of their number in each bin.
    shifts : dict
        Variation to its values up and down.
    """

    values: Floats
    variances: Floats
    shifts: dict[str, tuple[Floats, Floats]]


@dataclass(frozen=True)
class Templates:
    """Templates that fits can use.

    Attributes
    ----------
    spec : TemplateSpec
        What was asked for.
    variable : hist axis
        The variable and its bins.
    nominal : dict
        Region to process to :class:`Template`; signals are among the processes.
    data : dict
        Region to observed events in each bin.
    asimov : bool
        Whether the data are the sum of the backgrounds, in all regions or in the blind ones: nothing is observed.
    report : tuple of str
        What was repaired, one line each.
    """

    spec: TemplateSpec
    variable: Any
    nominal: dict[str, dict[str, Template]]
    data: dict[str, Floats]
    asimov: bool
    report: tuple[str, ...]

    # ---------------------------------------------------------------------------------------- ROOT

    def to_root(
        self,
        path: str | os.PathLike[str],
        *,
        nominal: str = "{region}/{process}",
        shifted: str = "{region}/{process}_{variation}{direction}",
        data: str = "{region}/data_obs",
    ) -> list[str]:
        """Write them as histograms with the names that CMS combine expects.

        Parameters
        ----------
        path : path
            The ROOT file.
        nominal, shifted, data : str
            Patterns of the names; ``{direction}`` is ``Up`` or ``Down``.

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
        import uproot

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
        with complete_or_absent(path) as part, uproot.recreate(part) as file:
            for key, histogram in parts.items():
                file[key] = histogram
        return list(parts)

    def _histogram(self, values: Floats, variances: Floats) -> Any:
        import hist

        histogram = hist.Hist(self.variable, storage=hist.storage.Weight())
        view = histogram.view()
        view["value"], view["variance"] = values, variances
        return histogram

    # ---------------------------------------------------------------------------------------- pyhf

    def workspace(self, signal: str, *, bounds: tuple[float, float] = (0.0, 10.0)) -> dict[str, Any]:
        """The pyhf workspace for one signal.

        Parameters
        ----------
        signal : str
            Its name.
        bounds : (float, float)
            Of the signal strength.

        Returns
        -------
        dict
            In pyhf's JSON format. ``mu`` scales the signal; ``mcstat_<region>`` are the statistical
            uncertainties of the sum of the backgrounds, ``mcstat_<region>_<signal>`` those of the signal;
            variations and normalisations have their own names; ``norm_<process>`` are free.

        Raises
        ------
        UnknownName
            If there is no such signal.
        InvalidValues
            If the signal has no events in any region.
        """
        if signal not in self.spec.signals:
            raise UnknownName("signal", signal, self.spec.signals)
        if not any(signal in processes for processes in self.nominal.values()):
            raise InvalidValues(f"signal {signal!r} has no events in any region")
        channels = []
        for region, processes in self.nominal.items():
            chosen = [name for name in processes if name in self.spec.processes or name == signal]
            samples = [self._sample(region, name, processes[name], name == signal) for name in chosen]
            channels.append({"name": region, "samples": samples})
        measurement = {
            "name": "search",
            "config": {"poi": POI, "parameters": [{"name": POI, "bounds": [list(bounds)], "inits": [1.0]}]},
        }
        observations = [{"name": region, "data": self.data[region].tolist()} for region in self.nominal]
        return {
            "channels": channels,
            "observations": observations,
            "measurements": [measurement],
            "version": "1.0.0",
        }

    def _sample(self, region: str, name: str, template: Template, is_signal: bool) -> dict[str, Any]:
        modifiers: list[dict[str, Any]] = []
        if is_signal:
            modifiers.append({"name": POI, "type": "normfactor", "data": None})
        if name in self.spec.free:
            modifiers.append({"name": f"norm_{name}", "type": "normfactor", "data": None})
        for variation, (up, down) in template.shifts.items():
            shapes = {"hi_data": up.tolist(), "lo_data": down.tolist()}
            modifiers.append({"name": variation, "type": "histosys", "data": shapes})
        for uncertainty, parts in self.spec.normalisations.items():
            if name in parts:
                factors = {"hi": 1 + parts[name], "lo": 1 / (1 + parts[name])}
                modifiers.append({"name": uncertainty, "type": "normsys", "data": factors})
        errors = np.sqrt(template.variances).tolist()
        # The statistics of simulated backgrounds must not scale the signal, which one parameter for both would do.
        statistics = f"mcstat_{region}_{name}" if is_signal else f"mcstat_{region}"
        modifiers.append({"name": statistics, "type": "staterror", "data": errors})
        return {"name": name, "data": template.values.tolist(), "modifiers": modifiers}

    # ---------------------------------------------------------------------------------------- files

    def save(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write ``templates.root``, a ``workspace_<signal>.json`` for each signal, and ``templates.json``.

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
        self.to_root(written[0], **self.spec.names)
        listed = {}
        for name, signal in self.spec.signals.items():
            if not any(name in processes for processes in self.nominal.values()):
                continue
            path = folder / f"workspace_{name}.json"
            with complete_or_absent(path) as part:
                part.write_text(json.dumps(self.workspace(name), indent=1), encoding="utf-8")
            listed[name] = {
                "mass": signal.mass,
                "cross_section": signal.cross_section,
                "workspace": path.name,
            }
            written.append(path)
        content = {
            "format": _FORMAT,
            "version": VERSION,
            "jettagger": __version__,
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

    def read(path: Path) -> Any:
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputFileError(f"cannot read {path}: {error.strerror or error}") from error
        except ValueError as error:
            raise InputFileError(f"{path} is no JSON file: {error}") from error

    path = folder / "templates.json"
    content = read(path)
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise InputFileError(f"{path}: expected the format {_FORMAT!r}")
    if content.get("version") != VERSION:
        raise InputFileError(f"{path}: templates of version {content.get('version')!r}, expected {VERSION}")
    listed = sorted(content["signals"].items(), key=lambda item: item[1]["mass"])
    signals = {name: Signal((), item["mass"], item["cross_section"]) for name, item in listed}
    return signals, {name: read(folder / item["workspace"]) for name, item in listed}, content["asimov"]


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
    nominal: dict[str, dict[str, Template]] = {}
    data: dict[str, Floats] = {}
    for region in regions:
        found: dict[str, Template] = {}
        for process, datasets in sources.items():
            template = _template(histogram, region, process, datasets, variations, report)
            if template is not None:
                found[process] = template
        backgrounds = [process for process in spec.processes if process in found]
        if not backgrounds:
            raise InvalidValues(f"region {region!r} has no background: it selects nothing, or only negative yields")
        _fill_empty(region, found, backgrounds, spec.floor, report)
        nominal[region] = found
        if spec.data and region not in spec.blind:
            observed = _contents(histogram, region, spec.data, "nominal")[0]
            if (observed < 0).any() or not np.isfinite(observed).all():
                raise InvalidValues(f"region {region!r}: data with negative or infinite contents")
            data[region] = observed
        else:
            data[region] = np.sum([found[process].values for process in backgrounds], axis=0)
    blind = [region for region in regions if region in spec.blind]
    if spec.data and blind:
        report.append(f"{', '.join(blind)}: blind, the sum of the backgrounds stands for the data")
    return Templates(spec, variables[0], nominal, data, bool(blind) or not spec.data, tuple(report))


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


def _contents(histogram: Any, region: str, datasets: Sequence[str], variation: str) -> tuple[Floats, Floats]:
    part = pick(histogram, region=region, dataset=list(datasets), variation=variation)
    variances = part.variances()
    values = np.asarray(part.values(), dtype=np.float64).copy()
    return values, values.copy() if variances is None else np.asarray(variances, dtype=np.float64).copy()


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
    histogram: Any,
    region: str,
    process: str,
    datasets: Sequence[str],
    variations: Sequence[str],
    report: list[str],
) -> Template | None:
    what = f"{region}, {process}"
    raw, variances = _contents(histogram, region, datasets, "nominal")
    values = _positive(raw, what, report)
    if values.sum() <= 0:
        report.append(f"{what}: left out, its yield is {raw.sum():.3g} events")
        return None
    shifts = {}
    for variation in variations:
        halves = [_contents(histogram, region, datasets, f"{variation}{side}") for side in ("Up", "Down")]
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


def _fill_empty(
    region: str, found: dict[str, Template], backgrounds: Sequence[str], floor: float, report: list[str]
) -> None:
    """Give the first background a little where none is expected, nominally or after all variations."""
    everything = [
        [found[name].values] + [half for pair in found[name].shifts.values() for half in pair] for name in backgrounds
    ]
    # The least that each process can have in a bin, over its variations, bounds the sum from below.
    least = np.sum([np.min(parts, axis=0) for parts in everything], axis=0)
    empty = least < floor
    if not empty.any():
        return
    name = backgrounds[0]
    template = found[name]
    extra = np.where(empty, floor, 0.0)
    found[name] = Template(
        template.values + extra,
        template.variances + extra**2,
        {key: (up + extra, down + extra) for key, (up, down) in template.shifts.items()},
    )
    bins = np.flatnonzero(empty).tolist()
    report.append(f"{region}: no background expected in bins {bins}, {floor:g} ± {floor:g} events of {name} added")
