"""The processor of training sets, its executors, and its command: the same shards from all of them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clusters import local_cluster
from jec_events import jec_columns

from jettagger.cli import main
from jettagger.errors import OutputError
from jettagger.files.root import write_tree
from jettagger.jec import Acceptance, Sampling, ShardMaker, make_training_set, open_data, read_shard

processor = pytest.importorskip("coffea.processor")

BRANCHES = {"global": ["pt", "pt_gen", "weight", "event"], "ch": ["ch_pt"], "ne": ["ne_id"], "sv": ["sv_mass"]}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("events")
    for number in (1, 2):
        write_tree(folder / f"{number}.root", [jec_columns(30, seed=number)])
    return [str(folder / f"{number}.root") for number in (1, 2)]


def run(instance: Any, files: list[str], executor: Any, chunk: int = 30) -> Any:
    from coffea.nanoevents import PFNanoAODSchema

    runner = processor.Runner(executor, schema=PFNanoAODSchema, chunksize=chunk, savemetrics=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # coffea's, about missing cross-references
        return runner({"qcd": files}, instance, treename="Events")


def content(folder: Path) -> tuple[list[tuple[str, int | None]], dict[str, np.ndarray]]:
    data = open_data(folder)
    parts = [read_shard(file, BRANCHES) for file in data.files]
    names = [name for names in BRANCHES.values() for name in names]
    listed = [(Path(file.path).name, file.count) for file in data.files]
    return listed, {name: np.concatenate([part.columns[name] for part in parts]) for name in names}


@pytest.fixture(scope="module")
def acceptance(files: list[str]) -> Acceptance:
    from jettagger.processors import JecSpectrumProcessor

    result = run(JecSpectrumProcessor(Sampling(keep=0.5)), files, processor.IterativeExecutor(status=False))
    return result["acceptance"]


@pytest.fixture(scope="module")
def reference(files: list[str], acceptance: Acceptance, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from jettagger.processors import JecInputsProcessor

    folder = tmp_path_factory.mktemp("sets") / "iterative"
    result = run(JecInputsProcessor(folder, acceptance=acceptance), files, processor.IterativeExecutor(status=False))
    assert result["qcd"]["counts"]["events"] == 60
    assert len(result["qcd"]["shards"]) == 2
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", ["futures", "dask"])
def test_executors_give_the_same_shards(
    name: str, reference: Path, files: list[str], acceptance: Acceptance, tmp_path: Path
) -> None:
    from jettagger.processors import JecInputsProcessor

    instance = JecInputsProcessor(tmp_path / name, acceptance=acceptance)
    if name == "futures":
        run(instance, files[::-1], processor.FuturesExecutor(workers=2, status=False))
    else:
        with local_cluster(tmp_path / "dask", workers=1, threads=2, processes=False) as client:
            run(instance, files[::-1], processor.DaskExecutor(client=client, status=False))
    listed, columns = content(tmp_path / name)
    expected, values = content(reference)
    assert listed == expected
    assert all(np.array_equal(columns[branch], values[branch]) for branch in values)


@pytest.mark.slow
def test_files_without_coffea_give_the_same_jets(reference: Path, files: list[str], tmp_path: Path) -> None:
    make_training_set(files, tmp_path / "set", sampling=Sampling(keep=0.5), events_per_shard=30)
    listed, columns = content(tmp_path / "set")
    expected, values = content(reference)
    assert [count for _, count in listed] == [count for _, count in expected]
    assert all(np.array_equal(columns[branch], values[branch]) for branch in values)


def test_a_set_is_incomplete_until_the_end(reference: Path, files: list[str], tmp_path: Path) -> None:
    from jettagger.processors import JecInputsProcessor

    with pytest.raises(OutputError, match="exists already"):
        JecInputsProcessor(reference)
    instance = JecInputsProcessor(tmp_path / "set", ShardMaker(branches=("pt", "ch_pt")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JecInputsProcessor, "postprocess", lambda _, accumulator: accumulator)
        run(instance, files, processor.IterativeExecutor(status=False))
    assert (tmp_path / "set" / "shards").is_dir()
    assert not (tmp_path / "set" / "data.yaml").exists()


def test_the_command(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "sampling.yaml").write_text("keep: 0.5\nshares: {b: 1, g: 1}\n")
    options = ["--sampling", str(tmp_path / "sampling.yaml"), "--branches", "pt, ch_pt", "--kind", "AK8"]
    assert main(["jec", "inputs", *files, "-o", str(tmp_path / "set"), *options]) == 0
    assert "sampled out" in capsys.readouterr().out
    assert set(read_shard(open_data(tmp_path / "set").files[0], {"global": ["pt"], "ch": ["ch_pt"]}).columns) == {
        "pt",
        "ch_pt",
    }
    (tmp_path / "sampling.yaml").write_text("keep: 0.5\nshare: {b: 1}\n")
    assert main(["jec", "inputs", *files, "-o", str(tmp_path / "new"), *options]) != 0
    said = capsys.readouterr().err
    assert "line 2: unknown key 'share'" in said
    assert "nearest: shares" in said
