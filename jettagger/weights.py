"""Flat, validated values and weights, from which efficiencies and histograms are computed."""

from __future__ import annotations

from typing import Any

import numpy as np

from jettagger.errors import InvalidValues, MismatchError, WrongType, reason_of
from jettagger.types import Floats

__all__ = ["broadcast", "check_weights", "flat"]


def _no_numbers(name: str, got: str) -> WrongType:
    expected = "an array of numbers"
    return WrongType(f"{name}: got {got}, expected {expected}", where=name, got=got, expected=expected)


def check_weights(weights: Any, *, name: str = "weight", events: Any = None) -> None:
    """Refuse weights that are not finite numbers.

    Parameters
    ----------
    weights : array
        One weight per event (or per jet), NumPy or awkward.
    name : str
        Description of the weights, for the message.
    events : array, optional
        Event numbers, to identify the event in the message.

    Raises
    ------
    InvalidValues
        If one is NaN, infinite or None; says how many and which event is the first.
    WrongType
        If they are no numbers.

    Examples
    --------
    >>> check_weights(np.array([1.0, np.nan]), events=np.array([1001, 1002]))
    Traceback (most recent call last):
        ...
    jettagger.errors.InvalidValues: weight of event 1002 (position 1) is nan; 1 of 2 are not finite
    """
    if isinstance(weights, np.ndarray) and weights.dtype.kind in "fiu" and np.isfinite(weights).all():
        return  # without awkward, which takes longer than the check
    import awkward as ak

    try:
        filled = ak.fill_none(ak.values_astype(ak.Array(weights), np.float64), np.nan, axis=None)
    except (TypeError, ValueError) as error:
        kind = getattr(weights, "dtype", None) or type(weights).__name__
        raise _no_numbers(name, f"{kind}") from error
    if "string" in str(filled.type):
        raise _no_numbers(name, f"{filled.type!s:.80}")
    bad = ~np.isfinite(np.asarray(ak.flatten(filled, axis=None)))
    if not bad.any():
        return
    of_event = ~np.isfinite(filled)
    while of_event.ndim > 1:
        of_event = ak.any(of_event, axis=-1)
    position = int(np.flatnonzero(np.asarray(of_event))[0])
    value = np.asarray(ak.flatten(filled[position : position + 1], axis=None))
    shown = value[~np.isfinite(value)][0]
    number = f"{events[position]} (position {position})" if events is not None else f"at position {position}"
    raise InvalidValues(f"{name} of event {number} is {shown}; {bad.sum()} of {bad.size} are not finite")


def broadcast(*arrays: Any) -> list[Any]:
    """Arrays in the nesting of the deepest: what is given once per event is repeated for its jets.

    Parameters
    ----------
    *arrays : array
        NumPy or awkward, of one length.

    Returns
    -------
    list of awkward array

    Raises
    ------
    ValueError
        If their lengths or the numbers of jets differ.

    Examples
    --------
    >>> weights, _ = broadcast(np.array([2.0, 3.0]), np.zeros((2, 2)))
    >>> weights.tolist()
    [[2.0, 2.0], [3.0, 3.0]]
    """
    import awkward as ak

    lengths = [len(array) for array in arrays]
    if len(set(lengths)) > 1:  # a single entry would be repeated
        raise ValueError(f"arrays of different lengths: {', '.join(map(str, lengths))}")
    # rectangular arrays would be aligned by their last axes, as in NumPy
    lists = [ak.from_regular(ak.Array(array), axis=None) for array in arrays]
    return list(ak.broadcast_arrays(*lists))


def flat(values: Any, weights: Any = None, *, what: str = "values", events: Any = None) -> tuple[Floats, Floats, int]:
    """Values and weights as flat arrays, without missing values.

    Parameters
    ----------
    values : array
        One value per jet, in any nesting; None and NaN are missing.
    weights : array or None
        One weight per jet, or one per event, which applies to all its jets; None means 1.
    what : str
        Description of the values, for messages.
    events : array, optional
        Event numbers, for messages.

    Returns
    -------
    values, weights : float64[n]
        Of equal length.
    missing : int
        Number of missing values.

    Raises
    ------
    MismatchError
        If the weights do not fit the values.
    InvalidValues
        If a weight is not finite.

    Examples
    --------
    >>> import awkward as ak
    >>> flat(ak.Array([[0.1, None], [0.3]]), [1.0, 2.0])
    (array([0.1, 0.3]), array([1., 2.]), 1)
    """
    import awkward as ak

    array = values if isinstance(values, (ak.Array, np.ndarray)) else ak.Array(values)
    if weights is None:
        numbers = _numbers(array)
        factors = np.ones(len(numbers))
    else:
        given = weights if isinstance(weights, (ak.Array, np.ndarray)) else ak.Array(weights)
        check_weights(given, name="weight" if what == "values" else f"{what}: weight", events=events)
        if len(given) != len(array):
            raise MismatchError(f"{len(given)} weights for {len(array)} entries of {what}")
        try:
            wide, array = broadcast(given, array)
        except ValueError as error:
            raise MismatchError(f"the weights do not fit the {what}: {reason_of(error)}") from error
        numbers, factors = _numbers(array), _numbers(wide)
    good = np.isfinite(numbers)
    return numbers[good], factors[good], int(np.count_nonzero(~good))


def _numbers(array: Any) -> Floats:
    import awkward as ak

    return np.asarray(ak.to_numpy(ak.fill_none(ak.ravel(array), np.nan)), dtype=np.float64)


def __dir__() -> list[str]:
    return sorted(__all__)
