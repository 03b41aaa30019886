"""No session is used before it gives the numbers that the file gives on the CPU."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import write_bundle, write_pair_masses

import jettagger.inference.acceleration as acceleration
import jettagger.inference.proof as proof
from jettagger.bundles.bundle import Bundle
from jettagger.errors import BundleError, MismatchError, ProviderError
from jettagger.inference.acceleration import open_session, proven
from jettagger.inference.checking import write_golden
from jettagger.inference.conditioning import INPUTS, RoundingResponse
from jettagger.inference.golden import golden_inputs
from jettagger.inference.proof import ALLOWED, file_answers, proof_inputs
from jettagger.inference.sample_jets import usual_jets
from jettagger.runtime.processcache import forget
from jettagger.sessions import OrtSession, Session, open_onnx
from jettagger.sessions.providers import Provider
from jettagger.sessions.rewriting.cancelling import KNOB, with_knobs
from jettagger.tagging.tagger import Tagger
from jettagger.testing import make_events
from jettagger.types import Array

CARD = {"kinds": {"prob": ["label_*"], "mass": ["mass"], "hidden": ["hid*"]}}

Fault = Callable[[Mapping[str, Array], dict[str, Array]], dict[str, Array]]


class Device:
    """The file on the CPU, with a fault."""

    def __init__(self, bundle: Bundle, fault: Fault = lambda inputs, outputs: outputs) -> None:
        assert bundle.graph is not None
        self.plain, self.fault, self.runs = open_onnx(bundle.graph, 1), fault, 0

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        self.runs += 1
        return self.fault(inputs, self.plain.run(inputs))


def noise(inputs: Mapping[str, Array], outputs: dict[str, Array]) -> dict[str, Array]:
    """0.05 of each probability."""
    return outputs | {"probabilities": outputs["probabilities"] + np.float32(0.05)}


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JETTAGGER_CACHE", str(tmp_path / "cache"))
    forget()


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """With golden vectors of its own; its outputs are apart."""
    folder = write_bundle(tmp_path / "toy", joined=False, card=CARD)
    write_golden(Bundle.from_folder(folder), folder / "golden.npz", seed=8)
    card = json.loads((folder / "bundle.json").read_text()) | {"golden": "golden.npz"}
    (folder / "bundle.json").write_text(json.dumps(card))
    return Bundle.from_folder(folder)


@pytest.fixture
def provide(monkeypatch: pytest.MonkeyPatch) -> Callable[[Session], None]:
    """Makes a session that of all providers but the CPU."""

    def put(session: Session) -> None:
        def open_it(graph: Any, threads: int | None = None, provider: str | Provider | None = None) -> Session:
            return open_onnx(graph, threads, provider) if Provider.of(provider).on_cpu else session

        monkeypatch.setattr(acceleration, "open_onnx", open_it)

    return put


def only_golden(bundle: Bundle) -> Fault:
    """The noise for the golden vectors alone."""
    (golden,) = golden_inputs(bundle)

    def fault(inputs: Mapping[str, Array], outputs: dict[str, Array]) -> dict[str, Array]:
        same = all(np.array_equal(inputs[name], array) for name, array in golden.items())
        return noise(inputs, outputs) if same else outputs

    return fault


class TestProviders:
    @pytest.mark.parametrize("provider", ["cuda", "CoreMLExecutionProvider"])
    def test_noise_is_refused_with_figure_and_tolerance(
        self, bundle: Bundle, provide: Callable[[Session], None], provider: str
    ) -> None:
        provide(Device(bundle, noise))
        said = (
            r"\w+ExecutionProvider does not give the numbers of 'toy' .* differs by 5e\+03 times the tolerance of "
            r"rewritten graphs, 10 are allowed \(random jets: prob\w+ is [\d.]+, expected [\d.]+ \+- 0.0001\)"
        )
        with pytest.raises(ProviderError, match=said):
            open_session(bundle, 1, provider)
        with pytest.raises(ProviderError, match="TF32"):
            Tagger(bundle, provider=provider, threads=1)(make_events(2, seed=1))

    def test_one_that_is_right_is_used_and_proven_once(
        self, bundle: Bundle, provide: Callable[[Session], None]
    ) -> None:
        device = Device(bundle, lambda _, outputs: outputs | {"mass": outputs["mass"] * np.float32(1 + 5e-4)})
        provide(device)
        assert open_session(bundle, 1, "cuda") is device
        assert device.runs == len(proof_inputs(bundle)) == len(file_answers(bundle))
        assert open_session(bundle, 1, "cuda") is device
        assert device.runs == len(proof_inputs(bundle))
        assert open_session(bundle, 1, "cpu") is not device

    def test_golden_vectors_are_part_of_the_proof(self, bundle: Bundle, provide: Callable[[Session], None]) -> None:
        provide(Device(bundle, only_golden(bundle)))
        with pytest.raises(ProviderError, match=r"differs by 5e\+03 times .* \(golden vectors: prob"):
            open_session(bundle, 1, "cuda")

    def test_what_is_not_finite_is_refused(self, bundle: Bundle, provide: Callable[[Session], None]) -> None:
        provide(Device(bundle, lambda _, outputs: outputs | {"mass": outputs["mass"] * np.float32(np.nan)}))
        with pytest.raises(ProviderError, match=r"differs by inf times .* mass is nan"):
            open_session(bundle, 1, "cuda")


class TestGolden:
    def test_known_networks_have_some(self, shared: Path) -> None:
        folder = shared / "models" / "particlenet-ak8-md"
        if not folder.is_dir():
            pytest.skip(f"no network at {folder}")
        (inputs,) = golden_inputs(Bundle.from_folder(folder))
        assert {len(array) for array in inputs.values()} == {3}

    def test_none(self, tiny: Bundle) -> None:
        assert golden_inputs(tiny) == []
        assert {what for what, _ in proof_inputs(tiny)} == {"random jets"}

    def test_damaged_ones_are_an_error_for_others_and_a_warning_for_the_file(
        self, bundle: Bundle, provide: Callable[[Session], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (bundle.folder / "golden.npz").write_bytes(b"nothing")
        provide(Device(bundle))
        with pytest.raises(BundleError, match=r"cannot read .*golden.npz"):
            open_session(bundle, 1, "cuda")
        # as if something were gained
        monkeypatch.setattr(acceleration, "rewrite", lambda model, *_, **__: model)
        with pytest.warns(RuntimeWarning, match=r"runs without rewriting: .*cannot read .*golden.npz"):
            open_session(bundle, 1)
        (bundle.folder / "golden.npz").unlink()
        forget()
        with pytest.warns(RuntimeWarning, match=r"runs without rewriting: .*cannot read .*golden.npz"):
            open_session(bundle, 1)


class TestGivenSessions:
    def test_one_with_other_numbers_is_refused(self, bundle: Bundle) -> None:
        tagger = Tagger(bundle, session=Device(bundle, noise))
        with pytest.raises(MismatchError, match=r"given \(Device\) does not run the network of 'toy' .* 5e\+03 times"):
            tagger(make_events(2, seed=1))

    def test_one_that_is_right_is_proven_once(self, bundle: Bundle) -> None:
        device = Device(bundle)
        tagger = Tagger(bundle, session=device)
        assert tagger.session is device
        runs = device.runs
        assert runs == len(proof_inputs(bundle))
        assert tagger.session is device
        assert device.runs == runs

    def test_without_weights_it_is_said(self, bundle: Bundle, tiny: Bundle) -> None:
        from dataclasses import replace

        with pytest.warns(RuntimeWarning, match="'toy' is not proven: the bundle has no weights"):
            proven(replace(bundle, graph=None), Device(tiny))


def test_a_report_says_how_well_scores_are_defined(tmp_path: Path) -> None:
    """By the card of the model, where it is worse than rounding itself."""
    events = make_events(3, seed=1)
    for q99, expected in ((0.04, 0.04), (1e-6, 0)):
        card = {**CARD, "rounding": {"jets": 24, "median": 0, "q99": q99, "largest": 0.1}}
        bundle = Bundle.from_folder(write_bundle(tmp_path / f"{q99}", card=card))
        assert Tagger(bundle, threads=1).run(events).report.rounding == expected


class Shifted:
    """A network of pair masses whose squares are off by some last places."""

    def __init__(self, bundle: Bundle, places: float) -> None:
        import onnx

        assert bundle.graph is not None
        model = onnx.load(bundle.graph.path)
        self.session = OrtSession(bundle.graph, 1, "cpu", with_knobs(model, ["mass"]))
        self.knob = {KNOB.format(0): np.full((), 1 + places * 2.0**-23, dtype="f4")}

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        return self.session.run({**inputs, **self.knob})


class TestNetworksThatAmplifyRounding:
    @pytest.fixture
    def pairs(self, tmp_path: Path) -> Bundle:
        return Bundle.from_folder(write_pair_masses(tmp_path / "pairs"))

    def test_the_same_rounding_passes_silently(self, pairs: Bundle) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            proven(pairs, Shifted(pairs, 0))

    def test_another_rounding_is_held_to_quantiles_and_said(self, pairs: Bundle) -> None:
        said = (
            r"scores of '\w+' from Shifted differ from the CPU's in units of the tolerance of rewritten graphs: median "
            r"[\d.e+]+ \([\d.e+]+ allowed\), 90% quantile .*, largest .* of 128 random jets. The network amplifies "
            r"rounding: a change in the last place of [a-z ]+ moves a probability \(median [\d.e-]+, 99 % [\d.e-]+, la"
        )
        with pytest.warns(RuntimeWarning, match=said):
            proven(pairs, Shifted(pairs, 1))

    def test_more_than_rounding_is_refused(self, pairs: Bundle) -> None:
        with pytest.raises(MismatchError, match=r"it differs in units of .* median [\d.e+]+ \([\d.e+]+ allowed\)"):
            proven(pairs, Shifted(pairs, 1000))

    def test_golden_vectors_alone_may_be_wrong(self, pairs: Bundle) -> None:
        """Three of four golden jets are off by more than rounding moves one of ten; all random jets are right."""
        write_golden(pairs, pairs.folder / "golden.npz", seed=8)
        card = {"schema_version": 1, "name": "pairs", "kinds": {"prob": ["label_*"]}, "golden": "golden.npz"}
        (pairs.folder / "bundle.json").write_text(json.dumps(card))
        bundle = Bundle.from_folder(pairs.folder)
        (golden,) = golden_inputs(bundle)

        def fault(inputs: Mapping[str, Array], outputs: dict[str, Array]) -> dict[str, Array]:
            same = all(np.array_equal(inputs[name], array) for name, array in golden.items())
            off = np.array([0, 0.2, 0.2, 0.2], "f4")[:, np.newaxis]
            return {"scores": outputs["scores"] + off} if same else outputs

        said = (
            r"largest 0 \(.* of 128 random jets; median 2e\+04 \([\d.e+]+ allowed\), .* of 4 golden vectors\. The net"
        )
        with pytest.raises(MismatchError, match=said):
            proven(bundle, Device(bundle, fault))

    def test_rare_jets_may_respond(self, pairs: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
        """A network in which a change in the last place moves one jet of many, as neighbours change places."""
        changes = np.zeros((128, 2))
        changes[7] = 0.01
        monkeypatch.setattr(proof, "response_of", lambda _: RoundingResponse({INPUTS: changes}))
        jets = np.concatenate([inputs["pf_vectors"][:, 0, 0] for inputs in usual_jets(pairs)])
        first = proof_inputs(pairs)[0][1]["pf_vectors"][0, 0, 0]

        def fault(share: float) -> Fault:
            few = [first, *jets[: int(share * len(jets))]]

            def change(inputs: Mapping[str, Array], outputs: dict[str, Array]) -> dict[str, Array]:
                off = np.isin(inputs["pf_vectors"][:, 0, 0], few).astype("f4") * np.float32(0.005)
                return {"scores": outputs["scores"] + off[:, np.newaxis]}

            return change

        with pytest.warns(RuntimeWarning, match=r"90% quantile 0 .*, largest 500 \(4.01e\+03 allowed\)"):
            proven(pairs, Device(pairs, fault(0.05)))
        with pytest.raises(MismatchError, match=r"90% quantile 500 \(10 allowed\)"):
            proven(pairs, Device(pairs, fault(0.2)))

    def test_the_tolerance_of_others_is_the_same(self) -> None:
        assert ALLOWED == 10
