"""Targets of whole events from generator particles: decays, one-to-one matching, regressions, classes, weights."""

from __future__ import annotations

import itertools
from typing import Any

import awkward as ak
import numpy as np
import pytest

from jettagger.errors import ConfigError, InvalidValues, MissingColumns
from jettagger.formats import EventColumns
from jettagger.inputs.event_targets import EventTargets, check_target_columns, event_targets
from jettagger.inputs.event_tensors import event_tensors
from jettagger.topology.eventfile import EventDescription, parse_event_text
from jettagger.topology.mapping import EventMapping, parse_mapping

EVENT = """
INPUTS:
  SEQUENTIAL:
    Jets: {pt: log}
    Leptons: {pt: log}
  GLOBAL:
    Met: {met: log}
EVENT:
  ht: [b: Jets, q1: Jets, q2: Jets]
  lt: [b: Jets, l: Leptons]
PERMUTATIONS: {ht: [[q1, q2]]}
REGRESSIONS:
  EVENT: [neutrino_px, mass]
  ht: {PARTICLE: [pt], b: [pt]}
CLASSIFICATIONS: {EVENT: [signal, kind, run]}
"""

MAPPING = """
version: 1
inputs:
  Jets: {collection: Jet, max_objects: 4}
  Leptons: {collection: Electron, max_objects: 1}
  Met: {features: {met: MET.pt}}
targets:
  radius: 0.4
  ambiguous: nearest
  particles:
    ht:
      select: abs(pdgId) == 6
      daughters:
        b: abs(pdgId) == 5
        q1: &quark {via: abs(pdgId) == 24, select: abs(pdgId) <= 5}
        q2: {via: abs(pdgId) == 24, select: abs(pdgId) <= 5, index: 1}
    lt:
      select: abs(pdgId) == 6
      daughters:
        b: {select: abs(pdgId) == 5, radius: 0.3}
        l: {via: abs(pdgId) == 24, select: abs(pdgId) == 11}
      others:
        nu: {via: abs(pdgId) == 24, select: abs(pdgId) == 12}
  regressions:
    EVENT/neutrino_px: lt.nu.px
    EVENT/mass: sqrt((ht.energy + lt.energy)**2 - (ht.px + lt.px)**2 - (ht.py + lt.py)**2 - (ht.pz + lt.pz)**2)
    ht/PARTICLE/pt: ht.pt
    ht/b/pt: ht.b.pt + 0 * MET.pt
  classifications:
    EVENT/signal: {tt: 1, qcd: 0}
    EVENT/kind: 2
    EVENT/run: run + (lt.nu.pt > 30)
  weight: genWeight * 2
""".replace("&quark ", "")


def description() -> EventDescription:
    return parse_event_text(EVENT)


def mapping(text: str = MAPPING) -> EventMapping:
    return parse_mapping(text, description())


def particle(number: int, mother: int, pt: float, eta: float, phi: float, mass: float = 0.0) -> dict[str, Any]:
    return {"pdgId": number, "genPartIdxMother": mother, "pt": pt, "eta": eta, "phi": phi, "mass": mass}


def record(rng: np.random.Generator, semileptonic: bool = True) -> list[dict[str, Any]]:
    """A top pair, with copies that radiate, in NanoAOD's form."""

    def angles() -> tuple[float, float]:
        return float(rng.uniform(-2, 2)), float(rng.uniform(-np.pi, np.pi))

    def kinematics() -> tuple[float, float, float]:
        return (float(rng.uniform(20, 200)), *angles())

    top, anti = kinematics(), kinematics()
    parts = [
        particle(6, -1, *top, 172.5),
        particle(-6, -1, *anti, 172.5),
        particle(6, 0, *top, 172.5),  # a copy
        particle(21, 2, *kinematics()),  # radiated by the last copy: not a leg
        particle(24, 2, *kinematics(), 80.4),
        particle(5, 2, *kinematics()),
        particle(-24, 1, *kinematics(), 80.4),
        particle(-5, 1, *kinematics()),
        particle(24, 4, *kinematics(), 80.4),  # a copy
        particle(4, 8, *kinematics()),
        particle(-3, 8, *kinematics()),
        particle(5, 5, *kinematics()),  # the b quark after radiation
    ]
    leptons = (11, -12) if semileptonic else (1, -2)
    return [*parts, *(particle(number, 6, *kinematics()) for number in leptons)]


def made(n_events: int = 60, seed: int = 3, spread: float = 0.15) -> ak.Array:
    """Events with objects near some of the decay products, and others."""
    rng = np.random.default_rng(seed)
    events = []
    for number in range(n_events):
        parts = record(rng, semileptonic=number % 3 != 0) if number % 10 else []
        jets = [
            {"pt": rng.uniform(20, 200)} | {name: p[name] + rng.normal(0, spread) for name in ("eta", "phi")}
            for p in parts[5:]
            if abs(p["pdgId"]) <= 5 and rng.random() < 0.8
        ]
        jets += [
            {"pt": 50.0 * rng.random() + 20, "eta": float(rng.uniform(-2, 2)), "phi": float(rng.uniform(-3, 3))}
            for _ in range(rng.integers(0, 3))
        ]
        electrons = [{"pt": p["pt"], "eta": p["eta"], "phi": p["phi"]} for p in parts if p["pdgId"] == 11]
        events.append(
            {
                "run": 1,
                "event": number + 500,
                "genWeight": 0.5 + number,
                "Jet": jets,
                "Electron": electrons,
                "MET": {"pt": 20.0 + number},
                "GenPart": parts,
            }
        )
    return ak.Array(events)


def slow_targets(events: Any, tensors: Any, ambiguous: str) -> dict[str, list[list[int]]]:
    """Targets with loops."""
    found: dict[str, list[list[int]]] = {"ht": [], "lt": []}
    for place, event in enumerate(events.tolist()):
        parts = event["GenPart"]

        def last(index: int, parts: Any = parts) -> int:
            for other, p in enumerate(parts):
                if p["genPartIdxMother"] == index and p["pdgId"] == parts[index]["pdgId"]:
                    return last(other, parts)
            return index

        def children(index: int, parts: Any = parts) -> list[int]:
            return [k for k, p in enumerate(parts) if p["genPartIdxMother"] == index]

        tops = [k for k, p in enumerate(parts) if abs(p["pdgId"]) == 6 and last(k) == k]
        legs: dict[str, list[int]] = {}
        for top in tops:
            down = children(top)
            (b,) = [k for k in down if abs(parts[k]["pdgId"]) == 5]
            (w,) = [last(k) for k in down if abs(parts[k]["pdgId"]) == 24]
            quarks = [k for k in children(w) if abs(parts[k]["pdgId"]) <= 5]
            electron = [k for k in children(w) if parts[k]["pdgId"] == 11]
            if quarks:
                legs.setdefault("ht", [b, *quarks])
            else:
                legs.setdefault("lt", [b, *electron])
        claims = []
        for name, leg in legs.items():
            for daughter, index in enumerate(leg):
                kind = "Leptons" if (name, daughter) == ("lt", 1) else "Jets"
                radius = 0.3 if (name, daughter) == ("lt", 0) else 0.4
                for row, jet in enumerate(event["Electron" if kind == "Leptons" else "Jet"]):
                    dphi = (jet["phi"] - parts[index]["phi"] + np.pi) % (2 * np.pi) - np.pi
                    distance = float(np.hypot(jet["eta"] - parts[index]["eta"], dphi))
                    if distance < radius:
                        claims.append((distance, name, daughter, kind, row))
        claims.sort()
        partner: dict[tuple[str, int], tuple[str, int]] = {}
        if ambiguous == "nearest":
            for _, name, daughter, kind, row in claims:
                if (name, daughter) not in partner and (kind, row) not in partner.values():
                    partner[name, daughter] = (kind, row)
        else:
            first: dict[tuple[str, int], tuple[str, int]] = {}
            for _, name, daughter, kind, row in claims:
                first.setdefault((name, daughter), (kind, row))
            partner = {leg: mine for leg, mine in first.items() if list(first.values()).count(mine) == 1}
        for name, size in (("ht", 3), ("lt", 2)):
            row = []
            for daughter in range(size):
                kind, index = partner.get((name, daughter), ("", -1))
                slots = tensors.indices[kind][place].tolist() if kind else []
                row.append(slots.index(index) + 4 * (kind == "Leptons") if index in slots else -1)
            found[name].append(row)
    return found


@pytest.mark.parametrize("ambiguous", ["nearest", "drop"])
def test_targets_are_those_of_a_loop_over_events(ambiguous: str) -> None:
    events = made(spread=0.3)
    chosen = mapping(MAPPING.replace("ambiguous: nearest", f"ambiguous: {ambiguous}"))
    tensors = event_tensors(events, chosen, description())
    truth = event_targets(events, tensors, chosen, description(), "tt")
    for name, rows in slow_targets(events, tensors, ambiguous).items():
        assert truth.targets[name].tolist() == rows
        assert truth.masks[name].tolist() == [min(row) >= 0 for row in rows]
    there = [[abs(p["pdgId"]) for p in event["GenPart"]] for event in events.tolist()]
    assert truth.generated["lt"].tolist() == [11 in numbers for numbers in there]
    assert truth.generated["ht"].tolist() == [6 in numbers for numbers in there]
    # no object is used twice
    every = np.concatenate([truth.targets["ht"], truth.targets["lt"]], axis=1)
    for row in every.tolist():
        used = [slot for slot in row if slot >= 0]
        assert len(used) == len(set(used))
    assert truth.table.ambiguous > 0
    assert truth.table.beyond_slots > 0


def test_the_table_counts_by_number_of_objects_and_adds() -> None:
    events = made()
    chosen, event = mapping(), description()

    def truth(part: Any) -> EventTargets:
        return event_targets(part, event_tensors(part, chosen, event), chosen, event, "tt")

    whole = truth(events)
    assert (truth(events[:25]).table + truth(events[25:]).table) == whole.table
    number = ak.to_numpy(ak.num(events.Jet.pt) + ak.num(events.Electron.pt))
    for objects, total, counts in whole.table.rows():
        chosen_events = number == int(objects)
        assert total == np.sum(chosen_events)
        for name in ("ht", "lt"):
            generated = chosen_events & whole.generated[name]
            assert counts[name] == (np.sum(generated), np.sum(generated & whole.masks[name]))
    assert whole.table.efficiency("ht") == whole.masks["ht"].sum() / whole.generated["ht"].sum()
    merged = whole.table.rows(5)
    assert merged[-1][0] == "5 and more"
    assert merged[-1][1] == np.sum(number >= 5)


def test_regressions_classes_and_weights() -> None:
    events = made()
    chosen, event = mapping(), description()
    truth = event_targets(events, event_tensors(events, chosen, event), chosen, event, "tt")
    for place, row in enumerate(events.tolist()):
        parts = row["GenPart"]
        neutrino = [p for p in parts if abs(p["pdgId"]) == 12]
        px = neutrino[0]["pt"] * np.cos(neutrino[0]["phi"]) if neutrino else np.nan
        np.testing.assert_allclose(truth.regressions["EVENT/neutrino_px"][place], px, rtol=1e-5)
        if neutrino:
            total = np.zeros(4)
            for top in (parts[2], parts[1]):
                p = np.array([np.cos(top["phi"]), np.sin(top["phi"]), np.sinh(top["eta"])]) * top["pt"]
                total += [*p, np.sqrt(p @ p + top["mass"] ** 2)]
            mass = np.sqrt(total[3] ** 2 - total[:3] @ total[:3])
            np.testing.assert_allclose(truth.regressions["EVENT/mass"][place], mass, rtol=1e-5)
        else:
            assert np.isnan(truth.regressions["EVENT/mass"][place])
        # before radiation; the first of two hadronic tops in the file is the one without a copy
        expected = parts[5 if neutrino else 7]["pt"] if parts else np.nan
        np.testing.assert_allclose(truth.regressions["ht/b/pt"][place], expected, rtol=1e-6)
    assert truth.classifications["EVENT/signal"].tolist() == [1] * len(events)
    assert truth.classifications["EVENT/kind"].tolist() == [2] * len(events)
    kinds = []
    for row in events.tolist():
        neutrino = [p for p in row["GenPart"] if abs(p["pdgId"]) == 12]
        kinds.append(1 + (neutrino[0]["pt"] > 30) if neutrino else -1)
    assert truth.classifications["EVENT/run"].tolist() == kinds
    np.testing.assert_allclose(truth.weights, 2 * events.genWeight)
    assert {array.dtype.str for array in truth.regressions.values()} == {"<f4"}
    assert {array.dtype.str for array in truth.classifications.values()} == {"<i8"}


def test_several_particles_of_one_kind_are_sorted() -> None:
    event = parse_event_text("INPUTS: {SEQUENTIAL: {Jets: {pt: log}}}\nEVENT: {h1: [b1, b2], h2: [b1, b2]}")
    text = """
version: 1
inputs: {Jets: {collection: Jet, max_objects: 4}}
targets:
  particles:
    h1: &higgs
      select: pdgId == 25
      order: -pt
      daughters: {b1: pdgId == 5, b2: pdgId == -5}
    h2: {select: pdgId == 25, order: -pt, index: 1, daughters: {b1: pdgId == 5, b2: pdgId == -5}}
""".replace("&higgs", "")
    parts = [particle(25, -1, 50, 0, 0, 125), particle(25, -1, 90, 0, 0, 125)]
    corners = list(itertools.product((-1.0, 1.0), (-2.0, 2.0)))
    for mother, number, (eta, phi) in zip((0, 0, 1, 1), (5, -5, 5, -5), corners, strict=True):
        parts.append(particle(number, mother, 40, eta, phi))
    jets = [{"pt": 40.0 - k, "eta": eta, "phi": phi} for k, (eta, phi) in enumerate(corners)]
    events = ak.Array([{"Jet": jets, "GenPart": parts}])
    chosen = parse_mapping(text, event)
    truth = event_targets(events, event_tensors(events, chosen, event), chosen, event)
    assert {name: slots.tolist() for name, slots in truth.targets.items()} == {"h1": [[2, 3]], "h2": [[0, 1]]}


@pytest.mark.parametrize(
    ("old", "new", "kind", "said"),
    [
        ("    lt:\n", "    tl:\n", ConfigError, "line 17: unknown particle 'tl' (nearest: lt, ht). Particles of the"),
        ("        b: {select", "        bb: {select", ConfigError, "line 20: unknown daughter 'bb' (nearest: b). D"),
        ("EVENT/mass:", "EVENT/mas:", ConfigError, "line 26: unknown regression 'EVENT/mas' (nearest: EVENT/mass"),
        ("EVENT/kind: 2", "EVENT/kinds: 2", ConfigError, "unknown classification 'EVENT/kinds' (nearest: EVENT/kind"),
        ("    EVENT/kind: 2\n", "", ConfigError, "the mapping lacks classifications of the event file: EVENT/kind"),
        ("{tt: 1, qcd: 0}", "{ttt: 1, qcd: 0}", ConfigError, "'EVENT/signal': unknown data set: 'tt' (nearest: ttt)"),
        ("lt.nu.px", "lt.nu.pxx", ConfigError, "regression 'EVENT/neutrino_px': unknown quantity of generator"),
        ("lt.nu.px", "lt.nu.px + GenMET.pt", MissingColumns, "GenMET.pt (nearest: MET.pt"),
        ("abs(pdgId) == 12}", "abs(pdgID) == 12}", MissingColumns, "GenPart.pdgID (nearest: GenPart.pdgId"),
        ("genWeight * 2", "genWeights", MissingColumns, "genWeights (nearest: genWeight), for weight"),
        ("run + (lt", "0.5 + (lt", InvalidValues, "gives 1.5 in event number 501, entry 1 of"),
        ("genWeight * 2", "log(genWeight - 5)", InvalidValues, "the weight is nan in 5 of 60 events, first in event"),
        ("radius: 0.4", "radius: -1", ConfigError, "'radius' must be a number of at least 0, got -1"),
        ("ambiguous: nearest", "ambiguous: both", ConfigError, "unknown ambiguous 'both', expected nearest, drop"),
    ],
)  # fmt: skip
def test_mistakes_are_named(old: str, new: str, kind: type[Exception], said: str) -> None:
    assert old in MAPPING
    events = made()

    def used(text: str) -> EventTargets:
        chosen = mapping(text)
        return event_targets(events, event_tensors(events, chosen, description()), chosen, description(), "tt")

    with pytest.raises(kind) as caught:
        used(MAPPING.replace(old, new))
    assert said in str(caught.value)


def test_columns_that_are_needed() -> None:
    needed = check_target_columns(EventColumns(made()), mapping(), description(), "tt")
    assert [name for name in needed if not name.startswith("GenPart.")] == [
        "Electron.eta", "Electron.phi", "Jet.eta", "Jet.phi", "MET.pt", "genWeight", "run",
    ]  # fmt: skip
    assert {"GenPart.pdgId", "GenPart.genPartIdxMother", "GenPart.mass"} <= set(needed)
