"""Arrays on disk: found again, never trusted when damaged, never too many."""

from __future__ import annotations

import io
import os
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest

from jettagger.bundles.places import cache_folder
from jettagger.files.cache import DiskCache


@pytest.fixture
def cache(tmp_path: Path) -> DiskCache:
    return DiskCache(tmp_path / "cache", limit=100_000)


def only(cache: DiskCache) -> Path:
    (path,) = cache.folder.iterdir()
    return path


def test_what_was_put_is_found_again(cache: DiskCache) -> None:
    assert cache.get("a1") is None
    arrays = {"x": np.arange(6, dtype="f4").reshape(2, 3), "text": np.array(["a", "bc"]), "none": np.empty((0, 3))}
    cache.put("a1", arrays)
    found = DiskCache(cache.folder, 100_000).get("a1")
    assert found is not None
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
    assert cache.get("a2") is None


@pytest.mark.parametrize("damage", ["cut", "bit", "empty", "other", "objects"])
def test_a_damaged_file_is_ignored_and_made_anew(cache: DiskCache, damage: str) -> None:
    cache.put("a1", {"x": np.arange(100)})
    path = only(cache)
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[:-7]
    elif damage == "bit":
        content[len(content) // 2] ^= 1
    elif damage == "empty":
        content = bytearray()
    else:
        stream = io.BytesIO()
        np.savez(stream, x=np.array([{}], dtype=object) if damage == "objects" else np.arange(3))
        content = bytearray(stream.getvalue())
    path.write_bytes(content)
    with pytest.warns(RuntimeWarning, match="is damaged: it is ignored"):
        assert cache.get("a1") is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cache.get("a1") is None
        cache.put("a1", {"x": np.arange(3)})
        found = cache.get("a1")
    assert found is not None
    assert found["x"].tolist() == [0, 1, 2]


def test_the_oldest_go_first(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, limit=10_000)
    for number in range(3):
        cache.put(f"a{number}", {"x": np.zeros(400, dtype="f8")})
        os.utime(tmp_path / f"a{number}.jettagger", (number, number))
        if number == 1:
            assert cache.get("a0") is not None  # used: now the youngest
            os.utime(tmp_path / "a1.jettagger", (1, 1))
    assert cache.get("a1") is None
    assert cache.get("a0") is not None
    assert cache.get("a2") is not None
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 10_000


def test_what_is_larger_than_all_is_not_kept(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path / "new", limit=1000)
    cache.put("a", {"x": np.zeros(1000)})
    assert cache.get("a") is None
    assert not cache.folder.exists()


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    cache = DiskCache(tmp_path / "file", limit=1000)
    with pytest.warns(RuntimeWarning, match="cannot write to the cache"):
        cache.put("a", {"x": np.zeros(3)})
    with pytest.warns(RuntimeWarning, match="cannot read the cache"):
        assert cache.get("a") is None


def test_writers_at_the_same_time_do_no_harm(cache: DiskCache) -> None:
    wrong: list[str] = []

    def work(seed: int) -> None:
        for turn in range(15):
            key = f"k{turn % 4}"
            cache.put(key, {"x": np.full(200, turn % 4), "y": np.full(3, seed)})
            found = cache.get(key)
            if found is not None and set(found["x"].tolist()) != {turn % 4}:
                wrong.append(key)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert {path.suffix for path in cache.folder.iterdir()} == {".jettagger"}


def test_where_caches_lie(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JETTAGGER_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.setenv("JETTAGGER_CACHE", "off")
    assert cache_folder() is None
    monkeypatch.delenv("JETTAGGER_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    folder = cache_folder()
    assert folder is not None
    assert folder.name == "jettagger"
