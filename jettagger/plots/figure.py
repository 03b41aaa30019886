"""The figure of all plots: notebooks show it, and it looks for no font that it does not draw."""

from __future__ import annotations

import io
from typing import Any

import matplotlib
from matplotlib.figure import Figure

__all__ = ["PlotFigure"]


class PlotFigure(Figure):
    """A figure without a window, which notebooks show as a picture without ``%matplotlib``."""

    def draw(self, renderer: Any) -> None:
        """Draw with a renderer of matplotlib.

        Formulae look for all fonts that they might need; the calligraphic one, "cursive", is on few machines and warns.
        """
        with matplotlib.rc_context({"mathtext.cal": matplotlib.rcParams["mathtext.rm"]}):
            super().draw(renderer)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=80, metadata={"Software": None})
        return buffer.getvalue()
