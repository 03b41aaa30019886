"""Score the fat jets of files and write a skim.

From NanoAOD-like ROOT files the skim has one row an event: run, luminosityBlock, event, the kinematics of the fat jets
(GeV), and one list column FatJet_<prefix>_<output> for each output. Jets that were not scored are null in parquet and
NaN in ROOT.

Models that weaver trained take files with one row a jet (JetClass, JetClass-II; ROOT, parquet, or tarballs of them,
also one member as TARBALL::MEMBER). Their skim has one row a jet: jet_*, labels, <prefix>_<output>, and
<prefix>_inDomain, which tells whether the jet passes the selection of the training.

From Delphes files, such models score the jets of a collection (--jets): one row an event, with event, <jets>_pt and the
like, and <jets>_<prefix>_<output>.

An interrupted job goes on where it was when the same command is given again: inputs that were finished are kept beside
the output, in OUT.resume, until it is complete.

With a folder as output (-o DIR/), each file has a skim of its own name there, with the same rows: a ROOT skim of events
can be a friend of the file's tree. --scheduler scores the files on a dask cluster, one file a task.

examples:
  jettagger tag nano.root --model tinyParT -o scores.parquet
  jettagger tag data/*.root --model inclParTMDV1 --where "pt > 300 and abs(eta) < 2.4" -o scores.root
  jettagger tag nano.root --model part-ak8-2023 --columns probHbb,probHcc --keep "FatJet_tau*" -o scores.parquet
  jettagger tag nano.root --model inclParTToyV1 --head heads/XggHead -o scores.parquet
  jettagger tag nano.root --model my/folder -o scores.parquet --dry-run
  jettagger tag data/*.root --model inclParTMDV1 -o scores/ --skims root
  jettagger tag data/*.root --model inclParTMDV1 -o scores/ --scheduler tcp://host:8786
  jettagger tag QCD_0350.parquet --model Sophon --where "jet_pt > 300" -o scores.parquet
  jettagger tag QCD_0350-0359.tar --model Sophon --outside skip -o scores.root
  jettagger tag delphes.root --model Sophon --jets JetPUPPIAK15 --where "pt > 200" -o scores.parquet
"""

from __future__ import annotations

import argparse
import os
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from jettagger.cli.console import Console
from jettagger.cli.options import counted
from jettagger.cli.tagger import add_options, options_of
from jettagger.config.sizes import parse_size
from jettagger.errors import ConfigError
from jettagger.report import Report

if TYPE_CHECKING:
    from jettagger.tagging.tagger import Tagger

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add = parser.add_argument
    add("files", nargs="+", metavar="FILE", help="ROOT files, local or root://; parquet files and tarballs of jets")
    add("--model", "-m", required=True, metavar="M", help="name of a model (jettagger models list) or its folder")
    add("--output", "-o", required=True, metavar="OUT", help="file to write, .parquet or .root; or a folder, DIR/")
    add("--skims", metavar="F", help="format of the skims in a folder: root or parquet (default: root)")
    add("--scheduler", metavar="ADDRESS", help="of a dask cluster that scores the files, one a task; with -o DIR/")
    add("--prefix", metavar="P", help="prefix of the columns (default: the model's)")
    add("--where", metavar="CUT", help='score only jets that pass, e.g. "pt > 200" (columns of the jets, GeV)')
    add(
        "--columns",
        default="prob,mass,regression,hidden",
        metavar="LIST",
        help="kinds (prob, logit, mass, regression, hidden, other, all) and names of outputs, separated by commas "
        "(default: %(default)s)",
    )
    add(
        "--keep",
        action="append",
        default=[],
        metavar="PATTERN",
        help='copy further columns to the output, e.g. "FatJet_tau*" (repeatable)',
    )
    add("--memory", default="500MB", metavar="SIZE", help="memory for the data being processed (default: %(default)s)")
    add("--workers", type=counted, default=1, metavar="N", help="processes (default: %(default)s)")
    add("--skip-broken", action="store_true", help="leave out files that cannot be opened, and name them")
    add(
        "--retries",
        type=counted,
        default=2,
        metavar="N",
        help="how often a read that fails temporarily is repeated; damaged files are not read again "
        "(default: %(default)s)",
    )
    add("--tree", metavar="NAME", help="tree of ROOT files with one row per jet (default: the only one)")
    add("--force", action="store_true", help="replace an existing output")
    add(
        "--resume",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="keep finished inputs in OUT.resume until the output is complete, and go on with those of an interrupted "
        "run; --no-resume starts from the beginning and keeps nothing",
    )
    add(
        "--verify",
        action="store_true",
        help="before anything is scored, read all that the model needs and refuse files with impossible values "
        "(lengths, links, duplicates, ranges, digits; docs/robustness.md); --skip-broken leaves such files out",
    )
    add("--dry-run", action="store_true", help="only say what would be read, scored and written")
    add_options(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Run ``jettagger tag``.

    Raises
    ------
    ConfigError
        If ``--tree`` is given for a model that takes events, or options of folders for a file.
    """
    from jettagger.files.resuming import resume_folder
    from jettagger.skims.resume import drop_finished, finished_inputs
    from jettagger.skims.skim import make_job, run_job
    from jettagger.skims.writers import check_target
    from jettagger.tagging.tagger import load_tagger

    to_folder = args.output.endswith("/") or os.path.isdir(args.output)
    if not to_folder:
        for name in ("skims", "scheduler"):
            if getattr(args, name) is not None:
                raise ConfigError(f"--{name} is for a folder of skims: got the file {args.output!r}, expected -o DIR/")
        check_target(args.output, force=args.force, inputs=args.files)
    tagger = load_tagger(args.model, options_of(args))
    settings: dict[str, Any] = {
        "prefix": args.prefix,
        "where": args.where,
        "columns": [item for item in args.columns.split(",") if item],
        "keep": args.keep,
        "memory": parse_size(args.memory),
        "workers": args.workers,
        "skip_broken": args.skip_broken,
        "verify": args.verify,
        "retries": args.retries,
    }
    if to_folder:
        return _each(console, args, tagger, {**settings, "tree": args.tree})
    job = make_job(args.files, tagger, tree=args.tree, **settings)
    rows = job.kind.rows
    if args.dry_run:
        files = {chunk.path for chunk in job.chunks}
        without = f"; {len(job.skipped)} files are left out" if job.skipped else ""
        console.say(f"ok, can be tagged with {tagger.bundle.name} into {args.output}{without}")
        console.say(f"{job.n_events} {rows} in {len(files)} files, {len(job.chunks)} chunks")
        console.say(f"reads {len(job.inputs)} columns: {', '.join(job.inputs)}")
        like = f"{job.collection}_{next(iter(job.names.values()))}".lstrip("_")
        console.say(f"writes {', '.join(job.keep)} and {len(job.names)} columns like {like}")
        for path, reason in job.skipped.items():
            console.say(f"skips {path}: {reason}")
        return 0
    if not args.resume:
        drop_finished(args.output)
    start = time.perf_counter()
    with console.progress_bar("tagging", job.n_events, rows) as advance:
        try:
            result = run_job(
                job, args.output, workers=args.workers, force=args.force, progress=advance, resume=args.resume
            )
        except BaseException:
            kept = finished_inputs(args.output) if args.resume else 0
            if kept:
                folder = resume_folder(args.output)
                console.tell(
                    f"jettagger: {kept} finished inputs are kept in {folder}: the same command goes on from there"
                )
            raise
    _summary(console, result, time.perf_counter() - start)
    return 0


def _each(console: Console, args: argparse.Namespace, tagger: Tagger, settings: dict[str, Any]) -> int:
    """A skim for each file."""
    from jettagger.files.resuming import resume_folder
    from jettagger.search.executors import client_at
    from jettagger.skims.each import outputs_of, tag_each

    kind = "root" if args.skims is None else args.skims
    targets = outputs_of(args.files, args.output, kind)
    if args.dry_run:
        console.say(
            f"ok, {len(targets)} files can be tagged with {tagger.bundle.name} into {args.output}, if they can be read"
        )
        for path, target in targets.items():
            console.say(f"{target}: {path}")
        return 0
    folder = resume_folder(args.output.rstrip("/"))
    if not args.resume and folder.is_dir():
        raise ConfigError(f"{folder} has the state of an interrupted run: --force replaces its skims")
    skip_broken = settings.pop("skip_broken")
    start = time.perf_counter()
    with console.progress_bar("tagging", len(targets), "files") as advance, ExitStack() as stack:
        client = None if args.scheduler is None else stack.enter_context(client_at(args.scheduler))
        try:
            made = tag_each(
                args.files,
                tagger,
                args.output.rstrip("/"),
                kind=kind,
                client=client,
                force=args.force,
                skip_broken=skip_broken,
                progress=advance,
                **settings,
            )
        except BaseException:
            if folder.is_dir():
                console.tell(f"jettagger: finished skims are known in {folder}: the same command goes on from there")
            raise
    for result in made.made.values():
        console.wrote(result.path)
    rows = [(f"{result.path}", result.events, result.report.scored) for result in made.made.values()]
    console.table(f"{args.output}", ("skim", "rows", "scored"), rows)
    console.say("")
    scored, seconds = made.report.scored, time.perf_counter() - start
    console.say(f"{scored} jets scored in {len(rows)} files, {scored / seconds:.0f} per second")
    if made.earlier:
        console.say(f"{len(made.earlier)} files were finished by an earlier run")
    for path, reason in made.failed.items():
        console.warn(f"skipped {path}: {reason}")
    return 0


def _of_server(report: Report) -> list[tuple[str, object]]:
    return [
        ("server", ", ".join(report.servers) or "none answered"),
        ("requests to the server", report.requests),
        ("requests that were sent again", report.resent),
        ("runs on this machine instead of the server", report.runs_here),
        ("waited for the network", f"{report.seconds:.3g} s"),
    ]


def _summary(console: Console, result: object, seconds: float) -> None:
    from jettagger.skims.skim import SkimResult

    if not isinstance(result, SkimResult):
        raise TypeError(type(result))
    report = result.report
    now = report.scored - result.earlier.scored
    rows: list[tuple[str, object]] = [
        ("events", report.events),
        ("fat jets", report.jets),
        ("scored", report.scored),
        *([("scored by an earlier run", result.earlier.scored)] if result.earlier.events else []),
        ("found in the score cache", report.cached),
        ("not scored: left out by --where", report.not_selected),
        ("not scored: no constituents", report.without_constituents),
        ("not scored: only a part of the constituents", report.partial),
        ("not scored: outside the domain of the model", report.outside_domain),
        ("more constituents than the model takes", report.truncated),
        ("vertices recovered", report.recovered_vertices),
        ("candidates that the model's selection leaves out", report.deselected_candidates),
        ("objects without a value of the model's order", report.unordered),
        ("constituents outside of an image", report.outside_image),
        ("jets with a track whose rebuilt sign is in doubt", report.n_sign_ambiguous),
        ("jets with a track of another vertex", report.n_other_pv),
        ("dangling links", report.dangling_links),
        ("input values that were not finite", report.replaced_values),
        ("jets with an output that is not finite", report.nonfinite_jets),
        ("reads that failed temporarily", report.retried),
        *(_of_server(report) if report.requests or report.runs_here else []),
        ("padding waste", f"{100 * report.padding_waste:.1f} %"),
        ("jets per second", f"{now / seconds:.0f}" if now else "-"),
    ]
    console.wrote(result.path)
    console.counts(f"{result.path}", rows)
    if result.simulated:
        known = [source.count for source in result.sources]
        count = "number unknown" if None in known else f"{sum(number or 0 for number in known)}"
        total = sum(source.sum_of_weights for source in result.sources)
        text = f"{count}, sum of generator weights {total:.10g}" if result.sources else "not known: no tree Runs"
        console.say(f"generated events behind the files that were read: {text}")
    for path, reason in result.skipped.items():
        console.warn(f"skipped {path}: {reason}")
