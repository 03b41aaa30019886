"""Fits of the workspaces of :mod:`jettagger.statistics.templates` with pyhf; needs the extra ``stats``.

The likelihood is that of pyhf, with exact gradients (:mod:`jettagger.statistics.likelihood`); the minimiser is that of
SciPy.
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

from jettagger.arguments import Model, Workspace, guard
from jettagger.display import Brief
from jettagger.errors import InputFileError, InvalidValues, reason_of, require
from jettagger.statistics.likelihood import Deviance
from jettagger.statistics.workspaces import POI, poi_of
from jettagger.types import Bools, Floats

__all__ = ["MINIMISERS", "Fit", "Likelihood", "asimov", "fit", "guess_strength", "model_of", "pulls", "toys", "toys_at"]


def _pyhf() -> Any:
    return require("pyhf", "stats", "fitting templates")


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the deprecation warning raised by jsonschema inside of pyhf."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*RefResolver.*", category=DeprecationWarning)
        yield


def model_of(
    workspace: Workspace,
    bounds: tuple[float, float] | None = None,
    batch_size: int | None = None,
    *,
    validate: bool = True,
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
    validate : bool
        Whether pyhf compares the workspace with its schema, which takes longer than a fit.

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
            opened = pyhf.Workspace(content, validate=validate)
            model = opened.model(batch_size=batch_size, validate=validate)
    except (pyhf.exceptions.InvalidSpecification, pyhf.exceptions.SchemaNotFound) as error:
        raise InputFileError(f"pyhf refuses the workspace: {reason_of(error)}") from error
    return model, np.asarray(opened.data(model), dtype=np.float64)


@dataclass(frozen=True)
class Fit(Brief):
    """The result of a fit.

    Attributes
    ----------
    names : tuple of str
        The parameters.
    values : numpy.ndarray, float64[parameters]
        Best-fit values.
    covariance : numpy.ndarray, float64[parameters, parameters]
        From the second derivatives at the minimum; zero for fixed parameters and for those at a bound.
    poi : str
        Name of the signal strength.
    """

    names: tuple[str, ...]
    values: Floats
    covariance: Floats
    poi: str = POI

    @property
    def uncertainties(self) -> Floats:
        """Symmetric uncertainties of one standard deviation, float64[parameters]."""
        return np.asarray(np.sqrt(np.diag(self.covariance)))

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

#: ratio of curvatures below which rounding decides whether there is a minimum
FLAT = 1e-12


class Likelihood(Brief):
    """The likelihood of one workspace, minimised with SciPy.

    Gradients are exact, and parameters are in units of their widths. Fits are thus two orders of magnitude faster than
    with pyhf's NumPy backend and converge even if rates are close to zero.

    Parameters
    ----------
    workspace : mapping
        In pyhf's JSON format.
    bounds : (float, float) or None
        Bounds of the signal strength; None: those of the workspace.
    unit : float or None
        Typical size of the signal strength, see :func:`guess_strength`; None: it is a factor like others, which starts
        where the workspace says.
    minimisers : sequence of (str, dict)
        Methods of ``scipy.optimize.minimize`` with their options.
    validate : bool
        As for :func:`model_of`.
    """

    def __init__(
        self,
        workspace: Mapping[str, Any],
        bounds: tuple[float, float] | None,
        unit: float | None,
        minimisers: Sequence[tuple[str, Mapping[str, float]]] = MINIMISERS,
        *,
        validate: bool = True,
    ) -> None:
        self.minimisers = tuple(minimisers)
        self.model, self.data = model_of(workspace, bounds, validate=validate)
        self.deviance = Deviance(self.model)
        config = self.model.config
        self.low, self.high = np.asarray(config.suggested_bounds(), dtype=np.float64).T
        self.fixed = np.asarray(config.suggested_fixed(), dtype=bool)
        self.start = np.asarray(config.suggested_init(), dtype=np.float64)
        self.scale = np.ones(config.npars)
        for name in config.par_order:
            parameter, where = config.param_set(name), config.par_slice(name)
            if parameter.constrained:
                self.scale[where] = np.maximum(parameter.width(), 1e-4)
        self._scale_bins()
        if unit is not None:
            self.scale[config.poi_index] = unit
            # A strength of one may be far beyond what the data allow, where fits start badly.
            low, high = self.low[config.poi_index], self.high[config.poi_index]
            self.start[config.poi_index] = np.clip(unit, low, high)
        self._check_expectation()

    def _scale_bins(self) -> None:
        """Where bins have free yields (``shapefactor``), units of free parameters are those of their fluctuations."""
        config = self.model.config
        free = [name for name in config.par_order if not config.param_set(name).constrained]
        if not any(config.param_set(name).n_parameters > 1 for name in free):
            return
        jacobian = self.deviance.jacobian(self.start)
        rates = np.maximum(self.deviance.rates(self.start), 1.0)
        widths = 1 / np.sqrt(np.maximum(np.sum(np.square(jacobian) / rates[:, None], axis=0), 1.0))
        for name in free:
            where = config.par_slice(name)
            self.scale[where] = np.maximum(widths[where], 1e-4)

    def _check_expectation(self) -> None:
        """Refuse data where nothing is expected for any strength."""
        config = self.model.config
        expected = self.deviance.rates(self.start)
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

    def minimise(
        self,
        data: Floats,
        what: str,
        *,
        strength: float | None = None,
        fixed: Mapping[int, float] | None = None,
        start: Floats | None = None,
    ) -> tuple[Floats, float]:
        """The best fit to float64[data] with a fixed or free strength: float64[parameters], and -2 ln L.

        -2 ln L is relative to that of the saturated model, in which each bin is as observed. ``fixed`` holds further
        parameters: position -> value.

        Raises
        ------
        InvalidValues
            If the fit does not converge.
        """
        from scipy.optimize import minimize

        position = self.model.config.poi_index
        point = (self.start if start is None else start).copy()
        held = self.fixed.copy()
        if strength is not None:
            point[position], held[position] = strength, True
        for index, number in (fixed or {}).items():
            point[index], held[index] = number, True
        free = np.flatnonzero(~held)
        scale = self.scale[free]

        def value(scaled: Floats) -> tuple[float, Floats]:
            trial = point.copy()
            trial[free] = scaled * scale
            found, gradient = self.deviance(trial, data)
            if math.isfinite(found):
                return found, np.nan_to_num(gradient[free], nan=0.0, posinf=0.0, neginf=0.0) * scale
            # Where a strength makes rates negative there is no likelihood; the search turns back from there.
            return 1e12, np.zeros(len(free))

        if not len(free):
            return point, value(np.empty(0))[0]
        bounds = list(zip(self.low[free] / scale, self.high[free] / scale, strict=True))
        message = ""
        for begin in (point[free] / scale, self.start[free] / scale):
            best, where, succeeded = math.inf, begin, False
            for method, options in self.minimisers * ROUNDS:
                found = minimize(value, where, jac=True, method=method, bounds=bounds, options=dict(options))
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

    def at_bounds(self, point: Floats) -> Bools:
        """Whether each parameter, bool[parameters], is at one of its bounds."""
        near = 1e-3 * self.scale
        return ~((point > self.low + near) & (point < self.high - near))

    def covariance(self, point: Floats, data: Floats, what: str) -> Floats:
        """The covariance, float64[parameters, parameters], from the second derivatives at the minimum.

        It is not defined for fixed parameters and for those at a bound, and zero there.

        Raises
        ------
        InvalidValues
            If the likelihood has no positive curvature there, i.e. it is not a minimum.
        """
        free = np.flatnonzero(~self.fixed & ~self.at_bounds(point))
        result = np.zeros((len(point), len(point)))
        if not len(free):
            return result
        # -2 ln L = 2 (-ln L): the covariance is the inverse of half of its second derivatives.
        curvature = self.deviance.hessian(point, data, self.scale)[np.ix_(free, free)] / 2
        # in units in which each parameter alone has a curvature of one, the inverse keeps its digits
        units = np.sqrt(np.maximum(np.diag(curvature), 0.0))
        with np.errstate(invalid="ignore", divide="ignore"):
            sizes, axes = np.linalg.eigh(np.nan_to_num(curvature / np.outer(units, units)))
        flattest = axes[:, 0]
        if not sizes[0] > FLAT:
            names = [self.model.config.par_names[free[i]] for i in np.argsort(-np.abs(flattest))[:2]]
            raise InvalidValues(
                f"{what}: the fit found no minimum with positive curvature: the data do not determine "
                f"{' and '.join(names)} (ratio of curvatures {sizes[0]:.1e}); is anything free that has no effect?"
            )
        result[np.ix_(free, free)] = (axes / sizes) @ axes.T / np.outer(units, units)
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
    covariance = likelihood.covariance(values, data, "fit")
    return Fit(tuple(config.par_names), values, covariance, config.poi_name)


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
    return np.asarray(model.expected_data(_nominal(model, strength)), dtype=np.float64)


def _nominal(model: Model, strength: float) -> Floats:
    """Nominal values of all parameters but the strength, float64[parameters]."""
    parameters = np.asarray(model.config.suggested_init(), dtype=np.float64)
    parameters[model.config.poi_index] = strength
    return parameters


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
    return toys_at(model, _nominal(model, strength), number, seed)


def toys_at(model: Model, parameters: Floats, number: int, seed: int) -> Floats:
    """Random data sets for values of all parameters, with their auxiliary measurements.

    Parameters
    ----------
    model : pyhf.Model
        From :func:`model_of`.
    parameters : float64[parameters]
        True values; auxiliary measurements fluctuate about them.
    number, seed : int
        Number of data sets, and seed.

    Returns
    -------
    float64[number, data]
        One row per toy.
    """
    generator = np.random.default_rng(seed)
    expected = np.asarray(model.expected_data(parameters), dtype=np.float64)
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
