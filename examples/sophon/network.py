"""Network configuration for weaver: the Particle Transformer of Sophon (arXiv:2405.12972), of any size.

Used by ``weaver --network-config examples/sophon/network.py``. The class token after the last normalisation, 128
numbers by default, is what jettagger calls the hidden neurons; a head of one hidden layer makes the scores of it.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from weaver.nn.model.ParticleTransformer import ParticleTransformer

from jettagger.jetclass2 import COARSE, LABELS

MEASURES = ("epoch", "jets", "loss", "accuracy", "top5", "auc")


class Sophon(torch.nn.Module):
    """Scores of the classes; with ``export_embed`` the probabilities and the hidden neurons, side by side."""

    def __init__(
        self,
        *,
        num_classes: int,
        head_dim: int,
        head_dropout: float,
        export_embed: bool,
        for_inference: bool,
        **body: Any,
    ) -> None:
        super().__init__()
        embed_dim = body["embed_dims"][-1]
        self.mod = ParticleTransformer(fc_params=None, for_inference=for_inference, **body)
        self.head = torch.nn.Sequential(
            torch.nn.Linear(embed_dim, head_dim),
            torch.nn.ReLU(),
            torch.nn.Dropout(head_dropout),
            torch.nn.Linear(head_dim, num_classes),
        )
        self.export_embed = export_embed
        self.for_inference = for_inference

    @torch.jit.ignore
    def no_weight_decay(self) -> set[str]:
        """Parameters that are not decayed."""
        return {"mod.cls_token"}

    def forward(self, features: torch.Tensor, vectors: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """float[N, features, length], float[N, 4, length], float[N, 1, length] -> float[N, classes (+ embed_dim)]."""
        hidden = self.mod(features, v=vectors, mask=mask.bool())
        output = self.head(hidden)
        if self.for_inference:
            output = torch.softmax(output, dim=1)
        return torch.cat([output, hidden], dim=1) if self.export_embed else output


def classes_of(data_config: Any) -> tuple[str, ...]:
    """The classes: those that the configuration lists (labels of type simple), or those of JetClass-II."""
    if data_config.label_type == "simple":
        return tuple(data_config.label_value)
    return tuple(f"label_{name}" for name in LABELS)


def get_model(data_config: Any, **options: Any) -> tuple[torch.nn.Module, dict[str, Any]]:
    """What weaver asks for; options come from ``-o NAME VALUE``. The defaults are the published architecture."""
    settings = {
        "input_dim": len(data_config.input_dicts["pf_features"]),
        "num_classes": len(classes_of(data_config)),
        "head_dim": 512,
        "head_dropout": 0.1,
        "export_embed": False,
        "pair_input_dim": 4,
        "use_pre_activation_pair": True,
        "embed_dims": [128, 512, 128],
        "pair_embed_dims": [64, 64, 64],
        "num_heads": 8,
        "num_layers": 8,
        "num_cls_layers": 2,
        "block_params": None,
        "cls_block_params": {"dropout": 0, "attn_dropout": 0, "activation_dropout": 0},
        "activation": "gelu",
        "trim": True,
        "for_inference": False,
    } | options
    names = list(data_config.input_names)
    info = {
        "input_names": names,
        "input_shapes": {name: (1, *shape[1:]) for name, shape in data_config.input_shapes.items()},
        "output_names": ["softmax"],
        "dynamic_axes": {name: {0: "N", 2: "n_pf"} for name in names} | {"softmax": {0: "N"}},
    }
    return Sophon(**settings), info


def get_loss(data_config: Any, **options: Any) -> torch.nn.Module:
    """Cross entropy over the classes."""
    return torch.nn.CrossEntropyLoss()


def init_opt(args: Any, model: torch.nn.Module, **options: Any) -> tuple[Any, Any]:
    """Weaver's optimiser and scheduler; a training that goes on has the learning rate that it stopped with.

    With a stored optimiser the scheduler of torch takes the step of the next epoch a second time.
    """
    from weaver.train import init_opt as of_weaver

    optimiser, scheduler = of_weaver(args, model, **options)
    if args.load_epoch is not None and isinstance(scheduler, torch.optim.lr_scheduler.MultiStepLR):
        passed = sum(count for milestone, count in scheduler.milestones.items() if milestone <= scheduler.last_epoch)
        for group, start in zip(optimiser.param_groups, scheduler.base_lrs, strict=True):
            group["lr"] = start * scheduler.gamma**passed
        scheduler._last_lr = [group["lr"] for group in optimiser.param_groups]  # what the progress bar shows
    return optimiser, scheduler


def get_train_fn(data_config: Any, **options: Any) -> Callable[..., Any]:
    """Weaver's own."""
    from weaver.utils.nn.tools import train_classification

    return train_classification


def get_evaluate_fn(data_config: Any, **options: Any) -> Callable[..., Any]:
    """Weaver's own with other measures: its matrix of areas under curves takes minutes for 188 classes.

    Each epoch adds a line to ``<model-prefix>_history.csv``.
    """
    from weaver.utils.nn.tools import evaluate_classification

    classes = classes_of(data_config)

    def evaluate(
        model: Any, loader: Any, device: Any, epoch: int | None, *, extra_args: dict[str, Any], **more: Any
    ) -> Any:
        found: dict[str, float] = {}

        def measures(truth: np.ndarray, scores: np.ndarray) -> dict[str, float]:
            found.update(measure(truth, scores, classes))
            return found

        result = evaluate_classification(
            model, loader, device, epoch, eval_metrics=[measures], extra_args=extra_args, **more
        )
        args = extra_args["args"]
        if epoch is not None and found and args.local_rank in (None, 0):
            write_line(Path(f"{args.model_prefix}_history.csv"), {"epoch": epoch} | found)
        return result

    return evaluate


def measure(truth: np.ndarray, scores: np.ndarray, classes: tuple[str, ...]) -> dict[str, float]:
    """Measures of a set of jets.

    Parameters
    ----------
    truth : int[jets]
    scores : float32[jets, classes]
        Probabilities.
    classes : tuple of str
        Names of the columns.

    Returns
    -------
    dict of str to float
        ``jets``; ``loss``, the cross entropy; ``accuracy``; ``top5``, how often the truth is among the five highest;
        ``auc``, the mean over the coarse groups of the area under the curve of group against QCD (NaN without both).
    """
    from sklearn.metrics import roc_auc_score

    own = np.take_along_axis(scores, truth[:, np.newaxis].astype(np.int64), axis=1)
    higher = (~(scores <= own)).sum(axis=1)  # scores that are no numbers count as higher
    areas = []
    if classes == tuple(f"label_{name}" for name in LABELS):
        sums = {group: scores[:, list(columns)].sum(axis=1) for group, columns in COARSE.items()}
        background = np.isin(truth, COARSE["QCD"])
        for group, columns in COARSE.items():
            signal = np.isin(truth, columns)
            if group != "QCD" and signal.any() and background.any():
                ratio = sums[group] / np.maximum(sums[group] + sums["QCD"], 1e-12)
                areas.append(roc_auc_score(signal[signal | background], ratio[signal | background]))
    return {
        "jets": len(truth),
        "loss": float(-np.log(np.maximum(own, 1e-30)).mean()),
        "accuracy": float((higher == 0).mean()),
        "top5": float((higher < 5).mean()),
        "auc": float(np.mean(areas)) if areas else float("nan"),
    }


def write_line(path: Path, values: dict[str, float]) -> None:
    """Add a line to a table, which starts with the names of its columns."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, MEASURES)
        if new:
            writer.writeheader()
        writer.writerow({name: values[name] for name in MEASURES})
