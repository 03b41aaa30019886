"""Objects of a search beside its fat jets: against plain loops, and what is refused."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from correctionlib import schemav2
from jettagger.processors.search import SearchWarning
from pages import blocks
from searches import columns, write

from jettagger.errors import ConfigError, MismatchError, UnknownName
from jettagger.formats.nesting import nest
from jettagger.histograms import pick
from jettagger.search import read_config, run_search
from jettagger.search.objects import ObjectSelection, check_objects, far_from, select_objects

CONFIG = """\
version: 1
luminosity: 10
chunk_size: 17
samples:
  tt: {files: tt.root, cross_section: 2}
jets:
  count: 1
  preselection: "pt > 200"
  not_near: {electrons: 0.8}
objects:
  electrons: {collection: Electron, selection: "pt > 20 and abs(eta) < 2.4"}
  muons: {collection: Muon, selection: "pt > 15", not_near: {electrons: 0.4, jet1: 0.8}, sort_by: "abs(eta)"}
cuts:
  one: muons.count == 1
  soft: muons1.pt < 60
  back_to_back: "abs(abs(muons1.phi - MET.phi) - 3.14159) < 1"
regions:
  all: {kind: inclusive}
  one: {kind: signal, pass: [one]}
  soft: {kind: control, pass: [soft]}
  hard: {kind: control, fail: [soft]}
weights:
  muons: {nominal: "1 + 0.1 * muons.count", up: "1 + 0.2 * muons.count", down: "1"}
histograms:
  n: {bins: [9, 0, 9], expression: muons.count}
  pt: {bins: [10, 0, 200], expression: muons1.pt}
  every: {bins: [10, 0, 200], expression: muons.pt}
  second: {bins: [10, 0, 200], expression: muons2.pt}
"""


@pytest.fixture(autouse=True)
def _notes_are_no_errors() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SearchWarning)
        yield


def with_leptons(n_events: int, seed: int) -> dict[str, Any]:
    """Events with leptons, many of them near fat jets, and missing energy."""
    made = columns(n_events, seed)
    rng = np.random.default_rng(seed)
    for name, mean in (("Electron", 0.7), ("Muon", 2.5)):
        counts = rng.poisson(mean, n_events)
        total = int(counts.sum())
        jets = made["FatJet_eta"], made["FatJet_phi"]
        eta, phi = rng.uniform(-3, 3, total), rng.uniform(-np.pi, np.pi, total)
        first = [np.repeat(ak.to_numpy(ak.fill_none(ak.firsts(side), 0.0)), counts) for side in jets]
        near = rng.random(total) < 0.5
        eta = np.where(near, first[0] + rng.normal(0, 0.5, total), eta)
        phi = np.where(near, np.angle(np.exp(1j * (first[1] + rng.normal(0, 0.5, total)))), phi)
        fields = {"pt": rng.exponential(40, total), "eta": eta, "phi": phi}
        fields |= {"mass": np.full(total, 0.1), "charge": rng.choice([-1, 1], total)}  # which coffea asks for
        for key, values in fields.items():
            made[f"{name}_{key}"] = ak.unflatten(values.astype(np.float32), counts)
    made["MET_pt"] = rng.exponential(50, n_events).astype(np.float32)
    made["MET_phi"] = rng.uniform(-np.pi, np.pi, n_events).astype(np.float32)
    return made


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return with_leptons(60, 5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, made: dict[str, Any]) -> Path:
    folder = tmp_path_factory.mktemp("objects")
    write(folder / "tt.root", made)
    return folder


def config(folder: Path, *changes: tuple[str, str]) -> Any:
    text = CONFIG
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return read_config(text, name="search.yaml", folder=folder)


def apart(one: Any, other: Any) -> float:
    phi = math.remainder(float(one["phi"]) - float(other["phi"]), 2 * math.pi)
    return math.hypot(float(one["eta"]) - float(other["eta"]), phi)


def loop(made: dict[str, Any]) -> list[tuple[float, list[float]]]:
    """Generator weight and sorted momenta of the muons of each event with a candidate, in plain Python."""
    found = []
    for event in nest(made).tolist():
        electrons = [item for item in event["Electron"] if item["pt"] > 20 and abs(item["eta"]) < 2.4]
        jets = [
            jet for jet in event["FatJet"] if jet["pt"] > 200 and all(apart(jet, other) >= 0.8 for other in electrons)
        ]
        if not jets:
            continue
        jet = max(jets, key=lambda item: item["pt"])
        muons = [
            item
            for item in event["Muon"]
            if item["pt"] > 15 and all(apart(item, other) >= 0.4 for other in electrons) and apart(item, jet) >= 0.8
        ]
        muons.sort(key=lambda item: -abs(item["eta"]))
        found.append((event["genWeight"], [item["pt"] for item in muons]))
    return found


def test_yields_with_objects_are_those_of_a_plain_loop(made: dict[str, Any], folder: Path) -> None:
    rows = loop(made)
    assert {len(muons) for _, muons in rows} >= {0, 1, 2, 3}
    result = run_search(config(folder))
    scale = result.datasets["tt"]["scale"]
    weights = {"nominal": lambda n: 1 + 0.1 * n, "muonsUp": lambda n: 1 + 0.2 * n, "muonsDown": lambda n: 1.0}
    regions = {
        "all": lambda muons: True,
        "one": lambda muons: len(muons) == 1,
        "soft": lambda muons: bool(muons) and muons[0] < 60,
        "hard": lambda muons: bool(muons) and muons[0] >= 60,
    }
    for variation, weight in weights.items():
        if weight is None:
            continue
        for region, passes in regions.items():
            chosen = [(scale * generator * weight(len(muons)), muons) for generator, muons in rows if passes(muons)]
            expected = {
                "n": [(w, [float(len(muons))]) for w, muons in chosen],
                "pt": [(w, muons[:1]) for w, muons in chosen],
                "every": [(w, muons) for w, muons in chosen],
                "second": [(w, muons[1:2]) for w, muons in chosen],
            }
            for name, entries in expected.items():
                got = pick(result.histograms[name], dataset="tt", region=region, variation=variation)
                edges = got.axes[0].edges
                values = np.array([value for _, items in entries for value in items])
                of = np.array([w for w, items in entries for _ in items])
                sums, _ = np.histogram(values, bins=edges, weights=of)
                np.testing.assert_allclose(got.values(), sums, rtol=1e-6, atol=1e-9, err_msg=f"{name} {region}")


def test_a_correction_of_each_object_counts_the_selected_ones(made: dict[str, Any], folder: Path) -> None:
    from jerc_files import correction, formula

    factors = correction("id", ("pt",), formula("0.9+0.001*x", "pt"))
    content = schemav2.CorrectionSet(schema_version=2, corrections=[factors])
    (folder / "id.json").write_text(content.model_dump_json(exclude_unset=True))
    nominal = '{nominal: "1 + 0.1 * muons.count", up: "1 + 0.2 * muons.count", down: "1"}'
    result = run_search(config(folder, (nominal, "{file: id.json, correction: id, inputs: {pt: pt}, each: muons}")))
    got = pick(result.histograms["n"], dataset="tt", region="all", variation="nominal")
    weights = [generator * math.prod(0.9 + 0.001 * pt for pt in muons) for generator, muons in loop(made)]
    sums, _ = np.histogram([len(muons) for _, muons in loop(made)], bins=got.axes[0].edges, weights=weights)
    np.testing.assert_allclose(got.values(), result.datasets["tt"]["scale"] * sums, rtol=1e-6, atol=1e-9)


def test_chunks_do_not_matter(folder: Path) -> None:
    one = run_search(config(folder))
    other = run_search(config(folder, ("chunk_size: 17", "chunk_size: 1000")))
    for name, histogram in one.histograms.items():
        assert histogram == other.histograms[name]


def test_objects_are_numbered_in_decreasing_order_and_none_where_there_are_fewer() -> None:
    muons = ak.Array([[{"pt": 10.0}, {"pt": 30.0}, {"pt": math.nan}], [], [{"pt": 5.0}]])
    found = select_objects({"mu": ObjectSelection("Muon")}, {"Muon": muons}, ["mu1.pt", "mu2.pt", "mu.count"])
    assert found["mu1"]["pt"].tolist() == [30.0, None, 5.0]
    assert found["mu2"]["pt"].tolist() == [10.0, None, None]
    assert found["mu"]["count"].tolist() == [3, 0, 1]


def test_distance_agrees_with_coffea() -> None:
    from coffea.nanoevents.methods import vector

    rng = np.random.default_rng(2)

    def particles(mean: float) -> Any:
        counts = rng.poisson(mean, 200)
        fields = {"pt": 1.0, "eta": 2.5, "phi": np.pi, "mass": 1.0}
        flat = {key: rng.uniform(-size, size, counts.sum()) for key, size in fields.items()}
        return ak.unflatten(ak.zip(flat, with_name="PtEtaPhiMLorentzVector", behavior=vector.behavior), counts)

    one, other = particles(2), particles(3)
    _, distance = one.nearest(other, return_metric=True)
    expected = ak.fill_none(distance >= 0.7, True)
    assert far_from(one, other, 0.7).tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("collection: Electron,", "collection: Electrons,"),
            r"line 11: .* collection .*'Electrons' \(nearest: Electron\)",
        ),
        (('"pt > 15"', '"pts > 15"'), r"line 12: unknown column of Muon .*'pts' \(nearest: pt\)"),
        (('"abs(eta)"}', '"abs(etta)"}'), r"line 12: unknown column of Muon .*'etta' \(nearest: eta\)"),
        (("electrons: 0.4", "electron: 0.4"), r"line 12: unknown objects .*'electron' \(nearest: electrons\)"),
        (("{electrons: 0.8}", "{electron: 0.8}"), r"line 9: unknown objects .*'electron' \(nearest: electrons\)"),
        (("{electrons: 0.8}", "{muons: 0.8}"), r"line 9: the fat jets are cleaned by muons, .*'jet1'"),
        (("electrons: 0.4", "electrons: -0.4"), r"line 12: .*above zero"),
        (("muons.count == 1", "muons.counts == 1"), r"line 14: unknown column of Muon .*'counts' \(nearest: count\)"),
        (("muons1.pt < 60", "muon1.pt < 60"), r"line 15: unknown column .*'muon1.pt' \(nearest: muons1.pt,"),
        (("muons1.pt < 60", "muons1.count < 60"), r"line 15: unknown column of Muon .*'count'"),
        (
            ("  electrons: {c", "  MET: {c"),
            r"unknown objects .*'electrons'",
        ),
        (("0.4, jet1", "0.4, jet2"), r"line 12: unknown objects .*'jet2' \(nearest: jets, jet1\)"),
        (("sort_by:", "sort:"), r"line 12: unknown key 'sort' .*nearest: sort_by"),
        (('"pt > 15"', '"pt + 15"'), r"the selection 'pt \+ 15' is not true or false"),
        (("collection: Muon", "collection: MET"), r"line 12: unknown column of MET .*'eta'"),
    ],
)
def test_what_is_refused(folder: Path, change: tuple[str, str], message: str) -> None:
    with pytest.raises((ConfigError, MismatchError, UnknownName), match=message):
        run_search(config(folder, change))


def test_the_page_is_read() -> None:
    (text,) = blocks("docs/search_objects.md", "yaml", "objects:")
    top = (
        "version: 1\nluminosity: 1\nsamples: {tt: {files: tt.root, cross_section: 1}}\nregions: {all: {kind: signal}}\n"
    )
    search = read_config(top + text, name="page").search
    assert list(search.objects) == ["electrons", "muons", "bjets"]
    assert search.objects["bjets"].not_near == {"muons": 0.4, "electrons": 0.4, "jets": 0.8}


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ({"jet": ObjectSelection("Jet")}, "'jet', which has another meaning"),
        ({"mjj": ObjectSelection("Jet")}, "'mjj', which has another meaning"),
        ({"mu1": ObjectSelection("Muon")}, "no digit at its end"),
        ({"a.b": ObjectSelection("Muon")}, "letters, digits and underscores"),
        (
            {"a": ObjectSelection("Jet", not_near={"b": 0.4}), "b": ObjectSelection("Muon", not_near={"a": 0.4})},
            "in a circle: a -> b -> a",
        ),
    ],
)
def test_names_and_circles(objects: dict[str, ObjectSelection], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_objects(objects, {}, 2, ("mjj",))
