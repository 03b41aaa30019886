"""Matching of jets to the quarks of simulated top pairs, and how often the best chi-square assignment is right.

    jettagger simulate --process tthad-resolved --events 24000 -o tthad.root
    jettagger simulate --process ttsemilep-resolved --events 24000 -o ttsemilep.root
    python benchmarks/assignment.py tthad.root ttsemilep.root --write

Numbers go to docs/measured_assignment.json, and the tables to docs/assignment.md. Both use the files of
``examples/assignment/``: jets with pt > 25 GeV, b tags drawn with efficiencies by flavour.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from jettagger.assignment import AssignmentEvents, BTag, EventDescription, InputMaker, chi_square, top_terms
from jettagger.files.root import EventFile

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples" / "assignment"
NUMBERS, PAGE = ROOT / "docs" / "measured_assignment.json", ROOT / "docs" / "assignment.md"
PLACE = re.compile(r"(<!-- measured (?P<name>\w+) -->\n).*?(<!-- end of measured -->)", flags=re.DOTALL)

#: events that are read at a time
STEP = 2_000

#: example -> smallest number of jets, and the number from which on events are one row
ROWS = {"tthad": (6, 8), "ttsemilep": (4, 6)}


def share(right: int, number: int) -> tuple[float, float]:
    """A fraction and its binomial uncertainty."""
    value = right / number if number else float("nan")
    return value, float(np.sqrt(value * (1 - value) / number)) if number else float("nan")


def orderless(slots: Any) -> Any:
    """Slots of (b, q, q) without the order of the two quarks."""
    return np.concatenate([slots[:, :1], np.sort(slots[:, 1:], axis=1)], axis=1)


def right_assignments(events: AssignmentEvents, event: EventDescription) -> Any:
    """Whether all hadronic tops of the assignment with the smallest chi-square are right, bool[events]."""
    tops = [particle.name for particle in event.particles if len(particle.daughters) == 3]
    mask, names = events.masks["Jets"], event.input("Jets").feature_names
    values = {name: events.values["Jets"][..., place][mask] for place, name in enumerate(names)}
    jets = {name: values[name] for name in ("pt", "eta", "mass")}
    jets["phi"] = np.arctan2(values["sin_phi"], values["cos_phi"])
    counts = mask.sum(axis=1)
    found = chi_square(
        ak.unflatten(ak.zip(jets), counts),
        EventDescription(event.inputs, tuple(event.particle(name) for name in tops)),
        [term for name in tops for term in top_terms(name)],
        BTag(dict.fromkeys(tops, ("b",))),
        ak.unflatten(values["btag"] > 0.5, counts),
    )
    chosen = [orderless(found.assignments[name]) for name in tops]
    truth = [orderless(events.targets[name]) for name in tops]
    same = np.all([(a == b).all(axis=1) for a, b in zip(chosen, truth, strict=True)], axis=0)
    if len(tops) == 2:
        same |= np.all([(a == b).all(axis=1) for a, b in zip(chosen, truth[::-1], strict=True)], axis=0)
    return same


def measure(name: str, path: str) -> dict[str, Any]:
    """The rows of one sample, by number of jets."""
    maker = InputMaker(EXAMPLES / name / "event.yaml", EXAMPLES / name / "inputs.yaml")
    low, high = ROWS[name]
    tops = [particle.name for particle in maker.event.particles if len(particle.daughters) == 3]
    counts: dict[int, list[int]] = {number: [0, 0, 0] for number in range(low, high + 1)}
    total, table = 0, None
    with EventFile(path) as file:
        for start in range(0, file.n_events, STEP):
            made = maker.made(file.read(maker.check(file), start, min(start + STEP, file.n_events)))
            total += made.counts.events
            table = made.counts.matching if table is None else table + made.counts.matching
            jets = np.clip(made.events.masks["Jets"].sum(axis=1), low, high)
            matched = np.all([made.events.target_masks[top] for top in tops], axis=0)
            right = right_assignments(made.events, maker.event) & matched
            for number, row in counts.items():
                row[0] += int(np.sum(jets == number))
                row[1] += int(np.sum((jets == number) & matched))
                row[2] += int(np.sum((jets == number) & right))
    assert table is not None
    rows = [
        {
            "jets": number,
            "events": events,
            "matched": matched,
            "efficiency": share(matched, events),
            "chi_square": share(right, matched),
        }
        for number, (events, matched, right) in counts.items()
    ]
    return {"events": total, "rows": rows, "matching": table.to_dict()}


def table_of(name: str, result: dict[str, Any]) -> str:
    """The rows as a table of the page."""
    high = ROWS[name][1]
    lines = ["| jets | events | all matched | share | chi-square right |", "|---|---|---|---|---|"]
    for row in result["rows"]:
        jets = f"{row['jets']}" + (" and more" if row["jets"] == high else "")
        cells = [jets, str(row["events"]), str(row["matched"])]
        cells += ["{:.3f} ± {:.3f}".format(*row[key]) for key in ("efficiency", "chi_square")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hadronic", help="file of tthad-resolved")
    parser.add_argument("semileptonic", help="file of ttsemilep-resolved")
    parser.add_argument("--write", action="store_true", help="store numbers and tables in docs")
    args = parser.parse_args()
    results = {"tthad": measure("tthad", args.hadronic), "ttsemilep": measure("ttsemilep", args.semileptonic)}
    for name, result in results.items():
        print(f"{name}: {result['events']} events\n{table_of(name, result)}")
    if args.write:
        NUMBERS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        text = PAGE.read_text(encoding="utf-8")
        page = PLACE.sub(lambda match: f"{match[1]}{table_of(match['name'], results[match['name']])}\n{match[3]}", text)
        PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
