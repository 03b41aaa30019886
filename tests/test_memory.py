"""Memory is bounded by budgets, not by files or chunks; each figure is from a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import inputs, memory
from jettagger.testing import write_pfnano

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("memory")


@pytest.fixture(scope="module")
def thousand(folder: Path) -> Path:
    return write_pfnano(folder / "thousand.root", 1000, seed=1)


@pytest.fixture(scope="module")
def many(folder: Path, thousand: Path) -> Path:
    return inputs.tiled(thousand, 20_000, folder)


@pytest.mark.parametrize("columns", ["prob,mass", "prob,mass,hidden"])
def test_tagging_20000_events_stays_below_1_gb(columns: str, many: Path, folder: Path) -> None:
    assert memory.tagging("tinyParT", many, folder, columns.split(",")) < 1e9


def test_inside_a_runner_the_tagger_adds_little_to_a_large_chunk(thousand: Path, folder: Path) -> None:
    chunk = inputs.tiled(thousand, 10_000, folder)
    assert memory.in_runner("tinyParT", chunk, folder, 10_000) < 300e6


def test_many_chunks_do_not_grow(thousand: Path, folder: Path) -> None:
    assert memory.growth("tinyParT", thousand, folder) < 20e6
