"""The number that is explained and its gradients, for the inputs of jets and for changes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from jettagger.arguments import guard
from jettagger.discriminants import Discriminant
from jettagger.display import Brief
from jettagger.errors import MismatchError
from jettagger.explain.gradients import COLUMNS, gradients
from jettagger.explain.jets import JetInputs, canonical
from jettagger.explain.rounding import stored_digits
from jettagger.explain.target_names import target_of
from jettagger.explain.targets import JetTarget
from jettagger.inference.network import evaluate
from jettagger.sessions import open_onnx
from jettagger.tagging.tagger import Tagger
from jettagger.types import Array

__all__ = ["Attributions", "InputGradients", "Scorer", "remarks_of"]

#: outputs with at most as many binary digits are rounded: half precision has 10, bfloat16 7, single precision 23
_ROUNDED = 12

#: rows in a run of the network, and in a run with gradients
_ROWS = 128


@dataclass(frozen=True)
class InputGradients(Brief):
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
class Attributions(Brief):
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


class Scorer(Brief):
    """A number of a tagger's jets: a target with the session and the gradients of its network.

    Parameters
    ----------
    tagger : Tagger
    target : str, Discriminant or target
        As for `jettagger.explain.target_of`.

    Attributes
    ----------
    target : target
    rounding : str
        What to say of outputs that the file itself gives in half precision or bfloat16; known once there are numbers.

    Raises
    ------
    MissingModelFile
        If the model has no weights.
    MismatchError
        If the session rounds: half precision was asked for, or its numbers have fewer digits than those of the file.
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
        self.rounding = ""
        self._precise = False

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
            if not self._precise:
                self._look_at(outputs, inputs)
            target = self._target_of(jets, rows)
            found[rows] = target({COLUMNS: outputs})
        return found

    def _look_at(self, outputs: Array, inputs: Mapping[str, Array]) -> None:
        """Refuse a session that rounds, and remember what to say of a file that does."""
        digits = stored_digits(outputs)
        if digits is None:
            return
        self._precise = True
        if digits > _ROUNDED:
            return
        bundle = self.tagger.bundle
        theirs = stored_digits(evaluate(bundle, open_onnx(bundle.require_graph(), 1), inputs))
        if theirs is not None and theirs > _ROUNDED:
            raise MismatchError(
                f"the session of {bundle.name!r} ({self.tagger.options.backend}) rounds its outputs to {digits} binary "
                f"digits, the file gives {theirs}: small changes of the inputs do not change them; use the backend "
                "'onnxruntime'"
            )
        self.rounding = (
            f"the file of {bundle.name!r} gives its outputs with {digits} binary digits: changes below "
            f"{2.0**-digits:.1g} of a value are rounding"
        )

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
