"""Check that a session agrees with the bundle's file in ONNX Runtime on the CPU; the only place for this decision.

Every other way to run a network (another graph, library, processor, provider, a server, an object of the user) is
compared for random jets, and for golden vectors if there are any, when a process first uses it.

Some networks amplify rounding (`jettagger.inference.conditioning`): with another order of rounding they cannot give the
same scores for each jet. Such a session is compared in quantiles, with the response to changes in the last place.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jettagger.bundles.bundle import Bundle
from jettagger.display import Brief
from jettagger.inference.conditioning import RoundingResponse, response_of
from jettagger.inference.golden import golden_inputs
from jettagger.inference.network import OTHER_TOLERANCE, PROB_TOLERANCE, deviations, evaluate
from jettagger.inference.sample_jets import proof_jets, usual_jets
from jettagger.runtime.processcache import ProcessCache
from jettagger.sessions import Session, open_onnx
from jettagger.sessions.providers import Provider
from jettagger.types import Array

__all__ = ["ALLOWED", "Answer", "allowed_of", "compared", "file_answers", "proof_inputs", "shortfall"]

#: tolerance of another library, processor or provider, in units of a rewritten graph's tolerance
ALLOWED = 10

#: quantile of the differences -> quantile of the response to changes in the last place, and how many times as large
#: they may be (besides what is allowed to any network); for a sample of jets, and for a few
QUANTILES: Mapping[float, tuple[float, float]] = {0.5: (0.5, 2), 0.9: (0.9, 2), 1.0: (1.0, 4)}
FEW: Mapping[float, tuple[float, float]] = {0.5: (0.9, 2), 1.0: (1.0, 4)}

_ANSWERS: ProcessCache[tuple[int, str], tuple[Answer, ...]] = ProcessCache()


@dataclass(frozen=True)
class Answer(Brief):
    """The outputs of the file for some jets.

    Parameters
    ----------
    jets : str
        Description of the jets.
    inputs : mapping of str to float32[jets, ...]
    values : float32[jets, outputs]
        As returned by `jettagger.inference.network.evaluate`.
    """

    jets: str
    inputs: Mapping[str, Array]
    values: Array


def proof_inputs(bundle: Bundle) -> list[tuple[str, Mapping[str, Array]]]:
    """All inputs with which sessions are compared.

    Parameters
    ----------
    bundle : Bundle

    Returns
    -------
    list of (str, dict of str to float32[jets, ...])
        Description of the jets, and the inputs of one run.

    Raises
    ------
    BundleError
        If the bundle names a file of golden vectors that cannot be read.
    """
    found: list[tuple[str, Mapping[str, Array]]] = [("random jets", inputs) for inputs in proof_jets(bundle)]
    return [*found, *(("golden vectors", inputs) for inputs in golden_inputs(bundle))]


def file_answers(bundle: Bundle, threads: int | None = None) -> tuple[Answer, ...]:
    """The outputs of a bundle's file on the CPU for `proof_inputs`; computed once per process.

    Parameters
    ----------
    bundle : Bundle
    threads : int, optional

    Returns
    -------
    tuple of Answer

    Raises
    ------
    BundleError
        If the bundle has no weights, if ONNX Runtime refuses them, or if golden vectors cannot be read.
    """
    key = (os.getpid(), bundle.digest)
    if key not in _ANSWERS:
        plain = open_onnx(bundle.require_graph(), threads)
        _ANSWERS[key] = tuple(
            Answer(jets, inputs, evaluate(bundle, plain, inputs)) for jets, inputs in proof_inputs(bundle)
        )
    return _ANSWERS[key]


def compared(bundle: Bundle, session: Session, answers: Iterable[Answer], allowed: float) -> str:
    """Differences between the outputs of a session and those of the file.

    Parameters
    ----------
    bundle : Bundle
    session : Session
    answers : iterable of Answer
    allowed : float
        Maximum change of any output, in units of a rewritten graph's tolerance.

    Returns
    -------
    str
        The output with the largest difference, the difference, and the tolerance; empty if no output exceeds it.

    Raises
    ------
    ModelFileError, RemoteError
        If the session fails.
    """
    worst, text = allowed, ""
    for answer in answers:
        values = evaluate(bundle, session, answer.inputs)
        change = deviations(bundle, values, answer.values)
        off = float(change.max(initial=0))
        if off > worst:
            jet, place = np.unravel_index(int(change.argmax()), change.shape)
            output, old = bundle.outputs[int(place)], float(answer.values[jet, place])
            tolerance = PROB_TOLERANCE if output.kind == "prob" else OTHER_TOLERANCE * max(1.0, abs(old))
            worst = off
            most = allowed * tolerance
            text = (
                f"differs by {off:.3g} times the tolerance of rewritten graphs, {allowed:g} are allowed "
                f"({answer.jets}: {output.name} is {values[jet, place]:.6g}, expected {old:.6g} +- {most:.2g})"
            )
    return text


def allowed_of(provider: Provider) -> float:
    """Tolerance of a provider, in units of a rewritten graph's tolerance.

    Parameters
    ----------
    provider : Provider

    Returns
    -------
    float
        1 on the CPU, 10 otherwise, and a larger value if TF32 was requested.
    """
    return provider.tolerance if provider.on_cpu else max(ALLOWED, provider.tolerance)


def shortfall(
    bundle: Bundle, session: Session, runs_in: str, threads: int | None = None, allowed: float = ALLOWED
) -> str:
    """The reason why a session must not be used for a bundle.

    Parameters
    ----------
    bundle : Bundle
        With weights.
    session : Session
    runs_in : str
        Description of the session, for the warning.
    threads : int, optional
        Threads of the reference runs.
    allowed : float
        Maximum change of any output, in units of a rewritten graph's tolerance.

    Returns
    -------
    str
        The difference and its tolerance; empty if the session passes.

    Raises
    ------
    BundleError
        As for `file_answers`.
    ModelFileError, RemoteError
        If the session fails.

    Warns
    -----
    RuntimeWarning
        If the network amplifies rounding and the session agrees only within the response to changes in the last place.
    """
    answers = file_answers(bundle, threads)
    text = compared(bundle, session, answers, allowed)
    if not text:
        return ""
    response = response_of(bundle)
    if response is None or response.quantile(1) <= allowed:
        return text
    golden = [answer for answer in answers if answer.jets == "golden vectors"]
    return _in_quantiles(bundle, session, runs_in, response, allowed, golden)


def _in_quantiles(
    bundle: Bundle,
    session: Session,
    runs_in: str,
    response: RoundingResponse,
    allowed: float,
    golden: Sequence[Answer],
) -> str:
    """Like `shortfall`, for a network that amplifies rounding."""
    plain = open_onnx(bundle.require_graph(), 1)
    usual = [Answer("random jets", inputs, evaluate(bundle, plain, inputs)) for inputs in usual_jets(bundle)]
    said, wrong = [], False
    for answers, quantiles in ((usual, QUANTILES), (golden, FEW)):
        if not answers:
            continue
        change = np.concatenate(
            [deviations(bundle, evaluate(bundle, session, item.inputs), item.values).max(axis=1) for item in answers]
        )
        figures = []
        for quantile, (of_response, factor) in quantiles.items():
            off = float(np.quantile(change, quantile, method="higher"))
            most = allowed + factor * response.quantile(of_response)
            wrong |= not off <= most  # NaN is not
            name = {0.5: "median", 1.0: "largest"}.get(quantile, f"{quantile:.0%} quantile")
            figures.append(f"{name} {off:.3g} ({most:.3g} allowed)")
        said.append(f"{', '.join(figures)}, of {len(change)} {answers[0].jets}")
    text = (
        f"in units of the tolerance of rewritten graphs: {'; '.join(said)}. The network amplifies rounding: a change "
        f"in the last place of {response.worst} moves a probability ({response.said(response.worst)})"
    )
    if wrong:
        return f"differs {text}"
    warnings.warn(
        f"scores of {bundle.name!r} from {runs_in} differ from the CPU's {text}", RuntimeWarning, stacklevel=3
    )
    return ""
