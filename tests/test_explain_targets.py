"""Targets: outputs, logits, discriminants and heads as numbers of NumPy and of torch, and what does not exist."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from heads import make_head

import jettagger as jt
from jettagger.discriminants import discriminant
from jettagger.discriminants.discriminant import Discriminant
from jettagger.errors import ConfigError, MismatchError, UnknownName
from jettagger.explain.gradients import COLUMNS
from jettagger.explain.target_names import target_of
from jettagger.explain.targets import HeadTarget, LogOdds

EXPRESSIONS = [
    "HbbvsQCD",
    "log HbbvsQCD",
    "HWW4qvsQCD",
    "probHbb / (probHbb + 0.5 * sum(probQCD*)) where zero = -2",
    "log(probHbb) - log_ratio(probHcc, probHss + 1e-3)",
    "max(probHbb, probHcc) * min(probHss, 0.2) - sqrt(probQCDb) + exp(-probQCDc) + abs(probHbb - probHcc)",
    "probHbb / (probHbb - probHbb)",
    "2 * probHbb / 3 - -probHcc",
]


@pytest.fixture(scope="module")
def tagger() -> jt.Tagger:
    return jt.load_tagger("tinyParT", threads=1)


@pytest.fixture(scope="module")
def columns() -> np.ndarray:
    random = np.random.default_rng(1)
    scores = random.dirichlet(np.full(37, 0.2), 12)
    return np.concatenate([scores, random.normal(size=(12, 129))], axis=1).astype(np.float32)


def named(tagger: jt.Tagger, columns: np.ndarray) -> dict[str, np.ndarray]:
    return {output.name: columns[:, output.index] for output in tagger.bundle.outputs}


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_discriminants_are_those_of_the_scores(text: str, tagger: jt.Tagger, columns: np.ndarray) -> None:
    name = text.removeprefix("log ")
    known = discriminant(name, form="log_ratio") if text.startswith("log H") else discriminant(text)
    want = known(named(tagger, columns.astype(np.float64)))
    np.testing.assert_allclose(target_of(tagger, text)({COLUMNS: columns}), want, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("text", [*EXPRESSIONS, "probHbb", "mass", "hidNeurons012", "logit probHbb"])
def test_torch_gives_the_same_and_a_gradient_that_is_finite(text: str, tagger: jt.Tagger, columns: np.ndarray) -> None:
    torch = pytest.importorskip("torch")
    target = target_of(tagger, text)
    tensor = torch.from_numpy(columns).clone().requires_grad_()
    found = target({COLUMNS: tensor})
    np.testing.assert_allclose(found.detach().numpy(), target({COLUMNS: columns}), rtol=1e-6, atol=1e-7)
    found.sum().backward()
    assert torch.isfinite(tensor.grad).all()
    assert pickle.loads(pickle.dumps(target)) == target


def test_logits_keep_their_digits_where_scores_are_close_to_one(tagger: jt.Tagger) -> None:
    target = target_of(tagger, "logit probHbb")
    assert isinstance(target, LogOdds)
    assert len(target.others) == 36
    logits = np.zeros((1, 37))
    logits[0, target.index] = 60.0
    scores = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    columns = np.concatenate([scores, np.zeros((1, 129))], axis=1).astype(np.float32)
    assert target({COLUMNS: columns})[0] == pytest.approx(60 - np.log(36), abs=1e-5)
    single = LogOdds("logit x", 0)
    assert single({COLUMNS: np.array([[0.2], [0.0]])}).tolist() == pytest.approx([np.log(0.25), np.log(2.0**-126)])


def test_a_score_at_its_smallest_value_has_no_derivative() -> None:
    """Like those below; the larger of a score and a number is the number up to there."""
    torch = pytest.importorskip("torch")
    from jettagger.explain.evaluation import floored_log

    scores = torch.tensor([0.0, 0.25, 0.5], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(floored_log(scores, 0.25).sum(), [scores])
    assert slope.tolist() == [0, 0, 2]
    target = target_of(jt.load_bundle("tinyParT"), Discriminant.from_string("max(probHbb, 0.25)"))
    columns = torch.zeros((3, 166), dtype=torch.float64)
    columns[:, list(target.index.values())] = torch.tensor([[0.0], [0.25], [0.5]], dtype=torch.float64)
    columns.requires_grad_()
    (slope,) = torch.autograd.grad(target({COLUMNS: columns}).sum(), [columns])
    assert slope.sum(dim=1).tolist() == [0, 0, 1]


def test_units_and_names(tagger: jt.Tagger) -> None:
    assert target_of(tagger, "mass").unit == "GeV"
    assert target_of(tagger, " probHbb ").unit == "1"
    assert target_of(tagger, "hidNeuron3").name == "hidNeurons003"
    assert target_of(tagger, discriminant("HbbvsQCD")).name == "HbbvsQCD"
    assert target_of(tagger.bundle, target_of(tagger, "mass")) == target_of(tagger, "mass")


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("HbbvsQDC", UnknownName, "nearest: HbbvsQCD"),
        ("probHbB", UnknownName, "nearest: probHbb"),
        ("log HbbvsQDC", UnknownName, "HbbvsQCD"),
        ("logit probHbB", UnknownName, "probHbb"),
        ("logit mass", ConfigError, "a logit exists of scores"),
        ("nohead:probX", UnknownName, "unknown head"),
        ("probHbb / probNone", UnknownName, "probNone"),
        ("1 + 2", ConfigError, "contains no score"),
        ("", UnknownName, "unknown target"),
        ("probHbb +", ConfigError, "cannot be read"),
    ],
)
def test_what_does_not_exist_is_named(text: str, error: type[Exception], message: str, tagger: jt.Tagger) -> None:
    with pytest.raises(error, match=message):
        target_of(tagger, text)


def test_scores_that_the_model_lacks() -> None:
    bundle = jt.load_bundle("deepdoublex-v02-bvl")
    with pytest.raises(UnknownName, match="HWW4qvsQCD"):
        target_of(bundle, "HWW4qvsQCD")
    with pytest.raises(ConfigError, match="no score"):
        target_of(bundle, Discriminant.from_string("2 * 3"))


INPUTS = ("probHbb", "hidNeurons000", "mass", "FatJet_pt")


def test_outputs_of_heads_behind_the_network(tmp_path: Path, columns: np.ndarray) -> None:
    bundle = jt.load_bundle("tinyParT")
    head = make_head(tmp_path / "head", "XHead", parent=bundle, inputs=INPUTS, folds=2)
    tagger = jt.Tagger(bundle, heads=[head])
    target = target_of(tagger, "XHead:probA")
    assert target == target_of(tagger, "XHead_probA")
    assert isinstance(target, HeadTarget)
    assert target.columns == ("FatJet_pt", "event")
    given = {"FatJet_pt": np.linspace(200, 500, 12).astype(np.float32), "event": np.arange(12)}
    bound = target.for_jets(given.__getitem__)
    inputs = np.stack([*(columns[:, bundle[name].index] for name in INPUTS[:3]), given["FatJet_pt"]], axis=1)
    want = head.compute(inputs, given["event"])[:, 0]
    np.testing.assert_array_equal(bound({COLUMNS: columns}), want)
    with pytest.raises(MismatchError, match="needs FatJet_pt"):
        target({COLUMNS: columns})
    with pytest.raises(MismatchError, match="12 jets are given for 3 jets"):
        bound({COLUMNS: columns[:3]})
    with pytest.raises(UnknownName, match="probA"):
        target_of(tagger, "XHead:probC")


def test_gradients_of_heads_reach_the_outputs_of_the_network(tmp_path: Path, columns: np.ndarray) -> None:
    torch = pytest.importorskip("torch")
    bundle = jt.load_bundle("tinyParT")
    head = make_head(tmp_path / "head", "XHead", parent=bundle, inputs=INPUTS, folds=2)
    given = {"FatJet_pt": np.linspace(200, 500, 12).astype(np.float32), "event": np.arange(12)}
    bound = target_of(jt.Tagger(bundle, heads=[head]), "XHead:probA").for_jets(given.__getitem__)
    tensor = torch.from_numpy(columns).clone().requires_grad_()
    found = bound({COLUMNS: tensor})
    np.testing.assert_allclose(found.detach().numpy(), bound({COLUMNS: columns}), atol=1e-6)
    found.sum().backward()
    used = [bundle[name].index for name in INPUTS[:3]]
    assert (tensor.grad[:, used] != 0).any(dim=0).all()
    assert not np.delete(tensor.grad.numpy(), used, axis=1).any()
    trees = replace(head, card=head.card.model_copy(update={"model": "bdt"}))
    with pytest.raises(MismatchError, match="boosted trees, which have no gradient"):
        replace(bound, head=trees)({COLUMNS: tensor})
