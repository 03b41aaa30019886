"""Jets in work a few at a time: the same jets, the same scores, whatever the budget."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jettagger.bundles.bundle import Bundle
from jettagger.errors import MismatchError
from jettagger.formats import EventColumns
from jettagger.inputs.selection import blocks, link_jets, make_request
from jettagger.inputs.source import check_columns
from jettagger.tagging.tagger import Tagger
from jettagger.tagging.taggers import Taggers
from jettagger.testing import make_events

EVENTS = make_events(30, seed=6)


def request(bundle: Bundle, events: Any, where: Any = None, kinematics: Any = None) -> Any:
    columns = EventColumns(events)
    return make_request(columns, check_columns(bundle, columns), where, kinematics)


@pytest.mark.slow
@settings(deadline=None, max_examples=25)
@given(
    budget=st.sampled_from([1, 60_000, 300_000, 10**9]),
    share=st.floats(0, 1),
    seed=st.integers(0, 5),
    missing=st.booleans(),
)
def test_blocks_hold_what_all_at_once_holds(tiny: Bundle, budget: int, share: float, seed: int, missing: bool) -> None:
    rng = np.random.default_rng(seed)
    events = EVENTS
    # whole events without a chosen jet, too
    some = rng.random(len(events)) < 2 * share
    where = (ak.unflatten(rng.random(int(ak.count(events.FatJet.pt))), ak.num(events.FatJet.pt)) < share) & some
    if missing:
        events = ak.mask(events, rng.random(len(events)) < 0.8)
    asked = request(tiny, events, where, {"pt": events.FatJet.pt * 1.1})
    whole = link_jets([tiny], asked)
    parts = list(blocks([tiny], asked, budget))
    if budget == 10**9:
        assert len(parts) <= 1
    elif budget == 1:
        assert len(parts) == np.count_nonzero(
            ak.to_numpy(ak.fill_none(ak.any(where & (events.FatJet.pt > 0), axis=1), False))
        )
    index = np.concatenate([np.empty(0, int), *(part.index for part in parts)])
    np.testing.assert_array_equal(index, whole.index)
    assert sum(part.report.without_constituents for part in parts) == whole.report.without_constituents
    for object_, name in [("pf", "pt"), ("pf", "jet.pt"), ("sv", "eta"), ("jet", "pt")]:
        counts = np.concatenate([np.empty(0, int), *(part.jets.counts(object_) for part in parts)])
        np.testing.assert_array_equal(counts, whole.jets.counts(object_))
        if parts:
            found = np.concatenate([part.jets.column(object_, name) for part in parts])
            np.testing.assert_array_equal(found, whole.jets.column(object_, name))


@pytest.mark.parametrize("share", [1.0, 0.2])
def test_scores_and_reports_do_not_depend_on_blocks(tiny: Bundle, share: float) -> None:
    tagger = Tagger(tiny, threads=1)
    chosen = np.random.default_rng(1).random(int(ak.count(EVENTS.FatJet.pt))) < share
    where = ak.unflatten(chosen, ak.num(EVENTS.FatJet.pt))
    whole = tagger.run(EVENTS, where)
    assert len(list(blocks([tiny], request(tiny, EVENTS, where), 200_000))) > 2
    small = Tagger(tiny, threads=1, block_bytes=200_000).run(EVENTS, where)
    for name in whole.scores.fields:
        one, other = (ak.to_numpy(ak.fill_none(ak.flatten(x[name]), np.nan)) for x in (small.scores, whole.scores))
        np.testing.assert_allclose(one, other, atol=1e-5, rtol=1e-4)
    for item in fields(whole.report):
        if item.name not in ("seconds", "slots"):
            assert getattr(small.report, item.name) == getattr(whole.report, item.name), item.name
    together = Taggers([tagger]).run(EVENTS, where)[tiny.name]
    assert together.report.scored == whole.report.scored


def test_columns_of_events_without_jets_to_score_are_not_copied(tiny: Bundle) -> None:
    first = ak.local_index(EVENTS.FatJet.pt, axis=0) % 10 == 0
    where = (EVENTS.FatJet.pt > 0) & first
    (part,) = blocks([tiny], request(tiny, EVENTS, where))
    assert len(part.jets.columns) == 3
    assert len(part.jets.columns.flat("PFCands.pt")) == int(ak.sum(ak.num(EVENTS.PFCands.pt)[::10]))


def test_the_event_of_a_jet_that_does_not_fit_its_links_is_the_one_of_the_chunk(tiny: Bundle) -> None:
    """Jets in the wrong order in one event: its number is that in the chunk, not in the block."""
    counts = ak.num(EVENTS.FatJet.pt)
    wrong = int(np.flatnonzero(ak.to_numpy(counts) > 1)[-1])
    turned = ak.concatenate([EVENTS.FatJet[:wrong], EVENTS.FatJet[wrong : wrong + 1, ::-1], EVENTS.FatJet[wrong + 1 :]])
    events = ak.with_field(EVENTS, turned, "FatJet")
    with pytest.raises(MismatchError, match=rf"first: event {wrong} of this chunk"):
        list(blocks([tiny], request(tiny, events), 1))
