"""Networks on a CUDA GPU: what ONNX Runtime is asked, batches, memory that is short, and what is installed."""

from __future__ import annotations

import importlib.metadata
import re
import threading
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import onnxruntime
import pytest
from gpu import CPU, CUDA, Gpu, cells
from heads import make_head
from networks import write_bundle
from transformers import write_transformer

import jettagger as jt
from jettagger.bundles.bundle import Bundle
from jettagger.errors import ConfigError, ModelFileError, ProviderError
from jettagger.inference.acceleration import GPU_COST, cost_of, open_session
from jettagger.inference.network import deviation, evaluate
from jettagger.inference.sample_jets import proof_jets
from jettagger.runtime.processcache import forget
from jettagger.sessions import ConcurrentSession, OrtSession, open_onnx
from jettagger.sessions.onnx import GpuSession
from jettagger.sessions.providers import CUDA_OPTIONS, Provider
from jettagger.testing import make_events


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No session and no entry of another test, and none of the double afterwards."""
    monkeypatch.setenv("JETTAGGER_CACHE", str(tmp_path / "cache"))
    forget()


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    yield Gpu().install(monkeypatch)
    forget()


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return Bundle.from_folder(write_transformer(tmp_path / "toy"))


def matrix(scores: Any) -> Any:
    flat = ak.flatten(scores, axis=1)
    return np.stack([ak.to_numpy(ak.fill_none(flat[name], np.nan)) for name in flat.fields], axis=1)


class TestProvider:
    def test_options(self) -> None:
        assert Provider.of(None) == Provider.of("cpu") == Provider.of(CPU) == Provider()
        assert dict(Provider.of("cuda").options) == CUDA_OPTIONS
        chosen = Provider.of(" cuda , use_tf32 = 1,device_id=3,gpu_mem_limit=2000 ")
        assert chosen.name == CUDA
        assert dict(chosen.options) == {**CUDA_OPTIONS, "use_tf32": "1", "device_id": "3", "gpu_mem_limit": "2000"}
        assert (chosen.device, chosen.memory, chosen.tf32) == (3, 2000, True)
        assert Provider.of(chosen) is chosen
        assert Provider.of(f"{CUDA},device_id=3") == Provider.of("cuda,device_id=3")
        plain = Provider.of("cuda")
        assert (plain.device, plain.memory, plain.tf32, plain.tolerance) == (0, None, False, 1)
        assert Provider.of("coreml,a=b").options == (("a", "b"),)

    @pytest.mark.parametrize("text", ["cuda,use_tf32", "cuda,=1", "cuda,device_id=", "cuda,device_id=1,device_id=2"])
    def test_what_is_no_option(self, text: str) -> None:
        with pytest.raises(ConfigError, match=r"expected each option once: cuda,device_id=1"):
            jt.TaggerOptions(provider=text)

    def test_they_reach_the_gpu(self, gpu: Gpu, bundle: Bundle) -> None:
        open_onnx(bundle.graph, 1, "cuda")  # type: ignore[arg-type]
        open_onnx(bundle.graph, 1, "cuda,device_id=2,cudnn_conv_algo_search=HEURISTIC")  # type: ignore[arg-type]
        assert gpu.opened == [CUDA_OPTIONS, {**CUDA_OPTIONS, "device_id": "2", "cudnn_conv_algo_search": "HEURISTIC"}]
        assert gpu.preloaded == 2

    def test_tf32_states_what_it_holds(self, gpu: Gpu, bundle: Bundle) -> None:
        with pytest.warns(RuntimeWarning, match=r"TF32 .* 10 bits.* held to 0\.2 of a probability"):
            open_onnx(bundle.graph, 1, "cuda,use_tf32=1")  # type: ignore[arg-type]
        assert gpu.opened[0]["use_tf32"] == "1"
        assert Provider.of("cuda,use_tf32=1").tolerance == pytest.approx(0.2 / 1e-5)

    def test_the_libraries_that_cuda_needs_are_not_announced(
        self, gpu: Gpu, bundle: Bundle, capfd: pytest.CaptureFixture[str]
    ) -> None:
        open_onnx(bundle.graph, 1, "cuda")  # type: ignore[arg-type]
        assert capfd.readouterr().out == ""


class TestInstall:
    """What is missing, and what to run."""

    LINES = re.escape("`pip uninstall -y onnxruntime onnxruntime-gpu`; `pip install 'onnxruntime-gpu[cuda,cudnn]'`")

    def versions(self, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
        def version(name: str) -> str:
            if name in names:
                return "1.31.1"
            raise importlib.metadata.PackageNotFoundError(name)

        monkeypatch.setattr("jettagger.sessions.providers.version", version)

    def test_not_installed(self, monkeypatch: pytest.MonkeyPatch, bundle: Bundle) -> None:
        self.versions(monkeypatch, "onnxruntime")
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CPU])
        with pytest.raises(
            ProviderError, match=f"'cuda' is not available.*has {CPU}.*comes with onnxruntime-gpu.*{self.LINES}$"
        ):
            open_onnx(bundle.graph, 1, "cuda")  # type: ignore[arg-type]
        with pytest.raises(ProviderError, match=rf"nearest: {CPU}\); this ONNX Runtime has {CPU}$"):
            open_onnx(bundle.graph, 1, "CPUExecutionProvide")  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("provider", "said"),
        [
            ("cdua", r"'cdua' is not available \(nearest: cuda, cpu\)"),
            ("TensorrtExecutionProvider", r"comes with onnxruntime-gpu .*'onnxruntime-gpu\[cuda,cudnn\]'"),
            (
                "DmlExecutionProvider",
                "uninstall -y onnxruntime onnxruntime-directml`; `pip install .onnxruntime-d",
            ),
        ],
    )
    def test_other_providers(self, provider: str, said: str, bundle: Bundle) -> None:
        with pytest.raises(ProviderError, match=said):
            open_onnx(bundle.graph, 1, provider)  # type: ignore[arg-type]

    def test_both_are_installed_and_the_wrong_one_won(self, monkeypatch: pytest.MonkeyPatch, bundle: Bundle) -> None:
        self.versions(monkeypatch, "onnxruntime", "onnxruntime-gpu")
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CPU])
        both = r"onnxruntime 1\.31\.1 and onnxruntime-gpu 1\.31\.1 are both installed and share one folder"
        with pytest.raises(ProviderError, match=f"not available.*{both}.*{self.LINES}"):
            open_onnx(bundle.graph, 1, "cuda")  # type: ignore[arg-type]

    def test_both_are_installed_and_the_right_one_won(
        self, gpu: Gpu, monkeypatch: pytest.MonkeyPatch, bundle: Bundle
    ) -> None:
        self.versions(monkeypatch, "onnxruntime", "onnxruntime-gpu")
        with pytest.warns(RuntimeWarning, match=f"are both installed.*{self.LINES}"):
            open_onnx(bundle.graph, 1, "cuda")  # type: ignore[arg-type]
        open_onnx(bundle.graph, 1, "cpu")  # type: ignore[arg-type]

    def test_no_gpu(self, monkeypatch: pytest.MonkeyPatch, bundle: Bundle) -> None:
        Gpu(broken="CUDA failure 100: no CUDA-capable device is detected").install(monkeypatch)
        with pytest.raises(ProviderError, match=r"CUDAExecutionProvider was asked for, .*no CUDA-capable device"):
            open_session(bundle, 1, "cuda")

    def test_a_misspelt_option(self, monkeypatch: pytest.MonkeyPatch, bundle: Bundle) -> None:
        Gpu(broken='Unknown provider option: "use_tf3"').install(monkeypatch)
        with pytest.raises(ProviderError, match=r"provider option 'use_tf3' \(nearest: use_tf32\)"):
            open_session(bundle, 1, "cuda,use_tf3=1")

    def test_a_damaged_file_is_not_the_fault_of_the_gpu(self, gpu: Gpu, bundle: Bundle) -> None:
        with pytest.raises(ModelFileError, match="ONNX Runtime cannot load"):
            GpuSession(bundle.graph, 1, "cuda", b"not ONNX")  # type: ignore[arg-type]

    def test_a_library_that_cannot_be_loaded(
        self, gpu: Gpu, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bundle: Bundle
    ) -> None:
        """ONNX Runtime opens the session on the CPU then, and does not say why."""
        (tmp_path / "capi").mkdir()
        monkeypatch.setattr(onnxruntime, "__file__", str(tmp_path / "__init__.py"))
        monkeypatch.setattr(onnxruntime.InferenceSession, "get_providers", lambda self: [CPU])
        expected = rf"{CPU} is active; a library cannot be loaded: .*onnxruntime_providers_shared.*{self.LINES}"
        with pytest.raises(ProviderError, match=expected):
            open_onnx(bundle.graph, 1, "cuda")  # type: ignore[arg-type]


class TestRuns:
    def test_inputs_and_outputs_are_bound(self, gpu: Gpu, bundle: Bundle) -> None:
        graph = bundle.graph
        assert graph is not None
        session = open_onnx(graph, 1, "cuda,device_id=1")
        for inputs in proof_jets(bundle):
            found = evaluate(bundle, session, inputs)
            assert np.array_equal(found, evaluate(bundle, open_onnx(graph, 1), inputs))
        assert gpu.bound == {(tensor.name, "cuda", 1) for tensor in (*graph.inputs, *graph.outputs)}
        assert isinstance(session, ConcurrentSession)
        assert session.in_flight == 2
        assert not isinstance(open_onnx(graph, 1), ConcurrentSession)

    @pytest.mark.slow
    def test_the_rewritten_graph_runs_where_it_is_proven(self, gpu: Gpu, bundle: Bundle) -> None:
        session = open_session(bundle, 1, "cuda")
        assert isinstance(session, GpuSession)
        assert session is open_session(bundle, 1, "cuda")
        assert session is not open_session(bundle, 1, "cuda,device_id=1")
        assert session is not open_session(bundle, 1)
        for inputs in proof_jets(bundle):
            assert (
                deviation(bundle, evaluate(bundle, session, inputs), evaluate(bundle, open_session(bundle), inputs)) < 1
            )
        import onnx

        kinds = {node.op_type for node in onnx.load_from_string(gpu.models[0]).graph.node}
        assert "MatMul" in kinds
        assert not {"Conv", "FusedConv"} & kinds

    def test_a_gpu_that_computes_something_else(self, monkeypatch: pytest.MonkeyPatch, bundle: Bundle) -> None:
        gpu = Gpu(off=1e-2).install(monkeypatch)
        with (
            pytest.warns(RuntimeWarning, match=r"runs without rewriting: the rewritten graph differs by"),
            pytest.raises(
                ProviderError, match=r"CUDAExecutionProvider does not give the numbers of 'toy' .* differs by"
            ),
        ):
            open_session(bundle, 1, "cuda")
        assert isinstance(gpu.models[0], bytes)
        forget()

    def test_a_whole_tagger(self, gpu: Gpu, bundle: Bundle) -> None:
        events = make_events(60, seed=3)
        expected = jt.Tagger(bundle, threads=1).run(events)
        found = jt.Tagger(bundle, provider="cuda", threads=1).run(events)
        assert deviation(bundle, matrix(found.scores), matrix(expected.scores)) < 1
        assert found.report.scored == expected.report.scored
        sizes = [max(shape[0] for shape in run.values()) for run in gpu.runs[len(proof_jets(bundle)) :]]
        assert sum(sizes) == found.report.scored
        assert max(sizes) > 64

    def test_heads_run_on_the_cpu(self, gpu: Gpu, bundle: Bundle, tmp_path: Path) -> None:
        """They are small, and what is not compared with the CPU runs nowhere else."""
        head = make_head(tmp_path / "Toy", parent=bundle, inputs=["mass", "FatJet_pt"])
        events = make_events(4, seed=3)
        expected = jt.Tagger(bundle, threads=1, heads=[head])(events)
        found = jt.Tagger(bundle, threads=1, heads=[head], provider="cuda")(events)
        assert len(gpu.opened) == 1
        assert ak.almost_equal(found.Toy_probA, expected.Toy_probA, rtol=1e-4, atol=1e-5)


class TestPipeline:
    @pytest.mark.slow
    def test_the_next_block_is_linked_while_the_gpu_works(
        self, gpu: Gpu, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With a GPU that does not answer until it is asked for more, a tagger that waited would never end."""
        events = make_events(16, seed=3)
        options: Any = {"threads": 1, "block_bytes": 60_000}
        expected = jt.Tagger(bundle, **options).run(events)
        tagger = jt.Tagger(bundle, provider="cuda", **options)
        assert isinstance(tagger.session, GpuSession)
        asked = threading.Event()
        blocks = 0
        real = tagger.begin

        def begin(*arguments: Any) -> Any:
            nonlocal blocks
            blocks += 1
            if blocks > 1:
                asked.set()  # the first one may come back now
            return real(*arguments)

        def last() -> None:
            assert asked.wait(timeout=300), "the next block was not linked"

        monkeypatch.setattr(tagger, "begin", begin)
        gpu.before = last
        found = tagger.run(events)
        assert blocks > 2
        assert deviation(bundle, matrix(found.scores), matrix(expected.scores)) < 1
        assert found.report.scored == expected.report.scored

    def test_an_error_ends_what_is_on_its_way(self, gpu: Gpu, bundle: Bundle) -> None:
        tagger = jt.Tagger(bundle, provider="cuda", threads=1, batch_size=5)
        session = tagger.session
        assert isinstance(session, GpuSession)
        proofs = len(gpu.runs)

        def fail() -> None:
            if len(gpu.runs) > proofs + 1:
                raise RuntimeError("illegal address")

        gpu.before = fail
        with pytest.raises(ModelFileError, match="illegal address"):
            tagger(make_events(60, seed=3))
        assert proofs + 2 <= len(gpu.runs) <= proofs + 1 + session.in_flight  # those that ran at that moment end
        gpu.before = lambda: None
        tagger(make_events(6, seed=3))  # and the session can be used again

    def test_refused_runs_are_in_the_report(self, gpu: Gpu, bundle: Bundle) -> None:
        events = make_events(60, seed=3)
        tagger = jt.Tagger(bundle, provider="cuda", threads=1)
        expected = tagger.run(events)
        gpu.memory = max(cells(run) for run in gpu.runs) / 3
        with pytest.warns(RuntimeWarning, match="the GPU refused") as seen:
            found = tagger.run(events)
        assert len(seen) == 1
        assert (expected.report.refused_runs, found.report.refused_runs) == (0, len(gpu.refused))
        assert found.report.scored == expected.report.scored
        assert deviation(bundle, matrix(found.scores), matrix(expected.scores)) < 1
        assert "runs that did not fit the GPU" in found.report._repr_html_()


class TestMemory:
    """A GPU without enough of it."""

    def jets(self, bundle: Bundle, count: int = 24) -> dict[str, Any]:
        inputs = proof_jets(bundle)[-1]
        rows = np.arange(count) % len(next(iter(inputs.values())))
        return {name: np.ascontiguousarray(array[rows]) for name, array in inputs.items()}

    @staticmethod
    def size(inputs: dict[str, Any]) -> float:
        return float(max(max(array.shape[1:]) for array in inputs.values()) ** 2)

    @pytest.mark.parametrize("says", ["", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_NOT_SUPPORTED"])
    def test_runs_are_halved_until_they_fit(self, gpu: Gpu, bundle: Bundle, says: str) -> None:
        session = open_onnx(bundle.graph, 1, "cuda")  # type: ignore[arg-type]
        assert isinstance(session, GpuSession)
        inputs = self.jets(bundle)
        whole = evaluate(bundle, session, inputs)
        gpu.runs.clear()
        gpu.memory, gpu.says = 7 * self.size(inputs), says or gpu.says
        with pytest.warns(
            RuntimeWarning, match="the GPU refused 24 jets in one run of .*: they run 12 or fewer"
        ) as seen:
            found = evaluate(bundle, session, inputs)
        assert len(seen) == 1
        assert np.allclose(found, whole, rtol=1e-5, atol=1e-6)
        rows = [run["pf_mask"][0] for run in gpu.runs]
        assert rows == [6, 6, 6, 6]
        assert [run["pf_mask"][0] for run in gpu.refused] == [24, 12]
        assert session.take_refused() == 2
        evaluate(bundle, session, inputs)  # it is known now
        assert session.take_refused() == 0
        assert len(gpu.runs) == 8

    def test_shorter_jets_run_with_more_of_them(self, gpu: Gpu, bundle: Bundle) -> None:
        session = open_onnx(bundle.graph, 1, "cuda")  # type: ignore[arg-type]
        inputs = self.jets(bundle)
        gpu.memory = 12 * self.size(inputs)
        with pytest.warns(RuntimeWarning, match="the GPU refused"):
            session.run(inputs)
        gpu.runs.clear()
        few = proof_jets(bundle)[0]
        rows = np.arange(24) % len(next(iter(few.values())))
        session.run({name: array[rows] for name, array in few.items()})
        assert [run["pf_mask"][0] for run in gpu.runs] == [24]

    def test_one_jet_that_does_not_fit(self, gpu: Gpu, bundle: Bundle) -> None:
        session = open_onnx(bundle.graph, 1, "cuda")  # type: ignore[arg-type]
        gpu.memory = 0
        with (
            pytest.warns(RuntimeWarning, match="the GPU refused"),
            pytest.raises(ModelFileError, match=r"cannot run .* on 1 jets .*out of memory"),
        ):
            session.run(self.jets(bundle))

    def test_what_is_no_matter_of_size(self, gpu: Gpu, bundle: Bundle) -> None:
        session = open_onnx(bundle.graph, 1, "cuda")  # type: ignore[arg-type]
        gpu.memory, gpu.says = 0, "illegal address"
        with pytest.raises(ModelFileError, match=r"on 24 jets .*illegal address"):
            session.run(self.jets(bundle))
        assert len(gpu.refused) == 1

    def test_a_fixed_number_of_jets_cannot_be_halved(self, gpu: Gpu, tmp_path: Path) -> None:
        bundle = Bundle.from_folder(write_bundle(tmp_path / "fixed", batch=4))
        session = open_onnx(bundle.graph, 1, "cuda")  # type: ignore[arg-type]
        gpu.memory = 0
        with pytest.raises(ModelFileError, match=r"on 4 jets .*out of memory"):
            session.run(proof_jets(bundle)[0])

    def test_the_cpu_is_as_before(self, gpu: Gpu, bundle: Bundle) -> None:
        session = open_onnx(bundle.graph, 1)  # type: ignore[arg-type]
        assert type(session) is OrtSession
        assert gpu.opened == []
        assert gpu.preloaded == 0


def test_batches_of_a_gpu() -> None:
    cost = cost_of("fast", "cuda")
    assert cost == GPU_COST == cost_of("onnxruntime", "cuda,device_id=1")
    assert cost.jets >= 1000
    assert cost_of("fast", "cuda,gpu_mem_limit=1000000000").cells < cost.cells
    assert cost_of("fast", "cuda", remote=True) == cost_of("fast", "cpu", remote=True) != cost
    assert cost_of("fast", "coreml").cells == np.inf
