"""Small graphs of one operator each, with several forms, for the executor of ONNX files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

RANDOM = np.random.default_rng(24)

Array = Any


@dataclass(frozen=True)
class Case:
    """One node.

    Parameters
    ----------
    operator : str
    inputs : tuple of array or None
        None for an optional input that is left out.
    attributes : mapping
    fixed : tuple of int
        Positions of inputs that are constants of the file.
    version : int
        Of the set of operators.
    outputs : int
    """

    operator: str
    inputs: tuple[Array | None, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    fixed: tuple[int, ...] = ()
    version: int = 17
    outputs: int = 1

    def __str__(self) -> str:
        said = ",".join(f"{name}={value}" for name, value in self.attributes.items() if np.size(value) < 5)
        shapes = "x".join("none" if item is None else str(np.ndim(item)) for item in self.inputs)
        return f"{self.operator}-{self.version}-{shapes}-{said}".replace(" ", "")

    @property
    def feeds(self) -> dict[str, Array]:
        """Inputs of the graph."""
        given = {f"x{n}": item for n, item in enumerate(self.inputs) if item is not None and n not in self.fixed}
        return given or {"unused": np.zeros(1, dtype="f4")}

    def model(self) -> Any:
        """The file; its outputs are ``y0``, ``y1`` and so on."""
        names = ["" if item is None else f"x{n}" for n, item in enumerate(self.inputs)]
        outputs = [f"y{n}" for n in range(self.outputs)]
        node = helper.make_node(self.operator, names, outputs, name="here", **self.attributes)
        graph = helper.make_graph(
            [node],
            "case",
            [_info(name, item) for name, item in self.feeds.items()],
            [onnx.ValueInfoProto(name=name) for name in outputs],
            [numpy_helper.from_array(np.asarray(self.inputs[n]), f"x{n}") for n in self.fixed],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.version)], ir_version=8)


def _info(name: str, item: Array) -> Any:
    item = np.asarray(item)
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(item.dtype), [None] * item.ndim)


def floats(*shape: int, low: float = -2, high: float = 2) -> Array:
    """Numbers without ties."""
    return RANDOM.uniform(low, high, shape).astype("f4")


def ints(*values: int) -> Array:
    return np.array(values, dtype=np.int64)


def scalar(value: Any, dtype: str = "i8") -> Array:
    return np.array(value, dtype=dtype)


def _cases() -> list[Case]:
    x, square, image = floats(3, 4, 5), floats(4, 4), floats(2, 4, 6, 5)
    positive, line = floats(3, 4, low=0.2, high=3), floats(2, 3, 7)
    mask = RANDOM.random((3, 4, 5)) < 0.5
    whole = RANDOM.integers(-7, 8, (3, 4)).astype("i8")
    tied = np.array([[1, 2, 2, 0, 2], [3, 3, 3, 3, 1]], dtype="f4")
    found = [
        # arithmetic, with broadcasting
        *(Case(name, (x, floats(4, 1))) for name in ("Add", "Sub", "Mul", "Max", "Min", "Sum")),
        *(Case(name, (x, floats(4, 1), floats(3, 1, 5))) for name in ("Max", "Min", "Sum")),
        Case("Div", (x, floats(4, 1, low=0.5))),
        Case("Div", (x, scalar(1.5, "f4")), fixed=(1,)),
        Case("Div", (whole, np.where(whole % 4 == 0, -3, 2))),
        Case("Pow", (positive, floats(3, 4))),
        *(Case("Pow", (positive, scalar(power, "f4")), fixed=(1,)) for power in (0.5, 1, 2, 3, -1.5)),
        Case("Pow", (whole, scalar(2)), fixed=(1,)),
        Case("Mod", (whole, np.full((3, 4), 3))),
        Case("Mod", (x, floats(3, 4, 5, low=0.5)), {"fmod": 1}),
        Case("Mod", (whole, np.full((3, 4), 3)), {"fmod": 1}),
        *(
            Case(name, (x,))
            for name in ("Neg", "Abs", "Sign", "Floor", "Ceil", "Exp", "Sin", "Cos", "Atan", "Tanh", "Erf", "Sigmoid")
        ),
        Case("Round", (np.array([[-1.5, -0.5, 0.5, 1.5, 2.2]], dtype="f4"),)),
        *(Case(name, (positive,)) for name in ("Sqrt", "Log", "Reciprocal")),
        *(Case(name, (2 * x,)) for name in ("Relu", "Softplus", "Elu", "Selu", "HardSigmoid", "LeakyRelu")),
        Case("Elu", (x,), {"alpha": 0.3}),
        Case("Selu", (x,), {"alpha": 0.3, "gamma": 1.4}),
        Case("LeakyRelu", (x,), {"alpha": 0.3}),
        Case("HardSigmoid", (x,), {"alpha": 0.3, "beta": 0.4}),
        Case("PRelu", (x, floats(4, 1)), fixed=(1,)),
        Case("Gelu", (x,), version=20),
        Case("Gelu", (x,), {"approximate": "tanh"}, version=20),
        Case("Clip", (x, scalar(-0.5, "f4"), scalar(0.7, "f4")), fixed=(1, 2)),
        Case("Clip", (x, None, scalar(0.7, "f4")), fixed=(2,)),
        Case("Clip", (x, scalar(-0.5, "f4")), fixed=(1,)),
        Case("Clip", (x,), {"min": -0.5, "max": 0.7}, version=10),
        Case("Clip", (x,)),
        # comparisons and conditions
        *(
            Case(name, (np.round(x), np.round(floats(4, 1))))
            for name in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
        ),
        Case("Not", (mask,)),
        *(Case(name, (mask, ~mask[:, :1])) for name in ("And", "Or")),
        Case("IsNaN", (np.array([1, np.nan, np.inf], dtype="f4"),)),
        Case("Where", (mask, x, floats(4, 1))),
        *(Case("Cast", (2 * x,), {"to": to}) for to in (TensorProto.INT64, TensorProto.BOOL, TensorProto.DOUBLE)),
        Case("Cast", (whole,), {"to": TensorProto.FLOAT}),
        Case("Identity", (x,)),
        Case("Dropout", (x,)),
        Case("Dropout", (x,), outputs=2),
        # shapes
        Case("Shape", (x,)),
        Case("Shape", (x,), {"start": 1, "end": 2}),
        Case("Size", (x,)),
        Case("Reshape", (x, ints(0, -1)), fixed=(1,)),
        Case("Reshape", (x, ints(5, 0, 3)), fixed=(1,)),
        Case("Reshape", (floats(0, 4), ints(4, 0)), {"allowzero": 1}, fixed=(1,)),
        *(Case("Flatten", (x,), {"axis": axis}) for axis in (0, 1, 2, 3, -1)),
        Case("Flatten", (x,)),
        Case("Transpose", (x,)),
        Case("Transpose", (x,), {"perm": [1, 2, 0]}),
        Case("Unsqueeze", (x, ints(0, -1)), fixed=(1,)),
        Case("Unsqueeze", (x,), {"axes": [1, 3]}, version=11),
        Case("Squeeze", (x[:, :1, None], ints(1)), fixed=(1,)),
        Case("Squeeze", (x[:1, :1, None],), {"axes": [1, 2]}, version=11),
        Case("Squeeze", (x[:1, :1],)),
        *(Case("Concat", (x, floats(3, 4, 5)), {"axis": axis}) for axis in (0, 1, -1)),
        Case("Split", (x, ints(1, 3)), {"axis": 1}, fixed=(1,), outputs=2),
        Case("Split", (x,), {"axis": 1, "split": [3, 1]}, version=11, outputs=2),
        Case("Split", (x[:2],), outputs=2),
        Case("Split", (x,), {"axis": 2, "num_outputs": 2}, version=18, outputs=2),
        Case("Expand", (floats(4, 1), ints(3, 1, 5)), fixed=(1,)),
        Case("Expand", (x, ints(5)), fixed=(1,)),
        Case("Tile", (square, ints(2, 3)), fixed=(1,)),
        Case("Slice", (x, ints(1), ints(3), ints(1)), fixed=(1, 2, 3)),
        Case("Slice", (x, ints(-2, 0), ints(100, 2), ints(2, 0), ints(1, 1)), fixed=(1, 2, 3, 4)),
        Case("Slice", (x, ints(0), ints(5), ints(2), ints(2)), fixed=(1, 2, 3, 4)),
        Case("Slice", (x, ints(-1), ints(-100), ints(2), ints(-1)), fixed=(1, 2, 3, 4)),
        Case("Slice", (x, ints(3), ints(0), ints(2), ints(-2)), fixed=(1, 2, 3, 4)),
        Case("Slice", (x, ints(0, 1), ints(2, 3)), fixed=(1, 2)),
        Case("Slice", (x,), {"starts": [1], "ends": [3], "axes": [2]}, version=9),
        Case("Slice", (x,), {"starts": [1], "ends": [3]}, version=9),
        Case("Pad", (x, ints(0, 1, 0, 0, 0, 2), scalar(1.5, "f4")), fixed=(1, 2)),
        Case("Pad", (x, ints(1, 0, 0, -1, 0, 0)), fixed=(1,)),
        Case("Pad", (x, ints(1, 2), None, ints(1)), fixed=(1, 3), version=18),
        Case("Pad", (x,), {"pads": [0, 1, 0, 0, 0, 2], "value": 0.5}, version=10),
        Case("ConstantOfShape", (ints(2, 3),), {"value": numpy_helper.from_array(np.array([7], dtype="i8"))}),
        Case("ConstantOfShape", (ints(2, 3),)),
        Case("Range", (scalar(2), scalar(11), scalar(3))),
        Case("Range", (scalar(2.5, "f4"), scalar(-1, "f4"), scalar(-0.5, "f4"))),
        *(Case("Trilu", (square, scalar(shift)), {"upper": upper}, fixed=(1,)) for shift in (0, 1) for upper in (0, 1)),
        Case("Trilu", (square,)),
        # reductions and orders
        *(
            Case(name, (x,), {"axes": axes, "keepdims": keep}, version=11)
            for name in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd")
            for axes, keep in (([-1], 0), ([0, 2], 1))
        ),
        *(Case(name, (x,)) for name in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd")),
        Case("ReduceSum", (x, ints(1)), {"keepdims": 0}, fixed=(1,)),
        Case("ReduceProd", (x,), {"axes": [0, 1], "keepdims": 0}, version=11),
        Case("ReduceSum", (x, ints()), {"noop_with_empty_axes": 1}, fixed=(1,)),
        Case("ReduceSum", (whole, ints(1)), fixed=(1,)),
        Case("ReduceMean", (x, ints(1)), fixed=(1,), version=18),
        *(
            Case(name, (x,), {"axis": axis}, version=version)
            for name in ("Softmax", "LogSoftmax")
            for version in (11, 13)
            for axis in (1, -1)
        ),
        *(Case(name, (x,), version=version) for name in ("Softmax", "LogSoftmax") for version in (11, 13)),
        Case("TopK", (x, ints(2)), fixed=(1,), outputs=2),
        Case("TopK", (tied, ints(4)), fixed=(1,), outputs=2),
        Case("TopK", (x, ints(2)), {"axis": 1, "largest": 0}, fixed=(1,), outputs=2),
        Case("TopK", (x,), {"axis": -1, "k": 3}, version=9, outputs=2),
        Case("ArgMax", (x,), {"axis": 1, "keepdims": 0}),
        Case("ArgMax", (x,)),
        Case("CumSum", (x, scalar(1)), fixed=(1,)),
        # products
        Case("MatMul", (x, floats(5, 2))),
        Case("MatMul", (x, floats(3, 5, 2))),
        Case("MatMul", (floats(4), square)),
        Case("Gemm", (floats(3, 4), square)),
        Case("Gemm", (floats(3, 4), floats(4, 2), floats(2)), {"alpha": 0.5, "beta": 2.0}),
        Case("Gemm", (floats(4, 3), floats(2, 4), floats(2)), {"transA": 1, "transB": 1}),
        Case("Einsum", (floats(2, 3, 4), floats(2, 4, 5)), {"equation": "bij,bjk->bik"}),
        # convolutions
        Case("Conv", (line, floats(4, 3, 1), floats(4)), fixed=(1, 2)),
        Case("Conv", (line, floats(4, 3, 1)), fixed=(1,)),
        Case("Conv", (image, floats(3, 4, 1, 1), floats(3)), fixed=(1, 2)),
        Case("Conv", (image, floats(4, 2, 3, 2), floats(4)), {"group": 2, "pads": [1, 0, 2, 1]}, fixed=(1, 2)),
        Case("Conv", (image, floats(3, 4, 1, 1)), {"strides": [2, 2]}, fixed=(1,)),
        Case("Conv", (image, floats(3, 4, 2, 2)), {"dilations": [2, 1], "auto_pad": "VALID"}, fixed=(1,)),
        *(
            Case("Conv", (image, floats(3, 4, 2, 3)), {"auto_pad": mode, "strides": [1, 2]}, fixed=(1,))
            for mode in ("SAME_UPPER", "SAME_LOWER")
        ),
        Case("Conv", (floats(2, 2, 4, 4, 4), floats(3, 2, 2, 2, 2)), fixed=(1,)),
        *(
            Case(name, (item,), {"kernel_shape": kernel, **more})
            for name in ("MaxPool", "AveragePool")
            for item, kernel, more in (
                (image, [2, 2], {"strides": [2, 2]}),
                (image - 3, [3, 2], {"pads": [1, 0, 1, 1]}),
                (line, [3], {"auto_pad": "SAME_UPPER"}),
            )
        ),
        Case("AveragePool", (image,), {"kernel_shape": [3, 2], "pads": [1, 0, 1, 1], "count_include_pad": 1}),
        Case("GlobalAveragePool", (image,)),
        Case("GlobalMaxPool", (line,)),
        # normalisations
        *(
            Case(
                "BatchNormalization",
                (item, floats(n), floats(n), floats(n), floats(n, low=0.1, high=2)),
                more,
                fixed=(1, 2, 3, 4),
            )
            for item, n, more in ((floats(6, 4), 4, {}), (line, 3, {"epsilon": 0.01}), (image, 4, {}))
        ),
        Case("LayerNormalization", (x, floats(5), floats(5)), fixed=(1, 2)),
        Case("LayerNormalization", (x, floats(4, 5)), {"axis": 1, "epsilon": 0.1}, fixed=(1,)),
        Case("InstanceNormalization", (image, floats(4), floats(4)), {"epsilon": 0.1}, fixed=(1, 2)),
        Case("InstanceNormalization", (line, floats(3), floats(3)), fixed=(1, 2)),
        # selections
        Case("Gather", (x, ints(1, -1, 0)), {"axis": 1}, fixed=(1,)),
        Case("Gather", (x, scalar(-2)), {"axis": 2}, fixed=(1,)),
        Case("Gather", (x, np.array([[0, 2], [1, -3]]))),
        Case("GatherElements", (x, RANDOM.integers(-4, 4, (3, 4, 5))), {"axis": 1}),
        Case("GatherElements", (x, RANDOM.integers(-3, 3, (2, 4, 5)))),
        Case("GatherND", (x, np.array([[[0, 1]], [[2, -1]]]))),
        Case("ScatterND", (x, np.array([[[0, 1]], [[2, -1]]]), floats(2, 1, 5))),
        Case("ScatterElements", (x, np.tile(ints(2, 0), (2, 3, 1)), floats(2, 3, 2)), {"axis": 2}),
        Case("ScatterElements", (x, np.zeros((1, 2, 3), dtype="i8") - 1, floats(1, 2, 3))),
        Case("NonZero", (np.round(x),)),
    ]
    return [*found, *_recurrent()]


def _recurrent() -> list[Case]:
    found = []
    steps, jets, width, hidden = 4, 2, 5, 3
    x = floats(steps, jets, width)
    hard = ["HardSigmoid", "Tanh"]
    for name, gates, plain in (("GRU", 3, hard), ("LSTM", 4, [*hard, "Tanh"]), ("RNN", 1, ["Relu"])):
        for directions, direction in ((1, "forward"), (1, "reverse"), (2, "bidirectional")):
            weights = [floats(directions, gates * hidden, size) for size in (width, hidden)]
            bias = floats(directions, 2 * gates * hidden)
            attributes = {"hidden_size": hidden, "direction": direction}
            found.append(Case(name, (x, *weights, bias), attributes, fixed=(1, 2, 3), outputs=2))
        start = [floats(2, jets, hidden) for _ in range(1 + (name == "LSTM"))]
        known = {"activations": 2 * plain, "hidden_size": hidden, "direction": "bidirectional"}
        found.append(Case(name, (x, *weights, bias, None, *start), known, fixed=(1, 2, 3)))
        known = {"activations": plain, "hidden_size": hidden}
        found.append(Case(name, (x, *(item[:1] for item in weights)), known, fixed=(1, 2), outputs=2))
    weights = [floats(1, 3 * hidden, size) for size in (width, hidden)]
    given = (x, *weights, floats(1, 6 * hidden))
    found.append(Case("GRU", given, {"hidden_size": hidden, "linear_before_reset": 1}, fixed=(1, 2, 3), outputs=2))
    others: Sequence[tuple[str, list[float], list[float]]] = (
        ("Affine", [0.4], [0.2]),
        ("ScaledTanh", [0.7], [1.3]),
        ("HardSigmoid", [0.3], [0.4]),
        ("LeakyRelu", [0.2], []),
        ("Elu", [0.6], []),
        ("ThresholdedRelu", [0.3], []),
        ("Softsign", [], []),
        ("Softplus", [], []),
        ("Sigmoid", [], []),
    )
    weights = [floats(1, hidden, size) for size in (width, hidden)]
    for activation, alpha, beta in others:
        more = {"activation_alpha": alpha} if alpha else {}
        more |= {"activation_beta": beta} if beta else {}
        known = {"hidden_size": hidden, "activations": [activation], **more}
        found.append(Case("RNN", (x, *weights), known, fixed=(1, 2)))
    found.append(
        Case(
            "LSTM",
            (x, floats(1, 4 * hidden, width), floats(1, 4 * hidden, hidden), floats(1, 8 * hidden)),
            {"hidden_size": hidden},
            fixed=(1, 2, 3),
            outputs=3,
        )
    )
    return found


#: all cases, in an order that does not change
CASES = _cases()
