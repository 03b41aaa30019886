"""Rows of the cutflow from which the data of a blind signal region would follow by subtraction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from jettagger.search.definition import JETS, Region

__all__ = ["blind_rows"]

#: number of events as a sum over products of cuts: {cuts that are passed: coefficient}
Yield = dict[frozenset[str], int]

#: maximum number of terms; beyond it, all rows are blind
MOST_TERMS = 2000


def _product(first: Yield, second: Yield) -> Yield:
    found: Yield = {}
    for cuts, number in first.items():
        for others, factor in second.items():
            both = cuts | others
            found[both] = found.get(both, 0) + number * factor
    if len(found) > MOST_TERMS:
        raise OverflowError
    return {cuts: number for cuts, number in found.items() if number}


def _yield(passes: Sequence[str], fails: Sequence[str]) -> Yield:
    found: Yield = {frozenset(passes): 1}
    for cut in fails:
        found = _product(found, {frozenset(): 1, frozenset([cut]): -1})
    return found


def _rows(region: Region) -> dict[str, Yield]:
    """The rows of the cutflow from the one of events with candidates on."""
    found = {JETS: _yield((), ())}
    for number, cut in enumerate(region.cuts, 1):
        passes, fails = region.passes[:number], region.fails[: max(number - len(region.passes), 0)]
        found[cut] = _yield(passes, fails)
    return found


def _follows(shown: Sequence[Yield], blind: Sequence[Yield]) -> int:
    """Number of independent sums of blind yields that are differences of shown ones."""
    terms = {cuts: position for position, cuts in enumerate({cuts: 0 for item in (*shown, *blind) for cuts in item})}

    def rank(yields: Sequence[Yield]) -> int:
        matrix = np.zeros((len(yields), len(terms)))
        for row, item in enumerate(yields):
            for cuts, number in item.items():
                matrix[row, terms[cuts]] = number
        return int(np.linalg.matrix_rank(matrix)) if matrix.size else 0

    return rank(shown) + rank(blind) - rank([*shown, *blind])


def blind_rows(regions: Mapping[str, Region]) -> dict[str, list[str]]:
    """The rows of the cutflow, by region, in which data are not shown.

    The last row of a signal region is blind. So is each row that, by addition and subtraction of other rows and of the
    histograms of the other regions, would give it: where a validation region has the events that fail the last cut of
    the signal region, the row before it is the sum of both. Earlier rows are preferred to later ones.

    Parameters
    ----------
    regions : mapping of str to Region

    Returns
    -------
    dict
        Region -> names of rows.

    Examples
    --------
    >>> from jettagger.search.definition import Region
    >>> regions = {"SR": Region("signal", ["mass", "tag"]), "VR": Region("validation", ["mass"], ["tag"])}
    >>> blind_rows(regions)
    {'SR': ['mass', 'tag'], 'VR': ['mass']}
    """
    try:
        rows = {name: _rows(region) for name, region in regions.items()}
        blind = [list(rows[name].values())[-1] for name, region in regions.items() if region.kind == "signal"]
        outside = _yield((), ())
        for signal in blind:
            others = {cuts: -number for cuts, number in signal.items()}
            others[frozenset()] = 1 + others.get(frozenset(), 0)
            outside = _product(outside, others)
        # histograms have the events of a region that are in no signal region
        shown = [
            _product(list(rows[name].values())[-1], outside)
            for name, region in regions.items()
            if region.kind != "signal"
        ]
    except OverflowError:
        return {name: [JETS, *region.cuts] for name, region in regions.items()}
    hidden: dict[str, list[str]] = {name: [] for name in regions}
    deepest = max((len(found) for found in rows.values()), default=0)
    for depth in range(deepest):
        for name, found in rows.items():
            if depth < len(found):
                cut, events = list(found.items())[depth]
                if _follows([*shown, events], blind) > _follows(shown, blind):
                    hidden[name].append(cut)
                else:
                    shown.append(events)
    return hidden
