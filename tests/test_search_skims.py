"""Parquet skims are samples of a search like ROOT files: the same histograms, alone and mixed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from jettagger.processors.search import SearchWarning
from searches import CONFIG, make_world

from jettagger import load_bundle, tag_files
from jettagger.errors import ConfigError, InputFileError, JettaggerError, MismatchError
from jettagger.files.parquet import METADATA
from jettagger.histograms import equal
from jettagger.provenance import Origin
from jettagger.search.config import read_config
from jettagger.search.files import PARQUET_SINCE, survey
from jettagger.search.run import run_search

pytestmark = pytest.mark.skipif(
    tuple(map(int, version("coffea").split(".")[:2])) < PARQUET_SINCE,
    reason="this coffea runs on no parquet files",
)

SKIMMED = CONFIG.replace("tagger: {model: tinyParT, threads: 1}\n", "").partition("templates:")[0]


@pytest.fixture(autouse=True)
def _notes_are_no_errors() -> Iterator[None]:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SearchWarning)
        yield


@pytest.fixture(scope="module")
def skims(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The world of the other tests, tagged twice."""
    folder = tmp_path_factory.mktemp("skims")
    make_world(folder / "world")
    for name in ("tt1", "tt2", "X1", "run"):
        keep = [] if name == "run" else ["puWeight*"]
        for suffix in ("root", "parquet"):
            where = "pt > 220 and abs(eta) < 2.2"
            source = str(folder / "world" / f"{name}.root")
            tag_files([source], "tinyParT", str(folder / f"{name}.{suffix}"), where=where, keep=keep, memory=400_000)
    return folder


def searched(folder: Path, kinds: dict[str, str], executor: str = "iterative") -> Any:
    text = SKIMMED.replace('files: ["tt*.root"]', "files: [tt1.root, tt2.root]")
    for name, kind in kinds.items():
        text = text.replace(f"{name}.root", f"{name}.{kind}")
    return run_search(read_config(text, name="search.yaml", folder=folder), executor=executor, workers=2)


@pytest.fixture(scope="module")
def reference(skims: Path) -> Any:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SearchWarning)
        return searched(skims, {})


ALL, MIXED = dict.fromkeys(("tt1", "tt2", "X1", "run"), "parquet"), {"tt2": "parquet"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kinds", "executor"),
    [
        pytest.param(ALL, "iterative", id="all-iterative"),
        pytest.param(MIXED, "iterative", id="mixed-iterative"),
        pytest.param(MIXED, "futures", id="mixed-futures", marks=pytest.mark.slow),
    ],
)
def test_parquet_gives_what_root_gives(skims: Path, reference: Any, kinds: dict[str, str], executor: str) -> None:
    found = searched(skims, kinds, executor)
    for name, histogram in reference.histograms.items():
        assert histogram.sum(flow=True).value > 0
        assert equal(found.histograms[name], histogram, rtol=1e-9), name
    assert found.cutflow == reference.cutflow
    for dataset, counts in reference.datasets.items():
        mine = found.datasets[dataset]
        assert {key: value for key, value in mine.items() if key != "files"} == {
            key: value for key, value in counts.items() if key != "files"
        }
        assert [Path(path).stem for path in mine["files"]] == [Path(path).stem for path in counts["files"]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        ("absent", InputFileError, "no such file"),
        ("truncated", InputFileError, "not a readable parquet file"),
        ("without a counter", InputFileError, "has no column nFatJet"),
        ("without a column", ConfigError, "line 23: unknown column .*puWeightUp"),
    ],
)
def test_damaged_skims_are_named(
    skims: Path, tmp_path: Path, damage: str, error: type[JettaggerError], message: str
) -> None:
    path = tmp_path / "tt1.parquet"
    table = pyarrow.parquet.read_table(skims / "tt1.parquet")
    if damage.startswith("without"):
        columns = ["nFatJet"] if damage == "without a counter" else ["puWeightUp"]
        pyarrow.parquet.write_table(table.drop_columns(columns), path)
    elif damage == "truncated":
        path.write_bytes((skims / "tt1.parquet").read_bytes()[:-100])
    text = SKIMMED.replace('files: ["tt*.root"]', f"files: ['{path}']")
    config = read_config(text, name="search.yaml", folder=skims)
    with pytest.raises(error, match=message):
        survey(config, config.make_processor())


def test_candidates_beyond_the_count_are_named(skims: Path) -> None:
    text = SKIMMED.replace("jet1.HbbvsQCD > 0.2", "jet3.HbbvsQCD > 0.2")
    with pytest.raises(ConfigError, match=r"with 2 as the count of jets.*jet3.*Known: jet1, jet2"):
        read_config(text, "search.yaml", skims).make_processor()


def renamed(source: Path, target: Path, **changes: Any) -> None:
    """A copy of a skim with another record."""
    table = pyarrow.parquet.read_table(source)
    metadata = dict(table.schema.metadata)
    note = {**json.loads(metadata[METADATA.encode()]), **changes}
    pyarrow.parquet.write_table(
        table.replace_schema_metadata(metadata | {METADATA.encode(): json.dumps(note).encode()}), target
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"digest": "b" * 64}, r"X1b.parquet: the scores in .*tt1.root belong to the model 'tinyParT' .*one model"),
        ({"heads": {"Toy": "c" * 64}}, None),
        ({"model": None}, None),
    ],
)
def test_scores_of_one_model_fill_a_search(
    changes: dict[str, Any], message: str | None, skims: Path, reference: Any
) -> None:
    renamed(skims / "X1.parquet", skims / "X1b.parquet", **changes)
    text = SKIMMED.replace('files: ["tt*.root"]', "files: [tt1.root, tt2.root]").replace("X1.root", "X1b.parquet")
    config = read_config(text, name="search.yaml", folder=skims)
    if message is not None:
        with pytest.raises(MismatchError, match=message):
            run_search(config)
        return
    origin = run_search(config).provenance.origin
    assert origin == (None if changes == {"model": None} else reference.provenance.origin)


@pytest.mark.slow
def test_the_record_names_the_model_of_the_skims(reference: Any) -> None:
    assert reference.provenance.origin == Origin("tinyParT", load_bundle("tinyParT").digest)
