"""Images as inputs of networks: a network of somebody else, its declaration, what is refused, memory."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import onnx
import pytest
from comparing import assert_same_scores, flat
from image_networks import COLUMNS, IMAGE, ROWS, convolutions, scores_by_hand
from onnx import TensorProto, helper, numpy_helper
from sequence_networks import SEQUENCE, VECTOR, declared, events_with_shapes, recurrent, write

import jettagger as jt
import jettagger.inference.checking as checking
from jettagger.bundles.bundle import Bundle
from jettagger.bundles.interface import arranged_images
from jettagger.cli import main
from jettagger.errors import BundleError, ConfigError, JettaggerError, MissingColumns, UnknownName
from jettagger.files.root import EventFile
from jettagger.inference.checking import check, write_golden
from jettagger.inputs.batching import make_batches, tabulate
from jettagger.inputs.pfnano_tables import nano_table
from jettagger.inputs.random_jets import ToyJets, object_counts
from jettagger.inputs.source import check_columns, source_of
from jettagger.sessions import OrtSession
from jettagger.tagging.taggers import Taggers
from jettagger.tagging.tensors import make_inputs
from jettagger.testing import make_events, write_pfnano


def image_by_hand(event: Any, place: int, jets: str) -> tuple[np.ndarray[Any, Any] | None, int]:
    """The image of one jet, constituent by constituent, and how many are outside of it."""
    jet = event[jets][place]
    image = np.zeros((3, ROWS, COLUMNS))
    weights = np.zeros((ROWS, COLUMNS))
    number = outside = 0
    for link in event[f"{jets}PFCands"]:
        part = event["PFCands"][link["pFCandsIdx"]]
        if link["jetIdx"] != place or part["puppiWeight"] <= 0.1:
            continue
        number += 1
        eta = (part["eta"] - jet["eta"]) * (1 if jet["eta"] > 0 else -1)
        phi = (part["phi"] - jet["phi"] + np.pi) % (2 * np.pi) - np.pi
        column, row = int((eta + 0.31) // (0.62 / COLUMNS)), int((phi + 0.23) // (0.46 / ROWS))
        if not (0 <= column < COLUMNS and 0 <= row < ROWS):
            outside += 1
            continue
        image[0, row, column] += part["pt"] * part["puppiWeight"]
        if part["charge"] != 0:
            image[1, row, column] += 1
            weights[row, column] += 1
            image[2, row, column] += abs(10 * part["d0"]) if part["trkChi2"] != -1 else 0
    image[2] /= np.maximum(weights, 1)
    return image if number else None, outside


@pytest.mark.parametrize("jets", ["FatJet", "Jet"])
def test_a_network_on_images_of_somebody_else_tags_a_file(jets: str, tmp_path: Path) -> None:
    """Its file is made with onnx, its two descriptions by hand; pixels and scores are those of loops."""
    folder = write(tmp_path / "model", declared(IMAGE, jets="AK4" if jets == "Jet" else "AK8"))
    weights = convolutions(folder / "model.onnx")
    tagger = jt.load_tagger(folder, threads=1)
    path = write_pfnano(tmp_path / "nano.root", 12, seed=5, constituents=20, ak4=True)
    with EventFile(path) as file:
        events = file.read(check_columns(tagger.bundle, file).columns)
    by_hand = [image_by_hand(event, place, jets) for event in events.to_list() for place in range(len(event[jets]))]
    images = [image for image, _ in by_hand]
    made: dict[int, Any] = {}
    for batch in make_inputs(tagger.bundle, events):
        made |= dict(zip(batch.jets.tolist(), batch.inputs["image"], strict=True))
    assert [image is not None for image in images] == [jet in made for jet in range(len(images))]
    for jet, image in made.items():
        np.testing.assert_allclose(image, images[jet], rtol=1e-5, atol=1e-5)
    tagged = tagger.run(events)
    expected = [None if image is None else scores_by_hand(image, weights) for image in images]
    for column, name in enumerate(tagged.scores.fields):
        wanted = [np.nan if scores is None else scores[column] for scores in expected]
        np.testing.assert_allclose(flat(tagged.scores, name), wanted, rtol=1e-4, atol=1e-6)
        assert np.nanmax(wanted) - np.nanmin(wanted) > 0.05
    assert tagged.report.outside_image == sum(outside for _, outside in by_hand) > 5
    assert tagged.report.truncated == 0
    assert main(["tag", str(path), "--model", str(folder), "-o", str(tmp_path / "out.parquet")]) == 0
    skimmed = ak.from_parquet(tmp_path / "out.parquet")[f"{jets}_other_probb"]
    np.testing.assert_allclose(flat({"x": skimmed}, "x"), flat(tagged.scores, "probb"), atol=1e-6)


@pytest.mark.parametrize(
    ("axes", "shape", "channels"),
    [
        (["jets", "rows", "columns", "channels"], ("N", ROWS, COLUMNS, 3), 3),
        (["jets", "channels", "rows", "columns"], ("N", 3, "rows", "columns"), 3),
        (["jets", "one", "rows", "columns"], ("N", 1, ROWS, COLUMNS), 1),
    ],
)
def test_axes_of_images(axes: list[str], shape: tuple[Any, ...], channels: int, tmp_path: Path) -> None:
    settings = IMAGE["image"] | {"channels": IMAGE["image"]["channels"][:channels]}
    group = IMAGE | {"axes": axes, "image": settings}
    events = make_events(6, seed=5, constituents=20)
    plain = write(tmp_path / "plain", declared(group | {"axes": IMAGE["axes"]}))
    convolutions(plain / "model.onnx", shape=("N", channels, ROWS, COLUMNS))
    folder = write(tmp_path / "model", declared(group))
    convolutions(folder / "model.onnx", shape=shape, last=axes[-1] == "channels")
    assert_same_scores(jt.load_tagger(folder, threads=1)(events), jt.load_tagger(plain, threads=1)(events))


def test_arranged_images_keep_their_numbers() -> None:
    array = np.arange(2 * 1 * 3 * 4).reshape(2, 1, 3, 4)
    np.testing.assert_array_equal(arranged_images(array, ("jets", "rows", "columns")), array[:, 0])
    np.testing.assert_array_equal(
        arranged_images(array, ("jets", "columns", "rows", "one"))[..., 0], array[:, 0].transpose(0, 2, 1)
    )


def test_images_and_sequences_of_a_jet_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image beside a list of the same objects: the check, golden vectors, cache, pickle and attach work."""
    monkeypatch.setattr(checking, "response_of", lambda _: None)
    tracks = SEQUENCE | {"columns": ["eta"], "variables": ["Cpfcan_puppiw"], "order": ["pt"], "kind": "set"}
    folder = write(
        tmp_path / "model",
        declared(IMAGE, tracks | {"length": [1, 20]}),
        golden="golden.npz",
        output_names=["a", "b"],
        kinds={"hidden": ["[ab]"]},
    )
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["first"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["first", "axis"], ["column"]),
        helper.make_node("ReduceSum", ["tracks", "axis"], ["second"], keepdims=0),
        helper.make_node("Add", ["column", "second"], ["scores"]),
    ]
    inputs = [
        helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, ROWS, COLUMNS]),
        helper.make_tensor_value_info("tracks", TensorProto.FLOAT, ["N", "n", 2]),
    ]
    outputs = [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 2])]
    graph = helper.make_graph(nodes, "g", inputs, outputs, [numpy_helper.from_array(np.array([1]), "axis")])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), folder / "model.onnx"
    )
    bundle = Bundle.from_folder(folder)
    write_golden(bundle, folder / "golden.npz")
    found = {result.name: result for result in check(bundle)}
    assert [name for name, result in found.items() if result.passed is False] == []
    assert found["golden vectors: others"].passed
    assert found["order of cpf: others"].passed
    events = make_events(12, seed=5, constituents=20)
    tagger = jt.load_tagger(folder, threads=1)
    scores = tagger(events)
    cached = jt.load_tagger(folder, threads=1, cache=tmp_path / "cache", block_bytes=1)
    assert_same_scores(cached(events), scores)
    assert cached.run(events).report.cached > 5
    assert_same_scores(pickle.loads(pickle.dumps(tagger))(events), scores)
    assert_same_scores(tagger(events[::-1])[::-1], scores)
    np.testing.assert_array_equal(
        flat(tagger.attach(events, columns=["a"]).FatJet, "other_a"), flat(scores, "a").astype("f4")
    )
    moved = {"eta": events.FatJet.eta + 0.2}
    assert np.nanmax(np.abs(flat(tagger.run(events, kinematics=moved).scores, "a") - flat(scores, "a"))) > 1e-4
    assert {"pf: deta"} <= set(source_of(bundle).changed_by(["eta"]))


def test_batches_of_images_fit_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch is smaller than requested if its images would be too large; scores stay the same."""
    folder = write(tmp_path / "model", declared(IMAGE))
    convolutions(folder / "model.onnx")
    bundle = Bundle.from_folder(folder)
    size = 4 * 3 * ROWS * COLUMNS
    tables = tabulate(bundle.groups, ToyJets(object_counts(bundle.groups, {}, 50), 1))
    for limit, largest in ((1, 1), (size * 7 + 3, 7), (10**9, 50)):
        batches = list(make_batches(tables, batch_size=64, image_bytes=limit))
        assert max(len(batch.jets) for batch in batches) == largest
        assert sorted(jet for batch in batches for jet in batch.jets.tolist()) == list(range(50))
    events = make_events(6, seed=5, constituents=20)
    runs: list[int] = []
    run = OrtSession.run

    def counted(session: OrtSession, inputs: Any) -> Any:
        runs.append(len(inputs["image"]))
        return run(session, inputs)

    monkeypatch.setattr(OrtSession, "run", counted)
    scores = []
    for block_bytes, largest in ((10**8, 8), (3 * size, 3)):
        tagger = jt.load_tagger(folder, threads=1, batch_size=8, block_bytes=block_bytes)
        assert tagger.session
        runs.clear()
        scores.append(tagger(events))
        assert max(runs) == largest
    assert_same_scores(*scores)


def test_large_images_are_checked_with_as_many_jets_as_small_ones(tmp_path: Path) -> None:
    """Although a batch of the tagger would hold one of them."""
    settings = IMAGE["image"] | {"size": [1024, 1000], "channels": ["all"]}
    folder = write(tmp_path / "model", declared(IMAGE | {"image": settings}))
    convolutions(folder / "model.onnx", shape=("N", 1, "rows", "columns"))
    bundle = Bundle.from_folder(folder)
    write_golden(bundle, tmp_path / "golden.npz", jets=3)
    with np.load(tmp_path / "golden.npz") as stored:
        assert stored["input__image"].shape == (3, 1, 1024, 1000)


@pytest.mark.parametrize("divided", [False, True])
def test_networks_that_fail_for_empty_images_are_told(
    divided: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that divides by the sum of the pixels has no number for a jet outside of its image."""
    monkeypatch.setattr(checking, "response_of", lambda _: None)
    folder = write(tmp_path / "model", declared(IMAGE), output_names=["a"], kinds={})
    nodes = [
        helper.make_node("ReduceSum", ["image", "axes"], ["sum"], keepdims=0),
        helper.make_node("ReduceMax", ["image"], ["largest"], axes=[2, 3], keepdims=0),
        helper.make_node("ReduceMax", ["largest"], ["most"], axes=[1], keepdims=0),
        helper.make_node("Div" if divided else "Add", ["most", "sum"], ["flat"]),
        helper.make_node("Unsqueeze", ["flat", "one"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, ROWS, COLUMNS])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 1])],
        [numpy_helper.from_array(np.array(value), name) for name, value in (("axes", [1, 2, 3]), ("one", [1]))],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), folder / "model.onnx"
    )
    found = {result.name: result for result in check(Bundle.from_folder(folder))}
    assert found["empty image"].passed is not divided
    failed = [name for name, result in found.items() if result.passed is False]
    assert failed == (["empty image"] if divided else [])


def test_jets_without_constituents_have_empty_images_if_the_model_scores_them(tmp_path: Path) -> None:
    folders = [write(tmp_path / f"{flag}", declared(IMAGE, empty_jets=flag)) for flag in (True, False)]
    for folder in folders:
        convolutions(folder / "model.onnx")
    events = make_events(6, seed=2)
    reports = [jt.load_tagger(folder, threads=1).run(events).report for folder in folders]
    assert reports[0].scored == reports[0].jets == reports[1].jets
    assert reports[1].scored == reports[1].jets - reports[1].without_constituents < reports[1].jets


def test_models_of_images_and_of_lists_run_together(tmp_path: Path) -> None:
    """Jets are linked once, columns are shared; the scores are those of each alone."""
    one = write(tmp_path / "one", declared(IMAGE), name="one")
    convolutions(one / "model.onnx")
    two = write(tmp_path / "two", declared(SEQUENCE, VECTOR), name="two")
    recurrent(two / "model.onnx")
    taggers = [jt.load_tagger(folder, threads=1) for folder in (one, two)]
    events = events_with_shapes()
    together = Taggers(taggers)(events)
    for tagger in taggers:
        assert_same_scores(together[tagger.bundle.name], tagger(events))


def of(change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    group = json.loads(json.dumps(IMAGE))
    change(group)
    return group


BAD: dict[str, tuple[dict[str, Any], type[JettaggerError], list[str]]] = {
    "the size": (
        of(lambda group: group["image"].update(size=32)),
        BundleError,
        ["[jets, channels 3, rows 32, columns 32]", "['N', 3, 11, 15]", "'image'"],
    ),
    "the order of axes": (
        of(lambda group: group.update(axes=["jets", "rows", "columns", "channels"])),
        BundleError,
        ["[jets, rows 11, columns 15, channels 3]", "['N', 3, 11, 15]"],
    ),
    "the number of channels": (
        of(lambda group: group["image"].update(channels=["all"])),
        BundleError,
        ["channels 1", "['N', 3, 11, 15]"],
    ),
    "an axis": (of(lambda group: group.update(axes=["jets", "channels", "rows"])), BundleError, ["once each"]),
    "axes of a list": (
        of(lambda group: group.update(axes=["jets", "variables", "objects"])),
        BundleError,
        ["an image of 3 channels", "rows, columns"],
    ),
    "a preset": (of(lambda group: group["image"].update(channels=["photon"])), BundleError, ["'photon'", "photons"]),
    "a column of a channel": (
        of(lambda group: group["image"]["channels"][2].update(quantity="mean of abs(d0vall)")),
        UnknownName,
        ["'d0vall'", "nearest: d0val", "inputs.json"],
    ),
    "a key": (
        of(lambda group: group["image"].update(pixels=3)),
        BundleError,
        ["image.pixels' (nearest: cells)", "line"],
    ),
    "variables": (of(lambda group: group.update(variables=["pfcand_dz"])), BundleError, ["variables has no meaning"]),
    "an order": (of(lambda group: group.update(order=["pt"])), BundleError, ["order has no meaning"]),
    "another kind": (of(lambda group: group.update(kind="set")), BundleError, ["kind has no meaning"]),
    "no settings": (of(lambda group: group.update(image=None)), BundleError, ["no settings of an image"]),
    "vertices": (
        of(lambda group: group.update(object="vertices", selection="", weight="")),
        BundleError,
        ["an image of"],
    ),
    "generator particles": (
        of(lambda group: group["image"].update(granularity="generator")),
        BundleError,
        ["granularity is 'generator'"],
    ),
    "a weight": (of(lambda group: group.update(weight="puppiWeigth")), UnknownName, ["puppiWeight", "weight"]),
    "a cut as a weight": (of(lambda group: group.update(weight="pt > 3")), ConfigError, ["is not a number"]),
}


@pytest.mark.parametrize("what", BAD)
def test_one_error_says_what_is_wrong_and_what_is_near(what: str, tmp_path: Path) -> None:
    group, error, phrases = BAD[what]
    folder = write(tmp_path / "model", declared(group))
    convolutions(folder / "model.onnx")
    with pytest.raises(error) as caught:
        Bundle.from_folder(folder)
    assert "inputs.json" in str(caught.value)
    assert all(phrase in str(caught.value) for phrase in phrases), caught.value


def test_columns_of_images_that_a_file_lacks_are_named(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", declared(IMAGE))
    convolutions(folder / "model.onnx")
    events = make_events(2, seed=1)
    fields = [name for name in events.PFCands.fields if name != "d0"]
    with pytest.raises(MissingColumns, match=r"dxy \(.*PFCands\.d0.*needed by pf: d0val"):
        jt.load_tagger(folder, threads=1)(ak.with_field(events, events.PFCands[fields], "PFCands"))


def test_constituents_without_numbers_are_counted_and_left_out(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", declared(IMAGE))
    convolutions(folder / "model.onnx")
    tagger = jt.load_tagger(folder, threads=1, min_pt_share=0.1)
    events = make_events(6, seed=5, constituents=20)
    holes = ak.where(ak.local_index(events.PFCands.mass) % 5 == 1, np.nan, events.PFCands.d0)
    broken = ak.with_field(events, ak.with_field(events.PFCands, holes, "d0"), "PFCands")
    report = tagger.run(broken).report
    assert report.replaced_values > 5
    assert report.scored == tagger.run(events).report.scored
    assert tagger.run(events).report.replaced_values == 0


def test_images_of_the_leading_constituents(tmp_path: Path) -> None:
    settings = {"size": [ROWS, COLUMNS], "range": 0.8, "channels": ["all", "charged", "photons"]}
    axes = ["jets", "channels", "rows", "columns"]
    group = {"input": "image", "object": "candidates", "most": 3, "axes": axes, "image": settings | {"range": 9.0}}
    folder = write(tmp_path / "model", declared(group))
    convolutions(folder / "model.onnx")
    events = make_events(4, seed=2, constituents=20)
    compared = 0
    for batch in make_inputs(Bundle.from_folder(folder), events):
        jets = [(event, place) for event in range(4) for place in range(len(events[event].FatJet))]
        for row, jet in enumerate(batch.jets):
            event, place = jets[jet]
            links = events[event].FatJetPFCands
            pt = events[event].PFCands.pt[links.pFCandsIdx[links.jetIdx == place]].to_numpy()
            leading = np.sort(pt)[::-1][:3]
            assert batch.inputs["image"][row, 0].sum() == pytest.approx(leading.sum(), rel=1e-5)
            compared += len(pt) > 3
    assert compared > 3


def test_settings_of_images_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path / "model", declared(IMAGE))
    convolutions(folder / "model.onnx")
    assert main(["models", "show", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert "3 channels, 11 rows (phi), 15 columns (eta)" in shown
    assert "mean of abs(d0val) of charge != 0" in shown
    assert main(["models", "show", str(folder), "--json"]) == 0
    (said,) = json.loads(capsys.readouterr().out)["result"]["inputs"]
    assert said["image"]["size"] == [ROWS, COLUMNS]
    assert "3 x 11 x 15" in str(Bundle.from_folder(folder).summary())


@pytest.mark.parametrize("granularity", ["constituents", "tracks", "cells"])
def test_networks_see_the_images_of_tables_with_all_steps(tmp_path: Path, granularity: str) -> None:
    """From events through the declared inputs, and through a table of the same jets."""
    from jettagger.images import ImageSettings, table_images

    settings = {
        "size": [ROWS, COLUMNS],
        "range": 0.8,
        "zoom": 400.0,
        "granularity": granularity,
        "mirrored": granularity != "constituents",
        "channels": ["all", "photons", {"name": "hadrons", "selection": "isChargedHadron + isNeutralHadron > 0"}],
        "steps": {"centre": "leading", "rotate": "second", "flip": "eta"},
        "normalise": "image",
    }
    convolutions(tmp_path / "model.onnx")
    group = {key: value for key, value in IMAGE.items() if key != "selection"} | {"image": settings}
    tagger = jt.load_tagger(str(write(tmp_path, declared(group))), threads=1)
    events = make_events(40, seed=6)
    table = table_images(ImageSettings.model_validate(settings), nano_table(events)).dense()
    number = 0
    for batch in make_inputs(tagger.bundle, events):
        same = np.isclose(batch.inputs["image"], table[batch.jets], rtol=1e-5, atol=1e-6).all(axis=(1, 2, 3))
        assert same.mean() > 0.9  # positions in single precision: a constituent may change its pixel
        number += len(same)
    assert number > 20
