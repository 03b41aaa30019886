"""
Impacts on a scale factor
=========================

Which uncertainties a scale factor depends on: pulls at the left, changes of the factor at the right, the largest
first. The fit is that of :ref:`sphx_glr_gallery_calibration_plot_band_spectra.py`.
"""

import hist
import numpy as np
from scipy.stats import norm

from jettagger.calibration import BandTemplates, CategoryFactor, fit_factors
from jettagger.statistics.bins import Template

edges = np.linspace(50, 150, 21)
peak, falling = np.diff(norm.cdf(edges, 82, 8)), -np.diff(np.exp(-edges / 60))
shifted = {"jms": (np.diff(norm.cdf(edges, 83.6, 8)), np.diff(norm.cdf(edges, 80.4, 8)))}  # mass scale up, down


def template(shape, jets, shifts=None):
    values = shape / shape.sum() * jets
    shifts = {name: (up / shape.sum() * jets, down / shape.sum() * jets) for name, (up, down) in (shifts or {}).items()}
    return Template(values, 0.05 * values, shifts)


simulated = {
    "signal": {"fail": template(peak, 1000, shifted), "pass": template(peak, 2000, shifted)},
    "other": {"fail": template(falling, 4000), "pass": template(falling, 400)},
}
true = {"signal": {"fail": 1.2, "pass": 0.9}, "other": {"fail": 1.0, "pass": 1.0}}
rng = np.random.default_rng(1)
data = {
    band: rng.poisson(sum(true[name][band] * simulated[name][band].values for name in simulated)).astype(float)
    for band in ("fail", "pass")
}
axis = hist.axis.Variable(edges, name="msoftdrop", label="Soft-drop mass [GeV]")
templates = BandTemplates("pt 300 to 400", axis, ["fail", "pass"], data, simulated)
fit = fit_factors(
    templates, categories={"other": CategoryFactor(normalisation=0.2)}, normalisations={"lumi": {"signal": 0.016}}
)

# %%
# Parameters ``mcstat_...`` are those of limited simulated jets.
from jettagger import plots

figure = plots.impact_ranking(fit, "signal", "pass", number=12, title="$p_T$ 300 to 400 GeV, toy data")
figure

# %%
# Next: :doc:`/calibration` on groups of uncertainties, and on weights of events from scale factors.
