"""Searches whose chunks run in jobs: with commands in place of those of a batch system, which run jobs here."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pages import blocks
from searches import PLAIN, make_world
from survivors import ROOT

from jettagger.cli import main
from jettagger.errors import ConfigError, UnknownName, WorkerError
from jettagger.search import read_config
from jettagger.search.batch import BatchJobs, BatchOptions, check_batch
from jettagger.search.executors import check_executor

#: jobs are processes; their numbers are those of the jobs
COMMANDS = {
    "sbatch": """
import os, subprocess, sys
script = sys.argv[-1]
text = open(script).read()
if "-p closed" in text:
    sys.exit("sbatch: error: invalid partition specified: closed")
if "--test-only" in sys.argv:
    sys.exit()
place = os.environ["JOBS"]
open(os.path.join(place, "scripts"), "a").write(text)
copy = os.path.join(place, f"{os.getpid()}.sh")
open(copy, "w").write(text)
logs = [line.split()[2].replace("%J", str(os.getpid())) for line in text.splitlines() if line[:10] == "#SBATCH -e"]
job = subprocess.Popen(
    ["sh", "-c", f"exec sh {copy}"], start_new_session=True, stdout=subprocess.DEVNULL, stderr=open(logs[0], "w")
)
open(os.path.join(place, f"{job.pid}.job"), "w").close()
print("Submitted batch job", job.pid)
""",
    "squeue": """
import os, sys
for number in sys.argv[-1].split(","):
    try:
        if open(f"/proc/{number}/stat").read().rpartition(")")[2].split()[0] != "Z":
            print(number)
    except OSError:
        pass
""",
    "scancel": """
import os, signal, sys
try:
    os.killpg(int(sys.argv[-1]), signal.SIGKILL)
except ProcessLookupError:
    pass
""",
}


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the jobs of a batch system that is none."""
    pytest.importorskip("dask_jobqueue")
    folder = tmp_path / "jobs"
    folder.mkdir()
    for name, text in COMMANDS.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!{sys.executable} -I{text}")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("JOBS", str(folder))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]))
    yield folder
    for job in folder.glob("*.job"):
        with contextlib.suppress(OSError):
            # not those that another process has by now
            if f"JOBS={folder}\0" in Path(f"/proc/{job.stem}/environ").read_text():
                os.killpg(int(job.stem), signal.SIGKILL)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    keys = "batch: {queue: short, memory: 1 GB, prologue: 'export MARK=1', directives: ['--nice=5']}\n"
    return make_world(tmp_path_factory.mktemp("world"), config=PLAIN + keys, binary=False)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_jobs_give_the_same_histograms(world: Path, slurm: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert main(["search", str(world), "-o", str(whole), "--no-plots"]) == 0
    command = ["search", str(world), "-o", str(out), "--no-plots", "--executor", "slurm"]
    assert main([*command, "--workers", "2", "--walltime", "00:20:00", "--queue", "long"]) == 0
    for name in ("histograms.json", "cutflow.json"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()
    text = (slurm / "scripts").read_text()
    for line in ("-p long", "-t 00:20:00", "--mem=954M", "--nice=5", "--cpus-per-task=1"):
        assert text.count(f"#SBATCH {line}\n") == 2, line
    assert text.count("export MARK=1\n") == 2
    assert len(list((tmp_path / "out.logs").glob("*.err"))) == 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_jobs_that_fail_are_named_with_their_logs(
    world: Path, slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(BatchJobs, "interval", 2.0)
    text = world.read_text().replace("export MARK=1", "echo no such environment >&2; exit 3")
    (world.parent / "failing.yaml").write_text(text)
    out = tmp_path / "out"
    command = ["search", str(world.parent / "failing.yaml"), "-o", str(out), "--no-plots", "--executor", "slurm"]
    assert main([*command, "--logs", str(tmp_path / "elsewhere")]) == 2
    said = capsys.readouterr().err
    assert "all jobs have ended before a chunk was finished" in said
    assert f"{tmp_path}/elsewhere/jettagger-" in said
    assert "no such environment" in said
    assert not out.exists()
    assert main([*command, "--queue", "closed"]) == 2
    said = capsys.readouterr().err
    assert "SLURM does not take such jobs: sbatch: error: invalid partition specified: closed" in said


class Cluster:
    """Two jobs that are gone, of a cluster that is none."""

    scheduler_info: dict[str, Any] = {"workers": {}}  # noqa: RUF012
    worker_spec: dict[str, Any] = {}  # noqa: RUF012
    workers: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self) -> None:
        self.asked: list[int] = []

    def scale(self, n: int = 0, *, jobs: int = 0) -> None:
        self.asked.append(jobs or n)


def test_jobs_that_end_by_their_wall_time_are_submitted_again(tmp_path: Path) -> None:
    cluster = Cluster()
    jobs = BatchJobs("slurm", cluster, 2, BatchOptions(str(tmp_path)))
    for _ in range(2):
        jobs.check(0)
    assert cluster.asked == []  # they may not have been submitted yet
    jobs.check(3)
    assert cluster.asked == [0, 2]
    jobs.check(4)
    assert cluster.asked == [0, 2, 0, 2]
    with pytest.raises(WorkerError, match=f"before a chunk was finished: the logs in {tmp_path} say nothing"):
        jobs.check(4)


def test_a_batch_system_without_its_commands(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    command = ["search", str(world), "-o", str(tmp_path / "out")]
    for system, words in (("slurm", "sbatch and squeue are"), ("condor", "condor_submit and condor_q are")):
        if system == "slurm":
            assert main([*command, "--executor", system]) == 2
            assert f"{words} not in PATH here" in capsys.readouterr().err
        with pytest.raises(ConfigError, match=f"{words} not in PATH here: run this where jobs are submitted"):
            check_batch(system, BatchOptions("logs"))
    assert list(tmp_path.iterdir()) == []


def test_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from jettagger.errors import MissingExtra

    for name in ("condor_submit", "condor_q"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    with pytest.raises(MissingExtra, match=r"pip install .*batch"):
        check_batch("condor", BatchOptions("logs"))
    with pytest.raises(ConfigError, match="HTCondor has no queues: got queue 'long'"):
        check_batch("condor", BatchOptions("logs", queue="long"))


def test_wrong_options(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for values, text in (
        ({"walltime": "8h"}, "walltime: got '8h', expected hh:mm:ss"),
        ({"walltime": "08:61:00"}, "walltime"),
        ({"cores": 0}, "at least 1, got 0"),
        ({"memory": 4}, "at least 1 MB"),
    ):
        with pytest.raises(ConfigError, match=text):
            BatchOptions("logs", **values)
    with pytest.raises(UnknownName, match=r"'slurn' \(nearest: slurm\)"):
        check_executor("slurn")
    with pytest.raises(ConfigError, match="needs batch=BatchOptions"):
        check_executor("slurm")
    command = ["search", str(world), "-o", str(tmp_path / "out")]
    assert main([*command, "--queue", "long"]) == 2
    assert "--queue is for --executor condor and slurm, not for 'iterative'" in capsys.readouterr().err
    assert main([*command, "--logs", "here"]) == 2
    assert "--logs is for" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="queu"):
        read_config(world.read_text().replace("queue: short", "queu: short"), name="search.yaml", folder=world.parent)


def test_the_keys_of_the_page_are_read(world: Path) -> None:
    (block,) = blocks("docs/search_batch.md", "yaml")
    config = read_config(PLAIN + block, name="search.yaml", folder=world.parent)
    assert config.document.data["batch"]["walltime"] == "12:00:00"
