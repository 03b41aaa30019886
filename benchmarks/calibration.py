"""Two cards of the simulation as data and simulation: fitted factors of a top tagger against the true ratios.

    python -m benchmarks.calibration simulate WORK --files 10
    python -m benchmarks.calibration fill WORK --model part-ak8-2023
    python -m benchmarks.calibration fit WORK --json docs/measured_calibration.json --picture docs/calibration.png
    python -m benchmarks.calibration page docs

``simulate`` makes top pairs and W + jets with a muon for each bin of pt, with the card `default` (templates) and the
card `alternative` (data), with different seeds; it leaves out files that exist. ``fill`` runs
`jettagger.processors.ScaleFactorProcessor` on each file and stores its histogram. ``fit`` mixes the processes by cross
section, fits factors of three working points in each bin of pt, and compares them with the ratio of the efficiencies of
truth-matched jets in the two samples. The same jets are fitted and counted, so that what the comparison tests is the
extraction; the chi-square uses the full uncertainty of the fit, and is thus rather too small than too large.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

#: bins of pt (GeV): each has samples of its own, generated above 0.8 times its lower edge
BINS = ((400, 500), (500, 600), (600, 1000))

#: top tagger of the probe, and thresholds of the working points
SCORE, POINTS = "TopvsQCD", {"loose": 0.9, "medium": 0.97, "tight": 0.99}
BANDS = ("fail", "loose", "medium", "tight")

CARDS = {"default": "simulation", "alternative": "data"}
PROCESSES = ("ttmu", "Wmu")

#: relative size of one standard deviation of the mass scale and of the resolution of the templates
SCALE, RESOLUTION = 0.02, 0.15

#: where the table stands in calibration.md
PLACE = re.compile(r"(<!-- two cards -->\n).*?(<!-- end of two cards -->)", flags=re.DOTALL)


def name_of(process: str, low: int, card: str, number: int) -> str:
    """Name of a sample."""
    return f"{process}-{low}-{card}-{number}"


def simulate(folder: Path, files: int, events: int) -> None:
    """Files of each process, bin and card, the first ones of all before the second ones."""
    from jettagger.simulation import simulate as make

    (folder / "samples").mkdir(parents=True, exist_ok=True)
    for number in range(1, files + 1):
        for process in PROCESSES:
            if process != "ttmu" and number % 4 != 3:
                continue
            for low, high in BINS:
                for place, card in enumerate(CARDS):
                    path = folder / "samples" / f"{name_of(process, low, card, number)}.root"
                    if path.exists():
                        continue
                    # other seeds for other cards: their hard processes are not the same
                    summary = make(
                        process, events, path, pt=(low, high), card=card, seed=1000 * place + number, force=True
                    )
                    print(f"{path.name}: {summary.events} events", flush=True)


def processor(model: str) -> Any:
    """Tag and probe with a loose muon and a b tag by flavour, and variations of the mass."""
    from jettagger.processors import ScaleFactorProcessor

    from jettagger.calibration import MassFactors
    from jettagger.histograms import AxisSpec
    from jettagger.search.definition import Sample
    from jettagger.search.tagandprobe import ParametrisedTag

    masses = MassFactors(
        "msoftdrop", scale_uncertainty=SCALE, resolution_uncertainty=RESOLUTION, reference="genJetAK8.msoftdrop"
    )
    return ScaleFactorProcessor(
        {process: Sample(1.0, sum_of_weights="events") for process in PROCESSES},
        SCORE,
        bands=[0.0, *POINTS.values(), 1.0],
        axes=[AxisSpec("pt", edges=tuple(float(edge) for edge in [*(low for low, _ in BINS), BINS[-1][1]]))],
        variable=AxisSpec("msoftdrop", bins=(10, 50, 250), label="soft-drop mass", unit="GeV"),
        muon="pt > 30 and abs(eta) < 2.4 and pfRelIso03_all < 0.15",
        btag=ParametrisedTag({5: 0.8, 4: 0.3, 0: 0.1}),
        cuts={"one_muon": "nmuons == 1", "met": "MET.pt > 30"},
        variations={"mass": masses},
        model=model,
    )


def fill(folder: Path, model: str) -> None:
    """The histogram of each sample that has none yet."""
    import uproot
    from coffea.nanoevents import NanoEventsFactory, PFNanoAODSchema

    from jettagger.histograms import save

    class Quiet(PFNanoAODSchema):
        warn_missing_crossrefs = False

    (folder / "histograms").mkdir(exist_ok=True)
    one = None
    for path in sorted((folder / "samples").glob("*.root")):
        target = folder / "histograms" / f"{path.stem}.json.gz"
        if target.exists():
            continue
        one = processor(model) if one is None else one
        process = path.stem.partition("-")[0]
        metadata = {"dataset": process, "filename": path.name}
        factory = NanoEventsFactory.from_root(
            {str(path): "Events"}, schemaclass=Quiet, metadata=metadata, mode="virtual"
        )
        result = one.process(factory.events())
        runs = uproot.open(path)["Runs"].arrays(library="np")
        record = {
            "generated": float(runs["genEventSumw"].sum()),
            "cross_section": float(np.average(runs["crossSection"], weights=runs["genEventCount"])),
            "cutflow": result["cutflow"][process],
        }
        save(result["histograms"], target, record)
        rows = result["cutflow"][process]
        print(f"{path.name}: {rows['scored']['events']} probes of {rows['initial']['events']} events", flush=True)


class Card:
    """What was filled in one bin of pt from one card."""

    def __init__(self, folder: Path, low: int, card: str) -> None:
        from jettagger.histograms import add, load

        self.histograms: dict[str, Any] = {}
        self.generated = dict.fromkeys(PROCESSES, 0.0)
        self.sections = dict.fromkeys(PROCESSES, 0.0)
        self.counts = {process: [0, 0] for process in PROCESSES}
        for process in PROCESSES:
            for path in sorted((folder / "histograms").glob(f"{process}-{low}-{card}-*.json.gz")):
                histograms, record = load(path)
                found = histograms["probe"]
                self.histograms[process] = (
                    add({"probe": self.histograms[process]}, {"probe": found})["probe"]
                    if process in self.histograms
                    else found
                )
                self.generated[process] += record["generated"]
                self.sections[process] += record["generated"] * record["cross_section"]
                for place, row in enumerate(("initial", "scored")):
                    self.counts[process][place] += record["cutflow"][row]["events"]

    def luminosity(self, process: str) -> float:
        """Of the generated events, in 1/pb."""
        return self.generated[process] ** 2 / self.sections[process] if self.generated[process] else 0.0

    def jets(self, process: str, category: str, position: int) -> tuple[Any, Any]:
        """Sums of weights and of their squares in the range of the mass, float64[bands, bins] each."""
        from jettagger.histograms import pick

        histogram = self.histograms[process]
        if category not in histogram.axes["category"]:
            empty = np.zeros((len(BANDS), len(histogram.axes["msoftdrop"])))
            return empty, empty
        part = pick(histogram, dataset=process, category=category, variation="nominal")
        return part.values()[position], part.variances()[position]


#: categories of the fit: jets of W + jets and probes without quarks of a top quark together
CATEGORIES = {"merged": ["signal"], "partly merged": ["partly_merged"], "other": ["unmerged", "other"]}


def mixed(simulation: Card, data: Card, position: int) -> Any:
    """One histogram of simulation at the luminosity of the data, and of the data, a mixture by cross section."""
    import hist

    from jettagger.histograms import pick

    luminosity = data.luminosity("ttmu")
    first = simulation.histograms["ttmu"]
    axes = [axis for axis in first.axes if axis.name not in ("dataset", "category", "variation")]
    names = [*first.axes["category"], "data"]
    result = hist.Hist(
        hist.axis.StrCategory([*simulation.histograms, "data"], name="dataset"),
        hist.axis.StrCategory(names, name="category"),
        hist.axis.StrCategory([*first.axes["variation"]], name="variation"),
        *axes,
        storage=hist.storage.Weight(),
    )
    view = result.view()
    for row, (process, histogram) in enumerate(simulation.histograms.items()):
        factor = luminosity / simulation.luminosity(process)
        for column, category in enumerate(first.axes["category"]):
            for layer, variation in enumerate(first.axes["variation"]):
                part = pick(histogram, dataset=process, category=category, variation=variation)
                view["value"][row, column, layer] = factor * part.values()
                view["variance"][row, column, layer] = factor**2 * part.variances()
    rng = np.random.default_rng(position)
    observed = np.zeros((len(BANDS), len(axes[-1])))
    for process, histogram in data.histograms.items():
        counts = sum(data.jets(process, category, position)[0] for category in histogram.axes["category"])
        if process != "ttmu":  # as many as are in this luminosity: thinned, or drawn where there are too few
            share = luminosity / data.luminosity(process)
            whole = np.round(counts).astype(int)
            counts = rng.binomial(whole, share) if share <= 1 else rng.poisson(share * whole)
        observed += counts
    place = (len(simulation.histograms), names.index("data"), [*first.axes["variation"]].index("nominal"), position)
    view["value"][place], view["variance"][place] = observed, observed
    return result


def efficiencies(bands: Any, variances: Any) -> tuple[Any, Any]:
    """Efficiencies of the points and their uncertainties, float64[points] each, from weighted counts in the bands."""
    total, spread = bands.sum(), variances.sum()
    passed = np.array([bands[row:].sum() for row in range(1, len(BANDS))])
    inside = np.array([variances[row:].sum() for row in range(1, len(BANDS))])
    value = passed / total
    return value, np.sqrt(inside * (1 - value) ** 2 + (spread - inside) * value**2) / total


def fitted(templates: Any) -> tuple[Any, list[str]]:
    """The fit, and the categories with factors of their own: partly merged jets have them if the jets suffice."""
    from jettagger.calibration import CategoryFactor, ShapeFactor, fit_factors
    from jettagger.errors import InvalidValues

    shapes = {
        "mass_scale": ShapeFactor(SCALE, prior=SCALE),
        "mass_resolution": ShapeFactor(RESOLUTION, prior=RESOLUTION),
    }
    for free in (["merged", "partly merged"], ["merged"]):
        categories = {
            name: CategoryFactor("free" if name in free else "fixed", normalisation=0.2)
            for name in templates.categories
        }
        try:
            return fit_factors(templates, categories=categories, shapes=shapes), free
        except InvalidValues as error:
            print(f"{templates.name}: {error}")
    raise SystemExit(f"{templates.name}: too few jets for a fit")


def fit(folder: Path) -> dict[str, Any]:
    """Fitted factors and true ratios in all bins, and what they say together."""
    from scipy.stats import chi2

    from jettagger.calibration import band_templates

    rows, bins, deviations, covariances = [], [], [], []
    for position, (low, high) in enumerate(BINS):
        simulation, data = (Card(folder, low, card) for card in CARDS)
        made = band_templates(
            mixed(simulation, data, position),
            "msoftdrop",
            data=["data"],
            bands=BANDS,
            categories=CATEGORIES,
            min_effective_events=5.0,
        )
        if (position,) in made.refused:
            raise SystemExit(f"pt {low} to {high}: {made.refused[position,]}")
        templates = made.templates[position,].without_migration()
        found, free = fitted(templates)
        factors = found.inclusive()
        place = factors.categories.index("merged")
        whole, squares = simulation.jets("ttmu", "signal", position)
        before, before_error = efficiencies(whole.sum(axis=1), squares.sum(axis=1))
        seen = data.jets("ttmu", "signal", position)[0].sum(axis=1)
        after, after_error = efficiencies(seen, seen)
        ratio_errors = after / before * np.hypot(after_error / after, before_error / before)
        values, sigmas = factors.values[place], factors.uncertainties[place]
        size = len(POINTS)
        block = slice(place * size, (place + 1) * size)
        deviations.append(values - after / before)
        covariances.append(factors.covariance[block, block])
        for row, point in enumerate(POINTS):
            parts = {
                source: float((up[place, row] - down[place, row]) / 2)
                for source, (up, down) in factors.contributions.items()
            }
            rows.append(
                {
                    "pt": [low, high],
                    "point": point,
                    "efficiency": float(before[row]),
                    "factor": float(values[row]),
                    "uncertainty": float(sigmas[row]),
                    "contributions": parts,
                    "true": float(after[row] / before[row]),
                    "true_uncertainty": float(ratio_errors[row]),
                }
            )
        goodness = found.goodness
        bins.append(
            {
                "pt": [low, high],
                "data": float(sum(values.sum() for values in templates.data.values())),
                "merged": float(seen.sum()),
                "simulated_merged": float(whole.sum()),
                "goodness": [goodness.statistic, goodness.degrees_of_freedom, goodness.probability],
                "free": free,
                "at_bounds": list(found.at_bounds),
                "shapes": {name: [item.value, item.uncertainty] for name, item in found.shapes.items()},
                "luminosity": data.luminosity("ttmu"),
                "samples": {card: item.counts for card, item in (("default", simulation), ("alternative", data))},
            }
        )
    statistic = 0.0
    for change, covariance in zip(deviations, covariances, strict=True):
        statistic += float(change @ np.linalg.solve(covariance, change))
    number = sum(len(change) for change in deviations)
    pulls = [(row["factor"] - row["true"]) / row["uncertainty"] for row in rows]
    return {
        "rows": rows,
        "bins": bins,
        "chi2": [statistic, number, float(chi2.sf(statistic, number))],
        "largest": float(np.max(np.abs(pulls))),
    }


def table(result: dict[str, Any]) -> str:
    """The table of the page."""
    lines = [
        "| pt (GeV) | point | efficiency | factor | statistics | simulation | mass | true ratio | deviation |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        parts = row["contributions"]
        masses = math.sqrt(sum(value**2 for name, value in parts.items() if name.startswith("mass_")))
        lines.append(
            f"| {row['pt'][0]} to {row['pt'][1]} | {row['point']} | {row['efficiency']:.2f} | "
            f"{row['factor']:.3f} ± {row['uncertainty']:.3f} | {abs(parts['statistics']):.3f} | "
            f"{abs(parts['simulation']):.3f} | {masses:.3f} | {row['true']:.3f} ± {row['true_uncertainty']:.3f} | "
            f"{(row['factor'] - row['true']) / row['uncertainty']:+.1f} |"
        )
    statistic, number, probability = result["chi2"]
    jets = ", ".join(
        f"{item['data']:.0f} probes at {item['pt'][0]} to {item['pt'][1]} GeV, {item['merged']:.0f} of them merged"
        for item in result["bins"]
    )
    lines += [
        "",
        f"Chi-square of all factors and their true ratios: {statistic:.1f} for {number} points, probability "
        f"{probability:.2g}; the largest deviation is {result['largest']:.1f} standard deviations. Data: {jets}.",
        "",
    ]
    return "\n".join(lines)


def draw(result: dict[str, Any], path: Path) -> None:
    """Factors and true ratios of each point in bins of pt."""
    import matplotlib.pyplot as plt

    figure, frames = plt.subplots(1, len(POINTS), figsize=(10, 3.6), sharey=True)
    for frame, point in zip(frames, POINTS, strict=True):
        rows = [row for row in result["rows"] if row["point"] == point]
        centres = np.array([sum(row["pt"]) / 2 for row in rows])
        widths = np.array([(row["pt"][1] - row["pt"][0]) / 2 for row in rows])
        for key, error, shift, label, style in (
            ("factor", "uncertainty", -4, "fitted factor", "o"),
            ("true", "true_uncertainty", 4, "true ratio", "s"),
        ):
            frame.errorbar(
                centres + shift,
                [row[key] for row in rows],
                [row[error] for row in rows],
                widths if key == "factor" else None,
                style,
                label=label,
            )
        frame.axhline(1, color="grey", linewidth=0.8)
        frame.set_title(f"{point}: {SCORE} > {POINTS[point]:g}", fontsize=10)
        frame.set_xlabel("probe pt [GeV]")
    frames[0].set_ylabel("efficiency in data / simulation")
    frames[0].legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def write_page(docs: Path) -> None:
    """The table into calibration.md."""
    result = json.loads((docs / "measured_calibration.json").read_text(encoding="utf-8"))
    page = docs / "calibration.md"
    text = page.read_text(encoding="utf-8")
    page.write_text(PLACE.sub(lambda match: f"{match[1]}{table(result)}\n{match[2]}", text), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["simulate", "fill", "fit", "page"])
    parser.add_argument("folder", type=Path, help="where samples and histograms are; for page: the documents")
    parser.add_argument("--files", type=int, default=10, help="of each process, bin and card (default: %(default)s)")
    parser.add_argument("--events", type=int, default=200, help="of each file (default: %(default)s)")
    parser.add_argument("--model", default="part-ak8-2023", help="name or folder of the network (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures of a fit")
    parser.add_argument("--picture", type=Path, help="draw them")
    args = parser.parse_args()
    if args.action == "simulate":
        simulate(args.folder, args.files, args.events)
    elif args.action == "fill":
        fill(args.folder, args.model)
    elif args.action == "page":
        write_page(args.folder)
    else:
        result = fit(args.folder)
        print(table(result))
        if args.json is not None:
            args.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        if args.picture is not None:
            draw(result, args.picture)


if __name__ == "__main__":
    main()
