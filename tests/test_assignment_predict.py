"""Assignments for files: tables of events, predictions in the original's layout, and the commands."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pyarrow.parquet
import pytest
import uproot
from assigners import MAPPING, assigner_folder, jet_events, raw_folder

import jettagger as jt
from jettagger.cli import main
from jettagger.errors import ConfigError, InputFileError, MismatchError, MissingColumns, OutputError
from jettagger.files.resuming import ResumeWarning, resume_folder
from jettagger.files.root import write_tree
from jettagger.provenance import Provenance, read_provenance
from jettagger.skims.resume import finished_inputs
from jettagger.studies import PredictionPlan, plan_predictions, predict_events


def write_events(path: Path, events: Any) -> str:
    columns = {f"Jet_{name}": events.Jet[name] for name in events.Jet.fields}
    write_tree(path, [columns | {"MET_pt": events.MET.pt, "MET_phi": events.MET.phi, "event": events.event}], note="{}")
    return str(path)


def alike(one: list[Any], other: list[Any]) -> None:
    """Equal numbers, None in the same places."""
    left, right = (np.array([np.nan if value is None else value for value in values]) for values in (one, other))
    np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-9)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files of events, and a network that takes six jets of the eight that the mapping selects."""
    place = tmp_path_factory.mktemp("predict")
    assigner_folder(place, slots=6)
    for number in (1, 2):
        write_events(place / f"{number}.root", jet_events(20, seed=number))
    return place


@pytest.fixture(scope="module")
def expected(folder: Path) -> Any:
    events = ak.concatenate([jet_events(20, seed=number) for number in (1, 2)])
    with pytest.warns(UserWarning, match="lose objects"):
        return jt.load_assigner(folder / "net", threads=1).attach(events)


pytestmark = pytest.mark.filterwarnings("ignore:.*events lose objects:UserWarning")


@pytest.mark.parametrize("suffix", ["parquet", "root"])
def test_tables_of_events(suffix: str, folder: Path, expected: Any, tmp_path: Path) -> None:
    output = tmp_path / f"out.{suffix}"
    plan = plan_predictions(folder / "net", [folder / "1.root", folder / "2.root"], output)
    assert (plan.n_events, plan.slots) == (40, {"Jets": 8})
    assert "Jet.btagDeepFlavB" in plan.columns
    seen: list[int] = []
    report = predict_events(plan, size=7, progress=seen.append)
    assert (report.events, sum(seen), max(seen)) == (40, 40, 7)
    assert report.cut["Jets"] == np.count_nonzero(ak.sum(expected.Jet.pt > 25, axis=1) > 6)
    if suffix == "parquet":
        table = pyarrow.parquet.read_table(output)
        columns = {name: table[name].to_pylist() for name in table.column_names}
    else:
        with uproot.open(output) as file:
            columns = file["Events"].arrays(library="ak")
            columns = {name: ak.to_list(ak.nan_to_none(columns[name])) for name in columns.fields}
    assert columns["event"] == ak.to_list(expected.event)
    for particle in ("lt", "ht", "h"):
        record = expected[f"assigned_{particle}"]
        for name in record.fields:
            alike(columns[f"assigned_{particle}_{name}"], ak.to_list(record[name]))
    assert columns["assigned_EVENT_signal_0"][0] is None
    scores = [None if pair is None else pair[1] for pair in ak.to_list(expected.assigned.EVENT_signal)]
    alike(columns["assigned_EVENT_signal_1"], scores)


def test_outputs_say_how_they_were_made(folder: Path, tmp_path: Path) -> None:
    plan = plan_predictions(folder / "net", [folder / "1.root"], tmp_path / "out.parquet")
    predict_events(plan)
    assert read_provenance(tmp_path / "out.parquet")["digest"] == plan.assigner.model.digest
    record = Provenance.of_file(tmp_path / "out.parquet")
    assert record.step == "assign"
    assert record.origin is not None
    assert record.origin.digest == plan.assigner.model.digest
    assert record.configuration["method"] == "greedy"
    assert record.files == (str(folder / "1.root"),)


def test_events_become_predictions_and_these_again(folder: Path, expected: Any, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    plan = plan_predictions(folder / "net", [folder / "1.root", folder / "2.root"], tmp_path / "predict.h5")
    predict_events(plan, size=9)
    again = plan_predictions(folder / "net", [tmp_path / "predict.h5"], tmp_path / "again.h5")
    assert (again.columns, again.n_events) == ((), 40)
    predict_events(again, size=40)
    with h5py.File(tmp_path / "predict.h5") as one, h5py.File(tmp_path / "again.h5") as other:
        names: list[str] = []
        one.visit(lambda name: names.append(name) if hasattr(one[name], "shape") else None)
        assert {
            "INPUTS/Jets/MASK",
            "TARGETS/ht/q2",
            "TARGETS/h/marginal_probability",
            "REGRESSIONS/EVENT/neutrino_px",
        } <= {*names}
        for name in names:
            np.testing.assert_allclose(one[name][:], other[name][:], rtol=1e-4, atol=1e-7)
        assert one["CLASSIFICATIONS/EVENT/signal"].shape == (40, 2)
        assert one["TARGETS/ht/b"].dtype == np.int64
        # slots of the data set: jets that pass the selection, in the order of their pt
        order = ak.argsort(-expected.Jet.pt[expected.Jet.pt > 25], axis=1)
        chosen = ak.local_index(expected.Jet.pt)[expected.Jet.pt > 25][order]
        slots = one["TARGETS/ht/b"][:]
        own = [None if slot < 0 else chosen[event][slot] for event, slot in enumerate(slots)]
        assert own == ak.to_list(expected.assigned_ht.bIdx)
        assert json.loads(one.attrs["jettagger"])["step"] == "assign"


def test_embeddings_go_to_hdf5(tmp_path: Path) -> None:
    net = assigner_folder(tmp_path, embeddings=True)
    path = write_events(tmp_path / "a.root", jet_events(8))
    table = plan_predictions(net, [path], tmp_path / "out.parquet")
    with pytest.raises(ConfigError, match=r"\.h5 alone"):
        predict_events(table, embeddings=True)
    h5py = pytest.importorskip("h5py")
    predict_events(plan_predictions(net, [path], tmp_path / "out.h5"), embeddings=True)
    with h5py.File(tmp_path / "out.h5") as file:
        assert file["EMBEDDINGS/EVENT"].shape == (8, 2)


def test_files_and_outputs_that_do_not_fit(folder: Path, tmp_path: Path) -> None:
    net, events = folder / "net", folder / "1.root"
    with pytest.raises(MismatchError, match="no files"):
        plan_predictions(net, [], tmp_path / "out.parquet")
    with pytest.raises(MismatchError):
        plan_predictions(net, [events, events], tmp_path / "out.parquet")
    with pytest.raises(MismatchError, match="one kind"):
        plan_predictions(net, [events, tmp_path / "a.h5"], tmp_path / "out.h5")
    with pytest.raises(ConfigError, match=r"\.parquet or \.root"):
        plan_predictions(net, [events], tmp_path / "out.csv")
    with pytest.raises(ConfigError, match=r"written as \.h5"):
        plan_predictions(net, [tmp_path / "a.h5"], tmp_path / "out.parquet")
    with pytest.raises(InputFileError):
        plan_predictions(net, [tmp_path / "absent.root"], tmp_path / "out.parquet")
    with pytest.raises(OutputError, match="does not exist"):
        plan_predictions(net, [events], tmp_path / "absent" / "out.h5")
    with pytest.raises(MismatchError, match="a prefix of letters"):
        predict_events(plan_predictions(net, [events], tmp_path / "out.parquet"), prefix="a b")
    (tmp_path / "out.h5").touch()
    with pytest.raises(OutputError, match="exists already"):
        plan_predictions(net, [events], tmp_path / "out.h5")
    few = jet_events(4)
    few = ak.with_field(few, few.Jet[["pt", "eta", "phi", "mass"]], "Jet")
    with pytest.raises(MissingColumns, match="btagDeepFlavB"):
        plan_predictions(net, [write_events(tmp_path / "few.root", few)], tmp_path / "out.parquet")


def test_nothing_is_left_after_an_error(folder: Path, tmp_path: Path) -> None:
    plan = plan_predictions(folder / "net", [folder / "1.root"], tmp_path / "out.parquet")

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_events(plan, size=5, progress=stop)
    assert not list(tmp_path.iterdir())


def stopped(plan: PredictionPlan, after: int, **more: Any) -> None:
    """A run that is interrupted when so many events are written."""
    seen = 0

    def stop(events: int) -> None:
        nonlocal seen
        seen += events
        if seen >= after:
            raise KeyboardInterrupt

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResumeWarning)
        with pytest.raises(KeyboardInterrupt):
            predict_events(plan, size=8, resume=True, progress=stop, **more)
    assert not plan.output.exists()


def went_on(plan: PredictionPlan, **more: Any) -> tuple[Any, list[str]]:
    """The report of a run that goes on, and what it says about it."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", ResumeWarning)
        report = predict_events(plan, size=8, resume=True, **more)
    return report, [str(one.message).partition(": ")[2] for one in said if one.category is ResumeWarning]


def hdf5_content(path: Path) -> dict[str, bytes]:
    h5py = pytest.importorskip("h5py")
    found: dict[str, bytes] = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: found.setdefault(name, item[:].tobytes()) if hasattr(item, "shape") else None
        )
    return found


@pytest.mark.parametrize("suffix", ["parquet", "h5"])
def test_an_interrupted_run_goes_on_with_the_same_output(suffix: str, folder: Path, tmp_path: Path) -> None:
    if suffix == "h5":
        pytest.importorskip("h5py")
    files = [folder / "1.root", folder / "2.root", tmp_path / "3.root"]
    write_events(files[2], jet_events(10, seed=3))
    (tmp_path / "a").mkdir()
    plan, other = (plan_predictions(folder / "net", files, tmp_path / at / f"o.{suffix}") for at in ("a", "."))
    whole = predict_events(other, size=8)
    stopped(plan, 30)
    assert [path.name for path in (tmp_path / "a").iterdir()] == [f"o.{suffix}.resume"]
    assert finished_inputs(plan.output) == 1
    stopped(plan, 45)  # a second time
    report, said = went_on(plan)
    assert said == ["2 of 3 inputs were finished by an earlier run and are taken from there"]
    assert [path.name for path in (tmp_path / "a").iterdir()] == [f"o.{suffix}"]
    assert replace(report, seconds=0) == replace(whole, seconds=0)
    if suffix == "h5":
        assert hdf5_content(plan.output) == hdf5_content(other.output)
    else:
        assert plan.output.read_bytes() == other.output.read_bytes()


def test_predictions_for_data_sets_go_on(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    files = []
    for number in (1, 2):
        files.append(tmp_path / f"{number}.h5")
        predict_events(plan_predictions(folder / "net", [folder / f"{number}.root"], files[-1]))
    (tmp_path / "a").mkdir()
    plan, other = (plan_predictions(folder / "net", files, tmp_path / at / "o.h5") for at in ("a", "."))
    predict_events(other, size=8)
    stopped(plan, 24)
    _, said = went_on(plan)
    assert said == ["1 of 2 inputs were finished by an earlier run and are taken from there"]
    assert hdf5_content(plan.output) == hdf5_content(other.output)


@pytest.mark.parametrize("change", ["method", "prefix", "file", "function"])
def test_after_a_change_nothing_is_taken_from_an_earlier_run(change: str, folder: Path, tmp_path: Path) -> None:
    files = [tmp_path / "1.root", tmp_path / "2.root"]
    for seed, path in enumerate(files):
        write_events(path, jet_events(10, seed=seed))
    output = tmp_path / "o.parquet"
    method: Any = jt.load_assigner(folder / "net").options.method
    if change == "function":
        method = one_jet
    plan = plan_predictions(jt.load_assigner(folder / "net", threads=1, method=method), files, output)
    stopped(plan, 20)
    assert finished_inputs(output) == (change != "function")
    if change == "function":  # whose content is not known
        assert not resume_folder(output).exists()
        return
    if change == "file":
        write_events(files[0], jet_events(10, seed=7))
    method = "best" if change == "method" else method
    plan = plan_predictions(jt.load_assigner(folder / "net", threads=1, method=method), files, output)
    _, said = went_on(plan, prefix="other" if change == "prefix" else "assigned")
    assert said == ["1 finished inputs are dropped: files, model, options or code have changed since"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.root", "2.root", "o.parquet"]


def one_jet(log_probabilities: Any) -> dict[str, np.ndarray]:
    """No assignment."""
    return {name: np.full((len(values), values.ndim - 1), -1) for name, values in log_probabilities.items()}


@pytest.mark.filterwarnings("always::jettagger.files.resuming.ResumeWarning")
def test_the_command_goes_on(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(folder / "1.root"), str(folder / "2.root")]
    output = tmp_path / "o.parquet"
    command = ["assignment", "predict", *files, f"--model={folder}/net", "--threads=1", "--events=8", "-o", str(output)]
    stopped(plan_predictions(jt.load_assigner(folder / "net", threads=1), files, output), 24)
    assert main([*command, "--dry-run"]) == 0
    assert finished_inputs(output) == 1
    assert main(command) == 0
    assert "1 of 2 inputs were finished by an earlier run" in capsys.readouterr().err
    stopped(plan_predictions(jt.load_assigner(folder / "net", threads=1), files, tmp_path / "b.parquet"), 24)
    assert main([*command[:-1], str(tmp_path / "b.parquet"), "--no-resume"]) == 0
    assert "earlier run" not in capsys.readouterr().err
    assert output.read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.parquet", "o.parquet"]


def test_an_interrupted_command_says_what_is_kept(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(folder / "1.root"), str(folder / "2.root")]
    calls: list[int] = []
    real = jt.assignment.Assigner.answer

    def answer(self: Any, *given: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return real(self, *given, **named)

    monkeypatch.setattr(jt.assignment.Assigner, "answer", answer)
    output = tmp_path / "o.parquet"
    assert main(["assignment", "predict", *files, f"--model={folder}/net", "-o", str(output)]) == 130
    assert f"1 finished inputs are kept in {output}.resume: the same command goes on" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["o.parquet.resume"]


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = raw_folder(tmp_path / "raw", slots=6)
    (tmp_path / "mapping.yaml").write_text(MAPPING)
    importing = [
        "assignment",
        "import",
        str(raw / "model.onnx"),
        f"--event={raw}/event.yaml",
        "-o",
        str(tmp_path / "net"),
    ]
    assert main(importing) == 2
    assert "--input-log" in capsys.readouterr().err
    assert main([*importing, "--input-log=yes", f"--mapping={tmp_path}/mapping.yaml"]) == 0
    said = capsys.readouterr().out
    assert "assigns lt, ht, h; ln(x + 1) is taken by the network" in said
    path = write_events(tmp_path / "a.root", jet_events(12))
    predicting = ["assignment", "predict", path, f"--model={tmp_path}/net", "-o", str(tmp_path / "out.parquet")]
    assert main([*predicting, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "12 events in 1 files" in said
    assert "Jets: 8 slots are cut to 6" in said
    assert not (tmp_path / "out.parquet").exists()
    assert main([*predicting, "--method=best", "--threads=1"]) == 0
    assert "ht not assigned" in capsys.readouterr().out
    assert Provenance.of_file(tmp_path / "out.parquet").configuration["method"] == "best"
    assert main([*importing, "--input-log=yes", "--slots=Jets=seven", "--force"]) == 2
    assert main([*importing, "--input-log=yes", "--slots=Jets=7", "--force"]) == 2
    assert "exactly 6 objects of Jets" in capsys.readouterr().err
