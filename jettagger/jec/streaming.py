"""Jets for a training: prepared once, shuffled across files on disk, streamed in batches at constant memory."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.display import Brief
from jettagger.errors import InputFileError, InvalidValues, JettaggerError, OutputError, reason_of
from jettagger.files import folder_complete_or_absent
from jettagger.files.jsonfile import read_object
from jettagger.files.root import EventFile
from jettagger.jec.configuration import FeatureBlock, JecConfig, is_remote
from jettagger.jec.rows import FeatureLayout, JetRows, branches_of, prepare, with_target
from jettagger.jec.shards import TREE, JetFile, JetSplit, jets_of_files, open_data, split_files
from jettagger.jec.transforms import Transforms
from jettagger.runtime.codedigest import digest_of
from jettagger.training.ragged import RaggedStore, repeated_batches

__all__ = ["JetStream", "TrainingSets", "prepared_jets", "training_sets"]

#: jets that are read at a time: at most these, or those in this part of the memory
_STEP, _PARTS = 20_000, 16

#: file that a complete folder of prepared jets has
MARKER = "jets.json"


@dataclass(frozen=True)
class JetStream(Brief):
    """Prepared jets on disk.

    Parameters
    ----------
    store : RaggedStore
    layout : FeatureLayout
        The features of each block.
    seed : int
    dropped : int
        Number of jets that were left out, since their true momentum is not above 0.
    """

    store: RaggedStore
    layout: FeatureLayout
    seed: int = 1
    dropped: int = 0

    def __len__(self) -> int:
        return self.store.rows

    def batches(self, size: int, *, start: int = 0) -> Iterator[JetRows]:
        """Full batches of jets in random order, without an end: each pass has another order.

        Parameters
        ----------
        size : int
            Jets per batch.
        start : int
            Number of batches that are left out at the beginning, e.g. those before an interruption.

        Yields
        ------
        JetRows
        """

        def random(number: int) -> np.random.Generator:
            return np.random.default_rng([self.seed, 11, number])

        for rows in repeated_batches(self.store, size, random, start=start):
            yield JetRows.unpacked(rows, self.layout)

    def __iter__(self) -> Iterator[JetRows]:
        """All jets once, in pieces, in the same order each time."""
        for rows in self.store:
            for first in range(0, len(rows), _STEP):
                piece = rows.take(np.arange(first, min(first + _STEP, len(rows))))
                yield JetRows.unpacked(piece, self.layout)


@dataclass(frozen=True)
class TrainingSets(Brief):
    """What a training reads.

    Parameters
    ----------
    train, validation : JetStream
    files : JetSplit
        The files of all parts; those for the test are read by `prepared_jets`.
    transforms : Transforms
    """

    train: JetStream
    validation: JetStream
    files: JetSplit
    transforms: Transforms


def prepared_jets(
    files: Iterable[JetFile],
    features: Mapping[str, FeatureBlock],
    transforms: Transforms,
    *,
    target: bool = True,
    download: str | None = None,
    memory: int = 1_000_000_000,
) -> Iterator[tuple[JetFile, JetRows, int]]:
    """Read and prepare files of jets one after the other, in pieces.

    Parameters
    ----------
    files : iterable of JetFile
    features : mapping of str to FeatureBlock
        The section ``features`` of a configuration.
    transforms : Transforms
    target : bool
        Whether the target is needed: jets without a true momentum above 0 are left out then. Otherwise all jets are
        kept, with the target NaN.
    download : str, optional
        As for `jettagger.jec.open_data`.
    memory : int
        Memory in bytes; pieces are a fraction of it.

    Yields
    ------
    file : JetFile
    jets : JetRows
        Of one file, in its order.
    dropped : int
        Number of jets of the piece that were left out.

    Raises
    ------
    InputFileError, MismatchError, MissingColumns
        If a file cannot be read, or lacks branches.
    InvalidValues
        If values cannot be used; gives the file and the jets.
    """
    branches = branches_of(features, target=target)
    step = 0
    for file in files:
        step = step or _step(file, branches, memory, download)
        for _, first, raw in jets_of_files([file], branches, step=step, download=download):
            jets, dropped = with_target(raw) if target else (raw, 0)
            with _naming(f"{file.path}, from jet {first}"):
                rows = prepare(jets, features, transforms)
            yield file, rows, dropped


@contextmanager
def _naming(place: str) -> Iterator[None]:
    try:
        yield
    except JettaggerError as error:
        raise error.placed(place) from error


def _step(file: JetFile, branches: Mapping[str, Iterable[str]], memory: int, download: str | None) -> int:
    """Number of jets to read at a time."""
    if download is not None and is_remote(file.path):
        return _STEP
    with EventFile(file.path, TREE) as tree:
        size = tree.bytes_per_event(name for names in branches.values() for name in names if name in tree.names)
    return int(np.clip(memory / _PARTS / max(size, 1.0), 100, _STEP))


@contextmanager
def training_sets(config: JecConfig, *, folder: str | os.PathLike[str] | None = None) -> Iterator[TrainingSets]:
    """Read and prepare the jets of a configuration.

    Parameters
    ----------
    config : JecConfig
    folder : path, optional
        Existing folder for the prepared jets, which are removed at the end; default: that for temporary files. With
        ``data.cache``, those of the training set are kept there.

    Yields
    ------
    TrainingSets

    Raises
    ------
    ConfigError
        If a part of the split is empty, or transforms do not belong to the features.
    InputFileError, MismatchError, MissingColumns
        If a file cannot be read, has another number of jets than ``data.yaml``, or lacks branches.
    InvalidValues
        If values cannot be used, or no jet is left.
    OutputError
        If the prepared jets cannot be written.
    """
    options = config.data
    data = open_data(options.location, download=options.download)
    split = split_files(data.files, options.split, predict=config.predict, where="data.split")
    transforms = data.checked_transforms(config)
    try:
        scratch = tempfile.TemporaryDirectory(dir=folder, prefix="jets-")
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror or error}") from error
    with scratch as name:
        train = _stream(config, split.train, transforms, Path(name) / "train", options.cache, "training")
        validation = _stream(config, split.validation, transforms, Path(name) / "validation", None, "validation")
        yield TrainingSets(train, validation, split, transforms)


def _stream(
    config: JecConfig, files: tuple[JetFile, ...], transforms: Transforms, place: Path, cache: str | None, part: str
) -> JetStream:
    if cache is None:
        place.mkdir()
        return _filled(config, files, transforms, place, part)
    kept = Path(cache) / _key(config, files, transforms)
    if not (kept / MARKER).is_file():
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write {kept.parent}: {error.strerror or error}") from error
        with folder_complete_or_absent(kept, marker=MARKER) as written:
            _filled(config, files, transforms, written, part)
    return _reopened(config, kept)


def _filled(config: JecConfig, files: tuple[JetFile, ...], transforms: Transforms, place: Path, part: str) -> JetStream:
    """Prepare jets and distribute them over shards."""
    layout, options = FeatureLayout.of(config.features), config.data
    pieces = prepared_jets(files, config.features, transforms, download=options.download, memory=options.memory)
    dropped = 0
    for _, first, without in pieces:  # the first jets tell how large all of them are
        dropped += without
        if len(first):
            break
    else:
        raise InvalidValues(f"no jets for the {part}: {dropped} of {dropped} have no pt_gen above 0")
    packed = first.packed()
    size = packed.numbers.nbytes + sum(values.nbytes for values in packed.lists.values())
    size = size * max(sum(file.count or 0 for file in files), len(first)) // len(first)
    with RaggedStore(place, layout.width, layout.lists, size, options.memory, config.train.seed) as store:
        store.add(packed)
        for _, jets, without in pieces:
            store.add(jets.packed())
            dropped += without
    about = {"shards": store.shards, "rows": store.rows, "dropped": dropped}
    (place / MARKER).write_text(json.dumps(about), encoding="utf-8")
    return JetStream(store, layout, config.train.seed, dropped)


def _reopened(config: JecConfig, place: Path) -> JetStream:
    layout = FeatureLayout.of(config.features)
    try:
        about = read_object(place / MARKER)
        shards, rows, dropped = (int(about[key]) for key in ("shards", "rows", "dropped"))
    except (InputFileError, ValueError, KeyError, TypeError) as error:
        raise InputFileError(f"{place / MARKER} is damaged: {reason_of(error)}; remove the folder") from error
    store = RaggedStore.reopened(place, layout.width, layout.lists, shards, rows)
    return JetStream(store, layout, config.train.seed, dropped)


def _key(config: JecConfig, files: tuple[JetFile, ...], transforms: Transforms) -> str:
    """Name of the folder of prepared jets: everything that they depend on."""
    about: dict[str, Any] = {
        "files": [[file.path, file.count, _state(file.path)] for file in files],
        "features": {name: block.model_dump(mode="json") for name, block in config.features.items()},
        "transforms": {**asdict(transforms), "where": ""},
        "memory": config.data.memory,
        "seed": config.train.seed,
        "code": digest_of(resources("jettagger") / "jec"),
    }
    return f"jets-{hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]}"


def _state(path: str) -> Any:
    """What changes with the content of a file."""
    if not is_remote(path):
        try:
            status = os.stat(path)
        except OSError as error:
            raise InputFileError(f"cannot read {path}: {error.strerror or error}") from error
        return [status.st_size, status.st_mtime_ns]
    import fsspec

    try:
        system, inside = fsspec.core.url_to_fs(path)
        return str(system.ukey(inside))
    except Exception as error:  # of any library for a file system
        raise InputFileError(f"cannot read {path}: {type(error).__name__}: {reason_of(error)}") from error


guard(globals())
