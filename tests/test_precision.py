"""Half precision: products alone, within what is stated, or single precision with a warning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import onnx
import pytest
from gpu import Gpu
from networks import write_bundle
from test_rewriting import OTHERS, PROBES, conv, operators, run
from transformers import transformer, write_transformer

import jettagger as jt
from jettagger.bundles.bundle import Bundle
from jettagger.inference import precision
from jettagger.inference.acceleration import open_session
from jettagger.inference.network import deviations, evaluate
from jettagger.inference.sample_jets import proof_jets
from jettagger.runtime.processcache import forget
from jettagger.sessions.onnx import GpuSession
from jettagger.sessions.rewriting import rewrite
from jettagger.sessions.rewriting.half import half_products
from jettagger.testing import make_events

HALF = onnx.TensorProto.FLOAT16


@pytest.fixture(autouse=True)
def _fresh() -> Any:
    forget()
    yield
    forget()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle.from_folder(write_transformer(tmp_path_factory.mktemp("half") / "toy"))


def test_products_alone_are_rounded() -> None:
    model = transformer().SerializeToString()
    fast = rewrite(model, PROBES)
    assert fast is not None
    half = half_products(fast)
    for inputs in OTHERS:
        expected, found = run(fast, inputs), run(half, inputs)
        assert found.dtype == np.float32
        change = np.abs(found - expected).max()
        assert 0 < change < 2e-2
    graph = onnx.load_from_string(half).graph
    weights = [item for item in graph.initializer if len(item.dims) == 2]
    assert weights
    assert {item.data_type for item in weights} == {HALF}
    casts = operators(half)["Cast"] - operators(fast)["Cast"]
    products = sum(operators(half)[kind] for kind in ("FusedMatMul", "Gemm", "MatMul"))
    assert casts < 3 * products, "casts there and back are left out"


def test_what_chooses_neighbours_is_not_rounded() -> None:
    """A TopK of distances that are made by a product; weights behind it are rounded."""
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["t", "x"], ["near"]),
        helper.make_node("TopK", ["near", "k"], ["values", "index"], axis=-1),
        helper.make_node("MatMul", ["values", "w"], ["y"]),
    ]
    constants = {"k": np.array([2]), "w": np.ones((2, 3), dtype="f4")}
    content = helper.make_graph(
        nodes,
        "near",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 4, "n"])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", "n", 3])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(content, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    graph = onnx.load_from_string(half_products(model.SerializeToString())).graph
    makers = {name: node for node in graph.node for name in node.output}
    kept = next(node for node in graph.node if node.op_type == "TopK")
    assert list(makers[kept.input[0]].input) == ["t", "x"]
    assert {item.name: item.data_type for item in graph.initializer if len(item.dims) == 2}.popitem()[1] == HALF


def test_double_precision_and_convolutions_stay() -> None:
    model = conv(3)
    inputs = {"x": np.random.default_rng(1).normal(size=(2, 3, 4)).astype("f4")}
    assert np.array_equal(run(half_products(model), inputs), run(model, inputs))


@pytest.mark.parametrize("provider", ["cpu", "cuda"])
def test_a_tagger_in_half_precision(provider: str, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Gpu().install(monkeypatch)
    events = make_events(12, seed=3)
    expected = jt.Tagger(bundle, threads=1)(events)
    tagger = jt.Tagger(bundle, threads=1, provider=provider, precision="float16")
    found = tagger(events)
    for output in bundle.outputs:
        old, new = (ak.to_numpy(ak.flatten(scores[output.name])) for scores in (expected, found))
        assert not np.array_equal(old, new)
        assert np.allclose(old, new, rtol=0.05, atol=0.02)
    assert isinstance(tagger.session, GpuSession) == (provider == "cuda")
    assert len(gpu.models) == (provider == "cuda")
    assert tagger.session is not jt.Tagger(bundle, threads=1, provider=provider).session


def test_what_is_beyond_the_tolerance_runs_in_single_precision(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "TOLERANCES", {0.5: 1e-3})
    with pytest.warns(RuntimeWarning, match=r"'toy' runs in float32: float16 differs by .* \(the median\), 0.001 are"):
        session = open_session(bundle, 1, precision="float16")
    for inputs in proof_jets(bundle):
        values = evaluate(bundle, session, inputs)
        assert deviations(bundle, values, evaluate(bundle, open_session(bundle, 1), inputs)).max() == 0


def test_numbers_beyond_half_precision_are_found(tmp_path: Path) -> None:
    """Weights that are no float16 give no finite scores, and are not used."""
    folder = write_bundle(tmp_path / "large")
    model = onnx.load(folder / "model.onnx")
    for item in model.graph.initializer:
        value = onnx.numpy_helper.to_array(item)
        if value.dtype == np.float32 and value.ndim == 2:
            item.CopyFrom(onnx.numpy_helper.from_array(value * np.float32(1e6), item.name))
    onnx.save(model, folder / "model.onnx")
    large = Bundle.from_folder(folder)
    with pytest.warns(RuntimeWarning, match="runs in float32: float16 differs by"):
        open_session(large, 1, precision="float16")


def test_scores_of_other_precision_are_kept_apart(bundle: Bundle, tmp_path: Path) -> None:
    events = make_events(4, seed=3)
    single = jt.Tagger(bundle, threads=1, cache=tmp_path)
    half = jt.Tagger(bundle, threads=1, cache=tmp_path, precision="float16")
    assert single.run(events).report.cached == 0
    assert half.run(events).report.cached == 0
    assert half.run(events).report.cached > 0
    assert single.__dask_tokenize__() != half.__dask_tokenize__()
