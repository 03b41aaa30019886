"""Weights of parton densities, scales and the shower in a search: against NumPy, and what is refused."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from jettagger.processors.search import SearchWarning
from searches import columns

from jettagger.errors import ConfigError, InvalidValues, JettaggerError, MismatchError
from jettagger.files.root import write_tree
from jettagger.formats.nesting import nest
from jettagger.search import read_config, run_search
from jettagger.search.output import make_templates
from jettagger.search.theory import TheoryWeight

CONFIG = """\
version: 1
luminosity: 10
samples:
  tt: {files: tt.root, cross_section: 2}
  QCD: {files: qcd.root, cross_section: 3, sum_of_weights: events}
  skim: {files: skim.root, cross_section: 2, sum_of_weights: events}
  run: {files: run.root, data: true}
jets: {preselection: "pt > 220", mass: msoftdrop}
regions:
  all: {kind: control}
weights:
  pileup: {nominal: puWeight, up: puWeightUp, down: "2 * puWeight - puWeightUp"}
  pdf: {theory: pdf, members: 6, alpha_s: true}
  replicas: {theory: pdf, combine: replicas, members: 6}
  pairs: {theory: pdf, combine: hessian_pairs, members: 6, keep_cross_section: false}
  eigen: {theory: pdf, combine: each, members: 2}
  mu: {theory: scale}
  scales: {theory: scale, combine: each}
  ps: {theory: parton_shower}
  shower: {theory: parton_shower, combine: envelope, keep_cross_section: false}
histograms:
  mjj: {bins: [4, 200, 1800], unit: GeV}
templates:
  histogram: mjj
  processes: {tt: [tt, QCD]}
  signals: {X: {datasets: [skim], mass: 1000}}
  data: [run]
"""
EDGES = np.array([-np.inf, 200, 600, 1000, 1400, 1800, np.inf])


@pytest.fixture(autouse=True)
def _notes_are_no_errors() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SearchWarning)
        yield


def content(seed: int) -> dict[str, Any]:
    made = columns(60, seed)
    rng = np.random.default_rng(seed)
    for name, size in (("LHEPdfWeight", 9), ("LHEScaleWeight", 9), ("PSWeight", 4)):
        numbers = rng.normal(1.02, 0.1, (60, size)).astype(np.float32)
        made[name] = ak.from_regular(ak.Array(numbers), axis=1)
    return made


def sums(made: dict[str, Any]) -> dict[str, Any]:
    """A tree ``Runs`` of twice as many events, other ratios than those of the events in the file."""
    total = 2 * float(np.sum(made["genWeight"], dtype=np.float64))
    rows = {
        "run": np.array([1, 1]),
        "genEventSumw": total * np.array([0.25, 0.75]),
        "genEventCount": np.array([30, 90]),
    }
    for name, size in (("LHEPdfSumw", 9), ("LHEScaleSumw", 9), ("PSSumw", 4)):
        rows[name] = ak.from_regular(ak.Array(np.random.default_rng(size).uniform(0.9, 1.1, (2, size))), axis=1)
    return rows


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("theory")
    (folder / "search.yaml").write_text(CONFIG)
    made = content(1)
    write_tree(folder / "tt.root", [made], more={"Runs": sums(made)})
    bare = content(2)
    del bare["LHEPdfWeight"], bare["LHEScaleWeight"]
    bare["PSWeight"] = bare["PSWeight"][:, :1]
    write_tree(folder / "qcd.root", [bare])
    short = content(3)
    short["LHEScaleWeight"] = short["LHEScaleWeight"][:, [0, 1, 2, 3, 5, 6, 7, 8]]
    write_tree(folder / "skim.root", [short])
    data = columns(40, 4, data=True)
    write_tree(folder / "run.root", [data])
    return folder


def spectra(made: dict[str, Any], factors: Any) -> Any:
    """Sums of generator weights times pile-up times each of the factors in bins of mjj, in plain Python."""
    total = np.zeros((len(EDGES) - 1, factors.shape[1]))
    for event, row in zip(nest(made).tolist(), factors, strict=True):
        jets = sorted((jet for jet in event["FatJet"] if jet["pt"] > 220), key=lambda jet: -jet["pt"])[:2]
        if len(jets) < 2:
            continue
        energy = momentum = 0.0
        for jet in jets:
            p = jet["pt"] * np.array([np.cos(jet["phi"]), np.sin(jet["phi"]), np.sinh(jet["eta"])])
            energy = energy + np.sqrt(p @ p + jet["msoftdrop"] ** 2)
            momentum = momentum + p
        mjj = np.sqrt(energy**2 - momentum @ momentum)
        total[np.searchsorted(EDGES, mjj, side="right") - 1] += event["genWeight"] * event["puWeight"] * row
    return total.T


def expected(made: dict[str, Any], recorded: dict[str, Any] | None, scale: float) -> dict[str, Any]:
    """All variations, from the columns with NumPy."""
    generator = np.asarray(made["genWeight"], dtype=np.float64)
    found: dict[str, Any] = {}
    shapes, flat, ratios = {}, {}, {}
    for column, total in (("LHEPdfWeight", "LHEPdfSumw"), ("LHEScaleWeight", "LHEScaleSumw"), ("PSWeight", "PSSumw")):
        factors = np.asarray(ak.to_numpy(made[column]), dtype=np.float64)
        if factors.shape[1] == 8:
            factors = np.insert(factors, 4, 1.0, axis=1)
        if recorded is None:
            ratios[column] = generator @ factors / generator.sum()
        else:
            weights = recorded["genEventSumw"]
            ratios[column] = weights @ np.asarray(ak.to_numpy(recorded[total])) / weights.sum()
        flat[column] = spectra(made, factors) * scale
        shapes[column] = flat[column] / ratios[column][:, np.newaxis]
    nominal = spectra(made, np.ones((len(generator), 1)))[0] * scale
    found["nominal"] = nominal
    pdf, raw = shapes["LHEPdfWeight"], flat["LHEPdfWeight"]
    size = np.sqrt(((pdf[1:7] - pdf[0]) ** 2).sum(axis=0))
    found["pdfUp"], found["pdfDown"] = nominal + size, nominal - size
    for side, i in (("Up", 8), ("Down", 7)):
        ratio = 1 + ratios["LHEPdfWeight"][i] - ratios["LHEPdfWeight"][0]
        found[f"pdf_alphas{side}"] = (nominal + raw[i] - raw[0]) / ratio
    spread = pdf[1:7].std(axis=0, ddof=1)
    found["replicasUp"], found["replicasDown"] = nominal + spread, nominal - spread
    one, other = raw[1:7:2] - raw[0], raw[2:7:2] - raw[0]
    found["pairsUp"] = nominal + np.sqrt((np.maximum(np.maximum(one, other), 0) ** 2).sum(axis=0))
    found["pairsDown"] = nominal - np.sqrt((np.maximum(np.maximum(-one, -other), 0) ** 2).sum(axis=0))
    for i in (1, 2):
        for side, sign in (("Up", 1), ("Down", -1)):
            ratio = 1 + sign * (ratios["LHEPdfWeight"][i] - ratios["LHEPdfWeight"][0])
            found[f"eigen_{i}{side}"] = (nominal + sign * (raw[i] - raw[0])) / ratio
    scales = np.stack([nominal, *shapes["LHEScaleWeight"][[0, 1, 3, 5, 7, 8]]])
    found["muUp"], found["muDown"] = scales.max(axis=0), scales.min(axis=0)
    for name, up, down in (("scales_mur", 7, 1), ("scales_muf", 5, 3)):
        found[f"{name}Up"], found[f"{name}Down"] = shapes["LHEScaleWeight"][[up, down]]
    for name, up, down in (("ps_isr", 0, 2), ("ps_fsr", 1, 3)):
        found[f"{name}Up"], found[f"{name}Down"] = shapes["PSWeight"][[up, down]]
    shower = np.stack([nominal, *flat["PSWeight"]])
    found["showerUp"], found["showerDown"] = shower.max(axis=0), shower.min(axis=0)
    return found


@pytest.fixture(scope="module")
def found(world: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SearchWarning)
        return run_search(read_config(world / "search.yaml"))


def values(result: Any, dataset: str, variation: str) -> Any:
    cell = {"dataset": dataset, "region": "all", "variation": variation}
    return result.histograms["mjj"][cell].values(flow=True)


@pytest.mark.parametrize(("dataset", "seed"), [("tt", 1), ("skim", 3)])
def test_variations_are_those_of_numpy(found: Any, dataset: str, seed: int) -> None:
    """With the cross sections in ``Runs``, and with those of the events read; nine scales, and eight."""
    made = content(seed)
    if dataset == "skim":
        made["LHEScaleWeight"] = made["LHEScaleWeight"][:, [0, 1, 2, 3, 5, 6, 7, 8]]
    recorded = sums(made) if dataset == "tt" else None
    total = float(np.sum(made["genWeight"], dtype=np.float64)) * (2 if dataset == "tt" else 1)
    wanted = expected(made, recorded, 1000 * 10 * 2 / total)
    assert set(found.histograms["mjj"].axes["variation"]) == {*wanted, "pileupUp", "pileupDown"}
    for variation, numbers in wanted.items():
        assert values(found, dataset, variation) == pytest.approx(numbers, rel=1e-6, abs=1e-9), variation
    assert len({round(float(numbers.sum()), 6) for numbers in wanted.values()}) > 15, "they differ"


def test_samples_without_the_weights_are_not_changed(found: Any) -> None:
    nominal = values(found, "QCD", "nominal")
    assert nominal.sum() != 0
    for variation in ("pdfUp", "muDown", "ps_isrUp", "eigen_2Down", "showerUp", "pdf_alphasDown"):
        assert np.array_equal(values(found, "QCD", variation), nominal)
    assert not values(found, "run", "pdfUp").any()
    assert "dataset 'QCD' has no LHEPdfWeight: 'pdf' does not change it" in found.notes
    assert any(
        note.startswith("dataset 'skim', weight 'mu': the files do not record LHEScaleSumw") for note in found.notes
    )
    assert not any("'tt', weight" in note or "'skim', weight 'shower'" in note for note in found.notes)
    templates = make_templates(found)
    assert templates is not None
    shifts = {
        "pdf",
        "pdf_alphas",
        "replicas",
        "pairs",
        "eigen_1",
        "eigen_2",
        "mu",
        "scales_mur",
        "scales_muf",
        "ps_isr",
    }
    assert set(templates.nominal["all"]["tt"].shifts) == shifts | {"ps_fsr", "shower", "pileup"}


def test_chunks_do_not_matter(world: Path, found: Any) -> None:
    again = run_search(read_config(CONFIG.replace("version: 1", "version: 1\nchunk_size: 7"), "s.yaml", world))
    assert again.histograms["mjj"] == found.histograms["mjj"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("theory: scale}", "theory: scales}", r"line 17: unknown theory 'scales' .nearest: scale"),
        ("theory: scale}", "theory: scale, combine: hessian}", r"line 17: unknown combination in .*'hessian'.*envel"),
        ("theory: scale}", "theory: scale, members: 3}", r"line 17: 'members' belongs to weights of 'pdf'"),
        ("theory: scale}", "theory: scale, up: a}", r"line 17: 'up' belongs to 'nominal' or 'file'"),
        ("each, members: 2}", "each}", r"line 16: give 'members'"),
        ("hessian_pairs, members: 6", "hessian_pairs, members: 5", r"line 15: pairs need an even number"),
        ("members: 2}", "members: 0}", r"line 16: 'members' must be"),
        ("pdf, members: 6", "pdf, members: 7", r"'pdf': LHEPdfWeight has 9 weights, not those of 7 members and two"),
    ],
)  # fmt: skip
def test_mistakes_have_their_place(world: Path, old: str, new: str, message: str) -> None:
    assert old in CONFIG
    with pytest.raises(JettaggerError) as caught:
        run_search(read_config(CONFIG.replace(old, new, 1), "search.yaml", world))
    assert re.search(message, str(caught.value), re.DOTALL), str(caught.value)
    assert isinstance(caught.value, (ConfigError, MismatchError))


def test_weights_without_a_meaning_are_refused() -> None:
    mu = TheoryWeight("scale")

    def factors(rows: Any) -> Any:
        return mu.factors("mu", ak.Array([{"LHEScaleWeight": row} for row in rows]), [5, 6, 7])

    with pytest.raises(MismatchError, match=r"LHEScaleWeight has 5 weights, whose meaning is not known, not 8 or 9"):
        factors([[1.0] * 5] * 3)
    with pytest.raises(MismatchError, match=r"has 8 weights for event 6, and 9 for others"):
        factors([[1.0] * 9, [1.0] * 8, [1.0] * 9])
    with pytest.raises(InvalidValues, match=r"LHEScaleWeight of event 7 is not finite; 1 of 3 are not"):
        factors([[1.0] * 9, [1.0] * 9, [np.nan] * 9])
    assert factors([[1.0], [1.0], []]) == {}
