"""Summary of what a search could not read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from urllib.parse import urlsplit

__all__ = ["sites_of"]


def sites_of(places: Iterable[str]) -> dict[str, int]:
    """Number of missing files and parts of files of each site, the one with most first.

    Parameters
    ----------
    places : iterable of str
        Files, or parts of them.

    Returns
    -------
    dict of str to int
        Host -> number; that of local files is ``""``.

    Examples
    --------
    >>> sites_of(["root://eos.cern.ch//a.root", "root://eos.cern.ch//b.root, events 0 to 5", "c.root"])
    {'eos.cern.ch': 2, '': 1}
    """
    hosts = [urlsplit(place).netloc if "://" in place else "" for place in places]
    return dict(Counter(hosts).most_common())
