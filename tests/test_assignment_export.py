"""ONNX files of assignment networks: the same numbers for any number of events and objects, names, flags."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from assignment_networks import TOPS, converted, event, network, some_inputs, tensors, ttH

from jettagger.assignment.ensembles import mean_network
from jettagger.assignment.exporting import FLAGS, export_network, onnx_names
from jettagger.assignment.statistics import log_inputs
from jettagger.errors import ConfigError, OutputError

torch = pytest.importorskip("torch")
onnxruntime = pytest.importorskip("onnxruntime")


def session(path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def flags(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(session(path).get_modelmeta().custom_metadata_map[FLAGS])
    return content


def close(made: Any, expected: Any) -> None:
    assert not np.isnan(made).any()
    np.testing.assert_allclose(made, expected, rtol=1e-5, atol=1e-5)


def feeds(description: Any, values: Any, masks: Any) -> dict[str, Any]:
    arrays = {f"{item.name}_data": values[item.name].numpy() for item in description.inputs}
    return arrays | {f"{item.name}_mask": masks[item.name].numpy() for item in description.inputs}


@pytest.mark.data
def test_the_file_of_the_example_equals_torch_for_1_to_25_jets_and_any_batch(tmp_path: Path) -> None:
    net, description = converted(), ttH().event
    path = export_network(net, tmp_path / "ttH.onnx")
    runner = session(path)
    assert [item.name for item in runner.get_inputs()] == ["Momenta_data", "Momenta_mask", "Met_data", "Met_mask"]
    assert runner.get_inputs()[0].shape == ["batch_size", "num_Momenta", 9]
    for slots in (1, 2, 3, 8, 19, 25):
        for events in (1, 2, slots + 2):  # the last has events without objects
            values, masks = some_inputs(description, events, slots, seed=slots)
            values = {name: value.abs() for name, value in values.items()}
            masks["Met"][-1] = False
            raw = {name: value.numpy() for name, value in values.items()}
            logs = log_inputs(raw, {name: mask.numpy() for name, mask in masks.items()}, description)
            with torch.no_grad():
                outputs = net(tensors(logs), masks)
            names = onnx_names(description, output_log=True)[1]
            made = dict(zip(names, runner.run(None, feeds(description, values, masks)), strict=True))
            for name in ("lt", "ht", "h"):
                close(made[f"{name}_assignment_log_probability"], outputs.assignments[name])
                logit = torch.nn.functional.logsigmoid(outputs.detections[name])
                close(made[f"{name}_detection_log_probability"], logit)
            for key, value in outputs.regressions.items():
                close(made[key], value)
            close(made["EVENT/signal"], torch.log_softmax(outputs.classifications["EVENT/signal"], 1))


#: also options of ours
OWN = {
    "jettagger": {"pair_features": ["ln_kt", "ln_mass"], "mass_features": True, "restrict_to_collections": True},
    "normalization": "MaskedBatchNorm",
    "linear_block_type": "Resnet",
    "transformer_type": "NormFirst",
}


@pytest.mark.parametrize("changes", [{}, OWN], ids=["plain", "own"])
def test_files_have_all_kinds_of_inputs_probabilities_and_embeddings(tmp_path: Path, changes: dict[str, Any]) -> None:
    description = event()
    net = network(description, **changes)
    path = export_network(net, tmp_path / "x.onnx", input_log=False, output_log=False, embeddings=True, opset=15)
    names = onnx_names(description, embeddings=True)[1]
    assert names[:3] == tuple(f"{name}_assignment_probability" for name in ("t1", "t2", "x"))
    assert names[-6:-3] == ("t2/q2/embedding_vector", "x/PARTICLE/embedding_vector", "x/a/embedding_vector")
    runner = session(path)
    assert [item.name for item in runner.get_outputs()] == list(names)
    for slots, events in ((1, 1), (4, 6)):
        values, masks = some_inputs(description, events, slots)
        values = {name: value.abs() for name, value in values.items()}
        with torch.no_grad():
            outputs = net(values, masks)
        made = dict(zip(names, runner.run(None, feeds(description, values, masks)), strict=True))
        for name in ("t1", "t2", "x"):
            close(made[f"{name}_assignment_probability"], torch.exp(outputs.assignments[name]))
            close(made[f"{name}_detection_probability"], torch.sigmoid(outputs.detections[name]))
        for key, value in outputs.vectors.items():
            close(made[f"{key}/embedding_vector"], value)
    about = flags(path)
    assert (about["input_log"], about["output_log"], about["embeddings"]) == (False, False, True)
    from jettagger.topology.eventfile import parse_event_text

    assert parse_event_text(about["event"]) == description


def test_files_are_complete_or_absent(tmp_path: Path) -> None:
    net = network()
    with pytest.raises(ConfigError, match="opset 9 cannot be written, expected one from 15 to 20"):
        export_network(net, tmp_path / "x.onnx", opset=9)
    with pytest.raises(OutputError):
        export_network(net, tmp_path / "absent" / "x.onnx")
    assert not list(tmp_path.iterdir())
    (tmp_path / "x.onnx").write_bytes(b"mine")
    with pytest.raises(OutputError):
        export_network(net, tmp_path / "x.onnx")
    assert (tmp_path / "x.onnx").read_bytes() == b"mine"
    assert flags(export_network(net, tmp_path / "x.onnx", force=True))["input_log"] is True


@pytest.mark.parametrize("several", [False, True], ids=["one", "mean"])
@pytest.mark.parametrize("logit", [-300.0, -95.0, 0.0, 95.0, 300.0])
def test_particles_that_are_surely_absent_or_there_have_finite_logarithms(
    tmp_path: Path, logit: float, several: bool
) -> None:
    networks = [network(event(TOPS)) for _ in range(2 if several else 1)]
    for number, net in enumerate(networks):
        for branch in net.particles:
            torch.nn.init.constant_(branch.detection.output.bias, logit + number)
    net = mean_network(networks)
    made = session(export_network(net, tmp_path / "x.onnx", input_log=False))
    values, masks = some_inputs(net.description)
    values["Jets"] = values["Jets"].abs()
    with torch.no_grad():
        expected = torch.nn.functional.logsigmoid(net(values, masks).detections["t1"])
    assert torch.isfinite(expected).all()
    found = made.run(["t1_detection_log_probability"], feeds(net.description, values, masks))[0]
    close(found, expected)
