"""The pictures of a calibration: factors against pt, bands before and after the fits, impacts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from jettagger.arguments import guard
from jettagger.studies.calibration.config import CalibrationConfig
from jettagger.studies.calibration.naming import folder_of

if TYPE_CHECKING:
    from jettagger.studies.calibration.run import CalibrationResult

__all__ = ["figures"]


def figures(config: CalibrationConfig, result: CalibrationResult) -> Iterator[tuple[str, str, Any]]:
    """Draw the pictures of the report; needs the extra ``plot``.

    Parameters
    ----------
    config : CalibrationConfig
    result : CalibrationResult

    Yields
    ------
    name : str
        Of the file, in the folder of the calibration.
    what : str
    figure : matplotlib.figure.Figure
    """
    from jettagger.plots import band_spectra, fill_styles, impact_ranking

    styles = fill_styles(config.content.categories)
    for place, item in result.fits.bins.items():
        folder = f"fits/{folder_of(result.fits.axes, place)}"
        for name, fitted in (("prefit", False), ("postfit", True)):
            what = f"{item.name}, {'after' if fitted else 'before'} the fit"
            figure = band_spectra(item.fit, fitted=fitted, title=item.name, styles=styles)
            yield f"{folder}/{name}.png", what, figure
        for category in config.measured:
            band = _last(item.fit, category)
            if band is None or not item.fit.impacts:
                continue
            what = f"{item.name}, impacts on the factor of {category} in band {band}"
            yield (
                f"{folder}/impacts_{category}.png",
                what,
                impact_ranking(item.fit, category, band, title=item.name),
            )


def _last(fit: Any, category: str) -> str | None:
    """The highest band whose factor has an uncertainty; None without one."""
    row = list(fit.model.categories).index(category)
    for band, sigma in zip(reversed(fit.model.templates.bands), reversed(fit.uncertainties[row]), strict=True):
        if sigma > 0:
            return str(band)
    return None


guard(globals())
