"""What happened to the jets of a tagging job."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, fields

from jettagger.display import Displayed, Grid, ObjectSummary

__all__ = ["PartialJetsWarning", "Report", "warn_partial"]


_COUNTS = {
    "events": "events",
    "jets": "jets",
    "scored": "scored",
    "cached": "scored, found in the score cache",
    "truncated": "scored, leading constituents only",
    "nonfinite_jets": "scored, with an output that is not finite",
    "not_selected": "not scored: not selected",
    "absent": "not scored: None already",
    "without_constituents": "not scored: no constituents",
    "partial": "not scored: only a part of the jet is there",
    "outside_domain": "not scored: outside of the domain of the model",
    "deselected_candidates": "candidates that the model's selection leaves out",
    "n_sign_ambiguous": "scored, with a track on the jet axis, whose rebuilt sign is in doubt",
    "n_other_pv": "scored, with a track whose impact parameters refer to another vertex",
    "dangling_links": "dangling links",
    "recovered_vertices": "vertices recovered",
    "replaced_values": "input values that were not finite",
    "retried": "reads that were tried again",
    "refused_runs": "runs that did not fit the GPU, made in parts",
}
_JETS = [name for name, text in _COUNTS.items() if text.startswith(("scored", "not scored"))]


class PartialJetsWarning(UserWarning):
    """Jets are not scored, as only a part of their constituents is there."""


def warn_partial(count: int, jets: int, place: str, min_pt_share: float | None) -> None:
    """Say that jets are not scored because only a part of their constituents is there.

    Parameters
    ----------
    count, jets : int
        How many, and of how many.
    place : str
        Where the first of them is.
    min_pt_share : float or None
        What was asked for.
    """
    if count:
        share = 80 if min_pt_share is None else 100 * min_pt_share
        why = f"their constituents carry less than {share:g} % of their pt, or their own pt or direction is no number"
        if min_pt_share is None:
            why = f"links lead to nothing, {why}"
        text = f"{count} of {jets} jets are not scored (None), as only a part of them is there: {why}; {place}"
        warnings.warn(f"{text}. min_pt_share sets the share that is asked for", PartialJetsWarning, stacklevel=4)


@dataclass(frozen=True)
class Report(Displayed):
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
    partial : int
        Jets that were not scored because only a part of their constituents is there, or because their own transverse
        momentum is not positive or their direction not finite.
    outside_domain : int
        Jets that were not scored because they lie outside of the domain that the model declares, or fail the selection
        that it was trained on.
    truncated : int
        Scored jets with more constituents than the network takes; the leading ones were used.
    deselected_candidates : int
        Candidates of jets that were linked which the selection of the model leaves out.
    n_sign_ambiguous : int
        Scored jets with a track so near to the axis that the sign of its rebuilt impact parameter is in doubt; counted
        for models that take it.
    n_other_pv : int
        Scored jets with a track whose stored impact parameters refer to another vertex than that of the event; counted
        for models that take them rebuilt.
    recovered_vertices : int
        Vertices used although they are not in the table of vertices.
    dangling_links : int
        Links of jets to candidates or vertices that do not exist, and links of jets that do not exist.
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
    retried : int
        Reads that failed for a moment and were tried again.
    refused_runs : int
        Runs of the network that a GPU refused, for memory as a rule, and that were made in parts.

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
    partial: int = 0
    outside_domain: int = 0
    truncated: int = 0
    deselected_candidates: int = 0
    n_sign_ambiguous: int = 0
    n_other_pv: int = 0
    recovered_vertices: int = 0
    dangling_links: int = 0
    replaced_values: int = 0
    nonfinite_jets: int = 0
    slots: int = 0
    filled: int = 0
    seconds: float = 0.0
    cached: int = 0
    retried: int = 0
    refused_runs: int = 0

    def __add__(self, other: Report) -> Report:
        if not isinstance(other, Report):
            return NotImplemented
        return Report(*(getattr(self, item.name) + getattr(other, item.name) for item in fields(self)))

    def __repr__(self) -> str:
        values = ((item.name, getattr(self, item.name)) for item in fields(self))
        return f"Report({', '.join(f'{name}={value:.9g}' for name, value in values if value)})"

    def summary(self) -> ObjectSummary:
        """The counts that are not zero, those of jets also as a share of all, as notebooks and rich show them."""
        rows = []
        for name, text in _COUNTS.items():
            count = getattr(self, name)
            if count or name in ("events", "jets", "scored"):
                share = f"{count / self.jets:.1%}" if name in _JETS and self.jets else ""
                rows.append((text, f"{count}", share))
        facts = [
            ("time in the network", f"{self.seconds:.3g} s" if self.seconds else ""),
            ("padding", f"{self.padding_waste:.1%} of the length positions" if self.slots else ""),
        ]
        return ObjectSummary("Report", facts, [Grid("Counts", ("what", "number", "of jets"), rows, numbers=2)])

    @property
    def padding_waste(self) -> float:
        """Share of the length positions that held padding."""
        return 1 - self.filled / self.slots if self.slots else 0.0
