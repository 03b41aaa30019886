"""Digest of the code: scores and measurements stored on disk belong to one state of it.

The version does not change between commits, and manually maintained numbers are forgotten. All modules are included
except those that no score depends on, so that new modules are included by default.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import PurePosixPath
from typing import Any

__all__ = ["PASSED_OVER", "code_digest", "digest_of"]

#: packages and modules on which no input, batch, network or score depends
PASSED_OVER = frozenset(
    {
        "__main__",
        "_checkout",
        "calibration",
        "cli",
        "decorrelation",
        "discriminants",
        "finetuning",
        "histograms",
        "jec",
        "models",
        "plots",
        "processors",
        "provenance",
        "search",
        "simulation",
        "skims",
        "statistics",
        "studies",
        "testing",
        "training",
    }
)


@cache
def code_digest() -> str:
    """SHA-256 of the code that scores and measurements of networks depend on; computed once per process.

    Returns
    -------
    str
        Hexadecimal. Equal wherever the same code is installed: as files, in a zip archive, with other line endings.
    """
    return digest_of(files("jettagger"))


def digest_of(package: Any) -> str:
    """SHA-256 of the sources of a package except `PASSED_OVER`; of compiled modules if there are no sources.

    Parameters
    ----------
    package : path, or another traversable of `importlib.resources`

    Returns
    -------
    str
    """
    digest = hashlib.sha256()
    for name, content in sorted(_modules(package, "")):
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _modules(folder: Any, place: str) -> Iterator[tuple[str, bytes]]:
    """Name and content of each module below a folder, line endings as on Unix."""
    entries = {entry.name: entry for entry in folder.iterdir()}
    for name, entry in entries.items():
        stem, suffix = PurePosixPath(name).stem, PurePosixPath(name).suffix
        if not place and stem in PASSED_OVER:
            continue
        if suffix == ".py":
            yield place + stem, entry.read_bytes().replace(b"\r\n", b"\n")
        elif suffix == ".pyc" and f"{stem}.py" not in entries:
            yield place + stem, entry.read_bytes()
        elif not suffix and name != "__pycache__" and entry.is_dir():
            yield from _modules(entry, f"{place}{name}/")
