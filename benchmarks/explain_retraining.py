"""Retraining of a small network without a group of variables, against occlusion and permutation of the group."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import jettagger as jt
from jettagger.explain.baselines import median_constituent, other_constituents
from jettagger.explain.feature_groups import feature_groups
from jettagger.explain.jets import JetInputs, joined_inputs
from jettagger.explain.methods import occlude_variables, permutation_importance
from jettagger.explain.scorer import Scorer
from jettagger.inference.padding import as_run

__all__ = ["TASKS", "WAYS", "measure_retraining"]

#: task -> signal and background
TASKS: Mapping[str, tuple[str, str]] = {
    "H → bb against H → WW → 4q": ("Hbb", "HWW4q"),
    "H → bb against light multijets": ("Hbb", "QCDlight"),
    "H → WW → 4q against light multijets": ("HWW4q", "QCDlight"),
}

#: largest rejection at which losses can be ranked: ten of the background jets pass
MOST = 300

#: occlusion of a group with the values of empty slots, of the median constituent, of other constituents
BASELINES = ("occluded", "median", "others")

#: what is compared with retraining
WAYS = (*BASELINES, "permuted")

#: trainings of each network, passes over the jets, jets of a batch, replicas of the test jets
SEEDS, PASSES, BATCH, REPLICAS = 4, 10, 128, 100

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
    """Sums over candidates and vertices, then a few layers: scores of background and of signal."""
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


def _exported(network: Any, bundle: Any, folder: Path, processes: tuple[str, str]) -> Path:
    """The network as a model: the input description of the embedded tagger without its four-vectors."""
    import torch

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    description = json.loads(Path(bundle.files["preprocess.json"]).read_text(encoding="utf-8"))
    names = [f"{stem}_{kind}" for stem in LENGTHS for kind in ("features", "mask")]
    description["input_names"] = names
    description["output_names"] = [f"prob{process}" for process in reversed(processes)]
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
        With the samples; tasks that are done are kept there.
    jets_of : callable
        Tagger, path and number -> jets in batches.

    Returns
    -------
    dict
        ``separated``: task that is left out, as hardly any jet is confused in it -> rejection of the whole network;
        ``tasks``: other task -> ``groups`` (group -> way -> decrease and uncertainty), ``spearman`` (way -> rank
        correlation with retraining), ``spearman_spread`` and ``rejection`` of the whole network; ``spearman``: way ->
        mean over the tasks; ``spearman_spread``: way -> quantiles at 16 % and 84 % over replicas of jets and
        trainings; ``seeds``.
    """
    tasks, drawn = {}, []
    for task, processes in TASKS.items():
        path = folder / f"retraining-{processes[0]}-{processes[1]}.json"
        if not path.exists():
            found = _Task(tagger, folder, jets_of, processes).measured()
            path.write_text(json.dumps(found), encoding="utf-8")
        content = json.loads(path.read_text(encoding="utf-8"))
        drawn.append(content.pop("replicas"))
        tasks[task] = content
    separated = {task: item["rejection"][0] for task, item in tasks.items() if item["rejection"][0] > MOST}
    drawn = [item for task, item in zip(tasks, drawn, strict=True) if task not in separated]
    tasks = {task: item for task, item in tasks.items() if task not in separated}
    for item, replicas in zip(tasks.values(), drawn, strict=True):
        item["spearman_spread"] = {way: _middle(replicas[way]) for way in WAYS}
    means = {way: float(np.mean([item["spearman"][way] for item in tasks.values()])) for way in WAYS}
    spread = {way: _middle(np.mean([item[way] for item in drawn], axis=0)) for way in WAYS}
    return {
        "tasks": tasks,
        "separated": separated,
        "spearman": means,
        "spearman_spread": spread,
        "seeds": SEEDS,
    }


def _middle(values: Any) -> list[float]:
    """Quantiles at 16 % and 84 %."""
    return [float(value) for value in np.quantile(values, [0.16, 0.84])]


class _Task:
    """Two classes of jets, with networks that tell one from the other."""

    def __init__(
        self, tagger: jt.Tagger, folder: Path, jets_of: Callable[..., Any], processes: tuple[str, str]
    ) -> None:
        self.tagger, self.folder, self.jets_of, self.processes = tagger, folder, jets_of, processes
        self.bundle = as_run(tagger.bundle)
        self.own = {
            stem: [item.feature.name for item in _group(self.bundle, f"{stem}_features").variables] for stem in LENGTHS
        }
        self.groups = {
            name: tuple(v for v in variables if any(v in names for names in self.own.values()))
            for name, variables in feature_groups(self.bundle).items()
        }
        self.test, self.truth = self._read("test", TEST)
        rng = np.random.default_rng(1)
        classes = (self.truth, ~self.truth)
        self.draws = [
            np.concatenate([rng.choice(np.flatnonzero(mask), int(mask.sum())) for mask in classes])
            for _ in range(REPLICAS)
        ]

    def measured(self) -> dict[str, Any]:
        """Decreases by all ways, their ranks, and those of replicas."""
        training, truth = self._read("train", TRAINING)
        whole = [_trained(training, truth, seed) for seed in range(SEEDS)]
        plain = np.stack([self._rejections(_scores(network, self.test)) for network in whole])
        others: dict[str, dict[str, Any]] = {name: {} for name in self.groups}
        for name, variables in self.groups.items():
            less, test = self._without(training, variables), self._without(self.test, variables)
            made = [_scores(_trained(less, truth, seed), test) for seed in range(SEEDS)]
            others[name]["retrained"] = np.stack([self._rejections(scores) for scores in made])
        permuted = self._left_out(whole, plain, others)
        found = {name: {way: _loss(plain, array) for way, array in ways.items()} for name, ways in others.items()}
        for name, pair in permuted.items():
            found[name]["permuted"] = pair
        rejection = float(np.exp(plain[:, 0].mean()))
        return {
            "groups": found,
            "spearman": _ranks({name: {way: pair[0] for way, pair in ways.items()} for name, ways in found.items()}),
            "replicas": _replicas(plain, others, permuted),
            "rejection": [rejection, rejection * float(plain[:, 1:].mean(axis=0).std(ddof=1))],
        }

    def _read(self, kind: str, number: int) -> tuple[dict[str, Any], Any]:
        parts, truth = [], []
        for process in self.processes:
            batches = list(self.jets_of(self.tagger, self.folder / f"{kind}-{process}.root", number))
            parts += batches
            truth.append(np.full(sum(map(len, batches)), process == self.processes[0]))
        return _tensors(parts), np.concatenate(truth)

    def _without(self, inputs: dict[str, Any], variables: tuple[str, ...]) -> dict[str, Any]:
        changed = dict(inputs)
        for stem, names in self.own.items():
            places = [place for place, name in enumerate(names) if name in variables]
            changed[f"{stem}_features"] = inputs[f"{stem}_features"].copy()
            changed[f"{stem}_features"][:, places] = 0
            if len(places) == len(names):  # no list at all
                changed[f"{stem}_mask"] = np.zeros_like(inputs[f"{stem}_mask"])
        return changed

    def _rejections(self, scores: Any) -> Any:
        rows = [slice(None), *self.draws]
        return np.array([_log_rejection(scores[item], self.truth[item]) for item in rows])

    def _left_out(self, whole: list[Any], plain: Any, others: dict[str, dict[str, Any]]) -> dict[str, list[float]]:
        """Add occlusion with each baseline to the others; decreases by permutation."""
        rejections: dict[str, dict[str, list[Any]]] = {name: {way: [] for way in BASELINES} for name in self.groups}
        permuted: dict[str, list[list[float]]] = {name: [] for name in self.groups}
        parts: list[JetInputs] = []
        for seed, network in enumerate(whole):
            path = _exported(network, self.bundle, self.folder / f"small-{'-'.join(self.processes)}", self.processes)
            small = jt.load_tagger(path, threads=1, backend="onnxruntime")
            scorer = Scorer(small, f"prob{self.processes[0]}")
            if not parts:
                paths = [self.folder / f"test-{process}.root" for process in self.processes]
                parts = [jets for path in paths for jets in self.jets_of(small, path, TEST)]
                median = median_constituent(joined_inputs(parts))
            baselines = {"occluded": None, "median": median, "others": other_constituents(parts, seed)}
            for way, baseline in baselines.items():
                effects = [occlude_variables(scorer, part, self.groups, baseline) for part in parts]
                outputs = np.concatenate([effect.outputs for effect in effects])
                without = outputs[:, np.newaxis] - np.concatenate([effect.values for effect in effects])
                before = self._rejections(outputs)  # of the same jets, which are in another order than those of `plain`
                for place, name in enumerate(self.groups):
                    rejections[name][way].append(plain[seed] + self._rejections(without[:, place]) - before)
            _, importances = permutation_importance(
                scorer, parts, self.truth, self.groups, efficiency=EFFICIENCY, permutations=1, replicas=50, seed=seed
            )
            for item in importances:
                permuted[item.name].append([item.loss.value, item.loss.uncertainty])
        for name, ways in rejections.items():
            others[name] |= {way: np.stack(rows) for way, rows in ways.items()}
        found = {}
        for name, pairs in permuted.items():
            losses = np.array(pairs)
            spread = losses[:, 0].std(ddof=1) / np.sqrt(len(losses))
            found[name] = [float(losses[:, 0].mean()), float(np.hypot(spread, losses[:, 1].mean()))]
        return found


def _ranks(decreases: dict[str, dict[str, float]]) -> dict[str, float]:
    """Rank correlation of each way with retraining, over the groups."""
    from scipy.stats import spearmanr

    retrained = [ways["retrained"] for ways in decreases.values()]
    return {way: float(spearmanr(retrained, [ways[way] for ways in decreases.values()]).statistic) for way in WAYS}


def _replicas(
    plain: Any, others: dict[str, dict[str, Any]], permuted: dict[str, list[float]]
) -> dict[str, list[float]]:
    """Rank correlations of replicas: of the jets, and of the trainings, both drawn with replacement."""
    rng = np.random.default_rng(2)
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    for replica in range(1, plain.shape[1]):
        decreases: dict[str, dict[str, float]] = {}
        seeds, own = (rng.integers(len(plain), size=len(plain)) for _ in range(2))
        for name, ways in others.items():
            decreases[name] = {
                way: float((plain[seeds, replica] - array[own if way == "retrained" else seeds, replica]).mean())
                for way, array in ways.items()
            }
            decreases[name]["permuted"] = rng.normal(*permuted[name])
        for way, value in _ranks(decreases).items():
            found[way].append(value)
    return found


def _group(bundle: Any, name: str) -> Any:
    return next(group for group in bundle.groups if group.name == name)


def _loss(plain: Any, other: Any) -> list[float]:
    """Decrease of ln(rejection), with replicas of the jets and the spread of seeds in its uncertainty."""
    change = plain - other
    seeds = change[:, 0].std(ddof=1) / np.sqrt(len(change))
    return [float(change[:, 0].mean()), float(np.hypot(change[:, 1:].mean(axis=0).std(ddof=1), seeds))]
