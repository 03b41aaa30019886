"""Assign the objects of the events in files to particles, with the folder of a network.

FILES are ROOT files with a tree Events (NanoAOD, PFNano), for which the folder needs inputs.yaml, or HDF5 data sets in
the layout of SPANet; targets are not needed. OUT.parquet or OUT.root has a row for each event: run, luminosityBlock and
event where there are any, the four-vector of each particle, the indices of its jets in the event, and probabilities.
OUT.h5 has the inputs and the predictions in the layout of SPANet. The output is complete or absent.

An interrupted job goes on where it was when the same command is given again: inputs that were finished are kept beside
the output, in OUT.resume, until it is complete.

examples:
  jettagger assignment predict events.root --model ttH/ -o assigned.parquet
  jettagger assignment predict data.h5 --model ttH/ -o predict.h5 --method best
  jettagger assignment predict events.root --model ttH/ -o assigned.root --dry-run
"""

from __future__ import annotations

import argparse

from jettagger.cli.console import Console
from jettagger.cli.options import counted

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``jettagger assignment predict``."""
    add = parser.add_argument
    add("files", nargs="+", metavar="FILE", help="events or data sets, see above")
    add(
        "--model", required=True, metavar="MODEL", help="folder with the network, folder of a training, or network file"
    )
    add("--output", "-o", required=True, metavar="OUT", help="file to write: .parquet, .root or .h5")
    add("--mapping", metavar="INPUTS.yaml", help="which columns of events the inputs are (default: that of the folder)")
    add(
        "--method",
        default="greedy",
        metavar="NAME",
        help="how assignments are chosen, see docs/assignment.md (default: %(default)s)",
    )
    add("--detection", action="store_true", help="leave out particles that are more likely absent")
    add("--input-log", choices=("yes", "no"), help="for a folder without assigner.json, as for import")
    add("--prefix", default="assigned", metavar="P", help="front of the columns of a table (default: %(default)s)")
    add("--embeddings", action="store_true", help="write the embeddings of the network to OUT.h5, too")
    add("--threads", type=counted, default=None, metavar="N", help="threads of network and decoder")
    add("--provider", metavar="NAME", help="execution provider of ONNX Runtime (default: cpu)")
    add("--events", type=counted, default=4096, metavar="N", help="events in memory (default: %(default)s)")
    add("--force", action="store_true", help="replace an existing output")
    add(
        "--resume",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="keep finished inputs in OUT.resume until the output is complete, and go on with those of an interrupted "
        "run; --no-resume starts from the beginning and keeps nothing",
    )
    add("--dry-run", action="store_true", help="only say what would be read and written")


def run(args: argparse.Namespace, console: Console) -> int:
    """Run ``jettagger assignment predict``."""
    from jettagger.assignment import load_assigner
    from jettagger.files.resuming import resume_folder
    from jettagger.skims.resume import drop_finished, finished_inputs
    from jettagger.studies.assigning import plan_predictions, predict_events

    assigner = load_assigner(
        args.model,
        mapping=args.mapping,
        method=args.method,
        detection=args.detection,
        input_log=None if args.input_log is None else args.input_log == "yes",
        threads=args.threads,
        provider=args.provider,
    )
    plan = plan_predictions(assigner, args.files, args.output, force=args.force)
    if args.dry_run:
        console.say(f"ok, {plan.n_events} events in {len(plan.files)} files can be assigned with {assigner.model.name}")
        for name, taken in assigner.model.slots.items():
            have = plan.slots[name]
            if taken is not None and taken < have:
                console.say(f"{name}: {have} slots are cut to {taken}, which the network takes")
            elif taken is not None and taken > have:
                console.say(f"{name}: {have} slots are padded to {taken}, which the network takes")
        if plan.columns:
            console.say(f"reads {len(plan.columns)} columns: {', '.join(plan.columns)}")
        console.say(f"writes {plan.output}")
        return 0
    if not args.resume:
        drop_finished(args.output)
    with console.progress_bar("assigning", plan.n_events, "events") as advance:
        try:
            report = predict_events(
                plan,
                prefix=args.prefix,
                embeddings=args.embeddings,
                size=args.events,
                force=args.force,
                resume=args.resume,
                progress=advance,
            )
        except BaseException:
            kept = finished_inputs(args.output) if args.resume else 0
            if kept:
                folder = resume_folder(args.output)
                console.tell(
                    f"jettagger: {kept} finished inputs are kept in {folder}: the same command goes on from there"
                )
            raise
    console.wrote(plan.output)
    console.table(f"{plan.output}", ("what", "number", "share"), report.rows())
    return 0
