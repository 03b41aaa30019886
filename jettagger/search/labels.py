"""Labels and colours of the pictures of a search, read again from its output folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from jettagger.errors import InputFileError
from jettagger.files.jsonfile import read_object
from jettagger.plots.style import PlotLabel, ProcessStyle, process_styles

__all__ = ["read_styles"]


def read_styles(folder: str | os.PathLike[str]) -> tuple[PlotLabel | None, dict[str, ProcessStyle]]:
    """The label of the experiment and the styles of the processes in the pictures of a search.

    Parameters
    ----------
    folder : path
        Its output folder.

    Returns
    -------
    label : PlotLabel or None
        None without one, or without a record.
    styles : dict of str to ProcessStyle

    Raises
    ------
    InputFileError
        If the record is damaged.
    """
    path = Path(folder) / "record.json"
    if not path.exists():
        return None, {}
    content = read_object(path)
    label, processes = content.get("label"), content.get("processes", [])
    try:
        given = {name: _style(**keys) for name, keys in content.get("styles", {}).items()}
        return None if label is None else PlotLabel(**label), process_styles(processes, given)
    except (TypeError, AttributeError) as error:
        raise InputFileError(f"{path}: no record of a search as jettagger writes it: {error}") from error


def _style(colour: str, line: Any, marker: str, hatch: str | None) -> ProcessStyle:
    """A style as JSON gives it: dashes are a tuple of matplotlib."""
    return ProcessStyle(colour, line if isinstance(line, str) else (line[0], tuple(line[1])), marker, hatch)
