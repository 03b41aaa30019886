"""Canonical columns of PFNano that need more than the rows of their own jet: subjets, all vertices, the event.

The vertices of an event are those of its table ``SV`` and those that only link tables contain, without duplicates; the
directions of the latter are reconstructed from the link table. The uncertainty of the primary vertex is the median,
over tracks whose longitudinal impact parameter is small compared with the transverse one, of the additional uncertainty
of their 3D impact parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from jettagger.formats.base import ColumnSource, ContextSource, Jets, of_event
from jettagger.formats.columns import split
from jettagger.formats.naming import radius_of
from jettagger.formats.vertices import vertex_eta
from jettagger.kinematics import delta_phi, delta_r
from jettagger.types import Array

__all__ = ["candidate_columns", "jet_columns"]

#: columns of vertices in a link table and of their jets, in the order of `_linked_vertices`
_ROW = ("jetIdx", "pt", "mass", "dxy", "d3d", "phirel", "deltaR", "enration")
_AXIS = ("pt", "eta", "phi", "mass")
_TABLES = (("FatJetSVs", "FatJet"), ("JetSVs", "Jet"))

#: minimum transverse momentum of the candidates counted by DeepNTuples, GeV
_COUNTED = 0.95

#: tracks whose 3D uncertainty is the transverse one: |d0| over the longitudinal part of the distance
_TRANSVERSE = 3.0


def subjet(jets: Jets, columns: tuple[str, ...], *, rank: int, field: int) -> Array:
    """A coordinate of the subjet with the highest, or second highest, momentum; NaN if there is none."""
    *indices, pt, eta, phi = columns
    momentum, values = jets.stored(pt), jets.stored((eta, phi)[field])
    places, momenta = [], []
    for column in indices:
        index = jets.stored(column)[jets.index].astype(np.int64)
        place = jets.columns.places(split(pt)[0], jets.event, index)
        places.append(place)
        momenta.append(np.where(place >= 0, momentum[place] if len(momentum) else 0, -np.inf))
    order = np.argsort(-np.stack(momenta), axis=0, kind="stable")[rank]
    place = np.take_along_axis(np.stack(places), order[np.newaxis], axis=0)[0]
    found = np.full(len(jets), np.nan, dtype=np.float32)
    found[place >= 0] = values[place[place >= 0]]
    return found


def _linked_vertices(jets: Jets, columns: tuple[str, ...], *, table: bool) -> tuple[Array, ...]:
    """Vertices of one link table that are not in the vertex table: event, direction, and identifying columns."""
    rest = columns[1:] if table else columns
    row, axis = rest[: len(_ROW)], rest[len(_ROW) :]
    owner, own = split(axis[0])[0], jets.plan.format
    radius = own.radius if owner == own.jets else radius_of(owner, "AK4" if own.kind == "AK8" else "AK8")
    event = jets.columns.owners(split(row[0])[0])
    place = jets.columns.places(owner, event, jets.stored(row[0]).astype(np.int64))
    taken = place >= 0
    if table:
        taken &= jets.stored(columns[0]) == -1
    event, place = event[taken], place[taken]
    pt, mass, dxy, d3d, phirel, distance, ratio = (jets.stored(name)[taken] for name in row[1:])
    jet_pt, jet_eta, jet_phi, jet_mass = (jets.stored(name)[place] for name in axis)
    known = np.full(len(pt), np.nan)
    eta = vertex_eta(pt, mass, ratio, distance, phirel, jet_pt, jet_eta, jet_phi, jet_mass, known, radius=radius)
    return event, eta, delta_phi(jet_phi + phirel, np.float32(0)), np.stack([event, mass, pt, dxy, d3d], axis=1)


def nearest_vertex(jets: Jets, columns: tuple[str, ...], *, tables: int, indices: bool = True) -> Array:
    """Distance of each candidate from the nearest vertex of its event; infinite if there is none."""
    eta, phi, *linked = columns
    parts = [(jets.columns.owners(split(eta)[0]), jets.stored(eta), jets.stored(phi))]
    size = len(_ROW) + len(_AXIS) + indices
    more = [
        _linked_vertices(jets, tuple(linked[size * number : size * (number + 1)]), table=indices)
        for number in range(tables)
    ]
    _, first = np.unique(np.concatenate([found[3] for found in more]), axis=0, return_index=True)
    parts.append(tuple(np.concatenate(column)[first] for column in list(zip(*more, strict=True))[:3]))  # type: ignore[arg-type]
    event, vertex_eta_, vertex_phi = (np.concatenate(column) for column in zip(*parts, strict=True))
    usable = np.isfinite(vertex_eta_ + vertex_phi)
    order = np.argsort(event[usable], kind="stable")
    event, vertex_eta_, vertex_phi = (values[usable][order] for values in (event, vertex_eta_, vertex_phi))
    number = np.bincount(event, minlength=len(jets.columns))
    first_of = np.cumsum(number) - number
    own = jets.event[jets.rows("pf").jet]
    candidate_eta, candidate_phi = jets.column("pf", "eta"), jets.column("pf", "phi")
    nearest = np.full(len(own), np.inf, dtype=np.float32)
    for rank in range(int(number.max(initial=0))):
        has = np.flatnonzero(number[own] > rank)
        place = first_of[own[has]] + rank
        found = delta_r(candidate_eta[has], candidate_phi[has], vertex_eta_[place], vertex_phi[place])
        nearest[has] = np.fmin(nearest[has], found)
    return nearest


def vertex_error(jets: Jets, columns: tuple[str, ...], *, tables: int) -> Array:
    """Transverse uncertainty of the primary vertex of each jet's event, cm; 0 if no track determines it."""
    d0, error, dz, eta, chi2, *linked = columns
    owner = split(d0)[0]
    longitudinal = _TRANSVERSE * np.abs(jets.stored(dz)) / np.cosh(jets.stored(eta))
    usable = (jets.stored(chi2) != -1) & (np.abs(jets.stored(d0)) > longitudinal)
    errors = jets.stored(error)
    events, values = [], []
    for number in range(tables):
        index, value, significance = linked[3 * number : 3 * number + 3]
        event, sig = jets.columns.owners(split(index)[0]), jets.stored(significance)
        place = jets.columns.places(owner, event, jets.stored(index).astype(np.int64))
        used = np.flatnonzero((np.abs(sig) > 0) & (place >= 0))
        used = used[usable[place[used]]]
        place = place[used]
        total = jets.stored(value)[used].astype(np.float64) / sig[used]
        events.append(event[used])
        values.append(np.sqrt(np.maximum(total**2 - errors[place].astype(np.float64) ** 2, 0)))
    return _medians(np.concatenate(events), np.concatenate(values), len(jets.columns))[jets.event].astype(np.float32)


def _medians(event: Array, values: Array, n_events: int) -> Array:
    """The median of the values of each event, 0 if there are none."""
    order = np.lexsort((values, event))
    number = np.bincount(event, minlength=n_events)
    first = np.cumsum(number) - number
    filled = np.flatnonzero(number)
    ordered = values[order]
    found = np.zeros(n_events)
    low, high = (first[filled] + (number[filled] - shift) // 2 for shift in (1, 0))
    found[filled] = (ordered[low] + ordered[high]) / 2
    return found


def counted(jets: Jets, columns: tuple[str, ...], *, charged: bool) -> Array:
    """Number of charged, or neutral, candidates of each jet as counted by DeepNTuples."""
    pt, charge = (jets.gathered("pf", column) for column in columns)
    chosen = (pt >= _COUNTED) & ((charge != 0) == charged)
    return np.bincount(jets.rows("pf").jet[chosen], minlength=len(jets)).astype(np.float32)


def vertices_in(jets: Jets, columns: tuple[str, ...]) -> Array:
    """Number of vertices linked to each jet."""
    (column,) = columns
    name = jets.plan.format.jets
    place = jets.columns.places(name, jets.columns.owners(split(column)[0]), jets.stored(column).astype(np.int64))
    total = int(jets.columns.counts(name).sum())
    return np.bincount(place[place >= 0], minlength=total)[jets.index].astype(np.float32)


def _linked(indices: bool) -> list[tuple[str, ...]]:
    index = ("sVIdx",) if indices else ()
    return [
        (*(f"{table}.{name}" for name in (*index, *_ROW)), *(f"{owner}.{name}" for name in _AXIS))
        for table, owner in _TABLES
    ]


def candidate_columns() -> Mapping[str, tuple[ContextSource, ...]]:
    """Columns of candidates, each with the ways to obtain it, best first."""
    vertices = ("SV.eta", "SV.phi")
    both, plain = _linked(indices=True), _linked(indices=False)
    return {
        "drminsv": (
            ContextSource((*vertices, *both[0], *both[1]), partial(nearest_vertex, tables=2)),
            ContextSource((*vertices, *both[0]), partial(nearest_vertex, tables=1)),
            ContextSource((*vertices, *plain[0], *plain[1]), partial(nearest_vertex, tables=2, indices=False)),
            ContextSource((*vertices, *plain[0]), partial(nearest_vertex, tables=1, indices=False)),
        )
    }


def _raw(value: Array, raw_factor: Array) -> Array:
    return value * (1 - raw_factor)


def _share(raw_factor: Array) -> Array:
    return 1 - raw_factor


def jet_columns(stored: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[ColumnSource | ContextSource, ...]]:
    """Columns of jets, each with the ways to obtain it, best first.

    Parameters
    ----------
    stored : mapping of str to tuple of str
        Prefix of stored columns -> names after the prefix.

    Returns
    -------
    mapping
    """
    tracks = ("d0", "d0Err", "dz", "eta", "trkChi2")
    from_vertex = ("dxyFromPV", "dxyErrFromPV", "dzFromPV", "eta", "trkChi2")
    links = [
        tuple(f"{table}.{name}" for name in ("pFCandsIdx", "btagSip3dVal", "btagSip3dSig"))
        for table in ("FatJetPFCands", "JetPFCands")
    ]
    errors = [
        ContextSource((*(f"PFCands.{name}" for name in names), *used), partial(vertex_error, tables=number))
        for names in (tracks, from_vertex)
        for number, used in ((2, (*links[0], *links[1])), (1, links[0]))
    ]
    found: dict[str, tuple[Any, ...]] = {
        "uncorrected_pt": (ColumnSource(("FatJet.pt", "FatJet.rawFactor"), _raw),),
        "uncorrected_mass": (ColumnSource(("FatJet.mass", "FatJet.rawFactor"), _raw),),
        "uncorrected_share": (ColumnSource(("FatJet.rawFactor",), _share),),
        "vertex_error": tuple(errors),
        "area": (ColumnSource(("FatJet.area",)),),
        "rho": tuple(ContextSource((f"{collection}fixedGridRhoFastjetAll",), of_event) for collection in ("", "Rho.")),
        "n_primary_vertices": (ContextSource(("PV.npvs",), of_event),),
        "n_vertices": (ContextSource(("FatJetSVs.jetIdx",), vertices_in),),
    }
    for name, charged in (("n_charged", True), ("n_neutral", False)):
        found[name] = (ContextSource(("PFCands.pt", "PFCands.charge"), partial(counted, charged=charged)),)
    subjets = ("FatJet.subJetIdx1", "FatJet.subJetIdx2", *(f"SubJet.{name}" for name in ("pt", "eta", "phi")))
    for rank in (0, 1):
        for field, name in enumerate(("eta", "phi")):
            function: Callable[..., Array] = partial(subjet, rank=rank, field=field)
            found[f"subjet{rank + 1}_{name}"] = (ContextSource(subjets, function),)
    for prefix, names in stored.items():
        found |= {f"{prefix}_{name}": (ColumnSource((f"FatJet.{prefix}_{name}",)),) for name in names}
    return found
