"""
Median response and resolution
==============================

Median response and resolution of jets against the true pt, before and after a standard correction, with uncertainties
from a bootstrap over events.
"""

import numpy as np

from jettagger.jec import derive_standard, jet_estimates, measure_estimates

rng = np.random.default_rng(5)
number = 40_000
true = 20 * np.exp(rng.exponential(0.9, number))
eta, rho, num_pv = rng.uniform(-2.4, 2.4, number), rng.uniform(5, 40, number), rng.poisson(30, number)
area = np.full(number, 0.5)
flavour = rng.choice([1, 4, 5, 21], number, p=[0.35, 0.1, 0.1, 0.45])  # light quark, c, b, gluon
response = np.select([flavour == 1, flavour == 21], [0.93, 0.87], 0.9)
pt = response * true * rng.normal(1, 0.05 + 1 / np.sqrt(true), number) + 0.8 * rho * area  # with pile-up

correction = derive_standard(pt, eta, area, rho, num_pv, true)
estimates = {"uncorrected": pt, "Standard": pt * correction.factor(pt, eta, area, rho, num_pv)}
found = measure_estimates(jet_estimates(true, eta, flavour, estimates), eta_edges=[0, 1.3, 2.5], replicas=20)

# %%
# Of all flavours in the barrel.
from jettagger import plots

place = (found.flavours.index("all"), 0)
figure = plots.response_summary(
    found.pt_edges,
    {label: found.median[label][place] for label in found.labels},
    {label: found.resolution[label][place] for label in found.labels},
    {label: ratio[place] for label, ratio in found.ratio.items()},
    reference=found.reference,
    title=r"mock jets, $|\eta|$ < 1.3",
)
figure

# %%
# Next: ``jettagger jec plot`` draws this for files, see :doc:`/jec`.
