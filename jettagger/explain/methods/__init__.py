"""Methods of attribution, one module each."""

from jettagger.explain.methods.gradient_input import gradient_input
from jettagger.explain.methods.integrated import integrated
from jettagger.explain.methods.occlusion import (
    Cumulative,
    Effects,
    cumulative,
    occlude_constituents,
    occlude_kinds,
    occlude_variables,
)
from jettagger.explain.methods.permutation import Importance, permutation_importance
from jettagger.explain.methods.saliency import saliency

__all__ = [
    "Cumulative",
    "Effects",
    "Importance",
    "cumulative",
    "gradient_input",
    "integrated",
    "occlude_constituents",
    "occlude_kinds",
    "occlude_variables",
    "permutation_importance",
    "saliency",
]
