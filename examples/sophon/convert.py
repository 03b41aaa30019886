"""From a trained network to a bundle for jettagger: model.onnx, data.yaml, bundle.json, golden vectors.

Runs where weaver-core and jettagger are (``make weaver``); ``train.py convert`` calls it. The ONNX file must give what
torch gives for every number of constituents, or nothing is written. Without ``--state`` the network has random
weights, for tests.

    python examples/sophon/convert.py --state training/net_epoch-79_state.pt -o mysophon
    python examples/sophon/convert.py --random 1 -o random --fixed-length
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from network import classes_of, get_model
from weaver.utils.data.config import DataConfig

from jettagger.bundles.places import PACKAGE

CONFIG = PACKAGE / "models" / "Sophon" / "data.yaml"

#: outputs of ONNX Runtime and torch may differ by this: probabilities, and hidden neurons of the order of one
TOLERANCE = 1e-4


def inputs_of(config: Any, jets: int, length: int, seed: int) -> dict[str, np.ndarray]:
    """Random inputs: massless constituents, features of the usual size, all slots filled."""
    rng = np.random.default_rng(seed)
    momenta = rng.normal(0, 20, (jets, 3, length))
    energy = np.linalg.norm(momenta, axis=1, keepdims=True)
    arrays = {
        "pf_features": rng.normal(0, 1, (jets, len(config.input_dicts["pf_features"]), length)),
        "pf_vectors": np.concatenate([momenta, energy], axis=1),
        "pf_mask": np.ones((jets, 1, length)),
    }
    return {name: arrays[name].astype(np.float32) for name in config.input_names}


def padded(inputs: dict[str, np.ndarray], length: int) -> dict[str, np.ndarray]:
    """The same jets in more slots: constituents are repeated, the mask is zero."""
    slots = np.arange(length) % inputs["pf_mask"].shape[2]
    result = {name: array[:, :, slots] for name, array in inputs.items()}
    result["pf_mask"][:, :, inputs["pf_mask"].shape[2] :] = 0
    return result


def largest_difference(path: Path, config: Any, model: Any, longest: int, fixed: bool) -> tuple[float, dict[str, Any]]:
    """ONNX Runtime against torch for jets of 1 to ``longest`` constituents; also torch's inputs and outputs."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    largest, kept = 0.0, {}
    for length in range(1, longest + 1):
        inputs = inputs_of(config, 2, length, length)
        with torch.no_grad():
            expected = model(*(torch.tensor(array) for array in inputs.values())).numpy()
        (found,) = session.run(None, padded(inputs, longest) if fixed else inputs)
        largest = max(largest, float(np.max(np.abs(found - expected))))
        kept |= {f"{length}__{name}": array for name, array in inputs.items()} | {f"{length}__output": expected}
    return largest, kept


def export(
    model: Any, info: dict[str, Any], inputs: dict[str, np.ndarray], path: Path, *, fixed: bool, opset: int
) -> None:
    """Write the ONNX file."""
    torch.onnx.export(
        model,
        tuple(torch.tensor(array) for array in inputs.values()),
        str(path),
        input_names=info["input_names"],
        output_names=info["output_names"],
        dynamic_axes={name: {0: "N"} for name in info["dynamic_axes"]} if fixed else info["dynamic_axes"],
        opset_version=opset,
        dynamo=False,
    )


def card_of(folder: Path, classes: tuple[str, ...], width: int, *, random: bool) -> dict[str, Any]:
    """The content of ``bundle.json``."""
    named = all(name.startswith("label_") for name in classes)
    return {
        "schema_version": 1,
        "name": folder.name,
        "title": "random weights: its scores mean nothing" if random else "trained with examples/sophon",
        "prefix": folder.name if re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", folder.name) else "sophon",
        "inputs": "data.yaml",
        "output_names": [*classes, *(f"hidNeuron{index:03d}" for index in range(width))],
        "kinds": {"prob": ["label_*"] if named else list(classes), "hidden": ["hidNeuron*"]},
        "golden": "golden.npz",
        "sha256": {"model.onnx": hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()},
        "source": "examples/sophon of jettagger",
    }


def main() -> None:
    """Do it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", metavar="FILE", help="weights that weaver wrote, *_state.pt")
    parser.add_argument("--random", type=int, metavar="SEED", help="random weights instead")
    parser.add_argument("--output", "-o", required=True, metavar="FOLDER", help="the bundle; its name is the model's")
    parser.add_argument("--config", default=str(CONFIG), metavar="YAML", help="data configuration (default: Sophon's)")
    parser.add_argument(
        "--option", "-n", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="of the network"
    )
    parser.add_argument("--fixed-length", action="store_true", help="constituents padded to the length of the YAML")
    parser.add_argument("--opset", type=int, default=17)
    parser.add_argument(
        "--lengths", metavar="FILE", help="also write torch's inputs and outputs for every length, .npz"
    )
    args = parser.parse_args()
    if (args.state is None) == (args.random is None):
        parser.error("give either --state or --random")
    folder = Path(args.output).resolve()
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+-]*", folder.name):
        parser.error(f"{folder.name!r} cannot be the name of a model: letters, digits and _ . + - only")
    if folder.exists() and any(folder.iterdir()):
        parser.error(f"{folder} exists already and is not empty")
    torch.manual_seed(args.random or 0)
    config = DataConfig.load(args.config, load_observers=False, load_reweight_info=False)
    options = {name: ast.literal_eval(value) for name, value in args.option}
    model, info = get_model(config, **options | {"export_embed": True, "for_inference": True})
    if args.state is not None:
        model.load_state_dict(torch.load(args.state, map_location="cpu", weights_only=True))
    else:  # hidden neurons that differ from jet to jet
        torch.nn.init.normal_(model.head[0].weight, std=0.1)
        torch.nn.init.normal_(model.head[3].weight, std=0.1)
    model.eval()
    longest = max(shape[2] for shape in config.input_shapes.values())
    example = inputs_of(config, 2, longest, 0)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.onnx"
    export(model, info, example, path, fixed=args.fixed_length, opset=args.opset)
    largest, lengths = largest_difference(path, config, model, longest, args.fixed_length)
    if not largest < TOLERANCE:
        path.unlink()
        folder.rmdir()
        raise SystemExit(f"the ONNX file differs from torch by {largest:.1g}, more than {TOLERANCE:g}: not written")
    golden = lengths[f"{longest}__output"]
    arrays = {f"input__{name}": lengths[f"{longest}__{name}"] for name in config.input_names}
    np.savez_compressed(folder / "golden.npz", **arrays, output__softmax=golden)
    if args.lengths:
        np.savez_compressed(args.lengths, **lengths)
    shutil.copyfile(args.config, folder / "data.yaml")
    classes = classes_of(config)
    card = card_of(folder, classes, golden.shape[1] - len(classes), random=args.state is None)
    (folder / "bundle.json").write_text(json.dumps(card, indent=1))
    number = sum(item.numel() for item in model.parameters())
    print(f"{folder}: {number} parameters; 1 to {longest} constituents: ONNX and torch differ by {largest:.1g} at most")


if __name__ == "__main__":
    main()
