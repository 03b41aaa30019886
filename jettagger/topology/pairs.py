"""Features of pairs of objects in a mapping: expressions in the two objects, and in quantities of both together."""

from __future__ import annotations

from collections.abc import Iterator

from jettagger.expressions import parse

__all__ = ["FIRST", "PAIR", "QUANTITIES", "SECOND", "pair_columns", "unknown_quantities"]

#: what names of an expression begin with
FIRST, SECOND, PAIR = "first", "second", "pair"

#: quantity of a pair -> columns of its objects that it is made of; pt to mass are those of the sum
QUANTITIES: dict[str, tuple[str, ...]] = {
    "delta_eta": ("eta",),
    "delta_phi": ("phi",),
    "delta_r": ("eta", "phi"),
    "pt": ("pt", "phi"),
    "eta": ("pt", "eta", "phi"),
    "phi": ("pt", "phi"),
    "mass": ("pt", "eta", "phi", "mass"),
}


def unknown_quantities(text: str) -> Iterator[str]:
    """Names of an expression that begin with ``pair`` and are no quantity of pairs.

    Parameters
    ----------
    text : str

    Yields
    ------
    str
        Without ``pair.``.

    Examples
    --------
    >>> list(unknown_quantities("pair.delta_r + pair.deltar"))
    ['deltar']
    """
    for name in parse(text).names:
        front, _, quantity = name.partition(".")
        if front == PAIR and quantity not in QUANTITIES:
            yield quantity


def pair_columns(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What an expression on pairs needs.

    Parameters
    ----------
    text : str

    Returns
    -------
    objects : tuple of str
        Columns, or tags, of each object.
    others : tuple of str
        Columns of the event.

    Examples
    --------
    >>> pair_columns("min(first.pt, second.pt) * pair.delta_r + MET.pt")
    (('eta', 'phi', 'pt'), ('MET.pt',))
    """
    objects: set[str] = set()
    others: set[str] = set()
    for name in parse(text).names:
        front, _, column = name.partition(".")
        if front == PAIR:
            objects.update(QUANTITIES.get(column, ()))
        elif front in (FIRST, SECOND) and column:
            objects.add(column)
        else:
            others.add(name)
    return tuple(sorted(objects)), tuple(sorted(others))
