"""Fat jets of PFNano files as a flat table in JetClass-II format, for displays of single jets.

Momenta are multiplied by the PUPPI weights, as in the clustering of the jets; impact parameters are converted to mm.
Generator particles are the heavy ones (t, W, Z, H) near a jet, and their decay products.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.display import Brief
from jettagger.errors import InputFileError, MissingColumns
from jettagger.features import Feature
from jettagger.features.jetclass import CONSTITUENT_COLUMNS
from jettagger.files.root import EventFile
from jettagger.formats import EventColumns, FileOrder, Format, Jets, ReadPlan, load, make_plan
from jettagger.formats.base import JetKind, Offer
from jettagger.formats.naming import Names
from jettagger.inputs.flavours import detect
from jettagger.kinematics import delta_r, energy
from jettagger.truth.nanoaod import FIELDS, decays
from jettagger.types import Array

__all__ = ["NANO_COLUMNS", "NanoColumns", "is_event_file", "nano_features", "nano_plan", "nano_table", "read_jets"]

#: maximum distance of generator particles from the jet axis
NEAR = 1.2

_RESONANCES = (6, 23, 24, 25)

#: column of the candidates -> canonical columns it is computed from; the weight is used if available
_PARTS: dict[str, tuple[str, ...]] = {f"part_{name}": column.needs for name, column in CONSTITUENT_COLUMNS.items()}
#: column of the jets -> canonical columns it is computed from
_OF_JETS: dict[str, tuple[str, ...]] = {
    "jet_pt": ("pt",),
    "jet_eta": ("eta",),
    "jet_phi": ("phi",),
    "jet_energy": ("pt", "eta", "mass"),
    "jet_sdmass": ("msoftdrop",),
    **{f"jet_tau{number}": (f"tau{number}",) for number in range(1, 5)},
}
_COUNT = "jet_nparticles"
_WEIGHT = "puppiWeight"

#: columns that a display always has, and those that it has if available
_DRAWN = ("jet_pt", "jet_eta", "jet_phi", "jet_energy", _COUNT, *(name for name in _PARTS if "Hadron" not in name))
_OPTIONAL = ("jet_sdmass", "part_d0val", "part_d0err", "part_dzval", "part_dzerr")


def nano_features(names: Iterable[str]) -> list[Feature]:
    """The inputs of the columns of a table, as features for `jettagger.formats.make_plan`.

    Parameters
    ----------
    names : iterable of str
        Columns of JetClass-II; those that cannot be computed from events are left out.

    Returns
    -------
    list of Feature
        Stored columns with their names in the table.
    """
    features = []
    for name in names:
        if name in _OF_JETS:
            features.append(_feature(name, "jet", *_OF_JETS[name]))
        elif name == _COUNT:
            features.append(_feature(name, "pf"))
        elif name in _PARTS:
            features.append(_feature(name, "pf", *_PARTS[name]))
    return features


def nano_plan(format_: Format, offer: Offer, names: Iterable[str]) -> ReadPlan:
    """The plan for some columns, including the PUPPI weights of the candidates, if available.

    Parameters
    ----------
    format_ : Format
    offer : Offer
    names : iterable of str

    Returns
    -------
    ReadPlan
        With all missing columns in ``missing``.
    """
    features = nano_features(names)
    weight = _feature("weight", "pf", _WEIGHT)
    momenta = any(feature.object == "pf" and "pt" in feature.needs for feature in features)
    more = [weight] if momenta and not make_plan(format_, offer, [weight]).missing else []
    return make_plan(format_, offer, [*features, *more])


#: columns that a table of PFNano jets can have
NANO_COLUMNS = (*_OF_JETS, _COUNT, *_PARTS)


class NanoColumns(Mapping[str, Any], Brief):
    """Columns of linked jets with JetClass-II's names, each computed on access.

    Parameters
    ----------
    jets : Jets
        Linked with a plan from `nano_plan`.
    """

    def __init__(self, jets: Jets) -> None:
        self._jets = jets
        has = jets.plan.providers.__contains__
        linked = "pf" in jets.plan.objects
        parts = [name for name, needs in _PARTS.items() if linked and all(has(_key(need)) for need in needs)]
        numbers = [name for name, needs in _OF_JETS.items() if all(has(("jet", need)) for need in needs)]
        self._names = (*numbers, *([_COUNT] if linked else []), *parts)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, name: str) -> Any:
        import awkward as ak

        if name not in self._names:
            raise KeyError(name)
        if name in _OF_JETS:
            values = [self._jets.column("jet", need) for need in _OF_JETS[name]]
            return ak.Array(energy(*values) if name == "jet_energy" else values[0])
        counts = self._jets.counts("pf")
        return ak.Array(counts) if name == _COUNT else ak.unflatten(self._candidates(name), counts)

    def file_order(self) -> FileOrder:
        """The places of the candidates in the link table, see `jettagger.formats.Jets.file_order`."""
        return self._jets.file_order("pf")

    def _candidates(self, name: str) -> Array:
        own = {need: self._jets.column("pf", need) for need in _PARTS[name]}
        if "pt" in own:
            weighted = ("pf", _WEIGHT) in self._jets.plan.providers
            weight = self._jets.column("pf", _WEIGHT) if weighted else np.ones(len(own["pt"]))
            if name == "part_energy":
                return weight * energy(own["pt"], own["eta"], own["mass"])
            own["pt"] = own["pt"] * weight
        return CONSTITUENT_COLUMNS[name.removeprefix("part_")].function(*own.values())


def _key(need: str) -> tuple[str, str]:
    return ("jet", need[4:]) if need.startswith("jet.") else ("pf", need)


def _feature(name: str, object_: str, *needs: str) -> Feature:
    return Feature(name, object_, needs, lambda *columns: columns[0], "1", "a stored column")


def is_event_file(path: str | os.PathLike[str]) -> bool:
    """Whether a file contains events with fat jets, in a tree ``Events``.

    Parameters
    ----------
    path : path

    Returns
    -------
    bool
        False also for unreadable files.
    """
    if not os.fspath(path).endswith(".root"):
        return False
    try:
        with EventFile(path) as file:
            detect(file.collections)
    except InputFileError:
        return False
    return True


def read_jets(
    path: str | os.PathLike[str],
    start: int,
    stop: int,
    more: Any = (),
    collection: str | None = None,
    names: Names | None = None,
    kind: JetKind | None = None,
) -> tuple[Any, slice, int]:
    """The events of a range of jets in a file, counted through all its events.

    Parameters
    ----------
    path : path
    start, stop : int
        Range of jets.
    more : iterable of str
        Further columns ``"Collection.field"``, e.g. those that a model reads.
    collection : str, optional
        The collection of jets, if there are several.
    names : mapping, optional
        PFNano's names of collections and columns -> those of the file.
    kind : {"AK8", "AK4"}, optional
        Kind of the jets; default: that of ``collection``, or fat jets.

    Returns
    -------
    awkward array
        Events with the columns that `nano_table` needs.
    slice
        The range of jets within these events.
    int
        Number of jets in the file.

    Raises
    ------
    MissingColumns
        If the file has no candidates; lists the missing columns.
    """
    import awkward as ak

    with EventFile(path) as file:
        plan = _plan(file, os.fspath(path), collection, names, kind)
        jets = plan.format.jets
        counts = ak.to_numpy(ak.num(file.read([f"{jets}.pt"])[jets].pt, axis=1))
        ends = np.cumsum(counts)
        total = int(ends[-1]) if len(ends) else 0
        first, last = (int(np.searchsorted(ends, number, side="right")) for number in (start, max(stop, start + 1) - 1))
        last = min(last + 1, file.n_events)
        extra = [f"GenPart.{name}" for name in FIELDS]
        columns = dict.fromkeys([*plan.columns, *more, *(name for name in extra if file.has(name))])
        events = file.read(columns, min(first, last), last)
    before = int(ends[first - 1]) if first and len(ends) else 0
    return events, slice(start - before, min(stop, total) - before), total


def _plan(
    offer: Any,
    source: str = "these events",
    collection: str | None = None,
    names: Names | None = None,
    kind: JetKind | None = None,
) -> ReadPlan:
    format_ = detect(offer.collections, collection, names, kind)
    plan = nano_plan(format_, offer, [name for name in _DRAWN if name not in _OPTIONAL])
    if plan.missing:
        lines = "\n".join(f"  {need}" for need in plan.missing)
        verdict = f"{source} ({format_.title}) has no constituents to draw"
        verdict += f": {format_.remark}" if format_.remark else ""
        raise MissingColumns(f"{verdict}\n{len(plan.missing)} missing columns:\n{lines}")
    there = [name for name in _OPTIONAL if not nano_plan(format_, offer, [name]).missing]
    return nano_plan(format_, offer, [*(name for name in _DRAWN if name not in _OPTIONAL), *there])


def nano_table(
    events: Any,
    collection: str | None = None,
    names: Names | None = None,
    kind: JetKind | None = None,
    *,
    places: bool = False,
) -> Any:
    """All jets of events, one row per jet.

    Parameters
    ----------
    events : awkward array
        PFNano: jets with linked candidates; ``GenPart`` if available.
    collection : str, optional
        The collection of jets, if there are several.
    names : mapping, optional
        PFNano's names of collections and columns -> those of the events.
    kind : {"AK8", "AK4"}, optional
        As for `read_jets`.
    places : bool
        Whether to add ``part_place``: the place of each constituent in the list of its jet in the file.

    Returns
    -------
    awkward array
        ``jet_pt eta phi energy nparticles``, ``jet_sdmass`` if there is a soft-drop mass; ``part_px py pz energy deta
        dphi charge isElectron isMuon isPhoton``, with tracks ``part_d0val d0err dzval dzerr``; with generator particles
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
    plan = _plan(columns, collection=collection, names=names, kind=kind)
    n_jets = int(columns.counts(plan.format.jets).sum())
    jets = load(columns, plan, np.arange(n_jets))
    found: dict[str, Any] = dict(NanoColumns(jets))
    if all(columns.has(f"GenPart.{name}") for name in FIELDS):
        found |= _generator(columns, plan.format.jets, found)
    if places:
        found["part_place"] = ak.unflatten(jets.file_order("pf").rank, jets.counts("pf"))
    return ak.zip(found, depth_limit=1)


def _generator(columns: EventColumns, name: str, jets: dict[str, Any]) -> dict[str, Any]:
    """Last copies of heavy particles near each jet, and their decay products."""
    import awkward as ak

    own = {field: columns.flat(f"GenPart.{field}") for field in FIELDS}
    counts = columns.counts("GenPart")
    event = columns.owners("GenPart")
    kept = np.flatnonzero(decays(own, counts, _RESONANCES))
    of_event = np.bincount(event[kept], minlength=len(counts))
    jet_event = columns.owners(name)
    start = np.concatenate([[0], np.cumsum(of_event)])
    pairs = of_event[jet_event]
    jet = np.repeat(np.arange(len(jet_event)), pairs)
    within = np.arange(len(jet)) - np.repeat(np.cumsum(pairs) - pairs, pairs)
    rows = kept[start[jet_event[jet]] + within]
    axis_eta, axis_phi = (ak.to_numpy(jets[field])[jet] for field in ("jet_eta", "jet_phi"))
    distance = delta_r(own["eta"][rows], own["phi"][rows], axis_eta, axis_phi)
    rows, jet = rows[distance < NEAR], jet[distance < NEAR]
    near = np.bincount(jet, minlength=len(jet_event))
    fields = {"pt": "pt", "eta": "eta", "phi": "phi", "mass": "mass", "pid": "pdgId"}
    return {f"aux_genpart_{new}": ak.unflatten(own[field][rows], near) for new, field in fields.items()}


guard(globals())
