"""The examples of searches are run."""

from __future__ import annotations

import importlib.util
import json
import re
import signal
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from survivors import PATIENCE, running

from benchmarks.readme_picture import DEMO, beside
from jettagger.files.root import EventFile
from jettagger.histograms import load, pick

EXAMPLES = Path(__file__).parent.parent / "examples"


def example(name: str) -> ModuleType:
    """An example as a module."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_coffea_search(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example("coffea_search").main(str(tmp_path / "out"))
    assert "X2000  SR: initial 1380, " in capsys.readouterr().out  # 138 /fb times 10 fb
    histograms, _ = load(tmp_path / "out" / "histograms.json")
    assert pick(histograms["mjj"], region="SR", variation="nominal").sum(flow=True).value > 0
    assert histograms["masses"].axes["regressed"].label == "regressed [GeV]"


@pytest.mark.slow
def test_dask_search(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the cluster, which may end slowly on a busy machine
        example("dask_search").main(str(tmp_path / "out"))
    histograms, _ = load(tmp_path / "out" / "histograms.json")
    assert list(histograms["mass"].axes["dataset"]) == ["QCD", "X2000"]


def test_skim_histograms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example("skim_histograms").main(str(tmp_path / "out"))
    histograms, record = load(tmp_path / "out" / "histograms.json")
    assert record["cut"] == "HbbvsQCD > 0.2"
    passed = pick(histograms["mass"], region="pass").sum(flow=True).value
    assert f"pass: {passed:g} jets" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.data
def test_stored_scores(tmp_path: Path, shared: Path) -> None:
    path = shared / "cms" / "nano_tt_v15.root"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of coffea on this file
        example("stored_scores").main(str(path), str(tmp_path / "out"))
    histograms, _ = load(tmp_path / "out" / "histograms.json")
    with EventFile(path) as file:
        events = file.read(["FatJet.pt", "FatJet.globalParT3_Xbb", "FatJet.globalParT3_QCD", "genWeight"])
    values, weights = [], []
    for jets, weight in zip(events.FatJet.tolist(), events.genWeight.tolist(), strict=True):
        for jet in jets:
            if jet["pt"] > 200:
                values.append(jet["globalParT3_Xbb"] / (jet["globalParT3_Xbb"] + jet["globalParT3_QCD"]))
                weights.append(weight)
    expected, _ = np.histogram(values, bins=25, range=(0, 1), weights=weights)
    assert expected.any()
    np.testing.assert_allclose(pick(histograms["HbbvsQCD"], dataset="tt").values(), expected, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*RefResolver.*:DeprecationWarning")
def test_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pyhf")
    pytest.importorskip("mplhep", reason="the extra plot is not installed")
    from fitting import check_cabinetry, check_command, check_pulls, check_pyhf
    from matplotlib.image import imread
    from reference_figures import difference
    from test_reference_plots import TOLERANCE, same_versions

    demo = example("demo")
    made_in = tmp_path / "demo"
    assert demo.main(str(made_in)) == 0
    said = capsys.readouterr().out
    assert "\x1b" not in said  # no terminal
    steps = [
        said.index(text) for text in ("[1/4]", "scores.png (after", "[2/4]", "[3/4]", "limits.png (after", "[4/4]")
    ]
    assert steps == sorted(steps)
    assert all((made_in / name).stat().st_size > 0 for name in demo.PICTURES)
    assert all((EXAMPLES.parent / page).exists() for page in re.findall(r"docs/\w+\.md", said))
    made_in.joinpath("search").rename(tmp_path / "out")
    plots = ("mjj_SR", "HbbvsQCD_all_shapes", "HbbvsQCD_all_roc_QCD", "mass_all_shapes", "mass_all_sculpting_QCD")
    for name in ("limits.png", "templates.root", *(f"plots/{plot}.png" for plot in plots)):
        assert (tmp_path / "out" / name).stat().st_size > 0
    made = json.loads((tmp_path / "out" / "limits.json").read_text())["limits"]
    assert [item["mass"] for item in made] == [1000, 1500, 2000]
    for item in made:
        lowest, low, median, high, highest = item["expected"]
        assert 0.01 < lowest < low < median < high < highest < 1000
        assert highest < 10 * lowest
        space = json.loads((tmp_path / "out" / f"workspace_{item['signal']}.json").read_text())
        for optimizer in ("scipy", "minuit"):
            check_command(space, tmp_path / "workspace.json", optimizer)
            check_pyhf(space, optimizer)
        if item["mass"] == 1500:  # a hundred fits each, and test_workspaces.py has all kinds
            check_cabinetry(space)
        # the multijets under X2000 are few events: -0.23 +- 0.04 with 500 toys
        check_pulls(space, median, bias=0.25 if item["signal"] == "X2000" else 0.0)
    beside([made_in / "scores.png", tmp_path / "out" / "limits.png"], tmp_path / DEMO.name)
    same_versions()
    assert difference(imread(tmp_path / DEMO.name)[..., :3], imread(DEMO)[..., :3]) < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_what_is_complete(tmp_path: Path, number: int) -> None:
    pytest.importorskip("mplhep", reason="the extra plot is not installed")
    with running(EXAMPLES / "demo.py", ["out"], tmp_path, PYTHONUNBUFFERED="1") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "$ jettagger search" in line:  # the search has begun
                break
        process.send_signal(number)
        _, problems = process.communicate(timeout=PATIENCE)
        assert process.returncode == 128 + number
    assert "what is in out/ is complete" in problems
    assert "Traceback" not in problems
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    skims = {f"out/scores/{name}.parquet" for name in ("QCD", "tt", "XHH-1000")}
    assert left == skims | {"out/scores.png"}
