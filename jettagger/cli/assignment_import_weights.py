"""Make a network file from a checkpoint of SPANet, without its training file.

WEIGHTS is a checkpoint of Lightning (.ckpt), a state dictionary of torch.save, an archive of NumPy (.npz), or the
folder of a training (version_0), of which the checkpoint with the highest accuracy in its name is taken. A pickle with
anything but tensors and plain containers is refused: reading it would run code of its author.

The network file holds weights, normalisation, event file, options and numbers of classes. It is evaluated, exported,
and trained further (-sf) like the network of a training.

examples:
  jettagger assignment import-weights spanet_output/version_0 -o ttH.pt
  jettagger assignment import-weights ttH.npz --event ttH.yaml --options options.json -o ttH.pt
  jettagger assignment export ttH.pt -o ttH/
"""

from __future__ import annotations

import argparse

from jettagger.cli.console import Console

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``jettagger assignment import-weights``."""
    add = parser.add_argument
    add("weights", metavar="WEIGHTS", help="checkpoint, state dictionary, or folder of a training of SPANet")
    add("--event", "-ef", metavar="EVENT.yaml", help="its event file (default: event.yaml beside it or above)")
    add("--options", "-of", metavar="OPTIONS.json", help="its options (default: options.json beside it or above)")
    add("--output", "-o", required=True, metavar="FILE.pt", help="network file to write")
    add("--force", action="store_true", help="replace an existing output")


def run(args: argparse.Namespace, console: Console) -> int:
    """Run ``jettagger assignment import-weights``."""
    from jettagger.assignment.networks import parameter_count
    from jettagger.assignment.weights_import import import_weights

    made = import_weights(args.weights, args.output, event=args.event, options=args.options, force=args.force)
    console.say(f"{made.checkpoint}, {made.event}, {made.options}")
    console.say(made.loaded.summary())
    classes = "".join(f"; {key}: {count} classes" for key, count in made.network.class_counts.items())
    console.wrote(made.path, f"{made.path}: {parameter_count(made.network):,} parameters{classes}")
    return 0
