"""Parts of a search for jobs by hand: each runs some of the files, and together they give the search as a whole."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jettagger._version import __version__
from jettagger.arguments import guard
from jettagger.display import Brief
from jettagger.errors import ConfigError, InputFileError, JettaggerError, MismatchError, OutputError, visible
from jettagger.files import folder_complete_or_absent
from jettagger.files.jsonfile import read_object
from jettagger.provenance import KEY, provenance_of
from jettagger.search.config import SearchConfig, read_config
from jettagger.search.files import Survey, list_files
from jettagger.search.identity import differences, search_identity
from jettagger.search.kept import CHUNKS, MOST_NAMED, ChunkFolder, KeptChunks, chunk_name

__all__ = ["MARKER", "Part", "PartChunks", "merged_chunks", "part_of", "read_parts", "split_config", "write_part"]

#: the file that says what a part is
MARKER = "part.json"

#: version of the layout
VERSION = 1


def part_of(text: str) -> tuple[int, int]:
    """The number of a part, and that of all.

    Parameters
    ----------
    text : str
        ``3/20``: the third of twenty.

    Returns
    -------
    int, int

    Raises
    ------
    ConfigError

    Examples
    --------
    >>> part_of("3/20")
    (3, 20)
    """
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    number, of = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= number <= of:
        raise ConfigError(f"--part: got {visible(text)!r}, expected N/OF with N from 1 to OF, e.g. 3/20")
    return number, of


def split_config(config: SearchConfig, number: int, of: int, *, skip_broken: bool = False) -> SearchConfig:
    """The search on the files of one part: every ``of``-th one.

    Parameters
    ----------
    config : SearchConfig
    number, of : int
    skip_broken : bool
        Leave out files that do not exist.

    Returns
    -------
    SearchConfig
        Without data sets that have no file in this part.

    Raises
    ------
    ConfigError
        If there are fewer files than parts.
    """
    items = list_files(config, skip_broken=skip_broken)
    if len(items) < of:
        raise ConfigError(f"{of} parts of {len(items)} files: there can be as many parts as files at most")
    mine = items[number - 1 :: of]
    files = {}
    for dataset, own in config.files.items():
        listed = tuple(item for name, _, item in mine if name == dataset and item is not None)
        patterns = tuple(path for name, path, item in mine if name == dataset and item is None)
        if listed or patterns:
            files[dataset] = replace(own, patterns=patterns, listed=listed)
    return replace(config, files=files)


def write_part(
    folder: str | os.PathLike[str],
    kept: KeptChunks,
    config: SearchConfig,
    found: Survey,
    inner: Any,
    *,
    part: tuple[int, int],
    text: str,
    missing: Mapping[str, str],
    force: bool = False,
) -> None:
    """Write a part, complete or not at all; its chunks are moved there.

    Parameters
    ----------
    folder : path
    kept : KeptChunks
        Its finished chunks.
    config : SearchConfig
        Of the whole search, with an absolute folder: parts may be merged elsewhere.
    found : Survey
        Files of the part.
    inner : SearchProcessor
    part : tuple of int
        From `part_of`.
    text : str
        The configuration as it was written.
    missing : mapping
        File, or part of one -> reason why it is not in the part.
    force : bool
        Whether a part that was written before is replaced.

    Raises
    ------
    ConfigError
        If the folder of the configuration is relative.
    OutputError
    """
    if not config.folder.is_absolute():
        raise ConfigError(
            f"a part of a search has the absolute paths of its files, but the folder of {config.document.name} is "
            f"'{config.folder}': give read_config(..., folder=) an absolute one"
        )
    paths = [info.path for info in found.files]
    own = {"file": config.document.name, "digest": config.digest}
    record = provenance_of(
        inner.tagger or found.origin,
        inner.names,
        inner.search.preselection.text,
        paths,
        skipped=missing,
        step="search part",
        configuration=own,
    )
    if not kept.active:
        raise OutputError(f"{folder} cannot be written: chunks could not be kept in {kept.folder}")
    with folder_complete_or_absent(folder, marker=MARKER, force=force) as place:
        note = {
            "version": VERSION,
            "jettagger": __version__,
            KEY: record.to_dict(),
            "part": list(part),
            "search": search_identity(config, inner),
            "configuration": {"name": config.document.name, "folder": str(config.folder), "text": text},
            "files": [{"path": info.path, "dataset": info.dataset, "events": info.events} for info in found.files],
            "missing": dict(missing),
        }
        (place / MARKER).write_text(json.dumps(note, indent=1), encoding="utf-8")
        os.replace(kept.chunks.folder, place / CHUNKS)


@dataclass(frozen=True)
class Part(Brief):
    """A part that was written.

    Attributes
    ----------
    folder : pathlib.Path
    number, of : int
    search : dict
        All that its results depend on.
    config : SearchConfig
        Of the whole search.
    files : dict of str to int
        Its files -> events.
    missing : dict of str to str
        File, or part of one -> reason why it is not in the part.
    """

    folder: Path
    number: int
    of: int
    search: Mapping[str, Any]
    config: SearchConfig
    files: Mapping[str, int]
    missing: Mapping[str, str]


def read_parts(folders: Sequence[str | os.PathLike[str]]) -> tuple[Part, ...]:
    """Read parts, and refuse those that do not belong together.

    Parameters
    ----------
    folders : sequence of path

    Returns
    -------
    tuple of Part
        In their order.

    Raises
    ------
    ConfigError
        If there are none.
    InputFileError
        If a folder is no part.
    MismatchError
        If parts are missing, given twice, or of different searches; names them.
    """
    parts = [_read(Path(folder)) for folder in folders]
    if not parts:
        raise ConfigError("no parts")
    first = parts[0]
    for part in parts[1:]:
        changed = differences(part.search, first.search)
        if part.of != first.of:
            changed.insert(0, f"it is one of {part.of} parts, not of {first.of}")
        if changed:
            raise MismatchError(
                f"{part.folder} is a part of another search than {first.folder}: {'; '.join(changed[:MOST_NAMED])}"
            )
    counts = Counter(part.number for part in parts)
    for number, count in counts.items():
        if count > 1:
            twice = [str(part.folder) for part in parts if part.number == number]
            raise MismatchError(f"part {number}/{first.of} is given {count} times: {', '.join(twice)}")
    absent = [f"{number}/{first.of}" for number in range(1, first.of + 1) if number not in counts]
    if absent:
        more = f" and {len(absent) - MOST_NAMED} more" if len(absent) > MOST_NAMED else ""
        raise MismatchError(f"parts are missing: {', '.join(absent[:MOST_NAMED])}{more}; run them with --part")
    return tuple(sorted(parts, key=lambda part: part.number))


def _read(folder: Path) -> Part:
    if not (folder / MARKER).is_file():
        raise InputFileError(f"{folder} is no part of a search: it has no {MARKER} (jettagger search --part makes it)")
    note = read_object(folder / MARKER)
    if note.get("version") != VERSION:
        writer = note.get("jettagger", "of an unknown version")
        raise InputFileError(f"{folder} was written by jettagger {writer}, this is {__version__}: make the part again")
    try:
        number, of = note["part"]
        own = note["configuration"]
        config = read_config(own["text"], name=own["name"], folder=own["folder"])
        files = {item["path"]: int(item["events"]) for item in note["files"]}
        return Part(folder, int(number), int(of), note["search"], config, files, dict(note["missing"]))
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, JettaggerError):
            raise
        raise InputFileError(f"{folder / MARKER} is damaged: {error!r}") from error


class PartChunks(KeptChunks):
    """The chunks of all parts of a search, none of which is run again.

    Parameters
    ----------
    parts : sequence of Part
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self.folder = parts[0].folder
        self.parts = parts
        self._stores: dict[str, ChunkFolder] = {}
        self._names = {}
        for part in parts:
            store = ChunkFolder(part.folder / CHUNKS)
            self._stores |= dict.fromkeys(store.names(), store)

    def expect(self, items: Sequence[Any]) -> None:
        """Determine the names of chunks."""
        self._names |= {item: chunk_name(item) for item in items}

    def unused(self) -> int:
        """Number of chunks that are none of this search."""
        return len(self._stores.keys() - {*self._names.values()})

    def __contains__(self, item: Any) -> bool:
        return self._names.get(item) in self._stores

    def get(self, item: Any) -> bytes:
        """The packed result of a chunk.

        Raises
        ------
        InputFileError
            If it is damaged.
        """
        store = self._stores[self._names[item]]
        found = store.read(self._names[item])
        if found is None:
            raise InputFileError(f"{store.folder / self._names[item]} is damaged: make this part again")
        return found

    def absent(self, items: Sequence[Any], run: Any, function: Any) -> Iterator[tuple[Any, Any]]:
        """The errors of chunks that no part has, by which they are left out; nothing is run.

        Raises
        ------
        MismatchError
            If no part says why.
        """
        for item in items:
            path, place = str(item.filename), (str(item.filename), int(item.entrystart), int(item.entrystop))
            known = [item for part in self.parts for item in part.missing.items()]
            reasons = [reason for where, reason in known if where.startswith(path)]
            if not reasons:
                raise MismatchError(
                    f"events {place[1]} to {place[2]} of {path} are in no part: the file is new or has changed since; "
                    "make the parts again"
                )
            error = InputFileError(f"was not read by its part: {reasons[0]}")
            yield item, {"out": {"results": {}, "errors": {place: error}, "retried": {}}, "processed": {item}}


def merged_chunks(parts: Sequence[Part], config: SearchConfig, inner: Any) -> PartChunks:
    """The chunks of all parts, for `jettagger.search.run_search`.

    Parameters
    ----------
    parts : sequence of Part
        From `read_parts`.
    config : SearchConfig
        Of the whole search.
    inner : SearchProcessor
        Of this configuration.

    Returns
    -------
    PartChunks

    Raises
    ------
    MismatchError
        If model, files of the configuration or code have changed since the parts were made; says what.
    """
    changed = differences(search_identity(config, inner), parts[0].search)
    if changed:
        raise MismatchError(
            f"the search has changed since {parts[0].folder} was made: {'; '.join(changed[:MOST_NAMED])}. Undo this, "
            "or make the parts again"
        )
    return PartChunks(parts)


guard(globals(), "part_of", "split_config", "read_parts")
