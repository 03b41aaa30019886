"""Plots in a common style; needs the extra ``plot``. Functions return a figure, which `save_figure` writes."""

from __future__ import annotations

from jettagger.plots.curves import limit_band, roc_curves
from jettagger.plots.explanations import attention_maps, feature_maps, feature_ranking, sufficiency_curves
from jettagger.plots.fits import band_spectra, impact_ranking
from jettagger.plots.images import contribution_images, mean_images
from jettagger.plots.jets import draw_jets
from jettagger.plots.masses import assigned_masses
from jettagger.plots.purities import purities_by_objects
from jettagger.plots.responses import flavour_responses, response_distributions, response_summary
from jettagger.plots.searchfits import (
    closure_spectrum,
    correlation_matrix,
    fitted_pulls,
    fitted_spectrum,
    significances,
    strength_impacts,
)
from jettagger.plots.spectra import cutflow, sculpting, shapes, spectrum
from jettagger.plots.style import (
    LINES,
    PETROFF,
    PlotLabel,
    ProcessStyle,
    check_picture,
    curve_styles,
    fill_styles,
    process_styles,
    save_figure,
)
from jettagger.plots.tradeoffs import dependence_curves, efficiency_curves, tradeoff

__all__ = [
    "LINES",
    "PETROFF",
    "PlotLabel",
    "ProcessStyle",
    "assigned_masses",
    "attention_maps",
    "band_spectra",
    "check_picture",
    "closure_spectrum",
    "contribution_images",
    "correlation_matrix",
    "curve_styles",
    "cutflow",
    "dependence_curves",
    "draw_jets",
    "efficiency_curves",
    "feature_maps",
    "feature_ranking",
    "fill_styles",
    "fitted_pulls",
    "fitted_spectrum",
    "flavour_responses",
    "impact_ranking",
    "limit_band",
    "mean_images",
    "process_styles",
    "purities_by_objects",
    "response_distributions",
    "response_summary",
    "roc_curves",
    "save_figure",
    "sculpting",
    "shapes",
    "significances",
    "spectrum",
    "strength_impacts",
    "sufficiency_curves",
    "tradeoff",
]


def __dir__() -> list[str]:
    return sorted(__all__)
