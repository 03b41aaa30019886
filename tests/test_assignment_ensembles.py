"""Ensembles of assignment networks: means of their distributions, in torch and in ONNX; folders of trainings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from assignment_networks import TOPS, event, network, some_inputs

from jettagger.assignment.ensembles import mean_network, network_files, read_model
from jettagger.assignment.exporting import export_network, onnx_names
from jettagger.assignment.weights import write_network
from jettagger.errors import InputFileError, InvalidValues, MismatchError

torch = pytest.importorskip("torch")


def outputs(net: Any, values: Any, masks: Any) -> Any:
    with torch.no_grad():
        return net(values, masks)


def test_an_ensemble_has_the_mean_distributions() -> None:
    members = [network(seed=seed) for seed in range(3)]
    values, masks = some_inputs(event(), 7, 5)
    made = outputs(mean_network(members), values, masks)
    parts = [outputs(member, values, masks) for member in members]

    def mean(function: Any) -> Any:
        return np.mean([function(part).double().numpy() for part in parts], axis=0)

    for name in made.assignments:
        expected = mean(lambda part, name=name: part.assignments[name].exp())
        np.testing.assert_allclose(made.assignments[name].exp(), expected, rtol=1e-5, atol=1e-7)
        assert not made.assignments[name].isnan().any()
        expected = mean(lambda part, name=name: part.detections[name].sigmoid())
        np.testing.assert_allclose(made.detections[name].sigmoid(), expected, rtol=1e-5)
    for key in made.regressions:
        expected = mean(lambda part, key=key: part.regressions[key])
        np.testing.assert_allclose(made.regressions[key], expected, rtol=1e-5, atol=1e-5)
    classes = mean(lambda part: part.classifications["EVENT/signal"].softmax(1))
    np.testing.assert_allclose(made.classifications["EVENT/signal"].exp(), classes, rtol=1e-5)
    assert made.vectors["EVENT"].shape == (7, 24)


def test_confident_members_do_not_overflow() -> None:
    members = [network(event(TOPS), seed=seed) for seed in range(2)]
    for place, member in enumerate(members):
        bias = member.particles[0].detection.state_dict()
        name = next(name for name in bias if name.endswith("bias") and bias[name].shape == (1,))
        bias[name] += 200.0 * (-1) ** place
    values, masks = some_inputs(event(TOPS), 4, 4)
    logit = outputs(mean_network(members), values, masks).detections["t1"]
    np.testing.assert_allclose(logit, 0, atol=1e-4)  # one is sure of yes, the other of no
    same = outputs(mean_network([members[0], members[0]]), values, masks).detections["t1"]
    np.testing.assert_allclose(same, outputs(members[0], values, masks).detections["t1"], rtol=1e-5)


@pytest.mark.slow
def test_the_onnx_file_of_an_ensemble_equals_torch(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    description = event()
    ensemble = mean_network([network(seed=seed) for seed in range(3)])
    path = export_network(ensemble, tmp_path / "mean.onnx", input_log=False, embeddings=True)
    runner = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = onnx_names(description, output_log=True, embeddings=True)[1]
    for slots, events in ((1, 1), (5, 7), (8, 2)):  # also events without objects, and with too few
        values, masks = some_inputs(description, events, slots)
        feeds = {f"{item.name}_data": values[item.name].numpy() for item in description.inputs}
        feeds |= {f"{item.name}_mask": masks[item.name].numpy() for item in description.inputs}
        made = dict(zip(names, runner.run(None, feeds), strict=True))
        expected = outputs(ensemble, values, masks)
        pairs = {f"{name}_assignment_log_probability": value for name, value in expected.assignments.items()}
        pairs |= {
            f"{name}_detection_log_probability": torch.nn.functional.logsigmoid(value)
            for name, value in expected.detections.items()
        }
        pairs |= expected.regressions | expected.classifications
        pairs |= {f"{key}/embedding_vector": value for key, value in expected.vectors.items()}
        assert set(pairs) == set(made)
        for name, value in pairs.items():
            assert not np.isnan(made[name]).any()
            np.testing.assert_allclose(made[name], value, rtol=1e-5, atol=1e-5)


def test_folders_of_trainings_are_one_network_or_the_mean_of_all(tmp_path: Path) -> None:
    one, several = tmp_path / "one", tmp_path / "several"
    one.mkdir()
    several.mkdir()
    members = {seed: network(event(TOPS), seed=seed) for seed in (2, 10)}
    write_network(one / "network.pt", members[2])
    for seed, member in members.items():
        write_network(several / f"network_{seed}.pt", member)
    assert [file.name for file in network_files(several)] == ["network_2.pt", "network_10.pt"]
    values, masks = some_inputs(event(TOPS), 4, 4)
    for path, expected in (
        (one, members[2]),
        (one / "network.pt", members[2]),
        (several, mean_network([*members.values()])),
    ):
        found = read_model(path)
        assert not found.training
        assert torch.equal(
            outputs(found, values, masks).assignments["t1"], outputs(expected, values, masks).assignments["t1"]
        )


def test_what_is_no_ensemble_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidValues, match="no networks"):
        mean_network([])
    with pytest.raises(MismatchError, match="network 2 of the ensemble has another event file"):
        mean_network([network(), network(event(TOPS))])
    other = network()
    other.class_counts = {"EVENT/signal": 2}
    with pytest.raises(MismatchError, match=r"network 2 of the ensemble has the classes \{'EVENT/signal': 2\}"):
        mean_network([network(), other])
    with pytest.raises(InputFileError, match="no such file or folder"):
        read_model(tmp_path / "absent")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputFileError, match=r"expected network\.pt, or network_0\.pt and so on; it has notes\.txt"):
        read_model(tmp_path)
    with pytest.raises(InputFileError, match="damaged, or no network"):
        read_model(tmp_path / "notes.txt")
