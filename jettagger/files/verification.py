"""Verification of files without checksums: consistency of their columns with the definitions of NanoAOD.

Bit flips leave traces: lists whose lengths differ from their counters, dangling indices, copies that differ, values out
of range, values with more digits than their column is stored with. Flips that lead to plausible values are not
detected.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import numpy as np

from jettagger.arguments import guard
from jettagger.errors import InputFileError
from jettagger.formats.base import Format, Link, ReadPlan
from jettagger.formats.columns import EventColumns, split
from jettagger.formats.rules import CHARGE, CHARGED, FINITE, JET_RULES, NEUTRAL, RULES, Rule, rules_of
from jettagger.types import Array

__all__ = ["kinematics", "stray_digits", "verify_events", "verify_jets"]


#: no measured value is smaller, except zero: such numbers are zeros with a flipped bit
SMALLEST = 1e-30

#: minimum ratio of truncated values of a column to others for the latter to count as damaged
_MANY = 100

_POWERS = np.uint32(1) << np.arange(23, dtype=np.uint32)


class OpenFile(Protocol):
    """An open file."""

    path: str

    @property
    def names(self) -> frozenset[str]:
        """Flat names of all columns."""

    def read(self, columns: Iterable[str], start: int, stop: int) -> Any:
        """Some columns of a range of rows."""


def kinematics(format_: Format, fields: Iterable[str]) -> tuple[str, ...]:
    """The columns of the jets with a rule, as far as a file has them.

    Parameters
    ----------
    format_ : Format
    fields : iterable of str
        Columns of the collection of jets.

    Returns
    -------
    tuple of str
    """
    own = {split(format_.called(name))[1] for name in RULES if split(name)[0] == "FatJet"}
    return tuple(f"{format_.jets}.{field}" for field in fields if field in own)


def verify_events(file: OpenFile, plan: ReadPlan, ranges: Iterable[tuple[int, int]]) -> None:
    """Compare the columns that a model reads with the definitions of NanoAOD.

    Lists have the lengths of their counters; the columns of a collection have equal lengths; links are in range, the
    rows of a jet are contiguous and refer to each object once; copies are exact; the charge is that of the particle;
    values obey `jettagger.formats.rules.RULES`, none is a tiny non-zero number, and those of a column with truncated
    mantissas have truncated mantissas. Checksums are checked as well where they exist.

    Parameters
    ----------
    file : EventFile or similar
        Open; read in these ranges, one at a time.
    plan : ReadPlan
    ranges : iterable of (int, int)
        First event, and the one after the last.

    Raises
    ------
    InputFileError
        For the first invalid value; gives the column, the event's entry in the file, the value, and the valid range.
    """
    collections = {split(column)[0] for column in plan.columns if split(column)[1]}
    counters = {name: f"n{name}" for name in sorted(collections) if f"n{name}" in file.names}
    for start, stop in ranges:
        events = file.read([*plan.columns, *counters.values()], start, stop)
        if stop > start:
            _Part(file.path, start, EventColumns(events), plan).check(counters)


def verify_jets(path: str, table: Mapping[str, Any], start: int) -> None:
    """Compare the columns of a table with one row per jet with their valid values.

    Parameters
    ----------
    path : str
        For messages.
    table : mapping of str to awkward array
        Numbers, or lists of numbers; lists with a common prefix (``part_``) have equal lengths.
    start : int
        Index of the first row in the file.

    Raises
    ------
    InputFileError
        As for `verify_events`.
    """
    import awkward as ak

    first: dict[str, tuple[str, Array]] = {}
    for name, column in table.items():
        lists = column.ndim > 1
        counts = ak.to_numpy(ak.num(column, axis=1)) if lists else np.ones(len(column), dtype=np.int64)
        if lists:
            other, expected = first.setdefault(name.partition("_")[0], (name, counts))
            wrong = np.flatnonzero(counts != expected)
            if len(wrong):
                row = int(wrong[0])
                raise InputFileError(
                    f"{path}: {name} of jet {start + row} has {counts[row]} entries, {other} has {expected[row]}: "
                    "the file is damaged, get a new copy"
                )
        values = ak.to_numpy(ak.fill_none(ak.flatten(column, axis=None), 0))
        if values.dtype.kind not in "fiub":
            continue
        rule = JET_RULES.get(name, FINITE)
        wrong = np.flatnonzero(~rule.fits(values))
        if len(wrong):
            row = start + int(np.searchsorted(np.cumsum(counts), wrong[0], side="right"))
            _refuse(path, name, f"jet {row}", values[wrong[0]], str(rule), len(wrong))


def stray_digits(values: Array) -> Array:
    """The few values of a column that have more binary digits than the others.

    NanoAOD truncates the mantissas of a column at the same bit. If many values are truncated there, the few others were
    changed later. Columns on a grid, such as integers, are not truncated at the same bit: large values have more
    digits; so only values that are at least as large are considered.

    Parameters
    ----------
    values : float32[n]

    Returns
    -------
    int64[m]
        Their indices, in increasing order; empty if the test is not conclusive.

    Examples
    --------
    >>> values = np.linspace(1, 2, 1000, dtype=np.float32)
    >>> values.view(np.uint32)[:] &= 0xFFFFE000
    >>> stray_digits(values).tolist()
    []
    >>> values.view(np.uint32)[7] ^= 1 << 5
    >>> stray_digits(values).tolist()
    [7]
    """
    nothing = np.empty(0, dtype=np.int64)
    if values.dtype != np.float32:
        return nothing
    bits = np.ascontiguousarray(values).view(np.uint32)
    filled = np.flatnonzero(bits & np.uint32(0x7FFFFF))
    bits = bits[filled]
    last = np.searchsorted(_POWERS, bits & (~bits + np.uint32(1)))
    often = np.flatnonzero(np.bincount(last, minlength=len(_POWERS)) >= _MANY)
    stray = np.flatnonzero(last < often[0]) if len(often) else nothing
    if not len(stray):
        return nothing
    exponent = (bits >> np.uint32(23)) & np.uint32(0xFF)
    ending = np.count_nonzero((last == often[0]) & (exponent >= exponent[stray].min()))
    return filled[stray] if ending >= _MANY * len(stray) else nothing


@dataclass(frozen=True)
class _Part:
    """A range of events of a file."""

    path: str
    start: int
    columns: EventColumns
    plan: ReadPlan

    def check(self, counters: Mapping[str, str]) -> None:
        for collection, counter in counters.items():
            self._check_counter(collection, counter)
        format_ = self.plan.format
        rules = rules_of(format_)
        links = [format_.links[object_] for object_ in self.plan.objects]
        indices = {f"{link.table}.{index}" for link in links for index in (link.jet_index, link.target_index)}
        for column in self.plan.columns:
            if (split(column)[1] or column in rules) and not self.columns.is_list(split(column)[0]):
                self._check_number(column, rules.get(column, FINITE))
            elif split(column)[1] and column not in indices:
                values = self.columns.flat(column)
                rule = rules.get(column, FINITE)
                self._refuse_any(column, ~rule.fits(values), str(rule))
                if column in rules and values.dtype.kind == "f":
                    tiny = (values != 0) & (np.abs(values) < SMALLEST)
                    self._refuse_any(column, tiny, f"0, or a number of at least {SMALLEST:g}")
                stray = stray_digits(values)
                if len(stray):
                    self._refuse(column, int(stray[0]), "as few binary digits as others of the column have", len(stray))
        for object_, link in zip(self.plan.objects, links, strict=True):
            self._check_link(link, copied=object_ in self.plan.verified)
        self._check_charges()

    def _check_number(self, column: str, rule: Rule) -> None:
        """Check an event-level variable."""
        values = self.columns.per_event(column)
        wrong = np.flatnonzero(~rule.fits(values) & self.columns.valid)
        if len(wrong):
            raise InputFileError(
                f"{self.path}: {column.replace('.', '_', 1)} of event {self.start + wrong[0]} (counted from 0 in the "
                f"file) is {values[wrong[0]]:g}, expected {rule}: the file is damaged"
            )

    def _check_counter(self, collection: str, counter: str) -> None:
        import awkward as ak

        counts = self.columns.counts(collection)
        said = ak.to_numpy(self.columns.column(counter))
        wrong = np.flatnonzero(counts != said)
        if len(wrong):
            event = int(wrong[0])
            _refuse(
                self.path,
                counter,
                f"event {self.start + event}",
                said[event],
                f"{counts[event]}, the number of entries of {collection}",
                len(wrong),
            )

    def _check_link(self, link: Link, *, copied: bool) -> None:
        jets, column = self.plan.format.jets, f"{link.table}.{link.jet_index}"
        event = np.repeat(np.arange(len(self.columns)), self.columns.counts(link.table))
        jet = self.columns.flat(column).astype(np.int64)
        n_jets = self.columns.counts(jets)[event]
        self._refuse_any(column, (jet < -1) | (jet >= n_jets), f"an index of {jets}, or -1")
        owner = self.columns.offsets(jets)[event] + jet
        rows = np.flatnonzero(jet >= 0)
        begins = rows[np.flatnonzero(np.diff(owner[rows], prepend=-1))]
        self._refuse_any(column, _repeated(owner, begins), "the rows of a jet next to each other")
        if link.target_index is None:
            return
        column = f"{link.table}.{link.target_index}"
        target = self.columns.flat(column).astype(np.int64)
        wrong = (target < (-1 if link.dangling else 0)) | (target >= self.columns.counts(link.target)[event])
        self._refuse_any(column, wrong, f"an index of {link.target}" + (", or -1" if link.dangling else ""))
        place = self.columns.offsets(link.target)[event] + target
        both = owner * (int(self.columns.offsets(link.target)[-1]) + 1) + place
        again = _repeated(both, np.flatnonzero((jet >= 0) & (target >= 0)))
        self._refuse_any(column, again, f"each index of {link.target} once in a jet")
        if copied:
            copy, original = map(self.columns.flat, link.copies)
            linked = np.flatnonzero(target >= 0)
            differing = np.zeros(len(copy), dtype=bool)
            differing[linked] = copy[linked] != original[place[linked]]
            self._refuse_any(link.copies[0], differing, f"what {link.copies[1].replace('.', '_')} says")

    def _check_charges(self) -> None:
        charge, code = map(self.plan.format.called, CHARGE)
        if {charge, code} <= set(self.plan.columns):
            charges, codes = self.columns.flat(charge), np.abs(self.columns.flat(code))
            wrong = np.where(charges == 0, np.isin(codes, CHARGED), np.isin(codes, NEUTRAL))
            self._refuse_any(charge, wrong, f"that of the particle in {code.replace('.', '_')}")

    def _refuse_any(self, column: str, wrong: Array, expected: str) -> None:
        places = np.flatnonzero(wrong)
        if len(places):
            self._refuse(column, int(places[0]), expected, len(places))

    def _refuse(self, column: str, place: int, expected: str, number: int = 1) -> NoReturn:
        event = int(np.searchsorted(self.columns.offsets(split(column)[0]), place, side="right")) - 1
        value = self.columns.flat(column)[place]
        _refuse(self.path, column.replace(".", "_", 1), f"event {self.start + event}", value, expected, number)


def _repeated(values: Array, places: Array) -> Array:
    """Mask of values that are at one of the given places, and also at an earlier one."""
    again = np.ones(len(places), dtype=bool)
    again[np.unique(values[places], return_index=True)[1]] = False
    found = np.zeros(len(values), dtype=bool)
    found[places[again]] = True
    return found


def _refuse(path: str, column: str, place: str, value: Any, expected: str, number: int) -> NoReturn:
    more = f" (the first of {number} such numbers here)" if number > 1 else ""
    raise InputFileError(
        f"{path}: {column} of {place} (counted from 0 in the file) is {value:.9g}, expected {expected}{more}: the file "
        "is damaged, get a new copy; if its production writes such numbers, run without --verify"
    )


guard(globals(), "kinematics", "stray_digits", "verify_events", "verify_jets")
