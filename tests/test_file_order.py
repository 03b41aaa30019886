"""Where the objects in the slots of a network are listed in the file: links, tables, configurations of weaver."""

from __future__ import annotations

import awkward as ak
import numpy as np

import jettagger as jt
from jettagger.formats import EventColumns, load
from jettagger.inputs.batching import make_batches, tabulate
from jettagger.inputs.group_rows import entering
from jettagger.inputs.source import source_of
from jettagger.testing import make_events


def listed(events: ak.Array, event: int, jet: int) -> list[int]:
    """The candidates of a jet in the order of the rows of the link table."""
    rows = events.FatJetPFCands[event]
    return [int(row.pFCandsIdx) for row in rows if row.jetIdx == jet]


def test_ranks_are_places_among_the_rows_of_the_link_table() -> None:
    events = make_events(6, seed=3)
    bundle = jt.load_bundle("tinyParT")
    request = source_of(bundle).request(events)
    jets = load(request.columns, request.plan, np.flatnonzero(request.chosen)[::2])
    pt = ak.flatten(events.PFCands.pt)
    starts = np.cumsum(ak.num(events.PFCands)) - ak.num(events.PFCands)
    every = [(event, jet) for event in range(len(events)) for jet in range(len(events.FatJet[event]))]
    order = jets.file_order("pf")
    first = 0
    for number, index in enumerate(jets.index):
        event, jet = every[index]
        candidates = listed(events, event, jet)
        count = jets.counts("pf")[number]
        assert order.counts[number] == len(candidates)
        for row in range(first, first + count):
            assert pt[starts[event] + candidates[order.rank[row]]] == jets.column("pf", "pt")[row]
        first += count
    charged = jets.file_order("cpf").rank
    assert charged.tolist() == order.rank[jets.rows("cpf").subset].tolist()
    assert jets.file_order("jet").counts.tolist() == [1] * len(jets)


def test_dangling_links_count_in_the_list() -> None:
    events = make_events(4, seed=5)
    links = events.FatJetPFCands
    index = ak.to_numpy(ak.flatten(links.pFCandsIdx)).copy()
    index[0] = -1
    lists = ak.with_field(links, ak.unflatten(index, ak.num(links)), "pFCandsIdx")
    broken = ak.with_field(events, lists, "FatJetPFCands")
    bundle = jt.load_bundle("tinyParT")
    request = source_of(bundle, min_pt_share=0.1).request(broken)
    jets = load(request.columns, request.plan, np.arange(1), strict=False)
    order = jets.file_order("pf")
    assert order.counts[0] == jets.counts("pf")[0] + 1
    assert sorted(order.rank.tolist()) == list(range(1, int(order.counts[0])))


def test_blocks_give_the_ranks_of_the_whole_chunk() -> None:
    events = make_events(12, seed=7)
    request = source_of(jt.load_bundle("tinyParT")).request(events)
    (whole,) = request.blocks()
    pieces = list(request.blocks(60_000))
    assert len(pieces) > 2
    ranks = np.concatenate([piece.jets.file_order("pf").rank for piece in pieces])
    assert ranks.tolist() == whole.jets.file_order("pf").rank.tolist()


def test_batches_say_which_object_is_in_which_slot() -> None:
    events = make_events(5, seed=2)
    bundle = jt.load_bundle("tinyParT")
    (selection,) = source_of(bundle).request(events).blocks()
    inside = entering(bundle, selection.jets)
    tables = tabulate(bundle.groups, selection.jets, rows=inside.rows)
    tables = tuple(table.of(inside.jets) for table in tables)
    for batch in make_batches(tables):
        for table in tables:
            rows = batch.rows[table.group.name]
            values = batch.inputs[table.group.name]
            assert rows.shape == (len(batch.jets), values.shape[2])
            np.testing.assert_array_equal(values, table.values[rows].transpose(0, 2, 1))
            assert ((rows >= 0).sum(axis=1) == table.counts[batch.jets]).all()


def test_tables_list_objects_in_their_own_order() -> None:
    from jettagger.inputs.declared_tables import _TableObjects

    columns = {"part_pt": ak.Array([[1.0, 5.0, 3.0], [], [2.0]]), "part_charge": ak.Array([[1, 0, -1], [], [1]])}
    ways = {("pf", name): ((f"part_{name}",), lambda column: column) for name in ("pt", "charge")}
    jets = _TableObjects(columns, ways, 3)
    assert jets.column("pf", "pt").tolist() == [5, 3, 1, 2]
    assert jets.file_order("pf").rank.tolist() == [1, 2, 0, 0]
    assert jets.file_order("cpf").rank.tolist() == [2, 0, 0]
    assert jets.file_order("cpf").counts.tolist() == [3, 0, 1]


def test_events_as_tables_list_candidates_as_they_are_linked() -> None:
    from jettagger.bundles.registry import load_bundle

    events = make_events(4, seed=9)
    bundle = load_bundle("Sophon")
    (selection,) = source_of(bundle).request(events).blocks()
    group = next(group.name for group in bundle.groups if not group.per_jet)
    linked = load(*_linked(events, bundle), selection.index)
    assert selection.jets.file_order(group).rank.tolist() == linked.file_order("pf").rank.tolist()


def _linked(events: ak.Array, bundle: jt.Bundle) -> tuple[EventColumns, object]:
    request = source_of(bundle).request(events)
    return request.linked.columns, request.plan
