"""Discriminants and maps in the configuration of a search."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from jettagger.config.yamlfile import Document
from jettagger.decorrelation.mapcolumn import MapColumn
from jettagger.decorrelation.maps import load_map
from jettagger.discriminants import Discriminant, discriminant
from jettagger.errors import ConfigError
from jettagger.search.schema import SearchFile

__all__ = ["read_discriminants", "read_map_cuts"]


def read_discriminants(document: Document, content: SearchFile, folder: Path) -> dict[str, Discriminant | MapColumn]:
    """The discriminants of a search.

    Parameters
    ----------
    document : Document
    content : SearchFile
    folder : pathlib.Path
        Folder of relative paths.

    Returns
    -------
    dict of str to (Discriminant or MapColumn)

    Raises
    ------
    ConfigError
        Gives the line.
    """
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


def read_map_cuts(
    document: Document, content: SearchFile, folder: Path, discriminants: dict[str, Discriminant | MapColumn]
) -> dict[str, str]:
    """The conditions of cuts that name a map, whose columns are added to the discriminants.

    Parameters
    ----------
    document : Document
    content : SearchFile
    folder : pathlib.Path
        Folder of relative paths.
    discriminants : dict of str to (Discriminant or MapColumn)
        Of the search; columns are added.

    Returns
    -------
    dict of str to str
        Cut -> condition.

    Raises
    ------
    ConfigError
        Gives the line.
    """
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
