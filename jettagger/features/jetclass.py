"""Columns of constituents with the names, units and conventions of JetClass-II, from columns of CMS candidates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from jettagger.display import briefly
from jettagger.features.cms import etarel
from jettagger.kinematics import delta_phi, energy, px, py, pz
from jettagger.types import Array

__all__ = ["CANONICAL_COLUMNS", "CONSTITUENT_COLUMNS", "ConstituentColumn"]

#: millimetres in a centimetre
CM = 10.0


@briefly
class ConstituentColumn(NamedTuple):
    """How a column is computed.

    Parameters
    ----------
    needs : tuple of str
        Columns taken by the function, in order, as in `jettagger.features.Feature`.
    function : callable
        Flat arrays in this order -> array of the same length.
    unit : str
    """

    needs: tuple[str, ...]
    function: Callable[..., Array]
    unit: str = "1"


def _code(code: int) -> Callable[[Array], Array]:
    return lambda number: np.abs(number) == code


def _charged_hadron(code: Array, charge: Array) -> Array:
    return (charge != 0) & ~np.isin(np.abs(code), (11, 13))


def _neutral_hadron(code: Array, charge: Array) -> Array:
    return (charge == 0) & (np.abs(code) != 22)


def _millimetres(length: Array) -> Array:
    return CM * length


#: name without ``part_`` -> its definition
CONSTITUENT_COLUMNS: Mapping[str, ConstituentColumn] = MappingProxyType(
    {
        "px": ConstituentColumn(("pt", "phi"), px, "GeV"),
        "py": ConstituentColumn(("pt", "phi"), py, "GeV"),
        "pz": ConstituentColumn(("pt", "eta"), pz, "GeV"),
        "energy": ConstituentColumn(("pt", "eta", "mass"), energy, "GeV"),
        "deta": ConstituentColumn(("eta", "jet.eta"), etarel),
        "dphi": ConstituentColumn(("phi", "jet.phi"), delta_phi, "rad"),
        "charge": ConstituentColumn(("charge",), lambda charge: charge, "e"),
        "isElectron": ConstituentColumn(("pdgId",), _code(11)),
        "isMuon": ConstituentColumn(("pdgId",), _code(13)),
        "isPhoton": ConstituentColumn(("pdgId",), _code(22)),
        "isChargedHadron": ConstituentColumn(("pdgId", "charge"), _charged_hadron),
        "isNeutralHadron": ConstituentColumn(("pdgId", "charge"), _neutral_hadron),
        "d0val": ConstituentColumn(("dxy",), _millimetres, "mm"),
        "d0err": ConstituentColumn(("dxyerr",), _millimetres, "mm"),
        "dzval": ConstituentColumn(("dz",), _millimetres, "mm"),
        "dzerr": ConstituentColumn(("dzerr",), _millimetres, "mm"),
    }
)


def _eta(px_: Array, py_: Array, pz_: Array) -> Array:
    pt = np.hypot(px_.astype(np.float64), py_)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.arcsinh(pz_ / pt)


def _mass(total: Array, px_: Array, py_: Array, pz_: Array) -> Array:
    squares = (values.astype(np.float64) ** 2 for values in (px_, py_, pz_))
    return np.sqrt(np.maximum(total.astype(np.float64) ** 2 - sum(squares), 0))


def _jet_mass(total: Array, pt: Array, eta: Array) -> Array:
    squared = total.astype(np.float64) ** 2 - (pt.astype(np.float64) * np.cosh(eta.astype(np.float64))) ** 2
    return np.sqrt(np.maximum(squared, 0))


def _pdg_id(charge: Array, electron: Array, muon: Array, photon: Array, charged: Array, neutral: Array) -> Array:
    """Codes of the classes of constituents; 0 for none of them."""
    code = np.zeros(len(charge), dtype=np.float32)
    for flag, value in ((electron, -11 * charge), (muon, -13 * charge), (charged, 211 * charge)):
        code = np.where(flag != 0, value, code)
    return np.where(photon != 0, 22, np.where(neutral != 0, 130, code))


def _centimetres(length: Array) -> Array:
    return length / CM


def _significance(length: Array, error: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(error > 0, length / error, np.float32(0))


def _itself(column: Array) -> Array:
    return column


_P3 = ("part_px", "part_py", "part_pz")
_FLAGS = tuple(f"part_is{kind}" for kind in ("Electron", "Muon", "Photon", "ChargedHadron", "NeutralHadron"))

#: object -> column of CMS candidates or jets -> columns of JetClass-II, and a function of them; a table has one pt of a
#: jet, which counts as uncorrected
CANONICAL_COLUMNS: Mapping[str, Mapping[str, tuple[tuple[str, ...], Callable[..., Array]]]] = MappingProxyType(
    {
        "pf": {
            "pt": (("part_px", "part_py"), lambda px_, py_: np.hypot(px_.astype(np.float64), py_)),
            "eta": (_P3, _eta),
            "phi": (("part_py", "part_px"), np.arctan2),
            "mass": (("part_energy", *_P3), _mass),
            "charge": (("part_charge",), _itself),
            "pdgId": (("part_charge", *_FLAGS), _pdg_id),
            "dxy": (("part_d0val",), _centimetres),
            "dxyerr": (("part_d0err",), _centimetres),
            "dxysig": (("part_d0val", "part_d0err"), _significance),
            "dz": (("part_dzval",), _centimetres),
            "dzerr": (("part_dzerr",), _centimetres),
            "dzsig": (("part_dzval", "part_dzerr"), _significance),
            "hasTrack": (("part_charge",), lambda charge: (charge != 0).astype(np.float32)),
        },
        "jet": {
            "pt": (("jet_pt",), _itself),
            "eta": (("jet_eta",), _itself),
            "phi": (("jet_phi",), _itself),
            "mass": (("jet_energy", "jet_pt", "jet_eta"), _jet_mass),
            "uncorrected_pt": (("jet_pt",), _itself),
            "uncorrected_mass": (("jet_energy", "jet_pt", "jet_eta"), _jet_mass),
            "msoftdrop": (("jet_sdmass",), _itself),
            "nConstituents": (("jet_nparticles",), _itself),
            **{f"tau{number}": ((f"jet_tau{number}",), _itself) for number in range(1, 5)},
        },
    }
)
