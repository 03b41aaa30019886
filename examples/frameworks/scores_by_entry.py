"""Frameworks on coffea 0.7: scores from files that ``jettagger tag`` wrote, joined by entry.

Usage: python examples/frameworks/scores_by_entry.py NANO.root SCORES.root

jettagger needs awkward 2, coffea 0.7 needs awkward 1: they do not run in the same environment. The scores are written
first, with one row an event in the order of the file:

    jettagger tag NANO.root --model inclParTMDV1 -o SCORES.root

This file needs uproot, awkward and zstandard alone, of today or of the time of coffea 0.7. In PocketCoffea 0.9 and
processors of one's own, call `with_scores` at the beginning of ``process``, with the folder of the score files.
"""

import sys
from pathlib import Path

import awkward as ak
import numpy as np
import uproot


def read_scores(path, start, stop, tree="Events"):
    """Identifiers of events, and columns of fat jets, of the rows ``start`` to ``stop`` of a score file."""
    with uproot.open(path) as file:
        table = file[tree]
        names = [name for name in table.keys() if name.startswith("FatJet_")]  # noqa: SIM118
        return table.arrays(["run", "luminosityBlock", "event", *names], entry_start=start, entry_stop=stop)


def join(events, scores):
    """The scores as columns of the fat jets of the same events; NaN for jets that were not scored.

    Raises ValueError if the rows are not those of the events: a file that was made again, or skimmed, in between.
    """
    if len(scores) != len(events):
        raise ValueError(f"{len(scores)} rows of scores for {len(events)} events: they are not of the same file")
    for name in ("run", "luminosityBlock", "event"):
        if np.any(np.asarray(scores[name]) != np.asarray(events[name])):
            raise ValueError(f"scores and events differ in {name}: they are not of the same file")
    if np.any(np.asarray(ak.num(scores["FatJet_pt"])) != np.asarray(ak.num(events.FatJet.pt))):
        raise ValueError("scores and events differ in their numbers of fat jets: they are not of the same file")
    jets = events.FatJet
    for name in ak.fields(scores):
        column = name[len("FatJet_") :]
        if name.startswith("FatJet_") and column not in ak.fields(jets):
            jets = ak.with_field(jets, scores[name], column)
    return ak.with_field(events, jets, "FatJet")


def with_scores(events, folder):
    """The events of a chunk of a coffea processor with the scores of their file, ``folder/<name of the file>``."""
    place = events.metadata
    path = Path(folder) / Path(place["filename"]).name
    return join(events, read_scores(str(path), place["entrystart"], place["entrystop"]))


def main(nano, scores):
    """Mean scores of the fat jets of a file."""
    from coffea.nanoevents import NanoAODSchema, NanoEventsFactory

    NanoAODSchema.warn_missing_crossrefs = False
    if int(ak.__version__.split(".")[0]) > 1:
        events = NanoEventsFactory.from_root({nano: "Events"}, schemaclass=NanoAODSchema, mode="virtual").events()
    else:
        events = NanoEventsFactory.from_root(nano, schemaclass=NanoAODSchema).events()
    joined = join(events, read_scores(scores, 0, len(events)))
    for column in sorted(set(ak.fields(joined.FatJet)) - set(ak.fields(events.FatJet))):
        values = np.asarray(ak.flatten(joined.FatJet[column]))
        if "prob" in column:
            print(f"{column}: {np.isfinite(values).sum()} of {len(values)} jets, mean {np.nanmean(values):.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:3])
