"""The files of a search: expanded, opened, and compared with the requirements of the search in advance."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Any

from jettagger.arguments import guard
from jettagger.bundles.registry import load_bundle
from jettagger.calibration import MassFactors
from jettagger.discriminants import DerivedColumn
from jettagger.display import Brief
from jettagger.errors import InputFileError, JettaggerError, MismatchError, UnknownName
from jettagger.files import identity
from jettagger.files.generated import GeneratedFile, sources_of_note, sources_of_root
from jettagger.files.retrying import RETRIES, retried
from jettagger.files.root import EventFile
from jettagger.files.verification import kinematics, verify_events
from jettagger.formats import Format, ReadPlan
from jettagger.heads import Head, load_head
from jettagger.provenance import Origin, origin, parsed
from jettagger.search.config import SearchConfig
from jettagger.search.definition import DIJET, Sample
from jettagger.search.energykeys import check_energy_columns
from jettagger.search.eras import era_of_file
from jettagger.search.expanding import expand
from jettagger.search.filesets import ListedFile
from jettagger.search.interface import EventsConfig, EventsProcessor, SearchProcessor
from jettagger.search.normalisation import GENERATOR_WEIGHT, generated_sum, normalise
from jettagger.search.objects import COUNT, check_object_columns, column_of_object, object_columns
from jettagger.search.samples import era_place
from jettagger.search.skims import ParquetSkim, is_parquet
from jettagger.search.unopened import check_listed, missing_files, well_known
from jettagger.skims.jobs import Content, Layout, chunk_rows
from jettagger.skims.skim import MEMORY

__all__ = ["FileInfo", "Survey", "expand", "files_read", "list_files", "survey"]

#: number of files opened concurrently: opening waits for disks and networks, not for the CPU
OPEN_AT_ONCE = 8

#: maximum number of missing files that a message names
MOST_NAMED = 10

#: year and month of the first version of coffea whose Runner reads them
RNTUPLES_SINCE, PARQUET_SINCE = (2025, 11), (2026, 5)


#: compares the columns of a file with what a configuration and its processor use
ColumnCheck = Callable[[Any, Any, Any, Sample], None]


@dataclass(frozen=True)
class FileInfo(Brief):
    """Properties of a file.

    Attributes
    ----------
    path, dataset : str
    events : int
        Number of events in its tree.
    simulated : bool or None
        Whether it has generator weights; None if this is not needed.
    sources : tuple of GeneratedFile
        The generated events of the file, from its tree ``Runs`` or from the provenance of a skim; empty if it does not
        record them.
    origin : Origin or None
        The model of its scores, from the provenance of a skim.
    listed : ListedFile or None
        What a fileset says about it, if the file has not been opened.
    """

    path: str
    dataset: str
    events: int
    simulated: bool | None = None
    sources: tuple[GeneratedFile, ...] = ()
    origin: Origin | None = None
    listed: ListedFile | None = None

    @property
    def generated(self) -> float | None:
        """The sum of generator weights of its source files, also if it contains a part of them only."""
        return generated_sum([self], GENERATOR_WEIGHT)


@dataclass(frozen=True)
class Survey(Brief):
    """The files of a search.

    Attributes
    ----------
    files : tuple of FileInfo
        Files that can be read.
    broken : dict
        File -> reason why it is skipped.
    samples : dict
        The samples, with the sums of weights read from the files.
    lost : dict
        Data set -> its files in ``broken``.
    retried : dict
        File -> number of retries after transient errors.
    """

    files: tuple[FileInfo, ...]
    broken: Mapping[str, str]
    samples: Mapping[str, Sample] = field(default_factory=dict)
    lost: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    retried: Mapping[str, int] = field(default_factory=dict)

    def from_runs(self, config: Any, dataset: str) -> bool:
        """Whether a sample is normalised to the sum in the trees ``Runs`` of its files."""
        own, made = config.samples[dataset], self.samples[dataset]
        return own.sum_of_weights is None and made.sum_of_weights is not None

    @property
    def origin(self) -> Origin | None:
        """The model of the scores in the files; None if a file does not record it."""
        origins = [info.origin for info in self.files]
        return origins[0] if origins and None not in origins else None

    @property
    def events(self) -> int:
        """Number of events in all readable files."""
        return sum(info.events for info in self.files)

    def filesets(self) -> dict[str, dict[str, list[str]]]:
        """``root`` and ``parquet``, as far as present -> data set -> files, in the form expected by coffea's Runner."""
        found: dict[str, dict[str, list[str]]] = {}
        for info in self.files:
            if info.events:
                kind = "parquet" if is_parquet(info.path) else "root"
                found.setdefault(kind, {}).setdefault(info.dataset, []).append(info.path)
        return found


def files_read(config: SearchConfig, found: Survey | None = None) -> list[str]:
    """Every file that a search reads: the configuration, files of events, certified luminosity sections, the model.

    Parameters
    ----------
    config : SearchConfig
    found : Survey, optional
        Its files, if known already.

    Returns
    -------
    list of str
    """
    paths = [config.document.name, *(sample.golden_json for sample in config.samples.values() if sample.golden_json)]
    paths += [source for files in config.files.values() for source in files.sources]
    changes = (config.document.data.get("variations") or {}).values()
    paths += [str(config.folder / keys["mass_factors"]) for keys in changes if keys.get("mass_factors")]
    weights = config.document.data.get("weights") or {}
    for name in config.search.tag_factors:
        paths += [str(config.folder / weights[name][key]) for key in ("scale_factors", "efficiencies")]
    paths += [path for item in config.search.corrections.values() for path in item.files]
    paths += [era.certified for era in config.search.eras.values() if era.certified]
    if found is not None:
        paths += [*(info.path for info in found.files), *found.broken]
    if config.model is not None:
        with config.document.at("tagger", "model"):
            paths += map(str, load_bundle(config.model).sources)
        with config.document.at("tagger", "heads"):
            for head in () if config.options is None else config.options.heads:
                paths += map(str, (head if isinstance(head, Head) else load_head(head)).sources)
    return paths


def survey(
    config: EventsConfig,
    processor: EventsProcessor,
    *,
    check: ColumnCheck | None = None,
    skip_broken: bool = False,
    retries: int = RETRIES,
    progress: Callable[[int], None] | None = None,
    verify: bool = False,
    part: bool = False,
) -> Survey:
    """Find and open all files of a search and compare them with its requirements.

    Events are read only with ``verify``, and from skims with checksums.

    Parameters
    ----------
    config : SearchConfig, or another with ``document``, ``folder``, ``files``, ``samples`` and ``tree``
    processor : SearchProcessor, or another with its attributes but ``search``
        Processor of this configuration.
    check : callable, optional
        Called with the configuration, the processor, an open file and its sample, to compare columns; default: those of
        a search.
    skip_broken : bool
        Skip files that cannot be opened, and list them in the result; otherwise they are an error.
    retries : int
        How often a file is opened again after a transient error, see `jettagger.files.retrying.is_momentary`.
    progress : callable, optional
        Called with 1 after each file.
    verify : bool
        Verify the consistency of the columns that the model reads, and of the kinematics of the jets, in all events,
        see `jettagger.files.verification`; a file that fails is treated like one that cannot be opened.
    part : bool
        Whether the files are a part of those of the search, with none of some data sets.

    Returns
    -------
    Survey

    Raises
    ------
    InputFileError
        If a file cannot be opened, or none of a data set.
    MismatchError
        If data and simulation are mixed in one data set, a file belongs to two data sets, or no model is run and the
        files contain scores of different models.
    ConfigError
        If a column or a score is in no file; gives the line that uses it.
    MissingColumns
        If a file lacks columns that the model needs.
    """
    wanted, broken, left_out = _wanted(config, skip_broken=skip_broken)
    untouched = well_known(config, processor, wanted, verify=verify)

    again: dict[str, int] = {}
    columns = _check_columns if check is None else check

    def look(item: tuple[str, str, ListedFile | None]) -> FileInfo | JettaggerError:
        dataset, path, listed = item
        if listed is not None and path in untouched:
            sources = () if config.samples[dataset].data else listed.generated or ()
            return FileInfo(path, dataset, listed.events or 0, sources=sources, listed=listed)
        try:
            info, again[path] = retried(lambda: _look(config, processor, item, columns, verify=verify), path, retries)
        except InputFileError as error:
            return error
        return info

    infos: list[FileInfo] = []
    with ThreadPoolExecutor(OPEN_AT_ONCE) as pool, ExitStack() as leave:
        leave.callback(pool.shutdown, wait=False, cancel_futures=True)  # after an error or Ctrl-C no further is opened
        for (dataset, path, _), found_ in zip(wanted, pool.map(look, wanted), strict=True):
            if progress is not None:
                progress(1)
            if isinstance(found_, FileInfo):
                infos.append(found_)
            elif skip_broken:
                broken[path] = str(found_)
                left_out.setdefault(dataset, []).append(path)
            else:
                with config.document.at("samples", dataset, "files"):
                    raise InputFileError(str(found_)) from found_
    samples = dict(config.samples)
    for dataset, files in config.files.items():
        mine = [info for info in infos if info.dataset == dataset]
        if part and not any(info.events for info in mine):
            continue
        with config.document.at("samples", dataset, "files"):
            if not mine:
                raise InputFileError(f"dataset {dataset!r} has no file that can be read")
            if not any(info.events for info in mine):
                raise InputFileError(f"dataset {dataset!r} has no events in {len(mine)} files")
            samples[dataset] = normalise(
                dataset, samples[dataset], files, mine, processor.generator_weight, left_out.get(dataset, [])
            )
    if processor.tagger is None:
        _check_one_model(infos)
    lost = {dataset: tuple(paths) for dataset, paths in left_out.items()}
    return Survey(tuple(infos), broken, samples, lost, {path: count for path, count in again.items() if count})


def _wanted(
    config: EventsConfig, *, skip_broken: bool
) -> tuple[list[tuple[str, str, ListedFile | None]], dict[str, str], dict[str, list[str]]]:
    """All files with their data set and what a fileset says about them; those left out, with reasons; by data set."""
    broken: dict[str, str] = {}
    left_out: dict[str, list[str]] = {}
    wanted: list[tuple[str, str, ListedFile | None]] = []
    place: dict[Hashable, tuple[str, str]] = {}
    for dataset, files in config.files.items():
        with config.document.at("samples", dataset, "files"):
            mine: list[tuple[str, str, ListedFile | None]] = []
            for pattern in files.patterns:
                try:
                    mine += [(dataset, path, None) for path in expand(pattern, config.folder)]
                except InputFileError as error:
                    if not skip_broken:
                        raise
                    broken[pattern] = str(error)
                    left_out.setdefault(dataset, []).append(pattern)
            mine += [(dataset, listed.path, listed) for listed in files.listed]
            missing = missing_files(mine)
            if missing and not skip_broken:
                raise InputFileError(
                    f"{len(missing)} of {len(files.listed)} files in {', '.join(files.sources)} do not exist: "
                    f"{', '.join(list(missing)[:MOST_NAMED])}{', ...' if len(missing) > MOST_NAMED else ''}"
                )
            broken |= missing
            left_out.setdefault(dataset, []).extend(missing)
            for item in mine:
                path = item[1]
                if path in missing:
                    continue
                key = identity(path)
                if key in place:
                    other, name = place[key]
                    both = f"{other!r} and {dataset!r}" if other != dataset else f"{dataset!r} twice"
                    also = "" if name == path else f", also called {name},"
                    raise MismatchError(f"{path}{also} is in {both}: its events would count twice")
                place[key] = (dataset, path)
                wanted.append(item)
    return wanted, broken, {dataset: paths for dataset, paths in left_out.items() if paths}


def list_files(config: EventsConfig, *, skip_broken: bool = False) -> list[tuple[str, str, ListedFile | None]]:
    """All files of a search in their order; nothing is opened.

    Parameters
    ----------
    config : SearchConfig, or another with ``document``, ``folder`` and ``files``
    skip_broken : bool
        Leave out files that do not exist.

    Returns
    -------
    list of tuple of str, str, ListedFile or None
        Data set, path, and what a fileset says about it.

    Raises
    ------
    InputFileError, MismatchError
        As for `survey`.
    """
    return _wanted(config, skip_broken=skip_broken)[0]


def _check_one_model(infos: Iterable[FileInfo]) -> None:
    """Refuse scores of different models, or heads with different content, under the same column names."""
    known = [info for info in infos if info.origin is not None]
    for info in known:
        if info.origin is not None and known[0].origin is not None:
            try:
                known[0].origin.check(info.origin, f"the scores in {known[0].path}")
            except MismatchError as error:
                raise MismatchError(
                    f"{info.path}: {error}; a search needs scores of one model: make the skims again with one, or name "
                    "it as 'tagger'"
                ) from error


def _look(
    config: Any, processor: Any, item: tuple[str, str, ListedFile | None], check: ColumnCheck, *, verify: bool
) -> FileInfo:
    dataset, path, listed = item
    if is_parquet(path):
        _check_coffea(path, "a parquet file", PARQUET_SINCE, "make skims as ROOT files")
        skim = ParquetSkim(path)
        check_listed(path, listed, skim.n_events, None)
        skim.verify()
        info = _info(config, processor, dataset, skim, check)
        if verify:
            _verify(processor, skim)
        return info
    with EventFile(path, config.tree) as file:
        check_listed(path, listed, file.n_events, file.uuid)
        if file.is_rntuple:
            _check_coffea(path, "an RNTuple", RNTUPLES_SINCE, "make skims of it with 'jettagger tag'")
        file.verify()  # coffea, which reads the events, does not look for the checksums of our skims
        info = _info(config, processor, dataset, file, check)
        if verify:
            _verify(processor, file)
        return info


def _check_coffea(path: str, kind: str, since: tuple[int, int], instead: str) -> None:
    """Refuse what the installed coffea cannot read."""
    here = version("coffea")
    if tuple(int(part) for part in here.split(".")[:2]) < since:
        raise InputFileError(
            f"{path} is {kind}, which coffea {here} does not read in a search: install coffea {since[0]}.{since[1]} or "
            f"later, or {instead}"
        )


def _verify(processor: Any, file: EventFile | ParquetSkim) -> None:
    """Verify the columns of the model and the kinematics of the jets."""
    if not file.n_events:
        return
    if processor.tagger is not None:
        plan = processor.tagger.check(file, file.path)
    else:
        plan = ReadPlan(Format("jets", "jets with scores", processor.collection, ()), {}, (), ())
    more = kinematics(replace(plan.format, jets=processor.collection), file.fields(processor.collection))
    plan = replace(plan, more=(*plan.more, *more))
    probe = min(file.n_events, 20)
    size = file.read(plan.columns, 0, probe).nbytes / probe
    edges = file.edges(plan.columns) if isinstance(file, EventFile) else ()
    rows = chunk_rows(size, MEMORY // OPEN_AT_ONCE)
    verify_events(file, plan, Content(Layout("", plan.columns, ()), file.n_events, rows, edges).ranges())


def _info(config: Any, processor: Any, dataset: str, file: EventFile | ParquetSkim, check: ColumnCheck) -> FileInfo:
    sample, path = config.samples[dataset], file.path
    simulated = None if processor.generator_weight is None else processor.generator_weight in file.names
    if simulated is not None and simulated == sample.data:
        is_, has = ("data", "has") if sample.data else ("simulation", "lacks")
        with config.document.at("samples", dataset):
            raise MismatchError(
                f"dataset {dataset!r} is {is_}, but {path} {has} the column {processor.generator_weight!r}: "
                "data and simulation must not be mixed in one dataset"
            )
    if file.n_events:
        check(config, processor, file, sample)
    note = file.note()
    if sample.data:
        sources: tuple[GeneratedFile, ...] = ()
    elif isinstance(file, EventFile):
        sources = sources_of_root(file)
    else:
        sources = sources_of_note(note, path, file.n_events)
    return FileInfo(path, dataset, file.n_events, simulated, sources, origin(parsed(note)))


def _check_columns(
    config: SearchConfig, processor: SearchProcessor, file: EventFile | ParquetSkim, sample: Sample
) -> None:
    """Compare the columns used in the configuration with those of one file."""
    search = processor.search
    if processor.tagger is not None:
        processor.tagger.check(file, file.path)
    stored = file.fields(search.collection)
    if not stored:
        with config.document.at("collection"):
            raise UnknownName("collection", search.collection, file.collections, file.path)
    jets = [*stored, *processor.names.values()]
    everything = [*jets, *search.discriminants]
    kind = f"column of {search.collection}"
    for name, item in search.discriminants.items():
        with config.document.at("discriminants", name):
            item.resolve(tuple(jets), prefix=item.prefix or search.prefix)
            if isinstance(item, DerivedColumn) and item.of_model and processor.tagger is None:
                item.check_origin(origin(parsed(file.note())))
    with config.document.at("jets", "preselection"):
        _known(search.preselection.names, stored, kind, file.path)
    for key, column in (("select_by", search.pick), ("sort_by", search.order), ("mass", search.mass)):
        with config.document.at("jets", key):
            _known([column], everything, kind, file.path)
    for name, variation in search.variations.items():
        if isinstance(variation, MassFactors):
            if not sample.data:
                with config.document.at("variations", name, "mass_factors"):
                    late = variation.column in processor.names.values()
                    _known([variation.column], jets if late else stored, kind, file.path)
            continue
        for side, changes in variation.sides.items():
            for column, expression in changes.items() if side == "nominal" or not sample.data else ():
                with config.document.at("variations", name, side, column):
                    _known([column, *expression.names], jets, kind, file.path)
    events = _event_columns(file)
    if sample.cut is not None:
        with config.document.at("samples", dataset_of(config, sample), "cut"):
            _known(sample.cut.names, events, "column", file.path)
    if sample.era in search.eras:
        with config.document.at(*era_place(config.document, sample.era)):
            other = era_of_file(search.eras, sample.era, events)
            if other:
                raise MismatchError(
                    f"{file.path} is in a sample of the era {sample.era!r}, but lacks its triggers and has those of "
                    f"{other!r} ({', '.join(search.eras[other].columns)})"
                )
            _known(search.eras[sample.era].columns, events, "trigger", file.path)
    if search.event_cut is not None:
        with config.document.at("event_selection"):
            _known(search.event_cut.names, events, "column", file.path)
    if search.jet_energy is not None:
        check_energy_columns(config.document, search.jet_energy, file, events, sample)
    of_objects = check_object_columns(config.document, search.objects, file, events)
    own = [*(DIJET if search.n_jets == 2 else ()), "njets", *object_columns(search.objects, of_objects)]
    for path, expression in config.expressions():
        if path[0] == "weights" and sample.data:
            continue
        with config.document.at(*path):
            for name in expression.names:
                front, _, column = name.partition(".")
                if front in ("jet1", "jet2") and column:
                    _known([column], everything, kind, file.path)
                elif (named := column_of_object(search.objects, name)) is not None and named[2]:
                    collection = search.objects[named[0]].collection
                    allowed = [*of_objects[collection], *(() if named[1] else (COUNT,))]
                    _known([named[2]], allowed, f"column of {collection}", file.path)
                else:
                    _known([name], [*own, *events], "column", file.path)


def dataset_of(config: SearchConfig, sample: Sample) -> str:
    """The name of a sample."""
    return next((name for name, item in config.samples.items() if item is sample), "")


def _event_columns(file: EventFile | ParquetSkim) -> list[str]:
    """The columns with their names in NanoEvents: ``MET_pt`` is ``MET.pt``."""
    return sorted(name.replace("_", ".", 1) for name in file.names)


def _known(names: Iterable[str], known: Iterable[str], kind: str, where: str) -> None:
    known = list(known)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UnknownName(kind, unknown, known, where)


def to_dict(found: Survey) -> dict[str, Any]:
    """Content of the survey for JSON."""
    return {
        "files": [
            {
                "path": info.path,
                "dataset": info.dataset,
                "events": info.events,
                "generated": info.generated,
                **({} if info.listed is None else {"opened": False, "fileset": info.listed.source}),
            }
            for info in found.files
        ],
        "broken": dict(found.broken),
    }


guard(globals(), "Survey", "survey")
