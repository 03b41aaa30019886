"""Common parts of trainings: seeds, shards on disk, training loop, checkpoints, losses, history; extra ``train``."""

from jettagger.training.history import Epoch, Follow
from jettagger.training.loop import LoopSettings, TrainingBatch, train_network
from jettagger.training.losses import cross_entropies, cross_entropy, residual_losses
from jettagger.training.seeds import epoch_random, seeded
from jettagger.training.shards import Store, full_batches

__all__ = [
    "Epoch",
    "Follow",
    "LoopSettings",
    "Store",
    "TrainingBatch",
    "cross_entropies",
    "cross_entropy",
    "epoch_random",
    "full_batches",
    "residual_losses",
    "seeded",
    "train_network",
]
