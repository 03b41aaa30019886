"""Command lines that run, of all commands, with small inputs in a folder; outputs are in it, too."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import test_streams

from jettagger.bundles.places import PACKAGE
from jettagger.bundles.registry import add
from jettagger.cli import main

TINY = str(PACKAGE / "models" / "tinyParT")

Line = list[str]


class Built(Exception):
    """The inputs of a command are there."""

    def __init__(self, line: Line) -> None:
        self.line = line


def of_streams(verb: str) -> Callable[[Path], Line]:
    """The command line of a verb in the tests of its streams."""

    def build(folder: Path) -> Line:
        def run(_: object, *arguments: str) -> None:
            if list(arguments[: verb.count(" ") + 1]) == verb.split():
                raise Built(list(arguments))
            assert main(list(arguments)) == 0  # what it needs

        capsys: Any = None
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(test_streams, "run", run)
            try:
                test_streams.VERBS[verb](folder, capsys)
            except Built as built:
                return built.line
        raise AssertionError(verb)

    return build


def needs(*modules: str) -> None:
    for module in modules:
        pytest.importorskip(module)


def convert(folder: Path) -> Line:
    from conftest import shared_folder

    path = shared_folder() / "sophon" / "events_delphes_example.root"
    if not path.is_file():
        pytest.skip("the file of Delphes is not here")
    return ["convert", "delphes", str(path), "-o", str(folder / "jets.root")]


def models_check(folder: Path) -> Line:
    return ["models", "check", "tinyParT", "--write-golden", str(folder / "golden.npz")]


def models_remove(folder: Path) -> Line:
    add(TINY, "removed", force=True)
    return ["models", "remove", "removed", "--yes"]


def jec_location(folder: Path) -> Path:
    from jec_jets import write_location

    return write_location(folder / "jets") if not (folder / "jets").exists() else folder / "jets"


def jec_config(folder: Path) -> Path:
    from jec_jets import write_config

    jec_location(folder)
    return write_config(folder, train={"max_epochs": 2})


def jec_train(folder: Path) -> Line:
    needs("torch", "onnxruntime")
    return ["jec", "train", str(jec_config(folder)), "-o", str(folder / "out"), "--no-plots"]


def jec_import(folder: Path) -> Line:
    """With random weights of the network of a configuration, as the original would save them."""
    import numpy as np

    from jettagger.jec import open_data, read_config
    from jettagger.jec.importing import write_weights
    from jettagger.jec.training import architecture_for

    config = read_config(jec_config(folder))
    shapes = architecture_for(config, open_data(config.data.location).transforms()).weights
    rng = np.random.default_rng(1)
    weights = {name: abs(rng.normal(0, 0.1, shape)).astype("f4") for name, shape in shapes.items()}
    write_weights(folder / "weights.npz", weights)
    return ["jec", "import", str(folder / "weights.npz"), str(folder / "config.yaml"), "-o", str(folder / "imported")]


def jec_build_transform(folder: Path) -> Line:
    return ["jec", "build-transform", str(jec_location(folder)), "-o", str(folder / "transform.yaml")]


def jec_inputs(folder: Path) -> Line:
    from jec_events import jec_columns

    from jettagger.files.root import write_tree

    write_tree(folder / "events.root", [jec_columns(20)])
    return ["jec", "inputs", str(folder / "events.root"), "-o", str(folder / "set")]


def jec_predict(folder: Path) -> Line:
    """With the model of a training."""
    assert main(jec_train(folder)) == 0
    return ["jec", "predict", str(folder / "out"), str(jec_location(folder)), "-o", str(folder / "prediction.npy")]


def jec_steer(folder: Path) -> Line:
    needs("torch", "onnxruntime")
    return ["jec", "steer", str(jec_config(folder)), "--store", str(folder / "store"), "--no-plots"]


def simple_jets(folder: Path) -> str:
    """A shard with what a standard correction reads."""
    from test_inputs_and_outputs import shard

    return str(shard(folder / "simple" / "jets.root"))


def jec_standard(folder: Path) -> Line:
    return ["jec", "standard", simple_jets(folder), "-o", str(folder / "standard.json"), "--min-jets", "10"]


def jec_plot(folder: Path) -> Line:
    line = ["jec", "plot", simple_jets(folder), "--estimate", "a=pt", "--pt", "30,300", "--eta", "0,300", "--no-plots"]
    return [*line, "--replicas", "2", "-o", str(folder / "plots")]


def tops(folder: Path) -> Line:
    """Options of a short training."""
    from assignment_networks import SMALL, TAGGED, tagged

    needs("h5py", "numba")
    tagged(folder / "tops.h5", 80)
    (folder / "event.yaml").write_text(TAGGED)
    options = {
        **SMALL, "regression_loss_scale": 0.0, "partial_events": True, "train_validation_split": 0.8, "batch_size": 32,
        "epochs": 2, "event_info_file": str(folder / "event.yaml"), "training_file": str(folder / "tops.h5"),
    }  # fmt: skip
    (folder / "options.json").write_text(json.dumps(options))
    return ["-of", str(folder / "options.json")]


def assignment_train(folder: Path) -> Line:
    needs("torch")
    return ["assignment", "train", *tops(folder), "-o", str(folder / "out"), "--no-plots"]


def assignment_check(folder: Path) -> Line:
    tops(folder)
    event = str(folder / "event.yaml")
    return ["assignment", "check", str(folder / "tops.h5"), "--event", event, "-o", str(folder / "check.json")]


def assignment_concatenate(folder: Path) -> Line:
    from assignment_networks import tagged

    needs("h5py", "numba")
    tagged(folder / "a.h5", 20)
    tagged(folder / "b.h5", 30)
    return ["assignment", "concatenate", str(folder / "a.h5"), str(folder / "b.h5"), "-o", str(folder / "ab.h5")]


def assignment_import(folder: Path) -> Line:
    from assigners import MAPPING, raw_folder

    needs("onnxruntime", "numba")
    raw = raw_folder(folder / "raw")
    (folder / "mapping.yaml").write_text(MAPPING)
    line = ["assignment", "import", str(raw / "model.onnx"), f"--event={raw}/event.yaml", "--input-log=yes"]
    return [*line, f"--mapping={folder}/mapping.yaml", "-o", str(folder / "net")]


def assignment_predict(folder: Path) -> Line:
    from assigners import assigner_folder, jet_events
    from test_assignment_predict import write_events

    needs("numba")
    net = assigner_folder(folder)
    path = write_events(folder / "events.root", jet_events(12))
    return ["assignment", "predict", str(path), f"--model={net}", "--threads=1", "-o", str(folder / "out.parquet")]


def assignment_export(folder: Path) -> Line:
    needs("torch", "numba", "h5py")
    from assignment_networks import TOPS, event, network

    from jettagger.assignment.weights import write_network

    write_network(folder / "network.pt", network(event(TOPS)))
    return ["assignment", "export", str(folder / "network.pt"), "-o", str(folder / "exported")]


def assignment_import_weights(folder: Path) -> Line:
    needs("torch", "numba", "h5py")
    import torch
    from assignment_networks import TOPS, event, network, options
    from test_assignment_weights_import import state

    from jettagger.topology.eventfile import write_event_file

    version = folder / "version_0"
    (version / "checkpoints").mkdir(parents=True)
    write_event_file(version / "event.yaml", event(TOPS))
    (version / "options.json").write_text(options().model_dump_json())
    content = {"state_dict": state(network(event(TOPS))), "epoch": 1, "optimizer_states": [{}]}
    name = "epoch=1-step=100-validation_average_jet_accuracy=0.5.ckpt"
    torch.save(content, version / "checkpoints" / name)
    return ["assignment", "import-weights", str(version), "-o", str(folder / "tops.pt")]


def assignment_convert(folder: Path) -> Line:
    needs("h5py")
    from test_assignment_datasets import OLD_EVENT, old_file

    from jettagger.topology.eventfile import write_event_file

    write_event_file(folder / "event.yaml", OLD_EVENT)
    line = ["assignment", "convert", str(old_file(folder / "old.h5")), "--event", str(folder / "event.yaml")]
    return [*line, "-o", str(folder / "new.h5")]


def assignment_inputs(folder: Path) -> Line:
    needs("h5py")
    from assignments import top_pair_file

    example = Path(__file__).parent.parent / "examples" / "assignment" / "tthad" / "event.yaml"
    path = top_pair_file(folder / "events.root", 20)
    return ["assignment", "inputs", str(path), "--event", str(example), "-o", str(folder / "set.h5")]


def assignment_evaluate(folder: Path) -> Line:
    needs("numba", "h5py", "onnxruntime")
    from assigners import assigner_folder
    from test_assignment_evaluate import dataset

    line = ["assignment", "evaluate", str(assigner_folder(folder)), dataset(folder / "data.h5"), "--threads=1"]
    return [*line, "--replicas=2", "-o", str(folder / "out.json")]


def assignment_tune(folder: Path) -> Line:
    needs("torch", "optuna")
    (folder / "space.json").write_text(json.dumps({"dropout": "tune.uniform(0, 0.1)"}))
    line = ["assignment", "tune", *tops(folder), "-s", str(folder / "space.json"), "--trials", "1", "--no-plots"]
    return [*line, "-o", str(folder / "out")]


#: verbs with sub-verbs, or with a stand-in in the tests of streams
NAMED = ("convert", "jec", "assignment", "models", "discriminants")

#: command -> what makes its inputs in a folder and returns its arguments
LINES: dict[str, Callable[[Path], Line]] = {
    **{verb: of_streams(verb) for verb in test_streams.VERBS if verb not in NAMED},
    "convert": convert,
    "models list": lambda _: ["models", "list"],
    "models show": lambda _: ["models", "show", "tinyParT"],
    "models check": models_check,
    "models accept": lambda _: ["models", "accept", str(add(TINY, "accepted", force=True))],
    "models add": lambda _: ["models", "add", TINY, "--name", "added"],
    "models remove": models_remove,
    "models serve-config": lambda folder: ["models", "serve-config", "tinyParT", "-o", str(folder)],
    "discriminants list": lambda _: ["discriminants", "list"],
    "discriminants show": lambda _: ["discriminants", "show", "HbbvsQCD"],
    "discriminants groups": lambda _: ["discriminants", "groups"],
    "jec train": jec_train,
    "jec import": jec_import,
    "jec build-transform": jec_build_transform,
    "jec inputs": jec_inputs,
    "jec predict": jec_predict,
    "jec steer": jec_steer,
    "jec standard": jec_standard,
    "jec plot": jec_plot,
    "assignment train": assignment_train,
    "assignment check": assignment_check,
    "assignment concatenate": assignment_concatenate,
    "assignment import": assignment_import,
    "assignment predict": assignment_predict,
    "assignment export": assignment_export,
    "assignment tune": assignment_tune,
    "assignment import-weights": assignment_import_weights,
    "assignment convert": assignment_convert,
    "assignment inputs": assignment_inputs,
    "assignment evaluate": assignment_evaluate,
}
