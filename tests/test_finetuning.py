"""Training heads: what they learn, that two runs agree, what they refuse."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toyskims import CONFIG, MASS, MODEL, write_toy
from traced import traced_peak

import jettagger as jt
from jettagger.cli import main
from jettagger.discriminants import auc, roc
from jettagger.errors import (
    ConfigError,
    InputFileError,
    InvalidValues,
    JettaggerError,
    MismatchError,
    MissingColumns,
    MissingExtra,
    OutputError,
)
from jettagger.finetuning import Epoch, finetune, open_skim, read_config, response, run, score_skim, survey
from jettagger.finetuning import skims as skim_module
from jettagger.finetuning.config import Loss
from jettagger.finetuning.kinematics import balance
from jettagger.finetuning.losses import mass_loss
from jettagger.finetuning.measure import Comparison, Measures, _calibration, _profile, measure
from jettagger.finetuning.prepare import Prepared, _Moments, prepare
from jettagger.finetuning.report import number as printed
from jettagger.finetuning.report import tables
from jettagger.heads import Head, fold_of, load_head
from jettagger.provenance import Provenance, read_provenance
from jettagger.training import cross_entropy

#: scores that the toy skims hold
SCORES = ("probHbb", "probQCDothers")


def torch() -> Any:
    return pytest.importorskip("torch", reason="the extra train is not installed")


def xgboost() -> Any:
    return pytest.importorskip("xgboost", reason="the extra train is not installed")


@pytest.fixture(scope="module")
def skims(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("skims")
    write_toy(folder / "toy1.parquet", 900)
    write_toy(folder / "toy2.root", 900, seed=1, first=900)
    return folder


def text(name: str = "Abc", **parts: str) -> str:
    """The configuration for classes with parts replaced or added."""
    found = CONFIG.format(name=name).replace("toy*.parquet", "toy*")
    for key, value in parts.items():
        kept, inside = [], False
        for line in found.splitlines():
            inside = line.startswith(f"{key}:") or (inside and line.startswith(" "))
            if not inside:
                kept.append(line)
        found = "\n".join([*kept, *([f"{key}: {value}"] if value else [])]) + "\n"
    return found


def configured(folder: Path, content: str | None = None) -> Any:
    return read_config(content or text(), name="head.yaml", folder=folder)


def prepared(folder: Path, scratch: Path, content: str | None = None) -> Prepared:
    config = configured(folder, content)
    bundle = jt.load_bundle(config.parent)
    scratch.mkdir(exist_ok=True)
    return prepare(config, bundle, survey(config, bundle), scratch)


# ------------------------------------------------------------------------------------------------- the way to training


def test_rows_of_other_jets_are_those_of_fat_jets(tmp_path: Path) -> None:
    """A skim of AK4 jets differs in the name of the collection alone."""
    rows, surveys = [], []
    for jets in ("FatJet", "Jet"):
        (tmp_path / jets).mkdir()
        write_toy(tmp_path / jets / "toy1.parquet", 400, seed=2, jets_are=jets)
        content = text().replace("FatJet_", f"{jets}_")
        config = configured(tmp_path / jets, content)
        surveys.append(survey(config, jt.load_bundle(config.parent)))
        made = prepared(tmp_path / jets, tmp_path / f"{jets}-rows", content)
        rows.append(np.concatenate(list(made.store)))
    assert (surveys[0].layout.pt, surveys[1].layout.pt) == ("FatJet_pt", "Jet_pt")
    assert "Jet_pt" in surveys[1].layout.extras
    np.testing.assert_array_equal(*rows)
    both = tmp_path / "both"
    both.mkdir()
    for number, jets in enumerate(("FatJet", "Jet")):
        write_toy(both / f"toy{number}.parquet", 5, jets_are=jets)
    with pytest.raises(MismatchError, match=r"toy1.parquet has other jets than .*toy0.parquet \(FatJet\)"):
        survey(configured(both), jt.load_bundle("inclParTToyV1"))


def test_rows_are_those_of_the_files(skims: Path, tmp_path: Path) -> None:
    jets = prepared(skims, tmp_path)
    rows = np.concatenate(list(jets.store))
    skim = ak.concatenate([ak.from_parquet(skims / "toy1.parquet")])
    assert len(rows) > ak.count(skim.FatJet_pt)
    pt = rows[:, jets.layout.inputs.index("FatJet_pt")]
    first = {value: i for i, value in enumerate(pt)}
    neuron = rows[:, jets.layout.inputs.index("hidNeurons007")]
    for value, expected, label, event in zip(
        ak.flatten(skim.FatJet_pt).to_numpy()[:200],
        ak.flatten(skim[f"FatJet_{MODEL}_hidNeurons007"]).to_numpy()[:200],
        ak.flatten(skim.FatJet_truth).to_numpy()[:200],
        np.repeat(skim.event.to_numpy(), ak.num(skim.FatJet_pt))[:200],
        strict=True,
    ):
        row = rows[first[value]]
        assert neuron[first[value]] == expected
        assert row[jets.layout["label"]] == label
        assert row[jets.layout["fold"]] == (fold_of(event, 10_000) >= 2500)
    np.testing.assert_allclose(
        jets.center, np.mean(rows[rows[:, jets.layout["fold"]] > 0][:, :11], axis=0), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(jets.width, np.std(rows[rows[:, jets.layout["fold"]] > 0][:, :11], axis=0), rtol=1e-4)


def test_no_event_is_on_both_sides_of_a_split(skims: Path, tmp_path: Path) -> None:
    """Jets of an event stay together, also when the event is in two files."""
    again = tmp_path / "again"
    again.mkdir()
    for name in ("toy1.parquet", "toyA.parquet"):
        write_toy(again / name, 600)
    jets = prepared(again, tmp_path / "s", text(compare="{event: event}", split="{folds: 3}"))
    rows = np.concatenate(list(jets.store))
    event = rows[:, jets.layout["compare:event"]]
    for number in np.unique(event):
        mine = rows[event == number]
        assert len(np.unique(mine[:, jets.layout["fold"]])) == 1
        assert len(np.unique(mine[:, jets.layout["held"]])) == 1
    for model in range(3):
        parts = [
            set(jets.part(rows, model, which)[:, jets.layout["compare:event"]])
            for which in ("train", "validation", "test")
        ]
        assert not parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2]
        assert sum(len(part) for part in parts) == 600


def test_classes_are_balanced_and_flat_in_pt(skims: Path, tmp_path: Path) -> None:
    skewed = tmp_path / "skims"
    skewed.mkdir()
    write_toy(skewed / "toy1.parquet", 1200)
    edges = [200, 300, 500, 1000]
    jets = prepared(
        skewed,
        tmp_path / "s",
        text(
            kinematics=f"{{columns: {{FatJet_pt: {edges}}}}}",
            select='"FatJet_truth != 0 or FatJet_pt > 600 or event % 5 == 0"',
        ),
    )
    assert jets.left_out["not selected"] > 150
    rows = np.concatenate(list(jets.store))
    rows = rows[rows[:, jets.layout["fold"]] > 0]
    weights, pt = jets.weights(rows), rows[:, jets.layout["FatJet_pt"]]
    label = rows[:, jets.layout["label"]]
    totals = [weights[label == k].sum() for k in range(3)]
    np.testing.assert_allclose(totals, totals[0], rtol=1e-3)
    for k in range(3):
        bins = np.histogram(pt[label == k], edges, weights=weights[label == k])[0]
        np.testing.assert_allclose(bins, bins.mean(), rtol=1e-3)
    assert weights.mean() == pytest.approx(1, rel=1e-3)


def test_classes_are_flat_in_pt_and_mass_together(tmp_path: Path) -> None:
    write_toy(tmp_path / "toy1.parquet", 2500)
    pt, mass = [200, 400, 1000], [0, 40, 100, 800]
    content = text(
        kinematics=f"{{columns: {{FatJet_pt: {pt}, FatJet_msoftdrop: {mass}}}}}", compare="{m: FatJet_msoftdrop}"
    )
    jets = prepared(tmp_path, tmp_path / "s", content)
    rows = np.concatenate(list(jets.store))
    rows = rows[rows[:, jets.layout["fold"]] > 0]
    columns = [rows[:, jets.layout[name]] for name in ("FatJet_pt", "compare:m")]
    weights, label = jets.weights(rows), rows[:, jets.layout["label"]]
    for k in range(3):
        mine = [column[label == k] for column in columns]
        cells = np.histogram2d(*mine, [pt, mass], weights=weights[label == k])[0]
        before = np.histogram2d(*mine, [pt, mass])[0]
        assert before.max() > 1.5 * before.min()
        np.testing.assert_allclose(cells, cells.mean(), rtol=1e-3)


def test_nearly_empty_cells_do_not_get_huge_weights() -> None:
    factors = balance(np.array([[1000.0, 1.0], [500.0, 500.0]]), total=2001)
    assert factors[0, 1] / factors[0, 0] == pytest.approx(20 / (1001 / 2 / 1000))
    assert (factors * [[1000, 1], [500, 500]]).sum(axis=1) == pytest.approx([1000.5, 1000.5])


@settings(max_examples=20, deadline=None)
@given(sizes=st.lists(st.integers(0, 50), min_size=1, max_size=6), seed=st.integers(0, 99))
def test_moments_do_not_depend_on_the_pieces(sizes: list[int], seed: int) -> None:
    x = np.random.default_rng(seed).normal(5, 2, (sum(sizes) + 2, 3)).astype("f4")
    moments = _Moments()
    for piece in np.split(x, np.cumsum(sizes)):
        moments.add(piece)
    np.testing.assert_allclose(moments.mean, x.astype(float).mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(moments.squares / moments.count, x.astype(float).var(axis=0), rtol=1e-6)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_files(tmp_path: Path) -> None:
    """The whole way from skims to shards, and through an epoch."""
    peaks = []
    for files in (3, 9):
        folder = tmp_path / str(files)
        folder.mkdir()
        for number in range(files):
            write_toy(folder / f"toy{number}.parquet", 1000, first=1000 * number, seed=number)

        def use(folder: Path = folder, files: int = files) -> None:
            with tempfile.TemporaryDirectory(dir=folder) as shards:
                store = prepared(folder, Path(shards) / "s", text(training="{memory: 600kB}")).store
                for _ in store.epoch(np.random.default_rng(0)):
                    pass
                assert store.rows == pytest.approx(1500 * files, rel=0.1)
                assert store.shards > files / 3

        peaks.append(traced_peak(use))
    assert peaks[1] < 1.3 * peaks[0]


def test_a_survey_opens_each_file_twice(skims: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the names and the record, and for the types: whatever asks for columns afterwards."""
    opened: list[str] = []
    real = skim_module.open_parquet

    def counting(path: str) -> Any:
        opened.append(path)
        return real(path)

    monkeypatch.setattr(skim_module, "open_parquet", counting)
    config = configured(skims, text(files="[toy1.parquet]"))
    assert len(survey(config, jt.load_bundle("inclParTToyV1")).columns) == 1
    assert opened == [str(skims / "toy1.parquet")] * 2


def test_skims_are_read_in_chunks(skims: Path) -> None:
    for name in ("toy1.parquet", "toy2.root"):
        skim = open_skim(str(skims / name))
        sizes = [len(events) for events in skim.read(["event", "FatJet_pt"], 250)]
        assert sizes == [250, 250, 250, 150]


# ------------------------------------------------------------------------------------------------------ losses, numbers


def test_losses_are_the_closed_forms() -> None:
    target = np.array([100.0, 100.0])
    mass = np.array([110.0, 50.0])
    r = np.log(mass / target)
    ones = np.ones(2)
    assert mass_loss(mass, target, ones, Loss(kind="log-cosh", scale=0.1)) == pytest.approx(
        np.mean(np.log(np.cosh(r / 0.1)))
    )
    huber = [0.5 * (r[0] / 0.1) ** 2, abs(r[1]) / 0.1 - 0.5]
    assert mass_loss(mass, target, ones, Loss(kind="huber", scale=0.1)) == pytest.approx(np.mean(huber))
    assert mass_loss(mass, target, ones, Loss(kind="quantile", q=0.3)) == pytest.approx((0.7 * r[0] - 0.3 * r[1]) / 2)


def test_cross_entropy_is_that_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    p = np.random.default_rng(0).dirichlet(np.ones(3), 50)
    y, w = np.arange(50) % 3, np.random.default_rng(1).uniform(0, 2, 50)
    assert cross_entropy(p, y, w) == pytest.approx(metrics.log_loss(y, p, sample_weight=w))


def test_the_minimum_of_the_quantile_loss_is_the_quantile() -> None:
    target = np.exp(np.random.default_rng(0).normal(4.5, 0.4, 20_001))
    for q in (0.2, 0.5, 0.8):
        masses = np.quantile(target, np.linspace(0.05, 0.95, 91))
        losses = [
            mass_loss(np.full_like(target, mass), target, np.ones_like(target), Loss(kind="quantile", q=q))
            for mass in masses
        ]
        assert masses[int(np.argmin(losses))] == pytest.approx(np.quantile(target, q), rel=0.01)


def test_the_width_of_a_response_and_its_uncertainty() -> None:
    rng = np.random.default_rng(2)
    found = response(rng.normal(1, 0.1, 4000))
    assert found.width.value == pytest.approx(0.1349, abs=4 * found.width.uncertainty)
    spread = [response(rng.normal(1, 0.1, 1000)) for _ in range(200)]
    for what in ("median", "width"):
        values = [getattr(item, what).value for item in spread]
        claimed = np.mean([getattr(item, what).uncertainty for item in spread])
        assert claimed == pytest.approx(np.std(values), rel=0.25)
    x = rng.normal(1, 0.2, 300)
    low, middle, high = np.quantile(x, [0.25, 0.5, 0.75])
    assert response(x).width.value == pytest.approx((high - low) / middle)
    twice = response(np.concatenate([x, x[:100]]))
    weighted = response(x, np.where(np.arange(300) < 100, 2.0, 1.0))
    assert weighted.median.value == pytest.approx(twice.median.value, abs=0.01)


# ------------------------------------------------------------------------------------------------------------- training


@pytest.fixture(scope="module")
def trained(skims: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    torch()
    folder = tmp_path_factory.mktemp("heads") / "Abc"
    return finetune(configured(skims), folder, plots=False)


def test_a_network_learns_what_is_there(trained: Any) -> None:
    """Neurons 0 and 1 are shifted by 2 sigma: the best AUC of A against C is that of two unit Gaussians."""
    from scipy.stats import norm

    pairs = {(item.signal, item.background): item.curves for item in trained.measures.comparisons}
    best = norm.cdf(2 / np.sqrt(2))
    found = pairs["A", "C"]["head"].auc
    assert 0.8 < found.value < best + 3 * found.uncertainty
    assert found.value > pairs["A", "C"]["best score: probHbb"].auc.value
    assert trained.measures.loss < 0.85 * trained.measures.own_loss
    features = trained.measures.features
    assert set(list(features)[1:3]) == {"hidNeurons000", "hidNeurons001"}
    assert trained.head.card.metrics["loss"] == trained.measures.loss
    assert trained.head.card.training["training"]["seed"] == 5
    assert sum(trained.jets["A"].values()) > 500


def test_the_folder_of_a_head_says_how_it_was_made(trained: Any) -> None:
    folder = trained.head.folder
    record = read_provenance(folder / "head.json")
    assert record["step"] == "finetune"
    assert record["digest"] == trained.head.card.parent.digest
    assert [Path(path).name for path in record["files"]] == ["toy1.parquet", "toy2.root"]
    assert read_provenance(folder / "report" / "report.json") == record
    assert (folder / "report" / "report.md").read_text().splitlines()[-1] == str(Provenance.from_dict(record))


def test_two_runs_give_the_same_head(trained: Any, skims: Path, tmp_path: Path) -> None:
    again = finetune(configured(skims), tmp_path / "again", plots=False)
    assert again.head.digest == trained.head.digest
    other = configured(skims, text().replace("seed: 5", "seed: 6"))
    assert finetune(other, tmp_path / "other", plots=False).head.card.sha256 != trained.head.card.sha256


def test_a_trained_head_on_files_and_only_on_those_of_its_parent(trained: Any, skims: Path, tmp_path: Path) -> None:
    for name, suffix in (("toy1.parquet", "parquet"), ("toy2.root", "parquet"), ("toy1.parquet", "root")):
        out = tmp_path / f"{name[:4]}.{suffix}"
        assert score_skim(skims / name, [trained.head.folder], out, force=True) == 900
        if suffix == "parquet":
            scored = ak.from_parquet(out)
            probs = [ak.flatten(scored[f"FatJet_Abc_prob{x}"]).to_numpy() for x in "ABC"]
            np.testing.assert_allclose(sum(probs), 1, rtol=1e-5)
            truth = ak.flatten(scored.FatJet_truth).to_numpy()
            assert np.mean(np.argmax(probs, axis=0) == truth) > 0.6
            assert open_skim(str(out)).record["heads"] == {"Abc": trained.head.digest}
    other = write_toy(tmp_path / "other.parquet", 20, model="tinyParT")
    with pytest.raises(MismatchError, match=r"'Abc' was trained on 'inclParTToyV1' .*'tinyParT' that made"):
        score_skim(other, [trained.head], tmp_path / "x.parquet")
    silent = write_toy(tmp_path / "silent.parquet", 20, digest=False)
    with pytest.raises(MismatchError, match="does not say which model made its columns"):
        score_skim(silent, [trained.head], tmp_path / "x.parquet")
    few = write_toy(tmp_path / "few.parquet", 20, neurons=4)
    with pytest.raises(MissingColumns, match=r"few.parquet: the head 'Abc': .*hidNeurons004"):
        score_skim(few, [trained.head], tmp_path / "x.parquet")


def test_each_fold_is_tested_by_the_network_that_has_not_seen_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What fold 0 teaches is wrong in fold 1: a network that had seen its test jets would be right about them."""
    torch()
    path = write_toy(tmp_path / "toy1.parquet", 1200)
    skim = ak.from_parquet(path)
    fold = fold_of(np.repeat(skim.event.to_numpy(), ak.num(skim.FatJet_pt)), 2)
    neuron = ak.flatten(skim[f"FatJet_{MODEL}_hidNeurons005"]).to_numpy()
    truth = ak.unflatten(((neuron > 0) ^ (fold == 1)).astype("i4"), ak.num(skim.FatJet_pt))
    columns = {name: skim[name] for name in skim.fields} | {"FatJet_truth": truth}
    jt.write_skim(path, [columns], json.dumps(open_skim(str(path)).record), force=True)
    content = text(classes="{A: FatJet_truth == 0, B: FatJet_truth == 1}", split="{folds: 2}", inputs="[hidden]")
    seen: list[Measures] = []

    def kept(head: Head, prepared: Prepared) -> Measures:
        seen.append(measure(head, prepared))
        shutil.copytree(head.folder, tmp_path / "copy")
        return seen[0]

    monkeypatch.setattr(run, "measure", kept)
    with pytest.raises(InvalidValues, match=r"'Abc' is worse than its prior .* network 0 has .* network 1 has"):
        finetune(configured(tmp_path, content), tmp_path / "head", plots=False)
    head = load_head(tmp_path / "copy")
    assert head.card.folds == 2
    (pair,) = seen[0].comparisons
    assert pair.curves["head"].auc.value < 0.1
    x = np.stack([ak.flatten(skim[f"FatJet_{MODEL}_{name}"]).to_numpy() for name in head.inputs], axis=1)
    unseen, others = (head.compute_folds(x, which)[:, 0] > 0.5 for which in (fold, 1 - fold))
    is_a = ak.flatten(truth).to_numpy() == 0
    assert np.mean(unseen == is_a) < 0.15
    assert np.mean(others == is_a) > 0.85
    np.testing.assert_array_equal(ak.flatten(head(skim).probA).to_numpy() > 0.5, unseen)


def test_trees_have_the_same_interface(skims: Path, tmp_path: Path) -> None:
    library = xgboost()
    content = text(
        "Trees",
        model="{kind: bdt, trees: 40, depth: 3, rate: 0.2}",
        training="{seed: 5, threads: 1, patience: 5, memory: 1MB}",
    )
    result = finetune(configured(skims, content), tmp_path / "trees", plots=False)
    curves = {(item.signal, item.background): item.curves for item in result.measures.comparisons}
    assert curves["A", "C"]["head"].auc.value > 0.85
    assert result.head.card.model == "bdt"
    again = finetune(configured(skims, content), tmp_path / "again", plots=False)
    assert again.head.digest == result.head.digest
    skim = ak.from_parquet(skims / "toy1.parquet")
    scores = result.head(skim)
    np.testing.assert_allclose(ak.flatten(scores.probA + scores.probB + scores.probC).to_numpy(), 1, rtol=1e-5)
    assert library.__version__


def test_a_mass_head_learns_what_met_carries_off(skims: Path, tmp_path: Path) -> None:
    torch()
    result = finetune(configured(skims, MASS.replace("toy*.parquet", "toy*")), tmp_path / "mass", plots=False)
    for both in result.measures.responses.values():
        assert both["tagger"].width.value > 0.25
        assert both["head"].width.value < 0.1
        assert both["head"].median.value == pytest.approx(1, abs=0.02)
    assert result.measures.loss < 0.1 * result.measures.own_loss


@pytest.mark.parametrize("loss", ["log-cosh", "huber", "{kind: quantile, q: 0.3}"])
def test_an_untrained_mass_head_gives_the_tagger_s_mass(loss: str, skims: Path, tmp_path: Path) -> None:
    torch()
    content = MASS.replace("toy*.parquet", "toy*").replace("epochs: 25", "epochs: 0") + f"loss: {loss}\n"
    result = finetune(configured(skims, content), tmp_path / "mass", plots=False)
    skim = ak.from_parquet(skims / "toy1.parquet")
    assert result.head(skim).mass.tolist() == skim[f"FatJet_{MODEL}_mass"].tolist()
    assert result.measures.loss == result.measures.own_loss


def test_a_quantile_is_learnt(skims: Path, tmp_path: Path) -> None:
    """As many jets have a target below the head's mass as was asked for."""
    torch()
    content = MASS.replace("toy*.parquet", "toy*").replace("epochs: 25", "epochs: 12")
    content += "loss: {kind: quantile, q: 0.8}\n"
    result = finetune(configured(skims, content), tmp_path / "mass", plots=False)
    assert result.measures.ratios is not None
    assert np.mean(result.measures.ratios["head"] > 1) == pytest.approx(0.8, abs=0.07)
    assert result.head.card.training["loss"] == {"kind": "quantile", "scale": 0.1, "q": 0.8}


def test_trees_stop_early_and_keep_the_best(tmp_path: Path) -> None:
    xgboost()
    write_toy(tmp_path / "toy1.parquet", 400)
    content = text(model="{kind: bdt, trees: 200, depth: 4, rate: 0.5}", training="{seed: 1, threads: 1, patience: 3}")
    result = finetune(configured(tmp_path, content), tmp_path / "trees", plots=False)
    numbers = [epoch.validation for epoch in result.history]
    assert len(numbers) < 200
    best = int(np.argmin(numbers))
    assert len(numbers) - 1 - best == 3
    trees, _ = onnx.load(result.head.folder / "head.onnx").graph.node
    (numbers_,) = [attribute.ints for attribute in trees.attribute if attribute.name == "nodes_treeids"]
    assert len(set(numbers_)) == 3 * (best + 1)


def test_scores_and_columns_of_jets_can_be_inputs(skims: Path, tmp_path: Path) -> None:
    torch()
    absent = json.dumps([o.name for o in jt.load_bundle(MODEL).select(["prob"]) if o.name not in SCORES])
    content = text(inputs="[prob, FatJet_eta, FatJet_msoftdrop, MET_pt, FatJet_metDeltaPhi]", exclude=absent)
    result = finetune(configured(skims, content), tmp_path / "head", plots=False)
    assert set(result.head.inputs) == {*SCORES, "FatJet_eta", "FatJet_msoftdrop", "MET_pt", "FatJet_metDeltaPhi"}
    sources = {item.name: item.source for item in result.head.card.inputs}
    assert sources["probHbb"] == "tagger"
    assert sources["MET_pt"] == "event"
    curves = {(item.signal, item.background): item.curves for item in result.measures.comparisons}
    assert curves["A", "C"]["head"].auc.value > 0.6


def test_early_stopping_keeps_the_best(skims: Path, tmp_path: Path) -> None:
    torch()
    content = text(training="{epochs: 60, batch: 64, rate: 2e-2, patience: 2, seed: 1, threads: 1}")
    result = finetune(configured(skims, content), tmp_path / "head", plots=False)
    numbers = [epoch.validation for epoch in result.history]
    assert len(numbers) < 60
    assert len(numbers) - 1 - int(np.argmin(numbers)) == 2
    assert [epoch.best for epoch in result.history][int(np.argmin(numbers))]


def test_the_calibration_of_true_probabilities_is_the_diagonal() -> None:
    rng = np.random.default_rng(3)
    p = rng.dirichlet([1, 1, 1], 20_000)
    label = (rng.uniform(size=(len(p), 1)) > np.cumsum(p, axis=1)).sum(axis=1).clip(0, 2)
    points = _calibration(p, label, rng.uniform(0.5, 2, len(p)), ["A", "B", "C"])
    pulls = [(fraction - mean) / sigma for found in points.values() for mean, fraction, sigma, _ in found]
    assert len(pulls) == 30
    assert np.std(pulls) == pytest.approx(1, abs=0.4)
    wrong = _calibration(p[:, ::-1], label, np.ones(len(p)), ["A", "B", "C"])
    assert max(abs(f - m) / s for m, f, s, _ in wrong["A"]) > 5


def test_a_profile_is_the_response_bin_by_bin() -> None:
    rng = np.random.default_rng(4)
    mass = rng.uniform(20, 200, 2000)
    ratios = {"head": rng.normal(1, 0.1, 2000), "tagger": rng.normal(1 + mass / 1000, 0.2, 2000)}
    found = _profile(mass, ratios, np.ones(2000))
    edges = np.array(found["edges"])
    assert len(edges) == 9
    for number in range(8):
        inside = (mass >= edges[number]) & (mass <= edges[number + 1])
        low, middle, high = np.quantile(ratios["tagger"][inside], [0.25, 0.5, 0.75])
        assert found["tagger"][number].median.value == pytest.approx(middle, rel=0.01)
        assert found["tagger"][number].width.value == pytest.approx((high - low) / middle, rel=0.05)
        assert found["head"][number].jets == pytest.approx(250, abs=1)


# ------------------------------------------------------------------------------------------------------------ bad input


BAD = [
    (text(input="[hidden]"), r"line \d+: unknown key 'input' \(nearest: inputs\)"),
    (text(inputs=""), "the key 'inputs' is missing"),
    (text(version="3"), r"line \d+: version 3, this version of jettagger reads 1"),
    (text(kind="class"), r"unknown kind 'class' \(nearest: classes, mass\)"),
    (text().replace("FatJet_truth == 1", "FatJet_truth ="), r"head.yaml, line 10: position"),
    (text(classes="{A: FatJet_truth == 0}"), "needs at least two, got 1"),
    (text(target="FatJet_genMass"), "'target' belongs to heads of the kind 'mass'"),
    (text(model="{kind: bdtt}"), r"unknown kind 'bdtt' \(nearest: bdt\)"),
    (text(model="{layer: [3]}"), r"unknown key 'layer' \(nearest: layers\)"),
    (text(model="{layers: [0]}"), r"'layers' must be a list of widths"),
    (text(training="{epochs: -1}"), "'epochs' must be a whole number of at least 0, got -1"),
    (text(training="{memory: lots}"), r"head.yaml, line \d+: .*lots"),
    (text(split="{folds: 3, test: 0.2}"), "'test' is not for folds"),
    (text(split="{validation: 2}"), "'validation' must be a number from 0.01 to 0.9, got 2"),
    (text(kinematics="{columns: {FatJet_pt: [300, 200]}}"), "'FatJet_pt' must be a list of rising bin edges"),
    (text(name="my-head"), "a name of letters, digits and _ is required"),
    (MASS.replace("target: FatJet_genMass\n", ""), "a mass head needs a 'target'"),
    (MASS + "loss: hubre\n", r"unknown loss 'hubre' \(nearest: huber\)"),
    (MASS.replace("model: {layers", "model: {kind: bdt, trees: 3}\n#"), "mass heads are networks"),
]


@pytest.mark.parametrize(("content", "message"), BAD)
def test_a_bad_configuration_is_refused_with_its_line(content: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_config(content, name="head.yaml")


def test_names_that_are_not_there(skims: Path) -> None:
    bundle = jt.load_bundle(MODEL)
    for part, content, error, message in (
        ("output", text(inputs="[hiden]"), ConfigError, r"'hiden' \(nearest: hidden.*is neither a kind nor an output"),
        ("exclude", text(exclude="[hidNeuron200]"), ConfigError, "matches none of the inputs"),
        ("input", text(inputs="[hidden, FatJet_ptt]"), MissingColumns, r"line \d+: .*FatJet_ptt \(nearest: FatJet_pt"),
        (
            "label",
            text(classes="{A: FatJet_truht == 0, B: FatJet_truth > 0}"),
            MissingColumns,
            r"FatJet_truht \(nearest: FatJet_truth",
        ),
        ("file", text(files="[none*.parquet]"), InputFileError, r"line \d+: no file matches"),
        ("file", text(files="[toy1.parquett]"), InputFileError, r"no such file"),
    ):
        with pytest.raises(error, match=message):
            survey(configured(skims, content), bundle)
        assert part
    with pytest.raises(JettaggerError, match=r"line \d+: no model 'inclParTToyV2' \(nearest: inclParTToyV1"):
        finetune(configured(skims, text(parent="inclParTToyV2")), skims / "x", plots=False)


def test_a_skim_without_hidden_neurons(tmp_path: Path) -> None:
    write_toy(tmp_path / "toy1.parquet", 50, neurons=0)
    with pytest.raises(MissingColumns, match=r"inputs of the head.*FatJet_inclParTToyV1_hidNeurons000.*hidNeurons009"):
        survey(configured(tmp_path), jt.load_bundle(MODEL))


def test_a_parent_that_does_not_match(tmp_path: Path) -> None:
    write_toy(tmp_path / "toy1.parquet", 50, model="tinyParT")
    with pytest.raises(MismatchError, match=r"was made with 'tinyParT' .* the parent 'inclParTToyV1' has"):
        survey(configured(tmp_path), jt.load_bundle(MODEL))
    write_toy(tmp_path / "toy1.parquet", 50, digest=False)
    assert len(survey(configured(tmp_path), jt.load_bundle(MODEL)).unknown_model) == 1


def test_damaged_skims(skims: Path, tmp_path: Path) -> None:
    data = (skims / "toy1.parquet").read_bytes()
    (tmp_path / "toy1.parquet").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputFileError, match=r"toy1.parquet is not a readable parquet file"):
        survey(configured(tmp_path), jt.load_bundle(MODEL))
    with pytest.raises(InputFileError, match=r"expected a file .parquet or .root"):
        open_skim(str(tmp_path / "x.csv"))


@pytest.mark.parametrize(
    ("content", "changes", "error", "message"),
    [
        (
            text(classes="{A: FatJet_truth == 0, B: FatJet_truth == 7}"),
            {},
            ConfigError,
            r"line \d+: the class 'B' selects no jet \(\d+ in no class",
        ),
        (
            text(classes="{A: FatJet_truth == 0, B: FatJet_truth < 2}"),
            {},
            ConfigError,
            r"the classes 'A' and 'B' overlap: \d+ jets of",
        ),
        (
            text(least_jets="5000"),
            {},
            InvalidValues,
            r"the class 'A' has \d+ jets for training, expected at least 5000",
        ),
        (text(), {f"{MODEL}_hidNeurons003": 1.5}, InvalidValues, r"the same value in all jets: hidNeurons003\. Leave"),
        (
            text(),
            {f"{MODEL}_hidNeurons003": np.nan},
            InvalidValues,
            r"not finite: hidNeurons003 \(\d+ jets, first in event \d+ of",
        ),
        (
            text(inputs="[hidden, FatJet_msoftdrop]"),
            {"msoftdrop": np.nan},
            InvalidValues,
            r"not finite: FatJet_msoftdrop",
        ),
        (
            text(weight="log(genWeight - 0.6)"),
            {},
            InvalidValues,
            r"line \d+: the weight of event \d+ of .* is (nan|-inf)",
        ),
        (text(weight="0 - genWeight"), {}, InvalidValues, "the weights of the class 'A' add up to -"),
        (
            text(weight="genWeight - 1", model="{kind: bdt}", training="{seed: 1}"),
            {},
            InvalidValues,
            r"jets of .* have a negative weight .* trees cannot take",
        ),
    ],
)
def test_jets_that_cannot_be_used(
    content: str, changes: dict[str, float], error: type[JettaggerError], message: str, tmp_path: Path
) -> None:
    write_toy(tmp_path / "toy1.parquet", 300, changes=changes)
    with pytest.raises(error, match=message):
        prepared(tmp_path, tmp_path / "s", content)


def test_skims_without_events_or_jets(tmp_path: Path) -> None:
    write_toy(tmp_path / "toy1.parquet", 0)
    with pytest.raises(ConfigError, match=r"line \d+: the class 'A' selects no jet \(nothing was left out\)"):
        prepared(tmp_path, tmp_path / "s")
    skim = ak.from_parquet(write_toy(tmp_path / "toy1.parquet", 30))
    none = {name: skim[name][:, :0] if name.startswith("FatJet_") else skim[name] for name in skim.fields}
    jt.write_skim(tmp_path / "toy1.parquet", [none], json.dumps({}), force=True)
    with pytest.raises(ConfigError, match="the class 'A' selects no jet"):
        prepared(tmp_path, tmp_path / "s")
    write_toy(tmp_path / "toy2.parquet", 400)  # beside one that has jets it does not matter
    assert prepared(tmp_path, tmp_path / "s").store.rows > 500


def test_a_share_of_the_events_can_be_used(tmp_path: Path) -> None:
    write_toy(tmp_path / "toy1.parquet", 1000)
    least = "least_jets: 10\n"
    whole = prepared(tmp_path, tmp_path / "a", text() + least).jets["A"]
    part = prepared(tmp_path, tmp_path / "b", text(split="{use: 0.3}") + least).jets["A"]
    assert part["test"] == whole["test"]
    assert part["train"] == pytest.approx(0.3 * whole["train"], rel=0.2)
    assert part["validation"] == pytest.approx(0.3 * whole["validation"], rel=0.5)


def test_bad_inputs_can_be_left_out_and_unscored_jets_are_counted(tmp_path: Path) -> None:
    write_toy(tmp_path / "toy1.parquet", 400, changes={f"{MODEL}_hidNeurons003": 1.0})
    absent = '"hidNeurons0[1-9]?", "hidNeurons1??"'  # as in the configuration, whose list is replaced
    jets = prepared(tmp_path, tmp_path / "s", text(exclude=f"[hidNeurons003, {absent}]"))
    assert "hidNeurons003" not in jets.layout.inputs
    nothing = {f"{MODEL}_hidNeurons{i:03d}": np.nan for i in range(10)}
    write_toy(tmp_path / "toy1.parquet", 400, changes=nothing)
    jets = prepared(tmp_path, tmp_path / "s", text())
    assert jets.left_out["not scored by the tagger"] > 50


def test_masses_without_a_target_are_left_out(tmp_path: Path) -> None:
    write_toy(tmp_path / "toy1.parquet", 400, changes={"genMass": np.nan})
    jets = prepared(tmp_path, tmp_path / "s", MASS)
    assert jets.left_out["without a positive target"] > 50


def test_without_torch_it_says_what_to_install(skims: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtra, match=r"pip install 'jettagger\[train\]'"):
        finetune(configured(skims), tmp_path / "head", plots=False)
    assert not (tmp_path / "head").exists()


def test_nothing_is_left_after_a_failure_and_nothing_else_is_replaced(tmp_path: Path) -> None:
    torch()
    write_toy(tmp_path / "toy1.parquet", 100)
    config = configured(tmp_path, text(least_jets="5000"))
    with pytest.raises(InvalidValues):
        finetune(config, tmp_path / "head", plots=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["toy1.parquet"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(OutputError, match=r"has no head.json, so it is something else"):
        finetune(config, tmp_path / "mine", plots=False, force=True)


def test_ctrl_c_leaves_nothing_behind(skims: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))

    def stop(epoch: Epoch) -> None:
        assert any(scratch.iterdir())
        if epoch.number == 2:
            raise KeyboardInterrupt

    (tmp_path / "heads").mkdir()
    with pytest.raises(KeyboardInterrupt):
        finetune(configured(skims), tmp_path / "heads" / "Abc", plots=False, follow=stop)
    # torch itself makes a folder for what it compiles
    assert not [path for path in scratch.iterdir() if not path.name.startswith("torchinductor")]
    assert not any((tmp_path / "heads").iterdir())


# ---------------------------------------------------------------------------------------------------------- the command


def test_the_command(skims: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch()
    pytest.importorskip("mplhep", reason="the extra plot is not installed")
    path = skims / "two.yaml"
    path.write_text(
        text("Two", classes="{A: FatJet_truth == 0, C: FatJet_truth == 2}", compare="{mine: probHbb}").replace(
            "epochs: 8", "epochs: 2"
        )
    )
    out = tmp_path / "Two"
    assert main(["finetune", str(path), "-o", str(out), "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "hidNeurons000, hidNeurons001, hidNeurons002, hidNeurons003, ... (11 inputs) -> probA, probC" in shown
    assert "1800 events in 2 files" in shown
    assert not out.exists()
    assert main(["finetune", str(path), "-o", str(out)]) == 0
    shown, err = capsys.readouterr()
    assert "network  epoch  training    validation" in err
    assert "| A vs C | mine |" in shown
    assert "left out:" in shown
    files = {item.name for item in (out / "report").iterdir()}
    assert files == {"report.json", "report.md", "losses.png", "features.png", "calibration.png", "roc_A_C.png"}
    assert all((out / "report" / name).stat().st_size > 5000 for name in files if name.endswith(".png"))
    content = json.loads((out / "report" / "report.json").read_text())
    assert content["jets"]["A"]["train"] > 100
    assert set(content["comparisons"]["A vs C"]) == {"head", "best score: probHbb", "mine", "pt alone"}
    assert "without flattening in pt or mass" in shown
    assert len(content["history"]) == 2
    assert main(["finetune", str(path), "-o", str(out)]) == 2
    assert "exists already; use --force" in capsys.readouterr().err
    assert main(["finetune", str(path), "-o", str(out), "--force", "--no-plots"]) == 0
    assert {item.name for item in (out / "report").iterdir()} == {"report.json", "report.md"}


def test_a_comparison_without_flattening_says_so() -> None:
    rng = np.random.default_rng(1)

    def page(**spectra: Any) -> str:
        scores = roc(rng.normal(1, 1, 500), rng.normal(0, 1, 500))
        pt = roc(spectra["signal"], spectra["background"]) if spectra else None
        return tables(
            Measures("classes", 0.5, 0.7, 0.7, networks=(), comparisons=(Comparison("A", "B", {"head": scores}, pt),))
        )

    alike = {name: rng.exponential(100, 500) for name in ("signal", "background")}
    assert "without flattening in pt or mass; the spectra of pt are alike." in page(**alike)
    harder = alike | {"signal": 3 * alike["signal"]}
    area = auc(harder["signal"], harder["background"])
    assert area.value > 0.7
    text = page(**harder)
    assert "**the spectra of pt differ**" in text
    assert f"AUC of pt alone: A vs B {printed(area)}." in text
    assert "no pt of the jets to tell" in page()
    few = Comparison("A", "B", {"head": roc(rng.normal(5, 1, 50), rng.normal(0, 1, 50))})
    assert (
        "± "
        not in tables(Measures("classes", 0.5, 0.7, 0.7, networks=(), comparisons=(few,)))
        .splitlines()[2]
        .partition("| head |")[2]
    )
    bounds = few.summary()["head"]["rejection at 0.5"]
    assert bounds[:2] == [None, None]
    assert bounds[2] == pytest.approx(few.curves["head"].rejection_at(0.5).above)


def test_the_pictures_of_a_mass(skims: Path, tmp_path: Path) -> None:
    torch()
    pytest.importorskip("mplhep", reason="the extra plot is not installed")
    content = MASS.replace("toy*.parquet", "toy*").replace("epochs: 25", "epochs: 1")
    result = finetune(configured(skims, content), tmp_path / "mass")
    expected = {
        "report.json",
        "report.md",
        "losses.png",
        "features.png",
        "response.png",
        "response_mass.png",
        "response_pt.png",
    }
    assert set(result.report) == expected
    profiles = json.loads((tmp_path / "mass" / "report" / "report.json").read_text())["profiles"]
    assert set(profiles) == {"mass", "pt"}
    assert len(profiles["mass"]["BC"]["head"]) == len(profiles["mass"]["BC"]["edges"]) - 1
