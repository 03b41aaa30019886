"""Calibrations of jets in a search: nominal columns of simulation and data, and variations of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest

pytest.importorskip("coffea.processor")

from jec_events import jec_columns, write_calibration
from jettagger.processors import ResonanceSearchProcessor
from jettagger.processors.search import JetVariation, Region, Sample
from test_search_processor import as_events

import jettagger as jt
from jettagger.errors import ConfigError
from jettagger.histograms import AxisSpec, HistSpec, pick
from jettagger.jec import corrected
from jettagger.search.variations import changed_columns, jet_shifts

FACTOR = "(1 - rawFactor) * {}"
PT = HistSpec("pt", [AxisSpec("pt", bins=(40, 0, 1200), expression="jet1.pt")])
MASS = HistSpec("mass", [AxisSpec("mass", bins=(40, 0, 300), expression="jet1.mass")])


def scaled(factor: str, **more: str) -> dict[str, str]:
    return {name: f"{name} * {FACTOR.format(factor)}" for name in ("pt", "mass")} | more


def search(**changes: Any) -> ResonanceSearchProcessor:
    settings: dict[str, Any] = {
        "samples": {"tt": Sample(2.0, sum_of_weights="events"), "run": Sample(data=True)},
        "regions": {"all": Region("inclusive")},
        "histograms": [PT, MASS],
        "preselection": "abs(eta) < 2.2",
        "n_jets": 1,
        "luminosity": 1.0,
    }
    return ResonanceSearchProcessor(**(settings | changes))


def filled(processor: ResonanceSearchProcessor, made: dict[str, Any], name: str, dataset: str = "tt") -> np.ndarray:
    result = processor.process(as_events(made, dataset))["histograms"]
    return np.concatenate(
        [pick(result[item], dataset=dataset, region="all", variation=name).values() for item in ("pt", "mass")]
    )


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return jec_columns(40, seed=4)


def replaced(made: dict[str, Any], factor: Any) -> dict[str, Any]:
    """The columns with calibrated jets, as a file would have them."""
    raw = (1 - made["FatJet_rawFactor"]) * factor
    return made | {f"FatJet_{name}": made[f"FatJet_{name}"] * raw for name in ("pt", "mass")}


@pytest.fixture(scope="module")
def calibrated() -> dict[str, Any]:
    jes = JetVariation({"pt": "pt * 1.1"}, {"pt": "pt * 0.9"})
    return {"jec": JetVariation(scaled("1.3"), scaled("1.1"), scaled("1.2")), "jes": jes}


@pytest.mark.parametrize(
    ("variation", "factor", "other"),
    [("nominal", 1.2, "nominal"), ("jecUp", 1.3, "nominal"), ("jecDown", 1.1, "nominal"), ("jesUp", 1.2, "jesUp")],
)
def test_histograms_are_those_of_calibrated_files(
    made: dict[str, Any], calibrated: dict[str, Any], variation: str, factor: float, other: str
) -> None:
    found = filled(search(variations=calibrated), made, variation)
    plain = search(variations={"jes": calibrated["jes"]})
    assert found.sum() > 40
    np.testing.assert_allclose(found, filled(plain, replaced(made, np.float32(factor)), other))


def test_data_are_calibrated(made: dict[str, Any], calibrated: dict[str, Any]) -> None:
    data = {name: values for name, values in made.items() if name != "genWeight"}
    found = filled(search(variations=calibrated), data, "nominal", "run")
    np.testing.assert_allclose(found, filled(search(), replaced(data, np.float32(1.2)), "nominal", "run"))


@pytest.mark.slow
def test_factors_of_the_network_of_the_search(made: dict[str, Any], tmp_path: Path) -> None:
    model = write_calibration(tmp_path / "mine", "AK8", (0.16, 0.5, 0.84))
    sides = [scaled(f"mine_{name}") for name in ("ptRawCorrUp", "ptRawCorrDown", "ptRawCorr")]
    processor = search(model=str(model), prefix="mine", variations={"jec": JetVariation(*sides)})
    assert set(processor.outputs) == {"ptRawCorr", "ptRawCorrUp", "ptRawCorrDown"}
    assert changed_columns(processor.variations["jec"], processor.names.values()) == ()
    events = jt.load_tagger(model).attach(as_events(made))
    for name, variation in (("nominal", "nominal"), ("jecUp", "up"), ("jecDown", "down")):
        jets = corrected(events.FatJet, "mine", variation)
        new = made | {"FatJet_pt": jets.pt, "FatJet_mass": jets.mass}
        plain = {
            key: ak.fill_none(values, np.nan) if key.startswith("FatJet_") else values for key, values in new.items()
        }
        np.testing.assert_allclose(filled(processor, made, name), filled(search(), plain, "nominal"), err_msg=name)


def test_a_calibration_alone_has_no_variation() -> None:
    shifts = jet_shifts({"jec": JetVariation(nominal=scaled("1.2"))}, "nominal")
    assert list(shifts) == ["nominal"]
    assert {"pt", "rawFactor"} <= set(shifts["nominal"].read)


def test_two_calibrations_of_a_column_are_refused() -> None:
    twice = {name: JetVariation(nominal={"pt": "pt * 2"}) for name in ("a", "b")}
    with pytest.raises(ConfigError, match=r"'a' and 'b' both replace the nominal 'pt'"):
        jet_shifts(twice, "nominal")
    with pytest.raises(ConfigError, match="columns for up and for down"):
        JetVariation(up={"pt": "pt"}, nominal={"pt": "pt"})
    with pytest.raises(ConfigError, match="columns for up and for down"):
        JetVariation()
