"""Dask-awkward: the graph is built from forms alone; computed, it gives what eager events give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from comparing import assert_same_scores
from image_networks import IMAGE, convolutions
from sequence_networks import SEQUENCE, VECTOR, declared, events_with_shapes, recurrent, write

import jettagger as jt
from jettagger.errors import InputFileError, MismatchError, MissingColumns, UnknownName
from jettagger.sessions import ReplaySession
from jettagger.tagging.tagger import Tagger
from jettagger.testing import make_events, write_pfnano

dask_awkward = pytest.importorskip("dask_awkward")
dask = pytest.importorskip("dask")

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def tagger() -> Tagger:
    return jt.load_tagger("tinyParT", threads=1)


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_pfnano(tmp_path_factory.mktemp("nano") / "nano.root", 24, seed=3))


@pytest.fixture(scope="module")
def events() -> Any:
    return make_events(24, seed=3)


def open_dask(path: str, steps: int = 3) -> Any:
    from coffea.nanoevents import NanoEventsFactory, PFNanoAODSchema

    source = {path: {"object_path": "Events", "steps": [[8 * i, 8 * i + 8] for i in range(steps)]}}
    return NanoEventsFactory.from_root(source, schemaclass=PFNanoAODSchema, mode="dask").events()


def compute(collection: Any) -> Any:
    return dask.compute(collection, scheduler="sync")[0]


@pytest.fixture(params=["from_awkward", "coffea"])
def collection(request: pytest.FixtureRequest, events: Any, nano: str) -> Any:
    return dask_awkward.from_awkward(events, npartitions=3) if request.param == "from_awkward" else open_dask(nano)


def test_all_partitions_give_the_scores_of_eager_events(tagger: Tagger, collection: Any, events: Any) -> None:
    assert collection.npartitions == 3
    scores = tagger(collection)
    assert isinstance(scores, dask_awkward.Array)
    assert_same_scores(compute(scores), tagger(events))


def test_attached_columns_are_those_of_eager_events(tagger: Tagger, collection: Any, events: Any) -> None:
    attached = tagger.attach(collection, where=collection.FatJet.pt > 250, columns=["prob", "mass"])
    assert "tinyParT_probHbb" in attached.FatJet.fields
    got = compute(attached.FatJet)
    expected = tagger.attach(events, where=events.FatJet.pt > 250, columns=["prob", "mass"]).FatJet
    for name in ("tinyParT_probHbb", "tinyParT_mass", "pt"):
        assert ak.almost_equal(ak.Array(got[name].tolist()), ak.Array(expected[name].tolist()), atol=1e-5, rtol=1e-4)


def test_the_form_said_is_the_form_given(tagger: Tagger, collection: Any) -> None:
    scores = tagger(collection)
    assert str(scores._meta.type.content) == str(compute(scores).type.content)
    column = tagger.attach(collection, columns=["mass"]).FatJet.tinyParT_mass
    assert "?float32" in str(column._meta.type)


def test_nothing_runs_while_the_graph_is_built(tiny: Any, collection: Any) -> None:
    def never(inputs: Any) -> Any:
        raise AssertionError("the network was called")

    session = ReplaySession(never)
    tagger = Tagger(tiny, session=session)
    scores = tagger(collection, collection.FatJet.pt > 250)
    attached = tagger.attach(collection, columns=["probHbb"])
    attached.FatJet.tinyParT_probHbb[attached.FatJet.pt > 300]
    assert scores.fields[0] == "probHWqqWqq0c"
    assert session.calls == []


def test_exactly_the_needed_columns_are_read(tagger: Tagger, nano: str, events: Any) -> None:
    needed = {column.replace(".", "_") for column in tagger.plan(events).columns}
    scores = tagger(open_dask(nano))
    (columns,) = dask_awkward.necessary_columns(scores.probHbb).values()
    assert {name for name in columns if not name.startswith("n")} == needed
    with_cut = open_dask(nano)
    attached = tagger.attach(with_cut, where=with_cut.FatJet.msoftdrop > 50, columns=["mass"])
    (columns,) = dask_awkward.necessary_columns(attached.FatJet.tinyParT_mass).values()
    assert {name for name in columns if not name.startswith("n")} == needed | {"FatJet_msoftdrop"}


def test_errors_come_while_the_graph_is_built(tagger: Tagger, events: Any, collection: Any) -> None:
    lacking = ak.with_field(events, ak.without_field(events.PFCands, "dz"), "PFCands")
    with pytest.raises(MissingColumns, match=r"pf\.dz"):
        tagger(dask_awkward.from_awkward(lacking, npartitions=2))
    with pytest.raises(MismatchError, match="or a dask-awkward array: events are"):
        tagger(collection, events.FatJet.pt > 250)
    with pytest.raises(UnknownName, match="probHbb"):
        tagger.attach(collection, columns=["probHbbb"])
    once = tagger.attach(collection, columns=["mass"])
    with pytest.raises(MismatchError, match="already"):
        tagger.attach(once, columns=["mass"])


def test_a_where_of_another_shape_is_found_when_it_runs(tagger: Tagger, collection: Any) -> None:
    with pytest.raises(MismatchError, match="entries in event"):
        compute(tagger(collection, collection.PFCands.pt > 1))


def test_typetracers_pass_through(tagger: Tagger, events: Any) -> None:
    from jettagger.tagging.dask_awkward import _Attach

    tracer = ak.Array(ak.to_layout(events).to_typetracer(forget_length=True))
    traced = _Attach(tagger, {"mass": "p_mass"})(tracer)
    assert "p_mass" in traced.FatJet.fields
    assert "p_mass" not in events.FatJet.fields


@pytest.mark.slow
@pytest.mark.data
def test_an_rntuple_cannot_be_read_with_dask_by_coffea(shared: Path, tagger: Tagger) -> None:
    # the day coffea can, uproot's own failure below does not come any more: compare with the tree then
    from coffea.nanoevents import NanoEventsFactory, PFNanoAODSchema

    path = str(shared / "cms/pfnano_rntuple.root")
    events = NanoEventsFactory.from_root({path: "Events"}, schemaclass=PFNanoAODSchema, mode="dask").events()
    with pytest.raises(AttributeError, match="'RField' object has no attribute 'title'"):
        compute(events.FatJet.pt)
    with pytest.raises(InputFileError, match=r"pfnano_rntuple.root.*mode='virtual'"):
        tagger(events)


def test_partitions_without_jets(tagger: Tagger) -> None:
    events = make_events(12, seed=1, jets=0.3)
    collection = dask_awkward.from_awkward(events, npartitions=6)
    got = compute(tagger(collection))
    assert ak.num(got.mass).tolist() == ak.num(events.FatJet.pt).tolist()
    assert np.count_nonzero(ak.num(got.mass) == 0) > 4


def test_sequences_and_vectors_are_inputs_as_any_other(tmp_path: Path) -> None:
    """Columns by name, of the jets and of the event, are in the form of each partition."""
    folder = write(tmp_path / "model", declared(SEQUENCE, VECTOR))
    recurrent(folder / "model.onnx")
    tagger = jt.load_tagger(folder, threads=1)
    events = events_with_shapes()
    assert_same_scores(compute(tagger(dask_awkward.from_awkward(events, npartitions=3))), tagger(events))


def test_images_are_inputs_as_any_other(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", declared(IMAGE))
    convolutions(folder / "model.onnx")
    tagger = jt.load_tagger(folder, threads=1)
    events = events_with_shapes()
    collection = dask_awkward.from_awkward(events, npartitions=3)
    assert_same_scores(compute(tagger(collection)), tagger(events))
    attached = compute(tagger.attach(collection))
    assert "other_probb" in attached.FatJet.fields
