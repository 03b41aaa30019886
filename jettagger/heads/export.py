"""Export of heads to ONNX: standardisation, layers or trees, and softmax or mass in one graph, without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from jettagger._version import __version__
from jettagger.arguments import guard
from jettagger.bundles.bundle import Bundle
from jettagger.display import Brief
from jettagger.errors import MismatchError
from jettagger.heads.description import NETWORK, HeadCard, Input, Parent, write_head_card
from jettagger.provenance import KEY, provenance_of
from jettagger.sessions.graph import file_sha256

__all__ = ["ACTIVATIONS", "CLIP", "LARGEST", "Mlp", "Trees", "head_model", "write_head"]

Floats = NDArray[np.floating[Any]]

#: name of the network's input, and of the metadata entry with the names of its columns
COLUMNS = "columns"

#: standardised inputs are clipped at this number of standard deviations, so that outliers do not cause wild outputs
CLIP = 10.0

#: a mass head changes the tagger's mass by at most a factor of exp(LARGEST)
LARGEST = 3.0

#: name -> operators
ACTIVATIONS: dict[str, tuple[str, ...]] = {"relu": ("Relu",), "tanh": ("Tanh",), "silu": ("Sigmoid", "Mul")}


@dataclass(frozen=True)
class Mlp(Brief):
    """A network of dense layers.

    Parameters
    ----------
    center, width : float[inputs]
        The inputs are standardised as ``(x - center) / width``.
    layers : sequence of (weights, bias)
        ``float[out, in]`` and ``float[out]``.
    activation : str
        Activation between the layers, one of `ACTIVATIONS`.
    """

    center: Floats
    width: Floats
    layers: Sequence[tuple[Floats, Floats]]
    activation: str = "relu"


@dataclass(frozen=True)
class Trees(Brief):
    """Boosted decision trees with a sum of leaves for each output, the input of the softmax or the mass.

    Parameters
    ----------
    attributes : mapping of str to list
        Attributes of ONNX's ``TreeEnsembleRegressor``.
    """

    attributes: Mapping[str, Any] = field(repr=False)


def head_model(
    inputs: Sequence[str], outputs: Sequence[str], parts: Sequence[Mlp | Trees], kind: Literal["classes", "mass"]
) -> Any:
    """The ONNX model of a head.

    Parameters
    ----------
    inputs : sequence of str
        Names of the columns of the input, ``float32[jets, inputs]``; stored in the metadata of the model.
    outputs : sequence of str
    parts : sequence of Mlp or Trees
        One per fold; each has an output ``fold<i>``, ``float32[jets, outputs]``.
    kind : str
        ``classes``: a softmax; ``mass``: ``mass * exp(part)``, which is the tagger's own mass if the part is 0. The
        tagger's mass must be among the inputs.

    Returns
    -------
    onnx.ModelProto

    Raises
    ------
    MismatchError
        If a mass head has several outputs, or lacks the mass of the tagger as an input.

    Examples
    --------
    >>> layer = (np.zeros((1, 2)), np.zeros(1))
    >>> model = head_model(["mass", "MET_pt"], ["mass"], [Mlp(np.zeros(2), np.ones(2), [layer])], "mass")
    >>> [node.op_type for node in model.graph.node]
    ['Sub', 'Div', 'Clip', 'Gemm', 'Clip', 'Exp', 'Gather', 'Mul']
    """
    from onnx import TensorProto, helper, numpy_helper

    if kind == "mass" and ("mass" not in inputs or len(outputs) != 1):
        raise MismatchError("a mass head has one output and the tagger's 'mass' among its inputs")
    nodes: list[Any] = []
    constants: list[Any] = []

    def constant(name: str, value: Any, dtype: Any = np.float32) -> str:
        constants.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def add(operator: str, sources: list[str], target: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(operator, sources, [target], **attributes))
        return target

    def dense(part: Mlp, front: str) -> str:
        x = add("Sub", [COLUMNS, constant(f"{front}center", part.center)], f"{front}centred")
        x = add("Div", [x, constant(f"{front}width", part.width)], f"{front}scaled")
        x = add("Clip", [x, constant(f"{front}low", -CLIP), constant(f"{front}high", CLIP)], f"{front}standard")
        for depth, (weights, bias) in enumerate(part.layers):
            if depth:
                before = x
                for operator in ACTIVATIONS[part.activation]:
                    sources = [before, x] if operator == "Mul" else [x]
                    x = add(operator, sources, f"{front}{operator.lower()}{depth}")
            sources = [x, constant(f"{front}w{depth}", weights), constant(f"{front}b{depth}", bias)]
            x = add("Gemm", sources, f"{front}layer{depth}", transB=1)
        return x

    for number, part in enumerate(parts):
        front, target = f"f{number}_", f"fold{number}"
        if isinstance(part, Trees):
            x = add("TreeEnsembleRegressor", [COLUMNS], f"{front}sums", domain="ai.onnx.ml", **part.attributes)
        else:
            x = dense(part, front)
        if kind == "classes":
            add("Softmax", [x], target, axis=1)
        else:
            bounds = [constant(f"{front}least", -LARGEST), constant(f"{front}most", LARGEST)]
            factor = add("Exp", [add("Clip", [x, *bounds], f"{front}log")], f"{front}factor")
            place = constant(f"{front}place", [list(inputs).index("mass")], np.int64)
            add("Mul", [factor, add("Gather", [COLUMNS, place], f"{front}mass", axis=1)], target)
    graph = helper.make_graph(
        nodes,
        "head",
        [helper.make_tensor_value_info(COLUMNS, TensorProto.FLOAT, ["N", len(inputs)])],
        [helper.make_tensor_value_info(f"fold{i}", TensorProto.FLOAT, ["N", len(outputs)]) for i in range(len(parts))],
        initializer=constants,
    )
    opsets = [helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.ml", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="jettagger")
    helper.set_model_props(model, {"inputs": json.dumps(list(inputs)), "outputs": json.dumps(list(outputs))})
    return model


def write_head(
    folder: Path,
    *,
    name: str,
    kind: Literal["classes", "mass"],
    parent: Bundle,
    inputs: Sequence[str],
    outputs: Sequence[str],
    parts: Sequence[Mlp | Trees],
    prefix: str | None = None,
    title: str = "",
    training: dict[str, Any] | None = None,
    metrics: dict[str, Any] | None = None,
) -> HeadCard:
    """Write the network and the description of a head into an existing folder.

    Parameters
    ----------
    folder : pathlib.Path
    name : str
        Name of the head and prefix of its columns.
    kind : str
        ``classes`` or ``mass``.
    parent : Bundle
        The model whose outputs are inputs of the head.
    inputs, outputs, parts
        As for `head_model`; inputs that are outputs of the parent are taken from it, the others from the events.
    prefix : str, optional
        Prefix of the parent's columns in the skims; default: that of the parent.
    title : str
    training, metrics : dict, optional
        Stored in the description; ``provenance`` is added to ``training`` if it is missing.

    Returns
    -------
    HeadCard
    """
    known = {output.name for output in parent.outputs}
    made = provenance_of(parent, {}, None, [], step="head").to_dict()
    model = head_model(inputs, outputs, parts, kind)
    (folder / NETWORK).write_bytes(model.SerializeToString(deterministic=True))
    card = HeadCard(
        schema_version=1,
        name=name,
        title=title,
        kind=kind,
        model="bdt" if isinstance(parts[0], Trees) else "mlp",
        parent=Parent(
            name=parent.name,
            version=parent.card.version,
            prefix=parent.prefix if prefix is None else prefix,
            digest=parent.digest,
        ),
        inputs=[Input(name=item, source="tagger" if item in known else "event") for item in inputs],
        outputs=list(outputs),
        folds=len(parts),
        sha256=file_sha256(folder / NETWORK),
        training={KEY: made, **(training or {})},
        metrics=metrics or {},
        jettagger=__version__,
    )
    write_head_card(card, folder)
    return card


guard(globals())
