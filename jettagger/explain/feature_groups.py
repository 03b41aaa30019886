"""Named groups of variables, and kinds of constituents, of any network: by the names of its variables."""

from __future__ import annotations

import re
from collections.abc import Mapping

from jettagger.arguments import guard
from jettagger.bundles.bundle import Bundle

__all__ = ["KINEMATICS", "feature_groups", "particle_kinds"]

#: group of all variables of constituents that no pattern describes
KINEMATICS = "kinematics"

#: name of a group -> pattern of its variables, the first that fits; those of vertices and jets have groups of their own
_GROUPS = {
    "displacement": re.compile(r"dxy|dz|d0|sip[23]d|jetdist|dist_from_pv", re.IGNORECASE),
    "particle type": re.compile(
        r"charge$|_is(el|mu|gamma|photon|electron|muon|charged|neutral)|pdgid|hcalfrac|hadfrac", re.IGNORECASE
    ),
    "track quality": re.compile(r"chi2|quality|inner_?hits|vtx_?ass|hits|detadeta|dphidphi|dptdpt|cov|puppiw", re.I),
}

#: kind of constituents -> ends of the names of the variables that mark them
_KINDS = {
    "charged hadrons": ("isChargedHad", "isChargedHadron"),
    "neutral hadrons": ("isNeutralHad", "isNeutralHadron"),
    "photons": ("isGamma", "isPhoton"),
    "electrons": ("isEl", "isElectron"),
    "muons": ("isMu", "isMuon"),
}

#: variables with the significance of a track's displacement, the first one that a network has
_SIGNIFICANCES = ("btagSip3dSig", "dxysig", "d0sig", "trackSip3dSig", "BtagPf_trackSip3dSig")

#: standard deviations beyond which a track is displaced
DISPLACED = 3


def feature_groups(bundle: Bundle) -> dict[str, tuple[str, ...]]:
    """The variables of a network in groups that are left out together.

    Parameters
    ----------
    bundle : Bundle

    Returns
    -------
    dict of str to tuple of str
        ``kinematics``, ``particle type``, ``displacement``, ``track quality``, ``vertices``, ``jet``, as far as there
        are such variables; each variable is in one of them. Masks and images have none.

    Examples
    --------
    >>> from jettagger import load_bundle
    >>> {name: len(variables) for name, variables in feature_groups(load_bundle("inclParTToyV1")).items()}
    {'kinematics': 12, 'particle type': 6, 'track quality': 4, 'displacement': 7, 'vertices': 15}
    """
    found: dict[str, dict[str, None]] = {}
    for group in bundle.groups:
        if group.image is not None or group.is_mask:
            continue
        for variable in group.variables:
            name = variable.feature.name
            if not any(name in variables for variables in found.values()):
                found.setdefault(_group_of(name, group.object), {})[name] = None
    return {name: tuple(variables) for name, variables in found.items()}


def _group_of(name: str, object_: str) -> str:
    if object_ == "sv" or name.startswith("sv_"):
        return "vertices"
    if object_ == "jet":
        return "jet"
    return next((title for title, pattern in _GROUPS.items() if pattern.search(name)), KINEMATICS)


def particle_kinds(bundle: Bundle) -> Mapping[str, str]:
    """Kinds of constituents that a network can tell apart, as cuts for `jettagger.explain.methods.occlude_kinds`.

    Parameters
    ----------
    bundle : Bundle

    Returns
    -------
    dict of str to str
        Kind -> cut in variables before standardisation, or the name of a list of objects.

    Examples
    --------
    >>> from jettagger import load_bundle
    >>> kinds = particle_kinds(load_bundle("inclParTToyV1"))
    >>> kinds["muons"], kinds["displaced tracks"]
    ('pfcand_isMu > 0', 'abs(pfcand_btagSip3dSig) > 3')
    """
    groups = [group for group in bundle.groups if group.image is None and not group.is_mask]
    constituents = [group for group in groups if group.object not in ("jet", "sv")]
    names = [variable.feature.name for group in constituents for variable in group.variables]
    found = {}
    for kind, ends in _KINDS.items():
        marks = [name for name in names if name.endswith(ends)]
        if marks:
            found[kind] = f"{marks[0]} > 0"
    for end in _SIGNIFICANCES:
        marks = [name for name in names if name.endswith(end)]
        if marks:
            found["displaced tracks"] = f"abs({marks[0]}) > {DISPLACED}"
            break
    if any(group.object == "sv" for group in groups):
        found["vertices"] = "sv"
    return found


guard(globals())
