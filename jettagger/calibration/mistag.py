"""Mistag rates: the fraction of background jets that pass, from a control sample with some other jets in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.calibration.formula import BandYields, FormulaFactors, YieldVariation, formula_factors
from jettagger.display import Brief
from jettagger.errors import ConfigError, InvalidValues

__all__ = ["Contamination", "mistag_factors"]


@dataclass(frozen=True, eq=False)
class Contamination(Brief):
    """Jets of another kind in a control sample, from simulation.

    Parameters
    ----------
    yields : BandYields
        Scaled to the luminosity of the data.
    uncertainty : float
        Relative uncertainty of the number of jets.
    factor : float or float64[bands - 1, *bins]
        Scale factors of these jets on the bands above the lowest, e.g. measured ones of tops; jets move between the
        bands, their number stays.
    factor_uncertainty : float or float64[bands - 1, *bins]

    Raises
    ------
    InvalidValues
        If an uncertainty is negative or a factor not positive.
    """

    yields: BandYields
    uncertainty: float = 0.0
    factor: Any = 1.0
    factor_uncertainty: Any = 0.0

    def __post_init__(self) -> None:
        for name in ("uncertainty", "factor", "factor_uncertainty"):
            numbers = np.asarray(getattr(self, name), dtype=np.float64)
            if not np.isfinite(numbers).all() or (numbers < 0).any() or (name == "factor" and (numbers == 0).any()):
                wanted = "above zero" if name == "factor" else "of at least 0"
                raise InvalidValues(f"contamination, {name}: got {getattr(self, name)!r}, expected numbers {wanted}")

    def expected(self, normalisation: float = 0.0, factor: float = 0.0) -> BandYields:
        """The yields, shifted by numbers of standard deviations.

        Parameters
        ----------
        normalisation, factor : float

        Returns
        -------
        BandYields
        """
        moved = self.yields.with_factors(np.asarray(self.factor + factor * self.factor_uncertainty))
        return moved.scaled(1 + normalisation * self.uncertainty)


def mistag_factors(
    data: BandYields,
    simulation: BandYields,
    contamination: Mapping[str, Contamination] | None = None,
    *,
    kind: str = "points",
    variations: Mapping[str, tuple[YieldVariation | None, YieldVariation | None]] | None = None,
    correlated: Sequence[str] | None = None,
) -> FormulaFactors:
    """Mistag rates in data and simulation, and their ratio.

    The contamination is subtracted from the data in each band. Its sources are ``<name>_normalisation`` and
    ``<name>_factor``, which move all bins together; those of zero size are left out.

    Parameters
    ----------
    data : BandYields
        Counts in the control sample.
    simulation : BandYields
        Background jets.
    contamination : mapping of str to Contamination, optional
        Name, e.g. ``top`` -> what is subtracted.
    kind, variations, correlated
        As for `formula_factors`.

    Returns
    -------
    FormulaFactors
        The rates are ``data`` and ``simulation``.

    Raises
    ------
    ConfigError
        If a variation has the name of a source of the contamination.
    InvalidValues, MismatchError, UnknownName
        As for `formula_factors`: the contamination exceeds the data, a bin is empty.

    Examples
    --------
    >>> tops = Contamination(BandYields(np.array([10.0, 30.0])), uncertainty=0.5)
    >>> made = mistag_factors(BandYields(np.array([910.0, 70.0])), BandYields(np.array([95.0, 5.0])), {"top": tops})
    >>> print((made.data.values * 100).round(2), list(made.sources))
    [4.26] ['statistics', 'simulation', 'top_normalisation']
    """
    parts = dict(contamination or {})
    made = dict(variations or {})
    if not parts:
        return formula_factors(data, simulation, kind=kind, variations=made, correlated=correlated)

    def total(**shift: tuple[float, float]) -> BandYields:
        terms = [part.expected(*shift.get(name, (0.0, 0.0))) for name, part in parts.items()]
        added = terms[0]
        for term in terms[1:]:
            added = added + term
        return replace(added, what=f"contamination ({', '.join(parts)})")

    own = {}
    for name, part in parts.items():
        for word, size, shift in (
            ("normalisation", part.uncertainty, (1.0, 0.0)),
            ("factor", part.factor_uncertainty, (0.0, 1.0)),
        ):
            if np.any(np.asarray(size) > 0):
                sides = [YieldVariation(background=total(**{name: (s * shift[0], s * shift[1])})) for s in (1, -1)]
                own[f"{name}_{word}"] = (sides[0], sides[1])
    taken = sorted(set(own) & set(made))
    if taken:
        raise ConfigError(f"a variation cannot be called {taken[0]!r}: the contamination has a source of this name")
    moving = [*own, *(made if correlated is None else correlated)]
    return formula_factors(data, simulation, total(), kind=kind, variations={**made, **own}, correlated=moving)


guard(globals(), "Contamination", "mistag_factors")
