"""Probe jets of tag and probe: against a plain loop, in any chunks, with variations, and what is refused."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from coffea import processor as coffea_processor
from coffea.nanoevents import NanoAODSchema
from coffea.processor import accumulate
from jettagger.processors import ScaleFactorProcessor
from probes import as_events, columns

from jettagger.calibration import MassFactors
from jettagger.errors import ConfigError, InvalidValues, MismatchError, MissingColumns, UnknownName
from jettagger.files.root import write_tree
from jettagger.histograms import AxisSpec, pick
from jettagger.search.definition import JetVariation, Sample, SearchWarning, WeightFactor
from jettagger.search.tagandprobe import ParametrisedTag
from jettagger.testing import make_columns

BANDS = [0.0, 0.3, 0.6, 1.0]
PT = AxisSpec("pt", edges=(300, 400, 500, 1000), unit="GeV")
SCORE = "probHbb / (probHbb + probQCDothers)"
MASS = AxisSpec("msoftdrop", bins=(5, 0, 250), unit="GeV")


def probes(**changes: Any) -> ScaleFactorProcessor:
    settings: dict[str, Any] = {
        "samples": {"tt": Sample(2.0, sum_of_weights="events"), "run": Sample(data=True)},
        "score": SCORE,
        "bands": BANDS,
        "axes": [PT],
        "variable": MASS,
        "prefix": "mine",
        "btag": "btag > 0.3",
        "probe": "pt > 300 and drMuon > 1.3",
        "weights": {"pileup": WeightFactor("puWeight", "puWeightUp", "2 * puWeight - puWeightUp")},
        "luminosity": 10.0,
    } | changes
    return ScaleFactorProcessor(**settings)


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return columns(1500, 1)


def run(one: ScaleFactorProcessor, made: dict[str, Any], dataset: str = "tt") -> dict[str, Any]:
    return one.process(as_events(made, dataset))


def distance(one: dict[str, Any], other: dict[str, Any]) -> float:
    return math.hypot(one["eta"] - other["eta"], math.remainder(one["phi"] - other["phi"], 2 * math.pi))


def category(event: dict[str, Any], jet: dict[str, Any]) -> str:
    """By counting: quarks of each hadronic top quark within 0.8 of the jet."""
    parts = event["GenPart"]
    best = -1
    for number, top in enumerate(parts):
        if abs(top["pdgId"]) != 6 or any(p["genPartIdxMother"] == number and p["pdgId"] == top["pdgId"] for p in parts):
            continue
        daughters = [i for i, p in enumerate(parts) if p["genPartIdxMother"] == number]
        legs = [i for i in daughters if abs(parts[i]["pdgId"]) == 5]
        (boson,) = (i for i in daughters if abs(parts[i]["pdgId"]) == 24)
        legs += [i for i, p in enumerate(parts) if p["genPartIdxMother"] == boson]
        if all(abs(parts[i]["pdgId"]) <= 5 for i in legs):
            best = max(best, sum(distance(parts[i], jet) < 0.8 for i in legs))
    return {3: "signal", 2: "partly_merged", -1: "other"}.get(best, "unmerged")


def loop(made: dict[str, Any], *, scale: float = 1.0, kind: str = "semileptonic") -> list[dict[str, Any]]:
    """The probes, with plain Python; the weights of the events are those of the generator and of pile-up."""
    found, counts = [], dict.fromkeys(("probe", "distinct"), 0)
    for event in as_events(made).tolist():
        for name in ("muon", "tag", "probe"):
            event[name] = None
        weak = 0.25 if kind == "dijet" else 0.15
        softest = 10 if kind == "dijet" else 55
        muons = [m for m in event["Muon"] if m["pt"] > softest and m["pfRelIso03_all"] < weak]
        muons.sort(key=lambda muon: -muon["pt"])
        fat = [{**jet, "pt": np.float32(jet["pt"]) * np.float32(scale)} for jet in event["FatJet"]]
        if kind == "semileptonic":
            if not muons:
                continue
            tags = [
                jet for jet in event["Jet"]
                if jet["pt"] > 30 and 0.4 < distance(jet, muons[0]) < 1.5 and jet["btag"] > np.float32(0.3)
            ]  # fmt: skip
            candidates = [jet for jet in fat if jet["pt"] > 300 and distance(jet, muons[0]) > 1.3]
        else:
            tags = []
            candidates = [jet for jet in fat if jet["pt"] > 300]
        probe = max(candidates, key=lambda jet: jet["pt"], default=None)
        if kind == "dijet" and probe is not None:
            tags = [jet for jet in fat if jet["pt"] > 200 and jet is not probe]
        tag = max(tags, key=lambda jet: jet["pt"], default=None)
        if probe is None or tag is None:
            continue
        counts["probe"] += 1
        if distance(probe, tag) < 0.8:
            continue
        counts["distinct"] += 1
        if kind == "semileptonic" and (len(muons) != 1 or event["MET"]["pt"] <= 50):
            continue
        if kind == "dijet" and (muons or abs(math.remainder(probe["phi"] - tag["phi"], 2 * math.pi)) <= 2.5):
            continue
        above = probe["mine_probHbb"] + probe["mine_probQCDothers"]
        if math.isnan(above):
            continue
        weight = event.get("genWeight", 1.0) * event.get("puWeight", 1.0)
        found.append(
            {
                "category": category(event, probe) if "GenPart" in event else "data",
                "pt": probe["pt"],
                "score": probe["mine_probHbb"] / above,
                "msoftdrop": probe["msoftdrop"],
                "abseta": abs(probe["eta"]),
                "weight": weight,
                "up": event.get("genWeight", 1.0) * event.get("puWeightUp", 1.0),
                "event": event["event"],
            }
        )
    loop.counts = counts  # type: ignore[attr-defined]
    return found


def expected(rows: list[dict[str, Any]], name: str, weight: str = "weight") -> Any:
    rows = [row for row in rows if row["category"] == name]
    sample = np.array([[row["pt"], row["score"], row["msoftdrop"]] for row in rows]).reshape(-1, 3)
    edges = [PT.edges, BANDS, np.linspace(0, 250, 6)]
    weights = np.array([row[weight] for row in rows])
    return np.histogramdd(sample, edges, weights=weights)[0], np.histogramdd(sample, edges, weights=weights**2)[0]


CATEGORIES = ("signal", "partly_merged", "unmerged", "other")


@pytest.mark.parametrize("kind", ["semileptonic", "dijet"])
@pytest.mark.parametrize(("variation", "scale"), [("nominal", 1.0), ("jesUp", 1.3)])
def test_probes_are_those_of_a_plain_loop(made: dict[str, Any], kind: str, variation: str, scale: float) -> None:
    shift = {"pt": f"pt * {scale}"}
    changes: dict[str, Any] = {"kind": kind, "variations": {"jes": JetVariation(shift, {"pt": "pt * 0.9"})}}
    if kind == "dijet":
        changes |= {"btag": None, "probe": None}
    result = run(probes(**changes), made)
    rows = loop(made, scale=scale, kind=kind)
    assert len(rows) > 30
    filled = []
    for name in CATEGORIES:
        values, variances = expected(rows, name)
        got = pick(result["histograms"]["probe"], dataset="tt", category=name, variation=variation)
        np.testing.assert_allclose(got.values(), values, rtol=1e-6)
        np.testing.assert_allclose(got.variances(), variances, rtol=1e-6)
        filled.append(values.sum() > 0)
    assert sum(filled) >= 3
    if variation == "nominal":
        up, _ = expected(rows, "unmerged", "up")
        got = pick(result["histograms"]["probe"], dataset="tt", category="unmerged", variation="pileupUp")
        np.testing.assert_allclose(got.values(), up, rtol=1e-6)
        flow = result["cutflow"]["tt"]
        assert flow["scored"]["events"] == len(rows)
        counts = loop.counts  # type: ignore[attr-defined]
        assert flow["probe"]["events"] == counts["probe"]
        assert flow["distinct"]["events"] == counts["distinct"]
        if kind == "semileptonic":
            assert counts["distinct"] < counts["probe"]
        assert set(result["histograms"]["probe"].axes["variation"]) == {
            "nominal", "jesUp", "jesDown", "pileupUp", "pileupDown",
        }  # fmt: skip


def test_data_have_one_category_and_no_variation() -> None:
    data = columns(800, 3, data=True)
    histogram = run(probes(), data, "run")["histograms"]["probe"]
    assert list(histogram.axes["category"]) == ["data"]
    assert list(histogram.axes["variation"]) == ["nominal"]
    values, _ = expected(loop(data), "data")
    assert values.sum() > 10
    np.testing.assert_array_equal(pick(histogram, dataset="run").values(), values)


def test_axes_of_mass_and_eta_have_their_columns(made: dict[str, Any]) -> None:
    eta = AxisSpec("abseta", edges=(0, 0.7, 2.5))
    histogram = run(probes(axes=[PT, eta]), made)["histograms"]["probe"]
    rows = loop(made)
    for number, (low, high) in enumerate([(0, 0.7), (0.7, 2.5)]):
        inside = [row for row in rows if low <= row["abseta"] < high]
        got = pick(histogram, dataset="tt", variation="nominal")
        total = sum(row["weight"] for row in inside if row["pt"] < 1000)
        assert got.values()[:, number].sum() == pytest.approx(total)
    mass = AxisSpec("mass", edges=(0, 100, 250), unit="GeV", expression="probe.mass")
    assert run(probes(axes=[PT, mass]), made)["histograms"]["probe"].ndim == 7


def test_scores_at_the_ends_are_in_the_outer_bands(made: dict[str, Any]) -> None:
    """The score 1 is a tagged jet, and so is what is beyond."""
    counts = ak.num(made["FatJet_pt"])
    n_jets = int(ak.sum(counts))
    for value, band in ((1.0, 2), (7.0, 2), (0.0, 0), (-3.0, 0)):
        scores = ak.unflatten(np.full(n_jets, value, dtype=np.float32), counts)
        stored = {**made, "FatJet_fixed": scores}
        histogram = run(probes(score="fixed + 0", prefix=None, weights={}), stored)["histograms"]["probe"]
        bands = pick(histogram, dataset="tt", variation="nominal").project("score")
        filled = np.zeros(3)
        filled[band] = bands.sum(flow=True).value
        np.testing.assert_allclose(bands.values(flow=True)[1:-1], filled)
        assert filled[band] > 0


# ---------------------------------------------------------------------------------------- chunks and executors


class Quiet(NanoAODSchema):  # type: ignore[misc, unused-ignore]
    """Without a warning for each collection that these files lack."""

    warn_missing_crossrefs = False


def variations() -> dict[str, Any]:
    factors = MassFactors("msoftdrop", 1.02, 0.01, 1.1, 0.05, width=0.1)
    return {"jms": factors, "jes": JetVariation({"pt": "pt * 1.1"}, {"pt": "pt * 0.9"})}


@pytest.mark.slow
def test_results_do_not_depend_on_chunks(made: dict[str, Any]) -> None:
    tag = ParametrisedTag({5: 0.8, 4: 0.3, 0: 0.1})
    one = probes(btag=tag, variations={"jms": variations()["jms"]}, weights={})
    whole = one.process(as_events(made, last=200))
    pieces = [one.process(as_events(made, first=first, last=last)) for first, last in ((0, 147), (147, 200))]
    total = accumulate(pieces)
    for part in (whole, total):
        part.pop("files")
    assert total["cutflow"] == whole["cutflow"]
    first, second = (part["histograms"]["probe"] for part in (whole, total))
    assert list(first.axes["variation"]) == list(second.axes["variation"])
    np.testing.assert_allclose(second.values(flow=True), first.values(flow=True), rtol=1e-12)
    assert first.sum(flow=True).value > 0


@pytest.mark.slow
def test_an_executor_runs_it_and_results_are_scaled(tmp_path: Path) -> None:
    made = columns(240, 5)
    files = []
    for number, (first, last) in enumerate([(0, 90), (90, 240)]):
        part = {name: values[first:last] for name, values in made.items()}
        files.append(str(write_tree(tmp_path / f"tt{number}.root", [part])))
        files[-1] = str(tmp_path / f"tt{number}.root")
    one = pickle.loads(pickle.dumps(probes(variations=variations())))
    runner = coffea_processor.Runner(
        coffea_processor.IterativeExecutor(status=False), schema=Quiet, chunksize=100, savemetrics=False
    )
    with pytest.warns(SearchWarning):
        result = runner({"tt": {"files": dict.fromkeys(files, "Events")}}, one, treename="Events")
    raw = run(one, made)
    scale = 1000 * 10.0 * 2.0 / float(made["genWeight"].sum(dtype=np.float64))
    assert result["datasets"]["tt"]["scale"] == pytest.approx(scale)
    assert result["datasets"]["tt"]["events"] == 240
    for name in ("nominal", "jms_resolutionUp", "pileupDown"):
        got, expected_ = (
            pick(item["histograms"]["probe"], dataset="tt", category="unmerged", variation=name)
            for item in (result, raw)
        )
        np.testing.assert_allclose(got.values(), scale * expected_.values(), rtol=1e-6)
    assert result["cutflow"]["tt"]["scored"]["weighted"] == pytest.approx(
        result["histograms"]["probe"][:, :, "nominal", ...].sum(flow=True).value
    )


def test_what_happened_is_said(made: dict[str, Any]) -> None:
    one = probes(btag=ParametrisedTag({5: 0.8, 0: 0.1}))
    with pytest.warns(SearchWarning) as caught:
        result = one.postprocess(run(one, made))
    assert [str(item.message) for item in caught] == result["notes"]
    assert result["notes"][0] == (
        "the b tag of the tag is not a score: Jet are tagged with the efficiencies 0.8 (hadronFlavour 5), "
        "0.1 (hadronFlavour 0)"
    )
    flow = result["cutflow"]["tt"]
    lost = flow["probe"]["events"] - flow["distinct"]["events"]
    assert lost > 0
    assert result["notes"][1].startswith(f"dataset 'tt': in {lost} of {flow['probe']['events']} events the probe is")
    unscored = flow["met"]["events"] - flow["scored"]["events"]
    assert unscored > 0
    assert result["notes"][2] == f"dataset 'tt': {unscored} probes have no score; they are left out"
    mass = ak.where(made["FatJet_pt"] > 500, np.float32(np.nan), made["FatJet_msoftdrop"])
    with pytest.warns(SearchWarning):
        result = one.postprocess(run(one, {**made, "FatJet_msoftdrop": mass}))
    assert result["notes"][-1].endswith(" probes have no value of pt, msoftdrop; they are left out")
    flow = result["cutflow"]["tt"]
    assert 0 < flow["filled"]["events"] < flow["scored"]["events"]
    empty = probes(probe="pt > 5000")
    with pytest.warns(SearchWarning, match="dataset 'tt' has no probe"):
        empty.postprocess(run(empty, made))


# ---------------------------------------------------------------------------------------- tags, masses


def test_a_parametrised_tag_has_its_efficiencies() -> None:
    rng = np.random.default_rng(2)
    flavour = rng.choice([0, 4, 5, -5, 21], 60_000)
    event, index = np.repeat(np.arange(20_000), 3), np.tile([0, 1, 2], 20_000)
    tag = ParametrisedTag({5: 0.7, 4: 0.2, 0: 0.05})
    passed = tag.passes(flavour, event, index)
    for kind, efficiency in ((0, 0.05), (21, 0.05), (4, 0.2), (5, 0.7), (-5, 0.7)):
        mine = passed[flavour == kind]
        assert abs(mine.mean() - efficiency) < 4 * math.sqrt(efficiency * (1 - efficiency) / len(mine))
    order = rng.permutation(len(flavour))
    np.testing.assert_array_equal(tag.passes(flavour[order], event[order], index[order]), passed[order])


@pytest.mark.slow
def test_mass_factors_move_and_widen_the_mass(made: dict[str, Any]) -> None:
    fine = AxisSpec("msoftdrop", bins=(1000, 0, 500))
    result = run(probes(variable=fine, variations=variations(), weights={}), made)["histograms"]["probe"]

    def mean(variation: str) -> float:
        values = pick(result, dataset="tt", variation=variation).project("msoftdrop")
        return float(values.values() @ values.axes[0].centers / values.sum().value)

    raw = run(probes(variable=fine, weights={}), made)["histograms"]["probe"]
    values = pick(raw, dataset="tt", variation="nominal").project("msoftdrop")
    plain = float(values.values() @ values.axes[0].centers / values.sum().value)
    assert mean("nominal") == pytest.approx(1.02 * plain, rel=0.02)
    assert mean("jms_scaleUp") / mean("nominal") == pytest.approx(1.03 / 1.02, rel=2e-3)
    assert mean("jms_scaleDown") / mean("nominal") == pytest.approx(1.01 / 1.02, rel=2e-3)
    assert pick(result, variation="jms_resolutionUp") != pick(result, variation="nominal")
    # the energy scale keeps what is smeared
    assert {*result.axes["variation"]} == {
        "nominal", "jms_scaleUp", "jms_scaleDown", "jms_resolutionUp", "jms_resolutionDown", "jesUp", "jesDown",
    }  # fmt: skip


def test_the_reference_is_that_of_the_matched_generator_jet(made: dict[str, Any]) -> None:
    factors = MassFactors("msoftdrop", resolution=1.5, width=0.3, reference="genJetAK8.msoftdrop")
    one = probes(variations={"jmr": factors})
    events = as_events(made)
    shift = one._shifts(one.sample("tt"))["nominal"]
    varied = one._varied(events, shift)["msoftdrop"]
    seen = 0
    for number, event in enumerate(events.tolist()):
        for jet, value in zip(event["FatJet"], varied[number].tolist(), strict=True):
            true = event["GenJetAK8"][jet["genJetAK8Idx"]]["msoftdrop"] if jet["genJetAK8Idx"] >= 0 else None
            if true is not None and abs(jet["msoftdrop"] - true) < 0.9 * true:
                assert value == pytest.approx(max(true + 1.5 * (jet["msoftdrop"] - true), 0), rel=1e-5, abs=1e-4)
                seen += 1
    assert seen > 100


# ---------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"kind": "dijets"}, ConfigError, "is 'dijets' .nearest: dijet.*expected one of semileptonic, dijet"),
        ({"samples": {}}, ConfigError, "at least one sample"),
        ({"bands": [0, 1]}, ConfigError, "at least three rising numbers"),
        ({"bands": [0, 0.5, 0.5, 1]}, ConfigError, r"got \[0.0, 0.5, 0.5, 1.0\]"),
        ({"axes": [AxisSpec("ptt", bins=(1, 0, 1))]}, UnknownName, "unknown binning axis: 'ptt' .nearest: pt"),
        ({"axes": [AxisSpec("mass", bins=(1, 0, 1))]}, ConfigError, "the binning axes are pt and"),
        ({"axes": [PT, PT]}, ConfigError, "the binning axes are pt and"),
        ({"variable": AxisSpec("pt", bins=(1, 0, 1))}, ConfigError, "has the name of a binning axis: 'pt'"),
        ({"separation": 0.0}, ConfigError, "with 0, probe and tag may be the same jet"),
        ({"kind": "dijet"}, ConfigError, "a b tag is for the kind semileptonic"),
        ({"cuts": {"probe": "nprobes > 1"}}, ConfigError, "a cut cannot be called 'probe'"),
        ({"categories": {"other": "probe.pt > 1"}}, ConfigError, "a category cannot be called 'other'"),
        ({"variations": {"pileup": JetVariation({"pt": "pt"}, {"pt": "pt"})}}, ConfigError, "both a weight and a"),
        ({"weights": {"generator": WeightFactor("puWeight")}}, ConfigError, "cannot be called 'generator'"),
        ({"luminosity": 0.0}, ConfigError, "luminosity must be a number above zero"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        probes(**changes)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"muon": "ptt > 1"}, UnknownName, "'ptt'.*nearest: pt"),
        ({"tag": "pt > 1 and drMoun < 1"}, UnknownName, "'drMoun'.*nearest: drMuon"),
        ({"btag": "btagDeepFlavB > 0.3"}, MissingColumns, "'btagDeepFlavB'. Known: .*btag.*use a ParametrisedTag"),
        ({"probe": "msoftdrip > 1"}, UnknownName, "'msoftdrip'.*nearest: msoftdrop"),
        ({"cuts": {"met": "MET.pt"}}, ConfigError, "cut 'met' gives float32, expected true or false"),
        ({"cuts": {"met": "MTE.pt > 5"}}, UnknownName, "'MTE.pt'"),
        ({"variable": AxisSpec("m", bins=(1, 0, 1), expression="probe.msoftdrup")}, UnknownName, "nearest: msoftdrop"),
        ({"categories": {"signal": "probe.genQuark > 2"}}, UnknownName, "'genQuark'.*nearest"),
        ({"score": "probHcb + 0"}, MissingColumns, "lacks the score 'probHcb' .nearest: probHbb"),
        ({"jets": "Jets"}, MissingColumns, "lack the collection 'Jets' .nearest: Jet"),
        ({"btag": ParametrisedTag(flavour="hadronFlavor")}, MissingColumns, "'hadronFlavor'.*nearest: hadronFlavour"),
        ({"variations": {"m": MassFactors("msd", scale=1.1)}}, UnknownName, "'msd'"),
        (
            {"variations": {"m": MassFactors("mass", reference="genJetAK8.masss")}},
            UnknownName,
            "GenJetAK8: 'masss' .nearest: mass",
        ),
    ],
)
def test_what_events_lack_is_named(
    made: dict[str, Any], changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        run(probes(**changes), made)


def test_events_that_cannot_be_used_are_refused(made: dict[str, Any]) -> None:
    without = {name: values for name, values in made.items() if not name.startswith("GenPart")}
    with pytest.raises(MissingColumns, match="need the collection GenPart"):
        run(probes(), without)
    with pytest.raises(MissingColumns, match="lack the collection 'Muon'"):
        run(probes(), {name: values for name, values in made.items() if not name.startswith("Muon")})
    with pytest.raises(UnknownName, match=r"unknown dataset .*: 'ttt' .nearest: tt"):
        run(probes(), made, "ttt")
    with pytest.raises(MismatchError, match=r"'run' is data, but some.root has the column 'genWeight'"):
        run(probes(), made, "run")
    broken = {**made, "genWeight": np.where(np.arange(1500) == 7, np.nan, made["genWeight"]).astype(np.float32)}
    with pytest.raises(InvalidValues, match=r"genWeight of event 8 .*is nan"):
        run(probes(), broken)


@pytest.mark.parametrize(
    ("efficiencies", "message"),
    [({5: 0.7}, "needs the efficiency of flavour 0"), ({0: 1.2}, "flavour 0 must be from 0 to 1, got 1.2")],
)
def test_impossible_tags_are_refused(efficiencies: dict[int, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ParametrisedTag(efficiencies)


# ---------------------------------------------------------------------------------------- networks, simulation


def test_a_network_scores_the_probes_alone() -> None:
    """With muons and jets added to events of the mock format: the jets of the tagger are the probes."""
    made = make_columns(60, seed=3, jets=2.6, constituents=15)
    counts = np.ones(60, dtype=np.int64)
    jets = ak.num(made["FatJet_pt"])
    near = ak.where(jets > 0, ak.firsts(made["FatJet_phi"]), 0.0)
    opposite = np.angle(np.exp(1j * (ak.to_numpy(near) + np.pi))).astype(np.float32)
    zero = np.zeros(60, dtype=np.float32)
    for name, pt, shift in (("Muon", 80, 0.0), ("Jet", 50, 0.8)):
        fields = {"pt": zero + np.float32(pt), "eta": zero, "phi": opposite + np.float32(shift)}
        made |= {f"{name}_{key}": ak.unflatten(values, counts) for key, values in fields.items()}
    made["Muon_pfRelIso03_all"] = ak.unflatten(zero, counts)
    made["Jet_hadronFlavour"] = ak.unflatten(np.full(60, 5, np.int32), counts)
    made["MET_pt"] = zero + np.float32(100)
    one = probes(
        score="HbbvsQCD", prefix=None, model="tinyParT", weights={}, btag=ParametrisedTag({0: 1.0}),
        probe="pt > 200 and drMuon > 2", categories={"signal": "probe.tinyParT_mass > 0"},
        axes=[AxisSpec("pt", edges=(200, 2000))],
    )  # fmt: skip
    result = run(one, made)
    flow = result["cutflow"]["tt"]
    assert 20 < flow["probe"]["events"] <= result["sums"]["tt"]["scored"] + 3
    assert result["sums"]["tt"]["scored"] <= flow["probe"]["events"]
    histogram = result["histograms"]["probe"]
    assert histogram.sum(flow=True).value == flow["scored"]["events"] > 15
    with pytest.raises(UnknownName, match=r"nearest: .*probHbb"):
        probes(score="probHbB + 0", prefix=None, model="tinyParT")


@pytest.mark.slow
def test_simulated_top_pairs_end_to_end(tmp_path: Path) -> None:
    """Files of jettagger simulate have what the default selection needs, but for the b tag; truth as their labels."""
    pytest.importorskip("fastjet", reason="extra sim is not installed")
    pytest.importorskip("pythia8mc", reason="extra sim is not installed")
    from jettagger.simulation import LABELS, simulate

    simulate("ttmu", 60, tmp_path / "tt.root", pt=(400.0, 1000.0), seed=4)
    whole = " or ".join(f"probe.label == {LABELS[f'TopbWqq{charm}c']}" for charm in (0, 1))
    settings = {
        "score": "msoftdrop / 1000",
        "prefix": None,
        "btag": ParametrisedTag({5: 0.9, 0: 0.3}),
        "weights": {},
        "variations": {"sd": MassFactors("msoftdrop", 1, 0.02, 1, 0.1, reference="genJetAK8.msoftdrop")},
        "bands": [0, 0.14, 0.2, 1],
        "variable": AxisSpec("msoftdrop", bins=(100, 0, 250), unit="GeV"),
    }
    runner = coffea_processor.Runner(
        coffea_processor.IterativeExecutor(status=False), schema=Quiet, chunksize=25, savemetrics=False
    )
    results = []
    files = {"tt": {"files": {str(tmp_path / "tt.root"): "Events"}}}
    for categories in (None, {"signal": whole}):
        with pytest.warns(SearchWarning, match="the b tag of the tag is not a score"):
            results.append(runner(files, probes(**settings, categories=categories), treename="Events"))
    first, second = (item["histograms"]["probe"] for item in results)
    # the label asks for the top quark inside, too
    assert pick(first, category="signal", variation="nominal") == pick(second, category="signal", variation="nominal")
    flow = results[0]["cutflow"]["tt"]
    assert 60 == flow["initial"]["events"] > flow["tag"]["events"] > flow["scored"]["events"] > 10
    assert results[0]["datasets"]["tt"]["events"] == 60
    signal = pick(first, category="signal", variation="nominal").project("msoftdrop")
    assert signal.values()[40:].sum() > 0.8 * signal.sum(flow=True).value > 0
    for name in ("sd_scaleUp", "sd_resolutionDown"):
        assert pick(first, variation=name) != pick(first, variation="nominal")
