"""docs/explain.md: tables, sentences and figures of `benchmarks.explain_study` between their markers."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jettagger.discriminants import Measured
from jettagger.explain.tables import number_text

__all__ = ["NUMBERS", "PAGE", "blocks", "show", "stored", "summary", "write_page"]

ROOT = Path(__file__).resolve().parent.parent
NUMBERS, PAGE = ROOT / "docs" / "measured_explain.json", ROOT / "docs" / "explain.md"
PLACE = re.compile(r"(<!-- explain: (?P<name>\w+) -->\n).*?(<!-- end of explain -->)", flags=re.DOTALL)

#: variables of a ranking on the page
_TOP = 6

#: names of what is explained and of the samples
TITLES = {
    "Hbb": "H → bb against light multijets, `log HbbvsQCD`",
    "4q": "H → WW → 4q against light multijets, `log HWW4qvsQCD`",
    "mass": "mass, GeV",
}
SAMPLES = {"Hbb": "H → bb", "QCDlight": "light multijets", "HWW4q": "H → WW → 4q"}


def summary(found: Mapping[str, Any]) -> dict[str, Any]:
    """What is stored: all numbers but those of maps.

    Parameters
    ----------
    found : mapping
        Part -> its file.

    Returns
    -------
    dict
    """
    numbers: dict[str, Any] = {name: part["numbers"] for name, part in found.items()}
    rankings = {
        key: {
            "jets": group["jets"],
            "output": group["output"],
            "groups": {row["name"]: [row["share"], row["importance"]] for row in group["rankings"]["groups"]},
            "features": {
                row["name"]: [row["share"], row["importance"]] for row in group["rankings"]["features"][:_TOP]
            },
        }
        for key, group in numbers["attributions"]["rankings"].items()
    }
    parts = ("losses", "kinds", "constituents", "sanity", "retraining", "costs")
    made = {name: numbers[name] for name in parts if name in numbers}
    made["rankings"] = rankings
    if "convergence" in numbers:
        residuals = np.array(numbers["convergence"]["residuals"])
        made["convergence"] = {
            "jets": len(residuals),
            "complete": float(np.mean(residuals <= 0.01)),
            "median": float(np.median(residuals)),
            "q99": float(np.quantile(residuals, 0.99)),
            "steps": float(np.mean(numbers["convergence"]["steps"])),
            "seconds_per_jet": numbers["convergence"]["seconds_per_jet"],
        }
    made["cpu_seconds"] = {name: part["cpu_seconds"] for name, part in found.items()}
    rounded: dict[str, Any] = _rounded(made)
    return rounded


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return float(f"{value:.5g}") if isinstance(value, float) and math.isfinite(value) else value


# ---------------------------------------------------------------------------------------------------------- tables


def _text(pair: Sequence[float | None]) -> str:
    value, sigma = (math.nan if item is None else item for item in pair)
    return number_text(Measured(value, sigma))


def _percent(pair: Sequence[float]) -> str:
    return f"{number_text(Measured(100 * pair[0], 100 * pair[1]))} %"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def _columns(found: Mapping[str, Any], question: str) -> list[str]:
    return [key for key in found if key.startswith(f"{question}/")]


def _name(key: str) -> str:
    _, sample, title = key.split("/")
    return f"{SAMPLES[sample]}, {title}"


def _rankings(found: Mapping[str, Any]) -> str:
    parts = []
    for question, title in TITLES.items():
        keys = _columns(found["rankings"], question)
        names = list(found["rankings"][keys[0]]["groups"])
        rows = [[name, *(_percent(found["rankings"][key]["groups"][name][0]) for key in keys)] for name in names]
        parts.append(_table([f"{title}: share of", *map(_name, keys)], rows))
        tops = [list(found["rankings"][key]["features"].items()) for key in keys]
        lines = [
            [f"{place + 1}", *(f"`{top[place][0]}` {_percent(top[place][1][0])}" for top in tops)]
            for place in range(_TOP)
        ]
        parts.append(_table(["variable", *map(_name, keys)], lines))
    return "\n\n".join(parts)


def _losses(found: Mapping[str, Any]) -> str:
    keys = list(found["losses"])
    names = list(found["losses"][keys[0]]["losses"])
    heads = [key.replace("/", ", ") for key in keys]
    rows = [["signal efficiency", *(f"{100 * found['losses'][key]['efficiency']:.0f} %" for key in keys)]]
    rows += [["rejection", *(_text(found["losses"][key]["rejection"]) for key in keys)]]
    rows += [[name, *(_text(found["losses"][key]["losses"][name]) for key in keys)] for name in names]
    return _table(["permuted: decrease of ln(rejection)", *heads], rows)


def _kinds(found: Mapping[str, Any]) -> str:
    parts = []
    for question, title in TITLES.items():
        keys = _columns(found["kinds"], question)
        rows = [[name, *(_text(found["kinds"][key][name]) for key in keys)] for name in found["kinds"][keys[0]]]
        parts.append(_table([f"{title}: `D` minus `D` without", *map(_name, keys)], rows))
    return "\n\n".join(parts)


def _constituents(found: Mapping[str, Any]) -> str:
    rows = []
    for key, orders in found["constituents"].items():
        question, sample = key.split("/")
        for order, numbers in orders.items():
            shares = [_percent(pair) for pair in (*numbers["recovered"], *numbers["suffice"])]
            rows.append([question, SAMPLES[sample], order, *shares])
    head = ["number", "jets", "kept by", "1", "5", "10", "20", "40 constituents", "20 suffice", "40 suffice"]
    return _table(head, rows)


def _sanity(found: Mapping[str, Any]) -> str:
    rows = []
    for method, forms in found["sanity"].items():
        for form, cells in forms.items():
            values = (f"{cell['mean']:.3f} ± {cell['between draws']:.3f}" for cell in cells.values())
            rows.append([f"{method}, {form}", *values])
    cells = next(iter(next(iter(found["sanity"].values())).values()))
    return _table(["map: rank correlation with the original if random", *cells], rows)


def _ranks(found: Mapping[str, Any], ways: Iterable[str]) -> list[str]:
    """Rank correlations, whether they are above 0.8, and their spread."""
    texts = []
    for way in ways:
        value, (low, high) = found["spearman"][way], found["spearman_spread"][way]
        above = "above" if round(value, 6) > 0.8 else "not above"
        texts.append(f"{value:.2f} ({low:.2f} to {high:.2f}), {above} 0.8")
    return texts


def _retraining(found: Mapping[str, Any]) -> str:
    item = found["retraining"]
    ways = ("occluded", "median", "others", "permuted")
    rows = []
    for task, content in item["tasks"].items():
        groups = sorted(content["groups"].items(), key=lambda pair: -pair[1]["retrained"][0])
        rows += [[task, name, *(_text(values[way]) for way in ("retrained", *ways))] for name, values in groups]
        title = f"Spearman (68 % of replicas); rejection {_text(content['rejection'])}"
        rows.append([task, title, "", *_ranks(content, ways)])
    rows.append(["mean of the tasks", "Spearman (68 % of replicas)", "", *_ranks(item, ways)])
    head = [
        "task",
        "decrease of ln(rejection) without",
        "trained without",
        "as in empty slots",
        "the median constituent",
        "other constituents",
        "permuted",
    ]
    apart = "".join(
        f" Left out, as fewer than ten of the test jets are confused by the network with all variables: {task}."
        for task in item["separated"]
    )
    return f"{_table(head, rows)}\n\nRejections at 90 % efficiency; {item['seeds']} trainings of each network.{apart}"


def _growth(few: Mapping[str, float], many: Mapping[str, float], what: str) -> float:
    """Memory of a further jet in kB."""
    return 1024 * (many[what] - few[what]) / (many["jets"] - few["jets"])


def _costs(found: Mapping[str, Any]) -> str:
    item = found["costs"]
    lines = []
    for model, times in item["ratios"].items():
        ratios = sorted(slopes / forward for forward, slopes in zip(times["forward"], times["gradients"], strict=True))
        lines.append(
            f"- `{model}`, {item['jets']:,} jets: {min(times['forward']):.2f} ms a jet forward in ONNX Runtime, "
            f"{min(times['gradients']):.2f} ms with gradients: {ratios[len(ratios) // 2]:.1f} times as much "
            f"({ratios[0]:.1f} to {ratios[-1]:.1f} in {len(ratios)} repetitions; at most 8)."
        )
    few, many = item["memory"]
    lines.append(
        f"- `attribute` of {few['jets']:,} jets needs {few['peak']:.0f} MB beside the events, of {many['jets']:,} jets "
        f"{many['peak']:.0f} MB, with blocks of {few['block']:.0f} MB (option `block_bytes`) and events of "
        f"{few['events']:.0f} and {many['events']:.0f} MB: {_growth(few, many, 'peak'):.1f} kB a jet, for the new "
        f"columns ({_growth(few, many, 'columns'):.1f} kB) while they are put together."
    )
    return "\n".join(lines)


def _convergence(found: Mapping[str, Any]) -> str:
    item = found["convergence"]
    return (
        f"On {item['jets']:,} jets the sum of the integrated gradients is within 1 % of the difference for "
        f"{100 * item['complete']:.1f} % of them (relative residual: median {item['median']:.1g}, "
        f"99 % {item['q99']:.1g}), "
        f"with {item['steps']:.0f} derivatives and {item['seconds_per_jet']:.1f} s of CPU time per jet on average."
    )


def _answers(found: Mapping[str, Any]) -> str:
    """Sentences, all of whose numbers and orders are those of the tables."""
    lines = []
    for question, title in TITLES.items():
        texts = []
        for key in _columns(found["rankings"], question):
            groups = sorted(found["rankings"][key]["groups"].items(), key=lambda pair: -pair[1][0][0])
            top = next(iter(found["rankings"][key]["features"].items()))
            first = ", ".join(f"{name} {_percent(values[0])}" for name, values in groups[:2])
            texts.append(f"{_name(key)}: {first}; first variable `{top[0]}` {_percent(top[1][0])}")
        lines.append(f"- **{title}**: {'. '.join(texts)}.")
    for key, item in found["losses"].items():
        worst = max(item["losses"].items(), key=lambda pair: pair[1][0])
        value, sigma = item["losses"]["displacement"]
        verdict = "matters" if value > 2 * sigma else "no significant loss"
        lines.append(
            f"- **Permutation, {key.replace('/', ', ')}**: the largest loss of ln(rejection) is that of {worst[0]}, "
            f"{_text(worst[1])}; displacement: {_text([value, sigma])} ({verdict}, {value / sigma:.1f} standard "
            "deviations)."
        )
    pairs = [(key, cells["displaced tracks"]) for key, cells in found["kinds"].items() if key.startswith("Hbb/")]
    texts = [f"{_name(key)}: {_text(pair)} ({abs(pair[0]) / pair[1]:.1f} standard deviations)" for key, pair in pairs]
    lines.append(
        f"- **Displaced tracks** (significance above 3): without them `log HbbvsQCD` is lower by {'; '.join(texts)}."
    )
    return "\n".join(lines)


def _cost(found: Mapping[str, Any]) -> str:
    total = sum(found["cpu_seconds"].values())
    parts = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in found["cpu_seconds"].items())
    return f"CPU time of the study without the simulation: {total / 60:.0f} minutes ({parts})."


#: tables of a part of the study alone
_PARTS = ("losses", "kinds", "constituents", "sanity", "retraining", "convergence", "costs")

TABLES = {
    "answers": _answers,
    "rankings": _rankings,
    "losses": _losses,
    "kinds": _kinds,
    "constituents": _constituents,
    "sanity": _sanity,
    "retraining": _retraining,
    "convergence": _convergence,
    "costs": _costs,
    "cost": _cost,
}


def blocks(found: Mapping[str, Any]) -> dict[str, str]:
    """What is between the markers of the page, by their names, from the numbers of `summary`."""
    made = {name: name not in _PARTS or name in found for name in TABLES}
    return {name: make(found) if made[name] else "Not measured yet." for name, make in TABLES.items()}


def show(found: Mapping[str, Any]) -> str:
    """All tables, for the screen."""
    return "\n\n".join(blocks(summary(found)).values())


def stored() -> dict[str, Any]:
    """The numbers of docs/measured_explain.json."""
    content: dict[str, Any] = json.loads(NUMBERS.read_text(encoding="utf-8"))
    return content


def write_page(found: Mapping[str, Any]) -> None:
    """Write the numbers and the figures beside the page, and put the tables between their markers in it.

    Parameters
    ----------
    found : mapping
        Part -> its file.
    """
    numbers = summary(found)
    NUMBERS.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    _draw(found["attributions"]["numbers"])
    content = blocks(numbers)
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(PLACE.sub(lambda match: f"{match[1]}{content[match['name']]}\n{match[3]}", text), encoding="utf-8")


def _draw(numbers: Mapping[str, Any]) -> None:
    from jettagger.bundles.registry import load_bundle
    from jettagger.explain.collecting import variable_names
    from jettagger.plots import feature_maps, feature_ranking, save_figure

    bars: dict[str, dict[str, Any]] = {}
    maps: dict[str, Any] = {}
    for key in _columns(numbers["rankings"], "Hbb"):
        group = numbers["rankings"][key]
        rows = {row["name"]: Measured(*row["importance"]) for row in group["rankings"]["features"]}
        bars[_name(key)] = rows
        if key.endswith("high pt"):
            maps[_name(key)] = np.array(numbers["maps"][key]["pf_features"], dtype=np.float64)
    label = "mean |change| of log HbbvsQCD without it"
    figure = feature_ranking(bars, number=12, label=label, title="occlusion")
    save_figure(figure, PAGE.parent / "explain_ranking.png")
    names = variable_names(load_bundle("inclParTToyV1"))["pf_features"]
    order = "candidate, as the network has them"
    figure = feature_maps(maps, names, label="mean gradient x input", order=order, title="log HbbvsQCD")
    save_figure(figure, PAGE.parent / "explain_maps.png")
