"""Outputs of a network for blocks of events, whatever it is stored as: ONNX folder, network file, or training."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol

import numpy as np

from jettagger.arguments import Kind, guard, in_range
from jettagger.assignment.assigner import EVENTS, VALUES, Assigner, load_assigner
from jettagger.assignment.blocks import AssignmentEvents
from jettagger.assignment.card import CARD, OPTION_FILE
from jettagger.assignment.ensembles import network_files, read_model
from jettagger.assignment.evaluation import GraphInputs, evaluate, network_inputs
from jettagger.assignment.folders import recorded_flags
from jettagger.assignment.statistics import log_inputs
from jettagger.display import Brief
from jettagger.errors import InputFileError, require
from jettagger.files import refuse_special
from jettagger.files.jsonfile import read_object
from jettagger.sessions.graph import file_sha256
from jettagger.sessions.threads import default_threads
from jettagger.topology.eventfile import EventDescription
from jettagger.types import Array, Bools

__all__ = ["AssignmentModel", "ModelOutputs", "open_model"]

_Network = Annotated[Any, Kind("a network of build_network", lambda value: hasattr(value, "class_counts"))]

#: option -> outputs that are not trained if it is zero
_SCALES = {
    "assignment_loss_scale": "assignments",
    "detection_loss_scale": "detection",
    "regression_loss_scale": "regressions",
    "classification_loss_scale": "classes",
}


@dataclass(frozen=True)
class ModelOutputs(Brief):
    """Outputs of a network for a block of events.

    Attributes
    ----------
    log_probabilities : dict of str to float32[events, T, ..., T]
        Particle -> distribution over the slots of all sequential inputs of the block, -inf where it is impossible.
    detection : dict of str to float32[events]
        Particle -> probability that it is there; empty for a network without. As regressions and classes, NaN for
        events that are not scored.
    regressions : dict of str to float32[events]
    classes : dict of str to float32[events, classes]
        Probabilities.
    scored : bool[events]
        ONNX files do not score events without objects.
    cut : bool[events]
        Events that lose objects because the network takes fewer.
    """

    log_probabilities: dict[str, Array]
    detection: dict[str, Array]
    regressions: dict[str, Array]
    classes: dict[str, Array]
    scored: Bools
    cut: Bools


class AssignmentModel(Protocol):
    """A network on whole events; made by `open_model`.

    Attributes
    ----------
    name : str
    event : EventDescription
    digest : str
        SHA-256 of the files, or of the weights; results depend on nothing else but the events.
    sources : tuple of pathlib.Path
        The files.
    options : mapping of str to Any
        Options of its training, as in the option file; empty if they are not known.
    untrained : frozenset of str
        Outputs that mean nothing: ``assignments``, ``detection``, ``regressions``, ``classes``, if the training left
        them out, as far as its options are known, or if there are none.
    """

    name: str
    event: EventDescription
    digest: str
    sources: tuple[Path, ...]
    options: Mapping[str, Any]
    untrained: frozenset[str]

    def outputs(self, block: AssignmentEvents) -> ModelOutputs:
        """Run the network.

        Parameters
        ----------
        block : AssignmentEvents
            Of a data set with the event file of the network.

        Returns
        -------
        ModelOutputs

        Raises
        ------
        UnknownName, MismatchError
            If inputs are missing or have other shapes.
        InvalidValues
            If an object has a value of -1 or less, which has no logarithm.
        """


def open_model(
    model: str | os.PathLike[str] | Assigner | _Network,
    *,
    threads: int | None = None,
    input_log: bool | None = None,
    name: str | None = None,
) -> AssignmentModel:
    """Open a network for data sets.

    Parameters
    ----------
    model : path, Assigner or torch.nn.Module
        A folder with an ONNX file and its event file (`jettagger.assignment.load_assigner`), a network file or the
        folder of a training (`jettagger.assignment.ensembles.read_model`), or what these functions return.
    threads : int, optional
        Of the network; default: ``$JETTAGGER_THREADS``, one in a worker, otherwise all usable cores.
    input_log : bool, optional
        Whether the ONNX file of a folder without ``assigner.json`` takes ln(x + 1) itself; others say it themselves.
    name : str, optional
        Default: that of the file or folder.

    Returns
    -------
    AssignmentModel

    Raises
    ------
    InputFileError
        If there is no such file or folder, or it holds no network, or a network file is damaged.
    BundleError, ModelFileError, ConfigError, MissingModelFile
        As `jettagger.assignment.load_assigner` for a folder with an ONNX file.
    MismatchError
        If the networks of a training do not belong together.
    MissingExtra
        If torch is needed and not installed.
    """
    threads = default_threads() if threads is None else threads
    in_range(threads, "open_model(), argument threads", 1)
    if isinstance(model, Assigner):
        return _GraphModel(model, name)
    if hasattr(model, "class_counts"):
        return _TorchModel(model, name or "network", _weights_digest(model), (), threads)
    path = Path(model)
    if _holds_graph(path):
        said = None if (path / CARD).exists() else input_log
        return _GraphModel(load_assigner(path, threads=threads, input_log=said), name)
    if path.suffix == ".onnx":
        raise InputFileError(
            f"{path} is an ONNX file: make a folder of it and its event file with 'jettagger assignment import', or "
            "give the folder that has both"
        )
    files = network_files(path)
    digest = hashlib.sha256("".join(file_sha256(file) for file in files).encode()).hexdigest()
    return _TorchModel(read_model(path), name or path.resolve().stem, digest, files, threads)


def _holds_graph(path: Path) -> bool:
    """Whether it is a folder with an ONNX file."""
    try:
        refuse_special(path)
        return path.is_dir() and ((path / CARD).exists() or any(path.glob("*.onnx")))
    except (OSError, ValueError):  # a name too long, a zero byte
        return False


def _weights_digest(network: Any) -> str:
    digest = hashlib.sha256()
    for name, value in network.state_dict().items():
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(value.detach().cpu().numpy()).data)
    return digest.hexdigest()


def _batch_size(event: EventDescription, slots: int) -> int:
    """Events of a run of the network: its distributions are bounded."""
    longest = max(len(particle.daughters) for particle in event.particles)
    return max(min(EVENTS, VALUES // max(slots**longest, 1)), 1)


class _Outputs:
    """Outputs that are filled in batches."""

    def __init__(self, event: EventDescription, block: AssignmentEvents) -> None:
        self.event, self.n_events = event, block.n_events
        self.slots = sum(np.shape(block.masks[item.name])[1] for item in event.sequential)
        nothing = np.zeros(self.n_events, dtype=bool)
        self.made = ModelOutputs({}, {}, {}, {}, nothing, nothing.copy())
        for particle in event.particles:
            shape = (self.n_events, *[self.slots] * len(particle.daughters))
            self.made.log_probabilities[particle.name] = np.full(shape, -np.inf, dtype=np.float32)

    def put(self, kind: str, name: str, rows: Any, values: Array) -> None:
        """Store values of some events; NaN in the others."""
        arrays = getattr(self.made, kind)
        if name not in arrays:
            arrays[name] = np.full((self.n_events, *values.shape[1:]), np.nan, np.float32)
        arrays[name][rows] = values


class _GraphModel:
    """An ONNX file; its slots are translated to those of the events."""

    def __init__(self, assigner: Assigner, name: str | None) -> None:
        self.assigner = assigner
        self.name = name or assigner.model.name
        self.event = assigner.event
        self.digest = assigner.model.digest
        self.sources = assigner.sources
        self.options = _recorded_options(assigner)
        self.untrained = _untrained(self.options)
        if not assigner.model.names.detection:
            self.untrained |= {"detection"}

    def outputs(self, block: AssignmentEvents) -> ModelOutputs:
        inputs = network_inputs(self.assigner.model, block)
        filled = _Outputs(self.event, block)
        filled.made.scored[:] = inputs.scored
        for item in self.event.sequential:
            filled.made.cut[:] |= np.asarray(block.masks[item.name])[:, inputs.masks[item.name].shape[1] :].any(axis=1)
        network, own = _common_slots(self.event, inputs)
        rows = np.flatnonzero(inputs.scored)
        size = _batch_size(self.event, sum(inputs.masks[item.name].shape[1] for item in self.event.sequential))
        for start in range(0, len(rows), size):
            batch = rows[start : start + size]
            found = evaluate(self.assigner.model, self.assigner.session, inputs, batch)
            for name, values in found.log_probabilities.items():
                axes = values.ndim - 1
                filled.made.log_probabilities[name][np.ix_(batch, *[own] * axes)] = values[
                    np.ix_(np.arange(len(batch)), *[network] * axes)
                ]
            for kind in ("detection", "regressions", "classes"):
                for name, values in getattr(found, kind).items():
                    filled.put(kind, name, batch, values)
        return filled.made


def _recorded_options(assigner: Assigner) -> Mapping[str, Any]:
    """Options of its training: in the ONNX file, or in a file beside it; empty if neither has them."""
    options = recorded_flags(assigner.model.graph).get("options")
    beside = assigner.model.folder / OPTION_FILE
    if options is None and beside.is_file():
        options = read_object(beside)
    return options if isinstance(options, Mapping) else {}


def _untrained(options: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(part for option, part in _SCALES.items() if options.get(option) == 0)


def _common_slots(event: EventDescription, inputs: GraphInputs) -> tuple[Array, Array]:
    """Slots of the network and of the events, of the objects that both have."""
    network, own = [], []
    for item in event.sequential:
        start, size = inputs.given[item.name]
        common = min(inputs.masks[item.name].shape[1], size)
        network.append(inputs.first[item.name] + np.arange(common))
        own.append(start + np.arange(common))
    return np.concatenate(network), np.concatenate(own)


class _TorchModel:
    """A network of torch."""

    def __init__(self, network: Any, name: str, digest: str, sources: tuple[Path, ...], threads: int) -> None:
        self.network, self.threads = network, threads
        self.name, self.digest, self.sources = name, digest, sources
        self.event: EventDescription = network.description
        self.options: Mapping[str, Any] = network.options.model_dump(mode="json")
        self.untrained = _untrained(self.options)

    def outputs(self, block: AssignmentEvents) -> ModelOutputs:
        values = log_inputs(
            block.values,
            block.masks,
            self.event,
            pair_values=block.pair_values,
            pair_features=block.pair_features,
        )
        filled = _Outputs(self.event, block)
        filled.made.scored[:] = True
        size = _batch_size(self.event, filled.slots)
        names = [item.name for item in self.event.inputs]
        with _inference(self.threads) as torch:
            for start in range(0, block.n_events, size):
                rows = slice(start, start + size)
                inputs, masks = (
                    {name: torch.from_numpy(np.ascontiguousarray(arrays[name][rows])) for name in names}
                    for arrays in (values, block.masks)
                )
                made = self.network(inputs, masks)
                for name, array in made.assignments.items():
                    filled.made.log_probabilities[name][rows] = array.numpy()
                for name, array in made.detections.items():
                    filled.put("detection", name, rows, torch.sigmoid(array).numpy())
                for name, array in made.regressions.items():
                    filled.put("regressions", name, rows, array.numpy())
                for name, array in made.classifications.items():
                    filled.put("classes", name, rows, torch.softmax(array, 1).numpy())
        return filled.made


@contextmanager
def _inference(threads: int) -> Iterator[Any]:
    """torch without gradients, with a number of threads that is restored afterwards."""
    torch = require("torch", "train", "an assignment network")
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            yield torch
    finally:
        torch.set_num_threads(before)


guard(globals(), "open_model")
