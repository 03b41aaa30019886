"""Number of slots that a network needs: whether the outputs of a jet depend on empty slots after the last object.

Descriptions give a length, or a minimum and a maximum; CMSSW and weaver pad each jet to it. If a graph takes any length
and empty slots do not change the outputs, fewer slots are faster and give the same scores. This is measured with random
jets when a network is first used, and stored in the user's cache. Otherwise the description determines the length.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from jettagger.bundles.bundle import Bundle
from jettagger.bundles.probing import FOUR_MOMENTUM, probe_cache
from jettagger.bundles.trials import require_trial
from jettagger.display import Brief
from jettagger.errors import ModelFileError
from jettagger.inference.network import deviation, evaluate
from jettagger.inputs.batching import GroupValues, Table, make_batches, tabulate
from jettagger.inputs.random_jets import limited
from jettagger.inputs.source import source_of
from jettagger.runtime.codedigest import code_digest
from jettagger.runtime.processcache import ProcessCache
from jettagger.sessions import OrtSession, Session
from jettagger.types import Array

__all__ = ["Slots", "as_run", "measured_slots", "require_session_trial"]


@dataclass(frozen=True)
class Slots(Brief):
    """Properties of one axis of a network.

    Parameters
    ----------
    shortest : int
        Minimum number of slots with the same outputs as for the description's length.
    longest : int
    exact : bool
        Whether a jet must have exactly as many slots as objects, because empty slots change its scores.
    change : float
        Change of the scores of random jets with fewer, or with more, slots than in the description: in units of the
        tolerance, 1e-5 for probabilities and 1e-4 relative for other outputs; infinite if the network fails.
    """

    shortest: int
    longest: int
    exact: bool = False
    change: float = 0.0


_MEASURED: ProcessCache[str, dict[str, Slots]] = ProcessCache()


def as_run(bundle: Bundle) -> Bundle:
    """A model with the lengths with which its network runs.

    Parameters
    ----------
    bundle : Bundle

    Returns
    -------
    Bundle
        Its groups have the minimum number of slots as ``min_length``, and ``exact`` if jets of different length need
        separate runs. The bundle itself if it has no weights.

    Examples
    --------
    >>> from jettagger.bundles.registry import load_bundle
    >>> as_run(load_bundle("tinyParT")).groups[0].min_length
    16
    """
    slots = measured_slots(bundle)
    if not slots:
        return bundle
    groups = []
    for group in bundle.groups:
        found = slots.get(group.axis)
        if found is not None and not group.per_jet:
            group = replace(group, min_length=found.shortest, exact=found.exact)
        groups.append(group)
    return replace(bundle, groups=tuple(groups))


def measured_slots(bundle: Bundle) -> dict[str, Slots]:
    """The slots needed on each axis whose length is not fixed in the graph.

    Parameters
    ----------
    bundle : Bundle

    Returns
    -------
    dict of str to Slots
        Axis -> slots.

    Warns
    -----
    RuntimeWarning
        When it is measured that a network is sensitive to padding in spite of a mask; not if this is known from the
        cache.
    """
    free = _free(bundle)
    if not free or bundle.graph is None:
        return {}
    if bundle.digest in _MEASURED:
        return _MEASURED[bundle.digest]
    require_session_trial(bundle)
    import onnxruntime

    said = f"slots {code_digest()} {onnxruntime.__version__} {bundle.digest}"
    key = hashlib.sha256(said.encode()).hexdigest()
    cache = probe_cache()
    kept = None if cache is None else cache.get(key)
    if kept is not None:
        rows = zip(kept["axes"].tolist(), kept["slots"].tolist(), kept["change"].tolist(), strict=True)
        slots = {axis: Slots(low, high, bool(exact), change) for axis, (low, high, exact), change in rows}
    else:
        try:
            session = OrtSession(bundle.graph, 1, "cpu")
        except ModelFileError:
            return {}  # who runs the network is told why
        measurement = _Measurement(bundle, session)
        try:
            slots = measurement.all(free)
        except _Unmeasurable:  # who runs the network is told why
            return {axis: measurement.described(axis, np.inf) for axis in free}
        if cache is not None:
            cache.put(
                key,
                {
                    "axes": np.array(list(slots)),
                    "slots": np.array([(item.shortest, item.longest, item.exact) for item in slots.values()]),
                    "change": np.array([item.change for item in slots.values()]),
                },
            )
        _say(bundle, slots)
    _MEASURED[bundle.digest] = slots
    return slots


def require_session_trial(bundle: Bundle, backend: str = "fast") -> None:
    """Try the sessions of a model in a separate process, unless it is trusted; see `jettagger.bundles.trials`.

    Parameters
    ----------
    bundle : Bundle
        With weights.
    backend : str
        Backend of `jettagger.inference.acceleration.open_session` to try.

    Raises
    ------
    ModelFileError
    """
    if not bundle.trusted:  # OpenVINO reserves more than a trial has: the network behaves the same without it
        backend = "onnxruntime" if backend == "openvino" else backend
        require_trial("session", bundle.folder, [bundle.digest], backend=backend)


def _free(bundle: Bundle) -> list[str]:
    """Axes whose length is not fixed in the graph, the longest first."""
    if bundle.graph is None:
        return []
    shapes = {tensor.name: tensor.shape for tensor in bundle.graph.inputs}
    axes = {
        group.axis
        for group in bundle.groups
        if "objects" in group.layout and isinstance(shapes[group.name][group.layout.index("objects")], str)
    }
    return sorted((axis for axis in bundle.limits if axis in axes), key=lambda axis: -bundle.limits[axis][1])


def _say(bundle: Bundle, slots: Mapping[str, Slots]) -> None:
    masked = {group.axis for group in bundle.groups if group.is_mask}
    for axis, item in slots.items():
        if axis not in masked or not (item.exact or (item.shortest == item.longest > 1)):
            continue
        how = (
            "jets run only with others of their own length"
            if item.exact
            else f"each jet gets the {item.longest} slots of the description"
        )
        why = "fails with" if np.isinf(item.change) else "gives other scores for"
        warnings.warn(
            f"the network of {bundle.name!r} {why} another number of slots of {axis!r}, in spite of their mask: {how}, "
            "as in CMSSW and weaver. Scores are right; scoring is slower",
            RuntimeWarning,
        )


class _Unmeasurable(Exception):
    """The network fails with the number of slots in its description."""


class _Measurement:
    """Compares the outputs of a network for the same jets with few and with many slots."""

    def __init__(self, bundle: Bundle, session: Session) -> None:
        self.bundle = bundle
        self.session = session
        self.limits = bundle.limits
        self.needed = {group.axis for group in source_of(bundle).constituents}
        #: axis -> length known to be valid; the maximum by default
        self.known = {axis: high for axis, (_, high) in self.limits.items()}

    def all(self, axes: list[str]) -> dict[str, Slots]:
        """The slots of these axes: all at once if the outputs do not depend on them, otherwise one by one."""
        least = {axis: low if low < high else 1 for axis, (low, high) in self.limits.items() if axis in axes}
        if self.change(least) <= 1:
            return {axis: Slots(least[axis], self.limits[axis][1]) for axis in axes}
        slots = {}
        for axis in axes:
            slots[axis] = self.one(axis)
            self.known[axis] = slots[axis].shortest
        few = {axis: item for axis, item in slots.items() if not item.exact and item.shortest < item.longest}
        if len(few) > 1 and self.change({axis: item.shortest for axis, item in few.items()}) > 1:
            slots |= {axis: self.described(axis, slots[axis].change) for axis in few}
        return slots

    def described(self, axis: str, change: float) -> Slots:
        """The number of slots required by the description."""
        low, high = self.limits[axis]
        return Slots(low, high, exact=low < high, change=change)

    def one(self, axis: str) -> Slots:
        low, high = self.limits[axis]
        change = np.inf
        for shortest in _doubled(low if low < high else 1, high):
            change = self.change({axis: shortest})
            if change <= 1:
                return Slots(shortest, high)
            if low < high and np.isfinite(change):
                break  # it runs with the slots of the description, so these count
        return self.described(axis, change)

    def change(self, shortest: Mapping[str, int]) -> float:
        """Change of scores between a given and the maximum number of slots; infinite if the network fails."""
        worst = 0.0
        for usual in (True, False):
            for counts, few in self.jets(shortest):
                try:
                    many = self.values(counts, {axis: self.limits[axis][1] for axis in shortest}, usual)
                except ModelFileError as error:
                    raise _Unmeasurable from error
                try:
                    worst = max(worst, deviation(self.bundle, self.values(counts, few, usual), many))
                except ModelFileError:
                    return np.inf
        return worst

    def jets(self, shortest: Mapping[str, int]) -> Iterator[tuple[dict[str, Array], dict[str, int]]]:
        """Numbers of objects of some jets and initial numbers of slots: very few objects, and some more."""
        for few in (True, False):
            counts, lengths = {}, {}
            for axis, low in shortest.items():
                high = self.limits[axis][1]
                lengths[axis] = low if few else (low + high) // 2
                least = 1 if axis in self.needed else 0
                numbers = (1, least, min(2, low), low) if few else (lengths[axis], lengths[axis])
                counts[axis] = np.array(numbers, dtype=np.int64)
            n_jets = len(next(iter(counts.values())))
            for axis in self.limits.keys() - shortest.keys():
                counts[axis] = np.full(n_jets, max(1, self.known[axis] * 2 // 3), dtype=np.int64)
            yield counts, lengths

    def values(self, counts: Mapping[str, Array], lengths: Mapping[str, int], usual: bool) -> Array:
        """All outputs of jets with a given number of slots; other axes have the length known to be valid."""
        n_jets = len(next(iter(counts.values())))
        groups = []
        for group in self.bundle.groups:
            if not group.per_jet:
                group = replace(group, min_length=lengths.get(group.axis, self.known[group.axis]))
            groups.append(group)
        objects = source_of(self.bundle).random_jets(counts, n_jets, seed=7)
        tables = limited(tabulate(tuple(groups), objects, self.bundle.card.nonfinite), counts)
        if not usual:
            tables = tuple(_normal(table) for table in tables)
        result = np.full((n_jets, len(self.bundle.outputs)), np.nan, dtype=np.float32)
        size = self.bundle.fixed_batch or n_jets
        for batch in make_batches(tables, batch_size=size, pad_mode=self.bundle.card.pad_mode, cost=None):
            result[batch.jets] = evaluate(self.bundle, self.session, batch.inputs)
        return result


def _doubled(shortest: int, limit: int) -> Iterator[int]:
    """A number, twice and four times as much, ... below a limit."""
    while shortest < limit:
        yield shortest
        shortest *= 2


def _normal(table: Table) -> Table:
    """Standard normal values instead of those of the objects, all negative in every second jet.

    Masks, momenta and images are kept.
    """
    if not isinstance(table, GroupValues):
        return table
    stems = {variable.feature.name.rpartition("_")[2].lower() for variable in table.group.variables}
    if table.group.is_mask or set(FOUR_MOMENTUM) <= stems:
        return table
    values = table.values.copy()
    values[:-1] = np.random.default_rng(11).normal(size=values[:-1].shape)
    for start, number in zip(table.starts[1::2], table.counts[1::2], strict=True):
        values[start : start + number] = -np.abs(values[start : start + number])
    return replace(table, values=values)
