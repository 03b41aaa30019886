"""PFNano: NanoAOD with the particle-flow candidates and secondary vertices of jets.

Candidates without track details have -1 in ``trkChi2``, ``dz``, ``dzErr``, ``d0`` and ``d0Err``; this is decided per
candidate from ``trkChi2``, never from the value of another column alone. The link table ``FatJetSVs`` contains every
vertex of a jet with its own columns; ``sVIdx = -1`` only means that the vertex is not in the table ``SV``. Such
vertices are kept: their direction is reconstructed from the energy fraction, the distance and the azimuth relative to
the jet.

Productions differ in names, not in content: `jettagger.inputs.flavours` contains their names for what is declared here
with the names of the current branch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from jettagger.features.ntuples import STORED_COLUMNS
from jettagger.formats.base import ColumnSource, ContextSource, Format, JetKind, Link
from jettagger.formats.columns import split
from jettagger.formats.context import candidate_columns, jet_columns
from jettagger.formats.naming import Names, check_names, names_of, radius_of, renamed
from jettagger.formats.vertices import vertex_eta
from jettagger.kinematics import delta_phi
from jettagger.types import Array

__all__ = ["PFNANO", "PFNANO_AK4", "PFNANO_WITHOUT_AK4", "pfnano"]


def _if_track(default: float) -> Callable[[Array, Array], Array]:
    def cleaned(value: Array, chi2: Array) -> Array:
        return np.where(chi2 == -1, np.float32(default), value)

    return cleaned


def _significance(value: Array, error: Array, chi2: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(chi2 == -1, np.float32(0), value / error)


def _chi2(chi2: Array) -> Array:
    return np.where(chi2 == -1, np.float32(999), chi2)


def _has_track(chi2: Array) -> Array:
    return (chi2 != -1).astype(np.float32)


def _finite_or_zero(value: Array) -> Array:
    return np.where(np.isfinite(value), value, np.float32(0))


def _vertex_phi(phirel: Array, jet_phi: Array, known: Array) -> Array:
    return np.where(np.isnan(known), delta_phi(jet_phi + phirel, np.float32(0)), known)


def _uncorrected(pt: Array, raw_factor: Array) -> Array:
    return pt * (1 - raw_factor)


def _stored(*columns: str) -> tuple[ColumnSource, ...]:
    return tuple(ColumnSource((column,)) for column in columns)


def _track(field: str, default: float) -> ColumnSource:
    return ColumnSource((f"PFCands.{field}", "PFCands.trkChi2"), _if_track(default))


def _linked_track(field: str) -> ColumnSource:
    return ColumnSource((f"FatJetPFCands.{field}", "PFCands.trkChi2"), _if_track(0))


_JETS = ("pt", "eta", "phi", "mass", "msoftdrop", "tau1", "tau2", "tau3", "tau4")

_CANDIDATES: dict[str, tuple[ColumnSource | ContextSource, ...]] = {
    "pt": _stored("PFCands.pt"),
    "summed_pt": _stored("PFCands.pt"),
    "eta": _stored("PFCands.eta"),
    "phi": _stored("PFCands.phi"),
    "mass": _stored("PFCands.mass"),
    "charge": _stored("PFCands.charge"),
    "pdgId": _stored("PFCands.pdgId"),
    "puppiWeight": _stored("PFCands.puppiWeight"),
    "pvAssocQuality": _stored("PFCands.pvAssocQuality"),
    "lostInnerHits": _stored("PFCands.lostInnerHits"),
    "trkQuality": _stored("PFCands.trkQuality"),
    "normchi2": (ColumnSource(("PFCands.trkChi2",), _chi2),),
    # columns with C are those of a fork that stores what the producer of the tagger inputs computed
    "dz": (*_stored("FatJetPFCands.Cdz"), _track("dz", 0), _track("dzFromPV", 0)),
    "dxy": (*_stored("FatJetPFCands.Cdxy"), _track("d0", 0), _track("dxyFromPV", 0)),
    "dzerr": (_track("dzErr", 0), _track("dzErrFromPV", 0)),
    "dxyerr": (_track("d0Err", 0), _track("dxyErrFromPV", 0)),
    "dzsig": (
        *_stored("FatJetPFCands.Cdzsig"),
        ColumnSource(("PFCands.dz", "PFCands.dzErr", "PFCands.trkChi2"), _significance),
        ColumnSource(("PFCands.dzFromPV", "PFCands.dzErrFromPV", "PFCands.trkChi2"), _significance),
    ),
    "dxysig": (
        *_stored("FatJetPFCands.Cdxysig"),
        ColumnSource(("PFCands.d0", "PFCands.d0Err", "PFCands.trkChi2"), _significance),
        ColumnSource(("PFCands.dxyFromPV", "PFCands.dxyErrFromPV", "PFCands.trkChi2"), _significance),
    ),
    "hasTrack": (ColumnSource(("PFCands.trkChi2",), _has_track),),
    "chi2": _stored("PFCands.trkChi2"),
    # those of the vertex of the event, which newer productions store with the link
    "pv_dxy": (_linked_track("dxyFromPV"), _track("dxyFromPV", 0), _track("d0", 0)),
    "pv_dxyerr": (_linked_track("dxyErrFromPV"), _track("dxyErrFromPV", 0), _track("d0Err", 0)),
    "pv_dz": (_linked_track("dzFromPV"), _track("dzFromPV", 0), _track("dz", 0)),
    **candidate_columns(),
    **{
        name: _stored(f"FatJetPFCands.{name}")
        for name in ("btagEtaRel", "btagPtRatio", "btagPParRatio", "btagSip3dVal", "btagSip3dSig", "btagJetDistVal")
    },
    **{
        name: _stored(f"PFCands.{name}")
        for name in (
            "isLostTrack",
            "pixelBarrelLayersWithMeasurement",
            "pixelEndcapLayersWithMeasurement",
            "stripTECLayersWithMeasurement",
            "stripTIBLayersWithMeasurement",
            "stripTIDLayersWithMeasurement",
            "stripTOBLayersWithMeasurement",
        )
    },
}

_VERTICES = {
    **{
        name: _stored(f"FatJetSVs.{name}")
        for name in (
            *("pt", "mass", "ntracks", "chi2", "normchi2", "dxy", "dxysig", "d3d", "d3dsig"),
            *("costhetasvpv", "enration"),
        )
    },
    "clipped_deltaR": _stored("FatJetSVs.deltaR"),
    "phi": (ColumnSource(("FatJetSVs.phirel", "FatJet.phi", "SV.phi"), _vertex_phi),),
}

_VERTEX_ETA = (
    *(f"FatJetSVs.{name}" for name in ("pt", "mass", "enration", "deltaR", "phirel")),
    *(f"FatJet.{name}" for name in ("pt", "eta", "phi", "mass")),
    "SV.eta",
)


def _today(radius: float) -> Format:
    """PFNano with the names of the current branch."""
    vertices = {**_VERTICES, "eta": (ColumnSource(_VERTEX_ETA, partial(vertex_eta, radius=radius)),)}
    return Format(
        name="pfnano",
        title="PFNano (NanoAOD with particle-flow candidates of jets)",
        jets="FatJet",
        signature=("FatJet", "FatJetPFCands", "PFCands"),
        links={
            "pf": Link("FatJetPFCands", "jetIdx", "PFCands", "pFCandsIdx", ColumnSource(("PFCands.pt",)), copied="pt"),
            "sv": Link(
                "FatJetSVs",
                "jetIdx",
                "SV",
                "sVIdx",
                ColumnSource(("FatJetSVs.dxysig",), _finite_or_zero),
                dangling=True,
                copied="pt",
            ),
        },
        columns={
            "jet": {
                **{name: _stored(f"FatJet.{name}") for name in _JETS},
                **jet_columns(STORED_COLUMNS),
                "raw_pt": (ColumnSource(("FatJet.pt", "FatJet.rawFactor"), _uncorrected), *_stored("FatJet.pt")),
            },
            "pf": _CANDIDATES,
            "sv": vertices,
        },
        subsets={
            "cpf": ("pf", "charge", lambda charge: charge != 0),
            "npf": ("pf", "charge", lambda charge: charge == 0),
        },
        radius=radius,
        remark="lost tracks and their hit layers are not part of PFNano",
    )


#: names for AK4 jets, by those for fat jets; all others are common
_SMALL = {"FatJet": "Jet", "FatJetPFCands": "JetPFCands", "FatJetSVs": "JetSVs"}
_LARGE = {small: large for large, small in _SMALL.items()}


def _small(names: Names) -> Format:
    """AK4 jets: the declaration of fat jets with the names of AK4 jets."""
    swapped = {**_SMALL, **_LARGE}  # vertices of the others count, too
    placed: dict[str, str | None] = dict(swapped)
    for item, given in names.items():
        collection, field = split(item)
        collection = swapped.get(collection, collection)
        placed[f"{collection}.{field}" if field else collection] = given
    radius = radius_of(names.get("Jet") or "Jet", "AK4")
    large = _today(radius)
    small = renamed(large, _used(placed, large), name="pfnano-ak4", title="PFNano, AK4 jets")
    return replace(small, kind="AK4", remark="AK4 jets need a PFNano that holds their candidates, too (JetPFCands)")


def _used(names: Names, large: Format) -> Names:
    """The columns needed for fat jets; for AK4 jets, event-level columns are included."""
    known = names_of(large)
    mine = {item for item in known if split(item)[0] not in _LARGE}
    return {item: given for item, given in names.items() if item in (known if given is not None else mine)}


def pfnano(
    names: Names,
    name: str = "pfnano-renamed",
    title: str = "PFNano with other names",
    kind: JetKind = "AK8",
) -> Format:
    """PFNano with other names.

    Parameters
    ----------
    names : mapping of str to str or None
        PFNano's current name of a collection or column -> that in the file, if different; for AK4 jets and fat jets.
        The radius of the jets is taken from their name (``AK15``); without a number it is 0.8, and 0.4 for AK4 jets.
    name, title : str
    kind : {"AK8", "AK4"}
        Kind of the jets.

    Returns
    -------
    Format

    Raises
    ------
    UnknownName
        If PFNano does not have the collection or column; lists the nearest ones.

    Examples
    --------
    >>> other = pfnano({"FatJet": "CA15", "FatJetPFCands": "CA15PFCands", "FatJetPFCands.pFCandsIdx": "index"})
    >>> other.signature, other.radius, other.links["pf"].target_index
    (('CA15', 'CA15PFCands', 'PFCands'), 1.5, 'index')
    >>> pfnano({"PFCands": "JetPFCands", "JetPFCands": "Links"}, kind="AK4").signature
    ('Jet', 'Links', 'JetPFCands')
    """
    check_names(names, PFNANO, PFNANO_AK4)
    if kind == "AK4":
        return replace(_small(names), name=name, title=title)
    large = _today(radius_of(names.get("FatJet") or "FatJet"))
    return renamed(large, _used(names, large), name=name, title=title)


PFNANO = _today(radius_of("FatJet"))
PFNANO_AK4 = _small({})

#: so that an error names the link table that was not written
PFNANO_WITHOUT_AK4 = replace(
    PFNANO_AK4, name="pfnano-no-ak4", title="PFNano without AK4 jets' candidates", signature=("Jet", "PFCands")
)
