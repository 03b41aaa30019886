"""The model of a fit of factors on efficiencies, as a workspace in pyhf's JSON format.

In each category the factor of a band multiplies the jets in it. Factors move jets between bands: weighted with the
simulated jets they have a mean of one. The factor of one band, the reference, therefore follows from the others,

    kappa_r = 1 + sum over b != r of (1 - kappa_b) P_b / P_r,

with the simulated jets ``P``. It is linear in them, so that plain HistFactory (CERN-OPEN-2012-016) describes it: the
template of the reference band enters once with the constant part of this sum, and once for each other band with
``-P_b / P_r`` as a negative sample, scaled by ``kappa_b``. With two bands the reference is the lowest band:
``kappa_fail = (P + F - kappa P) / F``.

With more bands the reference is the one with the largest number of jets of the category. Its factor cannot be bounded
by bounds of the others, and it is the one that is farthest from zero.

A measured shape, e.g. a scale of the mass, has a wide constraint, which plain HistFactory only has as a wide variation:
its two sides are extrapolated such that one original variation up and down has exactly the original contents, with a
quadratic dependence in between.

A factor multiplies a band also where variations change its template; `P` are the nominal numbers of jets. Templates
with variations are ``(nominal + change of the shape) * change of the yield``, as in CMS combine. Limited simulated
events are one factor for the sum of all categories in each bin (R. Barlow and C. Beeston, 1993, in the version with one
parameter for each bin).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from jettagger.arguments import guard, in_range
from jettagger.calibration.templates import BandTemplates
from jettagger.display import Brief
from jettagger.errors import ConfigError, InvalidValues, UnknownName
from jettagger.statistics.bins import Template
from jettagger.statistics.workspaces import shapes_and_yields
from jettagger.types import Floats

__all__ = ["CategoryFactor", "FactorModel", "ShapeFactor"]

#: bounds of factors and of free normalisations
LARGEST = 10.0
#: bounds of variations in standard deviations
FARTHEST = 5.0
#: width of the constraint of a free shape, in units of its variation: no constraint in effect
UNCONSTRAINED = 20.0
#: fraction of a band's contents that a variation leaves in each bin at its bounds, and steps of their search
LEFT, STEP = 0.02, 0.05

#: treatments of the factors of a category
FREE, FIXED, TIED = "free", "fixed", "tied"


@dataclass(frozen=True)
class CategoryFactor(Brief):
    """How the jets of a category are fitted.

    Parameters
    ----------
    factors : str
        ``"free"``: the category has factors of its own; ``"fixed"``: they are 1; ``"tied"``: those of ``tied_to``,
        where the factor of the reference band follows from the jets of this category.
    tied_to : str, optional
        A category with free factors.
    normalisation : str, float or None
        Number of jets in all bands together: ``"free"``; a relative uncertainty, log-normal; or None, as simulated.

    Raises
    ------
    ConfigError
        If a value is not one of these.

    Examples
    --------
    >>> CategoryFactor("tied", tied_to="merged", normalisation=0.3).normalisation
    0.3
    """

    factors: str = FREE
    tied_to: str | None = None
    normalisation: str | float | None = None

    def __post_init__(self) -> None:
        if self.factors not in (FREE, FIXED, TIED):
            raise ConfigError(
                f"CategoryFactor(), argument factors: got {self.factors!r}, expected 'free', 'fixed' or 'tied'"
            )
        if (self.factors == TIED) != (self.tied_to is not None):
            raise ConfigError("CategoryFactor(): 'tied' needs the category in tied_to, and only 'tied' takes it")
        if isinstance(self.normalisation, str):
            if self.normalisation != FREE:
                raise ConfigError(
                    f"CategoryFactor(), argument normalisation: got {self.normalisation!r}, expected 'free', a "
                    "relative uncertainty or None"
                )
        elif self.normalisation is not None:
            _relative(self.normalisation, "CategoryFactor(), argument normalisation")


def _relative(size: float, what: str) -> None:
    if not 0 < size < LARGEST:
        raise ConfigError(f"{what}: got {size!r}, expected a relative uncertainty between 0 and {LARGEST:g}")


@dataclass(frozen=True)
class ShapeFactor(Brief):
    """A variation whose size is measured, e.g. the scale or the resolution of the mass.

    Parameters
    ----------
    size : float
        Relative change by one standard deviation of the variation, e.g. 0.02 if it is a shift of the mass by 2 %. The
        fitted factor is ``1 + size * parameter``.
    prior : float, optional
        Relative uncertainty before the fit; None: free.

    Raises
    ------
    ConfigError
        If a number is not positive.
    """

    size: float
    prior: float | None = None

    def __post_init__(self) -> None:
        in_range(self.size, "ShapeFactor(), argument size", 0, above=True)
        if self.prior is not None:
            in_range(self.prior, "ShapeFactor(), argument prior", 0, above=True)

    @property
    def width(self) -> float:
        """Width of the constraint in units of the variation."""
        return UNCONSTRAINED if self.prior is None else self.prior / self.size


@dataclass(frozen=True, eq=False)
class FactorModel(Brief):
    """The model of a fit of factors.

    Parameters
    ----------
    templates : BandTemplates
    categories : mapping, optional
        Category -> :class:`CategoryFactor`; those left out have factors and a normalisation of their own.
    normalisations : mapping, optional
        Uncertainty -> category -> relative size, log-normal, e.g. ``{"lumi": {"signal": 0.016, "other": 0.016}}``.
    shapes : mapping, optional
        Variation -> :class:`ShapeFactor`, for variations whose size is a result. All others are uncertainties: one
        standard deviation is what the templates are shifted by.
    simulated_statistics : bool
        Whether limited numbers of simulated jets are an uncertainty.
    references : mapping, optional
        Category -> the band whose factor follows from the others; default: see :mod:`jettagger.calibration.model`.

    Raises
    ------
    UnknownName
        If a category, a band or a variation does not exist.
    ConfigError
        If nothing is free, or names are used twice.
    InvalidValues
        If data are observed where no category has simulated jets, or a category that is tied to another has no jets in
        its reference band.
    """

    templates: BandTemplates
    categories: Mapping[str, CategoryFactor] = field(default_factory=dict)
    normalisations: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    shapes: Mapping[str, ShapeFactor] = field(default_factory=dict)
    simulated_statistics: bool = True
    references: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        templates, known = self.templates, list(self.templates.categories)
        for names, what in (
            (self.categories, "the treatments of categories"),
            (self.references, "the references"),
            ([name for sizes in self.normalisations.values() for name in sizes], "the normalisations"),
        ):
            unknown = [name for name in names if name not in known]
            if unknown:
                raise UnknownName("category", unknown, known, what)
        for uncertainty, sizes in self.normalisations.items():
            for category, size in sizes.items():
                _relative(size, f"uncertainty {uncertainty!r} of {category}")
        unknown = [name for name in self.shapes if name not in templates.variations]
        if unknown:
            raise UnknownName("variation", unknown, templates.variations, f"the shapes of {templates.name}")
        object.__setattr__(self, "categories", {name: self.categories.get(name, CategoryFactor()) for name in known})
        for name, chosen in self.categories.items():
            if chosen.tied_to is not None:
                leaders = [other for other, treated in self.categories.items() if treated.factors == FREE]
                if chosen.tied_to not in leaders:
                    raise UnknownName("category", chosen.tied_to, leaders, f"those that {name!r} can be tied to")
        self._check_names()
        for band, (observed, bins) in templates.empty_bins().items():
            if observed.any():
                raise InvalidValues(
                    f"{templates.name}, band {band!r}: {observed.sum():g} jets in data where no category has simulated "
                    f"ones, in bins {bins}; merge bins (BandTemplates.merged) or simulate more"
                )
        if not self.factor_parameters:
            raise ConfigError(
                f"{templates.name}: no factor can be measured: all categories are fixed or have jets in one band only"
            )

    def _check_names(self) -> None:
        names = [*self.templates.variations, *self.normalisations]
        names += [f"norm_{name}" for name, chosen in self.categories.items() if chosen.normalisation is not None]
        names += [f"mcstat_{band}" for band in self.templates.bands]
        names += [f"kappa_{category}_{band}" for category in self.categories for band in self.templates.bands]
        for band in self.templates.bands:
            samples = [name for category in self.categories for name in (category, *self._takers(category, band))]
            names += [name for name in samples if samples.count(name) > 1]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(f"{self.templates.name}: the names {', '.join(twice)} are used for two parameters")

    # ---------------------------------------------------------------------------------------- factors

    @cached_property
    def yields(self) -> Floats:
        """Simulated jets, float64[categories, bands]."""
        return np.array([self.templates.yields(category) for category in self.categories])

    def leader(self, category: str) -> str:
        """The category whose parameters a category has."""
        return self.categories[category].tied_to or category

    def reference(self, category: str) -> str | None:
        """The band whose factor follows from the others; None for fixed factors.

        Raises
        ------
        UnknownName
            If the chosen band does not exist.
        InvalidValues
            If the category has no jets in it.
        """
        if self.categories[category].factors == FIXED:
            return None
        leader = self.leader(category)
        yields = self.templates.yields(leader)
        bands = self.templates.bands
        chosen = self.references.get(leader)
        if chosen is None:
            first = len(bands) == 2 and yields[0] > 0
            chosen = bands[0 if first else int(np.argmax(yields))]
        if chosen not in bands:
            raise UnknownName("band", chosen, bands, f"the reference of {category!r}")
        if not self.templates.yields(category)[bands.index(chosen)] > 0:
            raise InvalidValues(
                f"{self.templates.name}: {category!r} has no simulated jets in band {chosen!r}, from which its factors "
                f"take jets{'' if leader == category else f' as those of {leader!r}'}; fix it, or tie it to another"
            )
        return chosen

    @cached_property
    def moved(self) -> dict[str, dict[str, str]]:
        """Category -> band that has a parameter -> the name of this parameter."""
        result: dict[str, dict[str, str]] = {}
        for category in self.categories:
            reference, leader = self.reference(category), self.leader(category)
            both = (self.templates.yields(category) > 0) & (self.templates.yields(leader) > 0)
            bands = [band for band, there in zip(self.templates.bands, both, strict=True) if there]
            result[category] = {
                band: f"kappa_{leader}_{band}" for band in bands if reference is not None and band != reference
            }
        return result

    @cached_property
    def factor_parameters(self) -> dict[str, float]:
        """Parameters of factors -> their upper bounds: no band takes more jets than its category has."""
        bounds: dict[str, float] = {}
        for category, parameters in self.moved.items():
            yields = dict(zip(self.templates.bands, self.templates.yields(category), strict=True))
            all_jets = sum(yields[band] for band in (*parameters, self.reference(category)) if band is not None)
            for band, name in parameters.items():
                bounds[name] = min(bounds.get(name, LARGEST), all_jets / yields[band])
        return bounds

    def factors(self, names: list[str]) -> tuple[Floats, Floats]:
        """Factors as linear functions of parameters.

        Parameters
        ----------
        names : list of str
            The parameters.

        Returns
        -------
        constant : float64[categories, bands]
            1 for fixed factors; NaN where a category has no jets.
        slopes : float64[categories, bands, parameters]
        """
        bands = self.templates.bands
        constant = np.where(self.yields > 0, 1.0, math.nan)
        slopes = np.zeros((*constant.shape, len(names)))
        for row, (category, parameters) in enumerate(self.moved.items()):
            reference = self.reference(category)
            if reference is None:
                continue
            last = bands.index(reference)
            for band, name in parameters.items():
                column, position = bands.index(band), names.index(name)
                ratio = self.yields[row, column] / self.yields[row, last]
                constant[row, column] = 0.0
                slopes[row, column, position] = 1.0
                constant[row, last] += ratio
                slopes[row, last, position] = -ratio
        return constant, slopes

    # ---------------------------------------------------------------------------------------- workspace

    def workspace(self) -> dict[str, Any]:
        """The workspace in pyhf's JSON format.

        Returns
        -------
        dict
            ``kappa_<category>_<band>`` are the factors, ``norm_<category>`` the normalisations, ``mcstat_<band>`` the
            statistical uncertainties of the simulation; variations and other normalisations have their own names.
            Measured shapes are in units of the width of their constraint (`ShapeFactor.width` variations). The
            parameter of interest is the first of the factors.
        """
        channels = [{"name": band, "samples": self._samples(band)} for band in self.templates.bands]
        parameters: list[dict[str, Any]] = [
            {"name": name, "bounds": [[0.0, highest]], "inits": [1.0]}
            for name, highest in self.factor_parameters.items()
        ]
        for category, chosen in self.categories.items():
            if chosen.normalisation == FREE:
                parameters.append({"name": f"norm_{category}", "bounds": [[0.0, LARGEST]], "inits": [1.0]})
        for variation in self.templates.variations:
            width = self.shapes[variation].width if variation in self.shapes else 1.0
            bounds = [[end / width for end in self.range_of(variation)]]
            parameters.append({"name": variation, "bounds": bounds, "inits": [0.0]})
        poi = next(iter(self.factor_parameters))
        return {
            "channels": channels,
            "observations": [{"name": band, "data": content.tolist()} for band, content in self.templates.data.items()],
            "measurements": [{"name": "calibration", "config": {"poi": poi, "parameters": parameters}}],
            "version": "1.0.0",
        }

    @cached_property
    def samples(self) -> dict[str, dict[str, str]]:
        """Band -> sample of the workspace -> its category."""
        return {
            band: {
                name: category
                for category, parts in self.templates.categories.items()
                if band in parts
                for name in (category, *self._takers(category, band))
            }
            for band in self.templates.bands
        }

    def _takers(self, category: str, band: str) -> dict[str, str]:
        """Samples that take the jets of other bands from the reference band: name -> other band."""
        if band != self.reference(category):
            return {}
        return {f"{category}_to_{other}": other for other in self.moved[category]}

    def _samples(self, band: str) -> list[dict[str, Any]]:
        samples = []
        for category, parts in self.templates.categories.items():
            if band not in parts:
                continue
            errors = np.sqrt(parts[band].variances)
            if band != self.reference(category):
                parameter = self.moved[category].get(band)
                samples.append(self._sample(category, category, band, parts[band], 1.0, parameter, errors))
                continue
            yields = dict(zip(self.templates.bands, self.templates.yields(category), strict=True))
            ratios = {other: yields[other] / yields[band] for other in self.moved[category]}
            constant = 1 + sum(ratios.values())
            samples.append(self._sample(category, category, band, parts[band], constant, None, errors))
            for name, other in self._takers(category, band).items():
                # the uncertainty of the simulation is relative to the sum, of which the first sample has all of it
                none, parameter = np.zeros_like(errors), self.moved[category][other]
                samples.append(self._sample(name, category, band, parts[band], -ratios[other], parameter, none))
        return samples

    def _sample(
        self,
        name: str,
        category: str,
        band: str,
        template: Template,
        factor: float,
        parameter: str | None,
        errors: Floats,
    ) -> dict[str, Any]:
        modifiers: list[dict[str, Any]] = []
        if parameter is not None:
            modifiers.append({"name": parameter, "type": "normfactor", "data": None})
        normalisation = self.categories[category].normalisation
        if normalisation == FREE:
            modifiers.append({"name": f"norm_{category}", "type": "normfactor", "data": None})
        for variation in template.shifts:
            up, down, high, low = self._sides(template, variation)
            sides = {"hi_data": (up * factor).tolist(), "lo_data": (down * factor).tolist()}
            modifiers.append({"name": variation, "type": "histosys", "data": sides})
            if (high, low) != (1.0, 1.0):
                modifiers.append({"name": variation, "type": "normsys", "data": {"hi": high, "lo": low}})
        for uncertainty, size in self.sizes(category).items():
            relative = {"hi": 1 + size, "lo": 1 / (1 + size)}
            modifiers.append({"name": uncertainty, "type": "normsys", "data": relative})
        if self.simulated_statistics:
            modifiers.append({"name": f"mcstat_{band}", "type": "staterror", "data": errors.tolist()})
        return {"name": name, "data": (template.values * factor).tolist(), "modifiers": modifiers}

    def sizes(self, category: str) -> dict[str, float]:
        """The log-normal uncertainties of the number of jets of a category: name -> relative size."""
        sizes = {name: listed[category] for name, listed in self.normalisations.items() if category in listed}
        normalisation = self.categories[category].normalisation
        if isinstance(normalisation, (int, float)):
            sizes[f"norm_{category}"] = float(normalisation)
        return sizes

    @cached_property
    def report(self) -> tuple[str, ...]:
        """Variations that end before one standard deviation, one line each."""
        lines = []
        for variation in self.templates.variations:
            low, high = self.range_of(variation)
            if min(-low, high) < 1:
                lines.append(
                    f"{variation}: between {low:.2g} and {high:.2g} standard deviations, beyond which bins would have "
                    "negative expectations: more jets, wider bins or a smaller variation"
                )
        return tuple(lines)

    def _sides(self, template: Template, variation: str) -> tuple[Floats, Floats, float, float]:
        """Both sides of a variation at one standard deviation of its constraint, and their changes of the yield."""
        if variation not in self.shapes:
            return shapes_and_yields(template, variation)
        up, down = template.shifts[variation]
        width = self.shapes[variation].width
        if width < 1:
            # within the original variation, which is reached outside of the constraint, where changes are linear
            return (
                template.values + width * (up - template.values),
                template.values + width * (down - template.values),
                1.0,
                1.0,
            )
        slope, bend = (up - down) / 2, (up + down) / 2 - template.values
        # pyhf's polynomial of the even part (code4p) at one original variation
        square = 1 / width**2
        even = bend / (square * (15 + square * (3 * square - 10)) / 8)
        return template.values + width * slope + even, template.values - width * slope + even, 1.0, 1.0

    def range_of(self, variation: str) -> tuple[float, float]:
        """The range in which all bins have positive expectations, in units of the variation."""
        steps = np.arange(STEP, FARTHEST + STEP / 2, STEP)[:, None]
        ends = []
        for sign in (-1.0, 1.0):
            lowest = np.ones(len(steps), dtype=bool)
            for band in self.templates.bands:
                total, _ = self.templates.total(band)
                change = np.zeros((len(steps), len(total)))
                for parts in self.templates.categories.values():
                    if band not in parts or variation not in parts[band].shifts:
                        continue
                    template = parts[band]
                    if variation in self.shapes:
                        up, down = template.shifts[variation]
                        wide = self.shapes[variation].width > 1
                        even = (up + down) / 2 - template.values
                        change += steps * sign * (up - down) / 2 + (np.square(steps) if wide else steps) * even
                    else:
                        side = shapes_and_yields(template, variation)[sign < 0]
                        change += steps * (side - template.values)
                lowest &= ((total + change >= LEFT * total) | (total <= 0)).all(axis=1)
            # up to the last step before the first one with too little
            number = len(steps) if lowest.all() else int(np.argmin(lowest))
            ends.append(sign * max(number, 1) * STEP)
        return round(ends[0], 6), round(ends[1], 6)


guard(globals())
