"""Predict the calibration of jets in files, with a trained model.

The files are ROOT files with a tree Jets, or folders with a data.yaml that lists them. OUT.npy has ln(pt_true / pt_raw)
of all jets, float32, in the order of the files; NaN for jets with values that are not finite or a pt that is not above
0. OUT.npz has the columns of the model, factors on the raw pt: ptRawCorr, and those of quantiles.

examples:
  jettagger jec predict out/ data/shards/5.root -o prediction.npy
  jettagger jec predict out/ data/ -o factors.npz
"""

from __future__ import annotations

import argparse

from jettagger.cli.console import Console
from jettagger.cli.options import counted

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``jettagger jec predict``."""
    add = parser.add_argument
    add("model", metavar="BUNDLE/", help="output of 'jettagger jec train' or 'jettagger jec import'")
    add("files", nargs="+", metavar="FILE", help="files of jets, or folders with a data.yaml")
    add("--output", "-o", required=True, metavar="OUT", help="file to write, .npy or .npz, see above")
    add("--threads", type=counted, default=None, metavar="N", help="threads of the network; default: 1")
    add("--download", metavar="DIR", help="folder in which remote files are kept; default: they are read in place")
    add("--force", action="store_true", help="replace an existing file")


def run(args: argparse.Namespace, console: Console) -> int:
    """Run ``jettagger jec predict``."""
    from jettagger.jec.prediction import load_calibration, predict_files, refuse_prediction, write_predictions
    from jettagger.jec.shards import jet_files

    files = jet_files(args.files, download=args.download)
    refuse_prediction(args.output, force=args.force, inputs=[args.model, *(file.path for file in files)])
    found = predict_files(load_calibration(args.model, threads=args.threads), files, download=args.download)
    write_predictions(args.output, found, force=args.force)
    console.table("jets", ("file", "jets"), found.files)
    if found.left_out:
        console.warn(f"{found.left_out} jets have no prediction: values are not finite, or pt is not above 0")
    console.wrote(args.output, f"{args.output}: {len(found.factors)} jets")
    return 0
