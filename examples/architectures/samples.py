"""Jets for the comparison: simulated, read with the tagger's own inputs, and stored compactly, to be trained elsewhere.

A constituent takes 10 bytes before compression and about 5 after it: the logarithm of its pt in steps of 0.01, its
direction relative to the jet axis in steps of a 160th of the radius, its type and charge, and three
significances of impact parameters in equal steps of their arcsinh. Everything else that networks see follows from
these. Local trainings use the same stored numbers, so that nothing depends on where a network is trained.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

import jettagger as jt
from examples.architectures.inputs import (
    BOUND,
    COLUMNS,
    PARTICLES,
    VERTICES,
    Task,
    declaration,
    particle_group,
    vertex_group,
)
from jettagger.files import complete_or_absent
from jettagger.training import RaggedRows
from jettagger.training.ragged import joined

__all__ = [
    "NUMBERS",
    "PROCESSES",
    "SPLITS",
    "VARIANTS",
    "Process",
    "card_of",
    "flat_weights",
    "input_bundle",
    "read_file",
    "read_sample",
    "simulate_file",
    "subset",
    "write_sample",
]

#: what a jet has once
NUMBERS = ("label", "split", "eta", "raw_pt", *COLUMNS)

#: values of ``split``
SPLITS = {"train": 0, "validation": 1, "test": 2}

#: events of a file that are read at a time
EVENTS_AT_ONCE = 5_000

#: every so many events of a training file are for validation
VALIDATION = 16

#: steps in which numbers are stored: of directions by task, of ln(pt), of the arcsinh of significances
STEPS = {"fat": 0.005, "quark": 0.0025, "btag": 0.0025}
LN_PT_STEP, SIGNIFICANCE_STEP = 0.01, 0.12

#: names of types of constituents, in the order of their codes; anything else is the last
TYPES = ("isEl", "isMu", "isGamma", "isChargedHad", "isNeutralHad", "")

#: fragmentation and detector: name -> cards from which the tune and all else are taken
VARIANTS: Mapping[str, tuple[str, str]] = {
    "default": ("default", "default"),
    "tune": ("alternative", "default"),
    "card": ("default", "alternative"),
    "alternative": ("alternative", "alternative"),
}


@dataclass(frozen=True)
class Process:
    """What is simulated.

    Parameters
    ----------
    name : str
        Of the simulation.
    pt : (float, float)
        Of the fat jets, GeV.
    mass : float, optional
        Of the resonance, GeV.
    """

    name: str
    pt: tuple[float, float]
    mass: float | None = None


#: processes; fat jets take their class from the label, AK4 jets from their flavour
PROCESSES: Mapping[str, Process] = {
    "QCD": Process("QCD", (300, 1000)),
    "Hbb": Process("Hbb", (300, 1000), 125.0),
    "4q": Process("HWW4q", (300, 1000), 125.0),
    "top": Process("Topbqq", (300, 1000), 172.5),
    "tt": Process("tt-resolved", (300, 1000)),
}

#: labels of fat jets (`FatJet_label`) -> class; other jets are not used
FAT_LABELS: Mapping[int, str] = {
    **dict.fromkeys((0, 1, 2), "4q"), 16: "Hbb", **dict.fromkeys((28, 29), "top"),
    **dict.fromkeys((23, 24, 25, 26, 27), "multijets"),
}  # fmt: skip


# ----------------------------------------------------------------------------------------------------------- simulation


def card_of(variant: str, folder: Path) -> str:
    """The detector card of a variant: its name, or the path of one with the tune of another.

    Parameters
    ----------
    variant : str
        One of `VARIANTS`.
    folder : pathlib.Path
        Where mixed cards are written.

    Returns
    -------
    str
    """
    import yaml

    from jettagger.simulation.cards import load_card

    tune, detector = VARIANTS[variant]
    if tune == detector:
        return detector
    base, other = load_card(detector), load_card(tune)
    content = {
        "format": "jettagger-detector-card/1",
        "name": f"{detector}-with-{tune}-tune",
        "version": base.version,
        "description": f"The detector of the card {detector} with the fragmentation of the card {tune}.",
        **base.values,
        "generator": dict(other["generator"]),
    }
    path = folder / f"{content['name']}.yaml"
    with complete_or_absent(path) as part:
        part.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return str(path)


def simulate_file(
    folder: Path, process: str, variant: str, role: str, events: int, seed: int, workers: int = 1
) -> Path:
    """A simulated PFNano file; an interrupted run goes on, a complete file is left alone.

    Parameters
    ----------
    folder : pathlib.Path
    process, variant : str
        Of `PROCESSES` and `VARIANTS`.
    role : str
        ``train`` or ``test``.
    events, seed, workers : int
        Files of another role or variant need another seed.

    Returns
    -------
    pathlib.Path
        Named after process, variant, role and number of events.
    """
    from jettagger.simulation import simulate

    what = PROCESSES[process]
    path = folder / f"{process}_{variant}_{role}_{events}.root"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        mass = None if what.mass is None else (what.mass, what.mass)
        card = card_of(variant, folder)
        simulate(what.name, events, path, pt=what.pt, mass=mass, seed=seed, card=card, workers=workers)
    return path


# -------------------------------------------------------------------------------------------------------------- reading


def input_bundle(task: Task, folder: Path) -> Any:
    """A bundle with the inputs of the networks on constituents, whose network only adds up; for reading files.

    Returns
    -------
    Bundle
    """
    import json

    from onnx import TensorProto, helper

    names = {"particles": len(PARTICLES), "vertices": len(VERTICES)}
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", number, f"n_{name}"])
        for name, number in names.items()
    ]
    nodes = [
        helper.make_node("ReduceSum", [name, "axes"], [f"sum_{name}"], keepdims=0, noop_with_empty_axes=0)
        for name in names
    ]
    nodes.append(helper.make_node("Concat", [f"sum_{name}" for name in names], ["sums"], axis=1))
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [2])
    output = helper.make_tensor_value_info("sums", TensorProto.FLOAT, ["N", sum(names.values())])
    graph = helper.make_graph(nodes, "sums", inputs, [output], initializer=[axes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    card = {"schema_version": 1, "name": "sums", "inputs": "inputs.json"}
    card |= {"output_names": [f"sum{place}" for place in range(sum(names.values()))]}
    (folder / "bundle.json").write_text(json.dumps(card), encoding="utf-8")
    content = declaration(task, [particle_group("set"), vertex_group("set")], "sums")
    (folder / "inputs.json").write_text(json.dumps(content), encoding="utf-8")
    return jt.load_bundle(folder)


def _labels(task: Task, jets: Any) -> Any:
    """Class of each jet, -1 for those that are not used; int64[events][jets]."""
    if task.name == "fat":
        flat = ak.to_numpy(ak.flatten(jets.label))
        codes = {label: task.classes.index(name) for label, name in FAT_LABELS.items()}
        made = np.array([codes.get(int(label), -1) for label in flat], dtype=np.int64)
    elif task.name == "quark":
        parton = np.abs(ak.to_numpy(ak.flatten(jets.partonFlavour)))
        made = np.where(parton == 21, 0, np.where((parton >= 1) & (parton <= 3), 1, -1))
    else:
        hadron = ak.to_numpy(ak.flatten(jets.hadronFlavour))
        made = np.where(hadron == 5, 2, np.where(hadron == 4, 1, 0))
    return ak.unflatten(made, ak.num(jets.pt))


def read_file(path: Path, task: Task, role: str) -> RaggedRows:
    """The jets of a PFNano file that a task uses.

    Parameters
    ----------
    path : pathlib.Path
    task : Task
    role : str
        ``train`` or ``test``; of the first, some events are for validation.

    Returns
    -------
    RaggedRows
        ``numbers`` as in `NUMBERS`, lists ``particles`` and ``vertices`` with the variables of the networks, which
        are rounded when they are stored.
    """
    collection = "FatJet" if task.jets == "AK8" else "Jet"
    truth = ("label",) if task.name == "fat" else ("partonFlavour", "hadronFlavour")
    columns = [name for name in COLUMNS if task.name == "fat" or not name.startswith(("msoft", "tau"))]
    parts = []
    with tempfile.TemporaryDirectory() as folder, jt.EventFile(path) as file:
        bundle = input_bundle(task, Path(folder))
        plan = jt.check_columns(bundle, file, str(path))
        wanted = {f"{collection}.{name}" for name in (*columns, *truth, "eta", "rawFactor")}
        names = sorted({*plan.columns, *wanted, "event"})
        for start in range(0, file.n_events, EVENTS_AT_ONCE):
            events = file.read(names, start, min(start + EVENTS_AT_ONCE, file.n_events))
            parts.append(_rows(events, bundle, task, role, columns))
    return joined(parts)


def _rows(events: Any, bundle: Any, task: Task, role: str, columns: list[str]) -> RaggedRows:
    """The jets of some events."""
    jets = events["FatJet" if task.jets == "AK8" else "Jet"]
    label = _labels(task, jets)
    where = (label >= 0) & (jets.pt > task.edges[0]) & (jets.pt < task.edges[-1])
    batches = list(jt.make_inputs(bundle, events, where, batch_size=512))
    index = np.concatenate([np.zeros(0, dtype=np.int64), *(batch.jets for batch in batches)])
    order = np.argsort(index)
    rows = index[order]
    event = np.repeat(ak.to_numpy(events.event), ak.to_numpy(ak.num(jets.pt)))[rows].astype(np.int64)
    flat = {name: ak.to_numpy(ak.flatten(jets[name]))[rows] for name in (*columns, "eta", "rawFactor")}
    numbers = {name: np.zeros(len(rows), dtype=np.float32) for name in NUMBERS} | flat
    numbers["raw_pt"] = flat["pt"] * (1 - flat["rawFactor"])
    numbers["label"] = ak.to_numpy(ak.flatten(label))[rows]
    held = np.where(event % VALIDATION == 0, SPLITS["validation"], SPLITS["train"])
    numbers["split"] = np.full(len(rows), SPLITS["test"]) if role == "test" else held
    counts, lists = {}, {}
    for name, variables in (("particles", PARTICLES), ("vertices", VERTICES)):
        real = [batch.inputs[name][:, 0] > 0.5 for batch in batches]
        values = [batch.inputs[name].transpose(0, 2, 1)[mask] for batch, mask in zip(batches, real, strict=True)]
        number = [mask.sum(axis=1) for mask in real]
        counts[name] = np.concatenate([np.zeros(0, dtype=np.int64), *number]).astype(np.int64)
        lists[name] = np.concatenate([np.zeros((0, len(variables))), *values]).astype(np.float32)
    table = np.stack([numbers[name] for name in NUMBERS], axis=1).astype(np.float32)
    made = RaggedRows(np.zeros((len(order), 0), dtype=np.float32), counts, lists).take(order)
    return RaggedRows(table, made.counts, made.lists)


# -------------------------------------------------------------------------------------------------------------- storage


def _place(names: Sequence[str], name: str) -> int:
    return next(place for place, variable in enumerate(names) if variable.partition("_")[2] == name)


def _firsts(counts: Any) -> Any:
    """Places of the first constituents of jets that have any."""
    return (np.cumsum(counts) - counts)[counts > 0]


def _steps(values: Any, counts: Any) -> Any:
    """Differences from the constituent before, in each jet; they are small, as constituents are in order."""
    made = np.diff(values, prepend=0)
    made[_firsts(counts)] = values[_firsts(counts)]
    return made


def _summed(steps: Any, counts: Any) -> Any:
    """The opposite of `_steps`."""
    total = np.cumsum(steps.astype(np.int64))
    firsts = _firsts(counts)
    return total - np.repeat(total[firsts] - steps[firsts], counts[counts > 0])


_SIGNIFICANCES = ("dxysig", "dzsig", "btagSip3dSig")


def _encode(rows: RaggedRows, step: float) -> Iterator[tuple[str, Any]]:
    particles, counts = rows.lists["particles"], rows.counts["particles"]
    column = {name.partition("_")[2]: particles[:, place] for place, name in enumerate(PARTICLES)}
    yield "numbers", rows.numbers
    yield "n_particles", counts.astype(np.uint8)
    yield "n_vertices", rows.counts["vertices"].astype(np.uint8)
    yield "ln_pt", _steps(np.round(column["pt_log_nopuppi"] / LN_PT_STEP).astype(np.int16), counts)
    for name in ("etarel", "phirel"):
        yield name, np.round(column[name] / step).astype(np.int16)
    flags = np.stack([column[name] for name in TYPES[:-1]], axis=1)
    kind = np.where(flags.any(axis=1), flags.argmax(axis=1), len(TYPES) - 1)
    yield "code", (3 * kind + np.round(column["charge"]) + 1).astype(np.uint8)
    for name in _SIGNIFICANCES:
        bounded = np.clip(column[name], -BOUND, BOUND)
        yield name, np.round(np.arcsinh(bounded) / SIGNIFICANCE_STEP).astype(np.int8)
    yield "vertices", rows.lists["vertices"].astype(np.float16)


def _decode(file: Mapping[str, Any], step: float) -> RaggedRows:
    counts = {name: file[f"n_{name}"].astype(np.int64) for name in ("particles", "vertices")}
    numbers = file["numbers"]
    ln_pt = _summed(file["ln_pt"], counts["particles"]).astype(np.float32) * np.float32(LN_PT_STEP)
    eta, phi = (file[name].astype(np.float32) * np.float32(step) for name in ("etarel", "phirel"))
    kind, charge = file["code"] // 3, file["code"].astype(np.float32) % 3 - 1
    raw = np.repeat(np.log(numbers[:, NUMBERS.index("raw_pt")]), counts["particles"])
    made = {
        "mask": np.ones_like(ln_pt),
        "pt_log_nopuppi": ln_pt,
        "ptrel_log": ln_pt - raw,
        "etarel": eta,
        "phirel": phi,
        "deltaR": np.hypot(eta, phi),
        "charge": charge,
        **{name: (kind == place).astype(np.float32) for place, name in enumerate(TYPES[:-1])},
        **{name: np.sinh(file[name].astype(np.float32) * np.float32(SIGNIFICANCE_STEP)) for name in _SIGNIFICANCES},
    }
    particles = np.stack([made[name.partition("_")[2]] for name in PARTICLES], axis=1).astype(np.float32)
    vertices = file["vertices"].astype(np.float32).reshape(-1, len(VERTICES))
    return RaggedRows(numbers, counts, {"particles": particles, "vertices": vertices})


def write_sample(path: Path, name: str, rows: RaggedRows) -> int:
    """Write jets compactly: arrays of NumPy in a ZIP file with LZMA compression, which ``numpy.load`` reads.

    Parameters
    ----------
    path : pathlib.Path
        Complete or absent.
    name : str
        The task, of `TASKS`.
    rows : RaggedRows

    Returns
    -------
    int
        Size in bytes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with complete_or_absent(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_LZMA) as file:
        for key, values in _encode(rows, STEPS[name]):
            # bytes of the same rank together compress better
            planes = values.view(np.uint8).reshape(*values.shape, values.dtype.itemsize)
            for rank in range(values.dtype.itemsize):
                with file.open(f"{key}.{values.dtype.name}.{rank}.npy", "w") as target:
                    np.lib.format.write_array(target, np.ascontiguousarray(planes[..., rank]))
    return path.stat().st_size


def read_sample(path: Path, name: str) -> RaggedRows:
    """Jets of a file of `write_sample`, with all variables of the networks.

    Parameters
    ----------
    path : pathlib.Path
    name : str
        The task, of `TASKS`.

    Returns
    -------
    RaggedRows

    Raises
    ------
    SystemExit
        If there is no such file.
    """
    if not path.is_file():
        raise SystemExit(f"{path}: no such file; it is made by python -m benchmarks.architectures prepare")
    content: dict[str, Any] = {}
    with np.load(path, allow_pickle=False) as file:
        for entry in file.files:
            key, kind, rank = entry.split(".")
            plane = file[entry]
            target = content.setdefault(key, np.zeros((*plane.shape, np.dtype(kind).itemsize), dtype=np.uint8))
            target[..., int(rank)] = plane
            content[f"{key}.kind"] = kind
    arrays = {
        key: values.view(content[f"{key}.kind"])[..., 0] for key, values in content.items() if not key.endswith(".kind")
    }
    return _decode(arrays, STEPS[name])


# --------------------------------------------------------------------------------------------------------- use of jets


def subset(rows: RaggedRows, task: Task, split: str, size: int | None = None) -> Any:
    """Indices of jets of a split, of a training with the shares of its task, the same for every network and seed.

    Parameters
    ----------
    rows : RaggedRows
    task : Task
    split : str
        Of `SPLITS`.
    size : int, optional
        Number of jets; default: all.

    Returns
    -------
    int64[n]

    Raises
    ------
    SystemExit
        If there are too few of a class.
    """
    label = rows.numbers[:, NUMBERS.index("label")].astype(int)
    inside = rows.numbers[:, NUMBERS.index("split")] == SPLITS[split]
    chosen = []
    for place, name in enumerate(task.classes):
        mine = np.flatnonzero(inside & (label == place))
        if size is not None:
            each = task.numbers(size)[place]
            if len(mine) < each:
                raise SystemExit(f"{task.name}: {len(mine)} jets of the class {name!r}, expected {each}: simulate more")
            mine = np.sort(np.random.default_rng([7, place]).permutation(mine)[:each])
        chosen.append(mine)
    return np.sort(np.concatenate(chosen))


def flat_weights(rows: RaggedRows, task: Task, ceiling: float = 4.0) -> Any:
    """Weights with which all classes have the same spectrum of pt, flat over the bins of the task; mean 1.

    Parameters
    ----------
    rows : RaggedRows
    task : Task
    ceiling : float
        Largest weight in units of the mean of its class.

    Returns
    -------
    float32[jets]
    """
    label = rows.numbers[:, NUMBERS.index("label")].astype(int)
    column = np.digitize(rows.numbers[:, NUMBERS.index("pt")], task.edges) - 1
    column = np.clip(column, 0, len(task.edges) - 2)
    result = np.zeros(len(rows))
    for place in range(len(task.classes)):
        mine = label == place
        if not mine.any():
            continue
        number = np.bincount(column[mine], minlength=len(task.edges) - 1)
        weights = 1 / number[column[mine]]
        weights = np.minimum(weights / weights.mean(), ceiling)
        result[mine] = weights / weights.sum()
    return (result / result.mean()).astype(np.float32)
