"""Fits of searches: closed forms, the results of cabinetry, toys, and ``jettagger fit``."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from agreement import Agreement
from test_limits import norm, shape, statistics, workspace
from test_search_cards import searched

from jettagger.cli import main
from jettagger.errors import InvalidValues, UnknownName
from jettagger.provenance import Provenance, read_provenance
from jettagger.statistics.fits import Likelihood, model_of
from jettagger.statistics.searchfits import DATA, SIMULATION, SearchFit, fit_search, steps
from jettagger.statistics.templates import load_details
from jettagger.statistics.toyfits import toy_deviances

pytest.importorskip("pyhf", reason="the extra stats is not installed")
# jsonschema's own deprecation, which pyhf 0.7 always raises
pytestmark = pytest.mark.filterwarnings("ignore:.*RefResolver.*:DeprecationWarning")


def test_a_counting_experiment_has_the_closed_forms() -> None:
    found = fit_search(workspace([10], [100], [130]), signal="X", mass=1000)
    assert found.strength == pytest.approx(3.0, rel=1e-4)
    assert found.uncertainty == pytest.approx(math.sqrt(130) / 10, rel=1e-3)
    assert found.significance == pytest.approx(math.sqrt(2 * (130 * math.log(1.3) - 30)), rel=1e-3)
    assert found.expected_significance == pytest.approx(math.sqrt(2 * (110 * math.log(1.1) - 10)), rel=1e-3)
    assert found.parameters == ()
    assert found.groups == {DATA: pytest.approx(found.uncertainty)}
    deficit = fit_search(workspace([10], [100], [80]))
    assert deficit.strength == pytest.approx(-2.0, rel=1e-4)
    assert deficit.significance == 0.0


def test_no_bin_is_expected_to_have_less_than_nothing() -> None:
    """Without data in a bin, -2 ln L falls without end for a negative expectation."""
    found = fit_search(workspace([5, 1], [0.5, 10], [0, 10]))
    assert found.strength == pytest.approx(0, abs=1e-9)
    assert found.goodness is not None
    assert found.goodness.statistic == pytest.approx(2 * 0.5)
    assert found.significance == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("workers", [1, 2])
def test_no_toy_is_better_than_the_saturated_model(workers: int) -> None:
    """Toys without events in the bin of the signal, where the strength would run away."""
    content = workspace([5, 1], [0.5, 10], [3, 10])
    bounds = (-100.0, 1e3)
    likelihood = Likelihood(content, bounds, 1.0)
    point, _ = likelihood.minimise(likelihood.data, "the data")
    data = np.concatenate([[likelihood.data], np.tile(likelihood.data, (20, 1))])
    data[1:, 0] = 0
    settings = (bounds, 1.0)
    free, *empty = toy_deviances(likelihood, content, settings, point, data, workers, lambda done: None)
    assert free == pytest.approx(likelihood.minimise(likelihood.data, "the data")[1], abs=1e-6)
    assert empty == pytest.approx(20 * [2 * 0.5], abs=1e-6), "the strength is zero, where half an event is expected"


def test_impacts_have_the_closed_form_of_many_events() -> None:
    """A background of 10^6 ± 1 %: the strength moves by 10^4 / s, data and background add in quadrature."""
    found = fit_search(workspace([1e4], [1e6], [1e6], norm(0.01)), groups={"yields": ["norm"]})
    (impact,) = found.impacts
    assert (impact.up, impact.down) == (pytest.approx(-1, rel=0.02), pytest.approx(1, rel=0.02))
    assert (impact.prefit_up, impact.prefit_down) == (pytest.approx(-1, rel=0.02), pytest.approx(1, rel=0.02))
    assert found.groups == {"yields": pytest.approx(1.0, rel=0.02), DATA: pytest.approx(0.1, rel=0.01)}
    assert found.uncertainty == pytest.approx(math.hypot(1.0, 0.1), rel=0.02)
    (parameter,) = found.parameters
    assert parameter.pull == pytest.approx(0, abs=1e-3)
    assert parameter.constraint == pytest.approx(1, rel=1e-3)
    row = found.names.index("mu")
    assert found.correlation[row, 1 - row] == pytest.approx(-1 / math.hypot(1.0, 0.1), rel=0.02)


SPACE = workspace(
    [5, 10, 2],
    [100, 60, 40],
    [120, 75, 36],
    statistics(6, 4, 3),
    norm(0.1),
    shape([112, 63, 38], [90, 57, 43]),
)


@pytest.mark.slow
def test_cabinetry_finds_the_same(agrees: Agreement) -> None:
    """Fit, goodness of fit, impacts, and significance of another program with MINUIT."""
    cabinetry = pytest.importorskip("cabinetry")
    ours = fit_search(SPACE, signal="s")
    model, data = model_of(SPACE, (-10.0, 10.0))
    theirs = cabinetry.fit.fit(model, data.tolist(), goodness_of_fit=True)
    labels = [label.replace("staterror_", "") for label in theirs.labels]
    position = labels.index("mu")
    assert ours.strength == pytest.approx(theirs.bestfit[position], rel=0.01)
    assert ours.uncertainty == pytest.approx(theirs.uncertainty[position], rel=0.01)
    for item in ours.parameters:
        row = labels.index(item.name)
        assert item.value == pytest.approx(theirs.bestfit[row], abs=0.01)
        assert item.uncertainty == pytest.approx(theirs.uncertainty[row], rel=0.01)
    order = [labels.index(name) for name in ours.names]
    wanted = theirs.corr_mat[np.ix_(order, order)]
    agrees("statistics/searchfit", ours.correlation, wanted, sample=1, atol=0.01, rtol=1e-7, part="correlations")
    made = [item.value for item in ours.parameters], [item.uncertainty for item in ours.parameters]
    rows = [labels.index(item.name) for item in ours.parameters]
    agrees("statistics/searchfit", made[0], theirs.bestfit[rows], sample=1, atol=0.01, part="pulls")
    agrees("statistics/searchfit", made[1], theirs.uncertainty[rows], sample=1, rtol=0.01, part="uncertainties")
    assert ours.goodness is not None
    goodness = ours.goodness.asymptotic
    agrees("statistics/searchfit", goodness, theirs.goodness_of_fit, sample=1, atol=0.01, part="goodness of fit")
    ranking = cabinetry.fit.ranking(model, data.tolist(), fit_results=theirs)
    impacts = {item.name: item for item in ours.impacts}
    for name, up, down in zip(ranking.labels, ranking.postfit_up, ranking.postfit_down, strict=True):
        # theirs of bins of the simulation are from fits, ours the limit of small changes
        near = 0.05 * ours.uncertainty if name.startswith("mcstat") else 0.01 * ours.uncertainty
        assert impacts[name].up == pytest.approx(up, abs=near)
        assert impacts[name].down == pytest.approx(down, abs=near)
    wanted = cabinetry.fit.significance(model, data.tolist()).observed_significance
    agrees("statistics/searchfit", ours.significance, wanted, sample=1, rtol=0.02, part="significance")
    assert [item.size for item in ours.impacts] == sorted((item.size for item in ours.impacts), reverse=True)
    prediction = cabinetry.model_utils.prediction(model, fit_results=theirs)
    np.testing.assert_allclose(ours.postfit[0].total, np.sum(prediction.model_yields[0], axis=0), rtol=0.01)
    np.testing.assert_allclose(ours.postfit[0].uncertainty, prediction.total_stdev_model_bins[0][-1], rtol=0.03)
    prefit = cabinetry.model_utils.prediction(model)
    np.testing.assert_allclose(ours.prefit[0].total, np.sum(prefit.model_yields[0], axis=0), rtol=1e-6)
    np.testing.assert_allclose(ours.prefit[0].uncertainty, prefit.total_stdev_model_bins[0][-1], rtol=0.03)


@pytest.mark.slow
def test_toys_of_the_goodness_of_fit_follow_the_chi_square() -> None:
    """With many events: 4 bins, 1 free parameter."""
    space = workspace([100, 50, 20, 10], [4e3, 3e3, 2e3, 1e3], [4100, 2890, 2040, 1010], norm(0.02))
    found = fit_search(space, toys=300)
    good = found.goodness
    assert good is not None
    assert (good.degrees, good.toys, good.failed) == (3, 300, 0)
    assert good.probability is not None
    assert good.uncertainty is not None
    assert abs(good.probability - good.asymptotic) < 4 * good.uncertainty
    bad = fit_search(workspace([1, 1, 1], [400, 300, 200], [500, 300, 100]), toys=20).goodness
    assert bad is not None
    assert bad.probability == 0.0
    assert bad.asymptotic < 1e-6
    assert bad.uncertainty is not None
    assert bad.uncertainty > 0


def test_a_fit_without_sensitivity_is_refused() -> None:
    with pytest.raises(InvalidValues, match="signal 'X': the templates have no sensitivity"):
        fit_search(workspace([0], [1], [1]), signal="X")


@pytest.mark.slow
def test_spectra_are_in_events(tmp_path: Path) -> None:
    """Also of bins that are written with fewer into the workspace."""
    templates = searched(events=4e5, variations=[], normalisations={"xsec": {"tt": 0.1}})
    templates.save(tmp_path)
    variable, details = load_details(tmp_path)
    assert variable["edges"] == [800.0, 1000.0, 1200.0, 1400.0, 1600.0, 1800.0, 2000.0]
    assert set(details["X"]["scales"]) == {"SR", "CR"}
    found = fit_search(templates.workspace("X"), signal="X", asimov_data=True, **details["X"])
    for spectrum in (*found.prefit, *found.postfit):
        np.testing.assert_allclose(spectrum.data, templates.data[spectrum.region], rtol=1e-6)
        for name, values in spectrum.processes.items():
            if name != "X":
                np.testing.assert_allclose(values, templates.nominal[spectrum.region][name].values, rtol=1e-3)
    assert found.goodness is None
    assert found.significance is None
    assert {"normalisations", SIMULATION, DATA} == set(found.groups)
    json.dumps(found.to_dict(), allow_nan=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Templates of a search with data."""
    templates = searched(variations=[], normalisations={"xsec": {"tt": 0.1}})
    data = {region: np.round(values * 1.05 + 0.4) for region, values in templates.data.items()}
    replace(templates, data=data, asimov=False).save(tmp_path, provenance=Provenance("search"))
    return tmp_path


@pytest.mark.slow
def test_the_command_writes_a_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", str(folder), "--toys", "3", "--dry-run"]) == 0
    assert "1 signals can be fitted" in capsys.readouterr().out
    assert not (folder / "fits").exists()
    assert main(["fit", str(folder), "--toys", "3", "--no-plots"]) == 0
    said = capsys.readouterr().out
    assert "X (1300 GeV): strength" in said
    assert "of 3 toys" in said
    content = json.loads((folder / "fits" / "fits.json").read_text())
    assert content["fits"]["X"]["goodness"]["toys"] == 3
    assert content["limits"]["X"]["observed"] > 0
    assert read_provenance(folder / "fits" / "fits.json") == Provenance("search").then("fit").to_dict()
    assert (folder / "fits" / "fits.txt").read_text().splitlines()[-1] == str(Provenance("search").then("fit"))
    assert main(["fit", str(folder), "--toys", "0", "--no-plots"]) == 2
    assert "--force" in capsys.readouterr().err
    assert main(["fit", str(folder), "--force", "--output", str(folder)]) == 2  # the search itself
    assert main(["fit", str(folder), "--force", "--output", str(folder / "templates.root")]) == 2
    assert (folder / "templates.root").stat().st_size > 1000
    capsys.readouterr()
    assert main(["fit", str(folder), "--signal", "Y", "--force"]) == 2
    assert "unknown signal" in capsys.readouterr().err
    assert main(["fit", str(folder), "--toys", "-1", "--force"]) == 2
    listed = json.loads((folder / "templates.json").read_text())
    del listed["variable"]
    (folder / "templates.json").write_text(json.dumps(listed))
    assert main(["fit", str(folder), "--force"]) == 2
    assert "Run 'jettagger search' again" in capsys.readouterr().err
    assert (folder / "fits" / "fits.json").exists()


@pytest.mark.slow
def test_the_command_draws(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mplhep")
    # what they look like is in test_reference_plots.py
    monkeypatch.setattr("jettagger.plots.save_figure", lambda figure, path: path.touch())
    (folder / "record.json").write_text(
        json.dumps(
            {"label": {"experiment": "CMS", "text": "", "energy": "13", "luminosity": 138}, "processes": ["qcd"]}
        )
    )
    assert main(["fit", str(folder), "--toys", "0", "-o", str(folder / "f")]) == 0
    names = {f"X_{when}_{region}" for when in ("prefit", "postfit") for region in ("SR", "CR")}
    names |= {"X_pulls", "X_impacts", "X_correlations", "significance", "limits"}
    assert {path.name for path in (folder / "f").iterdir() if path.suffix == ".pdf"} == {
        f"{name}.pdf" for name in names
    }
    assert {path.name for path in (folder / "f").iterdir() if path.suffix == ".png"} == {
        f"{name}.png" for name in names
    }


def test_what_cannot_be_drawn_is_refused() -> None:
    plots: Any = pytest.importorskip("jettagger.plots")
    pytest.importorskip("mplhep")
    found = fit_search(workspace([10], [100], [130]), signal="s")
    with pytest.raises(InvalidValues, match="no pulls to draw"):
        plots.fitted_pulls(found)
    with pytest.raises(InvalidValues, match="no impacts to draw"):
        plots.strength_impacts(found)
    with pytest.raises(InvalidValues, match="no significances to draw"):
        plots.significances([])
    with pytest.raises(UnknownName, match="unknown region in the fit: 'VR'"):
        plots.fitted_spectrum(found, "VR", edges=[0, 1])


def test_a_fit_whose_parameters_are_at_bounds_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no correlations; the other pictures are not lost."""
    plots: Any = pytest.importorskip("jettagger.plots")
    pytest.importorskip("mplhep")
    from jettagger.cli import fit as command

    found = fit_search(workspace([5, 1], [0.5, 10], [0, 10]), signal="X", mass=1000)
    assert len(found.names) == 0
    with pytest.raises(InvalidValues, match="no correlations to draw"):
        plots.correlation_matrix(found)
    monkeypatch.setattr("jettagger.plots.save_figure", lambda figure, path: path.touch())
    command._draw(tmp_path, tmp_path, [found], [], [], {"edges": [0, 1, 2], "label": "", "name": "m"})
    names = {path.stem for path in tmp_path.iterdir()}
    assert {"significance", *(f"X_postfit_{item.region}" for item in found.postfit)} <= names
    assert "X_correlations" not in names
    text = command._text([found], [], {}, [], False)
    assert "at its bound, without an uncertainty\n  significance: expected" in text
    assert "impacts" not in text
    item = fit_search(SPACE)
    assert item.impacts[0].up is not None
    lost = replace(item, impacts=(replace(item.impacts[0], down=None),))
    expected = f"  impacts: {item.impacts[0].name} {item.impacts[0].up:+.2g}/none\n"
    assert expected in command._text([lost], [], {}, ["few events"], False)


@pytest.mark.slow
def test_toys_in_processes_are_the_same() -> None:
    done: list[int] = []
    options: dict[str, Any] = {"toys": 25, "seed": 3}
    alone = fit_search(SPACE, **options, progress=done.append)
    assert sum(done) == steps(SPACE, toys=25)
    done.clear()
    assert fit_search(SPACE, **options, workers=2, progress=done.append).to_dict() == alone.to_dict()
    assert sum(done) == steps(SPACE, toys=25)
    assert SearchFit.from_dict(json.loads(json.dumps(alone.to_dict()))).to_dict() == alone.to_dict()


def test_an_interrupted_command_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fits that are done are read again; others, and those of other toys, are made."""
    from jettagger.cli import fit as command

    listed = json.loads((folder / "templates.json").read_text())
    listed["signals"]["Y"] = {**listed["signals"]["X"], "mass": 1400}
    (folder / "templates.json").write_text(json.dumps(listed))
    fitted: list[str] = []

    def counted(*arguments: Any, stop: str, **options: Any) -> Any:
        if options["signal"] == stop:
            raise KeyboardInterrupt
        fitted.append(options["signal"])
        return fit_search(*arguments, **options)

    monkeypatch.setattr(command, "fit_search", partial(counted, stop="Y"))
    line = ["fit", str(folder), "--toys", "0", "--no-plots"]
    with suppress(KeyboardInterrupt):
        assert main(line) != 0
    assert fitted == ["X"]
    assert not (folder / "fits").exists()
    assert len(list((folder / "fits.resume").glob("*.json"))) == 1
    capsys.readouterr()
    monkeypatch.setattr(command, "fit_search", partial(counted, stop=""))
    assert main(line) == 0
    assert "1 of 2 signals were fitted before" in capsys.readouterr().out
    assert fitted == ["X", "Y"]
    assert not (folder / "fits.resume").exists()
    content = json.loads((folder / "fits" / "fits.json").read_text())
    assert list(content["fits"]) == ["X", "Y"]
    assert content["limits"]["X"] == content["limits"]["Y"]
    assert {**content["fits"]["X"], "signal": "", "mass": 0} == {**content["fits"]["Y"], "signal": "", "mass": 0}
    assert main([*line, "--workers", "0", "--force"]) == 2
