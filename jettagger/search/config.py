"""The configuration of a search: YAML in, checked values out; every complaint names the file and the line."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jettagger.arguments import guard
from jettagger.config.yamlfile import Document, read_yaml
from jettagger.discriminants import Discriminant, discriminant
from jettagger.errors import ConfigError, JettaggerError, UnknownName, hint
from jettagger.expressions import Expression, parse
from jettagger.histograms import HistSpec
from jettagger.processors.search import (
    EVENTS_READ,
    JetVariation,
    Region,
    ResonanceSearchProcessor,
    Sample,
    WeightFactor,
)
from jettagger.statistics.bins import ONE_EVENT
from jettagger.statistics.templates import Signal, TemplateSpec

__all__ = ["SCHEMAS", "VERSION", "FileSet", "SearchConfig", "read_config"]

#: the version of the configuration files
VERSION = 1

#: coffea's schemas by the names that a configuration may use
SCHEMAS = ("PFNanoAODSchema", "NanoAODSchema", "ScoutingNanoAODSchema")

_TOP = (
    "version", "luminosity", "tree", "schema", "chunk_size", "generator_weight", "collection", "model", "prefix",
    "threads", "samples", "events", "jets", "discriminants", "cuts", "regions", "weights", "variations",
    "histograms", "templates", "plots", "blind",
)  # fmt: skip
_JETS = ("count", "preselection", "pick", "order", "mass")
_SAMPLE = ("files", "data", "cross_section", "sum_of_weights", "golden_json")
_TEMPLATES = (
    "histogram",
    "processes",
    "signals",
    "regions",
    "data",
    "variations",
    "normalisations",
    "free",
    "empty_bin_yield",
    "min_effective_events",
    "names",
)

#: what ``sum_of_weights`` and ``cross_section`` may be besides a number
RUNS = "Runs"


@dataclass(frozen=True)
class FileSet:
    """The files of one data set.

    Attributes
    ----------
    patterns : tuple of str
        Paths and globs, local or with a protocol, as they were written.
    from_runs : bool
        Whether the sum of generator weights must be that of the files' trees ``Runs``, which is the default where they
        have it.
    section_from_runs : bool
        Whether the cross section is that in the trees ``Runs``, where ``jettagger simulate`` writes it.
    """

    patterns: tuple[str, ...]
    from_runs: bool = False
    section_from_runs: bool = False


@dataclass(frozen=True)
class SearchConfig:
    """Everything that a search is made of.

    Attributes
    ----------
    document : Document
        The file, with its lines.
    folder : pathlib.Path
        What relative paths start from.
    samples, files : dict
        By data set.
    processor : dict
        Further arguments of `jettagger.processors.ResonanceSearchProcessor`.
    tree, schema : str
        Name of the tree; one of `SCHEMAS`.
    chunk_size : int
        Events in a chunk at most.
    templates : TemplateSpec, optional
        What to make templates of.
    template_histogram : str
        The histogram that they are made of.
    plots : bool
        Whether plots are drawn where matplotlib is installed.
    """

    document: Document
    folder: Path
    samples: dict[str, Sample]
    files: dict[str, FileSet]
    processor: dict[str, Any]
    tree: str = "Events"
    schema: str = "PFNanoAODSchema"
    chunk_size: int = 20_000
    templates: TemplateSpec | None = None
    template_histogram: str = ""
    plots: bool = True
    digest: str = field(default="", compare=False)

    def make_processor(
        self,
        cls: type[ResonanceSearchProcessor] = ResonanceSearchProcessor,
        samples: Mapping[str, Sample] | None = None,
    ) -> ResonanceSearchProcessor:
        """The processor that does the work.

        Parameters
        ----------
        cls : type
            A class of your own, derived from `jettagger.processors.ResonanceSearchProcessor`.
        samples : mapping, optional
            Instead of those of the configuration.

        Returns
        -------
        ResonanceSearchProcessor

        Raises
        ------
        ConfigError
            If a discriminant or a column needs a score that the model lacks; says on which line.
        """
        made = dict(self.processor)
        model = made.get("model")
        if model is not None:
            from jettagger.tagging.tagger import load_tagger

            with self.at("model"):
                made["model"] = load_tagger(model, threads=made.get("threads"))
            self._check_scores(made["model"].bundle, made["prefix"] or made["model"].bundle.prefix)
        with self.at():
            return cls(samples=dict(samples or self.samples), **made)

    def _check_scores(self, bundle: Any, prefix: str) -> None:
        known = [output.name for output in bundle.outputs]
        for name, item in self.processor["discriminants"].items():
            if item.prefix in (None, prefix):
                with self.at("discriminants", name):
                    item.needs(known)
        start = f"{prefix}_"
        for path, expression in self.expressions():
            for name in expression.names:
                column = name.partition(".")[2]
                if name.startswith(("jet1.", "jet2.")) and column.startswith(start):
                    score = column.removeprefix(start)
                    if score not in known:
                        with self.at(*path):
                            raise UnknownName("score", score, known, f"model {bundle.name!r}")

    def expressions(self) -> Iterator[tuple[tuple[Any, ...], Expression]]:
        """All expressions in candidates and events, each with its place in the document."""
        for name, text in self.processor["cuts"].items():
            yield ("cuts", name), parse(text, self.document.where("cuts", name))
        for name, factor in self.processor["weights"].items():
            for key in ("nominal", "up", "down"):
                text = getattr(factor, key)
                if text is not None:
                    place = ("weights", name, key)
                    yield place, parse(text, self.document.where(*place))
        for spec in self.processor["histograms"]:
            for axis in spec.axes:
                path: tuple[Any, ...] = ("histograms", spec.name)
                for more in (("axes", axis.name, "expression"), ("axes", axis.name), ("expression",)):
                    if (*path, *more) in self.document.lines:
                        path = (*path, *more)
                        break
                yield path, parse(axis.expression or axis.name, self.document.where(*path))

    @contextmanager
    def at(self, *path: Any) -> Iterator[None]:
        """Put the file and the line in front of errors that are raised inside."""
        with _at(self.document, *path):
            yield


@contextmanager
def _at(document: Document, *path: Any) -> Iterator[None]:
    try:
        yield
    except JettaggerError as error:
        text, place = str(error), document.where(*path)
        if text.startswith(document.name):
            raise
        # a wrong name or value in the file is its error; what is wrong with data files keeps its class
        kind = ConfigError if isinstance(error, (ConfigError, UnknownName)) else type(error)
        raise kind(f"{place}: {text}") from error


def read_config(source: str | os.PathLike[str], name: str = "", folder: str | os.PathLike[str] = "") -> SearchConfig:
    """Read the configuration of a search and check all that can be checked without opening files.

    Parameters
    ----------
    source : path, or str
        The YAML file; with ``name``, the text itself.
    name : str
        What to call the text in messages.
    folder : path
        What relative paths start from; default: the file's folder.

    Returns
    -------
    SearchConfig

    Raises
    ------
    ConfigError
        Says the file, the line, what was found and what was expected, with the nearest valid name.

    Examples
    --------
    >>> text = '''
    ... version: 1
    ... luminosity: 138
    ... samples: {tt: {files: ["tt*.root"], cross_section: 830}}
    ... regions: {all: {kind: signal}}
    ... histograms: {mjj: {bins: [10, 500, 3000], unit: GeV}}
    ... '''
    >>> read_config(text, name="example").samples["tt"].cross_section
    830.0
    >>> read_config(text.replace("luminosity", "lumi"), name="example")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    jettagger.errors.ConfigError: example, line 3: unknown key 'lumi' (nearest: luminosity). Allowed: ...
    """
    document = read_yaml(source, name)
    base = Path(folder) if folder or name else Path(source).parent
    document.check_keys(_TOP, required=("version", "luminosity", "samples", "regions", "histograms"))
    if document.data["version"] != VERSION:
        got = document.data["version"]
        raise ConfigError(f"{document.where('version')}: version {got!r}, this jettagger reads {VERSION}")
    samples, files = _samples(document, base)
    arguments = _processor(document)
    templates, histogram = _templates(document, samples, arguments)
    schema = document.data.get("schema", "NanoAODSchema" if arguments["model"] is None else "PFNanoAODSchema")
    if schema not in SCHEMAS:
        near = hint(str(schema), SCHEMAS)
        place = document.where("schema")
        raise ConfigError(f"{place}: unknown schema {schema!r}{near}, expected one of {', '.join(SCHEMAS)}")
    plots = _switch(document, "plots")
    size = document.data.get("chunk_size", 20_000)
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise ConfigError(f"{document.where('chunk_size')}: 'chunk_size' must be a number of events, got {size!r}")
    config = SearchConfig(
        document=document,
        folder=base,
        samples=samples,
        files=files,
        processor=arguments,
        tree=_text(document, "Events", "tree") or "Events",
        schema=schema,
        chunk_size=size,
        templates=templates,
        template_histogram=histogram,
        plots=plots,
        digest=hashlib.sha256(repr(document.data).encode()).hexdigest(),
    )
    for _ in config.expressions():  # each is read with its line
        pass
    # without the model: whatever does not fit together is said before anything is loaded
    with config.at():
        ResonanceSearchProcessor(samples=samples, **{**arguments, "model": None})
    return config


def _part(document: Document, *path: Any) -> Any:
    part = document.data
    for key in path:
        part = part.get(key) if isinstance(part, Mapping) else None
    return part


def _mapping(document: Document, *path: Any) -> dict[str, Any]:
    if _part(document, *path) is None:
        return {}
    part = document.mapping(*path)
    for key in part:
        if not isinstance(key, str):
            raise ConfigError(f"{document.where(*path, key)}: a name must be text, got {key!r}")
    return part


def _switch(document: Document, name: str) -> bool:
    """A key that is true or false, and true if it is absent."""
    value = document.data.get(name, True)
    if not isinstance(value, bool):
        raise ConfigError(f"{document.where(name)}: {name!r} must be true or false, got {value!r}")
    return value


def _text(document: Document, default: str | None, *path: Any) -> str | None:
    value = _part(document, *path)
    if value is None:
        return default
    if not isinstance(value, str):
        raise ConfigError(f"{document.where(*path)}: {path[-1]!r} must be text, got {value!r}")
    return value


def _number(document: Document, *path: Any) -> float | None:
    value = _part(document, *path)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ConfigError(f"{document.where(*path)}: {path[-1]!r} must be a number, got {value!r}")
    return float(value)


def _texts(document: Document, *path: Any) -> tuple[str, ...]:
    value = _part(document, *path)
    items = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise ConfigError(f"{document.where(*path)}: {path[-1]!r} must be a list of names, got {value!r}")
    return tuple(items)


def _samples(document: Document, folder: Path) -> tuple[dict[str, Sample], dict[str, FileSet]]:
    samples, files = {}, {}
    for name in _mapping(document, "samples"):
        here = ("samples", name)
        document.check_keys(_SAMPLE, *here, required=("files",))
        patterns = _texts(document, *here, "files")
        if not patterns:
            raise ConfigError(f"{document.where(*here, 'files')}: no files for {name!r}")
        data = _part(document, *here, "data") or False
        if not isinstance(data, bool):
            raise ConfigError(f"{document.where(*here, 'data')}: 'data' must be true or false, got {data!r}")
        from_runs = _part(document, *here, "sum_of_weights") == RUNS
        section_from_runs = _part(document, *here, "cross_section") == RUNS
        from_events = _part(document, *here, "sum_of_weights") == EVENTS_READ
        for key, words in (("cross_section", (RUNS,)), ("sum_of_weights", (RUNS, EVENTS_READ))):
            value = _part(document, *here, key)
            if isinstance(value, str) and value not in words:
                raise ConfigError(
                    f"{document.where(*here, key)}: {key!r} must be a number or {' or '.join(words)}, got {value!r}"
                    f"{hint(value, words)}"
                )
        golden = _text(document, None, *here, "golden_json")
        with _at(document, *here):
            samples[name] = Sample(
                # a stand-in until the files are opened
                cross_section=1.0 if section_from_runs else _number(document, *here, "cross_section"),
                data=data,
                sum_of_weights=(
                    EVENTS_READ if from_events else None if from_runs else _number(document, *here, "sum_of_weights")
                ),
                golden_json=None if golden is None else str(folder / golden),
            )
            if from_runs and data:
                raise ConfigError("data have no sum of weights")
        files[name] = FileSet(patterns, from_runs, section_from_runs)
    if not samples:
        raise ConfigError(f"{document.where('samples')}: no samples")
    return samples, files


def _processor(document: Document) -> dict[str, Any]:
    """The arguments of the processor."""
    jets = _mapping(document, "jets")
    if jets:
        document.check_keys(_JETS, "jets")
    count = jets.get("count", 2)
    if isinstance(count, bool) or count not in (1, 2):
        raise ConfigError(f"{document.where('jets', 'count')}: 'count' must be 1 or 2, got {count!r}")
    preselection = _text(document, "pt > 200", "jets", "preselection") or ""
    parse(preselection, document.where("jets", "preselection"))
    event_cut = _text(document, None, "events")
    if event_cut is not None:
        parse(event_cut, document.where("events"))
    luminosity = _number(document, "luminosity")
    if luminosity is None or luminosity <= 0:
        raise ConfigError(f"{document.where('luminosity')}: 'luminosity' must be above zero (in 1/fb)")
    threads = _part(document, "threads")
    if threads is not None and (not isinstance(threads, int) or isinstance(threads, bool) or threads < 1):
        raise ConfigError(f"{document.where('threads')}: 'threads' must be a number of threads, got {threads!r}")
    cuts = {}
    for name in _mapping(document, "cuts"):
        cuts[name] = _text(document, "", "cuts", name) or ""
        parse(cuts[name], document.where("cuts", name))
    generator = document.data.get("generator_weight", "genWeight")
    if generator is not None and not isinstance(generator, str):
        place = document.where("generator_weight")
        raise ConfigError(f"{place}: 'generator_weight' must be a column or null, got {generator!r}")
    return {
        "regions": _regions(document, cuts),
        "histograms": _histograms(document),
        "cuts": cuts,
        "discriminants": _discriminants(document),
        "model": _text(document, None, "model"),
        "prefix": _text(document, None, "prefix"),
        "threads": threads,
        "n_jets": count,
        "preselection": preselection,
        "pick": _text(document, "pt", "jets", "pick"),
        "order": _text(document, "pt", "jets", "order"),
        "mass": _text(document, "mass", "jets", "mass"),
        "event_cut": event_cut,
        "weights": _weights(document),
        "variations": _variations(document),
        "luminosity": luminosity,
        "generator_weight": generator,
        "collection": _text(document, "FatJet", "collection"),
        "blind": _switch(document, "blind"),
    }


def _discriminants(document: Document) -> dict[str, Discriminant]:
    found = {}
    for name, record in _mapping(document, "discriminants").items():
        path = ("discriminants", name)
        with _at(document, *path):
            if isinstance(record, str):
                found[name] = dataclasses.replace(discriminant(record), name=name)
            elif isinstance(record, Mapping):

                def where(*keys: Any, path: tuple[str, str] = path) -> str:
                    return document.where(*path, *keys)

                found[name] = Discriminant.from_dict(record, name=name, where=where)
            else:
                raise ConfigError(f"expected a preset, an expression or a mapping, got {record!r}")
    return found


def _regions(document: Document, cuts: Mapping[str, str]) -> dict[str, Region]:
    found = {}
    for name in _mapping(document, "regions"):
        path = ("regions", name)
        document.check_keys(("kind", "pass", "fail"), *path, required=("kind",))
        for key in ("pass", "fail"):
            names = _texts(document, *path, key)
            unknown = [item for item in names if item not in cuts]
            if unknown:
                position = (names.index(unknown[0]),) if isinstance(_part(document, *path, key), list) else ()
                with _at(document, *path, key, *position):
                    raise UnknownName("cut", unknown, cuts)
        kind = _text(document, "", *path, "kind") or ""
        with _at(document, *path):
            found[name] = Region(kind, _texts(document, *path, "pass"), _texts(document, *path, "fail"))
    if not found:
        raise ConfigError(f"{document.where('regions')}: no regions")
    return found


def _histograms(document: Document) -> list[HistSpec]:
    found = []
    for name, record in _mapping(document, "histograms").items():

        def where(*keys: Any, name: str = name) -> str:
            return document.where("histograms", name, *keys)

        with _at(document, "histograms", name):
            record = {"counts": "events", **record} if isinstance(record, Mapping) else record
            found.append(HistSpec.from_dict(record, name, where))
    if not found:
        raise ConfigError(f"{document.where('histograms')}: no histograms")
    return found


def _weights(document: Document) -> dict[str, WeightFactor]:
    found = {}
    for name, record in _mapping(document, "weights").items():
        path = ("weights", name)
        with _at(document, *path):
            if isinstance(record, str):
                found[name] = WeightFactor(record)
            else:
                document.check_keys(("nominal", "up", "down"), *path, required=("nominal",))
                texts = {key: _text(document, None, *path, key) for key in ("nominal", "up", "down")}
                found[name] = WeightFactor(texts["nominal"] or "", texts["up"], texts["down"])
    return found


def _variations(document: Document) -> dict[str, JetVariation]:
    found = {}
    for name in _mapping(document, "variations"):
        path = ("variations", name)
        document.check_keys(("up", "down"), *path, required=("up", "down"))
        sides = {}
        for side in ("up", "down"):
            sides[side] = {
                column: _text(document, "", *path, side, column) or "" for column in _mapping(document, *path, side)
            }
            for column, text in sides[side].items():
                parse(text, document.where(*path, side, column))
        with _at(document, *path):
            found[name] = JetVariation(sides["up"], sides["down"])
    return found


def _templates(
    document: Document, samples: Mapping[str, Sample], arguments: Mapping[str, Any]
) -> tuple[TemplateSpec | None, str]:
    if _part(document, "templates") is None:
        return None, ""
    document.check_keys(_TEMPLATES, "templates", required=("histogram", "processes", "signals"))
    histograms = {spec.name: spec for spec in arguments["histograms"]}
    histogram = _text(document, "", "templates", "histogram") or ""
    with _at(document, "templates", "histogram"):
        if histogram not in histograms:
            raise UnknownName("histogram", histogram, histograms)
        if len(histograms[histogram].axes) != 1:
            raise ConfigError(f"templates need a histogram of one variable, {histogram!r} has several")
    processes = {}
    for name in _mapping(document, "templates", "processes"):
        processes[name] = _known_samples(document, samples, "templates", "processes", name)
    signals = {}
    for name in _mapping(document, "templates", "signals"):
        path = ("templates", "signals", name)
        document.check_keys(("datasets", "mass", "cross_section"), *path, required=("datasets", "mass"))
        datasets = _known_samples(document, samples, *path, "datasets")
        section = _number(document, *path, "cross_section")
        if section is None:
            if any(_part(document, "samples", item, "cross_section") == RUNS for item in datasets):
                place = document.where(*path)
                raise ConfigError(
                    f"{place}: give cross_section (in pb) of {name!r}, that of its samples is in the files"
                )
            section = sum(samples[item].cross_section or 0.0 for item in datasets)
        signals[name] = Signal(datasets, _number(document, *path, "mass") or 0.0, section)
    kinds = {name: region.kind for name, region in arguments["regions"].items()}
    regions = _texts(document, "templates", "regions") or tuple(k for k, kind in kinds.items() if kind != "inclusive")
    with _at(document, "templates", "regions"):
        unknown = [name for name in regions if name not in kinds]
        if unknown:
            raise UnknownName("region", unknown, kinds)
        if not regions:
            raise ConfigError("no region for templates: inclusive ones are for plots only, unless they are named")
    variations = _part(document, "templates", "variations")
    wanted = None if variations is None else _texts(document, "templates", "variations")
    with _at(document, "templates", "variations"):
        known = [*arguments["weights"], *arguments["variations"]]
        unknown = [name for name in wanted or () if name not in known]
        if unknown:
            raise UnknownName("variation", unknown, known)
    normalisations = {
        name: {process: _number(document, "templates", "normalisations", name, process) or 0.0 for process in parts}
        for name, parts in _nested(document, "templates", "normalisations").items()
    }
    empty = _part(document, "templates", "empty_bin_yield")
    if not isinstance(empty, str):
        _number(document, "templates", "empty_bin_yield")
    with _at(document, "templates"):
        spec = TemplateSpec(
            processes=processes,
            signals=signals,
            regions=regions,
            data=_known_samples(document, samples, "templates", "data"),
            blind=[name for name, kind in kinds.items() if kind == "signal"] if arguments["blind"] else (),
            variations=wanted,
            normalisations=normalisations,
            free=_texts(document, "templates", "free"),
            empty_bin_yield=ONE_EVENT if empty is None else empty if isinstance(empty, str) else float(empty),
            min_effective_events=_number(document, "templates", "min_effective_events") or 0.0,
            names={
                name: _text(document, "", "templates", "names", name) or ""
                for name in _mapping(document, "templates", "names")
            },
        )
    return spec, histogram


def _nested(document: Document, *path: Any) -> dict[str, dict[str, Any]]:
    return {name: _mapping(document, *path, name) for name in _mapping(document, *path)}


def _known_samples(document: Document, samples: Mapping[str, Sample], *path: Any) -> Sequence[str]:
    names = _texts(document, *path)
    unknown = [name for name in names if name not in samples]
    if unknown:
        with _at(document, *path):
            raise UnknownName("sample", unknown, samples)
    return names


guard(globals(), "SearchConfig", "read_config")
