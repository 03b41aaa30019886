"""Valid ranges of the columns of NanoAOD with candidates, and of files with one row per jet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from jettagger.display import Brief
from jettagger.features.ntuples import STORED_COLUMNS
from jettagger.formats.base import Format
from jettagger.types import Array

__all__ = ["CHARGE", "CHARGED", "FINITE", "JET_RULES", "NEUTRAL", "RULES", "Rule", "rules_of"]


@dataclass(frozen=True)
class Rule(Brief):
    """Valid values of a column; infinities are never valid, NaN only if ``undefined``.

    Parameters
    ----------
    low, high : float
        Range, including both ends.
    unit : str
    also : tuple of float
        Further valid values with a special meaning.
    whole : bool
        Whether only integers are valid, also if they are stored as floats.
    sizes : tuple of int
        The only valid absolute values; empty: all.
    undefined : bool
        Whether NaN is valid, too: the ratio 0/0.

    Examples
    --------
    >>> rule = Rule(0, 100, "cm", also=(-1,))
    >>> str(rule), rule.fits(np.array([3.5, -1, -0.5, np.nan])).tolist()
    ('0 to 100 cm, or -1', [True, True, False, False])
    """

    low: float
    high: float
    unit: str = ""
    also: tuple[float, ...] = ()
    whole: bool = False
    sizes: tuple[int, ...] = ()
    undefined: bool = False

    def fits(self, values: Array) -> Array:
        """Mask of valid values, for an array of any shape; bools of the same shape."""
        with np.errstate(invalid="ignore"):
            right = (values >= self.low) & (values <= self.high)
            if self.whole:
                right &= values == np.rint(values)
        if self.sizes:
            right &= np.isin(np.abs(values), self.sizes)
        for value in self.also:
            right |= values == value
        if self.undefined:
            right |= np.isnan(values)
        return right

    def __str__(self) -> str:
        if self.sizes:
            return f"one of {', '.join(map(str, self.sizes))}, with either sign"
        kind = "a whole number from " if self.whole else ""
        unit = f" {self.unit}" if self.unit else ""
        also = (*self.also, *([np.nan] if self.undefined else []))
        return f"{kind}{self.low:g} to {self.high:g}{unit}" + "".join(f", or {value:g}" for value in also)


FINITE = Rule(-float(np.finfo(np.float32).max), float(np.finfo(np.float32).max))
_PT = Rule(0, 1e5, "GeV")
_ETA = Rule(-6, 6)
#: a little more than pi, to which truncated mantissas may round up
_PHI = Rule(-3.15, 3.15, "rad")
_DISTANCE = Rule(-1e4, 1e4, "cm")
_ERROR = Rule(0, 1e4, "cm", also=(-1,))
_SIGNIFICANCE = Rule(-1e6, 1e6)
_LAYERS = Rule(0, 100, whole=True)
_INDEX = Rule(-1, 1e6, whole=True)

#: the charge of candidates, and the columns it follows from
CHARGE = ("PFCands.charge", "PFCands.pdgId")

#: charged and neutral particles, by the absolute PDG IDs used in particle flow and simulations
CHARGED = (11, 13, 211, 321, 2212)
NEUTRAL = (1, 2, 22, 111, 130, 310, 2112)

#: PFNano's column -> valid values; wide enough for any detector at the LHC
RULES: Mapping[str, Rule] = {
    **{
        f"{name}.pt": _PT
        for name in ("FatJet", "Jet", "SubJet", "PFCands", "FatJetPFCands", "SV", "FatJetSVs", "JetSVs")
    },
    **{f"{name}.eta": _ETA for name in ("FatJet", "Jet", "SubJet", "PFCands", "SV")},
    **{f"{name}.phi": _PHI for name in ("FatJet", "Jet", "SubJet", "PFCands", "SV")},
    **{f"{name}.mass": Rule(-100, 1e5, "GeV") for name in ("FatJet", "Jet")},
    **{f"FatJet.subJetIdx{number}": _INDEX for number in (1, 2)},
    **{f"{name}.pFCandsIdx": _INDEX for name in ("FatJetPFCands", "JetPFCands")},
    **{f"{name}.{index}": _INDEX for name in ("FatJetSVs", "JetSVs") for index in ("jetIdx", "sVIdx")},
    "PV.npvs": Rule(0, 1e4, whole=True),
    **{f"{name}fixedGridRhoFastjetAll": Rule(0, 1e4, "GeV") for name in ("", "Rho.")},
    **{f"FatJet.DDX_{name}": FINITE for name in STORED_COLUMNS["DDX"]},
    # the lists of tracks beside them hold garbage beyond their end
    **{f"FatJet.DeepCSV_{name}": FINITE for name in STORED_COLUMNS["DeepCSV"] if not name[-1].isdigit()},
    "FatJet.msoftdrop": Rule(-1000, 1e5, "GeV"),
    **{f"FatJet.tau{number}": Rule(0, 100, also=(-1, -999, -9999)) for number in range(1, 5)},
    "FatJet.rawFactor": Rule(-10, 1),
    "FatJet.area": Rule(0, 100),
    "PFCands.mass": Rule(-10, 100, "GeV"),
    "PFCands.charge": Rule(-1, 1, whole=True),
    "PFCands.pdgId": Rule(-2212, 2212, sizes=tuple(sorted({0, *CHARGED, *NEUTRAL}))),
    "PFCands.puppiWeight": Rule(0, 1.01),
    "PFCands.pvAssocQuality": Rule(0, 7, whole=True),
    "PFCands.lostInnerHits": Rule(-1, 15, whole=True),
    "PFCands.trkQuality": Rule(-1, 255, whole=True),
    "PFCands.trkChi2": Rule(0, 1e6, also=(-1,)),
    **{f"PFCands.{name}": _DISTANCE for name in ("d0", "dz", "dxyFromPV", "dzFromPV")},
    **{f"PFCands.{name}": _ERROR for name in ("d0Err", "dzErr", "dxyErrFromPV", "dzErrFromPV")},
    "PFCands.isLostTrack": Rule(0, 1, whole=True),
    **{
        f"PFCands.{name}LayersWithMeasurement": _LAYERS
        for name in ("pixelBarrel", "pixelEndcap", "stripTEC", "stripTIB", "stripTID", "stripTOB")
    },
    **{f"FatJetPFCands.{name}": _DISTANCE for name in ("Cdz", "Cdxy", "dxyFromPV", "dzFromPV", "btagJetDistVal")},
    **{f"{name}.btagSip3dVal": _DISTANCE for name in ("FatJetPFCands", "JetPFCands")},
    "FatJetPFCands.dxyErrFromPV": _ERROR,
    **{f"FatJetPFCands.{name}": _SIGNIFICANCE for name in ("Cdzsig", "Cdxysig", "btagSip3dSig")},
    # CMS's own files hold some tracks of AK4 jets without an impact parameter or an error
    "JetPFCands.btagSip3dSig": Rule(-1e6, 1e6, undefined=True),
    "FatJetPFCands.btagEtaRel": Rule(-20, 20),
    "FatJetPFCands.btagPtRatio": Rule(-10, 100),
    "FatJetPFCands.btagPParRatio": Rule(-10, 100),
    "FatJetSVs.ntracks": Rule(0, 1000, whole=True),
    **{f"FatJetSVs.{name}": _SIGNIFICANCE for name in ("chi2", "normchi2", "dxysig", "d3dsig")},
    "FatJetSVs.costhetasvpv": Rule(-1.01, 1.01),
    **{f"{name}.mass": Rule(0, 1e4, "GeV") for name in ("FatJetSVs", "JetSVs")},
    **{f"{name}.{column}": _DISTANCE for name in ("FatJetSVs", "JetSVs") for column in ("dxy", "d3d")},
    **{f"{name}.deltaR": Rule(-0.5, 0) for name in ("FatJetSVs", "JetSVs")},
    **{f"{name}.enration": Rule(0, 100) for name in ("FatJetSVs", "JetSVs")},
    **{f"{name}.phirel": _PHI for name in ("FatJetSVs", "JetSVs")},
}


def rules_of(format_: Format) -> dict[str, Rule]:
    """Column, with its name in PFNano or a renamed PFNano -> its valid values.

    Parameters
    ----------
    format_ : Format

    Returns
    -------
    dict of str to Rule

    Examples
    --------
    >>> from jettagger.formats.pfnano import PFNANO_AK4
    >>> rules = rules_of(PFNANO_AK4)
    >>> [rules[f"{table}.btagSip3dSig"].undefined for table in ("FatJetPFCands", "JetPFCands")]
    [False, True]
    """
    rules = dict(RULES)
    if format_.kind == "AK4":  # whose names have changed places with those of fat jets
        large, small = "FatJetPFCands.btagSip3dSig", "JetPFCands.btagSip3dSig"
        rules |= {large: RULES[small], small: RULES[large]}
    return {format_.called(name): rule for name, rule in rules.items()}


#: the same for columns of files with one row per jet, with JetClass's names
JET_RULES: Mapping[str, Rule] = {
    "jet_pt": _PT,
    "jet_energy": Rule(0, 1e6, "GeV"),
    "jet_phi": _PHI,
    "part_energy": Rule(0, 1e6, "GeV"),
    "part_charge": Rule(-1, 1, whole=True),
    **{f"part_is{name}": Rule(0, 1, whole=True) for name in ("Electron", "Muon", "Photon")},
    **{f"part_is{name}Hadron": Rule(0, 1, whole=True) for name in ("Charged", "Neutral")},
    **{f"part_{name}err": Rule(0, 1e6, "mm") for name in ("d0", "dz")},
}
