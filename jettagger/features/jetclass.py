"""Columns of constituents with the names, units and conventions of JetClass-II, from columns of CMS candidates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from jettagger.features.cms import etarel
from jettagger.kinematics import delta_phi, energy, px, py, pz
from jettagger.types import Array

__all__ = ["CONSTITUENT_COLUMNS", "ConstituentColumn"]

#: millimetres in a centimetre
CM = 10.0


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
