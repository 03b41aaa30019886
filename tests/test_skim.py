"""From files to a skim: complete or not there, whatever the chunks, the processes and the accidents."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import awkward as ak
import numpy as np
import pyarrow.parquet
import pytest
import uproot
from coffea.nanoevents import NanoEventsFactory, PFNanoAODSchema

import jettagger as jt
from jettagger.errors import (
    ConfigError,
    InputFileError,
    JettaggerError,
    MissingColumns,
    OutputError,
    UnknownName,
    WorkerError,
)
from jettagger.files.root import EventFile, write_tree
from jettagger.files.tables import FlatFile
from jettagger.skims import kinds, skim
from jettagger.skims.jobs import Chunk, Content
from jettagger.skims.skim import Job, make_job, run_job, tag_files
from jettagger.skims.writers import check_target, write_skim
from jettagger.tagging.tagger import Tagger
from jettagger.testing import make_columns, make_events, write_pfnano

SUFFIXES = [".parquet", ".root"]
KEPT = [
    "run",
    "luminosityBlock",
    "event",
    "genWeight",
    *(f"FatJet_{n}" for n in ("pt", "eta", "phi", "mass", "msoftdrop")),
]


@pytest.fixture(scope="module")
def tagger() -> Tagger:
    return jt.load_tagger("tinyParT", threads=1)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("nano")
    return [str(write_pfnano(folder / f"{seed}.root", 20 + seed, seed=seed)) for seed in (1, 2)]


def read(path: Path) -> dict[str, Any]:
    """All columns of a skim; NaN in ROOT is None again."""
    if path.suffix == ".parquet":
        table = pyarrow.parquet.read_table(path)
        return {name: table[name].to_pylist() for name in table.column_names}
    with uproot.open(path) as file:
        arrays = file["Events"].arrays(how=dict)
    plain = {name: array.tolist() for name, array in arrays.items() if not name.startswith("n")}
    return {
        name: [[None if x != x else x for x in row] if isinstance(row, list) else row for row in rows]
        for name, rows in plain.items()
    }


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert set(one) == set(other)
    for name, rows in other.items():
        if isinstance(rows[0], list):
            assert [[x is None for x in row] for row in one[name]] == [[x is None for x in row] for row in rows], name
            flat = [[np.nan if x is None else x for row in c for x in row] for c in (one[name], rows)]
            np.testing.assert_allclose(flat[0], flat[1], atol=1e-5, rtol=1e-4, err_msg=name)
        else:
            assert one[name] == rows, name


@pytest.mark.parametrize(
    ("edges", "ranges"),
    [
        ((), [(0, 4), (4, 8), (8, 10)]),
        ((3,), [(0, 3), (3, 7), (7, 10)]),
        ((2, 3, 6, 9), [(0, 3), (3, 6), (6, 10)]),  # the last of the ends that fit; none where all that is left fits
        ((4, 8), [(0, 4), (4, 8), (8, 10)]),
    ],
)
def test_chunks_end_at_the_last_block_that_fits(edges: tuple[int, ...], ranges: list[tuple[int, int]]) -> None:
    layout: Any = None
    assert list(Content(layout, rows=10, size=4, edges=edges).ranges()) == ranges


def test_a_file_without_rows_is_one_empty_chunk() -> None:
    layout: Any = None
    assert list(Content(layout, rows=0, size=4).ranges()) == [(0, 0)]


def test_a_skim_is_replaced_only_on_request(tmp_path: Path) -> None:
    first, second = ({"a": np.full(3, value)} for value in (1.0, 2.0))
    write_skim(tmp_path / "a.parquet", [first], "{}")
    for refuse in (check_target, lambda path: write_skim(path, [second], "{}")):
        with pytest.raises(OutputError, match=r"a\.parquet exists already; use --force \(force=True\)"):
            refuse(tmp_path / "a.parquet")
    assert ak.from_parquet(tmp_path / "a.parquet").a.tolist() == [1, 1, 1]
    write_skim(tmp_path / "a.parquet", [second], "{}", force=True)
    assert ak.from_parquet(tmp_path / "a.parquet").a.tolist() == [2, 2, 2]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_skim_holds_what_the_tagger_gives(suffix: str, tagger: Tagger, files: list[str], tmp_path: Path) -> None:
    output = tmp_path / f"scores{suffix}"
    result = tag_files(files, tagger, str(output), where="pt > 250", columns=["prob", "mass"], memory=2_000_000)
    assert result.path == output
    assert result.events == 43
    events = ak.concatenate([make_events(21, seed=1), make_events(22, seed=2)])
    scores = tagger(events, events.FatJet.pt > 250)
    got = read(output)
    counts = got.pop("nFatJet", None)
    assert counts == (ak.num(events.FatJet.pt).tolist() if suffix == ".parquet" else None)
    assert set(got) == {
        *KEPT,
        *(f"FatJet_tinyParT_{output.name}" for output in tagger.bundle.select(["prob", "mass"])),
    }
    assert got["event"] == events.event.tolist()
    assert got["FatJet_pt"] == events.FatJet.pt.tolist()
    expected = {f"FatJet_tinyParT_{name}": scores[name].tolist() for name in ("probHbb", "mass", "probTopbWmv")}
    assert_same({name: got[name] for name in expected}, expected)
    assert sum(x is None for row in got["FatJet_tinyParT_mass"] for x in row) > 10
    report = result.report
    assert report.jets == ak.count(events.FatJet.pt)
    assert report.scored + report.not_selected + report.without_constituents == report.jets
    assert [item.name for item in tmp_path.iterdir()] == [output.name]


def test_types_and_provenance_in_parquet(tagger: Tagger, files: list[str], tmp_path: Path) -> None:
    tag_files(files[:1], tagger, str(tmp_path / "s.parquet"), columns=["mass"])
    file = pyarrow.parquet.ParquetFile(tmp_path / "s.parquet")
    column = file.schema_arrow.field("FatJet_tinyParT_mass").type
    assert str(column.value_type) == "float"
    assert column.value_field.nullable
    assert str(file.schema_arrow.field("event").type) == "uint64"
    note = json.loads(file.schema_arrow.metadata[b"jettagger"])
    assert note["model"] == "tinyParT"
    assert note["digest"] == tagger.bundle.digest
    assert note["files"] == files[:1]
    back = ak.from_parquet(tmp_path / "s.parquet")
    assert ak.any(ak.is_none(back.FatJet_tinyParT_mass, axis=1)) or ak.all(ak.num(back.FatJet_pt) >= 0)


def test_the_root_skim_opens_with_coffea(tagger: Tagger, files: list[str], tmp_path: Path) -> None:
    from coffea.nanoevents import NanoAODSchema, NanoEventsFactory

    output = tmp_path / "scores.root"
    tag_files(files, tagger, str(output), where="pt > 250", columns=["prob", "mass"])
    events = NanoEventsFactory.from_root({str(output): "Events"}, schemaclass=NanoAODSchema).events()
    low = events.FatJet.pt <= 250
    assert ak.all(np.isnan(events.FatJet.tinyParT_mass[low]))
    assert ak.sum(np.isfinite(events.FatJet.tinyParT_mass)) > 20
    assert str(ak.type(events.FatJet.tinyParT_probHbb)).endswith(
        'float32[parameters={"__doc__": "FatJet_tinyParT_probHbb"}]'
    ) or (ak.to_numpy(ak.flatten(events.FatJet.tinyParT_probHbb)).dtype == np.float32)
    assert ak.all(events.FatJet.delta_r(events.FatJet) == 0)
    with uproot.open(output) as file:
        assert json.loads(str(file["jettagger"]))["where"] == "pt > 250"
        assert file["Events"].classname == "TTree"


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_chunks_and_processes_change_nothing(suffix: str, tagger: Tagger, files: list[str], tmp_path: Path) -> None:
    outputs = []
    for number, (memory, workers) in enumerate([(10**9, 1), (400_000, 1), (800_000, 2)]):
        if suffix == ".root" and workers == 2:
            continue  # writing is the same, and processes take long to start
        job = make_job(files, tagger, memory=memory, workers=workers, columns=["prob", "mass", "hidNeurons005"])
        assert (len(job.chunks) == 2) == (memory == 10**9)
        assert job.n_events == 43
        result = run_job(job, str(tmp_path / f"{number}{suffix}"), workers=workers)
        assert result.events == result.report.events == 43
        outputs.append(read(result.path))
    for other in outputs[1:]:
        assert_same(other, outputs[0])


def test_chunks_cover_every_event_once(tagger: Tagger, files: list[str]) -> None:
    job = make_job(files, tagger, memory=300_000)
    assert len(job.chunks) > 4
    for path, n_events in zip(files, (21, 22), strict=True):
        edges = [(chunk.start, chunk.stop) for chunk in job.chunks if chunk.path == path]
        assert edges[0][0] == 0
        assert edges[-1][1] == n_events
        assert all(one[1] == other[0] for one, other in pairwise(edges))
    assert make_job(files, tagger, memory=1).n_events == 43  # one event a chunk at least


def test_further_columns_are_passed_on(tagger: Tagger, tmp_path: Path) -> None:
    columns = make_columns(8, seed=3) | {"MET_pt": np.arange(8, dtype=np.float32)}
    columns["FatJet_tau1"] = columns["FatJet_pt"] * 0.5
    path = tmp_path / "in.root"
    write_tree(path, [columns])
    output = tmp_path / "out.parquet"
    tag_files([str(path)], tagger, str(output), columns=["mass"], keep=["FatJet_tau*", "MET_*", "SV_dxy"])
    got = read(output)
    assert got["MET_pt"] == list(range(8))
    assert got["FatJet_tau1"] == columns["FatJet_tau1"].tolist()
    assert got["SV_dxy"] == columns["SV_dxy"].tolist()
    with pytest.raises(UnknownName, match=r"FatJet_tua\*"):
        tag_files([str(path)], tagger, str(tmp_path / "x.parquet"), keep=["FatJet_tua*"])


@pytest.mark.slow
def test_files_without_events_or_jets_give_empty_skims(tagger: Tagger, files: list[str], tmp_path: Path) -> None:
    empty = str(write_pfnano(tmp_path / "empty.root", 0, seed=1))
    for suffix in SUFFIXES:
        result = tag_files([empty], tagger, str(tmp_path / f"e{suffix}"), columns=["mass"])
        assert result.events == result.report.jets == 0
        assert "FatJet_tinyParT_mass" in read(result.path)
        both = tag_files([empty, files[0]], tagger, str(tmp_path / f"b{suffix}"), columns=["mass"])
        assert both.events == 21
    barren = str(write_pfnano(tmp_path / "barren.root", 5, seed=1, jets=0.0))
    for suffix in SUFFIXES:
        result = tag_files([barren], tagger, str(tmp_path / f"n{suffix}"), columns=["mass"])
        assert (result.events, result.report.jets) == (5, 0)
        assert read(result.path)["FatJet_tinyParT_mass"] == [[]] * 5


# bad input


def damaged(folder: Path, kind: str, good: str) -> str:
    path = folder / f"{kind}.root"
    content = Path(good).read_bytes()
    if kind == "truncated":
        path.write_bytes(content[: len(content) // 3])
    elif kind == "empty file":
        path.write_bytes(b"")
    elif kind == "not ROOT":
        path.write_text("run,event\n1,2\n")
    elif kind == "folder":
        path.mkdir()
    elif kind == "no Events":
        with uproot.recreate(path) as file:
            file.mktree("Event", {"x": "f4"})
    elif kind == "no tree":
        with uproot.recreate(path) as file:
            file["Events"] = np.histogram([1.0, 2.0])
    elif kind == "damaged inside":
        middle = len(content) // 2
        path.write_bytes(content[: middle - 60_000] + b"\xff" * 120_000 + content[middle + 60_000 :])
    return str(path)


BROKEN = {
    "missing": "no such file",
    "truncated": "truncated or damaged",
    "empty file": "not a readable ROOT file",
    "not ROOT": "not a readable ROOT file",
    "folder": "is a folder",
    "no Events": r"no tree 'Events' \(nearest: Event\)",
    "no tree": "'Events'",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_named_before_anything_is_written(
    kind: str, tagger: Tagger, files: list[str], tmp_path: Path
) -> None:
    bad = damaged(tmp_path, kind, files[0])
    output = tmp_path / "out.parquet"
    with pytest.raises(InputFileError, match=BROKEN[kind]) as error:
        tag_files([files[0], bad], tagger, str(output))
    assert bad in str(error.value)
    assert not output.exists()
    job = make_job([bad, *files], tagger, skip_broken=True)
    assert list(job.skipped) == [bad]
    assert job.n_events == 43
    assert bad in json.loads(job.provenance)["skipped"]
    with pytest.raises(InputFileError, match=r"none of the 2 files can be read"):
        make_job([bad, bad], tagger, skip_broken=True)


def test_a_file_that_is_damaged_inside_leaves_nothing(tagger: Tagger, files: list[str], tmp_path: Path) -> None:
    bad = damaged(tmp_path, "damaged inside", files[0])
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(InputFileError, match=r"cannot be read") as error:
        tag_files([bad], tagger, str(folder / "out.root"))
    assert bad in str(error.value)
    assert list(folder.iterdir()) == []


def test_files_that_differ_are_refused(tagger: Tagger, files: list[str], tmp_path: Path) -> None:
    columns = make_columns(5, seed=3)
    del columns["FatJet_msoftdrop"]
    other = tmp_path / "other.root"
    write_tree(other, [columns])
    with pytest.raises(MissingColumns, match=r"differs from the first file: it lacks .*FatJet_msoftdrop"):
        make_job([files[0], str(other)], tagger)
    del columns["PFCands_dz"]
    write_tree(other, [columns])
    with pytest.raises(MissingColumns, match=r"PFCands\.dz"):
        make_job([str(other)], tagger)


def test_wrong_arguments(tagger: Tagger, files: list[str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no input files"):
        make_job([], tagger)
    with pytest.raises(ConfigError, match="workers"):
        make_job(files, tagger, workers=0)
    with pytest.raises(ConfigError, match=r"where"):
        make_job(files, tagger, where="pt >")
    with pytest.raises(UnknownName, match=r"'ptt' \(nearest: pt"):
        make_job(files, tagger, where="ptt > 200")
    with pytest.raises(UnknownName, match="probs"):
        make_job(files, tagger, columns=["probs"])
    with pytest.raises(ConfigError, match=r"\.txt.*expected \.parquet or \.root"):
        tag_files(files, tagger, str(tmp_path / "out.txt"))
    tagged = tmp_path / "tagged.root"
    columns = make_columns(4, seed=3)
    columns["FatJet_tinyParT_mass"] = columns["FatJet_mass"]
    write_tree(tagged, [columns])
    with pytest.raises(ConfigError, match=r"FatJet_tinyParT_mass.*--prefix"):
        make_job([str(tagged)], tagger, columns=["mass"])
    assert make_job([str(tagged)], tagger, columns=["mass"], prefix="new").names == {"mass": "new_mass"}


@pytest.mark.parametrize("where", ["pt", "msoftdrop + 1"])
def test_a_cut_that_is_no_cut_is_refused(where: str, tagger: Tagger, files: list[str], tmp_path: Path) -> None:
    with pytest.raises(JettaggerError, match="where"):
        tag_files(files, tagger, str(tmp_path / "out.parquet"), where=where)
    assert list(tmp_path.iterdir()) == []


# the output is complete or absent


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_existing_output_is_kept(suffix: str, tagger: Tagger, files: list[str], tmp_path: Path) -> None:
    output = tmp_path / f"out{suffix}"
    output.write_text("precious")
    with pytest.raises(OutputError, match="exists already"):
        tag_files(files, tagger, str(output))
    assert output.read_text() == "precious"
    tag_files(files[:1], tagger, str(output), columns=["mass"], force=True)
    assert len(read(output)["event"]) == 21
    assert [item.name for item in tmp_path.iterdir()] == [output.name]


def test_outputs_that_cannot_be_are_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OutputError, match=r"folder .*nowhere does not exist"):
        check_target(tmp_path / "nowhere" / "out.root")
    (tmp_path / "dir.root").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        check_target(tmp_path / "dir.root")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # the tests may run as root
    with pytest.raises(OutputError, match="not writable"):
        check_target(tmp_path / "out.root")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), ValueError("x")]
)
def test_an_accident_in_the_middle_leaves_nothing(suffix: str, failure: BaseException, tmp_path: Path) -> None:
    columns = make_columns(10, seed=1)

    def chunks() -> Iterator[dict[str, Any]]:
        yield columns
        raise failure

    expected = OutputError if isinstance(failure, OSError) else type(failure)
    with pytest.raises(expected) as error:
        write_skim(tmp_path / f"out{suffix}", chunks(), "{}")
    if expected is OutputError:
        assert "No space left" in str(error.value)
        assert f"out{suffix}" in str(error.value)
    assert list(tmp_path.iterdir()) == []


LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
from jettagger.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="no limits on file sizes here")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_real_limit_on_the_file_leaves_nothing(suffix: str, files: list[str], tmp_path: Path) -> None:

    # the system refuses to write more, as a full disk does
    output = tmp_path / f"out{suffix}"
    command = [sys.executable, "-c", LIMITED, "tag", *files, "--model", "tinyParT", "-o", str(output)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=Path(jt.__file__).parent.parent)
    assert run.returncode == 2, run.stderr
    assert "Traceback" not in run.stderr
    assert "error: cannot write" in run.stderr
    assert output.name in run.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_in_the_middle_leaves_nothing(
    tagger: Tagger, files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 0
    real = Job.score

    def interrupted(*args: Any) -> Any:
        nonlocal count
        count += 1
        if count == 2:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(Job, "score", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tag_files(files, tagger, str(tmp_path / "out.root"), columns=["mass"])
    assert count == 2
    assert list(tmp_path.iterdir()) == []
    assert kinds._OPEN == {}, "input files are closed"


def _die(*args: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_worker_that_is_killed_is_an_error_that_says_what_to_do(
    tagger: Tagger, files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(skim, "process_chunk", _die)
    job = make_job(files, tagger, workers=2, columns=["mass"])
    with pytest.raises(WorkerError, match=r"worker died at events 0 to \d+ of .*1\.root.*processed: 500 MB.*--memory"):
        run_job(job, str(tmp_path / "out.parquet"), workers=2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_an_error_in_a_worker_comes_back_as_it_is(tagger: Tagger, files: list[str], tmp_path: Path) -> None:
    job = make_job(files, tagger, workers=2, columns=["mass"])
    gone = skim.Job(job.tagger, job.names, job.collection, job.inputs, job.keep, None, (Chunk("/no.root", 0, 5),))
    with pytest.raises(InputFileError, match=r"no such file: /no\.root"):
        run_job(gone, str(tmp_path / "out.parquet"), workers=2)
    assert list(tmp_path.iterdir()) == []


def test_progress_counts_events(tagger: Tagger, files: list[str], tmp_path: Path) -> None:
    seen: list[int] = []
    job = make_job(files, tagger, memory=600_000, columns=["mass"])
    run_job(job, str(tmp_path / "out.parquet"), progress=seen.append)
    assert sum(seen) == 43
    assert len(seen) == len(job.chunks) > 2


# files


def test_a_range_of_columns_is_read(files: list[str]) -> None:
    with EventFile(files[0]) as file:
        events = file.read(["event", "FatJet.pt"], 3, 6)
        assert events.event.tolist() == [4, 5, 6]
        assert events.FatJet.pt.tolist() == make_events(21, seed=1).FatJet.pt[3:6].tolist()
        assert file.has("event")
        assert not file.has("FatJet.tau")
        assert "FatJetPFCands" in file.collections
        assert {"pt", "eta"} <= set(file.fields("FatJet"))
        with pytest.raises(InputFileError, match="FatJet_nothing"):
            file.read(["FatJet.nothing"])


def test_an_rntuple_written_by_uproot_is_an_input(tagger: Tagger, tmp_path: Path) -> None:
    columns = make_columns(12, seed=4)
    path = tmp_path / "ntuple.root"
    with uproot.recreate(path) as file:
        file.mkrntuple("Events", columns)
    result = tag_files([str(path)], tagger, str(tmp_path / "out.parquet"), columns=["mass"])
    expected = tagger(make_events(12, seed=4)).mass
    assert_same({"m": read(result.path)["FatJet_tinyParT_mass"]}, {"m": expected.tolist()})


@pytest.mark.slow
def test_an_rntuple_of_records_is_an_input_like_a_tree(tagger: Tagger, tmp_path: Path) -> None:
    """``file["Events"] = {"FatJet": ak.zip(...)}`` makes an RNTuple whose fields are ``FatJet.pt``."""
    events = make_events(12, seed=4)
    records, tree = tmp_path / "records.root", tmp_path / "tree.root"
    with uproot.recreate(records) as file:
        file.mkrntuple("Events", {name: ak.to_packed(events[name]) for name in events.fields})
        assert "RNTuple" in file.classnames()["Events;1"]
    write_tree(tree, [make_columns(12, seed=4)])
    with EventFile(records) as new, EventFile(tree) as old:
        assert new.names == {name for name in old.names if not re.match("n[A-Z]", name)}
        assert new.fields("FatJet") == old.fields("FatJet")
        assert new.has("FatJet.pt")
        assert not new.has("FatJet")
        columns = ["FatJet.pt", "PFCands.charge", "event"]
        assert new.read(columns, 2, 7).tolist() == old.read(columns, 2, 7).tolist()
        assert new.edges(columns).tolist() == [0, 12]
        with pytest.raises(InputFileError, match="FatJet_nothing"):
            new.read(["FatJet.nothing"])
    found, expected = (
        tag_files([str(path)], tagger, str(tmp_path / f"{path.stem}.parquet"), where="pt > 250")
        for path in (records, tree)
    )
    assert_same(read(found.path), read(expected.path))
    if tuple(map(int, version("coffea").split(".")[:2])) < (2025, 11):
        return  # it reads no RNTuples, see tests/test_search.py
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what coffea says of files without the columns of a full NanoAOD
        opened = NanoEventsFactory.from_root({str(records): "Events"}, schemaclass=PFNanoAODSchema, mode="virtual")
        scores = tagger(opened.events()).probHbb
    assert ak.almost_equal(scores, tagger(events).probHbb)


def test_records_of_an_rntuple_are_flat_columns_of_jets(tmp_path: Path) -> None:
    jets = ak.Array({"pt": [300.0, 500.0], "eta": [0.1, -0.2]})
    part = ak.Array([[{"px": 1.0, "py": 2.0}], []])
    with uproot.recreate(tmp_path / "jets.root") as file:
        file.mkrntuple("tree", {"jet": jets, "part": part, "label": np.array([1, 0])})
    with FlatFile(tmp_path / "jets.root") as file:
        assert file.names == ["jet_eta", "jet_pt", "label", "part_px", "part_py"]
        assert file.read(["part_px", "jet_pt", "label"]).tolist() == [
            {"part_px": [1.0], "jet_pt": 300.0, "label": 1},
            {"part_px": [], "jet_pt": 500.0, "label": 0},
        ]
        assert file.read(["part_py"], 0, 1).tolist() == [{"part_py": [2.0]}]


class TestReading:
    """What is read, when, and that nothing but the time depends on it."""

    @pytest.fixture
    def reads(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[set[str], int, int]]:
        found: list[tuple[set[str], int, int]] = []
        real = EventFile.read

        def noted(self: EventFile, columns: Any, start: int = 0, stop: int | None = None) -> Any:
            columns = list(columns)
            found.append(({column.split(".")[0] for column in columns}, start, self.n_events if stop is None else stop))
            return real(self, columns, start, stop)

        monkeypatch.setattr(EventFile, "read", noted)
        return found

    def test_candidates_are_read_for_events_that_need_them(
        self, tagger: Tagger, tmp_path: Path, reads: list[tuple[set[str], int, int]]
    ) -> None:
        """A file of ten blocks of compressed data: those without a jet to score are not decoded."""
        path = str(tmp_path / "in.root")
        content = make_columns(40, seed=4)
        write_tree(path, [{name: values[at : at + 4] for name, values in content.items()} for at in range(0, 40, 4)])
        with EventFile(path) as file:
            columns = [*tagger.plan(make_events(1, seed=0)).columns, "FatJet.msoftdrop"]
            events = file.read(columns)
            assert file.edges(columns).tolist() == list(range(0, 41, 4))
        cut = float(np.sort(ak.to_numpy(ak.max(events.FatJet.pt, axis=1, mask_identity=False)))[-4])
        reads.clear()
        result = tag_files([path], tagger, str(tmp_path / "out.parquet"), where=f"pt >= {cut}", columns=["mass"])
        heavy = [(start, stop) for collections, start, stop in reads if "PFCands" in collections][1:]  # but the probe
        blocks = {int(event) // 4 for event in np.flatnonzero(ak.any(events.FatJet.pt >= cut, axis=1))}
        decoded = [block for start, stop in heavy for block in range(start // 4, (stop - 1) // 4 + 1)]
        assert sorted(decoded) == sorted(blocks), "each once, and no other"
        expected = tagger.run(events, events.FatJet.pt >= cut, ("mass",))
        written = ak.from_parquet(tmp_path / "out.parquet")
        got, wanted = (
            ak.to_numpy(ak.drop_none(ak.flatten(x))) for x in (written.FatJet_tinyParT_mass, expected.scores.mass)
        )
        np.testing.assert_allclose(got, wanted, rtol=1e-4)
        assert ak.is_none(written.FatJet_tinyParT_mass, axis=1).tolist() == ak.is_none(expected.scores, axis=1).tolist()
        for name in ("events", "jets", "scored", "not_selected", "without_constituents"):
            assert getattr(result.report, name) == getattr(expected.report, name), name

    def test_no_event_needs_them(self, tagger: Tagger, tmp_path: Path, reads: list[tuple[set[str], int, int]]) -> None:
        path = str(write_pfnano(tmp_path / "in.root", 12, seed=4))
        job = make_job([path], tagger, where="pt > 1e9", columns=["mass"])
        reads.clear()
        result = run_job(job, str(tmp_path / "out.parquet"))
        assert not any("PFCands" in collections for collections, _, _ in reads)
        written = ak.from_parquet(tmp_path / "out.parquet")
        assert len(written) == 12
        assert ak.all(ak.is_none(written.FatJet_tinyParT_mass, axis=1))
        assert result.report.not_selected == result.report.jets == ak.sum(ak.num(written.FatJet_pt))

    def test_the_next_chunk_is_read_meanwhile_and_no_more(
        self, tagger: Tagger, files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """When a chunk is scored, the next one may be read, the one after it never."""
        order: list[tuple[str, int]] = []
        real_read, real_score = Job.read, Job.score

        def read(job: Any, chunk: Any) -> Any:
            order.append(("read", len([1 for what, _ in order if what == "read"])))
            return real_read(job, chunk)

        def score(job: Any, loaded: Any) -> Any:
            number = len([1 for what, _ in order if what == "score"])
            order.append(("score", number))
            time.sleep(0.05)
            assert max(place for what, place in order if what == "read") <= number + 1
            return real_score(job, loaded)

        monkeypatch.setattr(Job, "read", read)
        monkeypatch.setattr(Job, "score", score)
        job = make_job(files, tagger, memory=600_000, columns=["mass"])
        run_job(job, str(tmp_path / "out.parquet"))
        assert len(job.chunks) > 3
        assert [place for what, place in order if what == "score"] == list(range(len(job.chunks)))
        assert order.index(("read", 2)) < order.index(("score", 2))

    def test_an_error_of_the_reader_comes_back_as_it_is(
        self, tagger: Tagger, files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = make_job(files, tagger, columns=["mass"])
        gone = dataclasses.replace(job, chunks=(*job.chunks, Chunk("/no.root", 0, 5)))
        with pytest.raises(InputFileError, match=r"no such file: /no\.root"):
            run_job(gone, str(tmp_path / "out.parquet"))
        assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize(
    ("name", "tree", "names", "kind"),
    [
        ("events.root", None, None, kinds.Events),
        ("events.root", None, {"FatJet": "FatJet"}, kinds.Events),
        ("jets.root", None, None, kinds.JetTables),
        ("jets.root", "tree", None, kinds.JetTables),
        ("events.root", "tree", None, kinds.JetTables),
        ("jets.parquet", None, None, kinds.JetTables),
    ],
)
def test_files_are_taken_for_what_they_are(
    name: str, tree: str | None, names: dict[str, str] | None, kind: type, tmp_path: Path
) -> None:
    """For a model that takes rows of jets as well as events."""
    path = tmp_path / name
    if name == "events.root":
        write_pfnano(path, 3, seed=1)
    elif path.suffix == ".root":
        write_tree(path, [{"jet_pt": np.ones(3)}], tree="tree")
    else:
        write_skim(path, [{"jet_pt": np.ones(3)}], "{}")
    tagger: Any = SimpleNamespace(source=SimpleNamespace(tables=True), options=SimpleNamespace(names=names))
    found = kinds.kind_of([str(path)], tagger, tree)
    assert type(found) is kind
    if kind is kinds.JetTables:
        assert found.tree == tree  # type: ignore[attr-defined]
