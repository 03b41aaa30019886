"""What the embedded tagger looks at: rankings, displaced tracks, sanity tests, retraining; docs/explain.md.

    python -m benchmarks.explain_study STUDY/                    # simulates, measures; minutes of CPU time
    python -m benchmarks.explain_study STUDY/ --only summary --write   # numbers, tables and figures in docs/

What is in STUDY/ already is kept: a run that was interrupted goes on with the same command. Jets are simulated with
fixed seeds (Pythia, FastJet); needs the extras ``sim``, ``train``, ``plot``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import jettagger as jt
from benchmarks.explain import costs
from benchmarks.explain_page import show, write_page
from benchmarks.explain_retraining import measure_retraining
from benchmarks.explain_sanity import measure_sanity
from jettagger.explain.baselines import other_constituents
from jettagger.explain.collecting import FEATURES, GROUPS, JetNumbers, collect, joined_numbers
from jettagger.explain.feature_groups import feature_groups, particle_kinds
from jettagger.explain.jets import JetInputs, jet_inputs, joined_inputs
from jettagger.explain.methods import (
    cumulative,
    gradient_input,
    integrated,
    occlude_constituents,
    occlude_kinds,
    occlude_variables,
    permutation_importance,
)
from jettagger.explain.report import explained_groups
from jettagger.explain.scorer import Scorer
from jettagger.files import complete_or_absent

MODEL = "inclParTToyV1"

#: sample -> process, events, seed of the simulation
SAMPLES: Mapping[str, tuple[str, int, int]] = {
    "test-Hbb": ("Hbb", 4000, 2412),
    "test-QCDlight": ("QCDlight", 8000, 2412),
    "test-HWW4q": ("HWW4q", 3000, 2412),
    "train-Hbb": ("Hbb", 6000, 2411),
    "train-HWW4q": ("HWW4q", 5000, 2411),
    "train-QCDlight": ("QCDlight", 6000, 2411),
}

#: what is explained -> number, samples of it
QUESTIONS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "Hbb": ("log HbbvsQCD", ("test-Hbb", "test-QCDlight")),
    "4q": ("log HWW4qvsQCD", ("test-HWW4q", "test-QCDlight")),
    "mass": ("mass", ("test-Hbb", "test-HWW4q")),
}

#: ranges of pt in GeV
RANGES: Mapping[str, tuple[float, float]] = {"low pt": (200, 400), "high pt": (400, 1000)}

#: jets of each sample and range: of which each variable is replaced, and those of the other methods
OCCLUDED, COUNTED = 120, 400

#: jets of each sample whose integrated gradients are taken
INTEGRATED = 1000

#: signal efficiency of rejections: light multijets hardly pass H to bb at 50 %
EFFICIENCIES = {"Hbb": 0.95, "4q": 0.5}

#: jets of each sample of which single constituents are left out
SINGLE = 60

#: how many constituents are kept
KEPT = (1, 5, 10, 20, 40)

PARTS = (
    "simulate", "attributions", "losses", "kinds", "constituents", "sanity", "retraining", "convergence", "costs",
    "summary",
)  # fmt: skip


def simulate(folder: Path) -> None:
    """Simulate the samples that are not there."""
    from jettagger.cli import main

    for name, (process, events, seed) in SAMPLES.items():
        path = folder / f"{name}.root"
        if not path.exists():
            line = ["simulate", "--pt", "200", "1000", "--process", process, "--events", str(events)]
            if main([*line, "--seed", str(seed), "-o", str(path)]):
                raise SystemExit(f"{path} was not simulated")


def jets_of(
    tagger: jt.Tagger, path: Path, number: int, low: float = 200, high: float = 1000, skip: int = 0
) -> Iterator[JetInputs]:
    """The first jets of a file in a range of pt that have one of the types of the network, in batches.

    Batches are of similar length, the longest jets first, so that the jets are chosen before.
    """
    with jt.EventFile(path) as file:
        columns = [*tagger.check(file, str(path)).columns, "FatJet.label", "FatJet.pt"]
        left = number
        for start in range(skip, file.n_events, 300):
            events = file.read(sorted(set(columns)), start, min(start + 300, file.n_events))
            fat = events.FatJet
            request = tagger.request(events, (fat.pt >= low) & (fat.pt < high) & (fat.label >= 0))
            batches = list(jet_inputs(tagger, request, ["FatJet_pt", "FatJet_label"]))
            first = np.sort(np.concatenate([jets.jets for jets in batches]))[:left] if batches else np.zeros(0)
            for jets in batches:
                chosen = np.isin(jets.jets, first)
                if chosen.any():
                    yield jets.take(np.flatnonzero(chosen))
            left -= len(first)
            if not left:
                return


def attributions(folder: Path, tagger: jt.Tagger) -> dict[str, Any]:
    """Rankings by occlusion of variables and groups for each question, sample and range of pt; maps of the first.

    Variables get the values of other constituents, of all samples of the question in the same range.
    """
    found: dict[str, Any] = {"rankings": {}, "maps": {}}
    groups = feature_groups(tagger.bundle)
    for question, (target, samples) in QUESTIONS.items():
        scorer = Scorer(tagger, target)
        for title, (low, high) in RANGES.items():
            parts = {
                sample: list(jets_of(tagger, folder / f"{sample}.root", OCCLUDED, low, high)) for sample in samples
            }
            baseline = other_constituents([jets for batches in parts.values() for jets in batches])
            for sample, batches in parts.items():
                numbers, maps = [], []
                for jets in batches:
                    members = {FEATURES: {name: (name,) for name in jets.variables}, GROUPS: groups}
                    effects = {name: occlude_variables(scorer, jets, item, baseline) for name, item in members.items()}
                    values = {name: effect.values for name, effect in effects.items()}
                    sizes = {name: np.abs(array) for name, array in values.items()}
                    names = {name: effect.names for name, effect in effects.items()}
                    numbers.append(JetNumbers(jets.jets, effects[GROUPS].outputs, names, values, sizes))
                    if question == "Hbb":
                        maps.append(collect(gradient_input(scorer, jets)))
                whole = joined_numbers(numbers)
                (group,) = explained_groups(whole, [title] * len(whole))
                key = f"{question}/{sample.removeprefix('test-')}/{title}"
                found["rankings"][key] = group.to_dict()
                if maps:
                    every = joined_numbers(maps)
                    found["maps"][key] = explained_groups(every, [title] * len(every))[0].to_dict()["maps"]
    # in the order of the samples, then of the ranges
    keys = [
        f"{question}/{sample.removeprefix('test-')}/{title}"
        for question, (_, samples) in QUESTIONS.items()
        for sample in samples
        for title in RANGES
    ]
    return {name: {key: content[key] for key in keys if key in content} for name, content in found.items()}


def convergence(folder: Path, tagger: jt.Tagger) -> dict[str, Any]:
    """How complete integrated gradients are, and what they take; batches that are done are kept in a file."""
    target, samples = QUESTIONS["Hbb"]
    scorer = Scorer(tagger, target)
    done: list[dict[str, Any]] = []
    for sample in samples:
        path = folder / f"convergence-{sample}.jsonl"
        kept = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        done += map(json.loads, kept)
        for number, jets in enumerate(jets_of(tagger, folder / f"{sample}.root", INTEGRATED)):
            if number < len(kept):
                continue
            start = time.process_time()
            made = integrated(scorer, jets)
            line = {
                "residuals": np.abs(made.residual / (made.outputs - made.reference)).tolist(),
                "steps": made.steps.tolist(),
                "seconds": time.process_time() - start,
            }
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            done.append(line)
    found: dict[str, Any] = {name: [value for line in done for value in line[name]] for name in ("residuals", "steps")}
    found["seconds_per_jet"] = sum(line["seconds"] for line in done) / len(found["steps"])
    return found


def losses(folder: Path, tagger: jt.Tagger) -> dict[str, Any]:
    """Loss of rejection by permutation of groups of variables."""
    found = {}
    groups = feature_groups(tagger.bundle)
    for question in ("Hbb", "4q"):
        target, samples = QUESTIONS[question]
        scorer = Scorer(tagger, target)
        for title, (low, high) in RANGES.items():
            parts, signal = [], []
            for sample in samples:
                for jets in jets_of(tagger, folder / f"{sample}.root", COUNTED, low, high):
                    parts.append(jets)
                    signal.append(np.full(len(jets), sample == samples[0]))
            rejection, importances = permutation_importance(
                scorer, parts, np.concatenate(signal), groups, efficiency=EFFICIENCIES[question]
            )
            found[f"{question}/{title}"] = {
                "efficiency": EFFICIENCIES[question],
                "rejection": [rejection.value, rejection.uncertainty],
                "losses": {item.name: [item.loss.value, item.loss.uncertainty] for item in importances},
            }
    return found


def kinds(folder: Path, tagger: jt.Tagger) -> dict[str, Any]:
    """Change of the number by leaving out kinds of constituents."""
    found = {}
    cuts = particle_kinds(tagger.bundle)
    for question, (target, samples) in QUESTIONS.items():
        scorer = Scorer(tagger, target)
        for sample in samples:
            for title, (low, high) in RANGES.items():
                effects = [
                    occlude_kinds(scorer, jets, cuts).values
                    for jets in jets_of(tagger, folder / f"{sample}.root", COUNTED // 2, low, high)
                ]
                values = np.concatenate(effects)
                key = f"{question}/{sample.removeprefix('test-')}/{title}"
                found[key] = {name: _mean(values[:, place]) for place, name in enumerate(cuts)}
    return found


def constituents(folder: Path, tagger: jt.Tagger) -> dict[str, Any]:
    """How many constituents suffice, by the largest effect of leaving one out and by pt."""
    found = {}
    for question, (target, samples) in QUESTIONS.items():
        scorer = Scorer(tagger, target)
        for sample in samples:
            jets = joined_inputs(list(jets_of(tagger, folder / f"{sample}.root", SINGLE)))
            effect = np.abs(occlude_constituents(scorer, jets).values)
            pt = jets.raw["pf_vectors"]
            order = jets.per_object("pf", {"pf_vectors": np.nan_to_num(np.hypot(pt[:, 0], pt[:, 1]))})
            of_order = {}
            for name, ranking in (("largest effect", effect), ("largest pt", order)):
                made = cumulative(scorer, jets, ranking, most=KEPT[-1])
                span = made.outputs - made.kept[:, 0]
                good = np.abs(span) > 1e-3
                share = 1 - np.abs(made.kept - made.outputs[:, np.newaxis])[good] / np.abs(span[good])[:, np.newaxis]
                enough = made.sufficient(0.1)
                of_order[name] = {
                    "recovered": [_median(share[:, count]) for count in KEPT],
                    "suffice": [_mean((enough >= 0) & (enough <= count)) for count in KEPT[-2:]],
                }
            found[f"{question}/{sample.removeprefix('test-')}"] = of_order
    return found


def _mean(values: Any) -> list[float]:
    values = np.asarray(values, dtype=np.float64)
    return [float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))]


def _median(values: Any) -> list[float]:
    """The median, and the standard deviation of it over replicas of the jets."""
    values = np.asarray(values, dtype=np.float64)
    drawn = np.random.default_rng(1).integers(len(values), size=(200, len(values)))
    return [float(np.median(values)), float(np.median(values[drawn], axis=1).std(ddof=1))]


def main() -> None:
    """Do the parts that are not done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, metavar="STUDY/")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--also", nargs="+", default=[], metavar="MODEL", help="further models whose cost is measured")
    parser.add_argument("--write", action="store_true", help="write docs/explain.md and its figures and numbers")
    args = parser.parse_args()
    args.study.mkdir(parents=True, exist_ok=True)
    if "simulate" in args.only:
        simulate(args.study)
    tagger = jt.load_tagger(MODEL, threads=1)
    made: dict[str, Callable[[], Any]] = {
        "attributions": lambda: attributions(args.study, tagger),
        "losses": lambda: losses(args.study, tagger),
        "kinds": lambda: kinds(args.study, tagger),
        "constituents": lambda: constituents(args.study, tagger),
        "sanity": lambda: measure_sanity(
            tagger, joined_inputs(list(jets_of(tagger, args.study / "test-Hbb.root", 100))), args.study
        ),
        "retraining": lambda: measure_retraining(tagger, args.study, jets_of),
        "convergence": lambda: convergence(args.study, tagger),
        "costs": lambda: costs([MODEL, *args.also], args.study / "test-QCDlight.root"),
    }
    for name, measure in made.items():
        path = args.study / f"{name}.json"
        if name in args.only and not path.exists():
            start = time.process_time()
            content = {"numbers": measure(), "cpu_seconds": time.process_time() - start}
            with complete_or_absent(path) as part:
                part.write_text(json.dumps(content), encoding="utf-8")
            print(f"{name}: {content['cpu_seconds']:.0f} s of CPU time", flush=True)
    if "summary" in args.only:
        paths = {name: args.study / f"{name}.json" for name in made}
        found = {name: json.loads(path.read_text(encoding="utf-8")) for name, path in paths.items() if path.exists()}
        if args.write:
            write_page(found)
        print(show(found))


if __name__ == "__main__":
    main()
