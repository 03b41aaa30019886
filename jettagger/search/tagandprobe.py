"""The definition of a tag-and-probe selection as values: objects, cuts, truth categories, bins.

This module does not load coffea: it is sufficient to read and validate a configuration.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from jettagger.arguments import guard
from jettagger.calibration import MassFactors
from jettagger.decorrelation.mapcolumn import MapColumn
from jettagger.discriminants import Discriminant
from jettagger.display import Brief
from jettagger.errors import ConfigError, UnknownName, hint
from jettagger.expressions import Expression
from jettagger.histograms import AxisSpec, HistSpec
from jettagger.search.definition import EVENTS, Sample, WeightFactor
from jettagger.search.variations import JetVariation, as_expression, shift_names
from jettagger.truth import LEGS
from jettagger.truth.tags import ParametrisedTag

__all__ = [
    "CATEGORIES",
    "DATA",
    "DEFAULTS",
    "DERIVED",
    "DISTINCT",
    "FILLED",
    "OBJECTS",
    "OTHER",
    "SCORE",
    "SCORED",
    "TRUTH",
    "ParametrisedTag",
    "TagAndProbe",
]

#: category of data, and of simulated probes that are in no other one
DATA, OTHER = "data", "other"

#: truth categories of probes: all quarks inside the jet, all but one, fewer
CATEGORIES = {
    "signal": "probe.genQuarks > 0 and probe.genQuarksInside == probe.genQuarks",
    "partly_merged": "probe.genQuarksInside > 0 and probe.genQuarksInside == probe.genQuarks - 1",
    "unmerged": "probe.genQuarks > 0",
}

#: columns of probes from generator particles, by the function that makes them
TRUTH = {
    "merging_labels": ("genQuarks", "genQuarksInside"),
    "generator_labels": ("genResonance", "genResonanceMass", "genLegs", "genInside", *LEGS),
}

#: column of the probe with the score
SCORE = "score"

#: objects of an event, in the order of the cutflow
OBJECTS = ("muon", "tag", "probe")

#: numbers of objects, and distances between them
DERIVED = (
    "nmuons",
    "ntags",
    "nprobes",
    "drMuonTag",
    "drMuonProbe",
    "dphiMuonProbe",
    "drTagProbe",
    "dphiTagProbe",
)

#: rows of the cutflow before and after the cuts
DISTINCT, SCORED, FILLED = "distinct", "scored", "filled"

#: binning axes
AXES = ("pt", "mass", "abseta")

#: kind of selection -> its defaults
DEFAULTS: dict[str, dict[str, Any]] = {
    "semileptonic": {
        "muon": "pt > 55 and abs(eta) < 2.4 and pfRelIso03_all < 0.15",
        "tag": "pt > 30 and abs(eta) < 2.4 and drMuon > 0.4 and drMuon < 1.5",
        "probe": "pt > 300 and abs(eta) < 2.4 and drMuon > 2",
        "cuts": {"one_muon": "nmuons == 1", "met": "MET.pt > 50"},
    },
    "dijet": {
        "muon": "pt > 10 and abs(eta) < 2.4 and pfRelIso03_all < 0.25",
        "tag": "pt > 200 and abs(eta) < 2.4",
        "probe": "pt > 300 and abs(eta) < 2.4",
        "cuts": {"no_muon": "nmuons == 0", "opposite": "abs(dphiTagProbe) > 2.5"},
    },
}


@dataclass(frozen=True)
class TagAndProbe(Brief):
    """The complete definition of a tag-and-probe selection; what is not given has the defaults of the kind.

    Parameters
    ----------
    samples : mapping of str to Sample
    score : Discriminant or MapColumn
        The discriminant of the probe.
    bands : sequence of float
        Edges of the exclusive bands of the score, with both ends; the inner ones are the thresholds of working points.
        Scores beyond an end belong to the band at this end.
    axes : sequence of AxisSpec
        Kinematic bins: ``pt``, and ``mass`` or ``abseta`` if wanted. An axis without an expression is filled from
        ``probe.pt``, ``probe.mass``, ``abs(probe.eta)``.
    variable : AxisSpec
        The fitted variable; without an expression the column of the probe with its name.
    kind : str
        ``semileptonic``: an isolated muon, a b jet near it (the tag), and a fat jet opposite. ``dijet``: two fat jets,
        the probe and the tag opposite to it, and no isolated muon.
    muon : str or Expression
        Cut in columns of the muons; those that pass are counted, the one with the highest pt is ``muon``.
    tag : str or Expression
        Cut in columns of the jets, and ``drMuon``, the distance to the muon; the one with the highest pt is ``tag``.
    btag : str, Expression or ParametrisedTag, optional
        Further condition on the tag: a cut in a score of a b tagger, or a tag by flavour. Only for ``semileptonic``.
    probe : str or Expression
        The same for the probe. In ``dijet`` it is chosen before the tag.
    separation : float
        Minimum distance of probe and tag; events in which they are nearer are excluded and counted.
    cuts : mapping of str to (str or Expression)
        Name -> condition on the event, in ``muon.pt``, ``tag.pt``, ``probe.pt`` and so on, in `DERIVED` and in columns
        of the events.
    resonance : int
        Absolute PDG ID of the resonance of the default categories, 6 or 24, for example.
    categories : mapping of str to (str or Expression), optional
        Name -> condition on simulated probes, in order; the first that holds is the category, and `OTHER` if none
        does. Default: `CATEGORIES`.
    prefix, event_cut, weights, variations, luminosity, generator_weight, collection
        As for `jettagger.search.definition.Search`.
    jets : str
        Collection of the tag in ``semileptonic``.

    Raises
    ------
    ConfigError, UnknownName
        If the definition is inconsistent.
    """

    samples: Mapping[str, Sample]
    score: Discriminant | MapColumn
    bands: Sequence[float]
    axes: Sequence[AxisSpec]
    variable: AxisSpec
    kind: str = "semileptonic"
    muon: Any = None
    tag: Any = None
    btag: Any = None
    probe: Any = None
    separation: float = 0.8
    cuts: Mapping[str, Any] | None = None
    resonance: int = 6
    categories: Mapping[str, Any] | None = None
    prefix: str | None = None
    event_cut: Any = None
    weights: Mapping[str, WeightFactor] = field(default_factory=dict)
    variations: Mapping[str, JetVariation | MassFactors] = field(default_factory=dict)
    luminosity: float = 1.0
    generator_weight: str | None = "genWeight"
    collection: str = "FatJet"
    jets: str = "Jet"
    factors: Mapping[str, tuple[Expression, Expression | None, Expression | None]] = field(init=False, compare=False)
    histogram: HistSpec = field(init=False, compare=False)

    def __post_init__(self) -> None:
        def put(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        if self.kind not in DEFAULTS:
            raise ConfigError(
                f"the kind of a tag-and-probe selection is {self.kind!r}{hint(self.kind, DEFAULTS)}, expected one of "
                f"{', '.join(DEFAULTS)}"
            )
        for name, value in DEFAULTS[self.kind].items():
            if getattr(self, name) is None:
                put(name, value)
        for name in ("samples", "weights", "variations"):
            put(name, dict(getattr(self, name)))
        for name in OBJECTS:
            put(name, as_expression(getattr(self, name), f"cut on the {name}"))
        put("event_cut", None if self.event_cut is None else as_expression(self.event_cut, "event cut"))
        if self.btag is not None and not isinstance(self.btag, ParametrisedTag):
            put("btag", as_expression(self.btag, "b tag"))
        for name, kind in (("cuts", "cut"), ("categories", "category")):
            given = CATEGORIES if getattr(self, name) is None else getattr(self, name)
            put(name, {key: as_expression(text, f"{kind} {key!r}") for key, text in given.items()})
        put("factors", {name: factor.parsed(name) for name, factor in self.weights.items()})
        put("bands", tuple(float(edge) for edge in self.bands))
        put("axes", tuple(_with_expression(axis) for axis in self.axes))
        put("variable", _with_expression(self.variable))
        self._check()
        score = AxisSpec(SCORE, edges=tuple(self.bands), label=self.score.name or SCORE, expression=f"probe.{SCORE}")
        put("histogram", HistSpec("probe", [*self.axes, score, self.variable], "probes", _CATEGORY_AXES))
        self._check_size()

    def _check(self) -> None:
        """Refuse an inconsistent definition."""
        if not self.samples:
            raise ConfigError("a tag-and-probe selection needs at least one sample, got none")
        if (
            len(self.bands) < 3
            or not all(math.isfinite(edge) for edge in self.bands)
            or list(self.bands) != sorted(set(self.bands))
        ):
            raise ConfigError(
                "the bands of the score are at least three rising numbers: the ends and a threshold between them, got "
                f"{list(self.bands)}"
            )
        names = [axis.name for axis in self.axes]
        for name in names:
            if name not in AXES:
                raise UnknownName("binning axis", name, AXES)
        if "pt" not in names or len(set(names)) < len(names):
            raise ConfigError(f"the binning axes are pt and at most one each of {', '.join(AXES[1:])}, got {names}")
        if self.variable.name in (*names, SCORE):
            raise ConfigError(f"the fitted variable has the name of a binning axis: {self.variable.name!r}")
        if not (math.isfinite(self.separation) and self.separation > 0):
            raise ConfigError(
                f"separation is {self.separation:g}, expected a distance above zero: with 0, probe and tag may be the "
                "same jet"
            )
        if self.btag is not None and self.kind == "dijet":
            raise ConfigError("a dijet selection has a fat jet as its tag: a b tag is for the kind semileptonic")
        reserved = [name for name in self.cuts or () if name in (EVENTS, *OBJECTS, DISTINCT, SCORED, FILLED)]
        if reserved:
            raise ConfigError(f"a cut cannot be called {reserved[0]!r}, which is a row of the cutflow")
        reserved = [name for name in self.categories or () if name in (DATA, OTHER)]
        if reserved:
            raise ConfigError(f"a category cannot be called {reserved[0]!r}: {DATA!r} and {OTHER!r} are made anyway")
        taken = sorted(set(self.weights) & {*self.variations, *shift_names(self.variations)})
        if taken:
            raise ConfigError(f"{taken[0]!r} is both a weight and a variation of jets")
        if "generator" in self.weights:
            raise ConfigError("a weight cannot be called 'generator', which is the generator's own weight")
        if not (math.isfinite(self.luminosity) and self.luminosity > 0):
            raise ConfigError(f"the luminosity must be a number above zero (in 1/fb), got {self.luminosity}")

    def _check_size(self) -> None:
        n_data = sum(sample.data for sample in self.samples.values())
        varied = 1 + 2 * len(self.weights) + 2 * len(shift_names(self.variations))
        simulated = (len(self.samples) - n_data) * varied * (1 + len(self.categories or ()))
        self.histogram.require_room(n_data + simulated)

    @property
    def category_names(self) -> tuple[str, ...]:
        """The categories of simulated probes, in order."""
        return (*(self.categories or ()), OTHER)

    def arguments(self) -> dict[str, Any]:
        """The fields as arguments of the processor.

        Returns
        -------
        dict
        """
        return {item.name: getattr(self, item.name) for item in fields(self) if item.init}

    def expressions(self) -> Iterator[Expression]:
        """All expressions in objects and events, without the categories."""
        yield from (self.cuts or {}).values()
        for parts in self.factors.values():
            yield from (item for item in parts if item is not None)
        yield from (axis.parsed for axis in self.histogram.axes)


_CATEGORY_AXES = ("dataset", "category", "variation")

_SOURCES = {"abseta": "abs(probe.eta)"}


def _with_expression(axis: AxisSpec) -> AxisSpec:
    """An axis of the probe; its default is the column of the probe with its name."""
    if axis.expression:
        return axis
    source = _SOURCES.get(axis.name, f"probe.{axis.name}")
    return AxisSpec(axis.name, axis.bins, axis.edges, axis.label, axis.unit, source)


guard(globals())
