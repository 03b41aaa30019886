"""Networks that amplify rounding, on a device that takes sums in another order."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from gpu import Gpu
from networks import write_pair_masses
from onnx import helper

import jettagger.inference.conditioning as conditioning
import jettagger.inference.cutting as cutting
from jettagger.bundles.bundle import Bundle
from jettagger.errors import ProviderError
from jettagger.inference.acceleration import open_session
from jettagger.inference.network import deviations, evaluate
from jettagger.inference.padding import as_run
from jettagger.inference.sample_jets import usual_jets
from jettagger.runtime.processcache import forget
from jettagger.sessions import GpuSession, open_onnx
from jettagger.sessions.providers import Provider
from jettagger.tagging.tagger import Tagger
from jettagger.testing import make_events


def last_first(source: bytes) -> bytes:
    """A graph whose sums over the second axis begin with its last entry, as those of a GPU may."""
    model = onnx.load_from_string(source)
    constants = {item.name: onnx.numpy_helper.to_array(item) for item in model.graph.initializer}
    numbers = {"last": -1, "ends": -(2**31), "second": 1, "back": -1}
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(np.array([value]), f"order_{name}") for name, value in numbers.items()
    )
    nodes = []
    for place, node in enumerate(model.graph.node):
        axes = [helper.get_attribute_value(item) for item in node.attribute if item.name == "axes"]
        axes += [constants[name].tolist() for name in node.input[1:] if name in constants]
        if node.op_type == "ReduceSum" and axes == [[1]]:
            turned = f"order_{place}"
            nodes.append(helper.make_node("Slice", [node.input[0], *(f"order_{name}" for name in numbers)], [turned]))
            node.input[0] = turned
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return bytes(model.SerializeToString())


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
