"""Templates and fits: names that combine reads, workspaces that pyhf fits, bad bins, closure, limits."""

import json
import math
import warnings

import numpy as np
import pytest
import uproot

from jettagger.errors import ConfigError, InputFileError, InvalidValues, MismatchError, UnknownName
from jettagger.histograms import AxisSpec, HistSpec
from jettagger.statistics.bins import groups, positive
from jettagger.statistics.building import build
from jettagger.statistics.specification import Signal, TemplateSpec
from jettagger.statistics.templates import load_report, load_workspaces

SPEC = HistSpec("mjj", [AxisSpec("mjj", bins=(20, 800, 2800), label="dijet mass", unit="GeV")])
ONE_DATASET = {"qcd": ["qcd"]}
SIGNALS = {"X1000": Signal(["x1000"], 1000, 0.1), "X2000": Signal(["x2000"], 2000, 0.1)}
# jsonschema's own deprecation, which pyhf 0.7 always raises
pytestmark = pytest.mark.filterwarnings("ignore:.*RefResolver.*:DeprecationWarning")


def simulated(seed=1, scale=1.0):
    """A falling background in parts and two peaks, in a signal and a control region, with a shifted scale."""
    generator = np.random.default_rng(seed)
    h = SPEC.make()
    for region, fraction in (("SR", 1.0), ("CR", 0.02)):
        for dataset, slope, events in (("qcd_low", 250, 1500), ("qcd_high", 300, 500), ("tt", 200, 400)):
            masses = 800 + generator.exponential(slope, 20_000)
            fill(h, masses, events * scale / 20_000, dataset, region)
        for mass in (1000, 2000):
            fill(h, generator.normal(mass, 0.05 * mass, 5000), 50 * fraction * scale / 5000, f"x{mass}", region)
    return h


def fill(h, masses, weight, dataset, region):
    for variation, factor in (("nominal", 1), ("jesUp", 1.02), ("jesDown", 0.98)):
        SPEC.fill(h, {"mjj": masses * factor}, weight, dataset=dataset, region=region, variation=variation)


def spec(**changes):
    base = {
        "processes": {"qcd": ["qcd_low", "qcd_high"], "tt": ["tt"]},
        "signals": SIGNALS,
        "normalisations": {"lumi": {"tt": 0.016, "X1000": 0.016, "X2000": 0.016}, "xsec_tt": {"tt": 0.1}},
        "free": ["qcd"],
    }
    return TemplateSpec(**{**base, **changes})


def bins(h, contents, dataset="qcd", region="SR", variation="nominal", weight=1.0):
    """Write bin contents directly: negative ones come from weights."""
    edges = h.axes["mjj"].centers
    signs = np.array([1.0, -1.0])
    for sign in signs:
        wanted = np.where(np.sign(contents) == sign, np.abs(contents), 0.0)
        values = {"mjj": edges[wanted > 0]}
        SPEC.fill(h, values, sign * wanted[wanted > 0] * weight, dataset=dataset, region=region, variation=variation)


# ---------------------------------------------------------------------------------------- contents


def test_contents_are_those_of_the_histogram():
    h = simulated()
    templates = build(h, spec())
    assert templates.asimov
    assert list(templates.nominal) == ["SR", "CR"]
    qcd = templates.nominal["SR"]["qcd"]
    by_hand = h["qcd_low", "SR", "nominal", :] + h["qcd_high", "SR", "nominal", :]
    np.testing.assert_allclose(qcd.values, by_hand.values(), atol=2e-3)
    np.testing.assert_allclose(
        qcd.shifts["jes"][0].sum(),
        h["qcd_low", "SR", "jesUp", :].values().sum() + h["qcd_high", "SR", "jesUp", :].values().sum(),
        rtol=1e-3,
    )
    total = sum(templates.nominal["SR"][name].values for name in ("qcd", "tt"))
    np.testing.assert_allclose(templates.data["SR"], total)


def test_names_that_combine_reads(tmp_path):
    templates = build(
        simulated(),
        spec(
            signals={"X1000": SIGNALS["X1000"]},
            processes=ONE_DATASET | {"qcd": ["qcd_low"]},
            normalisations={},
        ),
    )
    names = templates.to_root(tmp_path / "t.root")
    expected = {f"{r}/{p}{s}" for r in ("SR", "CR") for p in ("qcd", "X1000") for s in ("", "_jesUp", "_jesDown")}
    assert set(names) == expected | {"SR/data_obs", "CR/data_obs"}
    with uproot.open(tmp_path / "t.root") as file:
        np.testing.assert_array_equal(file["SR/qcd"].values(), templates.nominal["SR"]["qcd"].values)
        np.testing.assert_array_equal(file["SR/qcd"].variances(), templates.nominal["SR"]["qcd"].variances)
        np.testing.assert_array_equal(file["SR/qcd_jesUp"].values(), templates.nominal["SR"]["qcd"].shifts["jes"][0])
        assert file["SR/data_obs"].axis().member("fTitle") == "dijet mass [GeV]"
    other = templates.to_root(
        tmp_path / "o.root",
        nominal="{process}_{region}",
        shifted="{process}_{region}_{variation}_{direction}",
        data="data_{region}",
    )
    assert "qcd_SR_jes_Up" in other
    with pytest.raises(ConfigError, match=r"'channel'. Allowed: {region}, {process}"):
        templates.to_root(tmp_path / "o.root", nominal="{channel}/{process}")
    with pytest.raises(ConfigError, match=r"gives the name 'SR/qcd' twice"):
        templates.to_root(tmp_path / "o.root", shifted="{region}/{process}")


# ---------------------------------------------------------------------------------------- bad bins


def test_negative_bins_keep_the_yield_and_are_reported():
    h = SPEC.make()
    contents = np.full(20, 10.0)
    contents[3] = -4.0
    bins(h, contents)
    bins(h, np.full(20, 1.0), dataset="x")
    templates = build(h, TemplateSpec(ONE_DATASET, {"X": Signal(["x"], 1000)}))
    values = templates.nominal["SR"]["qcd"].values
    # events of weight 10 beside it, and one of weight -4 in it
    assert values[3] == pytest.approx(10.0)
    assert np.delete(values, 3).sum() == pytest.approx(186.0)
    assert templates.report[:2] == (
        "SR, qcd: negative bins [3] (-4 events) set to zero, the others scaled by 0.9789",
        "SR, qcd (18.8 effective simulated events): none in bins 3 (1100 to 1200); got 10 ± 10 events (the weight of "
        "one event)",
    )


def test_negative_bins_keep_a_yield_below_one_event():
    report = []
    values = positive(np.array([0.5, -0.1, 0.2]), "qcd", report)
    np.testing.assert_allclose(values, [0.5 * 0.6 / 0.7, 0, 0.2 * 0.6 / 0.7])
    assert len(report) == 1
    assert positive(np.array([0.5, -0.6]), "qcd", []).tolist() == [0, 0]


def test_merged_bins_at_the_low_end_count_the_first_bin():
    """Negative weights in the first bin reduce the effective number of what is merged with it."""
    values, variances = np.array([-4.0, 6.0, 10.0]), np.array([16.0, 6.0, 10.0])
    starts, lacking = groups({"qcd": (values, variances)}, 4.0)
    assert lacking == {}
    ends = [*starts[1:], len(values)]
    for first, last in zip(starts, ends, strict=True):
        assert values[first:last].sum() ** 2 / variances[first:last].sum() >= 4
    assert starts == [0]  # (-4 + 6)^2 / 22 is too few, the second bin alone would be enough


@pytest.mark.parametrize("report", ["a line", [1], ["a line", None], {}])
def test_a_report_that_is_no_list_of_lines_is_refused(report, tmp_path):
    build(simulated(), spec()).save(tmp_path)
    listing = tmp_path / "templates.json"
    assert load_report(tmp_path) == json.loads(listing.read_text())["report"]
    listing.write_text(json.dumps(json.loads(listing.read_text()) | {"report": report}))
    with pytest.raises(InputFileError, match=r"'report' is .*, expected a list of lines"):
        load_report(tmp_path)


def test_empty_bins_processes_and_variations_are_reported():
    h = SPEC.make()
    contents = np.full(20, 10.0)
    contents[[5, 6]] = 0.0
    bins(h, contents)
    for variation in ("jesUp", "jesDown"):
        bins(h, -contents if variation == "jesUp" else contents, variation=variation)
    bins(h, np.full(20, -1.0), dataset="tt")
    bins(h, np.full(20, 1.0), dataset="x")
    processes = {**ONE_DATASET, "tt": ["tt"]}
    templates = build(h, TemplateSpec(processes, {"X": Signal(["x"], 1000)}, empty_bin_yield=0.01))
    assert templates.report[:3] == (
        "SR, qcd: variation jes left out, one side of it has no events",
        "SR, tt: left out, its yield is -20 events",
        "SR, qcd (18 effective simulated events): none in bins 5 (1300 to 1400), 6 (1400 to 1500); got 0.01 ± 0.01, "
        "0.01 ± 0.01 events (empty_bin_yield)",
    )
    assert "tt" not in templates.nominal["SR"]
    assert templates.nominal["SR"]["qcd"].values[5] == 0.01
    assert templates.nominal["SR"]["qcd"].variances[5] == pytest.approx(1e-4)


def few_events():
    """Multijets of a weight of 76000 that have no event in two bins of the signal region, tt that has."""
    h = SPEC.make()
    contents = np.full(20, 3.0)
    bins(h, contents, region="CR", weight=76_000 / 3)
    bins(h, np.where(np.arange(20) < 18, 1.0, 0.0), weight=76_000)
    for region in ("SR", "CR"):
        for _ in range(30):
            bins(h, np.ones(20), dataset="tt", region=region, weight=0.5)
        bins(h, np.ones(20), dataset="x", region=region)
    bins(h, np.where(np.arange(20) == 19, 2.0, 1.0), dataset="data")
    return h, {"processes": {"qcd": ["qcd"], "tt": ["tt"]}, "signals": {"X": Signal(["x"], 1000)}}


def test_a_missing_event_weighs_what_events_of_its_sample_weigh():
    h, arguments = few_events()
    templates = build(h, TemplateSpec(**arguments))
    qcd = templates.nominal["SR"]["qcd"]
    np.testing.assert_allclose(qcd.values[18:], 76_000)
    np.testing.assert_allclose(np.sqrt(qcd.variances[18:]), 76_000)
    said = [line for line in templates.report if line.startswith("SR, qcd")]
    assert said[0].startswith("SR, qcd (18 effective simulated events): none in bins 18 (2600 to 2700), 19 (2700 to")
    assert "got 7.6e+04 ± 7.6e+04, 7.6e+04 ± 7.6e+04 events (the weight of one event)" in said[0]
    assert "few (1, 1, 1" in said[1]
    with pytest.raises(InvalidValues, match=r"SR, qcd .*none in bins 18 .*one event weighs 7.6e\+04, 7.6e\+04"):
        build(h, TemplateSpec(**arguments, empty_bin_yield="refuse"))


def test_a_background_without_any_event_in_a_region_is_not_absent():
    h, arguments = few_events()
    bins(h, np.where(np.arange(20) < 18, -1.0, 0.0), weight=76_000)
    templates = build(h, TemplateSpec(**arguments))
    assert (templates.nominal["SR"]["qcd"].values >= 76_000 * (1 - 1e-9)).all()


def test_bins_are_merged_until_each_background_has_events():
    h, arguments = few_events()
    templates = build(h, TemplateSpec(**arguments, min_effective_events=5))
    qcd = templates.nominal["SR"]["qcd"]
    assert (np.square(qcd.values) / qcd.variances >= 5).all()
    assert qcd.values.sum() == pytest.approx(18 * 76_000)
    assert templates.variable.edges.tolist() == [800, 1600, 2100, 2800]
    assert templates.variable.label == "dijet mass [GeV]"
    assert "20 bins merged to 3, each with at least 5 effective events" in templates.report[0]
    assert templates.nominal["CR"]["tt"].values.sum() == pytest.approx(300)
    with pytest.raises(InvalidValues, match=r"cannot be merged to 100 .*qcd in SR has 18 in all bins"):
        build(h, TemplateSpec(**arguments, min_effective_events=100))


def test_data_where_nothing_is_simulated_are_named():
    h = SPEC.make()
    bins(h, np.r_[np.full(18, 10.0), 0, 0])
    bins(h, np.full(20, 1.0), dataset="x")
    bins(h, np.r_[np.full(19, 10.0), 3], dataset="data")
    templates = build(h, TemplateSpec(ONE_DATASET, {"X": Signal(["x"], 1000)}, data=["data"]))
    expected = (
        "SR: data (10, 3 events) without a simulated event of any background in bins 18 (2600 to 2700), 19 (2700 to"
    )
    assert any(line.startswith(expected) for line in templates.report)


def test_fits_with_bad_bins_do_not_warn():
    pyhf = pytest.importorskip("pyhf")
    from jettagger.statistics.fits import fit, model_of

    h = SPEC.make()
    contents = np.r_[np.full(10, 20.0), np.zeros(8), -1.0, 0.0]
    for variation, factor in (("nominal", 1), ("jesUp", 1.1), ("jesDown", 0.9)):
        bins(h, contents * factor, variation=variation)
        bins(h, np.r_[np.zeros(5), np.full(3, 10.0), np.zeros(12)], dataset="x", variation=variation)
    templates = build(h, TemplateSpec(ONE_DATASET, {"X": Signal(["x"], 1000)}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*RefResolver.*", category=DeprecationWarning)
        assert fit(templates.workspace("X"), bounds=(-1, 10)).strength[0] == pytest.approx(0, abs=1e-2)
        model, data = model_of(templates.workspace("X"))
        pyhf.infer.mle.fit(data, model)


# ---------------------------------------------------------------------------------------- refused


def test_refused_specifications():
    with pytest.raises(ConfigError, match=r"qcd is both a background and a signal"):
        TemplateSpec(ONE_DATASET, {"qcd": Signal([], 1)})
    with pytest.raises(ConfigError, match=r"at least one background"):
        TemplateSpec({}, SIGNALS)
    for wrong in (0, -1.0, math.inf, "one event"):
        with pytest.raises(ConfigError, match=r"'empty_bin_yield' must be one_event, refuse or a number"):
            TemplateSpec(ONE_DATASET, SIGNALS, empty_bin_yield=wrong)
    with pytest.raises(ConfigError, match=r"'min_effective_events' must be a number of events, or 0, got -1"):
        TemplateSpec(ONE_DATASET, SIGNALS, min_effective_events=-1)
    with pytest.raises(UnknownName, match=r"unknown process in uncertainty 'lumi': 'ttt' \(nearest: tt"):
        spec(normalisations={"lumi": {"ttt": 0.1}})
    with pytest.raises(ConfigError, match=r"'lumi' of tt: expected a relative one, got -1"):
        spec(normalisations={"lumi": {"tt": -1}})
    with pytest.raises(UnknownName, match=r"unknown pattern in the names of templates: 'shiftde' \(nearest: shifted"):
        spec(names={"shiftde": "{region}"})
    with pytest.raises(UnknownName, match=r"unknown background.*'X1000'"):
        spec(free=["X1000"])


def test_refused_histograms():
    h = simulated()
    with pytest.raises(UnknownName, match=r"unknown dataset.*'qcd_lwo' \(nearest: qcd_low"):
        build(h, spec(processes={"qcd": ["qcd_lwo"], "tt": ["tt"]}))
    with pytest.raises(UnknownName, match=r"unknown region.*'SRR' \(nearest: SR"):
        build(h, spec(regions=["SRR"]))
    with pytest.raises(UnknownName, match=r"unknown variation.*'jer' \(nearest: jes"):
        build(h, spec(variations=["jer"]))
    with pytest.raises(MismatchError, match=r"one variable, got dataset, mjj"):
        build(HistSpec("x", SPEC.axes, categories=["dataset"]).make(), spec())
    bins(h, np.ones(20), dataset="tt", variation="jerUp")
    with pytest.raises(MismatchError, match=r"variation 'jer': jerDown is not in the histogram"):
        build(h, spec())
    empty = SPEC.make()
    bins(empty, np.zeros(20), region="VR")
    bins(empty, np.ones(20))
    with pytest.raises(InvalidValues, match=r"region 'VR' has no background: no process has a positive yield in it"):
        build(empty, TemplateSpec(ONE_DATASET, {}))
    other = SPEC.make()
    bins(other, np.ones(20), variation="jesUp")
    with pytest.raises(UnknownName, match=r"variation.*nominal"):
        build(other, TemplateSpec(ONE_DATASET, {}))
    broken = SPEC.make()
    bins(broken, np.ones(20))
    broken.view()["value"][0, 0, 0, 4] = np.nan
    with pytest.raises(InvalidValues, match=r"SR, qcd: contents that are not finite in bins \[4\]"):
        build(broken, TemplateSpec(ONE_DATASET, {}))
    data = SPEC.make()
    bins(data, np.ones(20))
    observed = np.ones(20)
    observed[[3, 7]] = -1, -2
    bins(data, observed, dataset="data")
    with pytest.raises(InvalidValues, match=r"data of -1 events in bins 3 \(.*\), 7 \(.*\), expected finite numbers"):
        build(data, TemplateSpec(ONE_DATASET, {}, data=["data"]))
    templates = build(simulated(), spec())
    with pytest.raises(UnknownName, match=r"unknown signal.*'X1001' \(nearest: X1000"):
        templates.workspace("X1001")
    nothing = SPEC.make()
    bins(nothing, np.ones(20))
    bins(nothing, np.zeros(20), dataset="x")
    with pytest.raises(InvalidValues, match=r"'X' has no events in any region"):
        build(nothing, TemplateSpec(ONE_DATASET, {"X": Signal(["x"], 1)})).workspace("X")


def test_a_misspelled_blind_region_does_not_show_data():
    h = simulated()
    bins(h, np.arange(20.0), dataset="data")
    bins(h, np.ones(20), dataset="data", region="CR")
    with pytest.raises(UnknownName, match=r"unknown region in the histogram: 'SRR' \(nearest: SR"):
        build(h, spec(data=["data"], blind=["SRR"]))
    # one that is not fitted may be blind all the same
    templates = build(h, spec(data=["data"], regions=["CR"], blind=["SR"]))
    assert not templates.asimov
    assert templates.data["CR"].tolist() == [1.0] * 20


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"processes": {"qcd": ["a", "b", "a"]}}, r"^the background 'qcd': the data set 'a' is listed twice"),
        ({"signals": {"X": Signal(("x", "x"), 1)}}, r"^the signal 'X': the data set 'x' is listed twice"),
        ({"data": ["2022", "2023", "2023"]}, r"^the data: the data set '2023' is listed twice"),
        ({"regions": []}, r"^templates need at least one region$"),
    ],
)
def test_nothing_is_added_twice_and_something_is_made(changes, message):
    with pytest.raises(ConfigError, match=message):
        TemplateSpec(**{"processes": ONE_DATASET, "signals": {}, **changes})


# ---------------------------------------------------------------------------------------- what changes nothing

SLOPE = np.linspace(60, 3, 20).round()


def small(factor=1.0, names=("low", "high"), regions=("SR", "CR"), weight=0.5):
    """A background in two data sets and a signal, with a variation; weights times a factor."""
    h = SPEC.make()
    for region in regions:
        for name, contents in (
            (names[0], SLOPE),
            (names[1], SLOPE[::-1]),
            ("x", np.r_[np.zeros(8), 4, 9, 2, np.zeros(9)]),
        ):
            for variation, shift in (("nominal", 1.0), ("jesUp", 1.25), ("jesDown", 0.75)):
                bins(h, contents * factor * shift, name, region, variation, weight)
    return h


def parts_of(templates):
    """Each array of templates with its region, process and variation."""
    for region, processes in templates.nominal.items():
        yield (region, "data"), templates.data[region]
        for process, template in processes.items():
            yield (region, process), template.values
            yield (region, process, "variance"), template.variances
            for name, shift in template.shifts.items():
                yield (region, process, name, "up"), shift[0]
                yield (region, process, name, "down"), shift[1]


OF_SMALL = {"processes": {"qcd": ["low", "high"]}, "signals": {"X": Signal(["x"], 1000)}}


@pytest.mark.parametrize("factor", [0.25, 8.0])
def test_the_size_of_weights_is_a_factor(factor):
    one, other = (dict(parts_of(build(small(k), TemplateSpec(**OF_SMALL)))) for k in (1.0, factor))
    assert list(one) == list(other)
    for name, values in one.items():
        power = 2 if name[-1] == "variance" else 1
        np.testing.assert_allclose(other[name], factor**power * values, err_msg=str(name))
    qcd = build(small(factor), TemplateSpec(**OF_SMALL)).nominal["SR"]["qcd"]
    np.testing.assert_allclose(qcd.values, 0.5 * factor * (SLOPE + SLOPE[::-1]))
    np.testing.assert_allclose(qcd.variances, (0.5 * factor) ** 2 * (SLOPE**2 + SLOPE[::-1] ** 2))


def test_order_and_number_of_data_sets_and_regions_change_nothing():
    expected = dict(parts_of(build(small(), TemplateSpec(**OF_SMALL))))
    turned = build(small(names=("high", "low"), regions=("CR", "SR")), TemplateSpec(**OF_SMALL))
    assert list(turned.nominal) == ["CR", "SR"]
    joined = build(small(names=("all", "all")), TemplateSpec(**{**OF_SMALL, "processes": {"qcd": ["all"]}}))
    one = build(small(), TemplateSpec(**{**OF_SMALL, "regions": ["SR"]}))
    for templates in (turned, joined, one):
        made = dict(parts_of(templates))
        assert set(made) == {name for name in expected if name[0] in templates.nominal}
        for name, values in made.items():
            np.testing.assert_allclose(values, expected[name], err_msg=str(name))


@pytest.mark.parametrize("needed", [1.5, 3.0, 15.0])
def test_merging_keeps_yields_variances_and_shifts(needed):
    whole = build(small(), TemplateSpec(**OF_SMALL))
    merged = build(small(), TemplateSpec(**OF_SMALL, min_effective_events=needed))
    edges = np.asarray(merged.variable.edges)
    assert (edges[0], edges[-1]) == (800, 2800)
    starts = np.searchsorted(np.asarray(whole.variable.edges), edges[:-1])
    expected = dict(parts_of(whole))
    for name, values in parts_of(merged):
        np.testing.assert_allclose(values, np.add.reduceat(expected[name], starts), err_msg=str(name))
    qcd = merged.nominal["SR"]["qcd"]
    assert (qcd.values**2 / qcd.variances >= needed).all()
    assert any("bins merged to" in line for line in merged.report) == (len(edges) < 21)


def test_what_is_scaled_keeps_its_relative_uncertainty():
    h = SPEC.make()
    contents = np.full(20, 10.0)
    contents[[3, 7]] = -4.0, -1.0
    bins(h, contents)
    for variation, factor in (("jesUp", 1.5), ("jesDown", 0.5)):
        bins(h, contents * factor, variation=variation)
    qcd = build(h, TemplateSpec(ONE_DATASET, {})).nominal["SR"]["qcd"]
    kept = np.delete(np.arange(20), [3, 7])
    np.testing.assert_allclose(qcd.values[kept].sum(), contents.sum())
    np.testing.assert_allclose(np.sqrt(qcd.variances[kept]) / qcd.values[kept], 1)  # one event each
    for side, factor in zip(qcd.shifts["jes"], (1.5, 0.5), strict=True):
        np.testing.assert_allclose(side[kept].sum(), factor * contents.sum())
        # an empty bin of the nominal one has the same in all variations
        np.testing.assert_allclose(side[[3, 7]], qcd.values[[3, 7]])


def test_half_of_a_variation_is_left_out_and_said():
    h = SPEC.make()
    bins(h, np.full(20, 30.0))
    bins(h, np.full(20, 30.0), variation="jesUp")
    bins(h, -np.full(20, 1.0), variation="jesDown")
    bins(h, np.full(20, 30.0), dataset="tt")
    templates = build(h, TemplateSpec({"qcd": ["qcd"], "tt": ["tt"]}, {}))
    assert [template.shifts for template in templates.nominal["SR"].values()] == [{}, {}]
    assert [line for line in templates.report if "variation" in line] == [
        "SR, qcd: variation jes left out, one side of it has no events"
    ]


def test_names_of_any_script_come_back(tmp_path):
    h = SPEC.make()
    for dataset, region in (("Wjets→qq̄", "Région"), ("x", "Région")):
        bins(h, SLOPE, dataset, region)
    long = "H" * 200
    made = build(h, TemplateSpec({"W→qq̄": ["Wjets→qq̄"]}, {long: Signal(["x"], 1000)}))
    names = made.to_root(tmp_path / "t.root")
    assert names == ["Région/data_obs", "Région/W→qq̄", f"Région/{long}"]
    with uproot.open(tmp_path / "t.root") as file:
        for name in names:
            np.testing.assert_array_equal(file[name].values(), SLOPE)
    workspace = json.loads(json.dumps(made.workspace(long)))
    assert [channel["name"] for channel in workspace["channels"]] == ["Région"]
    assert {sample["name"] for sample in workspace["channels"][0]["samples"]} == {"W→qq̄", long}


# ---------------------------------------------------------------------------------------- fits


def test_the_workspace_is_valid_and_an_injected_signal_comes_back():
    pyhf = pytest.importorskip("pyhf")
    from jettagger.statistics.fits import asimov, fit, model_of

    templates = build(simulated(), spec())
    workspace = templates.workspace("X1000", bounds=(-5, 10))
    pyhf.schema.validate(workspace, "workspace.json")
    model, _ = model_of(workspace)
    assert set(model.config.parameters) == {
        "mu",
        "norm_qcd",
        "jes",
        "lumi",
        "xsec_tt",
        "mcstat_SR",
        "mcstat_CR",
        "mcstat_SR_X1000",
        "mcstat_CR_X1000",
    }
    value, sigma = fit(workspace).strength
    assert abs(value) < 0.02
    assert 0 < sigma < 1
    # the expectation with a signal comes back exactly, other templates' statistics aside
    value, sigma = fit(workspace, asimov(model, 2.0)).strength
    assert value == pytest.approx(2.0, abs=0.02)
    # an independent sample with an injected signal comes back within the uncertainty
    other = build(simulated(seed=2), spec())
    injected = {r: other.data[r] + 2.0 * other.nominal[r]["X1000"].values for r in other.data}
    generator = np.random.default_rng(3)
    for observation in workspace["observations"]:
        observation["data"] = generator.poisson(injected[observation["name"]]).astype(float).tolist()
    value, sigma = fit(workspace).strength
    assert abs(value - 2.0) < 2.5 * sigma < 2.0


@pytest.mark.slow
@pytest.mark.parametrize("signal", ["X1000", pytest.param("X2000", marks=pytest.mark.long)])
def test_templates_of_many_bins_are_fitted_by_pyhf(signal, agrees):
    pytest.importorskip("pyhf")
    from fitting import CLS, check_pyhf

    for changes in ({}, {"min_effective_events": 20.0}):
        found: list[float] = []
        check_pyhf(build(simulated(), spec(**changes)).workspace(signal), "scipy", found)
        part = f"{signal}{', merged bins' if changes else ''}"
        agrees("statistics/limits", found, np.full(len(found), 0.05), sample=len(found), rtol=CLS, part=part)


def test_the_fit_is_that_of_cabinetry(agrees):
    cabinetry = pytest.importorskip("cabinetry")
    from jettagger.statistics.fits import fit, model_of

    workspace = build(simulated(), spec(regions=["SR"])).workspace("X1000", bounds=(-5, 10))
    workspace["observations"][0]["data"][2] += 30.0
    model, data = model_of(workspace)
    mine = fit(workspace)
    theirs = cabinetry.fit.fit(model, data.tolist())
    assert list(mine.names) == list(theirs.labels)
    agrees("statistics/fit", mine.values, theirs.bestfit, sample=1, atol=0.02, rtol=1e-7, part="parameters")
    wanted = theirs.uncertainty
    agrees("statistics/fit", mine.uncertainties, wanted, sample=1, rtol=0.05, atol=1e-3, part="uncertainties")
    assert mine.strength[0] > 0.5


def test_data_are_taken_as_observed():
    h = simulated()
    bins(h, np.arange(20.0), dataset="data")
    bins(h, np.ones(20), dataset="data", region="CR")
    templates = build(h, spec(data=["data"]))
    assert not templates.asimov
    assert templates.data["SR"].tolist() == list(range(20))
    assert templates.workspace("X1000")["observations"][0]["data"] == list(range(20))


def test_data_of_blind_regions_are_not_taken(tmp_path):
    h = simulated()
    bins(h, np.arange(20.0), dataset="data")
    bins(h, np.ones(20), dataset="data", region="CR")
    templates = build(h, spec(data=["data"], blind=["SR"], names={"data": "{region}/observed"}))
    assert templates.asimov
    expected = sum(templates.nominal["SR"][name].values for name in ("qcd", "tt"))
    np.testing.assert_array_equal(templates.data["SR"], expected)
    np.testing.assert_array_equal(templates.data["CR"], np.ones(20))
    assert "SR: blind, the sum of the backgrounds is used as data" in templates.report
    templates.save(tmp_path)
    with uproot.open(tmp_path / "templates.root") as file:
        np.testing.assert_array_equal(file["CR/observed"].values(), np.ones(20))
        assert "CR/data_obs" not in file
    assert load_workspaces(tmp_path)[2]


@pytest.mark.slow
def test_limits_call_blind_data_blind(tmp_path, capsys):
    pytest.importorskip("pyhf")
    from jettagger.cli import main

    h = simulated()
    bins(h, np.arange(20.0), dataset="data")
    build(h, spec(data=["data"], blind=["SR"])).save(tmp_path)
    assert main(["limit", str(tmp_path), "--no-plot", "--signal", "X1000"]) == 0
    printed = capsys.readouterr().out
    assert "the data are blind: the limits are expected ones" in printed
    assert "no data" not in printed


@pytest.mark.slow
def test_pulls_of_toys_are_those_of_a_unit_gaussian():
    pytest.importorskip("pyhf")
    from jettagger.statistics.fits import pulls

    workspace = build(simulated(), spec()).workspace("X1000")
    found = pulls(workspace, 1.0, 200, seed=20261122, bounds=(-10.0, 20.0))
    assert len(found) == 200
    assert abs(found.mean()) < 3 * found.std(ddof=1) / math.sqrt(200)
    assert abs(found.std(ddof=1) - 1) < 3 / math.sqrt(2 * 199)


def test_toys_have_the_moments_of_the_model():
    pytest.importorskip("pyhf")
    from jettagger.statistics.fits import asimov, model_of, toys

    model, _ = model_of(build(simulated(), spec()).workspace("X1000"))
    drawn, expected = toys(model, 1.0, 4000, seed=1), asimov(model, 1.0)
    assert np.array_equal(drawn, toys(model, 1.0, 4000, seed=1))
    main = len(expected) - len(model.config.auxdata)
    sigma = np.sqrt(expected[:main] / 4000)
    assert np.all(np.abs(drawn[:, :main].mean(axis=0) - expected[:main]) < 5 * sigma + 1e-9)
    np.testing.assert_allclose(drawn[:, main:].mean(axis=0), expected[main:], atol=0.1)


def counting(background, observed, signal=1.0):
    return {
        "channels": [{"name": "SR", "samples": [
            {"name": "s", "data": [signal], "modifiers": [{"name": "mu", "type": "normfactor", "data": None}]},
            {"name": "b", "data": [background], "modifiers": []},
        ]}],
        "observations": [{"name": "SR", "data": [observed]}],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": [
            {"name": "mu", "bounds": [[0, 10]], "inits": [1]},
        ]}}],
        "version": "1.0.0",
    }  # fmt: skip


def test_limit_of_a_counting_experiment():
    pytest.importorskip("pyhf")
    from scipy.optimize import brentq
    from scipy.stats import norm

    from jettagger.statistics.limits import limit

    found = limit(counting(100.0, 100.0), signal="s", mass=1000)

    # The median expected limit in closed form: Asimov data n = b, no nuisance, CLs = (1 - Phi(sqrt(q))) / 0.5
    def q(mu):
        return 2 * (mu - 100 * math.log((100 + mu) / 100))

    expected = brentq(lambda mu: norm.sf(math.sqrt(q(mu))) / 0.5 - 0.05, 1, 100)
    assert found.expected[2] == pytest.approx(expected, rel=2e-3)
    assert found.observed == pytest.approx(expected, rel=2e-3)
    assert list(found.expected) == sorted(found.expected)
    more = limit(counting(100.0, 120.0))
    assert more.observed > found.observed
    # scaling the signal scales the limit
    assert limit(counting(100.0, 100.0, signal=0.01)).expected[2] == pytest.approx(100 * expected, rel=2e-3)
    with pytest.raises(InvalidValues, match=r"signal 's': the templates have no sensitivity to the signal"):
        limit(counting(100.0, 100.0, signal=1e-9), signal="s")


@pytest.mark.slow
def test_limits_are_those_of_pyhf():
    pyhf = pytest.importorskip("pyhf")
    from jettagger.statistics.fits import model_of
    from jettagger.statistics.limits import limit

    templates = build(simulated(), spec(variations=["jes"], regions=["SR"], free=[]))
    workspace = templates.workspace("X1000")
    data = np.random.default_rng(5).poisson(templates.data["SR"]).astype(float)
    workspace["observations"][0]["data"] = data.tolist()
    found = limit(workspace)
    model, data = model_of(workspace)
    tested = [found.observed, *found.expected]
    for position in (0, 3):
        observed, expected = pyhf.infer.hypotest(
            tested[position], data, model, test_stat="qtilde", return_expected_set=True
        )
        cls = observed if position == 0 else expected[position - 1]
        assert float(cls) == pytest.approx(0.05, rel=0.02)


@pytest.mark.slow
def test_command_line(tmp_path, capsys):
    pytest.importorskip("pyhf")
    from jettagger.cli import main

    templates = build(simulated(), spec())
    files = templates.save(tmp_path)
    assert {path.name for path in files} == {
        "templates.root",
        "templates.json",
        "datacard_X1000.txt",
        "datacard_X2000.txt",
        "workspace_X1000.json",
        "workspace_X2000.json",
    }
    assert main(["limit", str(tmp_path), "--no-plot"]) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[1].split()[:3] == ["X1000", "1000", "-"]
    assert "no data" in printed
    kept = json.loads((tmp_path / "limits.json").read_text())
    assert [item["signal"] for item in kept["limits"]] == ["X1000", "X2000"]
    # less background at the higher mass
    assert kept["limits"][1]["expected"][2] < kept["limits"][0]["expected"][2]
    assert (tmp_path / "limits.txt").read_text() == printed
    assert "limits in units of the cross section of the signal; the last column in fb\n" in printed
    assert not (tmp_path / "limits.png").exists()
    pytest.importorskip("mplhep")
    assert main(["limit", str(tmp_path), "--signal", "X2000"]) == 0
    assert (tmp_path / "limits.png").read_bytes().startswith(b"\x89PNG")
    assert "X1000" not in capsys.readouterr().out
    assert main(["limit", str(tmp_path), "--signal", "X3000"]) == 2
    assert "unknown signal" in capsys.readouterr().err
    assert main(["limit", str(tmp_path / "absent")]) == 2
    assert "cannot read" in capsys.readouterr().err


@pytest.mark.slow
def test_a_signal_without_a_limit_leaves_the_others_theirs(tmp_path, capsys):
    pytest.importorskip("pyhf")
    from jettagger.cli import main
    from jettagger.statistics.limits import Limit, table

    h = SPEC.make()
    bins(h, np.full(20, 50.0), weight=0.5)
    bins(h, np.full(20, 50.0), weight=0.5)
    for _ in range(20):
        bins(h, np.r_[np.zeros(5), np.ones(2), np.zeros(13)], dataset="many", weight=0.5)
    bins(h, np.r_[np.zeros(5), 1.0, np.zeros(14)], dataset="one", weight=20.0)
    spec = TemplateSpec(ONE_DATASET, {"M": Signal(["many"], 1000, 0.1), "O": Signal(["one"], 2000, 0.1)})
    build(h, spec).save(tmp_path)
    assert main(["limit", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    rows = {line.split()[0]: line.split() for line in printed.splitlines()}
    assert rows["O"] == ["O", "2000", "-", *["none"] * 6]
    assert "none" not in rows["M"]
    assert "none (-2 sigma, -1 sigma, expected, +1 sigma, +2 sigma): signal 'O': no upper limit was found" in printed
    assert "templates: SR, qcd (40 effective simulated events): few (2, 2," in printed
    kept = {item["signal"]: item for item in json.loads((tmp_path / "limits.json").read_text())["limits"]}
    assert kept["O"]["expected"] == [None] * 5
    assert set(kept["O"]["missing"]) == {"-2 sigma", "-1 sigma", "expected", "+1 sigma", "+2 sigma"}
    assert table([Limit(**{**kept["M"], "expected": tuple(kept["M"]["expected"])})]) in printed
    assert main(["limit", str(tmp_path), "--signal", "O"]) == 2
    assert "no limit was found: signal 'O'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON: line 1"),
        ("{}", "expected the format"),
        ('{"format": "jettagger templates", "version": 7}', "version 7, expected 1"),
    ],
)
def test_files_that_are_something_else(tmp_path, text, message):
    (tmp_path / "templates.json").write_text(text)
    with pytest.raises(InputFileError, match=message):
        load_workspaces(tmp_path)


@pytest.mark.parametrize("workspace", ["../other/pyhf.json", "/etc/hostname", "inside/pyhf.json", "..", ""])
def test_a_workspace_lies_in_the_folder(tmp_path, workspace):
    build(simulated(), spec()).save(tmp_path)
    path = tmp_path / "templates.json"
    content = json.loads(path.read_text())
    content["signals"]["X2000"]["workspace"] = workspace
    path.write_text(json.dumps(content))
    with pytest.raises(InputFileError, match=r"the workspace of 'X2000' is .*, expected a file in this folder|cannot"):
        load_workspaces(tmp_path)
