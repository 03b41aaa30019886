"""Mean images of samples of jets, their differences, and contributions of their pixels; needs the extra ``plot``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from jettagger.arguments import Numbers, guard
from jettagger.errors import InvalidValues, MismatchError, require
from jettagger.images import ImageChannel, ImageSettings, MeanImage, image_difference
from jettagger.plots.style import DIVERGING, SEQUENTIAL, canvas, drawing
from jettagger.types import Floats

__all__ = ["contribution_images", "mean_images"]

#: maximum number of decades of the colour scale; those of differences are drawn from a fraction of the largest on
DECADES = 5
_LINEAR = 1e-3

#: maximum number of panels in a row: two samples and their difference, or channels of one
_COLUMNS = 3

#: differences below this many standard deviations are not drawn
SIGNIFICANT = 1.0


def mean_images(samples: Mapping[str, MeanImage], *, title: str = "") -> Any:
    """Mean images on a logarithmic scale; of two samples a row for each channel, with the difference.

    Parameters
    ----------
    samples : mapping of str to MeanImage
        Name of the sample -> its mean image; one or two, with the same settings.
    title : str
        Title above the plot.

    Returns
    -------
    matplotlib.figure.Figure
        The last column is the first sample minus the second, where it exceeds a standard deviation.

    Raises
    ------
    InvalidValues
        If there are no samples, or more than two.
    MismatchError
        If their settings differ.
    """
    if not 1 <= len(samples) <= 2:
        raise InvalidValues(f"got {len(samples)} samples, expected one or two")
    means = list(samples.values())
    settings = means[0].settings
    if any(mean.settings != settings for mean in means):
        raise MismatchError("images of samples with different settings cannot be compared")
    require("matplotlib", "plot", "drawing images")
    panels: list[tuple[ImageChannel, str, Floats, Floats | None]] = []  # the last ones are errors of differences
    for row, channel in enumerate(settings.channels):
        for name, mean in samples.items():
            panels.append((channel, f"{name} ({mean.n_jets} jets)", mean.mean[row], None))
        if len(means) == 2:
            difference, error = image_difference(*means)
            panels.append((channel, " $-$ ".join(samples), difference[row], error[row]))
    n_columns = min(_COLUMNS, len(panels))
    n_rows = -(-len(panels) // n_columns)
    with drawing(font_size=13):
        figure, grid = canvas(n_rows, n_columns, figsize=(5.3 * n_columns, 4.2 * n_rows + (0.4 if title else 0)))
        for axes, (channel, text, values, errors) in zip(grid.flat, panels, strict=False):
            label = _label(settings, channel)
            if errors is not None:
                _difference(figure, axes, values, errors, label, settings)
            else:
                row = settings.channels.index(channel)
                _mean(figure, axes, values, _scale(np.array([mean.mean[row] for mean in means])), label, settings)
            _frame(axes, settings, channel)
            axes.set_title(text, fontsize=13)
        for axes in grid.flat[len(panels) :]:
            axes.set_axis_off()
        if title:
            figure.suptitle(title, fontsize=14)
    return figure


def contribution_images(
    samples: Mapping[str, Numbers], settings: ImageSettings, *, quantity: str = "contribution", title: str = ""
) -> Any:
    """Mean contributions of the pixels of images, a row of panels for each channel.

    Parameters
    ----------
    samples : mapping of str to float[channels, rows, columns]
        Name of a group of jets -> mean contributions of the pixels.
    settings : ImageSettings
        Settings of the images, with the names of the channels.
    quantity : str
        Name of the contributions, for the colour scale.
    title : str
        Title above the plot.

    Returns
    -------
    matplotlib.figure.Figure
        A linear scale around 0, one for all groups of a channel; pixels without a contribution are white.

    Raises
    ------
    InvalidValues
        If there are no groups.
    MismatchError
        If contributions do not have the shape of the images.
    """
    from matplotlib.colors import Normalize

    if not samples:
        raise InvalidValues("no images to draw, expected at least one group of jets")
    images = {name: np.asarray(values, dtype=np.float64) for name, values in samples.items()}
    shape = settings.shape
    for name, values in images.items():
        if values.shape != shape:
            raise MismatchError(f"the contributions of {name!r} have the shape {values.shape}, expected {shape}")
    n_rows, n_columns = len(settings.channels), len(images)
    with drawing(font_size=13):
        size = (5.3 * n_columns, 4.2 * n_rows + (0.4 if title else 0))
        figure, grid = canvas(n_rows, n_columns, figsize=size)
        for row, channel in enumerate(settings.channels):
            bound = max(float(np.nanmax(np.abs(values[row]), initial=0.0)) for values in images.values()) or 1.0
            for axes, (name, values) in zip(grid[row], images.items(), strict=True):
                bar = _draw(figure, axes, values[row], Normalize(-bound, bound), DIVERGING, quantity, settings)
                bar.minorticks_off()
                _frame(axes, settings, channel)
                axes.set_title(name, fontsize=13)
        if title:
            figure.suptitle(title, fontsize=14)
    return figure


def _scale(values: Floats) -> Any:
    """The colour scale of the means of a channel: logarithmic, linear if there are negative ones."""
    from matplotlib.colors import LogNorm, Normalize

    largest = float(np.abs(values).max())
    if not largest or (values < 0).any():
        return Normalize(-(largest or 1.0), largest or 1.0)
    lowest = max(float(values[values > 0].min()), largest * 10.0**-DECADES)
    return LogNorm(min(lowest, largest / 10), largest)


def _mean(figure: Any, axes: Any, values: Floats, norm: Any, label: str, settings: ImageSettings) -> None:
    if norm.vmin > 0:  # empty pixels are blank, those below the scale are at its end
        values = np.where(values > 0, np.maximum(values, norm.vmin), np.nan)
    _draw(figure, axes, values, norm, SEQUENTIAL, label, settings)


def _difference(figure: Any, axes: Any, values: Floats, errors: Floats, label: str, settings: ImageSettings) -> None:
    from matplotlib.colors import SymLogNorm

    shown = np.where(np.abs(values) > SIGNIFICANT * errors, values, np.nan)
    bound = float(np.nanmax(np.abs(shown))) if np.isfinite(shown).any() else 1.0
    norm = SymLogNorm(bound * _LINEAR, vmin=-bound, vmax=bound)
    bar = _draw(figure, axes, shown, norm, DIVERGING, f"difference: {label}", settings)
    decades = 10.0 ** np.arange(np.ceil(np.log10(2 * bound * _LINEAR)), np.floor(np.log10(bound)) + 1)
    bar.set_ticks([*-decades[::-1], 0.0, *decades])
    bar.minorticks_off()


def _draw(figure: Any, axes: Any, values: Floats, norm: Any, colours: str, label: str, settings: ImageSettings) -> Any:
    eta, phi = settings.half_widths
    extent = (-eta, eta, -phi, phi)
    picture = axes.imshow(values, origin="lower", extent=extent, norm=norm, cmap=colours, interpolation="none")
    bar = figure.colorbar(picture, ax=axes, pad=0.02, aspect=28)
    bar.set_label(label, fontsize=11)
    bar.ax.tick_params(labelsize=10)
    return bar


def _frame(axes: Any, settings: ImageSettings, channel: ImageChannel) -> None:
    """Axes with their units, and the name of the channel."""
    rotated = ", rotated" if settings.steps.rotate != "none" else ""
    mirrored = " (mirrored)" if settings.mirrored and not rotated else ""
    zoom = "" if settings.zoom is None else rf" $\times\ p_T / {settings.zoom:g}$ GeV"
    axes.set_xlabel(rf"$\Delta\eta${rotated}{mirrored}{zoom}", fontsize=12)
    axes.set_ylabel(rf"$\Delta\phi${rotated}{zoom} [rad]", fontsize=12)
    axes.tick_params(labelsize=10)
    axes.locator_params(nbins=5)
    text = channel.name.replace("_", " ")
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 2.0}
    axes.text(0.04, 0.95, text, transform=axes.transAxes, fontsize=12, va="top", bbox=box)


def _label(settings: ImageSettings, channel: ImageChannel) -> str:
    """What a pixel is, with its unit."""
    if channel.mean is not None:
        return f"{channel.quantity} (0 if empty)"
    words = {"pt": "$p_T$", "energy": "energy", "count": "number"}[channel.quantity]
    if settings.normalise in ("image", "both"):
        return f"mean fraction of {words} in a pixel"
    unit = {"GeV": " [GeV]"}.get(channel.unit, "")
    return f"mean {words} in a pixel{unit}"


guard(globals())
