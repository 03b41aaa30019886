"""The example with two eras: data of simulated events, the configuration, and with ``sim`` all of it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import uproot

from jettagger.search import read_config

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
SAMPLE = EXAMPLES / "data" / "QCD.root"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("two_eras", EXAMPLES / "two_eras.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_data_are_events_with_their_chances(example: ModuleType, tmp_path: Path) -> None:
    with uproot.open(SAMPLE) as file:
        events, runs = file["Events"].arrays(), file["Runs"].arrays(library="np")
    found = example.yields_of(SAMPLE)
    section = np.average(runs["crossSection"], weights=runs["genEventCount"])
    np.testing.assert_allclose(
        found.sum(), 1000 * section * events.genWeight.to_numpy().sum() / runs["genEventSumw"].sum(), rtol=1e-6
    )
    chosen = np.arange(len(events)) % 3 == 1
    example.write_data(tmp_path / "data.root", {SAMPLE: chosen.astype(float)}, 1)
    with uproot.open(tmp_path / "data.root") as file:
        assert "Runs" not in file
        data = file["Events"].arrays()
    assert len(data) == chosen.sum()
    wanted = {tuple(row) for row in events.FatJet_pt[chosen].tolist()}
    assert {tuple(row) for row in data.FatJet_pt.tolist()} == wanted
    assert not [name for name in data.fields if "gen" in name.lower()]
    assert {"nFatJet", "PFCands_pt", "FatJetPFCands_jetIdx"} <= set(data.fields)


def test_the_configuration_is_read(example: ModuleType, tmp_path: Path) -> None:
    for era in example.ERAS:
        for process in (*example.PROCESSES, "data"):
            (tmp_path / f"{process}_{era}.root").touch()
    config = read_config(example.CONFIG.format(first=1.5, second=2.5), "search.yaml", folder=tmp_path)
    assert {name: era.luminosity for name, era in config.search.eras.items()} == {"2022": 1.5, "2023": 2.5}
    assert config.templates is not None
    assert config.templates.from_data["QCD"].validation == ("VR", "VF")


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_the_example_runs(example: ModuleType, tmp_path: Path) -> None:
    for extra in ("fastjet", "pythia8mc", "pyhf"):
        pytest.importorskip(extra)
    assert example.main(str(tmp_path), "120") == 0
    flows = json.loads((tmp_path / "search" / "cutflow.json").read_text())["cutflow"]
    for era in example.ERAS:
        simulated = sum(flows[f"{process}_{era}"]["all"]["initial"]["weighted"] for process in ("QCD", "tt"))
        observed = flows[f"data_{era}"]["all"]["initial"]["events"]
        # both are estimates from few weighted events
        assert observed == pytest.approx(simulated, rel=0.6)
    fits = json.loads((tmp_path / "search" / "fits" / "fits.json").read_text())
    assert fits["closures"]["QCD"]["degrees"] == 2
    assert fits["fits"]["X1500"]["goodness"]["statistic"] >= 0
    assert fits["fits"]["X1500"]["significance"] < 5
