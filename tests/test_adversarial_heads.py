"""Heads against an adversary: what the key does, that the referee judges, that a break does not matter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_decorrelated_heads import configured, correlation, skims, text

from jettagger.cli import main
from jettagger.decorrelation.referee import Judgement
from jettagger.discriminants import Measured
from jettagger.errors import ConfigError
from jettagger.files.resuming import ResumeWarning
from jettagger.finetuning import finetune, finetune_strengths, game
from jettagger.finetuning.game import Dependence

__all__ = ["skims"]

TRAINING = "{epochs: 14, batch: 512, rate: 5e-3, seed: 5, threads: 1}"


def adversary(strength: str = "20", **keys: str) -> str:
    options = {"warmup": "2", "ramp": "5", "layers": "[16]", **keys}
    listed = ", ".join(f"{name}: {value}" for name, value in options.items())
    return text(
        f"{{method: adversary, from: [FatJet_msoftdrop], of: B, strength: {strength}, adversary: {{{listed}}}}}",
        training=TRAINING,
    )


def needed() -> None:
    pytest.importorskip("torch", reason="the extra train is not installed")
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")


@pytest.fixture(scope="module")
def scan(skims: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    needed()
    return finetune_strengths(
        configured(skims, adversary("[0, 20]")), tmp_path_factory.mktemp("scan") / "heads", plots=False
    )


def test_the_score_follows_the_mass_less(scan: Any, skims: Path) -> None:
    plain, against = (scan.results[strength] for strength in (0.0, 20.0))
    assert abs(correlation(plain.head, skims)) > 0.6
    assert abs(correlation(against.head, skims)) < 0.25
    gains = [result.dependence[0].referee["FatJet_msoftdrop"].gain.value for result in (plain, against)]
    assert gains[1] < 0.2 * gains[0]
    assert plain.dependence[0].adversary is None
    assert plain.dependence[0].verdict == "dependent"
    assert len(against.history) == 14
    assert [epoch.best for epoch in against.history] == 13 * [False] + [True]


def test_a_strength_of_zero_is_the_head_without(scan: Any, skims: Path, tmp_path: Path) -> None:
    content = "\n".join(line for line in adversary().splitlines() if not line.startswith("decorrelate"))
    finetune(configured(skims, content), tmp_path / "plain", plots=False)
    assert (tmp_path / "plain/head.onnx").read_bytes() == (scan.folder / "AbcAdversary0/head.onnx").read_bytes()


def test_what_was_read_is_in_all_files(scan: Any) -> None:
    for strength, result in scan.results.items():
        folder = scan.folder / f"AbcAdversary{strength:g}"
        expected = [item.summary() for item in result.dependence]
        assert json.loads((folder / "head.json").read_text())["metrics"]["adversary"] == expected
        assert json.loads((folder / "report/report.json").read_text())["adversary"] == expected
        assert f"Decorrelation: {result.dependence[0]}." in (folder / "report/report.md").read_text()
        assert str(result.dependence[0]) in (scan.folder / "strengths.md").read_text()
    heads = json.loads((scan.folder / "strengths.json").read_text())["heads"]
    assert [head["adversary"][0]["verdict"] for head in heads] == [
        result.dependence[0].verdict for result in scan.results.values()
    ]


@pytest.mark.parametrize("reads", ["density", "bins"])
def test_an_interrupted_game_gives_the_same_head(skims: Path, tmp_path: Path, reads: str) -> None:
    needed()
    config = configured(skims, adversary(reads=reads, steps="1").replace("epochs: 14", "epochs: 9"))
    reference = finetune(config, tmp_path / "reference", plots=False)

    def stop(epoch: Any) -> None:
        if epoch.number == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(config, tmp_path / "head", plots=False, resume=True, follow=stop)
    with pytest.warns(ResumeWarning, match="goes on"):
        result = finetune(config, tmp_path / "head", plots=False, resume=True)
    for name in ("head.onnx", "head.json"):
        assert (tmp_path / "head" / name).read_bytes() == (tmp_path / "reference" / name).read_bytes()
    assert result.dependence == reference.dependence
    assert result.history == reference.history


def test_a_head_that_has_escaped_is_said_to_have_failed(
    skims: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An adversary that reads nothing from a score that follows the mass."""
    needed()
    monkeypatch.setattr(game, "adversary_gain", lambda *_: Measured(0.0, 0.001))
    (skims / "escaped.yaml").write_text(adversary("1e-9").replace("epochs: 14", "epochs: 8"))
    assert main(["finetune", str(skims / "escaped.yaml"), "-o", str(tmp_path / "head"), "--no-plots"]) == 0
    said = capsys.readouterr().out
    assert "Decorrelation: failed (in nats: own adversary 0.0000 ± 0.0010; referee FatJet_msoftdrop 0." in said
    assert "A network that failed has escaped its adversary" in said
    assert json.loads((tmp_path / "head/head.json").read_text())["metrics"]["adversary"][0]["verdict"] == "failed"
    assert "escaped its adversary" in (tmp_path / "head/report/report.md").read_text()


def test_the_verdict_is_that_of_the_worst_column() -> None:
    nothing, something = (Judgement(Measured(value, 0.001), 99) for value in (0.0, 0.1))
    assert Dependence(nothing.gain, {"a": nothing, "b": something}).verdict == "failed"
    assert Dependence(something.gain, {"a": nothing, "b": something}).verdict == "dependent"
    assert Dependence(something.gain, {"a": nothing}).verdict == "decorrelated"


TWO = adversary(reads="bins").replace("[FatJet_msoftdrop]", "[FatJet_msoftdrop, FatJet_pt]")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (adversary(warmup="10"), "the strength of the adversary rises until epoch 15 of 14: use more epochs"),
        (adversary(reads="bin"), r"reads.*nearest: bins"),
        (adversary(step="3"), r"unknown key 'step' \(nearest: steps"),
        (
            adversary(reads="bins").replace("[FatJet_msoftdrop]", "[FatJet_msoftdrop, FatJet_pt]"),
            "bins takes one column",
        ),
        (adversary().replace("of: B", "of: B, between: [A, B]"), "'between'"),
        (
            adversary().replace("method: adversary", "method: disco"),
            "belongs to method: adversary, got disco",
        ),
        (adversary().replace("method: adversary", "method: adversry"), "nearest: adversary"),
    ],
)
def test_what_is_refused(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        configured(tmp_path, content)
