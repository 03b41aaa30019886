"""The processor of masses from assigned jets: the same for any chunks, further methods beside the network."""

from __future__ import annotations

import runpy
import warnings
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from assigners import assigner_folder, jet_events

from jettagger.errors import ConfigError, UnknownName
from jettagger.files.root import write_tree
from jettagger.histograms import load

processor = pytest.importorskip("coffea.processor")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network and a file of events."""
    place = tmp_path_factory.mktemp("masses")
    assigner_folder(place)
    events = jet_events(60)
    columns = {f"Jet_{name}": events.Jet[name] for name in events.Jet.fields}
    columns |= {name: ak.Array([1] * 60) for name in ("run", "luminosityBlock")}
    columns |= {"MET_pt": events.MET.pt, "MET_phi": events.MET.phi, "event": events.event, "weight": events.weight}
    write_tree(place / "events.root", [columns], note="{}")
    return place


def run(instance: Any, folder: Path, chunk: int) -> Any:
    from coffea.nanoevents import NanoAODSchema

    executor = processor.IterativeExecutor(status=False)
    runner = processor.Runner(executor, schema=NanoAODSchema, chunksize=chunk, savemetrics=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # coffea's, about missing cross-references
        return runner({"tt": [str(folder / "events.root")]}, instance, treename="Events")


def first_jets(request: Any) -> dict[str, np.ndarray]:
    """The three leading jets as the top, where there are as many."""
    enough = request.tensors.masks["Jets"][:, 2]
    return {"ht": np.where(enough[:, np.newaxis], np.arange(3), -1)}


def test_chunks_give_the_same_masses(folder: Path) -> None:
    from jettagger.processors import AssignmentProcessor

    instance = AssignmentProcessor(folder / "net", methods={"leading": first_jets})
    whole, parts = run(instance, folder, 60), run(instance, folder, 13)
    assert instance.particles == ("ht", "h")
    assert whole["reports"] == parts["reports"]
    assert whole["missing"] == parts["missing"]
    assert whole["histograms"] == parts["histograms"]
    assert whole["reports"]["tt"].events == 60
    for name in ("ht", "h"):
        absent = whole["missing"]["tt"]["network"][name]
        total = whole["histograms"][name][{"method": "network"}].sum(flow=True).value
        assert total == 60 - absent
    assert sorted(whole["histograms"]["ht"].axes["method"]) == ["leading", "network"]
    assert list(whole["histograms"]["h"].axes["method"]) == ["network"]


def test_weights_and_names(folder: Path) -> None:
    from jettagger.processors import AssignmentProcessor

    weighted = run(AssignmentProcessor(folder / "net", weight="weight"), folder, 60)
    assert weighted["histograms"]["ht"].sum(flow=True).value < 60
    with pytest.raises(UnknownName, match="nearest: ht"):
        AssignmentProcessor(folder / "net", particles=["htt"])
    with pytest.raises(ConfigError, match="another name"):
        AssignmentProcessor(folder / "net", methods={"network": first_jets})


def chi_square_method() -> Any:
    from jettagger.processors import ChiSquareMethod

    from jettagger.assignment import BTag, higgs_term, top_terms

    return ChiSquareMethod((*top_terms("ht"), higgs_term("h")), BTag({"ht": ("b",), "h": ("b1", "b2")}), tag="btag")


def test_the_smallest_chi_square_is_that_of_the_jets_of_the_network(folder: Path) -> None:
    """The indices of the jets in the event, found from all jets by hand."""
    import jettagger as jt
    from jettagger.assignment import EventDescription, chi_square

    method, assigner, events = chi_square_method(), jt.load_assigner(folder / "net"), jet_events(60)
    request = assigner.source.request(events)
    slots = method(request)
    jets = events.Jet[events.Jet.pt > 25]
    order = ak.argsort(jets.pt, ascending=False, stable=True)
    jets = jets[order][:, :8]
    event = EventDescription(assigner.event.inputs, tuple(assigner.event.particle(name) for name in ("ht", "h")))
    expected = chi_square(jets, event, method.terms, method.b_tag, jets.btagDeepFlavB > 0.5)
    assert set(slots) == {"ht", "h"}
    for name in slots:
        np.testing.assert_array_equal(slots[name], expected.assignments[name])
    assert np.mean(slots["ht"][:, 0] >= 0) > 0


def test_the_method_of_chi_square_is_checked(folder: Path) -> None:
    from jettagger.processors import ChiSquareMethod

    import jettagger as jt
    from jettagger.assignment import BTag, top_terms

    with pytest.raises(ConfigError, match="both b_tag and tag"):
        ChiSquareMethod(tuple(top_terms("ht")), BTag({"ht": ("b",)}))
    request = jt.load_assigner(folder / "net").source.request(jet_events(3))
    with pytest.raises(UnknownName, match="nearest: btag"):
        ChiSquareMethod(tuple(top_terms("ht")), BTag({"ht": ("b",)}), tag="btagg")(request)
    with pytest.raises(UnknownName, match="nearest: Jets"):
        ChiSquareMethod(tuple(top_terms("ht")), objects="Jet")(request)
    with pytest.raises(UnknownName, match="nearest: ht"):
        ChiSquareMethod(tuple(top_terms("htt")))(request)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("name", ["futures", "dask"])
def test_executors_give_the_same_masses(name: str, folder: Path, tmp_path: Path) -> None:
    from clusters import local_cluster
    from coffea.nanoevents import NanoAODSchema
    from jettagger.processors import AssignmentProcessor

    instance = AssignmentProcessor(folder / "net", methods={"chi-square": chi_square_method()})
    expected = run(instance, folder, 20)

    def result(executor: Any) -> Any:
        runner = processor.Runner(executor, schema=NanoAODSchema, chunksize=20, savemetrics=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # coffea's, about missing cross-references
            return runner({"tt": [str(folder / "events.root")]}, instance, treename="Events")

    if name == "futures":
        made = result(processor.FuturesExecutor(workers=2, status=False))
    else:
        with local_cluster(tmp_path / "dask", workers=1, threads=2, processes=False) as client:
            made = result(processor.DaskExecutor(client=client, status=False))
    assert made["reports"] == expected["reports"]
    assert made["missing"] == expected["missing"]
    for particle, histogram in expected["histograms"].items():
        for method in ("network", "chi-square"):
            np.testing.assert_allclose(
                made["histograms"][particle][{"method": method}].project("mass").values(),
                histogram[{"method": method}].project("mass").values(),
            )


@pytest.mark.slow
def test_chunks_of_simulated_events_give_masses_and_a_data_set(tmp_path: Path) -> None:
    """From Pythia to masses and to HDF5: chunks are the whole file, and the data set is what the network sees."""
    pytest.importorskip("pythia8mc", reason="extra sim is not installed")
    pytest.importorskip("h5py", reason="extra hdf5 is not installed")
    from assigners import MAPPING
    from jettagger.processors import AssignmentInputsProcessor, AssignmentProcessor

    import jettagger as jt
    from jettagger.assignment import AssignmentDataset
    from jettagger.files.root import EventFile
    from jettagger.simulation import simulate

    simulate("ttHbbsemilep-resolved", 60, tmp_path / "events.root", seed=5)
    net = assigner_folder(tmp_path)
    mapping = tmp_path / "tags.yaml"
    drawn = "sin(phi), cos_phi: cos(phi)}\n    tags: {btag: {efficiencies: {5: 0.7, 4: 0.12, 0: 0.01}}}"
    mapping.write_text(MAPPING.replace("sin(phi), cos_phi: cos(phi), btag: btagDeepFlavB}", drawn))
    assigner = jt.load_assigner(net, mapping=mapping, threads=1)
    masses = AssignmentProcessor(assigner)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # jets beyond the eight slots
        whole, parts = run(masses, tmp_path, 60), run(masses, tmp_path, 25)
    assert whole["reports"] == parts["reports"]
    assert whole["histograms"] == parts["histograms"]
    assert whole["histograms"]["ht"].sum(flow=True).value > 20
    run(AssignmentInputsProcessor(tmp_path / "set.h5", net / "event.yaml", mapping), tmp_path, 25)
    stored = AssignmentDataset(tmp_path / "set.h5", assigner.event, labels=False).read()
    with EventFile(tmp_path / "events.root") as file:
        events = file.read(assigner.source.check(file), 0, file.n_events)
    seen = assigner.source.request(events).tensors
    for name in seen.values:
        np.testing.assert_array_equal(stored.values[name], seen.values[name])
        np.testing.assert_array_equal(stored.masks[name], seen.masks[name])


@pytest.mark.slow
def test_the_example_prints_and_draws_the_masses(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("mplhep")
    script = Path(__file__).parents[1] / "examples" / "assignment" / "masses.py"
    monkeypatch.syspath_prepend(str(script.parent))
    monkeypatch.setattr("sys.argv", ["masses.py", str(folder / "events.root"), "-o", str(tmp_path / "out")])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # coffea's, about missing cross-references
        runpy.run_path(str(script), run_name="__main__")
    said = capsys.readouterr().out
    assert "smallest chi-square" in said
    assert (tmp_path / "out" / "masses.png").stat().st_size > 10_000
    stored, _ = load(tmp_path / "out" / "histograms.json")
    assert sorted(stored["h"].axes["method"]) == ["chi-square", "network"]
