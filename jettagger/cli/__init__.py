"""The command line: one module per verb, imported only when the verb is used.

The module of a verb has ``configure(parser)``, which adds its arguments, and ``run(args)``, which does the work and
returns the exit status. These modules parse arguments and print; they contain no physics.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback
import warnings
from collections.abc import Sequence

from jettagger._version import __version__
from jettagger.cli.stopping import Stop, stop_signals
from jettagger.errors import JettaggerError, UnknownName, visible

__all__ = ["COMMANDS", "main"]

#: verb -> (module, one line for ``jettagger --help``)
COMMANDS: dict[str, tuple[str, str]] = {
    "simulate": ("jettagger.cli.simulate", "make jets with known truth, with Pythia and FastJet"),
    "models": ("jettagger.cli.models", "list, show, check and add models"),
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
}

#: environment variable that enables the traceback of unexpected errors
TRACEBACK = "JETTAGGER_TRACEBACK"

EXIT_ERROR = 2


def _overview() -> str:
    width = max((len(verb) for verb in COMMANDS), default=0)
    lines = [f"  {verb:<{width}}  {summary}" for verb, (_, summary) in COMMANDS.items()]
    return "commands:\n" + "\n".join(lines) + "\n\n'jettagger COMMAND --help' explains one, with examples."


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments without the name of the program; default: those of the process, which should end with this call.

    Returns
    -------
    int
        0 for success, 2 for an error explained on standard error, 130 after an interrupt, 143 after SIGTERM, 129 after
        SIGHUP.

    Examples
    --------
    >>> main(["--version"])
    jettagger ...
    0
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    with warnings.catch_warnings(), stop_signals(last=argv is None) as stop:
        warnings.showwarning = _show_warning  # type: ignore[assignment]
        try:
            return _main(arguments)
        except KeyboardInterrupt:
            return _stopped(stop)
        except Exception as error:  # with a signal before it: what a library makes of an interrupt
            return _stopped(stop) if stop.number else _explained(error)


def _stopped(stop: Stop) -> int:
    print(f"jettagger: {stop.word}, nothing half-written is left", file=sys.stderr)  # noqa: T201
    return stop.status


def _show_warning(message: Warning | str, *_: object) -> None:
    """A warning as one line, without its place in the code."""
    print(f"jettagger: warning: {visible(str(message))}", file=sys.stderr)  # noqa: T201


def _main(arguments: list[str]) -> int:
    top = argparse.ArgumentParser(
        prog="jettagger",
        description="Apply pre-trained jet taggers to NanoAOD-like files.",
        epilog=_overview(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="jettagger [--version] COMMAND ...",
        add_help=False,
    )
    if not arguments or arguments[0] in ("-h", "--help"):
        print(top.format_help())  # noqa: T201
        return 0
    if arguments[0] == "--version":
        print(f"jettagger {__version__}")  # noqa: T201
        return 0
    verb, rest = arguments[0], arguments[1:]
    if rest and f"{verb} {rest[0]}" in COMMANDS:  # a verb of two words
        verb, rest = f"{verb} {rest[0]}", rest[1:]
    if verb not in COMMANDS:
        raise UnknownName("command", verb, COMMANDS)
    module = importlib.import_module(COMMANDS[verb][0])
    parser = argparse.ArgumentParser(
        prog=f"jettagger {verb}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.configure(parser)
    try:
        return int(module.run(parser.parse_args(rest)) or 0)
    except SystemExit as stop:  # argparse's own way out
        return int(stop.code or 0)


def _explained(error: Exception) -> int:
    """Report an error in one line."""
    if isinstance(error, JettaggerError):
        print(f"jettagger: error: {error}", file=sys.stderr)  # noqa: T201
        return EXIT_ERROR
    if isinstance(error, BrokenPipeError):  # the reader of a pipe, head or a pager, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if isinstance(error, OSError):  # a name that is too long, a full disk
        place = f"{error.filename}: " if error.filename is not None else ""
        return _failed(f"{place}{error.strerror or error}")
    if isinstance(error, MemoryError):
        return _failed(f"out of memory: {error}")
    return _failed(
        f"unexpected {type(error).__name__}: {error}. Either a file is not understood, or this is a bug in "
        f"jettagger; {TRACEBACK}=1 shows where"
    )


def _failed(text: str) -> int:
    """Report an unexpected error, with its place in the code on request."""
    if os.environ.get(TRACEBACK):
        traceback.print_exc()
    print(f"jettagger: error: {visible(' '.join(text.split()))}", file=sys.stderr)  # noqa: T201
    return EXIT_ERROR
