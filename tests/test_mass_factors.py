"""Mass scale and resolution as factors: shift, smearing, files, and variations of a search that name them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from coffea.processor import accumulate
from hypothesis import given, settings
from hypothesis import strategies as st
from probes import as_events
from searches import CONFIG, columns, write

from jettagger.calibration import MassFactors, MassShift
from jettagger.errors import ConfigError, InputFileError, MismatchError
from jettagger.files.jsonfile import read_object
from jettagger.histograms import pick
from jettagger.runtime.seeding import mixed, normals, uniforms
from jettagger.search import read_config, run_search
from jettagger.search.variations import jet_shifts


def peak(number: int, seed: int = 1) -> tuple[Any, Any]:
    """Masses at 80 with a width of 10 %, two in each event, and event numbers."""
    rng = np.random.default_rng(seed)
    return ak.unflatten(rng.normal(80, 8, 2 * number), np.full(number, 2)), np.arange(number)


def test_random_numbers_are_uniform_normal_and_independent() -> None:
    stats = pytest.importorskip("scipy.stats")
    event, index = np.repeat(np.arange(50_000), 2), np.tile([0, 1], 50_000)
    flat, gauss = uniforms(event, index, "tag"), normals(event, index, "tag")
    assert stats.kstest(flat, "uniform").pvalue > 0.001
    assert stats.kstest(gauss, "norm").pvalue > 0.001
    for one, other in ((flat[::2], flat[1::2]), (flat, uniforms(event, index, "other")), (gauss[::2], gauss[1::2])):
        assert abs(np.corrcoef(one, other)[0, 1]) < 4 / np.sqrt(len(one))
    assert len(np.unique(mixed(np.arange(100_000)))) == 100_000


@settings(max_examples=20)
@given(st.integers(0, 30), st.integers(1, 29))
def test_smearing_depends_on_the_event_alone(seed: int, cut: int) -> None:
    masses, event = peak(30, seed)
    shift = MassShift(MassFactors("m", 1.01, 0.01, 1.2, 0.1), resolution=1)
    whole = shift.values(masses, event)
    parts = ak.concatenate([shift.values(masses[:cut], event[:cut]), shift.values(masses[cut:], event[cut:])])
    assert whole.tolist() == parts.tolist()


@pytest.mark.parametrize(("scale", "resolution"), [(1.0, 1.0), (0.98, 1.0), (1.0, 1.3), (1.03, 1.1)])
@pytest.mark.parametrize("known", [False, True])
def test_the_peak_moves_and_widens_by_the_factors(scale: float, resolution: float, known: bool) -> None:
    masses, event = peak(40_000)
    factors = MassFactors("m", scale, 0.0, resolution, 0.0, width=0.1)
    reference = ak.full_like(masses, 80.0) if known else None
    values = ak.to_numpy(ak.flatten(MassShift(factors).values(masses, event, reference)))
    before = ak.to_numpy(ak.flatten(masses))
    assert values.mean() / before.mean() == pytest.approx(scale, abs=1e-3)
    ratio = values.std() / values.mean() / (before.std() / before.mean())
    assert ratio == pytest.approx(resolution, rel=0.02)


def test_a_better_resolution_needs_the_reference() -> None:
    masses, event = peak(1000)
    factors = MassFactors("m", resolution=0.8)
    assert MassShift(factors).values(masses, event).tolist() == masses.tolist()
    near = MassShift(factors).values(masses, event, ak.full_like(masses, 80.0))
    inside = abs(masses - 80) < 24
    np.testing.assert_allclose(ak.flatten(near[inside]), ak.flatten((80 + 0.8 * (masses - 80))[inside]))


def test_missing_masses_and_types_stay() -> None:
    shift = MassShift(MassFactors("m", 1.1, 0, 1.2))
    masses = ak.Array([[80.0, None], [], [float("nan")]])
    values = shift.values(masses, [1, 2, 3])
    assert ak.is_none(values, axis=1).tolist() == [[False, True], [], [False]]
    assert np.isnan(values[2, 0])
    single = shift.values(ak.values_astype(ak.Array([[80.0]]), np.float32), [1])
    assert str(single.type) == "1 * var * float32"
    with pytest.raises(MismatchError, match="masses of 3 events, but 2 event numbers"):
        shift.values(masses, [1, 2])
    with pytest.raises(MismatchError, match="the reference 'gen' is not aligned"):
        MassShift(MassFactors("m", resolution=1.1, reference="gen")).values([[80.0]], [1], [[80.0, 80.0]])


# ---------------------------------------------------------------------------------------- files


def test_files_are_what_was_written(tmp_path: Path) -> None:
    factors = MassFactors("msoftdrop", 0.99, 0.01, 1.08, 0.05, 0.12, "genJetAK8.msoftdrop")
    factors.save(tmp_path / "jms.json")
    assert MassFactors.load(tmp_path / "jms.json") == factors
    assert read_object(tmp_path / "jms.json", InputFileError)["format"] == "jettagger-mass-factors/1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"format": "jettagger-mass-factors/1",\n "colum": "m"}', "line 2.*unknown key 'colum' .nearest: column"),
        ('{"format": "jettagger-mass-factors/2", "column": "m"}', "'format'"),
        ('{"format": "jettagger-mass-factors/1",\n "column": "m", "scale": "1"}', "'scale' must be a number"),
        ('{"format": "jettagger-mass-factors/1", "column": "m", "scale": 0}', "scale must be a number above zero"),
        (
            '{"format": "jettagger-mass-factors/1", "column": "m", "resolution_uncertainty": 1}',
            "resolution_uncertainty must be a number from 0 to below resolution, got 1",
        ),
        ('{"format": "jettagger-mass-factors/1", "column": "m", "width": 12}', "width is relative to the mass"),
    ],
)
def test_files_that_make_no_sense_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "jms.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        MassFactors.load(path)
    assert "jms.json" in str(caught.value)


# ---------------------------------------------------------------------------------------- searches


def searching(folder: Path, variations: str) -> Path:
    start, _, rest = CONFIG.partition("variations:")
    _, _, rest = rest.partition("histograms:")
    path = folder / "search.yaml"
    histogram = "\n  sd: {bins: [400, 0, 400], unit: GeV, expression: jet1.msoftdrop}"
    path.write_text(f"{start}variations:\n{variations}\nhistograms:{histogram}{rest}")
    return path


@pytest.mark.slow
def test_a_search_varies_by_mass_factors(tmp_path: Path) -> None:
    MassFactors("msoftdrop", 1.1, 0.1).save(tmp_path / "jms.json")
    plain = read_config(searching(tmp_path, "  jes: {up: {pt: pt}, down: {pt: pt}}"))
    config = read_config(searching(tmp_path, "  sd: {mass_factors: jms.json}"))
    assert list(jet_shifts(config.search.variations, "nominal")) == ["nominal", "sd_scaleUp", "sd_scaleDown"]
    processors = [item.make_processor() for item in (plain, config)]
    made, data = columns(25, 2), columns(25, 2, data=True)
    before, after = (
        accumulate([one.process(as_events(made, "tt")), one.process(as_events(data, "run"))])["histograms"]["sd"]
        for one in processors
    )
    assert {*after.axes["variation"]} == {"nominal", "pileupUp", "pileupDown", "sd_scaleUp", "sd_scaleDown"}
    assert pick(after, dataset="run", variation="nominal") == pick(before, dataset="run", variation="nominal")

    def mean(histogram: Any, variation: str) -> float:
        values = pick(histogram, dataset="tt", variation=variation)
        return float(values.values() @ values.axes[0].centers / values.sum().value)

    for variation, factor in (("nominal", 1.1), ("sd_scaleUp", 1.2), ("sd_scaleDown", 1.0)):
        assert mean(after, variation) == pytest.approx(factor * mean(before, "nominal"), rel=0.02)
    assert pick(after, dataset="tt", variation="sd_scaleDown") == pick(before, dataset="tt", variation="nominal")


@pytest.mark.parametrize(
    ("variations", "message"),
    [
        ("  sd: {mass_factors: other.json}", "line .*other.json"),
        ("  sd: {mass_factor: jms.json}", "unknown key 'mass_factor' .nearest: mass_factors"),
        ("  sd: {mass_factors: jms.json, up: {pt: pt}}", "give either 'mass_factors', or 'up' and 'down', got both"),
        ("  sd: {up: {pt: pt}}", "columns for up and for down"),
        ("  sd: {}", "columns for up and for down"),
    ],
)
def test_variations_without_sense_are_refused(tmp_path: Path, variations: str, message: str) -> None:
    MassFactors("msoftdrop", 1.1, 0.1).save(tmp_path / "jms.json")
    with pytest.raises((ConfigError, InputFileError), match=message):
        read_config(searching(tmp_path, variations))


def test_a_column_that_files_lack_is_named_before_the_run(tmp_path: Path) -> None:
    for name, data in (("tt", False), ("X1", False), ("run", True)):
        write(tmp_path / f"{name}.root", columns(5, 2, data=data))
    MassFactors("msoftdrp", 1.1, 0.1).save(tmp_path / "jms.json")
    with pytest.raises(ConfigError, match=r"line .*'msoftdrp' .*nearest: msoftdrop"):
        run_search(read_config(searching(tmp_path, "  sd: {mass_factors: jms.json}")))
