"""Scores do not depend on how events are stored, cut, ordered or batched; what is bad is refused or counted."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import awkward as ak
import numpy as np
import pytest
from comparing import assert_same_scores, branches_of, flat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import jettagger as jt
from jettagger.bundles.bundle import Bundle
from jettagger.bundles.places import PACKAGE
from jettagger.errors import (
    BundleError,
    ConfigError,
    InputFileError,
    MismatchError,
    MissingColumns,
    MissingModelFile,
    ModelFileError,
    ProviderError,
    UnknownName,
    WrongType,
)
from jettagger.sessions import ReplaySession
from jettagger.tagging.tagger import Tagger
from jettagger.testing import make_columns, make_events, write_pfnano

Columns = dict[str, Any]


@pytest.fixture(scope="module")
def tagger() -> Tagger:
    return jt.load_tagger("tinyParT", threads=1)


@pytest.fixture(scope="module")
def events() -> Any:
    return make_events(30, seed=3)


@pytest.fixture(scope="module")
def scores(tagger: Tagger, events: Any) -> Any:
    return tagger(events)


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pfnano(tmp_path_factory.mktemp("nano") / "nano.root", 30, seed=3)


def open_virtual(path: Path, log: list[Any] | None = None) -> Any:
    from coffea.nanoevents import NanoEventsFactory, PFNanoAODSchema

    factory = NanoEventsFactory.from_root({str(path): "Events"}, schemaclass=PFNanoAODSchema, access_log=log)
    return factory.events()


def one_jet(candidates: Columns, links: Columns | None = None, vertices: Columns | None = None) -> Any:
    """An event with one jet at eta 0.5, phi 1 from flat columns of its candidates, which carry its pt."""
    from jettagger.formats.nesting import nest

    n = len(next(iter(candidates.values())))
    pf = {"eta": 0.5, "phi": 1.0, "pt": 1.0, "mass": 0.14, "charge": 1, "pdgId": 211, "puppiWeight": 1.0}
    pf |= {"pvAssocQuality": 7, "lostInnerHits": 0, "trkQuality": 5, "trkChi2": 1.0}
    pf |= {"dz": 0.01, "dzErr": 0.005, "d0": 0.01, "d0Err": 0.005}
    link = dict.fromkeys(("EtaRel", "PtRatio", "PParRatio", "Sip3dVal", "Sip3dSig", "JetDistVal"), 0.1)
    link = {f"btag{name}": value for name, value in link.items()} | {"jetIdx": 0}
    sv = dict.fromkeys(("pt", "mass", "ntracks", "normchi2", "dxy", "dxysig", "d3d", "d3dsig"), 1.0)
    sv |= {"phirel": 0.1, "deltaR": -0.3, "enration": 0.01, "jetIdx": 0, "sVIdx": -1}
    m = 0 if vertices is None else len(next(iter(vertices.values())))

    def column(value: Any, length: int) -> Any:
        values = np.full(length, value) if np.ndim(value) == 0 else np.asarray(value)
        return ak.Array([values.astype(np.int32 if values.dtype.kind in "iu" else np.float32)])

    link = link | {"pFCandsIdx": np.arange(n)} | (links or {})
    rows = len(link["pFCandsIdx"])
    pt = np.broadcast_to((pf | candidates)["pt"], n)[np.asarray(link["pFCandsIdx"])]
    jets = {"pt": pt[np.isfinite(pt)].sum(), "eta": 0.5, "phi": 1.0, "mass": 80.0}
    columns = {f"FatJet_{name}": column(value, 1) for name, value in jets.items()}
    columns |= {f"PFCands_{name}": column(value, n) for name, value in (pf | candidates).items()}
    columns |= {f"FatJetPFCands_{name}": column(value, rows) for name, value in link.items()}
    columns |= {f"FatJetSVs_{name}": column(value, m) for name, value in (sv | (vertices or {})).items()}
    columns |= {f"SV_{name}": column(0.5, 0) for name in ("eta", "phi")}
    return nest(columns)


# the same scores from every kind of array


def test_the_record_has_all_outputs_in_the_models_order(tagger: Tagger, scores: Any, events: Any) -> None:
    assert scores.fields == [output.name for output in tagger.bundle.outputs]
    assert len(scores.fields) == 166
    assert str(scores.probHbb.type) == "30 * var * ?float32"
    assert ak.num(scores.probHbb).tolist() == ak.num(events.FatJet.pt).tolist()
    total = sum(flat(scores, name) for name in scores.fields if name.startswith("prob"))
    np.testing.assert_allclose(total[np.isfinite(total)], 1, atol=1e-5)
    assert np.ptp(flat(scores, "probHbb")[np.isfinite(total)]) > 1e-3, "the network must tell jets apart"


def test_virtual_events_give_the_same_and_only_the_needed_columns_are_read(
    tagger: Tagger, scores: Any, nano: Path
) -> None:
    log: list[Any] = []
    virtual = open_virtual(nano, log)
    attached = tagger.attach(virtual, where=None, columns=["all"])
    needed = {column.replace(".", "_") for column in tagger.plan(virtual).columns}
    counters = {"nFatJet", "nFatJetPFCands", "nPFCands", "nFatJetSVs", "nSV"}
    assert {*branches_of(log)} == needed | counters
    assert "PFCands_puppiWeight" not in needed
    assert "FatJet_msoftdrop" not in needed
    for name in scores.fields:
        np.testing.assert_allclose(
            ak.to_numpy(ak.fill_none(ak.flatten(attached.FatJet[f"tinyParT_{name}"]), np.nan)),
            flat(scores, name),
            rtol=1e-4,
            atol=1e-5,
        )
    assert {*branches_of(log)} == needed | counters


CHANGES: dict[str, Callable[[Any], Any]] = {
    "sliced": lambda array: array[5:17],
    "every second": lambda array: array[::2],
    "reversed": lambda array: array[::-1],
    "indexed with repeats": lambda array: array[[3, 1, 1, 20, 3]],
    "boolean": lambda array: array[np.arange(len(array)) % 3 == 1],
    "masked": lambda array: ak.mask(array, np.arange(len(array)) % 3 != 1),
    "all masked": lambda array: ak.mask(array, np.zeros(len(array), dtype=bool)),
    "masked and sliced": lambda array: ak.mask(array, np.arange(len(array)) % 3 != 1)[2:20],
    "nothing left": lambda array: array[:0],
    "concatenated": lambda array: ak.concatenate([array[20:], array[:7]]),
    "packed": lambda array: ak.to_packed(array[4:9]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_any_layout_of_events_gives_the_same(change: str, tagger: Tagger, events: Any, scores: Any) -> None:
    function = CHANGES[change]
    assert_same_scores(tagger(function(events)), function(scores))


@pytest.mark.parametrize("change", [name for name in CHANGES if name != "packed"])
def test_any_layout_of_virtual_events_gives_the_same(change: str, tagger: Tagger, nano: Path, scores: Any) -> None:
    function = CHANGES[change]
    virtual = function(open_virtual(nano))
    assert_same_scores(tagger(virtual), function(scores))
    attached = tagger.attach(virtual, columns=["probHbb"])
    expected = ak.drop_none(function(scores), axis=0).probHbb
    got = ak.drop_none(attached, axis=0).FatJet.tinyParT_probHbb
    np.testing.assert_allclose(flat({"x": got}, "x"), flat({"x": expected}, "x"), atol=1e-5)


def test_jets_that_are_none_stay_none_and_their_neighbours_keep_their_scores(
    tagger: Tagger, events: Any, scores: Any
) -> None:
    keep = ak.local_index(events.FatJet.pt) != 1
    with_none = ak.with_field(events, ak.mask(events.FatJet, keep), "FatJet")
    tagged = tagger.run(with_none)
    assert_same_scores(tagged.scores, ak.mask(scores, keep))
    assert tagged.report.absent == ak.sum(~keep) > 0
    assert tagged.report.not_selected == 0
    attached = tagger.attach(with_none, columns=["mass"])
    assert ak.is_none(attached.FatJet, axis=1).tolist() == (~keep).tolist()
    assert ak.num(attached.FatJet.tinyParT_mass).tolist() == ak.num(events.FatJet.pt).tolist()


def test_lists_of_jets_that_are_none_count_as_no_jets(tagger: Tagger, events: Any, scores: Any) -> None:
    keep = np.arange(len(events)) % 4 != 0
    with_none = ak.with_field(events, ak.mask(events.FatJet, keep), "FatJet")
    got = tagger(with_none)
    assert ak.num(got.mass)[keep].tolist() == ak.num(events.FatJet.pt)[keep].tolist()
    assert_same_scores(got[keep], scores[keep])
    assert ak.all(ak.num(got.mass)[~keep] == 0)


@pytest.mark.parametrize("batch_size", [1, 2, 7, 64])
def test_the_batch_size_changes_nothing(batch_size: int, tiny: Bundle, events: Any, scores: Any) -> None:
    assert_same_scores(Tagger(tiny, threads=1, batch_size=batch_size)(events), scores)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_chunks_change_nothing(data: st.DataObject, tagger: Tagger, events: Any, scores: Any) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(events)), max_size=4), label="cuts"))
    edges = [0, *cuts, len(events)]
    parts = [tagger(events[start:stop]) for start, stop in pairwise(edges)]
    assert_same_scores(ak.concatenate(parts), scores)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_the_order_and_choice_of_events_change_nothing(
    data: st.DataObject, tagger: Tagger, events: Any, scores: Any
) -> None:
    chosen = data.draw(st.lists(st.integers(0, len(events) - 1), max_size=12), label="events")
    index = np.array(chosen, dtype=np.int64)
    assert_same_scores(tagger(events[index]), scores[index])


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_where_only_decides_who_is_scored(data: st.DataObject, tagger: Tagger, events: Any, scores: Any) -> None:
    total = int(ak.count(events.FatJet.pt))
    picks = data.draw(st.lists(st.booleans(), min_size=total, max_size=total), label="where")
    where = ak.unflatten(np.array(picks, dtype=bool), ak.num(events.FatJet.pt))
    tagged = tagger.run(events, where)
    assert_same_scores(tagged.scores, ak.mask(scores, where))
    report = tagged.report
    assert report.scored + report.not_selected + report.without_constituents + report.absent == report.jets == total
    assert report.not_selected == total - sum(picks)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**20))
def test_the_order_of_links_and_candidates_changes_nothing(seed: int, tagger: Tagger) -> None:
    columns = make_columns(3, seed=seed % 50, jets=1.5, constituents=20)
    from jettagger.formats.nesting import nest

    rng = np.random.default_rng(seed)
    changed = dict(columns)
    for table in ("FatJetPFCands", "FatJetSVs"):
        orders = ak.Array([rng.permutation(n) for n in ak.num(columns[f"{table}_jetIdx"])])
        for name in columns:
            if name.startswith(f"{table}_"):
                changed[name] = columns[name][orders]
    # where a jet has more than the network takes, candidates of the same pt decide by their order
    used = [
        [int(np.sum(row == jet)) for jet in range(n)]
        for row, n in zip(map(np.asarray, columns["FatJetPFCands_jetIdx"]), ak.num(columns["FatJet_pt"]), strict=True)
    ]
    where = ak.values_astype(ak.Array(used), np.int64) <= 128
    events, other = nest(columns), nest(changed)
    assert_same_scores(tagger(other, where), tagger(events, where))


def test_the_order_of_jets_changes_nothing(tagger: Tagger) -> None:
    from jettagger.formats.nesting import nest

    columns = make_columns(20, seed=5)
    counts = ak.num(columns["FatJet_pt"])
    changed = dict(columns)
    for name in columns:
        if name.startswith("FatJet_"):
            changed[name] = columns[name][:, ::-1]
    for table in ("FatJetPFCands", "FatJetSVs"):
        changed[f"{table}_jetIdx"] = counts - 1 - columns[f"{table}_jetIdx"]
    before = tagger(nest(columns))
    assert_same_scores(tagger(nest(changed)), before[:, ::-1])


# what is not scored


def test_zero_events_and_zero_jets(tagger: Tagger, events: Any) -> None:
    empty = tagger.run(events[:0])
    assert str(empty.scores.mass.type) == "0 * var * ?float32"
    assert empty.report.events == empty.report.jets == 0
    assert empty.report.padding_waste == 0
    without = events[ak.num(events.FatJet.pt) == 0]
    assert len(without) > 0
    tagged = tagger.run(without)
    assert tagged.scores.mass.tolist() == [[]] * len(without)
    assert tagger.attach(without).FatJet.tinyParT_probHbb.tolist() == [[]] * len(without)


def test_the_session_is_not_called_without_jets(tiny: Bundle, events: Any) -> None:
    session = ReplaySession(lambda inputs: {})
    tagged = Tagger(tiny, session=session).run(events, where=events.FatJet.pt < 0)
    assert session.calls == []
    assert ak.all(ak.is_none(tagged.scores, axis=1))
    assert tagged.report.not_selected == tagged.report.jets


def test_a_jet_without_constituents_is_not_scored_and_counted(tagger: Tagger) -> None:
    events = make_events(60, seed=8)
    used = ak.Array(
        [
            [int(np.sum(np.asarray(event.FatJetPFCands.jetIdx) == jet)) for jet in range(len(event.FatJet))]
            for event in events
        ]
    )
    tagged = tagger.run(events)
    assert tagged.report.without_constituents == ak.sum(used == 0) > 0
    assert ak.is_none(tagged.scores, axis=1).tolist() == (used == 0).tolist()
    assert tagged.report.scored == ak.sum(used > 0)
    assert tagged.report.truncated == ak.sum(used > 128) > 0


def test_more_constituents_than_the_maximum_the_leading_ones_are_used(tagger: Tagger) -> None:
    rng = np.random.default_rng(1)
    pt = rng.permutation(np.linspace(0.5, 50, 150)).astype(np.float32)
    eta = rng.uniform(0, 1, 150).astype(np.float32)
    leading = np.sort(np.argsort(-pt)[:128])
    full = tagger.run(one_jet({"pt": pt, "eta": eta}))
    cut = tagger.run(one_jet({"pt": pt[leading], "eta": eta[leading]}))
    assert_same_scores(full.scores, cut.scores)
    assert (full.report.truncated, cut.report.truncated) == (1, 0)
    others = tagger(one_jet({"pt": pt[:128], "eta": eta[:128]}))
    assert abs(flat(others, "probHbb") - flat(full.scores, "probHbb"))[0] > 1e-6


def test_nan_and_infinities_are_replaced_and_counted(tagger: Tagger) -> None:
    n = 5
    bad = {"dz": [np.nan, 1, 1, 1, 1], "d0Err": [1, 0, 1, 1, 1], "mass": [0.1, 0.1, np.inf, 0.1, 0.1]}
    given_ = {name: np.array(values, dtype=np.float32) for name, values in bad.items()}
    tagged = tagger.run(one_jet({"pt": np.arange(n, 0, -1.0), **given_}))
    assert tagged.report.replaced_values >= 4
    assert tagged.report.nonfinite_jets == 0
    assert all(np.isfinite(flat(tagged.scores, name)).all() for name in tagged.scores.fields)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e38])
@pytest.mark.parametrize("column", ["pt", "eta", "phi", "dz", "trkChi2"])
def test_one_bad_value_is_never_a_crash_nor_a_silent_nan(column: str, value: float, tagger: Tagger) -> None:
    values = {"pt": [5, 4, 3, 2], "eta": [0.5] * 4, "phi": [1.0] * 4, "dz": [0.1] * 4, "trkChi2": [1] * 4}
    values[column] = [*values[column][:2], value, values[column][3]]
    columns = {name: np.array(items, dtype=np.float32) for name, items in values.items()}
    try:
        tagged = tagger.run(one_jet(columns))
    except MismatchError:
        assert column in ("eta", "phi", "pt")  # such a candidate leads and lies nowhere
        return
    finite = all(np.isfinite(flat(tagged.scores, name)).all() for name in tagged.scores.fields)
    assert finite or tagged.report.nonfinite_jets == 1


# where


@pytest.mark.parametrize(
    ("where", "phrases"),
    [
        (lambda e: e.FatJet.pt[:-1] > 0, ["29 events", "30 events"]),
        (lambda e: e.FatJet.pt, ["float32", "bool"]),
        (lambda e: ak.values_astype(e.FatJet.pt > 0, np.int8), ["int8", "bool"]),
        (lambda e: (e.FatJet.pt > 0)[:, :1], ["entries in event", "events differ"]),
        (lambda e: e.PFCands.pt > 0, ["entries in event", "FatJet has"]),
        (lambda e: ak.num(e.FatJet.pt) > 0, ["type 30 * bool", "aligned with events.FatJet"]),
        (lambda e: e.FatJet, ["rawFactor", "bool"]),
        (lambda e: True, ["bool", "jagged bool array"]),
        (lambda e: np.ones(30, dtype=bool), ["ndarray"]),
        (lambda e: [[True]], ["list"]),
        (lambda e: ak.Array([["a"]] * 30), ["expected a cut", "jagged bool array"]),
    ],
)
def test_a_where_that_does_not_fit_is_refused(
    where: Callable[[Any], Any], phrases: list[str], tagger: Tagger, events: Any
) -> None:
    with pytest.raises(MismatchError) as error:
        tagger(events, where(events))
    assert all(phrase in str(error.value) for phrase in ["where", *phrases]), str(error.value)


def test_the_error_names_the_event_that_differs(tagger: Tagger, events: Any) -> None:
    counts = np.asarray(ak.num(events.FatJet.pt)).copy()
    counts[7] += 2
    where = ak.unflatten(np.ones(counts.sum(), dtype=bool), counts)
    with pytest.raises(MismatchError, match=rf"where has {counts[7]} entries in event 7 where .* {counts[7] - 2} jets"):
        tagger(events, where)


def test_the_event_that_differs_is_counted_among_all_events(tagger: Tagger, events: Any) -> None:
    masked = ak.mask(events, np.arange(30) != 2)
    counts = np.asarray(ak.num(events.FatJet.pt)).copy()
    counts[7] += 1
    where = ak.unflatten(np.ones(counts.sum(), dtype=bool), counts)
    with pytest.raises(MismatchError, match="in event 7 "):
        tagger(masked, where)


def test_none_in_where_means_no(tagger: Tagger, events: Any, scores: Any) -> None:
    cut = events.FatJet.pt > 250
    where = ak.mask(cut, events.FatJet.eta > 0)
    assert_same_scores(tagger(events, where), ak.mask(scores, cut & (events.FatJet.eta > 0)))
    lists = ak.mask(cut, np.arange(30) % 2 == 0)  # None for all jets of an event
    keep = cut & (np.arange(30) % 2 == 0)
    without = ak.num(events.FatJet.pt) == 0
    evens = ak.Array((np.arange(30) % 2 == 0) | np.asarray(without))
    assert_same_scores(tagger(events[evens], lists[evens]), ak.mask(scores, keep)[evens])


def test_where_of_virtual_events(tagger: Tagger, nano: Path, events: Any, scores: Any) -> None:
    virtual = open_virtual(nano)
    assert_same_scores(tagger(virtual, virtual.FatJet.msoftdrop > 60), ak.mask(scores, events.FatJet.msoftdrop > 60))


# collections that were changed


def test_a_filtered_collection_is_refused(tagger: Tagger) -> None:
    events = make_events(40, seed=4)
    filtered = ak.with_field(events, events.FatJet[events.FatJet.pt > 300], "FatJet")
    with pytest.raises(MismatchError, match=r"event \d+ of this chunk, jet \d+.*where="):
        tagger(filtered)
    with pytest.raises(MismatchError, match="not the collection"):
        tagger.attach(ak.with_field(events, events.FatJet[:, ::-1], "FatJet"))


def test_tagging_twice_needs_another_prefix(tagger: Tagger, events: Any) -> None:
    once = tagger.attach(events, columns=["mass", "prob"])
    with pytest.raises(MismatchError, match=r"38 of these columns already.*prefix="):
        tagger.attach(once, columns=["mass", "prob"])
    twice = tagger.attach(once, prefix="again", columns=["mass"])
    assert ak.array_equal(twice.FatJet.again_mass, twice.FatJet.tinyParT_mass)
    # other columns of the same model may follow
    assert "tinyParT_hidNeurons127" in tagger.attach(once, columns=["hidden"]).FatJet.fields


# names


def test_unknown_columns_are_refused_with_the_nearest(tagger: Tagger, events: Any) -> None:
    with pytest.raises(UnknownName, match=r"probHbB.*probHbb"):
        tagger.attach(events, columns=["probHbB"])
    with pytest.raises(UnknownName, match=r"unknown kind or output.*'probs' \(nearest: prob"):
        tagger.attach(events, columns=["mass", "probs"])


@pytest.mark.parametrize("prefix", ["", "1st", "a-b", "a b", "a.b"])
def test_a_prefix_that_is_no_name_is_refused(prefix: str, tagger: Tagger, events: Any) -> None:
    with pytest.raises(MismatchError, match="prefix"):
        tagger.attach(events, prefix=prefix)


def test_columns_are_named_by_prefix_and_output(tagger: Tagger, events: Any) -> None:
    attached = tagger.attach(events, prefix="my", columns=["mass", "hidNeurons007", "probHbb"])
    new = set(attached.FatJet.fields) - set(events.FatJet.fields)
    assert new == {"my_mass", "my_hidNeurons007", "my_probHbb"}
    default = set(tagger.attach(events).FatJet.fields) - set(events.FatJet.fields)
    assert len(default) == 37 + 1 + 128
    assert {
        "tinyParT_probHbb",
        "tinyParT_mass",
        "tinyParT_hidNeurons000",
        "tinyParT_hidNeurons127",
    } <= default


def test_the_mass_of_the_jet_is_not_overwritten_and_the_given_events_stay(tagger: Tagger, events: Any) -> None:
    before = {name: events.FatJet[name].tolist() for name in events.FatJet.fields}
    attached = tagger.attach(events)
    assert attached.FatJet.mass.tolist() == before["mass"]
    assert {name: events.FatJet[name].tolist() for name in events.FatJet.fields} == before
    assert attached.FatJet.tinyParT_mass.tolist() != before["mass"]


def test_events_without_a_known_collection(tagger: Tagger) -> None:
    with pytest.raises(InputFileError, match=r"no known format.*Jets.*FatJetPFCands"):
        tagger(ak.Array({"Jets": [[{"pt": 1.0}]]}))
    for bad in (None, [1, 2], ak.Array([[1.0]]), {"FatJet": []}):
        with pytest.raises(InputFileError, match="expected an array of events"):
            tagger(bad)


def test_every_missing_column_is_named_with_who_wants_it(tagger: Tagger, events: Any) -> None:
    without = ak.with_field(events, ak.without_field(ak.without_field(events.PFCands, "dz"), "trkQuality"), "PFCands")
    with pytest.raises(MissingColumns) as error:
        tagger(without)
    text = str(error.value)
    assert "pf.dz " in text
    assert "needed by pfcand_dz\n" in text
    assert "pfcand_dzsig" in text
    assert "PFCands.trkQuality" in text
    assert "tinyParT" in text
    links = ak.with_field(events, ak.without_field(events.FatJetPFCands, "pFCandsIdx"), "FatJetPFCands")
    with pytest.raises(MissingColumns, match=r"link to the jets \(FatJetPFCands.pFCandsIdx\)"):
        tagger(links)


# coffea


def test_behaviours_of_coffea_survive(tagger: Tagger, nano: Path) -> None:
    virtual = open_virtual(nano)
    attached = tagger.attach(virtual, where=virtual.FatJet.pt > 250)
    assert type(attached) is type(virtual)
    assert type(attached.FatJet) is type(virtual.FatJet)
    assert attached.metadata == virtual.metadata
    jets = attached.FatJet[ak.num(attached.FatJet) >= 2]
    plain = virtual.FatJet[ak.num(virtual.FatJet) >= 2]
    pair, expected = jets[:, 0] + jets[:, 1], plain[:, 0] + plain[:, 1]
    np.testing.assert_allclose(ak.to_numpy(pair.mass), ak.to_numpy(expected.mass))
    assert ak.all(jets[:, 0].delta_r(jets[:, 1]) > 0)
    tight = attached[ak.any(attached.FatJet.tinyParT_probHbb > 0.01, axis=1)]
    assert ak.all(ak.num(tight.FatJet) > 0)
    assert ak.all(ak.is_none(attached.FatJet.tinyParT_mass, axis=1) == (attached.FatJet.pt <= 250))


def test_attach_reads_nothing_but_what_the_model_needs(tagger: Tagger, nano: Path) -> None:
    log: list[Any] = []
    virtual = open_virtual(nano, log)
    for change in (
        lambda e: e,
        lambda e: e[3:9],
        lambda e: e[[1, 5, 5]],
        lambda e: ak.mask(e, np.arange(30) % 2 == 0),
    ):
        attached = tagger.attach(change(virtual))
    needed = {column.replace(".", "_") for column in tagger.plan(virtual).columns}
    read = {*branches_of(log)}
    assert {name for name in read if not name.startswith("n")} == needed
    assert ak.max(attached.FatJet.msoftdrop) > 0
    assert "FatJet_msoftdrop" in {*branches_of(log)}


# pickles and processes


def test_a_pickle_is_a_path_and_a_checksum(tagger: Tagger, events: Any, scores: Any) -> None:
    cloudpickle = pytest.importorskip("cloudpickle")
    tagger(events[:1])  # a session is open
    for library in (pickle, cloudpickle):
        data = library.dumps(tagger)
        assert len(data) < 10_000
        assert len(data) < 600
        copy = library.loads(data)
        assert copy.bundle.digest == tagger.bundle.digest
        assert copy.options == tagger.options
        assert_same_scores(copy(events), scores)


def _hbb(tagger: Tagger, seed: int) -> tuple[list[Any], int]:
    tagger = Tagger(tagger.bundle, tagger.options)
    return tagger(make_events(6, seed=seed)).probHbb.tolist(), tagger.session.threads  # type: ignore[attr-defined]


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_it_works_over_processes(method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} on this system")
    tagger = jt.load_tagger("tinyParT")
    expected, _ = _hbb(jt.load_tagger("tinyParT", threads=1), 1)  # the parent has used its session before
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
        try:
            got, threads = pool.submit(_hbb, tagger, 1).result(timeout=300)
        except Exception:  # the pool would wait for it for ever
            for process in multiprocessing.active_children():
                process.kill()
            raise
    np.testing.assert_allclose(ak.to_numpy(ak.flatten(got)), ak.to_numpy(ak.flatten(expected)), atol=1e-6)
    assert threads == 1, "one thread inside a worker"


def copy_of_tiny(folder: Path) -> Path:
    return Path(shutil.copytree(PACKAGE / "models" / "tinyParT", folder / "tiny"))


def test_a_bundle_that_changed_is_not_the_one_that_was_sent(tmp_path: Path) -> None:
    folder = copy_of_tiny(tmp_path)
    data = pickle.dumps(jt.load_tagger(folder))
    text = (folder / "preprocess.json").read_text()
    (folder / "preprocess.json").write_text(text.replace('"norm_factor": 1.6', '"norm_factor": 1.7', 1))
    assert (folder / "preprocess.json").read_text() != text
    with pytest.raises(BundleError, match="its content has changed"):
        pickle.loads(data)
    shutil.rmtree(folder)
    with pytest.raises(BundleError, match=str(folder)):
        repr(pickle.loads(data))


def test_weights_that_changed_after_loading_are_refused(tmp_path: Path, events: Any) -> None:
    from jettagger.testing import make_tiny_model

    folder = copy_of_tiny(tmp_path)
    tagger = jt.load_tagger(folder, threads=3)  # a session of its own
    make_tiny_model(folder / "model.onnx", seed=99)
    with pytest.raises(ModelFileError, match="changed"):
        tagger(events)


def test_no_weights_is_said_at_once() -> None:
    with pytest.raises(MissingModelFile, match=r"model\.onnx"):
        jt.load_tagger("inclParTMDV1")


# threads and providers


@pytest.mark.parametrize("threads", [0, -1, 1.5, "two", True])
def test_threads_are_a_positive_number(threads: Any, events: Any) -> None:
    with pytest.raises((ConfigError, WrongType), match=r"threads.* whole number"):
        jt.load_tagger("tinyParT", threads=threads)(events)


def test_threads_by_default_and_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    from jettagger.sessions import threads

    assert threads.default_threads() == threads.usable_cores() >= 1
    assert jt.load_tagger("tinyParT").session.threads == threads.usable_cores()  # type: ignore[attr-defined]
    assert jt.load_tagger("tinyParT", threads=2).session.threads == 2  # type: ignore[attr-defined]
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: SimpleNamespace(pid=1))
    assert threads.default_threads() == 1
    monkeypatch.undo()
    worker = SimpleNamespace(get_worker=lambda: "a worker")
    monkeypatch.setitem(sys.modules, "distributed.worker", worker)
    assert threads.in_worker()

    def none() -> None:
        raise ValueError("no worker found")

    monkeypatch.setitem(sys.modules, "distributed.worker", SimpleNamespace(get_worker=none))
    assert not threads.in_worker()


def test_a_provider_that_is_not_there_is_an_error(events: Any) -> None:
    with pytest.raises(ProviderError, match=r"'cuda' is not available.*CPUExecutionProvider"):
        jt.load_tagger("tinyParT", provider="cuda")(events)
    with pytest.raises(ProviderError, match=r"CPUExecutionProvide.*nearest: CPUExecutionProvider"):
        jt.load_tagger("tinyParT", provider="CPUExecutionProvide")(events)


def test_a_provider_that_did_not_become_active_is_an_error(
    monkeypatch: pytest.MonkeyPatch, events: Any, tiny: Bundle
) -> None:
    import onnxruntime

    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )

    class Fallback:
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            pass

        def get_providers(self) -> list[str]:
            return ["CPUExecutionProvider"]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Fallback)
    with pytest.raises(ProviderError, match="CUDAExecutionProvider was asked for, CPUExecutionProvider is active"):
        jt.load_tagger("tinyParT", provider="cuda", threads=1)(events)


def test_one_session_a_content_and_process(tmp_path: Path) -> None:
    one, other = jt.load_tagger("tinyParT", threads=1), jt.load_tagger(copy_of_tiny(tmp_path), threads=1)
    assert one.session is other.session
    assert one.session is jt.load_tagger("tinyParT", threads=1, provider="cpu").session
    assert one.session is not jt.load_tagger("tinyParT", threads=2).session


# the network's answer


def answer(n_columns: int) -> Callable[[Any], dict[str, Any]]:
    return lambda inputs: {"scores": np.zeros((len(inputs["pf_mask"]), n_columns), dtype=np.float32)}


def test_a_wrong_number_of_columns_is_an_error(tiny: Bundle, events: Any) -> None:
    with pytest.raises(ModelFileError, match=r"'tinyParT' gave 165 columns.*expected 166"):
        Tagger(tiny, session=ReplaySession(answer(165)))(events)


def test_a_session_of_ones_own_sees_every_scored_jet_once(tiny: Bundle, events: Any, tagger: Tagger) -> None:
    session = ReplaySession(answer(166))
    double = Tagger(tiny, session=session, batch_size=7)
    tagged = double.run(events)
    sizes = [len(call["pf_mask"]) for call in session.calls]
    assert sum(sizes) == tagged.report.scored == tagger.run(events).report.scored
    assert max(sizes) <= 7
    for call in session.calls:
        assert list(call) == [group.name for group in tiny.groups]
        assert call["pf_features"].shape[1:] == (25, call["pf_mask"].shape[2])
        assert call["sv_vectors"].shape[1:] == (4, call["sv_mask"].shape[2])
        assert all(array.dtype == np.float32 and array.flags.c_contiguous for array in call.values())
    filled = sum(int(call["pf_mask"].sum()) for call in session.calls)
    assert tagged.report.filled == filled
    assert tagged.report.slots == sum(call["pf_mask"].size for call in session.calls)
    assert tagged.report.padding_waste == pytest.approx(1 - filled / tagged.report.slots)
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(double)


def test_an_answer_that_is_not_finite_is_counted(tiny: Bundle, events: Any) -> None:
    def nan(inputs: Any) -> dict[str, Any]:
        values = answer(166)(inputs)["scores"]
        values[0, 3] = np.nan
        return {"scores": values}

    tagged = Tagger(tiny, session=ReplaySession(nan), batch_size=10_000).run(events)
    assert 0 < tagged.report.nonfinite_jets < tagged.report.scored


def describe(folder: Path, **changes: Any) -> None:
    """Adapt the description of a network that was changed."""
    described = json.loads((folder / "bundle.json").read_text())
    del described["sha256"]
    (folder / "bundle.json").write_text(json.dumps(described | changes))


def test_where_the_graph_has_no_softmax_one_is_taken(tmp_path: Path, events: Any) -> None:
    import onnx

    folder = copy_of_tiny(tmp_path)
    model = onnx.load(folder / "model.onnx")
    for node in model.graph.node:
        if node.op_type == "Softmax":
            node.op_type = "Identity"
            del node.attribute[:]
    onnx.save(model, folder / "model.onnx")
    describe(folder, softmax=["prob*"])
    bundle = Bundle.from_folder(folder)
    assert {output.kind for output in bundle.outputs if output.softmax} == {"prob"}
    assert_same_scores(Tagger(bundle, threads=1)(events), jt.load_tagger("tinyParT", threads=1)(events))


def test_a_fixed_batch_axis_is_filled_up(tmp_path: Path, events: Any, scores: Any) -> None:
    import onnx

    folder = copy_of_tiny(tmp_path)
    model = onnx.load(folder / "model.onnx")
    for tensor in (*model.graph.input, *model.graph.output):
        tensor.type.tensor_type.shape.dim[0].dim_value = 4
    onnx.save(model, folder / "model.onnx")
    describe(folder)
    bundle = Bundle.from_folder(folder)
    assert bundle.fixed_batch == 4
    tagger = Tagger(bundle, threads=1)
    assert_same_scores(tagger(events), scores)
    assert_same_scores(tagger(events[:1]), scores[:1])


@pytest.mark.slow
def test_a_folder_never_seen_works_without_a_description_of_ours(tmp_path: Path, events: Any) -> None:
    folder = copy_of_tiny(tmp_path)
    describe(folder, selection="puppiWeight >= 0.01")
    scores = jt.load_tagger(folder, threads=1)(events)
    (folder / "bundle.json").unlink()
    tagger = jt.load_tagger(folder, threads=1)
    got = tagger(events)
    assert len(got.fields) == 166
    for one, other in zip(got.fields, scores.fields, strict=True):
        np.testing.assert_allclose(flat(got, one), flat(scores, other), atol=1e-5, rtol=1e-4)


def test_reports_add_up(tagger: Tagger, events: Any) -> None:
    whole, first, rest = (tagger.run(part).report for part in (events, events[:11], events[11:]))
    total = first + rest
    for name in (
        "events",
        "jets",
        "scored",
        "without_constituents",
        "truncated",
        "recovered_vertices",
        "filled",
    ):
        assert getattr(total, name) == getattr(whole, name), name
    assert whole.recovered_vertices > 0
    with pytest.raises(TypeError):
        first + 3  # type: ignore[operator]


def test_it_says_what_it_is(tagger: Tagger) -> None:
    assert "tinyParT" in repr(tagger)
    assert "166 outputs" in repr(tagger)
