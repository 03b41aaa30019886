"""Inputs of a network on whole events from tensors, and its outputs by their meaning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from jettagger.assignment.blocks import whole_values
from jettagger.assignment.folders import AssignerFolder
from jettagger.display import Brief
from jettagger.errors import MismatchError, ModelFileError, UnknownName
from jettagger.sessions import OrtSession
from jettagger.topology.eventfile import EventInput
from jettagger.types import Array, Bools, Ints

__all__ = ["GraphInputs", "GraphOutputs", "Tensors", "evaluate", "network_inputs"]


class Tensors(Protocol):
    """Inputs of whole events, as `jettagger.inputs.event_tensors` and data sets give them.

    Relative inputs also have ``pair_values`` and ``pair_features``, as those of `AssignmentEvents`; or their values are
    float32[events, slots, slots, features] with all features.
    """

    @property
    def values(self) -> Mapping[str, Array]:
        """Input -> float32[events, slots, features], features in the order of the event file."""

    @property
    def masks(self) -> Mapping[str, Array]:
        """Input -> bool[events, slots]."""


@dataclass(frozen=True)
class GraphInputs(Brief):
    """Inputs with the numbers of slots that the network takes, after logarithms.

    Attributes
    ----------
    values, masks : dict of str to array
        As for `Tensors`, with all features of relative inputs in ``values``.
    first : dict of str to int
        Sequential input -> its first slot among those of all sequential inputs of the network.
    given : dict of str to (int, int)
        Sequential input -> its first slot and number of slots in the tensors.
    without_objects, nonfinite : bool[events]
        Events that are not scored.
    cut : dict of str to int
        Sequential input -> events that lose objects.
    """

    values: dict[str, Array]
    masks: dict[str, Bools]
    first: dict[str, int]
    given: dict[str, tuple[int, int]]
    without_objects: Bools
    nonfinite: Bools
    cut: dict[str, int]

    @property
    def scored(self) -> Bools:
        """Events that are scored, bool[events]."""
        found: Bools = ~(self.without_objects | self.nonfinite)
        return found

    def translated(self, slots: Ints) -> Ints:
        """Slots of the network as slots of the tensors.

        Parameters
        ----------
        slots : int64[events, daughters]

        Returns
        -------
        int64[events, daughters]
            -1 stays.
        """
        found = np.full(slots.shape, -1, dtype=np.int64)
        for name, first in self.first.items():
            size = self.masks[name].shape[1]
            inside = (slots >= first) & (slots < first + size)
            found[inside] = slots[inside] - first + self.given[name][0]
        return found


def network_inputs(model: AssignerFolder, tensors: Tensors) -> GraphInputs:
    """The inputs of a network: padded or cut, and with the logarithms that it does not take itself.

    Parameters
    ----------
    model : AssignerFolder
    tensors : Tensors

    Returns
    -------
    GraphInputs

    Raises
    ------
    UnknownName
        If an input is missing.
    MismatchError
        If shapes do not fit the event file or each other.
    """
    event = model.event
    for item in event.inputs:
        for what, arrays in (("values", tensors.values), ("masks", tensors.masks)):
            if item.name not in arrays:
                raise UnknownName("input", item.name, arrays, f"{what} of the events")
    n_events = len(tensors.masks[event.inputs[0].name])
    made = GraphInputs({}, {}, {}, {}, np.ones(n_events, dtype=bool), np.zeros(n_events, dtype=bool), {})
    first = given = 0
    for item in event.inputs:
        values = np.asarray(tensors.values[item.name], dtype=np.float32)
        mask = np.asarray(tensors.masks[item.name])
        if item.kind == "relative" and values.ndim == 3:
            values = _with_pairs(item, values, tensors)
        size = mask.shape[1] if mask.ndim == 2 else 0
        expected = (n_events, size, *[size] * (item.kind == "relative"), len(item.features))
        if mask.dtype != np.bool_ or values.shape != expected or len(mask) != n_events:
            axes = "slots, slots" if item.kind == "relative" else "slots"
            raise MismatchError(
                f"input {item.name!r}: values are {list(values.shape)} and the mask {mask.dtype}{list(mask.shape)}; "
                f"expected float32 [events, {axes}, {len(item.features)} features] and bool [events, slots] of "
                f"{n_events} events"
            )
        slots = 1 if item.kind == "global" else model.slots[item.name] or max(mask.shape[1], 1)
        if item.kind == "global" and mask.shape[1] != 1:
            raise MismatchError(f"global input {item.name!r} has {mask.shape[1]} slots, expected 1")
        if item.kind != "global":
            made.first[item.name], made.given[item.name] = first, (given, mask.shape[1])
            made.cut[item.name] = int(np.count_nonzero(mask[:, slots:].any(axis=1)))
            first, given = first + slots, given + mask.shape[1]
        values, mask = _resized(values, slots, 2 if item.kind == "relative" else 1), _resized(mask, slots)
        real = mask[:, :, np.newaxis] & mask[:, np.newaxis] if item.kind == "relative" else mask
        if not model.input_log:
            values = np.array(values)
            for place, feature in enumerate(item.features):
                if feature.log:
                    with np.errstate(invalid="ignore", divide="ignore"):
                        values[..., place] = np.where(real, np.log1p(values[..., place]), 0)
        fine = np.isfinite(values)
        if model.input_log:  # the network takes the logarithm
            for place, feature in enumerate(item.features):
                if feature.log:
                    fine[..., place] &= values[..., place] > -1
        made.nonfinite[:] |= (~fine & real[..., np.newaxis]).any(axis=tuple(range(1, fine.ndim)))
        made.values[item.name], made.masks[item.name] = np.where(real[..., np.newaxis], values, np.float32(0)), mask
        if item.kind != "global":
            made.without_objects[:] &= ~mask.any(axis=1)
    made.nonfinite[:] &= ~made.without_objects
    return made


def _with_pairs(item: EventInput, values: Array, tensors: Tensors) -> Array:
    """All features of a relative input, of each pair of slots."""
    pair_values = getattr(tensors, "pair_values", {}).get(item.name)
    if pair_values is not None:
        pair_values = np.asarray(pair_values, dtype=np.float32)
        if pair_values.shape[:3] != (*values.shape[:2], values.shape[1]):
            raise MismatchError(
                f"input {item.name!r}: values of pairs are {list(pair_values.shape)}, expected float32 [events, slots, "
                f"slots, features] of {len(values)} events and {values.shape[1]} slots"
            )
    return whole_values(item, values, pair_values, getattr(tensors, "pair_features", {}).get(item.name, ()))


def _resized(array: Array, slots: int, axes: int = 1) -> Array:
    """Cut or padded with zeros to a number of slots, along one or two axes."""
    missing = max(slots - array.shape[1], 0)
    taken = array[:, :slots] if axes == 1 else array[:, :slots, :slots]
    return np.pad(taken, [(0, missing if 1 <= axis <= axes else 0) for axis in range(array.ndim)])


@dataclass(frozen=True)
class GraphOutputs(Brief):
    """Outputs of a network for some events.

    Attributes
    ----------
    log_probabilities : dict of str to float32[events, T, ..., T]
        Particle -> -inf where an assignment is impossible.
    detection : dict of str to float32[events]
        Empty for a network without.
    regressions : dict of str to float32[events]
    classes : dict of str to float32[events, classes]
        Probabilities.
    embeddings : dict of str to float32[events, dimensions]
    """

    log_probabilities: dict[str, Array]
    detection: dict[str, Array]
    regressions: dict[str, Array]
    classes: dict[str, Array]
    embeddings: dict[str, Array]


def evaluate(model: AssignerFolder, session: OrtSession, inputs: GraphInputs, rows: Ints) -> GraphOutputs:
    """Run a network on some events.

    Parameters
    ----------
    model : AssignerFolder
    session : OrtSession
    inputs : GraphInputs
    rows : int64[n]
        Events.

    Returns
    -------
    GraphOutputs

    Raises
    ------
    ModelFileError
        If it cannot be run, or an output has another shape than the event file asks for.
    """
    names, event = model.names, model.event
    fed = {names.data[name]: values[rows] for name, values in inputs.values.items()}
    fed |= {names.mask[name]: mask[rows] for name, mask in inputs.masks.items()}
    made = session.run(fed)
    count = len(rows)
    total = sum(inputs.masks[item.name].shape[1] for item in event.sequential)

    def output(name: str, *shape: int | None) -> Array:
        values = made[name]
        fits = values.ndim == 1 + len(shape) and len(values) == count
        if not fits or any(size not in (None, found) for size, found in zip(shape, values.shape[1:], strict=True)):
            expected = [count, *("classes" if size is None else size for size in shape)]
            raise ModelFileError(f"{model.graph.path}: output {name!r} is {list(values.shape)}, expected {expected}")
        return values

    found = GraphOutputs({}, {}, {}, {}, {})
    for particle in event.particles:
        values = output(names.assignment[particle.name], *[total] * len(particle.daughters))
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.array(values if names.output_log else np.log(values))
        # without a possible assignment, the softmax of the original gives NaN
        values[np.isnan(values)] = -np.inf
        found.log_probabilities[particle.name] = values
        if names.detection:
            values = output(names.detection[particle.name])
            found.detection[particle.name] = np.exp(values) if names.output_log else values
    for path in event.regressions:
        found.regressions[path] = output(path)
    for path in event.classifications:
        values = output(path, None)
        found.classes[path] = np.exp(values) if names.output_log else values
    for path, name in names.embeddings.items():
        found.embeddings[path] = output(name, None)
    return found
