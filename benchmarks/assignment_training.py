"""Trainings of assignment networks in folds, beside the program of SPANet on the same events with the same options.

    python benchmarks/assignment_training.py ttbar.h5 --event ttbar.yaml --options options.json -o folds/ --write
    python benchmarks/assignment_training.py ttbar.h5 --event ttbar.yaml --options options.json -o folds/ --write \\
        --original SPANet/ --original-python spanet/bin/python

Each fold is held out once: a network trains on the others, chooses its epoch by events of its own training part, and
its assignments of the held-out fold are compared with the truth by the purities of jettagger, whoever trained it. The
checkpoints of SPANet are converted, and their outputs compared with those of its own code. A training that is in the
folder is kept, so that an interrupted run goes on; ``--only`` makes one kind, so that two processes share the folder.
Times are those of a run of its own, ``--timing 4 --write``: trainings of four epochs on the first fold, in turn.

Numbers go to docs/measured_assignment_training.json and the table to docs/assignment.md, with the folds that are there.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import subprocess
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from jettagger.assignment import (
    AssignmentDataset,
    AssignmentOptions,
    DatasetWriter,
    convert_weights,
    decode,
    open_model,
    read_network,
    read_options,
    train_assignment,
    write_network,
)
from jettagger.assignment.purity import match_events

ROOT = Path(__file__).resolve().parent.parent
NUMBERS, PAGE = ROOT / "docs" / "measured_assignment_training.json", ROOT / "docs" / "assignment.md"
PLACE = re.compile(r"(<!-- folds -->\n).*?(<!-- end of folds -->)", flags=re.DOTALL)

#: kind of training -> options of jettagger that it has beside those of the file; None: the program of SPANet
KINDS: dict[str, dict[str, Any] | None] = {
    "original": None,
    "jettagger": {},
    "masses": {"pair_features": ["ln_delta_r", "ln_kt", "ln_z", "ln_mass"], "mass_features": True},
}
#: their names on the page
NAMES = {"original": "SPANet", "jettagger": "jettagger", "masses": "jettagger, features of pairs and masses"}

#: events of a fold of which outputs of a converted checkpoint are compared with those of the original
COMPARED = 200

#: Runs the original's program with a seed and one thread, and times its epochs. Then its outputs of a few events.
PROGRAM = r"""
import json, re, runpy, sys, time
from pathlib import Path
checkout, out, seed, test, compared, *arguments = sys.argv[1:]
sys.path.insert(0, checkout)
import numpy as np, pytorch_lightning as lightning, torch
import spanet
torch.set_num_threads(1)
epochs = []

class Clock(lightning.Callback):
    def now(self):
        return time.process_time(), time.perf_counter()
    def on_train_epoch_start(self, trainer, module):
        self.start, self.inside = self.now(), (0.0, 0.0)
    def on_validation_epoch_start(self, trainer, module):
        self.validation = self.now()
    def on_validation_epoch_end(self, trainer, module):
        if not trainer.sanity_checking:
            self.inside = tuple(b - a for a, b in zip(self.validation, self.now()))
    def on_train_epoch_end(self, trainer, module):
        whole = [b - a for a, b in zip(self.start, self.now())]
        epochs.append({"cpu": whole[0], "wall": whole[1], "validation_cpu": self.inside[0]})

make = lightning.Trainer.__init__
def made(self, *args, callbacks=(), **rest):
    make(self, *args, callbacks=[*callbacks, Clock()], **rest)
lightning.Trainer.__init__ = made
torch.manual_seed(int(seed))
sys.argv = ["spanet.train", *arguments, "-l", out, "-n", "log"]
runpy.run_module("spanet.train", run_name="__main__")
torch.set_num_threads(1)
log = max(Path(out, "log").iterdir(), key=lambda path: int(path.name.split("_")[1]))
value = lambda path: float(re.search(r"accuracy=([\d.]+?)(?:-v\d+)?\.ckpt", path.name)[1])
files = [path for path in (log / "checkpoints").iterdir() if "accuracy=" in path.name]
best = max(files, key=value) if files else log / "checkpoints" / "last.ckpt"
state = torch.load(best, map_location="cpu", weights_only=False)["state_dict"]
torch.save({"state_dict": state}, Path(out, "weights.pt"))
options = spanet.Options.load(str(log / "options.json"))
network = spanet.JetReconstructionModel(options)
network.load_state_dict(state)
network.eval()
events = network.dataset(test, network.event_info, limit_index=np.arange(int(compared)))
with torch.no_grad():
    batch = torch.utils.data.DataLoader(events, batch_size=int(compared))
    outputs = network(next(iter(batch)).sources)
np.savez(Path(out, "outputs.npz"), *[each.numpy() for each in outputs.assignments])
Path(out, "epochs.json").write_text(json.dumps({"epochs": epochs, "checkpoint": best.name}))
"""


def folds_of(path: Path, event: str, folder: Path, folds: int) -> list[tuple[Path, Path]]:
    """Files of the training and of the held-out events of each fold, in the order of the data set."""
    whole = AssignmentDataset(path, event)
    edges = [round(whole.n_events * place / folds) for place in range(folds + 1)]
    made = []
    for fold, (start, stop) in enumerate(pairwise(edges)):
        files = folder / f"training_{fold}.h5", folder / f"test_{fold}.h5"
        if not all(file.exists() for file in files):
            events = whole.read()
            slots = {name: mask.shape[1] for name, mask in events.masks.items()}
            slots = {item.name: slots[item.name] for item in whole.event.sequential}
            held = np.arange(start, stop)
            for file, rows in zip(files, (np.setdiff1d(np.arange(whole.n_events), held), held), strict=True):
                with DatasetWriter(file, whole.event, slots, pair_features=whole.pair_features, force=True) as writer:
                    writer.append(events.take(rows))
        made.append(files)
    return made


def train_original(args: argparse.Namespace, files: tuple[Path, Path], out: Path, seed: int) -> dict[str, Any]:
    """Train with the program of the original, convert its checkpoint, and compare the outputs of both codes."""
    out.mkdir(parents=True, exist_ok=True)
    # paths in the option file win over those of the command line
    keys = {"event_info_file": args.event, "training_file": os.path.abspath(files[0]), "validation_file": ""}
    options = json.loads(Path(args.options).read_text(encoding="utf-8")) | keys
    (out / "options.json").write_text(json.dumps(options), encoding="utf-8")
    arguments = ["-of", out / "options.json", "-e", args.epochs]
    line = [args.original_python, "-c", PROGRAM, args.original, out, seed, files[1], COMPARED, *arguments]
    with open(out / "log.txt", "w", encoding="utf-8") as log:
        subprocess.run(
            [os.fspath(Path(item).absolute()) if isinstance(item, Path) else str(item) for item in line],
            check=True, cwd=args.original, stdout=log, stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    data = AssignmentDataset(files[1], args.event)
    network, _ = convert_weights(out / "weights.pt", data.event, read_options(args.options))
    write_network(out / "network.pt", network, force=True)
    ours = open_model(network, threads=1).outputs(data.read(0, COMPARED)).log_probabilities
    difference = 0.0
    with np.load(out / "outputs.npz") as archive:
        for name, value in zip(data.event.particle_names, archive.files, strict=True):
            theirs, mine = archive[value], ours[name]
            possible = np.isfinite(mine)
            assert np.array_equal(possible, np.isfinite(theirs)), name
            difference = max(difference, float(np.abs(theirs[possible] - mine[possible]).max()))
    timed = json.loads((out / "epochs.json").read_text(encoding="utf-8"))
    return {"largest_difference": difference, **timed}


def train_ours(
    args: argparse.Namespace, files: tuple[Path, Path], out: Path, seed: int, own: dict[str, Any]
) -> dict[str, Any]:
    """Train with jettagger."""
    out.mkdir(parents=True, exist_ok=True)
    options = AssignmentOptions(**{
        **read_options(args.options).model_dump(), "epochs": args.epochs, "jettagger": own
    })  # fmt: skip
    epochs: list[dict[str, float]] = []
    last = [time.process_time(), time.perf_counter()]

    def follow(epoch: Any) -> None:
        now = [time.process_time(), time.perf_counter()]
        epochs.append({"cpu": now[0] - last[0], "wall": now[1] - last[1]})
        last[:] = [time.process_time(), time.perf_counter()]

    made = train_assignment(
        options,
        AssignmentDataset(files[0], args.event),
        seed=seed,
        device=args.device,
        checkpoint=out / "checkpoint.pt",
        follow=follow,
    )
    write_network(out / "network.pt", made.network, force=True)
    # the first epoch of a process has what came before it: reading, and the validation of the initial weights
    history = [[epoch.validation, epoch.metric] for epoch in made.history]
    return {"device": args.device, "epochs": epochs[1:], "history": history}


def tested(network: Path, data: AssignmentDataset) -> dict[str, list[int]]:
    """Category -> numbers of its events and of those that are all right, in a held-out fold."""
    events = data.read()
    outputs = open_model(read_network(network), threads=1).outputs(events)
    found = decode(outputs.log_probabilities, data.event).assignments
    matched = match_events(found, events.targets, events.target_masks, data.event)
    return {
        name: [int(inside.sum()), int((matched.right & inside).sum())]
        for name, inside in ((name, matched.in_category(numbers)) for name, numbers in matched.categories)
    }


def train(args: argparse.Namespace, folder: Path) -> None:
    """All trainings that are not there, one fold of all kinds and seeds after the other."""
    files = folds_of(args.data, args.event, folder, args.folds)
    for repeat in range(args.seeds):
        for fold, pair in enumerate(files):
            # initial weights decide about much of the result: each training has its own
            seed = 1 + fold + repeat * args.folds
            for kind in args.only or KINDS:
                out = folder / f"{kind}_{fold}_{seed}"
                own = KINDS[kind]
                if (out / "result.json").exists() or (own is None and args.original is None):
                    continue
                if own is None:
                    made = train_original(args, pair, out, seed)
                else:
                    made = train_ours(args, pair, out, seed, own)
                made |= {"kind": kind, "fold": fold, "seed": seed, "events": tested(
                    out / "network.pt", AssignmentDataset(pair[1], args.event)
                )}  # fmt: skip
                (out / "result.tmp").write_text(json.dumps(made), encoding="utf-8")
                (out / "result.tmp").replace(out / "result.json")
                print(f"{kind}, fold {fold}, seed {seed}: {made['events']}", flush=True)


def timed(args: argparse.Namespace, folder: Path) -> dict[str, list[float]]:
    """Kind -> CPU seconds of epochs of short trainings on the first fold, one after the other, three times."""
    files = folds_of(args.data, args.event, folder, args.folds)[0]
    epochs: dict[str, list[float]] = {}
    whole, args.epochs = args.epochs, args.timing
    try:
        for repeat in range(3):
            for kind, own in KINDS.items():
                if own is None and args.original is None:
                    continue
                with tempfile.TemporaryDirectory(dir=folder) as name:
                    out = Path(name)
                    if own is None:
                        made = train_original(args, files, out, repeat)
                    else:
                        made = train_ours(args, files, out, repeat, own)
                # of both programs: without the first one
                own_epochs = [epoch["cpu"] for epoch in made["epochs"]]
                epochs.setdefault(kind, []).extend(own_epochs[1:] if own is None else own_epochs)
                print(f"{kind}: {epochs[kind]}", flush=True)
    finally:
        args.epochs = whole
    return epochs


def summary(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Purities of each kind over the folds that all kinds have, and CPU times of an epoch."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*_*_*/result.json"))]
    kinds = [kind for kind in KINDS if any(each["kind"] == kind for each in found)]
    done = {kind: {(each["fold"], each["seed"]): each for each in found if each["kind"] == kind} for kind in kinds}
    common = sorted(set.intersection(*map(set, done.values()))) if done else []
    place = folder / "timing.json"
    times = json.loads(place.read_text(encoding="utf-8")) if place.exists() else {}
    made: dict[str, Any] = {
        "epochs": args.epochs,
        "folds": args.folds,
        "common": [list(each) for each in common],
        "kinds": {},
    }
    for kind in kinds:
        parts = [done[kind][each] for each in common]
        purities = {}
        for name in parts[0]["events"] if parts else ():
            counts = np.array([part["events"][name] for part in parts])
            number, right = counts.sum(0).tolist()
            values = counts[:, 1] / np.maximum(counts[:, 0], 1)
            # of the events, and of what trainings of other seeds and folds would give
            binomial = math.sqrt(right / number * (1 - right / number) / number) if number else math.nan
            spread = float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan
            if number:
                purities[name] = {"events": number, "value": right / number, "binomial": binomial, "spread": spread}
        cpu = times.get(kind, [])
        made["kinds"][kind] = {
            "trainings": len(done[kind]),
            "purities": purities,
            "epoch_cpu": float(np.median(cpu)) if cpu else None,
            "epochs_timed": len(cpu),
            "device": sorted({part.get("device", "cpu") for part in parts}),
            "largest_difference": max((part.get("largest_difference", 0.0) for part in parts), default=None),
            "by_training": [part["events"][min(part["events"], key=len)] for part in parts],
        }
    return made


def table_of(result: dict[str, Any]) -> str:
    """The table of the page."""
    kinds = result["kinds"]
    keys = list(dict.fromkeys(key for kind in kinds.values() for key in kind["purities"] if not key.startswith("0")))
    head = ["", "trainings", *(f"event purity {key}" for key in keys), "CPU seconds of an epoch"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for name, kind in kinds.items():
        cells = [NAMES[name], str(len(kind["by_training"]))]
        for key in keys:
            found = kind["purities"][key]
            cells.append(f"{found['value']:.3f} ± {found['binomial']:.3f} ({found['events']} events)")
        cells.append("" if kind["epoch_cpu"] is None else f"{kind['epoch_cpu']:.1f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="data set in the layout of SPANet")
    parser.add_argument("--event", required=True)
    parser.add_argument("--options", required=True)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the trainings")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", action="append", choices=list(KINDS), help="train this kind alone; may be repeated")
    parser.add_argument("--device", default="cpu", help="of the trainings of jettagger: cpu, cuda (default: cpu)")
    parser.add_argument("--timing", type=int, metavar="EPOCHS", help="measure the times alone, with so many epochs")
    parser.add_argument("--original", type=Path, help="checkout of SPANet; without, it is not trained")
    parser.add_argument("--original-python", type=Path, help="interpreter with the packages of SPANet")
    parser.add_argument("--no-training", action="store_true", help="sum up what is there")
    parser.add_argument("--write", action="store_true", help="store numbers and table in docs")
    args = parser.parse_args()
    args.event, args.options = (os.path.abspath(path) for path in (args.event, args.options))
    args.output.mkdir(parents=True, exist_ok=True)
    if args.timing:
        (args.output / "timing.json").write_text(json.dumps(timed(args, args.output)), encoding="utf-8")
    elif not args.no_training:
        train(args, args.output)
    result = summary(args.output, args)
    print(table_of(result))
    if args.write:
        NUMBERS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        text = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(PLACE.sub(lambda match: f"{match[1]}{table_of(result)}\n{match[2]}", text), encoding="utf-8")


if __name__ == "__main__":
    main()
