"""Corrections of the energy and resolution of jets, by the names of the experiments' correctionlib files.

This module does not load coffea: it is sufficient to read and validate a configuration.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple

from jettagger.arguments import guard
from jettagger.display import Brief
from jettagger.errors import ConfigError, UnknownName
from jettagger.expressions import Expression, parse
from jettagger.files.corrections import CorrectionText

__all__ = [
    "GENERATOR_JETS",
    "INPUTS",
    "OUTSIDE",
    "PT",
    "STOCHASTIC",
    "SYSTEMATIC",
    "UNCLUSTERED",
    "EnergyShift",
    "JercFile",
    "JetCorrections",
    "JetEnergy",
    "MetCorrection",
]

#: what happens to jets outside of the range of a correction
OUTSIDE = ("refuse", "keep")

#: inputs of corrections -> columns of the jets or the events, the first that is there
INPUTS: Mapping[str, tuple[str, ...]] = {
    "JetEta": ("eta",),
    "JetPhi": ("phi",),
    "JetA": ("area",),
    "Rho": ("Rho.fixedGridRhoFastjetAll", "fixedGridRhoFastjetAll"),
    "run": ("run",),
}

#: input that the corrections themselves change, and that of the variation of a scale factor of the resolution
PT, SYSTEMATIC = "JetPt", "systematic"

#: collection -> generator jets, and maximum distance from them: half of the radius
GENERATOR_JETS: Mapping[str, tuple[str, float]] = {"FatJet": ("GenJetAK8", 0.4), "Jet": ("GenJet", 0.2)}

#: in the place of generator jets: there are none
STOCHASTIC = "none"

#: columns of a missing momentum with the variation of the energy beside the jets: its vector, or the varied momentum
UNCLUSTERED: tuple[tuple[str, ...], ...] = (
    ("MetUnclustEnUpDeltaX", "MetUnclustEnUpDeltaY"),
    ("ptUnclusteredUp", "ptUnclusteredDown", "phiUnclusteredUp", "phiUnclusteredDown"),
)

_ENTRY = re.compile(r"(?P<tag>.+)_(?P<kind>MC|DATA)_(?P<what>.+)_(?P<algorithm>[^_]+)")


class JercEntry(NamedTuple):
    """The name of a correction in its parts: ``Summer22_22Sep2023_V2_MC_L1L2L3Res_AK8PFPuppi``."""

    tag: str
    kind: str
    what: str
    algorithm: str


class JercFile(CorrectionText):
    """A file of jet energy corrections, such as ``fatJet_jerc.json.gz``.

    Parameters
    ----------
    text : str
        The JSON.
    name : str
        Its name in messages.
    """

    title: ClassVar[str] = "file of jet energy corrections"

    def __init__(self, text: str, name: str = "", whole: str = "") -> None:
        super().__init__(text, name)
        self._whole = whole

    def _arguments(self) -> tuple[str]:
        return (self._whole,)

    @property
    def digest(self) -> str:
        """SHA-256 of the text of the whole file."""
        return self._whole or super().digest

    def only(self, names: Iterable[str]) -> JercFile:
        """The file with some of its corrections, of hundreds, which each task of a job carries.

        Parameters
        ----------
        names : iterable of str
            Names of corrections and compound corrections, of which all parts are taken.

        Returns
        -------
        JercFile
            With the digest of the whole file.
        """
        content = dict(self._parsed())
        wanted = set(names)
        compound = [item for item in content.get("compound_corrections") or [] if item["name"] in wanted]
        for item in compound:
            wanted.update(item["stack"])
        content["corrections"] = [item for item in content["corrections"] if item["name"] in wanted]
        content["compound_corrections"] = compound
        return JercFile(json.dumps(content), self._name, self.digest)

    @cached_property
    def entries(self) -> tuple[JercEntry, ...]:
        """The names of its corrections and compound corrections, as far as they have the usual parts."""
        matches = [_ENTRY.fullmatch(name) for name in (*self.corrections, *self.corrections.compound)]
        return tuple(JercEntry(**match.groupdict()) for match in matches if match is not None)

    def find(self, tag: str, kind: Literal["MC", "DATA"], what: str, algorithm: str, word: str) -> Any:
        """A correction by the parts of its name.

        Parameters
        ----------
        tag : str
            E.g. ``Summer22_22Sep2023_V2``.
        kind : str
            ``MC`` or ``DATA``.
        what : str
            Level, uncertainty, ``PtResolution`` or ``ScaleFactor``.
        algorithm : str
            E.g. ``AK8PFPuppi``.
        word : str
            What it is, for messages.

        Returns
        -------
        correctionlib.highlevel.Correction or CompoundCorrection

        Raises
        ------
        UnknownName
            If there is none; gives the nearest names in the file.
        ConfigError
            If the tag is one of data and simulation is asked for, or the reverse.
        """
        name = f"{tag}_{kind}_{what}_{algorithm}"
        if name in self.corrections.compound:
            return self.corrections.compound[name]
        if name in list(self.corrections):
            return self.corrections[name]
        entries = [item for item in self.entries if item.algorithm == algorithm]
        if not entries:
            known = dict.fromkeys(item.algorithm for item in self.entries)
            raise UnknownName("algorithm", algorithm, known, self._name)
        if not any(item.tag == tag for item in entries):
            raise UnknownName("tag", tag, dict.fromkeys(item.tag for item in entries), f"{self._name}, {algorithm}")
        entries = [item for item in entries if item.tag == tag]
        if not any(item.kind == kind for item in entries):
            of = {"MC": "simulation", "DATA": "data"}
            others = dict.fromkeys(item.tag for item in self.entries if item.kind == kind)
            raise ConfigError(
                f"{self._name}: {tag!r} has corrections of {of[entries[0].kind]}, not of {of[kind]}, which have the "
                f"tags {', '.join(others) or '(none)'}"
            )
        known = dict.fromkeys(item.what for item in entries if item.kind == kind)
        raise UnknownName(word, what, known, f"{self._name}, {tag}_{kind}_..._{algorithm}")


@dataclass(frozen=True)
class EnergyShift(Brief):
    """A shift of the energies of jets or of the missing energy by one standard deviation.

    Parameters
    ----------
    kind : str
        ``jes``: an uncertainty of the energy scale; ``jer``: the resolution; ``unclustered``: energy beside the jets.
    sign : int
        1 or -1.
    source : str
        The uncertainty of the scale.
    """

    kind: Literal["jes", "jer", "unclustered"]
    sign: Literal[-1, 1]
    source: str = ""


@dataclass(frozen=True)
class JetCorrections(Brief):
    """The corrections of the jets of one collection in one era.

    Parameters
    ----------
    file : JercFile
    tag : str
        Of the corrections of simulation, e.g. ``Summer22_22Sep2023_V2``.
    algorithm : str
        E.g. ``AK8PFPuppi``.
    level : str, optional
        Correction applied to uncorrected jets, e.g. ``L1L2L3Res``; None: the energies of the file stay.
    data_tag : str or mapping of str to str
        Tag of the corrections of data, or data set -> tag.
    resolution : str, optional
        Tag of the resolution and its scale factors; None: no smearing.
    uncertainties : sequence of str
        Sources of uncertainty of the energy scale, e.g. ``Total``.
    masses : sequence of str
        Columns that are multiplied by the factor of pt.
    raw_factor : str
        Column of the jets with 1 - (uncorrected pt) / pt.
    inputs : mapping of str to (str or Expression)
        Input of the corrections -> expression in columns of the jets or the events, beside or instead of `INPUTS`.
    generator_jets : str
        Their collection, for the resolution; ``none``: smearing by random numbers alone. Default: `GENERATOR_JETS`.
    max_dr : float, optional
        Maximum distance of the matched generator jet.
    outside : str
        One of `OUTSIDE`.

    Raises
    ------
    UnknownName
        If the file lacks a correction; gives the nearest names.
    ConfigError
        If a correction has an input of unknown meaning, or simulation's tag is given for data.
    """

    file: JercFile
    tag: str
    algorithm: str
    level: str | None = "L1L2L3Res"
    data_tag: str | Mapping[str, str] = ""
    resolution: str | None = None
    uncertainties: tuple[str, ...] = ()
    masses: tuple[str, ...] = ("mass",)
    raw_factor: str = "rawFactor"
    inputs: Mapping[str, Any] = field(default_factory=dict)
    generator_jets: str = ""
    max_dr: float | None = None
    outside: str = "refuse"

    def __post_init__(self) -> None:
        if self.outside not in OUTSIDE:
            raise UnknownName("choice for jets outside", self.outside, OUTSIDE)
        read = {
            name: text if isinstance(text, Expression) else parse(text, f"input {name!r}")
            for name, text in self.inputs.items()
        }
        object.__setattr__(self, "inputs", read)
        for _, correction in self.named():
            for item in correction.inputs:
                if item.name not in (PT, SYSTEMATIC, *INPUTS, *read):
                    raise ConfigError(
                        f"the correction {correction.name!r} needs the input {item.name!r}, of unknown meaning: "
                        "give an expression under 'inputs'"
                    )

    def named(self) -> Iterator[tuple[str, Any]]:
        """All corrections that are used, of simulation and data, each with a name."""
        if self.level is not None:
            yield self.level, self.scale("", data=False)
            tags = [self.data_tag] if isinstance(self.data_tag, str) else self.data_tag.values()
            for tag in dict.fromkeys(tag for tag in tags if tag):
                yield self.level, self.file.find(tag, "DATA", self.level, self.algorithm, "level")
        if self.resolution is not None:
            for what in ("PtResolution", "ScaleFactor"):
                yield what, self.smearing(what)
        for source in self.uncertainties:
            yield source, self.uncertainty(source)

    def scale(self, dataset: str, *, data: bool) -> Any:
        """The correction of the energy of a data set.

        Raises
        ------
        ConfigError
            If it is data without a tag of its own.
        """
        level = self.level or ""
        if not data:
            return self.file.find(self.tag, "MC", level, self.algorithm, "level")
        tag = self.data_tag if isinstance(self.data_tag, str) else self.data_tag.get(dataset, "")
        if not tag:
            tags = dict.fromkeys(item.tag for item in self.file.entries if item.kind == "DATA")
            raise ConfigError(
                f"sample {dataset!r} is data, for which the corrections of simulation ({self.tag}) are wrong: give "
                f"data_tag, one of {', '.join(tags) or '(none in this file)'}, or level: null to leave all energies"
            )
        return self.file.find(tag, "DATA", level, self.algorithm, "level")

    def link(self, collection: str) -> tuple[str, str, float] | None:
        """Generator jets for the resolution: their collection, the column with their index, the maximum distance.

        None without a resolution, or without generator jets.
        """
        name, distance = GENERATOR_JETS.get(collection, (STOCHASTIC, float("inf")))
        name = self.generator_jets or name
        if self.resolution is None or name == STOCHASTIC:
            return None
        return name, f"{name[:1].lower()}{name[1:]}Idx", self.max_dr or distance

    def smearing(self, what: str) -> Any:
        """The resolution (``PtResolution``) or its scale factor (``ScaleFactor``)."""
        return self.file.find(self.resolution or "", "MC", what, self.algorithm, "correction")

    def uncertainty(self, source: str) -> Any:
        """The relative uncertainty of the energy scale by one source."""
        return self.file.find(self.tag, "MC", source, self.algorithm, "uncertainty")


@dataclass(frozen=True)
class MetCorrection(Brief):
    """How corrected jets change the missing transverse momentum.

    Parameters
    ----------
    collection : str
        E.g. ``PuppiMET``; its ``pt`` and ``phi`` change.
    jets : str
        Collection of the jets, which has corrections.
    selection : str or Expression
        The jets that count, by their columns after the nominal corrections.
    unclustered : bool
        Whether the variation of the energy beside the jets is a variation.
    """

    collection: str = "MET"
    jets: str = "Jet"
    selection: Any = "pt > 15"
    unclustered: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.selection, Expression):
            object.__setattr__(self, "selection", parse(self.selection, "selection of jets for the missing energy"))


@dataclass(frozen=True)
class JetEnergy(Brief):
    """The corrections of the energy of jets in a search, their variations, and the missing transverse momentum.

    Parameters
    ----------
    jets : mapping of str to mapping of str to JetCorrections
        Collection -> era (empty without eras) -> its corrections.
    met : MetCorrection, optional

    Raises
    ------
    UnknownName
        If the missing momentum depends on jets without corrections.
    """

    jets: Mapping[str, Mapping[str, JetCorrections]]
    met: MetCorrection | None = None

    def __post_init__(self) -> None:
        if self.met is not None and self.met.jets not in self.jets:
            raise UnknownName("jets with corrections", self.met.jets, self.jets, "the missing transverse momentum")

    @property
    def all(self) -> tuple[JetCorrections, ...]:
        """The corrections of all collections and eras."""
        return tuple(item for eras in self.jets.values() for item in eras.values())

    @property
    def collections(self) -> tuple[str, ...]:
        """The collections that change."""
        return (*self.jets, *(() if self.met is None else (self.met.collection,)))

    def small(self) -> JetEnergy:
        """The same with files of the corrections that are used alone.

        Returns
        -------
        JetEnergy
        """
        jets = {
            collection: {
                era: replace(item, file=item.file.only(correction.name for _, correction in item.named()))
                for era, item in eras.items()
            }
            for collection, eras in self.jets.items()
        }
        return JetEnergy(jets, self.met)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the variations, without ``Up`` and ``Down``; one source is common to all collections."""
        return tuple(dict.fromkeys(name.removesuffix("Up").removesuffix("Down") for name in self.shifts()))

    def shifts(self) -> dict[str, EnergyShift]:
        """The variations.

        Returns
        -------
        dict of str to EnergyShift
            ``jes_<source>Up``, ``jes_<source>Down``, ``jerUp`` and so on.
        """
        sources = dict.fromkeys(source for item in self.all for source in item.uncertainties)
        made: dict[str, EnergyShift] = {}
        signs: tuple[tuple[str, Literal[-1, 1]], ...] = (("Up", 1), ("Down", -1))
        for source in sources:
            made |= {f"jes_{source}{end}": EnergyShift("jes", sign, source) for end, sign in signs}
        if any(item.resolution is not None for item in self.all):
            made |= {f"jer{end}": EnergyShift("jer", sign) for end, sign in signs}
        if self.met is not None and self.met.unclustered:
            made |= {f"unclustered{end}": EnergyShift("unclustered", sign) for end, sign in signs}
        return made

    def of(self, collection: str, era: str) -> JetCorrections:
        """The corrections of a collection in an era.

        Raises
        ------
        ConfigError
            If there are none.
        """
        eras = self.jets[collection]
        if era not in eras:
            raise ConfigError(
                f"{collection} has no corrections of the era {era!r}, only of {', '.join(map(repr, eras)) or 'none'}"
            )
        return eras[era]

    def changed(self, collection: str) -> tuple[str, ...]:
        """The columns of a collection that change; empty for one without corrections."""
        items = self.jets.get(collection, {}).values()
        return tuple(dict.fromkeys(name for item in items for name in ("pt", *item.masses)))

    def check(self, samples: Mapping[str, Any]) -> None:
        """Refuse samples without corrections of their own.

        Parameters
        ----------
        samples : mapping of str to Sample

        Raises
        ------
        ConfigError
            If an era has none, or data have those of simulation.
        UnknownName
            If ``data_tag`` names an unknown sample.
        """
        for collection in self.jets:
            for name, sample in samples.items():
                corrections = self.of(collection, sample.era)
                if sample.data and corrections.level is not None:
                    corrections.scale(name, data=True)
            for corrections in self.jets[collection].values():
                tags = corrections.data_tag
                unknown = [] if isinstance(tags, str) else [name for name in tags if name not in samples]
                if unknown:
                    raise UnknownName("sample", unknown, samples, f"data_tag of {collection}")

    def check_cut(self, cut: Expression | None, where: str) -> None:
        """Refuse a cut before the corrections on what they change.

        Raises
        ------
        ConfigError
        """
        for name in () if cut is None else cut.names:
            if name.partition(".")[0] in self.collections:
                raise ConfigError(
                    f"{where} uses {name} as it is in the file, but it is corrected in this search: cut on it under "
                    "'cuts'"
                )

    def record(self) -> dict[str, Any]:
        """What was applied, for the record of an output."""
        return {
            collection: {
                era: {"file": item.file.digest, "tag": item.tag, "level": item.level, "resolution": item.resolution}
                for era, item in eras.items()
            }
            for collection, eras in self.jets.items()
        }

    def required(self, collection: str, era: str, *, data: bool) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Columns of the jets or the events that corrections need.

        Parameters
        ----------
        collection, era : str
        data : bool

        Yields
        ------
        str, tuple of str
            Key of the configuration, or empty; alternative names of the column.
        """
        item = self.of(collection, era)
        for name in ("pt", "eta", "phi"):
            yield "", (name,)
        for name in item.masses:
            yield "masses", (name,)
        if item.level is not None:
            yield "raw_factor", (item.raw_factor,)
        corrections: Iterable[tuple[str, Any]] = item.named()
        if data:
            corrections = () if item.level is None else [(item.level, next(iter(item.named()))[1])]
        for name in dict.fromkeys(part.name for _, correction in corrections for part in correction.inputs):
            if name in item.inputs:
                yield from (("inputs", (column,)) for column in item.inputs[name].names)
            elif name in INPUTS:
                yield "", INPUTS[name]


guard(globals(), "JetCorrections", "JetEnergy", "MetCorrection")
