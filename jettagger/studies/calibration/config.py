"""The configuration of a calibration: a YAML file, validated with file and line before other files are opened."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from jettagger.arguments import guard
from jettagger.calibration import BinAxis, CategoryFactor, OutsideBins, ShapeFactor, mass_shapes
from jettagger.calibration.massshapes import RESOLUTION as MASS_RESOLUTION
from jettagger.calibration.massshapes import SCALE as MASS_SCALE
from jettagger.config.models import validated
from jettagger.config.yamlfile import Document, read_yaml
from jettagger.discriminants import WorkingPoints, discriminant, presets
from jettagger.display import Brief
from jettagger.errors import ConfigError, UnknownName, nearest
from jettagger.studies.calibration.events import ProbeFiles, probe_files
from jettagger.studies.calibration.schema import VERSION, CalibrateFile, MistagKeys

__all__ = ["FAIL", "CalibrationConfig", "read_calibration"]

#: name of the lowest band
FAIL = "fail"


@dataclass(frozen=True)
class CalibrationConfig(Brief):
    """The configuration of a calibration; made by `read_calibration`.

    Parameters
    ----------
    document : Document
        The YAML document.
    folder : pathlib.Path
        Folder of relative paths.
    content : CalibrateFile
        Its keys.
    thresholds : mapping of str to float
        Working point -> threshold, the loosest first.
    events : mapping of str to ProbeFiles
        ``probes`` and ``control`` -> events from which the histogram is filled, for those that are not read.
    """

    document: Document
    folder: Path
    content: CalibrateFile
    thresholds: Mapping[str, float]
    events: Mapping[str, ProbeFiles] = field(default_factory=dict)

    @property
    def bands(self) -> tuple[str, ...]:
        """The exclusive bands of the score, from the lowest, which have the names of their lower thresholds."""
        return (FAIL, *self.thresholds)

    @property
    def axes(self) -> tuple[BinAxis, ...]:
        """The kinematic bins."""
        edges = self.content.bins.edges
        return tuple(BinAxis(name, edges[name]) for name in ("pt", "mass", "abseta") if name in edges)

    @property
    def factors(self) -> dict[str, CategoryFactor]:
        """Category -> how it is fitted."""
        return {
            name: CategoryFactor(keys.factors, keys.tied_to, keys.normalisation)
            for name, keys in self.content.categories.items()
        }

    @property
    def shapes(self) -> dict[str, ShapeFactor]:
        """Variation -> what is measured of it."""
        made = {name: ShapeFactor(keys.size, keys.prior) for name, keys in self.content.shapes.items()}
        masses = self.content.mass_factors
        if masses is not None and masses.peak:
            made |= mass_shapes(scale=masses.scale_size, resolution=masses.resolution_size, prior=masses.prior)
        return made

    @property
    def mass_names(self) -> dict[str, str]:
        """``scale`` and ``resolution``, those that are written as mass factors -> name of the shape."""
        masses = self.content.mass_factors
        if masses is None:
            return {}
        if masses.peak:
            return {"scale": MASS_SCALE, "resolution": MASS_RESOLUTION}
        named = {"scale": masses.scale, "resolution": masses.resolution}
        return {kind: name for kind, name in named.items() if name is not None}

    @property
    def measured(self) -> tuple[str, ...]:
        """The categories with factors from the fit."""
        return tuple(name for name, keys in self.content.categories.items() if keys.factors != "fixed")

    @property
    def outside(self) -> OutsideBins:
        """What jets outside of the bins get."""
        return OutsideBins(self.content.outside.behaviour, self.content.outside.size)

    def paths(self, names: tuple[str, ...]) -> tuple[Path, ...]:
        """Paths that are relative to the configuration."""
        return tuple(self.folder / os.path.expanduser(name) for name in names)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Every file that is read, the configuration first."""
        names = [*self.content.histograms, *(self.content.mistag.histograms if self.content.mistag else ())]
        if isinstance(self.content.working_points, str):
            names.append(self.content.working_points)
        return (self.document.name, *(str(path) for path in self.paths(tuple(names))))


def read_calibration(
    source: str | os.PathLike[str], name: str = "", folder: str | os.PathLike[str] = ""
) -> CalibrationConfig:
    """Read the configuration of a calibration and check everything that needs no histogram.

    Parameters
    ----------
    source : path or str
        A YAML file, or, with ``name``, the text itself.
    name : str
        Name of the text in messages.
    folder : path
        Folder of relative paths; default: that of the file.

    Returns
    -------
    CalibrationConfig

    Raises
    ------
    ConfigError
        Gives the file, the line, the value and the expectation, with the nearest valid name.

    Examples
    --------
    >>> text = '''
    ... version: 1
    ... name: hbb
    ... discriminant: HbbvsQCD
    ... working_points: {loose: 0.8, tight: 0.95}
    ... histograms: probes.json
    ... variable: msoftdrop
    ... bins: {pt: [300, 400, 600]}
    ... categories: {signal: {}, other: {factors: fixed, normalisation: 0.3}}
    ... '''
    >>> read_calibration(text, name="example").bands
    ('fail', 'loose', 'tight')
    >>> read_calibration(text.replace("variable", "varable"), name="example")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    jettagger.errors.ConfigError: example, line 7: unknown key 'varable' (nearest: variable). Allowed: ...
    """
    document = read_yaml(source, name)
    content = validated(CalibrateFile, document, VERSION)
    base = Path(folder) if folder or name else Path(source).parent
    with document.at("discriminant"):
        text = content.discriminant
        if not text.isidentifier() or text in presets() or nearest(text, presets()):
            discriminant(text)
    made = CalibrationConfig(document, base, content, _thresholds(document, content, base))
    _check_categories(made)
    _check_outputs(made)
    return replace(made, events=_events(made))


def _events(config: CalibrationConfig) -> dict[str, ProbeFiles]:
    """The events of the measurement and of the control sample, where they are given instead of histograms."""
    content, document = config.content, config.document
    given: list[tuple[str, tuple[str, ...], CalibrateFile | MistagKeys]] = [("probes", (), content)]
    if content.mistag is not None:
        given.append(("control", ("mistag",), content.mistag))
    result = {}
    for name, path, keys in given:
        with document.at(*path, "events"):
            if bool(keys.histograms) == (keys.events is not None):
                raise ConfigError(f"{' '.join(path) or 'the configuration'}: give either 'histograms' or 'events'")
        if keys.events is not None:
            result[name] = probe_files(
                document,
                (*path, "events"),
                keys.events,
                config.folder,
                score=content.discriminant,
                thresholds=config.thresholds.values(),
                axes=config.axes,
                variable=content.variable,
            )
    return result


def _thresholds(document: Document, content: CalibrateFile, folder: Path) -> dict[str, float]:
    """The thresholds, which increase."""
    with document.at("working_points"):
        given = content.working_points
        if isinstance(given, str):
            points = WorkingPoints.load(folder / os.path.expanduser(given))
            if points.inputs:
                raise ConfigError(
                    f"{given}: the thresholds depend on {', '.join(points.inputs)}, but bands of a histogram have "
                    "fixed edges: take the map itself as the discriminant (docs/decorrelation.md), or fixed thresholds"
                )
            cuts = {name: float(points[name].threshold()) for name in points}
            cuts = dict(sorted(cuts.items(), key=lambda item: item[1]))
        else:
            cuts = dict(given)
        if not cuts:
            raise ConfigError("no working point: expected names with thresholds, e.g. {loose: 0.8, tight: 0.95}")
        if not all(low < high for low, high in pairwise(cuts.values())):
            listed = ", ".join(f"{name} {cut:g}" for name, cut in cuts.items())
            raise ConfigError(f"thresholds must increase, the loosest working point first; got {listed}")
        if FAIL in cuts:
            raise ConfigError(f"a working point cannot be called {FAIL!r}, the band below all thresholds")
        return cuts


def _check_categories(config: CalibrationConfig) -> None:
    """Refuse inconsistent keys of the fit."""
    document, content = config.document, config.content
    known = list(content.categories)
    for name, keys in content.categories.items():
        with document.at("categories", name):
            CategoryFactor(keys.factors, keys.tied_to, keys.normalisation)
        if keys.tied_to is not None:
            leaders = [other for other, item in content.categories.items() if item.factors == "free"]
            if keys.tied_to not in leaders:
                with document.at("categories", name, "tied_to"):
                    raise UnknownName("category", keys.tied_to, leaders, "those with free factors")
    if not config.measured:
        with document.at("categories"):
            raise ConfigError("all categories are fixed, so that nothing is measured: expected one with free factors")
    for uncertainty, sizes in content.normalisation_uncertainties.items():
        for category in sizes:
            if category not in known:
                with document.at("normalisation_uncertainties", uncertainty, category):
                    raise UnknownName("category", category, known)
    for key in ("shapes", "shape_only"):
        for name in getattr(content, key):
            if content.systematics is not None and name not in content.systematics:
                with document.at(key):
                    raise UnknownName("variation", name, content.systematics, "systematics")
    mistag = content.mistag
    if mistag is not None:
        if mistag.category in config.measured:
            with document.at("mistag", "category"):
                raise ConfigError(
                    f"{mistag.category!r} has factors of the fit already: fix it there, or give it another name here"
                )
        for name, part in mistag.contamination.items():
            if part.factors_of is not None and part.factors_of not in config.measured:
                with document.at("mistag", "contamination", name, "factors_of"):
                    raise UnknownName("category", part.factors_of, config.measured, "those with factors")
    masses = content.mass_factors
    if masses is None:
        return
    with document.at("mass_factors"):
        if not config.mass_names:
            raise ConfigError("expected 'peak', categories whose templates are shifted, or names under 'shapes'")
        if masses.peak and (masses.scale or masses.resolution):
            raise ConfigError("'scale' and 'resolution' name variations under 'shapes'; with 'peak' they are made here")
    for name in masses.peak:
        if name not in known:
            with document.at("mass_factors", "peak"):
                raise UnknownName("category", name, known)
    for kind, name in config.mass_names.items():
        if not masses.peak and name not in content.shapes:
            with document.at("mass_factors", kind):
                raise UnknownName("shape", name, content.shapes, "shapes")


def _check_outputs(config: CalibrationConfig) -> None:
    """Refuse layouts that cannot hold the factors."""
    document, content = config.document, config.content
    written = [*config.measured, *([content.mistag.category] if content.mistag else [])]
    for category in content.flavors:
        if category not in written:
            with document.at("flavors", category):
                raise UnknownName("category", category, written, "those with factors")
    with document.at("layouts"):
        if content.layouts and content.bins.mass is not None:
            raise ConfigError(
                f"the layout {content.layouts[0]!r} has no input for the mass: leave out layouts, or mass"
            )
        if content.layouts and content.kind == "bands":
            raise ConfigError(
                f"readers of the layout {content.layouts[0]!r} take factors of bands for those of all jets above a "
                "threshold: leave out layouts, or kind"
            )
        missing = [category for category in written if category not in content.flavors]
        if "b_tagging" in content.layouts and missing:
            raise ConfigError(
                f"the layout 'b_tagging' has integers as flavors: add flavors: {{{missing[0]}: 5}} for "
                f"{', '.join(missing)}"
            )


guard(globals())
