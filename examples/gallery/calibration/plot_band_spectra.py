"""
Scale factors from a template fit
=================================

Data that pass and fail a tag are fitted together with templates of the mass. The efficiency in data over that in
simulation is the scale factor. Here data are made with a true factor of 0.9 for the signal.
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
print("scale factor of the signal:", fit.factor("signal", "pass"))
print(f"goodness of fit: p = {fit.goodness.probability:.2f}")

# %%
# Data and stacked categories in each band after the fit.
from jettagger import plots

figure = plots.band_spectra(fit, title="$p_T$ 300 to 400 GeV, toy data")
figure

# %%
# Next: ``jettagger calibrate`` measures factors from files in all bins and writes them as correctionlib JSON; see
# :doc:`/calibration`.
