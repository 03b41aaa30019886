"""The training of Sophon: what the files hold, what weaver is started with, and all steps where weaver-core is."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import awkward as ak
import numpy as np
import pytest
import yaml
from networks import Head
from test_jetclass2 import write_root
from weavers import REPOSITORY, run_in_weaver, table, weaver_bundle

from jettagger import jetclass2
from jettagger.bundles.bundle import Bundle
from jettagger.bundles.places import PACKAGE
from jettagger.cli import main
from jettagger.files.tables import FlatFile
from jettagger.inference.checking import check
from jettagger.sessions import open_onnx

FOLDER = REPOSITORY / "examples" / "sophon"
CONFIG = PACKAGE / "models" / "Sophon" / "data.yaml"


def load(name: str) -> ModuleType:
    """A script of the example, as a module; those that need torch are run in weaver's environment instead."""
    spec = importlib.util.spec_from_file_location(f"sophon_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def train() -> ModuleType:
    return load("train")


def jets_of(labels: list[int], **changes: Any) -> ak.Array:
    jets = table(len(labels), seed=5)
    jets["jet_pt"] = np.full(len(labels), 500, dtype="f4")
    jets["jet_sdmass"] = np.full(len(labels), 100, dtype="f4")
    jets["jet_label"] = np.array(labels, dtype="i4")
    for name, values in changes.items():
        jets[name] = values
    return jets


FILES = {"QCD": ["a.root", "b.root"], "_": ["c.root"]}


def started(
    train: ModuleType, folder: Path, *options: str, jets: int = 1000, files: dict[str, list[str]] = FILES
) -> list[str]:
    """The command line of weaver for a sample of so many jets."""
    args = train.make_parser().parse_args(["train", "-o", str(folder), *options])
    return train.command_line(args, {"files": files, "tree": None, "jets": jets}, {"num_layers": "2"})


def value(command: list[str], option: str) -> str:
    assert command.count(option) == 1
    return command[command.index(option) + 1]


# the sample


def test_what_the_files_hold_is_counted(train: ModuleType, tmp_path: Path) -> None:
    jets = jets_of([0, 0, 187, -1, 5, 161], jet_pt=np.array([500, 500, 500, 500, 100, 700], dtype="f4"))
    path = write_root(tmp_path / "jets.root", jets)
    ak.to_parquet(jets[:2], tmp_path / "more.parquet")
    files = train.groups_of([f"one:{tmp_path}/*.root", f"{tmp_path}/*.parquet"])
    assert files == {"one": [str(path)], "_": [str(tmp_path / "more.parquet")]}
    config, content = train.description(str(CONFIG)), yaml.safe_load(CONFIG.read_text())
    sample = train.look_through(config, content["weights"], [name for names in files.values() for name in names])
    assert (sample.jets, sample.outside, sample.unlabelled, sample.usable) == (8, 1, 1, 6)
    assert sample.classes == {"label_X_bb": 4, "label_QCD_light": 1, "label_QCD_bbccss": 1}
    assert {name: number for name, number in sample.weighed.items() if number} == {"label_X_QQ": 4, "label_QCD": 2}


def test_a_training_without_some_classes_has_weights_for_the_others(train: ModuleType) -> None:
    content = yaml.safe_load(CONFIG.read_text())
    sample = train.Sample(weighed=dict.fromkeys(content["weights"]["reweight_classes"], 0))
    with pytest.raises(train.ConfigError, match="no jet lies in the bins of the weights"):
        train.training_config(content, sample, unweighted=False)
    sample.weighed |= {"label_X_gg": 3, "label_QCD": 2}
    made = train.training_config(content, sample, unweighted=False)
    assert made["weights"]["reweight_classes"] == ["label_X_gg", "label_QCD"]
    assert made["weights"]["class_weights"] == [0.05, 0.25]
    assert made["selection"] == f"({content['selection']}) & ((jet_label) >= 0)"
    assert {key: made[key] for key in ("inputs", "new_variables", "labels")} == {
        key: content[key] for key in ("inputs", "new_variables", "labels")
    }
    assert train.training_config(content, sample, unweighted=True)["weights"] is None
    without = {key: item for key, item in content.items() if key != "selection"}
    assert train.training_config(without, sample, unweighted=True)["selection"] == "(jet_label) >= 0"


def test_files_and_labels_that_cannot_be_used_are_refused(
    train: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.tar").write_bytes(b"")
    ak.to_parquet(jets_of([0, 188, 3]), tmp_path / "bad.parquet")
    ak.to_parquet(jets_of([-1, -1]), tmp_path / "none.parquet")
    for pattern, message in (
        ("x/*.root", "no file matches 'x/*.root'"),
        (str(tmp_path / "a.tar"), "weaver reads .root and .parquet files (unpack tarballs"),
        (
            str(tmp_path / "bad.parquet"),
            "bad.parquet, counted from jet 0: 1 of 3 labels lie outside 0 to 187 (first: 188 of jet 1)",
        ),
        (str(tmp_path / "none.parquet"), "no jet can be used"),
    ):
        assert train.main(["weights", "-o", str(tmp_path / "out"), "--train", pattern]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_without_weaver_it_is_said_how_to_get_it(
    train: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "weaver", None)
    ak.to_parquet(jets_of([0, 187]), tmp_path / "jets.parquet")
    assert train.main(["weights", "-o", str(tmp_path / "out"), "--train", str(tmp_path / "jets.parquet")]) == 2
    assert "jettagger[weaver]" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_steps_come_one_after_the_other(
    train: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    assert train.main(["train", "-o", str(folder)]) == 2
    assert "the step weights comes first" in capsys.readouterr().err
    assert train.main(["convert", "-o", str(folder)]) == 2
    assert "the step train comes first" in capsys.readouterr().err
    (folder / "sample.json").write_text('{"files": {}, "tree": null, "jets": 10}')
    (folder / "network.json").write_text("{}")
    assert train.main(["convert", "-o", str(folder)]) == 2
    assert "no epoch" in capsys.readouterr().err
    for epoch in (0, 1, 2):
        (folder / f"net_epoch-{epoch}_state.pt").write_bytes(b"")
    for epoch in (0, 1):  # a training that was stopped while it wrote epoch 2
        (folder / f"net_epoch-{epoch}_optimizer.pt").write_bytes(b"")
    assert train.last_epoch(folder) == 1
    assert train.main(["train", "-o", str(folder), "--epochs", "2"]) == 0
    assert "all 2 epochs are done" in capsys.readouterr().out
    assert train.main(["train", "-o", str(folder), "--small"]) == 2
    assert "expected the same" in capsys.readouterr().err
    assert train.main(["weights", "-o", str(folder), "--train", "x"]) == 2
    assert "holds a training already" in capsys.readouterr().err
    (folder / "net_history.csv").write_text(
        "epoch,jets,loss,accuracy,top5,auc\n0,9,3.0,0.5,0.9,0.9\n1,9,2.5,0.5,0.9,0.9\n7,9,1.0,0.9,0.9,0.9\n"
    )
    assert train.best_epoch(folder) == 1  # the weights of epoch 7 are not there
    assert train.main(["convert", "-o", str(folder), "--epoch", "5"]) == 2
    assert "the last epoch is 2" not in capsys.readouterr().err


# the command line


def test_weaver_is_started_on_the_cpu(train: ModuleType, tmp_path: Path) -> None:
    command = started(train, tmp_path)
    assert command[1:3] == ["-m", "weaver.train"]
    assert (value(command, "--gpus"), value(command, "--start-lr")) == ("", "0.0005")
    assert value(command, "--train-val-split") == "0.8"
    assert value(command, "--steps-per-epoch") == "1"  # 800 jets in batches of 512
    assert (value(command, "--batch-size-val"), value(command, "--steps-per-epoch-val")) == ("20", "-1")
    assert not {"--backend", "--use-amp", "--load-epoch", "--data-val"} & set(command)
    first = command.index("--data-train")
    assert command[first + 1 : first + 4] == ["QCD:a.root", "QCD:b.root", "c.root"]
    assert command[command.index("--network-option") :][:3] == ["--network-option", "num_layers", "2"]


def test_several_gpus_share_the_jets_and_the_learning_rate_grows(train: ModuleType, tmp_path: Path) -> None:
    options = ["--gpus", "4", "--num-workers", "5", "--fetch-step", "0.5", "--data-split-num", "200"]
    files = {name: [f"{name}_{number}.root" for number in range(20)] for name in ("QCD", "Res2P")}
    command = started(train, tmp_path, *options, "--", "--in-memory", jets=10_000_000, files=files)
    assert command[1:8] == [
        *("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=4", "-m", "weaver.train", "--run-mode")
    ]
    assert (value(command, "--backend"), value(command, "--gpus")) == ("nccl", "0,1,2,3")
    assert "--use-amp" in command
    assert float(value(command, "--start-lr")) == 4 * 5e-4
    assert value(command, "--steps-per-epoch") == str(8_000_000 // (4 * 512))
    assert value(command, "--steps-per-epoch-val") == str(2_000_000 // (4 * 512))  # the same for all processes
    settings = {name: value(command, f"--{name}") for name in ("num-workers", "fetch-step", "data-split-num")}
    assert settings == {"num-workers": "5", "fetch-step": "0.5", "data-split-num": "200"}
    assert command[-1] == "--in-memory"
    # a worker without files would stop weaver
    assert value(started(train, tmp_path, "--num-workers", "5"), "--num-workers") == "1"
    with pytest.raises(train.ConfigError, match="4 GPUs need at least 4 training files in each group"):
        started(train, tmp_path, *options)
    one = started(train, tmp_path, "--gpus", "1", "--samples-per-epoch", "5120", "--samples-per-epoch-val", "2048")
    assert one[1:3] == ["-m", "weaver.train"]
    assert "--backend" not in one
    assert (value(one, "--steps-per-epoch"), value(one, "--steps-per-epoch-val")) == ("10", str(2048 // 20))


def test_a_training_goes_on_after_its_last_whole_epoch(train: ModuleType, tmp_path: Path) -> None:
    for name in ("state", "optimizer"):
        (tmp_path / f"net_epoch-12_{name}.pt").write_bytes(b"")
    assert value(started(train, tmp_path), "--load-epoch") == "12"


def test_other_files_for_the_validation(train: ModuleType, tmp_path: Path) -> None:
    ak.to_parquet(jets_of([0] * 50), tmp_path / "val.parquet")
    command = started(train, tmp_path, "--validate", str(tmp_path / "*.parquet"))
    assert value(command, "--data-val") == str(tmp_path / "val.parquet")
    assert value(command, "--batch-size-val") == "5"
    assert "--train-val-split" not in command


# with weaver-core

MEASURE = """\
import json, sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from network import measure
from jettagger.jetclass2 import LABELS
stored = np.load("scores.npz")
names = tuple(f"label_{name}" for name in LABELS)
simple = measure(np.array([1]), np.ones((1, 2)) / 2, ("a", "b"))
print(json.dumps([measure(stored["truth"], stored["scores"], names), simple]))
"""


def test_the_measures_are_those_of_scikit_learn(tmp_path: Path) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    truth = np.concatenate([np.arange(188), rng.integers(0, 188, 1000)])
    scores = rng.dirichlet(np.ones(188), len(truth)).astype("f4")
    scores[np.arange(len(truth)), truth] += rng.uniform(0, 0.05, len(truth)).astype("f4")
    scores /= scores.sum(axis=1, keepdims=True)
    np.savez(tmp_path / "scores.npz", truth=truth, scores=scores)
    (tmp_path / "measure.py").write_text(MEASURE)
    found, simple = json.loads(run_in_weaver(tmp_path / "measure.py", str(FOLDER), cwd=tmp_path))
    every = np.arange(188)
    assert found["jets"] == len(truth)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(truth, scores.argmax(axis=1)))
    assert found["top5"] == pytest.approx(metrics.top_k_accuracy_score(truth, scores, k=5, labels=every))
    assert found["loss"] == pytest.approx(metrics.log_loss(truth, scores, labels=every), rel=1e-4)
    sums = {name: scores[:, list(indices)].sum(axis=1) for name, indices in jetclass2.COARSE.items()}
    group = np.array([next(n for n, indices in jetclass2.COARSE.items() if label in indices) for label in truth])
    areas = [
        metrics.roc_auc_score(group[chosen] == name, (sums[name] / (sums[name] + sums["QCD"]))[chosen])
        for name in sums
        if name != "QCD"
        for chosen in [(group == name) | (group == "QCD")]
    ]
    assert found["auc"] == pytest.approx(np.mean(areas), abs=1e-6)
    assert np.isnan(simple["auc"])


def epochs_and_rates(output: str) -> dict[int, str]:
    """The learning rate of each epoch, as the progress bar shows it."""
    found: dict[int, str] = {}
    for part in re.split(r"(?=Epoch #\d+ training)", output)[1:]:
        match = re.match(r"Epoch #(\d+)", part)
        rates = set(re.findall(r"lr=([\d.e+-]+)", part))
        assert match is not None
        assert len(rates) == 1
        found[int(match[1])] = rates.pop()
    return found


@pytest.mark.data
def test_the_three_steps_make_a_bundle_that_gives_what_torch_gives(shared: Path, tmp_path: Path) -> None:
    """On the 100 example jets: weights, training, a training that goes on, conversion, scores."""
    example, folder, script = shared / "sophon/JetClassII_example.parquet", tmp_path / "toy", FOLDER / "train.py"
    said = run_in_weaver(script, "weights", "-o", str(folder), "--train", str(example), cwd=tmp_path)
    assert "100 jets; 15 outside of the selection, 0 without a class" in said
    assert "85 jets of 57 classes can be used" in said
    assert "without jets, and so without weights: label_X_tauhtaul, " in said
    (auto,) = folder.glob("training.*.auto.yaml")
    hists = yaml.safe_load(auto.read_text())["weights"]["reweight_hists"]
    assert len(hists) == 30 - 9
    assert all(0 < np.max(hist) <= 1 for hist in hists.values())
    assert (folder / "data.yaml").read_text() == CONFIG.read_text()

    options = [*("--small", "--epochs", "4", "--batch-size", "16"), "--option", "num_layers", "1"]
    command = ("train", "-o", str(folder), *options)
    first = epochs_and_rates(run_in_weaver(script, *command, cwd=tmp_path, together=True))
    assert first == {0: "5.00e-04", 1: "5.00e-04", 2: "5.00e-04", 3: "5.00e-06"}
    for path in folder.glob("net_epoch-3_*"):
        path.unlink()
    said = run_in_weaver(script, *command, cwd=tmp_path, together=True)
    assert "going on after epoch 2" in said
    assert epochs_and_rates(said) == {3: first[3]}
    history = np.genfromtxt(folder / "net_history.csv", delimiter=",", names=True)
    assert history["epoch"].tolist() == [0, 1, 2, 3, 3]
    assert np.all(np.abs(history["loss"] - np.log(188)) < 1)  # so few jets teach nothing

    lengths = tmp_path / "lengths.npz"
    said = run_in_weaver(script, "convert", "-o", str(folder), "--", "--lengths", str(lengths), cwd=tmp_path)
    assert "1 to 128 constituents: ONNX and torch differ by" in said
    bundle = Bundle.from_folder(folder / "bundle" / "toy")
    assert [output.raw for output in bundle.outputs[:188]] == [f"label_{name}" for name in jetclass2.LABELS]
    assert [output.kind for output in bundle.outputs[188:]] == ["hidden"] * 32
    assert not [result for result in check(bundle) if result.passed is False]
    equal_to_torch(bundle, lengths)

    scores = tmp_path / "scores.parquet"
    assert main(["tag", str(example), "--model", str(bundle.folder), "-o", str(scores)]) == 0
    with FlatFile(scores) as file:
        jets = file.read()
    assert ak.sum(jets.toy_inDomain) == 85
    total = sum(ak.to_numpy(values) for values in jetclass2.coarse(jets, "toy").values())
    np.testing.assert_allclose(total, 1, atol=1e-5)


def equal_to_torch(bundle: Bundle, lengths: Path) -> None:
    """The ONNX file, run here, gives torch's outputs for jets of 1 to 128 constituents."""
    assert bundle.graph is not None
    session, stored = open_onnx(bundle.graph), np.load(lengths)
    for length in range(1, 129):
        inputs = {group.name: stored[f"{length}__{group.name}"] for group in bundle.groups}
        longest = bundle.groups[0].min_length
        if longest == 128:  # of fixed length
            space = ((0, 0), (0, 0), (0, 128 - length))
            mask = np.pad(inputs["pf_mask"], space)
            inputs = {name: np.pad(array, space, mode="wrap") for name, array in inputs.items()} | {"pf_mask": mask}
        (found,) = session.run(inputs).values()
        np.testing.assert_allclose(found, stored[f"{length}__output"], atol=5e-5)


def test_a_file_of_fixed_length_gives_what_torch_gives(tmp_path: Path) -> None:
    small = [part for item in load("train").SMALL.items() for part in ("--option", *item)]
    options = ("--random", "2", "-o", str(tmp_path / "fixed"), "--lengths", str(tmp_path / "lengths.npz"))
    run_in_weaver(FOLDER / "convert.py", *options, "--fixed-length", *small, cwd=tmp_path)
    bundle = Bundle.from_folder(tmp_path / "fixed")
    assert {(group.min_length, group.max_length) for group in bundle.groups} == {(128, 128)}
    equal_to_torch(bundle, tmp_path / "lengths.npz")


# the comparison


def shaped_jets(rng: np.random.Generator, labels: np.ndarray) -> ak.Array:
    """Jets whose soft-drop mass depends on their class, with all columns that the comparison reads."""
    counts = rng.integers(3, 20, len(labels))
    total = int(counts.sum())
    columns: dict[str, Any] = {"jet_label": labels.astype("i4"), "jet_pt": np.full(len(labels), 500.0)}
    columns["jet_sdmass"] = 60 + 40.0 * (labels == 0) + rng.normal(0, 10, len(labels))
    columns |= {name: rng.uniform(0.1, 1, len(labels)) for name in ("jet_eta", "jet_phi")}
    columns |= {f"jet_tau{number}": rng.uniform(0.1, 1, len(labels)) for number in range(1, 5)}
    columns |= {"jet_energy": np.full(len(labels), 700.0), "jet_nparticles": counts}
    momentum = rng.normal(0, 20, (3, total))
    parts = {name: momentum[axis] for axis, name in enumerate(("px", "py", "pz"))}
    parts["energy"] = np.sqrt((momentum**2).sum(axis=0))
    parts |= {name: rng.normal(0, 0.2, total) for name in ("deta", "dphi", "d0val", "dzval")}
    parts |= {name: np.full(total, 0.1) for name in ("d0err", "dzerr")}
    parts["charge"] = rng.integers(-1, 2, total)
    for name in ("Electron", "Muon", "Photon", "ChargedHadron", "NeutralHadron"):
        parts[f"is{name}"] = rng.random(total) < 0.1
    columns |= {f"part_{name}": ak.unflatten(values, counts) for name, values in parts.items()}
    return ak.zip(columns, depth_limit=1)


@pytest.fixture(scope="module")
def compare() -> ModuleType:
    pytest.importorskip("sklearn")
    return load("compare")


def test_a_network_is_compared_with_trees_on_the_same_jets(
    compare: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(3)
    labels = np.array([0, 3, 187])[rng.integers(0, 3, 400)]
    jets = shaped_jets(rng, labels)
    jets["jet_label"] = np.where(np.arange(400) % 50 == 0, -1, labels)
    ak.to_parquet(jets[:250], tmp_path / "train.parquet")
    ak.to_parquet(jets[250:], tmp_path / "test.parquet")
    groups = {"pf_features": ("",) * 17, "pf_vectors": ("",) * 4, "pf_mask": ("",)}
    card = json.loads((PACKAGE / "models/Sophon/bundle.json").read_text())
    heads = (Head("a", 188, softmax=True), Head("b", 128))
    folder = weaver_bundle(tmp_path / "toy", CONFIG.read_text(), groups, heads, card=card, axes={"pf": 128})
    compare.main(["--model", str(folder), *(f"--{name}={tmp_path}/{name}.parquet" for name in ("train", "test"))])
    lines = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()]
    table_ = {line[0]: line[1:] for line in lines[2:]}
    assert table_["jets of the test"] == ["147", "147"]
    assert [name for name in table_ if "area" in name] == [
        f"area under the curve, {pair}" for pair in ("X_bb against X_qq", "X_bb against QCD", "X_qq against QCD")
    ]
    areas = {name: [float(entry.split()[0]) for entry in line] for name, line in table_.items() if "area" in name}
    assert areas["area under the curve, X_bb against QCD"][1] > 0.95  # the trees see the mass
    assert 0.3 < areas["area under the curve, X_qq against QCD"][1] < 0.7  # nothing tells these apart


def test_the_error_of_an_area_is_its_spread(compare: ModuleType) -> None:
    rng = np.random.default_rng(5)

    def draw() -> str:
        truth = rng.integers(0, 2, 400)
        signal = 1 / (1 + np.exp(-rng.normal(truth, 1)))
        return str(compare.area(truth, np.stack([1 - signal, signal], axis=1), 1, 0))

    values, errors = np.array([[float(part) for part in draw().split(" ± ")] for _ in range(200)]).T
    assert values.mean() == pytest.approx(0.7602, abs=0.005)  # of two normal distributions one width apart
    assert errors.mean() == pytest.approx(values.std(), rel=0.15)
