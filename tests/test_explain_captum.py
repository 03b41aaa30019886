"""Attributions against captum's, for the torch network of the embedded tagger and its ONNX file."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from agreement import Agreement

torch = pytest.importorskip("torch")
attr = pytest.importorskip("captum.attr")

import jettagger as jt  # noqa: E402
from jettagger.bundles.places import PACKAGE  # noqa: E402
from jettagger.explain import Scorer, median_constituent, no_constituents  # noqa: E402
from jettagger.explain.jets import JetInputs, jet_inputs, joined_inputs  # noqa: E402
from jettagger.explain.methods import gradient_input, integrated, saliency  # noqa: E402
from jettagger.testing import make_events  # noqa: E402

STEPS = Path(__file__).resolve().parent.parent / "examples" / "embedded_tagger"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Input Tensor .* did not already require gradients:UserWarning"),
]

FREE = ("pf_features", "pf_vectors", "sv_features", "sv_vectors")
TARGET = "logit probHbb"


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, jt.Tagger]]:
    """The network with random weights, and a tagger of its ONNX file."""
    sys.path.insert(0, str(STEPS))
    try:
        from export import Exported, export
        from network import JetTransformer

        torch.manual_seed(1)
        model = JetTransformer(width=16, heads=2, blocks=1, class_blocks=1).eval()
        folder = tmp_path_factory.mktemp("models") / "other"
        shutil.copytree(PACKAGE / "models" / "inclParTToyV1", folder)
        card = json.loads((folder / "bundle.json").read_text())
        card = {name: value for name, value in card.items() if name not in ("sha256", "golden")} | {"name": "other"}
        (folder / "bundle.json").write_text(json.dumps(card))
        (folder / "golden.npz").unlink()
        export(model, folder / "model.onnx")
        yield Exported(model).eval(), jt.load_tagger(folder, threads=1)
    finally:
        sys.path.remove(str(STEPS))
        for name in ("export", "network"):
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def jets(network: tuple[Any, jt.Tagger]) -> JetInputs:
    tagger = network[1]
    events = make_events(4, seed=4, constituents=12)
    return joined_inputs(list(jet_inputs(tagger, tagger.request(events)))).take(np.arange(3))


def forward(network: Any, bundle: Any) -> Any:
    """The logit of a score as a function of the inputs without masks, which are fixed."""
    index = bundle["probHbb"].index

    def logit(*inputs: Any) -> Any:
        pf, pf_p4, sv, sv_p4, pf_mask, sv_mask = inputs
        scores = network(pf, pf_p4, pf_mask, sv, sv_p4, sv_mask)[:, :37].double()
        others = scores.sum(dim=1) - scores[:, index]
        return scores[:, index].log() - others.log()

    return logit


def tensors(values: Any, names: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(torch.from_numpy(np.array(values[name], dtype=np.float32)) for name in names)


def test_saliency_is_captums(network: tuple[Any, jt.Tagger], jets: JetInputs, agrees: Agreement) -> None:
    model, tagger = network
    masks = tensors(jets.values, ("pf_mask", "sv_mask"))
    logit = forward(model, tagger.bundle)
    inputs = tensors(jets.values, FREE)
    want = attr.Saliency(logit).attribute(inputs, additional_forward_args=masks, abs=False)
    found = saliency(Scorer(tagger, TARGET), jets)
    products = gradient_input(Scorer(tagger, TARGET), jets)
    by_input = attr.InputXGradient(logit).attribute(inputs, additional_forward_args=masks)
    for name, slopes, times in zip(FREE, want, by_input, strict=True):
        filled = jets.filled(name)[:, np.newaxis]
        wanted = slopes.numpy() * filled
        agrees("explain/saliency", found.values[name], wanted, sample=3, atol=2e-5, rtol=1e-7, part=name)
        wanted = times.detach().numpy() * filled
        np.testing.assert_allclose(products.values[name], wanted, atol=2e-4)


@pytest.mark.parametrize("kind", ["none", "median"])
def test_integrated_gradients_are_captums(
    kind: str, network: tuple[Any, jt.Tagger], jets: JetInputs, agrees: Agreement
) -> None:
    model, tagger = network
    baseline = no_constituents(tagger.bundle) if kind == "none" else median_constituent(jets)
    start = baseline.of(jets)
    masks = tensors(jets.values, ("pf_mask", "sv_mask"))
    method = attr.IntegratedGradients(forward(model, tagger.bundle))
    want = method.attribute(
        tensors(jets.values, FREE),
        tensors(start, FREE),
        additional_forward_args=masks,
        n_steps=400,
        method="gausslegendre",
        internal_batch_size=500,
    )
    found = integrated(Scorer(tagger, TARGET), jets, baseline, tolerance=1e-3, max_steps=4096)
    size = max(float(array.abs().max()) for array in want)
    change = np.abs(found.outputs - found.reference)
    assert (np.abs(found.residual) <= 1e-3 * change + 1e-5).all()
    for name, array in zip(FREE, want, strict=True):
        made, wanted = found.values[name] / size, array.numpy() / size
        agrees("explain/integrated", made, wanted, sample=3, atol=0.01, part=f"{name}, baseline {kind}")
