"""Step 4: from a checkpoint to a bundle that jettagger loads, proven equal to the training framework.

Usage: python export.py CHECKPOINT.pt BUNDLE_FOLDER
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from data import TYPES
from network import N_HIDDEN, JetTransformer
from torch import Tensor, nn

import jettagger as jt

NAME = "inclParTToyV1"
INPUTS = ("pf_features", "pf_vectors", "pf_mask", "sv_features", "sv_vectors", "sv_mask")

#: lengths at which the exported graph is compared with the training framework
LENGTHS = (0, 1, 2, 16, 45, 128, 200)
TOLERANCE = 1e-4


class Exported(nn.Module):
    """The network with V1's one output of 166 columns: probabilities, mass, hidden neurons."""

    def __init__(self, model: JetTransformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: Tensor) -> Tensor:
        logits, mass, hidden = self.model(*inputs)
        return torch.cat([torch.softmax(logits, dim=1), mass.unsqueeze(1), hidden], dim=1)


def random_inputs(jets: int, n_pf: int, n_sv: int, padded: int, seed: int) -> list[Tensor]:
    """Inputs like those of jets: features of order one, momenta in GeV; the last ``padded`` slots are padding."""
    rng = np.random.default_rng([seed, jets, n_pf, n_sv])
    inputs = []
    for channels, length, scale in ((25, n_pf, 20.0), (11, n_sv, 50.0)):
        real = np.ones((jets, 1, length + padded), dtype=np.float32)
        real[:, :, length:] = 0
        features = rng.normal(0, 1, (jets, channels, length + padded)).clip(-5, 5) * real
        pt = rng.exponential(scale, (jets, length + padded)) + 0.5
        eta = rng.normal(0.5, 0.3, (jets, length + padded))
        phi = rng.normal(1.0, 0.3, (jets, length + padded))
        p4 = np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), np.hypot(pt * np.cosh(eta), 0.14)], 1)
        inputs += [torch.from_numpy(a.astype(np.float32)) for a in (features, p4 * real, real)]
    return inputs


def export(model: JetTransformer, path: Path) -> None:
    """Write the ONNX file with dynamic batch and lengths."""
    example = random_inputs(3, 20, 4, 2, seed=0)
    axes = {name: {0: "N", 2: "n_" + name[:2]} for name in INPUTS} | {"scores": {0: "N"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of itself
        torch.onnx.export(
            Exported(model),
            tuple(example),
            str(path),
            input_names=list(INPUTS),
            output_names=["scores"],
            dynamic_axes=axes,
            opset_version=17,
            dynamo=False,
        )
    onnx.checker.check_model(onnx.load(path))


def compare(model: JetTransformer, path: Path) -> dict[str, float]:
    """Largest difference between the graph and the framework, per length; in units of max(1, |value|).

    Raises
    ------
    SystemExit
        If a difference exceeds the tolerance or a value is not finite.
    """
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    reference = Exported(model).eval()
    found = {}
    for n_pf in LENGTHS:
        for n_sv in (0, 1, 10):
            for padded in (0, 7):
                inputs = random_inputs(5, n_pf, n_sv, padded, seed=1)
                with torch.no_grad():
                    expected = reference(*inputs).numpy()
                got = session.run(None, {name: x.numpy() for name, x in zip(INPUTS, inputs, strict=True)})[0]
                case = f"{n_pf} candidates, {n_sv} vertices, {padded} padded"
                if not (np.isfinite(got).all() and np.isfinite(expected).all()):
                    raise SystemExit(f"not finite at {case}")
                found[case] = float(np.max(np.abs(got - expected) / np.maximum(1, np.abs(expected))))
                if found[case] > TOLERANCE:
                    raise SystemExit(f"ONNX differs from the framework by {found[case]:.2e} at {case}")
    return found


def main(checkpoint: str, folder: str) -> None:
    """Write model.onnx, preprocess.json, bundle.json and golden vectors."""
    state = torch.load(checkpoint, weights_only=True)
    model = JetTransformer()
    model.load_state_dict(state["average"])
    model.eval()
    reference = jt.load_bundle("inclParTMDV1")
    description = json.loads(Path(reference.files["preprocess.json"]).read_text(encoding="utf-8"))
    names = [f"prob{name}" for name in TYPES] + ["mass"] + [f"hidNeuron{index:03d}" for index in range(N_HIDDEN)]
    if names != description["output_names"]:
        raise SystemExit("the types are not those of the V1 description")
    out = Path(folder)
    with tempfile.TemporaryDirectory() as scratch:  # a file that is not equal leaves an older bundle as it is
        path = Path(scratch) / "model.onnx"
        export(model, path)
        worst = max(compare(model, path).values())
        print(f"ONNX equals the training framework to {worst:.1e}")
        out.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, out / "model.onnx")
    (out / "preprocess.json").write_text(
        Path(reference.files["preprocess.json"]).read_text(encoding="utf-8"), encoding="utf-8"
    )
    card = {
        "schema_version": 1,
        "name": NAME,
        "version": "1",
        "title": "embedded Particle Transformer, trained on jets simulated with jettagger; V1 interface",
        "prefix": NAME,
        "kinds": {"prob": ["prob*"], "mass": ["mass"], "hidden": ["hidNeuron*"]},
        "mass": {
            "unit": "GeV",
            "target": "mass of the generated resonance; for QCD jets the soft-drop mass of the generator jet",
        },
        "domain": {"pt": [200, 1000], "abseta": [0, 2.4]},
        "licence": "BSD-3-Clause",
        "source": "examples/embedded_tagger of jettagger",
        "sha256": {"model.onnx": hashlib.sha256((out / "model.onnx").read_bytes()).hexdigest()},
        "golden": "golden.npz",
        "notes": "For demos, tests and development; not for physics results. See MODEL_CARD.md.",
    }
    (out / "bundle.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    bundle = jt.load_bundle(out)
    from jettagger.inference.checking import write_golden

    write_golden(bundle, out / "golden.npz", seed=1)
    size = sum(path.stat().st_size for path in out.iterdir())
    print(f"{out}: {size / 1e6:.2f} MB, trained on {state['drawn']} drawn jets in {state['spent'] / 60:.0f} minutes")


if __name__ == "__main__":
    main(*sys.argv[1:])
