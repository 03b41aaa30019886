"""Completion scripts of shells, made from the parsers of all verbs."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from jettagger.cli.parser import subparsers

__all__ = ["SCRIPTS", "Command", "Option", "bash_script", "commands", "fish_script", "zsh_script"]

#: metavars of options and arguments whose values are names of models
_MODELS = ("M",)

#: ends of metavars of files and folders
_FILES = (
    *("FILE", "FILES", "FOLDER", "DIR", "OUT", "REPO", "PART", "MODEL", "HEAD", "LOG", "LOCATION", "PLACE", "INPUT"),
    *("SKIM", "BUNDLE", "WEIGHTS", "FITS"),
)

#: values that a help text names, of which one is the default: "root or parquet (default: root)"
_NAMED = re.compile(r"(?P<values>(?:[\w-]+, )*[\w-]+ or [\w-]+)\b.*\(default: (?P<default>[\w-]+)\)")


@dataclass(frozen=True)
class Option:
    """An option or an argument of a command.

    Parameters
    ----------
    names : tuple of str
        Empty for an argument that is known by its position.
    text : str
        One line of help.
    kind : {"flag", "choices", "models", "files", "other"}
        What its value is; a flag has none.
    choices : tuple of str
        The possible values, of the kind ``"choices"``.
    """

    names: tuple[str, ...]
    text: str
    kind: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Command:
    """What may follow some words of a command line.

    Parameters
    ----------
    words : str
        The words after ``jettagger``; ``""`` for none.
    inner : mapping of str to str
        Words that may follow, and one line about each.
    options : tuple of Option
    arguments : tuple of Option
        The arguments without a name, in order; the last one repeats.
    """

    words: str
    inner: Mapping[str, str]
    options: tuple[Option, ...]
    arguments: tuple[Option, ...]


def commands() -> list[Command]:
    """All commands, those with sub-verbs before these.

    Examples
    --------
    >>> [command.words for command in commands()][:3]
    ['', 'simulate', 'models']
    """
    from jettagger.cli import COMMANDS, parser_of

    verbs = {verb: summary for verb, (_, summary) in COMMANDS.items()}
    first = {verb: summary for verb, summary in verbs.items() if " " not in verb}
    everywhere = (
        Option(("-h", "--help"), "explain it", "flag"),
        Option(("-V", "--version"), "print the version", "flag"),
        Option(("-q", "--quiet"), "print errors only", "flag"),
        Option(("--json",), "print one JSON document", "flag"),
        Option(("-v", "--verbose"), "show the log on standard error", "flag"),
    )
    found = [Command("", first, everywhere, ())]
    for verb in verbs:
        second = {other.partition(" ")[2]: text for other, text in verbs.items() if other.startswith(f"{verb} ")}
        found += _of_parser(verb, parser_of(verb), second)
    return found


def _of_parser(words: str, parser: argparse.ArgumentParser, more: Mapping[str, str]) -> Iterator[Command]:
    options, arguments = [], []
    inner = dict(more)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            inner |= {choice.dest: _line(choice.help) for choice in action._choices_actions}
        elif action.option_strings:
            options.append(_option(action))
        else:
            arguments.append(_option(action))
    yield Command(words, inner, tuple(options), tuple(arguments))
    for name, one in subparsers(parser).items():
        yield from _of_parser(f"{words} {name}", one, {})


def _line(text: str | None) -> str:
    return " ".join((text or "").replace("%%", "%").split())


def _option(action: argparse.Action) -> Option:
    text = _line(action.help).replace("%(default)s", f"{action.default}")
    names = tuple(action.option_strings)
    if action.nargs == 0:
        return Option(names, text, "flag")
    if action.choices is not None:
        return Option(names, text, "choices", tuple(map(str, action.choices)))
    named = _NAMED.search(text)
    values = re.split(", | or ", named["values"]) if named else []
    if named and named["default"] in values:
        return Option(names, text, "choices", tuple(values))
    metavar = action.metavar[0] if isinstance(action.metavar, tuple) else action.metavar or action.dest
    if metavar in _MODELS:
        return Option(names, text, "models")
    last = metavar.strip("[]/").rpartition("=")[2].strip("[]/")
    is_file = (
        "." in metavar.strip(".")
        or last in _FILES
        or action.dest == "output"
        or (not names and action.dest in ("folder", "file", "files"))
    )
    return Option(names, text, "files" if is_file else "other")


# ---------------------------------------------------------------------------------------------------------------- bash

_BASH = """# completion of jettagger for bash

_jettagger_inner() {
  case "$1" in
%(inner)s
  esac
}

_jettagger_options() {
  case "$1" in
%(options)s
  esac
}

_jettagger_value() {
  case "$1" in
%(values)s
  esac
}

_jettagger_argument() {
  case "$1" in
%(arguments)s
  esac
}

_jettagger() {
  local current="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD - 1]}"
  if [[ "$current" == "=" ]]; then
    current=""
  elif [[ "$before" == "=" ]]; then
    before="${COMP_WORDS[COMP_CWORD - 2]}"
  fi
  local command="" word i given=0
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="${COMP_WORDS[i]}"
    if [[ "$word" == -* ]]; then
      # the word behind it is its value
      [[ -n "$(_jettagger_value "$command $word")" && "${COMP_WORDS[i + 1]}" != "=" ]] && ((i++))
      [[ "${COMP_WORDS[i + 1]}" == "=" ]] && ((i += 2))
      continue
    fi
    case " $(_jettagger_inner "$command") " in
      *" $word "*) ((given == 0)) && command="${command:+$command }$word" && continue ;;
    esac
    ((given++))
  done
  local kind="" words=""
  [[ "$before" == -* ]] && kind="$(_jettagger_value "$command $before")"
  if [[ -z "$kind" ]]; then
    if [[ "$current" == -* ]]; then
      words="$(_jettagger_options "$command")"
    else
      ((given == 0)) && words="$(_jettagger_inner "$command")"
      kind="$(_jettagger_argument "$command $given")"
    fi
  fi
  case "$kind" in
    @models) words="$words $(jettagger completion models 2>/dev/null)" ;;&
    @models|@files) compopt -o default -o bashdefault 2>/dev/null ;;
    @other) ;;
    *) words="$words $kind" ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  # bash offers files itself where nothing else is offered: 'search merge' beside 'search FILE'
  if [[ "$kind" == "@files" && ${#COMPREPLY[@]} -gt 0 ]]; then
    local file
    compopt -o filenames 2>/dev/null
    while IFS= read -r file; do COMPREPLY+=("$file"); done < <(compgen -f -- "$current")
  fi
}

complete -F _jettagger jettagger
"""


def bash_script(items: list[Command]) -> str:
    """The script for bash.

    Parameters
    ----------
    items : list of Command

    Returns
    -------
    str
    """
    values = [
        (f"{item.words} {name}", _bash_kind(option))
        for item in items
        for option in item.options
        if option.kind != "flag"
        for name in option.names
    ]
    return _BASH % {
        "inner": _cases((item.words, " ".join(item.inner)) for item in items),
        "options": _cases((item.words, " ".join(name for one in item.options for name in one.names)) for item in items),
        "values": _cases(values),
        "arguments": "\n".join(
            f"    {shlex.quote(f'{item.words} ')}{'[0-9]*' if place == len(item.arguments) - 1 else place}) "
            f"echo {shlex.quote(_bash_kind(option))} ;;"
            for item in items
            for place, option in enumerate(item.arguments)
        ),
    }


def _bash_kind(option: Option) -> str:
    return " ".join(option.choices) if option.kind == "choices" else f"@{option.kind}"


def _cases(pairs: Any) -> str:
    """Branches of a case statement; words with the same text are together."""
    by_text: dict[str, list[str]] = {}
    for words, text in pairs:
        if text:
            by_text.setdefault(text, []).append(words)
    lines = []
    for text, words in by_text.items():
        lines.append(f"    {'|'.join(shlex.quote(one) for one in words)}) echo {shlex.quote(text)} ;;")
    return "\n".join(lines)


# ----------------------------------------------------------------------------------------------------------------- zsh

_ZSH = """#compdef jettagger
# completion of jettagger for zsh

_jettagger-models() {
  local -a models
  models=(${(f)"$(jettagger completion models 2>/dev/null)"})
  compadd "$@" -a models
  _files
}

%(functions)s
_jettagger() {
  local command="" word
  integer i rest=2
  for (( i = 2; i < CURRENT; i++ )); do
    word=$words[i]
    [[ $word == -* ]] && continue
    case "$command $word" in
%(paths)s
      *) break ;;
    esac
    command="${command:+$command }$word"
    (( rest = i + 1 ))
  done
  words=(jettagger "${(@)words[rest,-1]}")
  (( CURRENT -= rest - 2 ))
  "_jettagger_${command//[^a-z]/_}"
}

if [[ $funcstack[1] == _jettagger ]]; then
  _jettagger "$@"
else
  compdef _jettagger jettagger
fi
"""


def zsh_script(items: list[Command]) -> str:
    """The script for zsh.

    Parameters
    ----------
    items : list of Command

    Returns
    -------
    str
    """
    paths = [f"{item.words} {name}" for item in items for name in item.inner]
    return _ZSH % {
        "functions": "\n".join(map(_zsh_function, items)),
        "paths": f"      {'|'.join(shlex.quote(path) for path in paths)}) ;;",
    }


def _zsh_function(item: Command) -> str:
    name = "".join(letter if letter.isalpha() else "_" for letter in item.words)
    lines = [f"_jettagger_{name}() {{"]
    if item.inner:
        pairs = " ".join(shlex.quote(f"{word}:{text}") for word, text in item.inner.items())
        lines += [f"  local -a inner=({pairs})"]
        # also as a first argument: 'search merge' beside 'search FILE'
        lines += ["  (( CURRENT == 2 )) && [[ $words[2] != -* ]] && _describe command inner"]
    specifications = [
        ("{%s}" if len(option.names) > 1 else "%s") % ",".join(_zsh_names(option)) + _zsh_text(option)
        for option in item.options
    ]
    for place, one in enumerate(item.arguments, 1):
        which = "*" if place == len(item.arguments) else f"{place}"
        specifications.append(shlex.quote(f"{which}:{_zsh_plain(one.text)}:{_zsh_action(one)}"))
    if specifications:
        lines.append("  _arguments \\\n" + " \\\n".join(f"    {text}" for text in specifications))
    return "\n".join([*lines, "}", ""])


def _zsh_plain(text: str) -> str:
    for letter in "\\:[]":
        text = text.replace(letter, f"\\{letter}")
    return text


def _zsh_names(option: Option) -> list[str]:
    """A value may be in the same word: --model=tinyParT."""
    return [f"{name}=" if name.startswith("--") and option.kind != "flag" else name for name in option.names]


def _zsh_text(option: Option) -> str:
    text = f"[{_zsh_plain(option.text)}]"
    if option.kind != "flag":
        text += f":value:{_zsh_action(option)}"
    return shlex.quote(text)


def _zsh_action(option: Option) -> str:
    if option.kind == "choices":
        return f"({' '.join(option.choices)})"
    return {"models": "_jettagger-models", "files": "_files", "other": " "}[option.kind]


# ---------------------------------------------------------------------------------------------------------------- fish

_FISH = """# completion of jettagger for fish

function __jettagger_command
    set -l command ""
    set -l words (commandline -opc)
    for word in $words[2..-1]
        string match -q -- '-*' $word; and continue
        switch "$command $word"
            case %(paths)s
                set command (string trim -- "$command $word")
            case '*'
                break
        end
    end
    echo $command
end

function __jettagger_at
    test (__jettagger_command) = "$argv"
end

complete -c jettagger -f
%(lines)s
"""


def fish_script(items: list[Command]) -> str:
    """The script for fish.

    Parameters
    ----------
    items : list of Command

    Returns
    -------
    str
    """
    lines = []
    for item in items:
        start = f"complete -c jettagger -n {_fish(f'__jettagger_at {item.words}'.strip())}"
        lines += [f"{start} -a {_fish(word)} -d {_fish(text)}" for word, text in item.inner.items()]
        for option in item.options:
            names = " ".join(map(_fish_name, option.names))
            lines.append(f"{start} {names}{_fish_value(option)} -d {_fish(option.text)}")
        for argument in item.arguments[:1]:
            if argument.kind == "choices":
                files = " -F" if len(item.arguments) > 1 else ""
                lines.append(f"{start}{files} -a {_fish(' '.join(argument.choices))}")
            elif argument.kind == "models":
                lines.append(f"{start} -F -a '(jettagger completion models)'")
            else:
                lines.append(f"{start} -F")
    paths = " ".join(_fish(f"{item.words} {name}") for item in items for name in item.inner)
    return _FISH % {"paths": paths, "lines": "\n".join(lines)}


def _fish(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _fish_name(name: str) -> str:
    if name.startswith("--"):
        return f"-l {name[2:]}"
    return f"-s {name[1:]}" if len(name) == 2 else f"-o {name[1:]}"


def _fish_value(option: Option) -> str:
    if option.kind == "flag":
        return ""
    if option.kind == "choices":
        return f" -x -a {_fish(' '.join(option.choices))}"
    return {"models": " -r -F -a '(jettagger completion models)'", "files": " -r -F", "other": " -x"}[option.kind]


SCRIPTS: dict[str, Callable[[list[Command]], str]] = {"bash": bash_script, "zsh": zsh_script, "fish": fish_script}
