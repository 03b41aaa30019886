"""Response and resolution of estimates of the jet pt, with bootstrap uncertainties, also of their ratios.

The response is the estimated over the true pt. Resolution is its interquartile range over its median. All estimates
have the same bootstrap replicas, in which jets of an event vary together: ratios and differences are more precise than
what they are made of.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jettagger.arguments import Numbers, guard, in_range
from jettagger.discriminants import Measured
from jettagger.display import Brief
from jettagger.errors import ConfigError, InvalidValues, UnknownName
from jettagger.jec.estimates import FLAVOURS, STANDARD, JetEstimates, of_flavour
from jettagger.statistics.bootstrap import BinnedQuantiles, event_replicas
from jettagger.types import Array, Bools, Floats, Ints

__all__ = [
    "DISTRIBUTION_PT",
    "ETA_EDGES",
    "PT_EDGES",
    "BinnedMeasure",
    "Performance",
    "ResponseHistogram",
    "measure_estimates",
]

#: bins of the true pt in GeV and of its |eta|
PT_EDGES: tuple[float, ...] = tuple(float(edge) for edge in np.geomspace(20.0, 3000.0, 20))
ETA_EDGES = (0.0, 2.5, 5.0)

#: bins of the true pt in GeV in which distributions of the response are shown
DISTRIBUTION_PT = ((30.0, 40.0), (100.0, 110.0), (1000.0, 1100.0))

#: bins of the response
RESPONSE_EDGES = np.linspace(0.5, 1.5, 101)

#: lowest true pt in GeV of the comparison of flavours
FLAVOUR_PT = 30.0

_QUARTILES = [0.25, 0.5, 0.75]

#: flavours whose distributions are shown, if they are among those measured
_SHOWN = ("uds", "b", "g")


@dataclass(frozen=True, eq=False)
class BinnedMeasure(Brief):
    """A number and its bootstrap uncertainty in each bin.

    Attributes
    ----------
    value, uncertainty : float64[...]
        One standard deviation; NaN in bins with too few jets.
    """

    value: Floats
    uncertainty: Floats

    def __getitem__(self, place: Any) -> Measured | BinnedMeasure:
        """One bin, or some of them.

        Parameters
        ----------
        place : index of NumPy

        Returns
        -------
        Measured or BinnedMeasure
        """
        value, uncertainty = self.value[place], self.uncertainty[place]
        return BinnedMeasure(value, uncertainty) if np.ndim(value) else Measured(float(value), float(uncertainty))


@dataclass(frozen=True, eq=False)
class ResponseHistogram(Brief):
    """The distribution of the response in one bin.

    Attributes
    ----------
    flavour : str
    pt, eta : (float, float)
        Range of the true pt in GeV and of its |eta|.
    jets : int
    edges : float64[bins + 1]
    contents, variances : mapping of str to float64[bins]
        Label of the estimate -> sums of weights and of squared weights; responses outside the edges are left out.
    """

    flavour: str
    pt: tuple[float, float]
    eta: tuple[float, float]
    jets: int
    edges: Floats
    contents: Mapping[str, Floats]
    variances: Mapping[str, Floats]


@dataclass(frozen=True, eq=False)
class Performance(Brief):
    """Measures of estimates of the jet pt; made by :func:`measure_estimates`.

    Attributes
    ----------
    labels : tuple of str
        The estimates.
    reference : str
        The estimate that others are compared with; empty for none.
    flavours : tuple of str
    pt_edges, eta_edges : float64[bins + 1]
        Bins of the true pt in GeV and of its |eta|.
    jets : mapping of str to int64[flavours, eta, pt]
        Number of jets with the estimate.
    median, resolution : mapping of str to BinnedMeasure, [flavours, eta, pt]
    ratio : mapping of str to BinnedMeasure, [flavours, eta, pt]
        Resolution over that of the reference, for jets with both.
    flavour_jets : mapping of str to int64[flavours, eta]
    flavour_median : mapping of str to BinnedMeasure, [flavours, eta]
        Median response above ``flavour_pt``.
    difference : mapping of str to BinnedMeasure, [flavours, eta]
        Median response minus that of light quarks (uds).
    coverage : mapping of str to mapping of str to BinnedMeasure, [eta, pt]
        Estimate with intervals -> variable of the bins (``pt_gen``, or ``pt``, the estimate itself) -> fraction of the
        jets whose interval contains the true pt.
    distributions : tuple of ResponseHistogram
    flavour_pt : float
        GeV.
    replicas, seed, min_jets : int
    left_out : mapping of str to int
        Reason -> number of jets.
    notes : tuple of str
    """

    labels: tuple[str, ...]
    reference: str
    flavours: tuple[str, ...]
    pt_edges: Floats
    eta_edges: Floats
    jets: Mapping[str, Ints]
    median: Mapping[str, BinnedMeasure]
    resolution: Mapping[str, BinnedMeasure]
    ratio: Mapping[str, BinnedMeasure]
    flavour_jets: Mapping[str, Ints]
    flavour_median: Mapping[str, BinnedMeasure]
    difference: Mapping[str, BinnedMeasure]
    coverage: Mapping[str, Mapping[str, BinnedMeasure]]
    distributions: tuple[ResponseHistogram, ...]
    flavour_pt: float
    replicas: int
    seed: int
    min_jets: int
    left_out: Mapping[str, int]
    notes: tuple[str, ...]

    def content(self) -> dict[str, Any]:
        """All numbers for JSON: one row per bin and estimate, None where there are too few jets."""
        return {
            "labels": list(self.labels),
            "reference": self.reference or None,
            "units": {"pt": "GeV"},
            "resolution": "interquartile range over median of the response",
            "replicas": self.replicas,
            "seed": self.seed,
            "min_jets": self.min_jets,
            "left_out": dict(self.left_out),
            "notes": list(self.notes),
            "summary": self._summary(),
            "flavours": self._flavours(),
            "coverage": self._coverage(),
            "distributions": [_histogram(item) for item in self.distributions],
        }

    def _summary(self) -> list[dict[str, Any]]:
        rows = []
        for place in np.ndindex(len(self.flavours), len(self.eta_edges) - 1, len(self.pt_edges) - 1):
            for label in self.labels:
                if self.jets[label][place]:
                    rows.append(
                        {
                            "flavour": self.flavours[place[0]],
                            **_range("eta", self.eta_edges, place[1]),
                            **_range("pt", self.pt_edges, place[2]),
                            "estimate": label,
                            "jets": int(self.jets[label][place]),
                            "median": _plain(self.median[label][place]),
                            "resolution": _plain(self.resolution[label][place]),
                            **({"ratio": _plain(self.ratio[label][place])} if label in self.ratio else {}),
                        }
                    )
        return rows

    def _flavours(self) -> list[dict[str, Any]]:
        return [
            {
                "flavour": self.flavours[place[0]],
                **_range("eta", self.eta_edges, place[1]),
                "pt": [self.flavour_pt, None],
                "estimate": label,
                "jets": int(self.flavour_jets[label][place]),
                "median": _plain(self.flavour_median[label][place]),
                **self._minus_uds(label, place),
            }
            for place in np.ndindex(len(self.flavours), len(self.eta_edges) - 1)
            for label in self.labels
            if self.flavour_jets[label][place]
        ]

    def _minus_uds(self, label: str, place: tuple[int, ...]) -> dict[str, Any]:
        if label not in self.difference or self.flavours[place[0]] == "uds":
            return {}
        return {"minus_uds": _plain(self.difference[label][place])}

    def _coverage(self) -> list[dict[str, Any]]:
        return [
            {
                "estimate": label,
                "variable": variable,
                **_range("eta", self.eta_edges, place[0]),
                **_range("pt", self.pt_edges, place[1]),
                "coverage": _plain(measure[place]),
            }
            for label, measures in self.coverage.items()
            for variable, measure in measures.items()
            for place in np.ndindex(measure.value.shape)
            if np.isfinite(measure.value[place])
        ]


def _histogram(item: ResponseHistogram) -> dict[str, Any]:
    return {
        "flavour": item.flavour,
        "eta": list(item.eta),
        "pt": list(item.pt),
        "jets": item.jets,
        "edges": [round(edge, 12) for edge in item.edges.tolist()],
        "contents": {label: contents.tolist() for label, contents in item.contents.items()},
        "variances": {label: variances.tolist() for label, variances in item.variances.items()},
    }


def _range(name: str, edges: Floats, number: int) -> dict[str, list[float]]:
    return {name: [float(edges[number]), float(edges[number + 1])]}


def _plain(number: Any) -> dict[str, float | None]:
    pair = {"value": number.value, "uncertainty": number.uncertainty}
    return {name: value if math.isfinite(value) else None for name, value in pair.items()}


def measure_estimates(
    jets: JetEstimates,
    *,
    pt_edges: Numbers = PT_EDGES,
    eta_edges: Numbers = ETA_EDGES,
    flavours: Sequence[str] = tuple(FLAVOURS),
    reference: str | None = None,
    distribution_pt: Sequence[tuple[float, float]] = DISTRIBUTION_PT,
    flavour_pt: float = FLAVOUR_PT,
    replicas: int = 100,
    seed: int = 1,
    min_jets: int = 10,
) -> Performance:
    """Median response and resolution of estimates in bins of the true pt and |eta|, by flavour.

    Parameters
    ----------
    jets : JetEstimates
    pt_edges, eta_edges : float[bins + 1]
        Rising bin edges of the true pt in GeV and of its |eta|.
    flavours : sequence of str
        Names in `FLAVOURS`.
    reference : str, optional
        Label of the estimate that others are compared with; default: Standard if there is one, else the first of
        several.
    distribution_pt : sequence of (float, float)
        Ranges of the true pt in GeV in which distributions of the response are filled.
    flavour_pt : float
        Lowest true pt in GeV of the comparison of flavours.
    replicas : int
        Number of bootstrap replicas, at least 2.
    seed : int
    min_jets : int
        Bins with fewer jets have no value: quartiles of a few jets say little.

    Returns
    -------
    Performance

    Raises
    ------
    ConfigError
        If edges do not rise, or numbers are out of range.
    UnknownName
        If a flavour or the reference does not exist.
    InvalidValues
        If there are no jets.

    Examples
    --------
    >>> from jettagger.jec import jet_estimates
    >>> rng = np.random.default_rng(1)
    >>> pt = np.full(1000, 60.0)
    >>> estimates = {"Standard": pt * rng.normal(1, 0.2, 1000), "mine": pt * rng.normal(1, 0.1, 1000)}
    >>> jets = jet_estimates(pt, np.zeros(1000), np.full(1000, 21), estimates)
    >>> found = measure_estimates(jets, pt_edges=[50, 100], eta_edges=[0, 2.5], flavours=["all"])
    >>> print(found.ratio["mine"][0, 0, 0])
    0.5193 ± 0.027
    """
    if not len(jets):
        raise InvalidValues("no jets with a generator jet to measure")
    in_range(replicas, "replicas", 2)
    in_range(min_jets, "min_jets", 1)
    edges = [_edges("pt_edges", pt_edges), _edges("eta_edges", eta_edges)]
    unknown = [name for name in flavours if name not in FLAVOURS]
    if unknown:
        raise UnknownName("flavour", unknown, FLAVOURS)
    labels = tuple(jets.estimates)
    if reference is not None and reference not in labels:
        raise UnknownName("estimate", reference, labels, "reference")
    if reference is None:
        reference = STANDARD if STANDARD in labels else labels[0] if len(labels) > 1 else ""
    made = _Measuring(jets, edges[0], edges[1], tuple(flavours), reference, flavour_pt, min_jets)
    draw = event_replicas(jets.event, seed)
    values = made.values(jets.weight)
    spread = _Spread()
    for number in range(replicas):
        spread.add(made.values(jets.weight * draw(number)))
    sigma = spread.deviations()
    measures = {
        key: BinnedMeasure(value, np.where(np.isnan(value), np.nan, sigma[key])) for key, value in values.items()
    }

    def of(kind: str) -> dict[str, BinnedMeasure]:
        return {key[1]: measure for key, measure in measures.items() if key[0] == kind}

    return Performance(
        labels=labels,
        reference=reference,
        flavours=tuple(flavours),
        pt_edges=edges[0],
        eta_edges=edges[1],
        jets=made.jets,
        median=of("median"),
        resolution=of("resolution"),
        ratio=of("ratio"),
        flavour_jets=made.flavour_jets,
        flavour_median=of("flavour"),
        difference=of("difference"),
        coverage={
            label: {variable: measures[f"coverage {variable}", label] for variable in ("pt_gen", "pt")}
            for label in jets.intervals
        },
        distributions=tuple(
            _distributions(jets, edges[1], distribution_pt, [name for name in _SHOWN if name in flavours] or flavours)
        ),
        flavour_pt=float(flavour_pt),
        replicas=int(replicas),
        seed=int(seed),
        min_jets=int(min_jets),
        left_out=dict(jets.left_out),
        notes=jets.notes,
    )


def _edges(name: str, given: Any) -> Floats:
    values = np.asarray(given, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2 or not (np.diff(values) > 0).all() or values[0] < 0:
        raise ConfigError(
            f"{name}: expected at least 2 rising bin edges from 0 up, got {np.array2string(values, threshold=8)}"
        )
    return values


def _bins(values: Floats, edges: Floats) -> Ints:
    """Bins, -1 outside; NaN is outside."""
    inside = (values >= edges[0]) & (values < edges[-1])
    return np.where(inside, np.searchsorted(edges, np.where(inside, values, edges[0]), side="right") - 1, -1)


class _Spread:
    """Standard deviation of replicas, without those in which a bin is empty."""

    def __init__(self) -> None:
        self._sums: dict[Any, list[Array]] = {}

    def add(self, values: Mapping[Any, Floats]) -> None:
        for key, value in values.items():
            self._sums.setdefault(key, []).append(value)

    def deviations(self) -> dict[Any, Floats]:
        return {key: _deviation(np.stack(values)) for key, values in self._sums.items()}


def _deviation(values: Floats) -> Floats:
    there = np.isfinite(values)
    number = there.sum(axis=0)
    filled = np.where(there, values, 0.0)
    mean = filled.sum(axis=0) / np.maximum(number, 1)
    squares = (np.where(there, values - mean, 0.0) ** 2).sum(axis=0)
    return np.where(number > 1, np.sqrt(squares / np.maximum(number - 1, 1)), np.nan)


class _Measuring:
    """All measures for one set of weights; what does not depend on the weights is done once."""

    def __init__(
        self,
        jets: JetEstimates,
        pt_edges: Floats,
        eta_edges: Floats,
        flavours: tuple[str, ...],
        reference: str,
        flavour_pt: float,
        min_jets: int,
    ) -> None:
        self.shape = (len(flavours), len(eta_edges) - 1, len(pt_edges) - 1)
        self._pt_edges, self._eta_edges, self._min_jets = pt_edges, eta_edges, min_jets
        self._uds = flavours.index("uds") if "uds" in flavours else -1
        self._eta = _bins(np.abs(jets.eta_gen), eta_edges)
        self._layers = self._bins_of(jets, flavours, flavour_pt)
        self._response = {
            label: np.where(np.isfinite(pt), pt / jets.pt_gen, 0.0) for label, pt in jets.estimates.items()
        }
        there = {label: np.isfinite(pt) for label, pt in jets.estimates.items()}
        self._samples: dict[str, BinnedQuantiles] = {}
        self._few: dict[str, Bools] = {}
        self.jets: dict[str, Ints] = {}
        self.flavour_jets: dict[str, Ints] = {}
        for label, valid in there.items():
            self._samples[label], counts = self._sorted(label, valid)
            self._few[label] = counts < min_jets
            self.jets[label], self.flavour_jets[label] = self._split(counts)
        #: estimate -> both samples of the jets that have it and the reference, and the bins with too few of them
        self._ratios: dict[str, tuple[BinnedQuantiles, BinnedQuantiles, Bools]] = {}
        for label in [label for label in there if reference and label != reference]:
            both = there[label] & there[reference]
            over, under = (
                self._samples[name] if (both == there[name]).all() else self._sorted(name, both)[0]
                for name in (label, reference)
            )
            self._ratios[label] = (over, under, self._sorted(label, both)[1] < min_jets)
        self._coverage = {
            (variable, label): self._intervals(jets, label, values)
            for label in jets.intervals
            for variable, values in (("pt_gen", jets.pt_gen), ("pt", jets.estimates[label]))
        }

    def _bins_of(self, jets: JetEstimates, flavours: tuple[str, ...], flavour_pt: float) -> Ints:
        """Bins of each flavour in |eta| and pt, and behind them those in |eta| above a pt; int64[layers, jets]."""
        _, rows, columns = self.shape
        pt = _bins(jets.pt_gen, self._pt_edges)
        cells = np.where((self._eta >= 0) & (pt >= 0), self._eta * columns + pt, -1)
        high = np.where(jets.pt_gen > flavour_pt, self._eta, -1)
        masks = [of_flavour(jets.flavour, name) for name in flavours]
        layers = [
            np.where(mask & (bins >= 0), start + number * size + bins, -1)
            for bins, size, start in ((cells, rows * columns, 0), (high, rows, math.prod(self.shape)))
            for number, mask in enumerate(masks)
        ]
        return np.stack(layers)

    @property
    def _size(self) -> int:
        return math.prod(self.shape) + math.prod(self.shape[:2])

    def _sorted(self, label: str, valid: Bools) -> tuple[BinnedQuantiles, Ints]:
        layers = np.where(valid, self._layers, -1)
        counts = np.bincount(layers[layers >= 0], minlength=self._size)
        return BinnedQuantiles(self._response[label], layers, self._size), counts

    def _split(self, values: Any) -> tuple[Any, Any]:
        """Of all bins those in pt, and those above a pt."""
        size = math.prod(self.shape)
        return values[:size].reshape(self.shape), values[size:].reshape(self.shape[:2])

    def _intervals(self, jets: JetEstimates, label: str, values: Floats) -> tuple[Ints, Floats]:
        """Bins of the jets with an interval, and whether it contains the true pt."""
        low, up = jets.intervals[label]
        pt = _bins(values, self._pt_edges)
        there = np.isfinite(low) & np.isfinite(up) & (self._eta >= 0) & (pt >= 0)
        inside = ((jets.pt_gen >= low) & (jets.pt_gen <= up)).astype(float)
        return np.where(there, self._eta * self.shape[2] + pt, -1), inside

    def values(self, weights: Floats) -> dict[tuple[str, str], Floats]:
        """All measures; NaN where there are too few jets."""
        found: dict[tuple[str, str], Floats] = {}
        kept: dict[int, tuple[Floats, Floats]] = {}

        def quartiles(sample: BinnedQuantiles) -> tuple[Floats, Floats]:
            """Median and resolution; those that serve several measures are computed once."""
            if id(sample) not in kept:
                low, median, high = sample.at(weights, _QUARTILES)
                with np.errstate(divide="ignore", invalid="ignore"):
                    kept[id(sample)] = (median, (high - low) / median)
            return kept[id(sample)]

        for label, sample in self._samples.items():
            median, resolution = (np.where(self._few[label], np.nan, item) for item in quartiles(sample))
            found["median", label], found["flavour", label] = self._split(median)
            found["resolution", label] = self._split(resolution)[0]
            if self._uds >= 0:
                found["difference", label] = found["flavour", label] - found["flavour", label][self._uds]
        for label, (over, under, few) in self._ratios.items():
            with np.errstate(divide="ignore", invalid="ignore"):
                ratio = np.where(few, np.nan, quartiles(over)[1] / quartiles(under)[1])
            found["ratio", label] = self._split(ratio)[0]
        for (variable, label), (bins, inside) in self._coverage.items():
            found[f"coverage {variable}", label] = self._covered(weights, bins, inside)
        return found

    def _covered(self, weights: Floats, bins: Ints, inside: Floats) -> Floats:
        size = math.prod(self.shape[1:])
        mask = bins >= 0
        counts = np.bincount(bins[mask], minlength=size)
        total = np.bincount(bins[mask], weights[mask], size)
        covered = np.bincount(bins[mask], (weights * inside)[mask], size)
        good = (counts >= self._min_jets) & (total > 0)
        return np.divide(covered, total, out=np.full(size, np.nan), where=good).reshape(self.shape[1:])


def _distributions(
    jets: JetEstimates, eta_edges: Floats, pt_ranges: Iterable[tuple[float, float]], flavours: Sequence[str]
) -> Iterable[ResponseHistogram]:
    eta = _bins(np.abs(jets.eta_gen), eta_edges)
    for low, high in pt_ranges:
        inside = (jets.pt_gen >= low) & (jets.pt_gen < high)
        for number in range(len(eta_edges) - 1):
            for flavour in flavours:
                mask = inside & (eta == number) & of_flavour(jets.flavour, flavour)
                if not mask.any():
                    continue
                contents, variances = {}, {}
                for label, pt in jets.estimates.items():
                    there = mask & np.isfinite(pt)
                    response, weights = pt[there] / jets.pt_gen[there], jets.weight[there]
                    contents[label] = np.histogram(response, RESPONSE_EDGES, weights=weights)[0]
                    variances[label] = np.histogram(response, RESPONSE_EDGES, weights=weights**2)[0]
                yield ResponseHistogram(
                    flavour,
                    (float(low), float(high)),
                    (float(eta_edges[number]), float(eta_edges[number + 1])),
                    int(np.count_nonzero(mask)),
                    RESPONSE_EDGES,
                    contents,
                    variances,
                )


guard(globals())
