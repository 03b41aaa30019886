"""What a feature is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from jettagger.types import Array

__all__ = ["CANDIDATES", "OBJECTS", "Feature"]

#: what a group of inputs describes: all constituents, charged, neutral, secondary vertices, the jet itself
OBJECTS = ("pf", "cpf", "npf", "sv", "jet")

#: those that are candidates
CANDIDATES = ("pf", "cpf", "npf")


@dataclass(frozen=True)
class Feature:
    """One input variable.

    Parameters
    ----------
    name : str
        Its name in input descriptions, e.g. ``pfcand_etarel``.
    object : str
        Which objects it describes, one of `OBJECTS`.
    needs : tuple of str
        Columns of the function, in order: ``eta`` is the object's own, ``jet.eta`` that of its jet.
    function : callable
        Flat arrays in the order of ``needs`` -> float32 array of the same length.
    unit : str
        Unit of the returned values; ``"1"`` for pure numbers.
    source : str
        Where the definition comes from.
    is_mask : bool
        Whether it is 1 for every object, and so tells objects from padding.
    approximate : str
        How it is made where files do not store what it is made of; empty where it is what the experiment computes, but
        for rounding.
    doubts : tuple of str
        Features that mark objects for which it is in doubt.
    counted : str
        What reports call jets with an object that it marks; empty where it is no such mark.
    constant : bool
        Whether it is rebuilt as the same number for all objects.
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
