"""Common style and canvas of all plots; needs the extra ``plot``.

Lines differ in style and fills in lightness, so that plots are legible in greyscale.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from jettagger.arguments import Kind, guard
from jettagger.errors import require
from jettagger.files import complete_or_absent

__all__ = [
    "FILLS",
    "LINES",
    "PETROFF",
    "Figure",
    "PlotLabel",
    "ProcessStyle",
    "Styles",
    "canvas",
    "drawing",
    "process_styles",
    "save_figure",
    "styles_of",
    "titled",
]

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
#: colours that can be told apart with any colour vision (M. A. Petroff, arXiv:2107.02270, ten colours)
PETROFF = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#94a4a2",
    "#832db6",
    "#a96b59",
    "#e76300",
    "#b9ac70",
    "#717581",
    "#92dadd",
)
_PARAMETERS = {"font.size": 16, "legend.fontsize": 13, "figure.figsize": (8.5, 7.5)}


@dataclass(frozen=True)
class ProcessStyle:
    """How a process looks in all pictures.

    Parameters
    ----------
    colour : str
        Of its fill and of its line.
    line : str or tuple
        Line style of matplotlib.
    """

    colour: str
    line: Any = "-"


#: process -> its style
Styles = Mapping[str, ProcessStyle]


def process_styles(names: Iterable[str]) -> dict[str, ProcessStyle]:
    """One style for each process, for all pictures.

    Parameters
    ----------
    names : iterable of str
        The processes; their order gives the colours.

    Returns
    -------
    dict of str to ProcessStyle
        Colours of `PETROFF`, and line styles, so that lines can be told apart without colours; the first 30 differ.

    Examples
    --------
    >>> process_styles(["QCD", "tt"])["tt"]
    ProcessStyle(colour='#ffa90e', line='--')
    """
    return {
        name: ProcessStyle(PETROFF[i % len(PETROFF)], LINES[i % len(LINES)][1])
        for i, name in enumerate(dict.fromkeys(names))
    }


def styles_of(names: Iterable[str], styles: Styles | None) -> dict[str, ProcessStyle]:
    """The styles of processes, with further ones for those that have none.

    Parameters
    ----------
    names : iterable of str
        The processes of a picture.
    styles : mapping of str to ProcessStyle, optional
        Those of all pictures.

    Returns
    -------
    dict of str to ProcessStyle
    """
    known = dict(styles or {})
    return process_styles([*known, *names]) | known


@dataclass(frozen=True)
class PlotLabel:
    """The label of an experiment above a picture.

    Parameters
    ----------
    experiment : str
        E.g. ``CMS``.
    text : str
        After it, e.g. ``Preliminary``. Pictures without data have ``Simulation`` before it.
    energy : str
        Centre-of-mass energy in TeV, e.g. ``13`` or ``13.6``.
    luminosity : float, optional
        Integrated luminosity in 1/fb.

    Examples
    --------
    >>> PlotLabel("CMS", "Preliminary", "13", 138.0).luminosity
    138.0
    """

    experiment: str = ""
    text: str = ""
    energy: str = ""
    luminosity: float | None = None

    @property
    def right(self) -> str:
        """Luminosity and energy."""
        luminosity = "" if self.luminosity is None else f"{self.luminosity:g} fb$^{{-1}}$"
        energy = f"({self.energy} TeV)" if self.energy else ""
        return " ".join(part for part in (luminosity, energy) if part)

    def draw(self, axes: Any, *, data: bool, right: bool = True) -> None:
        """Draw it above axes, in the style of mplhep.

        Parameters
        ----------
        axes : matplotlib.axes.Axes
        data : bool
            Whether data are drawn.
        right : bool
            Whether luminosity and energy are drawn, too; narrow axes have no place for them.
        """
        mplhep = require("mplhep", "plot", "plotting")
        mplhep.label.exp_label(
            exp=f"{self.experiment}\N{NO-BREAK SPACE}" if self.experiment else "",
            text=self.text,
            data=data,
            rlabel=self.right if right else "",
            loc=0,
            fontsize=18,
            ax=axes,
        )


def titled(axes: Any, title: str, label: PlotLabel | None, *, data: bool = False) -> None:
    """The title of a picture: above it at the right, or within the axes under the label of an experiment.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    title : str
    label : PlotLabel, optional
    data : bool
        Whether data are drawn.
    """
    if label is None:
        axes.set_title(title, loc="right", fontsize=14)
        return
    label.draw(axes, data=data)
    if title:
        axes.text(0.03, 0.965, title, transform=axes.transAxes, fontsize=14, ha="left", va="top")


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
        # the date in a PDF would make equal pictures different
        undated = {"CreationDate": None} if Path(path).suffix.lower() == ".pdf" else None
        figure.savefig(part, dpi=120, metadata=undated)


guard(globals())
