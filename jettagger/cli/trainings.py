"""What commands that train networks have in common: pictures, an existing output, resuming."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

from jettagger.cli.console import Console

__all__ = ["add_training_options", "kept_state"]


def add_training_options(parser: argparse.ArgumentParser, output: str, replaced: str) -> None:
    """Add ``--no-plots``, ``--force`` and ``--resume``.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    output : str
        The output in messages: ``DIR``.
    replaced : str
        What ``--force`` replaces.
    """
    add = parser.add_argument
    add("--no-plots", action="store_true", help="draw nothing")
    add("--force", action="store_true", help=f"replace {replaced}")
    add(
        "--resume",
        action=argparse.BooleanOptionalAction,
        default=True,
        help=f"keep the state of the training in {output}.resume until the output is complete, and go on with that of "
        "an interrupted run; --no-resume starts from the beginning and keeps nothing",
    )


@contextmanager
def kept_state(console: Console, output: str, resume: bool) -> Iterator[None]:
    """Drop an earlier state that is not wanted, and say where an interrupted training can go on.

    Parameters
    ----------
    output : str
    resume : bool
        ``--resume``.

    Raises
    ------
    OutputError
        If another run is currently writing the same output.
    """
    from jettagger.files.resuming import resume_folder
    from jettagger.training.kept import checkpoints_kept, drop_checkpoints

    if not resume:
        drop_checkpoints(output)
    try:
        yield
    except BaseException:
        if resume and checkpoints_kept(output):
            folder = resume_folder(output)
            console.tell(
                f"jettagger: the state of the training is kept in {folder}: the same command goes on from there"
            )
        raise
