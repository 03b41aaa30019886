"""Delphes: fat jets of a collection with their particle-flow candidates, as a flat table in JetClass-II format.

Constituents are found through their references (``TRefArray``), whose numbers are the ``fUniqueID`` of candidates.
These are in one collection or, with other cards, in those of tracks, photons and neutral hadrons; towers of the latter
two have neither mass nor track.
Candidates with ``|pz|`` above 10 TeV, ``|eta|`` above 5 or without transverse momentum are dropped, the others are
sorted by transverse momentum. Non-zero longitudinal impact parameters are relative to the first vertex, which is the
primary one. Momenta are in GeV, impact parameters in mm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np

from jettagger.display import Brief, briefly
from jettagger.errors import InputFileError, MismatchError, UnknownName
from jettagger.features.cms import eta_sign
from jettagger.formats.columns import EventColumns, not_none
from jettagger.formats.loading import MIN_PT_SHARE
from jettagger.formats.naming import radius_of
from jettagger.kinematics import delta_phi, energy, px, py, pz
from jettagger.types import Array

__all__ = [
    "CANDIDATES",
    "DEFAULT_JETS",
    "JET_FIELDS",
    "NUMBER",
    "DelphesContent",
    "DelphesJets",
    "delphes_content",
    "fourmass",
    "is_delphes",
    "jet_collections",
    "link",
]

#: collections of constituents
CANDIDATES = ("ParticleFlowCandidate", "EFlowTrack", "EFlowPhoton", "EFlowNeutralHadron")
VERTICES = "Vertex"
DEFAULT_JETS = "JetPUPPIAK8"
#: the event number
NUMBER = "Event.Number"

#: selection of constituents, as in the n-tuplizer of JetClass-II
MAX_PZ = 1e4
MAX_ETA = 5.0

#: fields of jets that are read
JET_FIELDS = ("PT", "Eta", "Phi", "Mass", "Tau", "SoftDroppedP4", "Constituents")

_CANDIDATE_FIELDS = ("fUniqueID", "PT", "Eta", "Phi", "Mass", "Charge", "PID", "D0", "ErrorD0", "DZ", "ErrorDZ")

#: columns that towers do not have; 0 is the PID of neutral hadrons in Delphes
_TOWER = {"Mass": 0.0, "Charge": 0, "D0": 0.0, "ErrorD0": 0.0, "DZ": 0.0, "ErrorDZ": 0.0}
_CONSTANT: Mapping[str, Mapping[str, float]] = {
    "EFlowPhoton": {**_TOWER, "PID": 22},
    "EFlowNeutralHadron": {**_TOWER, "PID": 0},
}
#: collection -> its name in another collection
_STORED: Mapping[str, Mapping[str, str]] = {"EFlowPhoton": {"PT": "ET"}, "EFlowNeutralHadron": {"PT": "ET"}}


def is_delphes(fields: Sequence[str]) -> bool:
    """Whether collections are those of Delphes.

    Parameters
    ----------
    fields : sequence of str

    Returns
    -------
    bool

    Examples
    --------
    >>> is_delphes(["Event", "Particle", "JetPUPPIAK8"]), is_delphes(["FatJet", "PFCands"])
    (True, False)
    """
    return not set(CANDIDATES).isdisjoint(fields) or {"Event", "Particle"} <= set(fields)


class Collections(Protocol):
    """The available collections and fields of an input: events or an open file."""

    @property
    def collections(self) -> list[str]:
        """Names of the collections."""

    def fields(self, collection: str) -> list[str]:
        """Fields of a collection, empty if it does not exist."""


def jet_collections(offer: Collections) -> list[str]:
    """Collections of jets with constituents.

    Parameters
    ----------
    offer : EventColumns or open file

    Returns
    -------
    list of str
    """
    return [name for name in offer.collections if {"PT", "Constituents"} <= set(offer.fields(name))]


def _stored_fields(collection: str) -> list[str]:
    """Required fields of a collection of candidates."""
    constant, stored = _CONSTANT.get(collection, {}), _STORED.get(collection, {})
    return [stored.get(name, name) for name in _CANDIDATE_FIELDS if name not in constant]


def _lacking(offer: Collections, collection: str) -> list[str]:
    """The missing ones of these."""
    if collection not in offer.collections:
        return [collection]
    fields = offer.fields(collection)
    return [f"{collection}.{name}" for name in _stored_fields(collection) if name not in fields]


@briefly
class DelphesContent(NamedTuple):
    """The content of Delphes events for a collection of jets.

    Parameters
    ----------
    collection : str
    sources : tuple of str
        Collections of its constituents.
    fields : tuple of str
        Available columns in JetClass-II's names.
    columns : tuple of str
        Stored columns ``"Collection.field"`` from which they are computed.
    """

    collection: str
    sources: tuple[str, ...]
    fields: tuple[str, ...]
    columns: tuple[str, ...]


def delphes_content(offer: Collections, collection: str | None = None) -> DelphesContent:
    """The collection of jets and its available columns; nothing is read.

    Parameters
    ----------
    offer : EventColumns or open file
    collection : str, optional
        Default: ``JetPUPPIAK8``, or the only collection of jets with constituents.

    Returns
    -------
    DelphesContent

    Raises
    ------
    InputFileError
        If the collection does not exist, or there are no candidates; lists the available ones.
    """
    here = jet_collections(offer)
    if collection is None:
        collection = here[0] if len(here) == 1 else DEFAULT_JETS
    if collection not in here:
        raise InputFileError(
            f"no jets {collection!r} with constituents; collections of jets: {', '.join(here) or 'none'}; all "
            f"collections: {', '.join(sorted(offer.collections))}"
        )
    lacking = {name: _lacking(offer, name) for name in CANDIDATES}
    sources = tuple(name for name, missing in lacking.items() if not missing)
    if not sources:
        near = min(lacking.values(), key=lambda missing: missing[0] in CANDIDATES)
        raise InputFileError(
            f"no candidates: {', '.join(near)} missing; collections: {', '.join(sorted(offer.collections))}. "
            f"Constituents are read from a Delphes card that writes {' or '.join(CANDIDATES)}"
        )
    of_jets = offer.fields(collection)
    fields = [*_PARTS, *_JETS, "jet_nparticles"]
    fields += ["jet_sdmass"] if "SoftDroppedP4" in of_jets else []
    fields += [f"jet_tau{number}" for number in range(1, 5)] if "Tau" in of_jets else []
    columns = [f"{collection}.{name}" for name in JET_FIELDS if name in of_jets]
    columns += [f"{name}.{field}" for name in sources for field in _stored_fields(name)]
    columns += [f"{VERTICES}.Z"] if "Z" in offer.fields(VERTICES) else []
    columns += [NUMBER] if "Number" in offer.fields("Event") else []
    return DelphesContent(collection, sources, tuple(fields), tuple(columns))


def link(event: Array, refs: Array, target_event: Array, unique: Array) -> Array:
    """The targets of references.

    Parameters
    ----------
    event, refs : int64[references]
        Event and number of each reference.
    target_event, unique : int64[objects]
        Event and ``fUniqueID`` of each object; 0 means that nothing refers to it.

    Returns
    -------
    int64[references]
        Index of the object, -1 if there is none in the event.

    Examples
    --------
    >>> zero = np.zeros(3, dtype=int)
    >>> link(zero, np.array([7, 5, 9]), zero[:2], np.array([5, 7])).tolist()
    [1, 0, -1]
    """
    keys = target_event.astype(np.int64) << 32 | unique.astype(np.int64)
    order = np.argsort(keys, kind="stable")
    wanted = event.astype(np.int64) << 32 | refs.astype(np.int64)
    place = np.searchsorted(keys[order], wanted)
    found = order[np.minimum(place, len(order) - 1)] if len(order) else np.zeros(len(wanted), dtype=np.int64)
    known = np.zeros(len(wanted), dtype=bool) if not len(order) else (keys[found] == wanted) & (refs != 0)
    return np.where(known, found, -1)


def fourmass(p4: Any) -> Any:
    """The mass of ROOT's four-vectors in GeV; negative if they are spacelike, as in ROOT."""
    square = p4.fE**2 - p4.fP.fX**2 - p4.fP.fY**2 - p4.fP.fZ**2
    return np.sign(square) * np.sqrt(np.abs(square))


class DelphesJets(Brief):
    """The jets of a collection as a flat table.

    Parameters
    ----------
    events : awkward array
        As read by `jettagger.files.delphes.DelphesFile`.
    collection : str, optional
        Default: ``JetPUPPIAK8``, or the only collection of jets with constituents.

    Raises
    ------
    InputFileError
        If the collection does not exist, or there are no candidates; lists the available ones.
    """

    def __init__(self, events: Any, collection: str | None = None) -> None:
        import awkward as ak

        content = delphes_content(EventColumns(events), collection)
        collection, self._sources, self.fields = content.collection, content.sources, content.fields
        self.title = f"Delphes, jets {collection}"
        self.collection = collection
        self.valid = not_none(ak.to_layout(events))
        self.events = events if self.valid.all() else ak.drop_none(events, axis=0)
        self._jets = self.events[collection]
        self._stored = content.columns
        self._moved: dict[str, Array] = {}
        self._sorted: tuple[Array, Array, Array] | None = None
        self._lost = np.zeros(0, dtype=np.int64)
        self.radius = radius_of(collection)

    def __len__(self) -> int:
        return int(self.counts.sum())

    @cached_property
    def counts(self) -> Array:
        """Number of jets of each event, int64[events]; 0 for events that are None."""
        import awkward as ak

        found = np.zeros(len(self.valid), dtype=np.int64)
        found[self.valid] = ak.to_numpy(ak.num(self._jets.PT, axis=1))
        return found

    @property
    def present(self) -> Array:
        """All true: no jet is None, bool[jets]."""
        return np.ones(len(self), dtype=bool)

    @cached_property
    def event(self) -> Array:
        """The index of each jet's event among those that are not None, int64[jets]."""
        return np.repeat(np.arange(len(self.events)), self.counts[self.valid])

    def jet(self, field: str) -> Array:
        """A jet-level variable, after a variation if there is one, float64[jets]."""
        return self._moved[field] if field in self._moved else self._as_stored(field)

    def _as_stored(self, field: str) -> Array:
        import awkward as ak

        return ak.to_numpy(ak.flatten(self._jets[field], axis=1)).astype(np.float64)

    def _candidate(self, field: str) -> Array:
        """A field of all candidates, concatenated over the collections."""
        import awkward as ak

        found = []
        for name in self._sources:
            source = self.events[name]
            if field in _CONSTANT.get(name, {}):
                kind = np.int32 if field in ("Charge", "PID") else np.float32
                number = int(ak.count(source.fUniqueID))
                found.append(np.full(number, _CONSTANT[name][field], dtype=kind))
            else:
                found.append(ak.to_numpy(ak.flatten(source[_STORED.get(name, {}).get(field, field)], axis=1)))
        return np.concatenate(found)

    @property
    def dangling(self) -> int:
        """Number of references to constituents that do not exist."""
        self._rows()
        return int(self._lost.sum())

    def partial(self, min_pt_share: float | None = None) -> Array:
        """Mask of jets with missing constituents.

        Parameters
        ----------
        min_pt_share : float or None
            Minimum fraction of the transverse momentum that the vector sum of the constituents must carry; None: 0.8,
            and no dangling references.

        Returns
        -------
        bool[jets]
        """
        row, jet, counts = self._rows()
        pt, phi = (self._candidate(name).astype(np.float64)[row] for name in ("PT", "Phi"))
        sums = (np.bincount(jet, weights=pt * part(phi), minlength=len(self)) for part in (np.cos, np.sin))
        least = MIN_PT_SHARE if min_pt_share is None else min_pt_share
        found = (np.hypot(*sums) < least * self._as_stored("PT")) & (counts > 0)
        return found | ((self._lost > 0) & ((counts == 0) | (min_pt_share is None)))

    def _rows(self) -> tuple[Array, Array, Array]:
        """Candidate and jet of each constituent, sorted; number of constituents of each jet."""
        import awkward as ak

        if self._sorted is None:
            references = ak.flatten(self._jets.Constituents, axis=1)
            references = references.refs if "refs" in references.fields else references
            numbers = ak.to_numpy(ak.num(references, axis=1)).astype(np.int64)
            jet = np.repeat(np.arange(len(self)), numbers)
            refs = ak.to_numpy(ak.flatten(references, axis=1)).astype(np.int64)
            places = np.arange(len(self.events))
            sizes = [ak.to_numpy(ak.num(self.events[name, "fUniqueID"], axis=1)) for name in self._sources]
            owner = np.concatenate([np.repeat(places, size) for size in sizes])
            row = link(self.event[jet], refs, owner, self._candidate("fUniqueID"))
            self._lost = np.bincount(jet[row < 0], minlength=len(self)).astype(np.int64)
            jet, row = jet[row >= 0], row[row >= 0]
            pt, eta = (self._candidate(name).astype(np.float64)[row] for name in ("PT", "Eta"))
            with np.errstate(over="ignore", invalid="ignore"):
                good = (pt > 0) & (np.abs(eta) <= MAX_ETA) & (np.abs(pz(pt, eta)) <= MAX_PZ)
            jet, row, pt = jet[good], row[good], pt[good]
            order = np.lexsort((-pt, jet))
            self._sorted = row[order], jet[order], np.bincount(jet, minlength=len(self)).astype(np.int64)
        return self._sorted

    def column(self, name: str, rows: Array | None = None) -> Any:
        """A column in the shape and type of JetClass-II, one entry per jet, of all or of those at ``rows``, int[n]."""
        import awkward as ak

        if name in _PARTS:
            row, jet, counts = self._rows() if rows is None else self._rows_of(rows)
            needs, kind = _PARTS[name]
            values = [self._value(need, row, jet) for need in needs]
            return ak.unflatten(_FUNCTIONS.get(name, _same)(*values).astype(kind), counts)
        column = ak.Array(self._number(name))
        return column if rows is None else column[rows]

    def _rows_of(self, rows: Array) -> tuple[Array, Array, Array]:
        """Like `_rows`, for some jets."""
        row, jet, counts = self._rows()
        wanted = np.zeros(len(self), dtype=bool)
        wanted[rows] = True
        taken = wanted[jet]
        return row[taken], jet[taken], counts[rows]

    def _number(self, name: str) -> Array:
        """A jet-level column."""
        import awkward as ak

        if name in self._moved:
            return self._moved[name].astype(np.float32)
        if name in _JETS:
            return _JETS[name](*(self.jet(field) for field in ("PT", "Eta", "Phi", "Mass"))).astype(np.float32)
        if name == "jet_nparticles":
            return self._rows()[2].astype(np.int32)
        if name == "jet_sdmass":
            return ak.to_numpy(fourmass(ak.flatten(self._jets.SoftDroppedP4, axis=1)[:, 0])).astype(np.float32)
        number = int(name.removeprefix("jet_tau"))
        return ak.to_numpy(ak.flatten(self._jets.Tau, axis=1)[:, number - 1]).astype(np.float32)

    def lengths(self, names: Iterable[str]) -> Array:
        """Total number of values per jet in the lists of these columns, int64[jets]."""
        return self._rows()[2] * sum(name in _PARTS for name in names)

    def stored(self, names: Iterable[str]) -> Iterator[tuple[str, Any]]:
        """The stored columns from which these are computed, and variations."""
        for column in self._stored:
            collection, _, field = column.partition(".")
            yield column, self.events[collection, field]
        yield from self._moved.items()

    def moved(self, kinematics: Mapping[str, Any]) -> DelphesJets:
        """The same jets after a variation.

        Parameters
        ----------
        kinematics : mapping of str to jagged array
            ``pt``, ``eta``, ``phi`` or ``mass`` (GeV), or another column ``jet_...`` without ``jet_``, jagged like the
            collection. The stored momentum decides which jets are incomplete.

        Returns
        -------
        DelphesJets

        Raises
        ------
        MismatchError
            If a variation is not aligned with the jets.
        """
        import awkward as ak

        found = DelphesJets(self.events if self.valid.all() else _masked(self.events, self.valid), self.collection)
        found._sorted, found._lost = self._sorted, self._lost
        for key, values in kinematics.items():
            counts = ak.to_numpy(ak.fill_none(ak.num(values, axis=1), 0))
            if not np.array_equal(counts, self.counts):
                raise MismatchError(f"the kinematics {key!r} are not aligned with events.{self.collection}")
            flat = ak.fill_none(ak.flatten(values, axis=1), np.nan)
            found._moved[_MOVED.get(key, f"jet_{key}")] = np.asarray(ak.to_numpy(flat), dtype=np.float64)
        return found

    def has(self, column: str) -> bool:
        """Whether a jet-level or event-level variable exists, by its name in a skim; nothing is read."""
        return column == "event" or self._of_jets(column) in (*_JETS, *self.fields)

    def _of_jets(self, name: str) -> str:
        return f"jet_{name.removeprefix(f'{self.collection}_')}" if name.startswith(f"{self.collection}_") else ""

    def values(self, name: str) -> Array:
        """A jet-level or event-level variable, by its name in a skim; one entry per jet.

        Raises
        ------
        UnknownName
            If the variable does not exist.
        """
        import awkward as ak

        if name == "event" and NUMBER in self._stored:
            return ak.to_numpy(ak.fill_none(ak.firsts(self.events.Event.Number), -1))[self.event]
        column = self._of_jets(name)
        if column in _PARTS or column not in self.fields:
            known = [f"{self.collection}_{item[4:]}" for item in self.fields if item not in _PARTS]
            raise UnknownName("column", name, [*known, "event"], self.title)
        return self._number(column)

    def _value(self, need: str, row: Array, jet: Array) -> Array:
        if need.startswith("jet."):
            return self.jet(need[4:])[jet]
        if need == "vertex":
            return self._vertex()[self.event[jet]]
        values = self._candidate(need)[row]
        return values.astype(np.float64) if values.dtype.kind == "f" else values

    def _vertex(self) -> Array:
        """z of the primary vertex in mm, 0 if there is none, float64[events]."""
        import awkward as ak

        if VERTICES not in self.events.fields or "Z" not in self.events[VERTICES].fields:
            return np.zeros(len(self.events))
        return ak.to_numpy(ak.fill_none(ak.firsts(self.events[VERTICES, "Z"]), 0)).astype(np.float64)

    def mask(self, where: Any) -> Array:
        """A selection, jagged like the collection, as bool[jets].

        Raises
        ------
        MismatchError
            If it is not aligned with the jets.
        """
        import awkward as ak

        expected = f"a jagged bool array aligned with events.{self.collection} ({len(self.valid)} events)"
        try:
            counts = ak.to_numpy(ak.fill_none(ak.num(where, axis=1), 0))
            flags = ak.to_numpy(ak.fill_none(ak.flatten(where, axis=1), False))
        except (ValueError, TypeError) as error:
            raise MismatchError(f"where is {type(where).__name__}, expected {expected}") from error
        if len(counts) != len(self.counts) or (counts != self.counts).any() or (flags.dtype != np.bool_ and len(flags)):
            raise MismatchError(f"where has {len(flags)} entries in {len(counts)} events, expected {expected}")
        return flags.astype(bool)


#: key of a variation -> field of the jets
_MOVED = {"pt": "PT", "eta": "Eta", "phi": "Phi", "mass": "Mass"}


def _masked(events: Any, valid: Array) -> Any:
    """The array with None inserted for events that are None."""
    import awkward as ak

    places = np.where(valid, np.cumsum(valid) - 1, -1).astype(np.int64)
    return ak.Array(ak.contents.IndexedOptionArray(ak.index.Index64(places), ak.to_layout(events)))


def _same(values: Array) -> Array:
    return values


def _code(code: int) -> Callable[[Array], Array]:
    return lambda pid: np.abs(pid) == code


def _energy(pt: Array, eta: Array, phi: Array, mass: Array) -> Array:
    return energy(pt, eta, mass)


_MOMENTUM = ("PT", "Eta", "Phi", "Mass")

#: column -> columns from which it is computed (of the candidate, ``jet.`` of the jet, ``vertex``), type
_PARTS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "part_px": (("PT", "Phi"), "float32"),
    "part_py": (("PT", "Phi"), "float32"),
    "part_pz": (("PT", "Eta"), "float32"),
    "part_energy": (_MOMENTUM, "float32"),
    "part_deta": (("Eta", "jet.Eta"), "float32"),
    "part_dphi": (("Phi", "jet.Phi"), "float32"),
    "part_d0val": (("D0",), "float32"),
    "part_d0err": (("ErrorD0",), "float32"),
    "part_dzval": (("DZ", "vertex"), "float32"),
    "part_dzerr": (("ErrorDZ",), "float32"),
    "part_charge": (("Charge",), "int32"),
    "part_isElectron": (("PID",), "bool"),
    "part_isMuon": (("PID",), "bool"),
    "part_isPhoton": (("PID",), "bool"),
    "part_isChargedHadron": (("PID", "Charge"), "bool"),
    "part_isNeutralHadron": (("PID", "Charge"), "bool"),
}
_FUNCTIONS: Mapping[str, Callable[..., Array]] = {
    "part_px": px,
    "part_py": py,
    "part_pz": pz,
    "part_energy": _energy,
    "part_deta": lambda eta, axis: eta_sign(axis) * (eta - axis),
    "part_dphi": delta_phi,
    "part_dzval": lambda dz, vertex: np.where(dz != 0, dz - vertex, dz),
    "part_isElectron": _code(11),
    "part_isMuon": _code(13),
    "part_isPhoton": lambda pid: pid == 22,
    "part_isChargedHadron": lambda pid, charge: (charge != 0) & (np.abs(pid) != 11) & (np.abs(pid) != 13),
    "part_isNeutralHadron": lambda pid, charge: (charge == 0) & (pid != 22),
}
_JETS: Mapping[str, Callable[..., Array]] = {
    "jet_pt": lambda pt, eta, phi, mass: pt,
    "jet_eta": lambda pt, eta, phi, mass: eta,
    "jet_phi": lambda pt, eta, phi, mass: phi,
    "jet_energy": _energy,
}
