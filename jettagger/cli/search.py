"""Run a search for resonances: from files and a configuration to histograms, cutflows, templates and plots.

The configuration is a YAML file: samples (files, cross sections in pb), the model to run or the scores in the files,
jets, discriminants, cuts, regions, weights, variations, histograms and templates. A small one:

  version: 1
  luminosity: 138                          # 1/fb
  tagger: inclParTMDV1                     # leave out to use scores that are in the files
  samples:
    tt:    {files: ["tt/*.root"], cross_section: 830}              # pb
    X2000: {files: [root://host//store/x2000.root], cross_section: 0.01}
  jets: {count: 2, preselection: "pt > 300 and abs(eta) < 2.4", sort_by: HbbvsQCD, mass: msoftdrop}
  discriminants: {HbbvsQCD: HbbvsQCD}
  cuts:
    near: "abs(deta) < 1.3"
    tagged: "jet1.HbbvsQCD > 0.98 and jet2.HbbvsQCD > 0.98"
  regions:
    SR: {kind: signal, pass: [near, tagged]}
    CR: {kind: control, pass: [near], fail: [tagged]}
  variations:
    jes: {up: {pt: "pt * 1.02", mass: "mass * 1.02"}, down: {pt: "pt * 0.98", mass: "mass * 0.98"}}
  histograms:
    mjj: {bins: [30, 800, 3800], label: dijet mass, unit: GeV}
  templates:
    histogram: mjj
    processes: {tt: [tt]}
    signals: {X2000: {datasets: [X2000], mass: 2000}}

Cuts, weights and histograms are expressions in columns of the events (MET.pt), of the candidates (jet1.msoftdrop) and
in mjj, ptjj [GeV], deta, dphi, dr and njets. Relative paths start at the folder of the configuration. The output
folder is complete or not there; 'jettagger limit OUT/' goes on from it. Options of how the model is applied take the
place of those in the configuration (tagger: {model: inclParTMDV1, threads: 4}).

An interrupted search goes on where it was when the same command is given again: finished chunks are kept beside the
output, in OUT.resume, until it is complete. With another configuration, model or code it refuses and says what changed.
Jobs by hand run parts of it (--part 3/20), which 'jettagger search merge' puts together.

examples:
  jettagger search search.yaml -o OUT/ --dry-run
  jettagger search search.yaml -o OUT/
  jettagger search search.yaml -o OUT/ --executor futures --workers 8 --skip-broken
  jettagger search search.yaml -o OUT/ --executor dask --scheduler tcp://host:8786
  jettagger search search.yaml -o OUT/ --executor slurm --workers 100 --queue long --walltime 12:00:00 --memory "4 GB"
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jettagger.cli.batch import add_batch_options, batch_options
from jettagger.cli.console import Console
from jettagger.cli.options import add_run_options
from jettagger.cli.tagger import add_options, given_options

if TYPE_CHECKING:
    from jettagger.processors.search import ResonanceSearchProcessor
    from jettagger.search import SearchConfig, SearchResult, Survey

__all__ = ["configure", "run", "summary"]

#: number of missing files that are named one by one
MOST_FAILURES = 20


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``jettagger search``."""
    add = parser.add_argument
    add("config", metavar="CONFIG.yaml", help="what to do, see above")
    add("--output", "-o", required=True, metavar="OUT/", help="folder to write")
    add_run_options(parser)
    add_batch_options(parser)
    add(
        "--verify",
        action="store_true",
        help="when the files are opened, read the jets and all that the model needs, and refuse files with "
        "impossible values (docs/robustness.md); --skip-broken goes on without them",
    )
    add("--no-plots", action="store_true", help="draw nothing")
    add("--force", action="store_true", help="replace the output folder of an earlier search")
    add(
        "--part",
        metavar="N/OF",
        help="run only every OF-th file, from the N-th, and write a part; 'jettagger search merge' puts parts together",
    )
    add(
        "--resume",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="keep finished chunks in OUT.resume until the output is complete, and go on with those of an interrupted "
        "run; --no-resume starts from the beginning and keeps nothing",
    )
    add(
        "--dry-run",
        action="store_true",
        help="open the files, check the configuration, and say what would be done",
    )
    add_options(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Run ``jettagger search``."""
    from jettagger.files.resuming import resume_folder
    from jettagger.processors.search import SearchWarning
    from jettagger.search.config import read_config
    from jettagger.search.files import files_read, survey
    from jettagger.search.identity import search_identity
    from jettagger.search.kept import check_kept, drop_chunks, kept_chunks, kept_number
    from jettagger.search.output import RECORD, check_folder, write_output
    from jettagger.search.parts import MARKER, part_of, split_config, write_part
    from jettagger.search.run import check_executor, run_chunks, run_search

    part = None if args.part is None else part_of(args.part)
    # a part is merged elsewhere, where relative paths would be other files
    folder = "" if part is None else Path(args.config).parent.resolve()
    whole = config = read_config(args.config, folder=folder).with_options(**given_options(args))
    if part is not None:
        config = split_config(whole, *part, skip_broken=args.skip_broken)
    batch = batch_options(args, config.document.data.get("batch") or {}, f"{args.output.rstrip('/')}.logs")
    check_executor(args.executor, args.workers, args.scheduler, args.retries, batch)
    marker = RECORD if part is None else MARKER
    check_folder(args.output, marker=marker, force=args.force, inputs=files_read(whole))
    processor = config.make_processor()
    identity = search_identity(config, processor)
    if args.resume:
        check_kept(args.output, identity)
    patterns = sum(len(files.patterns) + len(files.listed) for files in config.files.values())
    with console.progress_bar("opening files", patterns, "files") as advance:
        found = survey(
            config,
            processor,
            skip_broken=args.skip_broken,
            retries=args.retries,
            progress=advance,
            verify=args.verify,
            part=part is not None,
        )
    check_folder(args.output, marker=marker, force=args.force, inputs=files_read(config, found))
    if args.dry_run:
        _plan(console, config, processor, found)
        if args.resume and kept_number(args.output):
            console.say(f"goes on with {kept_number(args.output)} finished chunks in {resume_folder(args.output)}")
        return 0
    try:
        if not args.resume:
            drop_chunks(args.output)
        with kept_chunks(args.output, identity, resume=args.resume or part is not None) as kept:
            with console.progress_bar("searching", found.events, "events") as advance, warnings.catch_warnings():
                # they are in the notes, which are printed below
                warnings.simplefilter("ignore", SearchWarning)
                options: dict[str, Any] = {
                    "executor": args.executor,
                    "workers": args.workers,
                    "scheduler": args.scheduler,
                    "skip_broken": args.skip_broken,
                    "retries": args.retries,
                    "progress": advance,
                    "kept": kept,
                    "batch": batch,
                }
                if part is None:
                    result = run_search(config, found=found, **options)
                else:
                    _, missing = run_chunks(config, processor, found, **options)
            if part is not None and kept is not None:
                text = Path(args.config).read_text(encoding="utf-8")
                of = {"part": part, "text": text, "missing": missing, "force": args.force}
                write_part(args.output, kept, whole, found, processor, **of)
                console.wrote(
                    args.output, f"{args.output}: part {args.part}, {found.events} events in {len(found.files)} files"
                )
                _failures(console, missing)
                return 0
            written = write_output(result, args.output, force=args.force, plots=not args.no_plots)
    except BaseException:
        number = kept_number(args.output) if args.resume else 0
        if number:
            folder = resume_folder(args.output)
            console.tell(
                f"jettagger: {number} finished chunks are kept in {folder}: the same command goes on from there"
            )
        raise
    summary(console, result, args.output, written)
    return 0


def _plan(console: Console, config: SearchConfig, processor: ResonanceSearchProcessor, found: Survey) -> None:
    from jettagger.search.variations import changed_columns

    doubts = processor.doubts()
    counts = [f"{len(found.broken)} files left out"] if found.broken else []
    counts += [f"{len(doubts)} warnings"] if doubts else []
    verdict = f"ok, but {' and '.join(counts)}" if counts else "ok"
    console.say(f"{verdict}: the search can be run, on {found.events} events in {len(found.files)} files")
    rows: list[tuple[object, ...]] = []
    for dataset, sample in found.samples.items():
        mine = [info for info in found.files if info.dataset == dataset]
        section = "data" if sample.data else f"{sample.cross_section:g}"
        total = sample.sum_of_weights
        text = "-" if sample.data else f"{total:.6g}" if isinstance(total, float) else "that of the events read"
        text += " (Runs)" if found.from_runs(config, dataset) else ""
        rows.append((dataset, section, len(mine), sum(info.events for info in mine), text))
    console.table("samples", ("dataset", "cross section [pb]", "files", "events", "sum of weights"), rows)
    console.say("")
    if config.search.eras:
        of = {era: [key for key, item in found.samples.items() if item.era == era] for era in config.search.eras}
        rows = []
        for name, era in config.search.eras.items():
            energy = "-" if era.energy is None else f"{era.energy:g}"
            names = (", ".join(era.triggers) or "-", ", ".join(of[name]) or "-")
            rows.append((name, f"{era.luminosity:g}", energy, *names))
        console.table("eras", ("era", "luminosity [1/fb]", "energy [TeV]", "triggers", "samples"), rows)
        console.say("")
    regions = [(name, region.kind, ", ".join(region.cuts) or "-") for name, region in processor.regions.items()]
    console.table("regions", ("region", "kind", "cuts"), regions)
    console.say("")
    if processor.tagger is not None:
        console.say(f"runs {processor.tagger!r}")
        of_heads = [column for head in processor.tagger.heads for column in head.columns]
        console.say(f"takes {', '.join([*processor.outputs, *of_heads])}")
        for name, item in processor.variations.items():
            inputs = processor.rescoring(changed_columns(item, processor.names.values()))
            text = f"is run again: {', '.join(inputs)} change" if inputs else "keeps the scores: no input changes"
            console.say(f"variation {name}: the network {text}")
        if processor.jet_energy is not None:
            inputs = processor.rescoring(processor.jet_energy.changed(processor.collection))
            text = f"depends on corrected energies: {', '.join(inputs)} change" if inputs else "does not depend on them"
            of_energy = ", ".join(processor.jet_energy.names) or "(none)"
            console.say(f"corrected energies of jets, variations {of_energy}: the network {text}")
    else:
        console.say("runs no network: the scores are in the files")
    console.say(f"fills {', '.join(spec.name for spec in processor.histograms)}")
    for dataset, files in config.files.items():
        if files.unused:
            console.say(f"{dataset}: metadata of its fileset that is not used: {', '.join(files.unused)}")
    unopened = sum(info.listed is not None for info in found.files)
    if unopened:
        console.say(f"{unopened} files have not been opened: what filesets say of them is compared when they are read")
    for note in doubts:
        console.warn(note)
    for path, reason in found.broken.items():
        console.say(f"leaves out {path}: {reason}")


def summary(console: Console, result: SearchResult, output: str, written: dict[str, str]) -> None:
    """Say what a search found, wrote and left out.

    Parameters
    ----------
    result : SearchResult
    output : str
        Its folder.
    written : dict of str to str
        File -> what it is.
    """
    from jettagger.search.output import blind_regions
    from jettagger.statistics.templates import load_report

    rows = []
    for dataset, counts in result.datasets.items():
        last = {region: list(flow.values())[-1] for region, flow in result.cutflow[dataset].items()}
        rows.append(
            (
                dataset,
                *(counts[key] for key in ("events", "jets", "scored")),
                *("blind" if row["weighted"] is None else f"{row['weighted']:.5g}" for row in last.values()),
            )
        )
    regions = list(result.config.search.regions)
    console.table(
        f"events at {result.config.search.luminosity:g} /fb",
        ("dataset", "read", "fat jets", "scored", *regions),
        rows,
    )
    console.say("")
    for name, text in written.items():
        if not name.startswith("plots/"):
            place = f"{output.rstrip('/')}/{name}"
            console.wrote(place, f"{place}: {text}")
    plots = len({name.rpartition(".")[0] for name in written if name.startswith("plots/")})
    if plots:
        place = f"{output.rstrip('/')}/plots/"
        console.wrote(place, f"{place}: {plots} plots, as PNG and PDF")
    hidden = blind_regions(result)
    if hidden:
        console.say(f"blind: data in {', '.join(hidden)} are in no histogram (blind: false shows them)")
    if "templates.json" in written:
        for line in load_report(output):
            console.say(f"templates: {line}")
    for note in result.notes:
        console.warn(note)
    _failures(console, result.missing)


def _failures(console: Console, missing: Mapping[str, str]) -> None:
    """What was left out, by site."""
    from jettagger.search.failures import sites_of

    for place, reason in list(missing.items())[:MOST_FAILURES]:
        console.warn(f"missing: {place}: {reason}")
    if len(missing) > MOST_FAILURES:
        console.warn(f"missing: {len(missing) - MOST_FAILURES} more files or parts of files; the record names all")
    sites = sites_of(missing)
    if len(missing) > 1 and any(site for site in sites):
        rows = [(site or "local files", number) for site, number in sites.items()]
        console.table("files and parts of files that are missing, by site", ("site", "missing"), rows)
