"""One run of a network: all output columns for the inputs of a batch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from jettagger.bundles.bundle import Bundle
from jettagger.errors import ModelFileError
from jettagger.sessions import Session, flat_columns
from jettagger.types import Array

__all__ = ["OTHER_TOLERANCE", "PROB_TOLERANCE", "deviation", "deviations", "evaluate", "softmax", "stacked"]

#: tolerance of probabilities
PROB_TOLERANCE = 1e-5

#: tolerance of masses, logits and hidden neurons, times max(1, |value|)
OTHER_TOLERANCE = 1e-4


def evaluate(bundle: Bundle, session: Session, inputs: Mapping[str, Array]) -> Array:
    """All output columns of a batch, including the softmax that the graph lacks.

    Parameters
    ----------
    bundle : Bundle
    session : Session
        Session of the bundle's network.
    inputs : mapping of str to float32[n, variables, length]
        At most as many jets as a fixed batch size allows; a smaller batch is filled with copies of the first jet.

    Returns
    -------
    float32[n, outputs]

    Raises
    ------
    ModelFileError
        If the network cannot be run on these inputs, or returns a wrong number of columns or jets.
    """
    n_jets = len(next(iter(inputs.values())))
    fixed = bundle.fixed_batch
    if fixed is not None and n_jets < fixed:
        rows = np.concatenate([np.arange(n_jets), np.zeros(fixed - n_jets, dtype=np.int64)])
        inputs = {name: array[rows] for name, array in inputs.items()}
    try:
        found = session.run(inputs)
    except ModelFileError as error:
        raise ModelFileError(f"the model {bundle.name!r} in {bundle.folder}: {error}") from error
    values = stacked(bundle, found, n_jets)
    marked = [output.index for output in bundle.outputs if output.softmax]
    if marked:
        values[:, marked] = softmax(values[:, marked])
    return values


def deviations(bundle: Bundle, values: Array, reference: Array) -> Array:
    """Deviations of outputs from their reference, in units of a rewritten graph's tolerance.

    Parameters
    ----------
    bundle : Bundle
    values, reference : float32[n, outputs]
        As returned by `evaluate`.

    Returns
    -------
    float64[n, outputs]
        The change of each output divided by its tolerance (`PROB_TOLERANCE` for probabilities, `OTHER_TOLERANCE` times
        max(1, abs(value)) for others); infinite if only one of the two is finite.
    """
    probable = np.array([output.kind == "prob" for output in bundle.outputs])
    old, new = reference.astype(np.float64), values.astype(np.float64)
    same = (old == new) | (np.isnan(old) & np.isnan(new))
    with np.errstate(invalid="ignore"):
        change = np.abs(new - old) / np.where(probable, PROB_TOLERANCE, OTHER_TOLERANCE * np.maximum(1, np.abs(old)))
    result: Array = np.where(same, 0, np.where(np.isfinite(change), change, np.inf))
    return result


def deviation(bundle: Bundle, values: Array, reference: Array) -> float:
    """The maximum of `deviations`.

    Parameters
    ----------
    bundle : Bundle
    values, reference : float32[n, outputs]
        As returned by `evaluate`.

    Returns
    -------
    float
        0 if there are no jets.
    """
    return float(deviations(bundle, values, reference).max(initial=0))


def stacked(bundle: Bundle, outputs: Mapping[str, Array], n_jets: int) -> Array:
    """The output tensors of the network, concatenated.

    Parameters
    ----------
    bundle : Bundle
    outputs : mapping of str to float32[rows, ...]
        All output tensors in the network's order, one row per jet.
    n_jets : int
        Number of rows that are jets.

    Returns
    -------
    float32[n_jets, outputs]
        A new array.

    Raises
    ------
    ModelFileError
        If the number of columns differs from that in the bundle, or if there are too few rows; if an output has several
        values along more than one axis.
    """
    rows = max(n_jets, bundle.fixed_batch or 0)
    parts = [flat_columns(name, array, rows)[:n_jets] for name, array in outputs.items()]
    found = (min(map(len, parts)), sum(part.shape[1] for part in parts))
    expected = (n_jets, len(bundle.outputs))
    if found != expected:
        raise ModelFileError(
            f"the network of {bundle.name!r} gave {found[1]} columns for {found[0]} jets, "
            f"expected {expected[1]} (the names in its description) for {expected[0]}"
        )
    return np.concatenate(parts, axis=1, dtype=np.float32, casting="unsafe")


def softmax(logits: Array) -> Array:
    """The softmax along the last axis, computed in double precision.

    Parameters
    ----------
    logits : float array[..., classes]

    Returns
    -------
    float64[..., classes]

    Examples
    --------
    >>> softmax(np.array([[1000.0, 1000.0]])).tolist()
    [[0.5, 0.5]]
    """
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=-1, keepdims=True)
    powers = np.exp(shifted)
    result: Array = powers / powers.sum(axis=-1, keepdims=True)
    return result
