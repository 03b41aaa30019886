"""Columns that heads read in addition to the outputs of their model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from jettagger.formats.base import Offer

__all__ = ["HeadColumns", "columns_of_heads"]


@runtime_checkable
class HeadColumns(Protocol):
    """Interface of a head: the columns of jets and events that it reads."""

    def needs(self, offer: Offer, collection: str = ..., what: str = ...) -> tuple[str, ...]:
        """The columns that it reads; a missing one is an error."""


def columns_of_heads(heads: Iterable[HeadColumns], offer: Offer, collection: str, source: str) -> tuple[str, ...]:
    """The columns that heads read, without repetition; a missing one is an error."""
    return tuple(dict.fromkeys(column for head in heads for column in head.needs(offer, collection, source)))
