"""Models that travel to the workers of a cluster, threads of a slot, and accidents."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from assigners import assigner_folder, jet_events, raw_folder
from clusters import local_cluster
from comparing import assert_same_scores
from heads import make_head
from networks import write_bundle
from pages import blocks

distributed = pytest.importorskip("distributed")

from jettagger.assignment import Assigner, load_assigner  # noqa: E402
from jettagger.bundles.bundle import Bundle  # noqa: E402
from jettagger.bundles.registry import load_bundle  # noqa: E402
from jettagger.dask import BundlePlugin, install, threads_per_slot  # noqa: E402
from jettagger.errors import BundleError, BundleNotFound, ConfigError, MissingModelFile  # noqa: E402
from jettagger.tagging.tagger import Tagger, load_tagger  # noqa: E402
from jettagger.testing import make_events  # noqa: E402


class Worker:
    """What a plugin sees of a worker."""

    def __init__(self, folder: Path, nthreads: int = 1) -> None:
        self.local_directory = str(folder)
        self.state = type("State", (), {"nthreads": nthreads})()


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return Bundle.from_folder(write_bundle(tmp_path / "client" / "toy"))


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the plugin sets does not outlive a test."""
    for name in ("JETTAGGER_SHIPPED", "JETTAGGER_THREADS"):
        monkeypatch.setenv(name, "")


def test_a_model_arrives_and_is_found(bundle: Bundle, tmp_path: Path) -> None:
    sent = pickle.dumps(Tagger(bundle))
    plugin = pickle.loads(pickle.dumps(BundlePlugin(bundle)))
    shutil.rmtree(tmp_path / "client")  # a worker that shares no file system
    lost = pickle.loads(sent)
    with pytest.raises(BundleNotFound, match=r"no model at .*toy.*jettagger\.dask\.install\(client, tagger\)"):
        lost(make_events(3, seed=1))
    assert pickle.dumps(lost) == sent, "whoever passes it on does not need the model"
    plugin.setup(Worker(tmp_path / "worker"))
    tagger = pickle.loads(sent)
    assert tagger.bundle.digest == bundle.digest
    assert tagger.bundle.folder.is_relative_to(tmp_path / "worker")
    assert ak.count(tagger(make_events(3, seed=1)).probHbb) > 0
    plugin.setup(Worker(tmp_path / "worker"))  # a second time does no harm
    assert len(list((tmp_path / "worker" / "jettagger-models").iterdir())) == 1


def test_heads_arrive_with_their_model(bundle: Bundle, tmp_path: Path) -> None:
    names = (bundle.outputs[0].name, "FatJet_pt")
    head = make_head(tmp_path / "client" / "head", parent=bundle, inputs=names)
    events = make_events(3, seed=1)
    tagger = Tagger(bundle, heads=[head])
    expected = tagger(events)
    sent = pickle.dumps(tagger)
    plugin = pickle.loads(pickle.dumps(BundlePlugin(bundle, heads=tagger.heads)))
    assert plugin.name != BundlePlugin(bundle).name, "one with heads is not taken for one without"
    BundlePlugin(bundle).setup(Worker(tmp_path / "worker"))
    shutil.rmtree(tmp_path / "client")
    lost = pickle.loads(sent)
    with pytest.raises(MissingModelFile, match=r"no head at .*head.*jettagger\.dask\.install\(client, tagger\)"):
        lost(events)
    assert pickle.dumps(lost) == sent
    plugin.setup(Worker(tmp_path / "worker"))
    assert_same_scores(pickle.loads(sent)(events), expected)
    plugin.parcels[1].files["head.json"] += b" "
    with pytest.raises(BundleError, match="the head 'Toy' did not arrive as it was sent"):
        plugin.setup(Worker(tmp_path / "other"))


@pytest.mark.parametrize("card", [True, False], ids=["imported", "ONNX and event file alone"])
def test_assigners_arrive_with_their_options(card: bool, tmp_path: Path) -> None:
    client = tmp_path / "client"
    folder = assigner_folder(client) if card else raw_folder(client / "raw", slots=6)
    more: dict[str, Any] = {} if card else {"input_log": True, "slots": {"Jets": 6}}
    assigner = load_assigner(folder, threads=1, method="sum", **more)
    events = jet_events(6, most=6)
    expected = assigner(events)
    sent, plugin = pickle.dumps(assigner), pickle.loads(pickle.dumps(BundlePlugin(assigner.model)))
    shutil.rmtree(client)
    with pytest.raises(BundleNotFound, match=r"jettagger\.dask\.install\(client, assigner\)"):
        pickle.loads(sent)(events)
    plugin.setup(Worker(tmp_path / "worker"))
    found = pickle.loads(sent)
    assert found.model.folder.is_relative_to(tmp_path / "worker")
    assert found.options == assigner.options
    for name, slots in found(events).assignments.items():
        np.testing.assert_array_equal(slots, expected.assignments[name])
    plugin.parcels[0].files["event.yaml"] += b"#"
    with pytest.raises(BundleError, match=r"event\.yaml is damaged or was replaced|did not arrive as it was sent"):
        plugin.setup(Worker(tmp_path / "other"))
    assert list((tmp_path / "other" / "jettagger-models").iterdir()) == []


def test_what_arrives_damaged_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    plugin = BundlePlugin(bundle)
    files = plugin.parcels[0].files
    files["preprocess.json"] = files["preprocess.json"].replace(b'"median": 0.0', b'"median": 0.5', 1)
    with pytest.raises(BundleError, match="'toy' did not arrive as it was sent"):
        plugin.setup(Worker(tmp_path / "worker"))
    assert list((tmp_path / "worker" / "jettagger-models").iterdir()) == []


def test_files_outside_the_folder_are_refused(bundle: Bundle, tmp_path: Path) -> None:
    plugin = BundlePlugin(bundle)
    plugin.parcels[0].files["../../escaped"] = b"x"
    with pytest.raises(BundleError, match="outside its folder; refused"):
        plugin.setup(Worker(tmp_path / "worker"))
    assert not list(tmp_path.rglob("escaped"))


def test_models_without_weights_are_refused() -> None:
    with pytest.raises(MissingModelFile):
        BundlePlugin(load_bundle("inclParTMDV1"))


@pytest.mark.parametrize(("cores", "slots", "threads"), [(1, 1, 1), (8, 2, 4), (8, 3, 2), (2, 4, 1)])
def test_threads_of_a_slot(cores: int, slots: int, threads: int) -> None:
    assert threads_per_slot(cores, slots) == threads


def test_no_cores() -> None:
    with pytest.raises(ConfigError, match="at least one core and one slot, got 0 cores and 1 slots"):
        threads_per_slot(0, 1)


@pytest.mark.parametrize(
    ("cores", "usable", "slots", "threads"), [(None, 8, 4, "1"), (8, 8, 2, "4"), (8, 4, 2, "2"), (1, 8, 2, "1")]
)
def test_the_plugin_sets_the_budget(
    bundle: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cores: int | None,
    usable: int,
    slots: int,
    threads: str,
) -> None:
    monkeypatch.setattr("jettagger.dask.usable_cores", lambda: usable)
    BundlePlugin(bundle, cores).setup(Worker(tmp_path, slots))
    assert os.environ["JETTAGGER_THREADS"] == threads
    assert load_tagger("tinyParT").session.threads == int(threads)  # type: ignore[attr-defined]


def score(tagger: Tagger, seed: int, pause: float = 0) -> Any:
    """One partition."""
    time.sleep(pause)
    return ak.to_numpy(ak.flatten(tagger(make_events(6, seed=seed)).probHbb))


def masses(assigner: Assigner, seed: int) -> Any:
    """One partition."""
    return ak.to_numpy(ak.drop_none(assigner.attach(jet_events(12, seed=seed)).assigned_ht.mass))


def place() -> str:
    return os.environ.get("JETTAGGER_SHIPPED", "")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore:.*:UserWarning:distributed.*")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
class TestCluster:
    """Real processes; the bundle's folder is renamed, so that workers cannot see it."""

    @pytest.fixture(scope="class")
    def client(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
        folder = tmp_path_factory.mktemp("dask")
        with local_cluster(folder) as client:
            yield client

    def test_all_workers_new_ones_and_one_that_is_killed(self, client: Any, tmp_path: Path) -> None:
        folder = write_bundle(tmp_path / "toy")
        bundle = Bundle.from_folder(folder)
        tagger = Tagger(bundle)
        expected = [score(tagger, seed) for seed in range(10)]
        install(client, tagger)
        folder.rename(tmp_path / "hidden")
        places = client.run(place)
        assert len(set(places.values())) == len(places) == 2
        # in the middle of the job one worker dies; dask starts another, which gets the model, too
        futures = client.map(lambda seed: score(tagger, seed, 0.3), range(10), pure=False)
        distributed.wait(futures[:2])
        victim = next(iter(client.run(os.getpid).values()))
        os.kill(victim, signal.SIGKILL)
        for found, wanted in zip(client.gather(futures), expected, strict=True):
            np.testing.assert_allclose(found, wanted, atol=1e-5)
        client.wait_for_workers(2, timeout=300)
        assert all(client.run(place).values())
        assert victim not in client.run(os.getpid).values()

    def test_without_the_model_the_error_says_what_to_do(self, client: Any, tmp_path: Path) -> None:
        folder = write_bundle(tmp_path / "other", seed=3)
        tagger = Tagger(Bundle.from_folder(folder))
        folder.rename(tmp_path / "hidden")
        with pytest.raises(BundleNotFound, match=r"jettagger\.dask\.install"):
            client.submit(score, tagger, 1).result()

    def test_assigners_work_without_their_folder(self, client: Any, tmp_path: Path) -> None:
        assigner = load_assigner(assigner_folder(tmp_path), threads=1)
        expected = [masses(assigner, seed) for seed in range(4)]
        assert sum(map(len, expected)) > 10
        lost = load_assigner(assigner_folder(tmp_path / "other", slots=6), threads=1)
        install(client, assigner)
        for folder in (assigner.model.folder, lost.model.folder):
            folder.rename(folder.with_name("hidden"))
        futures = client.map(lambda seed: masses(assigner, seed), range(4), pure=False)
        for found, wanted in zip(client.gather(futures), expected, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-5)
        with pytest.raises(BundleNotFound, match=r"jettagger\.dask\.install\(client, assigner\)"):
            client.submit(masses, lost, 1).result()


@pytest.mark.slow
def test_the_page_on_scaling_runs(bundle: Bundle, tmp_path: Path) -> None:
    """On a cluster of this machine, with a small network in the place of the one that it names."""
    (block,) = blocks("docs/scaling.md", "python", "distributed.Client(cluster)")
    with local_cluster(tmp_path, processes=False) as client:
        names: dict[str, Any] = {"cluster": client.cluster}
        exec(compile(block.replace('"part-ak8-2023"', repr(str(bundle.folder))), "docs/scaling.md", "exec"), names)
        with names["client"] as second:
            found = second.submit(names["tagger"], make_events(3, seed=1), pure=False).result()
    assert_same_scores(found, names["tagger"](make_events(3, seed=1)))


@pytest.mark.slow
def test_its_clusters_are_those_of_dask_jobqueue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is submitted before they are scaled."""
    jobs = pytest.importorskip("dask_jobqueue", reason="the extra batch is not installed")
    monkeypatch.chdir(tmp_path)
    (block,) = blocks("docs/scaling.md", "python", "SLURMCluster")
    made: list[str] = []
    monkeypatch.setattr(jobs.SLURMCluster, "adapt", lambda self, **_: made.append(self.job_script()))
    with ExitStack() as clusters:

        def opened(kind: Any, **options: Any) -> Any:
            free = {"dashboard_address": ":0", "port": 0}
            return clusters.enter_context(kind(scheduler_options=free, **options))

        names = {name: partial(opened, getattr(jobs, name)) for name in ("HTCondorCluster", "SLURMCluster")}
        block = block.replace("from dask_jobqueue import HTCondorCluster, SLURMCluster", "")
        exec(compile(block, "docs/scaling.md", "exec"), names)
    assert "#SBATCH -t 08:00:00" in made[0]
    assert "#SBATCH --cpus-per-task=8" in made[0]
