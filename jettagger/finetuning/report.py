"""The report of a training: numbers as JSON, tables as Markdown, figures."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from jettagger.discriminants import Measured
from jettagger.finetuning.config import BdtModel, FinetuneConfig
from jettagger.finetuning.game import Dependence
from jettagger.finetuning.kinematics import change_notes, change_table
from jettagger.finetuning.measure import EFFICIENCIES, Comparison, Measures, Response
from jettagger.finetuning.prepare import Prepared
from jettagger.plots import LINES, dependence_curves, roc_curves, save_figure
from jettagger.plots.style import canvas, curve_styles, drawing
from jettagger.provenance import KEY, Provenance
from jettagger.training import Epoch

__all__ = [
    "STRENGTHS",
    "STYLE",
    "dependence_lines",
    "number",
    "strengths_table",
    "tables",
    "write_report",
    "write_strengths",
]

#: file with the comparison of the heads of several strengths
STRENGTHS = "strengths.json"

#: number of single inputs that are shown
_SHOWN = 20

#: settings of matplotlib for the figures of a report
STYLE = {"font_size": 15, "legend_fontsize": 12, "figure_figsize": (8.5, 6.5), "legend_borderaxespad": 1.5}


def tables(measures: Measures) -> str:
    """The main numbers as Markdown.

    Parameters
    ----------
    measures : Measures

    Returns
    -------
    str
    """
    if measures.kind == "classes":
        heads = [f"rejection at {100 * value:g} %" for value in EFFICIENCIES]
        lines = [_line("classes", "discriminant", "AUC", *heads), _line(*["---"] * (3 + len(heads)))]
        for item in measures.comparisons:
            for name, curve in item.curves.items():
                cells = [number(curve.rejection_at(value)) for value in EFFICIENCIES]
                lines.append(_line(f"{item.signal} vs {item.background}", name, number(curve.auc), *cells))
        lines += ["", _spectra(measures.comparisons)]
        if measures.dependence:
            lines += ["", *_dependence({"": measures})]
        return "\n".join(lines)
    lines = [_line("class", "jets", "mass of", "median response", "interquartile width"), _line(*["---"] * 5)]
    for name, both in (measures.responses or {}).items():
        for who in ("tagger", "head"):
            found = both[who]
            lines.append(_line(name, str(found.jets), who, number(found.median), number(found.width)))
    return "\n".join(lines)


def _dependence(measures: Mapping[str, Measures]) -> list[str]:
    """Distance correlations of scores as lines of a table; heads of several strengths without the other scores."""
    several = len(measures) > 1 or "" not in measures
    titles = ("strength",) if several else ()
    titles = (*titles, "score", "in", "with", "discriminant", "R", "R² without bias")
    lines = [_line(*titles), _line(*["---"] * len(titles))]
    for strength, found in measures.items():
        for item in found.dependence:
            for name, value in item.correlations.items():
                if several and name != "head":
                    continue
                cells = (f"{item.signal} vs {item.of}", item.of, item.column, name)
                numbers = (number(value.biased), number(value.unbiased))
                lines.append(_line(*((strength,) if several else ()), *cells, *numbers))
    return [
        *lines,
        "",
        "R: distance correlation, 0 for independence, positive by chance; R² without bias is zero on average.",
    ]


def _spectra(comparisons: Sequence[Comparison]) -> str:
    """Whether transverse momentum contributes to the separation of classes, as spectra are not flattened here."""
    text = "Jets count with their own weights, without flattening in pt or mass"
    known = {f"{item.signal} vs {item.background}": item.pt.auc for item in comparisons if item.pt is not None}
    if not known:
        return f"{text}; the skims have no pt of the jets to tell whether the spectra of the classes differ."
    apart = {name: area for name, area in known.items() if abs(area.value - 0.5) > max(3 * area.uncertainty, 0.01)}
    if not apart:
        return f"{text}; the spectra of pt are alike."
    listed = ", ".join(f"{name} {number(area)}" for name, area in apart.items())
    return (
        f"{text}, and **the spectra of pt differ**: what pt alone tells is in these numbers, for whatever has it as an "
        f"input or depends on it. AUC of pt alone: {listed}."
    )


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def number(value: Measured) -> str:
    """A number as text, with two digits of its uncertainty, or its bound.

    Parameters
    ----------
    value : Measured

    Returns
    -------
    str

    Examples
    --------
    >>> number(Measured(12.345, 0.678)), number(Measured(1234.5, 67.8)), number(Measured(7449, 640656, above=120.4))
    ('12.35 ± 0.68', '1234 ± 68', '> 120 (95 % CL)')
    """
    if value.bound:
        return value.bound
    if not math.isfinite(value.value):
        return "no background passes"
    if not math.isfinite(value.uncertainty):
        return f"{value.value:.3g}"
    digits = max(0, 1 - math.floor(math.log10(value.uncertainty))) if value.uncertainty > 0 else 3
    return f"{value.value:.{digits}f} ± {value.uncertainty:.{digits}f}"


def write_report(
    measures: Measures,
    history: Sequence[Epoch],
    prepared: Prepared,
    folder: Path,
    provenance: Provenance,
    dependence: Sequence[Dependence] = (),
    *,
    plots: bool = True,
) -> dict[str, str]:
    """Write ``report.json``, ``report.md`` and the figures.

    Parameters
    ----------
    measures : Measures
    history : sequence of Epoch
    prepared : Prepared
    folder : pathlib.Path
        An existing folder.
    provenance : Provenance
        How the head was made.
    dependence : sequence of Dependence
        For each network of an adversarial training.
    plots : bool
        Whether figures are drawn; needs the extra ``plot``.

    Returns
    -------
    dict of str to str
        File -> description.
    """
    config = prepared.config
    content = {
        KEY: provenance.to_dict(),
        "head": config.name,
        "kind": config.kind,
        "jets": prepared.jets,
        "left_out": prepared.left_out,
        "kinematics": {name: asdict(change) for name, change in prepared.kinematics.items()},
        **measures.content(),
        "history": [asdict(epoch) for epoch in history],
        **({"adversary": [found.summary() for found in dependence]} if dependence else {}),
    }
    (folder / "report.json").write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    written = {"report.json": "all numbers", "report.md": "the main numbers"}
    if plots:
        for name, (what, figure) in _figures(measures, history, config).items():
            save_figure(figure, folder / name)
            written[name] = what
    page = "\n".join([_page(measures, prepared, written), *dependence_lines(dependence)])
    (folder / "report.md").write_text(f"{page}\n{provenance}\n", encoding="utf-8")
    return written


def dependence_lines(dependence: Sequence[Dependence]) -> list[str]:
    """What is said about the networks of an adversarial training.

    Parameters
    ----------
    dependence : sequence of Dependence

    Returns
    -------
    list of str
        Lines of Markdown.
    """
    names = [""] if len(dependence) == 1 else [f"network {number}: " for number in range(len(dependence))]
    lines = [f"Decorrelation: {name}{found}." for name, found in zip(names, dependence, strict=True)]
    if any(found.verdict == "failed" for found in dependence):
        lines.append(
            "A network that failed has escaped its adversary: the scores are not decorrelated, although the adversary "
            "reads nothing. Try more steps, a longer ramp, or another strength."
        )
    return lines


def strengths_table(
    measures: Mapping[float, Measures], dependence: Mapping[float, Sequence[Dependence]] | None = None
) -> str:
    """The heads of several strengths as Markdown.

    Parameters
    ----------
    measures : dict of float to Measures
        Strength -> performance of its head.
    dependence : dict of float to sequence of Dependence, optional
        Strength -> what was read from the scores of its networks.

    Returns
    -------
    str
    """
    heads = [f"rejection at {100 * value:g} %" for value in EFFICIENCIES]
    lines = [_line("strength", "classes", "AUC", *heads), _line(*["---"] * (3 + len(heads)))]
    for strength, found in measures.items():
        for item in found.comparisons:
            curve = item.curves["head"]
            cells = [number(curve.rejection_at(value)) for value in EFFICIENCIES]
            lines.append(_line(f"{strength:g}", f"{item.signal} vs {item.background}", number(curve.auc), *cells))
    apart = _domains(dependence or {})
    lines += ["", *(apart or _dependence({f"{strength:g}": found for strength, found in measures.items()}))]
    return "\n".join(lines)


def _domains(dependence: Mapping[float, Sequence[Dependence]]) -> list[str]:
    """How well domains are told apart by the scores, as lines of a table; empty without domains."""
    lines = [
        _line(f"{strength:g}", name, number(judged.auc), number(judged.gain), found.verdict)
        for strength, networks in dependence.items()
        for found in networks
        for name, judged in found.referee.items()
        if judged.auc is not None
    ]
    titles = ("strength", "domains", "AUC of the referee", "gain of the referee [nats]", "verdict")
    return [_line(*titles), _line(*["---"] * len(titles)), *lines] if lines else []


def write_strengths(
    measures: Mapping[float, Measures],
    config: FinetuneConfig,
    folder: Path,
    provenance: Provenance,
    dependence: Mapping[float, Sequence[Dependence]] | None = None,
    *,
    plots: bool = True,
) -> dict[str, str]:
    """Write ``strengths.json``, ``strengths.md`` and figures, the comparison of the heads of several strengths.

    Parameters
    ----------
    measures : dict of float to Measures
        Strength -> performance of its head.
    config : FinetuneConfig
        With `decorrelate`.
    folder : pathlib.Path
        An existing folder.
    provenance : Provenance
    dependence : dict of float to sequence of Dependence, optional
        Strength -> what was read from the scores of its networks.
    plots : bool
        Whether figures are drawn; needs the extra ``plot``.

    Returns
    -------
    dict of str to str
        File -> description.
    """
    read = dependence or {}
    assert config.decorrelate is not None
    content = {
        KEY: provenance.to_dict(),
        "name": config.name,
        "decorrelate": config.decorrelate.record(),
        "heads": [
            {
                "strength": strength,
                "folder": config.with_strength(strength).name,
                **found.summary(),
                **({"adversary": [item.summary() for item in read[strength]]} if strength in read else {}),
            }
            for strength, found in measures.items()
        ],
    }
    (folder / STRENGTHS).write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    written = {STRENGTHS: "all numbers", "strengths.md": "the main numbers"}
    for place in range(len(config.protected)) if plots else ():
        column = list(config.protected)[place]
        name = f"dependence_{place + 1}.png" if len(config.protected) > 1 else "dependence.png"
        save_figure(_strengths_figure(measures, config, column), folder / name)
        written[name] = f"distance correlation with {column}"
    pictures = "".join(f"![{what}]({name})\n\n" for name, what in written.items() if name.endswith(".png"))
    said = "".join(
        f"\n## Strength {strength:g}\n\n" + "\n".join(dependence_lines(found)) + "\n"
        for strength, found in read.items()
    )
    page = f"# {config.name}\n\n{strengths_table(measures, read)}\n{said}\n{pictures}{provenance}\n"
    (folder / "strengths.md").write_text(page, encoding="utf-8")
    return written


def _strengths_figure(measures: Mapping[float, Measures], config: FinetuneConfig, column: str) -> Any:
    """Distance correlation of the head's scores with a column against the strength, and of the other scores."""
    curves: dict[str, dict[float, Measured]] = {}
    references: dict[str, Measured] = {}
    for strength, found in measures.items():
        for item in found.dependence:
            if item.column != column:
                continue
            for name, value in item.correlations.items():
                if name == "head":
                    curves.setdefault(f"{item.signal} vs {item.of}", {})[strength] = value.biased
                else:
                    references[f"{name} ({item.signal})" if len(config.classes) > 2 else name] = value.biased
    return dependence_curves(curves, references=references, variable=column, title=config.name)


def _page(measures: Measures, prepared: Prepared, written: dict[str, str]) -> str:
    lines = [
        f"# {prepared.config.name}",
        "",
        prepared.config.title,
        "" if prepared.config.title else None,
        tables(measures),
        "",
    ]
    lines += [_line("class", "for training", "for validation", "for the test"), _line(*["---"] * 4)]
    lines += [_line(name, *(str(n) for n in row.values())) for name, row in prepared.jets.items()]
    if prepared.left_out:
        lines += ["", "Left out: " + ", ".join(f"{n} jets {why}" for why, n in prepared.left_out.items()) + "."]
    kinematics = prepared.config.kinematics
    if kinematics is not None:
        titles, *rows = change_table(prepared.kinematics, kinematics)
        lines += ["", f"Kinematics of the training: method {kinematics.method}, to {kinematics.to}.", ""]
        lines += [_line(*titles), _line(*["---"] * len(titles)), *(_line(*row) for row in rows)]
        lines += ["", *(f"- {note}" for note in change_notes(prepared.kinematics, kinematics))]
    lines += ["", *(f"![{what}]({name})" for name, what in written.items() if name.endswith(".png")), ""]
    return "\n".join(line for line in lines if line is not None)


def _figures(measures: Measures, history: Sequence[Epoch], config: FinetuneConfig) -> dict[str, tuple[str, Any]]:
    name = config.name
    found: dict[str, tuple[str, Any]] = {}
    with drawing(**STYLE):
        if history:
            found["losses.png"] = ("losses", _losses(history, config.name, isinstance(config.model, BdtModel)))
        if measures.features:
            found["features.png"] = ("use of the inputs", _features(measures.features, name))
        if measures.calibration:
            found["calibration.png"] = ("calibration of the outputs", _calibration(measures.calibration, name))
        if measures.profiles:
            for axis, by_class in measures.profiles.items():
                what = f"mass response against {axis}"
                found[f"response_{axis}.png"] = (what, _profiles(by_class, axis, name))
        if measures.ratios:
            found["response.png"] = ("mass response", _response(measures.ratios, name))
    styles = curve_styles(curve for item in measures.comparisons for curve in item.curves)
    for item in measures.comparisons:
        title = f"{item.signal} vs {item.background}"
        figure = roc_curves(item.curves, title=name, signal=item.signal, background=item.background, styles=styles)
        found[f"roc_{item.signal}_{item.background}.png"] = (f"ROC curves, {title}", figure)
    return found


def _losses(history: Sequence[Epoch], name: str, trees: bool) -> Any:
    from matplotlib.lines import Line2D

    figure, ((axes,),) = canvas()
    models = sorted({epoch.model for epoch in history})
    for model in models:
        mine = [epoch for epoch in history if epoch.model == model]
        x = [epoch.number for epoch in mine]
        colour = LINES[model % len(LINES)][0]
        axes.plot(x, [epoch.train for epoch in mine], color=colour, linestyle="--")
        axes.plot(x, [epoch.validation for epoch in mine], color=colour)
        for best in [epoch for epoch in mine if epoch.best][-1:]:
            axes.plot([best.number], [best.validation], "o", color=colour, markersize=8)
    colour = "black" if len(models) > 1 else LINES[0][0]
    shown = [
        Line2D([], [], color=colour, linestyle="--", label="training"),
        Line2D([], [], color=colour, label="validation"),
        Line2D([], [], color=colour, linestyle="", marker="o", markersize=8, label="kept"),
    ]
    if len(models) > 1:
        shown += [Line2D([], [], color=LINES[m % len(LINES)][0], label=f"network {m}") for m in models]
    axes.set_xlabel("Tree" if trees else "Epoch")
    axes.set_ylabel("Loss")
    axes.legend(handles=shown, frameon=False, ncols=2 if len(models) > 1 else 1)
    axes.set_title(name, loc="right", fontsize=14)
    return figure


def _features(features: Any, name: str) -> Any:
    """Groups and inputs that are in none above, single members of groups below, with a scale of their own."""
    groups = [item for item in features if item.startswith("all ")]
    fronts = [front for kind, front in (("hidden neurons", "hidNeuron"), ("scores", "prob")) if f"all {kind}" in groups]
    members = [item for item in features if item not in groups and item.startswith(tuple(fronts))][:_SHOWN]
    others = [item for item in features if item not in groups and not item.startswith(tuple(fronts))][:_SHOWN]
    panels = [items for items in (groups + others, members) if items]
    figure, axes = canvas(
        len(panels),
        1,
        figsize=(8.5, sum(1.3 + 0.34 * len(items) for items in panels)),
        height_ratios=[1 + len(items) for items in panels],
    )
    for (panel,), items in zip(axes, panels, strict=True):
        colours = [LINES[0][0] if item in groups else "#9ecae1" for item in items]
        places = np.arange(len(items))[::-1]
        panel.barh(places, [features[item] for item in items], color=colours, height=0.75)
        panel.set_yticks(places, items, fontsize=11)
        panel.set_ylim(-0.8, len(items) - 0.2)
        panel.yaxis.set_tick_params(which="both", length=0)
        panel.minorticks_off()
        panel.axvline(0, color="black", linewidth=0.8)
    axes[-1][0].set_xlabel("Increase of the loss when shuffled")
    axes[0][0].set_title(name, loc="right", fontsize=14)
    return figure


def _calibration(calibration: Any, name: str) -> Any:
    figure, ((axes,),) = canvas()
    axes.plot([0, 1], [0, 1], color="#969696", linewidth=1)
    styles = curve_styles(calibration)
    for class_, points in calibration.items():
        mean, fraction, sigma, _ = (np.array(column) for column in zip(*points, strict=True)) if points else [[]] * 4
        axes.errorbar(mean, fraction, yerr=sigma, **styles[class_].points, markersize=5, label=class_)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("Mean output in the bin")
    axes.set_ylabel("Fraction of the class (training weights)")
    axes.legend(frameon=False, loc="upper left")
    axes.set_title(name, loc="right", fontsize=14)
    return figure


def _profiles(by_class: Any, axis: str, name: str) -> Any:
    figure, panels = canvas(2, len(by_class), figsize=(max(8.5, 4.4 * len(by_class)), 8))
    for column, (class_, part) in enumerate(by_class.items()):
        edges = np.array(part["edges"])
        centres, half = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
        for number, who in enumerate(("tagger", "head")):
            colour, marker = LINES[number][0], "os"[number]
            for row, quantity in enumerate(("median", "width")):
                points = [_value(item, quantity) for item in part[who]]
                value, sigma = (np.array(items) for items in zip(*points, strict=True))
                panels[row][column].errorbar(
                    centres,
                    value,
                    xerr=half,
                    yerr=sigma,
                    color=colour,
                    marker=marker,
                    markersize=5,
                    linestyle="",
                    label=who,
                )
        panels[0][column].axhline(1, color="#969696", linewidth=1)
        panels[0][column].set_title(class_, fontsize=14)
        panels[1][column].set_xlabel("Generated mass [GeV]" if axis == "mass" else "Jet $p_T$ [GeV]")
        panels[1][column].set_ylim(bottom=0)
    panels[0][0].set_ylabel("Median response")
    panels[1][0].set_ylabel("Interquartile width")
    handles = panels[0][0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper right", ncols=2, frameon=False, borderaxespad=0.5)
    figure.suptitle(name, x=0.02, ha="left", fontsize=14)
    return figure


def _value(item: Response | None, quantity: str) -> tuple[float, float]:
    if item is None:
        return math.nan, math.nan
    found: Measured = getattr(item, quantity)
    return found.value, found.uncertainty


def _response(ratios: Any, name: str) -> Any:
    figure, ((axes,),) = canvas()
    edges = np.linspace(0, 2, 61)
    for number, who in enumerate(("tagger", "head")):
        ratio = ratios[who]
        counts, _ = np.histogram(np.clip(ratio, 0, 2 - 1e-9), edges)
        colour, style = LINES[number]
        axes.stairs(counts / max(counts.sum(), 1), edges, color=colour, linestyle=style, linewidth=2, label=who)
    axes.axvline(1, color="#969696", linewidth=1)
    axes.set_xlim(0, 2)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("Mass / generated mass (last bin: all above)")
    axes.set_ylabel("Fraction of the jets")
    axes.legend(frameon=False)
    axes.set_title(name, loc="right", fontsize=14)
    return figure
