"""The documentation site: links of pages, wherever they lie, and what it is made of."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
ADDRESS = "https://example.org/project"


def module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.mark.parametrize(
    ("source", "place", "link", "expected"),
    [
        ("docs/search.md", "search.md", "scaling.md#a-gpu", "scaling.md#a-gpu"),
        ("docs/search.md", "search.md", "../README.md", "project/readme.md"),
        ("docs/search.md", "search.md", "roc.png", "roc.png"),
        ("docs/search.md", "search.md", "../jettagger/dask.py", f"{ADDRESS}/blob/main/jettagger/dask.py"),
        ("docs/search.md", "search.md", "../examples/frameworks", f"{ADDRESS}/tree/main/examples/frameworks"),
        ("README.md", "project/readme.md", "docs/search.md#keys", "../search.md#keys"),
        ("README.md", "project/readme.md", "docs/roc.png", "../roc.png"),
        ("README.md", "project/readme.md", "#commands", "#commands"),
        ("README.md", "project/readme.md", "https://example.org/x.md", "https://example.org/x.md"),
        ("README.md", "project/readme.md", "absent.md", "absent.md"),
    ],
)
def test_links_of_a_forge_are_those_of_the_site(source: str, place: str, link: str, expected: str) -> None:
    site_links = module(DOCS / "_site" / "links.py").site_links
    pages = {"README.md": "project/readme.md", "docs/search.md": "search.md", "docs/scaling.md": "scaling.md"}
    text = f"See [`a`]({link}) and\n`[b]({link})`.\n```\n[c]({link})\n```\nThen [d]({link}).\n"
    assert site_links(text, source, place, root=ROOT, pages=pages, address=ADDRESS) == (
        f"See [`a`]({expected}) and\n`[b]({link})`.\n```\n[c]({link})\n```\nThen [d]({expected}).\n"
    )


def test_what_is_written_for_the_site_is_ignored_by_git_and_removed_by_make_clean() -> None:
    ignored = re.findall(r"^/docs/(\w+)/$", (ROOT / ".gitignore").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(ignored) > 5
    removed = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\nclean:")[2]
    assert set(re.findall(r"docs/(\w+)", removed)) == set(ignored)
