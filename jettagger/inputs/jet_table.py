"""Jets of events or of a skim as flat columns by their names in the skim."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.display import Brief
from jettagger.errors import InputFileError, MismatchError, MissingColumns, hint, renamed
from jettagger.formats import EventColumns
from jettagger.formats.attach import with_fields, with_list_fields
from jettagger.kinematics import delta_phi, delta_r
from jettagger.types import Array

__all__ = ["DERIVED", "Derived", "JetTable"]

#: maximum distance from the jet axis of leptons counted in ``nLeptonsNear``
NEAR = 0.8


@dataclass(frozen=True)
class Derived(Brief):
    """A column that is computed if it is not stored.

    Parameters
    ----------
    needs : tuple of str
        Names of the columns it is computed from.
    function : callable
        Function of a `JetTable` that returns one value per jet.
    text : str
        Description, with its unit.
    """

    needs: tuple[str, ...]
    function: Callable[[JetTable], Array]
    text: str


def _met_angle(table: JetTable) -> Array:
    met, jet = (table.values(name).astype(np.float64) for name in ("MET_phi", f"{table.collection}_phi"))
    return np.abs(delta_phi(met, jet))


def _leptons_near(table: JetTable) -> Array:
    number = np.zeros(table.n_jets, dtype=np.float64)
    eta, phi = (table.values(f"{table.collection}_{name}").astype(np.float64) for name in ("eta", "phi"))
    jet_starts = np.concatenate([[0], np.cumsum(table.counts)])
    for collection in ("Electron", "Muon"):
        counts, lepton_eta = table.lists(f"{collection}_eta")
        lepton_phi = table.lists(f"{collection}_phi")[1]
        event = np.repeat(np.arange(len(counts)), counts)
        # every lepton with every jet of its event
        pairs = table.counts[event]
        lepton = np.repeat(np.arange(len(event)), pairs)
        first = np.repeat(np.cumsum(pairs) - pairs, pairs)
        jet = jet_starts[event[lepton]] + np.arange(len(lepton)) - first
        distance = delta_r(eta[jet], phi[jet], lepton_eta[lepton], lepton_phi[lepton])
        number += np.bincount(jet[distance < NEAR], minlength=table.n_jets)
    return number


#: columns of the jets that are computed if they are not stored, without the name of the collection
DERIVED: dict[str, Derived] = {
    "metDeltaPhi": Derived(("MET_phi", "{jets}_phi"), _met_angle, "angle between MET and the jet in azimuth, 0 to pi"),
    "nLeptonsNear": Derived(
        ("{jets}_eta", "{jets}_phi", "Electron_eta", "Electron_phi", "Muon_eta", "Muon_phi"),
        _leptons_near,
        f"number of electrons and muons within {NEAR} of the axis",
    ),
}


class JetTable(Brief):
    """One entry per jet, independent of the nesting of the events.

    Names are those in skims: ``FatJet_pt`` and ``FatJet_<prefix>_probHbb`` are columns of the jets, ``MET_pt`` and
    ``genWeight`` columns of the event, with the same value for each of its jets. Outputs of the tagger may also be
    given without collection and prefix (``probHbb``, ``hidNeurons000``). `DERIVED` columns are computed if they are not
    stored.

    Parameters
    ----------
    events : awkward array, or EventColumns
        Events with collections (``events.FatJet.pt``), or a skim with flat columns (``skim.FatJet_pt``).
    prefix : str
        Prefix of the tagger's columns.
    collection : str
        The collection of jets.
    given : mapping of str to array, optional
        Name -> one value per jet; replaces stored columns.

    Raises
    ------
    InputFileError
        If the collection does not exist.

    Examples
    --------
    >>> import awkward as ak
    >>> table = JetTable(ak.Array({"FatJet_pt": [[300.0, 250.0], [400.0]], "MET_pt": [30.0, 50.0]}))
    >>> table.values("MET_pt").tolist()
    [30.0, 30.0, 50.0]
    """

    def __init__(
        self,
        events: Any,
        prefix: str = "",
        collection: str = "FatJet",
        given: Mapping[str, Array] | None = None,
    ) -> None:
        import awkward as ak

        self._columns = events if isinstance(events, EventColumns) else EventColumns(events)
        self.prefix = prefix
        self.collection = collection
        self.given = dict(given or {})
        fields = self._columns.events.fields
        self.nested = collection in fields
        if self.nested:
            self.counts: Array = self._columns.counts(collection)
        else:
            inner = [name for name in fields if name.startswith(f"{collection}_")]
            if not inner:
                near = hint(collection, {name.partition("_")[0] for name in fields})
                raise InputFileError(f"no jets {collection!r} in these columns{near}, expected {collection}_pt or so")
            lists = self._field(inner[0])
            self.counts = np.zeros(len(self._columns), dtype=np.int64)
            self.counts[self._columns.valid] = ak.to_numpy(ak.fill_none(ak.num(lists, axis=1), 0))
        self.n_jets = int(self.counts.sum())

    @property
    def names(self) -> list[str]:
        """Flat names of all stored columns."""
        columns = self._columns
        found = []
        for name in columns.events.fields:
            inside = columns.fields(name)
            found += [f"{name}_{item}" for item in inside] if inside else [name]
        return found

    def stored(self, name: str) -> str | None:
        """The flat name under which a column is stored, or None."""
        for candidate in (f"{self.collection}_{self.prefix}_{name}" if self.prefix else name, name):
            if self._place(candidate) is not None:
                return candidate
        return None

    def has(self, name: str) -> bool:
        """Whether a column is given, stored or can be derived; nothing is read."""
        return name in self.given or self.stored(name) is not None or not self._lacking(name)

    def needs(self, name: str) -> tuple[str, ...]:
        """The stored columns from which a column is computed, by their flat names."""
        found = self.stored(name)
        if name in self.given:
            return ()
        if found is not None:
            return (found,)
        derived = self._derived(name)
        return () if derived is None else tuple(need.format(jets=self.collection) for need in derived.needs)

    def require(self, names: Iterable[str], what: str) -> None:
        """Refuse missing columns.

        Raises
        ------
        MissingColumns
            Lists all missing columns, the inputs of those that could be derived, and the nearest names.
        """
        lines = []
        known: list[str] | None = None
        missing = [name for name in names if not self.has(name)]
        for name in missing[:10]:
            if self._derived(name) is not None:
                known = self.names if known is None else known
                parts = ", ".join(f"{need}{renamed(need, known)}" for need in self._lacking(name))
                lines.append(f"{name} (or, to make it, {parts})")
            else:
                known = self.names if known is None else known
                wanted = f"{self.collection}_{self.prefix}_{name}" if self.prefix and "_" not in name else name
                lines.append(f"{wanted}{renamed(wanted, known) or hint(wanted, known)}")
        if missing:
            more = f" and {len(missing) - 10} more" if len(missing) > 10 else ""
            raise MissingColumns(f"{what}: these columns are missing: {'; '.join(lines)}{more}")

    def values(self, name: str) -> Array:
        """A column, one entry per jet; NaN for None.

        Parameters
        ----------
        name : str

        Returns
        -------
        array[jets]

        Raises
        ------
        MissingColumns
            If it is neither stored nor can be derived.
        MismatchError
            If it is a list of another collection.
        """
        if name in self.given:
            return self.given[name]
        found = self.stored(name)
        if found is None:
            self.require([name], "these jets")
            derived = self._derived(name)
            assert derived is not None
            return derived.function(self)
        if found.startswith(f"{self.collection}_"):
            return self.lists(found)[1]
        return np.repeat(self._per_event(found), self.counts)

    def lists(self, name: str) -> tuple[Array, Array]:
        """A column of a collection: number of objects per event, and the values event after event.

        Raises
        ------
        MismatchError
            If the column has one value per event, or lists other than those of the jets.
        """
        import awkward as ak

        array = self._field(name)
        if array.ndim < 2:
            raise MismatchError(f"{name} has one value per event, expected a list per event")
        counts = np.zeros(len(self._columns), dtype=np.int64)
        counts[self._columns.valid] = ak.to_numpy(ak.fill_none(ak.num(array, axis=1), 0))
        if name.startswith(f"{self.collection}_") and not np.array_equal(counts, self.counts):
            raise MismatchError(f"{name} is not aligned with the other columns of {self.collection}")
        return counts, _plain(ak.flatten(array, axis=1))

    def _per_event(self, name: str) -> Array:
        array = self._field(name)
        if array.ndim != 1:
            raise MismatchError(
                f"{name} has a list per event: only columns of {self.collection} and of the event can be used"
            )
        values = _plain(array)
        if self._columns.valid.all():
            return values
        full = np.zeros(len(self._columns), dtype=values.dtype)  # events that are None have no jets
        full[self._columns.valid] = values
        return full

    def _place(self, name: str) -> tuple[str, str] | None:
        """Collection and field, or the field alone with an empty collection."""
        fields = self._columns.events.fields
        if name in fields and not self._columns.fields(name):
            return ("", name)
        collection, _, field = name.partition("_")
        if field and collection in fields and field in self._columns.fields(collection):
            return (collection, field)
        return None

    def _field(self, name: str) -> Any:

        place = self._place(name)
        assert place is not None
        events = self._columns.events
        array = events[place[1]] if not place[0] else events[place[0], place[1]]
        return array if self._columns.valid.all() else array[self._columns.valid]

    def _derived(self, name: str) -> Derived | None:
        front = f"{self.collection}_"
        return DERIVED.get(name[len(front) :]) if name.startswith(front) else None

    def _lacking(self, name: str) -> list[str]:
        derived = self._derived(name)
        if derived is None:
            return [name]
        needs = [need.format(jets=self.collection) for need in derived.needs]
        return [need for need in needs if self.stored(need) is None and need not in self.given]

    def records(self, columns: Mapping[str, Array], present: Array) -> Any:
        """New columns in the nesting of the jets.

        Parameters
        ----------
        columns : mapping of str to array[jets]
        present : bool[jets]
            If False, the record of the jet is None.

        Returns
        -------
        awkward array
            ``events * var * ?{name: dtype, ...}``.
        """
        import awkward as ak

        valid = self._columns.valid
        contents = [ak.contents.NumpyArray(np.ascontiguousarray(values)) for values in columns.values()]
        records = ak.contents.RecordArray(contents, list(columns), length=self.n_jets)
        index = ak.index.Index64(np.where(present, np.arange(self.n_jets), -1).astype(np.int64))
        offsets = np.concatenate([[0], np.cumsum(self.counts[valid])]).astype(np.int64)
        lists = ak.contents.ListOffsetArray(ak.index.Index64(offsets), ak.contents.IndexedOptionArray(index, records))
        if not valid.all():
            events = np.where(valid, np.cumsum(valid) - 1, -1).astype(np.int64)
            lists = ak.contents.IndexedOptionArray(ak.index.Index64(events), lists)
        return ak.Array(lists)

    def attach(self, events: Any, columns: Mapping[str, Array], present: Array) -> Any:
        """The events with new columns of the jets.

        Parameters
        ----------
        events : awkward array
            The events from which the table was made.
        columns : mapping of str to array[jets]
            Name without the collection -> values.
        present : bool[jets]
            If False, the entry is None.

        Returns
        -------
        awkward array

        Raises
        ------
        MismatchError
            If a column exists already.
        """
        import awkward as ak

        taken = [name for name in columns if self._place(f"{self.collection}_{name}") is not None]
        if taken:
            raise MismatchError(f"{self.collection} already has the columns {', '.join(taken[:3])}")
        records = self.records(columns, present)
        if not self.nested:
            new = {f"{self.collection}_{name}": ak.to_layout(records[name]) for name in columns}
            return with_fields(events, new)
        if not self._columns.valid.all():
            absent = np.flatnonzero(~self._columns.valid)
            raise MismatchError(
                f"{len(absent)} of {len(self._columns)} events are None (first: {absent[0]}): drop them before columns "
                "are attached"
            )
        index = ak.index.Index64(np.where(present, np.arange(self.n_jets), -1).astype(np.int64))
        new = {
            name: ak.contents.IndexedOptionArray(index, ak.contents.NumpyArray(np.ascontiguousarray(values)))
            for name, values in columns.items()
        }
        jets = with_list_fields(events[self.collection], self.counts, new)
        return with_fields(events, {self.collection: ak.to_layout(jets)})


def _plain(array: Any) -> Array:
    """Values as NumPy, NaN (0 for integers and flags) for None."""
    import awkward as ak

    if "?" in str(array.type) or "option" in str(array.type):
        kind = ak.to_numpy(ak.drop_none(array)[:0]).dtype
        array = ak.fill_none(array, np.nan if kind.kind == "f" else 0)
        return np.asarray(ak.to_numpy(array)).astype(kind, copy=False)
    return np.asarray(ak.to_numpy(array))


guard(globals())
