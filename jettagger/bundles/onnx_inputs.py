"""Input groups compared with the interface of the ONNX file, and outputs of the network for random inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations

from jettagger.bundles.interface import IMAGE_LAYOUT, LAYOUT, Group
from jettagger.bundles.probing import Behaviour, ProbeInput, observed
from jettagger.errors import BundleError
from jettagger.sessions.graph import Graph, Tensor

__all__ = ["behaviour_of", "fit_groups"]


def fit_groups(groups: tuple[Group, ...], graph: Graph | None, where: str) -> tuple[Group, ...]:
    """Compare the groups with the ONNX inputs; lengths fixed in the ONNX file take precedence.

    Parameters
    ----------
    groups : tuple of Group
    graph : Graph or None
        None, for a description without weights, leaves the groups unchanged.
    where : str
        Path of the input description, for errors.

    Returns
    -------
    tuple of Group
        With the lengths and the ranks of the network's inputs.

    Raises
    ------
    BundleError
        If names, types, numbers of variables or lengths contradict each other.
    """
    if graph is None:
        return groups
    inputs = {tensor.name: tensor for tensor in graph.inputs}
    lacking = sorted(set(inputs) - {group.name for group in groups})
    extra = sorted({group.name for group in groups} - set(inputs))
    if lacking or extra:
        raise BundleError(
            f"{where} and {graph.path} do not fit: inputs of the model without a group: {lacking or 'none'}; "
            f"groups without an input: {extra or 'none'}"
        )
    fitted = []
    for group in groups:
        tensor = inputs[group.name]
        if group.image is not None:
            fitted.append(_fit_image(group, tensor, where, graph))
            continue
        # a single number of the jet may come with or without an axis of variables
        layout = LAYOUT[:2] if group.layout == ("jets",) and len(tensor.shape) == 2 else group.layout
        if len(tensor.shape) != len(layout) or tensor.dtype != "float32":
            expected = ", ".join({"objects": "length", "one": "1"}.get(axis, axis) for axis in layout)
            raise BundleError(
                f"{graph.path}: input {group.name!r} is {tensor.dtype}{list(tensor.shape)}, "
                f"expected float32 [{expected}]"
            )
        sizes = dict(zip(layout, tensor.shape, strict=True))
        channels, length = sizes.get("variables", 1), sizes.get("objects", 1)
        misplaced = not isinstance(channels, int) and layout != LAYOUT and _other_order(group, tensor.shape)
        if (isinstance(channels, int) and channels != len(group.variables)) or misplaced:
            raise BundleError(
                f"{where}: group {group.name!r} has {len(group.variables)} variables, "
                f"the input of {graph.path} expects {channels}{_other_order(group, tensor.shape)}"
            )
        if isinstance(sizes.get("one"), int) and sizes["one"] != 1:
            raise BundleError(
                f"{where}: group {group.name!r}: the axis 'one' of the input of {graph.path} has {sizes['one']} entries"
                f"{_other_order(group, tensor.shape)}"
            )
        if isinstance(length, int) and length != 1 and group.per_jet and "objects" in layout:
            raise BundleError(f"{where}: group {group.name!r} describes the jet, the input has {length} objects")
        if isinstance(length, int):
            shortest, longest = length, length
        else:
            shortest, longest = max(group.min_length, 1), group.max_length
        fitted.append(replace(group, min_length=shortest, max_length=longest, layout=layout))
    by_axis: dict[str, tuple[int, int]] = {}
    for group in fitted:
        if group.image is not None:
            continue
        bounds = (group.min_length, group.max_length)
        if by_axis.setdefault(group.axis, bounds) != bounds and not group.per_jet:
            raise BundleError(
                f"{where}: groups of the object {group.object!r} differ in length: "
                f"{by_axis[group.axis]} and {bounds} (group {group.name!r})"
            )
    return tuple(fitted)


def _fit_image(group: Group, tensor: Tensor, where: str, graph: Graph) -> Group:
    """Compare the shape of an image with that of its input."""
    assert group.image is not None
    sizes = {**dict(zip(IMAGE_LAYOUT[1:], group.image.shape, strict=True)), "one": 1}
    made = [sizes.get(axis, "jets") for axis in group.layout]
    fits = len(made) == len(tensor.shape) and all(
        not isinstance(size, int) or not isinstance(given, int) or size == given
        for size, given in zip(made, tensor.shape, strict=True)
    )
    if not fits or tensor.dtype != "float32":
        axes = ", ".join(
            f"{axis} {size}" if axis != "jets" else axis for axis, size in zip(group.layout, made, strict=True)
        )
        raise BundleError(
            f"{where}: input {group.name!r}: the settings of the image give float32 [{axes}], the input of "
            f"{graph.path} is {tensor.dtype}{list(tensor.shape)}"
        )
    return group


def _other_order(group: Group, shape: Sequence[int | str]) -> str:
    """Another order of the axes that fits the shape of the input, for an error."""
    for order in permutations(group.layout[1:]):
        sizes = dict(zip(order, shape[1:], strict=True))
        fits = sizes.get("variables") == len(group.variables) and sizes.get("one", 1) in (1, "?")
        if order != group.layout[1:] and fits:
            return f": with the axes {['jets', *order]} it would fit {list(shape)}"
    return ""


def behaviour_of(groups: Sequence[Group], graph: Graph | None) -> Behaviour | None:
    """Properties of the network's outputs for random inputs of maximum length.

    Parameters
    ----------
    groups : sequence of Group
    graph : Graph or None

    Returns
    -------
    Behaviour or None
        None without a graph, or if it does not run.
    """
    if graph is None:
        return None
    return observed(
        graph,
        [
            ProbeInput(
                group.name,
                tuple(variable.feature.name for variable in group.variables),
                group.max_length,
                group.layout,
                group.is_mask,
                group.image.shape if group.image is not None else (),
            )
            for group in groups
        ],
    )
