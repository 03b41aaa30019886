"""Accidents on a dask cluster of real processes: nothing lost, nothing half-written, errors that name the chunk."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from clusters import local_cluster
from comparing import branches_of
from networks import write_bundle
from survivors import started, until

dask = pytest.importorskip("dask")
pytest.importorskip("distributed")

from coffea import processor  # noqa: E402
from coffea.nanoevents import PFNanoAODSchema  # noqa: E402
from jettagger.processors import TaggingProcessor  # noqa: E402
from test_processors import assert_same_columns  # noqa: E402

import jettagger as jt  # noqa: E402
import jettagger.inputs.memory  # noqa: E402
from jettagger.config.sizes import parse_size, size_text  # noqa: E402
from jettagger.dask import install, lost_workers_named  # noqa: E402
from jettagger.errors import WorkerError  # noqa: E402
from jettagger.formats import EventColumns  # noqa: E402
from jettagger.inputs.memory import check_fits, worker_limit  # noqa: E402
from jettagger.testing import make_events, write_pfnano  # noqa: E402

#: bytes that a worker of the cluster may take
LIMIT = 1_200_000_000


class TestFits:
    """The check before a chunk is read, as seen from inside a worker."""

    def check(self, monkeypatch: pytest.MonkeyPatch, limit: int | None, events: Any) -> None:
        monkeypatch.setattr(jettagger.inputs.memory, "worker_limit", lambda: limit)
        columns = EventColumns(events)
        check_fits(columns, jt.check_columns(jt.load_bundle("tinyParT"), columns))

    def test_the_size_is_that_of_the_columns(self) -> None:
        events = make_events(9, seed=1)
        columns = EventColumns(events)
        names = jt.check_columns(jt.load_bundle("tinyParT"), columns).columns
        assert columns.nbytes(names) == sum(columns.flat(name).nbytes for name in names) > 50_000

    def test_nothing_is_read_for_it(self, tmp_path: Path) -> None:
        from coffea.nanoevents import NanoEventsFactory

        path = str(write_pfnano(tmp_path / "nano.root", 9, seed=1))
        place = {"filename": path, "entrystart": 0, "entrystop": 9}
        log: list[Any] = []
        factory = NanoEventsFactory.from_root(
            {path: "Events"}, schemaclass=PFNanoAODSchema, access_log=log, metadata=place
        )
        columns = EventColumns(factory.events())
        assert columns.nbytes(jt.check_columns(jt.load_bundle("tinyParT"), columns).columns) > 50_000
        assert {*branches_of(log)} == {"nFatJet", "nPFCands", "nFatJetPFCands", "nSV", "nFatJetSVs"}
        assert columns.source == f"events 0 to 9 of {path}"

    def test_what_cannot_fit_is_refused_with_both_numbers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        events = make_events(40, seed=1)
        self.check(monkeypatch, None, events)
        self.check(monkeypatch, 1_000_000_000, events)
        with pytest.raises(
            WorkerError, match=r"a chunk of 40 events: the columns.* take \d+ kB .* is 100 kB; use a"
        ) as e:
            self.check(monkeypatch, 100_000, events)
        fitting = int(str(e.value).split("chunksize of about ")[1].split()[0])
        assert 1 <= fitting < 40

    def test_outside_of_a_task_there_is_no_limit(self) -> None:
        assert worker_limit() is None


@pytest.mark.parametrize("size", [1, 999, 1_000, 999_499, 123_456_789, 2_500_000_000, 7_000_000_000_000])
def test_sizes_can_be_read_back(size: int) -> None:
    assert parse_size(size_text(size)) == pytest.approx(size, rel=0.006)


def test_other_errors_pass_unchanged() -> None:
    with pytest.raises(KeyError, match="x"), lost_workers_named():
        raise KeyError("x")


def pause(fatjets: Any) -> Any:
    """All jets, slowly."""
    time.sleep(0.3)
    return fatjets.pt > 0


def greedy(fatjets: Any) -> Any:
    """More memory than a worker may take, until it is ended."""
    kept = np.ones(2 * LIMIT // 8)
    time.sleep(300)
    return fatjets.pt > kept[0]


class Fatal:
    """Kills the worker that comes first."""

    def __init__(self, flag: Path) -> None:
        self.flag = flag

    def __call__(self, fatjets: Any) -> Any:
        # made in one step: if two workers came first, a task that waits on both would be lost
        with contextlib.suppress(FileExistsError):
            self.flag.touch(exist_ok=False)
            os.kill(os.getpid(), signal.SIGKILL)
        return fatjets.pt > 250


def above(fatjets: Any) -> Any:
    return fatjets.pt > 250


def running(dask_worker: Any) -> bool:
    """Whether a task is in a thread of the worker, also one that nobody waits for."""
    return bool(dask_worker.active_threads)


def shelf() -> str:
    return os.environ.get("JETTAGGER_SHIPPED", "")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore:.*:UserWarning:distributed.*")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
class TestCluster:
    """Jobs of coffea's Runner on real worker processes."""

    @pytest.fixture(scope="class")
    def client(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
        folder = tmp_path_factory.mktemp("dask")
        with (
            dask.config.set({"distributed.scheduler.allowed-failures": 1}),
            local_cluster(folder, memory_limit=LIMIT) as client,
        ):
            yield client

    @pytest.fixture(scope="class")
    def fileset(self, tmp_path_factory: pytest.TempPathFactory) -> Any:
        path = write_pfnano(tmp_path_factory.mktemp("nano") / "nano.root", 40, seed=3)
        return {"A": {"files": {str(path): "Events"}}}

    def run(self, executor: Any, fileset: Any, where: Callable[[Any], Any], model: str = "tinyParT") -> Any:
        runner = processor.Runner(executor, schema=PFNanoAODSchema, chunksize=4)
        instance = TaggingProcessor(model, where=where, columns=["prob", "mass"])
        return runner(fileset, processor_instance=instance)

    def test_a_worker_is_killed_in_the_middle(self, fileset: Any, tmp_path: Path) -> None:
        """On a cluster of its own: tasks of other tests that failed may still be running, and lose a worker here."""
        expected = self.run(processor.IterativeExecutor(status=False), fileset, above)
        with local_cluster(tmp_path / "dask", memory_limit=LIMIT) as client:
            before = set(client.run(os.getpid).values())
            found = self.run(processor.DaskExecutor(client=client, status=False), fileset, Fatal(tmp_path / "flag"))
            assert (tmp_path / "flag").exists()
            assert_same_columns(found, expected)
            client.wait_for_workers(2, timeout=300)
            assert set(client.run(os.getpid).values()) != before, "one of them is new"

    def test_a_worker_without_the_model(self, client: Any, fileset: Any, tmp_path: Path) -> None:
        folder = write_bundle(tmp_path / "mine", seed=4)
        instance = TaggingProcessor(str(folder), columns=["mass"])
        assert len(pickle.dumps(instance)) < 10_000
        folder.rename(tmp_path / "hidden")
        runner = processor.Runner(
            processor.DaskExecutor(client=client, status=False, retries=0), schema=PFNanoAODSchema, chunksize=20
        )
        with pytest.raises(
            Exception, match=r"BundleNotFound.*no model at .*mine.*jettagger\.dask\.install\(client, tagger\)"
        ):
            runner(fileset, processor_instance=instance)
        (tmp_path / "hidden").rename(folder)
        install(client, instance.tagger)
        folder.rename(tmp_path / "hidden")
        assert runner(fileset, processor_instance=instance)["A"]["events"] == 40

    def test_workers_that_join_later_have_the_model(self, client: Any, tmp_path: Path) -> None:
        install(client, jt.load_tagger("tinyParT"))
        client.cluster.scale(3)
        client.wait_for_workers(3, timeout=300)
        places = client.run(shelf)
        assert len(places) == 3
        assert all(places.values())
        client.cluster.scale(2)
        # one that is leaving cannot answer the next test
        until(lambda: len(client.cluster.scheduler.workers) == 2)

    def test_a_chunk_beyond_the_limit_is_refused(self, client: Any, fileset: Any) -> None:
        def share(value: float) -> None:
            client.run(setattr, jettagger.inputs.memory, "END", value)

        share(1e-6)  # with a limit that small the worker would not even begin
        try:
            with pytest.raises(
                Exception, match=r"WorkerError.*events 0 to 40 of .*nano.root: .* limit of this worker is 1.2 GB"
            ):
                processor.Runner(
                    processor.DaskExecutor(client=client, status=False, retries=0), schema=PFNanoAODSchema
                )(fileset, processor_instance=TaggingProcessor("tinyParT"))
        finally:
            share(0.95)

    def test_workers_that_die_of_memory_are_named_with_chunk_and_limit(self, client: Any, fileset: Any) -> None:
        with (
            pytest.raises(WorkerError, match=r"2 workers died at events \d+ to \d+ of .*nano.root, .*: 1.2 GB each\)"),
            lost_workers_named(),
        ):
            processor.Runner(
                processor.DaskExecutor(client=client, status=False, retries=0), schema=PFNanoAODSchema, chunksize=20
            )(fileset, processor_instance=TaggingProcessor("tinyParT", where=greedy))
        client.wait_for_workers(2, timeout=300)
        with (
            pytest.raises(WorkerError, match=r"died at the task 'greedy-.*limit of the workers: 1.2 GB each"),
            lost_workers_named(),
        ):
            client.submit(greedy, ak.Record({"pt": 1})).result()
        client.wait_for_workers(2, timeout=300)

    def test_ctrl_c_cancels_the_tasks_and_leaves_whole_files(self, client: Any, tmp_path: Path) -> None:
        path = str(write_pfnano(tmp_path / "nano.root", 120, seed=3))
        (tmp_path / "job.py").write_text(JOB)
        out = tmp_path / "out"

        def tasks() -> set[Any]:
            return set(client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.tasks)))

        before = tasks()  # those that other tests failed with are still known
        command = [sys.executable, str(tmp_path / "job.py"), client.scheduler.address, path, str(out)]
        environment = os.environ | {"PYTHONPATH": str(Path(jt.__file__).resolve().parent.parent)}
        with started(command, env=environment, stderr=subprocess.PIPE) as process:
            until(lambda: len(list(out.glob("*.parquet"))) >= 2, process)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=300)
        assert process.returncode != 0, said
        assert "\nKeyboardInterrupt" in said, said  # libraries may have a last word
        until(lambda: not tasks() - before)
        assert not tasks() - before
        until(lambda: not any(client.run(running).values()))  # what had begun writes its file
        names = [item.name for item in out.iterdir()]
        assert 2 <= len(names) < 30
        for name in names:
            assert name.endswith(".parquet"), names
            assert len(ak.from_parquet(out / name)) == 4


JOB = """
import sys, time
import distributed
from coffea import processor
from coffea.nanoevents import PFNanoAODSchema
from jettagger.processors import TaggingProcessor

def slowly(fatjets):
    time.sleep(1)
    return fatjets.pt > 250

if __name__ == "__main__":
    address, path, out = sys.argv[1:]
    with distributed.Client(address) as client:
        executor = processor.DaskExecutor(client=client, status=False)
        runner = processor.Runner(executor, schema=PFNanoAODSchema, chunksize=4)
        instance = TaggingProcessor("tinyParT", where=slowly, columns=["mass"], output=out)
        runner({"A": {"files": {path: "Events"}}}, processor_instance=instance)
"""
