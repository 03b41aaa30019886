"""New fields beside the old ones: nothing is read, nothing is changed, every layout."""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jettagger.errors import MismatchError
from jettagger.formats.attach import with_fields, with_list_fields
from jettagger.inputs.jet_table import JetTable
from jettagger.inputs.put_back import attach_flat, attach_scores, refuse_existing


def layout(values: Any) -> Any:
    return ak.to_layout(ak.Array(values))


PLAIN = ak.Array([{"x": 0, "y": [1]}, {"x": 10, "y": []}, {"x": 20, "y": [2, 3]}, {"x": 30, "y": [4]}])

RECORDS = {
    "plain": PLAIN,
    "sliced": PLAIN[1:3],
    "stepped": PLAIN[::-2],
    "indexed": PLAIN[[2, 2, 0]],
    "boolean": PLAIN[[True, False, False, True]],
    "masked": ak.mask(PLAIN, [True, False, True, False]),
    "masked twice": ak.mask(ak.mask(PLAIN, [True, False, True, True]), [True, True, False, True]),
    "masked then indexed": ak.mask(PLAIN, [True, False, True, True])[[1, 0, 3, 3]],
    "all None": ak.mask(PLAIN, [False] * 4),
    "unmasked": ak.Array(ak.contents.UnmaskedArray(ak.to_layout(PLAIN))),
    "bit masked": ak.Array(ak.to_layout(ak.mask(PLAIN, [True, False, True, True])).to_BitMaskedArray(True, True)),
    "empty": PLAIN[:0],
}


@pytest.mark.parametrize("kind", RECORDS)
def test_records_of_any_layout(kind: str) -> None:
    array = RECORDS[kind]
    before = array.tolist()
    new = np.arange(len(array)) * 0.5
    got = with_fields(array, {"z": layout(new), "x": layout(new + 1)})
    expected = [
        None if old is None else {**old, "z": value, "x": value + 1} for old, value in zip(before, new, strict=True)
    ]
    assert [None if item is None else {**item} for item in got.tolist()] == expected
    assert array.tolist() == before
    assert got.fields == ["x", "y", "z"]


LISTS = ak.Array([[{"x": 1}, {"x": 2}], [], [{"x": 3}], [{"x": 4}, {"x": 5}, {"x": 6}]])

JAGGED = {
    "plain": LISTS,
    "sliced": LISTS[1:],
    "inner slice": LISTS[:, ::-1],
    "indexed": LISTS[[3, 0, 3]],
    "boolean inside": LISTS[LISTS.x > 2],
    "masked outside": ak.mask(LISTS, [True, False, False, True]),
    "masked inside": ak.mask(LISTS, LISTS.x % 2 == 0),
    "masked both": ak.mask(ak.mask(LISTS, LISTS.x % 2 == 0), [True, True, False, True]),
    "empty": LISTS[:0],
    "regular": ak.to_regular(LISTS[[3, 3]], axis=1),
}


@pytest.mark.parametrize("kind", JAGGED)
def test_lists_of_any_layout(kind: str) -> None:
    array = JAGGED[kind]
    before = array.tolist()
    counts = np.array([0 if items is None else len(items) for items in before], dtype=np.int64)
    new = np.arange(counts.sum()) * 0.5
    got = with_list_fields(array, counts, {"z": layout(new)})
    values = iter(new.tolist())
    expected: list[Any] = []
    for items in before:
        if items is None:
            expected.append(None)
            continue
        numbered = [(item, next(values)) for item in items]
        expected.append([None if item is None else {**item, "z": value} for item, value in numbered])
    assert got.tolist() == expected
    assert array.tolist() == before


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_chains_of_selections_keep_everything_aligned(data: st.DataObject) -> None:
    counts = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=6), label="counts")
    array = ak.unflatten(ak.zip({"x": np.arange(sum(counts))}), counts)
    for step in data.draw(st.lists(st.sampled_from(["carry", "mask", "inner", "slice"]), max_size=4), label="steps"):
        if not len(array):
            break
        if step == "carry":
            index = data.draw(st.lists(st.integers(0, len(array) - 1), min_size=1, max_size=6), label="index")
            array = array[index]
        elif step == "mask":
            keep = data.draw(st.lists(st.booleans(), min_size=len(array), max_size=len(array)), label="keep")
            array = ak.mask(array, keep)
        elif step == "inner":
            array = array[array.x % 2 == data.draw(st.integers(0, 1), label="parity")]
        else:
            array = array[data.draw(st.integers(0, len(array)), label="start") :]
    plain = array.tolist()
    lengths = np.array([0 if items is None else len(items) for items in plain], dtype=np.int64)
    flat = np.array([np.nan if item is None else item["x"] for items in plain for item in items or []], dtype=float)
    got = with_list_fields(array, lengths, {"twice": layout(2 * flat)})
    for old, new in zip(plain, got.tolist(), strict=True):
        if old is None:
            assert new is None
            continue
        assert new == [None if item is None else {"x": item["x"], "twice": 2.0 * item["x"]} for item in old]


def test_names_behaviours_and_attributes_are_kept() -> None:
    class Two(ak.Array):
        pass

    array = ak.Array(ak.with_name(LISTS, "Thing"), behavior={("*", "Thing"): Two}, attrs={"origin": "a file"})
    got = with_list_fields(array[1:], np.array([0, 1, 3]), {"z": layout(np.zeros(4))})
    assert isinstance(got, Two)
    assert got.attrs["origin"] == "a file"
    assert got.type.content.content.parameters["__record__"] == "Thing"


def virtual(counts: Any, calls: list[str]) -> Any:
    """Lists of records whose columns note when they are read."""

    def column(name: str) -> Any:
        def read() -> Any:
            calls.append(name)
            return np.arange(sum(counts), dtype=np.float32)

        return read

    form = ak.forms.from_dict(
        {
            "class": "ListOffsetArray",
            "offsets": "i64",
            "form_key": "lists",
            "content": {
                "class": "RecordArray",
                "fields": ["x", "y"],
                "form_key": "record",
                "contents": [{"class": "NumpyArray", "primitive": "float32", "form_key": name} for name in ("x", "y")],
            },
        }
    )
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    container = {"lists-offsets": offsets, "x-data": column("x"), "y-data": column("y")}
    return ak.from_buffers(form, len(counts), container)


@pytest.mark.parametrize(
    "change",
    [
        lambda array: array,
        lambda array: array[1:],
        lambda array: array[[2, 0]],
        lambda array: ak.mask(array, [True, False, True]),
    ],
)
def test_virtual_columns_are_not_read(change: Any) -> None:
    calls: list[str] = []
    array = change(virtual([2, 1, 3], calls))
    counts = ak.to_numpy(ak.fill_none(ak.num(change(ak.Array([[0, 1], [2], [3, 4, 5]]))), 0))
    got = with_list_fields(array, counts, {"z": layout(np.arange(counts.sum()))})
    assert calls == []
    assert ak.flatten(ak.drop_none(got).z).tolist() == list(range(counts.sum()))
    assert calls == []
    kept = change(ak.Array([[0, 1], [2], [3, 4, 5]]))
    assert got.x.tolist() == kept.tolist()
    assert calls == ["x"]


# ---------------------------------------------------------------------------------------------------------- put back


def answer(counts: Any, scored: Any, **outputs: Any) -> ak.Array:
    """Scores as a tagger gives them: an index into those of the jets that were scored, -1 for the others."""
    index = np.where(scored, np.cumsum(scored) - 1, -1)
    records = ak.contents.RecordArray([ak.to_layout(np.asarray(values)) for values in outputs.values()], list(outputs))
    return ak.unflatten(ak.Array(ak.contents.IndexedOptionArray(ak.index.Index64(index), records)), counts)


@pytest.mark.parametrize("form", ["masked", "indexed", "inside", "both"])
def test_scores_of_some_events_go_back_to_their_jets(form: str) -> None:
    """Events that are None, without jets, and jets that were not scored stay what they are."""
    jets = ak.Array([[{"pt": 1.0}, {"pt": 2.0}], [{"pt": 3.0}], [], [{"pt": 4.0}]])
    events = ak.Array({"run": [1, 2, 3, 4], "FatJet": jets})
    if form == "both":
        jets = ak.mask(jets, [True, True, False, True])
        events = ak.mask(ak.zip({"run": events.run, "FatJet": jets}, depth_limit=1), [True, False, True, True])
    elif form == "inside":
        events = ak.zip({"run": events.run, "FatJet": ak.mask(jets, [True, False, True, True])}, depth_limit=1)
    else:
        events = ak.mask(events, [True, False, True, True]) if form == "masked" else events[[0, None, 2, 3]]
    scores = ak.mask(answer([2, 0, 0, 1], [True, False, True], p=[0.1, 0.4], m=[10.0, 40.0]), [True, False, True, True])
    found = attach_scores(events, scores, {"p": "toy_p"}, "FatJet")
    assert found.tolist() == [
        {"run": 1, "FatJet": [{"pt": 1.0, "toy_p": 0.1}, {"pt": 2.0, "toy_p": None}]},
        {"run": 2, "FatJet": None} if form == "inside" else None,
        {"run": 3, "FatJet": None if form == "both" else []},
        {"run": 4, "FatJet": [{"pt": 4.0, "toy_p": 0.4}]},
    ]
    assert events.FatJet.fields == ["pt"]


@settings(max_examples=25)
@given(st.lists(st.lists(st.booleans(), max_size=3), min_size=1, max_size=6), st.data())
def test_scores_belong_to_their_jet_whatever_was_cut_before(rows: list[list[bool]], data: st.DataObject) -> None:
    """The number of a jet is its score, where it has one; chosen events and jets of sliced arrays."""
    counts = [len(row) for row in rows]
    number = ak.unflatten(np.arange(sum(counts), dtype="f4"), counts)
    events = ak.Array({"event": np.arange(len(rows)), "FatJet": ak.zip({"number": number})})
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=6))
    events = events[chosen]
    flags = np.array([flag for place in chosen for flag in rows[place]], dtype=bool)
    values = ak.to_numpy(ak.flatten(events.FatJet.number))[flags]
    scores = answer([counts[place] for place in chosen], flags, p=values, q=-values)
    found = attach_scores(events, scores, {"q": "toy_q", "p": "toy_p"}, "FatJet")
    for event, place in zip(found.tolist(), chosen, strict=True):
        for jet, flag in zip(event["FatJet"], rows[place], strict=True):
            expected = jet["number"] if flag else None
            assert (jet["toy_p"], jet["toy_q"]) == (expected, None if expected is None else -expected)


def test_rows_of_a_table_and_jets_of_the_original_events_get_columns() -> None:
    table = ak.Array({"jet_pt": [300.0, 400.0, 500.0]})
    scores = ak.Array({"p": ak.Array([0.1, None, 0.3]), "inside": [True, False, True]})
    names = {"p": "toy_p", "inside": "toy_inside"}
    rows = [
        {"jet_pt": 300.0, "toy_p": 0.1, "toy_inside": True},
        {"jet_pt": 400.0, "toy_p": None, "toy_inside": False},
        {"jet_pt": 500.0, "toy_p": 0.3, "toy_inside": True},
    ]
    assert attach_flat(table, scores, names, "", None).tolist() == rows
    counts = np.array([2, 0, 1])
    events = ak.Array({"Jet": ak.unflatten(table, counts)})
    found = attach_flat(events, ak.unflatten(scores, counts), names, "Jet", counts)
    assert found.tolist() == [{"Jet": rows[:2]}, {"Jet": []}, {"Jet": rows[2:]}]


def test_columns_that_are_there_are_not_replaced() -> None:
    """One is enough; the text counts them and names the collection."""
    scores = answer([1], [True], p=[0.1], q=[0.2])
    events = ak.Array([{"FatJet": [{"toy_q": 1.0}]}])
    names = {"p": "toy_p", "q": "toy_q"}
    with pytest.raises(MismatchError, match=r"FatJet has 1 of these columns already \(toy_q"):
        attach_scores(events, scores, names, "FatJet")
    with pytest.raises(MismatchError, match=r"Jet has 2 of these columns already \(toy_p, toy_q"):
        refuse_existing(["pt", "toy_q", "toy_p"], names, "Jet")
    with pytest.raises(MismatchError, match=r"the table has 1 of these columns already \(toy_p"):
        attach_flat(ak.Array({"toy_p": [1.0]}), scores[0], {"p": "toy_p"}, "", None)
    assert attach_scores(events, scores, {"q": "other_q"}, "FatJet").FatJet.tolist() == [
        [{"toy_q": 1.0, "other_q": 0.2}]
    ]


@pytest.mark.parametrize("form", ["masked", "indexed"])
@pytest.mark.parametrize("flat", [False, True])
def test_missing_events_lists_and_numbers_keep_their_places(form: str, flat: bool) -> None:
    """Events that are None beside events whose jets or numbers are None, also where one number is left."""
    lists = ak.mask(ak.Array([[1.0, 2.0], [3.0], [4.0], [5.0, 6.0], []]), [True, True, False, True, True])
    numbers = ak.Array([10.0, 20.0, 30.0, None, 50.0])
    jets = {"FatJet_pt": lists} if flat else {"FatJet": ak.zip({"pt": lists})}
    plain = ak.zip({**jets, "MET_pt": numbers}, depth_limit=1)

    def without(*places: int) -> ak.Array:
        if form == "masked":
            return ak.mask(plain, [place not in places for place in range(5)])
        return plain[[None if place in places else place for place in range(5)]]

    for missing, counts, expected in (
        ((), [2, 1, 0, 2, 0], [1, 2, 3, 5, 6]),
        ((1,), [2, 0, 0, 2, 0], [1, 2, 5, 6]),
        ((0, 1, 4), [0, 0, 0, 2, 0], [5, 6]),
        ((0, 1, 3, 4), [0] * 5, []),
    ):
        table = JetTable(without(*missing))
        assert table.counts.tolist() == counts
        assert table.values("FatJet_pt").tolist() == expected
        event = np.repeat([10, 20, 30, np.nan, 50], counts)
        np.testing.assert_array_equal(table.values("MET_pt"), event)
