"""Fits and limits with pyhf, from the workspaces of :mod:`jettagger.templates`; needs the extra ``stats``.

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
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jettagger.errors import InvalidValues, require
from jettagger.files import complete_or_absent
from jettagger.templates import POI

__all__ = ["Fit", "Limit", "asimov", "fit", "limit", "model_of", "pulls", "save_limits", "toys"]

Floats = NDArray[np.float64]


def _pyhf() -> Any:
    return require("pyhf", "stats", "fitting templates")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the deprecation warning that jsonschema raises inside of pyhf."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*RefResolver.*", category=DeprecationWarning)
        yield


@contextmanager
def _minuit() -> Iterator[Any]:
    """pyhf with Minuit, which gives uncertainties; the backend that was chosen before is restored."""
    pyhf = _pyhf()
    require("iminuit", "stats", "fitting templates")
    tensors, optimizer = pyhf.get_backend()
    pyhf.set_backend("numpy", pyhf.optimize.minuit_optimizer(verbose=0, tolerance=0.01))
    try:
        yield pyhf
    finally:
        pyhf.set_backend(tensors, optimizer)


def model_of(
    workspace: Mapping[str, Any], bounds: tuple[float, float] | None = None, batch_size: int | None = None
) -> tuple[Any, Floats]:
    """The pyhf model of a workspace and the data in it.

    Parameters
    ----------
    workspace : mapping
        In pyhf's JSON format.
    bounds : (float, float), optional
        Other bounds of the signal strength.
    batch_size : int, optional
        For a model that takes so many sets of parameters at once.

    Returns
    -------
    model : pyhf.Model
    data : numpy.ndarray
        Observations and auxiliary data.
    """
    pyhf = _pyhf()
    content = deepcopy(dict(workspace))
    if bounds is not None:
        for item in content["measurements"][0]["config"]["parameters"]:
            if item["name"] == POI:
                item["bounds"] = [list(bounds)]
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
    """

    names: tuple[str, ...]
    values: Floats
    uncertainties: Floats

    @property
    def strength(self) -> tuple[float, float]:
        """The signal strength and its uncertainty."""
        position = self.names.index(POI)
        return float(self.values[position]), float(self.uncertainties[position])


def fit(model: Any, data: Sequence[float] | Floats) -> Fit:
    """The maximum-likelihood fit of a model.

    Parameters
    ----------
    model : pyhf.Model
        From :func:`model_of`.
    data : array
        Observations and auxiliary data.

    Returns
    -------
    Fit

    Raises
    ------
    InvalidValues
        If the fit does not converge.
    """
    with _minuit() as pyhf, _quiet():
        try:
            result = pyhf.infer.mle.fit(np.asarray(data), model, return_uncertainties=True)
        except pyhf.exceptions.FailedMinimization as error:
            raise InvalidValues(f"the fit does not converge: {error}") from error
    found = np.asarray(result, dtype=np.float64)
    return Fit(tuple(model.config.par_names), found[:, 0], found[:, 1])


def asimov(model: Any, strength: float) -> Floats:
    """The data that are expected for a signal strength, with all other parameters at their nominal values."""
    parameters = np.asarray(model.config.suggested_init(), dtype=np.float64)
    parameters[model.config.poi_index] = strength
    return np.asarray(model.expected_data(parameters), dtype=np.float64)


def toys(model: Any, strength: float, number: int, seed: int) -> Floats:
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


def pulls(model: Any, strength: float, number: int, seed: int) -> Floats:
    """(fitted - true signal strength) / uncertainty, for random data sets.

    Parameters
    ----------
    model, strength, number, seed
        As for :func:`toys`; the model's bounds must leave room on both sides of the strength.

    Returns
    -------
    numpy.ndarray
        One a toy.
    """
    found = []
    for data in toys(model, strength, number, seed):
        value, sigma = fit(model, data).strength
        found.append((value - strength) / sigma)
    return np.asarray(found)


@dataclass(frozen=True)
class Limit:
    """Upper limits on the signal strength.

    Attributes
    ----------
    signal : str
        Its name.
    mass : float
        Of the resonance in GeV.
    observed : float
        Upper limit; with Asimov data the same as the median.
    expected : tuple of float
        At -2, -1, 0, 1 and 2 standard deviations.
    cross_section : float
        In pb, that a strength of 1 stands for.
    asimov : bool
        Whether the data were the sum of the backgrounds, so that nothing was observed.
    """

    signal: str
    mass: float
    observed: float
    expected: tuple[float, float, float, float, float]
    cross_section: float = 1.0
    asimov: bool = False


def limit(
    workspace: Mapping[str, Any],
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
        In pyhf's JSON format.
    signal, mass, cross_section, asimov
        Kept with the result.
    level : float
        One minus the confidence level.

    Returns
    -------
    Limit

    Raises
    ------
    InvalidValues
        If no limit is found, for example of a signal that is in no region, or fits fail.
    """
    from scipy.optimize import brentq
    from scipy.stats import norm

    what = f"signal {signal!r}" if signal else "the signal"
    scan = _Scan(workspace, what)
    # Where the expected bands are: CLs = Phi(N - sqrt(q)) / Phi(N) = level, solved for sqrt(q).
    wanted = [float(n - norm.ppf(level * norm.cdf(n))) for n in (-2, -1, 0, 1, 2)]
    strength = scan.guess
    bands = []
    for root in wanted:
        strength = scan.expected_at(root, strength)
        bands.append(strength)

    def excess(value: float) -> float:
        return math.log(max(scan.cls(value), 1e-300) / level)

    if scan.is_asimov:
        observed = bands[2]
    else:
        low, high = bands[0], bands[2]
        while excess(low) < 0:
            low /= 2
            if low < 1e-6 * bands[2]:
                raise InvalidValues(f"{what}: the data exclude any strength; is the background right?")
        while excess(high) > 0:
            high *= 2
            if high > 1e3 * bands[4]:
                raise InvalidValues(f"{what}: no strength is excluded by the data; is the background right?")
        observed = float(brentq(excess, low, high, rtol=1e-4)) if low < high else low
    lowest, low, median, high, highest = bands
    return Limit(signal, mass, observed, (lowest, low, median, high, highest), cross_section, asimov)


class _Scan:
    """Profile likelihood ratios of one workspace against the signal strength.

    pyhf's own scan repeats for each strength and each band the fits that do not depend on them; here they are
    done once, and each fit starts where the last one ended.
    """

    def __init__(self, workspace: Mapping[str, Any], what: str) -> None:
        self._what = what
        self.guess = self._first_guess(workspace)
        # The bounds only have to be wide: strengths far above the limit are never fitted.
        self._model, self._data = model_of(workspace, (0.0, 1000 * self.guess))
        # All points of a numerical gradient are evaluated in one call, which is what makes fits fast.
        self._batch, _ = model_of(workspace, batch_size=2 * self._model.config.npars + 1)
        self._scale = self._widths()
        self._starts: dict[str, Any] = {}
        self._known: dict[tuple[str, float], float] = {}
        self._minimum: dict[str, tuple[float, float]] = {}
        background, _ = self._fit("data", self._data, 0.0)
        self._asimov = np.asarray(self._model.expected_data(background), dtype=np.float64)
        main = len(self._asimov) - len(self._model.config.auxdata)
        self.is_asimov = np.allclose(self._asimov[:main], self._data[:main], rtol=1e-4, atol=1e-6)

    def _first_guess(self, workspace: Mapping[str, Any]) -> float:
        """Two standard deviations of the background's fluctuation, without systematic uncertainties."""
        significance = 0.0
        for channel in workspace["channels"]:
            signal = background = np.zeros(1)
            for sample in channel["samples"]:
                values = np.asarray(sample["data"])
                if any(modifier["name"] == POI for modifier in sample["modifiers"]):
                    signal = signal + values
                else:
                    background = background + values
            spread = np.maximum(background + np.sqrt(background), 1e-6)
            significance += float(np.sum(np.square(signal) / spread))
        if not 1e-10 < significance < 1e10:
            raise InvalidValues(f"{self._what}: no upper limit can be found; is it in the regions?")
        return 2 / math.sqrt(significance)

    def _widths(self) -> Floats:
        """By how much each parameter moves for one standard deviation: in these units fits converge soon."""
        config = self._model.config
        widths = np.ones(config.npars)
        for name in config.par_order:
            parameter, where = config.param_set(name), config.par_slice(name)
            if parameter.constrained:
                widths[where] = np.maximum(parameter.width(), 1e-4)
        widths[config.poi_index] = self.guess
        return widths

    def _fit(self, key: str, data: Floats, strength: float | None) -> tuple[Floats, float]:
        """Parameters and -2 ln L of the best fit, at a strength or free."""
        from scipy.optimize import minimize

        config = self._model.config
        position = config.poi_index
        start = np.asarray(self._starts.get(key, config.suggested_init()), dtype=np.float64).copy()
        start[position] = self.guess if strength is None else strength
        bounds = np.asarray(config.suggested_bounds(), dtype=np.float64)
        free = np.asarray([not fixed for fixed in config.suggested_fixed()])
        free[position] = strength is None
        low, high = bounds[free].T
        scale = self._scale[free]
        step = 1e-3 * scale

        rows, columns = np.arange(len(scale)), np.flatnonzero(free)

        def value(scaled: Floats) -> float:
            point = start.copy()
            point[free] = scaled * scale
            return -2 * float(np.asarray(self._model.logpdf(point, data)).item())

        def slope(scaled: Floats) -> Floats:
            point = scaled * scale
            above, below = np.minimum(point + step, high), np.maximum(point - step, low)
            points = np.tile(start, (self._batch.batch_size, 1))
            points[:, free] = point
            points[rows, columns] = above
            points[rows + len(rows), columns] = below
            values = -2 * np.asarray(self._batch.logpdf(points, data), dtype=np.float64)
            return np.asarray((values[rows] - values[rows + len(rows)]) / (above - below) * scale)

        if not free.any():
            return start, value(np.empty(0))
        found = minimize(
            value,
            start[free] / scale,
            jac=slope,
            method="SLSQP",
            bounds=list(zip(low / scale, high / scale, strict=True)),
            options={"maxiter": 1000, "ftol": 1e-6},
        )
        if not found.success or not math.isfinite(found.fun):
            raise InvalidValues(f"{self._what}: a fit does not converge: {found.message}")
        start[free] = found.x * scale
        self._starts[key] = start
        return start, float(found.fun)

    def _root(self, key: str, strength: float) -> tuple[float, float]:
        """sqrt(q) of a strength, and the strength that fits best."""
        data = self._asimov if key == "asimov" else self._data
        if key not in self._minimum:
            if key == "asimov":
                _, best = self._fit(key, data, 0.0)
                self._minimum[key] = (0.0, best)
            else:
                parameters, best = self._fit(key, data, None)
                self._minimum[key] = (float(parameters[self._model.config.poi_index]), best)
        fitted, best = self._minimum[key]
        if (key, strength) not in self._known:
            self._known[(key, strength)] = self._fit(key, data, strength)[1]
        return math.sqrt(max(self._known[(key, strength)] - best, 0.0)), fitted

    def expected_at(self, root: float, start: float) -> float:
        """The strength at which sqrt(q) of the Asimov data is ``root``."""
        strength = start
        for _ in range(50):
            found, _ = self._root("asimov", strength)
            # sqrt(q) is nearly proportional to the strength
            factor = root / found if found > 0 else 10.0
            strength *= min(max(factor, 0.1), 10.0)
            if abs(factor - 1) < 5e-4:
                return strength
        raise InvalidValues(f"{self._what}: no upper limit was found; is it in the regions?")

    def cls(self, strength: float) -> float:
        """CLs of the data (Cowan et al., section 3.8 for q-tilde)."""
        from scipy.stats import norm

        of_asimov, _ = self._root("asimov", strength)
        observed, fitted = self._root("data", strength)
        observed = 0.0 if fitted > strength else observed
        if observed <= of_asimov:
            distance = observed - of_asimov
        else:
            distance = (observed**2 - of_asimov**2) / (2 * of_asimov)
        return float(norm.sf(distance + of_asimov) / norm.sf(distance))


def save_limits(limits: Sequence[Limit], path: str | os.PathLike[str]) -> None:
    """Write limits to a JSON file.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    content = {"confidence_level": 0.95, "limits": [asdict(item) for item in limits]}
    with complete_or_absent(path) as part:
        part.write_text(json.dumps(content, indent=1), encoding="utf-8")


def table(limits: Sequence[Limit]) -> str:
    """Limits as a text table: strengths, and cross sections in fb."""
    heads = ["signal", "mass [GeV]", "observed", "-2 sigma", "-1 sigma", "expected", "+1 sigma", "+2 sigma"]
    rows = [[*heads, "expected [fb]"]]
    for item in limits:
        numbers = [item.observed, *item.expected]
        shown = ["-" if item.asimov and not i else f"{number:.4g}" for i, number in enumerate(numbers)]
        rows.append(
            [item.signal, f"{item.mass:g}", *shown, f"{item.expected[2] * item.cross_section * 1e3:.4g}"]
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(f"{cell:>{w}}" for cell, w in zip(row, widths, strict=True)) for row in rows)
