"""Random jets, in the canonical columns that features take: for checking models without a file.

Any column is available. Columns of known names have values of typical size, others are standard normal.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from jettagger.bundles.interface import Group
from jettagger.display import Brief
from jettagger.features.cms import etarel
from jettagger.inputs.batching import Table
from jettagger.inputs.image_values import ImageValues
from jettagger.kinematics import delta_phi, energy, px, py, pz
from jettagger.types import Array
from jettagger.weaver import DataConfig

__all__ = ["ToyJets", "limited", "object_counts", "toy_table"]

#: number of constituents in random images
IMAGE_OBJECTS = 40

Draw = Callable[[np.random.Generator, int], Array]


def _choice(*values: float) -> Draw:
    return lambda rng, size: rng.choice(np.array(values), size)


def _normal(width: float) -> Draw:
    return lambda rng, size: rng.normal(0, width, size)


def _uniform(low: float, high: float) -> Draw:
    return lambda rng, size: rng.uniform(low, high, size)


def _exponential(mean: float) -> Draw:
    return lambda rng, size: rng.exponential(mean, size)


#: distributions of columns: momenta and masses in GeV, lengths in cm
_JETS: Mapping[str, Draw] = {
    "pt": lambda rng, size: 200 + rng.exponential(200, size),
    "eta": _uniform(-2.3, 2.3),
    "phi": _uniform(-np.pi, np.pi),
    "mass": lambda rng, size: 5 + rng.gamma(4, 25, size),
    "uncorrected_pt": lambda rng, size: 190 + rng.exponential(190, size),
    "uncorrected_mass": lambda rng, size: 5 + rng.gamma(4, 25, size),
    "uncorrected_share": _uniform(0.9, 1),
    "vertex_error": _uniform(2e-4, 8e-4),
    **{f"subjet{number}_eta": _uniform(-2.3, 2.3) for number in (1, 2)},
    **{f"subjet{number}_phi": _uniform(-np.pi, np.pi) for number in (1, 2)},
    **{name: _choice(0, 1, 2, 5) for name in ("n_charged", "n_neutral", "n_vertices", "n_primary_vertices")},
    **{f"DeepCSV_{name}": _choice(0, 1, 3, 8) for name in ("jetNSelectedTracks", "jetNTracksEtaRel")},
}
_CONSTITUENTS: Mapping[str, Draw] = {
    "mass": _choice(0, 0.1396, 0.4976),
    "charge": _choice(-1, 0, 1),
    "pdgId": _choice(211, -211, 22, 130, 11, -13),
    "puppiWeight": _uniform(0, 1),
    "pvAssocQuality": _choice(0, 1, 5, 6, 7),
    "lostInnerHits": _choice(-1, 0, 1),
    "trkQuality": _choice(0, 1, 5),
    "normchi2": _choice(0, 1, 2, 4, 999),
    "chi2": _uniform(0, 3),
    "hasTrack": _choice(0, 1, 1),
    "drminsv": _uniform(0, 1),
    "pv_dxy": _normal(0.02),
    "pv_dz": _normal(0.02),
    **{name: _uniform(0.001, 0.02) for name in ("pv_dxyerr", "dxyerr", "dzerr")},
    "dz": _normal(0.02),
    "dzsig": _normal(2),
    "dxy": _normal(0.02),
    "dxysig": _normal(2),
    "btagEtaRel": _uniform(0, 8),
    "btagPtRatio": _uniform(0, 0.6),
    "btagPParRatio": _uniform(0.8, 1),
    "btagSip3dVal": _normal(0.02),
    "btagSip3dSig": _normal(2),
    "btagJetDistVal": lambda rng, size: -rng.exponential(0.01, size),
    "isLostTrack": _choice(0, 0, 0, 1),
    **{
        f"{layers}LayersWithMeasurement": _choice(0, 1, 2, 3)
        for layers in ("pixelBarrel", "pixelEndcap", "stripTEC", "stripTIB", "stripTID", "stripTOB")
    },
}
_VERTICES: Mapping[str, Draw] = {
    "mass": _uniform(0.4, 5),
    "ntracks": _choice(2, 3, 4, 5),
    "normchi2": _exponential(1),
    "chi2": _exponential(4),
    "clipped_deltaR": _uniform(-0.5, 0),
    "costhetasvpv": lambda rng, size: 1 - rng.exponential(0.001, size),
    "enration": _uniform(0, 0.5),
    "dxy": _exponential(0.5),
    "dxysig": _exponential(15),
    "d3d": _exponential(0.7),
    "d3dsig": _exponential(18),
}


class ToyJets(Brief):
    """Jets with given numbers of objects.

    Parameters
    ----------
    counts : mapping of str to int array
        Object (``pf``, ``sv``, ...) -> number of objects of each jet.
    seed : int
        The same seed and counts give the same jets.
    width : float
        Standard deviation of pseudorapidity and azimuth (rad) around the jet's axis.

    Notes
    -----
    Provides what `jettagger.inputs.batching.tabulate` needs. The objects lie around the axis of their jet, in
    decreasing order of transverse momentum; the first objects of a jet do not depend on the number of further ones.

    Examples
    --------
    >>> toys = ToyJets({"pf": np.array([2, 0])}, seed=1)
    >>> len(toys), toys.counts("pf").tolist(), toys.column("pf", "jet.pt").shape
    (2, [2, 0], (2,))
    """

    def __init__(self, counts: Mapping[str, Array], seed: int = 0, width: float = 0.25) -> None:
        self._counts = {name: np.asarray(number, dtype=np.int64) for name, number in counts.items()}
        self._size = len(next(iter(self._counts.values())))
        self._seed = seed
        self._width = width

    def __len__(self) -> int:
        return self._size

    def counts(self, object_: str) -> Array:
        """Number of objects of each jet, int64[jets]."""
        return np.ones(self._size, dtype=np.int64) if object_ == "jet" else self._counts[object_]

    def column(self, object_: str, name: str) -> Array:
        """A canonical column, float32, one entry per object (``jet.eta``: that of the object's jet)."""
        if object_ == "jet" or name.startswith("jet."):
            values = self._draw("jet", name.removeprefix("jet."), _JETS, np.ones(self._size, dtype=np.int64))
            return values if object_ == "jet" else np.repeat(values, self.counts(object_))
        counts = self.counts(object_)
        if name == "pt":
            # falling without sorting, so that a longer list starts like a shorter one
            steps = self._draw(object_, name, {name: _uniform(0.9, 1)}, counts)
            rank = np.arange(len(steps)) - np.repeat(np.cumsum(counts) - counts, counts)
            falling: Array = (60 * steps / (1 + 0.15 * rank) + 1).astype(np.float32)
            return falling
        if name in ("eta", "phi"):
            around = self._draw(object_, name, {name: _normal(self._width)}, counts)
            axis = self.column(object_, f"jet.{name}")
            near: Array = axis + around
            return near if name == "eta" else delta_phi(near, np.float32(0))
        return self._draw(object_, name, _VERTICES if object_ == "sv" else _CONSTITUENTS, counts)

    def _draw(self, object_: str, name: str, table: Mapping[str, Draw], counts: Array) -> Array:
        draw = table.get(name, _normal(1))
        salt = zlib.crc32(f"{object_}.{name}".encode())
        parts = [draw(np.random.default_rng([self._seed, salt, jet]), int(number)) for jet, number in enumerate(counts)]
        return np.concatenate(parts).astype(np.float32) if parts else np.empty(0, dtype=np.float32)


def object_counts(groups: Iterable[Group], counts: Mapping[str, Array], n_jets: int) -> dict[str, Array]:
    """Number of objects of jets that have, along each axis, as many as requested; axes may share an object.

    Parameters
    ----------
    groups : iterable of Group
    counts : mapping of str to int array
        Axis -> number of entries per jet; one for others, and `IMAGE_OBJECTS` in images.
    n_jets : int

    Returns
    -------
    dict of str to int64[jets]
        Object -> the largest of the numbers along its axes.
    """
    found: dict[str, Array] = {}
    for group in groups:
        default = np.full(n_jets, 1 if group.image is None else IMAGE_OBJECTS)
        numbers = np.asarray(counts.get(group.axis, default), dtype=np.int64)
        found[group.object] = np.maximum(found.get(group.object, 0), numbers)
    return found


def limited(tables: Iterable[Table], counts: Mapping[str, Array]) -> tuple[Table, ...]:
    """Tables of such jets with no more entries along each axis than requested.

    Parameters
    ----------
    tables : iterable of GroupValues or ImageValues
    counts : mapping of str to int array
        As for `object_counts`.

    Returns
    -------
    tuple of GroupValues or ImageValues
    """
    return tuple(
        table
        if isinstance(table, ImageValues) or table.group.axis not in counts
        else replace(table, counts=np.minimum(table.counts, counts[table.group.axis]))
        for table in tables
    )


#: usual prefixes of names of jet-level columns
_PER_JET = ("jet", "fj", "genjet", "event", "ak8", "ak15")

_KINEMATICS: Mapping[str, tuple[tuple[str, ...], Callable[..., Array]]] = {
    "px": (("pt", "phi"), px),
    "py": (("pt", "phi"), py),
    "pz": (("pt", "eta"), pz),
    "energy": (("pt", "eta", "mass"), energy),
    "deta": (("eta", "jet.eta"), etarel),
    "dphi": (("phi", "jet.phi"), delta_phi),
    "isElectron": (("pdgId",), lambda code: (np.abs(code) == 11).astype(np.float32)),
    "isMuon": (("pdgId",), lambda code: (np.abs(code) == 13).astype(np.float32)),
    "isPhoton": (("pdgId",), lambda code: (code == 22).astype(np.float32)),
    "isChargedHadron": (("pdgId",), lambda code: (np.abs(code) == 211).astype(np.float32)),
    "isNeutralHadron": (("pdgId",), lambda code: (code == 130).astype(np.float32)),
    "sdmass": (("mass",), lambda mass: 0.7 * mass),
}


def _listed(config: DataConfig, groups: Container[str]) -> set[str]:
    """Columns used as lists: variables of a group of lists, and those from which masks are made."""
    found: set[str] = set()
    for group in config.inputs:
        for variable in group.variables if group.name in groups else ():
            if variable.name not in config.formulas or config.is_mask(variable):
                found.update(config.columns([variable.name]))
    return found


def toy_table(
    config: DataConfig, counts: Mapping[str, Array], axes: Mapping[str, str] | None = None, seed: int = 0
) -> dict[str, Any]:
    """Jets as a flat table with the columns of a data configuration.

    Parameters
    ----------
    config : DataConfig
    counts : mapping of str to int array
        Axis -> number of entries per jet.
    axes : mapping of str to str, optional
        Group -> its axis; default: each group has its own. Groups whose axis has no counts hold jet-level variables.
    seed : int

    Returns
    -------
    dict of str to awkward array
        Column of the file -> one entry per jet. Four-momenta and positions are those of `ToyJets`.

    Examples
    --------
    >>> from jettagger.weaver import read_config
    >>> config = read_config(text="inputs: {pf_vectors: {length: 4, vars: [part_px, part_py, part_pz, part_energy]}}")
    >>> toy_table(config, {"pf_vectors": np.array([2, 3])}, seed=1)["part_px"].typestr
    '2 * var * float32'
    """
    import awkward as ak

    # an axis may be called like the jet itself
    lists = {axis: "entry" if axis == "jet" else axis for axis in counts}
    toys = ToyJets({lists[axis]: numbers for axis, numbers in counts.items()}, seed)
    columns: dict[str, Any] = {}
    axis_of = {group.name: (axes or {}).get(group.name, group.name) for group in config.inputs}
    listed = _listed(config, {group for group, axis in axis_of.items() if axis in counts})
    stems = {name.rpartition("_")[0] for name in listed}
    for group in config.inputs:
        for name in config.columns([variable.name for variable in group.variables]):
            stem, _, rest = name.rpartition("_")
            single = axis_of[group.name] not in counts or (stem in _PER_JET and stem not in stems)
            object_ = "jet" if single and name not in listed else lists[axis_of[group.name]]
            needs, function = _KINEMATICS.get(rest, ((rest or name,), lambda values: values))
            values = function(*(toys.column(object_, need) for need in needs)).astype(np.float32)
            column = ak.Array(values) if object_ == "jet" else ak.unflatten(values, toys.counts(object_))
            columns.setdefault(config.stored(name), column)
    return columns
