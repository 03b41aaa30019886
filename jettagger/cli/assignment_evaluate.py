"""Compare networks with the truth of a dataset (HDF5): purities of all decoders side by side, and their differences.

A MODEL is a folder with an ONNX file, a network file, or the folder of a training; its event file comes with it. With
several, NAME=MODEL gives them names; they assign the same particles. All of them see the same events, so that
differences have smaller uncertainties than purities; uncertainties are those of a bootstrap of the events.

Purities are by number of objects and by category: *lt1ht are events with one hadronic top and any number of leptonic
ones. Printed are those with any and with all of the particles; OUT.json has all. Evaluate on events that were not
trained on: --events 950: leaves out the first 950.

A chi-square beside the networks needs no training: ht=top stands for the masses of W and top, h=higgs for that of the
Higgs boson, and z/l1+l2=91.2,3 for a mass and its width in GeV.

examples:
  jettagger assignment evaluate ttH/ test.h5
  jettagger assignment evaluate ours=training/ theirs=ttH/ test.h5 -o evaluation.json --picture evaluation.pdf
  jettagger assignment evaluate ttH/ data.h5 --events 950: --chi-square ht=top --chi-square h=higgs --b-tag "btag > 0.5"
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from jettagger.cli.console import Console
from jettagger.cli.options import counted, finite, range_of, seed

if TYPE_CHECKING:
    from jettagger.assignment.evaluating import EvaluationPlan
    from jettagger.assignment.model_outputs import AssignmentModel

__all__ = ["configure", "run"]

#: options with files to write
_OUTPUTS = ("output", "latex", "picture")

#: formats of the picture
_FORMATS = (".pdf", ".png", ".svg")

#: name in front of a network
_NAMED = re.compile(r"(?P<name>[\w.-]+)=(?P<path>.+)")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``jettagger assignment evaluate``."""
    add = parser.add_argument
    add("models", nargs="+", metavar="[NAME=]MODEL", help="networks, see above")
    add("dataset", metavar="DATASET.h5", help="events with targets")
    add("--events", default=":", metavar="A:B", help="range of events, counted from 0 (default: all)")
    add("--lines", "-l", type=counted, default=2, metavar="N", help="bins of one number of objects (default: 2)")
    add(
        "--categories",
        metavar="C,C,...",
        help="categories of the printed purities, or 'all' (default: any, and all particles present)",
    )
    add("--methods", default="greedy,best,sum", metavar="M,M,...", help="decoders (default: %(default)s)")
    add(
        "--detection",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="decode also with detection probabilities (default: if the network was trained for them)",
    )
    add("--weights", action="store_true", help="use the weights of events of the dataset")
    add("--chi-square", action="append", default=[], metavar="TERM", help="add a chi-square, see above (repeatable)")
    add("--b-tag", metavar="CUT", help="objects with a b tag, for the chi-square: 'btag > 0.5'")
    add("--b-efficiency", type=finite, default=0.7, metavar="E", help="of the tag for b quarks (default: %(default)s)")
    add("--b-mistag", type=finite, default=0.04, metavar="E", help="of the tag for others (default: %(default)s)")
    add("--replicas", type=counted, default=200, metavar="N", help="of the bootstrap (default: %(default)s)")
    add("--seed", type=seed, default=1, metavar="N", help="of the bootstrap (default: %(default)s)")
    add("--output", "-o", metavar="OUT.json", help="file to write, with all numbers")
    add("--latex", metavar="OUT.tex", help="file to write, with the tables for LaTeX (booktabs)")
    add("--picture", metavar="OUT.pdf", help="file to write, .pdf, .png or .svg: purities by number of objects")
    add("--input-log", choices=("yes", "no"), help="for a folder with an ONNX file alone, as for import")
    add("--threads", type=counted, metavar="N", help="threads of network and decoder (default: all usable cores)")
    add("--force", action="store_true", help="replace existing outputs")
    add("--dry-run", action="store_true", help="only compare the networks with the dataset")


def run(args: argparse.Namespace, console: Console) -> int:
    """Run ``jettagger assignment evaluate``.

    Raises
    ------
    OutputError
        If an output is an input, or exists already.
    ConfigError
        If two networks have the same name.
    """
    from jettagger.assignment.evaluating import evaluate_networks, plan_evaluation
    from jettagger.assignment.evaluation_report import evaluation_figure, write_evaluation, write_latex
    from jettagger.provenance import Provenance

    _check_outputs(args, [args.dataset, *(_named(text)[1] for text in args.models)])
    start, stop = range_of("--events", args.events)
    models = _opened(args)
    first = next(iter(models.values()))
    baseline = None
    if args.chi_square:
        from jettagger.assignment.baseline import parse_baseline

        baseline = parse_baseline(first.event, args.chi_square, args.b_tag, args.b_efficiency, args.b_mistag)
    plan = plan_evaluation(
        models,
        args.dataset,
        methods=args.methods.split(","),
        detection=args.detection,
        baseline=baseline,
        start=start,
        stop=stop,
        weights=args.weights,
    )
    _check_outputs(args, plan.sources)
    for note in plan.notes:
        console.warn(note)
    if args.dry_run:
        _say_plan(console, plan)
        return 0
    with console.progress_bar("evaluating", plan.n_events, "events") as advance:
        found = evaluate_networks(
            plan,
            lines=args.lines,
            replicas=args.replicas,
            seed=args.seed,
            threads=args.threads,
            progress=advance,
        )
    for name, count in found.cut.items():
        console.warn(f"{count} of {found.n_events} events lose objects: {name} takes fewer")
    for name, count in found.not_scored.items():
        console.warn(f"{count} of {found.n_events} events are not scored by {name}: no objects, or no global input")
    categories = None
    if args.categories is not None:
        categories = found.categories if args.categories == "all" else args.categories.split(",")
    for grid in found.tables(categories):
        console.table(grid.title, grid.header, grid.rows)
        console.say("")
    record = Provenance(
        "evaluate",
        files=tuple(str(path) for path in plan.sources),
        configuration={
            "networks": {name: model.digest for name, model in models.items()},
            "events": [plan.start, plan.stop],
            "weights": args.weights,
            "replicas": args.replicas,
            "seed": args.seed,
            **({"chi_square": args.chi_square, "b_tag": args.b_tag} if args.chi_square else {}),
        },
    )
    figure = None if args.picture is None else evaluation_figure(found)  # before anything is written
    if args.output is not None:
        write_evaluation(args.output, found, provenance=record, force=args.force)
    if args.latex is not None:
        write_latex(args.latex, found, provenance=record, categories=categories, force=args.force)
    if figure is not None:
        from jettagger.plots import save_figure

        save_figure(figure, args.picture)
    for path in (args.output, args.latex, args.picture):
        if path is not None:
            console.wrote(path, f"{path}: written")
    return 0


def _named(text: str) -> tuple[str | None, str]:
    """Name and path of a network."""
    named = _NAMED.fullmatch(text)
    return (None, text) if named is None else (named["name"], named["path"])


def _check_outputs(args: argparse.Namespace, inputs: Iterable[str | os.PathLike[str]]) -> None:
    """Refuse outputs that are inputs, exist already, are the same, or of a format that cannot be drawn."""
    from jettagger.errors import ConfigError, OutputError
    from jettagger.files import refuse_inputs, refuse_repeats

    inputs = list(inputs)
    paths = [getattr(args, name) for name in _OUTPUTS if getattr(args, name) is not None]
    refuse_repeats(paths)
    for path in paths:
        refuse_inputs(path, inputs)
        if os.path.exists(path) and not args.force:
            raise OutputError(f"{path} exists already; --force replaces it")
        if not os.path.isdir(os.path.dirname(path) or "."):
            raise OutputError(f"cannot write {path}: its folder does not exist")
    if args.picture is not None and os.path.splitext(args.picture)[1] not in _FORMATS:
        raise ConfigError(f"--picture: got {args.picture!r}, expected a file with the suffix {', '.join(_FORMATS)}")


def _opened(args: argparse.Namespace) -> dict[str, AssignmentModel]:
    """The networks by their names."""
    from jettagger.assignment.model_outputs import open_model
    from jettagger.errors import ConfigError

    models: dict[str, AssignmentModel] = {}
    input_log = None if args.input_log is None else args.input_log == "yes"
    for text in args.models:
        name, path = _named(text)
        model = open_model(path, threads=args.threads, input_log=input_log, name=name)
        if model.name in models:
            raise ConfigError(f"two networks are called {model.name!r}: give names, NAME=MODEL")
        models[model.name] = model
    return models


def _say_plan(console: Console, plan: EvaluationPlan) -> None:
    rows = [(name, ", ".join(one.name for one in decoders)) for name, decoders in plan.decoders.items()]
    console.table("networks", ("name", "methods"), rows)
    if plan.baseline is not None:
        terms = [
            f"{term.particle}/{'+'.join(term.daughters)}={term.mass:g},{term.width:g}" for term in plan.baseline.terms
        ]
        console.say(f"chi-square of {', '.join(terms)}")
    console.say(f"ok, {plan.n_events} events of {plan.path}; nothing written")
