"""Gradient times input: the first-order change of a number if inputs become those of an empty slot."""

from __future__ import annotations

from jettagger.arguments import guard
from jettagger.explain.baselines import no_constituents
from jettagger.explain.jets import JetInputs
from jettagger.explain.scorer import Attributions, Scorer, remarks_of

__all__ = ["gradient_input"]


def gradient_input(scorer: Scorer, jets: JetInputs) -> Attributions:
    """``dD/dx (x - x')``, where x' is the value of an empty slot (0 in most networks).

    Parameters
    ----------
    scorer : Scorer
    jets : JetInputs

    Returns
    -------
    Attributions
        They add up to the change of the number if it is linear in the inputs.

    Raises
    ------
    MissingExtra
        If torch is not installed.

    Notes
    -----
    Shrikumar, Greenside, Shcherbina, Kundaje, arXiv:1605.01713.
    """
    found = scorer.gradients(jets)
    empty = no_constituents(jets.bundle).of(jets)
    values = {name: slopes * (jets.values[name] - empty[name]) for name, slopes in found.values.items()}
    return Attributions(
        jets,
        values,
        found.outputs,
        "gradient-input",
        not_finite=found.not_finite,
        reason=found.reason,
        remarks=remarks_of(scorer.target, found),
    )


guard(globals())
