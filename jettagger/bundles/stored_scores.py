"""Where outputs of networks are kept, so that the same inputs run once: the score cache on disk."""

from __future__ import annotations

import os

from jettagger.bundles.places import cache_folder
from jettagger.files.cache import DiskCache

__all__ = ["Cache", "open_score_cache"]

#: maximum size in bytes of the scores in the user's cache folder
SCORE_LIMIT = 5_000_000_000

#: location of the score cache: True for the user's cache folder, a folder, or a folder and its limit in bytes
Cache = bool | str | os.PathLike[str] | DiskCache | tuple[str, int] | None


def open_score_cache(cache: Cache) -> DiskCache | None:
    """The score cache selected by the options.

    Parameters
    ----------
    cache : bool, path, DiskCache or (path, bytes), optional

    Returns
    -------
    DiskCache or None
        None without a cache, also if the user has no cache folder.
    """
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
