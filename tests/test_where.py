"""``where`` as text, wherever a mask is taken: the same jets as the mask, and mistakes that are named."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from coffea import processor
from coffea.nanoevents import NanoEventsFactory, PFNanoAODSchema
from hypothesis import given, settings
from hypothesis import strategies as st
from jettagger.processors import FinetuneInputsProcessor, TaggingProcessor
from weavers import table, weaver_bundle

import jettagger as jt
from jettagger.errors import ConfigError, JettaggerError, MismatchError, UnknownName, nearest
from jettagger.expressions import select
from jettagger.expressions.cutlogic import CutWarning
from jettagger.tagging.dask_awkward import PartitionScores, _Attach
from jettagger.testing import make_events, write_pfnano

CUT = "pt > 300 and abs(eta) < 1.5"


def mask(fatjets: Any) -> Any:
    return (fatjets.pt > 300) & (abs(fatjets.eta) < 1.5)


@pytest.fixture(scope="module")
def tagger() -> jt.Tagger:
    return jt.load_tagger("tinyParT", threads=1)


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pfnano(tmp_path_factory.mktemp("nano") / "nano.root", 20, seed=1)


def same(one: Any, other: Any) -> None:
    assert ak.is_none(one, axis=1).tolist() == ak.is_none(other, axis=1).tolist()
    assert 0 < ak.sum(ak.is_none(one, axis=1)) < ak.count(ak.is_none(one, axis=1))
    assert ak.almost_equal(one, other, rtol=1e-6, atol=1e-6)


def test_events_in_memory(tagger: jt.Tagger) -> None:
    events = make_events(20, seed=1)
    same(tagger(events, CUT), tagger(events, mask(events.FatJet)))
    attached = tagger.attach(events, where=CUT, columns=["mass"])
    same(attached.FatJet.tinyParT_mass, tagger(events, mask(events.FatJet)).mass)
    together = jt.load_taggers(["tinyParT"], threads=1)
    same(together(events, CUT)["tinyParT"], tagger(events, mask(events.FatJet)))
    counted = sum(len(batch.jets) for batch in jt.make_inputs(tagger.bundle, events, CUT))
    assert counted == tagger.run(events, CUT).report.scored > 0


@pytest.mark.parametrize(("cut", "word"), [("150 < pt < 90", "never"), ("pt > 90 or pt < 150", "always")])
def test_cuts_on_nothing_or_everything_are_doubted(
    tagger: jt.Tagger, nano: Path, tmp_path: Path, cut: str, word: str
) -> None:
    """Once wherever a text is given, in the words of searches."""
    text = re.escape(f"where: {cut!r} is {word} true")
    events = make_events(5, seed=1)
    jets = ak.num(events.FatJet)
    taggers = jt.load_taggers(["tinyParT"], threads=1)
    for score in (
        lambda: tagger(events, cut).mass,
        lambda: tagger.attach(events, where=cut, columns=["mass"]).FatJet.tinyParT_mass,
        lambda: taggers(events, cut)["tinyParT"].mass,
        lambda: taggers.attach(events, where=cut, columns=["mass"]).FatJet.tinyParT_mass,
    ):
        with pytest.warns(CutWarning, match=text) as caught:
            mass = score()
        assert len(caught) == 1
        assert (ak.sum(ak.is_none(mass, axis=1)) == ak.sum(jets)) == (word == "never")
    virtual = NanoEventsFactory.from_root(
        {str(nano): "Events"},
        schemaclass=PFNanoAODSchema,
        mode="virtual",
        metadata={"dataset": "toy", "filename": str(nano), "entrystart": 0, "fileuuid": "0", "treename": "Events"},
    ).events()
    with pytest.warns(CutWarning, match=text):
        made = TaggingProcessor("tinyParT", where=cut, columns=["mass"])
    assert made.process(virtual)["toy"]["events"] == 20
    with pytest.warns(CutWarning, match=text):
        FinetuneInputsProcessor("tinyParT", tmp_path, where=cut)


def test_events_and_jets_that_are_none(tagger: jt.Tagger) -> None:
    events = make_events(20, seed=1)
    masked = ak.mask(events, np.arange(20) % 3 != 1)
    one, other = tagger(masked, CUT).mass, tagger(events, CUT).mass
    assert one.tolist() == [None if event % 3 == 1 else jets for event, jets in enumerate(other.tolist())]


@pytest.mark.parametrize("mode", ["eager", "virtual"])
def test_files(tagger: jt.Tagger, nano: Path, mode: str) -> None:
    events = NanoEventsFactory.from_root({str(nano): "Events"}, schemaclass=PFNanoAODSchema, mode=mode).events()
    same(tagger(events, CUT), tagger(events, mask(events.FatJet)))


def test_partitions_without_data_touch_the_columns_of_the_cut(tagger: jt.Tagger) -> None:
    """What dask-awkward does while it builds a graph."""
    events = make_events(3, seed=1)
    form, report = ak.typetracer.typetracer_with_report(events.layout.form_with_key("n{id}"))
    for function in (PartitionScores(tagger), _Attach(tagger, {"mass": "x_mass"})):
        function.cut = "msoftdrop > 40"
        function(ak.Array(form))
        full = function(events)
        same(full.mass if full.fields != events.fields else full.FatJet.x_mass, tagger(events, "msoftdrop > 40").mass)
    touched = set(report.data_touched)
    position = next(key for key, field in _keys(events) if field == "msoftdrop")
    assert position in touched


def _keys(events: Any) -> list[tuple[str, str]]:
    form = events.layout.form_with_key("n{id}").content("FatJet")
    return [(form.content.content(name).form_key, name) for name in form.content.fields]


def test_dask_awkward(tagger: jt.Tagger, nano: Path) -> None:
    pytest.importorskip("dask_awkward", reason="the extra dask-awkward is not installed")
    events = NanoEventsFactory.from_root({str(nano): "Events"}, schemaclass=PFNanoAODSchema, mode="dask").events()
    eager = make_events(20, seed=1)
    same(tagger(events, CUT).mass.compute(), tagger(eager, CUT).mass)
    same(tagger.attach(events, CUT).FatJet.tinyParT_mass.compute(), tagger(eager, CUT).mass)
    with pytest.raises(UnknownName, match="nearest: pt"):
        tagger(events, "FatJet_pt > 300")


def test_tables(tmp_path: Path) -> None:
    weaver = jt.load_tagger(weaver_bundle(tmp_path / "toy"), threads=1)
    jets = table(12, seed=3)
    one, other = weaver(jets, "jet_pt > 300").proba, weaver(jets, jets.jet_pt > 300).proba
    assert one.tolist() == other.tolist()
    assert 0 < one.tolist().count(None) < len(jets)


@pytest.mark.slow
def test_processors(nano: Path, tmp_path: Path) -> None:
    runner = processor.Runner(processor.IterativeExecutor(status=False), schema=PFNanoAODSchema, chunksize=7)
    fileset = {"A": {"files": {str(nano): "Events"}}}
    one, other = (
        runner(fileset, processor_instance=TaggingProcessor("tinyParT", where=where, columns=["mass"]))["A"]["columns"]
        for where in (CUT, mask)
    )
    same(one["FatJet_tinyParT_mass"], other["FatJet_tinyParT_mass"])
    instance = FinetuneInputsProcessor("tinyParT", tmp_path, where=CUT, labels=None, keep=(), columns=["mass"])
    files = runner(fileset, processor_instance=instance)["A"]["files"]
    same(ak.concatenate([ak.from_parquet(path) for path in files])["FatJet_tinyParT_mass"], one["FatJet_tinyParT_mass"])
    for cls in (TaggingProcessor, FinetuneInputsProcessor):
        with pytest.raises(ConfigError, match="where"):
            cls("tinyParT", tmp_path, where="pt >") if cls is FinetuneInputsProcessor else cls("tinyParT", where="pt >")


@pytest.mark.parametrize(
    ("where", "error", "message"),
    [
        ("FatJet_pt > 300", UnknownName, "nearest: pt"),
        ("FatJet.pt > 300", UnknownName, "nearest: pt"),
        ("ptt > 300", UnknownName, "nearest: pt"),
        ("pt >", ConfigError, "where"),
        ("pt + 1", ConfigError, "is not a cut: it gives float"),
        ("", ConfigError, "where"),
        (3, MismatchError, "a cut such as 'pt > 200'"),
    ],
)
def test_mistakes(tagger: jt.Tagger, where: Any, error: type[JettaggerError], message: str) -> None:
    with pytest.raises(error, match=message):
        tagger(make_events(2, seed=1), where)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1000, width=32) | st.none(), max_size=20), st.integers(0, 1000))
def test_missing_values_never_pass(values: list[float | None], cut: int) -> None:
    column = ak.from_iter(values, highlevel=True) if values else ak.Array(np.empty(0))
    if not any(value is not None for value in values):
        column = ak.Array(np.full(len(values), np.nan))
    found = select(f"x > {cut}", ["x"], {"x": column}.__getitem__, len(values))
    assert found.tolist() == [value is not None and value > cut for value in values]


@pytest.mark.parametrize(
    ("name", "known", "first"),
    [
        ("FatJet_pt", ["eta", "pt", "phi"], "pt"),
        ("FatJet.pt", ["eta", "pt", "phi"], "pt"),
        ("pt", ["part_px", "jet_pt"], "jet_pt"),
        ("jet1.msoftdrop", ["mass", "msoftdrop"], "msoftdrop"),
        ("probHbB", ["probHcc", "probHbb"], "probHbb"),
    ],
)
def test_a_column_with_or_without_its_collection_is_near(name: str, known: list[str], first: str) -> None:
    assert nearest(name, known)[0] == first
