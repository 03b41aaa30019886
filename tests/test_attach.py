"""New fields beside the old ones: nothing is read, nothing is changed, every layout."""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jettagger.formats.attach import with_fields, with_list_fields


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
