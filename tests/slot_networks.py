"""Networks of SPANet's interface with any inputs: the logit of a tuple is a weighted sum of one number per slot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from assigners import masses
from onnx import TensorProto, helper

from jettagger.topology.eventfile import EventDescription

#: below this, a logit stands for a tuple that is not possible
LOWEST = -1e30


def write_slot_network(path: Path, event: EventDescription, *, total: int | None = None) -> Path:
    """An ONNX file for an event file without regressions and classes.

    The number of a slot is the first feature of its object; of a relative input, the sum of the first feature of its
    pairs with all real objects. Daughters have different weights, so that a tuple and its exchanges differ, and no
    two particles have equal probabilities.

    Parameters
    ----------
    path : pathlib.Path
    event : EventDescription
    total : int, optional
        Number of slots of all inputs together that it takes; default: any.

    Returns
    -------
    pathlib.Path
    """
    graph = masses._Graph()
    scores, real, inputs = [], [], []
    for item in event.inputs:
        size = 1 if item.kind == "global" else f"num_{item.name}"
        shape = ["events", size, *[size] * (item.kind == "relative"), len(item.features)]
        inputs.append(helper.make_tensor_value_info(f"{item.name}_data", TensorProto.FLOAT, shape))
        inputs.append(helper.make_tensor_value_info(f"{item.name}_mask", TensorProto.BOOL, ["events", size]))
        if item.kind == "global":
            continue
        data, mask = f"{item.name}_data", f"{item.name}_mask"
        if item.kind == "relative":
            first = graph.add("Gather", data, graph.constant(0, np.int64), axis=3)
            number = graph.add(
                "Cast", graph.add("Unsqueeze", mask, graph.constant([1], np.int64)), to=TensorProto.FLOAT
            )
            scores.append(
                graph.add("ReduceSum", graph.add("Mul", first, number), graph.constant([2], np.int64), keepdims=0)
            )
        else:
            scores.append(graph.column(data, 0))
        real.append(mask)
    score, mask = (graph.add("Concat", *parts, axis=1) for parts in (scores, real))
    if total is not None:
        score = graph.add("Reshape", score, graph.constant([-1, total], np.int64))
    count = graph.add("Gather", graph.add("Shape", score), graph.constant(1, np.int64), axis=0)
    slots = graph.add("Range", graph.constant(0, np.int64), count, graph.constant(1, np.int64))
    slots = graph.add("Unsqueeze", slots, graph.constant([0], np.int64))
    outputs = []
    for number, particle in enumerate(event.particles):
        axes = len(particle.daughters)
        weights = weights_of(number, axes)
        terms = [
            graph.add("Mul", graph.along(score, place, axes), graph.constant(weights[place])) for place in range(axes)
        ]
        allowed = [graph.along(mask, place, axes) for place in range(axes)]
        for one in range(axes):
            for two in range(one):
                same = graph.add("Equal", graph.along(slots, one, axes), graph.along(slots, two, axes))
                allowed.append(graph.add("Not", same))
        possible = graph.total("And", allowed)
        logits = graph.add("Where", possible, graph.total("Add", terms), graph.constant(LOWEST))
        flat = graph.add("LogSoftmax", graph.add("Flatten", logits, axis=1), axis=1)
        made = graph.add("Reshape", flat, graph.add("Shape", logits))
        name = f"{particle.name}_assignment_log_probability"
        graph.add("Where", possible, made, graph.constant(-np.inf), output=name)
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["events", *["slots"] * axes]))
    content = helper.make_graph(graph.nodes, "slots", inputs, outputs, graph.constants)
    model = helper.make_model(content, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return path


def weights_of(particle: int, daughters: int) -> list[float]:
    """The weights of the daughters of a particle."""
    return [(1 + place) * (1 + 0.3 * particle) for place in range(daughters)]


def expected_slots(event: EventDescription, numbers: dict[str, np.ndarray], masks: dict[str, np.ndarray]) -> Any:
    """The greedy assignment of one event by loops: particle -> slots over all inputs with slots; -1: none.

    Parameters
    ----------
    event : EventDescription
    numbers, masks : dict of str to array[slots]
        Number of each slot, and whether it is real.

    Returns
    -------
    dict of str to list of int
    """
    from itertools import permutations

    score = np.concatenate([numbers[item.name] for item in event.sequential]).astype(np.float64)
    real = np.concatenate([masks[item.name] for item in event.sequential])
    logs: dict[str, dict[tuple[int, ...], float]] = {}
    for number, particle in enumerate(event.particles):
        weights = weights_of(number, len(particle.daughters))
        tuples = list(permutations(np.flatnonzero(real), len(particle.daughters)))
        logits = np.array(
            [sum(weight * score[slot] for weight, slot in zip(weights, one, strict=True)) for one in tuples]
        )
        if len(logits):
            logits = logits - logits.max() - np.log(np.exp(logits - logits.max()).sum())
        logs[particle.name] = dict(zip(tuples, logits, strict=True))
    found = {particle.name: [-1] * len(particle.daughters) for particle in event.particles}
    left, used = list(found), set()
    while left:
        best = max(
            ((value, name, one) for name in left for one, value in logs[name].items() if not used & set(one)),
            default=None,
        )
        if best is None:
            break
        _, name, one = best
        found[name] = [int(slot) for slot in one]
        used |= set(one)
        left.remove(name)
    return found
