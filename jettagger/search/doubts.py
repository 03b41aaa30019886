"""Probable mistakes in a search: a cut without effect, an empty region, a doubtful sum of weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jettagger.expressions import parse
from jettagger.expressions.cutlogic import doubt, never
from jettagger.search.definition import EVENTS, LUMINOSITIES, Region, Sample, Search

__all__ = ["doubts", "idle_cuts", "region_notes", "unknown_sums"]


def doubts(search: Search) -> list[str]:
    """Probable mistakes in the definition of a search, independent of the events.

    Parameters
    ----------
    search : Search

    Returns
    -------
    list of str
        A luminosity outside the range of the LHC; scale factors of what selects the candidates; cuts, and combinations
        of cuts in a region, that are never or always true.
    """
    notes = []
    low, high = LUMINOSITIES
    if not low <= search.luminosity <= high:
        notes.append(
            f"the luminosity is {search.luminosity:g}/fb: samples of the LHC have between {low:g} and {high:g}; is it "
            "in other units? (1/fb = 1000/pb)"
        )
    for name, factor in search.tag_factors.items():
        if search.pick == factor.discriminant:
            notes.append(
                f"weight {name!r}: the candidates are selected by {search.pick!r} itself, so that jets that are not "
                "candidates influence the selection, but are not weighted: select them by pt"
            )
    named = {"the cut on events": search.event_cut, "the preselection of jets": search.preselection}
    named |= {f"cut {name!r}": cut for name, cut in search.cuts.items()}
    doubtful = {name: doubt(cut) for name, cut in named.items() if cut is not None}
    notes += [f"{name}: {text}" for name, text in doubtful.items() if text]
    for name, region in search.regions.items():
        cuts = [f"({search.cuts[cut]})" for cut in region.passes]
        cuts += [f"(not ({search.cuts[cut]}))" for cut in region.fails]
        alone = any(doubtful[f"cut {cut!r}"] for cut in (*region.passes, *region.fails))
        if cuts and not alone and never(parse(" and ".join(cuts))):
            notes.append(f"region {name!r}: its cuts are mutually exclusive")
    return notes


def unknown_sums(samples: Mapping[str, Sample], datasets: Mapping[str, Any]) -> list[str]:
    """Samples of simulation scaled by the events read, because no sum of weights is known.

    Parameters
    ----------
    samples : mapping of str to Sample
    datasets : mapping
        Data set -> ``events`` and ``sum_of_read_weights``.

    Returns
    -------
    list of str
    """
    return [
        f"dataset {name!r}: the sum of generator weights of all generated events is not known; the sum over the "
        f"{counts['events']} events read, {counts['sum_of_read_weights']:.6g}, is taken, which is right only if no "
        "event was left out before: give sum_of_weights ('events' if that is meant)"
        for name, counts in datasets.items()
        if not samples[name].data and samples[name].sum_of_weights is None
    ]


def idle_cuts(search: Search, passing: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Cuts that all simulated events with candidates pass, or none.

    Parameters
    ----------
    search : Search
    passing : mapping
        Cut -> ``passed`` and ``failed``, numbers of simulated events.

    Returns
    -------
    list of str
    """
    notes = []
    for name, counts in passing.items():
        cut = search.event_cut if name == EVENTS else search.cuts[name]
        known = counts["passed"] + counts["failed"]
        if cut is None or not known or doubt(cut) or (counts["passed"] and counts["failed"]):
            continue
        word = "each" if counts["passed"] else "none"
        what = "the cut on events" if name == EVENTS else f"cut {name!r}"
        of = "simulated events" + ("" if name == EVENTS else " with candidates")
        notes.append(f"{what} ({cut}) passes {word} of the {known} {of}")
    return notes


def region_notes(regions: Mapping[str, Region], cutflow: Mapping[str, Any], overlaps: Mapping[str, int]) -> list[str]:
    """Regions without events, signal regions that overlap with others.

    Parameters
    ----------
    regions : mapping of str to Region
    cutflow : mapping
        Data set -> region -> cut -> ``events``.
    overlaps : mapping of str to int
        ``"SR & CR"`` -> events in both.

    Returns
    -------
    list of str
    """
    notes = []
    for region in regions:
        last = {name: list(flows[region].values())[-1]["events"] for name, flows in cutflow.items()}
        empty = [name for name, events in last.items() if events == 0]
        if empty and len(empty) == sum(events is not None for events in last.values()):
            notes.append(f"region {region!r} selects no event of any data set")
        elif empty:
            notes.append(f"region {region!r} selects no event of {', '.join(empty)}")
    for pair, events in overlaps.items():
        if events:
            first, second = pair.split(" & ")
            kind = regions[second].kind
            notes.append(f"signal region {first!r} and {kind} region {second!r} share {events} events")
    return notes
