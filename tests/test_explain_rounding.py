"""Outputs in torch may differ from those of ONNX Runtime by rounding, for jets that amplify it, and by no more."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import jettagger as jt
from jettagger.errors import MismatchError
from jettagger.explain import agreement as module
from jettagger.inference.conditioning import INPUTS, RoundingResponse
from jettagger.inference.sample_jets import probe_jets
from jettagger.sessions import open_onnx


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
