"""Files of a model that change in their place are noticed, declared or not."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
from networks import graph, write_bundle

from benchmarks.damage import flipped_copies
from jettagger.bundles.bundle import Bundle
from jettagger.bundles.checksums import CHECKSUMS
from jettagger.bundles.places import PACKAGE, cache_folder
from jettagger.bundles.registry import accept, add
from jettagger.cli import main
from jettagger.errors import BundleError, JettaggerError, OutputError
from jettagger.sessions.graph import file_sha256

NUMBER = 24


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's cache of its own for each test."""
    monkeypatch.setenv("JETTAGGER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("jettagger.bundles.checksums.cache_folder", cache_folder)
    return tmp_path / "cache"


def undeclared(folder: Path) -> Path:
    """The tiny network without a card, in a folder that bears no known name."""
    shutil.copytree(PACKAGE / "models" / "tinyParT", folder)
    (folder / "bundle.json").unlink()
    return folder


def change(path: Path) -> tuple[str, str]:
    """Another file of the same meaning; its old and new checksum."""
    old = file_sha256(path)
    if path.suffix == ".json":
        path.write_text(path.read_text() + " ")
    elif path.suffix == ".onnx":
        model = onnx.load(path, load_external_data=False)
        model.doc_string = "changed"
        onnx.save(model, path)
    else:
        values = np.fromfile(path, dtype="u1")
        values[0] ^= 1
        values.tofile(path)
    return old, file_sha256(path)


def quiet(folder: Path) -> Bundle:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return Bundle.from_folder(folder)


@pytest.mark.parametrize("name", ["model.onnx", "preprocess.json"])
def test_no_flip_of_an_undeclared_file_is_silent(tmp_path: Path, name: str) -> None:
    folder = undeclared(tmp_path / "mine")
    right = quiet(folder).digest
    whole = Path(shutil.copy(folder / name, tmp_path / name))
    ends = {"said": 0, "refused": 0, "silent": 0}
    for copy in flipped_copies(whole, folder, NUMBER, seed=3):
        assert copy == folder / name
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                assert Bundle.from_folder(folder).digest != right
            except JettaggerError:
                ends["refused"] += 1
                continue
        said = [str(warning.message) for warning in caught if warning.category is RuntimeWarning]
        ends["said" if any(str(folder / name) in text for text in said) else "silent"] += 1
    assert ends["silent"] == 0
    assert ends["said"] > 0
    assert sum(ends.values()) == NUMBER


@pytest.mark.parametrize("name", ["model.onnx", "preprocess.json"])
def test_said_until_accepted_or_back(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = undeclared(tmp_path / "mine")
    quiet(folder)
    before = (folder / name).read_bytes()
    old, new = change(folder / name)
    for _ in range(2):
        with pytest.warns(RuntimeWarning, match=f"{name} has changed .*{old[:12]}.*{new[:12]}.*models accept {folder}"):
            Bundle.from_folder(folder)
    (folder / name).write_bytes(before)
    quiet(folder)
    change(folder / name)
    assert main(["models", "accept", str(folder)]) == 0
    assert new in capsys.readouterr().out
    quiet(folder)
    (folder / name).write_bytes(before)
    with pytest.warns(RuntimeWarning, match="has changed"):
        Bundle.from_folder(folder)


def test_the_folder_is_known_by_its_real_path(tmp_path: Path) -> None:
    folder = undeclared(tmp_path / "mine")
    (tmp_path / "link").symlink_to(folder)
    quiet(tmp_path / "link")
    change(folder / "model.onnx")
    with pytest.warns(RuntimeWarning, match="has changed"):
        Bundle.from_folder(folder)
    quiet(Path(shutil.copytree(folder, tmp_path / "copy")))  # another place: first use


def test_weights_that_come_later_are_remembered_then(tmp_path: Path) -> None:
    folder = undeclared(tmp_path / "mine")
    (folder / "model.onnx").rename(tmp_path / "model.onnx")
    quiet(folder)
    (tmp_path / "model.onnx").rename(folder / "model.onnx")
    quiet(folder)
    change(folder / "model.onnx")
    with pytest.warns(RuntimeWarning, match="model.onnx has changed"):
        Bundle.from_folder(folder)


def test_a_card_may_change_and_its_checksums_bind(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "mine", card={"title": "a"})
    quiet(folder)
    sums = {name: file_sha256(folder / name) for name in ("model.onnx", "preprocess.json")}
    write_bundle(folder, card={"title": "b", "sha256": sums})
    quiet(folder)
    change(folder / "preprocess.json")
    with pytest.raises(BundleError, match="SHA-256"):
        Bundle.from_folder(folder)
    with pytest.raises(BundleError, match="SHA-256"):
        accept(folder)


def test_external_data(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "mine")
    model = graph()
    onnx.save_model(model, folder / "model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert set(quiet(folder).checksums()) == {"model.onnx", "preprocess.json", "weights.bin"}
    copy = add(folder, "added")
    for place in (folder, copy):
        change(place / "weights.bin")
    with pytest.warns(RuntimeWarning, match=r"weights.bin has changed"):
        Bundle.from_folder(folder)
    with pytest.raises(BundleError, match=r"weights.bin does not have the SHA-256 in checksums.json"):
        Bundle.from_folder(copy)


class TestDamagedOrAbsentCache:
    def test_off(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("JETTAGGER_CACHE", "off")
        folder = undeclared(tmp_path / "mine")
        quiet(folder)
        change(folder / "model.onnx")
        quiet(folder)

    def test_it_cannot_be_written(self, tmp_path: Path, cache: Path) -> None:
        folder = undeclared(tmp_path / "mine")
        cache.write_text("a file, where a folder should be")
        quiet(folder)
        with pytest.raises(OutputError, match="cannot store"):
            accept(folder)

    def test_damaged_entries_are_written_anew(self, tmp_path: Path, cache: Path) -> None:
        folder = undeclared(tmp_path / "mine")
        quiet(folder)
        (entry,) = (cache / "checksums").iterdir()
        whole = entry.read_bytes()
        for content in (b"", b"[]", b'{"sha256": 1}', b'{"sha256": {"model.onnx": "x"}}', b"\xff", whole[:40]):
            entry.write_bytes(content)
            quiet(folder)
            assert entry.read_bytes() == whole

    def test_nothing_else_is_left_there(self, tmp_path: Path, cache: Path) -> None:
        folder = undeclared(tmp_path / "mine")
        quiet(folder)
        content = json.loads(next((cache / "checksums").iterdir()).read_text())
        assert content == {"folder": os.fspath(folder.resolve()), "sha256": quiet(folder).checksums()}
        assert len(list((cache / "checksums").iterdir())) == 1


class TestAdd:
    def test_the_copy_is_bound_and_otherwise_the_same(self, tmp_path: Path, cache: Path) -> None:
        source = undeclared(tmp_path / "mine")
        whole = quiet(source)
        copy = add(source, "mine")
        assert json.loads((copy / CHECKSUMS).read_text()) == {"sha256": whole.checksums()}
        assert not (source / CHECKSUMS).exists()
        added = quiet(copy)
        assert (added.digest, added.described_by, added.outputs) == (whole.digest, whole.described_by, whole.outputs)
        assert len(list((cache / "checksums").iterdir())) == 1  # of the source
        for name in ("model.onnx", "preprocess.json"):
            old, new = change(copy / name)
            with pytest.raises(BundleError, match=f"{name}.*{old[:12]}.*{new[:12]}.*models accept"):
                Bundle.from_folder(copy)
            assert accept("mine").checksums()[name] == new
            quiet(copy)

    def test_adding_again_replaces_what_was_bound(self, tmp_path: Path) -> None:
        source = undeclared(tmp_path / "mine")
        copy = add(source, "mine")
        change(copy / "model.onnx")
        add(source, "mine", force=True)
        assert quiet(copy).checksums() == quiet(source).checksums()

    def test_flips_of_a_copy_are_refused(self, tmp_path: Path) -> None:
        copy = add(undeclared(tmp_path / "mine"), "mine")
        for name in ("model.onnx", "preprocess.json"):
            whole = Path(shutil.copy(copy / name, tmp_path / name))
            for _ in flipped_copies(whole, copy, NUMBER, seed=4):
                with pytest.raises(JettaggerError):
                    Bundle.from_folder(copy)
            shutil.copy(whole, copy / name)

    @pytest.mark.parametrize("content", ["{", "[]", "{}", '{"sha256": {}}', '{"sha256": {"model.onnx": "ab"}}'])
    def test_bad_checksums(self, tmp_path: Path, content: str) -> None:
        copy = add(undeclared(tmp_path / "mine"), "mine")
        (copy / CHECKSUMS).write_text(content)
        with pytest.raises(BundleError, match=CHECKSUMS):
            Bundle.from_folder(copy)
        accept(copy)
        quiet(copy)
