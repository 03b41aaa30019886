"""The examples of heads, on a few simulated jets."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest

from jettagger.finetuning import finetune, read_config, run
from jettagger.finetuning.measure import unseen

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
def work(tmp_path_factory: pytest.TempPathFactory, one_mass: None) -> Path:
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


def keeping(train: Callable[..., Any], kept: list[Any]) -> Callable[..., Any]:
    """A trainer whose results are also put into a list."""

    def both(*arguments: Any) -> Any:
        kept.append(train(*arguments))
        return kept[-1]

    return both


@pytest.mark.parametrize("name", CONFIGS)
def test_the_examples_run_in_a_small_form(
    name: str, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Head and report say what XGBoost and torch themselves predict for the jets of the test."""
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    for module in ("torch", "xgboost"):
        pytest.importorskip(module, reason="the extra train is not installed")
    text = (work / name).read_text()
    assert text == (EXAMPLES / name).read_text()
    text = (
        text.replace("trees: 400", "trees: 8").replace("folds: 5", "folds: 2").replace("training: {patience: 20}\n", "")
    )
    text += "training: {epochs: 4, threads: 1, batch: 64}\nleast_jets: 8\n"
    config = read_config(text, name=name, folder=work)
    trained: list[Any] = []
    tested: list[Any] = []
    for trainer in ("train_bdt", "train_mlp"):
        monkeypatch.setattr(run, trainer, keeping(getattr(run, trainer), trained))
    result = finetune(config, tmp_path / "head", plots=False, begin=lambda made: tested.append((made, *unseen(made))))
    assert all(min(row.values()) > 0 for row in result.jets.values())
    skim = ak.from_parquet(sorted((work / "skims").glob("*.parquet"))[0])
    scored = result.head.attach(skim)
    assert all(ak.count(scored[f"FatJet_{column}"]) > 30 for column in result.head.columns)
    # what the trainers predict, each jet by the network that has not seen it
    ((prepared, rows, fold),) = tested
    x = np.ascontiguousarray(prepared.layout.x(rows))
    assert len(trained) == prepared.models == result.head.card.folds
    own = np.stack([network.predict(x) for network in trained])[fold, np.arange(len(x))]
    np.testing.assert_allclose(result.head.compute_folds(x, fold), own, rtol=1e-4, atol=1e-5)
    label, weight = (rows[:, prepared.layout[column]] for column in ("label", "weight"))
    for item in result.measures.comparisons:
        signal, background = (list(config.classes).index(side) for side in (item.signal, item.background))
        pair = np.isin(label, (signal, background))
        p = own[pair].astype(np.float64)
        ratio = p[:, signal] / (p[:, signal] + p[:, background])
        auc = metrics.roc_auc_score(label[pair] == signal, ratio, sample_weight=weight[pair])
        assert item.curves["head"].auc.value == pytest.approx(auc, abs=1e-3)
        if {item.signal, item.background} == {"Xgg", "QCD"}:  # also of so few jets something is learnt
            assert auc > 0.55
    assert (result.measures.kind == "mass") is (not result.measures.comparisons)
