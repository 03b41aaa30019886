"""Networks of trainings as assigners: exported to ONNX once, into the user's cache."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path

from jettagger.arguments import guard
from jettagger.assignment.card import CARD
from jettagger.assignment.ensembles import NETWORK_FILE, network_files
from jettagger.bundles.places import cache_folder
from jettagger.errors import OutputError
from jettagger.runtime.codedigest import code_digest
from jettagger.sessions.graph import file_sha256
from jettagger.topology.mapping import MAPPING_FILE

__all__ = ["exported_folder", "holds_network"]


def holds_network(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a network file of torch, or the folder of a training, and no assigner.

    Parameters
    ----------
    path : path

    Returns
    -------
    bool
    """
    try:
        place = Path(path).expanduser()
        if place.is_dir():
            graph = (place / CARD).exists() or any(place.glob("*.onnx"))
            return not graph and ((place / NETWORK_FILE).exists() or any(place.glob("network_*.pt")))
        return place.is_file() and place.suffix == Path(NETWORK_FILE).suffix
    except (OSError, RuntimeError, ValueError):  # a name too long, an unknown user, a zero byte
        return False


def exported_folder(path: str | os.PathLike[str]) -> Path:
    """The assigner of a network file or training, made at the first call.

    Parameters
    ----------
    path : path
        As of `jettagger.assignment.ensembles.read_model`; a folder may have a mapping, ``inputs.yaml``.

    Returns
    -------
    pathlib.Path
        A folder in ``assigners`` of the user's cache, under the digest of networks, mapping and code.

    Raises
    ------
    InputFileError, MismatchError
        As of `jettagger.assignment.export_model`.
    OutputError
        If there is no cache (``JETTAGGER_CACHE=off``), or it cannot be written.
    MissingExtra
        If torch is not installed.
    """
    from jettagger.assignment.model_export import export_model

    place = Path(path).expanduser().resolve()
    files = network_files(place)
    mapping = place / MAPPING_FILE if (place / MAPPING_FILE).is_file() else None
    said = [code_digest(), _name(place), *(file_sha256(file) for file in (*files, *([mapping] if mapping else [])))]
    cache = cache_folder()
    if cache is None:
        raise OutputError(
            f"{place} is a network of torch, whose ONNX file is kept in the cache, which is off: set "
            "$JETTAGGER_CACHE to a folder, or export it with 'jettagger assignment export'"
        )
    folder = cache / "assigners" / hashlib.sha256(json.dumps(said).encode()).hexdigest()[:32]
    if (folder / CARD).is_file():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror or error}") from error
    try:
        export_model(place, folder, mapping=mapping, name=_name(place))
    except OutputError:
        if not (folder / CARD).is_file():  # not made by another process in the meantime
            raise
    return folder


def _name(place: Path) -> str:
    """The name of a network from that of its file or folder."""
    return re.sub(r"[^A-Za-z0-9_.+-]", "_", place.stem).lstrip("_.+-")[:200] or "network"


guard(globals())
