"""The documentation site: ``make docs`` writes it to ``build/docs/html``."""

from __future__ import annotations

import configparser
import importlib.util
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path[:0] = [str(ROOT), str(DOCS)]

from _site.commands import write_commands  # noqa: E402
from _site.gallery import settings as gallery_settings  # noqa: E402
from _site.inventories import ALIASES, PROJECTS, write_inventories  # noqa: E402
from _site.keys import write_keys  # noqa: E402
from _site.links import site_links, written  # noqa: E402
from _site.notebooks import absent, not_run, with_note, without_place  # noqa: E402
from _site.reference import write_reference  # noqa: E402
from numpydoc.xref import DEFAULT_LINKS  # noqa: E402
from sphinx.ext.autodoc.mock import mock  # noqa: E402

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
    "_site.docstrings",
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb", ".rst": "restructuredtext"}
smartquotes = False  # options have two hyphens
# the gallery's notebooks are for downloading
exclude_patterns = ["_site", "search.md", "gallery/**/*.ipynb", "gallery/backreferences"]
sphinx_gallery_conf = gallery_settings(ROOT)

# ---------------------------------------------------------------------------------------- Markdown

myst_enable_extensions = ["colon_fence", "dollarmath", "fieldlist"]
myst_heading_anchors = 4
# notebooks are run; those whose extras are absent are shown with a note
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 900
nb_merge_streams = True  # one box for what a cell prints
nb_execution_excludepatterns = [f"notebooks/{name}" for name in not_run(DOCS / "notebooks")]

#: what the extras bring, as it is imported
EXTRAS = ("torch", "h5py", "optuna", "sklearn", "hep_ml", "xgboost", "pythia8mc", "fastjet", "openvino", "tritonclient")
EXTRAS += ("dask_awkward", "dask", "distributed", "dask_jobqueue", "pyhf", "matplotlib", "mplhep", "weaver")

#: pages that lie elsewhere in the repository -> where they are in the site
ELSEWHERE = {
    # search.html is where Sphinx looks up words
    "docs/search.md": "search/index.md",
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
_PAGES = {str(path.relative_to(ROOT)): str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")} | ELSEWHERE


def _for_site(text: str, source: str, place: str) -> str:
    return site_links(text, source, place, root=ROOT, pages=_PAGES, address=ADDRESS)


for _source, _place in ELSEWHERE.items():
    written(DOCS / _place, _for_site((ROOT / _source).read_text(encoding="utf-8"), _source, _place))

write_keys(DOCS / "keys", (DOCS / "formats.md").read_text(encoding="utf-8"), _for_site)
write_commands(DOCS / "commands")


def _rewrite_links(app: Any, docname: str, content: list[str]) -> None:
    """The pages of this folder; those from elsewhere are rewritten already."""
    notebook = DOCS / f"{docname}.ipynb"
    if notebook.parent == DOCS / "notebooks" and notebook.is_file():
        text = _for_site(content[0], f"docs/{docname}.ipynb", f"{docname}.ipynb")
        content[0] = with_note(text, absent(notebook))
        return
    place = f"{docname}.md"
    if place not in ELSEWHERE.values() and (DOCS / place).is_file():
        content[0] = _for_site(content[0], f"docs/{place}", place)


# ---------------------------------------------------------------------------------------- reference

#: packages of extras: where one is absent, a stand-in takes its place, so that the reference is complete
autodoc_mock_imports = [name for name in EXTRAS if importlib.util.find_spec(name) is None]
autosummary_mock_imports = autodoc_mock_imports
autosummary_generate = False
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
python_maximum_signature_line_length = 90
numpydoc_show_class_members = False
default_role = "py:obj"
nitpicky = True  # _site.docstrings says what is passed over

with mock(autodoc_mock_imports):
    jettagger_homes = write_reference(ROOT, DOCS / "api")

#: what types of parameters link to: our classes by their bare names, those of others by their full ones
numpydoc_xref_param_type = True
numpydoc_xref_aliases = {word: word for word in DEFAULT_LINKS}
numpydoc_xref_aliases |= {
    name.rpartition(".")[2]: name for name in jettagger_homes.values() if name.rpartition(".")[2][0].isupper()
}
numpydoc_xref_aliases |= {name: f".{name}" for _, names in PROJECTS.values() for name in names}
numpydoc_xref_aliases |= {name: f".{other}" for name, other in ALIASES.items()}
numpydoc_xref_ignore = "all"  # other words

# the inventories of others from their sites, and without a network those of the names that docstrings have
intersphinx_mapping = write_inventories(ROOT / "build" / "inventories")
intersphinx_timeout = 5

# ---------------------------------------------------------------------------------------- HTML

html_theme = "pydata_sphinx_theme"
html_title = f"jettagger {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
# pages that are a section of their own have no navigation within it
html_sidebars = {page: [] for page in ("index", "start", "concepts", "validation", "limits")}
html_math_renderer = "mathml"
nb_ipywidgets_js: dict[str, object] = {}  # no widgets, which would be loaded from elsewhere
html_theme_options = {
    "icon_links": [{"name": "Source", "url": ADDRESS, "icon": "fa-brands fa-github"}],
    "navigation_with_keys": False,
    "header_links_before_dropdown": 5,
    "show_toc_level": 2,
}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def setup(app: Any) -> None:
    """Connect what this file defines."""
    app.connect("source-read", _rewrite_links)
    app.connect("doctree-read", lambda app, doctree: without_place(doctree, ROOT))
