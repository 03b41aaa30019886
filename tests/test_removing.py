"""Models that were added are removed again, and no others."""

from __future__ import annotations

import io
import json
import os
import shutil
from pathlib import Path

import pytest

import jettagger as jt
from jettagger.bundles.places import PACKAGE, user_folder
from jettagger.bundles.registry import add, available
from jettagger.bundles.removing import added_model, remove
from jettagger.cli import main
from jettagger.errors import BundleError, JettaggerError, OutputError, UnknownName

TINY = PACKAGE / "models" / "tinyParT"


@pytest.fixture
def mine() -> Path:
    return add(TINY, "mine")


def files_of(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_what_was_added_is_removed(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files, size = files_of(mine), sum(path.stat().st_size for path in mine.rglob("*"))
    assert added_model("mine").files == tuple(files)
    assert main(["models", "remove", "mine", "--dry-run"]) == 0
    first, *others = capsys.readouterr().out.splitlines()
    assert first == f"would remove {mine}: {len(files)} files, {size / 1e6:.1f} MB"
    assert [line.strip() for line in others] == files
    assert files_of(mine) == files
    assert main(["models", "remove", "mine", "--yes"]) == 0
    assert capsys.readouterr().out == f"removed {mine}: {len(files)} files, {size / 1e6:.1f} MB\n"
    assert "mine" not in available()
    assert os.listdir(user_folder()) == []
    with pytest.raises(UnknownName, match="'mine'"):
        remove("mine")


def test_the_document_says_what_was_removed(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for line, removed in ((["--dry-run"], False), (["--yes"], True)):
        assert main(["models", "remove", "mine", "--json", *line]) == 0
        result = json.loads(capsys.readouterr().out)["result"]
        assert (result["name"], result["folder"], result["removed"]) == ("mine", str(mine), removed)
        assert "checksums.json" in result["files"]
    assert not mine.exists()


@pytest.mark.parametrize(("said", "gone"), [("y\n", True), ("Yes\n", True), ("n\n", False), ("\n", False), ("", False)])
def test_it_asks_on_a_terminal(
    mine: Path, said: str, gone: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = io.StringIO(said)
    monkeypatch.setattr("sys.stdin", answers)
    monkeypatch.setattr(answers, "isatty", lambda: True)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert main(["models", "remove", "mine"]) == (0 if gone else 1)
    out, err = capsys.readouterr()
    assert err.startswith(f"remove {mine}: ")
    assert mine.exists() != gone
    assert out.startswith("removed" if gone else "nothing was removed")


@pytest.mark.parametrize("option", [[], ["--quiet"], ["--json"]])
def test_nobody_can_be_asked(mine: Path, option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "remove", "mine", *option]) == 2
    assert "expected --yes" in capsys.readouterr().err
    assert mine.exists()


def test_models_that_were_not_added_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mine: Path) -> None:
    with pytest.raises(BundleError, match=r"'tinyParT' is a model of the package, in .*tinyParT: only what"):
        remove("tinyParT")
    shutil.copytree(TINY, tmp_path / "shelf" / "theirs")
    monkeypatch.setenv("JETTAGGER_MODELS", str(tmp_path / "shelf"))
    with pytest.raises(BundleError, match=rf"'theirs' is in {tmp_path}/shelf/theirs, which is on \$JETTAGGER_MODELS"):
        remove("theirs")
    shutil.copytree(TINY, user_folder() / "byhand")
    with pytest.raises(BundleError, match=r"byhand has no checksums\.json, so it was put there in another way"):
        remove("byhand")
    (user_folder() / "link").symlink_to(mine)
    with pytest.raises(BundleError, match=r"is a link to .*mine: only what .* remove the link by hand"):
        remove("link")
    (user_folder() / "file").write_text("")
    with pytest.raises(BundleError, match=r"file has no checksums\.json"):
        remove("file")
    with pytest.raises(UnknownName, match=r"unknown model in .*: 'mien' \(nearest: mine"):
        remove("mien")
    assert {"tinyParT", "theirs", "byhand", "mine"} <= set(available())
    with pytest.raises(JettaggerError, match="name"):
        remove(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", ".", "..", "../mine", "./mine", "a/b", ".hidden", "mine/"])
def test_paths_are_no_names(mine: Path, name: str) -> None:
    with pytest.raises(BundleError, match="expected the name of a model"):
        remove(name)
    assert mine.exists()


def test_a_name_that_another_model_has_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(TINY, tmp_path / "mine")
    monkeypatch.setenv("JETTAGGER_MODELS", str(tmp_path))
    assert main(["models", "remove", "mine", "--yes"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"mine is now the model in {tmp_path / 'mine'}"
    assert (tmp_path / "mine" / "model.onnx").exists()
    assert not mine.exists()


def test_a_removal_that_fails_or_is_stopped(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it has another name the model is complete; afterwards it is absent, and nothing is left."""
    files = files_of(mine)

    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("jettagger.bundles.removing.os.replace", fails)
        with pytest.raises(OutputError, match="No space left on device; it is as before"):
            remove("mine")
    assert files_of(mine) == files
    assert os.listdir(user_folder()) == ["mine"]
    jt.load_bundle("mine")
    real, calls = shutil.rmtree, []

    def stopped(path: Path) -> None:
        calls.append(path)
        if len(calls) == 1:
            raise KeyboardInterrupt
        real(path)

    with monkeypatch.context() as patch:
        patch.setattr("jettagger.bundles.removing.shutil.rmtree", stopped)
        with pytest.raises(KeyboardInterrupt):
            remove("mine")
    assert "mine" not in available()
    assert os.listdir(user_folder()) == []
