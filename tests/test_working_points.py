"""Working points: thresholds against closed forms, correctionlib files, decisions for jets."""

import json
import math
import pickle

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jettagger.discriminants import Discriminant, ProvenanceWarning, WorkingPoints, derive, discriminant, efficiency
from jettagger.discriminants.working_points import NEVER
from jettagger.errors import (
    ConfigError,
    InputFileError,
    InvalidValues,
    MismatchError,
    MissingColumns,
    OutputError,
    UnknownName,
)
from jettagger.skims.writers import write_skim

ITEM = Discriminant.from_string("x")
WANTED = {"loose": 0.1, "medium": 0.01, "tight": 0.005}


def sample(size=20_000, seed=1, per_event=4):
    """Jets whose x is uniform within [0, 1] below 400 GeV and within [0, 2] above, in lists."""
    generator = np.random.default_rng(seed)
    pt = generator.uniform(200, 600, size).astype(np.float32)
    x = generator.random(size) * np.where(pt < 400, 1, 2)
    mass = generator.uniform(0, 250, size)
    jets = ak.Array({"pt": pt, "x": x, "msoftdrop": mass})
    return ak.unflatten(jets, np.full(size // per_event, per_event))


def test_thresholds_of_a_uniform_score():
    values = (np.arange(1000) + 0.5) / 1000
    points = derive(ITEM, {"x": values}, {"half": 0.5, "tenth": 0.1})
    assert points["half"].threshold() == 0.5005
    assert np.sum(values >= points["half"].threshold()) == 500
    assert np.sum(values >= points["tenth"].threshold()) == 100
    # Woodruff: the quantiles at the efficiency plus and minus its binomial uncertainty
    sigma = math.sqrt(0.1 * 0.9 / 1000)
    assert points["tenth"].threshold(systematic="up") == pytest.approx(0.9 + sigma, abs=1.1e-3)
    assert points["tenth"].threshold(systematic="down") == pytest.approx(0.9 - sigma, abs=1.1e-3)


@pytest.mark.slow
def test_uncertainty_is_the_spread_of_repeated_experiments():
    found, stated = [], []
    for seed in range(300):
        generator = np.random.default_rng(seed)
        values, weights = generator.normal(size=500), generator.exponential(size=500)
        point = derive(ITEM, {"x": values}, {"wp": 0.2}, weights=weights)["wp"]
        found.append(point.threshold())
        stated.append((point.threshold(systematic="up") - point.threshold(systematic="down")) / 2)
    # the spread of 300 numbers is known to 4 %
    assert np.mean(stated) == pytest.approx(np.std(found, ddof=1), rel=0.2)


def test_weights_and_ties():
    values, weights = np.array([0.1, 0.2, 0.3, 0.3]), np.array([6.0, 2.0, 1.0, 1.0])
    points = derive(ITEM, {"x": values}, {"a": 0.2, "b": 0.3, "c": 0.1}, weights=weights, least=0)
    assert points["a"].threshold() == 0.3
    assert points["b"].threshold() == 0.3
    # both jets at 0.3 are 20 %, more than asked for
    assert points["c"].threshold() > 0.3
    assert points.record["bins"][0]["points"]["b"]["achieved"] == pytest.approx(0.2)


def test_bins_in_pt_and_mass():
    jets = sample()
    points = derive(ITEM, jets, WANTED, pt=[200, 400, math.inf], mass=[0, 100, 300])
    assert points.inputs == {"pt": "pt", "mass": "msoftdrop"}
    medium = points["medium"]
    assert medium.threshold(pt=300.0, mass=50.0) == pytest.approx(0.99, abs=0.01)
    assert medium.threshold(pt=1e5, mass=50.0) == pytest.approx(1.98, abs=0.02)
    passing = medium.passes(jets)
    assert str(passing.type) == "5000 * 4 * bool" or str(passing.type) == "5000 * var * bool"
    for low, high in ((200, 400), (400, 600)):
        chosen = (jets.pt >= low) & (jets.pt < high)
        found = efficiency(passing[chosen])
        assert abs(found.value - 0.01) < 1e-3
    outside = ak.Array({"pt": [199.0, 300.0, 300.0], "x": [5.0, 5.0, 5.0], "msoftdrop": [50.0, 300.0, np.nan]})
    assert medium.passes(outside).to_list() == [False, False, False]


def test_fresh_jets_pass_at_the_stated_rate():
    points = derive(ITEM, sample(), WANTED, pt=[200, 400, 600])
    fresh = sample(size=200_000, seed=2)
    for name, wanted in WANTED.items():
        found = efficiency(points[name].passes(fresh))
        # two bins of about 10 000 jets each set the thresholds
        sigma = math.hypot(found.uncertainty, math.sqrt(wanted / 20_000))
        assert abs(found.value - wanted) < 4 * sigma


def test_the_file_is_one_that_correctionlib_reads(tmp_path):
    correctionlib = pytest.importorskip("correctionlib")
    points = derive(
        discriminant("x / (x + a * y)", a=2),
        {"x": np.arange(1.0, 101), "y": np.ones(100), "pt": np.linspace(300, 500, 100)},
        {"M": 0.2},
        pt=[300, 501],
        name="HvsB",
    )
    path = tmp_path / "wp.json"
    points.save(path)
    theirs = correctionlib.CorrectionSet.from_file(str(path))["HvsB"]
    assert [item.name for item in theirs.inputs] == ["WorkingPoint", "systematic", "pt"]
    assert theirs.evaluate("M", "nominal", 350.0) == points["M"].threshold(pt=350.0)
    assert theirs.evaluate("M", "up", 350.0) == points["M"].threshold(pt=350.0, systematic="up")
    again = WorkingPoints.load(path)
    assert again == points
    assert again.discriminant == points.discriminant
    assert again.efficiencies == {"M": 0.2}
    assert "x / (x + a * y) where a = 2" in theirs.description
    copy = pickle.loads(pickle.dumps(again))
    assert copy == again
    assert copy["M"].threshold(pt=350.0) == points["M"].threshold(pt=350.0)
    assert list(copy) == ["M"]
    assert len(copy) == 1
    assert "300-501" in again.table()
    with pytest.raises(OutputError):
        points.save(tmp_path / "absent" / "wp.json")


# ---------------------------------------------------------------------------------------- whose scores they hold for

HBB = Discriminant.from_string("probHbb / (probHbb + probQCD)", name="HbbvsQCD")


def scored(prefix="a", size=400):
    generator = np.random.default_rng(2)
    hbb, qcd = (ak.unflatten(generator.random(size).astype(np.float32), np.ones(size, int)) for _ in range(2))
    return ak.zip({f"FatJet_{prefix}_probHbb": hbb, f"FatJet_{prefix}_probQCD": qcd}, depth_limit=1)


def skim(path, model="M", digest="1" * 64, prefix="a", heads=None):
    """A skim with the provenance that `jettagger tag` writes."""
    jets = scored(prefix)
    note = json.dumps({"model": model, "digest": digest, "heads": heads or {}, "columns": {}})
    write_skim(path, [{name: jets[name] for name in jets.fields}], note, force=True)
    return str(path)


def test_the_model_is_in_the_file_and_correctionlib_reads_it(tmp_path):
    correctionlib = pytest.importorskip("correctionlib")
    path = skim(tmp_path / "a.parquet")
    points = derive(HBB, ak.from_parquet(path), {"M": 0.1}, model=path)
    points.save(tmp_path / "wp.json")
    again = WorkingPoints.load(tmp_path / "wp.json")
    assert again.origin.model == "M"
    assert again.origin.digest == "1" * 64
    assert again.prefix == "a"
    assert again.scores == ("probHbb", "probQCD")
    assert f"model: M, digest {'1' * 64}" in again.table()
    assert "prefix: a; scores: probHbb, probQCD" in again.table()
    theirs = correctionlib.CorrectionSet.from_file(str(tmp_path / "wp.json"))["HbbvsQCD"]
    assert theirs.evaluate("M", "nominal") == again["M"].threshold()


@pytest.mark.parametrize("suffix", ["parquet", "root"])
def test_scores_of_another_model_are_refused(tmp_path, suffix):
    path = skim(tmp_path / f"a.{suffix}")
    same, other = skim(tmp_path / f"same.{suffix}", prefix="b"), skim(tmp_path / f"other.{suffix}", "N", "2" * 64)
    point = derive(HBB, scored(), {"M": 0.1}, model=path)["M"]
    passing = point.passes(scored(), model=path)
    assert passing.to_list() == point.passes(scored()).to_list()
    # the same prefix, another digest
    with pytest.raises(MismatchError, match=r"belong to the model 'M' \(digest 1{12}\), but these scores are of 'N'"):
        point.passes(scored(), model=other)
    # another prefix: another tagger, unless it is known to be the same
    with pytest.raises(MismatchError, match=r"with the prefix 'a', these have 'b': of another tagger"):
        point.passes(scored("b"))
    assert point.passes(scored("b"), model=same).to_list() == passing.to_list()
    with pytest.raises(ConfigError, match="expected the path of a skim, its provenance, a tagger or a bundle, got int"):
        point.passes(scored(), model=1)
    with pytest.raises(InputFileError, match="no such file"):
        point.passes(scored(), model=str(tmp_path / "absent.parquet"))


def test_arrow_tables_of_skims_say_whose_they_are(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    mine = parquet.read_table(skim(tmp_path / "a.parquet"))
    point = derive(HBB, mine, {"M": 0.1})["M"]
    assert point.points.origin.model == "M"
    assert len(point.passes(mine)) == 400
    with pytest.raises(MismatchError, match="but these scores are of 'N'"):
        point.passes(parquet.read_table(skim(tmp_path / "other.parquet", "N", "2" * 64)))


def test_taggers_and_heads():
    class Item:
        def __init__(self, name, digest, bundle=None, heads=()):
            self.name, self.digest, self.heads = name, digest, heads
            if bundle is not None:
                self.bundle = bundle

    bundle = Item("M", "1" * 64)
    point = derive(HBB, scored(), {"M": 0.1}, model=Item("", "", bundle, [Item("mine", "3" * 64)]))["M"]
    assert point.passes(scored(), model=bundle) is not None
    with pytest.raises(
        MismatchError, match=r"head 'mine' with the digest 3{12}, these scores are of one with .* 4{12}"
    ):
        point.passes(scored(), model=Item("", "", bundle, [Item("mine", "4" * 64)]))
    with pytest.raises(ConfigError, match="does not say which model"):
        derive(HBB, scored(), {"M": 0.1}, model={"files": []})


def test_other_scores_of_the_same_tagger_are_refused():
    """E.g. a ratio that is stored in the place of its scores."""
    point = derive(Discriminant.from_string("sum(x*) where prefix = a"), {"a_x1": np.arange(99.0)}, {"M": 0.2})["M"]
    with pytest.raises(MismatchError, match=r"were derived on x1, here they would apply to x1, x2"):
        point.passes({"a_x1": np.ones(2), "a_x2": np.ones(2)})


def test_files_that_do_not_know_their_model_say_so(tmp_path):
    points = derive(HBB, scored(), {"M": 0.1})
    content = json.loads(points.to_string())
    described = json.loads(content["description"])
    described["jettagger"]["format"] = 1
    del described["jettagger"]["scores"], described["jettagger"]["record"]["weights"]
    (tmp_path / "old.json").write_text(json.dumps({**content, "description": json.dumps(described)}))
    with pytest.warns(
        ProvenanceWarning, match=r"old.json: written by an older version of jettagger, does not say which model"
    ):
        old = WorkingPoints.load(tmp_path / "old.json")
    assert old["M"].passes(scored("b"), model={"model": "N", "digest": "2" * 64}) is not None  # nothing to compare with
    assert "model: not known" in old.table()
    assert "weights: none" in old.table()


@pytest.mark.parametrize("per_event", [1, 4])
def test_generator_weights_beside_the_jets_are_used_and_said(per_event):
    jets = sample(size=4000, per_event=per_event)
    weights = np.random.default_rng(4).exponential(1, len(jets)) - 0.1  # some are negative
    events = ak.zip({"FatJet": jets, "genWeight": weights}, depth_limit=1)
    given = derive(ITEM, jets, {"M": 0.1}, weights=weights)
    found = derive(ITEM, events, {"M": 0.1})
    assert found["M"].threshold() == given["M"].threshold()
    plain = derive(ITEM, events, {"M": 0.1}, weights=False)
    assert plain["M"].threshold() == derive(ITEM, jets, {"M": 0.1})["M"].threshold() != found["M"].threshold()
    said = [points.table().splitlines()[3] for points in (given, found, plain)]
    assert said == ["weights: given", "weights: genWeight of the table", "weights: none: each jet counts once"]


def test_decisions_are_none_safe_and_in_every_container():
    points = derive(ITEM, {"x": np.linspace(0, 1, 1001)}, {"M": 0.1})["M"]
    jets = ak.Array([[{"x": 0.95}, {"x": None}], [], [{"x": 0.5}, {"x": np.nan}]])
    got = points.passes(jets)
    assert got.to_list() == [[True, False], [], [False, False]]
    assert "?" not in str(got.type)
    assert ak.num(jets[got]).to_list() == [1, 0, 0]
    assert points.passes(jets[0, 0]) is True
    assert points.passes(jets[0, 1]) is False
    assert points.passes({"x": np.array([0.95, np.nan])}).tolist() == [True, False]
    assert points.passes(ak.Array({"FatJet_x": [[0.95], [0.1]]})).to_list() == [[True], [False]]
    assert points.passes(jets[:0]).to_list() == []
    binned = derive(ITEM, sample(), {"M": 0.1}, pt=[200, 600])["M"]
    assert binned.passes({"x": 5.0, "pt": 300.0}) is True
    assert binned.passes({"x": 5.0, "pt": None}) is False
    assert binned.passes({"x": np.array([5.0, 5.0]), "pt": np.array([300.0, np.nan])}).tolist() == [
        True,
        False,
    ]


def test_dask_awkward():
    dask_awkward = pytest.importorskip("dask_awkward", reason="dask-awkward is not installed")
    jets = sample(size=400)
    points = derive(ITEM, jets, {"M": 0.1}, pt=[200, 400, 600])["M"]
    lazy = points.passes(dask_awkward.from_awkward(jets, 2))
    assert isinstance(lazy, dask_awkward.Array)
    assert lazy.compute().to_list() == points.passes(jets).to_list()


def test_jets_without_a_score_are_counted():
    values = np.r_[np.linspace(0, 1, 500), np.full(7, np.nan)]
    points = derive(ITEM, {"x": values}, {"M": 0.1})
    assert points.record["jets"] == 500
    assert points.record["without_score"] == 7


def test_refused():
    jets = sample(size=400)
    with pytest.raises(ConfigError, match=r"'M': an efficiency lies between 0 and 1, got 1.5"):
        derive(ITEM, jets, {"M": 1.5})
    with pytest.raises(ConfigError, match=r"no working points"):
        derive(ITEM, jets, {})
    with pytest.raises(ConfigError, match=r"edges in pt must be at least two rising numbers"):
        derive(ITEM, jets, {"M": 0.1}, pt=[400, 300])
    with pytest.raises(ConfigError, match=r"edges in pt must be at least two rising numbers"):
        derive(ITEM, jets, {"M": 0.1}, pt=[200, 300, 300])
    with pytest.raises(InvalidValues, match=r"'M', pt 600-700 GeV: 0 jets .* too few"):
        derive(ITEM, jets, {"M": 0.2}, pt=[200, 600, 700])
    with pytest.raises(InvalidValues, match=r"'T', all jets: 400 jets \(effectively 400\) are too few"):
        derive(ITEM, jets, {"T": 0.001})
    with pytest.raises(InvalidValues, match=r"weight of event at position 3 is nan"):
        derive(ITEM, jets, {"M": 0.1}, weights=[1, 1, 1, np.nan] + [1] * 96)
    with pytest.raises(MissingColumns, match=r"bins in mass need the column 'msd'"):
        derive(ITEM, jets, {"M": 0.1}, mass=[0, 100], columns={"mass": "msd"})
    points = derive(ITEM, jets, {"M": 0.1}, pt=[200, 600])
    with pytest.raises(UnknownName, match=r"unknown working point.*'L'.*Known: M"):
        points["L"]
    with pytest.raises(UnknownName, match=r"unknown systematic: 'upp' \(nearest: up"):
        points["M"].threshold(pt=300.0, systematic="upp")
    with pytest.raises(ConfigError, match=r"depend on pt"):
        points["M"].threshold()
    with pytest.raises(MissingColumns, match=r"read pt from the column 'pt', which these jets lack"):
        points["M"].passes({"x": np.ones(2), "eta": np.ones(2)})


def test_files_that_are_not_working_points(tmp_path):
    path = tmp_path / "wp.json"
    with pytest.raises(InputFileError, match=r"cannot read .*No such file"):
        WorkingPoints.load(path)
    path.write_text("{")
    with pytest.raises(InputFileError, match=r"wp.json: not working points"):
        WorkingPoints.load(path)
    points = derive(ITEM, sample(size=400), {"M": 0.1})
    content = json.loads(points.to_string())
    described = json.loads(content["description"])
    described["jettagger"]["format"] = 9
    path.write_text(json.dumps({**content, "description": json.dumps(described)}))
    with pytest.raises(InputFileError, match=r"format 9, expected 2"):
        WorkingPoints.load(path)
    content["corrections"][0]["data"] = {"nodetype": "nothing"}
    path.write_text(json.dumps(content))
    with pytest.raises(InputFileError, match=r"correctionlib refuses it"):
        WorkingPoints.load(path)


# ---------------------------------------------------------------------------------------- what changes nothing


def thresholds(scores, weights, **changes):
    points = derive(ITEM, {"x": scores}, {"a": 0.2, "b": 0.4, "c": 0.7}, weights=weights, **changes)
    return {
        name: [point.threshold(systematic=key) for key in ("down", "nominal", "up")] for name, point in points.items()
    }


@given(st.integers(0, 1000), st.sampled_from([0.125, 4.0]), st.integers(1, 199))
@settings(deadline=None, max_examples=10)
def test_order_units_and_splitting_of_weights_change_no_threshold(seed, factor, cut):
    generator = np.random.default_rng(seed)
    scores, weights = generator.integers(0, 60, 200) / 8, generator.integers(1, 5, 200) / 4
    expected = thresholds(scores, weights)
    order = generator.permutation(200)
    assert thresholds(scores[order], weights[order]) == expected
    assert thresholds(scores, factor * weights) == expected
    # of scaled scores they scale with them
    scaled = thresholds(4 * scores, weights)
    for name, values in expected.items():
        finite = [value for value in values if value <= scores.max()]  # the next number above has no scale
        assert scaled[name][: len(finite)] == [4 * value for value in finite]
    # in lists of events, with weights of events
    lists = ak.Array([scores[:cut], scores[cut:]])
    of_events = thresholds(lists, np.array([1.0, 3.0]))
    assert of_events == thresholds(scores, np.repeat([1.0, 3.0], [cut, 200 - cut]))


@given(st.integers(0, 1000))
@settings(deadline=None, max_examples=10)
def test_no_more_than_the_fraction_passes_and_lower_ones_pass_too_many(seed):
    generator = np.random.default_rng(seed)
    scores, weights = generator.integers(0, 60, 200) / 8, generator.integers(1, 5, 200) / 4
    made = thresholds(scores, weights)
    for wanted, (down, nominal, up) in zip((0.2, 0.4, 0.7), made.values(), strict=True):
        assert down <= nominal <= up
        assert weights[scores >= nominal].sum() <= wanted * weights.sum() * (1 + 1e-9)
        below = scores[scores < nominal].max()
        assert weights[scores >= below].sum() > wanted * weights.sum()
    assert made["a"][1] >= made["b"][1] >= made["c"][1]


def test_missing_scores_and_places_change_no_threshold():
    generator = np.random.default_rng(2)
    scores, pt = generator.random(300), generator.uniform(200, 400, 300)
    wanted = {"M": 0.3}
    expected = derive(ITEM, {"x": scores, "pt": pt}, wanted, pt=[200, 300, 400])
    more = ak.Array({"x": [*scores, None, np.nan, 0.9, 0.9], "pt": [*pt, 250.0, 250.0, 199.9, np.nan]})
    made = derive(ITEM, more, wanted, pt=[200, 300, 400])
    assert made.record["bins"] == expected.record["bins"]
    assert (made.record["jets"], made.record["without_score"]) == (302, 2)
    assert made["M"].passes(more).tolist()[-4:] == [False] * 4
    assert made["M"].passes(more).tolist()[:-4] == expected["M"].passes({"x": scores, "pt": pt}).tolist()


@pytest.mark.parametrize("bins", [{}, {"pt": [200, 300, np.inf]}, {"pt": [200, 400], "mass": [0, 50, 100, 250]}])
def test_the_text_holds_all_there_is(tmp_path, bins):
    jets = sample(size=4000)
    points = derive(ITEM, jets, {"Lose → 10 %": 0.1, "M" * 100: 0.05}, name="μ", **bins)
    points.save(tmp_path / "wp.json")
    for again in (
        WorkingPoints.load(tmp_path / "wp.json"),
        pickle.loads(pickle.dumps(points)),
        WorkingPoints(points.to_string()),
    ):
        assert again == points
        assert (again.efficiencies, again.inputs, again.record) == (points.efficiencies, points.inputs, points.record)
        for name in points:
            assert again[name].passes(jets).tolist() == points[name].passes(jets).tolist()
    assert points != derive(ITEM, jets, {"M": 0.1}, **bins)
    assert points != points.to_string()
    rows = points.table().splitlines()[5:]
    assert len(rows) == 1 + 2 * math.prod(len(edges) - 1 for edges in bins.values())
    assert rows[0].split("  ")[0].strip() == "working point"


def test_edges_belong_to_the_bin_above():
    pt = np.repeat([200.0, 300.0, 400.0], 100)
    scores = np.tile(np.arange(100) / 100, 3) + (pt >= 300)  # of the upper bin above one
    points = derive(ITEM, {"x": scores, "pt": pt}, {"M": 0.25}, pt=[200, 300, 400])
    assert [entry["jets"] for entry in points.record["bins"]] == [100, 100]
    threshold = points["M"].threshold
    assert threshold(pt=200.0) == threshold(pt=299.999) == 0.75
    assert threshold(pt=300.0) == threshold(pt=399.999) == 1.75
    assert threshold(pt=199.999) == threshold(pt=400.0) == NEVER
    np.testing.assert_array_equal(threshold(pt=np.array([200.0, 400.0])), [0.75, NEVER])
    one = {"x": 0.8, "pt": 250.0}
    assert points["M"].passes(one) is True
    assert points["M"].passes({**one, "pt": 350.0}) is False
    assert points["M"].passes({**one, "pt": None}) is False
    assert points["M"].passes({**one, "x": None}) is False
