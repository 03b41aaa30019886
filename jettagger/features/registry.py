"""The table of features, looked up by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from jettagger.errors import UnknownName
from jettagger.features import cms, jec, ntuples
from jettagger.features.definition import CANDIDATES, Feature

__all__ = ["FEATURES", "columns_of", "lookup"]


def _table() -> Mapping[str, Feature]:
    table: dict[str, Feature] = {}
    for feature in (*cms.features(), *ntuples.features(), *jec.features()):
        if feature.name in table:
            raise ValueError(f"feature {feature.name!r} is defined twice")
        table[feature.name] = feature
    return MappingProxyType(table)


FEATURES: Mapping[str, Feature] = _table()


def columns_of(object_: str) -> tuple[str, ...]:
    """Columns of an object that features need; selections may use the same.

    Parameters
    ----------
    object_ : str
        One of `OBJECTS`.

    Returns
    -------
    tuple of str

    Examples
    --------
    >>> "puppiWeight" in columns_of("npf"), "puppiWeight" in columns_of("sv")
    (True, False)
    """
    kinds = CANDIDATES if object_ in CANDIDATES else (object_,)
    needs = {need for feature in FEATURES.values() if feature.object in kinds for need in feature.needs}
    return tuple(sorted(need for need in needs if not need.startswith("jet.")))


def lookup(names: Iterable[str], where: str = "") -> tuple[Feature, ...]:
    """The features of given names, in this order.

    Parameters
    ----------
    names : iterable of str
    where : str
        Origin of the names, for errors.

    Returns
    -------
    tuple of Feature

    Raises
    ------
    UnknownName
        Lists all unknown names, each with the nearest known ones.

    Examples
    --------
    >>> [feature.unit for feature in lookup(["pfcand_px", "sv_ntracks"])]
    ['GeV', '1']
    """
    names = list(names)
    unknown = [name for name in names if name not in FEATURES]
    if unknown:
        raise UnknownName("input variable", unknown, FEATURES, where)
    return tuple(FEATURES[name] for name in names)
