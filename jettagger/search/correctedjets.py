"""Jets of a chunk with corrected energies, shifted by their uncertainties; the missing momentum follows from them.

The steps are those of coffea's ``CorrectedJetsFactory``, which takes its random numbers from the first and the last jet
of a chunk, so that results would depend on chunks; here they depend on the event and the index of the jet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np

from jettagger.arguments import guard
from jettagger.display import Brief
from jettagger.errors import InvalidValues, UnknownName, reason_of
from jettagger.expressions.evaluation import ABSENT, find
from jettagger.formats.attach import with_fields, with_list_fields
from jettagger.kinematics import delta_r
from jettagger.runtime.seeding import normals
from jettagger.search.jetenergy import (
    INPUTS,
    PT,
    SYSTEMATIC,
    UNCLUSTERED,
    EnergyShift,
    JetCorrections,
    JetEnergy,
)

__all__ = ["CorrectedEvents", "evaluated", "outside_notes", "smeared"]

#: minimum energy of a smeared jet in GeV
MIN_ENERGY = 0.01

#: values of the input ``systematic`` of scale factors of the resolution, by the sign of the shift
_SYSTEMATICS = {0: "nom", 1: "up", -1: "down"}


def smeared(
    pt: Any, eta: Any, resolution: Any, factor: Any, gauss: Any, generated: Any
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Factors on the energies of simulated jets that give them the resolution of data.

    Parameters
    ----------
    pt : float64[n]
        In GeV.
    eta : float64[n]
    resolution : float64[n]
        Relative resolution in simulation.
    factor : float64[n]
        Ratio of the resolutions of data and simulation.
    gauss : float64[n]
        Random numbers of mean 0 and width 1.
    generated : float64[n]
        pt of the matched generator jet in GeV; NaN: none.

    Returns
    -------
    float64[n]

    Notes
    -----
    The hybrid method: with a generator jet within three times the resolution, its distance is scaled, 1 + (s - 1)
    (pt - pt_gen) / pt; otherwise 1 + sqrt(max(s^2 - 1, 0)) r N(0, 1). The energy is at least 0.01 GeV. CMS, JINST 12
    (2017) P02014, section 8; ``SmearedJetProducerT`` in CMSSW.

    Examples
    --------
    >>> pt = np.array([100.0, 100.0])
    >>> smeared(pt, 0 * pt, 0 * pt + 0.1, 0 * pt + 1.25, 0 * pt + 1, np.array([90.0, np.nan])).tolist()
    [1.025, 1.075]
    """
    with np.errstate(invalid="ignore"):
        relative = (pt - generated) / pt
        matched = (generated > 0) & (np.abs(relative) < 3 * resolution)
    stochastic = 1 + np.sqrt(np.maximum(factor**2 - 1, 0)) * resolution * gauss
    made = np.where(matched, 1 + (factor - 1) * relative, stochastic)
    return np.asarray(np.maximum(made, MIN_ENERGY / np.cosh(eta) / pt))


def evaluated(
    correction: Any, values: Mapping[str, Any], size: int
) -> tuple[np.ndarray[Any, np.dtype[np.float64]], dict[int, str]]:
    """The values of a correction; NaN outside of its range.

    Parameters
    ----------
    correction : correctionlib.highlevel.Correction or CompoundCorrection
    values : mapping of str to (float64[size] or str)
        Input -> values.
    size : int

    Returns
    -------
    values : float64[size]
    outside : dict of int to str
        Entry outside -> what correctionlib says of it.
    """
    kinds = {"int": np.int64, "real": np.float64}
    arguments = [
        values[item.name] if item.type == "string" else np.asarray(values[item.name]).astype(kinds[item.type])
        for item in correction.inputs
    ]
    result = np.full(size, np.nan)
    outside: dict[int, str] = {}

    def fill(start: int, stop: int) -> None:
        if start == stop:
            return
        try:
            part = [item if isinstance(item, str) else item[start:stop] for item in arguments]
            result[start:stop] = correction.evaluate(*part)
        except (IndexError, RuntimeError, ValueError) as error:
            if stop - start == 1:
                outside[start] = reason_of(error)
                return
            middle = (start + stop) // 2
            fill(start, middle)
            fill(middle, stop)

    fill(0, size)
    return result, outside


@dataclass
class _Jets:
    """The jets of one collection with the corrections of its data set.

    Parameters
    ----------
    collection : str
    records : jagged record array
    counts : int64[events]
    corrections : JetCorrections
    dataset : str
    data : bool
    """

    collection: str
    records: Any
    counts: Any
    events: Any
    corrections: JetCorrections
    dataset: str
    data: bool

    def __post_init__(self) -> None:
        self.pt = self.column("pt")
        self.eta = self.column("eta")
        self.index = np.arange(len(self.pt)) - np.repeat(np.cumsum(self.counts) - self.counts, self.counts)
        self.outside = np.zeros(len(self.pt), dtype=bool)
        self.factors: dict[EnergyShift | None, Any] = {}
        scale = np.ones(len(self.pt))
        corrections = self.corrections
        if corrections.level is not None:
            raw = 1.0 - self.column(corrections.raw_factor)
            correction = corrections.scale(self.dataset, data=self.data)
            scale = raw * self.value(correction, corrections.level, self.pt * raw)
        smears = {0: np.ones(len(self.pt))}
        if corrections.resolution is not None and not self.data:
            smears = self._smears(self.pt * scale)
        #: jets outside keep their energy
        self.kept = self.outside.copy()
        self.scale = np.where(self.kept, 1.0, scale)
        self.smears = {sign: np.where(self.kept, 1.0, values) for sign, values in smears.items()}

    def column(self, name: str) -> Any:
        if name not in self.records.fields:
            raise UnknownName("column", name, self.records.fields, self.collection)
        return np.asarray(ak.to_numpy(ak.flatten(self.records[name], axis=1)), dtype=np.float64)

    def of_event(self, name: str) -> Any:
        """A column of the jets, or of the events for each jet."""
        if name in self.records.fields:
            return self.column(name)
        values = find(self.events, name)
        if values is ABSENT:
            raise UnknownName("column", name, [*self.records.fields, *self.events.fields], self.collection)
        return np.repeat(np.asarray(ak.to_numpy(values)), self.counts)

    def inputs(self, correction: Any, pt: Any, systematic: str) -> dict[str, Any]:
        """The values of the inputs of a correction."""
        made: dict[str, Any] = {}
        for item in correction.inputs:
            name = item.name
            if name in self.corrections.inputs:
                expression = self.corrections.inputs[name]
                value = expression.evaluate({column: self.of_event(column) for column in expression.names})
                made[name] = np.broadcast_to(np.asarray(value), (len(pt),))
            elif name == PT:
                made[name] = pt
            elif name == SYSTEMATIC:
                made[name] = systematic
            else:
                of = [key for key in INPUTS[name] if key in self.records.fields or find(self.events, key) is not ABSENT]
                made[name] = self.of_event(of[0] if of else INPUTS[name][0])
        return made

    def value(self, correction: Any, name: str, pt: Any, systematic: str = "") -> Any:
        """A correction of all jets; NaN for jets outside of its range, if they are kept.

        Raises
        ------
        InvalidValues
            If jets are outside of its range, and this is refused.
        """
        inputs = self.inputs(correction, pt, systematic)
        result, outside = evaluated(correction, inputs, len(pt))
        if outside and self.corrections.outside == "refuse":
            first, why = next(iter(outside.items()))
            jet = ", ".join(
                f"{key} = {value if isinstance(value, str) else f'{value[first]:g}'}" for key, value in inputs.items()
            )
            number = np.repeat(np.asarray(ak.to_numpy(self.events["event"])), self.counts)[first]
            raise InvalidValues(
                f"{len(outside)} of {len(pt)} jets of {self.collection} are outside of the range of {name!r}, the "
                f"first in event {number} ({jet}): {why}; with 'outside: keep' such jets keep their energy"
            )
        self.outside |= np.isnan(result)
        return result

    def _smears(self, pt: Any) -> dict[int, Any]:
        """Sign of the shift of the resolution -> factors on scaled momenta."""
        corrections = self.corrections
        resolution = self.value(corrections.smearing("PtResolution"), "PtResolution", pt)
        of_event = np.repeat(np.asarray(ak.to_numpy(self.events["event"])), self.counts)
        gauss = normals(of_event, self.index, f"resolution of {self.collection}")
        generated = self._generated()
        scale_factor = corrections.smearing("ScaleFactor")
        made = {}
        for sign, systematic in _SYSTEMATICS.items():
            factor = self.value(scale_factor, "ScaleFactor", pt, systematic)
            made[sign] = smeared(pt, self.eta, resolution, factor, gauss, generated)
        return made

    def _generated(self) -> Any:
        """pt of the matched generator jets; NaN where there is none."""
        of = self.corrections.link(self.collection)
        if of is None:
            return np.full(len(self.pt), np.nan)
        name, link, distance = of
        if link not in self.records.fields:
            raise UnknownName("column", link, self.records.fields, f"{self.collection}, for the resolution")
        if name not in self.events.fields:
            raise UnknownName("collection", name, self.events.fields, f"the resolution of {self.collection}")
        index = self.records[link]
        jets = self.events[name]
        good = (index >= 0) & (index < ak.num(jets["pt"], axis=1))
        pt, eta, phi = (
            np.asarray(
                ak.to_numpy(ak.fill_none(ak.flatten(jets[key][ak.mask(index, good)], axis=1), np.nan)), dtype=np.float64
            )
            for key in ("pt", "eta", "phi")
        )
        with np.errstate(invalid="ignore"):
            return np.where(delta_r(self.eta, self.column("phi"), eta, phi) < distance, pt, np.nan)

    def factor(self, shift: EnergyShift | None) -> Any:
        """Factors on the energies in the file."""
        if shift not in self.factors:
            self.factors[shift] = self._factor(shift)
        return self.factors[shift]

    def _factor(self, shift: EnergyShift | None) -> Any:
        if self.data or shift is None or shift.kind == "unclustered":
            return self.scale * self.smears[0]
        if shift.kind == "jer":
            return self.scale * self.smears.get(shift.sign, self.smears[0])
        nominal = self.scale * self.smears[0]
        if shift.source not in self.corrections.uncertainties:
            return nominal
        correction = self.corrections.uncertainty(shift.source)
        size = self.value(correction, shift.source, self.pt * nominal)
        return nominal * (1.0 + shift.sign * np.where(np.isnan(size) | self.kept, 0.0, size))

    def columns(self, shift: EnergyShift | None) -> dict[str, Any]:
        """The columns that change, flat, in the type of the file."""
        factor = self.factor(shift)
        made = {}
        for name in dict.fromkeys(("pt", *self.corrections.masses)):
            if name not in self.records.fields:
                raise UnknownName("column", name, self.records.fields, self.collection)
            values = np.asarray(ak.to_numpy(ak.flatten(self.records[name], axis=1)))
            made[name] = (values * factor).astype(values.dtype if values.dtype.kind == "f" else np.float64)
        return made


class CorrectedEvents(Brief):
    """The collections of a chunk with corrected energies.

    Parameters
    ----------
    energy : JetEnergy
    events : NanoEvents
    dataset : str
    sample : Sample
        For its era, and whether it is data.
    """

    def __init__(self, energy: JetEnergy, events: Any, dataset: str, sample: Any) -> None:
        self.energy = energy
        self.events = events
        self._jets: dict[str, _Jets] = {}
        for collection in energy.jets:
            records = events[collection]
            counts = ak.to_numpy(ak.num(records["pt"], axis=1)).astype(np.int64)
            corrections = energy.of(collection, sample.era)
            self._jets[collection] = _Jets(collection, records, counts, events, corrections, dataset, sample.data)

    def columns(self, collection: str, shift: EnergyShift | None) -> dict[str, Any]:
        """The columns of the jets of a collection that change.

        Parameters
        ----------
        collection : str
        shift : EnergyShift, optional
            None: nominal.

        Returns
        -------
        dict of str to jagged float array
            Empty for a collection without corrections.
        """
        if collection not in self._jets:
            return {}
        jets = self._jets[collection]
        return {name: ak.unflatten(values, jets.counts) for name, values in jets.columns(shift).items()}

    def collections(self, shift: EnergyShift | None) -> dict[str, Any]:
        """All collections that change, with the missing transverse momentum.

        Parameters
        ----------
        shift : EnergyShift, optional

        Returns
        -------
        dict of str to record array
        """
        made = {
            name: with_list_fields(
                jets.records, jets.counts, {key: ak.to_layout(column) for key, column in jets.columns(shift).items()}
            )
            for name, jets in self._jets.items()
        }
        if self.energy.met is not None:
            made[self.energy.met.collection] = self._met(shift)
        return made

    def _met(self, shift: EnergyShift | None) -> Any:
        """The missing transverse momentum, less the change of the momenta of the jets."""
        met = self.energy.met
        assert met is not None
        if met.collection not in self.events.fields:
            raise UnknownName("collection", met.collection, self.events.fields, "the missing transverse momentum")
        records = self.events[met.collection]
        jets = self._jets[met.jets]
        flat = {name: jets.column(name) for name in met.selection.names if name in jets.records.fields}
        flat |= {name: values.astype(np.float64) for name, values in jets.columns(None).items()}
        counted = np.broadcast_to(np.asarray(met.selection.evaluate(flat)), (len(jets.pt),))
        change = np.where(counted, jets.pt * (jets.factor(shift) - 1.0), 0.0)
        phi, of_event = jets.column("phi"), np.repeat(np.arange(len(jets.counts)), jets.counts)
        x, y = _vector(records["pt"], records["phi"])
        x -= np.bincount(of_event, change * np.cos(phi), len(jets.counts))
        y -= np.bincount(of_event, change * np.sin(phi), len(jets.counts))
        if shift is not None and shift.kind == "unclustered" and not jets.data:
            dx, dy = self._unclustered(records, shift.sign)
            x, y = x + dx, y + dy
        kind = np.asarray(ak.to_numpy(records["pt"])).dtype
        return with_fields(
            records,
            {
                "pt": ak.to_layout(np.hypot(x, y).astype(kind)),
                "phi": ak.to_layout(np.arctan2(y, x).astype(kind)),
            },
        )

    def _unclustered(self, records: Any, sign: int) -> tuple[Any, Any]:
        """The change by the energy beside the jets: as a vector, or as the changed momentum."""
        vector, varied = UNCLUSTERED
        if set(vector).issubset(records.fields):
            dx, dy = (np.asarray(ak.to_numpy(records[name]), dtype=np.float64) for name in vector)
            return sign * dx, sign * dy
        missing = [name for name in varied if name not in records.fields]
        if missing:
            raise UnknownName("column", missing, records.fields, "the variation of the energy beside the jets")
        x, y = _vector(records["pt"], records["phi"])
        side = {1: "Up", -1: "Down"}[sign]
        other_x, other_y = _vector(records[f"ptUnclustered{side}"], records[f"phiUnclustered{side}"])
        return other_x - x, other_y - y

    def outside(self) -> dict[str, int]:
        """Collection -> number of jets outside of the range of a correction that was used."""
        return {name: int(jets.outside.sum()) for name, jets in self._jets.items()}


def outside_notes(counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Jets that keep their energy, as they are outside of the range of a correction.

    Parameters
    ----------
    counts : mapping
        Data set -> collection -> number of jets.

    Returns
    -------
    list of str

    Examples
    --------
    >>> outside_notes({"tt": {"Jet": 3, "FatJet": 0}})
    ["dataset 'tt': 3 of Jet are outside of the range of a correction of the energy and keep theirs"]
    """
    return [
        f"dataset {dataset!r}: {number} of {collection} are outside of the range of a correction of the energy and "
        "keep theirs"
        for dataset, collections in counts.items()
        for collection, number in collections.items()
        if number
    ]


def _vector(pt: Any, phi: Any) -> tuple[Any, Any]:
    momentum, angle = (np.asarray(ak.to_numpy(side), dtype=np.float64) for side in (pt, phi))
    return momentum * np.cos(angle), momentum * np.sin(angle)


guard(globals())
