"""Models by name: where they are looked for, and how one is added."""

from __future__ import annotations

import os
from pathlib import Path

import onnx
import pytest
from networks import graph, write_bundle

from jettagger.bundles import registry
from jettagger.bundles.bundle import Bundle
from jettagger.bundles.places import PACKAGE, search_path, user_folder
from jettagger.bundles.registry import EMBEDDED, add, available, load_bundle, locate
from jettagger.errors import BundleError, BundleNotFound, MissingModelFile, ModelFileError, OutputError
from jettagger.tagging.tagger import load_tagger
from jettagger.testing import make_tiny_model


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


class TestSearch:
    def test_packaged(self) -> None:
        assert {"tinyParT", "inclParTMDV1"} <= set(available())
        assert locate("tinyParT") == PACKAGE / "models" / "tinyParT"

    def test_order(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """$JETTAGGER_MODELS before the user's folder before the package."""
        monkeypatch.setenv("JETTAGGER_MODELS", f"{tmp_path / 'a'}{os.pathsep}{os.pathsep}{tmp_path / 'b'}")
        assert search_path() == [tmp_path / "a", tmp_path / "b", user_folder(), PACKAGE / "models"]
        places = [PACKAGE / "models" / "tinyParT"]
        assert locate("tinyParT") == places[-1]
        for parent in (user_folder(), tmp_path / "b", tmp_path / "a"):
            places.append(write_bundle(parent / "tinyParT"))
            assert locate("tinyParT") == places[-1]

    def test_a_folder_is_also_found_by_the_name_of_its_network(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = write_bundle(tmp_path / "as-downloaded", card={"name": "ours"})
        monkeypatch.setenv("JETTAGGER_MODELS", str(tmp_path))
        assert load_bundle("as-downloaded").name == "ours"
        assert locate("ours") == locate("as-downloaded") == folder

    def test_a_listed_folder_may_be_the_model_itself(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = write_bundle(tmp_path / "mine")
        monkeypatch.setenv("JETTAGGER_MODELS", str(folder))
        assert available()["mine"] == folder
        assert load_bundle("mine").name == "mine"

    def test_home_is_expanded(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("JETTAGGER_MODELS", "~/models")
        write_bundle(tmp_path / "models" / "mine")
        assert locate("mine") == tmp_path / "models" / "mine"
        assert locate("~/models/mine") == tmp_path / "models" / "mine"

    def test_what_is_no_model_is_passed_over(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("JETTAGGER_MODELS", f"{tmp_path}{os.pathsep}{tmp_path / 'absent'}")
        (tmp_path / "notes").mkdir()
        (tmp_path / "file.txt").write_text("x")
        write_bundle(tmp_path / ".hidden")
        assert set(available()) == {path.name for path in (PACKAGE / "models").iterdir()}

    def test_weights_alone_make_a_packaged_description_complete(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "inclParTMDV1").mkdir()
        make_tiny_model(tmp_path / "inclParTMDV1" / "model.onnx")
        monkeypatch.setenv("JETTAGGER_MODELS", str(tmp_path))
        assert load_bundle("inclParTMDV1").has_weights

    def test_by_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = write_bundle(tmp_path / "mine")
        assert load_bundle(folder).folder == folder
        monkeypatch.chdir(tmp_path)
        assert load_bundle("mine").folder == folder
        assert load_bundle("./mine/").folder == folder

    def test_no_name_says_what_there_is_and_what_is_embedded(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("JETTAGGER_MODELS", str(tmp_path))
        write_bundle(tmp_path / "mine")
        (tmp_path / "half").mkdir()
        (tmp_path / "half" / "preprocess.json").write_text("{")
        with pytest.raises(BundleNotFound, match="needs the name of a model") as info:
            load_tagger()
        text = str(info.value)
        for name in available():
            assert f"\n  {name}: " in text
        assert load_bundle("tinyParT").card.title in text
        assert "inclParTMDV1: GloParT V1" in text
        assert "(without weights here)" in text
        assert "half: broken" in text
        assert text.endswith(f"{EMBEDDED!r} is the embedded default: load_tagger({EMBEDDED!r})")

    def test_not_found(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("JETTAGGER_MODELS", str(tmp_path))
        with pytest.raises(BundleNotFound, match=r"no model 'tinyPart' \(nearest: tinyParT") as info:
            load_bundle("tinyPart")
        text = str(info.value)
        assert "among Sophon, " in text
        assert "inclParTMDV1, inclParTToyV1, " in text
        assert str(tmp_path) in text
        assert str(user_folder()) in text

    @pytest.mark.parametrize("name", ["", "no/such/folder"])
    def test_no_such_folder(self, name: str) -> None:
        with pytest.raises(BundleNotFound, match=f"no model {name!r}"):
            locate(name)


class TestAdd:
    def test_copy(self, tmp_path: Path) -> None:
        folder = write_bundle(tmp_path / "mine", card={"name": "toy"})
        (folder / "LICENSE").write_text("free")
        target = add(folder)
        assert target == user_folder() / "toy"
        assert left_in(target) == ["LICENSE", "bundle.json", "checksums.json", "model.onnx", "preprocess.json"]
        assert load_bundle("toy").digest == Bundle.from_folder(folder).digest
        assert left_in(user_folder()) == ["toy"]
        (tmp_path / "other").mkdir()
        assert target.stat().st_mode & 0o777 == (tmp_path / "other").stat().st_mode & 0o777

    def test_another_name(self, tmp_path: Path) -> None:
        assert add(write_bundle(tmp_path / "mine"), "yours").name == "yours"
        assert "yours" in available()

    @pytest.mark.parametrize("name", [None, "again"])
    def test_weights_of_a_packaged_description(self, tmp_path: Path, name: str | None) -> None:
        """Only model.onnx is in the folder; the copy is complete under any name."""
        folder = tmp_path / "inclParTMDV1"
        folder.mkdir()
        make_tiny_model(folder / "model.onnx")
        target = add(folder, name)
        assert target.name == (name or "inclParTMDV1")
        found = load_bundle(target.name)
        assert (found.folder, found.has_weights, len(found.outputs)) == (target, True, 166)
        assert found.card.mass is not None

    def test_external_data_come_along(self, tmp_path: Path) -> None:
        folder = write_bundle(tmp_path / "mine")
        (folder / "data").mkdir()
        onnx.save(
            graph(),
            folder / "model.onnx",
            save_as_external_data=True,
            location="data/w.bin",
            size_threshold=45,
        )
        (folder / "data" / "huge.txt").write_text("not part of the model")
        target = add(folder)
        assert left_in(target / "data") == ["w.bin"]
        assert load_bundle("mine").digest == Bundle.from_folder(folder).digest

    def test_taken(self, tmp_path: Path) -> None:
        add(write_bundle(tmp_path / "mine"))
        newer = write_bundle(tmp_path / "newer", seed=1)
        with pytest.raises(OutputError, match="exists already; use --force"):
            add(newer, "mine")
        assert load_bundle("mine").digest == Bundle.from_folder(tmp_path / "mine").digest
        add(newer, "mine", force=True)
        assert load_bundle("mine").graph.sha256 == Bundle.from_folder(newer).graph.sha256  # type: ignore[union-attr]
        assert left_in(user_folder()) == ["mine"]

    def test_without_weights(self, tmp_path: Path) -> None:
        folder = write_bundle(tmp_path / "mine")
        (folder / "model.onnx").unlink()
        with pytest.raises(MissingModelFile, match=r"model\.onnx is missing"):
            add(folder)
        assert left_in(user_folder()) == []

    def test_unusable(self, tmp_path: Path) -> None:
        folder = write_bundle(tmp_path / "mine")
        (folder / "model.onnx").write_bytes(b"")
        with pytest.raises(ModelFileError, match="is empty"):
            add(folder)
        assert left_in(user_folder()) == []

    @pytest.mark.parametrize("name", ["a/b", "..", ".", ".hidden", "../up"])
    def test_names_that_are_no_folder_names(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(BundleError, match="cannot be the name of a model"):
            add(write_bundle(tmp_path / "mine"), name)
        assert left_in(user_folder()) == []

    @pytest.mark.parametrize("force", [False, True])
    def test_a_full_disk_leaves_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, force: bool) -> None:
        """Complete or absent, and an older model of that name stays as it was."""
        folder = write_bundle(tmp_path / "mine")
        if force:
            add(folder)
        before = left_in(user_folder())
        copied: list[Path] = []

        def full(source: Path, target: Path) -> None:
            if copied:
                raise OSError(28, "No space left on device")
            copied.append(source)

        monkeypatch.setattr(registry.shutil, "copy", full)
        with pytest.raises(OutputError, match="No space left on device; no partial output was left"):
            add(folder, force=force)
        assert copied
        assert left_in(user_folder()) == before
        if force:
            assert load_bundle("mine").has_weights

    def test_a_failing_replacement_keeps_the_old_model(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        add(write_bundle(tmp_path / "mine"))
        digest = load_bundle("mine").digest
        replace = os.replace

        def refusing(source: Path, target: Path) -> None:
            if Path(target).name == "mine" and (Path(source) / "LICENSE").exists():
                raise OSError(13, "Permission denied")
            replace(source, target)

        newer = write_bundle(tmp_path / "newer", seed=1)
        (newer / "LICENSE").write_text("free")
        monkeypatch.setattr(registry.os, "replace", refusing)
        with pytest.raises(OutputError, match="Permission denied"):
            add(newer, "mine", force=True)
        assert load_bundle("mine").digest == digest
        assert left_in(user_folder()) == ["mine"]

    def test_a_user_folder_that_is_a_file(self, tmp_path: Path) -> None:
        user_folder().parent.mkdir(parents=True)
        user_folder().write_text("in the way")
        with pytest.raises(OutputError, match="cannot add"):
            add(write_bundle(tmp_path / "mine"))
