"""Plots in a common style; needs the extra ``plot``. Functions return a figure, which `save_figure` writes."""

from __future__ import annotations

from jettagger.plots.curves import limit_band, roc_curves
from jettagger.plots.jets import draw_jets
from jettagger.plots.spectra import cutflow, sculpting, shapes, spectrum
from jettagger.plots.style import LINES, save_figure

__all__ = [
    "LINES",
    "cutflow",
    "draw_jets",
    "limit_band",
    "roc_curves",
    "save_figure",
    "sculpting",
    "shapes",
    "spectrum",
]
