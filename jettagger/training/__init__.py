"""Common parts of trainings: seeds, shards on disk, training loop, losses, history; extra ``train``."""

from jettagger.training.history import Epoch, Follow
from jettagger.training.live import live_table
from jettagger.training.loop import LoopSettings, Metric, TrainingBatch, learning_rate, train_network
from jettagger.training.losses import cross_entropies, cross_entropy, residual_losses
from jettagger.training.opponents import Opponent
from jettagger.training.optimisers import Adam, AdamW, Optimiser, RAdam, Sgd
from jettagger.training.ragged import RaggedRows, RaggedStore, ragged_batches
from jettagger.training.schedules import Constant, Cosine, Piecewise, Plateau, Restarts, Schedule, ramp
from jettagger.training.seeds import epoch_random, seeded
from jettagger.training.shards import Store, full_batches

__all__ = [
    "Adam",
    "AdamW",
    "Constant",
    "Cosine",
    "Epoch",
    "Follow",
    "LoopSettings",
    "Metric",
    "Opponent",
    "Optimiser",
    "Piecewise",
    "Plateau",
    "RAdam",
    "RaggedRows",
    "RaggedStore",
    "Restarts",
    "Schedule",
    "Sgd",
    "Store",
    "TrainingBatch",
    "cross_entropies",
    "cross_entropy",
    "epoch_random",
    "full_batches",
    "learning_rate",
    "live_table",
    "ragged_batches",
    "ramp",
    "residual_losses",
    "seeded",
    "train_network",
]


def __dir__() -> list[str]:
    return sorted(__all__)
