"""Truth from generator particles: last copies, legs of resonances, matching within a cone around a jet."""

from jettagger.truth.genjets import hard_parton_flavour, matched_generator_jets
from jettagger.truth.labels import LEGS, RESONANCES, generator_labels
from jettagger.truth.merging import merging_labels

__all__ = [
    "LEGS",
    "RESONANCES",
    "generator_labels",
    "hard_parton_flavour",
    "matched_generator_jets",
    "merging_labels",
]


def __dir__() -> list[str]:
    return sorted(__all__)
