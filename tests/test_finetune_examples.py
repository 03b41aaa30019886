"""The examples of heads, on a few simulated jets."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import awkward as ak
import pytest

from jettagger.finetuning import finetune, read_config

EXAMPLES = Path(__file__).resolve().parent.parent / "examples" / "finetune"
CONFIGS = sorted(path.name for path in EXAMPLES.glob("*.yaml"))


def test_there_is_one_of_each_kind() -> None:
    configs = [read_config(EXAMPLES / name) for name in CONFIGS]
    assert sorted((config.kind, type(config.model).__name__) for config in configs) == [
        ("classes", "BdtModel"),
        ("classes", "MlpModel"),
        ("mass", "MlpModel"),
    ]


def load_script(name: str) -> Any:
    """A script of the examples as a module."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What make_skims.py makes of a few events."""
    for module in ("pythia8mc", "fastjet"):
        pytest.importorskip(module, reason="the extra sim is not installed")
    folder = tmp_path_factory.mktemp("work")
    processes = ("Xgg", "Hqq", "QCDlight", "Htauhtauh", "HWWmv")
    script = load_script("make_skims")
    arguments = [str(folder), "--events", "40", "--processes", *processes]
    assert script.main([*arguments, "--simulate-only"]) == []
    assert not (folder / "skims").exists()
    before = [path.stat().st_mtime_ns for path in sorted((folder / "samples").glob("*.root"))]
    skims = script.main(arguments)
    assert len(skims) == len(before) == len(processes)
    assert before == [path.stat().st_mtime_ns for path in sorted((folder / "samples").glob("*.root"))]
    return folder


@pytest.mark.parametrize("name", CONFIGS)
def test_the_examples_run_in_a_small_form(name: str, work: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the extra train is not installed")
    pytest.importorskip("onnxmltools", reason="the extra train is not installed")
    text = (work / name).read_text()
    assert text == (EXAMPLES / name).read_text()
    text = (
        text.replace("trees: 400", "trees: 8").replace("folds: 5", "folds: 2").replace("training: {patience: 20}\n", "")
    )
    text += "training: {epochs: 2, threads: 1, batch: 64}\nleast_jets: 8\n"
    config = read_config(text, name=name, folder=work)
    result = finetune(config, tmp_path / "head", plots=False)
    assert all(min(row.values()) > 0 for row in result.jets.values())
    skim = ak.from_parquet(sorted((work / "skims").glob("*.parquet"))[0])
    scored = result.head.attach(skim)
    assert all(ak.count(scored[f"FatJet_{column}"]) > 30 for column in result.head.columns)
