"""Histograms: what is filled, what is refused, files that lose nothing, ROOT export."""

import gzip
import json

import awkward as ak
import hist
import numpy as np
import pytest
import uhi.io.json
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st

from jettagger.config.yamlfile import read_yaml
from jettagger.errors import (
    ConfigError,
    InputFileError,
    InvalidValues,
    MismatchError,
    OutputError,
    UnknownName,
    WrongType,
)
from jettagger.histograms import (
    AxisSpec,
    HistSpec,
    add,
    categories_of,
    equal,
    fine_edges,
    load,
    pick,
    save,
    sort_categories,
    to_root,
    variables_of,
)

MASS = AxisSpec("mass", bins=(4, 0, 200), label="jet mass", unit="GeV")
SPEC = HistSpec("mass", [MASS])
PLACE = {"dataset": "tt", "region": "SR", "variation": "nominal"}


def filled(seed=1, datasets=("tt", "qcd"), axes=(MASS,)):
    spec = HistSpec("mass", axes)
    h = spec.make()
    generator = np.random.default_rng(seed)
    for dataset in datasets:
        for region in ("SR", "CR"):
            values = {axis.name: generator.normal(100, 60, 50) for axis in axes}
            spec.fill(h, values, generator.normal(1, 1, 50), dataset=dataset, region=region, variation="nominal")
    return h


# ---------------------------------------------------------------------------------------- specifications


def test_names_labels_and_units():
    h = SPEC.make()
    assert [axis.name for axis in h.axes] == ["dataset", "region", "variation", "mass"]
    assert h.axes["mass"].label == "jet mass [GeV]"
    assert h.storage_type is hist.storage.Weight
    assert h.name == "mass"
    assert AxisSpec("x", edges=(0, 1, 3)).make().edges.tolist() == [0, 1, 3]
    assert AxisSpec("x", edges=(0, 1)).title == "x"
    assert SPEC.needs == ("mass",)
    assert HistSpec("r", [AxisSpec("r", bins=(2, 0, 1), expression="FatJet.mass / FatJet.pt")]).needs == (
        "FatJet.mass",
        "FatJet.pt",
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "a b", "bins": (1, 0, 1)}, "letters, digits"),
        ({"name": "x"}, "either bins"),
        ({"name": "x", "bins": (1, 0, 1), "edges": (0, 1)}, "either bins"),
        ({"name": "x", "bins": (0, 0, 1)}, "bins must be"),
        ({"name": "x", "bins": (2, 1, 0)}, "bins must be"),
        ({"name": "x", "bins": (2, 0, float("nan"))}, "bins must be"),
        ({"name": "x", "edges": (0, 0, 1)}, "rising"),
        ({"name": "x", "edges": (0,)}, "at least two"),
        ({"name": "x", "edges": (0, 1), "expression": "import os"}, "axis 'x': position"),
    ],
)
def test_bad_axes(arguments, message):
    with pytest.raises(ConfigError, match=message):
        AxisSpec(**arguments)


def test_bad_histograms():
    with pytest.raises(ConfigError, match=r"has no axis"):
        HistSpec("x", [])
    with pytest.raises(ConfigError, match=r"two axes of the same name"):
        HistSpec("x", [AxisSpec("region", bins=(1, 0, 1))])


def test_from_yaml():
    text = """
mass: {bins: [40, 50, 250], label: jet mass, unit: GeV, expression: FatJet.mass}
plane:
  counts: candidates
  axes:
    mass: {edges: [0, 100, 200]}
    score: {bins: [10, 0, 1], expression: hbb}
"""
    document = read_yaml(text, name="search.yaml")
    specs = {
        name: HistSpec.from_dict(record, name, lambda *keys, name=name: document.where(name, *keys))
        for name, record in document.data.items()
    }
    assert specs["mass"].axes[0] == AxisSpec("mass", (40, 50, 250), None, "jet mass", "GeV", "FatJet.mass")
    assert specs["plane"].label == "candidates"
    assert [axis.name for axis in specs["plane"].axes] == ["mass", "score"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x: {bin: [1, 0, 1]}", r"line 1: unknown key 'bin' \(nearest: bins"),
        ("x:\n  bins: [1, 0, 1]\n  units: GeV", r"line 3: unknown key 'units' \(nearest: unit"),
        ("x:\n  bins: 3", "'bins' must be a list of numbers, got 3"),
        ("x:\n  bins: [1, 0, b]", "must be a list of numbers"),
        ("x:\n  bins: [1, 1, 0]", "axis 'x': bins must be"),
        ("x:\n  bins: [1, 0, 1]\n  label: 3", "'label' must be text"),
        ("x: 3", "must be a mapping, got 3"),
        ("x: {axes: 3}", "'axes' must be a mapping"),
        ("x: {axes: {y: {bins: [1, 0, 1]}}, bins: [1, 0, 1]}", "unknown key 'bins'"),
    ],
)
def test_bad_yaml(text, message):
    document = read_yaml(text, name="search.yaml")
    with pytest.raises(ConfigError, match=f"search.yaml.*{message}"):
        HistSpec.from_dict(document.data["x"], "x", lambda *keys: document.where("x", *keys))


# ---------------------------------------------------------------------------------------- filling


# Not closer to an edge than rounding: boost-histogram puts -5e-324 into a bin that begins at 0.
numbers = st.floats(-50, 250).map(lambda value: round(value, 3))


@given(st.lists(st.tuples(numbers, st.floats(-3, 3)), max_size=50))
@settings(deadline=None)
def test_contents_are_those_of_numpy(entries):
    values, weights = np.array(entries, dtype=float).reshape(-1, 2).T
    h = SPEC.make()
    assert SPEC.fill(h, {"mass": values}, weights, **PLACE) == 0
    counts, _ = np.histogram(values[values < 200], bins=4, range=(0, 200), weights=weights[values < 200])
    squares, _ = np.histogram(values[values < 200], bins=4, range=(0, 200), weights=weights[values < 200] ** 2)
    inside = pick(h)
    np.testing.assert_allclose(inside.values(), counts, atol=1e-12)
    np.testing.assert_allclose(inside.variances(), squares, atol=1e-12)
    assert inside.sum(flow=True).value == pytest.approx(weights.sum(), abs=1e-9)


def test_jagged_values_with_event_weights_and_missing_ones():
    h = SPEC.make()
    jets = ak.Array([{"mass": [60.0, None]}, {"mass": []}, {"mass": [np.nan, 160.0]}])
    assert SPEC.fill(h, jets, [2.0, 9.0, 3.0], **PLACE) == 2
    assert pick(h).values().tolist() == [0, 2, 0, 3]
    assert SPEC.fill(h, jets, **PLACE) == 2
    assert SPEC.fill(h, jets, 0.5, **PLACE) == 2
    assert pick(h).values().tolist() == [0, 3.5, 0, 4.5]


def test_two_variables_are_dropped_together():
    spec = HistSpec("plane", [MASS, AxisSpec("x", bins=(2, 0, 1))], categories=[])
    h = spec.make()
    assert spec.fill(h, {"mass": [10.0, None, 10.0], "x": [0.1, 0.1, np.nan]}) == 2
    assert h.values().sum() == 1


def test_refused_when_filling():
    h = SPEC.make()
    values = {"mass": np.array([1.0, 2.0])}
    with pytest.raises(InvalidValues, match=r"'mass': weight of event 78 \(position 1\) is nan; 1 of 2"):
        SPEC.fill(h, values, np.array([1.0, np.nan]), events=[77, 78], **PLACE)
    with pytest.raises(InvalidValues, match=r"weight of all events is inf"):
        SPEC.fill(h, values, np.inf, **PLACE)
    with pytest.raises(MismatchError, match=r"different lengths: \[2, 3\]"):
        SPEC.fill(h, values, np.ones(3), **PLACE)
    with pytest.raises(MismatchError, match=r"do not fit together"):
        SPEC.fill(h, ak.Array([{"mass": [1.0]}, {"mass": [1.0]}]), ak.Array([[1.0], [1.0, 2.0]]), **PLACE)
    with pytest.raises(UnknownName, match=r"'mass'.*nearest: Mass"):
        SPEC.fill(h, {"Mass": np.ones(1)}, **PLACE)
    with pytest.raises(UnknownName, match=r"unknown category.*'sample'"):
        SPEC.fill(h, values, sample="x", **PLACE)
    with pytest.raises(ConfigError, match=r"no value for the categories region"):
        SPEC.fill(h, values, dataset="tt", variation="nominal")
    assert h.sum(flow=True).value == 0


# ------------------------------------------------------------------------------------------- several weights at a time


@given(
    entries=st.lists(st.tuples(numbers | st.just(np.nan), st.floats(-1, 2), st.floats(-3, 3)), max_size=40),
    data=st.data(),
)
@settings(deadline=None)
def test_several_weights_at_a_time_are_those_one_after_the_other(entries, data):
    mass, x, nominal = np.array(entries, dtype=float).reshape(-1, 3).T
    names = data.draw(st.permutations(["dataset", "variation"]))
    spec = HistSpec("plane", [MASS, AxisSpec("x", edges=[0, 0.3, 1])], categories=names)
    together, apart = spec.make(), spec.make()
    weights = {"nominal": nominal, "up": 1.5 * nominal, "down": nominal**2}
    for dataset in ("tt", "QCD", "tt"):  # the last one into categories that are there
        chosen = data.draw(st.permutations(sorted(weights)))
        missing = spec.fill_variations(
            together, {"mass": mass, "x": x}, {name: weights[name] for name in chosen}, dataset=dataset
        )
        assert missing == np.count_nonzero(np.isnan(mass))
        for name in chosen:
            assert spec.fill(apart, {"mass": mass, "x": x}, weights[name], dataset=dataset, variation=name) == missing
    assert categories_of(together) == categories_of(apart)
    np.testing.assert_allclose(together.values(flow=True), apart.values(flow=True), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(together.variances(flow=True), apart.variances(flow=True), rtol=1e-12, atol=1e-12)


def test_several_weights_of_jagged_values():
    h = SPEC.make()
    jets = ak.Array([{"mass": [60.0, None]}, {"mass": []}, {"mass": [np.nan, 160.0]}])
    weights = {"nominal": [2.0, 9.0, 3.0], "up": np.ones(3)}
    assert SPEC.fill_variations(h, jets, weights, dataset="tt", region="all") == 2
    assert pick(h, variation="nominal").values().tolist() == [0, 2, 0, 3]
    assert pick(h, variation="up").values().tolist() == [0, 1, 0, 1]


def test_several_weights_that_are_refused():
    h = SPEC.make()
    values, place = {"mass": np.array([1.0, 2.0])}, {"dataset": "tt", "region": "all"}
    with pytest.raises(InvalidValues, match=r"weight of 'up' of event 78 \(position 1\) is nan; 1 of 2"):
        SPEC.fill_variations(h, values, {"nominal": np.ones(2), "up": [1.0, np.nan]}, events=[77, 78], **place)
    with pytest.raises(MismatchError, match=r"3 weights of 'up', expected 2"):
        SPEC.fill_variations(h, values, {"nominal": np.ones(2), "up": np.ones(3)}, **place)
    with pytest.raises(InvalidValues, match=r"got no weights"):
        SPEC.fill_variations(h, values, {}, **place)
    with pytest.raises(ConfigError, match=r"'variation' is the axis of the weights"):
        SPEC.fill_variations(h, values, {"up": np.ones(2)}, variation="up", **place)
    with pytest.raises(UnknownName, match=r"unknown category.*'variatoin'.*nearest: variation"):
        SPEC.fill_variations(h, values, {"up": np.ones(2)}, axis="variatoin", **place)
    with pytest.raises(ConfigError, match=r"no value for the categories region"):
        SPEC.fill_variations(h, values, {"up": np.ones(2)}, dataset="tt")
    small = HistSpec("mass", [MASS], max_bytes=20_000)
    with pytest.raises(ConfigError, match=r"would take"):
        small.fill_variations(h, values, {f"up{number}": np.ones(2) for number in range(500)}, **place)
    assert h.sum(flow=True).value == 0


# ---------------------------------------------------------------------------------------- looking, adding


def test_pick():
    h = filled()
    assert categories_of(h) == {"dataset": ["tt", "qcd"], "region": ["SR", "CR"], "variation": ["nominal"]}
    assert [axis.name for axis in variables_of(h)] == ["mass"]
    tt = pick(h, dataset="tt", region="SR")
    assert tt.values(flow=True).tolist() == h["tt", "SR", "nominal", :].values(flow=True).tolist()
    both = pick(h, dataset=["tt", "qcd"], region="SR")
    np.testing.assert_allclose(both.variances(), (tt + pick(h, dataset="qcd", region="SR")).variances())
    with pytest.raises(UnknownName, match=r"unknown dataset.*'ttt' \(nearest: tt"):
        pick(h, dataset="ttt")
    with pytest.raises(UnknownName, match=r"unknown category.*'sample'"):
        pick(h, sample="tt")
    with pytest.raises(UnknownName, match=r"none"):
        pick(SPEC.make())


def test_order_of_categories_does_not_matter():
    a, b = filled(1, ["a"]), filled(2, ["b"])
    one, two = a + b, b + a
    assert categories_of(two)["dataset"] == ["b", "a"]
    assert equal(one, two)
    assert categories_of(sort_categories(two))["dataset"] == ["a", "b"]
    assert sort_categories(two).axes["dataset"].traits.growth
    assert not equal(one, filled(seed=2, datasets=("a", "b")))
    assert not equal(one, filled(axes=(AxisSpec("mass", bins=(5, 0, 200)),)))
    assert equal(one * 1.0000001, one, rtol=1e-6)


def test_adding():
    first, second = {"mass": filled(1, ["tt"])}, {"mass": filled(2, ["qcd"]), "more": filled(3)}
    total = add(first, second)
    assert categories_of(total["mass"])["dataset"] == ["qcd", "tt"]
    assert equal(total["more"], second["more"])
    np.testing.assert_allclose(
        pick(total["mass"]).values(), pick(first["mass"]).values() + pick(second["mass"]).values()
    )
    with pytest.raises(MismatchError, match=r"'mass' has different axes"):
        add(first, {"mass": filled(axes=(AxisSpec("mass", bins=(5, 0, 200)),))})


# ---------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("name", ["h.json", "h.json.gz"])
def test_files_lose_nothing(tmp_path, name):
    plane = filled(axes=(MASS, AxisSpec("x", edges=(0, 0.1, 100))))
    counts = hist.Hist.new.IntCat([1, 5], name="n").Int64()
    counts.fill([1, 1, 5])
    given_ = {"mass": filled(), "plane": plane, "counts": counts, "empty": SPEC.make()}
    save(given_, tmp_path / name, {"config": {"a": 1}})
    again, record = load(tmp_path / name)
    assert record == {"config": {"a": 1}}
    assert list(again) == list(given_)
    for key, histogram in given_.items():
        assert again[key] == histogram
        assert again[key].name == histogram.name
        assert again[key].label == histogram.label
        assert [a.name for a in again[key].axes] == [a.name for a in histogram.axes]
        assert [a.label for a in again[key].axes] == [a.label for a in histogram.axes]
        assert [a.traits for a in again[key].axes] == [a.traits for a in histogram.axes]
    # what was read can be filled on
    SPEC.fill(again["empty"], {"mass": np.ones(1)}, **PLACE)
    save(given_, tmp_path / ("again" + name), {"config": {"a": 1}})
    if name.endswith(".json"):
        assert (tmp_path / name).read_bytes() == (tmp_path / ("again" + name)).read_bytes()


def test_a_file_of_another_version(tmp_path):
    path = tmp_path / "h.json"
    save({"mass": filled()}, path)
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "version": 2, "jettagger": "9.9"}))
    with pytest.raises(InputFileError, match=r"h.json: histogram file of version 2, expected 1; .*jettagger 9.9"):
        load(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is not a histogram file"),
        (b"[]", "is not a histogram file of jettagger"),
        (b"{}", "is not a histogram file of jettagger"),
        (b'{"format": "jettagger histograms", "version": 1}', "damaged"),
        (
            b'{"format": "jettagger histograms", "version": 1, "record": {}, "histograms": {"a": 3}}',
            "damaged",
        ),
        (b"\xff\xfe", "is not a histogram file"),
    ],
)
def test_files_that_are_something_else(tmp_path, content, message):
    path = tmp_path / "h.json"
    path.write_bytes(content)
    with pytest.raises(InputFileError, match=message):
        load(path)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputFileError, match=r"cannot read .*: No such file"):
        load(tmp_path / "absent.json")
    path = tmp_path / "h.json.gz"
    path.write_bytes(b"plain")
    with pytest.raises(InputFileError, match=r"cannot read"):
        load(path)
    path.write_bytes(gzip.compress(b"x" * 1000)[:20])
    with pytest.raises(InputFileError, match=r"not a histogram file"):
        load(path)
    with pytest.raises(OutputError):
        save({}, tmp_path / "absent" / "h.json")


# ---------------------------------------------------------------------------------------- ROOT


def test_root_export(tmp_path):
    plane = filled(axes=(MASS, AxisSpec("x", edges=(0, 0.1, 100))))
    path = tmp_path / "h.root"
    names = to_root({"mass": filled(), "plane": plane}, path, "{histogram}/{region}/{dataset}_{variation}")
    assert len(names) == 8
    assert "plane/CR/qcd_nominal" in names
    with uproot.open(path) as file:
        one, expected = file["mass/SR/tt_nominal"], pick(filled(), region="SR", dataset="tt")
        assert one.classname == "TH1D"
        assert one.values(flow=True).tolist() == expected.values(flow=True).tolist()
        assert one.variances(flow=True).tolist() == expected.variances(flow=True).tolist()
        assert one.axis().edges().tolist() == expected.axes[0].edges.tolist()
        assert one.axis().member("fTitle") == "jet mass [GeV]"
        two = file["plane/CR/qcd_nominal"]
        assert two.classname == "TH2D"
        np.testing.assert_array_equal(two.values(), pick(plane, region="CR", dataset="qcd").values())
    assert to_root({"mass": filled()}, path)[0] == "mass/tt_SR_nominal"


def test_root_export_refuses(tmp_path):
    path = tmp_path / "h.root"
    three = HistSpec("x", [AxisSpec(name, bins=(1, 0, 1)) for name in "abc"], categories=[]).make()
    with pytest.raises(ConfigError, match=r"'x' has 3 variables"):
        to_root({"x": three}, path)
    with pytest.raises(ConfigError, match=r"gives the name 'mass' twice"):
        to_root({"mass": filled()}, path, "{histogram}")
    with pytest.raises(ConfigError, match=r"'sample'. Allowed: {histogram}, {categories}, {dataset}"):
        to_root({"mass": filled()}, path, "{sample}")
    assert not path.exists()


# ---------------------------------------------------------------------------------------- what changes nothing


entries_of_events = st.lists(
    st.tuples(st.sampled_from(["tt", "qcd", "W → qq̄"]), st.integers(-30, 240), st.integers(-8, 8)),
    min_size=1,
    max_size=30,
)


def of_events(entries):
    """Filled event by event; weights are multiples of 1/4, so that sums are exact in any order."""
    h = SPEC.make()
    for dataset, mass, quarters in entries:
        SPEC.fill(h, {"mass": np.array([mass + 0.5])}, quarters / 4, **{**PLACE, "dataset": dataset})
    return h


@given(entries_of_events, st.randoms(use_true_random=False), st.integers(0, 30))
@settings(deadline=None, max_examples=15)
def test_neither_order_nor_splitting_of_events_matters(entries, random, cut):
    whole, shuffled = of_events(entries), list(entries)
    random.shuffle(shuffled)
    assert equal(of_events(shuffled), whole)
    parts = [{"mass": of_events(part)} for part in (entries[:cut], entries[cut:]) if part]
    total = add(*parts)["mass"]
    assert equal(total, whole)
    assert categories_of(total)["dataset"] == sorted({dataset for dataset, _, _ in entries})
    # each category is what it would be alone
    for dataset in categories_of(whole)["dataset"]:
        alone = of_events([entry for entry in entries if entry[0] == dataset])
        assert pick(whole, dataset=dataset) == pick(alone)


@given(entries_of_events)
@settings(deadline=None, max_examples=25)
def test_sorting_keeps_each_category_and_changes_only_the_copy(entries):
    h = of_events(entries)
    before = categories_of(h)
    ordered = sort_categories(h)
    assert categories_of(h) == before
    assert categories_of(ordered) == {name: sorted(values) for name, values in before.items()}
    for dataset in before["dataset"]:
        assert pick(ordered, dataset=dataset) == pick(h, dataset=dataset)
    SPEC.fill(ordered, {"mass": np.ones(1)}, **PLACE)  # a copy also where nothing had to be sorted
    assert categories_of(h) == before
    assert not equal(ordered, h)


def test_sums_leave_the_terms_as_they_are():
    first, second = {"mass": filled(1, ["b", "a"])}, {"mass": filled(2, ["a"]), "other": filled(3)}
    copies = {name: histogram.copy() for name, histogram in {"one": first["mass"], **second}.items()}
    total = add(first, second)
    for histogram in total.values():
        SPEC.fill(histogram, {"mass": np.ones(5)}, **PLACE)
    assert first["mass"] == copies["one"]
    assert second["mass"] == copies["mass"]
    assert second["other"] == copies["other"]
    assert add({}) == {}
    assert equal(add(first)["mass"], first["mass"])


def test_nothing_filled_leaves_the_category_with_nothing_in_it():
    for values in (np.zeros(0), np.array([np.nan]), ak.Array([[], []])):
        h = SPEC.make()
        assert SPEC.fill(h, {"mass": values}, **PLACE) == int(
            np.isnan(ak.to_numpy(ak.flatten(values, axis=None))).sum()
        )
        assert categories_of(h) == {name: [value] for name, value in PLACE.items()}
        assert h.sum(flow=True).value == h.sum(flow=True).variance == 0


def test_ends_of_bins_and_infinite_values():
    h = SPEC.make()
    values = [0.0, 50.0, 199.9, 200.0, -0.1, np.inf, -np.inf]
    assert SPEC.fill(h, {"mass": np.array(values)}, **PLACE) == 0
    assert pick(h).values(flow=True).tolist() == [2, 1, 1, 0, 1, 2]


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({}, True),
        ({"label": "mass of the jet"}, False),
        ({"unit": "TeV"}, False),
        ({"bins": (4, 0, 201)}, False),
        ({"bins": None, "edges": (0, 50, 100, 150, 200)}, False),
        ({"name": "m", "expression": "mass"}, False),
    ],
)
def test_histograms_of_other_axes_are_not_equal(changes, same):
    axis = AxisSpec(**{"name": "mass", "bins": (4, 0, 200), "label": "jet mass", "unit": "GeV", **changes})
    assert equal(SPEC.make(), HistSpec("mass", [axis]).make()) is same


def test_equal_compares_variances_and_flow():
    one = filled()
    for part, name in ((one.view(flow=True)[0, 0, 0, 2:3], "variance"), (one.view(flow=True)[0, 0, 0, :1], "value")):
        other = one.copy()
        assert equal(one, other)
        part[name] += 1
        assert not equal(one, other)
        part[name] -= 1


# ---------------------------------------------------------------------------------------- size


def test_the_size_in_memory_is_that_of_the_histogram():
    spec = HistSpec("plane", [AxisSpec("x", bins=(3, 0, 1)), AxisSpec("y", edges=(0, 1, 5))], categories=["dataset"])
    assert spec.n_bins == (3 + 2) * (2 + 2)
    h = spec.make()
    for number in range(12):
        spec.fill(h, {"x": np.ones(1), "y": np.ones(1)}, dataset=f"sample{number}")
    size = h.view(flow=True).nbytes
    small = HistSpec("plane", spec.axes, categories=["dataset"], max_bytes=size)
    small.require_room(12)
    small.fill(h, {"x": np.ones(1), "y": np.ones(1)}, dataset="sample3")  # one that is there needs no room
    with pytest.raises(ConfigError, match=r"'plane' would take 4\.16 kB: 20 bins .* times 13 combinations of dataset;"):
        small.fill(h, {"x": np.ones(1), "y": np.ones(1)}, dataset="new")
    assert h.view(flow=True).nbytes == size
    with pytest.raises(ConfigError, match=r"times 10 combinations of dataset, region and variation; at most 100 B"):
        HistSpec("mass", [MASS], max_bytes=100)
    with pytest.raises(ConfigError, match=r"times 10 combinations of nothing"):
        HistSpec("mass", [MASS], categories=[], max_bytes=100)
    with pytest.raises(ConfigError, match=r"more than 1e20 bins"):
        HistSpec("huge", [AxisSpec(name, bins=(10**8, 0, 1)) for name in "abc"])


def test_the_size_is_read_from_files():
    assert HistSpec.from_dict({"bins": [4, 0, 1], "max_size": "1 MiB"}, "x").max_bytes == 2**20
    whole = {"axes": {"x": {"bins": [4, 0, 1]}}, "max_size": 5000, "counts": "events"}
    made = HistSpec.from_dict(whole, "plane")
    assert (made.max_bytes, made.label, made.make().label) == (5000, "events", "events")
    with pytest.raises(ConfigError, match=r"would take 960 B: 6 bins .* at most 900 B"):
        HistSpec.from_dict({"bins": [4, 0, 1], "max_size": "900 B"}, "x")


# ---------------------------------------------------------------------------------------- bins


@given(st.integers(1, 50), st.integers(-100, 100), st.integers(1, 100))
@settings(deadline=None, max_examples=25)
def test_bins_are_those_of_numpy(number, low, width):
    axis = AxisSpec("x", bins=(number, low, low + width)).make()
    np.testing.assert_allclose(axis.edges, np.linspace(low, low + width, number + 1), atol=1e-9)
    edges = tuple(float(edge) for edge in axis.edges)
    given_edges = AxisSpec("x", edges=edges)
    assert given_edges.n_bins == AxisSpec("x", bins=(number, low, low + width)).n_bins == number
    assert given_edges.make().edges.tolist() == list(edges)


def test_bins_for_curves_of_any_discriminant():
    edges = np.array(fine_edges())
    assert (np.diff(edges) > 0).all()
    assert (edges[0], edges[-1]) == (-1000, 1000)
    assert {0.0, 0.5, 1 - 1e-8, 1e-8, -1e-8, 30.0} <= set(edges)
    decade = edges[(edges >= 1e-5) & (edges < 1e-4)]
    assert len(decade) == 250
    np.testing.assert_allclose(decade[1:] / decade[:-1], 10 ** (1 / 250), rtol=1e-4)  # the same relative width
    near_one = 1 - edges[(edges > 1 - 1e-4) & (edges <= 1 - 1e-5)][::-1]
    np.testing.assert_allclose(near_one, decade, rtol=1e-6)


def test_a_file_is_what_uhi_writes(tmp_path):
    """Written in pieces, for arrays of any number of axes, byte for byte."""
    rng = np.random.default_rng(3)
    names = hist.axis.StrCategory(["a", "b", "c"], name="dataset", label="data set")
    large = hist.Hist(names, hist.axis.Regular(300, 0, 1, name="x"), hist.axis.Regular(200, 0, 1, name="y"), name="l")
    large.view(flow=True)[...] = rng.random(large.view(flow=True).shape).round(3)
    weighted = hist.Hist(names, hist.axis.Regular(5, 0, 1), storage=hist.storage.Weight())
    weighted.fill(["a", "b"], [0.1, 0.7], weight=[0.5, np.nan])
    histograms = {"large": large, "weighted": weighted, "one": hist.Hist(hist.axis.Regular(2, 0, 1))}
    save(histograms, tmp_path / "h.json", {"note": "ü", "cuts": np.array([1.0, 2.5]), "n": np.int64(3)})
    text = (tmp_path / "h.json").read_text(encoding="utf-8")
    assert text.endswith(f'"histograms": {json.dumps(histograms, default=uhi.io.json.default)}}}')
    save({}, tmp_path / "none.json")
    assert load(tmp_path / "none.json")[0] == {}
    found, record = load(tmp_path / "h.json")
    assert record == {"note": "ü", "cuts": [1.0, 2.5], "n": 3}
    assert found["large"] == large


def test_what_json_cannot_hold_leaves_no_file(tmp_path):
    good = hist.Hist(hist.axis.Regular(2, 0, 1))
    strange = hist.Hist(hist.axis.Regular(2, 0, 1, label="\0array 0"))
    for histograms, record in (({"good": good, "strange": strange}, {}), ({"good": good}, {"set": {1}})):
        with pytest.raises(WrongType, match=r"save\(\): "):
            save(histograms, tmp_path / "h.json", record)
        assert not list(tmp_path.iterdir())
