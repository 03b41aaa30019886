"""The input tensors of a model: groups of variables, each with its transformation."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from jettagger.display import Brief
from jettagger.expressions import parse
from jettagger.features import FEATURES, Feature
from jettagger.features.cms import stored
from jettagger.images import ImageSettings
from jettagger.types import Array

__all__ = [
    "IMAGE_LAYOUT",
    "LAYOUT",
    "Group",
    "InputKind",
    "Order",
    "Variable",
    "arranged",
    "arranged_images",
    "named_in",
]

#: what an input is: a list whose order counts, or does not, numbers of the jet, an image; empty: not stated
InputKind = Literal["sequence", "set", "vector", "image", ""]

#: axes of a tensor in weaver and in CMSSW's producers with ``preprocess.json``
LAYOUT = ("jets", "variables", "objects")

#: axes of images in most frameworks
IMAGE_LAYOUT = ("jets", "channels", "rows", "columns")


@dataclass(frozen=True)
class Variable(Brief):
    """One channel of an input group: a feature and its transformation ``clip((x - median) * norm_factor)``.

    Parameters
    ----------
    feature : Feature
    median, norm_factor : float
    replace_inf_value : float
        Replaces NaN, infinities and absolute values above 1e32, before the transformation.
    lower_bound, upper_bound : float
        Limits of the transformed value.
    pad : float
        Value of empty slots, after the last constituent.
    """

    feature: Feature
    median: float = 0.0
    norm_factor: float = 1.0
    replace_inf_value: float = 0.0
    lower_bound: float = -1e32
    upper_bound: float = 1e32
    pad: float = 0.0


@dataclass(frozen=True)
class Order(Brief):
    """One key by which the objects of a jet are ordered.

    Parameters
    ----------
    by : str
        Expression in variables and columns of the objects.
    ascending : bool
        Whether small values come first.
    missing : {"last", "first", "drop"}
        Place of objects whose value is NaN; ``drop``: they are left out of the input.
    """

    by: str
    ascending: bool = False
    missing: Literal["last", "first", "drop"] = "last"

    def __str__(self) -> str:
        return f"{self.by} {'ascending' if self.ascending else 'descending'}"


@dataclass(frozen=True)
class Group(Brief):
    """One input tensor, ``float32[jets, variables, length]`` unless ``layout`` differs.

    Parameters
    ----------
    name : str
        Name of the ONNX input.
    variables : tuple of Variable
    min_length, max_length : int
        Bounds of the length axis from the description; equal if the graph fixes the axis.
    pad_mode : {"constant", "wrap"} or None
        How empty slots are filled; None: as in the card.
    layout : tuple of str
        Order of the tensor's axes: ``jets``, ``variables``, ``objects``, ``one`` (of length 1). Jet-level groups may
        lack ``objects`` and ``variables``. Images: ``jets``, ``channels``, ``rows``, ``columns``, ``one``; those of one
        channel may lack ``channels``.
    axis : str
        Axis of the slots: groups of one axis have the same length in a run. Default: the object.
    per_jet : bool
        Whether there is one slot only, for jet-level variables and images.
    exact : bool
        Whether jets of different length need separate runs, because the network is sensitive to padding.
    selection : str
        Cut in columns of the objects, applied before they are counted. Empty: all are used.
    sort : tuple of str
        Sort keys, ascending, in variables and columns of the objects; empty: the order of the links.
    most : int or None
        Maximum number of objects, if smaller than ``max_length``; in an image, of the leading ones.
    order : tuple of Order
        The order of objects by readable keys, instead of ``sort``; ties by decreasing ``pt``, then by the links.
    kind : {"sequence", "set", "vector", "image", ""}
        Whether the network's outputs depend on the order of the objects; empty: not stated.
    image : ImageSettings or None
        How the objects become an image; the variables are the columns for it, see `image_columns`.
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
    order: tuple[Order, ...] = ()
    kind: InputKind = ""
    image: ImageSettings | None = None

    def __post_init__(self) -> None:
        if not self.axis:
            object.__setattr__(self, "axis", self.object)

    @property
    def object(self) -> str:
        """The object of the group: one of `jettagger.features.OBJECTS`, with a data configuration the group itself."""
        return self.variables[0].feature.object

    @property
    def is_mask(self) -> bool:
        """Whether the group is the mask that marks real entries, as opposed to padding, judged by its variable."""
        return len(self.variables) == 1 and self.variables[0].feature.is_mask

    @property
    def chosen_by(self) -> tuple[Feature, ...]:
        """Features used for the selection and order of objects; for columns, features with a label of their purpose."""
        found = []
        if self.selection:
            label = f'the selection {self.selection!r} ("selection": "none" in bundle.json keeps all)'
            found += named_in(self.selection, self.object, label)
        for key in self.sort:
            found += named_in(key, self.object, f"the order by {key!r}")
        for item in self.order:
            found += named_in(item.by, self.object, f"the order by {item.by!r}")
        if self.order:
            found += named_in("pt", self.object, "ties of the order")
        if self.image is not None and self.image.jet_columns:  # all of them under one label
            found += named_in(" + ".join(self.image.jet_columns), "jet", f"the image {self.name!r}")
        return tuple(found)

    @property
    def image_columns(self) -> tuple[str, ...]:
        """Names of the variables of an image in `jettagger.images.make_images`, in order."""
        return () if self.image is None else names_of_image(self.image)

    @property
    def choice(self) -> tuple[Hashable, ...]:
        """Groups with equal values take the same objects in the same order."""
        return self.object, self.selection, self.sort, self.order

    @property
    def orders(self) -> tuple[str, ...]:
        """The keys of the order, for display."""
        return self.sort or tuple(map(str, self.order))

    @property
    def limit(self) -> int:
        """The maximum number of objects."""
        return self.max_length if self.most is None else min(self.most, self.max_length)


def names_of_image(settings: ImageSettings) -> tuple[str, ...]:
    """Names of the columns of constituents for images, in the order of the variables of a group."""
    return ("pt", "deta", "dphi", *(["energy"] if settings.needs_energy else []), *settings.columns)


def named_in(text: str, object_: str, label: str) -> list[Feature]:
    """Variables in an expression, and its columns as one feature under a label."""
    names = parse(text, where=label).names
    features = [FEATURES[name] for name in names if name in FEATURES and FEATURES[name].object == object_]
    columns = tuple(name for name in names if name not in {feature.name for feature in features})
    if columns:
        features.append(Feature(label, object_, columns, stored("What is selected."), "1", "the model's description"))
    return features


def arranged(array: Array, layout: tuple[str, ...]) -> Array:
    """A tensor with its axes in the order of a layout.

    Parameters
    ----------
    array : array[jets, variables, objects]
    layout : tuple of str
        Absent axes must have length 1.

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
    return _arranged(array, LAYOUT, layout)


def arranged_images(array: Array, layout: tuple[str, ...]) -> Array:
    """Images with their axes in the order of a layout.

    Parameters
    ----------
    array : array[jets, channels, rows, columns]
    layout : tuple of str
        Absent axes must have length 1.

    Returns
    -------
    array[jets, ...]
        Contiguous, with the axes of the layout.

    Examples
    --------
    >>> arranged_images(np.zeros((2, 6, 40, 30)), ("jets", "rows", "columns", "channels")).shape
    (2, 40, 30, 6)
    """
    return _arranged(array, IMAGE_LAYOUT, layout)


def _arranged(array: Array, axes: tuple[str, ...], layout: tuple[str, ...]) -> Array:
    if layout == axes:
        return np.ascontiguousarray(array)
    for place in range(len(axes) - 1, 0, -1):
        if axes[place] not in layout:
            array = array.take(0, axis=place)
    present = [name for name in axes if name in layout]
    array = array.transpose([present.index(name) for name in layout if name in present])
    for place, name in enumerate(layout):
        if name not in present:
            array = np.expand_dims(array, place)
    return np.ascontiguousarray(array)
