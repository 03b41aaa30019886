"""The configuration of a search: validated values from YAML; every error gives the file and the line."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jettagger.arguments import guard
from jettagger.config.models import validated
from jettagger.config.renaming import rename_keys
from jettagger.config.yamlfile import Document, read_yaml
from jettagger.display import Brief
from jettagger.errors import ConfigError
from jettagger.expressions import Expression, parse
from jettagger.histograms import HistSpec
from jettagger.plots.style import HATCHES, PlotLabel, ProcessStyle, process_styles
from jettagger.search.corrections import CorrectionFactor
from jettagger.search.definition import (
    Region,
    Sample,
    Search,
    scores_of_column,
    scores_of_discriminant,
)
from jettagger.search.discriminantkeys import read_discriminants, read_map_cuts
from jettagger.search.energykeys import read_energy
from jettagger.search.eras import check_eras
from jettagger.search.interface import processor_class
from jettagger.search.objects import read_objects
from jettagger.search.samples import FileSet, read_eras, read_samples
from jettagger.search.schema import RENAMED, VERSION, SearchFile
from jettagger.search.tagfactors import TagFactor
from jettagger.search.templatekeys import check_names, read_templates
from jettagger.search.weightkeys import read_variations, read_weights
from jettagger.statistics.specification import TemplateSpec
from jettagger.tagging.options import TaggerOptions

if TYPE_CHECKING:
    from jettagger.tagging.tagger import Tagger

__all__ = ["FileSet", "SearchConfig", "event_arguments", "model_name", "read_config"]

#: names of `jettagger.plots.style.HATCHES` in files
_HATCHES = ("none", "back", "dots", "crosses", "vertical")


@dataclass(frozen=True)
class SearchConfig(Brief):
    """The complete definition of a search.

    Attributes
    ----------
    document : Document
        The YAML document, with its lines.
    folder : pathlib.Path
        Folder of relative paths.
    files : dict
        By data set.
    search : Search
        Samples, regions, cuts and other arguments of the processor; the expressions carry their lines.
    model : str, optional
        The network to run, a name or a folder.
    options : TaggerOptions, optional
        Options of the tagger; None: the defaults.
    tree, schema : str
        Name of the tree; a schema of coffea.
    chunk_size : int
        Maximum number of events per chunk.
    templates : TemplateSpec, optional
        Definition of the templates.
    template_histogram : str
        Histogram from which they are made.
    plots : bool
        Whether plots are drawn, if matplotlib is installed.
    label : PlotLabel, optional
        Label of an experiment in plots.
    styles : dict of str to ProcessStyle
        Styles of all processes and signals in plots; those of the configuration, and others by their order.
    """

    document: Document
    folder: Path
    files: dict[str, FileSet]
    search: Search
    model: str | None = None
    options: TaggerOptions | None = None
    tree: str = "Events"
    schema: str = "PFNanoAODSchema"
    chunk_size: int = 20_000
    templates: TemplateSpec | None = None
    template_histogram: str = ""
    plots: bool = True
    label: PlotLabel | None = None
    styles: dict[str, ProcessStyle] = field(default_factory=dict)
    digest: str = field(default="", compare=False)

    @property
    def samples(self) -> Mapping[str, Sample]:
        """The sample of each data set."""
        return self.search.samples

    def make_processor(
        self,
        cls: type[Any] | None = None,
        samples: Mapping[str, Sample] | None = None,
    ) -> Any:
        """The processor of the search.

        Parameters
        ----------
        cls : type, optional
            A class derived from `jettagger.processors.ResonanceSearchProcessor`, which is the default.
        samples : mapping, optional
            Instead of those of the configuration.

        Returns
        -------
        ResonanceSearchProcessor, or cls

        Raises
        ------
        ConfigError
            If a discriminant or a column needs a score that the model lacks; gives the line.
        """
        cls = processor_class() if cls is None else cls
        arguments = self.search.arguments()
        if samples:
            arguments["samples"] = dict(samples)
        if self.model is not None:
            tagger = self.load_tagger()
            self._check_scores(tagger)
            arguments["model"] = tagger
        with self.document.at():
            return cls(**arguments)

    def load_tagger(self) -> Tagger:
        """The model with its heads and options.

        Returns
        -------
        Tagger

        Raises
        ------
        ConfigError
            If the search has no model.
        BundleError, MismatchError
            If the model or a head is not usable; gives the line on which it is named.
        """
        from jettagger.tagging.tagger import load_tagger

        if self.model is None:
            raise ConfigError(f"{self.document.name} names no tagger: give the name or folder of a model as 'tagger'")
        options = self.options or TaggerOptions()
        with self.document.at("tagger", "model"):
            tagger = load_tagger(self.model, replace(options, heads=()))
        with self.document.at("tagger", "heads"):
            return tagger.with_heads(*options.heads)

    def with_options(self, **changes: Any) -> SearchConfig:
        """The same search with other options of its tagger.

        Parameters
        ----------
        **changes
            Fields of `TaggerOptions`, overriding those in the file.

        Returns
        -------
        SearchConfig

        Raises
        ------
        ConfigError
            If there is no model, or an option has an invalid value.
        """
        if not changes:
            return self
        if self.model is None:
            raise ConfigError(f"{self.document.name} names no tagger: {', '.join(changes)} would change nothing")
        return replace(self, options=replace(self.options or TaggerOptions(), **changes))

    def _check_scores(self, tagger: Tagger) -> None:
        prefix = self.search.prefix or tagger.bundle.prefix
        for name, item in self.search.discriminants.items():
            with self.document.at("discriminants", name):
                scores_of_discriminant(item, tagger, prefix)
        for path, expression in self.expressions():
            for name in expression.names:
                front, _, column = name.partition(".")
                if front in ("jet1", "jet2"):
                    with self.document.at(*path):
                        scores_of_column(column, tagger, prefix)

    def expressions(self) -> Iterator[tuple[tuple[Any, ...], Expression]]:
        """All expressions in candidates and events, each with its place in the document."""
        for name, cut in self.search.cuts.items():
            yield ("cuts", name), cut
        for name, parts in self.search.factors.items():
            for key, part in zip(("nominal", "up", "down"), parts, strict=True):
                if part is not None:
                    yield ("weights", name, key), part
        factors: dict[str, TagFactor | CorrectionFactor] = {**self.search.tag_factors, **self.search.corrections}
        for name, factor in factors.items():
            for key, part in factor.expressions(self.search.n_jets):
                yield ("weights", name, key), part
        for spec in self.search.histograms:
            for axis in spec.axes:
                path: tuple[Any, ...] = ("histograms", spec.name)
                for more in (("axes", axis.name, "expression"), ("axes", axis.name), ("expression",)):
                    if (*path, *more) in self.document.lines:
                        path = (*path, *more)
                        break
                yield path, axis.parsed


def read_config(source: str | os.PathLike[str], name: str = "", folder: str | os.PathLike[str] = "") -> SearchConfig:
    """Read the configuration of a search and check everything that does not need other files.

    Parameters
    ----------
    source : path, or str
        The YAML file; with ``name``, the text itself.
    name : str
        Name of the text in messages.
    folder : path
        Folder of relative paths; default: that of the file.

    Returns
    -------
    SearchConfig

    Raises
    ------
    ConfigError
        Gives the file, the line, the value and the expectation, with the nearest valid name.

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
    written = read_yaml(source, name)
    base = Path(folder) if folder or name else Path(source).parent
    document, notes = rename_keys(written, RENAMED)
    for note in notes:
        warnings.warn(note, FutureWarning, stacklevel=2)
    content = validated(SearchFile, document, VERSION)
    samples, files = read_samples(document, content, base)
    search = _search(document, content, samples, base)
    templates = None if content.templates is None else read_templates(document, content.templates, search)
    with document.at("tagger", "provider"):
        options = None if content.tagger is None else content.tagger.options(base)
    return SearchConfig(
        document=document,
        folder=base,
        files=files,
        search=search,
        model=None if content.tagger is None else model_name(content.tagger.model, base),
        options=options,
        tree=content.tree,
        schema=content.schema_name or ("NanoAODSchema" if content.tagger is None else "PFNanoAODSchema"),
        chunk_size=content.chunk_size,
        templates=templates,
        template_histogram="" if content.templates is None else content.templates.histogram,
        plots=content.plots,
        label=_label(document, content, search),
        styles=_styles(document, content, templates),
        digest=written.digest,
    )


def event_arguments(document: Document, content: Any, folder: Path) -> tuple[dict[str, Any], dict[str, FileSet]]:
    """What processors of events have in common: samples, weights and variations.

    Parameters
    ----------
    document : Document
    content : FileModel
        With the keys ``samples``, ``weights`` and ``variations`` of a search.
    folder : pathlib.Path
        Folder of relative paths.

    Returns
    -------
    arguments : dict
        Of the processor.
    files : dict of str to FileSet

    Raises
    ------
    ConfigError
        Gives the file and the line.
    """
    samples, files = read_samples(document, content, folder)
    with document.at("samples"):
        check_eras({}, samples, None)
    weights, variations = read_weights(document, content, folder), read_variations(document, content, folder)
    return {"samples": samples, "weights": weights, "variations": variations}, files


def model_name(name: str, folder: Path) -> str:
    """A model as it was written, or its folder beside the file.

    Parameters
    ----------
    name : str
    folder : pathlib.Path
        Folder of the configuration.

    Returns
    -------
    str
    """
    beside = folder / os.path.expanduser(name)
    return str(beside) if len(Path(name).parts) > 1 and os.path.isdir(beside) else name


def _search(document: Document, content: SearchFile, samples: Mapping[str, Sample], folder: Path) -> Search:
    """The definition of the search; each expression is parsed here, once, with its line."""
    jets = content.jets

    def expression(text: str, *path: str) -> Expression:
        made = parse(text, document.where(*path))
        _ = made.names
        return made

    selection = content.event_selection
    discriminants = read_discriminants(document, content, folder)
    of_maps = read_map_cuts(document, content, folder, discriminants)
    luminosity, eras = read_eras(document, content, folder)
    arguments: dict[str, Any] = {
        "samples": samples,
        "preselection": expression(jets.preselection, "jets", "preselection"),
        "event_cut": None if selection is None else expression(selection, "event_selection"),
        "cuts": {
            name: expression(of_maps[name] if name in of_maps else str(keys.expression), "cuts", name)
            for name, keys in content.cuts.items()
        },
        "regions": _regions(document, content),
        "histograms": _histograms(document, content),
        "discriminants": discriminants,
        "prefix": content.prefix,
        "n_jets": jets.count,
        "pick": jets.select_by,
        "order": jets.sort_by,
        "mass": jets.mass,
        "weights": read_weights(document, content, folder),
        "variations": read_variations(document, content, folder),
        "luminosity": luminosity,
        "eras": eras,
        "generator_weight": content.generator_weight,
        "collection": content.collection,
        "blind": content.blind,
        "objects": read_objects(document, content),
        "not_near": jets.not_near,
        "jet_energy": read_energy(document, content.jet_energy, samples, eras, folder),
    }
    for name, sample in samples.items():
        with document.at("samples", name):
            check_eras(eras, {name: sample}, arguments["event_cut"])
    with document.at():
        return Search(**arguments)


def _regions(document: Document, content: SearchFile) -> dict[str, Region]:
    regions = {}
    for name, keys in content.regions.items():
        for key, names in (("pass", keys.passes), ("fail", keys.fails)):
            check_names(document, names, content.cuts, "cut", "regions", name, key)
        with document.at("regions", name):
            regions[name] = Region(keys.kind, keys.passes, keys.fails)
    return regions


def _histograms(document: Document, content: SearchFile) -> list[HistSpec]:
    specs = []
    for name in content.histograms:

        def where(*keys: Any, name: str = name) -> str:
            return document.where("histograms", name, *keys)

        with document.at("histograms", name):
            specs.append(HistSpec.from_dict({"counts": "events", **document.data["histograms"][name]}, name, where))
    return specs


def _label(document: Document, content: SearchFile, search: Search) -> PlotLabel | None:
    """The label of plots, with the luminosity of all eras, and their energies if it has none."""
    keys = content.label
    if keys is None:
        return None
    of_eras = [era.energy for era in search.eras.values()]
    energies = sorted({energy for energy in of_eras if energy is not None})
    text = " and ".join(f"{energy:g}" for energy in energies)
    if keys.energy is None:
        return PlotLabel(keys.experiment, keys.text, "" if None in of_eras else text, search.luminosity)
    if energies and keys.energy not in energies:
        place = document.where("label", "energy")
        raise ConfigError(f"{place}: 'energy' is {keys.energy:g} TeV, but that of 'eras' is {text} TeV")
    return PlotLabel(keys.experiment, keys.text, f"{keys.energy:g}", search.luminosity)


def _styles(document: Document, content: SearchFile, templates: TemplateSpec | None) -> dict[str, ProcessStyle]:
    """Styles of processes and signals; without templates those of samples of simulation."""
    if templates is None:
        processes = [name for name, sample in content.samples.items() if not sample.data]
    else:
        processes = [*templates.processes, *templates.signals]
    check_names(document, list(content.styles), processes, "process", "styles")
    usual = process_styles(processes)
    given = {}
    for name, keys in content.styles.items():
        line = usual[name].line if keys.line is None else keys.line
        hatch = usual[name].hatch if keys.hatch is None else dict(zip(_HATCHES, HATCHES, strict=True))[keys.hatch]
        colour = usual[name].colour if keys.colour is None else keys.colour.lower()
        given[name] = ProcessStyle(colour, line, usual[name].marker, hatch)
    return process_styles(processes, given)


guard(globals(), "SearchConfig", "read_config")
