"""
Response by flavour
===================

Jets of gluons have a lower response than those of light quarks. A correction that does not know the flavour leaves
this difference.
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
# A panel for each range of eta.
from jettagger import plots

order = ["g", "uds", "c", "b"]
rows = [found.flavours.index(name) for name in order]
panels = {
    title: {label: found.flavour_median[label][rows, column] for label in found.labels}
    for column, title in enumerate((r"$|\eta|$ < 1.3", r"1.3 < $|\eta|$ < 2.5"))
}
figure = plots.flavour_responses(panels, order, title=f"mock jets, $p_T$ > {found.flavour_pt:g} GeV")
figure

# %%
# Next: :doc:`/jec` on networks that infer it from the constituents.
