"""The documentation site: ``make docs`` writes it to ``build/docs/html``."""

from __future__ import annotations

import configparser
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path[:0] = [str(ROOT), str(DOCS)]

from _site.links import site_links, written  # noqa: E402

from jettagger import __version__  # noqa: E402

_setup = configparser.ConfigParser()
_setup.read(ROOT / "setup.cfg")

project = "jettagger"
author = "the authors of jettagger"
version = release = __version__
#: where source files are, to which pages link
ADDRESS = _setup["metadata"].get("url", "https://github.com/jettagger/jettagger")

extensions = [
    "_site.formulas",
    "myst_nb",
    "sphinx_copybutton",
    "sphinx_design",
]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}
exclude_patterns = ["_site"]
nitpicky = True

# ---------------------------------------------------------------------------------------- Markdown

myst_enable_extensions = ["colon_fence", "dollarmath", "fieldlist"]
myst_heading_anchors = 4
nb_execution_mode = "off"

#: pages that lie elsewhere in the repository -> where they are in the site
ELSEWHERE = {
    "README.md": "project/readme.md",
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "ARCHITECTURE.md": "project/architecture.md",
    **{
        str(path.relative_to(ROOT)): f"examples/{path.parent.name}_{path.stem.lower()}.md"
        for path in sorted((ROOT / "examples").glob("*/*.md"))
    },
    **{
        str(path.relative_to(ROOT)): f"models/{path.parent.name}.md"
        for path in sorted((ROOT / "jettagger" / "models").glob("*/MODEL_CARD.md"))
    },
}
_PAGES = ELSEWHERE | {str(path.relative_to(ROOT)): str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")}


def _for_site(text: str, source: str, place: str) -> str:
    return site_links(text, source, place, root=ROOT, pages=_PAGES, address=ADDRESS)


for _source, _place in ELSEWHERE.items():
    written(DOCS / _place, _for_site((ROOT / _source).read_text(encoding="utf-8"), _source, _place))


def _rewrite_links(app: Any, docname: str, content: list[str]) -> None:
    """The pages of this folder; those from elsewhere are rewritten already."""
    place = f"{docname}.md"
    if place not in ELSEWHERE.values() and (DOCS / place).is_file():
        content[0] = _for_site(content[0], f"docs/{place}", place)


# ---------------------------------------------------------------------------------------- HTML

html_theme = "pydata_sphinx_theme"
html_title = f"jettagger {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_math_renderer = "mathml"
html_theme_options = {
    "icon_links": [{"name": "Source", "url": ADDRESS, "icon": "fa-brands fa-github"}],
    "navigation_with_keys": False,
    "header_links_before_dropdown": 7,
    "show_toc_level": 2,
}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def setup(app: Any) -> None:
    """Connect what this file defines."""
    app.connect("source-read", _rewrite_links)
