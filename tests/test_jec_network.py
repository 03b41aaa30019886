"""The Deep Set: pins of the original, and the same numbers from plain NumPy, one jet at a time."""

from __future__ import annotations

import re
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from agreement import Agreement
from hypothesis import given, settings
from hypothesis import strategies as st
from jecs import CATEGORICAL, MODEL, NUMERICAL, SHARED, blocks, reference, reference_model
from shown import check_shown

from jettagger.errors import ConfigError, InputFileError, InvalidValues, MismatchError, MissingColumns, UnknownName
from jettagger.jec.architecture import Architecture, Layer, architecture_of
from jettagger.jec.importing import import_weights, write_weights
from jettagger.jec.losses import calibration_loss, quantile_outputs
from jettagger.jec.network import build_network, network_weights, set_weights
from jettagger.training.devices import move


def torch() -> Any:
    return pytest.importorskip("torch", reason="the extra train is not installed")


# -------------------------------------------------------------------------------------------------------------- pins


@pytest.mark.parametrize(
    ("section", "number"),
    [
        ({"type": "mlp", "num_units": [10, 10, 10], "batch_norm": True}, 390),
        ({"type": "resnet", "num_units": [10, 10, 10, 5]}, 435),
    ],
)
def test_numbers_of_parameters_of_fragments_are_those_of_the_original(section: dict[str, Any], number: int) -> None:
    made = architecture_of({"head": section}, {"global": 10}, {})
    assert sum(prod(shape) for _, shape in made.head.weights()) == number
    assert made.parameters == number + made.head.units + 1


def test_numbers_of_parameters_of_deep_sets_are_those_of_the_original() -> None:
    section = {"type": "mlp", "num_units": [10, 10], "embeddings": {"ch_id": 3, "ch_pv_ass": 2}}
    model = {"ch": section, "head": {"type": "mlp", "num_units": [4]}}
    made = architecture_of(model, {"global": 1, "ch": 10}, {"ch": {"ch_id": 6, "ch_pv_ass": 6}})
    assert sum(prod(shape) for _, shape in made.constituents[0].weights()) == 300
    if not SHARED.is_dir():
        pytest.skip("the reference data are not here")
    config = yaml.safe_load((SHARED / "tests" / "example_config.yaml").read_text())
    numerical = {name: len(block["numerical"]) for name, block in config["features"].items()}
    rows = {"ch": {"ch_id": 6, "ch_pv_ass": 6}, "ne": {"ne_id": 4}}
    example = architecture_of(config["model"], numerical, rows)
    assert example.parameters == 326_394
    assert "326,394" in example.drawing()


def test_the_network_has_the_weights_of_its_description() -> None:
    torch()
    made = architecture_of(MODEL, NUMERICAL, CATEGORICAL)
    network = build_network(made)
    assert {name: value.shape for name, value in network_weights(network).items()} == made.weights
    assert sum(value.numel() for value in network.state_dict().values()) == made.parameters
    assert {name for name, _ in network.named_buffers()} == {name for name in made.weights if "/moving_" in name}


def test_the_drawing_has_each_fragment_and_all_weights() -> None:
    drawn = architecture_of(MODEL, NUMERICAL, CATEGORICAL).drawing()
    numbers = [int(number.replace(",", "")) for number in re.findall(r"  ([\d,]+)$", drawn, re.MULTILINE)]
    assert sum(numbers[:-1]) == numbers[-1] == architecture_of(MODEL, NUMERICAL, CATEGORICAL).parameters
    assert drawn.count("sum over constituents") == 3


# ------------------------------------------------------------------------------------------------------- the original


def test_outputs_with_weights_of_the_original_are_its_own(agrees: Agreement) -> None:
    torch()
    expected = reference("model_mlp.npz")["predictions"]
    model = import_weights(reference_model(), SHARED / "model_mlp.npz")
    assert model.architecture.parameters == 1434
    found = model(reference("batches_as_implemented.npz"))
    assert found.shape == (50,)
    agrees("ml_jec/network", found, expected.ravel(), sample=50, atol=1e-5)
    assert np.abs(model(reference("batches_intended.npz")) - expected).max() > 0.01  # other transforms


def test_the_masked_loss_is_that_of_the_original(agrees: Agreement) -> None:
    library = torch()
    arrays = reference("loss_mae.npz")
    outputs, targets = (library.from_numpy(arrays[name].astype("f8")) for name in ("y_pred", "y_true"))
    values = calibration_loss("mae")(outputs[:, None], targets, library.ones_like(targets))
    mask = (arrays["y_true"] > -1) & (arrays["y_true"] < 1)
    expected = np.abs(arrays["y_pred"].astype("f8") - arrays["y_true"]) * mask
    agrees("ml_jec/loss", values.numpy(), expected, sample=len(expected))
    assert np.float32(values.mean()) == arrays["loss"]  # a mean in single precision
    assert {-1.0, 1.0} <= set(arrays["y_true"].tolist())  # the boundaries do not count


def test_the_loss_of_the_reference_network_is_that_of_the_original() -> None:
    library = torch()
    arrays = reference("model_mlp.npz")
    outputs, targets = (library.from_numpy(arrays[name]) for name in ("predictions", "target"))
    values = calibration_loss("mae")(outputs[:, None], targets, library.ones_like(targets))
    assert float(values.mean()) == pytest.approx(float(arrays["loss"]), rel=1e-6)


def test_weights_survive_the_archive(tmp_path: Path) -> None:
    torch()
    network = build_network(architecture_of(MODEL, NUMERICAL, CATEGORICAL, outputs=3))
    write_weights(tmp_path / "w.npz", network_weights(network))
    model = import_weights(MODEL, tmp_path / "w.npz")
    assert model.architecture.weights == network.architecture.weights
    check_shown(model)
    arrays = blocks({"ch": [2, 0], "ne": [1, 0], "sv": [0, 0]})
    given = {f"{block}_numerical__flat": content["numerical"] for block, content in arrays.items()}
    given |= {f"{block}_numerical__lengths": arrays[block]["counts"] for block in ("ch", "ne", "sv")}
    given["global_numerical"] = given.pop("global_numerical__flat")
    given["period"] = arrays["global"]["categorical"][:, 0]
    for block in ("ch", "ne"):
        for place, feature in enumerate(CATEGORICAL[block]):
            given[f"{feature}__flat"] = arrays[block]["categorical"][:, place]
    with torch().no_grad():
        expected = network.eval()(move(arrays, "cpu")).numpy()
    np.testing.assert_array_equal(model(given), expected)
    del given["ch_id__flat"], given["sv_numerical__lengths"]
    with pytest.raises(MissingColumns, match=r"2 arrays are missing: ch_id__flat.*sv_numerical__lengths"):
        model(given)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("W::ch_dense_2/bias:0"), r"ch_dense_2/bias:0 is missing, expected \(10,\)"),
        (lambda w: w.update({"W::ch_dense_2/kernel:0": np.zeros((9, 9))}), r"ch_dense_2/kernel:0 is \(9, 9\), .*\(10"),
        (lambda w: w.update({"W::ne_dense_3/bias:0": np.zeros(3)}), r"ne_dense_3/bias:0 \(3,\) is not in the network"),
        (lambda w: w.pop("W::ch_id_embedding/embeddings:0"), r"ch_id_embedding/embeddings:0 is missing"),
    ],
)  # fmt: skip
def test_weights_of_another_network_are_named(tmp_path: Path, change: Any, message: str) -> None:
    torch()
    weights = {name: value for name, value in reference("model_mlp.npz").items() if name.startswith("W::")}
    change(weights)
    np.savez(tmp_path / "w.npz", **weights)
    with pytest.raises(MismatchError, match=message):
        import_weights(reference_model(), tmp_path / "w.npz")


def test_archives_that_hold_no_weights_are_refused(tmp_path: Path) -> None:
    torch()
    path = tmp_path / "w.npz"
    path.write_bytes(b"PK no archive")
    with pytest.raises(InputFileError, match=r"w\.npz cannot be read as weights"):
        import_weights(MODEL, path)
    np.savez(path, **{"W::ch_dense_1/bias:0": np.full(3, np.nan)})
    with pytest.raises(InputFileError, match="ch_dense_1/bias:0 are not finite numbers"):
        import_weights(MODEL, path)
    np.savez(path, **{"W::a": np.array([{}], dtype=object)})
    with pytest.raises(InputFileError, match="cannot be read as weights"):
        import_weights(MODEL, path)


def test_arrays_that_do_not_fit_are_refused() -> None:
    torch()
    model = import_weights(reference_model(), SHARED / "model_mlp.npz")
    arrays = reference("batches_as_implemented.npz")
    for change, message in (
        ({"ch_numerical__flat": arrays["ch_numerical__flat"][:, 1:]}, r"ch_numerical__flat is \(831, 13\), expected"),
        ({"ch_numerical__lengths": arrays["ch_numerical__lengths"][1:]}, r"ch_numerical__lengths adds up to"),
        ({"ch_id__flat": arrays["ch_id__flat"][1:]}, r"ch_id__flat has 830 values, ch_numerical__flat has 831"),
        ({"global_numerical": arrays["global_numerical"][1:]}, r"has 50 jets, global_numerical has 49"),
    ):
        with pytest.raises(MismatchError, match=message):
            model({**arrays, **change})


# ------------------------------------------------------------------------------------------------------- plain NumPy


def plain(made: Architecture, weights: dict[str, Any], inputs: dict[str, Any]) -> Any:
    """The outputs, computed for one jet after the other in double precision."""
    jets, outputs = len(inputs["global"]["numerical"]), []
    ends = {name: np.cumsum(block["counts"]) for name, block in inputs.items() if name != "global"}

    def dense(layer: Any, x: Any) -> Any:
        x = x @ weights[layer.kernel].astype("f8")
        return x + weights[layer.shift] if layer.bias else x

    def fragment(part: Any, x: Any) -> Any:
        for step in part.steps:
            if isinstance(step, Layer):
                x = dense(step.dense, x)
                if step.norm:
                    mean, variance, beta = (
                        weights[f"{step.norm}/{name}:0"] for name in ("moving_mean", "moving_variance", "beta")
                    )
                    x = (x - mean) / np.sqrt(variance.astype("f8") + 1e-3) + beta
            else:
                around = x if step.bypass is None else dense(step.bypass, x)
                x = dense(step.second, np.maximum(dense(step.first, x), 0)) + around
            x = np.maximum(x, 0)
        return x

    def embedded(part: Any, block: Any, rows: slice) -> Any:
        parts = [block["numerical"][rows].astype("f8")]
        for place, table in enumerate(part.embeddings):
            vectors = np.concatenate([weights[table.name], np.zeros((1, table.width))])
            parts.append(vectors[block["categorical"][rows, place]])
        return np.concatenate(parts, axis=1)

    for jet in range(jets):
        known = [embedded(made.head, inputs["global"], slice(jet, jet + 1))[0]]
        for part in made.constituents:
            stop = int(ends[part.name][jet])
            rows = slice(stop - int(inputs[part.name]["counts"][jet]), stop)
            known.append(fragment(part, embedded(part, inputs[part.name], rows)).sum(axis=0))
        outputs.append(dense(made.output, fragment(made.head, np.concatenate(known)[None]))[0])
    return np.array(outputs)


def random_weights(made: Architecture, seed: int = 3) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    weights = {name: rng.normal(0, 0.5, shape).astype("f4") for name, shape in made.weights.items()}
    return {name: np.abs(value) + 0.5 if "variance" in name else value for name, value in weights.items()}


COUNTS = st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=5)


@settings(max_examples=30, deadline=None)
@given(counts=COUNTS, outputs=st.sampled_from([1, 3]))
def test_outputs_are_those_of_plain_numpy(counts: list[tuple[int, int, int]], outputs: int) -> None:
    library = torch()
    made = architecture_of(MODEL, NUMERICAL, CATEGORICAL, outputs=outputs)
    network, weights = build_network(made), random_weights(made)
    set_weights(network, weights, "the test")
    inputs = blocks(dict(zip(("ch", "ne", "sv"), np.array(counts).T, strict=True)))
    with library.no_grad():
        found = network.eval()(move(inputs, "cpu")).numpy()
    np.testing.assert_allclose(found, plain(made, weights, inputs), rtol=1e-4, atol=1e-4)


def test_gradients_are_those_of_finite_differences() -> None:
    library = torch()
    made = architecture_of(MODEL, NUMERICAL, CATEGORICAL)
    network = build_network(made)
    set_weights(network, random_weights(made), "the test")
    network = network.double().train()
    inputs = move(blocks({"ch": [2, 0, 3], "ne": [3, 1, 0], "sv": [0, 0, 2]}), "cpu")
    for block in inputs.values():
        block["numerical"] = block["numerical"].double()
    library.manual_seed(0)
    directions = {name: library.randn_like(value) for name, value in network.named_parameters()}
    start = {name: value.clone() for name, value in network.state_dict().items()}

    def output(step: float) -> Any:
        moved = {name: value + step * directions.get(name, 0) for name, value in start.items()}
        network.load_state_dict(moved)
        library.manual_seed(0)  # of the dropout
        return network(inputs).sum()

    output(0.0).backward()
    slope = sum(float((value.grad * directions[name]).sum()) for name, value in network.named_parameters())
    with library.no_grad():
        expected = float(output(1e-6) - output(-1e-6)) / 2e-6
    assert slope == pytest.approx(expected, rel=1e-6)


def test_mixed_precision_adds_up_constituents_in_single_precision() -> None:
    library = torch()
    made = architecture_of(MODEL, NUMERICAL, CATEGORICAL)
    network = build_network(made).eval()
    # of one network in twenty the terms of an output cancel, to less than the rounding of each
    set_weights(network, random_weights(made, 5), "the test")
    inputs = move(blocks({"ch": [300, 2], "ne": [200, 0], "sv": [3, 0]}), "cpu")
    plain = network(inputs)
    with library.autocast("cpu", dtype=library.bfloat16):
        mixed = network(inputs)
    assert mixed.dtype == library.bfloat16
    np.testing.assert_allclose(mixed.detach().float(), plain.detach(), rtol=0.05, atol=0.05)
    mixed.sum().backward()
    assert all(value.grad is not None for value in network.parameters())


def test_unseen_values_have_a_vector_of_zeros_that_is_not_trained() -> None:
    library = torch()
    made = architecture_of(MODEL, NUMERICAL, CATEGORICAL)
    network = build_network(made)
    inputs = move(blocks({"ch": [3], "ne": [2], "sv": [1]}), "cpu")
    inputs["ch"]["categorical"][:] = library.tensor([4, 3])
    network(inputs).sum().backward()
    assert not getattr(network, "ch_id_embedding/embeddings:0").grad.any()


def test_batch_normalisation_of_one_constituent_uses_the_running_moments() -> None:
    torch()
    network = build_network(architecture_of(MODEL, NUMERICAL, CATEGORICAL)).train()
    for number in (0, 1):
        network(move(blocks({"ch": [0], "ne": [number], "sv": [0]}), "cpu")).sum().backward()
    assert not getattr(network, "ne_batch_norm_1/moving_mean:0").any()
    network(move(blocks({"ch": [0], "ne": [2], "sv": [0]}), "cpu"))
    assert getattr(network, "ne_batch_norm_1/moving_mean:0").any()


# ------------------------------------------------------------------------------------------------------------- losses


def test_other_losses_are_sums_of_closed_forms() -> None:
    library = torch()
    outputs = library.linspace(-0.8, 0.8, 9).double()[:, None]
    targets = library.tensor([0.1, -0.2, 0.5, 3.0, -np.inf, np.nan, 0.0, -1.0, 0.99]).double()
    weights = library.arange(9).double()
    mask = (np.abs(targets.numpy()) < 1).astype(float)
    r = np.nan_to_num((outputs[:, 0] - targets).numpy(), posinf=0, neginf=0)
    s = np.abs(r) / 0.2
    huber = calibration_loss("huber", scale=0.2)(outputs, targets, weights).numpy()
    np.testing.assert_allclose(huber, np.where(s < 1, s**2 / 2, s - 0.5) * mask * weights.numpy(), rtol=1e-12)
    cosh = calibration_loss("log-cosh", scale=0.2)(outputs, targets, weights).numpy()
    np.testing.assert_allclose(cosh, np.log(np.cosh(s)) * mask * weights.numpy(), rtol=1e-9, atol=1e-12)
    wide = calibration_loss("mae", max_target=4)(outputs, targets, weights).numpy()
    assert wide[3] == pytest.approx(3 * abs(r[3]))
    assert np.isfinite(wide).all()


def test_the_loss_of_quantiles_has_its_minimum_at_the_quantiles() -> None:
    library = torch()
    levels = (0.16, 0.5, 0.84)
    targets = library.from_numpy(np.random.default_rng(1).normal(0.1, 0.2, 2000))
    outputs = library.zeros(1, 3, dtype=library.float64, requires_grad=True)
    loss = calibration_loss("quantiles", quantiles=levels, max_target=5)
    optimiser = library.optim.Adam([outputs], lr=0.1)
    for _ in range(150):
        optimiser.zero_grad()
        loss(outputs.expand(len(targets), 3), targets, library.ones_like(targets)).mean().backward()
        optimiser.step()
    found = quantile_outputs(outputs, 1)[0].detach().numpy()
    np.testing.assert_allclose(found, np.quantile(targets.numpy(), levels), atol=0.02)


@given(st.lists(st.floats(-30, 30), min_size=5, max_size=5), st.integers(0, 4))
def test_quantiles_never_cross(values: list[float], middle: int) -> None:
    library = torch()
    found = quantile_outputs(library.tensor([values], dtype=library.float64), middle)[0]
    assert (found.diff() >= 0).all()
    assert float(found[middle]) == values[middle]


def test_quantiles_without_a_median_are_refused() -> None:
    torch()
    for levels in ((0.1, 0.9), (0.5, 0.2)):
        with pytest.raises(InvalidValues, match=r"rising numbers with 0\.5 among them"):
            calibration_loss("quantiles", quantiles=levels)


# ------------------------------------------------------------------------------------------------------ configuration


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda m: m.pop("head"), ConfigError, "there is no 'head'"),
        (lambda m: m.pop("sv"), ConfigError, r"types \['ch', 'ne'\], the features are those of \['ch', 'ne', 'sv'\]"),
        (lambda m: m["ch"]["embeddings"].pop("ch_id"), ConfigError, r"model\.ch\.embeddings: no embedding of ch_id"),
        (lambda m: m["ch"]["embeddings"].update(ch_idd=2), UnknownName, r"'ch_idd' \(nearest: ch_id\)"),
        (lambda m: m["ne"].update(type="mpl"), UnknownName, r"'mpl' \(nearest: mlp\)"),
        (lambda m: m["ne"].update(num_units=[]), ConfigError, r"model\.ne\.num_units: no layers"),
    ],
)
def test_descriptions_that_are_no_network_are_refused(change: Any, error: type[Exception], message: str) -> None:
    model = {name: {**section, "embeddings": dict(section["embeddings"])} for name, section in MODEL.items()}
    change(model)
    with pytest.raises(error, match=message):
        architecture_of(model, NUMERICAL, CATEGORICAL)
