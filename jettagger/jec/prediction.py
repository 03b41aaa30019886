"""Predictions of a calibration for jets in files, from its ONNX model alone."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jettagger.arguments import guard
from jettagger.bundles.folder import MODEL
from jettagger.display import Brief
from jettagger.errors import MismatchError, MissingColumns, MissingModelFile, OutputError, hint, output_exists
from jettagger.files import complete_or_absent, refuse_inputs
from jettagger.files.jsonfile import parse_json
from jettagger.jec.constructed import GLOBAL, PT
from jettagger.jec.exporting import OUTPUT, SCHEMA
from jettagger.jec.rows import RawJets
from jettagger.jec.shards import JetFile, jets_of_files
from jettagger.jec.variables import mask_of
from jettagger.sessions import OrtSession, open_onnx
from jettagger.sessions.graph import inspect
from jettagger.types import Array, Bools, Rows

__all__ = [
    "Calibration",
    "JetPredictions",
    "load_calibration",
    "padded_inputs",
    "predict_files",
    "refuse_prediction",
    "write_predictions",
]

#: slots of a batch, all blocks together
SLOTS = 60_000


@dataclass(frozen=True)
class JetPredictions(Brief):
    """Predictions for the jets of files.

    Parameters
    ----------
    factors : float32[jets, outputs]
        Columns of the model, in the order of the files and of their jets; NaN for jets with values that are not finite,
        or a momentum that is not above 0.
    outputs : tuple of str
        Names of the columns.
    files : tuple of (str, int)
        Path and number of jets.
    """

    factors: Rows
    outputs: tuple[str, ...]
    files: tuple[tuple[str, int], ...]

    @property
    def logarithm(self) -> Rows:
        """ln of the factor on the raw momentum, float32[jets], as ``prediction.npy`` of the original has it."""
        values: Rows = np.log(self.factors[:, 0])
        return values

    @property
    def left_out(self) -> int:
        """Number of jets without a prediction."""
        return int(np.isnan(self.factors[:, 0]).sum())


@dataclass(frozen=True)
class Calibration(Brief):
    """The network of a calibration; made by `load_calibration`.

    Parameters
    ----------
    path : pathlib.Path
        Its ONNX file.
    branches : dict of str to tuple of str
        Block -> branches, in the order of the inputs.
    outputs : tuple of str
        Names of the columns.
    session : OrtSession
    """

    path: Path
    branches: Mapping[str, tuple[str, ...]]
    outputs: tuple[str, ...]
    session: OrtSession

    def factors(self, raw: RawJets) -> Rows:
        """All columns of the model.

        Parameters
        ----------
        raw : RawJets
            With its branches.

        Returns
        -------
        float32[jets, outputs]
            NaN for jets with values that are not finite, or a momentum that is not above 0.

        Raises
        ------
        MissingColumns
            Lists all branches that are missing.
        """
        _require(raw, self.branches, self.path)
        values = np.full((len(raw), len(self.outputs)), np.nan, dtype=np.float32)
        good = np.flatnonzero(_usable(raw, self.branches))
        lists = [raw.counts[block][good] for block in self.branches if block != GLOBAL]
        size = np.sum(lists, axis=0, dtype=np.int64) if lists else np.zeros(len(good), dtype=np.int64)
        order = good[np.argsort(size, kind="stable")]
        first = 0
        while first < len(order):
            last = self._end(raw, order, first)
            rows = order[first:last]
            values[rows] = self.session.run(padded_inputs(raw.take(rows), self.branches))[OUTPUT]
            first = last
        return values

    def _end(self, raw: RawJets, order: Array, first: int) -> int:
        """The end of a batch that is not too large once it is padded."""
        last = min(first + SLOTS, len(order))
        blocks = [block for block in self.branches if block != GLOBAL]
        while last > first + 1:
            longest = sum(int(raw.counts[block][order[first:last]].max()) for block in blocks)
            if longest * (last - first) <= SLOTS:
                break
            last = first + max((last - first) // 2, 1)
        return last


def load_calibration(folder: str | os.PathLike[str], *, threads: int | None = None) -> Calibration:
    """Open the network of a calibration.

    Parameters
    ----------
    folder : path
        Output of ``jettagger jec train``.
    threads : int, optional
        Threads of ONNX Runtime; default: one.

    Returns
    -------
    Calibration

    Raises
    ------
    MissingModelFile
        If there is no network.
    ModelFileError
        If it cannot be opened.
    MismatchError
        If it is none of a calibration.
    """
    import onnx

    path = Path(folder) / MODEL
    if not path.is_file():
        expected = "the output folder of jettagger jec train"
        raise MissingModelFile(
            f"{path} does not exist, expected {expected}", where=f"{path}", got="does not exist", expected=expected
        )
    graph = inspect(path)
    properties = {item.key: item.value for item in onnx.load(path, load_external_data=False).metadata_props}
    try:
        content = parse_json(properties[SCHEMA], f"{path}, entry {SCHEMA}")
        branches = {str(block): tuple(map(str, names)) for block, names in content["branches"].items()}
        outputs = tuple(map(str, content["outputs"]))
    except Exception as error:
        raise MismatchError(
            f"{path} is not the network of a calibration: it does not say which branches it reads, expected the output "
            "of jettagger jec train"
        ) from error
    return Calibration(path, branches, outputs, open_onnx(graph, threads))


def padded_inputs(raw: RawJets, branches: Mapping[str, Sequence[str]]) -> dict[str, Rows]:
    """The inputs of the ONNX model.

    Parameters
    ----------
    raw : RawJets
    branches : mapping of str to sequence of str
        Block -> branches.

    Returns
    -------
    dict of str to float32[jets, branches, length]
        ``global`` without the last axis; types of constituents, and their masks.
    """
    made: dict[str, Rows] = {}
    for block, names in branches.items():
        if block == GLOBAL:
            made[block] = np.stack([np.asarray(raw.columns[name], dtype=np.float32) for name in names], axis=1)
            continue
        counts = np.asarray(raw.counts[block])
        mask: Bools = np.arange(max(int(counts.max(initial=0)), 1)) < counts[:, None]
        values = np.zeros((len(counts), len(names), mask.shape[1]), dtype=np.float32)
        for place, name in enumerate(names):
            values[:, place][mask] = raw.columns[name]
        made[block], made[mask_of(block)] = values, mask[:, None].astype(np.float32)
    return made


def predict_files(
    model: str | os.PathLike[str] | Calibration,
    files: Iterable[JetFile | str | os.PathLike[str]],
    *,
    download: str | None = None,
) -> JetPredictions:
    """Predictions for files of jets.

    Parameters
    ----------
    model : path or Calibration
        Output folder of ``jettagger jec train``.
    files : iterable of path or JetFile
        Files with a tree ``Jets``.
    download : str, optional
        As for `jettagger.jec.shards.open_data`.

    Returns
    -------
    JetPredictions

    Raises
    ------
    MissingModelFile, ModelFileError, MismatchError
        As for `load_calibration`.
    InputFileError
        If a file cannot be read.
    MissingColumns
        Lists all branches that are missing.
    """
    calibration = model if isinstance(model, Calibration) else load_calibration(model)
    branches = {GLOBAL: (), **calibration.branches}
    parts = [np.zeros((0, len(calibration.outputs)), dtype=np.float32)]
    numbers: dict[str, int] = {}
    for file, _, raw in jets_of_files(files, branches, download=download):
        parts.append(calibration.factors(raw))
        numbers[file.path] = numbers.get(file.path, 0) + len(raw)
    return JetPredictions(np.concatenate(parts), calibration.outputs, tuple(numbers.items()))


def refuse_prediction(
    path: str | os.PathLike[str], *, force: bool = False, inputs: Iterable[str | os.PathLike[str]] = ()
) -> None:
    """Refuse a file of predictions that cannot be written, before any work is done.

    Parameters
    ----------
    path : path
    force : bool
        Whether an existing file may be replaced.
    inputs : iterable of path
        Files that must not be replaced.

    Raises
    ------
    OutputError
        If it exists, is one of the inputs, or is neither ``.npy`` nor ``.npz``.
    """
    target = Path(path)
    if target.suffix not in (".npy", ".npz"):
        raise OutputError(f"cannot write {target}: expected a name that ends with .npy or .npz")
    refuse_inputs(target, inputs)
    if target.exists() and not force:
        raise output_exists(target)
    if not target.parent.is_dir():
        raise OutputError(f"cannot write {target}: the folder {target.parent} does not exist")


def write_predictions(path: str | os.PathLike[str], predictions: JetPredictions, *, force: bool = False) -> None:
    """Write predictions for NumPy, complete or not at all.

    Parameters
    ----------
    path : path
        ``.npy``: `JetPredictions.logarithm`, as ``prediction.npy`` of the original; ``.npz``: an array for each column.
    predictions : JetPredictions
    force : bool
        Whether an existing file may be replaced.

    Raises
    ------
    OutputError
        As for `refuse_prediction`, and if the file cannot be written.
    """
    refuse_prediction(path, force=force)
    with complete_or_absent(path) as part, part.open("wb") as file:
        if Path(path).suffix == ".npy":
            np.save(file, predictions.logarithm, allow_pickle=False)
        else:
            np.savez(file, **dict(zip(predictions.outputs, predictions.factors.T, strict=True)))


def _require(raw: RawJets, branches: Mapping[str, Sequence[str]], path: Path) -> None:
    missing = [name for names in branches.values() for name in names if name not in raw.columns]
    if missing:
        shown = ", ".join(f"{name}{hint(name, raw.columns)}" for name in missing)
        raise MissingColumns(f"{len(missing)} branches that {path} reads are missing: {shown}")


def _usable(raw: RawJets, branches: Mapping[str, Sequence[str]]) -> Bools:
    """Jets all of whose values are finite."""
    good = np.ones(len(raw), dtype=bool)
    for block, names in branches.items():
        for name in names:
            values = np.asarray(raw.columns[name])
            fine = np.isfinite(values) & (values > 0) if name == PT else np.isfinite(values)
            if block == GLOBAL:
                good &= fine
            elif not fine.all():
                jets = np.repeat(np.arange(len(raw)), raw.counts[block])
                good[jets[~fine]] = False
    return good


guard(globals())
