"""Outputs are complete or not there."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from jettagger import files
from jettagger.errors import OutputError
from jettagger.files import complete_or_absent


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_half(path: Path, error: BaseException) -> None:
    with complete_or_absent(path) as part:
        part.write_text("half of i")
        raise error


def test_complete(tmp_path: Path) -> None:
    with complete_or_absent(tmp_path / "a.root") as part:
        assert part.suffix == ".root"
        assert part.parent == tmp_path
        assert part != tmp_path / "a.root"
        part.write_text("all of it")
        assert not (tmp_path / "a.root").exists()
    assert names(tmp_path) == ["a.root"]
    assert (tmp_path / "a.root").read_text() == "all of it"


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        with complete_or_absent(tmp_path / "a") as part:
            part.write_text("x")
    finally:
        os.umask(old)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    "error", [ValueError("no"), KeyboardInterrupt(), SystemExit(1)], ids=lambda error: type(error).__name__
)
def test_absent_after_an_error(tmp_path: Path, error: BaseException) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(type(error)):
        write_half(tmp_path / "a", error)
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "old"


def test_full_disk(tmp_path: Path) -> None:
    said = r"cannot write .*a\.root completely: No space left on device; nothing was left"
    with pytest.raises(OutputError, match=said):
        write_half(tmp_path / "a.root", OSError(errno.ENOSPC, "No space left on device"))
    assert names(tmp_path) == []


def test_a_rename_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(files.os, "replace", refuse)
    with (
        pytest.raises(OutputError, match="cross-device"),
        complete_or_absent(tmp_path / "a") as part,
    ):
        part.write_text("x")
    assert names(tmp_path) == []


def test_existing(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with (
        pytest.raises(OutputError, match=r"a exists already; use --force \(force=True\) to replace it"),
        complete_or_absent(tmp_path / "a", force=False),
    ):
        raise AssertionError("never entered")
    with complete_or_absent(tmp_path / "a", force=True) as part:
        part.write_text("new")
    assert (tmp_path / "a").read_text() == "new"


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match="it is a folder, expected the name of a file"),
        complete_or_absent(tmp_path),
    ):
        raise AssertionError("never entered")


def test_no_such_folder(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"cannot write .*: No such file or directory"),
        complete_or_absent(tmp_path / "absent" / "a"),
    ):
        raise AssertionError("never entered")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_unwritable_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="Permission denied"), complete_or_absent(tmp_path / "a"):
        raise AssertionError("never entered")


def test_an_unreadable_input_is_not_blamed_on_the_output(tmp_path: Path) -> None:
    """An error about another file inside the block keeps its own words."""
    with pytest.raises(FileNotFoundError), complete_or_absent(tmp_path / "a"):
        (tmp_path / "input").read_text()
    assert names(tmp_path) == []
