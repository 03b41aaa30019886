"""Generated events of a file: the tree ``Runs`` of NanoAOD, and its copy in skims.

A file of simulation contains the selected events; its tree ``Runs`` counts all generated ones. A skim carries the rows
of ``Runs`` of each of its input files: as JSON in its provenance, and as a tree ``Runs`` if it is a ROOT file.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from jettagger.display import Brief
from jettagger.errors import InputFileError, MismatchError
from jettagger.files.jsonfile import parse_json
from jettagger.files.parquet import note_of, open_parquet
from jettagger.files.root import TREE, EventFile

__all__ = ["RUNS", "GeneratedFile", "merged_rows", "read_sources", "sources_of_note", "sources_of_root"]

#: the tree of NanoAOD with one row per run, or per block
RUNS = "Runs"

#: columns with the sum of generator weights and the number of generated events; NanoAOD up to v6 adds an underscore
SUM, COUNT = "genEventSumw", "genEventCount"

#: key of the provenance of a skim
KEY = "generated"


@dataclass(frozen=True)
class GeneratedFile(Brief):
    """A file of simulated events and its tree ``Runs``.

    Attributes
    ----------
    file : str
        Its path, absolute if it is local, which identifies the file.
    events : int
        Number of events in its tree.
    first, last : int
        The range of events that is present, without ``last``: all of them, except for a skim of a part of a file.
    runs : mapping of str to list
        The rows of ``Runs`` with the current names of NanoAOD; numbers, or lists of numbers such as ``LHEScaleSumw``.

    Examples
    --------
    >>> source = GeneratedFile("a.root", 40, 0, 40, {"genEventSumw": [600.0, 400.0], "genEventCount": [550, 350]})
    >>> source.sum_of_weights, source.count, source.whole
    (1000.0, 900, True)
    """

    file: str
    events: int
    first: int
    last: int
    runs: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether all events of the file are present."""
        return self.first <= 0 and self.last >= self.events

    @property
    def sum_of_weights(self) -> float:
        """Sum of the generator weights of all generated events."""
        return math.fsum(self.runs[SUM])

    @property
    def count(self) -> int | None:
        """The number of all generated events; None if the file does not record it."""
        return int(sum(self.runs[COUNT])) if COUNT in self.runs else None

    def to_dict(self) -> dict[str, Any]:
        """Content for JSON."""
        return {
            "file": self.file,
            "events": self.events,
            "first": self.first,
            "last": self.last,
            "runs": {name: list(values) for name, values in self.runs.items()},
        }


def sources_of_root(file: EventFile) -> tuple[GeneratedFile, ...]:
    """The generated events recorded in an open file.

    Parameters
    ----------
    file : EventFile

    Returns
    -------
    tuple of GeneratedFile
        Empty for data, and if the file does not record them.

    Raises
    ------
    InputFileError
        If the tree ``Runs`` is damaged, or a sum in it is not finite.
    MismatchError
        If the file contains more events than its recorded sources.
    """
    runs = {name.rstrip("_"): values for name, values in file.table(RUNS).items()}
    if len(runs.get(SUM, ())):
        counters = {f"n{name}" for name in runs}
        columns = {name: values.tolist() for name, values in runs.items() if name not in counters}
        columns = {name: [_plain(value) for value in values] for name, values in columns.items()}
        path = file.path if "://" in file.path else os.path.realpath(file.path)
        return (_checked(GeneratedFile(path, file.n_events, 0, file.n_events, columns)),)
    return sources_of_note(file.note(), file.path, file.n_events)


def sources_of_note(note: str, path: str = "", rows: int = 0) -> tuple[GeneratedFile, ...]:
    """The generated events recorded in the provenance of a skim.

    Parameters
    ----------
    note : str
        JSON; any other text is ignored.
    path : str
        The skim, for messages.
    rows : int
        Number of its events.

    Returns
    -------
    tuple of GeneratedFile

    Raises
    ------
    InputFileError
        If they are recorded in a form other than that of skims.
    MismatchError
        If the skim contains more events than its recorded sources.
    """
    content = None
    with suppress(InputFileError):  # written by somebody else
        content = parse_json(note, path, finite=False) if note else None
    records = content.get(KEY) if isinstance(content, Mapping) else None
    if not records:
        return ()
    if not isinstance(records, list):
        raise _unreadable(path)
    found = tuple(_source(record, path) for record in records)
    if not found or any(SUM not in source.runs for source in found):
        return ()
    inside = sum(source.last - source.first for source in found)
    if rows > inside:
        raise MismatchError(
            f"{path} holds {rows} events, but the {len(found)} files that its provenance names gave {inside}: skims "
            "were joined without their provenance, and the sum of generator weights is lost; give the skims themselves"
        )
    return tuple(map(_checked, found))


def _unreadable(path: str) -> InputFileError:
    return InputFileError(
        f"{path}: what its provenance says of generated events ({KEY!r}) cannot be read: it is damaged"
    )


def _source(record: Any, path: str) -> GeneratedFile:
    """The inverse of `GeneratedFile.to_dict`."""
    try:
        source = GeneratedFile(**{"runs": {}, **record})
        numbers = [source.events, source.first, source.last]
        for name in (SUM, COUNT):
            numbers += source.runs.get(name, ())
        lists = all(isinstance(values, list) for values in source.runs.values())
    except (TypeError, AttributeError) as error:
        raise _unreadable(path) from error
    whole = all(isinstance(number, int) for number in [*numbers[:3], *source.runs.get(COUNT, ())])
    if not (isinstance(source.file, str) and lists and whole and all(isinstance(n, (int, float)) for n in numbers)):
        raise _unreadable(path)
    return source


def _checked(source: GeneratedFile) -> GeneratedFile:
    if not math.isfinite(source.sum_of_weights):
        raise InputFileError(f"{source.file}: the sum of generator weights in its tree {RUNS!r} is not finite")
    return source


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def read_sources(
    path: str | os.PathLike[str], tree: str = TREE, first: int = 0, last: int | None = None
) -> tuple[GeneratedFile, ...]:
    """The generated events of a range of events of a file.

    Parameters
    ----------
    path : path
        NanoAOD-like ROOT file, or parquet skim.
    tree : str
        The tree of events in a ROOT file.
    first, last : int
        The range; default: all events.

    Returns
    -------
    tuple of GeneratedFile
        Empty for data, and if the file does not record them; also for a part of a skim of several files.

    Raises
    ------
    InputFileError

    Examples
    --------
    >>> import tempfile
    >>> from jettagger.testing import write_pfnano
    >>> read_sources(write_pfnano(f"{tempfile.mkdtemp()}/nano.root", 5, seed=1))
    ()
    """
    path = os.fspath(path)
    if path.endswith(".parquet"):
        with open_parquet(path) as parquet:
            rows = parquet.metadata.num_rows
            found = sources_of_note(note_of(parquet.schema_arrow), path, rows)
    else:
        with EventFile(path, tree) as file:
            rows, found = file.n_events, sources_of_root(file)
    stop = rows if last is None else last
    if first <= 0 and stop >= rows:
        return found
    if len(found) != 1 or found[0].last - found[0].first != rows:
        return ()
    start = found[0].first
    return (replace(found[0], first=start + first, last=start + stop),)


def merged_rows(sources: Iterable[GeneratedFile]) -> dict[str, list[Any]]:
    """The concatenated rows of ``Runs`` of several files, with their common columns.

    Parameters
    ----------
    sources : iterable of GeneratedFile

    Returns
    -------
    dict of str to list
        Empty if a file is present only in part: its rows count events that are absent.

    Examples
    --------
    >>> one = GeneratedFile("a.root", 2, 0, 2, {"genEventSumw": [3.0], "run": [1]})
    >>> merged_rows([one, GeneratedFile("b.root", 1, 0, 1, {"genEventSumw": [2.0]})])
    {'genEventSumw': [3.0, 2.0]}
    """
    found = list(sources)
    if not found or not all(source.whole for source in found):
        return {}
    names = [name for name in found[0].runs if all(name in source.runs for source in found)]
    return {name: [value for source in found for value in source.runs[name]] for name in names}
