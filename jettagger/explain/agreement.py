"""Whether outputs of a network in torch are those of ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from jettagger.bundles.bundle import Bundle
from jettagger.errors import MismatchError
from jettagger.inference.conditioning import measured_response
from jettagger.inference.network import deviations, evaluate
from jettagger.sessions import open_onnx
from jettagger.types import Array

__all__ = ["PRECISION", "ROUNDING", "agreement", "settled"]

#: differences that are rounding, in units of the response to one unit in the last place: a network has many steps
ROUNDING = 5

#: largest difference between single and double precision in torch, in units of the tolerance
PRECISION = 10


class _Answered:
    """Outputs that are there already, as a session."""

    def __init__(self, outputs: dict[str, Array]) -> None:
        self._outputs = outputs

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        return self._outputs


def agreement(
    bundle: Bundle,
    inputs: Mapping[str, Array],
    outputs: dict[str, Array],
    exact: Callable[[dict[str, Array]], dict[str, Array]] | None = None,
) -> float:
    """Largest difference of outputs to those of ONNX Runtime on the CPU.

    Parameters
    ----------
    bundle : Bundle
        With weights.
    inputs : mapping of str to float32[jets, ...]
        At most as many jets as a fixed batch size allows.
    outputs : dict of str to array[jets, ...]
        All outputs of the graph, in its order.
    exact : callable, optional
        Gives all outputs, float64[jets, ...], for inputs, float32[jets, ...]; called for jets beyond the tolerance.

    Returns
    -------
    float
        In units of the tolerance, see `jettagger.inference.network.deviations`.

    Raises
    ------
    MismatchError
        If it exceeds 1 for a jet whose outputs do not change as much by rounding alone.

    Notes
    -----
    Where pair masses cancel, ONNX Runtime itself is up to a few tolerances from the result in double precision, for one
    jet in a thousand. For jets beyond the tolerance the response to one unit in the last place is measured
    (`jettagger.inference.conditioning`), and `ROUNDING` times this is allowed. The result in torch is rounded, too, by
    more than that for one jet in ten thousand: where ONNX Runtime has the result of double precision, the one in
    single precision may differ by `PRECISION` tolerances.
    """
    reference = evaluate(bundle, open_onnx(bundle.require_graph(), 1), inputs)
    values = evaluate(bundle, _Answered(outputs), inputs)
    labels = [output.name for output in bundle.outputs]
    change = deviations(bundle, values, reference)
    beyond = np.flatnonzero(change.max(axis=1, initial=0) > 1)
    if len(beyond) and not bundle.fixed_batch:
        few = {name: np.asarray(array)[beyond] for name, array in inputs.items()}
        allowed = np.maximum(ROUNDING * measured_response(bundle, [few]).units(), 1)
        change[beyond] /= allowed[:, np.newaxis]
        still = change[beyond].max(axis=1) > 1
        if exact is not None and still.any():
            few = {name: array[still] for name, array in few.items()}
            doubles = evaluate(bundle, _Answered(exact(few)), few)
            beyond, allowed = beyond[still], allowed[still, np.newaxis]
            change[beyond] = np.maximum(
                deviations(bundle, doubles, reference[beyond]) / allowed,
                deviations(bundle, values[beyond], doubles) / PRECISION,
            )
    return settled(change, values, reference, labels, f"the network of {bundle.name!r}")


def settled(change: Array, values: Array, reference: Array, labels: Sequence[str], what: str) -> float:
    """The largest difference, or the error that gives it.

    Parameters
    ----------
    change : float64[jets, outputs]
        Differences in units of the tolerance.
    values, reference : float[jets, outputs]
    labels : sequence of str
        Names of the outputs.
    what : str
        What gave the values.

    Returns
    -------
    float

    Raises
    ------
    MismatchError
        If it exceeds 1.
    """
    worst = float(change.max(initial=0))
    if worst <= 1:
        return worst
    jet, place = (int(item) for item in np.unravel_index(int(change.argmax()), change.shape))
    raise MismatchError(
        f"{what} in torch gives {values[jet, place]:.7g} for {labels[place]} of jet {jet}, the session "
        f"{reference[jet, place]:.7g}: {worst:.3g} times the tolerance (1e-5 for probabilities, 1e-4 * max(1, value) "
        "for other outputs of a bundle, 1e-5 * max(1, value) for those of a session); its derivatives would not be "
        "those of the file"
    )
