"""Flavours of PFNano: declarations in files, equal scores under other names, errors that say what differs."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import awkward as ak
import pytest
from comparing import assert_same_scores
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import write_bundle

import jettagger as jt
from jettagger.bundles.bundle import Bundle
from jettagger.cli import main
from jettagger.errors import ConfigError, InputFileError, JettaggerError, MismatchError, MissingColumns, UnknownName
from jettagger.files.root import EventFile, write_tree
from jettagger.formats.naming import names_of
from jettagger.formats.nesting import nest
from jettagger.formats.pfnano import PFNANO, PFNANO_AK4
from jettagger.inputs.flavours import detect, difference, flavour_of, flavours, nearest_flavour, read_flavour
from jettagger.tagging.tagger import Tagger, load_tagger
from jettagger.tagging.taggers import load_taggers
from jettagger.testing import make_columns

COLUMNS = make_columns(10, seed=4, constituents=20, ak4=True)
EVENTS = nest(COLUMNS)

OWN = """\
version: 1
name: ours
title: files of ours
collections: {PFCands: Candidates, FatJetPFCands: LinksAK8, JetPFCands: LinksAK4, FatJet: Large}
columns: {FatJetPFCands.pFCandsIdx: candidate, JetPFCands.jetIdx: jet, FatJet.pt: ptj, PFCands.dz: z}
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of AK4 jets."""
    return write_bundle(tmp_path_factory.mktemp("models") / "small", card={"name": "small", "jets": "AK4"})


def with_names(names: Any) -> dict[str, Any]:
    """The columns as a production with these names writes them."""
    found = {}
    for column, values in COLUMNS.items():
        table, _, field = column.partition("_")
        given_field = names.get(f"{table}.{field}", field)
        if given_field is not None:
            found[f"{names.get(table, table)}_{given_field}" if field else column] = values
    return found


def same_bits(one: Any, other: Any) -> bool:
    (form, length, buffers), (other_form, other_length, other_buffers) = map(
        ak.to_buffers, map(ak.to_packed, (one, other))
    )
    return (form, length) == (other_form, other_length) and all(
        buffer.tobytes() == other_buffers[key].tobytes() for key, buffer in buffers.items()
    )


def without_indices(names: Any) -> Any:
    """The events with no vertex in its table, where the production says of none where it is."""
    events = EVENTS
    for links in ("FatJetSVs", "JetSVs"):
        if names.get(f"{links}.sVIdx", "sVIdx") is None:
            events = ak.with_field(events, ak.with_field(events[links], -1, "sVIdx"), links)
    return events


# declarations


def test_there_is_one_file_for_each_flavour() -> None:
    folder = files("jettagger.inputs.flavours") / "productions"
    stems = {path.name.removesuffix(".yaml") for path in folder.iterdir()}
    assert stems | {"pfnano"} == set(flavours())
    assert all(item.title for item in flavours().values())


@pytest.mark.parametrize("flavour", flavours())
def test_every_flavour_gives_the_scores_of_todays_names_to_the_bit(flavour: str, small: Path, tiny: Bundle) -> None:
    names = flavours()[flavour].names
    events, expected = nest(with_names(names)), without_indices(names)
    if "FatJet" in names:  # the radius of the name decides how far vertices are looked for
        kept = expected.FatJetSVs.sVIdx >= 0
        expected = ak.with_field(expected, expected.FatJetSVs[kept], "FatJetSVs")
        table = str(names["FatJetSVs"])
        events = ak.with_field(events, events[table][kept], table)
    for folder in (small, tiny.folder):
        one, other = (load_tagger(folder, threads=1, format=item) for item in (flavour, "pfnano"))
        assert same_bits(one(events), other(expected))
        # and it is recognised, but for those of the same collections
        assert same_bits(load_tagger(folder, threads=1)(events), other(expected))


def test_a_flavour_of_the_user(tmp_path: Path, small: Path, tiny: Bundle) -> None:
    path = tmp_path / "ours.yaml"
    path.write_text(OWN)
    assert flavour_of(path) == flavour_of(str(path)) == read_flavour(OWN, "text")
    columns = with_names(flavour_of(path).names)
    assert {"Candidates_z", "LinksAK8_candidate", "LinksAK4_jet", "Large_ptj"} <= set(columns)
    events = nest(columns)
    both = load_taggers([small, tiny.folder], threads=1, format=path)
    for name, scores in both(events).items():
        assert same_bits(scores, load_tagger({"small": small}.get(name, tiny.folder), threads=1)(EVENTS))
    assert "tinyParT_mass" in both.attach(events).Large.fields
    write_tree(tmp_path / "ours.root", [columns])
    with EventFile(str(tmp_path / "ours.root")) as file:
        plan = jt.check_columns(both["small"].bundle, file, format=path)
    assert {"LinksAK4.jet", "Candidates.z"} <= set(plan.columns)


def test_the_command_line_takes_a_format(tmp_path: Path) -> None:
    (tmp_path / "ours.yaml").write_text(OWN)
    write_tree(tmp_path / "ours.root", [with_names(read_flavour(OWN, "text").names)])
    write_tree(tmp_path / "nano.root", [COLUMNS])
    options = ["-m", "tinyParT", "--columns", "mass", "-o"]
    assert main(["tag", str(tmp_path / "nano.root"), *options, str(tmp_path / "a.parquet")]) == 0
    own = ["--format", str(tmp_path / "ours.yaml")]
    assert main(["tag", str(tmp_path / "ours.root"), *options, str(tmp_path / "b.parquet"), *own]) == 0
    one, other = (ak.from_parquet(tmp_path / name) for name in ("a.parquet", "b.parquet"))
    assert one.FatJet_tinyParT_mass.tolist() == other.Large_tinyParT_mass.tolist()
    assert main(["tag", str(tmp_path / "ours.root"), *options, str(tmp_path / "c.parquet"), "--format", "x"]) != 0


def test_format_and_names_exclude_each_other() -> None:
    with pytest.raises(MismatchError, match="give either format= or names=, not both"):
        load_tagger("tinyParT", names={"PFCands": "X"}, format="pfnano")


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "flavour"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert set(schema["properties"]) == {"version", "name", "title", "collections", "columns", "absent"}


@pytest.fixture(scope="module")
def usual(tiny: Bundle) -> ak.Array:
    """Scores with today's names."""
    return Tagger(tiny, threads=1)(EVENTS)


@pytest.mark.slow
@settings(max_examples=25)
@given(data=st.data())
def test_any_choice_of_names_gives_equal_scores(tiny: Bundle, usual: ak.Array, data: st.DataObject) -> None:
    known = [name for name in names_of(PFNANO, PFNANO_AK4) if name.replace(".", "_", 1) in COLUMNS or "." not in name]
    chosen = data.draw(st.lists(st.sampled_from(known), unique=True, max_size=8))
    names = {name: f"{name.partition('.')[2] or name}X{place}" for place, name in enumerate(chosen)}
    collections = {name: value for name, value in names.items() if "." not in name}
    columns = {name: value for name, value in names.items() if "." in name}
    text = json.dumps({"version": 1, "name": "any", "collections": collections, "columns": columns})
    flavour = read_flavour(text, "drawn")
    got = Tagger(tiny, threads=1, names=flavour.names)(nest(with_names(names)))
    assert same_bits(got, usual)


# what is wrong with a file


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("name: x", ConfigError, "the key 'version' is missing"),
        ("{version: 2, name: x}", ConfigError, "version 2, this version of jettagger reads 1"),
        ("{version: 1, name: x, colections: {}}", ConfigError, r"unknown key 'colections' \(nearest: collections"),
        ("{version: 1, name: x,\n collections: {PFCand: A}}", UnknownName, r"line 2.*'PFCand' \(nearest: PFCands"),
        ("{version: 1, name: x, collections: {PFCands.pt: A}}", UnknownName, r"unknown collection.*'PFCands.pt'"),
        ("{version: 1, name: x, columns: {PFCands: A}}", UnknownName, r"unknown column.*'PFCands'"),
        (
            "version: 1\nname: x\ncolumns:\n  PFCands.pt: a\n  JetPFCands.pFCandIdx: b",
            UnknownName,
            r"line 5.*'JetPFCands.pFCandIdx' \(nearest: JetPFCands.pFCandsIdx",
        ),
        ("{version: 1, name: x, collections: {PFCands: 3}}", ConfigError, "'PFCands' must be text"),
        ("{version: 1, name: x, collections: {PFCands: a b}}", ConfigError, "'PFCands' must be text that matches"),
        (
            "{version: 1, name: x, collections: {PFCands: A, SV: A}}",
            ConfigError,
            "'A' is the name of PFCands already, expected another one for SV",
        ),
        (
            "{version: 1, name: x, absent: [PFCands.pt]}",
            ConfigError,
            "PFCands.pt cannot be declared absent, only FatJetSVs.sVIdx",
        ),
        ("{version: 1, name: x, absent: [FatJetSVs.svIdx]}", UnknownName, r"nearest: FatJetSVs.sVIdx"),
        (
            "{version: 1, name: x, columns: {JetSVs.sVIdx: i}, absent: [JetSVs.sVIdx]}",
            ConfigError,
            "JetSVs.sVIdx is both absent and called 'i', expected one of the two",
        ),
        ("[1]", ConfigError, "mapping"),
        ("{version: 1, name: x", ConfigError, "example"),
    ],
)
def test_what_is_wrong_with_a_declaration_is_said(text: str, error: type[JettaggerError], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        read_flavour(text, "example")
    assert "example" in str(caught.value)


def test_flavours_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"'pfnano-106' .*nearest: pfnano-106x"):
        flavour_of("pfnano-106")
    with pytest.raises(InputFileError, match=r"no such file: .*ours\.yaml"):
        load_tagger("tinyParT", format=tmp_path / "ours.yaml")


# files of no known flavour


def as_flavour(**collections: str) -> Any:
    return nest(with_names(collections))


def test_the_nearest_flavour_and_what_differs_are_said(small: Path, tiny: Bundle) -> None:
    events = as_flavour(PFCands="JetPFCands", FatJetPFCands="JetPFCandsAK08", FatJetSVs="JetSVsAK8", JetPFCands="X")
    with pytest.raises(MissingColumns) as caught:
        Tagger(tiny, threads=1)(events)
    text = str(caught.value)
    assert "the nearest known flavour of PFNano is 'pfnano-106x', from which this input differs: " in text
    assert "no collection JetPFCandsAK8 (nearest: JetPFCandsAK08)" in text
    assert "--format" in text
    with pytest.raises(MissingColumns, match=r"'pfnano', .*no collection JetPFCands \(nearest: JetPFCandz"):
        load_tagger(small)(as_flavour(JetPFCands="JetPFCandz"))


def test_indices_of_other_names_are_named(tiny: Bundle) -> None:
    events = nest(with_names({"FatJetPFCands.pFCandsIdx": "pFCandIdx"}))
    with pytest.raises(MissingColumns, match=r"no column FatJetPFCands.pFCandsIdx \(nearest: pFCandIdx"):
        Tagger(tiny, threads=1)(events)
    assert nearest_flavour(EVENTS.fields) == ""
    assert difference(PFNANO, EVENTS.fields) == []


def test_without_jets_of_a_known_name_the_collections_are_compared(tiny: Bundle) -> None:
    with pytest.raises(InputFileError, match=r"nearest known flavour.*'pfnano'.*no collection FatJet \(nearest: "):
        Tagger(tiny, threads=1)(as_flavour(FatJet="FatJets"))
    with pytest.raises(InputFileError, match=r"this input has no collection PFCandz \(nearest: PFCands"):
        Tagger(tiny, threads=1, names={"PFCands": "PFCandz"})(EVENTS)


@pytest.mark.data
def test_files_without_candidates_are_near_to_none(shared: Path, tiny: Bundle) -> None:
    with EventFile(shared / "cms/scouting_nano.root") as file, pytest.raises(MissingColumns) as caught:
        Tagger(tiny, threads=1).check(file)
    assert "nearest known flavour" not in str(caught.value)


def test_links_that_point_outside_are_named_as_the_file_names_them(small: Path, tiny: Bundle) -> None:
    flavour = read_flavour(OWN, "text")
    events = nest(with_names(flavour.names))
    for folder, links, index in ((tiny.folder, "LinksAK8", "candidate"), (small, "LinksAK4", "pFCandsIdx")):
        rows = events[links]
        first = ak.local_index(rows.pt, axis=1) == 0
        outside = ak.with_field(events, ak.with_field(rows, ak.where(first, 9999, rows[index]), index), links)
        tagger = load_tagger(folder, threads=1, names=flavour.names)
        with pytest.raises(MismatchError, match=rf"Candidates is not the table that {links} was made for.*beyond its"):
            tagger(outside)
        lenient = load_tagger(folder, threads=1, names=flavour.names, min_pt_share=0.0)
        assert lenient.run(outside).report.dangling_links == ak.sum(first)


def test_masked_and_missing_columns(tiny: Bundle) -> None:
    flavour = read_flavour(OWN, "text")
    events = nest(with_names(flavour.names))
    tagger = Tagger(tiny, threads=1, names=flavour.names)
    masked = ak.mask(events, [True, False] * 5)
    scores = tagger(masked)
    assert ak.is_none(scores).tolist() == [False, True] * 5
    assert_same_scores(ak.drop_none(scores, axis=0), tagger(events[::2]))
    lacking = ak.with_field(events, ak.without_field(events.Candidates, "z"), "Candidates")
    with pytest.raises(MissingColumns, match=r"pf\.dz \(.*Candidates\.z"):
        tagger(lacking)


def test_a_flavour_is_found_by_its_collections() -> None:
    for name, item in flavours().items():
        for kind in ("AK8", "AK4"):
            format_ = item.format(kind)
            found = detect([*format_.signature, "SV"], kind=kind)
            assert found.signature == format_.signature, name
            assert found.links == format_.links, name
