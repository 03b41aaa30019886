"""Detection of the format of an input from its collections; differences from the nearest known format."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from jettagger.errors import InputFileError, MismatchError, hint
from jettagger.formats.base import Format, JetKind
from jettagger.formats.naming import Names
from jettagger.formats.nanoaod import NANOAOD, NANOAOD_AK4, NANOAOD_V15, SCOUTING
from jettagger.formats.pfnano import PFNANO, PFNANO_WITHOUT_AK4, pfnano
from jettagger.inputs.flavours.reading import flavours

__all__ = ["detect", "difference", "formats", "nearest_flavour"]


@lru_cache(maxsize=1)
def formats() -> tuple[Format, ...]:
    """All known formats, those with more content first.

    Returns
    -------
    tuple of Format

    Examples
    --------
    >>> [format_.name for format_ in formats() if format_.kind == "AK4"][:2]
    ['pfnano', 'pfnano-106x']
    """
    declared = [
        *(item.format(kind) for kind in ("AK8", "AK4") for item in flavours().values()),
        PFNANO_WITHOUT_AK4,
        NANOAOD_V15,
        NANOAOD,
        NANOAOD_AK4,
        SCOUTING,
    ]
    first: dict[Any, Format] = {}
    for format_ in declared:  # flavours whose names differ for other jets only
        first.setdefault((format_.kind, format_.signature), format_)
    return tuple(first.values())


def difference(format_: Format, collections: Iterable[str], offer: Any = None) -> list[str]:
    """The collections and indices for links of a format that an input lacks.

    Parameters
    ----------
    format_ : Format
    collections : iterable of str
        Collections of the input.
    offer : Offer, optional
        The input itself, with the fields of its collections.

    Returns
    -------
    list of str
        Each with the nearest name in the input; empty if nothing is missing.

    Examples
    --------
    >>> difference(flavours()["pfnano-106x"].format(), ["FatJet", "JetPFCands", "JetPFCandsAK8", "JetSVs"])
    ['no collection JetSVsAK8 (nearest: JetSVs)']
    """
    present = set(collections)
    pf, sv = format_.links["pf"], format_.links["sv"]
    wanted = dict.fromkeys([format_.jets, pf.target, pf.table, sv.table])
    others = sorted(present - set(wanted))
    lines = [f"no collection {table}{hint(table, others)}" for table in wanted if table not in present]
    if offer is not None:
        for link in (pf, sv):
            for index in (link.jet_index, link.target_index):
                if link.table in present and index is not None and not offer.has(f"{link.table}.{index}"):
                    lines.append(f"no column {link.table}.{index}{hint(index, list(offer.fields(link.table)))}")
    return lines


def nearest_flavour(collections: Iterable[str], kind: JetKind = "AK8", offer: Any = None) -> str:
    """The known flavour of PFNano nearest to an input, and the differences, for errors.

    Parameters
    ----------
    collections : iterable of str
    kind : {"AK8", "AK4"}
    offer : Offer, optional
        As for `difference`.

    Returns
    -------
    str
        Empty if the input has no candidates under any name, or if there are no differences.
    """
    present = list(collections)
    if not any("cand" in name.lower() and not name.startswith("Gen") for name in present):
        return ""
    found = [(item.name, difference(item.format(kind), present, offer)) for item in flavours().values()]
    name, lines = min(found, key=lambda pair: len(pair[1]))
    if not lines:
        return ""
    return (
        f"the nearest known flavour of PFNano is {name!r}, from which this input differs: {', '.join(lines)}. If only "
        "names differ, declare them in a file (format=, --format; see docs/pfnano.md)"
    )


def detect(
    collections: Iterable[str], jets: str | None = None, names: Names | None = None, kind: JetKind | None = "AK8"
) -> Format:
    """The format with given collections.

    Parameters
    ----------
    collections : iterable of str
    jets : str, optional
        The collection of jets; default: that of the first format that matches.
    names : mapping, optional
        PFNano's names of collections and columns -> those of the input, see `jettagger.formats.pfnano.pfnano`.
    kind : {"AK8", "AK4"} or None
        The requested kind of jets; None: that of ``jets``, or fat jets.

    Returns
    -------
    Format

    Raises
    ------
    InputFileError
        If no format matches; lists the collections found and those expected.
    MismatchError
        If both ``jets`` and ``names`` are given, or if ``jets`` are of another kind.
    UnknownName
        If a name is not one of PFNano's.

    Examples
    --------
    >>> detect(["FatJet", "PFCands", "FatJetPFCands", "SV", "FatJetSVs"]).name
    'pfnano'
    >>> detect(["FatJet", "PFCands", "FatJetPFCands", "Jet", "JetPFCands"], kind="AK4").jets
    'Jet'
    """
    if jets is not None and names is not None:
        raise MismatchError('give either jets= or names=, not both: the jets are among the names, as {"FatJet": ...}')
    present = set(collections)
    if kind is None:
        named = (format_ for format_ in formats() if format_.jets == jets)
        return detect(present, jets, names, next(named, PFNANO).kind)
    every = formats() if names is None else (pfnano(names, kind=kind),)
    fitting = [format_ for format_ in every if format_.kind == kind]
    for format_ in fitting:
        if present.issuperset(format_.signature) and jets in (None, format_.jets):
            return format_
    shown = ", ".join(sorted(present)[:30]) or "none"
    wanted = "; ".join(f"{format_.name}: {', '.join(format_.signature)}" for format_ in fitting)
    others = {format_.jets: format_.kind for format_ in every if format_.kind != kind}
    if jets in others:
        raise MismatchError(
            f"the model takes {kind} jets, not {jets!r}, which are {others[jets]}: leave out jets=, or say which jets "
            f'the model was trained on as "jets" in its bundle.json'
        )
    if jets is not None:
        known = dict.fromkeys(format_.jets for format_ in fitting if present.issuperset(format_.signature))
        raise InputFileError(
            f"no known format has jets {jets!r}{hint(jets, known)} in the collections {shown}. Expected one of: "
            f"{wanted}"
        )
    near = nearest_flavour(present, kind)
    if names is not None:
        near = f"this input has {', '.join(difference(fitting[0], present))}"
    more = f"; {near}" if near else ""
    raise InputFileError(f"no known format has the collections {shown}. Expected one of: {wanted}{more}")
