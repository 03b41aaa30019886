"""Options of the training in a head's configuration; an interrupted training gives the head of an uninterrupted one."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from agreement import Agreement
from toyskims import CONFIG, MASS, write_toy

from jettagger.cli import main
from jettagger.errors import ConfigError, OutputError, ProviderError
from jettagger.files.resuming import ResumeWarning, resume_folder
from jettagger.finetuning import Epoch, finetune, read_config
from jettagger.finetuning.criteria import criterion
from jettagger.finetuning.mlp import _loop_settings
from jettagger.training import Plateau

#: additional options of the training
OPTIONS = {
    "default": "",
    "all": ", schedule: {kind: plateau, patience: 0}, warmup: 20, metric: auc, precision: bfloat16",
}


def torch() -> Any:
    return pytest.importorskip("torch", reason="the extra train is not installed")


@pytest.fixture(scope="module")
def skims(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("skims")
    write_toy(folder / "toy1.parquet", 700)
    return folder


def written(folder: Path, options: str = "", split: str = "split: {folds: 2}", text: str = CONFIG) -> Path:
    """A configuration with options of the training added."""
    content = text.format(name="Abc") if text is CONFIG else text
    path = folder / "head.yaml"
    path.write_text(content.replace("threads: 1", f"threads: 1{options}") + f"{split}\n", encoding="utf-8")
    return path


def content(head: Path) -> list[bytes]:
    return [(head / name).read_bytes() for name in ("head.onnx", "head.json")]


def stopped(config: Path, head: Path, model: int, number: int) -> None:
    """A training interrupted after an epoch of one of its networks."""

    def stop(epoch: Epoch) -> None:
        if (epoch.model, epoch.number) == (model, number):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(config, head, plots=False, resume=True, follow=stop)


@pytest.mark.parametrize("options", OPTIONS)
def test_an_interrupted_training_gives_the_same_head(skims: Path, tmp_path: Path, options: str) -> None:
    torch()
    config = written(skims, OPTIONS[options])
    reference = finetune(config, tmp_path / "reference", plots=False)
    head = tmp_path / "head"
    stopped(config, head, 1, 2)
    assert not head.exists()
    assert len(list(resume_folder(head).glob("*.pt"))) == 2
    followed: list[Epoch] = []
    with pytest.warns(ResumeWarning, match=r"head\.resume: the training goes on where an earlier run .* \(2 networks"):
        result = finetune(config, head, plots=False, resume=True, follow=followed.append)
    assert content(head) == content(tmp_path / "reference")
    assert result.history == reference.history
    assert followed == [epoch for epoch in reference.history if epoch.model == 1 and epoch.number > 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["head", "reference"]


KILLED = """
    import os, signal, sys
    from jettagger.finetuning import finetune

    def stop(epoch):
        if epoch.number == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    finetune(sys.argv[1], sys.argv[2], plots=False, resume=True, follow=stop)
"""


@pytest.mark.filterwarnings("ignore::jettagger.files.resuming.ResumeWarning")
def test_the_command_goes_on_after_kill_9(skims: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch()
    config, head = written(skims, split=""), tmp_path / "head"
    path = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(config), str(head)],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == -9
    assert not head.exists()
    assert resume_folder(head).is_dir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the partial folder of the killed process is removed
        assert main(["finetune", str(config), "-o", str(head), "--no-plots"]) == 0
    assert main(["finetune", str(config), "-o", str(tmp_path / "reference"), "--no-plots", "--no-resume"]) == 0
    assert content(head) == content(tmp_path / "reference")
    assert not resume_folder(head).exists()


def test_an_interrupted_command_says_where_it_goes_on(
    skims: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch()
    from jettagger.finetuning import run

    monkeypatch.setattr(run, "check_use", lambda *_: (_ for _ in ()).throw(OutputError("stop")))
    config, head = written(skims, split=""), tmp_path / "head"
    assert main(["finetune", str(config), "-o", str(head), "--no-plots"]) != 0
    assert f"the state of the training is kept in {resume_folder(head)}: the same command" in capsys.readouterr().err
    monkeypatch.undo()
    assert main(["finetune", str(config), "-o", str(head), "--no-plots", "--no-resume"]) == 0
    assert not resume_folder(head).exists()


def test_what_has_changed_is_trained_from_the_beginning(skims: Path, tmp_path: Path) -> None:
    torch()
    head = tmp_path / "head"
    stopped(written(skims, split=""), head, 0, 2)
    config = written(skims, ", warmup: 3", split="")
    with pytest.warns(ResumeWarning, match="checkpoints are dropped: skims, parent, configuration or code"):
        stopped(config, head, 0, 1)
    reference = finetune(config, tmp_path / "reference", plots=False)
    with pytest.warns(ResumeWarning, match="goes on"):
        assert finetune(config, head, plots=False, resume=True).history == reference.history


def test_trees_keep_nothing(skims: Path, tmp_path: Path) -> None:
    pytest.importorskip("xgboost", reason="the extra train is not installed")
    config = written(skims, split="model: {kind: bdt, trees: 5}")

    def look(epoch: Epoch) -> None:
        assert not resume_folder(tmp_path / "head").exists()

    finetune(config, tmp_path / "head", plots=False, resume=True, follow=look)


# ---------------------------------------------------------------------------------------------- options of the training


def test_each_option_reaches_the_training(skims: Path, tmp_path: Path) -> None:
    torch()
    heads = {}
    options = {
        "default": "",
        "constant": ", schedule: constant",
        "cosine": ", schedule: {kind: cosine, last: 0.5}",
        "piecewise": ", schedule: {kind: piecewise, points: [[0, 0.1], [3, 1]]}",
        "warmup": ", warmup: 30",
        "precision": ", precision: bfloat16",
        "said": ", schedule: cosine, warmup: 0, metric: loss, device: cpu, precision: float32",
    }
    for name, text in options.items():
        config = written(skims, text, split="")
        config.write_text(config.read_text().replace("rate: 5e-3", "rate: 5e-2"))
        finetune(config, tmp_path / name, plots=False)
        heads[name] = (tmp_path / name / "head.onnx").read_bytes()
    assert heads.pop("said") == heads["default"]
    assert [[a, b] for a, x in heads.items() for b, y in heads.items() if a < b and x == y] == []


def test_a_plateau_has_the_keys_of_the_configuration(tmp_path: Path) -> None:
    keys = read_config(written(tmp_path, ", schedule: {kind: plateau, reduce: 0.2, patience: 1, last: 0.1}")).training
    assert _loop_settings(keys, 0).schedule == Plateau(0.2, 1, 0.1)


@pytest.mark.parametrize("metric", ["accuracy", "auc"])
def test_metrics_of_classes_are_those_of_scikit_learn(metric: str, agrees: Agreement) -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    rng = np.random.default_rng(3)
    label, weights = rng.integers(0, 3, 400), rng.uniform(0.1, 2, 400)
    logits = rng.normal(0, 1, (400, 3)) + np.eye(3)[label]
    found = criterion(metric)
    assert found is not None
    assert found.higher_is_better
    value = found.function(logits, label, weights)
    if metric == "accuracy":
        wanted = metrics.accuracy_score(label, logits.argmax(axis=1), sample_weight=weights)
        agrees("learning/metrics", value, wanted, sample=400, rtol=1e-9, part=metric)
        return
    pairs = []
    for one, two in ((0, 1), (0, 2), (1, 2)):
        both = (label == one) | (label == two)
        score = (logits[:, one] - logits[:, two])[both]
        pairs.append(metrics.roc_auc_score(label[both] == one, score, sample_weight=weights[both]))
    agrees("learning/metrics", value, np.mean(pairs), sample=400, rtol=1e-9, part=metric)


def test_the_width_of_a_mass_is_its_interquartile_range() -> None:
    rng = np.random.default_rng(3)
    log_factor, before = rng.normal(0, 0.1, (500, 1)), rng.normal(0, 0.2, 500)
    low, median, high = np.quantile(np.exp(log_factor[:, 0] + before), [0.25, 0.5, 0.75])
    found = criterion("width")
    assert found is not None
    assert not found.higher_is_better
    assert found.function(log_factor, before, np.ones(500)) == pytest.approx((high - low) / median)
    assert criterion("loss") is None


@pytest.mark.parametrize(
    ("options", "more", "message"),
    [
        (", schedule: cosinus", "", r"schedule.*nearest: cosine"),
        (", schedule: {kind: plateau, patiense: 2}", "", r"unknown key 'patiense' \(nearest: patience\)"),
        (", schedule: {kind: piecewise, points: [[1, 1], [0, 1]]}", "", r"must be a list of \[epoch, factor\]"),
        (", schedule: {kind: piecewise, points: [[0, -1]]}", "", r"must be a list of \[epoch, factor\]"),
        (", schedule: {kind: piecewise}", "", "points"),
        (", warmup: -1", "", "warmup.*at least 0"),
        (", metric: acuracy", "", r"metric.*nearest: accuracy"),
        (
            ", metric: width",
            "",
            "'width' is no metric of heads of the kind 'classes', expected one of loss, accuracy, auc",
        ),
        (", device: gpu0", "", r"device.*cpu, cuda, cuda:N or mps"),
        (", precision: bfloat", "", r"precision.*nearest: bfloat16"),
        (", device: cpu", "model: {kind: bdt}", "'device' belongs to networks"),
        (", metric: loss", "model: {kind: bdt}", "'metric' belongs to networks"),
    ],
)
def test_options_that_are_refused(tmp_path: Path, options: str, more: str, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"head\.yaml, line \d+: .*{message}|{message}") as caught:
        read_config(written(tmp_path, options, split=more))
    assert "head.yaml, line" in str(caught.value)


def test_a_metric_for_classes_is_refused_for_a_mass(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="'auc' is no metric of heads of the kind 'mass', expected one of loss, width"
    ):
        read_config(written(tmp_path, ", metric: auc", split="", text=MASS))


def test_a_gpu_that_is_not_there_is_said_before_anything_is_read(skims: Path, tmp_path: Path) -> None:
    torch()
    config = written(skims, ", device: 'cuda:99'", split="")
    with pytest.raises(ProviderError, match=r"head\.yaml, line \d+: the device 'cuda:99' is not there"):
        finetune(config, tmp_path / "head", plots=False, progress=pytest.fail)
