"""Searches that use scores of heads, and variations of the jets that change what a model or a head takes."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from heads import make_head
from hypothesis import given, settings
from hypothesis import strategies as st
from jettagger.processors.search import JetVariation, Region, ResonanceSearchProcessor, Sample, SearchWarning
from searches import columns, write
from weavers import CONFIG as WEAVER
from weavers import weaver_bundle

import jettagger as jt
from jettagger.errors import ConfigError, JettaggerError
from jettagger.formats.nesting import nest
from jettagger.histograms import AxisSpec, HistSpec, pick
from jettagger.search import read_config, run_search, write_output

MODEL = "inclParTToyV1"
INPUTS = ("hidNeurons000", "hidNeurons007", "mass", "FatJet_pt", "FatJet_msoftdrop")
SEARCH = """\
version: 1
luminosity: 10
tagger: {model: inclParTToyV1, threads: 1, heads: [heads/Toy]}
samples: {tt: {files: tt.root, cross_section: 2, sum_of_weights: events}}
jets: {count: 1, preselection: "pt > 220"}
regions: {all: {kind: inclusive}}
variations:
  jes: {up: {pt: "pt * 1.1"}, down: {pt: "pt * 0.9"}}
  groomed: {up: {msoftdrop: "msoftdrop * 2"}, down: {msoftdrop: "msoftdrop * 0.5"}}
histograms:
  A: {bins: [25, 0, 1], expression: jet1.Toy_probA}
"""
DISCRIMINANT = (
    "expression: jet1.Toy_probA}\n",
    "expression: jet1.mine}\ndiscriminants:\n  mine: {expression: probA / (probA + probB), prefix: Toy}\n",
)


@pytest.fixture(autouse=True)
def _notes_are_no_errors() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SearchWarning)
        yield


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return columns(60, 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, made: dict[str, Any]) -> Path:
    """Events, and a head that reads columns of the jets."""
    place = tmp_path_factory.mktemp("searches")
    write(place / "tt.root", made)
    make_head(place / "heads" / "Toy", inputs=INPUTS)
    return place


def by_hand(made: dict[str, Any], folder: Path, moved: dict[str, float]) -> np.ndarray:
    """Weighted counts of the score of the head for the leading jet, in events at the luminosity."""
    events = nest(made)
    kinematics = {name: events.FatJet[name] * factor for name, factor in moved.items()}
    tagged = jt.load_tagger(MODEL, heads=[folder / "heads" / "Toy"], threads=1).attach(events, kinematics=kinematics)
    pt = kinematics.get("pt", events.FatJet.pt)
    pt, score = pt[pt > 220], tagged.FatJet.Toy_probA[pt > 220]
    leading = ak.firsts(score[ak.argsort(pt, axis=1, ascending=False)])
    chosen = ~ak.to_numpy(ak.is_none(leading))
    weight = np.asarray(made["genWeight"], dtype=np.float64)
    scale = 1000 * 10 * 2 / weight.sum()
    values = ak.to_numpy(ak.drop_none(leading))
    counts, _ = np.histogram(values, bins=25, range=(0, 1), weights=weight[chosen] * scale)
    assert np.count_nonzero(counts) > 3
    return counts


@pytest.mark.slow
@pytest.mark.parametrize("changes", [(), (DISCRIMINANT,)], ids=["a column", "a discriminant"])
def test_a_search_may_use_nothing_but_a_head(folder: Path, made: dict[str, Any], changes: Any, tmp_path: Path) -> None:
    text = SEARCH
    for old, new in changes:
        text = text.replace(old, new)
    result = run_search(read_config(text, "search.yaml", folder))
    moved: dict[str, dict[str, float]] = {
        "nominal": {},
        "jesUp": {"pt": 1.1},
        "jesDown": {"pt": 0.9},
        "groomedUp": {"msoftdrop": 2},
        "groomedDown": {"msoftdrop": 0.5},
    }
    found = {}
    for variation, factors in moved.items():
        found[variation] = pick(result.histograms["A"], dataset="tt", region="all", variation=variation).values()
        np.testing.assert_allclose(found[variation], by_hand(made, folder, factors), rtol=1e-9)
    assert (found["jesUp"] != found["nominal"]).any()
    assert (found["groomedUp"] != found["nominal"]).any()
    write_output(result, tmp_path / "out", plots=False)
    model = json.loads((tmp_path / "out" / "record.json").read_text())["model"]
    head = jt.load_tagger(MODEL, heads=[folder / "heads" / "Toy"]).heads[0]
    assert (model["name"], model["heads"], model["options"]["threads"]) == (MODEL, {"Toy": head.digest}, 1)
    assert result.datasets["tt"]["scored"] > 0


def test_nothing_but_the_head_is_attached(folder: Path) -> None:
    processor = read_config(SEARCH, "search.yaml", folder).make_processor()
    assert processor.outputs == ()
    assert processor.names == {"Toy_probA": "Toy_probA", "Toy_probB": "Toy_probB"}
    assert processor.rescoring(["pt"]) == ("FatJet_pt",)
    assert processor.rescoring(["mass"]) == ()
    mixed = read_config(SEARCH + "  m: {bins: [2, 0, 1], expression: jet1.inclParTToyV1_mass}\n", "s.yaml", folder)
    assert mixed.make_processor().outputs == ("mass",)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("jet1.Toy_probA", "jet1.Toy_probC", r"line 11: unknown score in head 'Toy': 'Toy_probC' \(nearest: Toy_prob"),
        (*DISCRIMINANT[:1], DISCRIMINANT[1].replace("probB", "probC"), "line 13: .*probC"),
        ("heads: [heads/Toy]", "heads: [heads/Toys]", "line 3: .*Toys"),
        ("heads: [heads/Toy]", "heads: [heads/Toy, heads/Toy]", "line 3: two heads have the same name"),
    ],
)
def test_mistakes_have_their_line(folder: Path, old: str, new: str, message: str) -> None:
    assert old in SEARCH
    with pytest.raises(JettaggerError, match=message):
        read_config(SEARCH.replace(old, new), "search.yaml", folder).make_processor()


def test_a_model_that_nobody_uses_is_refused(folder: Path) -> None:
    text = SEARCH.replace("jet1.Toy_probA", "jet1.pt")
    with pytest.raises(ConfigError, match=r"no column inclParTToyV1_\.\.\. or Toy_\.\.\. is used"):
        read_config(text, "search.yaml", folder).make_processor()


def taggers(folder: Path) -> dict[str, jt.Tagger]:
    """Of linked jets, with a head, and of tables, whose network takes what is made of the jet."""
    vars_ = "vars: [[part_deta, null], [part_dphi, null], [jet_share, 0, 1]]"
    config = WEAVER.replace("vars: [[part_deta, null], [part_dphi, null]]", vars_)
    config = config.replace("   label_a:", "   jet_share: part_energy / jet_energy\n   label_a:")
    place = folder / "weaver"
    if not place.exists():
        groups = {"pf_points": ("", "", ""), "pf_features": ("", "", ""), "pf_mask": ("",)}
        weaver_bundle(place, config, groups, card={"name": "weaver"})
    return {
        "linked": jt.load_tagger("tinyParT", threads=1),
        "head": jt.load_tagger(MODEL, threads=1, heads=[folder / "heads" / "Toy"]),
        "table": jt.load_tagger(place, threads=1),
    }


@pytest.mark.slow
@settings(max_examples=10)
@given(
    kind=st.sampled_from(["linked", "head", "table"]),
    moved=st.sets(st.sampled_from(["pt", "eta", "phi", "mass", "msoftdrop"]), min_size=1),
)
def test_scores_that_change_are_known_to(folder: Path, made: dict[str, Any], kind: str, moved: set[str]) -> None:
    """A tagger says for each column of the jets whether its scores stay what they are."""
    tagger = taggers(folder)[kind]
    events = nest(made)[:12]
    shift = {"eta": (1, 0.05), "phi": (1, 0.05)}
    changes = {name: shift.get(name, (1.2, 0)) for name in moved}
    kinematics = {name: events.FatJet[name] * factor + step for name, (factor, step) in changes.items()}
    before, after = tagger(events), tagger.run(events, kinematics=kinematics).scores
    same = before.tolist() == after.tolist()
    assert same or tagger.changed_by(moved)
    if kind != "table":  # a selection of the training may pass the same jets
        assert same == (not tagger.changed_by(moved))


def test_what_a_model_of_tables_takes_of_the_jets(folder: Path) -> None:
    tagger = taggers(folder)["table"]
    assert tagger.changed_by(["eta"]) == ("part_deta", "jet_share")
    assert tagger.changed_by(["pt"]) == ("jet_share", "inDomain")
    assert tagger.changed_by(["msoftdrop"]) == ("inDomain",)
    assert tagger.changed_by(["tau1"]) == ()


def test_a_variation_runs_a_model_of_tables_again(folder: Path) -> None:
    tagger = taggers(folder)["table"]
    spec = HistSpec("p", [AxisSpec("p", bins=(4, 0, 1), expression="jet1.weaver_proba")])
    jes = JetVariation({"pt": "pt * 1.1"}, {"pt": "pt * 0.9"})
    search = ResonanceSearchProcessor(
        {"a": Sample(1)}, {"all": Region()}, [spec], model=tagger, variations={"jes": jes}
    )
    assert search.rescoring(["pt"]) == ("jet_share", "inDomain")
