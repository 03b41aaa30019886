"""Every file that users get says how it was made; the list of what writes files is that of the code."""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import hist
import numpy as np
import pytest
import uproot
from heads import make_head
from hypothesis import given
from hypothesis import strategies as st
from jettagger.processors.search import SearchWarning
from pages import blocks
from searches import make_world

import jettagger as jt
from jettagger import histograms
from jettagger.cli import main
from jettagger.decorrelation import fit_thresholds
from jettagger.discriminants import derive
from jettagger.errors import ConfigError, InputFileError
from jettagger.files.generated import GeneratedFile
from jettagger.provenance import KEY, Origin, Provenance, read_provenance
from jettagger.search import read_config, run_search, write_output
from jettagger.skims.convert import convert_delphes
from jettagger.skims.writers import write_skim
from jettagger.statistics.building import build
from jettagger.statistics.limits import Limit, save_limits
from jettagger.statistics.specification import Signal, TemplateSpec
from jettagger.statistics.templates import load_workspaces
from jettagger.testing import make_events

ROOT = Path(jt.__file__).resolve().parent.parent

#: what puts bytes on a disk
WRITES = {
    "complete_or_absent", "folder_complete_or_absent", "write_skim", "write_tree", "write_objects", "write_text",
    "write_bytes", "savez", "savez_compressed", "recreate", "to_parquet", "write_table", "ParquetWriter", "savefig",
    "new_hdf5",
}  # fmt: skip

MADE = Provenance(
    "tag", Origin("M", "d" * 64, {"H": "e" * 64}), "1", {"mass": "M_mass"}, "pt > 300", ("a.root", "b.root")
)


# ---------------------------------------------------------------------------------------- who writes what


def histogram() -> Any:
    made = hist.Hist.new.StrCat([], growth=True, name="dataset").Reg(4, 0, 1, name="x").Weight()
    made.fill(dataset="tt", x=[0.1, 0.6])
    return made


def stored_histograms(folder: Path) -> dict[Path, str]:
    histograms.save({"x": histogram()}, folder / "h.json", provenance=MADE)
    histograms.save({"x": histogram()}, folder / "h.json.gz", provenance=MADE)
    histograms.to_root({"x": histogram()}, folder / "h.root", provenance=MADE)
    return dict.fromkeys((folder / "h.json", folder / "h.json.gz", folder / "h.root"), "tag")


def stored_limits(folder: Path) -> dict[Path, str]:
    none = (None, None, None, None, None)
    save_limits([Limit("X", 1000.0, None, none)], folder / "limits.json", provenance=MADE)
    return {folder / "limits.json": "limit"}


def a_skim(folder: Path) -> dict[Path, str]:
    for name in ("s.parquet", "s.root"):
        write_skim(folder / name, [{"x": np.arange(3.0)}], MADE.text)
    return {folder / "s.parquet": "tag", folder / "s.root": "tag"}


def points(folder: Path) -> dict[Path, str]:
    tagger = jt.load_tagger("tinyParT", threads=1)
    jets = tagger.attach(make_events(60, seed=1)).FatJet
    derive(jt.discriminant("HbbvsQCD"), jets, {"loose": 0.5}, least=1, model=tagger).save(folder / "wp.json")
    fit_thresholds("HbbvsQCD", jets, [0.5], axes={"mass": 1}, least=1, model=tagger).save(folder / "map.json")
    return {folder / "wp.json": "working points", folder / "map.json": "map"}


def a_head(folder: Path) -> dict[Path, str]:
    make_head(folder / "Toy")
    return {folder / "Toy" / "head.json": "head"}


#: function -> what calls it for a user and gives the files with their step
MAKERS: dict[str, Callable[[Path], dict[Path, str]]] = {
    "histograms.files:save": stored_histograms,
    "histograms.files:to_root": stored_histograms,
    "files.root:write_objects": stored_histograms,
    "statistics.limits:save_limits": stored_limits,
    "skims.writers:write_skim": a_skim,
    "skims.writers:_write_parquet": a_skim,
    "skims.writers:_write_root": a_skim,
    "files.root:write_tree": a_skim,
    "files.corrections:write_correction_text": points,
    "heads.export:write_head": a_head,
    "heads.description:write_head_card": a_head,
}

#: function -> the test that looks at its record
TESTS = {
    "assignment.making:dataset_writer": "test_assignment_inputs.py::test_outputs_say_how_they_were_made",
    "assignment.parquet_blocks:ParquetWriter.append": "test_assignment_inputs.py::test_outputs_say_how_they_were_made",
    "assignment.checking:write_report": "test_assignment_datasets.py::test_a_report_counts_what_the_file_holds",
    "assignment.evaluation_report:write_evaluation": "test_assignment_evaluate.py::test_outputs_say_how_they_were_made",
    "assignment.evaluation_report:write_latex": "test_assignment_evaluate.py::test_outputs_say_how_they_were_made",
    "assignment.converting:concatenate_datasets": "test_assignment_datasets.py::test_files_one_after_the_other",
    "assignment.datasets:DatasetWriter.__enter__": "test_assignment_datasets.py::test_the_file_says_how_it_was_made",
    "files.hdf5:new_hdf5": "test_assignment_datasets.py::test_the_file_says_how_it_was_made",
    "explain.writing:write_explanation": "test_explain_cli.py::test_occlusion_needs_no_torch",
    "skims.skim:run_job": "test_provenance.py::test_all_ways_to_a_skim_write_the_same_record",
    "processors.tagging:write_chunk": "test_provenance.py::test_all_ways_to_a_skim_write_the_same_record",
    "finetuning.score:score_skim": "test_provenance.py::test_a_second_head_does_not_make_the_first_forgotten",
    "assignment.folders:import_assigner": "test_assigner.py::test_imports_are_complete_or_absent",
    "assignment.model_export:export_model": "test_assignment_model_export.py::test_a_folder_is_what_inference_takes",
    "assignment.training_folder:train_to_folder": "test_assignment_train.py::test_the_folder_says_how_it_was_made",
    "assignment.training_folder:_describe": "test_assignment_train.py::test_the_folder_says_how_it_was_made",
    "studies.tuning.run:tune_assignment": "test_assignment_tune.py::test_a_search_of_two_trials",
    "studies.tuning.report:write_report": "test_assignment_tune.py::test_a_search_of_two_trials",
    "studies.assigning:predict_events": "test_assignment_predict.py::test_outputs_say_how_they_were_made",
    "studies.applying:apply_maps": "test_map_files.py::test_all_columns_and_those_of_the_maps",
    "skims.convert:convert_delphes": "test_records.py::test_a_converted_file_says_what_it_comes_from",
    "studies.sculpting.run:decorrelate": "test_decorrelate.py::test_the_report_says_what_maps_cost",
    "studies.sculpting.report:write_report": "test_decorrelate.py::test_the_report_says_what_maps_cost",
    "calibration.scalefactors:ScaleFactors.save": "test_calibrate.py::test_other_files_are_what_their_readers_expect",
    "studies.calibration.run:calibrate": "test_calibrate.py::test_other_files_are_what_their_readers_expect",
    "studies.calibration.run:_write_files": "test_calibrate.py::test_other_files_are_what_their_readers_expect",
    "studies.calibration.report:write_report": "test_calibrate.py::test_other_files_are_what_their_readers_expect",
    "search.datasets:make_fileset": "test_datasets.py::test_a_fileset_says_how_it_was_made",
    "search.parts:write_part": "test_search_parts.py::test_a_part_says_how_it_was_made",
    "search.output:write_output": "test_records.py::test_all_files_of_a_search_carry_one_record",
    "calibration.datacard:write_datacard": "test_calibrate.py::test_other_files_are_what_their_readers_expect",
    "statistics.templates:write_templates": "test_records.py::test_all_files_of_a_search_carry_one_record",
    "statistics.templates:Templates.save": "test_records.py::test_all_files_of_a_search_carry_one_record",
    "cli.fit:_write": "test_searchfits.py::test_the_command_writes_a_folder",
    "cli.limit:run": "test_records.py::test_limits_carry_the_record_of_their_search",
    "finetuning.run:finetune": "test_finetuning.py::test_the_folder_of_a_head_says_how_it_was_made",
    "finetuning.report:write_report": "test_finetuning.py::test_the_folder_of_a_head_says_how_it_was_made",
    "finetuning.run:finetune_strengths": "test_decorrelated_heads.py::test_a_list_of_strengths_makes_a_head_for_each",
    "finetuning.report:write_strengths": "test_decorrelated_heads.py::test_a_list_of_strengths_makes_a_head_for_each",
    "jec.making:finish": "test_jec_training_set.py::test_files_become_a_training_set",
    "jec.making:make_training_set": "test_jec_training_set.py::test_files_become_a_training_set",
    "jec.shards:write_shard": "test_jec_training_set.py::test_files_become_a_training_set",
    "jec.figures:write_performance": "test_jec_plot.py::test_the_command_gives_the_gain_of_the_regressions_of_cms",
    "jec.standard_files:fill_standard": "test_jec_plot.py::test_the_standard_of_shards_is_derived_and_filled",
    "jec.training:import_model": "test_jec_training.py::test_the_record_says_what_the_model_was_made_of",
    "jec.training:write_model": "test_jec_training.py::test_the_record_says_what_the_model_was_made_of",
    "jec.training:train": "test_jec_training.py::test_inputs_are_never_replaced",
    "simulation.run:_write": "test_simulation_run.py::test_files_say_how_they_were_made",
    "simulation.run:_write_manifest": "test_simulation_run.py::test_files_say_how_they_were_made",
}  # fmt: skip

#: function -> why what it writes needs no record
NO_OUTPUT = {
    "explain.keeping:KeptNumbers.put": "numbers of an interrupted run, kept under the digest of what makes them",
    "search.kept:ChunkFolder.write": "results of an interrupted search, under a note of all that they depend on",
    "search.kept:kept_chunks": "that note",
    "skims.each:_remember": "digests of the skims that are finished, until all are",
    "assignment.making:write_block": "a part of a data set, until all are there",
    "assignment.exporting:export_network": "a network, no events; its metadata have event file and options",
    "assignment.weights:write_network": "weights of a network, from which trainings go on, with event file and options",
    "bundles.checksums:_write": "checksums of a model, part of its folder",
    "bundles.serving:write_serving": "a copy of a model with its settings for a server, no events",
    "inference.checking:write_golden": "reference numbers of a model, part of its folder",
    "calibration.masses:MassFactors.save": "a few numbers that users write, too: no model, no events",
    "discriminants.discriminant:save": "a configuration that users write: no model, no events",
    "plots.style:save_figure": "a picture, drawn of histograms that carry it",
    "plots.figure:PlotFigure._repr_png_": "the same picture in memory, for notebooks",
    "dask:Parcel._write": "a file of a model or a head, sent to a worker as it is",
    "statistics.keptfits:KeptFits.put": "fits of an interrupted run, kept under the digest of what makes them",
    "files.cache:DiskCache.put": "cache",
    "jec.building:write_pictures": "pictures, drawn of jets that are named in their title",
    "training.curves:TrainingHistory.write": "losses of a training, in the folder that has its record",
    "jec.importing:write_weights": "weights for another training, in the folder that has its record",
    "jec.prediction:write_predictions": "an array in the format of the original, which has no room for it",
    "jec.shards:write_data": "a list of files that users write, too",
    "jec.steering:_copy": "a copy of a folder that has its record",
    "jec.streaming:_filled": "cache",
    "jec.streaming:_stream": "the copy of a remote file, as it is",
    "jec.transforms:write_transform": "a configuration that users write, too: no model, no events",
    "training.ragged:RaggedStore.__enter__": "rows of a training, gone with it or kept as a cache",
    "skims.resume:Finished.put": "scores of an interrupted run, kept under the digest of what makes them",
    "skims.resume:_packed": "the same, in memory",
    "simulation.generate:tabulate_interactions": "tables of a run, gone with it",
    "simulation.run:_store_block": "blocks of a run, gone with it",
    "simulation.run:_open_folder": "the plan of a run beside its blocks, gone with it",
    "topology.eventfile:write_event_file": "a configuration that users write, too: no model, no events",
    "training.checkpoints:write_checkpoint": "the state of a training, from which it goes on",
    "testing:write_pfnano": "random events for tests",
    "testing:make_tiny_model": "a random model for tests",
}


def writers() -> set[str]:
    """The functions of the package that write files."""
    found: set[str] = set()

    def visit(node: ast.AST, place: str, names: tuple[str, ...]) -> None:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names = (*names, node.name)
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in WRITES:
            found.add(f"{place}:{'.'.join(names)}")
        for child in ast.iter_child_nodes(node):
            visit(child, place, names)

    for path in [*(ROOT / "jettagger").rglob("*.py"), *(ROOT / "processors").glob("*.py")]:
        place = ".".join(path.relative_to(ROOT).with_suffix("").parts).removeprefix("jettagger.")
        visit(ast.parse(path.read_text(encoding="utf-8")), place.removesuffix(".__init__"), ())
    return found


def test_all_that_writes_files_is_looked_at() -> None:
    """A new output belongs into one of the three lists; the third is for what users do not keep."""
    known = [*MAKERS, *TESTS, *NO_OUTPUT]
    assert len(known) == len(set(known))
    assert writers() == set(known)


def test_the_tests_that_look_elsewhere_exist() -> None:
    for place in TESTS.values():
        name, _, function = place.partition("::")
        source = (ROOT / "tests" / name).read_text(encoding="utf-8")
        body = re.search(rf"^def {function}\(.*?(?=^def |\Z)", source, flags=re.MULTILINE | re.DOTALL)
        assert body is not None, place
        assert "read_provenance" in body[0], place


@pytest.mark.parametrize("make", list(dict.fromkeys(MAKERS.values())))
def test_outputs_carry_a_record(make: Callable[[Path], dict[Path, str]], tmp_path: Path) -> None:
    made = make(tmp_path)
    for path, step in made.items():
        record = read_provenance(path)
        assert record["step"] == step
        assert record["jettagger"] == jt.__version__
        assert re.fullmatch("[0-9a-f]{64}", record["digest"])
        again = Provenance.of_file(path)
        assert again.to_dict() == record


# ---------------------------------------------------------------------------------------- searches


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    config = make_world(tmp_path_factory.mktemp("world"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SearchWarning)  # small files without a tree Runs
        result = run_search(read_config(config))
    out = config.parent / "out"
    write_output(result, out, plots=False)
    return result, out


def test_all_files_of_a_search_carry_one_record(searched: tuple[Any, Path]) -> None:
    result, out = searched
    expected = read_provenance(out / "record.json")
    assert expected["model"] == "tinyParT"
    assert expected["digest"] == jt.load_bundle("tinyParT").digest
    assert expected["where"] == "pt > 220 and abs(eta) < 2.2"
    assert [Path(path).name for path in expected["files"]] == ["tt1.root", "tt2.root", "X1.root", "run.root"]
    assert expected["columns"]["probHbb"] == "tinyParT_probHbb"
    assert expected["configuration"]["file"].endswith("search.yaml")
    assert expected["step"] == "search"
    files = [path for path in out.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".root", ".txt", ".md", ".tex"}
    for path in files:
        if path.suffix in (".txt", ".md", ".tex"):
            assert path.read_text().splitlines()[-1].lstrip("#% ") == str(result.provenance)
        else:
            assert read_provenance(path) == expected, path
    assert "4 files" in str(result.provenance)


def test_limits_carry_the_record_of_their_search(tmp_path: Path) -> None:
    pytest.importorskip("pyhf", reason="the extra stats is not installed")
    made = hist.Hist.new.StrCat([], growth=True, name="dataset").StrCat([], growth=True, name="region")
    counts = made.StrCat([], growth=True, name="variation").Reg(2, 0, 1, name="x").Weight()
    for dataset, events in (("qcd", 400), ("x", 40)):
        counts.fill(dataset=dataset, region="SR", variation="nominal", x=np.linspace(0.01, 0.99, events), weight=0.5)
    spec = TemplateSpec({"qcd": ["qcd"]}, {"X": Signal(["x"], 1000, 0.1)})
    build(counts, spec).save(tmp_path, provenance=MADE)
    assert main(["limit", str(tmp_path), "--no-plot"]) == 0
    expected = MADE.then("limit")
    assert read_provenance(tmp_path / "limits.json") == expected.to_dict()
    assert (tmp_path / "limits.txt").read_text().splitlines()[-1] == str(expected)
    (tmp_path / "templates.json").write_text(without(tmp_path / "templates.json"))
    assert list(load_workspaces(tmp_path)[0]) == ["X"]  # of a version that wrote no record
    assert Provenance.of_file(tmp_path / "templates.json").then("limit") == Provenance("limit")


def test_a_workspace_that_was_changed_does_not_have_the_record(searched: tuple[Any, Path], tmp_path: Path) -> None:
    _, out = searched
    (tmp_path / "templates.json").write_bytes((out / "templates.json").read_bytes())
    workspace = tmp_path / "workspace_X1.json"
    text = (out / "workspace_X1.json").read_text()
    workspace.write_text(text)
    assert read_provenance(workspace) == read_provenance(out / "record.json")
    workspace.write_text(text.replace("400.0", "401.0", 1))
    assert workspace.read_text() != text
    assert read_provenance(workspace) == {}
    (tmp_path / "templates.json").unlink()
    assert read_provenance(workspace) == {}


# ---------------------------------------------------------------------------------------- other ways


def test_a_converted_file_says_what_it_comes_from(shared: Path, tmp_path: Path) -> None:
    source = str(shared / "sophon/events_delphes_example.root")
    for name in ("jets.root", "jets.parquet"):
        convert_delphes(source, tmp_path / name)
        record = read_provenance(tmp_path / name)
        assert record["step"] == "convert"
        assert record["files"] == [source]
        assert record["configuration"] == {"format": "delphes", "jets": None}
        assert "model" not in record


def test_a_histogram_of_a_skim_has_the_model_of_the_skim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example of the page on formats."""
    monkeypatch.chdir(tmp_path)
    (block,) = blocks("docs/formats.md", "python")
    exec(compile(block, "docs/formats.md", "exec"), {"__name__": "document"})
    record = read_provenance("histograms.json")
    assert record["step"] == "histograms"
    assert record["digest"] == jt.load_bundle("tinyParT").digest
    assert record["files"] == ["skim.parquet"]
    assert histograms.load("histograms.json")[0]["mass"].sum(flow=True).value > 20


def test_the_shell_prints_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [str(path) for path in a_skim(tmp_path)]
    assert main(["provenance", paths[0]]) == 0
    assert json.loads(capsys.readouterr().out) == MADE.to_dict()
    assert main(["provenance", *paths]) == 0
    assert json.loads(capsys.readouterr().out) == {path: MADE.to_dict() for path in paths}
    (tmp_path / "mine.json").write_text("{}")
    assert main(["provenance", paths[0], str(tmp_path / "mine.json")]) == 2
    assert "mine.json: no record of how it was made" in capsys.readouterr().err
    assert main(["provenance", str(tmp_path / "mine.txt")]) == 2
    assert "expected a file .parquet, .root, .h5, .hdf5, .json or .json.gz" in capsys.readouterr().err


# ---------------------------------------------------------------------------------------- older and damaged files


def without(path: Path) -> str:
    """The content of a JSON file as a version before the record wrote it."""
    return json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key != KEY})


def test_older_files_are_read_and_say_nothing(tmp_path: Path) -> None:
    histograms.save({"x": histogram()}, tmp_path / "h.json", {"by": "hand"})
    assert read_provenance(tmp_path / "h.json")["step"] == "histograms"
    (tmp_path / "h.json").write_text(without(tmp_path / "h.json"))
    kept, record = histograms.load(tmp_path / "h.json")
    assert histograms.equal(kept["x"], histogram())
    assert record == {"by": "hand"}
    assert read_provenance(tmp_path / "h.json") == {}
    assert Provenance.of_file(tmp_path / "h.json") == Provenance("", version="")
    old = {"jettagger": "0.2.0", "model": "M", "model_version": "1", "digest": "d", "where": None, "files": ["a.root"]}
    write_skim(tmp_path / "old.parquet", [{"x": np.arange(3)}], json.dumps(old))
    assert Provenance.of_file(tmp_path / "old.parquet") == Provenance(
        "", Origin("M", "d"), "1", files=("a.root",), version="0.2.0"
    )
    with uproot.recreate(tmp_path / "old.root") as file:
        file["x"] = np.histogram([0.5], bins=2)
    assert read_provenance(tmp_path / "old.root") == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"files": "a.root"}, "'files' is 'a.root', expected a list"),
        ({"columns": []}, r"'columns' is \[\], expected an object"),
        ({"jettagger": 1}, "'jettagger' is 1, expected text"),
        ({"model": "M", "digest": "d", "heads": {"H": 1}}, "'heads' is"),
        ({"generated": {"a": 1}}, "generated events"),
    ],
)
def test_a_damaged_record_is_one_error(content: dict[str, Any], message: str) -> None:
    with pytest.raises(InputFileError, match=message):
        Provenance.from_dict(content)


def test_a_damaged_compressed_file_is_one_error(tmp_path: Path) -> None:
    histograms.save({"x": histogram()}, tmp_path / "h.json.gz")
    content = (tmp_path / "h.json.gz").read_bytes()
    (tmp_path / "h.json.gz").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputFileError, match=r"h\.json\.gz"):
        read_provenance(tmp_path / "h.json.gz")


def test_the_name_of_the_note_is_taken(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the name 'jettagger' is that of the note"):
        histograms.to_root({"jettagger": histogram()}, tmp_path / "h.root", "{histogram}")
    assert not (tmp_path / "h.root").exists()


text = st.text(max_size=8)


@given(
    made=st.builds(
        Provenance,
        step=text,
        origin=st.none() | st.builds(Origin, text, text, st.dictionaries(text, text, max_size=2)),
        model_version=text,
        columns=st.dictionaries(text, text, max_size=2),
        where=st.none() | st.text(min_size=1, max_size=8),
        files=st.lists(text, max_size=3).map(tuple),
        skipped=st.dictionaries(text, text, max_size=2),
        generated=st.lists(
            st.builds(
                lambda n, total: GeneratedFile("a", n, 0, n, {"genEventSumw": [total]}),
                st.integers(0, 9),
                st.floats(-9, 9),
            ),
            max_size=2,
        ).map(tuple),
        configuration=st.dictionaries(text, st.integers() | text, max_size=2),
        version=text,
    )
)  # fmt: skip
def test_a_record_is_read_as_it_was_written(made: Provenance) -> None:
    expected = made if made.origin is not None else replace(made, model_version="")
    assert Provenance.from_dict(json.loads(made.text)) == expected
    assert str(made)
