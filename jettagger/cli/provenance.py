"""How an output was made: version, step, model with its digest, heads, selection, files, configuration; as JSON.

Reads skims, converted and simulated files (parquet, ROOT), templates in ROOT files, datasets of whole events (HDF5),
and histograms, templates, workspaces, limits, cutflows, working points and heads (JSON).

examples:
  jettagger provenance skim.parquet
  jettagger provenance OUT/templates.root OUT/limits.json
"""

from __future__ import annotations

import argparse
import json

from jettagger.cli.console import Console
from jettagger.errors import InputFileError

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``jettagger provenance``."""
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="output of jettagger: .parquet, .root, .h5, .hdf5, .json, .json.gz"
    )


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the record of each file: one object, or for several files an object with one entry per file.

    Raises
    ------
    InputFileError
        If a file has none.
    """
    from jettagger.provenance import read_provenance

    records = {path: read_provenance(path) for path in args.files}
    without = [path for path, record in records.items() if not record]
    if without:
        raise InputFileError(
            f"{', '.join(without)}: no record of how it was made: not an output of jettagger, or of an older version "
            "(0.2.0 writes it into skims only)"
        )
    content = records if len(records) > 1 else records[args.files[0]]
    console.answer(content, json.dumps(content, indent=2, ensure_ascii=False))
    return 0
