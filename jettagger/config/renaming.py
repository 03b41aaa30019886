"""Former names of keys in configuration files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from jettagger.config.yamlfile import Document
from jettagger.errors import ConfigError

__all__ = ["rename_keys"]


def rename_keys(
    document: Document, names: Mapping[tuple[str, ...], str | tuple[str, ...]]
) -> tuple[Document, list[str]]:
    """Replace former names of keys, or former places, by the current ones.

    Parameters
    ----------
    document : Document
    names : mapping
        Path of a key with its former name -> new name in the same mapping, or new path in another one.

    Returns
    -------
    document : Document
    notes : list of str
        One line for each former name, with its place.

    Raises
    ------
    ConfigError
        If a key is present with both names.

    Examples
    --------
    >>> from jettagger.config.yamlfile import read_yaml
    >>> document, notes = rename_keys(read_yaml("jets: {pick: pt}", "example"), {("jets", "pick"): "select_by"})
    >>> document.data, notes
    ({'jets': {'select_by': 'pt'}}, ["example, line 1: 'pick' is now called 'select_by'"])
    """
    notes = []
    for path, new in names.items():
        *front, old = path
        content: Any = document.data
        for part in front:
            content = content.get(part) if isinstance(content, Mapping) else None
        if not isinstance(content, Mapping) or old not in content:
            continue
        place = document.where(*path)
        target = (*front, new) if isinstance(new, str) else new
        text = repr(target[-1] if isinstance(new, str) else ".".join(new))
        if _has_key(document.data, target):
            raise ConfigError(f"{place}: {old!r} is the old name of {text}, which is given as well")
        notes.append(f"{place}: {old!r} is now called {text}")
        lines = {
            (*target, *key[len(path) :]) if key[: len(path)] == path else key: line
            for key, line in document.lines.items()
        }
        for depth in range(1, len(target)):  # mappings that are made for it are where it was
            lines.setdefault(target[:depth], document.lines.get(path, 1))
        if isinstance(new, str):
            data = _with_key(document.data, path, new)
        else:
            data = _with_value(_without_key(document.data, path), target, content[old])
        document = replace(document, data=data, lines=lines)
    return document, notes


def _has_key(content: Any, path: tuple[str, ...]) -> bool:
    """Whether a key exists, or a parent that is not a mapping."""
    for part in path:
        if not isinstance(content, Mapping):
            return content is not None
        if part not in content:
            return False
        content = content[part]
    return True


def _with_key(content: Mapping[str, Any], path: tuple[str, ...], new: str) -> dict[str, Any]:
    first, *rest = path
    if rest:
        return {**content, first: _with_key(content[first], tuple(rest), new)}
    return {new if key == first else key: value for key, value in content.items()}


def _without_key(content: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    first, *rest = path
    if rest:
        return {**content, first: _without_key(content[first], tuple(rest))}
    return {key: value for key, value in content.items() if key != first}


def _with_value(content: Mapping[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    first, *rest = path
    inner = _with_value(content.get(first) or {}, tuple(rest), value) if rest else value
    return {**content, first: inner}
