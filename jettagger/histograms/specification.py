"""What a histogram is of: its variables, its categories, and how it is filled."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.config.sizes import parse_size, size_text
from jettagger.config.yamlfile import check_keys
from jettagger.errors import ConfigError, InvalidValues, MismatchError, UnknownName, reason_of
from jettagger.histograms.axes import AxisSpec
from jettagger.weights import check_weights

__all__ = ["CATEGORIES", "MAX_BYTES", "HistSpec"]

#: the category axes of a histogram unless it is told otherwise
CATEGORIES = ("dataset", "region", "variation")

#: bytes that a histogram may take with all its categories, unless it is told otherwise
MAX_BYTES = 1_000_000_000

#: sum of weights and of their squares, in double precision
_BIN_BYTES = 16

#: combinations of sample, region and variation that a histogram must have room for, whatever is filled
_COMBINATIONS = 10


@dataclass(frozen=True)
class HistSpec:
    """A histogram of one variable or two, or more, in categories.

    Parameters
    ----------
    name : str
        What it is called.
    axes : sequence of AxisSpec
        Its variables.
    label : str
        What is counted, for the axis of plots.
    categories : sequence of str
        The names of its category axes.
    max_bytes : int
        That it may take with all its categories, see `require_room`.

    Raises
    ------
    ConfigError
        If it has no axis, two of the same name, or more bins than there is room for.

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
            raise ConfigError(f"histogram {self.name!r} has two axes of one name: {', '.join(names)}")
        self.require_room(1)

    @property
    def n_bins(self) -> int:
        """Bins of one combination of categories, with those below and above each axis."""
        return math.prod(axis.n_bins + 2 for axis in self.axes)

    def require_room(self, combinations: int) -> None:
        """Refuse a histogram that would not fit into the memory.

        Parameters
        ----------
        combinations : int
            Of the categories: samples times regions times variations. Room for ten is asked for in any case.

        Raises
        ------
        ConfigError
            With the bytes that it would take.

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
        """Fill it from columns.

        Parameters
        ----------
        histogram : hist.Hist
            Made by :meth:`make`; changed in place.
        values : mapping, or awkward record array
            Columns for the axes' expressions, one number a jet or an event, in any nesting.
        weight : array or float, optional
            One an entry, or one an event for all of its entries.
        events : array, optional
            The events' own numbers, to name one whose weight is bad.
        **categories : str
            The value of each category.

        Returns
        -------
        int
            How many entries were left out because a value was None or NaN.

        Raises
        ------
        ConfigError
            If it has no room for one more category.
        InvalidValues
            If a weight is NaN, infinite or None; says of which event.
        MismatchError
            If the columns do not fit together.
        UnknownName
            If a column or a category is not there.
        """
        unknown = [name for name in categories if name not in self.categories]
        if unknown:
            raise UnknownName("category", unknown, self.categories, f"histogram {self.name!r}")
        absent = [name for name in self.categories if name not in categories]
        if absent:
            raise ConfigError(f"histogram {self.name!r}: no value for the categories {', '.join(absent)}")
        columns = [axis.parsed.evaluate(values) for axis in self.axes]
        numbers, factors, missing = _flatten(self.name, columns, weight, events)
        fillers = {axis.name: number for axis, number in zip(self.axes, numbers, strict=True)}
        if len(factors) == 0:
            # One entry of weight zero, so that the categories are there, with nothing in them.
            fillers, factors = {axis.name: [0.0] for axis in self.axes}, np.zeros(1)
        self.require_room(math.prod(len({*histogram.axes[name], value}) for name, value in categories.items()))
        histogram.fill(**categories, **fillers, weight=factors)
        return missing

    @classmethod
    def from_dict(cls, record: Any, name: str, where: Any = "") -> HistSpec:
        """Read a histogram as YAML files hold it.

        Parameters
        ----------
        record : mapping
            The keys of one axis (``bins`` or ``edges``, ``label``, ``unit``, ``expression``), or ``axes``
            with a mapping from names to such keys; ``counts`` is what is counted, ``max_size`` a size like ``2 GB``
            that it may take with all its categories.
        name : str
            The histogram's name, and with one axis the axis' too.
        where : str, or callable of keys
            Where it was written, for messages.

        Raises
        ------
        ConfigError
            If a key is unknown or a value is not what it must be; says where.

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
            raise InvalidValues(f"histogram {name!r}: the weight of all events is {factor}")
        arrays = list(columns)
    else:
        factor = None
        check_weights(weight, name=f"histogram {name!r}: weight", events=events)
        arrays = [*columns, weight]
    lengths = [len(array) for array in arrays]
    if len(set(lengths)) > 1:
        raise MismatchError(f"histogram {name!r}: columns and weights of different lengths: {lengths}")
    try:
        arrays = ak.broadcast_arrays(*arrays) if len(arrays) > 1 else arrays
    except ValueError as error:
        raise MismatchError(
            f"histogram {name!r}: columns and weights do not fit together: {reason_of(error)}"
        ) from error
    flat = [np.asarray(ak.to_numpy(ak.fill_none(ak.ravel(a), np.nan)), dtype=np.float64) for a in arrays]
    good = np.logical_and.reduce([~np.isnan(array) for array in flat])
    kept = [array[good] for array in flat]
    factors = np.full(int(good.sum()), factor) if factor is not None else kept[-1]
    return kept[: len(columns)], factors, int(np.count_nonzero(~good))


guard(globals())
