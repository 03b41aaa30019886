"""Fits and limits with pyhf, from the workspaces of :mod:`jettagger.statistics.templates`; needs the extra ``stats``.

Limits are upper limits on the signal strength at 95 % confidence level, CLs (A. L. Read, 2002) with the
asymptotic formulae of Cowan, Cranmer, Gross and Vitells (2011) and the test statistic q-tilde.
"""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jettagger.arguments import Model, Workspace, guard
from jettagger.errors import InvalidValues, require
from jettagger.files import complete_or_absent
from jettagger.statistics.workspaces import POI, poi_of, unit_of
from jettagger.types import Floats

__all__ = ["BANDS", "Fit", "Limit", "asimov", "fit", "limit", "model_of", "pulls", "save_limits", "table", "toys"]


#: the expected limits of a table
BANDS = ("-2 sigma", "-1 sigma", "expected", "+1 sigma", "+2 sigma")


def _pyhf() -> Any:
    return require("pyhf", "stats", "fitting templates")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the deprecation warning that jsonschema raises inside of pyhf."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*RefResolver.*", category=DeprecationWarning)
        yield


def model_of(
    workspace: Workspace, bounds: tuple[float, float] | None = None, batch_size: int | None = None
) -> tuple[Any, Floats]:
    """The pyhf model of a workspace and the data in it.

    Parameters
    ----------
    workspace : mapping
        In pyhf's JSON format.
    bounds : (float, float), optional
        Other bounds of the parameter of interest.
    batch_size : int, optional
        For a model that takes so many sets of parameters at once.

    Returns
    -------
    model : pyhf.Model
    data : numpy.ndarray
        Observations and auxiliary data.

    Raises
    ------
    UnknownName
        If no sample has the parameter of interest that the measurement names.
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
    with _quiet():
        opened = pyhf.Workspace(content)
        model = opened.model(batch_size=batch_size)
    return model, np.asarray(opened.data(model), dtype=np.float64)


@dataclass(frozen=True)
class Fit:
    """The result of a fit.

    Attributes
    ----------
    names : tuple of str
        The parameters.
    values, uncertainties : numpy.ndarray
        Best fit, and symmetric uncertainties of one standard deviation.
    poi : str
        Which of them is the signal strength.
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


#: minimisers in the order in which they are tried, with their options
_METHODS: tuple[tuple[str, dict[str, float]], ...] = (
    ("SLSQP", {"maxiter": 1000, "ftol": 1e-7}),
    ("L-BFGS-B", {"maxiter": 5000, "maxfun": 20000, "ftol": 1e-12, "gtol": 1e-6}),
    ("SLSQP", {"maxiter": 1000, "ftol": 1e-6}),
)


#: how often all of them are tried, and the difference of -2 ln L within which two must agree
ROUNDS, AGREEMENT = 4, 1e-3


class _Likelihood:
    """The likelihood of one workspace, minimised with scipy.

    pyhf's NumPy backend evaluates one set of parameters at a time for a numerical gradient; here all points of a
    gradient are one batch, and parameters are in units of their widths. That makes fits an order of magnitude
    faster and lets them converge where the rates come near zero.
    """

    def __init__(self, workspace: Mapping[str, Any], bounds: tuple[float, float] | None, unit: float) -> None:
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
        """Refuse data where nothing is expected, whatever the strength."""
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
        """The gradient of -2 ln L in the free parameters."""
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
        """Parameters and -2 ln L of the best fit, at a strength or free.

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
            for method, options in _METHODS * ROUNDS:
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
        """One standard deviation of each parameter, from the second derivatives at the minimum.

        Fixed parameters, and those at a bound, have none.
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
    data : array, optional
        Observations and auxiliary data, as :func:`asimov` and :func:`toys` give them; by default those in the
        workspace.
    bounds : (float, float), optional
        Other bounds of the signal strength. Those that let it be negative give an unbiased strength.

    Returns
    -------
    Fit
        With the uncertainties of the second derivatives at the minimum; parameters at a bound have none.

    Raises
    ------
    InvalidValues
        If the fit does not converge.
    """
    likelihood = _Likelihood(workspace, bounds, _guess(workspace, "fit"))
    return _fit(likelihood, likelihood.data if data is None else np.asarray(data, dtype=np.float64))


def _fit(likelihood: _Likelihood, data: Floats) -> Fit:
    values, _ = likelihood.minimise(data, "fit")
    config = likelihood.model.config
    uncertainties = likelihood.uncertainties(values, data, "fit")
    return Fit(tuple(config.par_names), values, uncertainties, config.poi_name)


def _guess(workspace: Mapping[str, Any], what: str) -> float:
    """Two standard deviations of the background's fluctuation, or two events, without systematic uncertainties."""
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
        raise InvalidValues(f"{what}: the signal cannot be seen; is it in the regions?")
    return 2 / math.sqrt(significance)


def asimov(model: Model, strength: float) -> Floats:
    """The data that are expected for a signal strength, with all other parameters at their nominal values."""
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
        Of the signal.
    number, seed : int
        How many, and the seed that makes them the same each time.

    Returns
    -------
    numpy.ndarray
        One row a toy.
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
    """(fitted - true signal strength) / uncertainty, for random data sets.

    Parameters
    ----------
    workspace : mapping
        In pyhf's JSON format.
    strength : float
        The true one.
    number, seed : int
        How many random data sets, and the seed that makes them the same each time.
    bounds : (float, float)
        Of the fitted strength, with room on both sides of the true one.

    Returns
    -------
    numpy.ndarray
        One a data set.
    """
    likelihood = _Likelihood(workspace, bounds, _guess(workspace, "pulls"))
    found = []
    for data in toys(likelihood.model, strength, number, seed):
        value, sigma = _fit(likelihood, data).strength
        if sigma == 0:
            raise InvalidValues(f"a fit ended at the bounds {bounds} of the strength: give more room")
        found.append((value - strength) / sigma)
    return np.asarray(found)


@dataclass(frozen=True)
class Limit:
    """Upper limits on the signal strength, in units of the signal.

    Attributes
    ----------
    signal : str
        Its name.
    mass : float
        Of the resonance in GeV.
    observed : float, or None
        Upper limit; with Asimov data the same as the median. None if there is none.
    expected : tuple of float or None
        At -2, -1, 0, 1 and 2 standard deviations; None where there is none.
    cross_section : float
        In pb, that a strength of 1 stands for.
    asimov : bool
        Whether the data were the sum of the backgrounds, so that nothing was observed.
    confidence_level : float
        Of all of them.
    missing : dict
        ``observed`` or one of `BANDS`, to the reason why there is no such limit.
    """

    signal: str
    mass: float
    observed: float | None
    expected: tuple[float | None, float | None, float | None, float | None, float | None]
    cross_section: float = 1.0
    asimov: bool = False
    confidence_level: float = 0.95
    missing: dict[str, str] = field(default_factory=dict)


def limit(
    workspace: Workspace,
    *,
    signal: str = "",
    mass: float = 0.0,
    cross_section: float = 1.0,
    asimov: bool = False,
    level: float = 0.05,
) -> Limit:
    """The observed and expected upper limits of one workspace.

    Parameters
    ----------
    workspace : mapping
        In pyhf's JSON format. Where jettagger wrote it in another unit, the limits are in units of the signal.
    signal, mass, cross_section, asimov
        Kept with the result.
    level : float
        One minus the confidence level.

    Returns
    -------
    Limit
        Those that there are; what is missing has its reason.

    Raises
    ------
    InvalidValues
        If no limit at all is found, for example of a signal that is in no region, or fits fail.
    """
    from scipy.stats import norm

    what = f"signal {signal!r}" if signal else "the signal"
    scan = _Scan(workspace, what)
    # Where the expected bands are: CLs = Phi(N - sqrt(q)) / Phi(N) = level, solved for sqrt(q).
    wanted = [float(n - norm.ppf(level * norm.cdf(n))) for n in (-2, -1, 0, 1, 2)]
    strength = scan.guess
    bands: list[float | None] = []
    missing: dict[str, str] = {}
    for name, root in zip(BANDS, wanted, strict=True):
        try:
            if missing:
                # more is wanted of the same likelihood: what one band does not reach, the next one does not either
                raise InvalidValues(next(iter(missing.values())))
            strength = scan.expected_at(root, strength)
            bands.append(strength)
        except InvalidValues as error:
            missing[name] = str(error)
            bands.append(None)
    observed: float | None = None
    if scan.is_asimov:
        observed = bands[2]
    else:
        try:
            observed = _observed(scan, level, what)
        except InvalidValues as error:
            missing["observed"] = str(error)
    if observed is None and not any(bands):
        raise InvalidValues(next(iter(missing.values())))
    unit = unit_of(workspace)
    lowest, low, median, high, highest = (None if band is None else band * unit for band in bands)
    return Limit(
        signal,
        mass,
        None if observed is None else observed * unit,
        (lowest, low, median, high, highest),
        cross_section,
        asimov,
        confidence_level=1 - level,
        missing=missing,
    )


def _observed(scan: _Scan, level: float, what: str) -> float:
    """The strength at which CLs of the data is ``level``."""
    from scipy.optimize import brentq

    def excess(value: float) -> float:
        return math.log(max(scan.cls(value), 1e-300) / level)

    # nothing below the strength that fits best can be excluded
    low, high = scan.guess, max(2 * scan.guess, 1.5 * scan.fitted)
    while excess(low) < 0:
        low /= 2
        if low < 1e-6 * scan.guess:
            raise InvalidValues(f"{what}: the data exclude any strength; is the background right?")
    while excess(high) > 0:
        high *= 2
        if high > scan.most:
            raise InvalidValues(f"{what}: no strength is excluded by the data; is the background right?")
    return float(brentq(excess, low, high, rtol=1e-4)) if low < high else low


class _Scan:
    """Profile likelihood ratios of one workspace against the signal strength.

    pyhf's own scan repeats for each strength and each band the fits that do not depend on them; here they are
    done once, and each fit starts where the last one ended.
    """

    def __init__(self, workspace: Mapping[str, Any], what: str) -> None:
        self._what = what
        self.guess = _guess(workspace, what)
        # The bounds only have to be wide: strengths far above the limit are never fitted.
        self.most = 1e5 * self.guess
        self._likelihood = _Likelihood(workspace, (0.0, self.most), self.guess)
        self._starts: dict[str, Floats] = {}
        self._known: dict[tuple[str, float], float] = {}
        self._minimum: dict[str, tuple[float, float]] = {}
        self._data = self._likelihood.data
        model = self._likelihood.model
        background, _ = self._fit("data", self._data, 0.0)
        self._asimov = np.asarray(model.expected_data(background), dtype=np.float64)
        main = len(self._asimov) - len(model.config.auxdata)
        self.is_asimov = np.allclose(self._asimov[:main], self._data[:main], rtol=1e-4, atol=1e-6)

    def _fit(self, key: str, data: Floats, strength: float | None) -> tuple[Floats, float]:
        found = self._likelihood.minimise(data, self._what, strength=strength, start=self._starts.get(key))
        self._starts[key] = found[0]
        return found

    @property
    def fitted(self) -> float:
        """The strength that fits the data best."""
        self._root("data", 0.0)
        return self._minimum["data"][0]

    def _root(self, key: str, strength: float) -> tuple[float, float]:
        """sqrt(q) of a strength, and the strength that fits best."""
        data = self._asimov if key == "asimov" else self._data
        if key not in self._minimum:
            if key == "asimov":
                _, best = self._fit(key, data, 0.0)
                self._minimum[key] = (0.0, best)
            else:
                parameters, best = self._fit(key, data, None)
                self._minimum[key] = (float(parameters[self._likelihood.model.config.poi_index]), best)
        fitted, best = self._minimum[key]
        if (key, strength) not in self._known:
            self._known[(key, strength)] = self._fit(key, data, strength)[1]
        return math.sqrt(max(self._known[(key, strength)] - best, 0.0)), fitted

    def expected_at(self, root: float, start: float) -> float:
        """The strength at which sqrt(q) of the Asimov data is ``root``."""
        strength = start
        low, high = 0.0, math.inf
        for _ in range(60):
            found, _ = self._root("asimov", strength)
            if abs(found / root - 1) < 5e-4 or high - low < 5e-4 * low:
                return strength
            if found < root:
                low = max(low, strength)
                if low > self.most:
                    break
            else:
                high = min(high, strength)
            # sqrt(q) is nearly proportional to the strength; where it bends, the bracket is halved
            guess = strength * min(max(root / found if found > 0 else 10.0, 0.1), 10.0)
            inside = low < guess < high
            strength = guess if inside else math.sqrt(low * high) if low > 0 else high / 2
        raise InvalidValues(
            f"{self._what}: no upper limit was found up to {low:.3g} times the signal (sqrt(q) = {found:.3g} there, "
            f"{root:.3g} wanted); is the signal in the regions, and are there enough events behind the templates?"
        )

    def cls(self, strength: float) -> float:
        """CLs of the data (Cowan et al., section 3.8 for q-tilde)."""
        from scipy.stats import norm

        of_asimov, _ = self._root("asimov", strength)
        observed, fitted = self._root("data", strength)
        observed = 0.0 if fitted > strength else observed
        if observed <= of_asimov or of_asimov == 0:
            distance = observed - of_asimov
        else:
            distance = (observed**2 - of_asimov**2) / (2 * of_asimov)
        # in logarithms: where data and expectation are far apart both are below the smallest number
        return math.exp(norm.logsf(distance + of_asimov) - norm.logsf(distance))


def save_limits(limits: Sequence[Limit], path: str | os.PathLike[str]) -> None:
    """Write limits to a JSON file.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    content = {"limits": [asdict(item) for item in limits]}
    with complete_or_absent(path) as part:
        part.write_text(json.dumps(content, indent=1), encoding="utf-8")


def table(limits: Sequence[Limit]) -> str:
    """Limits as a text table: strengths, and cross sections in fb; below it, which are missing and why."""
    rows = [["signal", "mass [GeV]", "observed", *BANDS, "expected [fb]"]]
    reasons: dict[tuple[str, str], list[str]] = {}
    for item in limits:
        numbers = [item.observed, *item.expected]
        shown = ["none" if number is None else f"{number:.4g}" for number in numbers]
        if item.asimov:
            shown[0] = "-"
        median = item.expected[2]
        section = "none" if median is None else f"{median * item.cross_section * 1e3:.4g}"
        rows.append([item.signal, f"{item.mass:g}", *shown, section])
        for name, reason in item.missing.items():
            reasons.setdefault((item.signal, reason), []).append(name)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(f"{cell:>{w}}" for cell, w in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([*lines, *(f"none ({', '.join(names)}): {why}" for (_, why), names in reasons.items())])


guard(globals())
