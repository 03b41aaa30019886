"""The steps of rewriting, one at a time, on graphs of a few nodes: what changes, what stays, and the numbers.

ONNX Runtime simplifies nothing here, so that the operators that are left are those that a step leaves, in any version.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jettagger.sessions.rewriting.network import Net, content_of
from jettagger.sessions.rewriting.products import (
    fold_scales,
    fold_standards,
    fold_transpositions,
    fuse_biases,
    join_rows,
    split_products,
)
from jettagger.sessions.rewriting.sharing import merge_equal, merge_shapes

Step = Callable[[Net], None]


def network(body: str, shape: str = "N, L, 3", result: str = "float y", **constants: Any) -> onnx.ModelProto:
    """A network of x, float32[``shape``], from nodes as text and constants."""
    model = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["": 17, "com.microsoft": 1]>
        toy (float[{shape}] x) => ({result}) {{ {body} }}"""
    )
    for output in model.graph.output:  # of any shape
        output.type.tensor_type.ClearField("shape")
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()
    )
    return model


def numbers(*shape: int, seed: int = 1) -> Any:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype("f4")


def run(model: onnx.ModelProto | bytes, inputs: Mapping[str, Any]) -> list[Any]:
    content = model if isinstance(model, bytes) else model.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return list(session.run(None, dict(inputs)))


def copied(model: onnx.ModelProto) -> onnx.ModelProto:
    """Steps change the nodes of a model in their place."""
    return onnx.ModelProto.FromString(model.SerializeToString())


def after(
    model: onnx.ModelProto,
    *steps: Step,
    shapes: tuple[tuple[int, ...], ...] = ((2, 7, 3), (3, 5, 3)),
    other: Any = None,
) -> Net:
    """A network after some steps, which gives the same numbers for the probes and for a shape that none has."""
    net = Net(copied(model))
    probes = [{"x": numbers(*shape)} for shape in shapes]
    for step in steps:
        net.observe(probes)
        step(net)
        net.prune()
    unseen = numbers(*(other or (5, 11, *shapes[0][2:])), seed=2)
    for inputs in (*probes, {"x": unseen}, {"x": unseen[:1]}):
        for found, expected in zip(run(net.model(), inputs), run(model, inputs), strict=True):
            assert found.shape == expected.shape
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    return net


def operators(net: Net) -> Counter[str]:
    return Counter(node.op_type for node in net.nodes)


class TestSharing:
    def test_equal_nodes_are_one(self) -> None:
        """Also behind constants of equal content; attributes, types and the order of operands make a difference."""
        body = """
            a = Mul(x, two) b = Mul(x, zwei) c = Exp(a) d = Exp(b) e = Sub(c, x) f = Sub(x, d)
            g = Softmax<axis = 1>(x) h = Softmax<axis = 2>(x) i = Softmax<axis = 2>(x)
            j = Add(e, f) k = Add(g, h) l = Add(k, i) y = Add(j, l)"""
        model = network(body, two=np.float32(2), zwei=np.float32(2))
        assert operators(after(model, merge_equal)) == Counter(Mul=1, Exp=1, Sub=2, Softmax=2, Add=4)

    def test_outputs_that_a_node_omits_are_no_tensors(self) -> None:
        """Nodes are twins only if they omit the same; no step looks for the shape of what is not there."""
        rng = np.random.default_rng(2)
        weights = {"w": rng.normal(size=(1, 4, 3)), "r": rng.normal(size=(1, 4, 4))}
        constants: dict[str, Any] = {name: value.astype("f4") for name, value in weights.items()}
        cell = "RNN<hidden_size = 4>(x, w, r)"
        body = f"""
            , a = {cell} , b = {cell} all, c = {cell} d = Add(a, b) e = Add(d, c) f = Squeeze(all, one)
            y = Add(e, f)"""
        model = network(body, **constants, one=np.array([1]))
        assert operators(after(model, merge_equal, join_rows)) == Counter(RNN=2, Add=3, Squeeze=1)

    def test_outputs_of_the_network_keep_their_names(self) -> None:
        model = network("a = Exp(x) b = Exp(x) y = Identity(a) z = Exp(b)", result="float a, float b, float z")
        net = Net(copied(model))
        merge_equal(net)
        net.prune()
        assert [item.name for item in onnx.load_from_string(net.model()).graph.output] == ["a", "b", "z"]
        assert operators(after(model, merge_equal)) == Counter(Exp=2, Identity=1)

    def test_nodes_with_inner_graphs_stay(self) -> None:
        """Their inner nodes may use anything."""
        branch = "then_branch = t () => (float u) { u = Exp(x) }, else_branch = e () => (float v) { v = Abs(x) }"
        model = network(f"p = If(yes) <{branch}> q = If(yes) <{branch}> y = Add(p, q)", yes=np.array(True))
        for inner in (node.attribute for node in model.graph.node if node.op_type == "If"):
            for attribute in inner:
                attribute.g.output[0].type.tensor_type.ClearField("shape")
        net = Net(copied(model))
        merge_equal(net)
        net.prune()
        assert operators(net) == Counter(If=2, Add=1)

    def test_shapes_are_computed_once_and_fixed_ones_never(self) -> None:
        body = """
            s = Shape(x) e = Exp(x) t = Shape(e) n = Gather<axis = 0>(s, zero) w = Gather<axis = 0>(t, two)
            r = Concat<axis = 0>(n, w) a = ReduceSum<keepdims = 0>(x, one) y = Reshape(a, r)"""
        model = network(body, zero=np.array([0]), two=np.array([2]), one=np.array([1]))
        # the width is a constant for all probes, the number of jets is not
        assert operators(after(model, merge_shapes)) == Counter(Shape=1, Gather=1, Concat=1, ReduceSum=1, Reshape=1)

    def test_a_shape_seen_once_is_no_constant(self) -> None:
        model = network("s = Shape(x) f = Cast<to = 1>(s) y = Add(f, one)", one=np.float32(1))
        assert operators(after(model, merge_shapes, shapes=((2, 7, 3),))) == Counter(Shape=1, Cast=1, Add=1)

    def test_contents_differ_by_type_shape_and_sign_of_zero(self) -> None:
        values = [np.float32(0), np.float32(-0.0), np.float64(0), np.zeros(1, "f4"), np.zeros((1, 1), "f4")]
        assert len({content_of([np.asarray(value)]) for value in values}) == len(values)
        assert content_of([np.arange(6).reshape(2, 3).T]) == content_of([np.arange(6).reshape(2, 3).T.copy()])


class TestProducts:
    @pytest.mark.parametrize("body", ["y = Add(p, bias)", "y = Add(bias, p)", "y = Relu(p)", "y = Add(p, all)"])
    def test_products_of_stacked_rows_are_one_gemm(self, body: str) -> None:
        """With the bias of either side; a summand of another shape stays."""
        model = network(f"p = MatMul(x, w) {body}", w=numbers(3, 4), bias=numbers(4), all=numbers(1, 4))
        used = {name for node in model.graph.node for name in node.input}
        kept = [item for item in model.graph.initializer if item.name in used]
        del model.graph.initializer[:]
        model.graph.initializer.extend(kept)
        left = operators(after(model, fuse_biases))
        assert (left["Gemm"], left["MatMul"]) == (1, 0)
        assert left["Add"] == ("all" in body)

    def test_a_bias_that_others_need_too_is_added_apart(self) -> None:
        model = network("p = MatMul(x, w) a = Add(p, bias) b = Exp(p) y = Add(a, b)", w=numbers(3, 4), bias=numbers(4))
        assert operators(after(model, fuse_biases))["Add"] == operators(Net(model))["Add"]

    @pytest.mark.parametrize("flip", [0, 1])
    def test_matrices_stand_upright(self, flip: int) -> None:
        """transA turns the other factor."""
        shapes, other = (((3, 4), (3, 6)), (3, 9)) if flip else (((4, 3), (6, 3)), (9, 3))
        body = f"y = Gemm<transA = {flip}, transB = 1, alpha = 0.5, beta = 2.0>(x, w, bias)"
        net = Net(network(body, "A, B", w=numbers(5, 3), bias=numbers(5)))
        fuse_biases(net)
        attributes = {item.name: item.i for item in net.nodes[0].attribute}
        assert attributes["transB"] == flip
        for shape in (*shapes, other):
            x = numbers(*shape)
            expected = 0.5 * (x.T if flip else x) @ numbers(5, 3).T + 2 * numbers(5)
            np.testing.assert_allclose(run(net.model(), {"x": x})[0], expected, rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize(
        ("start", "stop", "axis", "step", "columns"),
        [
            (0, 2, 2, 1, 2),
            (2, 1000, -1, 1, 4),
            (1, -1, 2, 1, 4),
            (0, 4, -1, 2, 6),
            (-2, 1000, 2, 1, 6),
            (0, 2, 1, 1, 6),
        ],
    )
    def test_slices_of_columns_are_products_of_their_own(
        self, start: int, stop: int, axis: int, step: int, columns: int
    ) -> None:
        """Those in steps, from the end, and those of the rows are taken from the whole product."""
        bounds = {name: np.array([value]) for name, value in zip("abcd", (start, stop, axis, step), strict=True)}
        body = "p = MatMul(x, w) q = Add(p, bias) r = Slice(q, a, b, c, d) y = Exp(r)"
        net = after(network(body, w=numbers(3, 6), bias=numbers(6), **bounds), fuse_biases, split_products)
        (product,) = (node for node in net.nodes if node.op_type == "Gemm")
        assert [net.constants[name].shape for name in product.input[1:]] == [(3, columns), (columns,)]

    def test_a_split_is_as_many_products(self) -> None:
        body = (
            "p = MatMul(x, w) q = Add(p, bias) a, b = Split<axis = -1>(q, widths) c = Exp(b) y = Concat<axis = 2>(c, a)"
        )
        model = network(body, w=numbers(3, 6), bias=numbers(6), widths=np.array([2, 4]))
        left = operators(after(model, fuse_biases, split_products))
        assert (left["Gemm"], left["Split"]) == (2, 0)

    @pytest.mark.parametrize(
        ("kind", "factor", "folded"),
        [
            ("Mul", np.float32(0.25), True),
            ("Div", np.full((1, 1, 1), 4, "f4"), True),
            ("Mul", np.array([1, 2, 4, 8], "f4"), True),
            ("Div", np.array([1, 2, 4, 8], "f4"), True),
            ("Mul", np.array([1, 2, 0, 8], "f4"), False),
            ("Div", numbers(1, 7, 1) + 5, False),
        ],
        ids=["number", "three axes", "columns", "divided columns", "zero", "rows"],
    )
    def test_scales_go_into_the_matrix(self, kind: str, factor: Any, folded: bool) -> None:
        """For each column, not for each row, and not where a column is zero: 0 times infinity is not 0."""
        body = f"p = MatMul(x, w) q = Add(p, bias) r = {kind}(q, factor) y = Identity(r)"
        model = network(body, w=numbers(3, 4), bias=numbers(4), factor=factor)
        net = after(model, fuse_biases, fold_scales, shapes=((2, 7, 3), (3, 7, 3)), other=(5, 7, 3))
        assert operators(net)[kind] == (not folded)

    @pytest.mark.parametrize("more", ["", ", c"])
    @pytest.mark.parametrize("pads", ["", "<pads = [0, 1, 0, 1]>"])
    def test_batch_norms_go_into_the_next_convolution(self, more: str, pads: str) -> None:
        """Not where zeros are padded between the two: they are no standardised zeros."""
        norm = "BatchNormalization<epsilon = 0.01>(x, scale, shift, mean, variance)"
        body = f"n = {norm} v = Conv{pads}(n, w{more}) y = Exp(v)"
        constants = {name: numbers(3, seed=seed) for seed, name in enumerate(("scale", "shift", "mean"))}
        if more:
            constants["c"] = numbers(4)
        model = network(body, "N, 3, L, L", w=numbers(4, 3, 1, 1), variance=numbers(3) ** 2, **constants)
        net = after(model, fold_standards, shapes=((2, 3, 5, 5), (3, 3, 4, 4)), other=(5, 3, 6, 6))
        assert operators(net) == Counter(Conv=1, Exp=1) + Counter(BatchNormalization=bool(pads))

    def test_transpositions_go_into_batched_products(self) -> None:
        body = """
            a = Transpose<perm = [1, 0, 2]>(x) b = Transpose<perm = [1, 2, 0]>(x) p = MatMul(a, b)
            c = Transpose<perm = [0, 2, 1]>(x) q = MatMul(x, c) r = Tanh(p) s = Tanh(q)
            y = ReduceSum<keepdims = 0>(r, axes) z = ReduceSum<keepdims = 0>(s, axes)"""
        net = after(network(body, result="float y, float z", axes=np.array([1, 2])), fold_transpositions)
        assert operators(net) == Counter(FusedMatMul=1, MatMul=1, Transpose=1, Tanh=2, ReduceSum=2)

    def test_row_wise_operators_work_on_stacked_rows(self) -> None:
        body = """
            p = MatMul(x, w) q = Add(p, bias) r = LayerNormalization<axis = -1>(q, scale, shift)
            s = Mul(r, one) t = MatMul(s, v) y = Add(t, shift)"""
        constants = {"w": numbers(3, 4), "v": numbers(4, 4), "bias": numbers(4)}
        constants |= {"scale": numbers(4, seed=3), "shift": numbers(4, seed=4), "one": np.float32(1)}
        model = network(body, **constants)
        apart, joined = (operators(after(model, *steps)) for steps in ((fuse_biases,), (fuse_biases, join_rows)))
        assert (apart["Mul"], joined["Mul"]) == (1, 0)
        assert joined["Reshape"] < apart["Reshape"]

    @settings(max_examples=25)
    @given(
        rows=st.lists(
            st.sampled_from(["Relu(h)", "Add(h, bias)", "Mul(h, scale)", "Div(h, scale)", "MatMul(h, w)"]), max_size=6
        )
    )
    def test_any_chain_gives_the_same_numbers(self, rows: list[str]) -> None:
        body = " ".join(f"h{place + 1} = {text.replace('(h', f'(h{place}')}" for place, text in enumerate(rows))
        body = f"h0 = MatMul(x, first) {body} y = Identity(h{len(rows)})"
        constants = {"first": numbers(3, 4), "w": numbers(4, 4), "bias": numbers(4), "scale": np.abs(numbers(4)) + 1}
        used = {name: value for name, value in constants.items() if name in body}
        after(network(body, **used), merge_equal, fuse_biases, fold_scales, join_rows)


class TestNet:
    def test_what_nothing_needs_is_left_out_and_the_rest_is_sorted(self) -> None:
        net = Net(network("a = Exp(x) b = Abs(x) y = Mul(a, two)", two=np.float32(2), three=np.float32(3)))
        net.nodes.reverse()
        net.prune()
        assert [node.op_type for node in net.nodes] == ["Exp", "Mul"]
        assert list(net.constants) == ["two"]

    def test_names_are_new_in_a_graph_that_was_written_before(self) -> None:
        first = Net(network("y = Exp(x)"))
        first.replace("y", first.add("Mul", ["x", first.constant(np.float32(3))]))
        first.prune()
        second = Net(onnx.load_from_string(first.model()))
        taken = {*second.constants, *(name for node in second.nodes for name in node.output)}
        assert second.constant(np.float32(1)) not in taken
        assert second.add("Neg", ["x"]) not in taken
        x = numbers(2, 3, 3)
        np.testing.assert_array_equal(run(first.model(), {"x": x})[0], 3 * x)

    def test_inner_graphs_are_users_too(self) -> None:
        branch = "then_branch = t () => (float u) { u = Neg(a) }, else_branch = e () => (float v) { v = Neg(b) }"
        net = Net(network(f"a = Exp(x) b = Abs(x) y = If(yes) <{branch}>", yes=np.array(True)))
        assert [node.op_type for node in net.users()["a"]] == ["If"]
        net.replace("a", "b")
        net.prune()
        assert [node.op_type for node in net.nodes] == ["Abs", "If"]

    def test_ranks_and_numbers(self) -> None:
        net = Net(network("s = Shape(x) y = Mul(x, two)", two=np.array([[2]], "f4"), more=numbers(2)))
        assert net.rank("x") == -1
        net.observe([{"x": numbers(2, 4, 3)}, {"x": numbers(3, 5, 3)}])
        assert (net.rank("x"), net.rank("s"), net.rank("nothing")) == (3, 1, -1)
        assert (net.scalar("two"), net.scalar("more"), net.scalar("x")) == (2, None, None)
        assert [value.tolist() for value in net.values["s"]] == [[2, 4, 3], [3, 5, 3]]
        assert "y" not in net.values
