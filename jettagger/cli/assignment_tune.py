"""Search for the options of a training: trials with options of a search space, of which bad ones end early.

SPACE.json is as SPANet reads it: keys of an options file, with a value for all trials, or a call of ray.tune as text.
Calls are parsed, not evaluated; docs/assignment.md lists them. A small one:

  {"hidden_dim": "tune.choice([32, 64, 96])", "dropout": "tune.uniform(0.0, 0.4)",
   "learning_rate": "tune.loguniform(1e-4, 1e-2)", "num_attention_heads": 4, "epochs": 20}

Without it the space is that of SPANet. Each trial trains in its own process; options are chosen by the tree-structured
Parzen estimator (optuna) from the trials before. The folder DIR/ is complete or not there:

  options.json                  options of the best trial, for 'jettagger assignment train -of'
  trials.txt, tuning.json       all trials, also those that failed, and why; tuning.json is the record
  tuning.pdf, tuning.png        the criterion against trials and options
  study.journal                 the study, for --study

An interrupted search goes on with the same command: DIR.resume keeps its study, and the state of the trials that were
running, until DIR/ is complete. --study goes on from a complete one with more trials.

examples:
  jettagger assignment tune -of options.json -s space.json -o tuned/ --dry-run
  jettagger assignment tune -of options.json -s space.json -o tuned/ --trials 50 --workers 4
  jettagger assignment tune -of options.json -o tuned/ -t 00:08:00:00 --scheduler tcp://host:8786 --workers 20
  jettagger assignment train -of tuned/options.json -o best/ --seeds 5
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jettagger.cli.assignment_options import add_options, flag_names, options_of, time_limit
from jettagger.cli.console import Console
from jettagger.cli.options import counted, seed

if TYPE_CHECKING:
    from jettagger.studies.tuning.run import Tuning, TuningPlan
    from jettagger.studies.tuning.spaces import SearchSpace
    from jettagger.studies.tuning.study import Trial

__all__ = ["configure", "run"]

#: rows of the live table
_ROWS = 15


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``jettagger assignment tune``."""
    add = parser.add_argument
    add_options(parser)
    add("-o", "--output", required=True, metavar="DIR/", help="folder to write")
    add(*flag_names("-s", "search-space-file"), metavar="SPACE.json", help="search space, see above")
    add(*flag_names("-t", "time-limit"), type=time_limit, metavar="DD:HH:MM:SS", help="end in order after a time")
    add(
        "--trial-limit",
        type=time_limit,
        metavar="DD:HH:MM:SS",
        help="end a trial after a time; it has failed, and the search goes on",
    )
    add("--epoch-limit", type=time_limit, metavar="DD:HH:MM:SS", help="the same for one without an epoch for so long")
    add("--trials", type=counted, default=10, metavar="N", help="number of trials (default: %(default)s)")
    add("--workers", type=counted, default=1, metavar="N", help="trials at a time (default: %(default)s)")
    add("--scheduler", metavar="ADDRESS", help="of a dask cluster, whose workers run the trials")
    add("--seed", type=seed, default=0, metavar="N", help="seed of options and trainings (default: %(default)s)")
    add("--monitor", default="event purity", metavar="MEASURE", help="criterion (default: %(default)s)")
    add(
        "--pruner",
        default="halving",
        metavar="NAME",
        help="how bad trials end early: halving (successive halving), median (below that of others), none (default: "
        "%(default)s)",
    )
    add("--threads", type=counted, default=1, metavar="N", help="threads of each trial (default: %(default)s)")
    add(
        "--device",
        action="append",
        metavar="NAME",
        help="cpu, cuda or cuda:N; given several times, trials take them in turn (default: cpu)",
    )
    add("-fp16", "--fp16", action="store_true", help="mixed precision, with float16")
    add("--study", metavar="DIR/", help="begin with the trials of an earlier search with the same options and space")
    add("--no-plots", action="store_true", help="draw nothing")
    add("--force", action="store_true", help="replace the output of an earlier search")
    add(
        "--resume",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="go on with the study of an interrupted run in DIR.resume; --no-resume starts anew and keeps nothing",
    )
    add("--dry-run", action="store_true", help="check everything, show the space and the options of the first trial")


def run(args: argparse.Namespace, console: Console) -> int:
    """Run ``jettagger assignment tune``."""
    from jettagger.assignment.training_folder import inputs_of
    from jettagger.files import check_folder
    from jettagger.files.resuming import resume_folder
    from jettagger.studies.tuning.report import MARKER
    from jettagger.studies.tuning.run import plan_tuning, tune_assignment
    from jettagger.studies.tuning.spaces import DEFAULT_SPACE, read_search_space, search_space

    options = options_of(args)
    space = read_search_space(args.search_space_file) if args.search_space_file else search_space(DEFAULT_SPACE)
    check_folder(
        args.output,
        marker=MARKER,
        force=args.force,
        inputs=inputs_of(options, args.options_file, args.search_space_file, args.study),
    )
    if args.dry_run:
        _plan(console, plan_tuning(options, space, seed=args.seed, monitor=args.monitor), args.trials)
        return 0
    with redirect_stdout(sys.stderr), _live(console, space, args.monitor) as follow:
        try:
            result = tune_assignment(
                options,
                space,
                args.output,
                trials=args.trials,
                seed=args.seed,
                monitor=args.monitor,
                pruner=args.pruner,
                workers=args.workers,
                scheduler=args.scheduler,
                threads=args.threads,
                devices=args.device or ["cpu"],
                precision="float16" if args.fp16 else "float32",
                time_limit=args.time_limit,
                trial_limit=args.trial_limit,
                epoch_limit=args.epoch_limit,
                study=args.study,
                plots=not args.no_plots,
                resume=args.resume,
                force=args.force,
                follow=follow,
            )
        except BaseException:
            kept = resume_folder(args.output)
            if args.resume and kept.is_dir():
                console.tell(f"jettagger: the study is kept in {kept}: the same command goes on from there")
            raise
    _summary(console, args.output, result, space)
    return 0


def _plan(console: Console, plan: TuningPlan, trials: int) -> None:
    from jettagger.studies.tuning.report import value_text

    ranges = [(item.key, item.text) for item in plan.space.ranges]
    console.table("searched", ("option", "values"), ranges)
    own = plan.space.fixed.get("jettagger", {})
    fixed = [(key, value_text(value)) for key, value in plan.space.fixed.items() if key != "jettagger"]
    fixed += [(f"jettagger.{key}", value_text(value)) for key, value in own.items()]
    if fixed:
        console.say("")
        console.table("of all trials", ("option", "value"), fixed)
    console.say("")
    console.table("first trial", ("option", "value"), [(key, value_text(value)) for key, value in plan.first.items()])
    if plan.problem:
        console.say(f"not valid, and would be left out: {plan.problem}")
    console.say("")
    console.say(
        f"{trials} trials of up to {plan.space.epochs(plan.options)} epochs, with {plan.training_events} events for "
        f"the training and {plan.validation_events} for the validation"
    )


def _summary(console: Console, output: str, result: Tuning, space: SearchSpace) -> None:
    from jettagger.studies.tuning.report import OPTIONS, trial_rows, value_text

    console.table("trials", *trial_rows(result.trials, [item.key for item in space.ranges]))
    if result.importances:
        console.say("")
        rows = [(key, f"{share:.2f}") for key, share in result.importances.items()]
        console.table("importance", ("option", "share of the variance"), rows)
    console.say("")
    if result.out_of_time:
        console.say("the time ran out before the last trial: --study goes on from here")
    values = ", ".join(f"{key} {value_text(value)}" for key, value in result.best.parameters.items())
    console.say(f"best: trial {result.best.number}, {result.monitor} {result.best.value:.5g}, with {values}")
    console.wrote(output, f"{Path(output) / OPTIONS}: its options")


# ---------------------------------------------------------------------------------------------------------------- live


@contextmanager
def _live(console: Console, space: SearchSpace, monitor: str) -> Iterator[Callable[[Trial], None]]:
    """The trials while they run: a table on a terminal, otherwise lines."""
    if not sys.stderr.isatty():
        yield _lines(console, monitor)
        return
    from rich.console import Console
    from rich.live import Live
    from rich.markup import escape
    from rich.table import Table

    from jettagger.studies.tuning.report import trial_rows

    keys = [item.key for item in space.ranges]
    trials: dict[int, Trial] = {}

    def shown() -> Any:
        header, rows = trial_rows([trials[number] for number in sorted(trials)][-_ROWS:], keys)
        made = Table(title=f"trials: {monitor}")
        for name in header:
            made.add_column(escape(name))
        for row in rows:
            made.add_row(*map(escape, row))
        return made

    with Live(shown(), console=Console(stderr=True), auto_refresh=False, transient=True) as live:

        def update(trial: Trial) -> None:
            trials[trial.number] = trial
            live.update(shown(), refresh=True)

        yield update


def _lines(console: Console, monitor: str) -> Callable[[Trial], None]:
    last = time.monotonic()

    def line(trial: Trial) -> None:
        nonlocal last
        if trial.state == "running" and (not trial.values or time.monotonic() - last < console.interval):
            return
        last = time.monotonic()
        value = "" if trial.value is None else f", {monitor} {trial.value:.5g}"
        epochs = f" after {trial.epochs} epoch{'s' * (trial.epochs > 1)}" if trial.epochs else ""
        reason = f": {trial.problem}" if trial.problem else ""
        console.tell(f"trial {trial.number}: {trial.state}{epochs}{value}{reason}")

    return line
