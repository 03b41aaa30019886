"""Declared inputs on tables with one row per jet and on Delphes events: the same networks, the same numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from comparing import flat
from image_networks import COLUMNS, IMAGE, ROWS, convolutions
from networks import write_bundle
from sequence_networks import SEQUENCE, VECTOR, declared, recurrent, write
from test_delphes import events_of

import jettagger as jt
from jettagger.cli import main
from jettagger.errors import InputFileError, JettaggerError, MismatchError, MissingColumns
from jettagger.formats.delphes import DelphesJets
from jettagger.images import ImageSettings, make_images
from jettagger.inputs.pfnano_tables import nano_table
from jettagger.inputs.source import check_columns
from jettagger.tagging.tensors import make_inputs
from jettagger.testing import make_events

#: a sequence and a vector of what tables have, too
TRACKS = SEQUENCE | {"selection": "pt > 1", "order": [{"by": "abs(dxysig)", "direction": "ascending"}], "variables": []}
TRACKS |= {"columns": ["log(pt / jet.pt)", "abs(eta)", "eta - jet.eta", "dxysig"]}
SHAPE = VECTOR | {"columns": [{"name": "msoftdrop", "norm_factor": 0.01}, "log(pt) - 6", "eta", "mass / pt"]}
PIXELS = IMAGE | {"weight": "", "selection": ""}


def weightless_events() -> Any:
    """Events whose candidates have PUPPI weights of one, as tables have no weights."""
    events = make_events(12, seed=5, constituents=20)
    ones = ak.ones_like(events.PFCands.puppiWeight)
    return ak.with_field(events, ak.with_field(events.PFCands, ones, "puppiWeight"), "PFCands")


def numbers(scores: Any, name: str) -> Any:
    values = scores[name] if scores.ndim == 1 else ak.flatten(scores[name])
    return ak.to_numpy(ak.fill_none(values, np.nan))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = write(tmp_path / "model", declared(TRACKS, SHAPE))
    recurrent(made / "model.onnx")
    return made


def test_a_table_of_the_same_jets_has_the_same_scores(folder: Path, tmp_path: Path) -> None:
    events = weightless_events()
    table = nano_table(events)
    tagger = jt.load_tagger(folder, threads=1)
    for name in tagger(events).fields:
        found, expected = numbers(tagger(table), name), numbers(tagger(events), name)
        np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
        np.testing.assert_allclose(found, expected, atol=1e-4)
        assert np.nanmax(expected) - np.nanmin(expected) > 0.01
    report = tagger.run(table).report
    assert (report.jets, report.without_constituents) == (len(table), tagger.run(events).report.without_constituents)
    path = tmp_path / "jets.parquet"
    ak.to_parquet(table, str(path))
    assert main(["tag", str(path), "--model", str(folder), "-o", str(tmp_path / "out.parquet")]) == 0
    skimmed = ak.from_parquet(tmp_path / "out.parquet")
    (column,) = (name for name in skimmed.fields if name.endswith("probb"))
    np.testing.assert_allclose(
        ak.to_numpy(ak.fill_none(skimmed[column], np.nan)), numbers(tagger(table), "probb"), atol=1e-6
    )


def test_constituents_in_any_order_of_the_table_give_the_same(folder: Path) -> None:
    table = nano_table(weightless_events())
    tagger = jt.load_tagger(folder, threads=1)
    parts = [name for name in table.fields if name.startswith("part_")]
    turned = ak.zip(
        {name: table[name][:, ::-1] if name in parts else table[name] for name in table.fields}, depth_limit=1
    )
    np.testing.assert_allclose(numbers(tagger(turned), "probb"), numbers(tagger(table), "probb"), atol=1e-6)


def test_delphes_jets_have_the_scores_of_their_table(folder: Path, tmp_path: Path) -> None:
    events = events_of(6, seed=2)
    jets = DelphesJets(events)
    plain = jt.load_tagger(folder, threads=1, min_pt_share=0)
    names = [
        name
        for name in jets.fields
        if name.startswith(("jet_pt", "jet_eta", "jet_phi", "jet_energy", "jet_sd", "part_"))
    ]
    table = ak.zip({name: jets.column(name) for name in names}, depth_limit=1)
    scores = plain(events)
    np.testing.assert_allclose(numbers(scores, "probb"), numbers(plain(table), "probb"), atol=1e-6)
    assert ak.num(scores.probb).tolist() == ak.num(events.JetPUPPIAK8.PT).tolist()
    attached = plain.attach(events)
    np.testing.assert_array_equal(
        ak.to_numpy(ak.fill_none(ak.flatten(attached.JetPUPPIAK8.other_probb), np.nan)), numbers(scores, "probb")
    )
    moved = plain.run(events, kinematics={"pt": 2 * events.JetPUPPIAK8.PT}).scores
    assert np.nanmax(np.abs(numbers(moved, "probb") - numbers(scores, "probb"))) > 1e-3


@pytest.mark.parametrize("kind", ["table", "delphes"])
def test_images_are_those_of_the_columns(kind: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "model", declared(PIXELS))
    convolutions(folder / "model.onnx")
    tagger = jt.load_tagger(folder, threads=1, min_pt_share=0)
    if kind == "table":
        source = nano_table(weightless_events())
        table = source
    else:
        source = events_of(8, seed=3)
        jets = DelphesJets(source)
        table = {name: jets.column(name) for name in jets.fields if name.startswith("part_")}
    columns = {name: ak.to_numpy(ak.flatten(table[f"part_{name}"])) for name in ("deta", "dphi", "charge", "d0val")}
    columns["pt"] = np.hypot(*(ak.to_numpy(ak.flatten(table[f"part_{name}"])) for name in ("px", "py")))
    offsets = np.concatenate([[0], np.cumsum(ak.num(table["part_px"]))])
    expected = make_images(ImageSettings(**PIXELS["image"]), columns, offsets).dense()
    made = {}
    for batch in make_inputs(tagger.bundle, source):
        made |= dict(zip(batch.jets.tolist(), batch.inputs["image"], strict=True))
    assert 5 < len(made) <= len(expected)
    found = np.stack([made[jet] for jet in sorted(made)])
    same = np.isclose(found, expected[sorted(made)], rtol=1e-4, atol=1e-4)
    assert same.mean() > 0.999  # one on the edge of a pixel may be rounded to either side
    assert found.shape[1:] == (3, ROWS, COLUMNS)
    assert (found > 0).sum() > 50


def test_jets_without_a_momentum_are_none_and_counted(folder: Path) -> None:
    table = nano_table(weightless_events())
    eta = ak.where(ak.local_index(table.jet_eta) == 0, np.nan, table.jet_eta)
    pt = ak.where(ak.local_index(table.jet_pt) == 1, -3.0, table.jet_pt)
    broken = ak.with_field(ak.with_field(table, eta, "jet_eta"), pt, "jet_pt")
    with pytest.warns(UserWarning, match="not scored"):
        tagged = jt.load_tagger(folder, threads=1).run(broken)
    assert tagged.report.partial == 2
    assert ak.is_none(tagged.scores).tolist()[:2] == [True, True]


def test_what_a_table_lacks_is_named_with_the_nearest(folder: Path, tmp_path: Path) -> None:
    table = nano_table(weightless_events())
    renamed = ak.zip(
        {name.replace("jet_sdmass", "jet_sdmas"): table[name] for name in table.fields if name != "part_d0err"},
        depth_limit=1,
    )
    with pytest.raises(MissingColumns) as caught:
        jt.load_tagger(folder, threads=1)(renamed)
    text = str(caught.value)
    assert "jet.msoftdrop (jet_sdmass (nearest: jet_sdmas" in text
    assert "pf.dxysig (part_d0err (nearest: part_" in text
    assert "needed by cpf: dxysig, the order by 'abs(dxysig)'" in text
    other = write(tmp_path / "other", declared(SEQUENCE, VECTOR))
    recurrent(other / "model.onnx")
    with pytest.raises(MissingColumns, match=r"pf\.btagSip3dSig \(not in tables\)"):
        jt.load_tagger(other, threads=1)(table)


def test_lists_of_different_lengths_are_refused(folder: Path) -> None:
    table = nano_table(weightless_events())
    with pytest.raises(MismatchError, match=r"entries in jet 0 of a block|differ in the number"):
        jt.load_tagger(folder, threads=1)(ak.with_field(table, table.part_charge[:, 1:], "part_charge"))


def test_options_of_other_inputs_are_refused(folder: Path) -> None:
    table = nano_table(weightless_events())
    with pytest.raises(InputFileError, match="no collection 'FatJet'"):
        jt.load_tagger(folder, threads=1, jets="FatJet")(table)
    with pytest.raises(MismatchError, match="names= is for PFNano"):
        jt.load_tagger(folder, threads=1, names={"FatJet": "CA15"})(table)
    assert check_columns(jt.load_bundle(folder), table).collection == ""


def test_networks_of_producers_take_events_only(tmp_path: Path) -> None:
    """Those with a ``preprocess.json`` name what would run, as before."""
    table = nano_table(weightless_events())
    with pytest.raises(JettaggerError, match=r"FatJet|collections"):
        jt.load_tagger(write_bundle(tmp_path / "toy"), threads=1)(table)


@pytest.mark.data
def test_a_public_table_and_its_events(folder: Path, shared: Path, tmp_path: Path) -> None:
    """JetClass-II's example and the Delphes file that it is made of."""
    tagger = jt.load_tagger(folder, threads=1)
    table = ak.from_parquet(shared / "sophon/JetClassII_example.parquet")
    tagged = tagger.run(table)
    assert tagged.report.scored == tagged.report.jets == len(table)
    assert np.isfinite(numbers(tagged.scores, "probb")).all()
    path = str(shared / "sophon/events_delphes_example.root")
    assert main(["tag", path, "--model", str(folder), "-o", str(tmp_path / "out.parquet")]) == 0
    scores = flat(ak.from_parquet(tmp_path / "out.parquet"), "JetPUPPIAK8_other_probb")
    assert np.isfinite(scores).sum() > 5
