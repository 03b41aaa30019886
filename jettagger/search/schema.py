"""What the configuration of a search may hold: the keys, their types, defaults and descriptions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from jettagger.config.models import Expected, FileModel, Names, Shorthand, Shown, Size
from jettagger.tagging.keys import TaggerKeys

__all__ = ["RENAMED", "RUNS", "SCHEMAS", "VERSION", "SearchFile"]

#: the version of the configuration files
VERSION = 1

#: coffea's schemas by the names that a configuration may use
SCHEMAS = ("PFNanoAODSchema", "NanoAODSchema", "ScoutingNanoAODSchema")

#: what ``sum_of_weights`` and ``cross_section`` may be besides a number
RUNS = "Runs"

#: keys by their old names -> what they are called now
RENAMED: dict[tuple[str, ...], str | tuple[str, ...]] = {
    ("model",): ("tagger", "model"),
    ("threads",): ("tagger", "threads"),
    ("events",): "event_selection",
    ("jets", "pick"): "select_by",
    ("jets", "order"): "sort_by",
    ("templates", "free"): "free_normalisations",
    ("templates", "floor"): "empty_bin_yield",
    ("templates", "normalisations"): "normalisation_uncertainties",
}

Numbers = Annotated[tuple[float, ...], Field(strict=False), Expected("a list of numbers")]


class SampleKeys(FileModel):
    """One data set."""

    files: Annotated[Names, Field(min_length=1)] = Field(
        description="ROOT files or skims in parquet: a path, a glob or a list; local (relative to the configuration) "
        "or `root://` (globs too, with the extra `xrootd`)"
    )
    cross_section: Annotated[float | Literal["Runs"] | None, Expected("a number or Runs", (RUNS,)), Shown("needed")] = (
        Field(
            default=None,
            description="of simulation, in pb, with branching fractions and filter efficiencies; or `Runs`: the "
            "`crossSection` there, as `jettagger simulate` writes it: the mean over the rows weighted with "
            "`genEventCount`; of one process (`genProcess`)",
        )
    )
    sum_of_weights: Annotated[
        float | Literal["Runs", "events"] | None,
        Expected("a number or Runs or events", (RUNS, "events")),
        Shown("`Runs` where the files have it, else `events`, which is said"),
    ] = Field(
        default=None,
        description="of all generated events: a number; `Runs`: the sum that the files have in their tree `Runs`; or "
        "`events`: the sum over the events that are read, which is wrong for skims",
    )
    data: bool = Field(default=False, description="`true` for data: no weights, no variations, no scaling")
    golden_json: str | None = Field(default=None, description="of data: the certified luminosity sections")


class JetsKeys(FileModel):
    """The candidates."""

    count: Annotated[int, Field(ge=1, le=2), Expected("1 or 2")] = Field(default=2, description="candidates, 1 or 2")
    preselection: str = Field(
        default="pt > 200", description="cut on columns of the jets; only these jets run through the network"
    )
    select_by: str = Field(
        default="pt", description="the candidates are the jets with the largest values of this column or discriminant"
    )
    sort_by: str = Field(default="pt", description="they are numbered by falling values of this column or discriminant")
    mass: str = Field(default="mass", description="the column that enters `mjj`")


class RegionKeys(FileModel):
    """One region."""

    kind: Literal["signal", "validation", "control", "inclusive"] = Field(description="what it is for, see below")
    passes: Names = Field(default=(), alias="pass", description="cuts that its events pass")
    fails: Names = Field(default=(), alias="fail", description="cuts that its events fail, each of them")


class AxisKeys(FileModel):
    """One variable of a histogram."""

    bins: Annotated[Numbers | None, Shown("this or `edges`")] = Field(
        default=None, description="number of bins, low and high end"
    )
    edges: Annotated[Numbers | None, Shown("this or `bins`")] = Field(default=None, description="rising edges of bins")
    label: Annotated[str, Shown("the name")] = Field(default="", description="for plots")
    unit: str = Field(default="", description="such as `GeV`")
    expression: Annotated[str, Shown("the name")] = Field(default="", description="what is filled")


class HistogramKeys(AxisKeys):
    """One histogram."""

    axes: dict[str, AxisKeys] | None = Field(
        default=None, description="instead of the keys above, for several variables: name -> these keys"
    )
    counts: str = Field(default="events", description="label of the counts")
    max_size: Annotated[Size | None, Shown("`1 GB`")] = Field(
        default=None, description="that it may take with all samples, regions and variations"
    )


class DiscriminantKeys(FileModel):
    """A discriminant, see discriminants.md."""

    expression: Any = Field(default=None, description="a formula in scores")
    preset: Any = Field(default=None, description="the name of a preset, instead of `expression`")
    form: Any = Field(default=None, description="of a preset: `ratio` or `log_ratio`")
    parameters: Any = Field(default=None, description="name -> number, the parameters of the formula")
    zero: Any = Field(default=None, description="the value where the denominator is zero")
    prefix: Any = Field(default=None, description="of the tagger's columns")
    label: Any = Field(default=None, description="for plots")
    text: Any = Field(default=None, description="one line on what it is for")


class WeightKeys(FileModel):
    """A correction of simulation."""

    nominal: str = Field(description="an expression")
    up: str | None = Field(default=None, description="the same after variation; with `down` or not at all")
    down: str | None = Field(default=None, description="the same")


class VariationKeys(FileModel):
    """A variation of jets."""

    up: dict[str, str] = Field(description="column of the jets -> expression in columns of the jets that replaces it")
    down: dict[str, str] = Field(description="the same")


class SignalKeys(FileModel):
    """A signal of the templates."""

    datasets: Names = Field(description="its samples")
    mass: Annotated[float, Expected("a number")] = Field(description="of the resonance, in GeV")
    cross_section: Annotated[float | None, Expected("a number"), Shown("that of its samples")] = Field(
        default=None, description="in pb, for limits"
    )


class TemplatesKeys(FileModel):
    """What templates are made of."""

    histogram: str = Field(description="the one, of one variable, that they are made of")
    processes: dict[str, Names] = Field(description="background -> samples")
    signals: dict[str, SignalKeys] = Field(description="signal -> `datasets`, `mass` and `cross_section`")
    regions: Annotated[Names, Shown("all but inclusive ones")] = Field(default=(), description="which")
    data: Names = Field(
        default=(), description="samples of data; without any the sum of the backgrounds is taken in their place"
    )
    variations: Annotated[Names | None, Shown("all")] = Field(
        default=None, description="which, without `Up` and `Down`"
    )
    normalisation_uncertainties: dict[str, dict[str, Annotated[float, Expected("a number")]]] = Field(
        default_factory=dict, description="uncertainty -> process -> relative size, log-normal"
    )
    free_normalisations: Names = Field(default=(), description="backgrounds whose normalisation the fit may choose")
    empty_bin_yield: Annotated[float | str, Expected("one_event, refuse or a number of events above zero")] = Field(
        default="one_event",
        description="what a background gets, ± 100 %, in a bin where it has no simulated event: `one_event`, a number "
        "of events, or `refuse`",
    )
    min_effective_events: Annotated[float, Expected("a number"), Shown("0: no merging")] = Field(
        default=0.0, description="bins are merged until each background has so many effective events in each"
    )
    names: Annotated[dict[str, str], Shown("as combine reads them")] = Field(
        default_factory=dict, description="patterns of the names in `templates.root`: `nominal`, `shifted`, `data`"
    )


class SearchFile(FileModel):
    """The configuration of a search."""

    version: Literal[1] = Field(description="1")
    luminosity: Annotated[float, Field(gt=0), Expected("above zero, a number in 1/fb")] = Field(
        description="in 1/fb; simulation is scaled to it"
    )
    samples: Annotated[dict[str, SampleKeys], Field(min_length=1)] = Field(description="name -> keys, see below")
    regions: Annotated[dict[str, RegionKeys], Field(min_length=1)] = Field(description="name -> keys, see below")
    histograms: Annotated[dict[str, HistogramKeys], Field(min_length=1)] = Field(description="name -> keys, see below")
    tagger: Annotated[TaggerKeys, Shorthand("model")] | None = Field(
        default=None,
        description="the model to run and how: its name, or keys, see below; without it the scores are those in the "
        "files",
    )
    prefix: Annotated[str | None, Shown("the model's")] = Field(
        default=None, description="of the tagger's columns, needed where several taggers are in the files"
    )
    tree: str = Field(default="Events", description="the tree of events")
    collection: str = Field(default="FatJet", description="the fat jets in it")
    schema_name: Annotated[
        Literal["PFNanoAODSchema", "NanoAODSchema", "ScoutingNanoAODSchema"] | None,
        Shown("the first with a tagger, the second without"),
    ] = Field(
        default=None,
        alias="schema",
        description="of coffea: `PFNanoAODSchema`, `NanoAODSchema` or `ScoutingNanoAODSchema`",
    )
    chunk_size: Annotated[int, Field(ge=1), Expected("a number of events")] = Field(
        default=20_000, description="events that are read at a time; changes no result"
    )
    generator_weight: Annotated[str | None, Expected("a column or null")] = Field(
        default="genWeight",
        description="column of the generator's weight, which tells simulation from data; `null`: each event counts 1",
    )
    event_selection: str | None = Field(default=None, description="cut on columns of the events, such as a trigger")
    jets: JetsKeys = Field(default_factory=JetsKeys, description="the candidates, see below")
    discriminants: dict[str, Annotated[DiscriminantKeys, Shorthand("expression")]] = Field(
        default_factory=dict, description="name -> a preset, a formula or a mapping, see below"
    )
    cuts: dict[str, str] = Field(default_factory=dict, description="name -> expression, see below")
    weights: dict[str, Annotated[WeightKeys, Shorthand("nominal")]] = Field(
        default_factory=dict, description="name -> expression or keys, see below"
    )
    variations: dict[str, VariationKeys] = Field(default_factory=dict, description="name -> keys, see below")
    templates: TemplatesKeys | None = Field(default=None, description="what templates are made of, see below")
    blind: bool = Field(default=True, description="whether data in signal regions stay hidden, see below")
    plots: bool = Field(default=True, description="whether plots are drawn, if matplotlib and mplhep are there")
