"""Examples in docstrings are run: what they show is what comes out."""

from __future__ import annotations

import doctest
import importlib
import warnings
from pathlib import Path

import numpy as np
import pytest

import jettagger

ROOT = Path(jettagger.__file__).resolve().parent.parent
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def modules() -> list[str]:
    """The modules with examples."""
    found = []
    for folder, package in ((ROOT / "jettagger", "jettagger"), (ROOT / "processors", "jettagger.processors")):
        for path in sorted(folder.rglob("*.py")):
            if ">>> " in path.read_text(encoding="utf-8"):
                words = [package, *path.relative_to(folder).with_suffix("").parts]
                found.append(".".join(words).removesuffix(".__init__"))
    return found


@pytest.mark.parametrize("name", modules())
def test_examples_give_what_they_show(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("jettagger"):
            raise
        pytest.skip(f"{name} needs an extra: {error}")
    monkeypatch.chdir(tmp_path)
    finder, runner = doctest.DocTestFinder(exclude_empty=True), doctest.DocTestRunner(optionflags=OPTIONS)
    said: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        for test in finder.find(module, name):
            test.globs["np"] = np
            runner.run(test, out=said.append)
    if any("MissingExtra" in text for text in said):
        pytest.skip(f"the examples of {name} need an extra: {''.join(said).strip().splitlines()[-1]}")
    assert runner.failures == 0, "".join(said)
    assert runner.tries > 0, f"{name}: no example is found"


def test_there_are_examples() -> None:
    assert len(modules()) > 40
