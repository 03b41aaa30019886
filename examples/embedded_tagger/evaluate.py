"""Step 5: what the tagger can do, on independent jets: RESULTS.md, results.json and pictures.

Test jets come from runs of the simulation with other seeds than the training's. The network is run by ONNX Runtime,
through the bundle as users get it. The baseline are gradient-boosted trees on the classic substructure, trained on
the jets that the network was trained on (--prepared-train). No number in RESULTS.md is written by hand.

Usage: python evaluate.py BUNDLE PREPARED_TEST --prepared-train PREPARED_TRAIN -o OUT
           [--simulated FOLDER ...] [--checkpoint FILE.pt] [--unflattened BUNDLE] [--reference BUNDLE] [--model-card]
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import platform
import time
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import awkward as ak
import data
import measures
import numpy as np
import pictures
import report
import trees
import uproot

import jettagger as jt
from jettagger.discriminants import discriminant, model
from jettagger.inference.network import evaluate
from jettagger.inputs.batching import make_batches, tabulate
from jettagger.inputs.random_jets import ToyJets
from jettagger.sessions import open_onnx

#: which presets are measured
DISCRIMINANTS = ("HbbvsQCD", "HccvsQCD", "HWW4qvsQCD", "HWWlvqqvsQCD", "TopvsQCD", "HtautauvsQCD")

#: mixtures of the flavours of multijets
AS_IN_NATURE, AS_IN_TRAINING = "as in nature", "as in training"

#: GeV
PT_RANGES = ((200.0, 400.0), (400.0, 1000.0))

#: of the cost: objects of a jet, jets of a batch, runs of each network
COST_LENGTH, COST_VERTICES, COST_BATCH, COST_RUNS = 48, 3, 64, 15

Array = np.ndarray


class Training(NamedTuple):
    """What the trees are trained on: jets, their variables, weights of multijets by mixture of flavours."""

    sample: data.Sample
    table: Array
    mixtures: dict[str, Array]


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("prepared_test", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument(
        "--prepared-train", type=Path, help="training jets of the trees; without it there is no comparison"
    )
    parser.add_argument(
        "--simulated",
        type=Path,
        nargs="+",
        help="folders with the ROOT files of test and training jets: their cross sections weight flavours as in nature",
    )
    parser.add_argument(
        "--checkpoint", type=Path, help="compares ONNX with the training framework; facts of the training"
    )
    parser.add_argument("--unflattened", type=Path, help="bundle of a short training with --no-flatten")
    parser.add_argument("--reference", type=Path, help="bundle whose cost is measured for comparison")
    parser.add_argument("--most-jets", type=int, help="largest number of test jets, for a quick look")
    parser.add_argument(
        "--most-train-jets", type=int, help="largest number of training jets of the trees, for a quick look"
    )
    parser.add_argument("--model-card", action="store_true", help="write MODEL_CARD.md into the bundle's folder")
    return parser.parse_args()


def say(text: str) -> None:
    """A line of progress."""
    print(f"{time.process_time():7.0f} CPU s  {text}", flush=True)


def score(bundle: Any, sample: data.Sample, jets: Array, batch: int = 256) -> Array:
    """All outputs of a bundle, float32[jets, outputs], by ONNX Runtime in batches of similar length."""
    longest = {group.object: group.max_length for group in bundle.groups}
    names = [group.name for group in bundle.groups]
    session = open_onnx(bundle.graph, 1, None)
    result = np.empty((len(sample), len(bundle.outputs)), dtype=np.float32)
    for piece, inputs in data.make_batches(sample, jets, batch, longest["pf"], longest["sv"], None):
        tensors = {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)}
        result[piece] = evaluate(bundle, session, tensors)
    return result[jets]


def subset(sample: data.Sample, most: int | None) -> Array:
    """The first events with so many jets, so that events stay whole."""
    events = measures.event_numbers(sample)
    if most is None or most >= len(sample):
        return np.arange(len(sample))
    chosen = np.random.default_rng(1).permutation(events[-1] + 1)
    wanted = np.zeros(events[-1] + 1, dtype=bool)
    wanted[chosen[: max(int(most / len(sample) * len(chosen)), 1)]] = True
    return np.flatnonzero(wanted[events])


def natural_weights(sample: data.Sample, prepared: Path, simulated: list[Path]) -> Array:
    """Weights in pb: for each process the cross section, times the event's weight over the sum of all."""
    files = data.prepared_files(prepared)
    runs = []
    for path in files:
        found = [folder / f"{path.stem}.root" for folder in simulated if (folder / f"{path.stem}.root").is_file()]
        if not found:
            raise SystemExit(f"{path.stem}.root is in none of {', '.join(map(str, simulated))}")
        with uproot.open(found[0]) as file:
            runs.append(file["Runs"].arrays(library="np"))
    process = np.concatenate([part["genProcess"] for part in runs])
    names = ("crossSection", "genEventCount", "genEventSumw")
    section, count, total = (np.concatenate([part[name] for part in runs]) for name in names)
    factor = {
        kind: np.average(section[mine], weights=count[mine]) / total[mine].sum()
        for kind, mine in ((kind, process == kind) for kind in np.unique(process))
    }
    factors = np.zeros(len(sample))
    for path, part in zip(files, runs, strict=True):
        jets = np.flatnonzero(sample.columns["block"] >> np.uint64(20) == zlib.crc32(path.stem.encode()))
        blocks = np.zeros(int(part["luminosityBlock"].max()) + 1)
        blocks[part["luminosityBlock"]] = [factor[kind] for kind in part["genProcess"]]
        factors[jets] = blocks[sample.columns["luminosityBlock"][jets]]
    return factors * sample.columns["genWeight"]


def of_mixture(sample: data.Sample, prepared: Path, simulated: list[Path], mixture: str) -> Array:
    """Which jets come from runs of a mixture of processes, by the manifests of the simulation; bool[jets]."""
    mine = np.zeros(len(sample), dtype=bool)
    file_of_jet = sample.columns["block"] >> np.uint64(20)
    for path in data.prepared_files(prepared):
        manifests = [folder / f"{path.stem}.root.manifest.json" for folder in simulated]
        (manifest,) = [json.loads(item.read_text(encoding="utf-8")) for item in manifests if item.is_file()] or [{}]
        if manifest.get("process") == mixture:
            mine |= file_of_jet == zlib.crc32(path.stem.encode())
    return mine


def qcd_mixtures(sample: data.Sample, prepared: Path, simulated: list[Path] | None) -> dict[str, Array]:
    """Weights of multijets, flat in (pt, soft-drop mass), for each mixture of flavours."""
    multijets = np.isin(sample.columns["label"], data.QCD)
    mixtures = {}
    if simulated:
        natural = natural_weights(sample, prepared, simulated)
        mixtures[AS_IN_NATURE] = measures.qcd_weights(sample, natural, flat_mass=True)
    mixtures[AS_IN_TRAINING] = np.where(multijets, data.flat_weights(sample), 0.0)
    return mixtures


def restricted(sample: data.Sample, jets: Array) -> data.Sample:
    """Some jets, without their constituents."""
    nothing = np.zeros((0, 1))
    return data.Sample({name: values[jets] for name, values in sample.columns.items()}, *[nothing] * 4)


def signal_labels(name: str) -> tuple[int, ...]:
    """The types that a preset calls signal, e.g. the six of HWWlvqq for HWWlvqqvsQCD."""
    members = model("inclParTMDV1").group(name.removesuffix("vsQCD"))
    return tuple(data.TYPES.index(member.removeprefix("prob")) for member in members)


def flavour_factors(training: Training, mixture: str) -> dict[int, float]:
    """For each QCD type its share of a mixture over its share of what the network was trained on."""
    label = training.sample.columns["label"]
    shares = {
        name: {kind: float(weights[label == kind].sum() / weights.sum()) for kind in data.QCD}
        for name, weights in training.mixtures.items()
    }
    reference = shares[AS_IN_TRAINING]
    return {kind: shares[mixture][kind] / reference[kind] for kind in data.QCD if reference[kind] > 0}


def weighed(name: str, probabilities: Array, factors: dict[int, float]) -> Array:
    """A preset, S / (S + QCD), whose QCD scores count with factors: the prior of another mixture of flavours."""
    signal = probabilities[:, list(signal_labels(name))].sum(axis=1)
    multijets = sum(factor * probabilities[:, kind] for kind, factor in factors.items())
    return np.asarray(signal / np.maximum(signal + multijets, 1e-300))


def rejections(
    scores: ak.Array,
    probabilities: Array,
    sample: data.Sample,
    mixtures: dict[str, Array],
    table: Array,
    training: Training,
) -> list[dict[str, Any]]:
    """The network against the trees, for each mixture of flavours, discriminant and range of pt.

    In a mixture that the network was not trained for, it stands with QCD scores weighed for it (``weighed``: true)
    and with the preset as it is.
    """
    label, pt = sample.columns["label"], sample.columns["pt"]
    signal_weights, events = data.flat_weights(sample), measures.event_numbers(sample)
    rows = []
    for mixture, qcd in mixtures.items():
        factors = flavour_factors(training, mixture)
        say(f"flavours {mixture}: " + ", ".join(f"{data.TYPES[kind]} {value:.2f}" for kind, value in factors.items()))
        for name in DISCRIMINANTS:
            labels = signal_labels(name)
            networks = {False: ak.to_numpy(discriminant(name)(scores), allow_missing=False)}
            if mixture != AS_IN_TRAINING:
                networks = {True: weighed(name, probabilities, factors), **networks}
            forest = trees.train(training.sample, training.table, labels, training.mixtures[mixture])
            baseline = forest.predict_proba(table)[:, 1]
            for (low, high), (prior, network) in itertools.product(PT_RANGES, networks.items()):
                inside = (pt >= low) & (pt < high)
                of_signal = np.where(inside & np.isin(label, labels), signal_weights, 0.0)
                of_multijets = np.where(inside, qcd, 0.0)
                if not (of_signal.any() and of_multijets.any()):
                    say(f"flavours {mixture}: {name}, {low:g} to {high:g} GeV: no jets")
                    continue
                row = measures.compare_rejection(network, baseline, of_signal, of_multijets, events)
                rows.append({"mixture": mixture, "weighed": prior, "discriminant": name, "pt": [low, high], **row})
                ratio, sigma = row["ratio"]
                say(f"flavours {mixture}: {name}, {low:g} to {high:g} GeV: ratio {ratio:.2f} +- {sigma:.2f}")
    return rows


def masses(mass: Array, sample: data.Sample) -> dict[str, list[dict[str, Any]]]:
    """Response of the regressed and of the soft-drop mass by type and generated mass."""
    columns = sample.columns
    result: dict[str, list[dict[str, Any]]] = {}
    for index, name in enumerate(data.TYPES):
        if index in data.QCD:
            continue
        rows = []
        truth = columns["genResonanceMass"]
        for low, high in zip(measures.MASS_BINS[:-1], measures.MASS_BINS[1:], strict=True):
            jets = (columns["label"] == index) & (truth >= low) & (truth < high)
            found = measures.mass_response(mass[jets], columns["msoftdrop"][jets], truth[jets])
            if found is not None:
                rows.append({"low": low, "high": high, **found})
        result[name] = rows
    return result


def onnx_differences(checkpoint: Path, bundle: Any) -> dict[str, float]:
    """Largest difference between ONNX and the training framework by number of candidates."""
    import export
    import torch
    from network import JetTransformer

    network = JetTransformer()
    network.load_state_dict(torch.load(checkpoint, weights_only=True)["average"])
    cases = export.compare(network.eval(), bundle.graph.path)
    worst: dict[str, float] = {}
    for case, value in cases.items():
        length = case.split()[0]
        worst[length] = max(worst.get(length, 0.0), value)
    return worst


def training_facts(checkpoint: Path, prepared: Path | None, training: Training | None) -> dict[str, Any]:
    """How long the network was trained, and on what."""
    import torch
    from network import JetTransformer

    state = torch.load(checkpoint, weights_only=True)
    facts = {
        "minutes": state["spent"] / 60,
        "steps": int(state["steps"]),
        "jets_drawn": int(state["drawn"]),
        "parameters": sum(parameter.numel() for parameter in JetTransformer().parameters()),
    }
    if prepared is not None and training is not None:
        facts["jets"] = len(training.sample)
        facts["files"] = len(data.prepared_files(prepared))
    return facts


def cost(bundles: dict[str, Any]) -> dict[str, Any]:
    """Jets per CPU second on one core, in alternating runs on the same toy jets."""
    prepared = {}
    for name, bundle in bundles.items():
        counts = {"pf": np.full(COST_BATCH, COST_LENGTH), "sv": np.full(COST_BATCH, COST_VERTICES)}
        tables = tabulate(bundle.groups, ToyJets(counts, 1), bundle.card.nonfinite)
        (batch,) = make_batches(tables, batch_size=COST_BATCH, pad_mode=bundle.card.pad_mode, cost=None)
        prepared[name] = (open_onnx(bundle.graph, 1, "cpu"), batch.inputs)
    times: dict[str, list[float]] = {name: [] for name in bundles}
    for run in range(COST_RUNS + 1):
        for name, (session, inputs) in prepared.items():
            start = time.process_time()
            session.run(inputs)
            if run:  # the first one warms up
                times[name].append(time.process_time() - start)
    result: dict[str, Any] = {
        "candidates": COST_LENGTH,
        "vertices": COST_VERTICES,
        "batch": COST_BATCH,
        "runs": COST_RUNS,
        "processor": platform.processor() or platform.machine(),
        "networks": {},
    }
    for name, values in times.items():
        rates = COST_BATCH / np.array(values)
        low, median, high = np.percentile(rates, [25, 50, 75])
        result["networks"][name] = {
            "jets_per_cpu_second": [float(median), float((high - low) / 2)],
            "megabytes": bundles[name].graph.path.stat().st_size / 1e6,
        }
    return result


def finite(item: Any) -> Any:
    """The same with None where a number is infinite, which JSON does not know."""
    if isinstance(item, dict):
        return {key: finite(value) for key, value in item.items()}
    if isinstance(item, (list, tuple)):
        return [finite(value) for value in item]
    return None if isinstance(item, float) and not math.isfinite(item) else item


def as_jets(bundle: Any, values: Array) -> ak.Array:
    """Outputs as columns of jets, for discriminants."""
    return ak.zip({f"{bundle.prefix}_{output.name}": values[:, output.index] for output in bundle.outputs})


def main() -> None:
    """Measure everything that the arguments allow, write it down."""
    args = arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    bundle = jt.load_bundle(args.bundle)
    full = data.load(args.prepared_test)
    jets = subset(full, args.most_jets)
    sample = restricted(full, jets)
    events = measures.event_numbers(sample)
    label = sample.columns["label"]
    training_weights = data.flat_weights(sample)
    say(f"{len(sample)} test jets")
    values = score(bundle, full, jets)
    scored = as_jets(bundle, values)
    probabilities = values[:, [bundle[f"prob{name}"].index for name in data.TYPES]].astype(np.float64)
    mass = values[:, bundle["mass"].index].astype(np.float64)
    say("scored")

    mixtures = qcd_mixtures(sample, args.prepared_test, args.simulated)
    training, rejection = None, []
    if args.prepared_train:
        jets_of_trees, table = trees.load_table(args.prepared_train, args.most_train_jets)
        training = Training(jets_of_trees, table, qcd_mixtures(jets_of_trees, args.prepared_train, args.simulated))
        say(f"{len(table)} training jets for the trees")
        rejection = rejections(scored, probabilities, sample, mixtures, trees.substructure(full)[jets], training)
    results: dict[str, Any] = {
        "network": {"name": bundle.name, "sha256": bundle.graph.sha256, "title": bundle.card.title},
        "test": {
            "jets": len(sample),
            "events": int(events[-1]) + 1,
            "finite": bool(np.isfinite(values).all()),
        },
        "rejection": rejection,
        "accuracy": measures.accuracy(probabilities, label, training_weights),
        "charm": measures.charm_confusion(probabilities, label),
        "calibration": {
            "most probable type": measures.calibration(
                probabilities.max(axis=1), probabilities.argmax(axis=1) == label, training_weights, events
            ),
            "probHbb": measures.calibration(
                probabilities[:, data.TYPES.index("Hbb")],
                label == data.TYPES.index("Hbb"),
                training_weights,
                events,
            ),
        },
        "mass": masses(mass, sample),
    }
    if args.simulated:
        mine = of_mixture(sample, args.prepared_test, args.simulated, measures.MIXTURE)
        if mine.any():
            results["accuracy"]["as_mixed"] = measures.share_found(probabilities[mine], label[mine])
    say("types and masses")
    hbb = np.where(np.isin(label, signal_labels("HbbvsQCD")), training_weights, 0.0)
    compared = {bundle.name: scored}
    if args.unflattened:
        other = jt.load_bundle(args.unflattened)
        compared["without flattening"] = as_jets(other, score(other, full, jets))
    spectra = {"flat in pt and mass": mixtures[AS_IN_TRAINING]}
    if args.simulated:
        generated = natural_weights(sample, args.prepared_test, args.simulated)
        spectra["flat in pt, mass and flavours as in nature"] = measures.qcd_weights(sample, generated, flat_mass=False)
    results["sculpting"] = {}
    for name, columns in compared.items():
        network = ak.to_numpy(discriminant("HbbvsQCD")(columns), allow_missing=False)
        found = {
            spectrum: measures.sculpting(network, hbb, weights, sample.columns["msoftdrop"], events)
            for spectrum, weights in spectra.items()
        }
        results["sculpting"][name] = {spectrum: item for spectrum, item in found.items() if item is not None}
    say("sculpting")
    if args.checkpoint:
        results["onnx"] = onnx_differences(args.checkpoint, bundle)
        results["training"] = training_facts(args.checkpoint, args.prepared_train, training)
    bundles = {bundle.name: bundle}
    if args.reference:
        reference = jt.load_bundle(args.reference)
        bundles[reference.name] = reference
    results["cost"] = cost(bundles)
    results["goals"] = report.goals(results)
    say("written to " + str(args.out))
    text = json.dumps(finite(results), indent=1, allow_nan=False)
    (args.out / "results.json").write_text(text + "\n", encoding="utf-8")
    pictures.draw(results, args.out)
    (args.out / "RESULTS.md").write_text(report.results(results), encoding="utf-8")
    if args.model_card:
        (bundle.folder / "MODEL_CARD.md").write_text(report.model_card(results, bundle), encoding="utf-8")


if __name__ == "__main__":
    main()
