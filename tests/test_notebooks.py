"""The notebooks of the documentation: stored without outputs, and each of them runs."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest
from test_docs_site import module

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def content_of(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def source(cell: Any) -> str:
    return "".join(cell["source"])


def test_the_site_has_all_of_them() -> None:
    listed = re.findall(
        r"^notebooks/(\w+)$", (ROOT / "docs" / "notebooks.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert sorted(listed) == [path.stem for path in NOTEBOOKS]
    assert len(NOTEBOOKS) == 5


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_stored_without_outputs(path: Path) -> None:
    content = content_of(path)
    cells = content["cells"]
    assert (content["nbformat"], content["nbformat_minor"]) >= (4, 5)
    # ids that stay, so that a change of one cell is a change of one cell
    assert [cell["id"] for cell in cells] == [f"cell-{number + 1:02d}" for number in range(len(cells))]
    for cell in cells:
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
            compile(source(cell), f"{path.name}, {cell['id']}", "exec")
    assert set(content["metadata"]) == {"jettagger", "kernelspec", "language_info"}
    assert content["metadata"]["jettagger"]["needs"]
    first, last = cells[0], cells[-1]
    assert source(first).startswith("# ")
    assert "extra" in source(first) or "pip install" in source(first)
    assert "## What next\n" in source(last)
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", "\n".join(map(source, cells))):
        assert (FOLDER / link).resolve().exists(), link


def test_a_notebook_that_is_not_run_says_so() -> None:
    notebooks = module(ROOT / "docs" / "_site" / "notebooks.py")
    text = NOTEBOOKS[0].read_text(encoding="utf-8")
    cells = json.loads(notebooks.with_note(text, ["torch"]))["cells"]
    assert "without torch" in cells[1]["source"]
    assert json.loads(notebooks.with_note(text, [])) == json.loads(text)
    for path in NOTEBOOKS:
        needs = content_of(path)["metadata"]["jettagger"]["needs"]
        assert notebooks.absent(path) == [name for name in needs if importlib.util.find_spec(name) is None]


def test_outputs_show_no_place_of_the_machine() -> None:
    nodes = pytest.importorskip("docutils.nodes", reason="the extra docs is not installed")
    notebooks = module(ROOT / "docs" / "_site" / "notebooks.py")
    table = nodes.raw("", f"<td>{ROOT}/jettagger/models/x</td>", format="html")
    page = nodes.section("", nodes.paragraph("", "", nodes.Text(f"in {ROOT}/docs and {ROOT}/a")), table)
    notebooks.without_place(page, ROOT)
    assert [text.astext() for text in page.findall(nodes.Text)] == ["in docs and a", "<td>jettagger/models/x</td>"]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_each_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = content_of(path)
    for name in content["metadata"]["jettagger"]["needs"]:
        pytest.importorskip(name, reason=f"the notebook needs {name}")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    import warnings

    with warnings.catch_warnings():
        # as in a notebook: what the libraries of others announce is no error
        warnings.simplefilter("default")
        for cell in content["cells"]:
            if cell["cell_type"] == "code":
                exec(compile(source(cell), f"{path.name}, {cell['id']}", "exec"), names)
    assert list(tmp_path.iterdir()) == []
