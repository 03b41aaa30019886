"""Rows with lists of different lengths on disk, and the table of losses on the screen."""

from __future__ import annotations

import io
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from traced import traced_peak

from jettagger.errors import InvalidValues
from jettagger.training import Epoch, RaggedRows, RaggedStore, live_table, ragged_batches
from jettagger.training.ragged import joined

LISTS = {"pf": 3, "sv": 1}


def made(rows: int, seed: int = 0, first: int = 0, longest: int = 5) -> RaggedRows:
    """Rows that know their number, with elements that know their row."""
    rng = np.random.default_rng(seed)
    index = np.arange(first, first + rows)
    counts = {name: rng.integers(0, longest + 1, rows) for name in LISTS}
    lists = {
        name: (np.repeat(index, counts[name])[:, None] * 10 + rng.integers(0, 10, (counts[name].sum(), width))).astype(
            "f4"
        )
        for name, width in LISTS.items()
    }
    return RaggedRows(np.column_stack([index, rng.normal(size=rows)]).astype("f4"), counts, lists)


def as_lists(rows: RaggedRows) -> dict[float, Any]:
    """Number of a row -> all that it has."""
    parts = {name: ak.unflatten(values, rows.counts[name]).to_list() for name, values in rows.lists.items()}
    return {
        float(numbers[0]): (numbers.tolist(), *(parts[name][place] for name in LISTS))
        for place, numbers in enumerate(rows.numbers)
    }


def order_of(rows: Any) -> list[float]:
    return [float(number) for part in rows for number in part.numbers[:, 0]]


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(0, 30), seed=st.integers(0, 99))
def test_rows_are_taken_joined_and_padded_like_awkward_arrays(rows: int, seed: int) -> None:
    found = made(rows, seed)
    rng = np.random.default_rng(seed)
    order = rng.integers(0, rows, 7) if rows else np.zeros(0, dtype=int)
    taken = found.take(order)
    whole = as_lists(found)
    assert as_lists(taken) == {float(number): whole[float(number)] for number in order}
    assert as_lists(joined([found, made(4, seed, first=100)])) == whole | as_lists(made(4, seed, first=100))
    for length in (None, 2, 9):
        values, mask = found.padded("pf", length)
        expected = ak.unflatten(found.lists["pf"][:, 0], found.counts["pf"])
        places = max(int(found.counts["pf"].max(initial=0)), 1) if length is None else length
        padded = ak.pad_none(expected, places, clip=True)
        assert values.shape == (rows, places, 3)
        assert values[..., 0].tolist() == ak.fill_none(padded, 0).to_list()
        assert mask.tolist() == (~ak.is_none(padded, axis=1)).to_list()


def test_a_store_gives_all_rows_in_another_order_each_time(tmp_path: Path) -> None:
    pieces = [made(200, seed, first=200 * seed) for seed in range(10)]
    with RaggedStore(tmp_path, 2, LISTS, size=2000 * 50, memory=120_000, seed=3) as store:
        for piece in pieces:
            store.add(piece)
    assert store.shards > 3
    assert store.rows == 2000
    expected = {number: row for piece in pieces for number, row in as_lists(piece).items()}
    epochs = [list(store.epoch(np.random.default_rng(seed))) for seed in (0, 1, 0)]
    for epoch in epochs:
        assert {number: row for part in epoch for number, row in as_lists(part).items()} == expected
    assert order_of(epochs[0]) == order_of(epochs[2]) != order_of(epochs[1])
    assert sorted(order_of(store)) == sorted(expected)
    # any tenth of an epoch has rows of all pieces
    assert all(len(np.unique(part // 200)) == 10 for part in np.split(np.array(order_of(epochs[0])), 10))


@given(lengths=st.lists(st.integers(0, 9), max_size=6), size=st.integers(1, 7))
def test_batches_are_full_but_the_last_and_keep_the_order(lengths: list[int], size: int) -> None:
    pieces = [made(length, place, first=100 * place) for place, length in enumerate(lengths)]
    batches = list(ragged_batches(pieces, size))
    assert [len(batch) for batch in batches[:-1]] == [size] * (len(batches) - 1)
    assert all(0 < len(batch) <= size for batch in batches)
    assert order_of(batches) == order_of(pieces)


def test_memory_does_not_grow_with_the_rows() -> None:
    def use(pieces: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            with RaggedStore(Path(folder), 2, LISTS, size=180_000 * pieces, memory=2_000_000, seed=1) as store:
                for number in range(pieces):
                    store.add(made(1000, number, longest=20))
            for _ in ragged_batches(store.epoch(np.random.default_rng(0)), 100):
                pass

    few, many = (traced_peak(partial(use, pieces)) for pieces in (5, 25))
    assert many < 1.5 * few


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"pf": [1, 2]}, "the sum 4"),
        ({"pf": [4]}, "expected 2 counts"),
        ({"pf": [5, -1]}, "expected 2 counts"),
        ({"sv": [1, 3]}, "counts of sv for lists pf"),
    ],
)
def test_lists_that_do_not_fit(counts: dict[str, list[int]], message: str) -> None:
    arrays = {name: np.array(values) for name, values in counts.items()}
    with pytest.raises(InvalidValues, match=message):
        RaggedRows(np.zeros((2, 1), "f4"), arrays, {"pf": np.zeros((4, 1), "f4")})


def test_rows_of_another_kind_are_refused(tmp_path: Path) -> None:
    with (
        RaggedStore(tmp_path, 2, {"pf": 3}, size=100, memory=10**6, seed=1) as store,
        pytest.raises(InvalidValues, match=r"lists \{'pf': 3, 'sv': 1\}, expected 2 and \{'pf': 3\}"),
    ):
        store.add(made(3))


# ---------------------------------------------------------------------------------------------------------- the screen


def test_the_live_table_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with live_table() as follow:
        for number in range(1, 21):
            follow(Epoch(0, number, 1 / number, 2 / number, number != 7, 3.0, 0.7, (0.123,)))
    last = screen.getvalue().rpartition("losses")[2]
    assert "0.10000" in last  # epoch 20
    assert "0.20000" in last  # the loss of validation of epoch 10
    assert "0.25000" not in last  # epoch 8 has gone up and out
    assert last.count("best") == 12
    assert "opponent 1" in last
    assert "0.12300" in last
    assert "metric" in last


def test_lines_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    for interval, rows in ((0.0, 3), (1000.0, 1)):
        with live_table(interval=interval) as follow:
            for number in range(1, 4):
                follow(Epoch(0, number, 1 / number, 2 / number, number == 1, 3.0, opponents=(0.5,)))
        lines = capsys.readouterr().err.splitlines()
        assert lines[0].split() == ["network", "epoch", "training", "validation", "opponent", "1"]
        assert lines[1].split() == ["0", "1", "1.00000", "2.00000", "0.50000", "best"]
        assert len(lines) == 1 + rows
