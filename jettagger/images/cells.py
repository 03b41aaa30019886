"""Constituents in cells of calorimeters: positions of cell centres, energies summed."""

from __future__ import annotations

import numpy as np

from jettagger.arguments import guard
from jettagger.images.settings import CellGrid
from jettagger.types import Bools, Floats, Ints

__all__ = ["cell_positions", "merged_cells"]

#: beyond this pseudorapidity cells are larger by these factors, as in the simulated detectors
_FORWARD, _ECAL_FACTOR, _HCAL_FACTOR = 3.0, 5.0, 2.0

#: rows begin at this pseudorapidity, columns at -pi
_LOWEST_ETA = -6.0


def cell_positions(grid: CellGrid, eta: Floats, phi: Floats, electromagnetic: Bools) -> tuple[Floats, Floats, Ints]:
    """Centres of the cells at positions in the detector.

    Parameters
    ----------
    grid : CellGrid
    eta, phi : float64[n]
        Pseudorapidity, and azimuth in radians.
    electromagnetic : bool[n]
        Whether the cell is one of the electromagnetic calorimeter.

    Returns
    -------
    eta, phi : float64[n]
        Of the centres; phi from -pi to pi.
    number : int64[n]
        Different for different cells.

    Examples
    --------
    >>> eta, phi, _ = cell_positions(CellGrid(hcal_cell=0.1), np.array([0.02]), np.array([0.0]), np.array([False]))
    >>> eta.round(3).tolist()
    [0.05]
    """
    forward = np.abs(eta) >= _FORWARD
    size = np.where(
        electromagnetic,
        grid.ecal_cell * np.where(forward, _ECAL_FACTOR, 1.0),
        grid.hcal_cell * np.where(forward, _HCAL_FACTOR, 1.0),
    )
    around = np.mod(phi + np.pi, 2 * np.pi)
    row, column = np.floor((eta - _LOWEST_ETA) / size), np.floor(around / size)
    upper = np.minimum((column + 1) * size, 2 * np.pi)  # the last cell of a ring is narrower
    number = row.astype(np.int64) * 10_000 + column.astype(np.int64)
    kind = 2 * electromagnetic + forward
    return _LOWEST_ETA + (row + 0.5) * size, 0.5 * (column * size + upper) - np.pi, 4 * number + kind


def merged_cells(owner: Ints, number: Ints) -> tuple[Ints, Ints]:
    """Cells of jets with at least one constituent.

    Parameters
    ----------
    owner : int64[n]
        Jet of each constituent, increasing.
    number : int64[n]
        Its cell.

    Returns
    -------
    first : int64[cells]
        A constituent of each cell, in the order of jets and then of the numbers of cells.
    cell : int64[n]
        The cell of each constituent.
    """
    if not len(owner):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    order = np.lexsort((number, owner))
    fresh = np.ones(len(order), dtype=bool)
    fresh[1:] = (np.diff(number[order]) != 0) | (np.diff(owner[order]) != 0)
    cell = np.empty(len(order), dtype=np.int64)
    cell[order] = np.cumsum(fresh) - 1
    return order[fresh], cell


guard(globals())
