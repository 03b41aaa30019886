"""Recognise the format of an input from its collections."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from jettagger.errors import InputFileError, MismatchError, hint
from jettagger.formats.base import Format, JetKind
from jettagger.formats.naming import Names
from jettagger.formats.nanoaod import NANOAOD, NANOAOD_AK4, NANOAOD_V15, SCOUTING
from jettagger.formats.pfnano import PFNANO, PFNANO_AK4, PFNANO_FLAVOURS, pfnano

__all__ = ["FORMATS", "detect"]

#: all formats, those with more content first
FORMATS: tuple[Format, ...] = (
    PFNANO,
    *PFNANO_FLAVOURS,
    PFNANO_AK4,
    # so that an error names the link table that was not written
    replace(
        PFNANO_AK4, name="pfnano-no-ak4", title="PFNano without AK4 jets' candidates", signature=("Jet", "PFCands")
    ),
    NANOAOD_V15,
    NANOAOD,
    NANOAOD_AK4,
    SCOUTING,
)


def detect(
    collections: Iterable[str], jets: str | None = None, names: Names | None = None, kind: JetKind = "AK8"
) -> Format:
    """The format with these collections.

    Parameters
    ----------
    collections : iterable of str
    jets : str, optional
        The collection of jets; default: that of the first format that fits.
    names : mapping, optional
        PFNano's names of collections and columns -> those of the input, see `jettagger.formats.pfnano.pfnano`.
    kind : {"AK8", "AK4"}
        The jets that are wanted.

    Returns
    -------
    Format

    Raises
    ------
    InputFileError
        If none fits; lists what is there and what was expected.
    MismatchError
        If both ``jets`` and ``names`` are given, or if ``jets`` are of another kind.
    UnknownName
        If PFNano has none of the names.

    Examples
    --------
    >>> detect(["FatJet", "PFCands", "FatJetPFCands", "SV", "FatJetSVs"]).name
    'pfnano'
    >>> detect(["FatJet", "PFCands", "FatJetPFCands", "Jet", "JetPFCands"], kind="AK4").jets
    'Jet'
    """
    if jets is not None and names is not None:
        raise MismatchError('jets= and names= exclude each other: the jets are among the names, as {"FatJet": ...}')
    present = set(collections)
    every = FORMATS if names is None else (pfnano(names, kind=kind),)
    formats = [format_ for format_ in every if format_.kind == kind]
    for format_ in formats:
        if present.issuperset(format_.signature) and jets in (None, format_.jets):
            return format_
    shown = ", ".join(sorted(present)[:30]) or "none"
    wanted = "; ".join(f"{format_.name}: {', '.join(format_.signature)}" for format_ in formats)
    others = {format_.jets: format_.kind for format_ in every if format_.kind != kind}
    if jets in others:
        raise MismatchError(
            f"the model takes {kind} jets, not {jets!r}, which are {others[jets]}: leave out jets=, or say which jets "
            f'the model was trained on as "jets" in its bundle.json'
        )
    if jets is not None:
        known = dict.fromkeys(format_.jets for format_ in formats if present.issuperset(format_.signature))
        raise InputFileError(
            f"no known format has jets {jets!r}{hint(jets, known)} in the collections {shown}. Expected one of: "
            f"{wanted}"
        )
    raise InputFileError(f"no known format has the collections {shown}. Expected one of: {wanted}")
