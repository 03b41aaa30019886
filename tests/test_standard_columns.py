"""Columns that a model reads, without a file."""

from __future__ import annotations

from pathlib import Path

import awkward as ak
import pytest
from heads import make_head

import jettagger as jt
from jettagger.bundles.registry import available, load_bundle
from jettagger.errors import InputFileError, MissingColumns, UnknownName
from jettagger.files.root import EventFile
from jettagger.formats import EventColumns
from jettagger.formats.naming import stored_name
from jettagger.inputs.flavours import declared_names, flavours
from jettagger.inputs.source import source_of
from jettagger.inputs.standard_columns import standard_columns
from jettagger.testing import make_events

CMS = sorted(available())


@pytest.mark.parametrize("name", ["tinyParT", "inclParTMDV1", "inclParTToyV1"])
def test_they_are_those_of_events(name: str) -> None:
    """For models without weights, too."""
    bundle = load_bundle(name)
    assert standard_columns(bundle) == source_of(bundle).check(EventColumns(make_events(2, seed=1))).columns


def test_a_tagger_has_those_of_its_heads_too(tmp_path: Path) -> None:
    tagger = jt.load_tagger("inclParTToyV1")
    head = make_head(tmp_path / "head", parent=tagger.bundle, inputs=["hidNeurons000", "FatJet_msoftdrop"])
    with_head = tagger.with_heads(head)
    assert set(with_head.columns()) - set(tagger.columns()) == {"FatJet.msoftdrop"}
    assert with_head.columns() == with_head.check(EventColumns(make_events(2, seed=1))).columns


@pytest.mark.parametrize("flavour", sorted(set(flavours()) - {"pfnano"}))
def test_productions_have_their_own_names(flavour: str) -> None:
    """The same columns as of events whose collections and columns were renamed."""
    names = flavours()[flavour].names
    renamed: dict[str, dict[str, ak.Array]] = {}
    events = make_events(2, seed=1)
    for collection in events.fields:
        for field in ak.fields(events[collection]):
            column = f"{collection}.{field}"
            if names.get(column, "") is not None:
                there, _, stored = stored_name(column, names).partition(".")
                renamed.setdefault(there, {})[stored] = events[collection][field]
    zipped = {key: ak.zip(fields) for key, fields in renamed.items()}
    production = ak.zip(zipped, depth_limit=1)
    bundle = load_bundle("inclParTMDV1")
    expected = source_of(bundle, names=declared_names(None, flavour)).check(EventColumns(production)).columns
    assert sorted(standard_columns(bundle, flavour)) == sorted(expected)


def test_a_file_of_ones_own_declares_names(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("{version: 1, name: mine, collections: {PFCands: Cands}, columns: {FatJetPFCands.jetIdx: jet}}")
    columns = jt.load_tagger("tinyParT").columns(path)
    assert {"Cands.pdgId", "FatJetPFCands.jet"} <= set(columns)
    assert not any(column.startswith("PFCands.") for column in columns)


def test_indices_that_a_production_lacks_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("{version: 1, name: mine, absent: [FatJetSVs.sVIdx]}")
    tagger = jt.load_tagger("tinyParT")
    # nor is the copy of pt compared, for which the index is needed
    assert set(tagger.columns()) - set(tagger.columns(path)) == {"FatJetSVs.sVIdx", "SV.pt"}


def test_unknown_flavours_and_columns_of_a_user(tmp_path: Path) -> None:
    tagger = jt.load_tagger("tinyParT")
    with pytest.raises(UnknownName, match="nearest: pfnano"):
        tagger.columns("pfnana")
    with pytest.raises(InputFileError, match="no such file"):
        tagger.columns("there/is/none.yaml")
    toy = jt.load_tagger("inclParTToyV1")
    head = make_head(tmp_path / "head", parent=toy.bundle, inputs=["hidNeurons000", "FatJet_unheardOf"])
    with pytest.raises(MissingColumns, match="unheardOf"):
        toy.with_heads(head).columns()


@pytest.mark.data
@pytest.mark.parametrize("name", CMS)
def test_they_are_those_of_a_file_of_cms(name: str, shared: Path) -> None:
    bundle = load_bundle(name)
    with EventFile(shared / "cms" / "pfnano.root") as file:
        assert standard_columns(bundle) == source_of(bundle).check(file).columns
