"""Event files: read as SPANet reads them, groups equal to its groups, written back, each mistake with its line."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
from conftest import shared_folder
from hypothesis import given, settings
from hypothesis import strategies as st

from jettagger.config.yamlfile import yaml_text
from jettagger.errors import ConfigError, OutputError, UnknownName
from jettagger.topology.eventfile import (
    REGRESSION_TYPES,
    Daughter,
    EventDescription,
    EventInput,
    InputFeature,
    Particle,
    event_text,
    parse_event_text,
    read_event_file,
    write_event_file,
)
from jettagger.topology.permutations import PermutationGroup, cycles_of, permutation_of_cycles, symmetric_generators

SPANET = shared_folder() / "spanet"
GROUPS = json.loads((SPANET / "permutation_groups.json").read_text()) if SPANET.is_dir() else {}

TTBAR = """\
INPUTS:
  SEQUENTIAL:
    Jets:
      pt: log_normalize
      eta: normalize
      btag: none
    Leptons:
      pt: log
  GLOBAL:
    Met:
      met: log_normalize
EVENT:
  t1:
    - q1
    - q2
    - b: Jets
  t2:
    - q1
    - q2
    - b: Jets
PERMUTATIONS:
  EVENT:
    - [t1, t2]
  t1:
    - [q1, q2]
  t2:
    - [[q1, q2]]
REGRESSIONS:
  EVENT:
    - mass
    - [neutrino_pz, laplacian]
  t1:
    b:
      - [pt, log_gaussian]
    PARTICLE: [pt]
CLASSIFICATIONS:
  t2:
    - q1: [flavour]
    - PARTICLE: [charge]
"""

INI = """\
[SOURCE]
mass = log_normalize
pt = log_normalize
btag = none

[EVENT]
particles = (t1, t2)
permutations = [(t1, t2)]

[t1]
jets = (q1, q2, b)
permutations = [(q1, q2)]

[t2]
jets = (q1, q2, b)
permutations = [(q1, q2)]
"""


@pytest.mark.data
@pytest.mark.parametrize(
    "case", json.loads((SPANET / "permutation_groups.json").read_text()) if SPANET.is_dir() else []
)
def test_groups_equal_those_of_the_original(case: str) -> None:
    expected = GROUPS[case]
    event = parse_event_text(yaml_text(expected["yaml"]), case)
    assert set(event.event_group.elements) == set(map(tuple, expected["event_group"]))
    assert event.event_group.order == len(expected["event_group"])
    assert set(event.event_group.transpositions) == set(map(tuple, expected["event_transpositions"]))
    classes = [{tuple(subset) for subset in members} for members in expected["equivalence_classes"]]
    ours = [set(members) for members in event.event_group.equivalence_classes]
    assert sorted(map(sorted, ours)) == sorted(map(sorted, classes))
    for particle, elements in expected["product_groups"].items():
        assert set(event.daughter_group(particle).elements) == set(map(tuple, elements))
    assert parse_event_text(event_text(event)) == event


@pytest.mark.data
@pytest.mark.parametrize("path", sorted(SPANET.rglob("*.yaml")), ids=lambda path: path.name)
def test_files_of_the_original_are_read(path: Path) -> None:
    event = read_event_file(path)
    assert parse_event_text(event_text(event)) == event
    if "ttH" in path.name:
        assert event.input_names == ("Momenta", "Met")
        assert [item.name for item in event.sequential] == ["Momenta"]
        assert event.input("Met").features[0] == InputFeature("met", log=True, normalize=True)
        assert list(event.regressions) == [
            f"EVENT/{name}"
            for name in ("neutrino_eta", "neutrino_px", "neutrino_py", "neutrino_pz", "log_invariant_mass")
        ]
        assert event.classifications == ("EVENT/signal",)
        assert event.daughter_group("ht").elements == ((0, 1, 2), (0, 2, 1))


def test_everything_in_a_file() -> None:
    event = parse_event_text(TTBAR)
    assert [(item.name, item.kind) for item in event.inputs] == [
        ("Jets", "sequential"),
        ("Leptons", "sequential"),
        ("Met", "global"),
    ]
    assert event.input("Jets").feature_names == ("pt", "eta", "btag")
    assert [feature.option for feature in event.input("Jets").features] == ["log_normalize", "normalize", "none"]
    assert event.particle("t1").daughters == (Daughter("q1"), Daughter("q2"), Daughter("b", "Jets"))
    assert event.event_group.elements == ((0, 1), (1, 0))
    assert event.daughter_group("t1") == event.daughter_group("t2")
    # in the order of the outputs of the original, not in that of the file
    assert list(event.regressions.items()) == [
        ("EVENT/mass", "gaussian"),
        ("EVENT/neutrino_pz", "laplacian"),
        ("t1/PARTICLE/pt", "gaussian"),
        ("t1/b/pt", "log_gaussian"),
    ]
    assert event.classifications == ("t2/PARTICLE/charge", "t2/q1/flavour")
    assert pickle.loads(pickle.dumps(event)) == event


def test_relative_inputs_have_slots_and_keep_their_order() -> None:
    event = parse_event_text(
        "INPUTS: {GLOBAL: {Met: {met: none}}, RELATIVE: {Jets: {pt: log}}, sequential: {Leptons: {pt: log}}}\n"
        "EVENT: {h: [b1: Jets, b2: Jets]}"
    )
    assert event.input_names == ("Met", "Jets", "Leptons")
    assert [item.name for item in event.sequential] == ["Jets", "Leptons"]


@pytest.mark.parametrize(
    ("option", "log", "normalize"),
    [
        ("none", False, False),
        ("log", True, False),
        ("Normalize", False, True),
        ("log_normalize", True, True),
        ("normalize, log", True, True),
        ('"true"', False, True),
        ("true", False, True),
        ("no", False, False),
        ("", False, False),
        ("'false'", False, False),
    ],
)
def test_options_are_found_in_their_text(option: str, log: bool, normalize: bool) -> None:
    event = parse_event_text(
        f"INPUTS: {{SEQUENTIAL: {{Jets: {{pt: {option!s}}}}}}}\nEVENT: {{h: [b]}}".replace(
            "normalize, log", "'normalize, log'"
        )
    )
    assert event.inputs[0].features == (InputFeature("pt", log, normalize),)


def test_an_option_that_is_understood_in_part_is_said() -> None:
    with pytest.warns(UserWarning, match=r"line 1: option 'normalized' of feature 'pt' .* read as normalize"):
        event = parse_event_text("INPUTS: {SEQUENTIAL: {Jets: {pt: normalized}}}\nEVENT: {h: [b]}")
    assert event.inputs[0].features[0].option == "normalize"


def edited(old: str, new: str) -> str:
    assert old in TTBAR
    return TTBAR.replace(old, new, 1)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 0, "must be a mapping, got nothing"),
        ("INPUTS: [", 2, "not valid YAML"),
        (edited("CLASSIFICATIONS", "CLASIFICATIONS"), 36, "unknown key 'CLASIFICATIONS' (nearest: CLASSIFICATIONS"),
        (edited("  GLOBAL", "  GLOBALS"), 9, "unknown kind of input 'GLOBALS' (nearest: GLOBAL)"),
        (edited("pt: log\n", "pt: lgo\n"), 8, "(nearest: log): expected none, log, normalize, log_normalize; SPANet"),
        (edited("btag: none", "btag: 1"), 6, "must be one of none, log, normalize, log_normalize, got 1"),
        (edited("btag: none", "on: none"), 6, "the name of a feature must be text, got True (YAML reads yes, no"),
        (edited("btag: none", "MASK: none"), 6, "'MASK' cannot be the name of a feature"),
        (edited("Leptons", "a/b"), 7, "'a/b' cannot be the name of a input"),
        (edited("Met:", "Jets:"), 10, "the input 'Jets' appears twice, first as SEQUENTIAL"),
        (edited("      met: log_normalize\n", ""), 10, "the features of input 'Met' must be a mapping"),
        (edited("b: Jets", "b: Jet"), 16, "unknown input in daughter 'b' of 't1': 'Jet' (nearest: Jets)"),
        (edited("b: Jets", "b: Met"), 16, "the input 'Met' is global, one vector per event"),
        (edited("b: Jets", "b: 5"), 16, "the input of daughter 'b' must be text, got 5 (a number): put it in quotes"),
        (edited("- q2\n    - b", "- q1\n    - b"), 13, "the daughter 'q1' of particle 't1' appears twice"),
        (edited("    - [t1, t2]\n", "    - [t1, t3]\n"), 23, "unknown particle in the permutations of EVENT: 't3'"),
        (edited("    - [t1, t2]\n", "    [t1, t2]\n"), 23, "are a list of lists, got text 't1'; names that may be"),
        (edited("- [q1, q2]", "- [q1, q1]"), 25, "'q1' appears twice among objects that may be exchanged"),
        (edited("[[q1, q2]]", "[[q1, q2], [q2, b]]"), 27, "'q2' appears twice, so this is no permutation"),
        (edited("[[q1, q2]]", "[[q1, q2], b]"), 27, "mixes names and lists"),
        (edited("  t1:\n    - [q1, q2]", "  tt:\n    - [q1, q2]"), 24, "unknown particle: 'tt' (nearest: t2, t1)"),
        (edited("    - q1\n    - q2\n    - b: Jets\nP", "    - q1\nP"), 21, "have 3 and 1 daughters"),
        (edited("laplacian", "laplace"), 31, "unknown type of regression: 'laplace' (nearest: laplacian"),
        (edited("    b:\n      - [pt", "    c:\n      - [pt"), 33, "unknown daughter in particle 't1': 'c'"),
        (edited("    - mass\n", "    - mass\n    - mass\n"), 31, "'mass' appears twice"),
        (edited("PARTICLE: [charge]", "q1: [charge]"), 39, "'q1' appears twice"),
        (edited("PARTICLE: [pt]", "PARTICLE: pt"), 35, "the targets must be a list, got text"),
    ],
)
def test_a_mistake_has_its_line(text: str, line: int, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_event_text(text, "event.yaml")
    place = f"event.yaml, line {line}: " if line else "event.yaml: "
    assert str(caught.value).startswith(place)
    assert message in str(caught.value)


def test_the_place_of_a_file_is_its_path(tmp_path: Path) -> None:
    path = tmp_path / "event.yaml"
    path.write_text("INPUTS: {}\nEVENT: {h: [b]}\n")
    with pytest.raises(ConfigError, match=rf"^{re.escape(str(path))}, line 1: no input has slots"):
        read_event_file(path)
    with pytest.raises(ConfigError, match="cannot read"):
        read_event_file(tmp_path / "absent.yaml")


JETS = EventInput("Jets", "sequential", (InputFeature("pt"),))
HIGGS = Particle("h", (Daughter("b1"), Daughter("b2")))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: EventDescription((), (HIGGS,)), ConfigError, "no input has slots"),
        (lambda: EventDescription((JETS,), ()), ConfigError, "no particles"),
        (lambda: EventDescription((JETS, JETS), (HIGGS,)), ConfigError, "the input 'Jets' appears twice"),
        (lambda: EventDescription((JETS,), (HIGGS, HIGGS)), ConfigError, "the particle 'h' appears twice"),
        (lambda: EventDescription((JETS,), (HIGGS,), {"H": ()}), UnknownName, "(nearest: h)"),
        (lambda: EventDescription((JETS,), (HIGGS,), {}, {"EVENT/m": "gauss"}), UnknownName, "(nearest: gaussian"),
        (lambda: EventDescription((JETS,), (HIGGS,), {}, {"m": "gaussian"}), UnknownName, "unknown particle: 'm'"),
        (lambda: EventDescription((JETS,), (HIGGS,), {}, {"h/m": "gaussian"}), ConfigError, "expected EVENT/NAME"),
        (lambda: EventDescription((JETS,), (HIGGS,), {}, {}, ("h/b/m",)), UnknownName, "unknown daughter"),
        (lambda: EventInput("Jets", "sequence", ()), ConfigError, "(nearest: sequential)"),
        (lambda: EventInput("Jets", "global", ()), ConfigError, "has no features"),
        (lambda: Particle("EVENT", (Daughter("b"),)), ConfigError, "cannot be the name of a particle"),
        (lambda: PermutationGroup(2, [(0, 2)]), ConfigError, "(0, 2) is no permutation of the numbers 0 to 1"),
        (lambda: PermutationGroup(2, [(0, 0)]), ConfigError, "0 appears twice"),
        (lambda: PermutationGroup(3, [(0, 1)]), ConfigError, "it has 2 entries"),
        (lambda: PermutationGroup(-1), ConfigError, "got -1"),
        (lambda: PermutationGroup(9, symmetric_generators(range(9), range(9))).order, ConfigError, "more than 100,000"),
        (lambda: PermutationGroup(17).equivalence_classes, ConfigError, "at most 16 objects"),
    ],
)
def test_values_are_checked_without_a_file(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        make()


def test_inputs_of_one_kind_follow_each_other() -> None:
    met = EventInput("Met", "global", (InputFeature("met"),))
    leptons = EventInput("Leptons", "sequential", (InputFeature("pt"),))
    with pytest.raises(ConfigError, match="must follow each other"):
        EventDescription((JETS, met, leptons), (HIGGS,))


def test_unknown_names_have_the_nearest() -> None:
    event = parse_event_text(TTBAR)
    with pytest.raises(UnknownName, match="nearest: t2, t1"):
        event.particle("t3")
    with pytest.raises(UnknownName, match="nearest: t2, t1"):
        event.daughter_group("t3")
    with pytest.raises(UnknownName, match="nearest: Jets"):
        event.input("jets")


def test_a_file_is_written_completely_or_not_at_all(tmp_path: Path) -> None:
    event = parse_event_text(TTBAR)
    write_event_file(tmp_path / "event.yaml", event)
    assert read_event_file(tmp_path / "event.yaml") == event
    with pytest.raises(OutputError):
        write_event_file(tmp_path / "absent" / "event.yaml", event)


# ------------------------------------------------------------------------------------------------------ old files


def old_file(folder: Path, text: str) -> Path:
    path = folder / "event.ini"
    path.write_text(text)
    return path


def test_files_of_the_former_format_are_read(tmp_path: Path) -> None:
    event = read_event_file(old_file(tmp_path, INI))
    assert event == parse_event_text(
        "INPUTS: {SEQUENTIAL: {SOURCE: {mass: log_normalize, pt: log_normalize, btag: none}}}\n"
        "EVENT: {t1: [q1, q2, b], t2: [q1, q2, b]}\n"
        "PERMUTATIONS: {EVENT: [[t1, t2]], t1: [[q1, q2]], t2: [[q1, q2]]}\n"
    )


def test_files_of_the_former_format_with_several_inputs(tmp_path: Path) -> None:
    text = INI.replace("[SOURCE]", "[JETS]").replace("[(t1, t2)]", "[]") + "[MET]\nmet = log\n"
    event = read_event_file(old_file(tmp_path, text + "[INPUTS]\njets = sequential\nmet = global\n"))
    assert [(item.name, item.kind) for item in event.inputs] == [("JETS", "sequential"), ("MET", "global")]
    assert event.event_group.order == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[SOURCE]", "[SUORCE]", "the section [SOURCE] is missing (nearest: SUORCE)"),
        ("[t2]", "[t3]", "the section [t2] is missing (nearest: t3, t1)"),
        ("particles", "particels", "line 6: the key 'particles' is missing in [EVENT] (nearest: particels)"),
        ("(q1, q2, b)", "()", "line 11: 'jets' of [t1] is empty"),
        ("[(t1, t2)]", "[(t1, 1)]", "line 8: 'permutations' of [EVENT] must be a list of tuples of names"),
        ("[(t1, t2)]", "__import__('os')", "line 8: 'permutations' of [EVENT] must be a list"),
        ("[(q1, q2)]", "[(q1, q3)]", "line 12: unknown daughter in the permutations of t1: 'q3'"),
        ("mass = log_normalize", "mass = lgo", "line 2: option 'lgo' of feature 'mass' is not understood"),
        ("[SOURCE]", "SOURCE", "line 1: not a valid .ini file"),
    ],
)
def test_a_mistake_in_the_former_format_has_its_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in INI
    with pytest.raises(ConfigError, match=re.escape(message)):
        read_event_file(old_file(tmp_path, INI.replace(old, new, 1)))


# ------------------------------------------------------------------------------------------------------ properties

names = st.text(st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="/"), min_size=1, max_size=6)
names = (names | st.sampled_from(["on", "1", "null", "1e3", "yes", "- a", "a: b", "#", "~"])).filter(
    lambda name: name not in (".", "..", "EVENT", "PARTICLE", "MASK", "WEIGHT")
)


def distinct(count: int) -> st.SearchStrategy[list[str]]:
    return st.lists(names, min_size=1, max_size=count, unique=True)


@st.composite
def entries_of(draw: Any, members: list[str]) -> tuple[Any, ...]:
    entries = []
    for _ in range(draw(st.integers(0, 2))):
        chosen = draw(st.permutations(members))[: draw(st.integers(1, len(members)))]
        if draw(st.booleans()):
            entries.append(tuple(chosen))
        else:
            cut = draw(st.integers(1, len(chosen)))
            entries.append(tuple(cycle for cycle in (tuple(chosen[:cut]), tuple(chosen[cut:])) if cycle))
    return tuple(entries)


@st.composite
def descriptions(draw: Any) -> EventDescription:
    inputs = []
    all_names = draw(distinct(4))
    for position, kind in enumerate(draw(st.permutations(["sequential", "global", "relative"]))):
        for name in all_names[position::3]:
            features = draw(distinct(3))
            flags = st.tuples(st.sampled_from(features), st.booleans(), st.booleans())
            chosen = {name: (log, normalize) for name, log, normalize in draw(st.lists(flags, max_size=4))}
            read = tuple(InputFeature(item, *chosen.get(item, (False, False))) for item in features)
            inputs.append(EventInput(name, kind, read))
    if all(item.kind == "global" for item in inputs):
        inputs.append(EventInput("the jets", "sequential", (InputFeature("pt"),)))
    kinds_in_order = [item.kind for item in inputs]
    inputs.sort(key=lambda item: kinds_in_order.index(item.kind))
    sources = [None, *(item.name for item in inputs if item.kind != "global")]
    daughters = draw(distinct(3))
    particles = tuple(
        Particle(name, tuple(Daughter(item, draw(st.sampled_from(sources))) for item in daughters))
        for name in draw(distinct(3))
    )
    permutations = {
        owner: draw(entries_of(members))
        for owner, members in [
            ("EVENT", [one.name for one in particles]),
            *((one.name, daughters) for one in particles),
        ]
    }
    places = [("EVENT",), *((one.name, node) for one in particles for node in ("PARTICLE", *daughters))]
    paths = ["/".join((*place, name)) for place in places for name in draw(st.lists(names, max_size=2, unique=True))]
    kinds = st.sampled_from(REGRESSION_TYPES)
    regressions = {path: draw(kinds) for path in paths if draw(st.booleans())}
    return EventDescription(tuple(inputs), particles, permutations, regressions, tuple(paths))


@given(descriptions())
@settings(max_examples=60)
def test_what_is_written_is_read_back(event: EventDescription) -> None:
    again = parse_event_text(event_text(event))
    assert again == event
    assert again.event_group == event.event_group
    assert list(again.regressions) == list(event.regressions)


@given(st.integers(1, 5), st.data())
@settings(max_examples=60)
def test_groups_are_groups(degree: int, data: st.DataObject) -> None:
    generators = data.draw(st.lists(st.permutations(range(degree)), max_size=2))
    group = PermutationGroup(degree, generators)
    elements = set(group.elements)
    assert group.elements[0] == tuple(range(degree))
    assert group.order == len(elements)
    for one in elements:
        assert permutation_of_cycles(cycles_of(one), range(degree)) == one
        for other in elements:
            assert tuple(one[item] for item in other) in elements
    assert sorted(item for orbit in group.orbits for item in orbit) == list(range(degree))
    assert {frozenset(element[0] for element in elements)} <= {frozenset(orbit) for orbit in group.orbits}
    subsets = [subset for members in group.equivalence_classes for subset in members]
    assert len(subsets) == len(set(subsets)) == 2**degree
    assert group == PermutationGroup(degree, group.elements)
    assert hash(group) == hash(PermutationGroup(degree, group.elements))
    assert PermutationGroup(degree, symmetric_generators(range(degree), range(degree))).orbits == (
        tuple(range(degree)),
    )
