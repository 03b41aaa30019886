"""Derivatives with respect to the variables before standardisation, in their own units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from jettagger.arguments import guard
from jettagger.display import Brief
from jettagger.explain.jets import JetInputs
from jettagger.inputs.batching import HUGE
from jettagger.types import Array

__all__ = ["PhysicalGradients", "physical"]


@dataclass(frozen=True)
class PhysicalGradients(Brief):
    """Derivatives of a number with respect to physical quantities.

    Parameters
    ----------
    values : mapping of str to float64[n, variables, length]
        Group -> derivatives, per unit of the variable; images have none.
    clipped : mapping of str to bool[n, variables, length]
        Values at which the standardised input does not change: beyond the limits of the input, or replaced because they
        are not finite. Their derivatives are 0.
    units : mapping of str to tuple of str
        Group -> unit of each variable; the derivative has that of the number divided by it.
    """

    values: Mapping[str, Array]
    clipped: Mapping[str, Array]
    units: Mapping[str, tuple[str, ...]]


def physical(gradients: Mapping[str, Array], jets: JetInputs) -> PhysicalGradients:
    """Apply the chain rule for the fixed transformation of the inputs, ``clip((x - median) norm_factor)``.

    Parameters
    ----------
    gradients : mapping of str to float64[n, variables, length]
        Derivatives with respect to the inputs of the network, as `Scorer.gradients` and `saliency` give them.
    jets : JetInputs

    Returns
    -------
    PhysicalGradients

    Examples
    --------
    >>> from jettagger import load_tagger
    >>> from jettagger.explain.jets import jet_inputs
    >>> from jettagger.testing import make_events
    >>> tagger = load_tagger("tinyParT")
    >>> jets = next(jet_inputs(tagger, tagger.request(make_events(3, seed=1))))
    >>> ones = {name: np.ones_like(array) for name, array in jets.values.items()}
    >>> found = physical(ones, jets)
    >>> found.values["pf_vectors"][0, :, 0].tolist(), found.units["pf_vectors"]
    ([1.0, 1.0, 1.0, 1.0], ('GeV', 'GeV', 'GeV', 'GeV'))
    """
    values, clipped, units = {}, {}, {}
    weaver = jets.bundle.card.nonfinite == "weaver"
    for name, raw in jets.raw.items():
        variables = jets.groups[name].variables

        def of_each(what: str, variables: tuple[object, ...] = variables) -> Array:
            return np.array([getattr(variable, what) for variable in variables], dtype=np.float32)[:, np.newaxis]

        factor = of_each("norm_factor")
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is flagged
            standard = (raw - of_each("median")) * factor
            outside = (standard < of_each("lower_bound")) | (standard > of_each("upper_bound"))
            replaced = np.isnan(raw) if weaver else ~(np.abs(raw) <= HUGE)
        filled = jets.filled(name)[:, np.newaxis]
        clipped[name] = (outside | replaced) & filled
        values[name] = np.where(clipped[name] | ~filled, 0, gradients[name] * factor.astype(np.float64))
        units[name] = tuple(variable.feature.unit for variable in variables)
    return PhysicalGradients(values, clipped, units)


guard(globals())
