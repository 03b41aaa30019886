"""Exports of trained networks: files and folders for inference, names, records, the comparison with torch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from assignment_networks import TOPS, event, network, some_inputs

from jettagger.assignment.blocks import AssignmentEvents
from jettagger.assignment.card import read_card
from jettagger.assignment.ensembles import mean_network
from jettagger.assignment.exporting import FLAGS, export_network
from jettagger.assignment.model_export import export_model, largest_difference
from jettagger.assignment.model_outputs import open_model
from jettagger.assignment.weights import write_network
from jettagger.cli import main
from jettagger.errors import InputFileError, MismatchError, OutputError
from jettagger.provenance import read_provenance

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A folder as a training writes it, with two networks of different normalisation of one feature."""
    folder = tmp_path / "trained"
    folder.mkdir()
    for seed in (0, 1):
        net = network(event(TOPS), seed=seed)
        net.inputs[0].mean[1] = 4.0
        net.inputs[0].std[1] = 0.5
        write_network(folder / f"network_{seed}.pt", net)
    return folder


@pytest.mark.slow
def test_a_folder_is_what_inference_takes(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "tops"
    assert main(["assignment", "export", str(trained / "network_0.pt"), "-o", str(folder), "--title", "two tops"]) == 0
    said = capsys.readouterr().out
    assert "t1_assignment_log_probability" in said
    assert "ln(x + 1) is taken by the network; largest difference from torch: " in said
    assert {path.name for path in folder.iterdir()} == {"model.onnx", "event.yaml", "options.json", "assigner.json"}
    card = read_card(folder / "assigner.json")
    assert (card.name, card.title, card.input_log, card.output_log) == ("tops", "two tops", True, True)
    assert card.slots == {"Jets": None}
    pt = card.statistics["Jets"]["pt"]
    assert (pt.mean, pt.std) == (4.0, 0.5)
    record = read_provenance(folder / "assigner.json")
    assert (record["step"], record["files"]) == ("assignment export", [str(trained / "network_0.pt")])
    assert 0 <= record["configuration"]["difference"] < 1e-4
    values, masks = some_inputs(event(TOPS), 4, 6)
    raw = {"Jets": np.abs(values["Jets"].numpy())}
    block = AssignmentEvents(raw, {"Jets": masks["Jets"].numpy()})
    log_probabilities = open_model(folder, threads=1).outputs(block).log_probabilities
    net = network(event(TOPS))
    net.inputs[0].mean[1] = 4.0
    net.inputs[0].std[1] = 0.5
    logs = [feature.log for feature in event(TOPS).inputs[0].features]
    with torch.no_grad():
        made = net({"Jets": torch.from_numpy(np.where(logs, np.log1p(raw["Jets"]), raw["Jets"]))}, masks)
    np.testing.assert_allclose(log_probabilities["t1"][:2], made.assignments["t1"][:2], rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_an_ensemble_is_one_file(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "tops.onnx"
    call = ["assignment", "export", str(trained), "-o", str(path), "-g"]
    flags = ["--no-input-log-transform", "--no-output-log-transform", "--output-embeddings", "--opset", "15"]
    assert main([*call, *flags]) == 0
    said = capsys.readouterr()
    assert "the mean distributions of 2 networks" in said.out
    assert "ln(x + 1) is taken before it" in said.out
    assert "flags without a use here: -g (networks are exported on the CPU)" in said.err
    model = onnx.load(path)
    assert [item.name for item in model.graph.input] == ["Jets_data", "Jets_mask"]
    names = [item.name for item in model.graph.output]
    assert names[:4] == [f"{name}_{part}_probability" for part in ("assignment", "detection") for name in ("t1", "t2")]
    assert names[4] == "EVENT/embedding_vector"
    assert model.opset_import[0].version == 15
    about = json.loads(model.metadata_props[0].value)
    assert model.metadata_props[0].key == FLAGS
    assert (about["input_log"], about["output_log"], about["embeddings"]) == (False, False, True)
    assert main(call) == 2
    assert "exists" in capsys.readouterr().err
    assert main([*call, "--force"]) == 0


@pytest.mark.slow
def test_members_with_another_normalisation_have_none_in_the_card(trained: Path, tmp_path: Path) -> None:
    same = export_model(trained, tmp_path / "same")
    assert len(same.networks) == 2
    assert read_card(tmp_path / "same" / "assigner.json").statistics["Jets"]["pt"].mean == 4.0
    write_network(trained / "network_1.pt", network(event(TOPS), seed=1), force=True)
    export_model(trained, tmp_path / "other")
    assert read_card(tmp_path / "other" / "assigner.json").statistics == {}


@pytest.mark.slow
def test_all_kinds_of_inputs_are_compared_and_a_difference_is_refused(tmp_path: Path) -> None:
    net = network()
    path = export_network(net, tmp_path / "x.onnx", embeddings=True)
    name, difference = largest_difference(net, path, embeddings=True)
    assert 0 <= difference < 1e-4
    assert name
    other = network(seed=1)
    with pytest.raises(MismatchError, match=r"the ONNX file differs from the network by [\d.e+-]+ in t1_"):
        largest_difference(other, path, embeddings=True)
    restricted = network(jettagger={"restrict_to_collections": True})
    restricted.load_state_dict(net.state_dict())
    with pytest.raises(MismatchError, match="differs from the network by inf"):
        largest_difference(restricted, path, embeddings=True)
    ensemble = mean_network([net, other])
    assert largest_difference(ensemble, export_network(ensemble, tmp_path / "mean.onnx"))[1] < 1e-4


def test_what_cannot_be_exported_is_refused(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(MismatchError, match="is one file: a mapping, a name and a title are parts of a folder"):
        export_model(trained, tmp_path / "x.onnx", name="x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputFileError, match="is not the folder of a training"):
        export_model(tmp_path / "empty", tmp_path / "x")
    (tmp_path / "empty" / "mine.txt").write_text("x")
    with pytest.raises(OutputError, match=r"has no assigner\.json, so it is something else"):
        export_model(trained / "network_0.pt", tmp_path / "empty", force=True)
    assert {path.name for path in tmp_path.iterdir()} == {"trained", "empty"}
