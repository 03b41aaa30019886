"""Trainings of the networks on the loop and the shards of `jettagger.training`, and of boosted trees on the same jets.

All networks of a task see the same jets the same number of times, in batches of the same size, with the same optimiser;
the weights are those of the epoch with the smallest loss of validation.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from examples.architectures.inputs import (
    COLUMNS,
    MOST,
    ORDERS,
    PARTICLES,
    TRACKS,
    VERTICES,
    Task,
    columns_group,
    image_group,
    image_settings,
    particle_group,
    track_group,
    vertex_group,
)
from examples.architectures.jet_networks import (
    Columns,
    Convolution,
    DeepSet,
    EmbeddedTransformer,
    ImageNetwork,
    OnColumns,
    Recurrent,
    Shapes,
    SparseImages,
    TwoStreams,
    dips,
    rnnip,
)
from examples.architectures.samples import NUMBERS
from jettagger.training import (
    Adam,
    Cosine,
    Epoch,
    LoopSettings,
    RaggedRows,
    RaggedStore,
    TrainingBatch,
    epoch_random,
    ragged_batches,
    seeded,
    train_network,
)

__all__ = [
    "RECIPES",
    "Recipe",
    "Trained",
    "arrays_of",
    "fit_trees",
    "groups_of",
    "prepare",
    "recipes_of",
    "scores",
    "shapes_of",
    "train",
    "tree_scores",
]

#: jets of a batch
BATCH = 256

#: bytes of a store of jets in memory at a time
MEMORY = 4_000_000_000


@dataclass(frozen=True)
class Recipe:
    """A network and its inputs.

    Parameters
    ----------
    title : str
    inputs : tuple of str
        Of ``particles``, ``vertices``, ``tracks``, ``columns``, ``image``.
    build : callable
        Number of classes -> network with these inputs, which gives logits; None for boosted trees.
    tasks : tuple of str
    image : tuple of int
        Channels, rows and columns.
    order : str
        Of the tracks; ``random``: another one in each epoch.
    kind : str
        Of inputs with objects: ``sequence`` or ``set``.
    rate : float
        Learning rate.
    """

    title: str
    inputs: tuple[str, ...]
    build: Callable[[int], nn.Module] | None
    tasks: tuple[str, ...] = ("fat", "quark")
    image: tuple[int, ...] = ()
    order: str = ""
    kind: str = "sequence"
    rate: float = 2e-3


def _images(channels: int, size: int) -> Recipe:
    shape = (channels, size, size)
    title = f"CNN, {channels} channel{'s' if channels > 1 else ''}, {size} x {size}"
    return Recipe(title, ("image",), lambda classes: ImageNetwork(channels, classes), image=shape)


_STREAMS = ("particles", "vertices")
_BTAG = ("btag",)

#: name -> network; images of other sizes are variants of the study
RECIPES: Mapping[str, Recipe] = {
    "cnn1": _images(1, 32),
    "cnn6": _images(6, 32),
    "gru": Recipe(
        "GRU, two streams", _STREAMS, lambda n: TwoStreams(Recurrent(PARTICLES, 64), Recurrent(VERTICES, 24), n)
    ),
    "cnn1d": Recipe(
        "1D CNN, two streams",
        _STREAMS,
        lambda n: TwoStreams(Convolution(PARTICLES, 48), Convolution(VERTICES, 16, 1, scale=2.0), n),
    ),
    "deepset": Recipe(
        "deep sets",
        _STREAMS,
        lambda n: TwoStreams(DeepSet(PARTICLES, (96, 96, 96)), DeepSet(VERTICES, (32, 32), scale=2.0), n),
        kind="set",
    ),
    "transformer": Recipe("embedded transformer", _STREAMS, EmbeddedTransformer, kind="set", rate=1e-3),
    "dense": Recipe("dense, substructure", ("columns",), lambda n: OnColumns(Columns(), n), tasks=("fat",)),
    "trees": Recipe("boosted trees, substructure", ("columns",), None, tasks=("fat",)),
    "dense-shapes": Recipe(
        "dense, substructure", ("particles",), lambda n: OnColumns(Shapes(), n), tasks=("quark",), kind="set"
    ),
    "trees-shapes": Recipe("boosted trees, substructure", ("particles",), None, tasks=("quark",), kind="set"),
    "rnnip": Recipe("RNNIP", ("tracks",), rnnip, tasks=_BTAG, order="significance"),
    "dips": Recipe("DIPS", ("tracks",), dips, tasks=_BTAG, order="significance", kind="set"),
    **{
        f"rnnip-{order.split()[-1]}": Recipe(f"RNNIP, order: {order}", ("tracks",), rnnip, tasks=_BTAG, order=order)
        for order in (*list(ORDERS)[1:], "random")
    },
    **{f"cnn{channels}-{size}": _images(channels, size) for size in (16, 64) for channels in (1, 6)},
}


def recipes_of(task: Task, main: bool = False) -> dict[str, Recipe]:
    """The networks of a task; ``main``: without further sizes of images and orders of tracks."""
    own = {name: recipe for name, recipe in RECIPES.items() if task.name in recipe.tasks}
    extra = [name for name in own if name.startswith(("cnn1-", "cnn6-", "rnnip-"))]
    return {name: recipe for name, recipe in own.items() if not (main and name in extra)}


def groups_of(recipe: Recipe) -> list[dict[str, Any]]:
    """The inputs of a network as its bundle declares them."""
    made: dict[str, Callable[[], dict[str, Any]]] = {
        "particles": lambda: particle_group(recipe.kind),
        "vertices": lambda: vertex_group(recipe.kind),
        "columns": columns_group,
        "tracks": lambda: track_group(recipe.order if recipe.order in ORDERS else "pt", recipe.kind),
        "image": lambda: image_group(recipe.image[1], recipe.image[0]),
    }
    return [made[name]() for name in recipe.inputs]


# --------------------------------------------------------------------------------------------------------------- inputs


def _column(values: Any, name: str) -> Any:
    return values[:, PARTICLES.index(f"pfcand_{name}")]


def tracks_of(rows: RaggedRows, order: str) -> tuple[Any, Any]:
    """Counts int64[jets] and variables float32[tracks, variables] of the tracks of jets, in order."""
    particles = rows.lists["particles"]
    pt = np.exp(_column(particles, "pt_log_nopuppi"))
    jet = np.repeat(np.arange(len(rows)), rows.counts["particles"])
    chosen = np.flatnonzero((np.abs(_column(particles, "charge")) > 0.5) & (pt >= 0.95))
    jet, pt, part = jet[chosen], pt[chosen], particles[chosen]
    significance = np.abs(_column(part, "btagSip3dSig"))
    keys = {
        "significance": -significance,
        "significance, ascending": significance,
        "pt": -pt,
        "random": -pt,
        "distance": _column(part, "deltaR"),
    }
    index = np.lexsort((-pt, keys[order], jet))
    rank = np.arange(len(index)) - np.searchsorted(jet[index], jet[index])
    index = index[rank < MOST["tracks"]]
    places = [PARTICLES.index(name) for name in TRACKS]
    return np.bincount(jet[index], minlength=len(rows)), part[index][:, places]


def pixels_of(rows: RaggedRows, image: tuple[int, ...]) -> tuple[Any, Any]:
    """Counts int64[jets] and pixels float32[n, 2] of the images of jets: number of the pixel and content."""
    from jettagger.images import ImageSettings, make_images

    settings = ImageSettings.model_validate(image_settings(image[1], image[0]))
    particles, counts = rows.lists["particles"], rows.counts["particles"]
    columns = {
        "pt": np.exp(_column(particles, "pt_log_nopuppi")),
        "deta": _column(particles, "etarel"),
        "dphi": _column(particles, "phirel"),
        "isChargedHadron": _column(particles, "isChargedHad"),
        "isNeutralHadron": _column(particles, "isNeutralHad"),
        "isPhoton": _column(particles, "isGamma"),
        "isElectron": _column(particles, "isEl"),
        "isMuon": _column(particles, "isMu"),
    }
    made = make_images(settings, columns, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))
    return made.counts, np.stack([made.pixels.astype(np.float32), made.values], axis=1)


def prepare(rows: RaggedRows, recipe: Recipe, weights: Any) -> RaggedRows:
    """The jets as a network sees them: label, weight and columns, and the lists of its inputs.

    Parameters
    ----------
    rows : RaggedRows
        Of `samples.read_sample`.
    recipe : Recipe
    weights : float32[jets]

    Returns
    -------
    RaggedRows
    """
    columns = [NUMBERS.index(name) for name in COLUMNS]
    numbers = np.column_stack([rows.numbers[:, NUMBERS.index("label")], weights, rows.numbers[:, columns]])
    counts, lists = {}, {}
    for name in recipe.inputs:
        if name == "tracks":
            counts[name], lists[name] = tracks_of(rows, recipe.order)
        elif name == "image":
            counts[name], lists[name] = pixels_of(rows, recipe.image)
        elif name != "columns":
            counts[name], lists[name] = rows.counts[name], rows.lists[name]
    return RaggedRows(np.ascontiguousarray(numbers, dtype=np.float32), counts, lists)


def arrays_of(rows: RaggedRows, recipe: Recipe, random: np.random.Generator | None = None) -> tuple[Any, ...]:
    """Arguments of the network, float32[jets, variables, objects] or float32[jets, columns]."""
    made = []
    for name in recipe.inputs:
        if name == "columns":
            made.append(rows.numbers[:, 2:])
            continue
        values, mask = rows.padded(name)
        if recipe.order == "random" and random is not None:
            key = np.where(mask, random.random(mask.shape), 2.0)
            values = np.take_along_axis(values, np.argsort(key, axis=1)[..., None], axis=1)
        made.append(np.ascontiguousarray(values.transpose(0, 2, 1)))
    return tuple(made)


def _batches(
    pieces: Iterable[RaggedRows], recipe: Recipe, random: np.random.Generator, size: int = BATCH
) -> Iterator[TrainingBatch]:
    for rows in ragged_batches(pieces, size):
        label = rows.numbers[:, 0].astype(np.int64)
        yield TrainingBatch(arrays_of(rows, recipe, random), label, rows.numbers[:, 1].copy())


# ------------------------------------------------------------------------------------------------------------- training


@dataclass(frozen=True)
class Trained:
    """A trained network.

    Parameters
    ----------
    network : nn.Module
        On the CPU, with dense images.
    history : tuple of Epoch
    seconds : tuple of float
        Of each epoch that was trained here, with its validation.
    """

    network: nn.Module
    history: tuple[Epoch, ...]
    seconds: tuple[float, ...]


def loss(outputs: Any, targets: Any, weights: Any) -> Any:
    """Weighted cross-entropy of each jet."""
    return nn.functional.cross_entropy(outputs, targets, reduction="none") * weights


def _sparse(network: nn.Module, recipe: Recipe) -> nn.Module:
    return SparseImages(network, recipe.image) if recipe.image else network


def train(
    recipe: Recipe,
    classes: int,
    rows: RaggedRows,
    validation: RaggedRows,
    *,
    seed: int,
    epochs: int,
    device: str = "cpu",
    threads: int = 1,
    batch: int = BATCH,
    checkpoint: Path | None = None,
    subject: str = "",
    follow: Callable[[Epoch], None] | None = None,
) -> Trained:
    """Train a network; an interrupted training goes on from its checkpoint.

    Parameters
    ----------
    recipe : Recipe
    classes : int
    rows, validation : RaggedRows
        Of `prepare`.
    seed, epochs : int
    device : str
    threads : int
        Of torch.
    batch : int
        Jets per batch.
    checkpoint : pathlib.Path, optional
    subject : str
        What else the training depends on.
    follow : callable, optional

    Returns
    -------
    Trained
    """
    assert recipe.build is not None, "trees are trained by fit_trees"
    settings = LoopSettings(
        epochs=epochs, rate=recipe.rate, decay=0.0, patience=epochs, schedule=Cosine(), optimiser=Adam(), device=device
    )
    times: list[float] = [time.perf_counter()]

    def said(epoch: Epoch) -> None:
        times.append(time.perf_counter())
        if follow is not None:
            follow(epoch)

    size = rows.numbers.nbytes + sum(values.nbytes for values in rows.lists.values())
    widths = {name: values.shape[1] for name, values in rows.lists.items()}
    with tempfile.TemporaryDirectory() as folder:
        with RaggedStore(Path(folder), rows.numbers.shape[1], widths, size, MEMORY, seed=1) as store:
            store.add(rows)
        with seeded(seed, threads=threads, device=device):
            network = recipe.build(classes)

            def epoch_of(number: int) -> Iterator[TrainingBatch]:
                random = epoch_random(seed, 0, number)
                return _batches(store.epoch(random), recipe, random, batch)

            history = train_network(
                _sparse(network, recipe),
                loss,
                epoch_of,
                lambda: _batches([validation], recipe, np.random.default_rng(0), 4 * batch),
                settings,
                follow=said,
                checkpoint=checkpoint,
                subject=subject,
            )
    return Trained(network, history, tuple(np.diff(times)))


@torch.no_grad()
def scores(network: nn.Module, recipe: Recipe, rows: RaggedRows, device: str = "cpu") -> Any:
    """Probabilities of classes, float32[jets, classes]; ``rows`` as `prepare` returns them."""
    module = _sparse(network, recipe).to(device).eval()
    made = []
    for part in ragged_batches([rows], 4 * BATCH):
        arrays = arrays_of(part, recipe, np.random.default_rng(0))
        logits = module(*(torch.from_numpy(values).to(device) for values in arrays))
        made.append(torch.softmax(logits, dim=1).cpu().numpy())
    module.cpu()
    return np.concatenate(made)


# ---------------------------------------------------------------------------------------------------------------- trees


def shapes_of(recipe: Recipe) -> nn.Module:
    """What boosted trees see, as a module."""
    return Columns() if "columns" in recipe.inputs else Shapes()


@torch.no_grad()
def _table(recipe: Recipe, rows: RaggedRows) -> Any:
    module = shapes_of(recipe)
    parts = [arrays_of(part, recipe) for part in ragged_batches([rows], 4 * BATCH)]
    return np.concatenate([module(*map(torch.from_numpy, arrays)).numpy() for arrays in parts])


def fit_trees(
    recipe: Recipe, classes: int, rows: RaggedRows, validation: RaggedRows, *, seed: int, rounds: int = 400
) -> tuple[Any, float]:
    """Boosted trees with as many rounds as are best for the validation.

    Parameters
    ----------
    recipe : Recipe
        Without a network.
    classes : int
    rows, validation : RaggedRows
        Of `prepare`.
    seed, rounds : int

    Returns
    -------
    xgboost.Booster
    float
        Seconds.
    """
    import xgboost

    start = time.perf_counter()
    train_set, held = (
        xgboost.DMatrix(_table(recipe, part), label=part.numbers[:, 0], weight=part.numbers[:, 1])
        for part in (rows, validation)
    )
    settings = {
        "objective": "multi:softprob", "num_class": classes, "eta": 0.1, "max_depth": 5, "min_child_weight": 5,
        "subsample": 0.8, "seed": seed, "tree_method": "hist", "nthread": 1, "verbosity": 0,
    }  # fmt: skip
    booster = xgboost.train(
        settings, train_set, rounds, evals=[(held, "validation")], early_stopping_rounds=20, verbose_eval=False
    )
    return booster[: booster.best_iteration + 1], time.perf_counter() - start


def tree_scores(booster: Any, recipe: Recipe, rows: RaggedRows) -> Any:
    """Probabilities of classes, float32[jets, classes]."""
    import xgboost

    return booster.predict(xgboost.DMatrix(_table(recipe, rows)))
