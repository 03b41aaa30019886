"""Derivatives of a number with respect to the inputs of a network."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from jettagger.arguments import guard
from jettagger.bundles.bundle import Bundle
from jettagger.display import Brief
from jettagger.errors import Unsupported, require
from jettagger.explain.agreement import agreement
from jettagger.explain.differences import SlopesOfSession
from jettagger.runtime.processcache import ProcessCache
from jettagger.types import Array

if TYPE_CHECKING:
    from jettagger.explain.graph import TorchGraph

__all__ = ["COLUMNS", "Gradients", "Target", "gradients", "torch_graph"]

#: key of all output columns of a bundle, in its order, with the softmax that the graph lacks: [jets, outputs]
COLUMNS = "columns of the bundle"

_GRAPHS: ProcessCache[tuple[int, str, str], TorchGraph] = ProcessCache()


class Target(Protocol):
    """A number per jet, computed from tensors of the network.

    Attributes
    ----------
    needs : tuple of str
        What it is computed from: outputs of the ONNX file, results of its nodes, or `COLUMNS`.
    """

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the tensors that it is given."""

    def __call__(self, outputs: Mapping[str, Any]) -> Any:
        """The number of each jet.

        Parameters
        ----------
        outputs : mapping of str to Tensor[jets, ...] or array[jets, ...]
            All tensors of `needs`; of torch for derivatives, of NumPy for differences.

        Returns
        -------
        Tensor[jets] or array[jets]
        """


@dataclass(frozen=True)
class Gradients(Brief):
    """Derivatives of a target with respect to the inputs of a network.

    Parameters
    ----------
    values : dict of str to float32[jets, ...]
        Derivative with respect to each number of each input. Those of masks are 0, as are those of inputs that the
        target does not depend on.
    outputs : float64[jets]
        The target itself.
    method : {"torch", "differences"}
    reason : str
        Why differences were used; empty for derivatives.
    not_finite : int64[jets]
        How many derivatives of each jet are not finite; these are NaN or infinite in ``values``.
    replaced : dict of str to int
        Node -> number of its derivatives that were not finite, and are 0.
    deviation : float
        Largest difference of the outputs to those of ONNX Runtime, in units of the tolerance; NaN if not compared.
    unused : tuple of str
        Inputs that the target does not depend on.
    """

    values: dict[str, Array]
    outputs: Array
    method: str
    reason: str
    not_finite: Array
    replaced: dict[str, int] = field(default_factory=dict)
    deviation: float = float("nan")
    unused: tuple[str, ...] = ()

    @property
    def jets_not_finite(self) -> tuple[int, ...]:
        """The jets with derivatives that are not finite, by their position in the batch."""
        return tuple(np.flatnonzero(self.not_finite).tolist())


def torch_graph(bundle: Bundle, dtype: str = "float32") -> TorchGraph:
    """The network of a bundle in torch, built once per process.

    Parameters
    ----------
    bundle : Bundle
    dtype : {"float32", "float64"}

    Returns
    -------
    TorchGraph

    Raises
    ------
    MissingModelFile
        If the bundle has no weights.
    Unsupported, ModelFileError, MissingExtra
        As for `TorchGraph`.
    """
    path = bundle.require_weights()
    require("torch", "train", "the gradient of a network")
    from jettagger.explain.graph import TorchGraph

    key = (os.getpid(), bundle.digest, dtype)
    if key not in _GRAPHS:
        _GRAPHS[key] = TorchGraph(path, dtype)
    return _GRAPHS[key]


def gradients(
    bundle: Bundle,
    inputs: Mapping[str, Array],
    target: Target,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    check: bool = True,
    method: str | None = None,
) -> Gradients:
    """Derivatives of a target with respect to the inputs of one batch.

    Parameters
    ----------
    bundle : Bundle
        With weights.
    inputs : mapping of str to float32[jets, variables, length]
        As a session gets them.
    target : Target
    device : str
        Device of torch.
    dtype : {"float32", "float64"}
        Precision of the computation.
    check : bool
        Whether the outputs of the network in torch are compared with those of ONNX Runtime for these jets.
    method : {"torch", "differences"}, optional
        Default: derivatives, and differences if the graph has an operator that is not implemented.

    Returns
    -------
    Gradients

    Raises
    ------
    MissingModelFile
        If the bundle has no weights.
    MismatchError
        If the outputs in torch differ from those of ONNX Runtime by more than the tolerance.
    UnknownName
        If the target needs a tensor that the graph does not have.
    MissingExtra
        If torch is not installed.

    Examples
    --------
    >>> from jettagger import load_bundle
    >>> from jettagger.inference.sample_jets import probe_jets
    >>> class Mass:
    ...     needs = (COLUMNS,)
    ...     def __call__(self, outputs):
    ...         return outputs[COLUMNS][:, 0]
    >>> bundle = load_bundle("tinyParT")
    >>> found = gradients(bundle, probe_jets(bundle, 0), Mass())
    >>> found.method, found.values["pf_features"].shape, int(found.not_finite.sum())
    ('torch', (2, 25, 18), 0)
    """
    reason = "differences were asked for" if method == "differences" else ""
    if not reason:
        try:
            return _derivatives(bundle, inputs, target, device, dtype, check)
        except Unsupported as error:
            if method == "torch":
                raise
            reason = str(error)
    values, outputs = SlopesOfSession(bundle, target, COLUMNS).run(inputs)
    return Gradients(values, outputs, "differences", reason, _not_finite(values, len(outputs)))


def _derivatives(
    bundle: Bundle, inputs: Mapping[str, Array], target: Target, device: str, dtype: str, check: bool
) -> Gradients:
    graph = torch_graph(bundle, dtype)
    import torch

    masks = {group.name for group in bundle.groups if group.is_mask}
    feeds = {name: torch.from_numpy(np.ascontiguousarray(array)).to(device) for name, array in inputs.items()}
    free = [name for name, tensor in feeds.items() if tensor.is_floating_point() and name not in masks]
    for name in free:
        feeds[name] = feeds[name].clone().requires_grad_()
    plain = [name for name in target.needs if name != COLUMNS]
    whole = check or COLUMNS in target.needs
    graph.replaced.clear()
    found = graph.run(feeds, list(dict.fromkeys([*(graph.outputs if whole else ()), *plain])))
    n_jets = len(next(iter(inputs.values())))
    deviation = float("nan")
    if check:
        ours = {name: found[name].detach().cpu().numpy() for name in graph.outputs}
        deviation = agreement(bundle, inputs, ours, lambda few: torch_graph(bundle, "float64").arrays(few))
    given = {name: found[name] for name in plain}
    if COLUMNS in target.needs:
        given[COLUMNS] = _columns(bundle, {name: found[name] for name in graph.outputs}, n_jets)
    numbers = target(given)
    slopes: Sequence[Any] = [None] * len(free)
    if numbers.requires_grad:
        slopes = torch.autograd.grad(numbers.sum(), [feeds[name] for name in free], allow_unused=True)
    values = {name: np.zeros(array.shape, dtype=np.float32) for name, array in inputs.items()}
    for name, slope in zip(free, slopes, strict=True):
        if slope is not None:
            values[name] = slope.to(torch.float32).cpu().numpy()
    return Gradients(
        values=values,
        outputs=numbers.detach().to(torch.float64).cpu().numpy(),
        method="torch",
        reason="",
        not_finite=_not_finite(values, n_jets),
        replaced=dict(graph.replaced),
        deviation=deviation,
        unused=tuple(name for name, slope in zip(free, slopes, strict=True) if slope is None),
    )


def _columns(bundle: Bundle, outputs: Mapping[str, Any], n_jets: int) -> Any:
    """All columns of a bundle as a tensor, like `jettagger.inference.network.evaluate`."""
    import torch

    columns = torch.cat([tensor.reshape(n_jets, -1) for tensor in outputs.values()], dim=1)
    marked = [output.index for output in bundle.outputs if output.softmax]
    if not marked:
        return columns
    places = torch.tensor(marked, device=columns.device)
    return columns.index_copy(1, places, torch.softmax(columns[:, marked], dim=-1))


def _not_finite(values: Mapping[str, Array], n_jets: int) -> Array:
    """Number of derivatives of each jet that are not finite."""
    counts = np.zeros(n_jets, dtype=np.int64)
    for array in values.values():
        counts += (~np.isfinite(array)).reshape(n_jets, -1).sum(axis=1)
    return counts


guard(globals())
