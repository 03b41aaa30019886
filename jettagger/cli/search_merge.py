"""Put the parts of a search together: histograms, cutflows, templates and plots as of the search as a whole.

Jobs by hand run parts of a search, each of which has every OF-th of its files:

  jettagger search search.yaml -o parts/3/ --part 3/20

A part has the results of its chunks and the configuration. The parts together give the same histograms as one run, to
the bit: chunks are added in the same order. Parts that are missing, given twice, or of another search are errors that
name them. Files are opened here, too, but no event is read. The parts are left as they are.

examples:
  mkdir parts
  for i in $(seq 20); do jettagger search search.yaml -o parts/$i/ --part $i/20; done
  jettagger search merge parts/*/ -o OUT/
"""

from __future__ import annotations

import argparse
import warnings

from jettagger.cli.console import Console
from jettagger.cli.options import counted
from jettagger.cli.search import summary
from jettagger.cli.tagger import add_options, given_options

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``jettagger search merge``."""
    add = parser.add_argument
    add("parts", nargs="+", metavar="PART/", help="parts of one search, all of them, in any order")
    add("--output", "-o", required=True, metavar="OUT/", help="folder to write")
    add("--retries", type=counted, default=2, metavar="N", help="how often a file is reopened (default: %(default)s)")
    add("--no-plots", action="store_true", help="draw nothing")
    add("--force", action="store_true", help="replace the output folder of an earlier search")
    add_options(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Run ``jettagger search merge``."""
    from jettagger.processors.search import SearchWarning
    from jettagger.search.files import files_read, survey
    from jettagger.search.output import check_folder, write_output
    from jettagger.search.parts import merged_chunks, read_parts
    from jettagger.search.run import run_search

    check_folder(args.output, force=args.force, inputs=args.parts)
    parts = read_parts(args.parts)
    config = parts[0].config.with_options(**given_options(args))
    check_folder(args.output, force=args.force, inputs=files_read(config))
    processor = config.make_processor()
    chunks = merged_chunks(parts, config, processor)
    broken = any(part.missing for part in parts)  # those left out files that could not be read
    with console.progress_bar("opening files", sum(len(part.files) for part in parts), "files") as advance:
        found = survey(config, processor, skip_broken=broken, retries=args.retries, progress=advance)
    check_folder(args.output, force=args.force, inputs=files_read(config, found))
    with console.progress_bar("adding", found.events, "events") as advance, warnings.catch_warnings():
        # they are in the notes, which are printed below
        warnings.simplefilter("ignore", SearchWarning)
        result = run_search(config, found=found, skip_broken=broken, progress=advance, kept=chunks)
    summary(console, result, args.output, write_output(result, args.output, force=args.force, plots=not args.no_plots))
    return 0
