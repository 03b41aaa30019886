"""The schema of the configuration of `jettagger calibrate`: keys, types, defaults and descriptions."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from jettagger.config.models import Between, Expected, FileModel, Names, Shorthand, Shown
from jettagger.search.schema import AxisKeys, SampleKeys, VariationKeys, WeightKeys
from jettagger.tagging.keys import TaggerKeys

__all__ = [
    "VERSION",
    "BinsKeys",
    "CalibrateFile",
    "ContaminationKeys",
    "FactorKeys",
    "MassFactorKeys",
    "MistagKeys",
    "OutsideKeys",
    "ParametrisedKeys",
    "ProbeKeys",
    "ShapeKeys",
]

#: version of the configuration files
VERSION = 1


def _increasing(edges: tuple[float, ...]) -> tuple[float, ...]:
    if len(edges) < 2 or not all(low < high for low, high in pairwise(edges)):
        raise ValueError("at least 2 edges, which must increase")
    return edges


Number = Annotated[float, Expected("a number")]
Relative = Annotated[float, Between(0)]
BinEdges = Annotated[
    tuple[float, ...],
    Field(strict=False),
    AfterValidator(_increasing),
    Expected("a list of at least 2 increasing bin edges"),
]
Probability = Annotated[float, Between(0, 1)]
Part = Annotated[float, Between(1e-4, 0.9)]
Identifier = Annotated[
    str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$"), Expected("a name of letters, digits and _, a letter first")
]


class BinsKeys(FileModel):
    """Kinematic bins: edges, each of which the histogram has."""

    pt: BinEdges = Field(description="in GeV")
    mass: BinEdges | None = Field(default=None, description="in GeV; only if the mass is not the fitted variable")
    abseta: BinEdges | None = Field(default=None, description="absolute value of eta")

    @property
    def edges(self) -> dict[str, tuple[float, ...]]:
        """Axis -> edges, those that are given."""
        return {name: tuple(edges) for name, edges in self.model_dump(exclude_none=True).items()}


class FactorKeys(FileModel):
    """A category of truth in the fit."""

    sources: Annotated[Names, Shown("the category of this name")] = Field(
        default=(), alias="from", description="categories of the histogram that are added"
    )
    datasets: Annotated[Names | None, Shown("all of simulation")] = Field(
        default=None, description="only jets of these data sets"
    )
    factors: Annotated[Literal["free", "fixed", "tied"], Expected("free, fixed or tied", ("free", "fixed", "tied"))] = (
        Field(
            default="free",
            description="`free`: factors of its own; `fixed`: 1; `tied`: those of `tied_to`",
        )
    )
    tied_to: str | None = Field(default=None, description="with `tied`: a category with free factors")
    normalisation: Annotated[
        Literal["free"] | float | None, Expected("free or a relative uncertainty", ("free",)), Shown("as simulated")
    ] = Field(
        default=None,
        description="number of jets in all bands together: `free`, or a relative uncertainty (log-normal)",
    )


class ShapeKeys(FileModel):
    """A variation whose size is measured."""

    size: Annotated[float, Field(gt=0), Expected("a number above zero")] = Field(
        description="relative change by one standard deviation of the variation, e.g. 0.02 for a mass shifted by 2 %"
    )
    prior: Annotated[float | None, Field(gt=0), Expected("a number above zero"), Shown("free")] = Field(
        default=None, description="relative uncertainty before the fit"
    )


class MassFactorKeys(FileModel):
    """Scale and resolution of a mass, written as `mass_factors.json`."""

    column: str = Field(description="mass of the jets, e.g. `msoftdrop`")
    peak: Annotated[Names, Shown("none: variations under `shapes` are taken")] = Field(
        default=(),
        description="categories with a peak in the fitted variable, whose templates are shifted and stretched",
    )
    scale_size: Part = Field(default=0.02, description="with `peak`: relative size of the shift, about that expected")
    resolution_size: Part = Field(default=0.1, description="the same for the resolution")
    prior: Annotated[float | None, Field(gt=0), Expected("a number above zero"), Shown("free")] = Field(
        default=None, description="with `peak`: uncertainty of both before the fit, in units of these sizes"
    )
    scale: str | None = Field(default=None, description="without `peak`: name under `shapes` that shifts the mass")
    resolution: str | None = Field(default=None, description="the same: the one that smears it")
    width: Annotated[float, Between(1e-3, 0.999)] = Field(
        default=0.1, description="relative width of the peak in simulation, for the smearing"
    )
    reference: str | None = Field(
        default=None, description="column with the mass without detector effects, see [search.md](search.md)"
    )


class ParametrisedKeys(FileModel):
    """A tag of simulated AK4 jets by flavour, for files without a b-tag score."""

    bottom: Probability = Field(default=0.7, description="probability of a tag of bottom jets")
    charm: Probability = Field(default=0.12, description="of charm jets")
    light: Probability = Field(default=0.01, description="of others")
    flavour: str = Field(default="hadronFlavour", description="column of the jets with their flavour")


class ProbeKeys(FileModel):
    """Events that are read, and how probe jets are selected in them."""

    luminosity: Annotated[float, Field(gt=0), Expected("above zero, a number in 1/fb")] = Field(
        description="integrated luminosity in 1/fb, to which simulation is scaled"
    )
    samples: Annotated[dict[str, SampleKeys], Field(min_length=1)] = Field(
        description="name -> keys as [in a search](search.md#samples)"
    )
    variable: AxisKeys = Field(description="bins of the fitted variable, as of a histogram of a search")
    kind: Annotated[Literal["semileptonic", "dijet"], Expected("semileptonic or dijet", ("semileptonic", "dijet"))] = (
        Field(default="semileptonic", description="kind of the selection, see Probe jets")
    )
    tagger: Annotated[TaggerKeys, Shorthand("model")] | None = Field(
        default=None, description="model to run; without it, scores are read from the files"
    )
    prefix: Annotated[str | None, Shown("the model's")] = Field(
        default=None, description="prefix of the tagger's columns, required if the files contain several taggers"
    )
    score_range: Annotated[tuple[Number, Number], Field(strict=False), Expected("a list: lower and upper end")] = Field(
        default=(0.0, 1.0), description="ends of the score; jets beyond belong to the outermost bands"
    )
    muon: str | None = Field(default=None, description="cut on columns of the muons")
    tag: str | None = Field(default=None, description="cut on columns of the tag, and `drMuon`")
    btag: str | ParametrisedKeys | None = Field(
        default=None, description="cut on a score of a b tagger, or keys of a tag by flavour, see below"
    )
    probe: str | None = Field(default=None, description="cut on columns of the probe, and `drMuon`")
    separation: Annotated[float, Field(gt=0), Expected("a number above zero")] = Field(
        default=0.8, description="minimum distance of probe and tag"
    )
    cuts: dict[str, str] | None = Field(
        default=None, description="name -> condition in `muon.pt`, `tag.pt`, `probe.pt`, distances and events"
    )
    resonance: Annotated[int, Between(1)] = Field(default=6, description="PDG ID of the resonance of the categories")
    truth: dict[str, str] | None = Field(
        default=None, description="category -> condition on simulated probes; the first that holds"
    )
    event_selection: str | None = Field(default=None, description="cut on columns of the events, e.g. a trigger")
    weights: dict[str, Annotated[WeightKeys, Shorthand("nominal")]] = Field(
        default_factory=dict, description="name -> expression, or `nominal`, `up` and `down`"
    )
    variations: dict[str, VariationKeys] = Field(
        default_factory=dict, description="name -> keys as [in a search](search.md#weights-and-variations)"
    )
    generator_weight: Annotated[str | None, Expected("a column or null")] = Field(
        default="genWeight", description="column of the generator weight; `null`: each event counts 1"
    )
    tree: str = Field(default="Events", description="name of the tree of events")
    collection: str = Field(default="FatJet", description="collection of the fat jets")
    jets: str = Field(default="Jet", description="collection of the AK4 jets")
    schema_name: Annotated[
        Literal["PFNanoAODSchema", "NanoAODSchema", "ScoutingNanoAODSchema"] | None,
        Shown("the first with a tagger, the second without"),
    ] = Field(default=None, alias="schema", description="coffea schema, as in a search")
    chunk_size: Annotated[int, Field(ge=1), Expected("a number of events")] = Field(
        default=20_000, description="events per chunk; does not change results"
    )


class ContaminationKeys(FileModel):
    """Jets of another kind in the control sample, subtracted from its data."""

    sources: Annotated[Names, Field(min_length=1)] = Field(alias="from", description="categories of the histogram")
    datasets: Annotated[Names | None, Shown("all of simulation")] = Field(
        default=None, description="only jets of these data sets"
    )
    uncertainty: Relative = Field(default=0.0, description="relative uncertainty of their number")
    factors_of: Annotated[str | None, Shown("1")] = Field(
        default=None, description="fitted category whose factors, with their uncertainties, these jets have"
    )


class MistagKeys(FileModel):
    """Mistag rates from a control sample of background jets."""

    category: Identifier = Field(description="name of these jets in the scale factors")
    histograms: Annotated[Names, Shown("this or `events`")] = Field(
        default=(), description="files with the histogram of the control sample, relative to the configuration"
    )
    events: Annotated[ProbeKeys | None, Shown("this or `histograms`")] = Field(
        default=None, description="events of the control sample, with the same keys as `events` above"
    )
    histogram: str = Field(default="probe", description="its name in the files")
    sources: Annotated[Names, Field(min_length=1)] = Field(
        alias="from", description="categories of the histogram: the jets whose rate is measured"
    )
    datasets: Annotated[Names | None, Shown("all of simulation")] = Field(
        default=None, description="only jets of these data sets"
    )
    data: Annotated[Names, Shown("those with the category `data`")] = Field(default=(), description="data sets of data")
    contamination: dict[Identifier, ContaminationKeys] = Field(
        default_factory=dict, description="name -> jets to be subtracted, see below"
    )
    systematics: Annotated[Names | None, Shown("all")] = Field(
        default=None, description="variations of the histogram, without `Up` and `Down`"
    )


class OutsideKeys(FileModel):
    """What jets outside of the bins get; it is written into the files."""

    behaviour: Annotated[
        Literal["clamp", "one", "error"], Expected("clamp, one or error", ("clamp", "one", "error"))
    ] = Field(
        default="clamp",
        description="`clamp`: the factor of the nearest bin, with larger uncertainties; `one`: 1 with a stated "
        "uncertainty; `error`",
    )
    size: Annotated[Relative | None, Shown("2 and 1")] = Field(
        default=None, description="with `clamp` the factor on the uncertainties, with `one` the uncertainty"
    )


class CalibrateFile(FileModel):
    """The configuration of a calibration."""

    version: Literal[1] = Field(description="1")
    title: str = Field(default="", description="one-line description, for the report")
    name: Identifier = Field(description="name of the correction in the files, e.g. `hbb`")
    discriminant: Annotated[str, Field(min_length=1), Expected("text")] = Field(
        description="on which the thresholds are: a preset or an expression in scores"
    )
    working_points: Annotated[
        dict[Identifier, Number] | str, Expected("names with thresholds, or a file of working points")
    ] = Field(
        description="name -> threshold, the loosest first; or a file of working points "
        "([discriminants.md](discriminants.md)) whose thresholds are single numbers"
    )
    histograms: Annotated[Names, Shown("this or `events`")] = Field(
        default=(),
        description="files with the histogram of probe jets, relative to the configuration; those of several files "
        "are added",
    )
    events: Annotated[ProbeKeys | None, Shown("this or `histograms`")] = Field(
        default=None, description="events from which the histogram is filled, see below"
    )
    histogram: str = Field(default="probe", description="its name in the files")
    variable: str = Field(description="axis of the fitted variable, e.g. `msoftdrop`")
    bins: BinsKeys = Field(description="kinematic bins, see below")
    data: Annotated[Names, Shown("those with the category `data`")] = Field(default=(), description="data sets of data")
    categories: Annotated[dict[Identifier, FactorKeys], Field(min_length=1)] = Field(
        description="fitted category -> keys, see below; those that are not `fixed` get scale factors"
    )
    kind: Annotated[Literal["points", "bands"], Expected("points or bands", ("points", "bands"))] = Field(
        default="points",
        description="`points`: factors of jets above each threshold; `bands`: of jets between it and the next one",
    )
    systematics: Annotated[Names | None, Shown("all")] = Field(
        default=None, description="variations of the histogram, without `Up` and `Down`"
    )
    shape_only: Names = Field(
        default=(),
        description="variations that leave the fraction of each category in each band as it is nominally: their "
        "migration between bands is none of the uncertainty",
    )
    normalisation_uncertainties: dict[Identifier, dict[str, Number]] = Field(
        default_factory=dict, description="uncertainty -> category -> relative size (log-normal)"
    )
    shapes: dict[str, ShapeKeys] = Field(
        default_factory=dict, description="variation whose size is measured -> keys, see below"
    )
    correlated: Annotated[Names | None, Shown("all but statistics and normalisations of categories")] = Field(
        default=None, description="sources of uncertainty that move all bins together"
    )
    simulated_statistics: bool = Field(
        default=True, description="whether limited numbers of simulated jets are an uncertainty"
    )
    min_effective_events: Relative = Field(
        default=10.0, description="bins of the variable are merged until the simulation has this many effective events"
    )
    sparse: Annotated[Literal["merge", "refuse"], Expected("merge or refuse", ("merge", "refuse"))] = Field(
        default="merge",
        description="what is done with kinematic bins in which nothing can be measured: `merge` joins neighbours in pt",
    )
    outside: OutsideKeys = Field(default_factory=OutsideKeys, description="jets outside of the bins, see below")
    layouts: Annotated[
        tuple[Annotated[Literal["b_tagging", "jet_tagging"], Expected("b_tagging or jet_tagging")], ...],
        Field(strict=False),
    ] = Field(default=(), description="further layouts to write: `b_tagging`, `jet_tagging`")
    flavors: dict[str, Annotated[int, Expected("a whole number")]] = Field(
        default_factory=dict, description="for `b_tagging`: category -> flavor"
    )
    mistag: MistagKeys | None = Field(default=None, description="mistag rates from a control sample, see below")
    mass_factors: MassFactorKeys | None = Field(
        default=None, description="scale and resolution of a mass as a file, see below"
    )
