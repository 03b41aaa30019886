"""The comparison of operators and steps of rewriting: what is compared computes the same, and steps are left out."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from transformers import probes, transformer

from benchmarks.report import show
from benchmarks.rewriting import STEPS, ratios, session, trials, without
from jettagger.sessions.rewriting import rewrite

PROBES = probes((2, 7, 3), (3, 11, 5), (5, 6, 2))


@pytest.mark.parametrize("trial", [trial for trial in trials() if trial.same], ids=lambda trial: trial.title)
def test_what_is_tried_computes_what_is_used(trial: Any) -> None:
    x = np.random.default_rng(3).normal(size=trial.shape).astype("f4")
    used, tried = (
        session(nodes, trial.shape, trial.constants).run(["y"], {"x": x})[0].ravel()
        for nodes in (trial.used, trial.tried)
    )
    np.testing.assert_allclose(tried, used, atol=1e-3)


def test_steps_are_left_out_and_come_back() -> None:
    """A network whose pairs are not symmetric is computed right without halving alone."""
    model, inputs = transformer(symmetric=False, blocks=1).SerializeToString(), probes((4, 9, 2))[0]

    def scores(content: bytes) -> Any:
        return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]).run(None, inputs)[0]

    whole = without(STEPS["one half of the pairs, as rows"], model, PROBES)
    np.testing.assert_allclose(scores(whole), scores(model), rtol=1e-4, atol=1e-5)
    again = rewrite(model, PROBES)
    assert again is not None
    assert np.abs(scores(again) - scores(model)).max() > 1e-3


def test_ratios_are_those_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    spent = iter([0.0, 4.0, 4.0, 6.0, 10.0, 18.0, 18.0, 19.0])  # 4 and 2 seconds, then 8 and 1
    monkeypatch.setattr("benchmarks.rewriting.time.process_time", lambda: next(spent))
    found = ratios({"file": lambda: None, "fast": lambda: None}, 2)
    assert found == {"file": (1, 1, 1), "fast": (5, 2, 8)}


def test_the_table_has_a_column_for_each_model() -> None:
    machine = {"processor": "P", "cores": 2, "python": "3", "onnxruntime": "1", "numpy": "2"}
    trial = {"faster": (0.5, 0.4, 0.61), "difference": 2e-7}
    results = {
        "a": {"steps": {"all steps": (1.5, 1.4, 1.6), "without: x": (1.25, 1, 1.3)}, "machine": machine},
        "b": {"steps": {"all steps": (2, 2, 2)}, "machine": machine},
        "operators": {"trials": {"other": trial, "without a bias": {"faster": (1, 1, 1)}}, "machine": machine},
    }
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in show("rewriting", results).splitlines()]
    assert ["all steps", "1.50 (1.40 to 1.60)", "2.00 (2.00 to 2.00)"] in rows
    assert ["without: x", "1.25 (1.00 to 1.30)", ""] in rows
    assert ["other", "0.50 (0.40 to 0.61)", "2e-07"] in rows
    assert ["without a bias", "1.00 (1.00 to 1.00)", ""] in rows
