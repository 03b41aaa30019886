"""Random numbers that depend on identifiers alone, and not on chunks, files or workers."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["mixed", "normals", "stream", "uniforms"]


def mixed(numbers: Any, salt: int = 0) -> NDArray[np.uint64]:
    """Whole numbers, evenly spread over 64 bits.

    Parameters
    ----------
    numbers : int[n]
        Identifiers, such as event numbers.
    salt : int
        Different values give independent numbers.

    Returns
    -------
    uint64[n]

    Notes
    -----
    SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).

    Examples
    --------
    >>> (mixed(np.arange(6)) % np.uint64(3)).tolist()
    [1, 2, 1, 0, 1, 2]
    """
    with np.errstate(over="ignore"):
        x = np.asarray(numbers).astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15) * np.uint64(salt + 1)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    return x


def stream(name: str) -> int:
    """The salt of a purpose: numbers of different purposes are independent.

    Parameters
    ----------
    name : str

    Returns
    -------
    int

    Examples
    --------
    >>> stream("tag") != stream("smearing")
    True
    """
    return zlib.crc32(name.encode())


def uniforms(event: Any, index: Any, name: str) -> NDArray[np.float64]:
    """Uniform random numbers of objects in events.

    Parameters
    ----------
    event : int[n]
        Event number of each object.
    index : int[n]
        Index of the object in its event.
    name : str
        What they are for, see `stream`.

    Returns
    -------
    float64[n]
        In the open interval (0, 1).

    Examples
    --------
    >>> uniforms(np.array([7, 7, 8]), np.array([0, 1, 0]), "tag").round(3).tolist()
    [0.351, 0.251, 0.785]
    """
    seed = mixed(event, stream(name)) + np.asarray(index).astype(np.uint64)
    return ((mixed(seed) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def normals(event: Any, index: Any, name: str) -> NDArray[np.float64]:
    """Gaussian random numbers of objects in events, of mean 0 and width 1.

    Parameters
    ----------
    event, index, name
        As for `uniforms`.

    Returns
    -------
    float64[n]

    Notes
    -----
    G. E. P. Box, M. E. Muller, Ann. Math. Stat. 29 (1958) 610.

    Examples
    --------
    >>> numbers = normals(np.arange(100_000), np.zeros(100_000, int), "smearing")
    >>> bool(abs(numbers.mean()) < 0.01), bool(abs(numbers.std() - 1) < 0.01)
    (True, True)
    """
    radius = np.sqrt(-2.0 * np.log(uniforms(event, index, f"{name} radius")))
    return radius * np.cos(2.0 * np.pi * uniforms(event, index, f"{name} angle"))
