"""Write the commonest errors and their messages into docs/errors.md: python docs/error_table.py

Each error is provoked in an empty folder, and the page has what it says.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["CASES", "Case", "filled", "provoked"]

_PAGE = Path(__file__).resolve().parent / "errors.md"
_PLACE = re.compile(r"(<!-- errors -->\n).*?(<!-- end of errors -->)", flags=re.DOTALL)

_SEARCH = """\
version: 1
luminosity: 138
samples: {QCD: {files: nano.root, cross_section: 1000}}
regions: {all: {kind: inclusive}}
histograms: {mass: {bins: [20, 0, 200], expression: jet1.msoftdrop, unit: GeV}}
"""


def _samples() -> None:
    from jettagger.testing import write_pfnano

    write_pfnano("nano.root", 20, seed=1)


def _text_file() -> None:
    Path("nano.root").write_text("<html>503 Service Unavailable</html>", encoding="utf-8")


def _fewer_columns() -> None:
    from jettagger.files.root import write_tree
    from jettagger.testing import make_columns

    gone = ("PFCands_trkChi2", "PFCands_trkQuality")
    columns = make_columns(20, seed=1)
    write_tree("nano.root", [{name: values for name, values in columns.items() if name not in gone}])


def _skim() -> None:
    _samples()
    Path("scores.parquet").write_text("an older skim", encoding="utf-8")


def _search(old: str, new: str) -> Callable[[], None]:
    def prepare() -> None:
        _samples()
        Path("search.yaml").write_text(_SEARCH.replace(old, new), encoding="utf-8")

    return prepare


@dataclass(frozen=True)
class Case:
    """An error.

    Parameters
    ----------
    title : str
    run : str
        A command, or Python.
    do : str
        What helps.
    prepare : callable
        Makes the files that ``run`` needs.
    named : bool
        Whether there are valid names near to a wrong one.
    absent : str
        A module that is not installed.
    """

    title: str
    run: str
    do: str
    prepare: Callable[[], None] = lambda: None
    named: bool = False
    absent: str = ""

    @property
    def is_command(self) -> bool:
        """Whether it is a command, not Python."""
        return self.run.startswith("jettagger ")


#: the ten, as a new user meets them: names, weights and files, then tables, configurations and outputs
CASES = [
    Case(
        "Unknown model",
        "jettagger tag nano.root --model tinyPart -o scores.parquet",
        "Take one of the nearest names, or add the folder of the model (`jettagger models add FOLDER`).",
        _samples,
        named=True,
    ),
    Case(
        "A model without its weights",
        "jettagger tag nano.root --model inclParTMDV1 -o scores.parquet",
        "Weights of experiments are not in the package: put the file where the message says.",
        _samples,
    ),
    Case(
        "A file that is no ROOT file",
        "jettagger tag nano.root --model tinyParT -o scores.parquet",
        "Download it again; here a server answered with a page of text. `--skip-broken` leaves such files out and "
        "names them.",
        _text_file,
    ),
    Case(
        "Missing columns",
        "jettagger tag nano.root --model tinyParT -o scores.parquet",
        "Use a production that has them, or a model that does not need them. Other names are declared in a file: "
        "[pfnano.md](pfnano.md#names-of-other-productions).",
        _fewer_columns,
    ),
    Case(
        "Unknown discriminant",
        'import jettagger as jt\n\njt.discriminant("HbbvsQDC")',
        "`jettagger discriminants list` shows the presets; others are defined with "
        "[expressions of scores](discriminants.md).",
        named=True,
    ),
    Case(
        "A table that was filtered before tagging",
        "import jettagger as jt\nfrom jettagger.testing import make_events\n\n"
        "events = make_events(20, seed=1)\n"
        'events["PFCands"] = events.PFCands[events.PFCands.pt > 1]\n'
        'jt.load_tagger("tinyParT").attach(events)',
        "Tag first and select afterwards, or select jets with `where=`.",
    ),
    Case(
        "A misspelt key",
        "jettagger search search.yaml -o out/ --dry-run",
        "`jettagger schema search` gives a schema with which editors complete keys.",
        _search("luminosity", "luminosty"),
        named=True,
    ),
    Case(
        "A wrong type or unit",
        "jettagger search search.yaml -o out/ --dry-run",
        "Numbers have no units: luminosities are in 1/fb, cross sections in pb, energies in GeV.",
        _search("138", "138 /fb"),
    ),
    Case(
        "An output that exists",
        "jettagger tag nano.root --model tinyParT -o scores.parquet",
        "Nothing is replaced without being asked to.",
        _skim,
    ),
    Case(
        "A missing extra",
        "jettagger simulate --process Hbb --events 10 -o jets.root",
        "Run the line that the message ends with.",
        absent="pythia8mc",
    ),
]


@contextlib.contextmanager
def _in_folder(absent: str) -> Iterator[Path]:
    """An empty folder, with the models of the package alone, without a module."""
    before, environment, modules = Path.cwd(), dict(os.environ), dict(sys.modules)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        os.chdir(folder)
        os.environ["XDG_DATA_HOME"] = str(folder / "home")
        os.environ.pop("JETTAGGER_MODELS", None)
        if absent:
            sys.modules[absent] = None  # type: ignore[assignment]
        try:
            yield folder
        finally:
            os.chdir(before)
            os.environ.clear()
            os.environ.update(environment)
            if absent:
                del sys.modules[absent]
                sys.modules.update({key: module for key, module in modules.items() if key == absent})


def _run(run: str) -> dict[str, Any]:
    """The error of a command or of Python code, with the parts of its message."""
    from jettagger.cli import main
    from jettagger.cli.failures import error_object
    from jettagger.errors import JettaggerError

    if not run.startswith("jettagger "):
        try:
            exec(compile(run, "errors.md", "exec"), {"__name__": "document"})
        except JettaggerError as error:
            return dict(error_object(error))
        raise AssertionError("there was no error")
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()):
        status = main([*run.split()[1:], "--json"])
    if status != 2:
        raise AssertionError(f"exit status {status}: there was no error")
    error: dict[str, Any] = json.loads(said.getvalue())["error"]
    return error


def provoked(case: Case) -> dict[str, Any]:
    """What an error says, with paths that are the same everywhere.

    Parameters
    ----------
    case : Case

    Returns
    -------
    dict
        class, message, what, where, got, expected, nearest.
    """
    from jettagger.bundles.places import PACKAGE

    with _in_folder(case.absent) as folder:
        case.prepare()
        error = _run(case.run)
    text = json.dumps(error)
    for path, shown in ((folder / "home", "~/.local/share"), (folder, "."), (PACKAGE, "PACKAGE")):
        text = text.replace(json.dumps(str(path))[1:-1], shown)
    content: dict[str, Any] = json.loads(text)
    return content


#: characters of a line of a message, and of one in the table
_WIDTH, _SHORT = 76, 160


def _code(value: Any) -> str:
    """A value as code in a table, shortened if it is long."""
    text = ", ".join(value) if isinstance(value, list) else str(value or "")
    text = " ".join(text.split()).replace("|", "\\|")
    text = f"{text[: _SHORT - 3]}..." if len(text) > _SHORT else text
    return f"`{text}`" if text else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def _wrapped(message: str) -> str:
    """A message in lines that fit the page."""
    lines = [textwrap.wrap(line, _WIDTH, subsequent_indent="  ") for line in message.splitlines()]
    return "\n".join(part for parts in lines for part in parts)


def _section(number: int, case: Case, error: dict[str, Any]) -> str:
    language = "sh" if case.is_command else "python"
    parts = [[key, _code(error[key])] for key in ("where", "got", "expected", "nearest") if error[key]]
    return (
        f"## {number}. {case.title}\n\n```{language}\n{case.run}\n```\n\n"
        f"```text\n{_wrapped(error['class'] + ': ' + error['message'])}\n```\n\n"
        f"{_table(['', ''], parts)}\n\n{case.do}\n"
    )


def _made() -> str:
    errors = [provoked(case) for case in CASES]
    pairs = list(enumerate(zip(CASES, errors, strict=True), 1))
    rows = [[f"{number}", case.title, _code(error["message"])] for number, (case, error) in pairs]
    return "\n".join([f"{_table(['', 'error', 'message'], rows)}\n", *(_section(n, *pair) for n, pair in pairs)])


def filled(text: str) -> str:
    """The page with what the errors say now.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
    """
    return _PLACE.sub(lambda match: f"{match[1]}{_made()}\n{match[2]}", text)


def main() -> None:
    _PAGE.write_text(filled(_PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
