"""Common style and canvas of all plots; needs the extra ``plot``.

Lines differ in style and fills in lightness, so that plots are legible in greyscale.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

from jettagger.arguments import Kind, guard
from jettagger.display import Brief
from jettagger.errors import OutputError, hint, require
from jettagger.files import complete_or_absent

__all__ = [
    "DASHES",
    "DIVERGING",
    "FILLS",
    "HATCHES",
    "LINES",
    "MARKERS",
    "PETROFF",
    "SEQUENTIAL",
    "Figure",
    "PlotLabel",
    "ProcessStyle",
    "Styles",
    "canvas",
    "check_picture",
    "curve_styles",
    "drawing",
    "fill_styles",
    "process_styles",
    "save_figure",
    "styles_of",
    "titled",
]

Figure = Annotated[Any, Kind("a matplotlib figure", lambda value: hasattr(value, "savefig"))]

#: fills from light to dark, distinguishable without colour
FILLS = ("#c6dbef", "#f39a4d", "#679a6a", "#8a4fa8", "#8c2d04", "#2b2b2b")
#: styles of lines
DASHES: tuple[Any, ...] = (
    "-",
    "--",
    "-.",
    ":",
    (0, (5, 1, 1, 1, 1, 1)),
    (0, (9, 2.5)),
    (0, (1, 3.5)),
    (0, (9, 2, 3, 2)),
    (0, (3, 4)),
    (0, (9, 2, 1, 1.5, 1, 1.5, 1, 2)),
)
#: hatches of fills; those of uncertainties are "////"
HATCHES = (None, "\\\\\\\\", "...", "xxx", "|||")
#: markers of points
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "h", "p")
#: colours and styles of lines, distinguishable without colour
LINES = tuple(zip(("#08306b", "#d94801", "#006d2c", "#7a0177", "#000000", "#636363"), DASHES, strict=False))
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
#: groups of these colours that differ in lightness, which have one hatch
_ALIKE = (0, 0, 0, 1, 1, 1, 2, 2, 3, 3)
#: colour map of numbers from 0 on: lightness increases evenly
SEQUENTIAL = "viridis"
#: colour map of numbers around 0: lightness decreases evenly to both ends
DIVERGING = "RdBu_r"
_PARAMETERS = {"font.size": 16, "legend.fontsize": 13, "figure.figsize": (8.5, 7.5)}


@dataclass(frozen=True)
class ProcessStyle(Brief):
    """How a process, a method or another curve looks in all pictures.

    Parameters
    ----------
    colour : str
        Of its fill, its line and its points, as matplotlib reads it.
    line : str or tuple
        Line style of matplotlib.
    marker : str
        Marker of matplotlib.
    hatch : str, optional
        Hatch of its fill.

    Examples
    --------
    >>> ProcessStyle("#3f90da", "--").marker
    'o'
    """

    colour: str
    line: Any = "-"
    marker: str = "o"
    hatch: str | None = None

    @property
    def fill(self) -> dict[str, Any]:
        """Keywords of matplotlib for its fill."""
        return {"facecolor": self.colour, "edgecolor": "black", "linewidth": 0.8, "hatch": self.hatch}

    @property
    def stroke(self) -> dict[str, Any]:
        """Keywords of matplotlib for its line."""
        return {"color": self.colour, "linestyle": self.line}

    @property
    def points(self) -> dict[str, Any]:
        """Keywords of matplotlib for its line with markers."""
        return {**self.stroke, "marker": self.marker}


#: process -> its style
Styles = Mapping[str, ProcessStyle]


def process_styles(names: Iterable[str], given: Styles | None = None) -> dict[str, ProcessStyle]:
    """One style for each process, for all pictures.

    Parameters
    ----------
    names : iterable of str
        The processes, also those that some pictures lack; their order gives the styles. One more at the end, or one
        more in ``given``, does not change the others, unless it takes the colour of one.
    given : mapping of str to ProcessStyle, optional
        Styles of some of them. The others avoid their colours as long as there are others.

    Returns
    -------
    dict of str to ProcessStyle
        Of all names and of ``given``: colours of `PETROFF`, lines, markers, and hatches where fills would be alike in
        greyscale. The first ten differ with any colour vision, and without colours.

    Examples
    --------
    >>> process_styles(["QCD", "tt"])["tt"]
    ProcessStyle(colour='#ffa90e', line='--', marker='s', hatch=None)
    >>> process_styles(["QCD", "tt"], {"QCD": ProcessStyle("#ffa90e")})["tt"].colour
    '#3f90da'
    """
    return _assigned(names, given, _process_style)


def curve_styles(names: Iterable[str], given: Styles | None = None) -> dict[str, ProcessStyle]:
    """One style for each curve that is no process: methods, estimates, discriminants.

    Parameters
    ----------
    names : iterable of str
        Their order gives the styles.
    given : mapping of str to ProcessStyle, optional
        Styles of some of them.

    Returns
    -------
    dict of str to ProcessStyle
        Dark colours, which are seen as thin lines, with lines, markers and hatches as in `process_styles`.

    Examples
    --------
    >>> curve_styles(["greedy", "best"])["best"].stroke
    {'color': '#d94801', 'linestyle': '--'}
    """
    return _assigned(names, given, _curve_style)


def fill_styles(names: Iterable[str], given: Styles | None = None) -> dict[str, ProcessStyle]:
    """One style for each fill of areas that are no processes: categories of jets, groups in bars.

    Parameters
    ----------
    names : iterable of str
        Their order gives the styles.
    given : mapping of str to ProcessStyle, optional
        Styles of some of them.

    Returns
    -------
    dict of str to ProcessStyle
        Colours of `FILLS`, from light to dark; further ones have hatches.

    Examples
    --------
    >>> fill_styles(["signal", "other"])["other"].colour
    '#f39a4d'
    """
    return _assigned(names, given, _fill_style)


def _process_style(place: int) -> ProcessStyle:
    turn = place // len(PETROFF)
    return ProcessStyle(
        PETROFF[place % len(PETROFF)],
        DASHES[(place + turn) % len(DASHES)],
        MARKERS[place % len(MARKERS)],
        HATCHES[(_ALIKE[place % len(PETROFF)] + turn) % len(HATCHES)],
    )


def _curve_style(place: int) -> ProcessStyle:
    return ProcessStyle(
        LINES[place % len(LINES)][0],
        DASHES[(place + place // 30) % len(DASHES)],
        MARKERS[place % len(MARKERS)],
        HATCHES[place % len(HATCHES)],
    )


def _fill_style(place: int) -> ProcessStyle:
    hatch = HATCHES[place // len(FILLS) % len(HATCHES)]
    return replace(_curve_style(place), colour=FILLS[place % len(FILLS)], hatch=hatch)


def _assigned(names: Iterable[str], given: Styles | None, style_of: Callable[[int], ProcessStyle]) -> dict[str, Any]:
    """The styles of names in their order, and those that are given; what a given one has is taken by no other."""
    styles = dict(given or {})
    taken = {style.colour for style in styles.values()}
    ordered = list(dict.fromkeys(names))
    # a process keeps its place, and so do those whose places are free
    free = {name: style_of(place) for place, name in enumerate(ordered) if name not in styles}
    chosen = {name: style for name, style in free.items() if style.colour not in taken}
    used = {style.colour for style in chosen.values()} | taken
    spare = [style for style in map(style_of, range(len(PETROFF))) if style.colour not in used]
    for name, style in free.items():
        if name not in chosen:
            chosen[name] = spare.pop(0) if spare else style
    return {name: styles.get(name) or chosen[name] for name in [*ordered, *styles]}


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
    return process_styles([*known, *names], known)


@dataclass(frozen=True)
class PlotLabel(Brief):
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
        before = list(axes.texts)
        for size in _LABEL_SIZES:
            mplhep.label.exp_label(
                exp=f"{self.experiment}\N{NO-BREAK SPACE}" if self.experiment else "",
                text=self.text,
                data=data,
                rlabel=self.right if right else "",
                loc=0,
                fontsize=size,
                ax=axes,
            )
            texts = [text for text in axes.texts if text not in before]
            if size == _LABEL_SIZES[-1] or not _overlapping(texts):
                return
            for text in texts:  # e.g. a long name of an experiment
                text.remove()


#: sizes in points of the label of an experiment, of which the first is taken that has room
_LABEL_SIZES = (18, 16, 14, 12, 10)


def _overlapping(texts: Sequence[Any]) -> bool:
    """Whether a text begins before the one at its left has ended."""
    boxes = sorted((text.get_window_extent() for text in texts if text.get_text().strip()), key=lambda box: box.x0)
    return any(right.x0 < left.x1 for left, right in pairwise(boxes))


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
        A figure that notebooks show as a picture, and axes as an array of rows and columns.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from jettagger.plots.figure import PlotFigure

    figure = PlotFigure(layout="constrained", **keywords)
    FigureCanvasAgg(figure)
    axes = figure.subplots(
        rows, columns, squeeze=False, sharex=sharex, height_ratios=height_ratios, width_ratios=width_ratios
    )
    return figure, axes


def check_picture(path: str | os.PathLike[str]) -> None:
    """Refuse the name of a picture whose suffix is no format, before anything is read for it.

    Parameters
    ----------
    path : path

    Raises
    ------
    OutputError
        If matplotlib writes no such pictures.

    Examples
    --------
    >>> check_picture("jets.pgn")
    Traceback (most recent call last):
    ...
    jettagger.errors.OutputError: cannot write jets.pgn: the suffix is the format of a picture, '.pgn' is none \
(nearest: .png...), expected .png, .pdf or .svg
    """
    require("matplotlib", "plot", "plotting")
    from matplotlib.backend_bases import FigureCanvasBase

    suffix = Path(path).suffix
    formats = [f".{name}" for name in FigureCanvasBase.filetypes]
    if suffix.lower() not in formats:
        said = f"{suffix!r} is none{hint(suffix, formats)}" if suffix else "there is none"
        raise OutputError(
            f"cannot write {path}: the suffix is the format of a picture, {said}, expected .png, .pdf or .svg"
        )


def save_figure(
    figure: Figure,
    path: str | os.PathLike[str],
) -> None:
    """Write a figure; the suffix (png, pdf, svg) gives the format.

    Raises
    ------
    OutputError
        If the file cannot be written, or its suffix is no format.
    """
    check_picture(path)
    matplotlib = require("matplotlib", "plot", "plotting")
    # figures of others look for the calligraphic font of formulae, too, see PlotFigure
    plain = {"mathtext.cal": matplotlib.rcParams["mathtext.rm"]}
    with complete_or_absent(path) as part, matplotlib.rc_context(plain):
        # the date in a PDF would make equal pictures different
        undated = {"CreationDate": None} if Path(path).suffix.lower() == ".pdf" else None
        figure.savefig(part, dpi=120, metadata=undated)


guard(globals())
