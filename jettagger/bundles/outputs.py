"""The output columns of a model: names and kinds.

They are taken from the card or inferred: from a softmax in the graph, and from the outputs for random inputs
(`jettagger.bundles.probing`), i.e. columns that sum to one, and columns that stay between 0 and 1 for any input.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from jettagger.bundles.card import KINDS, BundleCard, Kind
from jettagger.bundles.probing import Behaviour
from jettagger.display import Brief
from jettagger.errors import BundleError, hint
from jettagger.sessions.graph import Graph, Tensor

__all__ = ["HIDDEN", "Output", "canonical_name", "read_outputs"]

#: names of hidden neurons, in all spellings
HIDDEN = re.compile(r"^hidNeurons?_?(\d+)$")


@dataclass(frozen=True)
class Output(Brief):
    """One output column.

    Parameters
    ----------
    name : str
        Canonical name, e.g. ``probHWqqWqq0c``, ``mass``, ``hidNeurons000``.
    raw : str
        The name in the model's own description.
    kind : str
        One of ``prob``, ``logit``, ``mass``, ``regression``, ``hidden``, ``other``.
    index : int
        Position among all columns of the model.
    softmax : bool
        Whether a softmax over the marked outputs must still be taken.
    """

    name: str
    raw: str
    kind: Kind
    index: int
    softmax: bool = False


def canonical_name(raw: str, kind: Kind) -> str:
    """The canonical name of an output.

    Parameters
    ----------
    raw : str
        Name in the model's description.
    kind : str
        Kind of the output: only probabilities are called ``prob``.

    Returns
    -------
    str

    Examples
    --------
    >>> canonical_name("label_H_WqqWqq_0c", "prob"), canonical_name("hidNeuron7", "hidden")
    ('probHWqqWqq0c', 'hidNeurons007')
    >>> canonical_name("probXbb", "logit")
    'logitXbb'
    """
    match = HIDDEN.match(raw)
    if match:
        return f"hidNeurons{int(match.group(1)):03d}"
    for stem in ("label_", "prob_", "prob", "logit_", "logit"):
        if raw.startswith(stem) and kind in ("prob", "logit"):
            return kind + raw[len(stem) :].replace("_", "")
    return raw


def read_outputs(
    card: BundleCard,
    description: Mapping[str, Any],
    graph: Graph | None,
    folder: Path,
    source: str,
    measure: Callable[[], Behaviour | None],
) -> tuple[Output, ...]:
    """All output columns of a model, in order.

    Parameters
    ----------
    card : BundleCard
    description : mapping
        The input description; its ``output_names`` are used if the card has none.
    graph : Graph or None
    folder : pathlib.Path
        Folder for error messages.
    source : str
        Name of the input description, for errors.
    measure : callable
        Runs the network on random inputs; called if card and graph do not determine the kind of an output.

    Returns
    -------
    tuple of Output

    Raises
    ------
    BundleError
        If the names are missing, repeated, or do not match the number of columns; if a pattern of the card matches no
        name; if an output has several axes.
    """
    names = card.output_names
    if names is None:
        names = description.get("output_names")
        if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
            kind = "missing" if names is None else f"a {type(names).__name__}"
            missing = "'output_names'" if source.endswith(".json") else "the list of classes (labels of type simple)"
            raise BundleError(
                f'{folder}: {missing} of {source} is {kind}, expected a list of names; add "output_names" '
                f"(a list, in the order of the model's columns) to {_CARD}"
            )
    columns = _width(graph)
    if columns is not None and columns != len(names):
        raise BundleError(
            f"{folder}: the model gives {columns} output columns, the description names {len(names)}; "
            f'add the full list as "output_names" to {_CARD}'
        )
    repeated = sorted({name for name in names if list(names).count(name) > 1})
    if repeated:
        raise BundleError(f"{folder}: output names appear twice: {repeated}")
    kinds = _declared(card, names, folder)
    if not card.kinds:
        marked = [_is_marked(card, raw) for raw in names]
        kinds = [
            "prob" if softmax else kind
            for softmax, kind in zip(marked, _inferred(names, graph, measure, all(marked)), strict=True)
        ]
    outputs = []
    for index, raw in enumerate(names):
        outputs.append(Output(canonical_name(raw, kinds[index]), raw, kinds[index], index, _is_marked(card, raw)))
    _refuse_ambiguous(card, names, outputs, folder)
    return tuple(outputs)


_CARD = "bundle.json"


def _is_marked(card: BundleCard, raw: str) -> bool:
    """Whether the card requests a softmax over this output."""
    return any(fnmatchcase(raw, pattern) for pattern in card.softmax)


def _refuse_ambiguous(card: BundleCard, names: Sequence[str], outputs: Sequence[Output], folder: Path) -> None:
    seen: dict[str, str] = {}
    for output in outputs:
        if seen.setdefault(output.name, output.raw) != output.raw:
            raise BundleError(
                f"{folder}: outputs {seen[output.name]!r} and {output.raw!r} have the same name {output.name!r}"
            )
    taken = {*seen, *names, *KINDS, "all"} | {
        f"hidNeuron{plural}{number}"
        for name in seen
        if (match := HIDDEN.match(name))
        for plural in ("", "s")
        for number in (int(match.group(1)), f"{int(match.group(1)):03d}")
    }
    for alias, target in card.aliases.items():
        if alias in taken:
            raise BundleError(f"{folder}: alias {alias!r} (for {target!r}) is taken: an output or a kind has this name")
        if target not in seen:
            raise BundleError(
                f"{folder}: alias {alias!r} is for {target!r}, which is not an output{hint(target, seen)}"
            )


def _width(graph: Graph | None) -> int | None:
    """The number of output columns, if the graph fixes it."""
    if graph is None:
        return None
    widths = [_columns(graph, tensor) for tensor in graph.outputs]
    return None if None in widths else sum(width for width in widths if width is not None)


def _columns(graph: Graph, tensor: Tensor) -> int | None:
    """The number of columns of an output tensor, without axes of size one."""
    if not tensor.shape:
        return None  # the file does not say
    axes = tensor.shape[1:]
    if len(tensor.shape) > 2 and tensor.shape[0] == 1 and graph.fixed_batch is None:
        axes = tensor.shape[2:]  # an axis before that of the jets
    long = [axis for axis in axes if isinstance(axis, int) and axis > 1]
    if len(long) > 1:
        raise BundleError(
            f"{graph.path}: output {tensor.name!r} is {tensor.dtype}{list(tensor.shape)}, several numbers along "
            f"{len(long)} axes; expected [jets] or [jets, columns], further axes of size one. Flatten it before "
            "the network is exported"
        )
    if any(isinstance(axis, str) for axis in axes):
        return None
    return long[0] if long else 1


def _declared(card: BundleCard, names: Sequence[str], folder: Path) -> list[Kind]:
    def matches(raw: str, kind: Kind, pattern: str) -> bool:
        return fnmatchcase(raw, pattern) or fnmatchcase(canonical_name(raw, kind), pattern)

    for kind, patterns in card.kinds.items():
        for pattern in patterns:
            if not any(matches(raw, kind, pattern) for raw in names):
                raise BundleError(
                    f"{folder}: pattern {pattern!r} for the kind {kind!r} of {card.name!r} matches no output"
                    f"{hint(pattern.strip('*'), names)}"
                )
    for pattern in card.softmax:
        if not any(fnmatchcase(raw, pattern) for raw in names):
            raise BundleError(f"{folder}: 'softmax' pattern {pattern!r} of {card.name!r} matches no output")
    return [
        next(
            (kind for kind, patterns in card.kinds.items() if any(matches(raw, kind, item) for item in patterns)),
            "other",
        )
        for raw in names
    ]


def _inferred(
    names: Sequence[str], graph: Graph | None, measure: Callable[[], Behaviour | None], decided: bool
) -> list[Kind]:
    """Kinds from the graph, from the outputs for random inputs, and from the names, in this order."""
    softmaxed = _flags(graph, len(names), "softmaxed")
    open_ = [
        not passed and not HIDDEN.match(raw) and raw != "mass" for raw, passed in zip(names, softmaxed, strict=True)
    ]
    behaviour = measure() if graph is not None and any(open_) and not decided else None
    if behaviour is not None and len(behaviour.unit) == len(names):
        linear = _flags(graph, len(names), "linear")
        probable = [
            summed or (within and not layer)
            for summed, within, layer in zip(behaviour.summed, behaviour.unit, linear, strict=True)
        ]
    else:
        probable = [False] * len(names)
    kinds: list[Kind] = []
    for raw, passed, probability in zip(names, softmaxed, probable, strict=True):
        if passed:
            kinds.append("prob")
        elif HIDDEN.match(raw):
            kinds.append("hidden")
        elif raw == "mass":
            kinds.append("mass")
        elif probability:
            kinds.append("prob")
        elif raw.startswith(("label", "prob", "logit")):
            kinds.append("logit")
        else:
            kinds.append("other")
    return kinds


def _flags(graph: Graph | None, columns: int, what: str) -> list[bool]:
    """Mask of columns in ranges shown by the graph; those after an output of unknown width are excluded."""
    flags: list[bool] = []
    for tensor in graph.outputs if graph is not None else ():
        width = _columns(graph, tensor) if graph is not None else None
        if width is None:
            break
        here = [False] * width
        for start, stop in getattr(graph, what)[tensor.name]:
            here[start:stop] = [True] * (stop - start)
        flags += here
    return (flags + [False] * columns)[:columns]
