"""The tensors that a model takes: groups of variables, each with its transformation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from jettagger.expressions import parse
from jettagger.features import FEATURES, Feature
from jettagger.features.cms import stored
from jettagger.types import Array

__all__ = ["LAYOUT", "Group", "Variable", "arranged", "named_in"]

#: axes of a tensor as CMSSW's producers with ``preprocess.json`` and weaver have them
LAYOUT = ("jets", "variables", "objects")


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
    """One input tensor, ``float32[jets, variables, length]`` unless the layout is another.

    Parameters
    ----------
    name : str
        Name of the ONNX input.
    variables : tuple of Variable
    min_length, max_length : int
        Bounds of the length axis: those of the description, and equal where the graph fixes the axis.
    pad_mode : {"constant", "wrap"} or None
        How slots behind the last object are filled; None: as the card says.
    layout : tuple of str
        Order of the tensor's axes: ``jets``, ``variables``, ``objects``, ``one`` (of length 1). Numbers of the jet
        may lack objects, and variables.
    axis : str
        Of the slots: groups of one axis have the same length in a run. Default: the object.
    per_jet : bool
        Whether there is one slot, for numbers of the jet.
    exact : bool
        Whether jets of different length must not run together, as the network sees padding.
    selection : str
        Cut in columns of the objects: those that fail it are left out before they are counted. Empty: all enter.
    sort : tuple of str
        Keys, smallest first, in variables and columns of the objects; empty: the order in which they are linked.
    most : int or None
        Objects that enter at most, where these are fewer than ``max_length``.
    """

    name: str
    variables: tuple[Variable, ...]
    min_length: int
    max_length: int
    pad_mode: Literal["constant", "wrap"] | None = None
    layout: tuple[str, ...] = LAYOUT
    axis: str = ""
    per_jet: bool = False
    exact: bool = False
    selection: str = ""
    sort: tuple[str, ...] = ()
    most: int | None = None

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
        """What decides which objects enter, in which order; columns as features that say what they are wanted for."""
        found = []
        if self.selection:
            label = f'the selection {self.selection!r} ("selection": "none" in bundle.json keeps all)'
            found += named_in(self.selection, self.object, label)
        for key in self.sort:
            found += named_in(key, self.object, f"the order by {key!r}")
        return tuple(found)

    @property
    def limit(self) -> int:
        """The largest number of objects that enter."""
        return self.max_length if self.most is None else min(self.most, self.max_length)


def named_in(text: str, object_: str, label: str) -> list[Feature]:
    """Variables that an expression names, and its columns as one feature under a label."""
    names = parse(text, where=label).names
    features = [FEATURES[name] for name in names if name in FEATURES and FEATURES[name].object == object_]
    columns = tuple(name for name in names if name not in {feature.name for feature in features})
    if columns:
        features.append(Feature(label, object_, columns, stored("What is selected."), "1", "the model's description"))
    return features


def arranged(array: Array, layout: tuple[str, ...]) -> Array:
    """A tensor with its axes in another order.

    Parameters
    ----------
    array : array[jets, variables, objects]
    layout : tuple of str
        Axes that are absent have one entry.

    Returns
    -------
    array[jets, ...]
        Contiguous, with the axes of the layout.

    Examples
    --------
    >>> import numpy as np
    >>> arranged(np.zeros((2, 3, 5)), ("jets", "objects", "variables")).shape
    (2, 5, 3)
    >>> arranged(np.zeros((2, 3, 1)), ("jets", "variables")).shape
    (2, 3)
    """
    for place in (2, 1):
        if LAYOUT[place] not in layout:
            array = array.take(0, axis=place)
    present = [name for name in LAYOUT if name in layout]
    array = array.transpose([present.index(name) for name in layout if name in present])
    for place, name in enumerate(layout):
        if name not in present:
            array = np.expand_dims(array, place)
    return np.ascontiguousarray(array)
