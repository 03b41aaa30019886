"""One exception class per cause.

Every message says what went wrong, where, what was found and what was expected::

    JettaggerError
    ├── BundleError             a model folder is not usable
    │   ├── BundleNotFound      no bundle of that name, no such folder
    │   ├── MissingModelFile    a bundle lacks a file (its weights, its input description)
    │   └── ModelFileError      an ONNX file is corrupt, empty, or reaches outside its folder
    │       └── Unsupported     an operator of an ONNX file has no implementation in torch
    ├── WrongType               an argument is not of the type that a function takes
    ├── UnknownName             a name is not among those that exist; carries the nearest ones
    ├── InputFileError          an input file is missing, truncated, or not what it should be
    ├── MissingColumns          the file lacks columns that the model needs
    ├── MismatchError           arrays or definitions that must agree do not
    ├── InvalidValues           numbers that cannot be used, such as weights that are NaN
    ├── ProviderError           the requested execution provider is not the active one
    ├── RemoteError             a server of models cannot be reached, refuses, or has another model
    ├── WorkerError             a worker process died, or has not the memory for its chunk
    ├── OutputError             an output cannot be written, or exists already
    ├── ConfigError             a configuration or an expression is invalid
    └── MissingExtra            an optional dependency is not installed
"""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any

__all__ = [
    "LONGEST",
    "LONGEST_NAME",
    "BundleError",
    "BundleNotFound",
    "ConfigError",
    "InputFileError",
    "InvalidValues",
    "JettaggerError",
    "MismatchError",
    "MissingColumns",
    "MissingExtra",
    "MissingModelFile",
    "ModelFileError",
    "OutputError",
    "ProviderError",
    "RemoteError",
    "UnknownName",
    "Unsupported",
    "WorkerError",
    "WrongType",
    "nearest",
    "output_exists",
    "parts_of",
    "pip_line",
    "reason_of",
    "renamed",
    "require",
    "visible",
]


#: maximum length of a message in characters; longer ones, which quote foreign text, are shortened in the middle
LONGEST = 4000

#: maximum length in characters of a name that is compared with others
LONGEST_NAME = 300

#: maximum number of names that exist, for all of them to be shown
_SHOWN = 12

#: not printable: control characters except newlines, directional formatting, lone surrogates
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


def visible(text: str, longest: int = LONGEST) -> str:
    """A printable text: without control sequences of terminals, and shortened if it is long.

    Parameters
    ----------
    text : str
        May contain names chosen by users.
    longest : int
        Maximum number of characters, at least 40; longer texts are shortened in the middle.

    Returns
    -------
    str

    Examples
    --------
    >>> print(visible(chr(27) + "[2Jjet"), visible("a" * 50 + "b" * 50, 50))
    \\x1b[2Jjet aaaaaaa ... (86 characters) ... bbbbbbb
    """
    text = _UNSEEN.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
    if len(text) > longest:
        kept = max(longest // 2 - 18, 1)
        text = f"{text[:kept]} ... ({len(text) - 2 * kept} characters) ... {text[-kept:]}"
    return text


#: place in front of a message: a line of a file, a command, an option, an argument, a file
_PLACE = re.compile(
    r"(?P<where>.+?, line \d+|jettagger(?: [\w-]+)+|--[\w-]+|[\w.]+\(\), argument \w+"
    r"|\S+\.(?:root|parquet|h5|json|yaml|yml|onnx|npz|txt)\S*?): "
)
#: a file of which the message says something
_SUBJECT = re.compile(
    r"(?:cannot read )?(?P<where>[^\s:]+\.(?:root|parquet|h5|json|yaml|yml|onnx|npz|txt))"
    r"(?=:| (?:is|has|lacks|holds|exists|cannot|does)\b)"
)
_GOT = re.compile(r"\b(?:got|unknown [a-z ]+) (?P<got>.+?)(?=, expected |; |, which | \(|$)", re.MULTILINE)
_EXPECTED = re.compile(r"\b(?:expected|must be) (?P<expected>.+?)(?=, got |; |$)", re.MULTILINE)
_ALLOWED = re.compile(r"\bAllowed: (?P<allowed>.+)$", re.MULTILINE)
_NEAREST = re.compile(r"\(nearest: (?P<nearest>[^)]+)\)")


def parts_of(message: str) -> dict[str, Any]:
    """What a message tells of the parts of an error, as far as it has the usual words.

    Parameters
    ----------
    message : str

    Returns
    -------
    dict
        where, got and expected, str or None; nearest, a list of str.

    Examples
    --------
    >>> parts_of("search.yaml, line 2: 'luminosity' must be a number, got 'x'")
    {'where': 'search.yaml, line 2', 'got': "'x'", 'expected': 'a number', 'nearest': []}
    """
    place = _PLACE.match(message) or _SUBJECT.match(message)
    patterns = (_GOT, _EXPECTED, _ALLOWED, _NEAREST)
    got, expected, allowed, close = (pattern.search(message) for pattern in patterns)
    valid = f"one of {allowed['allowed']}" if allowed else None
    return {
        "where": place["where"] if place else None,
        "got": got["got"] if got else None,
        "expected": expected["expected"] if expected else valid,
        "nearest": close["nearest"].split(", ") if close else [],
    }


class JettaggerError(Exception):
    """Base of all errors raised on purpose by jettagger; their texts are `visible`.

    Parameters
    ----------
    *args : object
        The message, which says all of the following.
    where : str, optional
        File and line, argument, place.
    got, expected : str, optional
        What is there, and what should be.
    nearest : sequence of str
        The most similar valid names.

    Notes
    -----
    An error that is raised without any of these parts has those that its message tells (`parts_of`).
    """

    def __init__(
        self,
        *args: object,
        where: str | None = None,
        got: str | None = None,
        expected: str | None = None,
        nearest: Sequence[str] = (),
    ) -> None:
        super().__init__(*(visible(item) if isinstance(item, str) else item for item in args))
        texts = {"where": where, "got": got, "expected": expected}
        self._parts: dict[str, Any] = {key: visible(text) for key, text in texts.items() if text}
        if nearest:
            self._parts["nearest"] = list(nearest)

    @property
    def parts(self) -> dict[str, Any]:
        """where, got and expected, None if they are not known; nearest, a list."""
        if not self._parts:
            return parts_of(str(self))
        return {"where": None, "got": None, "expected": None, "nearest": [], **self._parts}

    @property
    def where(self) -> str | None:
        """File and line, argument, place."""
        return self.parts["where"]

    @property
    def got(self) -> str | None:
        """What is there."""
        return self.parts["got"]

    @property
    def expected(self) -> str | None:
        """What should be there."""
        return self.parts["expected"]

    @property
    def nearest(self) -> list[str]:
        """The most similar valid names."""
        return self.parts["nearest"]

    def placed(self, place: str) -> JettaggerError:
        """The same error with a place in front of its message.

        Parameters
        ----------
        place : str
            Such as file and line.

        Returns
        -------
        JettaggerError
            Of the same class; a `ConfigError` instead of `UnknownName`, whose message has a form of its own.

        Examples
        --------
        >>> error = UnknownName("sample", "ttt", ["tt"]).placed("search.yaml, line 3")
        >>> print(error)
        search.yaml, line 3: unknown sample: 'ttt' (nearest: tt). Known: tt
        >>> error.where, error.got, error.expected, error.nearest
        ('search.yaml, line 3', 'ttt', 'one of tt', ['tt'])
        """
        kind = ConfigError if isinstance(self, UnknownName) else type(self)
        told = self.parts
        inner = f", {told['where']}" if told["where"] and told["where"] not in place else ""
        return kind(f"{place}: {self}", **{**told, "where": f"{place}{inner}"})


class BundleError(JettaggerError):
    """Raised when a model folder is not usable: its descriptions are invalid or contradict each other."""


class BundleNotFound(BundleError):
    """Raised when a name is neither a known bundle nor a folder."""


class MissingModelFile(BundleError):
    """Raised when a bundle lacks a file, for example the weights of a model that may not be redistributed."""


class ModelFileError(BundleError):
    """Raised when an ONNX file is corrupt or empty, or when its external data lies outside its folder."""


class Unsupported(ModelFileError):
    """Raised when an operator of an ONNX file, or a form of it, has no implementation in torch."""


class WrongType(JettaggerError, TypeError):
    """Raised when an argument does not have the type required by a function."""


class InputFileError(JettaggerError):
    """Raised when an input file is missing, truncated, not a ROOT file, or without an ``Events`` tree."""


class MissingColumns(JettaggerError):
    """Raised before anything is read when the input lacks columns that the model needs."""


class MismatchError(JettaggerError):
    """Raised when arrays that must be aligned are not: a ``where`` of another shape, a filtered collection."""


class InvalidValues(JettaggerError):
    """Raised when numbers cannot be used: weights that are NaN, too few jets for a working point."""


class ProviderError(JettaggerError):
    """Raised when the requested execution provider did not become active."""


class RemoteError(JettaggerError):
    """Raised when an inference server cannot be reached, refuses a request, or has another model under the name."""


class WorkerError(JettaggerError):
    """Raised when a worker process died at a chunk, most likely for lack of memory, or lacks the memory for it."""


class OutputError(JettaggerError):
    """Raised when an output cannot be written completely, or exists already."""


class ConfigError(JettaggerError):
    """Raised when a configuration file, an option or an expression is invalid."""


class MissingExtra(JettaggerError, ImportError):
    """Raised when an optional dependency is not installed; the message gives the install line."""


class UnknownName(JettaggerError, KeyError):
    """Raised when a name is not among those that exist.

    Parameters
    ----------
    kind : str
        The kind of name, e.g. ``"output"``.
    name : str or list of str
        The unknown name or names.
    known : iterable of str
        The names that exist.
    where : str
        Where the name was looked up, e.g. ``"bundle 'tinyParT'"``.
    listing : str
        A command that shows the names that exist, for the message if they are many.

    Attributes
    ----------
    names, known, nearest : list of str
        The unknown names; those that exist, if there are few; the most similar ones.
    """

    def __init__(
        self, kind: str, name: str | Sequence[str], known: Iterable[str], where: str = "", listing: str = ""
    ) -> None:
        names = [name] if isinstance(name, str) else list(name)
        known = list(known)
        place = f" in {where}" if where else ""
        parts = [f"{visible(item, LONGEST_NAME)!r}{renamed(item, known) or hint(item, known)}" for item in names]
        text = f"unknown {kind}{'s' if len(names) > 1 else ''}{place}: " + "; ".join(parts)
        if len(known) <= _SHOWN:
            text += f". Known: {', '.join(known) or 'none'}"
        elif listing:
            text += f". Expected one of the {len(known)} that {listing} shows"
        expected = f"one of the {len(known)} that {listing} shows" if listing else None
        expected = f"one of {', '.join(known)}" if known and len(known) <= _SHOWN else expected
        close = list(dict.fromkeys(near for item in names for near in nearest(item, known)))
        super().__init__(text, where=where or None, got=", ".join(names), expected=expected, nearest=close)
        self.kind, self.names = kind, names
        self.known = known if len(known) <= _SHOWN else []

    def __str__(self) -> str:
        return str(self.args[0])

    def __reduce__(self) -> tuple[Any, ...]:
        return (_restore_unknown, (str(self), self.__dict__))


def _restore_unknown(text: str, attributes: dict[str, Any]) -> UnknownName:
    error = UnknownName.__new__(UnknownName)
    KeyError.__init__(error, text)
    error.__dict__.update(attributes)
    return error


def output_exists(path: object, more: str = "") -> OutputError:
    """The error for an output that would be replaced.

    Parameters
    ----------
    path : str or path
    more : str
        What else exists.

    Returns
    -------
    OutputError

    Examples
    --------
    >>> print(output_exists("skim.parquet"))
    skim.parquet exists already; use --force (force=True) to replace it
    """
    asked = "--force (force=True)"
    return OutputError(
        f"{path}{more} exists already; use {asked} to replace it",
        where=str(path),
        got="exists already",
        expected=f"{asked} to replace it",
    )


def reason_of(error: BaseException) -> str:
    """The message of an exception of a library, in one line.

    Parameters
    ----------
    error : BaseException

    Returns
    -------
    str

    Examples
    --------
    >>> reason_of(OSError("magic bytes are missing\\nfile: x")), reason_of(ValueError())
    ('magic bytes are missing', 'ValueError')
    """
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """The known names most similar to ``name``, best first.

    Parameters
    ----------
    name : str
        The unknown name.
    known : iterable of str
        The existing names.
    count : int
        Maximum number of names.

    Returns
    -------
    list of str

    Examples
    --------
    >>> nearest("probHbB", ["probHbb", "probHcc", "mass"])[0]
    'probHbb'
    >>> nearest("FatJet_pt", ["eta", "mass", "pt"])
    ['pt']
    """
    known = list(known)
    if len(name) > LONGEST_NAME:
        return []
    # one of the two has the name of its collection in front: FatJet_pt, FatJet.pt, jet1.pt for pt
    same = [item for item in known if item != name and (_bare(item) == name or _bare(name) == item)]
    by_folded: dict[str, str] = {}
    for item in known:
        by_folded.setdefault(item.lower().replace("_", ""), item)
    matches = difflib.get_close_matches(name.lower().replace("_", ""), list(by_folded), n=count, cutoff=0.5)
    return list(dict.fromkeys([*same, *(by_folded[match] for match in matches)]))[:count]


def _bare(name: str) -> str:
    """A column without its collection."""
    return re.split(r"[._]", name, maxsplit=1)[-1]


#: columns of NanoAOD and their names in later versions: the same quantity, unlike PuppiMET for MET
_RENAMED = {
    "MET": "PFMET",
    "RawMET": "RawPFMET",
    "fixedGridRhoFastjetAll": "Rho_fixedGridRhoFastjetAll",
    "fixedGridRhoFastjetCentral": "Rho_fixedGridRhoFastjetCentral",
    "fixedGridRhoFastjetCentralCalo": "Rho_fixedGridRhoFastjetCentralCalo",
    "fixedGridRhoFastjetCentralChargedPileUp": "Rho_fixedGridRhoFastjetCentralChargedPileUp",
    "fixedGridRhoFastjetCentralNeutral": "Rho_fixedGridRhoFastjetCentralNeutral",
}


def renamed(name: str, known: Iterable[str]) -> str:
    """A clause with the name of a column in another version of NanoAOD, or an empty string.

    Parameters
    ----------
    name : str
        The unknown column, ``"MET_pt"`` or ``"MET.pt"``.
    known : iterable of str
        The existing columns.

    Returns
    -------
    str

    Examples
    --------
    >>> renamed("MET.pt", ["PFMET.pt", "PuppiMET.pt"])
    ' (called PFMET.pt in this version of NanoAOD)'
    >>> renamed("FatJet_jetId", ["FatJet_chMultiplicity"])[:40]
    ' (NanoAOD has none since v15: it is to b'
    """
    flat = name.replace(".", "_")
    columns = {item.replace(".", "_"): item for item in known}
    for older, newer in _RENAMED.items():
        for one, other in ((older, newer), (newer, older)):
            if flat == one or flat.startswith(f"{one}_"):
                column = columns.get(other + flat[len(one) :])
                if column is not None:
                    return f" (called {column} in this version of NanoAOD)"
    front, _, last = flat.rpartition("_")
    if last == "jetId" and f"{front}_chMultiplicity".lstrip("_") in columns:
        return " (NanoAOD has none since v15: it is to be computed from multiplicities and energy fractions)"
    return ""


def hint(name: str, known: Iterable[str]) -> str:
    """A clause with the nearest known names, or an empty string."""
    close = nearest(name, known)
    return f" (nearest: {', '.join(close)})" if close else ""


def pip_line(extra: str = "") -> str:
    """The command that installs an extra, or what is missing of jettagger's own requirements.

    It needs no index that has jettagger: pip takes the extras of an installed jettagger from its metadata. A checkout
    that is only on the path is named by its folder.

    Parameters
    ----------
    extra : str, optional
        An extra of jettagger.

    Returns
    -------
    str

    Examples
    --------
    >>> pip_line("plot").endswith("[plot]'")
    True
    """
    from importlib.metadata import PackageNotFoundError, distribution
    from pathlib import Path

    extras = f"[{extra}]" if extra else ""
    try:
        distribution("jettagger")
    except PackageNotFoundError:
        return f"pip install '{Path(__file__).resolve().parent.parent}{extras}'"
    return f"pip install 'jettagger{extras}'"


def require(module: str, extra: str, purpose: str) -> ModuleType:
    """Import an optional module; the error says how to install it.

    Parameters
    ----------
    module : str
        Dotted name of the module.
    extra : str
        The extra of jettagger that installs it; empty for one of its own requirements.
    purpose : str
        Its purpose, a noun phrase.

    Returns
    -------
    module

    Raises
    ------
    MissingExtra
        If the module is not installed.

    Examples
    --------
    >>> require("json", "none", "an example").__name__
    'json'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name.split(".")[0]):
            raise
        text = f"{purpose} needs the package '{error.name}', which is not installed: {pip_line(extra)}"
        expected = f"the package '{error.name}'"
        raise MissingExtra(text, where=purpose, got="not installed", expected=expected) from error


def __dir__() -> list[str]:
    return sorted(__all__)
