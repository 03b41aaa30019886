"""Scores kept on disk, under a name made of the model and of the content of what it reads."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import fields, replace

import numpy as np

from jettagger.bundles.bundle import Bundle
from jettagger.bundles.places import cache_folder
from jettagger.files.cache import DiskCache
from jettagger.files.jsonfile import parse_json
from jettagger.inputs.source import Request
from jettagger.report import Report
from jettagger.runtime.codedigest import code_digest
from jettagger.tagging.scores import Scored
from jettagger.types import Array

__all__ = ["block_key", "open_score_cache", "packed", "unpacked"]

#: bytes of scores that are kept in the user's cache folder
SCORE_LIMIT = 5_000_000_000


def open_score_cache(cache: bool | str | os.PathLike[str] | DiskCache | tuple[str, int] | None) -> DiskCache | None:
    """The cache that a tagger was asked to use."""
    if cache is None or cache is False:
        return None
    if isinstance(cache, DiskCache):
        return cache
    if isinstance(cache, tuple):
        return DiskCache(*cache)
    if cache is not True:
        return DiskCache(cache, SCORE_LIMIT)
    folder = cache_folder()
    return None if folder is None else DiskCache(folder / "scores", SCORE_LIMIT)


def block_key(bundle: Bundle, backend: str, request: Request) -> str:
    """A name for what comes out: the code, the model, and the content of all that goes in.

    Events carry no name that identifies a slice of them, so the columns themselves are hashed, before they are linked.
    """
    digest = hashlib.sha256(f"scores {code_digest()} {bundle.digest} {backend}".encode())
    for name, values in request.content():
        digest.update(f"{name} {values.dtype.str} {values.shape}".encode())
        digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()


def packed(scored: Scored) -> dict[str, Array]:
    """Scores, float32[jets, columns], and their report as arrays that a `jettagger.files.cache.DiskCache` keeps."""
    report = {item.name: getattr(scored.report, item.name) for item in fields(Report)}
    arrays = {"values": scored.values, "index": scored.index, "partial": scored.partial}
    return {**arrays, "report": np.array(json.dumps(report))}


def unpacked(kept: Mapping[str, Array]) -> Scored:
    """What `packed` made, in its shapes, with all jets counted as found in the cache."""
    report = Report(**parse_json(str(kept["report"]), "report", kind=dict))
    return Scored(kept["values"], kept["index"], replace(report, cached=report.scored, seconds=0.0), kept["partial"])
