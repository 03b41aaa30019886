"""Checkpoints of SPANet as network files: the same network, files beside them, the best of several, refusals."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from assignment_networks import TOPS, event, network, options, some_inputs, ttH

from jettagger.assignment.ensembles import read_model
from jettagger.assignment.weights import original_names
from jettagger.assignment.weights_import import import_weights
from jettagger.cli import main
from jettagger.errors import ConfigError, InputFileError, MismatchError
from jettagger.topology.eventfile import write_event_file

torch = pytest.importorskip("torch")


def state(net: Any) -> dict[str, Any]:
    """The state dictionary of a network with the names of the original, as its checkpoints have it."""
    made = {}
    for name, parts in original_names(net).items():
        value = net.state_dict()[name]
        pieces = value.chunk(len(parts)) if len(parts) > 1 else [value]
        made |= {f"model.{part}": piece.clone() for part, piece in zip(parts, pieces, strict=True)}
    return made


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """The folder of a training of the original with three checkpoints."""
    folder = tmp_path / "version_0"
    (folder / "checkpoints").mkdir(parents=True)
    write_event_file(folder / "event.yaml", event(TOPS))
    (folder / "options.json").write_text(options().model_dump_json())
    for epoch, accuracy in ((9, 0.3), (58, 0.5), (7, 0.4)):
        name = f"epoch={epoch}-step=100-validation_average_jet_accuracy={accuracy}.ckpt"
        content = {"state_dict": state(network(event(TOPS), seed=epoch)), "epoch": epoch, "optimizer_states": [{}]}
        torch.save(content, folder / "checkpoints" / name)
    return folder


def test_the_best_checkpoint_of_a_folder_is_the_network(
    version: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "tops.pt"
    assert main(["assignment", "import-weights", str(version), "-o", str(path)]) == 0
    said = capsys.readouterr().out
    assert "epoch=58-" in said
    assert "weights loaded" in said
    values, masks = some_inputs(event(TOPS), 4, 6)
    with torch.no_grad():
        made, expected = (net(values, masks).assignments["t1"] for net in (read_model(path), network(event(TOPS), 58)))
    assert torch.equal(made, expected)
    assert main(["assignment", "import-weights", str(version), "-o", str(path)]) == 2
    assert "exists" in capsys.readouterr().err
    single = next((version / "checkpoints").glob("epoch=9-*"))
    assert main(["assignment", "import-weights", str(single), "-o", str(path), "--force"]) == 0
    assert torch.equal(read_model(path).encoder.token, network(event(TOPS), 9).encoder.token)


@pytest.mark.data
@pytest.mark.filterwarnings("ignore:.*no use here")
def test_the_published_weights_need_no_training_file(shared: Path, tmp_path: Path) -> None:
    folder = shared / "spanet"
    made = import_weights(
        ttH().weights, tmp_path / "ttH.pt", event=folder / "ttH_event.yaml", options=folder / "ttH_options.json"
    )
    assert not made.loaded.kept
    assert not made.loaded.unused
    again = read_model(tmp_path / "ttH.pt").state_dict()
    assert all(torch.equal(value, again[name]) for name, value in made.network.state_dict().items())


def test_what_does_not_belong_together_is_refused(version: Path, tmp_path: Path) -> None:
    (version / "options.json").write_text(options(hidden_dim=16).model_dump_json())
    with pytest.raises(MismatchError, match=r"epoch=58.* does not fit the network of .*; shapes differ"):
        import_weights(version, tmp_path / "x.pt")
    (version / "options.json").unlink()
    with pytest.raises(ConfigError, match=r"there is no options.json beside .*: give it with --options"):
        import_weights(version, tmp_path / "x.pt")
    shutil.rmtree(version / "checkpoints")
    with pytest.raises(InputFileError, match=r"version_0 has no .ckpt, expected one checkpoint"):
        import_weights(version, tmp_path / "x.pt")
    assert not (tmp_path / "x.pt").exists()


def test_files_of_trainings_here_are_named(version: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["assignment", "import-weights", str(tmp_path / "x.pt"), "-o", str(tmp_path / "y.pt")]
    call += ["-ef", str(version / "event.yaml"), "-of", str(version / "options.json")]
    torch.save({"format": "jettagger checkpoint", "version": 2, "weights": {}}, tmp_path / "x.pt")
    assert main(call) == 2
    assert "is the state of a training here: -cf goes on from it" in capsys.readouterr().err
    torch.save({"inputs.0.mean": torch.zeros(2)}, tmp_path / "x.pt")
    assert main(call) == 2
    assert "has the weights of a network of jettagger, not of SPANet" in capsys.readouterr().err
    assert not (tmp_path / "y.pt").exists()


class Planted:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> Any:
        return (print, ("run",))


def test_nothing_in_a_pickle_is_run(version: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = version / "checkpoints" / "last.ckpt"
    torch.save({"state_dict": {"model.x": torch.zeros(1)}, "hyper_parameters": Planted()}, path)
    assert main(["assignment", "import-weights", str(path), "-o", str(tmp_path / "x.pt")]) == 2
    said = capsys.readouterr()
    assert "is refused: its pickle holds objects that are no tensors or plain containers" in said.err
    assert "run" not in said.out
    path.write_bytes(pickle.dumps(Planted()))
    assert main(["assignment", "import-weights", str(path), "-o", str(tmp_path / "x.pt")]) == 2
    assert "run\n" not in capsys.readouterr().out
    np.savez(tmp_path / "planted.npz", x=np.array([Planted()], dtype=object))
    call = ["--event", str(version / "event.yaml"), "--options", str(version / "options.json")]
    assert (
        main(["assignment", "import-weights", str(tmp_path / "planted.npz"), *call, "-o", str(tmp_path / "x.pt")]) == 2
    )
    assert "cannot be read as weights" in capsys.readouterr().err
    assert not (tmp_path / "x.pt").exists()
