"""Estimates of jets in files: shards with predictions, NanoAOD, and skims."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.display import Brief
from jettagger.errors import ConfigError, InputFileError, MismatchError, MissingColumns, UnknownName, hint, reason_of
from jettagger.expressions import parse
from jettagger.files import refuse_repeats, refuse_special
from jettagger.files.root import EventFile, object_names
from jettagger.files.tables import FlatFile
from jettagger.formats.nesting import nest
from jettagger.jec.configuration import is_remote
from jettagger.jec.estimates import (
    GENERATOR_JETS,
    RAW_PT,
    STANDARD,
    EstimateColumns,
    JetEstimates,
    default_estimates,
    estimates_of_events,
    flavour_of,
    jet_estimates,
    joined,
)
from jettagger.jec.rows import RawJets
from jettagger.jec.shards import TREE, JetFile, branch_names, jets_of_files, open_data
from jettagger.jec.standard import INPUTS, StandardCorrection
from jettagger.types import Array, Floats

__all__ = ["EstimateSource", "jet_files", "read_estimates"]

#: branch of shards with the pt after a standard correction
FULL = "pt_full_corr"

#: branches of shards with weights and with the number of the event
WEIGHT, EVENT = "weight", "event"

#: array of predictions with factors on the uncorrected pt
FACTOR = "ptRawCorr"

#: events that are read at a time
_STEP = 20_000

#: branch of shards -> column of events, in NanoAOD before and after version 10
_EVENT_INPUTS: Mapping[str, tuple[str, ...]] = {
    "rho": ("fixedGridRhoFastjetAll", "Rho_fixedGridRhoFastjetAll"),
    "num_pv": ("PV_npvs",),
}


@dataclass(frozen=True)
class EstimateSource(Brief):
    """Which estimates are read from files.

    Attributes
    ----------
    estimates : mapping of str to str
        Label -> corrected pt in GeV: an expression in branches of shards (``pt_full_corr``) or columns of jets
        (``raw_pt * PNetRegPtRawCorr``, where ``raw_pt`` has no correction). Empty: those that the files offer.
    predictions : mapping of str to str
        Label -> file of NumPy for the jets of shards in order, as of ``jettagger jec predict``: ln of factors on the
        uncorrected pt (``.npy``), or the factors and those of a 68 % interval by name (``.npz``).
    standard : str
        File of a standard correction, evaluated as Standard; empty for none.
    raw : bool
        Whether the uncorrected pt is an estimate, too.
    collection, target : str
        Jets of events; column of their generator jets with the true pt.
    weight : str
        Branch, or column of events or jets (``Jet.weight``), with weights; empty: ``weight`` of shards if there is
        one, else none.
    start, stop : int
        Range of the files of each location of shards; negative ones count from the end.

    Raises
    ------
    ConfigError
        If a label is there twice.
    UnknownName
        If the collection has no generator jets.
    """

    estimates: Mapping[str, str] = field(default_factory=dict)
    predictions: Mapping[str, str] = field(default_factory=dict)
    standard: str = ""
    raw: bool = False
    collection: str = "Jet"
    target: str = "pt"
    weight: str = ""
    start: int = 0
    stop: int | None = None

    def __post_init__(self) -> None:
        labels = [*self.estimates, *self.predictions, *([STANDARD] if self.standard else [])]
        twice = sorted({label for label in labels if labels.count(label) > 1})
        if twice:
            raise ConfigError(f"the label {', '.join(twice)} is that of several estimates, expected one for each")
        if self.collection not in GENERATOR_JETS:
            raise UnknownName("collection of jets", self.collection, GENERATOR_JETS)


def jet_files(source: str | os.PathLike[str], start: int = 0, stop: int | None = None) -> list[JetFile]:
    """The files of jets of a location with ``data.yaml``, or one file.

    Parameters
    ----------
    source : path or str
        Folder or URL with ``data.yaml``, or a file ``.root``.
    start, stop : int
        Range of the files of a location, as of a list.

    Returns
    -------
    list of JetFile

    Raises
    ------
    ConfigError
        If the range has no file.
    """
    path = os.fspath(source)
    if path.endswith(".root"):
        return [JetFile(path)]
    files = open_data(path).files
    chosen = list(files[start:stop])
    if not chosen:
        raise ConfigError(f"{path}: no file in the range {start}:{'' if stop is None else stop} of {len(files)} files")
    return chosen


def read_estimates(sources: Sequence[str | os.PathLike[str]], options: EstimateSource | None = None) -> JetEstimates:
    """Estimates of the jets of files.

    Parameters
    ----------
    sources : sequence of path
        Locations of shards (folders or URLs with ``data.yaml``), shards, files of NanoAOD-like events, or skims
        (``.parquet``, ``.root``); of one kind.
    options : EstimateSource, optional

    Returns
    -------
    JetEstimates

    Raises
    ------
    ConfigError
        If there is no input, or inputs are of different kinds.
    MissingColumns
        Gives all that are missing.
    MismatchError
        If predictions are of another number of jets, or a file is given twice.
    InputFileError
        If a file cannot be read.
    """
    options = options or EstimateSource()
    paths = [os.fspath(source) for source in sources]
    if not paths:
        raise ConfigError("no input: expected locations of shards, files of events, or skims")
    refuse_repeats(paths)
    kinds = {path: _kind(path) for path in paths}
    if len(set(kinds.values())) > 1:
        first = paths[0]
        other = next(path for path in paths if kinds[path] != kinds[first])
        raise ConfigError(f"{first} has {kinds[first]}, {other} has {kinds[other]}: give inputs of one kind")
    if kinds[paths[0]] == "shards":
        return _of_shards([file for path in paths for file in jet_files(path, options.start, options.stop)], options)
    if options.predictions:
        raise ConfigError(
            f"predictions ({', '.join(options.predictions)}) belong to shards, {paths[0]} has events: name a column"
        )
    return _of_events(paths, options)


def _kind(path: str) -> str:
    """Whether a path has shards or events."""
    if path.endswith(".parquet"):
        return "events"
    if path.endswith(".root"):
        names = object_names(path)
        if "Events" not in names and TREE not in names:
            listed = ", ".join(sorted(names)) or "nothing"
            raise InputFileError(f"{path} has neither a tree Events nor a tree {TREE}; it holds {listed}")
        return "events" if "Events" in names else "shards"
    if not is_remote(path) and os.path.isfile(path):
        raise InputFileError(f"{path}: expected a folder with data.yaml, or a file .root or .parquet")
    return "shards"


# ---------------------------------------------------------------------------------------- shards


def _of_shards(files: Sequence[JetFile], options: EstimateSource) -> JetEstimates:
    known = branch_names(files[0])
    texts = dict(options.estimates) or ({STANDARD: FULL} if FULL in known and not options.standard else {})
    if options.raw:
        texts = {"Raw": "pt", **texts}
    standard = StandardCorrection.load(options.standard) if options.standard else None
    if not texts and standard is None and not options.predictions:
        raise MissingColumns(
            f"{files[0].path}: no estimate: there is no {FULL} ('jettagger jec standard' fills it); name a branch, a "
            "file of predictions, or a standard correction"
        )
    expressions = {label: parse(text, where=label) for label, text in texts.items()}
    weight = options.weight or (WEIGHT if WEIGHT in known else "")
    needed = ["pt", "pt_gen", "eta_gen", *(name for item in expressions.values() for name in item.names)]
    needed += [weight] if weight else []
    needed += [name for name in ("hadron_flavor", "parton_flavor", EVENT) if name in known]
    needed += list(INPUTS) if standard is not None else []
    predictions = {label: _prediction(path) for label, path in options.predictions.items()}
    parts: list[JetEstimates] = []
    ratios: set[float] = set()
    done = 0
    for _, _, jets in jets_of_files(files, {"global": list(dict.fromkeys(needed))}):
        columns = jets.columns
        estimates: dict[str, Array] = {}
        intervals = {}
        if standard is not None:
            estimates[STANDARD] = columns["pt"] * standard.factor(*(columns[name] for name in _ORDER))
        for label, expression in expressions.items():
            estimates[label] = np.broadcast_to(expression.evaluate(columns), len(jets))
        for label, found in predictions.items():
            estimates[label] = columns["pt"] * found.part(found.factors, done, len(jets))
            if found.interval is not None:
                low, up = (columns["pt"] * found.part(end, done, len(jets)) for end in found.interval)
                intervals[label] = (low, up)
        if texts.get(STANDARD) == FULL:
            with np.errstate(divide="ignore", invalid="ignore"):
                ratios |= _extremes(estimates[STANDARD] / columns["pt"])
        parts.append(_shard(jets, estimates, intervals, weight))
        done += len(jets)
    for label, found in predictions.items():
        if len(found.factors) != done:
            place = options.predictions[label]
            raise MismatchError(
                f"{place}: {len(found.factors)} predictions for {done} jets in {len(files)} files of {label!r}"
            )
    return _without_standard(joined(parts), options, ratios, f"{FULL} over pt")


#: arguments of `StandardCorrection.factor`
_ORDER = ("pt", "eta", "area", "rho", "num_pv")


def _shard(
    jets: RawJets, estimates: Mapping[str, Array], intervals: Mapping[str, tuple[Array, Array]], weight: str
) -> JetEstimates:
    columns = jets.columns
    zeros = np.zeros(len(jets))
    return jet_estimates(
        columns["pt_gen"],
        columns["eta_gen"],
        flavour_of(columns.get("hadron_flavor", zeros), columns.get("parton_flavor", zeros)),
        estimates,
        weight=columns[weight] if weight else None,
        event=columns.get(EVENT),
        intervals=intervals,
    )


@dataclass(frozen=True, eq=False)
class _Prediction:
    """Factors on the uncorrected pt, float64[jets], and the ends of an interval."""

    factors: Floats
    interval: tuple[Floats, Floats] | None = None

    @staticmethod
    def part(values: Floats, start: int, number: int) -> Floats:
        """A range of jets; NaN beyond the end, which is an error later."""
        found = np.full(number, np.nan)
        chosen = values[start : start + number]
        found[: len(chosen)] = chosen
        return found


def _prediction(path: str) -> _Prediction:
    """The content of a file of NumPy: ln of factors (``.npy``), or factors by name (``.npz``)."""
    refuse_special(path)
    try:
        with np.load(Path(path), allow_pickle=False) if path.endswith(".npz") else nullcontext() as archive:
            if archive is not None:
                return _factors(path, {name: archive[name] for name in archive.files})
        values = np.load(Path(path), allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputFileError(f"cannot read {path}: {getattr(error, 'strerror', None) or reason_of(error)}") from error
    with np.errstate(over="ignore"):
        return _Prediction(np.exp(_column(path, values)))


def _factors(path: str, columns: Mapping[str, Array]) -> _Prediction:
    if FACTOR not in columns:
        raise InputFileError(
            f"{path}: no array {FACTOR}{hint(FACTOR, columns)}, expected those of 'jettagger jec predict'"
        )
    factors = _column(path, columns[FACTOR])
    ends = tuple(_column(path, columns[f"{FACTOR}{end}"]) for end in ("Down", "Up") if f"{FACTOR}{end}" in columns)
    return _Prediction(factors, (ends[0], ends[1]) if len(ends) == 2 else None)


def _column(path: str, values: Any) -> Floats:
    """One number per jet, float64[jets]."""
    array = np.asarray(values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.dtype.kind not in "fiu" or array.ndim != 1:
        raise InputFileError(
            f"{path}: an array of {array.dtype} of shape {list(array.shape)}, expected one number per jet"
        )
    return array.astype(np.float64)


# ---------------------------------------------------------------------------------------- events


def _of_events(paths: Sequence[str], options: EstimateSource) -> JetEstimates:
    parts: list[JetEstimates] = []
    standard = StandardCorrection.load(options.standard) if options.standard else None
    factors: set[float] = set()
    columns: EstimateColumns | None = None
    for path in paths:
        with _opened(path) as file:
            names = frozenset(file.names)
            if columns is None:
                columns = _columns(path, names, options)
            inputs = _standard_columns(path, names, columns.collection) if standard is not None else {}
            factor = f"{columns.collection}_rawFactor"
            wanted = [*columns.names(path, names), *inputs.values(), *([factor] if factor in names else [])]
            for events in _chunks(file, list(dict.fromkeys(wanted))):
                if factor in names:
                    factors |= _extremes(events[columns.collection]["rawFactor"])
                more = {} if standard is None else {STANDARD: _corrected(events, standard, inputs)}
                parts.append(estimates_of_events(events, columns, path, more=more))
    return _without_standard(joined(parts), options, factors, f"{options.collection}_rawFactor")


def _without_standard(jets: JetEstimates, options: EstimateSource, factors: set[float], name: str) -> JetEstimates:
    """Simulated files have one constant as correction: their pt is no standard correction."""
    if options.estimates or options.standard or len(factors) != 1 or STANDARD not in jets.estimates:
        return jets
    estimates = {label: pt for label, pt in jets.estimates.items() if label != STANDARD}
    shown = "is left out" if estimates else "is shown as pt"
    note = (
        f"{name} is {factors.pop():g} for all jets: these files have no standard correction, their pt {shown} "
        "('jettagger jec standard' derives one from shards)"
    )
    return replace(jets, estimates=estimates or {"pt": jets.estimates[STANDARD]}, notes=(*jets.notes, note))


def _opened(path: str) -> EventFile | FlatFile:
    return EventFile(path) if path.endswith(".root") else FlatFile(path)


def _chunks(file: EventFile | FlatFile, columns: Sequence[str]) -> Iterator[Any]:
    """Events with the columns, nested; at least one chunk."""
    number = file.n_events if isinstance(file, EventFile) else file.n_jets
    for start in range(0, max(number, 1), _STEP):
        stop = min(start + _STEP, number)
        if isinstance(file, EventFile):
            yield file.read(columns, start, stop)
        else:
            rows = file.read(columns, start, stop)
            yield nest({name: rows[name] for name in columns})


def _extremes(values: Any) -> set[float]:
    """Smallest and largest of some values, without the digits of rounding."""
    import awkward as ak

    flat = np.asarray(ak.to_numpy(ak.flatten(values, axis=None)), dtype=np.float64)
    flat = flat[np.isfinite(flat)]
    return {round(float(item), 5) for item in (flat.min(), flat.max())} if len(flat) else set()


def _columns(path: str, names: frozenset[str], options: EstimateSource) -> EstimateColumns:
    """The estimates as expressions; without any, those that the file offers."""
    prefix = f"{options.collection}_"
    fields = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
    offered, intervals = default_estimates(fields)
    estimates = dict(options.estimates) or offered
    if options.standard:
        estimates.pop(STANDARD, None)
    if options.raw:
        estimates = {"Raw": RAW_PT, **estimates}
    if not estimates and not options.standard:
        raise MissingColumns(
            f"{path}: no estimate: no {prefix}pt and no column such as {prefix}PNetRegPtRawCorr; name an expression in "
            "columns of the jets"
        )
    # an interval belongs to the expression that it was made for
    intervals = {label: ends for label, ends in intervals.items() if estimates.get(label) == offered[label]}
    return EstimateColumns(estimates, intervals, options.collection, options.target, options.weight)


def _standard_columns(path: str, names: frozenset[str], collection: str) -> dict[str, str]:
    """Input of the correction -> flat column."""
    found = {name: f"{collection}_{name}" for name in ("eta", "area", "pt", "rawFactor")}
    for name, choices in _EVENT_INPUTS.items():
        found[name] = next((choice for choice in choices if choice in names), choices[0])
    missing = [column for column in found.values() if column not in names]
    if missing:
        listed = "; ".join(f"{name}{hint(name, names)}" for name in missing)
        raise MissingColumns(f"{path}: a standard correction needs {listed}")
    return found


def _corrected(events: Any, standard: StandardCorrection, inputs: Mapping[str, str]) -> Any:
    """The pt of all jets after a standard correction, jagged."""
    import awkward as ak

    def column(name: str) -> Any:
        if name in events.fields:
            return events[name]
        owner, _, rest = name.partition("_")
        return events[owner][rest]

    eta = column(inputs["eta"])
    spread = {name: ak.broadcast_arrays(column(flat), eta)[0] for name, flat in inputs.items()}
    arrays = {name: np.asarray(ak.to_numpy(ak.flatten(values)), np.float64) for name, values in spread.items()}
    raw = arrays["pt"] * (1 - arrays["rawFactor"])
    factors = standard.factor(raw, *(arrays[name] for name in _ORDER[1:]))
    return ak.unflatten(raw * factors, ak.num(eta))


guard(globals())
