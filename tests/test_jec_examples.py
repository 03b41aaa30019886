"""The example of a calibration: its configurations are valid, its scripts run."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import yaml
from jec_events import jec_columns, write_calibration

from jettagger.config.models import validated
from jettagger.config.yamlfile import read_yaml
from jettagger.files.root import write_tree
from jettagger.jec import Sampling, read_config
from jettagger.jec.variables import ABSENT, BRANCHES, input_branches

FOLDER = Path(__file__).resolve().parent.parent / "examples" / "jec"

#: two flat corrections in the format of CMS's text files
TEXTS = {
    "Toy_V1_MC_L1FastJet_AK4PF.jec.txt": "{1 JetEta 3 JetPt JetA Rho max(0.1,1-[0]*y*z/x) Correction L1FastJet}\n"
    "-5.2 5.2 7 1 7000 0.1 4 0 100 0.5\n",
    "Toy_V1_MC_L2Relative_AK4PF.jec.txt": "{1 JetEta 1 JetPt [0] Correction L2Relative}\n-5.2 5.2 3 1 7000 1.25\n",
}


def test_the_configuration_is_valid_and_pfnano_has_its_branches() -> None:
    config = read_config(FOLDER / "config.yaml")
    named = {block: [*own.numerical, *own.categorical] for block, own in config.features.items()}
    used = {name for names in input_branches(named).values() for name in names}
    assert used <= BRANCHES.keys() - set(ABSENT)
    assert {"ch_puppi_weight", "ne_puppi_weight"} <= used
    assert config.loss.type == "quantiles"
    assert validated(Sampling, read_yaml(FOLDER / "sampling.yaml")).keep == 0.3


def example() -> Any:
    spec = importlib.util.spec_from_file_location("compare", FOLDER / "compare.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # coffea's, about missing cross-references
def test_the_regression_beside_text_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("coffea")
    write_tree(tmp_path / "events.root", [jec_columns(30, seed=1)])
    write_calibration(tmp_path / "model", "AK4")
    for name, text in TEXTS.items():
        (tmp_path / name).write_text(text)
    files = [str(tmp_path / name) for name in TEXTS]
    found = example().compare(str(tmp_path / "events.root"), str(tmp_path / "model"), files[1:])
    assert found["standard"][0] == pytest.approx(1.25 * found["raw"][0], rel=1e-3)
    assert found["standard"][1] == pytest.approx(found["raw"][1], rel=1e-3)
    assert 0.5 < found["regression"][0] < 2
    example().main([str(tmp_path / "events.root"), str(tmp_path / "model"), *files])
    assert "regression   median" in capsys.readouterr().out


@pytest.mark.slow
def test_the_search_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("coffea")
    from jettagger.histograms import pick
    from jettagger.search import read_config as read_search
    from jettagger.search import run_search

    monkeypatch.chdir(tmp_path)
    write_tree(tmp_path / "test.root", [jec_columns(40, seed=2, jets=4)])
    write_calibration(tmp_path / "calibration", "AK4", (0.16, 0.5, 0.84))
    text = (FOLDER / "search.yaml").read_text()
    assert yaml.safe_load(text)["tagger"] == "calibration"
    (tmp_path / "search.yaml").write_text(text)
    mjj = run_search(read_search(tmp_path / "search.yaml")).histograms["mjj"]
    filled = {
        name: pick(mjj, dataset="QCD", region="all", variation=name).values() for name in ("nominal", "jecUp", "jesUp")
    }
    assert filled["nominal"].sum() > 0
    assert any((filled["nominal"] != filled[name]).any() for name in ("jecUp", "jesUp"))
