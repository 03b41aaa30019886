"""Fits of the workspaces of :mod:`jettagger.statistics.templates` with pyhf; needs the extra ``stats``.

The likelihood is that of pyhf; the minimiser is that of SciPy, with gradients evaluated in batches.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jettagger.arguments import Model, Workspace, guard
from jettagger.errors import InputFileError, InvalidValues, reason_of, require
from jettagger.statistics.workspaces import POI, poi_of
from jettagger.types import Floats

__all__ = ["MINIMISERS", "Fit", "Likelihood", "asimov", "fit", "guess_strength", "model_of", "pulls", "toys"]


def _pyhf() -> Any:
    return require("pyhf", "stats", "fitting templates")


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the deprecation warning raised by jsonschema inside of pyhf."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*RefResolver.*", category=DeprecationWarning)
        yield


def model_of(
    workspace: Workspace, bounds: tuple[float, float] | None = None, batch_size: int | None = None
) -> tuple[Any, Floats]:
    """The pyhf model of a workspace, and its data.

    Parameters
    ----------
    workspace : mapping
        In pyhf's JSON format.
    bounds : (float, float), optional
        Other bounds of the parameter of interest.
    batch_size : int, optional
        Batch size of a model that evaluates several sets of parameters at once.

    Returns
    -------
    model : pyhf.Model
    data : float64[data]
        Observations and auxiliary data.

    Raises
    ------
    UnknownName
        If no sample has the measurement's parameter of interest.
    InputFileError
        If pyhf refuses the workspace.
    """
    pyhf = _pyhf()
    content = deepcopy(dict(workspace))
    poi = poi_of(content)
    if bounds is not None:
        parameters = content["measurements"][0]["config"]["parameters"]
        named = [item for item in parameters if item["name"] == poi]
        if not named:
            named = [{"name": poi}]
            parameters += named
        named[0]["bounds"] = [list(bounds)]
    try:
        with _quiet():
            opened = pyhf.Workspace(content)
            model = opened.model(batch_size=batch_size)
    except (pyhf.exceptions.InvalidSpecification, pyhf.exceptions.SchemaNotFound) as error:
        raise InputFileError(f"pyhf refuses the workspace: {reason_of(error)}") from error
    return model, np.asarray(opened.data(model), dtype=np.float64)


@dataclass(frozen=True)
class Fit:
    """The result of a fit.

    Attributes
    ----------
    names : tuple of str
        The parameters.
    values, uncertainties : numpy.ndarray
        Best-fit values, and symmetric uncertainties of one standard deviation.
    poi : str
        Name of the signal strength.
    """

    names: tuple[str, ...]
    values: Floats
    uncertainties: Floats
    poi: str = POI

    @property
    def strength(self) -> tuple[float, float]:
        """The signal strength and its uncertainty, in the unit of the workspace."""
        position = self.names.index(self.poi)
        return float(self.values[position]), float(self.uncertainties[position])


#: minimisers of SciPy in the order in which they are tried, with their options
MINIMISERS: tuple[tuple[str, dict[str, float]], ...] = (
    ("SLSQP", {"maxiter": 1000, "ftol": 1e-7}),
    ("L-BFGS-B", {"maxiter": 5000, "maxfun": 20000, "ftol": 1e-12, "gtol": 1e-6}),
    ("SLSQP", {"maxiter": 1000, "ftol": 1e-6}),
)


#: number of attempts with all of them, and maximum difference in -2 ln L of two that agree
ROUNDS, AGREEMENT = 4, 1e-3


class Likelihood:
    """The likelihood of one workspace, minimised with SciPy.

    pyhf's NumPy backend evaluates one set of parameters at a time for a numerical gradient; here all points of a
    gradient are one batch, and parameters are in units of their widths. Fits are thus an order of magnitude faster and
    converge even if rates are close to zero.

    Parameters
    ----------
    workspace : mapping
        In pyhf's JSON format.
    bounds : (float, float) or None
        Bounds of the signal strength; None: those of the workspace.
    unit : float
        Typical size of the signal strength, see :func:`guess_strength`.
    minimisers : sequence of (str, dict)
        Methods of ``scipy.optimize.minimize`` with their options; ``ftol`` is raised to the level of rounding errors.
    """

    def __init__(
        self,
        workspace: Mapping[str, Any],
        bounds: tuple[float, float] | None,
        unit: float,
        minimisers: Sequence[tuple[str, Mapping[str, float]]] = MINIMISERS,
    ) -> None:
        self.minimisers = tuple(minimisers)
        self.model, self.data = model_of(workspace, bounds)
        self._batch, _ = model_of(workspace, bounds, batch_size=2 * self.model.config.npars + 1)
        config = self.model.config
        self.low, self.high = np.asarray(config.suggested_bounds(), dtype=np.float64).T
        self.fixed = np.asarray(config.suggested_fixed(), dtype=bool)
        self.start = np.asarray(config.suggested_init(), dtype=np.float64)
        self.scale = np.ones(config.npars)
        for name in config.par_order:
            parameter, where = config.param_set(name), config.par_slice(name)
            if parameter.constrained:
                self.scale[where] = np.maximum(parameter.width(), 1e-4)
        self.scale[config.poi_index] = unit
        # A strength of one may be far beyond what the data allow, where fits start badly.
        low, high = self.low[config.poi_index], self.high[config.poi_index]
        self.start[config.poi_index] = np.clip(unit, low, high)
        self._check_expectation()

    def _check_expectation(self) -> None:
        """Refuse data where nothing is expected for any strength."""
        config = self.model.config
        expected = np.asarray(self.model.expected_data(self.start, include_auxdata=False), dtype=np.float64)
        impossible = (expected <= 0) & (self.data[: len(expected)] > 0)
        for channel in config.channels:
            where = config.channel_slices[channel]
            bins = np.flatnonzero(impossible[where])
            if len(bins):
                counts = ", ".join(f"{self.data[where][i]:g}" for i in bins)
                raise InvalidValues(
                    f"region {channel!r}: data ({counts} events) in bins {bins.tolist()}, where neither background nor "
                    "signal is expected; give the backgrounds a yield there, or merge bins"
                )

    def slope(self, point: Floats, data: Floats, free: NDArray[np.intp]) -> Floats:
        """The gradient of -2 ln L, float64[free], at a point, float64[parameters], for data, float64[data]."""
        step = 1e-3 * self.scale[free]
        above = np.minimum(point[free] + step, self.high[free])
        below = np.maximum(point[free] - step, self.low[free])
        rows = np.arange(len(step))
        points = np.tile(point, (self._batch.batch_size, 1))
        points[rows, free] = above
        points[rows + len(rows), free] = below
        with np.errstate(invalid="ignore", divide="ignore"):
            values = -2 * np.asarray(self._batch.logpdf(points, data), dtype=np.float64)
        # the last row is the point itself, for the sides on which a rate would be negative and nothing is defined
        upper, lower, here = values[rows], values[rows + len(rows)], values[-1]
        above, upper = np.where(np.isfinite(upper), above, point[free]), np.where(np.isfinite(upper), upper, here)
        below, lower = np.where(np.isfinite(lower), below, point[free]), np.where(np.isfinite(lower), lower, here)
        with np.errstate(invalid="ignore", divide="ignore"):
            slopes = (upper - lower) / (above - below)
        return np.asarray(np.nan_to_num(slopes, nan=0.0, posinf=0.0, neginf=0.0))

    def minimise(
        self, data: Floats, what: str, *, strength: float | None = None, start: Floats | None = None
    ) -> tuple[Floats, float]:
        """Parameters, float64[parameters], and -2 ln L of the best fit to float64[data], with a fixed or free strength.

        Raises
        ------
        InvalidValues
            If the fit does not converge.
        """
        from scipy.optimize import minimize

        position = self.model.config.poi_index
        point = (self.start if start is None else start).copy()
        fixed = self.fixed.copy()
        if strength is not None:
            point[position], fixed[position] = strength, True
        free = np.flatnonzero(~fixed)
        scale = self.scale[free]

        def value(scaled: Floats) -> float:
            trial = point.copy()
            trial[free] = scaled * scale
            with np.errstate(invalid="ignore", divide="ignore"):
                found = -2 * float(np.asarray(self.model.logpdf(trial, data)).item())
            # Where a strength makes rates negative there is no likelihood; the search turns back from there.
            return found if math.isfinite(found) else 1e12

        def slope(scaled: Floats) -> Floats:
            trial = point.copy()
            trial[free] = scaled * scale
            return self.slope(trial, data, free) * scale

        if not len(free):
            return point, value(np.empty(0))
        # ln L is a difference of terms n ln n: their last digits bound what can be converged to
        main = data[: len(data) - len(self.model.config.auxdata)]
        noise = 8 * np.finfo(float).eps * float(np.sum(main * np.log(main + 1)))
        bounds = list(zip(self.low[free] / scale, self.high[free] / scale, strict=True))
        message = ""
        for begin in (point[free] / scale, self.start[free] / scale):
            best, where, succeeded = math.inf, begin, False
            for method, options in self.minimisers * ROUNDS:
                reached = {**options, "ftol": max(options["ftol"], noise)}
                found = minimize(value, where, jac=slope, method=method, bounds=bounds, options=reached)
                succeeded, message = succeeded or bool(found.success), str(found.message)
                if not (np.isfinite(found.x).all() and found.fun < 1e12):
                    continue  # what lies outside of the likelihood is no way on
                gain = best - float(found.fun)
                if gain > 0:
                    best, where = float(found.fun), found.x
                # A method may stop in a narrow valley and call it a minimum: the next one has to agree.
                if succeeded and gain < AGREEMENT:
                    point[free] = where * scale
                    return point, best
        raise InvalidValues(f"{what}: the fit does not converge: {message}")

    def uncertainties(self, point: Floats, data: Floats, what: str) -> Floats:
        """One standard deviation of each parameter, float64[parameters], from the second derivatives at the minimum.

        It is not defined for fixed parameters and for those at a bound.

        Raises
        ------
        InvalidValues
            If the likelihood has no positive curvature there, i.e. it is not a minimum.
        """
        near = 1e-3 * self.scale
        inside = (point > self.low + near) & (point < self.high - near)
        free = np.flatnonzero(~self.fixed & inside)
        step = 1e-2 * self.scale[free]
        hessian = np.empty((len(free), len(free)))
        for row, (parameter, size) in enumerate(zip(free, step, strict=True)):
            above, below = point.copy(), point.copy()
            above[parameter] += size
            below[parameter] -= size
            hessian[row] = (self.slope(above, data, free) - self.slope(below, data, free)) / (2 * size)
        # -2 ln L = 2 (-ln L): the covariance is the inverse of half of its second derivatives.
        covariance = np.linalg.pinv((hessian + hessian.T) / 4, hermitian=True)
        variances = np.diag(covariance)
        if (variances <= 0).any():
            raise InvalidValues(f"{what}: the fit found no minimum with positive curvature")
        result = np.zeros(len(point))
        result[free] = np.sqrt(variances)
        return result


def fit(
    workspace: Workspace,
    data: Sequence[float] | Floats | None = None,
    bounds: tuple[float, float] | None = None,
) -> Fit:
    """The maximum-likelihood fit of a workspace.

    Parameters
    ----------
    workspace : mapping
        In pyhf's JSON format.
    data : float64[data], optional
        Observations and auxiliary data, as returned by :func:`asimov` and :func:`toys`; default: those in the
        workspace.
    bounds : (float, float), optional
        Other bounds of the signal strength. Its estimate is unbiased if they allow negative values.

    Returns
    -------
    Fit
        With uncertainties from the second derivatives at the minimum; parameters at a bound have none.

    Raises
    ------
    InvalidValues
        If the fit does not converge.
    """
    likelihood = Likelihood(workspace, bounds, guess_strength(workspace, "fit"))
    return _fit(likelihood, likelihood.data if data is None else np.asarray(data, dtype=np.float64))


def _fit(likelihood: Likelihood, data: Floats) -> Fit:
    values, _ = likelihood.minimise(data, "fit")
    config = likelihood.model.config
    uncertainties = likelihood.uncertainties(values, data, "fit")
    return Fit(tuple(config.par_names), values, uncertainties, config.poi_name)


def guess_strength(workspace: Workspace, what: str = "the signal") -> float:
    """Two standard deviations of the background fluctuation, or two events, without systematic uncertainties.

    Parameters
    ----------
    workspace : mapping
        In pyhf's JSON format.
    what : str
        Description for error messages.

    Returns
    -------
    float
        In the unit of the workspace.

    Raises
    ------
    InvalidValues
        If the signal is in no region.
    """
    significance = 0.0
    poi = poi_of(workspace)
    for channel in workspace["channels"]:
        signal = background = np.zeros(1)
        for sample in channel["samples"]:
            values = np.asarray(sample["data"])
            if any(modifier["name"] == poi for modifier in sample["modifiers"]):
                signal = signal + values
            else:
                background = background + values
        spread = background + np.sqrt(np.maximum(background, 0)) + 1
        significance += float(np.sum(np.square(signal) / spread))
    if not 1e-10 < significance < math.inf:
        raise InvalidValues(
            f"{what}: the templates have no sensitivity to the signal (sum of s²/(b + sqrt(b) + 1) over the bins: "
            f"{significance:.3g}); does it have events in the regions?"
        )
    return 2 / math.sqrt(significance)


def asimov(model: Model, strength: float) -> Floats:
    """The expected data for a signal strength, float64[data], with all other parameters at their nominal values."""
    parameters = np.asarray(model.config.suggested_init(), dtype=np.float64)
    parameters[model.config.poi_index] = strength
    return np.asarray(model.expected_data(parameters), dtype=np.float64)


def toys(model: Model, strength: float, number: int, seed: int) -> Floats:
    """Random data sets for a signal strength, with their auxiliary measurements.

    Parameters
    ----------
    model : pyhf.Model
        From :func:`model_of`.
    strength : float
        Signal strength.
    number, seed : int
        Number of data sets, and seed.

    Returns
    -------
    float64[number, data]
        One row per toy.
    """
    generator = np.random.default_rng(seed)
    expected = asimov(model, strength)
    main = len(expected) - len(model.config.auxdata)
    observed = generator.poisson(expected[:main], size=(number, main)).astype(np.float64)
    columns = []
    position = main
    for name in model.config.auxdata_order:
        parameter = model.config.param_set(name)
        means = expected[position : position + parameter.n_parameters]
        if parameter.pdf_type == "normal":
            drawn = generator.normal(means, np.asarray(parameter.width()), size=(number, len(means)))
        else:
            drawn = generator.poisson(means, size=(number, len(means))).astype(np.float64)
        columns.append(drawn)
        position += len(means)
    return np.concatenate([observed, *columns], axis=1)


def pulls(workspace: Workspace, strength: float, number: int, seed: int, bounds: tuple[float, float]) -> Floats:
    """Pulls (fitted - true signal strength) / uncertainty of toy data sets.

    Parameters
    ----------
    workspace : mapping
        In pyhf's JSON format.
    strength : float
        True signal strength.
    number, seed : int
        Number of toy data sets, and seed.
    bounds : (float, float)
        Bounds of the fitted strength, which should be wide on both sides of the true one.

    Returns
    -------
    float64[number]
        One per data set.

    Raises
    ------
    InvalidValues
        If a fit ends at the bounds of the strength.
    """
    likelihood = Likelihood(workspace, bounds, guess_strength(workspace, "pulls"))
    found = []
    for data in toys(likelihood.model, strength, number, seed):
        value, sigma = _fit(likelihood, data).strength
        if sigma == 0:
            raise InvalidValues(f"a fit ended at the bounds {bounds} of the strength: give wider bounds")
        found.append((value - strength) / sigma)
    return np.asarray(found)


guard(globals())
