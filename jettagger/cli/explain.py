"""What a network looks at in the jets of files: saliency, attribution, occlusion, permutation, attention.

Works for every model that is an ONNX file. FILE is of events or of jets, as for 'jettagger tag'. The folder OUT/ is
complete or absent: explanation.json (all numbers), explanation.md (tables), features.png and groups.png (ranked bars
with uncertainties from replicas of the jets), map_<input>.png (constituents and variables), jets.png (jets with
constituents coloured by contribution). docs/explain.md says what the methods mean.

methods:
  saliency        derivative with respect to each input (extra train)
  gradient-input  derivative times input
  integrated      integrated gradients: contributions that add up to the difference to a baseline
  occlusion       change by leaving out variables, kinds of constituents, single constituents; needs no torch
  permutation     loss of rejection by exchanging variables among jets; needs --signal and --background, no torch
  attention       weights of the attention of transformers, which are no contributions

what is explained, --discriminant: a preset (HbbvsQCD, "log HbbvsQCD"), a score (probHbb), its logit ("logit probHbb"),
mass, a hidden neuron (hidNeurons012), an output of a head (HEAD:OUTPUT, with --head), an expression in scores.

An interrupted run of a method with gradients goes on where it was when the same command is given again (OUT.resume).

examples:
  jettagger explain nano.root --model inclParTToyV1 --discriminant HbbvsQCD -o explained
  jettagger explain hbb.root qcd.root -m inclParTToyV1 --discriminant "log HbbvsQCD" --method integrated --by class \\
      --by pt=200,400,1000 -o explained
  jettagger explain default.root --versus alternative.root -m inclParTToyV1 --discriminant HbbvsQCD -o compared
  jettagger explain hbb.root qcd.root -m inclParTToyV1 --discriminant HbbvsQCD --method permutation \\
      --signal "label == 16" --background "label == 27" -o permuted
  jettagger explain jets.parquet -m Sophon --discriminant "logit probXbb" --method occlusion --number 200 -o occluded
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jettagger.cli.console import Console
from jettagger.cli.options import counted, finite, seed
from jettagger.cli.tagger import add_options, options_of

if TYPE_CHECKING:
    from jettagger.explain.batches import ExplainSettings
    from jettagger.explain.report import Explanation
    from jettagger.explain.sampling import JetSample
    from jettagger.explain.scorer import Scorer

__all__ = ["configure", "run"]

#: rows of a table on the screen
_ROWS = 10


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``jettagger explain``."""
    add = parser.add_argument
    add("files", nargs="+", metavar="FILE", help="files of events or of jets")
    add("--model", "-m", required=True, metavar="M", help="name of a model (jettagger models list) or its folder")
    add("--discriminant", "-d", required=True, metavar="D", help="the number that is explained, see above")
    add("--output", "-o", required=True, metavar="OUT/", help="folder to write")
    add(
        "--method",
        default="saliency",
        metavar="NAME",
        help="saliency, gradient-input, integrated, occlusion, permutation or attention (default: %(default)s)",
    )
    add(
        "--number",
        "-n",
        type=counted,
        default=2000,
        metavar="N",
        help="maximum number of jets of each sample, chosen at random (default: %(default)s)",
    )
    add(
        "--by",
        action="append",
        default=[],
        metavar="COLUMN",
        help="groups of jets: class, a column with whole numbers, or edges such as pt=200,400,1000 (repeatable)",
    )
    add("--where", metavar="CUT", help='explain only jets that pass, e.g. "pt > 300" (columns of the jets)')
    add("--versus", action="append", default=[], metavar="FILE", help="second sample, to be compared (repeatable)")
    add("--versus-where", metavar="CUT", help="jets of the second sample (default: as --where)")
    add(
        "--order",
        metavar="VARIABLE",
        help="constituents in maps by this variable, largest first (default: as the network)",
    )
    add(
        "--baseline",
        default="none",
        metavar="NAME",
        help="of integrated, and of variables left out by occlusion: none (as empty slots), median (constituent), jet "
        "(the first), others (constituents drawn from other jets) (default: %(default)s)",
    )
    add(
        "--tolerance",
        type=finite,
        default=0.01,
        metavar="T",
        help="of integrated: relative residual of the sum of a jet (default: %(default)s)",
    )
    add("--signal", metavar="CUT", help="of permutation: jets that are signal, in columns of the jets")
    add("--background", metavar="CUT", help="of permutation: jets that are background")
    add(
        "--efficiency",
        type=finite,
        default=0.5,
        metavar="E",
        help="of permutation: signal efficiency of the rejection (default: %(default)s)",
    )
    add(
        "--seed", type=seed, default=1, metavar="N", help="of the choice of jets and of replicas (default: %(default)s)"
    )
    add("--tree", metavar="NAME", help="tree of ROOT files with one row per jet (default: the only one)")
    add("--no-plots", action="store_true", help="draw nothing")
    add("--force", action="store_true", help="replace an existing explanation")
    add(
        "--resume",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="keep finished chunks in OUT.resume until the output is complete, and go on with those of an interrupted "
        "run",
    )
    add("--dry-run", action="store_true", help="only say what would be read, explained and written")
    add_options(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Run ``jettagger explain``.

    Raises
    ------
    OutputError
        If the output exists already and ``--force`` is not given.
    UnknownName
        If there is no such method, number, column or variable.
    ConfigError
        If options do not fit the method.
    MissingModelFile
        If the model has no weights.
    MismatchError
        If attention is asked for of a network that shows none.
    """
    from jettagger.errors import MismatchError, require
    from jettagger.explain.attention import attention_nodes
    from jettagger.explain.clouds import jet_clouds
    from jettagger.explain.keeping import KeptNumbers
    from jettagger.explain.running import explain_samples
    from jettagger.explain.scorer import Scorer
    from jettagger.explain.writing import REPORT, write_explanation
    from jettagger.files import check_folder
    from jettagger.tagging.tagger import load_tagger

    settings = _settings(args)
    check_folder(args.output, marker=REPORT, force=args.force, inputs=[*args.files, *args.versus])
    scorer = Scorer(load_tagger(args.model, options_of(args)), args.discriminant)
    check_folder(args.output, marker=REPORT, force=args.force, inputs=scorer.tagger.sources)
    if settings.method == "attention" and not attention_nodes(scorer.tagger.bundle):
        name = scorer.tagger.bundle.name
        raise MismatchError(f"the graph of {name!r} shows no attention: no softmax that weights values")
    if settings.method in ("saliency", "gradient-input", "integrated", "attention"):
        require("torch", "train", f"the method {settings.method}")
    if not args.no_plots:
        require("matplotlib", "plot", "drawing")
    samples = _samples(args, scorer, settings)
    if settings.order is not None:
        _check_order(scorer, settings.order)
    if args.dry_run:
        _say_plan(console, scorer, samples, settings, args.output)
        return 0
    kept = KeptNumbers(args.output, _key(scorer, samples, settings)) if args.resume else None
    try:
        with console.progress_bar("explaining", settings.jets * len(samples), "jets") as advance:
            found, _ = explain_samples(scorer, samples, settings, progress=advance, kept=kept)
        clouds = None
        if not args.no_plots:
            clouds = jet_clouds(scorer, samples[0], settings)
        names = write_explanation(
            found,
            scorer.tagger.bundle,
            args.output,
            _provenance(args, scorer, samples, settings),
            clouds=clouds,
            plots=not args.no_plots,
            force=args.force,
        )
    except BaseException:
        if kept is not None:
            number = kept.finished()
            kept.close()
            if number:
                text = f"{number} finished chunks are kept in {kept.folder}"
                console.tell(f"jettagger: {text}: the same command goes on from there")
        raise
    if kept is not None:
        kept.drop()
    _show(console, found)
    if clouds is not None and clouds.reason:
        console.say(f"no jets are drawn: {clouds.reason}")
    console.wrote(args.output, f"wrote {args.output}: {', '.join(names)}")
    return 0


def _settings(args: argparse.Namespace) -> ExplainSettings:
    from jettagger.errors import ConfigError
    from jettagger.explain.batches import ExplainSettings
    from jettagger.explain.sampling import by_of

    if args.versus_where is not None and not args.versus:
        raise ConfigError("--versus-where: of the second sample, but there is no --versus")
    if args.number < 1:
        raise ConfigError(f"--number must be at least 1, got {args.number}")
    return ExplainSettings(
        method=args.method,
        jets=args.number,
        by=tuple(by_of(text) for text in args.by),
        order=args.order,
        baseline=args.baseline,
        tolerance=args.tolerance,
        signal=args.signal,
        background=args.background,
        efficiency=args.efficiency,
        seed=args.seed,
    )


def _samples(args: argparse.Namespace, scorer: Scorer, settings: ExplainSettings) -> list[JetSample]:
    from jettagger.explain.sampling import sample_of
    from jettagger.files import refuse_repeats

    refuse_repeats(args.files)
    cuts = [cut for cut in (settings.signal, settings.background) if cut is not None]
    wheres = [args.where, args.where if args.versus_where is None else args.versus_where]
    samples: list[JetSample] = []
    for files, where in zip([args.files, args.versus], wheres, strict=True):
        if files:
            name = Path(files[0].rpartition("::")[2]).stem
            name = f"{name} (2)" if samples and samples[0].name == name else name
            samples.append(
                sample_of(
                    files,
                    scorer.tagger,
                    where=where,
                    by=settings.by,
                    cuts=cuts,
                    columns=scorer.target.columns,
                    name=name,
                    seed=settings.seed,
                    tree=args.tree,
                )
            )
    return samples


def _check_order(scorer: Scorer, order: str) -> None:
    from jettagger.errors import UnknownName

    groups = [group for group in scorer.tagger.bundle.groups if group.image is None and not group.is_mask]
    names = [variable.feature.name for group in groups for variable in group.variables]
    if order not in names:
        raise UnknownName("variable", order, names, f"the inputs of {scorer.tagger.bundle.name!r}, of --order")


def _say_plan(
    console: Console, scorer: Scorer, samples: list[JetSample], settings: ExplainSettings, output: str
) -> None:
    bundle = scorer.tagger.bundle
    console.say(f"ok, {scorer.target.name} of {bundle.name} can be explained with {settings.method} into {output}")
    for sample in samples:
        rows = sum(chunk.stop - chunk.start for chunk in sample.chunks)
        text = f"at most {settings.jets} jets of {rows} {sample.job.kind.rows} in {len(sample.files)} files"
        console.say(f"{sample.name}: {text}, in random order of {len(sample.chunks)} chunks")
        console.say(f"reads {len(sample.job.inputs)} columns: {', '.join(sample.job.inputs)}")
    console.say(f"writes explanation.json, explanation.md and pictures into {output}")


def _key(scorer: Scorer, samples: list[JetSample], settings: ExplainSettings) -> dict[str, Any]:
    """What the numbers of a chunk depend on."""
    from dataclasses import asdict

    from jettagger.display import in_full
    from jettagger.runtime.codedigest import code_digest

    files = [
        [sample.name, sample.where, [[path, *_state(path)] for path in sample.files], len(sample.chunks)]
        for sample in samples
    ]
    return {
        "code": code_digest(),
        "tagger": scorer.tagger.state,
        "target": in_full(scorer.target),
        "settings": asdict(settings),
        "files": files,
    }


def _state(path: str) -> list[int]:
    """Size and time of change of a local file."""
    place = Path(path.partition("::")[0])
    try:
        status = place.stat()
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns]


def _provenance(args: argparse.Namespace, scorer: Scorer, samples: list[JetSample], settings: ExplainSettings) -> Any:
    from jettagger.provenance import provenance_of

    given = {name: getattr(settings, name) for name in ("method", "jets", "order", "baseline", "tolerance", "seed")}
    given |= {"target": scorer.target.name, "by": list(args.by), "versus": list(args.versus)}
    given |= {"signal": settings.signal, "background": settings.background, "efficiency": settings.efficiency}
    given |= {"versus_where": args.versus_where}
    files = [path for sample in samples for path in sample.files]
    return provenance_of(scorer.tagger, {}, args.where, files, step="explain", configuration=given)


def _show(console: Console, found: Explanation) -> None:
    from jettagger.explain.tables import number_text

    rows: list[tuple[str, object]] = [(text, number) for text, number in found.counts.items()]
    rows += [(text, f"{number:.3g}") for text, number in found.checks.items()]
    console.counts(f"{found.target} of {found.model}, {found.method}", rows)
    for text in found.remarks:
        console.say(f"note: {text}")
    if found.losses:
        ranked = sorted(found.losses.items(), key=lambda item: -item[1].value)[:_ROWS]
        console.table(
            "decrease of ln(rejection)", ("permuted", "decrease"), [(name, number_text(loss)) for name, loss in ranked]
        )
    for group in found.groups[:_ROWS]:
        for rows_of in list(group.rankings.values())[:1]:
            title = f"{group.sample}: {group.name}" if group.sample else group.name
            lines = [(row.name, number_text(row.importance), number_text(row.share)) for row in rows_of[:_ROWS]]
            console.table(f"{title}, {group.jets} jets", ("variable", "importance", "share"), lines)
