"""The comparison with the usual way: on all jets, whatever their place in the event, it gives the tagger's scores."""

from __future__ import annotations

import numpy as np

import jettagger as jt
from benchmarks.throughput import flat_scores, peer
from jettagger.inference.network import deviation
from jettagger.testing import make_events


def test_the_usual_way_gives_the_same_scores() -> None:
    tagger = jt.load_tagger("tinyParT", threads=1)
    bundle = tagger.bundle
    events = make_events(40, seed=2, jets=1.2, constituents=8)
    names = [output.name for output in bundle.outputs]
    scores = flat_scores(tagger(events), names)
    assert np.isfinite(scores).any()
    assert deviation(bundle, peer(bundle, tagger.session, events), scores) < 1
