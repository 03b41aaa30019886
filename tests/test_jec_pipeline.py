"""The test shards of the original through all commands: transforms, training, predictions, pictures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from jecs import SHARED

from jettagger.cli import main


@pytest.mark.slow
def test_the_test_shards_run_through(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for module, extra in (("torch", "train"), ("mplhep", "plot")):
        pytest.importorskip(module, reason=f"the extra {extra} is not installed")
    if not SHARED.is_dir():
        pytest.skip("the reference data are not here")
    data = tmp_path / "data"
    (data / "shards").mkdir(parents=True)
    shutil.copyfile(SHARED / "tests" / "data" / "data.yaml", data / "data.yaml")
    for number in range(1, 6):
        shutil.copyfile(SHARED / "tests" / "data" / "shards" / f"{number}.root", data / "shards" / f"{number}.root")
    config = yaml.safe_load((SHARED / "tests" / "test_config.yaml").read_text())
    config["train"].update(steps_per_epoch=5, max_epochs=2, learning_rate=3e-3)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))

    def run(*arguments: object) -> str:
        assert main(["jec", *map(str, arguments)]) == 0
        return capsys.readouterr().out

    run("build-transform", data, "-o", data / "transform.yaml")
    mine, reference = (
        yaml.safe_load((place / "transform.yaml").read_text()) for place in (data, SHARED / "tests/data")
    )
    steps = {name: [step["type"] for step in chain] for name, chain in reference["numerical"].items()}
    assert {name: [step["type"] for step in mine["numerical"][name]] for name in steps} == steps

    run("train", tmp_path / "config.yaml", "-o", tmp_path / "out")
    assert len(json.loads((tmp_path / "out" / "history.json").read_text())["val_loss"]) == 2

    run("predict", tmp_path / "out", data / "shards" / "5.root", "-o", tmp_path / "prediction.npy")
    prediction = np.load(tmp_path / "prediction.npy")
    np.testing.assert_array_equal(prediction, np.load(tmp_path / "out" / "prediction.npy"))

    bins = ["--pt", "5,3000", "--eta", "0,5", "--min-jets", "3", "--replicas", "10", "--flavour-pt", "5"]
    run(
        "plot",
        data,
        "--files",
        "4:",
        "--prediction",
        f"DNN={tmp_path / 'prediction.npy'}",
        *bins,
        "-o",
        tmp_path / "plots",
    )
    text = (tmp_path / "plots" / "performance.json").read_text()
    assert "DNN" in text
    assert "Standard" in text
    assert list((tmp_path / "plots").rglob("*.png"))
