"""How outputs respond to changes in the last place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from networks import pair_masses, write_bundle, write_pair_masses
from onnx.reference import ReferenceEvaluator

import jettagger.inference.conditioning as conditioning
from jettagger.bundles.bundle import Bundle
from jettagger.inference.checking import check
from jettagger.inference.conditioning import INPUTS, RoundingResponse, measured_response, response_of
from jettagger.inference.sample_jets import usual_jets
from jettagger.runtime.processcache import forget
from jettagger.sessions.rewriting.cancelling import KNOB, cancelling_steps, cut_at, with_knobs


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JETTAGGER_CACHE", str(tmp_path / "cache"))
    forget()


def vectors(jets: int = 3, length: int = 5, mass: float = 0.14) -> dict[str, Any]:
    """Candidates of some GeV within a cone, in single precision."""
    rng = np.random.default_rng(4)
    momentum = rng.normal((50, 20, 80), 3, (jets, length, 3))
    energy = np.sqrt((momentum**2).sum(axis=2, keepdims=True) + mass**2)
    four = np.concatenate([momentum, energy], axis=2).transpose(0, 2, 1)
    return {"pf_vectors": four.astype("f4"), "pf_mask": np.ones((jets, 1, length), "f4")}


class TestSteps:
    @pytest.mark.parametrize("axis", [False, True])
    def test_masses_of_pairs_are_found(self, axis: bool) -> None:
        assert cancelling_steps(pair_masses(axis=axis), [vectors()]) == ["mass"]

    @pytest.mark.parametrize("opset", [11, 13])
    def test_sums_over_an_axis_are_compared_with_what_they_are_made_of(self, opset: int) -> None:
        """Squares of very different sizes: along the axis nothing cancels; axes are an attribute, or an input."""
        total = "ReduceSum <keepdims = 1, axes = [1]> (s)" if opset < 13 else "ReduceSum <keepdims = 1> (s, axis)"
        model = onnx.parser.parse_model(
            f"""<ir_version: 8, opset_import: ["": {opset}]> toy (float[N, 3, L] x) => (float[N, 1, L] y)
            <int64[1] axis = {{1}}> {{ s = Mul(x, x) y = {total} }}"""
        )
        x = (10.0 ** np.arange(-2, 3) * np.ones((20, 3, 1))).astype("f4")
        assert cancelling_steps(model, [{"x": x}]) == []
        signed = onnx.ModelProto()
        signed.CopyFrom(model)
        signed.graph.node[0].input[1] = "one"
        signed.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(1, "f4"), "one"))
        x[:, 0] *= -2 + 1e-6
        assert cancelling_steps(signed, [{"x": x}]) == ["y"]

    def test_sums_that_do_not_cancel_are_not(self) -> None:
        heavy = vectors(mass=200)
        assert cancelling_steps(pair_masses(), [heavy]) == []

    def test_a_network_without_any(self, tiny: Bundle) -> None:
        assert cancelling_steps(onnx.load(tiny.require_weights()), usual_jets(tiny)[:1]) == []

    def test_a_network_without_sums_at_all(self) -> None:
        model = onnx.parser.parse_model(
            """<ir_version: 8, opset_import: ["": 13]> toy (float[N, 2] x) => (float[N, 2] y) {y = Relu(x)}"""
        )
        assert cancelling_steps(model, [{"x": np.ones((3, 2), "f4")}]) == []

    @pytest.mark.parametrize("axis", [False, True])
    def test_a_knob_scales_one_operand(self, axis: bool) -> None:
        """Against numpy in double precision, with a change that rounding cannot hide."""
        inputs = vectors()
        model = pair_masses(axis=axis)
        changed = onnx.load_from_string(with_knobs(model, ["mass"]))
        onnx.checker.check_model(changed)
        changed.graph.output.append(onnx.ValueInfoProto(name="mass"))

        def masses(knob: float) -> Any:
            run = ReferenceEvaluator(changed).run(["mass"], {**inputs, KNOB.format(0): np.full((), knob, dtype="f4")})
            return run[0][:, 0]

        total = inputs["pf_vectors"][..., None] + inputs["pf_vectors"][..., None, :]
        squares = np.square(total, dtype="f8")
        plain = squares[:, 3] - squares[:, :3].sum(axis=1)
        np.testing.assert_allclose(masses(1), plain, atol=0.02)
        np.testing.assert_allclose(masses(1.25), plain + 0.25 * squares[:, 3], rtol=1e-5)

    def test_differences_of_equal_rows_stay_zero(self) -> None:
        """What is made in the same way of both rows of a pair: for a candidate and itself no knob changes the zero."""
        model = onnx.parser.parse_model(
            """<ir_version: 8, opset_import: ["": 13]>
            toy (float[N, 2, L] x) => (float[N, 2, L, L] y)
            <int64[1] last = {-1}, int64[1] second = {-2}>
            {
                a = Unsqueeze(x, last)
                b = Unsqueeze(x, second)
                la = Exp(a)
                lb = Exp(b)
                y = Sub(la, lb)
            }"""
        )
        x = np.random.default_rng(1).normal(size=(2, 2, 4)).astype("f4")
        (y,) = ReferenceEvaluator(onnx.load_from_string(with_knobs(model, ["y"]))).run(
            None, {"x": x, KNOB.format(0): np.full((), 1.5, dtype="f4")}
        )
        same = np.eye(4, dtype=bool)
        assert (y[..., same] == 0).all()
        rows, columns = np.exp(x)[..., None], np.exp(x)[..., None, :]
        np.testing.assert_allclose(y[..., ~same], (1.5 * rows - columns)[..., ~same], rtol=1e-5, atol=1e-6)

    def test_two_parts_give_what_the_whole_gives(self) -> None:
        inputs = vectors()
        parts = cut_at(pair_masses(), ["mass"], inputs)
        assert parts is not None
        assert (parts.steps, parts.inputs) == (("mass",), ("pf_vectors",))
        evaluators = [ReferenceEvaluator(onnx.load_from_string(part)) for part in (parts.first, parts.rest)]
        assert [item.name for item in onnx.load_from_string(parts.first).graph.input] == ["pf_vectors"]
        (mass,) = evaluators[0].run(None, {"pf_vectors": inputs["pf_vectors"]})
        (whole,) = ReferenceEvaluator(pair_masses()).run(None, inputs)
        np.testing.assert_array_equal(evaluators[1].run(None, {**inputs, "mass": mass})[0], whole)

    def test_what_is_made_with_weights_stays(self) -> None:
        assert cut_at(pair_masses(), ["logits"], vectors()) is None


class TestResponse:
    def test_pair_masses_amplify(self, tmp_path: Path) -> None:
        bundle = Bundle.from_folder(write_pair_masses(tmp_path / "pairs"))
        response = measured_response(bundle)
        assert set(response.changes) == {INPUTS, "mass"}
        assert response.quantile(0.5) > 10
        assert response.figures("mass")[0] > 1e-4
        assert response.jets == 128

    def test_sums_do_not(self, tmp_path: Path) -> None:
        response = measured_response(Bundle.from_folder(write_bundle(tmp_path / "m")))
        assert set(response.changes) == {INPUTS}
        assert response.quantile(1) < 1

    def test_jets_of_the_users_own(self, tmp_path: Path) -> None:
        bundle = Bundle.from_folder(write_pair_masses(tmp_path / "pairs"))
        assert measured_response(bundle, [vectors(), vectors(2)]).jets == 5

    def test_it_is_measured_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        bundle = Bundle.from_folder(write_bundle(tmp_path / "m"))
        first = response_of(bundle)
        forget()
        monkeypatch.setattr(conditioning, "measured_response", lambda *_: pytest.fail("measured again"))
        again = response_of(bundle)
        assert first is not None
        assert again is not None
        assert again.changes.keys() == first.changes.keys()
        np.testing.assert_array_equal(again.units(), first.units())

    def test_what_cannot_be_measured_is_none(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def fails(*_: object) -> RoundingResponse:
            raise RuntimeError("no")

        monkeypatch.setattr(conditioning, "measured_response", fails)
        assert response_of(Bundle.from_folder(write_bundle(tmp_path / "m"))) is None

    def test_checks_of_a_model_show_it_as_facts(self, tmp_path: Path) -> None:
        found = {result.name: result for result in check(Bundle.from_folder(write_pair_masses(tmp_path / "pairs")))}
        of_inputs, of_masses = (found[f"last place of {what}: probabilities"] for what in (INPUTS, "mass"))
        assert of_inputs.verdict == of_masses.verdict == "fact"
        assert of_masses.measured is not None
        assert of_masses.measured > 1e-4
        assert f"99 % {of_masses.measured:.2g}, largest" in of_masses.detail
        assert "of 128 jets" in of_masses.detail
        found = {result.name: result for result in check(Bundle.from_folder(write_bundle(tmp_path / "sums")))}
        assert found["rounding"].detail == "no step in which nearly equal numbers are subtracted"
        assert found[f"last place of {INPUTS}: others"].measured is not None

    def test_figures(self) -> None:
        changes = {
            INPUTS: np.array([[1e-6, 0], [2e-6, 0], [3e-6, 0]]),
            "step": np.array([[0, 1e-3], [0, 2e-3], [1e-5, 9e-3]]),
        }
        response = RoundingResponse(changes)
        assert response.worst == "step"
        np.testing.assert_allclose(response.units(), [10, 20, 90])
        np.testing.assert_allclose(response.units(INPUTS), [0.1, 0.2, 0.3])
        assert response.quantile(0.5) == pytest.approx(20)
        assert response.figures("step") == (0, 1e-5, 1e-5)
        assert response.said("step", others=True) == "median 0.002, 99 % 0.009, largest 0.009 of 3 jets"
