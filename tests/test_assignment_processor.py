"""The processor of masses from assigned jets: the same for any chunks, further methods beside the network."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from assigners import assigner_folder, jet_events

from jettagger.errors import ConfigError, UnknownName
from jettagger.files.root import write_tree

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
