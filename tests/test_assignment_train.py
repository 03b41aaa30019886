"""Trainings of assignment networks to a folder: what it holds, interruptions, limits of time, weights, refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from assignment_networks import TAGGED, chosen, event, tagged, ttH

from jettagger.assignment.ensembles import read_model
from jettagger.assignment.training import train_assignment
from jettagger.assignment.training_folder import train_to_folder
from jettagger.assignment.training_options import AssignmentOptions, read_options
from jettagger.cli import main
from jettagger.errors import ConfigError, InputFileError, MismatchError, MissingColumns, OutputError
from jettagger.files.resuming import ResumeWarning
from jettagger.provenance import read_provenance
from jettagger.topology.eventfile import read_event_file, write_event_file
from jettagger.training import Epoch

torch = pytest.importorskip("torch")
pytest.importorskip("h5py")
pytest.importorskip("numba")


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """Event file, data set and options in a folder."""
    write_event_file(tmp_path / "event.yaml", event(TAGGED))
    tagged(tmp_path / "tagged.h5", 100)
    write_options(tmp_path)
    return tmp_path


def write_options(folder: Path, **changes: Any) -> AssignmentOptions:
    files = {"event_info_file": str(folder / "event.yaml"), "training_file": str(folder / "tagged.h5")}
    made = chosen(**{"epochs": 2, **files, **changes})
    (folder / "options.json").write_text(made.model_dump_json())
    return made


def trained(folder: Path, output: str = "out", **keywords: Any) -> Any:
    return train_to_folder(folder / "options.json", folder / output, **{"plots": False, **keywords})


def state(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = read_model(path).state_dict()
    return found


def equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def command(folder: Path, *more: str) -> list[str]:
    return ["assignment", "train", "-of", str(folder / "options.json"), "-o", str(folder / "out"), *more]


# ------------------------------------------------------------------------------------------------------------- outputs


@pytest.mark.slow
def test_the_folder_says_how_it_was_made(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("mplhep", reason="the extra plot is not installed")
    options = read_options(world / "options.json")
    assert main(command(world, "--seed", "3", "-e", "3")) == 0
    said = capsys.readouterr()
    assert "80 events for the training, 20 for the validation, 3 steps in an epoch" in said.err
    assert "network.pt  80               3" in said.out
    out = world / "out"
    names = {path.name for path in out.iterdir()} - {"logs"}
    assert names == {
        "network.pt", "history.json", "history.pdf", "history_zoomed.pdf", "options.json", "event.yaml",
        "training.json",
    }  # fmt: skip
    assert read_options(out / "options.json") == options.model_copy(update={"epochs": 3})
    assert read_event_file(out / "event.yaml") == event(TAGGED)
    dataset = tagged(world / "again.h5", 100)
    made = train_assignment(options.model_copy(update={"epochs": 3}), dataset, seed=3)
    assert equal(state(out), made.network.state_dict())
    history = json.loads((out / "history.json").read_text())
    assert history["loss"] == [epoch.train for epoch in made.history]
    assert history["measures"]["event purity"] == [epoch.metric for epoch in made.history]
    assert (history["monitor"], len(history["lr"])) == ("event purity", 3)
    record = read_provenance(out / "training.json")
    assert record["step"] == "assignment train"
    assert record["files"] == [str(world / "event.yaml"), str(world / "tagged.h5")]
    assert (record["configuration"]["seed"], record["configuration"]["options"]["epochs"]) == (3, 3)
    about = json.loads((out / "training.json").read_text())
    assert about["networks"]["network.pt"]["best_epoch"] == history["best_epoch"]
    assert about["events"] == {"training": 80, "validation": 20, "left_out": 0}
    assert main(command(world)) == 2
    assert "exists already; use --force" in capsys.readouterr().err


@pytest.mark.slow
def test_several_seeds_are_the_networks_of_each(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[Epoch] = []
    result = trained(world, seed=4, seeds=2, follow=seen.append)
    assert [(epoch.model, epoch.number) for epoch in seen] == [(0, 1), (0, 2), (1, 1), (1, 2)]
    assert list(result.networks) == ["network_4.pt", "network_5.pt"]
    names = {path.name for path in (world / "out").iterdir()} - {"logs"}
    assert {"network_4.pt", "network_5.pt", "history_4.json", "history_5.json"} < names
    assert "network.pt" not in names
    single = trained(world, "single", seed=5)
    assert equal(state(world / "out" / "network_5.pt"), state(world / "single"))
    assert len(read_model(world / "out").networks) == 2
    assert single.parameters == result.parameters


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.filterwarnings("ignore:.*no use here")
def test_two_epochs_of_the_example_by_the_command(shared: Path, tmp_path: Path) -> None:
    folder = shared / "spanet"
    call = ["-ef", str(folder / "ttH_event.yaml"), "--training_file", str(folder / "examples" / "ttH.h5"), "-e", "2"]
    assert main(["assignment", "train", "-of", str(folder / "ttH_options.json"), *call, "-o", str(tmp_path / "o")]) == 0
    history = json.loads((tmp_path / "o" / "history.json").read_text())
    assert history["loss"][1] < history["loss"][0]
    assert read_model(tmp_path / "o").description == ttH().event


def test_a_dry_run_says_what_would_be_trained(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (world / "tagged.h5").unlink()
    tagged(world / "tagged.h5", 100, classifications={"EVENT/kind": np.arange(100) % 2})
    assert main(command(world, "--dry-run", "-v", "-ts", "--profile", "-f", "-p", "50", "--seeds", "3")) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert "events" in lines
    row = next(line.split() for line in lines if line.startswith("events  "))
    assert row[2] == "10"  # a fifth of the half
    both = next(line.split() for line in lines if line.startswith("with t2"))
    assert both[2] == row[1]  # full events alone are trained on
    assert f"left out of the training: {40 - int(row[1])} events without all particles" in said.out
    assert "2 epochs of 1 steps of 32 events" in said.out
    assert "3 networks, of the seeds 0 to 2" in said.out
    assert "Jets/pt" in said.out
    assert "hidden_dim" in said.out
    assert "flags without a use here: -ts (networks are not compiled), --profile (there is no profiler)" in said.err
    assert {path.name for path in world.iterdir()} == {"event.yaml", "tagged.h5", "options.json"}


@pytest.mark.slow
def test_outputs_without_a_name_are_numbered(
    world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(world)
    for number in range(2):
        assert main(["assignment", "train", "-of", "options.json", "-l", "logs", "-n", "top", "--no-plots"]) == 0
        assert (world / "logs" / "top" / f"version_{number}" / "network.pt").is_file()


# ------------------------------------------------------------------------------------------------------- interruptions


def stop_after(number: int) -> Callable[[Epoch], None]:
    def stop(epoch: Epoch) -> None:
        if epoch.number == number:
            raise KeyboardInterrupt

    return stop


@pytest.mark.slow
def test_a_killed_and_resumed_training_is_the_same(world: Path) -> None:
    write_options(world, epochs=3)
    trained(world, "whole", seeds=2)

    def stop(epoch: Epoch) -> None:
        if (epoch.model, epoch.number) == (1, 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(world, seeds=2, resume=True, follow=stop)
    assert not (world / "out").exists()
    assert len(list((world / "out.resume").glob("*.pt"))) == 2
    seen: list[Epoch] = []
    with pytest.warns(ResumeWarning, match="goes on where an earlier run was interrupted"):
        trained(world, seeds=2, resume=True, follow=seen.append)
    assert [(epoch.model, epoch.number) for epoch in seen] == [(1, 3)]  # nothing is trained twice
    for seed in (0, 1):
        assert equal(state(world / "out" / f"network_{seed}.pt"), state(world / "whole" / f"network_{seed}.pt"))
        name = f"history_{seed}.json"
        assert (world / "out" / name).read_bytes() == (world / "whole" / name).read_bytes()
    assert not (world / "out.resume").exists()


@pytest.mark.slow
def test_the_state_of_another_training_is_dropped(world: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        trained(world, resume=True, follow=stop_after(1))
    write_options(world, learning_rate=1e-4)
    with pytest.warns(ResumeWarning, match="checkpoints are dropped: events, options, seed"):
        trained(world, resume=True)
    assert not (world / "out.resume").exists()


@pytest.mark.slow
def test_a_training_that_runs_out_of_time_can_go_on(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_options(world, epochs=4)
    trained(world, "whole")
    # epochs of one second: the third would end after 2.5 seconds
    result = trained(world, time_limit=2.5, clock=count().__next__)
    assert result.out_of_time
    assert len(result.networks["network.pt"].history) == 2
    names = {path.name for path in (world / "out").iterdir()} - {"logs"}
    assert names == {"network.pt", "history.json", "options.json", "event.yaml", "training.json", "checkpoint.pt"}
    assert json.loads((world / "out" / "training.json").read_text())["out_of_time"] is True
    again = trained(world, "again", checkpoint=world / "out")
    assert not again.out_of_time
    assert equal(state(world / "again"), state(world / "whole"))
    assert not list((world / "again").glob("*checkpoint*"))
    assert (world / "again" / "history.json").read_bytes() == (world / "whole" / "history.json").read_bytes()
    ensemble = trained(world, "ensemble", seeds=3, time_limit=5.5, clock=count().__next__, resume=True)
    assert (list(ensemble.networks), ensemble.left_out) == (["network_0.pt", "network_1.pt"], (2,))
    assert not (world / "ensemble.resume").exists()
    with pytest.raises(MismatchError, match="another training: events, options, seed, weights or code differ"):
        trained(world, "other", checkpoint=world / "out" / "checkpoint.pt", seed=1)
    (world / "text.pt").write_text("{}")
    with pytest.raises(InputFileError, match=r"text.pt is no checkpoint of a training here .no file of torch.save.; "):
        trained(world, "other", checkpoint=world / "text.pt")
    torch.save({"state_dict": {}, "optimizer_states": []}, world / "last.ckpt")
    with pytest.raises(InputFileError, match=r"last.ckpt is no checkpoint of a training here .* a start with -sf"):
        trained(world, "other", checkpoint=world / "last.ckpt")
    with pytest.raises(ConfigError, match="several seeds cannot start from it"):
        trained(world, "other", checkpoint=world / "out", seeds=2)
    assert not (world / "other").exists()


# ------------------------------------------------------------------------------------------------------------- weights


@pytest.mark.slow
def test_a_training_goes_on_from_weights_as_far_as_they_fit(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained(world, "first")
    write_options(world, num_branch_encoder_layers=2)
    assert main(command(world, "-sf", str(world / "first"), "-fsf", "--no-plots")) == 0
    assert "weights of the network are not in the file" in capsys.readouterr().out
    before, after = state(world / "first"), state(world / "out")
    assert torch.equal(before["encoder.token"], after["encoder.token"])
    assert set(after) > set(before)
    record = read_provenance(world / "out" / "training.json")
    assert str(world / "first") in record["files"]
    np.savez(world / "odd.npz", **{"nowhere.weight": np.zeros((2, 3), np.float32)})
    assert main(command(world, "-sf", str(world / "odd.npz"), "--force")) == 2
    text = capsys.readouterr().err
    assert "odd.npz fits nowhere in the network of the event file and the options" in text
    assert "left over: nowhere.weight (2, 3)" in text
    (world / "text.ckpt").write_text("{}")
    assert main(command(world, "-sf", str(world / "text.ckpt"), "--force")) == 2
    assert "text.ckpt is no file of torch.save (.ckpt, .pt) and no archive of NumPy" in capsys.readouterr().err
    for more in (["--dry-run"], []):
        assert main(command(world, "-fsf", "--force", *more)) == 2
        assert "-fsf freezes the weights of -sf, which is not given" in capsys.readouterr().err


@pytest.mark.slow
def test_a_network_of_frozen_weights_is_not_trained(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained(world, "first")
    for more in (["--dry-run"], ["--no-plots"]):
        assert main(command(world, "-sf", str(world / "first"), "-fsf", *more)) == 2
        text = capsys.readouterr().err
        assert "all weights that the loss depends on are loaded and frozen (-fsf, freeze=True): nothing is left" in text
    # what is not frozen has no loss
    weights = state(world / "first")
    kept = {name: value for name, value in weights.items() if not name.startswith("classifications")}
    assert len(kept) < len(weights)
    torch.save(kept, world / "part.pt")
    write_options(world, classification_loss_scale=0.0)
    assert main(command(world, "-sf", str(world / "part.pt"), "-fsf", "--no-plots")) == 2
    assert "all weights that the loss depends on are loaded and frozen" in capsys.readouterr().err
    assert not (world / "out").exists()


# ----------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["-g", "99"], "-g asks for 99 GPUs, torch .* finds .* here; -g 0 trains on the CPU"),
        (["--monitor", "event purty"], "unknown measure: 'event purty' .nearest: event purity"),
        (["-b", "0"], "batch_size"),
        (["-e", "0"], "epochs"),
        (["-fsf"], "-fsf freezes the weights of -sf, which is not given"),
        (["-p", "150"], "dataset_limit"),
        (["-vf", "absent.h5"], "no such file: absent.h5"),
        (["--seeds", "0"], "seeds"),
    ],
)
def test_flags_that_cannot_be_are_refused(
    world: Path, flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import re

    assert main(command(world, *flags, "--no-plots")) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (world / "out").exists()


def test_flags_take_the_place_of_keys_of_the_file(
    world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("NOWHERE", raising=False)
    content = json.loads((world / "options.json").read_text())
    (world / "options.json").write_text(json.dumps({**content, "training_file": "$NOWHERE/tops.h5", "epochs": -3}))
    assert main(command(world, "--dry-run")) == 2
    assert "the environment variable NOWHERE is not set" in capsys.readouterr().err
    assert main(command(world, "--dry-run", "-tf", str(world / "tagged.h5"), "-e", "7")) == 0
    assert "7 epochs of" in capsys.readouterr().out


def test_times_are_days_hours_minutes_and_seconds(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(world, "-t", "8 hours")) == 2
    assert "expected DD:HH:MM:SS, got '8 hours'" in capsys.readouterr().err
    from jettagger.cli.assignment_options import time_limit

    assert time_limit("01:02:03:04") == 93784


@pytest.mark.slow
def test_what_cannot_be_trained_is_refused_before(world: Path) -> None:
    (world / "empty.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"no event file is given: name it in the options \(event_info_file\) or wit"):
        train_to_folder(world / "empty.json", world / "out", plots=False)
    (world / "whole.json").write_text('{"split_symmetric_attention": false}')
    with pytest.raises(ConfigError, match="attention that is not split is refused"):
        train_to_folder(world / "whole.json", world / "out", plots=False)
    import h5py

    with h5py.File(world / "tagged.h5") as file, h5py.File(world / "other.h5", "w") as other:
        file.copy("INPUTS", other)
        file.copy("TARGETS", other)
    write_options(world, validation_file=str(world / "other.h5"))
    with pytest.raises(MissingColumns, match=r"other.h5 lacks datasets .* CLASSIFICATIONS/EVENT/kind"):
        trained(world)
    write_options(world, learning_rate=1e30, learning_rate_warmup_epochs=0.0)
    from jettagger.errors import InvalidValues

    with pytest.raises(InvalidValues, match=r"step 2 \(epoch 1, last finite loss [\d.]+\)"):
        trained(world, resume=True)
    with pytest.raises(OutputError, match="cannot be the output"):
        train_to_folder(world / "options.json", world, plots=False, force=True)
    names = {path.name for path in world.iterdir()}
    assert names == {"event.yaml", "tagged.h5", "options.json", "empty.json", "whole.json", "other.h5"}
