"""The pictures beside RESULTS.md, drawn from results.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("agg")
import matplotlib.pyplot as plt
import numpy as np
from data import HADRONIC, QCD, TYPES
from matplotlib.axes import Axes
from measures import CURVE, LEAST_SCULPTING
from PIL import Image

__all__ = ["NAMES", "draw"]

#: file -> what it shows
NAMES = {
    "rejection.png": "Background rejection against signal efficiency, network and trees, in two ranges of pt",
    "confusion.png": "Confusion of the 37 types: rows are the truth, with a sum of one",
    "calibration.png": "How often a statement is true against its probability",
    "mass.png": "Median and interquartile width of the mass response against the generated mass",
    "sculpting.png": "Soft-drop mass of multijets before and after HbbvsQCD at 50 % signal efficiency",
}
DPI = 80


def draw(results: dict[str, Any], folder: Path) -> None:
    """All pictures for which there are numbers."""
    if results["rejection"]:
        _rejection(results["rejection"], folder / "rejection.png")
    _confusion(results["accuracy"]["confusion"], folder / "confusion.png")
    _calibration(results["calibration"], folder / "calibration.png")
    _mass(results["mass"], folder / "mass.png")
    _sculpting(results["sculpting"], folder / "sculpting.png")


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=DPI)
    plt.close(figure)
    with Image.open(path) as image:
        smaller = image.convert("RGB").quantize(96)
    smaller.save(path, optimize=True)


def _rejection(rows: list[dict[str, Any]], path: Path) -> None:
    rows = [row for row in rows if all(row[key] == rows[0][key] for key in ("mixture", "weighed"))]
    names = list(dict.fromkeys(row["discriminant"] for row in rows))
    figure, axes = plt.subplots(2, 3, figsize=(11, 6.5), layout="constrained")
    colors = {low: f"C{index}" for index, low in enumerate(sorted({row["pt"][0] for row in rows}))}
    for axis, name in zip(axes.flat, names, strict=False):
        for row in (row for row in rows if row["discriminant"] == name):
            low, high = row["pt"]
            color = colors[low]
            for kind, style in (("network", "-"), ("tree", "--")):
                background = np.array([np.nan if value is None else value for value in row[kind]["curve"]])
                good = np.nan_to_num(background) > 0
                label = f"{low:g}-{high:g} GeV, {kind}"
                axis.plot(np.array(CURVE)[good], 1 / background[good], style, color=color, label=label)
        axis.set(yscale="log", title=name, xlabel="signal efficiency", ylabel="background rejection")
        axis.grid(alpha=0.3)
    axes.flat[0].legend(fontsize=8)
    _save(figure, path)


def _confusion(table: list[list[float]], path: Path) -> None:
    figure, axis = plt.subplots(figsize=(9, 8.2), layout="constrained")
    image = axis.imshow(table, cmap="Blues", vmin=0, vmax=1)
    ticks = range(len(TYPES))
    axis.set_xticks(ticks, TYPES, rotation=90, fontsize=7)
    axis.set_yticks(ticks, TYPES, fontsize=7)
    axis.set(xlabel="most probable type", ylabel="true type")
    figure.colorbar(image, shrink=0.7, label="share of the true type")
    _save(figure, path)


def _calibration(found: dict[str, Any], path: Path) -> None:
    figure, axes = plt.subplots(1, len(found), figsize=(9, 4.2), layout="constrained")
    for axis, (name, item) in zip(axes, found.items(), strict=True):
        curve = item["curve"]
        shares = np.array([point["share"] for point in curve])
        axis.plot([0, 1], [0, 1], ":", color="grey", label="perfect")
        axis.errorbar([point["probability"] for point in curve], shares[:, 0], shares[:, 1], fmt="o", ms=4, color="C0")
        error, floor = item["error"], item["floor"]
        title = f"{name}\nexpected error {error[0]:.4f} ± {error[1]:.4f}, floor {floor[0]:.4f}"
        axis.set(xlabel="probability", ylabel="share that is true", xlim=(0, 1), ylim=(0, 1))
        axis.set_title(title, fontsize=10)
        axis.grid(alpha=0.3)
    _save(figure, path)


def _mass(found: dict[str, list[dict[str, Any]]], path: Path) -> None:
    figure, axes = plt.subplots(2, 2, figsize=(11, 7.5), layout="constrained", sharex=True)
    groups = {
        "hadronic types": [TYPES[index] for index in HADRONIC],
        "types with neutrinos": [
            name for index, name in enumerate(TYPES) if index not in HADRONIC and index not in QCD
        ],
    }
    for column, (title, names) in enumerate(groups.items()):
        colors = plt.colormaps["tab20"](np.linspace(0, 1, len(names)))
        for name, color in zip(names, colors, strict=True):
            rows = found[name]
            middle = [(row["low"] + row["high"]) / 2 for row in rows]
            for axis, what in zip(axes[:, column], ("median", "width"), strict=True):
                values = np.array([row["network"][what] for row in rows])
                if len(values):
                    axis.errorbar(middle, values[:, 0], values[:, 1], fmt="o-", ms=3, lw=1, color=color, label=name)
        _softdrop(axes[1, column], found, names)
        axes[0, column].set(title=title, ylabel="median of regressed / generated mass", ylim=(0.6, 1.6))
        axes[0, column].axhspan(0.95, 1.05, color="grey", alpha=0.2)
        axes[1, column].set(xlabel="generated mass [GeV]", ylabel="interquartile width / median", ylim=(0, 1.2))
        if axes[0, column].get_legend_handles_labels()[0]:
            axes[0, column].legend(fontsize=6, ncols=3)
        for axis in axes[:, column]:
            axis.grid(alpha=0.3)
    _save(figure, path)


def _softdrop(axis: Axes, found: dict[str, list[dict[str, Any]]], names: list[str]) -> None:
    """The median over the types of the soft-drop mass's width, for comparison."""
    widths: dict[float, list[float]] = {}
    for name in names:
        for row in found[name]:
            widths.setdefault((row["low"] + row["high"]) / 2, []).append(row["softdrop"]["width"][0])
    middle = sorted(widths)
    label = "soft-drop mass, median of the types"
    (line,) = axis.plot(middle, [np.median(widths[value]) for value in middle], "k--", lw=2, label=label)
    axis.legend(handles=[line], fontsize=8)


def _sculpting(found: dict[str, Any], path: Path) -> None:
    found = {name: spectra for name, spectra in found.items() if spectra}
    if not found:
        return
    columns = max(map(len, found.values()))
    size = (4.6 * columns, 3.4 * len(found))
    figure, axes = plt.subplots(len(found), columns, figsize=size, layout="constrained", squeeze=False)
    for line, (name, spectra) in zip(axes, found.items(), strict=True):
        for axis, (spectrum, item) in zip(line, spectra.items(), strict=True):
            edges = np.array(item["edges"])
            axis.stairs(item["before"], edges, color="black", label="all multijets")
            middle = (edges[1:] + edges[:-1]) / 2
            axis.errorbar(
                middle,
                item["after"],
                item["after_uncertainty"],
                fmt="o",
                ms=3,
                color="C0",
                label="after the cut",
            )
            value, floor = item["divergence"], item["floor"]
            enough = item["effective_left"] >= LEAST_SCULPTING
            said = f"JSD {value[0]:.3f} ± {value[1]:.3f}, floor {floor[0]:.3f}" if enough else "too few jets for a JSD"
            axis.set_title(f"{name}: {spectrum}\n{said}", fontsize=9)
            axis.set(xlabel="soft-drop mass [GeV]", ylabel="share per 10 GeV", ylim=(0, None))
    axes[0, 0].legend(fontsize=8)
    _save(figure, path)
