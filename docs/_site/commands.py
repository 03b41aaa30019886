"""Pages of the command line: every verb with its help, from the parsers."""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

from _site.links import written
from jettagger.cli import COMMANDS, parser_of


def _plain(text: str) -> str:
    """Text in which nothing is markup."""
    return re.sub(r"([\\*`|_])", r"\\\1", text)


def _description(text: str) -> Iterator[str]:
    """Paragraphs of a help text; what is indented is code."""
    for paragraph in re.split(r"\n\s*\n", textwrap.dedent(text).strip("\n")):
        lines = paragraph.splitlines()
        head = [line for line in lines if not line.startswith(" ")]
        if not head:
            yield f".. code-block:: text\n\n{textwrap.indent(textwrap.dedent(paragraph), '   ')}\n"
        elif len(head) == 1 and head[0].endswith(":") and len(lines) > 1:
            code = textwrap.indent(textwrap.dedent("\n".join(lines[1:])), "   ")
            yield f"{_plain(head[0])[0].upper()}{_plain(head[0])[1:]}\n\n.. code-block:: sh\n\n{code}\n"
        elif len(head) < len(lines):  # a list with hanging lines
            yield f".. code-block:: text\n\n{textwrap.indent(paragraph, '   ')}\n"
        else:
            yield f"{_plain(paragraph)}\n"


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Arguments and options with their help, by group."""
    formatter = parser._get_formatter()
    for group in parser._action_groups:
        actions = [
            action
            for action in group._group_actions
            if action.help is not argparse.SUPPRESS
            and not isinstance(action, (argparse._SubParsersAction, argparse._HelpAction))
        ]
        if not actions or "of all commands" in (group.title or ""):
            continue  # those of all commands are on one page
        yield f".. rubric:: {(group.title or '').capitalize()}\n"
        if group.description:
            yield f"{_plain(group.description)}\n"
        for action in actions:
            value = formatter._format_args(action, formatter._get_default_metavar_for_optional(action))
            if action.option_strings:
                heads = [f"{name} {value}".strip() for name in action.option_strings]
            else:
                heads = [formatter._format_args(action, formatter._get_default_metavar_for_positional(action))]
            text = formatter._expand_help(action) if action.help else ""
            yield f".. option:: {', '.join(heads)}\n\n   {_plain(text)}\n"


def _section(parser: argparse.ArgumentParser, mark: str) -> Iterator[str]:
    """A parser and those that it is divided into."""
    yield f".. _{parser.prog.replace(' ', '-')}:\n\n{parser.prog}\n{mark * len(parser.prog)}\n"
    yield from _description(parser.description or "")
    usage = textwrap.indent(parser.format_usage().removeprefix("usage: ").rstrip(), "   ")
    yield f".. code-block:: text\n\n{usage}\n"
    yield f".. program:: {parser.prog}\n"
    yield from _options(parser)
    if parser.epilog and not parser.epilog.lower().startswith("exit status"):
        yield from _description(parser.epilog)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in dict.fromkeys(action.choices.values()):
                yield from _section(child, {"=": "-", "-": "~"}[mark])


def write_commands(folder: Path) -> None:
    """Write a page for each verb, and an index.

    Parameters
    ----------
    folder : Path
    """
    pages: dict[str, list[str]] = {}
    for verb in COMMANDS:
        first, _, second = verb.partition(" ")
        pages.setdefault(first, []).append("\n".join(_section(parser_of(verb), "-" if second else "=")))
    for name, parts in pages.items():
        written(folder / f"{name}.rst", "\n".join(parts))
    for path in folder.glob("*.rst"):
        if path.stem not in (*pages, "index"):
            path.unlink()
    title = "Commands"
    text = f"{title}\n{'=' * len(title)}\n\nThe help of each verb. :doc:`/command_line` has what all verbs share.\n\n"
    text += ".. list-table::\n   :widths: 30 70\n\n"
    for verb, (_, summary) in COMMANDS.items():
        text += f"   * - :ref:`{verb} <jettagger-{verb.replace(' ', '-')}>`\n     - {_plain(summary)}\n"
    text += "\n.. toctree::\n   :hidden:\n\n" + "".join(f"   {name}\n" for name in pages)
    written(folder / "index.rst", text)
