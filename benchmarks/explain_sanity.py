"""Sanity tests of saliency maps: with random weights they must lose their correlation with the original ones.

Adebayo et al., Sanity checks for saliency maps, arXiv:1810.03292.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

import jettagger as jt
from jettagger.explain.jets import JetInputs
from jettagger.explain.methods import gradient_input, saliency
from jettagger.explain.scorer import Scorer

__all__ = ["measure_sanity", "randomised"]

#: number of draws of random weights
DRAWS = 10


def randomised(bundle: Any, folder: Path, *, last_only: bool, seed: int) -> Path:
    """A copy of a model with random weights of the same mean and spread, in the last layer or in all of them.

    Parameters
    ----------
    bundle : Bundle
    folder : Path
        New folder.
    last_only : bool
        Only the weights of the layer before the probabilities.
    seed : int

    Returns
    -------
    Path
    """
    import onnx
    from onnx import numpy_helper

    rng = np.random.default_rng(seed)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, path in bundle.files.items():
        if name.endswith(".json"):
            shutil.copyfile(path, folder / name)
    card = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    for key in ("sha256", "golden"):
        card.pop(key, None)
    card["name"] = folder.name
    (folder / "bundle.json").write_text(json.dumps(card), encoding="utf-8")
    model = onnx.load(bundle.require_weights())
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    trained = [
        name
        for node in model.graph.node
        if node.op_type in ("Gemm", "MatMul", "Conv")
        for name in node.input
        if name in weights and len(weights[name].dims) > 1
    ]
    last = [_last_weights(model.graph, trained)]
    for name in last if last_only else dict.fromkeys(trained):
        array = numpy_helper.to_array(weights[name])
        drawn = rng.normal(array.mean(), array.std(), array.shape).astype(array.dtype)
        weights[name].CopyFrom(numpy_helper.from_array(drawn, name))
    onnx.save(model, folder / "model.onnx")
    return folder


def _last_weights(graph: Any, trained: list[str]) -> str:
    """The weights of the layer before the last softmax."""
    made = {name: node for node in graph.node for name in node.output}
    node = [item for item in graph.node if item.op_type == "Softmax"][-1]
    while not any(name in trained for name in node.input):
        node = made[node.input[0]]
    return next(name for name in node.input if name in trained)


def measure_sanity(tagger: jt.Tagger, jets: JetInputs, folder: Path) -> dict[str, Any]:
    """Rank correlations of the maps of each jet with those of networks with random weights.

    Parameters
    ----------
    tagger : Tagger
    jets : JetInputs
    folder : Path
        Where the networks are written.

    Returns
    -------
    dict
        Method -> form of the map -> what is random -> mean over jets and draws, standard deviation between draws, and
        the numbers of jets and draws.
    """
    from scipy.stats import spearmanr

    def maps(of: jt.Tagger, method: Any) -> Any:
        inputs = JetInputs(of.bundle, jets.jets, jets.values, jets.ranks, jets.raw, jets.listed, jets.columns)
        return method(Scorer(of, "log HbbvsQCD"), inputs).values["pf_features"]

    filled = jets.filled("pf_features")
    found: dict[str, Any] = {}
    for name, method in (("saliency", saliency), ("gradient-input", gradient_input)):
        original = maps(tagger, method)
        for what, last_only in (("last layer", True), ("all layers", False)):
            values: dict[str, list[list[float]]] = {"signed": [], "absolute": []}
            for draw in range(DRAWS):
                path = randomised(tagger.bundle, folder / f"random-{what.split()[0]}", last_only=last_only, seed=draw)
                other = maps(jt.load_tagger(path, threads=1, backend="onnxruntime"), method)
                for form, change in (("signed", np.asarray), ("absolute", np.abs)):
                    rows = [
                        float(
                            spearmanr(
                                change(original[row][:, filled[row]]).ravel(),
                                change(other[row][:, filled[row]]).ravel(),
                            ).statistic
                        )
                        for row in range(len(jets))
                        if filled[row].sum() > 2
                    ]
                    values[form].append(rows)
            for form, draws in values.items():
                means = np.array([np.mean(rows) for rows in draws])
                cell = {"mean": float(means.mean()), "between draws": float(means.std(ddof=1))}
                cell |= {"jets": len(draws[0]), "draws": len(draws)}
                found.setdefault(name, {}).setdefault(form, {})[what] = cell
    return found
