"""What it costs to compare files with their checksums, and ``--verify``: ``python -m benchmarks.verification_cost``.

CPU time of the whole process, with and without, one after the other in turn, after one of each that does not count.
``--write`` puts the table into ``docs/robustness.md``.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import uproot

import jettagger as jt
from benchmarks.attack import PAGE
from benchmarks.inputs import ROOT
from benchmarks.report import table
from jettagger.files import complete_or_absent
from jettagger.files.root import EventFile
from jettagger.skims.writers import write_skim

__all__ = ["compare", "measure", "rows"]

BEGIN, END = "<!-- verification cost: begin -->", "<!-- verification cost: end -->"

#: the embedded tagger, and what its skims hold besides scores
MODEL = "inclParTToyV1"
FILE = ROOT / "examples" / "data" / "QCD.root"
RNTUPLE = ROOT.parent / "shared" / "data" / "cms" / "pfnano_rntuple.root"


def compare(plain: Callable[[], object], checked: Callable[[], object], repeats: int) -> dict[str, float]:
    """CPU time of two ways to do something.

    Parameters
    ----------
    plain, checked : callable
    repeats : int

    Returns
    -------
    dict of str to float
        Medians in seconds, and the median of ``checked`` over ``plain`` with its quartiles, run by run.
    """
    seconds = np.empty((repeats + 1, 2))
    for run in range(repeats + 1):
        for way, act in enumerate((plain, checked)):
            start = time.process_time()
            act()
            seconds[run, way] = time.process_time() - start
    seconds = seconds[1:]
    lower, middle, upper = np.quantile(seconds[:, 1] / seconds[:, 0], [0.25, 0.5, 0.75])
    without, with_ = np.median(seconds, axis=0)
    return {"without": without, "with": with_, "ratio": middle, "lower": lower, "upper": upper}


def measure(path: Path, repeats: int, rntuple: Path | None = RNTUPLE) -> dict[str, dict[str, float]]:
    """The cost of each comparison.

    Parameters
    ----------
    path : path
        A TTree of PFNano shape.
    repeats : int
    rntuple : path or None
        An RNTuple that ROOT wrote; left out if it is not there.

    Returns
    -------
    dict of str to dict
        See `compare`.
    """
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tagger = jt.load_tagger(MODEL, threads=1)
        for suffix, act in (("parquet", _parquet), ("root", _root)):
            skim = folder / f"skim.{suffix}"
            with EventFile(path) as file:
                columns = {column.replace(".", "_", 1) for column in tagger.check(file).columns} | {"event"}
                events = file.read(sorted(columns))
            flat = {
                column: events[column] if column == "event" else events[tuple(column.split("_", 1))]
                for column in sorted(columns)
            }
            write_skim(skim, [flat], "{}")
            title = "checksums of pages" if suffix == "parquet" else "checksums of baskets"
            found[f"reading a skim in {suffix}: {title}"] = compare(*act(skim, columns), repeats)
        if rntuple is not None and rntuple.exists():
            found["reading an RNTuple of ROOT: checksums of pages"] = compare(*_rntuple(rntuple, tagger), repeats)
        ways = [
            lambda verify=verify: jt.tag_files(  # type: ignore[misc]
                [str(path)], tagger, str(folder / "scores.parquet"), columns=["prob"], force=True, verify=verify
            )
            for verify in (False, True)
        ]
        found[f"`jettagger tag` with {MODEL}: `--verify`"] = compare(*ways, max(repeats // 10, 3))
    return found


def _parquet(path: Path, columns: set[str]) -> tuple[Callable[[], object], Callable[[], object]]:
    def read(check: bool) -> object:
        with pyarrow.parquet.ParquetFile(path, page_checksum_verification=check) as file:
            return file.read(sorted(columns), use_threads=False)

    return lambda: read(False), lambda: read(True)


def _root(path: Path, columns: set[str]) -> tuple[Callable[[], object], Callable[[], object]]:
    def read(check: bool) -> object:
        with EventFile(path) as file:
            if not check:
                file._sums._trees = {}
            return file.read(sorted(columns))

    return lambda: read(False), lambda: read(True)


def _rntuple(path: Path, tagger: jt.Tagger) -> tuple[Callable[[], object], Callable[[], object]]:
    with EventFile(path) as file:
        names = [file._paths[column.replace(".", "_", 1)] for column in tagger.check(file).columns]

    def read(**options: Any) -> object:
        with uproot.open(path, array_cache=None, **options) as file:
            return [file["Events"][name].array() for name in names]

    from jettagger.files.pages import checked_classes

    return lambda: read(), lambda: read(custom_classes=checked_classes())


def rows(found: dict[str, dict[str, float]]) -> str:
    """The figures as a table in markdown."""
    head = ("", "CPU s without", "CPU s with", "ratio", "quartiles of the ratio")
    lines = [
        (
            name,
            f"{one['without']:.3g}",
            f"{one['with']:.3g}",
            f"{one['ratio']:.2f}",
            f"{one['lower']:.2f} to {one['upper']:.2f}",
        )
        for name, one in found.items()
    ]
    return table([head, *lines])


def main() -> None:
    """Measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", type=Path, default=FILE, help="(default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=50, help="a tenth of it for tagging (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.name}")
    args = parser.parse_args()
    text = rows(measure(args.file, args.repeats))
    print(text)
    if args.write:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        after = rest.partition(END)[2]
        with complete_or_absent(PAGE) as part:
            part.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


if __name__ == "__main__":
    main()
