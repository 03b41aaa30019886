"""Derivatives of networks: closed forms, differences, and what is said where there are none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from networks import write_bundle
from onnx import TensorProto, helper

import jettagger as jt
from jettagger.errors import MissingModelFile, UnknownName
from jettagger.explain import COLUMNS
from jettagger.explain.gradients import gradients
from jettagger.inference.sample_jets import usual_jets

torch = pytest.importorskip("torch")

from jettagger.explain.graph import TorchGraph  # noqa: E402


class Column:
    """One output column of a bundle."""

    needs: tuple[str, ...] = (COLUMNS,)

    def __init__(self, index: int = 0) -> None:
        self.index = index

    def __call__(self, outputs: Mapping[str, Any]) -> Any:
        return outputs[COLUMNS][:, self.index]


class Named:
    """The sum of a tensor of the graph over all axes but that of jets."""

    def __init__(self, name: str) -> None:
        self.needs = (name,)

    def __call__(self, outputs: Mapping[str, Any]) -> Any:
        (name,) = self.needs
        return outputs[name].reshape(len(outputs[name]), -1).sum(-1)


def slopes(nodes: list[Any], x: Any, dtype: str = "float64") -> tuple[Any, Any]:
    """The derivative of the sum of ``y`` with respect to ``x``, and the nodes where it was not finite."""
    shape = ["N", *np.shape(x)[1:]]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    executor = TorchGraph(model, dtype)
    given = torch.tensor(np.asarray(x), dtype=getattr(torch, dtype), requires_grad=True)
    (slope,) = torch.autograd.grad(executor.run({"x": given})["y"].sum(), [given])
    return slope.numpy(), dict(executor.replaced)


def constant(name: str, value: Any) -> Any:
    return helper.make_node("Constant", [], [name], value=onnx.numpy_helper.from_array(np.asarray(value, dtype="f4")))


class TestClosedForms:
    """To 1e-6, in single precision."""

    x = np.random.default_rng(1).normal(size=(7, 4)).astype("f4")

    def test_linear(self) -> None:
        weights = np.array([[1.5], [-2], [0.25], [3]], dtype="f4")
        nodes = [constant("w", weights), helper.make_node("MatMul", ["x", "w"], ["y"])]
        assert slopes(nodes, self.x, "float32")[0] == pytest.approx(np.tile(weights.T, (7, 1)), abs=1e-6)

    def test_quadratic(self) -> None:
        nodes = [constant("two", 2), helper.make_node("Pow", ["x", "two"], ["y"])]
        assert slopes(nodes, self.x, "float32")[0] == pytest.approx(2 * self.x, abs=1e-6)

    def test_softmax(self) -> None:
        nodes = [
            helper.make_node("Softmax", ["x"], ["p"], axis=-1),
            constant("w", [1, 0, 0, 0]),
            helper.make_node("Mul", ["p", "w"], ["y"]),
        ]
        powers = np.exp(self.x.astype("f8"))
        share = powers / powers.sum(axis=1, keepdims=True)
        expected = share[:, :1] * (np.array([1, 0, 0, 0]) - share)
        assert slopes(nodes, self.x, "float32")[0] == pytest.approx(expected, abs=1e-6)

    def test_masked_sum(self) -> None:
        """What is masked has a derivative of 0, also where its own would be infinite."""
        x = np.array([[4.0, 0, -1, 9]], dtype="f4")
        nodes = [
            constant("zero", 0),
            helper.make_node("Greater", ["x", "zero"], ["valid"]),
            helper.make_node("Sqrt", ["x"], ["root"]),
            helper.make_node("Where", ["valid", "root", "zero"], ["y"]),
        ]
        found, replaced = slopes(nodes, x, "float32")
        assert found == pytest.approx(np.array([[0.25, 0, 0, 1 / 6]]), abs=1e-6)
        assert not any(replaced.values())


@pytest.mark.parametrize(
    ("operator", "x", "expected"),
    [
        ("Sqrt", [0.0, 4.0], [0, 0.25]),
        ("Log", [0.0, -1.0, 2.0], [0, 0, 0.5]),
        ("Reciprocal", [0.0, 2.0], [0, -0.25]),
        ("Exp", [1000.0, 0.0], [0, 1]),
    ],
)
def test_an_infinite_derivative_is_0_and_is_counted(operator: str, x: list[float], expected: list[float]) -> None:
    found, replaced = slopes([helper.make_node(operator, ["x"], ["y"], name="here")], [x])
    assert found.tolist() == [expected]
    assert replaced == {"here": expected.count(0)}


@pytest.mark.parametrize(
    ("exponent", "x", "expected"),
    [(0.5, [0.0, 4], [0, 0.25]), (1.5, [0.0, 4], [0, 3]), (-1, [0.0, 2], [0, -0.25]), (3, [0.0, 2], [0, 12])],
)
def test_powers(exponent: float, x: list[float], expected: list[float]) -> None:
    nodes = [constant("e", exponent), helper.make_node("Pow", ["x", "e"], ["y"])]
    assert slopes(nodes, [x])[0].tolist() == [pytest.approx(expected)]


def test_pairs_of_a_particle_with_itself_have_no_slope() -> None:
    """sqrt((x_i - x_j)^2) is not differentiable at i = j; the sum over pairs counts each other pair twice."""
    nodes = [
        helper.make_node("Unsqueeze", ["x", "two"], ["row"]),
        helper.make_node("Unsqueeze", ["x", "one"], ["column"]),
        helper.make_node("Sub", ["row", "column"], ["d"]),
        helper.make_node("Mul", ["d", "d"], ["square"]),
        helper.make_node("Sqrt", ["square"], ["y"], name="distance"),
    ]
    axes = [helper.make_node("Constant", [], [name], value_ints=[axis]) for name, axis in (("one", 1), ("two", 2))]
    found, replaced = slopes(axes + nodes, [[0.0, 1.0, 3.0]])
    assert found.tolist() == [[-4, 0, 4]]
    assert replaced == {"distance": 3}


class TestBundles:
    def test_derivatives_are_the_differences_of_the_file(self) -> None:
        bundle = jt.load_bundle("tinyParT")
        inputs = {name: array[:2] for name, array in usual_jets(bundle)[0].items()}
        inputs = {name: array[..., :6] if name.startswith("pf") else array[..., :3] for name, array in inputs.items()}
        exact = gradients(bundle, inputs, Column(), dtype="float64")
        close = gradients(bundle, inputs, Column(), method="differences")
        assert (exact.method, close.method, close.reason) == ("torch", "differences", "differences were asked for")
        assert exact.deviation < 1
        assert not exact.replaced
        assert not exact.not_finite.any()
        assert close.outputs == pytest.approx(exact.outputs, abs=1e-6)
        for name, array in exact.values.items():
            assert (array.shape, array.dtype) == (inputs[name].shape, np.float32)
            assert close.values[name] == pytest.approx(array, abs=2e-6), name
        assert np.abs(exact.values["pf_features"]).max() > 1e-5
        assert not exact.values["pf_mask"].any()

    def test_tensors_inside_of_the_graph(self) -> None:
        bundle = jt.load_bundle("tinyParT")
        inputs = {name: array[:2] for name, array in usual_jets(bundle)[0].items()}
        graph = TorchGraph(bundle.require_weights())
        hidden = next(step.outputs[0] for step in graph._plan.steps if step.operator == "Tanh")
        exact = gradients(bundle, inputs, Named(hidden))
        close = gradients(bundle, inputs, Named(hidden), method="differences")
        assert close.values["pf_features"] == pytest.approx(exact.values["pf_features"], rel=0.02, abs=2e-3)

    @pytest.mark.parametrize("method", ["torch", "differences"])
    def test_no_such_tensor(self, method: str) -> None:
        bundle = jt.load_bundle("tinyParT")
        with pytest.raises(UnknownName, match=r"unknown tensor in the graph .*model.onnx: 'scoers' \(nearest: scores"):
            gradients(bundle, usual_jets(bundle, 2)[0], Named("scoers"), method=method)

    def test_without_weights(self) -> None:
        bundle = jt.load_bundle("Sophon")
        with pytest.raises(MissingModelFile, match="has no weights"):
            gradients(bundle, {}, Column())

    def test_outputs_with_a_softmax_of_the_card(self, tmp_path: Path) -> None:
        """The softmax that the graph lacks is part of the columns."""
        bundle = jt.Bundle.from_folder(write_bundle(tmp_path / "model"))
        inputs = usual_jets(bundle, 3)[0]
        found = gradients(bundle, inputs, Column(1))
        assert found.outputs.shape == (len(inputs["pf_mask"]),)
        close = gradients(bundle, inputs, Column(1), method="differences")
        assert close.outputs == pytest.approx(found.outputs, abs=1e-6)
