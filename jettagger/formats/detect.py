"""Recognise the format of an input from its collections."""

from __future__ import annotations

from collections.abc import Iterable

from jettagger.errors import InputFileError
from jettagger.formats.base import Format
from jettagger.formats.nanoaod import NANOAOD, NANOAOD_V15, SCOUTING
from jettagger.formats.pfnano import PFNANO

__all__ = ["FORMATS", "detect"]

#: all formats, those with more content first
FORMATS: tuple[Format, ...] = (PFNANO, NANOAOD_V15, NANOAOD, SCOUTING)


def detect(collections: Iterable[str]) -> Format:
    """The format with these collections.

    Parameters
    ----------
    collections : iterable of str

    Returns
    -------
    Format

    Raises
    ------
    InputFileError
        If none fits; lists what is there and what was expected.

    Examples
    --------
    >>> detect(["FatJet", "PFCands", "FatJetPFCands", "SV", "FatJetSVs"]).name
    'pfnano'
    """
    present = set(collections)
    for format_ in FORMATS:
        if present.issuperset(format_.signature):
            return format_
    shown = ", ".join(sorted(present)[:30]) or "none"
    wanted = "; ".join(f"{format_.name}: {', '.join(format_.signature)}" for format_ in FORMATS)
    raise InputFileError(f"no known format has the collections {shown}. Expected one of: {wanted}")
