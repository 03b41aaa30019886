"""The definition of a feature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from jettagger.display import Brief
from jettagger.types import Array

__all__ = ["CANDIDATES", "OBJECTS", "Feature"]

#: objects described by a group of inputs: all constituents, charged, neutral, secondary vertices, the jet itself
OBJECTS = ("pf", "cpf", "npf", "sv", "jet")

#: objects that are candidates
CANDIDATES = ("pf", "cpf", "npf")


@dataclass(frozen=True)
class Feature(Brief):
    """One input variable.

    Parameters
    ----------
    name : str
        Its name in input descriptions, e.g. ``pfcand_etarel``.
    object : str
        The described objects, one of `OBJECTS`.
    needs : tuple of str
        Columns taken by the function, in order: ``eta`` is that of the object, ``jet.eta`` that of its jet.
    function : callable
        Flat arrays in the order of ``needs`` -> float32 array of the same length.
    unit : str
        Unit of the returned values; ``"1"`` for dimensionless variables.
    source : str
        Reference for the definition.
    is_mask : bool
        Whether it is 1 for every object, and so distinguishes objects from padding.
    approximate : str
        How it is approximated from stored columns; empty if it agrees with the experiment's own value up to rounding.
    doubts : tuple of str
        Features that flag objects for which it is ambiguous.
    counted : str
        Name in reports for jets with a flagged object; empty if this is not a flag.
    constant : bool
        Whether it is approximated by the same number for all objects.
    """

    name: str
    object: str
    needs: tuple[str, ...]
    function: Callable[..., Array]
    unit: str
    source: str
    is_mask: bool = False
    approximate: str = ""
    doubts: tuple[str, ...] = ()
    counted: str = ""
    constant: bool = False

    @property
    def doc(self) -> str:
        """The first line of the function's docstring."""
        return (self.function.__doc__ or "").strip().splitlines()[0]

    def __call__(self, *columns: Array) -> Array:
        """The feature of flat columns, float32[n] as each of them has n entries."""
        # values that are not finite, and those beyond float32, are replaced later, one by one
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return np.asarray(self.function(*columns), dtype=np.float32)
