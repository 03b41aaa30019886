"""Pages whose blocks belong together run from top to bottom: own models, central NanoAOD, Delphes."""

from __future__ import annotations

import re
import runpy
import shlex
import shutil
from pathlib import Path

import pytest
from pages import ROOT, blocks, read
from weavers import weaver_bundle

from jettagger.cli import main


def run_python(block: str) -> None:
    exec(compile(block, "document", "exec"), {"__name__": "document"})


def run_shell(block: str) -> None:
    for line in block.splitlines():
        assert main(shlex.split(line, comments=True)[1:]) == 0, line


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:You are using the legacy TorchScript-based ONNX export:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The feature will be removed:DeprecationWarning")
def test_an_own_model_is_exported_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="the extra train is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    page = "docs/own_model.md"
    export, use = blocks(page, "python")
    run_python(export)
    (card,) = blocks(page, "json")
    (tmp_path / "mymodel" / "bundle.json").write_text(card, encoding="utf-8")
    (shell,) = blocks(page, "sh")
    run_shell(shell)
    said = capsys.readouterr().out
    assert "passes" in said
    assert "sums over candidates" in said
    (tmp_path / "mymodel").rename(tmp_path / "elsewhere")  # the copy that was added has a name
    run_python(use)
    assert "None" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.data
def test_a_search_runs_on_the_scores_of_central_nanoaod(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nano.root").symlink_to(shared / "cms" / "nano_tt_v15.root")
    page = "docs/central_nanoaod.md"
    (search,) = blocks(page, "yaml")
    (tmp_path / "central.yaml").write_text(search, encoding="utf-8")
    (shell,) = blocks(page, "sh")
    run_shell(shell)
    assert "runs no network: the scores are in the files" in capsys.readouterr().out
    run_python(next(block for block in blocks(page, "python") if "onnx.save" in block))  # the network of the page
    tagged = ["tag", "nano.root", "--model", "shape", "--where", "pt > 200", "-o", "scores.parquet"]
    assert main(tagged) == 0
    scored = re.search(r"^scored +(\d+)$", capsys.readouterr().out, flags=re.MULTILINE)
    assert scored is not None
    assert int(scored.group(1)) > 0
    assert main(["tag", "nano.root", "--model", "inclParTToyV1", "-o", "x.parquet", "--dry-run"]) == 2
    assert "central NanoAOD stores candidates" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.data
def test_jets_of_delphes_get_scores(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("mplhep", reason="the extra plot is not installed")
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(shared / "sophon" / "events_delphes_example.root", "delphes.root")
    weaver_bundle(tmp_path / "mymodel")
    page = "docs/delphes.md"
    (shell,) = blocks(page, "sh")
    run_shell(shell)
    capsys.readouterr()
    (block,) = blocks(page, "python")
    run_python(block)
    assert "mymodel_" in capsys.readouterr().out
    assert all((tmp_path / name).stat().st_size for name in ("scores.parquet", "jets.root", "jet.png"))


def test_the_way_of_the_data_is_drawn_by_its_script() -> None:
    script = runpy.run_path(str(ROOT / "docs" / "way_of_data.py"))
    assert script["PICTURE"].read_text(encoding="utf-8") == script["drawn"]()
    assert f"]({script['PICTURE'].name})" in read("docs/concepts.md")


def test_concepts_have_pages() -> None:
    """Each of the words of the brief introduction has a section."""
    titles = " ".join(re.findall(r"^## (.+)$", read("docs/concepts.md"), flags=re.MULTILINE)).lower()
    words = (
        "bundle",
        "source",
        "score",
        "none",
        "hidden neuron",
        "head",
        "discriminant",
        "working point",
        "provenance",
    )
    assert [word for word in words if word not in titles] == []
