"""Sizes in bytes with units."""

from __future__ import annotations

import re

from jettagger.errors import ConfigError, visible

__all__ = ["parse_size", "size_text"]

#: maximum of a signed 64-bit integer, in bytes
LARGEST = 2**63

_FACTORS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def parse_size(text: str) -> int:
    """Number of bytes of a size like ``500MB``, ``1.5 GiB`` or ``200000``.

    Parameters
    ----------
    text : str

    Returns
    -------
    int

    Raises
    ------
    ConfigError
        If the text is not a positive size.

    Examples
    --------
    >>> parse_size("500MB"), parse_size("1 GiB")
    (500000000, 1073741824)
    """
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([kmgt]i?)?b?\s*", text.lower())
    size = float(match.group(1)) * _FACTORS[match.group(2) or ""] if match else 0.0
    if size >= LARGEST:
        raise ConfigError(
            f"{visible(text, 60)!r} is more memory than any machine has, expected a size like 500MB or 2GiB"
        )
    if size < 1:
        raise ConfigError(f"expected a positive size like 500MB or 2GiB, got {visible(text, 60)!r}")
    return int(size)


def size_text(size: float) -> str:
    """A size in bytes for messages, with three digits.

    Parameters
    ----------
    size : float

    Returns
    -------
    str
        Can be read by `parse_size`.

    Examples
    --------
    >>> size_text(500_000_000), size_text(1_234_000_000), size_text(12)
    ('500 MB', '1.23 GB', '12 B')
    """
    for unit in ("", "k", "M", "G"):
        if size < 999.5:
            return f"{size:.3g} {unit}B"
        size /= 1000
    return f"{size:.3g} TB"
