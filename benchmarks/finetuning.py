"""What heads on hidden neurons bring, and what they cost: the tables and pictures of examples/finetune/RESULTS.md.

    python examples/finetune/make_skims.py WORK --events 20000 --workers 8
    python examples/finetune/make_skims.py WORK --events 4000 --workers 8 --seed 900 --suffix -test --processes Xgg \
        QCDlight QCDsplit QCDbbbar QCDccbar                                # test jets of sizes and scratch
    python -m benchmarks.finetuning WORK                                  # everything that has no result yet
    python -m benchmarks.finetuning WORK --steps page -o examples/finetune
    python -m benchmarks.finetuning WORK --steps scratch --sizes 1000     # a part of it

Each step keeps its result in ``WORK/results``, with the tagger that it was made with; with another tagger it is done
again, all but ``scratch``, which needs none.

classes   heads for types that the tagger does not know, on hidden neurons and on the 37 scores, with the same jets
masses    a mass head with and without MET, type by type
sizes     a head from 1,000, 10,000 and 100,000 jets of X -> gg and multijets (also those of v1-types, if there are such
          samples), tested on files of their own, whose names end with -test
scratch   networks from the constituents of the same jets, with the same test
cost      training with 100,000 jets x 128 neurons, and a head's share of its backbone's CPU time; wants a machine with
          nothing else to do
page      RESULTS.md and its pictures
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import platform
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

import jettagger as jt
from benchmarks.finetuning_page import write_page
from benchmarks.from_scratch import NETWORKS, Jets, read_jets, train
from jettagger.discriminants import Measured, Roc, roc
from jettagger.expressions import parse
from jettagger.finetuning import FinetuneResult, finetune, read_config
from jettagger.finetuning.kinematics import balance
from jettagger.finetuning.measure import EFFICIENCIES, plain, response, unseen
from jettagger.finetuning.prepare import Prepared
from jettagger.heads import Head, JetTable, fold_of
from jettagger.simulation.processes import LABELS
from jettagger.testing import make_events

MODEL = "inclParTToyV1"
STEPS = ("scratch", "classes", "masses", "sizes", "cost", "page")

WINDOW = "FatJet_pt > 200 and FatJet_pt < 1000 and abs(FatJet_eta) < 2.4"
QCD = "FatJet_genResonance == 0"

#: types that the tagger does not know
NEW = {
    "Xgg": "FatJet_genResonance == 25 and FatJet_genGluons == 2",
    "HZgamma": "FatJet_genResonance == 25 and FatJet_genPhotons == 1 and FatJet_genInside == 3",
    "Xbc": "FatJet_genResonance == 37 and FatJet_genBottoms == 1 and FatJet_genCharms == 1",
}

#: networks of a head there: all jets test it
FOLDS = 4

#: edges of the spectra [GeV]
PT, SOFT_DROP = [200, 300, 400, 600, 1000], [20, 40, 60, 80, 100, 130, 160, 190, 220]

#: training jets for the comparison with networks from scratch, and the type that they learn
SIZES, LEARNT = (1_000, 10_000, 100_000), "Xgg"

#: files with this in their names hold its test jets
TEST = "-test"

#: shares of the events there; the jets of the comparison come from files of their own
LEAST_TEST, VALIDATION = 0.01, 0.08

#: rows of the mass table -> jet types
MASSES = {
    "H -> tau tau, e + hadrons": ["Htauhtaue"],
    "H -> tau tau, mu + hadrons": ["Htauhtaum"],
    "H -> tau tau, hadrons": ["Htauhtauh"],
    "H -> WW -> qq e nu": ["HWqqWev0c", "HWqqWev1c"],
    "H -> WW -> qq mu nu": ["HWqqWmv0c", "HWqqWmv1c"],
    "H -> WW -> qq tau nu": [name for name in LABELS if name.startswith("HWqqWtau")],
    "t -> b e nu": ["TopbWev"],
    "t -> b mu nu": ["TopbWmv"],
    "t -> b tau nu": ["TopbWtauev", "TopbWtaumv", "TopbWtauhv"],
}

#: jets of the cost
JETS = 100_000

#: replicas for the uncertainties of ratios
REPLICAS = 200

Result = dict[str, Any]


class Bench:
    """The folder, what is asked for, and results that are there."""

    def __init__(self, work: Path, threads: int, minutes: float, again: bool, least_jets: int) -> None:
        self.work, self.threads, self.minutes, self.again, self.least_jets = work, threads, minutes, again, least_jets
        self.results = work / "results"
        self.results.mkdir(exist_ok=True)
        self.model = jt.load_bundle(MODEL).digest

    def once(self, name: str, make: Callable[[], Result], *, model: bool = True) -> None:
        """Do it unless its result is there."""
        path = self.results / f"{name}.json"
        if path.exists() and not self.again and (not model or json.loads(path.read_text())["model"] == self.model):
            print(f"{name}: exists already")
            return
        print(f"{name} ...", flush=True)
        start = time.perf_counter()
        found = make()
        seconds = time.perf_counter() - start
        path.write_text(json.dumps({"model": self.model if model else "", "seconds": seconds, **found}, indent=1))
        print(f"{name}: {seconds:.0f} s", flush=True)

    def config(self, text: str) -> Any:
        """A configuration with what all have."""
        text = f"version: 1\nname: Bench\nparent: {MODEL}\nleast_jets: {self.least_jets}\n{text}"
        return read_config(text, name="benchmark", folder=self.work)

    def files(self, folder: str, *names: str, test: bool | None = False, needed: int = 2) -> list[Path]:
        """Samples or skims of processes, the first ones needed: those that test `sizes`, the others, or (None) all."""
        found = sorted(path for path in (self.work / folder).iterdir() if path.suffix in (".root", ".parquet"))
        found = [path for path in found if path.name.startswith(names) and test in (None, TEST in path.name)]
        for name in names[:needed]:
            if not any(path.name.startswith(name) for path in found):
                kind = f"{name}*{TEST}*" if test else f"{name}*"
                raise SystemExit(f"{self.work / folder} has no {kind}: see --help for what makes them")
        return found

    def train(self, text: str) -> tuple[FinetuneResult, Any, Any, Prepared]:
        """A head; its outputs for jets that it has not seen, and their rows; what it was trained with."""
        seen: list[tuple[Prepared, Any, Any]] = []

        def keep(prepared: Prepared) -> None:
            seen.append((prepared, *unseen(prepared)))  # the store goes with the training

        with tempfile.TemporaryDirectory() as name:
            result = finetune(self.config(text), Path(name) / "head", plots=False, begin=keep)
            ((prepared, rows, fold),) = seen
            return result, result.head.compute_folds(prepared.layout.x(rows), fold), rows, prepared


def _listed(paths: Sequence[Path]) -> str:
    """As YAML."""
    return json.dumps([str(path.resolve()) for path in paths])


def summary(curve: Roc) -> Result:
    """Area and rejections."""
    return {"auc": plain(curve.auc), **{f"{e:g}": plain(curve.rejection_at(e)) for e in EFFICIENCIES}}


# ------------------------------------------------------------------------------------------------------------- classes


def _new_class(bench: Bench, signal: str) -> Result:
    """Heads on hidden neurons and on scores, and the best plain discriminant, on the same test jets."""
    curves, columns = {}, {}
    jets: Result = {}
    label: Any = None
    skims = _listed(bench.files("skims", signal, "QCD", f"v1-types{TEST}", test=None))
    for inputs in ("hidden", "prob"):
        text = (
            f"kind: classes\nfiles: {skims}\ninputs: [{inputs}, FatJet_pt]\n"
            f'select: "{WINDOW} and FatJet_msoftdrop > {SOFT_DROP[0]} and FatJet_msoftdrop < {SOFT_DROP[-1]}"\n'
            f'classes: {{{signal}: "{NEW[signal]}", QCD: "{QCD}"}}\n'
            f"kinematics: {{columns: {{FatJet_pt: {PT}, FatJet_msoftdrop: {SOFT_DROP}}}}}\n"
            f"training: {{threads: {bench.threads}, memory: 8GB}}\nsplit: {{folds: {FOLDS}}}\n"
        )
        result, values, rows, prepared = bench.train(text)
        layout = prepared.layout
        label = _same_jets(label, rows[:, layout["label"]].astype(int))
        jets = _tested(result, label)
        weight = prepared.weights(rows).astype(np.float64)
        name = "head on the hidden neurons" if inputs == "hidden" else "head on the 37 scores"
        columns[name] = values[:, 0].astype(np.float64)
        if inputs == "hidden":
            scores = _plain(rows, layout)
            best = max(scores, key=lambda name: _rejection(scores[name], label, weight, 0.5))
            columns[f"best discriminant: {best}"] = scores[best]
    order = sorted(columns, key=lambda name: (not name.startswith("head on the hidden"), name))
    curves = {
        name: roc(columns[name][label == 0], columns[name][label == 1], weight[label == 0], weight[label == 1])
        for name in order
    }
    from jettagger.plots import roc_curves, save_figure

    save_figure(roc_curves(curves, signal=signal, background="QCD"), bench.results / f"roc_{signal}.png")
    head = order[0]
    return {
        "jets": jets,
        "effective": float(weight[label == 1].sum() ** 2 / np.sum(weight[label == 1] ** 2)),
        "curves": {name: summary(curve) for name, curve in curves.items()},
        "gain": {name: _ratios(columns[head], columns[name], label, weight) for name in order[1:]},
    }


def _plain(rows: Any, layout: Any) -> dict[str, Any]:
    """Each of the 37 scores, alone and against the sum of those of QCD; and what is no QCD."""
    scores = {name: rows[:, layout[name]].astype(np.float64) for name in layout.extras if name.startswith("prob")}
    qcd = sum(column for name, column in scores.items() if name.startswith("probQCD"))
    against = {f"{n} / ({n} + QCD)": x / (x + qcd + 1e-30) for n, x in scores.items() if not n.startswith("probQCD")}
    return {**scores, **against, "1 - QCD": 1 - qcd}


def _rejection(column: Any, label: Any, weight: Any, efficiency: float) -> float:
    """One over the background that is left; infinite if there is none."""
    signal, background = label == 0, label == 1
    order = np.argsort(-column[signal], kind="stable")
    sums = np.cumsum(weight[signal][order])
    cut = column[signal][order][np.searchsorted(sums, efficiency * sums[-1])]
    left = weight[background][column[background] >= cut].sum()
    return float(weight[background].sum() / left) if left > 0 else float("inf")


def _ratios(head: Any, other: Any, label: Any, weight: Any) -> Result:
    """Rejection of the head over that of another, with the spread of replicas of the test jets common to both."""
    rng = np.random.default_rng(1)
    found: Result = {}
    replicas = [weight * rng.poisson(1, len(weight)) for _ in range(REPLICAS)]
    for e in EFFICIENCIES:
        value, *spread = (_rejection(head, label, w, e) / _rejection(other, label, w, e) for w in (weight, *replicas))
        sigma, above = _spread(spread)
        found[f"{e:g}"] = plain(Measured(value, sigma, above if sigma > value / 2 or math.isinf(value) else None))
    return found


def _spread(values: Sequence[float]) -> tuple[float, float]:
    """Half of the central 68 % of replicas, and what 95 % of them exceed; some may be infinite, or NaN: no telling."""
    known = np.sort(np.nan_to_num(np.asarray(values), nan=0.0, posinf=np.inf))
    least, low, high = (float(known[round(part * (len(known) - 1))]) for part in (0.05, 0.16, 0.84))
    return math.inf if math.isinf(high) else (high - low) / 2, least


# -------------------------------------------------------------------------------------------------------------- masses


def _masses(bench: Bench) -> Result:
    """Median and width of the response: tagger, head without MET, head with MET."""
    classes = "".join(
        f'  {name}: "{" or ".join(f"FatJet_label == {LABELS[item]}" for item in items)}"\n'
        for name, items in zip(_mass_names(), MASSES.values(), strict=True)
    )
    without = "hidden, mass, FatJet_pt, FatJet_msoftdrop, FatJet_mass, FatJet_nLeptonsNear"
    skims = _listed(bench.files("skims", "H", "Top", f"v1-types{TEST}", test=None, needed=1))
    ratios: dict[str, Any] = {}
    label: Any = None
    jets: Result = {}
    for who, inputs in (("head without MET", without), ("head with MET", f"{without}, MET_pt, FatJet_metDeltaPhi")):
        text = (
            f"kind: mass\nfiles: {skims}\ninputs: [{inputs}]\ntarget: FatJet_genResonanceMass\n"
            f'select: "{WINDOW}"\nclasses:\n{classes}'
            f"training: {{threads: {bench.threads}, memory: 8GB}}\nsplit: {{folds: {FOLDS}}}\n"
        )
        result, values, rows, prepared = bench.train(text)
        layout = prepared.layout
        target = rows[:, layout["target"]].astype(np.float64)
        label = _same_jets(label, rows[:, layout["label"]].astype(int))
        ratios["tagger"] = rows[:, layout.inputs.index("mass")] / target
        ratios[who] = values[:, 0] / target
        jets = dict(zip(MASSES, _tested(result, label).values(), strict=True))
    table: Result = {}
    for number, title in enumerate(MASSES):
        mine = {who: ratio[label == number] for who, ratio in ratios.items()}
        found = {who: response(ratio) for who, ratio in mine.items()}
        table[title] = {who: {"median": plain(x.median), "width": plain(x.width)} for who, x in found.items()}
        rng = np.random.default_rng(1)
        replicas = [rng.poisson(1, len(mine["tagger"])) for _ in range(REPLICAS)]
        widths = {who: np.array([response(ratio, w).width.value for w in replicas]) for who, ratio in mine.items()}
        for who in found:
            value = found[who].width.value / found["tagger"].width.value
            table[title][who]["of tagger"] = [value, _spread(widths[who] / widths["tagger"])[0]]
    return {"jets": jets, "table": table}


def _tested(result: FinetuneResult, label: Any) -> Result:
    """Numbers of jets of each class: for one of the networks, and all that are tested."""
    return {name: row | {"test": int(np.sum(label == i))} for i, (name, row) in enumerate(result.jets.items())}


def _same_jets(before: Any, now: Any) -> Any:
    if before is not None and not np.array_equal(before, now):
        raise RuntimeError("the two heads were tested with different jets")
    return now


def _mass_names() -> list[str]:
    return [f"T{number}" for number in range(len(MASSES))]


# ------------------------------------------------------------------------------------------------------ number of jets


def _learnt(paths: Sequence[Path], bench: Bench, what: str) -> tuple[Jets, Any]:
    """Jets with constituents, and their weights: flat in pt."""
    classes = {LEARNT: NEW[LEARNT], "QCD": QCD}
    jets = read_jets(paths, WINDOW, classes, ["FatJet_pt"], MODEL, bench.results / f"constituents-{what}.npz")
    return jets, _flat(jets.columns["label"], jets.columns["FatJet_pt"])


def _flat(label: Any, pt: Any) -> Any:
    """Weights that make two classes flat in pt, as those of a head's training."""
    cell = np.clip(np.searchsorted(PT, pt, side="right") - 1, 0, len(PT) - 2)
    sums = np.zeros((2, len(PT) - 1))
    np.add.at(sums, (label, cell), 1.0)
    return balance(sums, float(len(label)))[label, cell]


def _share(event: Any, size: int) -> tuple[float, Any]:
    """Share of the events that has so many training jets, and which jets train (0) and validate (1), as for heads."""
    kept = fold_of(event, 10_000, 0) >= LEAST_TEST * 10_000
    validates = fold_of(event, 10_000, 1) < VALIDATION * 10_000
    part = np.where(kept, np.where(validates, 1, 0), -1)
    return min(1.0, size / max(int(np.count_nonzero(part == 0)), 1)), part


def _scratch(bench: Bench, size: int, network: str) -> Result:
    """A network that is trained on the constituents of so many jets."""
    jets, weight = _learnt(bench.files("samples", LEARNT, "QCD", "v1-types"), bench, "train")
    test, test_weight = _learnt(bench.files("samples", LEARNT, "QCD", test=True), bench, "test")
    event = jets.columns["event"].astype(np.int64)
    share, part = _share(event, size)
    used = fold_of(event, 10_000, 2) < share * 10_000
    chosen, held = np.flatnonzero(used & (part == 0)), np.flatnonzero(used & (part == 1))
    made = train(jets, weight, chosen, held, test, network, minutes=bench.minutes, threads=bench.threads)
    about = {key: value for key, value in asdict(made).items() if key != "scores"}
    y = test.columns["label"]
    curve = roc(made.scores[y == 0], made.scores[y == 1], test_weight[y == 0], test_weight[y == 1])
    counts = [len(chosen), len(held), len(y)]
    return {"jets": counts, "limit": bench.minutes, **about, **summary(curve)}


def _head_of_size(bench: Bench, size: int) -> Result:
    """A head from so many jets: those of the networks from scratch."""
    jets, _ = _learnt(bench.files("samples", LEARNT, "QCD", "v1-types"), bench, "train")
    share, _ = _share(jets.columns["event"].astype(np.int64), size)
    skims = bench.files("skims", LEARNT, "QCD", "v1-types")
    start = time.process_time()
    text = (
        f"kind: classes\nfiles: {_listed(skims)}\ninputs: [hidden, FatJet_pt]\n"
        f'select: "{WINDOW} and ({NEW[LEARNT]} or {QCD})"\nclasses: {{{LEARNT}: "{NEW[LEARNT]}", QCD: "{QCD}"}}\n'
        f"kinematics: {{columns: {{FatJet_pt: {PT}}}}}\ntraining: {{threads: {bench.threads}, batch: 256}}\n"
        f"split: {{use: {share}, test: {LEAST_TEST}, validation: {VALIDATION}}}\n"
    )
    result, *_ = bench.train(text)
    minutes = (time.process_time() - start) / 60
    label, pt, values = _on_skims(result.head, bench.files("skims", LEARNT, "QCD", test=True))
    weight = _flat(label, pt)
    curve = roc(values[label == 0], values[label == 1], weight[label == 0], weight[label == 1])
    jets_ = [sum(row[part] for row in result.jets.values()) for part in ("train", "validation")]
    layers = [len(result.head.inputs), *result.head.card.training["model"]["layers"], len(result.head.card.outputs)]
    parameters = sum((a + 1) * b for a, b in itertools.pairwise(layers))
    about = {"parameters": parameters, "minutes": minutes, "epochs": len(result.history)}
    return {"jets": [*jets_, len(label)], **about, **summary(curve)}


def _on_skims(head: Head, paths: Sequence[Path]) -> tuple[Any, Any, Any]:
    """Label (0 for the type, 1 for QCD), pt and first output of a head for all jets of skims."""
    found: list[tuple[Any, Any, Any]] = []
    for path in paths:
        table = JetTable(ak.from_parquet(path), head.card.parent.prefix)
        window, signal, qcd = (np.asarray(_value(text, table)) != 0 for text in (WINDOW, NEW[LEARNT], QCD))
        inputs, _ = head.gather(table.values)
        good = window & (signal | qcd) & np.isfinite(inputs).all(axis=1)
        found.append((np.where(signal, 0, 1)[good], table.values("FatJet_pt")[good], head.compute(inputs[good])[:, 0]))
    label, pt, values = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return label, pt, values


def _value(text: str, table: JetTable) -> Any:
    expression = parse(text)
    return expression.evaluate({name: table.values(name) for name in expression.names})


# ---------------------------------------------------------------------------------------------------------------- cost


def _cost(bench: Bench) -> Result:
    """Training on so many jets x 128 neurons, and the CPU time of a head beside that of its backbone."""
    jets, neurons = JETS, 128
    rng = np.random.default_rng(1)
    label = np.arange(jets) % 2
    hidden = rng.normal(0, 1, (jets, neurons)).astype("f4")
    hidden += 0.15 * label[:, None] * rng.normal(0, 1, neurons).astype("f4")
    found: Result = {"threads": bench.threads, "machine": platform.machine(), "models": {}}
    tagger = jt.load_tagger(MODEL, threads=1)
    events = make_events(60, seed=1)
    scored = tagger.run(events).report.scored  # and sessions are open now
    backbone = min(_cpu(lambda: tagger(events)) for _ in range(5)) / scored
    found["backbone"] = backbone
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        columns: dict[str, Any] = {"event": np.arange(jets, dtype="u8")}
        one = np.ones(jets, dtype=np.int64)
        columns["FatJet_truth"] = ak.unflatten(label.astype("i4"), one)
        columns |= {f"FatJet_{MODEL}_hidNeurons{i:03d}": ak.unflatten(hidden[:, i].copy(), one) for i in range(neurons)}
        jt.write_skim(folder / "toy.parquet", [columns], json.dumps({"model": MODEL, "digest": bench.model}))
        for what, model in (("network", "{kind: mlp}"), ("trees", "{kind: bdt, trees: 300}")):
            text = (
                f"version: 1\nname: Bench\nkind: classes\nparent: {MODEL}\nfiles: [toy.parquet]\ninputs: [hidden]\n"
                "classes: {A: FatJet_truth == 0, B: FatJet_truth == 1}\n"
                f"model: {model}\ntraining: {{threads: {bench.threads}, patience: 1000}}\n"
                f"split: {{test: {LEAST_TEST}}}\n"
            )
            config = read_config(text, name="benchmark", folder=folder)
            result = finetune(config, folder / "head", plots=False, force=True)
            x = hidden[:1000]
            result.head.compute(x, threads=1)
            own = min(_cpu(lambda head=result.head, x=x: head.compute(x, threads=1)) for _ in range(20)) / len(x)
            found["models"][what] = {
                "jets": sum(sum(row.values()) for row in result.jets.values()),
                "epochs": len(result.history),
                "reading": result.seconds["reading"],
                "training": result.seconds["training"],
                "cpu": own,
            }
    return found


def _cpu(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


# ---------------------------------------------------------------------------------------------------------------- page


def _content(bench: Bench, sizes: Sequence[int]) -> Mapping[str, Any]:
    """All results that are there, by name."""
    names = ["masses", "cost", *(f"class-{name}" for name in NEW), *(f"size-{size}" for size in sizes)]
    names += [f"scratch-{size}-{network.replace(' ', '-')}" for size in sizes for network in NETWORKS]
    found = {}
    for name in names:
        path = bench.results / f"{name}.json"
        if not path.exists():
            print(f"page: {name} has no result yet, its rows are left out")
            continue
        found[name] = json.loads(path.read_text())
        if found[name]["model"] not in ("", bench.model):
            raise SystemExit(f"{path} was made with another tagger; run its step again")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, metavar="WORK", help="folder of examples/finetune/make_skims.py")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS))
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES), help="training jets of sizes and scratch")
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=20.0, help="CPU time of each network from scratch at most")
    parser.add_argument("--least-jets", type=int, default=50, help="smallest number of training jets of a class")
    parser.add_argument("--again", action="store_true", help="repeat steps that have results already")
    parser.add_argument("-o", "--output", type=Path, help="folder for RESULTS.md; default: WORK/results")
    args = parser.parse_args(arguments)
    bench = Bench(args.work, args.threads, args.minutes, args.again, args.least_jets)
    for step in args.steps:
        if step == "scratch":
            for size in args.sizes:
                for network in args.networks:
                    name = f"scratch-{size}-{network.replace(' ', '-')}"
                    bench.once(name, lambda s=size, n=network: _scratch(bench, s, n), model=False)
        elif step == "classes":
            for signal in NEW:
                bench.once(f"class-{signal}", lambda s=signal: _new_class(bench, s))
        elif step == "masses":
            bench.once("masses", lambda: _masses(bench))
        elif step == "sizes":
            for size in args.sizes:
                bench.once(f"size-{size}", lambda s=size: _head_of_size(bench, s))
        elif step == "cost":
            bench.once("cost", lambda: _cost(bench))
        else:
            output = args.output or bench.results
            write_page(_content(bench, args.sizes), bench.results, output, MODEL, args.sizes, list(NETWORKS), list(NEW))
            print(f"{output / 'RESULTS.md'}")


if __name__ == "__main__":
    main()
