"""``--verify``: what NanoAOD says of the columns that are read, compared with what a file holds."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st
from searches import columns as columns_of
from searches import make_world, write
from weavers import table, weaver_bundle

import jettagger as jt
from benchmarks.attack import PAGE, attack
from benchmarks.verification_cost import BEGIN, END, compare
from jettagger.cli import main
from jettagger.errors import InputFileError
from jettagger.files.root import EventFile, write_tree
from jettagger.files.verification import stray_digits, verify_events, verify_jets
from jettagger.formats.delphes import DelphesJets
from jettagger.formats.nesting import nest
from jettagger.formats.rules import RULES, Rule, rules_of
from jettagger.inputs.flavours import detect
from jettagger.search import read_config
from jettagger.search.files import survey
from jettagger.search.skims import ParquetSkim
from jettagger.skims.skim import make_job
from jettagger.skims.writers import write_skim
from jettagger.testing import make_columns, make_events

EXAMPLES = Path(__file__).parent.parent / "examples" / "data"
COLUMNS = make_columns(40, seed=3)

Change = Callable[[dict[str, Any]], None]


class Held:
    """Events in memory, offered like an open file."""

    def __init__(self, columns: dict[str, Any]) -> None:
        self.path = "held.root"
        self.names = set(columns)
        self.events = nest(columns)

    def read(self, columns: Any, start: int, stop: int) -> Any:
        return self.events[start:stop]


@pytest.fixture(scope="module")
def tagger() -> jt.Tagger:
    return jt.load_tagger("tinyParT")


@pytest.fixture(scope="module")
def plan(tagger: jt.Tagger) -> Any:
    from jettagger.formats import EventColumns

    return tagger.check(EventColumns(make_events(2, seed=1)))


def with_counters(columns: dict[str, Any]) -> dict[str, Any]:
    lists = {name.partition("_")[0]: values for name, values in columns.items() if values.ndim > 1}
    return columns | {f"n{name}": ak.to_numpy(ak.num(values)) for name, values in lists.items()}


def set_value(columns: dict[str, Any], name: str, place: int, value: Any) -> int:
    """Put a number into a flat list column; its event."""
    counts = ak.to_numpy(ak.num(columns[name]))
    values = ak.to_numpy(ak.flatten(columns[name])).copy()
    values[place] = value
    columns[name] = ak.unflatten(values, counts)
    return int(np.searchsorted(np.cumsum(counts), place, side="right"))


def verified(columns: dict[str, Any], plan: Any, ranges: Any = ((0, 15), (15, 40))) -> None:
    verify_events(Held(columns), plan, ranges)


def test_whole_events_pass(plan: Any) -> None:
    verified(with_counters(COLUMNS), plan)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.root")), ids=lambda path: path.name)
def test_simulated_events_pass(path: Path, tagger: jt.Tagger) -> None:
    with EventFile(path) as file:
        verify_events(file, tagger.check(file), [(0, 100), (100, file.n_events)])


@pytest.mark.data
@pytest.mark.parametrize("name", ["pfnano.root", "pfnano_rntuple.root"])
def test_events_of_cms_pass(name: str, shared: Path, tagger: jt.Tagger) -> None:
    with EventFile(shared / "cms" / name) as file:
        verify_events(file, tagger.check(file), [(0, file.n_events)])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FatJet_pt", -1),
        ("FatJet_eta", 6.5),
        ("FatJet_phi", 3.2),
        ("FatJet_mass", np.inf),
        ("PFCands_pt", 2e5),
        ("PFCands_eta", np.nan),
        ("PFCands_phi", -6.3),
        ("PFCands_mass", 1e30),
        ("PFCands_charge", 2),
        ("PFCands_charge", -(2**31)),
        ("PFCands_pdgId", 210),
        ("PFCands_pvAssocQuality", 8),
        ("PFCands_lostInnerHits", 2**20),
        ("PFCands_trkChi2", -0.5),
        ("PFCands_dzErr", -np.inf),
        ("PFCands_d0", 1e5),
        ("PFCands_dz", 1e-40),
        ("FatJetPFCands_btagSip3dSig", np.nan),
        ("FatJetPFCands_btagEtaRel", 1e38),
        ("FatJetSVs_ntracks", 2.25),
        ("FatJetSVs_deltaR", 0.25),
        ("FatJetSVs_pt", -3),
        ("SV_eta", 100),
    ],
)
def test_a_number_that_cannot_be_is_named(name: str, value: Any, plan: Any) -> None:
    columns = with_counters(COLUMNS)
    event = set_value(columns, name, len(ak.flatten(columns[name])) // 2, value)
    shown = f"{np.asarray(ak.flatten(columns[name]))[len(ak.flatten(columns[name])) // 2]:.9g}"
    with pytest.raises(InputFileError) as caught:
        verified(columns, plan)
    assert f"held.root: {name} of event {event} (counted from 0 in the file) is {shown}, expected" in str(caught.value)


@pytest.mark.parametrize("wrong", [-1, 20_000, 12.5, np.nan])
def test_a_number_of_the_event_that_cannot_be_is_named(wrong: float, plan: Any) -> None:
    columns = with_counters(COLUMNS)
    plan = replace(plan, more=(*plan.more, "PV.npvs"))
    columns["PV_npvs"] = np.full(40, 30.0)
    verified(columns, plan)
    columns["PV_npvs"][17] = wrong
    with pytest.raises(
        InputFileError, match=rf"PV_npvs of event 17 .* is {wrong:g}, expected a whole number from 0 to"
    ):
        verified(columns, plan)


def index_of(column: str, wanted: Callable[[Any], Any]) -> int:
    return int(np.flatnonzero(wanted(np.asarray(ak.flatten(COLUMNS[column]))))[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(nPFCands=c["nPFCands"] + (np.arange(40) == 20)), r"nPFCands of event 20 .* number of entr"),
        (lambda c: c.update(nFatJet=c["nFatJet"] ^ (4 * (np.arange(40) == 3))), "nFatJet of event 3 "),
        (lambda c: set_value(c, "FatJetPFCands_jetIdx", 9, 70), "jetIdx .* is 70, expected an index of FatJet, or -1"),
        (lambda c: set_value(c, "FatJetPFCands_jetIdx", 9, -2), "jetIdx .* is -2, expected an index of FatJet, or -1"),
        (lambda c: set_value(c, "FatJetPFCands_pFCandsIdx", 9, -1), "is -1, expected an index of PFCands:"),
        (lambda c: set_value(c, "FatJetPFCands_pFCandsIdx", 9, 5000), "is 5000, expected an index of PFCands:"),
        (lambda c: set_value(c, "FatJetSVs_sVIdx", 4, 99), "is 99, expected an index of SV, or -1"),
        (
            lambda c: set_value(c, "FatJetPFCands_pt", 9, 3.25),
            "FatJetPFCands_pt .* 3.25, expected what PFCands_pt",
        ),
        (lambda c: set_value(c, "PFCands_charge", index_of("PFCands_charge", lambda q: q == 1), 0), "that of the part"),
        (lambda c: set_value(c, "PFCands_charge", index_of("PFCands_charge", lambda q: q == 0), 1), "that of the part"),
    ],
)
def test_lengths_links_copies_and_charges_are_compared(change: Change, message: str, plan: Any) -> None:
    columns = with_counters(COLUMNS)
    change(columns)
    with pytest.raises(InputFileError, match=message):
        verified(columns, plan)


def test_rows_of_a_jet_are_adjacent_and_lead_to_each_object_once(plan: Any) -> None:
    jets = ak.to_numpy(ak.flatten(COLUMNS["FatJetPFCands_jetIdx"]))
    inside = int(np.flatnonzero((jets[:-2] == 1) & (jets[1:-1] == 1) & (jets[2:] == 1))[0]) + 1
    columns = with_counters(COLUMNS)
    event = set_value(columns, "FatJetPFCands_jetIdx", inside, 0)
    with pytest.raises(InputFileError, match=f"jetIdx of event {event} .*the rows of a jet next to each other"):
        verified(columns, plan)
    columns = with_counters(COLUMNS)
    targets = ak.to_numpy(ak.flatten(columns["FatJetPFCands_pFCandsIdx"]))
    event = set_value(columns, "FatJetPFCands_pFCandsIdx", inside, targets[inside - 1])
    with pytest.raises(InputFileError, match=f"pFCandsIdx of event {event} .*each index of PFCands once in a jet"):
        verified(columns, plan)


def test_other_names_have_the_same_rules(tagger: jt.Tagger) -> None:
    from jettagger.formats import EventColumns

    names = {"PFCands": "MyCands", "FatJetPFCands": "MyLinks", "FatJetPFCands.pFCandsIdx": "candIdx"}
    columns = {name: values for name, values in make_columns(20, seed=2).items() if not name.startswith("SV_x")}
    set_value(columns, "PFCands_charge", 30, 9)
    renamed = {}
    for name, values in columns.items():
        table, _, field = name.partition("_")
        given = names.get(f"{table}.{field}") or field
        renamed[f"{names.get(table) or table}_{given}" if field else name] = values
    other = jt.load_tagger("tinyParT", names=names)
    with pytest.raises(InputFileError, match=r"MyCands_charge of event .* is 9, expected a whole number from -1 to 1"):
        verify_events(Held(renamed), other.check(EventColumns(nest(renamed))), [(0, 20)])
    format_ = detect(["FatJetAK15", "FatJetAK15PFCands", "PFCands", "JetSVsAK15"])
    assert {format_.called("FatJet.pt"), format_.called("FatJetSVs.pt")} == {"FatJetAK15.pt", "JetSVsAK15.pt"}


def test_every_column_that_known_models_read_has_a_rule() -> None:
    from jettagger.formats.pfnano import PFNANO

    stored = {
        column for ways in PFNANO.columns.values() for way in ways.values() for one in way for column in one.columns
    }
    # lists of tracks are garbage beyond their end, whatever the file
    lists = {column for column in stored if column.startswith("FatJet.DeepCSV_track") and column[-1].isdigit()}
    assert len(lists) > 40
    assert stored - lists == set(RULES) - {"FatJetPFCands.pt", "SV.pt"}


@settings(max_examples=60, deadline=None)
@given(
    bits=st.integers(4, 18),
    flip=st.integers(0, 22),
    place=st.integers(0, 1999),
    seed=st.integers(0, 2**32 - 1),
    scale=st.floats(0.01, 1000),
)
def test_digits_beyond_the_mantissa_are_found_and_nothing_else(
    bits: int, flip: int, place: int, seed: int, scale: float
) -> None:
    values = np.random.default_rng(seed).normal(0, scale, 2000).astype(np.float32)
    values.view(np.uint32)[:] &= np.uint32(0xFFFFFFFF << bits & 0xFFFFFFFF)
    assert not len(stray_digits(values))
    values[place] = values[values > 0].min() * 4  # its size is not the largest
    values.view(np.uint32)[place] ^= np.uint32(1 << flip)
    assert stray_digits(values).tolist() == ([place] if flip < bits else [])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), mean=st.floats(0.5, 300), step=st.sampled_from([0.125, 1.0, 4.0]))
def test_numbers_on_a_grid_and_whole_mantissas_have_no_stray_digits(seed: int, mean: float, step: float) -> None:
    values = np.random.default_rng(seed).exponential(mean, 3000)
    assert not len(stray_digits((np.floor(values) * step).astype(np.float32)))
    assert not len(stray_digits(values.astype(np.float32)))


def test_rules_say_what_they_take() -> None:
    assert Rule(0, 7, whole=True).fits(np.array([0, 3.5, 7, 8])).tolist() == [True, False, True, False]
    assert str(RULES["PFCands.pdgId"]).startswith("one of 0, 1, 2, 11")
    assert not RULES["FatJet.pt"].fits(np.array([np.nan, np.inf, -np.inf])).any()


@pytest.mark.parametrize("names", [{}, {"FatJetPFCands": "Large", "JetPFCands": "Small"}, {"PFCands": "Cands"}])
@pytest.mark.parametrize("kind", ["AK4", "AK8"])
def test_only_tracks_of_ak4_jets_may_have_no_significance_whichever_jets_are_tagged(kind: Any, names: Any) -> None:
    from jettagger.formats.pfnano import pfnano

    rules = rules_of(pfnano(names, kind=kind))
    undefined = {column for column, rule in rules.items() if rule.undefined}
    assert undefined == {f"{names.get('JetPFCands', 'JetPFCands')}.btagSip3dSig"}
    assert f"{names.get('FatJetPFCands', 'FatJetPFCands')}.btagSip3dSig" in rules


def test_tables_of_jets_are_compared_too() -> None:
    table = {"jet_pt": ak.Array([300.0, 400.0]), "part_px": ak.Array([[1.0], [2.0, 3.0]])}
    verify_jets("jets.root", table, 0)
    with pytest.raises(InputFileError, match=r"jets.root: jet_pt of jet 11 .* is -400, expected 0 to 100000 GeV"):
        verify_jets("jets.root", table | {"jet_pt": ak.Array([300.0, -400.0])}, 10)
    with pytest.raises(InputFileError, match=r"part_py of jet 1 has 1 entries, part_px has 2"):
        verify_jets("jets.root", table | {"part_py": ak.Array([[1.0], [2.0]])}, 0)
    with pytest.raises(InputFileError, match=r"part_px of jet 1 .* is nan"):
        verify_jets("jets.root", table | {"part_px": ak.Array([[1.0], [2.0, np.nan]])}, 0)


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TTree with a candidate of charge 5, which is scored without a word otherwise."""
    columns = dict(make_columns(30, seed=6))
    set_value(columns, "PFCands_charge", 100, 5)
    path = tmp_path_factory.mktemp("damaged") / "nano.root"
    write_tree(path, [columns])
    return path


def test_tag_leaves_no_output_of_what_does_not_pass(
    damaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out" / "scores.parquet"
    output.parent.mkdir()
    command = ["tag", str(damaged), "--model", "tinyParT", "-o", str(output), "--columns", "prob"]
    assert main([*command, "--verify"]) != 0
    text = capsys.readouterr().err
    assert re.search(r"PFCands_charge of event \d+ .* is 5, expected a whole number from -1 to 1", text)
    assert not list(output.parent.iterdir())
    assert main(command) == 0


def test_skip_broken_leaves_out_what_does_not_pass(damaged: Path, tmp_path: Path) -> None:
    from jettagger.skims.skim import make_job

    whole = tmp_path / "whole.root"
    write_tree(whole, [make_columns(10, seed=2)])
    job = make_job([str(whole), str(damaged)], jt.load_tagger("tinyParT"), skip_broken=True, verify=True)
    assert {chunk.path for chunk in job.chunks} == {str(whole)}
    assert "PFCands_charge" in job.skipped[str(damaged)]


def test_scores_are_the_same_with_and_without(tmp_path: Path) -> None:
    path = tmp_path / "nano.root"
    write_tree(path, [make_columns(12, seed=2)])
    for name, verify in (("a.parquet", False), ("b.parquet", True)):
        jt.tag_files([str(path)], "tinyParT", str(tmp_path / name), columns=["prob"], verify=verify)
    first, second = (ak.from_parquet(tmp_path / name) for name in ("a.parquet", "b.parquet"))
    assert ak.array_equal(first, second, equal_nan=True)


@pytest.mark.slow
def test_fewer_flips_change_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JETTAGGER_CACHE", str(tmp_path))
    plain = attack("PFNano in a TTree, plain, one bit flipped", 6, seed=1)
    counts = attack("PFNano in a TTree, plain, one bit flipped, --verify", 6, seed=1)
    assert set(counts) <= {"same", "error", "changed"}
    assert counts["error"] > plain["error"]
    assert counts["changed"] < plain["changed"]


@pytest.mark.parametrize("bit", [0, 6, 12, 13, 20, 30, 31])
def test_which_bits_of_a_number_are_noticed(bit: int, plan: Any) -> None:
    """The sign, what leads out of range, and digits that are cut off; others could be (docs/robustness.md)."""
    columns = with_counters(COLUMNS)
    values = ak.to_numpy(ak.flatten(columns["PFCands_dzErr"])).copy()
    place = int(np.flatnonzero((values > 1e-3) & (values < 1))[5])
    values.view(np.uint32)[place] ^= np.uint32(1 << bit)
    columns["PFCands_dzErr"] = ak.unflatten(values, ak.num(columns["PFCands_dzErr"]))
    if bit in (13, 20):
        verified(columns, plan, [(0, 40)])
    else:
        with pytest.raises(InputFileError, match="PFCands_dzErr"):
            verified(columns, plan, [(0, 40)])


def test_rntuples_of_uproot_are_compared_too(tmp_path: Path, tagger: jt.Tagger) -> None:
    columns = dict(make_columns(20, seed=6))
    event = set_value(columns, "PFCands_pdgId", 100, 200)
    path = tmp_path / "nano.root"
    with uproot.recreate(path) as file:
        file.mkrntuple("Events", columns)
    with EventFile(path) as source, pytest.raises(InputFileError, match=f"PFCands_pdgId of event {event} .* is 200, "):
        verify_events(source, tagger.check(source), [(0, 20)])


def test_jobs_on_tables_of_jets_verify(tmp_path: Path) -> None:
    jets = table(6)
    path = tmp_path / "jets.parquet"
    ak.to_parquet(ak.with_field(jets, ak.where(jets.part_charge == 1, 3, jets.part_charge), "part_charge"), path)
    job = jt.load_tagger(weaver_bundle(tmp_path / "toy"))
    assert make_job([str(path)], job).n_events == 6
    with pytest.raises(InputFileError, match=r"jets.parquet: part_charge of jet \d+ .* is 3, expected a whole number"):
        make_job([str(path)], job, verify=True)


@pytest.mark.slow
@pytest.mark.data
def test_jobs_on_delphes_files_verify(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(shared / "sophon" / "events_delphes_example.root")
    tagger = jt.load_tagger(weaver_bundle(tmp_path / "toy"))
    assert make_job([path], tagger, verify=True).n_events > 0
    column = DelphesJets.column

    def flipped(jets: DelphesJets, name: str, rows: Any = None) -> Any:
        """As if the bits of the signs of energies were flipped."""
        return -column(jets, name, rows) if name == "part_energy" else column(jets, name, rows)

    monkeypatch.setattr(DelphesJets, "column", flipped)
    with pytest.raises(InputFileError, match=r"part_energy of jet \d+ .* is -[\d.]+, expected 0 to .* GeV"):
        make_job([path], tagger, verify=True)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search one of whose files has a jet below zero momentum."""
    found = make_world(tmp_path_factory.mktemp("world"))
    made = columns_of(8, 2)
    set_value(made, "FatJet_pt", 3, -300)
    write(found.parent / "tt2.root", made)
    return found


@pytest.mark.slow
def test_a_search_refuses_what_does_not_pass(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    command = ["search", str(world), "-o", str(out), "--no-plots", "--retries", "1"]
    assert main([*command, "--verify"]) != 0
    text = " ".join(capsys.readouterr().err.split())
    assert re.search(r"tt2.root: FatJet_pt of event \d+ .* is -300, expected 0 to 100000 GeV", text)
    assert not list(tmp_path.iterdir())
    assert main([*command, "--verify", "--skip-broken"]) == 0
    assert list(json.loads((out / "record.json").read_text())["missing"]) == [str(world.parent / "tt2.root")]


def test_a_search_without_a_model_looks_at_the_kinematics(world: Path) -> None:
    text = (
        world.read_text()
        .replace("tagger: {model: tinyParT, threads: 1}\n", "")
        .replace("sort_by: HbbvsQCD", "sort_by: pt")
    )
    text = re.sub(r"discriminants:\n.*\n", "", text).replace("jet1.HbbvsQCD > 0.2", "jet1.pt > 300")
    text = text.replace("jet1.tinyParT_mass", "jet1.mass")
    other = world.parent / "plain.yaml"
    other.write_text(text)
    config = read_config(other)
    assert len(survey(config, config.make_processor()).files) == 4
    with pytest.raises(InputFileError, match=r"tt2.root: FatJet_pt of event"):
        survey(config, config.make_processor(), verify=True, retries=0)


def test_parquet_skims_of_a_search_are_verified(tmp_path: Path) -> None:
    path = tmp_path / "skim.parquet"
    write_skim(path, [dict(COLUMNS)], "{}")
    skim = ParquetSkim(str(path))
    columns = ["FatJet.pt", "event"]
    assert ak.array_equal(skim.read(columns, 3, 9).FatJet.pt, COLUMNS["FatJet_pt"][3:9])
    assert skim.read(columns, 0, 5).event.tolist() == COLUMNS["event"][:5].tolist()


def test_costs_are_measured_in_turn() -> None:
    calls: list[str] = []
    found = compare(lambda: calls.append("plain"), lambda: sum(range(20_000)), 3)
    assert calls == ["plain"] * 4
    assert found["lower"] <= found["ratio"] <= found["upper"]
    page = PAGE.read_text()
    assert page.count(BEGIN) == page.count(END) == 1
    assert "`--verify`" in page.partition(BEGIN)[2].partition(END)[0]
