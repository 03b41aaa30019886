"""What templates are made of: processes, signals, regions, uncertainties, and what to do with empty bins."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from jettagger.arguments import guard
from jettagger.errors import ConfigError, UnknownName
from jettagger.statistics.bins import ONE_EVENT, REFUSE

__all__ = ["Signal", "TemplateSpec"]

#: which names in the ROOT file have a pattern
_PATTERNS = ("nominal", "shifted", "data")


@dataclass(frozen=True)
class Signal:
    """A signal: its data sets and the mass of the resonance.

    Attributes
    ----------
    datasets : tuple of str
        Added together.
    mass : float
        In GeV.
    cross_section : float
        In pb, the one that the histograms are scaled to; limits on the strength times this are limits in pb.
    """

    datasets: Sequence[str]
    mass: float
    cross_section: float = 1.0


@dataclass(frozen=True)
class TemplateSpec:
    """What to make templates of.

    Parameters
    ----------
    processes : mapping
        Background to its data sets.
    signals : mapping
        Signal to a :class:`Signal`.
    regions : sequence of str, optional
        By default all that the histogram has.
    data : sequence of str
        Data sets of data; without any, the sum of the backgrounds is taken (an Asimov data set).
    blind : sequence of str
        Regions whose data are not looked at: there the sum of the backgrounds is taken in any case.
    variations : sequence of str, optional
        Shape variations without ``Up`` and ``Down``; by default all that the histogram has.
    normalisations : mapping
        Name of an uncertainty to ``{process: relative uncertainty}``, log-normal, e.g.
        ``{"lumi": {"tt": 0.016, "signal1000": 0.016}}``.
    free : sequence of str
        Backgrounds whose normalisation the fit may choose.
    empty_bin_yield : str or float
        What a background gets, with an uncertainty of 100 %, in a bin in which it has no simulated event:
        ``"one_event"``, the mean weight of one event of it in that bin in all regions of the histogram; or a
        number of events; or ``"refuse"``, then there are no templates.
    min_effective_events : float
        If above zero, neighbouring bins are merged, the same in all regions, until each background has so many
        effective events, ``(sum w)^2 / sum w^2``, in each.
    names : mapping
        Patterns for names in the ROOT file, ``nominal``, ``shifted`` and ``data``, as :meth:`Templates.to_root` has it.

    Raises
    ------
    ConfigError
        If names are used twice, or an uncertainty is not a number above zero.
    UnknownName
        If an uncertainty or ``free`` names a process that is not there.
    """

    processes: Mapping[str, Sequence[str]]
    signals: Mapping[str, Signal]
    regions: Sequence[str] | None = None
    data: Sequence[str] = ()
    blind: Sequence[str] = ()
    variations: Sequence[str] | None = None
    normalisations: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    free: Sequence[str] = ()
    empty_bin_yield: str | float = ONE_EVENT
    min_effective_events: float = 0.0
    names: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        both = sorted(set(self.processes) & set(self.signals))
        if both:
            raise ConfigError(f"{', '.join(both)}: both a background and a signal")
        if not self.processes:
            raise ConfigError("templates need at least one background process")
        if isinstance(self.empty_bin_yield, str):
            valid = self.empty_bin_yield in (ONE_EVENT, REFUSE)
        else:
            valid = 0 < self.empty_bin_yield < math.inf
        if not valid:
            raise ConfigError(
                f"'empty_bin_yield' must be {ONE_EVENT}, {REFUSE} or a number of events above zero, "
                f"got {self.empty_bin_yield!r}"
            )
        if not 0 <= self.min_effective_events < math.inf:
            raise ConfigError(
                f"'min_effective_events' must be a number of events, or 0, got {self.min_effective_events!r}"
            )
        for name, parts in self.normalisations.items():
            unknown = [key for key in parts if key not in self.processes and key not in self.signals]
            if unknown:
                raise UnknownName("process", unknown, [*self.processes, *self.signals], f"uncertainty {name!r}")
            for process, value in parts.items():
                if not 0 < value < 10:
                    raise ConfigError(f"uncertainty {name!r} of {process}: expected a relative one, got {value}")
        unknown = [name for name in self.names if name not in _PATTERNS]
        if unknown:
            raise UnknownName("pattern", unknown, _PATTERNS, "the names of templates")
        unknown = [name for name in self.free if name not in self.processes]
        if unknown:
            raise UnknownName("background", unknown, self.processes, "the free normalisations")


guard(globals())
