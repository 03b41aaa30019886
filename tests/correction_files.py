"""Small files of correctionlib with known formulas, which tests write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from correctionlib import schemav2

from jettagger.files.corrections import write_correction_text

PT = [20.0, 220.0, 300.0, 500.0]
NUMBERS = {"nominal": [0.9, 1.1, 1.2], "up": [0.95, 1.2, 1.4], "down": [0.8, 1.05, 0.9]}


def binning(name: str, edges: Any, content: Any, flow: Any = "error") -> dict[str, Any]:
    return {"nodetype": "binning", "input": name, "edges": edges, "content": content, "flow": flow}


def category(name: str, content: dict[Any, Any], default: Any = None) -> dict[str, Any]:
    items = [{"key": key, "value": value} for key, value in content.items()]
    return {"nodetype": "category", "input": name, "content": items, "default": default}


def formula(text: str, *names: str) -> dict[str, Any]:
    return {"nodetype": "formula", "expression": text, "parser": "TFormula", "variables": list(names)}


def correction(name: str, inputs: dict[str, str], data: Any) -> dict[str, Any]:
    listed = [{"name": key, "type": kind} for key, kind in inputs.items()]
    return {"name": name, "version": 1, "inputs": listed, "output": {"name": "weight", "type": "real"}, "data": data}


def write_corrections(path: Path, *corrections: dict[str, Any]) -> Path:
    made = schemav2.CorrectionSet.model_validate({"schema_version": 2, "corrections": list(corrections)})
    write_correction_text(path, made.model_dump_json(exclude_unset=True))
    return path


def pileup(shift: float = 0.0) -> dict[str, Any]:
    """1 + 0.01 (n - 20 + shift), twice the change up, none down; defined from 0 to 100."""
    sides = {
        key: binning("n", [0.0, 100.0], [formula(f"1 + {size} * (x - 20 + {shift})", "n")])
        for key, size in (("nominal", 0.01), ("up", 0.02), ("down", 0.0))
    }
    return correction("pileup", {"n": "real", "weights": "string"}, category("weights", sides))


def by_pt(name: str = "id") -> dict[str, Any]:
    """`NUMBERS` in bins of pt, with an input of each type."""
    sides = {key: binning("pt", PT, numbers) for key, numbers in NUMBERS.items()}
    flavors = {0: category("syst", sides), 5: category("syst", dict.fromkeys(sides, 1.5) | {"only_b": 2.0})}
    inputs = {"syst": "string", "wp": "string", "flavor": "int", "pt": "real"}
    return correction(name, inputs, category("wp", {"L": 1.0, "M": category("flavor", flavors)}))


def number_at(pt: float, key: str = "nominal") -> float:
    """What `by_pt` has for flavor 0."""
    return NUMBERS[key][int(np.searchsorted(PT, pt, side="right")) - 1]
