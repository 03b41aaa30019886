"""Numbers of objects that a network on whole events takes: any, or those of the events that it was exported with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jettagger.errors import ModelFileError
from jettagger.sessions import OrtSession, open_onnx
from jettagger.sessions.graph import Graph, Tensor, inspect
from jettagger.types import Array

__all__ = ["example_inputs", "runs_with", "total_slots", "try_network"]

#: maximum number of objects that is tried
MOST_SLOTS = 128


def example_inputs(graph: Graph, slots: Mapping[str, int], n_events: int) -> dict[str, Array]:
    """Inputs in which all slots hold an object.

    Parameters
    ----------
    graph : Graph
    slots : mapping of str to int
        Input of the graph -> length of its second axis; 1 if it is not named.
    n_events : int

    Returns
    -------
    dict of str to array[events, slots, ...]
    """

    def shape(tensor: Tensor) -> list[int]:
        sizes = [n_events, *(slots.get(tensor.name, 1) for _ in tensor.shape[1:])]
        return [axis if isinstance(axis, int) else size for axis, size in zip(tensor.shape, sizes, strict=True)]

    rng = np.random.default_rng(5)
    return {
        tensor.name: np.ones(shape(tensor), dtype=bool)
        if tensor.dtype == "bool"
        else rng.random(shape(tensor)).astype(tensor.dtype)
        for tensor in graph.inputs
    }


def runs_with(session: OrtSession, graph: Graph, slots: Mapping[str, int], outputs: Mapping[str, int]) -> bool:
    """Whether a network runs with a number of objects, and gives a distribution over all of them.

    Parameters
    ----------
    session : OrtSession
    graph : Graph
    slots : mapping of str to int
        As for `example_inputs`.
    outputs : mapping of str to int
        Distribution -> expected length of each axis but the first.

    Returns
    -------
    bool
    """
    try:
        made = session.run(example_inputs(graph, slots, 2))
    except ModelFileError:
        return False
    return all(set(made[name].shape[1:]) == {size} for name, size in outputs.items())


def total_slots(
    session: OrtSession, graph: Graph, inputs: Sequence[Sequence[str]], outputs: Sequence[str]
) -> int | None:
    """The total number of objects that a network takes.

    Parameters
    ----------
    session : OrtSession
    graph : Graph
    inputs : sequence of sequence of str
        For each input with objects, the inputs of the graph: values and mask.
    outputs : sequence of str
        Distributions over these objects.

    Returns
    -------
    int or None
        None if it takes any number.

    Raises
    ------
    ModelFileError
        If it runs with none of the numbers that are tried.
    """

    def runs(total: int) -> bool:
        first = total - len(inputs) + 1
        sizes = [first, *[1] * (len(inputs) - 1)]
        slots = {name: size for names, size in zip(inputs, sizes, strict=True) for name in names}
        return runs_with(session, graph, slots, dict.fromkeys(outputs, total))

    least = len(inputs)
    if runs(least + 3) and runs(least + 8):
        return None
    for total in range(least, MOST_SLOTS + 1):
        if runs(total):
            return total
    raise ModelFileError(
        f"{graph.path} runs with no number of objects from {least} to {MOST_SLOTS}: expected a network of "
        "SPANet's interface, with values and a mask for each input"
    )


def try_network(path: Path, slots: Mapping[str, int]) -> None:
    """Open a network and run it once; what a trial in another process does.

    Parameters
    ----------
    path : pathlib.Path
        The ONNX file.
    slots : mapping of str to int
        As for `example_inputs`.
    """
    graph = inspect(path)
    open_onnx(graph, 1).run(example_inputs(graph, slots, 2))
