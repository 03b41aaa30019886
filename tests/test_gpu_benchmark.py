"""The benchmark of GPUs, on a recording double."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
from gpu import Gpu

from benchmarks import gpu as benchmark
from benchmarks.report import page
from jettagger.runtime.processcache import forget

DEVICE = {"name": "A GPU", "driver": "1.2", "memory": "80 GB"}


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(benchmark, "device", lambda: DEVICE)
    monkeypatch.setattr(benchmark, "SIZES", (4, 16))
    monkeypatch.setattr(benchmark, "find_spec", lambda name: None if name == "torch" else find_spec(name))
    forget()
    yield Gpu().install(monkeypatch)
    forget()


@pytest.mark.slow
def test_it_measures_and_writes_a_table(gpu: Gpu, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "measured.json"
    path.write_text('{"machine": {"processor": "another"}}')
    arguments = ["--models", "tinyParT", "--events", "14", "--turn", "0", "--json", str(path)]
    assert benchmark.main(arguments) == 0
    found = json.loads(path.read_text())
    assert found["machine"] == {"processor": "another"}
    result = found["gpu"]["tinyParT"]
    assert result["jets"] > 16
    assert result["differences"]["TF32 off"]["largest"] < 1
    assert list(result["rates"])[:3] == [
        "tagger, CPU, 1 thread",
        "network, GPU, batches of 4",
        "network, GPU, batches of 16",
    ]
    assert all(value > 0 for value in result["rates"].values())
    assert [options["use_tf32"] for options in gpu.opened] == ["0", "1"]
    assert {max(shape[0] for shape in run.values()) for run in gpu.runs} >= {4, 16, result["jets"]}
    said = capsys.readouterr().out
    assert "| jets/s" in said
    assert "tinyParT: scores within" in said
    text = page("<!-- measured: gpu -->\n<!-- end -->", found)
    assert text.splitlines()[1].startswith("A GPU (driver 1.2)")
    assert "| TF32 on, largest" in text


def test_a_gpu_that_fails_is_named(gpu: Gpu, capsys: pytest.CaptureFixture[str]) -> None:
    gpu.broken = "CUDA failure 2: no memory left"
    assert benchmark.main(["--models", "tinyParT", "--events", "3"]) == 1
    assert "tinyParT: " in capsys.readouterr().out


def test_there_is_an_end(gpu: Gpu, capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main(["--models", "tinyParT", "--events", "3", "--seconds", "0"]) == 1
    assert "no time is left for tinyParT" in capsys.readouterr().out
    assert gpu.opened == []


@pytest.mark.parametrize("dry", [False, True])
def test_without_a_gpu_it_says_what_is_missing(
    dry: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert benchmark.main(["--dry-run"] if dry else []) == (0 if dry else 1)
    said = capsys.readouterr().out
    assert "missing: execution provider 'cuda' is not available" in said
    assert "pip install 'onnxruntime-gpu[cuda,cudnn]'" in said
    assert said.startswith("would measure inclParTToyV1") == dry


def test_it_starts_with_nothing_installed(tmp_path: Path) -> None:
    """In a Python without any of the packages, what is missing is named."""
    script = Path(benchmark.__file__).resolve()
    command = [sys.executable, "-I", "-S", str(script), "--dry-run"]
    bare = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert bare.returncode == 0, bare.stderr
    assert "missing: the package awkward" in bare.stdout


def test_wheels_of_a_folder_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "")
    write_wheel(tmp_path / "wheels" / "jettagger_toy-9.9-py3-none-any.whl", "jettagger_toy", "9.9")
    with benchmark.unpacked(tmp_path / "wheels"):
        assert import_module("jettagger_toy").__version__ == "9.9"
        assert os.environ["PYTHONPATH"]
    del sys.modules["jettagger_toy"]
    assert find_spec("jettagger_toy") is None
    with pytest.raises(SystemExit, match="no wheels in"), benchmark.unpacked(tmp_path):
        pass


def write_wheel(path: Path, name: str, version: str) -> None:
    """One with a module that says where it comes from."""
    path.parent.mkdir()
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}/__init__.py": f"__version__ = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
