"""Derive the transforms of features from jets and write transform.yaml.

FILES are ROOT files with a tree Jets, or folders and locations with a data.yaml. Each feature gets the non-linear steps
of the original, then a linear step that maps its minimum and maximum to 0 and 1 (--robust: median and interquartile
range). Categorical features get the list of their values. Features that the original does not know are named by
--config.

examples:
  jettagger jec build-transform data/shards/*.root -o data/transform.yaml
  jettagger jec build-transform data -o data/transform.yaml --config config.yaml --jets 100000 --plots features
"""

from __future__ import annotations

import argparse
import os

from jettagger.cli.console import Console
from jettagger.cli.options import counted

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``jettagger jec build-transform``."""
    add = parser.add_argument
    add("files", nargs="+", metavar="FILES", help="files of jets, or folders with a data.yaml")
    add("--output", "-o", required=True, metavar="OUT.yaml", help="file to write")
    add("--config", metavar="CONFIG.yaml", help="configuration whose features are transformed")
    add("--robust", action="store_true", help="median and interquartile range instead of minimum and maximum")
    add("--jets", type=counted, metavar="N", help="number of jets to read, from all files; default: all")
    add("--plots", metavar="DIR", help="folder for one picture of each feature")
    add("--download", metavar="DIR", help="folder in which remote files are kept; default: they are read in place")
    add("--force", action="store_true", help="replace existing outputs")


def run(args: argparse.Namespace, console: Console) -> int:
    """Run ``jettagger jec build-transform``."""
    from jettagger.arguments import in_range
    from jettagger.files import check_folder, refuse_inputs
    from jettagger.jec.building import NUMBERS, build_transforms, write_pictures
    from jettagger.jec.configuration import read_config
    from jettagger.jec.shards import DATA, jet_files
    from jettagger.jec.transforms import write_transform

    if args.jets is not None:
        in_range(args.jets, "--jets", 1)
    config = read_config(args.config) if args.config else None
    files = jet_files(args.files, download=args.download)
    lists = [os.path.join(path, DATA) for path in args.files if os.path.isdir(path)]
    inputs = [*(file.path for file in files), *lists, *([args.config] if args.config else [])]
    refuse_inputs(args.output, inputs)
    if args.plots:
        check_folder(args.plots, marker=NUMBERS, force=args.force, inputs=inputs)
    total = sum(file.count or 0 for file in files)
    with console.progress_bar("reading", min(total, args.jets or total), "jets") as advance:
        built = build_transforms(
            files,
            config,
            scaling="robust" if args.robust else "range",
            jets=args.jets,
            download=args.download,
            progress=advance,
        )
    write_transform(args.output, built.transforms, force=args.force)
    if args.plots:
        write_pictures(built, args.plots, force=args.force)
        console.wrote(args.plots)
    for note in built.notes:
        console.warn(note)
    rows = []
    for name, found in built.ranges.items():
        steps = " ".join(step.type for step in built.transforms.numerical[name])
        rows.append((name, found.count, f"{found.minimum:.6g}", f"{found.maximum:.6g}", steps))
    console.table("numerical features", ("name", "values", "minimum*", "maximum*", "steps"), rows)
    console.say("* after all steps but the linear one")
    if built.codes:
        coded = [(name, sum(counts.values()), len(counts)) for name, counts in built.codes.items()]
        console.table("categorical features", ("name", "values", "different"), coded)
    if built.left_out:
        console.say(f"not transformed, since the original has no steps for them: {', '.join(built.left_out)}")
    console.wrote(args.output, f"{args.output}: transforms from {built.jets} jets")
    return 0
