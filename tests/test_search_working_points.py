"""Working points as cuts of a search: against thresholds by hand, of a model and of a head, and what is refused."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from heads import make_head
from jettagger.processors.search import SearchWarning
from searches import PLAIN, columns, make_world, write
from test_kserve import Server

from jettagger import load_tagger, tag_files
from jettagger.discriminants import Discriminant, WorkingPoints, derive, discriminant
from jettagger.errors import JettaggerError, MismatchError
from jettagger.histograms import equal
from jettagger.search import read_config, run_search
from jettagger.sessions import kserve

MODEL = "inclParTToyV1"
WITH_POINTS = (
    PLAIN.replace(
        '  tagged: "jet1.HbbvsQCD > 0.2"\n',
        "  tagged: {working_point: wp.json, name: hbb_half, jet: jet1}\n"
        "  both: {working_point: binned.json, jets: [jet1, jet2]}\n",
    )
    .replace("fail: [tagged]}", "fail: [tagged]}\n  B: {kind: inclusive, pass: [both]}")
    .partition("templates:")[0]
)


@pytest.fixture(autouse=True)
def _notes_are_no_errors() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SearchWarning)
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("points")
    make_world(folder, config=WITH_POINTS)
    tag_files([str(folder / "tt1.root")], "tinyParT", str(folder / "tt1.parquet"))
    table = pyarrow.parquet.read_table(folder / "tt1.parquet")
    options: dict[str, Any] = {"weights": False, "least": 1}
    item = discriminant("HbbvsQCD")
    derive(item, table, {"hbb_half": 0.5, "hbb_tenth": 0.1}, **options).save(folder / "wp.json")
    derive(item, table, {"loose": 0.7}, pt=[200, 300, 600], **options).save(folder / "binned.json")
    return folder


@pytest.mark.slow
def test_cuts_are_those_of_the_thresholds(world: Path) -> None:
    """The same search with the thresholds written as expressions; of bins in pt, too."""
    found = run_search(read_config(world / "search.yaml"))
    one = WorkingPoints.load(world / "wp.json")["hbb_half"].threshold()
    loose = WorkingPoints.load(world / "binned.json")["loose"]
    low, high = (float(loose.threshold(pt=np.array(pt))) for pt in (250.0, 400.0))
    cut = " and ".join(
        f"((jet{i}.pt >= 200 and jet{i}.pt < 300 and jet{i}.HbbvsQCD >= {low!r}) or "
        f"(jet{i}.pt >= 300 and jet{i}.pt < 600 and jet{i}.HbbvsQCD >= {high!r}))"
        for i in (1, 2)
    )
    text = re.sub(r"tagged: \{.*\}", f'tagged: "jet1.HbbvsQCD >= {float(one)!r}"', WITH_POINTS)
    text = re.sub(r"both: \{.*\}", f'both: "{cut}"', text)
    again = run_search(read_config(text, name="search.yaml", folder=world))
    for name, histogram in found.histograms.items():
        assert equal(again.histograms[name], histogram), name
    assert again.cutflow == found.cutflow
    flow = found.cutflow["tt"]
    assert flow["SR"]["tagged"]["events"] > 0 < flow["CR"]["not tagged"]["events"]
    assert flow["B"]["jets"]["events"] > flow["B"]["both"]["events"] > 0
    used = found.provenance.to_dict()["configuration"]["working_points"]
    assert used["tagged_working_point"] == {"digest": WorkingPoints.load(world / "wp.json").digest, "name": "hbb_half"}


@pytest.mark.slow
def test_working_points_of_a_head_and_options_of_the_tagger(tmp_path: Path) -> None:
    """Model, head, backend, cache and threads in one configuration; scores of cache and network are equal."""
    write(tmp_path / "tt.root", columns(40, 3))
    # a threshold is the score of a jet, whose last digit depends on the backend: of other jets than those of the search
    write(tmp_path / "fit.root", columns(40, 4))
    make_head(tmp_path / "heads" / "Toy", inputs=("hidNeurons000", "mass"))
    tagger = load_tagger(MODEL, heads=[tmp_path / "heads" / "Toy"], threads=1)
    tag_files([str(tmp_path / "fit.root")], tagger, str(tmp_path / "s.parquet"))
    item = Discriminant.from_dict({"expression": "probA / (probA + probB)", "prefix": "Toy"}, name="toy")
    table = pyarrow.parquet.read_table(tmp_path / "s.parquet")
    made = derive(item, table, {"half": 0.5}, weights=False, least=1)
    made.save(tmp_path / "wp.json")
    text = """\
version: 1
luminosity: 10
tagger: {model: inclParTToyV1, heads: [heads/Toy], backend: onnxruntime, cache: scores, threads: 1}
samples: {tt: {files: tt.root, cross_section: 2, sum_of_weights: events}}
jets: {count: 1, preselection: "pt > 220"}
cuts: {tagged: {working_point: wp.json}}
regions: {all: {kind: inclusive}, SR: {kind: signal, pass: [tagged]}}
histograms: {A: {bins: [25, 0, 1], expression: jet1.Toy_probA}}
"""
    config = read_config(text, "search.yaml", tmp_path)
    first = run_search(config)
    assert first.model["options"]["backend"] == "onnxruntime"
    assert list((tmp_path / "scores").rglob("*")), "the cache has scores"
    again, fast = run_search(config), run_search(config.with_options(backend="fast", cache=False))
    by_hand = text.replace("{working_point: wp.json}", f'"jet1.toy >= {float(made["half"].threshold())!r}"')
    by_hand += "discriminants: {toy: {expression: probA / (probA + probB), prefix: Toy}}\n"
    plain = run_search(read_config(by_hand, "search.yaml", tmp_path))
    for other in (again, fast, plain):
        assert other.cutflow == first.cutflow
        assert equal(other.histograms["A"], first.histograms["A"])
    assert 0 < first.cutflow["tt"]["SR"]["tagged"]["events"] < first.cutflow["tt"]["SR"]["jets"]["events"]


@pytest.mark.slow
def test_the_network_may_run_on_a_server(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()
    monkeypatch.setattr(kserve, "_connect", server.connect)
    plain = PLAIN.partition("templates:")[0]
    text = plain.replace("tagger: {model: tinyParT,", "tagger: {model: tinyParT, remote: grpc://gpu7:8001/net,")
    there = run_search(read_config(text, name="search.yaml", folder=world))
    assert there.model["options"]["remote"]
    assert server.batches
    here = run_search(read_config(plain, name="search.yaml", folder=world))
    assert equal(there.histograms["mjj"], here.histograms["mjj"], rtol=1e-6)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: hbb_half", "name: hbb_haif", r"line 19: unknown working point in .*: 'hbb_haif' .nearest: hbb_half"),
        (", name: hbb_half", "", r"line 19: wp.json has several working points, give 'name': hbb_half, hbb_tenth"),
        ("wp.json, name", "absent.json, name", r"line 19: cannot read .*absent.json"),
        ("wp.json, name", "search.yaml, name", r"line 19: .*not working points as jettagger writes them"),
        ("jet: jet1", "jet: jet3", r"unknown candidate .*'jet3'"),
        ("jet: jet1", "jet: jet1, jets: [jet1]", r"line 19: give either 'jet' or 'jets', got both"),
        ("jet: jet1", "efficiency: 0.1", r"line 19: 'efficiency' belongs to 'map'"),
        ("jet: jet1", "map: a.json", r"line 19: give either 'expression', 'map' or 'working_point', got 'map' "),
        ("working_point: wp.json, ", 'expression: "njets > 1", ', r"line 19: 'jet' belongs to 'map' or 'work"),
        ("working_point: wp", "working_points: wp", r"line 19: unknown key 'working_points' .nearest: working_point"),
        ("  HbbvsQCD: HbbvsQCD", "  tagged_working_point: HbbvsQCD", r"line 19: the column 'tagged_working_point' of"),
    ],
)  # fmt: skip
def test_mistakes_have_a_line(world: Path, old: str, new: str, message: str) -> None:
    assert old in WITH_POINTS
    with pytest.raises(JettaggerError) as caught:
        read_config(WITH_POINTS.replace(old, new, 1), name="search.yaml", folder=world)
    assert re.search(message, str(caught.value), re.DOTALL), str(caught.value)


def test_working_points_of_another_model_are_refused(world: Path) -> None:
    text = (world / "wp.json").read_text()
    digest = re.search(r'digest\\": \\"(\w{64})', text)
    assert digest is not None
    (world / "other.json").write_text(text.replace(digest[1], "2" * 64))
    config = read_config(WITH_POINTS.replace("wp.json, n", "other.json, n"), name="s.yaml", folder=world)
    with pytest.raises(MismatchError, match=r"s.yaml, line \d+: .*other.json.*belong to the model"):
        run_search(config)
