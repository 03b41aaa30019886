"""Networks of the comparison of architectures: equal in ONNX, the same for any padding, trained on a hundred jets."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import onnx
import pytest
from agreement import Agreement

import jettagger as jt
from jettagger.errors import MismatchError
from jettagger.inference.checking import check
from jettagger.training import RaggedRows
from jettagger.training.ragged import joined

torch = pytest.importorskip("torch", reason="networks need torch")

from examples.architectures import inputs, samples  # noqa: E402
from examples.architectures import jet_networks as networks  # noqa: E402
from examples.architectures import train as training  # noqa: E402
from examples.architectures.export import compare, export, export_trees, random_inputs, write_bundle  # noqa: E402
from examples.architectures.inputs import TASKS  # noqa: E402
from jettagger.testing import make_events  # noqa: E402

SAMPLES = Path(__file__).resolve().parent.parent / "examples" / "data"
SEQUENCES = ("gru", "cnn1d", "rnnip")
SETS = ("deepset", "transformer", "dips")


def built(name: str, classes: int = 3) -> Any:
    recipe = training.RECIPES[name]
    torch.manual_seed(3)
    assert recipe.build is not None
    return recipe.build(classes).eval()


@pytest.fixture(scope="module")
def jets() -> RaggedRows:
    """Fat jets of the small simulated samples: multijets, H -> bb, top; none of the class 4q."""
    rows = joined(
        samples.read_file(SAMPLES / f"{name}.root", TASKS["fat"], "train") for name in ("QCD", "XHH-1000", "tt")
    )
    label = rows.numbers[:, 0]
    chosen = [np.flatnonzero(label == place)[:40] for place in (0, 1, 3)]
    return rows.take(np.concatenate(chosen))


def of_task(jets: RaggedRows, task: str) -> RaggedRows:
    """The same jets with labels of a task."""
    numbers = jets.numbers.copy()
    numbers[:, 0] = np.arange(len(jets)) % len(TASKS[task].classes)
    return RaggedRows(numbers, jets.counts, jets.lists)


# --------------------------------------------------------------------------------------------------------------- export


@pytest.mark.parametrize("name", ["gru", "cnn1d", "deepset", "dense", "dense-shapes", "rnnip", "dips"])
def test_onnx_equals_torch_for_any_number_of_jets_and_objects(name: str) -> None:
    recipe, network = training.RECIPES[name], built(name)
    worst = compare(export(network, recipe.inputs), network, recipe.inputs)
    assert [case.split(", ")[1] for case in worst][::4] == ["0 objects", "1 objects", "45 objects", "200 objects"]
    assert max(worst.values()) < 1e-5


@pytest.mark.slow
def test_onnx_of_the_transformer_equals_torch() -> None:
    recipe = training.RECIPES["transformer"]
    network = networks.EmbeddedTransformer(4, width=32, heads=2, blocks=1, class_blocks=1).eval()
    compare(export(network, recipe.inputs), network, recipe.inputs)


@pytest.mark.parametrize("name", ["cnn1-16", "cnn6"])
def test_onnx_of_images_equals_torch(name: str) -> None:
    recipe, network = training.RECIPES[name], built(name)
    compare(export(network, recipe.inputs, recipe.image), network, recipe.inputs, recipe.image)


def test_another_network_than_the_exported_one_is_refused() -> None:
    recipe = training.RECIPES["dips"]
    model = export(built("dips"), recipe.inputs)
    torch.manual_seed(4)
    assert recipe.build is not None
    with pytest.raises(SystemExit, match="ONNX differs from torch by"):
        compare(model, recipe.build(3), recipe.inputs)


@pytest.mark.parametrize("name", ["trees", "trees-shapes"])
def test_onnx_of_trees_equals_xgboost(name: str, jets: RaggedRows, agrees: Agreement) -> None:
    xgboost = pytest.importorskip("xgboost", reason="trees need xgboost")
    import onnxruntime

    from jettagger.finetuning.booster import trees_of

    recipe, task = training.RECIPES[name], TASKS["quark"]
    rows = of_task(jets, "quark")
    rows = training.prepare(rows, recipe, samples.flat_weights(rows, task))
    booster, seconds = training.fit_trees(recipe, 2, rows, rows, seed=1, rounds=5)
    assert seconds > 0
    shapes = training.shapes_of(recipe)
    model = export_trees(shapes, trees_of(booster, len(shapes.names), 2), recipe.inputs)
    model.graph.output.append(onnx.helper.make_tensor_value_info("shapes", onnx.TensorProto.FLOAT, ["N", 8]))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (values,) = training.arrays_of(rows, recipe)
    got, table = session.run(None, {recipe.inputs[0]: values})
    expected = shapes(torch.from_numpy(values)).numpy()
    np.testing.assert_allclose(table, expected, rtol=1e-4, atol=1e-5)
    # a cut of a tree may lie on the value of a jet: the same rounded values
    expected = booster.predict(xgboost.DMatrix(table))
    agrees("learning/xgboost", got, expected, sample=len(got), atol=1e-5, rtol=1e-7, part=name)
    assert np.ptp(got) > 0.05
    with pytest.raises(MismatchError):
        trees_of(booster, len(shapes.names) + 1, 2)


# ------------------------------------------------------------------------------------------------- order, padding, sums


@pytest.mark.parametrize("name", [*SEQUENCES, *SETS])
def test_padding_never_matters_and_order_matters_to_sequences_alone(name: str) -> None:
    recipe, network = training.RECIPES[name], built(name)
    short = random_inputs(recipe.inputs, 4, 12)
    long = {key: torch.nn.functional.pad(values, (0, 7)) for key, values in short.items()}
    turned = {key: values.flip(2) for key, values in short.items()}
    with torch.no_grad():
        plain, padded, other = (network(*inputs.values()) for inputs in (short, long, turned))
    torch.testing.assert_close(plain, padded, rtol=1e-4, atol=1e-5)
    difference = float((plain - other).abs().max())
    assert difference > 1e-4 if name in SEQUENCES else difference < 1e-4


def test_rnnip_and_dips_are_of_the_same_size() -> None:
    sizes = [networks.parameters(built(name)) for name in ("rnnip", "dips")]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.05)


def test_images_of_all_sizes_have_the_same_weights() -> None:
    sizes = {networks.parameters(built(name)) for name in ("cnn1", "cnn1-16", "cnn1-64")}
    assert len(sizes) == 1


def test_filled_pixels_are_the_dense_image() -> None:
    network = built("cnn6")
    random = np.random.default_rng(1)
    number = random.integers(0, 6 * 32 * 32, (3, 20))
    content = random.exponential(size=(3, 20)).astype(np.float32)
    content[1, 5:] = 0.0  # padding: nothing is added to the first pixel
    number[1, 5:] = 0
    dense = np.zeros((3, 6 * 32 * 32), dtype=np.float32)
    for jet, place in np.ndindex(number.shape):
        dense[jet, number[jet, place]] += content[jet, place]
    sparse = np.stack([number, content], axis=1).astype(np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(dense).reshape(3, 6, 32, 32))
        got = networks.SparseImages(network, (6, 32, 32))(torch.from_numpy(sparse))
    torch.testing.assert_close(got, expected)


def test_shapes_are_those_of_a_loop_over_constituents(jets: RaggedRows) -> None:
    few = jets.take(np.arange(6))
    values, _ = few.padded("particles")
    got = networks.Shapes()(torch.from_numpy(np.ascontiguousarray(values.transpose(0, 2, 1)))).numpy()
    place = {name: index for index, name in enumerate(inputs.PARTICLES)}
    starts = np.concatenate([[0], np.cumsum(few.counts["particles"])])
    for jet in range(len(few)):
        mine = few.lists["particles"][starts[jet] : starts[jet + 1]].astype(np.float64)
        pt = np.exp(mine[:, place["pfcand_pt_log_nopuppi"]])
        share = pt / pt.sum()
        eta, phi = mine[:, place["pfcand_etarel"]], mine[:, place["pfcand_phirel"]]
        charged = mine[:, place["pfcand_charge"]] != 0
        correlation = mass = 0.0
        for one in range(len(mine)):
            for two in range(one):
                gap = np.hypot(eta[one] - eta[two], phi[one] - phi[two])
                correlation += share[one] * share[two] * gap**0.2
                mass += share[one] * share[two] * gap**2
        expected = [
            len(mine) / 30, charged.sum() / 20, np.sqrt((share**2).sum()),
            (share * mine[:, place["pfcand_deltaR"]]).sum() / 0.1, share.max(), correlation, np.sqrt(mass) / 0.2,
            share[charged].sum(),
        ]  # fmt: skip
        np.testing.assert_allclose(got[jet], expected, rtol=2e-3, atol=2e-3)


def test_columns_of_fat_jets_are_ratios(jets: RaggedRows) -> None:
    columns = jets.numbers[:, [samples.NUMBERS.index(name) for name in inputs.COLUMNS]]
    got = networks.Columns()(torch.from_numpy(columns)).numpy()
    value = dict(zip(inputs.COLUMNS, columns.T, strict=True))
    np.testing.assert_allclose(got[:, 4], np.minimum(value["tau2"] / value["tau1"], 2), rtol=1e-4)
    np.testing.assert_allclose(got[:, 1], value["mass"] / value["pt"], rtol=1e-4)
    # what a file does not have is not a number out of nowhere
    assert np.isfinite(networks.Columns()(torch.zeros(1, len(inputs.COLUMNS))).numpy()).all()


# -------------------------------------------------------------------------------------------------------------- samples


def test_stored_jets_are_what_was_read_within_the_steps(jets: RaggedRows, tmp_path: Path) -> None:
    size = samples.write_sample(tmp_path / "fat.npz", "fat", jets)
    back = samples.read_sample(tmp_path / "fat.npz", "fat")
    assert size / len(jets) < 700  # of a large sample less than half
    np.testing.assert_array_equal(back.numbers, jets.numbers)
    place = {name: index for index, name in enumerate(inputs.PARTICLES)}
    for name in ("particles", "vertices"):
        np.testing.assert_array_equal(back.counts[name], jets.counts[name])
    for name, index in place.items():
        before, after = (rows.lists["particles"][:, index] for rows in (jets, back))
        if name.endswith(("sig", "Sig")):
            np.testing.assert_allclose(np.arcsinh(after), np.arcsinh(before), atol=0.061)
            np.testing.assert_array_equal(after[before == 0], 0)
        elif name.endswith(("rel", "deltaR")) or "log" in name:
            np.testing.assert_allclose(after, before, atol=0.0051)
        else:
            np.testing.assert_array_equal(after, before)
    np.testing.assert_allclose(back.lists["vertices"], jets.lists["vertices"], rtol=1e-3, atol=1e-4)
    again = tmp_path / "again.npz"
    samples.write_sample(again, "fat", back)
    twice = samples.read_sample(again, "fat")
    np.testing.assert_allclose(twice.lists["particles"], back.lists["particles"], atol=1e-6)
    with pytest.raises(SystemExit, match="no such file"):
        samples.read_sample(tmp_path / "absent.npz", "fat")


def test_a_file_is_read_in_parts_and_without_jets_of_the_task(
    jets: RaggedRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = SAMPLES / "XHH-1000.root"
    whole = samples.read_file(path, TASKS["fat"], "train")
    monkeypatch.setattr(samples, "EVENTS_AT_ONCE", 30)
    parts = samples.read_file(path, TASKS["fat"], "train")
    np.testing.assert_array_equal(parts.numbers, whole.numbers)
    np.testing.assert_array_equal(parts.lists["particles"], whole.lists["particles"])
    assert 0.02 < (whole.numbers[:, samples.NUMBERS.index("split")] == samples.SPLITS["validation"]).mean() < 0.12
    far = dataclasses.replace(TASKS["fat"], edges=(1e5, 1e6))
    assert len(samples.read_file(path, far, "test")) == 0


def test_jets_without_constituents_are_stored(jets: RaggedRows, tmp_path: Path) -> None:
    few = jets.take(np.arange(4))
    empty = RaggedRows(
        few.numbers[:3],
        {name: np.array([0, 2, 0]) for name in few.counts},
        {name: values[:2] for name, values in few.lists.items()},
    )
    samples.write_sample(tmp_path / "fat.npz", "fat", empty)
    back = samples.read_sample(tmp_path / "fat.npz", "fat")
    assert back.counts["particles"].tolist() == [0, 2, 0]
    np.testing.assert_allclose(back.lists["particles"][:, 1], empty.lists["particles"][:, 1], atol=0.0051)


def test_a_training_takes_as_many_jets_of_each_class_and_the_same_each_time(jets: RaggedRows) -> None:
    rows = of_task(jets, "fat")
    rows.numbers[:, samples.NUMBERS.index("split")] = 0
    rows.numbers[::5, samples.NUMBERS.index("split")] = samples.SPLITS["validation"]
    chosen = samples.subset(rows, TASKS["fat"], "train", 40)
    label = rows.numbers[chosen, 0].astype(int)
    assert np.bincount(label).tolist() == [10] * 4
    np.testing.assert_array_equal(chosen, samples.subset(rows, TASKS["fat"], "train", 40))
    more = samples.subset(rows, TASKS["fat"], "train", 80)
    assert set(chosen) < set(more)  # a larger training has the jets of a smaller one
    assert not set(more) & set(samples.subset(rows, TASKS["fat"], "validation"))
    with pytest.raises(SystemExit, match="expected 100: simulate more"):
        samples.subset(rows, TASKS["fat"], "train", 400)


def test_weights_make_the_spectra_of_all_classes_flat() -> None:
    random = np.random.default_rng(1)
    task = TASKS["fat"]
    numbers = np.zeros((4000, len(samples.NUMBERS)), dtype=np.float32)
    numbers[:, 0] = np.arange(4000) % 4
    spread = np.where(numbers[:, 0] == 0, 100, 300)
    numbers[:, samples.NUMBERS.index("pt")] = np.clip(300 + random.exponential(spread), 300, 999)
    weights = samples.flat_weights(RaggedRows(numbers, {}, {}), task)
    assert weights.mean() == pytest.approx(1, abs=1e-4)
    for place in range(4):
        mine = numbers[:, 0] == place
        assert weights[mine].sum() == pytest.approx(1000, rel=1e-3)
        content, _ = np.histogram(numbers[mine, samples.NUMBERS.index("pt")], task.edges[:4], weights=weights[mine])
        assert np.ptp(content) < 0.02 * content.mean()


@pytest.mark.parametrize("order", [*inputs.ORDERS, "random"])
def test_tracks_are_in_their_order(order: str, jets: RaggedRows) -> None:
    counts, tracks = training.tracks_of(jets, order)
    assert counts.max() == inputs.MOST["tracks"]
    place = {name.partition("_")[2]: index for index, name in enumerate(inputs.TRACKS)}
    size = np.abs(tracks[:, place["btagSip3dSig"]])
    key = {
        "significance": -size, "significance, ascending": size, "distance": tracks[:, place["deltaR"]],
        "pt": -tracks[:, place["ptrel_log"]], "random": -tracks[:, place["ptrel_log"]],
    }[order]  # fmt: skip
    ends = np.cumsum(counts)
    for start, stop in zip(ends - counts, ends, strict=True):
        assert (np.diff(key[start:stop]) >= -1e-6).all()


# ------------------------------------------------------------------------------------------------------------- training


def trained(name: str, jets: RaggedRows, **options: Any) -> tuple[training.Trained, RaggedRows]:
    recipe = training.RECIPES[name]
    task = TASKS[recipe.tasks[0]]
    rows = jets if task.name == "fat" else of_task(jets, task.name)
    rows = training.prepare(rows, recipe, samples.flat_weights(rows, task))
    made = training.train(recipe, len(task.classes), rows, rows, **({"seed": 1, "epochs": 1, "batch": 32} | options))
    return made, rows


@pytest.mark.parametrize(
    "name", ["cnn1-16", "cnn6-16", "gru", "cnn1d", "deepset", "dense", "dense-shapes", "rnnip", "dips", "rnnip-random"]
)
def test_an_epoch_of_each_network_on_a_hundred_jets(name: str, jets: RaggedRows) -> None:
    made, rows = trained(name, jets)
    assert [epoch.number for epoch in made.history] == [1]
    assert len(made.seconds) == 1
    recipe = training.RECIPES[name]
    probabilities = training.scores(made.network, recipe, rows)
    assert len(probabilities) == len(jets)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


@pytest.mark.slow
def test_an_epoch_of_the_transformer(jets: RaggedRows) -> None:
    made, rows = trained("transformer", jets)
    assert np.isfinite(training.scores(made.network, training.RECIPES["transformer"], rows)).all()


def test_a_training_is_the_same_again_and_after_an_interruption(jets: RaggedRows, tmp_path: Path) -> None:
    whole, _ = trained("dips", jets, epochs=3)

    def stop(epoch: Any) -> None:
        if epoch.number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained("dips", jets, epochs=3, checkpoint=tmp_path / "checkpoint", follow=stop)
    resumed, _ = trained("dips", jets, epochs=3, checkpoint=tmp_path / "checkpoint")
    assert [epoch.number for epoch in resumed.history] == [1, 2, 3]
    assert len(resumed.seconds) == 1
    for one, other in zip(whole.network.parameters(), resumed.network.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert whole.history[-1].train < whole.history[0].train


def test_networks_of_a_task() -> None:
    assert "cnn1-64" in training.recipes_of(TASKS["fat"])
    main = training.recipes_of(TASKS["fat"], main=True)
    assert list(main) == ["cnn1", "cnn6", "gru", "cnn1d", "deepset", "transformer", "dense", "trees"]
    assert list(training.recipes_of(TASKS["btag"], main=True)) == ["rnnip", "dips"]
    assert "trees-shapes" in training.recipes_of(TASKS["quark"])


# -------------------------------------------------------------------------------------------------------------- bundles


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("gru", "fat"), ("deepset", "fat"), ("dense", "fat"), ("cnn6-16", "fat"),
        ("deepset", "quark"), ("cnn1-16", "quark"), ("rnnip", "btag"), ("rnnip-pt", "btag"),
    ],
)  # fmt: skip
def test_a_bundle_gives_the_scores_of_torch_on_events(name: str, task: str, tmp_path: Path) -> None:
    recipe, classes = training.RECIPES[name], TASKS[task].classes
    assert recipe.build is not None
    torch.manual_seed(5)
    network = recipe.build(len(classes)).eval()
    # random jets have any pt
    wide = dataclasses.replace(TASKS[task], edges=(1.0, 1e5))
    folder = write_bundle(
        tmp_path / "net",
        export(network, recipe.inputs, recipe.image),
        wide,
        training.groups_of(recipe),
        name="net",
        title="test",
    )
    ak4 = TASKS[task].jets == "AK4"
    events = make_events(12, seed=3, ak4=ak4)
    if name == "dense":
        jets = events.FatJet
        jets["nConstituents"] = ak.values_astype(jets.pt / 10, np.int32)
        for number in (1, 2, 3, 4):
            jets[f"tau{number}"] = 0.3 / number * jets.mass / jets.pt
        events["FatJet"] = jets
    tagger = jt.load_tagger(folder, threads=1)
    got = tagger.attach(events)["Jet" if ak4 else "FatJet"]
    columns = {label: ak.flatten(got[f"net_prob{label}"]) for label in classes}
    scored = 0
    for batch in jt.make_inputs(tagger.bundle, events):
        with torch.no_grad():
            logits = network(*(torch.from_numpy(batch.inputs[place]) for place in recipe.inputs))
        expected = torch.softmax(logits, dim=1).numpy()
        for place, flat in enumerate(columns.values()):
            np.testing.assert_allclose(ak.to_numpy(flat[batch.jets]), expected[:, place], atol=1e-5)
        scored += len(batch.jets)
    assert scored > 10


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("order", list(inputs.ORDERS))
def test_a_training_sees_the_tracks_that_the_tagger_makes(order: str, tmp_path: Path) -> None:
    task = dataclasses.replace(TASKS["fat"], classes=("one", "two", "three"))
    recipe = dataclasses.replace(training.RECIPES["rnnip"], order=order)
    model = export(built("rnnip"), recipe.inputs)
    folder = write_bundle(tmp_path / "net", model, task, training.groups_of(recipe), name="net", title="test")
    rows = samples.read_file(SAMPLES / "tt.root", TASKS["fat"], "test")
    counts, tracks = training.tracks_of(rows, order)
    bundle = jt.load_bundle(folder)
    with jt.EventFile(SAMPLES / "tt.root") as file:
        plan = jt.check_columns(bundle, file, "tt.root")
        events = file.read(sorted({*plan.columns, "FatJet.label"}))
    codes = list(samples.FAT_LABELS)
    known = ak.any(events.FatJet.label[..., None] == ak.Array([codes])[:, None], axis=-1)
    batches = list(jt.make_inputs(bundle, events, known & (events.FatJet.pt > 300) & (events.FatJet.pt < 1000)))
    index = np.concatenate([batch.jets for batch in batches])
    made = {int(jet): batch.inputs["tracks"][row] for batch in batches for row, jet in enumerate(batch.jets)}
    ends = np.cumsum(counts)
    assert len(index) == len(rows)
    compared = 0
    for place, jet in enumerate(np.sort(index)):
        mine = tracks[ends[place] - counts[place] : ends[place]]
        if rows.counts["particles"][place] == inputs.MOST["particles"] or np.abs(mine[:, 5]).max() >= inputs.BOUND:
            continue  # the softest tracks, and the order of the most displaced ones, are not stored
        compared += 1
        tensor = made[int(jet)].T
        assert (tensor[:, 0] > 0.5).sum() == len(mine)
        np.testing.assert_allclose(tensor[: len(mine)], mine, rtol=1e-5, atol=1e-6)
    assert compared > 20


@pytest.mark.filterwarnings("ignore")
def test_a_training_sees_the_images_that_the_tagger_makes(tmp_path: Path) -> None:
    task, recipe = TASKS["fat"], training.RECIPES["cnn6-16"]
    model = export(built("cnn6-16", 4), recipe.inputs, recipe.image)
    folder = write_bundle(tmp_path / "net", model, task, training.groups_of(recipe), name="net", title="test")
    rows = samples.read_file(SAMPLES / "tt.root", task, "test")
    ready = training.prepare(rows, recipe, np.ones(len(rows), dtype=np.float32))
    pixels, mask = ready.padded("image")
    bundle = jt.load_bundle(folder)
    with jt.EventFile(SAMPLES / "tt.root") as file:
        plan = jt.check_columns(bundle, file, "tt.root")
        events = file.read(sorted({*plan.columns, "FatJet.label"}))
    known = ak.any(events.FatJet.label[..., None] == ak.Array([list(samples.FAT_LABELS)])[:, None], axis=-1)
    batches = list(jt.make_inputs(bundle, events, known & (events.FatJet.pt > 300) & (events.FatJet.pt < 1000)))
    images = {int(jet): batch.inputs["image"][row] for batch in batches for row, jet in enumerate(batch.jets)}
    assert len(images) == len(rows)
    compared = 0
    for place, jet in enumerate(sorted(images)):
        dense = np.zeros(np.prod(recipe.image), dtype=np.float32)
        np.add.at(dense, pixels[place][mask[place]][:, 0].astype(int), pixels[place][mask[place]][:, 1])
        np.testing.assert_allclose(dense.reshape(recipe.image), images[jet], atol=1e-5)
        compared += 1
    assert compared > 20


@pytest.mark.parametrize(("name", "task"), [("deepset", "fat"), ("cnn1-16", "fat"), ("rnnip", "btag")])
def test_bundles_pass_the_checks_of_models(name: str, task: str, tmp_path: Path) -> None:
    recipe = training.RECIPES[name]
    network = built(name, len(TASKS[task].classes))
    model = export(network, recipe.inputs, recipe.image)
    folder = write_bundle(tmp_path / "net", model, TASKS[task], training.groups_of(recipe), name="net", title="test")
    results = check(jt.load_bundle(folder))
    assert [result for result in results if result.passed is False] == []
