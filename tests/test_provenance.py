"""One record in every output: skims of jobs, functions, processors and the command line serve each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from heads import make_head, numbers, random_mlp
from jettagger.processors import FinetuneInputsProcessor, TaggingProcessor

import jettagger as jt
from jettagger.cli import main
from jettagger.finetuning import score_skim
from jettagger.heads import Head
from jettagger.provenance import Origin, provenance_of, read_provenance
from jettagger.testing import write_pfnano

MODEL = "inclParTToyV1"
#: what every record says
KEYS = {
    "jettagger", "step", "model", "model_version", "digest", "heads", "columns", "where", "files", "skipped",
    "generated", "configuration",
}  # fmt: skip


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_pfnano(tmp_path_factory.mktemp("nano") / "nano.root", 12, seed=4))


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Head:
    return make_head(tmp_path_factory.mktemp("heads") / "Toy", parts=[MLP], inputs=INPUTS)


INPUTS = ("hidNeurons000", "mass", "FatJet_pt")
MLP = random_mlp(3, 2, seed=1)


def by_processor(instance: Any, nano: str) -> str:
    from coffea import processor
    from coffea.nanoevents import PFNanoAODSchema

    runner = processor.Runner(processor.IterativeExecutor(status=False), schema=PFNanoAODSchema)
    (path,) = runner({"A": [nano]}, instance, treename="Events")["A"]["files"]
    return str(path)


def by_function(nano: str, folder: Path, tagger: jt.Tagger) -> str:
    path = str(folder / "function.root")
    jt.tag_files([nano], tagger, path, where="pt > 250")
    return path


def by_shell(nano: str, folder: Path, tagger: jt.Tagger) -> str:
    path = str(folder / "shell.parquet")
    heads = [argument for head in tagger.heads for argument in ("--head", str(head.folder))]
    assert main(["tag", nano, "-m", MODEL, "-o", path, "--where", "pt > 250", *heads]) == 0
    return path


def by_tagging(nano: str, folder: Path, tagger: jt.Tagger) -> str:
    return by_processor(TaggingProcessor(tagger, where="pt > 250", output=folder / "tagged"), nano)


def by_finetuning(nano: str, folder: Path, tagger: jt.Tagger) -> str:
    instance = FinetuneInputsProcessor(tagger, folder / "inputs", where="pt > 250", keep=[], labels=None)
    return by_processor(instance, nano)


WAYS = [by_function, by_shell, by_tagging, by_finetuning]


@pytest.mark.slow
@pytest.mark.parametrize("with_head", [False, True])
def test_all_ways_to_a_skim_write_the_same_record(nano: str, tmp_path: Path, head: Head, with_head: bool) -> None:
    tagger = jt.load_tagger(MODEL, threads=1).with_heads(*([head] if with_head else []))
    records = [read_provenance(make(nano, tmp_path, tagger)) for make in WAYS]
    assert set(records[0]) == KEYS
    assert records[0]["heads"] == ({"Toy": head.digest} if with_head else {})
    assert records[0]["where"] == "pt > 250"
    assert records[0]["files"] == [nano]
    for record in records[1:]:
        assert record == records[0]


@pytest.mark.slow
@pytest.mark.parametrize("make", WAYS)
def test_a_head_is_scored_on_a_skim_of_any_way(nano: str, tmp_path: Path, head: Head, make: Any) -> None:
    """Against the network in NumPy on the columns of the skim."""
    skim = make(nano, tmp_path, jt.load_tagger(MODEL, threads=1))
    scored = tmp_path / "scored.parquet"
    assert score_skim(skim, [head], scored) == 12
    table = ak.from_parquet(scored)
    columns = [f"FatJet_{MODEL}_hidNeurons000", f"FatJet_{MODEL}_mass", "FatJet_pt"]
    x = np.stack([ak.to_numpy(ak.fill_none(ak.flatten(table[name]), np.nan)) for name in columns], axis=1)
    good = np.isfinite(x).all(axis=1)
    assert good.any()
    expected = numbers(MLP, x[good].astype(np.float32), "classes")[:, 0]
    found = ak.to_numpy(ak.fill_none(ak.flatten(table.FatJet_Toy_probA), np.nan))[good]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert read_provenance(scored)["heads"] == {"Toy": head.digest}
    assert read_provenance(scored)["digest"] == jt.load_bundle(MODEL).digest


@pytest.mark.slow
def test_a_second_head_does_not_make_the_first_forgotten(nano: str, tmp_path: Path, head: Head) -> None:
    other = make_head(tmp_path / "other", "Other", inputs=INPUTS)
    skim = by_tagging(nano, tmp_path, jt.load_tagger(MODEL, threads=1).with_heads(head))
    score_skim(skim, [other], tmp_path / "both.root")
    assert read_provenance(tmp_path / "both.root")["heads"] == {"Toy": head.digest, "Other": other.digest}


def test_a_selection_by_a_function_is_named() -> None:
    def high(jets: Any) -> Any:
        return jets.pt > 300

    record = provenance_of(Origin("m", "d"), {}, high, ["a", "a", "b"])
    assert record.to_dict()["where"].endswith("high")
    assert record.files == ("a", "b")


def test_processors_take_a_tagger_or_a_name(tmp_path: Path) -> None:
    tagger = jt.load_tagger("tinyParT", min_pt_share=0.9)
    assert TaggingProcessor(tagger).tagger is tagger
    assert TaggingProcessor(tagger.bundle.folder).tagger.bundle.digest == tagger.bundle.digest
    assert FinetuneInputsProcessor(tagger, tmp_path).tagger is tagger
