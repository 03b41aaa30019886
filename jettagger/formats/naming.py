"""Formats with other names: ``PFCands`` of one production is ``JetPFCands`` in another."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from jettagger.errors import ConfigError, UnknownName
from jettagger.formats.base import ColumnSource, ContextSource, Format, JetKind, Link
from jettagger.formats.columns import split

Source = TypeVar("Source", bound=ColumnSource | ContextSource)

__all__ = ["Names", "check_names", "names_of", "radius_of", "renamed", "stored_name"]

#: name of a collection or a column in a format -> name in a file: ``{"PFCands": "JetPFCands"}``,
#: ``{"FatJetPFCands.pFCandsIdx": "candIdx"}``; None for an index that the file lacks
Names = Mapping[str, str | None]


#: distance parameter of jets whose name has no number
_RADII: Mapping[JetKind, float] = {"AK8": 0.8, "AK4": 0.4}


def radius_of(jets: str, kind: JetKind = "AK8") -> float:
    """Distance parameter of jets from the name of their collection.

    Parameters
    ----------
    jets : str
    kind : {"AK8", "AK4"}
        Kind of the jets, for names without a number, such as ``FatJet``.

    Returns
    -------
    float

    Examples
    --------
    >>> radius_of("FatJetAK15"), radius_of("FatJet"), radius_of("Jet", "AK4")
    (1.5, 0.8, 0.4)
    """
    number = re.search(r"(?:AK|CA)(\d+)", jets)
    return int(number[1]) / 10 if number else _RADII[kind]


def renamed(format_: Format, names: Names, *, name: str, title: str) -> Format:
    """A format of the same content with other names.

    Parameters
    ----------
    format_ : Format
    names : mapping of str to str or None
        Name of a collection, or ``Collection.field``, in ``format_`` -> name in the file (without the collection for
        columns). None, for the index of a link whose objects need no target, means that the file lacks this column.
    name, title : str
        Those of the new format.

    Returns
    -------
    Format

    Raises
    ------
    UnknownName
        If the format does not have the collection or column.
    ConfigError
        If a column other than such an index is declared absent.
    """
    check_names(names, format_)

    def collection(item: str) -> str:
        return names.get(item) or item

    def field(table: str, item: str) -> str:
        return names.get(f"{table}.{item}") or item

    def provider(item: Source) -> Source:
        return replace(item, columns=tuple(stored_name(column, names) for column in item.columns))

    def link(item: Link) -> Link:
        index = item.target_index
        absent = index is not None and names.get(f"{item.table}.{index}", index) is None
        return replace(
            item,
            table=collection(item.table),
            jet_index=field(item.table, item.jet_index),
            target=collection(item.target),
            target_index=None if absent or index is None else field(item.table, index),
            order=provider(item.order),
            copied="" if absent else item.copied,
        )

    columns = {
        object_: {column: tuple(provider(way) for way in ways) for column, ways in canonical.items()}
        for object_, canonical in format_.columns.items()
    }
    return replace(
        format_,
        name=name,
        title=title,
        jets=collection(format_.jets),
        signature=tuple(map(collection, format_.signature)),
        links={object_: link(item) for object_, item in format_.links.items()},
        columns=columns,
        names=dict(names),
    )


def stored_name(column: str, names: Names) -> str:
    """The name of a column of a format in a file.

    Parameters
    ----------
    column : str
        ``Collection.field``, or a collection, in the format.
    names : mapping of str to str or None
        As for `renamed`.

    Returns
    -------
    str

    Examples
    --------
    >>> stored_name("JetPFCands.pFCandsIdx", {"JetPFCands": "Links", "JetPFCands.pFCandsIdx": "candIdx"})
    'Links.candIdx'
    """
    collection, name = split(column)
    stored = names.get(collection) or collection
    return f"{stored}.{names.get(column) or name}" if name else stored


def check_names(names: Names, *formats: Format) -> None:
    """Refuse names that none of the given formats has.

    Parameters
    ----------
    names : mapping of str to str or None
        As for `renamed`.
    *formats : Format

    Raises
    ------
    UnknownName, ConfigError
        As for `renamed`.
    """
    known = names_of(*formats)
    unknown = [item for item in names if item not in known]
    if unknown:
        raise UnknownName("name", unknown, known, f"the format {formats[0].name!r}")
    links = [link for format_ in formats for link in format_.links.values() if link.dangling]
    indices = sorted({f"{link.table}.{link.target_index}" for link in links})
    for item, given in names.items():
        if given == "":
            raise ConfigError(f"the name of {item} is empty, expected that of a collection or column of the input")
        if given is None and item not in indices:
            raise ConfigError(f"{item} cannot be declared absent, only {', '.join(indices) or 'nothing'} can")


def names_of(*formats: Format) -> list[str]:
    """Collections and columns of formats for which other names may be declared.

    Parameters
    ----------
    *formats : Format

    Returns
    -------
    list of str
        ``Collection`` and ``Collection.field``, sorted.
    """
    return sorted({name for format_ in formats for name in _names(format_)})


def _names(format_: Format) -> list[str]:
    """Collections and columns of a format."""
    columns = {column for link in format_.links.values() for column in (*link.columns, *link.copies)}
    for canonical in format_.columns.values():
        columns |= {column for ways in canonical.values() for way in ways for column in way.columns}
    return sorted({split(column)[0] for column in columns} | columns)
