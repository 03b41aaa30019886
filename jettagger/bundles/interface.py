"""The tensors that a model takes: groups of variables, each with its transformation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jettagger.expressions import parse
from jettagger.features import Feature
from jettagger.features.cms import stored

__all__ = ["Group", "Variable"]


@dataclass(frozen=True)
class Variable:
    """One channel of an input group: a feature and its transformation ``clip((x - median) * norm_factor)``.

    Parameters
    ----------
    feature : Feature
    median, norm_factor : float
    replace_inf_value : float
        Stands in for NaN, infinities and absolute values above 1e32, before the transformation.
    lower_bound, upper_bound : float
        Limits of the transformed value.
    pad : float
        Value of the slots behind the last constituent.
    """

    feature: Feature
    median: float = 0.0
    norm_factor: float = 1.0
    replace_inf_value: float = 0.0
    lower_bound: float = -1e32
    upper_bound: float = 1e32
    pad: float = 0.0


@dataclass(frozen=True)
class Group:
    """One input tensor, ``float32[jets, variables, length]``.

    Parameters
    ----------
    name : str
        Name of the ONNX input.
    variables : tuple of Variable
    min_length, max_length : int
        Bounds of the length axis: those of the description, and equal where the graph fixes the axis.
    pad_mode : {"constant", "wrap"} or None
        How slots behind the last object are filled; None: as the card says.
    rank : {3, 2, 1}
        Axes of the tensor. Numbers of the jet that weaver does not pad are ``float32[jets, variables]``, or
        ``float32[jets]``.
    axis : str
        Of the slots: groups of one axis have the same length in a run. Default: the object.
    per_jet : bool
        Whether there is one slot, for numbers of the jet.
    exact : bool
        Whether jets of different length must not run together, as the network sees padding.
    selection : str
        Cut in columns of the objects: those that fail it are left out before they are counted. Empty: all enter.
    """

    name: str
    variables: tuple[Variable, ...]
    min_length: int
    max_length: int
    pad_mode: Literal["constant", "wrap"] | None = None
    rank: int = 3
    axis: str = ""
    per_jet: bool = False
    exact: bool = False
    selection: str = ""

    def __post_init__(self) -> None:
        if not self.axis:
            object.__setattr__(self, "axis", self.object)

    @property
    def object(self) -> str:
        """What the group describes: one of `jettagger.features.OBJECTS`, with a data configuration the group itself."""
        return self.variables[0].feature.object

    @property
    def is_mask(self) -> bool:
        """Whether the group is the mask that tells real entries from padding, by the definition of its variable."""
        return len(self.variables) == 1 and self.variables[0].feature.is_mask

    @property
    def chosen_by(self) -> tuple[Feature, ...]:
        """Columns that decide which objects enter, each as a feature that says what it is wanted for."""
        if not self.selection:
            return ()
        names = parse(self.selection, where=f"selection of {self.name!r}").names
        label = f'the selection {self.selection!r} ("selection": "none" in bundle.json keeps all)'
        return (Feature(label, self.object, names, stored("What is selected."), "1", "the model's description"),)
