"""Graphs written anew: the same numbers from fewer operators."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from networks import graph
from transformers import probes, transformer

from jettagger.sessions.rewriting import rewrite

PROBES = probes((2, 7, 3), (3, 11, 5), (5, 6, 2))
OTHERS = probes((1, 4, 1), (4, 20, 5), (7, 13, 1))


def run(model: bytes, inputs: dict[str, Any]) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return np.concatenate(session.run(None, inputs), axis=1)


def operators(model: bytes) -> Counter[str]:
    return Counter(node.op_type for node in onnx.ModelProto.FromString(model).graph.node)


def rewritten(model: onnx.ModelProto) -> bytes:
    found = rewrite(model.SerializeToString(), PROBES)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def pair() -> tuple[bytes, bytes]:
    model = transformer()
    return model.SerializeToString(), rewritten(model)


@pytest.mark.parametrize("inputs", [*PROBES, *OTHERS], ids=lambda inputs: str(inputs["pf_features"].shape))
def test_the_numbers_stay(pair: tuple[bytes, bytes], inputs: Any) -> None:
    before, after = (run(model, inputs) for model in pair)
    np.testing.assert_allclose(after, before, rtol=2e-5, atol=2e-6)


def test_it_is_another_graph(pair: tuple[bytes, bytes]) -> None:
    before, after = map(operators, pair)
    assert sum(after.values()) < 0.7 * sum(before.values())
    assert after["NonZero"] == 1, "pairs are made for one half"
    assert after["Where"] == 3, "the mask is applied once for all blocks; two belong to the table of pairs"
    assert after["Slice"] <= 2, "products are not cut afterwards"
    assert after["Gemm"] == 1 + 2 * (3 + 1 + 2), "each product takes its bias along"
    assert after["FusedMatMul"] == 4
    assert after["Erf"] == 0


def test_more_blocks_need_no_more_shape_arithmetic() -> None:
    def shapes(blocks: int) -> int:
        return operators(rewritten(transformer(blocks=blocks)))["Shape"]

    assert shapes(3) == shapes(1)


def test_interface_stays(pair: tuple[bytes, bytes]) -> None:
    before, after = (onnx.ModelProto.FromString(model).graph for model in pair)
    assert [item.name for item in before.input] == [item.name for item in after.input]
    assert [item.name for item in before.output] == [item.name for item in after.output]


def test_what_is_not_symmetric_does_come_out_different() -> None:
    """Nothing looks into the features; whoever takes the result must compare, as `acceleration` does."""
    model = transformer(symmetric=False)
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
    assert operators(found)["NonZero"] == 1
    assert sum(operators(found).values()) < 600
    for sizes in ((4, 16, 1), (2, 128, 10)):
        probe = inputs(*sizes)
        np.testing.assert_allclose(run(found, probe), run(model, probe), rtol=1e-4, atol=1e-4)
