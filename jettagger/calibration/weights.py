"""Event weights from scale factors and efficiencies: simulation gets the numbers of tagged jets of data.

For jets between the thresholds k and k + 1 of nested working points the factor is
``(SF_k e_k - SF_(k+1) e_(k+1)) / (e_k - e_(k+1))``, with ``SF e = 1`` below the first and 0 above the last. With one
working point this is SF for tagged jets and ``(1 - SF e) / (1 - e)`` for the others. With factors of bands it is the
factor of the band, and below the first ``(1 - sum SF_b f_b) / (1 - sum f_b)`` with the fractions f of the bands in the
sample. The mean of the factor over the jets of a bin is 1 in each case: numbers of jets stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.calibration.efficiencymap import EfficiencyMap
from jettagger.calibration.layouts import ALL_JETS
from jettagger.calibration.scalefactors import ScaleFactors
from jettagger.display import Brief
from jettagger.errors import ConfigError, MismatchError, UnknownName
from jettagger.provenance import origin
from jettagger.types import Bools, Floats, Ints

__all__ = ["EventTagWeights", "JetFactors", "TagCount", "TagWeights", "band_factors"]


@dataclass(frozen=True)
class TagCount(Brief):
    """How many jets scale factors were applied to, and how many of them are special.

    Attributes
    ----------
    jets : int
        All jets.
    without_score : int
        Without a score; they get no factor, and events are weighted by their other jets.
    without_columns : int
        With a score, but without a pt, eta or mass; likewise.
    without_factor : dict of str to int
        Jets in categories that have no scale factors; they get 1.
    outside : int
        Outside of the bins of the scale factors or efficiencies; they get what the files say.
    undefined : int
        In a band in which the efficiencies say that no jet is, such as failing jets at an efficiency of 1; they get 1.
    limited : int
        Jets where the efficiency in data would be above 1, or above that of a looser working point, for the nominal
        factors; the efficiency is limited.
    """

    jets: int = 0
    without_score: int = 0
    without_columns: int = 0
    without_factor: Mapping[str, int] = field(default_factory=dict)
    outside: int = 0
    undefined: int = 0
    limited: int = 0

    def __add__(self, other: TagCount) -> TagCount:
        return TagCount.of(self.to_dict(), other.to_dict())

    def to_dict(self) -> dict[str, int]:
        """Numbers alone, which can be added; jets without a factor by category as ``without_factor:<category>``."""
        made = {item.name: int(getattr(self, item.name)) for item in fields(self) if item.name != "without_factor"}
        return made | {f"without_factor:{name}": int(number) for name, number in self.without_factor.items()}

    @classmethod
    def of(cls, *records: Mapping[str, int]) -> TagCount:
        """The sum of results of `to_dict`.

        Parameters
        ----------
        *records : mapping of str to int

        Returns
        -------
        TagCount
        """
        numbers: dict[str, int] = {}
        for record in records:
            for name, number in record.items():
                numbers[name] = numbers.get(name, 0) + int(number)
        start = "without_factor:"
        lacking = {name.removeprefix(start): n for name, n in numbers.items() if name.startswith(start)}
        rest = {name: number for name, number in numbers.items() if not name.startswith(start)}
        return cls(**rest, without_factor=lacking)

    def __str__(self) -> str:
        words = {
            "without_score": "without a score",
            "without_columns": "without a column",
            "outside": "outside of the bins",
            "undefined": "where the efficiencies allow no jet",
            "limited": "with an efficiency limited to what is possible",
        }
        parts = [f"{self.jets} jets"]
        parts += [f"{number} {text}" for name, text in words.items() if (number := getattr(self, name))]
        parts += [f"{number} of {name!r}, without scale factors" for name, number in self.without_factor.items()]
        return ", ".join(parts)


@dataclass(frozen=True, eq=False)
class JetFactors(Brief):
    """Factors of jets.

    Attributes
    ----------
    nominal : float64[jets]
        NaN for jets without a score or a column.
    shifts : dict of str to (float64[jets], float64[jets])
        Source -> up and down.
    count : TagCount
    """

    nominal: Floats
    shifts: Mapping[str, tuple[Floats, Floats]]
    count: TagCount


@dataclass(frozen=True, eq=False)
class EventTagWeights(Brief):
    """Weights of events.

    Attributes
    ----------
    nominal : float64[events]
        Products of the factors of the jets; 1 for events without any.
    shifts : dict of str to (float64[events], float64[events])
        Source -> up and down.
    count : TagCount
    """

    nominal: Floats
    shifts: Mapping[str, tuple[Floats, Floats]]
    count: TagCount

    def add_to(self, weights: Any, name: str) -> None:
        """Add them to weights of coffea, with the variations ``<name>_<source>Up`` and ``Down``.

        Parameters
        ----------
        weights : coffea.analysis_tools.Weights
        name : str
        """
        if not self.shifts:
            weights.add(name, self.nominal.copy())
            return
        ups, downs = ([side[i].copy() for side in self.shifts.values()] for i in (0, 1))
        weights.add_multivariation(name, self.nominal.copy(), list(self.shifts), ups, downs)


class TagWeights(Brief):
    """Weights of jets and events from scale factors, for one working point, several, or bands.

    Parameters
    ----------
    factors : ScaleFactors
    efficiencies : EfficiencyMap
        With the working points and categories of the scale factors. The bins may differ.
    points : sequence of str, optional
        Working points that are cut on; default: all. Bands are used together.
    thresholds : mapping of str to float, optional
        For files without thresholds: working point -> threshold.
    sources : sequence of str, optional
        Sources of uncertainty; ``total``: all together. Default: each single one.
    categories : mapping of str to str, optional
        Category of the scale factors -> that of the efficiencies; default: the same names.

    Attributes
    ----------
    points : tuple of str
        The loosest first.
    thresholds : float64[points]
    sources : tuple of str
    columns : tuple of str
        Columns of the jets that are needed.

    Raises
    ------
    UnknownName
        If a working point, source or category does not exist.
    ConfigError
        If thresholds are missing, or only some of the bands are chosen.
    MismatchError
        If scale factors and efficiencies belong to different thresholds or models.
    """

    def __init__(
        self,
        factors: ScaleFactors,
        efficiencies: EfficiencyMap,
        *,
        points: Sequence[str] | None = None,
        thresholds: Mapping[str, float] | None = None,
        sources: Sequence[str] | None = None,
        categories: Mapping[str, str] | None = None,
    ) -> None:
        self.factors, self.efficiencies = factors, efficiencies
        wanted = list(factors.points if points is None else points)
        unknown = [point for point in wanted if point not in factors.points]
        if unknown or not wanted:
            raise UnknownName("working point", unknown, factors.points, f"scale factors {factors.name!r}")
        if factors.kind == "bands" and set(wanted) != set(factors.points):
            raise ConfigError(
                f"scale factors {factors.name!r} are of bands, which are used together: got {', '.join(wanted)}, "
                f"expected {', '.join(factors.points)}"
            )
        lacking = [point for point in wanted if point not in efficiencies.points]
        if lacking:
            raise UnknownName("working point", lacking, efficiencies.points, f"efficiencies {efficiencies.name!r}")
        cuts = self._thresholds(wanted, thresholds or {})
        self.points = tuple(sorted(wanted, key=lambda point: cuts[point]))
        self.thresholds: Floats = np.array([cuts[point] for point in self.points])
        if (np.diff(self.thresholds) <= 0).any():
            raise ConfigError(f"working points {', '.join(self.points)} have equal thresholds: {self.thresholds}")
        self.sources = tuple(factors.source_names if sources is None else sources)
        absent = [source for source in self.sources if source not in factors.layout.sources]
        if absent:
            raise UnknownName("source", absent, factors.layout.sources, f"scale factors {factors.name!r}")
        names = dict(categories or {})
        absent = [category for category in names if category not in factors.categories]
        if absent:
            raise UnknownName("category", absent, factors.categories, f"scale factors {factors.name!r}")
        self._in_map = {category: names.get(category, category) for category in factors.categories}
        if factors.origin is not None and efficiencies.origin is not None:
            factors.origin.check(efficiencies.origin, f"scale factors {factors.name!r}")
        self.columns = tuple(dict.fromkeys([*factors.columns.values(), *efficiencies.columns.values()]))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TagWeights) and self._content() == other._content()

    __hash__ = None  # type: ignore[assignment]

    def _content(self) -> tuple[Any, ...]:
        cuts = self.thresholds.tolist()
        return (self.factors, self.efficiencies, self.points, cuts, self.sources, self._in_map)

    def check_origin(self, source: Any) -> None:
        """Refuse scores of another model than those of the scale factors and efficiencies, where both are known.

        Parameters
        ----------
        source : skim, provenance, Tagger, Bundle, Origin or None

        Raises
        ------
        MismatchError
        """
        self.factors.check_origin(source)
        theirs = None if source is None else origin(source)
        if self.efficiencies.origin is not None and theirs is not None:
            self.efficiencies.origin.check(theirs, f"efficiencies {self.efficiencies.name!r}")

    def _thresholds(self, wanted: Sequence[str], given: Mapping[str, float]) -> dict[str, float]:
        own = dict(zip(self.factors.points, self.factors.thresholds or (), strict=False))
        theirs = dict(zip(self.efficiencies.points, self.efficiencies.thresholds, strict=True))
        made = {}
        for point in wanted:
            named = given.get(point, own.get(point))
            if named is None:
                raise ConfigError(
                    f"scale factors {self.factors.name!r}: the file has no threshold of the working point {point!r}: "
                    f"give thresholds={{{point!r}: ...}}"
                )
            made[point] = float(named)
            if not np.isclose(made[point], theirs[point], rtol=1e-6, atol=1e-9):
                raise MismatchError(
                    f"working point {point!r}: the scale factors {self.factors.name!r} are for the threshold "
                    f"{made[point]:g}, the efficiencies {self.efficiencies.name!r} for {theirs[point]:g}"
                )
        return made

    def jet_factors(
        self,
        scores: Any,
        columns: Mapping[str, Any],
        categories: Any = None,
        sample: str = "",
    ) -> JetFactors:
        """Factors of flat jets.

        Parameters
        ----------
        scores : float array
            The discriminant; NaN for jets without a score.
        columns : mapping of str to float array
            Those of `columns`.
        categories : array of str or int, or str, optional
            Of each jet, or of all; integers are flavors. Not needed if the scale factors have one category only.
        sample : str
            Of the efficiencies.

        Returns
        -------
        JetFactors

        Raises
        ------
        UnknownName
            If a column is missing, the efficiencies lack a category of the jets, or the sample.
        ConfigError
            If the categories are needed and not given.
        MismatchError
            If the arrays have different lengths.
        InvalidValues
            If the file of the scale factors refuses jets outside of its bins.
        """
        numbers = np.ma.filled(np.ma.asarray(scores, dtype=np.float64), np.nan)
        missing = [name for name in self.columns if name not in columns]
        if missing:
            raise UnknownName("column", missing, columns, f"the columns for scale factors {self.factors.name!r}")
        flat = {name: np.ma.filled(np.ma.asarray(columns[name], dtype=np.float64), np.nan) for name in self.columns}
        names = self._categories(categories, len(numbers))
        lengths = {"scores": len(numbers), "categories": len(names), **{key: len(item) for key, item in flat.items()}}
        if len(set(lengths.values())) > 1:
            raise MismatchError(", ".join(f"{number} {name}" for name, number in lengths.items()))
        scored = ~np.isnan(numbers)
        complete = scored & np.logical_and.reduce([np.isfinite(item) for item in flat.values()])
        nominal = np.where(complete, 1.0, np.nan)
        shifts = {source: (nominal.copy(), nominal.copy()) for source in self.sources}
        outside = np.zeros(len(numbers), dtype=bool)
        undefined = limited = 0
        lacking: dict[str, int] = {}
        for category in map(str, np.unique(names[complete])):
            chosen = np.flatnonzero(complete & (names == category))
            if category not in self.factors.categories:
                lacking[category] = len(chosen)
                continue
            own = {name: item[chosen] for name, item in flat.items()}
            outside[chosen] = self.factors.is_outside(own) | self.efficiencies.is_outside(own)
            band = np.searchsorted(self.thresholds, numbers[chosen], side="right")
            alone, of_jet = self._cells(band, own)
            band, own = band[alone], {name: item[alone] for name, item in own.items()}
            inside = [self.efficiencies.evaluate(sample, self._in_map[category], point, own) for point in self.points]
            made, empty, cut = self._factors(category, band, inside, own, "", 0)
            nominal[chosen] = made[of_jet]
            undefined += int(np.count_nonzero(empty[of_jet]))
            limited += int(np.count_nonzero(cut[of_jet]))
            for source, sides in shifts.items():
                for side, direction in zip(sides, (1, -1), strict=True):
                    side[chosen] = self._factors(category, band, inside, own, source, direction)[0][of_jet]
        count = TagCount(
            jets=len(numbers),
            without_score=int(np.count_nonzero(~scored)),
            without_columns=int(np.count_nonzero(scored & ~complete)),
            without_factor=lacking,
            outside=int(np.count_nonzero(outside)),
            undefined=undefined,
            limited=limited,
        )
        return JetFactors(nominal, shifts, count)

    def _cells(self, band: Ints, columns: Mapping[str, Any]) -> tuple[Ints, Ints]:
        """Jets with different factors, and for each jet the one of these that has its factor.

        Files of others need not have bins: each jet is then one of its own.
        """
        if self.factors.axes is None:
            every = np.arange(len(band))
            return every, every
        code = band.astype(np.int64)
        for axis in (*self.factors.axes, *self.efficiencies.axes):
            code = code * (axis.size + 2) + np.searchsorted(axis.edges, axis.numbers(columns), side="right")
        _, first, of_jet = np.unique(code, return_index=True, return_inverse=True)
        return first, of_jet.reshape(-1)

    def _factors(
        self,
        category: str,
        band: Ints,
        efficiencies: Sequence[Floats],
        columns: Mapping[str, Any],
        source: str,
        direction: int,
    ) -> tuple[Floats, Bools, Bools]:
        """Factors of jets of one category, and which are undefined and limited."""
        own = [self.factors.evaluate(point, category, columns, source, direction) for point in self.points]
        return band_factors(band, np.stack(efficiencies), np.stack(own), self.factors.kind)

    def _categories(self, given: Any, size: int) -> Any:
        """The category of each jet as text."""
        known = self.factors.categories
        if given is None:
            if len(known) > 1:
                raise ConfigError(
                    f"scale factors {self.factors.name!r} depend on the category ({', '.join(known)}): give categories="
                )
            given = known[0]
        if isinstance(given, str):
            return np.full(size, given)
        if known == (ALL_JETS,) and self._in_map == {ALL_JETS: ALL_JETS}:
            return np.full(size, ALL_JETS)
        array = np.asarray(given)
        if array.dtype.kind == "f":
            array = np.where(np.isfinite(array), array, -1).astype(np.int64)
        return array.astype(str)

    def event_weights(
        self,
        scores: Any,
        columns: Mapping[str, Any],
        categories: Any = None,
        sample: str = "",
    ) -> EventTagWeights:
        """Weights of events: products of the factors of their jets.

        Parameters
        ----------
        scores : jagged array
            The discriminant of the jets of each event; None for jets without a score.
        columns : mapping of str to jagged array
            Those of `columns`.
        categories : jagged array of str or int, or str, optional
            As for `jet_factors`.
        sample : str
            Of the efficiencies.

        Returns
        -------
        EventTagWeights

        Raises
        ------
        MismatchError
            If the arrays have different numbers of jets.
        UnknownName, ConfigError, InvalidValues
            As for `jet_factors`.
        """
        import awkward as ak

        jets = ak.Array(scores)
        counts = ak.to_numpy(ak.num(jets, axis=1))
        event = np.repeat(np.arange(len(counts)), counts)
        missing = [name for name in self.columns if name not in columns]
        if missing:
            raise UnknownName("column", missing, columns, f"the columns for scale factors {self.factors.name!r}")
        given = {name: ak.Array(columns[name]) for name in self.columns}
        if categories is not None and not isinstance(categories, str):
            given[""] = ak.Array(categories)
        for name, array in given.items():
            if len(array) != len(counts) or not np.array_equal(ak.to_numpy(ak.num(array, axis=1)), counts):
                raise MismatchError(f"{name or 'categories'}: not as many jets in each event as scores")

        def flat(array: Any) -> Any:
            return ak.to_numpy(ak.fill_none(ak.ravel(array), np.nan)).astype(np.float64)

        names: Any = categories
        if "" in given:
            each = ak.flatten(given.pop(""), axis=1)
            is_text = "string" in str(each.type)
            names = ak.to_numpy(ak.fill_none(each, "none" if is_text else -1))
        made = self.jet_factors(flat(jets), {name: flat(array) for name, array in given.items()}, names, sample)

        def product(factors: Floats) -> Floats:
            result = np.ones(len(counts))
            np.multiply.at(result, event, np.where(np.isnan(factors), 1.0, factors))
            return result

        shifts = {source: (product(up), product(down)) for source, (up, down) in made.shifts.items()}
        return EventTagWeights(product(made.nominal), shifts, made.count)


def band_factors(band: Ints, efficiencies: Floats, factors: Floats, kind: str) -> tuple[Floats, Bools, Bools]:
    """Factors of jets from those of working points or bands.

    Parameters
    ----------
    band : int64[jets]
        Number of thresholds that the score reaches.
    efficiencies : float64[points, jets]
        In simulation, the loosest first.
    factors : float64[points, jets]
    kind : {"points", "bands"}

    Returns
    -------
    factors : float64[jets]
    undefined : bool[jets]
        Jets in bands without jets in simulation, which get 1.
    limited : bool[jets]
        Jets for which an efficiency in data was limited to 1, or to that of the looser working point.

    Examples
    --------
    >>> made, *_ = band_factors(np.array([0, 1]), np.full((1, 2), 0.2), np.full((1, 2), 0.9), "points")
    >>> made.round(4).tolist()
    [1.025, 0.9]
    """
    points, jets = efficiencies.shape
    every = np.arange(jets)
    bounds = np.concatenate([np.ones((1, jets)), efficiencies, np.zeros((1, jets))])
    fractions = bounds[:-1] - bounds[1:]  # of jets in each band in simulation
    if kind == "bands":
        total = (factors * fractions[1:]).sum(axis=0)
        scale = np.where(total > 1, 1 / np.maximum(total, 1), 1.0)
        cut = total > 1
        own = factors * scale
        data = np.concatenate([(1 - total * scale)[None], own * fractions[1:]])
    else:
        wanted = factors * efficiencies
        reached = np.minimum.accumulate(np.clip(np.concatenate([np.ones((1, jets)), wanted]), 0.0, 1.0), axis=0)
        cut = (reached[1:] != wanted).any(axis=0)
        own = factors
        data = reached - np.concatenate([reached[1:], np.zeros((1, jets))])
    mine, target = fractions[band, every], data[band, every]
    with np.errstate(divide="ignore", invalid="ignore"):
        made = np.where(mine > 0, target / mine, 1.0)
    undefined = ~(mine > 0)
    # the factor itself where no limit applies: also for an efficiency of 0, which is no division
    plain = ~cut & ((band == points) if kind == "points" else (band > 0))
    made = np.where(plain, own[np.maximum(band - 1, 0), every], made)
    return made, undefined & ~plain, cut


guard(globals())
