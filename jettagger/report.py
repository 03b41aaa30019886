"""Counts of jets in a tagging job."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
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
    "partial": "not scored: part of the jet is missing",
    "outside_domain": "not scored: outside of the domain of the model",
    "deselected_candidates": "candidates that the model's selection leaves out",
    "unordered": "objects without a value of the model's order",
    "outside_image": "constituents of scored jets outside of an image",
    "n_sign_ambiguous": "scored, with a track on the jet axis, whose rebuilt sign is in doubt",
    "n_other_pv": "scored, with a track whose impact parameters refer to another vertex",
    "dangling_links": "dangling links",
    "recovered_vertices": "vertices recovered",
    "replaced_values": "input values that were not finite",
    "retried": "reads that were tried again",
    "refused_runs": "runs that did not fit the GPU, made in parts",
    "requests": "requests to a server",
    "resent": "requests that were sent again",
    "runs_here": "runs on this machine instead of a server",
}
_JETS = [name for name, text in _COUNTS.items() if text.startswith(("scored", "not scored"))]


class PartialJetsWarning(UserWarning):
    """Jets are not scored because some of their constituents are missing."""


def warn_partial(count: int, jets: int, place: str, min_pt_share: float | None) -> None:
    """Warn that jets are not scored because some of their constituents are missing.

    Parameters
    ----------
    count, jets : int
        Number of such jets, and of all jets.
    place : str
        Position of the first of them.
    min_pt_share : float or None
        The option of this name.
    """
    if count:
        share = 80 if min_pt_share is None else 100 * min_pt_share
        why = f"their constituents carry less than {share:g} % of their pt, or their own pt or direction is not finite"
        if min_pt_share is None:
            why = f"some links are dangling, {why}"
        text = f"{count} of {jets} jets are not scored (None), because part of their constituents is missing"
        text = f"{text}: {why}; {place}"
        warnings.warn(f"{text}. min_pt_share sets the required share", PartialJetsWarning, stacklevel=4)


@dataclass(frozen=True)
class Report(Displayed):
    """Counts of a tagging job; reports can be added.

    Parameters
    ----------
    events, jets : int
        Number read.
    scored : int
        Jets that went through the network.
    not_selected : int
        Jets not selected by ``where``.
    absent : int
        Jets that are None in the input.
    without_constituents : int
        Jets without constituents, which are not scored.
    partial : int
        Jets that are not scored because some of their constituents are missing, or because their own transverse
        momentum is not positive or their direction not finite.
    outside_domain : int
        Jets that are not scored because they are outside the domain declared by the model, or fail the selection of its
        training.
    truncated : int
        Scored jets with more constituents than the network takes; the leading ones were used.
    deselected_candidates : int
        Candidates of linked jets that fail the selection of the model.
    unordered : int
        Objects of linked jets whose value in an ``order`` of the model is NaN: they are last, first, or left out, as
        the model declares.
    outside_image : int
        Constituents of scored jets outside of an image, which the network does not see.
    n_sign_ambiguous : int
        Scored jets with a track so close to the jet axis that the sign of its reconstructed impact parameter is
        ambiguous; counted for models with this input.
    n_other_pv : int
        Scored jets with a track whose stored impact parameters refer to a vertex other than that of the event; counted
        for models that reconstruct them.
    recovered_vertices : int
        Vertices that were used although the vertex table lacks them.
    dangling_links : int
        Links of jets to candidates or vertices that do not exist, and links of jets that do not exist.
    replaced_values : int
        Non-finite input values, which were replaced.
    nonfinite_jets : int
        Scored jets with a non-finite output.
    slots, filled : int
        Slots of the main input, and those filled with a constituent.
    seconds : float
        Wall time in the network.
    cached : int
        Scored jets with outputs from the score cache.
    retried : int
        Reads repeated after a transient error.
    refused_runs : int
        Runs of the network that a GPU refused, mostly for lack of memory, and that were repeated in parts.
    requests : int
        Batches sent to a server; ``seconds`` is the time spent waiting for them.
    resent : int
        How often such a request was repeated.
    runs_here : int
        Batches that ran on this machine because the server failed.
    servers : sequence of str
        Addresses of the servers that answered, with the version of the model if they report it.
    rounding : float
        Change of a probability due to a change in the last place of inputs or operations, 99 % quantile over jets, if
        the model's card gives a value above 1e-5; the maximum for several models.

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
    unordered: int = 0
    outside_image: int = 0
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
    requests: int = 0
    resent: int = 0
    runs_here: int = 0
    servers: Sequence[str] = ()
    rounding: float = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.servers, list):  # from JSON
            object.__setattr__(self, "servers", tuple(self.servers))

    def __add__(self, other: Report) -> Report:
        if not isinstance(other, Report):
            return NotImplemented
        total = {item.name: getattr(self, item.name) + getattr(other, item.name) for item in fields(self)}
        total["servers"] = tuple(dict.fromkeys(total["servers"]))
        return Report(**{**total, "rounding": max(self.rounding, other.rounding)})

    def __repr__(self) -> str:
        values = ((item.name, getattr(self, item.name)) for item in fields(self))
        shown = ((name, value if isinstance(value, tuple) else f"{value:.9g}") for name, value in values if value)
        return f"Report({', '.join(f'{name}={text}' for name, text in shown)})"

    def summary(self) -> ObjectSummary:
        """The counts that are not zero, for jets also as a fraction of all, for display."""
        rows = []
        for name, text in _COUNTS.items():
            count = getattr(self, name)
            if count or name in ("events", "jets", "scored"):
                share = f"{count / self.jets:.1%}" if name in _JETS and self.jets else ""
                rows.append((text, f"{count}", share))
        facts = [
            ("server", ", ".join(self.servers)),
            ("time in the network", f"{self.seconds:.3g} s" if self.seconds else ""),
            ("padding", f"{self.padding_waste:.1%} of the length positions" if self.slots else ""),
            (
                "rounding",
                f"a change in the last place moves probabilities by up to {self.rounding:.2g} (99 % of jets)"
                if self.rounding
                else "",
            ),
        ]
        return ObjectSummary("Report", facts, [Grid("Counts", ("what", "number", "of jets"), rows, numbers=2)])

    @property
    def padding_waste(self) -> float:
        """Fraction of slots filled with padding."""
        return 1 - self.filled / self.slots if self.slots else 0.0


def __dir__() -> list[str]:
    return sorted(__all__)
