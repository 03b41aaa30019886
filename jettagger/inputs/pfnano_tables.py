"""Fat jets of PFNano files as a flat table in JetClass-II's columns, for what looks at single jets.

Momenta are multiplied by the PUPPI weights, as in the clustering of the jets; impact parameters become mm. Generator
particles are the heavy ones (t, W, Z, H) near a jet, and what they decay to.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.errors import InputFileError, MissingColumns
from jettagger.features import Feature
from jettagger.features.cms import eta_sign
from jettagger.files.root import EventFile
from jettagger.formats import EventColumns, Jets, detect, load, make_plan
from jettagger.kinematics import delta_phi, energy
from jettagger.types import Array

__all__ = ["is_event_file", "nano_table", "read_jets"]

CM = 10.0

#: generator particles further from the jet axis than this are not taken
NEAR = 1.2

_RESONANCES = (6, 23, 24, 25)
_LAST_COPY = 1 << 13

_OPTIONAL = ("puppiWeight", "dxy", "dz")
_GENERATOR = ("pt", "eta", "phi", "mass", "pdgId", "statusFlags", "genPartIdxMother")


def _feature(name: str, object_: str, *needs: str) -> Feature:
    return Feature(name, object_, needs, lambda *columns: columns[0], "1", "a stored column")


def is_event_file(path: str | os.PathLike[str]) -> bool:
    """Whether a file has events with fat jets, in a tree ``Events``.

    Parameters
    ----------
    path : path

    Returns
    -------
    bool
        False also for files that cannot be read.
    """
    if not os.fspath(path).endswith(".root"):
        return False
    try:
        with EventFile(path) as file:
            detect(file.collections)
    except InputFileError:
        return False
    return True


def read_jets(path: str | os.PathLike[str], start: int, stop: int, more: Any = ()) -> tuple[Any, slice, int]:
    """The events that hold some fat jets of a file, counted through all its events.

    Parameters
    ----------
    path : path
    start, stop : int
        Range of fat jets.
    more : iterable of str
        Further columns ``"Collection.field"``, e.g. those that a model reads.

    Returns
    -------
    awkward array
        Events with the columns that `nano_table` takes.
    slice
        Which of their fat jets these are.
    int
        Number of fat jets in the file.

    Raises
    ------
    MissingColumns
        If the file has no candidates; lists what is missing.
    """
    import awkward as ak

    with EventFile(path) as file:
        plan = _plan(file, os.fspath(path))
        jets = plan.format.jets
        counts = ak.to_numpy(ak.num(file.read([f"{jets}.pt"])[jets].pt, axis=1))
        ends = np.cumsum(counts)
        total = int(ends[-1]) if len(ends) else 0
        first, last = (int(np.searchsorted(ends, number, side="right")) for number in (start, max(stop, start + 1) - 1))
        last = min(last + 1, file.n_events)
        extra = [f"{jets}.msoftdrop", *(f"GenPart.{name}" for name in _GENERATOR)]
        columns = dict.fromkeys([*plan.columns, *more, *(name for name in extra if file.has(name))])
        events = file.read(columns, min(first, last), last)
    before = int(ends[first - 1]) if first and len(ends) else 0
    return events, slice(start - before, min(stop, total) - before), total


def _plan(offer: Any, source: str = "these events") -> Any:
    format_ = detect(offer.collections)
    names = ("pt", "eta", "phi", "mass")
    needed = [_feature(f"jet_{name}", "jet", name) for name in names]
    needed += [_feature(f"part_{name}", "pf", name) for name in (*names, "charge", "pdgId")]
    plan = make_plan(format_, offer, needed)
    if plan.missing:
        lines = "\n".join(f"  {need}" for need in plan.missing)
        verdict = f"{source} ({format_.title}) has no constituents to draw"
        verdict += f": {format_.remark}" if format_.remark else ""
        raise MissingColumns(f"{verdict}\n{len(plan.missing)} missing columns:\n{lines}")
    there = [name for name in _OPTIONAL if not make_plan(format_, offer, [_feature(name, "pf", name)]).missing]
    return make_plan(format_, offer, [*needed, *(_feature(f"part_{name}", "pf", name) for name in there)])


def nano_table(events: Any) -> Any:
    """All fat jets of events, one row a jet.

    Parameters
    ----------
    events : awkward array
        PFNano: fat jets with linked candidates; ``GenPart`` where there is one.

    Returns
    -------
    awkward array
        ``jet_pt eta phi energy nparticles``, ``jet_sdmass`` where there is a soft-drop mass; ``part_px py pz energy
        deta dphi charge isElectron isMuon isPhoton``, with tracks ``part_d0val dzval``; with generator particles
        ``aux_genpart_pt eta phi mass pid``. GeV and mm.

    Raises
    ------
    MissingColumns
        If there are no candidates.

    Examples
    --------
    >>> from jettagger.testing import make_events
    >>> table = nano_table(make_events(5, seed=1))
    >>> bool((abs(table.part_deta) < 1).layout.content.data.all())
    True
    """
    import awkward as ak

    columns = EventColumns(events)
    plan = _plan(columns)
    n_jets = int(columns.counts(plan.format.jets).sum())
    jets = load(columns, plan, np.arange(n_jets))
    found: dict[str, Any] = {f"jet_{name}": ak.Array(jets.column("jet", name)) for name in ("pt", "eta", "phi")}
    pt, eta, mass = (jets.column("jet", name) for name in ("pt", "eta", "mass"))
    found["jet_energy"] = ak.Array(energy(pt, eta, mass))
    if columns.has(f"{plan.format.jets}.msoftdrop"):
        found["jet_sdmass"] = ak.Array(columns.flat(f"{plan.format.jets}.msoftdrop"))
    found["jet_nparticles"] = ak.Array(jets.counts("pf"))
    found |= {f"part_{name}": ak.unflatten(values, jets.counts("pf")) for name, values in _constituents(jets).items()}
    if all(columns.has(f"GenPart.{name}") for name in _GENERATOR):
        found |= _generator(columns, plan.format.jets, found)
    return ak.zip(found, depth_limit=1)


def _constituents(jets: Jets) -> dict[str, Array]:
    names = ("pt", "eta", "phi", "mass", "charge", "pdgId", *_OPTIONAL)
    own = {name: jets.column("pf", name) for name in names if ("pf", name) in jets.plan.providers}
    axis = {name: jets.column("pf", f"jet.{name}") for name in ("eta", "phi")}
    weight = own.get("puppiWeight", np.ones(len(own["pt"])))
    pt, code = own["pt"] * weight, np.abs(own["pdgId"])
    values = {
        "px": pt * np.cos(own["phi"]),
        "py": pt * np.sin(own["phi"]),
        "pz": pt * np.sinh(own["eta"]),
        "energy": weight * energy(own["pt"], own["eta"], own["mass"]),
        "deta": eta_sign(axis["eta"]) * (own["eta"] - axis["eta"]),
        "dphi": delta_phi(own["phi"], axis["phi"]),
        "charge": own["charge"],
        "isElectron": code == 11,
        "isMuon": code == 13,
        "isPhoton": code == 22,
    }
    for name, stored in (("d0val", "dxy"), ("dzval", "dz")):
        if stored in own:
            values[name] = CM * own[stored]
    return values


def _generator(columns: EventColumns, name: str, jets: dict[str, Any]) -> dict[str, Any]:
    """Heavy particles near each jet in their last copies, and what they decay to."""
    import awkward as ak

    own = {field: columns.flat(f"GenPart.{field}") for field in _GENERATOR}
    counts, offsets = columns.counts("GenPart"), columns.offsets("GenPart")
    event = np.repeat(np.arange(len(counts)), counts)
    index = own["genPartIdxMother"].astype(np.int64)
    mother = np.where(index >= 0, offsets[event] + index, -1)
    heavy = np.isin(np.abs(own["pdgId"]), _RESONANCES)
    last = heavy & ((own["statusFlags"].astype(np.int64) & _LAST_COPY) != 0)
    product = (mother >= 0) & last[mother] & ~heavy
    kept = np.flatnonzero(last | product)
    of_event = np.bincount(event[kept], minlength=len(counts))
    jet_event = np.repeat(np.arange(len(counts)), columns.counts(name))
    start = np.concatenate([[0], np.cumsum(of_event)])
    number = of_event[jet_event]
    jet = np.repeat(np.arange(len(jet_event)), number)
    within = np.arange(len(jet)) - np.repeat(np.cumsum(number) - number, number)
    rows = kept[start[jet_event[jet]] + within]
    distance = np.hypot(
        own["eta"][rows] - ak.to_numpy(jets["jet_eta"])[jet],
        delta_phi(own["phi"][rows], ak.to_numpy(jets["jet_phi"])[jet]),
    )
    rows, jet = rows[distance < NEAR], jet[distance < NEAR]
    near = np.bincount(jet, minlength=len(jet_event))
    fields = {"pt": "pt", "eta": "eta", "phi": "phi", "mass": "mass", "pid": "pdgId"}
    return {f"aux_genpart_{new}": ak.unflatten(own[field][rows], near) for new, field in fields.items()}


guard(globals())
