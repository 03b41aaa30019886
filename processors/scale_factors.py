"""Probe jets for the measurement of scale factors: tag and probe in semileptonic top pairs, and dijets for mistags."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import awkward as ak
import numpy as np
from coffea.analysis_tools import PackedSelection, Weights
from jettagger.processors.candidates import CandidateColumns
from jettagger.processors.fatjets import FatJetProcessor
from jettagger.processors.filling import check_column, cutflow, rounded, scaled, weight_variations

import jettagger as jt
from jettagger.arguments import guard
from jettagger.calibration import MassFactors
from jettagger.decorrelation import MapColumn
from jettagger.discriminants import Discriminant, discriminant
from jettagger.errors import ConfigError, MissingColumns, UnknownName, nearest
from jettagger.expressions import Expression
from jettagger.histograms import AxisSpec
from jettagger.kinematics import delta_phi, delta_r
from jettagger.search.definition import EVENTS, NOMINAL, Sample, SearchWarning, WeightFactor
from jettagger.search.tagandprobe import (
    DATA,
    DERIVED,
    DISTINCT,
    FILLED,
    OBJECTS,
    OTHER,
    SCORE,
    SCORED,
    TRUTH,
    ParametrisedTag,
    TagAndProbe,
)
from jettagger.search.variations import JetVariation
from jettagger.truth import generator_labels, merging_labels
from jettagger.weights import check_weights

__all__ = ["ParametrisedTag", "ScaleFactorProcessor"]


class ScaleFactorProcessor(FatJetProcessor):
    """Histograms of probe jets in bands of a score, by data set, truth category and variation.

    Events pass an event cut and have a muon, a tag and a probe, which are not the same jet, and pass further cuts. In
    the kind ``semileptonic`` the tag is an AK4 jet near an isolated muon and the probe a fat jet; in ``dijet`` both are
    fat jets. Each step is a method: derive a class and override it.

    Cuts, weights and axes are expressions (`jettagger.expressions`) in columns of the events (``MET.pt``), in columns
    of the objects (``muon.pt``, ``tag.pt``, ``probe.msoftdrop``, ``probe.score``) and in
    `jettagger.search.tagandprobe.DERIVED`: numbers of muons, tags and probes that pass their cuts, and distances.

    Parameters
    ----------
    samples : mapping of str to Sample
        Data set -> its cross section, sum of weights and so on.
    score : str, Discriminant or MapColumn
        The discriminant of the probe: a preset, an expression in scores, a discriminant, or a map.
    bands, axes, variable, kind, muon, tag, btag, probe, separation, cuts, resonance, categories, event_cut, weights, \
variations, luminosity, generator_weight, collection, jets
        As for `jettagger.search.tagandprobe.TagAndProbe`.
    model : str, path or Tagger, optional
        The network to run; without it the scores are read from the file.
    prefix : str, optional
        Prefix of the tagger's columns; default: that of the model, or of the only tagger in the file with the scores.
    options : TaggerOptions, optional
        Options of the tagger: heads, threads, score cache and others; a tagger has its own.

    Raises
    ------
    ConfigError, UnknownName
        If the definition is inconsistent: a score that the model lacks, an unknown binning axis.

    Notes
    -----
    Variations of the jets change the probe (in ``dijet`` the tag, too), not the AK4 jets and the missing transverse
    momentum.

    Examples
    --------
    >>> processor = ScaleFactorProcessor(
    ...     {"tt": Sample(cross_section=830)},
    ...     "HbbvsQCD",
    ...     bands=[0, 0.5, 0.9, 1],
    ...     axes=[AxisSpec("pt", edges=(300, 400, 600), unit="GeV")],
    ...     variable=AxisSpec("msoftdrop", bins=(20, 50, 250), unit="GeV"),
    ...     btag=ParametrisedTag(),
    ...     model="tinyParT",
    ... )
    >>> [axis.name for axis in processor.histogram.axes]
    ['pt', 'score', 'msoftdrop']
    """

    leading: ClassVar[str] = "probe"

    def __init__(
        self,
        samples: Mapping[str, Sample],
        score: str | Discriminant | MapColumn,
        bands: Sequence[float],
        axes: Sequence[AxisSpec],
        variable: AxisSpec,
        *,
        kind: str = "semileptonic",
        muon: str | Expression | None = None,
        tag: str | Expression | None = None,
        btag: str | Expression | ParametrisedTag | None = None,
        probe: str | Expression | None = None,
        separation: float = 0.8,
        cuts: Mapping[str, str | Expression] | None = None,
        resonance: int = 6,
        categories: Mapping[str, str | Expression] | None = None,
        model: str | os.PathLike[str] | jt.Tagger | None = None,
        prefix: str | None = None,
        event_cut: str | Expression | None = None,
        weights: Mapping[str, WeightFactor] | None = None,
        variations: Mapping[str, JetVariation | MassFactors] | None = None,
        luminosity: float = 1.0,
        generator_weight: str | None = "genWeight",
        collection: str = "FatJet",
        jets: str = "Jet",
        options: jt.TaggerOptions | None = None,
    ) -> None:
        if model is None and options is not None:
            raise ConfigError("options of a tagger are given, but no model= to run")
        self.tagger = None if model is None else jt.load_tagger(model, options)
        self.definition = TagAndProbe(
            samples=samples,
            score=discriminant(score) if isinstance(score, str) else score,
            bands=bands,
            axes=axes,
            variable=variable,
            kind=kind,
            muon=muon,
            tag=tag,
            btag=btag,
            probe=probe,
            separation=separation,
            cuts=cuts,
            resonance=resonance,
            categories=categories,
            prefix=self.tagger.bundle.prefix if self.tagger is not None and prefix is None else prefix,
            event_cut=event_cut,
            weights=weights or {},
            variations=variations or {},
            luminosity=luminosity,
            generator_weight=generator_weight,
            collection=collection,
            jets=jets,
        )
        for name, value in self.definition.arguments().items():
            if name not in OBJECTS:
                setattr(self, name, value)
        self.factors = self.definition.factors
        self.histogram = self.definition.histogram
        self.discriminants = {SCORE: self.definition.score}
        self.outputs = self._outputs()
        self.names = {} if self.tagger is None else self.tagger.column_names(self.outputs, self.prefix)

    @property
    def jet_columns(self) -> tuple[str, ...]:
        """The columns of the fat jets that are used, including the score."""
        fronts = ("probe",) if self.definition.kind == "semileptonic" else ("probe", "tag")
        names = ["pt", "eta", "phi", SCORE]
        for expression in self.definition.expressions():
            for name in expression.names:
                front, _, column = name.partition(".")
                if front in fronts and column:
                    names.append(column)
        names += [name for name in self._category_columns() if not _is_truth(name)]
        return tuple(dict.fromkeys(names))

    def _category_columns(self) -> list[str]:
        """Columns of the probe that the categories need."""
        needed = [name for item in self.categories.values() for name in item.names]
        return [name.removeprefix("probe.") for name in needed if name.startswith("probe.")]

    # ---------------------------------------------------------------------------------------- steps to replace

    def select_muons(self, events: Any) -> Any:
        """The muons that pass their cut, in decreasing pt; jagged records.

        Raises
        ------
        MissingColumns
            If the events have no muons.
        """
        muons = _collection(events, "Muon", "a muon is selected or vetoed")
        return _selected(muons, self.definition.muon, {}, "Muon")

    def select_tags(self, events: Any, muon: Any) -> Any:
        """The AK4 jets that pass the cut on the tag and the b tag, in decreasing pt; jagged records.

        Parameters
        ----------
        events : NanoEvents
        muon : record array
            None for events without.

        Raises
        ------
        MissingColumns
            If the events have no AK4 jets, or the b tag needs a column that they lack.
        """
        jets = _collection(events, self.jets, "the tag is one of them")
        extra = {"drMuon": _distance(jets, muon)}
        mask = _passing(jets, self.definition.tag, extra, self.jets)
        if isinstance(self.btag, ParametrisedTag):
            mask = mask & self.parametrised_tags(events, jets, self.btag)
        elif self.btag is not None:
            try:
                mask = mask & _passing(jets, self.btag, extra, self.jets)
            except UnknownName as error:
                raise MissingColumns(
                    f"{error}: files of jettagger simulate have no score of a b tagger; use a ParametrisedTag, by "
                    "flavour, or a column of the file"
                ) from error
        return _by_pt(jets[mask])

    def parametrised_tags(self, events: Any, jets: Any, tag: ParametrisedTag) -> Any:
        """Which AK4 jets are tagged, by their flavour; jagged bool.

        Raises
        ------
        MissingColumns
            If they have no flavour, or the events no number.
        """
        for name, place, known in ((tag.flavour, self.jets, jets.fields), ("event", "events", events.fields)):
            if name not in known:
                raise MissingColumns(
                    f"a parametrised b tag needs the column {name!r} of {place}, which this file lacks"
                    f"{_nearest(name, known)}: in data, cut on a score"
                )
        counts = ak.to_numpy(ak.num(jets.pt))
        of_event = np.repeat(ak.to_numpy(events.event), counts)
        flavour = ak.to_numpy(ak.flatten(jets[tag.flavour]))
        return ak.unflatten(tag.passes(flavour, of_event, _positions(counts)), counts)

    def category(self, columns: Mapping[str, Any], sample: Sample) -> Any:
        """The category of each probe; str[events].

        Parameters
        ----------
        columns : mapping
            Objects and events.
        sample : Sample

        Raises
        ------
        ConfigError
            If the condition of a category is not boolean.
        """
        names = np.full(len(columns["nprobes"]), DATA if sample.data else OTHER, dtype=object)
        if sample.data:
            return names
        free = np.ones(len(names), dtype=bool)
        for name, condition in self.categories.items():
            mask = free & _condition(condition.evaluate(columns), len(names), f"category {name!r}", condition)
            names[mask] = name
            free &= ~mask
        return names

    def select(self, columns: Mapping[str, Any], passed: Any) -> PackedSelection:
        """All selections, in the order of the cutflow.

        Parameters
        ----------
        columns : mapping
            Objects and events.
        passed : bool[events]
            Mask of events that pass the event cut.

        Returns
        -------
        coffea.analysis_tools.PackedSelection

        Raises
        ------
        ConfigError
            If a cut is not boolean.
        """
        selection = PackedSelection(dtype="uint64")
        selection.add(EVENTS, passed)
        for name in self.objects:
            selection.add(name, ~ak.to_numpy(ak.is_none(columns[name])))
        apart = ak.to_numpy(ak.fill_none(columns["drTagProbe"], -1.0))
        selection.add(DISTINCT, apart >= self.separation)
        for name, cut in self.cuts.items():
            selection.add(name, _condition(cut.evaluate(columns), len(passed), f"cut {name!r}", cut))
        score = ak.to_numpy(ak.fill_none(columns["probe"][SCORE], np.nan))
        selection.add(SCORED, np.isfinite(score))
        return selection

    @property
    def _rows(self) -> tuple[str, ...]:
        """The rows of the cutflow."""
        return (EVENTS, *self.objects, DISTINCT, *self.cuts, SCORED, FILLED)

    @property
    def objects(self) -> tuple[str, ...]:
        """The objects that an event must have."""
        return OBJECTS if self.definition.kind == "semileptonic" else OBJECTS[1:]

    # ---------------------------------------------------------------------------------------- coffea's interface

    def process(self, events: Any) -> dict[str, Any]:
        """The histogram and counts of one chunk.

        Parameters
        ----------
        events : NanoEvents

        Returns
        -------
        dict
            ``histograms`` (``probe``, with the categories dataset, category and variation), and by data set ``sums``,
            ``cutflow``, ``files``, ``file_weights``.
        """
        dataset = events.metadata["dataset"]
        sample = self.sample(dataset)
        self.check_kind(events, dataset, sample)
        numbers = ak.to_numpy(events.event) if "event" in events.fields else np.arange(len(events))
        generator = self.generator_weights(events, sample)
        check_weights(generator, name=f"{self.generator_weight}", events=numbers)
        passed = self.event_mask(events, sample)
        muons = self.select_muons(events)
        muon = ak.firsts(muons)
        own = {"nmuons": ak.num(muons, axis=1), "muon": muon}
        if self.definition.kind == "semileptonic":
            tags = self.select_tags(events, muon)
            own |= {"ntags": ak.num(tags, axis=1), "tag": ak.firsts(tags)}
            passed_objects = passed & ~ak.to_numpy(ak.is_none(own["tag"]))
        else:
            passed_objects = passed
        shifts = self._shifts(sample)
        varied = {name: self._varied(events, shift) for name, shift in shifts.items()}
        fatjets = events[self.collection]
        distance = _distance(fatjets, muon)
        probes, partners, n_probes = {}, {}, {}
        for name, new in varied.items():
            mask = _passing(fatjets, self.definition.probe, {**new, "drMuon": distance}, self.collection)
            n_probes[name] = ak.sum(mask, axis=1)
            pt = new.get("pt", fatjets.pt)
            probes[name] = _leading(pt, mask & passed_objects)
            if self.definition.kind == "dijet":
                mask = _passing(fatjets, self.definition.tag, {**new, "drMuon": distance}, self.collection)
                partners[name] = (_leading(pt, mask & ~probes[name] & passed_objects), ak.sum(mask, axis=1))
        truth = {} if sample.data else self._truth(events)
        histogram = self.histogram.make()
        counts = {"events": len(events), "sumw": float(generator.sum()), "jets": int(ak.sum(ak.num(fatjets.pt)))}
        flow: dict[str, Any] = {}
        for name, tagged in self.tag_variations(events, varied, probes):
            if name == NOMINAL:
                counts["scored"] = self._scored(tagged)
            jets = tagged[self.collection]
            columns = self.make_jets(jets, {**varied[name], **self._varied(tagged, shifts[name], late=True)})
            columns[SCORE] = self._clipped(columns[SCORE])
            columns |= truth
            found = {**own, "probe": _only(columns, probes[name]), "nprobes": n_probes[name]}
            if self.definition.kind == "dijet":
                mask, number = partners[name]
                found |= {"tag": _only(columns, mask), "ntags": number}
            filled_from = CandidateColumns({**found, **_distances(found)}, events)
            selection = self.select(filled_from, passed)
            values = self._values(filled_from)
            complete = np.logical_and.reduce([~np.isnan(array) for array in values.values()])
            selection.add(FILLED, complete)
            weights = self.event_weights(generator, filled_from, sample, numbers)
            category = self.category(filled_from, sample)
            mask = selection.all(*self._rows)
            self._fill(histogram, dataset, sample, name, values, category, mask, weights, numbers)
            if name == NOMINAL:
                flow = cutflow(selection, self._rows, weights)
        path = str(events.metadata.get("filename", ""))
        return {
            "histograms": {self.histogram.name: histogram},
            "cutflow": {dataset: flow},
            "sums": {dataset: counts},
            "files": {dataset: {path: len(events)}},
            "file_weights": {dataset: {path: counts["sumw"]}},
        }

    def _truth(self, events: Any) -> dict[str, Any]:
        """The columns of the fat jets from generator particles that the categories need."""
        needed: list[str] = self._category_columns()
        columns: dict[str, Any] = {}
        if any(name in TRUTH["merging_labels"] for name in needed):
            columns |= merging_labels(events, self.definition.resonance, collection=self.collection)
        if any(name in TRUTH["generator_labels"] for name in needed):
            columns |= generator_labels(events, collection=self.collection)
        return {name: columns[name] for name in dict.fromkeys(needed) if name in columns}

    def _clipped(self, score: Any) -> Any:
        """Scores within the outermost edges of the bands: the upper one belongs to the last band."""
        low, high = self.definition.bands[0], self.definition.bands[-1]
        return ak.where(score >= high, np.nextafter(high, low), ak.where(score < low, low, score))

    def _fill(
        self,
        histogram: Any,
        dataset: str,
        sample: Sample,
        shift: str,
        values: Mapping[str, Any],
        categories: Any,
        mask: Any,
        weights: Weights,
        numbers: Any,
    ) -> None:
        """Fill the probes of one variation of the jets; with the nominal one also the variations of weights."""
        names = (DATA,) if sample.data else self.definition.category_names
        # one entry of weight zero for each category, so that all of them are there
        category = [*categories[mask], *names]
        filled = {name: np.append(array[mask], np.zeros(len(names))) for name, array in values.items()}
        for variation, modifier in weight_variations(shift, weights).items():
            weight = weights.weight(modifier)
            check_weights(weight, name=f"weight {variation!r}", events=numbers)
            histogram.fill(
                dataset=dataset,
                category=category,
                variation=variation,
                **filled,
                weight=np.append(weight[mask], np.zeros(len(names))),
            )

    def _values(self, columns: CandidateColumns) -> dict[str, Any]:
        """The values of the axes, float64[events] each; NaN where there are none."""
        for name in self.histogram.needs:
            check_column(name, columns, f"histogram {self.histogram.name!r}")
        return {axis.name: _flat(axis.parsed.evaluate(columns)) for axis in self.histogram.axes}

    def postprocess(self, accumulator: dict[str, Any]) -> dict[str, Any]:
        """Scale simulation to the luminosity, and say what the selection did.

        Parameters
        ----------
        accumulator : dict

        Returns
        -------
        dict
            ``histograms`` (``probe``: hist.Hist, in probes), ``cutflow`` (data set -> row -> ``events`` and
            ``weighted``, scaled), ``datasets`` (as of a search), ``notes`` (list of str, also issued as
            `SearchWarning`): how the tag was made, probes that were the tag, data sets without probes.

        Raises
        ------
        InvalidValues
            If the sum of the generator weights of a data set is not positive.
        """
        datasets = self.normalised(accumulator)
        scales = {dataset: counts["scale"] for dataset, counts in datasets.items()}
        histograms = {name: scaled(item.copy(), scales) for name, item in accumulator["histograms"].items()}
        cutflow = {
            dataset: {
                row: {"events": counts["events"], "weighted": float(rounded(counts["weighted"])) * scales[dataset]}
                for row, counts in accumulator["cutflow"][dataset].items()
            }
            for dataset in datasets
        }
        notes = self.notes(cutflow)
        for note in notes:
            warnings.warn(note, SearchWarning, stacklevel=2)
        return {"histograms": histograms, "cutflow": cutflow, "datasets": datasets, "notes": notes}

    def notes(self, cutflow: Mapping[str, Any]) -> list[str]:
        """What a reader of the histogram should know.

        Parameters
        ----------
        cutflow : mapping
            The cutflow from `postprocess`.

        Returns
        -------
        list of str
        """
        notes = []
        if isinstance(self.btag, ParametrisedTag):
            notes.append(f"the b tag of the tag is not a score: {self.jets} are tagged {self.btag}")
        for dataset, rows in cutflow.items():
            lost = rows["probe"]["events"] - rows[DISTINCT]["events"]
            if lost:
                notes.append(
                    f"dataset {dataset!r}: in {lost} of {rows['probe']['events']} events the probe is nearer than "
                    f"{self.separation:g} to the tag, which may be the same jet; they are left out"
                )
            last = [*self.cuts, DISTINCT][len(self.cuts) - 1]
            unscored = rows[last]["events"] - rows[SCORED]["events"]
            if unscored:
                notes.append(f"dataset {dataset!r}: {unscored} probes have no score; they are left out")
            without = rows[SCORED]["events"] - rows[FILLED]["events"]
            if without:
                axes = ", ".join(axis.name for axis in self.histogram.axes if axis.name != SCORE)
                notes.append(f"dataset {dataset!r}: {without} probes have no value of {axes}; they are left out")
            if not rows[FILLED]["events"]:
                notes.append(f"dataset {dataset!r} has no probe")
        return notes


def _is_truth(name: str) -> bool:
    return any(name in names for names in TRUTH.values())


def _collection(events: Any, name: str, why: str) -> Any:
    if name not in events.fields:
        raise MissingColumns(f"these events lack the collection {name!r}{_nearest(name, events.fields)}: {why}")
    return events[name]


def _nearest(name: str, known: Sequence[str]) -> str:
    return f" (nearest: {', '.join(nearest(name, known))})"


def _condition(value: Any, length: int, what: str, expression: Expression) -> Any:
    """A condition as bool[events]; None is false."""
    if not isinstance(value, ak.Array):
        value = ak.Array(np.full(length, value))
    flat = ak.to_numpy(ak.fill_none(value, False))
    if flat.dtype != np.bool_ and len(flat):
        raise ConfigError(f"{what} gives {flat.dtype}, expected true or false: {expression}")
    return flat.astype(bool)


def _passing(objects: Any, cut: Expression, extra: Mapping[str, Any], where: str) -> Any:
    """Mask of the objects that pass a cut; jagged bool."""
    cut.check([*objects.fields, *extra], f"column of {where}")
    mask = cut.evaluate({name: extra[name] if name in extra else objects[name] for name in cut.names})
    if not isinstance(mask, ak.Array):
        mask = ak.full_like(objects.pt, bool(mask), dtype=bool)
    return ak.fill_none(mask, False, axis=None)


def _selected(objects: Any, cut: Expression, extra: Mapping[str, Any], where: str) -> Any:
    return _by_pt(objects[_passing(objects, cut, extra, where)])


def _by_pt(objects: Any) -> Any:
    return objects[ak.argsort(objects.pt, axis=1, ascending=False, stable=True)]


def _leading(pt: Any, mask: Any) -> Any:
    """Mask of the one jet of the highest pt among those of a mask; the first of equal ones."""
    best = ak.argmax(ak.where(mask, pt, -np.inf), axis=1, keepdims=True)
    return mask & (ak.local_index(pt, axis=1) == ak.fill_none(best, -1)[:, 0])


def _only(columns: Mapping[str, Any], mask: Any) -> Any:
    """The jet of a mask with at most one per event; records, None for events without."""
    return ak.firsts(ak.zip({name: values[mask] for name, values in columns.items()}))


def _positions(counts: Any) -> Any:
    """The index in its event of each object."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)


def _distance(objects: Any, muon: Any) -> Any:
    """Distance of each object to the muon, NaN without; jagged float64."""
    counts = ak.to_numpy(ak.num(objects.eta))
    eta, phi = (ak.to_numpy(ak.flatten(objects[name])).astype(np.float64) for name in ("eta", "phi"))
    far = [np.repeat(_flat(muon[name]), counts) for name in ("eta", "phi")]
    return ak.unflatten(delta_r(eta, phi, *far), counts)


def _flat(column: Any) -> Any:
    """One value per event, NaN for None; float64[events]."""
    return ak.to_numpy(ak.fill_none(column, np.nan)).astype(np.float64)


def _distances(found: Mapping[str, Any]) -> dict[str, Any]:
    """Distances between the objects of each event; NaN without one of them."""
    place = {name: (_flat(found[name]["eta"]), _flat(found[name]["phi"])) for name in OBJECTS}
    columns = {}
    for one, other in (("muon", "tag"), ("muon", "probe"), ("tag", "probe")):
        columns[f"dr{one.title()}{other.title()}"] = delta_r(*place[one], *place[other])
        columns[f"dphi{one.title()}{other.title()}"] = delta_phi(place[one][1], place[other][1])
    return {name: ak.Array(columns[name]) for name in DERIVED if name in columns}


guard(globals(), "ScaleFactorProcessor")
