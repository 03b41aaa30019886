"""Scale and resolution of the mass as shapes: shifted and stretched templates, and the factors that a fit gives.

A shift of the scale multiplies all masses; a change of the resolution multiplies the distance from the peak. Both act
on the cumulative distribution, interpolated monotonically between the edges of the bins (F. N. Fritsch and R. E.
Carlson, 1980), so that narrow bins are needed: merge them afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from jettagger.arguments import Numbers, guard, in_range
from jettagger.calibration.fitting import FactorFit
from jettagger.calibration.masses import MassFactors
from jettagger.calibration.model import ShapeFactor
from jettagger.calibration.templates import BandTemplates
from jettagger.errors import ConfigError, InvalidValues, MismatchError, UnknownName
from jettagger.types import Floats

__all__ = ["RESOLUTION", "SCALE", "mass_factors", "mass_shapes", "peak_position", "shifted_mass", "with_mass_shapes"]

#: names of the variations
SCALE, RESOLUTION = "mass_scale", "mass_resolution"
#: maximum width of the bins at the peak, relative to the spread of the masses around it
WIDEST = 1.0


def shifted_mass(
    edges: Numbers, values: Numbers, *, scale: float = 1.0, resolution: float = 1.0, centre: float = 0.0
) -> Floats:
    """A distribution of masses ``m`` as that of ``scale * (centre + resolution * (m - centre))``.

    Parameters
    ----------
    edges : float64[bins + 1]
        Increasing, in GeV.
    values : float64[bins]
        Not negative.
    scale, resolution : float
        Factors above zero.
    centre : float
        Position of the peak in GeV, which the resolution leaves in its place.

    Returns
    -------
    float64[bins]
        Outside of the edges the density of the outermost bins is assumed.

    Raises
    ------
    ConfigError
        If a factor is not above zero.
    MismatchError
        If there is not one value for each bin.
    InvalidValues
        If edges do not increase, or a value is negative or not finite.

    Examples
    --------
    >>> shifted_mass(np.array([0.0, 50, 100, 150]), np.array([0.0, 4.0, 0.0]), scale=1.5).round(2).tolist()
    [0.0, 1.04, 2.96]
    """
    from scipy.interpolate import PchipInterpolator

    in_range(scale, "shifted_mass(), argument scale", 0, above=True)
    in_range(resolution, "shifted_mass(), argument resolution", 0, above=True)
    edges, values = np.asarray(edges, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or edges.shape != (len(values) + 1,) or not len(values):
        raise MismatchError(f"shifted_mass(): {values.shape} values for {edges.shape} edges, expected one for each bin")
    widths = np.diff(edges)
    if not (np.isfinite(edges).all() and (widths > 0).all() and (np.isfinite(values) & (values >= 0)).all()):
        raise InvalidValues("shifted_mass(): expected increasing edges, and values that are finite and not negative")
    reach = edges[-1] - edges[0]
    # as far outside as a shift can need, with the density of the outermost bins
    outside = np.array([values[0] / widths[0], values[-1] / widths[-1]]) * reach
    places = np.concatenate([[edges[0] - reach], edges, [edges[-1] + reach]])
    sums = np.concatenate([[-outside[0]], [0.0], np.cumsum(values), [np.sum(values) + outside[1]]])
    with np.errstate(over="ignore"):  # contents of 1e-310: the slope is 0
        cumulative = PchipInterpolator(places, sums)
    before = centre + (edges / scale - centre) / resolution
    return np.maximum(np.diff(cumulative(np.clip(before, places[0], places[-1]))), 0.0)


def peak_position(templates: BandTemplates, category: str) -> float:
    """The mass at the peak of a category in all bands, in GeV: the mean of the bins above half of its height.

    Raises
    ------
    UnknownName
        If there is no such category.
    """
    templates.yields(category)
    values = np.sum([template.values for template in templates.categories[category].values()], axis=0)
    edges = np.asarray(templates.variable.edges, dtype=np.float64)
    density = values / np.diff(edges)
    highest = int(np.argmax(density))
    lower = np.flatnonzero(density < density[highest] / 2)
    first = lower[lower < highest].max(initial=-1) + 1
    near = slice(first, lower[lower > highest].min(initial=len(values)))
    centres = (edges[:-1] + edges[1:]) / 2
    return float(np.average(centres[near], weights=values[near]))


def with_mass_shapes(
    templates: BandTemplates,
    categories: Sequence[str],
    *,
    scale: float = 0.02,
    resolution: float = 0.1,
    centre: float | None = None,
) -> BandTemplates:
    """Templates with the variations ``mass_scale`` and ``mass_resolution`` of some categories.

    Parameters
    ----------
    templates : BandTemplates
        Of a mass in narrow bins; merge them afterwards (:meth:`BandTemplates.merged`).
    categories : sequence of str
        Those with a peak whose scale and resolution are common.
    scale, resolution : float
        Relative sizes of the variations, about those expected: between up and down the fit interpolates.
    centre : float, optional
        Position of the peak in GeV; default: :func:`peak_position` of the first category.

    Returns
    -------
    BandTemplates
        To be fitted with the shapes of :func:`mass_shapes`.

    Raises
    ------
    UnknownName
        If there is no such category.
    ConfigError
        If a size is not between 0 and 1, or no category is given.
    InvalidValues
        If the bins are as wide as the shifts, i.e. hide them.
    """
    if not categories:
        raise ConfigError("with_mass_shapes(), argument categories: expected at least one category with a peak")
    for name, size in (("scale", scale), ("resolution", resolution)):
        if not 0 < size < 1:
            raise ConfigError(f"with_mass_shapes(), argument {name}: got {size!r}, expected a number between 0 and 1")
    unknown = [name for name in categories if name not in templates.categories]
    if unknown:
        raise UnknownName("category", unknown, list(templates.categories), templates.name)
    edges = np.asarray(templates.variable.edges, dtype=np.float64)
    middle = peak_position(templates, categories[0]) if centre is None else centre
    width = float(np.diff(edges)[np.clip(np.searchsorted(edges, middle) - 1, 0, len(edges) - 2)])
    if width > WIDEST * _spread(templates, categories[0], middle):
        raise InvalidValues(
            f"{templates.name}: bins of {width:g} GeV at the peak of {categories[0]!r} ({middle:.4g} GeV) are as wide "
            "as the peak: make templates in narrow bins and merge them afterwards"
        )
    variations = {
        SCALE: [{"scale": 1 + scale}, {"scale": 1 - scale}],
        RESOLUTION: [
            {"resolution": 1 + resolution, "centre": middle},
            {"resolution": 1 - resolution, "centre": middle},
        ],
    }
    shapes: dict[str, dict[str, dict[str, tuple[Floats, Floats]]]] = {}
    for category in categories:
        for band, template in templates.categories[category].items():
            sides = {
                name: (shifted_mass(edges, template.values, **up), shifted_mass(edges, template.values, **down))
                for name, (up, down) in variations.items()
            }
            shapes.setdefault(category, {})[band] = sides
    return templates.with_shapes(shapes)


def _spread(templates: BandTemplates, category: str, middle: float) -> float:
    """The distance from the peak within which two thirds of a category are."""
    values = np.sum([template.values for template in templates.categories[category].values()], axis=0)
    edges = np.asarray(templates.variable.edges, dtype=np.float64)
    distances = np.abs((edges[:-1] + edges[1:]) / 2 - middle)
    order = np.argsort(distances)
    inside = np.searchsorted(np.cumsum(values[order]), 2 / 3 * values.sum())
    return float(max(distances[order][min(inside, len(order) - 1)], 1e-9))


def mass_shapes(*, scale: float = 0.02, resolution: float = 0.1, prior: float | None = None) -> dict[str, ShapeFactor]:
    """The measured shapes for templates of :func:`with_mass_shapes`, with the same sizes.

    Parameters
    ----------
    scale, resolution : float
        Relative sizes of the variations.
    prior : float, optional
        Uncertainty of both before the fit in units of these sizes; None: free.

    Returns
    -------
    dict
        For the argument ``shapes`` of :func:`jettagger.calibration.fit_factors`.

    Raises
    ------
    ConfigError
        If a number is not above zero.
    """
    sizes = {SCALE: scale, RESOLUTION: resolution}
    return {name: ShapeFactor(size, None if prior is None else prior * size) for name, size in sizes.items()}


def mass_factors(fit: FactorFit, column: str, *, width: float, reference: str | None = None) -> MassFactors:
    """The fitted scale and resolution for application to simulated jets.

    Parameters
    ----------
    fit : FactorFit
        With the shapes of :func:`mass_shapes`; one that was not measured is 1 without an uncertainty.
    column : str
        The mass of the jets.
    width : float
        Width of the peak in simulation relative to its position.
    reference : str, optional
        As for :class:`MassFactors`.

    Returns
    -------
    MassFactors

    Raises
    ------
    InvalidValues
        If a shape is at its bound, i.e. has no uncertainty.
    UnknownName
        If neither of them was measured.
    """
    shapes = fit.shapes
    if not {SCALE, RESOLUTION} & set(shapes):
        raise UnknownName("shape", SCALE, list(shapes), f"the fit of {fit.model.templates.name}")
    numbers: dict[str, float] = {}
    for name, key in ((SCALE, "scale"), (RESOLUTION, "resolution")):
        if name not in shapes:
            continue
        value, sigma = shapes[name].value, shapes[name].uncertainty
        if not math.isfinite(sigma):
            raise InvalidValues(
                f"{fit.model.templates.name}: {name} is at its bound ({value:.4g}), so that it has no uncertainty: "
                "make its variation larger"
            )
        numbers |= {key: value, f"{key}_uncertainty": sigma}
    return MassFactors(column, width=width, reference=reference, **numbers)


guard(globals())
