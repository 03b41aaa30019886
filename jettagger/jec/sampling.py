"""Down-sampling of jets in true pt, absolute pseudorapidity and flavour, and the weights that undo it.

Simulated spectra fall steeply. A training set should rather be flat in ln(pt) at low pt and fall above, with chosen
shares of flavours. Jets are kept with a probability that depends on the generator jet and its flavour alone, not on
what was reconstructed, so that the distribution of the response in a bin of true pt does not change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field, model_validator

from jettagger.arguments import guard
from jettagger.config.models import Between, FileModel, Shown
from jettagger.display import Brief
from jettagger.errors import InvalidValues
from jettagger.jec.estimates import FLAVOURS, of_flavour
from jettagger.runtime.seeding import uniforms
from jettagger.types import Array, Floats, Ints

__all__ = ["CLASSES", "Acceptance", "JetSpectrum", "Sampling", "acceptance_of"]

#: classes of flavours; jets of unknown flavour are of the last one
CLASSES = (*(name for name, numbers in FLAVOURS.items() if numbers), "other")

#: what the random numbers of jets are for
_PURPOSE = "jec sampling"

Edge = Annotated[float, Between(0)]


def _pt_edges() -> list[float]:
    return [float(f"{edge:.4g}") for edge in np.geomspace(10, 5000, 28)]


class Sampling(FileModel, strict=False):
    """Shape of the spectrum of a training set."""

    keep: Annotated[float, Between(1e-9, 1)] = Field(
        default=0.5, description="fraction of all jets to keep, with the shape below as far as there are enough jets"
    )
    flat_below: Annotated[float, Between(1e-3)] = Field(
        default=200.0, description="true pt in GeV below which the spectrum is flat in ln(pt), or as `rise` says"
    )
    rise: Annotated[float, Between(0)] = Field(
        default=0.0,
        description="below flat_below, the number of jets in a bin of ln(pt) rises as pt ** rise; 1: flat in pt, which "
        "brings the median response in bins of true pt close to one where the relative resolution falls with pt",
    )
    power: Annotated[float, Between(0)] = Field(
        default=1.0,
        description="above `flat_below`, the number of jets in a bin of ln(pt) falls as pt to the power of minus this",
    )
    shares: Annotated[dict[str, Annotated[float, Between(0)]] | None, Shown("1 each")] = Field(
        default_factory=lambda: {"b": 1.0, "c": 1.0, "uds": 1.0, "g": 1.0},
        description="relative numbers of jets of `b`, `c`, `uds`, `g`, and `other`, those of unknown flavour, which "
        "keep their natural share without a number; `null` keeps all natural shares",
    )
    pt_edges: Annotated[list[Edge], Shown("27 bins from 10 to 5000")] = Field(
        default_factory=_pt_edges, description="bins in true pt, GeV"
    )
    abseta_edges: list[Edge] = Field(
        default_factory=lambda: [0.0, 1.3, 2.5, 3.0, 5.2], description="bins in absolute pseudorapidity"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Sampling:
        for name in ("pt_edges", "abseta_edges"):
            edges = getattr(self, name)
            if len(edges) < 2 or not np.all(np.diff(edges) > 0):
                raise ValueError(f"{name}: expected at least two increasing numbers, got {edges}")
        if self.shares is not None:
            unknown = [name for name in self.shares if name not in CLASSES]
            if unknown:
                raise ValueError(f"shares: unknown flavours {', '.join(unknown)}, expected {', '.join(CLASSES)}")
            if not sum(self.shares.values()) > 0:
                raise ValueError("shares: expected one above 0")
        return self


@dataclass(frozen=True)
class JetSpectrum(Brief):
    """Numbers of matched jets in bins of flavour, true pt and absolute pseudorapidity; spectra can be added.

    Parameters
    ----------
    sampling : Sampling
        With the bins.
    counts : int64[flavours, pt, abseta]
        In the order of `CLASSES`; with bins below and above the edges.
    """

    sampling: Sampling
    counts: Ints

    @classmethod
    def of(cls, sampling: Sampling, pt: Array, eta: Array, flavour: Array) -> JetSpectrum:
        """That of some jets.

        Parameters
        ----------
        sampling : Sampling
        pt, eta : float[jets]
            Of the generator jets; GeV.
        flavour : int[jets]
            As given by `jettagger.jec.flavour_of`.

        Returns
        -------
        JetSpectrum
        """
        shape = _shape(sampling)
        place = np.ravel_multi_index(_bins(sampling, pt, eta, flavour), shape)
        return cls(sampling, np.bincount(place, minlength=int(np.prod(shape))).reshape(shape))

    def __add__(self, other: JetSpectrum) -> JetSpectrum:
        return JetSpectrum(self.sampling, self.counts + other.counts)


@dataclass(frozen=True)
class Acceptance(Brief):
    """Probabilities with which jets are kept.

    Parameters
    ----------
    sampling : Sampling
        With the bins.
    probability : float64[flavours, pt, abseta]
        As for `JetSpectrum`.
    """

    sampling: Sampling
    probability: Floats

    def of(self, pt: Array, eta: Array, flavour: Array) -> Floats:
        """The probability of each jet, float64[jets]; arguments as for `JetSpectrum.of`."""
        found: Floats = self.probability[_bins(self.sampling, pt, eta, flavour)]
        return found

    def to_dict(self) -> dict[str, Any]:
        """Content for JSON: the settings, and the probability of each flavour in bins of pt and pseudorapidity."""
        named = dict(zip(CLASSES, self.probability.round(6).tolist(), strict=True))
        return {"settings": self.sampling.model_dump(), "probability": named}

    def keeps(self, probability: Floats, event: Array, jet: Array) -> Array:
        """Mask of jets that are kept, bool[jets]; it depends only on the numbers of the event and of the jet in it."""
        kept: Array = uniforms(event, jet, _PURPOSE) < probability
        return kept


def acceptance_of(spectrum: JetSpectrum) -> Acceptance:
    """The probabilities that give a spectrum the shape of its `Sampling`.

    Parameters
    ----------
    spectrum : JetSpectrum

    Returns
    -------
    Acceptance
        Bins with fewer jets than the shape has there keep all of them. Bins beyond the edges are kept like the nearest
        ones.

    Raises
    ------
    InvalidValues
        If there are no jets.

    Examples
    --------
    >>> sampling = Sampling(keep=0.5, shares=None, power=0, pt_edges=[10, 20, 40], abseta_edges=[0, 5])
    >>> pt = np.array([15.0] * 90 + [30.0] * 10)
    >>> kept = acceptance_of(JetSpectrum.of(sampling, pt, np.zeros(100), np.full(100, 21)))
    >>> kept.of(np.array([15.0, 30.0]), np.zeros(2), np.full(2, 21)).round(3).tolist()
    [0.444, 1.0]
    """
    sampling, counts = spectrum.sampling, spectrum.counts
    total = int(counts.sum())
    if not total:
        raise InvalidValues("a spectrum without matched jets cannot be given a shape")
    target = _target(spectrum)
    wanted = sampling.keep * int(counts[target > 0].sum())
    low, high = 0.0, float(np.max(counts[target > 0] / target[target > 0], initial=0.0))
    for _ in range(200):  # the expected number grows with the scale
        scale = (low + high) / 2
        below = np.minimum(counts, scale * target).sum() < wanted
        low, high = (scale, high) if below else (low, scale)
    probability = np.divide(high * target, counts, out=np.zeros(counts.shape), where=counts > 0)
    return Acceptance(sampling, np.minimum(probability, 1.0))


def _shape(sampling: Sampling) -> tuple[int, int, int]:
    return len(CLASSES), len(sampling.pt_edges) + 1, len(sampling.abseta_edges) + 1


def _bins(sampling: Sampling, pt: Array, eta: Array, flavour: Array) -> tuple[Ints, Ints, Ints]:
    kind = np.full(len(pt), len(CLASSES) - 1)
    for place, name in enumerate(CLASSES[:-1]):
        kind[of_flavour(flavour, name)] = place
    rows = np.searchsorted(np.asarray(sampling.pt_edges), pt, side="right")
    return kind, rows, np.searchsorted(np.asarray(sampling.abseta_edges), np.abs(eta), side="right")


def _target(spectrum: JetSpectrum) -> Floats:
    """The shape of the spectrum, in any unit; bins of pseudorapidity keep their shares of jets."""
    sampling, counts = spectrum.sampling, spectrum.counts
    edges = np.asarray(sampling.pt_edges)
    pt = np.concatenate([edges[:1], np.sqrt(np.maximum(edges[:-1], 1e-3) * edges[1:]), edges[-1:]])
    scaled = np.maximum(pt, 1e-3) / sampling.flat_below
    shape = scaled ** np.where(scaled < 1, sampling.rise, -sampling.power)
    shape[1:-1] *= np.diff(np.log(np.maximum(edges, 1e-3)))
    shape[[0, -1]] = shape[[1, -2]]
    # bins that the jets do not reach have no share
    reached = counts.sum(axis=0) > 0
    of_eta = counts.sum(axis=(0, 1)) / np.maximum((shape[:, None] * reached).sum(axis=0), 1e-300)
    grid = shape[:, None] * reached * of_eta
    natural = counts / np.maximum(counts.sum(axis=0), 1)
    if sampling.shares is None:
        return np.asarray(natural * grid)
    shares: Mapping[str, float] = sampling.shares
    given = np.array([shares.get(name, np.nan if name == "other" else 0.0) for name in CLASSES])
    rest = natural[-1] if np.isnan(given[-1]) else np.zeros_like(natural[-1])
    known = np.nan_to_num(given) / np.nansum(given)
    target: Any = known[:, None, None] * (1 - rest) * grid
    target[-1] += rest * grid
    target[counts == 0] = 0
    return np.asarray(target)


guard(globals())
