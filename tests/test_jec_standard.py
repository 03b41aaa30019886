"""The standard correction: closure on toys of known offset and response, and correctionlib's evaluation of its file."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import correctionlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog
from shown import check_shown

from jettagger.errors import ConfigError, InputFileError, InvalidValues, MismatchError
from jettagger.jec import StandardCorrection, derive_standard, jet_estimates, measure_estimates
from jettagger.jec.standard import _slopes

NAMES = ("pt", "eta", "area", "rho", "num_pv")
ETA = (0.0, 1.3, 2.5, 5.0)
#: slopes in rho * area and in vertices, and parameters of the response, in bins of |eta|
SLOPES = np.array([[0.6, 0.05], [0.8, 0.0], [1.1, -0.03]])
RESPONSE = np.array([[0.95, 0.8], [0.9, 1.0], [0.8, 0.6]])


def response(pt_gen, bins):
    """Rising with pt, as that of a calorimeter."""
    return RESPONSE[bins, 0] - RESPONSE[bins, 1] / pt_gen**0.8


def toy(number: int, seed: int, width: float = 0.15) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    pt_gen, eta = np.exp(rng.uniform(np.log(20), np.log(1000), number)), rng.uniform(-4, 4, number)
    bins = np.searchsorted(ETA, np.abs(eta), side="right") - 1
    num_pv = rng.poisson(30, number)
    rho, area = num_pv * rng.normal(0.8, 0.1, number), rng.normal(0.5, 0.03, number)
    pure = response(pt_gen, bins) * pt_gen * rng.normal(1, width / np.sqrt(pt_gen / 30), number)
    pt = pure + SLOPES[bins, 0] * rho * area + SLOPES[bins, 1] * num_pv
    return {"pt": pt, "eta": eta, "area": area, "rho": rho, "num_pv": num_pv, "pt_gen": pt_gen, "bins": bins}


def inputs(jets, *more):
    return [jets[name] for name in (*NAMES, *more)]


@pytest.fixture(scope="module")
def correction() -> StandardCorrection:
    return derive_standard(*inputs(toy(60_000, 1), "pt_gen"), eta_edges=ETA, min_jets=400)


def offsets(correction: StandardCorrection) -> np.ndarray:
    """The slopes in the file, by correctionlib: the factor of 'offset' where one input is 1, at a pt of 1 TeV."""
    offset = correction.corrections["offset"]
    eta = np.array([0.5, 2.0, -3.0])
    return np.stack([1e3 * (1 - offset.evaluate(eta, 1.0, rho, pv, 1e3)) for rho, pv in ((1.0, 0.0), (0.0, 1.0))], 1)


def test_the_offset_is_that_of_the_toy(correction):
    assert offsets(correction)[:, 0] == pytest.approx(SLOPES[:, 0], abs=0.05)
    assert offsets(correction)[:, 1] == pytest.approx(SLOPES[:, 1], abs=0.03)


def test_factors_are_the_inverse_of_the_toy(correction):
    pt_gen, bins = np.repeat([30.0, 60.0, 200.0, 800.0], 3), np.tile([0, 1, 2], 4)
    pure = pt_gen * response(pt_gen, bins)
    pt = pure + SLOPES[bins, 0] * 20 * 0.5 + SLOPES[bins, 1] * 25
    factors = correction.factor(
        pt, np.array([-0.3, 2.1, 3.0])[bins], np.full(12, 0.5), np.full(12, 20.0), np.full(12, 25)
    )
    assert pt * factors == pytest.approx(pt_gen, rel=0.015)


def test_closure_on_other_jets_and_in_pile_up(correction):
    jets = toy(60_000, 2)
    corrected = jets["pt"] * correction.factor(*inputs(jets))
    for mask in (np.ones(60_000, bool), jets["num_pv"] < 26, jets["num_pv"] > 34):
        estimates = jet_estimates(
            jets["pt_gen"][mask], jets["eta"][mask], np.zeros(mask.sum()), {"one": corrected[mask]}
        )
        edges = {"pt_edges": [30, 50, 100, 300, 900], "eta_edges": [0, 1.3, 2.5, 4]}
        found = measure_estimates(estimates, **edges, flavours=["all"], replicas=30)
        values, sigma = found.median["one"].value[0], found.median["one"].uncertainty[0]
        assert np.abs(values - 1).max() < 0.02
        assert np.all(np.abs(values - 1) < 4 * sigma + 0.003)
    assert max(abs(row.closure - 1) for row in correction.closure) < 0.001
    check_shown(correction)
    assert sum(row.jets for row in correction.closure) == correction.record["jets"] == 60_000
    assert {row.eta for row in correction.closure} == {(0.0, 1.3), (1.3, 2.5), (2.5, 5.0)}


def test_the_offset_narrows_the_response():
    """Without it, pile-up adds its fluctuations to the width."""
    jets = toy(40_000, 3, width=0.05)
    full = jets["pt"] * derive_standard(*inputs(jets, "pt_gen"), eta_edges=ETA).factor(*inputs(jets))
    blind = [np.zeros(40_000) if name in ("rho", "num_pv") else jets[name] for name in NAMES]
    curve = jets["pt"] * derive_standard(*blind, jets["pt_gen"], eta_edges=ETA).factor(*blind)
    estimates = jet_estimates(jets["pt_gen"], jets["eta"], np.zeros(40_000), {"curve": curve, "full": full})
    found = measure_estimates(estimates, pt_edges=[25, 50], eta_edges=[0, 2.5], flavours=["all"], replicas=20)
    # 5 % / sqrt(pt / 30) with and without the spread of the offset, 0.1 * 24 * 0.5 * 0.7 + 5.5 * (0.3 + 0.02) GeV
    assert found.ratio["full"][0, 0, 0].value < 0.8


def test_correctionlib_evaluates_the_file_as_it_reads(correction, tmp_path: Path):
    path = tmp_path / "standard.json.gz"
    correction.save(path)
    jets = toy(500, 7)
    arguments = dict(zip(NAMES, inputs(jets), strict=True))
    compound = correctionlib.CorrectionSet.from_file(str(path)).compound["standard"]
    assert [item.name for item in compound.inputs] == ["eta", "area", "rho", "num_pv", "pt"]
    expected = compound.evaluate(*(arguments[item.name].astype(float) for item in compound.inputs))
    loaded = StandardCorrection.load(path)
    assert loaded == correction
    assert (loaded.factor(*inputs(jets)) == expected).all()
    assert (pickle.loads(pickle.dumps(correction)).factor(*inputs(jets)) == expected).all()
    # the response is linear in ln(pt) between its nodes and constant beyond: by NumPy, from the file
    content = json.loads(correction.to_string())
    binning = content["corrections"][1]["data"]["content"]
    assert binning["edges"] == list(ETA)
    for number, eta in enumerate((0.5, 2.0, 4.0)):
        tree = binning["content"][number]
        nodes = np.array(tree["edges"][1:-1])
        first, power = np.array([item["parameters"] for item in tree["content"][1:]]).T
        pt = np.geomspace(5, 5000, 300)
        expected = np.interp(np.log(pt), np.log(nodes), np.log(first * nodes**power))
        assert np.log(correction.corrections["response"].evaluate(eta, pt)) == pytest.approx(expected, abs=1e-9)


@given(st.floats(-6, 6), st.floats(1, 5000), st.floats(0, 1), st.floats(0, 80), st.integers(0, 120))
def test_corrected_pt_rises_with_pt_and_knows_no_sign_of_eta(correction, eta, pt, area, rho, num_pv):
    given_ = [np.full(2, item) for item in (eta, area, rho, num_pv)]
    pair = np.array([pt, 1.01 * pt])
    low, high = pair * correction.factor(pair, *given_)
    assert 0 < low < high
    mirrored = correction.factor(pair, -given_[0], *given_[1:])
    assert (mirrored == correction.factor(pair, *given_)).all()


def test_a_jet_without_an_input_has_no_factor(correction):
    factors = correction.factor([50.0, np.nan, -1.0, 50.0], [0.1] * 4, [0.5] * 4, [10.0, 10, 10, np.inf], [20] * 4)
    assert np.isfinite(factors).tolist() == [True, False, False, False]


def test_slopes_minimise_the_absolute_deviations():
    """Against the exact solution of the linear programme."""
    jets = toy(150, 11)
    mask = jets["bins"] == 0
    pt, pt_gen = jets["pt"][mask], jets["pt_gen"][mask]
    x = np.stack([(jets["rho"] * jets["area"])[mask], jets["num_pv"][mask]], 1).astype(float)
    bins = (pt_gen > 150).astype(int)
    scale = np.array([np.subtract(*np.quantile(pt[bins == b], [0.75, 0.25], method="hazen")) for b in (0, 1)])[bins]
    design = np.column_stack([x, bins == 0, bins == 1]) / scale[:, None]
    n = len(pt)
    exact = linprog(
        np.concatenate([np.zeros(4), np.ones(2 * n)]),
        A_eq=np.hstack([design, np.eye(n), -np.eye(n)]),
        b_eq=pt / scale,
        bounds=[(None, None)] * 4 + [(0, None)] * (2 * n),
    )
    found = _slopes(pt, x, bins, np.ones(n), 2)

    def deviations(slopes):
        rest = pt - x @ slopes
        return sum(np.abs(rest - np.median(rest[bins == b]))[bins == b].sum() / scale[bins == b][0] for b in (0, 1))

    assert deviations(exact.x[:2]) == pytest.approx(exact.fun, rel=1e-6)
    assert exact.fun <= deviations(found) < 1.01 * exact.fun


def test_weights_undo_a_selection():
    """Jets dropped by a rule that depends on their response, with the weight that undoes it."""
    jets = toy(30_000, 5)
    rng = np.random.default_rng(1)
    probability = np.where(jets["pt"] > jets["pt_gen"], 0.3, 1.0)
    kept = rng.random(30_000) < probability
    whole = derive_standard(*inputs(jets, "pt_gen"), eta_edges=ETA, min_jets=700)
    part = {name: values[kept] for name, values in jets.items()}
    weighted = derive_standard(*inputs(part, "pt_gen"), weight=1 / probability[kept], eta_edges=ETA, min_jets=700)
    without = derive_standard(*inputs(part, "pt_gen"), eta_edges=ETA, min_jets=700)
    ratios = [np.mean(item.factor(*inputs(jets)) / whole.factor(*inputs(jets))) for item in (weighted, without)]
    assert ratios[0] == pytest.approx(1, abs=0.005)
    assert ratios[1] > 1.02


def test_wrong_inputs_are_named(tmp_path: Path):
    jets = toy(400, 1)
    with pytest.raises(InvalidValues, match="0 of 400 jets"):
        derive_standard(*inputs(jets), np.full(400, np.nan))
    with pytest.raises(MismatchError, match="rho 1"):
        derive_standard(jets["pt"], jets["eta"], jets["area"], [1.0], jets["num_pv"], jets["pt_gen"])
    with pytest.raises(ConfigError, match="eta_edges"):
        derive_standard(*inputs(jets, "pt_gen"), eta_edges=[2, 1])
    for keywords in ({"min_jets": 1}, {"iterations": 0}, {"tolerance": 0.0}):
        with pytest.raises(ConfigError, match=next(iter(keywords))):
            derive_standard(*inputs(jets, "pt_gen"), **keywords)
    other = tmp_path / "other.json"
    other.write_text('{"schema_version": 2, "corrections": []}')
    with pytest.raises(InputFileError, match=r"other.json: not a standard correction .* schema_version"):
        StandardCorrection.load(other)


def test_few_jets_are_one_bin(correction):
    jets = toy(300, 9)
    found = derive_standard(*inputs(jets, "pt_gen"), min_jets=150)
    assert {row.eta for row in found.closure} == {(0.0, 5.0)}
    assert len(found.closure) <= 2
    assert np.isfinite(found.factor(*inputs(jets))).all()
