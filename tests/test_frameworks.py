"""The examples for frameworks: they give the scores that the tagger gives."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
import warnings
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from coffea.nanoevents import NanoAODSchema, NanoEventsFactory

import jettagger as jt
from jettagger.cli import main
from jettagger.testing import write_pfnano

EXAMPLES = Path(__file__).parent.parent / "examples" / "frameworks"


def example(name: str) -> ModuleType:
    """An example as a module."""
    spec = importlib.util.spec_from_file_location(Path(name).name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Nano(NanoAODSchema):  # type: ignore[misc, unused-ignore]
    warn_missing_crossrefs = False


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(write_pfnano(tmp_path_factory.mktemp("nano") / "nano.root", 30, seed=5))


def events_of(path: Path) -> Any:
    events = NanoEventsFactory.from_root({str(path): "Events"}, schemaclass=Nano, mode="virtual").events()
    events.metadata.update(filename=str(path), entrystart=0, entrystop=len(events))
    return events


@pytest.fixture(scope="module")
def scored(nano: Path) -> Any:
    """The fat jets of the file with the scores of those above 250 GeV."""
    return jt.load_tagger("tinyParT", threads=1).attach(events_of(nano), where="pt > 250").FatJet


def filled(values: Any) -> Any:
    """Flat numbers with NaN for None."""
    return np.asarray(ak.fill_none(ak.flatten(values), np.nan), dtype=float)


# ------------------------------------------------------------------------------------------- coffea's checkpoints


@pytest.mark.slow
def test_an_interrupted_job_goes_on_with_the_chunks_that_are_left(nano: Path, tmp_path: Path) -> None:
    example_ = example("runner_checkpoints")
    fileset = {"X": [str(nano)], "Y": [str(write_pfnano(tmp_path / "y.root", 90, seed=6))]}
    whole = example_.run(fileset, tmp_path / "whole", example_.MassOfTagged())
    log = tmp_path / "log"

    class Interrupted(example_.MassOfTagged):  # type: ignore[misc, name-defined]
        def process(self, events: Any) -> Any:
            with log.open("a") as file:
                file.write(f"{len(events)}\n")
            if len(log.read_text().splitlines()) == 3:
                raise KeyboardInterrupt
            return super().process(events)

    with pytest.raises(KeyboardInterrupt):
        example_.run(fileset, tmp_path / "kept", Interrupted())
    assert len(list((tmp_path / "kept").rglob("*.coffea"))) == 2
    result = example_.run(fileset, tmp_path / "kept", Interrupted())
    assert len(log.read_text().splitlines()) == 4, "the first two are not processed again"
    assert result["events"] == whole["events"] == 120
    assert result["mass"] == whole["mass"]
    assert whole["mass"].sum(flow=True).value > 0


def test_checkpoints_of_another_model_or_code_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example_ = example("runner_checkpoints")
    job = example_.MassOfTagged()
    name = example_.digest_of(job)
    assert name == example_.digest_of(example_.MassOfTagged())
    changed = tmp_path / "changed.py"
    changed.write_text(Path(example_.__file__ or "").read_text() + "\n")
    monkeypatch.setattr(example_, "__file__", str(changed))
    assert example_.digest_of(job) != name
    monkeypatch.undo()
    job.tagger = SimpleNamespace(bundle=SimpleNamespace(digest="another"))
    assert example_.digest_of(job) != name


# ------------------------------------------------------------------------------------------------ scores by entry


@pytest.fixture(scope="module")
def scores(nano: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scores") / nano.name
    assert main(["tag", str(nano), "--model", "tinyParT", "--where", "pt > 250", "-o", str(path)]) == 0
    return path


def test_scores_join_by_entry(nano: Path, scores: Path, scored: Any) -> None:
    events = events_of(nano)[10:25]
    events.metadata.update(filename=str(nano), entrystart=10, entrystop=25)
    joined = example("scores_by_entry").with_scores(events, scores.parent)
    for column in ("tinyParT_probHbb", "tinyParT_mass"):
        np.testing.assert_allclose(filled(joined.FatJet[column]), filled(scored[column][10:25]), rtol=1e-6)
    assert ak.all(joined.FatJet.pt == events.FatJet.pt)
    assert np.isnan(filled(joined.FatJet.tinyParT_probHbb)).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[:-1], "29 rows of scores for 30 events"),
        (lambda rows: rows[::-1], "differ in event"),
        (lambda rows: ak.with_field(rows, rows["FatJet_pt"][:, 1:], "FatJet_pt"), "numbers of fat jets"),
    ],
)
def test_scores_of_other_events_are_refused(nano: Path, scores: Path, change: Any, message: str) -> None:
    example_ = example("scores_by_entry")
    rows = change(example_.read_scores(str(scores), 0, 30))
    with pytest.raises(ValueError, match=message):
        example_.join(events_of(nano), rows)


def test_scores_by_entry_as_a_program(nano: Path, scores: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example("scores_by_entry").main(str(nano), str(scores))
    with uproot.open(scores) as file:
        values = np.asarray(ak.flatten(file["Events"]["FatJet_tinyParT_probHbb"].array()))
    mean, number = np.nanmean(values), np.isfinite(values).sum()
    assert f"tinyParT_probHbb: {number} of {len(values)} jets, mean {mean:.4f}" in capsys.readouterr().out


# --------------------------------------------------------------------------------------------------- PocketCoffea


class _Steps:
    """The steps of PocketCoffea's processor that the example replaces, in its order."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.workflow_options = options

    def process(self, events: Any) -> Any:
        self.events = events
        self.events = self.events[ak.num(self.events.FatJet) > 0]  # a skim
        self.process_extra_after_skim()  # type: ignore[attr-defined]
        self.apply_object_preselection("nominal")  # type: ignore[attr-defined]
        self.count_objects("nominal")  # type: ignore[attr-defined]
        return self.events


def test_the_workflow_of_pocketcoffea(nano: Path, scored: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for its processor."""
    for name in ("pocket_coffea", "pocket_coffea.workflows", "pocket_coffea.workflows.base"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules["pocket_coffea.workflows.base"].BaseProcessorABC = _Steps  # type: ignore[attr-defined]
    options = {"model": "tinyParT", "where": "pt > 250", "discriminant": "HbbvsQCD", "threshold": 0.2}
    events = example("pocket_coffea/workflow").TaggedProcessor(options).process(events_of(nano))
    jets = scored[ak.num(scored) > 0]
    expected = jt.discriminant("HbbvsQCD", prefix="tinyParT")(jets)
    np.testing.assert_allclose(filled(events.FatJet.tag), filled(expected), rtol=1e-6)
    counts = ak.sum(ak.fill_none(expected > 0.2, False), axis=1)
    assert events.nTaggedJet.tolist() == ak.num(events.TaggedJet).tolist() == counts.tolist()
    assert 0 < ak.sum(counts) < ak.count(events.FatJet.pt)


def test_pocketcoffea(nano: Path, scored: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With PocketCoffea itself, its branch for coffea 2025."""
    pytest.importorskip("pocket_coffea", reason="PocketCoffea is not installed")
    from coffea.processor import IterativeExecutor, Runner

    for name in ("workflow.py", "config.py"):
        (tmp_path / name).write_text((EXAMPLES / "pocket_coffea" / name).read_text())
    about = {"sample": "X", "year": "2018", "isMC": "True", "xsec": "0.01", "das_names": "[]", "nevents": "30"}
    fileset = {"X_2018": {"metadata": about, "files": [str(nano)]}}
    (tmp_path / "datasets.json").write_text(json.dumps(fileset))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PocketCoffea's own
        cfg = importlib.import_module("pocket_coffea.utils.utils").load_config("config.py", save_config=False)
        run = Runner(executor=IterativeExecutor(status=False), chunksize=20, schema=Nano)
        result = run(cfg.filesets, treename="Events", processor_instance=cfg.processor_instance)
    tags = jt.discriminant("HbbvsQCD", prefix="tinyParT")(scored)
    events = ak.sum(ak.any(ak.fill_none(tags > 0.2, False), axis=1))
    assert result["cutflow"]["tagged"]["X_2018"]["X"] == events > 0
    jets = result["variables"]["tag"]["X"]["X_2018"][{"cat": "all", "variation": "nominal"}]
    weights = ak.broadcast_arrays(events_of(nano).genWeight, tags)[0]
    expected, _ = np.histogram(filled(tags), bins=20, range=(0, 1), weights=filled(weights))
    np.testing.assert_allclose(jets.values() / jets.values().sum(), expected / expected.sum(), rtol=1e-5)


# ------------------------------------------------------------------------------------------------------ columnflow


class _Declared:
    """An instance of a producer as columnflow makes it: sets of columns, attributes, two functions."""

    def __init__(self, call: Any, attributes: dict[str, Any]) -> None:
        self.call, self.uses, self.produces = call, set[str](), set[str]()
        vars(self).update(attributes)

    def init(self, function: Any) -> Any:
        function(self)
        return function

    def __call__(self, events: Any) -> Any:
        return self.call(self, events)


def _set_column(events: Any, route: str, values: Any, value_type: Any = None) -> Any:
    collection, _, field = route.partition(".")
    column = ak.values_astype(values, value_type)
    return ak.with_field(events, ak.with_field(events[collection], column, field), collection)


def check_producer(producer: Any, events: Any, scored: Any) -> None:
    """Its columns are those that are declared, and the scores those of the tagger."""
    result = producer(events)
    outputs = [name for name in scored.fields if name.startswith(("tinyParT_prob", "tinyParT_mass"))]
    assert {str(column) for column in producer.produces} == {f"FatJet.{name}" for name in outputs}
    for name in outputs:
        np.testing.assert_array_equal(filled(result.FatJet[name]), filled(scored[name]).astype(np.float32))
    assert "float32" in str(result.FatJet[outputs[0]].type)


def declared_only(events: Any, columns: Any) -> Any:
    """The events with declared columns alone, as a framework reads them."""
    collections: dict[str, list[str]] = {}
    for column in columns:
        collection, _, field = str(column).partition(".")
        collections.setdefault(collection, []).append(field)
    return ak.zip(
        {name: ak.zip({key: events[name][key] for key in keys}) for name, keys in collections.items()}, depth_limit=1
    )


def test_the_producer_of_columnflow(nano: Path, scored: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for its decorator."""
    for name in ("columnflow", "columnflow.columnar_util", "columnflow.production"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    production, tools = sys.modules["columnflow.production"], sys.modules["columnflow.columnar_util"]
    production.Producer = _Declared  # type: ignore[attr-defined]
    production.producer = lambda **attributes: lambda call: _Declared(call, attributes)  # type: ignore[attr-defined]
    tools.set_ak_column = _set_column  # type: ignore[attr-defined]
    producer = example("columnflow_producer").fatjet_scores
    check_producer(producer, declared_only(events_of(nano), producer.uses), scored)


def test_columnflow(nano: Path, scored: Any) -> None:
    """With columnflow itself, where its configuration is set up."""
    pytest.importorskip("columnflow", reason="columnflow is not installed")
    producer = example("columnflow_producer").fatjet_scores()
    events = declared_only(events_of(nano), producer.used_columns)
    producer.produces = producer.produced_columns
    check_producer(producer, events, scored)
