"""The default session: proven equal, kept on disk, or the file as it is with a reason."""

from __future__ import annotations

import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from agreement import Agreement
from networks import write_bundle
from transformers import write_transformer

import jettagger.inference.acceleration as acceleration
from jettagger.bundles.bundle import Bundle
from jettagger.errors import ConfigError, MissingExtra, ModelFileError, ProviderError
from jettagger.inference.acceleration import cost_of, open_session
from jettagger.inference.network import deviation
from jettagger.inputs.batching import COST
from jettagger.runtime.processcache import forget
from jettagger.sessions import ReplaySession, open_onnx
from jettagger.tagging.tagger import Tagger, load_tagger
from jettagger.testing import make_events


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No session and no entry of another test."""
    monkeypatch.setenv("JETTAGGER_CACHE", str(tmp_path / "cache"))
    forget()


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return Bundle.from_folder(write_transformer(tmp_path / "toy"))


def scores(bundle: Bundle, backend: str) -> Any:
    events = make_events(12, seed=3)
    found = Tagger(bundle, threads=1, backend=backend)(events)
    flat = ak.flatten(found, axis=1)
    return np.stack([ak.to_numpy(flat[name]) for name in flat.fields], axis=1)


def entries(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "cache" / "graphs").glob("*.jettagger"))


def test_scores_are_those_of_the_file(bundle: Bundle, tmp_path: Path) -> None:
    assert deviation(bundle, scores(bundle, "fast"), scores(bundle, "onnxruntime")) < 1
    assert open_session(bundle, 1) is not open_onnx(bundle.graph, 1)  # type: ignore[arg-type]
    assert open_session(bundle, 1) is open_session(bundle, 1)
    assert len(entries(tmp_path)) == 1


def test_the_second_process_does_not_write_it_anew(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_session(bundle, 1)
    forget()
    monkeypatch.setattr(acceleration, "rewrite", lambda *_, **__: pytest.fail("rewritten again"))
    assert open_session(bundle, 1) is not open_onnx(bundle.graph, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("kept", [False, True])
def test_a_file_that_changed_is_refused_with_and_without_an_entry(
    bundle: Bundle, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kept:
        open_session(bundle, 1)
        forget()
    path = bundle.require_weights()
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ModelFileError, match="has changed since it was described"):
        open_session(bundle, 5)
    path.unlink()
    with pytest.raises(ModelFileError, match="cannot be read"):
        open_session(bundle, 5)


def test_a_damaged_entry_is_made_anew(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_session(bundle, 1)
    (path,) = entries(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    forget()
    with pytest.warns(RuntimeWarning, match="is damaged"):
        open_session(bundle, 1)
    assert len(path.read_bytes()) == len(whole)


def test_a_graph_that_is_not_equal_is_not_used(tmp_path: Path) -> None:
    bundle = Bundle.from_folder(write_transformer(tmp_path / "toy", symmetric=False))
    with pytest.warns(RuntimeWarning, match=r"'toy' runs without rewriting: .* differs by .* times the tolerance"):
        session = open_session(bundle, 1)
    assert session is open_onnx(bundle.graph, 1)  # type: ignore[arg-type]


def test_a_graph_that_cannot_be_rewritten_runs_as_it_is(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> bytes:
        raise RuntimeError("no such operator")

    monkeypatch.setattr(acceleration, "rewrite", broken)
    with pytest.warns(
        RuntimeWarning, match=r"runs without rewriting: it could not be rewritten \(RuntimeError: no such"
    ):
        assert open_session(bundle, 1) is open_onnx(bundle.graph, 1)  # type: ignore[arg-type]


def test_a_graph_that_does_not_load_runs_as_it_is(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceleration, "rewrite", lambda *_, **__: b"not ONNX")
    with pytest.warns(RuntimeWarning, match=r"runs without rewriting: the rewritten graph fails \(ModelFileError"):
        assert open_session(bundle, 1) is open_onnx(bundle.graph, 1)  # type: ignore[arg-type]


def test_where_nothing_is_gained_nothing_is_said(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceleration, "rewrite", lambda *_, **__: None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_session(bundle, 1) is open_onnx(bundle.graph, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"batch": 4}, {"axes": {"pf": 20}}, {}], ids=str)
def test_fixed_axes(tmp_path: Path, options: Any) -> None:
    lengths = {"pf": {"min_length": 20 if "axes" in options else 4, "max_length": 20}}
    lengths |= {"sv": {"min_length": 1, "max_length": 5}}
    bundle = Bundle.from_folder(write_bundle(tmp_path / "fixed", lengths=lengths, **options))
    assert deviation(bundle, scores(bundle, "fast"), scores(bundle, "onnxruntime")) < 1


def test_no_cache(bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JETTAGGER_CACHE", "off")
    open_session(bundle, 1)
    assert not entries(tmp_path)


def test_unknown_backends_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"backend 'openvno' \(nearest: openvino\), expected one of fast, onnxr"):
        load_tagger("tinyParT", backend="openvno")
    with pytest.raises(ConfigError, match="provider 'cuda' is for ONNX Runtime"):
        load_tagger("tinyParT", backend="openvino", provider="cuda")


def test_other_providers_get_the_file_as_it_is(bundle: Bundle) -> None:
    with pytest.raises(ProviderError, match="'cuda' is not available"):
        open_session(bundle, 1, "cuda")


def test_the_backend_travels_with_the_tagger(tiny: Bundle) -> None:
    assert pickle.loads(pickle.dumps(Tagger(tiny, backend="onnxruntime"))).options.backend == "onnxruntime"
    assert pickle.loads(pickle.dumps(Tagger(tiny))).options.backend == "fast"


def test_a_session_of_its_own_is_used_as_it_is(tiny: Bundle) -> None:
    session = ReplaySession(lambda inputs: {"scores": np.zeros((len(inputs["pf_mask"]), 166), dtype="f4")})
    assert Tagger(tiny, session=session).session is session


def test_without_openvino_the_error_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['openvino'] = None; import jettagger as jt; "
        "tagger = jt.load_tagger('tinyParT', backend='openvino'); tagger.session"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert MissingExtra.__name__ in run.stderr
    assert "pip install 'jettagger[openvino]'" in run.stderr


def test_openvino_gives_the_same(bundle: Bundle, agrees: Agreement) -> None:
    pytest.importorskip("openvino")
    found, expected = scores(bundle, "openvino"), scores(bundle, "onnxruntime")
    assert deviation(bundle, found, expected) < 1
    agrees("runtimes/openvino", found, expected, sample=len(expected), atol=1e-4)
    session = open_session(bundle, 1, backend="openvino")
    assert session is open_session(bundle, 1, backend="openvino")


def test_openvino_is_not_used_where_it_gives_other_scores(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = open_onnx(bundle.graph, 1)  # type: ignore[arg-type]

    def off(by: float) -> ReplaySession:
        def answer(inputs: Any) -> Any:
            return {name: array + np.float32(by) for name, array in plain.run(inputs).items()}

        return ReplaySession(answer)

    monkeypatch.setattr(acceleration, "open_openvino", lambda *_: off(5e-5))
    assert open_session(bundle, 1, backend="openvino") is not plain
    forget()
    monkeypatch.setattr(acceleration, "open_openvino", lambda *_: off(5e-3))
    with pytest.warns(RuntimeWarning, match=r"'toy' runs in ONNX Runtime: OpenVINO differs by .*, 10 are allowed"):
        assert open_session(bundle, 1, backend="openvino") is open_onnx(bundle.graph, 1)  # type: ignore[arg-type]


def test_batches_follow_what_runs_them() -> None:
    assert cost_of() == cost_of("onnxruntime", "cpu") == COST
    assert cost_of("openvino").fixed > COST.fixed
    assert cost_of("fast", "cuda").fixed > cost_of("openvino").fixed


class TestDeviation:
    def test_units(self, tiny: Bundle) -> None:
        reference = np.zeros((2, 166), dtype="f4")
        assert deviation(tiny, reference, reference) == 0
        changed = reference.copy()
        changed[1, tiny["probHbb"].index] = 2e-5
        assert deviation(tiny, changed, reference) == pytest.approx(2, rel=1e-3)
        masses = reference.copy()
        masses[:, tiny["mass"].index] = 100
        moved = masses.copy()
        moved[0, tiny["mass"].index] = 100.02
        assert deviation(tiny, moved, masses) == pytest.approx(2, rel=1e-3)

    def test_what_is_not_finite(self, tiny: Bundle) -> None:
        reference = np.zeros((1, 166), dtype="f4")
        bad = reference.copy()
        bad[0, 3] = np.nan
        assert deviation(tiny, bad, reference) == np.inf
        assert deviation(tiny, reference, bad) == np.inf
        assert deviation(tiny, bad, bad) == 0
        assert deviation(tiny, reference[:0], reference[:0]) == 0
