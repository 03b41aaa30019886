"""Events of a calibration: opened, compared with what is used, and filled into the histogram of probe jets."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jettagger.arguments import guard
from jettagger.calibration import BinAxis, MassFactors
from jettagger.config.yamlfile import Document
from jettagger.discriminants import discriminant
from jettagger.display import Brief
from jettagger.errors import ConfigError, UnknownName
from jettagger.expressions import Expression, parse
from jettagger.files.retrying import RETRIES
from jettagger.histograms import AxisSpec
from jettagger.search.config import FileSet, event_arguments, model_name
from jettagger.search.definition import Sample
from jettagger.search.tagandprobe import DERIVED, OBJECTS, SCORE, TRUTH, ParametrisedTag, TagAndProbe
from jettagger.studies.calibration.schema import ParametrisedKeys, ProbeKeys
from jettagger.tagging.options import TaggerOptions

if TYPE_CHECKING:
    from jettagger.search.files import Survey
    from jettagger.search.run import Processed

__all__ = ["ProbeFiles", "fill_probes", "probe_files", "survey_probes"]


@dataclass(frozen=True)
class ProbeFiles(Brief):
    """Files of events and the selection of probe jets in them; made by `probe_files`.

    Parameters
    ----------
    document : Document
        The part of the configuration, with its lines.
    folder : pathlib.Path
        Folder of relative paths.
    files : dict of str to FileSet
        By data set.
    arguments : dict
        Of `jettagger.processors.ScaleFactorProcessor`, without the model.
    model : str, optional
    options : TaggerOptions, optional
    tree, schema : str
    chunk_size : int
    """

    document: Document
    folder: Path
    files: dict[str, FileSet]
    arguments: dict[str, Any]
    model: str | None
    options: TaggerOptions | None
    tree: str
    schema: str
    chunk_size: int

    @property
    def samples(self) -> Mapping[str, Sample]:
        """The sample of each data set."""
        samples: Mapping[str, Sample] = self.arguments["samples"]
        return samples

    def make_processor(self, cls: type[Any] | None = None, samples: Mapping[str, Sample] | None = None) -> Any:
        """The processor.

        Parameters
        ----------
        cls : type, optional
            A class derived from `jettagger.processors.ScaleFactorProcessor`, which is the default.
        samples : mapping, optional
            Instead of those of the configuration.

        Returns
        -------
        ScaleFactorProcessor, or cls

        Raises
        ------
        ConfigError
            If the definition is inconsistent, or the model lacks a score; gives the line.
        """
        from jettagger.tagging.tagger import load_tagger

        # processors are beside this room, so that only the name is known here
        made = importlib.import_module("jettagger.processors").ScaleFactorProcessor if cls is None else cls
        arguments = {**self.arguments, **({"samples": dict(samples)} if samples else {})}
        if self.model is not None:
            options = self.options or TaggerOptions()
            with self.document.at("tagger", "model"):
                tagger = load_tagger(self.model, replace(options, heads=()))
            with self.document.at("tagger", "heads"):
                arguments["model"] = tagger.with_heads(*options.heads)
        with self.document.at():
            return made(**arguments)


def probe_files(
    document: Document,
    path: tuple[str, ...],
    keys: ProbeKeys,
    folder: Path,
    *,
    score: str,
    thresholds: Iterable[float],
    axes: Iterable[BinAxis],
    variable: str,
) -> ProbeFiles:
    """The files and the selection from their keys.

    Parameters
    ----------
    document : Document
    path : tuple of str
        Place of the keys.
    keys : ProbeKeys
    folder : pathlib.Path
    score : str
        The discriminant.
    thresholds : iterable of float
    axes : iterable of BinAxis
    variable : str
        Name of the fitted variable.

    Returns
    -------
    ProbeFiles

    Raises
    ------
    ConfigError
        Gives the file, the line and the value.
    """
    lines = {place[len(path) :]: line for place, line in document.lines.items() if place[: len(path)] == path}
    data: Any = document.data
    for key in path:
        data = data[key]
    part = Document(data, document.name, lines)
    for name, weight in keys.weights.items():
        if weight.scale_factors is not None:
            with part.at("weights", name):
                raise ConfigError("scale factors cannot be a weight of their own measurement: expected an expression")
        if weight.file is not None or weight.theory is not None:
            with part.at("weights", name):
                raise ConfigError("corrections of files and theory are weights of a search: expected an expression")

    def expression(text: str | None, *place: str) -> Expression | None:
        if text is None:
            return None
        made = parse(text, part.where(*place))
        _ = made.names
        return made

    def named(items: Mapping[str, str] | None, key: str) -> dict[str, Expression | None] | None:
        return None if items is None else {name: expression(text, key, name) for name, text in items.items()}

    shared, files = event_arguments(part, keys, folder)
    with part.at("variable"):
        bins = None if keys.variable.bins is None else (int(keys.variable.bins[0]), *keys.variable.bins[1:])
        fitted = AxisSpec(
            variable,
            bins,  # type: ignore[arg-type]
            keys.variable.edges,
            keys.variable.label,
            keys.variable.unit,
            keys.variable.expression,
        )
    with part.at("btag"):
        btag = (
            ParametrisedTag({5: keys.btag.bottom, 4: keys.btag.charm, 0: keys.btag.light}, keys.btag.flavour)
            if isinstance(keys.btag, ParametrisedKeys)
            else expression(keys.btag, "btag")
        )
    sources = {"mass": "probe.msoftdrop"}
    arguments = {
        **shared,
        "score": discriminant(score),
        "bands": (keys.score_range[0], *thresholds, keys.score_range[1]),
        "axes": [
            AxisSpec(axis.name, edges=tuple(axis.edges), unit=axis.unit, expression=sources.get(axis.name, ""))
            for axis in axes
        ],
        "variable": fitted,
        "kind": keys.kind,
        "btag": btag,
        "separation": keys.separation,
        "cuts": named(keys.cuts, "cuts"),
        "resonance": keys.resonance,
        "categories": named(keys.truth, "truth"),
        "prefix": keys.prefix,
        "event_cut": expression(keys.event_selection, "event_selection"),
        "luminosity": keys.luminosity,
        "generator_weight": keys.generator_weight,
        "collection": keys.collection,
        "jets": keys.jets,
        **{name: expression(getattr(keys, name), name) for name in OBJECTS},
    }
    with part.at():
        TagAndProbe(**arguments)
    with part.at("tagger", "provider"):
        options = None if keys.tagger is None else keys.tagger.options(folder)
    return ProbeFiles(
        part,
        folder,
        files,
        arguments,
        None if keys.tagger is None else model_name(keys.tagger.model, folder),
        options,
        keys.tree,
        keys.schema_name or ("NanoAODSchema" if keys.tagger is None else "PFNanoAODSchema"),
        keys.chunk_size,
    )


def survey_probes(
    probes: ProbeFiles,
    processor: Any,
    *,
    skip_broken: bool = False,
    retries: int = RETRIES,
    progress: Callable[[int], None] | None = None,
) -> Survey:
    """Open all files and compare their columns with those that are used. No events are read.

    Parameters
    ----------
    probes : ProbeFiles
    processor : ScaleFactorProcessor
    skip_broken, retries
        As for `jettagger.search.files.survey`.
    progress : callable, optional
        Called with 1 after each file.

    Returns
    -------
    Survey

    Raises
    ------
    ConfigError, InputFileError, MismatchError, MissingColumns
        As for `jettagger.search.files.survey`.
    """
    from jettagger.search.files import survey

    return survey(probes, processor, check=_check_columns, skip_broken=skip_broken, retries=retries, progress=progress)


def fill_probes(
    probes: ProbeFiles,
    found: Survey,
    cls: type[Any] | None = None,
    *,
    executor: str = "iterative",
    workers: int = 1,
    scheduler: str | None = None,
    skip_broken: bool = False,
    retries: int = RETRIES,
    progress: Callable[[int], None] | None = None,
) -> Processed:
    """Fill the histogram of probe jets.

    Parameters
    ----------
    probes : ProbeFiles
    found : Survey
    cls : type, optional
        The class of the processor.
    executor, workers, scheduler, skip_broken, retries, progress
        As for `jettagger.search.run.run_search`.

    Returns
    -------
    Processed

    Raises
    ------
    ConfigError, InputFileError, InvalidValues
        As for `jettagger.search.run.run_files`.
    """
    from jettagger.search.run import run_files

    return run_files(
        probes,
        probes.make_processor(cls, found.samples),
        found,
        executor=executor,
        workers=workers,
        scheduler=scheduler,
        skip_broken=skip_broken,
        retries=retries,
        progress=progress,
    )


def _check_columns(probes: Any, processor: Any, file: Any, sample: Sample) -> None:
    """Compare the columns that are used with those of one file."""
    document = probes.document
    if processor.tagger is not None:
        processor.tagger.check(file, file.path)
    fields = {name: list(file.fields(name)) for name in ("Muon", processor.jets, processor.collection)}
    stored = fields[processor.collection]
    if not stored:
        with document.at("collection"):
            raise UnknownName("collection", processor.collection, file.collections, file.path)
    jets = [*stored, *processor.names.values()]
    score = processor.definition.score
    score.resolve(tuple(jets), prefix=score.prefix or processor.prefix)
    dijet = processor.definition.kind == "dijet"
    homes = {"muon": fields["Muon"], "tag": [*jets, SCORE] if dijet else fields[processor.jets]}
    homes["probe"] = [*jets, SCORE]
    for name in OBJECTS:
        cut = getattr(processor.definition, name)
        with document.at(name):
            _known(cut.names, [*homes[name], "drMuon"], f"column of the {name}", file.path)
    if isinstance(processor.btag, Expression):
        with document.at("btag"):
            _known(processor.btag.names, [*homes["tag"], "drMuon"], "column of the tag", file.path)
    events = sorted(name.replace("_", ".", 1) for name in file.names)
    if processor.event_cut is not None:
        with document.at("event_selection"):
            _known(processor.event_cut.names, events, "column", file.path)
    truth = [name for names in TRUTH.values() for name in names]

    def check(used: Iterable[Expression | None], *place: str, more: Iterable[str] = ()) -> None:
        with document.at(*place):
            for expression in used:
                for name in () if expression is None else expression.names:
                    front, _, column = name.partition(".")
                    if front in OBJECTS and column:
                        _known([column], [*homes[front], *more], f"column of the {front}", file.path)
                    else:
                        _known([name], [*DERIVED, *events], "column", file.path)

    for name, expression in processor.definition.cuts.items():
        check([expression], "cuts", name)
    check([axis.parsed for axis in processor.histogram.axes], "variable")
    if sample.data:
        return
    for name, expression in processor.definition.categories.items():
        check([expression], "truth", name, more=truth)
    for name, parts in processor.factors.items():
        check(parts, "weights", name)
    for name, variation in processor.variations.items():
        with document.at("variations", name):
            if isinstance(variation, MassFactors):
                _known([variation.column], jets, "column of the jets", file.path)
                continue
            for changes in variation.sides.values():
                for column, expression in changes.items():
                    _known([column, *expression.names], jets, "column of the jets", file.path)


def _known(names: Iterable[str], known: Iterable[str], kind: str, where: str) -> None:
    known = list(known)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UnknownName(kind, unknown, known, where)


guard(globals())
