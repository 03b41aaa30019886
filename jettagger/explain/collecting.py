"""What is kept of each explained jet: sums over its constituents, its leading slots, its number.

These are a few kilobytes per jet, so that groups of jets, uncertainties and differences are made from them afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from jettagger.arguments import guard
from jettagger.bundles.bundle import Bundle
from jettagger.display import Brief
from jettagger.errors import UnknownName
from jettagger.explain.feature_groups import feature_groups
from jettagger.explain.jets import JetInputs, names_of_group
from jettagger.explain.scorer import Attributions
from jettagger.types import Array

__all__ = ["FEATURES", "GROUPS", "SLOTS", "JetNumbers", "collect", "joined_numbers", "variable_names"]

#: names of rankings: single variables, and the groups of `feature_groups`
FEATURES, GROUPS = "features", "groups"

#: leading slots of each input that are kept for maps
SLOTS = 40


@dataclass(frozen=True)
class JetNumbers(Brief):
    """Numbers of some explained jets, one entry per jet.

    Parameters
    ----------
    jets : int64[n]
        Indices of the jets in their chunk.
    outputs : float64[n]
        The number that is explained.
    names : mapping of str to tuple of str
        Ranking (``features``, ``groups``, ``kinds``) -> what is ranked.
    signed, absolute : mapping of str to float64[n, names]
        Ranking -> sum over the constituents of the attributions, and of their absolute values. What is left out as a
        whole has the change of the number, and its absolute value.
    maps : mapping of str to float32[n, variables, slots]
        Input -> attributions in its first `SLOTS` slots; NaN in empty ones. Of images [n, channels, rows, columns].
    checks : mapping of str to float64[n]
        ``reference``, ``residual``, ``not_finite``, ``steps``, as far as the method gives them.
    columns : mapping of str to array[n]
        Columns of the jets by their names in a skim.
    remarks : tuple of str
        Why derivatives are central differences, if they are.
    """

    jets: Array
    outputs: Array
    names: Mapping[str, tuple[str, ...]]
    signed: Mapping[str, Array]
    absolute: Mapping[str, Array]
    maps: Mapping[str, Array] = field(default_factory=dict)
    checks: Mapping[str, Array] = field(default_factory=dict)
    columns: Mapping[str, Array] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.jets)

    def take(self, index: Array) -> JetNumbers:
        """Some of the jets, int[n] or bool[n]."""
        parts = {
            name: {key: array[index] for key, array in getattr(self, name).items()}
            for name in ("signed", "absolute", "maps", "checks", "columns")
        }
        return JetNumbers(self.jets[index], self.outputs[index], self.names, remarks=self.remarks, **parts)


def variable_names(bundle: Bundle) -> dict[str, tuple[str, ...]]:
    """Names of the variables of each input, unique over all of them; of images those of the channels.

    Parameters
    ----------
    bundle : Bundle

    Returns
    -------
    dict of str to tuple of str
        Input -> names; a name that several inputs have is ``<input>: <name>``. Masks have none.

    Examples
    --------
    >>> from jettagger import load_bundle
    >>> names = variable_names(load_bundle("tinyParT"))
    >>> list(names), names["pf_vectors"][:2]
    (['pf_features', 'pf_vectors', 'sv_features', 'sv_vectors'], ('pfcand_px', 'pfcand_py'))
    """
    found = {group.name: names_of_group(group) for group in bundle.groups if not group.is_mask}
    every = [name for names in found.values() for name in names]
    return {
        group: tuple(f"{group}: {name}" if every.count(name) > 1 else name for name in names)
        for group, names in found.items()
    }


def collect(found: Attributions, order: str | None = None) -> JetNumbers:
    """The numbers of the jets of attributions.

    Parameters
    ----------
    found : Attributions
    order : str, optional
        A variable by which the objects in the maps are ordered, largest first, in the inputs of the objects that have
        it; default: the order of the network.

    Returns
    -------
    JetNumbers

    Raises
    ------
    UnknownName
        If no input has the variable.
    """
    jets = found.jets
    names = variable_names(jets.bundle)
    place = order_of(jets, order)
    sums, sizes, maps = [], [], {}
    for group in names:
        values = np.asarray(found.values[group], dtype=np.float64)
        axes = tuple(range(2, values.ndim))
        sums.append(values.sum(axis=axes))
        sizes.append(np.abs(values).sum(axis=axes))
        if jets.groups[group].image is not None:
            maps[group] = values.astype(np.float32)
            continue
        filled = jets.filled(group)
        if group in place:
            values = np.take_along_axis(values, place[group][:, np.newaxis], axis=2)
            filled = np.take_along_axis(filled, place[group], axis=1)
        shown = np.where(filled[:, np.newaxis], values, np.nan)[:, :, :SLOTS]
        missing = min(SLOTS, jets.groups[group].limit) - shown.shape[2]
        more = np.full((*shown.shape[:2], max(missing, 0)), np.nan)
        maps[group] = np.concatenate([shown, more], axis=2).astype(np.float32)
    features = tuple(name for group in names for name in names[group])
    signed = {FEATURES: np.concatenate(sums, axis=1)}
    absolute = {FEATURES: np.concatenate(sizes, axis=1)}
    ranked = {FEATURES: features}
    members = feature_groups(jets.bundle)
    if len(members) > 1:
        plain = [name.rpartition(": ")[2] for name in features]
        belongs = np.array([[name in variables for variables in members.values()] for name in plain], dtype=np.float64)
        ranked[GROUPS] = tuple(members)
        signed[GROUPS], absolute[GROUPS] = signed[FEATURES] @ belongs, absolute[FEATURES] @ belongs
    optional = {name: getattr(found, name) for name in ("reference", "residual", "not_finite", "steps")}
    checks = {name: np.asarray(array, np.float64) for name, array in optional.items() if _has(array, jets)}
    remarks = tuple(text for text in found.remarks if "central differences" in text)
    return JetNumbers(jets.jets, found.outputs, ranked, signed, absolute, maps, checks, dict(jets.columns), remarks)


def _has(array: Array | None, jets: JetInputs) -> bool:
    return array is not None and len(array) == len(jets)


def order_of(jets: JetInputs, order: str | None) -> dict[str, Array]:
    """Slots of each input in the order of a variable, largest first, empty ones last.

    Parameters
    ----------
    jets : JetInputs
    order : str, optional

    Returns
    -------
    dict of str to int64[n, length]
        Only inputs of the objects that have the variable.

    Raises
    ------
    UnknownName
        If no input has it.
    """
    if order is None:
        return {}
    places = {}
    known: dict[str, None] = {}
    for names in jets.families.values():
        for group in names:
            own = names_of_group(jets.groups[group])
            known |= dict.fromkeys(own)
            if order not in own:
                continue
            key = jets.raw[group][:, own.index(order)]
            key = np.where(jets.filled(group) & np.isfinite(key), -key, np.inf)
            ranked = np.argsort(key, axis=1, kind="stable")
            places.update({name: ranked for name in names if jets.filled(name).shape == ranked.shape})
            break
    if not places:
        raise UnknownName("variable", order, known, f"the inputs of {jets.bundle.name!r}, of an order")
    return places


def joined_numbers(parts: Iterable[JetNumbers]) -> JetNumbers:
    """The numbers of several batches, one after the other.

    Parameters
    ----------
    parts : iterable of JetNumbers
        At least one, of the same method and network.

    Returns
    -------
    JetNumbers
    """
    every: Sequence[JetNumbers] = list(parts)
    first = every[0]

    def joined(name: str) -> dict[str, Array]:
        return {key: np.concatenate([getattr(part, name)[key] for part in every]) for key in getattr(first, name)}

    return JetNumbers(
        np.concatenate([part.jets for part in every]),
        np.concatenate([part.outputs for part in every]),
        first.names,
        joined("signed"),
        joined("absolute"),
        joined("maps"),
        joined("checks"),
        joined("columns"),
        tuple(dict.fromkeys(text for part in every for text in part.remarks)),
    )


guard(globals(), "collect", "joined_numbers", "variable_names")
