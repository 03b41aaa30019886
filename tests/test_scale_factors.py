"""Scale factors in files: what correctionlib alone reads, files of others, bad files, jets outside of the bins."""

from __future__ import annotations

import csv
import gzip
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import correctionlib
import numpy as np
import pytest
from correctionlib import schemav2
from shown import check_shown

from jettagger.calibration import (
    BandYields,
    BinAxis,
    OutsideBins,
    ScaleFactors,
    YieldVariation,
    formula_factors,
)
from jettagger.errors import ConfigError, InputFileError, InvalidValues, JettaggerError, MismatchError, UnknownName

PT = BinAxis("pt", [300, 400, 600])
ABSETA = BinAxis("abseta", [0, 1, 2.4])
MASS = BinAxis("mass", [50, 100, 200])


def make(axes: list[BinAxis], categories: tuple[str, ...] = ("signal", "other"), **options: Any) -> ScaleFactors:
    """Factors with a number of its own in each place."""
    shape = (len(categories), 2, *(axis.size for axis in axes))
    rng = np.random.default_rng(5)
    values = 0.8 + 0.4 * rng.random(shape)
    sources = {}
    for name in ("statistics", "jes", "shower"):
        up, down = 0.1 * rng.random(shape), 0.1 * rng.random(shape)
        sources[name] = (values + up, values - down)
    sources["shower"] = (sources["shower"][1], sources["shower"][0])  # up is below
    arguments: dict[str, Any] = {
        "points": ["loose", "tight"],
        "thresholds": [0.5, 0.9],
        "axes": axes,
        "categories": categories,
        "discriminant": "HbbvsQCD",
        "correlated": ["jes", "shower"],
        "record": {"era": "2018"},
    }
    return ScaleFactors.make("hbb", values, sources, **{**arguments, **options})


def jets(number: int = 100_000) -> dict[str, Any]:
    """Jets inside of the bins and beyond."""
    rng = np.random.default_rng(11)
    return {
        "pt": rng.uniform(250, 700, number),
        "eta": rng.uniform(-2.7, 2.7, number),
        "msoftdrop": rng.uniform(0, 250, number),
    }


def by_hand(made: ScaleFactors, jets: dict[str, Any], values: Any, size: float, doubled: bool = True) -> Any:
    """Numbers in bins for jets, without correctionlib: nominal plus a shift that is doubled outside."""
    index, outside = [], np.zeros(len(jets["pt"]), dtype=bool)
    for axis in made.axes or ():
        numbers = np.abs(jets["eta"]) if axis.name == "abseta" else jets[axis.column]
        index.append(np.clip(np.digitize(numbers, axis.edges) - 1, 0, axis.size - 1))
        outside |= (numbers < axis.edges[0]) | (numbers >= axis.edges[-1])
    nominal, shifted = (array[tuple(index)] for array in values)
    return nominal + (shifted - nominal) * np.where(outside & doubled, size, 1.0)


# ------------------------------------------------------------------------------------------------ our layouts


@pytest.mark.parametrize("axes", [[PT], [PT, MASS], [ABSETA, PT]], ids=["pt", "pt and mass", "abseta and pt"])
def test_correctionlib_alone_reads_our_numbers(tmp_path: Path, axes: list[BinAxis]) -> None:
    made, sample = make(axes), jets()
    made.save(tmp_path / "hbb.json")
    read = correctionlib.CorrectionSet.from_file(str(tmp_path / "hbb.json"))["hbb"]
    columns = [np.abs(sample["eta"]) if axis.name == "abseta" else sample[axis.column] for axis in axes]
    for place, category in enumerate(made.categories):
        for number, point in enumerate(made.points):
            values = made.values[place, number]
            assert np.array_equal(
                read.evaluate("nominal", point, category, *columns), by_hand(made, sample, (values, values), 1)
            )
            for source, sides in made.sources.items() if (place, number) == (1, 1) else ():
                for direction, side in zip(("up", "down"), sides, strict=True):
                    expected = by_hand(made, sample, (values, side[place, number]), 2)
                    got = read.evaluate(f"{direction}_{source}", point, category, *columns)
                    assert np.allclose(got, expected, rtol=1e-13)
                    sign = 1 if direction == "up" else -1
                    assert np.array_equal(made.evaluate(point, category, sample, source, sign), got)


def test_sums_of_sources_are_in_quadrature() -> None:
    made = make([PT])
    shifts = {name: np.stack([up, down]) - made.values for name, (up, down) in made.sources.items()}
    for direction in (1, -1):
        squares = {name: np.maximum(direction * s, 0).max(axis=0) ** 2 for name, s in shifts.items()}
        for key, names in (
            ("total", list(shifts)),
            ("correlated", ["jes", "shower"]),
            ("uncorrelated", ["statistics"]),
        ):
            expected = made.values + direction * np.sqrt(sum(squares[name] for name in names))
            assert np.allclose(made._array(key, direction), expected)


@pytest.mark.parametrize("axes", [[PT], [PT, ABSETA], [ABSETA, PT]], ids=["pt", "pt and abseta", "abseta and pt"])
@pytest.mark.parametrize("outside", [OutsideBins(), OutsideBins("one", 0.3)], ids=["clamp", "one"])
def test_the_layouts_of_the_experiments_have_our_numbers(
    tmp_path: Path, axes: list[BinAxis], outside: OutsideBins
) -> None:
    made, sample = make(axes, outside=outside), jets()
    made.save(tmp_path / "btag.json.gz", "b_tagging", flavors={"signal": 5, "other": 0})
    made.save(tmp_path / "jet.json", "jet_tagging")
    btag = correctionlib.CorrectionSet.from_file(str(tmp_path / "btag.json.gz"))
    jet = correctionlib.CorrectionSet.from_file(str(tmp_path / "jet.json"))
    assert list(btag) == ["hbb", "hbb_wp_values"]
    assert btag["hbb_wp_values"].evaluate("tight") == 0.9
    assert [item.name for item in btag["hbb"].inputs] == ["systematic", "working_point", "flavor", "abseta", "pt"]
    eta, pt = sample["eta"], sample["pt"]
    for category, flavor in (("signal", 5), ("other", 0)):
        name = f"hbb_{category}"
        assert [item.name for item in jet[name].inputs] == ["eta", "pt", "systematic", "workingpoint"]
        for source, direction, theirs, word in (
            ("", 0, "central", "nom"),
            ("total", 1, "up", "up"),
            ("total", -1, "down", "down"),
            ("jes", 1, "up_jes", ""),
            ("statistics", -1, "down_statistics", ""),
            ("correlated", 1, "up_correlated", ""),
            ("uncorrelated", -1, "down_uncorrelated", ""),
        ):
            expected = made.evaluate("tight", category, sample, source, direction)
            got = btag["hbb"].evaluate(theirs, "tight", flavor, np.abs(eta), pt)
            assert np.allclose(got, expected, rtol=1e-12), theirs
            if word:
                assert np.allclose(jet[name].evaluate(eta, pt, word, "tight"), expected, rtol=1e-12), word
    # and we read them
    again = ScaleFactors.load(tmp_path / "btag.json.gz")
    assert (again.layout.name, again.categories, again.thresholds) == ("b_tagging", ("5", "0"), (0.5, 0.9))
    assert np.allclose(again.evaluate("loose", "5", sample), made.evaluate("loose", "signal", sample))
    assert again.source_names[:3] == ("statistics", "jes", "shower")
    other = ScaleFactors.load(tmp_path / "jet.json", "hbb_other")
    assert (other.layout.name, other.categories, other.source_names) == ("jet_tagging", ("all",), ("total",))
    assert np.allclose(other.evaluate("loose", "all", sample), made.evaluate("loose", "other", sample))


@pytest.mark.parametrize(("layout", "options"), [("jettagger", {}), ("b_tagging", {"signal": 5}), ("jet_tagging", {})])
def test_the_validator_of_correctionlib_accepts_the_files(tmp_path: Path, layout: str, options: dict[str, int]) -> None:
    path = tmp_path / "hbb.json"
    make([PT], ("signal",)).save(path, layout, flavors=options or None)
    schemav2.CorrectionSet.model_validate_json(path.read_text())
    command = [sys.executable, "-m", "correctionlib.cli", "validate", str(path)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_the_table_beside_the_file_has_every_number(tmp_path: Path) -> None:
    made = make([PT, MASS])
    made.save(tmp_path / "hbb.json")
    rows = list(csv.DictReader((tmp_path / "hbb.csv").read_text().splitlines()))
    assert len(rows) == made.values.size
    place = (1, 0, 1, 1)
    row = rows[int(np.ravel_multi_index(place, made.values.shape))]
    assert (row["category"], row["working_point"], row["threshold"]) == ("other", "loose", "0.5")
    assert [row[f"{axis}_{side}"] for axis in ("pt", "mass") for side in ("low", "high")] == [
        "400",
        "600",
        "100",
        "200",
    ]
    assert float(row["value"]) == pytest.approx(made.values[place])
    assert float(row["up_jes"]) == pytest.approx(made.sources["jes"][0][place])
    assert float(row["down"]) == pytest.approx(made._array("total", -1)[place])
    assert "loose" in made.table()
    assert "2 times its uncertainty" in made.table()
    assert made._repr_html_().count("<tr>") > 10
    check_shown(made)


@pytest.mark.parametrize("axes", [[PT], [PT, MASS]], ids=len)
def test_the_layout_of_files_of_ours_is_said(axes: list[BinAxis]) -> None:
    """Whatever the combination of inputs."""
    assert "layout: jettagger" in make(axes).table()


def test_what_was_made_is_read_again(tmp_path: Path) -> None:
    made = make([PT, MASS], outside=OutsideBins("one", 0.4), kind="bands", model={"model": "a", "digest": "1" * 64})
    made.save(tmp_path / "hbb.json")
    again = ScaleFactors.load(tmp_path / "hbb.json")
    for one in (again, pickle.loads(pickle.dumps(again))):
        assert one == made
        assert (one.name, one.discriminant, one.kind, one.points) == ("hbb", "HbbvsQCD", "bands", ("loose", "tight"))
        assert (one.thresholds, one.axes, one.categories) == ((0.5, 0.9), (PT, MASS), ("signal", "other"))
        assert (one.correlated, one.outside, one.record) == ({"jes", "shower"}, made.outside, {"era": "2018"})
        assert np.array_equal(one.values, made.values)
    assert again.source_names == ("statistics", "jes", "shower", "outside")
    with pytest.raises(MismatchError, match="belong to the model 'a'"):
        again.check_origin({"model": "b", "digest": "2" * 64})
    assert len(pickle.dumps(again)) < 20_000


def test_jets_outside_of_the_bins() -> None:
    columns = {"pt": np.array([350.0, 900.0, np.nan]), "msoftdrop": np.full(3, 75.0)}
    inside = make([PT, MASS]).values[0, 0]
    one = make([PT, MASS], outside=OutsideBins("one", 0.4))
    assert one.evaluate("loose", "signal", columns)[:2].tolist() == [inside[0, 0], 1]
    assert one.evaluate("loose", "signal", columns, "outside", 1)[:2].tolist() == [inside[0, 0], 1.4]
    assert one.evaluate("loose", "signal", columns, "jes", 1)[1] == 1
    assert one.evaluate("loose", "signal", columns, "total", -1)[1] == pytest.approx(0.6)
    assert np.isnan(one.evaluate("loose", "signal", columns)[2])
    assert one.is_outside(columns).tolist() == [False, True, False]
    strict = make([PT, MASS], outside=OutsideBins("error"))
    with pytest.raises(InvalidValues, match=r"loose, signal, nominal: correctionlib has no factor .* 2 jets: Index"):
        strict.evaluate("loose", "signal", columns)


def test_measurements_by_the_formula_become_scale_factors() -> None:
    axes = [BinAxis("pt", [300, 500])]
    data, simulation = (
        BandYields(np.array(counts)[:, None], axes=axes, thresholds=[0.5, 0.9])
        for counts in ([600.0, 250, 150], [500.0, 300, 200])
    )
    up, down = (YieldVariation(simulation=simulation.with_factors(np.full((2, 1), f))) for f in (1.1, 0.9))
    first = formula_factors(data, simulation, variations={"shower": (up, down)})
    second = formula_factors(data, simulation)
    made = ScaleFactors.from_formula("hbb", {"signal": first, "other": second}, points=["loose", "tight"])
    assert np.allclose(made.values, 0.8 * np.array([1, 0.9375])[:, None])
    assert made.source_names == ("statistics", "simulation", "shower")
    assert made.correlated == {"shower"}
    assert np.allclose(made.sources["shower"][0][0], first.shifts["shower"][0])
    assert np.array_equal(made.sources["shower"][0][1], second.values)
    total = made._array("total", 1) - made.values
    assert np.allclose(total[1], second.uncertainties)
    other = formula_factors(data, simulation, kind="bands")
    with pytest.raises(MismatchError, match="category 'other' has other bins"):
        ScaleFactors.from_formula("hbb", {"signal": first, "other": other}, points=["loose", "tight"])
    with pytest.raises(ConfigError, match="no measurement"):
        ScaleFactors.from_formula("hbb", {}, points=["loose"])


# ------------------------------------------------------------------------------------------------ files of others


def file_of_others() -> dict[str, Any]:
    """A file as experiments publish them: other names, nested differently, with formulas and a default."""

    def formula(text: str) -> dict[str, Any]:
        return {"nodetype": "formula", "expression": text, "parser": "TFormula", "variables": ["pt"]}

    def pt(*contents: Any) -> dict[str, Any]:
        shape = {"nodetype": "binning", "input": "pt", "edges": [20.0, 100.0, 600.0], "flow": "clamp"}
        return {**shape, "content": list(contents)}

    def choose(name: str, contents: dict[Any, Any]) -> dict[str, Any]:
        items = [{"key": key, "value": value} for key, value in contents.items()]
        return {"nodetype": "category", "input": name, "content": items}

    numbers = {"central": pt(formula("0.9+0.0001*x"), 0.95), "up": pt(1.0, 1.05), "down": pt(0.8, 0.85)}
    numbers |= {"up_jes": pt(0.99, 1.0), "down_jes": pt(0.81, 0.9)}
    numbers |= {"up_correlated": pt(0.97, 0.98), "down_correlated": pt(0.83, 0.92)}
    numbers |= {"up_uncorrelated": pt(0.96, 0.97), "down_uncorrelated": pt(0.84, 0.93)}
    flavors = choose("flavor", {4: 1.5, 5: choose("working_point", {"M": 0.5, "T": 0.25})})
    two = {
        "nodetype": "multibinning",
        "inputs": ["abseta", "pt"],
        "edges": [[0.0, 1.2, 2.5], [20.0, 100.0, 600.0]],
        "content": [0.7, 0.75, 0.8, 0.85],
        "flow": "clamp",
    }
    comb = choose(
        "systematic", {key: choose("flavor", {5: choose("working_point", {"M": item, "T": two}), 4: choose(
            "working_point", {"M": item})}) for key, item in numbers.items()}
    )  # fmt: skip
    inputs = [
        ("systematic", "string"),
        ("working_point", "string"),
        ("flavor", "int"),
        ("abseta", "real"),
        ("pt", "real"),
    ]
    jme = choose("workingpoint", {"0p5": {
        "nodetype": "category", "input": "systematic",
        "content": [{"key": "up", "value": 1.1}, {"key": "down", "value": 0.9}], "default": 1.0,
    }})  # fmt: skip
    named = {
        "deepJet_comb": (inputs, comb),
        "deepJet_shape": ([*inputs[:1], *inputs[2:], ("discriminant", "real")], 1.0),
        "deepJet_wp_values": (inputs[1:2], choose("working_point", {"T": 0.7, "M": 0.3})),
        "Top_tagging": ([("eta", "real"), ("pt", "real"), ("systematic", "string"), ("workingpoint", "string")], jme),
        "pileup": ([("NumTrueInteractions", "real"), ("weights", "string")], flavors["content"][0]["value"]),
    }
    return {
        "schema_version": 2,
        "description": "published",
        "corrections": [
            {
                "name": name,
                "version": 3,
                "inputs": [{"name": key, "type": kind} for key, kind in given],
                "output": {"name": "weight", "type": "real"},
                "data": data,
            }
            for name, (given, data) in named.items()
        ],
    }


def written(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "theirs.json.gz"
    path.write_bytes(gzip.compress(json.dumps(content).encode()))
    return path


def test_a_file_of_an_experiment_is_applied(tmp_path: Path) -> None:
    path = written(tmp_path, file_of_others())
    made = ScaleFactors.load(path, "deepJet_comb")
    assert (made.points, made.thresholds, made.categories) == (("M", "T"), (0.3, 0.7), ("5", "4"))
    assert made.source_names == ("jes",)
    assert set(made.layout.sources) == {"total", "jes", "correlated", "uncorrelated"}
    columns = {"pt": np.array([50.0, 150.0, 1000.0]), "eta": np.array([-0.5, -2.0, 2.0])}
    assert np.allclose(made.evaluate("M", "5", columns), [0.905, 0.95, 0.95])
    assert np.allclose(made.evaluate("T", "5", columns), [0.7, 0.85, 0.85])
    assert np.allclose(made.evaluate("M", "4", columns, "jes", -1), [0.81, 0.9, 0.9])
    assert made.is_outside(columns).tolist() == [False, False, True]
    assert pickle.loads(pickle.dumps(made)) == made
    with pytest.raises(UnknownName, match=r"working point in category '4' of .*'T'.* Known: M"):
        made.evaluate("T", "4", columns)
    with pytest.raises(ConfigError, match="layout 'b_tagging', whose numbers need not be in bins"):
        _ = made.values
    with pytest.raises(ConfigError, match="written as it is"):
        made.save(tmp_path / "x.json", "jet_tagging")
    made.save(tmp_path / "again.json")
    assert not (tmp_path / "again.csv").exists()
    assert ScaleFactors.load(tmp_path / "again.json", "deepJet_comb") == made
    assert "M" in made.table()


def test_names_and_orders_of_inputs_do_not_matter(tmp_path: Path) -> None:
    made = ScaleFactors.load(written(tmp_path, file_of_others()), "Top_tagging")
    assert (made.layout.nominal, made.points, made.thresholds) == ("nominal", ("0p5",), None)
    columns = {"pt": np.full(2, 400.0), "eta": np.zeros(2)}
    assert made.evaluate("0p5", "all", columns).tolist() == [1, 1]
    assert made.evaluate("0p5", "all", columns, "total", 1).tolist() == [1.1, 1.1]
    content = json.loads(json.dumps(file_of_others()["corrections"][3]).replace('"pt"', '"JetPt"'))
    content["inputs"].reverse()
    alone = {"schema_version": 2, "corrections": [content]}
    assert ScaleFactors.load(written(tmp_path, alone)).evaluate("0p5", "all", columns).tolist() == [1, 1]


def test_one_method_of_several_is_chosen(tmp_path: Path) -> None:
    """As in files of c tagging, and with an edge that is Infinity, which correctionlib reads."""
    content = file_of_others()
    item = content["corrections"][0]
    tree = item["data"]
    for entry in tree["content"]:
        numbers = {"comb": entry["value"], "TnP": {"nodetype": "transform", "input": "pt", "rule": 50.0,
                                                    "content": entry["value"]}}  # fmt: skip
        entry["value"] = {"nodetype": "category", "input": "method", "content": [
            {"key": key, "value": value} for key, value in numbers.items()
        ]}  # fmt: skip
    item["inputs"].insert(1, {"name": "method", "type": "string"})
    path = tmp_path / "theirs.json"
    path.write_text(json.dumps(content).replace("600.0", "Infinity"))
    columns = {"pt": np.array([50.0, 1500.0]), "eta": np.zeros(2)}
    made = ScaleFactors.load(path, "deepJet_comb", method="comb")
    assert made.evaluate("M", "4", columns).tolist() == [0.905, 0.95]
    assert made.layout.name == "b_tagging"
    assert not made.is_outside(columns).any()
    other = ScaleFactors.load(path, "deepJet_comb", method="TnP")
    assert other.evaluate("M", "4", columns).tolist() == [0.905, 0.905]
    assert other != made
    assert pickle.loads(pickle.dumps(other)) == other
    with pytest.raises(InputFileError, match="depends on the method: choose one of comb, TnP with method="):
        ScaleFactors.load(path, "deepJet_comb")
    with pytest.raises(UnknownName, match="nearest: comb"):
        ScaleFactors.load(path, "deepJet_comb", method="com")


def changed(content: dict[str, Any], old: str, new: str, index: int = 0) -> dict[str, Any]:
    made: dict[str, Any] = {**content, "corrections": [content["corrections"][index]]}
    text = json.dumps(made)
    assert old in text
    return dict(json.loads(text.replace(old, new)))


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (file_of_others(), {}, "2 corrections have scale factors: deepJet_comb, Top_tagging; choose one"),
        (file_of_others(), {"correction": "deepjet_com"}, r"unknown correction .*nearest: deepJet_comb"),
        (
            file_of_others(),
            {"correction": "deepJet_shape"},
            r"(?s)Found:.*discriminant \(real\): the input 'discriminant' \(real\) is unknown.*Known:.*b_tagging: syst",
        ),
        (changed(file_of_others(), "", "", 4), {}, r"(?s)pileup: NumTrueInteractions \(real\), weights \(string\)"),
        (
            changed(file_of_others(), '"flavor", "type": "int"', '"flavor", "type": "real"'),
            {},
            r"input 'flavor' \(real\) is of another type than string or int",
        ),
        (
            changed(file_of_others(), '"key": "central"', '"key": "centre"'),
            {},
            "no nominal value: found the variations centre, up,.* expected one of nominal, central, nom",
        ),
        (
            changed(file_of_others(), '"key": "down_jes"', '"key": "dwon_jes"'),
            {},
            r"'up_jes' has no 'down_jes' \(nearest: dwon_jes.*found .*choose sources= without 'jes'",
        ),
        (
            file_of_others(),
            {"correction": "deepJet_comb", "sources": ["jer"]},
            r"unknown source .*'jer' \(nearest: jes",
        ),
        (changed(file_of_others(), '"abseta", "type"', '"pt", "type"'), {}, "two inputs for pt: pt and pt"),
        (changed(file_of_others(), '"pt", "type"', '"mass", "type"'), {}, "no input for pt"),
        ({"schema_version": 1, "corrections": [1]}, {}, "schema_version 1 and the keys"),
        ({"a": 1}, {}, "not a correctionlib file of schema version 2"),
        ([1], {}, "holds a list"),
    ],
)
def test_other_files_are_refused_with_what_is_known(
    tmp_path: Path, content: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(JettaggerError, match=message) as caught:
        ScaleFactors.load(written(tmp_path, content), **options)
    assert "theirs.json.gz" in str(caught.value)


def test_a_variation_that_one_category_lacks_is_refused(tmp_path: Path) -> None:
    content = file_of_others()
    content["corrections"] = content["corrections"][:1]
    for item in content["corrections"][0]["data"]["content"]:
        if item["key"] == "down_jes":
            item["value"]["content"] = item["value"]["content"][:1]
    path = written(tmp_path, content)
    with pytest.raises(
        InputFileError, match=r"point 'M', category '4' lacks down_jes: found central, up, down, up_jes"
    ):
        ScaleFactors.load(path)
    chosen = ScaleFactors.load(path, sources=["correlated"])
    assert chosen.source_names == ("correlated",)
    assert chosen.evaluate("M", "4", {"pt": [150.0], "eta": [0.0]}, "correlated", 1).tolist() == [0.98]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"cannot read .*absent\.json"):
        ScaleFactors.load(tmp_path / "absent.json")
    (tmp_path / "cut.json.gz").write_bytes(gzip.compress(b"{}" * 1000)[:20])
    with pytest.raises(InputFileError, match="cannot read"):
        ScaleFactors.load(tmp_path / "cut.json.gz")
    content = json.loads(make([PT]).to_string())
    content["description"] = content["description"].replace('"points"', '"pionts"')
    (tmp_path / "damaged.json").write_text(json.dumps(content))
    with pytest.raises(InputFileError, match="damaged description of scale factors: KeyError"):
        ScaleFactors.load(tmp_path / "damaged.json")
    content["description"] = content["description"].replace("scale factors 1", "scale factors 9")
    (tmp_path / "newer.json").write_text(json.dumps(content))
    with pytest.raises(InputFileError, match="format 'scale factors 9', expected 'scale factors 1'"):
        ScaleFactors.load(tmp_path / "newer.json")


# ------------------------------------------------------------------------------------------------ bad input

VALUES = np.ones((1, 1, 2))


def simple(values: Any = VALUES, sources: Any = None, **options: Any) -> ScaleFactors:
    arguments: dict[str, Any] = {"points": ["M"], "thresholds": [0.5], "axes": [PT], **options}
    return ScaleFactors.make("hbb", values, sources or {"stat": (VALUES, VALUES)}, **arguments)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: simple(np.ones((1, 2))), MismatchError, r"factor has the shape \(1, 2\), expected \(1, 1, 2\)"),
        (lambda: simple(VALUES * [1, np.nan]), InvalidValues, "nan for all, M, pt 400 to 600 GeV; 1 of 2"),
        (lambda: simple(VALUES * [1, -1]), InvalidValues, "the factor is -1"),
        (lambda: simple(sources={"s": (VALUES, VALUES * np.inf)}), InvalidValues, "s down is inf"),
        (lambda: simple(sources={"up_jes": (VALUES, VALUES)}), ConfigError, "source cannot be called 'up_jes'"),
        (lambda: simple(sources={"total": (VALUES, VALUES)}), ConfigError, "source cannot be called 'total'"),
        (lambda: simple(thresholds=[]), ConfigError, "increasing threshold for each of M, got"),
        (lambda: simple(points=["M", "M"]), ConfigError, "different names as working points"),
        (lambda: simple(correlated=["stats"]), UnknownName, r"'stats' \(nearest: stat\)"),
        (lambda: simple(kind="band"), UnknownName, "nearest: bands"),
        (lambda: simple(axes=[MASS]), ConfigError, "expected bins in pt"),
        (lambda: OutsideBins("clmap"), UnknownName, "nearest: clamp"),
        (lambda: OutsideBins("one", -1), ConfigError, "at least 0"),
        (lambda: simple().in_layout("btagging"), UnknownName, "nearest: b_tagging"),
        (lambda: simple().in_layout("b_tagging"), ConfigError, r"give flavors=\{'all': 5, ...\}"),
        (lambda: simple().in_layout("b_tagging", flavors={"al": 5}), UnknownName, "nearest: all"),
        (lambda: make([PT]).in_layout("b_tagging", flavors={"signal": 5, "other": 5}), ConfigError, "the same one"),
        (lambda: make([PT], kind="bands").in_layout("jet_tagging"), ConfigError, "of bands of the score: readers of"),
        (lambda: make([PT, MASS]).in_layout("jet_tagging"), ConfigError, "no input: take the layout 'jettagger'"),
        (
            lambda: make([PT, BinAxis("eta", [-2, 0, 2])]).in_layout("b_tagging", flavors={"signal": 5, "other": 4}),
            ConfigError,
            "bins in eta, the layout 'b_tagging' in its absolute value",
        ),
        (
            lambda: make([PT, BinAxis("abseta", [0.5, 1, 2])]).in_layout("jet_tagging"),
            ConfigError,
            "begin at 0.5, expected 0",
        ),
        (lambda: simple().evaluate("T", "all", {"pt": [400.0]}), UnknownName, "working point .*'T'"),
        (lambda: simple().evaluate("M", "al", {"pt": [400.0]}), UnknownName, "category .*nearest: all"),
        (lambda: simple().evaluate("M", "all", {"p": [400.0]}), UnknownName, "column .*'pt'"),
        (lambda: simple().evaluate("M", "all", {"pt": [400.0]}, "stats", 1), UnknownName, "nearest: stat"),
    ],
)
def test_what_cannot_be_used_is_refused(call: Any, kind: type[JettaggerError], message: str) -> None:
    with pytest.raises(kind, match=message):
        call()
