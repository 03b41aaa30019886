"""Outputs are complete or not there."""

from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path

import pytest

from jettagger.errors import OutputError
from jettagger.files import atomic as files
from jettagger.files import complete_or_absent, folder_complete_or_absent, replace_folder


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


def write(path: Path, kind: str, text: str = "x", force: bool = True) -> Path:
    """Write a file, or a folder with a marker, and give where it was written first."""
    if kind == "file":
        with complete_or_absent(path, force=force) as part:
            part.write_text(text)
    else:
        with folder_complete_or_absent(path, marker="marker", force=force) as part:
            (part / "marker").write_text(text)
    return part


def content(path: Path, kind: str) -> str:
    return (path if kind == "file" else path / "marker").read_text()


KINDS = pytest.mark.parametrize("kind", ["file", "folder"])


@KINDS
@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077, 0o002, 0])
def test_new_outputs_have_the_permissions_of_any_new_one(tmp_path: Path, kind: str, umask: int) -> None:
    old = os.umask(umask)
    try:
        write(tmp_path / "a", kind)
    finally:
        os.umask(old)
    assert (tmp_path / "a").stat().st_mode & 0o777 == (0o666 if kind == "file" else 0o777) & ~umask
    assert names(tmp_path) == ["a"]


@KINDS
def test_private_until_complete(tmp_path: Path, kind: str) -> None:
    old = os.umask(0)
    try:
        if kind == "file":
            with complete_or_absent(tmp_path / "a") as part:
                part.write_text("half")
                assert part.stat().st_mode & 0o077 == 0
        else:
            with folder_complete_or_absent(tmp_path / "a", marker="marker") as part:
                assert part.stat().st_mode & 0o077 == 0
    finally:
        os.umask(old)


@KINDS
def test_files_of_other_threads_are_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Whatever other threads create while outputs are written has the permissions that they asked for."""
    set_umask = os.umask

    def slow(mask: int) -> int:
        """The same, with time for the others to run before it is set again."""
        before = set_umask(mask)
        time.sleep(0.02)
        return before

    monkeypatch.setattr(os, "umask", slow)
    others = tmp_path / "others"
    others.mkdir()
    begun, done = threading.Event(), threading.Event()
    modes = set()

    def create() -> None:
        number = 0
        while not done.is_set():
            number += 1
            place = others / str(number)
            place.touch()
            modes.add(place.stat().st_mode & 0o777)
            begun.set()

    before = set_umask(0o027)
    thread = threading.Thread(target=create)
    thread.start()
    try:
        assert begun.wait(60)
        for number in range(20):
            write(tmp_path / f"out{number}", kind)
    finally:
        done.set()
        thread.join()
        set_umask(before)
    assert modes == {0o640}


@KINDS
@pytest.mark.parametrize("exists", [True, False], ids=["target", "dangling"])
@pytest.mark.parametrize("links", [1, 3])
@pytest.mark.parametrize("relative", [True, False])
def test_a_link_stays_and_its_target_is_written(
    tmp_path: Path, kind: str, exists: bool, links: int, relative: bool
) -> None:
    disk, work = tmp_path / "disk", tmp_path / "work"
    disk.mkdir()
    work.mkdir()
    if exists:
        write(disk / "data", kind, "old")
    there = Path("../disk/data") if relative else disk / "data"
    for number in range(links):
        (work / f"link{number}").symlink_to(there)
        there = Path(f"link{number}") if relative else work / f"link{number}"
    last = work / f"link{links - 1}"
    if exists:
        with pytest.raises(OutputError, match="exists already"):
            write(last, kind, force=False)
    part = write(last, kind, "new")
    assert part.parent == disk  # the disk that has room for it
    assert content(disk / "data", kind) == content(last, kind) == "new"
    assert all((work / f"link{number}").is_symlink() for number in range(links))
    assert not (disk / "data").is_symlink()
    assert names(disk) == ["data"]
    assert names(work) == [f"link{number}" for number in range(links)]


@KINDS
def test_links_that_lead_nowhere(tmp_path: Path, kind: str) -> None:
    (tmp_path / "round").symlink_to("round")
    (tmp_path / "away").symlink_to(tmp_path / "absent" / "data")
    with pytest.raises(OutputError, match=r"cannot write .*round: it is a symbolic link that leads back to itself"):
        write(tmp_path / "round", kind)
    with pytest.raises(
        OutputError, match=r"cannot write .*away: it is a link to .*data, and the folder .* does not exist"
    ):
        write(tmp_path / "away", kind)
    assert names(tmp_path) == ["away", "round"]


@KINDS
def test_an_error_leaves_link_and_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    write(tmp_path / "data", kind, "old")
    (tmp_path / "link").symlink_to("data")
    rename = os.replace

    def refuse(source: Path, target: Path) -> None:
        if ".part-" in str(source):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        rename(source, target)

    monkeypatch.setattr(files.os, "replace", refuse)
    with pytest.raises(OutputError, match="cross-device"):
        write(tmp_path / "link", kind, "new")
    assert content(tmp_path / "link", kind) == content(tmp_path / "data", kind) == "old"
    assert names(tmp_path) == ["data", "link"]


def test_a_pipe_or_a_device_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for name in ("pipe", "link"):
        with pytest.raises(OutputError, match="it is a device or a pipe, expected the name of a file"):
            write(tmp_path / name, "file")
    assert names(tmp_path) == ["link", "pipe"]


@KINDS
@pytest.mark.parametrize("name", ["n" * 300, "a\0b"], ids=["long", "null"])
def test_names_that_no_file_can_have(tmp_path: Path, kind: str, name: str) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        write(tmp_path / name, kind)
    assert names(tmp_path) == []


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
    said = r"cannot write .*a\.root completely: No space left on device; no partial output was left"
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


@pytest.mark.parametrize("back", [True, False], ids=["put back", "not put back"])
def test_a_folder_that_cannot_be_replaced_is_not_lost(
    back: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupt between the two renames, and a disk that then refuses the third."""
    for name in ("new", "out"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "content").write_text(name)
    real, calls = os.replace, []

    def replace(source: Path, target: Path) -> None:
        calls.append(source)
        if len(calls) == 2:
            raise KeyboardInterrupt
        if len(calls) == 3 and not back:
            raise OSError(errno.EIO, "Input/output error")
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(KeyboardInterrupt if back else OSError):
        replace_folder(tmp_path / "new", tmp_path / "out")
    contents = sorted(path.read_text() for path in tmp_path.rglob("content"))
    assert contents == ["new", "out"]
    assert (tmp_path / "out").exists() is back
    assert len(list(tmp_path.iterdir())) == 2
