"""
Distance correlation against the strength of a decorrelation
============================================================

The distance correlation is zero only for independent variables, also where a linear correlation is zero. Here it is
measured, with its uncertainty, for scores from which more and more of the dependence on the mass is removed.
"""

import numpy as np

from jettagger import plots
from jettagger.decorrelation import measure_distance_correlation

rng = np.random.default_rng(4)
mass = 40 + rng.exponential(60, 3000)
noise = rng.normal(size=3000)


def score(strength):
    """A dependence on the mass that falls with the strength, as with a penalty in a training."""
    return noise + (mass / 60 + np.sin(mass / 20)) / (1 + strength)


measured = {strength: measure_distance_correlation(score(strength), mass).biased for strength in (0, 1, 3, 10, 30)}
independent = measure_distance_correlation(noise, mass).biased
figure = plots.dependence_curves(
    {"penalty": measured}, references={"independent": independent}, variable="soft-drop mass", title="mock jets"
)
figure

# %%
# Next: heads are trained with such a penalty (DisCo) or against an adversary, see :doc:`/decorrelation` and
# :doc:`/finetuning`.
