"""Trainings of calibrations on the test shards: outputs, interruptions, earlier weights, several at once."""

from __future__ import annotations

import json
import math
import shutil
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
import yaml
from agreement import Agreement
from jecs import SHARED, reference

from jettagger.bundles.bundle import Bundle
from jettagger.cli import main
from jettagger.errors import ConfigError, InputFileError, MismatchError, OutputError
from jettagger.files.resuming import ResumeWarning
from jettagger.jec import import_model, predict_files, read_config, steer, train
from jettagger.jec.importing import read_weights
from jettagger.jec.steering import plan_runs
from jettagger.jec.training import loop_settings
from jettagger.provenance import read_provenance
from jettagger.training import Adam, Constant, Epoch, LoopSettings, Piecewise, Plateau, RAdam, Sgd, learning_rate
from jettagger.training.curves import TrainingHistory, tensorboard


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """The test configuration and shards in a folder that can be written; two epochs of three steps."""
    pytest.importorskip("torch", reason="the extra train is not installed")
    if not SHARED.is_dir():
        pytest.skip("the reference data are not here")
    shutil.copytree(SHARED / "tests", tmp_path / "tests", copy_function=shutil.copyfile)
    for place in (tmp_path / "tests").rglob("*"):
        place.chmod(0o755 if place.is_dir() else 0o644)
    change(tmp_path / "tests", steps_per_epoch=3, max_epochs=2, threads=1)
    return tmp_path / "tests"


def change(folder: Path, name: str = "test_config.yaml", to: str = "", sections: Any = None, **train_keys: Any) -> Path:
    """Write a configuration with other keys."""
    content = yaml.safe_load((folder / name).read_text())
    content["train"].update(train_keys)
    for section, keys in (sections or {}).items():
        content[section] = {**content[section], **keys} if isinstance(keys, dict) and section != "model" else keys
    (folder / (to or name)).write_text(yaml.safe_dump(content))
    return folder / (to or name)


# ------------------------------------------------------------------------------------------------------------ settings


def settings(**sections: Any) -> LoopSettings:
    content: dict[str, Any] = {
        "data": {"location": "x", "split": [1, 1, -1], "batch_size": 8},
        "features": {"global": {"numerical": ["pt"]}},
        "model": {"head": {"type": "mlp", "num_units": [4]}},
        "loss": "mae",
        "train": {"steps_per_epoch": 5},
        "predict": False,
    }
    for name, keys in sections.items():
        content[name] = {**content.get(name, {}), **keys}
    return loop_settings(read_config(yaml.safe_dump(content), name="test"), jets=1000)


def test_keys_have_the_meaning_of_the_original() -> None:
    plain = settings()
    assert (plain.epochs, plain.rate, plain.optimiser) == (250, 1e-3, Adam(1e-7))
    assert (plain.schedule, plain.max_norm, plain.decay) == (Constant(), math.inf, 0)
    assert plain.patience > plain.epochs
    assert settings(optimizer={"algorithm": "radam"}).optimiser == RAdam(1e-7)
    sgd = settings(optimizer={"algorithm": "sgd", "momentum": 0.9, "nesterov": True})
    assert (sgd.optimiser, sgd.rate) == (Sgd(0.9, True), 1e-2)
    plateau = {"factor": 0.2, "patience": 5, "min_delta": 5e-5, "min_lr": 1e-6}
    lower = settings(
        train={
            "max_epochs": 7,
            "learning_rate": 2e-3,
            "reduce_lr_on_plateau": plateau,
            "early_stopping": {"patience": 10, "min_delta": 1e-4},
        }
    )
    assert lower.schedule == Plateau(0.2, 4, 5e-4, 5e-5)
    assert (lower.epochs, lower.rate, lower.patience, lower.min_delta) == (7, 2e-3, 10, 1e-4)


def test_the_piecewise_schedule_ends_after_its_last_point() -> None:
    made = settings(train={"piecewise_linear_schedule": {"epochs": [0, 2, 6], "learning_rate": [1e-3, 5e-3, 1e-3]}})
    assert made.epochs == 7
    assert isinstance(made.schedule, Piecewise)
    epochs = [Epoch(0, number + 1, 1.0, 1.0, False, 1.0) for number in range(7)]
    rates = [learning_rate(made, epochs[:number]) for number in range(7)]
    np.testing.assert_allclose(rates, [1e-3, 3e-3, 5e-3, 4e-3, 3e-3, 2e-3, 1e-3])


# ------------------------------------------------------------------------------------------------------------- outputs


def test_a_training_writes_a_model_that_predicts_what_it_predicted(world: Path) -> None:
    result = train(world / "test_config.yaml", world / "out")
    assert result.jets == {"training": 30, "validation": 10, "test": 10}
    assert result.difference < 1e-5
    history = json.loads((world / "out" / "history.json").read_text())
    assert [len(history[name]) for name in ("loss", "val_loss", "lr")] == [2, 2, 2]
    losses = [history["val_loss_before"], *history["val_loss"]]
    assert history["best_epoch"] == int(np.argmin(losses))
    prediction = np.load(world / "out" / "prediction.npy")
    assert (prediction.shape, prediction.dtype) == ((10,), np.float32)
    found = predict_files(world / "out", [world / "data" / "shards" / "5.root"])
    np.testing.assert_array_equal(found.logarithm, prediction)
    names = {path.name for path in (world / "out").iterdir()}
    assert {"history.pdf", "history_zoomed.pdf", "network.txt", "weights.npz", "transform.yaml"} <= names
    assert "1,434" in (world / "out" / "network.txt").read_text()
    bundle = Bundle.from_folder(world / "out")
    assert [(output.name, output.kind) for output in bundle.outputs] == [("ptRawCorr", "regression")]
    assert read_config(world / "out" / "config.yaml").model == read_config(world / "test_config.yaml").model


def test_the_validation_loss_is_that_of_the_best_weights(world: Path) -> None:
    """Computed from the model's factors on the validation file."""
    train(world / "test_config.yaml", world / "out", plots=False)
    history = json.loads((world / "out" / "history.json").read_text())
    path = world / "data" / "shards" / "4.root"
    with uproot.open(path) as file:
        events = file["Jets"].arrays(["pt", "pt_gen"], library="np")
    target = np.log(events["pt_gen"] / events["pt"])
    errors = np.abs(predict_files(world / "out", [path]).logarithm - target) * (np.abs(target) < 1)
    expected = ([history["val_loss_before"], *history["val_loss"]])[history["best_epoch"]]
    assert errors.mean() == pytest.approx(expected, rel=1e-5)


def test_an_interrupted_training_gives_the_same_bytes(world: Path) -> None:
    config = change(world, max_epochs=4)
    whole = train(config, world / "whole", plots=False)

    def stop(epoch: Epoch) -> None:
        if epoch.number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, world / "out", plots=False, resume=True, follow=stop)
    assert not (world / "out").exists()
    assert len(list((world / "out.resume").glob("*.pt"))) == 1
    with pytest.warns(ResumeWarning, match="goes on where an earlier run was interrupted"):
        again = train(config, world / "out", plots=False, resume=True)
    assert again.history == whole.history
    for name in ("weights.npz", "model.onnx", "history.json", "prediction.npy"):
        assert (world / "out" / name).read_bytes() == (world / "whole" / name).read_bytes()
    assert not (world / "out.resume").exists()
    other = change(world, seed=2)
    assert train(other, world / "other", plots=False).history != whole.history


def test_checkpoints_of_another_configuration_are_dropped(world: Path) -> None:
    def stop(epoch: Epoch) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(world / "test_config.yaml", world / "out", plots=False, resume=True, follow=stop)
    config = change(world, learning_rate=1e-2)
    with pytest.warns(ResumeWarning, match="checkpoints are dropped: files, configuration or code have"):
        train(config, world / "out", plots=False, resume=True)
    assert not (world / "out.resume").exists()


@pytest.mark.parametrize(("name", "expected"), [("my run/2", "my_run_2"), ("_x", "jec_x")])
def test_names_of_runs_become_names_of_models(world: Path, name: str, expected: str) -> None:
    config = change(world, sections={"run": {"name": name}})
    import_model(SHARED / "model_mlp.npz", config, world / "out")
    assert Bundle.from_folder(world / "out").name == expected


def test_quantiles_and_jets_alone_are_trained(world: Path) -> None:
    content = yaml.safe_load((world / "test_config.yaml").read_text())
    features = {"global": content["features"]["global"]}
    model = {"head": {"type": "resnet", "num_units": [8, 8]}}
    content.update(features=features, model=model, loss={"type": "quantiles"})
    path = world / "jets.yaml"
    path.write_text(yaml.safe_dump(content))
    result = train(path, world / "out", plots=False)
    assert result.predictions is not None
    assert result.predictions.outputs == ("ptRawCorr", "ptRawRes", "ptRawCorrUp", "ptRawCorrDown")
    factor, width, up, down = result.predictions.factors.T
    assert ((down < factor) & (factor < up)).all()
    np.testing.assert_allclose(width, (up - down) / 2, rtol=1e-5)


# ----------------------------------------------------------------------------------------------------- earlier weights


def test_imported_weights_predict_what_the_original_predicted(world: Path, agrees: Agreement) -> None:
    """From raw branches, with its transforms."""
    made = import_model(SHARED / "model_mlp.npz", world / "test_config.yaml", world / "out")
    assert made.legacy_closure
    files = [world / "data" / "shards" / f"{number}.root" for number in range(1, 6)]
    found = predict_files(world / "out", files).logarithm
    agrees("ml_jec/predictions", found, reference("model_mlp.npz")["predictions"].ravel(), sample=50, atol=1e-5)
    meant = change(world, to="meant.yaml", sections={"data": {"legacy_closure": False}})
    assert not import_model(SHARED / "model_mlp.npz", meant, world / "meant").legacy_closure
    assert np.abs(predict_files(world / "meant", files).logarithm - found).max() > 0.01


def test_weights_of_another_network_are_refused_by_layer(world: Path) -> None:
    content = yaml.safe_load((world / "test_config.yaml").read_text())
    content["model"]["ch"]["num_units"] = [10, 11]
    content["model"]["load_weights"] = str(SHARED / "model_mlp.npz")
    (world / "test_config.yaml").write_text(yaml.safe_dump(content))
    for run in (
        lambda: import_model(SHARED / "model_mlp.npz", world / "test_config.yaml", world / "out"),
        lambda: train(world / "test_config.yaml", world / "out", plots=False),
    ):
        with pytest.raises(MismatchError, match=r"ch_dense_2/kernel:0 is \(10, 10\), expected \(10, 11\)"):
            run()
    assert not (world / "out").exists()


def test_a_training_goes_on_from_earlier_weights(world: Path) -> None:
    first = train(world / "test_config.yaml", world / "first", plots=False)
    best = min(epoch.validation for epoch in first.history.epochs)
    for sections in ({"model": str(world / "first")}, {}):
        path = change(world, to="next.yaml", sections=sections)
        if not sections:
            content = yaml.safe_load(path.read_text())
            content["model"]["load_weights"] = "first/weights.npz"
            path.write_text(yaml.safe_dump(content))
        second = train(path, world / "second", plots=False, force=True)
        assert second.history.epochs[0].start == pytest.approx(min(best, first.history.epochs[0].start), rel=1e-6)
        assert second.architecture == first.architecture


def test_a_network_of_other_features_is_refused(world: Path) -> None:
    train(world / "test_config.yaml", world / "first", plots=False)
    path = change(world, sections={"model": str(world / "first")})
    content = yaml.safe_load(path.read_text())
    content["features"]["sv"]["numerical"].pop()
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(MismatchError, match="other features of the block 'sv'"):
        train(path, world / "second", plots=False)


# ----------------------------------------------------------------------------------------------------------- bad input


def test_outputs_that_exist_are_kept(world: Path) -> None:
    (world / "out").mkdir()
    (world / "out" / "precious.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"has no calibration\.json, so it is something else"):
        train(world / "test_config.yaml", world / "out", force=True)
    train(world / "test_config.yaml", world / "made", plots=False)
    with pytest.raises(OutputError, match=r"exists already; use --force"):
        train(world / "test_config.yaml", world / "made", plots=False)


def test_inputs_are_never_replaced(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(world / "test_config.yaml", world / "made", plots=False)
    assert read_provenance(world / "made" / "calibration.json")["step"] == "jec train"
    for keys in ({"model": str(world / "made")}, {"data": {"location": str(world / "made")}}):
        config = change(world, to="next.yaml", sections=keys)
        (world / "made" / "data.yaml").write_text("[]")
        with pytest.raises(OutputError, match="holds an input"):
            train(config, world / "made", plots=False, force=True)
    shutil.copyfile(world / "test_config.yaml", world / "made" / "mine.yaml")
    call = [str(world / "made" / "mine.yaml"), "-o", str(world / "made"), "--force"]
    assert main(["jec", "train", *call]) == 2
    assert "holds an input" in capsys.readouterr().err
    assert main(["jec", "import", str(SHARED / "model_mlp.npz"), *call]) == 2
    assert "holds an input" in capsys.readouterr().err


def test_the_record_says_what_the_model_was_made_of(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import_model(SHARED / "model_mlp.npz", world / "test_config.yaml", world / "out")
    assert main(["provenance", str(world / "out" / "calibration.json")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == read_provenance(world / "out" / "calibration.json")
    assert found["step"] == "jec import"
    assert found["files"] == [str(SHARED / "model_mlp.npz")]
    assert found["configuration"]["data"]["legacy_closure"]


def test_predictions_are_written_once_and_only_for_numpy(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import_model(SHARED / "model_mlp.npz", world / "test_config.yaml", world / "out")
    for name in ("p.npy", "p.npz"):
        call = ["jec", "predict", str(world / "out"), str(world / "data"), "-o", str(world / name)]
        assert main(call) == 0
        assert "50 jets" in capsys.readouterr().out
        assert main(call) == 2
        assert "exists already" in capsys.readouterr().err
        assert main([*call, "--force"]) == 0
    with np.load(world / "p.npz") as arrays:
        np.testing.assert_array_equal(np.log(arrays["ptRawCorr"]), np.load(world / "p.npy"))
    assert main(["jec", "predict", str(world / "out"), str(world / "data"), "-o", str(world / "p.txt")]) == 2
    assert "ends with .npy or .npz" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------------- history


def history(losses: list[float], rates: list[float]) -> TrainingHistory:
    best, lowest = [], 9.0
    for loss in losses:
        best.append(loss < lowest)
        lowest = min(loss, lowest)
    return TrainingHistory(
        tuple(Epoch(0, i + 1, loss + 0.1, loss, best[i], 9.0) for i, loss in enumerate(losses)), tuple(rates)
    )


def test_the_zoom_and_the_lines_are_those_of_the_original() -> None:
    made = history([8.0, 4.0, 2.0, 3.0], [1.0, 1.0, 0.2, 0.2])
    assert made.best == 3
    np.testing.assert_allclose(made.zoom(), (2.0 - 0.05 * 2.1, 4.1 + 0.05 * 2.1))
    assert made.changes() == [3]
    assert history([8.0, 4.0, 2.0, 3.0], [1.0, 0.9, 0.8, 0.7]).changes() == []
    assert history([9.5], [1.0]).content()["best_epoch"] == 0
    pytest.importorskip("mplhep", reason="the extra plot is not installed")
    plain, zoomed = (made.figure(zoomed=zoomed).axes[0] for zoomed in (False, True))
    assert zoomed.get_ylim() == pytest.approx(made.zoom())
    assert plain.get_ylim()[1] > zoomed.get_ylim()[1]
    assert [line.get_xdata()[0] for line in plain.lines][-1] == 2.5


def test_measures_have_an_axis_of_their_own() -> None:
    values = [(0.2, math.nan, 30.0), (0.4, 0.5, 20.0), (0.3, 0.6, 25.0)]
    epochs = [
        Epoch(0, number, 1.0, 2.0, number == 2, 3.0, share, (), {"purity": share, "accuracy": other, "error": error})
        for number, (share, other, error) in enumerate(values, 1)
    ]
    made = TrainingHistory(tuple(epochs), (1.0, 1.0, 1.0), "purity")
    content = made.content()
    assert (content["monitor"], content["best_epoch"]) == ("purity", 2)
    assert content["measures"] == {
        "purity": [0.2, 0.4, 0.3],
        "accuracy": [None, 0.5, 0.6],
        "error": [30.0, 20.0, 25.0],
    }
    assert TrainingHistory(tuple(epochs), (1.0, 1.0, 1.0)).content()["monitor"] == "loss"
    pytest.importorskip("mplhep", reason="the extra plot is not installed")
    below = made.figure().axes[1]
    assert [line.get_label() for line in below.lines[:2]] == ["purity", "accuracy"]
    assert list(below.lines[2].get_xdata()) == [2]
    other = TrainingHistory(tuple(epochs), (1.0, 1.0, 1.0), "error").figure().axes[1]
    assert [line.get_label() for line in other.lines[:1]] == ["error"]


def test_tensorboard_is_written_if_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="the extra train is not installed")
    written: list[tuple[str, float, int]] = []

    class SummaryWriter:
        def __init__(self, folder: str) -> None:
            assert folder == str(tmp_path)

        def add_scalar(self, name: str, value: float, step: int) -> None:
            written.append((name, value, step))

        def flush(self) -> None: ...

    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    made = settings(train={"piecewise_linear_schedule": {"epochs": [0, 1], "learning_rate": [1e-3, 3e-3]}})
    monkeypatch.setattr("jettagger.training.curves.importlib.util.find_spec", lambda name: None)
    assert tensorboard(tmp_path, made) is None
    monkeypatch.setattr("jettagger.training.curves.importlib.util.find_spec", lambda name: name)
    follow = tensorboard(tmp_path, made)
    assert follow is not None
    for epoch in history([3.0, 2.0], [1e-3, 3e-3]).epochs:
        follow(epoch)
    assert [entry for entry in written if entry[0] == "learning_rate"] == [
        ("learning_rate", 1e-3, 1),
        ("learning_rate", 3e-3, 2),
    ]
    assert ("loss/validation", 2.0, 2) in written


# ------------------------------------------------------------------------------------------------------------ steering


@pytest.mark.slow  # two processes
def test_a_failure_does_not_stop_the_other_trainings(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = change(world, to="good.yaml", sections={"run": {"name": "good"}})
    bad = change(world, to="bad.yaml", sections={"run": {"name": "bad"}, "data": {"split": [9, 1, -1]}})
    (world / "odd.yaml").write_text("loss: mae\nlosss: mae\n")
    calls = [str(bad), str(world / "odd.yaml"), str(good), "--store", str(world / "store"), "--no-plots"]
    assert main(["jec", "steer", *calls, "--dry-run"]) == 1
    assert not (world / "store").exists()
    capsys.readouterr()
    assert main(["jec", "steer", *calls]) == 1
    said = capsys.readouterr()
    assert [line.split()[:2] for line in said.out.splitlines()[3:6]] == [
        ["bad", "failed"],
        ["odd", "failed"],
        ["good", "done"],
    ]
    assert "asks for 10 files, there are 5" in said.err
    assert "losss" in said.err
    kept = {path.name.split("_", 1)[1]: {one.name for one in path.iterdir()} for path in (world / "store").iterdir()}
    assert kept["bad"] == {"train.stdout", "train.stderr"}
    assert {"train.stdout", "train.stderr", "model.onnx", "prediction.npy", "history.json"} <= kept["good"]


def test_destinations_are_checked_before_a_training(world: Path) -> None:
    import time

    moment = time.struct_time((2020, 9, 20, 12, 30, 1, 6, 264, 0))
    one = change(world, to="one.yaml")
    (run,) = plan_runs([one], moment=moment)
    assert (run.problem, run.destination) == ("", str(world / "test_results" / "20200920T123001_test"))
    Path(run.destination).mkdir(parents=True)
    again, twice, other = plan_runs(
        [one, one, change(world, to="b.yaml", sections={"run": {"name": "b"}})], moment=moment
    )
    assert "exists already" in again.problem
    assert not other.problem
    assert "exists already" in twice.problem
    first, second = plan_runs([one, one], world / "store", moment)
    assert not first.problem
    assert "is that of" in second.problem
    content = yaml.safe_load(one.read_text())
    del content["run"]
    one.write_text(yaml.safe_dump(content))
    assert "add the key run.storage, or use --store" in plan_runs([one])[0].problem


def test_outputs_are_copied_to_locations_of_fsspec(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    monkeypatch.setattr(
        "jettagger.jec.steering.subprocess.run",
        lambda command, **keys: (
            import_model(SHARED / "model_mlp.npz", world / "test_config.yaml", command[command.index("--output") + 1]),
            Path(command[command.index("--output") + 1], "history.json").write_text(
                json.dumps({"val_loss": [2.0], "best_epoch": 1})
            ),
            types.SimpleNamespace(returncode=0),
        )[-1],
    )
    (run,) = steer([world / "test_config.yaml"], store="memory://results")
    assert (run.problem, run.loss, run.epochs) == ("", 2.0, 1)
    system = fsspec.filesystem("memory")
    assert system.exists(f"{run.destination}/model.onnx")
    assert system.exists(f"{run.destination}/train.stderr")


# ------------------------------------------------------------------------------------------------------------- command


def test_the_commands_train_and_import(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["jec", "train", str(world / "test_config.yaml"), "-o", str(world / "out"), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "1,434" in said
    assert "at most 2 epochs of 3 steps of 5 jets" in said
    assert not (world / "out").exists()
    assert main(["jec", "train", str(world / "test_config.yaml"), "-o", str(world / "out"), "--no-plots"]) == 0
    said = capsys.readouterr().out
    assert "2 epochs; kept: " in said
    assert (
        main(["jec", "import", str(SHARED / "model_mlp.npz"), str(world / "test_config.yaml"), "-o", str(world / "i")])
        == 0
    )
    assert "1,434 parameters, transforms as the original computes them" in capsys.readouterr().out
    assert {name: value.shape for name, value in read_weights(world / "i" / "weights.npz").items()} == {
        name: value.shape for name, value in read_weights(SHARED / "model_mlp.npz").items()
    }


def test_a_configuration_whose_weights_or_files_are_missing(world: Path) -> None:
    path = change(world, sections={"model": str(world / "nothing")})
    with pytest.raises((ConfigError, InputFileError), match="nothing"):
        train(path, world / "out", plots=False)
    assert not (world / "out").exists()
