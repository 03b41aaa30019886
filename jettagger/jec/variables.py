"""Branches of the shards and the inputs of events that they stand for: names, groups and order of ONNX inputs.

A model of the energy calibration takes raw values. Its inputs are ``global``, ``float32[jets, branches]``, and for each
type of constituents ``<type>``, ``float32[jets, branches, slots]``, with a mask ``<type>_mask``,
``float32[jets, 1, slots]``, which is 1 for constituents and 0 for empty slots. Values of empty slots are 0 and mean
nothing: transforms of them may be infinite, so the network selects by the mask and does not multiply by it.
Categorical branches are stored as numbers in the same tensor. Candidates are charged (``ch``) or neutral (``ne``) by
their charge; they and vertices come in decreasing order of pt and of the significance of the transverse distance.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from jettagger.arguments import guard
from jettagger.display import Brief
from jettagger.errors import UnknownName
from jettagger.formats.base import JetKind
from jettagger.jec.constructed import GLOBAL, construction

__all__ = ["ABSENT", "BLOCKS", "BRANCHES", "Branch", "declaration", "input_branches", "mask_of"]

#: blocks of branches, in the order of the inputs -> object of a declaration of inputs
BLOCKS: Mapping[str, str] = MappingProxyType({"global": "jet", "ch": "charged", "ne": "neutral", "sv": "vertices"})

#: maximum number of objects of a jet; more are counted as truncated
_SLOTS = {"ch": 500, "ne": 500, "sv": 50}


@dataclass(frozen=True)
class Branch(Brief):
    """A branch of the shards.

    Parameters
    ----------
    name : str
    block : str
        One of `BLOCKS`.
    feature : str
        Name of the feature of events, see `jettagger.features`.
    categorical : bool
        Whether its values are codes.
    """

    name: str
    block: str
    feature: str
    categorical: bool = False


def _table() -> Mapping[str, Branch]:
    jets = {
        "pt": "jet_uncorrected_pt",
        "eta": "jet_eta",
        "phi": "jet_phi",
        "mass": "jet_uncorrected_mass",
        "area": "jet_area",
        "num_pv": "jet_npv",
        "rho": "jet_rho",
    }
    found = {name: Branch(name, "global", feature) for name, feature in jets.items()}
    codes = ("ch_id", "ch_pv_ass", "ne_id")
    constituents = {
        "ch": (
            *("pt", "eta", "phi", "dxy", "dxy_significance", "dz", "num_hits", "num_pixel_hits", "lost_hits"),
            *("norm_chi2", "puppi_weight", "id", "pv_ass"),
        ),
        "ne": ("pt", "eta", "phi", "hcal_frac", "puppi_weight", "id"),
        "sv": ("mass", "pt", "distance", "significance", "num_tracks"),
    }
    for block, names in constituents.items():
        for name in (f"{block}_{rest}" for rest in names):
            found[name] = Branch(name, block, name, name in codes)
    return MappingProxyType(found)


#: branches that events can provide, in the order of the shards
BRANCHES: Mapping[str, Branch] = _table()

#: branches of the original that PFNano lacks
ABSENT = ("ch_num_hits", "ch_num_pixel_hits", "ne_hcal_frac")


def input_branches(features: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    """The branches from which features are computed.

    Parameters
    ----------
    features : mapping of str to iterable of str
        Block -> features, numerical and categorical; constructed ones (``ch_rel_pt``, ``ch_deta``, ...) among them.

    Returns
    -------
    dict of str to tuple of str
        Block -> branches, in the order in which they are first needed; ``global`` first, then the other blocks in the
        order of `BLOCKS`, then unknown ones.

    Examples
    --------
    >>> input_branches({"ch": ["ch_pt", "ch_dr"], "global": ["pt"]})
    {'global': ('pt', 'eta', 'phi'), 'ch': ('ch_pt', 'ch_eta', 'ch_phi')}
    """
    order = [block for block in (*BLOCKS, *features) if block in features or block == GLOBAL]
    found: dict[str, dict[str, None]] = {block: {} for block in order}
    for block in found:
        for name in features.get(block, ()):
            made = construction(name)
            found[GLOBAL].update(dict.fromkeys(made.jet if made else ()))
            found[block].update(dict.fromkeys(made.constituents if made else (name,)))
    return {block: tuple(names) for block, names in found.items()}


def mask_of(block: str) -> str:
    """The name of the input with the mask of a type of constituents."""
    return f"{block}_mask"


def declaration(
    name: str, branches: Mapping[str, Iterable[str]], jets: JetKind = "AK4", title: str = "", domain: str = ""
) -> dict[str, Any]:
    """The declaration of the inputs of a model, the content of ``inputs.json``.

    Parameters
    ----------
    name : str
        Of the model.
    branches : mapping of str to iterable of str
        Block -> branches, as `input_branches` gives them; their order is that of the variables in the tensors.
    jets : {"AK4", "AK8"}
        The jets that the model takes: AK8 for fat jets of any radius.
    title, domain : str
        See `jettagger.bundles.declaration.InputDeclaration`.

    Returns
    -------
    dict

    Raises
    ------
    UnknownName
        If a block or branch is none that events can provide; lists all of them with the nearest ones.

    Examples
    --------
    >>> made = declaration("mine", {"global": ["pt", "rho"], "sv": ["sv_pt"]})
    >>> [(group["input"], group["variables"]) for group in made["groups"]]
    [('global', ['jet_uncorrected_pt', 'jet_rho']), ('sv', ['sv_pt']), ('sv_mask', ['sv_mask'])]
    """
    branches = {block: tuple(names) for block, names in branches.items()}
    unknown = [block for block in branches if block not in BLOCKS]
    if unknown:
        raise UnknownName("block of branches", unknown, BLOCKS, f"the features of {name!r}")
    for block, names in branches.items():
        known = [branch.name for branch in BRANCHES.values() if branch.block == block]
        if unknown := [item for item in names if item not in known]:
            raise UnknownName("branch", unknown, known, f"the block {block!r} of {name!r}")
    groups: list[dict[str, Any]] = []
    for block, object_ in BLOCKS.items():
        features = [BRANCHES[item].feature for item in branches.get(block, ())]
        if not features:
            continue
        if block == "global":
            groups.append({"input": block, "object": object_, "axes": ["jets", "variables"], "variables": features})
            continue
        common = {"object": object_, "length": [1, _SLOTS[block]], "axes": ["jets", "variables", "objects"]}
        groups.append({"input": block, **common, "variables": features})
        groups.append({"input": mask_of(block), **common, "variables": [mask_of(block)]})
    return {
        "schema_version": 1,
        "name": name,
        "title": title,
        "source": "jettagger jec",
        "jets": jets,
        "domain": domain,
        "empty_jets": True,
        "groups": groups,
    }


guard(globals())
