"""The figures of memory and time on docs/limits.md, from what other benchmarks stored.

python -m benchmarks.limits_page
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["PAGE", "PLACE", "blocks", "filled"]

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE = DOCS / "limits.md"
PLACE = re.compile(r"(<!-- limits: (?P<name>\w+) -->\n).*?(<!-- end of limits -->)", flags=re.DOTALL)


def _numbers(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((DOCS / name).read_text(encoding="utf-8"))
    return content


def _memory(measured: Mapping[str, Any]) -> str:
    rows = ["| memory beside the imports, or beside the chunk itself | MB |", "| --- | --- |"]
    for model, values in measured["memory"].items():
        rows += [f"| {what} (`{model}`) | {value / 1e6:.0f} |" for what, value in values.items()]
    return "\n".join(rows)


def _times(measured: Mapping[str, Any], jec: Mapping[str, Any], explained: Mapping[str, Any]) -> str:
    machine = measured["machine"]
    rows = ["| CPU time on one core | |", "| --- | --- |"]
    for model, one in measured["network"].items():
        milliseconds = one["variants"]["tagger fast"]["cpu_ms"]
        rows.append(
            f"| a jet with `{model}`, {one['constituents']:.0f} constituents on average, {one['jets']:,} jets | "
            f"{milliseconds:.1f} ms |"
        )
    for model, times in explained["costs"]["ratios"].items():
        rows.append(f"| gradients of a jet with `{model}` | {min(times['gradients']):.1f} ms |")
    rows.append(
        f"| integrated gradients of a jet, complete within 1 % | {explained['convergence']['seconds_per_jet']:.1f} s |"
    )
    trained = 1e3 / jec["throughput"]["jets_per_second"]
    rows.append(f"| training of a jet energy calibration, a jet and epoch | {trained:.2f} ms |")
    return f"{machine['processor']}, ONNX Runtime {machine['onnxruntime']}:\n\n" + "\n".join(rows)


def blocks() -> dict[str, str]:
    """What is between the markers of the page, by their names."""
    measured = _numbers("measured.json")
    times = _times(measured, _numbers("measured_jec.json"), _numbers("measured_explain.json"))
    return {"memory": _memory(measured), "times": times}


def filled(text: str) -> str:
    """The page with the numbers that are stored now.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
    """
    made = blocks()
    return PLACE.sub(lambda match: f"{match[1]}{made[match['name']]}\n{match[3]}", text)


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
