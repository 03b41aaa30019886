"""Score cache on disk; the key of an entry is made from the model and the content of its input columns."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields, replace

import numpy as np

from jettagger.bundles.bundle import Bundle
from jettagger.files.jsonfile import parse_json
from jettagger.inputs.source import Request
from jettagger.report import Report
from jettagger.runtime.codedigest import code_digest
from jettagger.tagging.scores import Scored
from jettagger.types import Array

__all__ = ["block_key", "packed", "unpacked"]


def block_key(bundle: Bundle, backend: str, request: Request) -> str:
    """The key of an entry: code, model, and content of all inputs.

    Events carry no identifier of a slice, so the columns themselves are hashed, before constituents are linked.
    """
    digest = hashlib.sha256(f"scores {code_digest()} {bundle.digest} {backend}".encode())
    for name, values in request.content():
        digest.update(f"{name} {values.dtype.str} {values.shape}".encode())
        digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()


def packed(scored: Scored) -> dict[str, Array]:
    """Scores, float32[jets, columns], and their report as arrays for a `jettagger.files.cache.DiskCache`."""
    report = {item.name: getattr(scored.report, item.name) for item in fields(Report)}
    arrays = {"values": scored.values, "index": scored.index, "partial": scored.partial}
    return {**arrays, "report": np.array(json.dumps(report))}


def unpacked(kept: Mapping[str, Array]) -> Scored:
    """The inverse of `packed`, with the original shapes; all jets are counted as cached."""
    report = Report(**parse_json(str(kept["report"]), "report", kind=dict))
    # nothing ran
    report = replace(report, cached=report.scored, seconds=0.0, requests=0, resent=0, runs_here=0, servers=())
    return Scored(kept["values"], kept["index"], report, kept["partial"])
