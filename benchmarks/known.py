"""Golden vectors and fingerprints of public networks: ``python -m benchmarks.known ../shared/data/models``.

Writes ``jettagger/known/<name>.npz`` for each folder whose network has a card there. The inputs are made here, jet by
jet, from the rules of CMSSW's ``preprocess.json``, and the network runs in plain ONNX Runtime: nothing of jettagger's
batching, sessions or outputs takes part.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from jettagger.bundles.known import output_fingerprint, variable_fingerprint
from jettagger.bundles.places import PACKAGE
from jettagger.features import lookup
from jettagger.inputs.random_jets import ToyJets

#: constituents and vertices of the jets
COUNTS = {"pf": (1, 9, 21), "sv": (0, 1, 3)}
SEED = 20260

NUMBERS = ("median", "norm_factor", "replace_inf_value", "lower_bound", "upper_bound", "pad")


def columns_of(description: dict[str, Any]) -> dict[tuple[str, str], Any]:
    """Random values of the columns that the variables need."""
    toys = ToyJets({name: np.array(counts) for name, counts in COUNTS.items()}, SEED)
    columns = {}
    for group in description["input_names"]:
        for feature in lookup(description[group]["var_names"]):
            columns |= {(feature.object, need): toys.column(feature.object, need) for need in feature.needs}
    return columns


def tensor(group: dict[str, Any], columns: dict[tuple[str, str], Any], jet: int) -> Any:
    """One input for one jet, ``float32[1, variables, length]``."""
    rows = []
    for feature in lookup(group["var_names"]):
        info = group["var_infos"][feature.name]
        first = sum(COUNTS[feature.object][:jet])
        mine = slice(first, first + COUNTS[feature.object][jet])
        values = feature(*(columns[feature.object, need][mine] for need in feature.needs)).astype(np.float32)
        values = np.where(np.isfinite(values), values, np.float32(info["replace_inf_value"]))
        values = (values - np.float32(info["median"])) * np.float32(info["norm_factor"])
        values = np.clip(values, info["lower_bound"], info["upper_bound"]).astype(np.float32)
        low, high = (group.get("var_length", group.get(key)) for key in ("min_length", "max_length"))
        length = min(max(len(values), low, 1), high)
        padded = np.full(length, info.get("pad", 0), dtype=np.float32)
        padded[: min(len(values), length)] = values[:length]
        rows.append(padded)
    return np.stack(rows)[np.newaxis]


def scores_of(folder: Path, card: dict[str, Any], description: dict[str, Any]) -> Any:
    """What the network gives for each jet alone, with the softmax that the card asks for."""
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    columns = columns_of(description)
    rows = []
    for jet in range(len(COUNTS["pf"])):
        inputs = {group: tensor(description[group], columns, jet) for group in description["input_names"]}
        (row,) = session.run(None, inputs)[0].astype(np.float64)
        patterns = card.get("softmax", ())
        marked = [any(fnmatchcase(name, pattern) for pattern in patterns) for name in description["output_names"]]
        if any(marked):
            powers = np.exp(row[marked] - row[marked].max())
            row[marked] = powers / powers.sum()
        rows.append(row)
    return np.stack(rows).astype(np.float32)


def content(folder: Path, card: dict[str, Any]) -> dict[str, Any]:
    """All that is kept of a network."""
    description = json.loads((folder / "preprocess.json").read_text())
    columns = columns_of(description)
    variables = [
        f"{group} {variable_fingerprint(name, [description[group]['var_infos'][name].get(key, 0) for key in NUMBERS])}"
        for group in description["input_names"]
        for name in description[group]["var_names"]
    ]
    arrays = {
        "variables": np.array(variables),
        "outputs": np.array([output_fingerprint(name) for name in description["output_names"]]),
        "scores": scores_of(folder, card, description),
    }
    for object_ in sorted({name for name, _ in columns}):
        names = sorted(column for name, column in columns if name == object_)
        arrays[f"names_{object_}"] = np.array(names)
        arrays[f"values_{object_}"] = np.stack([columns[object_, column] for column in names])
        if object_ != "jet":
            arrays[f"counts_{object_}"] = np.array(COUNTS[object_], dtype=np.int64)
    return arrays


def card_of(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """The card of the network in a folder, where there is one."""
    digest = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    for path in sorted((PACKAGE / "known").glob("*.json")):
        card = json.loads(path.read_text())
        if card.get("sha256", {}).get("model.onnx") == digest:
            return path, card
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, help="folder with one folder a network")
    for folder in sorted(parser.parse_args().models.iterdir()):
        if (folder / "model.onnx").is_file() and (folder / "preprocess.json").is_file() and (found := card_of(folder)):
            target = found[0].with_suffix(".npz")
            np.savez_compressed(target, **content(folder, found[1]))
            print(f"{target}: {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
