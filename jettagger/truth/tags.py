"""Tags of simulated jets drawn with efficiencies by flavour, for files without the score of a tagger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.display import Brief
from jettagger.errors import ConfigError
from jettagger.runtime.seeding import uniforms

__all__ = ["ParametrisedTag"]


@dataclass(frozen=True)
class ParametrisedTag(Brief):
    """A tag of simulated AK4 jets by their flavour, for files without the score of a b tagger.

    Parameters
    ----------
    efficiencies : mapping of int to float
        Flavour -> probability of a tag; flavours that are not named have that of flavour 0.
    flavour : str
        Column of the jets.

    Raises
    ------
    ConfigError
        If an efficiency is not between 0 and 1, or there is none for flavour 0.

    Examples
    --------
    >>> ParametrisedTag({5: 1.0, 0: 0.0}).passes(np.array([5, 0, 4]), np.array([1, 1, 2]), np.array([0, 1, 0])).tolist()
    [True, False, False]
    """

    efficiencies: Mapping[int, float] = field(default_factory=lambda: {5: 0.7, 4: 0.12, 0: 0.01})
    flavour: str = "hadronFlavour"

    def __post_init__(self) -> None:
        object.__setattr__(self, "efficiencies", dict(self.efficiencies))
        if 0 not in self.efficiencies:
            raise ConfigError(f"a parametrised tag needs the efficiency of flavour 0, got {sorted(self.efficiencies)}")
        for flavour, value in self.efficiencies.items():
            if not 0 <= value <= 1:
                raise ConfigError(f"the tag efficiency of flavour {flavour} must be from 0 to 1, got {value:g}")

    def __hash__(self) -> int:
        return hash((tuple(sorted(self.efficiencies.items())), self.flavour))

    def __str__(self) -> str:
        listed = ", ".join(f"{value:g} ({self.flavour} {flavour})" for flavour, value in self.efficiencies.items())
        return f"with the efficiencies {listed}"

    def passes(self, flavour: Any, event: Any, index: Any) -> Any:
        """Which jets are tagged; it depends on the event number and the index of the jet alone.

        Parameters
        ----------
        flavour : int[jets]
        event : int[jets]
            Event number of each jet.
        index : int[jets]
            Index of the jet in its event.

        Returns
        -------
        bool[jets]
        """
        kinds = np.abs(np.asarray(flavour))
        chance = np.full(len(kinds), self.efficiencies[0])
        for number, value in self.efficiencies.items():
            chance[kinds == number] = value
        return uniforms(event, index, "b tag") < chance


guard(globals())
