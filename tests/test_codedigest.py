"""What is kept on disk belongs to one state of the code."""

from __future__ import annotations

import os
import py_compile
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from jettagger.bundles.bundle import Bundle
from jettagger.bundles.places import PACKAGE
from jettagger.runtime.codedigest import PASSED_OVER, code_digest, digest_of
from jettagger.runtime.processcache import forget


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package's modules, to be changed."""
    target = tmp_path / "site" / "jettagger"
    shutil.copytree(PACKAGE, target, ignore=shutil.ignore_patterns("models", "__pycache__"))
    return target


def test_it_is_that_of_the_installed_code(copy: Path) -> None:
    assert len(code_digest()) == 64
    assert digest_of(copy) == code_digest()


#: modules on the way from events to scores
ON_THE_WAY = [
    "features/cms.py",
    "formats/base.py",
    "inputs/batching.py",
    "weaver/expressions.py",
    "inputs/selection.py",
    "inference/network.py",
    "inference/padding.py",
    "bundles/probing.py",
    "sessions/rewriting/products.py",
    "inference/acceleration.py",
    "tagging/tagger.py",
    "tagging/scores.py",
    "sessions/onnx.py",
]


@pytest.mark.parametrize("name", ON_THE_WAY)
def test_a_changed_module_changes_it(copy: Path, name: str) -> None:
    path = copy / name
    path.write_text(path.read_text().replace("0", "1", 1) + "\n")
    assert digest_of(copy) != code_digest()


def test_a_new_module_changes_it_and_what_no_score_passes_through_does_not(copy: Path) -> None:
    (copy / "cli" / "more.py").write_text("x = 1\n")
    (copy / "plots" / "more.py").write_text("x = 1\n")
    (copy / "README.txt").write_text("no code")
    assert digest_of(copy) == code_digest()
    (copy / "more.py").write_text("x = 1\n")
    assert digest_of(copy) != code_digest()


def test_a_moved_module_changes_it(copy: Path) -> None:
    os.rename(copy / "inputs" / "batching.py", copy / "inputs" / "stacking.py")
    assert digest_of(copy) != code_digest()


def test_what_is_passed_over_exists() -> None:
    names = {"processors", *(path.stem for path in PACKAGE.iterdir())}
    assert names >= PASSED_OVER


def test_line_endings_and_caches_of_python_do_not_count(copy: Path) -> None:
    for path in copy.rglob("*.py"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    (copy / "__pycache__").mkdir()
    (copy / "__pycache__" / "batching.cpython-311.pyc").write_bytes(b"anything")
    assert digest_of(copy) == code_digest()


@pytest.mark.slow
def test_compiled_modules_count_where_there_are_no_sources(copy: Path) -> None:
    for path in copy.rglob("*.py"):
        py_compile.compile(str(path), str(path.with_suffix(".pyc")), doraise=True)
    assert digest_of(copy) == code_digest()
    for path in copy.rglob("*.py"):
        path.unlink()
    compiled = digest_of(copy)
    assert compiled != code_digest()
    (copy / "inputs" / "batching.pyc").write_bytes(b"other code")
    assert digest_of(copy) != compiled


def test_in_a_zip_archive(copy: Path, tmp_path: Path) -> None:
    """Nothing is written beside the archive, and the digest is that of the files."""
    with zipfile.ZipFile(tmp_path / "site.zip", "w") as archive:
        for path in sorted(copy.rglob("*")):
            archive.write(path, path.relative_to(copy.parent))
    code = "import jettagger.runtime.codedigest as code; print(code.code_digest(), code.__file__)"
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site.zip")}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    digest, place = run.stdout.split()
    assert "site.zip" in place
    assert digest == code_digest()


_SCORES = """
import sys, awkward as ak, numpy as np
from jettagger.tagging.tagger import load_tagger
from jettagger.testing import make_events
tagger = load_tagger("tinyParT", threads=1, cache=sys.argv[1])
run = tagger.run(make_events(4, seed=3))
np.save(sys.argv[2], ak.to_numpy(ak.fill_none(ak.flatten(run.scores.mass, axis=None), np.nan)))
print(run.report.cached)
"""


@pytest.mark.slow
def test_scores_are_made_anew_after_a_feature_is_corrected(tmp_path: Path) -> None:
    """A copy of the package runs three times in processes of its own: as it is, again, and with another feature."""
    site = tmp_path / "site"
    shutil.copytree(PACKAGE, site / "jettagger", ignore=shutil.ignore_patterns("__pycache__"))
    environment = os.environ | {"PYTHONPATH": str(site), "JETTAGGER_CACHE": str(tmp_path / "cache")}

    def scores(number: int) -> tuple[int, np.ndarray]:
        target = tmp_path / f"scores{number}.npy"
        command = [sys.executable, "-c", _SCORES, str(tmp_path / "kept"), str(target)]
        run = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
        return int(run.stdout), np.load(target)

    cached, before = scores(0)
    assert cached == 0
    cached, again = scores(1)
    assert cached > 0
    np.testing.assert_array_equal(again, before)
    feature = site / "jettagger" / "features" / "cms.py"
    text = feature.read_text()
    assert "np.log(pt)" in text
    feature.write_text(text.replace("np.log(pt)", "np.log(pt) + 0.5"))
    cached, after = scores(2)
    assert cached == 0
    assert np.nanmax(np.abs(after - before)) > 1e-3


def test_measurements_of_networks_belong_to_one_state_of_the_code(
    tiny: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Probes, slots and rewritten graphs are found under other keys when the code is another."""
    from jettagger.bundles import probing
    from jettagger.inference import acceleration, padding

    def kept() -> set[str]:
        """The names of all entries after one use of a model whose measurements no process remembers."""
        forget()
        acceleration.open_session(Bundle.from_folder(tiny.folder), 1)
        return {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.jettagger")}

    monkeypatch.setenv("JETTAGGER_CACHE", str(tmp_path))
    first = kept()
    assert {name.partition("/")[0] for name in first} >= {"probes", "graphs"}
    assert kept() == first
    for module in (acceleration, padding, probing):
        monkeypatch.setattr(module, "code_digest", lambda: "another state")
    assert len(kept()) == 2 * len(first)
