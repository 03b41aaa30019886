"""Weights and variations in the configuration of a search."""

from __future__ import annotations

from pathlib import Path

from jettagger.calibration import EfficiencyMap, MassFactors, ScaleFactors, TagWeights
from jettagger.config.yamlfile import Document
from jettagger.errors import ConfigError
from jettagger.expressions import parse
from jettagger.search.definition import JetVariation, WeightFactor
from jettagger.search.schema import SearchFile, WeightKeys
from jettagger.search.tagfactors import TagFactor
from jettagger.search.variations import nominal_columns

__all__ = ["read_variations", "read_weights"]


def read_weights(document: Document, content: SearchFile, folder: Path) -> dict[str, WeightFactor | TagFactor]:
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
    dict of str to (WeightFactor or TagFactor)

    Raises
    ------
    ConfigError
        Gives the line.
    """
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
