"""The processor on a dask cluster of real processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("distributed")

from clusters import local_cluster

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore:.*:UserWarning:distributed.*"),
]


def test_workers_give_the_same_columns(tmp_path: Path) -> None:
    from coffea import processor
    from coffea.nanoevents import PFNanoAODSchema
    from jettagger.processors import TaggingProcessor
    from test_processors import assert_same_columns, high

    from jettagger.testing import write_pfnano

    paths = [str(write_pfnano(tmp_path / f"{seed}.root", 12, seed=seed)) for seed in (1, 2)]
    fileset: Any = {"A": {"files": dict.fromkeys(paths, "Events")}}
    instance = TaggingProcessor("tinyParT", where=high, columns=["prob", "mass"])

    def run(executor: Any) -> Any:
        runner = processor.Runner(executor, schema=PFNanoAODSchema, chunksize=5)
        return runner(fileset, processor_instance=instance)

    expected = run(processor.IterativeExecutor(status=False))
    with local_cluster(tmp_path) as client:
        assert set(client.run(_threads).values()) == {1}
        assert_same_columns(run(processor.DaskExecutor(client=client, status=False)), expected)


def _threads() -> int:
    from jettagger.sessions.threads import default_threads

    return default_threads()
