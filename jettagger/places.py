"""Where models lie: in the package, on ``$JETTAGGER_MODELS``, in the user's folder."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["ENVIRONMENT", "PACKAGE", "search_path", "user_folder"]

ENVIRONMENT = "JETTAGGER_MODELS"
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
