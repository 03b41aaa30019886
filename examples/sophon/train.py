"""Train Sophon's network with weaver: weights of the sampling, training, conversion to a bundle for jettagger.

Runs where weaver-core and jettagger are (``make weaver``). The data configuration is the one that jettagger reads for
scoring, ``jettagger/models/Sophon/data.yaml``; everything is written below one folder.

    python examples/sophon/train.py weights -o mysophon --train "Res2P:data/Res2P_0*.parquet" "QCD:data/QCD_0*.parquet"
    python examples/sophon/train.py train   -o mysophon --epochs 80 --validate "data/*_02[0-4]*.parquet"
    python examples/sophon/train.py convert -o mysophon

A training that was interrupted goes on after its last whole epoch when the same command is given again. Options behind
``--`` are passed on to weaver as they are.
"""

from __future__ import annotations

import argparse
import csv
import glob
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from jettagger import jetclass2
from jettagger.bundles.places import PACKAGE
from jettagger.errors import ConfigError, InvalidValues, JettaggerError, require
from jettagger.files.tables import FlatFile
from jettagger.weaver import DataConfig, Values, read_config

HERE = Path(__file__).resolve().parent
CONFIG = PACKAGE / "models" / "Sophon" / "data.yaml"

#: what is written into the folder: the configuration, the same with what the training adds, what the files hold
DATA, TRAINING, SAMPLE, NETWORK = "data.yaml", "training.yaml", "sample.json", "network.json"

#: jets that are looked at together
CHUNK = 100_000

#: a network that trains on a CPU; the default is the published size
SMALL = {
    "embed_dims": "[32, 32]",
    "pair_embed_dims": "[8]",
    "num_heads": "4",
    "num_layers": "2",
    "num_cls_layers": "1",
    "head_dim": "128",
}


def make_parser() -> argparse.ArgumentParser:
    """What can be given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(dest="step", required=True)

    weights = steps.add_parser("weights", help="read the training files and compute the sampling weights")
    train = steps.add_parser("train", help="train, or go on")
    convert = steps.add_parser("convert", help="make a bundle of the best epoch")
    for step in (weights, train, convert):
        step.add_argument("--output", "-o", required=True, metavar="FOLDER", help="of the training; names the model")

    add = weights.add_argument
    add("--train", nargs="+", required=True, metavar="[GROUP:]FILES", help="ROOT or parquet; each worker loads from"
        " all groups")  # fmt: skip
    add("--config", default=str(CONFIG), metavar="YAML", help="data configuration (default: that of Sophon)")
    add("--unweighted", action="store_true", help="draw all jets alike, for samples that are small or made by hand")

    add = train.add_argument
    add("--validate", nargs="+", default=[], metavar="FILES", help="default: the last fifth of each training file")
    add("--epochs", type=int, default=80)
    add("--samples-per-epoch", type=int, metavar="JETS", help="drawn for an epoch (default: as many as there are)")
    add("--samples-per-epoch-val", type=int, metavar="JETS", help="of a validation (default: all, once)")
    add("--batch-size", type=int, default=512, help="on each GPU")
    add("--start-lr", type=float, default=5e-4, help="learning rate of one GPU; it grows with their number")
    add("--gpus", type=int, default=0, metavar="N", help="0: on the CPU; several: DDP over the GPUs of this machine")
    add("--num-workers", type=int, default=0, help="processes that load data; each takes a part of the files")
    add("--fetch-step", type=float, default=1.0, help="part of the jets of each file that is loaded at a time")
    add("--data-split-num", type=int, default=1, help="parts that a worker divides its files into, loaded in turn")
    add("--small", action="store_true", help=f"a small network: {', '.join(map(' '.join, SMALL.items()))}")
    add("--option", "-n", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="of the network")
    add("more", nargs="*", metavar="-- OPTION", help="passed on to weaver")

    add = convert.add_argument
    add("--epoch", type=int, help="default: that of the highest accuracy, of several the one of the lowest loss")
    add("--bundle", metavar="FOLDER", help="default: bundle/NAME below the folder of the training")
    add("more", nargs="*", metavar="-- OPTION", help="passed on to convert.py")
    return parser


# the sample


@dataclass
class Sample:
    """What the training files hold."""

    jets: int = 0
    outside: int = 0
    unlabelled: int = 0
    classes: dict[str, int] = field(default_factory=dict)
    weighed: dict[str, int] = field(default_factory=dict)

    @property
    def usable(self) -> int:
        """Jets inside of the selection that have a class."""
        return sum(self.classes.values())


def groups_of(patterns: Iterable[str]) -> dict[str, list[str]]:
    """Files by their group."""
    found: dict[str, list[str]] = {}
    for pattern in patterns:
        group, colon, name = pattern.rpartition(":")
        files = sorted(glob.glob(name))
        if not files:
            raise ConfigError(f"no file matches {name!r}")
        wrong = [path for path in files if Path(path).suffix not in (".root", ".parquet")]
        if wrong:
            raise ConfigError(f"{wrong[0]}: weaver reads .root and .parquet files (unpack tarballs for a training)")
        found.setdefault(group if colon else "_", []).extend(str(Path(path).resolve()) for path in files)
    return found


def look_through(config: DataConfig, weights: dict[str, Any] | None, files: Sequence[str]) -> Sample:
    """Count jets by class, as far as the training can use them."""
    labels = config.labels
    if labels is None or labels.index is not None:
        raise ConfigError(f"{config.where} has no labels that weaver-core trains with: of type simple or custom")
    sample = Sample()
    axes = list((weights or {}).get("reweight_vars", {}).items())
    groups = list((weights or {}).get("reweight_classes", []))
    needed = {*labels.names, *groups, *(name for name, _ in axes)}
    columns = dict.fromkeys([*config.columns_of(config.selection), *config.columns(sorted(needed))])
    names = labels.names if labels.type == "simple" else tuple(f"label_{name}" for name in jetclass2.LABELS)
    for path in files:
        with FlatFile(path, config.treename) as file:
            for number, chunk in enumerate(file.chunks([config.stored(name) for name in columns], CHUNK)):
                values = Values(config, {name: chunk[name] for name in chunk.fields})
                inside = values.passes(config.selection, len(chunk))
                try:
                    truth = next(iter(values.truth().values()))
                    if labels.type == "custom":
                        jetclass2.truth(truth, none=-1)
                except InvalidValues as error:
                    raise InvalidValues(f"{path}, counted from jet {number * CHUNK}: {error}") from None
                known = inside & (truth >= 0)
                sample.jets += len(chunk)
                sample.outside += int(np.count_nonzero(~inside))
                sample.unlabelled += int(np.count_nonzero(inside & (truth < 0)))
                for index, found in zip(*np.unique(truth[known], return_counts=True), strict=True):
                    sample.classes[names[index]] = sample.classes.get(names[index], 0) + int(found)
                binned = known.copy()
                for name, edges in axes:
                    numbers = np.asarray(values[name])
                    binned &= (numbers >= min(edges)) & (numbers <= max(edges))
                for name in groups:
                    members = np.asarray(values[name]).astype(bool) & binned
                    sample.weighed[name] = sample.weighed.get(name, 0) + int(np.count_nonzero(members))
    return sample


def training_config(content: dict[str, Any], sample: Sample, *, unweighted: bool) -> dict[str, Any]:
    """The configuration that weaver trains with: jets with a class only, weights for what there is."""
    result = dict(content)
    label = content["labels"]
    if label["type"] == "custom":
        known = f"({next(iter(label['value'].values()))}) >= 0"
        result["selection"] = f"({content['selection']}) & ({known})" if content.get("selection") else known
    weights = content.get("weights")
    if unweighted or weights is None:
        return result | {"weights": None}
    if "reweight_classes" not in weights:
        return result
    shares = weights.get("class_weights") or [1] * len(weights["reweight_classes"])
    kept = [pair for pair in zip(weights["reweight_classes"], shares, strict=True) if sample.weighed[pair[0]]]
    if not kept:
        raise ConfigError("no jet lies in the bins of the weights: use --unweighted, or other files")
    names, shares = zip(*kept, strict=True)
    return result | {"weights": weights | {"reweight_classes": list(names), "class_weights": list(shares)}}


def description(path: str) -> DataConfig:
    """The configuration, also where the standardisation is still to be found."""
    content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    if "auto" not in str((content.get("preprocess") or {}).get("method")) or content["preprocess"].get("params"):
        return read_config(path)
    return read_config(text=yaml.safe_dump(content | {"preprocess": {"method": "manual"}}, sort_keys=False))


def make_weights(args: argparse.Namespace) -> int:
    """Look through the files; write the configuration of the training and, with weaver, the weights."""
    folder = Path(args.output)
    if last_epoch(folder) is not None:
        raise ConfigError(f"{folder} holds a training already: train goes on with it, or give another --output")
    groups = groups_of(args.train)
    config = description(args.config)
    text = Path(args.config).read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    weights = None if args.unweighted else content.get("weights")
    sample = look_through(config, weights, [path for files in groups.values() for path in files])
    print(f"{sample.jets} jets; {sample.outside} outside of the selection, {sample.unlabelled} without a class")
    print(f"{sample.usable} jets of {len(sample.classes)} classes can be used")
    if not sample.usable:
        raise ConfigError("no jet can be used")
    training = training_config(content, sample, unweighted=args.unweighted)
    absent = [name for name, number in sample.weighed.items() if not number]
    if absent:
        print(f"without jets, and so without weights: {', '.join(absent)}")
    require("weaver", "weaver", "training with weaver-core")
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.auto.yaml"):
        old.unlink()
    (folder / DATA).write_text(text, encoding="utf-8")
    (folder / TRAINING).write_text(yaml.safe_dump(training, sort_keys=False), encoding="utf-8")
    from weaver.utils.dataset import SimpleIterDataset

    # makes weights and, where the configuration leaves it to weaver, the standardisation, in training.*.auto.yaml
    with np.errstate(divide="ignore"):  # bins without jets
        SimpleIterDataset(groups, str(folder / TRAINING), for_training=True, remake_weights=True, name="train")
    stored = {"files": groups, "tree": config.treename, "jets": sample.usable, "classes": sample.classes}
    (folder / SAMPLE).write_text(json.dumps(stored, indent=1))
    return 0


# the training


def last_epoch(folder: Path) -> int | None:
    """The last epoch whose weights and optimiser are both there."""
    found = [re.fullmatch(r"net_epoch-(\d+)_state\.pt", path.name) for path in folder.glob("net_epoch-*_state.pt")]
    epochs = [int(match[1]) for match in found if match is not None]
    return max((epoch for epoch in epochs if (folder / f"net_epoch-{epoch}_optimizer.pt").exists()), default=None)


def command_line(args: argparse.Namespace, sample: dict[str, Any], network: dict[str, str]) -> list[str]:
    """The command line of weaver."""
    folder = Path(args.output)
    gpus = max(args.gpus, 1)
    # each process of DDP, and each worker of it, takes a part of the files of each group
    fewest = min(len(files) for files in sample["files"].values()) // gpus
    if not fewest:
        raise ConfigError(f"{gpus} GPUs need at least {gpus} training files in each group")
    workers = min(args.num_workers, fewest)
    parts = [f"{name}:{path}" if name != "_" else path for name, files in sample["files"].items() for path in files]
    start = [sys.executable, "-m"]
    if args.gpus > 1:
        start += ["torch.distributed.run", "--standalone", f"--nproc_per_node={args.gpus}", "-m"]
    command = [*start, "weaver.train", "--run-mode", "train,val"]
    command += ["--data-config", str(folder / TRAINING), "--network-config", str(HERE / "network.py")]
    command += ["--model-prefix", str(folder / "net"), "--log-file", str(folder / "train.log")]
    command += ["--gpus", ",".join(str(index) for index in range(args.gpus))]
    command += ["--backend", "nccl"] if args.gpus > 1 else []
    command += ["--use-amp"] if args.gpus else []
    command += ["--no-remake-weights", "--data-train", *parts]
    if args.validate:
        groups = groups_of(args.validate)
        there = sum(rows(path, sample["tree"]) for files in groups.values() for path in files)
        command += ["--data-val", *(path for files in groups.values() for path in files)]
        share = 1.0
    else:
        there, share = sample["jets"] // 5, 0.8
        command += ["--train-val-split", "0.8"]
    drawn = args.samples_per_epoch or int(share * sample["jets"])
    command += ["--steps-per-epoch", str(max(drawn // (gpus * args.batch_size), 1))]
    # what does not fill a batch is left out: small batches, so that it is little
    batch = max(min(args.batch_size, there // (10 * gpus * max(workers, 1))), 1)
    seen = args.samples_per_epoch_val or (there if args.gpus > 1 else None)
    # the processes of DDP wait for each other: all must have the same number of batches
    steps = -1 if seen is None else max(seen // (gpus * batch), 1)
    command += ["--batch-size", str(args.batch_size), "--batch-size-val", str(batch)]
    command += ["--steps-per-epoch-val", str(steps), "--num-epochs", str(args.epochs)]
    command += ["--num-workers", str(workers), "--fetch-step", str(args.fetch_step)]
    command += ["--data-split-num", str(args.data_split_num)]
    command += ["--optimizer", "ranger", "--start-lr", f"{args.start_lr * gpus:g}"]
    for name, value in network.items():
        command += ["--network-option", name, value]
    done = last_epoch(folder)
    return [*command, *([] if done is None else ["--load-epoch", str(done)]), *args.more]


def rows(path: str, tree: str | None) -> int:
    """Number of jets in a file."""
    with FlatFile(path, tree) as file:
        return file.n_jets


def read(path: Path, before: str) -> Any:
    """What an earlier step wrote."""
    if not path.exists():
        raise ConfigError(f"no {path}: the step {before} comes first")
    return json.loads(path.read_text())


def train(args: argparse.Namespace) -> int:
    """Train, or go on."""
    folder = Path(args.output)
    sample = read(folder / SAMPLE, "weights")
    network = (SMALL if args.small else {}) | dict(args.option)
    done = last_epoch(folder)
    if done is not None:
        before = read(folder / NETWORK, "train")
        if (args.small or args.option) and before != network:
            raise ConfigError(f"the training in {folder} has the network {before}, expected the same, got {network}")
        network = before
        if done + 1 >= args.epochs:
            print(f"all {args.epochs} epochs are done")
            return 0
        print(f"going on after epoch {done}")
    (folder / NETWORK).write_text(json.dumps(network, indent=1))
    return subprocess.call(command_line(args, sample, network))


# the bundle


def best_epoch(folder: Path) -> int:
    """The epoch of the highest accuracy, of several the one of the lowest loss; among those whose weights are there."""
    path = folder / "net_history.csv"
    lines = list(csv.DictReader(path.read_text().splitlines())) if path.exists() else []
    known = {int(line["epoch"]): line for line in lines if (folder / f"net_epoch-{line['epoch']}_state.pt").exists()}
    if not known:
        raise ConfigError(f"no epoch of {folder} was trained and validated: the step train comes first")
    return max(known, key=lambda epoch: (float(known[epoch]["accuracy"]), -float(known[epoch]["loss"])))


def convert(args: argparse.Namespace) -> int:
    """Make a bundle."""
    folder = Path(args.output)
    network = read(folder / NETWORK, "train")
    epoch = best_epoch(folder) if args.epoch is None else args.epoch
    state = folder / f"net_epoch-{epoch}_state.pt"
    if not state.exists():
        raise ConfigError(f"no {state}; the last epoch is {last_epoch(folder)}")
    content = yaml.safe_load((folder / DATA).read_text(encoding="utf-8"))
    config = folder / DATA
    made = (
        [] if "auto" not in str((content.get("preprocess") or {}).get("method")) else sorted(folder.glob("*.auto.yaml"))
    )
    for path in made:  # the standardisation that weaver found
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
        config = folder / "data.auto.yaml"
        config.write_text(yaml.safe_dump(content | {"preprocess": found["preprocess"]}, sort_keys=False))
    target = args.bundle or str(folder / "bundle" / folder.resolve().name)
    command = [sys.executable, str(HERE / "convert.py"), "--state", str(state), "-o", target, "--config", str(config)]
    for name, value in network.items():
        command += ["--option", name, value]
    print(f"epoch {epoch}", flush=True)
    return subprocess.call([*command, *args.more])


def main(argv: Sequence[str] | None = None) -> int:
    """Do one step."""
    args = make_parser().parse_args(argv)
    try:
        return {"weights": make_weights, "train": train, "convert": convert}[args.step](args)
    except JettaggerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on after the last whole epoch", file=sys.stderr)
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
