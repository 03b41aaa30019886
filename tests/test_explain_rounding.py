"""Outputs in torch may differ from those of ONNX Runtime by rounding, for jets that amplify it, and by no more."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import jettagger as jt
from jettagger.errors import MismatchError
from jettagger.explain import AttributionWarning, Scorer, attribute
from jettagger.explain import agreement as module
from jettagger.explain import scorer as scoring
from jettagger.explain.jets import jet_inputs
from jettagger.inference.conditioning import INPUTS, RoundingResponse
from jettagger.inference.sample_jets import probe_jets
from jettagger.sessions import open_onnx
from jettagger.testing import make_events


def moved(change: float) -> tuple[Any, Any, dict[str, Any]]:
    """A network with its inputs, and its outputs with one probability changed."""
    bundle = jt.load_bundle("tinyParT")
    inputs = probe_jets(bundle, 0)
    session = open_onnx(bundle.require_graph(), 1)
    outputs = {name: np.array(values) for name, values in session.run(inputs).items()}
    next(iter(outputs.values()))[1, 0] += change
    return bundle, inputs, outputs


def test_a_jet_whose_rounding_is_amplified_may_differ_as_much(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def response(_: Any, jets: Any) -> RoundingResponse:
        asked.append([len(array) for array in jets[0].values()])
        return RoundingResponse({INPUTS: np.array([[8e-6, 0.0]])})

    monkeypatch.setattr(module, "measured_response", response)
    assert module.agreement(*moved(3e-5)) <= 1
    assert set(asked[0]) == {1}  # only the jet beyond the tolerance
    with pytest.raises(MismatchError, match="of jet 1"):
        module.agreement(*moved(6e-5))


def test_other_jets_are_refused() -> None:
    with pytest.raises(MismatchError, match="times the tolerance"):
        module.agreement(*moved(3e-3))
    assert module.agreement(*moved(0.0)) == 0


def test_where_the_session_is_exact_single_precision_may_be_rounded() -> None:
    """The same operators in double precision give the outputs of the session: what is left is rounding in torch."""
    bundle, inputs, exact = moved(0.0)
    asked: list[int] = []

    def doubles(change: float) -> Any:
        def run(few: dict[str, Any]) -> dict[str, Any]:
            asked.append(len(next(iter(few.values()))))
            return {name: array[1:2] + change for name, array in exact.items()}

        return run

    assert module.agreement(*moved(3e-5), doubles(0.0)) == pytest.approx(3 / module.PRECISION, rel=0.05)
    assert asked == [1]
    with pytest.raises(MismatchError, match="of jet 1"):
        module.agreement(*moved(3e-5), doubles(3e-5))  # an operator that is not the one of the file
    with pytest.raises(MismatchError, match="of jet 1"):
        module.agreement(*moved(3e-4), doubles(0.0))  # more than rounding
    assert module.agreement(bundle, inputs, exact, doubles(1.0)) == 0, "nobody asks without need"
    assert len(asked) == 3


class Few:
    """A session whose numbers have fewer digits."""

    def __init__(self, bundle: jt.Bundle, kind: str) -> None:
        self.session, self.kind = open_onnx(bundle.require_graph(), 1), kind

    def run(self, inputs: dict[str, Any]) -> dict[str, Any]:
        found = self.session.run(inputs)
        if self.kind == "bfloat16":
            return {name: (array.view("u4") & np.uint32(0xFFFF0000)).view("f4") for name, array in found.items()}
        return {name: array.astype("f2").astype("f4") for name, array in found.items()}


@pytest.mark.parametrize(("kind", "digits"), [("float16", 10), ("bfloat16", 7)])
def test_a_session_that_rounds_is_refused(kind: str, digits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are compared are refused before; this one is not."""
    tagger = jt.load_tagger("tinyParT", threads=1)
    jets = next(jet_inputs(tagger, tagger.request(make_events(4, seed=1))))
    scorer = Scorer(tagger, "probHbb")
    assert scorer.values(jets).shape == (len(jets),)
    assert scorer.rounding == ""
    monkeypatch.setattr(jt.Tagger, "session", property(lambda self: Few(self.bundle, kind)))
    with pytest.raises(MismatchError, match=f"rounds its outputs to {digits} binary digits, the file gives 23"):
        Scorer(tagger, "probHbb").values(jets)


def test_a_session_of_ones_own_that_rounds_is_refused() -> None:
    bundle = jt.load_bundle("tinyParT")
    tagger = jt.Tagger(bundle, session=Few(bundle, "bfloat16"))
    jets = next(jet_inputs(tagger, tagger.request(make_events(4, seed=1))))
    with pytest.raises(MismatchError):
        Scorer(tagger, "probHbb").values(jets)


def test_a_file_that_rounds_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    tagger = jt.load_tagger("tinyParT", threads=1)
    events = make_events(4, seed=1)
    jets = next(jet_inputs(tagger, tagger.request(events)))
    monkeypatch.setattr(jt.Tagger, "session", property(lambda self: Few(self.bundle, "float16")))
    monkeypatch.setattr(scoring, "open_onnx", lambda graph, threads: Few(tagger.bundle, "float16"))
    scorer = Scorer(tagger, "probHbb")
    scorer.values(jets)
    assert "gives its outputs with 10 binary digits: changes below 0.001 of a value are rounding" in scorer.rounding
    with pytest.warns(AttributionWarning, match="10 binary digits"):
        attribute(tagger, events, "probHbb", method="occlusion")
