"""The layers of a Deep Set as a value: names and shapes of its weights as in the original, without torch.

A Deep Set (Zaheer et al. 2017) applies one network to each constituent of a type, adds up the results over the
constituents of a jet, and gives the sums of all types, with the features of the jet, to a second network, the head.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from jettagger.display import Brief
from jettagger.errors import ConfigError, MismatchError, UnknownName
from jettagger.jec.constructed import GLOBAL

__all__ = [
    "HEAD",
    "Architecture",
    "Dense",
    "EmbeddingTable",
    "Fragment",
    "Layer",
    "Pair",
    "architecture_of",
    "refuse_weights",
]

#: the fragment after the sums
HEAD = "head"

_TYPES = ("mlp", "resnet")


@dataclass(frozen=True)
class Dense(Brief):
    """A dense layer, ``x @ kernel + bias``.

    Parameters
    ----------
    name : str
        As in the original; its weights are ``<name>/kernel:0``, inputs by units, and ``<name>/bias:0``.
    inputs, units : int
    bias : bool
    """

    name: str
    inputs: int
    units: int
    bias: bool = True

    def weights(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Names and shapes of its weights."""
        yield self.kernel, (self.inputs, self.units)
        if self.bias:
            yield self.shift, (self.units,)

    @property
    def kernel(self) -> str:
        """Name of the matrix."""
        return f"{self.name}/kernel:0"

    @property
    def shift(self) -> str:
        """Name of the bias."""
        return f"{self.name}/bias:0"


@dataclass(frozen=True)
class Layer(Brief):
    """A layer of a perceptron: dense, batch normalisation without scale, ReLU, dropout.

    Parameters
    ----------
    dense : Dense
    norm : str
        Name of the normalisation, or empty.
    dropout : float
        Rate.
    """

    dense: Dense
    norm: str = ""
    dropout: float = 0.0

    @property
    def units(self) -> int:
        """Number of outputs."""
        return self.dense.units

    def weights(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Names and shapes of its weights, means and variances included."""
        yield from self.dense.weights()
        if self.norm:
            for name in ("beta", "moving_mean", "moving_variance"):
                yield f"{self.norm}/{name}:0", (self.dense.units,)

    def __str__(self) -> str:
        parts = [f"dense {self.dense.inputs} -> {self.dense.units}", "batch norm" if self.norm else "", "ReLU"]
        parts.append(f"dropout {self.dropout:g}" if self.dropout else "")
        return ", ".join(filter(None, parts))


@dataclass(frozen=True)
class Pair(Brief):
    """Two dense layers with a ReLU between them, a bypass around both that is added, and a ReLU.

    Parameters
    ----------
    first, second : Dense
    bypass : Dense or None
        Without bias; None: the inputs themselves, which have the width of the second layer.
    """

    first: Dense
    second: Dense
    bypass: Dense | None

    @property
    def units(self) -> int:
        """Number of outputs."""
        return self.second.units

    def weights(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Names and shapes of its weights."""
        for dense in (self.first, self.second, self.bypass):
            if dense is not None:
                yield from dense.weights()

    def __str__(self) -> str:
        around = "inputs" if self.bypass is None else f"dense {self.bypass.inputs} -> {self.bypass.units}"
        widths = f"dense {self.first.inputs} -> {self.first.units}, ReLU, dense -> {self.second.units}"
        return f"{widths}, plus {around}, ReLU"


@dataclass(frozen=True)
class EmbeddingTable(Brief):
    """A vector for each allowed value of a categorical feature; that of any other value is zero and is not trained.

    Parameters
    ----------
    feature : str
    rows : int
        Number of allowed values.
    width : int
    """

    feature: str
    rows: int
    width: int

    @property
    def name(self) -> str:
        """Name of its weights."""
        return f"{self.feature}_embedding/embeddings:0"


@dataclass(frozen=True)
class Fragment(Brief):
    """The network of a type of constituents, or the head.

    Parameters
    ----------
    name : str
    numerical : int
        Number of numerical features.
    embeddings : tuple of EmbeddingTable
        In the order of the categorical features.
    sums : int
        Number of sums over constituents that enter, for the head.
    steps : tuple of Layer or Pair
    """

    name: str
    numerical: int
    embeddings: tuple[EmbeddingTable, ...]
    sums: int
    steps: tuple[Layer | Pair, ...]

    @property
    def inputs(self) -> int:
        """Number of inputs of its first layer."""
        return self.numerical + sum(table.width for table in self.embeddings) + self.sums

    @property
    def units(self) -> int:
        """Number of outputs."""
        return self.steps[-1].units if self.steps else self.inputs

    def weights(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Names and shapes of its weights."""
        for table in self.embeddings:
            yield table.name, (table.rows, table.width)
        for step in self.steps:
            yield from step.weights()


@dataclass(frozen=True)
class Architecture(Brief):
    """A Deep Set.

    Parameters
    ----------
    constituents : tuple of Fragment
        In the order of their names, which is that of their sums in the inputs of the head.
    head : Fragment
    output : Dense
    """

    constituents: tuple[Fragment, ...]
    head: Fragment
    output: Dense

    @property
    def weights(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape of all weights; they are called as in the original."""
        fragments = (*self.constituents, self.head)
        named = [pair for fragment in fragments for pair in fragment.weights()]
        return dict([*named, *self.output.weights()])

    @property
    def parameters(self) -> int:
        """Number of weights, with the means and variances of batch normalisation, as the original counts them."""
        return sum(map(prod, self.weights.values()))

    def drawing(self) -> str:
        """The network as text: fragments with their layers, numbers of weights and shapes.

        Returns
        -------
        str
        """
        lines: list[tuple[str, int | None, str]] = []
        for fragment in (*self.constituents, self.head):
            is_head = fragment is self.head
            rows = "jets" if is_head else f"constituents {fragment.name}"
            tables = [f"{table.feature} {table.rows} -> {table.width}" for table in fragment.embeddings]
            sums = [f"{fragment.sums} sums"] if fragment.sums else []
            inputs = ", ".join([f"{fragment.numerical} numerical", *tables, *sums])
            size = sum(table.rows * table.width for table in fragment.embeddings)
            lines.append((f"{fragment.name}: {inputs}", size, f"[{rows}, {fragment.inputs}]"))
            for step in fragment.steps:
                lines.append((f"  {step}", _size(step), f"[{rows}, {step.units}]"))
            if not is_head:
                lines.append(("  sum over constituents", None, f"[jets, {fragment.units}]"))
        output = self.output
        lines.append((f"output: dense {output.inputs} -> {output.units}", _size(output), f"[jets, {output.units}]"))
        left = max(len(text) for text, _, _ in lines)
        right = max(len(shape) for _, _, shape in lines)
        drawn = [
            f"{text.ljust(left)}  {shape.ljust(right)}  {'' if count is None else f'{count:>9,}'}".rstrip()
            for text, count, shape in lines
        ]
        return "\n".join([*drawn, f"{'parameters'.ljust(left)}  {''.ljust(right)}  {self.parameters:>9,}"]) + "\n"


def _size(layer: Dense | Layer | Pair) -> int:
    return sum(prod(shape) for _, shape in layer.weights())


def architecture_of(
    model: Mapping[str, Any],
    numerical: Mapping[str, int],
    categorical: Mapping[str, Mapping[str, int]],
    *,
    outputs: int = 1,
    place: str = "model",
) -> Architecture:
    """The layers that the section ``model`` of a configuration describes.

    Parameters
    ----------
    model : mapping
        Type of constituents -> ``type``, ``num_units``, ``batch_norm``, ``dropout``, ``embeddings``; and ``head``.
    numerical : mapping of str to int
        Block of features, ``global`` included -> number of numerical features.
    categorical : mapping of str to mapping of str to int
        Block of features -> categorical feature -> number of its allowed values, in order.
    outputs : int
        Number of outputs.
    place : str
        Place of the section, for errors.

    Returns
    -------
    Architecture

    Raises
    ------
    ConfigError
        If the head, a type of constituents, an embedding or a number of units is missing, or not as expected.
    UnknownName
        If a type of network, or a feature with an embedding does not exist.

    Examples
    --------
    >>> model = {"head": {"type": "mlp", "num_units": [10, 10, 10], "batch_norm": True}}
    >>> sum(prod(shape) for _, shape in architecture_of(model, {"global": 10}, {}).head.weights())
    390
    """
    sections = {name: section for name, section in model.items() if name != "load_weights"}
    if HEAD not in sections:
        raise ConfigError(f"{place}: there is no 'head', expected a network after the sums over constituents")
    types = sorted(set(sections) - {HEAD})
    blocks = sorted(set(numerical) - {GLOBAL})
    if types != blocks:
        raise ConfigError(
            f"{place} describes constituents of the types {types}, the features are those of {blocks}; expected the "
            "same"
        )
    fragments = tuple(
        _fragment(name, sections[name], numerical[name], categorical.get(name, {}), 0, f"{place}.{name}")
        for name in types
    )
    sums = sum(fragment.units for fragment in fragments)
    head = _fragment(
        HEAD, sections[HEAD], numerical.get(GLOBAL, 0), categorical.get(GLOBAL, {}), sums, f"{place}.{HEAD}"
    )
    return Architecture(fragments, head, Dense("head_dense_output", head.units, outputs))


def _fragment(
    name: str, section: Mapping[str, Any], numerical: int, categorical: Mapping[str, int], sums: int, place: str
) -> Fragment:
    kind = section.get("type")
    if kind not in _TYPES:
        raise UnknownName("type of network", str(kind), _TYPES, place)
    widths = dict(section.get("embeddings") or {})
    missing = [feature for feature in categorical if feature not in widths]
    if missing:
        raise ConfigError(
            f"{place}.embeddings: no embedding of {', '.join(missing)}; expected its number of components, e.g. "
            f"embeddings: {{{missing[0]}: 3}}"
        )
    unknown = [feature for feature in widths if feature not in categorical]
    if unknown:
        raise UnknownName("categorical feature of its block", unknown, list(categorical), f"{place}.embeddings")
    tables = tuple(EmbeddingTable(feature, rows, int(widths[feature])) for feature, rows in categorical.items())
    inputs = numerical + sum(table.width for table in tables) + sums
    units = [int(number) for number in section.get("num_units") or ()]
    if not inputs:
        raise ConfigError(f"{place}: it has no inputs: no numerical and no categorical features")
    if not units and not sums and name != HEAD:
        raise ConfigError(f"{place}.num_units: no layers; expected one or more numbers of units")
    steps = _perceptron(name, section, inputs, units) if kind == "mlp" else _resnet(name, inputs, units)
    return Fragment(name, numerical, tables, sums, tuple(steps))


def _perceptron(name: str, section: Mapping[str, Any], inputs: int, units: Sequence[int]) -> Iterator[Layer]:
    norm, dropout = bool(section.get("batch_norm", False)), float(section.get("dropout") or 0.0)
    for number, width in enumerate(units, start=1):
        dense = Dense(f"{name}_dense_{number}", inputs, width, bias=not norm)
        yield Layer(dense, f"{name}_batch_norm_{number}" if norm else "", dropout)
        inputs = width


def _resnet(name: str, inputs: int, units: Sequence[int]) -> Iterator[Layer | Pair]:
    """Pairs of layers; the last one of an odd number is alone."""
    for number, (first, second) in enumerate(zip(units[::2], units[1::2], strict=False), start=1):
        bypass = None if inputs == second else Dense(f"{name}_projection_{number}", inputs, second, bias=False)
        yield Pair(
            Dense(f"{name}_dense_{number}_1", inputs, first), Dense(f"{name}_dense_{number}_2", first, second), bypass
        )
        inputs = second
    if len(units) % 2:
        yield Layer(Dense(f"{name}_dense_last", inputs, units[-1]))


def refuse_weights(expected: Mapping[str, tuple[int, ...]], given: Mapping[str, tuple[int, ...]], source: str) -> None:
    """Refuse weights of another architecture.

    Parameters
    ----------
    expected, given : mapping of str to tuple of int
        Name -> shape.
    source : str
        Where the weights are from.

    Raises
    ------
    MismatchError
        Names every layer whose weights are missing, left over, or of another shape.
    """
    problems = [f"{name} is missing, expected {shape}" for name, shape in expected.items() if name not in given]
    problems += [f"{name} {given[name]} is not in the network" for name in given if name not in expected]
    problems += [
        f"{name} is {given[name]}, expected {shape}"
        for name, shape in expected.items()
        if name in given and tuple(given[name]) != tuple(shape)
    ]
    if problems:
        raise MismatchError(f"{source} has the weights of another network: {'; '.join(problems)}")
