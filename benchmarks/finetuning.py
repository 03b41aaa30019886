"""What heads on hidden neurons bring, and what they cost.

    python benchmarks/finetuning.py timing                 # 100,000 jets x 128 neurons: training, and applying
    python benchmarks/finetuning.py tables WORK            # WORK from examples/finetune/make_skims.py
    python benchmarks/finetuning.py scratch WORK --minutes 20

``timing`` trains on invented jets, and compares the CPU time of a head with that of its backbone. ``tables``
trains heads for types that the tagger does not know (on hidden neurons, and on the 37 scores alone, with the same jets)
and the mass head of the example, and prints Markdown. ``scratch`` trains the network of ``examples/embedded_tagger``
from the constituents of 1,000, 10,000 and 100,000 jets, as many as there are, beside a head from the same jets.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

import jettagger as jt
from jettagger.discriminants import roc
from jettagger.finetuning import finetune, read_config
from jettagger.finetuning.measure import EFFICIENCIES
from jettagger.finetuning.report import tables as written
from jettagger.heads import fold_of
from jettagger.testing import make_events

MODEL = "inclParTToyV1"
EMBEDDED = Path(__file__).resolve().parent.parent / "examples" / "embedded_tagger"

SELECT = "FatJet_pt > 200 and FatJet_pt < 1000 and abs(FatJet_eta) < 2.4"
QCD = "FatJet_genResonance == 0"
NEW = {
    "Xgg": "FatJet_genResonance == 25 and FatJet_genGluons == 2",
    "HZgamma": "FatJet_genResonance == 25 and FatJet_genPhotons == 1 and FatJet_genInside == 3",
}

#: training jets for the comparison with a network from scratch
SIZES = (1_000, 10_000, 100_000)


def configuration(folder: Path, signal: str, inputs: str, use: float = 1.0, threads: int = 2) -> Any:
    """A head for a new type against QCD."""
    text = f"""
version: 1
name: Bench
kind: classes
parent: {MODEL}
files: [skims/*.parquet]
inputs: [{inputs}, FatJet_pt]
select: "{SELECT}"
classes: {{{signal}: "{NEW[signal]}", QCD: "{QCD}"}}
weight: "abs(genWeight)"
flatten: {{FatJet_pt: [200, 300, 400, 600, 1000]}}
training: {{threads: {threads}}}
split: {{use: {use}}}
least_jets: 10
"""
    return read_config(text, name="benchmark", folder=folder)


def timing(threads: int) -> None:
    """Training on 100,000 jets, and applying beside the backbone."""
    jets, neurons = 100_000, 128
    rng = np.random.default_rng(1)
    label = np.arange(jets) % 2
    hidden = rng.normal(0, 1, (jets, neurons)).astype("f4")
    hidden += 0.15 * label[:, None] * rng.normal(0, 1, neurons).astype("f4")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        columns: dict[str, Any] = {"event": np.arange(jets, dtype="u8")}
        one = np.ones(jets, dtype=np.int64)
        columns["FatJet_truth"] = ak.unflatten(label.astype("i4"), one)
        columns |= {f"FatJet_{MODEL}_hidNeurons{i:03d}": ak.unflatten(hidden[:, i].copy(), one) for i in range(neurons)}
        record = json.dumps({"model": MODEL, "digest": jt.load_bundle(MODEL).digest})
        jt.write_skim(folder / "toy.parquet", [columns], record)
        for model in ("{kind: mlp}", "{kind: bdt, trees: 300}"):
            text = (
                f"version: 1\nname: Bench\nkind: classes\nparent: {MODEL}\nfiles: [toy.parquet]\ninputs: [hidden]\n"
                "classes: {A: FatJet_truth == 0, B: FatJet_truth == 1}\n"
                f"model: {model}\ntraining: {{threads: {threads}, patience: 100}}\nsplit: {{test: 0.01}}\n"
            )
            config = read_config(text, name="benchmark", folder=folder)
            result = finetune(config, folder / "head", plots=False, force=True)
            seconds = ", ".join(f"{what} {value:.1f} s" for what, value in result.seconds.items())
            epochs = f"{len(result.history)} epochs or trees"
            print(f"{model}: {seconds} ({sum(result.jets['A'].values()) * 2} jets, {epochs}, {threads} threads)")
        head = result.head
        tagger = jt.load_tagger(MODEL, threads=1)
        events = make_events(60, seed=1)
        tagger(events)  # sessions are open now
        start = time.process_time()
        scored = tagger.run(events).report.scored
        backbone = (time.process_time() - start) / scored
        x = hidden[:scored]
        head.compute(x, threads=1)
        start = time.process_time()
        for _ in range(100):
            head.compute(x, threads=1)
        own = (time.process_time() - start) / (100 * scored)
    print(f"CPU time a jet: backbone {1e3 * backbone:.3f} ms, trees {1e6 * own:.1f} us ({100 * own / backbone:.2f} %)")


def tables(work: Path, threads: int) -> None:
    """Rejections for new types, and the resolution of masses."""
    with tempfile.TemporaryDirectory() as name:
        for signal in NEW:
            print(f"\n{signal} against QCD: background rejection\n")
            print("| discriminant | " + " | ".join(f"at {100 * value:g} %" for value in EFFICIENCIES) + " | AUC |")
            print("| --- | " + "--- | " * (len(EFFICIENCIES) + 1))
            for inputs in ("hidden", "prob"):
                head = f"head on {'hidden neurons' if inputs == 'hidden' else 'the 37 scores'}"
                result = finetune(
                    configuration(work, signal, inputs, threads=threads), Path(name) / "head", plots=False, force=True
                )
                (pair,) = result.measures.comparisons
                for what, curve in pair.curves.items():
                    if what == "head" or inputs == "hidden":
                        cells = [str(curve.rejection_at(value)) for value in EFFICIENCIES]
                        print(f"| {head if what == 'head' else what} | {' | '.join(cells)} | {curve.auc} |")
            print(f"\njets: {result.jets}")
        print("\nMass, with MET\n")
        result = finetune(work / "tau_mass.yaml", Path(name) / "mass", plots=False, force=True)
        print(written(result.measures))


def scratch(work: Path, minutes: float, threads: int, signal: str = "Xgg") -> None:
    """Heads and networks from scratch, on the same numbers of jets."""
    x, label, weight, fold, validation, use = _constituents(work, signal)
    print("| training jets | head on hidden neurons, AUC | at 50 % | from scratch, AUC | at 50 % |")
    print("| --- | --- | --- | --- | --- |")
    trains = (fold > 0) & ~validation
    for size in SIZES:
        share = min(1.0, size / trains.sum())
        with tempfile.TemporaryDirectory() as name:
            config = configuration(work, signal, "hidden", share, threads)
            result = finetune(config, Path(name) / "head", plots=False)
        head = result.measures.comparisons[0].curves["head"]
        chosen = np.flatnonzero(trains & (use < share * 10_000))
        scores = _train(x, label, weight, chosen, np.flatnonzero(fold == 0), minutes, threads)
        tested = fold == 0
        curve = roc(
            scores[label[tested] == 0],
            scores[label[tested] == 1],
            weight[tested][label[tested] == 0],
            weight[tested][label[tested] == 1],
        )
        print(f"| {len(chosen)} | {head.auc} | {head.rejection_at(0.5)} | {curve.auc} | {curve.rejection_at(0.5)} |")
        if share == 1:
            break


def _constituents(work: Path, signal: str, most: tuple[int, int] = (64, 6)) -> Any:
    """Input tensors of signal (0) and QCD (1) jets, their weights and the parts that they belong to."""
    from coffea.nanoevents import NanoEventsFactory, PFNanoAODSchema

    from jettagger.expressions import parse
    from jettagger.heads import JetTable
    from jettagger.processors.finetune_inputs import generator_labels

    bundle = jt.load_bundle(MODEL)
    names = [group.name for group in bundle.groups]
    parts: dict[str, list[Any]] = {name: [] for name in names}
    rest: list[Any] = []
    for path in sorted((work / "samples").glob("*.root")):
        opened = NanoEventsFactory.from_root({str(path): "Events"}, schemaclass=PFNanoAODSchema, mode="eager").events()
        labels = generator_labels(opened)
        table = JetTable(opened, given={f"FatJet_{k}": ak.to_numpy(ak.flatten(v)) for k, v in labels.items()})

        def decide(text: str, table: Any = table) -> Any:
            expression = parse(text)
            return np.asarray(expression.evaluate({item: table.values(item) for item in expression.names})) != 0

        kind = np.where(decide(NEW[signal]), 0, np.where(decide(QCD), 1, -1))
        kind[~decide(SELECT)] = -1
        where = ak.unflatten(kind >= 0, table.counts)
        event, weight = table.values("event"), np.abs(table.values("genWeight"))
        for batch in jt.make_inputs(bundle, opened, where):
            for name in names:
                length = most[1] if name.startswith("sv") else most[0]
                tensor = batch.inputs[name][:, :, :length]
                padding = ((0, 0), (0, 0), (0, length - tensor.shape[2]))
                parts[name].append(np.pad(tensor, padding).astype(np.float16 if "mask" in name else np.float32))
            rest.append(np.stack([kind[batch.jets], weight[batch.jets], event[batch.jets]], axis=1))
    rows = np.concatenate(rest)
    label, weight, event = rows[:, 0].astype(int), rows[:, 1], rows[:, 2].astype(np.int64)
    for number in (0, 1):  # balanced, as for heads
        weight[label == number] /= weight[label == number].mean() * np.mean(label == number) * 2
    fold = (fold_of(event, 10_000, 0) >= 2500).astype(int)
    validation = fold_of(event, 10_000, 1) < 1500
    return (
        {name: np.concatenate(items) for name, items in parts.items()},
        label,
        weight,
        fold,
        validation,
        fold_of(event, 10_000, 2),
    )


def _train(x: Any, label: Any, weight: Any, chosen: Any, test: Any, minutes: float, threads: int) -> Any:
    """Probability of class 0 for the test jets, from a network that has seen the chosen ones."""
    import torch

    sys.path.insert(0, str(EMBEDDED))
    from network import N_HIDDEN, JetTransformer

    torch.set_num_threads(threads)
    torch.manual_seed(1)
    backbone, last = JetTransformer(dropout=0.1), torch.nn.Linear(N_HIDDEN, 2)
    parameters = [*backbone.parameters(), *last.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.05)
    order = ("pf_features", "pf_vectors", "pf_mask", "sv_features", "sv_vectors", "sv_mask")

    def logits(rows: Any) -> Any:
        return last(backbone.hidden(*(torch.from_numpy(x[name][rows].astype(np.float32)) for name in order)))

    rng = np.random.default_rng(1)
    best, best_loss, since = None, np.inf, 0
    held = chosen[: len(chosen) // 8]
    mine = chosen[len(chosen) // 8 :]
    end = time.monotonic() + 60 * minutes
    while time.monotonic() < end and since < 5:
        backbone.train()
        shuffled = rng.permutation(mine)
        for start in range(0, len(shuffled), 128):
            rows = shuffled[start : start + 128]
            values = torch.nn.functional.cross_entropy(logits(rows), torch.from_numpy(label[rows]), reduction="none")
            loss = (values * torch.from_numpy(weight[rows]).float()).mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            if time.monotonic() > end:
                break
        found = _loss(_probabilities(logits, backbone, held), label[held], weight[held])
        since += 1
        if found < best_loss:
            state = [{k: v.clone() for k, v in part.state_dict().items()} for part in (backbone, last)]
            best, best_loss, since = state, found, 0
    if best is not None:
        backbone.load_state_dict(best[0])
        last.load_state_dict(best[1])
    return _probabilities(logits, backbone, test)[:, 0]


def _probabilities(logits: Any, backbone: Any, rows: Any) -> Any:
    import torch

    backbone.eval()
    with torch.no_grad():
        parts = [torch.softmax(logits(rows[i : i + 256]), dim=1).numpy() for i in range(0, len(rows), 256)]
    return np.concatenate(parts)


def _loss(probabilities: Any, label: Any, weight: Any) -> float:
    return float(np.average(-np.log(probabilities[np.arange(len(label)), label] + 1e-12), weights=weight))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("timing", "tables", "scratch"))
    parser.add_argument("work", type=Path, nargs="?")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=20.0, help="for each network from scratch")
    args = parser.parse_args()
    if args.what == "timing":
        timing(args.threads)
    elif args.work is None:
        parser.error(f"{args.what} needs WORK, the folder of examples/finetune/make_skims.py")
    elif args.what == "tables":
        tables(args.work, args.threads)
    else:
        scratch(args.work, args.minutes, args.threads)


if __name__ == "__main__":
    main()
