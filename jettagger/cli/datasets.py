"""Count and check files of events, and write them as a fileset of coffea, which the samples of a search take.

Each input is a file, a folder (with all folders in it), a glob, a list of files (.txt) or a fileset, local or a URL
(root://host//store/*.root), with the name of its data set in front (NAME=...). Without a name, a data set is called as
its folder or file. Files are opened in parallel: the number of events, the unique identifier, the sums of generator
weights and checksums, where a file has them. Damaged files are named, all at once. The output is complete or not there;
an interrupted command goes on where it was when it is repeated.

The metadata are a YAML file of data sets with cross_section (pb), data, sum_of_weights, era, or any other keys:

  tt:     {cross_section: 830, era: "2022"}
  JetMET: {data: true, era: "2022"}

examples:
  jettagger datasets /data/2022/TT /data/2022/JetMET --metadata 2022.yaml -o 2022.json.gz
  jettagger datasets "tt=/data/tt/*.root" X1000=x1000.root -o sets.json --workers 8 --skip-broken
  jettagger datasets --rucio tt=/TTto4Q_TuneCP5/Run3Summer22-v1/NANOAODSIM --sites "T2_(DE|CH)" -o tt.json --dry-run

In search.yaml: samples: {tt: {files: 2022.json.gz}}.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

from jettagger.cli.console import Console
from jettagger.cli.options import counted

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``jettagger datasets``."""
    add = parser.add_argument
    add("inputs", nargs="*", metavar="[NAME=]PLACE", help="files of a data set, see above")
    add("--output", "-o", required=True, metavar="OUT.json", help="fileset to write, .json or .json.gz")
    add("--metadata", metavar="META.yaml", help="metadata of the data sets, see above")
    add("--rucio", action="append", default=[], metavar="NAME=/A/B/C", help="a data set in Rucio and DAS, repeatable")
    add("--sites", default="", metavar="REGEX", help="with --rucio: sites to read from")
    add("--tree", default="Events", metavar="NAME", help="name of the tree (default: %(default)s)")
    add("--step-size", type=counted, metavar="N", help="events per step, for programs that read steps")
    add("--workers", type=counted, default=1, metavar="N", help="processes (default: %(default)s)")
    add("--skip-broken", action="store_true", help="leave out files that cannot be read, and name them")
    add(
        "--retries",
        type=counted,
        default=2,
        metavar="N",
        help="how often a read that fails temporarily is repeated (default: %(default)s)",
    )
    add("--no-resume", action="store_true", help="count all files again, and keep nothing in OUT.json.resume")
    add("--force", action="store_true", help="replace an existing output")
    add("--dry-run", action="store_true", help="list the files; none is opened")


def run(args: argparse.Namespace, console: Console) -> int:
    """Run ``jettagger datasets``.

    Raises
    ------
    ConfigError
        If no files are given, or a name in Rucio is not one.
    """
    from jettagger.config.yamlfile import read_yaml
    from jettagger.errors import ConfigError
    from jettagger.files.resuming import ResumeWarning
    from jettagger.search.datasets import check_output, find_files, list_files, make_fileset, rucio_files

    if not args.inputs and not args.rucio:
        raise ConfigError("no files: give paths, globs, lists, or --rucio")
    metadata = None
    if args.metadata is not None:
        document = read_yaml(args.metadata)
        metadata = {name: document.mapping(name) for name in document.mapping()}
    files = find_files(args.inputs)
    for text in args.rucio:
        name, equal, dataset = text.partition("=")
        if not equal or not dataset.startswith("/"):
            raise ConfigError(f"--rucio: got {text!r}, expected NAME=/A/B/C")
        files.setdefault(name, []).extend(rucio_files(dataset, args.sites))
    total = sum(map(len, files.values()))
    inputs = [*list_files(args.inputs), *([] if args.metadata is None else [args.metadata])]
    if args.dry_run:
        check_output(
            Path(args.output), [*inputs, *(path for paths in files.values() for path in paths)], force=args.force
        )
        rows = [(name, len(paths), paths[0], paths[-1]) for name, paths in files.items()]
        console.table(f"{total} files, none is opened", ("dataset", "files", "first", "last"), rows)
        return 0
    with console.progress_bar("counting", total, "files") as advance, warnings.catch_warnings():
        warnings.simplefilter("always", ResumeWarning)
        made = make_fileset(
            files,
            args.output,
            tree=args.tree,
            metadata=metadata,
            step_size=args.step_size,
            workers=args.workers,
            skip_broken=args.skip_broken,
            retries=args.retries,
            resume=not args.no_resume,
            force=args.force,
            inputs=inputs,
            progress=advance,
        )
    counts: list[tuple[object, ...]] = []
    for name, item in made.content.items():
        weights = made.sum_of_weights(name)
        counts.append((name, len(item["files"]), made.events(name), "-" if weights is None else f"{weights:.6g}"))
    console.wrote(args.output)
    console.table(args.output, ("dataset", "files", "events", "sum of weights (Runs)"), counts)
    for path, reason in made.left_out.items():
        console.warn(f"left out: {reason if path in reason else f'{path}: {reason}'}")
    return 0
