"""jettagger datasets: files under paths and globs, counted, checked, and written as a fileset of coffea."""

from __future__ import annotations

import gzip
import importlib
import json
import os
import shutil
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uproot
from searches import columns, make_world
from test_filesets import BARE, same

from jettagger.cli import main
from jettagger.errors import ConfigError, InputFileError, MissingExtra, OutputError, UnknownName
from jettagger.files.resuming import ResumeWarning, resume_folder
from jettagger.files.root import EventFile, write_tree
from jettagger.provenance import read_provenance
from jettagger.search import datasets, read_config, run_search, survey
from jettagger.search.datasets import find_files, make_fileset, rucio_files
from jettagger.search.filesets import read_fileset


@pytest.fixture
def store(disk: Path, tmp_path: Path) -> Path:
    """A copy of the disk, on which files may change."""
    return Path(shutil.copytree(disk, tmp_path / "store"))


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders as on a disk of an experiment."""
    tmp_path = tmp_path_factory.mktemp("disk")
    for place, events in {"tt/0000/a": 6, "tt/0001/b": 4, "run/c": 3}.items():
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        made = columns(events, events, data=place.startswith("run"))
        rows = {"run": [1], "genEventSumw": [2.5 * events], "genEventCount": [events], "genPdf": [[1.0, 2.0]]}
        runs = {} if place.startswith("run") else {"Runs": rows}
        write_tree(tmp_path / f"{place}.root", [made], more=runs)
    (tmp_path / "tt" / "log.txt").write_text("not a file of events")
    return tmp_path


def names(found: dict[str, list[str]]) -> dict[str, list[str]]:
    return {dataset: [Path(path).name for path in paths] for dataset, paths in found.items()}


# ---------------------------------------------------------------------------------------- which files


def test_folders_globs_lists_and_filesets(store: Path) -> None:
    assert names(find_files(["tt", "data=run"], store)) == {"tt": ["a.root", "b.root"], "data": ["c.root"]}
    assert names(find_files(["x=tt/*/a.root", "x=tt/0001"], store)) == {"x": ["a.root", "b.root"]}
    assert names(find_files(["run/c.root"], store)) == {"c": ["c.root"]}
    (store / "list.txt").write_text("tt/0000/a.root\nroot://host//store/z.root\n")
    found = find_files(["tt=list.txt"], store)
    assert found["tt"] == [str(store / "tt/0000/a.root"), "root://host//store/z.root"]
    (store / "old.json").write_text(json.dumps({"run": ["run/c.root"], "tt": ["tt/0000/a.root"]}))
    assert names(find_files(["old.json"], store)) == {"run": ["c.root"], "tt": ["a.root"]}
    assert names(find_files(["tt=old.json"], store)) == {"tt": ["a.root"]}


@pytest.mark.parametrize(
    ("inputs", "kind", "message"),
    [
        (["tt/*/a.root"], ConfigError, "give its files the name of a data set, NAME=tt"),
        (["list.txt"], ConfigError, "NAME=list.txt"),
        (["nothing"], InputFileError, "no file .*root or .*parquet in"),
        (["x=none*.root"], InputFileError, "no file matches"),
        (["tt", "y=tt/0000"], ConfigError, "a.root is in 'tt' and 'y'"),
        (["tt", "tt=tt/0000"], ConfigError, "a.root is in 'tt' twice"),
        (["root://host//tt.json"], InputFileError, "must be local"),
    ],
)
def test_bad_places(inputs: list[str], kind: type[Exception], message: str, store: Path) -> None:
    (store / "list.txt").write_text("tt/0000/a.root\n")
    (store / "nothing").mkdir()
    with pytest.raises(kind, match=message):
        find_files(inputs, store)


# ---------------------------------------------------------------------------------------- what is counted


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_what_is_counted_is_what_uproot_says(workers: int, store: Path) -> None:
    path = store / "sets.json.gz"
    done: list[int] = []
    metadata = {"tt": {"cross_section": 830, "part": 2}}
    made = make_fileset(
        find_files(["tt", "run"], store), path, workers=workers, metadata=metadata, progress=done.append
    )
    assert sum(done) == 3
    content = json.loads(gzip.decompress(path.read_bytes()))
    assert content == made.content
    for item in content.values():
        for name, keys in item["files"].items():
            with uproot.open(name) as file:
                assert keys["num_entries"] == file["Events"].num_entries
                assert keys["uuid"] == str(file.file.uuid)
                assert keys["steps"] == [[0, keys["num_entries"]]]
    assert {name: made.events(name) for name in content} == {"tt": 10, "run": 3}
    assert made.sum_of_weights("tt") == 25.0
    assert made.sum_of_weights("run") is None
    assert content["tt"]["metadata"]["part"] == 2
    assert list(content["tt"]["files"]) == sorted(content["tt"]["files"])
    assert "genPdf" not in str(content)
    assert not resume_folder(path).exists()


def test_coffea_reads_it(store: Path) -> None:
    tools = pytest.importorskip("coffea.dataset_tools")
    if not hasattr(tools, "DataGroupSpec"):
        pytest.skip("could not import 'coffea.dataset_tools.DataGroupSpec', which is in later versions")
    made = make_fileset(find_files(["tt", "run"], store), store / "sets.json", step_size=3)
    theirs = tools.DataGroupSpec(json.loads((store / "sets.json").read_text()))
    assert isinstance(theirs["tt"].files, tools.PreprocessedFiles)
    assert {name: item.num_entries for name, item in theirs.items()} == {"tt": 10, "run": 3}
    assert [list(map(list, steps)) for steps in theirs["tt"].steps.values()] == [[[0, 3], [3, 6]], [[0, 4]]]
    assert made.events("tt") == theirs["tt"].num_selected_entries


def test_a_fileset_says_how_it_was_made(store: Path) -> None:
    (store / "tt" / "0002.root").write_bytes(b"root, but not really")
    make_fileset(find_files(["tt"], store), store / "sets.json", skip_broken=True)
    record = read_provenance(store / "sets.json")
    assert record["step"] == "datasets"
    assert [Path(path).name for path in record["skipped"]] == ["0002.root"]
    assert record["configuration"] == {"tree": "Events", "files": 2}


# ---------------------------------------------------------------------------------------- as samples of a search


@pytest.mark.slow
def test_a_search_of_its_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sums of weights come from the fileset; one file of each data set is opened."""
    world = make_world(tmp_path / "world", config=BARE).parent
    rows = {"run": [1], "genEventSumw": [40.0], "genEventCount": [60]}
    for name, seed in (("tt1", 1), ("tt2", 2), ("X1", 3)):
        write_tree(world / f"{name}.root", [columns(20, seed)], more={"Runs": rows})
    expected = run_search(read_config(world / "search.yaml"))
    metadata = {"tt": {"cross_section": 2}, "X1": {"cross_section": 0.5}, "run": {"data": True}}
    files = find_files(["tt=tt*.root", "X1.root", "run.root"], world)
    make_fileset(files, world / "sets.json", metadata=metadata)
    text = BARE
    for line in ('{files: ["tt*.root"], cross_section: 2}', "{files: X1.root, cross_section: 0.5}",
                 "{files: [run.root], data: true}"):  # fmt: skip
        assert line in text
        text = text.replace(line, "{files: sets.json}")
    made = read_config(text, name="search.yaml", folder=world)
    seen: list[str] = []
    before = EventFile.__init__

    def counted(self: EventFile, path: Any, *arguments: Any) -> None:
        seen.append(Path(path).name)
        before(self, path, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(EventFile, "__init__", counted)
        found = survey(made, made.make_processor())
    assert sorted(seen) == ["X1.root", "run.root", "tt1.root"]
    assert found.samples["tt"].sum_of_weights == 80.0
    result = run_search(made, found=found)
    same(result, expected)
    assert result.datasets == expected.datasets


# ---------------------------------------------------------------------------------------- damage, interrupts


def test_all_damaged_files_are_named_and_nothing_is_written(store: Path) -> None:
    whole = (store / "tt/0000/a.root").read_bytes()
    (store / "tt" / "cut.root").write_bytes(whole[: len(whole) // 2])
    (store / "tt" / "empty.root").write_bytes(b"")
    with uproot.recreate(store / "tt" / "other.root") as file:
        file["Event"] = {"x": [1, 2]}
    files, path = find_files(["tt"], store), store / "sets.json"
    with pytest.raises(InputFileError) as caught:
        make_fileset(files, path)
    for text in (
        "3 of 5 files cannot be read",
        "cut.root",
        "empty.root",
        "no tree 'Events' (nearest: Event)",
        "--skip",
    ):
        assert text in str(caught.value)
    assert not path.exists()
    with pytest.warns(ResumeWarning, match="2 of 5 files were counted by an earlier run"):
        made = make_fileset(files, path, skip_broken=True)
    assert [Path(name).name for name in made.left_out] == ["cut.root", "empty.root", "other.root"]
    assert made.events("tt") == 10
    with pytest.raises(InputFileError, match="dataset 'x' has no file that can be read"):
        make_fileset({"x": [str(store / "tt" / "empty.root")]}, store / "x.json", skip_broken=True)


def test_an_interrupted_run_goes_on_with_files_that_are_unchanged(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, path = find_files(["tt", "run"], store), store / "sets.json"
    expected = make_fileset(files, store / "whole.json").content
    opened: list[str] = []
    before = datasets.count_file

    def stops(name: str, *arguments: Any) -> Any:
        opened.append(Path(name).name)
        if len(opened) == 3:
            raise KeyboardInterrupt
        return before(name, *arguments)

    monkeypatch.setattr(datasets, "count_file", stops)
    with pytest.raises(KeyboardInterrupt):
        make_fileset(files, path)
    assert not path.exists()
    with (resume_folder(path) / datasets.DONE).open("a") as file:
        file.write('\n{"path": "half of a li')
    status = os.stat(store / "tt/0001/b.root")
    os.utime(store / "tt/0001/b.root", ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    with pytest.warns(ResumeWarning, match="1 of 3 files"):
        made = make_fileset(files, path)
    assert opened == ["a.root", "b.root", "c.root", "b.root", "c.root"]
    assert made.content == expected
    assert not resume_folder(path).exists()


def test_another_run_on_the_same_output_is_refused(store: Path) -> None:
    files, path = find_files(["run"], store), store / "sets.json"
    with (
        datasets._kept(path, "Events", True),
        pytest.raises(OutputError, match="another run is writing the same output"),
    ):
        make_fileset(files, path)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"metadata": {"rum": {}}}, UnknownName, r"unknown dataset in the metadata: 'rum' \(nearest: run"),
        ({"metadata": {"run": {"era": [1]}}}, ConfigError, "metadata of 'run': 'era' must be the name of an era"),
        ({"workers": 0}, ConfigError, "workers must be at least 1"),
        ({"step_size": 0}, ConfigError, "step_size must be at least 1"),
        ({"retries": -1}, ConfigError, "retries must not be below zero"),
        ({"tree": "Runs"}, InputFileError, "has no tree 'Runs'"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], kind: type[Exception], message: str, store: Path) -> None:
    with pytest.raises(kind, match=message):
        make_fileset(find_files(["run"], store), store / "sets.json", **arguments)
    assert not (store / "sets.json").exists()


# ---------------------------------------------------------------------------------------- Rucio


@pytest.fixture
def rucio_utils() -> Iterator[str]:
    """The name of coffea's module, which is imported anew in the test and after it."""
    pytest.importorskip("coffea.dataset_tools")
    name = "coffea.dataset_tools.rucio_utils"
    sys.modules.pop(name, None)
    yield name
    sys.modules.pop(name, None)


def test_rucio_says_how_to_install_it(rucio_utils: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rucio", None)
    with pytest.raises(MissingExtra, match=r"'rucio.*not installed: pip install rucio-clients"):
        rucio_files("/TT/x/NANOAODSIM")


def test_files_of_rucio_are_those_of_coffea(rucio_utils: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a client that answers as the server does; the rest is coffea's."""

    class Client:
        def list_replicas(self, asked: list[dict[str, str]]) -> list[dict[str, Any]]:
            if asked[0]["name"] != "/TT/x/NANOAODSIM":
                raise RuntimeError("Data identifier not found")
            sites = {"T2_DE_X": ["a"], "T2_CH_Y": ["b"]}
            meta = {"type": "DISK", "volatile": False}
            states = dict.fromkeys(sites, "AVAILABLE")
            return [{"name": "/store/tt.root", "rses": sites, "pfns": {"a": meta, "b": meta}, "states": states}]

    package, client = types.ModuleType("rucio"), types.ModuleType("rucio.client")
    client.Client = Client  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "rucio", package)
    monkeypatch.setitem(sys.modules, "rucio.client", client)
    monkeypatch.setenv("RUCIO_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(rucio_utils)
    sites = {"T2_DE_X": "root://de.example/", "T2_CH_Y": "root://ch.example/"}
    monkeypatch.setattr(module, "get_proxy_path", lambda: "")
    monkeypatch.setattr(module, "get_xrootd_sites_map", lambda: sites)
    assert rucio_files("/TT/x/NANOAODSIM", "_CH_") == ["root://ch.example//store/tt.root"]
    with pytest.raises(InputFileError, match="/TT/y: Rucio does not give its files: Data identifier not found"):
        rucio_files("/TT/y")


# ---------------------------------------------------------------------------------------- the command


def test_the_command(store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(store)
    (store / "meta.yaml").write_text('tt: {cross_section: 830, era: "2022"}\nrun: {data: true}\n')
    line = ["datasets", "tt", "run", "--metadata", "meta.yaml", "-o", "sets.json"]
    assert main([*line, "--dry-run"]) == 0
    assert "3 files, none is opened" in capsys.readouterr().out
    assert not (store / "sets.json").exists()
    assert main(line) == 0
    out = capsys.readouterr().out
    assert [row.split() for row in out.splitlines()[3:]] == [["tt", "2", "10", "25"], ["run", "1", "3", "-"]]
    found = read_fileset(store / "sets.json")
    assert (found["tt"].metadata.cross_section, found["tt"].metadata.eras) == (830, ("2022",))
    assert found["run"].metadata.data
    assert found["tt"].files[0].generated[0].sum_of_weights == 15.0  # type: ignore[index]
    assert main(line) == 2
    assert "exists already; use --force" in capsys.readouterr().err
    assert main(["datasets", "-o", "x.json"]) == 2
    assert "no files: give paths" in capsys.readouterr().err
    assert main(["datasets", "--rucio", "TT", "-o", "x.json"]) == 2
    assert "expected NAME=/A/B/C" in capsys.readouterr().err
    (store / "run" / "d.root").write_bytes(b"")
    assert main([*line, "--force", "--skip-broken"]) == 0
    assert "d.root" in capsys.readouterr().err
