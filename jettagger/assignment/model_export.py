"""Export of trained networks and ensembles as ONNX files, and as folders for inference; compared with torch."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from jettagger.arguments import Kind, guard
from jettagger.assignment.card import CARD, NETWORK, OPTION_FILE
from jettagger.assignment.ensembles import network_files, read_model
from jettagger.assignment.exporting import OPSET, export_network, flat_network, onnx_names
from jettagger.assignment.folders import import_assigner
from jettagger.display import Brief
from jettagger.errors import MismatchError, require
from jettagger.files import check_folder, complete_or_absent, refuse_inputs
from jettagger.provenance import Provenance
from jettagger.sessions.graph import inspect
from jettagger.sessions.onnx import make_session
from jettagger.types import Array

__all__ = ["ExportedModel", "export_model", "largest_difference"]

_Network = Annotated[Any, Kind("a network of build_network", lambda value: hasattr(value, "class_counts"))]

#: tolerance of the comparison with torch, times max(1, |value|)
_TOLERANCE = 1e-4

#: numbers of slots of the random events, their number, and the maximum number of cells of a distribution
_SLOTS, _EVENTS, _CELLS = (1, 4, 9, 16), 8, 100_000


@dataclass(frozen=True)
class ExportedModel(Brief):
    """The result of `export_model`.

    Parameters
    ----------
    path : pathlib.Path
        The file or folder.
    networks : tuple of pathlib.Path
        Network files that are in it; of several, the mean distributions.
    difference : float
        Largest difference between ONNX and torch for random events, divided by max(1, abs(value)), and of regressions
        at least by the standard deviation of the target.
    output : str
        Name of the output that has it.
    inputs, outputs : tuple of str
        Names in the ONNX file.
    """

    path: Path
    networks: tuple[Path, ...]
    difference: float
    output: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def export_model(
    model: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    input_log: bool = True,
    output_log: bool = True,
    embeddings: bool = False,
    opset: int = OPSET,
    mapping: str | os.PathLike[str] | None = None,
    name: str | None = None,
    title: str = "",
    force: bool = False,
) -> ExportedModel:
    """Export a network as an ONNX file or as a folder: ``jettagger assignment export`` as a function.

    Parameters
    ----------
    model : path
        A network file, or the folder of a training; with several networks, their mean distributions are exported.
    output : path
        ``FILE.onnx``, or a folder for `jettagger.assignment.load_assigner` with the network, event file, options and
        card. Complete or absent.
    input_log, output_log, embeddings, opset
        As for `jettagger.assignment.export_network`.
    mapping : path, optional
        ``inputs.yaml`` for the folder: which columns of events the inputs are.
    name, title : str
        Of the folder, see `jettagger.assignment.import_assigner`.
    force : bool
        Whether an existing output may be replaced.

    Returns
    -------
    ExportedModel

    Raises
    ------
    InputFileError
        If the network is damaged, or there is none.
    ConfigError
        If the opset is another one, or the mapping is not valid.
    MismatchError
        If the ONNX file gives other numbers than torch, or the mapping, name or title is given for a file.
    OutputError
        If the output exists, is an input, or cannot be written.
    MissingExtra
        If torch is not installed.
    """
    target = Path(output)
    single = target.suffix == ".onnx"
    if single and (mapping is not None or name is not None or title):
        raise MismatchError(f"{target} is one file: a mapping, a name and a title are parts of a folder")
    read = [path for path in (model, mapping) if path is not None]
    if single:
        refuse_inputs(target, read)
    else:
        check_folder(target, marker=CARD, force=force, inputs=read)
    networks = network_files(model)
    require("torch", "train", "the export of a network")
    network = read_model(model)
    with tempfile.TemporaryDirectory() as temporary:
        path = export_network(
            network,
            Path(temporary) / NETWORK,
            input_log=input_log,
            output_log=output_log,
            embeddings=embeddings,
            opset=opset,
        )
        where, difference = largest_difference(
            network, path, input_log=input_log, output_log=output_log, embeddings=embeddings
        )
        if single:
            with complete_or_absent(target, force=force) as part:
                part.write_bytes(path.read_bytes())
        else:
            options = Path(temporary) / OPTION_FILE
            options.write_text(network.options.model_dump_json(indent=1) + "\n", encoding="utf-8")
            import_assigner(
                path,
                None,
                target,
                options=options,
                mapping=mapping,
                name=name,
                title=title,
                provenance=Provenance(
                    "assignment export",
                    files=tuple(map(os.fspath, networks)),
                    configuration={
                        "input_log": input_log,
                        "output_log": output_log,
                        "embeddings": embeddings,
                        "opset": opset,
                        "difference": difference,
                    },
                ),
                force=force,
            )
    inputs, outputs = onnx_names(network.description, output_log=output_log, embeddings=embeddings)
    return ExportedModel(target, networks, difference, where, inputs, outputs)


def largest_difference(
    network: Any,
    path: str | os.PathLike[str],
    *,
    input_log: bool = True,
    output_log: bool = True,
    embeddings: bool = False,
) -> tuple[str, float]:
    """Compare an ONNX file with its network for random events with 0 to 16 objects in each input.

    Parameters
    ----------
    network : torch.nn.Module
    path : path
    input_log, output_log, embeddings
        As for `jettagger.assignment.export_network`.

    Returns
    -------
    output : str
        The one with the largest difference.
    difference : float
        See `ExportedModel`.

    Raises
    ------
    MismatchError
        If it is above 1e-4, or other assignments are possible.
    ModelFileError
        If ONNX Runtime refuses the file.
    """
    torch = require("torch", "train", "the export of a network")
    flat = flat_network(network, input_log=input_log, output_log=output_log, embeddings=embeddings)
    names, outputs = onnx_names(network.description, output_log=output_log, embeddings=embeddings)
    session = make_session(inspect(path), 1, "cpu")
    heads = zip(network.description.regressions, _members(network)[0].regressions, strict=True)
    scales = {key: max(1.0, float(head.std)) for key, head in heads}
    largest = (outputs[0], 0.0)
    for arrays in _random_events(network, input_log):
        with torch.no_grad():
            expected = flat(*(torch.from_numpy(array) for array in arrays))
        made = session.run(dict(zip(names, arrays, strict=True)))
        for name, value in zip(outputs, expected, strict=True):
            difference = _difference(made[name], value.numpy(), scales.get(name, 1.0))
            if not difference <= _TOLERANCE:
                raise MismatchError(
                    f"the ONNX file differs from the network by {difference:.1e} in {name}, expected at most "
                    f"{_TOLERANCE:g} of its size: weights may leave the range of single precision"
                )
            largest = max(largest, (name, difference), key=lambda pair: pair[1])
    return largest


def _members(network: _Network) -> list[Any]:
    return list(getattr(network, "networks", [network]))


def _difference(made: Array, expected: Array, scale: float) -> float:
    """The largest difference of two outputs; infinite if they are not of the same form."""
    if made.shape != expected.shape:
        return math.inf
    different = made != expected  # minus infinity equals itself
    one, other = made[different], expected[different]
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        return math.inf
    return float((np.abs(one - other) / np.maximum(scale, np.abs(other))).max(initial=0.0))


def _random_events(network: _Network, input_log: bool) -> Iterator[list[Array]]:
    """Arrays in the order of the ONNX file, distributed as the training events as far as the network knows."""
    random = np.random.default_rng(0)
    description = network.description
    sequential = len(description.sequential)
    daughters = max(len(particle.daughters) for particle in description.particles)
    for slots in _SLOTS:
        if slots > 1 and (slots * sequential) ** daughters > _CELLS:
            break
        arrays: list[Array] = []
        for item, embedding in zip(description.inputs, _members(network)[0].inputs, strict=True):
            width = 1 if item.kind == "global" else slots
            shape = (_EVENTS, *[width] * (2 if item.kind == "relative" else 1), len(item.features))
            mean, std = (value.numpy() for value in (embedding.mean, embedding.std))
            values = mean + std * random.normal(size=shape)
            logs = [feature.log and input_log for feature in item.features]
            values = np.where(logs, np.expm1(np.clip(values, -5, 20)), values)
            counts = random.integers(0, width + 1, _EVENTS)
            counts[:2] = 0, width
            mask = np.ones((_EVENTS, 1), bool) if item.kind == "global" else np.arange(width) < counts[:, None]
            arrays += [values.astype(np.float32), mask]
        yield arrays


guard(globals())
