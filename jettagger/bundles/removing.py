"""Removal of models that ``jettagger models add`` copied into the user's folder."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from jettagger.arguments import guard
from jettagger.bundles.checksums import CHECKSUMS
from jettagger.bundles.folder import is_bundle
from jettagger.bundles.places import ENVIRONMENT, PACKAGE, user_folder
from jettagger.bundles.registry import available
from jettagger.display import Brief
from jettagger.errors import LONGEST_NAME, BundleError, OutputError, UnknownName, visible
from jettagger.files.parts import forget, part_prefix, remember, remove_stale

__all__ = ["AddedModel", "added_model", "remove"]


@dataclass(frozen=True)
class AddedModel(Brief):
    """A model in the user's folder.

    Parameters
    ----------
    folder : pathlib.Path
    files : tuple of str
        All files in it, with their paths below the folder.
    size : int
        Sum of their sizes in bytes.
    """

    folder: Path
    files: tuple[str, ...]
    size: int


def added_model(name: str) -> AddedModel:
    """The model of a name, if ``jettagger models add`` put it into the user's folder.

    Parameters
    ----------
    name : str

    Returns
    -------
    AddedModel

    Raises
    ------
    UnknownName
        If there is no such model.
    BundleError
        If it is a path, a model of the package or of ``$JETTAGGER_MODELS``, or put into the user's folder by hand;
        says where it is.
    """
    home = user_folder()
    shown = visible(name, LONGEST_NAME)
    if not name or Path(name).name != name or name.startswith("."):
        raise BundleError(f"got {shown!r}, expected the name of a model that 'jettagger models add' put into {home}")
    folder = home / name
    only = f"only what 'jettagger models add' put into {home} is removed"
    try:
        there = os.path.lexists(folder)
    except (OSError, ValueError):  # a name that no system takes
        there = False
    if not there:
        place = available().get(name)
        if place is None:
            raise UnknownName("model", name, _added(home), str(home))
        if place.is_relative_to(PACKAGE):
            raise BundleError(f"{shown!r} is a model of the package, in {place}: {only}")
        raise BundleError(f"{shown!r} is in {place}, which is on ${ENVIRONMENT}: {only}")
    if folder.is_symlink():
        raise BundleError(f"{folder} is a link to {os.readlink(folder)}: {only}; remove the link by hand")
    if not folder.is_dir() or not (folder / CHECKSUMS).is_file():
        raise BundleError(f"{folder} has no {CHECKSUMS}, so it was put there in another way: {only}")
    paths = sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    names = tuple(str(path.relative_to(folder)) for path in paths)
    return AddedModel(folder, names, sum(path.lstat().st_size for path in paths))


def _added(home: Path) -> list[str]:
    """Names of the models in the user's folder."""
    if not home.is_dir():
        return []
    return [path.name for path in sorted(home.iterdir()) if not path.name.startswith(".") and is_bundle(path)]


def remove(name: str) -> AddedModel:
    """Remove a model that ``jettagger models add`` put into the user's folder; it is complete or absent.

    Parameters
    ----------
    name : str

    Returns
    -------
    AddedModel
        What was removed.

    Raises
    ------
    UnknownName, BundleError
        As of `added_model`.
    OutputError
        If it cannot be removed.
    """
    model = added_model(name)
    home = model.folder.parent
    try:
        remove_stale(home)
        part = Path(tempfile.mkdtemp(prefix=part_prefix(name), dir=home))
    except OSError as error:
        raise OutputError(f"cannot remove {model.folder}: {error.strerror or error}; it is as before") from error
    remember(part)
    try:
        os.replace(model.folder, part)  # an empty folder is replaced
    except OSError as error:
        raise OutputError(f"cannot remove {model.folder}: {error.strerror or error}; it is as before") from error
    finally:
        try:
            _drop(part)
        except KeyboardInterrupt:  # its name is gone, and so should be the rest
            _drop(part)
            raise
    return model


def _drop(part: Path) -> None:
    with suppress(FileNotFoundError):
        shutil.rmtree(part)
    forget(part)


guard(globals())
