"""Columns of a skim other than scores: one list for jobs over files, functions and processors."""

from __future__ import annotations

from collections.abc import Container, Mapping

__all__ = ["DELPHES_COLUMNS", "EVENT_COLUMNS", "JET_COLUMNS", "ROW_COLUMNS", "kept_columns"]

#: columns of events, if the input has them
EVENT_COLUMNS = ("run", "luminosityBlock", "event", "genWeight")

#: columns of the jets in events
JET_COLUMNS = ("pt", "eta", "phi", "mass", "msoftdrop")

#: patterns for files with one row per jet: jet-level variables and labels
ROW_COLUMNS = ("jet_*", "label*", "weight", "process")

#: columns of the jets in Delphes events: column of the skim -> column of a table
DELPHES_COLUMNS: Mapping[str, str] = {
    "pt": "jet_pt",
    "eta": "jet_eta",
    "phi": "jet_phi",
    "energy": "jet_energy",
    "sdmass": "jet_sdmass",
}


def kept_columns(names: Container[str], collection: str = "FatJet") -> tuple[str, ...]:
    """The available columns of events and of their jets.

    Parameters
    ----------
    names : container of str
        Flat names of all columns.
    collection : str
        The collection of jets.

    Returns
    -------
    tuple of str

    Examples
    --------
    >>> kept_columns(["event", "MET_pt", "FatJet_pt"])
    ('event', 'FatJet_pt')
    """
    wanted = [*EVENT_COLUMNS, *(f"{collection}_{name}" for name in JET_COLUMNS)]
    return tuple(name for name in wanted if name in names)
