"""Golden vectors: inputs and outputs provided by a bundle, or by jettagger for a known network."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping

import numpy as np

from jettagger.bundles.bundle import Bundle
from jettagger.bundles.known import Known, known_network
from jettagger.errors import BundleError
from jettagger.inputs.batching import Table, make_batches, tabulate
from jettagger.sessions.graph import file_sha256
from jettagger.types import Array

__all__ = ["golden_inputs", "golden_sha256", "known_golden", "known_tables", "read_golden"]

Tensors = dict[str, Array]


def read_golden(bundle: Bundle) -> tuple[Tensors, Tensors] | None:
    """The golden vectors in the file named by a bundle.

    Parameters
    ----------
    bundle : Bundle
        With weights.

    Returns
    -------
    inputs : dict of str to float32[jets, ...]
        By name of the network's input.
    outputs : dict of str to float32[jets, ...]
        Outputs of the network, before any softmax applied by jettagger. Both are None if the bundle names no file.

    Raises
    ------
    BundleError
        If the file cannot be read, or does not contain the inputs and outputs of the network.
    """
    graph = bundle.graph
    if bundle.card.golden is None or graph is None:
        return None
    path = bundle.folder / bundle.card.golden
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, AttributeError) as error:
        raise BundleError(f"cannot read {path}: {error}") from error
    inputs = [f"input__{tensor.name}" for tensor in graph.inputs]
    outputs = [f"output__{tensor.name}" for tensor in graph.outputs]
    missing, unknown = sorted({*inputs, *outputs} - set(arrays)), sorted(set(arrays) - {*inputs, *outputs})
    if missing or unknown:
        raise BundleError(
            f"{path}: lacks {missing or 'nothing'}; beyond inputs and outputs it has {unknown or 'nothing'}"
        )
    return (
        {name.removeprefix("input__"): np.ascontiguousarray(arrays[name]) for name in inputs},
        {name.removeprefix("output__"): arrays[name] for name in outputs},
    )


def golden_sha256(bundle: Bundle) -> str:
    """The checksum of the file of golden vectors; empty if there is none, or if it cannot be read."""
    if bundle.card.golden is None:
        return ""
    try:
        return file_sha256(bundle.folder / bundle.card.golden)
    except OSError:
        return ""


def known_golden(bundle: Bundle) -> Known | None:
    """Golden vectors from jettagger for a known network whose bundle names no file."""
    if bundle.card.golden is not None or bundle.graph is None:
        return None
    return known_network(bundle.graph.sha256)


def known_tables(bundle: Bundle, known: Known) -> tuple[Table, ...]:
    """The inputs of the stored jets of a known network."""
    return tabulate(bundle.groups, known.jets, bundle.card.nonfinite)


def golden_inputs(bundle: Bundle) -> list[Mapping[str, Array]]:
    """The inputs of all golden vectors of a bundle, one entry per run of the network.

    Parameters
    ----------
    bundle : Bundle
        With weights.

    Returns
    -------
    list of dict of str to float32[jets, ...]
        Empty if there are none.

    Raises
    ------
    BundleError
        As for `read_golden`.
    """
    stored = read_golden(bundle)
    if stored is not None:
        return [stored[0]]
    known = known_golden(bundle)
    if known is None:
        return []
    size = bundle.fixed_batch or len(known.jets)
    batches = make_batches(known_tables(bundle, known), batch_size=size, pad_mode=bundle.card.pad_mode, cost=None)
    return [batch.inputs for batch in batches]
