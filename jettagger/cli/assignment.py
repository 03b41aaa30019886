"""Assign the objects of events to the particles of their topology: datasets of whole events, and their checks.

The commands read the event files (YAML) and HDF5 datasets of SPANet; see docs/assignment.md.
"""

from __future__ import annotations

import argparse

from jettagger.cli.console import Console
from jettagger.cli.parser import add_subcommands

__all__ = ["SUBCOMMANDS", "configure", "run"]

#: command -> (module with ``configure`` and ``run`` as for a verb, one line of help)
SUBCOMMANDS: dict[str, tuple[str, str]] = {
    "check": ("jettagger.cli.assignment_check", "what a dataset holds, and what is wrong with it"),
    "concatenate": ("jettagger.cli.assignment_concatenate", "several datasets as one"),
    "convert": ("jettagger.cli.assignment_convert", "a dataset of SPANet's layout before 2022 in the present one"),
    "inputs": ("jettagger.cli.assignment_inputs", "a dataset from files of events"),
    "import": ("jettagger.cli.assignment_import", "make a folder from an ONNX file and its event file"),
    "export": ("jettagger.cli.assignment_export", "an ONNX file, or a folder for inference, of trained networks"),
    "import-weights": (
        "jettagger.cli.assignment_import_weights",
        "a network file from a checkpoint of SPANet, without its training file",
    ),
    "train": ("jettagger.cli.assignment_train", "train networks from an options file and data sets"),
    "tune": ("jettagger.cli.assignment_tune", "search for the options of a training"),
    "evaluate": ("jettagger.cli.assignment_evaluate", "compare networks and decoders with the truth of a dataset"),
    "predict": ("jettagger.cli.assignment_predict", "assign the objects of the events in files"),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the commands of ``jettagger assignment``."""
    add_subcommands(parser, SUBCOMMANDS)


def run(args: argparse.Namespace, console: Console) -> int:
    """Run a command of ``jettagger assignment``."""
    return int(args.function(args, console) or 0)
