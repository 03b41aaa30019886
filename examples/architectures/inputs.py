"""What the networks see: names, orders and cuts, written once, as the declaration that a bundle has.

Training and tagging use the same declaration: the training arrays are made by the tagger itself
(`jettagger.make_inputs`), so that a network finds in a PFNano file what it was trained with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = [
    "BOUND",
    "COLUMNS",
    "IMAGE_RANGE",
    "MOST",
    "ORDERS",
    "PARTICLES",
    "TASKS",
    "TRACKS",
    "TRACK_CUT",
    "VERTICES",
    "Task",
    "columns_group",
    "declaration",
    "image_group",
    "image_settings",
    "particle_group",
    "track_group",
    "vertex_group",
]

#: variables of the constituents; significances of impact parameters are cut at +-`BOUND`
PARTICLES = (
    "pfcand_mask", "pfcand_pt_log_nopuppi", "pfcand_ptrel_log", "pfcand_etarel", "pfcand_phirel", "pfcand_deltaR",
    "pfcand_isEl", "pfcand_isMu", "pfcand_isGamma", "pfcand_isChargedHad", "pfcand_isNeutralHad", "pfcand_charge",
    "pfcand_dxysig", "pfcand_dzsig", "pfcand_btagSip3dSig",
)  # fmt: skip

#: variables of the secondary vertices
VERTICES = (
    "sv_mask", "sv_pt_log", "sv_ptrel_log", "sv_etarel", "sv_phirel", "sv_mass", "sv_ntracks", "sv_dxysig",
    "sv_d3dsig",
)  # fmt: skip

#: variables of the tracks for b tagging
TRACKS = (
    "pfcand_mask", "pfcand_ptrel_log", "pfcand_deltaR", "pfcand_dxysig", "pfcand_dzsig", "pfcand_btagSip3dSig",
)  # fmt: skip

#: tracks with impact parameters: PFNano has none below 0.95 GeV
TRACK_CUT = "abs(charge) == 1 and pt >= 0.95"

BOUND = 50.0

#: objects of a jet, the leading ones in pt (vertices: in the significance of their flight distance)
MOST: Mapping[str, int] = {"particles": 64, "vertices": 5, "tracks": 20}

#: columns of fat jets for the networks on substructure
COLUMNS = ("pt", "mass", "msoftdrop", "tau1", "tau2", "tau3", "tau4", "nConstituents")

#: half width of images in eta and phi
IMAGE_RANGE = 0.8

#: orders of tracks: name -> keys of the declaration; ties are broken by pt
ORDERS: Mapping[str, tuple[dict[str, str], ...]] = {
    "significance": ({"by": "abs(pfcand_btagSip3dSig)", "direction": "descending"},),
    "significance, ascending": ({"by": "abs(pfcand_btagSip3dSig)", "direction": "ascending"},),
    "pt": ({"by": "pt", "direction": "descending"},),
    "distance": ({"by": "pfcand_deltaR", "direction": "ascending"},),
}

#: channels of ImageTop
CHANNELS = ("all", "charged", "neutral", "photons", "electrons", "muons")


@dataclass(frozen=True)
class Task:
    """A classification of jets.

    Parameters
    ----------
    name : str
    jets : str
        ``AK8`` or ``AK4``.
    classes : tuple of str
        The first is the background.
    edges : tuple of float
        Bins in pt, GeV, in which all classes have the same weight.
    ranges : tuple of (float, float)
        Ranges of pt, GeV, in which rejections are measured.
    shares : tuple of float, optional
        Of the classes among training jets; their weights are the same. Default: equal.
    """

    name: str
    jets: str
    classes: tuple[str, ...]
    edges: tuple[float, ...]
    ranges: tuple[tuple[float, float], ...]
    shares: tuple[float, ...] = ()

    def numbers(self, size: int) -> list[int]:
        """Jets of each class in a training with ``size`` jets."""
        shares = self.shares or (1 / len(self.classes),) * len(self.classes)
        return [int(size * share) for share in shares]


TASKS: Mapping[str, Task] = {
    task.name: task
    for task in (
        Task(
            "fat", "AK8", ("multijets", "Hbb", "4q", "top"),
            (300, 350, 400, 450, 500, 600, 700, 850, 1000), ((300, 500), (500, 1000)),
        ),
        Task(
            "quark", "AK4", ("gluon", "quark"),
            (200, 250, 300, 350, 400, 450, 500, 600, 700, 850, 1000), ((200, 400), (400, 1000)),
        ),
        Task(
            "btag", "AK4", ("light", "charm", "beauty"),
            (30, 50, 75, 100, 150, 200, 300), ((30, 100), (100, 300)), shares=(0.45, 0.1, 0.45),
        ),
    )
}  # fmt: skip


def _bounded(name: str) -> Any:
    if not name.endswith(("sig", "Sig")):
        return name
    return {"name": name, "lower_bound": -BOUND, "upper_bound": BOUND}


def _objects(name: str, object_: str, variables: tuple[str, ...], length: Any, **more: Any) -> dict[str, Any]:
    group = {"input": name, "object": object_, "length": length, "axes": ["jets", "variables", "objects"]}
    return group | {"variables": [_bounded(variable) for variable in variables]} | more


def particle_group(kind: str) -> dict[str, Any]:
    """Constituents in decreasing pt, as many as there are; ``sequence`` or ``set``."""
    length = [1, MOST["particles"]]
    return _objects("particles", "candidates", PARTICLES, length, kind=kind, order=["pt"])


def vertex_group(kind: str) -> dict[str, Any]:
    """Secondary vertices in decreasing significance; ``sequence`` or ``set``."""
    return _objects("vertices", "vertices", VERTICES, [1, MOST["vertices"]], kind=kind)


def track_group(order: str, kind: str) -> dict[str, Any]:
    """Tracks in one of the `ORDERS`; ``sequence`` or ``set``."""
    more = {"kind": kind, "selection": TRACK_CUT, "order": list(ORDERS[order])}
    return _objects("tracks", "candidates", TRACKS, [1, MOST["tracks"]], **more)


def columns_group() -> dict[str, Any]:
    """Columns of the fat jets, as they are in the file."""
    return {
        "input": "columns",
        "object": "jet",
        "kind": "vector",
        "axes": ["jets", "variables"],
        "columns": list(COLUMNS),
    }


def image_settings(size: int, channels: int) -> dict[str, Any]:
    """The settings of images: pt in one or six channels, centred, rotated, flipped, divided by the pt in the image."""
    return {
        "size": size,
        "range": IMAGE_RANGE,
        "channels": list(CHANNELS[:channels]),
        "steps": {"centre": "centroid", "rotate": "principal", "flip": "both"},
        "normalise": "image",
    }


def image_group(size: int, channels: int) -> dict[str, Any]:
    """An image as input."""
    return {
        "input": "image",
        "object": "candidates",
        "most": MOST["particles"],
        "axes": ["jets", "channels", "rows", "columns"],
        "image": image_settings(size, channels),
    }


def declaration(task: Task, groups: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """The inputs of a network as the file ``inputs.json`` of its bundle.

    Parameters
    ----------
    task : Task
    groups : list of dict
        What the functions above return.
    name : str

    Returns
    -------
    dict
    """
    low, high = task.edges[0], task.edges[-1]
    return {
        "schema_version": 1,
        "name": name,
        "title": f"{task.name}: {' and '.join(task.classes)}",
        "source": "examples/architectures of jettagger",
        "jets": task.jets,
        "domain": f"pt >= {low:g} and pt <= {high:g}",
        "empty_jets": True,
        "groups": groups,
    }
