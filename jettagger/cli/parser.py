"""The parser of the command line: errors with the nearest names, help as wide as the terminal, options of all verbs."""

from __future__ import annotations

import argparse
import importlib
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

from jettagger.errors import LONGEST_NAME, ConfigError, UnknownName, parts_of, visible

__all__ = ["EXIT_STATUS", "Parser", "add_common_options", "add_subcommands", "exit_text", "leaves", "subparsers"]

#: exit status -> its meaning
EXIT_STATUS = {
    0: "done",
    1: "a check or a training has failed, or the answer to a question was no",
    2: "an error, explained on standard error",
    129: "hung up (SIGHUP); nothing half-written is left",
    130: "interrupted (Ctrl-C, SIGINT); nothing half-written is left",
    143: "terminated (SIGTERM); nothing half-written is left",
}

#: maximum width of the help in characters
_WIDEST = 110

_NUMBER = re.compile(r"-\d+|-\d*\.\d+")


def exit_text() -> str:
    """The meaning of exit statuses, as lines of a help text.

    Examples
    --------
    >>> print(exit_text().splitlines()[1])
        0  done
    """
    return "exit status:\n" + "\n".join(f"  {status:>3}  {meaning}" for status, meaning in EXIT_STATUS.items())


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Prose is wrapped to the terminal; examples, which are indented, keep their lines."""

    def __init__(self, prog: str, **options: Any) -> None:
        options.setdefault("width", max(min(shutil.get_terminal_size().columns, _WIDEST) - 2, 40))
        super().__init__(prog, **options)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        filled = []
        for block in re.split(r"\n\s*\n", text.strip("\n")):
            lines = block.splitlines()
            if any(line.startswith(" ") for line in lines):
                first = [] if lines[0].startswith(" ") else lines[:1]
                rest = lines[len(first) :]
                wrapped = textwrap.wrap(first[0], width, break_on_hyphens=False) if first else []
                filled.append("\n".join(indent + line for line in [*wrapped, *rest]))
            else:
                wrapped = textwrap.wrap(" ".join(lines), width - len(indent), break_on_hyphens=False)
                filled.append("\n".join(indent + line for line in wrapped))
        return "\n\n".join(filled)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are exceptions of jettagger, with the nearest valid names.

    Examples
    --------
    >>> parser = Parser(prog="jettagger tag")
    >>> _ = parser.add_argument("--model")
    >>> parser.parse_args(["--modle", "tinyParT"])
    Traceback (most recent call last):
        ...
    jettagger.errors.UnknownName: unknown option in jettagger tag: '--modle' (nearest: --model)...
    """

    def __init__(self, **options: Any) -> None:
        options.setdefault("formatter_class", _Formatter)
        super().__init__(**options)
        self._given: list[str] = []

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse arguments; none may be left over.

        Raises
        ------
        UnknownName
            If there is no such option, command or value.
        ConfigError
            If an argument is missing, invalid or one too many.
        """
        self._given = list(sys.argv[1:] if args is None else args)
        parsed, left = super().parse_known_args(self._given, namespace)
        if left:
            self._refuse_unknown()
            shown = " ".join(visible(text, LONGEST_NAME) for text in left)
            text = f"{self.prog}: got {shown!r}, expected nothing more; see {self.prog} --help"
            raise ConfigError(text, where=self.prog, got=repr(shown), expected="nothing more")
        return parsed, left

    def error(self, message: str) -> NoReturn:
        """Raise what argparse found.

        Raises
        ------
        UnknownName
            If the reason is an option that does not exist.
        ConfigError
            In other cases.
        """
        self._refuse_unknown()
        missing = re.fullmatch(r"the following arguments are required: (.*)", message)
        if missing is not None:
            text = f"{self.prog}: {missing[1]} missing: see {self.prog} --help, which has examples"
            raise ConfigError(text, where=self.prog, got=f"{missing[1]} missing", expected=missing[1])
        text = f"{self.prog}: {message.removeprefix('argument ')}"
        raise ConfigError(text, **{**parts_of(text), "where": self.prog})

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            if isinstance(action, argparse._SubParsersAction):
                kind = "command"
            else:
                kind = f"value of {'/'.join(action.option_strings) or action.metavar or action.dest}"
            raise UnknownName(kind, str(value), map(str, action.choices), self.prog)

    def _refuse_unknown(self) -> None:
        unknown = list(dict.fromkeys(self._unknown_options()))
        if unknown:
            raise UnknownName("option", unknown, self._option_string_actions, self.prog)

    def _unknown_options(self) -> Iterator[str]:
        existing = self._option_string_actions
        for text in self._given:
            if text == "--":
                return
            name = text.partition("=")[0]
            if text in ("", "-") or text[0] != "-" or " " in text or _NUMBER.fullmatch(text):
                continue
            short = not text.startswith("--") and text[:2] in existing
            if not short and not any(option.startswith(name) for option in existing):
                yield name


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that all commands have, to a parser and to those of its sub-verbs.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    """
    add = parser.add_argument_group("output, of all commands").add_argument
    absent = argparse.SUPPRESS  # what is given before a sub-verb is not replaced by the default after it
    add("-q", "--quiet", action="store_true", default=absent, help="print errors only")
    add("--json", action="store_true", default=absent, help="print one JSON document (docs/command_line.md)")
    add("-v", "--verbose", action="count", default=absent, help="show the log on standard error; twice: all of it")
    parser.epilog = "\n\n".join(filter(None, (parser.epilog, exit_text())))
    for one in subparsers(parser).values():
        add_common_options(one)


def subparsers(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    """The sub-verbs of a parser, by name.

    Parameters
    ----------
    parser : argparse.ArgumentParser

    Returns
    -------
    mapping of str to argparse.ArgumentParser
    """
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found: Mapping[str, argparse.ArgumentParser] = action.choices
            return found
    return {}


def leaves(parser: argparse.ArgumentParser, words: Sequence[str] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The parsers that have no sub-verbs, each with the words that lead to it.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    words : sequence of str
        Those that lead to ``parser``.

    Yields
    ------
    tuple of str, argparse.ArgumentParser
    """
    inner = subparsers(parser)
    if not inner:
        yield tuple(words), parser
    for name, one in inner.items():
        yield from leaves(one, (*words, name))


def add_subcommands(parser: argparse.ArgumentParser, commands: Mapping[str, tuple[str, str]]) -> None:
    """Add sub-verbs with modules of their own; ``function`` of the arguments is the function to run.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    commands : mapping
        Name -> (module with ``configure`` and ``run`` as for a verb, one line of help).
    """
    inner = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (path, summary) in commands.items():
        module = importlib.import_module(path)
        made = inner.add_parser(name, help=summary, description=module.__doc__)
        module.configure(made)
        made.set_defaults(function=module.run)
