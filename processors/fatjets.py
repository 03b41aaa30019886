"""Steps that processors of fat jets share: samples, the network, variations of the jets, weights of simulation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar

import awkward as ak
import numpy as np
from coffea import processor
from coffea.analysis_tools import Weights
from jettagger.processors.candidates import CandidateColumns
from jettagger.processors.filling import rounded

from jettagger.arguments import guard
from jettagger.calibration import MassFactors
from jettagger.discriminants import DerivedColumn
from jettagger.display import Brief
from jettagger.errors import ConfigError, InvalidValues, MismatchError, UnknownName
from jettagger.expressions import Expression
from jettagger.search.definition import NOMINAL, Era, Sample, scores_of_column, scores_of_discriminant
from jettagger.search.jetenergy import JetEnergy
from jettagger.search.variations import JetShift, JetVariation, jet_shifts, nominal_columns
from jettagger.weights import check_weights

__all__ = ["FatJetProcessor"]


class FatJetProcessor(Brief, processor.ProcessorABC):
    """What a processor of fat jets needs before and after its own selection; each step is a method to override.

    A class derived from it has the attributes below, the columns of the jets that it uses as `jet_columns`, and
    coffea's ``process``.

    Attributes
    ----------
    leading : str
        Name of the first of its candidates; events without it have no weights of candidates.
    tagger : Tagger or None
        The network to run.
    names : dict of str to str
        Output of the network -> column of the jets.
    samples, discriminants, prefix, event_cut, factors, variations, luminosity, generator_weight, collection, eras,
    jet_energy
        As for `jettagger.search.definition.Search`.
    """

    leading: ClassVar[str] = "jet1"
    tagger: Any
    names: dict[str, str]
    samples: Mapping[str, Sample]
    discriminants: Mapping[str, Any]
    prefix: str | None
    event_cut: Expression | None
    factors: Mapping[str, tuple[Expression, Expression | None, Expression | None]]
    variations: Mapping[str, JetVariation | MassFactors]
    luminosity: float
    generator_weight: str | None
    collection: str
    eras: Mapping[str, Era] = MappingProxyType({})
    jet_energy: JetEnergy | None = None

    @property
    def optional_columns(self) -> frozenset[str]:
        """Those of the columns that the jets may lack, because not all samples need them."""
        return frozenset()

    @property
    def jet_columns(self) -> tuple[str, ...]:
        """The columns and discriminants of the candidates that are used."""
        raise NotImplementedError

    def _outputs(self) -> tuple[str, ...]:
        """The outputs of the network that are used; empty if only columns of its heads are."""
        if self.tagger is None:
            return ()
        used: list[str] = []
        prefix = self.prefix or self.tagger.bundle.prefix
        for item in self.discriminants.values():
            used += scores_of_discriminant(item, self.tagger, prefix)
        shifted = [column for shift in jet_shifts(self.variations, NOMINAL).values() for column in shift.read]
        for column in (*self.jet_columns, *shifted):
            used += scores_of_column(column, self.tagger, prefix)
        of_heads = [column for head in self.tagger.heads for column in head.columns]
        if not used:
            columns = " or ".join([f"{self.prefix}_...", *(f"{head.name}_..." for head in self.tagger.heads)])
            raise ConfigError(
                f"the model {self.tagger.bundle.name!r} would run, but no discriminant and no column {columns} is used"
            )
        return tuple(name for name in dict.fromkeys(used) if name not in of_heads)

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
        >>> from jettagger.histograms import AxisSpec, HistSpec
        >>> from jettagger.processors import ResonanceSearchProcessor
        >>> from jettagger.search.definition import Region
        >>> spec = HistSpec("pt", [AxisSpec("pt", bins=(1, 0, 1), expression="jet1.tinyParT_mass")])
        >>> search = ResonanceSearchProcessor({"a": Sample(1)}, {"all": Region()}, [spec], model="tinyParT")
        >>> search.rescoring(["pt", "mass", "msoftdrop"])
        ()
        >>> "pfcand_etarel" in search.rescoring(["eta"])
        True
        """
        return () if self.tagger is None else self.tagger.changed_by(columns, self.collection)

    def sample(self, dataset: str) -> Sample:
        """The sample of a data set.

        Raises
        ------
        UnknownName
            If it is unknown.
        """
        if dataset not in self.samples:
            raise UnknownName("dataset", dataset, self.samples, "the samples of this processor")
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
        """Mask of events that pass the cuts on events, bool[events].

        These are the event cut, the cut of the sample, the triggers of its era, and for data the certified luminosity
        sections.
        """
        mask = np.ones(len(events), dtype=bool)
        if self.event_cut is not None:
            value = self.event_cut.evaluate(CandidateColumns({}, events))
            mask &= np.broadcast_to(ak.to_numpy(ak.fill_none(value, False)).astype(bool), len(events))
        certified = sample.golden_json
        era = self.eras.get(sample.era)
        for cut in (sample.cut, None if era is None else era.trigger):
            if cut is not None:
                value = cut.evaluate(CandidateColumns({}, events))
                mask &= np.broadcast_to(ak.to_numpy(ak.fill_none(value, False)).astype(bool), len(events))
        if era is not None and certified is None and sample.data:
            certified = era.certified
        if certified is not None:
            from coffea.lumi_tools import LumiMask

            mask &= np.asarray(LumiMask(certified)(events.run, events.luminosityBlock))
        return mask

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
            If the model applies to jets other than those of the processor.
        """
        if self.tagger is None:
            return events
        jets = self.tagger.plan(events).collection
        if jets != self.collection:
            raise MismatchError(
                f"the model {self.tagger.bundle.name!r} scores {jets}, the processor takes {self.collection}: "
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
        optional = self.optional_columns
        for name in self.jet_columns:
            if name in self.discriminants:
                continue
            if name not in varied and name not in fatjets.fields and name in optional:
                continue  # what reads it says that it is missing
            if name not in varied and name not in fatjets.fields:
                raise UnknownName("column", name, [*fatjets.fields, *self.discriminants], self.collection)
            columns[name] = varied[name] if name in varied else fatjets[name]
        for name in self.jet_columns:
            if name in self.discriminants:
                item = self.discriminants[name]
                prefix = item.prefix or self.prefix
                needed = item.resolve(fatjets.fields, prefix=prefix).columns.values()
                scores = {column: varied.get(column, fatjets[column]) for column in needed}
                origin = {"model": self.tagger} if isinstance(item, DerivedColumn) else {}
                columns[name] = item(scores, prefix=prefix, **origin)
        return columns

    def tag_variations(
        self, events: Any, varied: Mapping[str, Mapping[str, Any]], masks: Mapping[str, Any]
    ) -> Iterator[tuple[str, Any]]:
        """The events with scores, for each variation.

        The network runs once for all variations that do not change its inputs.

        Parameters
        ----------
        events : NanoEvents
        varied : mapping of str to mapping
            Variation -> columns of the jets that it changes; the first one is `NOMINAL`.
        masks : mapping of str to jagged bool array
            The jets to score.

        Yields
        ------
        tuple of str and NanoEvents
        """
        again = {name for name, new in varied.items() if self.rescoring(new)}
        where = masks[NOMINAL]
        for name in masks:
            if name not in again:
                where = where | masks[name]
        tagged = self.tag(events, where) if len(again) < len(varied) else events
        for name, new in varied.items():
            yield name, self.tag(events, masks[name], new) if name in again else tagged

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
        absent = ak.to_numpy(ak.is_none(columns[self.leading]))
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

    def _shifts(self, sample: Sample) -> dict[str, JetShift]:
        """Name of each variation of the jets -> what it does to them."""
        if sample.data:
            return {NOMINAL: JetShift(nominal=nominal_columns(self.variations))}
        shifts = jet_shifts(self.variations, NOMINAL)
        of_energy = {} if self.jet_energy is None else self.jet_energy.shifts()
        return shifts | {name: replace(shifts[NOMINAL], energy=energy) for name, energy in of_energy.items()}

    def _varied(
        self, events: Any, shift: JetShift, late: bool = False, energies: Mapping[str, Any] = MappingProxyType({})
    ) -> dict[str, Any]:
        """Varied columns: those of the file, or later those that depend on the network.

        ``energies`` are columns with corrected energies, which take the place of those in the file.
        """
        jets = events[self.collection]
        where = f"variation of {self.collection}"
        waiting = set(self.names.values())  # columns that are not there before the network has run
        base: dict[str, Any] = dict(energies)
        found: dict[str, Any] = {} if late else dict(energies)

        def evaluated(column: str, expression: Expression, known: Mapping[str, Any]) -> Any:
            expression.check(jets.fields, f"column of {self.collection}")
            if column not in jets.fields:
                raise UnknownName("column", column, jets.fields, where)
            return expression.evaluate(
                {name: known[name] if name in known else jets[name] for name in expression.names}
            )

        for column, mass in shift.masses.items():
            if late or column not in waiting:
                corrected = ak.with_field(jets, energies[column], column) if column in energies else jets
                base[column] = mass.evaluate(corrected, events, where)
            if (column in waiting) == late:
                found[column] = base[column]
        for column, expression in shift.nominal.items():
            later = bool(waiting.intersection((column, *expression.names)))
            if late or not later:
                base[column] = evaluated(column, expression, energies)
            if later == late:
                found[column] = base[column]
        waiting |= {column for column, item in shift.nominal.items() if waiting.intersection(item.names)}
        for column, expression in shift.columns.items():
            if bool(waiting.intersection((column, *expression.names))) == late:
                found[column] = evaluated(column, expression, base)
        return found

    def _scored(self, events: Any) -> int:
        if not self.names:
            return 0
        column = events[self.collection][next(iter(self.names.values()))]
        return int(ak.sum(~ak.is_none(column, axis=1)))

    def normalised(self, accumulator: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Counts, sums of weights and scales of the data sets.

        Parameters
        ----------
        accumulator : mapping
            With ``sums`` and ``files`` of all chunks.

        Returns
        -------
        dict
            Data set -> ``events``, ``jets``, ``scored``, ``sum_of_weights``, ``sum_of_read_weights``, ``scale``,
            ``files``; in the order of the samples.

        Raises
        ------
        InvalidValues
            If the sum of the generator weights of a data set is not positive.
        """
        datasets: dict[str, dict[str, Any]] = {}
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
        return datasets

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
        era = self.eras.get(sample.era)
        luminosity = self.luminosity if era is None else era.luminosity
        return 1000.0 * luminosity * sample.cross_section / total  # 1 pb = 1000 fb


guard(globals())
