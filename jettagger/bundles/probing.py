"""Properties of a network's outputs for random inputs: which columns are probabilities, independent of their names.

Only the shapes of the inputs and the names of the variables are needed. The network runs once for each file and
description; the result is stored in the user's cache.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jettagger.bundles.interface import LAYOUT, arranged, arranged_images
from jettagger.bundles.places import cache_folder
from jettagger.display import Brief
from jettagger.errors import JettaggerError
from jettagger.files.cache import DiskCache
from jettagger.kinematics import energy, px, py, pz
from jettagger.runtime.codedigest import code_digest
from jettagger.runtime.processcache import ProcessCache
from jettagger.sessions import OrtSession, flat_columns
from jettagger.sessions.graph import Graph
from jettagger.types import Array

__all__ = ["FOUR_MOMENTUM", "Behaviour", "ProbeInput", "observed", "probe_cache"]

#: inputs of typical size and far beyond: bounded outputs stay within their bounds
SCALES = (1.0, 10.0, 1000.0)

JETS = 4

#: fraction of the pixels of random images that are not empty
OCCUPIED = 0.05

#: rounding of a sum of hundreds of numbers in single precision
ROUNDING = 1e-5

#: tolerance, from rounding, for the dependence of a jet's outputs on the others in its batch
ALONE = 1e-4

#: last parts of the names of variables that together form a four-momentum
FOUR_MOMENTUM = ("px", "py", "pz", "energy")

_OBSERVED: ProcessCache[str, Behaviour] = ProcessCache()


@dataclass(frozen=True)
class ProbeInput(Brief):
    """An input of the network, for random values.

    Parameters
    ----------
    name : str
    variables : tuple of str
        Names, used to recognise components of four-momenta.
    length : int
        Number of objects per jet.
    layout : tuple of str
        Order of the axes, see `jettagger.bundles.interface.Group`.
    mask : bool
        Filled with ones.
    image : tuple of int
        Channels, rows and columns of an image; empty: not an image.
    """

    name: str
    variables: tuple[str, ...]
    length: int
    layout: tuple[str, ...] = LAYOUT
    mask: bool = False
    image: tuple[int, ...] = ()


@dataclass(frozen=True)
class Behaviour(Brief):
    """Observed properties of the output columns.

    Parameters
    ----------
    unit : tuple of bool
        Columns between 0 and 1 for all inputs that differ between jets and do not depend on other jets.
    summed : tuple of bool
        Those of them that sum to one with their neighbours for every jet.
    """

    unit: tuple[bool, ...]
    summed: tuple[bool, ...]


def probe_cache() -> DiskCache | None:
    """The cache of these properties; None if nothing is to be stored."""
    folder = cache_folder()
    return None if folder is None else DiskCache(folder / "probes", 20_000_000)


def observed(graph: Graph, inputs: Sequence[ProbeInput]) -> Behaviour | None:
    """Run a network on random inputs, or look up the stored result.

    Parameters
    ----------
    graph : Graph
    inputs : sequence of ProbeInput
        All inputs of the graph.

    Returns
    -------
    Behaviour or None
        None if the network cannot be run or has no finite outputs: opening or using it gives the reason.
    """
    import onnxruntime

    said = f"outputs {code_digest()} {onnxruntime.__version__} {graph.sha256} {list(inputs)}"
    key = hashlib.sha256(said.encode()).hexdigest()
    if key not in _OBSERVED:
        cache = probe_cache()
        kept = None if cache is None else cache.get(key)
        if kept is not None:
            found = Behaviour(tuple(kept["unit"].tolist()), tuple(kept["summed"].tolist()))
        else:
            try:
                found = _behaviour(*_values(graph, inputs))
            except JettaggerError:
                return None
            except (ValueError, OverflowError, MemoryError):  # outputs that do not fit each other, lengths beyond all
                return None
            if cache is not None:
                cache.put(key, {"unit": np.array(found.unit), "summed": np.array(found.summed)})
        _OBSERVED[key] = found
    return _OBSERVED[key]


def _values(graph: Graph, inputs: Sequence[ProbeInput]) -> tuple[Array, Array]:
    """Outputs of all jets, and the change of the first jet's outputs without or with other jets in the batch."""
    session = OrtSession(graph, 1, "cpu")
    n_jets = graph.fixed_batch or JETS
    parts, alone = [], np.zeros(1)
    for seed, scale in enumerate(SCALES):
        tensors = _random(inputs, n_jets, seed, scale)
        values = _run(session, tensors, n_jets)
        if seed == 0:
            others = {name: array[:1] for name, array in tensors.items()}
            if graph.fixed_batch is not None:
                others = {name: np.concatenate([array[:1], array[1:] / 2]) for name, array in tensors.items()}
            alone = np.abs(_run(session, others, len(next(iter(others.values()))))[0] - values[0])
        parts.append(values)
    return np.concatenate(parts), np.nan_to_num(alone, nan=0.0)


def _run(session: OrtSession, tensors: Mapping[str, Array], n_jets: int) -> Array:
    found = session.run(tensors)
    return np.concatenate([flat_columns(name, array, n_jets) for name, array in found.items()], axis=1).astype(float)


def _random(inputs: Sequence[ProbeInput], n_jets: int, seed: int, scale: float) -> dict[str, Array]:
    rng = np.random.default_rng([2024, seed])
    tensors = {}
    for item in inputs:
        if item.image:  # pixels are mostly empty
            shape: tuple[int, ...] = (n_jets, *item.image)
            pixels = scale * np.abs(rng.normal(size=shape)) * (rng.uniform(size=shape) < OCCUPIED)
            tensors[item.name] = arranged_images(pixels.astype(np.float32), item.layout)
            continue
        shape = (n_jets, len(item.variables), item.length)
        if item.mask:
            array = np.ones(shape)
        else:
            array = scale * rng.normal(size=shape)
            stems = [name.rpartition("_")[2].lower() for name in item.variables]
            if set(FOUR_MOMENTUM) <= set(stems):
                momenta = _momenta(rng, (n_jets, item.length))
                for stem in FOUR_MOMENTUM:
                    array[:, stems.index(stem)] = scale * momenta[stem]
        tensors[item.name] = arranged(array.astype(np.float32), item.layout)
    return tensors


def _momenta(rng: np.random.Generator, shape: tuple[int, int]) -> dict[str, Any]:
    """Four-momenta of pions around an axis, in GeV."""
    pt = 1 + rng.exponential(20, shape)
    eta, phi = rng.normal(0, 0.3, shape), rng.normal(0, 0.3, shape)
    mass = np.full_like(pt, 0.14)
    return {"px": px(pt, phi), "py": py(pt, phi), "pz": pz(pt, eta), "energy": energy(pt, eta, mass)}


def _behaviour(values: Array, alone: Array) -> Behaviour:
    finite = np.isfinite(values)
    whole = values[finite.all(axis=1)]
    used = np.where(finite, values, np.nan)
    seen: Array = np.asarray(finite.any(axis=0))
    with np.errstate(invalid="ignore"):
        inside: Array = ~((used < -ROUNDING) | (used > 1 + ROUNDING)).any(axis=0) & seen & (alone < ALONE)
    varied = np.zeros(seen.shape, dtype=np.bool_)
    varied[seen] = np.nanmax(used[:, seen], axis=0) > np.nanmin(used[:, seen], axis=0)
    summed = np.zeros(seen.shape, dtype=np.bool_)
    if len(whole):
        for start, stop in _groups(whole, inside, varied):
            summed[start:stop] = True
    return Behaviour(tuple((inside & varied).tolist()), tuple(summed.tolist()))


def _groups(values: Array, inside: Array, varied: Array) -> list[tuple[int, int]]:
    """Neighbouring columns that sum to one in every jet, from the left, as few at a time as possible."""
    found = []
    start = 0
    while start < len(inside) - 1:
        stop = start
        while stop < len(inside) and inside[stop]:
            stop += 1
        totals = np.abs(np.cumsum(values[:, start:stop], axis=1) - 1).max(axis=0, initial=0)
        ends = [end for end in np.flatnonzero(totals < ROUNDING) if end > 0 and varied[start : start + end + 1].any()]
        if ends:
            found.append((start, start + int(ends[0]) + 1))
            start = found[-1][1]
        else:
            start += 1
    return found
