"""The number that is explained and its gradients, for the inputs of jets and for changes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from jettagger.arguments import guard
from jettagger.discriminants import Discriminant
from jettagger.errors import MismatchError
from jettagger.explain.gradients import COLUMNS, gradients
from jettagger.explain.jets import JetInputs, canonical
from jettagger.explain.target_names import target_of
from jettagger.explain.targets import JetTarget
from jettagger.inference.network import evaluate
from jettagger.tagging.tagger import Tagger
from jettagger.types import Array

__all__ = ["Attributions", "InputGradients", "Scorer", "remarks_of"]

#: rows in a run of the network, and in a run with gradients
_ROWS = 128


@dataclass(frozen=True)
class InputGradients:
    """Derivatives of the number with respect to the inputs of jets.

    Parameters
    ----------
    values : mapping of str to float64[n, variables, length]
        Group -> derivatives; 0 for masks, and for empty slots.
    outputs : float64[n]
        The number itself.
    method : str
        ``torch``, or ``differences``: central differences.
    reason : str
        Why differences were taken.
    not_finite : int64[n]
        Derivatives of each jet that were not finite; they are 0 in ``values``.
    """

    values: Mapping[str, Array]
    outputs: Array
    method: str
    reason: str
    not_finite: Array


@dataclass(frozen=True)
class Attributions:
    """What each input of some jets contributes to a number.

    Parameters
    ----------
    jets : JetInputs
    values : mapping of str to float64[n, variables, length]
        Group -> attributions; of an image [n, channels, rows, columns]. 0 for masks, and for empty slots.
    outputs : float64[n]
        The number that is explained.
    method : str
        Of attribution.
    reference : float64[n], optional
        The number without what is attributed: of the baseline.
    residual : float64[n], optional
        Sum of the attributions minus the difference that they should add up to.
    not_finite : int64[n]
        Derivatives that were not finite, and count as 0.
    steps : int64[n], optional
        Number of derivatives that were taken along the path from the baseline.
    reason : str
        Why central differences took the place of derivatives; empty: they did not.
    remarks : tuple of str
        What to say of them: differences instead of derivatives, a number that is constant.
    """

    jets: JetInputs
    values: Mapping[str, Array]
    outputs: Array
    method: str
    reference: Array | None = None
    residual: Array | None = None
    not_finite: Array = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    steps: Array | None = None
    reason: str = ""
    remarks: tuple[str, ...] = ()


class Scorer:
    """A number of a tagger's jets: a target with the session and the gradients of its network.

    Parameters
    ----------
    tagger : Tagger
    target : str, Discriminant or target
        As for `jettagger.explain.target_of`.

    Attributes
    ----------
    target : target

    Raises
    ------
    MissingModelFile
        If the model has no weights.
    MismatchError
        If the session rounds: half precision.
    UnknownName, ConfigError
        As for `jettagger.explain.target_of`.

    Examples
    --------
    >>> from jettagger import load_tagger
    >>> from jettagger.explain.jets import jet_inputs
    >>> from jettagger.testing import make_events
    >>> tagger = load_tagger("tinyParT", threads=1)
    >>> batch = next(jet_inputs(tagger, tagger.request(make_events(3, seed=1))))
    >>> bool((Scorer(tagger, "probHbb").values(batch) < 1).all())
    True
    """

    def __init__(self, tagger: Tagger, target: str | Discriminant | JetTarget) -> None:
        tagger.bundle.require_weights()
        if tagger.options.precision != "float32":
            raise MismatchError(
                f"the tagger of {tagger.bundle.name!r} runs in {tagger.options.precision}, which rounds its outputs by "
                "more than small changes of the inputs change them; load it with precision='float32'"
            )
        self.tagger = tagger
        self.target = target_of(tagger, target)

    def values(self, jets: JetInputs, values: Mapping[str, Array] | None = None) -> Array:
        """The number, by the tagger's session.

        Parameters
        ----------
        jets : JetInputs
        values : mapping of str to float32[n, variables, length], optional
            Changed inputs of the same jets; groups that are left out are unchanged.

        Returns
        -------
        float64[n]
        """
        whole = {**jets.values, **(values or {})}
        found = np.empty(len(jets), dtype=np.float64)
        size = jets.bundle.fixed_batch or _ROWS
        for start in range(0, len(jets), size):
            rows = slice(start, start + size)
            inputs = jets.tensors({name: array[rows] for name, array in whole.items()})
            outputs = evaluate(self.tagger.bundle, self.tagger.session, inputs)
            target = self._target_of(jets, rows)
            found[rows] = target({COLUMNS: outputs})
        return found

    def _target_of(self, jets: JetInputs, rows: slice) -> JetTarget:
        """The target for some of the jets."""
        return self.target.for_jets(lambda name: jets.columns[name][rows])

    def gradients(
        self, jets: JetInputs, values: Mapping[str, Array] | None = None, *, check: bool = True
    ) -> InputGradients:
        """The number and its derivatives with respect to the inputs.

        Parameters
        ----------
        jets : JetInputs
        values : mapping of str to float32[n, variables, length], optional
            Changed inputs of the same jets, as for `values`.
        check : bool
            Whether the outputs are compared with those of ONNX Runtime.

        Returns
        -------
        InputGradients

        Raises
        ------
        MissingExtra
            If torch is not installed.
        MismatchError
            If the network in torch does not give the outputs of ONNX Runtime.
        """
        whole = {**jets.values, **(values or {})}
        found = {name: np.zeros(array.shape, dtype=np.float64) for name, array in whole.items()}
        outputs = np.empty(len(jets), dtype=np.float64)
        not_finite = np.zeros(len(jets), dtype=np.int64)
        method, reason = "torch", ""
        size = jets.bundle.fixed_batch or _ROWS
        for start in range(0, len(jets), size):
            rows = slice(start, start + size)
            inputs = jets.tensors({name: array[rows] for name, array in whole.items()})
            target = self._target_of(jets, rows)
            made = gradients(self.tagger.bundle, inputs, target, check=check)
            for name, array in made.values.items():
                slopes = canonical(array, jets.groups[name])
                found[name][rows] = np.where(np.isfinite(slopes), slopes, 0)
            outputs[rows], not_finite[rows] = made.outputs, made.not_finite
            method, reason = made.method, made.reason or reason
        for name, array in found.items():
            if jets.groups[name].is_mask:
                array[:] = 0
            else:
                array *= jets.filled(name)[:, np.newaxis]
        return InputGradients(found, outputs, method, reason, not_finite)


def remarks_of(target: JetTarget, found: InputGradients) -> tuple[str, ...]:
    """What to say of gradients: a number that is constant or flat, differences, values that are not finite."""
    remarks = []
    flat = all(not array.any() for array in found.values.values())
    if len(found.outputs) > 1 and np.ptp(found.outputs) == 0:
        remarks.append(f"{target.name} is constant: {found.outputs[0]:g} for all {len(found.outputs)} jets")
    if flat and len(found.outputs):
        remarks.append(f"{target.name} has no gradient: its derivatives are 0 for all {len(found.outputs)} jets")
    if found.method != "torch":
        remarks.append(f"derivatives are central differences: {found.reason}")
    if found.not_finite.any():
        jets = np.flatnonzero(found.not_finite)
        remarks.append(
            f"{int(found.not_finite.sum())} derivatives of {len(jets)} jets are not finite and count as 0 "
            f"(first jets: {', '.join(map(str, jets[:5]))})"
        )
    return tuple(remarks)


guard(globals())
