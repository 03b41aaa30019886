# mypy: disable-error-code="misc,no-any-return"
"""What networks may know of the kinematics of pairs and tuples of objects: options of our own.

Hyperbolic functions are written with exponentials, as torch does not export them.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import torch
from torch.nn import functional

from jettagger.assignment.networks import kinematic_columns
from jettagger.assignment.training_options import AssignmentOptions
from jettagger.topology.eventfile import EventDescription

__all__ = ["AttentionBias", "MassLogits", "ObjectMomenta"]

#: factors that bring logarithms of momenta and masses in GeV to the order of one
_PAIR_SCALES = {"ln_delta_r": 0.5, "ln_kt": 0.25, "ln_z": 0.5, "ln_mass": 0.25}

#: logarithms of masses in GeV are shifted and scaled: near 0 at 100 GeV, with a change of 1 for 25 %
_MASS_CENTRE, _MASS_SCALE = 4.6, 4.0


class ObjectMomenta(torch.nn.Module):
    """Momenta of the objects of an event, from the inputs of the network.

    Parameters
    ----------
    description : EventDescription
    """

    def __init__(self, description: EventDescription) -> None:
        super().__init__()
        self.columns = kinematic_columns(description)

    def _momentum(self, name: str, values: Any, present: Any) -> Any:
        columns = self.columns[name]

        def column(place: int) -> Any:
            x = values[..., place].masked_fill(~present, 0.0)
            return torch.exp(x) - 1 if columns.logs[place] else x

        pt, eta = column(columns.pt), column(columns.eta)
        if len(columns.phi) == 1:
            phi = column(columns.phi[0])
            sine, cosine = torch.sin(phi), torch.cos(phi)
        else:
            sine, cosine = (column(place) for place in columns.phi)
        momentum = pt * (torch.exp(eta) + torch.exp(-eta)) / 2
        mass = torch.zeros_like(pt) if columns.mass is None else column(columns.mass)
        energy = torch.sqrt(momentum * momentum + mass * mass)
        return torch.stack([pt, eta, cosine, sine, energy], -1)

    def forward(self, values: list[Any], masks: list[Any], names: list[str]) -> tuple[Any, Any]:
        """float[events, slots, 5]: pt, eta, cos phi, sin phi, energy; bool[events, slots]: where they are known."""
        momenta, known = [], []
        for name, value, present in zip(names, values, masks, strict=True):
            if name in self.columns:
                momenta.append(self._momentum(name, value, present))
                known.append(present)
            else:
                momenta.append(torch.zeros_like(present[..., None].to(values[0].dtype).expand(-1, -1, 5)))
                known.append(torch.zeros_like(present))
        return torch.cat(momenta, 1), torch.cat(known, 1)


class AttentionBias(torch.nn.Module):
    """Biases of the attention from features of pairs of objects (Particle Transformer, Qu, Li and Qian 2022).

    Parameters
    ----------
    options : AssignmentOptions
    """

    def __init__(self, options: AssignmentOptions) -> None:
        super().__init__()
        self.names = options.jettagger.pair_features
        inner = options.jettagger.pair_embedding_dim
        self.first = torch.nn.Linear(len(self.names), inner)
        self.second = torch.nn.Linear(inner, options.num_attention_heads)
        # nothing but the original's network at the start
        torch.nn.init.zeros_(self.second.weight)
        torch.nn.init.zeros_(self.second.bias)

    def forward(self, momenta: Any, known: Any) -> Any:
        """float[events, heads, slots, slots]; zero for pairs with a slot that has no momentum."""
        pt, eta, cosine, sine, _ = momenta.unbind(-1)
        delta_eta = eta[:, :, None] - eta[:, None, :]
        product = cosine[:, :, None] * cosine[:, None, :] + sine[:, :, None] * sine[:, None, :]
        cross = sine[:, :, None] * cosine[:, None, :] - cosine[:, :, None] * sine[:, None, :]
        index = torch.arange(pt.shape[1], device=pt.device)
        pairs = known[:, :, None] & known[:, None, :] & (index[:, None] != index[None, :])
        delta_phi = torch.atan2(cross, product.masked_fill(~pairs, 1.0))
        radius = torch.sqrt((delta_eta.square() + delta_phi.square()).clamp(min=1e-8))
        smaller = torch.minimum(pt[:, :, None], pt[:, None, :])
        made = {}
        if "ln_delta_r" in self.names:
            made["ln_delta_r"] = torch.log(radius)
        if "ln_kt" in self.names:
            made["ln_kt"] = torch.log((smaller * radius).clamp(min=1e-4))
        if "ln_z" in self.names:
            made["ln_z"] = torch.log((smaller / (pt[:, :, None] + pt[:, None, :]).clamp(min=1e-8)).clamp(min=1e-8))
        if "ln_mass" in self.names:
            made["ln_mass"] = log_mass(momenta, 2)
        features = torch.stack([made[name] * _PAIR_SCALES[name] for name in self.names], -1)
        features = features.masked_fill(~pairs[..., None], 0.0)
        bias = self.second(functional.gelu(self.first(features))).masked_fill(~pairs[..., None], 0.0)
        return bias.permute(0, 3, 1, 2)


class MassLogits(torch.nn.Module):
    """Terms of the logits of assignments from the masses of all pairs of a tuple, and of all its objects together.

    A chi-square of masses is one of the functions that it can learn.

    Parameters
    ----------
    options : AssignmentOptions
    daughters : int
        At least two.
    """

    def __init__(self, options: AssignmentOptions, daughters: int) -> None:
        super().__init__()
        self.daughters = daughters
        self.places = [*combinations(range(daughters), 2), *([tuple(range(daughters))] if daughters > 2 else [])]
        inner = options.jettagger.mass_embedding_dim
        self.first = torch.nn.Linear(len(self.places), inner)
        self.second = torch.nn.Linear(inner, inner)
        self.last = torch.nn.Linear(inner, 1)
        # nothing but the original's network at the start
        torch.nn.init.zeros_(self.last.weight)
        torch.nn.init.zeros_(self.last.bias)

    def forward(self, momenta: Any, known: Any) -> Any:
        """float[events, slots, ..., slots], an axis for each daughter; zero where an object has no momentum.

        A training on a CPU has zero for tuples with a repeated slot, too, which are no assignments: most of all tuples
        then need no computation.
        """
        pair = (log_mass(momenta, 2) - _MASS_CENTRE) * _MASS_SCALE
        whole = (log_mass(momenta, self.daughters) - _MASS_CENTRE) * _MASS_SCALE if self.daughters > 2 else None
        if self.training and known.device.type == "cpu" and not torch.jit.is_tracing():
            return self._of_rows(pair, whole, known)
        return self._of_all(pair, whole, known)

    def _values(self, features: Any) -> Any:
        x = functional.gelu(self.first(features))
        return self.last(functional.gelu(self.second(x)))[..., 0]

    def _axes(self, value: Any, *places: int) -> Any:
        """Slots along the axes of some daughters."""
        slots = value.shape[1]
        return value.reshape(value.shape[0], *[slots if place in places else 1 for place in range(self.daughters)])

    def _of_all(self, pair: Any, whole: Any, known: Any) -> Any:
        events, slots = known.shape
        shape = [events, *[slots] * self.daughters]
        made = [self._axes(pair, *places).expand(shape) if len(places) == 2 else whole for places in self.places]
        logits = self._values(torch.stack(made, -1))
        for place in range(self.daughters):
            logits = logits.masked_fill(~self._axes(known, place), 0.0)
        return logits

    def _of_rows(self, pair: Any, whole: Any, known: Any) -> Any:
        """Of the tuples of different objects with a momentum alone."""
        slots = known.shape[1]
        possible = self._axes(known, 0)
        for place in range(1, self.daughters):
            possible = possible & self._axes(known, place)
        different = ~torch.eye(slots, dtype=torch.bool, device=known.device)[None]
        for places in combinations(range(self.daughters), 2):
            possible = possible & self._axes(different, *places)
        index = possible.nonzero().unbind(1)
        made = [
            pair[(index[0], index[places[0] + 1], index[places[1] + 1])] if len(places) == 2 else whole[index]
            for places in self.places
        ]
        values = self._values(torch.stack(made, -1))
        return values.new_zeros(possible.shape).index_put(index, values)


def log_mass(momenta: Any, number: int) -> Any:
    """Logarithm of the mass in GeV of the sum of every tuple of objects.

    Parameters
    ----------
    momenta : float[events, slots, 5]
        As of `ObjectMomenta`.
    number : int
        Objects of a tuple.

    Returns
    -------
    float[events, slots, ..., slots]
        At least ln(0.01).
    """
    pt, eta, cosine, sine, energy = momenta.unbind(-1)
    parts = [energy, pt * cosine, pt * sine, pt * (torch.exp(eta) - torch.exp(-eta)) / 2]

    def total(value: Any) -> Any:
        made: Any = 0.0
        for place in range(number):
            axes = [value.shape[0], *[1] * number]
            axes[place + 1] = value.shape[1]
            made = made + value.reshape(axes)
        return made

    square = total(parts[0]).square()
    for value in parts[1:]:
        square = square - total(value).square()
    return 0.5 * torch.log(square.clamp(min=1e-4))
