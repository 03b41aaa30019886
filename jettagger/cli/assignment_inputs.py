"""Make a data set of whole events from files: inputs, targets from generator particles, regressions, classes, weights.

inputs.yaml says which collections and columns the inputs of the event file are, and which generator particles its
particles are; 'jettagger schema event-mapping' prints its schema. Files are of one data set, or of several that are
named, which classes can depend on; their events are mixed. The output is complete or not there.

Printed are the events with each particle, and those in which an object is matched to each of its daughters, by the
number of objects.

examples:
  jettagger assignment inputs tt.root --event event.yaml -o tt.h5
  jettagger assignment inputs ttHbb=tth.root ttbb=ttbb_*.root --event event.yaml --inputs inputs.yaml -o tth.h5
  jettagger assignment inputs tt.root --event event.yaml -o tt.parquet --dry-run
"""

from __future__ import annotations

import argparse
import re

from jettagger.cli.console import Console
from jettagger.cli.options import counted

__all__ = ["configure", "run"]

#: data set in front of a file, as opposed to a URL with an option
_NAMED = re.compile(r"(?P<name>[\w.-]+)=(?P<path>.+)")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``jettagger assignment inputs``."""
    add = parser.add_argument
    add("files", nargs="+", metavar="[NAME=]FILE", help="files of events; NAME is the data set of this and later files")
    add("--event", required=True, metavar="EVENT.yaml", help="event file")
    add("--inputs", metavar="INPUTS.yaml", help="the mapping (default: inputs.yaml beside the event file)")
    add("-o", "--output", required=True, metavar="OUT", help=".h5 in the layout of SPANet, or .parquet")
    add("--events-per-block", type=counted, metavar="N", help="events that are read at a time (default: 10000)")
    add("--dry-run", action="store_true", help="check the files and their columns, and write nothing")
    add("--force", action="store_true", help="replace an existing output")


def run(args: argparse.Namespace, console: Console) -> int:
    """Run ``jettagger assignment inputs``."""
    from pathlib import Path

    from jettagger.assignment.making import EVENTS_PER_BLOCK, InputMaker, check_output, make_inputs
    from jettagger.files import refuse_inputs
    from jettagger.files.root import EventFile
    from jettagger.topology.mapping import MAPPING_FILE

    mapping = args.inputs or str(Path(args.event).parent / MAPPING_FILE)
    files = _datasets(args.files)
    every = [path for paths in files.values() for path in paths]
    refuse_inputs(args.output, [*every, args.event, mapping])
    maker = InputMaker(args.event, mapping)
    check_output(args.output, force=args.force, inputs=every)
    events = 0
    for name, paths in files.items():
        for path in paths:
            with EventFile(path) as file:
                columns = maker.check(file, name, path)
                events += file.n_events
    if args.dry_run:
        console.say(f"{events} events in {len(every)} files; columns: {', '.join(columns)}; nothing written")
        return 0
    with console.progress_bar("reading", events, "events") as advance:
        counts = make_inputs(
            files,
            args.output,
            maker,
            events_per_block=args.events_per_block or EVENTS_PER_BLOCK,
            force=args.force,
            progress=advance,
        )
    rows = [("read", counts.events)]
    if counts.not_selected:
        rows.append(("not selected", counts.not_selected))
    rows += [(f"too few {name}", number) for name, number in counts.too_few.items()]
    rows += [("written", counts.written)]
    rows += [(f"more {name} than slots", number) for name, number in counts.cut.items() if number]
    console.counts("events", rows)
    for name, how in counts.tags.items():
        console.say(f"tag {name}: {how}")
    if maker.labels and maker.mapping.targets is not None:
        say_matching(console, counts.matching)
    console.wrote(args.output, f"wrote {args.output}")
    return 0


def say_matching(console: Console, matching: object) -> None:
    """Print the matching efficiencies.

    Parameters
    ----------
    matching : MatchingTable
    """
    from jettagger.inputs.event_targets import MatchingTable

    assert isinstance(matching, MatchingTable)
    names = list(matching.generated)
    rows = [(number, events, *(_share(*values[name]) for name in names)) for number, events, values in matching.rows()]
    total = sum(matching.events.values())
    sums = {name: (sum(matching.generated[name].values()), sum(matching.matched[name].values())) for name in names}
    rows.append(("all", total, *(_share(*sums[name]) for name in names)))
    console.table("matched / generated", ("objects", "events", *names), rows)
    if matching.ambiguous:
        console.say(f"{matching.ambiguous} decay products have their nearest object in common with another one")
    if matching.beyond_slots:
        console.say(f"{matching.beyond_slots} decay products are matched to an object beyond the slots, and lost")


def _share(generated: int, matched: int) -> str:
    return f"{matched / generated:.3f}" if generated else "-"


def _datasets(arguments: list[str]) -> dict[str, list[str]]:
    """Data set -> its files."""
    found: dict[str, list[str]] = {}
    name = ""
    for text in arguments:
        named = _NAMED.fullmatch(text)
        path = text
        if named is not None and "://" not in named["name"]:
            name, path = named["name"], named["path"]
        found.setdefault(name, []).append(path)
    return found
