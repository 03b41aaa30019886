"""Events, networks and batches for tests of assignment networks, and the example of the original with its numbers."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from jettagger.assignment.training_options import AssignmentOptions
from jettagger.topology.eventfile import EventDescription, parse_event_text, read_event_file

#: two symmetric tops, a particle with a group of order two of four daughters, all kinds of inputs and targets
EVENT = """
INPUTS:
  SEQUENTIAL:
    Jets: {pt: log_normalize, eta: normalize, phi: normalize, btag: none}
  GLOBAL:
    Met: {met: log_normalize, phi: normalize}
  RELATIVE:
    Pairs: {pt: log_normalize, distance: normalize}
EVENT:
  t1: [{b: Jets}, q1, q2]
  t2: [{b: Jets}, q1, q2]
  x: [a, b, c, d]
PERMUTATIONS:
  EVENT: [[t1, t2]]
  t1: [[q1, q2]]
  t2: [[q1, q2]]
  x: [[[a, b], [c, d]]]
REGRESSIONS:
  EVENT: [px, [mass, log_gaussian]]
  t1: {PARTICLE: [pt], b: [[energy, laplacian]]}
CLASSIFICATIONS:
  EVENT: [signal]
"""

#: two tops of the fewest jets
TOPS = """
INPUTS:
  SEQUENTIAL:
    Jets: {mass: log_normalize, pt: log_normalize, eta: normalize, phi: normalize}
EVENT:
  t1: [q1, q2]
  t2: [q1, q2]
PERMUTATIONS:
  EVENT: [[t1, t2]]
  t1: [[q1, q2]]
  t2: [[q1, q2]]
"""

SMALL = {
    "hidden_dim": 8,
    "initial_embedding_dim": 4,
    "position_embedding_dim": 4,
    "num_attention_heads": 2,
    "num_encoder_layers": 1,
    "num_branch_embedding_layers": 1,
    "num_branch_encoder_layers": 1,
    "num_jet_encoder_layers": 1,
    "detection_loss_scale": 1.0,
    "regression_loss_scale": 1.0,
    "classification_loss_scale": 1.0,
}


def event(text: str = EVENT) -> EventDescription:
    return parse_event_text(text, "event.yaml")


def options(**changes: Any) -> AssignmentOptions:
    return AssignmentOptions(**{**SMALL, **changes})


def network(description: EventDescription | None = None, seed: int = 0, **changes: Any) -> Any:
    """A small network in the mode of evaluation."""
    torch = pytest.importorskip("torch")
    from jettagger.assignment.networks import build_network

    description = description or event()
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        made = build_network(description, options(**changes), dict.fromkeys(description.classifications, 3))
        for parameter in made.parameters():  # biases too, so that each of them counts
            parameter.data += 0.1 * torch.randn_like(parameter)
    return made.eval()


def inputs(description: EventDescription, counts: dict[str, list[int]], slots: dict[str, int], seed: int = 0) -> Any:
    """Random values and masks, as tensors: the first objects of each event are there."""
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(seed)
    values, masks = {}, {}
    for item in description.inputs:
        number = np.array(counts[item.name])
        width = 1 if item.kind == "global" else slots[item.name]
        shape = (len(number), *[width] * (2 if item.kind == "relative" else 1), len(item.features))
        values[item.name] = torch.from_numpy(random.normal(size=shape).astype(np.float32))
        masks[item.name] = torch.from_numpy(np.arange(width) < number[:, None])
    return values, masks


def some_inputs(description: EventDescription, events: int = 5, slots: int = 5, seed: int = 0) -> Any:
    """Events with different numbers of objects; the first has all slots full."""
    counts = {
        item.name: [1 if item.kind == "global" else max(slots - event, 0) for event in range(events)]
        for item in description.inputs
    }
    return inputs(description, counts, {item.name: slots for item in description.inputs}, seed)


#: a top of the two jets with the tag, and another of those with another one
TAGGED = """
INPUTS: {SEQUENTIAL: {Jets: {pt: log_normalize, tag: none}}}
EVENT:
  t1: [q1, q2]
  t2: [q1, q2]
PERMUTATIONS:
  EVENT: [[t1, t2]]
  t1: [[q1, q2]]
  t2: [[q1, q2]]
CLASSIFICATIONS: {EVENT: [kind]}
"""


def tagged(path: Path, events: int = 300, **changes: Any) -> Any:
    """A data set: six jets, in any order: two of each tag; the second top is not always there."""
    from jettagger.assignment.blocks import AssignmentEvents
    from jettagger.assignment.datasets import AssignmentDataset, DatasetWriter

    random = np.random.default_rng(events)
    order = np.argsort(random.random((events, 6)), axis=1)
    tags = np.array([1, 1, -1, -1, 0, 0], dtype=np.float32)[order]
    values = np.stack([random.exponential(50, (events, 6)).astype(np.float32), tags], -1)
    places = np.argsort(order, axis=1)
    there = random.random(events) < 0.7
    content = {
        "values": {"Jets": values},
        "masks": {"Jets": np.ones((events, 6), dtype=bool)},
        "targets": {"t1": places[:, :2], "t2": np.where(there[:, None], places[:, 2:4], -1)},
        "classifications": {"EVENT/kind": there.astype(np.int64)},
    }
    with DatasetWriter(path, event(TAGGED), {"Jets": 6}) as writer:
        writer.append(AssignmentEvents(**{**content, **changes}))
    return AssignmentDataset(path, event(TAGGED))


def chosen(**changes: Any) -> AssignmentOptions:
    """Options that learn `tagged` events in a few epochs."""
    return options(**{
        **SMALL, "partial_events": True, "train_validation_split": 0.8, "batch_size": 32, "epochs": 3,
        "learning_rate": 5e-3, "balance_particles": True, "regression_loss_scale": 0.0, **changes,
    })  # fmt: skip


# ------------------------------------------------------------------------------------------------------- the original


def _folder() -> Path:
    from conftest import shared_folder

    folder = shared_folder() / "spanet"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}")
    return folder


@functools.cache
def ttH() -> Any:
    """Event file, options, numbers of the forward pass, and of one step of the training."""
    from jettagger.config.models import validated_json
    from jettagger.errors import ConfigError
    from jettagger.files.jsonfile import read_object

    folder = _folder()
    path = folder / "ttH_options.json"
    with np.load(folder / "ttH_forward64.npz") as archive:
        forward = {name: archive[name] for name in archive.files}
    return SimpleNamespace(
        event=read_event_file(folder / "ttH_event.yaml"),
        options=validated_json(AssignmentOptions, path, read_object(path), ConfigError, "options file"),
        weights=folder / "ttH_state_dict.npz",
        forward=forward,
        step=json.loads((folder / "ttH_training_step.json").read_text()),
        normalisation=json.loads((folder / "ttH_normalisation.json").read_text()),
        losses=folder / "loss_reference.npz",
    )


def converted(**changes: Any) -> Any:
    """The network of the original, in ours."""
    from jettagger.assignment.weights import convert_weights

    reference = ttH()
    made, _ = convert_weights(reference.weights, reference.event, reference.options.model_copy(update=changes))
    return made


@functools.cache
def ttH_events(first: int, last: int) -> Any:
    """Events of the example as blocks have them."""
    h5py = pytest.importorskip("h5py")
    description = ttH().event
    values, masks = {}, {}
    with h5py.File(_folder() / "examples" / "ttH.h5") as file:
        for item in description.inputs:
            group = file["INPUTS"][item.name]
            columns = [group[feature.name][first:last] for feature in item.features]
            array = np.stack(columns, -1).astype(np.float32)
            values[item.name] = array[:, None] if item.kind == "global" else array
            full = np.ones((last - first, 1), dtype=bool)
            masks[item.name] = full if item.kind == "global" else group["MASK"][first:last]
        targets = {
            particle.name: np.stack(
                [file["TARGETS"][particle.name][daughter.name][first:last] for daughter in particle.daughters], 1
            ).astype(np.int64)
            for particle in description.particles
        }
        regressions = {key: file["REGRESSIONS"][key][first:last].astype(np.float32) for key in description.regressions}
        classes = {
            key: file["CLASSIFICATIONS"][key][first:last].astype(np.int64) for key in description.classifications
        }
    return SimpleNamespace(
        values=values,
        masks=masks,
        targets=targets,
        target_masks={name: (target >= 0).all(1) for name, target in targets.items()},
        regressions=regressions,
        classifications=classes,
    )


def ttH_blocks(size: int = 100) -> Any:
    """The training part of the example, in blocks."""
    return lambda: [ttH_events(first, min(first + size, 950)) for first in range(0, 950, size)]


def tensors(arrays: Any) -> Any:
    torch = pytest.importorskip("torch")
    return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in arrays.items()}
