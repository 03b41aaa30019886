"""What happened to the jets of a tagging job."""

from __future__ import annotations

from dataclasses import dataclass, fields

__all__ = ["Report"]


@dataclass(frozen=True)
class Report:
    """Counts of a tagging job; reports add up.

    Parameters
    ----------
    events, jets : int
        Read.
    scored : int
        Jets that went through the network.
    not_selected : int
        Jets that ``where`` left out.
    absent : int
        Jets that were None already.
    without_constituents : int
        Jets that have none and were not scored.
    outside_domain : int
        Jets that were not scored because they fail the selection that the network was trained on.
    truncated : int
        Scored jets with more constituents than the network takes; the leading ones were used.
    recovered_vertices : int
        Vertices used although they are not in the table of vertices.
    dangling_links : int
        Links to candidates that do not exist; left out.
    replaced_values : int
        Input values that were not finite.
    nonfinite_jets : int
        Scored jets with an output that is not finite.
    slots, filled : int
        Length positions in the main input, and those that held a constituent.
    seconds : float
        Wall time in the network.
    cached : int
        Scored jets whose outputs were found in the score cache.

    Examples
    --------
    >>> (Report(jets=3, scored=2) + Report(jets=1, scored=1)).scored
    3
    """

    events: int = 0
    jets: int = 0
    scored: int = 0
    not_selected: int = 0
    absent: int = 0
    without_constituents: int = 0
    outside_domain: int = 0
    truncated: int = 0
    recovered_vertices: int = 0
    dangling_links: int = 0
    replaced_values: int = 0
    nonfinite_jets: int = 0
    slots: int = 0
    filled: int = 0
    seconds: float = 0.0
    cached: int = 0

    def __add__(self, other: Report) -> Report:
        if not isinstance(other, Report):
            return NotImplemented
        return Report(*(getattr(self, item.name) + getattr(other, item.name) for item in fields(self)))

    @property
    def padding_waste(self) -> float:
        """Share of the length positions that held padding."""
        return 1 - self.filled / self.slots if self.slots else 0.0
