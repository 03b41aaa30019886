"""Every layout that awkward has, at every level of the events: the same scores as plain ones, or an error of ours."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from heads import make_head
from weavers import table, weaver_bundle

import jettagger as jt
from jettagger.errors import JettaggerError, MissingColumns
from jettagger.formats import EventColumns
from jettagger.heads import JetTable
from jettagger.testing import make_events

c, i = ak.contents, ak.index

EVENTS = make_events(12, seed=5)
TAGGER = jt.load_tagger("tinyParT")
SCORES = TAGGER(EVENTS)


def indexed(layout: Any) -> Any:
    """In another order, with an index that puts it right."""
    order = np.random.default_rng(1).permutation(layout.length)
    return c.IndexedArray.simplified(i.Index64(np.argsort(order)), layout[order])


def optional(layout: Any) -> Any:
    return c.IndexedOptionArray.simplified(i.Index64(np.arange(layout.length)), layout)


def byte_masked(layout: Any) -> Any:
    return c.ByteMaskedArray.simplified(i.Index8(np.zeros(layout.length, np.int8)), layout, False)


def bit_masked(layout: Any) -> Any:
    bits = np.full(-(-layout.length // 8), 255, np.uint8)
    return c.BitMaskedArray.simplified(i.IndexU8(bits), layout, True, layout.length, True)


def unmasked(layout: Any) -> Any:
    return c.UnmaskedArray.simplified(layout)


def lists_apart(layout: Any) -> Any:
    """A ListArray whose lists lie in falling order, with something between them; other layouts as they are."""
    if not layout.is_list:
        return layout
    plain = layout.to_ListOffsetArray64(True)
    offsets = np.asarray(plain.offsets)
    counts = np.diff(offsets)
    starts = np.cumsum((counts + 1)[::-1])[::-1] - (counts + 1)
    content = plain.content
    carry = np.zeros(int((counts + 1).sum()) if content.length else 0, dtype=np.int64)
    slots = np.repeat(starts, counts) + np.arange(counts.sum()) - np.repeat(offsets[:-1], counts)
    carry[slots] = np.arange(counts.sum())
    return c.ListArray(i.Index64(starts), i.Index64(starts + counts), content[carry], parameters=layout.parameters)


def offset(layout: Any) -> Any:
    """The end of something longer."""
    return c.IndexedArray.simplified(i.Index64(np.r_[np.arange(layout.length), np.arange(layout.length)]), layout)[
        layout.length :
    ]


def widened(layout: Any) -> Any:
    """With a column more, or of a type that does not merge."""
    if layout.is_record:
        more = c.NumpyArray(np.zeros(layout.length))
        return c.RecordArray([*layout.contents, more], [*layout.fields, "more"], length=layout.length)
    if layout.is_list:
        plain = layout.to_ListOffsetArray64(True)
        return c.ListOffsetArray(plain.offsets, widened(plain.content))
    if layout.is_option or layout.is_indexed:
        return widened(layout.project()) if not layout.is_option else layout
    return layout


def union(layout: Any) -> Any:
    """Every second entry with a column more; a union cannot hold what would merge."""
    even, odd = np.arange(0, layout.length, 2), np.arange(1, layout.length, 2)
    tags = (np.arange(layout.length) % 2).astype(np.int8)
    index = np.arange(layout.length) // 2
    return c.UnionArray.simplified(i.Index8(tags), i.Index64(index), [layout[even], widened(layout[odd])])


def union_of_options(layout: Any) -> Any:
    return optional(union(layout)) if layout.length else layout


def nested_union(layout: Any) -> Any:
    """A union reached through an index over a union."""
    return indexed(union(indexed(layout)))


KINDS: dict[str, Callable[[Any], Any]] = {
    function.__name__: function
    for function in (
        indexed,
        optional,
        byte_masked,
        bit_masked,
        unmasked,
        lists_apart,
        offset,
        union,
        union_of_options,
        nested_union,
    )
}


def replaced(record: Any, name: str, content: Any) -> Any:
    contents = [content if field == name else record.content(field) for field in record.fields]
    return c.RecordArray(contents, list(record.fields), length=record.length, parameters=record.parameters)


def at_events(layout: Any, kind: Callable[[Any], Any]) -> Any:
    return kind(layout)


def at_lists(collection: str) -> Callable[[Any, Callable[[Any], Any]], Any]:
    return lambda layout, kind: replaced(layout, collection, kind(layout.content(collection)))


def at_objects(collection: str) -> Callable[[Any, Callable[[Any], Any]], Any]:
    def change(layout: Any, kind: Callable[[Any], Any]) -> Any:
        lists = layout.content(collection).to_ListOffsetArray64(True)
        return replaced(layout, collection, c.ListOffsetArray(lists.offsets, kind(lists.content)))

    return change


def at_columns(collection: str) -> Callable[[Any, Callable[[Any], Any]], Any]:
    def change(layout: Any, kind: Callable[[Any], Any]) -> Any:
        lists = layout.content(collection).to_ListOffsetArray64(True)
        records = lists.content
        contents = [kind(records.content(name)) for name in records.fields]
        record = c.RecordArray(contents, list(records.fields), length=records.length)
        return replaced(layout, collection, c.ListOffsetArray(lists.offsets, record))

    return change


LEVELS = {
    "events": at_events,
    **{f"lists of {name}": at_lists(name) for name in ("FatJet", "PFCands")},
    **{f"objects of {name}": at_objects(name) for name in ("FatJet", "FatJetPFCands")},
    **{f"columns of {name}": at_columns(name) for name in ("FatJet", "FatJetPFCands")},
}


def relaid(level: str, kind: str, events: Any = EVENTS) -> Any:
    return ak.Array(LEVELS[level](ak.to_layout(events), KINDS[kind]))


def same(found: Any, wanted: Any) -> bool:
    """Equal lists, None in the same places, numbers within float32."""
    left, right = found.tolist(), wanted.tolist()
    if [None if item is None else len(item) for item in left] != [len(item) for item in right]:
        return False
    flat = [list(itertools.chain.from_iterable(side)) for side in (left, right)]
    if [item is None for item in flat[0]] != [item is None for item in flat[1]]:
        return False
    numbers = [np.array([item for item in side if item is not None]) for side in flat]
    return bool(np.allclose(numbers[0], numbers[1], atol=1e-6))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("level", LEVELS)
def test_any_layout_at_any_level_gives_the_same_scores(level: str, kind: str) -> None:
    tagged = TAGGER.attach(relaid(level, kind), columns=["prob"])
    assert same(tagged.FatJet.tinyParT_probHbb, SCORES.probHbb)
    assert same(tagged.FatJet.pt, EVENTS.FatJet.pt)
    assert tagged.event.tolist() == EVENTS.event.tolist()
    assert ak.is_valid(tagged)


#: where events that were put together from different ones become a union
UNIONS = {
    "other triggers": lambda one, two: (
        ak.with_field(one, ak.zip({"A": one.event > 0, "B": one.event > 0}), "HLT"),
        ak.with_field(two, ak.zip({"B": two.event > 0, "C": two.event > 0}), "HLT"),
    ),
    "a column of the event": lambda one, two: (one, ak.with_field(two, two.event, "other")),
    "a column of the jets": lambda one, two: (
        one,
        ak.with_field(two, ak.with_field(two.FatJet, two.FatJet.pt, "jesUp"), "FatJet"),
    ),
    "double precision": lambda one, two: (
        one,
        ak.with_field(two, ak.with_field(two.PFCands, ak.values_astype(two.PFCands.pt, "f8"), "pt"), "PFCands"),
    ),
    "masked": lambda one, two: (one, ak.mask(ak.with_field(two, two.event, "other"), two.event > 0)),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", UNIONS)
def test_events_put_together_from_different_ones_get_the_scores_of_the_parts(change: str) -> None:
    events = ak.concatenate(UNIONS[change](EVENTS[:5], EVENTS[5:]))
    chosen = events.FatJet.pt > 250
    wanted = TAGGER(EVENTS, where=EVENTS.FatJet.pt > 250).probHbb
    assert same(TAGGER(events, where=chosen).probHbb, wanted)
    tagged = jt.load_taggers(["tinyParT", "inclParTToyV1"]).attach(events, where=chosen, columns=["prob"])
    assert same(tagged.FatJet.tinyParT_probHbb, wanted)
    again = TAGGER.attach(tagged, prefix="again", kinematics={"pt": tagged.FatJet.pt})
    assert same(again.FatJet.again_probHbb, SCORES.probHbb)
    ratio = jt.discriminant("probHbb / probHcc", prefix="again")(again.FatJet)
    assert same(ratio, SCORES.probHbb / SCORES.probHcc)
    batches = [list(jt.make_inputs(TAGGER.bundle, array)) for array in (events, EVENTS)]
    for found, expected in zip(*batches, strict=True):
        np.testing.assert_allclose(found.inputs["pf_features"], expected.inputs["pf_features"], rtol=1e-6, atol=1e-6)
    assert JetTable(again, "again").values("probHbb") == pytest.approx(JetTable(again).values("FatJet_again_probHbb"))


def test_heads_take_a_union(tmp_path: Path) -> None:
    plain = ak.with_field(EVENTS, ak.zip({"pt": EVENTS.event * 1.0, "phi": EVENTS.event * 0.1}), "MET")
    events = ak.concatenate(UNIONS["a column of the jets"](plain[:5], plain[5:]))
    tagger = jt.load_tagger("inclParTToyV1").with_heads(make_head(tmp_path / "head"))
    assert same(tagger.attach(events).FatJet.Toy_probA, tagger.attach(plain).FatJet.Toy_probA)


def test_columns_that_only_some_events_have_are_named() -> None:
    two = EVENTS[5:]
    two = ak.with_field(two, two.FatJet[[name for name in two.FatJet.fields if name != "mass"]], "FatJet")
    with pytest.raises(
        MissingColumns, match=r"only some of these events have the columns FatJet\.mass \(a union of records\)"
    ):
        TAGGER.attach(ak.concatenate([EVENTS[:5], two]))
    assert EventColumns(EVENTS).uneven == []


def with_column(column: str, values: Any) -> Any:
    collection, _, field = column.partition(".")
    return ak.with_field(EVENTS, ak.with_field(EVENTS[collection], values, field), collection)


@pytest.mark.parametrize(
    ("events", "message"),
    [
        (with_column("FatJet.pt", "high"), r"FatJet\.pt is 12 \* var \* string, expected one number per object"),
        (with_column("FatJet.pt", EVENTS.FatJet.pt[:, :, np.newaxis]), r"FatJet\.pt is .*expected one number"),
        (with_column("PFCands.pt", EVENTS.PFCands.pt * 1j), r"PFCands\.pt is .*complex.*expected one number"),
        (with_column("FatJet.pt", ak.zip({"a": EVENTS.FatJet.pt})), r"FatJet\.pt is .*expected one number"),
        (
            ak.concatenate([EVENTS[:5], ak.with_field(with_column("FatJet.pt", EVENTS.FatJet.pt > 0), 1, "x")[5:]]),
            r"FatJet\.pt is .*union.*expected one number",
        ),
        (ak.with_field(EVENTS, ak.firsts(EVENTS.FatJet), "FatJet"), "FatJet is not a list of objects per event"),
        (ak.Array([EVENTS[:4].tolist()]), "expected an array of events with fields like FatJet"),
        (ak.concatenate([EVENTS, ak.Array([1, 2])]), "expected an array of events with fields like FatJet"),
        (EVENTS[0], "expected an array of events with fields like FatJet, got Record"),
        (ak.Array([]), "expected an array of events with fields like FatJet, got 0 \\* unknown"),
        (ak.Array({name: [[], []] for name in EVENTS.fields}), "missing columns:"),
    ],
)
def test_what_is_no_number_an_object_is_refused(events: Any, message: str) -> None:
    with pytest.raises(JettaggerError, match=message):
        TAGGER.attach(events)


def test_lists_of_one_length_and_lists_of_no_type() -> None:
    pairs = ak.to_packed(EVENTS[ak.num(EVENTS.FatJet.pt) == 2])
    regular = ak.with_field(pairs, ak.to_regular(pairs.FatJet, axis=1), "FatJet")
    assert "2 *" in str(regular.FatJet.type)
    assert same(TAGGER.attach(regular).FatJet.tinyParT_probHbb, TAGGER(pairs).probHbb)

    def none_of(name: str) -> Any:
        fields = EVENTS[name].fields
        records = c.RecordArray([c.EmptyArray() for _ in fields], fields, length=0)
        return c.ListOffsetArray(i.Index64(np.zeros(3, np.int64)), records) if fields else [0, 0]

    nothing = ak.Array({name: none_of(name) for name in EVENTS.fields})
    assert TAGGER.attach(nothing).FatJet.tinyParT_probHbb.tolist() == [[], []]


def test_a_table_of_different_rows(tmp_path: Path) -> None:
    """Models with a data configuration take a union, too."""
    jets = table(8)
    rows = ak.concatenate([jets[:3], ak.with_field(jets[3:], 1, "other")])
    assert "union" in str(rows.type)
    tagger = jt.load_tagger(weaver_bundle(tmp_path / "toy"))
    assert tagger(rows).tolist() == tagger(jets).tolist()
    assert tagger.attach(rows).toy_proba.tolist() == tagger(jets).proba.tolist()
