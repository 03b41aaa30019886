"""How a model is applied, as one value that every front door takes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from jettagger.arguments import guard
from jettagger.files.cache import DiskCache
from jettagger.formats.naming import Names
from jettagger.inputs.flat_tables import Outside

__all__ = ["TaggerOptions"]


@dataclass(frozen=True)
class TaggerOptions:
    """Options of a tagger; what is not said has the default of `jettagger.Tagger`.

    Parameters
    ----------
    threads, provider, backend, cache, jets, outside, min_pt_share, names
        As for `jettagger.load_tagger`.
    heads : sequence of path
        Folders of heads that run in the same pass.

    Examples
    --------
    >>> TaggerOptions(backend="onnxruntime").merged(threads=2).to_keywords()
    {'threads': 2, 'backend': 'onnxruntime'}
    """

    threads: int | None = None
    provider: str | None = None
    backend: str = "fast"
    cache: bool | str | os.PathLike[str] | DiskCache | tuple[str, int] | None = None
    jets: str | None = None
    outside: Outside = "score"
    min_pt_share: float | None = None
    names: Names | None = None
    heads: tuple[str | os.PathLike[str], ...] = ()

    def __post_init__(self) -> None:
        heads = (self.heads,) if isinstance(self.heads, (str, os.PathLike)) else self.heads
        object.__setattr__(self, "heads", tuple(heads))

    def merged(self, **keywords: Any) -> TaggerOptions:
        """These options with others in their place; those that have their default say nothing.

        Parameters
        ----------
        **keywords
            Options by name.

        Returns
        -------
        TaggerOptions
        """
        given = {item.name: item.default for item in fields(self)}
        return replace(self, **{name: value for name, value in keywords.items() if value != given[name]})

    def to_keywords(self) -> Mapping[str, Any]:
        """Those that are not at their default, by name."""
        found = {item.name: getattr(self, item.name) for item in fields(self)}
        return {item.name: found[item.name] for item in fields(self) if found[item.name] != item.default}


guard(globals(), "TaggerOptions")
