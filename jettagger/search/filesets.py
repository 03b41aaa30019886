"""Filesets of coffea, and text files with one name of a file per line: read and checked, nothing in them is opened.

A fileset is a JSON or YAML file (also ``.gz``) of data sets with their files, and with what is known about them: the
name of the tree, the number of events, the unique identifier (UUID) of a ROOT file, steps, metadata.
"""

from __future__ import annotations

import difflib
import gzip
import json
import math
import os
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from jettagger.arguments import guard
from jettagger.config.models import Expected, FileModel, Names, problems, shown
from jettagger.config.yamlfile import Document, kind_of, lines_of, read_yaml
from jettagger.display import Brief
from jettagger.errors import ConfigError, UnknownName, hint, reason_of
from jettagger.files import refuse_special
from jettagger.files.generated import GeneratedFile, sources_of_note
from jettagger.files.jsonfile import parse_json

__all__ = [
    "Fileset",
    "ListedFile",
    "SampleMetadata",
    "is_list",
    "read_fileset",
    "read_list",
]

#: endings of filesets, and of text files with names
FILESETS, LISTS = (".json", ".yaml", ".yml"), (".txt", ".list")

#: maximum size of a fileset without compression, in bytes
MOST_BYTES = 500_000_000

#: a file and the name of its tree, as coffea writes both in one text: ``a.root:Events``
_WITH_TREE = re.compile(r"(?P<path>.+\.root):(?P<tree>[A-Za-z_][\w/]*)")

Count = Annotated[int, Field(ge=0), Expected("a number of events")]


class StoredKeys(FileModel):
    """What `jettagger datasets` adds to a file of a fileset, and coffea ignores."""

    columns: str = Field(description="digest of the names of all columns")
    generated: Annotated[tuple[dict[str, Any], ...], Field(strict=False)] = Field(
        default=(), description="generated events, from the tree `Runs`"
    )
    skim: bool = Field(default=False, description="whether it is a skim of jettagger, with a provenance of its own")


class FileKeys(FileModel):
    """A file of a fileset."""

    object_path: str | None = Field(default=None, description="name of the tree")
    steps: Annotated[tuple[Annotated[tuple[Count, Count], Field(strict=False)], ...] | None, Field(strict=False)] = (
        Field(default=None, description="ranges of events, which must be all of them")
    )
    num_entries: Count | None = Field(default=None, description="number of events")
    uuid: str | None = Field(default=None, description="unique identifier of the ROOT file")
    format: Literal["root", "parquet"] | None = Field(default=None, description="`root` or `parquet`")
    lfn: str | None = Field(default=None, description="logical name; not used")
    pfn: str | None = Field(default=None, description="physical name; not used")
    num_selected_entries: Count | None = Field(default=None, description="sum of the steps; not used")
    jettagger: StoredKeys | None = Field(default=None, description="written by `jettagger datasets`")


class DatasetKeys(FileModel):
    """A data set of a fileset."""

    files: dict[str, FileKeys] = Field(description="path or URL -> tree, or the keys below")
    metadata: dict[str, Any] = Field(default_factory=dict, description="cross section, era and more")
    treename: str | None = Field(default=None, description="name of the tree in files that have none of their own")
    format: str | None = Field(default=None, description="format of the files; not used")
    form: str | None = Field(default=None, description="columns; not used")
    compressed_form: str | None = Field(default=None, description="columns; not used")
    did: str | None = Field(default=None, description="name in Rucio; not used")
    preload: Names | None = Field(default=None, description="columns to read first; not used")


@dataclass(frozen=True)
class ListedFile(Brief):
    """A file in a list or a fileset, with what is known about it.

    Attributes
    ----------
    path : str
        Relative local paths start at the folder of the list.
    tree : str or None
        Name of its tree.
    events : int or None
        Number of its events.
    uuid : str or None
        Unique identifier of a ROOT file.
    columns : str or None
        Digest of the names of its columns.
    generated : tuple of GeneratedFile or None
        Its generated events; empty if it does not record them, None if that is not known.
    skim : bool or None
        Whether it is a skim of jettagger; None if that is not known.
    source : str
        The list or fileset.
    """

    path: str
    tree: str | None = None
    events: int | None = None
    uuid: str | None = None
    columns: str | None = None
    generated: tuple[GeneratedFile, ...] | None = None
    skim: bool | None = None
    source: str = ""


@dataclass(frozen=True)
class SampleMetadata(Brief):
    """The metadata of a data set that a search uses.

    Attributes
    ----------
    cross_section : float or None
        In pb; also called ``xsec``.
    data : bool or None
        Whether it is data; also called ``isMC``, with the opposite value.
    sum_of_weights : float or None
        Sum of the weights of all generated events.
    eras : tuple of str
        ``era`` and ``year``.
    unused : tuple of str
        Other keys.
    """

    cross_section: float | None = None
    data: bool | None = None
    sum_of_weights: float | None = None
    eras: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fileset(Brief):
    """A data set of a fileset.

    Attributes
    ----------
    name : str
    files : tuple of ListedFile
    metadata : SampleMetadata
    source : str
        The file that it is from.
    """

    name: str
    files: tuple[ListedFile, ...]
    metadata: SampleMetadata = field(default_factory=SampleMetadata)
    source: str = ""


def is_list(path: str) -> bool:
    """Whether a name is that of a fileset or of a list of files, judged by its ending.

    Parameters
    ----------
    path : str

    Returns
    -------
    bool

    Examples
    --------
    >>> is_list("tt.json.gz"), is_list("tt.txt"), is_list("tt.root"), is_list("root://host//tt.json.root")
    (True, True, False, False)
    """
    return path.removesuffix(".gz").endswith((*FILESETS, *LISTS))


def read_list(path: str | os.PathLike[str]) -> tuple[ListedFile, ...]:
    """The files named in a text file: one path or URL per line, also with a tree (``a.root:Events``).

    Parameters
    ----------
    path : path
        Also compressed (``.gz``). Empty lines and those that begin with ``#`` are skipped.

    Returns
    -------
    tuple of ListedFile

    Raises
    ------
    ConfigError
        If it cannot be read, or names no file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> names = Path(tempfile.mkdtemp()) / "tt.txt"
    >>> _ = names.write_text("# NanoAOD v12\\nroot://host:1094//store/a.root\\n/data/b.root:Events\\n")
    >>> [(file.path, file.tree) for file in read_list(names)]
    [('root://host:1094//store/a.root', None), ('/data/b.root', 'Events')]
    """
    path = Path(path)
    lines = [line.strip() for line in _text(path).splitlines()]
    found = tuple(_listed(line, path) for line in lines if line and not line.startswith("#"))
    if not found:
        raise ConfigError(f"{path} names no file: expected one path or URL per line")
    return found


def read_fileset(path: str | os.PathLike[str]) -> dict[str, Fileset]:
    """The data sets of a fileset of coffea.

    Parameters
    ----------
    path : path
        JSON or YAML, also compressed (``.gz``): data set -> list of files, or ``files`` (a list, or a mapping to the
        tree or to ``object_path``, ``num_entries``, ``uuid``, ``steps``) and ``metadata``.

    Returns
    -------
    dict of str to Fileset

    Raises
    ------
    ConfigError
        If it cannot be read, is no fileset, has unknown keys, or steps that leave out events; gives the line.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> path = Path(tempfile.mkdtemp()) / "tt.yaml"
    >>> _ = path.write_text('''
    ... tt:
    ...   files: {/data/tt.root: {object_path: Events, num_entries: 1000}}
    ...   metadata: {cross_section: 830}
    ... ''')
    >>> tt = read_fileset(path)["tt"]
    >>> tt.files[0].events, tt.metadata.cross_section
    (1000, 830.0)
    """
    path = Path(path)
    text = _text(path)
    if path.name.removesuffix(".gz").endswith(".json"):
        content: Any = parse_json(text, str(path), ConfigError, kind=dict)
        document = None
    else:
        document = read_yaml(text, name=str(path)) if text.strip() else Document({}, str(path), {})
        content = document.data
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds {kind_of(content)}, expected a mapping of data sets")
    if not content:
        raise ConfigError(f"{path} has no data set")
    found = {}
    for name, entry in content.items():
        try:
            keys = DatasetKeys.model_validate(_spelt_out(entry, str(path), str(name)))
        except ValidationError as error:
            lines = lines_of(text) if document is None else document.lines
            inside = {place[1:]: line for place, line in lines.items() if place and place[0] == name}
            place = Document(_spelt_out(entry, str(path), str(name)), str(path), inside)
            raise ConfigError("\n".join(problems(DatasetKeys, error, place))) from None
        found[str(name)] = _fileset(str(name), keys, path)
    return found


def _text(path: Path) -> str:
    """The text of a file, which may be compressed."""
    refuse_special(path, ConfigError)
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except (OSError, ValueError, EOFError, zlib.error) as error:
        raise ConfigError(f"cannot read {path}: {getattr(error, 'strerror', None) or reason_of(error)}") from error
    if len(content) > MOST_BYTES:
        raise ConfigError(f"{path} has more than {MOST_BYTES / 1e6:g} MB, expected at most that much")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"cannot read {path}: {error.reason}, expected text") from error


def _listed(name: str, source: Path, tree: str | None = None) -> ListedFile:
    """A file of a list, without anything known about it."""
    match = _WITH_TREE.fullmatch(name)
    if match:
        name, tree = match["path"], match["tree"]
    return ListedFile(_place(name, source), tree, source=str(source))


def _place(name: str, source: Path) -> str:
    return name if "://" in name else str(source.parent / os.path.expanduser(name))


def _spelt_out(entry: Any, path: str, dataset: str) -> Any:
    """A data set in the longest of its spellings."""
    if isinstance(entry, list):
        entry = {"files": entry}
    if not isinstance(entry, dict):
        raise ConfigError(
            f"{path}: the data set {dataset!r} must be a list of files or a mapping, got {kind_of(entry)}"
        )
    if "files" not in entry and entry and all("." in str(key) or "/" in str(key) for key in entry):
        entry = {"files": entry}
    files = entry.get("files")
    if isinstance(files, str):
        files = [files]
    if isinstance(files, list):
        wrong = [item for item in files if not isinstance(item, str)]
        if wrong:
            raise ConfigError(f"{path}: a file of {dataset!r} must be text, got {shown(wrong[0])}")
        matches = {item: _WITH_TREE.fullmatch(item) for item in files}
        files = {match["path"] if match else item: match["tree"] if match else None for item, match in matches.items()}
    if isinstance(files, dict):
        plain = (str, type(None))
        files = {key: {"object_path": item} if isinstance(item, plain) else item for key, item in files.items()}
    return {**entry, **({} if files is None else {"files": files})}


def _fileset(name: str, keys: DatasetKeys, path: Path) -> Fileset:
    if not keys.files:
        raise ConfigError(f"{path}: the data set {name!r} has no file")
    files = []
    for file, item in keys.files.items():
        _check_steps(file, item, path)
        stored = item.jettagger
        generated = None
        if stored is not None:
            note = json.dumps({"generated": list(stored.generated)})
            generated = sources_of_note(note, f"{path}: {file}", item.num_entries or 0)
        files.append(
            ListedFile(
                path=_place(file, path),
                tree=item.object_path or keys.treename,
                events=item.num_entries,
                uuid=item.uuid,
                columns=None if stored is None else stored.columns,
                generated=generated,
                skim=None if stored is None else stored.skim,
                source=str(path),
            )
        )
    return Fileset(name, tuple(files), read_metadata(keys.metadata, f"{path}: metadata of {name!r}"), str(path))


def _check_steps(file: str, item: FileKeys, path: Path) -> None:
    """Refuse steps that leave out events."""
    if item.steps is None:
        return
    reached = 0
    for first, last in sorted(item.steps):
        if first != reached or last < first:
            break
        reached = last
    else:
        if item.num_entries is None or reached >= item.num_entries:
            return
    covered = sum(last - first for first, last in item.steps)
    of = "" if item.num_entries is None else f" of {item.num_entries}"
    raise ConfigError(
        f"{path}: the steps of {file} cover {covered}{of} events, not all of them one after the other: a search reads "
        "whole files, to which simulation is normalised; leave out steps"
    )


#: names of metadata in filesets -> the one used here
_ALIASES = {"xsec": "cross_section", "isMC": "data", "is_mc": "data", "isData": "data", "is_data": "data"}

#: metadata that a search uses
_USED = ("cross_section", "data", "sum_of_weights", "era", "year")

#: similarity of a key with a known one from which it is a mistake; others are the user's own
LIKE = 0.8

#: further metadata of `jettagger datasets`
RECORD = "jettagger"


def read_metadata(metadata: Mapping[str, Any], where: str) -> SampleMetadata:
    """The metadata of a data set that a search uses.

    Parameters
    ----------
    metadata : mapping
        Of a fileset. Numbers and truth values may be texts, as some programs write them.
    where : str
        Place of the metadata, for messages.

    Returns
    -------
    SampleMetadata

    Raises
    ------
    ConfigError
        If a value is of another kind, or a key is unknown but similar to one that is used; gives the nearest.

    Examples
    --------
    >>> read_metadata({"xsec": "831.8", "isMC": "True", "part": "1"}, "tt.json")
    SampleMetadata(cross_section=831.8, data=False, sum_of_weights=None, eras=(), unused=('part',))
    >>> read_metadata({"cros_section": 831.8}, "tt.json")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    jettagger.errors.ConfigError: tt.json: unknown metadata 'cros_section' (nearest: cross_section). Used are ...
    """
    known = [*_USED, *_ALIASES]
    values: dict[str, Any] = {}
    unused = []
    for key, value in metadata.items():
        name = _ALIASES.get(str(key), str(key))
        if name not in _USED:
            if _is_like(str(key), known) and key != RECORD:
                raise ConfigError(
                    f"{where}: unknown metadata {key!r}{hint(str(key), known)}. Used are {', '.join(known)}; others "
                    "may have any name that is not similar to these"
                )
            unused += [] if key == RECORD else [str(key)]
            continue
        if name in ("cross_section", "sum_of_weights"):
            read: Any = _number(value)
            expected = "a number above zero"
        elif name == "data":
            read = _truth(value)
            expected = "true or false"
            read = read if read is None or str(key).lower().replace("_", "") != "ismc" else not read
        else:
            is_text = isinstance(value, (str, int)) and not isinstance(value, bool)
            read, expected = (str(value) if is_text else None), "the name of an era"
        if read is None:
            raise ConfigError(f"{where}: {str(key)!r} must be {expected}, got {shown(value)}")
        if values.setdefault(name, read) != read:
            raise ConfigError(f"{where}: {str(key)!r} is {shown(value)}, but {name!r} is {values[name]!r} already")
    eras = tuple(values[key] for key in ("era", "year") if key in values)
    return SampleMetadata(
        values.get("cross_section"), values.get("data"), values.get("sum_of_weights"), eras, tuple(unused)
    )


def _is_like(key: str, known: Sequence[str]) -> bool:
    """Whether a key is one of the known ones with a spelling mistake."""
    folded = [name.lower().replace("_", "") for name in known]
    return bool(difflib.get_close_matches(key.lower().replace("_", ""), folded, n=1, cutoff=LIKE))


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) and number > 0 else None


def _truth(value: Any) -> bool | None:
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.lower())
    return value if isinstance(value, bool) else None


def select_datasets(
    filesets: Sequence[Mapping[str, Fileset]], names: Sequence[str], sample: str, where: str
) -> list[Fileset]:
    """The data sets of a sample in filesets.

    Parameters
    ----------
    filesets : sequence of dict of str to Fileset
        The content of each file.
    names : sequence of str
        Their names; empty: that of the sample, or the only one of a file.
    sample : str
    where : str
        The files, for messages.

    Returns
    -------
    list of Fileset

    Raises
    ------
    UnknownName
        If no file has one of them; gives the nearest.
    """
    known = list(dict.fromkeys(name for content in filesets for name in content))
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UnknownName("dataset", unknown, known, where)
    found: list[Fileset] = []
    for content in filesets:
        chosen = [content[name] for name in names if name in content]
        if not names:
            if sample not in content and len(content) > 1:
                raise UnknownName("dataset", sample, content, f"{where}, which holds several: give 'dataset'")
            chosen = [content.get(sample) or next(iter(content.values()))]
        found += chosen
    return found


guard(globals(), "read_fileset", "read_list")
