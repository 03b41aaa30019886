"""Matrix products in half precision, where scores stay within what is stated.

Factors and results of products have 11 bits then, relative 5e-4. On random jets probabilities of three networks moved
by 4e-5 to 6e-4 in the median and by up to 0.013; `TOLERANCES` is what is promised, and checked when a process opens the
network.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from jettagger.bundles.bundle import Bundle
from jettagger.errors import ProviderError
from jettagger.inference.network import deviations, evaluate
from jettagger.inference.proof import Answer
from jettagger.sessions import Session
from jettagger.sessions.cpusteps import CutNetwork, make_cut_session
from jettagger.sessions.onnx import make_session
from jettagger.sessions.providers import Provider
from jettagger.sessions.rewriting.half import half_products

__all__ = ["PRECISIONS", "TOLERANCES", "half_session"]

#: of matrix products
PRECISIONS = ("float32", "float16")

#: quantile of the jets -> how far any output may be off with float16, in units of what a rewritten graph may: 1e-5 of a
#: probability
TOLERANCES: Mapping[float, float] = {0.5: 200, 1.0: 5000}


def half_session(
    bundle: Bundle, threads: int, provider: Provider, model: bytes | CutNetwork, answers: Iterable[Answer]
) -> tuple[Session | None, str]:
    """A session with products in half precision.

    Parameters
    ----------
    bundle : Bundle
        With weights.
    threads : int
    provider : Provider
    model : bytes or CutNetwork
        The network in single precision; of one in two parts, the steps that run on the CPU stay as they are.
    answers : iterable of Answer
        Of the file on the CPU.

    Returns
    -------
    Session or None
        None where it is not within `TOLERANCES`.
    str
        Why not.

    Raises
    ------
    BundleError
        If the bundle has no weights.
    ProviderError
        If the provider is not there, or another one became active.
    """
    graph = bundle.require_graph()
    try:
        if isinstance(model, CutNetwork):
            model = replace(model, rest=half_products(model.rest))
            session = make_cut_session(graph, threads, provider, model)
        else:
            session = make_session(graph, threads, provider, half_products(model))
        changes = [
            deviations(bundle, evaluate(bundle, session, answer.inputs), answer.values).max(axis=1)
            for answer in answers
        ]
    except ProviderError:
        raise
    except Exception as error:  # whatever a graph holds, there is single precision
        return None, f"fails ({type(error).__name__}: {str(error).strip()})"
    change = np.concatenate(changes)
    for quantile, allowed in TOLERANCES.items():
        off = float(np.quantile(change, quantile, method="higher"))
        if not off <= allowed:  # NaN is none
            which = "the largest" if quantile == 1 else "the median"
            return (
                None,
                f"differs by {off:.3g} times the tolerance of rewritten graphs ({which}), {allowed:g} are allowed",
            )
    return session, ""
