"""Spectra of the classes in the training of a head: weights, boosted weights and drawn jets, from shards on disk."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_finetuning import configured, prepared, text, torch, xgboost
from toyskims import write_toy
from traced import traced_peak

from jettagger.cli import main
from jettagger.decorrelation.reweighting import METHODS
from jettagger.errors import ConfigError, InvalidValues, JettaggerError, MissingColumns, MissingExtra
from jettagger.finetuning import finetune, kinematics
from jettagger.finetuning.kinematics import COPIES, FACTOR
from jettagger.finetuning.prepare import Prepared
from jettagger.heads import load_head

PT, MASS = [200, 400, 600, 1000], [0, 40, 100, 400]
COLUMNS = f"{{FatJet_pt: {PT}, FatJet_msoftdrop: {MASS}}}"
#: the spectrum of pt of the class A differs
SKEWED = '"FatJet_truth != 0 or FatJet_pt > 600 or event % 3 == 0"'


@pytest.fixture(scope="module")
def skims(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("skims")
    write_toy(folder / "toy1.parquet", 1500)
    return folder


def made(folder: Path, scratch: Path, method: str, to: str = "flat", **parts: str) -> Prepared:
    if method == "boosted":
        pytest.importorskip("hep_ml", reason="the extra train is not installed")
    content = {"compare": "{m: FatJet_msoftdrop}", "select": SKEWED, **parts}
    content["kinematics"] = f"{{method: {method}, columns: {COLUMNS}, to: {to}}}"
    return prepared(folder, scratch, text(**content))


def spectrum(jets: Prepared, rows: Any, weights: Any, label: int) -> Any:
    mine = rows[:, jets.layout["label"]] == label
    pt, mass = (
        np.clip(rows[mine, jets.layout[name]], 0, top) for name, top in (("FatJet_pt", 999), ("compare:m", 399))
    )
    return np.histogram2d(pt, mass, [PT, MASS], weights=weights[mine])[0]


@pytest.mark.parametrize("to", ["flat", "B"])
@pytest.mark.parametrize("method", METHODS)
def test_training_jets_have_the_spectrum(skims: Path, tmp_path: Path, method: str, to: str) -> None:
    jets = made(skims, tmp_path, method, to)
    rows = np.concatenate([jets.part(rows, 0, "train") for rows in jets.store])
    weights = jets.weights(rows)
    label = rows[:, jets.layout["label"]]
    assert weights.mean() == pytest.approx(1, rel=0.05)
    totals = np.bincount(label.astype(int), weights)
    np.testing.assert_allclose(totals, totals.mean(), rtol=0.06)
    goal = np.full((3, 3), 1 / 9) if to == "flat" else spectrum(jets, rows, weights, 1)
    for number, change in enumerate(jets.kinematics.values()):
        after = spectrum(jets, rows, weights, number)
        assert change.divergence_before > 0.01 or (to == "B" and number == 1) or number == 2
        tolerance = {"weights": 0.03, "boosted": 0.12}.get(method, 1.5 / change.kept)
        np.testing.assert_allclose(after / after.sum(), goal / goal.sum(), atol=tolerance)
        if method in ("downsample", "resample"):
            assert np.unique(weights[label == number]).size == 1
            assert change.kept <= change.jets == jets.jets[list(jets.kinematics)[number]]["train"]
            assert change.largest_after >= 1
        if method == "weights":
            assert change.divergence_after < 1e-9
    changed = {name: (item.divergence_before, item.divergence_after) for name, item in jets.kinematics.items()}
    assert changed["A"][1] < 0.5 * changed["A"][0]


@pytest.mark.parametrize("method", ["downsample", "resample"])
def test_jets_are_drawn_as_often_as_expected_and_others_never(skims: Path, tmp_path: Path, method: str) -> None:
    jets = made(skims, tmp_path, method)
    rows = np.concatenate(list(jets.store))
    copies = rows[:, jets.layout[COPIES]]
    training = (rows[:, jets.layout["fold"]] > 0) & (rows[:, jets.layout["held"]] == 0)
    assert not copies[~training].any()
    assert copies.max() == 1 if method == "downsample" else copies.max() > 1
    weights = jets.weights(rows).astype(float)
    for number in range(3):
        mine = training & (rows[:, jets.layout["label"]] == number)
        scale = weights[mine].max() if method == "downsample" else weights[mine].mean()
        assert (np.abs(copies[mine] - weights[mine] / scale) < 1 + 1e-5).all()
    for which in ("validation", "test"):
        part = jets.part(rows, 0, which)
        assert len(part) == len(np.unique(part[:, 0]))


def test_each_fold_draws_from_its_own_training_jets(skims: Path, tmp_path: Path) -> None:
    jets = made(skims, tmp_path, "resample", split="{folds: 2}", least_jets="20")
    rows = np.concatenate(list(jets.store))
    for model in range(2):
        tests = set(jets.part(rows, model, "test")[:, 0].tolist())
        assert len(tests) > 500
        assert not tests & set(jets.part(rows, model, "train")[:, 0].tolist())


def test_boosted_weights_come_from_a_bounded_number_of_jets(
    skims: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("hep_ml", reason="the extra train is not installed")
    sizes = []

    class Counting(kinematics.BoostedWeights):
        def fit(self, original: Any, target: Any, *weights: Any) -> Any:
            sizes.append((len(original), len(target)))
            return super().fit(original, target, *weights)

    monkeypatch.setattr(kinematics, "BoostedWeights", Counting)
    monkeypatch.setattr(kinematics, "BOOSTED_JETS", 250)
    jets = made(skims, tmp_path, "boosted", "C", training="{memory: 100kB, threads: 1}")
    assert jets.store.shards > 3
    assert sizes == [(250, 250), (250, 250)]
    rows = np.concatenate(list(jets.store))
    factor, label = rows[:, jets.layout[FACTOR]], rows[:, jets.layout["label"]]
    assert (factor[label == 2] == 1).all()
    assert factor[label == 0].std() > 0.1


@pytest.mark.long
@pytest.mark.parametrize("method", ["boosted", "downsample"])
def test_memory_does_not_grow_with_the_jets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    monkeypatch.setattr(kinematics, "BOOSTED_JETS", 300)
    peaks = []
    for files in (3, 9):
        folder = tmp_path / str(files)
        folder.mkdir()
        for number in range(files):
            write_toy(folder / f"toy{number}.parquet", 1000, first=1000 * number, seed=number)

        def use(folder: Path = folder, files: int = files) -> None:
            with tempfile.TemporaryDirectory(dir=folder) as shards:
                assert made(folder, Path(shards) / "s", method, training="{memory: 600kB}").store.shards > files / 3

        peaks.append(traced_peak(use))
    assert peaks[1] < 1.3 * peaks[0]


def bytes_of(head: Path) -> bytes:
    return (head / "head.onnx").read_bytes()


def test_the_former_key_gives_the_same_head(skims: Path, tmp_path: Path) -> None:
    torch()
    short = "{epochs: 2, batch: 256, threads: 1}"
    with pytest.warns(FutureWarning, match=r"'flatten' is now called 'kinematics\.columns'"):
        config = configured(skims, text(flatten=COLUMNS, training=short))
    finetune(config, tmp_path / "old", plots=False)
    equal = f"{{method: weights, columns: {COLUMNS}, to: flat}}"
    finetune(configured(skims, text(kinematics=equal, training=short)), tmp_path / "new", plots=False)
    finetune(configured(skims, text(training=short)), tmp_path / "none", plots=False)
    assert bytes_of(tmp_path / "old") == bytes_of(tmp_path / "new") != bytes_of(tmp_path / "none")
    assert load_head(tmp_path / "new").card.training["kinematics"]["to"] == "flat"
    with pytest.raises(ConfigError, match=r"'flatten' is the old name of .* which is given as well"):
        configured(skims, text(flatten=COLUMNS, kinematics=equal))


@pytest.mark.parametrize("model", ["mlp", "bdt"])
@pytest.mark.parametrize("method", METHODS)
def test_a_head_is_trained_with_each_method_and_says_what_was_done(
    skims: Path, tmp_path: Path, method: str, model: str
) -> None:
    torch() if model == "mlp" else xgboost()
    if method == "boosted":
        pytest.importorskip("hep_ml", reason="the extra train is not installed")
    trained = finetune(
        configured(
            skims,
            text(
                kinematics=f"{{method: {method}, columns: {COLUMNS}, to: B}}",
                model="{kind: bdt, trees: 8}" if model == "bdt" else "",
                training="{epochs: 2, batch: 128, rate: 5e-3, threads: 1}",
                select=SKEWED,
            ),
        ),
        tmp_path / "head",
        plots=False,
    )
    report = json.loads((tmp_path / "head" / "report" / "report.json").read_text())
    assert set(report["kinematics"]) == {"A", "B", "C"}
    found = report["kinematics"]["A"]
    assert found["effective_after"] == trained.kinematics["A"].effective_after < found["jets"]
    assert found["divergence_after"] < found["divergence_before"]
    page = (tmp_path / "head" / "report" / "report.md").read_text()
    assert f"method {method}, to B" in page
    assert f"{found['effective_before']:.0f} -> {found['effective_after']:.0f}" in page
    # the test has the jets as they are
    assert report["loss"] < np.log(3)


BAD = [
    ("{method: downsampel, columns: {FatJet_pt: [1, 2]}}", ConfigError, r"unknown method 'downsampel' \(nearest: down"),
    ("{method: weights}", ConfigError, "line 14: the key 'columns' is missing"),
    ("{columns: {}}", ConfigError, "columns"),
    (
        "{columns: {FatJet_pt: [1, 2]}, to: b}",
        ConfigError,
        r"unknown class 'b' \(nearest: B.*expected flat or A or B or C",
    ),
    ("{columns: {FatJet_pt: [2, 1]}}", ConfigError, "'FatJet_pt' must be a list of rising bin edges"),
    ("{columns: {FatJet_tp: [1, 2]}}", MissingColumns, "line 14.*FatJet_tp"),
    ("{columns: {FatJet_eta: [-1, 0, 1]}, colums: 3}", ConfigError, r"unknown key 'colums' \(nearest: columns"),
]


@pytest.mark.parametrize(("content", "error", "message"), BAD)
def test_bad_keys_are_named(
    skims: Path, tmp_path: Path, content: str, error: type[JettaggerError], message: str
) -> None:
    with pytest.raises(error, match=message):
        prepared(skims, tmp_path, text(kinematics=content))


def test_a_class_called_flat_is_ambiguous(skims: Path) -> None:
    classes = "{flat: FatJet_truth == 0, other: FatJet_truth > 0}"
    with pytest.raises(ConfigError, match="'flat' is a flat spectrum: give the class another name"):
        configured(skims, text(classes=classes, kinematics="{columns: {FatJet_pt: [1, 2]}}"))


@pytest.mark.parametrize(
    ("changes", "method", "message"),
    [
        (
            {"msoftdrop": np.nan},
            "weights",
            r"'FatJet_msoftdrop' is NaN for \d+ jets of .*toy1.parquet \(first in event",
        ),
        ({"msoftdrop": 80.0}, "weights", "'FatJet_msoftdrop' is 80 for all jets"),
        ({"negative": -1.0}, "resample", r"negative weight .*\{method: resample\} cannot take"),
    ],
)
def test_bad_columns_are_named_with_file_and_event(
    tmp_path: Path, changes: dict[str, float], method: str, message: str
) -> None:
    write_toy(tmp_path / "toy1.parquet", 400, changes=changes)
    weight = "genWeight" if "negative" not in changes else "FatJet_negative"
    with pytest.raises(InvalidValues, match=message):
        made(tmp_path, tmp_path / "s", method, weight=weight, select="")


def test_too_few_drawn_jets_and_spectra_apart_are_refused(skims: Path, tmp_path: Path) -> None:
    with pytest.raises(
        InvalidValues, match=r"\d+ of \d+ training jets of the class 'A' are left, expected at least 250"
    ):
        made(skims, tmp_path / "a", "downsample", least_jets="250")
    apart = '"(FatJet_truth == 0 and FatJet_pt > 600) or (FatJet_truth > 0 and FatJet_pt < 600)"'
    with pytest.raises(InvalidValues, match=r"line \d+: .*no bin in common"):
        made(skims, tmp_path / "b", "weights", "B", select=apart)


def test_boosted_weights_without_their_package_are_refused_before_reading(
    skims: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "hep_ml", None)
    monkeypatch.delitem(sys.modules, "hep_ml.reweight", raising=False)
    config = configured(skims, text(kinematics=f"{{method: boosted, columns: {COLUMNS}}}"))
    with pytest.raises(MissingExtra, match=r"'hep_ml.*', which is not installed: pip install 'jettagger\[train\]'"):
        finetune(config, tmp_path / "head", plots=False, progress=lambda events: pytest.fail("read"))


def test_the_command_says_what_is_done_and_what_was_done(
    skims: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch()
    file = tmp_path / "head.yaml"
    short = "{epochs: 2, batch: 128, rate: 5e-3, threads: 1}"
    keys = f"{{method: downsample, columns: {{FatJet_pt: {[*PT, 2000]}}}, to: B}}"
    content = text(kinematics=keys, training=short, select=SKEWED).replace("toy*", str(skims / "toy*"))
    file.write_text(content, encoding="utf-8")
    assert main(["finetune", str(file), "-o", str(tmp_path / "head"), "--no-plots", "--dry-run"]) == 0
    assert "kinematics: downsample, FatJet_pt to B" in capsys.readouterr().out
    assert main(["finetune", str(file), "-o", str(tmp_path / "head"), "--no-plots"]) == 0
    shown = capsys.readouterr().out
    assert "kinematics: downsample, to B" in shown
    change = json.loads((tmp_path / "head" / "report" / "report.json").read_text())["kinematics"]["A"]
    assert f"{change['effective_before']:.0f} -> {change['effective_after']:.0f}" in shown


def test_bins_without_jets_and_limited_factors_are_named(tmp_path: Path) -> None:
    write_toy(tmp_path / "toy1.parquet", 1200)
    few = '"FatJet_truth != 0 or FatJet_pt < 600 or (FatJet_pt < 800 and event % 50 == 0)"'
    edges = "{FatJet_pt: [200, 600, 800, 1000]}"
    content = text(kinematics=f"{{columns: {edges}, to: C}}", select=few)
    jets = prepared(tmp_path, tmp_path / "s", content)
    assert jets.config.kinematics is not None
    notes = kinematics.change_notes(jets.kinematics, jets.config.kinematics)
    assert re.fullmatch(r"A: bins without jets: 1, 2\d % of the jets of C", notes[0])
    assert notes[1:] == ["A: bins in which the factor is limited to 20 times the average: 1"]
