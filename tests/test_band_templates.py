"""Templates from a histogram of probe jets: bands, kinematic bins, variations, what is merged, mirrored or refused."""

from __future__ import annotations

from typing import Any

import hist
import numpy as np
import pytest

from jettagger.calibration import BinnedTemplates, CategorySource, band_templates
from jettagger.errors import InvalidValues, MismatchError, UnknownName
from jettagger.histograms import AxisSpec, HistSpec
from jettagger.types import Floats

SPEC = HistSpec(
    "probe",
    [
        AxisSpec("pt", edges=(300, 400, 600), unit="GeV"),
        AxisSpec("score", edges=(0, 0.5, 0.9, 1.0)),
        AxisSpec("msoftdrop", bins=(10, 50, 150), unit="GeV"),
    ],
    categories=("dataset", "category", "variation"),
)


def fill(
    h: Any, dataset: str, category: str, columns: dict[str, Floats], variation: str = "nominal", weight: Any = 0.5
) -> None:
    SPEC.fill(h, columns, weight, dataset=dataset, category=category, variation=variation)


def jets(number: int, seed: int, mean: float = 82.0) -> dict[str, Floats]:
    generator = np.random.default_rng(seed)
    return {
        "pt": generator.uniform(300, 600, number),
        "score": generator.uniform(0, 1, number),
        "msoftdrop": generator.normal(mean, 20, number),
    }


def probe() -> Any:
    """Two simulated samples and data; `jes` has both sides in one sample, `shower` one side."""
    h = SPEC.make()
    signal, other, wjets = jets(4000, 1), jets(3000, 2, 100), jets(2000, 3, 100)
    for variation, factor in (("nominal", 1.0), ("jesUp", 1.05), ("jesDown", 0.95), ("showerUp", 1.02)):
        fill(h, "tt", "merged", {**signal, "msoftdrop": signal["msoftdrop"] * factor}, variation)
        fill(h, "tt", "other", {**other, "msoftdrop": other["msoftdrop"] * factor}, variation)
    fill(h, "wjets", "other", wjets)
    fill(h, "muon", "data", jets(4500, 4), weight=1.0)
    return h


def contents(h: Any, place: int, band: int, *chosen: tuple[str, str, str]) -> Floats:
    parts = [h[dataset, category, variation, place, band, :] for dataset, category, variation in chosen]
    return np.asarray(np.sum([part.values() for part in parts], axis=0))


def test_contents_are_those_of_the_histogram() -> None:
    h = probe()
    made = band_templates(h, "msoftdrop", data=["muon"], min_effective_events=0)
    assert isinstance(made, BinnedTemplates)
    assert [axis.name for axis in made.axes] == ["pt"]
    assert list(made.templates) == [(0,), (1,)]
    assert not made.refused
    first = made.templates[0,]
    assert (first.name, first.bands) == ("pt 300 to 400", ("fail", "band1", "band2"))
    assert list(first.categories) == ["merged", "other"]
    for band, name in enumerate(first.bands):
        both = [("tt", "other", "nominal"), ("wjets", "other", "nominal")]
        other = first.categories["other"][name]
        np.testing.assert_allclose(other.values, contents(h, 0, band, *both))
        np.testing.assert_allclose(other.variances, other.values / 2)
        np.testing.assert_allclose(first.data[name], contents(h, 0, band, ("muon", "data", "nominal")))
        # a sample without the variation does not change
        moved = [("tt", "other", "jesUp"), ("wjets", "other", "nominal")]
        np.testing.assert_allclose(other.shifts["jes"][0], contents(h, 0, band, *moved))


def test_scores_at_the_edges_belong_to_the_outermost_bands() -> None:
    h = SPEC.make()
    columns = {"pt": np.full(4, 350.0), "score": np.array([-1.0, 0.0, 0.95, 1.0]), "msoftdrop": np.full(4, 82.0)}
    fill(h, "tt", "merged", columns, weight=1.0)
    fill(h, "tt", "merged", {**columns, "score": np.full(4, 0.6)}, weight=1.0)
    made = band_templates(h, "msoftdrop", min_effective_events=0).templates[0,]
    assert made.yields("merged").tolist() == [2, 4, 2]


def test_a_variation_with_one_side_is_mirrored_and_said() -> None:
    made = band_templates(probe(), "msoftdrop", data=["muon"], min_effective_events=0).templates[1,]
    template = made.categories["merged"]["fail"]
    up, down = template.shifts["shower"]
    np.testing.assert_allclose(up + down, 2 * template.values)
    assert any("'shower' has one side (Up), the other one is its mirror image" in line for line in made.report)
    chosen = band_templates(probe(), "msoftdrop", variations=["jes"], min_effective_events=0).templates[1,]
    assert chosen.variations == ("jes",)


def test_categories_are_joined_and_split_by_data_set() -> None:
    h = probe()
    sources = {"top": ["merged"], "tt": CategorySource(["other"], ["tt"]), "w": CategorySource(["other"], ["wjets"])}
    made = band_templates(h, "msoftdrop", data=["muon"], categories=sources, min_effective_events=0).templates[0,]
    assert list(made.categories) == ["top", "tt", "w"]
    assert made.variations == ("jes", "shower")
    assert not made.categories["w"]["fail"].shifts
    np.testing.assert_allclose(made.categories["w"]["fail"].values, contents(h, 0, 0, ("wjets", "other", "nominal")))


def test_bins_are_merged_or_refused() -> None:
    h = SPEC.make()
    few, many = jets(30, 5), jets(3000, 6)
    fill(h, "tt", "merged", {**few, "pt": np.full(30, 350.0)})
    fill(h, "tt", "merged", {**many, "pt": np.full(3000, 500.0)})
    made = band_templates(h, "msoftdrop", min_effective_events=20)
    assert list(made.templates) == [(1,)]
    assert made.refused[0,].startswith("pt 300 to 400: less than 20 effective simulated jets")
    report = made.templates[1,].report
    assert any("10 bins of msoftdrop merged to" in line for line in report)
    assert any("no data" in line for line in report)
    counts = [made.templates[1,].total(band) for band in made.templates[1,].bands]
    assert min((values**2 / variances).min() for values, variances in counts) >= 20
    empty = band_templates(h, "msoftdrop", categories={"top": ["merged"]}, min_effective_events=1e6)
    assert not empty.templates
    assert len(empty.refused) == 2


def test_negative_weights_are_corrected_and_said_and_other_ones_refused() -> None:
    h = probe()
    one = {"pt": np.array([350.0]), "score": np.array([0.2]), "msoftdrop": np.array([148.0])}
    fill(h, "tt", "merged", one, weight=-5.0)
    made = band_templates(h, "msoftdrop", data=["muon"], min_effective_events=0).templates[0,]
    line = next(line for line in made.report if "negative bins [9]" in line)
    assert line.startswith("pt 300 to 400, merged in band 'fail'")
    total = contents(h, 0, 0, ("tt", "merged", "nominal")).sum()
    assert made.yields("merged")[0] == pytest.approx(total)
    h.view(flow=True)["value"].flat[np.argmax(h.view(flow=True)["value"])] = np.nan
    refused = band_templates(h, "msoftdrop").refused
    assert any("not finite" in reason for reason in refused.values())
    data = probe()
    fill(data, "muon", "data", one, weight=-500.0)
    assert "data in band 'fail'" in band_templates(data, "msoftdrop", data=["muon"]).refused[0,]


def test_what_does_not_fit_is_refused() -> None:
    h = probe()
    for error, message, options in [
        (UnknownName, "'mass'.*msoftdrop", {"variable": "mass"}),
        (UnknownName, "'score'", {"variable": "score"}),
        (UnknownName, "'electron'", {"data": ["electron"]}),
        (UnknownName, "'top'", {"categories": {"a": ["top"]}}),
        (UnknownName, "'fsr'", {"variations": ["fsr"]}),
        (MismatchError, "2 names of bands", {"bands": ["fail", "pass"]}),
        (MismatchError, "is data and simulation", {"categories": {"a": CategorySource(["data"], ["muon"])}}),
    ]:
        arguments = {"variable": "msoftdrop", "data": ["muon"], **options}
        with pytest.raises(error, match=message):
            band_templates(h, arguments.pop("variable"), **arguments)
    with pytest.raises(MismatchError, match="axes dataset, category, variation, score"):
        band_templates(h[:, :, :, :, sum, :], "msoftdrop")
    plain = hist.Hist(*h.axes, storage=hist.storage.Double())
    plain.fill(dataset="a", category="b", variation="nominal", pt=350, score=0.2, msoftdrop=80)
    with pytest.raises(InvalidValues, match="squared weights"):
        band_templates(plain, "msoftdrop")
