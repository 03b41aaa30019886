"""Periods of data taking: luminosity, certified sections and triggers of each, and what belongs together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from jettagger.arguments import guard
from jettagger.display import Brief
from jettagger.errors import ConfigError, UnknownName
from jettagger.expressions import Expression, parse

__all__ = ["Era", "check_eras", "check_processes", "era_of_file", "total_luminosity"]

#: collection of the trigger bits
TRIGGERS = "HLT"


@dataclass(frozen=True)
class Era(Brief):
    """A period of data taking.

    Parameters
    ----------
    luminosity : float
        In 1/fb.
    energy : float, optional
        Centre-of-mass energy in TeV.
    certified : str, optional
        File of the certified luminosity sections of its data.
    triggers : sequence of str
        Trigger paths, with or without ``HLT_`` in front, of which events pass at least one.

    Raises
    ------
    ConfigError
        If the luminosity is not above zero.

    Examples
    --------
    >>> Era(8.0, triggers=["PFHT1050", "HLT_AK8PFJet400"]).trigger.text
    'HLT.PFHT1050 or HLT.AK8PFJet400'
    """

    luminosity: float
    energy: float | None = None
    certified: str | None = None
    triggers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not (math.isfinite(self.luminosity) and self.luminosity > 0):
            raise ConfigError(f"the luminosity of an era must be a number above zero (in 1/fb), got {self.luminosity}")
        names = tuple(name.removeprefix(f"{TRIGGERS}_").removeprefix(f"{TRIGGERS}.") for name in self.triggers)
        object.__setattr__(self, "triggers", names)
        _ = self.trigger

    @property
    def columns(self) -> tuple[str, ...]:
        """The trigger bits as columns of the events."""
        return tuple(f"{TRIGGERS}.{name}" for name in self.triggers)

    @property
    def trigger(self) -> Expression | None:
        """The condition of its events; None without triggers."""
        return parse(" or ".join(self.columns), "triggers of an era") if self.triggers else None


def total_luminosity(eras: Mapping[str, Era]) -> float:
    """The sum of the luminosities in 1/fb.

    Parameters
    ----------
    eras : mapping of str to Era

    Returns
    -------
    float
    """
    return math.fsum(era.luminosity for era in eras.values())


def check_eras(eras: Mapping[str, Era], samples: Mapping[str, Any], event_cut: Expression | None) -> None:
    """Refuse samples that do not fit the eras.

    Parameters
    ----------
    eras : mapping of str to Era
    samples : mapping of str to Sample
    event_cut : Expression, optional
        The cut on all events.

    Raises
    ------
    UnknownName
        If a sample is of an unknown era.
    ConfigError
        If a sample has none; if it cuts on the trigger of another era; if there is data of some eras and simulation of
        others.
    """
    of: dict[str, set[bool]] = {}
    for name, sample in samples.items():
        if not eras:
            if sample.era:
                raise ConfigError(f"sample {name!r} is of the era {sample.era!r}, but no eras are given")
            continue
        if not sample.era:
            raise ConfigError(f"sample {name!r} has no era: give one of {', '.join(eras)}")
        if sample.era not in eras:
            raise UnknownName("era", sample.era, eras, f"sample {name!r}")
        of.setdefault(sample.era, set()).add(sample.data)
        if sample.cut is not None:
            _check_triggers(eras, sample.era, sample.cut, f"the cut of sample {name!r}")
        if event_cut is not None:
            _check_triggers(eras, sample.era, event_cut, f"the cut on events, for sample {name!r}")
    kinds = {kind for found in of.values() for kind in found}
    for era, found in of.items():
        for kind in kinds - found:
            has, lacks = ("simulation", "data") if kind else ("data", "simulation")
            others = ", ".join(other for other, items in of.items() if kind in items)
            raise ConfigError(
                f"the era {era!r} has {has} but no {lacks}, which {others} has: data and simulation would be those of "
                "different luminosities"
            )


def _check_triggers(eras: Mapping[str, Era], era: str, cut: Expression, where: str) -> None:
    """Refuse a trigger of another era."""
    for column in cut.names:
        others = [name for name, item in eras.items() if column in item.columns]
        if others and era not in others:
            raise ConfigError(
                f"{where} uses {column}, a trigger of the era {others[0]!r}, but the sample is of {era!r}, whose "
                f"triggers are {', '.join(eras[era].columns) or 'not given'}"
            )


def check_processes(processes: Mapping[str, Iterable[str]], samples: Mapping[str, Any]) -> None:
    """Refuse processes without samples in an era of the others.

    Parameters
    ----------
    processes : mapping of str to iterable of str
        Process -> its samples.
    samples : mapping of str to Sample

    Raises
    ------
    ConfigError
    """
    of = {name: {samples[item].era for item in items} for name, items in processes.items()}
    everywhere = {era for found in of.values() for era in found}
    for name, found in of.items():
        missing = sorted(everywhere - found)
        if missing:
            raise ConfigError(
                f"{name!r} has no sample of the era {missing[0]!r}, which others have: its template would lack the "
                "events of this era"
            )


def era_of_file(eras: Mapping[str, Era], era: str, columns: Iterable[str]) -> str:
    """Another era, all of whose triggers a file has that lacks those of its own; empty if there is none.

    Parameters
    ----------
    eras : mapping of str to Era
    era : str
        That of the file by the configuration.
    columns : iterable of str
        Columns of its events.

    Returns
    -------
    str
    """
    known = set(columns)
    if known.issuperset(eras[era].columns):
        return ""
    fits = [name for name, item in eras.items() if item.columns and known.issuperset(item.columns)]
    return fits[0] if fits else ""


guard(globals())
