"""Transforms, constructed features and prepared jets: reference arrays of the original, closed forms, bad values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from agreement import Agreement
from hypothesis import given, settings
from hypothesis import strategies as st
from jec_jets import CODES, CONFIG, TRANSFORMS, make_jets
from jecs import SHARED, reference

from jettagger.config.yamlfile import yaml_text
from jettagger.errors import ConfigError, InvalidValues, MissingColumns, OutputError, UnknownName
from jettagger.jec import JetRows, RawJets, Transforms, prepare, read_config, read_transform, write_transform
from jettagger.jec.constructed import construct, construction
from jettagger.jec.rows import branches_of, stacked, with_target
from jettagger.jec.shards import jets_of_files, open_data
from jettagger.jec.transforms import TransformStep

FEATURES = read_config(yaml_text(CONFIG), name="example").features
STEPS = read_transform(yaml_text(TRANSFORMS), name="transform.yaml")


@pytest.mark.parametrize("legacy", [False, True], ids=["intended", "implemented"])
def test_reference_batches(legacy: bool, agrees: Agreement) -> None:
    expected = reference("batches_as_implemented.npz" if legacy else "batches_intended.npz")
    config = read_config(SHARED / "tests" / "test_config.yaml")
    data = open_data(config.data.location)
    transforms = data.transforms(legacy_closure=legacy)
    pieces = jets_of_files(data.files, branches_of(config.features), step=3)
    rows = stacked(prepare(jets, config.features, transforms) for _, _, jets in pieces)
    transforms_of = "as implemented" if legacy else "as intended"
    numbers = {"global": (rows.numerical["global"], expected["global_numerical"])}
    np.testing.assert_allclose(rows.target, expected["target"][:, 0], rtol=0, atol=1e-6)
    for block in config.constituents:
        numbers[block] = (rows.numerical[block], expected[f"{block}_numerical__flat"])
        np.testing.assert_array_equal(rows.counts[block], expected[f"{block}_numerical__lengths"])
        for place, name in enumerate(config.features[block].categorical):
            np.testing.assert_array_equal(rows.categorical[block][:, place], expected[f"{name}__flat"])
    for block, pair in numbers.items():
        agrees("ml_jec/transformed", *pair, sample=len(rows.target), atol=1e-6, part=f"{block}, {transforms_of}")


def test_untransformed_features_are_those_of_the_original() -> None:
    expected = reference("batches_raw_synthetic.npz")
    config = read_config(SHARED / "tests" / "test_config.yaml")
    data = open_data(config.data.location)
    plain = Transforms(categorical=data.transforms().categorical)
    pieces = jets_of_files(data.files, branches_of(config.features))
    rows = stacked(prepare(jets, config.features, plain) for _, _, jets in pieces)
    for block in config.constituents:
        np.testing.assert_allclose(rows.numerical[block], expected[f"{block}_numerical__flat"], rtol=1e-6, atol=1e-6)


def test_constructed_features_are_those_of_double_precision() -> None:
    jets = make_jets(200, seed=3)
    counts = jets.counts["ch"]
    jet = {name: np.repeat(jets.columns[name].astype("f8"), counts) for name in ("pt", "eta", "phi")}
    deta = (jets.columns["ch_eta"] - jet["eta"]) * np.sign(jet["eta"])
    dphi = np.angle(np.exp(1j * (jets.columns["ch_phi"].astype("f8") - jet["phi"])))
    expected = {
        "ch_rel_pt": jets.columns["ch_pt"] / jet["pt"],
        "ch_deta": deta,
        "ch_dphi": dphi,
        "ch_dr": np.hypot(deta, dphi),
    }
    for name, values in expected.items():
        made = construction(name)
        assert made is not None
        found = construct(made, jets.columns, counts)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, values, rtol=2e-6, atol=2e-6, err_msg=name)
    assert construction("num_pv") is construction("rel_pt") is construction("_dr") is None


def test_the_direction_of_a_jet_at_eta_0_gives_0() -> None:
    columns = {"eta": np.zeros(1, "f4"), "ch_eta": np.ones(2, "f4")}
    made = construction("ch_deta")
    assert made is not None
    assert construct(made, columns, np.array([2])).tolist() == [0, 0]


#: the example of the documentation
CHAIN = (
    TransformStep("arcsinh", scale=0.1),
    TransformStep("linear", loc=0.0002759695053100586, scale=11.780537247657776),
)


def test_late_binding() -> None:
    one = np.ones(1, "f4")
    assert Transforms({"x": CHAIN}).apply("x", one)[0] == pytest.approx(0.25449, abs=1e-5)
    legacy = Transforms({"x": CHAIN}, legacy_closure=True)
    assert legacy.apply("x", one)[0] == pytest.approx(0.00717, abs=1e-5)
    assert legacy.steps("x")[0] == TransformStep("arcsinh", scale=CHAIN[1].scale)
    last = {"x": (TransformStep("abs"), TransformStep("arcsinh", scale=2.0))}
    assert Transforms(last, legacy_closure=True).steps("x") == last["x"]
    for steps in ((CHAIN[0], TransformStep("abs")), (CHAIN[1], CHAIN[0])):
        assert Transforms({"x": steps}).steps("x") == steps
        with pytest.raises(ConfigError, match=r"x: with legacy_closure, the parameters of .* the original fails, too"):
            Transforms({"x": steps}, legacy_closure=True)


@given(values=st.lists(st.floats(-1e4, 1e4, width=32), max_size=20), scale=st.floats(0.01, 100), loc=st.floats(-5, 5))
@settings(max_examples=50)
def test_steps_are_the_functions_of_numpy(values: list[float], scale: float, loc: float) -> None:
    steps = (TransformStep("abs"), TransformStep("arcsinh", scale=scale), TransformStep("linear", loc, scale))
    found = Transforms({"x": steps}).apply("x", np.array(values, "f4"))
    expected = (np.arcsinh(np.abs(np.array(values, "f8")) / scale) - loc) / scale
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5 / scale)


@given(
    allowed=st.lists(st.integers(-400, 400), min_size=1, max_size=10, unique=True),
    values=st.lists(st.integers(-401, 401), max_size=30),
)
@settings(max_examples=50)
def test_indices_are_positions_and_the_rest_is_the_last_row(allowed: list[int], values: list[int]) -> None:
    transforms = Transforms(categorical={"x": tuple(allowed)})
    expected = [allowed.index(value) if value in allowed else len(allowed) for value in values]
    assert transforms.index("x", np.array(values, dtype="i4")).tolist() == expected
    assert transforms.rows("x") == len(allowed) + 1


def test_written_transforms_are_read_unchanged(tmp_path: Path) -> None:
    write_transform(tmp_path / "transform.yaml", STEPS)
    again = read_transform(tmp_path / "transform.yaml")
    assert (again.numerical, again.categorical) == (STEPS.numerical, STEPS.categorical)
    with pytest.raises(OutputError, match="exists already"):
        write_transform(tmp_path / "transform.yaml", STEPS)
    write_transform(tmp_path / "transform.yaml", Transforms(), force=True)
    assert read_transform(tmp_path / "transform.yaml").numerical == {}
    (tmp_path / "transform.yaml").write_text("")
    assert read_transform(tmp_path / "transform.yaml").categorical == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("numerical:\n  pt: [{type: lin}]", "x, line 2: unknown type 'lin' (nearest: linear)"),
        ("numerical:\n  pt: [{type: linear, params: {loc: 1.0}}]", "line 2: pt: 'linear' has loc and scale, got loc"),
        ("numerical:\n  pt: [{type: abs, params: {scale: 1.0}}]", "pt: 'abs' has no parameters, got scale"),
        ("numerical:\n  pt: [{type: arcsinh}]", "pt: 'arcsinh' has scale, got none"),
        (
            "numerical:\n  pt:\n  - type: linear\n    params: {loc: 1.0, scale: 0.0}",
            "line 4: pt: the scale is 0, as of a constant feature: leave it out of the features",
        ),
        ("numerical:\n  pt: [{type: log, parms: {}}]", "unknown key 'parms' (nearest: params)"),
        ("numerical:\n  pt: [{type: arcsinh, params: {scale: .nan}}]", "'scale' must be a number, got nan"),
        ("categorical:\n  id: [1, 1]", "'id' must be a list of different whole numbers"),
        ("categorical:\n  id: []", "'id' must be a list of different whole numbers"),
        ("numerics: {}", "unknown key 'numerics' (nearest: numerical"),
    ],
)
def test_mistakes_in_transforms_are_named_with_their_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_transform(text, name="x")
    assert message in str(caught.value)


def test_transforms_must_be_those_of_features() -> None:
    STEPS.check(["pt", "ch_pt", "sv_num_tracks"], ["ch_id"], ["ch_phi"])
    with pytest.raises(ConfigError) as caught:
        STEPS.check(["pt", "ch_pt", "sv_num_tracks"], ["ch_idd"], [])
    lines = str(caught.value).splitlines()
    assert lines[0] == "transform.yaml: no list of values of the categorical feature 'ch_idd'"
    assert "unknown numerical feature: 'ch_phi' (nearest: ch_pt" in lines[1]
    assert "unknown categorical feature: 'ch_id' (nearest: ch_idd" in lines[2]
    with pytest.raises(
        ConfigError, match="'ch_id' is transformed as a categorical feature, but used as the other kind"
    ):
        STEPS.check(["pt", "ch_pt", "ch_id", "ch_phi", "sv_num_tracks"], [], [])
    with pytest.raises(UnknownName, match="unknown type of a transform"):
        Transforms({"x": (TransformStep("cosh"),)})
    with pytest.raises(ConfigError, match="the scale of 'linear' is 0"):
        Transforms({"x": (TransformStep("linear", 0.0, 0.0),)})


def test_preparation_is_that_of_each_jet_alone() -> None:
    jets = make_jets(30, seed=2)
    assert 0 in jets.counts["ch"]  # a jet without constituents works
    together = prepare(jets, FEATURES, STEPS)
    alone = stacked(prepare(jets.take(np.array([number])), FEATURES, STEPS) for number in range(30))
    for block in FEATURES:
        np.testing.assert_array_equal(together.numerical[block], alone.numerical[block])
        np.testing.assert_array_equal(together.categorical[block], alone.categorical[block])
    np.testing.assert_array_equal(together.target, alone.target)
    np.testing.assert_allclose(
        together.target, np.log(jets.columns["pt_gen"].astype("f8") / jets.columns["pt"]), atol=1e-6
    )
    none = prepare(jets.take(np.zeros(30, bool)), FEATURES, STEPS)
    assert len(none) == 0
    assert none.numerical["ch"].shape == (0, 5)


@given(index=st.lists(st.integers(0, 19), max_size=30))
@settings(max_examples=30)
def test_taking_and_packing_lose_nothing(index: list[int]) -> None:
    jets = make_jets(20, seed=5)
    chosen = np.array(index, dtype=np.int64)
    rows = prepare(jets, FEATURES, STEPS)
    direct = prepare(jets.take(chosen), FEATURES, STEPS)
    for found in (rows.take(chosen), JetRows.unpacked(rows.take(chosen).packed(), rows.layout)):
        for block in FEATURES:
            np.testing.assert_array_equal(found.numerical[block], direct.numerical[block])
            np.testing.assert_array_equal(found.categorical[block], direct.categorical[block])
            assert found.categorical[block].dtype == np.int64
        for block in found.counts:
            np.testing.assert_array_equal(found.counts[block], direct.counts[block])
        np.testing.assert_array_equal(found.target, direct.target)


def replaced(name: str, values: object) -> RawJets:
    jets = make_jets(5, seed=1)
    content = np.array(jets.columns[name], dtype="f4")
    content[: len(np.atleast_1d(values))] = values
    return RawJets({**jets.columns, name: content}, jets.counts)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("eta", np.nan, "eta is not finite in 1 of 5 values, first in jet 0: nan"),
        ("ch_pt", np.inf, r"ch_pt is not finite in 1 of \d+ values, first in jet \d: inf"),
        ("pt", 0.0, "pt is not finite and above 0 in 1 of 5 values, first in jet 0: 0.0"),
        ("pt_gen", -1.0, "pt_gen is not finite and above 0 for 1 of 5 jets"),
        ("sv_num_tracks", 0.0, "the logarithm of 1 of .* values that are not above 0, the first is 0; use 'arcsinh'"),
    ],
)
def test_values_that_cannot_be_used_are_named(name: str, value: float, message: str) -> None:
    with pytest.raises(InvalidValues, match=message):
        prepare(replaced(name, value), FEATURES, STEPS)


def test_jets_without_a_true_momentum_are_left_out_and_counted() -> None:
    jets, dropped = with_target(replaced("pt_gen", [0.0, -3.0, np.nan]))
    assert (len(jets), dropped) == (2, 3)
    assert np.isfinite(prepare(jets, FEATURES, STEPS).target).all()
    jets = make_jets(5)
    assert with_target(jets) == (jets, 0)
    columns = {name: values for name, values in jets.columns.items() if name != "pt_gen"}
    with pytest.raises(MissingColumns, match="no branch 'pt_gen'"):
        with_target(RawJets(columns, jets.counts))
    assert np.isnan(prepare(RawJets(columns, jets.counts), FEATURES, STEPS).target).all()


def test_all_missing_branches_are_listed() -> None:
    jets = make_jets(5)
    columns = {name: values for name, values in jets.columns.items() if name not in ("eta", "ch_phi", "sv_num_tracks")}
    counts = {"ch": jets.counts["ch"]}
    with pytest.raises(MissingColumns, match=r"4 branches are missing: eta.*, ch_phi.*, sv_num_tracks.*, sv_size"):
        prepare(RawJets(columns, counts), FEATURES, STEPS)


def test_lengths_must_fit() -> None:
    jets = make_jets(5)
    with pytest.raises(InvalidValues, match=r"ch_pt has 3 values, expected .* the sum of ch_size"):
        RawJets({**jets.columns, "ch_pt": np.zeros(3)}, jets.counts)
    with pytest.raises(InvalidValues, match="branches of jets have 4, 5 values"):
        RawJets({**jets.columns, "eta": np.zeros(4)}, jets.counts)
    with pytest.raises(InvalidValues, match="a negative number of constituents 'ch'"):
        RawJets({"ch_pt": np.zeros(0)}, {"ch": np.array([1, -1])})
    rows = prepare(jets, FEATURES, STEPS)
    with pytest.raises(InvalidValues, match="3 counts of 'ch', expected 5"):
        JetRows(
            rows.numerical,
            rows.categorical,
            {**rows.counts, "ch": np.array([0, 0, rows.counts["ch"].sum()])},
            rows.target,
        )
    with pytest.raises(InvalidValues, match="rows of numerical features of 'sv', expected"):
        JetRows({**rows.numerical, "sv": rows.numerical["sv"][1:]}, rows.categorical, rows.counts, rows.target)
    with pytest.raises(InvalidValues, match="features of 'svs' without its counts"):
        JetRows({**rows.numerical, "svs": rows.numerical["sv"]}, rows.categorical, rows.counts, rows.target)


def test_unseen_codes_get_the_last_row() -> None:
    jets = make_jets(20, seed=4)
    columns = {**jets.columns, "ch_id": np.full(len(jets.columns["ch_id"]), 13, "i4")}
    rows = prepare(RawJets(columns, jets.counts), FEATURES, STEPS)
    assert set(rows.categorical["ch"][:, 0].tolist()) == {len(CODES)}
