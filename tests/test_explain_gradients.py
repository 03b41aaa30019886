"""Derivatives of networks: closed forms, differences, and what is said where there are none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from networks import write_bundle
from onnx import TensorProto, helper
from shown import check_shown

import jettagger as jt
from jettagger.errors import ConfigError, MismatchError, MissingModelFile, UnknownName, Unsupported
from jettagger.explain import COLUMNS
from jettagger.explain.attention import attention_weights
from jettagger.explain.gradients import gradients
from jettagger.inference.sample_jets import usual_jets
from jettagger.sessions import open_onnx

torch = pytest.importorskip("torch")

from jettagger.explain.fusion import FUSED, fused  # noqa: E402
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


class TestClippedValues:
    """0 at a bound and beyond it, 1 inside; values that tie share the derivative of their maximum or minimum."""

    x = (-2.0, -1, 0, 1, 2, float("nan"))

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @pytest.mark.parametrize(
        ("bounds", "expected"),
        [
            ({"low": -1}, [0, 0, 1, 1, 1]),
            ({"high": 1}, [1, 1, 1, 0, 0]),
            ({"low": -1, "high": 1}, [0, 0, 1, 0, 0]),
            ({"low": 1, "high": 1}, [0, 0, 0, 0, 0]),
            ({"low": 2, "high": -2}, [0, 0, 0, 0, 0]),
            ({}, [1, 1, 1, 1, 1]),
        ],
    )
    def test_clip(self, bounds: dict[str, float], expected: list[float], dtype: str) -> None:
        names = [name if name in bounds else "" for name in ("low", "high")]
        nodes = [constant(name, value) for name, value in bounds.items()]
        x = [self.x[:-1]]
        if "low" in bounds and bounds["low"] >= bounds.get("high", np.inf):
            nodes += [
                helper.make_node("Clip", ["x", *names], ["clipped"]),
                helper.make_node("Add", ["x", "clipped"], ["y"]),
            ]
            expected = [1, 1, 1, 1, 1]  # of x alone
        else:
            nodes.append(helper.make_node("Clip", ["x", *names], ["y"]))
        assert slopes(nodes, x, dtype)[0].tolist() == [expected]

    @pytest.mark.parametrize(
        ("operator", "expected"), [("Max", [0, 0, 0, 1, 1]), ("Min", [1, 1, 0, 0, 0])], ids=["Max", "Min"]
    )
    @pytest.mark.parametrize("order", [["x", "bound"], ["bound", "x"]], ids=["first", "second"])
    @pytest.mark.parametrize("bound", [0, [[0, 0, 0, 0, 0]] * 2], ids=["number", "tensor"])
    def test_a_bound(self, operator: str, expected: list[float], order: list[str], bound: Any) -> None:
        """Also where each value is compared with several bounds."""
        nodes = [constant("bound", bound), helper.make_node(operator, order, ["y"])]
        found = slopes(nodes, [self.x[:-1]])[0]
        assert found.tolist() == [[np.size(bound) / 5 * item if np.ndim(bound) else item for item in expected]]

    @pytest.mark.parametrize("operator", ["Max", "Min"])
    def test_ties(self, operator: str) -> None:
        """Three values, of which two tie: the derivative of their extreme value is shared."""
        nodes = [
            helper.make_node("Split", ["x"], ["a", "b"], axis=1),
            helper.make_node(operator, ["a", "b"], ["y"]),
        ]
        assert slopes(nodes, [[1.0, 1.0]])[0].tolist() == [[0.5, 0.5]]
        larger = [0, 1] if operator == "Max" else [1, 0]
        assert slopes(nodes, [[1.0, 2.0]])[0].tolist() == [larger]

    @pytest.mark.parametrize(
        ("operator", "attributes", "x", "expected"),
        [
            ("HardSigmoid", {"alpha": 0.5, "beta": 0.5}, [-2.0, -1, 0, 1, 2], [0, 0, 0.5, 0, 0]),
            ("Relu", {}, [-1.0, 0, 1], [0, 0, 1]),
            ("LeakyRelu", {"alpha": 0.25}, [-1.0, 0, 1], [0.25, 0.25, 1]),
            ("Abs", {}, [-1.0, 0, 1], [-1, 0, 1]),
        ],
    )
    def test_activations(
        self, operator: str, attributes: dict[str, float], x: list[float], expected: list[float]
    ) -> None:
        assert slopes([helper.make_node(operator, ["x"], ["y"], **attributes)], [x])[0].tolist() == [expected]

    def test_a_leaky_activation_with_a_slope_of_its_own(self) -> None:
        nodes = [constant("slope", 0.25), helper.make_node("PRelu", ["x", "slope"], ["y"])]
        assert slopes(nodes, [[-1.0, 0, 1]])[0].tolist() == [[0.25, 0.25, 1]]

    def test_values_are_those_of_the_definition(self) -> None:
        """With a derivative and without one, and NaN stays NaN."""
        from jettagger.explain.operators import subgradients

        x = np.array(self.x)
        bound = torch.tensor(0.5, dtype=torch.float64)
        for wanted in (False, True):
            given = torch.tensor(x, requires_grad=wanted)
            pairs = [
                (subgradients.clip(given, -1, 1), np.clip(x, -1, 1)),
                (subgradients.clip(given, None, 0), np.minimum(x, 0)),
                (subgradients.clip(given, 2, -2), np.where(np.isnan(x), x, -2)),
                (subgradients.larger(given, bound), np.maximum(x, 0.5)),
                (subgradients.smaller(bound, given), np.minimum(x, 0.5)),
            ]
            for ours, expected in pairs:
                assert ours.requires_grad == wanted or expected[0] == -2
                np.testing.assert_array_equal(ours.detach().numpy(), expected)


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
        check_shown(graph)
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


def one_input(folder: Path, nodes: list[Any], more: list[Any] | None = None) -> jt.Bundle:
    """A network of two variables of up to four candidates, with three scores."""
    width = helper.make_tensor_value_info("pf_features", TensorProto.FLOAT, ["N", 2, "n"])
    graph = helper.make_graph(
        nodes, "graph", [width], [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 2])], more or []
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return write_model(folder, model)


def write_model(folder: Path, model: Any) -> jt.Bundle:
    from networks import description

    folder.mkdir()
    onnx.save(model, folder / "model.onnx")
    groups = {"pf_features": ("pfcand_pt_log_nopuppi", "pfcand_etarel")}
    (folder / "preprocess.json").write_text(json.dumps(description(groups, ["score_a", "score_b"])))
    return jt.Bundle.from_folder(folder)


class TestBadInputs:
    x = np.random.default_rng(4).uniform(0.1, 1, (3, 2, 4)).astype("f4")

    def test_an_unknown_operator_falls_back_to_differences(self, tmp_path: Path) -> None:
        """Its name, node and version are said; the slopes are right."""
        nodes = [
            helper.make_node("Tan", ["pf_features"], ["tangent"], name="the node"),
            helper.make_node("ReduceSum", ["tangent", "last"], ["scores"], keepdims=0),
        ]
        last = onnx.numpy_helper.from_array(np.array([2], dtype="i8"), "last")
        bundle = one_input(tmp_path / "net", nodes, [last])
        found = gradients(bundle, {"pf_features": self.x}, Named("scores"))
        assert found.method == "differences"
        assert "the operator Tan (node 'the node', version 17 of the operators) has no implementation" in found.reason
        assert "the nearest of them" in found.reason
        assert found.values["pf_features"] == pytest.approx(1 / np.cos(self.x) ** 2, rel=1e-3)
        with pytest.raises(Unsupported, match="operator Tan"):
            gradients(bundle, {"pf_features": self.x}, Named("scores"), method="torch")

    def test_a_form_of_an_operator_that_is_not_implemented_does_so_too(self, tmp_path: Path) -> None:
        nodes = [
            helper.make_node("CumSum", ["pf_features", "axis"], ["sums"], reverse=1),
            helper.make_node("ReduceSum", ["sums", "last"], ["scores"], keepdims=0),
        ]
        more = [
            onnx.numpy_helper.from_array(np.array(2, dtype="i8"), "axis"),
            onnx.numpy_helper.from_array(np.array([2], dtype="i8"), "last"),
        ]
        found = gradients(one_input(tmp_path / "net", nodes, more), {"pf_features": self.x}, Named("scores"))
        assert found.method == "differences"
        assert "CumSum (node 'sums', version 17 of the operators) with exclusive or reverse sums" in found.reason
        assert found.values["pf_features"] == pytest.approx(np.tile([1.0, 2, 3, 4], (3, 2, 1)), rel=1e-4)

    def test_derivatives_that_are_not_finite_are_counted_per_jet(self, tmp_path: Path) -> None:
        nodes = [
            helper.make_node("Mul", ["pf_features", "pf_features"], ["square"]),
            helper.make_node("ReduceSum", ["square", "last"], ["scores"], keepdims=0),
        ]
        last = onnx.numpy_helper.from_array(np.array([2], dtype="i8"), "last")
        x = self.x.copy()
        x[1, 0, 2] = np.inf
        found = gradients(one_input(tmp_path / "net", nodes, [last]), {"pf_features": x}, Named("scores"))
        assert found.not_finite.tolist() == [0, 1, 0]
        assert found.jets_not_finite == (1,)

    def test_a_target_that_depends_on_nothing(self) -> None:
        bundle = jt.load_bundle("tinyParT")
        inputs = usual_jets(bundle, 2)[0]

        class Constant(Column):
            def __call__(self, outputs: Mapping[str, Any]) -> Any:
                return 0 * outputs[COLUMNS][:, 0].detach()

        found = gradients(bundle, inputs, Constant())
        assert not any(array.any() for array in found.values.values())
        assert found.unused == ("pf_features", "pf_vectors", "sv_features", "sv_vectors")

    def test_a_session_that_rounds_is_no_proof(self) -> None:
        """Half precision differs by more than the tolerance, and that is said."""
        bundle = jt.load_bundle("tinyParT")
        inputs = usual_jets(bundle, 2)[0]

        class Rounding:
            def run(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
                found = open_onnx(bundle.require_graph(), 1).run(feeds)
                return {name: array.astype("f2").astype("f4") for name, array in found.items()}

        graph = TorchGraph(bundle.require_weights())
        assert graph.checked(open_onnx(bundle.require_graph(), 1), inputs) < 1
        assert graph.checked(bundle, inputs) < 1
        with pytest.raises(MismatchError, match="times the tolerance"):
            graph.checked(Rounding(), inputs)

    def test_other_arguments(self, tmp_path: Path) -> None:
        path = jt.load_bundle("tinyParT").require_weights()
        with pytest.raises(ConfigError, match="dtype is 'float16', expected 'float32' or 'float64'"):
            TorchGraph(path, "float16")
        with pytest.raises(MissingModelFile, match="no ONNX file"):
            TorchGraph(tmp_path / "absent.onnx")
        with pytest.raises(MismatchError, match="inputs are x, expected pf_features"):
            TorchGraph(path).run({"x": torch.zeros(1)})
        old = onnx.load(path)
        old.opset_import[0].version = 6
        with pytest.raises(Unsupported, match="version 6 of the operators, expected at least 7"):
            TorchGraph(old)


def test_attention_weights_of_the_embedded_tagger() -> None:
    """As ONNX Runtime gives them; those of each query add up to one."""
    bundle = jt.load_bundle("inclParTToyV1")
    inputs = usual_jets(bundle, 8)[-1]
    layers = attention_weights(bundle, inputs)
    n_jets, keys = len(inputs["pf_mask"]), inputs["pf_mask"].shape[2] + inputs["sv_mask"].shape[2]
    shapes = [weights.shape for weights in layers.values()]
    assert shapes == 3 * [(n_jets, 4, keys, keys)] + 2 * [(n_jets, 4, 1, keys + 1)]
    model = onnx.load(bundle.require_weights())
    for name, weights in layers.items():
        assert weights.sum(axis=-1) == pytest.approx(np.ones(weights.shape[:-1]), abs=1e-5)
        model.graph.output.append(onnx.ValueInfoProto(name=name))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    for name, theirs in zip(layers, session.run([*layers], inputs), strict=True):
        assert layers[name] == pytest.approx(theirs.reshape(layers[name].shape), abs=1e-5)


def test_a_network_without_attention() -> None:
    bundle = jt.load_bundle("tinyParT")
    assert attention_weights(bundle, usual_jets(bundle, 2)[0]) == {}


def test_steps_as_one_are_the_steps_alone() -> None:
    """Layer normalisations, GELU and biases: fewer steps, the same values, unless the steps between are asked for."""
    bundle = jt.load_bundle("inclParTToyV1")
    inputs = usual_jets(bundle, 8)[-1]
    graph = TorchGraph(bundle.require_weights())
    constants, steps = graph._plan.constants, graph.steps
    shorter = fused(steps, constants, graph.outputs)
    kinds = {step.operator for step in shorter} & {*FUSED}
    assert kinds == {"fused Gelu", "fused Linear"}  # it has operators for layer normalisations
    assert len(shorter) < len(steps) - 30
    feeds = {name: torch.from_numpy(array) for name, array in inputs.items()}
    found = graph.run(feeds)["scores"].numpy()
    alone = graph.run(feeds, ["scores", *(step.outputs[0] for step in steps if step.operator in ("Erf", "MatMul"))])
    assert found == pytest.approx(alone["scores"].numpy(), rel=1e-5, abs=1e-6)


def test_a_layer_normalisation_in_single_operations(tmp_path: Path) -> None:
    def layer(*names: str, to: str, operator: str, **attributes: Any) -> Any:
        return helper.make_node(operator, list(names), [to], **attributes)

    nodes = [
        *(constant(name, value) for name, value in (("two", 2), ("epsilon", 0.1))),
        *(constant(name, value) for name, value in (("w", [1, 2, -1.0]), ("b", [0.5, 0, 1]))),
        layer("x", to="mean", operator="ReduceMean", axes=[-1]),
        layer("x", "mean", to="d", operator="Sub"),
        layer("d", "two", to="p", operator="Pow"),
        layer("p", to="v", operator="ReduceMean", axes=[-1]),
        layer("v", "epsilon", to="e", operator="Add"),
        layer("e", to="s", operator="Sqrt"),
        layer("d", "s", to="q", operator="Div"),
        layer("q", "w", to="m", operator="Mul"),
        layer("m", "b", to="y", operator="Add"),
    ]
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "y", "q")]
    graph = helper.make_graph(nodes, "graph", infos[:1], infos[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    executor = TorchGraph(model)
    shorter = fused(executor.steps, executor._plan.constants, ("y",))
    assert [step.operator for step in shorter] == ["fused LayerNormalization"]
    assert len(fused(executor.steps, executor._plan.constants, ("y", "q"))) == 9
    x = np.random.default_rng(3).normal(size=(2, 4, 3)).astype("f4")
    theirs = onnxruntime.InferenceSession(model.SerializeToString()).run(["y", "q"], {"x": x})
    for names in (["y"], ["y", "q"]):
        for name, found in executor.run({"x": torch.from_numpy(x)}, names).items():
            assert found.numpy() == pytest.approx(theirs[["y", "q"].index(name)], abs=1e-6)
