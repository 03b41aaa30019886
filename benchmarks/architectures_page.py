"""Tables and statements of `benchmarks.architectures`: from records of trainings to docs/images.md."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.architectures_figures import draw, lines_of
from benchmarks.architectures_names import CHANGES, TITLES
from benchmarks.rejections import EFFICIENCIES, FEWEST
from examples.architectures.inputs import TASKS

__all__ = ["NUMBERS", "PAGE", "Group", "Sigma", "blocks", "pages", "ratio", "statements", "summary", "write_page"]

ROOT = Path(__file__).resolve().parent.parent
NUMBERS, PAGE = ROOT / "docs" / "measured_architectures.json", ROOT / "docs" / "images.md"
PLACE = re.compile(r"(<!-- architectures: (?P<name>\w+) -->\n).*?(<!-- end of architectures -->)", flags=re.DOTALL)

#: networks whose inputs are constituents
ON_CONSTITUENTS = ("cnn1", "cnn6", "gru", "cnn1d", "deepset", "transformer")

#: uncertainty of a ratio above which "within two standard deviations" says nothing
MOST_SIGMA = 0.2


@dataclass(frozen=True)
class Sigma:
    """A number with its uncertainty.

    Parameters
    ----------
    value, sigma : float
    limit : bool
        Whether hardly any background passes, so that it is a lower limit.
    """

    value: float
    sigma: float
    limit: bool = False

    def __str__(self) -> str:
        digits = 0 if self.sigma >= 2 else 1 if self.sigma >= 0.2 else 2
        return f"{'> ' if self.limit else ''}{self.value:.{digits}f} ± {self.sigma:.{digits}f}"

    def plain(self) -> list[Any]:
        """For JSON."""
        return [round(self.value, 4), round(self.sigma, 4), self.limit]


@dataclass(frozen=True)
class Group:
    """Trainings that differ in their seed alone, on one test sample.

    Parameters
    ----------
    records : tuple of mapping
    test : str
    spread : float
        Standard deviation of ln(rejection) between seeds, for a training with one seed alone.
    """

    records: tuple[Mapping[str, Any], ...]
    test: str
    spread: float = 0.0

    @property
    def keys(self) -> list[str]:
        """Names of the rejections."""
        return list(self.records[0]["rejections"][self.test]["values"])

    def array(self, key: str) -> Any:
        """Rejections float64[seeds, 1 + replicas]."""
        return np.array([record["rejections"][self.test]["values"][key] for record in self.records])

    def rejection(self, key: str) -> Sigma:
        """Mean over the seeds; uncertainty of the test jets, and of the mean over the seeds."""
        values = self.array(key)
        mean = values.mean(axis=0)
        passing = np.mean([record["rejections"][self.test]["passing"][key] for record in self.records])
        of_seeds = mean[0] * self.of_seeds(np.log(values[:, 0]))
        return Sigma(float(mean[0]), float(np.hypot(mean[1:].std(), of_seeds)), bool(passing < FEWEST))

    def of_seeds(self, logarithms: Any) -> float:
        """Uncertainty of a mean of ln(rejection) over the seeds."""
        if len(logarithms) == 1:
            return self.spread
        return float(np.std(logarithms, ddof=1) / np.sqrt(len(logarithms)))

    def logarithm(self, keys: Sequence[str]) -> Any:
        """Mean logarithm of several rejections, float64[seeds, 1 + replicas]."""
        return np.mean([np.log(self.array(key)) for key in keys], axis=0)


def ratio(one: Group, other: Group, keys: Sequence[str]) -> Sigma:
    """Geometric mean of the ratios of rejections, on the same replicas if the test jets are the same."""
    first, second = one.logarithm(keys), other.logarithm(keys)
    values = first.mean(axis=0) - second.mean(axis=0)
    same = one.test == other.test
    spread = values[1:].std() if same else np.hypot(first.mean(axis=0)[1:].std(), second.mean(axis=0)[1:].std())
    sigma = np.sqrt(spread**2 + one.of_seeds(first[:, 0]) ** 2 + other.of_seeds(second[:, 0]) ** 2)
    value = float(np.exp(values[0]))
    return Sigma(value, value * float(sigma))


class Study:
    """All records, by what they are."""

    def __init__(self, records: Iterable[Mapping[str, Any]], costs: Mapping[str, Any]) -> None:
        self.costs = costs
        self._groups: dict[tuple[str, str, int, str], list[Mapping[str, Any]]] = {}
        for record in records:
            key = (record["task"], record["recipe"], record["size"], record["variant"])
            self._groups.setdefault(key, []).append(record)

    def sizes(self, task: str) -> list[int]:
        """Training sizes with the default sample and tests on it alone."""
        return sorted({size for name, _, size, variant in self._groups if name == task and variant == "default"})

    def largest(self, task: str, *recipes: str) -> list[int]:
        """Largest size with trainings of all these networks on the default sample, empty without any."""
        common = [size for size in self.sizes(task) if all(self.group(task, name, size) for name in recipes)]
        return common[-1:]

    def recipes(self, task: str, size: int, variant: str = "default") -> list[str]:
        """Networks that were trained, in the order of the tables."""
        there = {recipe for name, recipe, n, kind in self._groups if (name, n, kind) == (task, size, variant)}
        return [recipe for recipe in TITLES if recipe in there]

    def group(self, task: str, recipe: str, size: int, variant: str = "default", test: str = "default") -> Group | None:
        """Trainings of all seeds, None if there are none."""
        found = self._groups.get((task, recipe, size, variant), [])
        found = [record for record in found if test in record["rejections"]]
        if not found:
            return None
        return Group(tuple(found), test, self._spread(task, size) if len(found) == 1 else 0.0)

    def _spread(self, task: str, size: int) -> float:
        """Standard deviation of ln(rejection) between seeds: median over the networks that have several.

        Networks of the same size of training, else of the next smaller one, which spreads more.
        """
        for known in [number for number in self.sizes(task)[::-1] if number <= size]:
            spreads = [
                np.sqrt(np.mean([np.var(np.log(several.array(key)[:, 0]), ddof=1) for key in several.keys]))
                for recipe in self.recipes(task, known)
                if len(self.records(task, recipe, known)) > 1
                and (several := self.group(task, recipe, known)) is not None
            ]
            if spreads:
                return float(np.median(spreads))
        return 0.0

    def records(self, task: str, recipe: str, size: int) -> list[Mapping[str, Any]]:
        """Records of all seeds on the default sample."""
        return self._groups.get((task, recipe, size, "default"), [])

    def cost(self, task: str, recipe: str) -> Mapping[str, Any] | None:
        """Measured costs on a CPU."""
        found: Mapping[str, Any] | None = self.costs.get(f"{task}_{recipe}_cpu")
        return found

    def modelling_sizes(self, task: str) -> list[int]:
        """Training sizes for which another sample was trained on."""
        return sorted({size for name, _, size, variant in self._groups if name == task and variant != "default"})


# ----------------------------------------------------------------------------------------------------------- statements


def _verdict(value: Sigma, above: float = 1.0) -> str:
    """``true``, ``false`` or ``not decided`` for "value > above", at two standard deviations."""
    if value.value - 2 * value.sigma > above:
        return "true"
    return "false" if value.value + 2 * value.sigma < above else "not decided"


def _overall(verdicts: Sequence[str]) -> str:
    """That of all together."""
    if not verdicts:
        return "not measured"
    return "false" if "false" in verdicts else "not decided" if "not decided" in verdicts else "true"


def statements(study: Study) -> list[dict[str, Any]]:
    """What was expected, and whether it is so: text, verdict and numbers.

    A verdict is ``true`` or ``false`` beyond two standard deviations of every comparison, else ``not decided``.
    """
    return [
        _transformer(study),
        _channels(study),
        *_sets_and_sequences(study),
        _trees(study),
        _samples(study),
    ]


def _statement(text: str, compared: Mapping[str, Sigma], above: float = 1.0) -> dict[str, Any]:
    verdict = _overall([_verdict(value, above) for value in compared.values()])
    return {"text": text, "verdict": verdict, "numbers": {name: value.plain() for name, value in compared.items()}}


def _transformer(study: Study) -> dict[str, Any]:
    text = "The transformer rejects more multijets than every other network in H → bb (ratio of rejections above 1)."
    compared = {}
    for size in study.largest("fat", "transformer"):
        best = study.group("fat", "transformer", size)
        for recipe in study.recipes("fat", size):
            other = study.group("fat", recipe, size)
            if best is not None and other is not None and recipe != "transformer":
                keys = [key for key in best.keys if key.startswith("Hbb")]
                compared[f"over {TITLES[recipe]}, {size:,} jets"] = ratio(best, other, keys)
    return _statement(text, compared)


def _channels(study: Study) -> dict[str, Any]:
    text = "Images with six channels reject more than those with one (ratio above 1)."
    compared = {}
    for task in ("fat", "quark"):
        for pixels in ("-16", "", "-64"):
            for size in study.largest(task, f"cnn6{pixels}", f"cnn1{pixels}"):
                six, one = (study.group(task, f"cnn{number}{pixels}", size) for number in (6, 1))
                if six is not None and one is not None:
                    name = f"{task}, {pixels[1:] or '32'} pixels, {size:,} jets"
                    compared[name] = ratio(six, one, six.keys)
    return _statement(text, compared)


def _sets_and_sequences(study: Study) -> list[dict[str, Any]]:
    text = "DIPS rejects at least as many light jets as RNNIP at 70 % b efficiency, within two standard deviations."
    compared = {}
    for size in study.largest("btag", "dips", "rnnip"):
        sets, sequence = (study.group("btag", name, size) for name in ("dips", "rnnip"))
        if sets is not None and sequence is not None:
            keys = [key for key in sets.keys if "light" in key and key.endswith("0.7")]
            compared[f"{size:,} jets"] = ratio(sets, sequence, keys)
    first = _statement(text, compared)
    known = [value.sigma <= MOST_SIGMA for value in compared.values()]
    if any(value.value + 2 * value.sigma < 1 for value in compared.values()):
        first["verdict"] = "false"
    elif known:
        first["verdict"] = "true" if all(known) else "not decided"
    costs = [study.cost("btag", name) for name in ("dips", "rnnip")]
    made = [first]
    for key, what in (("training_us_per_jet", "of training"), ("onnx_us_per_jet", "in ONNX Runtime")):
        said = {"text": f"DIPS takes a third or less of RNNIP's time {what}, on a CPU.", "verdict": "not measured"}
        numbers = {}
        if costs[0] is not None and costs[1] is not None:
            share = costs[0][key] / costs[1][key]
            said["verdict"] = "true" if share <= 1 / 3 else "false"
            numbers = {"share": [round(share, 3), None, False]}
        made.append({**said, "numbers": numbers})
    return made


def _trees(study: Study) -> dict[str, Any]:
    text = "From 10,000 jets on, boosted trees on substructure reject less than every network on constituents."
    compared = {}
    for task, trees in (("fat", "trees"), ("quark", "trees-shapes")):
        for size in study.sizes(task):
            base = study.group(task, trees, size)
            if size < 10_000 or base is None:
                continue
            for recipe in ON_CONSTITUENTS:
                other = study.group(task, recipe, size)
                if other is not None:
                    compared[f"{task}, {TITLES[recipe]}, {size:,} jets"] = ratio(other, base, base.keys)
    return _statement(text, compared)


def _samples(study: Study) -> dict[str, Any]:
    text = "The change of the test sample moves the rejection more than the change of the training sample."
    compared = {}
    for task in ("fat", "quark"):
        for size in study.modelling_sizes(task)[-1:]:
            for recipe in study.recipes(task, size):
                moves = shifts(study, task, recipe, size, "alternative")
                if moves is not None:
                    test, training = moves["test"], moves["training"]
                    sigma = float(np.hypot(test[1], training[1]))
                    compared[f"{task}, {TITLES[recipe]}"] = Sigma(test[0] - training[0], sigma)
    return _statement(text, compared, above=0.0)


def shifts(study: Study, task: str, recipe: str, size: int, variant: str) -> dict[str, tuple[float, float]] | None:
    """Mean absolute change of the logarithm of the rejection with the test and with the training sample.

    Returns
    -------
    dict of str to (float, float)
        ``test``: with the same training, on the other sample; ``training``: trained on the other sample, with the same
        test; each averaged over both directions, with its uncertainty. None if something is missing.
    """
    groups = {
        (trained, test): study.group(task, recipe, size, trained, test)
        for trained in ("default", variant)
        for test in ("default", variant)
    }
    if any(group is None for group in groups.values()):
        return None
    made = {}
    pairs = {
        "test": [((trained, variant), (trained, "default")) for trained in ("default", variant)],
        "training": [((variant, test), ("default", test)) for test in ("default", variant)],
    }
    for what, both in pairs.items():
        moves = []
        for first, second in both:
            one, other = groups[first], groups[second]
            assert one is not None
            assert other is not None
            change = ratio(one, other, one.keys)
            moves.append((abs(np.log(change.value)), change.sigma / change.value))
        made[what] = (float(np.mean([m for m, _ in moves])), float(np.hypot(*[s for _, s in moves]) / 2))
    return made


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
    made: dict[str, Any] = {"rejections": {}, "networks": {}, "modelling": {}, "costs": dict(costs)}
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
        made[recipe] = {"ratios": cells, "shifts": {name: value for name, value in found.items() if value is not None}}
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
    return "\n\n".join(parts)


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
    return "\n\n".join(parts)


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
    rows = []
    for item in found["statements"]:
        numbers = {name: values for name, values in item["numbers"].items() if values[0] is not None}
        low = min(numbers, key=lambda name: numbers[name][0]) if numbers else ""
        closest = ""
        if low:
            value, sigma, _ = numbers[low]
            closest = f"{value:.2f}{'' if sigma is None else f' ± {sigma:.2f}'} ({low}; smallest of {len(numbers)})"
        rows.append([item["text"], item["verdict"], closest])
    return _table(["statement", "verdict", "smallest"], rows)


TABLES = {
    "statements": _statement_table,
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
