"""The gallery of the documentation: each example runs, and each plot and each task has one."""

from __future__ import annotations

import ast
import importlib
import inspect
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference_figures import FIGURES
from test_docs_site import module

from jettagger import plots
from jettagger.testing import example_path

ROOT = Path(__file__).resolve().parent.parent
GALLERY = ROOT / "examples" / "gallery"
SCRIPTS = sorted(GALLERY.glob("*/*.py"))

#: less than about a CPU second each
CHEAP = {
    "plot_correlation_matrix",
    "plot_cutflow",
    "plot_dependence_curves",
    "plot_fitted_pulls",
    "plot_flavour_responses",
    "plot_purities_by_objects",
    "plot_where_and_none",
}

#: how-to pages without an example, and why
OTHERWISE = {
    "frameworks": "needs other frameworks",
    "logging": "gives lines of text",
    "remote": "needs a server",
    "search_batch": "needs a batch system",
    "search_corrections": "a key of a configuration, files of corrections are not shipped",
    "search_objects": "a key of a configuration, shipped files have fat jets alone",
    "simulation": "needs the generator; the shipped files are made so",
}

# what the pages would show is an error, e.g. coffea's note on collections that a file lacks; jsonschema's own
# deprecation that pyhf 0.7 raises is not shown
pytestmark = [
    pytest.mark.filterwarnings("error:Missing cross-reference index:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:.*RefResolver.*:DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def _crossrefs(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an example sets for all that follows ends with the test."""
    from coffea.nanoevents import PFNanoAODSchema

    monkeypatch.setattr(PFNanoAODSchema, "warn_missing_crossrefs", True)


def figures(script: Path) -> list[Any]:
    """Run the cells of a script, and give their figures, as the site takes them."""
    pytest.importorskip("mplhep", reason="the extra plot is not installed")
    if script.stem.endswith("_train"):
        pytest.importorskip("torch", reason="the extra train is not installed")
        pytest.importorskip("h5py", reason="the extra train is not installed")
    if script.parent.name in ("search", "calibration"):
        pytest.importorskip("pyhf", reason="the extra stats is not installed")
    from matplotlib.figure import Figure

    names: dict[str, Any] = {"__name__": "__main__"}
    found: list[Any] = []
    for cell in re.split(r"^# %%.*$", script.read_text(encoding="utf-8"), flags=re.MULTILINE):
        exec(compile(cell, str(script), "exec"), names)
        for value in list(names.values()):
            if isinstance(value, Figure) and not any(value is figure for figure in found):
                found.append(value)
    return found


def picture(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=60, metadata={"Software": None})
    return buffer.getvalue()


@pytest.mark.parametrize(
    "script",
    [pytest.param(path, id=path.stem, marks=() if path.stem in CHEAP else pytest.mark.slow) for path in SCRIPTS],
)
def test_each_example_draws(script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = figures(script)
    assert found
    for figure in found:
        picture(figure)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name",
    [
        "plot_purities_by_objects",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("plot_roc_curves", "plot_fitted_spectrum")),
    ],
)
def test_pictures_are_those_of_the_last_time(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (script,) = (path for path in SCRIPTS if path.stem == name)
    first, second = ([picture(figure) for figure in figures(script)] for _ in range(2))
    assert first == second


def called() -> set[str]:
    """Names of :mod:`jettagger.plots` that scripts use."""
    found = set()
    for path in SCRIPTS:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "plots":
                found.add(node.attr)
    return found


def test_each_public_plot_has_an_example() -> None:
    public = {
        name
        for name in plots.__all__
        if inspect.isfunction(getattr(plots, name)) and "matplotlib.figure.Figure" in getattr(plots, name).__doc__
    }
    assert public == set(FIGURES)
    assert {*public, "process_styles", "PlotLabel"} - called() == set()


def test_each_plot_is_the_name_of_its_example() -> None:
    """So that it is found: plots of tasks have the name of the task."""
    named = {path.stem.removeprefix("plot_").removesuffix("_train") for path in SCRIPTS}
    shown_by_tasks = {"shapes": "score_file", "spectrum": "templates"}
    assert {shown_by_tasks.get(name, name) for name in FIGURES} <= named


def test_each_how_to_page_has_an_example() -> None:
    text = (ROOT / "docs" / "howto.md").read_text(encoding="utf-8")
    pages = {line.removesuffix("/index") for line in text.splitlines() if re.fullmatch(r"[a-z_]+(/index)?", line)}
    assert {"search", "discriminants", "jec", "explain"} <= pages
    scripts = "\n".join(path.read_text(encoding="utf-8") for path in SCRIPTS)
    linked = set(re.findall(r":doc:`(?:[^`]*<)?/([a-z_]+)(?:/index)?>?`", scripts))
    assert linked <= {path.stem for path in (ROOT / "docs").glob("*.md")}
    assert pages - linked == set(OTHERWISE) & pages
    assert linked & set(OTHERWISE) == set()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_each_example_has_a_title_a_text_and_a_way_on(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    assert script.stem.startswith("plot_")
    title, underline, empty, *body = (ast.get_docstring(ast.parse(text)) or "").splitlines()
    assert underline == "=" * len(title)
    assert empty == ""
    assert len(" ".join(body)) > 60
    last = text.rpartition("# %%\n")[2]
    assert last.startswith("# Next: ")
    assert re.search(r":(doc|ref):`", last)
    for name in re.findall(r":ref:`sphx_glr_gallery_([a-z_]+/?[a-z_]*)\.py`", text):
        section, _, other = name.partition("_")
        assert (GALLERY / section / f"{other}.py").is_file(), name
    # a random number without a seed would be another picture at each build
    assert "default_rng()" not in text
    assert "np.random.normal" not in text


def test_sections_are_those_of_the_site() -> None:
    sections = module(ROOT / "docs" / "_site" / "gallery.py").SECTIONS
    assert {path.name for path in GALLERY.iterdir() if path.is_dir()} == set(sections)
    for folder in (GALLERY, *(GALLERY / name for name in sections)):
        title, underline, *_ = (folder / "GALLERY_HEADER.rst").read_text(encoding="utf-8").splitlines()
        assert len(title) == len(underline)


def test_the_stored_search_is_that_of_its_example() -> None:
    """``examples/data/toy_search`` is what ``plot_templates.py`` writes."""
    pytest.importorskip("pyhf", reason="the extra stats is not installed")
    pytest.importorskip("mplhep", reason="the extra plot is not installed")
    names: dict[str, Any] = {"__name__": "__main__"}
    (script,) = (path for path in SCRIPTS if path.stem == "plot_templates")
    exec(compile(script.read_text(encoding="utf-8"), str(script), "exec"), names)
    stored = example_path("toy_search")
    workspaces = sorted(path.name for path in stored.glob("workspace_*.json"))
    assert len(workspaces) == 3
    for name in workspaces:
        old, new = (json.loads((Path(folder) / name).read_text()) for folder in (stored, names["folder"]))
        assert [channel["name"] for channel in old["channels"]] == [channel["name"] for channel in new["channels"]]
        for one, other in zip(old["observations"], new["observations"], strict=True):
            np.testing.assert_allclose(one["data"], other["data"], rtol=1e-6)
        for one, other in zip(old["channels"], new["channels"], strict=True):
            for first, second in zip(one["samples"], other["samples"], strict=True):
                np.testing.assert_allclose(first["data"], second["data"], rtol=1e-6)


def test_figures_are_shown_by_notebooks_without_a_word_of_fonts(capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("mplhep", reason="the extra plot is not installed")
    png = importlib.import_module("matplotlib.image")
    figure = plots.cutflow({"$p_T$": {"all": 10.0, "some": 3.0}}, title=r"$p_T$ > 300 GeV")
    shown = figure._repr_png_()
    assert png.imread(io.BytesIO(shown)).shape[2] == 4
    assert shown == figure._repr_png_()
    assert "findfont" not in capfd.readouterr().err
