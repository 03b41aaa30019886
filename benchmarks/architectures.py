"""Images, sequences, sets and substructure on equal terms: the same jets, splits and passes for each network.

    python -m benchmarks.architectures STUDY/                           # all parts, one after the other
    python -m benchmarks.architectures STUDY/ --only simulate prepare   # the jets: Pythia and FastJet, hours
    python -m benchmarks.architectures STUDY/ --only rejections images orders modelling --device cuda --jobs 8
    python -m benchmarks.architectures STUDY/ --only costs              # on a quiet machine
    python -m benchmarks.architectures STUDY/ --only summary --write    # numbers, tables and figures in docs/

What is in STUDY/ already is kept: a run that was interrupted goes on with the same command, and parts may run on
different machines. `prepare` leaves one compact file for each sample (`<task>_<variant>.npz`); with these alone the
other parts run elsewhere, and bring back `networks/`: a bundle and a record for each training.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.architectures_page import NUMBERS as DOCUMENT
from benchmarks.architectures_page import pages, summary
from benchmarks.rejections import EFFICIENCIES, measured_rejections
from examples.architectures.inputs import TASKS, Task
from examples.architectures.samples import (
    NUMBERS,
    PROCESSES,
    VARIANTS,
    flat_weights,
    read_file,
    read_sample,
    simulate_file,
    subset,
    write_sample,
)
from jettagger.files import complete_or_absent
from jettagger.runtime.memory import freed_memory_kept
from jettagger.training import RaggedRows
from jettagger.training.ragged import joined

PARTS = ("simulate", "prepare", "rejections", "images", "orders", "modelling", "costs", "summary")

#: training jets -> passes, jets of a batch, and most jets of the validation after each pass
PASSES: Mapping[int, tuple[int, int, int]] = {
    1_000: (40, 64, 500), 10_000: (20, 256, 2_000), 100_000: (10, 512, 10_000),
}  # fmt: skip

#: task -> processes of its jets
SOURCES: Mapping[str, tuple[str, ...]] = {
    "fat": ("QCD", "Hbb", "4q", "top"),
    "quark": ("QCD",),
    "btag": ("QCD", "tt"),
}

#: tasks whose networks are trained and tested on other variants
MODELLED = ("fat", "quark")

#: events for each training jet of the largest task, by process: for trainings and for tests; multijets decide how well
#: a rejection is known
EVENTS: Mapping[str, tuple[float, float]] = {
    "QCD": (0.72, 0.16),
    "Hbb": (0.175, 0.02),
    "4q": (0.215, 0.025),
    "top": (0.265, 0.03),
    "tt": (0.33, 0.05),
}

#: of the test events of the default sample, those of another variant
VARIANT_TESTS = 0.5

#: more training events of another variant: its detector may lose more jets, and numbers of small samples fluctuate
VARIANT_MARGIN = 1.15

#: most jets of a class that are kept, per training jet: validation, test of backgrounds
VALIDATION_JETS, TEST_JETS = 0.02, 0.3

#: seeds of simulations by role and variant
_SEEDS = {
    (role, variant): 1 + 2 * place + shift
    for place, variant in enumerate(VARIANTS)
    for shift, role in enumerate(("train", "test"))
}


@dataclass(frozen=True)
class Job:
    """One training.

    Parameters
    ----------
    task, recipe : str
    size : int
        Training jets.
    variant : str
        Sample of the training.
    seed : int
    tests : tuple of str
        Samples of the test jets.
    """

    task: str
    recipe: str
    size: int
    variant: str
    seed: int
    tests: tuple[str, ...] = ("default",)

    @property
    def name(self) -> str:
        """Name of its folder and record."""
        return f"{self.task}_{self.recipe}_{self.size}_{self.variant}_s{self.seed}"


# ----------------------------------------------------------------------------------------------------------------- jets


def events_of(process: str, role: str, args: argparse.Namespace, variant: str) -> int:
    """Number of events to simulate."""
    train, test = EVENTS[process]
    if role == "train":
        margin = 1.0 if variant == "default" else VARIANT_MARGIN
        return int(np.ceil(margin * train * size_of(args, variant)))
    return int(np.ceil(test * max(args.sizes) * (1.0 if variant == "default" else VARIANT_TESTS)))


def size_of(args: argparse.Namespace, variant: str) -> int:
    """Largest number of training jets of a variant."""
    return max(args.sizes) if variant == "default" else args.modelling_size


def capped(rows: RaggedRows, task: Task, size: int, tests: int) -> RaggedRows:
    """No more jets than trainings with ``size`` jets take; the tests of ``tests`` jets."""
    label, split = (rows.numbers[:, NUMBERS.index(name)].astype(int) for name in ("label", "split"))
    chosen = []
    for place, needed in enumerate(task.numbers(size)):
        for number, limit in enumerate((needed, int(VALIDATION_JETS * size), int(TEST_JETS * tests))):
            mine = np.flatnonzero((label == place) & (split == number))
            chosen.append(np.random.default_rng([11, place, number]).permutation(mine)[:limit])
    return rows.take(np.sort(np.concatenate(chosen)))


def simulate_part(args: argparse.Namespace) -> None:
    """Simulate all files that are not there, of what the tasks take; other variants for `MODELLED` ones alone."""
    for variant in args.variants:
        tasks = [name for name in args.tasks if variant == "default" or name in MODELLED]
        for role in ("test", "train"):
            for process in (name for name in PROCESSES if any(name in SOURCES[task] for task in tasks)):
                events = events_of(process, role, args, variant)
                start = time.monotonic()
                seed = _SEEDS[role, variant]
                path = simulate_file(args.folder / "simulated", process, variant, role, events, seed, args.jobs)
                print(f"{path.name}: {events} events, {time.monotonic() - start:.0f} s", flush=True)


def prepare_part(args: argparse.Namespace) -> None:
    """Read the files into one compact file for each task and variant."""
    for task in map(TASKS.__getitem__, args.tasks):
        for variant in args.variants:
            target = sample_path(args.folder, task.name, variant)
            if target.exists():
                continue
            parts: list[RaggedRows] = []
            for process in SOURCES[task.name]:
                for role in ("train", "test"):
                    paths = (args.folder / "simulated").glob(f"{process}_{variant}_{role}_*.root")
                    # files of one seed begin with the same events: the largest has them all
                    path = max(paths, key=lambda path: int(path.stem.rpartition("_")[2]), default=None)
                    parts += [] if path is None else [read_file(path, task, role)]
            if not parts:
                print(f"{task.name}, {variant}: nothing is simulated", flush=True)
                continue
            tests = int(max(args.sizes) * (1.0 if variant == "default" else VARIANT_TESTS))
            rows = capped(joined(parts), task, size_of(args, variant), tests)
            size = write_sample(target, task.name, rows)
            print(
                f"{target.name}: {describe(rows, task)}; {size / 1e6:.1f} MB, {size / len(rows):.0f} bytes per jet: "
                f"{40e6 / size * len(rows):.0f} jets in 40 MB",
                flush=True,
            )


def sample_path(folder: Path, task: str, variant: str) -> Path:
    """File of a sample."""
    return folder / f"{task}_{variant}.npz"


def describe(rows: RaggedRows, task: Task) -> str:
    """Number of jets by split and class."""
    label, split = (rows.numbers[:, NUMBERS.index(name)].astype(int) for name in ("label", "split"))
    parts = []
    for place, name in enumerate(("train", "validation", "test")):
        counts = np.bincount(label[split == place], minlength=len(task.classes))
        parts.append(
            f"{name} " + ", ".join(f"{count} {kind}" for count, kind in zip(counts, task.classes, strict=True))
        )
    return "; ".join(parts)


# ------------------------------------------------------------------------------------------------------------ trainings


def passes_of(size: int) -> tuple[int, int, int]:
    """Passes, batch size and validation of a training: those of the nearest size of `PASSES`."""
    nearest = min(PASSES, key=lambda known: abs(np.log(known / size)))
    return PASSES[nearest]


def jobs_of(args: argparse.Namespace, part: str) -> Iterator[Job]:
    """The trainings of a part."""
    from examples.architectures.train import recipes_of

    largest = max(args.sizes)
    for name in args.tasks:
        task = TASKS[name]
        main = recipes_of(task, main=True)
        extra = [recipe for recipe in recipes_of(task) if recipe not in main]
        for seed in range(1, args.seeds + 1):
            if part == "rejections":
                yield from (Job(name, recipe, size, "default", seed) for size in args.sizes for recipe in main)
            elif part in ("images", "orders"):
                front = {"images": ("cnn1-", "cnn6-"), "orders": ("rnnip-",)}[part]
                yield from (Job(name, recipe, largest, "default", seed) for recipe in extra if recipe.startswith(front))
            elif part == "modelling" and name in MODELLED:
                yield from (
                    Job(name, recipe, args.modelling_size, variant, seed, tuple(VARIANTS))
                    for variant in args.variants
                    for recipe in main
                )


@freed_memory_kept()
def run_job(job: Job, folder: Path, device: str, epochs: int | None, threads: int) -> str:
    """Train, export, compare, measure; what is done is left alone. A line for the screen."""
    import torch

    from examples.architectures.export import compare, export, export_trees, write_bundle
    from examples.architectures.jet_networks import parameters
    from examples.architectures.train import (
        RECIPES,
        fit_trees,
        groups_of,
        prepare,
        scores,
        shapes_of,
        train,
        tree_scores,
    )

    target = folder / "networks" / job.name
    record = target.with_suffix(".json")
    if record.exists() and not missing_tests(json.loads(record.read_text(encoding="utf-8")), job):
        return f"{job.name}: is there"
    torch.set_num_threads(threads)
    task, recipe = TASKS[job.task], RECIPES[job.recipe]
    classes = len(task.classes)
    rows = read_sample(sample_path(folder, job.task, job.variant), job.task)
    passes, batch, validated = passes_of(job.size)
    passes = epochs or passes
    held = np.random.default_rng(13).permutation(subset(rows, task, "validation"))[:validated]
    parts = []
    for chosen in (subset(rows, task, "train", job.size), np.sort(held)):
        mine = rows.take(chosen)
        parts.append(prepare(mine, recipe, flat_weights(mine, task)))
    target.parent.mkdir(parents=True, exist_ok=True)
    facts: dict[str, Any] = {**asdict(job), "device": device, "jets": len(parts[0]), "validation": len(parts[1])}
    begin = time.monotonic()
    if recipe.build is None:
        from jettagger.finetuning.booster import trees_of

        model, seconds = fit_trees(recipe, classes, *parts, seed=job.seed)
        shapes = shapes_of(recipe)
        onnx_model = export_trees(shapes, trees_of(model, len(shapes.names), classes), recipe.inputs)
        facts |= {"parameters": None, "trees": model.num_boosted_rounds() * classes, "seconds": seconds}
    else:
        made = train(
            recipe, classes, *parts, seed=job.seed, epochs=passes, device=device, threads=threads, batch=batch,
            checkpoint=target.with_suffix(".checkpoint"), subject=job.name,
        )  # fmt: skip
        model = made.network
        onnx_model = export(model, recipe.inputs, recipe.image)
        difference = max(compare(onnx_model, model, recipe.inputs, recipe.image).values())
        losses = [[round(epoch.train, 5), round(epoch.validation, 5)] for epoch in made.history]
        facts |= {"parameters": parameters(model), "passes": passes, "batch": batch, "losses": losses}
        facts |= {"seconds_per_epoch": float(np.median(made.seconds)) if made.seconds else None}
        facts |= {"onnx_difference": difference}
    facts["wall_seconds"] = time.monotonic() - begin
    notes = {key: facts[key] for key in ("jets", "variant", "seed")}
    write_bundle(target, onnx_model, task, groups_of(recipe), name=job.name, title=recipe.title, notes=notes)
    facts["rejections"] = {}
    for variant in job.tests:
        path = sample_path(folder, job.task, variant)
        if not path.exists():
            continue
        tested = read_sample(path, job.task)
        tested = tested.take(subset(tested, task, "test"))
        inputs = prepare(tested, recipe, flat_weights(tested, task))
        found = tree_scores(model, recipe, inputs) if recipe.build is None else scores(model, recipe, inputs, device)
        facts["rejections"][variant] = measured_rejections(found, tested, task)
    with complete_or_absent(record, force=True) as part:
        part.write_text(json.dumps(facts), encoding="utf-8")
    target.with_suffix(".checkpoint").unlink(missing_ok=True)
    return f"{job.name}: {facts['wall_seconds']:.1f} s, {first_numbers(facts, task)}"


def missing_tests(facts: Mapping[str, Any], job: Job) -> list[str]:
    """Test samples that a record lacks."""
    return [variant for variant in job.tests if variant not in facts["rejections"]]


def first_numbers(facts: Mapping[str, Any], task: Task) -> str:
    """Rejections of the first test sample for the screen."""
    if not facts["rejections"]:
        return "no test jets"
    found = next(iter(facts["rejections"].values()))
    efficiency = EFFICIENCIES[task.name][-1]
    return f"rejection at {efficiency:.0%}: " + ", ".join(
        f"{key.rpartition(', ')[0]} {values[0]:.3g}"
        for key, values in found["values"].items()
        if key.endswith(f"{efficiency:g}")
    )


def train_part(args: argparse.Namespace, part: str) -> None:
    """All trainings of a part, several at a time."""
    jobs, left_out = [], []
    for job in jobs_of(args, part):
        if args.networks and job.recipe not in args.networks:
            continue
        path = sample_path(args.folder, job.task, job.variant)
        if not path.exists():
            left_out.append(f"{job.name}: {path.name} is not there")
            continue
        jobs.append(job)
    for line in left_out:
        print(f"left out: {line}", flush=True)
    options = (args.folder, args.device, args.epochs, args.threads)
    if args.jobs == 1:
        for number, job in enumerate(jobs, start=1):
            print(f"[{number}/{len(jobs)}] {attempt(job, *options)}", flush=True)
        return
    # CUDA does not survive a fork
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(args.jobs, mp_context=context) as pool:
        for number, future in enumerate(as_completed([pool.submit(attempt, job, *options) for job in jobs]), start=1):
            print(f"[{number}/{len(jobs)}] {future.result()}", flush=True)


def attempt(job: Job, folder: Path, device: str, epochs: int | None, threads: int) -> str:
    """`run_job`; too few jets of a sample are said, not an end of the study."""
    try:
        return run_job(job, folder, device, epochs, threads)
    except SystemExit as error:
        return f"left out: {job.name}: {error}"


# ---------------------------------------------------------------------------------------------------------------- costs


def costs_part(args: argparse.Namespace) -> None:
    """Seconds of an epoch and of a jet in ONNX Runtime, one network after the other, on one core."""
    from examples.architectures.train import recipes_of

    path = args.folder / "costs.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for name in args.tasks:
        sample = sample_path(args.folder, name, "default")
        if not sample.exists():
            print(f"left out: {sample.name} is not there", flush=True)
            continue
        task = TASKS[name]
        rows = read_sample(sample, name)
        rows = rows.take(subset(rows, task, "test")[: args.cost_jets])
        for recipe in recipes_of(task):
            key = f"{name}_{recipe}_{args.device}"
            if key in found or (args.networks and recipe not in args.networks):
                continue
            found[key] = measured_cost(recipe, task, rows, args.device)
            print(key, found[key], flush=True)
            with complete_or_absent(path, force=True) as part:
                part.write_text(json.dumps(found, indent=1), encoding="utf-8")


@freed_memory_kept()
def measured_cost(name: str, task: Task, rows: RaggedRows, device: str) -> dict[str, Any]:
    """Microseconds per jet of an epoch and in ONNX Runtime, one thread: medians, of CPU time where the CPU trains."""
    import onnxruntime

    from examples.architectures.export import export, export_trees
    from examples.architectures.train import RECIPES, arrays_of, fit_trees, prepare, shapes_of, train

    recipe, classes = RECIPES[name], len(task.classes)
    # other programs on the machine count in the time on the clock
    clock = time.process_time if device == "cpu" else time.perf_counter
    ready = prepare(rows, recipe, flat_weights(rows, task))
    few = ready.take(np.arange(min(64, len(ready))))
    if recipe.build is None:
        from jettagger.finetuning.booster import trees_of

        booster, _ = fit_trees(recipe, classes, ready, ready, seed=1)
        epoch = None  # trees have none
        shapes = shapes_of(recipe)
        model = export_trees(shapes, trees_of(booster, len(shapes.names), classes), recipe.inputs)
    else:
        ends: list[float] = []
        made = train(
            recipe, classes, ready, few, seed=1, epochs=4, device=device, threads=1,
            follow=lambda _: ends.append(clock()),
        )  # fmt: skip
        epoch = float(np.median(np.diff(ends)))  # without the first one, which prepares
        model = export(made.network, recipe.inputs, recipe.image)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    if recipe.image:
        dense = np.zeros((len(few), *recipe.image), dtype=np.float32).reshape(len(few), -1)
        pixels, mask = few.padded("image")
        np.add.at(dense, (np.nonzero(mask)[0], pixels[mask][:, 0].astype(int)), pixels[mask][:, 1])
        feeds = {"image": dense.reshape(len(few), *recipe.image)}
    else:
        feeds = dict(zip(recipe.inputs, arrays_of(few, recipe), strict=True))
    times = []
    for _ in range(30):
        start = time.process_time()
        session.run(None, feeds)
        times.append(time.process_time() - start)
    return {
        "device": device,
        "jets": len(ready),
        "training_us_per_jet": None if epoch is None else 1e6 * epoch / len(ready),
        "onnx_us_per_jet": 1e6 * float(np.median(times)) / len(few),
        "processor": platform.processor() or platform.machine(),
    }


# ----------------------------------------------------------------------------------------------------------------- main


def records_of(folder: Path) -> list[dict[str, Any]]:
    """Records of all trainings."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted((folder / "networks").glob("*.json"))]


def summary_part(args: argparse.Namespace) -> None:
    """Tables and statements; in docs/ with ``--write``."""
    path = args.folder / "costs.json"
    costs = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    found = summary(records_of(args.folder), costs)
    print(pages(found))
    if args.write:
        with complete_or_absent(DOCUMENT, force=True) as part:
            part.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        from benchmarks.architectures_page import write_page

        write_page(found)


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of samples and networks")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS), metavar="TASK")
    parser.add_argument("--networks", nargs="+", metavar="NAME", help="these networks alone")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="VARIANT")
    parser.add_argument("--sizes", nargs="+", type=int, default=sorted(PASSES), metavar="JETS", help="of trainings")
    parser.add_argument("--modelling-size", type=int, default=20_000, help="training jets of variants")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="of all trainings (default: by their size)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:N")
    parser.add_argument("--jobs", type=int, default=1, help="trainings, or processes of a simulation, at a time")
    parser.add_argument("--threads", type=int, default=1, help="of a training on the CPU")
    parser.add_argument("--cost-jets", type=int, default=2_000)
    parser.add_argument("--write", action="store_true", help="write numbers, tables and figures in docs/")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Run the parts in order."""
    args = arguments(words)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    args.folder.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        if part not in args.only:
            continue
        print(f"== {part}", flush=True)
        alone = {"simulate": simulate_part, "prepare": prepare_part, "costs": costs_part, "summary": summary_part}
        if part in alone:
            alone[part](args)
        else:
            train_part(args, part)


if __name__ == "__main__":
    main()
