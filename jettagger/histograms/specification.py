"""The definition of a histogram: variables, categories, and filling."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.config.sizes import parse_size, size_text
from jettagger.config.yamlfile import check_keys
from jettagger.display import Brief
from jettagger.errors import ConfigError, InvalidValues, MismatchError, UnknownName, WrongType, reason_of
from jettagger.histograms.axes import AxisSpec
from jettagger.weights import broadcast, check_weights

__all__ = ["CATEGORIES", "MAX_BYTES", "HistSpec"]

#: default category axes of a histogram
CATEGORIES = ("dataset", "region", "variation")

#: default maximum size of a histogram with all categories, in bytes
MAX_BYTES = 1_000_000_000

#: bytes per bin: sum of weights and of their squares, in double precision
_BIN_BYTES = 16

#: minimum number of combinations of sample, region and variation assumed for the size of a histogram
_COMBINATIONS = 10


@dataclass(frozen=True)
class HistSpec(Brief):
    """A histogram of one or several variables, in categories.

    Parameters
    ----------
    name : str
        Its name.
    axes : sequence of AxisSpec
        Its variables.
    label : str
        What is counted, for the axis label of plots.
    categories : sequence of str
        The names of its category axes.
    max_bytes : int
        Maximum size in bytes with all categories, see `require_room`.

    Raises
    ------
    ConfigError
        If it has no axis, two of the same name, or more bins than the maximum size allows.

    Examples
    --------
    >>> spec = HistSpec("mass", [AxisSpec("mass", bins=(2, 0, 200), unit="GeV")], categories=["dataset"])
    >>> h = spec.make()
    >>> masses = np.array([50.0, 150.0, np.nan])
    >>> spec.fill(h, {"mass": masses}, weight=np.array([1.0, 2.0, 1.0]), dataset="tt")
    1
    >>> h["tt", :].values()
    array([1., 2.])
    """

    name: str
    axes: Sequence[AxisSpec]
    label: str = "jets"
    categories: Sequence[str] = field(default=CATEGORIES)
    max_bytes: int = MAX_BYTES

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", tuple(self.axes))
        object.__setattr__(self, "categories", tuple(self.categories))
        names = [*self.categories, *(axis.name for axis in self.axes)]
        if not self.axes:
            raise ConfigError(f"histogram {self.name!r} has no axis")
        if len(set(names)) < len(names):
            raise ConfigError(f"histogram {self.name!r} has two axes of the same name: {', '.join(names)}")
        self.require_room(1)

    @property
    def n_bins(self) -> int:
        """Number of bins for one combination of categories, including underflow and overflow."""
        return math.prod(axis.n_bins + 2 for axis in self.axes)

    def require_room(self, combinations: int) -> None:
        """Refuse a histogram that exceeds its maximum size in memory.

        Parameters
        ----------
        combinations : int
            Number of combinations of categories: samples times regions times variations. At least ten are assumed.

        Raises
        ------
        ConfigError
            Gives the required size in bytes.

        Examples
        --------
        >>> HistSpec("mass", [AxisSpec("mass", bins=(40, 50, 250))]).require_room(1000)
        >>> HistSpec("mass", [AxisSpec("mass", bins=(40, 50, 250))], max_bytes=500_000).require_room(1000)
        Traceback (most recent call last):
            ...
        jettagger.errors.ConfigError: histogram 'mass' would take 672 kB: 42 bins (16 bytes each, those below and ...
        """
        asked = max(combinations, _COMBINATIONS)
        size = self.n_bins * _BIN_BYTES * asked
        if size > self.max_bytes:
            shown = f"{self.n_bins}" if self.n_bins < 10**20 else "more than 1e20"
            kinds = " and ".join(filter(None, [", ".join(self.categories[:-1]), *self.categories[-1:]])) or "nothing"
            raise ConfigError(
                f"histogram {self.name!r} would take {size_text(min(size, 1e30))}: {shown} bins ({_BIN_BYTES} bytes "
                f"each, those below and above the axes included) times {asked} combinations of {kinds}; at most "
                f"{size_text(self.max_bytes)}. Take fewer bins, or set max_size (max_bytes=) for it"
            )

    @property
    def needs(self) -> tuple[str, ...]:
        """The columns that it is filled from."""
        return tuple(dict.fromkeys(name for axis in self.axes for name in axis.parsed.names))

    def make(self) -> Any:
        """An empty histogram.

        Returns
        -------
        hist.Hist
            With weighted storage and growing categories.
        """
        import hist

        grow = [hist.axis.StrCategory([], growth=True, name=name, label=name) for name in self.categories]
        axes = [axis.make() for axis in self.axes]
        return hist.Hist(*grow, *axes, storage=hist.storage.Weight(), name=self.name, label=self.label)

    def fill(self, histogram: Any, values: Any, weight: Any = None, *, events: Any = None, **categories: str) -> int:
        """Fill the histogram from columns.

        Parameters
        ----------
        histogram : hist.Hist
            Made by :meth:`make`; modified in place.
        values : mapping, or awkward record array
            Columns of the axes' expressions, one value per jet or event, in any nesting.
        weight : array or float, optional
            One per entry, or one per event for all of its entries.
        events : array, optional
            Event numbers, to identify an event with an invalid weight.
        **categories : str
            The value of each category.

        Returns
        -------
        int
            Number of entries left out because a value was None or NaN.

        Raises
        ------
        ConfigError
            If an additional category would exceed the maximum size.
        InvalidValues
            If a weight is NaN, infinite or None; gives the event.
        MismatchError
            If the columns have different shapes.
        UnknownName
            If a column or a category does not exist.
        """
        self._require_categories(categories)
        columns = [axis.parsed.evaluate(values) for axis in self.axes]
        numbers, factors, missing = _flatten(self.name, columns, weight, events)
        fillers = {axis.name: number for axis, number in zip(self.axes, numbers, strict=True)}
        if len(factors) == 0:
            # One entry of weight zero, so that the categories are there, with nothing in them.
            fillers, factors = {axis.name: [0.0] for axis in self.axes}, np.zeros(1)
        self.require_room(math.prod(len({*histogram.axes[name], value}) for name, value in categories.items()))
        histogram.fill(**categories, **fillers, weight=factors)
        return missing

    def fill_variations(
        self,
        histogram: Any,
        values: Any,
        weights: Mapping[str, Any],
        *,
        axis: str = "variation",
        events: Any = None,
        **categories: str,
    ) -> int:
        """Fill the same entries with several weights, one category each.

        The bins of the entries are found once, so that tens of variations of the weights take little more time than
        one. Sums are equal to those of :meth:`fill` up to the order of summation.

        Parameters
        ----------
        histogram : hist.Hist
            Made by :meth:`make`; modified in place.
        values : mapping, or awkward record array
            As in :meth:`fill`.
        weights : mapping of str to float[n]
            Category on the axis ``axis`` -> one weight per entry, or one per event for all of its entries.
        axis : str
            The category axis of the weights.
        events : array, optional
            Event numbers, to identify an event with an invalid weight.
        **categories : str
            The value of each other category.

        Returns
        -------
        int
            Number of entries left out because a value was None or NaN.

        Raises
        ------
        ConfigError
            If additional categories would exceed the maximum size.
        InvalidValues
            If there are no weights, or one is NaN, infinite or None; gives its category and the event.
        MismatchError
            If the columns and weights have different lengths.
        UnknownName
            If a column or a category does not exist.

        Examples
        --------
        >>> spec = HistSpec("mass", [AxisSpec("mass", bins=(2, 0, 200), unit="GeV")], categories=["variation"])
        >>> h = spec.make()
        >>> weights = {"nominal": np.ones(2), "pileupUp": np.array([1.5, 0.5])}
        >>> spec.fill_variations(h, {"mass": np.array([50.0, 150.0])}, weights)
        0
        >>> h["pileupUp", :].values()
        array([1.5, 0.5])
        """
        self._require_categories([*categories, axis])
        if axis in categories:
            raise ConfigError(f"histogram {self.name!r}: {axis!r} is the axis of the weights, got a value for it, too")
        if not weights:
            raise InvalidValues(f"histogram {self.name!r}: got no weights, expected at least those of one {axis}")
        columns = [each.parsed.evaluate(values) for each in self.axes]
        for category, weight in weights.items():
            check_weights(weight, name=f"histogram {self.name!r}: weight of {category!r}", events=events)
            if len(weight) != len(columns[0]):
                raise MismatchError(
                    f"histogram {self.name!r}: {len(weight)} weights of {category!r}, expected {len(columns[0])}"
                )
        # the event of each entry takes the place of its weight
        numbers, rows, missing = _flatten(self.name, columns, np.arange(len(columns[0]), dtype=np.float64), None)
        wanted = {axis: list(weights), **{name: [value] for name, value in categories.items()}}
        self.require_room(math.prod(len({*histogram.axes[name], *new}) for name, new in wanted.items()))
        # entries of weight zero, so that all categories are there
        nothing = {each.name: np.zeros(len(weights)) for each in self.axes}
        histogram.fill(**categories, **{axis: list(weights)}, **nothing, weight=np.zeros(len(weights)))
        if len(rows) == 0:
            return missing
        shape = tuple(each.n_bins + 2 for each in self.axes)
        bins = [histogram.axes[each.name].index(array) + 1 for each, array in zip(self.axes, numbers, strict=True)]
        filled, place = np.unique(np.ravel_multi_index(bins, shape), return_inverse=True)
        rows = rows.astype(np.int64)
        entries = [np.asarray(weight, dtype=np.float64)[rows] for weight in weights.values()]
        varied = np.array([histogram.axes[axis].index(category) for category in weights])[:, None]
        cells = [varied if name == axis else histogram.axes[name].index(categories[name]) for name in self.categories]
        index = (*cells, *np.unravel_index(filled, shape))
        view = histogram.view(flow=True)
        view["value"][index] += [np.bincount(place, each) for each in entries]
        view["variance"][index] += [np.bincount(place, each**2) for each in entries]
        return missing

    def _require_categories(self, names: Collection[str]) -> None:
        unknown = [name for name in names if name not in self.categories]
        if unknown:
            raise UnknownName("category", unknown, self.categories, f"histogram {self.name!r}")
        absent = [name for name in self.categories if name not in names]
        if absent:
            raise ConfigError(f"histogram {self.name!r}: no value for the categories {', '.join(absent)}")

    @classmethod
    def from_dict(cls, record: Any, name: str, where: Any = "") -> HistSpec:
        """Read a histogram from a mapping, as in YAML files.

        Parameters
        ----------
        record : mapping
            The keys of one axis (``bins`` or ``edges``, ``label``, ``unit``, ``expression``), or ``axes`` with a
            mapping from names to such keys; ``counts`` is what is counted, ``max_size`` the maximum size with all
            categories, e.g. ``2 GB``.
        name : str
            Name of the histogram, and with one axis also of the axis.
        where : str, or callable of keys
            Origin of the record, for messages.

        Raises
        ------
        ConfigError
            If a key is unknown or a value is invalid; gives its place.

        Examples
        --------
        >>> spec = HistSpec.from_dict({"bins": [10, 0, 1], "label": "HbbvsQCD", "counts": "jets"}, "hbb")
        >>> spec.axes[0].title
        'HbbvsQCD'
        """

        def place(*keys: Any) -> str:
            return str(where(*keys)) if callable(where) else str(where)

        if not isinstance(record, Mapping):
            raise ConfigError(f"{place()}: histogram {name!r} must be a mapping, got {record!r}")
        counts = record.get("counts", "jets")
        most = parse_size(str(record["max_size"])) if "max_size" in record else MAX_BYTES
        rest = {key: value for key, value in record.items() if key not in ("counts", "max_size")}
        if "axes" not in rest:
            axis = AxisSpec.from_dict(rest, name, lambda *keys: place(*keys))
            return cls(name, [axis], label=counts, max_bytes=most)
        check_keys(rest, ("axes",), where=place)
        if not isinstance(rest["axes"], Mapping):
            raise ConfigError(f"{place('axes')}: 'axes' must be a mapping of names to axes")
        axes = [
            AxisSpec.from_dict(item, key, lambda *keys, key=key: place("axes", key, *keys))
            for key, item in rest["axes"].items()
        ]
        return cls(name, axes, label=counts, max_bytes=most)


def _flatten(name: str, columns: Sequence[Any], weight: Any, events: Any) -> tuple[list[Any], Any, int]:
    """Columns and weights as flat float64 arrays without entries where a column is missing."""
    import awkward as ak

    if weight is None or isinstance(weight, (int, float, np.number)):
        factor = 1.0 if weight is None else float(weight)
        if not math.isfinite(factor):
            raise InvalidValues(f"histogram {name!r}: the weight of all events is {factor}, expected a finite number")
        arrays = list(columns)
    else:
        factor = None
        check_weights(weight, name=f"histogram {name!r}: weight", events=events)
        arrays = [*columns, weight]
    lengths = [len(array) for array in arrays]
    if len(set(lengths)) > 1:
        raise MismatchError(f"histogram {name!r}: columns and weights of different lengths: {lengths}")
    try:
        arrays = broadcast(*arrays) if len(arrays) > 1 else arrays
    except ValueError as error:
        raise MismatchError(
            f"histogram {name!r}: columns and weights do not fit together: {reason_of(error)}"
        ) from error
    try:
        flat = [np.asarray(ak.to_numpy(ak.fill_none(ak.ravel(a), np.nan)), dtype=np.float64) for a in arrays]
    except (TypeError, ValueError) as error:
        kinds = ", ".join(str(ak.type(a))[:60] for a in arrays)
        where, got = f"histogram {name!r}", f"columns of the types {kinds}"
        raise WrongType(f"{where}: got {got}, expected numbers", where=where, got=got, expected="numbers") from error
    good = np.logical_and.reduce([~np.isnan(array) for array in flat])
    kept = [array[good] for array in flat]
    factors = np.full(int(good.sum()), factor) if factor is not None else kept[-1]
    return kept[: len(columns)], factors, int(np.count_nonzero(~good))


guard(globals())
