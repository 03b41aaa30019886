"""The Deep Set as ONNX: from the branches of jets and constituents to the factor on the raw momentum, without torch.

The inputs are those of `jettagger.jec.variables`: raw values, padded, with a mask. Constructed features, transforms and
embeddings are in the graph.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jettagger.errors import MismatchError
from jettagger.jec.architecture import Architecture, Dense, Fragment, Layer, refuse_weights
from jettagger.jec.configuration import FeatureBlock
from jettagger.jec.constructed import GLOBAL, PT, Construction, construction
from jettagger.jec.transforms import Transforms
from jettagger.jec.variables import input_branches, mask_of
from jettagger.types import Array

__all__ = ["OUTPUT", "SCHEMA", "calibration_model", "feature_branches", "output_names"]

#: name of the output tensor, and of the entries of the metadata
OUTPUT, SCHEMA = "factors", "jec"

#: added to the variance of a batch normalisation, see `jettagger.jec.network`
_EPSILON = 1e-3


def output_names(quantiles: Sequence[float] = ()) -> tuple[str, ...]:
    """The columns of a model, as NanoAOD names those of its own regressions.

    Parameters
    ----------
    quantiles : sequence of float
        Those of the loss; empty for other losses.

    Returns
    -------
    tuple of str
        ``ptRawCorr``, the factor on the raw momentum; with the quantiles 0.16 and 0.84 also ``ptRawRes``, half of their
        distance, ``ptRawCorrUp`` and ``ptRawCorrDown``; others are ``ptRawCorrQ05`` for 0.05.

    Examples
    --------
    >>> output_names((0.025, 0.16, 0.5, 0.84))
    ('ptRawCorr', 'ptRawRes', 'ptRawCorrUp', 'ptRawCorrDown', 'ptRawCorrQ02p5')
    """
    if not quantiles:
        return ("ptRawCorr",)
    standard = ("ptRawRes", "ptRawCorrUp", "ptRawCorrDown") if {_LOW, _HIGH} <= set(quantiles) else ()
    return ("ptRawCorr", *standard, *(_quantile_name(q) for q in _others(quantiles)))


#: quantiles at a distance of one standard deviation
_LOW, _HIGH = 0.16, 0.84


def _others(quantiles: Sequence[float]) -> list[float]:
    standard = {0.5, _LOW, _HIGH} if {_LOW, _HIGH} <= set(quantiles) else {0.5}
    return [q for q in quantiles if q not in standard]


def _quantile_name(q: float) -> str:
    whole, _, rest = f"{100 * q:.6f}".rstrip("0").partition(".")
    return f"ptRawCorrQ{int(whole):02d}{'p' + rest if rest else ''}"


def feature_branches(features: Mapping[str, FeatureBlock]) -> dict[str, tuple[str, ...]]:
    """The branches that a model reads, in the order of its inputs.

    Parameters
    ----------
    features : mapping of str to FeatureBlock

    Returns
    -------
    dict of str to tuple of str
        Block -> branches; blocks without any are left out.
    """
    named = {block: [*content.numerical, *content.categorical] for block, content in features.items()}
    return {block: names for block, names in input_branches(named).items() if names}


def calibration_model(
    architecture: Architecture,
    weights: Mapping[str, Array],
    features: Mapping[str, FeatureBlock],
    transforms: Transforms,
    *,
    quantiles: Sequence[float] = (),
) -> Any:
    """The ONNX model of a calibration.

    Parameters
    ----------
    architecture : Architecture
    weights : mapping of str to float32[inputs, units]
        All weights of the architecture.
    features : mapping of str to FeatureBlock
        In the order of the inputs of the network.
    transforms : Transforms
    quantiles : sequence of float
        Those of the loss; empty for other losses.

    Returns
    -------
    onnx.ModelProto
        Inputs ``global``, float32[jets, branches], ``<type>``, float32[jets, branches, length], and ``<type>_mask``,
        float32[jets, 1, length], which is above 0.5 for constituents. Output ``factors``, float32[jets, columns], with
        the columns of `output_names`. Numbers of jets and lengths are free. The metadata ``jec`` has the branches.

    Raises
    ------
    MismatchError
        If weights, features or quantiles do not fit to the architecture.
    """
    refuse_weights(architecture.weights, {name: value.shape for name, value in weights.items()}, "the network")
    if architecture.output.units != max(len(quantiles), 1):
        raise MismatchError(
            f"the network has {architecture.output.units} outputs, expected {max(len(quantiles), 1)} for the loss"
        )
    return _Exporter(architecture, weights, features, transforms, quantiles).model()


class _Exporter:
    def __init__(
        self,
        architecture: Architecture,
        weights: Mapping[str, Array],
        features: Mapping[str, FeatureBlock],
        transforms: Transforms,
        quantiles: Sequence[float],
    ) -> None:
        self.architecture, self.weights, self.quantiles = architecture, weights, list(quantiles)
        self.features, self.transforms = features, transforms
        self.branches = feature_branches(features)
        self.nodes: list[Any] = []
        self.constants: dict[tuple[Any, ...], Any] = {}
        self.known: dict[tuple[str, str], str] = {}

    # ------------------------------------------------------------------------------------------------------- nodes

    def add(self, operator: str, *sources: str, **attributes: Any) -> str:
        from onnx import helper

        name = f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(sources), [name], **attributes))
        return name

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        from onnx import numpy_helper

        array = np.asarray(value, dtype=dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self.constants:
            self.constants[key] = numpy_helper.from_array(array, f"constant_{len(self.constants)}")
        name: str = self.constants[key].name
        return name

    # ---------------------------------------------------------------------------------------------------- features

    def branch(self, block: str, name: str) -> str:
        """[jets] for jets, [jets, length] for constituents."""
        if (block, name) not in self.known:
            place = self.constant(self.branches[block].index(name), np.int64)
            self.known[block, name] = self.add("Gather", block, place, axis=1)
        return self.known[block, name]

    def of_jet(self, name: str) -> str:
        """A branch of jets beside those of constituents, [jets, 1]."""
        if (GLOBAL, f"{name} beside") not in self.known:
            made = self.add("Unsqueeze", self.branch(GLOBAL, name), self.constant([1], np.int64))
            self.known[GLOBAL, f"{name} beside"] = made
        return self.known[GLOBAL, f"{name} beside"]

    def constructed(self, made: Construction) -> str:
        block = made.block
        if made.quantity == "rel_pt":
            return self.add("Div", self.branch(block, f"{block}_pt"), self.of_jet(PT))
        if made.quantity == "deta":
            difference = self.add("Sub", self.branch(block, f"{block}_eta"), self.of_jet("eta"))
            return self.add("Mul", difference, self.add("Sign", self.of_jet("eta")))
        if made.quantity == "dphi":
            delta = self.add("Sub", self.branch(block, f"{block}_phi"), self.of_jet("phi"))
            pi, turn = self.constant(np.pi), self.constant(2 * np.pi)
            delta = self.add("Where", self.add("Greater", delta, pi), self.add("Sub", delta, turn), delta)
            low = self.add("Less", delta, self.constant(-np.float32(np.pi)))
            return self.add("Where", low, self.add("Add", delta, turn), delta)
        deta, dphi = (self.constructed(Construction(block, name)) for name in ("deta", "dphi"))
        return self.add("Sqrt", self.add("Add", self.add("Mul", deta, deta), self.add("Mul", dphi, dphi)))

    def numerical(self, block: str, name: str) -> str:
        made = construction(name)
        x = self.branch(block, name) if made is None else self.constructed(made)
        for step in self.transforms.steps(name):
            if step.type == "abs":
                x = self.add("Abs", x)
            elif step.type == "log":
                x = self.add("Log", x)
            elif step.type == "arcsinh":
                x = self.add("Asinh", self.add("Div", x, self.constant(step.scale)))
            else:
                x = self.add("Div", self.add("Sub", x, self.constant(step.loc)), self.constant(step.scale))
        return x

    def inputs(self, fragment: Fragment, block: str) -> list[str]:
        """Numerical features and embeddings, [jets, width] for jets, [jets, length, width] for constituents."""
        axis = 1 if block == GLOBAL else 2
        last = self.constant([axis], np.int64)
        parts = [self.add("Unsqueeze", self.numerical(block, name), last) for name in self.features[block].numerical]
        for table in fragment.embeddings:
            values = np.asarray(self.transforms.categorical[table.feature], dtype=np.float32)
            raw = self.add("Unsqueeze", self.branch(block, table.feature), last)
            seen = self.add("Cast", self.add("Equal", raw, self.constant(values)), to=1)
            parts.append(self.add("MatMul", seen, self.constant(self.weights[table.name])))
        return parts

    # ------------------------------------------------------------------------------------------------------ layers

    def dense(self, dense: Dense, x: str) -> str:
        x = self.add("MatMul", x, self.constant(self.weights[dense.kernel]))
        return self.add("Add", x, self.constant(self.weights[dense.shift])) if dense.bias else x

    def layer(self, layer: Layer, x: str) -> str:
        if not layer.norm:
            return self.add("Relu", self.dense(layer.dense, x))
        mean, variance, beta = (
            self.weights[f"{layer.norm}/{name}:0"].astype(np.float64)
            for name in ("moving_mean", "moving_variance", "beta")
        )
        width = np.sqrt(variance + _EPSILON)
        x = self.add("MatMul", x, self.constant(self.weights[layer.dense.kernel] / width))
        return self.add("Relu", self.add("Add", x, self.constant(beta - mean / width)))

    def fragment(self, fragment: Fragment, x: str) -> str:
        for step in fragment.steps:
            if isinstance(step, Layer):
                x = self.layer(step, x)
            else:
                around = x if step.bypass is None else self.dense(step.bypass, x)
                inner = self.dense(step.second, self.add("Relu", self.dense(step.first, x)))
                x = self.add("Relu", self.add("Add", inner, around))
        return x

    def summed(self, fragment: Fragment) -> str:
        block = fragment.name
        mask = self.add("Transpose", mask_of(block), perm=[0, 2, 1])
        mask = self.add("Greater", mask, self.constant(0.5))
        parts = self.inputs(fragment, block)
        x = self.add("Concat", *parts, axis=2)
        x = self.add("Where", mask, x, self.constant(0.0))  # transforms of empty slots may be infinite
        x = self.add("Where", mask, self.fragment(fragment, x), self.constant(0.0))
        return self.add("ReduceSum", x, self.constant([1], np.int64), keepdims=0)

    def columns(self, x: str) -> str:
        """The factors."""
        if not self.quantiles:
            return self.add("Exp", x)
        middle = self.quantiles.index(0.5)

        def column(place: int) -> str:
            return self.add("Gather", x, self.constant([place], np.int64), axis=1)

        values = {0.5: column(middle)}
        for order in (range(middle - 1, -1, -1), range(middle + 1, len(self.quantiles))):
            value = values[0.5]
            for place in order:
                operator = "Sub" if place < middle else "Add"
                value = self.add(operator, value, self.add("Softplus", column(place)))
                values[self.quantiles[place]] = value
        factors = {q: self.add("Exp", value) for q, value in values.items()}
        parts = [factors[0.5]]
        if {_LOW, _HIGH} <= set(factors):
            width = self.add("Sub", factors[_HIGH], factors[_LOW])
            parts += [self.add("Mul", width, self.constant(0.5)), factors[_HIGH], factors[_LOW]]
        return self.add("Concat", *parts, *(factors[q] for q in _others(self.quantiles)), axis=1)

    def model(self) -> Any:
        from onnx import TensorProto, helper

        sums = [self.summed(fragment) for fragment in self.architecture.constituents]
        parts = [*self.inputs(self.architecture.head, GLOBAL), *sums]
        x = self.add("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]
        x = self.fragment(self.architecture.head, x)
        x = self.columns(self.dense(self.architecture.output, x))
        self.nodes.append(helper.make_node("Identity", [x], [OUTPUT]))
        names = output_names(self.quantiles)
        inputs = []
        for block, branches in self.branches.items():
            axes: list[Any] = ["N", len(branches)] if block == GLOBAL else ["N", len(branches), f"length_{block}"]
            inputs.append(helper.make_tensor_value_info(block, TensorProto.FLOAT, axes))
            if block != GLOBAL:
                shape = ["N", 1, f"length_{block}"]
                inputs.append(helper.make_tensor_value_info(mask_of(block), TensorProto.FLOAT, shape))
        graph = helper.make_graph(
            self.nodes,
            "calibration",
            inputs,
            [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["N", len(names)])],
            initializer=list(self.constants.values()),
        )
        opsets = [helper.make_opsetid("", 15)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="jettagger")
        content = {"branches": {block: list(branches) for block, branches in self.branches.items()}, "outputs": names}
        helper.set_model_props(model, {SCHEMA: json.dumps(content)})
        return model
