"""A small search end to end: three signal masses, tt and QCD from files to plots, templates and a limit.

Usage: python examples/demo.py [FOLDER]

The same from the shell: jettagger search examples/demo.yaml -o FOLDER; jettagger limit FOLDER
"""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path

from jettagger.processors.search import SearchWarning

from jettagger.cli import main as jettagger
from jettagger.search import cutflow_table, read_config, run_search, write_output

CONFIG = Path(__file__).with_name("demo.yaml")


def main(folder: str = "demo-output", config: str = str(CONFIG)) -> int:
    """Search, write everything into the folder, find limits, and print what is there."""
    start = time.perf_counter()
    out = Path(folder)
    warnings.simplefilter("ignore", SearchWarning)  # the notes are printed below
    search = read_config(config)
    print(f"searching with {search.model} ...")
    result = run_search(search)
    written = write_output(result, out, force=True)
    print(cutflow_table(result))
    for note in result.notes:
        print(f"note: {note}")
    status = jettagger(["limit", str(out)])
    if status == 0:
        written |= dict.fromkeys(
            ("limits.json", "limits.txt", "limits.png", "limits.pdf"), "limits against the resonance mass"
        )
    print(f"\nleft in {out}/ after {time.perf_counter() - start:.0f} s:")
    width = max(map(len, written))
    for name, text in written.items():
        print(f"  {name:{width}}  {text}")
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
