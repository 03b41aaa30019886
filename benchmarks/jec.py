"""Jets calibrated by a Deep Set against a standard correction and a boosted tree: the study of docs/jec.md.

    python -m benchmarks.jec run WORK                 # all steps that are not done yet; hours of CPU time
    python -m benchmarks.jec run WORK --quick         # all steps with a few jets
    python -m benchmarks.jec run WORK --steps compare higgs
    python -m benchmarks.jec page WORK docs           # measured_jec.json, jec.png and the tables of jec.md

``samples`` simulates multijets (with other seeds for the test), ``sets`` makes shards of their jets, ``networks``
trains, and the other steps compare. The training set is flat in the true pt below 100 GeV: with any other spectrum, the
median response in bins of the true pt is not one, since resolution and spectrum depend on pt. The standard correction
and the tree are derived from the same jets; test jets are as they were generated and count once. A step whose output is
there is not repeated.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.jec_page import FLAVOURS, NETWORK, RAW, STANDARD, TREE, draw, filled
from jettagger.config.yamlfile import yaml_text
from jettagger.files import complete_or_absent
from jettagger.jec import derive_standard, jet_estimates, measure_estimates
from jettagger.jec.estimates import flavour_of
from jettagger.jec.shards import jets_of_files, open_data

#: bins of the true pt in GeV and of its |eta|
PT_EDGES = (20.0, 30.0, 50.0, 100.0, 200.0, 500.0, 1500.0)
ETA_EDGES = (0.0, 1.3, 2.5, 5.0)
#: true pt in GeV below which the training set is flat in pt
FLAT_BELOW = 100.0


@dataclass(frozen=True)
class Sample:
    """Simulated events.

    Parameters
    ----------
    files : dict of int to int
        Seed -> number of events.
    process, card : str
    pileup : float
    """

    files: Mapping[int, int]
    process: str = "QCD"
    card: str = "default"
    pileup: float = 30.0


SAMPLES: Mapping[str, Sample] = {
    "train": Sample(dict.fromkeys(range(101, 107), 8000)),
    "test": Sample({201: 8000, 202: 6400}),
    "pileup10": Sample({701: 3200}, pileup=10.0),
    "pileup50": Sample({801: 3200}, pileup=50.0),
    "alternative": Sample({601: 3200}, card="alternative"),
    "noncompensating": Sample({301: 8000, 302: 8000}, card="noncompensating", pileup=0.0),
    "noncompensating-test": Sample({401: 4800}, card="noncompensating", pileup=0.0),
    "higgs": Sample({501: 3200}, process="ttHbb-resolved"),
}

#: training -> (sample, true pt)
TRAININGS: Mapping[str, tuple[str, str]] = {
    "network": ("train", "pt"),
    "neutrinos": ("train", "ptNu"),
    "noncompensating": ("noncompensating", "pt"),
}

#: sample -> the training whose estimates are compared on it
COMPARED: Mapping[str, str] = {
    "test": "network",
    "pileup10": "network",
    "pileup50": "network",
    "alternative": "network",
    "noncompensating-test": "noncompensating",
}

FEATURES: Mapping[str, Any] = {
    "global": {"numerical": ["pt", "eta", "mass", "area", "num_pv", "rho"]},
    "ch": {
        "numerical": [
            *("ch_rel_pt", "ch_pt", "ch_deta", "ch_dphi", "ch_dr", "ch_dxy", "ch_dxy_significance", "ch_dz"),
            *("ch_norm_chi2", "ch_lost_hits"),
        ],
        "categorical": ["ch_id", "ch_pv_ass"],
    },
    "ne": {
        "numerical": ["ne_rel_pt", "ne_pt", "ne_eta", "ne_deta", "ne_dphi", "ne_dr", "ne_puppi_weight"],
        "categorical": ["ne_id"],
    },
    "sv": {"numerical": ["sv_mass", "sv_pt", "sv_distance", "sv_significance", "sv_num_tracks"]},
}

#: what is read for the standard correction, the tree and the comparison
COLUMNS = (
    *("pt", "eta", "mass", "area", "num_pv", "rho"),
    *("pt_gen", "eta_gen", "hadron_flavor", "parton_flavor", "event", "weight"),
)


@dataclass(frozen=True)
class Study:
    """A folder with all parts of the study.

    Parameters
    ----------
    folder : pathlib.Path
    quick : bool
        Few jets and one short training.
    workers : int
        Processes of the simulation.
    """

    folder: Path
    quick: bool = False
    workers: int = 1

    def events(self, sample: str) -> list[Path]:
        """The files of a sample."""
        seeds = list(SAMPLES[sample].files)[: 1 if self.quick else None]
        return [self.folder / "samples" / f"{sample}-{seed}.root" for seed in seeds]

    def jets(self, sample: str, target: str = "pt") -> Path:
        """The shards of a sample."""
        return self.folder / "jets" / (sample if target == "pt" else f"{sample}-{target}")

    def trained(self, name: str) -> Path:
        """The output of a training."""
        return self.folder / "networks" / name

    def result(self, name: str) -> Path:
        """The numbers of a step."""
        return self.folder / "results" / f"{name}.json"


def samples(study: Study) -> None:
    """Simulate what is not there."""
    from jettagger.simulation import simulate

    (study.folder / "samples").mkdir(parents=True, exist_ok=True)
    for name, sample in SAMPLES.items():
        for path, (seed, number) in zip(study.events(name), sample.files.items(), strict=False):
            if not path.is_file():
                events = max(80, number // 80) if study.quick else number
                keys: dict[str, Any] = {"pt": (30.0, 1500.0)} if sample.process == "QCD" else {}
                keys |= {"card": sample.card, "pileup": sample.pileup, "workers": study.workers}
                simulate(sample.process, events, path, seed=seed, **keys)
                print(f"{path}: {events} events", flush=True)


def sets(study: Study) -> None:
    """Make shards: down-sampled for trainings, all jets for tests."""
    from jettagger.jec import Sampling, ShardMaker, make_training_set

    shape = Sampling(keep=0.7, flat_below=FLAT_BELOW, rise=1.0, power=0.5, shares=None)
    size = 25 if study.quick else 2000
    made = [(sample, target, shape) for sample, target in dict.fromkeys(TRAININGS.values())]
    for sample, target, sampling in [*made, *((name, "pt", None) for name in COMPARED)]:
        folder = study.jets(sample, target)
        folder.parent.mkdir(parents=True, exist_ok=True)
        if not (folder / "data.yaml").is_file():
            counts = make_training_set(
                study.events(sample), folder, ShardMaker(target=target), sampling, events_per_shard=size, force=True
            )
            print(f"{folder}: {counts}", flush=True)


def configuration(study: Study, name: str) -> dict[str, Any]:
    """The configuration of a training; that with neutrinos starts from the network without."""
    sample, target = TRAININGS[name]
    location = study.jets(sample, target)
    data = open_data(location)
    files = len(data.files)
    held, size = max(1, files // 12), 256
    again = name == "neutrinos"
    steps = max(1, sum(file.count or 0 for file in data.files[: files - held]) // size)
    # as many updates for small sets, as far as they do not repeat too often
    epochs = 2 if study.quick else 6 if again else min(max(30, 15_000 // steps), 60)
    middle = max(2, epochs * 2 // 3)
    rates = [5e-4, 2e-3, 3e-4, 1e-6]
    schedule = {"epochs": [0, 1, middle, max(middle + 1, epochs - 1)], "learning_rate": rates}
    layers = {"type": "mlp", "num_units": [64, 64, 64]}
    return {
        "data": {"location": str(location.resolve()), "split": [-1, held, 0], "batch_size": size},
        "features": dict(FEATURES),
        "model": str(study.trained("network").resolve())
        if again
        else {
            "ch": {**layers, "embeddings": {"ch_id": 2, "ch_pv_ass": 2}},
            "ne": {**layers, "embeddings": {"ne_id": 1}},
            "sv": {"type": "mlp", "num_units": [16, 16]},
            "head": {**layers, "batch_norm": True},
        },
        "loss": {"type": "quantiles", "quantiles": [0.16, 0.5, 0.84]},
        "train": {
            "steps_per_epoch": steps,
            "threads": 1,
            "piecewise_linear_schedule": schedule,
        },
        "predict": False,
    }


def transforms(study: Study, name: str) -> None:
    """Write ``transform.yaml`` of a training set: that of the original, and scales for constructed features."""
    from jettagger.jec import Transforms, read_config, write_transform
    from jettagger.jec.building import build_transforms
    from jettagger.jec.transforms import TransformStep

    sample, target = TRAININGS[name]
    location = study.jets(sample, target)
    if name == "neutrinos":  # that of the network from which it starts
        shutil.copy(study.jets(*TRAININGS["network"]) / "transform.yaml", location)
        return
    config = read_config(yaml_text(configuration(study, name)), name=name)
    built = build_transforms(open_data(location).files, config, jets=50_000).transforms
    numerical = dict(built.numerical)
    for block in ("ch", "ne"):
        numerical[f"{block}_rel_pt"] = (TransformStep("arcsinh", scale=0.003), TransformStep("linear", scale=6.0))
        for quantity in ("deta", "dphi", "dr"):
            numerical[f"{block}_{quantity}"] = (TransformStep("linear", scale=0.4),)
    write_transform(location / "transform.yaml", Transforms(numerical, built.categorical), force=True)


def networks(study: Study) -> None:
    """Train what is not there."""
    from jettagger.jec.training import train

    for name in TRAININGS:
        output = study.trained(name)
        if (output / "weights.npz").is_file():
            continue
        output.parent.mkdir(parents=True, exist_ok=True)
        transforms(study, name)
        path = output.with_suffix(".yaml")
        path.write_text(yaml_text(configuration(study, name)), encoding="utf-8")
        start = time.process_time()

        def tell(epoch: Any, start: float = start, name: str = name) -> None:
            print(f"{name}: {epoch}, {time.process_time() - start:.0f} s of CPU", flush=True)

        train(path, output, force=True, plots=False, resume=True, follow=tell)
        seconds = time.process_time() - start
        with complete_or_absent(study.result(f"training-{name}")) as part:
            part.write_text(json.dumps({"cpu_seconds": seconds}))


# ------------------------------------------------------------------------------------------------------- comparison


def columns(location: Path, names: Sequence[str] = COLUMNS) -> dict[str, Any]:
    """Branches of all jets of a location."""
    pieces = [raw.columns for _, _, raw in jets_of_files(open_data(location).files, {"global": list(names)})]
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in names}


def tree_inputs(jets: Mapping[str, Any]) -> Any:
    """Inputs of the boosted tree, float64[jets, inputs]: those of the jet and the event."""
    kinematics = [np.log(jets["pt"]), jets["eta"], np.abs(jets["eta"]), jets["mass"] / jets["pt"]]
    return np.stack([*kinematics, jets["area"], jets["num_pv"], jets["rho"]], axis=1)


def boosted_tree(jets: Mapping[str, Any], seed: int = 1) -> Callable[[Mapping[str, Any]], Any]:
    """A boosted regression of the median of ln(pt_gen / pt); gives the corrected pt of jets."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    tree = HistGradientBoostingRegressor(
        loss="absolute_error", learning_rate=0.05, max_iter=1000, early_stopping=True, n_iter_no_change=20,
        validation_fraction=0.1, random_state=seed,
    ).fit(tree_inputs(jets), np.log(jets["pt_gen"] / jets["pt"]))  # fmt: skip
    return lambda others: others["pt"] * np.exp(tree.predict(tree_inputs(others)))


def calibrated(study: Study, training: str) -> tuple[Any, Callable[[Mapping[str, Any]], Any]]:
    """The standard correction and the boosted tree of the jets of a training."""
    sample, target = TRAININGS[training]
    jets = columns(study.jets(sample, target))
    inputs = (jets[name] for name in ("pt", "eta", "area", "rho", "num_pv", "pt_gen"))
    standard = derive_standard(*inputs, min_jets=20 if study.quick else 100)
    standard.save(study.folder / "results" / f"standard-{training}.json")
    return standard, boosted_tree(jets)


def standard_pt(standard: Any, jets: Mapping[str, Any]) -> Any:
    """pt after the standard correction."""
    return jets["pt"] * standard.factor(*(jets[name] for name in ("pt", "eta", "area", "rho", "num_pv")))


def distinct_events(event: Any) -> Any:
    """Numbers of events that differ between files, whose events count from the beginning again."""
    return event.astype(np.int64) + 10**12 * np.cumsum(np.diff(event.astype(np.int64), prepend=event[:1]) < 0)


def estimates(study: Study, sample: str, standard: Any, tree: Callable[[Mapping[str, Any]], Any]) -> Any:
    """All estimates of the jets of a sample."""
    from jettagger.jec.prediction import predict_files

    location = study.jets(sample)
    jets = columns(location)
    found = predict_files(study.trained(COMPARED[sample]), open_data(location).files)
    factor = dict(zip(found.outputs, found.factors.T.astype(np.float64), strict=True))
    ends = (jets["pt"] * factor["ptRawCorrDown"], jets["pt"] * factor["ptRawCorrUp"])
    return jet_estimates(
        jets["pt_gen"],
        jets["eta_gen"],
        flavour_of(jets["hadron_flavor"], jets["parton_flavor"]),
        {
            RAW: jets["pt"],
            STANDARD: standard_pt(standard, jets),
            TREE: tree(jets),
            NETWORK: jets["pt"] * factor["ptRawCorr"],
        },
        event=distinct_events(jets["event"]),
        intervals={NETWORK: ends},
    )


def plain(measured: Any) -> list[float | None]:
    """Value and uncertainty for JSON."""
    pair = (measured.value, measured.uncertainty)
    return [round(float(number), 5) if math.isfinite(number) else None for number in pair]


def compare(study: Study) -> None:
    """Resolutions, medians, flavours and coverage of all samples."""
    made: dict[str, Any] = {}
    for sample, training in COMPARED.items():
        if training not in made:
            made[training] = calibrated(study, training)
        standard, tree = made[training]
        record = study.jets(*TRAININGS[training]) / "training_set.json"
        counts = json.loads(record.read_text(encoding="utf-8"))["jets"]
        jets = estimates(study, sample, standard, tree)
        few = 5 if study.quick else 30
        keys: dict[str, Any] = {"pt_edges": PT_EDGES, "flavours": FLAVOURS, "replicas": 100, "min_jets": few}
        rows = {}
        for eta in (ETA_EDGES, (0.0, 2.5, 5.0)):
            of_reference = {
                reference: measure_estimates(jets, eta_edges=eta, reference=reference, **keys)
                for reference in (STANDARD, TREE)
            }
            rows["bins" if eta is ETA_EDGES else "wide"] = list(bins(of_reference))
            first = of_reference[STANDARD]
        content = {
            "jets": len(jets),
            "training": training,
            "matched_jets": counts["sampled_out"] + counts["written"],
            "training_jets": counts["written"],
            **rows,
            "flavours": list(flavour_rows(first)),
        }
        with complete_or_absent(study.result(sample)) as part:
            part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def bins(of_reference: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """One row for each bin, with the ratios of resolutions to both references."""
    one = of_reference[STANDARD]
    for flavour, eta, pt in np.ndindex(len(one.flavours), len(one.eta_edges) - 1, len(one.pt_edges) - 1):
        place = flavour, eta, pt
        if not one.jets[NETWORK][place]:
            continue
        yield {
            "flavour": one.flavours[flavour],
            "eta": [float(edge) for edge in one.eta_edges[eta : eta + 2]],
            "pt": [float(edge) for edge in one.pt_edges[pt : pt + 2]],
            "jets": int(one.jets[NETWORK][place]),
            "median": {label: plain(one.median[label][place]) for label in one.labels},
            "resolution": {label: plain(one.resolution[label][place]) for label in one.labels},
            "to_standard": {label: plain(one.ratio[label][place]) for label in one.ratio},
            "to_tree": {NETWORK: plain(of_reference[TREE].ratio[NETWORK][place])},
            **({"coverage": plain(one.coverage[NETWORK]["pt_gen"][eta, pt])} if one.flavours[flavour] == "all" else {}),
        }


def flavour_rows(found: Any) -> Iterator[dict[str, Any]]:
    """Median responses of flavours in the first bin of |eta|."""
    for label in found.labels:
        for place, name in enumerate(found.flavours):
            yield {
                "estimate": label,
                "flavour": name,
                "jets": int(found.flavour_jets[label][place, 0]),
                "median": plain(found.flavour_median[label][place, 0]),
                "minus_uds": plain(found.difference[label][place, 0]),
            }


# ------------------------------------------------------------------------------------------------------- H -> bb


def higgs(study: Study) -> None:
    """The mass of H to bb with each estimate: the two jets that are matched to the quarks."""
    masses: dict[str, list[Any]] = {}
    standard, _ = calibrated(study, "network")
    for path in study.events("higgs"):
        for label, values in pair_masses(study, path, standard).items():
            masses.setdefault(label, []).append(values)
    joined = {label: np.concatenate(values) for label, values in masses.items()}
    content = {"pairs": len(joined[STANDARD]), **widths(joined)}
    with complete_or_absent(study.result("higgs")) as part:
        part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def pair_masses(study: Study, path: Path, standard: Any) -> dict[str, Any]:
    """Masses of the pairs of one file in GeV, the same pairs for each estimate."""
    import awkward as ak
    from coffea.nanoevents import NanoEventsFactory, PFNanoAODSchema

    import jettagger

    events = NanoEventsFactory.from_root({str(path): "Events"}, schemaclass=PFNanoAODSchema, mode="virtual").events()
    for name, training in (("plain", "network"), ("nu", "neutrinos")):
        events = jettagger.load_tagger(study.trained(training)).attach(events, prefix=name)
    jets, gen = events.Jet, events.GenPart
    raw = ak.to_numpy(ak.flatten(jets.pt * (1 - jets.rawFactor))).astype(np.float64)
    counts = ak.num(jets.pt)

    def flat(values: Any) -> Any:
        return ak.to_numpy(ak.flatten(ak.broadcast_arrays(values, jets.pt)[0])).astype(np.float64)

    factors = {
        RAW: np.ones(len(raw)),
        STANDARD: standard.factor(raw, flat(jets.eta), flat(jets.area), flat(events.fixedGridRhoFastjetAll),
                                  flat(events.PV.npvsGood)),
        NETWORK: ak.to_numpy(ak.flatten(ak.fill_none(jets.plain_ptRawCorr, np.nan))),
        "Deep set with neutrinos": ak.to_numpy(ak.flatten(ak.fill_none(jets.nu_ptRawCorr, np.nan))),
    }  # fmt: skip
    parent = gen.pdgId[ak.where(gen.genPartIdxMother >= 0, gen.genPartIdxMother, 0)]
    quarks = gen[(abs(gen.pdgId) == 5) & (gen.genPartIdxMother >= 0) & (parent == 25)]
    two = ak.num(quarks.pt) == 2
    distance = _distances(jets, ak.pad_none(quarks, 2, clip=True))
    nearest = [ak.argmin(item, axis=1, keepdims=True) for item in distance]
    good = two & (ak.num(jets.pt) > 1)
    for item, index in zip(distance, nearest, strict=True):
        good = good & ak.fill_none(ak.flatten(item[index], axis=1) < 0.4, False)
    good = good & ak.fill_none(ak.flatten(nearest[0] != nearest[1], axis=1), False)
    chosen = [ak.to_numpy(ak.flatten(index[good])) for index in nearest]
    start = np.concatenate([[0], np.cumsum(ak.to_numpy(counts))])[:-1][ak.to_numpy(good)]
    rows = [start + index for index in chosen]
    direction = {name: ak.to_numpy(ak.flatten(jets[name])).astype(np.float64) for name in ("eta", "phi", "mass")}
    bare = direction["mass"] * raw / ak.to_numpy(ak.flatten(jets.pt))
    return {
        label: _pair_mass([(raw[row] * factor[row], direction["eta"][row], direction["phi"][row],
                            bare[row] * factor[row]) for row in rows])
        for label, factor in factors.items()
    }  # fmt: skip


def _distances(jets: Any, quarks: Any) -> list[Any]:
    """Distances of all jets to the first and to the second quark."""
    result = []
    for number in range(2):
        quark = quarks[:, number]
        turn = (jets.phi - quark.phi + math.pi) % (2 * math.pi) - math.pi
        result.append(np.hypot(jets.eta - quark.eta, turn))
    return result


def _pair_mass(pair: Sequence[tuple[Any, Any, Any, Any]]) -> Any:
    total = np.zeros((4, len(pair[0][0])))
    for pt, eta, phi, mass in pair:
        px, py, pz = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
        total += np.stack([px, py, pz, np.sqrt(px**2 + py**2 + pz**2 + mass**2)])
    return np.sqrt(np.maximum(total[3] ** 2 - total[0] ** 2 - total[1] ** 2 - total[2] ** 2, 0.0))


def widths(masses: Mapping[str, Any], replicas: int = 200, seed: int = 1) -> dict[str, Any]:
    """Median and relative width (half the central 68 %) of masses, and ratios of widths, with common replicas."""
    rng = np.random.default_rng(seed)
    number = len(masses[STANDARD])
    good = np.all([np.isfinite(values) for values in masses.values()], axis=0)

    def measures(rows: Any) -> dict[str, Any]:
        found = {}
        for label, values in masses.items():
            low, median, high = np.quantile(values[rows], [0.16, 0.5, 0.84])
            found[label] = (median, (high - low) / 2 / median)
        return {
            label: [median, width, width / found[STANDARD][1], width / found[NETWORK][1]]
            for label, (median, width) in found.items()
        }

    rows = np.flatnonzero(good)
    value = measures(rows)
    drawn = [measures(rng.choice(rows, len(rows))) for _ in range(replicas)]
    names = ("median", "width", "to_standard", "to_network")
    return {
        "used": int(np.sum(good)),
        "left_out": int(number - np.sum(good)),
        "masses": {
            label: {
                name: [
                    round(float(value[label][place]), 5),
                    round(float(np.std([item[label][place] for item in drawn])), 5),
                ]
                for place, name in enumerate(names)
            }
            for label in masses
        },
    }


# ------------------------------------------------------------------------------------------------------- throughput


def throughput(study: Study) -> None:
    """Training rates, the share of reading jets, and memory for one and for ten parts of the data."""
    config = study.trained("network").with_suffix(".yaml")
    rate = training_rate(config, 50 if study.quick else 400)
    memory = {}
    folder = study.folder / "memory"
    for name, parts in (("tenth", 10), ("all", 1)):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        jets, path = part_of(config, folder, parts)
        command = [sys.executable, "-m", "benchmarks.jec", "peak", str(path), str(folder / "out")]
        answer = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)
        memory[name] = {"jets": jets, "megabytes": float(answer.stdout.split()[-1])}
    shutil.rmtree(folder)
    with complete_or_absent(study.result("throughput")) as part:
        part.write_text(json.dumps({**rate, "memory": memory}, indent=1) + "\n", encoding="utf-8")


def training_rate(path: Path, steps: int) -> dict[str, float]:
    """Jets per second of CPU of a training, and the share of it that reads and shuffles the prepared jets."""
    from jettagger.jec import read_config
    from jettagger.jec.streaming import training_sets
    from jettagger.jec.training import train

    config = read_config(path)
    size = config.data.batch_size
    short = config.train.model_copy(
        update={"steps_per_epoch": steps, "max_epochs": 3, "piecewise_linear_schedule": None, "learning_rate": 1e-3}
    )
    config = config.model_copy(update={"train": short})
    marks: list[float] = []
    output = path.parent / "rate"
    train(config, output, force=True, plots=False, follow=lambda epoch: marks.append(time.process_time()))
    shutil.rmtree(output)
    total = (marks[-1] - marks[0]) / (2 * steps)
    begin = time.process_time()
    with training_sets(config) as sets_:
        preparing = (len(sets_.train) + len(sets_.validation)) / (time.process_time() - begin)
        batches = sets_.train.batches(size)
        next(batches)
        start = time.process_time()
        for _ in range(steps):
            next(batches)
        loading = (time.process_time() - start) / steps
    return {"jets_per_second": size / total, "loading": loading / total, "preparing": preparing, "batch": size}


def part_of(config: Path, folder: Path, parts: int) -> tuple[int, Path]:
    """A configuration with a fraction of the files, few steps, and 100 MB for the jets that are shuffled."""
    from jettagger.config.yamlfile import read_yaml
    from jettagger.jec.shards import write_data

    content = read_yaml(config).mapping()
    data = open_data(content["data"]["location"])
    files = data.files[: max(2, round(len(data.files) / parts))]
    shards = {os.path.abspath(file.path): file.count or 0 for file in files}
    write_data(folder, shards, force=True)
    shutil.copy(Path(data.location) / "transform.yaml", folder)
    content["data"] |= {"location": str(folder.resolve()), "split": [-1, 1, 0], "memory": "100MB"}
    content["train"] = {"steps_per_epoch": 10, "max_epochs": 1, "threads": 1}
    path = folder / "config.yaml"
    path.write_text(yaml_text(content), encoding="utf-8")
    return sum(shards.values()), path


def peak(config: Path, output: Path) -> None:
    """Train, and print the largest resident memory in MB."""
    from jettagger.jec.training import train

    train(config, output, force=True, plots=False)
    # not ru_maxrss, which counts the parent before the start of this program, too
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    print(float(status.partition("VmHWM:")[2].split()[0]) / 1024)


# ------------------------------------------------------------------------------------------------------- steps


def gathered(study: Study) -> dict[str, Any]:
    """The results of all steps that are done."""
    names = [*COMPARED, "higgs", "throughput", *(f"training-{name}" for name in TRAININGS)]
    paths = {name: study.result(name) for name in names}
    found = {name: json.loads(path.read_text(encoding="utf-8")) for name, path in paths.items() if path.is_file()}
    # flavours in bins only where they are shown: the file stays small
    for name in COMPARED:
        if name in found:
            found[name]["wide"] = [row for row in found[name]["wide"] if row["flavour"] == "all"]
            found[name]["bins"] = [row for row in found[name]["bins"] if row["flavour"] == "all" or name == "test"]
    return found


def write_page(study: Study, docs: Path) -> None:
    """The numbers, the picture and the tables of the page."""
    results = gathered(study)
    with complete_or_absent(docs / "measured_jec.json") as part:
        part.write_text(json.dumps(results) + "\n", encoding="utf-8")
    draw(results, docs / "jec.png")
    page = docs / "jec.md"
    page.write_text(filled(page.read_text(encoding="utf-8"), results), encoding="utf-8")


STEPS: Mapping[str, Callable[[Study], None]] = {
    "samples": samples,
    "sets": sets,
    "networks": networks,
    "compare": compare,
    "higgs": higgs,
    "throughput": throughput,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = parser.add_subparsers(dest="action", required=True)
    run = actions.add_parser("run", help="the steps of the study")
    run.add_argument("folder", type=Path, help="where everything is")
    run.add_argument("--quick", action="store_true", help="few jets: a smoke test")
    run.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS), help="default: all")
    run.add_argument("--workers", type=int, default=1, help="processes of the simulation (default: %(default)s)")
    page = actions.add_parser("page", help="numbers, picture and tables of the documents")
    page.add_argument("folder", type=Path)
    page.add_argument("docs", type=Path)
    inner = actions.add_parser("peak", help="the largest memory of a training, in MB")
    inner.add_argument("config", type=Path)
    inner.add_argument("output", type=Path)
    args = parser.parse_args()
    if args.action == "peak":
        peak(args.config, args.output)
    elif args.action == "page":
        write_page(Study(args.folder), args.docs)
    else:
        study = Study(args.folder, args.quick, args.workers)
        (study.folder / "results").mkdir(parents=True, exist_ok=True)
        for name in args.steps:
            STEPS[name](study)


if __name__ == "__main__":
    main()
