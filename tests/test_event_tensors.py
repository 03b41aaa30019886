"""Inputs of whole events from collections, as a mapping says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import awkward as ak
import numpy as np
import pytest

from jettagger.errors import ConfigError, InvalidValues, MismatchError, MissingColumns
from jettagger.formats import EventColumns
from jettagger.inputs.event_tensors import check_columns, event_tensors
from jettagger.topology.eventfile import EventDescription, parse_event_text
from jettagger.topology.mapping import EventMapping, parse_mapping

EVENT = """
INPUTS:
  SEQUENTIAL:
    Jets: {pt: log_normalize, cos_phi: none, btag: none}
    BJets: {pt: log}
    Leptons: {pt: log, charge: none}
  GLOBAL:
    Met: {met: log, ht: log}
    Muon: {pt: log}
EVENT:
  t1: [b: Jets, q: Jets]
  t2: [b, l: Leptons]
REGRESSIONS: {EVENT: [neutrino_px]}
CLASSIFICATIONS: {EVENT: [signal]}
"""

MAPPING = """
version: 1
inputs:
  Jets:
    collection: Jet
    select: pt > 25 and abs(eta) < 2.4 and run == 1
    apart_from: {Leptons: 0.4}
    max_objects: 4
    features: {cos_phi: cos(phi)}
    tags: {btag: {efficiencies: {5: 1.0, 0: 0.0}}}
  BJets:
    collection: Jet
    select: hadronFlavour == 5
    order: [-abs(eta), pt]
    max_objects: 2
  Leptons: {collection: Electron, max_objects: 2}
  Met: {features: {met: MET.pt, ht: sum(Jet.pt) + 1}}
  Muon: {collection: Muon, select: pt > 10}
"""

Maker = Callable[[np.random.Generator, int], Any]


def made(n_events: int = 40, seed: int = 1) -> ak.Array:
    """Random events with jets, electrons, muons and missing momentum."""
    rng = np.random.default_rng(seed)

    def objects(most: int, **more: Any) -> ak.Array:
        counts = rng.integers(0, most + 1, n_events)
        n = int(counts.sum())
        columns = {
            "pt": rng.exponential(40, n).astype("f4") + 5,
            "eta": rng.uniform(-3, 3, n).astype("f4"),
            "phi": rng.uniform(-np.pi, np.pi, n).astype("f4"),
            **{name: make(n) for name, make in more.items()},
        }
        return ak.unflatten(ak.zip(columns), counts)

    return ak.Array(
        {
            "run": np.where(np.arange(n_events) % 7 == 0, 2, 1),
            "event": np.arange(n_events) + 1000,
            "Jet": objects(8, hadronFlavour=lambda n: rng.choice([0, 4, 5], n)),
            "Electron": objects(3, charge=lambda n: rng.choice([-1, 1], n)),
            "Muon": objects(2),
            "MET": ak.zip({"pt": rng.exponential(50, n_events).astype("f4")}),
        }
    )


def description() -> EventDescription:
    return parse_event_text(EVENT)


def mapping(text: str = MAPPING) -> EventMapping:
    return parse_mapping(text, description())


def slow(events: Any) -> dict[str, list[Any]]:
    """The same with loops over events and objects."""
    found: dict[str, list[Any]] = {name: [] for name in ("Jets", "BJets", "Leptons", "Met", "Muon")}
    for event in events.tolist():
        electrons = sorted(enumerate(event["Electron"]), key=lambda item: -item[1]["pt"])

        def near(jet: Any, electrons: Any = electrons) -> bool:
            return any(
                np.hypot(jet["eta"] - e["eta"], (jet["phi"] - e["phi"] + np.pi) % (2 * np.pi) - np.pi) < 0.4
                for _, e in electrons
            )

        jets = [
            (index, jet)
            for index, jet in enumerate(event["Jet"])
            if jet["pt"] > 25 and abs(jet["eta"]) < 2.4 and event["run"] == 1 and not near(jet)
        ]
        jets.sort(key=lambda item: -item[1]["pt"])
        bottom = [(index, jet) for index, jet in enumerate(event["Jet"]) if jet["hadronFlavour"] == 5]
        bottom.sort(key=lambda item: (-abs(item[1]["eta"]), item[1]["pt"]))
        muons = [(index, muon) for index, muon in enumerate(event["Muon"]) if muon["pt"] > 10]
        muons.sort(key=lambda item: -item[1]["pt"])
        found["Jets"].append([(i, [j["pt"], np.cos(np.float32(j["phi"])), j["hadronFlavour"] == 5]) for i, j in jets])
        found["BJets"].append([(i, [j["pt"]]) for i, j in bottom])
        found["Leptons"].append([(i, [e["pt"], e["charge"]]) for i, e in electrons])
        found["Muon"].append([(i, [m["pt"]]) for i, m in muons])
        found["Met"].append([(-1, [event["MET"]["pt"], sum(j["pt"] for j in event["Jet"]) + 1])])
    return found


def test_tensors_are_those_of_a_loop_over_events() -> None:
    events = made()
    tensors = event_tensors(events, mapping(), description())
    slots = {"Jets": 4, "BJets": 2, "Leptons": 2, "Met": 1, "Muon": 1}
    for name, rows in slow(events).items():
        values, mask, indices = tensors.values[name], tensors.masks[name], tensors.indices[name]
        assert values.dtype == np.float32
        assert (mask.dtype, indices.dtype, tensors.counts[name].dtype) == (np.bool_, np.int64, np.int64)
        assert values.shape[:2] == mask.shape == indices.shape == (len(events), slots[name])
        for place, row in enumerate(rows):
            kept = row[: slots[name]]
            assert tensors.counts[name][place] == len(row)
            assert indices[place].tolist() == [i for i, _ in kept] + [-1] * (slots[name] - len(kept))
            assert mask[place].tolist() == [True] * len(kept) + [False] * (slots[name] - len(kept))
            np.testing.assert_allclose(
                values[place, : len(kept)], [v for _, v in kept] or np.zeros((0, values.shape[2]))
            )
            assert not values[place, len(kept) :].any()
    assert tensors.collections == {"Jets": "Jet", "BJets": "Jet", "Leptons": "Electron", "Met": "", "Muon": "Muon"}
    assert tensors.cut["Jets"] == sum(len(row) > 4 for row in slow(events)["Jets"])
    assert "Met" not in tensors.cut
    assert tensors.tags == {"Jets.btag": "drawn with the efficiencies 1 (hadronFlavour 5), 0 (hadronFlavour 0)"}


def test_tags_depend_on_the_event_number_alone_and_a_column_comes_first() -> None:
    events = made(200)
    text = MAPPING.replace("{efficiencies: {5: 1.0, 0: 0.0}}", "{column: score > 0.5, efficiencies: {5: 0.5, 0: 0.2}}")
    whole = event_tensors(events, mapping(text), description())
    parts = [event_tensors(events[i : i + 50], mapping(text), description()) for i in range(0, 200, 50)]
    np.testing.assert_array_equal(whole.values["Jets"], np.concatenate([part.values["Jets"] for part in parts]))
    events["Jet"] = ak.with_field(events.Jet, ak.where(events.Jet.hadronFlavour == 4, 1.0, 0.0), "score")
    there = event_tensors(events, mapping(text), description())
    assert there.tags == {"Jets.btag": "score > 0.5"}
    assert there.values["Jets"][..., 2].sum() != whole.values["Jets"][..., 2].sum()


def _options(events: ak.Array) -> ak.Array:
    """Events that are None between the others."""
    return ak.concatenate([events[:10], ak.Array([None, None]), events[10:]])


@pytest.mark.parametrize("kind", ["virtual", "indexed", "None", "empty"])
def test_events_of_every_layout_give_the_same(kind: str) -> None:
    events = made()
    expected = event_tensors(events, mapping(), description())
    keep = np.arange(len(events))
    if kind == "virtual":
        form, length, container = ak.to_buffers(events)
        lazy = {name: (lambda array=array: array) for name, array in container.items()}
        given = ak.from_buffers(form, length, lazy)
    elif kind == "indexed":
        keep = keep[::-1]
        given = events[keep]
    elif kind == "None":
        given = _options(events)
        keep = np.concatenate([keep[:10], [-1, -1], keep[10:]])
    else:
        keep, given = keep[:0], events[:0]
    tensors = event_tensors(given, mapping(), description())
    for name in tensors.values:
        for one, other in ((tensors.values, expected.values), (tensors.masks, expected.masks)):
            wanted = np.where((keep >= 0).reshape(-1, *[1] * (other[name].ndim - 1)), other[name][keep], 0)
            np.testing.assert_array_equal(one[name], wanted)
        np.testing.assert_array_equal(tensors.counts[name], np.where(keep >= 0, expected.counts[name][keep], 0))


def test_missing_columns_are_listed_with_the_nearest() -> None:
    events = made()
    events["Jet"] = events.Jet[["pt", "eta", "phi"]]
    text = MAPPING.replace("cos(phi)", "cos(phy)").replace("MET.pt", "PuppiMET.pt")
    with pytest.raises(MissingColumns) as caught:
        check_columns(EventColumns(events), mapping(text), description(), "a.root")
    said = str(caught.value).splitlines()
    assert said[:2] == ["a.root lack columns of the mapping", "3 missing columns:"]
    assert said[2] == "  Jet.phy (nearest: Jet.phi, Jet.pt, Jet.eta), for feature 'cos_phi' of Jets"
    assert said[3].startswith("  Jet.hadronFlavour")
    assert said[3].endswith("for tag 'btag' of Jets, the selection of BJets")
    assert said[4].startswith("  PuppiMET.pt (nearest: MET.pt")
    assert check_columns(EventColumns(made()), mapping(), description()) == (
        "Electron.charge", "Electron.eta", "Electron.phi", "Electron.pt", "Jet.eta", "Jet.hadronFlavour", "Jet.phi",
        "Jet.pt", "MET.pt", "Muon.pt", "event", "run",
    )  # fmt: skip


def test_values_that_are_missing_are_an_error_or_have_a_value() -> None:
    events = made()
    flags = ak.local_index(events.Electron) == 1
    events["Electron"] = ak.with_field(events.Electron, ak.mask(events.Electron.charge, ~flags), "charge")
    with pytest.raises(InvalidValues, match=r"feature 'charge' of .*'Leptons' is None or NaN in .* event number"):
        event_tensors(events, mapping(), description())
    text = MAPPING.replace("Electron, max", "Electron, fill: {charge: -9}, max")
    filled = event_tensors(events, mapping(text), description())
    chosen = filled.indices["Leptons"] == 1
    assert chosen.any()
    assert (filled.values["Leptons"][chosen, 1] == -9).all()
    assert (filled.values["Leptons"][~chosen, 1] != -9).all()


def test_wrong_shapes_are_refused() -> None:
    events = made()
    with pytest.raises(ConfigError, match="select 'pt' is not a cut"):
        event_tensors(events, mapping(MAPPING.replace("Muon, select: pt > 10", "Muon, select: pt")), description())
    with pytest.raises(MismatchError, match=r"gives .*expected one number per event"):
        event_tensors(events, mapping(MAPPING.replace("sum(Jet.pt) + 1", "Jet.pt")), description())
    with pytest.raises(MismatchError, match=r"Jet\.phi, for Leptons, is a list for each event"):
        event_tensors(events, mapping(MAPPING.replace("Electron, max", "Electron, order: Jet.phi, max")), description())


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("  Muon:", "  Muons:", "line 18: unknown input 'Muons' (nearest: Muon, Leptons). Inputs of the"),
        ("{cos_phi:", "{cosphi:", "line 9: unknown feature 'cosphi' (nearest: cos_phi). Features of 'Jets'"),
        ("    max_objects: 4\n", "", "line 4: the sequential input 'Jets' needs the key 'max_objects'"),
        ("{Leptons: 0.4}", "{Lepton: 0.4}", "line 7: unknown input 'Lepton' (nearest: Leptons)"),
        ("{Leptons: 0.4}", "{Met: 0.4}", "line 7: the input 'Met' has no collection of objects"),
        (", 0: 0.0}", "}", "line 10: the tag 'btag' needs the efficiency of flavour 0"),
        ("{efficiencies: {5: 1.0, 0: 0.0}}", "{}", "line 10: the tag 'btag' needs the key 'column' or 'efficiencies'"),
        ("cos(phi)", "cosine(phi)", "line 9: 'cos_phi': 'cosine(phi)' is not an expression: position 1: unknown"),
        ("Muon, select", "Muon, max_objects: 2, select", "the global input 'Muon' has one object, got 2"),
        ("{features: {met", "{select: a > 1, features: {met", "line 17: 'select' needs the key 'collection'"),
        ("    order: [", "    odrer: [", "line 14: unknown key 'odrer' (nearest: order). Allowed:"),
        ("version: 1", "version: 2", "version 2, this version of jettagger reads 1"),
        ("  Met: {features: {met: MET.pt, ht: sum(Jet.pt) + 1}}\n", "", "the input 'Met' of the event file is missing"),
    ],
)  # fmt: skip
def test_mistakes_in_mappings_are_named_with_their_line(old: str, new: str, said: str) -> None:
    assert old in MAPPING
    with pytest.raises(ConfigError) as caught:
        mapping(MAPPING.replace(old, new))
    assert said in str(caught.value)


RELATIVE = """
INPUTS:
  RELATIVE: {Jets: {dr: none, pt: log, share: none, mass: none, tagged: none, met: none}}
  SEQUENTIAL: {Leptons: {pt: log}}
EVENT: {h: [b1: Jets, b2: Jets]}
"""

PAIRS = """
version: 1
inputs:
  Jets:
    collection: Jet
    select: pt > 15
    max_objects: 4
    pairs:
      dr: pair.delta_r
      mass: pair.mass
      share: first.pt / pair.pt * (1 + pair.eta * pair.phi)
      tagged: where(first.tag and not second.tag, pair.delta_eta, pair.delta_phi)
      met: MET.pt + second.pt
    tags: {tag: {column: hadronFlavour == 5}}
  Leptons: {collection: Electron, max_objects: 2}
"""


def with_masses(events: ak.Array) -> ak.Array:
    return ak.with_field(events, events.Jet.pt / 7, ("Jet", "mass"))


def pair_features(one: Any, other: Any, met: float) -> list[float]:
    """The features of pairs in the order of the event file."""
    vectors = [
        np.array([np.cos(j["phi"]) * j["pt"], np.sin(j["phi"]) * j["pt"], np.sinh(j["eta"]) * j["pt"], j["mass"]])
        for j in (one, other)
    ]
    x, y, z, _ = sum(vectors)
    energy = sum(np.sqrt((vector**2).sum()) for vector in vectors)
    pt = np.hypot(x, y)
    delta_phi = (one["phi"] - other["phi"] + np.pi) % (2 * np.pi) - np.pi
    delta_eta = one["eta"] - other["eta"]
    first_only = one["hadronFlavour"] == 5 and other["hadronFlavour"] != 5
    return [
        np.hypot(delta_eta, delta_phi),
        one["pt"] / pt * (1 + np.arcsinh(z / pt) * np.arctan2(y, x)),
        np.sqrt(max(energy**2 - x**2 - y**2 - z**2, 0)),
        delta_eta if first_only else delta_phi,
        met + other["pt"],
    ]


def test_features_of_pairs_are_those_of_a_loop() -> None:
    event = parse_event_text(RELATIVE)
    events = with_masses(made())
    tensors = event_tensors(events, parse_mapping(PAIRS, event), event)
    assert tensors.pair_features == {"Jets": ("dr", "share", "mass", "tagged", "met")}
    values, pair_values = tensors.values["Jets"], tensors.pair_values["Jets"]
    assert (values.shape, pair_values.shape) == ((40, 4, 1), (40, 4, 4, 5))
    assert (values.dtype, pair_values.dtype) == (np.float32, np.float32)
    compared = 0
    for number, one in enumerate(events.tolist()):
        jets = sorted((jet for jet in one["Jet"] if jet["pt"] > 15), key=lambda jet: -jet["pt"])[:4]
        assert values[number, : len(jets), 0].tolist() == [np.float32(jet["pt"]) for jet in jets]
        for row in range(4):
            for column in range(4):
                got = pair_values[number, row, column]
                if max(row, column) >= len(jets):
                    assert not got.any()
                    continue
                expected = pair_features(jets[row], jets[column], one["MET"]["pt"])
                np.testing.assert_allclose(got, expected, rtol=2e-4, atol=2e-4)
                compared += 1
    assert compared > 200
    nothing = event_tensors(events[:0], parse_mapping(PAIRS, event), event)
    assert nothing.pair_values["Jets"].shape == (0, 4, 4, 5)


def test_columns_of_pairs_are_required_and_their_values_checked() -> None:
    event = parse_event_text(RELATIVE)
    chosen = parse_mapping(PAIRS, event)
    assert check_columns(EventColumns(with_masses(made())), chosen, event) == (
        "Electron.pt", "Jet.eta", "Jet.hadronFlavour", "Jet.mass", "Jet.phi", "Jet.pt", "MET.pt",
    )  # fmt: skip
    with pytest.raises(MissingColumns, match=r"Jet\.mass.*for feature 'mass' of Jets"):
        event_tensors(made(), chosen, event)
    infinite = parse_mapping(PAIRS.replace("dr: pair.delta_r", "dr: log(pair.delta_r)"), event)
    with np.errstate(divide="ignore"), pytest.raises(InvalidValues, match=r"'dr' of .*'Jets' is infinite in .* number"):
        event_tensors(with_masses(made()), infinite, event)
    lists = parse_mapping(PAIRS.replace("MET.pt +", "Electron.pt +"), event)
    with pytest.raises(MismatchError, match=r"Electron\.pt, for Jets, is a list for each event"):
        event_tensors(with_masses(made()), lists, event)
    events = with_masses(made())
    events["Jet"] = ak.with_field(events.Jet, ak.mask(events.Jet.mass, events.Jet.pt < 40), "mass")
    with pytest.raises(InvalidValues, match="'mass' of the input 'Jets' is None or NaN"):
        event_tensors(events, chosen, event)
    filled = event_tensors(events, parse_mapping(PAIRS.replace("max_", "fill: {mass: -1}\n    max_", 1), event), event)
    assert (filled.pair_values["Jets"][..., 2] == -1).any()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("pair.mass", "pair.mas", "line 10: unknown quantity of pairs 'mas' (nearest: mass)"),
        ("share: first", "shar: first", "line 11: unknown feature 'shar' (nearest: share). Features of 'Jets'"),
        ("    max_objects: 4\n", "", "line 4: the relative input 'Jets' needs the key 'max_objects'"),
        ("    pairs:", "    features: {dr: pt}\n    pairs:", "line 10: the feature 'dr' is in 'features', too"),
        (
            "Electron, max",
            "Electron, pairs: {pt: pair.pt}, max",
            "'Leptons' is a SEQUENTIAL input: pairs need",
        ),
        ("pair.delta_r", "pair.delta_r +", "line 9: 'dr': 'pair.delta_r +' is not an expression"),
    ],
)
def test_mistakes_in_features_of_pairs_are_named_with_their_line(old: str, new: str, said: str) -> None:
    assert old in PAIRS
    with pytest.raises(ConfigError) as caught:
        parse_mapping(PAIRS.replace(old, new, 1), parse_event_text(RELATIVE))
    assert said in str(caught.value)


def test_events_of_this_package_and_the_example_of_all_hadronic_top_pairs() -> None:
    from assignments import EXAMPLES

    from jettagger.testing import make_events
    from jettagger.topology.eventfile import read_event_file
    from jettagger.topology.mapping import read_mapping

    event = read_event_file(EXAMPLES / "tthad" / "event.yaml")
    chosen = read_mapping(EXAMPLES / "tthad" / "inputs.yaml", event)
    events = make_events(30, seed=1, ak4=True)
    with pytest.raises(MissingColumns, match=r"1 missing column:\n  Jet\.hadronFlavour.*tag 'btag' of Jets"):
        event_tensors(events, chosen, event)
    events["Jet"] = ak.with_field(events.Jet, events.Jet.mass / events.Jet.pt, "btagDeepFlavB")
    tensors = event_tensors(events, chosen, event)
    assert tensors.tags == {"Jets.btag": "btagDeepFlavB > 0.2783"}
    passes = (events.Jet.pt > 25) & (abs(events.Jet.eta) < 2.5)
    np.testing.assert_array_equal(tensors.counts["Jets"], ak.sum(passes, axis=1))
    jets = events.Jet[passes]
    jets = jets[ak.argsort(-jets.pt, axis=1, stable=True)][:, :12]
    np.testing.assert_array_equal(tensors.values["Jets"][tensors.masks["Jets"]][:, 1], ak.flatten(jets.pt))
    assert np.sum(tensors.masks["Jets"]) > 10
