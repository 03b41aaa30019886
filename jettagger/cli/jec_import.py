"""Make a model from weights of the original, ml-jec.

WEIGHTS.npz has an array for each weight, named as its layer: docs/jec.md has the lines that save them with TensorFlow.
CONFIG.yaml is the configuration of their training, from which layers and features are taken; the transforms are those
of transform.yaml at data.location, or of --transform. The original computed transforms with the parameters of their
last step; the model does the same, unless the configuration has 'legacy_closure: false' under data.

examples:
  jettagger jec import weights.npz config.yaml -o imported/
  jettagger jec import weights.npz config.yaml --transform transform.yaml -o imported/
"""

from __future__ import annotations

import argparse

from jettagger.cli.console import Console

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``jettagger jec import``."""
    add = parser.add_argument
    add("weights", metavar="WEIGHTS.npz", help="weights, see above")
    add("config", metavar="CONFIG.yaml", help="configuration of their training")
    add("--output", "-o", required=True, metavar="DIR/", help="folder to write, as by 'jettagger jec train'")
    add("--transform", metavar="TRANSFORM.yaml", help="transforms; default: transform.yaml at data.location")
    add("--force", action="store_true", help="replace the output of an earlier training")


def run(args: argparse.Namespace, console: Console) -> int:
    """Run ``jettagger jec import``."""
    from jettagger.files import refuse_inputs
    from jettagger.jec.training import import_model

    refuse_inputs(args.output, [args.config, *([args.transform] if args.transform else [])])
    made = import_model(args.weights, args.config, args.output, transform=args.transform, force=args.force)
    for note in made.notes:
        console.warn(note)
    rule = "as the original computes them" if made.legacy_closure else "as transform.yaml means them"
    console.wrote(
        args.output, f"{args.output.rstrip('/')}/: {made.architecture.parameters:,} parameters, transforms {rule}"
    )
    return 0
