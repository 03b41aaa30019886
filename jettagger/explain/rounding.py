"""Whether outputs are rounded to fewer digits than single precision has."""

from __future__ import annotations

import numpy as np

from jettagger.types import Array

__all__ = ["stored_digits"]

#: numbers that say something: random ones have 8 zeros at their end once in 256 cases
_NEEDED = 16


def stored_digits(values: Array) -> int | None:
    """How many binary digits behind the first one the numbers have.

    Parameters
    ----------
    values : float[...]

    Returns
    -------
    int or None
        23 in single precision, 10 in half precision and TF32, 7 in bfloat16; None if too few numbers say so: zeros,
        whole numbers and those that repeat do not count.

    Examples
    --------
    >>> values = np.linspace(0.1, 0.9, 50).astype(np.float32)
    >>> stored_digits(values), stored_digits(values.astype(np.float16)), stored_digits(values[:3])
    (23, 10, None)
    """
    flat = np.unique(np.asarray(values, dtype=np.float32))
    flat = flat[np.isfinite(flat) & (flat != np.round(flat)) & (np.abs(flat) >= np.finfo(np.float16).tiny)]
    if len(flat) < _NEEDED:
        return None
    every = int(np.bitwise_or.reduce(flat.view(np.uint32) & np.uint32(2**23 - 1)))
    return 23 - ((every & -every).bit_length() - 1 if every else 23)
