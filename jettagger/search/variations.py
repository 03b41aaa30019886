"""Variations of the jets of a search: columns that expressions or mass factors replace."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jettagger.arguments import guard
from jettagger.calibration import MassFactors, MassShift
from jettagger.display import Brief
from jettagger.errors import ConfigError
from jettagger.expressions import Expression, parse
from jettagger.search.jetenergy import EnergyShift

__all__ = [
    "JetShift",
    "JetVariation",
    "as_expression",
    "changed_columns",
    "jet_shifts",
    "nominal_columns",
    "shift_names",
]


@dataclass(frozen=True)
class JetVariation(Brief):
    """A variation of the kinematics or masses of jets, such as the energy scale.

    Parameters
    ----------
    up, down : mapping of str to (str or Expression)
        Column of the jets -> expression in columns of the jets that replaces it: ``{"pt": "pt * 1.02"}``, or
        ``{"pt": "pt_jesTotalUp"}`` if the file has this column.
    nominal : mapping of str to (str or Expression)
        The same for the nominal columns, of simulation and data, such as a calibration: other variations are then
        expressions in the columns that it gives, ``up`` and ``down`` of its own in those of the file. With it alone
        there is no variation.

    Raises
    ------
    ConfigError
        If the columns for one of the two directions are missing.
    """

    up: Mapping[str, Any] = field(default_factory=dict)
    down: Mapping[str, Any] = field(default_factory=dict)
    nominal: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for side in ("up", "down", "nominal"):
            columns = getattr(self, side)
            read = {name: as_expression(text, f"variation of {name!r}") for name, text in columns.items()}
            object.__setattr__(self, side, read)
        if bool(self.up) != bool(self.down) or not (self.up or self.nominal):
            raise ConfigError(
                f"a variation of jets needs columns for up and for down, got {list(self.up)} and {list(self.down)}"
            )

    @property
    def sides(self) -> dict[str, Mapping[str, Any]]:
        """The columns of ``up``, ``down`` and ``nominal``."""
        return {"up": self.up, "down": self.down, "nominal": self.nominal}


def as_expression(text: str | Expression, where: str) -> Expression:
    """An expression, parsed unless it is one already.

    Parameters
    ----------
    text : str or Expression
    where : str
        Place of the text, for messages.

    Returns
    -------
    Expression
    """
    return text if isinstance(text, Expression) else parse(text, where)


@dataclass(frozen=True)
class JetShift(Brief):
    """What a variation does to the jets.

    Parameters
    ----------
    masses : mapping of str to MassShift
        Column -> the factors applied to it, first.
    columns : mapping of str to Expression
        Column -> expression in the columns with these factors, after ``nominal``.
    nominal : mapping of str to Expression
        Column -> expression in the columns of the file that replaces it, before.
    energy : EnergyShift, optional
        Shift of the corrections of the energy, which come before all others.
    """

    masses: Mapping[str, MassShift] = field(default_factory=dict)
    columns: Mapping[str, Expression] = field(default_factory=dict)
    nominal: Mapping[str, Expression] = field(default_factory=dict)
    energy: EnergyShift | None = None

    @property
    def read(self) -> tuple[str, ...]:
        """The columns in its expressions, and those that it replaces."""
        names = [*self.masses, *self.columns, *self.nominal]
        for expression in (*self.columns.values(), *self.nominal.values()):
            names += expression.names
        return tuple(dict.fromkeys(names))


def jet_shifts(variations: Mapping[str, JetVariation | MassFactors], nominal: str) -> dict[str, JetShift]:
    """All shifts of the jets of simulation.

    Parameters
    ----------
    variations : mapping of str to (JetVariation or MassFactors)
        Mass factors are applied to all shifts, and shifted by their uncertainties in their own.
    nominal : str
        Name of the nominal one.

    Returns
    -------
    dict of str to JetShift
        ``<name>Up`` and ``<name>Down``, for mass factors ``<name>_scaleUp`` and so on; the nominal one first.

    Examples
    --------
    >>> factors = MassFactors("msoftdrop", scale=0.99, scale_uncertainty=0.01)
    >>> list(jet_shifts({"sd": factors}, "nominal"))
    ['nominal', 'sd_scaleUp', 'sd_scaleDown']
    """
    factors = {name: item for name, item in variations.items() if isinstance(item, MassFactors)}
    masses = {item.column: MassShift(item) for item in factors.values()}
    calibrated = nominal_columns(variations)
    shifts = {nominal: JetShift(masses, nominal=calibrated)}
    for name, item in variations.items():
        if isinstance(item, MassFactors):
            own = {f"{name}_{key}": shift for key, shift in item.shifts().items()}
            shifts |= {key: JetShift({**masses, item.column: shift}, {}, calibrated) for key, shift in own.items()}
            continue
        for end, columns in (("Up", item.up), ("Down", item.down)):
            if item.nominal and columns:
                shifts[name + end] = JetShift(masses, {}, {**calibrated, **columns})
            elif columns:
                shifts[name + end] = JetShift(masses, columns, calibrated)
    return shifts


def nominal_columns(variations: Mapping[str, JetVariation | MassFactors]) -> dict[str, Expression]:
    """The columns that are replaced in the nominal jets, of simulation and data.

    Parameters
    ----------
    variations : mapping of str to (JetVariation or MassFactors)

    Returns
    -------
    dict of str to Expression
        Column -> expression in columns of the file.

    Raises
    ------
    ConfigError
        If two variations replace the same column.
    """
    found: dict[str, Expression] = {}
    taken = {item.column: name for name, item in variations.items() if isinstance(item, MassFactors)}
    for name, item in variations.items():
        if isinstance(item, MassFactors):
            continue
        for column, expression in item.nominal.items():
            if column in taken:
                raise ConfigError(f"the variations {taken[column]!r} and {name!r} both replace the nominal {column!r}")
            taken[column], found[column] = name, expression
    return found


def shift_names(variations: Mapping[str, JetVariation | MassFactors]) -> tuple[str, ...]:
    """The names of all shifts, without ``Up`` and ``Down``.

    Parameters
    ----------
    variations : mapping of str to (JetVariation or MassFactors)

    Returns
    -------
    tuple of str
    """
    names = [key for key in jet_shifts(variations, "") if key]
    return tuple(dict.fromkeys(key.removesuffix("Up").removesuffix("Down") for key in names))


def changed_columns(variation: JetVariation | MassFactors, scores: Iterable[str] = ()) -> tuple[str, ...]:
    """The columns of the jets that a variation replaces before the network runs.

    Parameters
    ----------
    variation : JetVariation or MassFactors
    scores : iterable of str
        Columns of the network; what is computed from them is replaced afterwards.

    Returns
    -------
    tuple of str
    """
    if isinstance(variation, MassFactors):
        return (variation.column,)
    of_network = set(scores)
    changes = [item for side in variation.sides.values() for item in side.items()]
    before = [column for column, expression in changes if not of_network.intersection(expression.names)]
    return tuple(dict.fromkeys(before))


guard(globals())
