"""The definition of templates: processes, signals, regions, uncertainties, and the treatment of empty bins."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from jettagger.arguments import guard, in_range
from jettagger.display import Brief
from jettagger.errors import ConfigError, UnknownName
from jettagger.statistics.bins import ONE_EVENT, REFUSE
from jettagger.statistics.transfer import TransferFactor

__all__ = ["Signal", "TemplateSpec"]

#: names in the ROOT file with a pattern
_PATTERNS = ("nominal", "shifted", "data")


@dataclass(frozen=True)
class Signal(Brief):
    """A signal: its data sets and the mass of the resonance.

    Attributes
    ----------
    datasets : tuple of str
        Data sets to be added.
    mass : float
        Mass in GeV.
    cross_section : float
        Cross section in pb to which the histograms are scaled; limits on the strength times this are limits in pb.

    Raises
    ------
    ConfigError
        If the mass is negative, or the cross section is not above zero.
    """

    datasets: Sequence[str]
    mass: float
    cross_section: float = 1.0

    def __post_init__(self) -> None:
        in_range(self.mass, "Signal(), argument mass (GeV)", 0)
        in_range(self.cross_section, "Signal(), argument cross_section (pb)", 0, above=True)


@dataclass(frozen=True)
class TemplateSpec(Brief):
    """The definition of templates.

    Parameters
    ----------
    processes : mapping
        Background -> its data sets.
    signals : mapping
        Signal -> :class:`Signal`.
    regions : sequence of str, optional
        Default: all in the histogram.
    data : sequence of str
        Data sets of data; without any, the sum of the backgrounds is taken (an Asimov data set).
    blind : sequence of str
        Regions with blinded data, in which the sum of the backgrounds is used in any case; each must exist.
    variations : sequence of str, optional
        Shape variations without ``Up`` and ``Down``; default: all in the histogram.
    normalisations : mapping
        Name of an uncertainty -> ``{process: relative uncertainty}``, log-normal, e.g.
        ``{"lumi": {"tt": 0.016, "signal1000": 0.016}}``.
    free : sequence of str
        Backgrounds with a freely floating normalisation.
    groups : mapping
        Group -> its uncertainties, for cards and ranked impacts; default: ``variations`` and ``normalisations``.
    empty_bin_yield : str or float
        Yield of a background, with an uncertainty of 100 %, in a bin without simulated events: ``"one_event"``, the
        mean weight of one of its events in that bin in all regions of the histogram; a number of events; or
        ``"refuse"``, which makes it an error.
    min_effective_events : float
        If positive, neighbouring bins are merged, in the same way for all regions, until each background has this
        number of effective events, ``(sum w)^2 / sum w^2``, in each bin.
    names : mapping
        Patterns for names in the ROOT file, ``nominal``, ``shifted`` and ``data``, as for :meth:`Templates.to_root`.
    from_data : mapping
        Background -> :class:`~jettagger.statistics.transfer.TransferFactor`. Its data sets, if it has any, are used
        where nothing is observed.

    Raises
    ------
    ConfigError
        If names are used twice, no region is given, or an uncertainty is not a positive number.
    UnknownName
        If an uncertainty or ``free`` names a process that does not exist, or a group an uncertainty.
    """

    processes: Mapping[str, Sequence[str]]
    signals: Mapping[str, Signal]
    regions: Sequence[str] | None = None
    data: Sequence[str] = ()
    blind: Sequence[str] = ()
    variations: Sequence[str] | None = None
    normalisations: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    free: Sequence[str] = ()
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    empty_bin_yield: str | float = ONE_EVENT
    min_effective_events: float = 0.0
    names: Mapping[str, str] = field(default_factory=dict)
    from_data: Mapping[str, TransferFactor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        both = sorted(set(self.processes) & set(self.signals))
        if both:
            raise ConfigError(f"{', '.join(both)} is both a background and a signal")
        if not self.processes:
            raise ConfigError("templates need at least one background process")
        if self.regions is not None and not self.regions:
            raise ConfigError("templates need at least one region")
        for kind, sources in (("background", self.processes), ("signal", self.signals)):
            for name, source in sources.items():
                datasets = source.datasets if isinstance(source, Signal) else source
                if not datasets and name not in self.from_data:
                    raise ConfigError(f"the {kind} {name!r} has no data set, expected at least one")
                _once(datasets, f"the {kind} {name!r}")
        _once(self.data, "the data")
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
        self._check_from_data()
        for name, uncertainties in self.groups.items():
            if not uncertainties:
                raise ConfigError(f"the group {name!r} has no uncertainty, expected at least one")
            if self.variations is not None:
                known = [*self.variations, *self.normalisations]
                unknown = [item for item in uncertainties if item not in known]
                if unknown:
                    raise UnknownName("uncertainty", unknown, known, f"the group {name!r}")

    def _check_from_data(self) -> None:
        unknown = [name for name in self.from_data if name not in self.processes]
        if unknown:
            raise UnknownName("background", unknown, self.processes, "the backgrounds from data")
        owners: dict[str, str] = {}
        for name, factor in self.from_data.items():
            if name in self.free:
                raise ConfigError(f"the background {name!r} is from data, so its normalisation floats already")
            for region in (region for pair in factor.pairs for region in pair):
                if self.regions is not None and region not in self.regions:
                    raise UnknownName("region", region, self.regions, f"the regions of the fit, for {name!r} from data")
                if owners.setdefault(region, name) != name:
                    raise ConfigError(
                        f"the backgrounds {owners[region]!r} and {name!r} are both from data in the region {region!r}, "
                        "which determines one"
                    )


def _once(datasets: Sequence[str], what: str) -> None:
    """Refuse to add a data set to itself."""
    twice = [name for position, name in enumerate(datasets) if name in datasets[:position]]
    if twice:
        raise ConfigError(f"{what}: the data set {twice[0]!r} is listed twice, expected once")


guard(globals())
