"""Training skims for heads: tagger outputs, event columns and labels from generator particles, in a coffea job.

Labels are counts, so that classes are expressions (``FatJet_genResonance == 25 and FatJet_genGluons == 2``).

How jets are matched:

- A resonance is a generator particle with one of the numbers in ``resonances`` that has legs.
- Its legs are the quarks, gluons, photons, electrons, muons and taus that are daughters of its last copy, and those of
  the resonances that it decays to (of H -> WW the four fermions, of t -> bW the b and the fermions). No neutrinos.
- A jet belongs to a resonance when the resonance and at least one of its legs are within ``radius`` of the jet's axis.
  Of several, the one with most legs inside is taken, then one that comes from no other resonance, then the nearest.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
from coffea import processor
from jettagger.processors.tagging import in_order

import jettagger as jt
from jettagger.arguments import guard
from jettagger.cutlogic import CutWarning, warn_doubt
from jettagger.errors import MissingColumns, UnknownName
from jettagger.files.generated import read_sources
from jettagger.heads import JetTable

__all__ = ["LEGS", "FinetuneInputsProcessor", "generator_labels"]

IDENTITY = ("run", "luminosityBlock", "event", "genWeight")
KINEMATICS = ("pt", "eta", "phi", "mass", "msoftdrop")
DERIVED = ("metDeltaPhi", "nLeptonsNear")

#: column -> numbers of the particles that it counts
LEGS: dict[str, tuple[int, ...]] = {
    "genBottoms": (5,),
    "genCharms": (4,),
    "genLights": (1, 2, 3),
    "genGluons": (21,),
    "genPhotons": (22,),
    "genElectrons": (11,),
    "genMuons": (13,),
    "genTaus": (15,),
}

#: Higgs boson and heavier ones of its kind, W, Z, top
RESONANCES = (25, 35, 36, 37, 24, 23, 6)


def generator_labels(events: Any, resonances: Iterable[int] = RESONANCES, radius: float = 0.8) -> dict[str, ak.Array]:
    """What each fat jet comes from.

    Parameters
    ----------
    events : NanoEvents
        With ``FatJet`` (eta, phi) and ``GenPart`` (eta, phi, mass, pdgId, genPartIdxMother).
    resonances : iterable of int
        PDG numbers, without sign.
    radius : float
        How near resonance and legs are.

    Returns
    -------
    dict of str to awkward array
        Jagged like ``events.FatJet``: ``genResonance`` (PDG number without sign, 0 for none), ``genResonanceMass``
        (GeV, -1 for none), ``genLegs`` (legs of the resonance), ``genInside`` (those inside the jet), and
        for each of `LEGS` how many of this kind are inside.

    Raises
    ------
    MissingColumns
        If the events have no generator particles.
    """
    if "GenPart" not in events.fields:
        raise MissingColumns("labels from generator particles need the collection GenPart, which these events lack")
    counts = ak.to_numpy(ak.num(events.FatJet.eta))
    jets, parts = _Flat(events.FatJet, counts, ("eta", "phi")), _particles(events.GenPart)
    legs, owners = _legs(parts, np.asarray(list(resonances)))
    unique, owner_of = np.unique(owners, return_inverse=True)
    # every resonance with every jet of its event
    jet, resonance = _pairs(jets.event, parts.event[unique], len(counts))
    first = np.full((len(unique), 2), 0)
    by_resonance = np.argsort(resonance, kind="stable")
    first[:, 0] = np.searchsorted(resonance[by_resonance], np.arange(len(unique)), side="left")
    first[:, 1] = np.searchsorted(resonance[by_resonance], np.arange(len(unique)), side="right")
    # every leg with every pair of its resonance
    repeats = first[owner_of, 1] - first[owner_of, 0]
    leg = np.repeat(legs, repeats)
    start = np.repeat(first[owner_of, 0] - np.cumsum(repeats) + repeats, repeats)
    pair = by_resonance[start + np.arange(len(leg))]
    near = _distance(jets, jet[pair], parts, leg) < radius
    inside = np.bincount(pair[near], minlength=len(jet))
    distance = _distance(jets, jet, parts, unique[resonance])
    good = np.flatnonzero((distance < radius) & (inside > 0))
    above = _resonance_above(parts, unique, np.asarray(list(resonances)))
    order = good[np.lexsort((distance[good], above[resonance[good]], -inside[good], jet[good]))]
    found, position = np.unique(jet[order], return_index=True)
    chosen = order[position]
    columns = {
        name: np.zeros(len(jets.event), dtype=np.int32) for name in ("genResonance", "genLegs", "genInside", *LEGS)
    }
    mass = np.full(len(jets.event), -1, dtype=np.float32)
    columns["genResonance"][found] = np.abs(parts.number[unique[resonance[chosen]]])
    columns["genLegs"][found] = np.bincount(owner_of, minlength=len(unique))[resonance[chosen]]
    columns["genInside"][found] = inside[chosen]
    mass[found] = parts.mass[unique[resonance[chosen]]]
    for name, numbers in LEGS.items():
        mine = near & np.isin(np.abs(parts.number[leg]), numbers)
        columns[name][found] = np.bincount(pair[mine], minlength=len(jet))[chosen]
    everything = {"genResonance": columns.pop("genResonance"), "genResonanceMass": mass, **columns}
    return {name: ak.unflatten(values, counts) for name, values in everything.items()}


class _Flat:
    """Columns of a collection, event after event."""

    def __init__(self, collection: Any, counts: Any, names: Iterable[str]) -> None:
        self.event = np.repeat(np.arange(len(counts)), counts)
        for name in names:
            setattr(self, name, ak.to_numpy(ak.flatten(collection[name])))

    eta: Any
    phi: Any
    mass: Any
    number: Any
    mother: Any


def _particles(collection: Any) -> _Flat:
    counts = ak.to_numpy(ak.num(collection.eta))
    flat = _Flat(collection, counts, ("eta", "phi", "mass"))
    flat.number = ak.to_numpy(ak.flatten(collection.pdgId)).astype(np.int64)
    local = ak.to_numpy(ak.flatten(collection.genPartIdxMother)).astype(np.int64)
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    flat.mother = np.where(local >= 0, local + starts, -1)
    return flat


def _legs(parts: _Flat, numbers: Any) -> tuple[Any, Any]:
    """Legs, each with every resonance that it comes from."""
    kind = np.abs(parts.number)
    resonant = np.isin(kind, numbers)
    copied = np.zeros(len(kind), dtype=bool)
    same = np.flatnonzero((parts.mother >= 0) & (parts.number == parts.number[parts.mother]))
    copied[parts.mother[same]] = True
    known = np.isin(kind, [number for group in LEGS.values() for number in group])
    direct = np.flatnonzero(known & (parts.mother >= 0))
    mother = parts.mother[direct]
    direct = direct[resonant[mother] & ~copied[mother]]
    legs, owners = [direct], [parts.mother[direct]]
    leg, here = direct, parts.mother[direct]
    while len(leg):
        up = parts.mother[here]
        going = (up >= 0) & resonant[up]
        leg, here, up = leg[going], here[going], up[going]
        other = parts.number[up] != parts.number[here]  # not a copy of the same
        legs.append(leg[other])
        owners.append(up[other])
        here = up
    return np.concatenate(legs), np.concatenate(owners)


def _resonance_above(parts: _Flat, index: Any, numbers: Any) -> Any:
    """Whether a resonance comes from another one."""
    resonant = np.isin(np.abs(parts.number), numbers)
    found, here = np.zeros(len(index), dtype=bool), index.copy()
    going = np.arange(len(index))
    while len(going):
        up = parts.mother[here]
        alive = up >= 0
        going, here, up = going[alive], here[alive], up[alive]
        found[going[resonant[up] & (parts.number[up] != parts.number[here])]] = True
        here = up
    return found


def _pairs(first: Any, second: Any, events: int) -> tuple[Any, Any]:
    """All pairs of objects of the same event; both are sorted by event."""
    number = np.bincount(second, minlength=events)
    repeats = number[first]
    starts = np.repeat((np.cumsum(number) - number)[first] - np.cumsum(repeats) + repeats, repeats)
    return np.repeat(np.arange(len(first)), repeats), starts + np.arange(len(starts))


def _distance(jets: _Flat, jet: Any, parts: _Flat, part: Any) -> Any:
    dphi = (jets.phi[jet] - parts.phi[part] + np.pi) % (2 * np.pi) - np.pi
    return np.hypot(jets.eta[jet] - parts.eta[part], dphi)


class FinetuneInputsProcessor(processor.ProcessorABC):
    """Scores fat jets, labels them from generator particles, and writes training skims as parquet.

    Parameters
    ----------
    model : str
        Name of a model or its folder; it will be the parent of the heads.
    output : path
        A folder: each chunk is written to a file there.
    where : str or callable, optional
        A cut in columns of the fat jets (``"pt > 300"``), or a function from them to a jagged bool mask; only these
        jets are scored and can be used for training.
    columns : iterable of str
        Kinds and names of outputs.
    keep : iterable of str
        Patterns of further columns of the jets and the event by their flat names, e.g. ``"FatJet_tau*"``, ``"MET_*"``.
    labels : callable or None
        From the events to columns of the jets; default: `generator_labels`. None writes no labels.

    Examples
    --------
    >>> import tempfile
    >>> FinetuneInputsProcessor("tinyParT", tempfile.mkdtemp()).keep
    ('MET_pt', 'MET_phi')
    """

    def __init__(
        self,
        model: str,
        output: str | os.PathLike[str],
        where: str | Callable[[Any], Any] | None = None,
        columns: Iterable[str] = ("prob", "mass", "hidden"),
        keep: Iterable[str] = ("MET_pt", "MET_phi"),
        labels: Callable[[Any], dict[str, Any]] | None = generator_labels,
    ) -> None:
        self.tagger = jt.load_tagger(model)
        self.output = Path(output)
        warn_doubt(where)
        self.where = where
        self.columns = tuple(columns)
        self.keep = tuple(keep)
        self.labels = labels
        self.names = self.tagger.column_names(self.columns)

    def process(self, events: Any) -> dict[str, dict[str, Any]]:
        """Write one chunk.

        Parameters
        ----------
        events : NanoEvents

        Returns
        -------
        dict
            Dataset -> ``events`` and ``jets`` (counts) and ``chunks``: place in a file -> file written.

        Raises
        ------
        MissingColumns
            If there are no generator particles.
        UnknownName
            If a pattern to keep matches no column.
        """
        where = self.where(events.FatJet) if callable(self.where) else self.where
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CutWarning)  # it was said when the processor was made
            tagged = self.tagger.attach(events, where=where, columns=self.columns)
        fatjets = tagged.FatJet
        content = {name: _plain(events[name]) for name in IDENTITY if name in events.fields}
        for name in [*KINEMATICS, *self.names.values()]:
            if name in fatjets.fields:
                content[f"FatJet_{name}"] = _plain(fatjets[name])
        table = JetTable(events)
        for name in DERIVED:
            if table.has(f"FatJet_{name}"):
                values = table.values(f"FatJet_{name}").astype(np.float32)
                content[f"FatJet_{name}"] = ak.unflatten(values, table.counts)
        content |= self._kept(events, table.names)
        for name, values in (self.labels(events) if self.labels is not None else {}).items():
            content[f"FatJet_{name}"] = values
        place = events.metadata
        key = (str(place["filename"]), int(place["entrystart"]))
        self.output.mkdir(parents=True, exist_ok=True)
        path = self.output / f"{place['dataset']}-{place['fileuuid']}-{place['entrystart']:012d}.parquet"
        bundle = self.tagger.bundle
        tree = place.get("treename", "Events")
        sources = read_sources(place["filename"], tree, place["entrystart"], place["entrystop"])
        record = {
            "model": bundle.name,
            "digest": bundle.digest,
            "columns": dict(self.names),
            "files": [key[0]],
            "generated": [source.to_dict() for source in sources],
        }
        jt.write_skim(path, [content], json.dumps(record), force=True, inputs=[key[0]])
        return {place["dataset"]: {"events": len(events), "jets": table.n_jets, "chunks": {key: [str(path)]}}}

    def _kept(self, events: Any, names: list[str]) -> dict[str, ak.Array]:
        found = {}
        for pattern in self.keep:
            matching = [name for name in names if fnmatchcase(name, pattern)]
            if not matching:
                raise UnknownName("column to keep", pattern, names, "these events")
            for name in matching:
                collection, _, field = name.partition("_")
                array = events[name] if name in events.fields else events[collection, field]
                if collection == "FatJet" or array.ndim == 1:
                    found[name] = _plain(array)
        return found

    def postprocess(self, accumulator: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Put the files into the order of the events, whatever order the workers had.

        Parameters
        ----------
        accumulator : dict

        Returns
        -------
        dict
            Dataset -> ``events``, ``jets`` and ``files`` (list of str).

        Raises
        ------
        MismatchError
            If a file was read twice.
        """
        for result in accumulator.values():
            result["files"] = in_order(result.pop("chunks"))
        return accumulator


def _plain(array: Any) -> ak.Array:
    """The values alone: in memory, without the behaviours and attributes that belong to the file."""
    layout = ak.to_layout(ak.to_packed(ak.materialize(array)))
    return ak.Array(ak.without_parameters(layout, highlevel=False))


guard(globals(), "FinetuneInputsProcessor")
