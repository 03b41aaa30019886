"""Heads whose scores are the same in two domains: two cards with the same physics, and other inputs in the data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from test_decorrelated_heads import configured
from toyskims import CONFIG, write_toy

import jettagger as jt
from jettagger.errors import ConfigError, InputFileError, InvalidValues
from jettagger.finetuning import finetune, finetune_strengths, survey
from jettagger.finetuning.domains import DOMAIN, Role
from jettagger.finetuning.prepare import prepare

DOMAINS = "{simulation: mc*.parquet, data: [data.parquet]}"
NEURON = "FatJet_inclParTToyV1_hidNeurons00"


def write_card(path: Path, *, shift: float, seed: int, events: int = 3000, **changes: float) -> None:
    """Jets of the classes A and B, whose neuron 2 tells a little about the class, and is shifted in the data.

    Data have neither classes nor weights.
    """
    skim = ak.from_parquet(write_toy(path, events, seed=seed))
    keep = skim.FatJet_truth < 2
    columns = {name: skim[name][keep] if name.startswith("FatJet_") else skim[name] for name in skim.fields}
    for number, push in ((0, -1), (2, 0.3)):
        columns[f"{NEURON}{number}"] = columns[f"{NEURON}{number}"] + push * (columns["FatJet_truth"] == 0)
    columns[f"{NEURON}1"] = columns[f"{NEURON}1"] - (columns["FatJet_truth"] == 1)
    columns[f"{NEURON}2"] = columns[f"{NEURON}2"] + shift
    for name, value in changes.items():
        columns[name] = ak.where(ak.local_index(columns["FatJet_pt"]) == 0, value, columns[name])
    if shift:
        columns = {name: column for name, column in columns.items() if name not in ("FatJet_truth", "genWeight")}
    jt.write_skim(path, [columns], json.dumps({}), force=True)


def text(strength: str = "3", domains: str = DOMAINS, **keys: str) -> str:
    lines = [line for line in CONFIG.format(name="Abc").splitlines() if not line.startswith(("  C:", "files:"))]
    parts = {"training": "{epochs: 12, batch: 256, rate: 5e-3, seed: 5, threads: 1}", "split": "{test: 0.4}", **keys}
    kept = [line for line in lines if not line.startswith(tuple(f"{key}:" for key in parts))]
    options = "{warmup: 2, ramp: 5, layers: [16]}"
    rest = f"files: mc*.parquet\ndecorrelate: {{method: adversary, domains: {domains}, strength: {strength}"
    return "\n".join([*kept, *(f"{k}: {v}" for k, v in parts.items()), f"{rest}, adversary: {options}}}\n"])


@pytest.fixture(scope="module")
def cards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cards")
    write_card(folder / "mc.parquet", shift=0.0, seed=1)
    write_card(folder / "data.parquet", shift=3.0, seed=2)
    return folder


@pytest.fixture(scope="module")
def scan(cards: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    pytest.importorskip("torch", reason="the extra train is not installed")
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    return finetune_strengths(configured(cards, text("[0, 3]")), tmp_path_factory.mktemp("scan") / "heads", plots=False)


def separation(result: Any) -> tuple[float, float]:
    """AUC of the referee above one half, and its uncertainty."""
    (judged,) = result.dependence[0].referee.values()
    return judged.auc.value - 0.5, judged.auc.uncertainty


@pytest.mark.slow
def test_the_domains_are_alike_after_the_training(scan: Any) -> None:
    plain, against = (scan.results[strength] for strength in (0.0, 3.0))
    before, sigma = separation(plain)
    assert before > 5 * sigma
    assert separation(against)[0] < 0.5 * before
    alone, both = (r.measures.comparisons[0].curves["head"].rejection_at(0.5) for r in (plain, against))
    assert both.value > alone.value - 2 * np.hypot(alone.uncertainty, both.uncertainty) > 3  # 2: no information


@pytest.mark.slow
def test_the_comparison_says_how_well_the_domains_are_told_apart(scan: Any) -> None:
    page = (scan.folder / "strengths.md").read_text()
    heads = json.loads((scan.folder / "strengths.json").read_text())["heads"]
    for (strength, result), head in zip(scan.results.items(), heads, strict=True):
        (dependence,) = result.dependence
        judged = dependence.referee["simulation vs data"]
        assert head["adversary"][0]["auc"] == {"simulation vs data": [judged.auc.value, judged.auc.uncertainty]}
        assert result.head.card.metrics["adversary"] == head["adversary"]
        assert f"| {strength:g} | simulation vs data | {judged.auc.value:.3f} ±" in page
        assert f"| {dependence.verdict} |" in page
        assert f", AUC {judged.auc.value:.4f} ± {judged.auc.uncertainty:.4f})" in str(dependence)
        assert result.jets["domain data"]["train"] > 1000
        assert result.head.card.training["decorrelate"]["domains"]["data"] == ["data.parquet"]
    assert scan.results[0].dependence[0].verdict == "dependent"


def test_a_plain_head_is_that_without_the_key(tmp_path: Path) -> None:
    """Domains of files that have classes: with the strength 0 they change nothing, byte for byte."""
    pytest.importorskip("torch", reason="the extra train is not installed")
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    for number in (1, 2):
        write_card(tmp_path / f"mc{number}.parquet", shift=0.0, seed=number, events=800)
    training = "{epochs: 2, batch: 256, seed: 5, threads: 1}"
    content = text("0", "{one: mc1.parquet, two: [mc2.parquet]}", training=training)
    without = "\n".join(line for line in content.splitlines() if not line.startswith("decorrelate"))
    for name, part in (("with", content), ("without", without)):
        finetune(configured(tmp_path, part), tmp_path / name, plots=False)
    graphs = [(tmp_path / name / "head.onnx").read_bytes() for name in ("with", "without")]
    assert graphs[0] == graphs[1]


@pytest.mark.parametrize("of", ["", "B"])
def test_jets_without_classes_are_for_the_adversary_alone(cards: Path, tmp_path: Path, of: str) -> None:
    config = configured(cards, text(domains=f"{DOMAINS}, of: {of}" if of else DOMAINS))
    bundle = jt.load_bundle(config.parent)
    found = survey(config, bundle)
    assert found.roles == (Role(0), Role(1, labelled=False, weighted=False))
    prepared = prepare(config, bundle, found, tmp_path)
    layout = prepared.layout
    rows = np.concatenate([np.array(shard) for shard in prepared.store])
    label, domain = rows[:, layout["label"]], rows[:, layout[DOMAIN]]
    assert ((label < 0) == (domain == 1)).all()
    assert (prepared.weights(rows)[label < 0] == 0).all()
    assert (rows[label < 0, layout["weight"]] == 1).all()
    for which in ("train", "validation", "test"):
        part = prepared.part(rows, 0, which)
        assert (part[:, layout["label"]] >= 0).all()
        both = prepared.part(rows, 0, which, unlabelled=True)
        assert np.array_equal(both[both[:, layout["label"]] >= 0], part)
        seen = (both[:, layout[DOMAIN]] == 0) & ((both[:, layout["label"]] == 1) | (not of))
        assert prepared.jets["domain simulation"][which] == np.count_nonzero(seen)


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (
            text(domains="{simulation: mc*.parquet}"),
            ConfigError,
            r"line \d+: 'domains' must be two names.*got simulation",
        ),
        (text(domains="{a: mc*.parquet, b: data.parquet, c: x}"), ConfigError, "must be two names"),
        (text(domains="{}"), ConfigError, "must be two names.*got none"),
        (text(domains="{a: mc*.parquet, b: []}"), ConfigError, r"must be two names.*b \(0 patterns\)"),
        (text(domains=f"{DOMAINS}, from: FatJet_pt"), ConfigError, "either 'from' or 'domains'"),
        (text().replace("method: adversary", "method: disco"), ConfigError, "belongs to method: adversary, got disco"),
        (text().replace("domains:", "domain:"), ConfigError, r"unknown key 'domain' \(nearest: domains"),
        (text(domains=f"{DOMAINS}, of: b"), ConfigError, r"no class 'b' \(nearest: B\)"),
        (text().replace("warmup: 2", "warmup: 2, reads: bins"), ConfigError, "'reads' belongs to 'from'"),
        (text(model="{kind: bdt}"), ConfigError, "trees cannot be trained with 'decorrelate'"),
        (text(kinematics="{columns: {FatJet_pt: [200, 1000]}}"), ConfigError, "cannot be combined with 'domains'"),
        (text().replace(f"domains: {DOMAINS}", "from: FatJet_pt"), ConfigError, "needs 'of'.*one of A, B"),
        (text(domains="{simulation: mc*.parquet, data: dat.parquet}"), InputFileError, r"line \d+: no such file"),
        (text(domains="{simulation: mc*.parquet, data: nothing*}"), InputFileError, r"line \d+: no file matches"),
        (text(domains="{simulation: mc*.parquet, data: [data*, mc.parquet]}"), ConfigError, "in both domains, 'simul"),
    ],
)
def test_what_is_refused(cards: Path, content: str, error: type[Exception], message: str) -> None:
    def surveyed() -> None:
        config = configured(cards, content)
        survey(config, jt.load_bundle(config.parent))

    with pytest.raises(error, match=message):
        surveyed()


@pytest.mark.parametrize(
    ("change", "keys", "message"),
    [
        (
            {f"{NEURON}0": np.nan},
            {},
            r"inputs with values that are not finite: hidNeurons000 \(\d+ jets, first in event",
        ),
        ({}, {"select": "hidNeurons002 < -1"}, r"line \d+: the domain 'data' has \d+ jets for"),
    ],
)
def test_jets_without_classes_are_checked(
    tmp_path: Path, change: dict[str, float], keys: dict[str, str], message: str
) -> None:
    write_card(tmp_path / "mc.parquet", shift=0.0, seed=1, events=2500)
    write_card(tmp_path / "data.parquet", shift=3.0, seed=2, events=800, **change)
    config = configured(tmp_path, text(**keys, least_jets="5"))
    bundle = jt.load_bundle(config.parent)
    found = survey(config, bundle)
    with pytest.raises(InvalidValues, match=message):
        prepare(config, bundle, found, tmp_path)
