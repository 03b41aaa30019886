"""The columns that a model reads from files of a production, without such a file."""

from __future__ import annotations

import os
from collections.abc import Iterable

from jettagger.bundles.bundle import Bundle
from jettagger.formats import EventColumns
from jettagger.formats.naming import Names, stored_name
from jettagger.formats.pfnano import PFNANO, PFNANO_AK4
from jettagger.inputs.flavours import flavour_of
from jettagger.inputs.source import source_of
from jettagger.inputs.wanted import HeadColumns

__all__ = ["standard_columns"]


class _Production:
    """The columns of PFNano's current production, with other names.

    Where a column can be obtained in several ways, it is stored as in events of `jettagger.testing`; what these events
    lack is stored in the first way.
    """

    def __init__(self, names: Names) -> None:
        from jettagger.testing import make_events

        events = EventColumns(make_events(1, seed=0, ak4=True))
        known = {
            f"{collection}.{field}" if field else collection
            for collection in events.collections
            for field in events.fields(collection) or [""]
        }
        for format_ in (PFNANO, PFNANO_AK4):
            known.update(column for link in format_.links.values() for column in link.columns)
            for ways in (ways for columns in format_.columns.values() for ways in columns.values()):
                if ways and not any(known.issuperset(way.columns) for way in ways):
                    known.update(ways[0].columns)
        self._columns = {stored_name(column, names) for column in known if names.get(column, "") is not None}

    @property
    def collections(self) -> list[str]:
        return sorted({column.partition(".")[0] for column in self._columns})

    def has(self, column: str) -> bool:
        return column in self._columns

    def fields(self, collection: str) -> list[str]:
        stored = (column.partition(".") for column in sorted(self._columns))
        return [field for name, _, field in stored if name == collection and field]


def standard_columns(
    bundle: Bundle, flavour: str | os.PathLike[str] = "pfnano", heads: Iterable[HeadColumns] = ()
) -> tuple[str, ...]:
    """The columns that a model and its heads read from files of a production that has all columns of PFNano.

    Parameters
    ----------
    bundle : Bundle
        With or without weights.
    flavour : str or path
        As for `jettagger.inputs.flavours.flavour_of`.
    heads : iterable of Head

    Returns
    -------
    tuple of str
        ``"Collection.field"``, names of the production.

    Raises
    ------
    MissingColumns
        If the model needs more than PFNano has, such as columns with names of a user.
    UnknownName, InputFileError, ConfigError
        As for `jettagger.inputs.flavours.flavour_of`.

    Examples
    --------
    >>> from jettagger.bundles.registry import load_bundle
    >>> standard_columns(load_bundle("inclParTMDV1"), "pfnano-106x")[-1]
    'SV.phi'
    """
    production = flavour_of(flavour)
    source = source_of(bundle, names=production.names or None)
    return tuple(source.check(_Production(production.names), production.title, heads).columns)
