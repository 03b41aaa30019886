"""The Deep Set in torch, on flat arrays of constituents without padding.

Constituents of a batch are one array; the sums over those of a jet are sums of consecutive rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from jettagger.errors import require
from jettagger.jec.architecture import Architecture, Dense, Fragment, Layer, Pair, refuse_weights
from jettagger.jec.constructed import GLOBAL
from jettagger.types import Array

__all__ = ["build_network", "network_weights", "set_weights"]

#: of batch normalisation, those of Keras: added to the variance, and the share of a batch in the running mean
_EPSILON, _MOMENTUM = 1e-3, 0.01


def build_network(architecture: Architecture) -> Any:
    """A network with initial weights from torch's random state, uniform as in the original (He et al. 2015).

    Parameters
    ----------
    architecture : Architecture

    Returns
    -------
    torch.nn.Module
        Function of a mapping from blocks of features, ``global`` included, to mappings with ``numerical``,
        float32[rows, features], ``categorical``, int64[rows, features], and, for constituents, ``counts``, int64[jets]:
        constituents of one jet after those of another. Returns float32[jets, outputs]. Jets without constituents have
        sums of zero. Its parameters and buffers have the names of the weights of the original.

    Raises
    ------
    MissingExtra
        If torch is not installed.
    """
    torch = require("torch", "train", "training a network")
    functional = torch.nn.functional

    class Total(torch.autograd.Function):  # type: ignore[misc, name-defined, unused-ignore]
        """Sums of consecutive rows: twice as fast as index_add on a CPU, and deterministic on a GPU."""

        @staticmethod
        def forward(context: Any, rows: Any, counts: Any) -> Any:
            context.save_for_backward(counts)
            places = torch.arange(len(rows), device=rows.device)
            starts = torch.cumsum(counts, 0) - counts
            return functional.embedding_bag(places, rows.detach(), starts, mode="sum")

        @staticmethod
        def backward(context: Any, gradient: Any) -> Any:
            return gradient.repeat_interleave(context.saved_tensors[0], dim=0), None

    class DeepSet(torch.nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
        """Networks of the constituents, sums, head."""

        def __init__(self) -> None:
            super().__init__()
            self.architecture = architecture
            for name, shape in architecture.weights.items():
                value = torch.zeros(shape)
                if name.endswith("kernel:0"):
                    output = name == architecture.output.kernel  # Glorot and Bengio 2010
                    value.uniform_(-1, 1).mul_(math.sqrt(6 / (sum(shape) if output else shape[0])))
                elif name.endswith("embeddings:0"):
                    value.uniform_(-0.05, 0.05)
                elif name.endswith("moving_variance:0"):
                    value.fill_(1.0)
                if "/moving_" in name:
                    self.register_buffer(name, value)
                else:
                    self.register_parameter(name, torch.nn.Parameter(value))

        def forward(self, blocks: Mapping[str, Mapping[str, Any]]) -> Any:
            sums = [self.summed(fragment, blocks[fragment.name]) for fragment in architecture.constituents]
            rows, table = self.inputs(architecture.head, blocks[GLOBAL])
            if sums:
                known = rows if table is None else rows @ table
                rows, table = torch.cat([known, *sums], dim=1), None
            rows = self.fragment(architecture.head, rows, table)
            return self.dense(architecture.output, rows, None)

        def inputs(self, fragment: Fragment, block: Mapping[str, Any]) -> tuple[Any, Any]:
            """Numerical features and indicators of the values of categorical ones; the matrix to embed them.

            The matrix is multiplied with the first kernel, so that no gradient of a constituent's inputs is needed.
            """
            numerical = block["numerical"]
            if not fragment.embeddings:
                return numerical, None
            width, number = fragment.numerical, len(numerical)
            sizes = [table.rows + 1 for table in fragment.embeddings]
            starts = np.cumsum([width, *sizes])
            rows = numerical.new_zeros((number, int(starts[-1])))
            rows[:, :width] = numerical
            offsets = torch.as_tensor(starts[:-1], device=numerical.device)
            rows.scatter_(1, block["categorical"] + offsets, 1.0)
            parts = [torch.eye(width, device=rows.device)]
            for table in fragment.embeddings:  # the last row is that of unseen values
                parts.append(functional.pad(getattr(self, table.name), (0, 0, 0, 1)))
            return rows, torch.block_diag(*parts)

        def summed(self, fragment: Fragment, block: Mapping[str, Any]) -> Any:
            """Sums over the constituents of each jet, float32[jets, units]."""
            rows, table = self.inputs(fragment, block)
            values = self.fragment(fragment, rows, table)
            values = values.float() if values.dtype.itemsize < 4 else values  # of mixed precision
            return Total.apply(values, block["counts"])

        def fragment(self, fragment: Fragment, rows: Any, table: Any) -> Any:
            for step in fragment.steps:
                rows = self.layer(step, rows, table) if isinstance(step, Layer) else self.pair(step, rows, table)
                table = None
            return rows if table is None else rows @ table

        def dense(self, dense: Dense, rows: Any, table: Any) -> Any:
            kernel = getattr(self, dense.kernel)
            kernel = kernel if table is None else table @ kernel
            return torch.addmm(getattr(self, dense.shift), rows, kernel) if dense.bias else rows @ kernel

        def layer(self, layer: Layer, rows: Any, table: Any) -> Any:
            rows = self.dense(layer.dense, rows, table)
            if layer.norm:
                mean, variance = (getattr(self, f"{layer.norm}/moving_{name}:0") for name in ("mean", "variance"))
                rows = functional.batch_norm(
                    rows, mean, variance, None, getattr(self, f"{layer.norm}/beta:0"),
                    self.training and len(rows) > 1, _MOMENTUM, _EPSILON,
                )  # fmt: skip
            return functional.dropout(rows.relu_(), layer.dropout, self.training) if layer.dropout else rows.relu_()

        def pair(self, pair: Pair, rows: Any, table: Any) -> Any:
            hidden = self.dense(pair.first, rows, table).relu_()
            second = self.dense(pair.second, hidden, None)
            if pair.bypass is not None:
                return second.add_(self.dense(pair.bypass, rows, table)).relu_()
            return second.add_(rows if table is None else rows @ table).relu_()

    return DeepSet()


def network_weights(network: Any) -> dict[str, Array]:
    """The weights of a network by the names of the original.

    Parameters
    ----------
    network : torch.nn.Module
        From `build_network`.

    Returns
    -------
    dict of str to float32[inputs, units]
        Those of biases have one axis.
    """
    state = network.state_dict()
    return {name: state[name].detach().cpu().numpy().copy() for name in network.architecture.weights}


def set_weights(network: Any, weights: Mapping[str, Array], source: str) -> None:
    """Replace the weights of a network.

    Parameters
    ----------
    network : torch.nn.Module
        From `build_network`.
    weights : mapping of str to float[inputs, units]
    source : str
        Where they are from.

    Raises
    ------
    MismatchError
        If they are those of another network: every layer with its shapes is named.
    """
    torch = require("torch", "train", "training a network")
    refuse_weights(network.architecture.weights, {name: value.shape for name, value in weights.items()}, source)
    network.load_state_dict({name: torch.from_numpy(np.array(value, "f4")) for name, value in weights.items()})
