"""Export trained networks as an ONNX file, or as a folder for jettagger.load_assigner.

MODEL is a network file or the folder of a training; of several networks the mean distributions are exported. Names of
inputs and outputs are those of SPANet's export. By default the network takes ln(x + 1) of features with the option log
itself, and gives logarithms of probabilities; both are recorded in the file, which is true for any number of events and
objects. ONNX and torch are compared for random events, and the largest difference is printed.

FOLDER/ has the network, event file, options and card, and is complete or not there. With inputs.yaml, which says what
columns of events the inputs are, it can be attached to events.

examples:
  jettagger assignment export out/ -o ttH/ --mapping inputs.yaml
  jettagger assignment export out/ -o ttH.onnx --no-input-log-transform --no-output-log-transform
"""

from __future__ import annotations

import argparse

from jettagger.cli.console import Console
from jettagger.cli.options import counted

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``jettagger assignment export``."""
    add = parser.add_argument
    add("model", metavar="MODEL", help="network file (.pt), or folder of a training")
    add("--output", "-o", required=True, metavar="OUT", help="FILE.onnx, or the folder to write")
    for name, what in (
        ("input-log-transform", "ln(x + 1) is part of the network"),
        ("output-log-transform", "probabilities are logarithms"),
    ):
        add(f"--{name}", action=argparse.BooleanOptionalAction, default=True, help=what)
    add("--output-embeddings", action="store_true", help="add embeddings of event, particles and daughters")
    add("--opset", type=counted, default=17, metavar="N", help="of the file, 15 to 20 (default: 17)")
    add("--mapping", metavar="INPUTS.yaml", help="which columns of events the inputs are, kept in the folder")
    add("--name", metavar="N", help="name of the network in the folder (default: that of the folder)")
    add("--title", default="", metavar="TEXT", help="one-line description")
    add("-g", "--gpu", action="store_true", help="no use here")
    add("--force", action="store_true", help="replace an existing output")


def run(args: argparse.Namespace, console: Console) -> int:
    """Run ``jettagger assignment export``."""
    from jettagger.assignment.model_export import export_model

    if args.gpu:
        console.warn("flags without a use here: -g (networks are exported on the CPU)")
    made = export_model(
        args.model,
        args.output,
        input_log=args.input_log_transform,
        output_log=args.output_log_transform,
        embeddings=args.output_embeddings,
        opset=args.opset,
        mapping=args.mapping,
        name=args.name,
        title=args.title,
        force=args.force,
    )
    rows = [("input", name) for name in made.inputs] + [("output", name) for name in made.outputs]
    console.wrote(made.path)
    console.table(f"{made.path}", ("", "name"), rows)
    if len(made.networks) > 1:
        console.say(f"the mean distributions of {len(made.networks)} networks")
    taken = "by the network" if args.input_log_transform else "before it"
    console.say(f"ln(x + 1) is taken {taken}; largest difference from torch: {made.difference:.1e} ({made.output})")
    return 0
