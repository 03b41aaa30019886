"""Graphs written anew: the same numbers from fewer operators."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from networks import graph
from transformers import probes, transformer

from jettagger.sessions.rewriting import rewrite

PROBES = probes((2, 7, 3), (3, 11, 5), (5, 6, 2))
OTHERS = probes((1, 4, 1), (4, 20, 5), (7, 13, 1), (1, 2, 1))


def run(model: bytes, inputs: dict[str, Any]) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return np.concatenate(session.run(None, inputs), axis=1)


def processor_seconds(model: bytes, inputs: dict[str, Any]) -> float:
    """Of one run on one core, the fastest of three: what else the machine does counts little."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    spent = []
    for _ in range(4):
        start = process_time()
        session.run(None, inputs)
        spent.append(process_time() - start)
    return min(spent[1:])


def operators(model: bytes) -> Counter[str]:
    return Counter(node.op_type for node in onnx.ModelProto.FromString(model).graph.node)


def rewritten(model: onnx.ModelProto) -> bytes:
    found = rewrite(model.SerializeToString(), PROBES)
    assert found is not None
    return found


@pytest.fixture(scope="module", params=[False, True], ids=["unsqueezed", "transposed"])
def pair(request: pytest.FixtureRequest) -> tuple[bytes, bytes]:
    model = transformer(transposed=request.param)
    return model.SerializeToString(), rewritten(model)


@pytest.mark.parametrize("inputs", [*PROBES, *OTHERS], ids=lambda inputs: str(inputs["pf_features"].shape))
def test_the_numbers_stay(pair: tuple[bytes, bytes], inputs: Any) -> None:
    before, after = (run(model, inputs) for model in pair)
    np.testing.assert_allclose(after, before, rtol=2e-5, atol=2e-6)


def test_a_block_of_attention_takes_less_than_half_of_its_operators() -> None:
    """What a block adds: products with their bias, scores and their scale are fused, shapes and masks shared."""
    models = [transformer(blocks=blocks) for blocks in (1, 3)]
    before = [operators(model.SerializeToString()) for model in models]
    after = [operators(rewritten(model)) for model in models]
    one_before, three_before, one_after, three_after = (sum(counts.values()) for counts in (*before, *after))
    assert three_after - one_after < (three_before - one_before) / 2
    for shared in ("Shape", "Where", "Slice"):  # the mask is applied once, products are not cut afterwards
        assert after[1][shared] == after[0][shared]
    for counts, rewritten_counts in zip(before, after, strict=True):
        assert rewritten_counts["Erf"] < counts["Erf"], "the activation is one operator"


def test_a_rewritten_graph_is_not_rewritten_again(pair: tuple[bytes, bytes]) -> None:
    again = rewrite(pair[1], PROBES)
    assert again is None or sum(operators(again).values()) <= sum(operators(pair[1]).values())


def test_interface_stays(pair: tuple[bytes, bytes]) -> None:
    before, after = (onnx.ModelProto.FromString(model).graph for model in pair)
    assert [item.name for item in before.input] == [item.name for item in after.input]
    assert [item.name for item in before.output] == [item.name for item in after.output]


@pytest.mark.parametrize("transposed", [False, True])
def test_what_is_not_symmetric_does_come_out_different(transposed: bool) -> None:
    """Nothing looks into the features; whoever takes the result must compare, as `acceleration` does."""
    model = transformer(symmetric=False, transposed=transposed)
    after = run(rewritten(model), OTHERS[2])
    assert np.abs(after - run(model.SerializeToString(), OTHERS[2])).max() > 1e-3


@pytest.mark.parametrize("options", [{}, {"fault": "order"}, {"opset": 14}, {"joined": False}], ids=str)
def test_other_networks(options: Any) -> None:
    model = graph(**options).SerializeToString()
    found = rewrite(model, PROBES)
    for inputs in OTHERS:
        np.testing.assert_allclose(run(found or model, inputs), run(model, inputs), rtol=1e-5, atol=1e-6)


def test_old_operator_sets_are_left_alone() -> None:
    x = onnx.helper.make_tensor_value_info("pf_mask", onnx.TensorProto.FLOAT, ["N", 1, "n"])
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", 1, "n"])
    content = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["pf_mask"], ["y"])], "old", [x], [y])
    model = onnx.helper.make_model(content, opset_imports=[onnx.helper.make_opsetid("", 9)], ir_version=6)
    assert rewrite(model.SerializeToString(), PROBES) is None


@pytest.mark.slow
@pytest.mark.data
def test_the_network_of_2023(shared: Path) -> None:
    """The file that the steps were written for; four-momenta with and without padding."""
    rng = np.random.default_rng(0)

    def inputs(jets: int, n_pf: int, n_sv: int) -> dict[str, Any]:
        found = {}
        for name, width, length in (("pf", 25, n_pf), ("sv", 11, n_sv)):
            pt, eta, phi = np.exp(rng.normal(1.5, 1, (jets, length))), *rng.normal(0, 0.4, (2, jets, length))
            vectors = [pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta) * 1.0001]
            mask = np.ones((jets, 1, length))
            mask[0, 0, length // 2 + 1 :] = 0
            found[f"{name}_features"] = rng.normal(size=(jets, width, length)) * mask
            found[f"{name}_vectors"] = np.stack(vectors, axis=1) * mask
            found[f"{name}_mask"] = mask
        return {name: array.astype("f4") for name, array in found.items()}

    model = (shared / "models" / "part-ak8-2023" / "model.onnx").read_bytes()
    found = rewrite(model, [inputs(2, 19, 3), inputs(3, 31, 7), inputs(5, 17, 2)])
    assert found is not None
    assert sum(operators(found).values()) < sum(operators(model).values()) / 2
    assert processor_seconds(found, inputs(8, 100, 10)) < processor_seconds(model, inputs(8, 100, 10))
    for sizes in ((4, 16, 1), (2, 128, 10)):
        probe = inputs(*sizes)
        np.testing.assert_allclose(run(found, probe), run(model, probe), rtol=1e-4, atol=1e-4)


def conv(rank: int, **attributes: Any) -> bytes:
    """Convolutions along one or two axes, with and without bias, an activation and a sum."""
    rng = np.random.default_rng(4)
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    one = (1,) * (rank - 2)
    width = attributes.pop("width", 1)
    constants = {
        "first": rng.normal(size=(6, 3, *one)),
        "bias": rng.normal(size=6),
        "second": rng.normal(size=(4, 6, *one[:-1], width)),
    }
    nodes = [
        helper.make_node("Conv", ["x", "first", "bias"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "second"], ["c"], **attributes),
        helper.make_node("Conv", ["b", "second"], ["d"], **attributes),
        helper.make_node("Tanh", ["d"], ["e"]),
        helper.make_node("Add", ["c", "e"], ["y"]),
    ]
    axes = ["N", 3, *("ab"[: rank - 2])]
    content = helper.make_graph(
        nodes,
        "conv",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, axes)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value.astype("f4"), name) for name, value in constants.items()],
    )
    model = helper.make_model(content, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("rank", [3, 4])
def test_a_gpu_gets_products_in_the_place_of_convolutions(rank: int) -> None:
    rng = np.random.default_rng(5)
    model = conv(rank)
    jets = [{"x": rng.normal(size=(n, 3, *(5 + n, 2 + n)[: rank - 2])).astype("f4")} for n in (2, 3, 4)]
    found = rewrite(model, jets[:2], gpu=True)
    assert found is not None
    assert not {"Conv", "FusedConv", "FusedGemm"} & operators(found).keys()
    for inputs in jets:
        np.testing.assert_allclose(run(found, inputs), run(model, inputs), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("attributes", [{"width": 2}, {"strides": [2]}, {"pads": [1, 1]}], ids=str)
def test_convolutions_over_several_positions_stay(attributes: Any) -> None:
    inputs = [{"x": np.ones((n, 3, 5 + n), dtype="f4")} for n in (2, 3)]
    model = conv(3, **attributes)
    found = rewrite(model, inputs, gpu=True)
    assert found is not None
    assert {"Conv", "FusedConv"} & operators(found).keys()
    for one in inputs:
        np.testing.assert_allclose(run(found, one), run(model, one), rtol=1e-5, atol=1e-5)


def test_a_cpu_keeps_convolutions_of_other_things_than_pairs() -> None:
    model = conv(3)
    found = rewrite(model, [{"x": np.ones((n, 3, 5 + n), dtype="f4")} for n in (2, 3)])
    assert {"Conv", "FusedConv"} & operators(found or model).keys()
