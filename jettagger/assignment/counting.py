"""Counts of events in a job that assigns objects to particles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from jettagger.display import Displayed, Grid, ObjectSummary

__all__ = ["AssignmentReport", "CutObjectsWarning"]

_COUNTS = {
    "events": "events",
    "scored": "scored",
    "cached": "scored, found in the score cache",
    "nonfinite_outputs": "scored, with a regression or class score that is not finite",
    "without_objects": "not scored: no object",
    "nonfinite_inputs": "not scored: a feature is not finite, also as ln(x + 1)",
}


class CutObjectsWarning(UserWarning):
    """Events lose objects, because they have more than a network takes."""


@dataclass(frozen=True)
class AssignmentReport(Displayed):
    """Counts of events; reports can be added.

    Parameters
    ----------
    events : int
        Number read.
    scored : int
        Events that went through the network.
    cached : int
        Scored events whose result was in the score cache.
    without_objects : int
        Events without any object, which are not scored; those without a global input are.
    nonfinite_inputs : int
        Events with a feature that is not finite, which are not scored.
    nonfinite_outputs : int
        Scored events with a regression or class score that is not finite.
    unassigned : dict of str to int
        Particle -> scored events in which it is not assigned.
    cut : dict of str to int
        Input -> events that lose objects, because they have more than there are slots.
    seconds : float
        Wall time in the network.

    Examples
    --------
    >>> total = AssignmentReport(events=3, unassigned={"t": 1}) + AssignmentReport(events=1, unassigned={"t": 1})
    >>> total.events, total.unassigned
    (4, {'t': 2})
    """

    events: int = 0
    scored: int = 0
    cached: int = 0
    without_objects: int = 0
    nonfinite_inputs: int = 0
    nonfinite_outputs: int = 0
    unassigned: Mapping[str, int] = field(default_factory=dict)
    cut: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    def __add__(self, other: AssignmentReport) -> AssignmentReport:
        if not isinstance(other, AssignmentReport):
            return NotImplemented

        def added(one: Any, two: Any) -> Any:
            if not isinstance(one, Mapping):
                return one + two
            return {name: one.get(name, 0) + two.get(name, 0) for name in {**one, **two}}

        return AssignmentReport(
            **{item.name: added(getattr(self, item.name), getattr(other, item.name)) for item in fields(self)}
        )

    def to_dict(self) -> dict[str, Any]:
        """Content for JSON and for accumulators of coffea."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: dict(value) if isinstance(value, Mapping) else value for name, value in values.items()}

    def rows(self) -> list[tuple[str, str, str]]:
        """What is counted, number, and fraction of the events."""
        counts = [(text, getattr(self, name)) for name, text in _COUNTS.items()]
        counts += [(f"scored, {name} not assigned", count) for name, count in self.unassigned.items()]
        counts += [(f"more objects of {name} than slots: the last ones are cut", n) for name, n in self.cut.items()]
        return [
            (text, str(count), f"{count / self.events:.1%}" if self.events else "")
            for text, count in counts
            if count or text in ("events", "scored")
        ]

    def summary(self) -> ObjectSummary:
        """The counts that are not zero, for display."""
        facts = [("time in the network", f"{self.seconds:.3g} s" if self.seconds else "")]
        return ObjectSummary("AssignmentReport", facts, [Grid("Counts", ("what", "number", "share"), self.rows())])
