"""A search for resonances with fat jets inside a coffea job: candidates, regions, weights, histograms."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import awkward as ak
import numpy as np
from coffea.analysis_tools import PackedSelection
from jettagger.processors.candidates import CandidateColumns, dijet
from jettagger.processors.fatjets import FatJetProcessor
from jettagger.processors.filling import SearchChunk, fill, rounded, scaled

import jettagger as jt
from jettagger.arguments import guard
from jettagger.calibration import EventTagWeights, MassFactors
from jettagger.discriminants import DerivedColumn, Discriminant, discriminant
from jettagger.errors import ConfigError, MismatchError
from jettagger.expressions import Expression
from jettagger.histograms import AxisSpec, HistSpec, fine_edges
from jettagger.search.blinding import blind_rows
from jettagger.search.correctedjets import CorrectedEvents, outside_notes
from jettagger.search.corrections import CorrectionFactor, EventCorrections, correction_notes
from jettagger.search.definition import (
    DIJET,
    EVENTS,
    JETS,
    KINDS,
    NOMINAL,
    Era,
    JetVariation,
    Region,
    Sample,
    Search,
    SearchWarning,
    WeightFactor,
)
from jettagger.search.doubts import doubts, idle_cuts, region_notes, unknown_sums
from jettagger.search.jetenergy import JetEnergy
from jettagger.search.masses import mass_histograms
from jettagger.search.objects import ObjectSelection, far_from, select_objects
from jettagger.search.tagfactors import TagFactor, tag_notes
from jettagger.search.theory import TheoryWeight, combined, theory_notes
from jettagger.weights import check_weights

__all__ = [
    "DIJET",
    "KINDS",
    "NOMINAL",
    "CorrectionFactor",
    "JetVariation",
    "Region",
    "ResonanceSearchProcessor",
    "Sample",
    "SearchWarning",
    "TagFactor",
    "WeightFactor",
    "dijet",
]


class ResonanceSearchProcessor(FatJetProcessor):
    """Histograms and cutflows of a search for resonances that decay to one or two fat jets.

    Events pass an event cut and have enough jets after the preselection. The candidates ``jet1`` (and ``jet2``) are
    selected and sorted, and cuts on them define regions. Each step is a method: derive a class and override it.

    Cuts, weights and histograms are expressions (`jettagger.expressions`) in columns of the events (``MET.pt``,
    ``HLT.PFJet500``), in columns of the candidates including discriminants (``jet1.msoftdrop``, ``jet2.HbbvsQCD``), in
    `DIJET`, and in ``njets``, the number of jets after the preselection.

    Parameters
    ----------
    samples : mapping of str to Sample
        Data set -> its cross section, sum of weights and so on.
    regions : mapping of str to Region
    histograms : sequence of HistSpec
        With the categories ``dataset``, ``region`` and ``variation``.
    cuts : mapping of str to (str or Expression)
        Name -> boolean expression for events with candidates.
    discriminants : mapping of str to (str, Discriminant or DerivedColumn)
        Name -> a preset, an expression in scores, a discriminant, or a map; they become columns of the jets.
    model : str, path or Tagger, optional
        The network to run; without it the scores are read from the file.
    prefix : str, optional
        Prefix of the tagger's columns; default: that of the model, or of the only tagger in the file with the scores.
    n_jets : int
        Number of candidates, 1 or 2.
    preselection : str or Expression
        Cut in columns of the jets in the file; only jets that pass run through the network.
    pick : str
        Column or discriminant with the largest values for the candidates.
    order : str
        Column or discriminant by which the candidates are numbered, in decreasing order.
    mass : str
        The column to use as the mass of the candidates in `dijet`, e.g. ``mass`` or ``msoftdrop``.
    event_cut : str or Expression, optional
        Cut in columns of the events, e.g. a trigger.
    weights : mapping of str to (WeightFactor, TagFactor, CorrectionFactor or TheoryWeight)
        Corrections of simulation; their variations are called ``<name>Up`` and ``<name>Down``, those of the sources of
        scale factors of a tagger and of corrections ``<name>_<source>Up`` and ``<name>_<source>Down``.
    variations : mapping of str to (JetVariation or MassFactors)
        Variations of the jets, also called ``<name>Up`` and ``<name>Down``.
    luminosity : float
        Integrated luminosity in 1/fb, to which simulation is scaled.
    generator_weight : str, optional
        Column of the generator weight, which distinguishes simulation from data; None: each event counts 1.
    collection : str
        Collection of the fat jets.
    options : TaggerOptions, optional
        Options of the tagger: heads, threads, score cache and others; a tagger has its own.
    blind : bool
        Whether data in signal regions are blinded: such events are filled into no histogram of any region, and their
        number is None in the cutflow, like each row from which it follows (`jettagger.search.blinding.blind_rows`).
    eras : mapping of str to Era, optional
        Periods of data taking, each with a luminosity, to which its samples are scaled; the luminosity is their sum.
    objects : mapping of str to ObjectSelection, optional
        Objects beside the fat jets: ``muons.count``, ``muons.pt`` (of all) and ``muons1.pt`` (of the first) in
        expressions.
    not_near : mapping of str to float, optional
        Objects -> minimum distance of the fat jets from them; those that are nearer fail the preselection.
    jet_energy : JetEnergy, optional
        Corrections of the energies of jets and their variations, and the missing transverse momentum.

    Raises
    ------
    ConfigError, UnknownName
        If the definition is inconsistent: an unknown cut in a region, a score that the model lacks.

    Notes
    -----
    If no input of the network depends on a jet column that a variation changes, it runs once and its scores are used
    for the variation: in GloParT V1 and similar networks only the direction of the jet enters, and the energy scale
    changes no input. Other networks run again; `rescoring` decides.

    Examples
    --------
    >>> from jettagger.histograms import AxisSpec
    >>> search = ResonanceSearchProcessor(
    ...     samples={"tt": Sample(cross_section=830)},
    ...     cuts={"tagged": "jet1.HbbvsQCD > 0.9"},
    ...     regions={"SR": Region("signal", ["tagged"]), "CR": Region("control", fails=["tagged"])},
    ...     histograms=[HistSpec("mjj", [AxisSpec("mjj", bins=(10, 500, 3000), unit="GeV")])],
    ...     discriminants={"HbbvsQCD": "HbbvsQCD"},
    ...     model="tinyParT",
    ... )
    >>> search.outputs[0]
    'probHbb'
    """

    def __init__(
        self,
        samples: Mapping[str, Sample],
        regions: Mapping[str, Region],
        histograms: Sequence[HistSpec],
        *,
        cuts: Mapping[str, str | Expression] | None = None,
        discriminants: Mapping[str, str | Discriminant | DerivedColumn] | None = None,
        model: str | os.PathLike[str] | jt.Tagger | None = None,
        prefix: str | None = None,
        n_jets: int = 2,
        preselection: str | Expression = "pt > 200",
        pick: str = "pt",
        order: str = "pt",
        mass: str = "mass",
        event_cut: str | Expression | None = None,
        weights: Mapping[str, WeightFactor | TagFactor | CorrectionFactor | TheoryWeight] | None = None,
        variations: Mapping[str, JetVariation | MassFactors] | None = None,
        luminosity: float = 1.0,
        generator_weight: str | None = "genWeight",
        collection: str = "FatJet",
        options: jt.TaggerOptions | None = None,
        blind: bool = True,
        eras: Mapping[str, Era] | None = None,
        objects: Mapping[str, ObjectSelection] | None = None,
        not_near: Mapping[str, float] | None = None,
        jet_energy: JetEnergy | None = None,
    ) -> None:
        if model is None and options is not None:
            raise ConfigError("options of a tagger are given, but no model= to run")
        self.tagger = None if model is None else jt.load_tagger(model, options)
        self.search = Search(
            samples=samples,
            regions=regions,
            histograms=histograms,
            cuts=cuts or {},
            discriminants={
                name: discriminant(item) if isinstance(item, str) else item
                for name, item in (discriminants or {}).items()
            },
            prefix=self.tagger.bundle.prefix if self.tagger is not None and prefix is None else prefix,
            n_jets=n_jets,
            preselection=preselection,
            pick=pick,
            order=order,
            mass=mass,
            event_cut=event_cut,
            weights=weights or {},
            variations=variations or {},
            luminosity=luminosity,
            generator_weight=generator_weight,
            collection=collection,
            blind=blind,
            eras=eras or {},
            objects=objects or {},
            not_near=not_near or {},
            jet_energy=jet_energy,
        )
        for name, value in self.search.arguments().items():  # the samples may be normalised anew, see `run_search`
            setattr(self, name, value)
        self.factors = self.search.factors
        #: data set -> weight of theory -> category -> cross section relative to no variation, of all generated events
        self.generated: dict[str, dict[str, dict[str, float]]] = {}
        if self.tagger is not None:
            for factor in self.search.tag_factors.values():
                factor.check_origin(self.tagger, self.discriminants)
        self.curves = self._curves()
        self.masses = mass_histograms(self.search)
        self.outputs = self._outputs()
        self.names = {} if self.tagger is None else self.tagger.column_names(self.outputs, self.prefix)

    # ---------------------------------------------------------------------------------------- what is needed

    def _curves(self) -> dict[str, HistSpec]:
        """Histograms of the candidates' discriminants with fine bins, for ROC curves in inclusive regions."""
        found = {}
        for spec in self.histograms:
            axis = spec.axes[0]
            front, _, column = str(axis.expression or axis.name).strip().partition(".")
            inclusive = any(region.kind == "inclusive" for region in self.regions.values())
            if len(spec.axes) == 1 and front in ("jet1", "jet2") and column in self.discriminants and inclusive:
                fine = AxisSpec(axis.name, edges=fine_edges(), label=axis.label, expression=axis.expression)
                found[spec.name] = HistSpec(spec.name, [fine], spec.label, spec.categories, spec.max_bytes)
        return found

    @property
    def jet_columns(self) -> tuple[str, ...]:
        """The columns and discriminants of the candidates that are used."""
        names = ["pt", "eta", "phi", self.pick, self.order]
        if self.n_jets == 2:
            names.append(self.mass)
        for expression in self.search.expressions():
            for name in expression.names:
                front, _, column = name.partition(".")
                if front in ("jet1", "jet2") and column:
                    names.append(column)
        return tuple(dict.fromkeys(names))

    @property
    def optional_columns(self) -> frozenset[str]:
        """Columns of the candidates that only weights of simulation read, which data may lack."""
        names = [name.partition(".")[::2] for item in self.search.weight_expressions() for name in item.names]
        needed = {"pt", "eta", "phi", self.pick, self.order, *([self.mass] if self.n_jets == 2 else [])}
        others = [*self.search.cuts.values(), *(axis.parsed for spec in self.histograms for axis in spec.axes)]
        needed |= {name.partition(".")[2] for item in others for name in item.names}
        return frozenset(column for front, column in names if front in ("jet1", "jet2")) - needed

    @property
    def signal_regions(self) -> tuple[str, ...]:
        """The names of the signal regions."""
        return self.search.signal_regions

    # ---------------------------------------------------------------------------------------- steps to replace

    def preselect(self, columns: Mapping[str, Any]) -> Any:
        """Mask of jets that pass the preselection: jagged bool from columns of the jets, which may be varied."""
        mask = self.preselection.evaluate(columns)
        return ak.fill_none(mask, False, axis=None)

    def clean(self, fatjets: Any, preselected: Any, columns: Mapping[str, Any]) -> Any:
        """Mask of preselected jets that are far enough from the objects in ``not_near``.

        Parameters
        ----------
        fatjets : jagged record array
        preselected : jagged bool array
        columns : mapping
            Collections of the events, which may be varied.

        Returns
        -------
        jagged bool array
        """
        if not self.not_near:
            return preselected
        selected = select_objects(self.objects, columns, (), self.not_near)
        for name, distance in self.not_near.items():
            preselected = preselected & far_from(fatjets, selected[name].records, distance)
        return preselected

    def select_objects(self, columns: Mapping[str, Any], candidates: Sequence[Any]) -> dict[str, Any]:
        """The objects of each event beside the candidates, see `jettagger.search.objects.select_objects`.

        Parameters
        ----------
        columns : mapping
            Collections of the events, which may be varied.
        candidates : sequence of record arrays
            One entry per event, None where there is none.

        Returns
        -------
        dict of str to (mapping or record array)
        """
        used = [name for expression in self.search.expressions() for name in expression.names]
        return select_objects(self.objects, columns, used, candidates=candidates)

    def scored_jets(self, columns: Mapping[str, Any], preselected: Any) -> Any:
        """Mask of preselected jets that can become candidates and therefore have to be scored."""
        if self.pick not in columns:
            return preselected
        key = ak.where(preselected, columns[self.pick], -np.inf)
        rank = ak.argsort(ak.argsort(key, axis=1, ascending=False), axis=1)
        return preselected & (rank < self.n_jets)

    def candidates(self, jets: Any) -> list[Any]:
        """Select and sort the candidates.

        Parameters
        ----------
        jets : jagged record array
            The preselected jets.

        Returns
        -------
        list of record arrays
            ``jet1`` (and ``jet2``), one entry per event; None if there are too few jets.
        """
        enough = ak.num(jets, axis=1) >= self.n_jets
        for name in dict.fromkeys((self.pick, self.order)):
            # jets without a score come last
            key = ak.fill_none(ak.nan_to_num(jets[name], nan=-np.inf), -np.inf)
            jets = jets[ak.argsort(key, axis=1, ascending=False)]
            if name == self.pick:
                jets = jets[:, : self.n_jets]
        padded = ak.mask(ak.pad_none(jets, self.n_jets, axis=1, clip=True), enough)
        return [padded[:, number] for number in range(self.n_jets)]

    def event_columns(self, candidates: Sequence[Any]) -> dict[str, Any]:
        """Quantities derived from the candidates, one value per event: `dijet` for two."""
        return dijet(candidates[0], candidates[1], self.mass) if len(candidates) == 2 else {}

    def tag_weights(self, columns: Mapping[str, Any], dataset: str, sample: Sample) -> dict[str, EventTagWeights]:
        """The weights of simulation by scale factors of a tagger.

        Parameters
        ----------
        columns : mapping
            Candidates and events.
        dataset : str
        sample : Sample

        Returns
        -------
        dict of str to EventTagWeights
            Empty for data.
        """
        factors = {} if sample.data else self.search.tag_factors
        return {name: item.event_weights(columns, dataset, self.n_jets) for name, item in factors.items()}

    def corrections(self, columns: CandidateColumns, sample: Sample, numbers: Any) -> dict[str, EventCorrections]:
        """The weights of simulation by files of corrections.

        Parameters
        ----------
        columns : CandidateColumns
            Candidates and events.
        sample : Sample
        numbers : array
            Event numbers.

        Returns
        -------
        dict of str to EventCorrections
            Empty for data.
        """
        factors = {} if sample.data else self.search.corrections
        return {name: item.event_weights(columns, sample.era, self.n_jets, numbers) for name, item in factors.items()}

    def theory_factors(
        self, events: Any, sample: Sample, generator: Any, numbers: Any
    ) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Variations of simulation by theory.

        Parameters
        ----------
        events : NanoEvents
        sample : Sample
        generator : float64[events]
            Generator weights.
        numbers : array
            Event numbers.

        Returns
        -------
        factors : dict of str to float64[events]
            Category of the histograms -> weights relative to no variation.
        sums : dict
            Weight -> ``events`` that have it, and category -> sum of the varied generator weights.
        """
        factors: dict[str, Any] = {}
        sums: dict[str, dict[str, Any]] = {}
        for name, item in {} if sample.data else self.search.theory.items():
            made = item.factors(name, events, numbers)
            factors |= made
            totals = {category: float((generator * factor).sum()) for category, factor in made.items()}
            sums[name] = {"events": len(events) if made else 0, "sums": totals}
        return factors, sums

    def theory_ratios(self, accumulator: Mapping[str, Any]) -> dict[str, dict[str, dict[str, float]]]:
        """Cross sections of variations by theory, relative to no variation, by which they are divided.

        Parameters
        ----------
        accumulator : mapping

        Returns
        -------
        dict
            Data set -> weight -> category -> ratio; 1 where the cross section is not kept.

        Raises
        ------
        MismatchError
            If only some of the events of a data set have the weights.
        """
        ratios: dict[str, dict[str, dict[str, float]]] = {}
        for dataset, found in accumulator.get("theory", {}).items():
            totals = accumulator["sums"][dataset]
            for name, content in found.items():
                if content["events"] not in (0, totals["events"]):
                    raise MismatchError(
                        f"dataset {dataset!r}: {content['events']} of {totals['events']} events have "
                        f"{self.search.theory[name].column}, which {name!r} needs: make a sample of each"
                    )
                if not content["events"]:
                    continue
                recorded = self.generated.get(dataset, {}).get(name)
                read = {key: float(rounded(one) / rounded(totals["sumw"])) for key, one in content["sums"].items()}
                kept = read if recorded is None else recorded
                if not self.search.theory[name].keep_cross_section:
                    kept = dict.fromkeys(read, 1.0)
                ratios.setdefault(dataset, {})[name] = kept
        return ratios

    def select(self, columns: Mapping[str, Any], passed: Any) -> PackedSelection:
        """All cuts; ``not <cut>`` is the complement of a cut.

        Parameters
        ----------
        columns : mapping
            Candidates and events.
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
        selection.add(JETS, ~ak.to_numpy(ak.is_none(columns["jet1"])))
        for name, cut in self.cuts.items():
            value = cut.evaluate(columns)
            if not isinstance(value, ak.Array):
                value = ak.Array(np.full(len(passed), bool(value)))
            flat = ak.to_numpy(ak.fill_none(value, False))
            if flat.dtype != np.bool_ and len(flat):
                raise ConfigError(f"cut {name!r} gives {flat.dtype}, expected true or false: {cut}")
            known = ~ak.to_numpy(ak.is_none(value))
            selection.add(name, flat.astype(bool))
            selection.add(f"not {name}", known & ~flat.astype(bool))
        return selection

    # ---------------------------------------------------------------------------------------- coffea's interface

    def process(self, events: Any) -> dict[str, Any]:
        """Histograms and counts of one chunk.

        Parameters
        ----------
        events : NanoEvents

        Returns
        -------
        dict
            ``histograms``, ``curves``, ``masses``, and by data set ``sums``, ``cutflow``, ``files``, ``file_weights``;
            ``overlaps`` of regions; ``passing``, the simulated events that pass and fail each cut; ``tags`` and
            ``corrections``, by data set and weight the numbers of jets to which scale factors were applied, and of
            values that files of corrections were applied to; ``outside``, by data set and collection the numbers of
            jets outside of the range of a correction of the energy.
        """
        dataset = events.metadata["dataset"]
        sample = self.sample(dataset)
        self.check_kind(events, dataset, sample)
        numbers = ak.to_numpy(events.event) if "event" in events.fields else np.arange(len(events))
        generator = self.generator_weights(events, sample)
        check_weights(generator, name=f"{self.generator_weight}", events=numbers)
        histograms = {spec.name: spec.make() for spec in self.histograms}
        curves = {name: spec.make() for name, spec in self.curves.items()}
        masses = {name: spec.make() for name, spec in self.masses.items()}
        passed = self.event_mask(events, sample)
        chunk = SearchChunk(
            dataset, sample, events, numbers, generator, passed, histograms, curves, self.curves, masses, self.masses
        )
        fatjets = events[self.collection]
        shifts = self._shifts(sample)
        recalibrated = (
            CorrectedEvents(self.jet_energy, events, dataset, sample) if self.jet_energy is not None else None
        )
        energies = {
            name: {} if recalibrated is None else recalibrated.columns(self.collection, shift.energy)
            for name, shift in shifts.items()
        }
        varied = {name: self._varied(events, shift, energies=energies[name]) for name, shift in shifts.items()}
        masks, preselected = {}, {}
        names = dict.fromkeys((*self.preselection.names, self.pick))
        for name, new in varied.items():
            columns = {key: new.get(key, fatjets[key]) for key in names if key in new or key in fatjets.fields}
            self.preselection.check([*fatjets.fields], f"column of {self.collection}")
            collections = (
                recalibrated.collections(shifts[name].energy) if recalibrated is not None and self.not_near else {}
            )
            preselected[name] = self.clean(fatjets, self.preselect(columns), CandidateColumns(collections, events))
            masks[name] = self.scored_jets(columns, preselected[name] & passed)
        counts = {"events": len(events), "sumw": float(generator.sum())}
        counts["jets"] = int(ak.sum(ak.num(fatjets.pt)))
        varied_by_theory, sums_of_theory = self.theory_factors(events, sample, generator, numbers)
        result: dict[str, Any] = {}
        for name, tagged in self.tag_variations(events, varied, masks):
            if name == NOMINAL:
                counts["scored"] = self._scored(tagged)
            jets = tagged[self.collection]
            late = self._varied(tagged, shifts[name], late=True, energies=energies[name])
            new = {**varied[name], **late}
            columns = self.make_jets(jets, new)
            table = ak.zip({key: value[masks[name]] for key, value in columns.items()})
            own = {f"jet{i}": jet for i, jet in enumerate(self.candidates(table), start=1)}
            own |= self.event_columns(list(own.values()))
            own["njets"] = ak.sum(preselected[name], axis=1)
            candidates = [own[f"jet{number}"] for number in range(1, self.n_jets + 1)]
            own |= {} if recalibrated is None else recalibrated.collections(shifts[name].energy)
            own |= self.select_objects(CandidateColumns(own, events), candidates)
            filled_from = CandidateColumns(own, events)
            selection = self.select(filled_from, passed)
            weights = self.event_weights(generator, filled_from, sample, numbers)
            of_tags = self.tag_weights(filled_from, dataset, sample)
            corrected = self.corrections(filled_from, sample, numbers)
            for factor, made in of_tags.items():
                made.add_to(weights, factor)
            for factor, correction in corrected.items():
                correction.add_to(weights, factor)
            filled = fill(self.search, chunk, name, filled_from, selection, weights, varied_by_theory)
            if name == NOMINAL:
                tags = {factor: made.count.to_dict() for factor, made in of_tags.items()}
                counted = {factor: dict(item.count) for factor, item in corrected.items()}
                result = {**filled, "tags": {dataset: tags}, "corrections": {dataset: counted}}
                result["theory"] = {dataset: sums_of_theory}
        place = events.metadata
        path = str(place.get("filename", ""))
        return {
            "histograms": histograms,
            "curves": curves,
            "masses": masses,
            "sums": {dataset: counts},
            "files": {dataset: {path: len(events)}},
            "file_weights": {dataset: {path: counts["sumw"]}},
            "outside": {} if recalibrated is None else {dataset: recalibrated.outside()},
            **result,
        }

    def postprocess(self, accumulator: dict[str, Any]) -> dict[str, Any]:
        """Scale simulation to the luminosity, sort, and list probable mistakes.

        Parameters
        ----------
        accumulator : dict
            Its histograms are taken out.

        Returns
        -------
        dict
            ``histograms`` (name -> hist.Hist, in events), ``curves`` (the same of discriminants, in inclusive regions,
            with `jettagger.histograms.fine_edges`), ``masses`` (those of masses without cuts on masses, of simulation),
            ``cutflow`` (data set -> region -> cut -> ``events`` and
            ``weighted``, scaled; None where data are blind), ``datasets`` (data set -> ``events``, ``jets``,
            ``scored``, ``sum_of_weights``, ``scale``, ``files``), ``notes`` (list of str, also issued as
            `SearchWarning`).

        Raises
        ------
        InvalidValues
            If the sum of the generator weights of a data set is not positive.
        """
        datasets = self.normalised(accumulator)
        scales = {dataset: counts["scale"] for dataset, counts in datasets.items()}
        ratios = self.theory_ratios(accumulator)
        simulated = [dataset for dataset in datasets if not self.sample(dataset).data]
        made: dict[str, dict[str, Any]] = {}
        for kind in ("histograms", "curves", "masses"):
            content, made[kind] = accumulator[kind], {}
            for name in list(content):  # taken out, so that there is one copy of all but one
                theory = self.search.theory if kind == "histograms" else {}
                made[kind][name] = combined(scaled(content.pop(name), scales), theory, ratios, simulated)
        histograms, curves, masses = made["histograms"], made["curves"], made["masses"]
        cutflow: dict[str, Any] = {}
        hidden = blind_rows(self.regions) if self.blind else {}
        for dataset, counts in datasets.items():
            cutflow[dataset] = {}
            for region in self.regions:
                rows = accumulator["cutflow"][dataset][region]
                flow = {
                    cut: {
                        "events": row["events"],
                        "weighted": float(rounded(row["weighted"])) * counts["scale"],
                    }
                    for cut, row in rows.items()
                }
                if self.sample(dataset).data:
                    flow |= {cut: {"events": None, "weighted": None} for cut in hidden.get(region, ())}
                cutflow[dataset][region] = flow
        notes = [*self.doubts(), *unknown_sums(self.samples, datasets)]
        notes += idle_cuts(self.search, accumulator.get("passing", {}))
        notes += tag_notes(accumulator.get("tags", {}))
        happened = {name: item.outside for name, item in self.search.corrections.items()}
        notes += correction_notes(accumulator.get("corrections", {}), happened)
        of_theory = {
            dataset: {name: content["events"] for name, content in found.items()}
            for dataset, found in accumulator.get("theory", {}).items()
            if not self.sample(dataset).data
        }
        notes += theory_notes(self.search.theory, of_theory, self.generated)
        notes += outside_notes(accumulator.get("outside", {}))
        notes += self.notes(cutflow, accumulator["overlaps"])
        for note in notes:
            warnings.warn(note, SearchWarning, stacklevel=2)
        return {
            "histograms": histograms,
            "curves": curves,
            "masses": masses,
            "cutflow": cutflow,
            "datasets": datasets,
            "notes": notes,
        }

    def doubts(self) -> list[str]:
        """Probable mistakes in the definition of the search, independent of the events.

        Returns
        -------
        list of str
            A luminosity outside the range of the LHC; cuts, and combinations of cuts in a region, that are never or
            always true.

        Examples
        --------
        >>> from jettagger.histograms import AxisSpec
        >>> spec = HistSpec("pt", [AxisSpec("pt", bins=(1, 0, 1), expression="jet1.pt")])
        >>> cuts = {"window": "150 < jet1.mass < 90"}
        >>> ResonanceSearchProcessor({"a": Sample(1)}, {"all": Region()}, [spec], cuts=cuts).doubts()
        ["cut 'window': '150 < jet1.mass < 90' is never true"]
        """
        return doubts(self.search)

    def notes(self, cutflow: Mapping[str, Any], overlaps: Mapping[str, int]) -> list[str]:
        """Probable mistakes: regions without events, signal regions that overlap with others.

        Parameters
        ----------
        cutflow : mapping
            The cutflow from `postprocess`.
        overlaps : mapping of str to int
            ``"SR & CR"`` -> events in both.

        Returns
        -------
        list of str
        """
        return region_notes(self.regions, cutflow, overlaps)


guard(globals(), "ResonanceSearchProcessor")
