"""Locations of models (the package, ``$JETTAGGER_MODELS``, the user's folder) and of caches."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["CACHE", "ENVIRONMENT", "PACKAGE", "SHIPPED", "cache_folder", "search_path", "shipped", "user_folder"]

ENVIRONMENT = "JETTAGGER_MODELS"
CACHE = "JETTAGGER_CACHE"

#: name of the folder of models that were sent to this worker, each under its digest
SHIPPED = "JETTAGGER_SHIPPED"
PACKAGE = Path(__file__).parent.parent


def user_folder() -> Path:
    """The folder for models added with ``jettagger models add``.

    Returns
    -------
    pathlib.Path
        It need not exist.
    """
    import platformdirs

    return Path(platformdirs.user_data_dir("jettagger", appauthor=False)) / "models"


def cache_folder() -> Path | None:
    """The folder for data that can be recomputed: ``$JETTAGGER_CACHE``, or ``jettagger`` in the user's cache folder.

    Returns
    -------
    pathlib.Path or None
        It need not exist. None if the variable is ``off``: nothing is stored.
    """
    import platformdirs

    named = os.environ.get(CACHE, "")
    if named == "off":
        return None
    return Path(os.path.expanduser(named)) if named else Path(platformdirs.user_cache_dir("jettagger", appauthor=False))


def shipped(digest: str) -> Path | None:
    """The folder of a model that was sent to this worker.

    Parameters
    ----------
    digest : str
        Digest of the bundle.

    Returns
    -------
    pathlib.Path or None
        None if it was not sent.
    """
    folder = os.environ.get(SHIPPED, "")
    shelf = Path(folder) / digest
    return next(iter(sorted(shelf.iterdir())), None) if folder and shelf.is_dir() else None


def search_path() -> list[Path]:
    """Folders with models, in the order of search.

    Returns
    -------
    list of pathlib.Path
        The folders on ``$JETTAGGER_MODELS``, the user's folder, the package's own.

    Examples
    --------
    >>> search_path()[-1].name
    'models'
    """
    listed = [Path(os.path.expanduser(part)) for part in os.environ.get(ENVIRONMENT, "").split(os.pathsep) if part]
    return [*listed, user_folder(), PACKAGE / "models"]
