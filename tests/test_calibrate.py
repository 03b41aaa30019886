"""The command that measures scale factors: from histograms to files, whose numbers are those of the report."""

from __future__ import annotations

import copy
import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calibrations import CONFIG, PT, emptied, empty, expected, probes, put
from probes import as_events
from probes import columns as probe_columns

from jettagger import histograms
from jettagger.calibration import EfficiencyMap, MassFactors, ScaleFactors, TagWeights
from jettagger.cli import main
from jettagger.config.yamlfile import yaml_text
from jettagger.errors import ConfigError, InputFileError, InvalidValues, JettaggerError, MismatchError, OutputError
from jettagger.files.root import write_tree
from jettagger.provenance import read_provenance
from jettagger.studies import CalibrationConfig, calibrate, read_calibration, read_inputs, survey_inputs
from jettagger.studies.calibration.fits import plan
from jettagger.studies.calibration.rebinning import with_edges

pytest.importorskip("pyhf", reason="fits need the extra stats")
correctionlib = pytest.importorskip("correctionlib")

#: factors of the bands above the lowest in data, and of the working points that follow
BANDS = {"signal": (1.1, 0.85)}
POINTS = {"loose": (0.3 * 1.1 + 0.5 * 0.85) / 0.8, "tight": 0.85}


def write(folder: Path, histogram_: Any, **changes: Any) -> Path:
    """A configuration and its histogram."""
    content = {key: value for key, value in {**copy.deepcopy(CONFIG), **changes}.items() if value is not None}
    if histogram_ is not None:
        histograms.save({"probe": histogram_}, folder / "probes.json.gz")
    (folder / "calibration.yaml").write_text(yaml_text(content))
    return folder / "calibration.yaml"


def run(folder: Path, histogram: Any, *arguments: str, **changes: Any) -> dict[str, Any]:
    """The report of the command."""
    path = write(folder, histogram, **changes)
    assert main(["calibrate", str(path), "-o", str(folder / "out"), "--no-plots", *arguments]) == 0
    return json.loads((folder / "out" / "report.json").read_text())


def config(**changes: Any) -> CalibrationConfig:
    content = {key: value for key, value in {**copy.deepcopy(CONFIG), **changes}.items() if value is not None}
    return read_calibration(yaml_text(content), "c.yaml")


# ---------------------------------------------------------------------------------------- closure


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A calibration with everything that needs no control sample."""
    folder = tmp_path_factory.mktemp("calibration")
    masses = {"column": "msoftdrop", "scale": "jms"}
    report = run(
        folder, probes(BANDS, scale=1.012), layouts=["b_tagging", "jet_tagging"], flavors={"signal": 6},
        mass_factors=masses, title="Closure",
    )  # fmt: skip
    return folder / "out", report


def test_injected_factors_come_back(measured: tuple[Path, dict[str, Any]]) -> None:
    _, report = measured
    assert len(report["factors"]) == 6
    pulls = []
    for row in report["factors"]:
        sigma = np.sqrt(sum(row[key] ** 2 for key in ("statistics", "simulation", "systematic")))
        assert row["up"] == pytest.approx(sigma, rel=0.1)
        pulls.append((row["factor"] - POINTS[row["point"]]) / sigma)
        assert row["efficiency_data"] == pytest.approx(row["factor"] * {"loose": 0.8, "tight": 0.5}[row["point"]])
    assert np.abs(pulls).max() < 3
    assert 0 < np.square(pulls).sum() < 15
    scale = report["shapes"]["jms"]
    assert abs(scale["value"] - 1.012) < 3 * scale["uncertainty"]
    assert scale["uncertainty"] < 0.003
    assert all(item["goodness"]["probability"] > 0.001 and not item["at_bounds"] for item in report["bins"])


def test_without_fluctuations_they_come_back_exactly(tmp_path: Path) -> None:
    write(tmp_path, probes(BANDS, seed=None), kind="bands", bins={"pt": [300, 400, 800]})
    result = calibrate(tmp_path / "calibration.yaml", tmp_path / "out", plots=False)
    assert result.factors.kind == "bands"
    assert result.factors.values[0] == pytest.approx(np.array(BANDS["signal"])[:, None] * np.ones(2), abs=2e-4)
    for item in result.fits.bins.values():
        model = item.fit.model
        assert (item.fit.values @ model.yields.T).diagonal() == pytest.approx(model.yields.sum(axis=1), rel=1e-9)


def test_the_files_become_weights(measured: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = measured
    factors = ScaleFactors.load(folder / "scale_factors.json")
    efficiencies = EfficiencyMap.load(folder / "efficiencies.json")
    weights = TagWeights(factors, efficiencies)
    low, high = weights.thresholds
    columns = {name: np.full(3, 350.0 if name == "pt" else 0.5) for name in weights.columns}
    found = weights.jet_factors(np.array([low - 0.01, (low + high) / 2, high]), columns, "signal", "another sample")
    one = {name: values[:1] for name, values in columns.items()}
    above = [efficiencies.evaluate("another sample", "signal", point, one)[0] for point in weights.points]
    fractions = -np.diff([1.0, *above, 0.0])
    for numbers in (found.nominal, *(side for sides in found.shifts.values() for side in sides)):
        assert fractions @ numbers == pytest.approx(1, abs=1e-9)
    assert found.nominal[2] == factors.evaluate("tight", "signal", one)[0] != 1
    assert found.count.outside == found.count.limited == 0


def test_correctionlib_reads_the_numbers_of_the_report(measured: tuple[Path, dict[str, Any]]) -> None:
    folder, report = measured
    mine = correctionlib.CorrectionSet.from_file(str(folder / "scale_factors.json"))
    bottom = correctionlib.CorrectionSet.from_file(str(folder / "scale_factors_b_tagging.json"))
    jets = correctionlib.CorrectionSet.from_file(str(folder / "scale_factors_jet_tagging.json"))
    with (folder / "scale_factors.csv").open() as file:
        cells = {(row["working_point"], float(row["pt_low"])): row for row in csv.DictReader(file)}
    for number, row in enumerate(report["factors"]):
        pt, point = PT[number % 3] + 1, row["point"]
        for key, change in (("nominal", 0.0), ("up", row["up"]), ("down", -row["down"])):
            wanted = pytest.approx(row["factor"] + change, rel=1e-9)
            assert mine["top"].evaluate(key, point, "signal", pt) == wanted
            word = "central" if key == "nominal" else key
            assert bottom["top"].evaluate(word, point, 6, 0.5, pt) == wanted
            assert jets["top"].evaluate(0.5, pt, key.replace("nominal", "nom"), point) == wanted
        assert float(cells[point, PT[number % 3]]["value"]) == pytest.approx(row["factor"])
        name, place = next((name, item) for name, item in report["sources"].items() if name == "statistics")
        up = place["up"][0][["loose", "tight"].index(point)][number % 3]
        assert mine["top"].evaluate(f"up_{name}", point, "signal", pt) == pytest.approx(row["factor"] + up)
    assert mine["top_wp_values"].evaluate("tight") == 0.9
    assert report["correlated"] == ["lumi"]


@pytest.mark.filterwarnings("ignore:.*RefResolver.*:DeprecationWarning")
def test_other_files_are_what_their_readers_expect(measured: tuple[Path, dict[str, Any]]) -> None:
    import pyhf

    folder, report = measured
    efficiencies = EfficiencyMap.load(folder / "efficiencies.json")
    assert efficiencies.evaluate("tt", "signal", "tight", {"pt": [350.0]}) == pytest.approx([0.5])
    masses = MassFactors.load(folder / "mass_factors.json")
    assert (masses.scale, masses.scale_uncertainty) == (
        report["shapes"]["jms"]["value"],
        pytest.approx(0.00133, rel=0.3),
    )
    for item in report["bins"]:
        text = (folder / item["folder"] / "workspace.json").read_text()
        model = pyhf.Workspace(json.loads(text)).model()
        assert set(model.config.par_names) >= {"kappa_signal_loose", "lumi", "jms"}
        assert (folder / item["folder"] / "datacard.txt").read_text().startswith("# Factors")
    page = (folder / "report.md").read_text()
    assert page.startswith("# Closure\n")
    for row in report["factors"]:
        assert f"| {row['factor']:.4g} |" in page
    known, _ = histograms.load(folder / "histograms.json.gz")
    assert histograms.equal(known["probe"], probes(BANDS, scale=1.012))
    record = read_provenance(folder / "histograms.json.gz")
    assert record["step"] == report["provenance"]["step"] == "calibrate"
    assert record["files"] == [str(folder.parent / "probes.json.gz")]
    assert read_provenance(folder / report["bins"][0]["folder"] / "templates.root") == record
    assert (folder / "config.yaml").read_text().startswith("version: 1\n")
    assert ScaleFactors.load(folder / "scale_factors.json").record["provenance"]["step"] == "calibrate"


# ---------------------------------------------------------------------------------------- bins


def test_bins_without_signal_join_their_neighbours_or_are_refused(tmp_path: Path, capsys: Any) -> None:
    histogram = emptied(probes(BANDS), 2, dataset="tt", category="signal")
    points = {"working_points": {"tight": 0.9}, "shapes": None, "systematics": []}
    refused = run_error(tmp_path, histogram, sparse="refuse", **points)
    assert "line 8: pt 500 to 800: no simulated jets of 'signal'; sparse: merge joins it" in refused
    report = run(tmp_path, histogram, **points)
    assert [axis["edges"] for axis in report["axes"]] == [[300.0, 400.0, 800.0]]
    assert report["report"][0].startswith("pt 500 to 800 GeV joins pt 400 to 500 GeV: pt 500 to 800: no simulated jets")
    assert report["report"][0] in (tmp_path / "out" / "report.md").read_text()
    assert "joins" in capsys.readouterr().out
    assert len(report["factors"]) == 2


def test_the_lowest_bin_joins_the_next_and_the_last_one_is_an_error() -> None:
    histogram = emptied(probes(BANDS), 0, dataset="muon", category="data")
    planned = plan(config(), histogram)
    assert [item.name for item in planned.templates] == ["pt 300 to 500", "pt 500 to 800"]
    alone = config(bins={"pt": [300, 400]})
    with pytest.raises(InvalidValues, match=r"^c.yaml, line \d+: pt 300 to 400: no data$"):
        plan(alone, histogram)


def test_bins_and_bands_of_the_histogram_are_added(tmp_path: Path) -> None:
    result = calibrate(
        write(tmp_path, probes(BANDS, seed=None), bins={"pt": [300, 500]}, working_points={"only": 0.5}),
        tmp_path / "out",
        plots=False,
    )
    assert result.factors.values == pytest.approx(POINTS["loose"], abs=2e-4)
    assert result.factors.axes is not None
    assert result.factors.axes[0].edges == (300.0, 500.0)


def test_rebinning_keeps_all_jets() -> None:
    histogram = probes(BANDS)
    made = with_edges(histogram, "pt", [400, 500])
    for key in ("value", "variance"):
        assert made.view(flow=True)[key].sum() == pytest.approx(histogram.view(flow=True)[key].sum(), rel=1e-12)
    kept = histogram[{"pt": 1}].view()["value"]
    assert made[{"pt": 0}].view()["value"] == pytest.approx(kept)
    with pytest.raises(
        MismatchError, match="450 on the axis 'pt' of the histogram is none of its edges, which are 300"
    ):
        with_edges(histogram, "pt", [400, 450])


def test_factors_at_bounds_are_said_and_have_intervals(tmp_path: Path, capsys: Any) -> None:
    histogram = probes({"signal": (0.0, 0.0)}, seed=None)
    part = histogram[{"dataset": "muon", "category": "data", "variation": "nominal"}].view()
    part["value"][:, 2] *= 0.5  # fewer than the background alone
    histogram[{"dataset": "muon", "category": "data", "variation": "nominal"}] = part
    changes = {"working_points": {"tight": 0.9}, "bins": {"pt": [300, 800]}, "shapes": None, "systematics": []}
    report = run(tmp_path, histogram, **changes)
    (row,) = report["factors"]
    assert report["bins"][0]["at_bounds"] == ["kappa_signal_tight"]
    assert row["factor"] == pytest.approx(0, abs=1e-6)
    assert 0 < row["up"] < 0.1
    assert row["down"] == pytest.approx(0, abs=1e-6)
    assert "Parameters at bounds" in (tmp_path / "out" / "report.md").read_text()
    assert "at a bound of the fit: kappa_signal_tight" in capsys.readouterr().err


def test_scale_and_resolution_are_measured_with_shifted_templates(tmp_path: Path) -> None:
    """Without any variation in the histogram."""
    masses = {"column": "msoftdrop", "peak": ["signal"]}
    points = {"working_points": {"tight": 0.9}, "bins": {"pt": [300, 800]}}
    histogram = probes(BANDS, seed=None, scale=1.01, bins=40)
    report = run(tmp_path, histogram, mass_factors=masses, shapes=None, systematics=[], **points)
    scale, resolution = (report["shapes"][f"mass_{kind}"] for kind in ("scale", "resolution"))
    assert scale["value"] == pytest.approx(1.01, abs=1e-3)
    assert resolution["value"] == pytest.approx(1.0, abs=0.03)
    factors = MassFactors.load(tmp_path / "out" / "mass_factors.json")
    assert (factors.scale, factors.resolution) == (scale["value"], resolution["value"])
    (row,) = report["factors"]
    assert row["factor"] == pytest.approx(0.85, abs=0.5 * row["up"])


# ---------------------------------------------------------------------------------------- mistags


def control(rate: float = 1.2) -> Any:
    """A control sample of background jets whose mistag rates in data are larger, with tops in it."""
    histogram = empty()
    for name, factor in (("other", 1.0), ("signal", 0.05)):
        jets = factor * expected(name)
        put(histogram, jets, jets * 0.1, dataset="qcd" if name == "other" else "tt", category=name, variation="nominal")
    total = expected("other", (rate, rate)) + 0.05 * expected("signal", BANDS["signal"])
    put(histogram, total, total, dataset="jets", category="data", variation="nominal")
    return histogram


def test_mistags_are_measured_with_the_contamination_as_fitted(tmp_path: Path) -> None:
    histograms.save({"dijet": control()}, tmp_path / "control.json")
    mistag = {
        "category": "light", "histograms": "control.json", "histogram": "dijet", "from": "other",
        "contamination": {"top": {"from": ["signal"], "datasets": ["tt"], "uncertainty": 0.3, "factors_of": "signal"}},
    }  # fmt: skip
    report = run(tmp_path, probes(BANDS, seed=None), mistag=mistag)
    rows = [row for row in report["factors"] if row["category"] == "light"]
    assert [row["factor"] for row in rows] == pytest.approx([1.2] * 6, rel=1e-3)
    assert all(
        row["efficiency_simulation"] == pytest.approx({"loose": 0.1, "tight": 0.02}[row["point"]]) for row in rows
    )
    assert {"top_normalisation", "top_factor"} <= set(report["sources"])
    assert report["correlated"] == ["lumi", "top_factor", "top_normalisation"]
    factors = ScaleFactors.load(tmp_path / "out" / "scale_factors.json")
    assert factors.categories == ("signal", "light")
    assert factors.evaluate("tight", "light", {"pt": [450.0]}) == pytest.approx([1.2], rel=1e-3)
    efficiencies = EfficiencyMap.load(tmp_path / "out" / "efficiencies.json")
    assert efficiencies.evaluate("all", "light", "tight", {"pt": [450.0]}) == pytest.approx([0.02])
    found, _ = histograms.load(tmp_path / "out" / "histograms.json.gz")
    assert set(found) == {"probe", "control"}


# ---------------------------------------------------------------------------------------- refusals


def run_error(folder: Path, histogram_: Any, **changes: Any) -> str:
    """The one error of the command, which leaves nothing."""
    path = write(folder, histogram_, **changes)
    with pytest.raises(JettaggerError) as caught:
        calibrate(path, folder / "out", plots=False)
    assert not (folder / "out").exists()
    assert [item.name for item in folder.iterdir() if ".part" in item.name] == []
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bnis": {"pt": [1, 2]}}, "line {bnis}: unknown key 'bnis' (nearest: bins"),
        ({"bins": {"pt": [300]}}, "'pt' must be a list of at least 2 increasing bin edges"),
        ({"bins": {"mass": [1, 2]}}, "the key 'pt' is missing"),
        ({"working_points": {"a": 0.9, "b": 0.5}}, "line {working_points}: thresholds must increase"),
        ({"working_points": {}}, "line {working_points}: no working point"),
        ({"working_points": {"fail": 0.5}}, "cannot be called 'fail'"),
        ({"working_points": 0.5}, "'working_points' must be names with thresholds, or a file of working points"),
        ({"discriminant": "TopbqqvsQDC"}, "line {discriminant}: unknown"),
        ({"categories": {"a": {"factors": "fixed"}}}, "line {categories}: all categories are fixed"),
        ({"categories": {"a": {"factors": "fre"}}}, "must be free, fixed or tied, got 'fre' (nearest: free, "),
        ({"categories": {"a": {}, "b": {"factors": "tied"}}}, "'tied' needs the category in tied_to"),
        ({"categories": {"a": {}, "b": {"factors": "tied", "tied_to": "c"}}}, "those with free factors"),
        ({"normalisation_uncertainties": {"lumi": {"sgnal": 0.1}}}, "'sgnal' (nearest: signal)"),
        ({"mass_factors": {"column": "msoftdrop", "scale": "jsm"}}, "unknown shape in shapes: 'jsm' (nearest: jms)"),
        ({"mass_factors": {"column": "msoftdrop"}}, "expected 'peak', categories whose templates are shifted"),
        ({"systematics": ["tilt"]}, "line {shapes}: unknown variation in systematics: 'jms'"),
        ({"layouts": ["b_tagging"]}, "line {layouts}: the layout 'b_tagging' has integers as flavors"),
        ({"layouts": ["jet_tagging"], "bins": {"pt": [1, 2], "mass": [1, 2]}}, "has no input for the mass"),
        ({"layouts": ["jet_tagging"], "kind": "bands"}, "line {layouts}: readers of the layout 'jet_tagging' take"),
        ({"flavors": {"sgnal": 5}}, "line {sgnal}: unknown category in those with factors: 'sgnal'"),
        (
            {"mistag": {"category": "signal", "histograms": "a.json", "from": "other"}},
            "'signal' has factors of the fit already",
        ),
    ],
)  # fmt: skip
def test_configurations_are_refused_with_their_line(changes: dict[str, Any], message: str) -> None:
    content = {**copy.deepcopy(CONFIG), **changes}
    text = yaml_text(content)
    lines = {line.strip().partition(":")[0]: number for number, line in enumerate(text.splitlines(), 1)}
    wanted = message.format(**lines)
    with pytest.raises(ConfigError) as caught:
        read_calibration(text, "c.yaml")
    assert wanted in str(caught.value)
    assert str(caught.value).startswith("c.yaml, line ")


def test_a_config_of_bands_has_names_and_bins() -> None:
    made = config(bins={"pt": [300, 400], "abseta": [0, 1.2, 2.4]})
    assert made.bands == ("fail", "loose", "tight")
    assert [axis.label(0) for axis in made.axes] == ["pt 300 to 400 GeV", "abseta 0 to 1.2"]
    assert made.measured == ("signal",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variable": "mass"}, "line 8: unknown axis in histogram 'probe': 'mass'"),
        ({"histogram": "prob"}, "probes.json.gz: 'prob' (nearest: probe)"),
        ({"working_points": {"loose": 0.6}}, "0.6 on the axis 'score' of the histogram is none of its edges"),
        ({"bins": {"pt": [300, 450]}}, "line 9: 450 on the axis 'pt'"),
        ({"bins": {"pt": [300, 400], "abseta": [0, 1]}}, "unknown axis in the histogram: 'abseta'"),
        ({"data": ["electron"]}, "unknown dataset in the histogram: 'electron'"),
        ({"systematics": ["jsm"], "shapes": None}, "unknown variation in the histogram: 'jsm' (nearest: jms)"),
        ({"shape_only": ["jsm"]}, "unknown variation in the histogram: 'jsm' (nearest: jms)"),
        ({"correlated": ["lmi"]}, "'lmi' (nearest: lumi"),
        ({"categories": {"signl": {}}, "normalisation_uncertainties": None}, "'signl' (nearest: signal)"),
    ],
)  # fmt: skip
def test_what_the_histogram_lacks_is_said_with_the_line(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    said = run_error(tmp_path, probes(BANDS, seed=None), **changes)
    assert message in said
    assert said.startswith(f"{tmp_path / 'calibration.yaml'}, line ")
    assert said.count("calibration.yaml") == 1


def test_no_data_is_an_error(tmp_path: Path) -> None:
    said = run_error(tmp_path, probes(data=False))
    assert "histogram 'probe' has no data: no data set has jets in the category 'data'" in said


def test_data_and_simulation_in_different_bins_are_an_error(tmp_path: Path) -> None:
    histograms.save({"probe": with_edges(probes(BANDS), "pt", [300, 400, 800])}, tmp_path / "other.json")
    said = run_error(tmp_path, probes(BANDS), histograms=["probes.json.gz", "other.json"])
    assert "line 7: " in said
    assert "other.json: histogram 'probe' has different axes" in said
    assert said.endswith("data and simulation need the same bins")


def test_a_category_that_one_region_lacks_is_no_error_unless_it_is_measured_there(tmp_path: Path) -> None:
    histogram = emptied(probes(BANDS, seed=None), (slice(None), 2), dataset="tt", category="partly_merged")
    points = {"working_points": {"tight": 0.9}, "bins": {"pt": [300, 800]}, "shapes": None, "systematics": []}
    result = calibrate(write(tmp_path, histogram, **points), tmp_path / "out", plots=False, force=True)
    templates = result.fits.bins[(0,)].fit.model.templates
    assert list(templates.categories["partly_merged"]) == ["fail"]
    (tmp_path / "part").mkdir()
    histogram = emptied(probes(BANDS), (slice(None), slice(2)), dataset="tt", category="signal")
    said = run_error(tmp_path / "part", histogram, **points)
    assert "no factor can be measured: all categories are fixed or have jets in one band only" in said


def test_files_that_are_no_histograms_and_folders_of_others(tmp_path: Path) -> None:
    (tmp_path / "probes.json.gz").write_text("nothing")
    path = write(tmp_path, None)
    with pytest.raises(InputFileError, match=r"calibration.yaml, line 7: cannot read .*probes.json.gz: Not a gzipped"):
        calibrate(path, tmp_path / "out", plots=False)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years")
    with pytest.raises(OutputError, match=r"has no report.json, so it is something else"):
        calibrate(path, tmp_path / "out", force=True, plots=False)


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(tmp_path: Path, capsys: Any) -> None:
    path = write(tmp_path, probes(BANDS))
    assert main(["calibrate", str(path), "-o", str(tmp_path / "out"), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "pt 500 to 800" in said
    assert "dry run: nothing was fitted or written" in said
    assert sorted(item.name for item in tmp_path.iterdir()) == ["calibration.yaml", "probes.json.gz"]


@pytest.mark.slow
def test_pictures_are_in_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mplhep")
    drawn: list[Any] = []

    def save_figure(figure: Any, path: Path) -> None:
        drawn.append(figure)
        path.touch()

    monkeypatch.setattr("jettagger.plots.save_figure", save_figure)
    points = {"working_points": {"tight": 0.9}, "bins": {"pt": [300, 800]}}
    result = calibrate(write(tmp_path, probes(BANDS), **points), tmp_path / "out")
    pictures = [f"fits/pt_300_800/{name}.png" for name in ("prefit", "postfit", "impacts_signal")]
    page = (tmp_path / "out" / "report.md").read_text()
    for name in pictures:
        assert name in result.files
        assert f"]({name})" in page
        assert (tmp_path / "out" / name).is_file()
    assert len(drawn) == 3
    (item,) = json.loads((tmp_path / "out" / "report.json").read_text())["bins"]
    fit = next(iter(result.fits.bins.values())).fit
    up = item["impacts"]["norm_signal"]["up"]["signal/tight"]
    assert up == pytest.approx(float(fit.impacts["norm_signal"].up[0, 1]))
    assert up < 0


def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        calibrate(write(tmp_path, probes(BANDS)), tmp_path / "out", plots=False, progress=stop)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["calibration.yaml", "probes.json.gz"]


# ---------------------------------------------------------------------------------------- events

EVENTS: dict[str, Any] = {
    "luminosity": 1.0,
    "samples": {
        "tt": {"files": ["tt.root"], "cross_section": 2.0, "sum_of_weights": "events"},
        "muon": {"files": ["muon.root"], "data": True},
    },
    "variable": {"bins": [4, 0, 250], "unit": "GeV"},
    "prefix": "mine",
    "btag": "btag > 0.3",
    "probe": "pt > 300 and drMuon > 1.3",
    "weights": {"pileup": {"nominal": "puWeight", "up": "puWeightUp", "down": "2 * puWeight - puWeightUp"}},
    "variations": {"jes": {"up": {"pt": "pt * 1.02"}, "down": {"pt": "pt * 0.98"}}},
}
OF_EVENTS: dict[str, Any] = {
    "histograms": None,
    "discriminant": "probHbb / (probHbb + probQCDothers)",
    "working_points": {"tight": 0.6},
    "bins": {"pt": [300, 400, 1000]},
    "categories": {"every": {"from": ["signal", "partly_merged", "unmerged", "other"], "normalisation": "free"}},
    "normalisation_uncertainties": None,
    "shapes": None,
    "min_effective_events": 5,
}


@pytest.fixture(scope="module")
def event_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("events")
    for name, seed in (("tt", 1), ("muon", 2)):
        write_tree(folder / f"{name}.root", [probe_columns(2000, seed, data=name == "muon")])
    return folder


@pytest.mark.slow
def test_events_are_filled_and_measured(event_files: Path, capsys: Any) -> None:
    path = write(event_files, None, **OF_EVENTS, events=EVENTS)
    out = event_files / "out"
    assert main(["calibrate", str(path), "-o", str(out), "--dry-run"]) == 0
    assert "dry run: no events were read" in capsys.readouterr().out
    assert not out.exists()
    assert main(["calibrate", str(path), "-o", str(out), "--no-plots"]) == 0
    report = json.loads((out / "report.json").read_text())
    found, _ = histograms.load(out / "histograms.json.gz")
    data = as_events(probe_columns(2000, 2, data=True), "muon")
    processor = next(iter(read_calibration(path).events.values())).make_processor()
    alone = processor.process(data)["histograms"]["probe"]
    mine = histograms.pick(found["probe"], dataset="muon")
    assert mine.values() == pytest.approx(histograms.pick(alone, dataset="muon").values())
    simulated = histograms.pick(found["probe"], dataset="tt", variation="nominal").sum().value
    flow = report["cutflow"]["probes"]
    assert flow["tt"]["initial"]["weighted"] == pytest.approx(2000 * 1.0, rel=0.1)
    assert flow["muon"]["scored"]["events"] > mine.sum().value > 50
    assert simulated == pytest.approx(mine.sum().value, rel=0.3)
    assert {"pileup", "jes"} <= set(report["sources"])
    for row in report["factors"]:
        assert abs(row["factor"] - 1) < 3 * row["up"]
    assert set(report["provenance"]["files"]) == {str(event_files / f"{name}.root") for name in ("tt", "muon")}
    again = write(event_files, None, **{**OF_EVENTS, "histograms": "out/histograms.json.gz"})
    second = calibrate(again, event_files / "again", plots=False)
    assert [row["factor"] for row in report["factors"]] == pytest.approx(second.factors.values.ravel().tolist())


@pytest.mark.slow
def test_events_are_filled_by_any_executor_and_without_broken_files(event_files: Path, capsys: Any) -> None:
    path = write(event_files, None, **OF_EVENTS, events=EVENTS)
    one, other = (read_inputs(read_calibration(path), executor=name) for name in ("iterative", "futures"))
    assert one.probes == other.probes
    assert main(["calibrate", str(path), "-o", str(event_files / "never"), "--executor", "futres"]) == 2
    assert "nearest: futures" in capsys.readouterr().err
    assert main(["calibrate", str(path), "-o", str(event_files / "never"), "--scheduler", "tcp://a:1"]) == 2
    assert "a scheduler (tcp://a:1) is for the executor 'dask'" in capsys.readouterr().err
    (event_files / "broken.root").write_bytes(b"root")
    events = copy.deepcopy(EVENTS)
    events["samples"]["tt"]["files"] = ["tt.root", "broken.root"]
    path = write(event_files, None, **OF_EVENTS, events=events)
    assert main(["calibrate", str(path), "-o", str(event_files / "never"), "--dry-run"]) == 2
    assert "broken.root" in capsys.readouterr().err
    rest = read_inputs(read_calibration(path), skip_broken=True)
    assert any("broken.root" in note for note in rest.notes)
    assert "broken.root" not in "".join(rest.files)
    assert rest.probes == one.probes


@pytest.mark.slow
def test_a_control_sample_is_filled_from_events(event_files: Path) -> None:
    control = {key: value for key, value in EVENTS.items() if key not in ("btag", "probe", "variations")}
    categories = ["signal", "partly_merged", "unmerged", "other"]
    mistag = {"category": "light", "from": categories, "events": {**control, "kind": "dijet"}}
    path = write(event_files, None, **{**OF_EVENTS, "bins": {"pt": [300, 1000]}}, events=EVENTS, mistag=mistag)
    result = calibrate(path, event_files / "mistags", plots=False)
    assert result.factors.categories == ("every", "light")
    assert result.mistags is not None
    ratio, sigma = result.mistags.values[0, 0], result.mistags.uncertainties[0, 0]
    assert result.factors.values[1, 0, 0] == ratio
    assert abs(ratio - 1) < 3 * sigma < 1
    found, _ = histograms.load(event_files / "mistags" / "histograms.json.gz")
    assert set(found) == {"probe", "control"}


@pytest.mark.slow
def test_filled_histograms_outlive_a_failed_fit(event_files: Path, capsys: Any) -> None:
    path = write(event_files, None, **{**OF_EVENTS, "sparse": "refuse", "min_effective_events": 1e6}, events=EVENTS)
    assert main(["calibrate", str(path), "-o", str(event_files / "failed"), "--no-plots"]) == 2
    assert not (event_files / "failed").exists()
    kept = event_files / "failed.histograms.json.gz"
    said = capsys.readouterr().err
    assert f"kept in {kept}" in said
    assert "less than 1e+06 effective simulated jets" in said
    assert read_provenance(kept)["files"] == [str(event_files / "tt.root"), str(event_files / "muon.root")]
    found, _ = histograms.load(kept)
    assert found["probe"].sum().value > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"muon": "pt > 50 and abs(etta) < 2"}, "line {muon}: unknown column of the muon in {folder}/tt.root: 'etta'"),
        ({"tag": "ptt > 50"}, "line {tag}: unknown column of the tag"),
        ({"btag": "btagg > 0.5"}, "line {btag}: unknown column of the tag"),
        ({"cuts": {"far": "drTagProb > 1"}}, "line {far}: unknown column in {folder}/tt.root: 'drTagProb'"),
        ({"truth": {"signal": "probe.genQuark > 1"}}, "'genQuark' (nearest: genQuarks"),
        ({"weights": {"pileup": "puWeigth"}}, "line {pileup}: unknown column in {folder}/tt.root: 'puWeigth'"),
        ({"variations": {"jes": {"up": {"ptt": "pt"}, "down": {"pt": "pt"}}}}, "line {jes}: unknown column of the j"),
        ({"collection": "FatJets"}, "line {collection}: unknown collection"),
        ({"event_selection": "HLT.Mu50"}, "line {event_selection}: unknown column"),
        ({"samples": {"tt": {"files": "none.root", "cross_section": 1}}}, "line {files}: "),
    ],
)  # fmt: skip
def test_columns_that_events_lack_are_said_with_the_line(
    event_files: Path, changes: dict[str, Any], message: str
) -> None:
    path = write(event_files, None, **OF_EVENTS, events={**EVENTS, **changes})
    lines = {line.strip().partition(":")[0]: n for n, line in enumerate(path.read_text().splitlines(), 1)}
    with pytest.raises(JettaggerError) as caught:
        survey_inputs(read_calibration(path))
    assert message.format(**lines, folder=event_files) in str(caught.value)
    assert str(caught.value).startswith(f"{path}, line ")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "dijt"}, "line {kind}: 'kind' must be semileptonic or dijet, got 'dijt' (nearest: dijet)"),
        ({"kind": "dijet"}, "a dijet selection has a fat jet as its tag"),
        ({"btag": {"bottom": 1.5}}, "'bottom' must be a number from 0 to 1, got 1.5"),
        ({"muon": "pt >"}, "line {muon}: "),
        ({"variable": {"bins": [4, 0, 250], "edges": [1, 2]}}, "line {variable}: axis 'msoftdrop': give either bins"),
        ({"score_range": [0.7, 1]}, "the bands of the score are at least three rising numbers"),
        ({"weights": {"sf": {"scale_factors": "a.json"}}}, "scale factors cannot be a weight of their own measurement"),
        ({"samples": {}}, "line {samples}: no samples"),
    ],
)  # fmt: skip
def test_selections_are_refused_with_their_line(changes: dict[str, Any], message: str) -> None:
    content = {**copy.deepcopy(CONFIG), **OF_EVENTS, "events": {**EVENTS, **changes}}
    text = yaml_text({key: value for key, value in content.items() if value is not None})
    lines = {line.strip().partition(":")[0]: number for number, line in enumerate(text.splitlines(), 1)}
    with pytest.raises(ConfigError) as caught:
        read_calibration(text, "c.yaml")
    assert message.format(**lines) in str(caught.value)
    assert str(caught.value).startswith("c.yaml, line ")


def test_either_histograms_or_events() -> None:
    for changes in ({"histograms": None}, {"events": EVENTS}):
        with pytest.raises(ConfigError, match="give either 'histograms' or 'events'"):
            config(**changes)
