"""What was validated against what: docs/validation.md and its numbers, which the tests measure.

    python -m benchmarks.validation                      # all comparisons; writes the JSON and the page
    python -m benchmarks.validation cms_stored_scores    # those of groups whose name begins so; the others stay
    python -m benchmarks.validation --page               # the page alone, from the JSON

Each comparison is made by one test, with the fixture ``agrees``. A test that cannot run here (an extra or the real
files are not there) leaves the numbers as they are stored, with their own date and versions.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import TITLES
from benchmarks.validation_list import COMPARISONS, GROUPS, Comparison

ROOT = Path(__file__).resolve().parent.parent
NUMBERS, PAGE = ROOT / "docs" / "measured_validation.json", ROOT / "docs" / "validation.md"
PLACE = re.compile(r"(<!-- validation: (?P<name>\w+) -->\n).*?(<!-- end of validation -->)", flags=re.DOTALL)


def measured_part(made: Any, expected: Any, *, sample: int, atol: float, rtol: float) -> dict[str, Any]:
    """Differences of arrays as numbers.

    Parameters
    ----------
    made, expected : array_like
        NaN and infinities are at the same places.
    sample : int
    atol, rtol : float
        The bound of the test.

    Returns
    -------
    dict
        ``numbers`` (how many were compared), ``median`` and ``maximum`` of the absolute difference, ``relative`` (the
        largest ratio of difference and expected number, if the bound is relative), ``scale`` (the largest expected
        number).
    """
    made, expected = (np.asarray(values, dtype=np.float64).ravel() for values in (made, expected))
    finite = np.isfinite(expected)
    off, size = np.abs(made[finite] - expected[finite]), np.abs(expected[finite])
    found: dict[str, Any] = {
        "sample": int(sample),
        "numbers": int(finite.sum()),
        "median": float(np.median(off)),
        "maximum": float(off.max()),
        "scale": float(size.max()),
        "atol": atol,
        "rtol": rtol,
    }
    if rtol:
        found["relative"] = float((off[size > 0] / size[size > 0]).max())
    return {name: float(f"{value:.3g}") if isinstance(value, float) else value for name, value in found.items()}


@cache
def stored() -> dict[str, Any]:
    """The numbers of docs/measured_validation.json; empty before the first."""
    if not NUMBERS.exists():
        return {}
    content: dict[str, Any] = json.loads(NUMBERS.read_text(encoding="utf-8"))
    return content


def measure(beginning: str = "") -> dict[str, dict[str, Any]]:
    """Run the tests of comparisons and return what they compared: name -> part -> numbers.

    Parameters
    ----------
    beginning : str
        Of the names of the comparisons; empty for all.
    """
    tests = sorted({entry.test for name, entry in COMPARISONS.items() if name.startswith(beginning)})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "agreement.json"
        command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:randomly", "--run-slow", "--run-long"]
        subprocess.run([*command, f"--record-agreement={path}", *tests], cwd=ROOT, check=True)
        found: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    for name in sorted(entry for entry in COMPARISONS if entry.startswith(beginning) and entry not in found):
        print(f"{name}: {COMPARISONS[name].test} was not run; its numbers stay")
    return {name: parts for name, parts in found.items() if name.startswith(beginning)}


# --------------------------------------------------------------------------------------------------------------- file


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _revision() -> str:
    """The commit, with a plus where files differ from it; empty where there is no clone."""
    call = {"cwd": ROOT, "capture_output": True, "text": True}
    commit = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], **call).stdout.strip()
    changed = subprocess.run(["git", "status", "--porcelain", "-uno", "--", "jettagger"], **call)
    return f"{commit}+" if changed.stdout.strip() else commit


def summary(parts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """All parts of a comparison in a few numbers: the largest of each, and the smallest and largest median."""
    medians = [part["median"] for part in parts.values()]
    found = {
        "sample": max(part["sample"] for part in parts.values()),
        "numbers": sum(part["numbers"] for part in parts.values()),
        "median": [min(medians), max(medians)],
        "maximum": max(part["maximum"] for part in parts.values()),
        "atol": max(part["atol"] for part in parts.values()),
        "rtol": max(part["rtol"] for part in parts.values()),
    }
    relative = [part["relative"] for part in parts.values() if "relative" in part]
    return {**found, **({"relative": max(relative)} if relative else {})}


def with_found(kept: Mapping[str, Any], found: Mapping[str, dict[str, Any]], data: Path | None) -> dict[str, Any]:
    """The content of the file, with new numbers in the place of old ones; comparisons that are no more are left out.

    Parameters
    ----------
    kept : mapping
        The content before.
    found : mapping
        Name -> part -> numbers.
    data : path or None
        Folder with the real files, of which size and checksum are noted.

    Returns
    -------
    dict
        Group -> name -> numbers, parts, date, revision and versions.
    """
    now = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    content: dict[str, Any] = {group: {} for group in GROUPS}
    for name, comparison in COMPARISONS.items():
        group, _, short = name.partition("/")
        if name not in found:
            if short in kept.get(group, {}):
                content[group][short] = kept[group][short]
            continue
        files = {file: hashlib.sha256((data / file).read_bytes()).hexdigest()[:16] for file in comparison.files if data}
        content[group][short] = {
            **summary(found[name]),
            "test": comparison.test,
            "date": now,
            "revision": _revision(),
            "versions": {package: _version(package) for package in ("jettagger", *comparison.packages)},
            **({"sha256": files} if files else {}),
            "parts": found[name],
        }
    return content


# --------------------------------------------------------------------------------------------------------------- page


def _digits(value: float) -> str:
    return f"{value:.1g}" if value else "0"


def _median(entry: Mapping[str, Any]) -> str:
    low, high = (_digits(value) for value in entry["median"])
    return low if low == high else f"{low} to {high}"


def _bound(entry: Mapping[str, Any]) -> str:
    if not entry["atol"] and not entry["rtol"]:
        return "equal"
    texts = [f"{entry['atol']:g}"] if entry["atol"] else []
    return " + ".join([*texts, *([f"{entry['rtol']:g} relative"] if entry["rtol"] else [])])


def _row(comparison: Comparison, entry: Mapping[str, Any]) -> list[str]:
    versions = ", ".join(f"{package} {entry['versions'][package]}" for package in comparison.packages)
    against = f"{comparison.against} ({versions})" if versions else comparison.against
    unit = f" {comparison.unit}" if comparison.unit else ""
    maximum = f"{_digits(entry['maximum'])}{unit}" if entry["maximum"] else "0"
    if entry["maximum"] and "relative" in entry and not entry["atol"]:
        maximum += f" ({_digits(entry['relative'])} relative)"
    what = f"[{comparison.what}]({comparison.page})" if comparison.page else comparison.what
    on = comparison.on.format(sample=f"{entry['sample']:,}")
    test = comparison.test.removeprefix("tests/").partition("::")[0]
    median = f"{_median(entry)}{unit}" if entry["maximum"] else "0"
    lines = (what, f"against {against}", f"{on}: {entry['numbers']:,} numbers", f"`{test}`")
    return ["<br>".join(lines), median, maximum, _bound(entry)]


_HEAD = ["what, against what, on what, by which test", "median", "maximum", "bound"]


def _table(rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [_HEAD, ["---"] * len(_HEAD), *rows])


def _group(content: Mapping[str, Any], group: str) -> str:
    """A section: what is said about the comparisons, and their table."""
    names = [name for name in COMPARISONS if name.startswith(f"{group}/")]
    rows = [_row(COMPARISONS[name], content[group][name.partition("/")[2]]) for name in names]
    return f"{GROUPS[group][1]}\n\n{_table(rows)}"


def _total(content: Mapping[str, Any]) -> str:
    """A sentence on how many there are, and when they were made."""
    entries = [entry for group in GROUPS for entry in content[group].values()]
    dates = sorted({entry["date"] for entry in entries})
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    own = sorted({entry["versions"]["jettagger"] for entry in entries})
    return (
        f"{len(entries)} comparisons of {sum(entry['numbers'] for entry in entries):,} numbers, made {when} with "
        f"jettagger {', '.join(own)}."
    )


def _sessions() -> str:
    """How far scores of other graphs and libraries are off, as benchmarks.throughput measured it."""
    content: dict[str, Any] = json.loads((NUMBERS.parent / "measured.json").read_text(encoding="utf-8"))
    rows = [["network", "jets", "what runs", "largest difference"], ["---"] * 4]
    for model, one in content["network"].items():
        for name, values in one["variants"].items():
            if "difference" in values and name != "peer":
                rows.append([f"`{model}`", f"{one['jets']:,}", TITLES[name], _digits(values["difference"])])
    machine = content["machine"]
    return f"With ONNX Runtime {machine['onnxruntime']} on {machine['processor']}:\n\n" + "\n".join(
        f"| {' | '.join(row)} |" for row in rows
    )


def blocks(content: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is between the markers of the page, by their names."""
    yield "total", _total(content)
    yield "sessions", _sessions()
    for group in GROUPS:
        yield group, _group(content, group)


def filled(text: str, content: Mapping[str, Any]) -> str:
    """The page with the tables of these numbers.

    Parameters
    ----------
    text : str
        The page.
    content : mapping
        That of docs/measured_validation.json.

    Returns
    -------
    str
    """
    made = dict(blocks(content))
    return PLACE.sub(lambda match: f"{match[1]}{made[match['name']]}\n{match[3]}", text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("beginning", nargs="?", default="", help="of the names of the comparisons to measure")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder with real files")
    parser.add_argument("--page", action="store_true", help="write the page alone")
    args = parser.parse_args()
    content = stored()
    if not args.page:
        content = with_found(content, measure(args.beginning), args.data if args.data.is_dir() else None)
        NUMBERS.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), content), encoding="utf-8")


if __name__ == "__main__":
    main()
