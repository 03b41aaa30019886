"""Response and resolution of jets: SciPy, closed forms, toys with known answers, and the regressions of CMS."""

from __future__ import annotations

import json
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
from real_files import opened
from scipy import stats
from shown import check_shown

from jettagger.errors import ConfigError, InvalidValues, MismatchError, MissingColumns, UnknownName
from jettagger.jec import EstimateColumns, estimates_of_events, flavour_of, jet_estimates, measure_estimates
from jettagger.jec.estimates import default_estimates, joined, of_flavour

ONE = {"pt_edges": [50, 200], "eta_edges": [0, 2.5]}


def toy(number: int = 2000, seed: int = 1, **keywords):
    """Estimates of 100 GeV jets: one of width 20 %, one that shares half of its fluctuations, of width 10 %."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=number)
    pt = np.full(number, 100.0)
    estimates = {
        "Standard": pt * (1.02 + 0.2 * common),
        "mine": pt * (0.99 + 0.1 * (0.7 * common + np.sqrt(0.51) * rng.normal(size=number))),
    }
    return jet_estimates(pt, rng.uniform(-2.5, 2.5, number), rng.choice([1, 4, 5, 21], number), estimates, **keywords)


def test_uncertainties_of_ratios_are_those_of_scipy_paired_bootstrap():
    jets = toy(800)
    found = measure_estimates(jets, **ONE, flavours=["all"], replicas=400)

    def resolution(sample):
        low, median, high = np.percentile(sample, [25, 50, 75], axis=-1)
        return (high - low) / median

    def ratio(mine, standard, axis):
        return resolution(mine) / resolution(standard)

    responses = (jets.estimates["mine"] / 100, jets.estimates["Standard"] / 100)
    expected = stats.bootstrap(responses, ratio, paired=True, n_resamples=1000, method="percentile", rng=3)
    made = found.ratio["mine"][0, 0, 0]
    assert made.value == pytest.approx(ratio(*responses, -1), rel=0.005)
    assert made.uncertainty == pytest.approx(expected.standard_error, rel=0.15)
    # replicas of their own would be less precise
    alone = [found.resolution[label][0, 0, 0] for label in ("mine", "Standard")]
    apart = made.value * np.hypot(*(item.uncertainty / item.value for item in alone))
    assert made.uncertainty < 0.92 * apart


def test_medians_and_resolutions_are_those_of_the_normal_distribution():
    found = measure_estimates(toy(20_000), **ONE, replicas=50)
    span = 2 * stats.norm.ppf(0.75)
    for label, centre, width in (("Standard", 1.02, 0.2), ("mine", 0.99, 0.1)):
        median, resolution = found.median[label][0, 0, 0], found.resolution[label][0, 0, 0]
        assert median.value == pytest.approx(centre, abs=4 * median.uncertainty)
        assert resolution.value == pytest.approx(span * width / centre, abs=4 * resolution.uncertainty)
        assert median.uncertainty == pytest.approx(width * np.sqrt(np.pi / 2 / 20_000), rel=0.35)
    assert "Standard" not in found.ratio
    assert found.reference == "Standard"


def test_flavours_are_compared_with_light_quarks():
    rng = np.random.default_rng(4)
    flavour = rng.choice([0, 1, 2, 3, 4, 5, 21], 30_000)
    shift = np.select([flavour == 5, flavour == 21], [0.03, -0.04], 0.0)
    pt = np.full(30_000, 60.0)
    jets = jet_estimates(pt, np.zeros(30_000), flavour, {"one": pt * (1 + shift + rng.normal(0, 0.1, 30_000))})
    check_shown(jets)
    found = measure_estimates(jets, eta_edges=[0, 2.5], replicas=60)
    differences = {name: found.difference["one"][number, 0] for number, name in enumerate(found.flavours)}
    for name, expected in (("b", 0.03), ("g", -0.04), ("c", 0.0)):
        assert differences[name].value == pytest.approx(expected, abs=4 * differences[name].uncertainty)
        assert 0 < differences[name].uncertainty < 0.005
    rows = found.content()["flavours"]
    assert {row["flavour"] for row in rows if "minus_uds" in row} == {"all", "b", "c", "g"}
    assert found.reference == ""
    assert not found.ratio


def test_jets_of_an_event_vary_together():
    jets = toy(600)
    doubled = jet_estimates(
        np.tile(jets.pt_gen, 2),
        np.tile(jets.eta_gen, 2),
        np.tile(jets.flavour, 2),
        {label: np.tile(pt, 2) for label, pt in jets.estimates.items()},
        event=np.tile(np.arange(600), 2),
    )
    alone, together = (measure_estimates(item, **ONE, flavours=["all"]) for item in (jets, doubled))
    for label in jets.estimates:
        first, second = alone.median[label][0, 0, 0], together.median[label][0, 0, 0]
        assert second.uncertainty == pytest.approx(first.uncertainty, rel=0.05)
        assert second.value == pytest.approx(first.value, rel=0.01)


def test_weights_are_numbers_of_jets():
    jets = toy(400)
    weight = np.where(jets.flavour == 5, 3.0, 1.0)
    weighted = jet_estimates(jets.pt_gen, jets.eta_gen, jets.flavour, jets.estimates, weight=weight)
    copies = np.repeat(np.arange(400), weight.astype(int))
    repeated = jet_estimates(
        *(getattr(jets, name)[copies] for name in ("pt_gen", "eta_gen", "flavour")),
        {label: pt[copies] for label, pt in jets.estimates.items()},
    )
    first, second = (measure_estimates(item, **ONE, flavours=["all"], replicas=2) for item in (weighted, repeated))
    for label in jets.estimates:
        assert first.median[label][0, 0, 0].value == pytest.approx(second.median[label][0, 0, 0].value, abs=0.003)
        assert first.resolution[label][0, 0, 0].value == pytest.approx(
            second.resolution[label][0, 0, 0].value, rel=0.02
        )


def test_the_ratio_is_that_of_jets_with_both_estimates():
    """Jets without the estimate are wide ones: the standard of all jets is not what it is compared with."""
    jets = toy(4000)
    wide = np.arange(4000) % 2 == 0
    standard = np.where(wide, 100 + 5 * (jets.estimates["Standard"] - 100), jets.estimates["Standard"])
    mine = np.where(wide, -1.0, jets.estimates["mine"])
    mixed = jet_estimates(jets.pt_gen, jets.eta_gen, jets.flavour, {"Standard": standard, "mine": mine})
    found = measure_estimates(mixed, **ONE, flavours=["all"], replicas=20)
    narrow = measure_estimates(
        jet_estimates(
            *(getattr(jets, name)[~wide] for name in ("pt_gen", "eta_gen", "flavour")),
            {label: pt[~wide] for label, pt in jets.estimates.items()},
        ),
        **ONE,
        flavours=["all"],
        replicas=20,
    )
    assert found.ratio["mine"][0, 0, 0].value == pytest.approx(narrow.ratio["mine"][0, 0, 0].value, rel=1e-12)
    assert found.resolution["Standard"][0, 0, 0].value > 1.5 * narrow.resolution["Standard"][0, 0, 0].value
    assert found.jets["mine"][0, 0, 0] == 2000
    assert found.jets["Standard"][0, 0, 0] == 4000 - int((standard <= 0).sum())


def test_intervals_of_a_known_width_cover_what_they_should():
    rng = np.random.default_rng(8)
    pt_gen = rng.uniform(50, 200, 20_000)
    pt = pt_gen * np.exp(rng.normal(0, 0.1, 20_000))
    ends = (pt * np.exp(-0.1), pt * np.exp(0.1))
    jets = jet_estimates(pt_gen, np.zeros(20_000), np.zeros(20_000), {"mine": pt}, intervals={"mine": ends})
    found = measure_estimates(jets, pt_edges=[50, 100, 200], eta_edges=[0, 2.5], flavours=["all"], replicas=50)
    for number in range(2):
        covered = found.coverage["mine"]["pt_gen"][0, number]
        assert covered.value == pytest.approx(stats.norm.cdf(1) - stats.norm.cdf(-1), abs=4 * covered.uncertainty)
        jets_in_bin = np.sum((pt_gen >= (50, 100)[number]) & (pt_gen < (100, 200)[number]))
        assert covered.uncertainty == pytest.approx(np.sqrt(0.6827 * 0.3173 / jets_in_bin), rel=0.35)


def test_bins_with_few_jets_have_no_numbers_and_the_table_says_so():
    jets = toy(40)
    few = jet_estimates(
        np.append(jets.pt_gen, [300.0] * 9),
        np.append(jets.eta_gen, [0.0] * 9),
        np.append(jets.flavour, [5] * 9),
        {label: np.append(pt, [310.0] * 9) for label, pt in jets.estimates.items()},
        left_out={"no generator jet": 3},
    )
    found = measure_estimates(few, pt_edges=[50, 200, 400, 1000], eta_edges=[0, 2.5], flavours=["all"])
    content = json.loads(json.dumps(found.content(), allow_nan=False))
    by_bin = {tuple(row["pt"]): row for row in content["summary"] if row["estimate"] == "mine"}
    assert by_bin[200, 400]["jets"] == 9
    assert by_bin[200, 400]["median"] == {"value": None, "uncertainty": None}
    assert by_bin[50, 200]["ratio"]["uncertainty"] > 0
    assert (400, 1000) not in by_bin
    assert content["left_out"] == {"no generator jet": 3}


def test_distributions_hold_the_responses_of_each_estimate():
    jets = toy(1000)
    found = measure_estimates(jets, **ONE, distribution_pt=[(100, 110)], replicas=2)
    assert {item.flavour for item in found.distributions} == {"uds", "b", "g"}
    for item in found.distributions:
        mask = of_flavour(jets.flavour, item.flavour)
        assert item.jets == mask.sum()
        response = jets.estimates["mine"][mask] / 100
        assert item.contents["mine"].sum() == np.sum((response >= 0.5) & (response <= 1.5))


def test_truth_that_is_no_pt_is_left_out_and_counted():
    estimates = {"one": [50.0, 50.0, np.nan, -1.0]}
    jets = jet_estimates([40.0, np.nan, 40.0, 40.0], [0.0] * 4, [0] * 4, estimates)
    assert dict(jets.left_out) == {"pt_gen is not above 0": 1}
    assert np.isnan(jets.estimates["one"]).tolist() == [False, True, True]


def test_inputs_are_joined_and_their_events_stay_apart():
    one = jet_estimates([40.0, 50.0], [0, 0], [0, 0], {"a": [1.0, 2.0]}, event=[7, 7], left_out={"x": 1})
    two = jet_estimates([60.0], [0], [0], {"a": [3.0]}, event=[7], left_out={"x": 2})
    both = joined([one, two])
    assert both.event.tolist() == [0, 0, 1]
    assert both.left_out == {"x": 3}
    with pytest.raises(MismatchError, match="different estimates"):
        joined([one, jet_estimates([60.0], [0], [0], {"b": [3.0]})])
    with pytest.raises(InvalidValues, match="no jets"):
        joined([])


# ---------------------------------------------------------------------------------------- events


def events() -> ak.Array:
    jet = {"pt": 44.0, "rawFactor": 0.1, "genJetIdx": 1, "hadronFlavour": 5, "partonFlavour": 21, "my_ptRawCorr": 1.2}
    return ak.Array(
        [
            {"w": 2.0, "Jet": [jet, {**jet, "genJetIdx": -1}], "GenJet": [{"pt": 30, "eta": 1}, {"pt": 40, "eta": -1}]},
            {"w": 3.0, "Jet": [{**jet, "genJetIdx": 5}], "GenJet": [{"pt": 30, "eta": 1}]},
            {"w": 3.0, "Jet": [{**jet, "genJetIdx": 0, "hadronFlavour": 0}], "GenJet": [{"pt": 35, "eta": 2}]},
        ]
    )


def test_jets_of_events_are_matched_by_index():
    estimates, intervals = default_estimates(events().Jet.fields)
    jets = estimates_of_events(events(), EstimateColumns(estimates, intervals, weight="w"))
    assert jets.pt_gen.tolist() == [40, 35]
    assert jets.eta_gen.tolist() == [-1, 2]
    assert jets.flavour.tolist() == [5, 21]
    assert jets.weight.tolist() == [2, 3]
    assert jets.event.tolist() == [0, 2]
    assert jets.estimates["Standard"].tolist() == [44, 44]
    assert jets.estimates["my"] == pytest.approx([44 * 0.9 * 1.2] * 2)
    assert jets.left_out == {"no generator jet": 1, "index of the generator jet beyond the table": 1}


def test_all_missing_columns_are_named():
    with pytest.raises(MissingColumns, match=r"GenJet_ptNu.*") as caught:
        estimates_of_events(events(), EstimateColumns({"a": "raw_pt * PNet"}, target="ptNu"), "here")
    assert "Jet_PNet" in str(caught.value)
    with pytest.raises(UnknownName, match="collection of jets"):
        EstimateColumns({"a": "pt"}, collection="Jets")
    with pytest.raises(ConfigError):
        EstimateColumns({"a": "pt +"})


@pytest.mark.parametrize(
    ("error", "keywords"),
    [
        (ConfigError, {"pt_edges": [50, 40]}),
        (ConfigError, {"eta_edges": [0]}),
        (ConfigError, {"replicas": 1}),
        (ConfigError, {"min_jets": 0}),
        (UnknownName, {"flavours": ["bottom"]}),
        (UnknownName, {"reference": "standard"}),
    ],
)
def test_wrong_options_are_named(error, keywords):
    with pytest.raises(error, match=next(iter(keywords)).removesuffix("s")):
        measure_estimates(toy(20), **keywords)


def test_wrong_arrays_are_named():
    with pytest.raises(MismatchError, match="one: 1 numbers for 2 jets"):
        jet_estimates([40.0, 50.0], [0, 0], [0, 0], {"one": [1.0]})
    with pytest.raises(MismatchError, match="an interval of 2"):
        jet_estimates([40.0], [0], [0], {"one": [1.0]}, intervals={"one": ([1.0, 2.0], [1.0])})
    with pytest.raises(UnknownName, match="intervals"):
        jet_estimates([40.0], [0], [0], {"one": [1.0]}, intervals={"two": ([1.0], [1.0])})
    with pytest.raises(ConfigError, match="no estimate"):
        jet_estimates([40.0], [0], [0], {})
    with pytest.raises(InvalidValues, match="weight"):
        jet_estimates([40.0], [0], [0], {"one": [1.0]}, weight=[np.nan])
    with pytest.raises(InvalidValues, match="no jets"):
        measure_estimates(jet_estimates([], [], [], {"one": []}))


def test_a_jet_has_the_flavour_of_its_heavy_hadrons():
    assert flavour_of([5, 4, 0, 0], [4, 5, -2, 21]).tolist() == [5, 4, 2, 21]


# ---------------------------------------------------------------------------------------- CMS


@pytest.mark.slow
def test_the_gain_of_the_regressions_of_cms(shared: Path):
    """Resolution over that of the standard correction at 50 to 200 GeV and |eta| < 2.5: 0.84 and 0.80, each +- 0.06."""
    with opened(shared / "cms/nano_tt_v15.root") as file:
        columns = EstimateColumns(*default_estimates(file.fields("Jet")))
        jets = estimates_of_events(file.read(columns.names("file", file.names)), columns)
    found = measure_estimates(jets, **ONE, flavours=["all"])
    for label, expected in (("ParticleNet", 0.84), ("UParT", 0.80)):
        ratio = found.ratio[label][0, 0, 0]
        assert ratio.value == pytest.approx(expected, abs=0.015)
        assert ratio.uncertainty == pytest.approx(0.06, abs=0.015)
        assert found.median[label][0, 0, 0].value == pytest.approx(1, abs=0.015)
    assert found.jets["Standard"][0, 0, 0] == 586
    assert found.left_out == {"no generator jet": 291}
