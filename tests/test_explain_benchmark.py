"""The measurement of the cost of gradients, on a few jets."""

from __future__ import annotations

import re

import numpy as np
import pytest

from benchmarks.explain import joined

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
