"""Corrections of correctionlib in a search: against plain loops, by era, outside of their bins, and what is refused."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from correction_files import (
    NUMBERS,
    binning,
    by_pt,
    category,
    correction,
    formula,
    number_at,
    pileup,
    write_corrections,
)
from jettagger.processors.search import SearchWarning
from pages import blocks
from searches import columns, write
from shown import check_shown

from jettagger.config.models import validated
from jettagger.config.yamlfile import read_yaml
from jettagger.errors import ConfigError, InputFileError, InvalidValues, JettaggerError, UnknownName
from jettagger.expressions import parse
from jettagger.formats.nesting import nest
from jettagger.search import read_config, run_search
from jettagger.search.correctiontables import CorrectionTable
from jettagger.search.output import make_templates
from jettagger.search.schema import SearchFile

CONFIG = """\
version: 1
eras:
  2022: {luminosity: 8}
  2023: {luminosity: 27}
samples:
  tt_2022: {files: tt22.root, cross_section: 2, era: 2022, sum_of_weights: events}
  tt_2023: {files: tt23.root, cross_section: 2, era: 2023, sum_of_weights: events}
jets: {preselection: "pt > 220", mass: msoftdrop}
regions:
  all: {kind: control}
weights:
  rho: {nominal: puWeight, up: puWeightUp, down: "2 * puWeight - puWeightUp"}
  pileup:
    file: {2022: pileup22.json.gz, 2023: pileup23.json}
    inputs: {n: Pileup.nTrueInt, weights: $systematic}
    up: up
    down: down
  id:
    file: many.json
    correction: {2022: id, 2023: id_again}
    inputs: {syst: $systematic, wp: M, flavor: flavor, pt: pt}
    systematics: {all: {up: up, down: down}, light: {up: up, down: down, where: "flavor == 0 and pt > 40"}}
    each: Muon
    selection: "pt > 30 and good > 0"
  mass:
    file: mass.json
    inputs: {m: "min(msoftdrop, 1000)", rho: MET.pt}
    each: jets
  lead:
    file: many.json
    correction: id
    inputs: {syst: $systematic, wp: M, flavor: 0, pt: jet1.pt}
    outside: clamp
    up: up
    down: nominal
histograms:
  count: {bins: [1, 0, 100], expression: njets}
templates:
  histogram: count
  processes: {tt: [tt_2022, tt_2023]}
  signals: {X: {datasets: [tt_2022, tt_2023], mass: 1000}}
"""


@pytest.fixture(autouse=True)
def _notes_are_no_errors() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SearchWarning)
        yield


def content(seed: int) -> dict[str, Any]:
    made = columns(50, seed)
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 4, 50)
    total = int(counts.sum())
    made["Pileup_nTrueInt"] = rng.integers(0, 80, 50).astype(np.float32)
    made["MET_pt"], made["MET_phi"] = (rng.uniform(0, high, 50).astype(np.float32) for high in (200, 3))
    made["Muon_pt"] = ak.unflatten(rng.uniform(20, 490, total).astype(np.float32), counts)
    for name in ("eta", "phi", "mass"):
        made[f"Muon_{name}"] = ak.unflatten(rng.uniform(0, 1, total).astype(np.float32), counts)
    made["Muon_charge"] = ak.unflatten(np.ones(total, dtype=np.int32), counts)
    made["Muon_flavor"] = ak.unflatten(rng.choice([0, 5], total).astype(np.int32), counts)
    made["Muon_good"] = ak.unflatten(rng.integers(0, 2, total).astype(np.int32), counts)
    return made


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corrections")
    (folder / "search.yaml").write_text(CONFIG)
    write(folder / "tt22.root", content(1))
    write(folder / "tt23.root", content(2))
    write(
        folder / "run.root",
        {key: item for key, item in content(3).items() if key not in ("genWeight", "Pileup_nTrueInt")},
    )
    write_corrections(folder / "pileup22.json.gz", pileup())
    write_corrections(folder / "pileup23.json", pileup(5.0))
    again = by_pt("id_again")
    again["data"] = category("wp", {"M": formula("1 + x / 1000", "pt")})
    write_corrections(folder / "many.json", by_pt(), again)
    mass = formula("1 + 0.001 * x + 0.0001 * y", "m", "rho")
    write_corrections(folder / "mass.json", correction("mass", {"m": "real", "rho": "real"}, mass))
    return folder


def by_hand(seed: int, variation: str) -> float:
    """The sum of weights of the events with two candidates, in plain Python."""
    era = {1: "2022", 2: "2023"}[seed]
    total = 0.0
    for event in nest(content(seed)).tolist():
        jets = sorted((jet for jet in event["FatJet"] if jet["pt"] > 220), key=lambda jet: -jet["pt"])[:2]
        if len(jets) < 2:
            continue
        rho = {"rhoUp": event["puWeightUp"], "rhoDown": 2 * event["puWeight"] - event["puWeightUp"]}
        weight = event["genWeight"] * rho.get(variation, event["puWeight"])
        slope = {"pileupUp": 0.02, "pileupDown": 0.0}.get(variation, 0.01)
        weight *= 1 + slope * (event["Pileup_nTrueInt"] - 20 + {1: 0.0, 2: 5.0}[seed])
        for muon in event["Muon"]:
            if not (muon["pt"] > 30 and muon["good"] > 0):
                continue
            if era == "2023":
                weight *= 1 + muon["pt"] / 1000
                continue
            key = {"id_allUp": "up", "id_allDown": "down"}.get(variation, "nominal")
            if muon["flavor"] == 0 and muon["pt"] > 40:
                key = {"id_lightUp": "up", "id_lightDown": "down"}.get(variation, key)
            weight *= 1.5 if muon["flavor"] == 5 else number_at(muon["pt"], key)
        for jet in jets:
            weight *= 1 + 0.001 * min(jet["msoftdrop"], 1000) + 0.0001 * event["MET_pt"]
        weight *= number_at(min(jets[0]["pt"], 499.0), "up" if variation == "leadUp" else "nominal")
        total += weight
    return total


SHIFTS = ["rho", "pileup", "id_all", "id_light", "lead"]


def test_yields_are_those_of_a_plain_loop(world: Path) -> None:
    """All weights and variations, to 1e-6; the luminosities are those of the eras."""
    config = read_config(world / "search.yaml")
    assert config.search.weight_shifts == tuple(SHIFTS)
    found = run_search(config)
    values = set()
    for seed, luminosity in ((1, 8.0), (2, 27.0)):
        dataset = f"tt_{ {1: 2022, 2: 2023}[seed] }"
        scale = 1000 * luminosity * 2 / float(np.sum(content(seed)["genWeight"], dtype=np.float64))
        for variation in ("nominal", *(f"{name}{side}" for name in SHIFTS for side in ("Up", "Down"))):
            cell = {"dataset": dataset, "region": "all", "variation": variation}
            got = found.histograms["count"][cell].sum(flow=True).value
            expected = by_hand(seed, variation) * scale
            assert got == pytest.approx(expected, rel=1e-6), (dataset, variation)
            values.add(round(expected, 6))
    assert len(values) > 12, "the variations differ, so that the test can fail"
    note = next(note for note in found.notes if "'lead'" in note)
    assert re.search(
        r"dataset 'tt_2022', weight 'lead': \d+ of \d+ values are outside of its bins and have the fac", note
    )
    used = found.provenance.to_dict()["configuration"]["corrections"]
    assert used["pileup"]["2023"]["file"].endswith("pileup23.json")
    assert used["lead"]["all"]["correction"] == "id"
    templates = make_templates(found)
    assert templates is not None
    assert set(templates.nominal["all"]["tt"].shifts) == set(SHIFTS)


def test_chunks_and_processes_do_not_matter(world: Path) -> None:
    first = run_search(read_config(world / "search.yaml")).histograms["count"]
    again = read_config(CONFIG.replace("version: 1", "version: 1\nchunk_size: 7"), "search.yaml", world)
    assert run_search(again).histograms["count"] == first
    search = read_config(world / "search.yaml").search
    assert pickle.loads(pickle.dumps(search)) == search
    assert len(pickle.dumps(search)) < 20_000


def test_data_have_no_corrections(world: Path) -> None:
    text = re.sub(r"eras:\n.*\n.*\n", "luminosity: 8\n", CONFIG).replace(", era: 2022", "").partition("  tt_2023")[0]
    text += "  run: {files: run.root, data: true}\n" + CONFIG[CONFIG.index("jets: {pre") :].partition("templates")[0]
    text = text.replace("{2022: pileup22.json.gz, 2023: pileup23.json}", "pileup22.json.gz")
    text = text.replace("correction: {2022: id, 2023: id_again}", "correction: id")
    found = run_search(read_config(text, "search.yaml", world))
    cell = found.histograms["count"][{"dataset": "run", "variation": "nominal"}].sum(flow=True).value
    assert cell == round(cell) > 0


@pytest.mark.parametrize(
    ("outside", "kind", "expected"),
    [("refuse", InvalidValues, "pt is 600 for event 9, expected at least 20 and below 500; 2 of 4 are outside"),
     ("clamp", None, [0.9, 1.2, 0.9, 1.2]), ("one", None, [0.9, 1.0, 1.0, 1.2])],
)  # fmt: skip
def test_values_outside_of_the_bins(outside: str, kind: Any, expected: Any) -> None:
    table = made(by_pt())
    values = {"syst": "nominal", "wp": "M", "flavor": np.zeros(4, dtype=np.int64)}
    values["pt"] = np.array([50.0, 600.0, 5.0, 400.0])
    if kind is not None:
        with pytest.raises(kind, match=expected):
            table.evaluate(values, 4, outside, [8, 9, 10, 11])
        return
    numbers, mask = table.evaluate(values, 4, outside)
    assert numbers.tolist() == expected
    assert mask.tolist() == [False, True, True, False]
    assert values["pt"].tolist() == [50.0, 600.0, 5.0, 400.0], "the caller's values stay"


def made(*items: dict[str, Any]) -> CorrectionTable:
    from correctionlib import schemav2

    text = schemav2.CorrectionSet.model_validate({"schema_version": 2, "corrections": list(items)})
    table = CorrectionTable(text.model_dump_json(exclude_unset=True), "many.json", items[0]["name"])
    check_shown(table)
    return table


def test_every_node_of_a_tree_is_followed() -> None:
    """Two dimensions, uniform and infinite edges, flows with numbers and nodes, transformations, nested bins."""
    inner = binning("eta", {"n": 2, "low": -2.0, "high": 2.0}, [0.5, 2.0])
    both = {"nodetype": "multibinning", "inputs": ["pt", "eta"], "edges": [[0.0, 100.0, "inf"], [-3.0, 0.0, 3.0]],
            "content": [inner, 1.0, 2.0, 3.0], "flow": "error"}  # fmt: skip
    moved = {"nodetype": "transform", "input": "eta", "rule": formula("x + 1", "eta"), "content": both}
    table = made(correction("f", {"pt": "real", "eta": "real"}, moved))
    pt, eta = np.array([50.0, 50.0, 500.0, 50.0, -1.0]), np.array([-2.0, 0.5, -2.0, -3.5, 0.5])
    numbers, outside = table.evaluate({"pt": pt, "eta": eta}, 5, "one")
    assert outside.tolist() == [False, False, False, True, True]
    assert numbers.tolist() == [0.5, 1.0, 2.0, 1.0, 1.0]
    with pytest.raises(InvalidValues, match=r"eta is -3.5, .* at least -2 and below 2 \(after a trans"):
        table.evaluate({"pt": pt[:4], "eta": eta[:4]}, 4)
    for flow, expected in (("clamp", 2.0), (7.0, 7.0), (binning("pt", [0.0, 900.0], [4.0]), 4.0)):
        table = made(correction("f", {"pt": "real"}, binning("pt", PT3, [1.0, 2.0], flow)))
        numbers, outside = table.evaluate({"pt": np.array([800.0])}, 1)
        assert (numbers.tolist(), outside.tolist()) == ([expected], [False]), "the file says what happens"
    with pytest.raises(InvalidValues, match=r"pt is 1000, expected at least 0 and below 900; 1 of 1"):
        table.evaluate({"pt": np.array([1000.0])}, 1)
    with pytest.raises(InvalidValues, match=r"flavor is 4, expected one of 0, 5; 1 of 1 are outside$"):
        made(by_pt()).evaluate({"syst": "up", "wp": "M", "flavor": np.array([4]), "pt": np.array([50.0])}, 1, "clamp")
    with pytest.raises(InvalidValues, match=r"pt is NaN for event 7"):
        table.evaluate({"pt": np.array([np.nan])}, 1, "one", [7])


PT3 = [0.0, 100.0, 200.0]


def test_the_numbers_are_those_of_correctionlib() -> None:
    """Random trees: inside of the bins, and clamped values as correctionlib with ``flow: clamp``."""
    rng = np.random.default_rng(1)
    edges = {"pt": [20.0, 50.0, 90.0, 200.0], "eta": [-2.4, 0.0, 1.3, 2.4]}

    def tree(flow: str) -> dict[str, Any]:
        numbers = np.random.default_rng(2).uniform(0.5, 1.5, 9).tolist()
        return {"nodetype": "multibinning", "inputs": list(edges), "edges": list(edges.values()), "content": numbers,
                "flow": flow}  # fmt: skip

    strict, clamped = (made(correction("f", dict.fromkeys(edges, "real"), tree(flow))) for flow in ("error", "clamp"))
    values = {"pt": rng.uniform(0, 300, 500), "eta": rng.uniform(-3, 3, 500)}
    ours, outside = strict.evaluate(values, 500, "clamp")
    theirs = clamped.corrections["f"].evaluate(values["pt"], values["eta"])
    assert np.array_equal(ours, theirs)
    inside = (values["pt"] >= 20) & (values["pt"] < 200) & (abs(values["eta"]) < 2.4)
    assert np.array_equal(outside, ~inside)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("file: mass.json", "file: absent.json", r"line 26: cannot read .*absent.json"),
        ("file: mass.json", "file: search.yaml", r"line 26: .*search.yaml.*JSON"),
        ("file: mass.json", "file: many.json", r"line 26: .*has 2 corrections, choose one as 'correction': id, i"),
        ("correction: id\n", "correction: ide\n", r"line 31: unknown correction in .*: 'ide' .nearest: id"),
        ("{m: ", "{mm: ", r"line 25: unknown input in .*: 'mm' .nearest: m"),
        (", rho: MET.pt", "", r"line 25: .*no value for the inputs rho .real."),
        ("{m: ", "{m: $systematic, rho2: ", r"line 25: unknown input"),
        ("rho: MET.pt", "rho: $systematic", r"line 25: .*'rho' is of type real, got the systematic"),
        ("wp: M, flavor: 0", "wp: N, flavor: 0", r"line 29: unknown value of the input 'wp' in .*: 'N'"),
        ("wp: M, flavor: 0", "wp: 3, flavor: 0", r"line 29: .*'wp' is of type string, got 3"),
        ("wp: M, flavor: 0", "wp: M, flavor: true", r"line 32: 'inputs' must be input -> a number, an"),
        ("    up: up\n    down: nominal", "    up: upp\n    down: nominal", r"unknown value of the input 'syst'.*: up"),
        ("    up: up\n    down: nominal", "    up: up", r"line 29: give both up and down, or neither"),
        ("down: nominal", "down: nominal\n    systematics: {a: {up: up, down: down}}", r"either 'up' and 'down', or"),
        ("each: jets", "each: jets\n    up: up\n    down: down", r"line 25: .*none of the inputs m, rho is '.sys"),
        ("each: jets", "selection: pt > 3", r"line 25: 'selection' belongs to 'each'"),
        ("pt: jet1.pt}", "pt: jet1.pt}\n    each: jets", r"line 29: no input depends on a column of 'jets'"),
        ("each: jets", "method: comb", r"line 28: 'method' belongs to 'scale_factors'"),
        ("file: mass.json", "file: mass.json\n    scale_factors: sf.json", r"line 25: give either .*got 'file' "),
        ("outside: clamp", "outside: clip", r"line 33: unknown outside 'clip'.*refuse, clamp, one"),
        ("2023: pileup23.json", "2024: pileup23.json", r"line 14: unknown era: '2024' .nearest: "),
        (", 2023: pileup23.json", "", r"line 14: 'file' is given by era, but not for '2023'"),
        ("flavor: flavor", "flavor: flavour", r"line \d+: unknown column in .*Muon.flavour.*nearest: Muon.flavor"),
        ("Pileup.nTrueInt", "Pileup.nTrueInts", r"line \d+: unknown column in .*nearest: Pileup.nTrueInt"),
        ("    outside: clamp\n", "", r"tt22.root: .*many.json, correction 'id'.*pt is \d+.* for event \d+, exp"),
        ("flavor: 0, pt", "flavor: 0.5 * jet1.pt, pt", r"'flavor' is a whole number, but 0.5 . jet1.pt is \d"),
    ],
)  # fmt: skip
def test_mistakes_have_their_place(world: Path, old: str, new: str, message: str) -> None:
    assert old in CONFIG
    with pytest.raises(JettaggerError) as caught:
        run_search(read_config(CONFIG.replace(old, new, 1), "search.yaml", world))
    assert re.search(message, str(caught.value), re.DOTALL), str(caught.value)
    assert isinstance(caught.value, (ConfigError, InputFileError, UnknownName, InvalidValues))


def test_missing_values_are_no_numbers(world: Path) -> None:
    """Events without candidates have the weight 1; other missing values are errors."""
    from jettagger.processors.candidates import CandidateColumns

    search = read_config(world / "search.yaml").search
    jets = ak.Array([{"pt": 300.0, "msoftdrop": 10.0}, None])
    own = {"jet1": jets, "jet2": jets}
    lead = search.corrections["lead"].event_weights(CandidateColumns(own, ak.Array([{}, {}])), "2022", 2, [1, 2])
    assert lead.nominal.tolist() == [NUMBERS["nominal"][2], 1.0]
    assert lead.count == {"values": 1, "outside": 0}
    events = ak.Array([{"Pileup": {"nTrueInt": None}}, {"Pileup": {"nTrueInt": 20.0}}])
    with pytest.raises(InvalidValues, match=r"'n' \(Pileup.nTrueInt\) has no value for event 1; 1 of 2 are missing"):
        search.corrections["pileup"].event_weights(CandidateColumns(own, events), "2022", 2, [1, 2])


def test_the_page_on_corrections_is_true() -> None:
    for text in blocks("docs/search_corrections.md", "yaml"):
        start = "version: 1\neras: {2022: {luminosity: 8}, 2023: {luminosity: 27}}\nregions: {all: {kind: inclusive}}\n"
        start += "samples: {tt: {files: tt.root, cross_section: 1}}\nhistograms: {mjj: {bins: [1, 0, 1]}}\n"
        keys = validated(SearchFile, read_yaml(start + text, "page"))
        for name, weight in keys.weights.items():
            expressions = [weight.selection, *(item.where for item in weight.systematics.values())]
            assert all(parse(item) for item in expressions if item is not None), name
