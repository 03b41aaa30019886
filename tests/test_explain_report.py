"""Groups of explained jets in numbers: rankings, uncertainties, maps, differences, and their text."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import jettagger as jt
from jettagger.discriminants import Measured
from jettagger.errors import ConfigError, UnknownName
from jettagger.explain.batches import ExplainSettings
from jettagger.explain.collecting import FEATURES, GROUPS, SLOTS, JetNumbers, collect, joined_numbers
from jettagger.explain.feature_groups import feature_groups, particle_kinds
from jettagger.explain.jets import jet_inputs
from jettagger.explain.keeping import KeptNumbers
from jettagger.explain.report import Explanation, difference_of, explained_groups
from jettagger.explain.sampling import By, by_of
from jettagger.explain.scorer import Attributions
from jettagger.explain.tables import markdown, number_text
from jettagger.files.resuming import ResumeWarning
from jettagger.testing import make_events

NAMES = ("a", "b")


def numbers(n_jets: int = 400, seed: int = 1) -> JetNumbers:
    """Two variables, of which the first contributes three times as much; every tenth jet has no second constituent."""
    rng = np.random.default_rng(seed)
    signed = rng.normal([1.0, 0.0], [0.1, 0.3], (n_jets, 2))
    absolute = np.abs(rng.normal([3.0, 1.0], 0.1, (n_jets, 2)))
    maps = np.ones((n_jets, 2, 3), dtype=np.float32)
    maps[::10, :, 1] = np.nan
    maps[:, :, 2] = np.nan
    return JetNumbers(
        np.arange(n_jets), rng.normal(5, 1, n_jets), {FEATURES: NAMES}, {FEATURES: signed}, {FEATURES: absolute},
        {"pf": maps}, {"residual": np.zeros(n_jets)}, {"FatJet_pt": np.full(n_jets, 300.0)},
    )  # fmt: skip


def test_rankings_have_the_uncertainty_of_a_mean() -> None:
    found = numbers()
    (group,) = explained_groups(found, ["all"] * 400, replicas=400)
    first, second = group.rankings[FEATURES]
    assert (first.name, second.name, group.jets) == ("a", "b", 400)
    assert first.importance.value == pytest.approx(found.absolute[FEATURES][:, 0].mean())
    sigma = found.signed[FEATURES][:, 1].std() / 20
    assert second.signed.uncertainty == pytest.approx(sigma, rel=0.15)
    assert first.share.value == pytest.approx(0.75, abs=0.01)
    assert group.output.uncertainty == pytest.approx(found.outputs.std() / 20, rel=0.15)
    # slots that some jets lack count as 0, those that all lack are not there
    assert group.maps["pf"][0].tolist() == pytest.approx([1.0, 0.9, np.nan], nan_ok=True)


def test_doubled_jets_change_no_value() -> None:
    found = numbers(60)
    twice = joined_numbers([found, found])
    (one,), (two,) = (explained_groups(item, ["all"] * len(item)) for item in (found, twice))
    for ranking in (FEATURES,):
        assert [row.importance.value for row in one.rankings[ranking]] == pytest.approx(
            [row.importance.value for row in two.rankings[ranking]]
        )
    assert np.allclose(one.maps["pf"], two.maps["pf"], equal_nan=True)


def test_groups_of_jets_and_differences_of_samples() -> None:
    found = numbers()
    names = ["low"] * 100 + [""] * 50 + ["high"] * 250
    groups = explained_groups(found, names, "one")
    assert [(group.name, group.jets) for group in groups] == [("high", 250), ("low", 100)]
    (other,) = explained_groups(numbers(seed=2), ["high"] * 400, "two")
    change = difference_of(groups[0], other)
    value = change.rankings[FEATURES]["a"]
    sigmas = [group.rankings[FEATURES][0].importance.uncertainty for group in (groups[0], other)]
    assert value.uncertainty == pytest.approx(np.hypot(*sigmas))
    assert abs(value.value) < 5 * value.uncertainty
    report = Explanation("M", "HbbvsQCD", "1", "saliency", {"pf": NAMES}, "", (*groups, other), (change,))
    text = markdown(report)
    assert "## one: high, 250 jets" in text
    assert "## high: one minus two" in text
    content = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert content["groups"][0]["maps"]["pf"][0][2] is None
    assert content["differences"][0]["samples"] == ["one", "two"]


def test_numbers_as_text() -> None:
    assert number_text(Measured(1234.5, 67.8)) == "1234 ± 68"
    assert number_text(Measured(float("nan"), 0.1)) == "-"
    assert number_text(Measured(1e-9, 2e-10)) == "1e-09 ± 2e-10"


def test_each_variable_is_in_one_group() -> None:
    for name in ("inclParTToyV1", "Sophon", "deepjet-v03", "particlenet-ak8"):
        bundle = jt.load_bundle(name)
        members = [variable for variables in feature_groups(bundle).values() for variable in variables]
        own = {
            variable.feature.name
            for group in bundle.groups
            if not group.is_mask and group.image is None
            for variable in group.variables
        }
        assert sorted(members) == sorted(own)
    assert "pfcand_pt_log_nopuppi" in feature_groups(jt.load_bundle("inclParTToyV1"))["kinematics"]
    assert particle_kinds(jt.load_bundle("deepjet-v03"))["displaced tracks"].startswith("abs(Cpfcan_")


def test_attributions_are_summed_and_cut_to_leading_slots() -> None:
    tagger = jt.load_tagger("tinyParT", threads=1)
    events = make_events(3, seed=1)
    jets = next(jet_inputs(tagger, tagger.request(events)))
    ones = {
        name: np.ones(array.shape) * jets.filled(name)[:, np.newaxis]
        for name, array in jets.values.items()
        if not jets.groups[name].is_mask
    }
    found = collect(Attributions(jets, ones, np.zeros(len(jets)), "saliency"))
    counts = jets.filled("pf_features").sum(axis=1)
    place = found.names[FEATURES].index("pfcand_charge")
    assert found.signed[FEATURES][:, place].tolist() == counts.tolist()
    assert found.signed[GROUPS].sum() == pytest.approx(found.signed[FEATURES].sum())
    assert found.maps["pf_features"].shape[2] == SLOTS
    assert np.isfinite(found.maps["pf_features"][0, 0]).sum() == min(counts[0], SLOTS)
    # in the order of a variable
    own = [variable.feature.name for variable in jets.groups["pf_features"].variables]
    row = own.index("pfcand_dxysig")
    values = {
        **ones,
        "pf_features": np.where(jets.filled("pf_features")[:, None], np.nan_to_num(jets.raw["pf_features"]), 0),
    }
    ordered = collect(Attributions(jets, values, np.zeros(len(jets)), "saliency"), "pfcand_dxysig")
    shown = ordered.maps["pf_features"][0, row]
    shown = shown[np.isfinite(shown)]
    assert (np.diff(shown) <= 0).all()
    with pytest.raises(UnknownName, match="pfcand_dxysig"):
        collect(Attributions(jets, ones, np.zeros(len(jets)), "saliency"), "pfcand_dxysgi")


def test_finished_chunks_are_kept_for_the_same_question(tmp_path: Path) -> None:
    output = tmp_path / "out"
    found = numbers(5)
    kept = KeptNumbers(output, {"model": "M"})
    assert kept.get(0, 0) is None
    kept.put(0, 3, found)
    kept.close()
    with pytest.warns(ResumeWarning, match="1 chunks were finished"):
        again = KeptNumbers(output, {"model": "M"})
    back = again.get(0, 3)
    assert back is not None
    assert back.names == found.names
    assert np.array_equal(back.maps["pf"], found.maps["pf"], equal_nan=True)
    assert np.array_equal(back.columns["FatJet_pt"], found.columns["FatJet_pt"])
    next(again.folder.glob("*/0-000003.npz")).write_bytes(b"damaged")
    assert again.get(0, 3) is None
    again.close()
    with pytest.warns(ResumeWarning, match="dropped"):
        other = KeptNumbers(output, {"model": "N"})
    other.close()
    assert not other.folder.exists()


def test_groupings_and_settings_that_do_not_exist_are_refused() -> None:
    assert by_of("pt=200,inf") == By("pt", (200.0, np.inf))
    for text in ("pt=", "pt=300,200", "pt=a,b", "pt > 3", ""):
        with pytest.raises(ConfigError, match="--by"):
            by_of(text)
    with pytest.raises(UnknownName, match="nearest: occlusion"):
        ExplainSettings(method="oclusion")
    with pytest.raises(UnknownName, match="baseline"):
        ExplainSettings(baseline="mean")
    with pytest.raises(ConfigError, match="--signal and --background"):
        ExplainSettings(method="permutation")
    with pytest.raises(ConfigError, match="the method is saliency"):
        ExplainSettings(signal="pt > 3")
    with pytest.raises(ConfigError, match="--efficiency"):
        ExplainSettings(method="permutation", signal="pt > 3", background="pt < 3", efficiency=2)
