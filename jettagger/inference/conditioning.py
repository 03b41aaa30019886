"""Numerical conditioning of a network: response of its scores to changes of one unit in the last place.

Single precision has 24 binary digits. For random jets, the following are changed by one unit in the last place:

1. each input, up or down at random;
2. an operand of each step with cancellation (`jettagger.sessions.rewriting.cancelling`), like the E² - p² of pair
   masses: another processor or another order of summation rounds differently there.

This is the size of the differences of scores between machines, for any backend, and their uncertainty on each machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jettagger.bundles.bundle import Bundle
from jettagger.bundles.probing import probe_cache
from jettagger.display import Brief
from jettagger.inference.network import OTHER_TOLERANCE, PROB_TOLERANCE, evaluate
from jettagger.inference.sample_jets import usual_jets
from jettagger.runtime.codedigest import code_digest
from jettagger.runtime.processcache import ProcessCache
from jettagger.sessions import OrtSession, Session
from jettagger.sessions.rewriting.cancelling import KNOB, cancelling_steps, with_knobs
from jettagger.types import Array

__all__ = ["INPUTS", "RoundingResponse", "measured_response", "response_of"]

#: key for changes of the inputs, as opposed to steps
INPUTS = "all inputs"

#: one unit in the last place, relative to a number just above a power of two
LAST_PLACE = 2.0**-23

#: number of random choices of up and down for changes of the inputs
DRAWS = 2

#: number of runs in which steps with cancellation are searched
LOOKED = 4

_RESPONSES: ProcessCache[str, RoundingResponse | None] = ProcessCache()


@dataclass(frozen=True)
class RoundingResponse(Brief):
    """Changes of the outputs due to changes in the last place.

    Parameters
    ----------
    changes : mapping of str to float64[jets, 2]
        What is changed -> for each jet the maximum change of a probability, and of any other output relative to max(1,
        abs(output)). `INPUTS` is one of the keys, the others are results of steps. An output that becomes non-finite
        counts as an infinite change.
    """

    changes: Mapping[str, Array]

    @property
    def jets(self) -> int:
        """Number of jets."""
        return len(self.changes[INPUTS])

    def units(self, what: str | None = None) -> Array:
        """The change of each jet in units of a rewritten graph's tolerance, float64[jets]; by default the maximum."""
        chosen = self.changes.values() if what is None else [self.changes[what]]
        scaled: Array = np.max([change / (PROB_TOLERANCE, OTHER_TOLERANCE) for change in chosen], axis=(0, 2))
        return scaled

    def quantile(self, share: float) -> float:
        """A quantile over the jets of the maximum change, in units of a rewritten graph's tolerance."""
        return float(np.quantile(self.units(), share, method="higher"))

    @property
    def worst(self) -> str:
        """The key with the largest change of the outputs."""
        return max(self.changes, key=lambda what: float(np.quantile(self.units(what), 0.9, method="higher")))

    @property
    def amplifying(self) -> list[str]:
        """Steps in which a change in the last place moves an output of any jet by more than a rewritten graph may."""
        return [what for what in self.changes if what != INPUTS and self.units(what).max() > 1]

    def figures(self, what: str, others: bool = False) -> tuple[float, float, float]:
        """Median, 99 % quantile and maximum of the change of a probability, or of another output."""
        column = self.changes[what][:, int(others)]
        median, most, largest = np.quantile(column, (0.5, 0.99, 1), method="higher")
        return float(median), float(most), float(largest)

    def said(self, what: str, others: bool = False) -> str:
        """The numbers as text.

        Examples
        --------
        >>> RoundingResponse({INPUTS: np.array([[1e-7, 0], [3e-7, 0]])}).said(INPUTS)
        'median 3e-07, 99 % 3e-07, largest 3e-07 of 2 jets'
        """
        median, most, largest = self.figures(what, others)
        return f"median {median:.2g}, 99 % {most:.2g}, largest {largest:.2g} of {self.jets} jets"


def measured_response(bundle: Bundle, jets: Sequence[Mapping[str, Array]] | None = None) -> RoundingResponse:
    """Measure the response of outputs to changes in the last place, with the file in ONNX Runtime on the CPU.

    Parameters
    ----------
    bundle : Bundle
        With weights and the lengths with which its network runs, see `jettagger.inference.padding.as_run`.
    jets : sequence of dict of str to float32[jets, ...], optional
        Inputs of the network, one entry per run; default: random jets.

    Returns
    -------
    RoundingResponse

    Raises
    ------
    MissingModelFile
        If the bundle has no weights.
    ModelFileError
        If the network fails.

    Examples
    --------
    >>> from jettagger.bundles.registry import load_bundle
    >>> from jettagger.inference.padding import as_run
    >>> response = measured_response(as_run(load_bundle("tinyParT")))
    >>> response.jets, response.quantile(0.99) < 1
    (128, True)
    """
    import onnx

    graph = bundle.require_graph()
    model = onnx.load(graph.path)
    jets = usual_jets(bundle) if jets is None else jets
    plain = OrtSession(graph, 1, "cpu")
    reference = [evaluate(bundle, plain, inputs) for inputs in jets]
    masks = {group.name for group in bundle.groups if group.is_mask}
    rng = np.random.default_rng(1)
    changed = [
        [{name: array if name in masks else _moved(array, rng) for name, array in run.items()} for run in jets]
        for _ in range(DRAWS)
    ]
    changes = {INPUTS: np.max([_changes(bundle, plain, runs, reference) for runs in changed], axis=0)}
    steps = cancelling_steps(model, list(jets[:: max(len(jets) // LOOKED, 1)]))
    if steps:
        session = OrtSession(graph, 1, "cpu", with_knobs(model, steps))
        still = {KNOB.format(number): _knob(0) for number in range(len(steps))}
        reference = [evaluate(bundle, session, {**run, **still}) for run in jets]
        for number, step in enumerate(steps):
            moves = [{**still, KNOB.format(number): _knob(sign)} for sign in (1, -1)]
            found = [_changes(bundle, session, [{**run, **move} for run in jets], reference) for move in moves]
            changes[step] = np.max(found, axis=0)
    return RoundingResponse(changes)


def response_of(bundle: Bundle) -> RoundingResponse | None:
    """The response of a network to changes in the last place for random jets, measured once and stored in the cache.

    Parameters
    ----------
    bundle : Bundle
        As for `measured_response`.

    Returns
    -------
    RoundingResponse or None
        None if it cannot be measured.
    """
    if bundle.digest in _RESPONSES:
        return _RESPONSES[bundle.digest]
    import onnxruntime

    said = f"response {code_digest()} {onnxruntime.__version__} {bundle.digest}"
    key, cache = hashlib.sha256(said.encode()).hexdigest(), probe_cache()
    kept = None if cache is None else cache.get(key)
    response: RoundingResponse | None
    if kept is not None:
        response = RoundingResponse(dict(zip(kept["names"].tolist(), kept["changes"], strict=True)))
    else:
        try:
            response = measured_response(bundle)
        except Exception:  # whatever a graph holds: it is compared as any other then
            response = None
        if cache is not None and response is not None:
            names, changes = list(response.changes), np.stack(list(response.changes.values()))
            cache.put(key, {"names": np.array(names), "changes": changes})
    _RESPONSES[bundle.digest] = response
    return response


def _knob(places: int) -> Array:
    """A factor of one plus some units in the last place."""
    return np.full((), 1 + places * LAST_PLACE, dtype=np.float32)


def _moved(array: Array, rng: np.random.Generator) -> Array:
    """Each number changed by one unit in the last place; zeros, which are mostly padding, are kept."""
    if array.dtype != np.float32:
        return array
    up = rng.random(array.shape) < 0.5
    moved: Array = np.where(array == 0, array, np.nextafter(array, np.where(up, np.inf, -np.inf).astype(np.float32)))
    return moved


def _changes(
    bundle: Bundle, session: Session, jets: Sequence[Mapping[str, Array]], reference: Sequence[Array]
) -> Array:
    """For each jet the maximum change of a probability and of another output, float64[jets, 2]."""
    probable = np.array([output.kind == "prob" for output in bundle.outputs])
    rows = []
    for inputs, old in zip(jets, reference, strict=True):
        new = evaluate(bundle, session, inputs).astype(np.float64)
        same = (new == old) | (np.isnan(new) & np.isnan(old))
        with np.errstate(invalid="ignore"):
            change = np.abs(new - old) / np.where(probable, 1, np.maximum(1, np.abs(old)))
        change = np.where(same, 0, np.where(np.isfinite(change), change, np.inf))
        rows.append([change[:, probable].max(axis=1, initial=0), change[:, ~probable].max(axis=1, initial=0)])
    return np.concatenate([np.stack(row, axis=1) for row in rows])
