"""Templates from a histogram of probe jets: categories, bands, variations, and what is merged or refused.

The histogram has the categories ``dataset``, ``category`` and ``variation`` (``nominal``, ``<name>Up``,
``<name>Down``), the axis ``score``, whose bins are the bands, the fitted variable, and the axes of the kinematic bins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from jettagger.arguments import Histogram, guard
from jettagger.calibration.templates import BandTemplates
from jettagger.display import Brief
from jettagger.errors import InvalidValues, MismatchError, UnknownName
from jettagger.histograms import categories_of, variables_of
from jettagger.statistics.bins import Template, groups, positive
from jettagger.types import Floats

__all__ = ["BinnedTemplates", "CategorySource", "band_templates"]

NOMINAL, SCORE = "nominal", "score"
SIDES = ("Up", "Down")


@dataclass(frozen=True)
class CategorySource(Brief):
    """The simulated jets of a fitted category.

    Parameters
    ----------
    categories : sequence of str
        Categories of the histogram to be added.
    datasets : sequence of str, optional
        Only those of these data sets; default: of all simulated ones.
    """

    categories: Sequence[str]
    datasets: Sequence[str] | None = None


@dataclass(frozen=True, eq=False)
class BinnedTemplates(Brief):
    """Templates of kinematic bins.

    Attributes
    ----------
    axes : tuple
        The axes of the kinematic bins.
    templates : dict
        Position of a bin, one index per axis -> its templates.
    refused : dict
        Position of a bin -> reason why it has no templates.
    """

    axes: tuple[Any, ...]
    templates: dict[tuple[int, ...], BandTemplates] = field(default_factory=dict)
    refused: dict[tuple[int, ...], str] = field(default_factory=dict)


def band_templates(
    histogram: Histogram,
    variable: str,
    *,
    data: Sequence[str] = (),
    bands: Sequence[str] | None = None,
    categories: Mapping[str, CategorySource | Sequence[str]] | None = None,
    variations: Sequence[str] | None = None,
    min_effective_events: float = 10.0,
) -> BinnedTemplates:
    """Make the templates of all kinematic bins.

    Parameters
    ----------
    histogram : hist.Hist
        Weighted; scaled to the luminosity of the data. Scores below and above all edges belong to the outermost bands.
        Jets outside of the kinematic bins and of the range of the variable are left out.
    variable : str
        Name of the axis of the fitted variable; all others but ``score`` are kinematic bins.
    data : sequence of str
        Data sets of data; without any, the sum of the simulation is taken (an Asimov data set).
    bands : sequence of str, optional
        Names of the bands from the lowest score; default: ``fail`` and ``pass``, or ``fail``, ``band1``, ``band2``, ...
    categories : mapping, optional
        Fitted category -> categories of the histogram, or :class:`CategorySource`; default: all, by their names.
    variations : sequence of str, optional
        Without ``Up`` and ``Down``; default: all. One with a single side is mirrored, and the report says so. A data
        set without entries in a variation does not change with it.
    min_effective_events : float
        Bins of the variable are merged until the sum of the simulation has at least this number of effective events in
        each bin of each band; bins that have less in total are refused.

    Returns
    -------
    BinnedTemplates
        What was corrected, merged, mirrored or left out is in the report of each bin.

    Raises
    ------
    MismatchError
        If the histogram lacks an axis, the number of bands is another one, or a data set is data and simulation.
    UnknownName
        If a data set, a category, a variation or the variable does not exist.
    InvalidValues
        If contents are not finite, or the histogram has no sums of squared weights.
    """
    reader = _Reader(histogram, variable, tuple(data), categories, variations)
    names = _band_names(bands, reader.number)
    result = BinnedTemplates(reader.axes)
    for place in product(*(range(len(axis)) for axis in reader.axes)):
        what = ", ".join(
            f"{axis.name} {axis.edges[i]:g} to {axis.edges[i + 1]:g}"
            for axis, i in zip(reader.axes, place, strict=True)
        )
        try:
            result.templates[place] = reader.templates(place, what or "all jets", names, min_effective_events)
        except InvalidValues as error:
            result.refused[place] = str(error)
    return result


def _band_names(bands: Sequence[str] | None, number: int) -> tuple[str, ...]:
    if bands is None:
        return ("fail", "pass") if number == 2 else ("fail", *(f"band{i}" for i in range(1, number)))
    if len(bands) != number:
        raise MismatchError(f"{len(bands)} names of bands ({', '.join(bands)}), but the score has {number} bins")
    return tuple(bands)


class _Reader:
    """The contents of a histogram, float64[kinematic bins..., bands, bins], once for each category and variation."""

    def __init__(
        self,
        histogram: Any,
        variable: str,
        data: tuple[str, ...],
        categories: Mapping[str, CategorySource | Sequence[str]] | None,
        variations: Sequence[str] | None,
    ) -> None:
        known, axes = categories_of(histogram), {axis.name: axis for axis in variables_of(histogram)}
        if set(known) != {"dataset", "category", "variation"} or SCORE not in axes:
            got = ", ".join(axis.name for axis in histogram.axes)
            raise MismatchError(f"templates need the axes dataset, category, variation, score and others, got {got}")
        if variable not in axes or variable == SCORE:
            raise UnknownName("variable", variable, [name for name in axes if name != SCORE], "the histogram")
        self.variable = axes[variable]
        self.axes = tuple(axis for name, axis in axes.items() if name not in (SCORE, variable))
        self.number = len(axes[SCORE])
        self._known = {name: list(values) for name, values in known.items()}
        self._all = self._read(histogram, variable)
        _exist("dataset", data, known["dataset"])
        simulated = [name for name in known["dataset"] if name not in data]
        self._sources: dict[str, CategorySource] = {}
        chosen = {name: [name] for name in known["category"]} if categories is None else categories
        for name, source in chosen.items():
            made = source if isinstance(source, CategorySource) else CategorySource(tuple(source))
            _exist("category", made.categories, known["category"])
            _exist("dataset", made.datasets or (), known["dataset"])
            both = [dataset for dataset in made.datasets or () if dataset in data]
            if both:
                raise MismatchError(f"category {name!r}: the data set {both[0]!r} is data and simulation")
            self._sources[name] = CategorySource(tuple(made.categories), made.datasets or simulated)
        if NOMINAL not in known["variation"]:
            raise UnknownName("variation", NOMINAL, known["variation"], "the histogram")
        self._variations = self._chosen(variations)
        self._report: list[str] = []
        self._data = data and self._contents(data, known["category"], NOMINAL)
        self._nominal = {name: self._source(name, NOMINAL) for name in self._sources}
        # without any jets in the whole histogram it is no category, e.g. the one of data
        self._nominal = {name: contents for name, contents in self._nominal.items() if contents[1].any()}
        self._shifts = {
            (name, variation, side): self._source(name, variation, side)
            for name in self._nominal
            for variation in self._variations
            for side in SIDES
        }

    def _chosen(self, wanted: Sequence[str] | None) -> list[str]:
        """The names of the variations, without their sides."""
        ended = [name for name in self._known["variation"] if name.endswith(SIDES)]
        names = list(dict.fromkeys(name.removesuffix("Up").removesuffix("Down") for name in ended))
        _exist("variation", wanted or (), names)
        return names if wanted is None else list(wanted)

    def _read(self, histogram: Any, variable: str) -> tuple[Floats, Floats]:
        """All values and variances: float64[data sets, categories, variations, kinematic bins..., bands, bins]."""
        view = histogram.view(flow=True)
        if not view.dtype.names:
            raise InvalidValues(
                "the histogram has no sums of squared weights, from which statistical uncertainties follow: fill one "
                "with weighted storage (hist.storage.Weight)"
            )
        names = [axis.name for axis in histogram.axes]
        order = ["dataset", "category", "variation", *(axis.name for axis in self.axes), SCORE, variable]
        arrays = []
        for part in ("value", "variance"):
            numbers = np.asarray(view[part], dtype=np.float64)
            for position, axis in enumerate(histogram.axes):
                numbers = np.moveaxis(numbers, position, 0)
                low, high = int(axis.traits.underflow), int(axis.traits.overflow)
                inside = numbers[low : len(numbers) - high]
                if axis.name == SCORE:
                    inside = inside.copy()
                    inside[0] += numbers[0] if low else 0.0
                    inside[-1] += numbers[-1] if high else 0.0
                numbers = np.moveaxis(inside, 0, position)
            arrays.append(np.transpose(numbers, [names.index(name) for name in order]))
        return arrays[0], arrays[1]

    def _contents(self, datasets: Sequence[str], categories: Sequence[str], variation: str) -> tuple[Floats, Floats]:
        rows = [self._known["dataset"].index(name) for name in datasets]
        columns = [self._known["category"].index(name) for name in categories]
        place: Any = (*np.ix_(rows, columns), self._known["variation"].index(variation))
        values, variances = (numbers[place].sum(axis=(0, 1)) for numbers in self._all)
        return values, variances

    def _source(self, category: str, variation: str, side: str = "") -> tuple[Floats, Floats]:
        """The sum over the data sets of a category; those without the variation are nominal."""
        source = self._sources[category]
        sums: Any = (0.0, 0.0)
        for dataset in source.datasets or ():
            values, variances = self._contents([dataset], source.categories, NOMINAL)
            if side and self._filled(dataset, variation + side):
                values, variances = self._contents([dataset], source.categories, variation + side)
            elif side and self._filled(dataset, variation + (other := SIDES[SIDES[0] == side])):
                varied, variances = self._contents([dataset], source.categories, variation + other)
                values = 2 * values - varied
                line = f"{dataset}: variation {variation!r} has one side ({other}), the other one is its mirror image"
                self._report += [line] if line not in self._report else []
            sums = (sums[0] + values, sums[1] + variances)
        return sums[0], sums[1]

    def _filled(self, dataset: str, variation: str) -> bool:
        if variation not in self._known["variation"]:
            return False
        _, variances = self._contents([dataset], self._known["category"], variation)
        return bool(variances.any())

    def templates(self, place: tuple[int, ...], what: str, bands: tuple[str, ...], needed: float) -> BandTemplates:
        """The templates of one kinematic bin."""
        import hist

        report = list(self._report)
        totals = [np.sum([contents[i][place] for contents in self._nominal.values()], axis=0) for i in (0, 1)]
        if not np.isfinite(totals[0]).all() or not np.isfinite(totals[1]).all():
            raise InvalidValues(f"{what}: simulated contents that are not finite: were weights NaN?")
        parts = {band: (totals[0][row], totals[1][row]) for row, band in enumerate(bands)}
        starts, lacking = groups(parts, needed) if needed else (list(range(len(self.variable))), {})
        if lacking:
            counts = ", ".join(f"band {band!r} has {count:.3g}" for band, count in lacking.items())
            raise InvalidValues(
                f"{what}: less than {needed:g} effective simulated jets in all bins of {self.variable.name} together: "
                f"{counts}. Simulate more, join bins or bands, or ask for less"
            )
        axis = self.variable
        if len(starts) < len(self.variable):
            edges = np.asarray(self.variable.edges)[[*starts, -1]]
            axis = hist.axis.Variable(edges, name=self.variable.name, label=self.variable.label)
            report.append(
                f"{what}: {len(self.variable)} bins of {axis.name} merged to {len(starts)}, each with at least "
                f"{needed:g} effective simulated jets in each band: edges {', '.join(f'{edge:g}' for edge in edges)}"
            )
        categories: dict[str, dict[str, Template]] = {}
        for category in self._nominal:
            made = {}
            for row, band in enumerate(bands):
                template = self._template(
                    category, (*place, row), f"{what}, {category} in band {band!r}", starts, report
                )
                if template is not None:
                    made[band] = template
            if made:
                categories[category] = made
            else:
                report.append(f"{what}: no simulated jets of {category!r}, it is left out")
        if not categories:
            raise InvalidValues(f"{what}: no simulated jets of any category")
        if self._data:
            data = {band: np.add.reduceat(self._data[0][place][row], starts) for row, band in enumerate(bands)}
        else:
            report.append(f"{what}: no data, the sum of the simulation is used")
            data = {
                band: np.sum([parts[band].values for parts in categories.values() if band in parts], axis=0)
                for band in bands
            }
        return BandTemplates(what, axis, bands, data, categories, tuple(report))

    def _template(
        self, category: str, place: tuple[int, ...], what: str, starts: Sequence[int], report: list[str]
    ) -> Template | None:
        """A template without negative bins; None if it has no jets."""
        raw, variances = (np.add.reduceat(numbers[place], starts) for numbers in self._nominal[category])
        values = positive(raw, what, report)
        if values.sum() <= 0:
            if raw.any():
                report.append(f"{what}: left out, its yield is {raw.sum():.3g} jets")
            return None
        # what is scaled keeps its relative uncertainty, what is set to zero its absolute one
        kept = raw > 0
        variances = np.where(kept, variances * np.square(values / np.where(kept, raw, 1.0)), variances)
        shifts = {}
        for variation in self._variations:
            moved = {}
            for side in SIDES:
                contents = np.add.reduceat(self._shifts[category, variation, side][0][place], starts)
                moved[side] = positive(contents, f"{what}, {variation}{side}", report)
            if not (moved["Up"].sum() > 0 and moved["Down"].sum() > 0):
                report.append(f"{what}: variation {variation!r} left out, one side of it has no jets")
            elif not (np.array_equal(moved["Up"], values) and np.array_equal(moved["Down"], values)):
                shifts[variation] = (moved["Up"], moved["Down"])
        return Template(values, variances, shifts)


def _exist(kind: str, wanted: Sequence[str], known: Sequence[str]) -> None:
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise UnknownName(kind, unknown, known, "the histogram")


guard(globals())
