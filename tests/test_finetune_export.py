"""What is exported is what was trained and better than its prior, or nothing is written."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from toyskims import MASS, MODEL, write_toy

import jettagger as jt
from jettagger.discriminants import roc
from jettagger.errors import BundleError, InvalidValues, MismatchError
from jettagger.finetuning import finetune, read_config
from jettagger.finetuning import run as run_module
from jettagger.finetuning.config import Loss
from jettagger.finetuning.losses import mass_loss
from jettagger.finetuning.measure import Measures, Network, unseen
from jettagger.finetuning.verify import ABSOLUTE, RELATIVE, Trained, check_use
from jettagger.heads import Mlp, Trees, fold_of, head_model, load_head, write_head
from jettagger.heads.description import read_head_card, write_head_card
from jettagger.heads.export import COLUMNS
from jettagger.sessions.graph import file_sha256

MODELS = {"mlp": "{kind: mlp, layers: [16], dropout: 0}", "bdt": "{kind: bdt, trees: 60, depth: 3, rate: 0.2}"}


def library(kind: str) -> Any:
    name = {"mlp": "torch", "bdt": "xgboost"}[kind]
    return pytest.importorskip(name, reason="the extra train is not installed")


def write_gaussians(path: Path, classes: int, jets: int, seed: int = 0) -> Path:
    """Jets of some classes: in class k, neuron k is shifted by two standard deviations, but not in the last class."""
    rng = np.random.default_rng([seed, classes])
    label = rng.integers(0, classes, jets)
    neurons = rng.normal(0, 1, (jets, classes))
    shifted = label < classes - 1
    neurons[shifted, label[shifted]] += 2
    one = np.ones(jets, dtype=np.int64)
    columns = {f"{MODEL}_hidNeurons{i:03d}": neurons[:, i] for i in range(classes)} | {"truth": label}
    flat: dict[str, Any] = {f"FatJet_{k}": ak.unflatten(v.astype("f4"), one) for k, v in columns.items()}
    flat |= {"event": np.arange(jets, dtype="u8"), "weight": rng.uniform(0.5, 1.5, jets)}
    jt.write_skim(path, [flat], json.dumps({"model": MODEL, "digest": jt.load_bundle(MODEL).digest}), force=True)
    return path


def configured(folder: Path, classes: int, model: str, more: str = "") -> Any:
    names = "".join(f'  C{k}: "FatJet_truth == {k}"\n' for k in range(classes))
    inputs = ", ".join(f"hidNeurons{i:03d}" for i in range(classes))
    text = (
        f"version: 1\nname: Toy\nkind: classes\nparent: {MODEL}\nfiles: [toy.parquet]\ninputs: [{inputs}]\n"
        f"classes:\n{names}weight: weight\nmodel: {model}\n"
        f"training: {{epochs: 12, batch: 128, rate: 1e-2, seed: 3, threads: 1}}\n{more}"
    )
    return read_config(text, name="head.yaml", folder=folder)


@pytest.fixture
def caught(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What trainers gave, before it is exported; ``change`` may alter it by the network's number."""
    kept: dict[str, Any] = {"trained": [], "change": lambda trained, number: trained}
    for name in ("train_bdt", "train_mlp"):
        train = getattr(run_module, name)

        def wrapped(prepared: Any, model: int, *rest: Any, train: Callable[..., Trained] = train) -> Trained:
            kept["prepared"] = prepared
            kept["trained"].append(kept["change"](train(prepared, model, *rest), model))
            kept["rows"] = unseen(prepared)
            return kept["trained"][-1]

        monkeypatch.setattr(run_module, name, wrapped)
    return kept


def run_graph(part: Trees, x: Any, outputs: int, kind: Any = "classes", inputs: Any = None) -> Any:
    """What the graph of a head gives, also for jets with missing inputs."""
    names = inputs or [f"x{i}" for i in range(x.shape[1])]
    model = head_model(names, [f"o{i}" for i in range(outputs)], [part], kind)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {COLUMNS: x.astype("f4")})[0]


# ----------------------------------------------------------------------------------------------- trees as ONNX has them


@settings(max_examples=25, deadline=None)
@given(
    classes=st.sampled_from([2, 3, 5]),
    base=st.sampled_from([None, 0.0, 0.7, -1.5]),
    depth=st.integers(1, 6),
    rounds=st.integers(1, 12),
    used=st.integers(1, 12),
    missing=st.sampled_from([0.0, 0.2]),
    gamma=st.sampled_from([0.0, 2.0]),
    seed=st.integers(0, 99),
)
def test_trees_give_what_xgboost_gives(
    classes: int, base: float | None, depth: int, rounds: int, used: int, missing: float, gamma: float, seed: int
) -> None:
    """Any number of classes, weights, missing values in training and after it, base scores, pruning, fewer trees."""
    xgboost = library("bdt")
    from jettagger.finetuning.booster import trees_of

    rng = np.random.default_rng(seed)
    label = rng.integers(0, classes, 400)
    label[:classes] = range(classes)
    x = rng.normal(0, 1, (400, 4)).astype("f4")
    x[:, 0] += label
    x[rng.random(x.shape) < missing] = np.nan
    parameters: dict[str, Any] = {"objective": "multi:softprob", "num_class": classes, "nthread": 1, "seed": seed}
    parameters |= {"max_depth": depth, "gamma": gamma, "subsample": 0.7} | (
        {} if base is None else {"base_score": base}
    )
    weight = rng.uniform(0, 3, len(x)) * (1 + label)
    booster = xgboost.train(parameters, xgboost.DMatrix(x, label, weight=weight), rounds)
    used = min(used, rounds)
    y = rng.normal(0, 2, (300, 4)).astype("f4")
    y[rng.random(y.shape) < 0.2] = np.nan
    y[:20] = x[:20]
    expected = booster.predict(xgboost.DMatrix(y), iteration_range=(0, used))
    found = run_graph(trees_of(booster[:used], 4, classes), y, classes)
    np.testing.assert_allclose(found, expected, atol=2e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)


def test_two_classes_are_those_of_scikit_learn_s_interface() -> None:
    """``XGBClassifier`` with its own objective for two classes is another model of the same jets: much the same."""
    xgboost = library("bdt")
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    from jettagger.finetuning.booster import trees_of

    rng = np.random.default_rng(1)
    y = np.arange(6000) % 2
    x = rng.normal(2 * y[:, None] * [1, 0], 1).astype("f4")
    plain = xgboost.XGBClassifier(n_estimators=40, max_depth=3, learning_rate=0.2, n_jobs=1).fit(x[:4000], y[:4000])
    settings_ = {"objective": "multi:softprob", "num_class": 2, "max_depth": 3, "eta": 0.2, "nthread": 1}
    booster = xgboost.train(settings_, xgboost.DMatrix(x[:4000], y[:4000]), 40)
    found, expected = run_graph(trees_of(booster, 2, 2), x[4000:], 2), plain.predict_proba(x[4000:])
    assert np.corrcoef(found[:, 1], expected[:, 1])[0, 1] > 0.99
    assert np.mean(np.abs(found - expected)) < 0.02


@pytest.mark.parametrize("objective", ["reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror"])
@pytest.mark.parametrize("base", [None, 0.3])
def test_trees_of_a_regression_give_a_mass(objective: str, base: float | None) -> None:
    xgboost = library("bdt")
    from jettagger.finetuning.booster import trees_of

    rng = np.random.default_rng(2)
    met, target = rng.exponential(50, 800), rng.uniform(40, 200, 800)
    mass = target * np.exp(-met / 200)
    x = np.stack([mass, met], axis=1).astype("f4")
    parameters = {"objective": objective, "nthread": 1} | ({} if base is None else {"base_score": base})
    booster = xgboost.train(parameters, xgboost.DMatrix(x, np.log(target / mass)), 30)
    x[::7, 1] = np.nan
    expected = x[:, :1] * np.exp(booster.predict(xgboost.DMatrix(x))[:, None].clip(-3, 3))
    found = run_graph(trees_of(booster, 2, 1), x, 1, "mass", ["mass", "MET_pt"])
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_trees_that_cannot_be_written_are_refused() -> None:
    xgboost = library("bdt")
    from jettagger.finetuning.booster import trees_of

    rng = np.random.default_rng(3)
    x, y = rng.normal(0, 1, (200, 3)), np.arange(200) % 2

    def made(data: Any = None, **parameters: Any) -> Any:
        return xgboost.train({"nthread": 1, **parameters}, data or xgboost.DMatrix(x, y), 2)

    soft = {"objective": "multi:softprob", "num_class": 2}
    with pytest.raises(MismatchError, match="the trees have 3 inputs and 2 outputs, expected 3 inputs and 3 outputs"):
        trees_of(made(**soft), 3, 3)
    with pytest.raises(MismatchError, match=r"'gbtree' with the objective 'binary:logistic' cannot be written"):
        trees_of(made(objective="binary:logistic"), 3, 1)
    with pytest.raises(MismatchError, match=r"kind 'dart'"):
        trees_of(made(booster="dart", **soft), 3, 2)
    kinds = xgboost.DMatrix(np.floor(np.abs(x)), y, feature_types=["c", "q", "q"], enable_categorical=True)
    with pytest.raises(MismatchError, match="splits of categories"):
        trees_of(made(kinds, max_cat_to_onehot=1, **soft), 3, 2)


# ----------------------------------------------------------------------------------------------- heads, from end to end


@pytest.mark.parametrize("folds", [1, 3])
@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("kind", MODELS)
def test_a_head_is_what_was_trained(
    kind: str, classes: int, folds: int, tmp_path: Path, caught: dict[str, Any]
) -> None:
    """Areas are those of unit Gaussians 2 (against the last class) or 2 sqrt(2) (others) standard deviations apart."""
    library(kind)
    skim = ak.from_parquet(write_gaussians(tmp_path / "toy.parquet", classes, 1200 * classes))
    split = f"split: {{folds: {folds}}}\n" if folds > 1 else ""
    result = finetune(configured(tmp_path, classes, MODELS[kind], split), tmp_path / "head", plots=False)
    assert len(caught["trained"]) == folds
    for item in result.measures.comparisons:
        apart = 2 * np.sqrt(1 if f"C{classes - 1}" in (item.signal, item.background) else 2)
        auc = item.curves["head"].auc
        away = auc.value - norm.cdf(apart / np.sqrt(2))
        assert -0.02 - 3 * auc.uncertainty < away < 4 * auc.uncertainty
    assert result.measures.loss < 0.7 * result.measures.prior_loss == pytest.approx(0.7 * np.log(classes))
    # all jets of the file, each by the network of its fold
    x = np.stack([ak.flatten(skim[f"FatJet_{MODEL}_{name}"]).to_numpy() for name in result.head.inputs], axis=1)
    fold = fold_of(skim.event.to_numpy(), folds)
    each = np.stack([network.predict(x) for network in caught["trained"]])
    found = result.head(skim)
    got = np.stack([ak.flatten(found[f"probC{k}"]).to_numpy() for k in range(classes)], axis=1)
    np.testing.assert_allclose(got, each[fold, np.arange(len(x))], atol=5e-6)
    assert result.difference < 5e-6
    if folds > 1:  # networks differ by more than that, so the right ones were compared
        assert np.abs(each[0] - each[1]).max() > 1e-2


def test_the_file_of_early_stopped_trees_is_that_of_the_best_round(tmp_path: Path, caught: dict[str, Any]) -> None:
    library("bdt")
    write_gaussians(tmp_path / "toy.parquet", 2, 1500)
    model = "{kind: bdt, trees: 300, depth: 6, rate: 0.5}"
    result = finetune(configured(tmp_path, 2, model), tmp_path / "head", plots=False)
    losses = [epoch.validation for epoch in result.history]
    assert len(losses) < 300
    (node,) = (n for n in onnx.load(result.head.folder / "head.onnx").graph.node if n.op_type.startswith("Tree"))
    (trees,) = (set(item.ints) for item in node.attribute if item.name == "nodes_treeids")
    assert len(trees) == 2 * (int(np.argmin(losses)) + 1)
    rows, _ = caught["rows"]
    x = np.ascontiguousarray(caught["prepared"].layout.x(rows))
    np.testing.assert_allclose(result.head.compute(x), caught["trained"][0].predict(x), atol=2e-6)


def test_a_mass_head_is_what_was_trained(tmp_path: Path, caught: dict[str, Any]) -> None:
    library("mlp")
    skim = ak.from_parquet(write_toy(tmp_path / "toy1.parquet", 900))
    content = MASS.replace("epochs: 25", "epochs: 4") + "split: {folds: 2}\n"
    result = finetune(read_config(content, name="m.yaml", folder=tmp_path), tmp_path / "mass", plots=False)
    rows, fold = caught["rows"]
    x = np.ascontiguousarray(caught["prepared"].layout.x(rows))
    each = np.stack([network.predict(x)[:, 0] for network in caught["trained"]])
    np.testing.assert_allclose(
        result.head.compute_folds(x, fold)[:, 0], each[fold, np.arange(len(x))], rtol=RELATIVE / 10
    )
    assert len(ak.flatten(result.head(skim).mass)) == len(x)


# ----------------------------------------------------------------------------------- exports that are broken on purpose


def all_leaves_to_the_first(trained: Trained) -> Trained:
    """What the converter of onnxmltools does with two classes."""
    assert isinstance(trained.part, Trees)
    ids = trained.part.attributes["target_ids"]
    return replace(trained, part=Trees({**trained.part.attributes, "target_ids": [0] * len(ids)}))


def attribute(name: str, change: Callable[[Any], Any]) -> Callable[[Trained], Trained]:
    def broken(trained: Trained) -> Trained:
        assert isinstance(trained.part, Trees)
        values = trained.part.attributes[name]
        return replace(trained, part=Trees({**trained.part.attributes, name: change(values)}))

    return broken


def last_layer(change: Callable[[Any, Any], tuple[Any, Any]]) -> Callable[[Trained], Trained]:
    def broken(trained: Trained) -> Trained:
        assert isinstance(trained.part, Mlp)
        *layers, (weights, bias) = trained.part.layers
        return replace(trained, part=replace(trained.part, layers=[*layers, change(weights, bias)]))

    return broken


BROKEN: dict[str, tuple[str, Callable[[Trained], Trained], str]] = {
    "all leaves to one class": ("bdt", all_leaves_to_the_first, "jets held out"),
    "classes exchanged": ("bdt", attribute("target_ids", lambda ids: [1 - i for i in ids]), "jets held out"),
    "base scores": ("bdt", attribute("base_values", lambda base: [base[0] + 0.1, *base[1:]]), "jets held out"),
    "a leaf": ("bdt", attribute("target_weights", lambda w: [w[0] + 0.01, *w[1:]]), "jets held out"),
    "not a number": ("bdt", attribute("target_weights", lambda w: [np.nan] * len(w)), "jets held out"),
    "missing values": (
        "bdt",
        attribute("nodes_missing_value_tracks_true", lambda left: [1 - i for i in left]),
        "jets with missing inputs",
    ),
    "signs of a network": ("mlp", last_layer(lambda w, b: (-w, -b)), "jets held out"),
    "outputs of a network": ("mlp", last_layer(lambda w, b: (w[::-1], b[::-1])), "jets held out"),
    "the wrong activation": ("mlp", lambda t: replace(t, part=replace(t.part, activation="tanh")), "jets held out"),
}


@pytest.mark.parametrize("folds", [1, 2])
@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_export_is_refused_and_nothing_is_left(
    fault: str, folds: int, tmp_path: Path, caught: dict[str, Any]
) -> None:
    kind, broken, jets = BROKEN[fault]
    by = library(kind)
    write_gaussians(tmp_path / "toy.parquet", 2, 900)
    split = "split: {folds: 2}\n" if folds > 1 else ""
    # of two networks only the second one is broken
    caught["change"] = lambda trained, number: broken(trained) if number == folds - 1 else trained
    with pytest.raises(MismatchError) as caught_error:
        finetune(configured(tmp_path, 2, MODELS[kind], split), tmp_path / "head", plots=False)
    of = "network 1, " if folds > 1 else ""
    number = r"(-?[0-9.e+-]+|nan)"
    assert re.match(
        rf"the head 'Toy' does not give what was trained: {of}output 'probC[01]' of row \d+ is {number}, expected "
        rf"{number} from {by.__name__} [0-9.]+\S*; \d+ of \d+ {jets} differ by more than 1e-05 \+ 0.0001 of the value. "
        "The head is not written",
        str(caught_error.value),
    )
    assert [path.name for path in tmp_path.iterdir()] == ["toy.parquet"]


def test_an_existing_head_survives_a_broken_export(tmp_path: Path, caught: dict[str, Any]) -> None:
    library("bdt")
    write_gaussians(tmp_path / "toy.parquet", 2, 900)
    config = configured(tmp_path, 2, MODELS["bdt"])
    before = finetune(config, tmp_path / "head", plots=False).head.digest
    caught["change"] = lambda trained, number: all_leaves_to_the_first(trained)
    with pytest.raises(MismatchError, match="does not give what was trained"):
        finetune(config, tmp_path / "head", plots=False, force=True)
    assert load_head(tmp_path / "head").digest == before


def test_a_mass_that_is_not_the_trained_one_is_refused(tmp_path: Path, caught: dict[str, Any]) -> None:
    library("mlp")
    write_toy(tmp_path / "toy1.parquet", 400)
    caught["change"] = lambda trained, number: last_layer(lambda w, b: (w, b + 0.001))(trained)
    config = read_config(MASS.replace("epochs: 25", "epochs: 1"), name="m.yaml", folder=tmp_path)
    with pytest.raises(MismatchError, match=r"output 'mass' of row \d+ is [0-9.]+, expected [0-9.]+ from torch"):
        finetune(config, tmp_path / "head", plots=False)
    assert not (tmp_path / "head").exists()


@pytest.mark.parametrize(("excess", "refused"), [(0.5, False), (2.0, True)])
def test_the_tolerance_is_the_one_that_is_stated(
    excess: float, refused: bool, tmp_path: Path, caught: dict[str, Any]
) -> None:
    library("mlp")
    write_gaussians(tmp_path / "toy.parquet", 2, 900)

    def moved(trained: Trained, number: int) -> Trained:
        def predict(x: Any) -> Any:
            true = trained.predict(x).astype(np.float64)
            return true + excess * (ABSOLUTE + RELATIVE * true)

        return replace(trained, predict=predict)

    caught["change"] = moved
    config = configured(tmp_path, 2, MODELS["mlp"])
    if refused:
        with pytest.raises(MismatchError, match="differ by more than"):
            finetune(config, tmp_path / "head", plots=False)
    else:
        assert 0.4e-4 < finetune(config, tmp_path / "head", plots=False).difference < 1.1e-4
    assert (tmp_path / "head").exists() is not refused


# ------------------------------------------------------------------------------------------------------------ the prior


def inverted(trained: Trained, number: int = 0) -> Trained:
    """Trees that are wrong in the same way for the trainer and in the file."""
    swapped = attribute("target_ids", lambda ids: [1 - i for i in ids])(trained)
    swapped = attribute("base_values", lambda base: base[::-1])(swapped)
    return replace(swapped, predict=lambda x: trained.predict(x)[:, ::-1])


@pytest.mark.parametrize("folds", [1, 4])
def test_a_head_worse_than_its_prior_is_refused(folds: int, tmp_path: Path, caught: dict[str, Any]) -> None:
    """Also where only one of its ensembles is."""
    library("bdt")
    write_gaussians(tmp_path / "toy.parquet", 2, 1200)
    config = configured(tmp_path, 2, MODELS["bdt"], f"split: {{folds: {folds}}}\n" if folds > 1 else "")
    caught["change"] = lambda trained, number: inverted(trained) if number == folds - 1 else trained
    who = "its network 3" if folds > 1 else "the head"
    with pytest.raises(InvalidValues) as error:
        finetune(config, tmp_path / "head", plots=False)
    figures = re.search(rf"{who} has a loss of (\S+)( \(\+- \S+\))?, equal probabilities of 0\.69315", str(error.value))
    assert figures
    rows, fold = caught["rows"]
    mine, prepared = fold == folds - 1, caught["prepared"]
    p = caught["trained"][-1].predict(np.ascontiguousarray(prepared.layout.x(rows[mine])))
    label = rows[mine][:, prepared.layout["label"]].astype(int)
    loss = np.average(-np.log(p[np.arange(len(p)), label]), weights=prepared.weights(rows[mine]))
    assert float(figures[1]) == pytest.approx(loss, abs=1e-4)
    assert loss > 1
    assert [path.name for path in tmp_path.iterdir()] == ["toy.parquet"]


def test_labels_that_nothing_tells_give_no_head(tmp_path: Path) -> None:
    """Trees without early stopping learn the noise by heart."""
    library("bdt")
    write_gaussians(tmp_path / "toy.parquet", 2, 900)
    model = "{kind: bdt, trees: 1, depth: 12, rate: 1, min_weight: 0}"
    noise = configured(tmp_path, 2, model)
    classes = {name: jt.expressions.parse(f"event % 2 == {k}") for k, name in enumerate(("C0", "C1"))}
    with pytest.raises(InvalidValues, match=r"'Toy' is worse than its prior .* equal probabilities of 0\.69315"):
        finetune(replace(noise, classes=classes), tmp_path / "head", plots=False)
    assert not (tmp_path / "head").exists()


@pytest.mark.parametrize("loss", [Loss(), Loss(kind="quantile", q=0.8)])
def test_a_mass_worse_than_one_mass_for_all_jets_is_refused(loss: Loss, tmp_path: Path, caught: dict[str, Any]) -> None:
    library("mlp")
    write_toy(tmp_path / "toy1.parquet", 900)
    text = MASS.replace("epochs: 25", "epochs: 2")
    config = replace(read_config(text, name="m.yaml", folder=tmp_path), loss=loss)
    result = finetune(config, tmp_path / "good", plots=False)
    prepared = caught["prepared"]
    (rows,) = prepared.store  # one shard, still in memory
    train, test = prepared.part(rows, 0, "train"), prepared.part(rows, 0, "test")
    at = prepared.layout["target"]
    constant = np.quantile(train[:, at], 0.8 if loss.kind == "quantile" else 0.5)
    weights = prepared.weights(test)
    expected = mass_loss(np.full(len(test), constant), test[:, at], weights, loss)
    assert result.measures.prior_loss == pytest.approx(expected, rel=0.02)  # the classes are balanced by weights
    assert result.measures.loss < result.measures.prior_loss

    def threefold(trained: Trained, number: int) -> Trained:
        shifted = last_layer(lambda w, b: (w, b + np.float32(np.log(3))))(trained)
        return replace(shifted, predict=lambda x: trained.predict(x) * 3)

    caught["change"] = threefold
    with pytest.raises(InvalidValues, match=r"is worse than its prior .* one mass for all jets of \d\.\d+"):
        finetune(config, tmp_path / "bad", plots=False)
    assert not (tmp_path / "bad").exists()


def test_what_is_worse_than_the_prior() -> None:
    def measures(loss: float, *parts: tuple[float, float]) -> Measures:
        return Measures("classes", loss, 0.69, 0.69, tuple(Network(x, 0.69, sigma) for x, sigma in parts))

    check_use("H", measures(0.6, (0.6, 0.01)))
    check_use("H", measures(0.69, (0.69, 0.01)))  # the prior itself
    check_use("H", measures(0.6, (0.5, 0.01), (0.70, 0.01)))  # one of two, within its uncertainty
    for bad in (
        measures(0.691, (0.691, 0.01)),
        measures(np.nan, (0.6, 0.01)),
        measures(0.6, (0.5, 0.01), (0.73, 0.01)),
    ):
        with pytest.raises(InvalidValues, match=r"the head 'H' is worse than its prior"):
            check_use("H", bad)


# ---------------------------------------------------------------------------------------------------- heads of the past


def test_a_stored_head_whose_trees_all_add_to_one_class_is_refused(tmp_path: Path) -> None:
    """As versions wrote them that left two classes to the converter."""
    inputs, outputs = ["mass", "MET_pt"], ["probA", "probB"]
    leaf = {"n_targets": 2, "base_values": [0.0, 0.0], "nodes_treeids": [0], "nodes_nodeids": [0]}
    leaf |= {"nodes_modes": ["LEAF"], "nodes_values": [0.0], "nodes_featureids": [0], "nodes_truenodeids": [0]}
    leaf |= {"nodes_falsenodeids": [0], "target_treeids": [0], "target_nodeids": [0], "target_ids": [0]}
    leaf |= {"target_weights": [0.5], "nodes_missing_value_tracks_true": [0]}
    write_head(
        tmp_path,
        name="Old",
        kind="classes",
        parent=jt.load_bundle(MODEL),
        inputs=inputs,
        outputs=outputs,
        parts=[Trees(leaf)],
    )
    assert load_head(tmp_path).compute(np.zeros((1, 2))).tolist() == [pytest.approx([0.6224593, 0.3775407])]
    for class_ids, wrong in ([0, 0], True), ([0, 1], False):
        old = {name.replace("target", "class"): value for name, value in leaf.items() if name != "n_targets"}
        old |= {"classlabels_int64s": [0, 1], "post_transform": "SOFTMAX", "class_ids": class_ids}
        old |= {"class_treeids": [0, 0], "class_nodeids": [0, 0], "class_weights": [0.5, 0.1]}
        model = onnx.load(tmp_path / "head.onnx")
        del model.graph.node[:]
        node = onnx.helper.make_node(
            "TreeEnsembleClassifier", [COLUMNS], ["label", "fold0"], domain="ai.onnx.ml", **old
        )
        model.graph.node.append(node)
        onnx.save(model, tmp_path / "head.onnx")
        card = read_head_card(tmp_path)
        write_head_card(card.model_copy(update={"sha256": file_sha256(tmp_path / "head.onnx")}), tmp_path)
        if wrong:
            with pytest.raises(
                BundleError, match=r"no tree adds to the output 'probB'.*'Old' are wrong.*train it again"
            ):
                load_head(tmp_path)
        else:
            assert load_head(tmp_path).compute(np.zeros((1, 2))).sum() == pytest.approx(1)


def test_the_area_of_two_gaussians() -> None:
    """The closed form that the areas above are compared with."""
    rng = np.random.default_rng(0)
    curve = roc(rng.normal(2, 1, 20_000), rng.normal(0, 1, 20_000))
    assert curve.auc.value == pytest.approx(norm.cdf(np.sqrt(2)), abs=4 * curve.auc.uncertainty)
    assert norm.cdf(np.sqrt(2)) == pytest.approx(0.921, abs=5e-4)
