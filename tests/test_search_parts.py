"""Parts of a search, as jobs by hand make them, give the search as a whole, to the bit."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from pages import blocks
from searches import PLAIN, columns, make_world, write

from jettagger.cli import main
from jettagger.cli import search as search_command
from jettagger.cli.console import Console
from jettagger.errors import ConfigError, InputFileError, MismatchError
from jettagger.histograms import load
from jettagger.provenance import read_provenance
from jettagger.search import read_config
from jettagger.search.failures import sites_of
from jettagger.search.parts import MARKER, merged_chunks, part_of, read_parts, split_config, write_part

COMMAND = ["--no-plots"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = make_world(tmp_path_factory.mktemp("world"), config=PLAIN, binary=False)
    write(place.parent / "tt3.root", columns(20, 9, binary=False))
    return place


@pytest.fixture(scope="module")
def whole(world: Path) -> Path:
    assert main(["search", str(world), "-o", str(world.parent / "whole"), *COMMAND]) == 0
    return world.parent / "whole"


@pytest.fixture(scope="module")
def parts(world: Path) -> list[Path]:
    """Three parts of five files."""
    folders = [world.parent / "parts" / f"{number}" for number in (1, 2, 3)]
    folders[0].parent.mkdir()
    for number, folder in enumerate(folders, 1):
        assert main(["search", str(world), "-o", str(folder), "--part", f"{number}/3"]) == 0
    return folders


def same(out: Path, whole: Path) -> None:
    for name in ("histograms.json", "cutflow.json", "cutflow.txt", "templates.json", "datacard_X1.txt"):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name


def test_parts_give_the_search_as_a_whole(
    world: Path, whole: Path, parts: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = read_parts([parts[2], parts[0], parts[1]])
    assert [part.number for part in found] == [1, 2, 3]
    files = [Path(path).name for part in found for path in part.files]
    assert sorted(files) == ["X1.root", "run.root", "tt1.root", "tt2.root", "tt3.root"]
    capsys.readouterr()
    assert main(["search", "merge", *map(str, parts), "-o", str(tmp_path / "out"), *COMMAND]) == 0
    said = capsys.readouterr()
    assert "events at 10 /fb" in said.out
    same(tmp_path / "out", whole)
    records = [json.loads((folder / "record.json").read_text()) for folder in (tmp_path / "out", whole)]
    for key in ("configuration", "model", "files", "datasets", "missing", "notes", "templates"):
        assert records[0][key] == records[1][key], key
    assert "is in no part" not in said.err
    assert not list(parts[0].parent.glob("*.resume"))


def test_a_part_says_how_it_was_made(parts: list[Path]) -> None:
    note = json.loads((parts[0] / MARKER).read_text())
    assert note["part"] == [1, 3]
    assert note["missing"] == {}
    made = read_provenance(parts[0] / MARKER)
    assert (made["model"], made["step"]) == ("tinyParT", "search part")
    assert len(made["files"]) == 2


def test_parts_that_do_not_belong_together(world: Path, parts: list[Path], tmp_path: Path) -> None:
    with pytest.raises(MismatchError, match=r"parts are missing: 2/3; run them with --part"):
        read_parts([parts[0], parts[2]])
    with pytest.raises(MismatchError, match=rf"part 1/3 is given 2 times: {parts[0]}, {parts[0]}"):
        read_parts([*parts, parts[0]])
    with pytest.raises(InputFileError, match=r"is no part of a search: it has no part\.json"):
        read_parts([*parts, tmp_path])
    with pytest.raises(ConfigError, match="no parts"):
        read_parts([])
    for number, (key, value, text) in enumerate(
        (
            ("part", [2, 4], "it is one of 4 parts, not of 3"),
            ("version", 9, "was written by jettagger"),
            ("files", 3, "is damaged"),
            ("search", None, r"cuts\.near is 'abs\(deta\) < 1', was 'abs\(deta\) < 2'"),
        )
    ):
        other = tmp_path / f"{number}"
        shutil.copytree(parts[1], other)
        note = json.loads((other / MARKER).read_text())
        if value is None:
            note["search"]["configuration"]["cuts"]["near"] = "abs(deta) < 1"
        else:
            note[key] = value
        (other / MARKER).write_text(json.dumps(note))
        with pytest.raises((MismatchError, InputFileError), match=text):
            read_parts([parts[0], other, parts[2]])


def test_a_search_that_has_changed_since(world: Path, parts: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    found = read_parts(parts)
    config = read_config(PLAIN.replace("deta) < 2", "deta) < 3"), name="search.yaml", folder=world.parent)
    with pytest.raises(MismatchError, match=r"changed since .*/1 was made: cuts\.near is 'abs\(deta\) < 3'"):
        merged_chunks(found, config, config.make_processor())
    assert main(["search", "merge", *map(str, parts), "-o", str(world.parent / "other"), "--threads", "2"]) == 2
    assert "tagger.threads is 2, was 1" in capsys.readouterr().err


def test_files_that_changed_and_chunks_that_are_damaged(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = make_world(tmp_path / "world", config=PLAIN)
    folders = [tmp_path / f"{number}" for number in (1, 2)]
    for number, folder in enumerate(folders, 1):
        assert main(["search", str(place), "-o", str(folder), "--part", f"{number}/2", "--no-resume"]) == 0
    out = tmp_path / "out"
    merge = ["search", "merge", *map(str, folders), "-o", str(out), *COMMAND]
    chunk = min((folders[0] / "chunks").iterdir())
    content = chunk.read_bytes()
    chunk.write_bytes(content[:-3])
    capsys.readouterr()
    assert main(merge) == 2
    assert f"{chunk} is damaged: make this part again" in capsys.readouterr().err
    chunk.write_bytes(content)
    write(place.parent / "tt2.root", columns(8, 5))
    assert main(merge) == 2
    said = capsys.readouterr().err
    assert re.search(r"events 0 to 8 of \S*tt2\.root are in no part: the file is new or has changed since", said)
    assert not out.exists()


def test_what_a_part_left_out_is_left_out_of_the_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = make_world(tmp_path / "world", config=PLAIN, binary=False)
    broken = place.parent / "tt2.root"
    broken.write_bytes(broken.read_bytes()[:200])
    folders = [tmp_path / f"{number}" for number in (1, 2)]
    for number, folder in enumerate(folders, 1):
        command = ["search", str(place), "-o", str(folder), "--part", f"{number}/2", "--skip-broken"]
        assert main(command) == 0
    assert [len(part.missing) for part in read_parts(folders)] == [0, 1]
    assert main(["search", "merge", *map(str, folders), "-o", str(tmp_path / "out"), *COMMAND]) == 0
    assert f"missing: {broken}: " in capsys.readouterr().err
    assert main(["search", str(place), "-o", str(tmp_path / "whole"), "--skip-broken", *COMMAND]) == 0
    same(tmp_path / "out", tmp_path / "whole")
    # the file is whole again, but no part has it
    write(broken, columns(8, 2, binary=False))
    assert main(["search", "merge", *map(str, folders), "-o", str(tmp_path / "again"), *COMMAND]) == 0
    said = capsys.readouterr().err
    assert f"missing: {broken}, events 0 to 8: was not read by its part: " in said
    one, other = (load(tmp_path / name / "histograms.json")[0] for name in ("again", "whole"))
    assert one == other


def test_parts_of_relative_paths_are_merged_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As on the page: in the folder of the configuration, and through a link; merged in another folder."""
    place = make_world(tmp_path / "world", config=PLAIN, binary=False)
    broken = place.parent / "tt2.root"
    broken.write_bytes(broken.read_bytes()[:200])
    (tmp_path / "link").symlink_to(place.parent)
    monkeypatch.chdir(place.parent)
    Path("parts").mkdir()
    for number, config in enumerate(("search.yaml", str(tmp_path / "link" / "search.yaml")), 1):
        command = ["search", config, "-o", f"parts/{number}/", "--part", f"{number}/2", "--skip-broken"]
        assert main(command) == 0
    assert main(["search", "search.yaml", "-o", "whole", "--skip-broken", *COMMAND]) == 0
    relative: Any = read_config("search.yaml")
    with pytest.raises(ConfigError, match=r"absolute paths of its files, but the folder of search\.yaml is '\.'"):
        write_part("part", relative, relative, relative, None, part=(1, 1), text="", missing={})
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    assert main(["search", "merge", "world/parts/1/", "world/parts/2/", "-o", "out", *COMMAND]) == 0
    assert f"missing: {broken.resolve()}: " in capsys.readouterr().err
    assert load("out/histograms.json")[0] == load(place.parent / "whole" / "histograms.json")[0]


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "1/0", "-1/3", "1/3/5"])
def test_numbers_of_parts(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--part: got .*, expected N/OF with N from 1 to OF"):
        part_of(text)


def test_more_parts_than_files(world: Path) -> None:
    config = read_config(world)
    with pytest.raises(ConfigError, match="6 parts of 5 files"):
        split_config(config, 1, 6)
    files: list[Any] = [path for number in range(1, 6) for path in split_config(config, number, 5).files.values()]
    assert len(files) == 5


def test_failures_are_counted_by_site() -> None:
    places = [f"root://eos.cern.ch:1094//{number}.root" for number in range(3)]
    places = ["/data/a.root", *places, "https://b.org/x, events 0 to 5"]
    assert sites_of(places) == {"eos.cern.ch:1094": 3, "": 1, "b.org": 1}


def test_the_table_of_sites_on_the_page_is_that_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    missing = {f"root://eos.example.org//{number}.root": "no answer" for number in range(37)}
    search_command._failures(Console(), {**missing, "local.root": "no such file"})
    (block,) = blocks("docs/search_batch.md", "text", "by site")
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == block.splitlines()
