"""Networks that amplify rounding, on a device that takes sums in another order."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from gpu import Gpu
from networks import pair_masses, write_pair_masses
from onnx.reference import ReferenceEvaluator

import jettagger.inference.conditioning as conditioning
import jettagger.inference.cutting as cutting
from benchmarks.rounding import OPENVINO, ORDER, doubled, last_first, order_table
from jettagger.bundles.bundle import Bundle
from jettagger.errors import ProviderError
from jettagger.inference.acceleration import open_session
from jettagger.inference.network import deviations, evaluate
from jettagger.inference.padding import as_run
from jettagger.inference.sample_jets import usual_jets
from jettagger.runtime.processcache import forget
from jettagger.sessions import GpuSession, open_onnx
from jettagger.sessions.providers import Provider
from jettagger.sessions.rewriting.cancelling import cut_at
from jettagger.tagging.tagger import Tagger
from jettagger.testing import make_events


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Nothing of another test, and none of the double afterwards."""
    monkeypatch.setenv("JETTAGGER_CACHE", str(tmp_path / "cache"))
    forget()
    double = Gpu().install(monkeypatch)
    double.graph_of = last_first
    yield double
    forget()


@pytest.fixture
def pairs(tmp_path: Path) -> Bundle:
    return as_run(Bundle.from_folder(write_pair_masses(tmp_path / "pairs")))


def change(bundle: Bundle, session: Any, jets: list[dict[str, Any]]) -> Any:
    """The largest change of each jet's scores from those of the file on the CPU, in units of the tolerance."""
    plain = open_onnx(bundle.graph, 1)  # type: ignore[arg-type]
    pairs = [(evaluate(bundle, session, inputs), evaluate(bundle, plain, inputs)) for inputs in jets]
    return np.concatenate([deviations(bundle, *pair).max(axis=1) for pair in pairs])


def test_the_steps_run_on_the_cpu_and_the_scores_are_those_of_the_cpu(gpu: Gpu, pairs: Bundle) -> None:
    jets = usual_jets(pairs, 20)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        session = open_session(pairs, 1, "cuda")
    assert change(pairs, open_onnx(pairs.graph, 1, "cuda"), jets).max() > 10  # type: ignore[arg-type]
    assert change(pairs, session, jets).max() < 1
    assert isinstance(session, GpuSession)
    assert session is open_session(pairs, 1, "cuda")


def test_a_whole_tagger_gives_the_scores_of_the_cpu(gpu: Gpu, pairs: Bundle) -> None:
    events = make_events(12, seed=3)
    found, expected = (Tagger(pairs, threads=1, provider=name)(events) for name in ("cuda", "cpu"))
    for name in expected.fields:
        for new, old in zip(found[name].tolist(), expected[name].tolist(), strict=True):
            assert new == pytest.approx(old, abs=1e-5)


def test_half_precision_leaves_these_steps_to_the_cpu(gpu: Gpu, pairs: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rounding of the rest is allowed; what the steps make of another order is not."""
    monkeypatch.setattr("jettagger.inference.precision.TOLERANCES", {1.0: 500})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        session = open_session(pairs, 1, "cuda", precision="float16")
    moved = change(pairs, session, usual_jets(pairs, 4)).max()
    assert 1 < moved <= 500
    kinds = {item.data_type for item in onnx.load_from_string(gpu.models[-1]).graph.initializer}
    assert onnx.TensorProto.FLOAT16 in kinds
    forget()
    monkeypatch.setattr("jettagger.inference.acceleration.cut_network", lambda *_: None)
    with pytest.warns(RuntimeWarning, match="'pairs' runs in float32: float16 differs by"):
        open_session(pairs, 1, "cuda", precision="float16")


def test_the_parts_are_kept(gpu: Gpu, pairs: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    open_session(pairs, 1, "cuda")
    forget()
    monkeypatch.setattr(cutting, "cut_at", lambda *_: pytest.fail("cut again"))
    assert change(pairs, open_session(pairs, 1, "cuda"), usual_jets(pairs, 4)).max() < 1


def test_the_file_as_it_is_is_held_to_quantiles(gpu: Gpu, pairs: Bundle) -> None:
    with pytest.warns(RuntimeWarning, match=r"scores of 'pairs' from CUDAExecutionProvider differ from the CPU's"):
        open_session(pairs, 1, "cuda", backend="onnxruntime")


def test_what_is_wrong_besides_is_refused(gpu: Gpu, pairs: Bundle) -> None:
    gpu.off = 0.3
    with pytest.raises(ProviderError, match=r"does not give the numbers of 'pairs' .* it differs in units of"):
        open_session(pairs, 1, "cuda")


@pytest.mark.slow
@pytest.mark.data
def test_the_network_of_2023(gpu: Gpu, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes some seconds, as each jet takes milliseconds: few of them, and the rest is not rewritten."""
    folder = shared / "models" / "part-ak8-2023"
    if not folder.is_dir():
        pytest.skip(f"no network at {folder}")
    bundle = as_run(Bundle.from_folder(folder))
    jets = usual_jets(bundle, 6)
    monkeypatch.setattr(conditioning, "usual_jets", lambda _: jets)
    monkeypatch.setattr(cutting, "rewrite", lambda *_, **__: None)
    session = cutting.cut_session(bundle, 1, Provider.of("cuda"))
    assert np.median(change(bundle, open_onnx(bundle.graph, 1, "cuda"), jets)) > 10  # type: ignore[arg-type]
    assert change(bundle, session, jets).max() < 1


def test_double_precision_in_the_table_is_that_of_numpy() -> None:
    rng = np.random.default_rng(2)
    momentum = rng.normal(40, 9, (2, 3, 4)).astype("f4")
    vectors = np.concatenate([momentum, np.sqrt((momentum**2).sum(axis=1, keepdims=True) + 0.02)], axis=1)
    network = cut_at(pair_masses(), ["mass"], {"pf_vectors": vectors, "pf_mask": np.ones((2, 1, 4), "f4")})
    assert network is not None
    evaluator = ReferenceEvaluator(onnx.load_from_string(doubled(network.first)))
    (found,) = evaluator.run(None, {"pf_vectors": vectors})
    total = vectors.astype("f8")[..., None] + vectors.astype("f8")[..., None, :]
    expected = np.square(total[:, 3]) - np.square(total[:, :3]).sum(axis=1)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-6)


def test_lines_of_what_is_not_here_stay(tmp_path: Path) -> None:
    before = f"| part-ak4 | 49 | {OPENVINO} | 1 | 2 | 3 |\n| other | 1 | {ORDER} | 1 | 2 | 3 |\n"
    assert order_table(tmp_path, before, ["part-ak4"]).splitlines()[2:] == before.splitlines()[:1]
