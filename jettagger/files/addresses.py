"""Addresses of files and servers in logs: without passwords and tokens."""

from __future__ import annotations

import os
import re

from jettagger.arguments import guard

__all__ = ["masked"]

_USER = re.compile(r"(?<=://)[^/?#@]*@")
_VALUE = re.compile(r"(?<==)[^&#\s]+")
#: shown in place of what is masked
_MASK = "***"


def masked(path: str | os.PathLike[str]) -> str:
    """A path or an address without what may be secret: users, passwords and the values after the question mark.

    Parameters
    ----------
    path : path or str
        Local paths stay as they are.

    Returns
    -------
    str

    Examples
    --------
    >>> masked("root://me:word@host//store/a.root?authz=Bearer%20eyJhbGci&retry=2")
    'root://***@host//store/a.root?authz=***&retry=***'
    >>> masked("data/a.root")
    'data/a.root'
    """
    text = os.fspath(path)
    if "://" not in text:
        return text
    front, mark, query = _USER.sub(f"{_MASK}@", text).partition("?")
    return f"{front}{mark}{_VALUE.sub(_MASK, query)}"


guard(globals())
