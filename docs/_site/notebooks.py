"""Notebooks: run when the site is built, where what they need is installed; else a note says that they were not."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any


def absent(path: Path) -> list[str]:
    """Modules that a notebook needs, by its metadata, and that are not installed."""
    needs = json.loads(path.read_text(encoding="utf-8"))["metadata"]["jettagger"]["needs"]
    return [name for name in needs if importlib.util.find_spec(name) is None]


def not_run(folder: Path) -> list[str]:
    """The notebooks of a folder that are shown as they are stored, without pictures.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    list of str
        Their names.
    """
    return [path.name for path in sorted(folder.glob("*.ipynb")) if absent(path)]


def without_place(doctree: Any, root: Path) -> None:
    """What outputs show of files is relative to the clone, wherever the site is built.

    Parameters
    ----------
    doctree : docutils.nodes.document
        Changed in place.
    root : Path
        Of the repository.
    """
    from docutils.nodes import Text

    for text in list(doctree.findall(Text)):
        if f"{root}/" in text:
            text.parent.replace(text, Text(text.replace(f"{root}/", "")))


def with_note(text: str, modules: list[str]) -> str:
    """A notebook with a note under its title that it was not run, as modules are absent."""
    content = json.loads(text)
    if modules:
        note = f"*This page was built without {', '.join(modules)}: the cells below were not run.*"
        content["cells"].insert(1, {"cell_type": "markdown", "id": "not-run", "metadata": {}, "source": note})
    return json.dumps(content)
