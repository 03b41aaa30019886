"""Templates of one kinematic bin: data and categories of simulated jets in exclusive bands of a score.

The lowest band is the one of jets that fail all working points; a jet is in exactly one band. A template is the
distribution of the fitted variable, e.g. the mass, of one category in one band.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.display import Displayed, Grid, ObjectSummary
from jettagger.errors import ConfigError, InvalidValues, MismatchError, UnknownName
from jettagger.statistics.bins import Template, effective_events, groups, intervals
from jettagger.types import Floats

__all__ = ["BandTemplates"]

#: number of bands below which there is no working point
FEWEST_BANDS = 2


@dataclass(frozen=True, eq=False)
class BandTemplates(Displayed):
    """Data and templates of one kinematic bin.

    Parameters
    ----------
    name : str
        Name of the bin, e.g. ``"pt 300 to 400"``.
    variable : hist axis
        The fitted variable and its bins.
    bands : sequence of str
        Exclusive bands of the score, from the lowest, in which jets fail, to the highest.
    data : mapping
        Band -> observed jets, float64[bins].
    categories : mapping
        Category of truth -> band -> :class:`jettagger.statistics.bins.Template`. A category without simulated jets in
        a band may be left out there.
    report : sequence of str
        What was corrected, merged or left out before, one line each.

    Raises
    ------
    ConfigError
        If there are less than two bands, a name is used twice, or there is no category.
    MismatchError
        If bands or numbers of bins of data and simulation do not agree.
    UnknownName
        If a category has jets in a band that does not exist.
    InvalidValues
        If contents are negative or not finite, a category has no jets at all, templates have no statistical
        uncertainties, or one side of a variation has no jets.

    Examples
    --------
    >>> import hist, numpy as np
    >>> mass = hist.axis.Regular(2, 60, 120, name="msoftdrop")
    >>> jets = lambda *numbers: Template(np.array(numbers), np.array(numbers) / 10, {})
    >>> templates = BandTemplates(
    ...     "pt 300 to 400", mass, ["fail", "pass"], {"fail": np.array([80.0, 50.0]), "pass": np.array([70.0, 20.0])},
    ...     {"signal": {"fail": jets(20.0, 10.0), "pass": jets(60.0, 15.0)}, "other": {"fail": jets(60.0, 40.0)}},
    ... )
    >>> templates.yields("signal").tolist(), templates.yields("other").tolist()
    ([30.0, 75.0], [100.0, 0.0])
    """

    name: str
    variable: Any
    bands: Sequence[str]
    data: Mapping[str, Floats]
    categories: Mapping[str, Mapping[str, Template]]
    report: Sequence[str] = ()

    def __post_init__(self) -> None:
        bands = tuple(self.bands)
        if len(bands) < FEWEST_BANDS or len(set(bands)) < len(bands):
            raise ConfigError(f"{self.name}: expected at least two bands with different names, got {list(bands)}")
        if not self.categories:
            raise ConfigError(f"{self.name}: expected at least one category of simulated jets")
        data = {band: self._contents(f"data in band {band!r}", content) for band, content in self.data.items()}
        if set(data) != set(bands):
            raise MismatchError(f"{self.name}: data in the bands {list(data)}, expected {list(bands)}")
        categories = {
            category: {
                band: self._checked(f"{category} in band {band!r}", template) for band, template in parts.items()
            }
            for category, parts in self.categories.items()
        }
        for category, parts in categories.items():
            unknown = [band for band in parts if band not in bands]
            if unknown:
                raise UnknownName("band", unknown, bands, f"category {category!r} of {self.name}")
            if not any(template.values.sum() > 0 for template in parts.values()):
                raise InvalidValues(f"{self.name}: category {category!r} has no jets in any band: leave it out")
        object.__setattr__(self, "bands", bands)
        object.__setattr__(self, "data", {band: data[band] for band in bands})
        object.__setattr__(self, "report", tuple(self.report))
        ordered = {
            category: {band: parts[band] for band in bands if band in parts and parts[band].values.sum() > 0}
            for category, parts in categories.items()
        }
        object.__setattr__(self, "categories", ordered)
        self._check_statistics()

    def _contents(self, what: str, content: Any) -> Floats:
        values = np.asarray(content, dtype=np.float64)
        bins = len(self.variable.edges) - 1
        if values.shape != (bins,):
            raise MismatchError(
                f"{self.name}, {what}: {values.shape} contents, expected one for each of the {bins} bins of "
                f"{self.variable.name or 'the variable'}; data and simulation need the same bins"
            )
        bad = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
        if len(bad):
            raise InvalidValues(
                f"{self.name}, {what}: contents {values[bad[0]]:g} in bins {intervals(self.variable, bad)}, expected "
                "finite numbers that are not negative"
            )
        return values

    def _checked(self, what: str, template: Template) -> Template:
        values = self._contents(what, template.values)
        variances = self._contents(f"variances of {what}", template.variances)
        shifts = {}
        for name, sides in template.shifts.items():
            if len(sides) != 2:
                raise InvalidValues(f"{self.name}, {what}: variation {name!r} has {len(sides)} sides, expected two")
            up, down = (
                self._contents(f"{what}, {name}{side}", content)
                for side, content in zip(("Up", "Down"), sides, strict=True)
            )
            if values.sum() > 0 and not (up.sum() > 0 and down.sum() > 0):
                raise InvalidValues(f"{self.name}, {what}: one side of the variation {name!r} has no jets")
            shifts[name] = (up, down)
        return Template(values, variances, shifts)

    def _check_statistics(self) -> None:
        for category, parts in self.categories.items():
            if not any(template.variances.any() for template in parts.values()):
                raise InvalidValues(
                    f"{self.name}: templates of {category!r} have no statistical uncertainties (all variances are 0): "
                    "give sums of squared weights, e.g. by histograms with weighted storage"
                )

    def __repr__(self) -> str:
        return (
            f"<BandTemplates of {self.name}: {len(self.variable.edges) - 1} bins of {self.variable.name}, bands "
            f"{', '.join(self.bands)}; {', '.join(self.categories)}>"
        )

    def summary(self) -> ObjectSummary:
        """Jets of each category in each band, and of data, for display."""
        rows = [
            (category, *(f"{number:.5g}" for number in self.yields(category)), f"{self.yields(category).sum():.5g}")
            for category in self.categories
        ]
        counts = [self.data[band].sum() for band in self.bands]
        rows.append(("data", *(f"{number:.5g}" for number in counts), f"{sum(counts):.5g}"))
        return ObjectSummary(
            f"Templates of {self.name}",
            [
                ("variable", f"{self.variable.name}, {len(self.variable.edges) - 1} bins"),
                *(("report", line) for line in self.report),
            ],
            [Grid("jets", ("category", *self.bands, "all"), rows)],
        )

    def yields(self, category: str) -> Floats:
        """Simulated jets of a category in each band, float64[bands]; 0 where there are none.

        Raises
        ------
        UnknownName
            If there is no such category.
        """
        if category not in self.categories:
            raise UnknownName("category", category, list(self.categories), self.name)
        parts = self.categories[category]
        return np.array([parts[band].values.sum() if band in parts else 0.0 for band in self.bands])

    def total(self, band: str) -> tuple[Floats, Floats]:
        """Values and variances of the sum of the categories in a band, float64[bins] each.

        Raises
        ------
        UnknownName
            If there is no such band.
        """
        if band not in self.bands:
            raise UnknownName("band", band, self.bands, self.name)
        parts = [templates[band] for templates in self.categories.values() if band in templates]
        bins = np.zeros(len(self.variable.edges) - 1)
        return (
            np.sum([bins, *(template.values for template in parts)], axis=0),
            np.sum([bins, *(template.variances for template in parts)], axis=0),
        )

    @property
    def variations(self) -> tuple[str, ...]:
        """The variations of all categories."""
        names = [name for parts in self.categories.values() for template in parts.values() for name in template.shifts]
        return tuple(dict.fromkeys(names))

    def merged(self, min_effective_events: float = 10.0) -> BandTemplates:
        """The same with neighbouring bins merged until the simulation describes each of them.

        Parameters
        ----------
        min_effective_events : float
            Minimum of ``(sum w)^2 / sum w^2`` of the sum of the categories in each bin of each band.

        Returns
        -------
        BandTemplates
            With a line in the report if bins were merged.

        Raises
        ------
        InvalidValues
            If all bins of a band together have less.
        """
        import hist

        starts, lacking = groups({band: self.total(band) for band in self.bands}, min_effective_events)
        if lacking:
            counts = ", ".join(f"band {band!r} has {count:.3g}" for band, count in lacking.items())
            raise InvalidValues(
                f"{self.name}: bins cannot be merged to {min_effective_events:g} effective simulated jets: {counts} in "
                "all bins together. Simulate more, join bands or kinematic bins, or ask for less"
            )
        if len(starts) == len(self.variable.edges) - 1:
            return self
        edges = np.asarray(self.variable.edges)[[*starts, -1]]
        axis = hist.axis.Variable(edges, name=self.variable.name, label=self.variable.label)
        line = (
            f"{self.name}: {len(self.variable.edges) - 1} bins of {self.variable.name} merged to {len(starts)}, each "
            f"with at least {min_effective_events:g} effective simulated jets in each band: edges "
            f"{', '.join(f'{edge:g}' for edge in edges)}"
        )

        def joined(template: Template) -> Template:
            shifts = {
                name: (np.add.reduceat(up, starts), np.add.reduceat(down, starts))
                for name, (up, down) in template.shifts.items()
            }
            return Template(
                np.add.reduceat(template.values, starts), np.add.reduceat(template.variances, starts), shifts
            )

        return replace(
            self,
            variable=axis,
            data={band: np.add.reduceat(content, starts) for band, content in self.data.items()},
            categories={
                category: {band: joined(template) for band, template in parts.items()}
                for category, parts in self.categories.items()
            },
            report=(*self.report, line),
        )

    def without_migration(self, variations: Iterable[str] | None = None) -> BandTemplates:
        """The same with variations that leave the fraction of each category in each band as it is.

        A factor of a band is the efficiency in data over the one of the simulation *as it is applied*, the nominal one.
        A variation of the simulation that moves jets between bands (another parton shower, for instance) changes what
        the factor is relative to, and thereby enters its uncertainty in full. Here each shifted template is scaled to
        the nominal fractions; changes of shapes, and of the yield in all bands together, are kept.

        Parameters
        ----------
        variations : iterable of str, optional
            Default: all.

        Returns
        -------
        BandTemplates

        Raises
        ------
        UnknownName
            If no category has a variation.
        """
        chosen = set(self.variations if variations is None else variations)
        unknown = sorted(chosen - set(self.variations))
        if unknown:
            raise UnknownName("variation", unknown, self.variations, self.name)
        categories = {}
        for category, parts in self.categories.items():
            total = sum(template.values.sum() for template in parts.values())
            changed = dict(parts)
            for name in chosen:
                for side in (0, 1):
                    sums = [
                        (template.shifts[name][side] if name in template.shifts else template.values).sum()
                        for template in parts.values()
                    ]
                    ratio = sum(sums) / total
                    for band, template in changed.items():
                        if name not in template.shifts:
                            continue
                        sides = list(template.shifts[name])
                        sides[side] = sides[side] * (template.values.sum() * ratio / sides[side].sum())
                        shifts = {**template.shifts, name: (sides[0], sides[1])}
                        changed[band] = replace(template, shifts=shifts)
            categories[category] = changed
        return replace(self, categories=categories)

    def with_shapes(self, shapes: Mapping[str, Mapping[str, Mapping[str, tuple[Floats, Floats]]]]) -> BandTemplates:
        """The same with further variations.

        Parameters
        ----------
        shapes : mapping
            Category -> band -> variation -> contents up and down, float64[bins] each.

        Returns
        -------
        BandTemplates

        Raises
        ------
        UnknownName
            If there is no such category, or it has no jets in a band.
        """
        categories = {category: dict(parts) for category, parts in self.categories.items()}
        for category, parts in shapes.items():
            self.yields(category)
            for band, shifts in parts.items():
                if band not in categories[category]:
                    raise UnknownName("band", band, list(categories[category]), f"category {category!r}")
                template = categories[category][band]
                categories[category][band] = replace(template, shifts={**template.shifts, **shifts})
        return replace(self, categories=categories)

    def empty_bins(self) -> dict[str, tuple[Floats, str]]:
        """Bins without simulated jets of any category: band -> observed jets in them, float64[n], and their names."""
        result = {}
        for band in self.bands:
            bins = np.flatnonzero(effective_events(*self.total(band)) == 0)
            if len(bins):
                result[band] = (self.data[band][bins], intervals(self.variable, bins))
        return result


guard(globals())
