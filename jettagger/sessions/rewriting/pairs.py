"""Symmetric features of pairs of particles, computed for one half of the pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jettagger.sessions.rewriting.network import Net, Shape, attributes_of, rename_input

__all__ = ["halve_pairs"]

#: element-wise operators
PLAIN = frozenset(
    (
        *("Abs", "Add", "And", "Atan", "Cast", "Ceil", "Clip", "Cos", "Div", "Equal", "Erf", "Exp", "Floor", "Gelu"),
        *("Greater", "GreaterOrEqual", "Identity", "LeakyRelu", "Less", "LessOrEqual", "Log", "Max", "Min", "Mod"),
        *("Mul", "Neg", "Not", "Or", "Pow", "Reciprocal", "Relu", "Sigmoid", "Sign", "Sin", "Sqrt", "Sub", "Tanh"),
        "Where",
    )
)


def halve_pairs(net: Net) -> None:
    """Compute features of pairs for one half of the pairs, and copy them to the other at the end."""
    for source in dict.fromkeys(node.input[0] for node in net.nodes if node.op_type == "Unsqueeze"):
        if net.rank(source) == 3 and len({shape[-1] for shape in net.shapes[source]}) > 1:
            region = _Pairs(net, source)
            if region.worthwhile:
                region.halve()


def _axes(net: Net, node: Any) -> list[int] | None:
    if len(node.input) > 1:
        value = net.constants.get(node.input[1])
        return None if value is None else [int(item) for item in value.ravel()]
    return list(attributes_of(node).get("axes", [])) or None


class _Pairs:
    """The part of a graph that works on all pairs of a jet's particles, made by broadcasting rows with columns.

    Tensors in it are ``row`` [.., particles, 1], ``column`` [.., 1, particles], ``pair`` [.., particles, particles] or
    ``flat`` [.., particles²].
    """

    def __init__(self, net: Net, source: str) -> None:
        self.net = net
        self.source = source
        self.kinds: dict[str, str] = {}
        self.inside: list[Any] = []
        lengths = [shape[-1] for shape in net.shapes[source]]
        for node in net.nodes:
            if node.op_type == "Unsqueeze" and node.input[0] == source:
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
        elif node.op_type == "BatchNormalization":
            taken = kind == "flat" and given == {"flat"}
        elif node.op_type == "Conv":
            attributes = attributes_of(node)
            alone = all(value == 1 for name in ("kernel_shape", "strides") for value in attributes.get(name, []))
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

    def halve(self) -> None:
        """Write it anew for the pairs (i, j) with j not above i."""
        net = self.net
        users = net.users()
        inside = {id(node) for node in self.inside}
        first, second, spread = self._tables()
        new: dict[str, str] = {}

        makers = net.makers()

        def half(name: str) -> str:
            kind = self.kinds.get(name)
            if kind not in ("row", "column") or name in new:
                return new.get(name, name)
            maker = makers[name]
            if maker.op_type in ("Split", "Slice"):  # gathered together, cut afterwards
                inputs = [half(maker.input[0]), *maker.input[1:]]
                new.update(zip(maker.output, self._add(maker, inputs, attributes_of(maker)), strict=True))
                return new[name]
            flat = net.add("Reshape", [name, net.constant(np.array([0, 0, -1]))])
            gathered = self._gathered(flat, first if kind == "row" else second)
            new[name] = net.add("Reshape", [gathered, net.constant(np.array([0, 0, 1, -1]))])
            return new[name]

        for node in self.inside:
            inputs = [half(name) for name in node.input]
            if node.op_type == "Reshape":
                inputs[1] = net.constant(np.array([0, 0, -1]))
            attributes = attributes_of(node)
            for name, output in zip(node.output, self._add(node, inputs, attributes), strict=True):
                new[name] = output
        for node in self.inside:
            for name in node.output:
                leaving = [user for user in users.get(name, []) if id(user) not in inside]
                if not leaving and name not in net.outputs:
                    continue
                if self.kinds[name] == "pair":
                    half_flat = net.add("Reshape", [new[name], net.constant(np.array([0, 0, -1]))])
                else:
                    half_flat = new[name]
                whole = self._gathered(half_flat, spread)
                if self.kinds[name] == "pair":
                    whole = net.add("Reshape", [whole, net.add("Shape", [name])])
                for user in leaving:
                    rename_input(user, name, whole)
        net.changed = True

    def _add(self, node: Any, inputs: list[str], attributes: Mapping[str, Any]) -> list[str]:
        name = self.net.add(node.op_type, inputs, node.domain, **attributes)
        made = self.net.nodes[-1]
        outputs = [name, *(f"{name}_{place}" for place in range(1, len(node.output)))]
        del made.output[:]
        made.output.extend(outputs)
        return outputs

    def _gathered(self, name: str, places: str) -> str:
        """Entries of the last axis of three; channels are moved together, which is faster than one by one."""
        rows = self.net.add("Transpose", [name], perm=[0, 2, 1])
        return self.net.add("Transpose", [self.net.add("Gather", [rows, places], axis=1)], perm=[0, 2, 1])

    def _tables(self) -> tuple[str, str, str]:
        """For each pair of one half its two particles; for each of all pairs its place in the half."""
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
        return first, second, spread
