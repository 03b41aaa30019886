"""``jettagger models``: what it prints, and with which exit status."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from networks import write_bundle, write_pooled

from jettagger.bundles.bundle import Bundle
from jettagger.bundles.places import PACKAGE, user_folder
from jettagger.bundles.registry import available
from jettagger.cli import main

CARD = {
    "version": "3",
    "title": "a toy",
    "kinds": {"prob": ["label_*"], "mass": ["mass"], "hidden": ["hid*"]},
    "aliases": {"Xbb": "probHbb"},
    "mass": {"unit": "factor", "scales": "msoftdrop", "target": "generated mass"},
    "domain": {"pt": [200, 2500], "abseta": [0, 2.4]},
    "rounding": {"jets": 24, "median": 0.0019, "q99": 0.041, "largest": 0.05},
    "licence": "CC0",
    "citation": "nobody",
    "source": "a test",
}


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(["models", *arguments])
    out, err = capsys.readouterr()
    return status, out, err


@pytest.mark.parametrize("verb", ["list", "show", "check", "add"])
def test_help_teaches(capsys: pytest.CaptureFixture[str], verb: str) -> None:
    status, out, _ = run(capsys, verb, "--help")
    assert status == 0
    assert "examples:" in out
    assert f"jettagger models {verb}" in out
    assert max(map(len, out.splitlines())) <= 110


def test_overviews(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "models" in capsys.readouterr().out
    status, out, _ = run(capsys, "--help")
    assert status == 0
    assert "JETTAGGER_MODELS" in out
    for verb in ("list", "show", "check", "add"):
        assert f"    {verb} " in out


@pytest.mark.parametrize("arguments", [(), ("shwo", "tinyParT"), ("show",), ("check", "tinyParT", "--seed", "x")])
def test_wrong_use(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert err.startswith("jettagger: error: ")
    assert "jettagger models" in err


class TestList:
    def test_packaged(self, capsys: pytest.CaptureFixture[str]) -> None:
        status, out, _ = run(capsys, "list")
        assert status == 0
        lines = {line.split()[0]: line for line in out.splitlines() if line}
        assert "37 prob, 1 mass, 128 hidden" in lines["tinyParT"]
        assert " yes " in lines["tinyParT"]
        assert str(PACKAGE / "models" / "tinyParT") in lines["tinyParT"]
        assert " missing " in lines["inclParTMDV1"]
        assert lines["name"].split()[:3] == ["name", "jets", "prefix"]
        assert lines["inclParTMDV1"].split()[:3] == ["inclParTMDV1", "AK8", "inclParTMDV1"]
        assert lines["deepjet-v03"].split()[:3] == ["deepjet-v03", "AK4", "DeepJet"]
        assert " 5 inputs " in lines["deepjet-v03"]
        # described by what comes with their weights, and known all the same
        assert {"particlenet-ak8-md", "part-ak8-2023", "particlenet-ak4"} <= set(lines)
        assert " missing " in lines["particlenet-ak4"]
        assert str(user_folder()) in lines["searched:"]

    def test_a_broken_model_is_named_and_does_not_stop_the_list(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_bundle(tmp_path / "good", card=CARD)
        (write_bundle(tmp_path / "bad") / "model.onnx").write_bytes(b"")
        monkeypatch.setenv("JETTAGGER_MODELS", str(tmp_path))
        status, out, _ = run(capsys, "list")
        assert status == 0
        lines = {line.split()[0]: line for line in out.splitlines() if line}
        assert "3 prob, 1 mass, 4 hidden" in lines["good"]
        assert "broken" in lines["bad"]
        assert f"broken bad: {tmp_path / 'bad' / 'model.onnx'} is empty" in out


class TestShow:
    def test_table(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        folder = write_bundle(tmp_path / "m", card=CARD)
        status, out, _ = run(capsys, "show", str(folder))
        assert status == 0
        bundle = Bundle.from_folder(folder)
        for text in (
            "toy: a toy",
            "FatJet_toy_<output>",
            "factor on msoftdrop; generated mass",
            "pt 200 to 2500 GeV; |eta| 0 to 2.4",
            "moves a probability by 0.0019 (median of 24 jets), 0.041 (99 %), 0.05 (largest)",
            "CC0",
            "nobody",
            "a test",
            bundle.digest,
            "input pf_features: 3 of pf, length 4 to 20",
            "input sv_mask: 1 of sv, length 1 to 5, mask",
            "pfcand_pt_log_nopuppi",
            "ln GeV",
            "3 outputs of kind prob:\n  probHbb probHcc probQCDothers",
            "Xbb    probHbb",
            "any number of jets at once",
        ):
            assert text in out

    def test_without_weights(self, capsys: pytest.CaptureFixture[str]) -> None:
        status, out, _ = run(capsys, "show", "inclParTMDV1")
        assert status == 0
        assert "DNNTuples" in out
        assert "hidNeurons000 ... hidNeurons127" in out
        assert "GeV; mass of the generated resonance" in out

    def test_what_is_not_stated_is_said(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        _, out, _ = run(capsys, "show", str(write_bundle(tmp_path / "m", batch=4, axes={"pf": 20, "sv": 5})))
        lines = {line.partition("  ")[0]: line.rpartition("  ")[2] for line in out.splitlines()}
        for name in ("licence", "citation", "training domain", "mass"):
            assert lines[name].strip() == "not stated", name
        assert "always 4 jets at once" in out
        assert "input pf_features: 3 of pf, length 20, puppiWeight >= 0.01\n" in out
        assert "there is no bundle.json" in out

    def test_json(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        folder = write_bundle(tmp_path / "m", card=CARD)
        status, out, _ = run(capsys, "show", str(folder), "--json")
        content = json.loads(out)["result"]
        bundle = Bundle.from_folder(folder)
        assert status == 0
        assert content["outputs"] == {
            "prob": ["probHbb", "probHcc", "probQCDothers"],
            "mass": ["mass"],
            "hidden": [f"hidNeurons{n:03d}" for n in range(4)],
        }
        assert [(group["name"], group["min_length"], group["max_length"]) for group in content["inputs"]] == [
            (group.name, group.min_length, group.max_length) for group in bundle.groups
        ]
        assert content["inputs"][0]["variables"][0]["unit"] == "ln GeV"
        assert content["mass"] == CARD["mass"]
        assert content["domain"]["pt"] == [200, 2500]
        assert (content["digest"], content["weights"], content["fixed_batch"]) == (bundle.digest, True, None)
        assert content["sha256"]["model.onnx"] == bundle.graph.sha256  # type: ignore[union-attr]
        assert (content["licence"], content["citation"], content["source"]) == ("CC0", "nobody", "a test")

    def test_unknown(self, capsys: pytest.CaptureFixture[str]) -> None:
        status, out, err = run(capsys, "show", "tinyPart")
        assert (status, out) == (2, "")
        assert "no model 'tinyPart' (nearest: tinyParT" in err


class TestCheck:
    def test_good(self, capsys: pytest.CaptureFixture[str]) -> None:
        status, out, _ = run(capsys, "check", "tinyParT")
        assert status == 0
        checks = [line for line in out.splitlines() if line.startswith("ok  ")]
        assert out.startswith(f"tinyParT passes {len(checks)} of {len(checks)} checks: ok")
        assert "padding of pf: probabilities" in out

    def test_bad(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        status, out, _ = run(capsys, "check", str(write_bundle(tmp_path / "m", fault="empty")))
        assert status == 1
        checks = [line for line in out.splitlines() if line.startswith(("ok  ", "FAILED  "))]
        assert f" passes {len(checks) - 1} of {len(checks)} checks: FAILED, do not use it: no sv" in out.splitlines()[0]
        assert any(line.startswith("FAILED  no sv") for line in out.splitlines())

    def test_json(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        status, out, _ = run(capsys, "check", str(write_bundle(tmp_path / "m", fault="order")), "--json", "--seed", "3")
        content = json.loads(out)["result"]
        assert status == 1
        assert content["passed"] is False
        failed = {item["name"] for item in content["checks"] if item["passed"] is False}
        assert "order of pf: others" in failed
        for item in content["checks"]:
            assert set(item) == {"name", "passed", "measured", "tolerance", "detail"}

    def test_golden(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        folder = write_bundle(tmp_path / "m", card=CARD | {"golden": "golden.npz"})
        assert run(capsys, "check", str(folder))[0] == 1  # the card names a file that is not there yet
        status, out, _ = run(capsys, "check", str(folder), "--write-golden", str(folder / "golden.npz"))
        assert status == 0
        assert f"wrote {folder / 'golden.npz'}" in out
        status, out, _ = run(capsys, "check", str(folder))
        assert status == 0
        assert "4 jets of golden.npz" in out

    def test_no_golden_vectors_of_a_bad_model(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        folder = write_bundle(tmp_path / "m", fault="order")
        assert run(capsys, "check", str(folder), "--write-golden", str(folder / "golden.npz"))[0] == 1
        assert not (folder / "golden.npz").exists()

    def test_no_weights(self, capsys: pytest.CaptureFixture[str]) -> None:
        status, out, err = run(capsys, "check", "inclParTMDV1")
        assert (status, out) == (2, "")
        assert "the file model.onnx is missing" in err


class TestAdd:
    def test_add_and_name(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        folder = write_bundle(tmp_path / "mine")
        status, out, _ = run(capsys, "add", str(folder), "--name", "yours")
        assert (status, out) == (0, f"added yours: {user_folder() / 'yours'}\n")
        assert available()["yours"] == user_folder() / "yours"
        status, out, _ = run(capsys, "show", "yours")
        assert status == 0

    def test_taken(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        folder = write_bundle(tmp_path / "mine")
        assert run(capsys, "add", str(folder))[0] == 0
        status, _, err = run(capsys, "add", str(folder))
        assert status == 2
        assert "exists already; use --force" in err
        assert run(capsys, "add", str(folder), "--force")[0] == 0

    def test_bad_folder(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        status, _, err = run(capsys, "add", str(tmp_path / "absent"))
        assert status == 2
        assert "is not a folder" in err
        assert not user_folder().exists() or os.listdir(user_folder()) == []


@pytest.mark.filterwarnings("ignore:the network of 'toy':RuntimeWarning")
def test_add_says_that_padding_is_seen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "add", str(write_pooled(tmp_path / "toy", "mean", {"var_length": 40}))]) == 0
    assert "padding changes its scores: jets run with 40 slots, as described (pf)" in capsys.readouterr().out
    assert main(["models", "add", str(write_pooled(tmp_path / "sum", "sum", {"var_length": 40}))]) == 0
    assert "padding" not in capsys.readouterr().out
