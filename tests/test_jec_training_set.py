"""Training sets: inputs as a tagger has them, generator jets, counts, down-sampling, complete or absent files."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jec_events import jec_columns, jec_events

from jettagger.errors import InvalidValues, MismatchError, MissingColumns, OutputError, UnknownName
from jettagger.files.root import write_tree
from jettagger.jec import (
    JetSpectrum,
    Sampling,
    ShardMaker,
    acceptance_of,
    flavour_of,
    make_training_set,
    open_data,
    read_shard,
)
from jettagger.provenance import read_provenance
from jettagger.truth import hard_parton_flavour, matched_generator_jets


@pytest.fixture(scope="module")
def events() -> Any:
    return jec_events(60, seed=3)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("events") / "events.root"
    write_tree(path, [jec_columns(60, seed=3)])
    return path


def slow_match(jets: Any, gens: Any, cone: float) -> list[int]:
    """Pairs of one event, nearest first."""
    pairs = sorted(
        (math.hypot(jet[0] - gen[0], math.remainder(jet[1] - gen[1], 2 * math.pi)), i, j)
        for i, jet in enumerate(jets)
        for j, gen in enumerate(gens)
    )
    partner: dict[int, int] = {}
    for distance, i, j in pairs:
        if distance < cone and i not in partner and j not in partner.values():
            partner[i] = j
    return [partner.get(i, -1) for i in range(len(jets))]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_nearest_pairs_are_matched_first(data: st.DataObject) -> None:
    numbers = [data.draw(st.lists(st.tuples(*[st.floats(-1, 1)] * 2), max_size=6)) for _ in range(4)]
    jets, gens = numbers[:2], numbers[2:]
    arrays = [np.array([pair for event in side for pair in event]).reshape(-1, 2) for side in (jets, gens)]
    owners = [np.repeat(np.arange(2), [len(event) for event in side]) for side in (jets, gens)]
    found = matched_generator_jets(owners[0], *arrays[0].T, owners[1], *arrays[1].T, 2, 0.5)
    first = np.array([0, len(gens[0])])
    expected: list[int] = []
    for number in range(2):
        partners = slow_match(jets[number], gens[number], 0.5)
        expected += [-1 if j < 0 else int(first[number]) + j for j in partners]
    assert found.tolist() == expected


def test_the_hardest_parton_gives_the_flavour() -> None:
    particles = {
        "pt": np.array([50.0, 80.0, 90.0, 500.0]),
        "eta": np.array([0.1, 0.0, 0.1, 3.0]),
        "phi": np.zeros(4),
        "pdgId": np.array([21, -5, 6, 1]),
        "status": np.array([23, 23, 23, 23]),
    }
    zero = np.zeros(2, dtype=np.int64)
    found = hard_parton_flavour(zero, np.array([0.0, 1.5]), np.zeros(2), np.zeros(4, int), particles, 1, 0.4)
    assert found.tolist() == [-5, 0]


@pytest.mark.parametrize("kind", ["AK4", "AK8"])
def test_jets_of_events(events: Any, kind: Any) -> None:
    jets, counts = ShardMaker(kind=kind).made(events)
    own, gen = events["Jet" if kind == "AK4" else "FatJet"], events["GenJet" if kind == "AK4" else "GenJetAK8"]
    assert counts.jets == ak.sum(ak.num(own.pt)) == counts.pileup + counts.partial + counts.written
    assert counts.written == len(jets) > 50
    assert 0 < counts.pileup < 0.3 * counts.jets
    pairs = [
        [list(zip(e, p, strict=True)) for e, p in zip(x.eta.tolist(), x.phi.tolist(), strict=True)] for x in (own, gen)
    ]
    partner = [slow_match(a, b, 0.2 if kind == "AK4" else 0.4) for a, b in zip(*pairs, strict=True)]
    matched = ak.Array(partner) >= 0
    flat = ak.flatten(own[matched])
    assert np.array_equal(jets.columns["pt"], np.asarray(flat.pt * (1 - flat.rawFactor)))
    assert np.array_equal(jets.columns["pt_full_corr"], np.asarray(flat.pt))
    assert np.array_equal(jets.columns["area"], np.asarray(flat.area))
    gen_pt = [b[j] for b, row in zip(gen.pt.tolist(), partner, strict=True) for j in row if j >= 0]
    assert np.array_equal(jets.columns["pt_gen"], np.array(gen_pt, "f4"))
    event = np.asarray(ak.flatten(ak.broadcast_arrays(events.event, own.pt)[0][matched]))
    assert np.array_equal(jets.columns["event"], event)
    rho = dict(zip(events.event.tolist(), events.fixedGridRhoFastjetAll.tolist(), strict=True))
    assert jets.columns["rho"].tolist() == [rho[number] for number in event.tolist()]
    # the constituents carry the momentum of their jets
    row = np.repeat(np.arange(len(jets)), jets.counts["ch"])
    charged = np.bincount(row, jets.columns["ch_pt"], minlength=len(jets))
    row = np.repeat(np.arange(len(jets)), jets.counts["ne"])
    total = charged + np.bincount(row, jets.columns["ne_pt"], minlength=len(jets))
    filled = total > 0
    assert np.all(total[filled] / jets.columns["pt"][filled] > 0.8)
    assert jets.columns["ch_id"].dtype == jets.columns["hadron_flavor"].dtype == np.int32


def test_branches_that_pfnano_lacks_are_named(events: Any) -> None:
    with pytest.raises(
        MissingColumns, match=r"leave out the branches ch_num_hits, ne_hcal_frac(?s:.*)3 missing"
    ) as told:
        ShardMaker(branches=("pt", "ch_num_hits", "ne_hcal_frac")).made(
            events[[n for n in events.fields if n != "event"]]
        )
    assert "cpf.num_hits" in str(told.value)
    assert "event, the event number" in str(told.value)
    with pytest.raises(UnknownName, match=r"'ch_ppt'.*nearest"):
        ShardMaker(branches=("ch_ppt",))
    without = events[[name for name in events.fields if name != "GenJet"]]
    with pytest.raises(MissingColumns, match=r"GenJet\.pt, the generator jet"):
        ShardMaker().made(without)


def test_values_that_are_not_finite_are_replaced_and_counted(events: Any) -> None:
    area = ak.where(events.Jet.area > 0.5, np.nan, events.Jet.area)
    jets, counts = ShardMaker().made(ak.with_field(events, ak.with_field(events.Jet, area, "area"), "Jet"))
    assert counts.replaced_values == np.count_nonzero(jets.columns["area"] == 0) > 0


def test_cuts_and_chunks(events: Any) -> None:
    whole, counts = ShardMaker(where="pt > 60").made(events)
    assert counts.not_selected == ak.sum(events.Jet.pt <= 60)
    parts = [ShardMaker(where="pt > 60").made(events[start : start + 17])[0] for start in range(0, 60, 17)]
    for name, values in whole.columns.items():
        assert np.array_equal(np.concatenate([part.columns[name] for part in parts]), values), name


def drawn(seed: int, jets: int = 40_000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    pt = 20 * rng.pareto(2.0, jets) + 20
    return (
        pt,
        rng.uniform(-5, 5, jets),
        rng.choice([1, 2, 3, 4, 5, 21, 0], jets, p=[0.2, 0.1, 0.1, 0.05, 0.05, 0.45, 0.05]),
    )


def test_the_spectrum_gets_its_shape_and_weights_undo_it() -> None:
    sampling = Sampling(keep=0.05, flat_below=60, power=1, pt_edges=[20, 30, 45, 60, 90, 135], abseta_edges=[0, 2.5, 5])
    pt, eta, flavour = drawn(1)
    acceptance = acceptance_of(JetSpectrum.of(sampling, pt, eta, flavour))
    probability = acceptance.of(pt, eta, flavour)
    assert probability.sum() == pytest.approx(0.05 * len(pt), rel=0.01)
    kept = acceptance.keeps(probability, np.arange(len(pt)), np.zeros(len(pt), int))
    assert np.array_equal(
        kept[1::7], acceptance.keeps(probability[1::7], np.arange(len(pt))[1::7], np.zeros(len(pt[1::7]), int))
    )
    low = [np.count_nonzero(kept & (pt > a) & (pt < b)) for a, b in ((20, 30), (30, 45))]
    assert low[0] == pytest.approx(low[1], rel=0.2)
    falling = [np.count_nonzero(kept & (pt > a) & (pt < b)) for a, b in ((60, 90), (90, 135))]
    assert falling[1] / falling[0] == pytest.approx(1 / 1.5, rel=0.2)
    numbers = {name: np.count_nonzero(kept & (flavour == number)) for name, number in (("b", 5), ("c", 4), ("g", 21))}
    assert numbers["b"] == pytest.approx(numbers["c"], rel=0.2)
    assert numbers["b"] == pytest.approx(numbers["g"], rel=0.2)
    other = np.count_nonzero(kept & (flavour == 0)) / np.count_nonzero(kept)
    assert other == pytest.approx(0.05, abs=0.01), "jets of unknown flavour keep their share"
    for edges in ((20, 30), (60, 90), (200, 2000)):
        inside = (pt > edges[0]) & (pt < edges[1])
        weights = 1 / probability[kept & inside]
        error = np.sqrt(np.sum(weights**2 * (1 - 1 / weights)))
        assert abs(weights.sum() - np.count_nonzero(inside)) < 4 * error + 1e-9


def test_a_spectrum_that_rises() -> None:
    sampling = Sampling(
        keep=0.05, flat_below=60, rise=1, pt_edges=[20, 30, 45, 60, 90], abseta_edges=[0, 5], shares=None
    )
    pt, eta, flavour = drawn(2)
    probability = acceptance_of(JetSpectrum.of(sampling, pt, eta, flavour)).of(pt, eta, flavour)
    kept = [probability[(pt > low) & (pt < high)].sum() / (high - low) for low, high in ((20, 30), (30, 45), (45, 60))]
    # flat in pt: the same number of jets in a GeV
    np.testing.assert_allclose(kept, kept[0], rtol=0.03)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 100), st.floats(0.001, 1), st.booleans())
def test_probabilities_are_probabilities(seed: int, keep: float, shares: bool) -> None:
    pt, eta, flavour = drawn(seed, 300)
    sampling = Sampling(keep=keep, shares={"b": 1, "g": 2} if shares else None)
    acceptance = acceptance_of(JetSpectrum.of(sampling, pt, eta, flavour))
    probability = acceptance.of(pt, eta, flavour)
    assert np.all((probability >= 0) & (probability <= 1))
    wanted = np.isin(flavour, (5, 21, 0)) if shares else np.ones(len(pt), bool)
    assert probability.sum() == pytest.approx(keep * np.count_nonzero(wanted), rel=1e-3)
    assert not shares or np.all(probability[~wanted] == 0)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"pt_edges": [10, 5]}, "increasing"),
        ({"shares": {"q": 1}}, "unknown flavours q"),
        ({"shares": {"b": 0}}, "above 0"),
        ({"keep": 0}, "keep"),
        ({"kept": 1}, "kept"),
    ],
)
def test_settings_are_checked(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sampling(**keys)


def test_an_empty_spectrum_has_no_shape() -> None:
    sampling = Sampling()
    with pytest.raises(InvalidValues, match="without matched jets"):
        acceptance_of(JetSpectrum.of(sampling, *[np.zeros(0)] * 3))


def test_files_become_a_training_set(path: Path, events: Any, tmp_path: Path) -> None:
    counts = make_training_set([path], tmp_path / "set", ShardMaker(), events_per_shard=25)
    expected, direct = ShardMaker().made(events)
    assert counts == direct
    data = open_data(tmp_path / "set")
    assert len(data.files) == 3
    assert len(data) == counts.written
    branches = {"global": ["pt", "pt_gen", "weight", "event"], "ch": ["ch_pt", "ch_id"]}
    parts = [read_shard(file, branches) for file in data.files]
    for name in ("pt", "pt_gen", "ch_pt", "ch_id", "weight", "event"):
        assert np.array_equal(np.concatenate([part.columns[name] for part in parts]), expected.columns[name])
    record = json.loads((tmp_path / "set" / "training_set.json").read_text())
    assert record["jets"] == counts.to_dict()
    for made in (tmp_path / "set" / "training_set.json", data.files[0].path):
        assert read_provenance(made)["files"] == [str(path)]
    with pytest.raises(OutputError, match="exists already"):
        make_training_set([path], tmp_path / "set")
    with pytest.raises(MismatchError, match=r"has no jets: of .* jets in 60 events"):
        make_training_set([path], tmp_path / "none", ShardMaker(where="pt > 500000"))
    assert [item.name for item in tmp_path.iterdir()] == ["set"]


def test_a_sampled_set_is_a_part_of_the_whole(path: Path, tmp_path: Path) -> None:
    every = make_training_set([path], tmp_path / "all")
    sampled = make_training_set([path], tmp_path / "sampled", sampling=Sampling(keep=0.3), events_per_shard=40)
    assert sampled.written + sampled.sampled_out == every.written
    assert sampled.written == pytest.approx(0.3 * every.written, abs=4 * np.sqrt(every.written))
    branches = {"global": ["pt", "eta", "weight", "pt_gen", "hadron_flavor", "parton_flavor"], "ne": ["ne_pt"]}
    whole, part = (
        [read_shard(file, branches) for file in open_data(tmp_path / name).files] for name in ("all", "sampled")
    )
    rows = {
        (float(a), float(b)) for jets in whole for a, b in zip(jets.columns["pt"], jets.columns["eta"], strict=True)
    }
    assert all(
        (float(a), float(b)) in rows
        for jets in part
        for a, b in zip(jets.columns["pt"], jets.columns["eta"], strict=True)
    )
    assert all(np.all(jets.columns["weight"] >= 1) for jets in part)
    flavours = np.concatenate([flavour_of(j.columns["hadron_flavor"], j.columns["parton_flavor"]) for j in part])
    assert len(set(flavours.tolist())) > 3
