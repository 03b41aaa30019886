"""Numbers of a jet that are explained: scores, logits, masses, hidden neurons, discriminants, outputs of heads.

A target takes the outputs of a network, as tensors of torch or arrays of NumPy, and gives one number per jet. Sums and
ratios are taken in double precision.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.bundles.bundle import Bundle
from jettagger.bundles.outputs import Output
from jettagger.discriminants import Discriminant, discriminant, presets
from jettagger.discriminants.algebra import LOG_FLOOR, Call, Chain, Negative, Node, Number, Parameter, Score, Sum
from jettagger.discriminants.columns import Resolved, Unresolvable, resolve_names
from jettagger.discriminants.tables import find_model
from jettagger.errors import ConfigError, MismatchError, UnknownName
from jettagger.explain.gradients import COLUMNS
from jettagger.heads import Head
from jettagger.heads.folds import EVENT, fold_of
from jettagger.tagging.tagger import Tagger
from jettagger.types import Array

__all__ = ["DiscriminantTarget", "HeadTarget", "JetTarget", "LogOdds", "OutputTarget", "target_of"]

#: smallest probability whose logarithm is taken: the smallest normal number of single precision
SMALLEST = 2.0**-126


@dataclass(frozen=True)
class OutputTarget:
    """One output of a network: a score, a mass, a logit, a hidden neuron.

    Parameters
    ----------
    name : str
    index : int
        Its position among all output columns.
    unit : str
        ``GeV`` of masses; else ``1``.
    """

    name: str
    index: int
    unit: str = "1"
    needs = (COLUMNS,)
    columns: tuple[str, ...] = field(default=(), init=False, repr=False)

    def __call__(self, outputs: Mapping[str, Any]) -> Any:
        """One number per jet, float[n]; ``outputs`` has float[n, columns] as `COLUMNS`."""
        return outputs[COLUMNS][:, self.index]

    def for_jets(self, get: Callable[[str], Array]) -> OutputTarget:
        """The same: nothing else of a jet is needed."""
        return self


@dataclass(frozen=True)
class LogOdds:
    """The logit of a score, ``log(p / (1 - p))``.

    Parameters
    ----------
    name : str
    index : int
        Position of the score among all output columns.
    others : tuple of int
        Positions of the other scores if they all add up to one: their sum replaces ``1 - p``, which would lose its
        digits where the score is close to 1. Empty: they do not.

    Notes
    -----
    Unlike the input of the softmax it does not change with a number that is added to all of these inputs.
    """

    name: str
    index: int
    others: tuple[int, ...] = ()
    unit: str = "1"
    needs = (COLUMNS,)
    columns: tuple[str, ...] = field(default=(), init=False, repr=False)

    def __call__(self, outputs: Mapping[str, Any]) -> Any:
        """One number per jet, float64[n]; probabilities below 2**-126 count as this number."""
        columns = _wide(outputs[COLUMNS])
        score = columns[:, self.index]
        other = columns[:, list(self.others)].sum(1) if self.others else 1 - score
        return _log(score, SMALLEST) - _log(other, SMALLEST)

    def for_jets(self, get: Callable[[str], Array]) -> LogOdds:
        """The same: nothing else of a jet is needed."""
        return self


@dataclass(frozen=True)
class DiscriminantTarget:
    """A discriminant of the scores of a network.

    Parameters
    ----------
    name : str
    discriminant : Discriminant
    found : Resolved
        Its expression with the names of the scores.
    index : mapping of str to int
        Score -> position among all output columns.
    """

    name: str
    discriminant: Discriminant
    found: Resolved
    index: Mapping[str, int]
    unit: str = "1"
    needs = (COLUMNS,)
    columns: tuple[str, ...] = field(default=(), init=False, repr=False)

    def __call__(self, outputs: Mapping[str, Any]) -> Any:
        """One number per jet, float64[n]."""
        columns = _wide(outputs[COLUMNS])
        scores = {name: columns[:, index] for name, index in self.index.items()}
        return _Evaluation(self.discriminant, self.found, scores).value(self.found.expression)

    def for_jets(self, get: Callable[[str], Array]) -> DiscriminantTarget:
        """The same: nothing else of a jet is needed."""
        return self


@dataclass(frozen=True)
class HeadTarget:
    """An output of a head behind the network.

    Parameters
    ----------
    name : str
    head : Head
    output : int
        Position among the outputs of the head.
    index : mapping of str to int
        Input of the head that the network gives -> position among all output columns.
    given : mapping of str to float[n]
        The other inputs of the head, which are constant: one value per jet, see `for_jets`.
    """

    name: str
    head: Head
    output: int
    index: Mapping[str, int]
    unit: str = "1"
    given: Mapping[str, Array] = field(default_factory=dict, repr=False, compare=False)
    needs = (COLUMNS,)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the jets that the head needs besides the outputs of the network, by their names in a skim."""
        names = [name for name in self.head.inputs if name not in self.index]
        return (*names, *([EVENT] if self.head.card.folds > 1 else []))

    def for_jets(self, get: Callable[[str], Array]) -> HeadTarget:
        """The target for some jets.

        Parameters
        ----------
        get : callable
            Name of a column in a skim -> its values, one per jet.

        Returns
        -------
        HeadTarget
        """
        return replace(self, given={name: np.asarray(get(name)) for name in self.columns})

    def __call__(self, outputs: Mapping[str, Any]) -> Any:
        """The output of the head.

        Parameters
        ----------
        outputs : mapping of str to float[n, columns]
            The output columns of the network as `COLUMNS`.

        Returns
        -------
        float32[n]
            NaN where an input of the head is not finite.

        Raises
        ------
        MismatchError
            If columns of the jets are missing or of other jets, or if a head of boosted trees gets tensors of torch.
        """
        columns = outputs[COLUMNS]
        n_jets, n_given = len(columns), {len(values) for values in self.given.values()}
        if n_given - {n_jets}:
            raise MismatchError(f"{self.name}: columns of {max(n_given)} jets are given for {n_jets} jets")
        lacking = [name for name in self.head.inputs if name not in {*self.index, *self.given}]
        if lacking:
            raise MismatchError(f"{self.name}: the head needs {', '.join(lacking)} of the jets, see for_jets")
        folds = self.head.card.folds
        fold = fold_of(self.given[EVENT], folds) if folds > 1 else np.zeros(n_jets, dtype=np.int64)
        if isinstance(columns, np.ndarray):
            inputs = [columns[:, self.index[n]] if n in self.index else self.given[n] for n in self.head.inputs]
            return self.head.compute_folds(np.stack(inputs, axis=1).astype(np.float32), fold)[:, self.output]
        if self.head.card.model == "bdt":
            raise MismatchError(
                f"{self.name}: the head is made of boosted trees, which have no gradient; use the method occlusion"
            )
        import torch

        from jettagger.explain.graph import TorchGraph
        from jettagger.heads.export import COLUMNS as HEAD_INPUT

        def column(name: str) -> Any:
            if name in self.index:
                return columns[:, self.index[name]]
            return torch.as_tensor(np.asarray(self.given[name], dtype=np.float32), device=columns.device)

        stacked = torch.stack([column(name).to(torch.float32) for name in self.head.inputs], dim=1)
        found = TorchGraph(self.head.graph.path).run({HEAD_INPUT: stacked}, [f"fold{n}" for n in range(folds)])
        every = torch.stack([found[f"fold{number}"] for number in range(folds)])
        return every[torch.as_tensor(fold, device=columns.device), torch.arange(n_jets), self.output]


#: what `target_of` gives
JetTarget = OutputTarget | LogOdds | DiscriminantTarget | HeadTarget


def target_of(tagger: Tagger | Bundle, what: str | Discriminant | JetTarget) -> JetTarget:
    """The target of a text.

    Parameters
    ----------
    tagger : Tagger or Bundle
        The network; heads are those of a tagger.
    what : str, Discriminant or target
        A preset (``HbbvsQCD``; ``log HbbvsQCD``: its logarithm of signal over background), an output (``probHbb``,
        ``mass``, ``hidNeurons012``), the logit of a score (``logit probHbb``), an output of a head
        (``<head>:<output>``), or an expression in scores (``probHbb / (probHbb + probHcc)``).

    Returns
    -------
    OutputTarget, LogOdds, DiscriminantTarget or HeadTarget

    Raises
    ------
    UnknownName
        If neither an output, a discriminant nor a head has this name, or if the model lacks scores of a discriminant;
        gives the nearest names.
    ConfigError
        If an expression is invalid, or contains no score; if a logit of something other than a score is asked for.

    Examples
    --------
    >>> from jettagger import load_tagger
    >>> tagger = load_tagger("tinyParT")
    >>> target_of(tagger, "mass").unit, target_of(tagger, "hidNeuron3").name
    ('GeV', 'hidNeurons003')
    >>> target_of(tagger, "logit probHbb")({COLUMNS: np.full((2, 166), 1 / 37)}).round(3).tolist()
    [-3.584, -3.584]
    >>> target_of(tagger, "HbbvsQDC")
    Traceback (most recent call last):
        ...
    jettagger.errors.UnknownName: unknown target in bundle 'tinyParT': 'HbbvsQDC' (nearest: HbbvsQCD, ...)
    """
    bundle, heads = (tagger.bundle, tagger.heads) if isinstance(tagger, Tagger) else (tagger, ())
    if isinstance(what, Discriminant):
        return _of_discriminant(bundle, what)
    if not isinstance(what, str):
        return what
    text = what.strip()
    form, _, rest = text.partition(" ")
    if form == "logit" and rest.strip():
        return _logit(bundle, rest.strip())
    if ":" in text:
        return _of_head(bundle, heads, *(part.strip() for part in text.split(":", 1)))
    output = bundle._by_name.get(text)
    if output is not None:
        return _of_output(bundle, output)
    for head in heads:
        if text in head.columns:
            return _of_head(bundle, heads, head.name, head.card.outputs[head.columns.index(text)])
    if text in presets():
        return _of_discriminant(bundle, discriminant(text))
    if form == "log" and rest.strip().isidentifier():
        _known(bundle, heads, rest.strip())
        return _of_discriminant(bundle, discriminant(rest.strip(), form="log_ratio"))
    if not text or text.isidentifier():
        _known(bundle, heads, text)
    return _of_discriminant(bundle, Discriminant.from_string(text))


def _known(bundle: Bundle, heads: tuple[Head, ...], name: str) -> None:
    """Refuse a name that is no preset, with the nearest ones of all kinds."""
    if name not in presets():
        columns = [f"{head.name}:{output}" for head in heads for output in head.card.outputs]
        known = [*presets(), *(output.name for output in bundle.outputs), *columns]
        raise UnknownName("target", name, known, f"bundle {bundle.name!r}")


def _of_output(bundle: Bundle, output: Output) -> OutputTarget:
    mass = output.kind == "mass" and (bundle.card.mass is None or bundle.card.mass.unit == "GeV")
    return OutputTarget(output.name, output.index, "GeV" if mass else "1")


def _logit(bundle: Bundle, name: str) -> OutputTarget | LogOdds:
    output = bundle[name]
    if output.kind == "logit":
        return _of_output(bundle, output)
    if output.kind != "prob":
        raise ConfigError(
            f"logit {name}: {output.name!r} is of the kind {output.kind!r}, a logit exists of scores: {bundle.kinds()}"
        )
    return LogOdds(f"logit {output.name}", output.index, tuple(_companions(bundle, output)))


def _companions(bundle: Bundle, output: Output) -> list[int]:
    """The other outputs of the softmax that gives an output; none if no softmax shows."""
    if output.softmax:
        return [item.index for item in bundle.outputs if item.softmax and item is not output]
    first = 0
    graph = bundle.graph
    for tensor in graph.outputs if graph is not None else ():
        assert graph is not None
        for start, stop in graph.softmaxed[tensor.name]:
            if first + start <= output.index < first + stop:
                return [index for index in range(first + start, first + stop) if index != output.index]
        widths = [axis for axis in tensor.shape[1:] if isinstance(axis, int)]
        if len(widths) < len(tensor.shape) - 1:
            break  # the positions of the outputs behind it are not known
        first += int(np.prod(widths))
    return []


def _of_discriminant(bundle: Bundle, item: Discriminant) -> DiscriminantTarget:
    names = frozenset(output.name for output in bundle.outputs)
    what = item.name or str(item.expression)
    try:
        found = resolve_names(item.expression, "", names, find_model("", names))
    except Unresolvable as error:
        place = f"bundle {bundle.name!r}, which {what!r} needs"
        raise UnknownName("score or group", list(error.missing), error.known, place) from None
    if not found.columns:
        raise ConfigError(f"{what}: contains no score, so it is the same number for all jets")
    index = {name: bundle[column].index for name, column in found.columns.items()}
    return DiscriminantTarget(what, item, found, index)


def _of_head(bundle: Bundle, heads: tuple[Head, ...], name: str, output: str) -> HeadTarget:
    by_name = {head.name: head for head in heads}
    if name not in by_name:
        raise UnknownName("head", name, by_name, f"the tagger of {bundle.name!r}")
    head = by_name[name]
    if output not in head.card.outputs:
        raise UnknownName("output", output, head.card.outputs, f"head {name!r}")
    index = {item.name: bundle[item.name].index for item in head.card.inputs if item.source == "tagger"}
    unit = "GeV" if head.card.kind == "mass" else "1"
    return HeadTarget(f"{name}:{output}", head, head.card.outputs.index(output), index, unit)


# ------------------------------------------------------------------------- the same for NumPy and torch


def _wide(values: Any) -> Any:
    """In double precision."""
    return values.astype(np.float64) if isinstance(values, np.ndarray) else values.double()


def _log(values: Any, smallest: float) -> Any:
    """Logarithm of the values, of ``smallest`` where they are below; there the derivative is 0."""
    if isinstance(values, np.ndarray):
        return np.log(np.maximum(values, smallest))
    return values.clamp(min=smallest).log()


def _extreme(values: list[Any], name: str) -> Any:
    """Elementwise ``minimum`` or ``maximum`` of two operands, at least one of which has values for jets."""
    if not any(hasattr(value, "requires_grad") for value in values):
        return getattr(np, name)(*values)
    import torch

    first = next(value for value in values if isinstance(value, torch.Tensor))
    return getattr(torch, name)(*(torch.as_tensor(value, dtype=first.dtype, device=first.device) for value in values))


class _Evaluation:
    """The value of a discriminant, as `jettagger.discriminants.algebra.evaluate` gives it, for tensors too."""

    def __init__(self, item: Discriminant, found: Resolved, scores: Mapping[str, Any]) -> None:
        self.item, self.found, self.scores = item, found, scores
        self.made: dict[Node, Any] = {}

    def value(self, node: Node) -> Any:
        """The value of a node; each is computed once."""
        if node not in self.made:
            self.made[node] = self._compute(node)
        return self.made[node]

    def _compute(self, node: Node) -> Any:
        if isinstance(node, Number):
            return node.value
        if isinstance(node, Score):
            return self.scores[node.name]
        if isinstance(node, Parameter):
            return self.item.parameters[node.name]
        if isinstance(node, Sum):
            first, *others = self.found.members[node]
            total = self.scores[first]
            for name in others:
                total = total + self.scores[name]
            return total
        if isinstance(node, Negative):
            return -self.value(node.operand)
        if isinstance(node, Call):
            return self._call(node)
        assert isinstance(node, Chain)
        total = self.value(node.first)
        for symbol, following in node.rest:
            other = self.value(following)
            if symbol == "+":
                total = total + other
            elif symbol == "-":
                total = total - other
            elif symbol == "*":
                total = total * other
            else:
                total = self._divide(total, other)
        return total

    def _divide(self, upper: Any, lower: Any) -> Any:
        if isinstance(lower, float):
            return upper / lower if lower else upper * 0 + self.item.zero
        empty = lower == 0
        if isinstance(lower, np.ndarray):
            return np.where(empty, self.item.zero, upper / np.where(empty, 1, lower))
        return (upper / lower.masked_fill(empty, 1.0)).masked_fill(empty, self.item.zero)

    def _call(self, node: Call) -> Any:
        values = [self.value(argument) for argument in node.arguments]
        if all(isinstance(value, float) for value in values):
            values = [np.float64(value) for value in values]
        name = node.function
        if name == "log":
            return _floored_log(values[0])
        if name == "log_ratio":
            return _floored_log(values[0]) - _floored_log(values[1])
        if name in ("min", "max"):
            return _extreme(values, f"{name}imum")
        library = np if isinstance(values[0], (np.ndarray, np.floating)) else values[0]
        return getattr(library, name)(*(values if library is np else ()))


def _floored_log(value: Any) -> Any:
    return np.log(max(value, LOG_FLOOR)) if isinstance(value, (float, np.floating)) else _log(value, LOG_FLOOR)


guard(globals())
