"""The benchmark of loading runs, with few jets."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra train is not installed")

from benchmarks.jec_loading import MEANS, measure_loading, measure_memory, random_jets, write_set


@pytest.mark.slow
def test_it_measures(tmp_path: Path) -> None:
    path = write_set(tmp_path, 400, files=4)
    found = measure_loading(path, steps=2)
    assert found.jets == 400
    # with few jets, and other work on the machine, nothing can be said of which is faster; a step of the training is
    # the difference of two times, which may come out below zero
    assert min(found.prepared, found.streamed) > 0
    assert found.share == pytest.approx(found.trained / found.streamed)
    assert 50 < measure_memory(path) < 4000


def test_jets_have_the_constituents_of_real_ones() -> None:
    jets = random_jets(2000, seed=1)
    for name, mean in MEANS.items():
        assert jets.counts[name].mean() == pytest.approx(mean, rel=0.1)
