"""The gallery: settings of sphinx-gallery, pictures of the figures of jettagger, nothing that changes at each build."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

#: sections in their order, folders in ``examples/gallery``
SECTIONS = ("scores", "decorrelation", "calibration", "search", "events", "explaining")
#: of the pictures
DPI = 90
#: scripts with names that end so need the extra ``train``
TRAINED = "_train.py"


def settings(root: Path) -> dict[str, Any]:
    """The value of ``sphinx_gallery_conf``.

    Parameters
    ----------
    root : Path
        Of the repository.

    Returns
    -------
    dict
    """
    folder = root / "examples" / "gallery"
    has_torch = all(importlib.util.find_spec(name) is not None for name in ("torch", "h5py"))
    return {
        "examples_dirs": str(folder),
        "gallery_dirs": "gallery",
        # relative to the folder of the pages
        "subsection_order": [f"../examples/gallery/{name}" for name in SECTIONS],
        "within_subsection_order": "FileNameSortKey",
        # what needs the extra train is shown without its pictures where the extra is absent
        "filename_pattern": r"plot_.*\.py$" if has_torch else rf"plot_(?!.*{TRAINED}$).*\.py$",
        "image_scrapers": ("_site.gallery.figure_scraper",),
        "reset_modules": ("_site.gallery.reset",),
        "capture_repr": ("_repr_html_",),
        "abort_on_example_error": True,
        "backreferences_dir": "gallery/backreferences",
        "doc_module": ("jettagger",),
        "reference_url": {"jettagger": None},
        "remove_config_comments": True,
        "download_all_examples": False,
        "show_signature": False,
        # times differ between builds
        "show_memory": False,
        "min_reported_time": float("inf"),
        "write_computation_times": False,
    }


def figure_scraper(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Save the figures that a cell has made, which pyplot does not know.

    Parameters
    ----------
    block, block_vars, gallery_conf
        As sphinx-gallery gives them.

    Returns
    -------
    str
        The pictures in reStructuredText.
    """
    from matplotlib.figure import Figure
    from sphinx_gallery.scrapers import figure_rst

    saved = block_vars.setdefault("saved_figures", [])
    paths = []
    for value in list(block_vars["example_globals"].values()):
        if isinstance(value, Figure) and not any(value is figure for figure in saved):
            saved.append(value)
            path = next(block_vars["image_path_iterator"])
            value.savefig(path, dpi=DPI, metadata={"Software": None})
            paths.append(path)
    return str(figure_rst(paths, gallery_conf["src_dir"]))


def reset(gallery_conf: dict[str, Any], name: str) -> None:
    """Before and after each example: no progress bars, whose times differ between builds."""
    from coffea.util import coffea_console

    coffea_console.quiet = True
