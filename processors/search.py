"""A search for resonances with fat jets inside a coffea job: candidates, regions, weights, histograms."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import awkward as ak
import numpy as np
from coffea import processor
from coffea.analysis_tools import PackedSelection, Weights
from jettagger.processors.candidates import CandidateColumns, dijet
from jettagger.processors.filling import SearchChunk, fill, rounded, scaled

import jettagger as jt
from jettagger.arguments import guard
from jettagger.discriminants import Discriminant, discriminant
from jettagger.errors import ConfigError, InvalidValues, MismatchError, UnknownName
from jettagger.expressions import Expression
from jettagger.histograms import AxisSpec, HistSpec, fine_edges
from jettagger.search.definition import (
    DIJET,
    EVENTS,
    JETS,
    KINDS,
    NOMINAL,
    JetVariation,
    Region,
    Sample,
    Search,
    SearchWarning,
    WeightFactor,
    scores_of_column,
    scores_of_discriminant,
)
from jettagger.search.doubts import doubts, idle_cuts, region_notes, unknown_sums
from jettagger.weights import check_weights

__all__ = [
    "DIJET",
    "KINDS",
    "NOMINAL",
    "JetVariation",
    "Region",
    "ResonanceSearchProcessor",
    "Sample",
    "SearchWarning",
    "WeightFactor",
    "dijet",
]


class ResonanceSearchProcessor(processor.ProcessorABC):
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
    discriminants : mapping of str to (str or Discriminant)
        Name -> a preset, an expression in scores, or a discriminant; they become columns of the jets.
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
    weights : mapping of str to WeightFactor
        Corrections of simulation; their variations are called ``<name>Up`` and ``<name>Down``.
    variations : mapping of str to JetVariation
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
        Whether data in signal regions are blinded: such events are filled into no histogram of any region, and the last
        row of the cutflow of these regions is None.

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
        discriminants: Mapping[str, str | Discriminant] | None = None,
        model: str | os.PathLike[str] | jt.Tagger | None = None,
        prefix: str | None = None,
        n_jets: int = 2,
        preselection: str | Expression = "pt > 200",
        pick: str = "pt",
        order: str = "pt",
        mass: str = "mass",
        event_cut: str | Expression | None = None,
        weights: Mapping[str, WeightFactor] | None = None,
        variations: Mapping[str, JetVariation] | None = None,
        luminosity: float = 1.0,
        generator_weight: str | None = "genWeight",
        collection: str = "FatJet",
        options: jt.TaggerOptions | None = None,
        blind: bool = True,
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
                name: item if isinstance(item, Discriminant) else discriminant(item)
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
        )
        for name, value in self.search.arguments().items():  # the samples may be normalised anew, see `run_search`
            setattr(self, name, value)
        self.factors = self.search.factors
        self.curves = self._curves()
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

    def _outputs(self) -> tuple[str, ...]:
        """The outputs of the network that are used; empty if only columns of its heads are."""
        if self.tagger is None:
            return ()
        used: list[str] = []
        for item in self.discriminants.values():
            used += scores_of_discriminant(item, self.tagger, self.prefix)
        shifted = [c for item in self.variations.values() for side in (item.up, item.down) for c in side]
        for column in (*self.jet_columns, *shifted):
            used += scores_of_column(column, self.tagger, self.prefix)
        of_heads = [column for head in self.tagger.heads for column in head.columns]
        if not used:
            columns = " or ".join([f"{self.prefix}_...", *(f"{head.name}_..." for head in self.tagger.heads)])
            raise ConfigError(
                f"the model {self.tagger.bundle.name!r} would run, but no discriminant and no column {columns} is used"
            )
        return tuple(name for name in dict.fromkeys(used) if name not in of_heads)

    @property
    def signal_regions(self) -> tuple[str, ...]:
        """The names of the signal regions."""
        return self.search.signal_regions

    def rescoring(self, columns: Iterable[str]) -> tuple[str, ...]:
        """The inputs of the network and its heads that depend on given columns of the jets.

        Parameters
        ----------
        columns : iterable of str
            Columns of the jets that a variation changes.

        Returns
        -------
        tuple of str
            Names of input variables; empty if the scores do not change.

        Examples
        --------
        >>> from jettagger.histograms import AxisSpec
        >>> spec = HistSpec("pt", [AxisSpec("pt", bins=(1, 0, 1), expression="jet1.tinyParT_mass")])
        >>> search = ResonanceSearchProcessor({"a": Sample(1)}, {"all": Region()}, [spec], model="tinyParT")
        >>> search.rescoring(["pt", "mass", "msoftdrop"])
        ()
        >>> "pfcand_etarel" in search.rescoring(["eta"])
        True
        """
        return () if self.tagger is None else self.tagger.changed_by(columns, self.collection)

    # ---------------------------------------------------------------------------------------- steps to replace

    def sample(self, dataset: str) -> Sample:
        """The sample of a data set.

        Raises
        ------
        UnknownName
            If it is unknown.
        """
        if dataset not in self.samples:
            raise UnknownName("dataset", dataset, self.samples, "the samples of this search")
        return self.samples[dataset]

    def check_kind(self, events: Any, dataset: str, sample: Sample) -> None:
        """Refuse data in samples of simulation and simulation in samples of data.

        Raises
        ------
        MismatchError
            Gives the file.
        """
        if self.generator_weight is None:
            return
        found = self.generator_weight in events.fields
        if found == sample.data:
            place = (getattr(events, "metadata", None) or {}).get("filename", "these events")
            is_, column = ("data", f"but {place} has") if sample.data else ("simulation", f"but {place} lacks")
            raise MismatchError(
                f"dataset {dataset!r} is {is_}, {column} the column {self.generator_weight!r}: "
                "data and simulation must not be mixed in one dataset"
            )

    def generator_weights(self, events: Any, sample: Sample) -> Any:
        """The generator weight of each event, float64[events]; 1 for data."""
        if sample.data or self.generator_weight is None:
            return np.ones(len(events))
        return np.asarray(ak.to_numpy(events[self.generator_weight]), dtype=np.float64)

    def event_mask(self, events: Any, sample: Sample) -> Any:
        """Mask of events that pass the event cut, and for data the certified luminosity sections; bool[events]."""
        mask = np.ones(len(events), dtype=bool)
        if self.event_cut is not None:
            value = self.event_cut.evaluate(CandidateColumns({}, events))
            mask &= np.broadcast_to(ak.to_numpy(ak.fill_none(value, False)).astype(bool), len(events))
        if sample.golden_json is not None:
            from coffea.lumi_tools import LumiMask

            mask &= np.asarray(LumiMask(sample.golden_json)(events.run, events.luminosityBlock))
        return mask

    def preselect(self, columns: Mapping[str, Any]) -> Any:
        """Mask of jets that pass the preselection: jagged bool from columns of the jets, which may be varied."""
        mask = self.preselection.evaluate(columns)
        return ak.fill_none(mask, False, axis=None)

    def scored_jets(self, columns: Mapping[str, Any], preselected: Any) -> Any:
        """Mask of preselected jets that can become candidates and therefore have to be scored."""
        if self.pick not in columns:
            return preselected
        key = ak.where(preselected, columns[self.pick], -np.inf)
        rank = ak.argsort(ak.argsort(key, axis=1, ascending=False), axis=1)
        return preselected & (rank < self.n_jets)

    def tag(self, events: Any, where: Any, kinematics: Mapping[str, Any] | None = None) -> Any:
        """Run the network and add its columns to the events.

        Parameters
        ----------
        events : NanoEvents
        where : jagged bool array
            The jets to score.
        kinematics : mapping, optional
            Columns of the jets from which the network's inputs are computed, instead of those in the file.

        Raises
        ------
        MismatchError
            If the model applies to jets other than those of the search.
        """
        if self.tagger is None:
            return events
        jets = self.tagger.plan(events).collection
        if jets != self.collection:
            raise MismatchError(
                f"the model {self.tagger.bundle.name!r} scores {jets}, the search takes {self.collection}: "
                f"give collection: {jets}, or a model of these jets"
            )
        return self.tagger.attach(events, where=where, prefix=self.prefix, columns=self.outputs, kinematics=kinematics)

    def make_jets(self, fatjets: Any, varied: Mapping[str, Any]) -> dict[str, Any]:
        """The columns of the jets that are used, including discriminants.

        Parameters
        ----------
        fatjets : awkward array
            With the scores.
        varied : mapping
            Columns that a variation changes.

        Returns
        -------
        dict of str to jagged array

        Raises
        ------
        UnknownName
            If the jets lack a column.
        """
        columns = {}
        for name in self.jet_columns:
            if name in self.discriminants:
                continue
            if name not in varied and name not in fatjets.fields:
                raise UnknownName("column", name, [*fatjets.fields, *self.discriminants], self.collection)
            columns[name] = varied[name] if name in varied else fatjets[name]
        for name in self.jet_columns:
            if name in self.discriminants:
                item = self.discriminants[name]
                prefix = item.prefix or self.prefix
                needed = item.resolve(fatjets.fields, prefix=prefix).columns.values()
                scores = {column: varied.get(column, fatjets[column]) for column in needed}
                columns[name] = item(scores, prefix=prefix)
        return columns

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

    def event_weights(self, generator: Any, columns: Mapping[str, Any], sample: Sample, numbers: Any) -> Weights:
        """The weights of simulation.

        Parameters
        ----------
        generator : float64[events]
        columns : mapping
            Candidates and events.
        sample : Sample
        numbers : array
            Event numbers.

        Returns
        -------
        coffea.analysis_tools.Weights

        Raises
        ------
        InvalidValues
            If a weight is not finite; gives the event.
        """
        weights = Weights(len(generator))
        weights.add("generator", generator)
        if sample.data:
            return weights
        absent = ak.to_numpy(ak.is_none(columns["jet1"]))
        for name, parts in self.factors.items():
            values: list[Any] = []
            for part in parts:
                if part is None:
                    values.append(None)
                    continue
                value = part.evaluate(columns)
                if not isinstance(value, ak.Array):
                    value = np.full(len(generator), float(value))
                # a correction of candidates has no value for events without
                value = ak.where(absent & ak.to_numpy(ak.is_none(value)), 1.0, value)
                check_weights(value, name=f"weight {name!r} ({part})", events=numbers)
                values.append(ak.to_numpy(ak.fill_none(value, 1.0)).astype(np.float64))
            weights.add(name, *values)
        return weights

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
            ``histograms``, ``curves``, and by data set ``sums``, ``cutflow``, ``files``, ``file_weights``; ``overlaps``
            of regions; ``passing``, the simulated events that pass and fail each cut.
        """
        dataset = events.metadata["dataset"]
        sample = self.sample(dataset)
        self.check_kind(events, dataset, sample)
        numbers = ak.to_numpy(events.event) if "event" in events.fields else np.arange(len(events))
        generator = self.generator_weights(events, sample)
        check_weights(generator, name=f"{self.generator_weight}", events=numbers)
        histograms = {spec.name: spec.make() for spec in self.histograms}
        curves = {name: spec.make() for name, spec in self.curves.items()}
        passed = self.event_mask(events, sample)
        chunk = SearchChunk(dataset, sample, events, numbers, generator, passed, histograms, curves, self.curves)
        fatjets = events[self.collection]
        shifts = self._shifts(sample)
        varied = {name: self._varied(fatjets, shift) for name, shift in shifts.items()}
        masks, preselected = {}, {}
        names = dict.fromkeys((*self.preselection.names, self.pick))
        for name, new in varied.items():
            columns = {key: new.get(key, fatjets[key]) for key in names if key in new or key in fatjets.fields}
            self.preselection.check([*fatjets.fields], f"column of {self.collection}")
            preselected[name] = self.preselect(columns)
            masks[name] = self.scored_jets(columns, preselected[name] & passed)
        again = {name for name, new in varied.items() if self.rescoring(new)}
        where = masks[NOMINAL]
        for name in masks:
            if name not in again:
                where = where | masks[name]
        tagged = self.tag(events, where)
        counts = {"events": len(events), "sumw": float(generator.sum())}
        counts["jets"] = int(ak.sum(ak.num(fatjets.pt)))
        counts["scored"] = self._scored(tagged)
        result: dict[str, Any] = {}
        for name, new in varied.items():
            found = self.tag(events, masks[name], new) if name in again else tagged
            jets = found[self.collection]
            new = {**new, **self._varied(jets, shifts[name], late=True)}
            columns = self.make_jets(jets, new)
            table = ak.zip({key: value[masks[name]] for key, value in columns.items()})
            own = {f"jet{i}": jet for i, jet in enumerate(self.candidates(table), start=1)}
            own |= self.event_columns(list(own.values()))
            own["njets"] = ak.sum(preselected[name], axis=1)
            filled_from = CandidateColumns(own, events)
            selection = self.select(filled_from, passed)
            weights = self.event_weights(generator, filled_from, sample, numbers)
            filled = fill(self.search, chunk, name, filled_from, selection, weights)
            if name == NOMINAL:
                result = filled
        place = events.metadata
        path = str(place.get("filename", ""))
        return {
            "histograms": histograms,
            "curves": curves,
            "sums": {dataset: counts},
            "files": {dataset: {path: len(events)}},
            "file_weights": {dataset: {path: counts["sumw"]}},
            **result,
        }

    def _shifts(self, sample: Sample) -> dict[str, Mapping[str, Expression]]:
        """Name of each variation of the jets -> columns that it changes."""
        shifts: dict[str, Mapping[str, Expression]] = {NOMINAL: {}}
        if not sample.data:
            for name, item in self.variations.items():
                shifts |= {f"{name}Up": item.up, f"{name}Down": item.down}
        return shifts

    def _varied(self, fatjets: Any, shift: Mapping[str, Expression], late: bool = False) -> dict[str, Any]:
        """Varied columns: those of the file, or later those of the network."""
        own = set(self.names.values())
        found = {}
        for column, expression in shift.items():
            if (column in own) != late:
                continue
            expression.check(fatjets.fields, f"column of {self.collection}")
            if column not in fatjets.fields:
                raise UnknownName("column", column, fatjets.fields, f"variation of {self.collection}")
            found[column] = expression.evaluate({name: fatjets[name] for name in expression.names})
        return found

    def _scored(self, events: Any) -> int:
        if not self.names:
            return 0
        column = events[self.collection][next(iter(self.names.values()))]
        return int(ak.sum(~ak.is_none(column, axis=1)))

    def postprocess(self, accumulator: dict[str, Any]) -> dict[str, Any]:
        """Scale simulation to the luminosity, sort, and list probable mistakes.

        Parameters
        ----------
        accumulator : dict

        Returns
        -------
        dict
            ``histograms`` (name -> hist.Hist, in events), ``curves`` (the same of discriminants, in inclusive regions,
            with `jettagger.histograms.fine_edges`), ``cutflow`` (data set -> region -> cut -> ``events`` and
            ``weighted``, scaled; None where data are blind), ``datasets`` (data set -> ``events``, ``jets``,
            ``scored``, ``sum_of_weights``, ``scale``, ``files``), ``notes`` (list of str, also issued as
            `SearchWarning`).

        Raises
        ------
        InvalidValues
            If the sum of the generator weights of a data set is not positive.
        """
        datasets = {}
        for dataset in sorted(accumulator["sums"], key=list(self.samples).index):
            sums, sample = accumulator["sums"][dataset], self.sample(dataset)
            sums = {**sums, "sumw": float(rounded(sums["sumw"]))}
            scale = self.scale(dataset, sample, sums["sumw"])
            datasets[dataset] = {
                **{key: sums[key] for key in ("events", "jets", "scored")},
                "sum_of_weights": sample.sum_of_weights if isinstance(sample.sum_of_weights, float) else sums["sumw"],
                "sum_of_read_weights": sums["sumw"],
                "scale": scale,
                "files": dict(sorted(accumulator["files"][dataset].items())),
            }
        scales = {dataset: counts["scale"] for dataset, counts in datasets.items()}
        histograms, curves = (
            {name: scaled(histogram, scales) for name, histogram in accumulator[kind].items()}
            for kind in ("histograms", "curves")
        )
        cutflow: dict[str, Any] = {}
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
                if self.blind and self.sample(dataset).data and region in self.signal_regions:
                    flow[list(flow)[-1]] = {"events": None, "weighted": None}
                cutflow[dataset][region] = flow
        notes = [*self.doubts(), *unknown_sums(self.samples, datasets)]
        notes += idle_cuts(self.search, accumulator.get("passing", {}))
        notes += self.notes(cutflow, accumulator["overlaps"])
        for note in notes:
            warnings.warn(note, SearchWarning, stacklevel=2)
        return {
            "histograms": histograms,
            "curves": curves,
            "cutflow": cutflow,
            "datasets": datasets,
            "notes": notes,
        }

    def scale(self, dataset: str, sample: Sample, sumw: float) -> float:
        """The factor of a data set: luminosity times cross section over the sum of generator weights.

        Parameters
        ----------
        dataset : str
        sample : Sample
        sumw : float
            Sum of generator weights of the events that were read.

        Returns
        -------
        float
            1 for data.

        Raises
        ------
        InvalidValues
            If the sum is not positive.
        """
        if sample.data or sample.cross_section is None:
            return 1.0
        total = sample.sum_of_weights if isinstance(sample.sum_of_weights, float) else sumw
        if not (math.isfinite(total) and total > 0):
            raise InvalidValues(f"dataset {dataset!r}: the generator weights sum up to {total}, it cannot be scaled")
        return 1000.0 * self.luminosity * sample.cross_section / total  # 1 pb = 1000 fb

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
