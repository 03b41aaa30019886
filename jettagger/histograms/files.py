"""Histogram files: JSON in the format of UHI, and ROOT."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import re
import zlib
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from string import Formatter
from typing import Any

import numpy as np

from jettagger._version import __version__
from jettagger.arguments import Histogram, guard
from jettagger.errors import ConfigError, InputFileError, WrongType
from jettagger.files import complete_or_absent, refuse_special
from jettagger.files.jsonfile import parse_json
from jettagger.files.root import write_objects
from jettagger.histograms.categories import categories_of, pick, variables_of
from jettagger.provenance import Provenance
from jettagger.types import Array

__all__ = ["VERSION", "load", "new_name", "save", "to_root"]

#: type of a file, and version of its layout
_FORMAT = "jettagger histograms"
VERSION = 1

#: what is in the place of an array while the rest of a histogram becomes JSON, and in JSON
_MARK = "\0array {}"
_MARKED = re.compile(r'"\\u0000array (\d+)"')

#: numbers that become text together
_TOGETHER = 100_000


def _open(path: Path, mode: str) -> Any:
    # The time of writing is left out of compressed files, so that equal contents give equal bytes.
    if path.name.endswith(".gz"):
        return gzip.GzipFile(path, mode, mtime=0) if mode == "wb" else gzip.open(path, mode)
    return path.open(mode)


def save(
    histograms: Mapping[str, Histogram],
    path: str | os.PathLike[str],
    record: Mapping[str, Any] | None = None,
    *,
    provenance: Provenance | None = None,
) -> None:
    """Write histograms to a JSON file in the format of UHI, without loss.

    Parameters
    ----------
    histograms : mapping
        Name -> ``hist.Hist``.
    path : path
        The file; compressed if it ends in ``.gz``.
    record : mapping, optional
        Further information, as far as JSON can represent it.
    provenance : Provenance, optional
        How they were made: the record of the skim that they were filled from (`Provenance.of_file`), or of a tagger
        (`provenance_of`). `jettagger.provenance.read_provenance` reads it.

    Raises
    ------
    OutputError
        If the file cannot be written.
    WrongType
        If the record holds what JSON cannot.
    """
    content = {
        "format": _FORMAT,
        "version": VERSION,
        "jettagger": __version__,
        "provenance": (provenance or Provenance("histograms")).to_dict(),
        "record": dict(record or {}),
    }
    try:
        with complete_or_absent(path) as part, _open(part, "wb") as file:
            head = json.dumps(content, default=_as_json)
            file.write(f'{head[:-1]}, "histograms": {{'.encode())
            for number, (name, histogram) in enumerate(histograms.items()):
                file.write(f"{', ' if number else ''}{json.dumps(name)}: ".encode())
                for piece in _pieces(histogram):
                    file.write(piece.encode())
            file.write(b"}}")
    except (TypeError, ValueError) as error:
        expected = "histograms, and a record of text, numbers and lists"
        raise WrongType(
            f"save(): {error}; expected {expected}", where="save()", got=f"{error}", expected=expected
        ) from error


def _as_json(item: Any) -> Any:
    import uhi.io.json

    return item.item() if isinstance(item, np.generic) else uhi.io.json.default(item)  # which uhi 1.2 refuses


def _pieces(histogram: Histogram) -> Iterator[str]:
    """JSON of a histogram in pieces: Python's numbers take several times the memory of the cells."""
    arrays: list[Array] = []

    def default(item: Any) -> Any:
        if isinstance(item, np.ndarray):
            arrays.append(item)
            return _MARK.format(len(arrays) - 1)
        return _as_json(item)

    texts = _MARKED.split(json.dumps(histogram, default=default))
    if texts[1::2] != [str(number) for number in range(len(arrays))]:
        raise ValueError(f"a text in a histogram contains {_MARK!r}, which has a meaning in the file")
    for place, text in enumerate(texts):
        if place % 2:
            yield from _numbers(arrays[int(text)])
        else:
            yield text


def _numbers(values: Array) -> Iterator[str]:
    """JSON of an array, in pieces of a part of its first axes."""
    if values.ndim < 2 or values.size <= _TOGETHER:
        yield json.dumps(values.tolist())
        return
    for place, part in enumerate(values):
        yield ", " if place else "["
        yield from _numbers(part)
    yield "]"


def load(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read a file written by :func:`save`.

    Returns
    -------
    histograms : dict
        Name -> ``hist.Hist``.
    record : dict
        The further information.

    Raises
    ------
    InputFileError
        If the file cannot be read, has other content, or has another version.
    """
    import hist
    import uhi.io.json

    path = Path(path)
    refuse_special(path)
    try:
        with _open(path, "rb") as file:
            text = file.read()
    except OSError as error:
        raise InputFileError(f"cannot read {path}: {error.strerror or error}") from error
    except (EOFError, zlib.error) as error:
        raise InputFileError(f"{path} is not a histogram file: {error}") from error
    where = f"{path} is not a histogram file of jettagger: its content"
    content = parse_json(text, where, kind=dict, finite=False, hook=uhi.io.json.object_hook)
    if content.get("format") != _FORMAT:
        raise InputFileError(f"{path} is not a histogram file of jettagger: expected the format {_FORMAT!r}")
    if content.get("version") != VERSION:
        writer = content.get("jettagger", "of an unknown version")
        raise InputFileError(
            f"{path}: histogram file of version {content.get('version')!r}, expected {VERSION}; "
            f"it was written by jettagger {writer}, this is {__version__}"
        )
    try:
        return {name: hist.Hist(item) for name, item in content["histograms"].items()}, content["record"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputFileError(f"{path}: damaged histogram file: {error!r}") from error


def new_name(pattern: str, taken: Container[str], names: Mapping[str, str]) -> str:
    """The name of an object in a ROOT file, from a pattern.

    Parameters
    ----------
    pattern : str
        ``{name}`` is replaced; ``/`` makes folders.
    taken : container of str
        Names already used in the file.
    names : mapping of str to str

    Returns
    -------
    str

    Raises
    ------
    ConfigError
        If the pattern has unknown parts, or the resulting name is already used.

    Examples
    --------
    >>> new_name("{region}/{process}", [], {"region": "SR", "process": "tt"})
    'SR/tt'
    """
    try:
        for _, field, details, conversion in Formatter().parse(pattern):
            # attributes, and widths of any size, are no names
            if field is not None and (field not in names or details or conversion):
                raise KeyError(field)
        key = pattern.format(**names).strip("/")
    except (KeyError, ValueError) as error:
        allowed = ", ".join(f"{{{name}}}" for name in names)
        raise ConfigError(f"the pattern {pattern!r} cannot be used: {error}. Allowed: {allowed}") from error
    if key in taken:
        raise ConfigError(f"the pattern {pattern!r} gives the name {key!r} twice")
    return key


def to_root(
    histograms: Mapping[str, Any],
    path: str | os.PathLike[str],
    pattern: str = "{histogram}/{categories}",
    *,
    provenance: Provenance | None = None,
) -> list[str]:
    """Write histograms to a ROOT file, one TH1 or TH2 per combination of categories.

    Parameters
    ----------
    histograms : mapping
        Name -> ``hist.Hist`` with one or two variables.
    path : path
        The file.
    pattern : str
        The names in the file: ``{histogram}``, ``{categories}`` (all values joined by ``_``) and the name of
        each category axis in braces are replaced; ``/`` makes folders.
    provenance : Provenance, optional
        How they were made, as for `save`; stored as the object ``jettagger``.

    Returns
    -------
    list of str
        The names of the written objects.

    Raises
    ------
    ConfigError
        If the pattern has unknown parts or gives one name twice, or if a histogram has more than two variables.
    OutputError
        If the file cannot be written.
    """
    parts: dict[str, Any] = {}
    for name, histogram in histograms.items():
        count = len(variables_of(histogram))
        if count > 2:
            raise ConfigError(f"histogram {name!r} has {count} variables: ROOT files take one or two")
        known = categories_of(histogram)
        for values in itertools.product(*known.values()):
            chosen = dict(zip(known, values, strict=True))
            key = new_name(pattern, parts, {"histogram": name, "categories": "_".join(values), **chosen})
            parts[key] = pick(histogram, **chosen)
    write_objects(path, parts, (provenance or Provenance("histograms")).text)
    return list(parts)


guard(globals())
