"""Closure of backgrounds from data: validation regions are fitted without a signal; needs the extra ``stats``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from jettagger.arguments import Workspace, guard
from jettagger.display import Brief
from jettagger.statistics.workspaces import POI, UNIT, WorkspaceContent, workspace

if TYPE_CHECKING:
    from jettagger.statistics.searchfits import SpectrumFit

__all__ = ["Closure", "closure_workspace", "fit_closure"]


@dataclass(frozen=True)
class Closure(Brief):
    """The fit of a background from data in its validation regions.

    Attributes
    ----------
    process : str
    statistic : float
        -2 ln L relative to the saturated model.
    degrees : int
        Bins minus free parameters; with 0, the data determine all, and nothing is tested.
    probability : float
        Probability of a larger value for a chi-square distribution.
    coefficients : dict of str to (float, float)
        Parameter of the transfer factor -> value and uncertainty, relative to the mean transfer factor of the data.
    spectra : tuple of SpectrumFit
        Of each region, after the fit.
    """

    process: str
    statistic: float
    degrees: int
    probability: float
    coefficients: dict[str, tuple[float, float]]
    spectra: tuple[SpectrumFit, ...] = field(repr=False)


def closure_workspace(content: WorkspaceContent) -> dict[str, Any]:
    """The workspace of validation regions, in pyhf's JSON format.

    Parameters
    ----------
    content : WorkspaceContent
        Without a signal, with one background from data.

    Returns
    -------
    dict
        pyhf wants a parameter of interest: it is the first coefficient of the transfer factor.
    """
    made, _ = workspace(content, (0.0, 1.0))
    config = made["measurements"][0]["config"]
    config["parameters"] = [item for item in config["parameters"] if item["name"] not in (POI, UNIT)]
    config["poi"] = content.transfers[0].coefficient_names[0]
    made["measurements"][0]["name"] = "closure"
    return made


def fit_closure(workspace: Workspace, process: str) -> Closure:
    """Fit the validation regions of a background from data.

    Parameters
    ----------
    workspace : mapping
        From `closure_workspace`.
    process : str
        The background.

    Returns
    -------
    Closure

    Raises
    ------
    InvalidValues
        If the fit does not converge.
    """
    from scipy.stats import chi2

    from jettagger.statistics.fits import Likelihood
    from jettagger.statistics.searchfits import fitted_spectra
    from jettagger.statistics.transfer import COEFFICIENT

    likelihood = Likelihood(workspace, None, None)
    what = f"closure of {process!r}"
    point, best = likelihood.minimise(likelihood.data, what)
    covariance = likelihood.covariance(point, likelihood.data, what)
    sigmas = np.sqrt(np.diag(covariance))
    free = int(np.count_nonzero(~likelihood.fixed)) - len(likelihood.deviance.constraints[0])
    degrees = max(sum(likelihood.model.config.channel_nbins.values()) - free, 0)
    coefficients = {
        name: (float(point[index]), float(sigmas[index]))
        for index, name in enumerate(likelihood.model.config.par_names)
        if name.startswith(COEFFICIENT)
    }
    spectra = tuple(fitted_spectra(likelihood, point, covariance, workspace, {}))
    return Closure(process, best, degrees, float(chi2.sf(best, degrees)) if degrees else 1.0, coefficients, spectra)


guard(globals())
