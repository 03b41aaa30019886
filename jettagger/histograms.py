"""Histograms: short specifications to ``hist.Hist`` with weights, files that lose nothing, export to ROOT.

A specification names the variables and their bins; the categories (by default data set, region and variation)
grow as they are filled. Files are JSON in the format of UHI (https://uhi.readthedocs.io), which keeps
contents, variances, flow, names and labels.
"""

from __future__ import annotations

import gzip
import itertools
import json
import math
import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from jettagger._version import __version__
from jettagger.arguments import Histogram, guard
from jettagger.config.sizes import parse_size, size_text
from jettagger.config.yamlfile import check_keys
from jettagger.errors import ConfigError, InputFileError, InvalidValues, MismatchError, UnknownName, reason_of
from jettagger.expressions import Expression, parse
from jettagger.files import complete_or_absent, refuse_special
from jettagger.files.jsonfile import parse_json
from jettagger.files.root import write_objects
from jettagger.provenance import Provenance
from jettagger.weights import check_weights

__all__ = [
    "CATEGORIES",
    "AxisSpec",
    "HistSpec",
    "add",
    "categories_of",
    "equal",
    "fine_edges",
    "load",
    "pick",
    "save",
    "sort_categories",
    "to_root",
    "variables_of",
]

#: the category axes of a histogram unless it is told otherwise
CATEGORIES = ("dataset", "region", "variation")

#: bytes that a histogram may take with all its categories, unless it is told otherwise
MAX_BYTES = 1_000_000_000

#: sum of weights and of their squares, in double precision
_BIN_BYTES = 16

#: combinations of sample, region and variation that a histogram must have room for, whatever is filled
_COMBINATIONS = 10

#: what a file is, and the version of its layout
_FORMAT = "jettagger histograms"
VERSION = 1


@dataclass(frozen=True)
class AxisSpec:
    """One variable and its bins.

    Parameters
    ----------
    name : str
        The axis' name.
    bins : (int, float, float), optional
        Number of equal bins, lower and upper end.
    edges : sequence of float, optional
        Rising bin edges, instead of ``bins``.
    label : str
        For plots; by default the name.
    unit : str
        E.g. ``"GeV"``; empty for pure numbers.
    expression : str
        What is filled, in the columns that are given; by default the column with the axis' name.

    Raises
    ------
    ConfigError
        If the bins are not rising and finite, or both or neither of ``bins`` and ``edges`` are given.

    Examples
    --------
    >>> AxisSpec("mass", bins=(40, 50, 250), label="jet mass", unit="GeV").title
    'jet mass [GeV]'
    """

    name: str
    bins: tuple[int, float, float] | None = None
    edges: tuple[float, ...] | None = None
    label: str = ""
    unit: str = ""
    expression: str = ""

    def __post_init__(self) -> None:
        what = f"axis {self.name!r}"
        if not self.name.isidentifier():
            raise ConfigError(f"{what}: a name has letters, digits and underscores only")
        if (self.bins is None) == (self.edges is None):
            raise ConfigError(f"{what}: give either bins (number, low, high) or edges")
        if self.bins is not None:
            if len(self.bins) != 3 or not _is_count(self.bins[0]) or not _rising(self.bins[1:]):
                raise ConfigError(f"{what}: bins must be (number, low, high) with low < high, got {self.bins}")
            object.__setattr__(self, "bins", (int(self.bins[0]), float(self.bins[1]), float(self.bins[2])))
        if self.edges is not None:
            if len(self.edges) < 2 or not _rising(self.edges):
                raise ConfigError(f"{what}: edges must be at least two rising numbers, got {list(self.edges)}")
            object.__setattr__(self, "edges", tuple(float(edge) for edge in self.edges))
        _ = self.parsed

    @cached_property
    def parsed(self) -> Expression:
        """What is filled."""
        return parse(self.expression or self.name, where=f"axis {self.name!r}")

    @property
    def title(self) -> str:
        """Label and unit, for plots."""
        label = self.label or self.name
        return f"{label} [{self.unit}]" if self.unit else label

    @property
    def n_bins(self) -> int:
        """Bins between the ends."""
        return self.bins[0] if self.bins is not None else len(self.edges or ()) - 1

    def make(self) -> Any:
        """The axis of ``hist``."""
        import hist

        if self.bins is not None:
            return hist.axis.Regular(*self.bins, name=self.name, label=self.title)
        return hist.axis.Variable(self.edges or (), name=self.name, label=self.title)

    @classmethod
    def from_dict(cls, record: Any, name: str, where: Any = "") -> AxisSpec:
        """Read a mapping with the parameters' names as keys, as YAML files hold it.

        Raises
        ------
        ConfigError
            If a key is unknown or a value is not what it must be; says where.
        """
        check_keys(record, ("bins", "edges", "label", "unit", "expression"), where=where)
        place = where() if callable(where) else where
        for key in ("bins", "edges"):
            items = record.get(key)
            if items is not None and (not isinstance(items, Sequence) or not all(map(_is_number, items))):
                raise ConfigError(f"{place}: {key!r} must be a list of numbers, got {items!r}")
        for key in ("label", "unit", "expression"):
            if not isinstance(record.get(key, ""), str):
                raise ConfigError(f"{place}: {key!r} must be text, got {record[key]!r}")
        values: dict[str, Any] = dict(record)
        values.update({key: tuple(values[key]) for key in ("bins", "edges") if values.get(key) is not None})
        try:
            return cls(name, **values)
        except ConfigError as error:
            raise ConfigError(f"{place}: {error}") from error


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and bool(value > 0)


def _rising(values: Sequence[float]) -> bool:
    return all(math.isfinite(value) for value in values) and all(a < b for a, b in itertools.pairwise(values))


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


def fine_edges() -> tuple[float, ...]:
    """Bins for curves of any discriminant: so fine that they change no area by more than about 0.001.

    Returns
    -------
    tuple of float
        Rising. 250 a decade of the distance to zero, from 1e-8, and to one; steps of 0.01 from -30 to 30, for
        logarithms.

    Examples
    --------
    >>> edges = np.array(fine_edges())
    >>> near = edges[(edges > 0.001) & (edges < 0.002)]
    >>> bool(len(near) > 70)
    True
    """
    decades = np.logspace(-8, 3, 11 * 250 + 1)
    steps = np.linspace(-30, 30, 6001)
    edges = np.concatenate([-decades, [0.0], decades, 1 - decades[decades < 0.5], steps])
    return tuple(np.unique(np.round(edges, 12)).tolist())


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


# ---------------------------------------------------------------------------------------- looking into one


def categories_of(histogram: Histogram) -> dict[str, list[str]]:
    """The category axes by name, each to its values.

    Examples
    --------
    >>> import hist
    >>> categories_of(hist.Hist.new.StrCat(["tt"], name="dataset").Reg(2, 0, 1, name="x").Weight())
    {'dataset': ['tt']}
    """
    import hist

    return {axis.name: list(axis) for axis in histogram.axes if isinstance(axis, hist.axis.StrCategory)}


def variables_of(histogram: Histogram) -> list[Any]:
    """The axes that are no categories."""
    import hist

    return [axis for axis in histogram.axes if not isinstance(axis, hist.axis.StrCategory)]


def pick(histogram: Histogram, **categories: str | Sequence[str]) -> Any:
    """The part of a histogram in some categories, summed over the others.

    Parameters
    ----------
    histogram : hist.Hist
        With category axes.
    **categories : str or sequence of str
        Category axis to a value, or to several that are added.

    Returns
    -------
    hist.Hist
        Without category axes.

    Raises
    ------
    UnknownName
        If there is no such axis or value.
    """
    known = categories_of(histogram)
    unknown = [name for name in categories if name not in known]
    if unknown:
        raise UnknownName("category", unknown, known, f"histogram {histogram.name or ''!r}")
    result = histogram
    for name, values in known.items():
        wanted = categories.get(name, values)
        chosen = [wanted] if isinstance(wanted, str) else list(wanted)
        missing = [value for value in chosen if value not in values]
        if missing:
            raise UnknownName(name, missing, values, f"histogram {histogram.name or ''!r}")
        parts = [result[{name: value}] for value in chosen]
        if not parts:
            raise UnknownName(name, "(none)", values, f"histogram {histogram.name or ''!r}")
        result = parts[0] if len(parts) == 1 else _total(parts)
    return result


def _total(parts: Iterable[Any]) -> Any:
    total = None
    for part in parts:
        total = part.copy() if total is None else total + part
    return total


def sort_categories(histogram: Histogram) -> Any:
    """The same histogram with its categories in alphabetical order, however they were filled."""
    import hist

    known = {name: sorted(values) for name, values in categories_of(histogram).items()}
    if known == categories_of(histogram):
        return histogram.copy()
    axes = [
        hist.axis.StrCategory(known[axis.name], growth=axis.traits.growth, name=axis.name, label=axis.label)
        if axis.name in known
        else axis
        for axis in histogram.axes
    ]
    ordered = hist.Hist(*axes, storage=histogram.storage_type(), name=histogram.name, label=histogram.label)
    for values in itertools.product(*known.values()):
        where = dict(zip(known, values, strict=True))
        ordered[where] = histogram[where].view(flow=True)
    return ordered


def add(first: Mapping[str, Histogram], *others: Mapping[str, Histogram]) -> dict[str, Any]:
    """The sums of histograms of the same names, of several files or chunks; categories are sorted.

    Raises
    ------
    MismatchError
        If two of one name have different axes.
    """
    total = {name: histogram.copy() for name, histogram in first.items()}
    for other in others:
        for name, histogram in other.items():
            if name not in total:
                total[name] = histogram.copy()
                continue
            try:
                total[name] = total[name] + histogram
            except (ValueError, TypeError) as error:
                raise MismatchError(f"histogram {name!r} has different axes in two places: {error}") from error
    return {name: sort_categories(histogram) for name, histogram in total.items()}


def equal(first: Histogram, second: Histogram, rtol: float = 0.0) -> bool:
    """Whether two histograms have the same axes and contents, in whatever order their categories are.

    Parameters
    ----------
    first, second : hist.Hist
        What is compared.
    rtol : float
        The relative difference that is allowed: sums of weights in another order differ by rounding.
    """
    one, two = sort_categories(first), sort_categories(second)
    if list(one.axes) != list(two.axes) or [a.name for a in one.axes] != [a.name for a in two.axes]:
        return False
    mine, theirs = one.view(flow=True), two.view(flow=True)
    names = mine.dtype.names or (None,)
    pairs = ((mine[name], theirs[name]) if name else (mine, theirs) for name in names)
    return all(np.allclose(a, b, rtol=rtol, atol=0, equal_nan=True) for a, b in pairs)


# ---------------------------------------------------------------------------------------- files


def _open(path: Path, mode: str) -> Any:
    # The time of writing is left out of compressed files, so that equal contents give equal bytes.
    if path.name.endswith(".gz"):
        return gzip.GzipFile(path, mode, mtime=0) if mode == "wb" else gzip.open(path, mode)
    return path.open(mode)


def save(
    histograms: Mapping[str, Histogram],
    path: str | os.PathLike[str],
    record: Mapping[str, Any] | None = None,
    *,
    provenance: Provenance | None = None,
) -> None:
    """Write histograms to a JSON file in the format of UHI; nothing is lost.

    Parameters
    ----------
    histograms : mapping
        Name to ``hist.Hist``.
    path : path
        The file; compressed if it ends in ``.gz``.
    record : mapping, optional
        What else there is to say of them; anything that JSON can hold.
    provenance : Provenance, optional
        How they were made: that of the skim that they were filled from (`Provenance.of_file`), or of a tagger
        (`provenance_of`). `jettagger.provenance.read_provenance` reads it again.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    import uhi.io.json

    content = {
        "format": _FORMAT,
        "version": VERSION,
        "jettagger": __version__,
        "provenance": (provenance or Provenance("histograms")).to_dict(),
        "record": dict(record or {}),
        "histograms": dict(histograms),
    }
    with complete_or_absent(path) as part, _open(part, "wb") as file:
        file.write(json.dumps(content, default=uhi.io.json.default).encode())


def load(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read what :func:`save` wrote.

    Returns
    -------
    histograms : dict
        Name to ``hist.Hist``.
    record : dict
        What was said of them.

    Raises
    ------
    InputFileError
        If the file cannot be read, is something else, or is of another version.
    """
    import hist
    import uhi.io.json

    path = Path(path)
    refuse_special(path)
    try:
        with _open(path, "rb") as file:
            text = file.read()
    except OSError as error:
        raise InputFileError(f"cannot read {path}: {error.strerror or error}") from error
    except (EOFError, zlib.error) as error:
        raise InputFileError(f"{path} is no histogram file: {error}") from error
    where = f"{path} is no histogram file of jettagger: its content"
    content = parse_json(text, where, kind=dict, finite=False, hook=uhi.io.json.object_hook)
    if content.get("format") != _FORMAT:
        raise InputFileError(f"{path} is no histogram file of jettagger: expected the format {_FORMAT!r}")
    if content.get("version") != VERSION:
        writer = content.get("jettagger", "of an unknown version")
        raise InputFileError(
            f"{path}: histogram file of version {content.get('version')!r}, expected {VERSION}; "
            f"it was written by jettagger {writer}, this is {__version__}"
        )
    try:
        return {name: hist.Hist(item) for name, item in content["histograms"].items()}, content["record"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputFileError(f"{path}: damaged histogram file: {error!r}") from error


def to_root(
    histograms: Mapping[str, Any],
    path: str | os.PathLike[str],
    pattern: str = "{histogram}/{categories}",
    *,
    provenance: Provenance | None = None,
) -> list[str]:
    """Write histograms to a ROOT file, one TH1 or TH2 for each combination of categories.

    Parameters
    ----------
    histograms : mapping
        Name to ``hist.Hist`` with one or two variables.
    path : path
        The file.
    pattern : str
        The names in the file: ``{histogram}``, ``{categories}`` (all values joined by ``_``) and the name of
        each category axis in braces are replaced; ``/`` makes folders.
    provenance : Provenance, optional
        How they were made, as for `save`; kept as the object ``jettagger``.

    Returns
    -------
    list of str
        The names that were written.

    Raises
    ------
    ConfigError
        If the pattern has unknown parts or gives one name twice, or a histogram has more than two variables.
    OutputError
        If the file cannot be written.
    """
    parts: dict[str, Any] = {}
    for name, histogram in histograms.items():
        count = len(variables_of(histogram))
        if count > 2:
            raise ConfigError(f"histogram {name!r} has {count} variables: ROOT files take one or two")
        known = categories_of(histogram)
        for values in itertools.product(*known.values()):
            chosen = dict(zip(known, values, strict=True))
            try:
                key = pattern.format(histogram=name, categories="_".join(values), **chosen).strip("/")
            except (KeyError, IndexError, ValueError) as error:
                allowed = ", ".join(f"{{{item}}}" for item in ("histogram", "categories", *known))
                raise ConfigError(f"the pattern {pattern!r} cannot be used: {error}. Allowed: {allowed}") from error
            if key in parts:
                raise ConfigError(f"the pattern {pattern!r} gives the name {key!r} twice")
            parts[key] = pick(histogram, **chosen)
    write_objects(path, parts, (provenance or Provenance("histograms")).text)
    return list(parts)


guard(globals())
