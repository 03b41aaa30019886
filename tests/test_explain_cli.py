"""``jettagger explain``: tables, pictures and records of each method, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import onnx
import pytest

import jettagger as jt
from jettagger.bundles.places import PACKAGE
from jettagger.cli import main
from jettagger.explain import attribute
from jettagger.explain.batches import ExplainSettings, numbers_of_batch
from jettagger.files.root import EventFile
from jettagger.provenance import read_provenance
from jettagger.testing import write_pfnano

pytest.importorskip("mplhep", reason="the extra plot is not installed")


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_pfnano(tmp_path_factory.mktemp("nano") / "nano.root", 14, seed=3))


def explained(folder: Path, *line: str, model: str = "tinyParT") -> tuple[dict[str, Any], set[str]]:
    """The report of a command line, and the names of the files."""
    output = folder / "out"
    assert main(["explain", *line, "-m", model, "-o", str(output), "--threads", "1", "--force"]) == 0
    assert not (folder / "out.resume").exists()
    content = json.loads((output / "explanation.json").read_text(encoding="utf-8"))
    return content, {path.name for path in output.iterdir()}


def test_occlusion_needs_no_torch(nano: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["--method", "occlusion", "-d", "HbbvsQCD", "-n", "8", "--by", "pt=0,300,5000"]
    content, files = explained(tmp_path, nano, *line)
    assert {"explanation.md", "features.png", "groups.png", "kinds.png", "jets.png"} <= files
    assert any(name.startswith("sufficient_") for name in files)
    counts = content["counts"]
    assert sum(group["jets"] for group in content["groups"]) == counts["jets explained"] == 8
    read = counts.pop("jets in the chunks that were read")
    assert read == sum(number for text, number in counts.items() if not text.startswith("chunks"))
    assert {group["name"] for group in content["groups"]} <= {"0 <= pt < 300", "300 <= pt < 5000"}
    assert {"features", "groups", "kinds"} == set(content["groups"][0]["rankings"])
    record = read_provenance(tmp_path / "out" / "explanation.json")
    assert (record["step"], record["model"], record["configuration"]["method"]) == ("explain", "tinyParT", "occlusion")
    assert record["files"] == [nano]
    text = (tmp_path / "out" / "explanation.md").read_text(encoding="utf-8")
    assert "| variable | importance | share | signed |" in text
    assert "random sample" in capsys.readouterr().out


def test_variables_are_replaced_by_what_is_asked_for(nano: str, tmp_path: Path) -> None:
    """Constituents of other jets change other numbers than empty slots, of the same jets."""
    line = [nano, "--method", "occlusion", "-d", "logit probHbb", "-n", "5", "--no-plots"]
    empty, _ = explained(tmp_path, *line)
    others, _ = explained(tmp_path, *line, "--baseline", "others")
    record = read_provenance(tmp_path / "out" / "explanation.json")
    assert record["configuration"]["baseline"] == "others"
    assert others["groups"][0]["output"] == empty["groups"][0]["output"]
    rows = [
        {row["name"]: row["importance"][0] for row in item["groups"][0]["rankings"]["groups"]}
        for item in (empty, others)
    ]
    assert rows[0] != rows[1]
    kinds = [item["groups"][0]["rankings"]["kinds"] for item in (empty, others)]
    assert kinds[0] == kinds[1]


def test_permutation_is_the_loss_of_rejection(nano: str, tmp_path: Path) -> None:
    cuts = ["--signal", "pt > 300", "--background", "pt <= 300"]
    content, files = explained(tmp_path, nano, "--method", "permutation", "-d", "probHbb", *cuts)
    assert "permutation.png" in files
    assert content["rejection"][0] >= 1
    assert {"displacement", "pfcand_charge"} <= set(content["losses"])


@pytest.mark.slow
def test_methods_with_gradients(nano: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    content, files = explained(tmp_path, nano, "-d", "log HbbvsQCD", "-n", "6", "--order", "pfcand_dxysig")
    assert {"map_pf_features.png", "map_sv_vectors.png"} <= files
    assert content["order"] == "decreasing pfcand_dxysig"
    rows, columns = np.array(content["groups"][0]["maps"]["pf_features"], dtype=float).shape
    assert rows == 25
    assert columns > 5
    content, _ = explained(tmp_path, nano, "-d", "probHbb", "-n", "2", "--method", "integrated")
    assert content["checks"]["fraction of jets that are complete"] == 1
    line = ["-d", "probHbb", "-n", "2", "--method", "integrated", "--baseline", "others"]
    content, files = explained(tmp_path, nano, *line)
    assert content["checks"]["fraction of jets that are complete"] == 1
    assert "jets.png" in files
    content, _ = explained(tmp_path, nano, "-d", "mass", "-n", "3", "--method", "gradient-input", "--no-plots")
    assert content["unit"] == "GeV"


@pytest.mark.slow
@pytest.mark.data
def test_maps_of_the_2023_transformer(shared: Path, tmp_path: Path) -> None:
    """Of real jets; every slot with a constituent has a finite derivative."""
    pytest.importorskip("torch")
    folder = shared / "models" / "part-ak8-2023"
    if not (folder / "model.onnx").is_file():
        pytest.skip("no network")
    nano = str(shared / "cms" / "pfnano.root")
    content, files = explained(tmp_path, nano, "-d", "log HbbvsQCD", "-n", "8", model=str(folder))
    assert content["counts"]["jets explained"] == 8
    assert not any("not finite" in text or "differences" in text for text in content["remarks"])
    (group,) = content["groups"]
    for name, variables in content["variables"].items():
        assert f"map_{name}.png" in files
        values = np.array(group["maps"][name], dtype=float)
        assert values.shape[0] == len(variables)
        assert np.isfinite(values[:, 0]).all()
        assert (np.abs(values[:, 0]) > 0).any()


@pytest.mark.slow
def test_attention_weights_add_up_to_one(nano: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    content, files = explained(
        tmp_path, nano, "-d", "probHbb", "-n", "3", "--method", "attention", model="inclParTToyV1"
    )
    layers = next(iter(content["attention"].values()))
    assert any(name.startswith("attention_") for name in files)
    assert len(layers) == 5
    for weights in layers.values():
        assert 0.5 < np.array(weights)[0].sum() < 1.01  # of the leading constituents


@pytest.mark.slow
def test_two_samples_are_compared(nano: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    other = str(write_pfnano(tmp_path / "other.root", 14, seed=8))
    content, files = explained(tmp_path, nano, "--versus", other, "-d", "probHbb", "-n", "6")
    assert {group["sample"] for group in content["groups"]} == {"nano", "other"}
    assert "difference_pf_features.png" in files
    (change,) = content["differences"]
    values = {group["sample"]: group["output"][0] for group in content["groups"]}
    assert change["output"][0] == pytest.approx(values["nano"] - values["other"], abs=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("default::jettagger.files.resuming.ResumeWarning")
def test_an_interrupted_run_goes_on(
    nano: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    from jettagger.explain import running, sampling

    monkeypatch.setattr(sampling, "ROWS", 5)
    line = ["explain", nano, "-m", "tinyParT", "-d", "probHbb", "--threads", "1", "--no-plots", "-o"]
    assert main([*line, str(tmp_path / "whole")]) == 0

    def stops(*arguments: Any) -> Any:
        if list((tmp_path / "out.resume").rglob("*.npz")):
            raise KeyboardInterrupt
        return numbers_of_batch(*arguments)

    monkeypatch.setattr(running, "numbers_of_batch", stops)
    output = tmp_path / "out"
    assert main([*line, str(output)]) == 130
    assert not output.exists()
    stored = list((tmp_path / "out.resume").rglob("*.npz"))
    assert stored
    monkeypatch.setattr(running, "numbers_of_batch", numbers_of_batch)
    capsys.readouterr()
    assert main([*line, str(output)]) == 0
    assert "finished by an earlier run" in capsys.readouterr().err
    both = [json.loads((path / "explanation.json").read_text()) for path in (output, tmp_path / "whole")]
    assert both[0]["groups"] == both[1]["groups"]
    assert not (tmp_path / "out.resume").exists()


def test_a_dry_run_writes_nothing(nano: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["explain", nano, "-m", "tinyParT", "-d", "mass", "--method", "occlusion", "-o", str(tmp_path / "out")]
    assert main([*line, "--dry-run"]) == 0
    assert "mass of tinyParT can be explained with occlusion" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def with_a_tangent(folder: Path) -> Path:
    """The tiny network whose scores go through the arc tangent and the tangent, which has no implementation."""
    shutil.copytree(PACKAGE / "models" / "tinyParT", folder)
    model = onnx.load(folder / "model.onnx")
    (scores,) = (output.name for output in model.graph.output)
    for node in model.graph.node:
        node.output[:] = ["before" if name == scores else name for name in node.output]
    model.graph.node.append(onnx.helper.make_node("Atan", ["before"], ["angle"]))
    model.graph.node.append(onnx.helper.make_node("Tan", ["angle"], [scores], name="the tangent"))
    onnx.save(model, folder / "model.onnx")
    card = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    card["sha256"] = {}
    (folder / "bundle.json").write_text(json.dumps(card), encoding="utf-8")
    return folder


@pytest.mark.slow
def test_an_unknown_operator_is_in_the_report(nano: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Differences take the place of derivatives, with the same ranking."""
    pytest.importorskip("torch")
    folder = with_a_tangent(tmp_path / "net")
    line = [nano, "-d", "logit probHbb", "-n", "2", "--no-plots"]
    content, _ = explained(tmp_path, *line, model=str(folder))
    text = capsys.readouterr().out
    for place in (text, " ".join(content["remarks"]), (tmp_path / "out" / "explanation.md").read_text("utf-8")):
        assert "derivatives are central differences: the operator Tan (node 'the tangent', version 1" in place
    exact, _ = explained(tmp_path, *line)
    assert not any("differences" in text for text in exact["remarks"])
    rows, wanted = (item["groups"][0]["rankings"]["groups"] for item in (content, exact))
    for row, other in zip(rows, wanted, strict=True):
        assert row["name"] == other["name"]
        assert row["importance"][0] == pytest.approx(other["importance"][0], rel=0.05)


def test_jets_without_constituents_are_counted(tmp_path: Path) -> None:
    """And explained jets are the others."""
    path = tmp_path / "nano.root"
    write_pfnano(path, 6, seed=5)
    with EventFile(path) as file:
        events = file.read([f"{name}.{field}" for name in file.collections for field in file.fields(name)])
    links = events.FatJetPFCands
    whole = ak.count(events.FatJet.pt)
    without = ak.with_field(events, links[links.jetIdx != 0], "FatJetPFCands")
    tagger = jt.load_tagger("tinyParT", threads=1)
    found = attribute(tagger, without, "probHbb", method="occlusion", prefix="x")
    first = ak.num(events.FatJet.pt) > 0
    assert ak.all(ak.is_none(found.FatJet.x[first][:, 0]))
    assert ak.count(found.FatJet.x) == whole - ak.sum(first)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (["-d", "HbbvsQDC"], "nearest: HbbvsQCD"),
        (["-d", "probXbb / probHbb"], "probXbb"),
        (["-d", "1 + 1"], "contains no score"),
        (["-d", "mass", "--method", "saliencey"], "unknown method"),
        (["-d", "mass", "--by", "pt=3,2"], "increasing"),
        (["-d", "mass", "--by", "labl"], "column of the jets"),
        (["-d", "mass", "--by", "class"], "label"),
        (["-d", "mass", "--number", "0"], "at least 1"),
        (["-d", "mass", "--baseline", "other"], "nearest: others"),
        (["-d", "mass", "--where", "pt > 1e9"], "none of"),
        (["-d", "mass", "--order", "pfcand_dxsig"], "pfcand_dxysig"),
        (["-d", "mass", "--versus-where", "pt > 3"], "no --versus"),
        (["-d", "mass", "--method", "permutation"], "--signal and --background"),
        (["-d", "mass", "--method", "attention"], "shows no attention"),
        (["-d", "mass", "--precision", "float16"], "float16"),
        (["-d", "mass", "-m", "inclParTMDV1"], "model.onnx"),
        (["-d", "mass", "-m", "tinyPart"], "tinyParT"),
    ],
)
def test_bad_input_is_one_error(
    nano: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], line: list[str], text: str
) -> None:
    model = [] if "-m" in line else ["-m", "tinyParT"]
    method = [] if "--method" in line else ["--method", "occlusion"]
    output = tmp_path / "out"
    assert main(["explain", nano, *model, *method, *line, "-o", str(output), "--threads", "1"]) == 2
    error = capsys.readouterr().err
    assert text in error
    assert "Traceback" not in error
    assert not output.exists()


def test_an_existing_folder_and_inputs_are_not_overwritten(
    nano: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine", encoding="utf-8")
    line = ["explain", nano, "-m", "tinyParT", "-d", "mass", "--method", "occlusion", "-o"]
    assert main([*line, str(tmp_path / "out"), "--force"]) == 2
    assert main([*line, str(Path(nano).parent), "--force"]) == 2
    assert "holds an input" in capsys.readouterr().err
    assert Path(nano).exists()


def test_settings_have_the_defaults_of_the_command() -> None:
    assert (ExplainSettings().method, ExplainSettings().jets) == ("saliency", 2000)
