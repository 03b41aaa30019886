"""Configurations of energy calibrations: the original's run unchanged, and mistakes are named with their line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jec_jets import CONFIG, write_config
from jecs import SHARED

from jettagger.config.yamlfile import yaml_text
from jettagger.errors import ConfigError
from jettagger.jec import read_config
from jettagger.jec.configuration import notes


def test_configurations_of_the_original_are_read_unchanged() -> None:
    if not SHARED.is_dir():
        pytest.skip("the configurations of the original are not here")
    example = read_config(SHARED / "tests" / "example_config.yaml")
    assert example.data.location == "gs://rainfinder-mljec-200805/data"
    assert example.data.split == (100, 2, -1)
    assert example.constituents == ("ch", "ne", "sv")
    assert example.run.name == "example_config"
    assert example.model.constituents["ch"].embeddings == {"ch_id": 3, "ch_pv_ass": 2}
    assert example.train.reduce_lr_on_plateau is not None
    assert example.train.reduce_lr_on_plateau.min_lr == 1e-6
    small = read_config(SHARED / "tests" / "test_config.yaml")
    assert small.data.location == str(SHARED / "tests" / "data")
    assert (small.run.name, small.train.learning_rate, small.predict) == ("test", 5e-4, True)
    assert notes(small) == notes(example) == []


def changed(**changes: Any) -> str:
    content = {**CONFIG}
    for path, value in changes.items():
        keys = path.split("__")
        place: Any = content
        for key in keys[:-1]:
            place[key] = dict(place[key])
            place = place[key]
        if value is ...:
            place.pop(keys[-1], None)
        else:
            place[keys[-1]] = value
    return yaml_text(content)


MISTAKES = [
    ({"trian": {}}, "unknown key 'trian' (nearest: train"),
    ({"data__batch_sizes": 3}, "unknown key 'batch_sizes' (nearest: batch_size"),
    ({"data__location": ...}, "the key 'location' is missing"),
    ({"data__split": [1, -1, -1]}, "'split' must be three numbers of files [train, validation, test]"),
    ({"data__split": [1, 2]}, "'split' must be three numbers"),
    ({"data__batch_size": 0}, "'batch_size' must be a whole number of at least 1, got 0"),
    ({"data__cache": True}, "'cache' must be a folder, or false, got True"),
    ({"features__global": ...}, "the block 'global' is missing"),
    ({"features__ch": {"numerica": ["ch_pt"]}}, "unknown key 'numerica' (nearest: numerical"),
    ({"features__sv": {}}, "the block 'sv' has no features"),
    ({"features__sv": {"numerical": ["sv_pt", "ch_pt"]}}, "the feature 'ch_pt' appears twice, first in features.ch"),
    ({"features__sv": {"numerical": ["ne_rel_pt"]}}, "it belongs to the block 'ne'"),
    (
        {"features__sv": {"numerical": ["sv_pt"], "numerical_branches": ["sv_ptt"]}},
        "'sv_pt' is neither constructed nor among the branches of numerical_branches (nearest: sv_ptt)",
    ),
    ({"model__ch__embeddings": {}}, "no embedding of ch_id: each categorical feature of 'ch' needs"),
    (
        {"model__ch__embeddings": {"ch_id": 2, "ch_di": 2}},
        "an embedding of 'ch_di', which is not a categorical feature",
    ),
    ({"model__ch__num_unit": [3]}, "unknown key 'num_unit' (nearest: num_units"),
    ({"model__ch__type": "mpl"}, "unknown type 'mpl' (nearest: mlp), expected mlp, resnet"),
    ({"model__sv": ...}, "no layers for sv"),
    ({"model__head": ...}, "no layers for head"),
    ({"model__vs": {"type": "mlp", "num_units": [3]}}, "'vs' is not a block of features (nearest: sv)"),
    ({"model__saved": "earlier"}, "'saved' gives the whole network, so ch, sv, head cannot be given as well"),
    ({"loss": "mea"}, "unknown loss 'mea' (nearest: mae), expected mae, huber, log-cosh, quantiles"),
    ({"loss": {"type": "quantiles", "quantiles": [0.2, 0.8]}}, "rising numbers between 0 and 1 with 0.5 among them"),
    (
        {"optimizer": {"algorithm": "adamw"}},
        "unknown algorithm 'adamw' (nearest: adam, radam), expected adam, sgd, radam",
    ),
    ({"train__steps_per_epoch": ...}, "the key 'steps_per_epoch' is missing"),
    ({"train__early_stopping": {"patience": 3}}, "the key 'min_delta' is missing"),
    ({"train__device": "gpu"}, "'device' must be cpu, cuda, cuda:N or mps, got 'gpu'"),
    ({"predict": "yes please"}, "'predict' must be true or false, got 'yes please'"),
    ({"predict": ...}, "the key 'predict' is missing"),
    (
        {"train__piecewise_linear_schedule": {"epochs": [0, 0], "learning_rate": [1e-3, 1e-4]}},
        "'epochs' must be a list of at least two rising epochs",
    ),
    (
        {"train__piecewise_linear_schedule": {"epochs": [0, 5], "learning_rate": [1e-3]}},
        "1 learning rates for 2 epochs",
    ),
]


@pytest.mark.parametrize(("changes", "message"), MISTAKES, ids=[next(iter(changes)) for changes, _ in MISTAKES])
def test_mistakes_are_named_with_their_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(changed(**changes), name="jec.yaml")
    assert message in str(caught.value)
    assert "jec.yaml, line " in str(caught.value) or "is missing" in message


@pytest.mark.parametrize("key", ["max_epochs", "learning_rate", "reduce_lr_on_plateau", "early_stopping"])
def test_a_piecewise_schedule_excludes_what_the_original_excludes(key: str) -> None:
    schedule = {"epochs": [0, 3, 9], "learning_rate": [1e-3, 1e-2, 0.0]}
    text = changed(train__piecewise_linear_schedule=schedule)
    assert read_config(text, name="x").train.epochs(10**6, 1) == 10
    stop = {"patience": 1, "min_delta": 0.0}
    value = {"max_epochs": 3, "learning_rate": 1e-3, "early_stopping": stop}.get(key, {"factor": 0.5, **stop})
    text = changed(train__piecewise_linear_schedule=schedule, **{f"train__{key}": value})
    with pytest.raises(ConfigError, match=rf"line \d+: '{key}' cannot be given together with 'piecewise_linear"):
        read_config(text, name="x")


def test_all_contradictions_are_listed() -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(
            changed(model__sv=..., model__ch__embeddings={}, features__sv__numerical=["sv_pt", "sv_pt"]), name="x"
        )
    assert len(str(caught.value).splitlines()) == 3


def test_epochs_are_those_of_ten_passes_unless_they_are_given() -> None:
    config = read_config(changed(train__steps_per_epoch=3), name="x")
    assert config.train.epochs(1001, 100) == 34  # 10 * 1001 / 300 = 33.4
    assert read_config(changed(train__max_epochs=7), name="x").train.epochs(1001, 100) == 7


def test_shorthands_and_keys_without_effect() -> None:
    config = read_config(changed(model="earlier/training", optimizer={"momentum": 0.9}), name="x", folder="/nowhere")
    assert config.model.saved == "/nowhere/earlier/training"
    assert config.loss.type == "mae"
    text = changed(model__sv={"type": "resnet", "num_units": [3, 3], "dropout": 0.1}, optimizer={"nesterov": True})
    assert [line.partition(":")[0] for line in notes(read_config(text, name="x"))] == ["model.sv", "optimizer"]


def test_paths_are_those_beside_the_file_or_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    path = write_config(tmp_path / "a", data={"cache": "kept"}, run={"storage": "gs://bucket/results"})
    monkeypatch.chdir(tmp_path / "b")
    assert read_config(path).data.location == str(tmp_path / "a" / "jets")
    assert read_config(path).data.cache == str(tmp_path / "a" / "kept")
    assert read_config(path).run.storage == "gs://bucket/results"
    (tmp_path / "b" / "jets").mkdir()
    assert read_config(path).data.location == str(tmp_path / "b" / "jets")
    (tmp_path / "a" / "jets").mkdir()
    assert read_config(path).data.location == str(tmp_path / "a" / "jets")
    path = write_config(tmp_path / "a", data={"cache": False})
    assert read_config(path).data.cache is None
