"""Saliency: the derivative of a number with respect to each input."""

from __future__ import annotations

from jettagger.arguments import guard
from jettagger.explain.jets import JetInputs
from jettagger.explain.scorer import Attributions, Scorer, remarks_of

__all__ = ["saliency"]


def saliency(scorer: Scorer, jets: JetInputs) -> Attributions:
    """Derivatives of the number with respect to the standardised inputs.

    Parameters
    ----------
    scorer : Scorer
    jets : JetInputs

    Returns
    -------
    Attributions
        ``dD/dx`` of each jet; `jettagger.explain.physical.physical` converts them to the units of the variables.

    Raises
    ------
    MissingExtra
        If torch is not installed.

    Notes
    -----
    Simonyan, Vedaldi, Zisserman, arXiv:1312.6034.
    """
    found = scorer.gradients(jets)
    return Attributions(
        jets,
        found.values,
        found.outputs,
        "saliency",
        not_finite=found.not_finite,
        reason=found.reason,
        remarks=remarks_of(scorer.target, found),
    )


guard(globals())
