"""Features of pairs of the objects of a relative input."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from jettagger.expressions import parse
from jettagger.kinematics import delta_phi, delta_r
from jettagger.topology.pairs import FIRST, PAIR, SECOND
from jettagger.types import Array, Floats

__all__ = ["evaluate_pairs"]


def evaluate_pairs(text: str, objects: Callable[[str], Array], others: Mapping[str, Array], pairs: Array) -> Array:
    """An expression for pairs of objects.

    Parameters
    ----------
    text : str
        In ``first.COLUMN``, ``second.COLUMN``, ``pair.QUANTITY`` and columns of the event.
    objects : callable
        Column -> its value for each object, array[objects].
    others : mapping of str to array[pairs]
        Columns of the event.
    pairs : int64[2, pairs]
        Indices of the two objects.

    Returns
    -------
    array[pairs]

    Examples
    --------
    >>> columns = {"eta": np.array([0.0, 0.3]), "phi": np.array([0.0, 0.4])}
    >>> every = np.array([[0, 0, 1, 1], [0, 1, 0, 1]])
    >>> evaluate_pairs("pair.delta_r + first.eta", columns.__getitem__, {}, every).tolist()
    [0.0, 0.5, 0.8, 0.3]
    """
    expression = parse(text)
    values: dict[str, Array] = {}
    for name in expression.names:
        front, _, column = name.partition(".")
        if front == PAIR:
            values[name] = _quantity(column, objects, pairs)
        elif front in (FIRST, SECOND) and column:
            values[name] = objects(column)[pairs[0 if front == FIRST else 1]]
        else:
            values[name] = others[name]
    return np.broadcast_to(np.asarray(expression.evaluate(values)), pairs.shape[1:])


def _quantity(name: str, objects: Callable[[str], Array], pairs: Array) -> Floats:
    """A quantity of pairs, float64[pairs]; see `jettagger.topology.pairs.QUANTITIES`."""

    def both(column: str) -> Floats:
        return objects(column).astype(np.float64)[pairs]

    if name == "delta_eta":
        eta, other_eta = both("eta")
        return eta - other_eta
    if name == "delta_phi":
        return delta_phi(*both("phi"))
    if name == "delta_r":
        (eta, other_eta), (phi, other_phi) = both("eta"), both("phi")
        return delta_r(eta, phi, other_eta, other_phi)
    pt, phi = both("pt"), both("phi")
    px, py = (pt * np.cos(phi)).sum(0), (pt * np.sin(phi)).sum(0)
    if name == "pt":
        return np.hypot(px, py)
    if name == "phi":
        return np.arctan2(py, px)
    momenta = pt * np.sinh(both("eta"))
    pz = momenta.sum(0)
    if name == "eta":
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.arcsinh(pz / np.hypot(px, py))
    energy = np.sqrt(pt**2 + momenta**2 + both("mass") ** 2).sum(0)
    return np.sqrt(np.maximum(energy**2 - px**2 - py**2 - pz**2, 0))
