"""ONNX files of assignment networks, with the names of SPANet's and free axes for events and objects.

The logarithms of inputs and outputs, which the original leaves to those who know, are recorded in the file.
"""

from __future__ import annotations

import io
import json
import os
import warnings
from pathlib import Path
from typing import Annotated, Any

from jettagger._version import __version__
from jettagger.arguments import Kind, guard
from jettagger.errors import ConfigError, require
from jettagger.files import complete_or_absent
from jettagger.topology.eventfile import EventDescription, event_text

__all__ = ["FLAGS", "OPSET", "export_network", "flat_network", "onnx_names"]

_Network = Annotated[Any, Kind("a network of build_network", lambda value: hasattr(value, "class_counts"))]

#: name of the entry of the metadata with the flags
FLAGS = "assignment"

#: lowest and highest opset that the exporter of torch writes and the default
_OPSETS, OPSET = (15, 20), 17


def onnx_names(
    description: EventDescription, *, output_log: bool = False, embeddings: bool = False
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of inputs and outputs of an ONNX file, as in the original.

    Parameters
    ----------
    description : EventDescription
    output_log : bool
        Whether probabilities are logarithms.
    embeddings : bool
        Whether it has embeddings of the event, of particles and of daughters.

    Returns
    -------
    inputs, outputs : tuple of str
    """
    log = "log_" if output_log else ""
    inputs = tuple(f"{item.name}_{part}" for item in description.inputs for part in ("data", "mask"))
    names = [particle.name for particle in description.particles]
    outputs = [f"{name}_{part}_{log}probability" for part in ("assignment", "detection") for name in names]
    outputs += [*description.regressions, *description.classifications]
    if embeddings:
        outputs.append("EVENT/embedding_vector")
        for particle in description.particles:
            parts = ["PARTICLE", *(daughter.name for daughter in particle.daughters)]
            outputs += [f"{particle.name}/{part}/embedding_vector" for part in parts]
    return inputs, tuple(outputs)


def export_network(
    network: _Network,
    path: str | os.PathLike[str],
    *,
    input_log: bool = True,
    output_log: bool = True,
    embeddings: bool = False,
    opset: int = OPSET,
    force: bool = False,
) -> Path:
    """Write a network as an ONNX file, complete or not at all.

    Parameters
    ----------
    network : torch.nn.Module
        Of `jettagger.assignment.networks.build_network`. It is in the mode of evaluation afterwards.
    path : path
        Output. ``<input>_data``, float32[events, slots, features], and ``<input>_mask``, bool[events, slots], for each
        input; a global one has one slot, a relative one float32[events, slots, slots, features]. Outputs:
        ``<particle>_assignment_log_probability``, float32[events, slots, ..., slots], and
        ``<particle>_detection_log_probability``, float32[events], without ``log_`` for probabilities; regressions,
        float32[events], and classifications, float32[events, classes], with their names.
    input_log : bool
        Whether ln(x + 1) is part of the file: it takes raw values.
    output_log : bool
        Whether assignments, detections and classifications are logarithms of probabilities.
    embeddings : bool
        Whether it gives embeddings: ``EVENT/embedding_vector`` and the like, float32[events, width].
    opset : int
        Version of the operators, from 15 to 20.
    force : bool
        Whether to replace an existing file.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    ConfigError
        If the opset is another one.
    OutputError
        If it cannot be written, or exists.
    MissingExtra
        If torch is not installed.

    Notes
    -----
    The entry ``assignment`` of its metadata is JSON with ``input_log``, ``output_log``, ``embeddings``, the event file,
    the options and the version of jettagger.
    """
    torch = require("torch", "train", "the export of a network")
    if not _OPSETS[0] <= opset <= _OPSETS[1]:
        raise ConfigError(f"opset {opset} cannot be written, expected one from {_OPSETS[0]} to {_OPSETS[1]}")
    description = network.description
    inputs, outputs = onnx_names(description, output_log=output_log, embeddings=embeddings)
    wrapped = flat_network(network, input_log=input_log, output_log=output_log, embeddings=embeddings)
    arrays, axes = [], {}
    for item in description.inputs:
        slots = 1 if item.kind == "global" else 3
        shape = [2, *[slots] * (2 if item.kind == "relative" else 1), len(item.features)]
        arrays += [torch.zeros(shape), torch.ones(2, slots, dtype=torch.bool)]
        free = {0: "batch_size"} | ({1: f"num_{item.name}"} if item.kind != "global" else {})
        axes[f"{item.name}_data"] = free | ({2: f"num_{item.name}"} if item.kind == "relative" else {})
        axes[f"{item.name}_mask"] = free
    sequential = [item.name for item in description.sequential]
    total = f"num_{sequential[0]}" if len(sequential) == 1 else "num_objects"
    for place, particle in enumerate(description.particles):
        axes[outputs[place]] = {0: "batch_size"} | {1 + axis: total for axis in range(len(particle.daughters))}
    axes |= {name: {0: "batch_size"} for name in outputs[len(description.particles) :]}
    made = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        # this exporter alone traces free axes of all shapes; it is deprecated in favour of one that needs onnxscript
        warnings.simplefilter("ignore")
        torch.onnx.export(
            wrapped,
            tuple(arrays),
            made,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes=axes,
            opset_version=opset,
            dynamo=False,
        )
    flags = {
        "input_log": input_log,
        "output_log": output_log,
        "embeddings": embeddings,
        "event": event_text(description),
        "options": network.options.model_dump(mode="json"),
        "version": __version__,
    }
    with complete_or_absent(path, force=force) as part:
        part.write_bytes(_with_metadata(made.getvalue(), flags))
    return Path(path)


def _with_metadata(content: bytes, flags: dict[str, Any]) -> bytes:
    import onnx

    model = onnx.load_model_from_string(content)
    model.producer_name, model.producer_version = "jettagger", __version__
    onnx.helper.set_model_props(model, {FLAGS: json.dumps(flags)})
    made: bytes = model.SerializeToString()
    return made


def flat_network(
    network: _Network, *, input_log: bool = True, output_log: bool = True, embeddings: bool = False
) -> Any:
    """The network with the arrays of an ONNX file, one after the other.

    Parameters
    ----------
    network : torch.nn.Module
    input_log, output_log, embeddings
        As for `export_network`.

    Returns
    -------
    torch.nn.Module
        In the mode of evaluation; a function of tensors in the order of the inputs of `onnx_names`, which returns a
        tuple in the order of its outputs.
    """
    torch = require("torch", "train", "the export of a network")
    description = network.description

    class Flat(torch.nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, *arrays: Any) -> tuple[Any, ...]:
            values, masks = {}, {}
            for place, item in enumerate(description.inputs):
                data, mask = arrays[2 * place], arrays[2 * place + 1]
                values[item.name] = _logarithms(torch, item, data, mask) if input_log else data
                masks[item.name] = mask
            made = self.network(values, masks)
            names = [particle.name for particle in description.particles]
            assignments = [made.assignments[name] for name in names]
            # logsigmoid becomes the logarithm of a sigmoid, which is minus infinity below -88
            detections = [-torch.nn.functional.softplus(-made.detections[name]) for name in names]
            classes = [torch.log_softmax(made.classifications[key], 1) for key in description.classifications]
            if not output_log:
                assignments, detections, classes = (
                    [torch.exp(value) for value in values] for values in (assignments, detections, classes)
                )
            found = [*assignments, *detections, *(made.regressions[key] for key in description.regressions), *classes]
            return (*found, *made.vectors.values()) if embeddings else tuple(found)

    return Flat().eval()


def _logarithms(torch: Any, item: Any, data: Any, mask: Any) -> Any:
    """ln(x + 1) of the features that have it; empty slots are zero there, whatever they hold."""
    logs = [feature.log for feature in item.features]
    if not any(logs):
        return data
    real = mask[:, :, None] & mask[:, None, :] if item.kind == "relative" else mask
    columns = [
        torch.log(data[..., place].masked_fill(~real, 0.0) + 1) if log else data[..., place]
        for place, log in enumerate(logs)
    ]
    return torch.stack(columns, -1)


guard(globals())
