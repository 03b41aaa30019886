"""Command line flags of SPANet that change its options: the same in training and search."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jettagger.cli.options import counted, finite, seed
from jettagger.errors import LONGEST_NAME, visible

if TYPE_CHECKING:
    from jettagger.assignment import AssignmentOptions

__all__ = ["add_options", "flag_names", "options_of", "time_limit"]


def flag_names(short: str, long: str) -> tuple[str, ...]:
    """The names of a flag of the original, whose long names have underscores.

    Examples
    --------
    >>> flag_names("-ef", "event-file")
    ('-ef', '--event-file', '--event_file')
    """
    return (short, *dict.fromkeys((f"--{long}", f"--{long.replace('-', '_')}")))


def time_limit(text: str) -> float:
    """Seconds of DD:HH:MM:SS.

    Parameters
    ----------
    text : str

    Returns
    -------
    float

    Raises
    ------
    argparse.ArgumentTypeError

    Examples
    --------
    >>> time_limit("00:08:00:00")
    28800.0
    """
    match = re.fullmatch(r"(\d{1,5}):(\d{1,2}):(\d{1,2}):(\d{1,2})", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"expected DD:HH:MM:SS, got {visible(text, LONGEST_NAME)!r}")
    days, hours, minutes, seconds = map(int, match.groups())
    return float(seconds + 60 * (minutes + 60 * (hours + 24 * days)))


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the flags for `options_of`.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    """

    def original(short: str, long: str, **keywords: Any) -> None:
        parser.add_argument(*flag_names(short, long), **keywords)

    original("-of", "options-file", metavar="OPTIONS.json", help="options (default: those of the original)")
    original("-ef", "event-file", metavar="EVENT.yaml", help="event file (key event_info_file)")
    original("-tf", "training-file", metavar="FILE.h5", help="data set for the training")
    original("-vf", "validation-file", metavar="FILE.h5", help="data set for the validation (default: the end of -tf)")
    original("-e", "epochs", type=counted, metavar="N", help="number of epochs")
    original("-b", "batch-size", type=counted, metavar="N", help="events in a step")
    original("-p", "limit-dataset", type=finite, metavar="PERCENT", help="share of the data set that is read")
    original("-r", "random-seed", type=seed, metavar="N", help="seed of the choice of events; 0: the first ones")
    original("-f", "full-events", action="store_true", help="train on events with all particles only")


def options_of(args: argparse.Namespace) -> AssignmentOptions:
    """The options of the file with those of the flags.

    Parameters
    ----------
    args : argparse.Namespace
        Of `add_options`.

    Returns
    -------
    AssignmentOptions

    Raises
    ------
    InputFileError, ConfigError
        If the file or a flag is not valid.
    """
    from jettagger.assignment import AssignmentOptions, read_options
    from jettagger.config.models import validated_json
    from jettagger.errors import ConfigError

    changes: dict[str, Any] = {
        "event_info_file": args.event_file,
        "training_file": args.training_file,
        "validation_file": args.validation_file,
        "epochs": args.epochs,
        "batch_size": args.batch_size,
        "dataset_limit": None if args.limit_dataset is None else args.limit_dataset / 100,
        "dataset_randomization": args.random_seed,
        "partial_events": False if args.full_events else None,
        "num_gpu": getattr(args, "gpus", None),
        "verbose_output": True if getattr(args, "verbose", False) else None,
    }
    given = {key: value for key, value in changes.items() if value is not None}
    if args.options_file is not None:
        options = read_options(args.options_file, without=given)
    else:
        options = AssignmentOptions.model_validate({})
    content = {**options.model_dump(mode="json"), **given}
    return validated_json(AssignmentOptions, Path("the command line"), content, ConfigError, "set of options")
