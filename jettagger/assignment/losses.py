"""Losses of the assignment network: assignments, detections, divergence of symmetric particles, regressions, classes.

The terms, their denominators and their total are those of SPANet (Fenton et al. 2022, and its code). What differs: a
term whose targets are all masked is 0, not NaN, and masked classes are left out of balanced weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np

from jettagger.arguments import Kind, guard
from jettagger.assignment.networks import AssignmentOutputs
from jettagger.assignment.statistics import TrainingStatistics, class_balance, object_balance, particle_balance
from jettagger.display import Brief, briefly
from jettagger.errors import ConfigError, InvalidValues, require

if TYPE_CHECKING:
    import torch

__all__ = [
    "AssignmentLoss",
    "AssignmentTargets",
    "LossTerms",
    "assignment_cross_entropy",
    "jensen_shannon_divergence",
    "regression_loss",
]

_Network = Annotated[Any, Kind("a network of build_network", lambda value: hasattr(value, "class_counts"))]
_Tensor = Annotated[Any, Kind("a tensor", lambda value: hasattr(value, "requires_grad"))]

#: stands for minus infinity in log-probabilities: its exponential is zero, also in double precision
_LOWEST = -1e4

#: maximum number of events in a message
_MOST_EVENTS = 5


@briefly
class AssignmentTargets(NamedTuple):
    """Targets of a batch, as tensors.

    Parameters
    ----------
    targets : mapping of str to int64[events, daughters]
        Particle -> slots in inputs with slots one after the other; -1: missing.
    masks : mapping of str to bool[events]
        Particle -> whether it is there with all daughters.
    weights : mapping of str to float32[events]
        Particle -> weight of its target; particles without an entry have 1.
    regressions : mapping of str to float32[events]
        NaN: masked.
    classifications : mapping of str to int64[events]
        -1: masked.
    objects : int64[events], optional
        Number of objects in inputs with slots, for their balance.
    event_weights : float32[events], optional
        Used with the option ``event_weights``; negative ones subtract, and denominators are sums of absolute values, so
        that the loss is finite.
    """

    targets: Mapping[str, torch.Tensor]
    masks: Mapping[str, torch.Tensor]
    weights: Mapping[str, torch.Tensor] = {}
    regressions: Mapping[str, torch.Tensor] = {}
    classifications: Mapping[str, torch.Tensor] = {}
    objects: torch.Tensor | None = None
    event_weights: torch.Tensor | None = None


@briefly
class LossTerms(NamedTuple):
    """The loss of a batch, as tensors without axes.

    Parameters
    ----------
    total : float32[]
        Mean or sum of the terms.
    terms : dict of str to float32[]
        With their scales: ``t1/assignment``, ``t1/detection``, ``symmetric``, ``regression/EVENT/x``,
        ``classification/EVENT/x``. Terms with a scale of 0 are left out.

    """

    total: torch.Tensor
    terms: dict[str, torch.Tensor]


def _torch() -> Any:
    return require("torch", "train", "a loss of tensors")


def assignment_cross_entropy(
    log_probability: _Tensor,
    target: _Tensor,
    mask: _Tensor,
    weight: _Tensor,
    gamma: float = 0.0,
    order: int = 1,
) -> Any:
    """The focal cross entropy (Lin et al. 2017) of an assignment.

    Parameters
    ----------
    log_probability : float[events, slots, ..., slots]
        Of each tuple.
    target : int64[events, daughters]
    mask : bool[events]
        Events without the particle have a loss of 0.
    weight : float[events]
    gamma : float
        Exponent; 0: cross entropy.
    order : int
        Of the group of the particle: number of tuples that are the same assignment.

    Returns
    -------
    float[events]
        Infinite where the target is no possible assignment.
    """
    torch = _torch()
    slots = log_probability.shape[1]
    powers = torch.tensor([slots**place for place in range(target.shape[1])][::-1], device=target.device)
    cell = (target.clamp(min=0) * powers).sum(1, keepdim=True)
    value = log_probability.reshape(len(target), -1).gather(1, cell)[:, 0] + math.log(order)
    value = value.masked_fill(~mask, 0.0)
    if gamma:
        # above 0, where a power below one has a slope
        value = value * (1 - torch.exp(value)).clamp(min=1e-12) ** gamma
    return -value * weight


def jensen_shannon_divergence(log_p: _Tensor, log_q: _Tensor) -> Any:
    """The Jensen-Shannon divergence of two distributions; the gradient flows through the mixture alone.

    Parameters
    ----------
    log_p, log_q : float[events, slots, ..., slots]
        Minus infinity: impossible.

    Returns
    -------
    float[events]
        From 0 to ln 2.
    """
    torch = _torch()
    log_p, log_q = log_p.clamp(min=_LOWEST), log_q.clamp(min=_LOWEST)
    mixture = torch.logaddexp(log_p, log_q) - math.log(2)
    p, q = log_p.detach(), log_q.detach()
    cells = torch.exp(p) * (p - mixture) + torch.exp(q) * (q - mixture)
    return cells.reshape(len(cells), -1).sum(1) / 2


def regression_loss(kind: str, predicted: _Tensor, target: _Tensor, std: Any) -> Any:
    """The loss of a regression.

    Parameters
    ----------
    kind : str
        ``gaussian``: ((x - y) / std)^2; ``laplacian``: abs(x - y) / std; ``log_gaussian``: (x - y)^2.
    predicted, target : float[events]
    std : float
        See `jettagger.assignment.statistics.Normalization`.

    Returns
    -------
    float[events]
        0 where the target is NaN.
    """
    torch = _torch()
    valid = ~torch.isnan(target)
    difference = torch.where(valid, predicted - torch.where(valid, target, 0.0), 0.0)
    if kind == "laplacian":
        return difference.abs() / std
    return (difference / std if kind == "gaussian" else difference).square()


class AssignmentLoss(Brief):
    """The loss of a network, a function of its outputs and the targets.

    Parameters
    ----------
    network : torch.nn.Module
        Of `jettagger.assignment.networks.build_network`: gives event file, options and normalisation.
    statistics : TrainingStatistics, optional
        Of the training set; needed for balanced weights only.
    over : callable, optional
        Sum of a tensor over the processes that have parts of the batch, for denominators; the loss of a process is then
        its part of the sum.

    Raises
    ------
    ConfigError
        If weights are to be balanced without statistics, or weights of classes do not fit to the classes.
    MissingExtra
        If torch is not installed.
    """

    def __init__(
        self,
        network: _Network,
        statistics: TrainingStatistics | None = None,
        over: Callable[[Any], Any] | None = None,
    ) -> None:
        torch = _torch()
        self._over = over
        self.options, self.description = network.options, network.description
        self.names = tuple(particle.name for particle in self.description.particles)
        self.orders = {name: self.description.daughter_group(name).order for name in self.names}
        self.group = np.array(self.description.event_group.elements).reshape(-1, len(self.names))
        keys = zip(self.description.regressions, network.regressions, strict=True)
        self._std = {key: head.std.detach() for key, head in keys}
        wanted = [
            name
            for name in ("balance_particles", "balance_jets", "balance_classifications")
            if getattr(self.options, name) and not (name == "balance_particles" and not self.options.partial_events)
        ]
        if wanted and statistics is None:
            raise ConfigError(f"{', '.join(wanted)} needs the statistics of a training set")
        self._subsets = self._objects = None
        self._classes: dict[str, Any] = dict.fromkeys(network.class_counts)
        if statistics is not None:
            if "balance_particles" in wanted:
                self._subsets = torch.from_numpy(particle_balance(statistics, self.description))
            if "balance_jets" in wanted:  # what was never seen has the weight 0
                self._objects = torch.from_numpy(np.append(object_balance(statistics), np.float32(0)))
            if "balance_classifications" in wanted:
                self._classes = {
                    key: torch.from_numpy(class_balance(statistics.classes[key])) for key in network.class_counts
                }
        for key, weights in self.options.jettagger.class_weights.items():
            count = network.class_counts.get(key)
            if count != len(weights):
                found = (
                    "no classification of the event file" if count is None else f"a classification of {count} classes"
                )
                raise ConfigError(f"class_weights: {key} is {found}, got {len(weights)} weights")
            own = torch.tensor(weights)
            self._classes[key] = own if self._classes[key] is None else own * self._classes[key]

    def __repr__(self) -> str:
        combined = f"{self.options.combine_pair_loss} over {len(self.group)} permutations"
        return f"AssignmentLoss({', '.join(self.names)}; {combined})"

    def __call__(self, outputs: AssignmentOutputs, targets: AssignmentTargets) -> LossTerms:
        """The loss of a batch.

        Parameters
        ----------
        outputs : AssignmentOutputs
        targets : AssignmentTargets

        Returns
        -------
        LossTerms

        Raises
        ------
        InvalidValues
            If the loss of an assignment is NaN, the training has diverged, or infinite: a target is an empty slot, a
            slot twice, or one that its daughter cannot have; names the particle and the events of the batch.
        ConfigError
            If weights of events or numbers of objects are wanted and not given, or all scales are 0.
        """
        torch = _torch()
        options = self.options
        losses, best = self._combined(outputs, targets)
        masks = torch.stack([targets.masks[name] for name in self.names])
        group = torch.as_tensor(self.group, device=masks.device)
        masks = masks.gather(0, group[best].T)
        event = targets.event_weights if options.jettagger.event_weights else None
        if options.jettagger.event_weights and event is None:
            raise ConfigError("the option event_weights needs weights of events, and there are none")
        weights = self._weights(masks, targets, event)
        counts = self._whole((masks if event is None else masks * event.abs()).sum(1))
        total_count = counts.sum()
        counts = counts.clamp(min=1) if event is None else _positive(counts)
        sums = (losses * weights[:, None]).sum(2) / counts[:, None]
        self._refuse(losses, sums)
        terms: dict[str, Any] = {}
        if options.assignment_loss_scale > 0:
            terms |= {f"{name}/assignment": value for name, value in zip(self.names, sums[:, 0], strict=True)}
        if options.detection_loss_scale > 0:
            terms |= {f"{name}/detection": value for name, value in zip(self.names, sums[:, 1], strict=True)}
        if options.kl_loss_scale > 0 and self.description.event_group.transpositions:
            terms["symmetric"] = options.kl_loss_scale * self._divergence(outputs, masks, weights, total_count)
        if options.regression_loss_scale > 0:
            for key, kind in self.description.regressions.items():
                target = targets.regressions[key]
                loss = regression_loss(kind, outputs.regressions[key], target, self._std[key].to(target.device))
                valid = (~torch.isnan(target)).to(loss.dtype)
                valid = valid if event is None else valid * event
                value = (loss * valid).sum() / _positive(self._whole(valid.abs().sum()))
                terms[f"regression/{key}"] = options.regression_loss_scale * value
        if options.classification_loss_scale > 0:
            for key, logits in outputs.classifications.items():
                value = self._classification(key, logits, targets.classifications[key], event)
                terms[f"classification/{key}"] = options.classification_loss_scale * value
        if not terms:
            raise ConfigError("all scales of the losses are 0: there is nothing to train")
        values = torch.stack(list(terms.values()))
        total = values.sum() if options.jettagger.total_loss == "sum" else values.mean()
        return LossTerms(total, terms)

    def _whole(self, count: Any) -> Any:
        """A denominator of the whole batch; the validation has all events in each process."""
        return count if self._over is None or not _torch().is_grad_enabled() else self._over(count)

    def _combined(self, outputs: AssignmentOutputs, targets: AssignmentTargets) -> tuple[Any, Any]:
        """Losses [particles, 2, events] over the permutations of the event, and the index of the best one."""
        torch = _torch()
        functional = torch.nn.functional
        options = self.options
        pairs: dict[tuple[int, int], Any] = {}
        for one, other in sorted(
            {(place, int(sigma[place])) for sigma in self.group for place in range(len(self.names))}
        ):
            name, partner = self.names[one], self.names[other]
            mask = targets.masks[partner]
            logit = outputs.detections[name]
            weight = targets.weights.get(partner, torch.ones_like(logit))
            assignment = assignment_cross_entropy(
                outputs.assignments[name],
                targets.targets[partner],
                mask,
                weight,
                options.focal_gamma,
                self.orders[name],
            )
            present = mask.to(logit.dtype)
            detection = functional.binary_cross_entropy_with_logits(logit, present, weight=weight, reduction="none")
            scales = options.assignment_loss_scale, options.detection_loss_scale
            # a scale of 0 removes also what is infinite
            parts = [
                scale * loss if scale else torch.zeros_like(loss)
                for scale, loss in zip(scales, (assignment, detection), strict=True)
            ]
            pairs[one, other] = torch.stack(parts)
        losses = torch.stack(
            [torch.stack([pairs[place, int(other)] for place, other in enumerate(sigma)]) for sigma in self.group]
        )
        totals = losses.sum((1, 2))
        best = totals.argmin(0)
        if options.combine_pair_loss == "mean":
            return losses.mean(0), best
        if options.combine_pair_loss == "softmin":
            return (functional.softmin(totals, 0)[:, None, None] * losses).sum(0), best
        index = best.expand(1, *losses.shape[1:])
        return losses.gather(0, index)[0], best

    def _weights(self, masks: Any, targets: AssignmentTargets, event: Any) -> Any:
        """Weights [particles, events] of the losses of particles."""
        torch = _torch()
        weights = torch.ones(masks.shape, device=masks.device)
        if self._subsets is not None:
            bits = 1 << torch.arange(len(self.names), device=masks.device)
            weights = weights * self._subsets.to(masks.device)[(masks * bits[:, None]).sum(0)]
        if self._objects is not None:
            if targets.objects is None:
                raise ConfigError("balance_jets needs the numbers of objects, and there are none")
            table = self._objects.to(masks.device)
            weights = weights * table[targets.objects.clamp(max=len(table) - 1)]
        return weights if event is None else weights * event

    def _divergence(self, outputs: AssignmentOutputs, masks: Any, weights: Any, count: Any) -> Any:
        """The term of the original, with its factor of twice the number of particles, over a number of particles."""
        torch = _torch()
        values = []
        for one, other in self.description.event_group.transpositions:
            first, second = (outputs.assignments[self.names[place]] for place in (one, other))
            loss = torch.exp(-jensen_shannon_divergence(first, second).square())
            values.append(loss.masked_fill(~(masks[one] & masks[other]), 0.0))
        mean = torch.stack(values).mean(0)
        return 2 * (weights * mean).sum() / _positive(count)

    def _classification(self, key: str, logits: Any, target: Any, event: Any) -> Any:
        torch = _torch()
        valid = target >= 0
        chosen = target.clamp(min=0)[:, None]
        log_probability = torch.log_softmax(logits, 1).gather(1, chosen)[:, 0]
        weight = valid.to(logits.dtype)
        if self._classes[key] is not None:
            weight = weight * self._classes[key].to(logits.device)[chosen[:, 0]]
        if event is not None:
            weight = weight * event
        gamma = self.options.jettagger.classification_focal_gamma
        loss = -log_probability
        if gamma:
            loss = loss * (1 - torch.exp(log_probability)).clamp(min=1e-12) ** gamma
        return (loss * weight).sum() / _positive(self._whole(weight.abs().sum()))

    def _refuse(self, losses: Any, sums: Any) -> None:
        torch = _torch()
        if bool(torch.isfinite(sums).all()):
            return
        for place, name in enumerate(self.names):
            values = losses[place].detach()
            if bool(torch.isnan(values).any()):
                raise InvalidValues(f"the loss of {name} is NaN: the training has diverged; try a lower learning rate")
            rows = torch.isinf(values).any(0).nonzero()[:, 0].tolist()
            if rows:
                more = " and more" if len(rows) > _MOST_EVENTS else ""
                raise InvalidValues(
                    f"the loss of {name} is infinite: its target is an empty slot, a slot twice, or one that the "
                    f"daughter cannot have, in the events {', '.join(map(str, rows[:_MOST_EVENTS]))}{more} of the batch"
                )
        raise InvalidValues("the loss of assignments is not finite: the weights of targets are not")


def _positive(value: Any) -> Any:
    """A denominator; what is divided by it is 0 where it is 0."""
    torch = _torch()
    return torch.where(value > 0, value, torch.ones_like(value))


guard(globals())
