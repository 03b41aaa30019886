"""The command line: one module per verb, imported only when the verb is used.

The module of a verb has ``configure(parser)``, which adds its arguments, and ``run(args, console)``, which does the
work, prints by the `Console` alone and returns the exit status. These modules parse arguments and print; they contain
no physics. All verbs have ``--quiet``, ``--json`` and ``--verbose``.
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from jettagger._version import __version__
from jettagger.cli.console import Console
from jettagger.cli.failures import TRACEBACK, error_line, error_object, show_traceback
from jettagger.cli.parser import Parser, add_common_options, exit_text
from jettagger.cli.stopping import Stop, stop_signals
from jettagger.errors import UnknownName

__all__ = ["COMMANDS", "TRACEBACK", "main", "parser_of"]

#: verb -> (module, one line for ``jettagger --help``)
COMMANDS: dict[str, tuple[str, str]] = {
    "simulate": ("jettagger.cli.simulate", "make jets with known truth, with Pythia and FastJet"),
    "models": ("jettagger.cli.models", "list, show, check, add and remove models"),
    "tag": ("jettagger.cli.tag", "score the jets of files and write a skim"),
    "convert": ("jettagger.cli.convert", "event files to flat files with one row per jet"),
    "show": ("jettagger.cli.show", "draw jets as point clouds, with their highest scores"),
    "show image": ("jettagger.cli.show_image", "draw the mean image of jets, and the difference of two samples"),
    "explain": ("jettagger.cli.explain", "what a network looks at: attribution, occlusion, permutation, attention"),
    "discriminants": ("jettagger.cli.discriminants", "list the preset discriminants, show what one is made of"),
    "datasets": ("jettagger.cli.datasets", "count and check files of events, and write them as a fileset"),
    "search": ("jettagger.cli.search", "histograms, cutflows, templates and plots of a resonance search"),
    "search merge": ("jettagger.cli.search_merge", "put the parts of a search together, which jobs by hand have run"),
    "finetune": ("jettagger.cli.finetune", "train a head on hidden neurons: new classes, a better mass"),
    "decorrelate": ("jettagger.cli.decorrelate", "scores that do not sculpt a mass: maps, heads, and what they cost"),
    "decorrelate apply": ("jettagger.cli.decorrelate_apply", "add the numbers of maps (DDT) to a skim"),
    "calibrate": ("jettagger.cli.calibrate", "scale factors of a tagger from histograms of probe jets in data"),
    "jec": ("jettagger.cli.jec", "train, apply and measure a calibration of the jet energy"),
    "assignment": ("jettagger.cli.assignment", "which jet belongs to which particle: datasets of whole events"),
    "fit": ("jettagger.cli.fit", "fits of the templates of a search: pulls, impacts, goodness of fit, significance"),
    "limit": ("jettagger.cli.limit", "upper limits against the resonance mass, from the templates of a search"),
    "provenance": ("jettagger.cli.provenance", "how an output was made: model, selection, files, version"),
    "schema": ("jettagger.cli.schema", "JSON schema of a file that jettagger reads, for editors"),
    "completion": ("jettagger.cli.completion", "a script that completes commands, options and models in a shell"),
}

EXIT_ERROR = 2

#: options of all commands, which may also be in front of the verb
_COMMON = ("-q", "--quiet", "--json", "-v", "-vv", "--verbose")


def _overview() -> str:
    width = max((len(verb) for verb in COMMANDS), default=0)
    lines = [f"  {verb:<{width}}  {summary}" for verb, (_, summary) in COMMANDS.items()]
    return "commands:\n" + "\n".join(lines)


_FIRST = """examples:
  jettagger models list                                              models that can be named
  jettagger tag nano.root --model tinyParT -o scores.parquet --dry-run
  jettagger tag nano.root --model tinyParT -o scores.parquet         scores of the fat jets; cuts are in GeV
  jettagger COMMAND --help                                           explains one command, with examples"""

_OPTIONS = """options of all commands:
  -h, --help     explain it
  -q, --quiet    print errors only
  --json         print one JSON document
  -v, --verbose  show the log on standard error; -vv: all of it"""


def _help() -> str:
    top = Parser(
        prog="jettagger",
        description="Apply pre-trained jet taggers to NanoAOD-like files, and use their scores.",
        epilog="\n\n".join((_overview(), _FIRST, _OPTIONS, exit_text())),
        usage="jettagger [-h] [-V] COMMAND ...",
        add_help=False,
    )
    return top.format_help()


def parser_of(verb: str) -> Parser:
    """The parser of a verb, with those of its sub-verbs.

    Parameters
    ----------
    verb : str
        One of `COMMANDS`.

    Returns
    -------
    Parser

    Examples
    --------
    >>> parser_of("schema").parse_args(["search", "--json"]).kind
    'search'
    """
    module = importlib.import_module(COMMANDS[verb][0])
    parser = Parser(prog=f"jettagger {verb}", description=module.__doc__)
    module.configure(parser)
    add_common_options(parser)
    parser.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments without the name of the program; default: those of the process, which should end with this call.

    Returns
    -------
    int
        0 for success, 1 if a check has failed, 2 for an error explained on standard error, 130 after an interrupt, 143
        after SIGTERM, 129 after SIGHUP.

    Examples
    --------
    >>> main(["--version"])
    jettagger ...
    0
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    console = Console(quiet=_asks(arguments, "-q", "--quiet"), as_json=_asks(arguments, "--json"))
    with warnings.catch_warnings(), stop_signals(last=argv is None) as stop:
        warnings.showwarning = lambda message, *_: console.warn(f"{message}")
        try:
            try:
                status = _main(arguments, console, whole=argv is None)
                console.finish(status)
            except BrokenPipeError:
                raise
            except KeyboardInterrupt as error:
                return _stopped(stop, error, console)
            except Exception as error:  # with a signal before it: what a library makes of an interrupt
                return _stopped(stop, error, console) if stop.number else _explained(error, console)
        except BrokenPipeError:  # the reader of a pipe, head or a pager, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
    return status


def _asks(arguments: Sequence[str], *names: str) -> bool:
    """Whether an option of all commands is among arguments that have not been parsed."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return any(name in options for name in names)


def _main(arguments: list[str], console: Console, *, whole: bool) -> int:
    first = []
    while arguments and arguments[0] in _COMMON:
        first.append(arguments.pop(0))
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())  # noqa: T201
        console.as_json = False
        return 0
    if arguments[0] in ("-V", "--version"):
        console.answer({"version": __version__}, f"jettagger {__version__}")
        return 0
    verb, rest = arguments[0], arguments[1:]
    if rest and f"{verb} {rest[0]}" in COMMANDS:  # a verb of two words
        verb, rest = f"{verb} {rest[0]}", rest[1:]
    if verb not in COMMANDS:
        kind = "option" if verb.startswith("-") else "command"
        raise UnknownName(kind, verb, ("--help", "--version", *_COMMON) if kind == "option" else COMMANDS)
    console.command = verb
    parser = parser_of(verb)
    try:
        args = parser.parse_args([*first, *rest])
    except SystemExit as stop:  # of --help
        console.as_json = False
        return int(stop.code or 0)
    console.command = " ".join(filter(None, (verb, getattr(args, "action", None) or getattr(args, "command", None))))
    console.quiet, console.as_json = getattr(args, "quiet", False), getattr(args, "json", False)
    with console.streams(whole=whole), _log(getattr(args, "verbose", 0), console):
        return int(args.run(args, console) or 0)


@contextmanager
def _log(level: int, console: Console) -> Iterator[None]:
    """Show the log on standard error: what happens, and from two on all details."""
    if not level:
        yield
        return
    import logging

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            console.tell(self.format(record))

    logger, handler = logging.getLogger("jettagger"), Handler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%H:%M:%S"))
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO if level == 1 else logging.DEBUG)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def _stopped(stop: Stop, error: BaseException, console: Console) -> int:
    text = f"{stop.word}, nothing half-written is left"
    print(f"jettagger: {text}", file=sys.stderr)  # noqa: T201
    stop.told = True
    console.finish(stop.status, error_object(error, text) | {"class": "KeyboardInterrupt"})
    return stop.status


def _explained(error: Exception, console: Console) -> int:
    """Report an error in one line."""
    show_traceback(error)
    print(f"jettagger: error: {error_line(error)}", file=sys.stderr)  # noqa: T201
    console.finish(EXIT_ERROR, error_object(error))
    return EXIT_ERROR
