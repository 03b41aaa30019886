"""RESULTS.md of the examples of fine-tuning: tables and pictures from the numbers of `benchmarks.finetuning`."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jettagger.discriminants import Measured
from jettagger.files import complete_or_absent
from jettagger.finetuning.measure import EFFICIENCIES
from jettagger.finetuning.report import number
from jettagger.plots import LINES, save_figure

#: columns of the mass table
RESPONSES = ("tagger", "head without MET", "head with MET")


def write_page(
    found: Mapping[str, Any],
    pictures: Path,
    output: Path,
    model: str,
    sizes: Sequence[int],
    networks: Sequence[str],
    new: Sequence[str],
) -> None:
    """Write ``RESULTS.md``, ``results.json`` and the pictures.

    Parameters
    ----------
    found : mapping
        Name of a result -> its numbers; what is missing is left out.
    pictures : Path
        Where the steps left theirs.
    output : Path
        An existing folder.
    model : str
    sizes, networks, new
        Rows of the tables.
    """
    text = [f"# What heads on {model} bring\n", *_intro(found, model), *_goals(found, new)]
    text += _classes(found, pictures, output, new)
    text += _masses(found, output)
    text += _sizes(found, output, sizes, networks)
    text += _cost(found)
    with complete_or_absent(output / "RESULTS.md") as part:
        part.write_text("\n".join(text), encoding="utf-8")
    with complete_or_absent(output / "results.json") as part:
        part.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _intro(found: Mapping[str, Any], model: str) -> list[str]:
    digests = {item["model"] for item in found.values() if item["model"]}
    made = f", digest {digests.pop()[:12]}" if len(digests) == 1 else ""
    return [
        f"Written by `python -m benchmarks.finetuning`; the numbers are also in `results.json`. Tagger: {model}{made}.",
        "Jets: `make_skims.py` (200 < pt < 1000 GeV, |eta| < 2.4); those that test took no part in the training of the",
        "tagger. Uncertainties are one standard deviation, statistical.",
        "",
    ]


def _goals(found: Mapping[str, Any], new: Sequence[str]) -> list[str]:
    """What was wanted, whether it was reached, and by how much."""
    rows = []

    def add(goal: str, cases: Mapping[str, Sequence[float | None]], sign: int) -> None:
        """Ratios that should be above (sign 1) or below (-1) one."""
        if cases:
            away = {what: sign * ((math.inf if x[0] is None else x[0]) - 1) for what, x in cases.items()}
            clear = sum(away[what] > 2 * (math.inf if x[1] is None else x[1]) for what, x in cases.items())
            reached = "yes" if min(away.values()) > 0 else "**no**"
            values = "; ".join(f"{what} {_cell(value)}" for what, value in cases.items())
            rows.append(_row(goal, f"{reached}, {clear} of {len(cases)} beyond two standard deviations", values))

    for other, goal in (("best", "the best plain discriminant"), ("head on the 37", "a head on the scores")):
        gains = {
            f"{name} at {100 * e:g} %": part["gain"][what][f"{e:g}"]
            for name in new
            if (part := found.get(f"class-{name}"))
            for what in part["gain"]
            if what.startswith(other)
            for e in EFFICIENCIES
        }
        add(f"a head on hidden neurons rejects more than {goal}: by a factor", gains, 1)
    widths = {
        what: both["head with MET"]["of tagger"] for what, both in found.get("masses", {"table": {}})["table"].items()
    }
    goal = "with MET the mass is narrower than the tagger's: width over the tagger's"
    add(goal, widths, -1)
    lines = [*_head("goal", "reached", "measured"), *rows]
    if "cost" in found:
        item = found["cost"]["models"]["network"]
        seconds = item["reading"] + item["training"]
        share = max(head["cpu"] for head in found["cost"]["models"].values()) / found["cost"]["backbone"]
        yes = {True: "yes", False: "**no**"}
        goal = f"reading and training with {item['jets']} jets x 128 neurons takes under two minutes"
        lines.append(_row(goal, yes[seconds < 120], f"{seconds:.0f} s"))
        goal = "applying a head costs under 3 % of the backbone"
        lines.append(_row(goal, yes[share < 0.03], f"{100 * share:.2f} % (the slower kind)"))
    return [*lines, ""] if len(lines) > 2 else []


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _head(*cells: str) -> list[str]:
    return [_row(*cells), _row(*["---"] * len(cells))]


def _cell(value: Sequence[float | None]) -> str:
    """A number as it is stored, where it has one with its bound."""
    middle, sigma, *above = (math.inf if x is None else x for x in value)
    return number(Measured(middle, sigma, *above))


def _classes(found: Mapping[str, Any], pictures: Path, output: Path, new: Sequence[str]) -> list[str]:
    parts = {name: found[f"class-{name}"] for name in new if f"class-{name}" in found}
    if not parts:
        return []
    lines = [
        "## Types that the tagger does not know",
        "",
        "Each against multijets. Heads on the 128 hidden neurons and on the 37 scores (with pt), trained with the same",
        "jets, and the best of all scores, of each score against the sum of those of QCD, and of 1 - QCD. Both classes",
        "are weighted to the same, flat shape in pt and soft-drop mass (20 to 220 GeV), in training and here, so that",
        "mass alone tells nothing. Jets are tested by the one of several networks that has not seen them.",
        "The uncertainty of a gain comes from replicas of the test jets, common to both.",
        "",
        *_head(
            "type",
            "discriminant",
            *(f"rejection at {100 * e:g} %" for e in EFFICIENCIES),
            "AUC",
            *(f"gain of the head at {100 * e:g} %" for e in EFFICIENCIES),
        ),
    ]
    for name, part in parts.items():
        for what, curve in part["curves"].items():
            gain = part["gain"].get(what)
            cells = [_cell(curve[f"{e:g}"]) for e in EFFICIENCIES]
            gains = [_cell(gain[f"{e:g}"]) if gain else "" for e in EFFICIENCIES]
            lines.append(_row(name, what, *cells, _cell(curve["auc"]), *gains))
    lines += ["", *_head("type", "training jets of a network", "validation", "test", "effective multijets of the test")]
    for name, part in parts.items():
        cells = [" + ".join(str(row[key]) for row in part["jets"].values()) for key in ("train", "validation", "test")]
        lines.append(_row(f"{name} + QCD", *cells, f"{part['effective']:.0f}"))
        if pictures != output:
            shutil.copy(pictures / f"roc_{name}.png", output)
    return [*lines, "", *(f"![ROC curves of {name}](roc_{name}.png)" for name in parts), ""]


def _masses(found: Mapping[str, Any], output: Path) -> list[str]:
    if "masses" not in found:
        return []
    part = found["masses"]
    lines = [
        "## Mass where neutrinos are",
        "",
        "Response: mass over the generated mass of the resonance; its interquartile width is divided by the median.",
        "One head for all rows takes hidden neurons, the tagger's mass, pt, masses and leptons near the jet; another",
        "MET and its angle to the jet besides. Jets are tested by the one of several networks that has not seen them.",
        "The uncertainty of a ratio comes from replicas of the jets, common to both.",
        "",
        *_head("jets", "number", "", "median", "width", "width over the tagger's"),
    ]
    for title, both in part["table"].items():
        for who in RESPONSES:
            item = both[who]
            ratio = _cell(item["of tagger"]) if who != "tagger" else ""
            jets = str(part["jets"][title]["test"]) if who == "tagger" else ""
            first = title if who == "tagger" else ""
            lines.append(_row(first, jets, who, _cell(item["median"]), _cell(item["width"]), ratio))
    save_figure(_mass_picture(part["table"]), output / "masses.png")
    return [*lines, "", "![Interquartile widths of the mass response](masses.png)", ""]


def _mass_picture(table: Mapping[str, Any]) -> Any:
    from jettagger.finetuning.report import STYLE
    from jettagger.plots.style import canvas, drawing

    with drawing(**STYLE):
        figure, ((axes,),) = canvas(figsize=(9.5, 1.6 + 0.55 * len(table)))
        for number_, who in enumerate(RESPONSES):
            colour = LINES[number_][0]
            places = [len(table) - 1 - row + 0.22 * (1 - number_) for row in range(len(table))]
            width, sigma = zip(*(both[who]["width"] for both in table.values()), strict=True)
            axes.errorbar(
                width, places, xerr=sigma, color=colour, marker="os^"[number_], markersize=6, linestyle="", label=who
            )
        axes.set_yticks([len(table) - 1 - row for row in range(len(table))], list(table), fontsize=12)
        axes.yaxis.set_tick_params(which="both", length=0)
        axes.minorticks_off()
        axes.set_xlim(left=0)
        axes.set_ylim(-0.6, len(table) - 0.4)
        axes.grid(axis="x", alpha=0.3)
        axes.set_xlabel("Interquartile width of the mass response")
        figure.legend(
            *axes.get_legend_handles_labels(), loc="outside upper right", ncols=3, frameon=False, borderaxespad=0.5
        )
    return figure


def _legend(figure: Any, axes: Any) -> None:
    handles = axes.get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=3, frameon=False, borderaxespad=0.5)


def _sizes(found: Mapping[str, Any], output: Path, sizes: Sequence[int], networks: Sequence[str]) -> list[str]:
    rows: dict[str, list[Any]] = {"head": [found.get(f"size-{size}") for size in sizes]}
    for network in networks:
        front = network.replace(" ", "-")
        rows[f"from scratch: {network}"] = [found.get(f"scratch-{size}-{front}") for size in sizes]
    rows = {name: parts for name, parts in rows.items() if any(parts)}
    if not rows:
        return []
    lines = [
        "## How many jets does it take?",
        "",
        "X -> gg against multijets, flat in pt: a head on hidden neurons, and networks that are trained from scratch",
        "on the constituents of the same jets: a deep set with about as many parameters as the head, and a Particle",
        "Transformer as large as the tagger. Their training ends when the validation loss has not fallen for 8 epochs,",
        "after 40 epochs, or at a limit of CPU time. Parameters of the head do not count those of the tagger below it,",
        "its CPU minutes (reading and measuring included) not the tagger's training. Multijets of the tagger's own",
        "training may be among the training jets of this table, not among those of its test.",
        "",
        *_head(
            "training jets",
            "network",
            "parameters",
            *(f"rejection at {100 * e:g} %" for e in EFFICIENCIES),
            "AUC",
            "CPU minutes",
            "ended by",
        ),
    ]
    for position in range(len(sizes)):
        for name, parts in rows.items():
            part = parts[position]
            if part is None:
                continue
            ended = part.get("ended", "")
            if ended == "time limit":
                ended = f"limit of {part['limit']:g} minutes, {part['epochs']} epochs"
            elif not ended:
                ended = f"validation loss, {part['epochs']} epochs"
            else:
                ended = f"{ended}, {part['epochs']} epochs" if "epochs" not in ended else ended
            cells = [_cell(part[f"{e:g}"]) for e in EFFICIENCIES]
            cells += [_cell(part["auc"]), f"{part['minutes']:.2g}", ended]
            lines.append(_row(str(part["jets"][0]), name, str(part["parameters"]), *cells))
    tested = next(part["jets"][2] for parts in rows.values() for part in parts if part)
    save_figure(_size_picture(rows), output / "sizes.png")
    return [*lines, "", f"Tested with {tested} jets.", "", "![AUC against the number of training jets](sizes.png)", ""]


def _size_picture(rows: Mapping[str, Sequence[Any]]) -> Any:
    from jettagger.finetuning.report import STYLE
    from jettagger.plots.style import canvas, drawing

    with drawing(**STYLE):
        figure, (panels,) = canvas(1, 2, figsize=(11, 5))
        for number_, (name, parts) in enumerate(rows.items()):
            there = [part for part in parts if part]
            x = [part["jets"][0] for part in there]
            for axes, key in zip(panels, ("auc", "0.5"), strict=True):
                # a bound in place of a value that says little: an arrow upwards
                bounded = [len(part[key]) > 2 for part in there]
                y = [part[key][2 if limit else 0] for part, limit in zip(there, bounded, strict=True)]
                sigma = [
                    0.1 * part[key][2] if limit else part[key][1] for part, limit in zip(there, bounded, strict=True)
                ]
                colour, style = LINES[number_]
                axes.errorbar(
                    x,
                    y,
                    yerr=sigma,
                    lolims=bounded,
                    color=colour,
                    linestyle=style,
                    marker="os^"[number_],
                    markersize=6,
                    label=name,
                )
        for axes, label in zip(panels, ("AUC", "Background rejection at 50 %"), strict=True):
            axes.set_xscale("log")
            axes.set_xlabel("Training jets")
            axes.set_ylabel(label)
            axes.grid(alpha=0.3)
        figure.legend(
            *panels[0].get_legend_handles_labels(),
            loc="outside upper center",
            ncols=3,
            frameon=False,
            borderaxespad=0.5,
        )
    return figure


def _cost(found: Mapping[str, Any]) -> list[str]:
    if "cost" not in found:
        return []
    part = found["cost"]
    lines = [
        "## Cost",
        "",
        f"Invented jets with 128 neurons, two classes; {part['threads']} thread(s) for training, {part['machine']}.",
        "Applying: CPU time of one thread, beside that of the backbone.",
        "",
        *_head("head", "jets", "epochs, trees", "reading [s]", "training [s]", "applying [us/jet]", "of the backbone"),
    ]
    for name, item in part["models"].items():
        share = f"{100 * item['cpu'] / part['backbone']:.2f} %"
        seconds = [f"{item[key]:.1f}" for key in ("reading", "training")]
        lines.append(_row(name, str(item["jets"]), str(item["epochs"]), *seconds, f"{1e6 * item['cpu']:.2f}", share))
    return [*lines, "", f"The backbone takes {1e6 * part['backbone']:.0f} us a jet.", ""]
