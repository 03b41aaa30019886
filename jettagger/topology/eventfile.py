"""Event files of SPANet: inputs, particles with their daughters, symmetries, regressions and classes of an event.

Read as they are, from YAML or the former ``.ini``, validated with file, line and nearest name, and written back.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from jettagger.arguments import guard
from jettagger.config.yamlfile import Document, FlowList, check_keys, kind_of, read_yaml, yaml_text
from jettagger.display import Brief
from jettagger.errors import ConfigError, UnknownName, hint, nearest
from jettagger.files import complete_or_absent
from jettagger.topology.inifile import ini_document
from jettagger.topology.permutations import PermutationGroup, permutation_of_cycles, symmetric_generators

__all__ = [
    "EVENT",
    "PARTICLE",
    "REGRESSION_TYPES",
    "Daughter",
    "EventDescription",
    "EventInput",
    "InputFeature",
    "Particle",
    "event_text",
    "parse_event_text",
    "read_event_file",
    "write_event_file",
]

#: words of event files and data sets that stand for the whole event, and for a particle itself beside its daughters
EVENT, PARTICLE = "EVENT", "PARTICLE"

#: datasets of HDF5 files beside those of features and daughters
_MASK, _WEIGHT = "MASK", "WEIGHT"

#: types of regressions; the first is the default
REGRESSION_TYPES = ("gaussian", "laplacian", "log_gaussian")

InputKind = Literal["sequential", "global", "relative"]
_KINDS: tuple[InputKind, ...] = ("sequential", "global", "relative")
_TOP = ("INPUTS", "EVENT", "PERMUTATIONS", "REGRESSIONS", "CLASSIFICATIONS")
_OPTIONS = ("none", "log", "normalize", "log_normalize")

#: an entry of PERMUTATIONS: names that may all be exchanged, or disjoint cycles that are one generator together
PermutationEntry = tuple[str, ...] | tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class InputFeature(Brief):
    """A feature of an input, and how networks transform it.

    Parameters
    ----------
    name : str
    log : bool
        x becomes ln(x + 1).
    normalize : bool
        Afterwards x becomes (x - mean) / std, with statistics of the training set.

    Examples
    --------
    >>> InputFeature("pt", log=True, normalize=True).option
    'log_normalize'
    """

    name: str
    log: bool = False
    normalize: bool = False

    def __post_init__(self) -> None:
        _check_name(self.name, "feature", (_MASK,))

    @property
    def option(self) -> str:
        """As in event files: ``none``, ``log``, ``normalize`` or ``log_normalize``."""
        return _OPTIONS[self.log + 2 * self.normalize]


@dataclass(frozen=True)
class EventInput(Brief):
    """An input of networks on whole events.

    Parameters
    ----------
    name : str
    kind : {"sequential", "global", "relative"}
        Sequential and relative inputs have slots, which targets refer to; a global one has one vector per event.
    features : tuple of InputFeature
        In the order of the network's variables.

    Raises
    ------
    ConfigError
        If there is no feature, or one appears twice.
    """

    name: str
    kind: InputKind
    features: tuple[InputFeature, ...]

    def __post_init__(self) -> None:
        _check_name(self.name, "input")
        if self.kind not in _KINDS:
            raise ConfigError(f"input {self.name!r}: unknown kind {self.kind!r}{hint(self.kind, _KINDS)}")
        if not self.features:
            raise ConfigError(f"input {self.name!r} has no features")
        _check_distinct(self.feature_names, "feature", f" of input {self.name!r}")

    @property
    def feature_names(self) -> tuple[str, ...]:
        """In the order of the network's variables."""
        return tuple(feature.name for feature in self.features)


@dataclass(frozen=True)
class Daughter(Brief):
    """A daughter of a particle.

    Parameters
    ----------
    name : str
    source : str, optional
        The input that its target refers to; None for an index over the slots of all sequential inputs.
    """

    name: str
    source: str | None = None

    def __post_init__(self) -> None:
        _check_name(self.name, "daughter", (_MASK, _WEIGHT, PARTICLE))


@dataclass(frozen=True)
class Particle(Brief):
    """A particle of an event and what it decays to.

    Parameters
    ----------
    name : str
    daughters : tuple of Daughter
        In the order of the axes of the network's distribution.

    Raises
    ------
    ConfigError
        If there is no daughter, or one appears twice.
    """

    name: str
    daughters: tuple[Daughter, ...]

    def __post_init__(self) -> None:
        _check_name(self.name, "particle", (EVENT,))
        if not self.daughters:
            raise ConfigError(f"particle {self.name!r} has no daughters")
        _check_distinct(self.daughter_names, "daughter", f" of particle {self.name!r}")

    @property
    def daughter_names(self) -> tuple[str, ...]:
        """In the order of the axes of the network's distribution."""
        return tuple(daughter.name for daughter in self.daughters)


@dataclass(frozen=True)
class EventDescription(Brief):
    """What an event file says.

    Parameters
    ----------
    inputs : tuple of EventInput
        In the order of the file; inputs of one kind follow each other.
    particles : tuple of Particle
    permutations : mapping, optional
        ``"EVENT"`` or name of a particle -> entries as in the file: a tuple of names that may all be exchanged, or a
        tuple of tuples, which are disjoint cycles of one permutation.
    regressions : mapping, optional
        Path of a target, ``"EVENT/neutrino_px"``, ``"t1/PARTICLE/pt"`` or ``"t1/b/pt"`` -> ``gaussian``, ``laplacian``
        or ``log_gaussian``.
    classifications : tuple of str, optional
        Paths of targets, ``"EVENT/signal"``.

    Raises
    ------
    ConfigError
        If names repeat, a daughter has no slots to refer to, a generator is no permutation, or particles that are
        exchanged differ in the number of daughters.
    UnknownName
        For a name that does not exist, with the nearest ones.

    Examples
    --------
    >>> event = parse_event_text('''
    ... INPUTS: {SEQUENTIAL: {Jets: {pt: log_normalize, btag: none}}}
    ... EVENT: {t1: [q1, q2, b], t2: [q1, q2, b]}
    ... PERMUTATIONS: {EVENT: [[t1, t2]], t1: [[q1, q2]], t2: [[q1, q2]]}
    ... ''')
    >>> event.event_group, event.daughter_group("t1")
    (PermutationGroup of order 2: (0 1), PermutationGroup of order 2: (0 1)(2))
    """

    inputs: tuple[EventInput, ...]
    particles: tuple[Particle, ...]
    permutations: Mapping[str, tuple[PermutationEntry, ...]] = field(default_factory=dict)
    regressions: Mapping[str, str] = field(default_factory=dict)
    classifications: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_distinct([item.name for item in self.inputs], "input")
        kinds = [kind for kind, _ in groupby(item.kind for item in self.inputs)]
        if len(set(kinds)) < len(kinds):
            raise ConfigError(f"inputs of one kind must follow each other, got the kinds {', '.join(kinds)}")
        if not self.sequential:
            raise ConfigError("no input has slots, expected at least one SEQUENTIAL or RELATIVE input")
        if not self.particles:
            raise ConfigError("no particles, expected at least one")
        _check_distinct([item.name for item in self.particles], "particle")
        for particle in self.particles:
            for daughter in particle.daughters:
                self._check_source(particle, daughter)
        for name in self.permutations:
            if name != EVENT:
                self.particle(name)
        for name in (EVENT, *self.particle_names):
            self._group_of(name)
        self._check_exchanged()
        for path, kind in self.regressions.items():
            self._check_target(path, "regression")
            if kind not in REGRESSION_TYPES:
                raise UnknownName("type of regression", kind, REGRESSION_TYPES, repr(path))
        for path in self.classifications:
            self._check_target(path, "class")
        _check_distinct(self.classifications, "class")

    @property
    def particle_names(self) -> tuple[str, ...]:
        """Names of the particles in order."""
        return tuple(particle.name for particle in self.particles)

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of all inputs in order."""
        return tuple(item.name for item in self.inputs)

    @property
    def sequential(self) -> tuple[EventInput, ...]:
        """Inputs with slots, sequential and relative ones, in order: targets are indices over their slots."""
        return tuple(item for item in self.inputs if item.kind != "global")

    def particle(self, name: str) -> Particle:
        """A particle by its name.

        Raises
        ------
        UnknownName
            With the nearest names.
        """
        for particle in self.particles:
            if particle.name == name:
                return particle
        raise UnknownName("particle", name, self.particle_names)

    def input(self, name: str) -> EventInput:
        """An input by its name.

        Raises
        ------
        UnknownName
            With the nearest names.
        """
        for item in self.inputs:
            if item.name == name:
                return item
        raise UnknownName("input", name, self.input_names)

    @cached_property
    def event_group(self) -> PermutationGroup:
        """Which particles may be exchanged, numbered in the order of `particles`."""
        return self._group_of(EVENT)

    def daughter_group(self, particle: str) -> PermutationGroup:
        """Which daughters of a particle may be exchanged, numbered in the order of its daughters.

        Raises
        ------
        UnknownName
            With the nearest names.
        """
        self.particle(particle)
        return self._groups[particle]

    @cached_property
    def _groups(self) -> dict[str, PermutationGroup]:
        return {name: self._group_of(name) for name in self.particle_names}

    def _group_of(self, owner: str) -> PermutationGroup:
        names = self.particle_names if owner == EVENT else self.particle(owner).daughter_names
        what = "particle" if owner == EVENT else "daughter"
        generators = []
        for entry in self.permutations.get(owner, ()):
            flat = [name for part in entry for name in ([part] if isinstance(part, str) else part)]
            for name in flat:
                if name not in names:
                    raise UnknownName(what, name, names, f"the permutations of {owner}")
            if any(isinstance(part, str) for part in entry):
                generators += symmetric_generators(flat, names)
            else:
                generators.append(permutation_of_cycles(entry, names))
        return PermutationGroup(len(names), generators)

    def _check_source(self, particle: Particle, daughter: Daughter) -> None:
        if daughter.source is None:
            return
        known = [item.name for item in self.sequential]
        if daughter.source not in known:
            place = f"daughter {daughter.name!r} of {particle.name!r}"
            if daughter.source in self.input_names:
                raise ConfigError(
                    f"{place}: the input {daughter.source!r} is global, one vector per event; expected one with slots: "
                    f"{', '.join(known)}"
                )
            raise UnknownName("input", daughter.source, known, place)

    def _check_exchanged(self) -> None:
        for orbit in self.event_group.orbits:
            first, *others = (self.particles[number] for number in orbit)
            for other in others:
                if len(other.daughters) != len(first.daughters):
                    raise ConfigError(
                        f"particles {first.name!r} and {other.name!r} are exchanged, but have "
                        f"{len(first.daughters)} and {len(other.daughters)} daughters"
                    )

    def _check_target(self, path: str, what: str) -> None:
        owner, *rest = path.split("/")
        if owner == EVENT:
            expected = 1
        else:
            expected, particle = 2, self.particle(owner)
            known = (PARTICLE, *particle.daughter_names)
            if len(rest) == expected and rest[0] not in known:
                raise UnknownName("daughter", rest[0], known, f"the {what} {path!r}")
        if len(rest) != expected:
            raise ConfigError(
                f"{what} {path!r}: expected EVENT/NAME, PARTICLE_NAME/PARTICLE/NAME or PARTICLE_NAME/DAUGHTER/NAME"
            )
        _check_name(rest[-1], what)


def _check_name(name: Any, what: str, reserved: Iterable[str] = ()) -> None:
    """Names become groups and datasets of HDF5 files, and parts of paths."""
    if not isinstance(name, str):
        raise ConfigError(f"the name of a {what} must be text, got {kind_of(name)}{_quotes(name)}")
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise ConfigError(f"{name!r} cannot be the name of a {what}: names are parts of paths like EVENT/signal")
    if name in reserved:
        raise ConfigError(f"{name!r} cannot be the name of a {what}: data sets use it otherwise")


def _quotes(value: Any) -> str:
    """What YAML took for something else than text."""
    if isinstance(value, bool):
        return " (YAML reads yes, no, on, off, true and false so): put it in quotes"
    return " (a number): put it in quotes" if isinstance(value, (int, float)) else ""


def _check_distinct(names: Sequence[str], what: str, owner: str = "") -> None:
    for position, name in enumerate(names):
        if name in names[:position]:
            raise ConfigError(f"the {what} {name!r}{owner} appears twice")


def read_event_file(path: str | os.PathLike[str]) -> EventDescription:
    """Read an event file.

    Parameters
    ----------
    path : path
        YAML; a name that ends with ``.ini`` is read in the format of SPANet before December 2021, whose only input is
        called ``SOURCE`` unless the file lists inputs.

    Returns
    -------
    EventDescription

    Raises
    ------
    ConfigError
        If the file cannot be read or is not valid; gives the file, the line and the nearest valid name.
    """
    document = ini_document(path) if Path(path).suffix.lower() == ".ini" else read_yaml(path)
    return _description(document)


def parse_event_text(text: str, place: str = "event file") -> EventDescription:
    """Read the text of an event file.

    Parameters
    ----------
    text : str
        YAML.
    place : str
        Name of the text in messages.

    Returns
    -------
    EventDescription

    Raises
    ------
    ConfigError
        If it is not valid; gives the line and the nearest valid name.

    Examples
    --------
    >>> parse_event_text("INPUTS: {SEQUENTIAL: {Jets: {pt: log}}}\\nEVENTS: {h: [b1, b2]}")
    Traceback (most recent call last):
        ...
    jettagger.errors.ConfigError: event file, line 2: unknown key 'EVENTS' (nearest: EVENT, INPUTS). Allowed: ...
    """
    return _description(read_yaml(text, name=place or "event file"))


def event_text(description: EventDescription) -> str:
    """An event file as YAML, which `parse_event_text` and SPANet read.

    Parameters
    ----------
    description : EventDescription

    Returns
    -------
    str

    Examples
    --------
    >>> event = parse_event_text("INPUTS: {SEQUENTIAL: {Jets: {pt: log}}}\\nEVENT: {h: [b1, b2: Jets]}")
    >>> print(event_text(event), end="")
    INPUTS:
      SEQUENTIAL:
        Jets:
          pt: log
    EVENT:
      h:
      - b1
      - b2: Jets
    PERMUTATIONS: {}
    REGRESSIONS: {}
    CLASSIFICATIONS: {}
    """
    inputs: dict[str, Any] = {}
    for item in description.inputs:
        inputs.setdefault(item.kind.upper(), {})[item.name] = {one.name: one.option for one in item.features}
    particles = {
        particle.name: [{one.name: one.source} if one.source else one.name for one in particle.daughters]
        for particle in description.particles
    }
    permutations = {
        owner: [FlowList(part if isinstance(part, str) else list(part) for part in entry) for entry in entries]
        for owner, entries in description.permutations.items()
    }
    regressions = {
        path: path.split("/")[-1] if kind == REGRESSION_TYPES[0] else FlowList([path.split("/")[-1], kind])
        for path, kind in description.regressions.items()
    }
    return yaml_text(
        {
            "INPUTS": inputs,
            "EVENT": particles,
            "PERMUTATIONS": permutations,
            "REGRESSIONS": _tree(regressions),
            "CLASSIFICATIONS": _tree({path: path.split("/")[-1] for path in description.classifications}),
        }
    )


def write_event_file(path: str | os.PathLike[str], description: EventDescription) -> None:
    """Write an event file, complete or not at all.

    Parameters
    ----------
    path : path
        An existing file is replaced.
    description : EventDescription

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    with complete_or_absent(path) as part:
        part.write_text(event_text(description), encoding="utf-8")


def _tree(entries: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, entry in entries.items():
        owner, *rest = path.split("/")
        if owner == EVENT:
            tree.setdefault(owner, []).append(entry)
        else:
            tree.setdefault(owner, {}).setdefault(rest[0], []).append(entry)
    return tree


def _description(document: Document) -> EventDescription:
    document.check_keys(_TOP, required=_TOP[:2], what="key")
    inputs = tuple(_inputs(document))
    particles = tuple(_particles(document))
    # the description checks the parts against each other; here one part after the other is added, which gives the line
    base = EventDescription(inputs, tuple(_without_sources(particles)))
    for particle in particles:
        for number, daughter in enumerate(particle.daughters):
            with document.at("EVENT", particle.name, number):
                base._check_source(particle, daughter)
    base = EventDescription(inputs, particles)
    permutations = _permutations(document, base)
    regressions = dict(_targets(document, "REGRESSIONS", base))
    classifications = tuple(path for path, _ in _targets(document, "CLASSIFICATIONS", base))
    return EventDescription(inputs, particles, permutations, regressions, classifications)


def _without_sources(particles: Iterable[Particle]) -> Iterator[Particle]:
    for particle in particles:
        yield Particle(particle.name, tuple(Daughter(daughter.name) for daughter in particle.daughters))


def _inputs(document: Document) -> Iterator[EventInput]:
    kinds = document.mapping("INPUTS")
    seen: dict[str, str] = {}
    check_keys(
        {str(key).upper(): value for key, value in kinds.items()},
        [kind.upper() for kind in ("sequential", "global", "relative")],
        what="kind of input",
        where=lambda key: document.where("INPUTS", *[kind for kind in kinds if str(kind).upper() == key][:1]),
    )
    for key, content in kinds.items():
        kind: Any = str(key).lower()
        if content is None:  # the original's examples have an empty GLOBAL
            continue
        for name, features in document.mapping("INPUTS", key).items():
            path = ("INPUTS", key, name)
            if not isinstance(features, Mapping):
                raise ConfigError(
                    f"{document.where(*path)}: the features of input {name!r} must be a mapping of names to options "
                    f"({', '.join(_OPTIONS)}), got {kind_of(features)}"
                )
            read = []
            for feature, option in features.items():
                with document.at(*path, feature):
                    _check_name(feature, "feature")
                    log, normalize = _flags(option, feature, document.where(*path, feature))
                    read.append(InputFeature(feature, log, normalize))
            with document.at(*path):
                _check_name(name, "input")
                event_input = EventInput(name, kind, tuple(read))
                if name in seen:
                    raise ConfigError(f"the input {name!r} appears twice, first as {seen[name]}")
            seen[name] = str(key).upper()
            yield event_input
    if set(seen.values()) <= {"GLOBAL"}:
        raise ConfigError(
            f"{document.where('INPUTS')}: no input has slots, expected at least one SEQUENTIAL or RELATIVE input"
        )


def _flags(option: Any, feature: str, place: str) -> tuple[bool, bool]:
    """Whether to take the logarithm and to normalize.

    The original searches the text for ``log``, and for ``normalize`` or ``true``; anything else counts as none.
    """
    if option is None or isinstance(option, bool):
        return False, bool(option)
    if not isinstance(option, str):
        raise ConfigError(
            f"the option of feature {feature!r} must be one of {', '.join(_OPTIONS)}, got {kind_of(option)}"
        )
    text = option.lower()
    flags = "log" in text, "normalize" in text or "true" in text
    rest = text
    for word in ("normalize", "log", "true", "none", "false"):
        rest = rest.replace(word, "")
    if any(character.isalnum() for character in rest):
        near = nearest(text, _OPTIONS, count=1)
        meaning = InputFeature("x", *flags).option
        problem = f"option {option!r} of feature {feature!r} is not understood"
        if near != [meaning]:
            raise ConfigError(
                f"{problem}{hint(text, _OPTIONS)}: expected {', '.join(_OPTIONS)}; SPANet would read it as {meaning}"
            )
        warnings.warn(
            f"{place}: {problem} completely, and is read as {meaning}, as by SPANet", UserWarning, stacklevel=6
        )
    return flags


def _particles(document: Document) -> Iterator[Particle]:
    content = document.mapping("EVENT")
    if not content:
        raise ConfigError(f"{document.where('EVENT')}: no particles, expected at least one")
    for name, daughters in content.items():
        path = ("EVENT", name)
        if not isinstance(daughters, list):
            raise ConfigError(
                f"{document.where(*path)}: the daughters of particle {name!r} must be a list, got {kind_of(daughters)}"
            )
        read = []
        for number, daughter in enumerate(daughters):
            with document.at(*path, number):
                source = None
                if isinstance(daughter, Mapping):
                    if len(daughter) != 1:
                        raise ConfigError(
                            f"a daughter is a name or one pair DAUGHTER: INPUT, got a mapping with {len(daughter)} keys"
                        )
                    daughter, source = next(iter(daughter.items()))
                    if source is not None and not isinstance(source, str):
                        raise ConfigError(
                            f"the input of daughter {daughter!r} must be text, got {kind_of(source)}{_quotes(source)}"
                        )
                _check_name(daughter, "daughter")
                read.append(Daughter(daughter, source))
        with document.at(*path):
            _check_name(name, "particle")
            yield Particle(name, tuple(read))


def _permutations(document: Document, base: EventDescription) -> dict[str, tuple[PermutationEntry, ...]]:
    if document.data.get("PERMUTATIONS") is None:
        return {}
    permutations: dict[str, tuple[PermutationEntry, ...]] = {}
    for owner, entries in document.mapping("PERMUTATIONS").items():
        path = ("PERMUTATIONS", owner)
        with document.at(*path):
            if owner not in (EVENT, *base.particle_names):
                raise UnknownName("particle", str(owner), (EVENT, *base.particle_names))
            if entries is None:
                continue
            if not isinstance(entries, list):
                raise ConfigError(f"the permutations of {owner} must be a list of lists, got {kind_of(entries)}")
        read = []
        for number, entry in enumerate(entries):
            with document.at(*path, number):
                read.append(_entry(entry, owner))
                EventDescription(base.inputs, base.particles, {owner: tuple(read)})
        with document.at(*path):
            permutations[owner] = tuple(read)
    return permutations


def _entry(entry: Any, owner: str) -> PermutationEntry:
    if not isinstance(entry, list):
        raise ConfigError(
            f"the permutations of {owner} are a list of lists, got {kind_of(entry)} {entry!r}; names that may be "
            f"exchanged are one entry: - [a, b]"
        )
    nested = [isinstance(part, list) for part in entry]
    if any(nested) and not all(nested):
        raise ConfigError(
            f"a permutation of {owner} mixes names and lists, expected names that may all be exchanged, [a, b], or "
            "disjoint cycles, [[a, b], [c, d]]"
        )
    for name in (name for part in entry for name in (part if isinstance(part, list) else [part])):
        if not isinstance(name, str):
            raise ConfigError(f"a name in the permutations of {owner} must be text, got {kind_of(name)}{_quotes(name)}")
    return tuple(tuple(part) for part in entry) if any(nested) else tuple(entry)


def _targets(document: Document, section: str, base: EventDescription) -> Iterator[tuple[str, str]]:
    """The paths of regressions or classes, and their types, in the order of the original's outputs."""
    if document.data.get(section) is None:
        return
    content = document.mapping(section)
    for owner in content:
        with document.at(section, owner):
            if owner not in (EVENT, *base.particle_names):
                raise UnknownName("particle", str(owner), (EVENT, *base.particle_names))
    for owner in (EVENT, *base.particle_names):
        if content.get(owner) is None:
            continue
        if owner == EVENT:
            yield from _target_list(document, (section, owner), content[owner], (EVENT,))
            continue
        nodes = dict(_nodes(document, (section, owner), content[owner], base.particle(owner)))
        for node in (PARTICLE, *base.particle(owner).daughter_names):
            if node in nodes:
                place, targets = nodes[node]
                yield from _target_list(document, place, targets, (owner, node))


def _nodes(
    document: Document, path: tuple[Any, ...], content: Any, particle: Particle
) -> Iterator[tuple[str, tuple[tuple[Any, ...], Any]]]:
    """PARTICLE and the daughters, from a mapping or a list of mappings, as the documentation of SPANet has it."""
    if isinstance(content, Mapping):
        parts = [((*path,), content)]
    elif isinstance(content, list) and all(isinstance(part, Mapping) for part in content):
        parts = [((*path, number), part) for number, part in enumerate(content)]
    else:
        raise ConfigError(
            f"{document.where(*path)}: the targets of particle {particle.name!r} must be a mapping of {PARTICLE} and "
            f"daughters to lists, got {kind_of(content)}"
        )
    known, seen = (PARTICLE, *particle.daughter_names), set()
    for place, part in parts:
        for node, targets in part.items():
            with document.at(*place, node):
                if node not in known:
                    raise UnknownName("daughter", str(node), known, f"particle {particle.name!r}")
                if node in seen:
                    raise ConfigError(f"{node!r} appears twice")
            seen.add(node)
            if targets is not None:
                yield node, ((*place, node), targets)


def _target_list(
    document: Document, path: tuple[Any, ...], targets: Any, front: tuple[str, ...]
) -> Iterator[tuple[str, str]]:
    section = path[0]
    with document.at(*path):
        if not isinstance(targets, list):
            raise ConfigError(f"the targets must be a list, got {kind_of(targets)}")
    seen = set()
    for number, target in enumerate(targets):
        with document.at(*path, number):
            kind = REGRESSION_TYPES[0]
            if isinstance(target, list) and section == "REGRESSIONS":
                if not 1 <= len(target) <= 2:
                    raise ConfigError(f"a regression is a name or [name, type], got a list of {len(target)} entries")
                target, kind = target if len(target) == 2 else (target[0], kind)
                if kind not in REGRESSION_TYPES:
                    raise UnknownName("type of regression", str(kind), REGRESSION_TYPES)
            _check_name(target, "regression" if section == "REGRESSIONS" else "class")
            if target in seen:
                raise ConfigError(f"{target!r} appears twice")
            seen.add(target)
            yield "/".join((*front, target)), kind


guard(globals())
