"""The configuration of a search: validated values from YAML; every error gives the file and the line."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jettagger.arguments import guard
from jettagger.calibration import EfficiencyMap, MassFactors, ScaleFactors, TagWeights
from jettagger.config.models import rename_keys, validated
from jettagger.config.yamlfile import Document, read_yaml
from jettagger.decorrelation.mapcolumn import MapColumn
from jettagger.decorrelation.maps import load_map
from jettagger.discriminants import Discriminant, discriminant
from jettagger.errors import ConfigError, UnknownName
from jettagger.expressions import Expression, parse
from jettagger.histograms import HistSpec
from jettagger.plots.style import PlotLabel
from jettagger.search.definition import (
    JetVariation,
    Region,
    Sample,
    Search,
    WeightFactor,
    scores_of_column,
    scores_of_discriminant,
)
from jettagger.search.eras import check_eras, check_processes
from jettagger.search.interface import processor_class
from jettagger.search.samples import FileSet, read_eras, read_samples
from jettagger.search.schema import RENAMED, RUNS, VERSION, SearchFile, TemplatesKeys, WeightKeys
from jettagger.search.tagfactors import TagFactor
from jettagger.search.variations import nominal_columns
from jettagger.statistics.specification import Signal, TemplateSpec
from jettagger.tagging.options import TaggerOptions

if TYPE_CHECKING:
    from jettagger.tagging.tagger import Tagger

__all__ = ["FileSet", "SearchConfig", "event_arguments", "model_name", "read_config"]


@dataclass(frozen=True)
class SearchConfig:
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
        for name, factor in self.search.tag_factors.items():
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
    templates = None if content.templates is None else _templates(document, content.templates, search)
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
        label=_label(content),
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
    weights, variations = _weights(document, content, folder), _variations(document, content, folder)
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
    discriminants = _discriminants(document, content, folder)
    of_maps = _map_cuts(document, content, folder, discriminants)
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
        "weights": _weights(document, content, folder),
        "variations": _variations(document, content, folder),
        "luminosity": luminosity,
        "eras": eras,
        "generator_weight": content.generator_weight,
        "collection": content.collection,
        "blind": content.blind,
    }
    for name, sample in samples.items():
        with document.at("samples", name):
            check_eras(eras, {name: sample}, arguments["event_cut"])
    with document.at():
        return Search(**arguments)


def _discriminants(document: Document, content: SearchFile, folder: Path) -> dict[str, Discriminant | MapColumn]:
    made: dict[str, Discriminant | MapColumn] = {}
    for name in content.discriminants:
        record, path = document.data["discriminants"][name], ("discriminants", name)
        with document.at(*path):
            if isinstance(record, str):
                made[name] = replace(discriminant(record), name=name)
                continue

            if "map" in record or "efficiency" in record:
                made[name] = _map_column(document, record, name, folder, path)
                continue

            def where(*keys: Any, path: tuple[str, str] = path) -> str:
                return document.where(*path, *keys)

            made[name] = Discriminant.from_dict(record, name=name, where=where)
    return made


def _map_column(
    document: Document, record: Mapping[str, Any], name: str, folder: Path, path: tuple[str, ...]
) -> MapColumn:
    """A map in the place of a discriminant."""
    others = [key for key in record if key not in ("map", "efficiency")]
    if "map" not in record:
        raise ConfigError(f"{document.where(*path, 'efficiency')}: 'efficiency' belongs to a 'map', but none is given")
    if others:
        raise ConfigError(f"{document.where(*path, others[0])}: {others[0]!r} belongs to a formula, not to a 'map'")
    file, efficiency = record["map"], record.get("efficiency")
    if not isinstance(file, str):
        raise ConfigError(f"{document.where(*path, 'map')}: 'map' must be the path of a file, got {file!r}")
    if efficiency is not None and (isinstance(efficiency, bool) or not isinstance(efficiency, (str, int, float))):
        place = document.where(*path, "efficiency")
        raise ConfigError(f"{place}: 'efficiency' must be a name or a number, got {efficiency!r}")
    with document.at(*path, "map"):
        made = load_map(folder / file)
    with document.at(*path, "efficiency"):
        if efficiency is not None and not made.efficiencies:
            raise ConfigError(
                f"'efficiency' belongs to a map of thresholds, {file} is one of {made.method}: cut on its number"
            )
        return MapColumn(made, efficiency, name)


def _map_cuts(
    document: Document, content: SearchFile, folder: Path, discriminants: dict[str, Discriminant | MapColumn]
) -> dict[str, str]:
    """The conditions of cuts that name a map, whose columns are added to the discriminants."""
    conditions = {}
    for name, keys in content.cuts.items():
        path = ("cuts", name)
        if (keys.expression is None) == (keys.map is None):
            raise ConfigError(f"{document.where(*path)}: give either 'expression' or 'map'")
        if keys.map is None:
            if keys.efficiency is not None:
                raise ConfigError(f"{document.where(*path, 'efficiency')}: 'efficiency' belongs to a 'map'")
            continue
        with document.at(*path, "map"):
            made = load_map(folder / keys.map)
        column = f"{re.sub(r'[^A-Za-z0-9_]', '_', name)}_map"
        with document.at(*path, "efficiency"):
            if column in discriminants:
                raise ConfigError(f"the column {column!r} of this cut is a discriminant already: rename one of them")
            least = made.cut(keys.efficiency)
            discriminants[column] = MapColumn(made, keys.efficiency if made.efficiencies else None, column)
        conditions[name] = " and ".join(f"{jet}.{column} >= {least!r}" for jet in dict.fromkeys(keys.jets))
    return conditions


def _regions(document: Document, content: SearchFile) -> dict[str, Region]:
    regions = {}
    for name, keys in content.regions.items():
        for key, names in (("pass", keys.passes), ("fail", keys.fails)):
            _check_names(document, names, content.cuts, "cut", "regions", name, key)
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


def _weights(document: Document, content: SearchFile, folder: Path) -> dict[str, WeightFactor | TagFactor]:
    factors: dict[str, WeightFactor | TagFactor] = {}
    of_expressions = ("nominal", "up", "down")
    of_files = [key for key in WeightKeys.model_fields if key not in of_expressions]
    for name, keys in content.weights.items():
        if (keys.nominal is None) == (keys.scale_factors is None):
            raise ConfigError(f"{document.where('weights', name)}: give either 'nominal' or 'scale_factors'")
        for key in of_files if keys.scale_factors is None else of_expressions:
            if key in keys.model_fields_set:
                owner = "scale_factors" if keys.scale_factors is None else "nominal"
                raise ConfigError(f"{document.where('weights', name, key)}: {key!r} belongs to {owner!r}")
        if keys.scale_factors is not None:
            factors[name] = _tag_factor(document, name, keys, folder)
            continue
        texts = ((key, getattr(keys, key)) for key in ("nominal", "up", "down"))
        read = {key: parse(text, document.where("weights", name, key)) for key, text in texts if text is not None}
        with document.at("weights", name):
            factors[name] = WeightFactor(**read)
    return factors


def _tag_factor(document: Document, name: str, keys: WeightKeys, folder: Path) -> TagFactor:
    """Scale factors of a tagger and efficiencies, read from their files."""
    path = ("weights", name)
    if keys.efficiencies is None:
        raise ConfigError(
            f"{document.where(*path)}: 'scale_factors' need 'efficiencies', a file of `jettagger.calibration."
            "efficiency_map`, for the jets that fail"
        )
    with document.at(*path, "scale_factors"):
        made = ScaleFactors.load(folder / str(keys.scale_factors), keys.correction, method=keys.method)
    with document.at(*path, "efficiencies"):
        efficiencies = EfficiencyMap.load(folder / keys.efficiencies)
    named = keys.discriminant or made.discriminant
    if not named:
        raise ConfigError(
            f"{document.where(*path)}: {keys.scale_factors} does not say its discriminant: give 'discriminant'"
        )
    conditions = {
        category: parse(text, document.where(*path, "categories", category))
        for category, text in keys.categories.items()
    }
    category = None if keys.category is None else parse(keys.category, document.where(*path, "category"))
    with document.at(*path):
        weights = TagWeights(made, efficiencies, points=keys.points, thresholds=keys.thresholds, sources=keys.sources)
        return TagFactor(weights, named, keys.jets, category, conditions, keys.samples)


def _variations(document: Document, content: SearchFile, folder: Path) -> dict[str, JetVariation | MassFactors]:
    variations: dict[str, JetVariation | MassFactors] = {}
    for name, keys in content.variations.items():
        if keys.mass_factors is not None:
            if keys.up is not None or keys.down is not None or keys.nominal is not None:
                place = document.where("variations", name)
                raise ConfigError(f"{place}: give either 'mass_factors', or 'up' and 'down', got both")
            with document.at("variations", name, "mass_factors"):
                variations[name] = MassFactors.load(folder / keys.mass_factors)
            continue
        up, down, nominal = (
            {column: parse(text, document.where("variations", name, side, column)) for column, text in columns.items()}
            for side, columns in (("up", keys.up or {}), ("down", keys.down or {}), ("nominal", keys.nominal or {}))
        )
        with document.at("variations", name):
            variations[name] = JetVariation(up, down, nominal)
    with document.at("variations"):
        nominal_columns(variations)
    return variations


def _templates(document: Document, keys: TemplatesKeys, search: Search) -> TemplateSpec:
    samples = search.samples
    histograms = {spec.name: spec for spec in search.histograms}
    with document.at("templates", "histogram"):
        if keys.histogram not in histograms:
            raise UnknownName("histogram", keys.histogram, histograms)
        axes = histograms[keys.histogram].axes
        if len(axes) != 1:
            raise ConfigError(f"templates need a histogram of one variable, {keys.histogram!r} has {len(axes)}")
    for name, names in keys.processes.items():
        _check_names(document, names, samples, "sample", "templates", "processes", name)
    _check_names(document, keys.data, samples, "sample", "templates", "data")
    signals = {}
    for name, signal in keys.signals.items():
        path = ("templates", "signals", name)
        _check_names(document, signal.datasets, samples, "sample", *path, "datasets")
        section = signal.cross_section
        if section is None:
            if any(document.data["samples"][item].get("cross_section") == RUNS for item in signal.datasets):
                place = document.where(*path)
                raise ConfigError(
                    f"{place}: give cross_section (in pb) of {name!r}, the files of its samples give their own"
                )
            by_era: dict[str, float] = {}
            for item in signal.datasets:
                by_era[samples[item].era] = by_era.get(samples[item].era, 0.0) + (samples[item].cross_section or 0.0)
            section = next(iter(by_era.values()), 0.0)
            if len(set(by_era.values())) > 1:
                raise ConfigError(
                    f"{document.where(*path)}: the cross sections of {name!r} differ between eras ({by_era}): give "
                    "cross_section, in pb, to which limits refer"
                )
        signals[name] = Signal(signal.datasets, signal.mass, section)
    with document.at("templates"):
        of_signals = {name: signal.datasets for name, signal in signals.items()}
        check_processes({**keys.processes, **of_signals, **({"data": keys.data} if keys.data else {})}, samples)
    kinds = {name: region.kind for name, region in search.regions.items()}
    regions = keys.regions or tuple(name for name, kind in kinds.items() if kind != "inclusive")
    _check_names(document, regions, kinds, "region", "templates", "regions")
    if not regions:
        raise ConfigError(
            f"{document.where('templates', 'regions')}: no region for templates: inclusive regions are used only if "
            "they are named here"
        )
    _check_names(document, keys.variations or (), search.shifts, "variation", "templates", "variations")
    uncertainties = [
        *(search.shifts if keys.variations is None else keys.variations),
        *keys.normalisation_uncertainties,
    ]
    for name, items in keys.groups.items():
        _check_names(document, items, uncertainties, "uncertainty", "templates", "groups", name)
    with document.at("templates"):
        return TemplateSpec(
            processes=keys.processes,
            signals=signals,
            regions=regions,
            data=keys.data,
            blind=[name for name, kind in kinds.items() if kind == "signal"] if search.blind else (),
            variations=keys.variations,
            normalisations=keys.normalisation_uncertainties,
            free=keys.free_normalisations,
            groups=keys.groups,
            empty_bin_yield=keys.empty_bin_yield,
            min_effective_events=keys.min_effective_events,
            names=keys.names,
        )


def _label(content: SearchFile) -> PlotLabel | None:
    keys = content.label
    if keys is None:
        return None
    energy = "" if keys.energy is None else f"{keys.energy:g}"
    return PlotLabel(keys.experiment, keys.text, energy, content.luminosity)


def _check_names(document: Document, names: Sequence[str], known: Any, kind: str, *path: Any) -> None:
    """Refuse unknown names, with the line of the first."""
    unknown = [name for name in names if name not in known]
    if unknown:
        with document.at(*path, names.index(unknown[0])):
            raise UnknownName(kind, unknown, known)


guard(globals(), "SearchConfig", "read_config")
