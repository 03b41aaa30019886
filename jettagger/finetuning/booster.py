"""Conversion of the trees of an XGBoost model to ONNX, from XGBoost's own JSON.

For two classes, the converter of onnxmltools assigns all leaves to the first class (onnx/onnxmltools#671).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from jettagger.errors import MismatchError
from jettagger.files.jsonfile import parse_json
from jettagger.heads.export import Trees

__all__ = ["trees_of"]

#: objectives whose base score is added to the sum of the leaves without transformation
_PLAIN = ("multi:softprob", "reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror", "reg:quantileerror")


def trees_of(booster: Any, inputs: int, outputs: int) -> Trees:
    """The trees of a model, whose outputs are the margins of XGBoost.

    Parameters
    ----------
    booster : xgboost.Booster
        With the objective ``multi:softprob``, or that of a regression without a link function.
    inputs, outputs : int
        Expected numbers of inputs and outputs.

    Returns
    -------
    Trees

    Raises
    ------
    MismatchError
        If the model has other inputs or outputs, or an unsupported objective, kind of tree or split.

    Notes
    -----
    XGBoost's JSON (doc/model.schema in its repository): a row goes left if its value is below ``split_conditions``, and
    according to ``default_left`` if it is NaN; for a leaf, ``split_conditions`` is its value; ``tree_info`` gives the
    output of a tree.
    """
    learner = parse_json(bytes(booster.save_raw("json")), "the trees", finite=False)["learner"]
    sizes, objective, kind = learner["learner_model_param"], learner["objective"]["name"], learner["gradient_booster"]
    found = (int(sizes["num_feature"]), max(int(sizes["num_class"]), int(sizes["num_target"])))
    if found != (inputs, outputs):
        raise MismatchError(
            f"the trees have {found[0]} inputs and {found[1]} outputs, expected {inputs} inputs and {outputs} outputs"
        )
    if objective not in _PLAIN or kind["name"] != "gbtree":
        raise MismatchError(
            f"trees of the kind {kind['name']!r} with the objective {objective!r} cannot be written, expected 'gbtree' "
            f"with one of {', '.join(_PLAIN)}"
        )
    base = np.broadcast_to(
        np.asarray(parse_json(sizes["base_score"].lower(), "base_score"), dtype=np.float64), (outputs,)
    )
    nodes: dict[str, list[Any]] = {f"nodes_{name}": [] for name in _NODES}
    leaves: dict[str, list[Any]] = {f"target_{name}": [] for name in ("treeids", "nodeids", "ids", "weights")}
    for number, (tree, output) in enumerate(zip(kind["model"]["trees"], kind["model"]["tree_info"], strict=True)):
        _add(tree, number, output, nodes, leaves)
    return Trees({"n_targets": outputs, "base_values": base.tolist(), **nodes, **leaves})


_NODES = (
    *("treeids", "nodeids", "featureids", "modes", "values", "truenodeids", "falsenodeids"),
    "missing_value_tracks_true",
)


def _add(
    tree: Mapping[str, Any], number: int, output: int, nodes: dict[str, list[Any]], leaves: dict[str, list[Any]]
) -> None:
    """Add one tree; pruned nodes are left out."""
    if int(tree["tree_param"]["size_leaf_vector"]) > 1 or any(tree["split_type"]):
        raise MismatchError(
            f"tree {number} has leaves with several values, or splits of categories: it cannot be written"
        )
    waiting = [0]
    while waiting:
        node = waiting.pop()
        left, right = tree["left_children"][node], tree["right_children"][node]
        value = tree["split_conditions"][node]
        if left < 0:
            row = (number, node, 0, "LEAF", 0.0, 0, 0, 0)
            for name, item in zip(leaves, (number, node, output, value), strict=True):
                leaves[name].append(item)
        else:
            missing = int(tree["default_left"][node])
            row = (number, node, tree["split_indices"][node], "BRANCH_LT", value, left, right, missing)
            waiting += [right, left]
        for name, item in zip(nodes, row, strict=True):
            nodes[name].append(item)
