"""The benchmark of the decoder runs; it judges nothing by the clock."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import decoding
from jettagger.assignment import METHODS, decode


def test_distributions_are_normalised_and_contested() -> None:
    logs = decoding.distributions(60, 8)
    for values in logs.values():
        assert values.dtype == np.float32
        np.testing.assert_allclose(np.exp(values).sum(axis=(1, 2, 3)), 1, rtol=1e-4)
        np.testing.assert_allclose(values, values.transpose(0, 2, 1, 3), rtol=1e-4)
    greedy, best = (decode(logs, decoding.top_pair(), method, threads=1) for method in ("greedy", "best"))
    assert (greedy.assignments["t1"] != best.assignments["t1"]).any()
    assert (best.scores >= greedy.scores - 1e-9).all()


def test_rates_are_those_of_all_methods_and_the_reference(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ticks = iter(range(1000))
    seen = []
    logs = decoding.distributions(4, 6)
    rates = decoding.measured_rates(logs, 3, seen.append, lambda: float(next(ticks)))
    assert rates == {name: [4.0] * 3 for name in ("reference", *METHODS)}
    assert len(seen) == 4
    assert seen[0][0] is logs["t1"]
    assert decoding.rows(rates)[1].split() == ["greedy", "4", "±", "0", "1.00"]
    monkeypatch.setattr("sys.argv", ["decoding", "5", "--objects", "6", "--rounds", "1"])
    decoding.main()
    assert "20 events, 6 objects" in capsys.readouterr().out
