"""Scores kept on disk: found for the same content only."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from comparing import assert_same_scores
from heads import make_head
from networks import write_bundle

from jettagger.bundles.bundle import Bundle
from jettagger.errors import MismatchError
from jettagger.files.cache import DiskCache
from jettagger.report import PartialJetsWarning
from jettagger.tagging.tagger import Tagger, load_tagger
from jettagger.testing import make_events


@pytest.fixture
def tagger(tiny: Bundle, tmp_path: Path) -> Tagger:
    return Tagger(tiny, threads=1, cache=tmp_path / "scores")


@pytest.fixture(scope="module")
def events() -> Any:
    return make_events(15, seed=9)


def cached(tagger: Tagger, events: Any, *arguments: Any, **options: Any) -> int:
    return tagger.run(events, *arguments, **options).report.cached


def test_the_second_time_the_network_does_not_run(tagger: Tagger, events: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first = tagger.run(events)
    assert first.report.cached == 0
    monkeypatch.setattr(Tagger, "session", property(lambda _: pytest.fail("the network was asked")))
    second = tagger.run(events)
    assert_same_scores(second.scores, first.scores)
    assert second.report.cached == second.report.scored == first.report.scored
    assert second.report.jets == first.report.jets
    report = second.report
    assert (report.seconds, report.requests, report.resent, report.runs_here, report.servers) == (0, 0, 0, 0, ())
    few = tagger.run(events, None, ("mass",))
    assert few.scores.fields == ["mass"]
    assert ak.all(few.scores.mass == first.scores.mass)


def changed(events: Any, collection: str, field: str) -> Any:
    """The events with one value a little different."""
    flat = ak.to_numpy(ak.flatten(events[collection, field])).copy()
    flat[len(flat) // 2] = np.nextafter(flat[len(flat) // 2], np.inf, dtype=flat.dtype)
    values = ak.unflatten(flat, ak.num(events[collection, field]))
    return ak.with_field(events, ak.with_field(events[collection], values, field), collection)


def test_a_changed_table_is_not_found_under_the_name_of_the_old_one(tagger: Tagger, events: Any) -> None:
    tagger.run(events)
    with pytest.raises(MismatchError, match="PFCands"):
        tagger.run(changed(events, "PFCands", "pt"))
    with pytest.raises(MismatchError, match="FatJetPFCands"):
        tagger.run(changed(events, "FatJetPFCands", "pt"))


def test_the_least_share_of_the_pt_is_a_part_of_the_name(events: Any, tmp_path: Path) -> None:
    taggers = [load_tagger("tinyParT", threads=1, cache=tmp_path / "s", min_pt_share=x) for x in (None, 0.8, 0.999)]
    results = [tagger.run(events) for tagger in taggers[:2]]
    with pytest.warns(PartialJetsWarning):
        results.append(taggers[2].run(events))
    assert [result.report.cached for result in results] == [0, 0, 0]
    assert results[2].report.partial > results[0].report.partial == 0
    with pytest.warns(PartialJetsWarning):  # also of what comes from the cache
        again = taggers[2].run(events)
    assert again.report.cached == again.report.scored
    assert again.report.partial == results[2].report.partial
    assert_same_scores(again.scores, results[2].scores)


def test_whatever_changes_misses(tagger: Tagger, events: Any, tmp_path: Path) -> None:
    tagger.run(events)
    mask = events.FatJet.pt > 250
    assert cached(tagger, events) > 0
    assert cached(tagger, events[:10]) == 0
    assert cached(tagger, events[::-1]) == 0
    assert cached(tagger, events[np.arange(15) % 2 == 0]) == 0
    assert cached(tagger, events, mask) == 0
    assert cached(tagger, events, mask) > 0
    assert cached(tagger, events, ~mask) == 0
    for collection, field in (("FatJet", "eta"), ("PFCands", "eta"), ("FatJetSVs", "mass")):
        assert cached(tagger, changed(events, collection, field)) == 0
    assert cached(tagger, events, kinematics={"pt": events.FatJet.pt * 1.01}) == 0
    other = Bundle.from_folder(write_bundle(tmp_path / "other"))
    assert cached(Tagger(other, threads=1, cache=tmp_path / "scores"), events) == 0


def test_what_the_model_does_not_read_does_not_matter(tagger: Tagger, events: Any) -> None:
    tagger.run(events)
    more = ak.with_field(events, np.arange(15), "another")
    assert cached(tagger, more) > 0


def test_events_that_are_none_are_part_of_the_content(tagger: Tagger, events: Any) -> None:
    masked = ak.mask(events, np.arange(15) != 3)
    first = tagger.run(masked)
    again = tagger.run(masked)
    assert again.report.cached > 0
    assert_same_scores(again.scores, first.scores)
    assert cached(tagger, ak.mask(events, np.arange(15) != 4)) == 0


@pytest.mark.slow
def test_heads_run_on_scores_from_the_cache(events: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = load_tagger("inclParTToyV1", threads=1, cache=tmp_path / "scores")
    head = make_head(tmp_path / "head", inputs=("hidNeurons003", "mass", "FatJet_eta"))
    tagger = plain.with_heads(head)
    assert tagger.cache is not None
    mask = events.FatJet.pt > 250
    moved = {"eta": events.FatJet.eta + 0.1}
    without = load_tagger("inclParTToyV1", threads=1).with_heads(head)
    expected = [without.run(events, mask), without.run(events, mask, kinematics=moved)]
    for kinematics in (None, moved):
        plain.run(events, mask, kinematics=kinematics)
    monkeypatch.setattr(Tagger, "session", property(lambda _: pytest.fail("the network was asked")))
    for wanted, kinematics in zip(expected, (None, moved), strict=True):
        found = tagger.run(events, mask, kinematics=kinematics)
        assert found.report.cached == found.report.scored == wanted.report.scored > 0
        assert found.scores.fields == wanted.scores.fields
        assert_same_scores(found.scores, wanted.scores)
    assert ak.any(abs(expected[0].scores.Toy_probA - expected[1].scores.Toy_probA) > 1e-5), "the variation is seen"
    few = tagger.run(events, mask, ("Toy_probB", "mass")).scores
    assert few.fields == ["Toy_probB", "mass"]
    assert_same_scores(few, expected[0].scores[["Toy_probB", "mass"]])


def test_what_a_head_reads_does_not_change_the_entry(events: Any, tmp_path: Path) -> None:
    head = make_head(tmp_path / "head", inputs=("hidNeurons003", "MET_pt"))
    tagger = load_tagger("inclParTToyV1", threads=1, cache=tmp_path / "scores").with_heads(head)

    def run(pt: float) -> Any:
        met = ak.zip({"pt": np.full(len(events), pt, dtype=np.float32)})
        return tagger.run(ak.with_field(events, met, "MET"))

    first, second = run(20), run(90)
    assert first.report.cached == 0
    assert second.report.cached == second.report.scored > 0
    assert ak.any(abs(first.scores.Toy_probA - second.scores.Toy_probA) > 1e-5)


def test_no_jets(tagger: Tagger, events: Any) -> None:
    nothing = events.FatJet.pt < 0
    first, second = tagger.run(events, nothing), tagger.run(events, nothing)
    assert_same_scores(second.scores, first.scores)


def test_a_damaged_entry_is_scored_anew(tagger: Tagger, events: Any) -> None:
    expected = tagger.run(events)
    assert isinstance(tagger.cache, DiskCache)
    (path,) = tagger.cache.folder.iterdir()
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.warns(RuntimeWarning, match="is damaged"):
        found = tagger.run(events)
    assert found.report.cached == 0
    assert_same_scores(found.scores, expected.scores)
    assert cached(tagger, events) > 0


def test_where_it_lies(tiny: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JETTAGGER_CACHE", str(tmp_path))
    found = load_tagger("tinyParT", cache=True).cache
    assert found is not None
    assert found.folder == tmp_path / "scores"
    monkeypatch.setenv("JETTAGGER_CACHE", "off")
    assert load_tagger("tinyParT", cache=True).cache is None
    assert load_tagger("tinyParT").cache is None
    own = DiskCache(tmp_path / "own", 1000)
    travelled = pickle.loads(pickle.dumps(Tagger(tiny, cache=own))).cache
    assert (travelled.folder, travelled.limit) == (own.folder, 1000)
