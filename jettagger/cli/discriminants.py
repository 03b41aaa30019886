"""The preset discriminants: which there are, and what each is made of.

examples:
  jettagger discriminants list
  jettagger discriminants show HbbvsQCD
  jettagger discriminants show HWWlvqqvsQCDTop --model inclParTMDV1 --set alpha=0.3
  jettagger discriminants show HbbvsQCD --yaml > mine.yaml
  jettagger discriminants list --file mine.yaml
  jettagger discriminants groups part-ak8-2023
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence
from typing import Any

from jettagger.cli.console import Console
from jettagger.discriminants import Discriminant, Model, discriminant, load, model, models, presets
from jettagger.display import aligned
from jettagger.errors import ConfigError, UnknownName

__all__ = ["configure", "run"]


_LIST = """All presets, with the models that have their scores.

examples:
  jettagger discriminants list
  jettagger discriminants list --model inclParTMDV1
  jettagger discriminants list --file mine.yaml
"""

_SHOW = """The formula of a discriminant, its parameters, and the scores of each model that it takes.

examples:
  jettagger discriminants show HbbvsQCD
  jettagger discriminants show HWWlvqqvsQCDTop --model inclParTMDV1 --set alpha=0.3
  jettagger discriminants show "probHbb / (probHbb + sum(probQCD*))" --yaml > mine.yaml
"""

_GROUPS = """The groups of scores of a model, which discriminants can name (QCD, Top).

examples:
  jettagger discriminants groups
  jettagger discriminants groups part-ak8-2023
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``jettagger discriminants``."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(name: str, text: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=text.partition("\n")[0], description=text)

    listing, showing, grouping = action("list", _LIST), action("show", _SHOW), action("groups", _GROUPS)
    showing.add_argument(
        "name", metavar="NAME", help="a preset, a name in --file, or an expression such as 'x / (x + y)'"
    )
    grouping.add_argument("model", nargs="?", metavar="M", help="a model; without it, the models are listed")
    for part in (listing, showing):
        part.add_argument("--file", metavar="FILE.yaml", help="a YAML file with your own discriminants")
        part.add_argument("--model", metavar="M", help="only for this model")
    showing.add_argument(
        "--form", choices=("ratio", "log_ratio"), default="ratio", help="of the discriminant (default: %(default)s)"
    )
    showing.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="value of a parameter (repeatable)"
    )
    showing.add_argument("--yaml", action="store_true", help="print it as YAML, as a start for your own file")


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the requested information."""
    if args.action == "list":
        _answer(console, _list(args.file, args.model))
    elif args.action == "show":
        item = _find(args.name, args.file, args.form, args.set)
        if console.as_json:
            console.answer(_described(item, args.model), "")
        else:
            console.say("\n".join([item.to_yaml().rstrip()] if args.yaml else _show(item, args.model)))
    elif args.model is None:
        _answer(console, [("model", "classes", "what it is"), *_models()])
    elif console.as_json:
        of = model(args.model)
        console.answer({"model": of.name, "groups": of.groups, "unions": of.unions, "stored": of.ready}, "")
    else:
        console.say("\n".join(_groups(model(args.model))))
    return 0


def _answer(console: Console, rows: list[tuple[str, ...]]) -> None:
    """A table, of which the first row has the titles."""
    titles, *cells = rows
    console.answer([dict(zip(titles, row, strict=True)) for row in cells], "\n".join(aligned(rows)))


def _described(item: Discriminant, only: str | None) -> dict[str, Any]:
    """What `_show` tells, for programs."""
    names = [model(only).name] if only else list(models())
    return {
        "name": item.name,
        "text": item.text,
        "formula": f"{item}",
        "parameters": dict(item.parameters),
        "zero": item.zero,
        "scores": {name: item.needs(name) for name in names if only or _has(item, name)},
        "yaml": item.to_yaml(),
    }


def _own(file: str | None) -> dict[str, Discriminant]:
    return load(file) if file else {name: discriminant(name) for name in presets()}


def _has(item: Discriminant, name: str) -> bool:
    try:
        item.needs(name)
    except UnknownName:
        return False
    return True


def _list(file: str | None, only: str | None) -> list[tuple[str, ...]]:
    names = [model(only).name] if only else list(models())
    rows: list[tuple[str, ...]] = [("discriminant", "parameters", "models that have its scores")]
    for name, item in _own(file).items():
        having = [known for known in names if _has(item, known)]
        if having or not only:
            parameters = ", ".join(f"{key}={value:g}" for key, value in item.parameters.items())
            rows.append((name, parameters or "-", ", ".join(having) or "none of the known models"))
    return rows


def _find(name: str, file: str | None, form: str, settings: Sequence[str]) -> Discriminant:
    values: dict[str, Any] = {}
    for setting in settings:
        key, _, value = setting.partition("=")
        try:
            values[key] = float(value)
        except ValueError:
            raise ConfigError(f"--set: expected NAME=VALUE with a number, got {setting!r}") from None
    if file:
        own = load(file)
        if name not in own:
            raise UnknownName("discriminant", name, own, file)
        item = own[name].with_parameters(**values)
        return item.log_ratio() if form == "log_ratio" else item
    return discriminant(name, form=form, **values)


def _show(item: Discriminant, only: str | None) -> list[str]:
    lines = [item.name or "(no name)"]
    if item.text:
        lines += textwrap.wrap(item.text, 100, initial_indent="  ", subsequent_indent="  ")
    lines += ["", f"  {item}", f"  value where a denominator is zero: {item.zero:g}"]
    for name in [model(only).name] if only else models():
        try:
            needs = item.needs(name)
        except UnknownName as error:
            if only:
                raise
            lines += ["", f"  {name}: lacks {', '.join(error.names)}"]
            continue
        lines += ["", f"  {name}: {len(needs)} score{'s' if len(needs) > 1 else ''}"]
        lines += textwrap.wrap(" ".join(needs), 100, initial_indent="    ", subsequent_indent="    ")
    return lines


def _models() -> list[tuple[str, ...]]:
    return [(item.name, f"{len(item.classes)}", item.title) for item in models().values()]


def _groups(item: Model) -> list[str]:
    lines = [f"{item.name}: {item.title}", f"  names from: {item.source}", ""]
    width = max((len(name) for name in item.groups), default=0)
    for name, members in item.groups.items():
        union = item.unions.get(name)
        text = " + ".join(union) if union else " ".join(members)
        start = f"  {name:<{width}}  {len(members):>3}  "
        lines += textwrap.wrap(text, 110, initial_indent=start, subsequent_indent=" " * len(start))
    for name, stored in item.ready.items():
        lines += textwrap.wrap(f"{name} is stored: {stored}", 110, initial_indent="  ", subsequent_indent="    ")
    return lines
