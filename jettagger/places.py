"""Where models lie (in the package, on ``$JETTAGGER_MODELS``, in the user's folder), and where caches do."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["CACHE", "ENVIRONMENT", "PACKAGE", "cache_folder", "search_path", "user_folder"]

ENVIRONMENT = "JETTAGGER_MODELS"
CACHE = "JETTAGGER_CACHE"
PACKAGE = Path(__file__).parent


def user_folder() -> Path:
    """The folder where ``jettagger models add`` puts models.

    Returns
    -------
    pathlib.Path
        It need not exist.
    """
    import platformdirs

    return Path(platformdirs.user_data_dir("jettagger", appauthor=False)) / "models"


def cache_folder() -> Path | None:
    """The folder for what can be made anew: ``$JETTAGGER_CACHE``, or ``jettagger`` among the user's caches.

    Returns
    -------
    pathlib.Path or None
        It need not exist. None where the variable is ``off``: nothing is kept.
    """
    import platformdirs

    named = os.environ.get(CACHE, "")
    if named == "off":
        return None
    return Path(named).expanduser() if named else Path(platformdirs.user_cache_dir("jettagger", appauthor=False))


def search_path() -> list[Path]:
    """The folders that hold models, in the order in which they are searched.

    Returns
    -------
    list of pathlib.Path
        The folders on ``$JETTAGGER_MODELS``, the user's folder, the package's own.

    Examples
    --------
    >>> search_path()[-1].name
    'models'
    """
    listed = [Path(part).expanduser() for part in os.environ.get(ENVIRONMENT, "").split(os.pathsep) if part]
    return [*listed, user_folder(), PACKAGE / "models"]
