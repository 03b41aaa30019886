"""The ONNX model of a calibration: the numbers of torch for any numbers of constituents, from raw branches."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jettagger.errors import MismatchError, MissingColumns, MissingModelFile
from jettagger.jec import RawJets, Transforms, prepare
from jettagger.jec.architecture import Architecture, architecture_of
from jettagger.jec.configuration import FeatureBlock
from jettagger.jec.exporting import calibration_model, feature_branches, output_names
from jettagger.jec.losses import quantile_outputs
from jettagger.jec.network import build_network, network_weights, set_weights
from jettagger.jec.prediction import load_calibration, padded_inputs, predict_files
from jettagger.jec.rows import FeatureLayout
from jettagger.jec.transforms import TransformStep
from jettagger.training.devices import move

FEATURES = {
    "global": FeatureBlock(numerical=("pt", "eta", "rho"), categorical=("period",)),
    "ch": FeatureBlock(
        numerical=("ch_pt", "ch_dz", "ch_rel_pt", "ch_deta", "ch_dphi", "ch_dr"), categorical=("ch_id", "ch_pv_ass")
    ),
    "ne": FeatureBlock(numerical=("ne_rel_pt", "ne_dr"), categorical=("ne_id",)),
    "sv": FeatureBlock(numerical=("sv_num_tracks", "sv_mass")),
}
LINEAR = TransformStep("linear", 0.1, 2.0)
TRANSFORMS = Transforms(
    {
        "pt": (TransformStep("arcsinh", scale=10.0), LINEAR),
        "ch_pt": (TransformStep("arcsinh", scale=0.1), TransformStep("linear", 0.2, 9.0)),
        "ch_dz": (TransformStep("abs"), TransformStep("arcsinh", scale=1e-3), LINEAR),
        "sv_num_tracks": (TransformStep("log"), TransformStep("linear", 0.7, 2.6)),
        "ne_rel_pt": (TransformStep("log"),),
    },
    {"period": (2016, 2018), "ch_id": (-211, 13, 211), "ch_pv_ass": (0, 1, 7), "ne_id": (22, 130)},
)
MODEL: dict[str, Any] = {
    "ch": {"type": "resnet", "num_units": [8, 11, 7, 11, 6], "embeddings": {"ch_id": 3, "ch_pv_ass": 2}},
    "ne": {"type": "mlp", "num_units": [6, 4], "batch_norm": True, "dropout": 0.2, "embeddings": {"ne_id": 2}},
    "sv": {"type": "resnet", "num_units": [4, 2], "embeddings": {}},
    "head": {"type": "resnet", "num_units": [8, 8, 5], "embeddings": {"period": 2}},
}


def torch() -> Any:
    return pytest.importorskip("torch", reason="the extra train is not installed")


def made(outputs: int = 1, blocks: Sequence[str] = ("ch", "ne", "sv")) -> tuple[Any, Architecture]:
    """A network whose outputs are of the order of 0.1, whatever the numbers of constituents."""
    layout = FeatureLayout.of(FEATURES)
    rows = {
        block: {name: len(TRANSFORMS.categorical[name]) for name in FEATURES[block].categorical}
        for block in ("global", *blocks)
    }
    model = {name: MODEL[name] for name in (*blocks, "head")}
    numerical = {block: layout.numerical[block] for block in ("global", *blocks)}
    architecture = architecture_of(model, numerical, rows, outputs=outputs)
    rng = np.random.default_rng(5)
    weights = {name: rng.normal(0, 0.2, shape).astype("f4") for name, shape in architecture.weights.items()}
    for name in weights:
        weights[name] = np.abs(weights[name]) + 0.5 if "variance" in name else weights[name]
        weights[name] *= 0.02 if name == "head_dense_output/kernel:0" else 1
    torch()
    network = build_network(architecture).eval()
    set_weights(network, weights, "the test")
    return network, architecture


def jets(counts: dict[str, Any], seed: int = 2) -> RawJets:
    """Jets with directions on both sides of phi = pi, and values that no embedding has."""
    rng = np.random.default_rng(seed)
    number = len(next(iter(counts.values())))
    totals = {name: int(np.sum(values)) for name, values in counts.items()}
    columns: dict[str, Any] = {
        "pt": rng.uniform(20, 900, number),
        "eta": rng.choice([0.0, -2.0, 1.5], number),
        "phi": rng.uniform(-np.pi, np.pi, number),
        "rho": rng.uniform(0, 50, number),
        "period": rng.choice([2016, 2017, 2018], number),
        "pt_gen": rng.uniform(20, 900, number),
    }
    for name, total in totals.items():
        columns[f"{name}_pt"] = rng.exponential(5, total) + 0.1
        columns[f"{name}_eta"] = rng.normal(0, 2, total)
        columns[f"{name}_phi"] = rng.uniform(-np.pi, np.pi, total)
    columns["ch_dz"] = rng.normal(0, 0.01, totals["ch"])
    columns["ch_id"] = rng.choice([-211, 13, 211, 11], totals["ch"])
    columns["ch_pv_ass"] = rng.choice([0, 1, 7, 3], totals["ch"])
    columns["ne_id"] = rng.choice([22, 130, 1], totals["ne"])
    columns["sv_num_tracks"] = rng.integers(2, 9, totals["sv"])
    columns["sv_mass"] = rng.exponential(1, totals["sv"])
    kept = {name: values.astype("i4" if values.dtype.kind == "i" else "f4") for name, values in columns.items()}
    return RawJets(kept, {name: np.asarray(values, dtype="i8") for name, values in counts.items()})


def inputs_of(raw: RawJets, blocks: Sequence[str] = ("ch", "ne", "sv")) -> dict[str, Any]:
    """What the network takes, from the prepared jets."""
    rows = prepare(raw, {block: FEATURES[block] for block in ("global", *blocks)}, TRANSFORMS)
    return {
        block: {"numerical": rows.numerical[block], "categorical": rows.categorical[block]}
        | ({} if block == "global" else {"counts": rows.counts[block]})
        for block in rows.numerical
    }


def exported(folder: Path, outputs: int = 1, quantiles: Sequence[float] = ()) -> Any:
    network, architecture = made(outputs)

    model = calibration_model(architecture, network_weights(network), FEATURES, TRANSFORMS, quantiles=quantiles)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return network, load_calibration(folder)


COUNTS = st.lists(st.tuples(*[st.sampled_from([0, 1, 3, 40, 200])] * 3), min_size=1, max_size=4)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return exported(tmp_path_factory.mktemp("model"))


@settings(max_examples=25, deadline=None)
@given(counts=COUNTS, seed=st.integers(0, 99))
def test_onnx_is_torch_for_0_to_200_constituents(pair: Any, counts: list[tuple[int, int, int]], seed: int) -> None:
    network, calibration = pair
    raw = jets(dict(zip(("ch", "ne", "sv"), np.array(counts).T, strict=True)), seed)
    with torch().no_grad():
        expected = network(move(inputs_of(raw), "cpu")).numpy()
    found = calibration.factors(raw)
    np.testing.assert_allclose(np.log(found), expected, rtol=0, atol=1e-5)
    assert (np.abs(expected) < 3).all()


def test_outputs_depend_on_nothing_in_empty_slots(pair: Any) -> None:
    _, calibration = pair
    raw = jets({"ch": [3, 0], "ne": [1, 2], "sv": [0, 1]})
    inputs = padded_inputs(raw, calibration.branches)
    expected = calibration.session.run(inputs)["factors"]
    for block in ("ch", "ne", "sv"):
        empty = np.broadcast_to(inputs[f"{block}_mask"] == 0, inputs[block].shape)
        inputs[block] = np.where(empty, np.float32(np.nan), inputs[block])
    np.testing.assert_array_equal(calibration.session.run(inputs)["factors"], expected)


def test_each_type_and_jets_alone_can_be_exported(tmp_path: Path) -> None:
    raw = jets({"ch": [3, 0, 5], "ne": [1, 2, 0], "sv": [0, 1, 2]})
    for blocks in ((), ("sv",), ("ch", "sv")):
        network, architecture = made(blocks=blocks)

        features = {block: FEATURES[block] for block in ("global", *blocks)}
        model = calibration_model(architecture, network_weights(network), features, TRANSFORMS)
        (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
        with torch().no_grad():
            expected = network(move(inputs_of(raw, blocks), "cpu")).numpy()
        np.testing.assert_allclose(np.log(load_calibration(tmp_path).factors(raw)), expected, atol=1e-5)


def test_columns_of_quantiles_are_those_of_nanoaod(tmp_path: Path) -> None:
    quantiles = (0.05, 0.16, 0.5, 0.84, 0.95)
    network, calibration = exported(tmp_path, 5, quantiles)
    assert calibration.outputs == (
        "ptRawCorr", "ptRawRes", "ptRawCorrUp", "ptRawCorrDown", "ptRawCorrQ05", "ptRawCorrQ95",
    )  # fmt: skip
    raw = jets({"ch": [3, 0, 30], "ne": [1, 2, 9], "sv": [0, 1, 0]})
    with torch().no_grad():
        q05, q16, q50, q84, q95 = np.exp(quantile_outputs(network(move(inputs_of(raw), "cpu")), 2).numpy()).T
    expected = np.stack([q50, (q84 - q16) / 2, q84, q16, q05, q95], axis=1)
    np.testing.assert_allclose(calibration.factors(raw), expected, rtol=2e-5)
    assert output_names((0.16, 0.5, 0.84)) == calibration.outputs[:4]
    assert output_names((0.5, 0.9)) == ("ptRawCorr", "ptRawCorrQ90")


def test_jets_that_cannot_be_calibrated_are_nan_and_change_no_others(pair: Any) -> None:
    _, calibration = pair
    raw = jets({"ch": [3, 0, 5, 2], "ne": [1, 2, 0, 1], "sv": [0, 1, 2, 0]})
    expected = calibration.factors(raw)
    raw.columns["pt"][0] = 0
    raw.columns["ch_eta"][3] = np.inf  # of jet 2
    found = calibration.factors(raw)
    assert np.isnan(found[:, 0]).tolist() == [True, False, True, False]
    np.testing.assert_array_equal(found[[1, 3]], expected[[1, 3]])


def test_batches_do_not_change_the_predictions(pair: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _, calibration = pair
    rng = np.random.default_rng(1)
    raw = jets({name: rng.integers(0, 9, 60) for name in ("ch", "ne", "sv")})
    expected = calibration.factors(raw)
    monkeypatch.setattr("jettagger.jec.prediction.SLOTS", 40)
    np.testing.assert_allclose(calibration.factors(raw), expected, rtol=1e-6)


def test_networks_that_are_no_calibration_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingModelFile, match="output folder of jettagger jec train"):
        predict_files(tmp_path, [])
    network, calibration = exported(tmp_path)
    del network
    import onnx

    model = onnx.load(tmp_path / "model.onnx")
    assert json.loads(model.metadata_props[0].value)["branches"] == {
        block: list(names) for block, names in feature_branches(FEATURES).items()
    }
    raw = jets({"ch": [1], "ne": [0], "sv": [0]})
    del raw.columns["ch_dz"], raw.columns["rho"]
    with pytest.raises(MissingColumns, match=r"2 branches that .*model\.onnx reads are missing: rho.*ch_dz"):
        calibration.factors(raw)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(MismatchError, match="not the network of a calibration"):
        load_calibration(tmp_path)


def test_weights_and_quantiles_that_do_not_fit_are_refused() -> None:
    network, architecture = made()

    weights = network_weights(network)
    with pytest.raises(MismatchError, match="1 outputs, expected 3"):
        calibration_model(architecture, weights, FEATURES, TRANSFORMS, quantiles=(0.16, 0.5, 0.84))
    weights["ch_dense_1_1/bias:0"] = np.zeros(3, "f4")
    with pytest.raises(MismatchError, match=r"ch_dense_1_1/bias:0 is \(3,\), expected \(8,\)"):
        calibration_model(architecture, weights, FEATURES, TRANSFORMS)
