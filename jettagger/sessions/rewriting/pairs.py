"""Symmetric features of pairs of particles, computed for one half of the pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from jettagger.sessions.rewriting.network import Net, Shape, attributes_of, rename_input
from jettagger.sessions.rewriting.products import standard_of

__all__ = ["PARTS", "halve_pairs"]

#: number of parts that the pairs are split into on CPUs: one part of a batch with 20,000 pairs fits the cache of a core
PARTS = 8

#: element-wise operators
PLAIN = frozenset(
    (
        *("Abs", "Add", "And", "Atan", "Cast", "Ceil", "Clip", "Cos", "Div", "Equal", "Erf", "Exp", "Floor", "Gelu"),
        *("Greater", "GreaterOrEqual", "Identity", "LeakyRelu", "Less", "LessOrEqual", "Log", "Max", "Min", "Mod"),
        *("Mul", "Neg", "Not", "Or", "Pow", "Reciprocal", "Relu", "Sigmoid", "Sign", "Sin", "Sqrt", "Sub", "Tanh"),
        "Where",
    )
)


def halve_pairs(net: Net, parts: int = PARTS) -> None:
    """Compute features of pairs for one half of the pairs, in some parts, and copy them to the other at the end."""
    sources: dict[tuple[Shape, ...], dict[str, None]] = {}
    for name in (node.input[0] for node in net.nodes if node.op_type == "Unsqueeze"):
        if net.rank(name) == 3 and len({shape[-1] for shape in net.shapes[name]}) > 1:
            sources.setdefault(tuple((shape[0], shape[2]) for shape in net.shapes[name]), {})[name] = None
    for names in sources.values():
        region = _Pairs(net, list(names))
        if region.worthwhile:
            region.halve(parts)


def _axes(net: Net, node: Any) -> list[int] | None:
    if len(node.input) > 1:
        value = net.constants.get(node.input[1])
        return None if value is None else [int(item) for item in value.ravel()]
    return list(attributes_of(node).get("axes", [])) or None


def _list(attributes: Mapping[str, Any], name: str) -> list[int]:
    """Numbers of an attribute with one or several."""
    return [int(value) for value in np.ravel(attributes.get(name, []))]


def _turned(net: Net, name: str) -> str:
    """A transposed matrix."""
    return net.add("Transpose", [name], perm=[1, 0])


def _gathered(net: Net, name: str, places: str) -> str:
    """Rows of a matrix, as columns; entries of all jets are copied together, which is faster than one by one."""
    return _turned(net, net.add("Gather", [name, places], axis=0))


class _Pairs:
    """The part of a graph that works on all pairs of a jet's particles, made by broadcasting rows with columns.

    Tensors in it are ``row`` [jets, .., particles, 1], ``column`` [jets, .., 1, particles], ``pair`` [jets, ..,
    particles, particles] or ``flat`` [jets, .., particles²]. For one half of the pairs, the latter are matrices with a
    row per pair and jet, which is fastest for products.
    """

    def __init__(self, net: Net, sources: Sequence[str]) -> None:
        self.net = net
        self.source = sources[0]
        self.kinds: dict[str, str] = {}
        self.inside: list[Any] = []
        lengths = [shape[-1] for shape in net.shapes[self.source]]
        for node in net.nodes:
            if node.op_type == "Unsqueeze" and node.input[0] in sources:
                self._start(node)
            elif any(name in self.kinds for name in node.input):
                self._follow(node, lengths)

    def _start(self, node: Any) -> None:
        axes = _axes(self.net, node)
        kind = {-1: "row", 3: "row", -2: "column", 2: "column"}.get(axes[0] if axes and len(axes) == 1 else 0)
        if kind:
            self.kinds[node.output[0]] = kind

    def _follow(self, node: Any, lengths: list[int]) -> None:
        """Take a node in if it treats each pair alone."""
        outputs = [name for name in node.output if name]
        kinds = {self._kind(self.net.shapes.get(name, ()), lengths) for name in outputs}
        data = node.input[:1] if node.op_type == "Reshape" else node.input
        others = [name for name in data if name and name not in self.kinds]
        given = {self.kinds[name] for name in node.input if name in self.kinds}
        if len(kinds) != 1 or None in kinds or not all(name in self.net.constants for name in others):
            return
        kind = kinds.pop() or ""
        constant = all(self.net.constants[name].size == 1 for name in others)
        if node.op_type in PLAIN:
            taken = constant and (kind != "flat" or given == {"flat"})
        elif node.op_type in ("Concat", "Split", "Slice", "ReduceSum"):
            taken = given == {kind} and kind != "flat" and self._along_channels(node)
        elif node.op_type == "Reshape":
            taken = kind == "flat" and given == {"pair"}
        elif node.op_type == "Transpose":
            turned = attributes_of(node).get("perm") == [0, 1, 3, 2]
            taken = turned and (*given, kind) in (("row", "column"), ("column", "row"))
        elif node.op_type == "BatchNormalization":
            taken = kind == "flat" and given == {"flat"}
        elif node.op_type == "Conv":
            attributes = attributes_of(node)
            alone = all(
                value == 1 for name in ("kernel_shape", "strides", "group") for value in _list(attributes, name)
            )
            taken = kind == "flat" and given == {"flat"} and alone and not any(attributes.get("pads", []))
        else:
            taken = False
        if taken:
            self.kinds.update(dict.fromkeys(outputs, kind))
            if kind in ("pair", "flat"):
                self.inside.append(node)

    def _along_channels(self, node: Any) -> bool:
        if node.op_type == "Slice":
            found = self.net.constants.get(node.input[3]) if len(node.input) > 3 else None
            return found is not None and [int(item) for item in found] == [1]
        if node.op_type == "ReduceSum":
            return _axes(self.net, node) == [1]
        return attributes_of(node).get("axis", 0) == 1

    @staticmethod
    def _kind(shapes: Sequence[Shape], lengths: Sequence[int]) -> str | None:
        def all_end_in(*ends: Callable[[int], int]) -> bool:
            return len(shapes) == len(lengths) and all(
                shape[len(shape) - len(ends) :] == tuple(end(length) for end in ends)
                for shape, length in zip(shapes, lengths, strict=True)
            )

        def one(_: int) -> int:
            return 1

        def full(length: int) -> int:
            return length

        ranks = {len(shape) for shape in shapes}
        if ranks == {4}:
            for kind, ends in (("pair", (full, full)), ("row", (full, one)), ("column", (one, full))):
                if all_end_in(*ends):
                    return kind
        return "flat" if ranks == {3} and all_end_in(lambda length: length * length) else None

    @property
    def worthwhile(self) -> bool:
        """Whether there are products with matrices in it."""
        return any(node.op_type == "Conv" for node in self.inside)

    def halve(self, parts: int) -> None:
        """Replace it by one for the pairs (i, j) with j not above i."""
        net = self.net
        users = net.users()
        inside = {id(node) for node in self.inside}
        length, first, second, spread = self._tables()
        pairs = net.add("Shape", [first])
        together = net.add("Concat", [pairs, net.constant(np.array([-1]))], axis=0)
        new: dict[str, str] = {}
        makers = net.makers()
        leaving = [
            name
            for name in (name for node in self.inside for name in node.output)
            if name in net.outputs or any(id(user) not in inside for user in users.get(name, []))
        ]

        def half(name: str) -> str:
            kind = self.kinds.get(name)
            if kind not in ("row", "column") or name in new:
                return new.get(name, name)
            maker = makers[name]
            if maker.op_type in ("Split", "Slice"):  # gathered together, cut afterwards
                inputs = [half(maker.input[0]), *maker.input[1:]]
                new.update(zip(maker.output, self._add(maker, inputs, attributes_of(maker)), strict=True))
                return new[name]
            flat = net.add("Flatten", [name], axis=2)
            gathered = _gathered(net, _turned(net, flat), first if kind == "row" else second)
            shape = net.add("Concat", [net.constant(np.array([-1, self._channels(name), 1])), pairs], axis=0)
            new[name] = net.add("Reshape", [gathered, shape])
            return new[name]

        flat = [node for node in self.inside if self.kinds[node.output[0]] == "flat"]
        for node in self.inside:
            if self.kinds[node.output[0]] == "pair":
                made = self._add(node, [half(name) for name in node.input], attributes_of(node))
                new.update(zip(node.output, made, strict=True))
        rows = {name: self._rows(name, new[name]) for name in leaving if self.kinds[name] == "pair"}
        starts = {
            node.output[0]: self._rows(node.output[0], new[node.input[0]]) for node in flat if node.op_type == "Reshape"
        }
        rows |= self._products([node for node in flat if node.op_type != "Reshape"], starts, leaving, parts)
        for name, matrix in rows.items():
            whole = _gathered(net, net.add("Reshape", [matrix, together]), spread)
            lengths = [length, length] if self.kinds[name] == "pair" else [net.add("Shape", [spread])]
            shape = net.add("Concat", [net.constant(np.array([-1, self._channels(name)])), *lengths], axis=0)
            whole = net.add("Reshape", [whole, shape])
            for user in users.get(name, []):
                if id(user) not in inside:
                    rename_input(user, name, whole)
        net.changed = True

    def _products(
        self, nodes: Sequence[Any], sources: Mapping[str, str], wanted: Sequence[str], parts: int
    ) -> dict[str, str]:
        """The flat part of the graph, one part of the rows after another."""
        net = self.net
        ends = [net.constant(np.array([value])) for value in (0, 1)]
        count = net.add("Slice", [net.add("Shape", [next(iter(sources.values()))]), *ends])
        bounds = net.add("Mul", [count, net.constant(np.arange(parts + 1))])
        bounds = net.add("Div", [bounds, net.constant(np.array(parts))])
        places = [net.add("Gather", [bounds, net.constant(np.array([place]))], axis=0) for place in range(parts + 1)]
        pieces: dict[str, list[str]] = {name: [] for name in wanted if self.kinds[name] == "flat"}
        for span in pairwise(places):
            part = {name: net.add("Slice", [matrix, *span, ends[0]]) for name, matrix in sources.items()}
            for node in nodes:
                part.update(self._of_rows(node, [part.get(name, name) for name in node.input]))
            for name, found in pieces.items():
                found.append(part[name])
        return {name: net.add("Concat", found, axis=0) for name, found in pieces.items()}

    def _channels(self, name: str) -> int:
        return self.net.shapes[name][0][1]

    def _rows(self, name: str, half: str) -> str:
        """A matrix with a row per pair and jet, from a tensor of the graph for one half, [jets, channels, 1, pairs]."""
        turned = _turned(self.net, self.net.add("Flatten", [half], axis=2))
        return self.net.add("Reshape", [turned, self.net.constant(np.array([-1, self._channels(name)]))])

    def _of_rows(self, node: Any, inputs: list[str]) -> dict[str, str]:
        """A node of the flat part for a part of the rows."""
        net = self.net
        attributes = attributes_of(node)
        if node.op_type == "Conv":
            matrix = net.constants[inputs[1]][..., 0].T
            bias = net.constants[inputs[2]] if len(inputs) > 2 else np.zeros(matrix.shape[1], dtype=matrix.dtype)
            made = [net.add("Gemm", [inputs[0], net.constant(matrix), net.constant(bias)])]
        elif node.op_type == "BatchNormalization":
            factor, summand = standard_of(net, inputs, attributes)
            made = [net.add("Add", [net.add("Mul", [inputs[0], net.constant(factor)]), net.constant(summand)])]
        else:
            made = self._add(node, inputs, attributes)
        return dict(zip(node.output, made, strict=True))

    def _add(self, node: Any, inputs: list[str], attributes: Mapping[str, Any]) -> list[str]:
        name = self.net.add(node.op_type, inputs, node.domain, **attributes)
        made = self.net.nodes[-1]
        outputs = [name, *(f"{name}_{place}" for place in range(1, len(node.output)))]
        del made.output[:]
        made.output.extend(outputs)
        return outputs

    def _tables(self) -> tuple[str, str, str, str]:
        """The length; for each pair of one half its two particles; for each of all pairs its place in the half."""
        net = self.net
        shape = net.add("Shape", [self.source])
        length = net.add("Gather", [shape, net.constant(np.array(2))], axis=0)
        numbers = net.add("Range", [net.constant(np.array(0)), length, net.constant(np.array(1))])
        down = net.add("Reshape", [numbers, net.constant(np.array([-1, 1]))])
        across = net.add("Reshape", [numbers, net.constant(np.array([1, -1]))])
        lower = net.add("Not", [net.add("Less", [down, across])])
        places = net.add("NonZero", [lower])
        first, second = (net.add("Gather", [places, net.constant(np.array(row))], axis=0) for row in (0, 1))
        above = net.add("Less", [down, across])
        high = net.add("Where", [above, across, down])
        low = net.add("Where", [above, down, across])
        following = net.add("Add", [high, net.constant(np.array(1))])
        triangle = net.add("Div", [net.add("Mul", [high, following]), net.constant(np.array(2))])
        spread = net.add("Reshape", [net.add("Add", [triangle, low]), net.constant(np.array([-1]))])
        return net.add("Reshape", [length, net.constant(np.array([1]))]), first, second, spread
