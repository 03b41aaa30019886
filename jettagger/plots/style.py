"""Common style and canvas of all plots; needs the extra ``plot``.

Lines differ in style and fills in lightness, so that plots are legible in greyscale.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

from jettagger.arguments import Kind, guard
from jettagger.errors import require
from jettagger.files import complete_or_absent

__all__ = ["FILLS", "LINES", "Figure", "canvas", "drawing", "save_figure"]

Figure = Annotated[Any, Kind("a matplotlib figure", lambda value: hasattr(value, "savefig"))]

#: fills from light to dark, distinguishable without colour
FILLS = ("#c6dbef", "#fdae6b", "#74a476", "#9e6ab8", "#a63603", "#4a4a4a")
#: colours and styles of lines, distinguishable without colour
LINES = (
    ("#08306b", "-"),
    ("#d94801", "--"),
    ("#006d2c", "-."),
    ("#7a0177", ":"),
    ("#000000", (0, (5, 1, 1, 1, 1, 1))),
    ("#636363", (0, (1, 1))),
)
_PARAMETERS = {"font.size": 16, "legend.fontsize": 13, "figure.figsize": (8.5, 7.5)}


@contextmanager
def drawing(**parameters: Any) -> Iterator[Any]:
    """Draw in mplhep's plain style, without a window; global settings are restored afterwards.

    Parameters
    ----------
    **parameters
        Entries of matplotlib's ``rcParams``, with ``_`` for the dot: ``font_size=15``.

    Yields
    ------
    module
        mplhep.

    Raises
    ------
    MissingExtra
        If matplotlib or mplhep is not installed.
    """
    mplhep = require("mplhep", "plot", "plotting")
    matplotlib = require("matplotlib", "plot", "plotting")
    with matplotlib.rc_context():
        mplhep.style.use(mplhep.style.ROOT)
        matplotlib.rcParams.update(_PARAMETERS)
        matplotlib.rcParams.update({name.replace("_", ".", 1): value for name, value in parameters.items()})
        yield mplhep


def canvas(
    rows: int = 1,
    columns: int = 1,
    *,
    height_ratios: Sequence[float] | None = None,
    width_ratios: Sequence[float] | None = None,
    sharex: bool = False,
    **keywords: Any,
) -> tuple[Any, Any]:
    """A figure without a window, which does not have to be closed.

    Parameters
    ----------
    rows, columns : int
    height_ratios, width_ratios : sequence of float, optional
        Ratios of the rows and of the columns.
    sharex : bool
        Whether the axes of a column share the x axis.
    **keywords
        Arguments of ``matplotlib.figure.Figure``.

    Returns
    -------
    figure, axes
        Axes as an array of rows and columns.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(layout="constrained", **keywords)
    FigureCanvasAgg(figure)
    axes = figure.subplots(
        rows, columns, squeeze=False, sharex=sharex, height_ratios=height_ratios, width_ratios=width_ratios
    )
    return figure, axes


def save_figure(
    figure: Figure,
    path: str | os.PathLike[str],
) -> None:
    """Write a figure; the suffix (png, pdf, svg) gives the format.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    matplotlib = require("matplotlib", "plot", "plotting")
    # Formulae look for all fonts that they might need; the calligraphic one, "cursive", is on few machines and warns.
    plain = {"mathtext.cal": matplotlib.rcParams["mathtext.rm"]}
    with complete_or_absent(path) as part, matplotlib.rc_context(plain):
        figure.savefig(part, dpi=120, metadata=None)


guard(globals())
