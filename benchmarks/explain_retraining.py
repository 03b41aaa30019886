"""Retraining of a small network without a group of variables, against occlusion and permutation of the group."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import jettagger as jt
from jettagger.explain.baselines import median_constituent
from jettagger.explain.feature_groups import feature_groups
from jettagger.explain.jets import JetInputs
from jettagger.explain.methods import occlude_variables, permutation_importance
from jettagger.explain.scorer import Scorer
from jettagger.inference.padding import as_run

__all__ = ["measure_retraining"]

#: trainings of each network, passes over the jets, jets of a batch
SEEDS, PASSES, BATCH = 3, 10, 128

#: jets of each class for training and for test
TRAINING, TEST = 5000, 3000

#: candidates and vertices of a jet
LENGTHS = {"pf": 40, "sv": 5}

#: signal efficiency at which the rejection is taken
EFFICIENCY = 0.9


def _tensors(parts: list[JetInputs]) -> dict[str, Any]:
    """The inputs of the small network, cut to `LENGTHS`."""
    found = {}
    for stem, length in LENGTHS.items():
        for kind in ("features", "mask"):
            arrays = []
            for part in parts:
                array = part.values[f"{stem}_{kind}"][:, :, :length]
                arrays.append(np.pad(array, ((0, 0), (0, 0), (0, length - array.shape[2]))))
            found[f"{stem}_{kind}"] = np.concatenate(arrays)
    return found


def _network(widths: dict[str, int]) -> Any:
    """Sums over candidates and vertices, then a few layers: scores of H to WW to 4q and of H to bb."""
    import torch
    from torch import nn

    class Small(nn.Module):
        """A deep set of candidates and vertices."""

        def __init__(self) -> None:
            super().__init__()
            layers = lambda width: nn.Sequential(nn.Conv1d(width, 32, 1), nn.ReLU(), nn.Conv1d(32, 32, 1), nn.ReLU())  # noqa: E731
            self.pf, self.sv = layers(widths["pf"]), layers(widths["sv"])
            self.head = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 2))

        def forward(self, pf: Any, pf_mask: Any, sv: Any, sv_mask: Any) -> Any:
            """Probabilities, [jets, 2]."""
            both = torch.cat([(self.pf(pf) * pf_mask).sum(2) / 10, (self.sv(sv) * sv_mask).sum(2)], dim=1)
            return torch.softmax(self.head(both), dim=1)

    return Small()


def _trained(inputs: dict[str, Any], truth: Any, seed: int) -> Any:
    import torch

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    network = _network({stem: inputs[f"{stem}_features"].shape[1] for stem in LENGTHS})
    names = [f"{stem}_{kind}" for stem in LENGTHS for kind in ("features", "mask")]
    tensors = [torch.from_numpy(inputs[name]) for name in names]
    labels = torch.from_numpy(truth.astype(np.int64))
    optimiser = torch.optim.Adam(network.parameters(), lr=2e-3)
    steps = PASSES * -(-len(truth) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 5e-3, total_steps=steps)
    for _ in range(PASSES):
        for rows in torch.randperm(len(truth)).split(BATCH):
            optimiser.zero_grad()
            loss = torch.nn.functional.nll_loss(
                torch.log(network(*(item[rows] for item in tensors)) + 1e-9), labels[rows]
            )
            loss.backward()
            optimiser.step()
            schedule.step()
    return network.eval()


def _scores(network: Any, inputs: dict[str, Any]) -> Any:
    import torch

    names = [f"{stem}_{kind}" for stem in LENGTHS for kind in ("features", "mask")]
    with torch.no_grad():
        return network(*(torch.from_numpy(inputs[name]) for name in names))[:, 1].numpy()


def _log_rejection(scores: Any, truth: Any) -> float:
    cut = np.quantile(scores[truth], 1 - EFFICIENCY)
    background = scores[~truth]
    return float(np.log(len(background) + 1) - np.log(np.count_nonzero(background > cut) + 0.5))


def _exported(network: Any, bundle: Any, folder: Path) -> Path:
    """The network as a model: the input description of the embedded tagger without its four-vectors."""
    import torch

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    description = json.loads(Path(bundle.files["preprocess.json"]).read_text(encoding="utf-8"))
    names = [f"{stem}_{kind}" for stem in LENGTHS for kind in ("features", "mask")]
    description["input_names"], description["output_names"] = names, ["probHWW4q", "probHbb"]
    for name in ("pf_vectors", "sv_vectors"):
        del description[name]
    for stem, length in LENGTHS.items():
        for kind in ("features", "mask"):
            description[f"{stem}_{kind}"] |= {"min_length": 1, "max_length": length}
    (folder / "preprocess.json").write_text(json.dumps(description), encoding="utf-8")
    card = {"schema_version": 1, "name": folder.name, "kinds": {"prob": ["prob*"]}}
    (folder / "bundle.json").write_text(json.dumps(card), encoding="utf-8")
    example = []
    for name in names:
        width = len(description[name]["var_names"])
        example.append(torch.ones(2, width, LENGTHS[name[:2]]))
    axes = {name: {0: "N", 2: f"n_{name[:2]}"} for name in names} | {"scores": {0: "N"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of itself
        torch.onnx.export(
            network, tuple(example), str(folder / "model.onnx"), input_names=names, output_names=["scores"],
            dynamic_axes=axes, opset_version=17, dynamo=False,
        )  # fmt: skip
    return folder


def measure_retraining(tagger: jt.Tagger, folder: Path, jets_of: Callable[..., Any]) -> dict[str, Any]:
    """Decrease of ln(rejection) without a group of variables: trained without it, occluded, permuted.

    Parameters
    ----------
    tagger : Tagger
        Whose inputs are taken.
    folder : Path
        With the samples.
    jets_of : callable
        Tagger, path and number -> jets in batches.

    Returns
    -------
    dict
        ``groups``: group -> way -> decrease and uncertainty; ``spearman``: way -> rank correlation with retraining;
        ``rejection`` of the whole network.
    """
    from scipy.stats import spearmanr

    bundle = as_run(tagger.bundle)
    groups = dict(feature_groups(bundle))
    own = {stem: [item.feature.name for item in _group(bundle, f"{stem}_features").variables] for stem in LENGTHS}
    groups = {
        name: tuple(v for v in variables if any(v in names for names in own.values()))
        for name, variables in groups.items()
    }

    def read(kind: str, number: int) -> tuple[dict[str, Any], Any]:
        parts, truth = [], []
        for process in ("Hbb", "HWW4q"):
            batches = list(jets_of(tagger, folder / f"{kind}-{process}.root", number))
            parts += batches
            truth.append(np.full(sum(map(len, batches)), process == "Hbb"))
        return _tensors(parts), np.concatenate(truth)

    training, truth = read("train", TRAINING)
    test, test_truth = read("test", TEST)

    def without(inputs: dict[str, Any], variables: tuple[str, ...]) -> dict[str, Any]:
        changed = dict(inputs)
        for stem, names in own.items():
            places = [place for place, name in enumerate(names) if name in variables]
            changed[f"{stem}_features"] = inputs[f"{stem}_features"].copy()
            changed[f"{stem}_features"][:, places] = 0
            if len(places) == len(names):  # no list at all
                changed[f"{stem}_mask"] = np.zeros_like(inputs[f"{stem}_mask"])
        return changed

    rng = np.random.default_rng(1)
    draws = [
        np.concatenate([rng.choice(np.flatnonzero(mask), int(mask.sum())) for mask in (test_truth, ~test_truth)])
        for _ in range(100)
    ]

    def rejections(scores: Any) -> Any:
        return np.array([_log_rejection(scores[rows], test_truth[rows]) for rows in [slice(None), *draws]])

    whole = [_trained(training, truth, seed) for seed in range(SEEDS)]
    plain = np.stack([rejections(_scores(network, test)) for network in whole])
    found: dict[str, dict[str, list[float]]] = {}
    for name, variables in groups.items():
        less = without(training, variables)
        scores = [_scores(_trained(less, truth, seed), without(test, variables)) for seed in range(SEEDS)]
        other = np.stack([rejections(item) for item in scores])
        found[name] = {"retrained": _loss(plain, other)}
    occluded: dict[str, dict[str, list[Any]]] = {way: {name: [] for name in groups} for way in ("occluded", "median")}
    permuted: dict[str, list[list[float]]] = {name: [] for name in groups}
    for seed, network in enumerate(whole):
        small = jt.load_tagger(_exported(network, bundle, folder / "small"), threads=1, backend="onnxruntime")
        scorer = Scorer(small, "probHbb")
        parts = [jets for process in ("Hbb", "HWW4q") for jets in jets_of(small, folder / f"test-{process}.root", TEST)]
        median = median_constituent(parts[0])
        for way, baseline in (("occluded", None), ("median", median)):
            effects = [occlude_variables(scorer, part, groups, baseline) for part in parts]
            outputs = np.concatenate([effect.outputs for effect in effects])
            values = np.concatenate([effect.values for effect in effects])
            for place, name in enumerate(groups):
                occluded[way][name].append(rejections(outputs - values[:, place]))
        _, importances = permutation_importance(
            scorer, parts, test_truth, groups, efficiency=EFFICIENCY, permutations=1, replicas=50, seed=seed
        )
        for item in importances:
            permuted[item.name].append([item.loss.value, item.loss.uncertainty])
    for name in groups:
        for way, others in occluded.items():
            found[name][way] = _loss(plain, np.stack(others[name]))
        losses = np.array(permuted[name])
        spread = losses[:, 0].std(ddof=1) / np.sqrt(len(losses))
        found[name]["permuted"] = [float(losses[:, 0].mean()), float(np.hypot(spread, losses[:, 1].mean()))]
    order = list(groups)
    spearman = {
        way: float(
            spearmanr(
                [found[name]["retrained"][0] for name in order], [found[name][way][0] for name in order]
            ).statistic
        )
        for way in ("occluded", "median", "permuted")
    }
    sure = {way: _spread_of_rank(found, order, way) for way in spearman}
    rejection = [
        float(np.exp(plain[:, 0].mean())),
        float(np.exp(plain[:, 0].mean()) * plain[:, 1:].mean(axis=0).std(ddof=1)),
    ]
    return {"groups": found, "spearman": spearman, "spearman_spread": sure, "rejection": rejection, "seeds": SEEDS}


def _group(bundle: Any, name: str) -> Any:
    return next(group for group in bundle.groups if group.name == name)


def _loss(plain: Any, other: Any) -> list[float]:
    """Decrease of ln(rejection), with replicas of the jets and the spread of seeds in its uncertainty."""
    change = plain - other
    seeds = change[:, 0].std(ddof=1) / np.sqrt(len(change))
    return [float(change[:, 0].mean()), float(np.hypot(change[:, 1:].mean(axis=0).std(ddof=1), seeds))]


def _spread_of_rank(found: dict[str, dict[str, list[float]]], order: list[str], way: str) -> list[float]:
    """Quantiles at 16 % and 84 % of the rank correlation, with all decreases drawn within their uncertainties."""
    from scipy.stats import spearmanr

    rng = np.random.default_rng(2)
    drawn = []
    for _ in range(500):
        both = [
            [rng.normal(found[name][what][0], found[name][what][1]) for name in order] for what in ("retrained", way)
        ]
        drawn.append(float(spearmanr(*both).statistic))
    return [float(value) for value in np.quantile(drawn, [0.16, 0.84])]
