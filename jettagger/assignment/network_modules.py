# mypy: disable-error-code="misc,no-any-return"
"""The assignment network as a torch module. Imported only where torch is, see `jettagger.assignment.networks`.

Hyperbolic functions are written with exponentials, as torch does not export them.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch

from jettagger.assignment.network_kinematics import AttentionBias, MassLogits, ObjectMomenta
from jettagger.assignment.network_layers import HeadLayers, SlotEncoder, block
from jettagger.assignment.network_slots import AllSlots, RealSlots, Slots
from jettagger.assignment.networks import AssignmentOutputs, embedding_widths, logit_scale
from jettagger.assignment.statistics import TrainingStatistics
from jettagger.assignment.training_options import AssignmentOptions
from jettagger.errors import MismatchError
from jettagger.topology.eventfile import EventDescription

__all__ = ["AssignmentNetwork"]

#: stands for minus infinity before a softmax; where all is masked, the result is finite
_LOWEST = -1e30


class _InputEmbedding(torch.nn.Module):
    """Normalisation, blocks of growing width and the vector of the input."""

    def __init__(self, options: AssignmentOptions, features: int, kind: str) -> None:
        super().__init__()
        self.kind, self.width = kind, options.hidden_dim
        self.masked = options.mask_sequence_vectors
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("std", torch.ones(features))
        widths = embedding_widths(options, features)
        skip = options.initial_embedding_skip_connections
        self.stack = torch.nn.ModuleList([block(options, one, other, skip) for one, other in pairwise(widths)])
        self.token = torch.nn.Parameter(torch.randn(options.position_embedding_dim))
        if kind == "relative":
            width = options.hidden_dim
            self.norm = torch.nn.LayerNorm(width)
            self.query, self.key, self.value = (torch.nn.Linear(width, width, bias=False) for _ in range(3))
            self.output = block(options, width, width, options.skip_connections)

    def forward(self, values: Any, present: Any) -> tuple[Any, Any]:
        """float[events, slots, width], and the mask of its slots."""
        mask = present[..., None]
        if self.kind == "relative":
            x = self._relative(values, present)
        else:
            mask = mask if self.masked else torch.ones_like(mask)
            x = self._normalized(values, present)
            for layer in self.stack:
                x = layer(x, mask)
        return self._with_token(x), mask

    def rows(self, values: Any, present: Any, places: Any) -> Any:
        """float[1, rows, width] of the slots that hold objects, of which the places among all slots are given."""
        if self.kind == "relative":
            x = self._relative(values, present)
            return self._with_token(x.reshape(-1, self.width).index_select(0, places)[None])
        x = (values.reshape(-1, values.shape[2]).index_select(0, places)[None] - self.mean) / self.std
        mask = torch.ones_like(x[..., :1], dtype=torch.bool)
        for layer in self.stack:
            x = layer(x, mask)
        return self._with_token(x)

    def _with_token(self, x: Any) -> Any:
        return torch.cat([x, self.token.expand(x.shape[0], x.shape[1], -1)], -1)

    def _normalized(self, values: Any, present: Any) -> Any:
        # empty slots may hold anything, also NaN
        return ((values - self.mean) / self.std).masked_fill(~present[..., None], 0.0)

    def _relative(self, values: Any, present: Any) -> Any:
        """One vector per object: the pair of it with itself asks, its pairs with all objects answer."""
        events, slots = values.shape[0], values.shape[1]
        pairs = present[:, :, None] & present[:, None, :]
        x = self._normalized(values, pairs).reshape(events, slots * slots, values.shape[3])
        flat = pairs.reshape(events, slots * slots, 1)
        for layer in self.stack:
            x = layer(x, flat)
        x = self.norm(x).reshape(events, slots, slots, self.width)
        index = torch.arange(slots, device=x.device)
        same = index[:, None] == index[None, :]
        query = self.query((x * same[None, :, :, None]).sum(2))
        logits = (query[:, :, None, :] * self.key(x)).sum(-1) / self.width**0.5
        shares = torch.softmax(logits.float().masked_fill(~(pairs | same), _LOWEST), 2)
        return self.output((shares[..., None] * self.value(x)).sum(2), present[..., None])


class _Daughter(torch.nn.Module):
    def __init__(self, options: AssignmentOptions) -> None:
        super().__init__()
        self.encoder = SlotEncoder(options, options.num_jet_embedding_layers, options.num_jet_encoder_layers)
        self.linear = torch.nn.Linear(options.hidden_dim, options.hidden_dim)
        torch.nn.init.xavier_uniform_(self.linear.weight)


class _Branch(torch.nn.Module):
    """One particle: detection, and the log-probability of its assignments."""

    def __init__(self, options: AssignmentOptions, permutations: tuple[tuple[int, ...], ...]) -> None:
        super().__init__()
        several = len(permutations[0]) > 1
        self.masses = MassLogits(options, len(permutations[0])) if options.jettagger.mass_features and several else None
        self.permutations = [sigma for sigma in permutations if sigma != tuple(range(len(sigma)))]
        self.scale = logit_scale(options, len(permutations[0]))
        self.encoder = SlotEncoder(options, options.num_branch_embedding_layers, options.num_branch_encoder_layers)
        self.daughters = torch.nn.ModuleList([_Daughter(options) for _ in permutations[0]])
        self.detection = HeadLayers(options, options.num_detector_layers, 1)

    def forward(self, x: Any, slots: Slots, cells: Any, kinematics: Any) -> tuple[Any, ...]:
        x, token = self.encoder(x, slots)
        detection = self.detection(token)[:, 0]
        count = cells.shape[1]
        slots, x = slots.first(count, x)
        vectors, tokens = [], []
        for daughter in self.daughters:
            value, vector = daughter.encoder(x, slots)
            vectors.append(slots.padded(daughter.linear(value)))
            tokens.append(vector)
        logits = self._logits(vectors).float() * self.scale
        if self.masses is not None:
            momenta, known = kinematics
            logits = logits + self.masses(momenta[:, :count], known[:, :count])
        logits = self._symmetric(logits)
        shape = logits.shape
        logits = logits.masked_fill(~cells, _LOWEST).reshape(shape[0], -1)
        values = torch.log_softmax(logits, 1).reshape(shape)
        return values.masked_fill(~cells, -torch.inf), detection, token, tokens

    def _logits(self, vectors: list[Any]) -> Any:
        """Sums over the features of the products of the vectors, [events, slots, ..., slots]."""
        events, slots, width = vectors[0].shape
        if len(vectors) == 1:
            return vectors[0].sum(-1)
        front = vectors[0]
        for value in vectors[1:-1]:
            front = (front[:, :, None, :] * value[:, None, :, :]).reshape(events, -1, width)
        made = torch.matmul(front, vectors[-1].transpose(1, 2))
        return made.reshape(events, *[slots] * len(vectors))

    def _symmetric(self, logits: Any) -> Any:
        total = logits
        for sigma in self.permutations:
            total = total + logits.permute(0, *(place + 1 for place in sigma))
        return total / (len(self.permutations) + 1)


def _cells(allowed: list[Any]) -> Any:
    """Tuples of different slots that are allowed for their daughters, bool[events, slots, ..., slots]."""
    count, slots = len(allowed), allowed[0].shape[1]
    index = torch.arange(slots, device=allowed[0].device)
    different = index[:, None] != index[None, :]
    made = None
    for place, mask in enumerate(allowed):
        axes = [mask.shape[0], *[1] * count]
        axes[place + 1] = slots
        cells = mask.reshape(axes)
        made = cells if made is None else made & cells
        for other in range(place):
            axes = [1] * (count + 1)
            axes[other + 1] = axes[place + 1] = slots
            made = made & different.reshape(axes)
    return made


class _Regression(torch.nn.Module):
    def __init__(self, options: AssignmentOptions, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.register_buffer("mean", torch.tensor(0.0))
        self.register_buffer("std", torch.tensor(1.0))
        self.head = HeadLayers(options, options.num_regression_layers, 1)

    def forward(self, vector: Any) -> Any:
        value = self.std * self.head(vector)[:, 0] + self.mean
        return torch.exp(value) - torch.exp(-value) if self.kind == "log_gaussian" else value


class AssignmentNetwork(torch.nn.Module):
    """The network, see `jettagger.assignment.networks.build_network`.

    Parameters
    ----------
    description : EventDescription
    options : AssignmentOptions
    class_counts : mapping of str to int
    """

    def __init__(
        self, description: EventDescription, options: AssignmentOptions, class_counts: Mapping[str, int]
    ) -> None:
        super().__init__()
        self.description, self.options, self.class_counts = description, options, dict(class_counts)
        width = options.hidden_dim
        # inputs with slots first: their slots are those that daughters are assigned to
        self.order = [*description.sequential, *(item for item in description.inputs if item.kind == "global")]
        self.inputs = torch.nn.ModuleList(
            [_InputEmbedding(options, len(item.features), item.kind) for item in description.inputs]
        )
        self.place = {item.name: place for place, item in enumerate(description.inputs)}
        self.fusion = block(options, width + options.position_embedding_dim, width, options.skip_connections)
        self.encoder = SlotEncoder(options, 0, options.num_encoder_layers)
        self.particles = torch.nn.ModuleList(
            [_Branch(options, description.daughter_group(item.name).elements) for item in description.particles]
        )
        self.regressions = torch.nn.ModuleList(
            [_Regression(options, kind) for kind in description.regressions.values()]
        )
        self.classifications = torch.nn.ModuleList(
            [HeadLayers(options, options.num_classification_layers, count) for count in class_counts.values()]
        )
        own = options.jettagger
        self.kinematics = ObjectMomenta(description) if own.pair_features or own.mass_features else None
        self.pairs = AttentionBias(options) if own.pair_features else None

    def set_statistics(self, statistics: TrainingStatistics) -> None:
        """Store normalisation in the weights.

        Parameters
        ----------
        statistics : TrainingStatistics
        """
        targets = [(self.inputs[self.place[name]], value) for name, value in statistics.inputs.items()]
        keys = list(self.description.regressions)
        targets += [(self.regressions[keys.index(key)], value) for key, value in statistics.regressions.items()]
        for module, value in targets:
            module.mean.copy_(torch.as_tensor(value.mean))
            module.std.copy_(torch.as_tensor(value.std))

    def forward(self, values: Mapping[str, Any], masks: Mapping[str, Any]) -> AssignmentOutputs:
        """Outputs for events.

        Parameters
        ----------
        values : mapping of str to float32[events, slots, features]
        masks : mapping of str to bool[events, slots]

        Returns
        -------
        AssignmentOutputs

        Raises
        ------
        MismatchError
            If an input has another shape than the event file gives it.
        """
        if not torch.jit.is_tracing():
            for item in self.order:
                _refuse_shape(item, values[item.name], masks[item.name])
        names = [item.name for item in self.order]
        present = [masks[name] for name in names]
        counted = [masks[item.name] for item in self.order if item.kind != "global"]
        bias = kinematics = None
        if self.kinematics is not None:
            kinematics = self.kinematics([values[name] for name in names], present, names)
            bias = self.pairs(*kinematics) if self.pairs is not None else None
        slots, x = (self._real_slots if self._has_rows(present[0]) else self._all_slots)(values, masks, bias)
        x, event = self.encoder(self.fusion(x, slots.mask), slots)
        allowed = torch.cat(counted, 1)
        cells: dict[tuple[str | None, ...], Any] = {}
        assignments, detections, vectors = {}, {}, {"EVENT": event}
        for particle, branch in zip(self.description.particles, self.particles, strict=True):
            sources = tuple(self._source(daughter.source) for daughter in particle.daughters)
            if sources not in cells:
                cells[sources] = _cells([self._choices(source, counted, allowed) for source in sources])
            assignment, detection, token, tokens = branch(x, slots, cells[sources], kinematics)
            assignments[particle.name], detections[particle.name] = assignment, detection
            vectors[f"{particle.name}/PARTICLE"] = token
            for daughter, vector in zip(particle.daughters, tokens, strict=True):
                vectors[f"{particle.name}/{daughter.name}"] = vector
        regressions, classifications = (
            {key: head(vectors[key.rpartition("/")[0]]) for key, head in zip(keys, heads, strict=True)}
            for keys, heads in (
                (self.description.regressions, self.regressions),
                (self.class_counts, self.classifications),
            )
        )
        return AssignmentOutputs(assignments, detections, regressions, classifications, vectors)

    def _has_rows(self, mask: Any) -> bool:
        """Whether slots are rows: not where normalisation counts empty ones, and not on GPUs, which would wait."""
        norm = self.options.normalization
        counts_empty = norm == "BatchNorm" or (norm == "MaskedBatchNorm" and not self.options.mask_sequence_vectors)
        return self.training and not counts_empty and mask.device.type == "cpu" and not torch.jit.is_tracing()

    def _all_slots(self, values: Mapping[str, Any], masks: Mapping[str, Any], bias: Any) -> tuple[Slots, Any]:
        """All slots of the inputs, side by side, and their vectors."""
        made = [self.inputs[self.place[item.name]](values[item.name], masks[item.name]) for item in self.order]
        present = torch.cat([masks[item.name] for item in self.order], 1)
        return AllSlots(torch.cat([mask for _, mask in made], 1), ~present, bias), torch.cat([x for x, _ in made], 1)

    def _real_slots(self, values: Mapping[str, Any], masks: Mapping[str, Any], bias: Any) -> tuple[Slots, Any]:
        """The slots of the inputs that hold objects, and their vectors."""
        present = torch.cat([masks[item.name] for item in self.order], 1)
        made, places, start = [], [], 0
        for item in self.order:
            mask = masks[item.name]
            count = mask.shape[1]
            own = mask.reshape(-1).nonzero()[:, 0]
            made.append(self.inputs[self.place[item.name]].rows(values[item.name], mask, own))
            event = torch.div(own, count, rounding_mode="floor")
            places.append(own + event * (present.shape[1] - count) + start)
            start += count
        return RealSlots(present, bias, torch.cat(places)), torch.cat(made, 1)

    def _source(self, source: str | None) -> str | None:
        """The input that a daughter is restricted to."""
        return source if self.options.jettagger.restrict_to_collections else None

    def _choices(self, source: str | None, masks: list[Any], allowed: Any) -> Any:
        """Slots that a daughter may have."""
        if source is None:
            return allowed
        names = [item.name for item in self.description.sequential]
        return torch.cat(
            [mask if name == source else torch.zeros_like(mask) for name, mask in zip(names, masks, strict=True)], 1
        )


def _refuse_shape(item: Any, value: Any, mask: Any) -> None:
    features = len(item.features)
    rows = tuple(mask.shape)
    expected = (*rows, *([rows[-1]] if item.kind == "relative" else []), features)
    if len(rows) != 2 or tuple(value.shape) != expected:
        raise MismatchError(
            f"input {item.name}: values are {tuple(value.shape)} and the mask is {rows}, expected values "
            f"(events, slots, {'slots, ' if item.kind == 'relative' else ''}{features}) and a mask (events, slots)"
        )
