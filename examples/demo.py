"""A small search end to end, which says what it does: five simulated samples from files to scores, plots and limits.

Usage: python examples/demo.py [FOLDER]

The same from the shell: jettagger search examples/demo.yaml -o FOLDER/search; jettagger limit FOLDER/search
"""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path

import awkward as ak
import hist
from jettagger.processors.search import SearchWarning
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

import jettagger as jt
from jettagger import plots
from jettagger.cli import main as jettagger
from jettagger.cli.stopping import stop_signals
from jettagger.search import SearchResult, read_config, run_search, survey, write_output

HERE = Path(__file__).parent
CONFIG = HERE / "demo.yaml"
MODEL = "inclParTToyV1"
#: name in the pictures -> file
SAMPLES = {"QCD": "QCD", "tt": "tt", "X → HH → 4b, 1000 GeV": "XHH-1000"}
#: what to open first, in the order of the steps
PICTURES = {
    "scores.png": "the score HbbvsQCD of jets from Higgs bosons, tops and multijets",
    "search/plots/HbbvsQCD_all_roc_QCD.png": "its ROC curve against multijets",
    "search/plots/mjj_SR.png": "the dijet mass in the signal region",
    "search/limits.png": "expected limits against the resonance mass",
}


class Guide:
    """Prints the steps with the time since the start: in colour on a terminal, as plain text otherwise."""

    def __init__(self, steps: int) -> None:
        self.console = Console(highlight=False, soft_wrap=True)
        self.start = time.perf_counter()
        self.steps, self.step = steps, 0

    def next(self, title: str, *lines: str) -> None:
        """Begin a step: what it does, and why."""
        self.step += 1
        self.console.print(f"\n[bold]\\[{self.step}/{self.steps}] {escape(title)}[/bold]")
        for line in lines:
            self.say(line)

    def say(self, text: str) -> None:
        """A line of explanation."""
        self.console.print(f"      {escape(text)}")

    def made(self, path: Path) -> None:
        """A file that is complete."""
        seconds = time.perf_counter() - self.start
        self.console.print(f"   -> [cyan]{escape(str(path))}[/cyan] (after {seconds:.0f} s)")

    def progress(self) -> Progress:
        """A bar on a terminal; nothing elsewhere."""
        columns = (TextColumn("      {task.description}"), BarColumn(), MofNCompleteColumn())
        return Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal)


def score_jets(folder: Path, guide: Guide) -> Path:
    """Score the jets of three samples and draw a discriminant.

    Parameters
    ----------
    folder : Path
        Gets the skims with the scores, and the picture.
    guide : Guide

    Returns
    -------
    Path
        The picture.
    """
    hbb = jt.discriminant("HbbvsQCD")
    tagger = jt.load_tagger(MODEL, threads=1)
    axis = hist.axis.Regular(20, 0, 1, name="HbbvsQCD", label="HbbvsQCD")
    spectra = {}
    with guide.progress() as progress:
        for name, stem in progress.track(SAMPLES.items(), description="scoring files"):
            skim = folder / "scores" / f"{stem}.parquet"
            skim.parent.mkdir(parents=True, exist_ok=True)
            where = "pt > 300 and abs(eta) < 2.4"
            jt.tag_files([str(HERE / "data" / f"{stem}.root")], tagger, str(skim), where=where, force=True)
            jets = ak.from_parquet(skim)
            values, weights = ak.broadcast_arrays(hbb(jets), jets.genWeight)
            scored = ak.flatten(~ak.is_none(values, axis=1))  # jets that fail the selection have no score
            spectra[name] = hist.Hist(axis, storage="weight")
            spectra[name].fill(ak.flatten(values)[scored], weight=ak.flatten(weights)[scored])
            guide.say(f"{stem}: {int(ak.sum(scored))} jets are scored, of {len(jets)} events")
    picture = folder / "scores.png"
    plots.save_figure(plots.shapes(spectra, title="simulated jets, pt > 300 GeV", log=True), picture)
    return picture


def search(folder: Path, config: str, guide: Guide) -> SearchResult:
    """Run the search, write its folder, and show what is left in the signal region.

    Parameters
    ----------
    folder : Path
        The output folder, replaced if an earlier search has written it.
    config : str
        Path of the configuration.
    guide : Guide

    Returns
    -------
    SearchResult
    """
    settings = read_config(config)
    files = survey(settings, settings.make_processor())
    with guide.progress() as progress, warnings.catch_warnings():
        warnings.simplefilter("ignore", SearchWarning)  # the notes are printed below
        task = progress.add_task("events", total=files.events)
        result = run_search(settings, found=files, progress=lambda events: progress.advance(task, events))
    cuts = {name: flow["SR"] for name, flow in result.cutflow.items()}
    guide.say(f"simulated events and, in brackets, events at {settings.search.luminosity:g} /fb in the signal region:")
    guide.say("  ".join([f"{'cut':8}", *(f"{name:>16}" for name in cuts)]))
    for cut in next(iter(cuts.values())):
        cells = (f"{flow[cut]['events']} ({flow[cut]['weighted']:.3g})" for flow in cuts.values())
        guide.say("  ".join([f"{cut:8}", *(f"{cell:>16}" for cell in cells)]))
    for note in result.notes:
        guide.say(f"note: {note}")
    guide.say("writing histograms, templates, cards, workspaces and plots ...")
    write_output(result, folder, force=True)
    return result


def main(folder: str = "demo-output", config: str = str(CONFIG)) -> int:
    """Run the demo and return an exit status: 0, or that of an interrupt."""
    with stop_signals() as stop:
        try:
            return guided(Path(folder), config)
        except KeyboardInterrupt:
            print(f"\n{stop.word}: what is in {folder}/ is complete; the demo can be started again", file=sys.stderr)
            return stop.status


def guided(out: Path, config: str) -> int:
    """The steps of the demo, with what they do."""
    guide = Guide(4)
    guide.console.print(
        "A small search for X → HH → 4b, from files of simulated events to a limit. It takes less than a minute."
    )
    guide.next(
        "scores: a network looks at each jet",
        f"{MODEL}, a small Particle Transformer that comes with the package, reads the constituents of each",
        "large-radius jet and gives 37 probabilities, one for each type of jet, and a mass. HbbvsQCD, a discriminant,",
        "is made of them: probHbb / (probHbb + sum of probQCD*).",
    )
    guide.made(score_jets(out, guide))
    guide.next(
        "search: from scores to histograms",
        f"The same network in an analysis: {config} says which files, jets, cuts and histograms.",
        "It runs once more with jet energies 3 % up and 3 % down. This is the command",
        f"$ jettagger search {config} -o {out}/search",
    )
    search(out / "search", config, guide)
    guide.made(out / "search" / "plots")
    guide.next(
        "limits: which cross section would be excluded?",
        "A likelihood fit to the templates in the signal and control regions, for each mass. This is the command",
        f"$ jettagger limit {out}/search",
    )
    sys.stdout.flush()
    status = jettagger(["limit", str(out / "search")])
    if status:
        return status
    guide.made(out / "search" / "limits.png")
    guide.next("where to look next")
    width = max(map(len, PICTURES))
    for name, text in PICTURES.items():
        guide.say(f"{out}/{name:{width}}  {text}")
    guide.say("")
    guide.say("docs/start.md      your own first scores and first search, step by step")
    guide.say("docs/concepts.md   the words: bundle, score, discriminant, working point, ...")
    guide.say("docs/search.md     all that search.yaml can say")
    guide.say(f"the samples are small, and {MODEL} is no network of an experiment: the numbers are no physics results")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
