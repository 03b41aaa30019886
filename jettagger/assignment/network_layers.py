# mypy: disable-error-code="misc,no-any-return"
"""Layers of the assignment network: blocks, gates, attention, encoders, heads. Imported only where torch is.

Tensors are float[events, slots, width], with ``mask``, bool[events, slots, 1], which is true for slots that hold an
object, or rows with objects alone, see `jettagger.assignment.network_slots`. There is no boolean indexing and no shape
that tracing would fix, so that exported graphs have free axes.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.nn import functional

from jettagger.assignment.network_gradients import TrainedGate, writes_out
from jettagger.assignment.network_slots import Slots
from jettagger.assignment.training_options import AssignmentOptions

__all__ = ["AttentionLayer", "HeadLayers", "SlotEncoder", "block", "blocks"]

#: initial bias of the gates, which starts them closed (Parisotto et al. 2019)
_GATE_BIAS = 2.0


class _Identity(torch.nn.Module):
    def forward(self, x: Any, mask: Any) -> Any:
        return x


class _LayerNorm(torch.nn.LayerNorm):
    def forward(self, x: Any, mask: Any) -> Any:
        return super().forward(x)


class _BatchNorm(torch.nn.BatchNorm1d):
    """Over all slots, also empty ones, as the original; one row has no variance and leaves the averages alone."""

    #: sum over the processes of a training, if there are several
    over: Any = None

    def forward(self, x: Any, mask: Any) -> Any:
        rows = x.reshape(-1, x.shape[-1])
        if self.training and self.over is not None:
            rows = self._over_processes(rows)
        elif self.training and len(rows) < 2:
            rows = functional.batch_norm(
                rows, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        else:
            rows = super().forward(rows)
        return rows.reshape(x.shape)

    def _over_processes(self, rows: Any) -> Any:
        """Mean and variance of the rows of all processes."""
        count = self.over(torch.tensor(float(len(rows)), device=rows.device))
        mean = self.over(rows.sum(0)) / count
        variance = self.over((rows - mean).square().sum(0)) / count
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1).clamp(min=1), self.momentum)
        return (rows - mean) * torch.rsqrt(variance + self.eps) * self.weight + self.bias


class _MaskedBatchNorm(torch.nn.Module):
    """Batch normalisation with the mean and the unbiased variance of slots that hold objects."""

    #: sum over the processes of a training, if there are several
    over: Any = None

    def __init__(self, width: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.weight = torch.nn.Parameter(torch.ones(width))
        self.bias = torch.nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))
        self.register_buffer("num_batches_tracked", torch.tensor(0, dtype=torch.long))

    def forward(self, x: Any, mask: Any) -> Any:
        mean, variance = self.running_mean, self.running_var
        if self.training:
            real, over = mask.to(x.dtype), self.over or _own
            count = over(real.sum())
            if count > 1:
                with torch.no_grad():
                    mean = over((x * real).sum((0, 1))) / count
                    variance = over(((x - mean).square() * real).sum((0, 1))) / (count - 1)
                    share = self.momentum if self.num_batches_tracked > 0 else 1.0
                    self.running_mean.lerp_(mean, share)
                    self.running_var.lerp_(variance, share)
                    self.num_batches_tracked += 1
        return ((x - mean) / torch.sqrt(variance + self.eps) * self.weight + self.bias) * mask


def _own(value: Any) -> Any:
    """A sum over one process."""
    return value


def _normalization(options: AssignmentOptions, width: int) -> Any:
    kinds = {"LayerNorm": _LayerNorm, "BatchNorm": _BatchNorm, "MaskedBatchNorm": _MaskedBatchNorm}
    return kinds[options.normalization](width) if options.normalization in kinds else _Identity()


class _Prelu(torch.nn.Module):
    """One slope for each feature, which is the last axis here."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.full((width,), 0.25))

    def forward(self, x: Any) -> Any:
        return torch.where(x > 0, x, self.weight * x)


def _activation(options: AssignmentOptions, width: int) -> Any:
    if options.linear_activation == "PReLU":
        return _Prelu(width)
    kinds = {"GELU": torch.nn.GELU, "ReLU": torch.nn.ReLU, "ELU": torch.nn.ELU, "CELU": torch.nn.CELU}
    return kinds.get(options.linear_activation, torch.nn.Identity)()


def _residual(skip: bool, width: int, out: int) -> Any:
    return torch.nn.Linear(width, out) if skip and width != out else torch.nn.Identity()


def _inner(options: AssignmentOptions, width: int) -> int:
    return max(round(options.transformer_dim_scale * width), 1)


class _Masking(torch.nn.Module):
    """Sets empty slots to zero. Nothing reads them but normalisation over slots: without it there is nothing to do."""

    def __init__(self, options: AssignmentOptions) -> None:
        super().__init__()
        self.kind = options.masking if options.normalization.endswith("BatchNorm") else "None"

    def forward(self, x: Any, mask: Any) -> Any:
        if self.kind == "Filling":
            return x.masked_fill(~mask, 0.0)
        return x * mask.to(x.dtype) if self.kind == "Multiplicative" else x


class _RecurrentGate(torch.nn.Module):
    """The gate of a GRU between a residual and what a layer adds to it; matrices of one argument are one matrix."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.update = torch.nn.Linear(width, 3 * width)
        self.state = torch.nn.Linear(width, 2 * width, bias=False)
        self.candidate = torch.nn.Linear(width, width, bias=False)
        self.bias = torch.nn.Parameter(torch.full((width,), _GATE_BIAS))

    def forward(self, value: Any, residual: Any) -> Any:
        matrices = self.update.weight, self.update.bias, self.state.weight, self.candidate.weight, self.bias
        if writes_out(value, residual, *matrices):
            return TrainedGate.apply(value, residual, *matrices)
        reset, gate, candidate = self.update(value).split(self.width, -1)
        reset_state, gate_state = self.state(residual).split(self.width, -1)
        share = torch.sigmoid(gate + gate_state - self.bias)
        new = torch.tanh(candidate + self.candidate(torch.sigmoid(reset + reset_state) * residual))
        # in mixed precision the bias makes the share wider than what was multiplied
        widest = torch.promote_types(residual.dtype, share.dtype)
        return torch.lerp(residual.to(widest), new.to(widest), share.to(widest))


class _GruBlock(torch.nn.Module):
    def __init__(self, options: AssignmentOptions, width: int, out: int, skip: bool) -> None:
        super().__init__()
        inner = _inner(options, width)
        self.norm = _normalization(options, width)
        self.first, self.first_activation = torch.nn.Linear(width, inner), _activation(options, inner)
        self.second, self.second_activation = torch.nn.Linear(inner, out), _activation(options, out)
        self.dropout = torch.nn.Dropout(options.dropout)
        self.gate = _RecurrentGate(out) if skip else None
        self.residual = _residual(skip, width, out)
        self.masking = _Masking(options)

    def forward(self, x: Any, mask: Any) -> Any:
        value = self.dropout(self.first_activation(self.first(self.norm(x, mask))))
        value = self.dropout(self.second_activation(self.second(value)))
        if self.gate is not None:
            value = self.gate(value, self.residual(x))
        return self.masking(value, mask)


class _BasicBlock(torch.nn.Module):
    def __init__(self, options: AssignmentOptions, width: int, out: int, skip: bool) -> None:
        super().__init__()
        self.skip = skip
        self.linear, self.activation = torch.nn.Linear(width, out), _activation(options, out)
        self.norm = _normalization(options, out)
        self.dropout = torch.nn.Dropout(options.dropout)
        self.residual = _residual(skip, width, out)
        self.masking = _Masking(options)

    def forward(self, x: Any, mask: Any) -> Any:
        value = self.activation(self.linear(x))
        if self.skip:
            value = value + self.residual(x)
        return self.masking(self.dropout(self.norm(value, mask)), mask)


class _GatedBlock(torch.nn.Module):
    def __init__(self, options: AssignmentOptions, width: int, out: int, skip: bool) -> None:
        super().__init__()
        self.skip = skip
        inner = _inner(options, width)
        self.first, self.activation = torch.nn.Linear(width, inner), _activation(options, inner)
        self.second = torch.nn.Linear(inner, out)
        self.gate, self.gated = torch.nn.Linear(out, out), torch.nn.Linear(out, out)
        self.norm = _normalization(options, out)
        self.dropout = torch.nn.Dropout(options.dropout)
        self.residual = _residual(skip, width, out)
        self.masking = _Masking(options)

    def forward(self, x: Any, mask: Any) -> Any:
        value = self.dropout(self.second(self.activation(self.first(x))))
        value = torch.sigmoid(self.gate(value)) * self.gated(value)
        if self.skip:
            value = value + self.residual(x)
        return self.masking(self.norm(value, mask), mask)


class _ResnetBlock(torch.nn.Module):
    """Two layers; the residual is the result of the first one, as in the original."""

    def __init__(self, options: AssignmentOptions, width: int, out: int, skip: bool) -> None:
        super().__init__()
        self.skip = skip
        self.first, self.second = torch.nn.Linear(width, out, bias=False), torch.nn.Linear(out, out, bias=False)
        self.first_norm, self.second_norm = _normalization(options, out), _normalization(options, out)
        self.first_activation, self.second_activation = _activation(options, out), _activation(options, out)
        self.dropout = torch.nn.Dropout(options.dropout)
        self.masking = _Masking(options)

    def forward(self, x: Any, mask: Any) -> Any:
        hidden = self.masking(self.first_activation(self.first_norm(self.first(x), mask)), mask)
        value = self.second_norm(self.second(hidden), mask)
        if self.skip:
            value = value + hidden
        return self.masking(self.dropout(self.second_activation(value)), mask)


_BLOCKS = {"GRU": _GruBlock, "Basic": _BasicBlock, "Gated": _GatedBlock, "Resnet": _ResnetBlock}


def block(options: AssignmentOptions, width: int, out: int, skip: bool) -> Any:
    """A block of the kind ``linear_block_type``.

    Parameters
    ----------
    options : AssignmentOptions
    width, out : int
        Numbers of features before and after it.
    skip : bool
        Whether it has a residual.

    Returns
    -------
    torch.nn.Module
        Function of float[events, slots, width] and the mask.
    """
    return _BLOCKS[options.linear_block_type](options, width, out, skip)


def blocks(options: AssignmentOptions, count: int) -> Any:
    """Blocks of the width of the network.

    Parameters
    ----------
    options : AssignmentOptions
    count : int

    Returns
    -------
    torch.nn.ModuleList
    """
    width = options.hidden_dim
    return torch.nn.ModuleList([block(options, width, width, options.skip_connections) for _ in range(count)])


class _Attention(torch.nn.Module):
    """Attention of several heads (Vaswani et al. 2017), with an optional bias for each pair and head."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout, self.scale = heads, dropout, 1 / math.sqrt(width // heads)
        self.project, self.out = torch.nn.Linear(width, 3 * width), torch.nn.Linear(width, width)
        torch.nn.init.xavier_uniform_(self.project.weight)
        torch.nn.init.zeros_(self.project.bias)
        torch.nn.init.zeros_(self.out.bias)

    def forward(self, x: Any, slots: Slots) -> Any:
        dropout = self.dropout if self.training else 0.0
        return self.out(slots.attend(self.project(x), self.heads, self.scale, dropout))


class _GatedLayer(torch.nn.Module):
    """A transformer layer with gates (GTrXL, Parisotto et al. 2019)."""

    def __init__(self, options: AssignmentOptions) -> None:
        super().__init__()
        width = options.hidden_dim
        self.norm = torch.nn.LayerNorm(width)
        self.attention = _Attention(width, options.num_attention_heads, options.dropout)
        self.gate = _RecurrentGate(width)
        self.forward_block = _GruBlock(options, width, width, True)

    def forward(self, x: Any, slots: Slots) -> Any:
        value = self.gate(self.attention(self.norm(x), slots), x)
        return self.forward_block(value, slots.mask)


class AttentionLayer(torch.nn.Module):
    """A transformer layer without gates, with the normalisation after (Standard) or before (NormFirst) its parts.

    Parameters
    ----------
    options : AssignmentOptions
    """

    def __init__(self, options: AssignmentOptions) -> None:
        super().__init__()
        width = options.hidden_dim
        inner = _inner(options, width)
        self.norm_first = options.transformer_type == "NormFirst"
        self.attention = _Attention(width, options.num_attention_heads, options.dropout)
        self.first, self.second = torch.nn.Linear(width, inner), torch.nn.Linear(inner, width)
        self.norm, self.second_norm = torch.nn.LayerNorm(width), torch.nn.LayerNorm(width)
        self.activation = functional.relu if options.transformer_activation == "relu" else functional.gelu
        self.dropout = torch.nn.Dropout(options.dropout)

    def _feed(self, x: Any) -> Any:
        return self.dropout(self.second(self.dropout(self.activation(self.first(x)))))

    def forward(self, x: Any, slots: Slots) -> Any:
        """Values of the next layer.

        Parameters
        ----------
        x : float[events, slots, width]
        slots : AllSlots or RealSlots

        Returns
        -------
        float[events, slots, width]
        """
        if self.norm_first:
            x = x + self.dropout(self.attention(self.norm(x), slots))
            return x + self._feed(self.second_norm(x))
        x = self.norm(x + self.dropout(self.attention(x, slots)))
        return self.second_norm(x + self._feed(x))


class SlotEncoder(torch.nn.Module):
    """Blocks, then transformer layers over the slots and a learned token in front of them.

    Parameters
    ----------
    options : AssignmentOptions
    embedding_layers, encoder_layers : int
        Numbers of blocks and of transformer layers.
    """

    def __init__(self, options: AssignmentOptions, embedding_layers: int, encoder_layers: int) -> None:
        super().__init__()
        kind = options.transformer_type
        self.blocks = blocks(options, embedding_layers)
        self.token = torch.nn.Parameter(torch.randn(options.hidden_dim))
        layer = _GatedLayer if kind in ("Gated", "GTrXL") else AttentionLayer
        count = 0 if kind == "None" else encoder_layers
        self.layers = torch.nn.ModuleList([layer(options) for _ in range(count)])
        # gated layers mask their blocks, the others are masked once, behind the last layer
        self.masking = _Masking(options) if count and layer is AttentionLayer else _Identity()

    def forward(self, x: Any, slots: Slots) -> Any:
        """Encoded slots and token.

        Parameters
        ----------
        x : float[events, slots, width]
        slots : AllSlots or RealSlots

        Returns
        -------
        x : float[events, slots, width]
        token : float[events, width]
        """
        for layer in self.blocks:
            x = layer(x, slots.mask)
        slots, x = slots.behind(self.token, x)
        for layer in self.layers:
            x = layer(x, slots)
        return slots.split(self.masking(x, slots.mask))


class HeadLayers(torch.nn.Module):
    """Outputs from one vector per event: blocks, batch normalisation, a linear layer.

    Parameters
    ----------
    options : AssignmentOptions
    count : int
        Number of blocks.
    outputs : int
    """

    def __init__(self, options: AssignmentOptions, count: int, outputs: int) -> None:
        super().__init__()
        self.blocks = blocks(options, count)
        self.norm = _BatchNorm(options.hidden_dim)
        self.output = torch.nn.Linear(options.hidden_dim, outputs)

    def forward(self, vector: Any) -> Any:
        """The outputs.

        Parameters
        ----------
        vector : float[events, width]

        Returns
        -------
        float[events, outputs]
        """
        x = vector[:, None]
        mask = torch.ones_like(x[..., :1], dtype=torch.bool)
        for layer in self.blocks:
            x = layer(x, mask)
        return self.output(self.norm(x[:, 0], None))
