"""Heads whose scores do not depend on protected columns: what the key does, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from toyskims import CONFIG, write_toy

import jettagger as jt
from jettagger.cli import main
from jettagger.errors import ConfigError, InvalidValues, JettaggerError, MissingColumns, OutputError
from jettagger.files.resuming import ResumeWarning
from jettagger.finetuning import finetune, finetune_strengths, read_config, survey
from jettagger.finetuning.prepare import prepare
from jettagger.finetuning.protected import FEWEST, PROTECTED
from jettagger.provenance import read_provenance


def torch() -> Any:
    return pytest.importorskip("torch", reason="the extra train is not installed")


def text(decorrelate: str, **parts: str) -> str:
    """A configuration with two classes, whose neuron 0 tells them apart and follows the pt of the jet."""
    lines = [line for line in CONFIG.format(name="Abc").splitlines() if not line.startswith("  C:")]
    parts = {"training": "{epochs: 6, batch: 512, rate: 5e-3, seed: 5, threads: 1, patience: 6}", **parts}
    kept = [line for line in lines if not line.startswith(tuple(f"{key}:" for key in parts))]
    if "classes" in parts:
        kept = [line for line in kept if not line.startswith("  ")]
    return (
        "\n".join([*kept, *(f"{key}: {value}" for key, value in parts.items()), f"decorrelate: {decorrelate}"]) + "\n"
    )


DISCO = "{method: disco, from: [FatJet_msoftdrop], of: B, strength: 10}"


@pytest.fixture(scope="module")
def skims(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Jets of the class B whose soft-drop mass is seen in neuron 0, which is higher by 2 for the class A."""
    folder = tmp_path_factory.mktemp("skims")
    path = write_toy(folder / "toy1.parquet", 2500)
    skim = ak.from_parquet(path)
    rng = np.random.default_rng(7)
    counts = ak.num(skim.FatJet_pt)
    neuron = ak.flatten(skim.FatJet_inclParTToyV1_hidNeurons000).to_numpy()
    mass = (100 + 20 * (neuron + rng.normal(0, 0.5, len(neuron)))).astype("f4")
    mass[ak.flatten(skim.FatJet_truth).to_numpy() != 1] = np.nan  # of no use outside of the class
    columns = {name: skim[name] for name in skim.fields} | {"FatJet_msoftdrop": ak.unflatten(mass, counts)}
    jt.write_skim(path, [columns], json.dumps({}), force=True)
    return folder


def configured(folder: Path, content: str) -> Any:
    return read_config(content, name="head.yaml", folder=folder)


def correlation(head: Any, skims: Path) -> float:
    """Spearman's correlation of score and mass in the class B."""
    from scipy.stats import spearmanr

    skim = ak.from_parquet(skims / "toy1.parquet")
    mine = ak.flatten(skim.FatJet_truth).to_numpy() == 1
    score = ak.flatten(head(skim).probA).to_numpy()[mine]
    return float(spearmanr(score, ak.flatten(skim.FatJet_msoftdrop).to_numpy()[mine]).statistic)


@pytest.fixture(scope="module")
def scan(skims: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    torch()
    content = text("{method: disco, from: FatJet_msoftdrop, of: B, strength: [0, 0.5, 20]}")
    folder = tmp_path_factory.mktemp("scan") / "heads"
    return finetune_strengths(configured(skims, content), folder, plots=False)


def test_a_list_of_strengths_makes_a_head_for_each(scan: Any, skims: Path) -> None:
    assert list(scan.results) == [0, 0.5, 20]
    names = ["AbcDisco0", "AbcDisco0p5", "AbcDisco20"]
    assert sorted(path.name for path in scan.folder.iterdir()) == sorted([*names, "strengths.json", "strengths.md"])
    for name, result in zip(names, scan.results.values(), strict=True):
        head = jt.heads.load_head(scan.folder / name)
        assert (head.name, head.digest) == (name, result.head.digest)
        assert head.columns == (f"{name}_probA", f"{name}_probB")
    dependence = [abs(correlation(result.head, skims)) for result in scan.results.values()]
    assert dependence[0] > 0.5
    assert dependence[0] > dependence[1] > dependence[2]
    assert dependence[2] < 0.2
    content = json.loads((scan.folder / "strengths.json").read_text())
    assert [item["folder"] for item in content["heads"]] == names
    assert read_provenance(scan.folder / "strengths.json")["step"] == "finetune"
    recorded = scan.results[0.5].head.card.training["decorrelate"]
    assert (recorded["from"], recorded["of"], recorded["strength"]) == (["FatJet_msoftdrop"], "B", 0.5)


def test_reports_say_how_scores_depend_on_the_column_before_and_after(scan: Any, skims: Path) -> None:
    found = {}
    for strength, result in scan.results.items():
        (item,) = result.measures.dependence
        assert (item.signal, item.of, item.column) == ("A", "B", "FatJet_msoftdrop")
        assert next(iter(item.correlations)) == "head"
        assert any(name.startswith("best score: ") for name in item.correlations)
        found[strength] = item.correlations["head"]
        metrics = jt.heads.load_head(result.head.folder).card.metrics["dependence"]
        assert (
            metrics
            == [item.summary()]
            == json.loads((result.head.folder / "report" / "report.json").read_text())["dependence"]
        )
        assert "| A vs B | B | FatJet_msoftdrop | head |" in (result.head.folder / "report" / "report.md").read_text()
    assert found[0].biased.value > 0.5
    assert found[0].unbiased.value > found[0.5].unbiased.value > found[20].unbiased.value
    skim = ak.from_parquet(skims / "toy1.parquet")
    mine = ak.flatten(skim.FatJet_truth).to_numpy() == 1
    outputs = scan.results[0].head(skim)
    score = ak.flatten(outputs.probA).to_numpy()[mine]
    whole = jt.decorrelation.distance_correlation(score, ak.flatten(skim.FatJet_msoftdrop).to_numpy()[mine])
    assert found[0].biased.value == pytest.approx(whole, abs=5 * found[0].biased.uncertainty)
    page = (scan.folder / "strengths.md").read_text()
    assert "| 0.5 | A vs B | B | FatJet_msoftdrop | head |" in page
    assert "best score" not in page


def test_strength_zero_is_the_head_without_and_one_strength_is_the_head_itself(
    scan: Any, skims: Path, tmp_path: Path
) -> None:
    plain = configured(skims, text("null"))
    without = finetune(plain, tmp_path / "plain", plots=False)
    assert without.head.card.sha256 == scan.results[0].head.card.sha256
    assert "decorrelate" not in without.head.card.training
    one = configured(skims, text(DISCO.replace("10", "0.5")))
    single = finetune(one, tmp_path / "one", plots=False)
    assert single.head.name == "Abc"
    assert single.head.card.sha256 == scan.results[0.5].head.card.sha256


def test_two_scores_are_decorrelated_from_each_other(tmp_path: Path) -> None:
    """Classes A and C against B: neuron 1, which is lower for both, tells them apart."""
    torch()
    write_toy(tmp_path / "toy1.parquet", 2500)
    classes = "{A: FatJet_truth == 0, B: FatJet_truth == 1, C: FatJet_truth == 2}"
    skim = ak.from_parquet(tmp_path / "toy1.parquet")
    mine = ak.flatten(skim.FatJet_truth).to_numpy() == 1
    found = []
    for strength in (0, 3):
        key = f"{{method: disco, between: [A, C], of: B, strength: {strength}}}"
        training = "{epochs: 8, batch: 700, rate: 5e-3, seed: 5, threads: 1, patience: 8}"
        content = text(key, classes=classes, training=training)
        result = finetune(configured(tmp_path, content), tmp_path / str(strength), plots=False)
        assert result.measures.dependence[-1].column == "the score of C"
        outputs = [ak.flatten(result.head(skim)[f"prob{name}"]).to_numpy()[mine] for name in "ABC"]
        scores = [outputs[place] / (outputs[place] + outputs[1]) for place in (0, 2)]
        found.append(jt.decorrelation.distance_correlation(*scores))
    assert found[0] > 0.6
    assert found[1] < 0.5 * found[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (text(DISCO.replace("disco", "discco")), r"line \d+: unknown method 'discco' \(nearest: disco\)"),
        (text(DISCO.replace("from", "form")), r"unknown key 'form' \(nearest: from\). Allowed: method, from, of"),
        (text(DISCO.replace("of: B", "of: b")), r"'of' of 'decorrelate': no class 'b' \(nearest: B\), allowed: A, B"),
        (text(DISCO.replace("of: B", "of: B, signals: [B]")), "'signals' of 'decorrelate': no class 'B', allowed: A"),
        (text(DISCO.replace("of: B", "of: B, between: [A]")), "must be a list of two classes, got 1"),
        (text(DISCO.replace("of: B", "of: B, signals: [A, A]")), "'signals' gives a class twice"),
        (text(DISCO.replace("from: [FatJet_msoftdrop], ", "")), "'decorrelate' needs 'from'"),
        (text(DISCO.replace("[FatJet_msoftdrop]", "[a_b, a_b]")), "'from' gives a column twice"),
        (text(DISCO.replace("[FatJet_msoftdrop]", '["log(a_b"]')), r"line \d+: position 4: cannot be read"),
        *(
            (text(DISCO.replace("10", value)), "'strength' must be a number of at least 0, or a list of different ones")
            for value in ("-1", "[]", "[1, 1]", "[1, -1]", "strong", "true", ".inf", "[.nan]")
        ),
        (text(DISCO, model="{kind: bdt}"), "trees cannot be trained with 'decorrelate'.* expected kind: mlp"),
        (text(DISCO, training="{metric: auc}"), "the loss with its term decides .* expected metric: loss, got auc"),
        (text(DISCO, kind="mass", target="FatJet_genMass"), "'decorrelate' belongs to heads of the kind 'classes'"),
    ],
)
def test_a_bad_key_is_refused_with_its_line(content: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_config(content, name="head.yaml")


def test_a_protected_column_may_be_an_expression_and_must_exist(skims: Path, tmp_path: Path) -> None:
    bundle = jt.load_bundle("inclParTToyV1")
    key = '{method: disco, from: ["log(FatJet_msoftdrop)", MET_pt], of: B, strength: 1}'
    config = configured(skims, text(key, select="FatJet_truth == 0 or FatJet_msoftdrop > 20"))
    jets = prepare(config, bundle, survey(config, bundle), tmp_path)
    rows = np.concatenate(list(jets.store))
    skim = ak.from_parquet(skims / "toy1.parquet")
    mass = ak.flatten(skim.FatJet_msoftdrop).to_numpy()
    mine = rows[:, jets.layout["label"]] == 1
    found = rows[mine, jets.layout[f"{PROTECTED}log(FatJet_msoftdrop)"]]
    np.testing.assert_allclose(np.sort(found), np.sort(np.log(mass[mass > 20])), rtol=1e-6)
    wrong = configured(skims, text(DISCO.replace("FatJet_msoftdrop", "FatJet_msoftdrp")))
    with pytest.raises(MissingColumns, match=r"head.yaml, line \d+: .*FatJet_msoftdrp \(nearest: FatJet_msoftdrop"):
        survey(wrong, bundle)


@pytest.mark.parametrize(
    ("content", "changes", "message"),
    [
        (
            text(DISCO),
            {"msoftdrop": np.nan},
            r"line \d+: protected columns that are missing or not finite in jets of the class 'B': FatJet_msoftdrop "
            r"\(\d+ jets, first in event \d+ of .*toy1.parquet\). Leave these jets out with select:",
        ),
        (text(DISCO), {"msoftdrop": 90.0}, r"the same value in all jets of the class 'B': FatJet_msoftdrop"),
        (text(DISCO, weight="genWeight - 0.7"), {}, r"line \d+: \d+ jets of the class 'B' have a negative weight"),
        (
            text(DISCO, training="{batch: 64, seed: 5, threads: 1}"),
            {},
            r"line \d+: a batch of 64 has about 3\d jets of the class 'B'.* use training: {batch: (3|4)\d\d} or more",
        ),
    ],
)
def test_what_cannot_be_decorrelated_is_refused(
    content: str, changes: dict[str, float], message: str, tmp_path: Path
) -> None:
    write_toy(tmp_path / "toy1.parquet", 600, changes=changes)
    config = configured(tmp_path, content)
    bundle = jt.load_bundle(config.parent)
    with pytest.raises(InvalidValues, match=message):
        prepare(config, bundle, survey(config, bundle), tmp_path)
    assert FEWEST == 100


def test_a_training_whose_batches_never_have_the_term_is_refused(skims: Path, tmp_path: Path) -> None:
    """Fewer jets than a batch has."""
    torch()
    content = text(DISCO.replace("10", "1"), split="{use: 0.05}")
    with pytest.raises(InvalidValues, match=r"with the strength 1: no batch of the training has 100 jets of the class"):
        finetune(configured(skims, content + "least_jets: 1\n"), tmp_path / "head", plots=False)


def test_strengths_whose_loss_diverges_are_named_and_nothing_is_left(skims: Path, tmp_path: Path) -> None:
    torch()
    content = text(
        "{method: disco, from: FatJet_msoftdrop, of: B, strength: [0, 1e39]}",
        training="{epochs: 1, batch: 512, seed: 5, threads: 1}",
    )
    message = r"line \d+: with the strength 1e\+39: .*the loss is not finite.* Strengths without such problems: 0$"
    with pytest.raises(InvalidValues, match=message):
        finetune_strengths(configured(skims, content), tmp_path / "heads", plots=False)
    assert not any(tmp_path.iterdir())


def test_an_interrupted_scan_goes_on_with_the_same_heads(scan: Any, skims: Path, tmp_path: Path) -> None:
    content = text("{method: disco, from: FatJet_msoftdrop, of: B, strength: [0, 0.5, 20]}")

    def stop(strength: float) -> None:
        if strength == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune_strengths(configured(skims, content), tmp_path / "heads", plots=False, resume=True, start=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["heads.resume"]
    epochs: list[Any] = []
    with pytest.warns(ResumeWarning, match="goes on where an earlier run was interrupted"):
        again = finetune_strengths(
            configured(skims, content), tmp_path / "heads", plots=False, resume=True, follow=epochs.append
        )
    assert len(epochs) == len(again.results[20].history)
    for strength, result in again.results.items():
        assert result.head.card.sha256 == scan.results[strength].head.card.sha256
    assert [path.name for path in tmp_path.iterdir()] == ["heads"]


def test_functions_for_one_and_several_strengths(skims: Path, tmp_path: Path) -> None:
    several = configured(skims, text("{method: disco, from: FatJet_msoftdrop, of: B, strength: [1]}"))
    with pytest.raises(ConfigError, match="a list of strengths makes several heads: use finetune_strengths, or one"):
        finetune(several, tmp_path / "head")
    plain = configured(skims, text("null"))
    with pytest.raises(ConfigError, match="no strengths without the key 'decorrelate'"):
        finetune_strengths(plain, tmp_path / "heads")
    with pytest.raises(JettaggerError, match="no strength without the key"):
        plain.with_strength(1.0)
    names = [several.with_strength(value).name for value in (0.0, 1e-5, 0.3, 1000.0, 1e6, 1.00000001)]
    assert names == [f"AbcDisco{end}" for end in ("0", "1em05", "0p3", "1000", "1e06", "1p00000001")]


def test_the_command_with_a_list(skims: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch()
    path = skims / "scan.yaml"
    content = text("{method: disco, from: FatJet_msoftdrop, of: B, strength: [0, 3]}")
    path.write_text(content.replace("epochs: 6", "epochs: 1"))
    out = tmp_path / "heads"
    assert main(["finetune", str(path), "-o", str(out), "--dry-run"]) == 0
    assert "2 heads: AbcDisco0, AbcDisco3" in capsys.readouterr().out
    assert main(["finetune", str(path), "-o", str(out), "--no-plots"]) == 0
    shown, err = capsys.readouterr()
    assert "strength 3" in err
    assert "| 3 | A vs B |" in shown
    assert "| 3 | A vs B |" in (out / "strengths.md").read_text()
    pytest.importorskip("mplhep", reason="the extra plot is not installed")
    assert main(["finetune", str(path), "-o", str(out), "--force"]) == 0
    capsys.readouterr()
    assert (out / "dependence.png").stat().st_size > 5000
    assert main(["finetune", str(path), "-o", str(out), "--no-plots"]) == 2
    assert "exists already; use --force" in capsys.readouterr().err
    with pytest.raises(OutputError, match=r"has no head.json, so it is something else"):
        finetune(configured(skims, text(DISCO)), out, plots=False, force=True)
