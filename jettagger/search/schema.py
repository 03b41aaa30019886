"""The schema of the configuration of a search: keys, types, defaults and descriptions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from jettagger.config.models import Expected, FileModel, Names, Shorthand, Shown, Size
from jettagger.search.batch import BatchKeys
from jettagger.tagging.keys import TaggerKeys

__all__ = ["RENAMED", "RUNS", "SCHEMAS", "VERSION", "SearchFile"]

#: version of the configuration files
VERSION = 1

#: coffea's schemas by their names in a configuration
SCHEMAS = ("PFNanoAODSchema", "NanoAODSchema", "ScoutingNanoAODSchema")

#: alternative to a number for ``sum_of_weights`` and ``cross_section``
RUNS = "Runs"

#: former names of keys -> current names
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


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


#: the name of an era, which may be written as a number
EraName = Annotated[str, BeforeValidator(_as_text, json_schema_input_type=str | int)]


class EraKeys(FileModel):
    """A period of data taking."""

    luminosity: Annotated[float, Field(gt=0), Expected("above zero, a number in 1/fb")] = Field(
        description="its integrated luminosity in 1/fb, to which its simulation is scaled"
    )
    energy: Annotated[float | None, Field(gt=0), Expected("above zero, a number in TeV")] = Field(
        default=None, description="centre-of-mass energy in TeV"
    )
    certified: str | None = Field(
        default=None, description="file of the certified luminosity sections of its data (golden JSON)"
    )
    triggers: Names = Field(
        default=(),
        description="trigger paths, e.g. `PFHT1050`, of which its events pass at least one, data and simulation; all "
        "of them are in its files",
    )


class SampleKeys(FileModel):
    """One data set."""

    files: Annotated[Names, Field(min_length=1)] = Field(
        description="ROOT files or parquet skims (coffea 2026.5 or later): a path, a glob or a list; local (relative "
        "to the configuration) or `root://` (globs too, with the extra `xrootd`); or filesets and lists of files, see "
        "below"
    )
    dataset: Annotated[Names, Shown("that of the name of the sample, or the only one")] = Field(
        default=(), description="data sets of a fileset"
    )
    cross_section: Annotated[
        float | Literal["Runs"] | None, Expected("a number or Runs", (RUNS,)), Shown("required")
    ] = Field(
        default=None,
        description="for simulation: cross section in pb, including branching fractions and filter efficiencies; or "
        "`Runs`: the `crossSection` in the tree `Runs`, as `jettagger simulate` writes it (mean "
        "weighted with `genEventCount`; one process, `genProcess`, per sample)",
    )
    sum_of_weights: Annotated[
        float | Literal["Runs", "events"] | None,
        Expected("a number or Runs or events", (RUNS, "events")),
        Shown("`Runs` if the files have it, else `events`, with a note"),
    ] = Field(
        default=None,
        description="sum of weights of all generated events: a number; `Runs`: the sum in the tree `Runs` of the "
        "files; or `events`: the sum over the events read, which is wrong for skims",
    )
    data: bool = Field(default=False, description="`true` for data: no weights, no variations, no scaling")
    golden_json: Annotated[str | None, Shown("that of the era")] = Field(
        default=None, description="for data: file of certified luminosity sections"
    )
    era: Annotated[EraName | None, Shown("that in the metadata of its fileset")] = Field(
        default=None, description="its era, one of `eras`"
    )
    cut: str | None = Field(
        default=None, description="cut on columns of the events of this sample, e.g. on `LHE.HT` for stitching"
    )


Distance = Annotated[float, Field(gt=0), Expected("above zero, a distance in pseudorapidity and azimuth")]


class ObjectKeys(FileModel):
    """Objects beside the fat jets."""

    collection: str = Field(description="collection of the events, e.g. `Muon`, `Electron`, `Jet`")
    selection: str | None = Field(default=None, description="cut on its columns")
    sort_by: str = Field(
        default="pt", description="expression in its columns by which the objects are numbered, in decreasing order"
    )
    not_near: dict[str, Distance] = Field(
        default_factory=dict,
        description="other objects, `jet1`, `jet2` or `jets` (all candidates) -> minimum distance from each of them",
    )


class JetsKeys(FileModel):
    """The jet candidates."""

    count: Annotated[int, Field(ge=1, le=2), Expected("1 or 2")] = Field(
        default=2, description="number of candidates, 1 or 2"
    )
    preselection: str = Field(
        default="pt > 200", description="cut on columns of the jets; only jets that pass run through the network"
    )
    select_by: str = Field(
        default="pt", description="column or discriminant with the largest values for the candidates"
    )
    sort_by: str = Field(
        default="pt", description="column or discriminant by which candidates are numbered, in decreasing order"
    )
    mass: str = Field(default="mass", description="column used in `mjj`")
    not_near: dict[str, Distance] = Field(
        default_factory=dict, description="objects -> minimum distance of the jets from them, before the network runs"
    )


class RegionKeys(FileModel):
    """One region."""

    kind: Literal["signal", "validation", "control", "inclusive"] = Field(description="role of the region, see below")
    passes: Names = Field(default=(), alias="pass", description="cuts that its events pass")
    fails: Names = Field(default=(), alias="fail", description="cuts that its events fail, each of them")


class AxisKeys(FileModel):
    """One variable of a histogram."""

    bins: Annotated[Numbers | None, Shown("this or `edges`")] = Field(
        default=None, description="number of bins, lower and upper end"
    )
    edges: Annotated[Numbers | None, Shown("this or `bins`")] = Field(default=None, description="increasing bin edges")
    label: Annotated[str, Shown("the name")] = Field(default="", description="axis label")
    unit: str = Field(default="", description="unit, e.g. `GeV`")
    expression: Annotated[str, Shown("the name")] = Field(default="", description="expression to fill")


class HistogramKeys(AxisKeys):
    """One histogram."""

    axes: dict[str, AxisKeys] | None = Field(
        default=None, description="several variables: name -> the keys above, which then belong here"
    )
    counts: str = Field(default="events", description="what is counted, for the label of the y axis")
    max_size: Annotated[Size | None, Shown("`1 GB`")] = Field(
        default=None, description="maximum size in memory with all samples, regions and variations"
    )


class DiscriminantKeys(FileModel):
    """A discriminant, see discriminants.md."""

    expression: Any = Field(default=None, description="a formula in scores")
    preset: Any = Field(default=None, description="the name of a preset, instead of `expression`")
    form: Any = Field(default=None, description="of a preset: `ratio` or `log_ratio`")
    parameters: Any = Field(default=None, description="name -> number, the parameters of the formula")
    zero: Any = Field(default=None, description="the value where the denominator is zero")
    prefix: Any = Field(default=None, description="prefix of the tagger's columns")
    label: Any = Field(default=None, description="label in plots")
    text: Any = Field(default=None, description="one-line description")

    map: Any = Field(
        default=None,
        description="instead of a formula: file of a map of [decorrelation.md](decorrelation.md), relative to the "
        "configuration",
    )
    efficiency: Any = Field(
        default=None, description="of a map of thresholds with several: which one; its column is the score minus it"
    )


class CutKeys(FileModel):
    """A cut: an expression, a map at a background efficiency, or a working point."""

    expression: str | None = Field(default=None, description="a condition; a text alone is the same")
    map: str | None = Field(
        default=None, description="instead of it: file of a map, relative to the configuration; its jets pass or fail"
    )
    efficiency: Annotated[float | str | None, Expected("the name of an efficiency or a number")] = Field(
        default=None, description="with `map`: the background efficiency, for thresholds its name or value"
    )
    working_point: str | None = Field(
        default=None,
        description="instead of it: file of working points, relative to the configuration; its jets pass or fail",
    )
    name: Annotated[str | None, Shown("the only one")] = Field(
        default=None, description="with `working_point`: which one, e.g. `hbb_1pct`"
    )
    jets: Annotated[Names, Field(min_length=1), Shown("`jet1`")] = Field(
        default=("jet1",), description="with `map` or `working_point`: the candidates that must pass, all of them"
    )
    jet: str | None = Field(default=None, description="instead of `jets`: the only one")


class SystematicKeys(FileModel):
    """One source of uncertainty of a correction."""

    up: str = Field(description="value of the input `$systematic` for the upward variation")
    down: str = Field(description="value for the downward variation")
    where: str | None = Field(
        default=None, description="condition on the objects (or events) that it applies to; others stay nominal"
    )


#: a number, an expression or a text
Input = Annotated[str | int | float, Expected("a number, an expression or a text")]

#: the same for all samples, or by era
ByEra = dict[EraName, str]


class WeightKeys(FileModel):
    """A correction of simulation."""

    nominal: Annotated[str | None, Shown("none; with `file`: `nominal`")] = Field(
        default=None,
        description="an expression; a text alone is the same. With `file`: the value of the input `$systematic`",
    )
    up: str | None = Field(default=None, description="its upward variation; with `down` or not at all")
    down: str | None = Field(default=None, description="its downward variation")
    file: Annotated[str | ByEra | None, Expected("a path, or era -> path")] = Field(
        default=None,
        description="instead of an expression: file of correctionlib, relative to the configuration, or era -> file, "
        "see [search_corrections.md](search_corrections.md)",
    )
    inputs: Annotated[
        dict[str, Input | dict[EraName, Input]], Expected("input -> a number, an expression or a text, or these by era")
    ] = Field(
        default_factory=dict,
        description="with `file`: input of the correction -> expression, or text, for all samples or by era; "
        "`$systematic` for the one with the variation",
    )
    systematics: dict[str, SystematicKeys] = Field(
        default_factory=dict,
        description="with `file`: source of uncertainty -> `up`, `down` and `where`, instead of one `up` and `down`",
    )
    each: str | None = Field(
        default=None,
        description="with `file`: the weight is a product over `jets` (the candidates), or the objects of a collection",
    )
    selection: str | None = Field(default=None, description="with `each`: condition on objects that count")
    outside: Literal["refuse", "clamp", "one"] = Field(
        default="refuse",
        description="with `file`: where it has no number, `refuse` the run, `clamp` to the nearest bin, or `one`",
    )
    theory: Literal["pdf", "scale", "parton_shower"] | None = Field(
        default=None,
        description="instead of an expression: `pdf` (LHEPdfWeight), `scale` (LHEScaleWeight) or `parton_shower` "
        "(PSWeight)",
    )
    combine: Annotated[
        Literal["hessian", "hessian_pairs", "replicas", "envelope", "each"] | None,
        Shown("`hessian`, `envelope`, `each`"),
    ] = Field(default=None, description="with `theory`: how its weights are combined in each bin")
    members: Annotated[int | None, Field(ge=1), Expected("a whole number above zero"), Shown("all")] = Field(
        default=None, description="with `theory: pdf`: number of members of the set after the first"
    )
    alpha_s: bool = Field(
        default=False, description="with `theory: pdf`: whether the last two weights are those of the strong coupling"
    )
    keep_cross_section: bool = Field(
        default=True, description="with `theory`: whether variations have the inclusive cross section of no variation"
    )
    scale_factors: str | None = Field(
        default=None,
        description="instead of an expression: file of scale factors of a tagger, relative to the configuration; the "
        "weight is the product over the candidates",
    )
    efficiencies: str | None = Field(
        default=None, description="with `scale_factors`: file of the efficiencies in simulation"
    )
    discriminant: Annotated[str | None, Shown("that of the file")] = Field(
        default=None, description="discriminant or column of the jets on which the thresholds are"
    )
    points: Annotated[Names | None, Shown("all")] = Field(
        default=None, description="working points that the search cuts on; bands are used together"
    )
    jets: Annotated[Names, Shown("all candidates")] = Field(default=(), description="the candidates that are weighted")
    category: str | None = Field(
        default=None, description="expression in columns of the jets with the flavor of a jet, e.g. `hadronFlavour`"
    )
    categories: dict[str, str] = Field(
        default_factory=dict,
        description="instead of it: category of the file -> condition in columns of the jets; the first that holds "
        "counts, jets for which none does are not weighted and counted",
    )
    sources: Annotated[Names | None, Shown("each")] = Field(
        default=None, description="sources of uncertainty, or `total` for all together"
    )
    correction: Annotated[str | ByEra | None, Expected("a name, or era -> name"), Shown("the only one")] = Field(
        default=None, description="which correction of the file, e.g. `deepJet_comb`; with `file` also by era"
    )
    method: str | None = Field(default=None, description="for corrections with an input of this name, e.g. `comb`")
    thresholds: Annotated[dict[str, Annotated[float, Expected("a number")]], Shown("those of the file")] = Field(
        default_factory=dict, description="working point -> threshold, for files without"
    )
    samples: Annotated[dict[str, str], Shown("that of the same name, or the sum")] = Field(
        default_factory=dict, description="sample -> sample of the efficiencies"
    )


class VariationKeys(FileModel):
    """A variation of jets."""

    up: dict[str, str] | None = Field(
        default=None, description="column of the jets -> expression in columns of the jets that replaces it"
    )
    down: dict[str, str] | None = Field(default=None, description="same for the downward variation")
    nominal: dict[str, str] | None = Field(
        default=None, description="same for the nominal jets, of simulation and data, such as a calibration, see below"
    )
    mass_factors: str | None = Field(
        default=None,
        description="instead of both: file of mass factors, relative to the configuration, see below",
    )


class SignalKeys(FileModel):
    """A signal of the templates."""

    datasets: Names = Field(description="samples of the signal")
    mass: Annotated[float, Expected("a number")] = Field(description="mass of the resonance in GeV")
    cross_section: Annotated[float | None, Expected("a number"), Shown("that of its samples")] = Field(
        default=None, description="cross section in pb, for limits"
    )


class RegionPairKeys(FileModel):
    """Regions with one transfer factor."""

    passing: str = Field(alias="pass", description="region whose background is predicted")
    failing: str = Field(alias="fail", description="region from whose data it is")


class TransferKeys(RegionPairKeys):
    """A background from data."""

    method: Literal["polynomial", "abcd"] = Field(
        description="`polynomial`: the transfer factor is fitted in these regions; `abcd`: in those of `control`, too"
    )
    order: Annotated[
        tuple[int, ...],
        Field(strict=False),
        Expected("a list of numbers, one for each variable"),
        Shown("0 with `abcd`"),
    ] = Field(default=(), description="order of the polynomial in each variable of the histogram")
    control: RegionPairKeys | None = Field(
        default=None, description="with `abcd`: `pass` and `fail`, two further regions with the same transfer factor"
    )
    validation: RegionPairKeys | None = Field(
        default=None, description="`pass` and `fail`, regions in which `jettagger fit` compares prediction and data"
    )


class TemplatesKeys(FileModel):
    """The definition of templates."""

    histogram: str = Field(
        description="one-dimensional histogram from which the templates are made; with backgrounds from data also one "
        "of two variables, the bins of the first become regions"
    )
    processes: dict[str, Names] = Field(description="background process -> samples")
    signals: dict[str, SignalKeys] = Field(description="signal -> `datasets`, `mass` and `cross_section`")
    regions: Annotated[Names, Shown("all except inclusive ones and those of `validation`")] = Field(
        default=(), description="regions of the fit"
    )
    data: Names = Field(
        default=(), description="samples of data; without any, the sum of the backgrounds replaces them"
    )
    variations: Annotated[Names | None, Shown("all")] = Field(
        default=None, description="systematic variations, without `Up` and `Down`"
    )
    normalisation_uncertainties: dict[str, dict[str, Annotated[float, Expected("a number")]]] = Field(
        default_factory=dict, description="uncertainty -> process -> relative size (log-normal)"
    )
    free_normalisations: Names = Field(default=(), description="backgrounds with a freely floating normalisation")
    backgrounds_from_data: dict[str, TransferKeys] = Field(
        default_factory=dict,
        description="background -> how it is taken from data, see [search_backgrounds.md](search_backgrounds.md)",
    )
    groups: Annotated[dict[str, Names], Shown("`variations` and `normalisations`")] = Field(
        default_factory=dict, description="group of uncertainties -> variations and normalisation uncertainties in it"
    )
    empty_bin_yield: Annotated[float | str, Expected("one_event, refuse or a number of events above zero")] = Field(
        default="one_event",
        description="yield of a background, ± 100 %, in a bin without simulated events: `one_event`, a number of "
        "events, or `refuse`",
    )
    min_effective_events: Annotated[float, Expected("a number"), Shown("0: no merging")] = Field(
        default=0.0, description="bins are merged until each background has this many effective events in each bin"
    )
    names: Annotated[dict[str, str], Shown("those of combine")] = Field(
        default_factory=dict, description="patterns of names in `templates.root`: `nominal`, `shifted`, `data`"
    )


class EraCorrectionKeys(FileModel):
    """Corrections that differ between eras."""

    file: Annotated[str | None, Shown("required")] = Field(
        default=None, description="correctionlib file, relative to the configuration"
    )
    tag: Annotated[str | None, Shown("required")] = Field(
        default=None, description="tag of the corrections of simulation, e.g. `Summer22_22Sep2023_V2`"
    )
    data_tag: Annotated[str | dict[str, str] | None, Shown("required with data, unless `level: null`")] = Field(
        default=None, description="tag of those of data, or sample -> tag"
    )
    resolution: Annotated[str | None, Shown("none: no smearing")] = Field(
        default=None, description="tag of the resolution and its scale factors, e.g. `Summer22_22Sep2023_JRV1`"
    )
    uncertainties: Annotated[Names | None, Shown("none")] = Field(
        default=None, description="sources of uncertainty of the energy scale, e.g. `Total`"
    )


class JetCorrectionKeys(EraCorrectionKeys):
    """Corrections of one collection of jets."""

    algorithm: Annotated[str | None, Shown("required")] = Field(
        default=None, description="end of the names in the file, e.g. `AK8PFPuppi`"
    )
    level: str | None = Field(
        default="L1L2L3Res", description="correction of uncorrected jets; `null`: the energies of the file stay"
    )
    masses: Annotated[Names, Shown("`mass`")] = Field(
        default=("mass",), description="columns that are multiplied by the factor of pt"
    )
    raw_factor: str = Field(default="rawFactor", description="column with 1 - (uncorrected pt) / pt")
    inputs: dict[str, str] = Field(
        default_factory=dict,
        description="input of the corrections -> expression in columns of the jets or events; known without are "
        "`JetPt`, `JetEta`, `JetPhi`, `JetA` (`area`), `Rho` (`Rho.fixedGridRhoFastjetAll`) and `run`",
    )
    generator_jets: Annotated[str, Shown("`GenJetAK8` for `FatJet`, `GenJet` for `Jet`")] = Field(
        default="", description="collection of generator jets for the resolution; `none`: random numbers alone"
    )
    max_dr: Annotated[
        float | None, Field(gt=0), Expected("above zero, a distance"), Shown("0.4 for `FatJet`, 0.2 for `Jet`")
    ] = Field(default=None, description="maximum distance of the matched generator jet")
    outside: Literal["refuse", "keep"] = Field(
        default="refuse",
        description="jets outside of the range of a correction: an error, or they keep their energy and are counted",
    )
    eras: dict[EraName, EraCorrectionKeys] = Field(
        default_factory=dict, description="era -> `file`, `tag` and others of the keys above that differ in it"
    )


class MetKeys(FileModel):
    """Missing transverse momentum that follows the jets."""

    collection: str = Field(default="MET", description="its collection, e.g. `PuppiMET`")
    jets: str = Field(default="Jet", description="collection of the jets, which has corrections")
    selection: str = Field(
        default="pt > 15", description="jets that count, by their columns after the nominal corrections"
    )
    unclustered: bool = Field(
        default=False, description="whether the energy beside the jets is varied, for which the files have columns"
    )


class JetEnergyKeys(FileModel):
    """Corrections of the energy of jets."""

    jets: Annotated[dict[str, JetCorrectionKeys], Field(min_length=1)] = Field(
        description="collection, e.g. `FatJet`, `Jet` -> its corrections"
    )
    met: MetKeys | None = Field(default=None, description="missing transverse momentum that follows the jets")


class LabelKeys(FileModel):
    """The label of an experiment in plots."""

    experiment: str = Field(default="", description="name of the experiment, e.g. `CMS`")
    text: str = Field(
        default="",
        description="text after it, e.g. `Preliminary`; `Simulation` stands before it where no data are drawn",
    )
    energy: Annotated[float | None, Field(gt=0), Expected("a number in TeV, above zero"), Shown("that of the eras")] = (
        Field(default=None, description="centre-of-mass energy in TeV, e.g. 13.6")
    )


class StyleKeys(FileModel):
    """How a process looks in plots."""

    colour: Annotated[str, Field(pattern="^#[0-9a-fA-F]{6}$"), Expected("a colour such as '#3f90da'")] | None = Field(
        default=None, description="colour of its fill and its line, e.g. `'#3f90da'`"
    )
    line: Literal["solid", "dashed", "dashdot", "dotted"] | None = Field(
        default=None, description="style of its line: `solid`, `dashed`, `dashdot` or `dotted`"
    )
    hatch: Literal["none", "back", "dots", "crosses", "vertical"] | None = Field(
        default=None, description="hatch of its fill: `none`, `back`, `dots`, `crosses` or `vertical`"
    )


class SearchFile(FileModel):
    """The configuration of a search."""

    version: Literal[1] = Field(description="1")
    luminosity: Annotated[
        float | None, Field(gt=0), Expected("above zero, a number in 1/fb"), Shown("required without `eras`")
    ] = Field(default=None, description="integrated luminosity in 1/fb, to which simulation is scaled")
    samples: Annotated[dict[str, SampleKeys], Field(min_length=1)] = Field(description="name -> keys, see below")
    regions: Annotated[dict[str, RegionKeys], Field(min_length=1)] = Field(description="name -> keys, see below")
    histograms: Annotated[dict[str, HistogramKeys], Field(min_length=1)] = Field(description="name -> keys, see below")
    tagger: Annotated[TaggerKeys, Shorthand("model")] | None = Field(
        default=None,
        description="model to run: its name, or keys, see below; without it, scores are read from the files",
    )
    eras: dict[EraName, EraKeys] = Field(
        default_factory=dict, description="instead of `luminosity`: periods of data taking, see below"
    )
    prefix: Annotated[str | None, Shown("the model's")] = Field(
        default=None, description="prefix of the tagger's columns, required if the files contain several taggers"
    )
    tree: str = Field(default="Events", description="name of the tree of events")
    collection: str = Field(default="FatJet", description="collection of the fat jets")
    schema_name: Annotated[
        Literal["PFNanoAODSchema", "NanoAODSchema", "ScoutingNanoAODSchema"] | None,
        Shown("the first with a tagger, the second without"),
    ] = Field(
        default=None,
        alias="schema",
        description="coffea schema: `PFNanoAODSchema`, `NanoAODSchema` or `ScoutingNanoAODSchema`",
    )
    chunk_size: Annotated[int, Field(ge=1), Expected("a number of events")] = Field(
        default=20_000, description="events per chunk; does not change results"
    )
    generator_weight: Annotated[str | None, Expected("a column or null")] = Field(
        default="genWeight",
        description="column of the generator weight, which distinguishes simulation from data; `null`: each event "
        "counts 1",
    )
    event_selection: str | None = Field(default=None, description="cut on columns of the events, e.g. a trigger")
    jets: JetsKeys = Field(default_factory=JetsKeys, description="selection of the jet candidates, see below")
    objects: dict[str, ObjectKeys] = Field(
        default_factory=dict,
        description="name -> leptons, AK4 jets and others, see [search_objects.md](search_objects.md)",
    )
    discriminants: dict[str, Annotated[DiscriminantKeys, Shorthand("expression")]] = Field(
        default_factory=dict, description="name -> a preset, a formula or a mapping, see below"
    )
    cuts: dict[str, Annotated[CutKeys, Shorthand("expression")]] = Field(
        default_factory=dict, description="name -> expression, or keys, see below"
    )
    weights: dict[str, Annotated[WeightKeys, Shorthand("nominal")]] = Field(
        default_factory=dict, description="name -> expression or keys, see below"
    )
    variations: dict[str, VariationKeys] = Field(default_factory=dict, description="name -> keys, see below")
    jet_energy: JetEnergyKeys | None = Field(
        default=None, description="corrections of the energy of jets, see [search_objects.md](search_objects.md)"
    )
    templates: TemplatesKeys | None = Field(default=None, description="definition of the templates, see below")
    blind: bool = Field(default=True, description="whether data in signal regions are blinded, see below")
    label: LabelKeys | None = Field(default=None, description="label of an experiment in plots, see below")
    styles: dict[str, StyleKeys] = Field(
        default_factory=dict, description="process, signal or sample -> its style in plots, see below"
    )
    batch: BatchKeys | None = Field(
        default=None, description="what jobs ask for with `--executor condor` or `slurm`, see below"
    )
    plots: bool = Field(default=True, description="whether to draw plots, if matplotlib and mplhep are installed")
