"""Networks beside the smallest chi-square on simulated events: top pairs without leptons, and ttH with one.

    for SEED in 101 102 103 104 105 106 107; do
        jettagger simulate --process tthad-resolved --events 30000 --seed $SEED -o tthad$SEED.root
    done
    python -m benchmarks.assignment_networks tthad OUT/ --training tthad10[1-6].root --test tthad107.root --write
    python -m benchmarks.assignment_networks ttH OUT/ --training ttHbb=tth1.root ttbb=ttbb1.root \
        --test ttHbb=tth2.root ttbb=ttbb2.root --write

OUT/ keeps data sets and networks: a run that was interrupted goes on with the same command. The files of
``examples/assignment/`` define inputs and targets. Numbers go to docs/measured_assignment_networks.json, and the tables
to docs/assignment.md.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.assignment_tree import SIX, six_jets, tree_on_six_jets
from jettagger.assignment import (
    AssignmentDataset,
    AssignmentEvents,
    AssignmentOptions,
    ChiSquareBaseline,
    EventDescription,
    InputMaker,
    MassTerm,
    decode,
    load_assigner,
    make_inputs,
    open_model,
    parse_baseline,
    train_assignment,
    write_network,
)
from jettagger.assignment.model_outputs import AssignmentModel
from jettagger.assignment.purity import match_events
from jettagger.plots import save_figure

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples" / "assignment"
NUMBERS, PAGE = ROOT / "docs" / "measured_assignment_networks.json", ROOT / "docs" / "assignment.md"
PICTURE = ROOT / "docs" / "assignment_networks.png"
PLACE = re.compile(r"(<!-- networks (?P<name>\w+) -->\n).*?(<!-- end of networks -->)", flags=re.DOTALL)

#: what both networks have in common; the others are the defaults of SPANet
OPTIONS: dict[str, Any] = {
    "hidden_dim": 48,
    "initial_embedding_dim": 16,
    "position_embedding_dim": 16,
    "num_encoder_layers": 3,
    "num_branch_embedding_layers": 2,
    "num_branch_encoder_layers": 1,
    "num_jet_embedding_layers": 0,
    "num_jet_encoder_layers": 1,
    "partial_events": True,
    "balance_particles": True,
    "train_validation_split": 0.9,
    "batch_size": 512,
    "learning_rate": 2e-3,
    "learning_rate_cycles": 1,
    "l2_penalty": 2e-4,
    "gradient_clip": 1.0,
}

#: options of each example
EXTRA: dict[str, dict[str, Any]] = {
    "tthad": {},
    "ttH": {
        "balance_classifications": True,
        "classification_loss_scale": 1.0,
        "regression_loss_scale": 0.3,
        "detection_loss_scale": 0.2,
    },
}

#: training events -> epochs
EPOCHS = {5_000: 100, 20_000: 60, 60_000: 40}

_PAIRS = ("ln_delta_r", "ln_kt", "ln_z", "ln_mass")

#: networks -> options that SPANet does not have
VARIANTS: dict[str, dict[str, Any]] = {
    "": {},
    "pair features": {"pair_features": _PAIRS},
    "pair and mass features": {"pair_features": _PAIRS, "mass_features": True},
    "rotated events": {"augmentation": True},
    "pair and mass features, rotated events": {"pair_features": _PAIRS, "mass_features": True, "augmentation": True},
}

#: example -> smallest number of jets, and the number from which on events are one row
ROWS = {"tthad": (6, 8), "ttH": (6, 8)}

#: columns of the Higgs boson in the results, and their formats
_FORMS = (("right", ".3f"), ("median", ".1f"), ("half_width", ".1f"))

#: networks with fewer training events, if there are others, are in the learning curves alone
SHOWN = 60_000

#: smallest number of test events of a class of which an area under the curve is given
FEWEST = 500

#: events of a batch of the evaluation
STEP = 1_000


# ------------------------------------------------------------------------------------------------------------ baseline


def mass_of(events: AssignmentEvents, event: EventDescription, slots: Any) -> Any:
    """Mass of the sum of jets in GeV, float64[events], NaN where one is missing."""
    names = event.input("Jets").feature_names
    values = {name: events.values["Jets"][..., place].astype(np.float64) for place, name in enumerate(names)}
    taken = {name: np.take_along_axis(value, np.maximum(slots, 0), axis=1) for name, value in values.items()}
    pt, eta, mass = taken["pt"], taken["eta"], taken["mass"]
    x, y, z = pt * taken["cos_phi"], pt * taken["sin_phi"], pt * np.sinh(eta)
    energy = np.sqrt(x**2 + y**2 + z**2 + mass**2)
    square = energy.sum(1) ** 2 - x.sum(1) ** 2 - y.sum(1) ** 2 - z.sum(1) ** 2
    return np.where((slots >= 0).all(axis=1), np.sqrt(np.maximum(square, 0)), np.nan)


def half_width(values: Any) -> float:
    """Half of the central 68.3 % interval."""
    low, high = np.quantile(values, [0.1587, 0.8413])
    return float(high - low) / 2


def measured_terms(events: AssignmentEvents, event: EventDescription) -> list[MassTerm]:
    """Terms with the median and the half width of the masses of rightly matched jets of training events."""
    terms: list[MassTerm] = []
    for particle in event.particles:
        names = particle.daughter_names
        if len(names) == 1:
            wanted: list[tuple[str, ...]] = []
        elif len(names) == 2:
            wanted = [names]
        else:
            wanted = [("q1", "q2"), ("q1", "q2", "b")]
        mask = events.target_masks[particle.name]
        for daughters in wanted:
            places = [names.index(name) for name in daughters]
            slots = np.where(mask[:, None], events.targets[particle.name][:, places], -1)
            masses = mass_of(events, event, slots)[mask]
            terms.append(MassTerm(particle.name, daughters, float(np.median(masses)), half_width(masses)))
    return terms


def baseline(event: EventDescription) -> ChiSquareBaseline:
    """Terms with the default masses, and b tags, of all particles with more than one daughter."""
    kinds = {2: "higgs", 3: "top"}
    texts = [f"{item.name}={kinds[len(item.daughters)]}" for item in event.particles if len(item.daughters) > 1]
    return parse_baseline(event, texts, "btag > 0.5")


def smallest(events: AssignmentEvents, event: EventDescription, method: ChiSquareBaseline) -> dict[str, Any]:
    """Assignments with the smallest chi-square of particles with more than one daughter.

    A leptonic top has the tagged jet of largest pt that is left, or else the jet.
    """
    made: dict[str, Any] = method.assign(events)
    for particle in event.particles:
        if particle.name not in made:
            made[particle.name] = leftover(events, event, made)
    return made


def leftover(events: AssignmentEvents, event: EventDescription, taken: Mapping[str, Any]) -> Any:
    """The jet of largest pt that no particle has, one with a tag first; int64[events, 1]."""
    names = event.input("Jets").feature_names
    rank = events.values["Jets"][..., names.index("pt")] + 1e6 * (events.values["Jets"][..., names.index("btag")] > 0.5)
    rank = np.where(events.masks["Jets"], rank, -1.0)
    for slots in taken.values():
        for column in slots.T:
            rows = np.flatnonzero(column >= 0)
            rank[rows, column[rows]] = -1.0
    chosen = rank.argmax(axis=1)
    return np.where(rank.max(axis=1) > 0, chosen, -1)[:, None]


# ------------------------------------------------------------------------------------------------------------- networks


def prepared(path: Path, files: Mapping[str, list[str]], example: str) -> AssignmentDataset:
    """The data set of files; made if it is not there."""
    event = EXAMPLES / example / "event.yaml"
    if not path.exists():
        counts = make_inputs(files, path, InputMaker(event, EXAMPLES / example / "inputs.yaml"))
        print(f"{path.name}: {counts.events} events read")
    return AssignmentDataset(path, event)


def stem(example: str, size: int, variant: str, seed: int) -> str:
    """Name of the files of a training."""
    return f"{example}_{size}_{variant.replace(',', '').replace(' ', '_') or 'plain'}_{seed}"


def trained(args: argparse.Namespace, data: AssignmentDataset, size: int, variant: str) -> dict[str, Any]:
    """Network file and cost of a training; trained if it is not there."""
    folder, example, seed = args.folder, args.example, args.seed
    name = stem(example, size, variant, seed)
    path, record = folder / f"{name}.pt", folder / f"{name}.json"
    if not record.exists():
        limit = size / OPTIONS["train_validation_split"] / data.n_events
        if limit > 1:
            raise SystemExit(f"{data.path} has {data.n_events} events: too few for a training with {size}")
        options = AssignmentOptions(
            **OPTIONS,
            **EXTRA[example],
            dataset_limit=limit,
            epochs=args.epochs or EPOCHS.get(size, EPOCHS[60_000]),
            jettagger=VARIANTS[variant],
        )
        begin, wall = time.process_time(), time.monotonic()
        made = train_assignment(
            options,
            data,
            seed=seed,
            device=args.device,
            checkpoint=folder / f"{name}.checkpoint",
            follow=lambda epoch: print(
                name, epoch.number, f"{epoch.train:.4f} {epoch.validation:.4f}", epoch.metric, flush=True
            ),
        )
        write_network(path, made.network, force=True)
        number = sum(value.numel() for value in made.network.parameters())
        cost = {"cpu_seconds": time.process_time() - begin, "seconds": time.monotonic() - wall}
        facts = {
            "training_events": made.training_events, "parameters": number, "epochs": len(made.history),
            "device": args.device, **cost,
        }  # fmt: skip
        record.write_text(json.dumps(facts, indent=1), encoding="utf-8")
    return {"path": path, **json.loads(record.read_text(encoding="utf-8"))}


def outputs_of(model: AssignmentModel, events: AssignmentEvents) -> tuple[dict[str, Any], float]:
    """Assignments (``greedy:``, ``best:``), regressions (``r:``), classes (``c:``) of events, and seconds of CPU.

    The time is that of the network with greedy decoding.
    """
    made: dict[str, list[Any]] = {}
    seconds = 0.0
    for start in range(0, events.n_events, STEP):
        block = events.take(slice(start, start + STEP))
        begin = time.process_time()
        out = model.outputs(block)
        chosen = decode(out.log_probabilities, model.event).assignments
        seconds += time.process_time() - begin
        best = decode(out.log_probabilities, model.event, method="best").assignments
        groups = {"greedy": chosen, "best": best, "r": out.regressions, "c": out.classes}
        for kind, group in groups.items():
            for name, value in group.items():
                made.setdefault(f"{kind}:{name}", []).append(value)
    return {name: np.concatenate(values) for name, values in made.items()}, seconds


def part_of(outputs: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Outputs of a kind, by name."""
    return {name.partition(":")[2]: value for name, value in outputs.items() if name.partition(":")[0] == kind}


def evaluated(path: Path, test: AssignmentEvents) -> tuple[dict[str, Any], dict[str, float]]:
    """Outputs of a network for the test events, and milliseconds of CPU of an event; kept beside the network."""
    kept, timed = path.with_suffix(".npz"), path.with_suffix(".times.json")
    if not timed.exists():
        made, seconds = outputs_of(open_model(path, threads=1), test)
        *_, other = outputs_of(open_model(load_assigner(path, threads=1)), test)
        np.savez_compressed(kept, **made)
        times = {"ms_per_event": 1e3 * seconds / test.n_events, "onnx_ms_per_event": 1e3 * other / test.n_events}
        timed.write_text(json.dumps(times), encoding="utf-8")
    with np.load(kept) as archive:
        return dict(archive), json.loads(timed.read_text(encoding="utf-8"))


# -------------------------------------------------------------------------------------------------------- ttH and ttbb


def lepton_of(events: AssignmentEvents, event: EventDescription) -> Any:
    """Four-momentum (E, px, py, pz) of the lepton of largest pt in GeV, float64[events, 4], NaN without any."""
    momenta = []
    for name in ("Electron", "Muon"):
        names = event.input(name).feature_names
        pt, eta, sine, cosine = (
            events.values[name][:, 0, names.index(feature)].astype(np.float64)
            for feature in ("pt", "eta", "sin_phi", "cos_phi")
        )
        pt = np.where(events.masks[name][:, 0], pt, np.nan)
        momenta.append(np.stack([pt * np.cosh(eta), pt * cosine, pt * sine, pt * np.sinh(eta)], axis=1))
    transverse = [np.nan_to_num(np.hypot(one[:, 1], one[:, 2]), nan=-1.0) for one in momenta]
    return np.where((transverse[0] >= transverse[1])[:, None], momenta[0], momenta[1])


def missing_of(events: AssignmentEvents, event: EventDescription) -> tuple[Any, Any]:
    """Components of the missing transverse momentum, GeV."""
    names = event.input("Met").feature_names
    met, sine, cosine = (
        events.values["Met"][:, 0, names.index(feature)].astype(np.float64) for feature in ("met", "sin_phi", "cos_phi")
    )
    return met * cosine, met * sine


def neutrino_solution(lepton: Any, x: Any, y: Any, mass: float = 80.4) -> Any:
    """pz of the neutrino from the mass of the W boson: the smaller of two solutions, the real part of complex ones."""
    energy, px, py, pz = lepton.T
    across = energy**2 - pz**2
    scale = mass**2 / 2 + px * x + py * y
    root = np.sqrt(np.maximum(scale**2 - across * (x**2 + y**2), 0)) * energy
    both = np.stack([(scale * pz + root) / across, (scale * pz - root) / across])
    return np.take_along_axis(both, np.abs(both).argmin(axis=0)[None], axis=0)[0]


def bootstrapped(function: Any, *values: Any, number: int = 200) -> tuple[float, float]:
    """A number of events, and its standard deviation over bootstrap samples."""
    random = np.random.default_rng(0)
    size = len(values[0])
    picks = (random.integers(0, size, size) for _ in range(number))
    spread = [function(*(value[rows] for value in values)) for rows in picks]
    return float(function(*values)), float(np.std(spread))


def neutrinos(events: AssignmentEvents, event: EventDescription, found: Mapping[str, Any]) -> dict[str, Any]:
    """Half widths of estimated minus true components of the neutrino, GeV."""
    lepton = lepton_of(events, event)
    x, y = missing_of(events, event)
    rough = {"px": x, "py": y, "pz": neutrino_solution(lepton, x, y)}
    truth = {name: events.regressions[f"EVENT/neutrino_{name}"].astype(np.float64) for name in rough}
    usable = np.all([np.isfinite(value) for value in (*rough.values(), *truth.values())], axis=0)
    made: dict[str, Any] = {"events": int(usable.sum())}
    for name, value in rough.items():
        for method, estimate in (("W mass", value), ("network", found[f"EVENT/neutrino_{name}"])):
            made[f"{name}, {method}"] = bootstrapped(half_width, (estimate - truth[name])[usable])
    return made


def higgs_peak(events: AssignmentEvents, event: EventDescription, methods: Mapping[str, Any]) -> dict[str, Any]:
    """Share of right pairs of H -> bb, median and half width of the mass of the assigned pair, GeV."""
    matched = events.target_masks["h"]
    made = {}
    for name, chosen in methods.items():
        pairs = np.sort(chosen["h"], axis=1)
        right = (pairs == np.sort(events.targets["h"], axis=1)).all(axis=1)
        masses = mass_of(events, event, chosen["h"])
        masses = masses[matched & np.isfinite(masses)]
        made[name] = {
            "right": share(right[matched]),
            "median": bootstrapped(np.median, masses),
            "half_width": bootstrapped(half_width, masses),
        }
    return made


def event_variables(events: AssignmentEvents, event: EventDescription, method: ChiSquareBaseline) -> Any:
    """What a boosted tree sees: multiplicities, sums, masses and distances of jets with b tags, chi-square masses."""
    names = event.input("Jets").feature_names
    mask = events.masks["Jets"]
    values = {name: events.values["Jets"][..., place].astype(np.float64) for place, name in enumerate(names)}
    tagged = mask & (values["btag"] > 0.5)
    pt = np.where(mask, values["pt"], 0.0)
    phi = np.arctan2(values["sin_phi"], values["cos_phi"])
    columns = [mask.sum(1), tagged.sum(1), pt.sum(1), *(pt[:, place] for place in range(min(6, pt.shape[1])))]
    columns += [np.hypot(*missing_of(events, event)), np.hypot(*lepton_of(events, event).T[1:3])]
    first, second = np.triu_indices(mask.shape[1], 1)
    pairs = tagged[:, first] & tagged[:, second]
    delta = np.abs(phi[:, first] - phi[:, second])
    distance = np.hypot(values["eta"][:, first] - values["eta"][:, second], np.minimum(delta, 2 * np.pi - delta))
    mass = np.stack(
        [mass_of(events, event, np.tile(both, (len(mask), 1))) for both in zip(first, second, strict=True)], 1
    )
    nearest = np.where(pairs, distance, np.inf).argmin(axis=1)[:, None]
    higgs = np.where(pairs, np.abs(mass - 113.0), np.inf).argmin(axis=1)[:, None]
    some = pairs.any(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        columns.append(np.where(pairs, distance, 0).sum(1) / pairs.sum(1))
        columns.append(np.where(pairs, mass, 0).sum(1) / pairs.sum(1))
    for place in (nearest, higgs):
        columns += [np.where(some, np.take_along_axis(one, place, 1)[:, 0], np.nan) for one in (distance, mass)]
    chosen = smallest(events, event, method)
    columns += [mass_of(events, event, chosen[name]) for name in ("h", "ht")]
    return np.stack(columns, axis=1)


def separation(
    training: AssignmentEvents, test: AssignmentEvents, event: EventDescription, method: ChiSquareBaseline, scores: Any
) -> dict[str, Any]:
    """Area under the curve of ttH against ttbb, of a boosted tree and of the class of the network."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score

    labels = [events.classifications["EVENT/signal"] for events in (training, test)]
    tree = HistGradientBoostingClassifier(
        max_iter=400, learning_rate=0.05, early_stopping=True, class_weight="balanced", random_state=0
    )
    tree.fit(event_variables(training, event, method), labels[0])
    other = tree.predict_proba(event_variables(test, event, method))[:, 1]
    return {
        "events": [int((labels[1] == value).sum()) for value in (1, 0)],
        "training_events": [int((labels[0] == value).sum()) for value in (1, 0)],
        "boosted tree": bootstrapped(roc_auc_score, labels[1], other),
        "network": bootstrapped(roc_auc_score, labels[1], scores),
        "difference": bootstrapped(
            lambda truth, one, two: roc_auc_score(truth, one) - roc_auc_score(truth, two), labels[1], scores, other
        ),
    }


# --------------------------------------------------------------------------------------------------------------- tables


def share(right: Any) -> tuple[float, float, int]:
    """A fraction, its binomial uncertainty, and the number of events."""
    number = len(right)
    value = float(np.mean(right)) if number else float("nan")
    return value, float(np.sqrt(value * (1 - value) / number)) if number else float("nan"), number


def right_by_jets(events: AssignmentEvents, event: EventDescription, made: Mapping[str, Any], example: str) -> Any:
    """Whether each fully matched event is right, by number of jets."""
    low, high = ROWS[example]
    jets = np.clip(events.masks["Jets"].sum(axis=1), None, high)
    whole = np.all(list(events.target_masks.values()), axis=0)
    matched = match_events(made, events.targets, events.target_masks, event)
    return {number: matched.right[whole & (jets == number)] for number in range(low, high + 1)}


def gain(right: Any, base: Any) -> tuple[float, float]:
    """Ratio of two shares of the same events, and its uncertainty by 1,000 bootstrap samples."""
    if not base.any():
        return float("nan"), float("nan")
    random = np.random.default_rng(0)
    rows = random.integers(0, len(right), (1_000, len(right)))
    ratios = right[rows].mean(axis=1) / np.maximum(base[rows].mean(axis=1), 1e-9)
    return float(right.mean() / base.mean()), float(ratios.std())


def assignments_of(args: argparse.Namespace, train: AssignmentDataset, test: AssignmentEvents) -> dict[str, Any]:
    """Shares of right events of all methods, by number of jets."""
    event = train.event
    sample = train.read(0, min(train.n_events, 20_000))
    terms = measured_terms(sample, event)
    nominal = baseline(event)
    measured = replace(nominal, terms=tuple(terms))
    base = smallest(test, event, measured)
    methods: dict[str, Any] = {
        "chi-square, nominal masses": smallest(test, event, nominal),
        "chi-square": base,
    }
    costs: dict[str, Any] = {}
    more: dict[str, Any] = {}
    for size in args.sizes:
        for variant in args.variants:
            record = args.folder / f"{stem(args.example, size, variant, args.seed)}.json"
            if args.no_training and not record.exists():
                continue
            made = trained(args, train, size, variant)
            path = made.pop("path")
            name = f"network, {made['training_events']:,} events{', ' if variant else ''}{variant}"
            outputs, times = evaluated(path, test)
            methods[name], methods[f"{name}, greedy"] = part_of(outputs, "best"), part_of(outputs, "greedy")
            costs[name] = {**made, **times}
            print(name, costs[name], flush=True)
            if args.example == "ttH":  # the last one stays
                sample = train.read(0, made["training_events"])
                more = {"network": name, "neutrino": neutrinos(test, event, part_of(outputs, "r"))}
                if np.bincount(test.classifications["EVENT/signal"]).min() >= FEWEST:
                    scores = part_of(outputs, "c")["EVENT/signal"][:, 1]
                    more["separation"] = separation(sample, test, event, measured, scores)
    if args.example == "ttH":
        more["higgs"] = higgs_peak(test, event, methods)
    standard = right_by_jets(test, event, base, args.example)
    if args.example == "tthad":
        more["tree"] = tree_of(args.folder / "tree.json", train, test, standard[SIX])
    rows = {}
    for name, chosen in methods.items():
        right = right_by_jets(test, event, chosen, args.example)
        rows[name] = {
            str(number): {"right": share(values), "ratio": gain(values, standard[number])}
            for number, values in right.items()
        }
    return {
        "test_events": test.n_events,
        "terms": [[term.particle, list(term.daughters), term.mass, term.width] for term in terms],
        "rows": rows,
        "costs": costs,
        **more,
    }


def tree_of(path: Path, train: AssignmentDataset, test: AssignmentEvents, base: Any) -> dict[str, Any]:
    """Events with six jets that a boosted tree on whole assignments has right; kept in a file."""
    if not path.exists():
        right, number = tree_on_six_jets(six_jets(train.read()), six_jets(test), train.event)
        made = {"training_events": number, "right": share(right), "ratio": gain(right, base)}
        path.write_text(json.dumps(made), encoding="utf-8")
    return dict(json.loads(path.read_text(encoding="utf-8")))


def table_of(result: dict[str, Any], example: str) -> str:
    """The shares as tables of the page: those of the largest trainings, then those of all numbers of events."""
    numbers = list(next(iter(result["rows"].values())))
    heads = [f"{_bin(number, example)} ({result['rows']['chi-square'][number]['right'][2]})" for number in numbers]
    lines = [f"| | {' | '.join(heads)} |", f"|---|{'---|' * len(heads)}"]
    largest = max((cost["training_events"] for cost in result["costs"].values()), default=0)
    for name, row in result["rows"].items():
        cost = result["costs"].get(name.removesuffix(", greedy"))
        if cost is not None and cost["training_events"] < min(SHOWN, largest):
            continue
        cells = ["{:.3f} ± {:.3f}".format(*row[number]["right"][:2]) for number in numbers]
        if cost is not None:
            cells = [
                f"{cell} (× {row[n]['ratio'][0]:.2f} ± {row[n]['ratio'][1]:.2f})"
                for cell, n in zip(cells, numbers, strict=True)
            ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    if "tree" in result:
        tree = result["tree"]
        cell = "{:.3f} ± {:.3f} (× {:.2f} ± {:.2f})".format(*tree["right"][:2], *tree["ratio"])
        name = f"boosted tree on whole assignments, {tree['training_events']:,} events with six jets"
        lines.append(f"| {name} | {cell} |{' |' * (len(numbers) - 1)}")
    curves = curves_of(result)
    sizes = sorted({size for points in curves.values() for size in points})
    if len(sizes) > 1:
        lines += ["", f"| right with {', '.join(_bin(number, example) for number in numbers)}, after training with | "
                  f"{' | '.join(f'{size:,} events' for size in sizes)} |", f"|---|{'---|' * len(sizes)}"]  # fmt: skip
        for variant, points in curves.items():
            cells = [
                ", ".join(f"{points[size][number][0]:.3f}" for number in numbers) if size in points else ""
                for size in sizes
            ]
            lines.append(f"| {variant} | {' | '.join(cells)} |")
    if "higgs" in result:
        lines += ["", more_of(result)]
    return "\n".join(lines)


def _bin(number: str, example: str) -> str:
    return f"{number} jets{' and more' if int(number) == ROWS[example][1] else ''}"


def curves_of(result: dict[str, Any]) -> dict[str, dict[int, dict[str, list[float]]]]:
    """Options -> training events -> jets -> share of right events, its uncertainty, and the number of events."""
    made: dict[str, dict[int, dict[str, list[float]]]] = {}
    for name, cost in result["costs"].items():
        variant = name.partition(" events")[2].removeprefix(", ") or "as SPANet"
        row = {number: value["right"] for number, value in result["rows"][name].items()}
        made.setdefault(variant, {})[cost["training_events"]] = row
    return {variant: dict(sorted(points.items())) for variant, points in made.items()}


def picture_of(results: Mapping[str, dict[str, Any]]) -> Any:
    """Learning curves of examples with several trainings: right events by training events, beside the chi-square."""
    from matplotlib.ticker import NullFormatter

    from jettagger.plots.style import LINES, canvas, drawing

    results = {
        example: result
        for example, result in results.items()
        if any(len(points) > 1 for points in curves_of(result).values())
    }

    with drawing():
        figure, panels = canvas(len(results), 3, figsize=(11.5, 3.6 * len(results)))
        for axes_of_row, (example, result) in zip(panels, results.items(), strict=True):
            for axes, (number, base) in zip(axes_of_row, result["rows"]["chi-square"].items(), strict=True):
                value, error, _ = base["right"]
                axes.axhspan(value - error, value + error, color="0.85", label="chi-square", linewidth=0)
                for place, (variant, points) in enumerate(curves_of(result).items()):
                    colour, style = LINES[place % len(LINES)]
                    sizes = list(points)
                    shares = [points[size][number] for size in sizes]
                    axes.errorbar(
                        sizes, [share[0] for share in shares], [share[1] for share in shares],
                        color=colour, linestyle=style, marker="o", markersize=3, label=variant,
                    )  # fmt: skip
                axes.set_xscale("log")
                axes.xaxis.set_minor_formatter(NullFormatter())
                axes.set_ylim(0, None)
                axes.set_title(f"{example}, {_bin(number, example)}", fontsize=10)
                axes.set_xlabel("training events")
            axes_of_row[0].set_ylabel("right events")
        panels[0][2].legend(fontsize=7, loc="center right", bbox_to_anchor=(1, 0.35))
    return figure


def more_of(result: dict[str, Any]) -> str:
    """Higgs boson, ttbb and the neutrino as tables of the page."""
    lines = ["| | right pairs of H → bb | median mass (GeV) | half width (GeV) |", "|---|---|---|---|"]
    for name, row in result["higgs"].items():
        right, median, width = ("{:{form}} ± {:{form}}".format(*row[key][:2], form=form) for key, form in _FORMS)
        lines.append(f"| {name} | {right} | {median} | {width} |")
    if "separation" in result:
        cut = result["separation"]
        lines += ["", "| | area under the curve, ttH and ttbb |", "|---|---|"]
        lines += [
            f"| {name} | {cut[name][0]:.3f} ± {cut[name][1]:.3f} |"
            for name in ("boosted tree", "network", "difference")
        ]
    lines += ["", "| neutrino, half width (GeV) | px | py | pz |", "|---|---|---|---|"]
    for method in ("W mass", "network"):
        cells = ["{:.1f} ± {:.1f}".format(*result["neutrino"][f"{part}, {method}"]) for part in ("px", "py", "pz")]
        lines.append(f"| {'MET and W mass' if method == 'W mass' else method} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("example", choices=sorted(ROWS))
    parser.add_argument("folder", type=Path, help="folder of data sets and networks")
    parser.add_argument("--training", nargs="+", required=True, metavar="[NAME=]FILE")
    parser.add_argument("--test", nargs="+", required=True, metavar="[NAME=]FILE")
    parser.add_argument("--sizes", nargs="+", type=int, default=sorted(EPOCHS), metavar="EVENTS")
    parser.add_argument("--epochs", type=int, help=f"of all trainings (default: {EPOCHS})")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="NAME")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cpu", help="of trainings: cpu, cuda (default: cpu)")
    parser.add_argument("--no-training", action="store_true", help="sum up the networks that are there")
    parser.add_argument("--write", action="store_true", help="store numbers and tables in docs")
    args = parser.parse_args(arguments)
    args.folder.mkdir(parents=True, exist_ok=True)
    train = prepared(args.folder / f"{args.example}_training.h5", named(args.training), args.example)
    test = prepared(args.folder / f"{args.example}_test.h5", named(args.test), args.example).read()
    print(f"{train.n_events} events for trainings, {test.n_events} for tests", flush=True)
    result = assignments_of(args, train, test)
    print(table_of(result, args.example))
    if args.write:
        results = json.loads(NUMBERS.read_text(encoding="utf-8")) if NUMBERS.exists() else {}
        results[args.example] = result
        NUMBERS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        text = PAGE.read_text(encoding="utf-8")

        def replaced(match: re.Match[str]) -> str:
            name = match["name"]
            return f"{match[1]}{table_of(results[name], name)}\n{match[3]}" if name in results else match[0]

        PAGE.write_text(PLACE.sub(replaced, text), encoding="utf-8")
        save_figure(picture_of(results), PICTURE)


def named(texts: list[str]) -> dict[str, list[str]]:
    """Data set -> its files."""
    files: dict[str, list[str]] = {}
    for text in texts:
        name, _, path = text.rpartition("=")
        files.setdefault(name, []).append(path)
    return files


if __name__ == "__main__":
    main()
