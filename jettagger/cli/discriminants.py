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
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from jettagger.discriminants import Discriminant, Model, discriminant, load, model, models, presets
from jettagger.display import aligned
from jettagger.errors import ConfigError, UnknownName

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``jettagger discriminants``."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="all presets, with the models that have their scores")
    showing = actions.add_parser("show", help="the formula, the parameters, and the scores of each model")
    grouping = actions.add_parser("groups", help="the groups of scores of a model")
    showing.add_argument("name", help="a preset, a name in --file, or an expression such as 'x / (x + y)'")
    grouping.add_argument("model", nargs="?", help="a model; without it, the models are listed")
    for part in (listing, showing):
        part.add_argument("--file", help="a YAML file with your own discriminants")
        part.add_argument("--model", help="only for this model")
    showing.add_argument("--form", choices=("ratio", "log_ratio"), default="ratio", help="default: ratio")
    showing.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="value of a parameter (repeatable)"
    )
    showing.add_argument("--yaml", action="store_true", help="print it as YAML, as a start for your own file")


def run(args: argparse.Namespace) -> int:
    """Print the requested information."""
    if args.action == "list":
        _print(_list(args.file, args.model))
    elif args.action == "show":
        item = _find(args.name, args.file, args.form, args.set)
        _print([item.to_yaml().rstrip()] if args.yaml else _show(item, args.model))
    else:
        _print(_groups(model(args.model)) if args.model else _models())
    return 0


def _print(lines: Iterable[str]) -> None:
    sys.stdout.write("\n".join(lines) + "\n")


def _own(file: str | None) -> dict[str, Discriminant]:
    return load(file) if file else {name: discriminant(name) for name in presets()}


def _has(item: Discriminant, name: str) -> bool:
    try:
        item.needs(name)
    except UnknownName:
        return False
    return True


def _list(file: str | None, only: str | None) -> list[str]:
    names = [model(only).name] if only else list(models())
    rows = [("discriminant", "parameters", "models that have its scores")]
    for name, item in _own(file).items():
        having = [known for known in names if _has(item, known)]
        if having or not only:
            parameters = ", ".join(f"{key}={value:g}" for key, value in item.parameters.items())
            rows.append((name, parameters or "-", ", ".join(having) or "none of the known models"))
    return aligned(rows)


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


def _models() -> list[str]:
    return aligned(
        [
            ("model", "classes", "what it is"),
            *((m.name, str(len(m.classes)), m.title) for m in models().values()),
        ]
    )


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
