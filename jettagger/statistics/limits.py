"""Upper limits with the likelihood of pyhf, from workspaces; needs the extra ``stats``.

Limits are upper limits on the signal strength at 95 % confidence level, CLs (A. L. Read, 2002) with the
asymptotic formulae of Cowan, Cranmer, Gross and Vitells (2011) and the test statistic q-tilde.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from jettagger.arguments import Workspace, guard, in_range
from jettagger.display import Brief
from jettagger.errors import ConfigError, InvalidValues
from jettagger.files import complete_or_absent
from jettagger.provenance import Provenance
from jettagger.statistics.fits import MINIMISERS, Likelihood, guess_strength
from jettagger.statistics.workspaces import unit_of
from jettagger.types import Floats

__all__ = ["BANDS", "Limit", "limit", "save_limits", "table"]

#: the expected limits in a table
BANDS = ("-2 sigma", "-1 sigma", "expected", "+1 sigma", "+2 sigma")


#: relative amount by which sqrt(q) may fall, by rounding, where it should rise
AGREEMENT = 1e-3

#: number of secant steps to an expected limit, most of which need three, before the bracket is halved
SECANTS = 8


@dataclass(frozen=True)
class Limit(Brief):
    """Upper limits on the signal strength, in units of the signal.

    Attributes
    ----------
    signal : str
        Its name.
    mass : float
        Mass of the resonance in GeV.
    observed : float, or None
        Observed upper limit; for Asimov data equal to the median. None if there is none.
    expected : tuple of float or None
        At -2, -1, 0, 1 and 2 standard deviations; None if there is none.
    cross_section : float
        Cross section in pb for a strength of 1.
    asimov : bool
        Whether the data are the sum of the backgrounds, i.e. nothing was observed.
    confidence_level : float
        Confidence level of all limits.
    missing : dict
        ``observed`` or one of `BANDS` -> reason why this limit does not exist.
    """

    signal: str
    mass: float
    observed: float | None
    expected: tuple[float | None, float | None, float | None, float | None, float | None]
    cross_section: float = 1.0
    asimov: bool = False
    confidence_level: float = 0.95
    missing: dict[str, str] = field(default_factory=dict)


def limit(
    workspace: Workspace,
    *,
    signal: str = "",
    mass: float = 0.0,
    cross_section: float = 1.0,
    asimov: bool = False,
    level: float = 0.05,
    minimisers: Sequence[tuple[str, Mapping[str, float]]] = MINIMISERS,
) -> Limit:
    """The observed and expected upper limits of one workspace.

    Parameters
    ----------
    workspace : mapping
        In pyhf's JSON format. Limits are in units of the signal, also if jettagger wrote the workspace in another unit.
    signal, mass, cross_section, asimov
        Stored with the result.
    level : float
        One minus the confidence level.
    minimisers : sequence of (str, mapping)
        Methods of ``scipy.optimize.minimize`` with their options, in the order in which they are tried.

    Returns
    -------
    Limit
        The existing limits, and the reasons for missing ones.

    Raises
    ------
    ConfigError
        If the mass is negative, the cross section not above zero, or the level not between 0 and 1.
    InputFileError
        If pyhf refuses the workspace.
    InvalidValues
        If no limit exists at all, for example for a signal that is in no region, or if fits fail.
    """
    from scipy.stats import norm

    what = f"signal {signal!r}" if signal else "the signal"
    in_range(mass, f"limit() of {what}, argument mass (GeV)", 0)
    in_range(cross_section, f"limit() of {what}, argument cross_section (pb)", 0, above=True)
    if not 0 < level < 1:
        raise ConfigError(f"limit() of {what}, argument level: got {level!r}, expected a number between 0 and 1")
    scan = _Scan(workspace, what, minimisers)
    # Where the expected bands are: CLs = Phi(N - sqrt(q)) / Phi(N) = level, solved for sqrt(q).
    wanted = [float(n - norm.ppf(level * norm.cdf(n))) for n in (-2, -1, 0, 1, 2)]
    strength = scan.guess
    bands: list[float | None] = []
    missing: dict[str, str] = {}
    for name, root in zip(BANDS, wanted, strict=True):
        try:
            if missing:
                # more is wanted of the same likelihood: what one band does not reach, the next one does not either
                raise InvalidValues(next(iter(missing.values())))
            strength = scan.expected_at(root, strength)
            bands.append(strength)
        except InvalidValues as error:
            missing[name] = str(error)
            bands.append(None)
    observed: float | None = None
    if scan.is_asimov:
        observed = bands[2]
    else:
        try:
            observed = _observed(scan, level, what)
        except InvalidValues as error:
            missing["observed"] = str(error)
    if observed is None and not any(bands):
        raise InvalidValues(next(iter(missing.values())))
    unit = unit_of(workspace)
    lowest, low, median, high, highest = (None if band is None else band * unit for band in bands)
    return Limit(
        signal,
        mass,
        None if observed is None else observed * unit,
        (lowest, low, median, high, highest),
        cross_section,
        asimov,
        confidence_level=1 - level,
        missing=missing,
    )


def _observed(scan: _Scan, level: float, what: str) -> float:
    """The strength at which CLs of the data equals ``level``."""
    from scipy.optimize import brentq

    def excess(value: float) -> float:
        return math.log(max(scan.cls(value), 1e-300) / level)

    # nothing below the strength that fits best can be excluded
    low, high = scan.guess, max(2 * scan.guess, 1.5 * scan.fitted)
    while excess(low) < 0:
        low /= 2
        if low < 1e-6 * scan.guess:
            raise InvalidValues(
                f"{what}: the data exclude any strength down to {low:.3g} times the signal; is the background right?"
            )
    while excess(high) > 0:
        high *= 2
        if high > scan.most:
            raise InvalidValues(
                f"{what}: the data exclude no strength up to {high:.3g} times the signal; is the background right?"
            )
    return float(brentq(excess, low, high, rtol=1e-4)) if low < high else low


class _Scan:
    """Profile likelihood ratios of one workspace against the signal strength.

    pyhf's own scan repeats, for each strength and each band, fits that do not depend on them; here they are done once,
    and each fit starts where the last one ended.
    """

    def __init__(
        self,
        workspace: Mapping[str, Any],
        what: str,
        minimisers: Sequence[tuple[str, Mapping[str, float]]] = MINIMISERS,
    ) -> None:
        self._what = what
        self.guess = guess_strength(workspace, what)
        # The bounds only have to be wide: strengths far above the limit are never fitted.
        self.most = 1e5 * self.guess
        self._likelihood = Likelihood(workspace, (0.0, self.most), self.guess, minimisers)
        self._starts: dict[str, Floats] = {}
        self._known: dict[tuple[str, float], float] = {}
        self._minimum: dict[str, tuple[float, float]] = {}
        self._data = self._likelihood.data
        model = self._likelihood.model
        background, _ = self._fit("data", self._data, 0.0)
        self._asimov = np.asarray(model.expected_data(background), dtype=np.float64)
        main = len(self._asimov) - len(model.config.auxdata)
        self.is_asimov = np.allclose(self._asimov[:main], self._data[:main], rtol=1e-4, atol=1e-6)

    def _fit(self, key: str, data: Floats, strength: float | None) -> tuple[Floats, float]:
        found = self._likelihood.minimise(data, self._what, strength=strength, start=self._starts.get(key))
        self._starts[key] = found[0]
        return found

    @property
    def fitted(self) -> float:
        """The best-fit strength for the data."""
        self._root("data", 0.0)
        return self._minimum["data"][0]

    def _root(self, key: str, strength: float) -> tuple[float, float]:
        """sqrt(q) of a strength, and the best-fit strength."""
        data = self._asimov if key == "asimov" else self._data
        if key not in self._minimum:
            if key == "asimov":
                _, best = self._fit(key, data, 0.0)
                self._minimum[key] = (0.0, best)
            else:
                parameters, best = self._fit(key, data, None)
                self._minimum[key] = (float(parameters[self._likelihood.model.config.poi_index]), best)
        fitted, best = self._minimum[key]
        if (key, strength) not in self._known:
            self._known[(key, strength)] = self._fit(key, data, strength)[1]
        return math.sqrt(max(self._known[(key, strength)] - best, 0.0)), fitted

    def expected_at(self, root: float, start: float) -> float:
        """The strength at which sqrt(q) of the Asimov data equals ``root``."""
        strength = start
        low, high = 0.0, math.inf
        at_low = 0.0
        before: tuple[float, float] | None = None
        for trial in range(60):
            found, _ = self._root("asimov", strength)
            miss, closed = abs(found / root - 1), high - low < 5e-4 * low
            if miss < 5e-4 or (closed and miss < 1e-2):
                return strength
            if closed or (strength > low and found < at_low * (1 - AGREEMENT)):
                raise InvalidValues(
                    f"{self._what}: no upper limit was found: fits at {strength:.3g} times the signal, near which it "
                    f"would be, do not agree (sqrt(q) = {found:.3g} there, {at_low:.3g} at {low:.3g}, {root:.3g} "
                    "expected); are there enough events behind the templates?"
                )
            if found >= root:
                high = min(high, strength)
            elif strength > low:
                low, at_low = strength, found
                if low > self.most:
                    break
            guess = strength * _step(root, (strength, found), before)
            before = (strength, found)
            # secants creep towards a step of sqrt(q), where another minimum of the fit takes over: halves do not
            inside = low < guess < high and (trial < SECANTS or high == math.inf)
            strength = guess if inside else math.sqrt(low * high) if low > 0 else high / 2
        raise InvalidValues(
            f"{self._what}: no upper limit was found up to {low:.3g} times the signal (sqrt(q) = {at_low:.3g} there, "
            f"expected {root:.3g}); is the signal in the regions, and are there enough events behind the templates?"
        )

    def cls(self, strength: float) -> float:
        """CLs of the data (Cowan et al., section 3.8 for q-tilde)."""
        from scipy.stats import norm

        of_asimov, _ = self._root("asimov", strength)
        observed, fitted = self._root("data", strength)
        observed = 0.0 if fitted > strength else observed
        if observed <= of_asimov or of_asimov == 0:
            distance = observed - of_asimov
        else:
            distance = (observed**2 - of_asimov**2) / (2 * of_asimov)
        # in logarithms: where data and expectation are far apart both are below the smallest number
        return math.exp(norm.logsf(distance + of_asimov) - norm.logsf(distance))


def _step(root: float, here: tuple[float, float], before: tuple[float, float] | None) -> float:
    """By what to multiply a strength, given with its sqrt(q), to come to ``root``.

    sqrt(q) is taken for a power of the strength, the one that it has between the last two points: it is nearly
    proportional to it at first, and grows ever more slowly where the signal itself is uncertain.
    """
    strength, found = here
    if found <= 0:
        return 10.0
    power = 1.0
    if before is not None and min(*before, strength) > 0 and strength != before[0]:
        power = min(max(math.log(found / before[1]) / math.log(strength / before[0]), 1e-3), 1.0)
    return min(max((root / found) ** (1 / power), 0.1), 10.0)


def save_limits(limits: Sequence[Limit], path: str | os.PathLike[str], *, provenance: Provenance | None = None) -> None:
    """Write limits to a JSON file.

    Parameters
    ----------
    limits : sequence of Limit
    path : path
    provenance : Provenance, optional
        How the templates were made.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    record = Provenance("limit") if provenance is None else provenance.then("limit")
    content = {"provenance": record.to_dict(), "limits": [asdict(item) for item in limits]}
    with complete_or_absent(path) as part:
        part.write_text(json.dumps(content, indent=1), encoding="utf-8")


def table(limits: Sequence[Limit]) -> str:
    """Limits as a text table: strengths, and cross sections in fb, followed by the reasons for missing ones."""
    rows = [["signal", "mass [GeV]", "observed", *BANDS, "expected [fb]"]]
    reasons: dict[tuple[str, str], list[str]] = {}
    for item in limits:
        numbers = [item.observed, *item.expected]
        shown = ["none" if number is None else f"{number:.4g}" for number in numbers]
        if item.asimov:
            shown[0] = "-"
        median = item.expected[2]
        section = "none" if median is None else f"{median * item.cross_section * 1e3:.4g}"
        rows.append([item.signal, f"{item.mass:g}", *shown, section])
        for name, reason in item.missing.items():
            reasons.setdefault((item.signal, reason), []).append(name)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(f"{cell:>{w}}" for cell, w in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([*lines, *(f"none ({', '.join(names)}): {why}" for (_, why), names in reasons.items())])


guard(globals())
