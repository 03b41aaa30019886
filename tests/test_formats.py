"""Links, missing tracks, rebuilt vertices and layouts: what formats make of the columns of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from real_files import opened

from jettagger.errors import InputFileError, MismatchError, UnknownName
from jettagger.features import lookup
from jettagger.formats import EventColumns, Jets, load, make_plan
from jettagger.formats.nesting import nest
from jettagger.formats.pfnano import PFNANO
from jettagger.formats.vertices import vertex_eta
from jettagger.inputs.flavours import detect
from jettagger.kinematics import delta_phi, energy
from jettagger.testing import make_columns, make_events

VARIABLES = [
    "pfcand_pt_log_nopuppi",
    "pfcand_etarel",
    "pfcand_charge",
    "pfcand_dz",
    "pfcand_dzsig",
    "pfcand_dxy",
]
VARIABLES += ["pfcand_dxysig", "pfcand_normchi2", "pfcand_btagSip3dSig", "cpfcandlt_charge", "npfcand_etarel"]
VARIABLES += ["sv_pt_log", "sv_etarel", "sv_phirel", "sv_dxysig", "sv_ntracks", "jet_pt_log"]

FEATURES = lookup(VARIABLES)


def jets_of(events: Any, index: Any = None, *, strict: bool = True) -> Jets:
    columns = EventColumns(events)
    plan = make_plan(PFNANO, columns, FEATURES)
    assert plan.missing == ()
    index = np.arange(columns.counts("FatJet").sum()) if index is None else np.asarray(index, dtype=np.int64)
    return load(columns, plan, index, strict=strict)


def slow_links(events: Any) -> list[dict[str, list[Any]]]:
    """For each jet its candidates and vertices, in plain Python from the meaning of the columns alone."""
    found = []
    for event in events.tolist():
        for index in range(len(event["FatJet"])):
            pf = [
                (event["PFCands"][link["pFCandsIdx"]], link)
                for link in event["FatJetPFCands"]
                if link["jetIdx"] == index and 0 <= link["pFCandsIdx"] < len(event["PFCands"])
            ]
            pf.sort(key=lambda pair: -pair[0]["pt"])
            sv = [
                (event["SV"][link["sVIdx"]] if link["sVIdx"] >= 0 else None, link)
                for link in event["FatJetSVs"]
                if link["jetIdx"] == index
            ]
            sv.sort(key=lambda pair: -pair[1]["dxysig"])
            found.append({"jet": [event["FatJet"][index]], "pf": pf, "sv": sv})
    return found


def assert_links(events: Any) -> tuple[int, int]:
    """Compare with the slow way; returns the numbers of candidates and vertices."""
    jets, expected = jets_of(events), slow_links(events)
    assert len(jets) == len(expected)

    def ours(object_: str, name: str) -> list[list[float]]:
        return ak.unflatten(jets.column(object_, name), jets.counts(object_)).tolist()

    assert jets.counts("pf").tolist() == [len(item["pf"]) for item in expected]
    assert jets.counts("sv").tolist() == [len(item["sv"]) for item in expected]
    for name in ("pt", "eta", "charge"):
        assert ours("pf", name) == [[pf[name] for pf, _ in item["pf"]] for item in expected]
    assert ours("pf", "btagSip3dSig") == [[link["btagSip3dSig"] for _, link in item["pf"]] for item in expected]
    for name in ("pt", "dxysig", "ntracks"):
        assert ours("sv", name) == [[link[name] for _, link in item["sv"]] for item in expected]
    assert ours("cpf", "charge") == [[pf["charge"] for pf, _ in i["pf"] if pf["charge"] != 0] for i in expected]
    assert ours("npf", "eta") == [[pf["eta"] for pf, _ in i["pf"] if pf["charge"] == 0] for i in expected]
    assert ours("npf", "jet.eta") == [[i["jet"][0]["eta"] for pf, _ in i["pf"] if pf["charge"] == 0] for i in expected]
    for got, item in zip(ours("sv", "eta"), expected, strict=True):
        known = [(eta, sv["eta"]) for eta, (sv, _) in zip(got, item["sv"], strict=True) if sv is not None]
        assert all(eta == stored for eta, stored in known)
    return int(jets.counts("pf").sum()), int(jets.counts("sv").sum())


# links


@pytest.mark.data
def test_links_of_a_real_file_are_those_of_a_slow_loop(shared: Path) -> None:
    with opened(shared / "cms/pfnano.root") as file:
        plan = make_plan(PFNANO, file, FEATURES)
        events = file.read(plan.columns)
    candidates, vertices = assert_links(events)
    assert (candidates, vertices) == (ak.count(events.FatJetPFCands.jetIdx), 44)
    assert ak.sum(events.FatJetSVs.sVIdx < 0) == 12


@pytest.mark.parametrize("seed", range(4))
def test_links_of_made_events_are_those_of_a_slow_loop(seed: int) -> None:
    candidates, vertices = assert_links(make_events(12, seed=seed, constituents=15))
    assert candidates > 100
    assert vertices > 10


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_any_choice_of_jets_gives_the_rows_of_these_jets(data: st.DataObject) -> None:
    events = make_events(6, seed=2, constituents=8)
    whole = jets_of(events)
    chosen = sorted(data.draw(st.sets(st.integers(0, len(whole) - 1)), label="jets"))
    part = jets_of(events, chosen)
    for object_, name in (
        ("pf", "pt"),
        ("pf", "dz"),
        ("sv", "eta"),
        ("cpf", "pt"),
        ("npf", "jet.phi"),
        ("jet", "pt"),
    ):
        expected = ak.unflatten(whole.column(object_, name), whole.counts(object_))[chosen]
        assert ak.unflatten(part.column(object_, name), part.counts(object_)).tolist() == expected.tolist()


def test_candidates_fall_in_pt_and_vertices_in_significance() -> None:
    events = make_events(20, seed=7)
    shuffled = ak.with_field(events, events.FatJetSVs[:, ::-1], "FatJetSVs")
    for jets in (jets_of(events), jets_of(shuffled)):
        for object_, name in (("pf", "pt"), ("sv", "dxysig"), ("cpf", "pt"), ("npf", "pt")):
            values = ak.unflatten(jets.column(object_, name), jets.counts(object_))
            assert ak.all(values[:, 1:] <= values[:, :-1])


def test_candidates_of_the_same_pt_stay_in_the_order_of_the_table() -> None:
    events = make_events(5, seed=1)
    for table in ("PFCands", "FatJetPFCands"):
        same = ak.with_field(events[table], ak.full_like(events[table].pt, 5), "pt")
        events = ak.with_field(events, same, table)
    jets = jets_of(events)
    for jet in range(len(jets)):
        rows = jets.rows("pf")
        assert np.all(np.diff(rows.table[rows.jet == jet]) > 0)


def test_a_significance_that_is_not_finite_counts_as_zero_in_the_order() -> None:
    columns = make_columns(10, seed=3)
    significance = ak.to_numpy(ak.flatten(columns["FatJetSVs_dxysig"])).copy()
    significance[::3] = np.nan
    significance[1::7] = np.inf
    columns["FatJetSVs_dxysig"] = ak.unflatten(significance, ak.num(columns["FatJetSVs_dxysig"]))
    jets = jets_of(nest(columns))
    values = jets.column("sv", "dxysig")
    key = ak.unflatten(np.where(np.isfinite(values), values, 0), jets.counts("sv"))
    assert ak.all(key[:, 1:] <= key[:, :-1])
    assert len(values) == len(significance)


def test_links_to_nothing_are_left_out_and_counted() -> None:
    columns = make_columns(8, seed=3)
    index = ak.to_numpy(ak.flatten(columns["FatJetPFCands_pFCandsIdx"])).copy()
    jet = ak.to_numpy(ak.flatten(columns["FatJetPFCands_jetIdx"])).copy()
    vertex = ak.to_numpy(ak.flatten(columns["FatJetSVs_sVIdx"])).copy()
    index[[2, 5]] = -1
    index[9] = 100_000
    jet[[20, 21]] = -1  # of no jet at all: nothing is lost for any jet
    jet[22] = 77  # of a jet that does not exist: counted, for no jet
    vertex[0] = 5_000
    for name, values in (
        ("FatJetPFCands_pFCandsIdx", index),
        ("FatJetPFCands_jetIdx", jet),
        ("FatJetSVs_sVIdx", vertex),
    ):
        columns[name] = ak.unflatten(values, ak.num(columns[name]))
    jets = jets_of(nest(columns), strict=False)
    assert jets.counts("pf").sum() == len(index) - 6
    assert jets.counts("sv").sum() == len(vertex) - 1
    assert jets.dropped == {"pf": 4, "sv": 1}
    assert {name: int(lost.sum()) for name, lost in jets.lost.items()} == {"pf": 3, "sv": 1}
    with pytest.raises(MismatchError, match=r"PFCands .* 1 links point beyond its end \(first: event 0 of this chunk"):
        jets_of(nest(columns))


def test_jets_of_other_events_do_not_take_part() -> None:
    # the same indices in two events: candidates belong to their own event
    events = make_events(2, seed=11, jets=3)
    both, one, two = jets_of(events), jets_of(events[:1]), jets_of(events[1:])
    assert both.column("pf", "pt").tolist() == [*one.column("pf", "pt"), *two.column("pf", "pt")]


# tracks that are missing


def cleaned(columns: dict[str, list[float]]) -> dict[str, list[float]]:
    n = len(columns["trkChi2"])
    base = make_columns(1, seed=5, jets=40)
    events = {
        name: column[:, :1] if name.startswith("FatJet_") else column[:, :0]
        for name, column in base.items()
        if "_" in name
    }
    for name in base:
        collection = name.partition("_")[0]
        if collection in ("PFCands", "FatJetPFCands"):
            events[name] = ak.Array([np.zeros(n, dtype=np.float32)])
    jet = {name: float(events[f"FatJet_{name}"][0, 0]) for name in ("eta", "phi")}
    events |= {f"PFCands_{name}": ak.Array([np.full(n, value, dtype=np.float32)]) for name, value in jet.items()}
    events["PFCands_pt"] = ak.Array([np.arange(n, 0, -1, dtype=np.float32)])
    events["FatJetPFCands_pt"] = events["PFCands_pt"]
    events["FatJet_pt"], events["FatJet_rawFactor"] = ak.Array([[np.float32(n * (n + 1) / 2)]]), ak.Array([[0.0]])
    events["FatJetPFCands_pFCandsIdx"] = ak.Array([np.arange(n, dtype=np.int32)])
    events["FatJetPFCands_jetIdx"] = ak.Array([np.zeros(n, dtype=np.int32)])
    for name, values in columns.items():
        place = name if "_" in name else f"PFCands_{name}"
        events[place] = ak.Array([np.asarray(values, dtype=np.float32)])
    jets = jets_of(nest(events))
    assert jets.counts("pf").tolist() == [n]
    return {name: jets.column("pf", name).tolist() for name in ("normchi2", "dz", "dzsig", "dxy", "dxysig")}


def test_missing_tracks_are_decided_per_candidate_never_by_one_value() -> None:
    got = cleaned(
        {
            #          no track, dz = -1 cm, significance 1, |d0| = error, real
            "trkChi2": [-1, 2, 0, 1, 3],
            "dz": [-1, -1, 0.5, 0.25, 2],
            "dzErr": [-1, 0.5, 0.5, 0.5, 4],
            "d0": [-1, -1, 3, 0.125, 1],
            "d0Err": [-1, 1, 2, 0.125, 4],
        }
    )
    assert got == {
        "normchi2": [999, 2, 0, 1, 3],
        "dz": [0, -1, 0.5, 0.25, 2],
        "dzsig": [0, -2, 1, 0.5, 0.5],
        "dxy": [0, -1, 3, 0.125, 1],
        "dxysig": [0, -1, 1.5, 1, 0.25],
    }


def test_an_error_of_zero_gives_no_warning_and_no_number() -> None:
    got = cleaned({"trkChi2": [1, 1], "dz": [1, 0], "dzErr": [0, 0], "d0": [1, 1], "d0Err": [1, 1]})
    assert got["dzsig"][0] == np.inf
    assert np.isnan(got["dzsig"][1])


def test_columns_that_the_producer_computed_are_preferred() -> None:
    link = {"Cdz": [0.5, 7], "Cdxy": [1.5, 8], "Cdzsig": [2.5, 9], "Cdxysig": [3.5, 10]}
    columns = {"trkChi2": [-1, 1], "dz": [-1, 1], "dzErr": [-1, 1], "d0": [-1, 1], "d0Err": [-1, 1]}
    got = cleaned(columns | {f"FatJetPFCands_{name}": values for name, values in link.items()})
    assert got["dz"] == link["Cdz"]
    assert got["dxy"] == link["Cdxy"]
    assert got["dzsig"] == link["Cdzsig"]
    assert got["dxysig"] == link["Cdxysig"]
    assert got["normchi2"] == [999, 1]


def test_other_names_for_the_impact_parameters() -> None:
    events = make_events(6, seed=5)
    renamed = events.PFCands
    names = {"dz": "dzFromPV", "dzErr": "dzErrFromPV", "d0": "dxyFromPV", "d0Err": "dxyErrFromPV"}
    for old, new in names.items():
        renamed = ak.without_field(ak.with_field(renamed, renamed[old], new), old)
    one, other = jets_of(events), jets_of(ak.with_field(events, renamed, "PFCands"))
    for name in ("dz", "dzsig", "dxy", "dxysig"):
        np.testing.assert_array_equal(one.column("pf", name), other.column("pf", name))
    assert "PFCands.dzErrFromPV" in other.plan.columns
    assert "PFCands.dzErr" not in other.plan.columns


def test_all_made_candidates_without_track_are_found() -> None:
    events = make_events(10, seed=5)
    jets = jets_of(events)
    trackless = jets.column("pf", "normchi2") == 999
    assert trackless.sum() == ak.sum(events.PFCands.trkChi2 == -1) > 0
    for name in ("dz", "dzsig", "dxy", "dxysig", "btagSip3dSig"):
        assert not jets.column("pf", name)[trackless].any()


# vertices that the table lacks


def ten_bits(values: Any) -> Any:
    """What is left of a number in a 10-bit mantissa, as files store it."""
    bits = np.asarray(values, dtype=np.float32).view(np.uint32)
    shift = 23 - 10
    return ((bits + (1 << (shift - 1))) & ~np.uint32((1 << shift) - 1)).view(np.float32)


def toy_vertices(n: int, rounding: Any, seed: int = 1) -> tuple[Any, Any, Any]:
    """Rebuilt and true pseudorapidity, and the distance from the axis."""
    rng = np.random.default_rng(seed)
    jet_pt, jet_mass = rng.uniform(200, 1000, n), rng.uniform(10, 200, n)
    jet_eta, jet_phi = rng.uniform(-2.4, 2.4, n), rng.uniform(-np.pi, np.pi, n)
    radius, angle = 0.8 * np.sqrt(rng.uniform(0, 1, n)), rng.uniform(0, 2 * np.pi, n)
    pt, mass = rng.exponential(30, n) + 2, rng.exponential(2, n) + 0.3
    eta, phirel = jet_eta + radius * np.cos(angle), radius * np.sin(angle)
    ratio = energy(pt, eta, mass) / energy(jet_pt, jet_eta, jet_mass)
    stored = (pt, mass, ratio, np.minimum(radius - 0.5, 0), phirel, jet_pt, jet_eta, jet_phi, jet_mass)
    return vertex_eta(*(rounding(column) for column in stored), np.full(n, np.nan)), eta, radius


def test_without_rounding_the_direction_comes_back() -> None:
    rebuilt, eta, radius = toy_vertices(20_000, lambda column: column)
    off = np.abs(rebuilt - eta)
    assert np.median(off) < 1e-6
    assert np.mean(off[radius < 0.5] < 1e-4) > 0.999


def test_with_the_rounding_of_files_the_direction_is_known_to_a_few_1e_4() -> None:
    rebuilt, eta, radius = toy_vertices(50_000, ten_bits)
    off = np.abs(rebuilt - eta)
    assert np.all(np.isfinite(rebuilt))
    assert np.median(off) < 5e-4
    near = radius < 0.499
    assert np.median(off[near]) < 3e-4
    assert np.mean(off[near] < 0.05) > 0.999
    # further out the energy alone remains: it cannot tell the two sides of a jet in the middle of the detector
    assert np.median(off[~near]) < 6e-4
    assert np.mean(off[~near] < 0.05) > 0.95


def test_known_directions_are_left_as_they_are() -> None:
    one = np.ones(3, dtype=np.float32)
    known = np.array([0.25, np.nan, -1.5], dtype=np.float32)
    got = vertex_eta(one, one, one * 0.01, -0.3 * one, 0.1 * one, 300 * one, one, one, 80 * one, known)
    assert got[[0, 2]].tolist() == [0.25, -1.5]
    assert np.isfinite(got[1])


@pytest.mark.data
def test_known_vertices_of_a_real_file_are_rebuilt(shared: Path) -> None:
    with opened(shared / "cms/pfnano.root") as file:
        events = file.read(make_plan(PFNANO, file, FEATURES).columns)
    known = jets_of(events)
    blind = jets_of(ak.with_field(events, ak.with_field(events.FatJetSVs, -1, "sVIdx"), "FatJetSVs"))
    stored = known.rows("sv").target >= 0
    assert stored.sum() == 32
    for name, limit in (("eta", 2e-3), ("phi", 2e-3)):
        off = (known.column("sv", name) - blind.column("sv", name))[stored]
        off = np.abs(delta_phi(off, 0)) if name == "phi" else np.abs(off)
        assert np.median(off) < limit
        assert np.mean(off < 0.05) > 0.9, off
    # those that nobody knows lie within their jets
    eta, phi = (known.column("sv", name)[~stored] for name in ("eta", "phi"))
    d_eta = eta - known.column("sv", "jet.eta")[~stored]
    d_phi = delta_phi(phi, known.column("sv", "jet.phi")[~stored])
    assert np.all(np.hypot(d_eta, d_phi) < 0.85)


def test_made_vertices_without_table_entry_lie_where_they_were_made() -> None:
    events = make_events(60, seed=9)
    known = jets_of(events)
    blind = jets_of(ak.with_field(events, ak.with_field(events.FatJetSVs, -1, "sVIdx"), "FatJetSVs"))
    stored = known.rows("sv").target >= 0
    assert 0.5 < stored.mean() < 0.9
    off = np.abs(known.column("sv", "eta") - blind.column("sv", "eta"))[stored]
    assert np.median(off) < 1e-3
    assert np.mean(off < 0.05) > 0.95


# formats


@pytest.mark.parametrize(
    ("collections", "name"),
    [
        (["FatJet", "PFCands", "FatJetPFCands", "SV", "FatJetSVs", "Jet"], "pfnano"),
        (["FatJet", "PFCand", "FatJetPFCand"], "nanoaod-v15"),
        (["FatJet", "Jet"], "nanoaod"),
        (["ScoutingFatJet"], "scouting"),
    ],
)
def test_formats_are_told_by_their_collections(collections: list[str], name: str) -> None:
    assert detect(collections).name == name


def test_an_unknown_format_is_refused_with_what_is_there_and_what_was_expected() -> None:
    with pytest.raises(InputFileError, match=r"Electron, Muon.*pfnano: FatJet, FatJetPFCands, PFCands"):
        detect(["Muon", "Electron"])
    with pytest.raises(InputFileError, match="none"):
        detect([])


def test_the_plan_lists_all_that_is_missing_and_reads_nothing_for_it() -> None:
    class Offer:
        collections = ("FatJet", "PFCands", "FatJetPFCands")

        def has(self, column: str) -> bool:
            return column in {
                "FatJet.eta",
                "FatJet.phi",
                "FatJetPFCands.jetIdx",
                "PFCands.eta",
                "PFCands.phi",
            }

    plan = make_plan(PFNANO, Offer(), lookup(["pfcand_etarel", "pfcand_dzsig", "sv_mass", "jet_pt_log"]))
    missing = {(need.object, need.column): need for need in plan.missing}
    assert set(missing) == {
        ("pf", "link to the jets"),
        ("sv", "link to the jets"),
        ("pf", "dzsig"),
        ("sv", "mass"),
        ("jet", "pt"),
    }
    assert missing["pf", "link to the jets"].stored == ("FatJetPFCands.pFCandsIdx", "PFCands.pt")
    assert missing["pf", "dzsig"].features == ("pfcand_dzsig",)
    assert "PFCands.dz and PFCands.dzErr" in str(missing["pf", "dzsig"])
    assert "FatJetPFCands.Cdzsig or " in str(missing["pf", "dzsig"])


# flat columns from any layout

LAYOUTS = {
    "plain": lambda array: array,
    "sliced": lambda array: array[2:7],
    "indexed": lambda array: array[[3, 3, 0]],
    "masked": lambda array: ak.mask(array, np.arange(len(array)) % 2 == 0),
    "byte masked": lambda array: ak.Array(
        ak.contents.ByteMaskedArray(
            ak.index.Index8((np.arange(len(array)) % 3 == 0).astype(np.int8)),
            ak.to_layout(array),
            valid_when=True,
        )
    ),
    "unmasked": lambda array: ak.Array(ak.contents.UnmaskedArray(ak.to_layout(array))),
    "regular": lambda array: ak.to_regular(array[ak.num(array.FatJet.pt) == 2], axis=0),
    "empty": lambda array: array[:0],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_columns_of_any_layout(layout: str) -> None:
    events = LAYOUTS[layout](make_events(10, seed=1))
    columns = EventColumns(events)
    plain = events.tolist()
    assert len(columns) == len(plain)
    assert columns.valid.tolist() == [event is not None for event in plain]
    for collection, field in (("FatJet", "pt"), ("PFCands", "charge"), ("SV", "eta")):
        lists = [[] if event is None else event[collection] for event in plain]
        assert columns.counts(collection).tolist() == [len(items) for items in lists]
        assert columns.offsets(collection).tolist() == [0, *np.cumsum([len(items) for items in lists])]
        assert columns.flat(f"{collection}.{field}").tolist() == [item[field] for items in lists for item in items]
        assert columns.present(collection).all()
        assert len(columns.present(collection)) == columns.counts(collection).sum()


def test_objects_that_are_none_are_nan_or_zero_and_not_present() -> None:
    jets = ak.Array([[{"pt": 1.5, "n": 3}, None], [], [None, {"pt": 2.5, "n": 4}]])
    columns = EventColumns(ak.zip({"FatJet": jets}, depth_limit=1))
    assert columns.present("FatJet").tolist() == [True, False, False, True]
    np.testing.assert_array_equal(columns.flat("FatJet.pt"), [1.5, np.nan, np.nan, 2.5])
    assert columns.flat("FatJet.n").tolist() == [3, 0, 0, 4]
    assert columns.counts("FatJet").tolist() == [2, 0, 2]


def test_a_list_that_is_none_has_no_objects() -> None:
    events = make_events(6, seed=1)
    keep = np.array([True, False, True, True, False, True])
    columns = EventColumns(ak.with_field(events, ak.mask(events.FatJet, keep), "FatJet"))
    assert columns.counts("FatJet").tolist() == np.where(keep, ak.num(events.FatJet.pt), 0).tolist()
    assert columns.flat("FatJet.pt").tolist() == ak.flatten(events.FatJet.pt[keep]).tolist()


def test_what_is_not_there_is_named() -> None:
    columns = EventColumns(make_events(2, seed=1))
    assert columns.has("FatJet.pt")
    assert not columns.has("FatJet.p")
    assert not columns.has("Muon.pt")
    with pytest.raises(UnknownName, match=r"FatJet.mas.*FatJet.mass"):
        columns.flat("FatJet.mas")
    with pytest.raises(UnknownName, match=r"Muon.pt"):
        columns.flat("Muon.pt")
    assert columns.missing(["FatJet.pt", "SV.q", "Muon.pt"]) == ["SV.q", "Muon.pt"]


def test_a_collection_that_is_no_list_is_refused() -> None:
    with pytest.raises(MismatchError, match="FatJet is not a list of objects"):
        EventColumns(ak.Array([{"FatJet": {"pt": 1.0}}])).counts("FatJet")


def test_flat_columns_become_collections() -> None:
    events = nest({"run": np.array([1, 1]), "FatJet_pt": ak.Array([[1.0], []]), "FatJet_n_b": ak.Array([[2], []])})
    assert events.tolist() == [{"run": 1, "FatJet": [{"pt": 1.0, "n_b": 2}]}, {"run": 1, "FatJet": []}]
    sliced = nest({"FatJet_pt": ak.Array([[9.0], [1.0, 2.0], []])[1:], "MET_pt": np.array([5.0, 6.0])})
    assert sliced.tolist() == [
        {"FatJet": [{"pt": 1.0}, {"pt": 2.0}], "MET_pt": 5.0},
        {"FatJet": [], "MET_pt": 6.0},
    ]


@pytest.mark.parametrize("places", [None, [0, 1, 2, 3, 4], [1, 2, 3], [3], [], [0, 2, 4]], ids=str)
def test_plain_lists_give_what_any_layout_gives(places: list[int] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are read without awkward's operations, which take longer than all else in small chunks."""
    lists = ak.Array([[{"pt": 9.0, "n": 1}], [], [{"pt": 7.0, "n": 2}, {"pt": 5.0, "n": 3}], [], [{"pt": 4.0, "n": 4}]])
    # the list of a larger array, whose first object is not that of the buffer
    plain = ak.zip({"Jet": ak.to_packed(ak.concatenate([lists[2:3], lists]))[1:]}, depth_limit=1)
    other = ak.Array(ak.contents.IndexedArray(ak.index.Index64(np.arange(len(plain))), plain.layout))

    def read(events: ak.Array) -> list[Any]:
        columns = EventColumns(events)
        part = columns if places is None else columns.part(np.array(places, dtype=np.int64))
        values = [part.flat("Jet.pt"), part.flat("Jet.n"), part.counts("Jet"), part.present("Jet")]
        return [(found.dtype.str, found.tolist()) for found in values]

    expected = read(other)
    if places not in ([], [0, 2, 4]):
        for name in ("flatten", "num", "fill_none", "to_numpy"):
            monkeypatch.setattr(ak, name, lambda *_, name=name, **__: pytest.fail(f"calls {name}"))
    assert read(plain) == expected
