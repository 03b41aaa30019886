"""Options of jobs of a batch system."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jettagger.cli.options import counted

if TYPE_CHECKING:
    from jettagger.search.batch import BatchOptions

__all__ = ["add_batch_options", "batch_options"]

_NAMES = ("queue", "account", "walltime", "memory", "cores")


def add_batch_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of commands that submit jobs.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    """
    group = parser.add_argument_group(
        "jobs of --executor condor and slurm",
        "--workers is their number; these take the place of the key 'batch' in the configuration",
    )
    add = group.add_argument
    add("--queue", metavar="NAME", help="queue, or partition of SLURM")
    add("--account", metavar="NAME", help="account, or accounting group of HTCondor")
    add("--walltime", metavar="T", help="limit of the time of a job, hh:mm:ss (default: 08:00:00)")
    add("--memory", metavar="SIZE", help="memory of a job (default: 2 GB)")
    add("--cores", type=counted, metavar="N", help="cores of a job (default: 1)")
    add("--logs", metavar="DIR", help="folder for the logs of the jobs (default: OUT.logs)")


def batch_options(args: argparse.Namespace, keys: Mapping[str, Any], logs: str) -> BatchOptions | None:
    """What jobs ask for: the keys of a configuration, and the options of the command, which come first.

    Parameters
    ----------
    args : argparse.Namespace
    keys : mapping
        ``batch`` of the configuration.
    logs : str
        Default folder of the logs.

    Returns
    -------
    BatchOptions or None
        None for other executors.

    Raises
    ------
    ConfigError
        If one of them is given to another executor, or is invalid.
    """
    from jettagger.config.sizes import parse_size
    from jettagger.errors import ConfigError
    from jettagger.search.batch import BATCH, BatchOptions

    given = {name: getattr(args, name) for name in _NAMES if getattr(args, name) is not None}
    if args.executor not in BATCH:
        named = [*given, *(["logs"] if args.logs is not None else [])]
        if named:
            raise ConfigError(f"--{named[0]} is for --executor {' and '.join(BATCH)}, not for {args.executor!r}")
        return None
    values = {**keys, **given}
    for name in ("prologue", "directives"):
        if name in values:
            values[name] = (values[name],) if isinstance(values[name], str) else tuple(values[name])
    if isinstance(values.get("memory"), str):
        values["memory"] = parse_size(values["memory"])
    return BatchOptions(logs=args.logs or logs, **values)
