"""Jets with their linked constituents, verified to be the original ones.

Links are indices in other tables of the event. If one of the tables was filtered, sorted or replaced after reading,
they refer to other objects, which shows only in the content:

- a link table may contain a copy of a column of its target (``FatJetPFCands.pt`` is ``PFCands.pt``): then each link
  that is used is verified;
- otherwise, in a table that was shortened, links may exceed its length;
- the momenta of the constituents add up to that of the uncorrected jet.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from jettagger.errors import MismatchError
from jettagger.formats.base import Jets, ReadPlan
from jettagger.formats.columns import EventColumns
from jettagger.kinematics import delta_phi
from jettagger.types import Array

__all__ = ["MIN_PT_SHARE", "load", "partial"]

#: minimum fraction of a jet's transverse momentum carried by its constituents; below, some are missing; also met by
#: jets that were corrected upwards in a file that does not store the correction
MIN_PT_SHARE = 0.8

#: maximum ratio of the transverse momentum of the constituents to that of their jet; constituents of PUPPI jets enter
#: without their weights, so pile-up in a wide and soft jet may add more than half
MAX_PT_SHARE = 2.0

#: transverse momentum of pile-up in GeV that does not count in this ratio: soft AK4 jets may consist of it mostly
PILEUP = 50.0

#: maximum distance of a constituent from the axis, in radii: with the anti-kt algorithm 1.5 is the limit for two
#: subjets of equal momentum, three reach a little further
REACH = 2.0

#: maximum distance of the leading constituent from the axis, in radii
LEADING = 1.5

#: maximum distance between the axis and the sum of the constituents, in radii; another jet is at least one radius away
CENTRE = 0.25


def load(
    columns: EventColumns,
    plan: ReadPlan,
    index: Array,
    kinematics: Mapping[str, Array] | None = None,
    *,
    strict: bool = True,
) -> Jets:
    """Link the constituents of the selected jets, and verify that they belong to them.

    Parameters
    ----------
    columns : EventColumns
    plan : ReadPlan
        With nothing missing.
    index : int64[jets]
        Indices of the selected jets in the flat collection.
    kinematics : mapping, optional
        As for `Jets`.
    strict : bool
        Whether links to an object other than the original one are an error; otherwise they are dropped and counted,
        like dangling links.

    Returns
    -------
    Jets

    Raises
    ------
    MismatchError
        If constituents do not belong to their jets: one of the collections was filtered, reordered or replaced after
        the file was read, so that the indices of the link table refer to other objects. Gives the collection and the
        first event.
    """
    jets = Jets(columns, plan, index, kinematics)
    if len(index):
        for object_ in plan.objects:
            jets.rows(object_)
        if strict:
            _check_links(jets)
        if "pf" in plan.objects:
            _check_jets(jets)
    return jets


def _check_links(jets: Jets) -> None:
    """Refuse links that are inconsistent with the table they refer to."""
    for object_, fault in jets.faults.items():
        link = jets.plan.format.links[object_]
        if len(fault.differing):
            event = int(fault.differing[0])
            what = (
                f"{len(fault.differing)} of {fault.links} links lead to objects with another {link.copied} than "
                f"{link.table}.{link.copied} says"
            )
        else:
            event = int(fault.beyond[0])
            what = f"{len(fault.beyond)} links point beyond its end"
        place = f"event {jets.columns.place(event)} of this chunk"
        expected = f"the table that {link.table} was made for"
        raise MismatchError(
            f"{link.target} is not {expected}: {what} (first: {place}). Was {link.target} filtered, re-ordered or "
            "changed after reading? Pass it as it was read and select afterwards; to leave objects out on purpose, "
            f"filter the rows of {link.table}; to vary {link.copied or 'a column'}, change it in both tables. If the "
            "file itself is "
            "damaged, min_pt_share=0.9 scores the jets whose other constituents carry that share of their pt",
            where=f"{link.target}, {place}",
            got=what,
            expected=expected,
        )


def _check_jets(jets: Jets) -> None:
    """Refuse constituents that are far from their jets, or carry too much momentum."""
    rows, radius = jets.rows("pf"), jets.plan.format.radius
    filled = np.flatnonzero(rows.counts)
    if not len(filled):
        return
    first = rows.starts[filled]
    with np.errstate(all="ignore"):  # what is not finite cannot be judged
        d_eta = jets.column("pf", "eta") - jets.column("pf", "jet.eta")
        d_phi = delta_phi(jets.column("pf", "phi"), jets.column("pf", "jet.phi"))
        square = d_eta**2 + d_phi**2
        _refuse(jets, filled, square[first], (LEADING * radius) ** 2, "their leading constituent", "from the axis")
        _refuse(jets, filled, np.fmax.reduceat(square, first), (REACH * radius) ** 2, "a constituent", "from the axis")
        if ("pf", "summed_pt") in jets.plan.providers:
            total, *mean = _sums(jets, filled, first, d_eta, d_phi)
            share = total / _pt(jets)[filled]
            # what the sum has more than a PUPPI jet is pile-up without its weight, anywhere in the jet
            shift = np.hypot(*mean) - radius * np.fmax(1 - 1 / share, 0)
            # a part of a jet may lie elsewhere, and gets no score
            left_out = (share < MIN_PT_SHARE) | (jets.lost["pf"][filled] > 0)
            centre = np.where(left_out, 0, np.maximum(shift, 0) ** 2)
            limit = (CENTRE * radius) ** 2
            _refuse(jets, filled, centre, limit, "the sum of their constituents", "from the axis")
            excess = np.maximum(total - PILEUP, 0) / _pt(jets)[filled]
            _refuse(jets, filled, excess**2, MAX_PT_SHARE**2, "constituents that carry", "times their pt")


def _sums(jets: Jets, filled: Array, first: Array, d_eta: Array, d_phi: Array) -> tuple[Array, Array, Array]:
    """Scalar sum of the pt of constituents and their mean distance from the axis in eta and phi.

    Constituents of PUPPI jets count with their weights: where these are known, the sum that is nearer to the jet is
    taken, with or without them.
    """
    pt = jets.column("pf", "summed_pt")
    ways = [pt]
    if ("pf", "puppiWeight") in jets.plan.providers:
        ways.append(pt * jets.column("pf", "puppiWeight"))
    found = []
    for values in ways:
        total = np.add.reduceat(values, first)
        found.append([total, *(np.add.reduceat(values * offset, first) / total for offset in (d_eta, d_phi))])
    if len(found) == 1:
        return found[0][0], found[0][1], found[0][2]
    off = [np.abs(np.nan_to_num(total / _pt(jets)[filled], nan=np.inf) - 1) for total, *_ in found]
    nearer = off[1] < off[0]
    total, eta, phi = (np.where(nearer, weighted, plain) for plain, weighted in zip(*found, strict=True))
    return total, eta, phi


def _refuse(jets: Jets, filled: Array, square: Array, limit: float, what: str, unit: str) -> None:
    """Refuse jets for which a squared quantity exceeds a limit."""
    outside = np.flatnonzero(square > limit)
    if len(outside):
        name = jets.plan.format.jets
        flat = int(jets.index[filled[outside[0]]])
        event = int(np.searchsorted(jets.columns.offsets(name), flat, side="right")) - 1
        jet = flat - int(jets.columns.offsets(name)[event])
        raise MismatchError(
            f"{len(outside)} of {len(filled)} jets have {what} more than {limit**0.5:.1f} {unit} "
            f"(first: event {jets.columns.place(event)} of this chunk, jet {jet}, {square[outside[0]] ** 0.5:.2f}): "
            f"{name} is not the collection that the link table was made for, or the collection of its constituents was "
            "changed. Do not filter or re-order them before tagging; "
            f"pass where=<mask on events.{name}> instead, and select afterwards"
        )


def _pt(jets: Jets) -> Array:
    """Uncorrected transverse momentum of the jets, as stored; NaN if unknown."""
    if ("jet", "raw_pt") not in jets.plan.providers:
        return np.full(len(jets), np.nan)
    return jets.column("jet", "raw_pt")


def partial(jets: Jets, min_pt_share: float | None) -> Array:
    """Mask of jets with missing constituents, or without a valid momentum of their own.

    Parameters
    ----------
    jets : Jets
        With constituents.
    min_pt_share : float or None
        Minimum fraction of the uncorrected transverse momentum of a jet that the vector sum of its constituents must
        carry. Candidates enter without their PUPPI weights: for PUPPI jets the sum is therefore slightly larger (up to
        1.5 % in a CMS file); for other jets it is exact. None: 0.8, and no dangling links.

    Returns
    -------
    bool[jets]
    """
    found = np.zeros(len(jets), dtype=bool)
    if min_pt_share is None:
        for lost in jets.lost.values():
            found |= lost > 0
        min_pt_share = MIN_PT_SHARE
    if "pf" in jets.plan.objects:  # without axis and scale nothing of a jet means anything
        with np.errstate(invalid="ignore"):
            found |= ~np.isfinite(jets.column("jet", "eta") + jets.column("jet", "phi"))
            if ("jet", "raw_pt") in jets.plan.providers:
                found |= ~((_pt(jets) > 0) & (_pt(jets) < np.inf))
    if ("pf", "summed_pt") in jets.plan.providers:
        rows = jets.rows("pf")
        found |= (rows.counts == 0) & (jets.lost["pf"] > 0)
        filled = np.flatnonzero(rows.counts)
        if len(filled):
            with np.errstate(all="ignore"):
                d_phi = delta_phi(jets.column("pf", "phi"), jets.column("pf", "jet.phi"))
                pt = jets.column("pf", "summed_pt")
                sums = (np.add.reduceat(pt * part(d_phi), rows.starts[filled]) for part in (np.cos, np.sin))
                found[filled] |= np.hypot(*sums) < min_pt_share * _pt(jets)[filled]
    return found
