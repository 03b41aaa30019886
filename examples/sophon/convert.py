"""From a trained network to a bundle for jettagger: model.onnx, data.yaml, bundle.json, golden vectors.

Runs where weaver-core is (``make weaver``). Without ``--state`` the network has random weights, for tests.

    python examples/sophon/convert.py --state training/net_best_epoch_state.pt -o mysophon
    python examples/sophon/convert.py --random 1 -o random --fixed-length
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from network import get_model
from weaver.utils.data.config import DataConfig

MODELS = Path(__file__).resolve().parent.parent.parent / "jettagger" / "models"
CONFIG = MODELS / "Sophon" / "data.yaml"
LENGTHS = (1, 2, 3, 16, 63, 127, 128)


def inputs_of(config: Any, jets: int, length: int, seed: int) -> dict[str, torch.Tensor]:
    """Random inputs: massless constituents, features of the usual size, all slots filled."""
    rng = np.random.default_rng(seed)
    momenta = rng.normal(0, 20, (jets, 3, length))
    energy = np.linalg.norm(momenta, axis=1, keepdims=True)
    arrays = {
        "pf_features": rng.normal(0, 1, (jets, len(config.input_dicts["pf_features"]), length)),
        "pf_vectors": np.concatenate([momenta, energy], axis=1),
        "pf_mask": np.ones((jets, 1, length)),
    }
    return {name: torch.tensor(arrays[name], dtype=torch.float32) for name in config.input_names}


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
    args = parser.parse_args()
    if (args.state is None) == (args.random is None):
        parser.error("give either --state or --random")
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
    folder = Path(args.output)
    folder.mkdir(parents=True, exist_ok=True)
    longest = max(shape[2] for shape in config.input_shapes.values())
    example = inputs_of(config, 2, longest, 0)
    axes = {name: {0: "N"} for name in info["dynamic_axes"]} if args.fixed_length else info["dynamic_axes"]
    torch.onnx.export(
        model,
        tuple(example.values()),
        str(folder / "model.onnx"),
        input_names=info["input_names"],
        output_names=info["output_names"],
        dynamic_axes=axes,
        opset_version=args.opset,
        dynamo=False,
    )
    shutil.copyfile(args.config, folder / "data.yaml")
    with torch.no_grad():
        outputs = {length: model(*inputs_of(config, 2, length, length).values()).numpy() for length in LENGTHS}
        golden = model(*example.values()).numpy()
    arrays = {f"input__{name}": array.numpy() for name, array in example.items()}
    np.savez_compressed(folder / "golden.npz", **arrays, output__softmax=golden)
    stored: dict[str, np.ndarray] = {}
    for length, values in outputs.items():
        stored[f"{length}__output"] = values
        stored |= {f"{length}__{name}": array.numpy() for name, array in inputs_of(config, 2, length, length).items()}
    np.savez_compressed(folder / "lengths.npz", **stored)
    card = json.loads((MODELS / "Sophon" / "bundle.json").read_text())
    hidden = [name for name in card["output_names"] if name.startswith("hidNeuron")]
    classes = [name for name in card["output_names"] if name not in hidden]
    width = golden.shape[1] - len(classes)
    card |= {
        "name": folder.name,
        "title": "random weights: its scores mean nothing" if args.state is None else "trained with examples/sophon",
        "prefix": folder.name if folder.name.isidentifier() else "sophon",
        "output_names": classes + [f"hidNeuron{index:03d}" for index in range(width)],
        "golden": "golden.npz",
        "sha256": {"model.onnx": hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()},
        "source": "examples/sophon of jettagger",
        "get_weights": "",
        "licence": "",
        "version": "",
        "notes": "",
    }
    (folder / "bundle.json").write_text(json.dumps(card, indent=1))
    print(f"{folder}: {sum(item.numel() for item in model.parameters())} parameters, lengths {LENGTHS} in lengths.npz")


if __name__ == "__main__":
    main()
