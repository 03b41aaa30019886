"""Fat jets of PFNano events as a flat table: what is in it, which jets a range of rows means."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest

from jettagger import jetclass2
from jettagger.errors import MissingColumns
from jettagger.inputs.pfnano_tables import is_event_file, nano_table, read_jets
from jettagger.testing import make_events, write_pfnano


def slowly(events: Any) -> list[dict[str, Any]]:
    """The constituents of all jets with loops, falling in stored momentum."""
    found = []
    for event in events:
        for number, jet in enumerate(event.FatJet):
            rows = [event.PFCands[int(link.pFCandsIdx)] for link in event.FatJetPFCands if int(link.jetIdx) == number]
            rows.sort(key=lambda row: -row.pt)
            sign = 1 if jet.eta > 0 else -1
            found.append(
                {
                    "jet_pt": jet.pt,
                    "jet_sdmass": jet.msoftdrop,
                    "jet_nparticles": len(rows),
                    "part_px": [row.pt * row.puppiWeight * math.cos(row.phi) for row in rows],
                    "part_deta": [sign * (row.eta - jet.eta) for row in rows],
                    "part_dphi": [math.remainder(row.phi - jet.phi, 2 * math.pi) for row in rows],
                    "part_d0val": [0 if row.trkChi2 == -1 else 10 * row.d0 for row in rows],
                    "part_isMuon": [abs(row.pdgId) == 13 for row in rows],
                }
            )
    return found


def test_the_table_is_that_of_a_slow_loop() -> None:
    events = make_events(4, seed=3, constituents=8)
    table = nano_table(events)
    expected = slowly(events)
    assert len(table) == len(expected) > 4
    for row, jet in zip(table, expected, strict=True):
        for name, values in jet.items():
            # the order of candidates of equal momentum is that of the file
            assert ak.to_list(row[name]) == pytest.approx(values, rel=1e-4, abs=1e-4), name
    assert all(name in jetclass2.COLUMNS for name in table.fields)
    assert not [name for name in table.fields if name.startswith("aux_")]


def test_heavy_particles_near_a_jet_and_their_products_are_taken() -> None:
    events = make_events(3, seed=5)
    last, first = 1 << 13, 1 << 12
    particles = [
        (25, first, -1, 0.0),  # not the last copy
        (25, last, 0, 0.0),
        (5, first, 1, 0.2),
        (-5, first, 1, 3.0),  # too far away
        (21, last, -1, 0.0),  # not of a resonance
    ]
    generator = []
    for event in events:
        axis = event.FatJet[0] if len(event.FatJet) else {"eta": 0.0, "phi": 0.0}
        generator.append(
            [
                {"pt": 300.0, "eta": axis["eta"] + shift, "phi": axis["phi"], "mass": 1.0, "pdgId": code,
                 "statusFlags": flags, "genPartIdxMother": mother}
                for code, flags, mother, shift in particles
            ]
        )  # fmt: skip
    counts = ak.to_numpy(ak.num(events.FatJet.pt, axis=1))
    table = nano_table(ak.with_field(events, ak.Array(generator), "GenPart"))
    first_jets = (np.cumsum(counts) - counts)[counts > 0]
    for jet in first_jets:
        assert table.aux_genpart_pid[jet].tolist() == [25, 5]
        assert table.aux_genpart_eta[jet].tolist() == pytest.approx([table.jet_eta[jet], table.jet_eta[jet] + 0.2])


def test_jets_without_candidates_cannot_be_drawn(tmp_path: Path) -> None:
    events = make_events(3, seed=1)
    with pytest.raises(MissingColumns, match=r"no constituents to draw: use PFNano, .*\n\d+ missing columns:\n.*pf"):
        nano_table(events[["FatJet"]])


def test_a_range_of_jets_is_read_from_its_events(tmp_path: Path) -> None:
    path = tmp_path / "events.root"
    write_pfnano(path, 8, seed=4)
    assert is_event_file(path)
    assert not is_event_file(tmp_path / "jets.parquet")
    (tmp_path / "bad.root").write_bytes(b"root")
    assert not is_event_file(tmp_path / "bad.root")
    whole, chosen, total = read_jets(path, 0, 1000)
    table = nano_table(whole)[chosen]
    assert len(table) == total == ak.sum(ak.num(whole.FatJet.pt, axis=1))
    for start, stop in ((0, 1), (2, 5), (total - 1, total), (total, total + 1)):
        events, chosen, _ = read_jets(path, start, stop)
        part = nano_table(events)[chosen] if start < total else table[:0]
        assert part.jet_pt.tolist() == table.jet_pt[start:stop].tolist()
        assert part.part_px.tolist() == table.part_px[start:stop].tolist()
        assert len(events) <= len(whole)
