"""Occlusion: the change of a number when constituents are left out, or variables are replaced. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jettagger.arguments import guard, in_range
from jettagger.display import Brief
from jettagger.errors import MismatchError, UnknownName
from jettagger.explain.baselines import Baseline, no_constituents
from jettagger.explain.jets import JetInputs, names_of_group
from jettagger.explain.scorer import Scorer
from jettagger.expressions import parse
from jettagger.types import Array

__all__ = ["Cumulative", "Effects", "cumulative", "occlude_constituents", "occlude_kinds", "occlude_variables"]

#: jets with something left out that are made at a time
_ROWS = 512


@dataclass(frozen=True)
class Effects(Brief):
    """The change of a number of jets by leaving something out.

    Parameters
    ----------
    names : tuple of str
        What is left out; empty for single constituents.
    values : float64[n, names] or float64[n, longest list]
        Number of the jet minus that without it. Constituents are in the order of the file: NaN behind the end of a
        list, and 0 for those that the network does not see.
    outputs : float64[n]
        The number of the jets.
    method : str
    """

    names: tuple[str, ...]
    values: Array
    outputs: Array
    method: str = "occlusion"


def occlude_constituents(scorer: Scorer, jets: JetInputs, family: str = "pf") -> Effects:
    """Leave out one constituent after the other.

    Parameters
    ----------
    scorer : Scorer
    jets : JetInputs
    family : str
        ``pf``: candidates; ``sv``: vertices; ``part`` of tables.

    Returns
    -------
    Effects
        Later constituents move up by one slot; those beyond the limit of the network do not move in. Variables of the
        jet, such as the number of constituents, stay.

    Raises
    ------
    UnknownName
        If the network does not take such objects.
    MismatchError
        If they become an image.

    Notes
    -----
    Zeiler, Fergus, arXiv:1311.2901.
    """
    seen = _seen(jets, family)
    outputs = scorer.values(jets)
    values = np.where(np.isnan(jets.per_object(family, {})), np.nan, 0.0)
    jet, rank = np.nonzero(seen)
    for start in range(0, len(jet), _ROWS):
        rows = slice(start, start + _ROWS)
        part = jets.take(jet[rows])
        kept = {name: part.ranks[name] != rank[rows, np.newaxis] for name in jets.in_family(family)}
        values[jet[rows], rank[rows]] = outputs[jet[rows]] - _without(scorer, part, kept)
    return Effects((), values, outputs)


def occlude_kinds(scorer: Scorer, jets: JetInputs, kinds: Mapping[str, str]) -> Effects:
    """Leave out all constituents of a kind.

    Parameters
    ----------
    scorer : Scorer
    jets : JetInputs
    kinds : mapping of str to str
        Name -> cut in variables of one input, before standardisation: ``{"photons": "pfcand_isGamma > 0",
        "displaced": "abs(pfcand_dxysig) > 3"}``. A cut in a name of objects alone takes all of them: ``"sv"``.

    Returns
    -------
    Effects
        0 for jets without such constituents.

    Raises
    ------
    UnknownName
        If no input has these variables.
    MismatchError
        If variables of different inputs are combined.
    """
    outputs = scorer.values(jets)
    values = np.zeros((len(jets), len(kinds)), dtype=np.float64)
    for column, cut in enumerate(kinds.values()):
        family, gone = _of_kind(jets, cut)
        if not gone.any():
            continue
        kept = {}
        for name in jets.in_family(family):
            ranks = jets.ranks[name]
            kept[name] = ~(np.take_along_axis(gone, np.maximum(ranks, 0), axis=1) & (ranks >= 0))
        some = np.flatnonzero(gone.any(axis=1))
        part = {name: mask[some] for name, mask in kept.items()}
        values[some, column] = outputs[some] - _without(scorer, jets.take(some), part)
    return Effects(tuple(kinds), values, outputs)


def occlude_variables(
    scorer: Scorer, jets: JetInputs, groups: Mapping[str, Sequence[str]], baseline: Baseline | None = None
) -> Effects:
    """Replace variables in all constituents, or channels of images in all pixels.

    Parameters
    ----------
    scorer : Scorer
    jets : JetInputs
    groups : mapping of str to sequence of str
        Name -> variables that are replaced together: ``{"displacement": ["pfcand_dxysig", "pfcand_dzsig"]}``.
    baseline : Baseline, optional
        Their values; default: those of empty slots. `median_constituent` takes values that occur,
        `other_constituents` those of other jets.

    Returns
    -------
    Effects

    Raises
    ------
    UnknownName
        If the network does not take a variable.
    MismatchError
        If the baseline has another shape than the inputs.
    """
    outputs = scorer.values(jets)
    start = (baseline or no_constituents(jets.bundle)).of(jets)
    values = np.empty((len(jets), len(groups)), dtype=np.float64)
    for column, (name, variables) in enumerate(groups.items()):
        changed = replaced(jets, variables, start, f"group {name!r}")
        values[:, column] = outputs - scorer.values(jets, changed)
    return Effects(tuple(groups), values, outputs)


def replaced(jets: JetInputs, variables: Sequence[str], values: Mapping[str, Array], where: str) -> dict[str, Array]:
    """The inputs of which some variables are replaced.

    Parameters
    ----------
    jets : JetInputs
    variables : sequence of str
    values : mapping of str to float32[n, variables, length]
        Group -> other values, of which those of the variables are taken.
    where : str
        For errors.

    Returns
    -------
    dict of str to float32[n, variables, length]
        Groups that contain one of the variables.

    Raises
    ------
    UnknownName
        If the network does not take a variable.
    """
    unknown = [name for name in variables if name not in jets.variables]
    if unknown:
        raise UnknownName("variable", unknown, jets.variables, f"{where} of {jets.bundle.name!r}")
    changed = {}
    for name, group in jets.groups.items():
        places = [place for place, item in enumerate(names_of_group(group)) if item in variables]
        if places:
            changed[name] = jets.values[name].copy()
            changed[name][:, places] = values[name][:, places]
    return changed


@dataclass(frozen=True)
class Cumulative(Brief):
    """A number of jets with the most important constituents alone, and without them.

    Parameters
    ----------
    kept : float64[n, most + 1]
        The number with the first 0, 1, ... constituents only.
    removed : float64[n, most + 1]
        The number without the first 0, 1, ... constituents.
    outputs : float64[n]
        The number of the jets.
    """

    kept: Array
    removed: Array
    outputs: Array

    def sufficient(self, tolerance: float = 0.1) -> Array:
        """How many constituents suffice.

        Parameters
        ----------
        tolerance : float
            Maximum difference of the number to that of the whole jet, as a fraction of the difference between the whole
            jet and that without constituents.

        Returns
        -------
        int64[n]
            The smallest number of constituents from which on the number stays within the tolerance; -1 if these are
            more than were tried.
        """
        span = np.abs(self.outputs - self.kept[:, 0])[:, np.newaxis]
        within = np.abs(self.kept - self.outputs[:, np.newaxis]) <= tolerance * span
        stays = np.logical_and.accumulate(within[:, ::-1], axis=1)[:, ::-1]
        return np.where(stays.any(axis=1), stays.argmax(axis=1), -1)


def cumulative(scorer: Scorer, jets: JetInputs, ranking: Array, family: str = "pf", most: int = 10) -> Cumulative:
    """Keep, and leave out, the first constituents of a ranking: which ten suffice.

    Parameters
    ----------
    scorer : Scorer
    jets : JetInputs
    ranking : float[n, longest list]
        Importance of each constituent in the order of the file: `Effects.values`, `JetInputs.per_object` of
        attributions, their absolute values; largest first, NaN and constituents that the network does not see last.
    family : str
        As for `occlude_constituents`.
    most : int
        Maximum number of constituents.

    Returns
    -------
    Cumulative
        Jets with fewer constituents have their own number from there on. The number without any constituent is that of
        empty slots; NaN if the network gives none.

    Raises
    ------
    MismatchError
        If the ranking has another shape.
    """
    in_range(most, "cumulative(), argument most", 1)
    seen = _seen(jets, family)
    ranking = np.asarray(ranking, dtype=np.float64)
    if ranking.shape != seen.shape:
        raise MismatchError(f"the ranking has the shape {list(ranking.shape)}, expected {list(seen.shape)}")
    key = np.where(seen & ~np.isnan(ranking), -ranking, np.inf)
    place = np.argsort(np.argsort(np.where(seen, key, np.nan), axis=1, kind="stable"), axis=1, kind="stable")
    outputs = scorer.values(jets)
    found = {"kept": np.empty((len(jets), most + 1)), "removed": np.empty((len(jets), most + 1))}
    found["removed"][:, 0] = outputs
    for number in range(most + 1):
        first = place < number
        for what, chosen in (("kept", first), ("removed", ~first)):
            if what == "removed" and not number:
                continue
            kept = {
                name: np.take_along_axis(chosen, np.maximum(jets.ranks[name], 0), axis=1)
                for name in jets.in_family(family)
            }
            found[what][:, number] = _without(scorer, jets, kept)
    return Cumulative(found["kept"], found["removed"], outputs)


def _seen(jets: JetInputs, family: str) -> Array:
    """Mask of the constituents that are inputs, bool[n, longest list]."""
    images = [group.name for group in jets.bundle.groups if group.image is not None]
    if images:
        raise MismatchError(
            f"the constituents become an image in the input {images[0]!r} of {jets.bundle.name!r}, which has no slots "
            "to leave out; use gradients, whose maps are those of the pixels"
        )
    return jets.seen(family)


def _of_kind(jets: JetInputs, cut: str) -> tuple[str, Array]:
    """The list of objects that a cut belongs to, and the mask of those that pass it, bool[n, longest list]."""
    if cut in jets.families:
        return cut, _seen(jets, cut)
    expression = parse(cut, where="kind of constituents")
    homes: dict[str, tuple[str, str, int]] = {}
    for family, names in jets.families.items():
        for name in names:
            for place, variable in enumerate(jets.groups[name].variables):
                homes.setdefault(variable.feature.name, (family, name, place))
    unknown = [name for name in expression.names if name not in homes]
    if unknown:
        known = [*jets.families, *homes]
        raise UnknownName("variable", unknown, known, f"the kind {cut!r} of {jets.bundle.name!r}")
    families = {homes[name][0] for name in expression.names}
    if len(families) != 1:
        raise MismatchError(f"the kind {cut!r} has variables of {len(families)} kinds of objects, expected of one")
    family = families.pop()
    columns = {}
    for name in expression.names:
        _, group, place = homes[name]
        raw = np.nan_to_num(jets.raw[group][:, place].astype(np.float64))
        # a wrapped list has its objects several times, with the same value
        jet, slot = np.nonzero(jets.ranks[group] >= 0)
        columns[name] = np.full(_seen(jets, family).shape, np.nan)
        columns[name][jet, jets.ranks[group][jet, slot]] = raw[jet, slot]
    with np.errstate(invalid="ignore"):
        passing = np.broadcast_to(expression.evaluate(columns), _seen(jets, family).shape).astype(bool)
    known = ~np.logical_or.reduce([np.isnan(column) for column in columns.values()])
    return family, passing & known


def _without(scorer: Scorer, jets: JetInputs, kept: Mapping[str, Array]) -> Array:
    """The number of jets of which some slots are left out."""
    found = np.empty(len(jets), dtype=np.float64)
    for rows, values in reduced(jets, kept):
        found[rows] = scorer.values(jets.take(rows), values)
    return found


def reduced(jets: JetInputs, kept: Mapping[str, Array]) -> Iterator[tuple[Array, dict[str, Array]]]:
    """The inputs of jets of which some objects are left out; later ones move up.

    Parameters
    ----------
    jets : JetInputs
    kept : mapping of str to bool[n, length]
        Group -> slots that stay; groups that are left out stay as they are.

    Yields
    ------
    rows : int64[k]
        Jets with as many slots: all of them, unless the network is sensitive to empty slots.
    values : dict of str to float32[k, variables, length]
        Their changed inputs.
    """
    orders: dict[str, Array] = {}
    wanted: dict[str, Array] = {}
    for name, mask in kept.items():
        group = jets.groups[name]
        wrapped = (group.pad_mode or jets.bundle.card.pad_mode) == "wrap" and not group.is_mask
        length = mask.shape[1]
        ranks = jets.ranks[name]
        real = ranks >= 0
        if wrapped:  # the first of each object; the others repeat them
            distinct = 1 + np.count_nonzero(np.diff(np.sort(ranks, axis=1), axis=1), axis=1)
            real &= np.arange(length) < distinct[:, np.newaxis]
        stays = real & mask
        counts = stays.sum(axis=1)
        order = np.argsort(~stays, axis=1, kind="stable")
        slot = np.arange(length)
        if wrapped:
            order = np.take_along_axis(order, slot % np.maximum(counts, 1)[:, np.newaxis], axis=1)
            empty = (counts == 0)[:, np.newaxis] | np.zeros_like(stays)
        else:
            empty = slot >= counts[:, np.newaxis]
        orders[name] = np.where(empty, length, order)
        exact = group.exact and not group.per_jet
        needed = np.clip(counts, group.min_length, length) if exact else np.full(len(counts), length)
        axis = group.axis
        wanted[axis] = np.maximum(wanted[axis], needed) if axis in wanted else needed
    lengths = np.stack(list(wanted.values()), axis=1) if wanted else np.zeros((len(jets), 0), dtype=np.int64)
    _, which = np.unique(lengths, axis=0, return_inverse=True)
    for number in range(int(which.max(initial=-1)) + 1):
        rows = np.flatnonzero(which.ravel() == number)
        values = {}
        for name, order in orders.items():
            group = jets.groups[name]
            pads = np.array([variable.pad for variable in group.variables], dtype=np.float32)
            array = jets.values[name][rows]
            more = np.broadcast_to(pads[:, np.newaxis], (*array.shape[:2], 1))
            taken = order[rows, : int(wanted[group.axis][rows[0]])]
            values[name] = np.take_along_axis(np.concatenate([array, more], axis=2), taken[:, np.newaxis], axis=2)
        yield rows, values


guard(globals())
