"""The tables and the picture of the study of jets in docs/jec.md, from its numbers; see `benchmarks.jec`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

#: labels of the estimates, and the flavours
RAW, STANDARD, TREE, NETWORK = "Raw", "Standard", "Boosted tree", "Deep set"
FLAVOURS = ("all", "uds", "c", "b", "g")

#: where the tables stand in jec.md
PLACE = re.compile(r"(<!-- study (?P<name>[\w-]+) -->\n).*?(<!-- end of study -->)", flags=re.DOTALL)


def text_of(pair: Sequence[float | None], digits: int = 2) -> str:
    """A number with its uncertainty."""
    value, uncertainty = pair
    if value is None:
        return "-"
    return f"{value:.{digits}f}" if uncertainty is None else f"{value:.{digits}f} ± {uncertainty:.{digits}f}"


def selected(rows: Sequence[Mapping[str, Any]], flavour: str = "all", eta: float = 0.0) -> list[Mapping[str, Any]]:
    """Rows of one flavour and one bin of |eta|, by its lower edge."""
    return [row for row in rows if row["flavour"] == flavour and row["eta"][0] == eta]


def span(edges: Sequence[float]) -> str:
    """A range of a bin."""
    return f"{edges[0]:g} to {edges[1]:g}"


def resolution_table(result: Mapping[str, Any]) -> list[str]:
    """Ratios of resolutions in bins of the true pt and |eta|."""
    lines = [
        "| \\|eta\\| | true pt (GeV) | jets | resolution: standard | deep set | over standard | over tree | median: "
        "standard | deep set | coverage (%) |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in result["bins"]:
        if row["flavour"] != "all" or row["median"][NETWORK][0] is None:
            continue
        cover = [None if number is None else 100 * number for number in row["coverage"]]
        cells = [
            span(row["eta"]), span(row["pt"]), str(row["jets"]),
            text_of([row["resolution"][STANDARD][0], None], 3), text_of([row["resolution"][NETWORK][0], None], 3),
            text_of(row["to_standard"][NETWORK]), text_of(row["to_tree"][NETWORK]),
            text_of(row["median"][STANDARD], 3), text_of(row["median"][NETWORK], 3), text_of(cover, 1),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def flavour_table(results: Mapping[str, Any]) -> list[str]:
    """Median responses of flavours, true pt above 30 GeV and |eta| < 2.5."""
    lines = ["| detector | flavour | jets | raw | standard | tree | deep set |", "|---|---|---|---|---|---|---|"]
    for sample, title in (("test", "default"), ("noncompensating-test", "noncompensating")):
        rows = results.get(sample, {}).get("flavours", [])
        for flavour in FLAVOURS:
            found = {row["estimate"]: row for row in rows if row["flavour"] == flavour}
            if found:
                medians = [text_of(found[label]["median"], 3) for label in (RAW, STANDARD, TREE, NETWORK)]
                lines.append(f"| {title} | {flavour} | {found[RAW]['jets']} | {' | '.join(medians)} |")
    return lines


def transfer_table(results: Mapping[str, Any]) -> list[str]:
    """The same network on other samples, |eta| < 2.5."""
    lines = [
        "| sample | jets | true pt (GeV) | over standard | over tree | median: standard | deep set | coverage (%) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    titles = {
        "test": "as trained: 30 interactions", "pileup10": "10 interactions", "pileup50": "50 interactions",
        "alternative": "card `alternative`",
        "noncompensating-test": "card `noncompensating`, with a training of its own",
    }  # fmt: skip
    for sample, title in titles.items():
        for row in selected(results.get(sample, {}).get("wide", [])):
            cover = [None if number is None else 100 * number for number in row["coverage"]]
            cells = [
                title, str(row["jets"]), span(row["pt"]), text_of(row["to_standard"][NETWORK]),
                text_of(row["to_tree"][NETWORK]), text_of(row["median"][STANDARD], 3),
                text_of(row["median"][NETWORK], 3), text_of(cover, 1),
            ]  # fmt: skip
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def higgs_table(result: Mapping[str, Any]) -> list[str]:
    """The mass of H to bb."""
    lines = [
        f"{result['used']} pairs; width is half the central 68 % over the median.",
        "",
        "| estimate | median (GeV) | width (%) | over standard | over deep set |",
        "|---|---|---|---|---|",
    ]
    for label, row in result["masses"].items():
        percent = [100 * number for number in row["width"]]
        cells = [
            label, text_of(row["median"], 1), text_of(percent, 1), text_of(row["to_standard"], 3),
            text_of(row["to_network"], 3),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def throughput_table(results: Mapping[str, Any]) -> list[str]:
    """Rates and memory in words."""
    result = results["throughput"]
    memory = result["memory"]
    seconds = results.get("training-network", {}).get("cpu_seconds")
    spent = "" if seconds is None else f" The training of the study took {seconds / 60:.0f} minutes of CPU."
    return [
        f"Training: {result['jets_per_second']:.0f} jets per second of CPU (one thread); reading and shuffling them "
        f"takes {100 * result['loading']:.1f} %. Before, the shards are read and prepared once, "
        f"{result['preparing']:.0f} jets per second.{spent} Peak memory (100 MB for the jets that are shuffled): "
        f"{memory['tenth']['megabytes']:.0f} MB with {memory['tenth']['jets']} jets, "
        f"{memory['all']['megabytes']:.0f} MB with {memory['all']['jets']}."
    ]


def goals(results: Mapping[str, Any]) -> list[str]:
    """What was aimed at, and what the test jets give."""
    rows = [
        row for row in results["test"]["bins"] if row["flavour"] == "all" and row["to_tree"][NETWORK][0] is not None
    ]
    central = [row for row in rows if row["eta"][1] <= 2.5]
    low = [row for row in central if 30 <= row["pt"][0] < 100]
    lines = ["| goal | measured |", "|---|---|"]

    def worst(key: str, rows: Sequence[Mapping[str, Any]]) -> str:
        row = max(rows, key=lambda row: row[key][NETWORK][0])
        return f"{text_of(row[key][NETWORK], 3)} at {span(row['pt'])} GeV, \\|eta\\| {span(row['eta'])}"

    if low:
        lines.append(
            "| at most 0.80 of the standard resolution, 30 to 100 GeV, \\|eta\\| < 2.5 | at most "
            f"{worst('to_standard', low)} |"
        )
        lines.append(f"| at most 0.85 of that of the tree there | at most {worst('to_tree', low)} |")
    wider = [
        f"{key[3:]}, {span(row['pt'])} GeV, \\|eta\\| {span(row['eta'])}"
        for row in rows
        for key in ("to_standard", "to_tree")
        if row[key][NETWORK][0] > 1 + 2 * (row[key][NETWORK][1] or 0)
    ]
    lines.append(f"| in no bin wider than either by two standard deviations | {'; '.join(wider) or 'none'} |")
    off = max((row for row in central if row["pt"][0] >= 30), key=lambda row: abs(row["median"][NETWORK][0] - 1))
    lines.append(
        f"| median within 1 % of one from 30 GeV, \\|eta\\| < 2.5 | {text_of(off['median'][NETWORK], 3)} at "
        f"{span(off['pt'])} GeV, \\|eta\\| {span(off['eta'])} is farthest |"
    )
    for sample, title in (("test", ""), ("noncompensating-test", ", card `noncompensating`")):
        flavours = results.get(sample, {}).get("flavours", [])
        for label in (NETWORK, *((STANDARD,) if title else ())):
            medians = [row for row in flavours if row["estimate"] == label and row["flavour"] != "all"]
            medians = [row for row in medians if row["median"][0] is not None]
            if medians:
                far = max(medians, key=lambda row: abs(row["median"][0] - 1))
                lines.append(
                    f"| median within 1 % for b, c, uds and g{title}: {label.lower()} | {text_of(far['median'], 3)} "
                    f"for {far['flavour']} is farthest |"
                )
    off_bins = [
        f"{row['flavour']} {text_of(median, 3)} "
        f"({span(row['pt'])} GeV, \\|eta\\| {span(row['eta'])}, {row['jets']} jets)"
        for row in results["test"]["bins"]
        if row["flavour"] != "all" and row["eta"][1] <= 2.5 and row["pt"][0] >= 30
        for median in (row["median"][NETWORK],)
        if median[0] is not None and abs(median[0] - 1) > 0.01 + 2 * (median[1] or 0)
    ]
    lines.append(
        "| the same in bins of pt and \\|eta\\| from 30 GeV: farther than 1 % and two standard deviations | "
        f"{'; '.join(off_bins) or 'none'} |"
    )
    cover = [row["coverage"] for row in selected(results["test"]["wide"]) if row["coverage"][0] is not None]
    if cover:
        far = max(cover, key=lambda pair: abs(pair[0] - 0.68))
        lines.append(
            "| 68 % intervals cover 68 ± 2 % in every bin of pt, \\|eta\\| < 2.5 | "
            f"{text_of([100 * x for x in far], 1)} % is farthest |"
        )
    return lines


def tables(results: Mapping[str, Any]) -> dict[str, str]:
    """Name of a place in jec.md -> text."""
    test = results["test"]
    found = {
        "jets": [
            f"{test['matched_jets']} matched jets for the training, of which the down-sampling keeps "
            f"{test['training_jets']}, and {test['jets']} test jets."
        ],
        "goals": goals(results),
        "resolution": resolution_table(test),
        "flavours": flavour_table(results),
        "transfer": transfer_table(results),
    }
    if "higgs" in results:
        found["higgs"] = higgs_table(results["higgs"])
    if "throughput" in results:
        found["throughput"] = throughput_table(results)
    return {name: "\n".join(lines) for name, lines in found.items()}


def filled(text: str, results: Mapping[str, Any]) -> str:
    """The page with its tables."""
    made = tables(results)

    def table(match: re.Match[str]) -> str:
        return f"{match[1]}{made.get(match['name'], 'not measured')}\n{match[3]}"

    return PLACE.sub(table, text)


def draw(results: Mapping[str, Any], path: Path) -> None:
    """Resolution with ratios, and flavours of both detectors."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(11.5, 5))
    columns = figure.add_gridspec(1, 3, wspace=0.32)
    stacks = [
        columns[0, place].subgridspec(2, 1, height_ratios=heights, hspace=0.08).subplots(sharex=True)
        for place, heights in enumerate(((2, 1), (2, 1), (1, 1)))
    ]
    frames = np.stack(stacks, axis=1)
    colours = {RAW: "0.6", STANDARD: "#5790fc", TREE: "#f89c20", NETWORK: "#e42536"}
    for column, eta in enumerate((0.0, 1.3)):
        rows = [row for row in selected(results["test"]["bins"], eta=eta) if row["median"][NETWORK][0] is not None]
        centres = np.array([math.sqrt(row["pt"][0] * row["pt"][1]) for row in rows])
        for label in (STANDARD, TREE, NETWORK):
            values = np.array([row["resolution"][label] for row in rows], dtype=float)
            frames[0, column].errorbar(centres, *values.T, fmt="o-", ms=4, color=colours[label], label=label)
        for label, key, reference in ((NETWORK, "to_standard", STANDARD), (NETWORK, "to_tree", TREE)):
            values = np.array([row[key][label] for row in rows], dtype=float)
            frames[1, column].errorbar(
                centres, *values.T, fmt="s-", ms=3, color=colours[reference], label=f"over {reference.lower()}"
            )
        frames[1, column].axhline(1, color="grey", linewidth=0.8)
        frames[0, column].set_title(f"$|\\eta|$ {span((0.0, 1.3, 2.5)[column : column + 2])}", fontsize=10)
        frames[1, column].set(xscale="log", xlabel="true $p_T$ [GeV]", ylim=(0.65, 1.08))
    frames[0, 0].set_ylabel("resolution (IQR / median)")
    frames[1, 0].set_ylabel("ratio")
    frames[0, 0].legend(frameon=False, fontsize=8)
    frames[1, 0].legend(frameon=False, fontsize=7)
    names = FLAVOURS[1:]
    for row_number, (sample, title) in enumerate((("test", "default"), ("noncompensating-test", "noncompensating"))):
        frame = frames[row_number, 2]
        rows = results.get(sample, {}).get("flavours", [])
        for place, label in enumerate((RAW, STANDARD, TREE, NETWORK)):
            found = {row["flavour"]: row["median"] for row in rows if row["estimate"] == label}
            if found:
                values = np.array([found[name] for name in names], dtype=float)
                frame.errorbar(
                    np.arange(len(names)) + 0.12 * (place - 1.5),
                    *values.T,
                    fmt="o",
                    ms=4,
                    color=colours[label],
                    label=label,
                )
        frame.axhspan(0.99, 1.01, color="0.9")
        frame.margins(y=0.2)
        frame.set_xticks(range(len(names)), names)
        frame.set_ylabel("median response")
        frame.text(0.97, 0.95, f"card {title}", transform=frame.transAxes, ha="right", va="top", fontsize=9)
    frames[1, 2].legend(frameon=False, fontsize=7, loc=(0.55, 0.3))
    figure.savefig(path, dpi=110, bbox_inches="tight")
    plt.close(figure)
