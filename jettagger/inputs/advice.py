"""Suggestions of models for an input that lacks columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from jettagger.bundles.bundle import Bundle
from jettagger.formats.naming import Names

__all__ = ["Others", "advice", "nobody"]

#: an input, a model, a collection of jets and names of a production -> other models that can run on this input
Others = Callable[[Any, Bundle, str | None, Names | None], list[str]]


def nobody(offer: Any, bundle: Bundle, jets: str | None, names: Names | None) -> list[str]:
    """No suggestions."""
    return []


def advice(others: Sequence[str]) -> str:
    """A remark on the models that can run on an input.

    Parameters
    ----------
    others : sequence of str

    Returns
    -------
    str

    Examples
    --------
    >>> advice(["Sophon"]), advice([])
    ('models that would run on it: Sophon', 'no known model runs on it')
    """
    return f"models that would run on it: {', '.join(others)}" if others else "no known model runs on it"
