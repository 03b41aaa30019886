"""Small files of jet energy corrections of known formulas, and the same formulas in plain Python."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from correctionlib import schemav2

TAG, DATA_TAG, RESOLUTION = "Toy22_V1", "Toy22_RunC_V1", "Toy22_JRV1"

#: edges of the scale factors of the resolution in pseudorapidity
EDGES = (-3.0, -1.0, 1.0, 3.0)
FACTORS = {"nom": (1.2, 1.1, 1.25), "up": (1.3, 1.15, 1.35), "down": (1.1, 1.05, 1.15)}


def formula(text: str, *variables: str) -> schemav2.Formula:
    return schemav2.Formula(nodetype="formula", expression=text, parser="TFormula", variables=list(variables))


def correction(name: str, inputs: Sequence[str], data: Any, **kinds: str) -> schemav2.Correction:
    kinds = {"systematic": "string", "run": "int"} | kinds
    return schemav2.Correction(
        name=name,
        version=1,
        inputs=[schemav2.Variable(name=item, type=kinds.get(item, "real")) for item in inputs],
        output=schemav2.Variable(name="value", type="real"),
        data=data,
    )


def compound(name: str, inputs: Sequence[str], stack: Sequence[str]) -> schemav2.CompoundCorrection:
    return schemav2.CompoundCorrection(
        name=name,
        inputs=[schemav2.Variable(name=item, type="int" if item == "run" else "real") for item in inputs],
        output=schemav2.Variable(name="value", type="real"),
        inputs_update=["JetPt"],
        input_op="*",
        output_op="*",
        stack=list(stack),
    )


def write_jerc(path: Path, algorithm: str, *, shift: float = 0.0, tag: str = TAG, resolution: str = RESOLUTION) -> Path:
    """A file with corrections of simulation and data; ``shift`` is added to those of the formulas below."""
    scale = ("JetPt", "JetEta", "JetA", "Rho")
    binned = schemav2.Category(
        nodetype="category",
        input="systematic",
        content=[
            schemav2.CategoryItem(
                key=key,
                value=schemav2.Binning(
                    nodetype="binning", input="JetEta", edges=list(EDGES), content=list(values), flow="error"
                ),
            )
            for key, values in FACTORS.items()
        ],
    )
    first = correction(f"{tag}_MC_L1FastJet_{algorithm}", scale, formula("1-0.002*x*y", "JetA", "Rho"))
    second = formula(f"{1.04 + shift}+0.01*y*y+2/x", "JetPt", "JetEta")
    data = schemav2.Category(
        nodetype="category",
        input="run",
        content=[
            schemav2.CategoryItem(key=run, value=formula(f"{1.01 + 0.01 * (run - 1)}+1/x", "JetPt"))
            for run in (1, 2, 3)
        ],
    )
    content = schemav2.CorrectionSet(
        schema_version=2,
        corrections=[
            first,
            correction(f"{tag}_MC_L2Relative_{algorithm}", ("JetPt", "JetEta"), second),
            correction(f"{DATA_TAG}_DATA_L2L3Residual_{algorithm}", ("run", "JetPt"), data),
            correction(
                f"{tag}_MC_Total_{algorithm}", ("JetEta", "JetPt"), formula("0.02+x*x*0.005+3/y", "JetEta", "JetPt")
            ),
            correction(f"{tag}_MC_Regrouped_FlavorQCD_{algorithm}", ("JetEta", "JetPt"), 0.03),
            correction(
                f"{resolution}_MC_PtResolution_{algorithm}",
                ("JetEta", "JetPt", "Rho"),
                formula("sqrt(0.06*0.06+z/(y*y))", "JetEta", "JetPt", "Rho"),
            ),
            correction(f"{resolution}_MC_ScaleFactor_{algorithm}", ("JetEta", "systematic"), binned),
        ],
        compound_corrections=[
            compound(
                f"{tag}_MC_L1L2L3Res_{algorithm}",
                scale,
                (f"{tag}_MC_L1FastJet_{algorithm}", f"{tag}_MC_L2Relative_{algorithm}"),
            ),
            compound(
                f"{DATA_TAG}_DATA_L1L2L3Res_{algorithm}",
                ("run", "JetPt"),
                (f"{DATA_TAG}_DATA_L2L3Residual_{algorithm}",),
            ),
        ],
    )
    path.write_text(content.model_dump_json(exclude_unset=True))
    return path


def scale_mc(pt: float, eta: float, area: float, rho: float, shift: float = 0.0) -> float:
    """L1L2L3Res of simulation."""
    first = 1 - 0.002 * area * rho
    return first * (1.04 + shift + 0.01 * eta * eta + 2 / (pt * first))


def scale_data(pt: float, run: int) -> float:
    return 1.01 + 0.01 * (run - 1) + 1 / pt


def uncertainty(source: str, pt: float, eta: float) -> float:
    return {"Total": 0.02 + eta * eta * 0.005 + 3 / pt, "Regrouped_FlavorQCD": 0.03}[source]


def resolution(pt: float, rho: float) -> float:
    return math.sqrt(0.06 * 0.06 + rho / (pt * pt))


def resolution_factor(eta: float, side: str) -> float:
    number = sum(eta >= edge for edge in EDGES[1:-1])
    return FACTORS[side][number]


def smear(jet: Mapping[str, float], side: str, gauss: float, generated: float | None) -> float:
    """The factor of the resolution of a jet of scaled ``pt``."""
    relative, factor = resolution(jet["pt"], jet["rho"]), resolution_factor(jet["eta"], side)
    if generated is not None and abs(jet["pt"] - generated) < 3 * relative * jet["pt"]:
        return 1 + (factor - 1) * (jet["pt"] - generated) / jet["pt"]
    return 1 + relative * gauss * math.sqrt(max(factor**2 - 1, 0))
