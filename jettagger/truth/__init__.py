"""Truth from generator particles: last copies, legs of resonances, matching within a cone around a jet."""

from jettagger.truth.labels import LEGS, RESONANCES, generator_labels

__all__ = ["LEGS", "RESONANCES", "generator_labels"]
