"""Interrupted jobs go on: finished inputs are kept, and the output is the same to the bit as without interruption."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import signal
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from survivors import PATIENCE, SLOW, descendants, running, survivors, until
from weavers import table, weaver_bundle

from jettagger import load_tagger
from jettagger.cli import main
from jettagger.errors import InputFileError, OutputError
from jettagger.files.resuming import ResumeWarning, resume_folder
from jettagger.report import Report
from jettagger.skims.jobs import Chunk
from jettagger.skims.resume import Finished, drop_finished, finished_inputs
from jettagger.skims.skim import Job, SkimResult, make_job, run_job
from jettagger.testing import write_pfnano

FILES = 4

#: memory of a job in bytes, in which an input has two chunks
MEMORY = 350_000

Make = Callable[..., Job]


def same(one: Path, two: Path) -> None:
    """Whether two skims have the same columns, to the bit."""
    if one.suffix == ".parquet":
        assert one.read_bytes() == two.read_bytes()
        return
    with uproot.open(one) as a, uproot.open(two) as b:  # their headers hold identifiers and times
        assert a["jettagger"] == b["jettagger"]
        assert a["Events"].keys() == b["Events"].keys()
        names = a["Events"].keys()
        for name in names:
            left, right = (ak.to_packed(file["Events"][name].array()) for file in (a, b))
            assert left.type == right.type
            (_, _, x), (_, _, y) = ak.to_buffers(left), ak.to_buffers(right)
            assert {key: values.tobytes() for key, values in x.items()} == {
                key: values.tobytes() for key, values in y.items()
            }


@pytest.fixture
def nano(tmp_path: Path) -> list[str]:
    (tmp_path / "in").mkdir()
    return [str(write_pfnano(tmp_path / "in" / f"{seed}.root", 9 + seed, seed=seed)) for seed in range(FILES)]


def events_job(nano: Sequence[str], **more: Any) -> Job:
    return make_job(nano, load_tagger("tinyParT"), columns=["prob", "mass"], where="pt > 230", memory=MEMORY, **more)


def flat_job(folder: Path) -> Job:
    bundle = weaver_bundle(folder / "bundle")
    (folder / "in").mkdir()
    for number in range(FILES):
        ak.to_parquet(table(12, seed=number), folder / "in" / f"{number}.parquet")
    paths = [str(path) for path in sorted((folder / "in").iterdir())]
    return make_job(paths, load_tagger(str(bundle)), memory=30_000)


def delphes_job(folder: Path, shared: Path) -> Job:
    (folder / "in").mkdir()
    for number in range(FILES):
        shutil.copy(shared / "sophon/events_delphes_example.root", folder / "in" / f"{number}.root")
    paths = [str(path) for path in sorted((folder / "in").iterdir())]
    return make_job(paths, load_tagger(str(weaver_bundle(folder / "bundle"))))


def interrupt(job: Job, output: Path, after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a job until so many chunks are scored."""
    scored = 0
    real = type(job).score

    def score(self: Job, loaded: Any) -> Any:
        nonlocal scored
        scored += 1
        if scored > after:
            raise KeyboardInterrupt
        return real(self, loaded)

    with monkeypatch.context() as patch:
        patch.setattr(type(job), "score", score)
        with pytest.raises(KeyboardInterrupt):
            run_job(job, str(output), resume=True)
    assert not output.exists()


def counted(job: Job, output: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[SkimResult, int, list[str]]:
    """The result of a job that goes on, the chunks that it scored, and what it said."""
    scored: list[int] = []
    real = type(job).score

    def score(self: Job, loaded: Any) -> Any:
        scored.append(1)
        return real(self, loaded)

    with monkeypatch.context() as patch, warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", ResumeWarning)
        patch.setattr(type(job), "score", score)
        result = run_job(job, str(output), resume=True)
    return result, len(scored), [str(one.message) for one in said if one.category is ResumeWarning]


def chunks_of(job: Job, inputs: int) -> int:
    """How many chunks the first inputs have."""
    paths = list(dict.fromkeys(chunk.path for chunk in job.chunks))[:inputs]
    return sum(chunk.path in paths for chunk in job.chunks)


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [
        ("events", ".parquet"),
        ("flat", ".root"),
        pytest.param("events", ".root", marks=pytest.mark.slow),
        pytest.param("flat", ".parquet", marks=pytest.mark.slow),
        pytest.param("delphes", ".parquet", marks=[pytest.mark.data, pytest.mark.slow]),
        pytest.param("delphes", ".root", marks=[pytest.mark.data, pytest.mark.slow]),
    ],
)
def test_a_job_goes_on_with_the_same_result(
    kind: str, suffix: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "events":
        job = events_job(request.getfixturevalue("nano"))
    elif kind == "flat":
        job = flat_job(tmp_path)
    else:
        job = delphes_job(tmp_path, request.getfixturevalue("shared"))
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole = run_job(job, str(tmp_path / "a" / f"s{suffix}"))
    output = tmp_path / "b" / f"s{suffix}"
    interrupt(job, output, chunks_of(job, 2), monkeypatch)
    assert [path.name for path in output.parent.iterdir()] == [f"s{suffix}.resume"]
    assert finished_inputs(output) == 2
    result, scored, said = counted(job, output, monkeypatch)
    assert said == [f"{resume_folder(output)}: 2 of 4 inputs were finished by an earlier run and are taken from there"]
    assert scored == len(job.chunks) - chunks_of(job, 2) > 0
    assert [path.name for path in output.parent.iterdir()] == [f"s{suffix}"]
    same(whole.path, result.path)
    assert result.events == whole.events
    assert dataclasses.replace(result.report, seconds=0) == dataclasses.replace(whole.report, seconds=0)
    assert 0 < result.earlier.jets < result.report.jets


@pytest.mark.parametrize(
    "after", [pytest.param(after, marks=[] if after == 2 else pytest.mark.slow) for after in (0, 2, 3, 5)]
)
def test_wherever_it_is_interrupted_only_finished_inputs_stay(
    after: int, nano: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, output = events_job(nano), tmp_path / "s.parquet"
    interrupt(job, output, after, monkeypatch)
    finished = sum(chunks_of(job, inputs) <= after for inputs in range(1, FILES))
    assert finished_inputs(output) == finished
    assert resume_folder(output).exists() == (finished > 0)
    if finished:
        names = {path.name for path in resume_folder(output).iterdir()}
        assert len(names - {"lock"}) == finished
    result, scored, _ = counted(job, output, monkeypatch)
    assert scored == len(job.chunks) - chunks_of(job, finished)
    same(result.path, run_job(job, str(tmp_path / "whole.parquet")).path)


@pytest.mark.slow
def test_twice_interrupted(nano: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job, output = events_job(nano), tmp_path / "s.parquet"
    interrupt(job, output, chunks_of(job, 1), monkeypatch)
    with pytest.warns(ResumeWarning, match="1 of 4"):
        interrupt(job, output, chunks_of(job, 2) - chunks_of(job, 1), monkeypatch)
    assert finished_inputs(output) == 2
    result, _, _ = counted(job, output, monkeypatch)
    same(result.path, run_job(job, str(tmp_path / "whole.parquet")).path)


class TestChanges:
    """What has changed since is made again, and that is said."""

    @pytest.fixture
    def begun(self, nano: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        output = tmp_path / "s.parquet"
        job = events_job(nano)
        interrupt(job, output, chunks_of(job, 2), monkeypatch)
        assert finished_inputs(output) == 2
        return output

    def goes_on(self, job: Job, output: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, list[str]]:
        """Chunks that are not scored again, and what is said."""
        result, scored, said = counted(job, output, monkeypatch)
        whole = run_job(job, str(output.with_name("whole.parquet")), force=True)
        same(result.path, whole.path)
        assert not resume_folder(output).exists()
        return len(job.chunks) - scored, [text.partition(": ")[2] for text in said]

    @pytest.mark.slow
    def test_options(self, begun: Path, nano: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        kept, said = self.goes_on(dataclasses.replace(events_job(nano), where="pt > 250"), begun, monkeypatch)
        assert kept == 0
        assert said == ["2 finished inputs are dropped: files, model, options or code have changed since"]

    @pytest.mark.parametrize(
        "change",
        [
            {"columns": ["prob"]}, {"where": None}, {"keep": ["SV_pt"]}, {"prefix": "other"}, {"memory": 100_000},
            {"backend": "onnxruntime"}, {"code": "changed"},
        ],
        ids=str,
    )  # fmt: skip
    def test_each_option_and_the_code_make_other_chunks(
        self, change: dict[str, Any], nano: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What an earlier run kept is known by files, ranges of events and key."""
        settings = {"columns": ["prob", "mass"], "where": "pt > 230", "memory": MEMORY} | change
        code, backend = settings.pop("code", ""), settings.pop("backend", "fast")
        one, other = events_job(nano), make_job(nano, load_tagger("tinyParT", backend=backend), **settings)
        finished = Finished(tmp_path / "o.parquet", one.chunks, one.key(1))
        for chunk in one.chunks:
            finished.put(chunk, {"x": np.arange(chunk.stop - chunk.start)}, Report(events=chunk.stop - chunk.start))
        finished.leave()
        if code:
            monkeypatch.setattr("jettagger.skims.skim.code_digest", lambda: code)
        with pytest.warns(ResumeWarning, match="finished inputs are dropped: files, model, options or code have chang"):
            again = Finished(tmp_path / "o.parquet", other.chunks, other.key(1))
        assert [chunk for chunk in other.chunks if chunk in again] == []
        again.drop()

    @pytest.mark.slow
    def test_a_file(self, begun: Path, nano: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        write_pfnano(nano[0], 9, seed=77, force=True)
        job = events_job(nano)
        kept, said = self.goes_on(job, begun, monkeypatch)
        assert kept == chunks_of(job, 2) - chunks_of(job, 1)
        assert said == [
            "1 of 4 inputs were finished by an earlier run and are taken from there",
            "1 finished inputs are dropped: files, model, options or code have changed since",
        ]

    @pytest.mark.slow
    def test_more_files_in_another_order_keep_what_is_there(
        self, begun: Path, nano: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        more = str(write_pfnano(tmp_path / "in" / "more.root", 7, seed=9))
        job = events_job([nano[1], more, nano[0], *nano[2:]])
        kept, said = self.goes_on(job, begun, monkeypatch)
        assert kept == chunks_of(events_job(nano), 2)
        assert said == ["2 of 5 inputs were finished by an earlier run and are taken from there"]

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["000000.npz", "done.json", "a count of done.json"])
    def test_damage(self, name: str, begun: Path, nano: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        path = sorted(resume_folder(begun).glob(f"*/{name.rpartition(' ')[2]}"))[0]
        content = bytearray(path.read_bytes())
        if name.startswith("a count"):  # valid JSON, and a valid report
            counts = list(re.finditer(rb": (\d+)[,\n]", content))
            content[counts[0].start(1)] ^= 1
        else:
            content[len(content) // 2] ^= 16
        path.write_bytes(content)
        kept, said = self.goes_on(events_job(nano), begun, monkeypatch)
        assert 0 < kept < chunks_of(events_job(nano), 2)
        assert "1 finished inputs are damaged and are made again" in said


@pytest.mark.slow
def test_nothing_is_kept_unless_asked_for(nano: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = events_job(nano)
    monkeypatch.setattr(Finished, "__init__", lambda *_: pytest.fail("kept"))
    run_job(job, str(tmp_path / "s.parquet"))


def test_one_input_keeps_nothing(nano: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt(events_job(nano[:1]), tmp_path / "s.parquet", 1, monkeypatch)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.slow
def test_an_error_keeps_what_is_finished(nano: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job, output = events_job(nano), tmp_path / "s.parquet"
    real = Path(nano[2]).read_bytes()
    Path(nano[2]).unlink()
    with pytest.raises(InputFileError, match="no such file"):
        run_job(job, str(output), resume=True)
    assert finished_inputs(output) == 2
    Path(nano[2]).write_bytes(real)
    assert counted(job, output, monkeypatch)[1] == len(job.chunks) - chunks_of(job, 2)


def test_two_runs_of_one_output(nano: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job, output = events_job(nano), tmp_path / "s.parquet"
    interrupt(job, output, chunks_of(job, 2), monkeypatch)
    with pytest.warns(ResumeWarning, match="2 of 4"):
        first = Finished(output, job.chunks, job.key(1))
    with pytest.raises(OutputError, match=r"s\.parquet\.resume is in use: another run is writing the same output"):
        run_job(job, str(output), resume=True)
    with pytest.raises(OutputError, match="in use"):
        drop_finished(output)
    assert finished_inputs(output) == 2
    first.leave()
    drop_finished(output)
    drop_finished(output)
    assert not resume_folder(output).exists()


def test_columns_of_all_kinds_come_back(tmp_path: Path) -> None:
    columns = {
        "numbers": np.arange(3, dtype=np.int16),
        "text": ak.Array(["a", "", "\u03bc"]),
        "lists": ak.Array([[1.5, float("nan")], [], [-0.0]])[[0, 1, 2]],
        "options": ak.Array([[1, None], None, []]),
        "sliced": ak.Array([[{"x": np.float32(1)}], [], [{"x": np.float32(2)}] * 3])[::-1],
    }
    chunks = [Chunk("a", 0, 3), Chunk("b", 0, 3)]
    report = Report(events=3, seconds=0.1, servers=("grpc://gpu7:8001/net",))
    kept = Finished(tmp_path / "o.root", chunks, "key")
    kept.put(chunks[0], columns, report)
    kept.leave()
    with pytest.warns(ResumeWarning, match="1 of 2"):
        again = Finished(tmp_path / "o.root", chunks, "key")
    assert chunks[0] in again
    assert chunks[1] not in again
    got, same_report = again.get(chunks[0])
    again.drop()
    assert same_report == report
    assert list(got) == list(columns)
    assert got["numbers"].dtype == np.int16
    for name, values in columns.items():
        assert ak.Array(got[name]).type == ak.Array(values).type
        assert repr(ak.to_list(got[name])) == repr(ak.to_list(values))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are counted in /proc")
@pytest.mark.filterwarnings(
    "always::jettagger.files.resuming.ResumeWarning", "always::jettagger.files.parts.StalePartWarning"
)
@pytest.mark.parametrize(
    ("number", "workers"),
    [
        pytest.param(signal.SIGINT, 1, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 2, marks=pytest.mark.slow),
        (signal.SIGKILL, 2),
    ],
)
def test_the_command_goes_on(
    number: signal.Signals, workers: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Seven files, stopped in the middle."""
    files = [str(write_pfnano(tmp_path / f"{seed}.root", 6, seed=seed)) for seed in range(7)]
    script, work = tmp_path / "slow.py", tmp_path / "work"
    script.write_text(SLOW)
    work.mkdir()
    output = work / "s.parquet"
    command = ["tag", *files, "-m", "tinyParT", "--columns", "mass", "--workers", str(workers), "--threads", "1", "-o"]
    with running(script, [*command, output], work, CHUNKS=str(tmp_path / "chunks"), HELD_AFTER="4") as process:
        until(lambda: finished_inputs(output) >= 2, process)
        children = descendants(process.pid)
        os.kill(process.pid, number)
        _, said = process.communicate(timeout=PATIENCE)
    assert survivors(children) == []
    assert process.returncode == (-9 if number == signal.SIGKILL else 128 + number)
    kept = finished_inputs(output)
    assert 2 <= kept < 7
    if number != signal.SIGKILL:
        assert said.splitlines() == [
            f"jettagger: {kept} finished inputs are kept in {output}.resume: the same command goes on from there",
            f"jettagger: {'interrupted' if number == signal.SIGINT else 'terminated'}, nothing half-written is left",
        ]
        assert [path.name for path in work.iterdir()] == ["s.parquet.resume"]
    assert main([*command, str(output)]) == 0
    told = capsys.readouterr()
    assert f"{output}.resume: {kept} of 7 inputs were finished by an earlier run and are taken from there" in told.err
    assert "scored by an earlier run" in told.out
    assert [path.name for path in work.iterdir()] == ["s.parquet"]
    assert main([*command, str(work / "whole.parquet"), "--no-resume"]) == 0
    same(output, work / "whole.parquet")


@pytest.mark.slow
def test_starting_anew(nano: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job, output = events_job(nano), tmp_path / "s.parquet"
    interrupt(job, output, chunks_of(job, 2), monkeypatch)
    assert main(["tag", *nano, "-m", "tinyParT", "-o", str(output), "--no-resume", "--threads", "1"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "s.parquet"]
