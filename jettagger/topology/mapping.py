"""The mapping from collections of events to the inputs and targets of an event file: ``inputs.yaml`` beside it.

An event file names inputs, features, particles and daughters; the mapping says which columns and generator particles of
the events they are. Its values are expressions (see `jettagger.expressions`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from jettagger.arguments import guard
from jettagger.config.models import Between, Expected, FileModel, Shorthand, Shown, validated
from jettagger.config.yamlfile import Document, read_yaml
from jettagger.errors import ConfigError, hint
from jettagger.expressions import parse
from jettagger.topology.pairs import QUANTITIES, unknown_quantities

if TYPE_CHECKING:
    from jettagger.topology.eventfile import EventDescription

__all__ = [
    "MAPPING_FILE",
    "DaughterKeys",
    "EventMapping",
    "InputMapping",
    "LegKeys",
    "ParticleKeys",
    "TagKeys",
    "TargetKeys",
    "parse_mapping",
    "read_mapping",
]

#: name of the file beside an event file
MAPPING_FILE = "inputs.yaml"

VERSION = 1


def _text(value: Any) -> Any:
    """Numbers as texts, so that constants need no quotes."""
    return repr(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def _parsed(text: str) -> str:
    try:
        parse(text)
    except ConfigError as error:
        raise ValueError(f"{text!r} is not an expression: {error}") from None
    return text


#: an expression in columns
Formula = Annotated[
    str,
    Expected("an expression"),
    BeforeValidator(_text, json_schema_input_type=str | float),
    AfterValidator(_parsed),
]
#: one expression or a list of them
Formulas = Annotated[
    tuple[Formula, ...],
    Field(strict=False),
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value, json_schema_input_type=str | list[str]),
]
Positive = Annotated[float, Between(0)]


class TagKeys(FileModel):
    """A tag of jets: a column where the file has one, else drawn with efficiencies by flavour."""

    column: Formula | None = Field(
        default=None,
        description="expression in columns of the collection, e.g. `btagDeepFlavB` or `btagDeepFlavB > 0.28`; used if "
        "the file has its columns",
    )
    efficiencies: Annotated[dict[int, Annotated[float, Between(0, 1)]] | None, Shown("none: the column is needed")] = (
        Field(
            default=None,
            description="flavour -> probability of a tag, with 0 for all that are not named, e.g. `{5: 0.7, 4: 0.12, "
            "0: 0.01}`; the draw depends on the event number and the index of the jet alone",
        )
    )
    flavour: str = Field(default="hadronFlavour", description="column with the flavour of the jets")


class InputMapping(FileModel):
    """Where an input of the event file comes from."""

    collection: str | None = Field(
        default=None,
        description="collection of the objects; a global input without one has expressions in columns of the event, "
        "with one it is the first object in the order",
    )
    select: Formula | None = Field(default=None, description="cut on the objects, e.g. `pt > 25 and abs(eta) < 2.4`")
    apart_from: dict[str, Positive] = Field(
        default_factory=dict,
        description="other inputs -> minimum distance in eta and phi of the objects to theirs, e.g. `{Leptons: 0.4}`",
    )
    order: Annotated[Formulas, Shown("`-pt`")] = Field(
        default=("-pt",), description="expressions by which the objects are sorted, smallest first"
    )
    max_objects: Annotated[int | None, Between(1), Shown("needed for an input with slots")] = Field(
        default=None, description="number of slots; later objects are cut, which is counted, and missing ones padded"
    )
    min_objects: Annotated[int, Between(0)] = Field(
        default=0, description="events with fewer selected objects are left out of data sets, which is counted"
    )
    features: Annotated[dict[str, Formula], Shown("the columns of the same names")] = Field(
        default_factory=dict,
        description="feature of the event file -> expression in columns, e.g. `{cos_phi: cos(phi)}`",
    )
    pairs: Annotated[dict[str, Formula], Shown("none: features are those of objects")] = Field(
        default_factory=dict,
        description="for a relative input: feature of the event file -> expression in columns `first.COLUMN` and "
        "`second.COLUMN` of two objects and in `pair.QUANTITY`, e.g. `{dr: pair.delta_r}`; quantities are delta_eta, "
        "delta_phi and delta_r, and pt, eta, phi and mass of their sum",
    )
    fill: Annotated[dict[str, Annotated[float, Expected("a number")]], Shown("none: an error")] = Field(
        default_factory=dict, description="feature -> value that stands for None and NaN"
    )
    tags: dict[str, Annotated[TagKeys, Shorthand("column")]] = Field(
        default_factory=dict, description="name -> tag, a column that expressions of this input can use, see below"
    )

    def expression(self, feature: str) -> str:
        """The expression of a feature: the column of its name, unless another one is given."""
        return self.features.get(feature, feature)


class LegKeys(FileModel):
    """A decay product of a generator particle."""

    select: Formula = Field(description="cut on the generator particles, e.g. `abs(pdgId) == 5`")
    via: Formulas = Field(
        default=(),
        description="cuts on the particles between, from the top: `abs(pdgId) == 24` for the quarks of W in t -> bW",
    )
    index: Annotated[int, Between(0)] = Field(
        default=0, description="which one of several, in the order of the file from 0"
    )


class DaughterKeys(LegKeys):
    """A decay product that is matched to an object."""

    radius: Annotated[Positive | None, Shown("that of `targets`")] = Field(
        default=None, description="maximum distance of the object in eta and phi"
    )


class ParticleKeys(FileModel):
    """A particle of the event file as a generator particle."""

    select: Formula = Field(description="cut on the generator particles, e.g. `pdgId == 6`; copies count once")
    index: Annotated[int, Between(0)] = Field(
        default=0, description="which one of several with all of these decay products, in the order below from 0"
    )
    order: Annotated[Formulas, Shown("that of the file")] = Field(
        default=(), description="expressions by which the candidates are sorted, smallest first, e.g. `-pt`"
    )
    daughters: Annotated[dict[str, Annotated[DaughterKeys, Shorthand("select")]], Shown("none")] = Field(
        default_factory=dict, description="daughter of the event file -> decay product, see below"
    )
    others: dict[str, Annotated[LegKeys, Shorthand("select")]] = Field(
        default_factory=dict,
        description="name -> decay product that is not matched but must exist, for regressions, e.g. a neutrino",
    )


class TargetKeys(FileModel):
    """Truth of data sets: targets, regressions, classes and weights."""

    collection: str = Field(default="GenPart", description="collection of generator particles")
    radius: Positive = Field(default=0.4, description="maximum distance of a decay product and its object")
    ambiguous: Literal["nearest", "drop"] = Field(
        default="nearest",
        description="where an object is the nearest of two decay products: `nearest`, the nearer one has it and the "
        "other one the nearest that is left; `drop`, neither",
    )
    particles: dict[str, ParticleKeys] = Field(
        default_factory=dict, description="particle of the event file -> generator particle, see below"
    )
    regressions: dict[str, Formula] = Field(
        default_factory=dict,
        description="path (`EVENT/neutrino_px`, `t1/PARTICLE/mass`, `t1/b/pt`) -> expression in columns of the event "
        "and in `NAME.QUANTITY` of particles (`t1.mass`), daughters and others (`t1.b.pt`), with the quantities pt, "
        "eta, phi, mass, px, py, pz, energy, pdgId; masked where one does not exist",
    )
    classifications: dict[
        str, Annotated[int | str | dict[str, int], Expected("a number, an expression or a mapping")]
    ] = Field(
        default_factory=dict,
        description="path -> class: a number, an expression as above, or data set -> number",
    )
    weight: Formula | None = Field(
        default=None,
        description="expression in columns of the event for the weight of its particles in the losses of SPANet "
        "(`TARGETS/<particle>/WEIGHT`), not negative; default: 1",
    )
    event_weight: Formula | None = Field(
        default=None,
        description="expression in columns of the event for its weight (`WEIGHTS/EVENT`), also negative, e.g. "
        "`genWeight`; used with the option `event_weights` of trainings; default: none",
    )


class EventMapping(FileModel):
    """Inputs and targets of an event file as columns and generator particles of events."""

    version: Literal[1] = Field(description="1")
    inputs: dict[str, InputMapping] = Field(description="input of the event file -> where it comes from, see below")
    select: Formula | None = Field(
        default=None,
        description="cut on the events of data sets in columns of the event, e.g. `HLT.PFHT1050`; others are counted",
    )
    targets: TargetKeys | None = Field(default=None, description="truth of data sets, see below")


def read_mapping(path: str | os.PathLike[str], description: EventDescription) -> EventMapping:
    """Read a mapping and compare it with the event file.

    Parameters
    ----------
    path : path
    description : EventDescription
        Of the event file.

    Returns
    -------
    EventMapping

    Raises
    ------
    ConfigError
        With file, line and the nearest valid names, for all problems: keys, expressions, inputs, features, particles,
        daughters, regressions and classifications that the event file does not have, or that the mapping lacks.
    """
    return _checked(read_yaml(path), description)


def parse_mapping(text: str, description: EventDescription, place: str = "mapping") -> EventMapping:
    """The same for a text.

    Parameters
    ----------
    text : str
        YAML.
    description : EventDescription
    place : str
        Name of the text in messages.

    Returns
    -------
    EventMapping

    Raises
    ------
    ConfigError
        As for `read_mapping`.

    Examples
    --------
    >>> from jettagger.topology.eventfile import parse_event_text
    >>> event = parse_event_text("INPUTS: {SEQUENTIAL: {Jets: {pt: log}}}\\nEVENT: {h: [b1, b2]}")
    >>> text = "version: 1\\ninputs: {Jets: {collection: Jet, max_objects: 4}}"
    >>> parse_mapping(text, event).inputs["Jets"].expression("pt")
    'pt'
    >>> parse_mapping(text.replace("Jets", "Jet"), event)
    Traceback (most recent call last):
        ...
    jettagger.errors.ConfigError: mapping, line 2: unknown input 'Jet' (nearest: Jets). Inputs of the event file: Jets
    """
    return _checked(read_yaml(text, place), description)


def _checked(document: Document, description: EventDescription) -> EventMapping:
    mapping = validated(EventMapping, document, VERSION)
    found = [
        *_input_problems(document, mapping, description),
        *_target_problems(document, mapping.targets or TargetKeys(), description),
    ]
    if found:
        raise ConfigError("\n".join(f"{document.where(*path)}: {text}" for path, text in found))
    return mapping


Problem = tuple[tuple[Any, ...], str]


def _unknown(kind: str, name: str, known: list[str], of: str, path: tuple[Any, ...]) -> Problem:
    return path, f"unknown {kind} {name!r}{hint(name, known)}. {of}: {', '.join(known) or 'none'}"


def _input_problems(document: Document, mapping: EventMapping, description: EventDescription) -> Iterator[Problem]:
    names = [item.name for item in description.inputs]
    for name in mapping.inputs:
        if name not in names:
            yield _unknown("input", name, names, "Inputs of the event file", ("inputs", name))
    unknown = [name for name in mapping.inputs if name not in names]
    for item in description.inputs:
        place = ("inputs", item.name)
        if item.name not in mapping.inputs:
            if not any(item.name in hint(name, names) for name in unknown):  # not a second time if it is misspelt
                yield ("inputs",), f"the input {item.name!r} of the event file is missing"
            continue
        keys = mapping.inputs[item.name]
        features = [feature.name for feature in item.features]
        for part in ("features", "pairs", "fill"):
            for feature in getattr(keys, part):
                if feature not in features:
                    of = f"Features of {item.name!r} in the event file"
                    yield _unknown("feature", feature, features, of, (*place, part, feature))
        for feature, text in keys.pairs.items():
            path = (*place, "pairs", feature)
            if feature in keys.features:
                yield path, f"the feature {feature!r} is in 'features', too: it is one of objects or one of pairs"
            for quantity in unknown_quantities(text):
                yield _unknown("quantity of pairs", quantity, list(QUANTITIES), "Quantities", path)
        for tag, values in keys.tags.items():
            if values.column is None and values.efficiencies is None:
                yield (*place, "tags", tag), f"the tag {tag!r} needs the key 'column' or 'efficiencies'"
            if values.efficiencies is not None and 0 not in values.efficiencies:
                yield (*place, "tags", tag, "efficiencies"), f"the tag {tag!r} needs the efficiency of flavour 0"
        if keys.pairs and item.kind != "relative":
            yield (*place, "pairs"), f"{item.name!r} is a {item.kind.upper()} input: pairs need a RELATIVE one"
        if item.kind != "global":
            for key in ("collection", "max_objects"):
                if getattr(keys, key) is None:
                    yield place, f"the {item.kind} input {item.name!r} needs the key {key!r}"
        elif keys.collection is None:
            for key in ("select", "apart_from", "tags"):
                if getattr(keys, key):
                    yield (*place, key), f"{key!r} needs the key 'collection'"
        if item.kind == "global" and (keys.max_objects or 1) > 1:
            yield (*place, "max_objects"), f"the global input {item.name!r} has one object, got {keys.max_objects}"
        for other in keys.apart_from:
            path = (*place, "apart_from", other)
            if other not in mapping.inputs:
                yield _unknown("input", other, list(mapping.inputs), "Inputs", path)
            elif mapping.inputs[other].collection is None:
                yield path, f"the input {other!r} has no collection of objects"
            elif mapping.inputs[other].apart_from:
                yield path, f"the input {other!r} has a key 'apart_from' itself: the objects of one only can be removed"


def _target_problems(document: Document, targets: TargetKeys, description: EventDescription) -> Iterator[Problem]:
    particles = {particle.name: [item.name for item in particle.daughters] for particle in description.particles}
    for name, keys in targets.particles.items():
        place = ("targets", "particles", name)
        if name not in particles:
            yield _unknown("particle", name, list(particles), "Particles of the event file", place)
            continue
        for daughter in keys.daughters:
            if daughter not in particles[name]:
                of = f"Daughters of {name!r} in the event file"
                yield _unknown("daughter", daughter, particles[name], of, (*place, "daughters", daughter))
            elif daughter in keys.others:
                yield (*place, "others", daughter), f"{daughter!r} is a daughter, which needs no second entry"
        for daughter in particles[name]:
            if daughter not in keys.daughters and not any(
                daughter in hint(item, particles[name]) for item in keys.daughters if item not in particles[name]
            ):
                yield place, f"the daughter {daughter!r} of {name!r} is missing"
    if targets.particles:
        for name in particles:
            if name not in targets.particles and not any(
                name in hint(item, particles) for item in targets.particles if item not in particles
            ):
                yield ("targets", "particles"), f"the particle {name!r} of the event file is missing"
    for part, known in (
        ("regressions", list(description.regressions)),
        ("classifications", list(description.classifications)),
    ):
        for path in getattr(targets, part):
            if path not in known:
                kind = part.removesuffix("s")
                yield _unknown(kind, path, known, f"{part.capitalize()} of the event file", ("targets", part, path))
    for path, value in targets.classifications.items():
        if isinstance(value, str):
            try:
                parse(value)
            except ConfigError as error:
                yield ("targets", "classifications", path), f"{value!r} is not an expression: {error}"


guard(globals(), "read_mapping", "parse_mapping")
