"""Outputs for blocks of events: the same of an ONNX folder, a network file and the folder of a training."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from assigners import EVENT, MAPPING, assigner_folder, raw_folder
from assignment_networks import network

from jettagger.assignment import AssignmentEvents, load_assigner, open_model, parse_event_text
from jettagger.errors import ConfigError, InputFileError, JettaggerError, MissingModelFile, OutputError


def block(n_events: int = 7, slots: int = 8, seed: int = 1) -> AssignmentEvents:
    """Events with 0 to ``slots`` jets, in any of the slots."""
    random = np.random.default_rng(seed)
    mask = random.uniform(size=(n_events, slots)) < 0.7
    mask[0], mask[1] = False, True
    low, high = np.array([1, 20, -2, -1, -1, 0]), np.array([20, 200, 2, 1, 1, 1])
    jets = random.uniform(low, high, size=(n_events, slots, 6)) * mask[..., None]
    met = random.uniform([10, -1, -1], [100, 1, 1], size=(n_events, 1, 3))
    return AssignmentEvents(
        {"Jets": jets.astype(np.float32), "Met": met.astype(np.float32)},
        {"Jets": mask, "Met": np.ones((n_events, 1), dtype=bool)},
    )


def arrays(made: Any) -> dict[str, Any]:
    return {
        f"{kind} {name}": values
        for kind in ("log_probabilities", "detection", "regressions", "classes")
        for name, values in getattr(made, kind).items()
    }


def test_a_folder_gives_what_its_assigner_gives(tmp_path: Path) -> None:
    folder, events = assigner_folder(tmp_path), block()
    model = open_model(folder, threads=1, name="masses")
    assert (model.name, model.untrained) == ("masses", frozenset())
    made = model.outputs(events)
    assigner = load_assigner(folder, threads=1)
    found = assigner.run(events, distributions=True)
    assert made.scored.tolist() == found.scored.tolist() == [False, *[True] * 6]
    assert not made.cut.any()
    for name, values in found.log_probabilities.items():
        np.testing.assert_array_equal(made.log_probabilities[name], values)
    for name, values in found.detection_probability.items():
        np.testing.assert_array_equal(made.detection[name], values.astype(np.float32))
    np.testing.assert_array_equal(made.classes["EVENT/signal"], found.classes["EVENT/signal"])
    again = open_model(assigner).outputs(events)
    assert all((arrays(again)[name] == values)[made.scored].all() for name, values in arrays(made).items())
    assert (model.digest, model.sources) == (assigner.model.digest, assigner.model.sources)


def test_slots_are_those_of_the_events(tmp_path: Path) -> None:
    events = block(6, 8)
    events.masks["Jets"][2, 5:] = False
    for slots in (5, 11):  # cut, and padded
        fixed = open_model(raw_folder(tmp_path / str(slots), slots=slots), threads=1, input_log=True).outputs(events)
        free = open_model(assigner_folder(tmp_path / f"free{slots}"), threads=1).outputs(events)
        assert fixed.log_probabilities["ht"].shape == (6, 8, 8, 8)
        assert (
            fixed.cut.tolist() == events.masks["Jets"][:, 5:].any(axis=1).tolist()
            if slots == 5
            else not fixed.cut.any()
        )
        rows = ~fixed.cut & fixed.scored
        assert rows.any()
        for name, values in free.log_probabilities.items():
            np.testing.assert_allclose(fixed.log_probabilities[name][rows], values[rows], rtol=1e-4)
        assert np.isneginf(fixed.log_probabilities["lt"][fixed.cut][:, 5:]).all()


@pytest.mark.slow
def test_networks_of_torch_and_their_onnx_files_give_the_same(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from jettagger.assignment import export_network, import_assigner, write_network

    description, events = parse_event_text(EVENT), block()
    made = network(description, detection_loss_scale=0.0)
    write_network(tmp_path / "one.pt", made)
    exported = export_network(made, tmp_path / "model.onnx")
    import_assigner(exported, None, tmp_path / "net")
    models = [open_model(path, threads=1) for path in (tmp_path / "one.pt", tmp_path / "net")]
    assert [model.name for model in models] == ["one", "net"]
    assert [model.untrained for model in models] == [{"detection"}] * 2
    first, second = (model.outputs(events) for model in models)
    rows = second.scored
    assert first.scored.all()
    assert rows.sum() == 6
    for name, values in arrays(first).items():
        np.testing.assert_allclose(values[rows], arrays(second)[name][rows], rtol=1e-4, atol=1e-4, err_msg=name)
    same = open_model(made).outputs(events)
    assert all(np.array_equal(arrays(same)[name], values) for name, values in arrays(first).items())


def test_a_training_with_several_seeds_is_their_mean(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from jettagger.assignment import write_network

    description, events = parse_event_text(EVENT), block()
    for seed in (0, 1):
        write_network(tmp_path / f"network_{seed}.pt", network(description, seed=seed))
    both = open_model(tmp_path, threads=1)
    assert [path.name for path in both.sources] == ["network_0.pt", "network_1.pt"]
    parts = [open_model(path, threads=1).outputs(events) for path in both.sources]
    made = both.outputs(events)
    mean = np.mean([np.exp(part.log_probabilities["h"]) for part in parts], axis=0)
    np.testing.assert_allclose(np.exp(made.log_probabilities["h"]), mean, rtol=1e-4, atol=1e-7)
    assert both.digest != open_model(both.sources[0]).digest


@pytest.mark.slow
def test_features_of_pairs_are_those_of_the_block(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from assignment_networks import event, some_inputs

    from jettagger.assignment import export_network, import_assigner

    made, description = network(), event()
    values, masks = some_inputs(description, 4, 5)
    values["Pairs"][..., 0] = values["Pairs"][:, :1, :, 0].abs()  # pt of the objects, the same for all first ones
    values["Jets"][..., 0] = values["Jets"][..., 0].abs()
    values["Met"][..., 0] = values["Met"][..., 0].abs()
    raw = {name: value.numpy().copy() for name, value in values.items()}
    sample = AssignmentEvents(
        raw | {"Pairs": raw["Pairs"][:, 0, :, :1]},
        {name: mask.numpy() for name, mask in masks.items()},
        pair_values={"Pairs": raw["Pairs"][..., 1:]},
        pair_features={"Pairs": ("distance",)},
    )
    found = open_model(made, threads=1).outputs(sample)
    for name in ("Jets", "Met", "Pairs"):
        there = masks[name][:, :, None] & masks[name][:, None, :] if name == "Pairs" else masks[name]
        values[name][..., 0] = torch.where(there, torch.log1p(values[name][..., 0]), 0)
    with torch.no_grad():
        expected = made(values, masks)
    np.testing.assert_allclose(found.log_probabilities["t1"], expected.assignments["t1"].numpy(), rtol=1e-4, atol=1e-5)
    assert np.isfinite(found.log_probabilities["t1"]).any()
    import_assigner(export_network(made, tmp_path / "model.onnx"), None, tmp_path / "net")
    again = open_model(tmp_path / "net", threads=1).outputs(sample)
    for name, array in arrays(found).items():
        np.testing.assert_allclose(arrays(again)[name], array, rtol=1e-4, atol=1e-4, err_msg=name)


def test_what_is_no_network(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="no such file or folder"):
        open_model(tmp_path / "absent")
    with pytest.raises(InputFileError, match="not the folder of a training"):
        open_model(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(InputFileError, match="jettagger assignment import"):
        open_model(tmp_path / "model.onnx")
    with pytest.raises(MissingModelFile, match="an event file"):
        open_model(tmp_path)
    with pytest.raises(ConfigError, match="argument threads"):
        open_model(tmp_path, threads=0)
    for name in ("x" * 300, "a\0b"):
        with pytest.raises(JettaggerError):
            open_model(name)


@pytest.mark.slow
def test_a_training_is_an_assigner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    from jettagger.assignment import decode, write_network
    from jettagger.bundles.places import CACHE

    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    folder, events = tmp_path / "my training", block()
    folder.mkdir()
    write_network(folder / "network_3.pt", network(parse_event_text(EVENT)))
    (folder / "inputs.yaml").write_text(MAPPING)
    assigner = load_assigner(folder, threads=1)
    assert assigner.model.name == "my_training"
    assert assigner.mapping.inputs["Jets"].max_objects == 8
    made, found = open_model(folder, threads=1).outputs(events), assigner.run(events)
    expected = decode(made.log_probabilities, assigner.event, threads=1).assignments
    for name, slots in expected.items():
        np.testing.assert_array_equal(found.assignments[name], slots)
    assert load_assigner(folder, threads=1).model.folder == assigner.model.folder
    assert len(list((tmp_path / "cache" / "assigners").iterdir())) == 1
    assert pickle.loads(pickle.dumps(assigner)).model.digest == assigner.model.digest


def test_a_training_needs_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from jettagger.assignment.exported import holds_network
    from jettagger.bundles.places import CACHE

    path = tmp_path / "network.pt"
    assert not holds_network(path)
    path.write_bytes(b"no network")
    assert holds_network(path)
    assert holds_network(tmp_path)
    monkeypatch.setenv(CACHE, "off")
    with pytest.raises(OutputError, match="jettagger assignment export"):
        load_assigner(tmp_path)
    monkeypatch.setenv(CACHE, str(tmp_path / "network.pt" / "cache"))
    with pytest.raises(JettaggerError):
        load_assigner(path)
    (tmp_path / "model.onnx").write_bytes(b"")
    assert not holds_network(tmp_path)
    with pytest.raises(MissingModelFile, match="an event file"):
        load_assigner(tmp_path)
