"""Files of jets with their numbers and transforms: a folder or an fsspec location, as ml-jec has it.

A location has ``data.yaml``, the list of files with their numbers of jets, ``transform.yaml``, and the files: a tree
``Jets`` with one entry per jet, numbers for the jet, vectors for its constituents and their number ``<type>_size``.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from jettagger.arguments import guard
from jettagger.config.models import Between, FileModel, validated
from jettagger.config.yamlfile import Document, kind_of, read_yaml, yaml_text
from jettagger.display import Brief
from jettagger.errors import (
    ConfigError,
    InputFileError,
    InvalidValues,
    MismatchError,
    MissingColumns,
    MissingExtra,
    OutputError,
    hint,
    reason_of,
)
from jettagger.files import complete_or_absent, identity, refuse_repeats, refuse_special
from jettagger.files.root import EventFile, write_tree
from jettagger.jec.configuration import JecConfig, is_remote
from jettagger.jec.constructed import GLOBAL
from jettagger.jec.rows import RawJets
from jettagger.jec.transforms import Transforms, read_transform
from jettagger.types import Array

__all__ = [
    "DATA",
    "TRANSFORM",
    "TREE",
    "JetData",
    "JetFile",
    "JetSplit",
    "branch_names",
    "jet_files",
    "jets_of_files",
    "open_data",
    "read_shard",
    "split_files",
    "write_data",
    "write_shard",
]

#: names of the files of a location
DATA, TRANSFORM = "data.yaml", "transform.yaml"

#: name of the tree with one entry per jet
TREE = "Jets"

#: jets that are read at a time, and those that are compressed together when they are written
_STEP, _BASKET = 20_000, 5_000


class DataEntry(FileModel):
    """One file of jets."""

    path: Annotated[str, Field(min_length=1)] = Field(description="path, relative to the location")
    count: Annotated[int, Between(0)] = Field(description="number of jets")


class DataFile(FileModel):
    """The content of ``data.yaml``, a list."""

    files: Annotated[tuple[DataEntry, ...], Field(strict=False, min_length=1)] = Field(description="the files")


@dataclass(frozen=True)
class JetFile(Brief):
    """A file of jets.

    Parameters
    ----------
    path : str
        Local path or URL.
    count : int or None
        Number of jets that it should have; None if nothing says it.
    where : str
        Where the number comes from, for messages.
    """

    path: str
    count: int | None = None
    where: str = ""


@dataclass(frozen=True)
class JetSplit(Brief):
    """The files of a training.

    Parameters
    ----------
    train, validation, test : tuple of JetFile
    unused : int
        Number of files that are in none of them.
    """

    train: tuple[JetFile, ...]
    validation: tuple[JetFile, ...]
    test: tuple[JetFile, ...]
    unused: int = 0


@dataclass(frozen=True)
class JetData(Brief):
    """A location of jets; made by `open_data`.

    Parameters
    ----------
    location : str
        Folder or URL.
    files : tuple of JetFile
        In the order of ``data.yaml``.
    download : str or None
        Folder in which remote files are kept; None: they are read in place.
    """

    location: str
    files: tuple[JetFile, ...]
    download: str | None = None

    def __len__(self) -> int:
        return sum(file.count or 0 for file in self.files)

    def transforms(self, *, legacy_closure: bool = False) -> Transforms:
        """The transforms of ``transform.yaml``.

        Parameters
        ----------
        legacy_closure : bool
            As for `jettagger.jec.Transforms`.

        Returns
        -------
        Transforms

        Raises
        ------
        InputFileError
            If the file cannot be read.
        ConfigError
            If it is invalid.
        """
        place = _joined(self.location, TRANSFORM)
        return read_transform(_text(place), name=place, legacy_closure=legacy_closure)

    def checked_transforms(self, config: JecConfig) -> Transforms:
        """Those of ``transform.yaml``, compared with the features and with the branches of the first file.

        Parameters
        ----------
        config : JecConfig

        Returns
        -------
        Transforms

        Raises
        ------
        ConfigError
            If a transform belongs to no feature, or to one of the other kind, or a categorical feature has no values.
        """
        transforms = self.transforms(legacy_closure=config.data.legacy_closure)
        blocks = config.features.values()
        transforms.check(
            [name for block in blocks for name in block.numerical],
            [name for block in blocks for name in block.categorical],
            sorted(branch_names(self.files[0], download=self.download)),
        )
        return transforms


def open_data(location: str | os.PathLike[str], *, download: str | os.PathLike[str] | None = None) -> JetData:
    """Read ``data.yaml`` of a location.

    Parameters
    ----------
    location : path or str
        Folder, or URL of any file system of fsspec.
    download : path, optional
        Folder in which the files of a remote location are kept; they are copied again if they have changed. Default:
        they are read in place.

    Returns
    -------
    JetData

    Raises
    ------
    InputFileError
        If the location cannot be read.
    ConfigError
        If ``data.yaml`` is invalid, or has a file twice.
    MissingExtra
        If the package for this kind of location is not installed.
    """
    location = os.fspath(location)
    place = _joined(location, DATA)
    document = read_yaml(_text(place), place)
    if not isinstance(document.data, list):
        got = kind_of(document.data)
        raise ConfigError(f"{document.where()}: expected a list of {{path: ..., count: ...}}, got {got}")
    lines = {("files", *path): line for path, line in document.lines.items()}
    content = validated(DataFile, Document({"files": document.data}, place, lines))
    seen: dict[Any, int] = {}
    files = []
    for number, entry in enumerate(content.files):
        path = _joined(location, entry.path)
        key = identity(path)
        if key in seen:
            first = content.files[seen[key]].path
            raise ConfigError(f"{document.where(number)}: {entry.path} is listed twice, first as {first}")
        seen[key] = number
        files.append(JetFile(path, entry.count, document.where(number)))
    return JetData(location, tuple(files), None if download is None else os.fspath(download))


def jet_files(
    paths: Iterable[str | os.PathLike[str]], *, download: str | os.PathLike[str] | None = None
) -> tuple[JetFile, ...]:
    """The files of jets that users name.

    Parameters
    ----------
    paths : iterable of path or str
        Files ``.root``, or folders and URLs of locations with a ``data.yaml``, in order.
    download : path, optional
        As for `open_data`.

    Returns
    -------
    tuple of JetFile
        The number of jets is known from ``data.yaml`` or None.

    Raises
    ------
    InputFileError
        If there is no such file or location.
    MismatchError
        If a file is given twice.
    """
    listed: list[JetFile] = []
    for item in paths:
        path = os.fspath(item)
        if path.endswith(".root"):
            listed.append(JetFile(path))
        elif is_remote(path) or os.path.isdir(path):
            listed += open_data(path, download=download).files
        else:
            refuse_special(path)
            if not os.path.exists(path):
                raise InputFileError(f"no such file: {path}")
            raise InputFileError(f"{path} is neither a file .root of jets nor a folder with a {DATA}")
    refuse_repeats(file.path for file in listed)
    return tuple(listed)


def split_files(files: Sequence[JetFile], split: Sequence[int], *, predict: bool = True, where: str = "") -> JetSplit:
    """Divide files into those for training, validation and test, in their order.

    Parameters
    ----------
    files : sequence of JetFile
    split : sequence of int
        Three numbers of files; at most one -1 stands for the rest.
    predict : bool
        Whether the test files are needed, so that there must be one. Without, their number may be 0.
    where : str
        Place of the split, for messages.

    Returns
    -------
    JetSplit

    Raises
    ------
    ConfigError
        If there are too few files, or a part has no jets.

    Examples
    --------
    >>> files = [JetFile(f"{number}.root", 10) for number in range(5)]
    >>> parts = split_files(files, [3, 1, -1])
    >>> [[file.path for file in part] for part in (parts.train, parts.validation, parts.test)]
    [['0.root', '1.root', '2.root'], ['3.root'], ['4.root']]
    """
    place = f"{where}: " if where else ""
    if len(split) != 3 or min(split) < -1 or list(split).count(-1) > 1:
        raise ConfigError(
            f"{place}the split {list(split)} is not three numbers [train, validation, test], at most one of them -1"
        )
    named = sum(number for number in split if number > 0)
    if named > len(files):
        raise ConfigError(f"{place}the split {list(split)} asks for {named} files, there are {len(files)}")
    numbers = [len(files) - named if number == -1 else number for number in split]
    parts, first = [], 0
    for name, number, asked in zip(("training", "validation", "test"), numbers, split, strict=True):
        part = tuple(files[first : first + number])
        first += number
        counts = [file.count for file in part if file.count is not None]
        empty = not part or (len(counts) == len(part) and not sum(counts))
        if empty and (name != "test" or predict or asked):
            what = f"{number} files without jets" if part else "no file"
            raise ConfigError(f"{place}the split {list(split)} of {len(files)} files leaves {what} for the {name}")
        parts.append(part)
    train, validation, test = parts
    return JetSplit(train, validation, test, len(files) - first)


def read_shard(
    file: JetFile | str | os.PathLike[str],
    branches: Mapping[str, Sequence[str]],
    *,
    start: int = 0,
    stop: int | None = None,
    download: str | None = None,
) -> RawJets:
    """Read branches of a file of jets.

    Parameters
    ----------
    file : JetFile, path or str
    branches : mapping of str to sequence of str
        Block -> branches, as of `jettagger.jec.rows.branches_of`; those of ``global`` have one value per jet.
    start, stop : int
        Range of jets.
    download : str, optional
        As for `open_data`.

    Returns
    -------
    RawJets
        With the types of the file.

    Raises
    ------
    InputFileError
        If the file cannot be read, or sizes do not add up.
    MismatchError
        If it does not have the number of jets of ``data.yaml``.
    MissingColumns
        Lists all branches that are missing.
    """
    return _single(jets_of_files([file], branches, start=start, stop=stop, step=0, download=download))


def _single(pieces: Iterator[tuple[JetFile, int, RawJets]]) -> RawJets:
    [(_, _, jets)] = pieces
    return jets


def jets_of_files(
    files: Iterable[JetFile | str | os.PathLike[str]],
    branches: Mapping[str, Sequence[str]],
    *,
    start: int = 0,
    stop: int | None = None,
    step: int = _STEP,
    download: str | None = None,
) -> Iterator[tuple[JetFile, int, RawJets]]:
    """Read files of jets one after the other, in pieces.

    Parameters
    ----------
    files : iterable of JetFile, path or str
    branches : mapping of str to sequence of str
        As for `read_shard`.
    start, stop : int
        Range of jets in each file.
    step : int
        Maximum number of jets of a piece; 0: each file is one.
    download : str, optional
        As for `open_data`.

    Yields
    ------
    file : JetFile
    first : int
        Position of the first jet of the piece in its file.
    jets : RawJets

    Raises
    ------
    InputFileError, MismatchError, MissingColumns
        As for `read_shard`.
    """
    for item in files:
        file = item if isinstance(item, JetFile) else JetFile(os.fspath(item))
        with _opened(file, download) as tree:
            _require(tree, branches)
            last = tree.n_events if stop is None else min(stop, tree.n_events)
            size = step or max(last - start, 1)
            for first in range(start, max(last, start + 1), size):
                yield file, first, _read(tree, branches, first, min(first + size, last))


def branch_names(file: JetFile | str | os.PathLike[str], *, download: str | None = None) -> frozenset[str]:
    """The branches of a file of jets.

    Parameters
    ----------
    file : JetFile, path or str
    download : str, optional
        As for `open_data`.

    Returns
    -------
    frozenset of str

    Raises
    ------
    InputFileError
        If the file cannot be read.
    MismatchError
        If it does not have the number of jets of ``data.yaml``.
    """
    with _opened(file if isinstance(file, JetFile) else JetFile(os.fspath(file)), download) as tree:
        return tree.names


def _opened(file: JetFile, download: str | None) -> EventFile:
    tree = EventFile(_downloaded(file.path, download), TREE)
    if file.count is not None and tree.n_events != file.count:
        tree.close()
        raise MismatchError(f"{file.path} has {tree.n_events} jets, expected {file.count} as in {file.where or DATA}")
    return tree


def _require(tree: EventFile, branches: Mapping[str, Sequence[str]]) -> None:
    needed = [name for names in branches.values() for name in names]
    needed += [f"{block}_size" for block in branches if block != GLOBAL]
    missing = [name for name in dict.fromkeys(needed) if name not in tree.names]
    if missing:
        listed = ", ".join(f"{name}{hint(name, tree.names)}" for name in missing)
        raise MissingColumns(f"{tree.path} lacks {len(missing)} of {len(needed)} branches that are needed: {listed}")


def _read(tree: EventFile, branches: Mapping[str, Sequence[str]], start: int, stop: int) -> RawJets:
    import awkward as ak

    sizes = [f"{block}_size" for block in branches if block != GLOBAL]
    arrays = tree.arrays([*(name for names in branches.values() for name in names), *sizes], start, stop)
    columns: dict[str, Array] = {}
    counts = {}
    for block, names in branches.items():
        size = None
        if block != GLOBAL:
            size = np.asarray(arrays[f"{block}_size"]).astype(np.int64)
            counts[block] = size
        for name in names:
            layout = ak.to_layout(arrays[name])
            if layout.is_list == (size is None):
                got, expected = ("a list", "one value") if size is None else ("one value", "a list")
                raise InputFileError(
                    f"{tree.path}: {name} has {got} per jet, expected {expected}, since it is read for {block!r}"
                )
            if size is None:
                columns[name] = _numbers(tree, name, arrays[name])
                continue
            lengths = np.asarray(ak.num(arrays[name]))
            wrong = np.flatnonzero(lengths != size)
            if len(wrong):
                jet = int(wrong[0])
                raise InputFileError(
                    f"{tree.path}: {name} has {lengths[jet]} values in jet {start + jet}, expected {size[jet]}, its "
                    f"{block}_size; sizes differ in {len(wrong)} of {len(size)} jets"
                )
            columns[name] = _numbers(tree, name, ak.flatten(arrays[name]))
    try:
        return RawJets(columns, counts)
    except InvalidValues as error:
        raise InputFileError(f"{tree.path}: {error}") from error


def _numbers(tree: EventFile, name: str, values: Any) -> Array:
    try:
        numbers = np.asarray(values)
    except (TypeError, ValueError) as error:
        raise InputFileError(f"{tree.path}: {name} cannot be read as numbers: {reason_of(error)}") from error
    if numbers.ndim != 1 or numbers.dtype.kind not in "biuf":
        raise InputFileError(f"{tree.path}: {name} has the type {numbers.dtype}, expected numbers")
    return numbers


def write_shard(path: str | os.PathLike[str], jets: RawJets, *, force: bool = False, note: str = "") -> None:
    """Write jets to a file, complete or not at all.

    Parameters
    ----------
    path : path
        Local file, ``.root``.
    jets : RawJets
        Branches of constituents have their type in front, ``ch_pt``.
    force : bool
        Whether an existing file is replaced.
    note : str
        Provenance, stored in the file as the object ``jettagger``.

    Raises
    ------
    OutputError
        If the file exists already, or cannot be written.
    """
    starts = range(0, max(len(jets), 1), _BASKET)
    pieces = (_tree(jets.take(np.arange(first, min(first + _BASKET, len(jets))))) for first in starts)
    with complete_or_absent(path, force=force) as part:
        write_tree(part, pieces, tree=TREE, note=note, counter="{}_size")


def _tree(jets: RawJets) -> dict[str, Any]:
    """Columns of a tree."""
    import awkward as ak

    content: dict[str, Any] = {}
    for block, counts in jets.counts.items():
        names = [name for name in jets.columns if jets.block(name) == block]
        if not names:
            content[f"{block}_size"] = np.asarray(counts, dtype=np.int32)
        for name in names:
            content[name] = ak.unflatten(jets.columns[name], np.asarray(counts, dtype=np.int64))
    content.update({name: values for name, values in jets.columns.items() if not jets.block(name)})
    return content


def write_data(location: str | os.PathLike[str], counts: Mapping[str, int], *, force: bool = False) -> None:
    """Write ``data.yaml``.

    Parameters
    ----------
    location : path
        Folder.
    counts : mapping of str to int
        Path, relative to the folder -> number of jets, in order.
    force : bool
        Whether an existing file is replaced.

    Raises
    ------
    OutputError
        If the file exists already, or cannot be written.
    """
    content = [{"path": path, "count": int(count)} for path, count in counts.items()]
    with complete_or_absent(Path(location) / DATA, force=force) as part:
        part.write_text(yaml_text(content), encoding="utf-8")


def _joined(location: str, path: str) -> str:
    if is_remote(location):
        return posixpath.join(location, path)
    return os.path.join(location, path)


def _text(place: str) -> str:
    """The text of a file, local or not."""
    try:
        return _bytes(place).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputFileError(f"cannot read {place}: it is not text: {error}") from error


def _bytes(place: str) -> bytes:
    if not is_remote(place):
        try:
            return Path(place).read_bytes()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or reason_of(error)
            raise InputFileError(f"cannot read {place}: {reason}{_beside(place)}") from error
    import fsspec

    try:
        with fsspec.open(place, "rb") as file:
            content: bytes = file.read()
            return content
    except Exception as error:  # of any library for a file system
        raise _unreadable(place, error) from error


def _beside(place: str) -> str:
    """What the folder has instead of a file."""
    folder = os.path.dirname(place)
    if not os.path.isdir(folder):
        return f"; there is no folder {folder}"
    return hint(os.path.basename(place), os.listdir(folder))


def _unreadable(place: str, error: Exception) -> InputFileError | MissingExtra:
    if isinstance(error, ImportError):
        return MissingExtra(
            f"cannot read {place}: a package for this kind of location is missing: {reason_of(error)}",
            where=place,
            got=reason_of(error),
            expected="a package for this kind of location",
        )
    return InputFileError(f"cannot read {place}: {type(error).__name__}: {reason_of(error)}")


def _downloaded(path: str, folder: str | None) -> str:
    """A path to read from: that of the copy of a remote file if there is a folder for them."""
    if folder is None or not is_remote(path):
        return path
    import fsspec

    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror or error}") from error
    try:
        copy: str = fsspec.open_local(f"filecache::{path}", filecache={"cache_storage": folder, "check_files": True})
        return copy
    except Exception as error:  # of any library for a file system
        raise _unreadable(path, error) from error


guard(globals())
