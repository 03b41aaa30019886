"""Access to histograms: categories, variables, projections, sums, comparison."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from jettagger.arguments import Histogram, guard
from jettagger.errors import MismatchError, UnknownName

__all__ = ["add", "categories_of", "equal", "pick", "sort_categories", "variables_of"]


def categories_of(histogram: Histogram) -> dict[str, list[str]]:
    """The category axes: name -> values.

    Examples
    --------
    >>> import hist
    >>> categories_of(hist.Hist.new.StrCat(["tt"], name="dataset").Reg(2, 0, 1, name="x").Weight())
    {'dataset': ['tt']}
    """
    import hist

    return {axis.name: list(axis) for axis in histogram.axes if isinstance(axis, hist.axis.StrCategory)}


def variables_of(histogram: Histogram) -> list[Any]:
    """The axes that are not categories."""
    import hist

    return [axis for axis in histogram.axes if not isinstance(axis, hist.axis.StrCategory)]


def pick(histogram: Histogram, **categories: str | Sequence[str]) -> Any:
    """The part of a histogram in given categories, summed over the others.

    Parameters
    ----------
    histogram : hist.Hist
        With category axes.
    **categories : str or sequence of str
        Category axis -> a value, or several values to be added.

    Returns
    -------
    hist.Hist
        Without category axes.

    Raises
    ------
    UnknownName
        If the axis or value does not exist.
    """
    known = categories_of(histogram)
    unknown = [name for name in categories if name not in known]
    if unknown:
        raise UnknownName("category", unknown, known, f"histogram {histogram.name or ''!r}")
    result = histogram
    for name, values in known.items():
        wanted = categories.get(name, values)
        chosen = [wanted] if isinstance(wanted, str) else list(wanted)
        missing = [value for value in chosen if value not in values]
        if missing:
            raise UnknownName(name, missing, values, f"histogram {histogram.name or ''!r}")
        parts = [result[{name: value}] for value in chosen]
        if not parts:
            raise UnknownName(name, "(none)", values, f"histogram {histogram.name or ''!r}")
        result = parts[0] if len(parts) == 1 else _total(parts)
    return result


def _total(parts: Iterable[Any]) -> Any:
    total = None
    for part in parts:
        total = part.copy() if total is None else total + part
    return total


def sort_categories(histogram: Histogram) -> Any:
    """The same histogram with its categories in alphabetical order."""
    import hist

    known = {name: sorted(values) for name, values in categories_of(histogram).items()}
    if known == categories_of(histogram):
        return histogram.copy()
    axes = [
        hist.axis.StrCategory(known[axis.name], growth=axis.traits.growth, name=axis.name, label=axis.label)
        if axis.name in known
        else axis
        for axis in histogram.axes
    ]
    ordered = hist.Hist(*axes, storage=histogram.storage_type(), name=histogram.name, label=histogram.label)
    old, new = histogram.view(flow=True), ordered.view(flow=True)
    rows = []
    for number, axis in enumerate(histogram.axes):
        places = np.arange(old.shape[number])
        if axis.name in known:  # behind the categories there may be one for all others
            before = list(axis)
            places[: len(before)] = [before.index(value) for value in known[axis.name]]
        rows.append(places)
    first, *others = rows
    for place, row in enumerate(first):  # one at a time: no second copy of all
        new[place] = old[row][np.ix_(*others)] if others else old[row]
    return ordered


def add(first: Mapping[str, Histogram], *others: Mapping[str, Histogram]) -> dict[str, Any]:
    """The sums of histograms with the same names, from several files or chunks; categories are sorted.

    Raises
    ------
    MismatchError
        If two of the same name have different axes.
    """
    total = {name: histogram.copy() for name, histogram in first.items()}
    for other in others:
        for name, histogram in other.items():
            if name not in total:
                total[name] = histogram.copy()
                continue
            try:
                total[name] = total[name] + histogram
            except (ValueError, TypeError) as error:
                raise MismatchError(f"histogram {name!r} has different axes in two places: {error}") from error
    return {name: sort_categories(histogram) for name, histogram in total.items()}


def equal(first: Histogram, second: Histogram, rtol: float = 0.0) -> bool:
    """Whether two histograms have the same axes and contents, independent of the order of categories.

    Parameters
    ----------
    first, second : hist.Hist
        Histograms to compare.
    rtol : float
        Relative tolerance: sums of weights in different order differ by rounding.
    """
    one, two = sort_categories(first), sort_categories(second)
    if list(one.axes) != list(two.axes) or [a.name for a in one.axes] != [a.name for a in two.axes]:
        return False
    mine, theirs = one.view(flow=True), two.view(flow=True)
    names = mine.dtype.names or (None,)
    pairs = ((mine[name], theirs[name]) if name else (mine, theirs) for name in names)
    return all(np.allclose(a, b, rtol=rtol, atol=0, equal_nan=True) for a, b in pairs)


guard(globals())
