"""Train networks that assign the objects of events to particles (SPANet).

OPTIONS.json is that of SPANet, with its defaults, and most flags are SPANet's, too; docs/assignment.md lists all keys.
Flags override the file. The folder DIR/ is complete or not there:

  network.pt                network with event file, options and classes; network_<seed>.pt with --seeds
  history.json, history.pdf, history_zoomed.pdf
                            losses, learning rates, and measures of the validation events
  options.json, event.yaml  what it was trained with; training.json is the record
  checkpoint.pt             if the time ran out: -cf goes on from there
  logs/                     for TensorBoard, if it is installed

The best epoch is kept: by default that with the most right events, decoded as in use. An interrupted training goes on
with the same command: DIR.resume keeps its state until DIR/ is complete. 'jettagger assignment export DIR/' makes an
ONNX file of it.

examples:
  jettagger assignment train -of options.json -o out/ --dry-run
  jettagger assignment train -of options.json -ef event.yaml -tf tt.h5 -vf validation.h5 -o out/ --seed 1
  jettagger assignment train -of options.json -sf published.ckpt -fsf -e 20 -t 00:08:00:00 -o tuned/
  jettagger assignment train -of options.json -o ensemble/ --seeds 5
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jettagger.cli.assignment_options import add_options, flag_names, options_of, time_limit
from jettagger.cli.console import Console
from jettagger.cli.options import counted, seed
from jettagger.cli.trainings import add_training_options, kept_state

if TYPE_CHECKING:
    from jettagger.assignment import AssignmentOptions
    from jettagger.assignment.training import TrainingData
    from jettagger.assignment.training_folder import AssignmentTraining

__all__ = ["configure", "run"]

#: flags of the original without a use here -> why
_UNUSED = {
    "torch_script": ("-ts", "networks are not compiled"),
    "profile": ("--profile", "there is no profiler"),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``jettagger assignment train``."""
    add = parser.add_argument
    add_options(parser)
    add("-o", "--output", metavar="DIR/", help="folder to write (default: LOG/NAME/version_N of -l and -n)")

    def original(short: str, long: str, **keywords: Any) -> None:
        """A flag of the original, whose long names have underscores."""
        add(*flag_names(short, long), **keywords)

    original(
        "-t", "time-limit", type=time_limit, metavar="DD:HH:MM:SS", help="end in order, with the best epoch so far"
    )
    original("-g", "gpus", type=seed, metavar="N", help="number of GPUs; 0: the CPU (default: num_gpu, or none)")
    add("-fp16", "--fp16", action="store_true", help="mixed precision, with float16")
    original("-sf", "state-dict", metavar="FILE", help="weights to start from, as far as they fit: .ckpt, .npz, .pt")
    original("-fsf", "freeze-state-dict", action="store_true", help="leave the weights of -sf as they are")
    original("-cf", "checkpoint", metavar="FILE", help="go on from checkpoint.pt of a training that ran out of time")
    original("-l", "log-dir", default="spanet_output", metavar="LOG", help="folder of trainings without -o")
    original("-n", "name", default="spanet", metavar="NAME", help="name of trainings without -o")
    original("-ts", "torch-script", action="store_true", help="no use here")
    add("--profile", action="store_true", help="no use here")
    add("--seed", type=seed, default=0, metavar="N", help="seed of weights and order (default: 0)")
    add("--seeds", type=counted, default=1, metavar="N", help="train N networks, of this and the next seeds")
    add(
        "--monitor",
        default="event purity",
        metavar="MEASURE",
        help="decides about the best epoch (event purity)",
    )
    add("--threads", type=counted, default=1, metavar="N", help="threads of torch and of the decoder (default: 1)")
    add_training_options(parser, "DIR", "the output of an earlier training")
    add("--dry-run", action="store_true", help="read the events, build the network, and show what would be trained")


def run(args: argparse.Namespace, console: Console) -> int:
    """Run ``jettagger assignment train``."""
    from jettagger.assignment.training_folder import MARKER, inputs_of, train_to_folder
    from jettagger.files import check_folder
    from jettagger.training.live import live_table

    options = options_of(args)
    output = args.output or _next_version(Path(args.log_dir) / args.name)
    others = (args.options_file, args.state_dict, args.checkpoint)
    check_folder(output, marker=MARKER, force=args.force, inputs=inputs_of(options, *others))
    _refuse_contradictions(args, output)
    gpus = _gpus(args.gpus, options.num_gpu)
    unused = [f"{flag} ({why})" for name, (flag, why) in _UNUSED.items() if getattr(args, name)]
    if unused:
        console.warn(f"flags without a use here: {', '.join(unused)}")
    if getattr(args, "verbose", 0):
        _options_table(console, options)
    if args.dry_run:
        _plan(console, args, options)
        return 0
    with ExitStack() as stack:
        stack.enter_context(kept_state(console, output, args.resume))
        stack.enter_context(redirect_stdout(sys.stderr))  # what libraries print is no result
        follow = stack.enter_context(live_table(interval=console.interval))
        result = train_to_folder(
            options,
            output,
            seed=args.seed,
            seeds=args.seeds,
            monitor=args.monitor,
            threads=args.threads,
            device="cuda" if gpus else "cpu",
            processes=max(gpus, 1),
            precision="float16" if args.fp16 else "float32",
            weights=args.state_dict,
            freeze=args.freeze_state_dict,
            checkpoint=args.checkpoint,
            time_limit=args.time_limit,
            resume=args.resume,
            plots=not args.no_plots,
            force=args.force,
            follow=follow,
            begin=lambda data: console.tell(
                f"{data.training.count} events for the training, {data.validation.count} for the validation, "
                f"{data.steps} steps in an epoch"
            ),
        )
    _summary(console, result)
    return 0


# -------------------------------------------------------------------------------------------------------------- output


def _next_version(folder: Path) -> str:
    """The first version that is not there; that of an interrupted training is not."""
    from jettagger.errors import OutputError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise OutputError(f"cannot write into {folder}: {getattr(error, 'strerror', None) or error}") from error
    number = 0
    while (folder / f"version_{number}").exists():
        number += 1
    return str(folder / f"version_{number}")


def _refuse_contradictions(args: argparse.Namespace, output: str) -> None:
    """Refuse flags that do not go together."""
    from jettagger.errors import ConfigError
    from jettagger.files import refuse_inputs
    from jettagger.files.resuming import resume_folder

    if args.checkpoint is not None and not args.resume:
        refuse_inputs(resume_folder(output), [args.checkpoint])  # it is emptied
    if args.freeze_state_dict and args.state_dict is None:
        raise ConfigError("-fsf freezes the weights of -sf, which is not given")


def _gpus(asked: int | None, number: int) -> int:
    """Number of GPUs; one is the default of the original, which takes it as given."""
    from jettagger.errors import ProviderError, require

    torch = require("torch", "train", "training a network")
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    wanted = number if asked is None else asked
    if asked is None and wanted <= 1:
        wanted = min(wanted, there)
    if wanted > there:
        said = "-g" if asked is not None else "num_gpu of the options"
        asked_for = f"{wanted} GPU{'s' if wanted > 1 else ''}"
        found = f"torch {torch.__version__} finds {there or 'none'} here"
        raise ProviderError(
            f"{said} asks for {asked_for}, {found}; -g 0 trains on the CPU", where=said, got=found, expected=asked_for
        )
    return wanted


# -------------------------------------------------------------------------------------------------------------- output


def _options_table(console: Console, options: AssignmentOptions) -> None:
    fields = type(options).model_fields
    changed = {name: value for name in fields if (value := getattr(options, name)) != fields[name].default}
    rows = [(name, value) for name, value in changed.items() if name != "jettagger"]
    own = options.jettagger.model_dump(exclude_defaults=True)
    rows += [(f"jettagger.{name}", value) for name, value in own.items()]
    console.table("options that differ from the defaults", ("option", "value"), rows)


def _plan(console: Console, args: argparse.Namespace, options: AssignmentOptions) -> None:
    from jettagger.assignment import load_weights
    from jettagger.assignment.training import prepare_training
    from jettagger.assignment.training_folder import open_datasets, starting_weights
    from jettagger.assignment.training_metrics import validation_metric
    from jettagger.assignment.training_objective import FROZEN
    from jettagger.errors import ConfigError

    training, validation = open_datasets(options)
    validation_metric(args.monitor, training.event, options)
    data = prepare_training(options, training, validation)
    network = data.network()
    if args.state_dict is not None:
        loaded = load_weights(network, starting_weights(args.state_dict), partial=True, where=args.state_dict)
        console.say(loaded.summary())
        if args.freeze_state_dict and {name for name, _ in network.named_parameters()} <= {*loaded.loaded}:
            raise ConfigError(FROZEN)
    _events(console, data)
    if getattr(args, "verbose", 0):
        _statistics(console, data)
    total = sum(parameter.numel() for parameter in network.parameters())
    console.say(f"{total:,} parameters; {options.epochs} epochs of {data.steps} steps of {options.batch_size} events")
    if args.seeds > 1:
        console.say(f"{args.seeds} networks, of the seeds {args.seed} to {args.seed + args.seeds - 1}")


def _events(console: Console, data: TrainingData) -> None:
    rows = [("events", data.training.count, data.validation.count)]
    rows += [(f"with {name}", one, other) for name, (one, other) in data.present.items()]
    console.table("events", ("", "training", "validation"), rows)
    if data.left_out:
        console.say(
            f"left out of the training: {data.left_out} events without all particles, or for their number of objects"
        )


def _statistics(console: Console, data: TrainingData) -> None:
    rows = [
        (f"{item.name}/{feature.name}", f"{mean:.4g}", f"{std:.4g}")
        for item in data.description.inputs
        for feature, mean, std in zip(
            item.features, data.statistics.inputs[item.name].mean, data.statistics.inputs[item.name].std, strict=True
        )
        if feature.normalize
    ]
    console.table("normalisation", ("feature", "mean", "standard deviation"), rows)


def _summary(console: Console, result: AssignmentTraining) -> None:
    rows = []
    for file, network in result.networks.items():
        best = max((epoch for epoch in network.history if epoch.best), key=lambda epoch: epoch.number, default=None)
        if best is None:
            console.warn(f"{file}: no epoch was better than the network before the training, which is kept")
        first = network.history[0]
        numbers = ("-", f"{first.start:.5f}", "-") if best is None else (
            f"{best.number}", f"{best.validation:.5f}", f"{best.criterion:.5f}",
        )  # fmt: skip
        rows.append((file, network.training_events, len(network.history), *numbers))
        if network.loaded is not None:
            console.say(network.loaded.summary())
    console.table("networks", ("file", "training events", "epochs", "kept", "validation loss", result.monitor), rows)
    if result.out_of_time:
        left = f"; the seeds {', '.join(map(str, result.left_out))} were not trained" if result.left_out else ""
        console.warn(f"the time ran out before the last epoch: the best one so far is kept{left}")
    console.wrote(result.folder, f"{result.folder}/: {result.parameters:,} parameters")
