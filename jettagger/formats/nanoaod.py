"""Central NanoAOD and scouting NanoAOD; missing columns are known before anything is read."""

from __future__ import annotations

from jettagger.formats.base import ColumnSource, Format, Link

__all__ = ["NANOAOD", "NANOAOD_AK4", "NANOAOD_V15", "SCOUTING"]


def _jet(collection: str) -> dict[str, tuple[ColumnSource, ...]]:
    return {name: (ColumnSource((f"{collection}.{name}",)),) for name in ("pt", "eta", "phi", "mass")}


NANOAOD_V15 = Format(
    name="nanoaod-v15",
    title="central NanoAOD from version 15 (candidates of fat jets without tracks)",
    jets="FatJet",
    signature=("FatJet", "FatJetPFCand", "PFCand"),
    links={"pf": Link("FatJetPFCand", "jetIdx", "PFCand", "pfCandIdx", ColumnSource(("PFCand.pt",)))},
    columns={
        "jet": {
            **_jet("FatJet"),
            "raw_pt": (ColumnSource(("FatJet.pt", "FatJet.rawFactor"), lambda pt, factor: pt * (1 - factor)),),
        },
        # PFCand_pt and _mass are multiplied by the PUPPI weight, so the plain ones are not among the columns
        "pf": {
            **{name: (ColumnSource((f"PFCand.{name}",)),) for name in ("eta", "phi", "pdgId")},
            "summed_pt": (ColumnSource(("PFCand.pt",)),),
        },
    },
    remark="use PFNano, as central NanoAOD stores candidates with PUPPI-weighted pt and without tracks, or "
    "discriminants on its stored scores (FatJet_globalParT3_*, FatJet_particleNet*), which need no network",
)

NANOAOD = Format(
    name="nanoaod",
    title="central NanoAOD (no candidates)",
    jets="FatJet",
    signature=("FatJet",),
    columns={"jet": _jet("FatJet")},
    remark="use PFNano, as this NanoAOD has no candidates, or discriminants on its stored scores",
)

NANOAOD_AK4 = Format(
    name="nanoaod-ak4",
    title="NanoAOD without candidates of AK4 jets",
    jets="Jet",
    signature=("Jet",),
    columns={"jet": _jet("Jet")},
    remark="use a PFNano that holds the candidates of AK4 jets, with the links JetPFCands and JetSVs, or discriminants "
    "on its stored scores (Jet_btagDeepFlav*, Jet_btagPNet*, Jet_btagUParTAK4*)",
    kind="AK4",
)

SCOUTING = Format(
    name="scouting",
    title="scouting NanoAOD (no candidates)",
    jets="ScoutingFatJet",
    signature=("ScoutingFatJet",),
    columns={"jet": _jet("ScoutingFatJet")},
    remark="use a scouting NanoAOD with candidates, as this one has none, or its stored scores, "
    "ScoutingFatJet_particleNet_*",
)
