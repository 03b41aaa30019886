"""Attributions: sums that are complete, what gets nothing, the same constituents in another order, bad input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import jettagger as jt
from jettagger.errors import ConfigError, MismatchError, UnknownName
from jettagger.explain.baselines import Baseline, another_jet, median_constituent, no_constituents, other_constituents
from jettagger.explain.jets import JetInputs, arranged_as, canonical, jet_inputs, joined_inputs
from jettagger.explain.methods import (
    cumulative,
    gradient_input,
    integrated,
    occlude_constituents,
    occlude_kinds,
    occlude_variables,
    permutation_importance,
    saliency,
)
from jettagger.explain.methods.occlusion import reduced
from jettagger.explain.physical import physical
from jettagger.explain.scorer import InputGradients, Scorer, remarks_of
from jettagger.testing import make_events

KINDS = {"photons": "pfcand_isGamma > 0", "displaced": "abs(pfcand_dxysig) > 1", "vertices": "sv"}


@pytest.fixture(scope="module")
def tagger() -> jt.Tagger:
    return jt.load_tagger("tinyParT", threads=1)


@pytest.fixture(scope="module")
def parts(tagger: jt.Tagger) -> list[JetInputs]:
    events = make_events(8, seed=4, constituents=12)
    return list(jet_inputs(tagger, tagger.request(events), ["FatJet_pt"]))


@pytest.fixture(scope="module")
def jets(parts: list[JetInputs]) -> JetInputs:
    return joined_inputs(parts)


@pytest.fixture(scope="module")
def scorer(tagger: jt.Tagger) -> Scorer:
    return Scorer(tagger, "log HbbvsQCD")


def test_inputs_are_those_of_the_tagger(tagger: jt.Tagger, parts: list[JetInputs], jets: JetInputs) -> None:
    events = make_events(8, seed=4, constituents=12)
    scores = jt.discriminant("HbbvsQCD", form="log_ratio")(tagger.attach(events).FatJet)
    flat = np.array([value for event in scores.tolist() for value in event], dtype=object)
    values = Scorer(tagger, "log HbbvsQCD").values(jets)
    assert jets.jets.tolist() == [index for index, value in enumerate(flat) if value is not None]
    np.testing.assert_allclose(values, flat[jets.jets].astype(float), atol=1e-5)
    pt = np.array([value for event in events.FatJet.pt.tolist() for value in event])
    np.testing.assert_array_equal(jets.columns["FatJet_pt"], pt[jets.jets].astype(np.float32))
    assert sum(map(len, parts)) == len(jets)


def test_values_before_standardisation_are_those_of_the_slots(jets: JetInputs) -> None:
    from jettagger.inputs.batching import transform

    for name, group in jets.groups.items():
        filled = jets.filled(name)
        assert np.isnan(jets.raw[name].transpose(0, 2, 1)[~filled]).all()
        for place, variable in enumerate(group.variables):
            want = transform(jets.raw[name][:, place][filled], variable, "cmssw")[0]
            np.testing.assert_array_equal(jets.values[name][:, place][filled], want)


@pytest.mark.parametrize("layout", [("jets", "objects", "variables"), ("jets", "one", "variables", "objects")])
def test_axes_of_any_network_come_in_one_order(layout: tuple[str, ...], jets: JetInputs) -> None:
    group = replace(jets.groups["pf_features"], layout=layout)
    array = jets.values["pf_features"]
    np.testing.assert_array_equal(canonical(arranged_as(array, group), group), array)


def test_saliency_is_the_derivative(scorer: Scorer, jets: JetInputs) -> None:
    pytest.importorskip("torch")
    found = saliency(scorer, jets)
    assert found.remarks == ()
    np.testing.assert_allclose(found.outputs, scorer.values(jets), atol=1e-4)
    random = np.random.default_rng(1)
    for _ in range(4):
        jet = random.integers(len(jets))
        slot = random.integers(np.count_nonzero(jets.ranks["pf_features"][jet] >= 0))
        place = random.integers(25)
        moved = [{"pf_features": jets.values["pf_features"].copy()} for _ in range(2)]
        for sign, values in zip((1, -1), moved, strict=True):
            values["pf_features"][jet, place, slot] += sign * 0.02
        up, down = (scorer.values(jets, values)[jet] for values in moved)
        assert found.values["pf_features"][jet, place, slot] == pytest.approx((up - down) / 0.04, abs=2e-4)


def test_padding_and_masks_get_nothing(scorer: Scorer, jets: JetInputs) -> None:
    pytest.importorskip("torch")
    for found in (saliency(scorer, jets), gradient_input(scorer, jets), integrated(scorer, jets.take(np.arange(3)))):
        for name, array in found.values.items():
            empty = ~found.jets.filled(name)[:, np.newaxis] | np.zeros_like(array, dtype=bool)
            assert not array[empty].any()
            if found.jets.groups[name].is_mask:
                assert not array.any()


def test_duplicated_jets_change_nothing(scorer: Scorer, jets: JetInputs) -> None:
    pytest.importorskip("torch")
    once, twice = jets.take(np.arange(4)), jets.take(np.array([0, 1, 2, 3, 0, 2]))
    for method in (saliency, gradient_input, integrated):
        alone, together = method(scorer, once), method(scorer, twice)
        for name in alone.values:
            np.testing.assert_allclose(together.values[name][:4], alone.values[name], atol=1e-5)
            np.testing.assert_allclose(together.values[name][4:], alone.values[name][[0, 2]], atol=1e-5)
    np.testing.assert_allclose(
        occlude_constituents(scorer, twice).values[:4, : once.seen("pf").shape[1]],
        occlude_constituents(scorer, once).values,
        atol=1e-5,
    )


@pytest.mark.parametrize("kind", ["none", "median", "jet", "others"])
def test_integrated_gradients_add_up(kind: str, scorer: Scorer, jets: JetInputs) -> None:
    pytest.importorskip("torch")
    some = jets.take(np.arange(8))
    baseline = {
        "none": no_constituents(jets.bundle),
        "median": median_constituent(jets),
        "jet": another_jet(jets, 9),
        "others": other_constituents([jets]),
    }[kind]
    found = integrated(scorer, some, baseline)
    sums = sum(array.reshape(8, -1).sum(axis=1) for array in found.values.values())
    np.testing.assert_allclose(found.reference, scorer.values(some, baseline.of(some)))
    np.testing.assert_allclose(found.residual, sums - (found.outputs - found.reference))
    assert (np.abs(found.residual) <= 0.01 * np.abs(found.outputs - found.reference) + 2e-6).all()
    assert found.remarks == ()
    assert (found.steps >= 8).all()
    tight = integrated(scorer, some, baseline, tolerance=1e-3)
    assert (tight.steps >= found.steps).all()
    few = integrated(scorer, some, baseline, tolerance=1e-6, max_steps=8)
    assert "do not add up within 1e-06" in few.remarks[0]


def test_other_constituents_are_those_of_the_sample(parts: list[JetInputs], jets: JetInputs) -> None:
    """Rows stay together, over the inputs of the same objects too; draws depend on the jets alone."""
    baseline = other_constituents(parts, seed=3)
    found = baseline.of(jets)
    names = [name for name in jets.families["pf"] if not jets.groups[name].is_mask]
    rows = {}
    for what, arrays in (("sample", jets.values), ("drawn", found)):
        jet, slot = np.nonzero(jets.filled(names[0]))
        rows[what] = np.concatenate([arrays[name][jet, :, slot] for name in names], axis=1)
    sample = {row.tobytes() for row in rows["sample"]}
    assert all(row.tobytes() in sample for row in rows["drawn"])
    assert len({row.tobytes() for row in rows["drawn"]}) > len(sample) / 2
    assert not np.array_equal(rows["sample"], rows["drawn"])
    for name in names:
        empty = ~jets.filled(name)
        np.testing.assert_array_equal(
            np.moveaxis(found[name], 1, 2)[empty], np.moveaxis(jets.values[name], 1, 2)[empty]
        )
    np.testing.assert_array_equal(baseline.of(jets)["pf_features"], found["pf_features"])
    assert not np.array_equal(other_constituents(parts, seed=4).of(jets)["pf_features"], found["pf_features"])
    with pytest.raises(MismatchError, match="at least one jet"):
        other_constituents([jets.take(np.arange(0))])


def test_variables_of_other_constituents_have_the_same_distribution(scorer: Scorer, jets: JetInputs) -> None:
    """What the network does not use has no effect, and all variables together are other constituents altogether."""
    baseline = other_constituents([jets], seed=1)
    everything = {"all": jets.variables}
    effect = occlude_variables(scorer, jets, everything, baseline)
    np.testing.assert_allclose(effect.values[:, 0], effect.outputs - scorer.values(jets, baseline.of(jets)), atol=1e-6)


def test_a_jet_that_is_its_own_baseline_gets_nothing(scorer: Scorer, jets: JetInputs) -> None:
    pytest.importorskip("torch")
    found = integrated(scorer, jets.take(np.array([3])), another_jet(jets, 3))
    assert not any(array.any() for array in found.values.values())
    assert found.residual.tolist() == [0.0]


def test_derivatives_by_physical_quantities(scorer: Scorer, jets: JetInputs) -> None:
    ones = {name: np.ones_like(array, dtype=np.float64) for name, array in jets.values.items()}
    found = physical(ones, jets)
    for name, group in jets.groups.items():
        filled = jets.filled(name)
        for place, variable in enumerate(group.variables):
            raw = jets.raw[name][:, place][filled]
            z = (raw - np.float32(variable.median)) * np.float32(variable.norm_factor)
            outside = (z < variable.lower_bound) | (z > variable.upper_bound) | ~np.isfinite(raw)
            np.testing.assert_array_equal(found.clipped[name][:, place][filled], outside)
            want = np.where(outside, 0, np.float32(variable.norm_factor))
            np.testing.assert_allclose(found.values[name][:, place][filled], want, rtol=1e-7)
        assert not found.values[name].transpose(0, 2, 1)[~filled].any()
        assert found.units[name] == tuple(variable.feature.unit for variable in group.variables)
    assert any(mask.any() for mask in found.clipped.values())


def without(jets: JetInputs, jet: int, rank: int) -> dict[str, np.ndarray]:
    """The inputs of one jet, of which one candidate was deleted, one slot after the other."""
    changed = {}
    for name in jets.families["pf"]:
        columns = [jets.values[name][jet, :, slot] for slot in range(jets.values[name].shape[2])]
        kept = [c for slot, c in enumerate(columns) if jets.ranks[name][jet, slot] != rank]
        pads = np.array([variable.pad for variable in jets.groups[name].variables], dtype=np.float32)
        kept += [pads] * (len(columns) - len(kept))
        changed[name] = np.stack(kept, axis=1)[np.newaxis]
    return changed


def test_constituents_are_left_out_one_by_one(scorer: Scorer, jets: JetInputs) -> None:
    some = jets.take(np.arange(3))
    found = occlude_constituents(scorer, some)
    assert found.values.shape == some.seen("pf").shape
    for jet in range(3):
        one = some.take(np.array([jet]))
        for rank in np.flatnonzero(some.seen("pf")[jet])[:5]:
            want = found.outputs[jet] - scorer.values(one, without(some, jet, int(rank)))[0]
            assert found.values[jet, rank] == pytest.approx(want, abs=1e-5)
        count = some.listed["pf_features"][jet]
        assert np.isnan(found.values[jet, count:]).all()
        assert np.isfinite(found.values[jet, :count]).all()
    vertices = occlude_constituents(scorer, jets, "sv")
    assert vertices.values.shape == jets.seen("sv").shape
    assert (vertices.values[jets.seen("sv")] != 0).any()


def test_kinds_of_constituents(scorer: Scorer, jets: JetInputs) -> None:
    found = occlude_kinds(scorer, jets, KINDS)
    assert found.values.shape == (len(jets), 3)
    photon = (
        jets.raw["pf_features"][
            :, [v.feature.name for v in jets.groups["pf_features"].variables].index("pfcand_isGamma")
        ]
        > 0
    )
    kept = dict.fromkeys(jets.families["pf"], ~photon)
    ((rows, values),) = reduced(jets, kept)
    want = found.outputs - scorer.values(jets.take(rows), values)
    np.testing.assert_allclose(found.values[:, 0], np.where(photon.any(axis=1), want, 0), atol=1e-6)
    assert not found.values[~jets.seen("sv").any(axis=1), 2].any()


def test_replaced_variables(scorer: Scorer, jets: JetInputs) -> None:
    groups = {"all": jets.variables, "dz": ["pfcand_dz"], "nothing": []}
    found = occlude_variables(scorer, jets, groups)
    np.testing.assert_allclose(
        found.values[:, 0], found.outputs - scorer.values(jets, no_constituents(jets.bundle).of(jets)), atol=1e-6
    )
    assert not found.values[:, 2].any()
    constant = {"pf_features": jets.values["pf_features"].copy()}
    constant["pf_features"][:, 15] = 0  # the baseline's own value
    flat = replace(jets, values={**jets.values, **constant})
    assert not occlude_variables(scorer, flat, {"dz": ["pfcand_dz"]}).values.any()


def test_the_most_important_constituents_first(scorer: Scorer, jets: JetInputs) -> None:
    effects = occlude_constituents(scorer, jets)
    found = cumulative(scorer, jets, np.abs(effects.values), most=6)
    assert found.kept.shape == found.removed.shape == (len(jets), 7)
    np.testing.assert_array_equal(found.removed[:, 0], found.outputs)
    first = np.nanargmax(np.where(jets.seen("pf"), np.abs(effects.values), np.nan), axis=1)
    want = found.outputs - effects.values[np.arange(len(jets)), first]
    np.testing.assert_allclose(found.removed[:, 1], want, atol=1e-5)
    everything = cumulative(scorer, jets, np.abs(effects.values), most=effects.values.shape[1])
    np.testing.assert_allclose(everything.kept[:, -1], everything.outputs, atol=1e-5)
    enough = everything.sufficient(0.1)
    assert (enough >= 0).all()
    for jet, number in enumerate(enough):
        span = abs(everything.outputs[jet] - everything.kept[jet, 0])
        assert abs(everything.kept[jet, number] - everything.outputs[jet]) <= 0.1 * span + 1e-9
    with pytest.raises(MismatchError, match="the ranking has the shape"):
        cumulative(scorer, jets, effects.values[:, :-1])


def test_permutation_finds_the_variable_that_matters(tagger: jt.Tagger, parts: list[JetInputs]) -> None:
    class OneVariable(Scorer):
        """Decides by the mean charge alone."""

        def values(self, jets: JetInputs, values: dict[str, np.ndarray] | None = None) -> np.ndarray:
            column = {**jets.values, **(values or {})}["pf_features"][:, 5]
            return np.asarray((column * (jets.ranks["pf_features"] >= 0)).sum(axis=1), dtype=np.float64)

    scorer = OneVariable(tagger, "probHbb")
    numbers = np.concatenate([scorer.values(part) for part in parts])
    signal = numbers > np.median(numbers)
    groups = {"charge": ["pfcand_charge"], "dz": ["pfcand_dz"], "mass of vertices": ["sv_mass"]}
    rejection, found = permutation_importance(scorer, parts, signal, groups, replicas=20)
    assert rejection.value == pytest.approx(2 * np.count_nonzero(~signal) + 2)
    charge, dz, vertices = found
    assert charge.loss.value > 2 * charge.loss.uncertainty > 0
    assert dz.loss.value == dz.loss.uncertainty == vertices.loss.value == 0
    assert charge.rejection.value < rejection.value
    again = permutation_importance(scorer, parts, signal, groups, replicas=20)
    assert again == (rejection, found)


def test_permutation_keeps_rows_of_a_group_together(tagger: jt.Tagger, parts: list[JetInputs]) -> None:
    seen = []

    class Recorder(Scorer):
        def values(self, jets: JetInputs, values: dict[str, np.ndarray] | None = None) -> np.ndarray:
            if values:
                seen.append((jets, values))
            return np.arange(len(jets), dtype=np.float64)

    signal = np.arange(sum(map(len, parts))) % 2 == 0
    names = ["pfcand_pt_log_nopuppi", "pfcand_px"]
    permutation_importance(Recorder(tagger, "probHbb"), parts, signal, {"both": names}, permutations=1, replicas=2)

    def rows(of: str) -> list[tuple[float, float]]:
        pairs = []
        for jets, values in seen:
            source = values if of == "new" else jets.values
            jet, slot = np.nonzero(jets.filled("pf_features"))
            pairs += zip(source["pf_features"][jet, 0, slot], source["pf_vectors"][jet, 0, slot], strict=True)
        return pairs

    assert rows("new") != rows("old")
    assert sorted(rows("new")) == sorted(rows("old"))


def test_bad_input_is_refused(tagger: jt.Tagger, scorer: Scorer, parts: list[JetInputs], jets: JetInputs) -> None:
    with pytest.raises(MismatchError, match=r"has the shape \[3, 1\] for 'pf_features', expected \[25, slots\]"):
        Baseline("mine", {**no_constituents(jets.bundle).values, "pf_features": np.zeros((3, 1))}).of(jets)
    with pytest.raises(MismatchError, match="lacks the input 'sv_vectors'"):
        Baseline("mine", {k: v for k, v in no_constituents(jets.bundle).values.items() if k != "sv_vectors"}).of(jets)
    with pytest.raises(UnknownName, match="pf_features"):
        Baseline("mine", {"pf_feature": np.zeros((25, 1))}).of(jets)
    with pytest.raises(ConfigError, match="index"):
        another_jet(jets, len(jets))
    with pytest.raises(MismatchError, match="at least one jet"):
        median_constituent(jets.take(np.arange(0)))
    with pytest.raises(UnknownName, match="nearest: pfcand_dz"):
        occlude_variables(scorer, jets, {"x": ["pfcand_dzz"]})
    with pytest.raises(UnknownName, match="pfcand_isGamma"):
        occlude_kinds(scorer, jets, {"x": "pfcand_isGama > 0"})
    with pytest.raises(MismatchError, match="2 kinds of objects"):
        occlude_kinds(scorer, jets, {"x": "pfcand_isGamma > sv_mass"})
    with pytest.raises(UnknownName, match="kind of objects"):
        occlude_constituents(scorer, jets, "pfs")
    with pytest.raises(MismatchError, match="both signal and background"):
        permutation_importance(scorer, parts, np.ones(len(jets), dtype=bool), {"x": ["pfcand_dz"]})
    with pytest.raises(UnknownName, match="pfcand_dz"):
        permutation_importance(scorer, parts, np.arange(len(jets)) % 2 == 0, {"x": ["pfcand_dzz"]})
    with pytest.raises(ConfigError, match="tolerance"):
        integrated(scorer, jets, tolerance=0)


def test_what_is_constant_is_said(tagger: jt.Tagger, jets: JetInputs) -> None:
    pytest.importorskip("torch")
    found = saliency(Scorer(tagger, "probHbb / probHbb"), jets)
    assert found.remarks == (
        f"probHbb / probHbb is constant: 1 for all {len(jets)} jets",
        f"probHbb / probHbb has no gradient: its derivatives are 0 for all {len(jets)} jets",
    )


def test_derivatives_that_are_not_finite_are_said_with_their_jets(scorer: Scorer) -> None:
    slopes = {"x": np.ones((7, 1, 1))}
    found = InputGradients(slopes, np.arange(7.0), "torch", "", np.array([0, 2, 0, 1, 0, 0, 3]))
    assert remarks_of(scorer.target, found) == (
        "6 derivatives of 3 jets are not finite and count as 0 (first jets: 1, 3, 6)",
    )


def test_sessions_that_round_are_refused() -> None:
    tagger = jt.load_tagger("tinyParT", threads=1)
    object.__setattr__(tagger.options, "precision", "float16")
    with pytest.raises(MismatchError, match="runs in float16"):
        Scorer(tagger, "probHbb")


def test_the_order_of_constituents_moves_their_attributions(scorer: Scorer, jets: JetInputs) -> None:
    pytest.importorskip("torch")
    one = jets.take(np.array([5]))
    count = int(np.count_nonzero(one.ranks["pf_features"][0] >= 0))
    order = np.arange(one.ranks["pf_features"].shape[1])
    order[:count] = np.random.default_rng(2).permutation(count)
    names = jets.families["pf"]
    moved = replace(
        one,
        values={**one.values, **{name: one.values[name][:, :, order] for name in names}},
        ranks={**one.ranks, **{name: one.ranks[name][:, order] for name in names}},
        raw={**one.raw, **{name: one.raw[name][:, :, order] for name in names}},
    )
    for method in (saliency, gradient_input, integrated):
        first, second = method(scorer, one), method(scorer, moved)
        for name in names:
            np.testing.assert_allclose(second.values[name], first.values[name][:, :, order], atol=1e-4)
            sums = [found.jets.per_object("pf", {name: found.values[name].sum(axis=1)}) for found in (first, second)]
            np.testing.assert_allclose(sums[1], sums[0], atol=1e-3)
    np.testing.assert_allclose(
        occlude_constituents(scorer, moved).values, occlude_constituents(scorer, one).values, atol=1e-5
    )


def test_a_variable_that_is_constant_gets_nothing(scorer: Scorer, jets: JetInputs) -> None:
    pytest.importorskip("torch")
    values = jets.values["pf_features"].copy()
    values[:, 15] = 0  # that of the baseline
    flat = replace(jets, values={**jets.values, "pf_features": values}).take(np.arange(4))
    for method in (gradient_input, integrated):
        assert not method(scorer, flat).values["pf_features"][:, 15].any()
    constant = replace(
        jets,
        values={
            **jets.values,
            "pf_features": np.where(
                (np.arange(25) == 15)[:, np.newaxis] & jets.filled("pf_features")[:, np.newaxis],
                np.float32(0.7),
                jets.values["pf_features"],
            ),
        },
    )
    median = median_constituent(constant)
    found = integrated(scorer, constant.take(np.arange(4)), median)
    assert not found.values["pf_features"][:, 15].any()


@pytest.mark.slow
def test_the_embedded_tagger_is_complete_for_99_of_100_jets() -> None:
    pytest.importorskip("torch")
    tagger = jt.load_tagger("inclParTToyV1", threads=1)
    events = make_events(12, seed=11, constituents=20)
    scorer = Scorer(tagger, "log HbbvsQCD")
    parts = list(jet_inputs(tagger, tagger.request(events)))
    baseline = median_constituent(joined_inputs(parts))
    shares = []
    for part in parts:
        found = integrated(scorer, part, baseline)
        shares.append(np.abs(found.residual) / np.maximum(np.abs(found.outputs - found.reference), 1e-4))
    assert np.mean(np.concatenate(shares) <= 0.01) >= 0.99
