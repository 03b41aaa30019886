"""A small search end to end: three signal masses, tt and QCD from files to plots, templates and a limit.

Usage: python examples/demo.py [FOLDER]

The same from the shell: jettagger search examples/demo.yaml -o FOLDER; jettagger limit FOLDER
"""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path

from jettagger.cli import main as jettagger
from jettagger.histograms import pick
from jettagger.plots import save_figure, sculpting
from jettagger.processors.search import SearchWarning
from jettagger.search import cutflow_table, read_config, run_search, write_output

CONFIG = Path(__file__).with_name("demo.yaml")


def main(folder: str = "demo-output", config: str = str(CONFIG)) -> int:
    """Search, write everything into the folder, and print what is there."""
    start = time.perf_counter()
    out = Path(folder)
    warnings.simplefilter("ignore", SearchWarning)  # the notes are printed below
    search = read_config(config)
    print(f"searching with {search.processor['model']} ...")
    result = run_search(search)
    written = write_output(result, out, force=True)

    # does the cut on the discriminant shape the background's mass?
    mass = result.histograms["msoftdrop"]
    nominal = {"dataset": ["QCD"], "variation": "nominal"}
    tagged = {
        name: pick(mass, region=regions, **nominal)
        for name, regions in {"one tag or two": ["SR", "VR"], "two tags": "SR"}.items()
    }
    tagged = {name: part for name, part in tagged.items() if part.values().sum() > 0}
    if tagged:
        figure = sculpting(pick(mass, **nominal), tagged, title="QCD", counted="Events")
        save_figure(figure, out / "plots" / "sculpting.png")
        written["plots/sculpting.png"] = "mass of the background before and after the cut"

    print(cutflow_table(result))
    for note in result.notes:
        print(f"note: {note}")
    status = jettagger(["limit", str(out)])
    if status == 0:
        written |= dict.fromkeys(("limits.json", "limits.txt", "limits.png"), "limits against the resonance mass")
    print(f"\nleft in {out}/ after {time.perf_counter() - start:.0f} s:")
    for name, text in written.items():
        print(f"  {name:32} {text}")
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
