"""Tables and statements of `benchmarks.architectures`: from records of trainings to docs/images.md."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.architectures_figures import draw, lines_of
from benchmarks.architectures_names import CHANGES, TITLES
from benchmarks.architectures_records import Sigma, Study, ratio
from benchmarks.architectures_statements import best, shifts, statements
from benchmarks.rejections import EFFICIENCIES
from examples.architectures.inputs import TASKS

__all__ = ["NUMBERS", "PAGE", "blocks", "pages", "summary", "write_page"]

ROOT = Path(__file__).resolve().parent.parent
NUMBERS, PAGE = ROOT / "docs" / "measured_architectures.json", ROOT / "docs" / "images.md"
PLACE = re.compile(r"(<!-- architectures: (?P<name>\w+) -->\n).*?(<!-- end of architectures -->)", flags=re.DOTALL)


# --------------------------------------------------------------------------------------------------------------- tables


def summary(records: Sequence[Mapping[str, Any]], costs: Mapping[str, Any]) -> dict[str, Any]:
    """All numbers of the page, as they are stored.

    Parameters
    ----------
    records : sequence of mapping
        One per training.
    costs : mapping
        Of the part ``costs``.

    Returns
    -------
    dict
    """
    study = Study(records, costs)
    made: dict[str, Any] = {"rejections": {}, "networks": {}, "modelling": {}, "best": {}, "costs": dict(costs)}
    for task in TASKS:
        for size in study.sizes(task):
            for recipe in study.recipes(task, size):
                group = study.group(task, recipe, size)
                if group is None:
                    continue
                cells = {key: group.rejection(key).plain() for key in group.keys}
                made["rejections"].setdefault(task, {}).setdefault(str(size), {})[recipe] = cells
                first = group.records[0]
                facts = {key: first.get(key) for key in ("parameters", "trees", "passes", "batch", "jets")}
                times = [record.get("seconds_per_epoch") for record in group.records]
                known = [value for value in times if value is not None]
                facts |= {"seeds": len(group.records), "device": first["device"]}
                facts |= {"seconds_per_epoch": round(float(np.median(known)), 3) if known else None}
                made["networks"].setdefault(task, {}).setdefault(str(size), {})[recipe] = facts
        for size in study.modelling_sizes(task):
            made["modelling"].setdefault(task, {})[str(size)] = _modelling(study, task, size)
        sizes = {str(size): best(study, task, size) for size in study.sizes(task)}
        made["best"][task] = {size: found for size, found in sizes.items() if found}
    made["statements"] = statements(study)
    made["test_jets"] = {
        record["task"]: next(iter(record["rejections"].values()))["jets"] for record in records if record["rejections"]
    }
    return made


def _modelling(study: Study, task: str, size: int) -> dict[str, Any]:
    """Ratios of rejections to those of the default training on the default test, and the shifts."""
    made: dict[str, Any] = {}
    for recipe in study.recipes(task, size):
        base = study.group(task, recipe, size)
        if base is None:
            continue
        cells = {}
        for trained in CHANGES:
            for test in CHANGES:
                group = study.group(task, recipe, size, trained, test)
                if group is not None and (trained, test) != ("default", "default"):
                    cells[f"{trained} on {test}"] = ratio(group, base, base.keys).plain()
        found = {variant: shifts(study, task, recipe, size, variant) for variant in list(CHANGES)[1:]}
        if cells:
            made[recipe] = {
                "ratios": cells,
                "shifts": {key: value for key, value in found.items() if value is not None},
            }
    return made


def _row(cells: Iterable[Any]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    return "\n".join([_row(head), "|" + "---|" * len(head), *map(_row, rows)])


def _cell(numbers: Sequence[Any] | None) -> str:
    return "" if numbers is None else str(Sigma(*numbers))


def _rejection_tables(found: Mapping[str, Any]) -> str:
    """Each task at its largest size, a table for each efficiency."""
    parts = []
    for task, sizes in found["rejections"].items():
        size, networks = list(sizes.items())[-1]
        keys = list(next(iter(networks.values())))
        for efficiency in EFFICIENCIES[task]:
            mine = [key for key in keys if key.endswith(f", {efficiency:g}")]
            head = [f"{task}, {int(size):,} jets, efficiency {efficiency:.0%}", "parameters", "seeds"]
            head += [key.rpartition(", ")[0].replace(" against ", " / ") for key in mine]
            rows = []
            for recipe, cells in networks.items():
                facts = found["networks"][task][size][recipe]
                count = f"{facts['parameters']:,}" if facts["parameters"] else f"{facts['trees']} trees"
                rows.append([TITLES[recipe], count, facts["seeds"], *(_cell(cells.get(key)) for key in mine)])
            parts.append(_table(head, rows))
    tests = (f"`{task}`: " + ", ".join(f"{n:,} {name}" for name, n in jets.items()) for task, jets in _test_jets(found))
    return "\n\n".join([*parts, *([f"Test jets of {'; '.join(tests)}."] if parts else [])])


def _test_jets(found: Mapping[str, Any]) -> list[tuple[str, Mapping[str, int]]]:
    return [(task, found["test_jets"][task]) for task in TASKS if task in found["test_jets"]]


def _size_tables(found: Mapping[str, Any]) -> str:
    """Rejections over the number of training jets, at the larger efficiency in the lower range of pt."""
    parts = []
    for task, sizes in found["rejections"].items():
        keys = list(next(iter(next(iter(sizes.values())).values())))
        end = f"{EFFICIENCIES[task][-1]:g}"
        for key in dict.fromkeys(key for key in keys if key.endswith(end)):
            recipes = list(dict.fromkeys(recipe for networks in sizes.values() for recipe in networks))
            rows = [
                [TITLES[recipe], *(_cell(networks.get(recipe, {}).get(key)) for networks in sizes.values())]
                for recipe in recipes
                if sum(recipe in networks for networks in sizes.values()) > 1
            ]
            if rows:
                parts.append(_table([key, *(f"{int(size):,} jets" for size in sizes)], rows))
    return "\n\n".join([*_few_seeds(found), *parts])


def _few_seeds(found: Mapping[str, Any]) -> list[str]:
    """A list of the trainings with one seed, none if there are none."""
    lines = []
    for task, sizes in found["networks"].items():
        for size, networks in sizes.items():
            single = [TITLES[recipe] for recipe, facts in networks.items() if facts["seeds"] == 1]
            if single:
                names = "all networks" if len(single) == len(networks) else "; ".join(single)
                lines.append(f"- {int(size):,} jets of `{task}`: {names}")
    return ["Trained with one seed:", "\n".join(lines)] if lines else []


def _best_tables(found: Mapping[str, Any]) -> str:
    """The best network for each pair of classes, at the larger efficiency, over the number of training jets."""
    parts = []
    for task, sizes in found["best"].items():
        keys = [key for key in next(iter(sizes.values()), {}) if key.endswith(f"{EFFICIENCIES[task][-1]:g}")]
        if keys:
            head = [f"{task}, efficiency {EFFICIENCIES[task][-1]:.0%}", *(f"{int(size):,} jets" for size in sizes)]
            rows = ([key.rpartition(", ")[0], *(_best_cell(made.get(key)) for made in sizes.values())] for key in keys)
            parts.append(_table(head, rows))
    return "\n\n".join(parts)


def _best_cell(item: Mapping[str, Any] | None) -> str:
    if item is None:
        return ""
    return f"{TITLES[item['recipe']]}: {_cell(item['rejection'])} ({_cell(item['ratio'])} times {TITLES[item['next']]})"


def _cost_table(found: Mapping[str, Any]) -> str:
    rows = []
    for key, cost in found["costs"].items():
        task, recipe, device = key.split("_")
        training = cost["training_us_per_jet"]
        times = ("" if training is None else f"{training / 10:.3g}", f"{cost['onnx_us_per_jet']:.3g}")
        rows.append([task, TITLES[recipe], device, *times])
    return _table(["task", "network", "device", "s per 100,000 jets of an epoch", "µs per jet in ONNX Runtime"], rows)


def _modelling_tables(found: Mapping[str, Any]) -> str:
    parts = []
    for task, sizes in found["modelling"].items():
        for size, networks in sizes.items():
            columns = list(dict.fromkeys(key for made in networks.values() for key in made["ratios"]))
            head = [f"{task}, {int(size):,} jets; trained on, tested on", *columns]
            ratios = {name: [made["ratios"].get(key) for key in columns] for name, made in networks.items()}
            parts.append(_table(head, ([TITLES[name], *map(_cell, cells)] for name, cells in ratios.items())))
            moved = {name: made["shifts"] for name, made in networks.items() if made["shifts"]}
            kinds = list(dict.fromkeys(kind for shift in moved.values() for kind in shift))
            head = [f"{task}: change of ln(rejection) with the sample of"]
            head += [f"{what}, {CHANGES[kind]}" for kind in kinds for what in ("the test", "the training")]
            rows = [[TITLES[name], *_moves(shift, kinds)] for name, shift in moved.items()]
            if rows:
                parts.append(_table(head, rows))
    return "\n\n".join(parts)


def _moves(shift: Mapping[str, Mapping[str, Sequence[float]]], kinds: Sequence[str]) -> list[str]:
    pairs = [shift.get(kind, {}).get(what) for kind in kinds for what in ("test", "training")]
    return ["" if pair is None else f"{pair[0]:.3f} ± {pair[1]:.3f}" for pair in pairs]


def _statement_table(found: Mapping[str, Any]) -> str:
    return _table(
        ["statement", "verdict", "comparison that decides"],
        ([item["text"], item["verdict"], _deciding(item)] for item in found["statements"]),
    )


def _deciding(item: Mapping[str, Any]) -> str:
    """The comparison that speaks most against a statement, in standard deviations."""
    numbers = item["numbers"]
    if not numbers:
        return ""

    def support(name: str) -> float:
        value, sigma, _ = numbers[name]
        return (value - item["above"]) / sigma if sigma else value

    name = min(numbers, key=support)
    value, sigma, _ = numbers[name]
    return f"{value:.2f}{'' if sigma is None else f' ± {sigma:.2f}'} ({name}; one of {len(numbers)})"


TABLES = {
    "statements": _statement_table,
    "best": _best_tables,
    "rejections": _rejection_tables,
    "sizes": _size_tables,
    "costs": _cost_table,
    "modelling": _modelling_tables,
}


def pages(found: Mapping[str, Any]) -> str:
    """All tables, for the screen."""
    return "\n\n".join(f"{name}\n\n{make(found)}" for name, make in TABLES.items())


def write_page(found: Mapping[str, Any]) -> None:
    """Draw the figures beside the page, and put the tables and the figures between their markers in it.

    Parameters
    ----------
    found : mapping
        Of `summary`. What has no results has no figure: that of an earlier run is removed.
    """
    draw(found, PAGE.parent)
    content = blocks(found)
    text = PAGE.read_text(encoding="utf-8")

    def replaced(match: re.Match[str]) -> str:
        return f"{match[1]}{content[match['name']]}\n{match[3]}"

    PAGE.write_text(PLACE.sub(replaced, text), encoding="utf-8")


def blocks(found: Mapping[str, Any]) -> dict[str, str]:
    """What is between the markers of the page, by their names."""
    return {name: make(found) for name, make in TABLES.items()} | lines_of(found)


def stored() -> dict[str, Any]:
    """The numbers of docs/measured_architectures.json."""
    found: dict[str, Any] = json.loads(NUMBERS.read_text(encoding="utf-8"))
    return found
