"""Data sets from events: the maker, the processor on its executors, and the command give the same file."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from assignments import EXAMPLES, top_pair_file
from clusters import local_cluster

from jettagger.assignment.datasets import AssignmentDataset
from jettagger.assignment.making import InputCounts, InputMaker, make_inputs
from jettagger.cli import main
from jettagger.errors import ConfigError, InvalidValues, MismatchError, OutputError
from jettagger.files.root import EventFile
from jettagger.inputs.event_tensors import event_tensors
from jettagger.provenance import read_provenance

h5py = pytest.importorskip("h5py", reason="extra hdf5 is not installed")
processor = pytest.importorskip("coffea.processor")

PARTS = ("values", "masks", "targets", "target_masks", "weights", "regressions", "classifications")


def maker(name: str = "tthad", change: tuple[str, str] = ("", "")) -> InputMaker:
    from jettagger.topology.eventfile import read_event_file
    from jettagger.topology.mapping import parse_mapping

    event = read_event_file(EXAMPLES / name / "event.yaml")
    text = (EXAMPLES / name / "inputs.yaml").read_text()
    assert change[0] in text
    return InputMaker(event, parse_mapping(text.replace(*change), event))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("events")
    return [str(top_pair_file(folder / f"{k}.root", 40, seed=k, first=1 + 100 * k)) for k in (1, 2)]


def run(instance: Any, files: dict[str, list[str]], executor: Any, chunk: int = 25) -> Any:
    from coffea.nanoevents import NanoAODSchema

    runner = processor.Runner(executor, schema=NanoAODSchema, chunksize=chunk, savemetrics=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # coffea's, about missing cross-references
        return runner(files, instance, treename="Events")


def content(path: Path, name: str = "tthad") -> dict[str, Any]:
    events = AssignmentDataset(path, EXAMPLES / name / "event.yaml").read()
    return {f"{part} {key}": array for part in PARTS for key, array in getattr(events, part).items()}


def equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert set(one) == set(other)
    for key, array in one.items():
        assert array.dtype == other[key].dtype
        np.testing.assert_array_equal(array, other[key], key)


@pytest.fixture(scope="module")
def reference(files: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, InputCounts]:
    from jettagger.processors import AssignmentInputsProcessor

    path = tmp_path_factory.mktemp("sets") / "iterative.h5"
    example = EXAMPLES / "tthad"
    instance = AssignmentInputsProcessor(path, example / "event.yaml", example / "inputs.yaml")
    result = run(instance, {"tt": files}, processor.IterativeExecutor(status=False))
    assert sorted(item.name for item in path.parent.iterdir()) == ["iterative.h5"]
    return path, result["tt"]


def test_a_file_has_the_tensors_of_its_events(files: list[str], reference: tuple[Path, InputCounts]) -> None:
    path, counts = reference
    made = maker()
    columns = made.check(EventFile(files[0]))
    values, masks, kept = [], [], 0
    for file in files:
        tensors = event_tensors(EventFile(file).read(columns), made.mapping, made.event)
        enough = tensors.counts["Jets"] >= 6
        values.append(tensors.values["Jets"][enough])
        masks.append(tensors.masks["Jets"][enough])
        kept += int(np.sum(enough))
    found = content(path)
    assert found["values Jets"].tobytes() == np.concatenate(values).tobytes()
    np.testing.assert_array_equal(found["masks Jets"], np.concatenate(masks))
    assert (counts.events, counts.written, counts.too_few) == (80, kept, {"Jets": 80 - kept})
    assert 20 < kept < 80
    matched = found["target_masks t1"] & found["target_masks t2"]
    assert sum(counts.matching.matched["all"].values()) == np.sum(matched)
    assert np.sum(matched) > 10
    with h5py.File(path) as file:  # the layout of the original
        assert file["INPUTS/Jets/MASK"].shape == (kept, 12)
        assert file["TARGETS/t2/q1"].dtype.kind == "i"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["futures", "dask"])
def test_executors_give_the_same_file(
    name: str, reference: tuple[Path, InputCounts], files: list[str], tmp_path: Path
) -> None:
    from jettagger.processors import AssignmentInputsProcessor

    example = EXAMPLES / "tthad"
    instance = AssignmentInputsProcessor(tmp_path / "set.h5", example / "event.yaml", example / "inputs.yaml")
    if name == "futures":
        result = run(instance, {"tt": files[::-1]}, processor.FuturesExecutor(workers=2, status=False))
    else:
        with local_cluster(tmp_path / "dask", workers=1, threads=2, processes=False) as client:
            result = run(instance, {"tt": files[::-1]}, processor.DaskExecutor(client=client, status=False))
    equal(content(tmp_path / "set.h5"), content(reference[0]))
    assert result["tt"] == reference[1]


def test_files_without_coffea_give_the_same(
    reference: tuple[Path, InputCounts], files: list[str], tmp_path: Path
) -> None:
    counts = make_inputs({"tt": files}, tmp_path / "set.h5", maker(), events_per_block=33)
    equal(content(tmp_path / "set.h5"), content(reference[0]))
    assert counts == reference[1]


def test_parquet_has_the_same_numbers(reference: tuple[Path, InputCounts], files: list[str], tmp_path: Path) -> None:
    make_inputs({"tt": files}, tmp_path / "set.parquet", maker(), events_per_block=33)
    table = ak.from_parquet(tmp_path / "set.parquet")
    expected = content(reference[0])
    mask = expected["masks Jets"]
    for place, feature in enumerate(("mass", "pt", "eta", "sin_phi", "cos_phi", "btag")):
        lists = table[f"INPUTS/Jets/{feature}"]
        np.testing.assert_array_equal(ak.to_numpy(ak.flatten(lists)), expected["values Jets"][..., place][mask])
        np.testing.assert_array_equal(ak.num(lists), mask.sum(axis=1))
    for place, daughter in enumerate(("b", "q1", "q2")):
        np.testing.assert_array_equal(table[f"TARGETS/t1/{daughter}"], expected["targets t1"][:, place])
    np.testing.assert_array_equal(table["TARGETS/t1/WEIGHT"], expected["weights t1"])


def test_weights_of_events_may_be_negative_those_of_particles_may_not(files: list[str], tmp_path: Path) -> None:
    text = "genWeight * (1 - 2 * (event % 2))"
    weighted = maker(change=("  weight: genWeight\n", f"  event_weight: {text}\n"))
    make_inputs({"tt": files}, tmp_path / "set.h5", weighted, events_per_block=33)
    events = AssignmentDataset(tmp_path / "set.h5", weighted.event).read()
    weights = events.event_weights["EVENT"]
    assert (weights > 0).any()
    assert (weights < 0).any()
    assert (events.weights["t1"] == 1).all()
    make_inputs({"tt": files}, tmp_path / "set.parquet", weighted)
    np.testing.assert_array_equal(ak.from_parquet(tmp_path / "set.parquet")["WEIGHTS/EVENT"], weights)
    of_particles = maker(change=("  weight: genWeight\n", f"  weight: {text}\n"))
    with pytest.raises(InvalidValues, match=r"the weight is -.* negative weights are for event_weight"):
        make_inputs({"tt": files}, tmp_path / "other.h5", of_particles)
    assert not (tmp_path / "other.h5").exists()


def test_outputs_say_how_they_were_made(files: list[str], reference: tuple[Path, InputCounts], tmp_path: Path) -> None:
    make_inputs({"tt": files}, tmp_path / "set.parquet", maker())
    for path in (tmp_path / "set.parquet", reference[0]):
        record = read_provenance(path)
        assert record["step"] == "assignment inputs"
        assert [Path(file).name for file in record["files"]] == ["1.root", "2.root"]
        assert record["configuration"]["mapping"]["inputs"]["Jets"]["collection"] == "Jet"


@pytest.mark.parametrize("size", [10, 10_000])
def test_classes_of_data_sets_are_mixed(size: int, tmp_path: Path) -> None:
    change = ("    h:\n      select: pdgId == 25\n", "    h:\n      select: pdgId == 24\n")
    made = maker("ttH", change)
    one = top_pair_file(tmp_path / "one.root", 30, leptonic=True)
    two = top_pair_file(tmp_path / "two.root", 60, seed=2, leptonic=True)
    counts = make_inputs({"ttHbb": [one], "ttbb": [two]}, tmp_path / "set.h5", made, events_per_block=size)
    found = content(tmp_path / "set.h5", "ttH")
    classes = found["classifications EVENT/signal"]
    assert counts.written == len(classes)
    share = classes.mean()
    for tenth in np.array_split(classes, 10):
        assert abs(tenth.sum() - share * len(tenth)) <= 1
    assert found["masks Electron"].all()
    assert not found["masks Muon"].any()
    assert not found["target_masks h"].any()
    with pytest.raises(ConfigError, match="'EVENT/signal': unknown data set: 'tth'"):
        make_inputs({"tth": [one]}, tmp_path / "other.h5", made)


def test_a_file_without_labels_and_one_without_events(files: list[str], tmp_path: Path) -> None:
    text = (EXAMPLES / "tthad" / "inputs.yaml").read_text().partition("targets:")[0] + "select: event < 130\n"
    (tmp_path / "inputs.yaml").write_text(text)
    unlabelled = InputMaker(EXAMPLES / "tthad" / "event.yaml", tmp_path / "inputs.yaml")
    counts = make_inputs({"": files}, tmp_path / "set.h5", unlabelled)
    assert (counts.events, counts.not_selected) == (80, 80 - 29)
    data = AssignmentDataset(tmp_path / "set.h5", unlabelled.event, labels=False)
    assert data.n_events == counts.written
    for suffix in (".h5", ".parquet"):
        (tmp_path / "inputs.yaml").write_text(text.replace("event < 130", "event < 0"))
        nothing = InputMaker(EXAMPLES / "tthad" / "event.yaml", tmp_path / "inputs.yaml")
        assert make_inputs({"": files}, tmp_path / f"none{suffix}", nothing).written == 0
        assert (tmp_path / f"none{suffix}").is_file()


def test_outputs_are_complete_or_absent(files: list[str], reference: tuple[Path, InputCounts], tmp_path: Path) -> None:
    from jettagger.processors import AssignmentInputsProcessor

    example = EXAMPLES / "tthad"
    with pytest.raises(OutputError, match="exists already"):
        AssignmentInputsProcessor(reference[0], example / "event.yaml", example / "inputs.yaml")
    with pytest.raises(ConfigError, match=r"suffix '.hdf', expected|nearest: .hdf5"):
        make_inputs({"": files}, tmp_path / "set.hdf", maker())
    with pytest.raises(MismatchError, match="given twice"):
        make_inputs({"": files, "b": files[:1]}, tmp_path / "set.h5", maker())
    change = ("max_objects: 12", "max_objects: 12\n    fill: {btag: -5}")
    broken = maker("tthad", change)
    broken.mapping.inputs["Jets"].features["mass"] = "log(mass - 5)"  # not finite in some event
    for suffix in (".h5", ".parquet"):
        with pytest.raises(Exception, match=r"feature 'mass' of the input 'Jets' is None or NaN in .* event number"):
            make_inputs({"": files}, tmp_path / f"set{suffix}", broken)
    assert list(tmp_path.iterdir()) == []


def test_the_command(files: list[str], reference: tuple[Path, InputCounts], tmp_path: Path, capsys: Any) -> None:
    event = str(EXAMPLES / "tthad" / "event.yaml")
    output = tmp_path / "set.h5"
    assert main(["assignment", "inputs", *files, "--event", event, "-o", str(output), "--dry-run"]) == 0
    assert "80 events in 2 files; columns: GenPart.eta" in capsys.readouterr().out
    assert not output.exists()
    assert main(["assignment", "inputs", f"tt={files[0]}", files[1], "--event", event, "-o", str(output)]) == 0
    said = capsys.readouterr().out
    assert "matched / generated" in said
    assert "tag Jets.btag: drawn with the efficiencies 0.7" in said
    equal(content(output), content(reference[0]))
    assert main(["assignment", "inputs", *files, "--event", event, "-o", str(output)]) != 0
    assert "exists already; use --force" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["tthad", "ttsemilep", "ttH"])
def test_examples_read_events(name: str, tmp_path: Path) -> None:
    made = maker(name)
    file = top_pair_file(tmp_path / "events.root", 20, leptonic=name != "tthad")
    counts = make_inputs({"ttHbb": [file]}, tmp_path / "set.h5", made)
    assert counts.written > 5
    found = content(tmp_path / "set.h5", name)
    first = made.event.particles[0].name
    assert found[f"target_masks {first}"].any()
    if name == "ttsemilep":
        assert np.isfinite(found["regressions EVENT/neutrino_px"]).all()
        assert (found["regressions EVENT/mass"] > 345).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "process"),
    [("tthad", "tthad-resolved"), ("ttsemilep", "ttsemilep-resolved"), ("ttH", "ttHbbsemilep-resolved")],
)
def test_examples_read_simulated_events(name: str, process: str, tmp_path: Path) -> None:
    pytest.importorskip("pythia8mc", reason="extra sim is not installed")
    from jettagger.simulation import simulate

    simulate(process, 60, tmp_path / "events.root", seed=3)
    made = maker(name)
    counts = make_inputs({"ttHbb": [tmp_path / "events.root"]}, tmp_path / "set.h5", made)
    assert counts.events == 60
    assert counts.written > 15
    for particle in made.event.particles:
        assert sum(counts.matching.generated[particle.name].values()) >= 0.95 * counts.written
        assert counts.matching.efficiency(particle.name) > 0.2
