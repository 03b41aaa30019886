"""Files of correctionlib: values that hold their text, read and written compressed or not."""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from jettagger.arguments import guard
from jettagger.display import Displayed, shortened
from jettagger.errors import InputFileError, reason_of
from jettagger.files.atomic import complete_or_absent, refuse_special
from jettagger.files.jsonfile import parse_json

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["CorrectionText", "read_correction_text", "write_correction_text"]

_GZIP = b"\x1f\x8b"


class CorrectionText(Displayed):
    """A set of corrections as a value: its pickle is the JSON text, which correctionlib evaluates.

    Parameters
    ----------
    text : str
        The JSON.
    name : str
        Its name in messages, e.g. that of the file.
    """

    #: what it is, in messages
    title: ClassVar[str] = "correction file"

    def __init__(self, text: str, name: str = "") -> None:
        self._text = text
        self._name = name or self.title

    def __repr__(self) -> str:
        return f"{type(self).__name__}({shortened(self._name, 80)!r})"

    def _arguments(self) -> tuple[Any, ...]:
        """Further arguments of the class, for the pickle."""
        return ()

    def __reduce__(self) -> tuple[Any, ...]:
        return (_restored, (type(self), zlib.compress(self._text.encode(), 1), self._name, self._arguments()))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, type(self)) or self._arguments() != other._arguments():
            return False
        return self._parsed() == other._parsed()

    __hash__ = None  # type: ignore[assignment]

    def _parsed(self) -> dict[str, Any]:
        # edges are Infinity in some published files
        content: dict[str, Any] = parse_json(self._text, self._name, kind=dict, finite=False)
        return content

    @cached_property
    def corrections(self) -> Any:
        """All corrections of the file, for correctionlib.

        Raises
        ------
        InputFileError
            If correctionlib refuses the text.
        """
        import correctionlib

        try:
            made = correctionlib.CorrectionSet.from_string(self._text)
            for name in made:
                _ = made[name]
        except (RuntimeError, ValueError, IndexError) as error:
            raise InputFileError(f"{self._name}: correctionlib refuses it: {reason_of(error)}") from error
        return made

    @property
    def digest(self) -> str:
        """SHA-256 of the text."""
        return hashlib.sha256(self._text.encode()).hexdigest()

    def to_string(self) -> str:
        """The correctionlib JSON."""
        return self._text

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the correctionlib JSON; compressed if the name ends in ``.gz``.

        Raises
        ------
        OutputError
            If the file cannot be written.
        """
        write_correction_text(path, self._text)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a file written by :meth:`save`; it is validated by correctionlib.

        Raises
        ------
        InputFileError
            If the file does not exist, is not valid, or is something else.
        """
        made = cls(read_correction_text(path), str(path))
        _ = made.corrections
        return made


@lru_cache(maxsize=16)
def _restored(cls: type[CorrectionText], packed: bytes, name: str, further: tuple[Any, ...]) -> CorrectionText:
    """From a pickle; tasks that get the same file one after the other do not parse it again."""
    return cls(zlib.decompress(packed).decode(), name, *further)


def read_correction_text(path: str | os.PathLike[str]) -> str:
    """The text of a file, compressed with gzip or not.

    Parameters
    ----------
    path : path

    Returns
    -------
    str

    Raises
    ------
    InputFileError
        If it cannot be read.
    """
    refuse_special(path)
    try:
        content = Path(path).read_bytes()
        return (gzip.decompress(content) if content[:2] == _GZIP else content).decode("utf-8")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise InputFileError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error


def write_correction_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text, complete or not at all; compressed with gzip if the name ends in ``.gz``.

    Parameters
    ----------
    path : path
    text : str

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    content = text.encode()
    if str(path).endswith(".gz"):
        content = gzip.compress(content, mtime=0)  # without the time, so that equal contents give equal bytes
    with complete_or_absent(path) as part:
        part.write_bytes(content)


guard(globals(), "read_correction_text", "write_correction_text")
