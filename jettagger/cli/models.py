"""List, show, check, add, remove, accept and serve models.

A model is a folder with model.onnx, an input description preprocess.json and optionally bundle.json; its
folder's name is its name. Models are looked for in the folders on $JETTAGGER_MODELS, in your own folder
(where 'add' puts them) and in the package.

examples:
  jettagger models list
  jettagger models show inclParTMDV1
  jettagger models check path/to/folder
  jettagger models add path/to/folder --name myParT
  jettagger models remove myParT --dry-run
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jettagger.cli.console import Console
from jettagger.cli.options import counted, seed

if TYPE_CHECKING:
    from jettagger.bundles.bundle import Bundle
    from jettagger.images import ImageSettings
    from jettagger.inference.checking import Check

__all__ = ["configure", "run"]

_LIST = """All models that can be named, with what they give and whether their weights are there.

The first folder found on the search path counts: those on $JETTAGGER_MODELS, yours, the package's own.

examples:
  jettagger models list
  JETTAGGER_MODELS=/eos/models:/data/models jettagger models list
"""

_SHOW = """What a model takes and gives, and where it comes from.

Inputs with their variables and lengths, outputs by kind, the training domain, what the regressed mass is,
source, licence, citation and checksums. Works without weights.

examples:
  jettagger models show inclParTMDV1
  jettagger models show path/to/folder --json | jq '.result.outputs.prob'
"""

_CHECK = """Load a model and see whether it behaves; exit status 1 if it does not.

Random jets go through the network: alone and in batches of 2 and 7; with 1 constituent, with the minimum and
the maximum number of the model, and with more; with more padding and in another order, which must not matter
where there is a mask; without vertices. Probabilities must sum to 1 over each softmax. Variables must differ
from object to object. Golden vectors are compared where there are any; for public networks jettagger has its
own.
Facts are what a change in the last place of inputs, and of steps that cancel, does to the outputs: scores
are defined to that on any machine.
Tolerances: 1e-5 on probabilities, 1e-4 * max(1, |x|) on masses, logits and hidden neurons.

examples:
  jettagger models check tinyParT
  jettagger models check path/to/folder --json > checks.json
  jettagger models check path/to/folder --write-golden path/to/folder/golden.npz
"""

_ADD = """Copy a model into your own folder, so that it can be named. The copy is complete or absent.

Random jets show whether padding changes its scores; if so, a line says it, and the lengths of the description
are used. The SHA-256 of its files are written beside them into checksums.json: a copy that changes later is
refused.

examples:
  jettagger models add path/to/folder
  jettagger models add path/to/folder --name myParT --force
"""

_REMOVE = """Remove a model that 'add' copied into your own folder.

Models of the package and those on $JETTAGGER_MODELS are not removed. It asks on a terminal; --yes is the answer
elsewhere. The model is complete or absent, whenever the command is stopped.

examples:
  jettagger models remove myParT --dry-run
  jettagger models remove myParT --yes
"""

_ACCEPT = """Take a model's files as they are, though they have changed since it was added or first used.

A network or an input description without a declared SHA-256 is remembered when it is first used; if it changes
later, each command says so, until the file is restored or accepted. What bundle.json declares is
changed there.

examples:
  jettagger models accept path/to/folder
"""


_SERVE = """Write a model into the repository of a Triton server: NAME/config.pbtxt and NAME/1/model.onnx.

The server is started on the folder; taggers use it by --remote grpc://host:8001/NAME. A folder is written
completely, or not at all.

examples:
  jettagger models serve-config tinyParT -o REPO/
  tritonserver --model-repository REPO/
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands and their arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, function: Callable[[argparse.Namespace, Console], int], text: str) -> argparse.ArgumentParser:
        added = actions.add_parser(
            name,
            help=text.partition("\n")[0],
            description=text,
        )
        added.set_defaults(function=function)
        return added

    action("list", _list, _LIST)
    show = action("show", _show, _SHOW)
    show.add_argument("model", metavar="M", help="name of a model (jettagger models list) or its folder")
    check = action("check", _check, _CHECK)
    check.add_argument("model", metavar="M", help="name of a model (jettagger models list) or its folder")
    check.add_argument("--seed", type=seed, default=0, metavar="N", help="of the random jets (default: %(default)s)")
    check.add_argument(
        "--write-golden",
        metavar="FILE.npz",
        help='write new golden vectors if all else passes; name the file as "golden" in bundle.json',
    )
    add = action("add", _add, _ADD)
    add.add_argument("folder", metavar="FOLDER", help="folder with model.onnx and preprocess.json")
    add.add_argument("--name", metavar="N", help="name to add it under (default: the model's own)")
    add.add_argument("--force", action="store_true", help="replace a model of that name")
    removes = action("remove", _remove, _REMOVE)
    removes.add_argument("name", metavar="M", help="name of a model in your own folder")
    removes.add_argument("--yes", "-y", action="store_true", help="do not ask")
    removes.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    accepts = action("accept", _accept, _ACCEPT)
    accepts.add_argument("model", metavar="M", help="name of a model (jettagger models list) or its folder")
    serves = action("serve-config", _serve, _SERVE)
    serves.add_argument("model", metavar="M", help="name of a model (jettagger models list) or its folder")
    serves.add_argument("-o", "--output", required=True, metavar="REPO", help="folder that the server is started on")
    serves.add_argument("--name", metavar="N", help="name on the server (default: the model's own)")
    serves.add_argument(
        "--largest-batch",
        type=counted,
        default=1024,
        metavar="N",
        help="largest number of jets in one run (default: %(default)s)",
    )
    serves.add_argument("--force", action="store_true", help="replace a model of that name there")


def run(args: argparse.Namespace, console: Console) -> int:
    """Run the subcommand."""
    function: Callable[[argparse.Namespace, Console], int] = args.function
    return function(args, console)


def _list(_: argparse.Namespace, console: Console) -> int:
    from jettagger.bundles.known import known_cards
    from jettagger.bundles.places import search_path
    from jettagger.bundles.registry import available, load_bundle
    from jettagger.errors import JettaggerError

    rows, broken = [], []
    names = set()
    for name, folder in available().items():
        try:
            bundle = load_bundle(folder)
        except JettaggerError as error:
            rows.append((name, "", "", "", "", "broken", "", str(folder), "see below"))
            broken.append(f"{name}: {error}")
            continue
        weights = "yes" if bundle.has_weights else "missing"
        names |= {name, bundle.name}
        card, rebuilt = bundle.card, f"{len(bundle.approximate)} inputs" if bundle.approximate else "no"
        kinds = _kinds(bundle)
        rows.append((name, card.jets, bundle.prefix, card.version, kinds, weights, rebuilt, str(folder), card.title))
    for card in known_cards():
        if card.name not in names:  # described by what comes with the weights
            rows.append((card.name, card.jets, card.prefix or "", card.version, "", "missing", "", "", card.title))
    console.table(
        "models", ("name", "jets", "prefix", "version", "outputs", "weights", "approximate", "folder", "title"), rows
    )
    console.say(f"\nsearched: {', '.join(str(place) for place in search_path())}")
    for line in broken:
        console.say(f"broken {line}")
    return 0


def _kinds(bundle: Bundle) -> str:
    """For example ``37 prob, 1 mass, 128 hidden``."""
    counts = {kind: len(names) for kind, names in _outputs(bundle).items()}
    return ", ".join(f"{count} {kind}" for kind, count in counts.items())


def _outputs(bundle: Bundle) -> dict[str, list[str]]:
    from jettagger.bundles.card import KINDS

    by_kind = {kind: [output.name for output in bundle.outputs if output.kind == kind] for kind in KINDS}
    return {kind: names for kind, names in by_kind.items() if names}


def _show(args: argparse.Namespace, console: Console) -> int:
    from jettagger.bundles.interface import LAYOUT
    from jettagger.bundles.registry import load_bundle
    from jettagger.formats.pfnano import PFNANO, PFNANO_AK4

    bundle = load_bundle(args.model)
    if console.as_json:
        console.answer(_described(bundle), "")
        return 0
    card = bundle.card
    rows = [
        ("version", card.version),
        ("folder", str(bundle.folder)),
        ("description from", _DESCRIBED.get(bundle.described_by, bundle.described_by)),
        ("weights", _weights(bundle)),
        ("inputs", bundle.notes.get("input description", "")),
        ("jets", "AK4" if card.jets == "AK4" else "fat jets"),
        ("columns", f"{(PFNANO_AK4 if card.jets == 'AK4' else PFNANO).jets}_{bundle.prefix}_<output>"),
        ("mass", _mass(bundle)),
        ("training domain", _domain(bundle)),
        ("scored jets", bundle.domain or "all"),
        ("rounding", _rounding(bundle)),
        ("approximate", "; ".join(f"{name}: {how}" for name, how in bundle.approximate.items()) or "nothing"),
        ("not finite inputs", f"as {card.nonfinite}"),
        ("padding", "pad values" if card.pad_mode == "constant" else "constituents repeated"),
        ("source", card.source),
        ("licence", card.licence),
        ("citation", card.citation),
        *((f"SHA-256 {name}", value) for name, value in _checksums(bundle).items()),
        ("digest", bundle.digest),
        ("notes", card.notes),
    ]
    if not bundle.has_weights:
        rows.append(("to get weights", card.get_weights))
    title = f"{bundle.name}: {card.title}" if card.title else bundle.name
    console.table(title, ("", ""), [(name, value or "not stated") for name, value in rows])
    for group in bundle.groups:
        length = (
            f"{group.min_length}"
            if group.min_length == group.max_length
            else f"{group.min_length} to {group.max_length}"
        )
        lines = [
            (
                variable.feature.name,
                variable.feature.unit,
                f"{variable.median:g}",
                f"{variable.norm_factor:g}",
                f"{variable.lower_bound:g}",
                f"{variable.upper_bound:g}",
                f"{variable.pad:g}",
                variable.feature.doc,
            )
            for variable in group.variables
        ]
        console.say("")
        header = ("variable", "unit", "median", "factor", "from", "to", "pad", "meaning")
        mask = ", mask" if group.is_mask else ""
        entering = f", {group.selection}" if group.selection else ""
        entering += f", by {', '.join(group.orders)}" if group.orders else ""
        entering += f", {group.most} at most" if group.most else ""
        axes = f", axes {' '.join(group.layout)}" if group.layout != LAYOUT else ""
        kind = f", a {group.kind}" if group.kind in ("sequence", "set") else ""
        title = f"input {group.name}: {len(lines)} of {group.axis}, length {length}{mask}{kind}{entering}{axes}"
        if group.image is not None:
            console.table(
                f"input {group.name}: an image of {group.object}{entering}{axes}", ("", ""), _image(group.image)
            )
            continue
        console.table(title, header, lines)
    for kind, names in _outputs(bundle).items():
        console.say(f"\n{len(names)} outputs of kind {kind}:")
        console.say(_wrapped(_short(names)))
    if card.aliases:
        console.say("")
        console.table("aliases", ("alias", "output"), sorted(card.aliases.items()))
    return 0


_DESCRIBED = {
    "jettagger": "jettagger, which knows its checksum",
    "inferred": "the graph itself, there is no bundle.json",
}


def _image(settings: ImageSettings) -> list[tuple[str, str]]:
    """The settings of an image."""
    eta, phi = settings.half_widths
    channels, rows, columns = settings.shape
    steps = settings.steps
    return [
        ("shape", f"{channels} channels, {rows} rows (phi), {columns} columns (eta)"),
        ("range", f"{eta:g} in eta and {phi:g} in phi on both sides of the centre"),
        ("zoom", "none" if settings.zoom is None else f"distances times pt / {settings.zoom:g} GeV"),
        *(
            (f"channel {item.name}", f"{item.quantity}{f' of {item.selection}' if item.selection else ''}")
            for item in settings.channels
        ),
        ("pixels of", settings.granularity),
        ("centre, rotate, flip", f"{steps.centre}, {steps.rotate}, {steps.flip}"),
        ("normalise", settings.normalise),
    ]


def _short(names: Sequence[str]) -> list[str]:
    """A long run of numbered names as its ends."""
    if len(names) > 8 and all(name[-3:].isdigit() for name in names):
        return [names[0], "...", names[-1]]
    return list(names)


def _wrapped(names: Sequence[str]) -> str:
    import textwrap

    return textwrap.fill(" ".join(names), 100, initial_indent="  ", subsequent_indent="  ", break_long_words=False)


def _weights(bundle: Bundle) -> str:
    graph = bundle.graph
    if graph is None:
        return "missing"
    axis = "any number of jets at once" if bundle.fixed_batch is None else f"always {bundle.fixed_batch} jets at once"
    size = f"{graph.path.stat().st_size / 1e6:.1f} MB"
    return f"{graph.path.name}, {size}, opset {graph.opset}, {graph.nodes} nodes, {axis}"


def _mass(bundle: Bundle) -> str:
    mass = bundle.card.mass
    if mass is None:
        return "not stated" if any(output.kind == "mass" for output in bundle.outputs) else "no such output"
    meaning = "GeV" if mass.unit == "GeV" else f"factor on {mass.scales or 'a mass that is not stated'}"
    return f"{meaning}; {mass.target}" if mass.target else meaning


def _rounding(bundle: Bundle) -> str:
    found = bundle.card.rounding
    if found is None:
        return "not measured; jettagger models check does it"
    return (
        f"one unit in the last place moves a probability by {found.median:.2g} (median of {found.jets} jets), "
        f"{found.q99:.2g} (99 %), {found.largest:.2g} (largest)"
    )


def _domain(bundle: Bundle) -> str:
    domain = bundle.card.domain
    parts = (("pt", " GeV", domain.pt), ("|eta|", "", domain.abseta), ("msoftdrop", " GeV", domain.msoftdrop))
    return "; ".join(f"{name} {bounds[0]:g} to {bounds[1]:g}{unit}" for name, unit, bounds in parts if bounds)


def _checksums(bundle: Bundle) -> dict[str, str]:
    from jettagger.sessions.graph import file_sha256

    return {name: file_sha256(path) for name, path in sorted(bundle.files.items())}


def _described(bundle: Bundle) -> dict[str, Any]:
    """All of it, for programs."""
    card = bundle.card.model_dump(mode="json", exclude={"schema_version", "kinds", "output_names", "sha256"})
    inputs = [
        {
            "name": group.name,
            "object": group.axis,
            "mask": group.is_mask,
            "min_length": group.min_length,
            "max_length": group.max_length,
            "most": group.limit,
            "axes": list(group.layout),
            "selection": group.selection,
            "sort": list(group.sort),
            "order": [asdict(item) for item in group.order],
            "kind": group.kind,
            "image": None if group.image is None else group.image.model_dump(mode="json"),
            "variables": [
                {
                    "name": variable.feature.name,
                    "unit": variable.feature.unit,
                    "meaning": variable.feature.doc,
                    "source": variable.feature.source,
                    "median": variable.median,
                    "norm_factor": variable.norm_factor,
                    "replace_inf_value": variable.replace_inf_value,
                    "lower_bound": variable.lower_bound,
                    "upper_bound": variable.upper_bound,
                    "pad": variable.pad,
                }
                for variable in group.variables
            ],
        }
        for group in bundle.groups
    ]
    return card | {
        "prefix": bundle.prefix,
        "folder": str(bundle.folder),
        "described_by": bundle.described_by,
        "scored_jets": bundle.domain,
        "approximate": bundle.approximate,
        "weights": bundle.has_weights,
        "fixed_batch": bundle.fixed_batch,
        "sha256": _checksums(bundle),
        "digest": bundle.digest,
        "inputs": inputs,
        "outputs": _outputs(bundle),
    }


def _check(args: argparse.Namespace, console: Console) -> int:
    from jettagger.bundles.registry import load_bundle
    from jettagger.inference.checking import check, write_golden

    bundle = load_bundle(args.model)
    results = check(bundle, seed=args.seed)
    if args.write_golden:  # new vectors are made because the old ones are absent, or no longer meant
        results = tuple(result for result in results if not result.name.startswith("golden vectors"))
    failed = [result for result in results if result.passed is False]
    console.answer(
        {
            "model": bundle.name,
            "digest": bundle.digest,
            "passed": not failed,
            "checks": [
                {
                    "name": result.name,
                    "passed": result.passed,
                    "measured": result.measured,
                    "tolerance": result.tolerance,
                    "detail": result.detail,
                }
                for result in results
            ],
        },
        _verdict(bundle.name, results),
    )
    rows = [
        (result.verdict, result.name, _figure(result.measured), _figure(result.tolerance), result.detail)
        for result in results
    ]
    console.table(f"\n{bundle.name} in {bundle.folder}", ("result", "check", "measured", "at most", "detail"), rows)
    if failed:
        return 1
    if args.write_golden:
        written = write_golden(bundle, Path(args.write_golden), args.seed)
        console.wrote(written, f"wrote {written}")
    return 0


def _verdict(name: str, results: Sequence[Check]) -> str:
    """All of it in one line; what failed is named."""
    expected = [result for result in results if result.passed is not None]
    failed = [result.name for result in expected if not result.passed]
    facts = len(results) - len(expected)
    what = f"FAILED, do not use it: {', '.join(dict.fromkeys(failed))}" if failed else "ok"
    passed = f"passes {len(expected) - len(failed)} of {len(expected)} checks"
    return f"{name} {passed}: {what}" + (f" (and {facts} facts)" if facts else "")


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.2g}"


def _add(args: argparse.Namespace, console: Console) -> int:
    from jettagger.bundles.registry import add, load_bundle
    from jettagger.inference.padding import measured_slots

    target = add(args.folder, args.name, force=args.force)
    console.wrote(target, f"added {target.name}: {target}")
    for axis, slots in measured_slots(load_bundle(target)).items():
        if slots.change:
            lengths = "their own length only" if slots.exact else f"{slots.longest} slots, as described"
            console.say(f"padding changes its scores: jets run with {lengths} ({axis})")
    return 0


def _remove(args: argparse.Namespace, console: Console) -> int:
    from jettagger.bundles.places import user_folder
    from jettagger.bundles.registry import available
    from jettagger.bundles.removing import added_model, remove

    model = added_model(args.name)
    what = f"{model.folder}: {len(model.files)} files, {model.size / 1e6:.1f} MB"
    answer = {"name": args.name, "folder": model.folder, "files": model.files, "bytes": model.size}
    if args.dry_run:
        lines = [f"would remove {what}", *(f"  {name}" for name in model.files)]
        console.answer({**answer, "removed": False}, "\n".join(lines))
        return 0
    if not args.yes and not console.agrees(f"remove {what}?", "--yes"):
        console.say("nothing was removed")
        return 1
    remove(args.name)
    console.answer({**answer, "removed": True}, f"removed {what}")
    if args.name in (left := available()) and left[args.name].parent != user_folder():
        console.say(f"{args.name} is now the model in {left[args.name]}")
    return 0


def _serve(args: argparse.Namespace, console: Console) -> int:
    from jettagger.bundles.registry import load_bundle
    from jettagger.bundles.serving import write_serving

    target = write_serving(
        load_bundle(args.model), args.output, name=args.name, largest_batch=args.largest_batch, force=args.force
    )
    console.wrote(target, f"wrote {target}: use it as grpc://HOST:8001/{target.name} or http://HOST:8000/{target.name}")
    return 0


def _accept(args: argparse.Namespace, console: Console) -> int:
    from jettagger.bundles.registry import accept

    bundle = accept(args.model)
    console.say(f"accepted {bundle.name} in {bundle.folder}")
    for name, sha256 in sorted(bundle.checksums().items()):
        console.say(f"  {name}: {sha256}")
    return 0
