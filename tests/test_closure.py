"""Closure of backgrounds from data, and their keys in the configuration of a search."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pages import blocks
from searches import CONFIG
from transfers import searched

from jettagger.cli import main
from jettagger.errors import JettaggerError
from jettagger.search import read_config
from jettagger.statistics.closure import fit_closure
from jettagger.statistics.templates import Templates, load_closures
from jettagger.statistics.transfer import TransferFactor

# jsonschema's own deprecation, which pyhf 0.7 always raises
pytestmark = pytest.mark.filterwarnings("ignore:.*RefResolver.*:DeprecationWarning")

PAGE = "docs/search_backgrounds.md"


def closed(seed: int | None, order: int = 2, **changes: Any) -> Templates:
    return searched(TransferFactor("SR", "CR", order=[order], validation=("B", "D")), seed=seed, flat=True, **changes)


def test_the_right_polynomial_closes_and_another_one_does_not(tmp_path: Path) -> None:
    """Expected events of a polynomial of second order in pt and mass, within the fluctuations of data."""
    pytest.importorskip("pyhf", reason="the extra stats is not installed")
    closed(1, multijet=5e5).save(tmp_path)
    found = fit_closure(load_closures(tmp_path)["multijet"], "multijet")
    assert found.degrees == 2 * 12 - 12 - 3
    assert found.probability > 0.01
    assert set(found.coefficients) == {"tf_multijet_0", "tf_multijet_1", "tf_multijet_2"}
    assert [item.region for item in found.spectra] == ["B", "D"]
    for item in found.spectra:
        assert set(item.processes) == {"multijet", "tt"}
        assert item.total.sum() == pytest.approx(item.data.sum(), rel=0.02)
        assert (item.uncertainty < 1.1 * np.sqrt(item.total)).all()
    closed(1, order=0, multijet=5e5).save(tmp_path)
    flat = fit_closure(load_closures(tmp_path)["multijet"], "multijet")
    assert flat.degrees == 11
    assert flat.probability < 1e-6


@pytest.mark.slow
def test_the_statistic_of_the_closure_is_a_chi_square() -> None:
    pytest.importorskip("pyhf", reason="the extra stats is not installed")
    from jettagger.statistics.closure import closure_workspace

    fits = [fit_closure(closure_workspace(closed(seed).closures["multijet"]), "multijet") for seed in range(40)]
    mean = np.mean([item.statistic for item in fits])
    assert abs(mean - 9) < 3 * np.sqrt(2 * 9 / 40)


def test_without_data_there_is_no_closure() -> None:
    simulated = {"multijet": ["multijet"], "tt": ["tt"]}
    made = closed(1, data=[], processes=simulated)
    assert made.closures == {}
    assert "multijet: no closure, no data" in made.report
    assert "multijet: no closure, B is blind" in closed(1, blind=["B"]).report


@pytest.mark.slow
def test_fits_have_the_closure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pyhf", reason="the extra stats is not installed")
    pytest.importorskip("mplhep", reason="the extra plot is not installed")
    folder = tmp_path / "out"
    folder.mkdir()
    closed(1).save(folder)
    (folder / "record.json").write_text(json.dumps({"processes": ["multijet", "tt", "H"], "label": None}))
    monkeypatch.chdir(tmp_path)
    (block,) = blocks(PAGE, "python")
    exec(compile(block, PAGE, "exec"), {"__name__": "document"})
    assert capsys.readouterr().out.split()[1] == "9"
    assert main(["fit", str(folder), "--toys", "0"]) == 0
    assert "closure of multijet: " in capsys.readouterr().out
    content = json.loads((folder / "fits" / "fits.json").read_text())
    assert content["closures"]["multijet"]["degrees"] == 9
    names = {path.name for path in (folder / "fits").iterdir()}
    assert {"closure_multijet_B.png", "closure_multijet_D.pdf", "H_postfit_SR.png"} <= names
    # yields of single bins are many, and their impacts are not drawn before the fit
    assert not [
        item for item in content["fits"]["H"]["impacts"] if item["name"].startswith("fail_") and item["prefit_up"]
    ]


# ---------------------------------------------------------------------------------------- configuration

TEXT = CONFIG.replace(
    "  CR: {kind: control, pass: [near], fail: [tagged]}\n",
    "  CR: {kind: control, pass: [near], fail: [tagged]}\n"
    "  VR: {kind: validation, fail: [near], pass: [tagged]}\n"
    "  VF: {kind: validation, fail: [near, tagged]}\n",
).replace(
    "  normalisation_uncertainties:",
    "  data: [run]\n"
    "  backgrounds_from_data:\n"
    "    multijet: {pass: SR, fail: CR, method: polynomial, order: [1, 2], validation: {pass: VR, fail: VF}}\n"
    "  normalisation_uncertainties:",
)
TEXT = TEXT.replace("histogram: mjj", "histogram: masses")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    for name in ("tt1", "X1", "run"):
        (folder / f"{name}.root").touch()
    return folder


def test_a_configuration(files: Path) -> None:
    spec = read_config(TEXT, name="search.yaml", folder=files).templates
    assert spec is not None
    assert spec.processes == {"multijet": (), "tt": ("tt",)}
    assert spec.regions == ("SR", "CR")
    assert spec.from_data == {"multijet": TransferFactor("SR", "CR", "polynomial", (1, 2), None, ("VR", "VF"))}
    abcd = TEXT.replace("polynomial, order: [1, 2], validation: ", "abcd, control: ")
    spec = read_config(abcd, name="search.yaml", folder=files).templates
    assert spec is not None
    assert spec.regions == ("SR", "CR", "VR", "VF")
    assert spec.from_data["multijet"].pairs == (("SR", "CR"), ("VR", "VF"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("pass: SR, fail", "pass: SRR, fail", r"line \d+: unknown region: 'SRR' \(nearest: SR"),
        ("{pass: VR", "{pass: VRR", r"line \d+: unknown region: 'VRR' \(nearest: VR"),
        ("order: [1, 2]", "order: [1]", r"line \d+: 1 orders for the 2 variables of 'masses', expected one for each"),
        ("order: [1, 2]", "order: [1, 12]", r"line \d+: the order of a transfer factor: got \[1, 12\]"),
        ("order: [1, 2]", "order: high", "'order' must be a list of numbers"),
        ("method: polynomial", "method: polynom", r"unknown method 'polynom' \(nearest: polynomial"),
        ("method: polynomial", "method: abcd", r"line \d+: the method abcd .* give 'control'"),
        ("fail: CR, method", "fial: CR, method", r"unknown key 'fial' \(nearest: fail"),
    ],
)
def test_mistakes_have_a_line(old: str, new: str, message: str, files: Path) -> None:
    with pytest.raises(JettaggerError, match=message):
        read_config(TEXT.replace(old, new), name="search.yaml", folder=files)


def test_the_page_is_right(files: Path) -> None:
    """Its configurations are read, in a search with these samples, regions and histograms."""
    whole, abcd = (yaml.safe_load(block) for block in blocks(PAGE, "yaml", "backgrounds_from_data"))
    document = yaml.safe_load(TEXT)
    samples = {name: {"files": "tt1.root", "cross_section": 1} for name in ("QCD", "tt", "H")}
    document["samples"] = {**samples, "data": {"files": "run.root", "data": True}}
    document["regions"] |= {
        name: {"kind": "control", "fail": [cut]} for name, cut in zip("ABCD", ["near", "tagged"] * 2, strict=True)
    }
    axes = {
        "pt": {"edges": [450, 500, 600], "expression": "jet1.pt"},
        "mass": {"bins": [23, 40, 201], "expression": "jet1.msoftdrop"},
    }
    document["histograms"]["pt_mass"] = {"axes": axes}
    for templates in (whole["templates"], {**whole["templates"], **abcd, "regions": list("ABCD")}):
        spec = read_config(yaml.safe_dump({**document, "templates": templates}), "page.yaml", folder=files).templates
        assert spec is not None
        assert list(spec.from_data) == ["QCD"]
