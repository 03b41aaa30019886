"""Checkpoints beside an output: used by the same training, dropped by another, gone when the output is complete."""

from __future__ import annotations

import warnings
from contextlib import suppress
from pathlib import Path

import pytest

from jettagger.errors import OutputError
from jettagger.files.resuming import ResumeWarning, resume_folder
from jettagger.training.kept import KeptCheckpoints, checkpoints_kept, drop_checkpoints, kept_checkpoints


def interrupted(output: Path, subjects: list[str], names: list[str]) -> None:
    """A run that ends with a checkpoint of each name."""
    with suppress(KeyboardInterrupt), kept_checkpoints(output, subjects, "rows or seed") as kept:
        assert kept is not None
        for name, subject in zip(names, subjects, strict=False):
            kept.path(name, subject).write_text(name)
        raise KeyboardInterrupt


def test_they_are_used_again_and_removed_at_the_end(tmp_path: Path) -> None:
    output = tmp_path / "out"
    interrupted(output, ["a" * 64, "b" * 64, "c" * 64], ["one", "two"])
    assert checkpoints_kept(output) == 2
    with pytest.warns(ResumeWarning, match=r"out\.resume: the training goes on where an earlier .* \(2 networks\)"):
        KeptCheckpoints(output, ["a" * 64, "b" * 64], "rows or seed").leave()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResumeWarning)
        with kept_checkpoints(output, ["a" * 64, "b" * 64], "rows or seed") as kept:
            assert kept is not None
            assert [kept.path("one", "a" * 64).read_text(), kept.path("two", "b" * 64).read_text()] == ["one", "two"]
            assert not kept.path("two", "a" * 64).exists()
    assert list(tmp_path.iterdir()) == []


def test_those_of_other_trainings_are_dropped_one_by_one(tmp_path: Path) -> None:
    output = tmp_path / "out"
    interrupted(output, ["a", "b"], ["one", "two"])
    with pytest.warns(ResumeWarning, match=r"goes on where an earlier run was interrupted \(1 network\)"):
        KeptCheckpoints(output, ["b", "c"], "rows or seed").leave()
    assert [path.read_text() for path in resume_folder(output).glob("*.pt")] == ["two"]
    with pytest.warns(ResumeWarning, match="checkpoints are dropped: rows or seed have changed since"):
        KeptCheckpoints(output, ["c"], "rows or seed").leave()
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_where_nothing_was_written(tmp_path: Path) -> None:
    interrupted(tmp_path / "out", ["a"], [])
    with kept_checkpoints(tmp_path / "out", [], "rows") as kept:
        assert kept is None
    assert list(tmp_path.iterdir()) == []


def test_two_runs_do_not_share_them(tmp_path: Path) -> None:
    first = KeptCheckpoints(tmp_path / "out", ["a"])
    first.path("network0", "a").touch()
    for attempt in (lambda: KeptCheckpoints(tmp_path / "out", ["a"]), lambda: drop_checkpoints(tmp_path / "out")):
        with pytest.raises(OutputError, match=r"out\.resume is in use: another run is writing the same output"):
            attempt()
    first.leave()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # what is not wanted is dropped without a word
        drop_checkpoints(tmp_path / "out")
        drop_checkpoints(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
