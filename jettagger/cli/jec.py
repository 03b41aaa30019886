"""Jet energy calibration: train, apply and measure a regression of the true jet pt from the constituents.

The commands read the configurations and ROOT shards (tree Jets, one entry per jet) of the ml-jec system;
see docs/jec.md.
"""

from __future__ import annotations

import argparse

from jettagger.cli.console import Console
from jettagger.cli.parser import add_subcommands

__all__ = ["SUBCOMMANDS", "configure", "run"]

#: command -> (module with ``configure`` and ``run`` as for a verb, one line of help)
SUBCOMMANDS: dict[str, tuple[str, str]] = {
    "build-transform": ("jettagger.cli.jec_build_transform", "derive the transforms of features from jets"),
    "import": ("jettagger.cli.jec_import", "make a model from weights of the original"),
    "inputs": ("jettagger.cli.jec_inputs", "make a training set from simulated events"),
    "predict": ("jettagger.cli.jec_predict", "predict the calibration of jets in files"),
    "steer": ("jettagger.cli.jec_steer", "train several calibrations, one after the other"),
    "train": ("jettagger.cli.jec_train", "train a calibration"),
    "standard": ("jettagger.cli.jec_standard", "a standard correction from simulated jets, derived and applied"),
    "plot": ("jettagger.cli.jec_plot", "response and resolution of estimates of the jet pt, with pictures"),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the commands of ``jettagger jec``."""
    add_subcommands(parser, SUBCOMMANDS)


def run(args: argparse.Namespace, console: Console) -> int:
    """Run a command of ``jettagger jec``."""
    return int(args.function(args, console) or 0)
