"""Jet candidates of a search and derived quantities, combined with the columns of the events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
from vector.backends.awkward import behavior

from jettagger.arguments import guard
from jettagger.display import Brief

__all__ = ["CandidateColumns", "dijet"]

_DIRECTION = (("pt", "pt"), ("eta", "eta"), ("phi", "phi"))


def dijet(first: Any, second: Any, mass: str = "mass") -> dict[str, Any]:
    """The system of two jets.

    Parameters
    ----------
    first, second : record arrays
        With ``pt`` (GeV), ``eta``, ``phi`` and the column ``mass`` (GeV); None stays None.
    mass : str
        The column to use as the mass of each jet.

    Returns
    -------
    dict of str to float64 array
        ``mjj``, ``ptjj`` (GeV), ``deta`` (first minus second), ``dphi`` (in -pi to pi) and ``dr``.

    Examples
    --------
    >>> jet = {"pt": [100.0], "eta": [0.0], "mass": [0.0]}
    >>> one, other = (ak.Array({**jet, "phi": [phi]}) for phi in (0.0, 3.141592653589793))
    >>> dijet(one, other)["mjj"].tolist()
    [200.0]
    """
    one, other = (
        ak.zip(
            {name: ak.values_astype(jet[source], np.float64) for name, source in (*_DIRECTION, ("mass", mass))},
            with_name="Momentum4D",
            behavior=behavior,
        )
        for jet in (first, second)
    )
    both = one + other
    return {
        # rounding may leave massless parallel jets with a small negative square, which vector gives a sign
        "mjj": np.maximum(both.mass, 0.0),
        "ptjj": both.pt,
        "deta": one.deltaeta(other),
        "dphi": one.deltaphi(other),
        "dr": one.deltaR(other),
    }


@dataclass(frozen=True)
class CandidateColumns(Brief, Mapping[str, Any]):
    """Candidates and derived quantities, which take precedence over the columns of the events."""

    own: Mapping[str, Any]
    events: Any

    def __getitem__(self, name: str) -> Any:
        return self.own[name] if name in self.own else self.events[name]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self.own, *self.events.fields]))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def find(self, name: str) -> Any:
        """A column by its dotted name."""
        found: Any = self
        for part in name.split("."):
            found = found[part]
        return found


guard(globals(), "dijet")
