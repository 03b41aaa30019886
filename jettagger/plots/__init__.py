"""Pictures in one style."""

from __future__ import annotations

from jettagger.plots.histograms import cutflow, limit_band, roc_curves, save_figure, sculpting, shapes, spectrum

__all__ = ["cutflow", "limit_band", "roc_curves", "save_figure", "sculpting", "shapes", "spectrum"]
