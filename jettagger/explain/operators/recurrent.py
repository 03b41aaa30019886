"""Recurrent layers, one time step after the other, with any of the activations of the specification."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from jettagger.explain.operators import subgradients
from jettagger.explain.operators.table import Step, operator

__all__: list[str] = []

Activation: TypeAlias = Callable[[Tensor], Tensor]

#: name -> function of a tensor, alpha and beta, with their default values
_ACTIVATIONS: dict[str, tuple[Callable[[Tensor, float, float], Tensor], float, float]] = {
    "Relu": (lambda x, alpha, beta: torch.relu(x), 0.0, 0.0),
    "Tanh": (lambda x, alpha, beta: torch.tanh(x), 0.0, 0.0),
    "Sigmoid": (lambda x, alpha, beta: torch.sigmoid(x), 0.0, 0.0),
    "Affine": (lambda x, alpha, beta: alpha * x + beta, 1.0, 0.0),
    "LeakyRelu": (lambda x, alpha, beta: functional.leaky_relu(x, alpha), 0.01, 0.0),
    "ThresholdedRelu": (lambda x, alpha, beta: torch.where(x > alpha, x, 0), 1.0, 0.0),
    "ScaledTanh": (lambda x, alpha, beta: alpha * torch.tanh(beta * x), 1.0, 1.0),
    "HardSigmoid": (lambda x, alpha, beta: subgradients.clip(alpha * x + beta, 0, 1), 0.2, 0.5),
    "Elu": (lambda x, alpha, beta: functional.elu(x, alpha), 1.0, 0.0),
    "Softsign": (lambda x, alpha, beta: functional.softsign(x), 0.0, 0.0),
    "Softplus": (lambda x, alpha, beta: functional.softplus(x), 0.0, 0.0),
}


def _activations(step: Step, defaults: list[str], directions: int) -> Iterator[list[Activation]]:
    """The activations of each direction; parameters belong to those that take some, in order."""
    names = list(step.get("activations") or defaults * directions)
    alphas, betas = list(step.get("activation_alpha") or []), list(step.get("activation_beta") or [])
    made: list[Activation] = []
    for name in names:
        if name not in _ACTIVATIONS:
            raise step.refuse(f"activation {name!r}")
        function, alpha, beta = _ACTIVATIONS[name]
        if name in ("Affine", "LeakyRelu", "ThresholdedRelu", "ScaledTanh", "HardSigmoid", "Elu") and alphas:
            alpha = alphas.pop(0)
        if name in ("Affine", "ScaledTanh", "HardSigmoid") and betas:
            beta = betas.pop(0)
        made.append(lambda x, function=function, alpha=alpha, beta=beta: function(x, alpha, beta))  # type: ignore[misc]
    size = len(defaults)
    yield from (made[start : start + size] for start in range(0, size * directions, size))


def _layers(step: Step, lengths: Tensor | None) -> list[bool]:
    """For each direction whether it runs backwards; refuses what has no implementation."""
    if step.get("layout", 0):
        raise step.refuse("layout 1")
    if step.get("clip"):
        raise step.refuse("clip")
    if lengths is not None:
        raise step.refuse("sequence_lens")
    return {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[step.get("direction", "forward")]


def _result(step: Step, found: list[tuple[list[Tensor], Tensor, bool]]) -> list[Any]:
    """Outputs of all steps [time, directions, jets, hidden], and of the last."""
    sequences = [torch.stack(states[::-1] if backwards else states) for states, _, backwards in found]
    return [torch.stack(sequences, dim=1), torch.stack([last for _, last, _ in found])]


@operator("GRU")
def _gru(
    step: Step,
    x: Tensor,
    weight: Tensor,
    recurrence: Tensor,
    bias: Tensor | None = None,
    lengths: Tensor | None = None,
    initial: Tensor | None = None,
) -> tuple[Any, ...]:
    hidden = recurrence.shape[-1]
    found = []
    directions = _layers(step, lengths)
    activations = _activations(step, ["Sigmoid", "Tanh"], len(directions))
    for number, (backwards, (gate, new)) in enumerate(zip(directions, activations, strict=True)):
        biases = x.new_zeros(6 * hidden) if bias is None else bias[number]
        of_input, of_state = biases[: 3 * hidden], biases[3 * hidden :]
        inputs = x @ weight[number].t() + of_input  # gates z, r and the new state
        recurrent = recurrence[number].t()
        state = x.new_zeros(x.shape[1], hidden) if initial is None else initial[number]
        states = []
        for row in reversed(range(len(x))) if backwards else range(len(x)):
            update, reset, proposed = inputs[row].split(hidden, dim=-1)
            if step.get("linear_before_reset", 0):
                back = torch.addmm(of_state, state, recurrent)
                update = gate(update + back[:, :hidden])
                reset = gate(reset + back[:, hidden : 2 * hidden])
                proposed = new(proposed + reset * back[:, 2 * hidden :])
            else:
                back = torch.addmm(of_state[: 2 * hidden], state, recurrent[:, : 2 * hidden])
                update = gate(update + back[:, :hidden])
                reset = gate(reset + back[:, hidden:])
                last = torch.addmm(of_state[2 * hidden :], reset * state, recurrent[:, 2 * hidden :])
                proposed = new(proposed + last)
            state = (1 - update) * proposed + update * state
            states.append(state)
        found.append((states, state, backwards))
    return tuple(_result(step, found))[: len(step.outputs)]


@operator("LSTM")
def _lstm(
    step: Step,
    x: Tensor,
    weight: Tensor,
    recurrence: Tensor,
    bias: Tensor | None = None,
    lengths: Tensor | None = None,
    initial: Tensor | None = None,
    initial_cell: Tensor | None = None,
    peepholes: Tensor | None = None,
) -> tuple[Any, ...]:
    if peepholes is not None:
        raise step.refuse("peepholes")
    if step.get("input_forget", 0):
        raise step.refuse("input_forget")
    hidden = recurrence.shape[-1]
    found, cells = [], []
    directions = _layers(step, lengths)
    activations = _activations(step, ["Sigmoid", "Tanh", "Tanh"], len(directions))
    for number, (backwards, (gate, new, out)) in enumerate(zip(directions, activations, strict=True)):
        biases = x.new_zeros(8 * hidden) if bias is None else bias[number]
        inputs = x @ weight[number].t() + (biases[: 4 * hidden] + biases[4 * hidden :])  # gates i, o, f, and c
        recurrent = recurrence[number].t()
        state = x.new_zeros(x.shape[1], hidden) if initial is None else initial[number]
        cell = x.new_zeros(x.shape[1], hidden) if initial_cell is None else initial_cell[number]
        states = []
        for row in reversed(range(len(x))) if backwards else range(len(x)):
            gates = torch.addmm(inputs[row], state, recurrent)
            opened = gate(gates[:, : 3 * hidden])
            written, shown, kept = opened.split(hidden, dim=-1)
            cell = kept * cell + written * new(gates[:, 3 * hidden :])
            state = shown * out(cell)
            states.append(state)
        found.append((states, state, backwards))
        cells.append(cell)
    return (*_result(step, found), torch.stack(cells))[: len(step.outputs)]


@operator("RNN")
def _rnn(
    step: Step,
    x: Tensor,
    weight: Tensor,
    recurrence: Tensor,
    bias: Tensor | None = None,
    lengths: Tensor | None = None,
    initial: Tensor | None = None,
) -> tuple[Any, ...]:
    hidden = recurrence.shape[-1]
    found = []
    directions = _layers(step, lengths)
    activations = _activations(step, ["Tanh"], len(directions))
    for number, (backwards, (new,)) in enumerate(zip(directions, activations, strict=True)):
        biases = x.new_zeros(2 * hidden) if bias is None else bias[number]
        inputs = x @ weight[number].t() + (biases[:hidden] + biases[hidden:])
        state = x.new_zeros(x.shape[1], hidden) if initial is None else initial[number]
        states = []
        for row in reversed(range(len(x))) if backwards else range(len(x)):
            state = new(torch.addmm(inputs[row], state, recurrence[number].t()))
            states.append(state)
        found.append((states, state, backwards))
    return tuple(_result(step, found))[: len(step.outputs)]
