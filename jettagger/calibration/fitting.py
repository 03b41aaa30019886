"""Fits of factors on efficiencies: values, correlations, goodness of fit, impacts, contributions of each source.

Contributions are changes of the factors when one measurement fluctuates by its standard deviation: the numbers of
observed jets, those of simulated ones, and the external measurement of each systematic uncertainty (A. Pinto et al.,
2023, arXiv:2307.04007). In contrast to impacts their squares add up to the variance of the factor, and a source that is
common to several bins shifts all of them by its contributions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from jettagger.arguments import guard, in_range
from jettagger.calibration.model import FREE, CategoryFactor, FactorModel, ShapeFactor
from jettagger.calibration.templates import BandTemplates
from jettagger.discriminants import Measured
from jettagger.display import Brief, Displayed, Grid, ObjectSummary
from jettagger.errors import ConfigError, InvalidValues, UnknownName
from jettagger.statistics.fits import Likelihood, toys_at
from jettagger.types import Array, Floats

__all__ = [
    "Expectation",
    "FactorFit",
    "Factors",
    "Goodness",
    "Impact",
    "PseudoExperiments",
    "fit_factors",
    "pseudo_experiments",
]

#: sources of uncertainty that always exist
STATISTICS, SIMULATION = "statistics", "simulation"
#: how names of parameters of simulated jets begin
MCSTAT = "mcstat_"
#: probability within one standard deviation
ONE_SIGMA = 0.6826894921370859
#: largest sum of factors times jets, relative to the jets, that rounding leaves below zero
ROUNDING = 1e-6

#: source -> changes of the factors up and down, float64[categories, points] each
Contributions = dict[str, tuple[Floats, Floats]]


@dataclass(frozen=True, eq=False)
class Factors(Displayed):
    """Factors on efficiencies of categories at points: exclusive bands or inclusive working points.

    Attributes
    ----------
    name : str
        Name of the kinematic bin.
    kind : str
        ``"bands"`` or ``"points"``.
    categories, points : tuple of str
    values : numpy.ndarray, float64[categories, points]
        1 for fixed factors, NaN where a category has no simulated jets.
    covariance : numpy.ndarray, float64[categories * points, categories * points]
        Of the flattened values; 0 for fixed factors, NaN where an uncertainty is not defined because a parameter is at
        a bound.
    contributions : dict
        Source -> changes of the values up and down, float64[categories, points] each: ``statistics`` and
        ``simulation`` without a sign (positive and negative), systematic uncertainties with theirs.
    at_bounds : tuple of str
        Parameters at a bound of the fit.
    parts : dict
        ``statistics`` and ``simulation``, the sources of many independent numbers -> their part of the covariance,
        float64[categories * points, categories * points].
    """

    name: str
    kind: str
    categories: tuple[str, ...]
    points: tuple[str, ...]
    values: Floats
    covariance: Floats
    contributions: Contributions
    at_bounds: tuple[str, ...] = ()
    parts: dict[str, Floats] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the flattened values: ``<category>/<point>``."""
        return tuple(f"{category}/{point}" for category in self.categories for point in self.points)

    @property
    def uncertainties(self) -> Floats:
        """One standard deviation of each value, float64[categories, points]."""
        return np.asarray(np.sqrt(np.diag(self.covariance))).reshape(self.values.shape)

    @property
    def correlation(self) -> Floats:
        """Of the flattened values, float64[categories * points, categories * points]; NaN for fixed factors."""
        sigma = self.uncertainties.ravel()
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.where(np.outer(sigma, sigma) > 0, self.covariance / np.outer(sigma, sigma), math.nan))

    def measured(self, category: str, point: str) -> Measured:
        """One factor with its uncertainty.

        Raises
        ------
        UnknownName
            If there is no such category or point.
        """
        for name, kind, known in ((category, "category", self.categories), (point, self.kind[:-1], self.points)):
            if name not in known:
                raise UnknownName(kind, name, known, f"the factors of {self.name}")
        place = self.categories.index(category), self.points.index(point)
        return Measured(float(self.values[place]), float(self.uncertainties[place]))

    def with_contribution(self, source: str, up: Floats, down: Floats) -> Factors:
        """The same with a further source of uncertainty, e.g. the difference to another method or model.

        Parameters
        ----------
        source : str
        up, down : float64[categories, points]
            Changes of the values. Half of their difference enters the covariance, correlated between all of them.

        Returns
        -------
        Factors

        Raises
        ------
        ConfigError
            If the source exists already.
        InvalidValues
            If the changes have another shape or are not finite where there are factors.
        """
        if source in self.contributions:
            raise ConfigError(f"the factors of {self.name} have a contribution {source!r} already")
        change = (np.asarray(up, dtype=np.float64) - np.asarray(down, dtype=np.float64)) / 2
        if change.shape != self.values.shape or not np.isfinite(change[np.isfinite(self.values)]).all():
            raise InvalidValues(
                f"contribution {source!r}: expected finite changes of shape {self.values.shape}, got {change.shape}"
            )
        flat = np.where(np.isfinite(self.values), change, 0.0).ravel()
        contributions = {**self.contributions, source: (np.asarray(up), np.asarray(down))}
        return replace(self, covariance=self.covariance + np.outer(flat, flat), contributions=contributions)

    def sizes(self, groups: Mapping[str, Sequence[str]] | None = None) -> dict[str, Floats]:
        """Sizes of the contributions of sources, or of groups of them; their squares add up to the variances.

        Parameters
        ----------
        groups : mapping, optional
            Name -> sources, e.g. ``{"modelling": ["shower", "hadronisation"]}``; the others stay by themselves.

        Returns
        -------
        dict
            Source or group -> half of the difference of up and down, in quadrature for groups, float64[categories,
            points].

        Raises
        ------
        UnknownName
            If a source does not exist.
        ConfigError
            If a source is in two groups, or a group has the name of another source.
        """
        known = list(self.contributions)
        listed = [source for sources in (groups or {}).values() for source in sources]
        unknown = [source for source in listed if source not in known]
        if unknown:
            raise UnknownName("source", unknown, known, f"the factors of {self.name}")
        twice = sorted({name for name in listed if listed.count(name) > 1})
        twice += [name for name in groups or {} if name in known and name not in listed]
        if twice:
            raise ConfigError(f"sizes(), argument groups: {', '.join(twice)} would be counted twice")
        parts = {source: [source] for source in known if source not in listed} | dict(groups or {})
        changes = {source: (up - down) / 2 for source, (up, down) in self.contributions.items()}
        return {
            name: np.sqrt(np.sum([np.square(changes[source]) for source in sources], axis=0))
            for name, sources in parts.items()
            if sources
        }

    def __repr__(self) -> str:
        return f"<Factors of {self.name}, {self.kind} {', '.join(self.points)}; {', '.join(self.categories)}>"

    def summary(self) -> ObjectSummary:
        """Values with their uncertainties, for display."""
        rows = [
            (category, *(_text(value, sigma) for value, sigma in zip(values, sigmas, strict=True)))
            for category, values, sigmas in zip(self.categories, self.values, self.uncertainties, strict=True)
        ]
        sources = []
        for source, (up, down) in self.contributions.items():
            for category, high, low in zip(self.categories, up, down, strict=True):
                changes = (f"{a:+.2g} {b:+.2g}" for a, b in zip(high, low, strict=True))
                sources.append((source, category, *changes))
        return ObjectSummary(
            f"Factors of {self.name}",
            [("at bounds", ", ".join(self.at_bounds))],
            [
                Grid(self.kind, ("category", *self.points), rows),
                Grid("contributions (up, down)", ("source", "category", *self.points), sources),
            ],
        )


def _text(value: float, sigma: float) -> str:
    if math.isnan(value):
        return "no jets"
    return "1 (fixed)" if value == 1 and sigma == 0 else str(Measured(value, sigma))


@dataclass(frozen=True)
class Goodness(Brief):
    """The likelihood ratio to the saturated model, in which each bin is as observed (S. Baker, R. D. Cousins, 1984).

    Attributes
    ----------
    statistic : float
        ``-2 ln(L / L of the saturated model)``.
    degrees_of_freedom : int
        Bins minus parameters that are not constrained.
    probability : float
        Of a statistic at least as large, from its asymptotic chi-square distribution, which holds for bins with several
        jets each; NaN without degrees of freedom. The distribution for few jets is the one of `pseudo_experiments`.
    """

    statistic: float
    degrees_of_freedom: int
    probability: float


@dataclass(frozen=True, eq=False)
class Impact(Brief):
    """Changes of the factors with one constrained parameter.

    Attributes
    ----------
    parameter : str
    value, uncertainty : float
        Fitted, in units of the standard deviation before the fit, relative to the value before the fit.
    up, down : numpy.ndarray, float64[categories, bands]
        Changes of the factors if the parameter is fixed one standard deviation after the fit above and below its value
        and all others are fitted.
    prefit_up, prefit_down : numpy.ndarray, float64[categories, bands]
        The same with one standard deviation before the fit.
    """

    parameter: str
    value: float
    uncertainty: float
    up: Floats
    down: Floats
    prefit_up: Floats
    prefit_down: Floats


@dataclass(frozen=True, eq=False)
class Expectation(Brief):
    """Expected jets in one band.

    Attributes
    ----------
    band : str
    categories : dict
        Category -> jets, float64[bins].
    total, uncertainty : numpy.ndarray, float64[bins]
        Sum of the categories, and its uncertainty.
    data : numpy.ndarray, float64[bins]
        Observed jets.
    """

    band: str
    categories: dict[str, Floats]
    total: Floats
    uncertainty: Floats
    data: Floats


@dataclass(frozen=True, eq=False)
class FactorFit(Displayed):
    """The result of a fit of factors.

    Attributes
    ----------
    model : FactorModel
    data : numpy.ndarray, float64[data]
        Fitted observations and auxiliary data of the workspace.
    parameters : dict
        All parameters of the workspace -> fitted value.
    parameter_covariance : numpy.ndarray, float64[parameters, parameters]
        Zero for fixed parameters and for those at a bound.
    deviance : float
        -2 ln L relative to the saturated model.
    """

    model: FactorModel
    data: Floats
    parameters: dict[str, float]
    parameter_covariance: Floats
    deviance: float

    @cached_property
    def _likelihood(self) -> Likelihood:
        return _likelihood(self.model)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_likelihood"}

    # ---------------------------------------------------------------------------------------- factors

    @property
    def _point(self) -> Floats:
        return np.array(list(self.parameters.values()))

    @cached_property
    def _linear(self) -> tuple[Floats, Floats]:
        return self.model.factors(list(self.parameters))

    def _values(self, point: Floats) -> Floats:
        constant, slopes = self._linear
        return np.asarray(constant + slopes @ point)

    @cached_property
    def _covariance(self) -> Floats:
        """Of the flattened factors; NaN where they depend on a parameter at a bound."""
        constant, slopes = self._linear
        flat = slopes.reshape(constant.size, -1)
        covariance = flat @ self.parameter_covariance @ flat.T
        bound = np.array([self._at_bounds[name] for name in self.parameters])
        undefined = (flat[:, bound] != 0).any(axis=1) | np.isnan(constant.ravel())
        covariance[undefined] = covariance[:, undefined] = math.nan
        return np.asarray(covariance)

    @property
    def factors(self) -> Factors:
        """Factors of the exclusive bands, from the lowest."""
        constant, slopes = self._linear
        flat = slopes.reshape(constant.size, -1)
        templates = self.model.templates
        return Factors(
            templates.name,
            "bands",
            tuple(self.model.categories),
            tuple(templates.bands),
            self._values(self._point),
            self._covariance,
            self.contributions,
            self.at_bounds,
            {source: flat @ columns @ columns.T @ flat.T for source, columns in self._responses.items()},
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the flattened values: ``<category>/<band>``."""
        bands = self.model.templates.bands
        return tuple(f"{category}/{band}" for category in self.model.categories for band in bands)

    @property
    def values(self) -> Floats:
        """Factors of the exclusive bands, float64[categories, bands]; see `Factors`."""
        return self._values(self._point)

    @property
    def uncertainties(self) -> Floats:
        """One standard deviation of each value, float64[categories, bands]; NaN at bounds."""
        return np.asarray(np.sqrt(np.diag(self._covariance))).reshape(self.values.shape)

    @property
    def correlation(self) -> Floats:
        """Of the flattened values, float64[categories * bands, categories * bands]."""
        return self.factors.correlation

    def factor(self, category: str, band: str) -> Measured:
        """The factor of a category in a band with its uncertainty.

        Raises
        ------
        UnknownName
            If there is no such category or band.
        """
        return self.factors.measured(category, band)

    def inclusive(self) -> Factors:
        """Factors of inclusive working points, the scores above the lower edge of each band but the lowest.

        Returns
        -------
        Factors
            Named after the lowest of their bands; sums over its bands, weighted with the simulated jets.
        """
        bands = self.factors
        yields = self.model.yields
        number, categories = len(bands.points) - 1, len(bands.categories)
        matrix = np.zeros((categories, number, categories, number + 1))
        for row in range(categories):
            for point in range(number):
                above = yields[row, point + 1 :]
                if above.sum() > 0:
                    matrix[row, point, row, point + 1 :] = above / above.sum()
                else:
                    matrix[row, point] = math.nan

        def over(values: Floats) -> Floats:
            # what has no jets has no weight
            return np.einsum("kprb,rb->kp", matrix, np.nan_to_num(values))

        flat = np.nan_to_num(matrix).reshape(categories * number, -1)
        used = flat != 0
        undefined = (used & np.isnan(np.diag(bands.covariance))).any(axis=1)
        covariance = flat @ np.nan_to_num(bands.covariance) @ flat.T
        covariance[undefined] = covariance[:, undefined] = math.nan
        parts = {source: flat @ part @ flat.T for source, part in bands.parts.items()}
        contributions = {source: (over(up), over(down)) for source, (up, down) in bands.contributions.items()}
        for source, part in parts.items():
            # of many independent numbers: sizes of bands do not add up, their covariance does
            size = np.sqrt(np.diag(part)).reshape(categories, number)
            contributions[source] = (size, -size)
        return Factors(
            bands.name,
            "points",
            bands.categories,
            bands.points[1:],
            over(bands.values),
            covariance,
            contributions,
            bands.at_bounds,
            parts,
        )

    # ---------------------------------------------------------------------------------------- other results

    @property
    def shapes(self) -> dict[str, Measured]:
        """Measured shapes: variation -> factor with its uncertainty, e.g. scale and resolution of the mass."""
        result = {}
        for name, shape in self.model.shapes.items():
            step = shape.size * shape.width
            sigma = math.nan if self._at_bounds[name] else step * self._sigma(name)
            result[name] = Measured(1 + step * self.parameters[name], sigma)
        return result

    @property
    def normalisations(self) -> dict[str, Measured]:
        """Fitted number of jets of each category over the simulated one, of those with a normalisation of their own."""
        result = {}
        for category, chosen in self.model.categories.items():
            if chosen.normalisation is None:
                continue
            name = f"norm_{category}"
            value, sigma = self.parameters[name], math.nan if self._at_bounds[name] else self._sigma(name)
            if chosen.normalisation != FREE:
                base = 1 + float(chosen.normalisation)
                value = base**value
                sigma *= value * math.log(base)
            result[category] = Measured(value, sigma)
        return result

    def _sigma(self, name: str) -> float:
        position = list(self.parameters).index(name)
        return math.sqrt(self.parameter_covariance[position, position])

    @property
    def goodness(self) -> Goodness:
        """Goodness of fit with the saturated model as reference."""
        from scipy.stats import chi2

        constrained = set(self._likelihood.deviance.constraints[1].tolist())
        free = [
            position
            for position, (name, fixed) in enumerate(zip(self.parameters, self._likelihood.fixed, strict=True))
            if not fixed and (position not in constrained or self._is_free_shape(name))
        ]
        bins = sum(content.size for content in self.model.templates.data.values())
        number = bins - len(free)
        probability = float(chi2.sf(self.deviance, number)) if number > 0 else math.nan
        return Goodness(self.deviance, number, probability)

    def _is_free_shape(self, name: str) -> bool:
        shape = self.model.shapes.get(name)
        return shape is not None and shape.prior is None

    @cached_property
    def _at_bounds(self) -> dict[str, bool]:
        bounds = self._likelihood.at_bounds(self._point) & ~self._likelihood.fixed
        return dict(zip(self.parameters, bounds.tolist(), strict=True))

    @property
    def at_bounds(self) -> tuple[str, ...]:
        """Parameters at a bound, and factors below zero; their uncertainties are not those of `uncertainties`.

        A factor that follows from the others (see :mod:`jettagger.calibration.model`) is listed by the name that its
        parameter would have.
        """
        names = [name for name, bound in self._at_bounds.items() if bound]
        for row, category in enumerate(self.model.categories):
            for band, value in zip(self.model.templates.bands, self.values[row], strict=True):
                if value <= ROUNDING and self.model.moved[category].get(band) not in self.parameters:
                    names.append(f"kappa_{category}_{band}")
        return tuple(names)

    # ---------------------------------------------------------------------------------------- sources

    @cached_property
    def _responses(self) -> dict[str, Floats]:
        """Changes of the parameters by one standard deviation of each number, float64[parameters, numbers].

        For the sources of many independent numbers: observed jets, with what is free in the fit, and simulated jets.
        """
        _, positions, widths = self._likelihood.deviance.constraints
        rates = self._likelihood.deviance.rates(self._point)
        observed = self.data[: len(rates)]
        # derivatives of the fitted parameters by the observed numbers, times the standard deviations of these
        with np.errstate(divide="ignore", invalid="ignore"):
            scaled = np.where(rates > 0, np.sqrt(observed) / rates, 0.0)[:, None]
        by_data = self.parameter_covariance @ (scaled * self._likelihood.deviance.jacobian(self._point)).T
        by_constraints = self.parameter_covariance[:, positions] / widths
        names = list(self.parameters)
        simulated = [column for column, place in enumerate(positions) if names[place].startswith(MCSTAT)]
        free = [column for column, place in enumerate(positions) if self._is_free_shape(names[place])]
        return {
            STATISTICS: np.concatenate([by_data, by_constraints[:, free]], axis=1),
            SIMULATION: by_constraints[:, simulated],
        }

    @cached_property
    def contributions(self) -> Contributions:
        """What each source contributes to the uncertainties of the factors.

        Returns
        -------
        dict
            ``statistics`` (with all that is free in the fit), ``simulation`` (limited simulated jets), and each
            systematic uncertainty -> changes of the factors up and down, float64[categories, bands] each. For
            systematic uncertainties the fit is repeated with their external measurement one standard deviation up and
            down; where it does not converge they are the limit for small changes.
        """
        _, slopes = self._linear
        result: Contributions = {}
        for source, columns in self._responses.items():
            size = np.sqrt(np.square(slopes @ columns).sum(axis=2))
            result[source] = (size, -size)
        names = list(self.parameters)
        data_places, positions, widths = self._likelihood.deviance.constraints
        by_constraints = self.parameter_covariance[:, positions] / widths
        for column, (place, position, width) in enumerate(zip(data_places, positions, widths, strict=True)):
            if names[position].startswith(MCSTAT) or self._is_free_shape(names[position]):
                continue
            sides = []
            for sign in (1.0, -1.0):
                moved = self.data.copy()
                moved[place] += sign * width
                response = sign * by_constraints[:, column]
                change = self._change(moved, {}, self._point + response)
                sides.append(slopes @ response if change is None else change)
            result[names[position]] = (sides[0], sides[1])
        return result

    def _change(self, data: Floats, fixed: Mapping[int, float], start: Floats) -> Floats | None:
        """The change of the factors in another fit, float64[categories, bands]; None if it does not converge."""
        start = np.clip(start, self._likelihood.low, self._likelihood.high)
        try:
            point, _ = self._likelihood.minimise(data, self.model.templates.name, fixed=fixed, start=start)
        except InvalidValues:
            return None
        return self._values(point) - self.values

    @cached_property
    def impacts(self) -> dict[str, Impact]:
        """Impacts of all constrained parameters on the factors, from fits with each of them fixed.

        Returns
        -------
        dict
            Parameter -> :class:`Impact`. Those of single bins of the simulation (``mcstat_...``) are from the
            covariance, which is the limit for small changes. NaN where a fit does not converge.
        """
        constant, slopes = self._linear
        names, point = list(self.parameters), self._point
        result = {}
        for _, position, width in zip(*self._likelihood.deviance.constraints, strict=True):
            name, value = names[position], point[position]
            if self._likelihood.fixed[position] or self._is_free_shape(name):
                continue
            sigma = math.sqrt(self.parameter_covariance[position, position])
            nominal = 1.0 if name.startswith(MCSTAT) else 0.0
            column = self.parameter_covariance[:, position] / sigma**2 if sigma > 0 else np.zeros(len(names))
            sides = []
            for size in (sigma, -sigma, width, -width):
                low, high = self._likelihood.low[position], self._likelihood.high[position]
                if name.startswith(MCSTAT) or size == 0:
                    sides.append(np.where(np.isnan(constant), math.nan, slopes @ column * size))
                    continue
                moved = float(np.clip(value + size, low, high))
                change = self._change(self.data, {position: moved}, point + column * (moved - value))
                sides.append(np.full_like(constant, math.nan) if change is None else change)
            result[name] = Impact(
                name, (value - nominal) / width, sigma / width, sides[0], sides[1], sides[2], sides[3]
            )
        return result

    def intervals(self, level: float = ONE_SIGMA) -> Floats:
        """Intervals of the factors from the profile likelihood, which are asymmetric, and end at bounds.

        Parameters
        ----------
        level : float
            Confidence level, by default that of one standard deviation, 68.3 %.

        Returns
        -------
        float64[categories, bands, 2]
            Lower and upper ends; equal for fixed factors, NaN where a category has no jets. If a category is tied to
            another one and there are more than two bands, the interval of the factor that follows from the others is
            the symmetric one.

        Raises
        ------
        ConfigError
            If the level is not between 0 and 1.
        """
        if not 0 < level < 1:
            raise ConfigError(f"intervals(), argument level: got {level!r}, expected a number between 0 and 1")
        result = np.repeat(self.values[:, :, None], 2, axis=2)
        known: dict[str, tuple[float, float]] = {}  # of each parameter
        bands = self.model.templates.bands
        for row, category in enumerate(self.model.categories):
            parameters = self.model.moved[category]
            for band, name in parameters.items():
                if name not in known:
                    known[name] = self._interval(name, level)
                result[row, bands.index(band)] = known[name]
            reference = self.model.reference(category)
            if reference is None or not parameters:
                continue
            result[row, bands.index(reference)] = self._derived_interval(category, reference, level, known)
        return result

    def _derived_interval(
        self, category: str, reference: str, level: float, known: Mapping[str, tuple[float, float]]
    ) -> tuple[float, float]:
        """The interval of a factor that follows from the others."""
        from scipy.stats import chi2

        names, leader = list(self.parameters), self.model.leader(category)
        row, column = list(self.model.categories).index(category), self.model.templates.bands.index(reference)
        constant, slopes = (values[row, column] for values in self._linear)
        parameters = self.model.moved[category]
        if len(parameters) == 1:
            (name,) = parameters.values()
            low, high = sorted(float(constant + slopes[names.index(name)] * end) for end in known[name])
            return low, high
        if leader != category:
            value, sigma = self.values[row, column], self.uncertainties[row, column]
            size = math.sqrt(float(chi2.ppf(level, 1))) * sigma
            return value - size, value + size
        other = replace(self.model, references={**self.model.references, leader: next(iter(parameters))})
        fitted = _fit(other, _likelihood(other), self.data)
        return fitted._interval(f"kappa_{leader}_{reference}", level)

    def _interval(self, name: str, level: float) -> tuple[float, float]:
        """The profile likelihood interval of one parameter."""
        from scipy.optimize import brentq
        from scipy.stats import chi2

        position = list(self.parameters).index(name)
        value, wanted = self.parameters[name], float(chi2.ppf(level, 1))
        roots, starts = {value: -math.sqrt(wanted)}, {value: self._point}

        def excess(trial: float) -> float:
            """The square root of the likelihood ratio, nearly linear in the distance, minus the wanted one."""
            if trial not in roots:
                nearest = starts[min(starts, key=lambda other: abs(other - trial))]
                starts[trial], deviance = self._likelihood.minimise(
                    self.data, self.model.templates.name, fixed={position: trial}, start=nearest
                )
                roots[trial] = math.sqrt(max(deviance - self.deviance, 0.0)) - math.sqrt(wanted)
            return roots[trial]

        ends = []
        for sign, bound in ((-1.0, self._likelihood.low[position]), (1.0, self._likelihood.high[position])):
            inner, step = value, 1.1 * max(math.sqrt(wanted) * self._sigma(name), 1e-2)
            while True:
                outer = min(value + step, bound) if sign > 0 else max(value - step, bound)
                if excess(outer) > 0:
                    ends.append(float(brentq(excess, inner, outer, xtol=5e-3 * step)))
                    break
                if outer == bound:
                    ends.append(float(bound))
                    break
                inner, step = outer, 1.5 * step
        return ends[0], ends[1]

    # ---------------------------------------------------------------------------------------- display

    def expectations(self, *, fitted: bool = True) -> list[Expectation]:
        """Expected jets in each band with their uncertainties.

        Parameters
        ----------
        fitted : bool
            Whether after the fit; else as simulated, with the uncertainties before the fit. What is free in the fit has
            none before it.

        Returns
        -------
        list of Expectation
            From the lowest band.
        """
        likelihood = self._likelihood
        point = self._point if fitted else likelihood.start
        covariance = self.parameter_covariance
        if not fitted:
            covariance = np.zeros_like(covariance)
            _, positions, widths = likelihood.deviance.constraints
            shown = [
                not self._is_free_shape(list(self.parameters)[position]) and not likelihood.fixed[position]
                for position in positions
            ]
            covariance[positions[shown], positions[shown]] = np.square(widths[shown])
        jacobian = likelihood.deviance.jacobian(point)
        sigma = np.sqrt(np.maximum(np.einsum("bp,pq,bq->b", jacobian, covariance, jacobian), 0.0))
        total, slices = likelihood.deviance.rates(point), likelihood.model.config.channel_slices
        contents = iter(likelihood.deviance.contents(point))
        parts: dict[str, dict[str, Floats]] = {}
        for channel in likelihood.model.spec["channels"]:
            jets = parts.setdefault(channel["name"], {})
            for sample in channel["samples"]:
                category = self._category(channel["name"], sample["name"])
                jets[category] = jets.get(category, 0.0) + next(contents)
        return [
            Expectation(
                band,
                {category: parts[band][category] for category in self.model.categories if category in parts[band]},
                total[slices[band]],
                sigma[slices[band]],
                self.data[slices[band]],
            )
            for band in self.model.templates.bands
        ]

    def _category(self, band: str, sample: str) -> str:
        """The category of a sample; those that take jets from a band have names of their own."""
        return self.model.samples[band][sample]

    def __repr__(self) -> str:
        values = "; ".join(
            f"{category}: {', '.join(_text(value, sigma) for value, sigma in zip(row, sigmas, strict=True))}"
            for category, row, sigmas in zip(self.model.categories, self.values, self.uncertainties, strict=True)
        )
        return f"<FactorFit of {self.model.templates.name}, bands {', '.join(self.model.templates.bands)}: {values}>"

    def summary(self) -> ObjectSummary:
        """Factors, shapes, normalisations and goodness of fit, for display."""
        shown, goodness = self.factors.summary(), self.goodness
        text = (
            f"{goodness.statistic:.4g} for {goodness.degrees_of_freedom} degrees of freedom, probability "
            f"{goodness.probability:.3g}"
        )
        others = [(name, str(value)) for name, value in self.shapes.items()]
        others += [(f"jets of {name}", str(value)) for name, value in self.normalisations.items()]
        facts = [
            ("goodness of fit", text),
            *shown.facts,
            *(("report", line) for line in (*self.model.templates.report, *self.model.report)),
        ]
        return ObjectSummary(shown.title, facts, [*shown.grids, Grid("other factors", ("factor", "value"), others)])


def _likelihood(model: FactorModel) -> Likelihood:
    return Likelihood(model.workspace(), None, None, validate=False)


def _fit(model: FactorModel, likelihood: Likelihood, data: Floats) -> FactorFit:
    """A fit in which no factor is negative: one that follows from the others has no bound, but can have a parameter."""
    what, names = f"fit of {model.templates.name}", likelihood.model.config.par_names
    point, deviance = likelihood.minimise(data, what)
    constant, slopes = model.factors(list(names))
    values = constant + slopes @ point
    references = dict(model.references)
    for row, category in enumerate(model.categories):
        reference, others = model.reference(category), model.moved[category]
        negative = reference is not None and values[row, model.templates.bands.index(reference)] <= ROUNDING
        if negative and len(others) > 1:
            jets = dict(zip(model.templates.bands, values[row] * model.yields[row], strict=True))
            references[model.leader(category)] = max(others, key=jets.__getitem__)
    if references != dict(model.references) and not model.references:
        model = replace(model, references=references)
        return _fit(model, _likelihood(model), data)
    parameters = dict(zip(names, point.tolist(), strict=True))
    fit = FactorFit(model, data, parameters, likelihood.covariance(point, data, what), deviance)
    vars(fit)["_likelihood"] = likelihood
    return fit


def fit_factors(
    templates: BandTemplates,
    *,
    categories: Mapping[str, CategoryFactor] | None = None,
    normalisations: Mapping[str, Mapping[str, float]] | None = None,
    shapes: Mapping[str, ShapeFactor] | None = None,
    simulated_statistics: bool = True,
) -> FactorFit:
    """Fit the factors of all bands of one kinematic bin together; needs the extra ``stats``.

    Parameters
    ----------
    templates : BandTemplates
    categories : mapping, optional
        Category -> :class:`~jettagger.calibration.CategoryFactor`; by default each has free factors and its simulated
        number of jets.
    normalisations : mapping, optional
        Uncertainty -> category -> relative size, log-normal.
    shapes : mapping, optional
        Variation -> :class:`~jettagger.calibration.ShapeFactor`, for variations whose size is a result: scale and
        resolution of the mass.
    simulated_statistics : bool
        Whether limited numbers of simulated jets are an uncertainty.

    Returns
    -------
    FactorFit

    Raises
    ------
    UnknownName, ConfigError, InvalidValues
        As for :class:`~jettagger.calibration.FactorModel`.
    InvalidValues
        If the fit does not converge, or the data do not determine a parameter.

    Examples
    --------
    >>> import hist, numpy as np
    >>> from jettagger.calibration import BandTemplates, CategoryFactor, fit_factors
    >>> from jettagger.statistics.bins import Template
    >>> mass = hist.axis.Regular(4, 50, 130, name="msoftdrop")
    >>> jets = lambda *numbers: Template(np.array(numbers), np.array(numbers) / 100, {})
    >>> top = {"fail": jets(30.0, 200.0, 250.0, 20.0), "pass": jets(70.0, 600.0, 800.0, 30.0)}
    >>> other = {"fail": jets(900.0, 700.0, 500.0, 400.0), "pass": jets(90.0, 60.0, 50.0, 40.0)}
    >>> data = {"fail": np.array([945.0, 980.0, 830.0, 423.0]), "pass": np.array([145.0, 580.0, 760.0, 69.0])}
    >>> templates = BandTemplates("pt 300 to 400", mass, ["fail", "pass"], data, {"top": top, "other": other})
    >>> fit = fit_factors(templates, categories={"other": CategoryFactor(normalisation="free")})
    >>> print(fit.factor("top", "pass"))
    0.8835 ± 0.024
    """
    model = FactorModel(templates, categories or {}, normalisations or {}, shapes or {}, simulated_statistics)
    likelihood = _likelihood(model)
    return _fit(model, likelihood, likelihood.data)


# -------------------------------------------------------------------------------------------- pseudo-experiments


@dataclass(frozen=True, eq=False)
class PseudoExperiments(Brief):
    """Fits of pseudo-experiments.

    Attributes
    ----------
    names : tuple of str
        Free factors as ``<category>/<band>``, and measured shapes.
    truth : numpy.ndarray, float64[names]
    values, uncertainties : numpy.ndarray, float64[experiments, names]
        NaN in all columns if the fit failed, and for uncertainties at bounds.
    covered : numpy.ndarray or None, bool[experiments, names]
        Whether the truth is in the interval of :meth:`FactorFit.intervals` (factors), or within one standard deviation
        (shapes).
    statistics : numpy.ndarray, float64[experiments]
        Goodness of fit: -2 ln L relative to the saturated model.
    failures : dict
        Number of the experiment -> reason why its fit failed.
    """

    names: tuple[str, ...]
    truth: Floats
    values: Floats
    uncertainties: Floats
    covered: Array | None
    statistics: Floats
    failures: dict[int, str]

    @property
    def pulls(self) -> Floats:
        """(Fitted - true value) / uncertainty, float64[experiments, names]; NaN without an uncertainty."""
        return np.asarray((self.values - self.truth) / self.uncertainties)


def pseudo_experiments(
    model: FactorModel,
    number: int,
    seed: int,
    *,
    factors: Mapping[str, Mapping[str, float]] | None = None,
    variations: Mapping[str, float] | None = None,
    intervals: bool = False,
) -> PseudoExperiments:
    """Fit random data sets with known factors and shapes; needs the extra ``stats``.

    Parameters
    ----------
    model : FactorModel
    number, seed : int
        Number of experiments, and seed. Observed jets fluctuate, and so do all external measurements, including the
        simulated jets.
    factors : mapping, optional
        Category with free factors -> band -> true factor; the one of the reference band follows. Others are 1.
    variations : mapping, optional
        Variation -> true value in units of its templates (1: as the template "up"). Others are 0.
    intervals : bool
        Whether the profile likelihood intervals of the factors are computed.

    Returns
    -------
    PseudoExperiments

    Raises
    ------
    UnknownName
        If a factor or a variation is not a parameter of the model.
    InvalidValues
        If the true values give negative expectations.
    """
    in_range(number, "pseudo_experiments(), argument number", 1)
    likelihood = _likelihood(model)
    names = list(likelihood.model.config.par_names)
    truth = likelihood.start.copy()
    for category, bands in (factors or {}).items():
        for band, value in bands.items():
            own = [name for name in model.moved if model.leader(name) == name and model.moved[name]]
            if category not in own:
                raise UnknownName("category", category, own, "the categories with free factors")
            parameters = model.moved[category]
            if band not in parameters:
                raise UnknownName("band", band, list(parameters), f"the free factors of {category!r}")
            truth[names.index(parameters[band])] = value
    for variation, value in (variations or {}).items():
        if variation not in model.templates.variations:
            raise UnknownName("variation", variation, model.templates.variations, "the pseudo-experiments")
        width = model.shapes[variation].width if variation in model.shapes else 1.0
        truth[names.index(variation)] = value / width
    if (likelihood.deviance.rates(truth) < 0).any():
        raise InvalidValues("pseudo_experiments(): the true factors and variations give negative expectations")
    constant, slopes = model.factors(names)
    free = (slopes != 0).any(axis=2)
    labels = np.array([[f"{category}/{band}" for band in model.templates.bands] for category in model.categories])
    shown = (*labels[free].tolist(), *model.shapes)
    true_shapes = [1 + shape.size * shape.width * truth[names.index(name)] for name, shape in model.shapes.items()]
    values, sigmas = np.full((2, number, len(shown)), math.nan)
    covered = np.zeros((number, len(shown)), dtype=bool) if intervals else None
    statistics, failures = np.full(number, math.nan), {}
    true_values = np.array([*(constant + slopes @ truth)[free], *true_shapes])
    for row, data in enumerate(toys_at(likelihood.model, truth, number, seed)):
        try:
            fit = _fit(model, likelihood, data)
            shapes = fit.shapes.values()
            found, sigma = fit._values(fit._point)[free], fit.uncertainties[free]
            values[row] = [*found, *(shape.value for shape in shapes)]
            sigmas[row] = [*sigma, *(shape.uncertainty for shape in shapes)]
            statistics[row] = fit.deviance
            if covered is not None:
                ends = fit.intervals()[free]
                within = (ends[:, 0] <= true_values[: len(ends)]) & (true_values[: len(ends)] <= ends[:, 1])
                near = np.abs(values[row] - true_values)[len(ends) :] <= sigmas[row, len(ends) :]
                covered[row] = [*within, *near]
        except InvalidValues as error:
            failures[row] = str(error)
            values[row] = sigmas[row] = statistics[row] = math.nan
    return PseudoExperiments(shown, true_values, values, sigmas, covered, statistics, failures)


guard(globals())
