"""Upper limits against the resonance mass, from the templates of a search.

Reads templates.json and the pyhf workspaces that 'jettagger search' leaves in its output folder, and writes
limits.json, limits.txt and, with matplotlib, limits.png and limits.pdf beside them.
Needs: pip install 'jettagger[stats]'.

examples:
  jettagger limit OUT/
  jettagger limit OUT/ --signal graviton1000 --signal graviton2000
  jettagger limit OUT/ --no-plot
"""

from __future__ import annotations

import argparse
import importlib.util
from dataclasses import asdict
from pathlib import Path

from jettagger.cli.console import Console
from jettagger.errors import InvalidValues, UnknownName
from jettagger.files import complete_or_absent, refuse_inputs
from jettagger.provenance import Provenance
from jettagger.statistics.limits import BANDS, Limit, limit, save_limits, table
from jettagger.statistics.templates import load_report, load_workspaces

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``jettagger limit``."""
    parser.add_argument("folder", type=Path, metavar="OUT/", help="the output folder of 'jettagger search'")
    parser.add_argument("--signal", action="append", default=[], metavar="NAME", help="only this signal (repeatable)")
    parser.add_argument("--no-plot", action="store_true", help="do not draw limits.png and limits.pdf")


def run(args: argparse.Namespace, console: Console) -> int:
    """Compute the limits, print them as a table with the report on the templates, and write the files.

    Raises
    ------
    UnknownName
        If a requested signal does not exist.
    InvalidValues
        If there is no limit; gives the reason.
    """
    signals, workspaces, asimov = load_workspaces(args.folder)
    for name in ("limits.json", "limits.txt", "limits.png", "limits.pdf"):
        refuse_inputs(args.folder / name, [path for path in args.folder.glob("*.json") if path.name != name])
    unknown = [name for name in args.signal if name not in signals]
    if unknown:
        raise UnknownName("signal", unknown, signals, str(args.folder))
    chosen = args.signal or list(signals)
    found = []
    with console.progress_bar("limits", len(chosen), "signals") as advance:
        for name in chosen:
            signal = signals[name]
            kept = {"signal": name, "mass": signal.mass, "cross_section": signal.cross_section, "asimov": asimov}
            try:
                found.append(limit(workspaces[name], **kept))
            except InvalidValues as error:
                # the others of the table are not lost with it
                none = (None, None, None, None, None)
                lacking = dict.fromkeys(BANDS if asimov else ("observed", *BANDS), str(error))
                found.append(Limit(observed=None, expected=none, missing=lacking, **kept))
            advance(1)
    if all(item.observed is None and not any(item.expected) for item in found):
        reasons = dict.fromkeys(reason for item in found for reason in item.missing.values())
        raise InvalidValues(f"no limit was found: {'; '.join(reasons)}")
    text = table(found) + "\nlimits in units of the cross section of the signal; the last column in fb\n"
    report = load_report(args.folder)
    if asimov:
        why = "the data are blind" if any(": blind," in line for line in report) else "no data"
        text += f"{why}: the limits are expected ones, 'observed' is left empty\n"
    text += "".join(f"templates: {line}\n" for line in report)
    made = Provenance.of_file(args.folder / "templates.json").then("limit")
    text += f"{made}\n"
    save_limits(found, args.folder / "limits.json", provenance=made)
    with complete_or_absent(args.folder / "limits.txt") as part:
        part.write_text(text, encoding="utf-8")
    for name in ("limits.json", "limits.txt"):
        console.wrote(args.folder / name)
    console.answer([asdict(item) for item in found], text.rstrip("\n"))
    if not args.no_plot and importlib.util.find_spec("mplhep"):
        from jettagger.plots import limit_band, save_figure
        from jettagger.search.labels import read_styles

        label, _ = read_styles(args.folder)
        figure = limit_band(found, label=label)
        for suffix in (".png", ".pdf"):
            save_figure(figure, args.folder / f"limits{suffix}")
            console.wrote(args.folder / f"limits{suffix}")
    return 0
