"""What scores that do not sculpt cost: the table and the figure of docs/decorrelation.md, from simulated jets.

    python examples/finetune/make_skims.py WORK --processes QCDlight QCDsplit --events 100000 --workers 8
    jettagger simulate --process HWW4q --mass 90 160 --events 25000 -o WORK/samples/HWW4q.root      # and Hbb
    python examples/finetune/make_skims.py WORK --processes --workers 8    # skims of all samples
    python -m benchmarks.decorrelation WORK/skims WORK/decorrelation
    python -m benchmarks.decorrelation WORK/skims WORK/decorrelation --page docs

Heads on hidden neurons of the embedded tagger are trained for X -> WW -> 4q and X -> bb with generated masses of 90 to
160 GeV against multijets; maps are fitted to the plain one. Each multijet counts once, in the spectrum of pt in which
they were generated (biased towards high pt; with their natural weights a fifth of them would count). A study that is
finished is not repeated.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jettagger.config.yamlfile import yaml_text
from jettagger.discriminants import Measured
from jettagger.files import complete_or_absent
from jettagger.finetuning.report import number
from jettagger.studies import decorrelate, read_config

#: signal -> title and selection of its jets: those that hold all quarks
SIGNALS = {
    "HWW4q": ("H → WW → 4q", "FatJet_label >= 0 and FatJet_label <= 2"),
    "Hbb": ("H → bb", "FatJet_label == 16"),
}
MULTIJETS = "FatJet_label >= 23 and FatJet_label <= 27"
WINDOW = "FatJet_pt > 200 and FatJet_pt < 1000 and FatJet_msoftdrop > 30 and FatJet_msoftdrop < 250"
MASS, PT = "FatJet_msoftdrop", "FatJet_pt"

#: goals: fraction of the rejection that the best method keeps, with a divergence of at most so many floors
KEPT, FLOORS = 0.8, 3.0


def study_of(signal: str, skims: Path, work: Path, args: argparse.Namespace) -> Path:
    """Write the configurations of a head and of its study."""
    title, cut = SIGNALS[signal]
    head = {
        "version": 1,
        "name": signal,
        "kind": "classes",
        "parent": args.model,
        "files": [str(skims / f"{name}*.parquet") for name in (signal, "QCD")],
        "inputs": ["hidden"],
        "select": WINDOW,
        "classes": {signal: cut, "QCD": MULTIJETS},
        "model": {"kind": "mlp", "layers": [64, 64]},
        "training": {"epochs": args.epochs, "batch": 2048, "patience": 6, "threads": args.threads, "seed": args.seed},
    }
    (work / f"{signal}-head.yaml").write_text(yaml_text(head), encoding="utf-8")
    spectra = {
        MASS: np.arange(30.0, 251.0, 10.0).tolist(),
        PT: [200.0, 250.0, 300.0, 350.0, 400.0, 500.0, 600.0, 800.0, 1000.0],
    }
    heads: dict[str, Any] = {
        "plain": f"{signal}-head.yaml",
        "weights": {
            "config": f"{signal}-head.yaml",
            "kinematics": {"method": "weights", "columns": spectra, "to": "flat"},
        },
    }
    for method, strengths in (("disco", args.disco), ("adversary", args.adversary)):
        if strengths:
            penalty: dict[str, Any] = {"method": method, "from": [MASS], "of": "QCD", "strength": strengths}
            if method == "adversary":
                penalty["adversary"] = {"warmup": args.epochs // 8, "ramp": args.epochs // 2}
            heads[method] = {"config": f"{signal}-head.yaml", "decorrelate": penalty}
    maps: dict[str, Any] = {
        "linear": {"method": "linear"},
        "ddt": {"method": "thresholds", "efficiencies": args.efficiencies, "axes": {"mass": 8, "pt": 3}},
        "quantile": {"method": "quantiles", "axes": {"mass": 8, "pt": 3}},
        "quantile-mass": {"method": "quantiles", "axes": {"mass": 16}},
        "quantile-weights": {"method": "quantiles", "of": "weights", "axes": {"mass": 16}},
    }
    # what a map leaves to do is less where the head was trained for it
    for strength in args.disco:
        name = "disco" if len(args.disco) == 1 else f"disco-{strength:g}"
        maps[f"quantile-{name}"] = {"method": "quantiles", "of": name, "axes": {"mass": 16}}
    study = {
        "version": 1,
        "title": f"{title} against multijets",
        "discriminant": "plain",
        "background": {"files": [str(skims / "QCD*.parquet")], "select": f"{WINDOW} and {MULTIJETS}"},
        "signal": {"files": [str(skims / f"{signal}*.parquet")], "select": f"{WINDOW} and {cut}"},
        "protected": {
            MASS: {"edges": spectra[MASS], "label": "Soft-drop mass [GeV]"},
            PT: {"edges": spectra[PT], "label": "$p_T$ [GeV]"},
        },
        "maps": maps,
        "heads": heads,
        "test": args.test,
        "seed": args.seed,
    }
    path = work / f"{signal}.yaml"
    path.write_text(yaml_text(study), encoding="utf-8")
    return path


def measured(content: Mapping[str, Any]) -> Measured:
    """A number of a report."""
    value, uncertainty = (np.inf if content[key] is None else content[key] for key in ("value", "uncertainty"))
    return Measured(value, uncertainty, content.get("above"), content.get("below"))


def summary(report: Mapping[str, Any]) -> dict[str, Any]:
    """What the page shows of a report."""
    methods = [
        {
            "name": item["name"],
            "method": item["name"] if item["method"] == "plain" else item["method"],
            "failure": item["failure"],
            "rejection": item["point"]["rejection"],
            "retained": item["retained"],
            **{key: item["point"]["divergence"][key] for key in ("value", "floor", "inverse")},
            "distance_correlation": item["distance_correlation"][MASS]["value"],
        }
        for item in report["methods"]
    ]
    return {"title": report["title"], "jets": report["jets"], "methods": methods, "failures": report["failures"]}


def best(methods: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The method that keeps most of the rejection, of those close to the floor."""
    flat = [
        item
        for item in methods[1:]
        if not item["failure"] and item["value"]["value"] <= FLOORS * item["floor"]["value"]
    ]
    return max(flat, key=lambda item: item["retained"]["value"], default=None)


def wanted(kept: Measured) -> str:
    """A fraction of the rejection against the goal, in words."""
    if kept.value >= KEPT:
        return "as wanted"
    near = kept.value + kept.uncertainty >= KEPT
    return f"{KEPT:g} was wanted, {'within' if near else 'beyond'} its uncertainty"


def table(found: Mapping[str, Any]) -> str:
    """The comparison of one signal as Markdown."""
    jets = found["jets"]
    lines = [
        f"{found['title']}: {jets['background']['test']} multijets and {jets['signal']['test']} signal jets compared, "
        f"{jets['background']['fit']} and {jets['signal']['fit']} fitted to.",
        "",
        "| score | rejection at 50 % | kept | divergence [10^-3] | floor [10^-3] | distance correlation, mass |",
        "|---|---|---|---|---|---|",
    ]
    for item in found["methods"]:
        value = measured(item["value"])
        cells = [
            f"{item['name']}{' (**failed**)' if item['failure'] else ''}",
            number(measured(item["rejection"])),
            "1" if item is found["methods"][0] else number(measured(item["retained"])),
            number(Measured(1e3 * value.value, 1e3 * value.uncertainty)),
            f"{1e3 * item['floor']['value']:.2g}",
            f"{item['distance_correlation']:.3f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", *(f"Failed: {name}, {reason}" for name, reason in found["failures"].items())]
    by_name = {item["name"]: item for item in found["methods"]}
    raw, winner = found["methods"][0], best(found["methods"])
    ratio = raw["value"]["value"] / raw["floor"]["value"]
    text = f"The divergence of the plain score is {ratio:.1f} times its floor. "
    if ratio <= FLOORS:
        text += "It is not resolved from a flat one: it takes more multijets to tell methods apart."
        lines.append(text)
        return "\n".join(lines)
    if winner is None:
        text += f"No method comes within {FLOORS:g} floors."
    else:
        kept = number(measured(winner["retained"]))
        reached = wanted(measured(winner["retained"]))
        text += f"Of the methods within {FLOORS:g} floors, `{winner['name']}` keeps most of its rejection: "
        text += f"{kept} ({reached})."
    if "weights" in by_name:
        flat, all_of_it = (measured(item["rejection"]).value for item in (by_name["weights"], raw))
        text += (
            " The plain head reads the mass itself, which a flat score cannot use: trained with the same spectra of "
            f"mass and pt in all classes (`weights`), a head has {flat / all_of_it:.2f} of its rejection."
        )
        if winner is not None:
            kept = measured(winner["rejection"]).value / flat
            text += f" Relative to `weights`, `{winner['name']}` keeps {kept:.2f}."
    lines.append(text)
    return "\n".join(lines)


def figure(results: Mapping[str, Mapping[str, Any]]) -> Any:
    """Rejection against the inverse of the divergence, one panel per signal."""
    from jettagger.plots.style import LINES, canvas, drawing

    markers = "os^vDP*X"
    with drawing(font_size=12, legend_fontsize=9):
        made, panels = canvas(1, len(results), figsize=(5.2 * len(results), 4.6))
        families = list(dict.fromkeys(item["method"] for found in results.values() for item in found["methods"]))
        for axes, found in zip(panels[0], results.values(), strict=True):
            for index, family in enumerate(families):
                members = [item for item in found["methods"] if item["method"] == family]
                if not members:
                    continue
                x, dx = np.array([[item["inverse"][key] for item in members] for key in ("value", "uncertainty")])
                y, dy = np.array([[item["rejection"][key] for item in members] for key in ("value", "uncertainty")])
                axes.errorbar(
                    x,
                    y,
                    xerr=np.minimum(dx, 0.8 * x),
                    yerr=dy,
                    color=LINES[index % len(LINES)][0],
                    markerfacecolor="white" if index >= len(LINES) else None,
                    marker=markers[index % len(markers)],
                    linestyle="",
                    markersize=5,
                    label=family,
                )
            floors = [item["floor"] for item in found["methods"]]
            low = min(1 / (floor["value"] + floor["uncertainty"]) for floor in floors)
            high = max(1 / max(floor["value"] - floor["uncertainty"], floor["value"] / 10) for floor in floors)
            axes.axvspan(low, high, color="#d9d9d9", label="random subsets")
            axes.set_xscale("log")
            axes.set_ylim(bottom=0)
            axes.set_xlabel("1 / divergence of the mass")
            axes.set_title(found["title"], loc="left", fontsize=11)
        panels[0][0].set_ylabel("Rejection at 50 % signal efficiency")
        panels[0][0].legend(frameon=False, loc="lower left")
    return made


def write_page(results: Mapping[str, Mapping[str, Any]], folder: Path) -> None:
    """Put tables, numbers and the figure into the folder of the page."""
    from jettagger.plots import save_figure

    page = folder / "decorrelation.md"
    text = page.read_text(encoding="utf-8")
    for signal, found in results.items():
        mark = re.compile(rf"(<!-- decorrelation: {signal} -->\n).*?(<!-- end of decorrelation -->)", flags=re.DOTALL)
        content = table(found)
        text, times = mark.subn(lambda match, content=content: f"{match[1]}{content}\n{match[2]}", text)
        if not times:
            raise SystemExit(f"{page} has no place for {signal}: <!-- decorrelation: {signal} -->")
    save_figure(figure(results), folder / "decorrelation.png")
    with complete_or_absent(folder / "decorrelation.json") as part:
        part.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    page.write_text(text, encoding="utf-8")


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Those of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("skims", type=Path, help="folder with skims, named after their processes")
    add("work", type=Path, help="folder for configurations and studies")
    add("--signals", nargs="+", default=list(SIGNALS), choices=list(SIGNALS))
    add("--model", default="inclParTToyV1")
    add("--disco", type=float, nargs="*", default=[10.0, 20.0, 30.0], help="strengths (default: %(default)s)")
    add("--adversary", type=float, nargs="*", default=[30.0], help="strengths (default: %(default)s)")
    add("--efficiencies", type=float, nargs="+", default=[0.05, 0.02], help="of the map of thresholds")
    add("--test", type=float, default=0.6, help="fraction of the events for the comparison (default: %(default)s)")
    add("--epochs", type=int, default=25)
    add("--threads", type=int, default=1)
    add("--seed", type=int, default=1)
    add("--page", type=Path, help="folder of decorrelation.md")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> dict[str, Any]:
    """Make the studies that are not there, and the page if one is given."""
    args = arguments(given)
    args.work.mkdir(parents=True, exist_ok=True)
    results = {}
    for signal in args.signals:
        report = args.work / signal / "report.json"
        if not report.is_file():
            config = read_config(study_of(signal, args.skims.resolve(), args.work, args))
            print(decorrelate(config, args.work / signal, step=lambda line: print(line, flush=True)).table)
        results[signal] = summary(json.loads(report.read_text(encoding="utf-8")))
        print(table(results[signal]), flush=True)
    if args.page is not None:
        write_page(results, args.page)
    return results


if __name__ == "__main__":
    main()
