"""Measures of a training on its validation events, of which one decides about the best epoch.

Assignments are decoded as in use, and compared with all symmetries; events count once, whatever their batch is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.assignment.decoding import decode
from jettagger.assignment.purity import clusters_of, match_events
from jettagger.assignment.training_options import AssignmentOptions
from jettagger.errors import InvalidValues, UnknownName, require
from jettagger.topology.eventfile import EventDescription
from jettagger.training.loop import Metric
from jettagger.types import Array

__all__ = ["LOSS", "PURITY", "measure_names", "validation_metric"]

#: names of the loss and of the default criterion of the best epoch
LOSS, PURITY = "loss", "event purity"

#: ends of the names of measures of which lower is better
_LOWER = ("error", LOSS)


def measure_names(description: EventDescription, options: AssignmentOptions) -> tuple[str, ...]:
    """Names of what may decide about the best epoch.

    Parameters
    ----------
    description : EventDescription
    options : AssignmentOptions

    Returns
    -------
    tuple of str
        ``loss``; ``event purity``: share of events whose particles are all right, among those with particles;
        ``particle purity`` and ``<cluster> purity``: share of right particles; where they are trained: ``detection
        accuracy``, share of events with the right number of particles of each cluster, ``<classification> accuracy``,
        ``<regression> error``, mean absolute error. With the option ``event_weights`` events count by their weight.

    Examples
    --------
    >>> from jettagger.topology.eventfile import parse_event_text
    >>> event = parse_event_text("INPUTS: {SEQUENTIAL: {Jets: {pt: log}}}\\nEVENT: {h: [b1, b2]}")
    >>> measure_names(event, AssignmentOptions())
    ('loss', 'event purity', 'particle purity', 'h purity')
    """
    names = [LOSS, PURITY, "particle purity", *(f"{name} purity" for name in clusters_of(description))]
    if options.detection_loss_scale > 0:
        names.append("detection accuracy")
    if options.classification_loss_scale > 0:
        names += [f"{key} accuracy" for key in description.classifications]
    if options.regression_loss_scale > 0:
        names += [f"{key} error" for key in description.regressions]
    return tuple(dict.fromkeys(names))


def validation_metric(
    monitor: str, description: EventDescription, options: AssignmentOptions, *, threads: int = 1
) -> Metric:
    """The measures of the validation events, and which of them decides.

    Parameters
    ----------
    monitor : str
        One of `measure_names`.
    description : EventDescription
    options : AssignmentOptions
    threads : int
        Of the decoder.

    Returns
    -------
    Metric

    Raises
    ------
    UnknownName
        If there is no such measure; with the nearest names.
    """
    names = measure_names(description, options)
    if monitor not in names:
        raise UnknownName("measure", monitor, names)

    def reduced(outputs: Any, targets: Any, weights: Any) -> tuple[Any, Any, Any]:
        if options.jettagger.event_weights:
            weights = targets.event_weights.double()
        return _counted(outputs, targets, description, options, threads), {}, weights

    def measures(found: Any, targets: Any, weights: Any) -> dict[str, float]:
        made = {}
        for name, (value, counts) in found.items():
            total = float((counts * weights).sum())
            if total > 0:
                made[name] = float((value * weights).sum()) / total
        if monitor not in (*made, LOSS):
            what = "has a particle" if monitor.endswith("purity") else f"has what {monitor!r} needs"
            raise InvalidValues(f"no event of the validation set {what}: there is no {monitor}")
        return made

    return Metric(
        "" if monitor == LOSS else monitor,
        measures,
        higher_is_better=not monitor.endswith(_LOWER),
        reduce=reduced,
        loss_decides_ties=True,
    )


def _counted(
    outputs: Any, targets: Any, description: EventDescription, options: AssignmentOptions, threads: int
) -> dict[str, tuple[Any, Any]]:
    """Measure -> of each event, its sum and what that is a share of."""
    torch = require("torch", "train", "training a network")

    def numbers(values: Any) -> dict[str, Array]:
        return {name: value.numpy() for name, value in values.items()}

    log_probabilities = {name: value.float().numpy() for name, value in outputs.assignments.items()}
    assignments = decode(log_probabilities, description, threads=threads).assignments
    matched = match_events(assignments, numbers(targets.targets), numbers(targets.masks), description)
    there = matched.any_present
    present, right = (
        {name: np.asarray(value, dtype=np.float64) for name, value in counts.items()}
        for counts in (matched.present, matched.matched)
    )
    made: dict[str, tuple[Array, Array]] = {
        **{f"{name} purity": (right[name], present[name]) for name in present},
        PURITY: (matched.right & there, there),
        "particle purity": (np.sum([*right.values()], axis=0), np.sum([*present.values()], axis=0)),
    }
    if options.detection_loss_scale > 0:
        found = {name: value.numpy() >= 0 for name, value in outputs.detections.items()}
        same = [
            np.sum([found[member] for member in members], axis=0) == matched.present[name]
            for name, members in matched.clusters.items()
        ]
        made["detection accuracy"] = np.all(same, axis=0), np.ones(len(there))
    if options.classification_loss_scale > 0:
        for key, logits in outputs.classifications.items():
            target = targets.classifications[key].numpy()
            made[f"{key} accuracy"] = (logits.numpy().argmax(1) == target) & (target >= 0), target >= 0
    if options.regression_loss_scale > 0:
        for key, predicted in outputs.regressions.items():
            difference = np.abs(predicted.numpy() - targets.regressions[key].numpy())
            valid = ~np.isnan(difference)
            made[f"{key} error"] = np.where(valid, difference, 0.0), valid
    return {
        name: (torch.from_numpy(np.asarray(value, np.float64)), torch.from_numpy(np.asarray(count, np.float64)))
        for name, (value, count) in made.items()
    }


guard(globals())
