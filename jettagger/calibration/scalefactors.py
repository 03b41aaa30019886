"""Scale factors: values and sources of uncertainty in bins, written in and read from correctionlib files."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from jettagger.arguments import guard
from jettagger.calibration.binning import AXES, BinAxis, bin_label
from jettagger.calibration.correctionfile import CorrectionFile, described
from jettagger.calibration.formula import FormulaFactors
from jettagger.calibration.layouts import ALL_JETS, GROUPS, LAYOUTS, TOTAL, recognise, threshold_correction
from jettagger.calibration.writing import FORMAT, OUTSIDE, FactorTable, OutsideBins, b_tagging, jet_tagging, own
from jettagger.display import Grid, ObjectSummary, aligned, some
from jettagger.errors import ConfigError, InputFileError, InvalidValues, MismatchError, UnknownName, reason_of
from jettagger.files import complete_or_absent
from jettagger.files.corrections import read_correction_text, write_correction_text
from jettagger.provenance import Origin, origin
from jettagger.types import Bools, Floats

__all__ = ["ScaleFactors"]


class ScaleFactors(CorrectionFile):
    """Scale factors of a tagger, ours or of any file in a known layout.

    Made by :meth:`make` or :meth:`load`. A value: its pickle is the JSON text, which correctionlib evaluates.

    Parameters
    ----------
    text : str
        The correctionlib JSON.
    name : str
        Its name in messages, e.g. that of the file.
    correction : str, optional
        Which correction of the file; default: the only one of a known layout.
    taken : sequence of str, optional
        Sources to take; default: all.
    method : str, optional
        For corrections with an input ``method``: which one.

    Attributes
    ----------
    name : str
        Of the correction.
    layout : FactorLayout
        Names and keys in the file.
    discriminant : str
        On which the thresholds are; empty if the file does not say it.
    kind : str
        ``points``: factors of jets above each threshold; ``bands``: of jets between it and the next one. Jets below the
        lowest threshold then follow from the conservation of their sum.
    points, categories : tuple of str
        Points are the loosest first; the categories are ``all`` alone if the file does not distinguish any.
    thresholds : tuple of float or None
        None if the file does not have them.
    axes : tuple of BinAxis or None
        None in files of others, which need not have bins.
    correlated : frozenset of str
        Sources that are correlated between bins; empty in files of others.
    outside : OutsideBins or None
        None in files of others: what their trees say.
    origin : Origin or None
        The model that the scores are of, if known.
    record : dict
        Details of the measurement.

    Raises
    ------
    InputFileError
        If the text is not correctionlib JSON in a known layout; says what was found and what is known.
    UnknownName
        If the correction or a source does not exist.
    """

    title: ClassVar[str] = "scale factors"

    def __init__(
        self,
        text: str,
        name: str = "",
        correction: str | None = None,
        taken: Sequence[str] | None = None,
        method: str | None = None,
    ) -> None:
        super().__init__(text, name or self.title)
        self._correction, self._taken = correction, None if taken is None else tuple(taken)
        self._method = method
        self.layout = recognise(self._content, correction, self._name, self._taken, method)
        self.name = self.layout.correction
        try:
            self._read(described(self._content, FORMAT.rpartition(" ")[0]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputFileError(f"{self._name}: damaged description of scale factors: {error!r}") from error

    def _read(self, record: Mapping[str, Any] | None) -> None:
        layout = self.layout
        if record is not None and record["format"] != FORMAT:
            raise InputFileError(f"{self._name}: scale factors of format {record['format']!r}, expected {FORMAT!r}")
        self.discriminant = "" if record is None else str(record["discriminant"])
        self.kind = "points" if record is None else str(record["kind"])
        self.correlated = frozenset(() if record is None else record["correlated"])
        self.outside = None if record is None else OutsideBins(**record["outside"])
        self.axes = None if record is None else tuple(BinAxis.from_dict(axis) for axis in record["axes"])
        self.origin = None if record is None or record["model"] is None else origin(record["model"])
        self.record: dict[str, Any] = {} if record is None else dict(record["record"])
        self.categories = layout.categories if record is None else tuple(map(str, record["categories"]))
        points = layout.points if record is None else tuple(map(str, record["points"]))
        cuts = self._cuts(points)
        self.points = points if cuts is None else tuple(sorted(points, key=lambda point: cuts[point]))
        self.thresholds = None if cuts is None else tuple(cuts[point] for point in self.points)
        self.columns = {role: AXES[role][0] for role in layout.quantities}
        self.columns |= {axis.name: axis.column for axis in self.axes or ()}

    def _cuts(self, points: Sequence[str]) -> dict[str, float] | None:
        named = threshold_correction(self._content, self.name)
        if named is None:
            return None
        try:
            return {point: float(self.corrections[named].evaluate(point)) for point in points}
        except IndexError as error:
            raise InputFileError(f"{self._name}: {named} lacks a working point: {reason_of(error)}") from error

    def _arguments(self) -> tuple[Any, ...]:
        return (self._correction, self._taken, self._method)

    def __repr__(self) -> str:
        return f"<ScaleFactors {self.name}: {', '.join(self.points)}; {', '.join(self.categories)}>"

    # ---------------------------------------------------------------------------------------- making, reading

    @classmethod
    def make(
        cls,
        name: str,
        values: Any,
        sources: Mapping[str, tuple[Any, Any]],
        *,
        points: Sequence[str],
        thresholds: Sequence[float],
        axes: Sequence[BinAxis],
        categories: Sequence[str] = (ALL_JETS,),
        kind: str = "points",
        discriminant: str = "",
        correlated: Sequence[str] | frozenset[str] = (),
        outside: OutsideBins | None = None,
        record: Mapping[str, Any] | None = None,
        model: Any = None,
    ) -> ScaleFactors:
        """Scale factors from arrays.

        Parameters
        ----------
        name : str
            Of the correction, e.g. ``hbb``.
        values : float64[category, point, *bins]
        sources : mapping of str to (float64[...], float64[...])
            Source of uncertainty -> values up and down, of the shape of the values.
        points : sequence of str
            Names of the working points or bands, the loosest first.
        thresholds : sequence of float
            Lower edges on the discriminant, increasing.
        axes : sequence of BinAxis
            pt, and mass, abseta or eta if needed.
        categories : sequence of str
        kind : {"points", "bands"}
        discriminant : str
            Name or formula.
        correlated : sequence of str
            Sources that are correlated between bins.
        outside : OutsideBins, optional
            Default: the nearest bin with doubled uncertainties.
        record : mapping, optional
            Details of the measurement that JSON can hold.
        model : path, mapping, Tagger or Bundle, optional
            Origin of the scores.

        Returns
        -------
        ScaleFactors

        Raises
        ------
        ConfigError
            If names or thresholds cannot be used.
        UnknownName
            If the kind is unknown, or a correlated source is none of the sources.
        MismatchError
            If shapes do not fit.
        InvalidValues
            If a number is not finite or a factor is negative; gives its category, point and bin.

        Examples
        --------
        >>> made = ScaleFactors.make(
        ...     "hbb", [[[0.9, 1.1]]], {"statistics": ([[[1.0, 1.2]]], [[[0.8, 1.0]]])}, points=["tight"],
        ...     thresholds=[0.95], axes=[BinAxis("pt", [300, 500, 1000])], discriminant="HbbvsQCD",
        ... )
        >>> made.evaluate("tight", "all", {"pt": [400.0, 2000.0]}, source="statistics", direction=1)
        array([1. , 1.3])
        """
        table = FactorTable(
            name,
            values,
            sources,
            points,
            thresholds,
            axes,
            categories,
            kind,
            discriminant,
            frozenset(correlated),
            OutsideBins() if outside is None else outside,
        )
        made = None if model is None else origin(model)
        further = {"model": None if made is None else made.to_dict(), "record": dict(record or {})}
        return cls(own(table, further), f"scale factors {name!r}")

    @classmethod
    def from_formula(cls, name: str, measured: Mapping[str, FormulaFactors], **options: Any) -> ScaleFactors:
        """Scale factors measured by the formula, in one category or several.

        Parameters
        ----------
        name : str
            Of the correction.
        measured : mapping of str to FormulaFactors
            Category -> factors. A source that one of them lacks does not change it.
        **options
            For :meth:`make`: ``points``, ``discriminant`` and others; kind, axes, thresholds and correlated sources are
            those of the measurement.

        Returns
        -------
        ScaleFactors

        Raises
        ------
        MismatchError
            If the measurements differ in bins, thresholds or kind.
        ConfigError, UnknownName, InvalidValues
            As for :meth:`make`.
        """
        first = next(iter(measured.values()), None)
        if first is None:
            raise ConfigError(f"scale factors {name!r}: no measurement of any category")
        for category, item in measured.items():
            if (item.axes, item.thresholds, item.kind) != (first.axes, first.thresholds, first.kind):
                raise MismatchError(
                    f"scale factors {name!r}: category {category!r} has other bins, thresholds or another kind than "
                    f"{next(iter(measured))!r}"
                )
        parts = list(measured.values())
        sources = {}
        for source in dict.fromkeys(source for item in parts for source in item.sources):
            sides = [item.sources.get(source, (item.values, item.values)) for item in parts]
            sources[source] = (np.stack([up for up, _ in sides]), np.stack([down for _, down in sides]))
        given = {
            "thresholds": first.thresholds,
            "axes": first.axes,
            "categories": list(measured),
            "kind": first.kind,
            "correlated": sorted({source for item in parts for source in item.correlated}),
        }
        return cls.make(name, np.stack([item.values for item in parts]), sources, **{**given, **options})

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        correction: str | None = None,
        sources: Sequence[str] | None = None,
        method: str | None = None,
    ) -> ScaleFactors:
        """Read scale factors in a known layout, whoever wrote them; the file is validated by correctionlib.

        Parameters
        ----------
        path : path
            JSON, may be compressed with gzip.
        correction : str, optional
            Which correction, e.g. ``deepJet_comb``; default: the only one of a known layout.
        sources : sequence of str, optional
            Sources to take, without ``up`` and ``down``; ``total`` for all together. Default: all.
        method : str, optional
            For corrections with an input ``method``, e.g. ``comb``: which one.

        Returns
        -------
        ScaleFactors

        Raises
        ------
        InputFileError
            If the file cannot be read, is no correctionlib file, has an unknown layout, or lacks a variation.
        UnknownName
            If the correction, the method or a source does not exist.
        """
        made = cls(read_correction_text(path), str(path), correction, sources, method)
        _ = made.corrections
        return made

    # ---------------------------------------------------------------------------------------- numbers

    @property
    def sources(self) -> Mapping[str, tuple[Floats, Floats]]:
        """Source -> values up and down, float64[category, point, *bins]; of files with bins of ours only.

        Raises
        ------
        ConfigError
            If the file is not in the layout of jettagger.
        """
        return {source: (self._array(source, 1), self._array(source, -1)) for source in self.source_names}

    @cached_property
    def values(self) -> Floats:
        """The factors, float64[category, point, *bins]; of files with bins of ours only.

        Raises
        ------
        ConfigError
            If the file is not in the layout of jettagger.
        """
        return self._array("", 0)

    def _array(self, source: str, direction: int) -> Floats:
        if self.axes is None:
            raise ConfigError(
                f"{self._name}: it has the layout {self.layout.name!r}, whose numbers need not be in bins: use "
                "evaluate() for given jets"
            )
        grid = np.meshgrid(*(axis.inner for axis in self.axes), indexing="ij")
        columns = {self.columns[axis.name]: item.ravel() for axis, item in zip(self.axes, grid, strict=True)}
        shape = tuple(axis.size for axis in self.axes)
        return np.stack(
            [
                np.stack([self.evaluate(p, c, columns, source, direction).reshape(shape) for p in self.points])
                for c in self.categories
            ]
        )

    @property
    def source_names(self) -> tuple[str, ...]:
        """Sources of uncertainty that do not contain each other; those of `total` and of the groups are left out.

        Files that break the total down into correlated and uncorrelated parts only have these, others `total`.
        """
        if self._taken is not None:
            return self._taken
        single = [source for source in self.layout.sources if source not in (TOTAL, *GROUPS)]
        if single:
            return tuple(single)
        if all(group in self.layout.sources for group in GROUPS):
            return GROUPS
        return tuple(self.layout.sources)

    def evaluate(
        self, point: str, category: str, columns: Mapping[str, Any], source: str = "", direction: int = 0
    ) -> Floats:
        """The factors of jets of one category at one working point.

        Parameters
        ----------
        point, category : str
        columns : mapping of str to float array
            Flat columns of the jets, named as in `columns`: pt and mass in GeV. The absolute value of eta is taken
            where the file needs it.
        source : str
            Source of uncertainty; ``total``: all; empty: nominal.
        direction : int
            1 for up, -1 for down, 0 for nominal.

        Returns
        -------
        float64[jets]
            NaN where a column is missing.

        Raises
        ------
        UnknownName
            If the working point, the category or the source does not exist.
        InvalidValues
            If the file refuses jets outside of its bins.
        """
        layout = self.layout
        for kind, value, known in (("working point", point, self.points), ("category", category, self.categories)):
            if value not in known:
                raise UnknownName(kind, value, known, self._name)
        if (point, category) not in layout.cells:
            there = [one for one in self.points if (one, category) in layout.cells]
            raise UnknownName("working point", point, there, f"category {category!r} of {self._name}")
        key = layout.nominal
        if source and direction:
            if source not in layout.sources:
                raise UnknownName("source", source, layout.sources, self._name)
            key = layout.sources[source][0 if direction > 0 else 1]
        given: dict[str, Any] = {"systematic": key, "working_point": point}
        given["method"] = layout.method
        given["category"] = int(category) if layout.of_integers else category
        numbers = {role: self._numbers(role, columns) for role in layout.quantities}
        first = next(iter(numbers.values()))
        good = np.logical_and.reduce([np.isfinite(array) for array in numbers.values()])
        result = np.full(first.shape, np.nan)
        given |= {role: array[good] for role, array in numbers.items()}
        try:
            made = self.corrections[layout.correction].evaluate(*(given[role] for role in layout.order))
        except (RuntimeError, IndexError) as error:
            raise InvalidValues(
                f"{self._name}, {point}, {category}, {key}: correctionlib has no factor for some of "
                f"{int(good.sum())} jets: {reason_of(error)}"
            ) from error
        result[good] = made
        return result

    def _numbers(self, role: str, columns: Mapping[str, Any]) -> Floats:
        name = self.columns[role]
        if name not in columns:
            raise UnknownName("column", name, columns, f"the columns for {self._name}")
        numbers = np.atleast_1d(np.ma.filled(np.ma.asarray(columns[name], dtype=np.float64), np.nan))
        return np.abs(numbers) if role == "abseta" else numbers

    def is_outside(self, columns: Mapping[str, Any]) -> Bools:
        """Which jets are outside of the bins, as far as the file says them; bool[jets].

        Parameters
        ----------
        columns : mapping of str to float array

        Returns
        -------
        bool[jets]
            False where a column is missing.
        """
        made: Any = False
        spans = dict(self.layout.ranges)
        spans |= {axis.name: (axis.edges[0], axis.edges[-1]) for axis in self.axes or ()}
        for role in self.layout.quantities:
            numbers = self._numbers(role, columns)
            low, high = spans.get(role, (-math.inf, math.inf))
            made = made | (numbers < low) | (numbers >= high)
        return np.asarray(made, dtype=bool)

    def check_origin(self, source: Any) -> None:
        """Refuse scores of another model than those that were calibrated, where both are known.

        Parameters
        ----------
        source : skim, provenance, Tagger, Bundle, Origin or None

        Raises
        ------
        MismatchError
        """
        theirs = None if source is None else origin(source)
        if isinstance(self.origin, Origin) and theirs is not None:
            self.origin.check(theirs, f"{self._name}: scale factors {self.name!r}")

    # ---------------------------------------------------------------------------------------- writing

    def save(
        self,
        path: str | os.PathLike[str],
        layout: str | None = None,
        *,
        flavors: Mapping[str, int] | None = None,
        table: bool = True,
    ) -> None:
        """Write the file, and beside it a table as CSV.

        Parameters
        ----------
        path : path
            JSON; compressed if it ends in ``.gz``.
        layout : {"jettagger", "b_tagging", "jet_tagging"}, optional
            Default: that of the scale factors.
        flavors : mapping of str to int, optional
            For ``b_tagging``, whose categories are integers: category -> flavor, e.g. ``{"signal": 5, "other": 0}``.
        table : bool
            Whether to write the table; files of others have none.

        Raises
        ------
        ConfigError, UnknownName
            If the layout cannot hold the scale factors; says what to do instead.
        OutputError
            If a file cannot be written.
        """
        write_correction_text(path, self.in_layout(layout, flavors=flavors))
        if table and self.axes is not None:
            stem = str(path).removesuffix(".gz").removesuffix(".json")
            with complete_or_absent(Path(f"{stem}.csv")) as part:
                part.write_text(self.csv(), encoding="utf-8")

    def in_layout(self, layout: str | None = None, *, flavors: Mapping[str, int] | None = None) -> str:
        """The JSON text in a layout.

        Parameters
        ----------
        layout, flavors
            As for `save`.

        Returns
        -------
        str

        Raises
        ------
        UnknownName
            If the layout, or a category in ``flavors``, does not exist.
        ConfigError
            If the layout cannot hold the scale factors: it has no mass and no bands, or its categories are integers.
        """
        if layout is not None and layout not in LAYOUTS:
            raise UnknownName("layout", layout, LAYOUTS)
        if layout in (None, "jettagger") and self.axes is not None:
            return self._text
        if self.axes is None or self.outside is None:
            if layout in (None, self.layout.name):
                return self._text
            raise ConfigError(
                f"{self._name}: it has the layout {self.layout.name!r}, whose numbers need not be in bins; it is "
                "written as it is, without layout="
            )
        table = FactorTable(
            self.name,
            self.values,
            {name: sides for name, sides in self.sources.items() if name != OUTSIDE},
            self.points,
            self.thresholds or (),
            self.axes,
            self.categories,
            self.kind,
            self.discriminant,
            self.correlated,
            self.outside,
        )
        return b_tagging(table, flavors) if layout == "b_tagging" else jet_tagging(table)

    # ---------------------------------------------------------------------------------------- tables

    def csv(self) -> str:
        """The factors and their sources as CSV, one line per category, point and bin.

        Returns
        -------
        str

        Raises
        ------
        ConfigError
            If the file is not in the layout of jettagger.
        """
        header, rows = self._records()
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([*words, *(f"{number:.10g}" for number in numbers)] for words, numbers in rows)
        return text.getvalue()

    def _records(self) -> tuple[list[str], list[tuple[list[str], list[float]]]]:
        values, sources = self.values, self.sources
        total = {"up": self._array(TOTAL, 1), "down": self._array(TOTAL, -1)}
        axes = self.axes or ()
        edges = [f"{axis.name}_{side}" for axis in axes for side in ("low", "high")]
        columns = {"value": values, **total}
        for source, (up, down) in sources.items():
            columns |= {f"up_{source}": up, f"down_{source}": down}
        rows = []
        for place in np.ndindex(values.shape):
            words = [self.categories[place[0]], self.points[place[1]]]
            spans = [axis.edges[i + side] for axis, i in zip(axes, place[2:], strict=True) for side in (0, 1)]
            threshold = math.nan if self.thresholds is None else self.thresholds[place[1]]
            rows.append((words, [threshold, *spans, *(float(array[place]) for array in columns.values())]))
        return ["category", "working_point", "threshold", *edges, *columns], rows

    def table(self) -> str:
        """The factors with their total uncertainties as text, after what they are.

        Returns
        -------
        str
        """
        return "\n".join([*(f"{name}: {text}" for name, text in self._facts() if text), "", *aligned(self._rows())])

    def _facts(self) -> list[tuple[str, str]]:
        known = "not known"
        model = known if self.origin is None else f"{self.origin.model}, digest {self.origin.digest}"
        outside = "as the tree of the file says" if self.outside is None else str(self.outside)
        return [
            ("discriminant", self.discriminant or known),
            ("model", model),
            ("layout", self.layout.name if self.axes is None else "jettagger"),
            ("kind", self.kind),
            ("sources", some(self.source_names, 20) or "none"),
            ("correlated between bins", ", ".join(sorted(self.correlated)) or (known if self.axes is None else "none")),
            ("jets outside of the bins", outside),
        ]

    def _rows(self) -> list[list[str]]:
        if self.axes is None:
            limits = self.thresholds or [math.nan] * len(self.points)
            cells = [[p, "" if math.isnan(t) else f"{t:g}"] for p, t in zip(self.points, limits, strict=True)]
            return [
                ["category", "working point", "threshold"],
                *([c, *cell] for c in self.categories for cell in cells if (cell[0], c) in self.layout.cells),
            ]
        total = self._array(TOTAL, 1), self._array(TOTAL, -1)
        rows = [["category", "working point", "bin", "factor", "up", "down"]]
        for place in np.ndindex(self.values.shape):
            value = self.values[place]
            numbers = [f"{value:.4g}", f"{total[0][place] - value:+.2g}", f"{total[1][place] - value:+.2g}"]
            where = bin_label(self.axes, place[2:])
            rows.append([self.categories[place[0]], self.points[place[1]], where, *numbers])
        return rows

    def summary(self) -> ObjectSummary:
        """What they are, and the factors, for display."""
        header, *rows = self._rows()
        numbers = 3 if self.axes is not None else 1
        return ObjectSummary(f"ScaleFactors {self.name}", self._facts(), [Grid("Factors", header, rows, numbers)])


guard(globals(), "ScaleFactors")
