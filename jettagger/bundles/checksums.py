"""Checksums of model files that the card does not declare: later changes of a file are detected.

``checksums.json`` in the folder, written by ``jettagger models add``, is binding. For other folders the checksums at
first reading are recorded in the user's cache; a difference is a warning until it is accepted.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from jettagger.bundles.places import cache_folder
from jettagger.errors import BundleError, JettaggerError, OutputError
from jettagger.files import complete_or_absent, refuse_inputs
from jettagger.files.jsonfile import read_object

__all__ = ["CHECKSUMS", "compare", "declare", "record"]

CHECKSUMS = "checksums.json"


def compare(folder: Path, found: Mapping[str, str]) -> None:
    """Compare files with their recorded checksums.

    Parameters
    ----------
    folder : pathlib.Path
        Folder of the model, without symbolic links.
    found : mapping of str to str
        Name of a file in the folder -> its SHA-256.

    Raises
    ------
    BundleError
        If ``checksums.json`` in the folder has other checksums, lacks one, or is not readable.

    Warns
    -----
    RuntimeWarning
        If the user's cache has other checksums.
    """
    declared = (folder / CHECKSUMS).exists()
    expected = _declared(folder) if declared else _remembered(folder)
    accept = f"'jettagger models accept {folder}'"
    if declared and (without := sorted(set(found) - set(expected))):
        raise BundleError(f"{folder / CHECKSUMS} has no SHA-256 of {', '.join(without)}: {accept} records it")
    for name, new in sorted(found.items()):
        old = expected.get(name, new)
        if old == new:
            continue
        was = f"expected {old[:12]}..., got {new[:12]}..."
        if declared:
            raise BundleError(
                f"{folder / name} does not have the SHA-256 in {CHECKSUMS}: {was}. It is damaged or was replaced: get "
                f"a new copy, or run {accept}"
            )
        warnings.warn(
            f"{folder / name} has changed since the model was first used (SHA-256: {was}): it is damaged or was "
            f"replaced, and its scores may differ. Get a new copy, or run {accept} to use it as it is",
            RuntimeWarning,
            stacklevel=2,
        )


def record(folder: Path, found: Mapping[str, str], *, accept: bool = False) -> None:
    """Record checksums in the user's cache, if it is writable and the folder has no ``checksums.json``.

    Parameters
    ----------
    folder : pathlib.Path
    found : mapping of str to str
        Name of a file in the folder -> its SHA-256.
    accept : bool
        Whether these replace recorded checksums, also in ``checksums.json``; otherwise only new names are added.

    Raises
    ------
    OutputError
        If accepted checksums cannot be written.
    """
    if (folder / CHECKSUMS).exists():
        if accept:
            declare(folder, found)
        return
    path = _entry(folder)
    if path is None:
        return
    before = _remembered(folder)
    content = dict(found) if accept else {**found, **before}
    if content == before:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, {"folder": str(folder), "sha256": content})
    except (OSError, OutputError) as error:
        if accept:
            raise OutputError(f"cannot store the checksums of {folder} in {path}: {error}") from error


def declare(folder: Path, found: Mapping[str, str]) -> None:
    """Write ``checksums.json``.

    Parameters
    ----------
    folder : pathlib.Path
    found : mapping of str to str
        Name of a file in the folder -> its SHA-256.

    Raises
    ------
    OutputError
        If it cannot be written, or is a link to another file of the folder.
    """
    refuse_inputs(folder / CHECKSUMS, [path for path in folder.iterdir() if path.name != CHECKSUMS])
    _write(folder / CHECKSUMS, {"sha256": dict(found)})


def _write(path: Path, content: Mapping[str, object]) -> None:
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=True)
    with complete_or_absent(path) as part:
        part.write_text(f"{text}\n", encoding="utf-8")


def _declared(folder: Path) -> dict[str, str]:
    return _sums(folder / CHECKSUMS)


def _remembered(folder: Path) -> dict[str, str]:
    """The recorded checksums of a folder; empty if there is no cache, or its entry is damaged."""
    path = _entry(folder)
    if path is not None:
        with suppress(JettaggerError, OSError):
            return _sums(path)
    return {}


def _sums(path: Path) -> dict[str, str]:
    sums = read_object(path, BundleError).get("sha256")
    if not isinstance(sums, dict):
        raise BundleError(f'{path}: expected an object "sha256" with a SHA-256 for each file')
    for name, value in sums.items():
        if not (isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value)):
            raise BundleError(f"{path}: expected a SHA-256 of 64 hexadecimal digits for {name!r}")
    return dict(sums)


def _entry(folder: Path) -> Path | None:
    """The file in the user's cache with the checksums of a folder, if there is a cache."""
    cache = cache_folder()
    key = hashlib.sha256(os.fsencode(folder)).hexdigest()[:32]
    return None if cache is None else cache / "checksums" / f"{key}.json"
