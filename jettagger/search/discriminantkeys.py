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
from jettagger.discriminants import DerivedColumn, Discriminant, PointColumn, WorkingPoints, discriminant
from jettagger.errors import ConfigError
from jettagger.search.schema import CutKeys, SearchFile

__all__ = ["read_discriminants", "read_map_cuts"]


def read_discriminants(
    document: Document, content: SearchFile, folder: Path
) -> dict[str, Discriminant | DerivedColumn]:
    """The discriminants of a search.

    Parameters
    ----------
    document : Document
    content : SearchFile
    folder : pathlib.Path
        Folder of relative paths.

    Returns
    -------
    dict of str to (Discriminant or DerivedColumn)

    Raises
    ------
    ConfigError
        Gives the line.
    """
    made: dict[str, Discriminant | DerivedColumn] = {}
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
    document: Document, content: SearchFile, folder: Path, discriminants: dict[str, Discriminant | DerivedColumn]
) -> dict[str, str]:
    """The conditions of cuts that name a map or a working point, whose columns are added to the discriminants.

    Parameters
    ----------
    document : Document
    content : SearchFile
    folder : pathlib.Path
        Folder of relative paths.
    discriminants : dict of str to (Discriminant or DerivedColumn)
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
        kind = _kind_of_cut(document, name, keys)
        if kind == "expression":
            continue
        if keys.jet is not None and "jets" in keys.model_fields_set:
            raise ConfigError(f"{document.where(*path, 'jet')}: give either 'jet' or 'jets', got both")
        column = f"{re.sub(r'[^A-Za-z0-9_]', '_', name)}_{kind}"
        if column in discriminants:
            with document.at(*path):
                raise ConfigError(f"the column {column!r} of this cut is a discriminant already: rename one of them")
        if kind == "map":
            with document.at(*path, "map"):
                made = load_map(folder / str(keys.map))
            with document.at(*path, "efficiency"):
                least = made.cut(keys.efficiency)
                discriminants[column] = MapColumn(made, keys.efficiency if made.efficiencies else None, column)
        else:
            with document.at(*path, "working_point"):
                points = WorkingPoints.load(folder / str(keys.working_point))
                if keys.name is None and len(points) != 1:
                    raise ConfigError(
                        f"{keys.working_point} has several working points, give 'name': {', '.join(points)}"
                    )
            with document.at(*path, "name"):
                least = 0.0
                discriminants[column] = PointColumn(points[next(iter(points)) if keys.name is None else keys.name])
        jets = keys.jets if keys.jet is None else (keys.jet,)
        conditions[name] = " and ".join(f"{jet}.{column} >= {least!r}" for jet in dict.fromkeys(jets))
    return conditions


#: what a cut is -> its keys
_CUTS = {"expression": (), "map": ("efficiency", "jets", "jet"), "working_point": ("name", "jets", "jet")}


def _kind_of_cut(document: Document, name: str, keys: CutKeys) -> str:
    """What a cut is; refuses keys of others."""
    found = [kind for kind in _CUTS if getattr(keys, kind) is not None]
    if len(found) != 1:
        got = f", got {' and '.join(map(repr, found))}" if found else ""
        raise ConfigError(f"{document.where('cuts', name)}: give either 'expression', 'map' or 'working_point'{got}")
    for key in sorted(keys.model_fields_set - {*found, *_CUTS[found[0]]}):
        owners = " or ".join(repr(kind) for kind, own in _CUTS.items() if key in own)
        raise ConfigError(f"{document.where('cuts', name, key)}: {key!r} belongs to {owners}")
    return found[0]
