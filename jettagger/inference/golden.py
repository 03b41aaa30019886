"""Golden vectors: inputs that a bundle carries, or that jettagger keeps for a known network, with what they give."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping

import numpy as np

from jettagger.bundles.bundle import Bundle
from jettagger.bundles.known import Known, known_network
from jettagger.errors import BundleError
from jettagger.inputs.batching import GroupValues, make_batches, tabulate
from jettagger.sessions.graph import file_sha256
from jettagger.types import Array

__all__ = ["golden_inputs", "golden_sha256", "known_golden", "known_tables", "read_golden"]

Tensors = dict[str, Array]


def read_golden(bundle: Bundle) -> tuple[Tensors, Tensors] | None:
    """The file of golden vectors that a bundle names.

    Parameters
    ----------
    bundle : Bundle
        With weights.

    Returns
    -------
    inputs : dict of str to float32[jets, ...]
        By the names of the network's inputs.
    outputs : dict of str to float32[jets, ...]
        As the network gave them, before any softmax that jettagger takes. In the place of both None, where the bundle
        names no file.

    Raises
    ------
    BundleError
        If the file cannot be read, or does not hold the inputs and outputs of the network.
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
    """The checksum of the file of golden vectors; empty where there is none, or where it cannot be read."""
    if bundle.card.golden is None:
        return ""
    try:
        return file_sha256(bundle.folder / bundle.card.golden)
    except OSError:
        return ""


def known_golden(bundle: Bundle) -> Known | None:
    """What jettagger keeps for the network of a bundle that names no file of golden vectors."""
    if bundle.card.golden is not None or bundle.graph is None:
        return None
    return known_network(bundle.graph.sha256)


def known_tables(bundle: Bundle, known: Known) -> tuple[GroupValues, ...]:
    """The inputs of the jets that are kept for a known network."""
    return tabulate(bundle.groups, known.jets, bundle.card.nonfinite)


def golden_inputs(bundle: Bundle) -> list[Mapping[str, Array]]:
    """The inputs of all golden vectors of a bundle, a run of the network each.

    Parameters
    ----------
    bundle : Bundle
        With weights.

    Returns
    -------
    list of dict of str to float32[jets, ...]
        Empty where there are none.

    Raises
    ------
    BundleError
        As `read_golden` does.
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
