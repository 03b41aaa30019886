"""Columns of jets that need more than their own rows, against plain loops over events."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace
from typing import Any

import awkward as ak
import numpy as np
import pytest

from jettagger.features import lookup
from jettagger.formats import EventColumns, Jets, load, make_plan
from jettagger.formats.base import Format
from jettagger.formats.pfnano import PFNANO, PFNANO_AK4, pfnano
from jettagger.formats.vertices import vertex_eta
from jettagger.testing import make_events

NUMBERS = ("jet_nCpfcand", "jet_nNpfcand", "jet_nsv", "jet_npv", "pfcand_btagSip2dSig", "pfcand_drminsv")
SUBJETS = ("pfcand_drsubjet1", "pfcand_drsubjet2")
RADIUS = {"FatJet": 0.8, "Jet": 0.4}


def world(seed: int = 6) -> Any:
    """Events with subjets and a number of primary vertices; some jets have one subjet, or none."""
    events = make_events(60, seed=seed, constituents=12, ak4=True)
    rng = np.random.default_rng(seed)
    counts = ak.to_numpy(ak.num(events.FatJet.pt))
    subjets = {"pt": rng.uniform(10, 200, 2 * counts.sum()), "eta": rng.uniform(-2, 2, 2 * counts.sum())}
    subjets["phi"] = rng.uniform(-np.pi, np.pi, 2 * counts.sum())
    table = ak.unflatten(ak.zip({name: np.float32(values) for name, values in subjets.items()}), 2 * counts)
    jets, rank = events.FatJet, ak.local_index(events.FatJet.pt)
    for number in (1, 2):
        lost = ak.unflatten(rng.random(counts.sum()) < 0.2 * number, counts)
        jets = ak.with_field(jets, ak.where(lost, -1, 2 * rank + number - 1), f"subJetIdx{number}")
    vertices = ak.zip({"npvs": rng.integers(1, 60, len(events)).astype(np.int32)})
    fields = {name: events[name] for name in events.fields}
    return ak.zip({**fields, "FatJet": jets, "SubJet": table, "PV": vertices}, depth_limit=1)


def without_indices(events: Any) -> Any:
    """As productions store them whose vertices have no index."""
    tables = {
        name: events[name][[field for field in events[name].fields if field != "sVIdx"]]
        for name in ("FatJetSVs", "JetSVs")
    }
    return ak.zip({**{name: events[name] for name in events.fields}, **tables}, depth_limit=1)


def linked(events: Any, format_: Format, every: int = 1) -> Jets:
    columns = EventColumns(events)
    plan = make_plan(format_, columns, lookup([*NUMBERS, *(SUBJETS if format_.jets == "FatJet" else ())]))
    assert not plan.missing
    return load(columns, plan, np.arange(0, columns.counts(format_.jets).sum(), every), strict=False)


def rows_of(events: Any) -> Any:
    """Events as plain objects: loops over awkward arrays take seconds."""
    return json.loads(json.dumps(ak.to_list(events)), object_hook=lambda fields: SimpleNamespace(**fields))


def distance(eta: float, phi: float, other_eta: float, other_phi: float) -> float:
    return math.hypot(eta - other_eta, math.remainder(phi - other_phi, 2 * math.pi))


def slow_vertices(event: Any, first: str, indices: bool) -> list[tuple[float, float]]:
    """Direction of all vertices of an event: those of the table, and others as the first table has them."""
    found = [(vertex.eta, vertex.phi) for vertex in event.SV]
    seen = set()
    for owner in sorted(RADIUS, key=lambda name: name != first):
        for row in getattr(event, f"{owner}SVs"):
            key = (row.mass, row.pt, row.dxy, row.d3d)
            if (indices and row.sVIdx != -1) or key in seen:
                continue
            seen.add(key)
            jet = getattr(event, owner)[row.jetIdx]
            numbers = (row.pt, row.mass, row.enration, row.deltaR, row.phirel, jet.pt, jet.eta, jet.phi, jet.mass)
            arrays = (np.array([number], dtype=np.float32) for number in (*numbers, np.nan))
            found.append((float(vertex_eta(*arrays, radius=RADIUS[owner])[0]), jet.phi + row.phirel))
    return found


def slow_error(event: Any) -> float:
    """Median of what errors in space have beyond those of the tracks, of all tracks that lie in the plane."""
    values = []
    for table in ("FatJetPFCands", "JetPFCands"):
        for row in getattr(event, table):
            track = event.PFCands[row.pFCandsIdx]
            in_plane = abs(track.d0) > 3 * abs(track.dz) / math.cosh(track.eta)
            if track.trkChi2 != -1 and in_plane and row.btagSip3dSig != 0:
                values.append(math.sqrt(max((row.btagSip3dVal / row.btagSip3dSig) ** 2 - track.d0Err**2, 0)))
    return float(np.median(values)) if values else 0.0


def slow_subjet(event: Any, jet: Any, rank: int) -> tuple[float, float]:
    known = [event.SubJet[index] for index in (jet.subJetIdx1, jet.subJetIdx2) if index >= 0]
    known.sort(key=lambda subjet: -subjet.pt)
    return (known[rank].eta, known[rank].phi) if rank < len(known) else (math.nan, math.nan)


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("indices", [True, False], ids=["indices", "no-indices"])
@pytest.mark.parametrize("format_", [PFNANO, PFNANO_AK4], ids=lambda item: item.jets)
def test_columns_are_those_of_a_slow_loop(format_: Format, indices: bool, every: int) -> None:
    events = world()
    if not indices:
        events = without_indices(events)
        absent = dict.fromkeys(("FatJetSVs.sVIdx", "JetSVs.sVIdx"))
        format_ = pfnano(absent, kind=format_.kind)
    name = format_.jets
    jets = linked(events, format_, every)
    expected: dict[str, list[float]] = {column: [] for column in ("charged", "neutral", "vertices", "npvs", "error")}
    subjets: list[tuple[float, float]] = []
    nearest = []
    number = 0
    for event in rows_of(events):
        error, vertices = slow_error(event), slow_vertices(event, name, indices)
        for place, jet in enumerate(getattr(event, name)):
            number += 1
            if (number - 1) % every:
                continue
            rows = [row for row in getattr(event, f"{name}PFCands") if row.jetIdx == place]
            parts = sorted((event.PFCands[row.pFCandsIdx] for row in rows), key=lambda part: -part.pt)
            counted = [part.charge != 0 for part in parts if part.pt >= 0.95]
            expected["charged"].append(counted.count(True))
            expected["neutral"].append(counted.count(False))
            expected["vertices"].append(sum(row.jetIdx == place for row in getattr(event, f"{name}SVs")))
            expected["npvs"].append(event.PV.npvs)
            expected["error"].append(error)
            distances = [[distance(part.eta, part.phi, *vertex) for vertex in vertices] for part in parts]
            nearest += [min(row, default=math.inf) for row in distances]
            if name == "FatJet":
                subjets += [slow_subjet(event, jet, rank) for rank in (0, 1)]
    columns = ("n_charged", "n_neutral", "n_vertices", "n_primary_vertices", "vertex_error")
    for column, values in zip(columns, expected.values(), strict=True):
        np.testing.assert_allclose(jets.column("jet", column), values, rtol=1e-5, err_msg=column)
        assert len(set(values)) > 1
    np.testing.assert_allclose(jets.column("pf", "drminsv"), nearest, rtol=1e-4, atol=2e-5)
    assert np.isinf(nearest).any() or every > 1
    if name == "FatJet":
        made = [[jets.column("jet", f"subjet{rank}_{field}") for field in ("eta", "phi")] for rank in (1, 2)]
        np.testing.assert_array_equal(np.array(made).transpose(2, 0, 1).reshape(-1, 2), np.float32(subjets))
        assert 0 < np.isnan(subjets).mean() < 0.5


def test_a_number_of_the_event_may_be_a_plain_column_and_none() -> None:
    events = world()[:6]
    numbers = events.PV.npvs
    expected = ak.to_numpy(ak.flatten(ak.broadcast_arrays(numbers, events.FatJet.pt)[0])).tolist()
    plain = ak.zip(
        {**{name: events[name] for name in events.fields if name != "PV"}, "PV_npvs": numbers}, depth_limit=1
    )
    assert linked(plain, PFNANO).column("jet", "n_primary_vertices").tolist() == expected
    holes = ak.with_field(plain, ak.mask(numbers, numbers != numbers[3]), "PV_npvs")
    found = linked(holes, PFNANO).column("jet", "n_primary_vertices")
    assert np.isnan(found).tolist() == [value == numbers[3] for value in expected]
    assert 0 < np.isnan(found).sum() < len(found)


def test_events_without_any_objects_have_no_distances() -> None:
    events = make_events(3, seed=1, jets=0, ak4=True)
    events = ak.with_field(events, ak.zip({"npvs": np.array([1, 2, 3], dtype=np.int32)}), "PV")
    jets = linked(events, PFNANO_AK4)
    assert len(jets) == len(jets.column("pf", "drminsv")) == len(jets.column("jet", "vertex_error")) == 0
