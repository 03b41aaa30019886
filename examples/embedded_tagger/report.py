"""RESULTS.md and MODEL_CARD.md, written from results.json.

Usage, after a change of the texts: python report.py BUNDLE [FOLDER], with results.json in the folder
"""

from __future__ import annotations

import itertools
import json
import math
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any

from data import HADRONIC, TYPES
from measures import LEAST_BACKGROUND, LEAST_SCULPTING, MASS_BINS, MIXTURE, NEUTRINOS, REPLICAS, WHOLE
from pictures import NAMES

import jettagger as jt
from jettagger.discriminants import Measured, as_rejection

__all__ = ["goals", "model_card", "results"]

#: whose rejections a row has
WHO = ("network", "tree")

#: GeV, where the medians are to be right
MASS_RANGE = (40.0, 200.0)
MEDIAN_WITHIN = 0.05
HBB_FACTOR = 2.0
ONNX_TOLERANCE = 1e-4


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def filled(text: str, width: int = 120) -> str:
    """Paragraphs of prose broken into lines of one width; tables, headings, lists and pictures stay as they are."""
    paragraphs = []
    for paragraph in re.split(r"\n{2,}", text.strip()):
        if paragraph.startswith(("|", "#", "!")):
            paragraphs.append(paragraph)
            continue
        items = re.split(r"\n(?=- )", paragraph)
        paragraphs.append(
            "\n".join(
                textwrap.fill(
                    " ".join(item.split()),
                    width,
                    subsequent_indent="  " if item.startswith("- ") else "",
                    break_long_words=False,
                    break_on_hyphens=False,
                )
                for item in items
            )
        )
    return "\n\n".join(paragraphs) + "\n"


def pm(pair: Sequence[float], digits: int = 3) -> str:
    """A value with its uncertainty, to so many digits behind the point."""
    return f"{pair[0]:.{digits}f} ± {pair[1]:.{digits}f}"


def area(pair: Sequence[float]) -> str:
    """An area under a curve, to four digits or as many as its uncertainty has two of."""
    return pm(pair, max(4, 1 - math.floor(math.log10(pair[1])) if pair[1] > 0 else 4))


def rejection(pair: Sequence[float | None], effective: float) -> Measured:
    """A background rejection as it is stored, None where nothing passes, with its bound.

    Parameters
    ----------
    pair : value and uncertainty
    effective : float
        Effective number of background jets.
    """
    value, sigma = pair
    if value is None or not math.isfinite(value):
        return as_rejection(Measured(0.0, 0.0), effective)
    # an uncertainty that no replica could tell is as large as the value
    sigma = sigma if sigma is not None and math.isfinite(sigma) else value
    return as_rejection(Measured(1 / value, sigma / value**2), effective)


def _of(row: dict[str, Any], who: str, at: str = "rejection") -> str:
    """The rejection of the network or of the trees: the value, or where that says little the bound."""
    return rejection(row[who][at], row["background_effective"]).bound or rounded(row[who][at])


def gain(row: dict[str, Any]) -> str:
    """Rejection of the network over that of the trees as text, with a bound where that of the network has one."""
    measured = _gain(row)
    return str(measured) if measured.above is not None else rounded(row["ratio"])


def _gain(row: dict[str, Any]) -> Measured:
    """The same as numbers. The bound takes the two as independent; their common jets make the true one tighter."""
    network = rejection(row["network"]["rejection"], row["background_effective"])
    value, sigma = (math.nan if number is None else number for number in row["ratio"])
    if network.above is None and sigma <= value / 2:
        return Measured(value, sigma)
    tree, spread = row["tree"]["rejection"]
    lowest = tree * math.exp(NormalDist().inv_cdf(0.95) * (spread / tree))
    least = network.value - NormalDist().inv_cdf(0.95) * network.uncertainty if network.above is None else network.above
    return Measured(value, sigma, above=least / lowest)


def _surely(row: dict[str, Any]) -> float:
    """What the gain of a line exceeds: two standard deviations below it, or its bound."""
    measured = _gain(row)
    return measured.value - 2 * measured.uncertainty if measured.above is None else measured.above


def rounded(pair: Sequence[float]) -> str:
    """A value with its uncertainty, to the digits that the uncertainty leaves."""
    sigma = pair[1]
    digits = 0 if sigma >= 9.5 else 1 if sigma >= 0.95 else 2 if sigma >= 0.095 else 3
    return pm(pair, digits)


def _inside(row: dict[str, Any]) -> bool:
    return row["low"] >= MASS_RANGE[0] and row["high"] <= MASS_RANGE[1]


def _ratio(row: dict[str, Any]) -> str:
    low, high = row["pt"]
    left = f"{row['network']['effective_left']:.0f} effective multijets left"
    return f"{_named(row)} {low:g}-{high:g} GeV, flavours {row['mixture']}: {gain(row)} ({left})"


def _named(row: dict[str, Any]) -> str:
    return row["discriminant"] + (", weighed" if row["weighed"] else "")


def _has_weighed(found: dict[str, Any], row: dict[str, Any]) -> bool:
    """Whether the mixture of a line is one that QCD scores are weighed for."""
    return any(other["weighed"] for other in found["rejection"] if other["mixture"] == row["mixture"])


def _worst(rows: list[tuple[str, dict[str, Any]]], figure: Callable[[dict[str, Any]], str], most: int = 4) -> str:
    if not rows:
        return ""
    named = [f"{name} {row['low']:g}-{row['high']:g} GeV {figure(row)}" for name, row in rows[:most]]
    return f"; worst: {', '.join(named)}"


def goals(found: dict[str, Any]) -> list[dict[str, Any]]:
    """What was to be reached, whether it was, and by how much it was missed.

    Returns
    -------
    list of dict
        ``met`` is None where nothing was measured.
    """
    result = []

    def add(text: str, met: bool | None, detail: str) -> None:
        result.append({"goal": text, "met": met, "detail": detail})

    asked = [row for row in found["rejection"] if row["weighed"] or not _has_weighed(found, row)]
    plain = [row for row in found["rejection"] if not row["weighed"] and _has_weighed(found, row)]
    for which, rows in (
        ("scores that are meant for the flavours of the line (weighed, or as in training)", asked),
        ("presets without weighing, flavours as in nature", plain),
    ):
        clear = [row for row in rows if _surely(row) > 1]
        others = [row for row in rows if _surely(row) <= 1]
        detail = f"by more than two standard deviations in {len(clear)} of {len(rows)} lines; "
        if others:
            detail += f"not so: {'; '.join(map(_ratio, others))}"
        elif rows:
            detail += f"least gain: {_ratio(min(rows, key=lambda row: row['ratio'][0]))}"
        add(f"rejects more background than the trees: {which}", not others if rows else None, detail if rows else "")
    hbb = [row for row in asked if row["discriminant"] == "HbbvsQCD"]
    add(
        f"HbbvsQCD rejects at least {HBB_FACTOR:g} times as much as the trees (central values)",
        all(row["ratio"][0] >= HBB_FACTOR for row in hbb) if hbb else None,
        f"above {HBB_FACTOR:g} by more than two standard deviations in "
        f"{sum(_surely(row) > HBB_FACTOR for row in hbb)} of {len(hbb)} lines; " + "; ".join(map(_ratio, hbb))
        if hbb
        else "",
    )
    for kind, members in (("all quarks in the jet", WHOLE), ("one quark lost", tuple(set(HADRONIC) - set(WHOLE)))):
        bins = [(TYPES[index], row) for index in sorted(members) for row in found["mass"][TYPES[index]] if _inside(row)]
        off = [(name, row) for name, row in bins if abs(row["network"]["median"][0] - 1) > MEDIAN_WITHIN]
        sure = [row for _, row in off if _beyond(row["network"]["median"]) > 2]
        add(
            f"median mass within {100 * MEDIAN_WITHIN:g} % from {MASS_RANGE[0]:g} to {MASS_RANGE[1]:g} GeV, hadronic "
            f"types with {kind}",
            not off if bins else None,
            f"{len(bins) - len(off)} of {len(bins)} bins, {len(sure)} beyond by more than two standard deviations"
            + _worst(
                sorted(off, key=lambda item: -abs(item[1]["network"]["median"][0] - 1)),
                lambda row: pm(row["network"]["median"]),
            ),
        )
    bins = [(TYPES[index], row) for index in NEUTRINOS for row in found["mass"][TYPES[index]] if _inside(row)]
    wide = [(name, row) for name, row in bins if row["gain"][0] <= 1]
    sure = [row for _, row in wide if row["gain"][0] + 2 * row["gain"][1] < 1]
    add(
        "mass narrower than the soft-drop mass, both medians scaled to one, types with neutrinos",
        not wide if bins else None,
        f"{len(bins) - len(wide)} of {len(bins)} bins, {len(sure)} wider by more than two standard deviations"
        + _worst(sorted(wide, key=lambda item: item[1]["gain"][0]), lambda row: f"factor {pm(row['gain'], 2)}"),
    )
    onnx = found.get("onnx")
    add(
        f"ONNX equals the training framework to {ONNX_TOLERANCE:g}",
        max(onnx.values()) <= ONNX_TOLERANCE if onnx else None,
        f"largest difference {max(onnx.values()):.1e}" if onnx else "",
    )
    return result


def _beyond(median: Sequence[float]) -> float:
    """By how many standard deviations a median is outside the wanted range."""
    return (abs(median[0] - 1) - MEDIAN_WITHIN) / max(median[1], 1e-9)


def _goals(found: dict[str, Any]) -> str:
    words = {True: "yes", False: "**no**", None: "not measured"}
    return table(
        ("goal", "reached", "measured"),
        [(item["goal"], words[item["met"]], item["detail"]) for item in found["goals"]],
    )


def _picture(name: str) -> str:
    return f"![{NAMES[name]}]({name})"


def _rejection(found: dict[str, Any]) -> str:
    rows = []
    for row in found["rejection"]:
        network, tree = row["network"], row["tree"]
        rows.append(
            (
                row["mixture"], _named(row), f"{row['pt'][0]:g}-{row['pt'][1]:g}",
                f"{100 * row['signal_efficiency']:.1f} %", _of(row, "network"),
                f"{network['jets_left']} ({network['effective_left']:.0f})",
                _of(row, "tree"), gain(row), area(network["auc"]), area(tree["auc"]), _at_half(row),
            )
        )  # fmt: skip
    header = (
        "flavours", "discriminant", "pt [GeV]", "signal efficiency", "rejection, network", "jets left (effective)",
        "rejection, trees", "network / trees", "AUC, network", "AUC, trees", "network at 50 % (jets left)",
    )  # fmt: skip
    return f"""Signal and multijets are weighted flat in the same plane of pt and mass (generated mass of signals,
soft-drop mass of multijets). The five flavours of multijets stand as in nature, with the cross sections of the
simulation, or with equal shares, as the network was trained. For flavours as in nature the discriminant is formed in
two ways: "weighed" counts the score of each QCD type with its share in nature over its share in training, which is
the same knowledge that the trees have from the jets they were trained on; without it the five scores are just added,
as the preset of that name does. The signal efficiency is 50 %, or as much more as
leaves {LEAST_BACKGROUND} multijets (counted without weights) behind the cut of both taggers; the last column is at
50 % in any case. The trees see pt, soft-drop mass, ratios of subjettiness, numbers of candidates, charged
candidates, leptons and secondary vertices, and the four largest impact-parameter significances; they were trained
on the jets that the network was trained on, a forest for each line's discriminant and flavours. Uncertainties of
the ratio: {REPLICAS} bootstrap replicas of the events, common to both. Where the uncertainty of a rejection exceeds
half of its value, because fewer than four effective jets are left, a lower bound at 95 % CL stands in its place:
that of Clopper and Pearson for effective numbers, in which a jet that is left counts at least as much as the
average multijet.

{table(header, rows)}

{_picture("rejection.png")}

{found["test"]["jets"]} test jets; a range of pt without signal or without multijets has no line."""


def _at_half(row: dict[str, Any]) -> str:
    return f"{_of(row, 'network', 'rejection_at_half')} ({row['network']['jets_left_at_half']})"


def _accuracy(found: dict[str, Any]) -> str:
    item = found["accuracy"]
    mixed = item.get("as_mixed")
    rows = [
        ("as generated, all test jets", item["jets"], pm(item["as_generated"], 4)),
        *([(f"as generated, mixture {MIXTURE} alone", mixed["jets"], pm(mixed["share"], 4))] if mixed else []),
        ("the right type among the three most probable", item["jets"], pm(item["top3"], 4)),
        ("weighted as in training", f"{item['effective']:.0f} (effective)", pm(item["as_in_training"], 4)),
    ]
    types = [
        (name, entry["jets"], pm(entry["recall"]) if entry["jets"] else "no jets")
        for name, entry in item["by_type"].items()
    ]
    half = -(-len(types) // 2)
    left, right = types[:half], types[half:] + [("", "", "")] * (2 * half - len(types))
    pairs = [(*a, *b) for a, b in zip(left, right, strict=True)]
    charm = []
    for title, group in found["charm"].items():
        for row in group:
            cells = [pm(pair) for pair in row["found"]] + [""] * (3 - len(row["found"]))
            charm.append((title, row["type"], row["jets"], *cells))
    most = max(entry["jets"] for entry in item["by_type"].values()) / item["jets"]
    return f"""{table(("share of jets whose type is found", "jets", "accuracy"), rows)}

Always naming the most frequent type would be right for {100 * most:.1f} % of the jets. The share
depends on how the types are mixed: beside `{MIXTURE}`, the mixture of the training, the test jets hold files of single
processes, many of which are easier to tell.

{table(("type", "jets", "found") * 2, pairs)}

{_picture("confusion.png")}

Number of charm quarks, among types that differ in nothing else (each group alone; shares of the true type):

{table(("group", "true type", "jets", "found 0 c", "found 1 c", "found 2 c"), charm)}"""


def _calibration(found: dict[str, Any]) -> str:
    rows = [
        (name, pm(item["error"], 4), pm(item["floor"], 4), item["bins"]) for name, item in found["calibration"].items()
    ]
    return f"""Jets are weighted as in training, for which the probabilities are meant. The floor is the error that
a perfectly calibrated network would show on as many jets.

{table(("probability of", "expected calibration error", "floor", "bins"), rows)}

{_picture("calibration.png")}"""


def _mass_table(found: dict[str, Any], chosen: Sequence[int], what: str) -> str:
    ranges = list(itertools.pairwise(MASS_BINS))
    rows = []
    for index in chosen:
        by_bin = {row["low"]: row for row in found["mass"][TYPES[index]]}
        cells = []
        for low, _ in ranges:
            row = by_bin.get(low)
            if row is None:
                cells.append("too few")
            elif what == "median":
                cells.append(pm(row["network"]["median"]))
            else:
                cells.append(
                    f"{row['network']['width'][0]:.3f} / {row['softdrop']['width'][0]:.3f} ({pm(row['gain'], 2)})"
                )
        rows.append((TYPES[index], *cells))
    return table(("type", *(f"{low:g}-{high:g}" for low, high in ranges)), rows)


def _mass(found: dict[str, Any]) -> str:
    types = (*HADRONIC, *NEUTRINOS)
    return f"""Response: regressed over generated mass, in bins of the generated mass in GeV. The first and the last
bin are the edges of what was trained (15 and 250 GeV), where the response is pulled inwards.

Median:

{_mass_table(found, types, "median")}

Interquartile width over the median, regressed / soft-drop mass, and in brackets how much narrower the regressed
mass is (above 1: narrower):

{_mass_table(found, types, "width")}

{_picture("mass.png")}"""


def _sculpting(found: dict[str, Any]) -> str:
    rows = []
    for name, spectra in found["sculpting"].items():
        for spectrum, item in spectra.items():
            enough = item["effective_left"] >= LEAST_SCULPTING
            rows.append(
                (
                    name, spectrum, pm(item["divergence"], 4) if enough else "too few jets", pm(item["floor"], 4),
                    f"{100 * item['background_efficiency']:.2f} %",
                    f"{item['jets_left']} ({item['effective_left']:.0f})",
                )
            )  # fmt: skip
    header = ("network", "multijets", "JSD", "floor", "multijets that pass", "jets left (effective)")
    note = "" if len(found["sculpting"]) > 1 else "\n\nThe training without flattening was not given."
    return f"""Jensen-Shannon divergence (base 2) of the soft-drop mass of multijets, 30 to 250 GeV in steps of 10
GeV, before and after HbbvsQCD at 50 % signal efficiency. The floor is that of random subsamples of the same
effective size. With fewer than {LEAST_SCULPTING} effective multijets behind the cut the statistical fluctuations
hide what a cut does to the spectrum: there is no divergence then, and whether the network sculpts is not known.

{table(header, rows)}{note}

{_picture("sculpting.png") if rows else "No multijets are left behind the cut."}"""


def _onnx(found: dict[str, Any]) -> str:
    if "onnx" not in found:
        return "Not measured: no checkpoint was given."
    rows = [(length, f"{value:.1e}") for length, value in found["onnx"].items()]
    return f"""Largest difference of any output, in units of max(1, |value|), over 0, 1 and 10 vertices, with and
without zero padding. All values are finite, also for jets without candidates and vertices.

{table(("candidates", "difference"), rows)}"""


def _cost(found: dict[str, Any]) -> str:
    item = found["cost"]
    rows = [
        (name, f"{entry['megabytes']:.2f}", rounded(entry["jets_per_cpu_second"]))
        for name, entry in item["networks"].items()
    ]
    return f"""ONNX Runtime, one thread, batches of {item["batch"]} jets with {item["candidates"]} candidates and
{item["vertices"]} vertices; CPU time of the process, median of {item["runs"]} alternating runs, half the
interquartile range as uncertainty; {item["processor"]}.

{table(("network", "MB", "jets per CPU second"), rows)}"""


def results(found: dict[str, Any]) -> str:
    """The whole of RESULTS.md."""
    test = found["test"]
    parts = {
        "Rejection of multijets": _rejection(found)
        if found["rejection"]
        else "Not measured: no training jets were given.",
        "Types": _accuracy(found),
        "Calibration": _calibration(found),
        "Mass": _mass(found),
        "Mass sculpting": _sculpting(found),
        "ONNX against the training framework": _onnx(found),
        "Cost": _cost(found),
    }
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in parts.items())
    return filled(f"""# What {found["network"]["name"]} can do

Written by `evaluate.py`; figures and uncertainties (one standard deviation) also in `results.json`. Measured on
{test["jets"]} jets of {test["events"]} simulated events that were not used in training (other seeds), through ONNX
Runtime. Network: SHA-256 `{found["network"]["sha256"]}`.

{_goals(found)}

{body}
""")


def model_card(found: dict[str, Any], bundle: Any) -> str:
    """The whole of MODEL_CARD.md."""
    training, accuracy = found.get("training"), found["accuracy"]
    trained = (
        "The facts of the training were not recorded."
        if training is None
        else (
            f"{training['parameters']} parameters; {training['minutes']:.0f} minutes of training, "
            f"{training['steps']} steps, {training['jets_drawn']} jets drawn"
            + (f" from {training['jets']} in {training['files']} files" if "jets" in training else "")
            + "."
        )
    )
    rejections = table(
        ("flavours", "discriminant", "pt [GeV]", "signal efficiency", "rejection", "over trees on substructure"),
        [
            (
                row["mixture"], _named(row), f"{row['pt'][0]:g}-{row['pt'][1]:g}",
                f"{100 * row['signal_efficiency']:.1f} %", _of(row, "network"), gain(row),
            )
            for row in found["rejection"]
        ],
    )  # fmt: skip
    error = found["calibration"]["most probable type"]["error"]
    name = bundle.name
    flat = found["sculpting"][name].get("flat in pt and mass")
    sculpted = (
        "not measured, no multijets are left"
        if flat is None
        else f"not known, {flat['effective_left']:.0f} effective multijets are left"
        if flat["effective_left"] < LEAST_SCULPTING
        else f"{pm(flat['divergence'], 4)}, statistical floor {pm(flat['floor'], 4)}"
    )
    of_mixture = f" {pm(accuracy['as_mixed']['share'], 4)} for those of {MIXTURE}," if "as_mixed" in accuracy else ""
    return filled(f"""# {name}

A small Particle Transformer with the interface of GloParT V1: the same input variables, {len(TYPES)} probabilities,
a regressed mass in GeV, 128 hidden neurons before one linear layer. Licence: {bundle.card.licence}.

## What it is for

Demos, tests and development: code that works with it works with the experiment's network. Fine-tuning,
decorrelation and searches can be tried on it from end to end.

**Not for physics results.** It has seen a simple parametrised detector and leading-order events without pile-up. On
data, or on the simulation of an experiment, its scores and masses mean little and no scale factors exist.

## Data

Simulated with `jettagger simulate --process v1-types` (Pythia 8, proton-proton collisions at 13.6 TeV, anti-kt jets
with R = 0.8, a parametrised detector, no pile-up): jets with 200 <= pt < 1000 GeV and |eta| < 2.4. Resonances of 15
to 250 GeV decay to the types of the outputs; multijets are generated with a bias in pt, and heavy flavours are
enhanced with weights that undo it.

## Training

{trained}
Types and mass are learnt together: cross-entropy, the absolute logarithm of the ratio of masses, whose minimum is
the median, and for hadronic types multipliers that hold this median at one in each bin of the generated mass. Where all
quarks are in the jet that succeeds; jets that lost one come out up to a quarter too light. Jets are drawn with their
generator weights so that each type is flat in pt and in mass (soft-drop mass for multijets), with twice the share for
types of multijets. The last 30 % of the training leave out no candidates at random and use no dropout. Validation jets
are whole blocks of events.

## Measured performance

On {found["test"]["jets"]} independent jets, see `examples/embedded_tagger/RESULTS.md` for all of it and for what
the figures mean.

- accuracy over {len(TYPES)} types: {pm(accuracy["as_generated"], 4)} for all test jets as generated,{of_mixture}
{pm(accuracy["as_in_training"], 4)} weighted as in training
- expected calibration error: {pm(error, 4)}
- divergence of the multijets' soft-drop mass at 50 % efficiency of HbbvsQCD: {sculpted}

{rejections}

{_goals(found)}

## Known limits

- Outside of pt 200 to 1000 GeV and masses of 15 to 250 GeV it extrapolates; near 15 and 250 GeV the mass is
pulled inwards.
- Missing among the types: X -> gg, H -> Z gamma, charged H -> bc, photons and leptons alone.
- With pile-up it was not tried.
""")


def stored(folder: Path) -> dict[str, Any]:
    """What `evaluate.py` measured, with infinite numbers, which JSON has not, in place of None."""
    found: dict[str, Any] = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    for row in found["rejection"]:
        for place, names in ((row, ["ratio"]), *((row[who], ["rejection", "rejection_at_half"]) for who in WHO)):
            for name in names:
                place[name] = [math.inf if number is None else number for number in place[name]]
    return found


def main(bundle: str, folder: str = ".") -> None:
    """Write the texts again."""
    out, made = Path(folder), jt.load_bundle(bundle)
    found = stored(out)
    found["goals"] = goals(found)
    content = json.loads((out / "results.json").read_text(encoding="utf-8")) | {"goals": found["goals"]}
    (out / "results.json").write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    (out / "RESULTS.md").write_text(results(found), encoding="utf-8")
    (made.folder / "MODEL_CARD.md").write_text(model_card(found, made), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:3])
