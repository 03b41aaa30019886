"""Tables of what the benchmarks measured, for the screen and for the documentation.

    python -m benchmarks.report docs/measured.json docs/scaling.md    # writes the tables into the page

The page has ``<!-- measured: SECTION -->`` and ``<!-- end -->`` around each table.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

#: what the rows of the table of networks are called
TITLES = {
    "peer": "the usual way: padded to 128, batches of 192",
    "tagger": "tagger, the file's graph as it is",
    "bound": "bound: that network alone, jets of the same length together",
    "tagger fast": "tagger, as it is by default",
    "bound fast": "bound with the rewritten graph",
    "tagger openvino": "tagger with OpenVINO",
    "bound openvino": "bound with OpenVINO",
}

#: head of the table of networks
NETWORK = ("", "CPU ms/jet", "wall ms/jet", "over its bound", "faster than the usual way", "own share", "difference")


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as a Markdown table, the first as its head.

    Parameters
    ----------
    rows : sequence of sequence of str

    Returns
    -------
    str
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    """Where this runs."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        found = re.search(r"^model name\s*: (.*)$", cpuinfo.read_text(), re.M)
        name = found[1] if found else name
    packages = {package: _version(package) for package in ("onnxruntime", "numpy", "awkward", "uproot")}
    return {"processor": name, "cores": os.cpu_count(), "python": platform.python_version(), **packages}


def _version(package: str) -> str:
    """Of what is imported by that name, whichever distribution it comes from; empty where it is not there."""
    try:
        return version(package)
    except PackageNotFoundError:
        try:
            return str(import_module(package).__version__)
        except ImportError:
            return ""


def keep(path: Path | None, section: str, name: str, found: Any, *, here: bool = True) -> None:
    """Add a result to a file of results, in the place of an older one.

    Parameters
    ----------
    path : path or None
        None: nothing is kept.
    section, name : str
    found : dict
        Numbers are kept with four digits.
    here : bool
        Whether the page is about this machine; else the results say themselves where they come from.
    """
    if path is None:
        return
    content = json.loads(path.read_text()) if path.exists() else {}
    if here:
        content["machine"] = machine()
    content.setdefault(section, {})[name] = _rounded(found)
    path.write_text(json.dumps(content, indent=1) + "\n")


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _rounded(entry) for name, entry in value.items()}
    if isinstance(value, tuple):
        return [_rounded(entry) for entry in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def show(section: str, found: Mapping[str, Any]) -> str:
    """A section of the results as Markdown.

    Parameters
    ----------
    section : str
    found : dict
        Name -> what was measured.

    Returns
    -------
    str
    """
    return str(globals()[f"_{section}"](found))


def _machine(found: Mapping[str, Any]) -> str:
    return (
        f"{found['processor']}, {found['cores']} cores, Python {found['python']}, ONNX Runtime {found['onnxruntime']}, "
        f"NumPy {found['numpy']}"
    )


def _network(found: Mapping[str, Any]) -> str:
    parts = []
    for model, one in found.items():
        rows = [
            ("", "CPU ms/jet", "wall ms/jet", "over its bound", "faster than the usual way", "own share", "difference")
        ]
        for name, values in one["variants"].items():
            rows.append(
                (
                    TITLES[name],
                    f"{values['cpu_ms']:.2f}",
                    f"{values['wall_ms']:.2f}",
                    f"{values['over_bound']:.3f}" if "over_bound" in values else "",
                    f"{values['over_peer']:.1f}" if "over_peer" in values else "",
                    f"{100 * values['own_share']:.1f} %" if "own_share" in values else "",
                    f"{values['difference']:.2g}" if "difference" in values else "",
                )
            )
        gains = [
            f"{TITLES[name]}: {values['over_file']:.2f} times as fast as with the file's"
            for name, values in one["variants"].items()
            if "over_file" in values
        ]
        parts.append(
            f"{model}: {one['jets']} jets with {one['constituents']:.0f} constituents on average, {one['truncated']} "
            f"with more than the network takes.\n\n{table(rows)}\n\n" + "; ".join(gains) + "."
        )
    return "\n\n".join(parts)


def _reading(found: Mapping[str, Any]) -> str:
    rows = [("format, codec", "MB", "CPU ms/jet", "jets/s on a core")]
    for one in found.values():
        for name, values in one.items():
            rows.append(
                (name, f"{values['megabytes']:.1f}", f"{values['cpu_ms']:.3f}", f"{1e3 / values['cpu_ms']:,.0f}")
            )
    return table(rows)


def _files(found: Mapping[str, Any]) -> str:
    rows = [("codec", "reading, ms/jet", "inference, ms/jet", "`jettagger tag`, ms/jet", "over the larger of both")]
    for one in found.values():
        for codec, values in one.items():
            wall = values["wall_ms"]
            numbers = [f"{wall[name]:.3f}" for name in ("reading", "inference", "tag")]
            rows.append((codec, *numbers, f"{values['over_larger']:.3f}"))
    return table(rows)


def _second(found: Mapping[str, Any]) -> str:
    rows = [("the second of two models", "its cost over its network alone")]
    rows += [(name, f"{value:.3f}") for one in found.values() for name, value in one.items()]
    return table(rows)


def _cache(found: Mapping[str, Any]) -> str:
    rows = [("model", "a hit over inference")]
    rows += [(name, f"{100 * one['hit_over_inference']:.1f} %") for name, one in found.items()]
    return table(rows)


def _dask(found: Mapping[str, Any]) -> str:
    rows = [("workers", "jets/s", "factor")]
    first = 0.0
    for name, value in next(iter(found.values())).items():
        first = first or value
        rows.append((name, f"{value:.0f}", f"{value / first:.2f}"))
    return table(rows)


def _memory(found: Mapping[str, Any]) -> str:
    rows = [("", "MB")]
    rows += [(name, f"{value / 1e6:.0f}") for one in found.values() for name, value in one.items()]
    return table(rows)


def _gpu(found: Mapping[str, Any]) -> str:
    models = list(found)
    rates = dict.fromkeys(name for one in found.values() for name in one["rates"])
    rows = [("jets/s", *models)]
    rows += [(name, *(_number(one["rates"].get(name), "{:,.0f}") for one in found.values())) for name in rates]
    kinds = dict.fromkeys(kind for one in found.values() for kind in one["differences"])
    quantiles = [("differences from the CPU, in tolerances", *models)]
    for kind in kinds:
        for name in ("median", "99 %", "largest"):
            numbers = (_number(one["differences"].get(kind, {}).get(name), "{:.2g}") for one in found.values())
            quantiles.append((f"{kind}, {name}", *numbers))
    one = next(iter(found.values()))
    device, host = one["device"], one["machine"]
    place = (
        f"{device.get('name', 'unknown GPU')} (driver {device.get('driver', 'unknown')}), {host['processor']}, "
        f"{host['cores']} cores, Python {host['python']}, ONNX Runtime {host['onnxruntime']}"
    )
    return f"{place}\n\n{table(rows)}\n\n{table(quantiles)}"


def _rewriting(found: Mapping[str, Any]) -> str:
    models = [name for name in found if name != "operators"]
    steps = dict.fromkeys(step for name in models for step in found[name]["steps"])
    rows = [("times as fast as the file's graph", *models)]
    rows += [(step, *(_range(found[name]["steps"].get(step)) for name in models)) for step in steps]
    tried = [("tried in the place of what is used", "times as fast", "largest difference")]
    tried += [
        (title, _range(one["faster"]), _number(one.get("difference"), "{:.1g}"))
        for title, one in found["operators"]["trials"].items()
    ]
    return "\n\n".join((_machine(found["operators"]["machine"]), table(rows), table(tried)))


def _range(values: Sequence[float] | None) -> str:
    if values is None:
        return ""
    median, low, high = values
    return f"{median:.2f} ({low:.2f} to {high:.2f})"


def _number(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _stability(found: Mapping[str, Any]) -> str:
    methods = {name: one for name, one in found.items() if name != "machine"}
    titles = {
        "rejection_30": "rejection at 30 %",
        "rejection_50": "rejection at 50 %",
        "loss": "loss, spectra of the signal",
    }
    heads = [column for title in titles.values() for column in (title, "spread")]
    rows = [("kinematics", "effective jets", *heads)]
    for name, one in methods.items():
        cells = []
        for key in titles:
            numbers, digits = one["spreads"][key], 4 if key == "loss" else 2
            cells.append(f"{numbers['mean']:.{digits}f} ± {numbers['mean_uncertainty']:.{digits}f}")
            cells.append(f"{numbers['deviation']:.{digits}f} ± {numbers['deviation_uncertainty']:.{digits}f}")
        effective = one["effective"] or one["jets"].values()
        rows.append((name, " + ".join(f"{number:.0f}" for number in effective), *cells))
    first = next(iter(methods.values()))
    jets = " and ".join(f"{number} of {name}" for name, number in first["jets"].items())
    page = f"{first['seeds']} seeds, {jets} for training, with {_processor(found['machine'])}:\n\n{table(rows)}"
    others = [name for name in methods if name not in ("none", "weights")]
    if not others or "weights" not in methods:
        return page
    rows = [("spread over that of weights (two-sided F test)", *titles.values())]
    for name in others:
        rows.append((name, *(_ratio(methods[name], methods["weights"], key) for key in titles)))
    return f"{page}\n\n{table(rows)}"


def _ratio(one: Mapping[str, Any], other: Mapping[str, Any], key: str) -> str:
    from scipy.stats import f

    ratio = one["spreads"][key]["deviation"] / other["spreads"][key]["deviation"]
    tail = f.cdf(ratio**2, one["seeds"] - 1, other["seeds"] - 1)
    return f"{ratio:.2f} (p = {2 * min(tail, 1 - tail):.2f})"


def _processor(found: Mapping[str, Any]) -> str:
    return f"{found['processor']}, NumPy {found['numpy']}"


#: what the rows of the table of clients are called
CLIENTS = {"grpc": "gRPC", "http": "HTTP, numbers as bytes", "json": "HTTP, numbers as JSON"}


def _remote(found: Mapping[str, Any]) -> str:
    parts = []
    for name, one in found.items():
        rows = [("", "CPU of the client, µs/jet", "over the network here")]
        for client, values in one["clients"].items():
            ms, share = values["ms"], values["over_network"]
            rows.append(
                (
                    CLIENTS[client],
                    f"{1e3 * ms['median']:.0f} ± {1e3 * ms['error']:.0f}",
                    f"{100 * share['median']:.1f} ± {100 * share['error']:.1f} %",
                )
            )
        here = one["network_ms"]
        parts.append(
            f"{name}: {one['jets']} jets in {one['requests']} requests of {one['jets_a_request']:.0f} on average, "
            f"{one['kilobytes_a_jet']:.1f} kB a jet. The network here takes {here['median']:.2f} ± {here['error']:.2f} "
            f"ms/jet.\n\n{table(rows)}"
        )
    return "\n\n".join(parts)


def cost_of(jets: float, cpu_ms: float) -> str:
    """Core hours of many jets, two digits."""
    hours = jets * cpu_ms / 3.6e6
    return f"{float(f'{hours:.2g}'):,.0f}"


def _cost(found: Mapping[str, Any]) -> str:
    rows = [("core hours for 10⁹ jets", "the usual way", "file's graph", "by default")]
    for model, one in found.items():
        names = ("peer", "tagger", "tagger fast")
        rows.append((model, *(cost_of(1e9, one["variants"][name]["cpu_ms"]) for name in names)))
    return table(rows)


def page(text: str, results: Mapping[str, Any]) -> str:
    """A page with its tables made anew.

    Parameters
    ----------
    text : str
    results : dict
        As `keep` writes them.

    Returns
    -------
    str
    """

    def filled(match: re.Match[str]) -> str:
        section = match[1]
        found = results.get("network" if section == "cost" else section)
        made = "Not measured with this program yet." if section == "gpu" else "Not measured yet."
        made = made if found is None else show(section, found)
        return f"<!-- measured: {section} -->\n{made}\n<!-- end -->"

    return re.sub(r"<!-- measured: (\w+) -->\n.*?<!-- end -->", filled, text, flags=re.S)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    source, target = map(Path, sys.argv[1:])
    target.write_text(page(target.read_text(), json.loads(source.read_text())))
