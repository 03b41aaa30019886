"""Common subexpressions are computed once: shapes, and nodes with the same inputs."""

from __future__ import annotations

from typing import Any

from jettagger.sessions.rewriting.network import Net, content_of, graphs_of, replace_all

__all__ = ["merge_equal", "merge_shapes"]


def merge_shapes(net: Net) -> None:
    """Compute what depends on shapes once; values that are the same for all probes become constants."""
    first: dict[tuple[Any, ...], str] = {}
    new: dict[str, str] = {}
    for node in net.nodes:
        for name in node.output:
            if name not in net.values:
                continue
            key = content_of(net.values[name])
            if key not in first:
                same = len(key) > 1 and len(set(key)) == 1
                first[key] = net.constant(net.values[name][0]) if same else name
            if first[key] != name:
                new[name] = first[key]
    replace_all(net, new)


def merge_equal(net: Net) -> None:
    """Merge equal nodes with equal inputs."""
    contents: dict[tuple[Any, ...], str] = {}
    new = {}
    for name, value in net.constants.items():
        key = content_of([value])
        if contents.setdefault(key, name) != name:
            new[name] = contents[key]
    seen: dict[tuple[Any, ...], Any] = {}
    for node in net.nodes:
        if graphs_of(node):
            continue
        attributes = sorted(item.SerializeToString() for item in node.attribute)
        key = (node.op_type, node.domain, *attributes, *(new.get(name, name) for name in node.input))
        twin = seen.setdefault(key, node)
        if twin is not node and list(map(bool, twin.output)) == list(map(bool, node.output)):  # omitted outputs are ""
            new.update((old, kept) for old, kept in zip(node.output, twin.output, strict=True) if old)
    replace_all(net, new)
