"""Purities of assignments by number of objects; needs the extra ``plot``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.errors import InvalidValues, MismatchError
from jettagger.plots.style import Styles, canvas, curve_styles, drawing
from jettagger.types import Array

__all__ = ["purities_by_objects"]

#: maximum number of panels in a row
_COLUMNS = 4


def purities_by_objects(
    panels: Mapping[str, Mapping[str, tuple[Array, Array]]],
    bins: Sequence[str],
    *,
    labels: Mapping[str, str] | None = None,
    title: str = "",
    styles: Styles | None = None,
) -> Any:
    """Purities of several methods in bins of the number of objects: a panel for events and for each particle.

    Parameters
    ----------
    panels : mapping of str to mapping of str to (float[bins], float[bins])
        Name of the panel -> method -> purities and their uncertainties; NaN where there are none.
    bins : sequence of str
        Labels of the bins, ``"== 7"``.
    labels : mapping of str to str, optional
        Name of a panel or method -> its label.
    title : str
        Title above the plot.
    styles : mapping of str to ProcessStyle, optional
        Styles of the methods in all pictures, from `jettagger.plots.curve_styles`; default: by the order in this one.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InvalidValues
        If there is no panel.
    MismatchError
        If numbers are not those of the bins.
    """
    if not panels or not bins:
        raise InvalidValues("no purities to draw, expected at least one")
    words = labels or {}
    methods = list(dict.fromkeys(name for panel in panels.values() for name in panel))
    n_rows, n_columns = -(-len(panels) // _COLUMNS), min(len(panels), _COLUMNS)
    chosen = curve_styles(methods, styles)
    with drawing(font_size=14):
        figure, grid = canvas(n_rows, n_columns, figsize=(4.4 * n_columns + 0.6, 4.4 * n_rows + 0.8))
        handles: dict[str, Any] = {}
        for axes, (name, panel) in zip(grid.flat, panels.items(), strict=False):
            for number, method in enumerate(methods):
                if method not in panel:
                    continue
                values, errors = (np.asarray(array, dtype=float) for array in panel[method])
                if values.shape != (len(bins),) or errors.shape != values.shape:
                    raise MismatchError(
                        f"panel {name!r}, method {method!r}: got {values.shape} purities and {errors.shape} "
                        f"uncertainties, expected those of {len(bins)} bins"
                    )
                places = np.arange(len(bins)) + (number - (len(methods) - 1) / 2) * 0.7 / len(methods)
                drawn = axes.errorbar(
                    places,
                    values,
                    np.nan_to_num(errors),
                    color=chosen[method].colour,
                    marker=chosen[method].marker,
                    markersize=6,
                    linestyle="none",
                    linewidth=1.5,
                )
                handles.setdefault(words.get(method, method), drawn)
            axes.set_title(words.get(name, name), fontsize=14, loc="left")
            axes.set_xticks(np.arange(len(bins)), [label.removeprefix("== ") for label in bins])
            axes.tick_params(axis="x", which="minor", bottom=False, top=False)
            axes.set_xlim(-0.6, len(bins) - 0.4)
            axes.set_ylim(0, 1.1 * max(axes.get_ylim()[1], 0.1))
            axes.set_xlabel("Number of objects")
        for axes in grid.flat[len(panels) :]:
            axes.set_axis_off()
        grid[0][0].set_ylabel("Purity")
        figure.legend(list(handles.values()), list(handles), loc="outside upper right", ncols=3, frameon=False)
        figure.suptitle(title, x=0.02, ha="left", fontsize=14)
    return figure


guard(globals())
