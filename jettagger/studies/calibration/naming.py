"""Names of files of a calibration."""

from __future__ import annotations

from collections.abc import Sequence

from jettagger.arguments import guard
from jettagger.calibration import BinAxis

__all__ = ["REPORT", "folder_of"]

#: the numbers of a calibration
REPORT = "report.json"


def folder_of(axes: Sequence[BinAxis], place: Sequence[int]) -> str:
    """The name of the folder of a bin.

    Parameters
    ----------
    axes : sequence of BinAxis
    place : sequence of int

    Returns
    -------
    str

    Examples
    --------
    >>> folder_of([BinAxis("pt", [300, 400, 600])], [1])
    'pt_400_600'
    """
    return "_".join(f"{axis.name}_{axis.edges[i]:g}_{axis.edges[i + 1]:g}" for axis, i in zip(axes, place, strict=True))


guard(globals())
