"""Explanations of networks on images and on vectors: channels are left out like variables, pixels have maps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from image_networks import COLUMNS, IMAGE, ROWS, convolutions, scores_by_hand
from onnx import TensorProto, helper, numpy_helper
from sequence_networks import VECTOR, declared, write

import jettagger as jt
from jettagger.cli import main
from jettagger.explain import Scorer, no_constituents
from jettagger.explain.jets import JetInputs, jet_inputs, joined_inputs
from jettagger.explain.methods import integrated, occlude_variables, permutation_importance
from jettagger.testing import make_events, write_pfnano

CHANNELS = ("all", "charged", "displaced")
RANDOM = np.random.default_rng(3)
MEAN, STD = RANDOM.uniform(0, 1, (3, ROWS, COLUMNS)), RANDOM.uniform(0.5, 2, (3, ROWS, COLUMNS))


def inputs_of(folder: Path, *, shape: tuple[Any, ...] = ("N", 3, ROWS, COLUMNS), **keys: Any) -> tuple[Any, JetInputs]:
    """A network on images, and the images of some jets."""
    settings = IMAGE["image"] | keys
    convolutions(write(folder, declared(IMAGE | {"image": settings})) / "model.onnx", shape=shape)
    tagger = jt.load_tagger(folder, threads=1)
    request = tagger.request(make_events(8, seed=5, constituents=20))
    return Scorer(tagger, "probb"), joined_inputs(list(jet_inputs(tagger, request)))


def test_a_channel_is_left_out_in_all_pixels(tmp_path: Path) -> None:
    scorer, jets = inputs_of(tmp_path / "net")
    assert jets.variables == CHANNELS
    found = occlude_variables(scorer, jets, {"displaced": ["displaced"], "two": ["all", "charged"]})
    weights = convolutions(tmp_path / "again.onnx")
    for jet in range(len(jets)):
        image = jets.values["image"][jet].astype(np.float64)
        for column, places in enumerate(([2], [0, 1])):
            without = image.copy()
            without[places] = 0
            want = scores_by_hand(image, weights)[0] - scores_by_hand(without, weights)[0]
            assert found.values[jet, column] == pytest.approx(want, abs=1e-5)
    assert np.abs(found.values).max() > 0.01


def test_no_constituents_are_an_image_of_nothing(tmp_path: Path) -> None:
    """Also after a normalisation per pixel, where 0 is the mean image, and if the graph fixes no size."""
    numbers = {"normalise": "pixel", "mean": MEAN.tolist(), "std": STD.tolist()}
    scorer, jets = inputs_of(tmp_path / "net", shape=("N", 3, "rows", "columns"), **numbers)
    nothing = no_constituents(jets.bundle).of(jets)["image"]
    np.testing.assert_allclose(nothing, np.broadcast_to(-MEAN / STD, nothing.shape), rtol=1e-6)
    empty = (jets.values["image"] * STD + MEAN < 1e-6).all(axis=1)  # pixels without any constituent
    assert 0.5 < empty.mean() < 1
    same = np.isclose(jets.values["image"], nothing, atol=1e-5).all(axis=1)
    np.testing.assert_array_equal(same, empty)
    effect = occlude_variables(scorer, jets, {"image": CHANNELS})
    assert effect.values[:, 0] == pytest.approx(effect.outputs - scorer.values(jets, {"image": nothing}), abs=1e-6)


def test_contributions_of_pixels_add_up_and_are_0_where_nothing_is(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    scorer, jets = inputs_of(tmp_path / "net", normalise="pixel", mean=MEAN.tolist(), std=STD.tolist())
    found = integrated(scorer, jets, tolerance=1e-3)
    values = found.values["image"]
    change = found.outputs - found.reference
    assert values.sum(axis=(1, 2, 3)) == pytest.approx(change, rel=2e-3, abs=1e-5)
    assert np.abs(change).max() > 1e-2
    blank = np.broadcast_to(-MEAN / STD, values.shape)
    assert np.abs(values[np.isclose(jets.values["image"], blank, atol=1e-6)]).max() < 1e-6 * np.abs(values).max()


def test_channels_are_exchanged_among_the_jets(tmp_path: Path) -> None:
    """Those of a group together; the others stay."""
    _, jets = inputs_of(tmp_path / "net")
    parts = [jets.take(np.arange(5)), jets.take(np.arange(5, len(jets)))]
    seen: list[np.ndarray[Any, Any]] = []

    class Recorder(Scorer):
        def values(self, jets: JetInputs, values: dict[str, np.ndarray] | None = None) -> np.ndarray:
            seen.extend([values["image"]] if values else [])
            return np.arange(len(jets), dtype=np.float64)

    signal = np.arange(len(jets)) % 2 == 0
    recorder = Recorder(jt.load_tagger(tmp_path / "net", threads=1), "probb")
    permutation_importance(recorder, parts, signal, {"two": ["all", "displaced"]}, permutations=1, replicas=2)
    old, new = jets.values["image"], np.concatenate(seen)
    np.testing.assert_array_equal(new[:, 1], old[:, 1])
    pairs = [[image[[0, 2]].tobytes() for image in images] for images in (old, new)]
    assert pairs[0] != pairs[1]
    assert sorted(pairs[0]) == sorted(pairs[1])


# ------------------------------------------------------------------------------------------------------- command line


def dense(folder: Path) -> Path:
    """A softmax of a vector, of whose variables one has no weight."""
    columns = ["msoftdrop", "log(pt)", "mass / pt"]
    weights = np.array([[0.01, -0.01], [0.5, -0.5], [0, 0]], dtype=np.float32)
    nodes = [
        helper.make_node("MatMul", ["shape", "W"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "dense",
        [helper.make_tensor_value_info("shape", TensorProto.FLOAT, ["N", 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 2])],
        [numpy_helper.from_array(weights, "W")],
    )
    card = {"output_names": ["probb", "probc"], "kinds": {"prob": ["prob*"]}}
    write(folder, declared(VECTOR | {"columns": columns}), **card)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, folder / "model.onnx")
    return folder


def explained(path: str, model: Path, output: Path, *line: str) -> tuple[dict[str, Any], set[str]]:
    """The report, and the names of the files."""
    pytest.importorskip("mplhep", reason="the extra plot is not installed")
    assert main(["explain", path, "-m", str(model), "-o", str(output), "--threads", "1", *line]) == 0
    return json.loads((output / "explanation.json").read_text()), {item.name for item in output.iterdir()}


def ranking(content: dict[str, Any]) -> dict[str, float]:
    """Importances of the first group of jets."""
    return {row["name"]: row["importance"][0] for row in content["groups"][0]["rankings"]["features"]}


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_pfnano(tmp_path_factory.mktemp("nano") / "nano.root", 14, seed=3))


def test_images_from_the_shell(nano: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without torch: channels by occlusion and by permutation; what is not drawn is said."""
    folder = write(tmp_path / "net", declared(IMAGE))
    convolutions(folder / "model.onnx")
    content, files = explained(nano, folder, tmp_path / "o", "-d", "probb", "--method", "occlusion", "-n", "6")
    assert set(ranking(content)) == set(CHANNELS)
    assert min(ranking(content).values()) > 0
    assert files == {"explanation.json", "explanation.md", "features.png"}
    said = capsys.readouterr().out
    assert "no jets are drawn: the network of 'other' takes no list of candidates; its inputs: 'image' (image)" in said
    cuts = ["--signal", "pt > 300", "--background", "pt <= 300"]
    content, files = explained(nano, folder, tmp_path / "p", "-d", "probb", "--method", "permutation", *cuts)
    assert set(content["losses"]) == set(CHANNELS)
    assert "permutation.png" in files


@pytest.mark.slow
def test_maps_of_pixels_and_their_differences(nano: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    folder = write(tmp_path / "net", declared(IMAGE))
    convolutions(folder / "model.onnx")
    other = str(write_pfnano(tmp_path / "other.root", 8, seed=9))
    content, files = explained(nano, folder, tmp_path / "o", "-d", "probb", "-n", "6", "--versus", other)
    assert {"map_image.png", "difference_image.png", "features.png"} <= files
    assert np.shape(content["groups"][0]["maps"]["image"]) == (3, ROWS, COLUMNS)


def test_vectors_from_the_shell(nano: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A network without constituents has variables that can be left out."""
    folder = dense(tmp_path / "net")
    line = ["-d", "logit probb", "--method", "occlusion", "-n", "6", "--baseline", "median"]
    content, _ = explained(nano, folder, tmp_path / "o", *line)
    found = ranking(content)
    assert found["mass / pt"] == 0
    assert min(found["msoftdrop"], found["log(pt)"]) > 1e-3
    assert content["curves"] == {}
    assert "its inputs: 'shape' (vector)" in capsys.readouterr().out
