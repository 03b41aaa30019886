"""Loading of jets in a training of the energy calibration: CPU time, its share of a step, memory against the data.

    python -m benchmarks.jec_loading                        # a table
    python -m benchmarks.jec_loading --jets 40000 --json    # for benchmarks/jec.py

Jets are random, with as many constituents as QCD jets of CMS have (17 charged, 14 neutral, one vertex), and with all
features of the original. Times are those of the process on one core.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from jettagger.config.yamlfile import yaml_text
from jettagger.jec import JetRows, RawJets, read_config, training_sets, write_data, write_shard, write_transform
from jettagger.jec.building import build_transforms
from jettagger.jec.shards import jet_files
from jettagger.training import TrainingBatch

#: mean numbers of constituents of a jet
MEANS = {"ch": 17.0, "ne": 14.0, "sv": 0.8}

_PLAIN = {
    "ch": ("pt", "eta", "phi", "dxy", "dxy_significance", "dz", "num_hits", "num_pixel_hits", "lost_hits", "norm_chi2"),
    "ne": ("pt", "eta", "phi", "hcal_frac"),
    "sv": ("mass", "pt", "distance", "significance", "num_tracks"),
}
_CODES = {"ch_id": (-211, -13, -11, 11, 13, 211), "ch_pv_ass": (0, 1, 4, 5, 6, 7), "ne_id": (1, 2, 22, 130)}
_CONSTRUCTED = {"ch": ("rel_pt", "deta", "dphi", "dr"), "ne": ("rel_pt", "deta", "dphi", "dr"), "sv": ("rel_pt",)}
_JET = ("pt", "eta", "phi", "mass", "area", "num_pv", "rho")

#: the network of the original's example
NETWORK: dict[str, Any] = {
    "ch": {"type": "resnet", "num_units": [100] * 4, "embeddings": {"ch_id": 3, "ch_pv_ass": 2}},
    "ne": {"type": "resnet", "num_units": [30] * 4, "embeddings": {"ne_id": 3}},
    "sv": {"type": "resnet", "num_units": [20] * 4},
    "head": {"type": "resnet", "num_units": [300, 157, 300, 157, 300, 157, 20]},
}


@dataclass(frozen=True)
class Loading:
    """What loading costs.

    Parameters
    ----------
    jets : int
        In the training set.
    prepared : float
        Jets per second of CPU time that are read, transformed and put on disk in random order, once per training.
    streamed : float
        Jets per second that are then read as batches.
    trained : float
        Jets per second of a training with the network of the original's example, loading included.
    share : float
        Part of the loading in the time of a training step.
    """

    jets: int
    prepared: float
    streamed: float
    trained: float
    share: float


def random_jets(number: int, seed: int) -> RawJets:
    """Jets with all branches of the original.

    Parameters
    ----------
    number, seed : int

    Returns
    -------
    RawJets
    """
    rng = np.random.default_rng(seed)
    counts = {name: rng.poisson(mean, number) for name, mean in MEANS.items()}
    columns: dict[str, Any] = {name: rng.random(number, dtype="f4") for name in _JET}
    columns["pt"] = rng.uniform(20, 1000, number).astype("f4")
    columns["pt_gen"] = (columns["pt"] * rng.normal(1, 0.1, number).clip(0.5)).astype("f4")
    for block, names in _PLAIN.items():
        columns.update({f"{block}_{name}": rng.random(counts[block].sum(), dtype="f4") + 1 for name in names})
    for name, codes in _CODES.items():
        columns[name] = rng.choice(codes, counts[name[:2]].sum()).astype("i4")
    return RawJets(columns, counts)


def write_set(folder: Path, jets: int, files: int = 12) -> Path:
    """A location with random jets, and a configuration beside it; a tenth more jets are for the validation.

    Parameters
    ----------
    folder : pathlib.Path
        An existing folder.
    jets, files : int
        Of the training set.

    Returns
    -------
    pathlib.Path
        The configuration.
    """
    location = folder / "jets"
    (location / "shards").mkdir(parents=True)
    each = jets // (files - 2)
    for number in range(files):
        write_shard(location / "shards" / f"{number}.root", random_jets(each, number))
    write_data(location, {f"shards/{number}.root": each for number in range(files)})
    write_transform(location / "transform.yaml", build_transforms(jet_files([location]), jets=10_000).transforms)
    features: dict[str, Any] = {"global": {"numerical": list(_JET)}}
    for block, names in _PLAIN.items():
        numerical = [f"{block}_{name}" for name in (*names, *_CONSTRUCTED[block])]
        features[block] = {"numerical": numerical, "categorical": [name for name in _CODES if name[:2] == block]}
    content = {
        "data": {"location": "jets", "split": [files - 2, 1, 1], "batch_size": 1024},
        "features": features,
        "model": NETWORK,
        "loss": "mae",
        "train": {"steps_per_epoch": 1, "threads": 1},
        "predict": False,
    }
    path = folder / "config.yaml"
    path.write_text(yaml_text(content), encoding="utf-8")
    return path


def measure_loading(path: Path, steps: int = 12) -> Loading:
    """Time the loading of a training set and the steps of a training.

    Parameters
    ----------
    path : pathlib.Path
        The configuration.
    steps : int
        Number of training steps.

    Returns
    -------
    Loading
    """
    from jettagger.jec.losses import calibration_loss
    from jettagger.jec.network import build_network
    from jettagger.jec.training import architecture_for, loop_settings
    from jettagger.training import seeded, train_network

    config = read_config(path)
    size = config.data.batch_size
    before = time.process_time()
    with training_sets(config) as sets:
        prepared = time.process_time() - before
        jets, validation = len(sets.train), len(sets.validation)
        batches = max(3 * jets // size, 10)
        before = time.process_time()
        for _ in itertools.islice(sets.train.batches(size), batches):
            pass
        streamed = (time.process_time() - before) / (batches * min(size, jets))
        settings = replace(loop_settings(config, jets), epochs=1)
        check = [_batch(next(sets.train.batches(100)))]
        seconds = []
        with seeded(1, threads=1):
            network = build_network(architecture_for(config, sets.transforms))
            for number in (1, 1, 1 + steps):  # a long training minus a short one is its steps; the first one warms up
                rows = itertools.islice(sets.train.batches(size), number)
                before = time.process_time()
                train_network(
                    network,
                    calibration_loss("mae"),
                    lambda _, rows=rows: map(_batch, rows),  # type: ignore[misc]
                    lambda: check,
                    settings,
                )
                seconds.append(time.process_time() - before)
    step = (seconds[2] - seconds[1]) / (steps * size)
    return Loading(jets, (jets + validation) / prepared, 1 / streamed, 1 / step, streamed / step)


def _batch(rows: JetRows) -> TrainingBatch:
    blocks: dict[str, Any] = {
        name: {"numerical": values, "categorical": rows.categorical[name]} for name, values in rows.numerical.items()
    }
    for name, counts in rows.counts.items():
        blocks[name]["counts"] = counts
    return TrainingBatch((blocks,), rows.target, np.ones(len(rows), dtype="f4"))


def measure_memory(path: Path) -> float:
    """The most memory of a process that prepares a training set and reads it once.

    Parameters
    ----------
    path : pathlib.Path
        The configuration.

    Returns
    -------
    float
        In MB.
    """
    command = [sys.executable, "-m", "benchmarks.jec_loading", "--pass", str(path)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _pass(path: Path) -> float:
    config = read_config(path)
    data = config.data.model_copy(update={"memory": 50_000_000})
    with training_sets(config.model_copy(update={"data": data})) as sets:
        for _ in itertools.islice(sets.train.batches(data.batch_size), len(sets.train) // data.batch_size):
            pass
    # not ru_maxrss, which counts the parent before the start of this program, too
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return float(status.partition("VmHWM:")[2].split()[0]) / 1024


def main(argv: Sequence[str] | None = None) -> None:
    """Print the measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--jets", type=int, default=20_000, help="jets of the training set")
    add("--json", action="store_true", help="print JSON")
    add("--pass", dest="path", type=Path, metavar="CONFIG", help="only read a training set; print the memory in MB")
    args = parser.parse_args(argv)
    if args.path:
        print(_pass(args.path))
        return
    with tempfile.TemporaryDirectory() as name:
        (few := Path(name) / "few").mkdir()
        (many := Path(name) / "many").mkdir()
        path = write_set(few, args.jets)
        found = measure_loading(path)
        memory = [measure_memory(each) for each in (path, write_set(many, 10 * args.jets, files=102))]
    if args.json:
        print(json.dumps({**asdict(found), "memory": memory}))
        return
    print(f"{found.jets} jets: prepared {found.prepared:.0f}/s, read as batches {found.streamed:.0f}/s")
    print(f"training: {found.trained:.0f} jets/s, of which loading takes {100 * found.share:.1f} %")
    print(f"memory: {memory[0]:.0f} MB, with 10 times the jets {memory[1]:.0f} MB")


if __name__ == "__main__":
    main()
