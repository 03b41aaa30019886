"""Input groups from a data configuration of weaver, and the axes that they share."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from jettagger.bundles.interface import LAYOUT, Group, Variable
from jettagger.features import Feature
from jettagger.features.cms import stored
from jettagger.sessions.graph import Graph
from jettagger.weaver import DataConfig

__all__ = ["weaver_groups", "with_axes"]


def weaver_groups(config: DataConfig) -> tuple[Group, ...]:
    """The input groups of a data configuration of weaver.

    Parameters
    ----------
    config : DataConfig

    Returns
    -------
    tuple of Group
        Their features are placeholders: `jettagger.weaver.WeaverJets` evaluates the expressions.

    Examples
    --------
    >>> from jettagger.weaver.config import read_config
    >>> config = read_config(text='''
    ... new_variables: {part_mask: ak.ones_like(part_pt)}
    ... inputs: {pf_mask: {length: 8, pad_mode: constant, vars: [[part_mask, null]]}}
    ... ''')
    >>> weaver_groups(config)[0].is_mask
    True
    """
    groups = []
    for group in config.inputs:
        variables = []
        for item in group.variables:
            formula = config.formulas.get(item.name)
            text = f"= {formula.text.strip()}" if formula is not None else "Column of the file."
            source, is_mask = Path(config.where).name, config.is_mask(item) and group.pad_mode == "constant"
            feature = Feature(item.name, group.name, (item.name,), stored(text), "1", source, is_mask)
            # without a centre weaver neither scales nor clips; where it repeats the list, an empty one gives zeros
            settings = () if item.center is None else (item.center, item.scale, 0.0, item.low, item.high)
            pad = item.pad if group.pad_mode == "constant" else 0.0
            variables.append(replace(Variable(feature, *settings), pad=pad))
        length = group.length or 1
        layout = LAYOUT if group.length is not None else LAYOUT[: min(len(variables), 2)]
        groups.append(Group(group.name, tuple(variables), length, length, group.pad_mode, layout, per_jet=length == 1))
    return tuple(groups)


def with_axes(groups: tuple[Group, ...], graph: Graph | None) -> tuple[Group, ...]:
    """Groups of a data configuration with axes from the graph and from their lengths.

    Groups share an axis if the graph gives their lengths the same name: ONNX Runtime then requires them to be equal. A
    length that the exporter named after its own input carries no such information; groups of such lengths, and of fixed
    lengths, share an axis if the configuration gives them the same length.

    Parameters
    ----------
    groups : tuple of Group
    graph : Graph or None

    Returns
    -------
    tuple of Group
    """
    symbols: dict[str, str] = {}
    for tensor in graph.inputs if graph is not None else ():
        length = tensor.shape[2] if len(tensor.shape) == 3 else "?"
        if isinstance(length, str) and length != "?" and tensor.name not in length:
            symbols[tensor.name] = length
    members: dict[str | int, list[str]] = {}
    for group in groups:
        key = group.name if "objects" not in group.layout else symbols.get(group.name, group.max_length)
        members.setdefault(key, []).append(group.name)
    axes: dict[str, str] = {}
    for names in members.values():
        common = os.path.commonprefix(names).rstrip("_")  # noqa: RUF071 - a name to show
        axis = names[0] if not common or common in axes.values() else common
        axes |= dict.fromkeys(names, axis)
    return tuple(replace(group, axis=axes[group.name]) for group in groups)
