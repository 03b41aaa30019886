"""No output is ever one of its inputs, and no file counts twice: every command, every name that a file can have."""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from calibrations import probes
from coffea import processor
from coffea.nanoevents import PFNanoAODSchema
from hypothesis import given
from hypothesis import strategies as st
from jec_events import jec_columns
from jec_jets import make_jets, write_location
from jettagger.processors import FinetuneInputsProcessor, TaggingProcessor
from pyarrow import parquet
from searches import make_world
from toyskims import CONFIG, write_toy
from weavers import table, weaver_bundle

import jettagger as jt
from jettagger.bundles.places import PACKAGE, user_folder
from jettagger.cli import COMMANDS, main
from jettagger.decorrelation import fit_linear
from jettagger.errors import MismatchError, OutputError
from jettagger.files import check_folder, identity, refuse_inputs, refuse_repeats
from jettagger.files.root import write_tree
from jettagger.finetuning import score_skim
from jettagger.histograms import save
from jettagger.jec import RawJets, write_data, write_shard
from jettagger.search.config import read_config
from jettagger.search.files import survey
from jettagger.skims import jobs
from jettagger.skims.convert import convert_delphes
from jettagger.skims.jobs import Content, Layout
from jettagger.skims.writers import write_skim
from jettagger.testing import write_pfnano

TINY = PACKAGE / "models" / "tinyParT"


def symlink(path: Path) -> Path:
    """Another name of a file or of a folder."""
    link = path.with_name(f"link-{path.name}")
    link.symlink_to(path)
    return link


def hard_link(path: Path) -> Path:
    link = path.with_name(f"hard-{path.name}")
    os.link(path, link)
    return link


#: every name that a file can have, from its own
NAMES: dict[str, Callable[[Path], str]] = {
    "path": str,
    "relative": os.path.relpath,
    "dotted": lambda path: f"{path.parent}/../{path.parent.name}/./{path.name}",
    "symlink": lambda path: str(symlink(path)),
    "hard link": lambda path: str(hard_link(path)),
}
FOLDERS = {name: NAMES[name] for name in ("path", "relative", "dotted", "symlink")}


def nano(folder: Path) -> Path:
    return write_pfnano(folder / "nano.root", 3, seed=1)


def tag(folder: Path) -> tuple[list[str], Path]:
    path = nano(folder)
    return ["tag", str(path), "-m", "tinyParT", "-o"], path


def tag_dry(folder: Path) -> tuple[list[str], Path]:
    path = nano(folder)
    return ["tag", str(path), "-m", "tinyParT", "--dry-run", "-o"], path


def tag_network(folder: Path) -> tuple[list[str], Path]:
    model = Path(shutil.copytree(TINY, folder / "model"))
    os.link(model / "model.onnx", folder / "network.root")
    return ["tag", str(nano(folder)), "-m", str(model), "-o"], folder / "network.root"


def convert(folder: Path) -> tuple[list[str], Path]:
    path = nano(folder)  # what is in it is looked at later
    return ["convert", "delphes", str(path), "-o"], path


def show(folder: Path) -> tuple[list[str], Path]:
    path = nano(folder)
    return ["show", "jet", str(path), "-o"], path


def explain(folder: Path) -> tuple[list[str], Path]:
    path = nano(folder)
    return ["explain", str(path), "-m", "tinyParT", "-d", "mass", "--method", "occlusion", "-o"], path


def explain_versus(folder: Path) -> tuple[list[str], Path]:
    line, path = explain(folder)
    other = str(write_pfnano(folder / "other.root", 3, seed=2))
    return [line[0], other, "--versus", *line[1:]], path


def show_image(folder: Path) -> tuple[list[str], Path]:
    path = nano(folder)
    return ["show", "image", str(path), "-o"], path


def show_image_second(folder: Path) -> tuple[list[str], Path]:
    path = nano(folder)
    return ["show", "image", "absent.root", "--versus", str(path), "-o"], path


def show_image_settings(folder: Path) -> tuple[list[str], Path]:
    path = folder / "image.yaml"
    path.write_text("version: 1\n")
    return ["show", "image", "absent.root", "--settings", str(path), "-o"], path


def simulate(folder: Path) -> tuple[list[str], Path]:
    card = Path(shutil.copy(PACKAGE / "simulation" / "cards" / "default.yaml", folder / "card.yaml"))
    return ["simulate", "--process", "Hbb", "--card", str(card), "-o"], card


def datasets(folder: Path) -> tuple[list[str], Path]:
    path = folder / "tt.json"
    path.write_bytes(nano(folder).read_bytes())
    (folder / "tt.txt").write_text(f"{path}\n")
    return ["datasets", f"tt={folder / 'tt.txt'}", "-o"], path


def datasets_list(folder: Path) -> tuple[list[str], Path]:
    path = folder / "sets.json"
    path.write_text(f'{{"tt": ["{nano(folder)}"]}}')
    return ["datasets", str(path), "-o"], path


def datasets_metadata(folder: Path) -> tuple[list[str], Path]:
    path = folder / "meta.json"
    path.write_text("{tt: {cross_section: 830}}")
    return ["datasets", str(nano(folder)), "--metadata", str(path), "-o"], path


def search(folder: Path) -> tuple[list[str], Path]:
    """The configuration and all files lie in the folder of an earlier search."""
    config = make_world(folder / "out")
    (folder / "out" / "record.json").write_text("{}")
    return ["search", str(config), "-o"], config.parent


def search_sample(folder: Path) -> tuple[list[str], Path]:
    """Only one file of a sample does."""
    config = make_world(folder / "world")
    out = folder / "out"
    out.mkdir()
    (out / "record.json").write_text("{}")
    shutil.move(config.parent / "X1.root", out / "X1.root")
    config.write_text(config.read_text().replace("files: X1.root", "files: ../out/X1.root"))
    return ["search", str(config), "-o"], out


def search_model(folder: Path) -> tuple[list[str], Path]:
    config = make_world(folder / "world")
    out = folder / "out"
    out.mkdir()
    (out / "record.json").write_text("{}")
    shutil.copytree(TINY, out / "myParT")
    config.write_text(config.read_text().replace("model: tinyParT", f"model: {out / 'myParT'}"))
    return ["search", str(config), "-o"], out


def search_merge(folder: Path) -> tuple[list[str], Path]:
    """A part lies in the folder of an earlier search."""
    part = folder / "out" / "part"
    part.mkdir(parents=True)
    (part / "part.json").write_text("{}")
    (folder / "out" / "record.json").write_text("{}")
    return ["search", "merge", str(part), "-o"], folder / "out"


def finetune(folder: Path) -> tuple[list[str], Path]:
    """The configuration lies in the folder of an earlier head."""
    head = folder / "head"
    head.mkdir()
    (head / "head.json").write_text("{}")
    (head / "xgg.yaml").write_text(CONFIG.format(name="Toy"))
    write_toy(head / "toy.parquet", 20)
    return ["finetune", str(head / "xgg.yaml"), "-o"], head


def finetune_skim(folder: Path) -> tuple[list[str], Path]:
    head = folder / "head"
    head.mkdir()
    (head / "head.json").write_text("{}")
    write_toy(head / "toy.parquet", 20)
    (folder / "xgg.yaml").write_text(CONFIG.format(name="Toy").replace("toy*.parquet", "head/toy*.parquet"))
    return ["finetune", str(folder / "xgg.yaml"), "-o"], head


STUDY = """\
version: 1
discriminant: probHbb
background: {files: toy.parquet, select: FatJet_truth > 0}
signal: {files: toy.parquet, select: FatJet_truth == 0}
protected: {FatJet_msoftdrop: {bins: [4, 0, 400]}, FatJet_pt: {bins: [4, 0, 1000]}}
maps: {line: linear}
"""


def decorrelate(folder: Path) -> tuple[list[str], Path]:
    """The configuration lies in the folder of an earlier study."""
    study = folder / "study"
    study.mkdir()
    (study / "report.json").write_text("{}")
    write_toy(study / "toy.parquet", 20)
    (study / "study.yaml").write_text(STUDY)
    return ["decorrelate", str(study / "study.yaml"), "-o"], study


def decorrelate_skim(folder: Path) -> tuple[list[str], Path]:
    study = folder / "study"
    study.mkdir()
    (study / "report.json").write_text("{}")
    write_toy(study / "toy.parquet", 20)
    (folder / "study.yaml").write_text(STUDY.replace("toy.parquet", "study/toy.parquet"))
    return ["decorrelate", str(folder / "study.yaml"), "-o"], study


def apply_map(folder: Path) -> tuple[list[str], Path]:
    skim = write_toy(folder / "toy.parquet", 200)
    fit_linear("probHbb", parquet.read_table(skim)).save(folder / "map.json")
    return ["decorrelate", "apply", str(folder / "map.json"), str(skim), "-o"], skim


def apply_map_over_it(folder: Path) -> tuple[list[str], Path]:
    arguments, _ = apply_map(folder)
    return arguments, folder / "map.json"


def golden(folder: Path) -> tuple[list[str], Path]:
    model = Path(shutil.copytree(TINY, folder / "model"))
    return ["models", "check", str(model), "--write-golden"], model / "model.onnx"


CALIBRATION = """\
version: 1
name: top
discriminant: TopbqqvsQCD
working_points: {tight: 0.9}
histograms: probes.json
variable: msoftdrop
bins: {pt: [300, 400]}
categories: {signal: {}}
"""


def calibrate(folder: Path) -> tuple[list[str], Path]:
    """The histograms lie in the folder of an earlier calibration."""
    old = folder / "calibration"
    old.mkdir()
    (old / "report.json").write_text("{}")
    save({"probe": probes()}, old / "probes.json")
    (folder / "calibration.yaml").write_text(CALIBRATION.replace("probes.json", "calibration/probes.json"))
    return ["calibrate", str(folder / "calibration.yaml"), "-o"], old


def shard(path: Path) -> Path:
    """A file of jets with what a standard correction reads."""
    number = np.linspace(30, 300, 200)
    names = ("pt", "pt_gen", "eta", "eta_gen", "area", "rho", "num_pv")
    path.parent.mkdir(exist_ok=True)
    write_shard(path, RawJets({name: number.astype(np.float32) for name in names}, {}))
    return path


def jec_plot(folder: Path) -> tuple[list[str], Path]:
    """The jets lie in the folder of an earlier comparison."""
    path = shard(folder / "plots/jets.root")
    (path.parent / "performance.json").write_text("{}")
    return ["jec", "plot", str(path), "--estimate", "a=pt", "--no-plots", "-o"], path.parent


def jec_standard(folder: Path) -> tuple[list[str], Path]:
    path = shard(folder / "jets.root")
    return ["jec", "standard", str(path), "-o"], path


def jec_standard_list(folder: Path) -> tuple[list[str], Path]:
    """The list of the files that it reads."""
    shard(folder / "jets/jets.root")
    write_data(folder / "jets", {"jets.root": 200})
    return ["jec", "standard", str(folder / "jets"), "-o"], folder / "jets/data.yaml"


def jec_standard_fill(folder: Path) -> tuple[list[str], Path]:
    """The location whose jets it copies."""
    shard(folder / "jets/jets.root")
    write_data(folder / "jets", {"jets.root": 200})
    return ["jec", "standard", str(folder / "jets"), "-o", str(folder / "new.json"), "--fill"], folder / "jets"


def transforms_of_jets(folder: Path) -> tuple[list[str], Path]:
    write_shard(folder / "jets.root", make_jets(5))
    return ["jec", "build-transform", str(folder / "jets.root"), "-o"], folder / "jets.root"


def transforms_of_location(folder: Path) -> tuple[list[str], Path]:
    location = write_location(folder / "jets", files=1)
    return ["jec", "build-transform", str(location), "-o"], location / "data.yaml"


def jec_inputs(folder: Path) -> tuple[list[str], Path]:
    """The events lie in the folder of an earlier training set."""
    (folder / "jets").mkdir()
    write_tree(folder / "jets/events.root", [jec_columns(5)])
    write_data(folder / "jets", {"1.root": 5})
    return ["jec", "inputs", str(folder / "jets/events.root"), "-o"], folder / "jets"


def jec_inputs_sampling(folder: Path) -> tuple[list[str], Path]:
    (folder / "jets").mkdir()
    write_tree(folder / "events.root", [jec_columns(5)])
    (folder / "jets/sampling.yaml").write_text("keep: 0.5")
    write_data(folder / "jets", {"1.root": 5})
    options = ["--sampling", str(folder / "jets/sampling.yaml")]
    return ["jec", "inputs", str(folder / "events.root"), *options, "-o"], folder / "jets"


def jec_training(folder: Path) -> Path:
    """The folder of an earlier training, with its configuration, weights and jets."""
    old = folder / "training"
    for number in range(3):
        shard(old / f"{number}.root")
    write_data(old, {f"{number}.root": 200 for number in range(3)})
    (old / "calibration.json").write_text("{}")
    (old / "config.yaml").write_text(JEC)
    return old


#: a network of jets without constituents
JEC = """
data: {location: ., split: [1, 1, -1], batch_size: 10}
features: {global: {numerical: [pt, eta]}}
model: {head: {type: mlp, num_units: [2]}}
loss: mae
train: {steps_per_epoch: 1}
predict: false
"""


def jec_train(folder: Path) -> tuple[list[str], Path]:
    old = jec_training(folder)
    return ["jec", "train", str(old / "config.yaml"), "-o"], old


def jec_import(folder: Path) -> tuple[list[str], Path]:
    old = jec_training(folder)
    np.savez(folder / "weights.npz", a=np.zeros(1))
    return ["jec", "import", str(folder / "weights.npz"), str(old / "config.yaml"), "-o"], old


def jec_predict(folder: Path) -> tuple[list[str], Path]:
    """A file of jets whose name is that of predictions."""
    path = shard(folder / "jets/jets.root").rename(folder / "jets/jets.npy")
    write_data(folder / "jets", {"jets.npy": 200})
    return ["jec", "predict", str(folder), str(folder / "jets"), "-o"], path


def events_file(folder: Path) -> tuple[str, str]:
    """Names of a dataset of whole events and an event file: that they are no output is known before they are read."""
    (folder / "events.h5").write_bytes(b"HDF5")
    (folder / "event.yaml").write_text("INPUTS: {SEQUENTIAL: {Jets: {pt: log}}}\nEVENT: {h: [b1, b2]}\n")
    return str(folder / "events.h5"), str(folder / "event.yaml")


def assignment_check(folder: Path) -> tuple[list[str], Path]:
    path, event = events_file(folder)
    return ["assignment", "check", path, "--event", event, "-o"], Path(path)


def assignment_check_event(folder: Path) -> tuple[list[str], Path]:
    path, event = events_file(folder)
    return ["assignment", "check", path, "--event", event, "-o"], Path(event)


def assignment_inputs(folder: Path) -> tuple[list[str], Path]:
    path, event = events_file(folder)
    return ["assignment", "inputs", path, "--event", event, "-o"], Path(path)


def assignment_inputs_event(folder: Path) -> tuple[list[str], Path]:
    path, event = events_file(folder)
    return ["assignment", "inputs", path, "--event", event, "-o"], Path(event)


def assignment_inputs_mapping(folder: Path) -> tuple[list[str], Path]:
    path, event = events_file(folder)
    (folder / "mapping.yaml").write_text("version: 1\n")
    mapping = str(folder / "mapping.yaml")
    return ["assignment", "inputs", path, "--event", event, "--inputs", mapping, "-o"], Path(mapping)


def assignment_concatenate(folder: Path) -> tuple[list[str], Path]:
    path, _ = events_file(folder)
    return ["assignment", "concatenate", path, "-o"], Path(path)


def assignment_convert(folder: Path) -> tuple[list[str], Path]:
    path, event = events_file(folder)
    return ["assignment", "convert", path, "--event", event, "-o"], Path(path)


def assignment_import(folder: Path) -> tuple[list[str], Path]:
    """A folder of a network that contains the file to import."""
    (folder / "net").mkdir()
    for name in ("model.onnx", "event.yaml"):
        (folder / "net" / name).write_bytes(b"")
    (folder / "net" / "assigner.json").write_text("{}")
    event = str(folder / "net/event.yaml")
    return ["assignment", "import", str(folder / "net/model.onnx"), "--event", event, "-o"], folder / "net"


def assignment_predict(folder: Path) -> tuple[list[str], Path]:
    from assigners import assigner_folder

    events = Path(events_file(folder)[0])
    return ["assignment", "predict", str(events), "--model", str(assigner_folder(folder / "made")), "-o"], events


def assignment_import_weights(folder: Path) -> tuple[list[str], Path]:
    _, event = events_file(folder)
    weights = folder / "weights.npz"
    np.savez(weights, x=np.zeros(1))
    (folder / "options.json").write_text("{}")
    return ["assignment", "import-weights", str(weights), "--event", event, "-o"], weights


def assignment_import_weights_options(folder: Path) -> tuple[list[str], Path]:
    arguments, weights = assignment_import_weights(folder)
    return arguments, weights.with_name("options.json")


def assignment_export(folder: Path) -> tuple[list[str], Path]:
    place = folder / "trained"
    place.mkdir()
    (place / "network.pt").write_bytes(b"x")
    return ["assignment", "export", str(place), "-o"], place


def assignment_export_mapping(folder: Path) -> tuple[list[str], Path]:
    mapping = folder / "inputs.yaml"
    mapping.write_text("version: 1\n")
    (folder / "network.pt").write_bytes(b"x")
    return ["assignment", "export", str(folder / "network.pt"), "--mapping", str(mapping), "-o"], mapping


def assignment_train(folder: Path) -> tuple[list[str], Path]:
    path, event = events_file(folder)
    return ["assignment", "train", "-ef", event, "-tf", path, "-o"], Path(path)


def assignment_train_options(folder: Path) -> tuple[list[str], Path]:
    path, event = events_file(folder)
    options = folder / "options.json"
    options.write_text(f'{{"event_info_file": "{event}", "training_file": "{path}"}}')
    return ["assignment", "train", "-of", str(options), "-o"], options


def assignment_train_weights(folder: Path) -> tuple[list[str], Path]:
    path, event = events_file(folder)
    weights = folder / "weights.npz"
    np.savez(weights, x=np.zeros(1))
    return ["assignment", "train", "-ef", event, "-tf", path, "-sf", str(weights), "-o"], weights


def assignment_tune(folder: Path) -> tuple[list[str], Path]:
    path, event = events_file(folder)
    return ["assignment", "tune", "-ef", event, "-tf", path, "-o"], Path(path)


def assignment_tune_space(folder: Path) -> tuple[list[str], Path]:
    path, event = events_file(folder)
    space = folder / "space.json"
    space.write_text('{"dropout": "tune.uniform(0, 0.2)"}')
    return ["assignment", "tune", "-ef", event, "-tf", path, "-s", str(space), "-o"], space


def assignment_evaluate(folder: Path) -> tuple[list[str], Path]:
    path, _ = events_file(folder)
    return ["assignment", "evaluate", "absent", path, "--output"], Path(path)


def assignment_evaluate_model(folder: Path) -> tuple[list[str], Path]:
    path, _ = events_file(folder)
    (folder / "net.pt").write_bytes(b"")
    return ["assignment", "evaluate", str(folder / "net.pt"), path, "--output"], folder / "net.pt"


#: command -> ways in which a file that it reads could be its output, and what that output can be called
FILES = {
    "tag": [tag, tag_dry, tag_network],
    "convert": [convert],
    "show": [show],
    "explain": [explain, explain_versus],
    "show image": [show_image, show_image_second, show_image_settings],
    "simulate": [simulate],
    "datasets": [datasets, datasets_list, datasets_metadata],
    "search": [search, search_sample, search_model],
    "search merge": [search_merge],
    "finetune": [finetune, finetune_skim],
    "models check": [golden],
    "calibrate": [calibrate],
    "jec inputs": [jec_inputs, jec_inputs_sampling],
    "jec plot": [jec_plot],
    "jec train": [jec_train],
    "jec import": [jec_import],
    "jec predict": [jec_predict],
    "jec standard": [jec_standard, jec_standard_list, jec_standard_fill],
    "jec build-transform": [transforms_of_jets, transforms_of_location],
    "assignment check": [assignment_check, assignment_check_event],
    "assignment inputs": [assignment_inputs, assignment_inputs_event, assignment_inputs_mapping],
    "assignment concatenate": [assignment_concatenate],
    "assignment convert": [assignment_convert],
    "assignment import": [assignment_import],
    "assignment evaluate": [assignment_evaluate, assignment_evaluate_model],
    "assignment predict": [assignment_predict],
    "assignment import-weights": [assignment_import_weights, assignment_import_weights_options],
    "assignment export": [assignment_export, assignment_export_mapping],
    "assignment tune": [assignment_tune, assignment_tune_space],
    "assignment train": [assignment_train, assignment_train_options, assignment_train_weights],
    "decorrelate": [decorrelate, decorrelate_skim],
    "decorrelate apply": [apply_map, apply_map_over_it],
}
#: commands with an output that no argument names; each has a test of its own below, or in the files of steer and remove
OWN = {"fit", "jec steer", "limit", "models accept", "models add", "models remove", "models serve-config"}
READERS = {
    "schema",
    "completion",
    "provenance",
    "models list",
    "models show",
    "discriminants list",
    "discriminants show",
    "discriminants groups",
}


def commands() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every command of the shell with its parser, also those below others."""
    for verb, (module, _) in COMMANDS.items():
        parser = argparse.ArgumentParser(prog=verb)
        importlib.import_module(module).configure(parser)
        below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
        if not below:
            yield verb, parser
        for name, inner in below[0].choices.items() if below else ():
            yield f"{verb} {name}", inner


def test_every_command_is_in_these_tests() -> None:
    found = dict(commands())
    assert set(found) == set(FILES) | OWN | READERS
    for name in READERS:
        options = {option for action in found[name]._actions for option in action.option_strings}
        assert options.isdisjoint({"-o", "--output", "--force"}), f"{name} writes"


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(arguments: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command says no, and not a byte has changed; without --force, that the output exists may be said first."""
    before = content(folder)
    capsys.readouterr()
    assert main(arguments) == 2
    said = capsys.readouterr()
    exists = "exists already" in said.err and "--force" not in arguments
    assert exists or "cannot be the output, not even with --force" in said.err, said.err
    assert content(folder) == before


@pytest.mark.parametrize("force", [False, True], ids=["plain", "force"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("command", "make"),
    [(command, make) for command, makes in FILES.items() for make in makes],
    ids=lambda x: getattr(x, "__name__", x),
)
def test_an_output_is_never_an_input(
    command: str,
    make: Callable[[Path], tuple[list[str], Path]],
    name: str,
    force: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments, target = make(tmp_path)
    if target.is_dir() and name not in FOLDERS:
        pytest.skip("folders have no hard links")
    options = {option for action in dict(commands())[command]._actions for option in action.option_strings}
    if force and "--force" not in options:
        pytest.skip(f"{command} has no --force")
    refused([*arguments, NAMES[name](target), *(["--force"] if force else [])], tmp_path, capsys)


def test_a_model_is_not_served_from_where_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in (Path(shutil.copytree(TINY, tmp_path / "tiny")), symlink(tmp_path / "tiny")):
        refused(
            ["models", "serve-config", str(folder), "-o", str(tmp_path), "--name", "tiny", "--force"], tmp_path, capsys
        )


def test_a_model_is_not_added_to_where_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "add", str(TINY), "--name", "mine"]) == 0
    place = user_folder() / "mine"
    for folder in (place, symlink(place)):
        refused(["models", "add", str(folder), "--name", "mine", "--force"], user_folder(), capsys)
    inner = Path(shutil.copytree(TINY, place / "inner"))
    refused(["models", "add", str(inner), "--name", "mine", "--force"], user_folder(), capsys)


@pytest.mark.parametrize("name", ["model.onnx", "preprocess.json"])
@pytest.mark.parametrize("link", [os.symlink, os.link], ids=["symlink", "hard link"])
def test_checksums_replace_no_file_of_the_model(
    link: Callable[..., object], name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(TINY, tmp_path / "mine"))
    link(folder / name, folder / "checksums.json")
    refused(["models", "accept", str(folder)], folder, capsys)


@pytest.mark.parametrize("output", ["limits.json", "limits.txt", "limits.png", "limits.pdf"])
def test_limits_replace_no_workspace(output: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "templates.json").write_text(
        '{"format": "jettagger templates", "version": 1, "signals": {}, "asimov": true}'
    )
    os.link(tmp_path / "templates.json", tmp_path / output)
    refused(["limit", str(tmp_path)], tmp_path, capsys)


class TestFunctions:
    """What has no command, and what commands share."""

    def test_skims(self, tmp_path: Path) -> None:
        path = nano(tmp_path)
        before = content(tmp_path)
        with pytest.raises(OutputError, match="cannot be the output"):
            jt.tag_files([str(path)], "tinyParT", str(path), force=True)
        with pytest.raises(OutputError, match="cannot be the output"):
            convert_delphes(path, path, force=True)
        with pytest.raises(OutputError, match="cannot be the output"):
            write_skim(path, [{"event": ak.Array([1])}], "{}", force=True, inputs=[path])
        assert content(tmp_path) == before

    def test_a_link_that_appears_between_the_check_and_the_job(self, tmp_path: Path) -> None:
        from jettagger.skims.skim import make_job, run_job

        path = nano(tmp_path)
        job = make_job([str(path)], jt.load_tagger("tinyParT"))
        with pytest.raises(OutputError, match="cannot be the output"):
            run_job(job, str(symlink(path)), force=True)

    def test_heads_on_skims(self, tmp_path: Path) -> None:
        path = write_toy(tmp_path / "toy.parquet", 20)
        before = content(tmp_path)
        with pytest.raises(OutputError, match="cannot be the output"):
            score_skim(path, [], hard_link(path), force=True)
        (tmp_path / "hard-toy.parquet").unlink()
        assert content(tmp_path) == before

    def test_processors(self, tmp_path: Path) -> None:
        """A chunk's file has the name of its input where that lies in the output folder under that name."""
        path = nano(tmp_path)
        runner = processor.Runner(processor.IterativeExecutor(status=False), schema=PFNanoAODSchema)
        instance = TaggingProcessor("tinyParT", columns=["mass"], output=tmp_path / "out")
        fileset = {"A": {"files": {str(path): "Events"}}}
        (written,) = runner(fileset, processor_instance=instance)["A"]["files"]
        Path(written).unlink()
        os.link(path, written)
        before = content(tmp_path)
        with pytest.raises(OutputError, match="cannot be the output"):
            instance.process(_events(path))
        assert content(tmp_path) == before

    def test_folders(self, tmp_path: Path) -> None:
        (tmp_path / "out" / "deep").mkdir(parents=True)
        (tmp_path / "out" / "deep" / "a.root").write_text("x")
        (tmp_path / "out" / "head.json").write_text("{}")
        with pytest.raises(OutputError, match="holds an input"):
            check_folder(
                tmp_path / "out", marker="head.json", force=True, inputs=[tmp_path / "out" / "deep" / "a.root"]
            )
        check_folder(tmp_path / "out", marker="head.json", force=True, inputs=[tmp_path / "outside.root"])
        refuse_inputs(tmp_path / "out" / "new", [tmp_path / "out" / "deep" / "a.root"])


def _events(path: Path) -> Any:
    import uproot
    from coffea.nanoevents import NanoEventsFactory

    with uproot.open(path) as file:
        uuid = file.file.uuid
    metadata = {
        "dataset": "A",
        "filename": str(path),
        "fileuuid": str(uuid),
        "entrystart": 0,
        "entrystop": 3,
    }
    return NanoEventsFactory.from_root(
        {str(path): "Events"}, schemaclass=PFNanoAODSchema, mode="virtual", metadata=metadata
    ).events()


# ------------------------------------------------------------------------------------------------ twice


@pytest.mark.parametrize("name", NAMES)
class TestTheSameFileTwice:
    def test_tag(self, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = nano(tmp_path)
        output = tmp_path / "s.parquet"
        for more in ([], ["--skip-broken"], ["--dry-run"]):
            assert main(["tag", str(path), NAMES[name](path), "-m", "tinyParT", "-o", str(output), *more]) == 2
            assert "given twice" in capsys.readouterr().err
            for link in tmp_path.glob("*-nano.root"):
                link.unlink()
        assert not output.exists()

    def test_tag_flat(self, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        model = weaver_bundle(tmp_path / "model")
        path = tmp_path / "jets.parquet"
        ak.to_parquet(table(), path)
        assert main(["tag", str(path), NAMES[name](path), "-m", str(model), "-o", str(tmp_path / "s.parquet")]) == 2
        assert "given twice" in capsys.readouterr().err

    def test_tag_tarballs(self, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        model = weaver_bundle(tmp_path / "model")
        ak.to_parquet(table(), tmp_path / "jets.parquet")
        path = tmp_path / "jets.tar"
        with tarfile.open(path, "w") as archive:
            archive.add(tmp_path / "jets.parquet", "jets.parquet")
        other = NAMES[name](path)
        for second in (other, f"{other}::jets.parquet"):
            assert main(["tag", str(path), second, "-m", str(model), "-o", str(tmp_path / "s.parquet")]) == 2
            assert "given twice" in capsys.readouterr().err

    def test_finetune(self, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = write_toy(tmp_path / "toy.parquet", 20)
        second = NAMES[name](path)
        text = CONFIG.format(name="Toy").replace("[toy*.parquet]", f"[toy.parquet, '{Path(second).absolute()}']")
        (tmp_path / "toy.yaml").write_text(text)
        assert main(["finetune", str(tmp_path / "toy.yaml"), "-o", str(tmp_path / "head"), "--dry-run"]) == 2
        said = capsys.readouterr().err
        assert "given twice" in said
        assert "toy.yaml, line 5" in said

    @pytest.mark.parametrize("sample", ["the same", "another"])
    def test_search(self, name: str, sample: str, tmp_path: Path) -> None:
        path = make_world(tmp_path)
        second = Path(NAMES[name](tmp_path / "tt1.root")).absolute()
        old, new = {
            "the same": ('["tt*.root"]', f'[tt1.root, tt2.root, "{second}"]'),
            "another": ("files: X1.root", f'files: [X1.root, "{second}"]'),
        }[sample]
        config = read_config(path.read_text().replace(old, new), "search.yaml", tmp_path)
        with pytest.raises(MismatchError, match="its events would count twice"):
            survey(config, config.make_processor())


#: the names are those of `TestTheSameFileTwice`
@pytest.mark.slow
@pytest.mark.parametrize("name", ["relative", "hard link"])
def test_the_same_file_twice_in_processors(name: str, tmp_path: Path) -> None:
    path = nano(tmp_path)
    fileset = {"A": [str(path), NAMES[name](path)]}
    runner = processor.Runner(processor.IterativeExecutor(status=False), schema=PFNanoAODSchema)
    for instance in (
        TaggingProcessor("tinyParT", columns=["mass"]),
        TaggingProcessor("tinyParT", columns=["mass"], output=tmp_path / "out"),
        FinetuneInputsProcessor("tinyParT", tmp_path / "out", labels=None, keep=()),
    ):
        with pytest.raises(MismatchError, match="given twice"):
            runner(fileset, treename="Events", processor_instance=instance)


def test_globs_that_overlap(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_toy(tmp_path / "toy.parquet", 20)
    text = CONFIG.format(name="Toy").replace("[toy*.parquet]", "[toy*.parquet, '*.parquet']")
    (tmp_path / "toy.yaml").write_text(text)
    assert main(["finetune", str(tmp_path / "toy.yaml"), "-o", str(tmp_path / "head"), "--dry-run"]) == 2
    assert "given twice" in capsys.readouterr().err


def test_remote_files_are_compared_by_what_the_url_means() -> None:
    urls = ["root://host.example//store/a.root", "root://HOST.example:1094/store/b/../a.root"]
    content = Content(Layout("FatJet", (), ()), 1, 1)
    with pytest.raises(MismatchError, match="given twice"):
        jobs.survey(urls, lambda path: content, skip_broken=True)


HOSTS = st.sampled_from(["a.example", "b.example"])
PATHS = st.lists(st.sampled_from(["store", "x.root", "y"]), min_size=1, max_size=4).map("/".join)


@given(HOSTS, PATHS, HOSTS, PATHS, st.booleans(), st.booleans(), st.booleans())
def test_spellings_of_a_url(
    host: str, path: str, other_host: str, other: str, port: bool, slash: bool, opaque: bool
) -> None:
    """Host, port and path decide, not how they are written."""
    one = f"root://{host}//{path}"
    two = f"{'simplecache::' if opaque else ''}ROOT://{other_host.upper()}{':1094' if port else ''}/"
    two += f"{'/' if slash else './'}{other}{'?xrd.wantprot=unix' if opaque else ''}"
    assert (identity(one) == identity(two)) == ((host, path) == (other_host, other))


def test_what_identity_tells_apart(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("same")
    (tmp_path / "b").write_text("same")
    assert identity(tmp_path / "a") != identity(tmp_path / "b"), "equal content is not the same file"
    assert identity(f"file://{tmp_path}/a") == identity(tmp_path / "a")
    assert identity("https://h.example/get?id=1") != identity("https://h.example/get?id=2")
    assert identity("x.tar::a.root") != identity("x.tar::b.root")
    assert identity("root://h.example:2000//a") != identity("root://h.example//a")
    refuse_repeats([tmp_path / "a", tmp_path / "b", tmp_path / "absent", "root://[bad"])
