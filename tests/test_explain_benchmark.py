"""The measurement of the cost of gradients, on a few jets."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks.explain import joined
from jettagger.testing import write_pfnano

pytest.importorskip("torch")


def test_batches_together_have_the_same_jets() -> None:
    runs = [{"x": np.full((n, 1, length), n)} for n, length in ((2, 5), (3, 4), (1, 2))]
    first, last = joined(runs, 4)
    assert first["x"].shape == (5, 1, 5)
    assert first["x"][2:, 0].tolist() == 3 * [[3, 3, 3, 3, 0]]
    assert last["x"].shape == (1, 1, 2)


def test_it_prints_the_cost(capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks.explain import main

    main(["tinyParT", "--jets", "8", "--repeats", "1"])
    assert re.fullmatch(
        r"tinyParT: forward \d+\.\d+ ms/jet, gradients \d+\.\d+ ms/jet of CPU time, .* times .*\n",
        capsys.readouterr().out,
    )


def test_it_prints_the_memory_of_an_attribution(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Events are repeated until there are as many jets."""
    from benchmarks.explain import main

    path = write_pfnano(tmp_path / "nano.root", 6, seed=1)
    main(["tinyParT", "--events", str(path), "--jets", "25"])
    found = json.loads(capsys.readouterr().out)
    assert 25 <= found["jets"] <= 30
    assert found["events"] > found["columns"] > 0
    assert found["peak"] >= 0
