"""Weights of the original: NumPy archives with the names of its layers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np

from jettagger.arguments import Kind, guard
from jettagger.display import Brief
from jettagger.errors import InputFileError, MismatchError, MissingColumns, hint, reason_of, require
from jettagger.files import refuse_special
from jettagger.jec.architecture import HEAD, Architecture, architecture_of
from jettagger.jec.constructed import GLOBAL
from jettagger.jec.network import build_network, set_weights
from jettagger.types import Array

__all__ = ["ImportedModel", "import_weights", "read_weights", "write_weights"]

_Network = Annotated[Any, Kind("a network of build_network", lambda value: hasattr(value, "architecture"))]

#: front of the names in the archives
_FRONT = "W::"


def read_weights(path: str | os.PathLike[str]) -> dict[str, Array]:
    """The weights in an archive of NumPy.

    Parameters
    ----------
    path : path
        ``.npz`` with arrays ``W::<layer>/kernel:0`` and the like; other arrays in it are ignored. Without such a front,
        all arrays are weights.

    Returns
    -------
    dict of str to float[inputs, units]
        Name without the front -> weights; those of biases have one axis.

    Raises
    ------
    InputFileError
        If it cannot be read, or has no weights.
    """
    refuse_special(path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            fronted = any(name.startswith(_FRONT) for name in archive.files)
            names = [name for name in archive.files if name.startswith(_FRONT) or not fronted]
            weights = {name.removeprefix(_FRONT): np.asarray(archive[name]) for name in names}
    except Exception as error:  # whatever damage does to those who read it
        raise InputFileError(
            f"{os.fspath(path)} cannot be read as weights: {reason_of(error)}; expected an archive of NumPy (.npz) "
            "with one array for each weight"
        ) from error
    wrong = [name for name, value in weights.items() if value.dtype.kind != "f" or not np.isfinite(value).all()]
    if wrong or not weights:
        found = f"{', '.join(wrong)} are not finite numbers" if wrong else "it has no arrays"
        raise InputFileError(f"{os.fspath(path)} has no weights of a network: {found}")
    return weights


def write_weights(path: str | os.PathLike[str], weights: Mapping[str, Array]) -> None:
    """Write weights as `read_weights` reads them.

    Parameters
    ----------
    path : path
    weights : mapping of str to float[inputs, units]
        As `read_weights` returns them.
    """
    with open(path, "wb") as file:
        np.savez(file, allow_pickle=False, **{_FRONT + name: value for name, value in weights.items()})


class ImportedModel(Brief):
    """A network of the original with its weights, called with arrays as the original gave them to it.

    Parameters
    ----------
    network : torch.nn.Module
        See `jettagger.jec.network.build_network`.
    """

    def __init__(self, network: _Network) -> None:
        self.network = network.eval()
        self.architecture: Architecture = network.architecture

    def __repr__(self) -> str:
        types = ", ".join(fragment.name for fragment in self.architecture.constituents)
        return f"ImportedModel({types or 'no constituents'}, {self.architecture.parameters:,} parameters)"

    def __call__(self, arrays: Mapping[str, Any]) -> Array:
        """The predictions.

        Parameters
        ----------
        arrays : mapping of str to array
            ``global_numerical``, float[jets, features]; for each type of constituents ``<type>_numerical__flat``,
            float[constituents, features], and ``<type>_numerical__lengths``, int[jets]; for each categorical feature
            ``<feature>__flat``, int[constituents], or ``<feature>``, int[jets]: indices of the allowed values; any
            other index is an unseen value. Other arrays are ignored.

        Returns
        -------
        float32[jets]
            ln(pt_true / pt_raw); float32[jets, outputs] of a network with several outputs.

        Raises
        ------
        MissingColumns
            Lists all missing arrays.
        MismatchError
            If an array has another shape than the network takes.
        """
        torch = require("torch", "train", "a network of the original")
        fragments = {fragment.name: fragment for fragment in self.architecture.constituents}
        needed = [name for block, fragment in [(GLOBAL, self.architecture.head), *fragments.items()]
                  for name in _names(block, fragment)]  # fmt: skip
        missing = [name for name in needed if name not in arrays]
        if missing:
            shown = ", ".join(f"{name}{hint(name, arrays)}" for name in missing)
            raise MissingColumns(f"{len(missing)} arrays are missing: {shown}")
        blocks = {GLOBAL: _block(torch, GLOBAL, self.architecture.head, arrays)}
        blocks |= {name: _block(torch, name, fragment, arrays) for name, fragment in fragments.items()}
        jets = len(blocks[GLOBAL]["numerical"])
        for name in fragments:
            if len(blocks[name]["counts"]) != jets:
                counts = len(blocks[name]["counts"])
                raise MismatchError(f"{name}_numerical__lengths has {counts} jets, global_numerical has {jets}")
        with torch.no_grad():
            outputs: Array = self.network(blocks).numpy()
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs


def _names(block: str, fragment: Any) -> list[str]:
    end = "" if block == GLOBAL else "__flat"
    counts = [] if block == GLOBAL else [f"{block}_numerical__lengths"]
    return [f"{block}_numerical{end}", *counts, *(f"{table.feature}{end}" for table in fragment.embeddings)]


def _block(torch: Any, block: str, fragment: Any, arrays: Mapping[str, Any]) -> dict[str, Any]:
    first, *rest = _names(block, fragment)
    numerical = np.ascontiguousarray(arrays[first], dtype=np.float32)
    if numerical.ndim != 2 or numerical.shape[1] != fragment.numerical:
        raise MismatchError(f"{first} is {numerical.shape}, expected (rows, {fragment.numerical})")
    made = {"numerical": torch.from_numpy(numerical)}
    if block != GLOBAL:
        counts = np.ascontiguousarray(arrays[rest[0]], dtype=np.int64)
        if (counts < 0).any() or counts.sum() != len(numerical):
            raise MismatchError(f"{rest[0]} adds up to {counts.sum()}, {first} has {len(numerical)} rows")
        made["counts"] = torch.from_numpy(counts)
    columns = [np.zeros((len(numerical), 0), dtype=np.int64)]
    for table in fragment.embeddings:
        name = rest[-len(fragment.embeddings) :][fragment.embeddings.index(table)]
        index = np.asarray(arrays[name], dtype=np.int64).reshape(-1)
        if len(index) != len(numerical):
            raise MismatchError(f"{name} has {len(index)} values, {first} has {len(numerical)} rows")
        columns.append(np.where((index < 0) | (index >= table.rows), table.rows, index)[:, None])
    made["categorical"] = torch.from_numpy(np.concatenate(columns, axis=1))
    return made


def import_weights(model: Mapping[str, Any], npz: str | os.PathLike[str]) -> ImportedModel:
    """A network of the original from its configuration and its weights.

    Parameters
    ----------
    model : mapping
        The section ``model`` of its configuration. Numbers of features and of values of categorical features are those
        of the weights, the order of categorical features that of ``embeddings``.
    npz : path
        Its weights; docs/jec.md has the lines that save them with TensorFlow.

    Returns
    -------
    ImportedModel

    Raises
    ------
    ConfigError
        If the section is not valid.
    InputFileError
        If the archive cannot be read.
    MismatchError
        If the weights are those of another network: the layers are named with their shapes.
    MissingExtra
        If torch is not installed.
    """
    weights = read_weights(npz)
    sections = {name: dict(section) for name, section in model.items() if isinstance(section, Mapping)}
    numerical, categorical = {}, {}
    sums = 0
    for name in (*sorted(set(sections) - {HEAD}), *([HEAD] if HEAD in sections else [])):
        section, block = sections[name], GLOBAL if name == HEAD else name
        widths = {feature: int(width) for feature, width in (section.get("embeddings") or {}).items()}
        tables = {feature: weights.get(f"{feature}_embedding/embeddings:0") for feature in widths}
        categorical[block] = {feature: 0 if table is None else len(table) for feature, table in tables.items()}
        units = list(section.get("num_units") or ())
        kernels = (f"{name}_{end}/kernel:0" for end in ("dense_1", "dense_1_1", "dense_last", "dense_output"))
        first = next((weights[kernel] for kernel in kernels if kernel in weights), np.zeros((0, 0)))
        numerical[block] = len(first) - sum(widths.values()) - (sums if name == HEAD else 0)
        sums += int(units[-1]) if units else 0
    output = weights.get("head_dense_output/kernel:0", np.zeros((0, 1)))
    for block in numerical:  # whatever is wrong is named by the comparison with all shapes
        numerical[block] = max(numerical[block], 1)
    network = build_network(architecture_of(sections, numerical, categorical, outputs=output.shape[-1]))
    set_weights(network, weights, os.fspath(npz))
    return ImportedModel(network)


guard(globals())
