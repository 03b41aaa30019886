"""The documentation site: links of pages, wherever they lie, and what it is made of."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import pkgutil
import re
import subprocess
import sys
import zlib
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote

import pytest
from test_packaging import copy_of_the_repository

import jettagger

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


def test_a_link_with_a_path_as_its_text_gets_the_title_of_the_page() -> None:
    site_links = module(DOCS / "_site" / "links.py").site_links
    text = "See [docs/search.md](docs/search.md#keys), [setup.cfg](setup.cfg)."
    pages = {"docs/search.md": "search.md"}
    assert site_links(text, "README.md", "project/readme.md", root=ROOT, pages=pages, address=ADDRESS) == (
        f"See [](../search.md#keys), [setup.cfg]({ADDRESS}/blob/main/setup.cfg)."
    )


def test_what_is_written_for_the_site_is_ignored_by_git_and_removed_by_make_clean() -> None:
    ignored = re.findall(r"^/docs/(\w+)/$", (ROOT / ".gitignore").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(ignored) > 5
    removed = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\nclean:")[2]
    assert set(re.findall(r"docs/(\w+)", removed)) == set(ignored)


# ---------------------------------------------------------------------------------------- the built site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the site: that of an environment variable, as in ``.ci/run``, or built here, where nothing runs."""
    if folder := os.environ.get("JETTAGGER_SITE"):
        return Path(folder)
    pytest.importorskip("sphinx", reason="the extra docs is not installed")
    pytest.importorskip("pydata_sphinx_theme", reason="the extra docs is not installed")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-d", str(folder / "doctrees")]
    command += ["-D", "nb_execution_mode=off", "-D", "sphinx_gallery_conf.filename_pattern=none_runs"]
    # pages are written on the way: in the repository other processes would read, or write, them at the same time
    command += [str(copy_of_the_repository(folder / "repository") / "docs"), str(folder / "html")]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    return folder / "html"


def inventory(site: Path) -> dict[str, set[str]]:
    """Kind of object -> names, as other projects read them."""
    content = (site / "objects.inv").read_bytes()
    lines = zlib.decompress(content.split(b"\n", 4)[4]).decode().splitlines()
    entries: dict[str, set[str]] = {}
    for line in lines:
        name, kind = re.match(r"(.+?) (\S+:\S+) -?\d+ ", line).groups()  # type: ignore[union-attr]
        entries.setdefault(kind, set()).add(name)
    return entries


def public_packages() -> list[str]:
    """All modules and packages at the top of the package, but the command line, and those with public names below."""
    names = ["jettagger", "jettagger.processors"]
    for module in pkgutil.iter_modules(jettagger.__path__, "jettagger."):
        if module.name.rpartition(".")[2].startswith("_") or module.name == "jettagger.cli":
            continue
        names.append(module.name)
        if module.ispkg:
            folder = ROOT.joinpath(*module.name.split("."))
            names += [f"{module.name}.{item.name}" for item in pkgutil.iter_modules([str(folder)]) if item.ispkg]
    return names


@pytest.mark.slow
def test_all_public_names_are_in_the_reference(site: Path) -> None:
    entries = inventory(site)
    documented = {name for kind, names in entries.items() if kind.startswith("py:") for name in names}
    modules = public_packages()
    assert len(modules) > 40
    assert [name for name in modules if name not in entries["py:module"]] == []
    absent, count = [], 0
    for name in modules:
        try:
            package = importlib.import_module(name)
        except ImportError:
            continue  # its extra is not here; where all are, all names are compared
        for public in getattr(package, "__all__", ()):
            count += 1
            absent += [f"{name}.{public}"] if f"{name}.{public}" not in documented else []
    assert absent == []
    assert count > 500


@pytest.mark.slow
def test_no_page_shows_the_machine_that_built_it_or_a_warning(site: Path) -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in pages_of(site)}
    places = (f"{ROOT}/", f"{ROOT}'", str(site.resolve().parent), sys.prefix)
    assert [path for path, text in texts.items() if any(place in text for place in places)] == []
    assert [path for path, text in texts.items() if re.search(r"\wWarning: ", text) and "gallery" in path.parts] == []


class Page(HTMLParser):
    """Links and anchors of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name in ("id", "name") and value:
                self.anchors.add(value)
            elif name in ("href", "src") and value is not None and tag in ("a", "img", "link", "script"):
                self.links.append(value)


def pages_of(site: Path) -> list[Path]:
    """All pages; ``_static`` has templates of the theme."""
    return [path for path in sorted(site.rglob("*.html")) if "_static" not in path.relative_to(site).parts]


def broken_links(site: Path) -> list[str]:
    """Links of pages to files and anchors that are not there."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in pages_of(site)}
    broken = []
    for path, page in pages.items():
        for link in page.links:
            target, _, anchor = unquote(link).partition("#")
            if re.match(r"[a-z][a-z+.-]*:|//", target):
                continue
            file = (path.parent / target.partition("?")[0]).resolve() if target else path
            if not file.is_file() or (anchor and file in pages and anchor not in pages[file].anchors):
                broken.append(f"{path.relative_to(site)}: {link}")
    return broken


@pytest.mark.slow
def test_no_local_link_is_broken(site: Path) -> None:
    assert broken_links(site.resolve()) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text('<p id="x"><a href="b.html#y"></a><a href="b.html#z"></a><a href="#x"></a></p>')
    (tmp_path / "b.html").write_text('<p id="y"><img src="c.png"><a href="https://example.org/none"></a></p>')
    assert broken_links(tmp_path.resolve()) == ["a.html: b.html#z", "b.html: c.png"]


@pytest.mark.slow
def test_the_site_can_be_searched(site: Path) -> None:
    index = json.loads((site / "searchindex.js").read_text(encoding="utf-8").removeprefix("Search.setIndex(")[:-1])
    for word, page in (
        ("adversari", "decorrelation"),
        ("workspac", "search/index"),
        ("roc_curv", "api/jettagger.plots"),
    ):
        found = [index[part].get(word, []) for part in ("terms", "titleterms")]
        numbers = {number for entry in found for number in (entry if isinstance(entry, list) else [entry])}
        assert index["docnames"].index(page) in numbers, word
    assert 'id="search-results"' in (site / "search.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    for path in pages_of(site):
        text = path.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|img|link rel="stylesheet")[^>]*(?:src|href)="(https?:[^"]+)"', text)
        assert loaded == [], path


# ---------------------------------------------------------------------------------------- other projects


def test_names_of_other_projects_are_in_docstrings() -> None:
    """What the stored inventories have is used; what types of parameters name of these projects is in them."""
    inventories = module(DOCS / "_site" / "inventories.py")
    sources = [*(ROOT / "jettagger").rglob("*.py"), *(ROOT / "processors").glob("*.py")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    names = {name for _, names in inventories.PROJECTS.values() for name in names}
    used = {*re.findall(r"[\w.]+", text)}
    assert [name for name in names if name not in used and name not in inventories.ALIASES.values()] == []
    assert {"awkward", "coffea", "hist", "correctionlib"} <= set(inventories.PROJECTS)


@pytest.mark.slow
def test_names_of_other_projects_are_links(site: Path) -> None:
    text = (site / "api" / "jettagger.plots.html").read_text(encoding="utf-8")
    assert re.search(r'href="https://matplotlib.org/stable/[^"]*#matplotlib.figure.Figure"', text)
    assert re.search(r'href="https://hist.readthedocs.io/en/latest/[^"]*#hist\.[\w.]*Hist"', text)


@pytest.mark.slow
def test_stored_inventories_are_read_by_sphinx(tmp_path: Path) -> None:
    pytest.importorskip("sphinx", reason="the extra docs is not installed")
    from sphinx.util.inventory import InventoryFile

    inventories = module(DOCS / "_site" / "inventories.py")
    for project, (address, (_, path)) in inventories.write_inventories(tmp_path).items():
        read = InventoryFile.loads(Path(path).read_bytes(), uri=address)
        names = {name for entries in read.data.values() for name in entries}
        assert names == set(inventories.PROJECTS[project][1])


# ---------------------------------------------------------------------------------------- formulas


@pytest.mark.slow
def test_formulas_are_drawn_without_a_network(tmp_path: Path) -> None:
    pytest.importorskip("myst_nb", reason="the extra docs is not installed")
    (tmp_path / "conf.py").write_text(
        f"import sys\nsys.path.insert(0, {str(DOCS)!r})\nextensions = ['_site.formulas', 'myst_nb']\n"
        "myst_enable_extensions = ['dollarmath']\nhtml_math_renderer = 'mathml'\nnb_execution_mode = 'off'\n"
    )
    (tmp_path / "index.md").write_text("# Page\n\nAt $\\sqrt{s} = 13.6$ TeV:\n\n$$\n\\frac{a}{b} = \\sum_i p_i\n$$\n")
    command = [sys.executable, "-m", "sphinx", "-W", "-q", str(tmp_path), str(tmp_path / "html")]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    text = (tmp_path / "html" / "index.html").read_text(encoding="utf-8")
    assert "<msqrt>" in text
    assert "<mfrac>" in text
    assert "https://" not in re.sub(r"<a [^>]*>", "", text)
