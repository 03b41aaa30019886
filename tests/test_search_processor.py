"""The search processor: against a plain loop, its variations, its weights, and what it refuses."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from coffea.nanoevents import NanoEventsFactory, PFNanoAODSchema
from comparing import branches_of
from jettagger.processors import ResonanceSearchProcessor
from jettagger.processors.search import (
    JetVariation,
    Region,
    Sample,
    SearchWarning,
    WeightFactor,
    dijet,
)
from networks import GROUPS, write_bundle
from searches import columns, write

import jettagger as jt
from jettagger.discriminants import binned_roc
from jettagger.errors import ConfigError, InvalidValues, MismatchError, UnknownName
from jettagger.formats.nesting import nest
from jettagger.histograms import AxisSpec, HistSpec, pick
from jettagger.testing import make_columns

SHIFT = {"pt": "pt * 1.1", "mass": "mass * 1.1", "msoftdrop": "msoftdrop * 1.1"}
MJJ = HistSpec("mjj", [AxisSpec("mjj", bins=(8, 200, 1800), unit="GeV")])


def search(**changes: Any) -> ResonanceSearchProcessor:
    """A search with two regions."""
    settings: dict[str, Any] = {
        "samples": {"tt": Sample(2.0, sum_of_weights="events"), "run": Sample(data=True)},
        "regions": {
            "SR": Region("signal", ["near", "tagged"]),
            "CR": Region("control", ["near"], ["tagged"]),
        },
        "histograms": [MJJ],
        "cuts": {"near": "abs(deta) < 2", "tagged": "jet1.HbbvsQCD > 0.2"},
        "discriminants": {"HbbvsQCD": "HbbvsQCD"},
        "model": "tinyParT",
        "preselection": "pt > 220 and abs(eta) < 2.2",
        "order": "HbbvsQCD",
        "mass": "msoftdrop",
        "weights": {"pileup": WeightFactor("puWeight", "puWeightUp", "2 * puWeight - puWeightUp")},
        "variations": {"jes": JetVariation(SHIFT, {key: text.replace("1.1", "0.9") for key, text in SHIFT.items()})},
        "luminosity": 10.0,
    } | changes
    if isinstance(settings["model"], str):
        settings["options"] = jt.TaggerOptions(threads=1)
    return ResonanceSearchProcessor(**settings)


def as_events(made: dict[str, Any], dataset: str = "tt") -> Any:
    """Events in memory with the metadata of a job."""
    events = nest(made)
    metadata = {"dataset": dataset, "filename": "some.root", "entrystart": 0, "entrystop": len(events)}

    records = ak.to_layout(events).copy(parameters={"__record__": "EventsOfTests"})
    return ak.Array(records, behavior={("*", "EventsOfTests"): _WithMetadata}, attrs={"metadata": metadata})


class _WithMetadata(ak.Array):
    @property
    def metadata(self) -> dict[str, Any]:
        return self.attrs["metadata"]


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return columns(25, 1)


def run(processor: ResonanceSearchProcessor, made: dict[str, Any], dataset: str = "tt") -> dict[str, Any]:
    return processor.process(as_events(made, dataset))


def loop(made: dict[str, Any], scale: float = 1.0) -> dict[str, list[tuple[float, float, float, float]]]:
    """Region -> (mjj, generator weight, pileup, pileup up) of each event, with plain Python."""
    events = nest(made)
    scores = jt.load_tagger("tinyParT", threads=1)(events)
    found: dict[str, list[tuple[float, float, float, float]]] = {"SR": [], "CR": []}
    for event, jets_scores in zip(events.tolist(), scores.tolist(), strict=True):
        jets = []
        for jet, score in zip(event["FatJet"], jets_scores, strict=True):
            if np.float32(jet["pt"]) * np.float32(scale) > 220 and abs(jet["eta"]) < 2.2:
                hbb = None
                if score is not None:
                    below = sum(score[f"probQCD{kind}"] for kind in ("bb", "cc", "b", "c", "others"))
                    hbb = score["probHbb"] / (score["probHbb"] + below)
                jets.append((jet["pt"] * scale, jet["eta"], jet["phi"], jet["msoftdrop"] * scale, hbb))
        jets = sorted(jets, key=lambda jet: -jet[0])[:2]
        if len(jets) < 2:
            continue
        jets.sort(key=lambda jet: -math.inf if jet[4] is None else jet[4], reverse=True)
        total = np.zeros(4)
        for pt, eta, phi, mass, _ in jets:
            p = np.array([pt * math.cos(phi), pt * math.sin(phi), pt * math.sinh(eta)])
            total += [math.sqrt(p @ p + mass**2), *p]
        mjj = math.sqrt(total[0] ** 2 - total[1:] @ total[1:])
        if abs(jets[0][1] - jets[1][1]) < 2 and jets[0][4] is not None:
            region = "SR" if jets[0][4] > 0.2 else "CR"
            found[region].append((mjj, event["genWeight"], event["puWeight"], event["puWeightUp"]))
    return found


@pytest.mark.parametrize(("variation", "scale"), [("nominal", 1.0), ("jesUp", 1.1), ("jesDown", 0.9)])
def test_histograms_are_those_of_a_plain_loop(made: dict[str, Any], variation: str, scale: float) -> None:
    result = run(search(), made)["histograms"]["mjj"]
    for region, rows in loop(made, scale).items():
        assert rows  # a comparison of nothing shows nothing
        masses, generator, pileup, _ = np.array(rows).T
        expected, _ = np.histogram(masses, bins=8, range=(200, 1800), weights=generator * pileup)
        squares, _ = np.histogram(masses, bins=8, range=(200, 1800), weights=(generator * pileup) ** 2)
        got = pick(result, dataset="tt", region=region, variation=variation)
        np.testing.assert_allclose(got.values(), expected, rtol=1e-12)
        np.testing.assert_allclose(got.variances(), squares, rtol=1e-12)


def test_curves_of_inclusive_regions_are_those_of_the_values(made: dict[str, Any]) -> None:
    """In fine bins, weighted: within the error that is stated, which is small; 20 bins are not enough."""
    metrics = pytest.importorskip("sklearn.metrics")
    seen: dict[str, tuple[Any, Any]] = {}

    class Seeing(ResonanceSearchProcessor):
        def event_weights(self, generator: Any, columns: Any, sample: Sample, numbers: Any) -> Any:
            weights = super().event_weights(generator, columns, sample, numbers)
            values = ak.to_numpy(ak.fill_none(columns["jet1"]["HbbvsQCD"], np.nan))
            seen.setdefault(dataset, (values[np.isfinite(values)], weights.weight()[np.isfinite(values)]))
            return weights

    hbb = AxisSpec("hbb", bins=(20, 0, 1), expression="jet1.HbbvsQCD")
    settings = {
        **{name: getattr(search(), name) for name in ("weights", "variations")},
        "samples": {"tt": Sample(2.0, sum_of_weights="events"), "X": Sample(1.0, sum_of_weights="events")},
        "regions": {"all": Region("inclusive"), "SR": Region("signal", ["tagged"])},
        "histograms": [HistSpec("hbb", [hbb]), MJJ],
        "cuts": {"tagged": "jet1.HbbvsQCD > 0.2"},
    }
    processor = Seeing(
        **settings,
        discriminants={"HbbvsQCD": "HbbvsQCD"},
        model="tinyParT",
        generator_weight=None,
        options=jt.TaggerOptions(threads=1),
    )
    assert list(processor.curves) == ["hbb"]
    found = {}
    for dataset, events in (("tt", made), ("X", columns(25, 2))):
        found[dataset] = processor.process(as_events(events, dataset))
    curves = {name: pick(item["curves"]["hbb"], region="all", variation="nominal") for name, item in found.items()}
    coarse = {
        name: pick(item["histograms"]["hbb"], region="all", variation="nominal", dataset=name)
        for name, item in found.items()
    }
    fine = binned_roc(curves["X"], curves["tt"])
    scores, weights = (np.concatenate([seen[name][part] for name in ("X", "tt")]) for part in (0, 1))
    truth = np.repeat([1, 0], [len(seen[name][0]) for name in ("X", "tt")])
    exact = metrics.roc_auc_score(truth, scores, sample_weight=weights)
    assert abs(fine.auc.value - exact) <= fine.binning + 1e-12
    assert fine.binning < 0.01
    assert binned_roc(coarse["X"], coarse["tt"]).binning > 5 * fine.binning
    assert list(found["tt"]["curves"]["hbb"].axes["region"]) == ["all"]
    assert list(found["tt"]["curves"]["hbb"].axes["variation"]) == ["nominal"]


def test_weight_variations_are_filled(made: dict[str, Any]) -> None:
    result = run(search(), made)["histograms"]["mjj"]
    masses, generator, pileup, up = np.array(loop(made)["SR"]).T
    for name, factor in (("pileupUp", up), ("pileupDown", 2 * pileup - up)):
        expected, _ = np.histogram(masses, bins=8, range=(200, 1800), weights=generator * factor)
        got = pick(result, dataset="tt", region="SR", variation=name)
        np.testing.assert_allclose(got.values(), expected, rtol=1e-6, atol=1e-9)
    assert set(result.axes["variation"]) == {"nominal", "jesUp", "jesDown", "pileupUp", "pileupDown"}


def test_cutflow_and_sums(made: dict[str, Any]) -> None:
    result = run(search(), made)
    rows = loop(made)
    flow = result["cutflow"]["tt"]["SR"]
    assert list(flow) == ["initial", "events", "jets", "near", "tagged"]
    assert list(result["cutflow"]["tt"]["CR"]) == ["initial", "events", "jets", "near", "not tagged"]
    assert flow["initial"]["events"] == 25
    assert flow["initial"]["weighted"] == pytest.approx(float((made["genWeight"] * made["puWeight"]).sum()))
    assert flow["tagged"]["events"] == len(rows["SR"])
    assert flow["tagged"]["weighted"] == pytest.approx(sum(row[1] * row[2] for row in rows["SR"]))
    assert result["sums"]["tt"]["sumw"] == pytest.approx(float(made["genWeight"].sum()))


def test_simulation_is_scaled_and_data_is_not(made: dict[str, Any]) -> None:
    processor = search()
    raw = run(processor, made)
    before = pick(raw["histograms"]["mjj"], dataset="tt", region="SR", variation="nominal")
    sumw = raw["sums"]["tt"]["sumw"]
    scaled = processor.postprocess(raw)
    factor = 1000 * 10.0 * 2.0 / sumw
    after = pick(scaled["histograms"]["mjj"], dataset="tt", region="SR", variation="nominal")
    np.testing.assert_allclose(after.values(), before.values() * factor, rtol=1e-9)
    np.testing.assert_allclose(after.variances(), before.variances() * factor**2, rtol=1e-9)
    assert scaled["datasets"]["tt"]["scale"] == pytest.approx(factor)
    last = scaled["cutflow"]["tt"]["SR"]["tagged"]["weighted"]
    assert last == pytest.approx(after.sum(flow=True).value)

    data = columns(20, 4, data=True)
    found = run(processor, data, "run")
    assert set(found["histograms"]["mjj"].axes["variation"]) == {"nominal"}
    result = processor.postprocess(found)
    assert result["datasets"]["run"]["scale"] == 1.0
    values = pick(result["histograms"]["mjj"], dataset="run").values(flow=True)
    assert values.sum() > 0
    assert (values == np.round(values)).all()


def test_a_given_sum_of_weights_is_taken(made: dict[str, Any]) -> None:
    processor = search(samples={"tt": Sample(2.0, sum_of_weights=400.0)})
    assert processor.postprocess(run(processor, made))["datasets"]["tt"]["scale"] == pytest.approx(50.0)


def test_weights_that_cancel_cannot_be_scaled(made: dict[str, Any]) -> None:
    half = np.where(np.arange(24) % 2, 1.0, -1.0).astype(np.float32)
    events = {name: array[:24] for name, array in made.items()} | {"genWeight": half}
    processor = search()
    with pytest.raises(InvalidValues, match=r"dataset 'tt': the generator weights sum up to 0\.0"):
        processor.postprocess(run(processor, events))


# ---------------------------------------------------------------------------------------- the network and variations


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The masks that the network is run with."""
    seen: list[Any] = []
    attach = jt.Tagger.attach

    def counted(self: Any, events: Any, **options: Any) -> Any:
        seen.append(options)
        return attach(self, events, **options)

    monkeypatch.setattr(jt.Tagger, "attach", counted)
    return seen


def test_only_preselected_leading_jets_are_scored_and_once_for_all_variations(
    made: dict[str, Any], calls: list[Any]
) -> None:
    result = run(search(), made)
    assert len(calls) == 1
    assert calls[0]["kinematics"] is None
    pt, eta = nest(made).FatJet.pt, nest(made).FatJet.eta
    # the union of what the variations select: at most as many jets as pass with the energy scale up
    loose = (pt * 1.1 > 220) & (abs(eta) < 2.2)
    assert ak.all(loose[calls[0]["where"]])
    assert ak.max(ak.sum(calls[0]["where"], axis=1)) == 2
    assert 0 < result["sums"]["tt"]["scored"] <= int(ak.sum(calls[0]["where"])) < int(ak.sum(ak.num(pt)))


def test_scores_of_v1_inputs_do_not_depend_on_the_jets_energy(made: dict[str, Any]) -> None:
    events = nest(made)
    tagger = jt.load_tagger("tinyParT", threads=1)
    nominal = tagger.run(events).scores
    moved = {"pt": events.FatJet.pt * 1.5, "mass": events.FatJet.mass * 0.7}
    varied = tagger.run(events, kinematics=moved).scores
    for name in ("probHbb", "mass", tagger.bundle.outputs[-1].name):
        assert varied[name].tolist() == nominal[name].tolist()
    turned = tagger.run(events, kinematics={"eta": events.FatJet.eta + 0.1}).scores
    assert turned["probHbb"].tolist() != nominal["probHbb"].tolist()


def test_the_model_with_gloparts_inputs_is_not_run_again() -> None:
    processor = search()
    assert processor.rescoring(["pt", "mass", "msoftdrop"]) == ()
    assert "pfcand_etarel" in processor.rescoring(["eta"])
    assert search(model=None).rescoring(["eta"]) == ()


@pytest.fixture
def jet_model(tmp_path: Path) -> Path:
    """A network that knows the jet's pt, and reads vertices whose direction the format rebuilds."""
    groups = GROUPS | {
        "sv_features": ("sv_mass", "sv_etarel"),
        "jet_features": ("jet_pt_log", "jet_mass_log", "jet_eta"),
    }
    return write_bundle(tmp_path / "toy", groups=groups, card={"prefix": "toy"})


def test_a_model_with_jet_features_is_run_again(made: dict[str, Any], jet_model: Path, calls: list[Any]) -> None:
    spec = HistSpec("mass", [AxisSpec("m", bins=(200_000, -200, 200), expression="jet1.toy_mass")])
    processor = search(
        model=str(jet_model), discriminants={}, cuts={"near": "abs(deta) < 2"}, order="pt",
        regions={"all": Region("signal", ["near"])}, histograms=[spec],
    )  # fmt: skip
    assert processor.rescoring(["pt"]) == ("jet_pt_log",)
    assert processor.rescoring(["msoftdrop"]) == ()
    result = run(processor, made)["histograms"]["mass"]
    assert [sorted(call["kinematics"] or ()) for call in calls] == [[], *[["mass", "msoftdrop", "pt"]] * 2]
    # the same with a file whose jets have the other pt from the start, but for what is stored relative to the jet
    events = nest(made)
    moved = {name: events.FatJet[name] * np.float32(1.1) for name in ("pt", "mass")}
    again = processor.tagger.run(events, kinematics=moved).scores["mass"]
    pt, eta = moved["pt"], events.FatJet.eta
    chosen = (pt > 220) & (abs(eta) < 2.2)
    expected = []
    for jets, masses, etas, pts in zip(chosen.tolist(), again.tolist(), eta.tolist(), pt.tolist(), strict=True):
        kept = sorted((i for i, keep in enumerate(jets) if keep), key=lambda i: -pts[i])[:2]
        if len(kept) == 2 and abs(etas[kept[0]] - etas[kept[1]]) < 2 and masses[kept[0]] is not None:
            expected.append(masses[kept[0]])
    got = pick(result, region="all", variation="jesUp")
    assert len(expected) > 3
    filled = np.histogram(expected, bins=200_000, range=(-200, 200))[0] > 0
    np.testing.assert_array_equal(got.values() != 0, filled)
    assert (got.values() != pick(result, region="all", variation="nominal").values()).any()


def test_stored_ratios_are_read_with_the_stored_jet(made: dict[str, Any], jet_model: Path) -> None:
    """The vertices' direction comes from their share of the jet's energy as it was when the share was stored."""
    groups = GROUPS | {"sv_features": ("sv_mass", "sv_etarel")}
    bundle = jt.load_bundle(write_bundle(jet_model.parent / "vertices", groups=groups, card={"prefix": "sv"}))
    tagger, events = jt.Tagger(bundle, threads=1), nest(made)
    nominal = tagger.run(events).scores["mass"]
    varied = tagger.run(events, kinematics={"pt": events.FatJet.pt * 1.1}).scores["mass"]
    assert varied.tolist() == nominal.tolist()
    naive = ak.with_field(events, ak.with_field(events.FatJet, events.FatJet.pt * 1.1, "pt"), "FatJet")
    assert tagger.run(naive).scores["mass"].tolist() != nominal.tolist()


def test_kinematics_must_be_aligned(made: dict[str, Any]) -> None:
    events = nest(made)
    with pytest.raises(MismatchError, match=r"the kinematics 'pt' are not aligned with events.FatJet"):
        jt.load_tagger("tinyParT", threads=1).run(events, kinematics={"pt": events.FatJet.pt[:, :1]})


def test_variations_of_the_regressed_mass_need_no_second_run(made: dict[str, Any], calls: list[Any]) -> None:
    spec = HistSpec("m", [AxisSpec("m", bins=(100, 0, 400), expression="jet1.tinyParT_mass")])
    variation = JetVariation({"tinyParT_mass": "tinyParT_mass * 2"}, {"tinyParT_mass": "tinyParT_mass * 1"})
    result = run(search(variations={"jms": variation}, histograms=[spec]), made)["histograms"]["m"]
    assert len(calls) == 1
    nominal, up = (pick(result, region="SR", variation=name) for name in ("nominal", "jmsUp"))
    centres = nominal.axes[0].centers
    ratio = (up.values() @ centres / up.sum().value) / (nominal.values() @ centres / nominal.sum().value)
    assert ratio == pytest.approx(2, rel=0.05)
    assert pick(result, region="SR", variation="jmsDown") == nominal


# ---------------------------------------------------------------------------------------- candidates


JETS = {
    "pt": [[300.0, 500.0, 400.0], [300.0]],
    "eta": [[0.0, 0.1, 0.2], [0.0]],
    "phi": [[0.0, 3.0, 1.0], [0.0]],
    "msoftdrop": [[90.0, 100.0, 120.0], [80.0]],
    "HbbvsQCD": [[0.9, 0.1, None], [0.5]],
}


@pytest.mark.parametrize(
    ("pick_", "order", "expected"),
    [
        ("pt", "pt", [500, 400]),
        ("pt", "msoftdrop", [400, 500]),
        ("pt", "HbbvsQCD", [500, 400]),  # the jet without a score comes last
        ("HbbvsQCD", "HbbvsQCD", [300, 500]),
        ("HbbvsQCD", "pt", [500, 300]),
    ],
)
def test_candidates(pick_: str, order: str, expected: list[float]) -> None:
    first, second = search(pick=pick_, order=order).candidates(ak.Array(ak.zip(JETS)))
    assert [first.pt[0], second.pt[0]] == expected
    assert first.pt[1] is None
    assert second.pt[1] is None


def test_one_candidate() -> None:
    (jet,) = search(
        n_jets=1, cuts={"near": "jet1.pt > 0", "tagged": "jet1.HbbvsQCD > 0.2"},
        histograms=[HistSpec("pt", [AxisSpec("pt", (2, 0, 1), expression="jet1.pt")])],
    ).candidates(ak.Array(ak.zip(JETS)))  # fmt: skip
    assert jet.pt.tolist() == [500, 300]


def test_dijet_against_vector() -> None:
    vector = pytest.importorskip("vector")
    rng = np.random.default_rng(1)
    jets = [
        {
            "pt": rng.uniform(200, 900, 50),
            "eta": rng.normal(0, 1, 50),
            "phi": rng.uniform(-3.1, 3.1, 50),
            "mass": rng.uniform(0, 200, 50),
        }
        for _ in range(2)
    ]
    found = dijet(*(ak.zip(jet) for jet in jets))
    one, two = (vector.array(jet) for jet in jets)
    np.testing.assert_allclose(found["mjj"], (one + two).mass, rtol=1e-9)
    np.testing.assert_allclose(found["ptjj"], (one + two).pt, rtol=1e-9)
    np.testing.assert_allclose(found["dr"], one.deltaR(two), rtol=1e-9)
    np.testing.assert_allclose(found["dphi"], one.deltaphi(two), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found["deta"], one.deltaeta(two), rtol=1e-9, atol=1e-9)


def test_events_without_a_score_are_in_no_region() -> None:
    processor = search()
    jets = ak.Array([{"HbbvsQCD": None}, {"HbbvsQCD": 0.1}, {"HbbvsQCD": 0.5}])
    own = {"jet1": ak.mask(jets, [True] * 3), "deta": ak.Array([0.0] * 3)}
    selection = processor.select(own, np.ones(3, dtype=bool))
    assert selection.all("tagged").tolist() == [False, False, True]
    assert selection.all("not tagged").tolist() == [False, True, False]


def test_a_step_can_be_replaced(made: dict[str, Any]) -> None:
    class Half(ResonanceSearchProcessor):
        def event_mask(self, events: Any, sample: Sample) -> Any:
            return super().event_mask(events, sample) & (np.asarray(events.event) % 2 == 0)

    settings = {"samples": {"tt": Sample(1)}, "regions": {"all": Region()}, "histograms": [MJJ]}
    flow = run(Half(**settings), made)["cutflow"]["tt"]["all"]
    assert flow["events"]["events"] == 12


def test_event_cut_and_columns_of_events(made: dict[str, Any]) -> None:
    spec = HistSpec("number", [AxisSpec("number", bins=(30, 0, 30), expression="event + 0 * mjj")])
    result = run(search(event_cut="event > 10", histograms=[spec], regions={"all": Region()}), made)
    filled = pick(result["histograms"]["number"], variation="nominal").values(flow=True)
    assert filled[:11].sum() == 0
    assert (filled[12:] != 0).any()
    assert result["cutflow"]["tt"]["all"]["events"]["events"] == 15


def test_stored_scores_need_no_network(made: dict[str, Any]) -> None:
    tagged = jt.load_tagger("tinyParT", threads=1).run(nest(made)).scores
    stored = dict(made)
    for name in ("Hbb", "QCDbb", "QCDcc", "QCDb", "QCDc", "QCDothers"):
        stored[f"FatJet_mine_prob{name}"] = ak.values_astype(ak.fill_none(tagged[f"prob{name}"], np.nan), np.float32)
    without = run(search(model=None, prefix="mine"), stored)
    assert without["histograms"]["mjj"] == run(search(), made)["histograms"]["mjj"]
    assert without["sums"]["tt"]["scored"] == 0


@pytest.mark.slow
def test_golden_json_is_for_data(tmp_path: Path) -> None:
    path = tmp_path / "golden.json"
    path.write_text('{"1": [[1, 1]]}')
    pytest.importorskip("numba")
    data = columns(20, 4, data=True)
    data["luminosityBlock"] = np.repeat([1, 2], 10).astype(np.uint32)
    processor = search(samples={"run": Sample(data=True, golden_json=str(path))})
    assert run(processor, data, "run")["cutflow"]["run"]["SR"]["events"]["events"] == 10


@pytest.mark.slow
def test_data_in_signal_regions_are_blind(made: dict[str, Any]) -> None:
    """They are in no histogram of any region, and control regions show theirs; simulation is never blind."""
    data = columns(60, 4, data=True)
    regions = {
        "all": Region("inclusive", ["near"]),
        "SR": Region("signal", ["near", "tagged"]),
        "CR": Region("control", ["near"], ["tagged"]),
    }
    samples = {"run": Sample(data=True), "tt": Sample(cross_section=2.0)}
    blind, seen = (search(samples=samples, regions=regions, blind=value) for value in (True, False))
    found, expected = (processor.postprocess(run(processor, data, "run")) for processor in (blind, seen))

    def events(result: dict[str, Any], region: str) -> float:
        return float(pick(result["histograms"]["mjj"], dataset="run", region=region).sum(flow=True).value)

    n_signal, n_control = events(expected, "SR"), events(expected, "CR")
    assert n_signal > 0
    assert n_control > 0
    assert events(expected, "all") == n_signal + n_control
    assert (events(found, "all"), events(found, "SR"), events(found, "CR")) == (n_control, 0, n_control)
    assert found["cutflow"]["run"]["SR"]["tagged"] == {"events": None, "weighted": None}
    for region in regions:
        # CR has what SR leaves of it: the number in SR would be the difference
        assert found["cutflow"]["run"][region]["near"] == {"events": None, "weighted": None}
        assert found["cutflow"]["run"][region]["jets"] == expected["cutflow"]["run"][region]["jets"]
    assert found["cutflow"]["run"]["CR"]["not tagged"] == expected["cutflow"]["run"]["CR"]["not tagged"]
    assert expected["cutflow"]["run"]["SR"]["tagged"]["events"] == n_signal
    assert found["notes"] == expected["notes"] == []
    for name, histogram in run(blind, made)["histograms"].items():
        assert histogram == run(seen, made)["histograms"][name]


# ---------------------------------------------------------------------------------------- what is refused


def test_nan_weights_are_refused_with_the_number_of_the_event(made: dict[str, Any]) -> None:
    broken = dict(made)
    broken["genWeight"] = np.where(np.arange(25) == 7, np.nan, made["genWeight"]).astype(np.float32)
    with pytest.raises(InvalidValues, match=r"genWeight of event 8 .*is nan"):
        run(search(), broken)
    broken = dict(made)
    broken["puWeightUp"] = np.where(np.arange(25) == 3, np.inf, 1).astype(np.float32)
    with pytest.raises(InvalidValues, match=r"weight 'pileup' \(puWeightUp\) of event 4 .*is inf"):
        run(search(), broken)


def test_data_and_simulation_are_not_mixed(made: dict[str, Any]) -> None:
    with pytest.raises(MismatchError, match=r"'run' is data, but some.root has the column 'genWeight'"):
        run(search(), made, "run")
    with pytest.raises(MismatchError, match=r"'tt' is simulation, but some.root lacks the column 'genWeight'"):
        run(search(), columns(5, 4, data=True), "tt")


def test_regions_that_overlap_or_select_nothing_are_named(made: dict[str, Any]) -> None:
    processor = search(
        cuts={"near": "abs(deta) < 2", "tagged": "jet1.HbbvsQCD > 0.2", "never": "mjj < 0"},
        regions={
            "SR": Region("signal", ["tagged"]),
            "CR": Region("control", ["near"]),
            "empty": Region("validation", ["never"]),
        },
    )
    with pytest.warns(SearchWarning) as caught:
        notes = processor.postprocess(run(processor, made))["notes"]
    assert [str(item.message) for item in caught] == notes
    assert notes[0].startswith("cut 'never' (mjj < 0) passes none of the ")
    assert notes[1] == "region 'empty' selects no event of any data set"
    assert notes[2].startswith("signal region 'SR' and control region 'CR' share ")
    assert len(notes) == 3


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"samples": {}}, ConfigError, "at least one sample"),
        ({"n_jets": 3}, ConfigError, "n_jets must be 1 or 2, got 3"),
        ({"luminosity": 0}, ConfigError, "luminosity must be a number above zero"),
        ({"cuts": {"jets": "mjj > 0"}}, ConfigError, "a cut cannot be called 'jets'"),
        ({"regions": {"SR": Region("signal", ["nera"])}}, UnknownName, "nearest: near"),
        ({"discriminants": {"HbbvsQCD": "probHbB / (probHbB + sum(QCD))"}}, UnknownName, "nearest: probHbb"),
        ({"histograms": [MJJ, MJJ]}, ConfigError, "two histograms have the same name"),
        (
            {"histograms": [HistSpec("a", [AxisSpec("x", (1, 0, 1))], categories=["region"])]},
            ConfigError,
            "categories",
        ),
        ({"n_jets": 1}, ConfigError, "'deta' needs two candidates"),
        (
            {"cuts": {"near": "jet3.pt > 1", "tagged": "mjj > 1"}, "n_jets": 1},
            UnknownName,
            "with 1 as the count of jets",
        ),
        ({"weights": {"jes": WeightFactor("puWeight")}}, ConfigError, "both a weight and a variation"),
        ({"weights": {"generator": WeightFactor("puWeight")}}, ConfigError, "cannot be called 'generator'"),
        (
            {"discriminants": {}, "cuts": {"near": "mjj > 1", "tagged": "mjj > 2"}, "order": "pt"},
            ConfigError,
            "no discriminant and no column tinyParT_... is used",
        ),
        (
            {"cuts": {"near": "jet1.tinyParT_probHbB > 1", "tagged": "mjj > 1"}},
            UnknownName,
            "nearest: probHbb",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        search(**changes)


def test_values_refuse_what_makes_no_sense() -> None:
    with pytest.raises(ConfigError, match="simulation without cross section"):
        Sample()
    with pytest.raises(ConfigError, match="data have neither"):
        Sample(cross_section=1.0, data=True)
    with pytest.raises(ConfigError, match="golden_json is for data"):
        Sample(cross_section=1.0, golden_json="a.json")
    with pytest.raises(ConfigError, match="cross_section must be a number above zero, got -1"):
        Sample(cross_section=-1.0)
    with pytest.raises(ConfigError, match="sum_of_weights must be a number above zero or 'events', got 'Runs'"):
        Sample(cross_section=1.0, sum_of_weights="Runs")
    with pytest.raises(ConfigError, match="expected one of signal, validation, control, inclusive"):
        Region("sideband")
    with pytest.raises(ConfigError, match="'a' must be both passed and failed"):
        Region("signal", ["a"], ["a"])
    with pytest.raises(ConfigError, match="give both up and down"):
        WeightFactor("a", "b")
    with pytest.raises(ConfigError, match="columns for up and for down"):
        JetVariation({"pt": "pt"}, {})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mass": "masss"}, "'masss' .*nearest: mass"),
        ({"preselection": "ptt > 1"}, "'ptt'.*nearest"),
        ({"cuts": {"near": "jet1.msoftdrip > 1", "tagged": "mjj > 1"}}, "'msoftdrip'.*nearest: msoftdrop"),
        ({"cuts": {"near": "mjjj > 1", "tagged": "mjj > 1"}}, "'mjjj'.*nearest: mjj"),
        (
            {"histograms": [HistSpec("h", [AxisSpec("x", (1, 0, 1), expression="genWeigth")])]},
            "nearest: genWeight",
        ),
        ({"variations": {"jes": JetVariation({"ptt": "pt"}, {"ptt": "pt"})}}, "'ptt'.*nearest"),
    ],
)
def test_unknown_columns_are_named_with_the_nearest(
    made: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UnknownName, match=message):
        run(search(**changes), made)


def test_unknown_data_sets_and_cuts_that_are_numbers(made: dict[str, Any]) -> None:
    with pytest.raises(UnknownName, match=r"unknown dataset .*'ttt' .*nearest: tt"):
        run(search(), made, "ttt")
    with pytest.raises(ConfigError, match="cut 'near' gives float64, expected true or false"):
        run(search(cuts={"near": "deta", "tagged": "mjj > 1"}), made)


@pytest.mark.slow
def test_it_is_small_when_it_is_sent_and_reads_only_what_it_needs(tmp_path: Path, made: dict[str, Any]) -> None:
    processor = pickle.loads(pickle.dumps(search()))
    assert len(pickle.dumps(processor)) < 20_000
    read: list[Any] = []
    factory = NanoEventsFactory.from_root(
        {str(write(tmp_path / "tt.root", made)): "Events"},
        schemaclass=PFNanoAODSchema,
        mode="virtual",
        metadata={"dataset": "tt"},
        access_log=read,
    )
    events = factory.events()
    assert processor.process(events)["histograms"]["mjj"] == run(search(), made)["histograms"]["mjj"]
    branches = {*branches_of(read)}
    assert "FatJet_msoftdrop" in branches
    assert branches.isdisjoint({"SV_x", "SV_y", "SV_z", "run", "luminosityBlock"})


def test_a_search_on_ak4_jets(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "small", card={"name": "small", "jets": "AK4"})
    settings: dict[str, Any] = {
        "model": str(folder),
        "regions": {"all": Region()},
        "cuts": {},
        "discriminants": {"HbbvsQCD": "probHbb / (probHbb + probQCDothers)"},
        "preselection": "pt > 40",
        "mass": "mass",
        "weights": {},
        "variations": {},
        "histograms": [HistSpec("mass", [AxisSpec("mass", bins=(5, -1e6, 1e6), expression="jet1.small_mass")])],
    }
    made = make_columns(25, seed=1, ak4=True)
    result = run(search(**settings, collection="Jet"), made)["histograms"]["mass"]
    jets = nest(made).Jet
    expected = int(ak.sum(ak.num(jets.pt[jets.pt > 40]) >= 2))
    assert expected > 5
    assert ak.sum(result.values(flow=True)) == pytest.approx(expected)
    with pytest.raises(MismatchError, match=r"'small' scores Jet, the processor takes FatJet: give collection"):
        run(search(**settings), made)
