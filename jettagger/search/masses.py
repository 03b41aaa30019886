"""Masses of candidates in a search: their histograms, and the cuts on them.

What a score does to the spectrum of a mass can only be seen without cuts on this mass or on one that is correlated with
it. Plots of sculpting therefore have histograms of their own, without them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from jettagger.histograms import HistSpec

if TYPE_CHECKING:
    from jettagger.search.definition import Region, Search

__all__ = ["is_mass", "mass_histograms", "without_mass_cuts"]

#: candidates
_JETS = ("jet1", "jet2")


def is_mass(search: Search, name: str) -> bool:
    """Whether a column is a mass of a candidate, by its name.

    Parameters
    ----------
    search : Search
    name : str
        E.g. ``jet1.msoftdrop``.

    Returns
    -------
    bool
        True for ``msoftdrop``, the mass of the search, and what has ``mass`` as a word of its name.
    """
    front, _, column = name.strip().partition(".")
    return front in _JETS and (column in (search.mass, "msoftdrop") or "mass" in column.lower().split("_"))


def mass_histograms(search: Search) -> dict[str, HistSpec]:
    """The one-dimensional histograms of a mass; none without an inclusive region, to which others are compared.

    Parameters
    ----------
    search : Search

    Returns
    -------
    dict of str to HistSpec
    """
    if not any(region.kind == "inclusive" for region in search.regions.values()):
        return {}
    return {
        spec.name: spec
        for spec in search.histograms
        if len(spec.axes) == 1 and is_mass(search, str(spec.axes[0].expression or spec.axes[0].name))
    }


def without_mass_cuts(search: Search, region: Region) -> tuple[str, ...]:
    """The cuts of a region that remain in histograms of masses.

    Parameters
    ----------
    search : Search
    region : Region

    Returns
    -------
    tuple of str
        Cuts on masses alone are left out; of inclusive regions, which are the reference, all that need any mass.
    """
    needs: Mapping[str, tuple[str, ...]] = {name: tuple(cut.names) for name, cut in search.cuts.items()}

    def remains(name: str) -> bool:
        on_mass = [is_mass(search, column) for column in needs[name]]
        left_out = any(on_mass) if region.kind == "inclusive" else bool(on_mass) and all(on_mass)
        return not left_out

    passes = [name for name in region.passes if remains(name)]
    return (*passes, *(f"not {name}" for name in region.fails if remains(name)))
