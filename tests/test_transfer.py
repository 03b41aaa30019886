"""Backgrounds from data: transfer factors in workspaces and cards, injected signals, blinded regions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from agreement import Agreement
from cards import Card, expected_limit
from scipy.interpolate import BPoly
from transfers import MASS, PT, scaled, searched, spectra

from jettagger.errors import ConfigError, InvalidValues, MismatchError, UnknownName
from jettagger.statistics.building import build
from jettagger.statistics.fits import Likelihood, fit, pulls
from jettagger.statistics.limits import limit
from jettagger.statistics.searchfits import fit_search
from jettagger.statistics.specification import Signal, TemplateSpec
from jettagger.statistics.transfer import TransferFactor, bernstein, coefficients
from jettagger.statistics.workspaces import unit_of
from jettagger.types import Floats

# jsonschema's own deprecation, which pyhf 0.7 always raises
pytestmark = pytest.mark.filterwarnings("ignore:.*RefResolver.*:DeprecationWarning")

ABCD = TransferFactor("SR", "CR", "abcd", control=("B", "D"), order=[1, 2])
FOUR = ["SR", "CR", "B", "D"]


def test_the_basis_is_that_of_scipy(agrees: Agreement) -> None:
    x = np.linspace(0, 1, 7)
    for order in range(5):
        for k, values in enumerate(bernstein(order, x)):
            wanted = BPoly(np.eye(order + 1)[k][:, None], [0, 1])(x)
            agrees("statistics/bernstein", values, wanted, sample=7, atol=1e-15, rtol=1e-7, part=f"{order}, {k}")


def test_the_start_is_the_transfer_factor_of_expected_events() -> None:
    functions = bernstein(2, scaled(MASS))
    failing = np.linspace(5000, 200, 12)
    found = coefficients([failing * (functions.T @ [0.1, 0.3, 0.2])], [failing], [functions])
    assert found is not None
    np.testing.assert_allclose(found[0] * found[1], [0.1, 0.3, 0.2], rtol=1e-9)
    assert coefficients([np.zeros(12)], [failing], [functions]) is None


def expectation(values: dict[str, Any], region: str, row: int) -> Floats:
    """Events in SR, CR, B and D in one bin of pt, by hand."""
    of = spectra()
    below = {"SR": "CR", "B": "D"}.get(region, region)
    signal = values["mu"] * of[region, "signal"][row] * 1.016 ** values["lumi"]
    top = of[region, "tt"][row] * 1.016 ** values["lumi"] * (1.1 if values["top"] > 0 else 0.9) ** abs(values["top"])
    multijet = values["yields"][f"{below}_pt{row + 1}"]
    if region != below:
        multijet = multijet * (bernstein(1, scaled(PT))[:, row] @ values["tf"] @ bernstein(2, scaled(MASS)))
        multijet = multijet * 1.2 ** values["closure"] if region == "SR" else multijet
    return np.asarray(signal + top + multijet)


def point_of(likelihood: Likelihood, templates: Any, values: dict[str, Any]) -> Floats:
    """The parameters of a workspace for given physical values."""
    config, (transfer,) = likelihood.model.config, templates.transfers
    point = likelihood.start.copy()
    for name in ("lumi", "top", "closure"):
        point[config.par_slice(name)] = values[name]
    point[config.poi_index] = values["mu"] / unit_of(templates.workspace("H"))
    for name, value in zip(transfer.coefficient_names, values["tf"].ravel(), strict=True):
        point[config.par_slice(name)] = value / transfer.ratio
    for _, failing in transfer.pairs:
        point[config.par_slice(f"fail_multijet_{failing}")] = (
            values["yields"][failing] / templates.nominal[failing]["multijet"].values
        )
    return point


def some_values(seed: int, regions: list[str]) -> dict[str, Any]:
    generator = np.random.default_rng(seed)
    names = [f"{region}_pt{row}" for region in regions for row in (1, 2, 3)]
    return {
        "mu": generator.uniform(0.2, 2),
        "lumi": generator.choice([-1.0, 1.0, 1.7]),
        "top": generator.choice([-1.0, 1.0]),
        "closure": generator.choice([-1.0, 1.0]),
        "tf": generator.uniform(0.02, 0.2, (2, 3)),
        "yields": {name: generator.uniform(500, 2000, 12) for name in names},
    }


NORMALISATIONS = {"lumi": {"tt": 0.016, "H": 0.016}, "closure": {"multijet": 0.2}}


@pytest.mark.parametrize("regions", [["SR", "CR"], FOUR], ids=["polynomial", "abcd"])
def test_workspace_and_card_expect_the_product(regions: list[str], tmp_path: Path) -> None:
    """For any values of the parameters: in pyhf, with which `Likelihood` is compared, and by the rules of combine."""
    pytest.importorskip("pyhf", reason="the extra stats is not installed")
    factor = ABCD if len(regions) == 4 else None
    templates = searched(factor, regions=regions, normalisations=NORMALISATIONS)
    (transfer,) = templates.transfers
    assert transfer.predicted == ("SR_pt1", "SR_pt2", "SR_pt3")
    templates.save(tmp_path)
    card, likelihood = Card(tmp_path / "datacard_H.txt"), Likelihood(templates.workspace("H"), None, None)
    slices = likelihood.model.config.channel_slices
    for seed in range(2):
        values = some_values(seed, regions[1::2])
        rates = likelihood.deviance.rates(point_of(likelihood, templates, values))
        theirs = {"r": values["mu"], **{name: values[name] for name in ("lumi", "top", "closure")}}
        of_tf = values["tf"].ravel() / transfer.ratio
        theirs |= dict(zip(transfer.coefficient_names, of_tf.tolist(), strict=True))
        for _, failing in transfer.pairs:
            scales = values["yields"][failing] / templates.nominal[failing]["multijet"].values
            theirs |= {f"fail_multijet_{failing}_{i}": float(scale) for i, scale in enumerate(scales)}
        for region in regions:
            for row in range(3):
                name, expected = f"{region}_pt{row + 1}", expectation(values, region, row)
                np.testing.assert_allclose(rates[slices[name]], expected, rtol=1e-9)
                np.testing.assert_allclose(card.expected(name, theirs), expected, rtol=1e-8)


def test_the_fit_finds_the_transfer_factor_of_expected_events() -> None:
    pytest.importorskip("pyhf", reason="the extra stats is not installed")
    templates = searched(strength=1.0, flat=True)
    found = fit(templates.workspace("H"), bounds=(-20, 20))
    (transfer,) = templates.transfers
    values = dict(zip(found.names, found.values, strict=True))
    assert found.strength[0] * unit_of(templates.workspace("H")) == pytest.approx(1.0, abs=0.01)
    fitted = np.array([values[name] * transfer.ratio for name in transfer.coefficient_names])
    of = spectra()
    expected = of["SR", "multijet"].sum(axis=0) / of["CR", "multijet"].sum(axis=0)
    np.testing.assert_allclose(fitted @ transfer.basis[0], expected, rtol=0.01)


def test_counting_in_four_regions_is_the_ratio() -> None:
    """One bin, order 0: B C / D, with the uncertainty of three numbers of Poisson."""
    pytest.importorskip("pyhf", reason="the extra stats is not installed")
    import hist

    counts = hist.Hist.new.StrCat([], growth=True, name="dataset").StrCat([], growth=True, name="region")
    made = counts.StrCat([], growth=True, name="variation").Reg(1, 0, 1, name="x").Weight()
    events = {"A": 130, "B": 400, "C": 500, "D": 2000}
    for region, number in events.items():
        place = {"dataset": "data", "region": region, "variation": "nominal"}
        made.fill(**place, x=np.full(number, 0.5))
    made.fill(dataset="s", region="A", variation="nominal", x=np.full(1000, 0.5), weight=0.1)
    factor = TransferFactor("A", "C", "abcd", control=("B", "D"))
    spec = TemplateSpec({"multijet": ()}, {"H": Signal(["s"], 125)}, data=["data"], from_data={"multijet": factor})
    found = fit(build(made, spec).workspace("H"), bounds=(-20, 20))
    unit = unit_of(build(made, spec).workspace("H"))
    predicted = 400 * 500 / 2000
    assert found.strength[0] * unit == pytest.approx((130 - predicted) / 100, abs=1e-3)
    error = np.sqrt(130 + predicted**2 * (1 / 400 + 1 / 500 + 1 / 2000) + (0.1 * 0.1 * 1000) * 0.3**2) / 100
    assert found.strength[1] * unit == pytest.approx(error, rel=0.01)


def test_what_is_blind_is_expected_from_elsewhere() -> None:
    """In the signal region: from the control regions, or from the ratio of simulated events; it is not looked at."""
    for changes in (
        {"factor": ABCD, "regions": FOUR},
        {"processes": {"multijet": ["multijet"], "tt": ["tt"]}},
    ):
        one, other = (searched(strength=s, blind=["SR"], **changes) for s in (0.0, 5.0))
        assert one.asimov
        # the signal in CR is seen there
        for region in ("SR_pt1", "SR_pt2", "SR_pt3"):
            expected = spectra()["SR", "multijet"][int(region[-1]) - 1] + spectra()["SR", "tt"][int(region[-1]) - 1]
            np.testing.assert_allclose(one.data[region], expected, rtol=1e-6)
            np.testing.assert_allclose(other.data[region], expected, rtol=0.03)
    with pytest.raises(InvalidValues, match="nothing is observed in region 'SR_pt1', and it has no simulated events"):
        searched(blind=["SR"])
    with pytest.raises(InvalidValues, match="'CR_pt1' has neither data nor simulated samples"):
        searched(blind=["SR", "CR"])


def test_without_data_simulation_replaces_them() -> None:
    pytest.importorskip("pyhf", reason="the extra stats is not installed")
    templates = searched(data=[], flat=True, processes={"multijet": ["multijet"], "tt": ["tt"]})
    assert templates.asimov
    expected = spectra()["CR", "multijet"].sum(axis=0)
    np.testing.assert_allclose(templates.nominal["CR"]["multijet"].values, expected)
    found = fit_search(templates.workspace("H"), signal="H", asimov_data=True)
    assert found.strength == pytest.approx(0, abs=1e-3)
    assert set(found.prefit[0].processes) == {"multijet", "tt", "H"}
    np.testing.assert_allclose(found.prefit[1].processes["multijet"], expected, rtol=1e-6)
    assert set(found.groups) == {"backgrounds from data", "simulated events", "data"}
    assert 0 < found.groups["backgrounds from data"] < found.uncertainty


def test_another_reader_finds_the_rates(tmp_path: Path) -> None:
    """That of rabbit (David Walter et al.), which shares no code with this package or with combine."""
    reader = pytest.importorskip("rabbit.datacard_parser")
    templates = searched(flat=True)
    templates.save(tmp_path)
    found = reader.DatacardParser().parse_file(str(tmp_path / "datacard_H.txt"))
    assert found.bins == ["SR", "CR"]
    assert found.jmax == "13"
    assert {row[0] for row in found.rate_params} == {
        *(f"fail_multijet_CR_{i}" for i in range(12)),
        *(f"pass_multijet_SR_{i}" for i in range(12)),
    }
    rows = {row[0]: row[1:] for row in found.rate_params}
    assert rows["fail_multijet_CR_3"] == ["CR", "multijet_bin4", "1", "[0,10]"]
    region, process, formula, arguments = rows["pass_multijet_SR_3"]
    assert (region, process) == ("SR", "multijet_bin4")
    assert arguments == "fail_multijet_CR_3,tf_multijet_0,tf_multijet_1,tf_multijet_2"
    assert formula.startswith("@0*(@1*0.5017361111+@2*0.")
    for i in range(12):
        for region in ("SR", "CR"):
            values = templates.nominal["CR"]["multijet"].values[i]
            ratio = templates.transfers[0].ratio if region == "SR" else 1.0
            assert found.rates[region, f"multijet_bin{i + 1}"] == pytest.approx(values * ratio, rel=1e-9)


@pytest.mark.slow
def test_the_limit_of_the_card_is_that_of_the_workspace(tmp_path: Path) -> None:
    pytest.importorskip("pyhf", reason="the extra stats is not installed")
    templates = searched(flat=True, normalisations=NORMALISATIONS)
    templates.save(tmp_path)
    of_card = expected_limit(Card(tmp_path / "datacard_H.txt"))
    assert of_card == pytest.approx(limit(templates.workspace("H")).expected[2], rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("injected", [0.0, 1.5])
def test_an_injected_signal_is_returned(injected: float) -> None:
    """From histograms with data of Poisson: starting values, yields and transfer factor are those of each data set."""
    pytest.importorskip("pyhf", reason="the extra stats is not installed")
    found = []
    for seed in range(40):
        space = searched(strength=injected, seed=seed, flat=True).workspace("H")
        value, sigma = fit(space, bounds=(-20, 20)).strength
        found.append((value * unit_of(space) - injected) / (sigma * unit_of(space)))
    assert abs(np.mean(found)) < 3 / np.sqrt(40)
    assert abs(np.std(found, ddof=1) - 1) < 3 / np.sqrt(78)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["flat", "flat abcd", pytest.param("polynomial", marks=pytest.mark.long)])
def test_pulls_of_toys(method: str) -> None:
    pytest.importorskip("pyhf", reason="the extra stats is not installed")
    if method == "flat abcd":
        factor = TransferFactor("SR", "CR", "abcd", control=("B", "D"), order=[2])
        templates = searched(factor, regions=FOUR, flat=True)
    else:
        templates = searched(flat=method == "flat")
    space = templates.workspace("H")
    strength = 1.0 / unit_of(space)
    found = pulls(space, strength, 200, seed=11, bounds=(-20 * strength, 20 * strength))
    assert abs(found.mean()) < 0.2
    assert abs(found.std(ddof=1) - 1) < 0.15


def test_refused_definitions() -> None:
    with pytest.raises(ConfigError, match="give 'control'"):
        TransferFactor("SR", "CR", "abcd")
    with pytest.raises(ConfigError, match="'control' belongs to the method abcd"):
        TransferFactor("SR", "CR", order=[1], control=("B", "D"))
    with pytest.raises(ConfigError, match="needs the 'order'"):
        TransferFactor("SR", "CR")
    with pytest.raises(ConfigError, match="the region 'CR' is used twice"):
        TransferFactor("SR", "CR", "abcd", control=("CR", "D"))
    with pytest.raises(ConfigError, match=r"got \[1, 9\], expected 0 to 6"):
        TransferFactor("SR", "CR", order=[1, 9])
    with pytest.raises(ConfigError, match="1 orders for a histogram of 2 variables"):
        searched(TransferFactor("SR", "CR", order=[1]))
    with pytest.raises(UnknownName, match=r"SRR.*nearest: SR"):
        searched(TransferFactor("SRR", "CR", order=[1, 1]), regions=None)
    with pytest.raises(UnknownName, match="the regions of the fit, for 'multijet' from data: 'B'"):
        searched(ABCD)
    with pytest.raises(ConfigError, match="'multijet' is from data, so its normalisation floats already"):
        searched(free=["multijet"])
    with pytest.raises(UnknownName, match="multijets"):
        searched(from_data={"multijets": ABCD}, processes={"tt": ["tt"]}, regions=FOUR)
    twice = {"multijet": TransferFactor("SR", "CR", order=[1, 1]), "tt": TransferFactor("B", "CR", order=[1, 1])}
    with pytest.raises(ConfigError, match="'multijet' and 'tt' are both from data in the region 'CR'"):
        searched(from_data=twice, regions=FOUR)
    with pytest.raises(InvalidValues, match="region 'B_pt1': the background 'multijet' has neither simulated samples"):
        searched(regions=FOUR)
    with pytest.raises(MismatchError, match="one variable, got dataset"):
        searched(from_data={}, processes={"tt": ["tt"]})
