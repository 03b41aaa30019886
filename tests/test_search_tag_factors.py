"""Scale factors of a tagger as weights of a search: against a plain loop, from a configuration, and what is refused."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from jettagger.processors import ResonanceSearchProcessor
from jettagger.processors.search import Region, Sample, SearchWarning, TagFactor, WeightFactor
from searches import columns, write
from test_search_processor import as_events

from jettagger.calibration import BandYields, BinAxis, EfficiencyMap, ScaleFactors, TagWeights, efficiency_map
from jettagger.errors import ConfigError, JettaggerError, MismatchError, UnknownName
from jettagger.formats.nesting import nest
from jettagger.histograms import AxisSpec, HistSpec, pick
from jettagger.search import read_config, run_search
from jettagger.search.definition import Search
from jettagger.search.output import make_templates

PT = BinAxis("pt", [200, 350, 600])
CUTS = {"loose": 0.3, "tight": 0.6}
COUNT = HistSpec("count", [AxisSpec("n", bins=(1, 0, 100), expression="njets")])


def factors(categories: tuple[str, ...] = ("signal", "other"), **options: Any) -> ScaleFactors:
    values = np.array([[[0.8, 0.85], [0.7, 0.75]], [[1.1, 1.2], [1.3, 1.4]]])[: len(categories)]
    sources = {"stat": (values * 1.1, values * 0.9), "jes": (values * 1.2, values * 0.95)}
    given = {"points": list(CUTS), "thresholds": list(CUTS.values()), "axes": [PT], "categories": categories}
    return ScaleFactors.make("hbb", values, sources, **{**given, **options})


def efficiencies(categories: tuple[str, ...] = ("signal", "other"), **options: Any) -> EfficiencyMap:
    counts = np.array([[[30.0, 20], [30, 30], [40, 50]], [[80, 70], [15, 20], [5, 10]]])
    yields = {
        name: BandYields(counts[number], axes=[PT], thresholds=list(CUTS.values()))
        for number, name in enumerate(categories)
    }
    return efficiency_map({"tt": yields}, name="hbb", points=list(CUTS), **options)


def factor(points: list[str] | None = None, **options: Any) -> TagFactor:
    given: dict[str, Any] = {"categories": {"signal": "truth == 1", "other": "truth == 0"}, **options}
    return TagFactor(TagWeights(factors(), efficiencies(), points=points), "score", **given)


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    content = columns(60, 1)
    rng = np.random.default_rng(3)
    counts = content["nFatJet"] if "nFatJet" in content else ak.num(content["FatJet_pt"])
    scores = ak.unflatten(rng.random(int(ak.sum(counts))).astype(np.float32), counts)
    return {
        **content,
        "FatJet_score": scores,
        "FatJet_truth": ak.unflatten(rng.integers(0, 3, int(ak.sum(counts))).astype(np.int32), counts),
    }


def search(item: TagFactor, **changes: Any) -> ResonanceSearchProcessor:
    settings: dict[str, Any] = {
        "samples": {"tt": Sample(2.0, sum_of_weights="events"), "run": Sample(data=True)},
        "regions": {"all": Region("control")},
        "histograms": [COUNT],
        "preselection": "pt > 220",
        "weights": {"pileup": WeightFactor("puWeight"), "hbb": item},
        "mass": "msoftdrop",
    } | changes
    return ResonanceSearchProcessor(**settings)


def by_hand(made: dict[str, Any], points: list[str], source: str = "", side: int = 0) -> tuple[float, int]:
    """The sum of weights of the events with two candidates, in plain Python, and the jets of no category."""
    own, inside = factors(), efficiencies()
    total, lacking = 0.0, 0
    for event in nest(made).tolist():
        jets = [jet for jet in event["FatJet"] if jet["pt"] > 220]
        if len(jets) < 2:
            continue
        weight = event["genWeight"] * event["puWeight"]
        for jet in sorted(jets, key=lambda jet: -jet["pt"])[:2]:
            if jet["truth"] == 2:
                lacking += 1
                continue
            category, at = {1: "signal", 0: "other"}[jet["truth"]], {"pt": [jet["pt"]]}
            eff = [1.0, *(inside.evaluate("tt", category, p, at)[0] for p in points), 0.0]
            data = [1.0]
            data += [own.evaluate(p, category, at, source, side)[0] * e for p, e in zip(points, eff[1:], strict=False)]
            data += [0.0]
            band = sum(jet["score"] >= CUTS[p] for p in points)
            weight *= (data[band] - data[band + 1]) / (eff[band] - eff[band + 1])
        total += weight
    return total, lacking


@pytest.mark.parametrize("points", [["tight"], ["loose", "tight"]])
def test_weights_are_those_of_a_plain_loop(made: dict[str, Any], points: list[str]) -> None:
    processor = search(factor(points))
    output = processor.process(as_events(made))
    for variation, source, side in (("nominal", "", 0), ("hbb_statUp", "stat", 1), ("hbb_jesDown", "jes", -1)):
        got = pick(output["histograms"]["count"], variation=variation, dataset="tt").sum(flow=True).value
        expected, lacking = by_hand(made, points, source, side)
        assert got == pytest.approx(expected, rel=1e-6)
    assert output["tags"]["tt"]["hbb"]["without_factor:none of the categories"] == lacking > 0
    unweighted = search(factor(points), weights={"pileup": WeightFactor("puWeight")}).process(as_events(made))
    plain = pick(unweighted["histograms"]["count"], dataset="tt", variation="nominal").sum(flow=True).value
    assert plain != pytest.approx(expected, rel=1e-3), "the weights matter, so that the test can fail"
    with pytest.warns(SearchWarning, match="weight 'hbb': .* jets, .* of 'none of the categories', without scale"):
        notes = processor.postprocess(output)["notes"]
    assert any("dataset 'tt', weight 'hbb'" in note for note in notes)


def test_data_have_no_weights_and_need_no_truth(made: dict[str, Any]) -> None:
    data = {name: item for name, item in made.items() if name not in ("genWeight", "puWeight", "FatJet_truth")}
    output = search(factor()).process(as_events(data, "run"))
    histogram = output["histograms"]["count"]
    assert list(histogram.axes["variation"]) == ["nominal"]
    assert histogram.sum(flow=True).value == round(histogram.sum(flow=True).value) > 0
    assert output["tags"] == {"run": {}}
    with pytest.raises(UnknownName, match="truth"):
        search(factor()).process(as_events({**data, "genWeight": made["genWeight"], "puWeight": made["puWeight"]}))


def test_candidates_are_chosen_and_flavors_are_integers(made: dict[str, Any]) -> None:
    weights = TagWeights(factors(("1", "0")), efficiencies(("1", "0")), points=["tight"])
    one = TagFactor(weights, "score", ["jet1"], category="truth")
    events = as_events(made)
    processor = search(one)
    output = processor.process(events)
    both = search(TagFactor(weights, "score", category="truth")).process(events)
    assert output["tags"]["tt"]["hbb"]["jets"] * 2 == both["tags"]["tt"]["hbb"]["jets"]
    assert both["tags"]["tt"]["hbb"]["without_factor:2"] > 0
    assert "truth" in processor.optional_columns
    assert "pt" not in processor.optional_columns


def test_events_without_candidates_and_jets_without_a_score(made: dict[str, Any]) -> None:
    content = dict(made)
    content["FatJet_score"] = ak.where(content["FatJet_score"] < 0.2, np.nan, content["FatJet_score"])
    output = search(factor()).process(as_events(content))
    count = output["tags"]["tt"]["hbb"]
    assert 0 < count["without_score"] < count["jets"]
    histogram = output["histograms"]["count"]
    assert np.isfinite(histogram.values(flow=True)).all()


def test_a_search_with_scale_factors_is_a_value() -> None:
    one, other = (search(factor()).search for _ in range(2))
    assert one == other == pickle.loads(pickle.dumps(one))
    assert one != search(factor(["tight"])).search
    assert one.weight_shifts == ("pileup", "hbb_stat", "hbb_jes")
    assert len(pickle.dumps(one)) < 30_000


def test_what_selects_the_candidates_is_noted() -> None:
    assert any("selected by 'score' itself" in note for note in search(factor(), pick="score").doubts())
    assert not any("itself" in note for note in search(factor()).doubts())


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: factor(categories={}), ConfigError, "depend on the category of a jet .signal, other"),
        (lambda: factor(category="truth"), ConfigError, "either category or categories"),
        (lambda: factor(categories={}, category="truth"), ConfigError, "category gives integers, but"),
        (lambda: factor(categories={"signl": "truth == 1"}), UnknownName, "nearest: signal"),
        (lambda: factor(jets=["jet3"]), UnknownName, "unknown candidate: 'jet3'"),
        (lambda: search(factor(jets=["jet2"]), n_jets=1), UnknownName, "'jet2' .*Known: jet1"),
        (
            lambda: search(factor(), weights={"hbb": factor(), "hbb_jes": WeightFactor("1")}),
            ConfigError,
            "two weights have variations called 'hbb_jes'",
        ),
        (
            lambda: search(
                TagFactor(
                    TagWeights(factors(), efficiencies(total=False)), "score", categories={"signal": "truth == 1"}
                ),
                samples={"ttbar": Sample(1.0)},
            ),
            UnknownName,
            r"unknown sample .*'ttbar'.*Known: tt",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(call: Any, kind: type[JettaggerError], message: str) -> None:
    with pytest.raises(kind, match=message):
        call()


def test_scale_factors_of_another_discriminant_or_model_are_refused() -> None:
    one = TagFactor(
        TagWeights(factors(discriminant="HbbvsQCD"), efficiencies(discriminant="XbbvsQCD")), "hbb",
        categories={"signal": "genResonance == 25"},
    )  # fmt: skip
    with pytest.raises(MismatchError, match="'hbb' is "):
        search(one, discriminants={"hbb": "HbbvsQCD"})
    foreign = {"model": "other", "digest": "1" * 64}
    two = TagFactor(
        TagWeights(factors(model=foreign), efficiencies()), "hbb", categories={"signal": "genResonance == 25"}
    )
    with pytest.raises(MismatchError, match=r"belong to the model 'other'"):
        search(two, discriminants={"hbb": "HbbvsQCD"}, model="tinyParT")


# ------------------------------------------------------------------------------------------------ configurations

TAGGED = """\
version: 1
luminosity: 10
samples:
  tt: {files: tt.root, cross_section: 2, sum_of_weights: events}
  run: {files: run.root, data: true}
jets: {preselection: "pt > 220", mass: msoftdrop}
cuts: {tagged: "jet1.score > 0.6"}
regions:
  SR: {kind: signal, pass: [tagged]}
  CR: {kind: control, fail: [tagged]}
weights:
  hbb: {scale_factors: sf.json, efficiencies: eff.json, discriminant: score,
    categories: {signal: "truth == 1", other: "truth == 0"}}
histograms:
  mjj: {bins: [2, 200, 1800], unit: GeV}
templates: {histogram: mjj, processes: {tt: [tt]}, signals: {X: {datasets: [tt], mass: 1000}}}
"""


@pytest.fixture(autouse=True)
def _notes_are_no_errors() -> Iterator[None]:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SearchWarning)
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, made: dict[str, Any]) -> Path:
    folder = tmp_path_factory.mktemp("tags")
    (folder / "search.yaml").write_text(TAGGED)
    write(folder / "tt.root", made)
    write(folder / "run.root", {name: item for name, item in made.items() if name not in ("genWeight", "FatJet_truth")})
    factors().save(folder / "sf.json")
    efficiencies().save(folder / "eff.json")
    factors(("signal",)).save(folder / "foreign.json", "jet_tagging")
    efficiencies(("all",)).save(folder / "inclusive.json")
    return folder


def test_a_search_applies_scale_factors(world: Path) -> None:
    found = run_search(read_config(world / "search.yaml"))
    assert list(found.histograms["mjj"].axes["variation"]) == [
        "hbb_jesDown",
        "hbb_jesUp",
        "hbb_statDown",
        "hbb_statUp",
        "nominal",
    ]
    used = found.provenance.to_dict()["configuration"]["scale_factors"]["hbb"]
    assert used["scale_factors"] == ScaleFactors.load(world / "sf.json").digest
    assert used["points"] == ["loose", "tight"]
    nominal, up = (
        found.histograms["mjj"][{"dataset": "tt", "region": "SR", "variation": name}].values(flow=True)
        for name in ("nominal", "hbb_statUp")
    )
    assert not np.allclose(nominal, up)
    templates = make_templates(found)
    assert templates is not None
    assert set(templates.nominal["SR"]["tt"].shifts) == {"hbb_jes", "hbb_stat"}


def test_files_of_others_need_a_discriminant_and_thresholds_are_in_the_file(world: Path) -> None:
    text = TAGGED.replace(
        "scale_factors: sf.json, efficiencies: eff.json", "scale_factors: foreign.json, efficiencies: inclusive.json"
    )
    text = re.sub(r",\n    categories: {.*?}}\n", "}\n", text)
    search = read_config(text, name="search.yaml", folder=world).search
    assert search.weight_shifts == ("hbb_total",)
    assert search.tag_factors["hbb"].weights.thresholds.tolist() == [0.3, 0.6]
    with pytest.raises(ConfigError, match=r"search.yaml, line \d+: foreign.json does not say its discriminant"):
        read_config(text.replace(", discriminant: score", ""), name="search.yaml", folder=world)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("sf.json", "absent.json", r"line 29: cannot read .*absent.json"),
        ("sf.json", "eff.json", r"line 29: .*eff.json: no correction in a known layout"),
        ("eff.json", "sf.json", r"line 29: .*sf.json: not a map of efficiencies"),
        (", efficiencies: eff.json", "", r"line 29: 'scale_factors' need 'efficiencies'"),
        ("scale_factors: sf.json, ", "", r"line 29: give either 'nominal', 'file', 'theory' or 'sc"),
        ("scale_factors: sf.json, ", 'nominal: "1", ', r"line 29: 'efficiencies' belongs to 'scale_factors'"),
        ("sf.json,", "sf.json, up: puWeight,", r"line 29: 'up' belongs to 'nominal'"),
        ("sf.json,", "sf.json, points: tigth,", r"line 29: .*nearest: tight"),
        ("sf.json,", "sf.json, sources: [jez],", r"line 29: .*'jez' .nearest: jes"),
        ("sf.json,", "sf.json, jets: jet3,", r"line 29: .*candidate: 'jet3'"),
        ("sf.json,", "sf.json, thresholds: {tight: 0.61},", r"line 29: .*0.61, the efficiencies 'hbb' for 0.6"),
        ("{signal:", "{singal:", r"line 29: .*nearest: signal"),
        ("discriminant: score", "discriminat: score", r"line 29: unknown key 'discriminat'"),
    ],
)
def test_errors_have_a_line(world: Path, old: str, new: str, message: str) -> None:
    line = next(number for number, row in enumerate(TAGGED.splitlines(), 1) if "scale_factors" in row)
    assert old in TAGGED
    with pytest.raises(JettaggerError) as caught:
        read_config(TAGGED.replace(old, new, 1), name="search.yaml", folder=world)
    assert re.search(message.replace("29", f"({line}|{line + 1})"), str(caught.value), re.DOTALL), str(caught.value)


def test_columns_that_the_files_lack_are_known_before_the_run(world: Path) -> None:
    text = TAGGED.replace('"truth == 1"', '"hadronFlavour == 5"')
    with pytest.raises(ConfigError, match=r"search.yaml, line \d+: unknown column of FatJet in .*'hadronFlavour'"):
        run_search(read_config(text, name="search.yaml", folder=world))
    assert isinstance(read_config(text, name="search.yaml", folder=world).search, Search)
