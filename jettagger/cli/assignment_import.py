"""Make a folder for jettagger.load_assigner from an ONNX file of SPANet and its event file.

MODEL.onnx is what 'python -m spanet.export' writes. If features have the option log, say whether the file takes
ln(x + 1) itself (exported with --input-log-transform): the file does not say so. The number of objects that the network
takes is found by running it; for several inputs with slots, give the numbers of the data set of its training. Of
options.json nothing is needed; it is kept beside the network. Networks that jettagger exported record event file and
logarithms.

examples:
  jettagger assignment import ttH.onnx --event event.yaml --input-log no -o ttH/
  jettagger assignment import ttH.onnx --event event.yaml --mapping inputs.yaml --input-log yes -o ttH/
"""

from __future__ import annotations

import argparse

from jettagger.cli.console import Console
from jettagger.cli.options import counted

__all__ = ["configure", "run"]


def _slots(text: str) -> tuple[str, int]:
    name, separator, number = text.rpartition("=")
    if not separator or not name:
        raise argparse.ArgumentTypeError(f"expected NAME=NUMBER, got {text!r}")
    return name, counted(number)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``jettagger assignment import``."""
    add = parser.add_argument
    add("onnx", metavar="MODEL.onnx", help="exported network")
    add("--event", metavar="EVENT.yaml", help="its event file; needed for networks that jettagger did not export")
    add("--output", "-o", required=True, metavar="DIR/", help="folder to write")
    add("--options", metavar="OPTIONS.json", help="its option file, which is kept")
    add("--mapping", metavar="INPUTS.yaml", help="which columns of events the inputs are; needed to attach to events")
    add(
        "--input-log",
        choices=("yes", "no"),
        help="whether the network itself takes ln(x + 1), see above; needed if a feature has the option log",
    )
    add(
        "--slots",
        action="append",
        default=[],
        type=_slots,
        metavar="INPUT=N",
        help="number of objects that the network takes (repeatable; default: the network is tried)",
    )
    add("--name", metavar="N", help="name of the network (default: that of the folder)")
    add("--title", default="", metavar="TEXT", help="one-line description")
    add("--force", action="store_true", help="replace the output of an earlier import")


def run(args: argparse.Namespace, console: Console) -> int:
    """Run ``jettagger assignment import``."""
    from jettagger.assignment import import_assigner

    made = import_assigner(
        args.onnx,
        args.event,
        args.output,
        options=args.options,
        mapping=args.mapping,
        input_log=None if args.input_log is None else args.input_log == "yes",
        slots=dict(args.slots) or None,
        name=args.name,
        title=args.title,
        force=args.force,
    )
    rows = [
        (
            item.name,
            "global" if item.name not in made.slots else made.slots[item.name] or "any number",
            ", ".join(feature.name for feature in item.features),
        )
        for item in made.event.inputs
    ]
    console.wrote(made.folder)
    console.table(f"{made.folder}", ("input", "objects", "features"), rows)
    taken = "by the network" if made.input_log else "by jettagger"
    particles = ", ".join(particle.name for particle in made.event.particles)
    console.say(f"{made.name}: assigns {particles}; ln(x + 1) is taken {taken}")
    return 0
