"""Objects of other projects that docstrings name, for links where their sites cannot be reached.

Sphinx asks each project for its inventory first. Without a network it takes the one that is written here, which has the
names below alone.
"""

from __future__ import annotations

import zlib
from pathlib import Path

#: project -> address, and the pages of names; a page that ends in a slash is followed by the name
PROJECTS: dict[str, tuple[str, dict[str, str]]] = {
    "python": (
        "https://docs.python.org/3",
        {
            "argparse.ArgumentParser": "library/argparse.html",
            "argparse.Namespace": "library/argparse.html",
            "concurrent.futures.Future": "library/concurrent.futures.html",
            "concurrent.futures.ProcessPoolExecutor": "library/concurrent.futures.html",
            "pathlib.Path": "library/pathlib.html",
        },
    ),
    "numpy": (
        "https://numpy.org/doc/stable",
        {"numpy.ndarray": "reference/generated/", "numpy.random.Generator": "reference/random/generator.html"},
    ),
    "awkward": (
        "https://awkward-array.org/doc/main",
        {
            "ak.Array": "reference/generated/",
            "ak.from_parquet": "reference/generated/",
            "ak.ones_like": "reference/generated/",
        },
    ),
    "hist": ("https://hist.readthedocs.io/en/latest", {"hist.Hist": "reference/hist.html"}),
    "coffea": (
        "https://coffea-hep.readthedocs.io/en/latest",
        {
            "coffea.analysis_tools.PackedSelection": "api/",
            "coffea.analysis_tools.Weights": "api/",
            "coffea.processor.Runner": "api/",
        },
    ),
    "correctionlib": (
        "https://cms-nanoaod.github.io/correctionlib",
        {"correctionlib.highlevel.Correction": "_generated/"},
    ),
    "uproot": ("https://uproot.readthedocs.io/en/latest", {"uproot.open": "uproot.reading.open.html"}),
    "matplotlib": (
        "https://matplotlib.org/stable",
        {"matplotlib.axes.Axes": "api/_as_gen/", "matplotlib.figure.Figure": "api/_as_gen/"},
    ),
    "pyhf": ("https://pyhf.readthedocs.io/en/stable", {"pyhf.pdf.Model": "_generated/"}),
    "torch": (
        "https://docs.pytorch.org/docs/stable",
        {"torch.Tensor": "tensors.html", "torch.nn.Module": "generated/"},
    ),
    "distributed": ("https://distributed.dask.org/en/stable", {"distributed.Client": "api.html"}),
}

#: as docstrings have them -> as the projects do
ALIASES = {"awkward array": "ak.Array", "awkward.Array": "ak.Array", "pyhf.Model": "pyhf.pdf.Model"}


def role_of(name: str) -> str:
    """Whether a name is a class or a function, as its last part is written.

    Parameters
    ----------
    name : str

    Returns
    -------
    str
    """
    last = name.rpartition(".")[2]
    return "py:class" if last[0].isupper() or last == "ndarray" else "py:function"


def write_inventories(folder: Path) -> dict[str, tuple[str, tuple[str | None, str]]]:
    """Write an inventory for each project.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    dict
        The mapping of ``sphinx.ext.intersphinx``: address, then the inventory at the address or the one here.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mapping: dict[str, tuple[str, tuple[str | None, str]]] = {}
    for project, (address, names) in PROJECTS.items():
        lines = []
        for name, page in names.items():
            place = f"{page}{name}.html" if page.endswith("/") else page
            lines.append(f"{name} {role_of(name)} 1 {place}#$ -\n")
        head = f"# Sphinx inventory version 2\n# Project: {project}\n# Version: \n"
        head += "# The remainder of this file is compressed using zlib.\n"
        path = folder / f"{project}.inv"
        path.write_bytes(head.encode() + zlib.compress("".join(lines).encode()))
        mapping[project] = (f"{address}/", (None, str(path)))
    return mapping
