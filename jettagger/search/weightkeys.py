"""Weights and variations in the configuration of a search."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jettagger.calibration import EfficiencyMap, MassFactors, ScaleFactors, TagWeights
from jettagger.config.yamlfile import Document
from jettagger.errors import ConfigError, UnknownName
from jettagger.expressions import parse
from jettagger.search.corrections import ALL_ERAS, SYSTEMATIC, CorrectionFactor, Systematic
from jettagger.search.correctiontables import CorrectionTable
from jettagger.search.definition import JetVariation, WeightFactor
from jettagger.search.schema import SearchFile, WeightKeys
from jettagger.search.tagfactors import TagFactor
from jettagger.search.theory import TheoryWeight
from jettagger.search.variations import nominal_columns

__all__ = ["read_variations", "read_weights"]


def read_weights(
    document: Document, content: SearchFile, folder: Path
) -> dict[str, WeightFactor | TagFactor | CorrectionFactor | TheoryWeight]:
    """The corrections of simulation.

    Parameters
    ----------
    document : Document
    content : SearchFile
        Or another file with the key ``weights`` of a search.
    folder : pathlib.Path
        Folder of relative paths.

    Returns
    -------
    dict of str to (WeightFactor, TagFactor, CorrectionFactor or TheoryWeight)

    Raises
    ------
    ConfigError
        Gives the line.
    """
    factors: dict[str, WeightFactor | TagFactor | CorrectionFactor | TheoryWeight] = {}
    for name, keys in content.weights.items():
        kind = _kind(document, name, keys)
        if kind == "scale_factors":
            factors[name] = _tag_factor(document, name, keys, folder)
        elif kind == "theory":
            with document.at("weights", name):
                options = (keys.members, keys.alpha_s, keys.keep_cross_section)
                factors[name] = TheoryWeight(str(keys.theory), keys.combine or "", *options)
        elif kind == "file":
            factors[name] = _correction(document, name, keys, folder, getattr(content, "eras", {}))
        else:
            texts = ((key, getattr(keys, key)) for key in ("nominal", "up", "down"))
            read = {key: parse(text, document.where("weights", name, key)) for key, text in texts if text is not None}
            with document.at("weights", name):
                factors[name] = WeightFactor(**read)
    return factors


#: what a weight is -> its keys
_KINDS = {
    "nominal": ("up", "down"),
    "file": ("nominal", "up", "down", "correction", "inputs", "systematics", "each", "selection", "outside"),
    "theory": ("combine", "members", "alpha_s", "keep_cross_section"),
    "scale_factors": (
        "efficiencies", "discriminant", "points", "jets", "category", "categories", "sources", "correction", "method",
        "thresholds", "samples",
    ),
}  # fmt: skip


def _kind(document: Document, name: str, keys: WeightKeys) -> str:
    """What a weight is; refuses keys of others."""
    found = [kind for kind in ("file", "theory", "scale_factors") if getattr(keys, kind) is not None]
    if keys.nominal is not None and "file" not in found:
        found.append("nominal")
    if len(found) != 1:
        raise ConfigError(
            f"{document.where('weights', name)}: give either 'nominal', 'file', 'theory' or 'scale_factors'"
            + (f", got {' and '.join(map(repr, found))}" if found else "")
        )
    for key in WeightKeys.model_fields:
        if key in keys.model_fields_set and key not in (found[0], *_KINDS[found[0]]):
            owners = [kind for kind, own in _KINDS.items() if key in own]
            words = " or ".join(map(repr, owners))
            raise ConfigError(f"{document.where('weights', name, key)}: {key!r} belongs to {words}")
    return found[0]


def _correction(
    document: Document, name: str, keys: WeightKeys, folder: Path, eras: Mapping[str, Any]
) -> CorrectionFactor:
    """A correction of a file of correctionlib."""
    path = ("weights", name)
    if (keys.up is None) != (keys.down is None):
        raise ConfigError(f"{document.where(*path)}: give both up and down, or neither")
    if keys.up is not None and keys.systematics:
        raise ConfigError(f"{document.where(*path)}: give either 'up' and 'down', or 'systematics'")
    by_era: dict[str, list[str]] = {
        place: list(value)
        for place, value in (("file", keys.file), ("correction", keys.correction), *keys.inputs.items())
        if isinstance(value, dict)
    }
    for place, named in by_era.items():
        with document.at(*path, *(("inputs", place) if place in keys.inputs else (place,))):
            unknown = [era for era in named if era not in eras]
            if unknown and not eras:
                raise ConfigError(f"{place!r} is given by era ({', '.join(named)}), but there are no 'eras'")
            if unknown:
                raise UnknownName("era", unknown, eras)
            lacking = [era for era in eras if era not in named]
            if lacking:
                raise ConfigError(f"{place!r} is given by era, but not for {lacking[0]!r}")

    def of_era(value: Any, era: str) -> Any:
        return value[era] if isinstance(value, dict) else value

    tables: dict[str, CorrectionTable] = {}
    inputs: dict[str, dict[str, Any]] = {}
    for era in eras if by_era else (ALL_ERAS,):
        with document.at(*path, "correction" if keys.correction is not None else "file"):
            tables[era] = CorrectionTable.load(folder / str(of_era(keys.file, era)), of_era(keys.correction, era))
        inputs[era] = {}
        for key, given in keys.inputs.items():
            value = of_era(given, era)
            where = document.where(*path, "inputs", key)
            real = tables[era].inputs.get(key, "string") != "string" and value != SYSTEMATIC
            inputs[era][key] = parse(value, where) if real and isinstance(value, str) else value
    if keys.up is not None and keys.down is not None:
        systematics = {"": Systematic(keys.up, keys.down)}
    else:
        systematics = {
            source: Systematic(
                item.up,
                item.down,
                None
                if item.where is None
                else parse(item.where, document.where(*path, "systematics", source, "where")),
            )
            for source, item in keys.systematics.items()
        }
    selection = None if keys.selection is None else parse(keys.selection, document.where(*path, "selection"))
    with document.at(*path):
        return CorrectionFactor(
            tables,
            inputs,
            nominal="nominal" if keys.nominal is None else keys.nominal,
            systematics=systematics,
            each=keys.each,
            selection=selection,
            outside=keys.outside,
        )


def _tag_factor(document: Document, name: str, keys: WeightKeys, folder: Path) -> TagFactor:
    """Scale factors of a tagger and efficiencies, read from their files."""
    path = ("weights", name)
    if isinstance(keys.correction, dict):
        raise ConfigError(f"{document.where(*path, 'correction')}: a name by era belongs to a 'file'")
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


def read_variations(document: Document, content: SearchFile, folder: Path) -> dict[str, JetVariation | MassFactors]:
    """The variations of jets.

    Parameters
    ----------
    document : Document
    content : SearchFile
        Or another file with the key ``variations`` of a search.
    folder : pathlib.Path
        Folder of relative paths.

    Returns
    -------
    dict of str to (JetVariation or MassFactors)

    Raises
    ------
    ConfigError
        Gives the line.
    """
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
