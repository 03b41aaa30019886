"""Measures of the methods of a study, all on the same jets, which none of them was fitted to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jettagger.decorrelation.distance import measure_distance_correlation
from jettagger.decorrelation.flatness import EfficiencyProfile, efficiency_profile
from jettagger.decorrelation.sculpting import (
    Divergence,
    OperatingPoint,
    content_of,
    cut_at,
    divergence,
    effective_number,
    operating_point,
)
from jettagger.discriminants import Measured, efficiency
from jettagger.display import Brief
from jettagger.errors import InvalidValues
from jettagger.studies.sculpting.config import StudyConfig
from jettagger.studies.sculpting.jets import StudyJets
from jettagger.types import Floats

__all__ = ["MIN_PASSING", "Cut", "Method", "MethodResult", "check_efficiencies", "measure"]

#: effective jets of the background that must be expected behind a cut
MIN_PASSING = 10.0


@dataclass(frozen=True)
class Method(Brief):
    """A score that is compared.

    Parameters
    ----------
    name : str
    kind : str
        ``raw``, ``map`` or ``head``.
    method : str
        E.g. ``quantiles`` or ``disco``.
    of : str
        The score that a map was fitted to.
    strength : float or None
        That of a head.
    failure : str
        Why its decorrelation is not to be trusted; empty if there is no reason.
    facts : dict
        Whatever else the report should contain, for JSON.
    """

    name: str
    kind: str
    method: str = ""
    of: str = ""
    strength: float | None = None
    failure: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Cut(Brief):
    """A cut on a score: what passes, and what the spectrum of the background looks like behind it.

    Parameters
    ----------
    name : str
        ``signal 50 %`` or ``background 10 %``.
    threshold : float
        Jets with ``score >= threshold`` pass.
    background, signal : Measured
        Efficiencies.
    divergence : Divergence
        Of the background's mass, with its spectra.
    profiles : dict of str to dict of str to EfficiencyProfile
        ``background`` and ``signal`` -> protected column -> efficiencies.
    """

    name: str
    threshold: float
    background: Measured
    signal: Measured
    divergence: Divergence
    profiles: Mapping[str, Mapping[str, EfficiencyProfile]]

    def content(self) -> dict[str, Any]:
        """All numbers, for JSON."""
        return {
            "name": self.name,
            "threshold": self.threshold,
            "background": content_of(self.background),
            "signal": content_of(self.signal),
            "divergence": self.divergence.content(),
            "profiles": {
                kind: {column: profile.content() for column, profile in profiles.items()}
                for kind, profiles in self.profiles.items()
            },
        }


@dataclass(frozen=True)
class MethodResult(Brief):
    """The measures of a method.

    Parameters
    ----------
    method : Method
    point : OperatingPoint
        Rejection and sculpting at the signal efficiency of the study.
    retained : Measured
        Fraction of the rejection of the discriminant itself.
    cuts : tuple of Cut
    distance : dict of str to Measured or None
        Protected column -> distance correlation with the score, in the background; None if weights are negative.
    without : dict of str to int
        Kind of jets -> number of those without a score, which pass no cut.
    """

    method: Method
    point: OperatingPoint
    retained: Measured
    cuts: tuple[Cut, ...]
    distance: Mapping[str, Measured | None]
    without: Mapping[str, int]

    def content(self) -> dict[str, Any]:
        """All numbers, for JSON."""
        return {
            "name": self.method.name,
            "kind": self.method.kind,
            "method": self.method.method,
            "of": self.method.of,
            "strength": self.method.strength,
            "failure": self.method.failure or None,
            "facts": dict(self.method.facts),
            "point": self.point.content(),
            "retained": content_of(self.retained),
            "distance_correlation": {
                column: None if value is None else content_of(value) for column, value in self.distance.items()
            },
            "without_score": dict(self.without),
            "cuts": [cut.content() for cut in self.cuts],
        }


def check_efficiencies(config: StudyConfig, background: StudyJets) -> None:
    """Refuse background efficiencies that the jets of the comparison cannot resolve.

    Parameters
    ----------
    config : StudyConfig
    background : StudyJets

    Raises
    ------
    InvalidValues
        Says how many jets it would take.
    """
    number = effective_number(background.weights[background.test])
    jets = int(np.count_nonzero(background.test))
    for place, fraction in enumerate(config.content.background_efficiencies):
        if number * fraction < MIN_PASSING:
            where = config.document.where("background_efficiencies", place)
            needed = jets * MIN_PASSING / (number * fraction)
            raise InvalidValues(
                f"{where}: {jets} background jets of the comparison (effectively {number:.0f}) do not resolve an "
                f"efficiency of {fraction:g}: it would take about {needed:.0f}, so that {MIN_PASSING:g} are expected "
                "to pass"
            )


def measure(
    config: StudyConfig,
    background: StudyJets,
    signal: StudyJets,
    method: Method,
    reference: OperatingPoint | None = None,
) -> MethodResult:
    """Measure a method.

    Parameters
    ----------
    config : StudyConfig
    background, signal : StudyJets
        With a score of this name.
    method : Method
    reference : OperatingPoint, optional
        The discriminant itself; default: this one.

    Returns
    -------
    MethodResult

    Raises
    ------
    InvalidValues
        If no jet of a kind has a score, or no background passes.
    """
    content = config.content
    edges = config.edges
    scores: dict[str, Floats] = {}
    missing: dict[str, int] = {}
    for jets in (background, signal):
        values = jets.scores[method.name][jets.test]
        good = np.isfinite(values)
        if not good.any():
            raise InvalidValues(f"{method.name}: none of {len(values)} {jets.kind} jets has a score")
        missing[jets.kind] = int(np.count_nonzero(~good))
        # a jet without a score passes no cut
        scores[jets.kind] = np.where(good, values, values[good].min() - 1.0)
    b, s = scores["background"], scores["signal"]
    bw, sw = background.weights[background.test], signal.weights[signal.test]
    be, se = background.events[background.test], signal.events[signal.test]
    mass = background.columns[config.mass][background.test]
    options: Any = {"base": content.base, "replicas": content.replicas, "seed": content.seed}
    point = operating_point(
        s,
        b,
        mass,
        edges=edges[config.mass],
        efficiency=content.signal_efficiency,
        signal_weights=sw,
        background_weights=bw,
        signal_events=se,
        background_events=be,
        **options,
    )
    thresholds = {f"signal {100 * content.signal_efficiency:g} %": point.threshold}
    for fraction in content.background_efficiencies:
        thresholds[f"background {100 * fraction:g} %"] = cut_at(b, fraction, bw)
    cuts = []
    for name, threshold in thresholds.items():
        at_point = threshold == point.threshold
        shape = (
            point.divergence
            if at_point
            else divergence(mass, b >= threshold, bw, be, edges=edges[config.mass], **options)
        )
        profiles = {
            jets.kind: {
                column: efficiency_profile(
                    values[jets.test], scores[jets.kind] >= threshold, jets.weights[jets.test], edges=edges[column]
                )
                for column, values in jets.columns.items()
            }
            for jets in (background, signal)
        }
        cuts.append(
            Cut(name, threshold, efficiency(b >= threshold, bw), efficiency(s >= threshold, sw), shape, profiles)
        )
    finite = np.isfinite(background.scores[method.name][background.test])
    distance = {
        column: None
        if (bw < 0).any()
        else measure_distance_correlation(b[finite], values[background.test][finite], bw[finite]).biased
        for column, values in background.columns.items()
    }
    retained = point.retained(point if reference is None else reference)
    return MethodResult(method, point, retained, tuple(cuts), distance, missing)
