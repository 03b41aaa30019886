"""From a network in torch, or boosted trees, to a bundle: ONNX file, card, declaration of the inputs.

Every ONNX file is compared with torch for jets with 0, 1, 45 and 200 objects before it is written.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import helper
from torch import Tensor, nn

from examples.architectures.inputs import COLUMNS, PARTICLES, TRACKS, VERTICES, Task, declaration
from jettagger.heads.export import Trees

__all__ = [
    "LENGTHS",
    "TOLERANCE",
    "Probabilities",
    "compare",
    "export",
    "export_trees",
    "random_inputs",
    "write_bundle",
]

#: objects of the jets for which ONNX is compared with torch
LENGTHS = (0, 1, 45, 200)

#: largest difference of a probability
TOLERANCE = 1e-5

OUTPUT = "probabilities"

_VARIABLES = {"particles": PARTICLES, "vertices": VERTICES, "tracks": TRACKS}


class Probabilities(nn.Module):
    """A network with probabilities in place of logits."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> Tensor:
        """float[jets, classes]."""
        return torch.softmax(self.network(*inputs), dim=1)


def random_inputs(
    names: Sequence[str], jets: int, length: int, *, padded: int = 0, image: Sequence[int] = (), seed: int = 0
) -> dict[str, Tensor]:
    """Inputs like those of jets.

    Parameters
    ----------
    names : sequence of str
        Of ``particles``, ``vertices``, ``tracks``, ``columns``, ``image``.
    jets : int
    length : int
        Objects of each jet; a quarter of that are vertices.
    padded : int
        Slots without an object after them.
    image : sequence of int
        Channels, rows and columns.
    seed : int

    Returns
    -------
    dict of str to float32 tensor
    """
    random = np.random.default_rng([seed, jets, length, padded])
    made: dict[str, Any] = {}
    for name in names:
        if name == "columns":
            scale = [500.0, 100.0, 80.0, 0.3, 0.2, 0.1, 0.08, 50.0]
            made[name] = random.uniform(0.5, 1.5, (jets, len(COLUMNS))) * scale
        elif name == "image":
            pixels = random.exponential(1.0, (jets, *image)) * (random.random((jets, *image)) < min(length / 200, 1))
            made[name] = pixels / np.maximum(pixels.sum(axis=(1, 2, 3), keepdims=True), 1e-9)
        else:
            number = length if name != "vertices" else -(-length // 4)
            values = random.normal(0, 1, (jets, len(_VARIABLES[name]), number + padded))
            values[:, 0] = 1.0
            values[:, :, number:] = 0.0
            made[name] = values
    return {name: torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)) for name, values in made.items()}


def _axes(names: Sequence[str]) -> dict[str, dict[int, str]]:
    free = {name: {0: "N", 2: f"n_{name}"} if name in _VARIABLES else {0: "N"} for name in names}
    return {**free, OUTPUT: {0: "N"}}


def _exported(network: nn.Module, names: Sequence[str], image: Sequence[int], output: str = OUTPUT) -> Any:
    example = random_inputs(names, 3, 6, padded=2, image=image)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of itself
        path = Path(folder) / "model.onnx"
        torch.onnx.export(
            network.eval(),
            tuple(example[name] for name in names),
            str(path),
            input_names=list(names),
            output_names=[output],
            dynamic_axes={**_axes(names), output: {0: "N"}},
            opset_version=17,
            dynamo=False,
        )
        return onnx.load(path)


def export(network: nn.Module, names: Sequence[str], image: Sequence[int] = ()) -> Any:
    """The ONNX model of a network, with free numbers of jets and of objects.

    Parameters
    ----------
    network : nn.Module
        Gives logits.
    names : sequence of str
        Its inputs, as in `random_inputs`.
    image : sequence of int
        Channels, rows and columns.

    Returns
    -------
    onnx.ModelProto
    """
    model = _exported(Probabilities(network), names, image)
    onnx.checker.check_model(model)
    return model


def export_trees(shapes: nn.Module, trees: Trees, names: Sequence[str]) -> Any:
    """The ONNX model of boosted trees on the shapes of a jet: both in one graph.

    Parameters
    ----------
    shapes : nn.Module
        `jet_networks.Columns` or `jet_networks.Shapes`.
    trees : Trees
    names : sequence of str
        Inputs of the shapes.

    Returns
    -------
    onnx.ModelProto
    """
    model = _exported(shapes, names, (), output="shapes")
    graph = model.graph
    graph.node.append(
        helper.make_node("TreeEnsembleRegressor", ["shapes"], ["margins"], domain="ai.onnx.ml", **trees.attributes)
    )
    graph.node.append(helper.make_node("Softmax", ["margins"], [OUTPUT], axis=1))
    classes = trees.attributes["n_targets"]
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(OUTPUT, onnx.TensorProto.FLOAT, ["N", classes]))
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
    onnx.checker.check_model(model)
    return model


def compare(model: Any, network: nn.Module, names: Sequence[str], image: Sequence[int] = ()) -> dict[str, float]:
    """Largest difference of a probability between ONNX Runtime and torch, by number of objects, batch and padding.

    Raises
    ------
    SystemExit
        If one exceeds the tolerance, or a value is not finite.
    """
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    reference = Probabilities(network).eval()
    made = {}
    for length in LENGTHS:
        for jets, padded in ((1, 0), (1, 3), (7, 0), (7, 5)):
            inputs = random_inputs(names, jets, length, padded=padded, image=image, seed=1)
            with torch.no_grad():
                expected = reference(*(inputs[name] for name in names)).numpy()
            (got,) = session.run(None, {name: values.numpy() for name, values in inputs.items()})
            case = f"{jets} jets, {length} objects, {padded} padded"
            made[case] = float(np.abs(got - expected).max())
            if not (np.isfinite(got).all() and made[case] <= TOLERANCE):
                raise SystemExit(f"ONNX differs from torch by {made[case]:.2e} for {case}, expected {TOLERANCE:g}")
    return made


def write_bundle(
    folder: Path,
    model: Any,
    task: Task,
    groups: list[dict[str, Any]],
    *,
    name: str,
    title: str,
    notes: Mapping[str, Any] | None = None,
) -> Path:
    """Write a bundle that `jettagger.load_tagger` takes: ``model.onnx``, ``bundle.json``, ``inputs.json``.

    Parameters
    ----------
    folder : pathlib.Path
        Is made.
    model : onnx.ModelProto
    task : Task
    groups : list of dict
        Inputs of the network, as in `inputs.declaration`.
    name, title : str
    notes : mapping, optional
        What the training was.

    Returns
    -------
    pathlib.Path
        The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString(deterministic=True))
    card = {
        "schema_version": 1,
        "name": name,
        "title": title,
        "inputs": "inputs.json",
        "prefix": name,
        "output_names": [f"prob{label}" for label in task.classes],
        "kinds": {"prob": ["prob*"]},
        "domain": {"pt": [task.edges[0], task.edges[-1]]},
        "source": "examples/architectures of jettagger",
        "notes": f"For the comparison of networks; not for physics results. {json.dumps(dict(notes or {}))}",
    }
    (folder / "inputs.json").write_text(json.dumps(declaration(task, groups, name), indent=1), encoding="utf-8")
    (folder / "bundle.json").write_text(json.dumps(card, indent=1), encoding="utf-8")
    return folder
