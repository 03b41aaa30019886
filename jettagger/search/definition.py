"""The definition of a search as values: samples, regions, corrections, variations, and all of them together.

This module does not load coffea: it is sufficient to read and validate a configuration.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from jettagger.arguments import guard
from jettagger.calibration import MassFactors
from jettagger.discriminants import DerivedColumn, Discriminant
from jettagger.display import Brief
from jettagger.errors import ConfigError, UnknownName, hint
from jettagger.expressions import Expression
from jettagger.histograms import HistSpec
from jettagger.search.corrections import CorrectionFactor
from jettagger.search.eras import Era, check_eras, total_luminosity
from jettagger.search.jetenergy import JetEnergy
from jettagger.search.objects import ObjectSelection, check_objects, distances
from jettagger.search.tagfactors import TagFactor
from jettagger.search.theory import TheoryWeight
from jettagger.search.variations import JetVariation, as_expression, shift_names

__all__ = [
    "DIJET",
    "EVENTS",
    "EVENTS_READ",
    "JETS",
    "KINDS",
    "LUMINOSITIES",
    "NOMINAL",
    "Era",
    "JetVariation",
    "Region",
    "Sample",
    "Search",
    "SearchWarning",
    "WeightFactor",
    "scores_of_column",
    "scores_of_discriminant",
]

#: kinds of regions; inclusive ones are for plots and may overlap with the others
KINDS = ("signal", "validation", "control", "inclusive")

#: category without variation
NOMINAL = "nominal"

#: quantities computed for two candidates
DIJET = ("mjj", "ptjj", "deta", "dphi", "dr")

#: implicit cuts: on events, and on the number of jets
EVENTS, JETS = "events", "jets"

#: bits of the selection, without the two cuts above; each cut has one for passed and one for failed
MOST_CUTS = 31

#: range of integrated luminosities in 1/fb of the LHC and its upgrade, except for short runs
LUMINOSITIES = (0.5, 4000.0)

#: alternative to a number as sum of generator weights: that of the events read
EVENTS_READ = "events"


class SearchWarning(UserWarning):
    """A probable mistake in a search: an empty region, a cut without effect, a doubtful sum of weights."""


@dataclass(frozen=True)
class Sample(Brief):
    """Properties of a data set.

    Parameters
    ----------
    cross_section : float, optional
        Cross section in pb, times branching fractions and filter efficiencies; required for simulation.
    data : bool
        Whether it is data: no generator weights, no corrections, no variations, no scaling.
    sum_of_weights : float or str, optional
        Sum of weights of all generated events; ``"events"``: that of the events read, which is wrong for skims. This is
        also the default, with a warning.
    golden_json : str, optional
        File of certified luminosity sections; only for data.
    era : str
        Its era; empty without eras.
    cut : str or Expression, optional
        Cut in columns of the events of this sample: stitching of samples, overlap of primary data sets. Simulation is
        normalised to the weights before it.

    Raises
    ------
    ConfigError
        If simulation has no cross section, or data has one.
    """

    cross_section: float | None = None
    data: bool = False
    sum_of_weights: float | str | None = None
    golden_json: str | None = None
    era: str = ""
    cut: Any = None

    def __post_init__(self) -> None:
        if self.cut is not None:
            object.__setattr__(self, "cut", as_expression(self.cut, "cut of a sample"))
        if self.data and (self.cross_section is not None or self.sum_of_weights is not None):
            raise ConfigError(
                f"data have neither a cross section nor a sum of weights, got {self.cross_section} and "
                f"{self.sum_of_weights}"
            )
        if not self.data and self.cross_section is None:
            raise ConfigError("simulation without cross section: give cross_section (in pb), or data: true")
        if not self.data and self.golden_json is not None:
            raise ConfigError(f"golden_json is for data, got {self.golden_json!r} for simulation")
        for name, words in (("cross_section", ()), ("sum_of_weights", (EVENTS_READ,))):
            value = getattr(self, name)
            if value is None or value in words:
                continue
            if isinstance(value, str) or not (math.isfinite(value) and value > 0):
                also = "".join(f" or {word!r}" for word in words)
                raise ConfigError(f"{name} must be a number above zero{also}, got {value!r}")
            object.__setattr__(self, name, float(value))


@dataclass(frozen=True)
class Region(Brief):
    """Events that pass some cuts and fail others.

    Events for which a cut has no value, because a jet was not scored, neither pass nor fail it.

    Parameters
    ----------
    kind : str
        One of `KINDS`: for the search of a signal, for the validation of the background description, for its
        measurement, and ``inclusive`` for plots before the cuts that define the others.
    passes, fails : sequence of str
        Names of cuts.

    Raises
    ------
    ConfigError
        If the kind is unknown, or a cut is both in ``passes`` and ``fails``.
    """

    kind: str = "signal"
    passes: Sequence[str] = ()
    fails: Sequence[str] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "passes", tuple(self.passes))
        object.__setattr__(self, "fails", tuple(self.fails))
        if self.kind not in KINDS:
            raise ConfigError(
                f"the kind of a region is {self.kind!r}{hint(self.kind, KINDS)}, expected one of {', '.join(KINDS)}"
            )
        both = sorted(set(self.passes) & set(self.fails))
        if both:
            raise ConfigError(f"the cut {both[0]!r} must be both passed and failed: the region is empty")

    @property
    def cuts(self) -> tuple[str, ...]:
        """The names of its selections, in order; inverted cuts are called ``not <cut>``."""
        return (*self.passes, *(f"not {name}" for name in self.fails))


@dataclass(frozen=True)
class WeightFactor(Brief):
    """A correction of simulation, with its variations.

    Parameters
    ----------
    nominal : str or Expression
        Expression in columns of the events and the candidates, e.g. ``puWeight``.
    up, down : str or Expression, optional
        Its variations; both or neither.

    Raises
    ------
    ConfigError
        If only one of the variations is given.
    """

    nominal: str | Expression
    up: str | Expression | None = None
    down: str | Expression | None = None

    def __post_init__(self) -> None:
        if (self.up is None) != (self.down is None):
            raise ConfigError(f"weight {str(self.nominal)!r}: give both up and down, or neither")

    def parsed(self, name: str) -> tuple[Expression, Expression | None, Expression | None]:
        """The three parsed expressions.

        Parameters
        ----------
        name : str
            Name of the weight, for messages.

        Returns
        -------
        tuple of Expression or None
            Nominal, up and down.
        """
        where = f"weight {name!r}"
        return (
            as_expression(self.nominal, where),
            None if self.up is None else as_expression(self.up, where),
            None if self.down is None else as_expression(self.down, where),
        )


def scores_of_column(column: str, tagger: Any, prefix: str) -> tuple[str, ...]:
    """The score of a tagger or its heads in a column of the jets, if it contains one.

    Parameters
    ----------
    column : str
        Name without the collection: ``inclParTMDV1_mass``, ``XggHead_probXgg``, ``msoftdrop``.
    tagger : Tagger
    prefix : str
        Prefix of the model's columns.

    Returns
    -------
    tuple of str
        The output of the model, or the column of a head; empty for other columns.

    Raises
    ------
    UnknownName
        If the name of the column begins with that of the tagger or a head, which do not have the score.
    """
    if any(column in head.columns for head in tagger.heads):
        return (column,)
    outputs = {f"{prefix}_{output.name}": output.name for output in tagger.bundle.outputs}
    if column in outputs:
        return (outputs[column],)
    if column.startswith(f"{prefix}_"):
        score = column.removeprefix(f"{prefix}_")
        raise UnknownName("score", score, outputs.values(), f"model {tagger.bundle.name!r}")
    for head in tagger.heads:
        if column.startswith(f"{head.name}_"):
            raise UnknownName("score", column, head.columns, f"head {head.name!r}")
    return ()


def scores_of_discriminant(item: Discriminant | DerivedColumn, tagger: Any, prefix: str) -> tuple[str, ...]:
    """The scores of a tagger and its heads that a discriminant needs.

    Parameters
    ----------
    item : Discriminant or DerivedColumn
        Its prefix selects the scores: those of a head if it is the name of a head, otherwise those of the model.
    tagger : Tagger
    prefix : str
        Prefix of the model's columns.

    Returns
    -------
    tuple of str
        Outputs of the model, or columns of a head; empty if it uses scores of another tagger.

    Raises
    ------
    UnknownName
        If the tagger lacks one.
    MismatchError
        If a map belongs to another model.
    """
    asked = item.prefix
    if isinstance(item, DerivedColumn):
        if not item.of_model:
            return ()
        item.check_origin(tagger)
        if any(item.derived.prefix == head.name for head in tagger.heads):
            asked = item.derived.prefix
    if asked in (None, prefix):
        return item.needs([output.name for output in tagger.bundle.outputs])
    for head in tagger.heads:
        if asked == head.name:
            return tuple(f"{head.name}_{name}" for name in item.needs(head.card.outputs))
    return ()


@dataclass(frozen=True)
class Search(Brief):
    """The complete definition of a search, validated as a whole; the expressions are parsed once and carry their place.

    Parameters
    ----------
    samples : mapping of str to Sample
    regions : mapping of str to Region
    histograms : sequence of HistSpec
    cuts : mapping of str to (str or Expression)
    discriminants : mapping of str to (Discriminant or DerivedColumn)
    prefix, n_jets, preselection, pick, order, mass, event_cut, weights, variations, luminosity, generator_weight, \
collection, blind, eras
        As for `jettagger.processors.ResonanceSearchProcessor`.

    Raises
    ------
    ConfigError, UnknownName
        If the definition is inconsistent.

    Examples
    --------
    >>> from jettagger.histograms import AxisSpec
    >>> spec = HistSpec("mjj", [AxisSpec("mjj", bins=(10, 500, 3000), unit="GeV")])
    >>> search = Search({"tt": Sample(830)}, {"SR": Region(passes=["near"])}, [spec], cuts={"near": "abs(deta) < 2"})
    >>> search.cuts["near"].names
    ('deta',)
    """

    samples: Mapping[str, Sample]
    regions: Mapping[str, Region]
    histograms: Sequence[HistSpec]
    cuts: Mapping[str, Any] = field(default_factory=dict)
    discriminants: Mapping[str, Discriminant | DerivedColumn] = field(default_factory=dict)
    prefix: str | None = None
    n_jets: int = 2
    preselection: Any = "pt > 200"
    pick: str = "pt"
    order: str = "pt"
    mass: str = "mass"
    event_cut: Any = None
    weights: Mapping[str, WeightFactor | TagFactor | CorrectionFactor | TheoryWeight] = field(default_factory=dict)
    variations: Mapping[str, JetVariation | MassFactors] = field(default_factory=dict)
    luminosity: float = 1.0
    generator_weight: str | None = "genWeight"
    collection: str = "FatJet"
    blind: bool = True
    eras: Mapping[str, Era] = field(default_factory=dict)
    objects: Mapping[str, ObjectSelection] = field(default_factory=dict)
    not_near: Mapping[str, float] = field(default_factory=dict)
    jet_energy: JetEnergy | None = None
    factors: Mapping[str, tuple[Expression, Expression | None, Expression | None]] = field(init=False, compare=False)
    tag_factors: Mapping[str, TagFactor] = field(init=False, compare=False)
    corrections: Mapping[str, CorrectionFactor] = field(init=False, compare=False)
    theory: Mapping[str, TheoryWeight] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        def put(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        for name in ("samples", "regions", "discriminants", "weights", "variations", "eras", "objects"):
            put(name, dict(getattr(self, name)))
        if self.eras:
            put("luminosity", total_luminosity(self.eras))
        put("histograms", tuple(self.histograms))
        put("cuts", {name: as_expression(text, f"cut {name!r}") for name, text in self.cuts.items()})
        put("preselection", as_expression(self.preselection, "preselection"))
        put("event_cut", None if self.event_cut is None else as_expression(self.event_cut, "event cut"))
        put("not_near", distances(self.not_near))
        given = self.weights.items()
        put("factors", {name: item.parsed(name) for name, item in given if isinstance(item, WeightFactor)})
        put("tag_factors", {name: item for name, item in given if isinstance(item, TagFactor)})
        put("corrections", {name: item for name, item in given if isinstance(item, CorrectionFactor)})
        put("theory", {name: item for name, item in given if isinstance(item, TheoryWeight)})
        self._check()

    def _check(self) -> None:
        """Refuse an inconsistent definition."""
        if not self.samples or not self.regions or not self.histograms:
            raise ConfigError(
                "a search needs at least one sample, one region and one histogram, got "
                f"{len(self.samples)}, {len(self.regions)} and {len(self.histograms)}"
            )
        if self.n_jets not in (1, 2):
            raise ConfigError(f"n_jets must be 1 or 2, got {self.n_jets}")
        if not (math.isfinite(self.luminosity) and self.luminosity > 0):
            raise ConfigError(f"the luminosity must be a number above zero (in 1/fb), got {self.luminosity}")
        check_eras(self.eras, self.samples, self.event_cut)
        check_objects(self.objects, self.not_near, self.n_jets, (*DIJET, "njets", *self.discriminants))
        if self.jet_energy is not None:
            self.jet_energy.check(self.samples)
            self.jet_energy.check_cut(self.event_cut, "the cut on events")
            for name, sample in self.samples.items():
                self.jet_energy.check_cut(sample.cut, f"the cut of sample {name!r}")
        if len(self.cuts) > MOST_CUTS:
            raise ConfigError(f"{len(self.cuts)} cuts, expected at most {MOST_CUTS}")
        reserved = [name for name in self.cuts if name in (EVENTS, JETS) or name.startswith("not ")]
        if reserved:
            raise ConfigError(
                f"a cut cannot be called {reserved[0]!r}: {EVENTS!r}, {JETS!r} and names that begin with 'not ' are "
                "reserved"
            )
        for name, region in self.regions.items():
            unknown = [cut for cut in (*region.passes, *region.fails) if cut not in self.cuts]
            if unknown:
                raise UnknownName("cut", unknown, self.cuts, f"region {name!r}")
        of_weights = self.weight_shifts
        if len(set(of_weights)) < len(of_weights):
            twice = next(name for name in of_weights if of_weights.count(name) > 1)
            raise ConfigError(f"two weights have variations called {twice!r}: rename one of them")
        of_energy = () if self.jet_energy is None else self.jet_energy.names
        of_jets = [*self.variations, *(name for name in shift_names(self.variations) if name not in self.variations)]
        taken = sorted({*self.weights, *of_weights} & {*of_jets, *of_energy})
        if taken:
            raise ConfigError(f"{taken[0]!r} is both a weight and a variation of jets")
        taken = sorted({*of_jets} & {*of_energy})
        if taken:
            raise ConfigError(f"{taken[0]!r} is both a variation and one of the energy of jets: rename it")
        if "generator" in self.weights:
            raise ConfigError("a weight cannot be called 'generator', which is the generator's own weight")
        n_data = sum(sample.data for sample in self.samples.values())
        varied = 1 + 2 * len(self.shifts)
        combinations = len(self.regions) * (n_data + (len(self.samples) - n_data) * varied)
        for spec in self.histograms:
            if set(spec.categories) != {"dataset", "region", "variation"}:
                raise ConfigError(f"histogram {spec.name!r}: the categories must be dataset, region and variation")
            spec.require_room(combinations)
        names = [spec.name for spec in self.histograms]
        if len(set(names)) < len(names):
            raise ConfigError(f"two histograms have the same name: {', '.join(names)}")
        simulated = [name for name, sample in self.samples.items() if not sample.data]
        for factor in self.tag_factors.values():
            factor.check(self.discriminants, simulated)
        for correction in self.corrections.values():
            correction.check(self.eras)
        known = [f"jet{number}" for number in range(1, self.n_jets + 1)]
        for expression in self.expressions():
            for name in expression.names:
                front = name.partition(".")[0]
                if front.startswith("jet") and front[3:].isdigit() and front not in known:
                    raise UnknownName(
                        f"candidate (with {self.n_jets} as the count of jets)",
                        front,
                        known,
                        expression.where or f"{expression}",
                    )
                if self.n_jets == 1 and name in DIJET:
                    raise ConfigError(f"{expression.where}: {name!r} needs two candidates, but n_jets is 1")

    @property
    def signal_regions(self) -> tuple[str, ...]:
        """The names of the signal regions."""
        return tuple(name for name, region in self.regions.items() if region.kind == "signal")

    @property
    def weight_shifts(self) -> tuple[str, ...]:
        """The names of the variations of weights, without ``Up`` and ``Down``."""
        names: list[str] = []
        for name, item in self.weights.items():
            names += [name] if isinstance(item, WeightFactor) else item.names(name)
        return tuple(names)

    @property
    def shifts(self) -> tuple[str, ...]:
        """The names of all variations, without ``Up`` and ``Down``."""
        of_energy = () if self.jet_energy is None else self.jet_energy.names
        return (*self.weight_shifts, *shift_names(self.variations), *of_energy)

    def arguments(self) -> dict[str, Any]:
        """The fields as arguments of the processor.

        Returns
        -------
        dict
        """
        return {item.name: getattr(self, item.name) for item in fields(self) if item.init}

    def expressions(self) -> Iterator[Expression]:
        """All expressions in candidates and events."""
        yield from self.cuts.values()
        yield from self.weight_expressions()
        yield from (axis.parsed for spec in self.histograms for axis in spec.axes)

    def weight_expressions(self) -> Iterator[Expression]:
        """Those that only simulation needs."""
        for parts in self.factors.values():
            yield from (item for item in parts if item is not None)
        for factor in self.tag_factors.values():
            yield from (item for _, item in factor.expressions(self.n_jets))
        for correction in self.corrections.values():
            yield from (item for _, item in correction.expressions(self.n_jets))


guard(globals(), "Sample", "Region", "Search")
