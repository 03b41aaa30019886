"""Several models on the same events."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import pytest
from comparing import assert_same_scores
from heads import make_head
from networks import GROUPS, write_bundle

import jettagger as jt
from jettagger.bundles.bundle import Bundle
from jettagger.errors import BundleNotFound, ConfigError, MismatchError, MissingColumns, UnknownName
from jettagger.features.definition import Feature
from jettagger.inputs import selection
from jettagger.tagging.tagger import Tagger
from jettagger.tagging.taggers import Taggers, load_taggers
from jettagger.testing import make_events


@pytest.fixture
def taggers(tmp_path: Path, tiny: Bundle) -> Taggers:
    other = Bundle.from_folder(write_bundle(tmp_path / "other", card={"name": "other"}))
    return Taggers([Tagger(tiny, threads=1), Tagger(other, threads=1)])


@pytest.fixture(scope="module")
def events() -> Any:
    return make_events(20, seed=5)


def test_each_gives_what_it_gives_alone(taggers: Taggers, events: Any) -> None:
    mask = events.FatJet.pt > 250
    together = taggers.run(events, mask)
    assert list(together) == ["tinyParT", "other"]
    for name, tagged in together.items():
        alone = taggers[name].run(events, mask)
        assert_same_scores(tagged.scores, alone.scores)
        assert tagged.report.scored == alone.report.scored
        assert tagged.report.not_selected == alone.report.not_selected
    assert_same_scores(taggers(events, mask)["other"], together["other"].scores)


def test_features_are_made_once(taggers: Taggers, events: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    taggers(events)  # a network that is opened for the first time is proven with jets of its own
    made: list[str] = []
    real = Feature.__call__

    def counted(self: Feature, *arrays: Any) -> Any:
        made.append(self.name)
        return real(self, *arrays)

    monkeypatch.setattr(Feature, "__call__", counted)
    taggers(events)
    assert len(made) == len(set(made))
    assert {name for group in GROUPS.values() for name in group} <= set(made)


def test_columns_of_both(taggers: Taggers, events: Any) -> None:
    tagged = taggers.attach(events, columns=["mass"])
    added = set(tagged.FatJet.fields) - set(events.FatJet.fields)
    assert added == {"tinyParT_mass", "other_mass"}
    alone = taggers["other"].attach(events, columns=["mass"])
    assert ak.all(tagged.FatJet.other_mass == alone.FatJet.other_mass)


def test_models_with_and_without_candidates(tmp_path: Path, tiny: Bundle, events: Any) -> None:
    """A model of vertices alone scores jets without candidates, the other does not."""
    groups = {name: GROUPS[name] for name in ("sv_features", "sv_mask")}
    vertices = Bundle.from_folder(write_bundle(tmp_path / "sv", groups=groups, card={"name": "vertices"}))
    both = Taggers([Tagger(tiny, threads=1), Tagger(vertices, threads=1)])
    for name, tagged in both.run(events).items():
        assert_same_scores(tagged.scores, both[name](events))


def test_heads_run_with_their_models(tmp_path: Path, tiny: Bundle, events: Any) -> None:
    head = make_head(tmp_path / "head", inputs=("hidNeurons003", "FatJet_eta"))
    toy = jt.load_tagger("inclParTToyV1", threads=1).with_heads(head)
    both = Taggers([toy, Tagger(tiny, threads=1)])
    moved = {"eta": events.FatJet.eta + 0.1}
    alone = toy.attach(events, kinematics=moved)
    found = both.attach(events, kinematics=moved)
    assert ak.any(abs(found.FatJet.Toy_probA - toy(events).Toy_probA) > 1e-4), "the variation reaches the head"
    for name in (*head.columns, "inclParTToyV1_mass"):
        got, wanted = found.FatJet[name], alone.FatJet[name]
        assert ak.is_none(got, axis=1).tolist() == ak.is_none(wanted, axis=1).tolist()
        assert ak.all(abs(got - wanted) < 1e-4 * (1 + abs(wanted)))
    assert "tinyParT_mass" in found.FatJet.fields
    needs_met = toy.with_heads(make_head(tmp_path / "met", "Met", inputs=("hidNeurons003", "MET_sumEt")))
    with pytest.raises(MissingColumns, match="the head 'Met' lacks the columns MET_sumEt"):
        Taggers([needs_met])(events)


@pytest.fixture
def kept(tmp_path: Path, tiny: Bundle) -> Taggers:
    other = Bundle.from_folder(write_bundle(tmp_path / "other", seed=5, card={"name": "other"}))
    return Taggers(Tagger(bundle, threads=1, cache=tmp_path / "scores") for bundle in (tiny, other))


def count_calls(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[int]]:
    """Which networks are run, and how often constituents are linked."""
    calls: dict[str, list[int]] = {"linked": [], "tinyParT": [], "other": []}
    link, begin = selection._linked, Tagger.begin

    def linked(*arguments: Any) -> Any:
        calls["linked"].append(1)
        return link(*arguments)

    def begun(self: Tagger, *arguments: Any) -> Any:
        calls[self.bundle.name].append(1)
        return begin(self, *arguments)

    monkeypatch.setattr(selection, "_linked", linked)
    monkeypatch.setattr(Tagger, "begin", begun)
    return calls


def test_what_is_in_the_score_cache_is_not_run(kept: Taggers, events: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = count_calls(monkeypatch)
    first = kept.run(events, events.FatJet.pt > 250)
    assert {name: len(made) for name, made in calls.items()} == {"linked": 1, "tinyParT": 1, "other": 1}, "together"
    second = kept.run(events, events.FatJet.pt > 250)
    assert {name: len(made) for name, made in calls.items()} == {"linked": 1, "tinyParT": 1, "other": 1}, "not again"
    for name, tagged in second.items():
        assert tagged.report.cached == first[name].report.scored > 0
        assert_same_scores(tagged.scores, first[name].scores)
    alone = kept["other"].run(events, events.FatJet.pt > 250)
    assert alone.report.cached > 0, "a tagger alone finds what several together have kept"


def test_only_what_misses_is_run(kept: Taggers, events: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {name: Tagger(tagger.bundle, threads=1)(events) for name, tagger in kept.items()}
    kept["other"].run(events)
    calls = count_calls(monkeypatch)
    found = kept.run(events)
    assert {name: len(made) for name, made in calls.items()} == {"linked": 1, "tinyParT": 1, "other": 0}
    assert list(found) == ["tinyParT", "other"]
    for name, tagged in found.items():
        assert_same_scores(tagged.scores, expected[name])
    assert (found["tinyParT"].report.cached, found["other"].report.cached > 0) == (0, True)


def test_damaged_entries_are_run_together(kept: Taggers, events: Any) -> None:
    expected = kept(events)
    for path in kept["other"].cache.folder.iterdir():  # type: ignore[union-attr]
        path.write_bytes(path.read_bytes()[:-9])
    with pytest.warns(RuntimeWarning, match="is damaged: it is ignored"):
        found = kept.run(events)
    for name, tagged in found.items():
        assert tagged.report.cached == 0
        assert_same_scores(tagged.scores, expected[name])


def test_the_cache_is_an_argument(tmp_path: Path) -> None:
    taggers = load_taggers(["tinyParT", "inclParTToyV1"], cache=tmp_path)
    assert {tagger.cache.folder for tagger in taggers.values() if tagger.cache} == {tmp_path}


def test_bad_input(taggers: Taggers, tiny: Bundle, events: Any) -> None:
    with pytest.raises(ConfigError, match="two of the taggers are called 'tinyParT'"):
        Taggers([Tagger(tiny), Tagger(tiny)])
    with pytest.raises(ConfigError, match="got no tagger"):
        load_taggers([])
    with pytest.raises(ConfigError, match="takes a list of models, got the text 'tinyParT'"):
        load_taggers("tinyParT")
    with pytest.raises(BundleNotFound, match="nearest: tinyParT"):
        jt.load_taggers(["tinyPart"])
    with pytest.raises(UnknownName, match="probHbbb"):
        taggers.attach(events, columns=["probHbbb"])
    lacking = ak.without_field(events, "SV")
    with pytest.raises(MissingColumns, match=r"SV\.eta"):
        taggers(lacking)


def test_columns_that_collide(tmp_path: Path, tiny: Bundle, events: Any) -> None:
    card = {"name": "other", "prefix": "tinyParT"}
    other = Bundle.from_folder(write_bundle(tmp_path / "other", card=card))
    with pytest.raises(MismatchError, match="two models would add the column 'tinyParT_mass'"):
        Taggers([Tagger(tiny), Tagger(other)]).attach(events, columns=["mass"])
