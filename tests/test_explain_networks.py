"""Networks of CMS and of the package in torch: outputs of ONNX Runtime, derivatives that are differences."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from real_files import opened

import jettagger as jt
from jettagger.bundles.bundle import Bundle
from jettagger.bundles.places import PACKAGE
from jettagger.explain.agreement import agreement
from jettagger.explain.gradients import gradients, torch_graph
from jettagger.inference.padding import as_run
from jettagger.inference.sample_jets import sized_jets, usual_jets
from jettagger.inputs.source import check_columns

torch = pytest.importorskip("torch")

#: folder or file of the network -> file of real jets
REAL = {
    "deepak8-md-v02": "pfnano.root",
    "deepdoublex-v02/BvL.onnx": "pfnano.root",
    "deepdoublex-v02/CvB.onnx": "pfnano.root",
    "deepjet-v03": "pfnano.root",
    "part-ak4": "pfnano.root",
    "part-ak8-2023": "pfnano.root",
    "particlenet-ak4": "pfnano.root",
    "particlenet-ak8-md": "pfnano.root",
    "scouting-particlenet-ak8": "",  # the file lacks candidates
}

#: networks that the package has weights of
SHIPPED = ["inclParTToyV1", "tinyParT"]

#: random positions in the inputs of a network
COORDINATES = 40


class Logit:
    """The logarithm of the first score, which does not saturate, or the logit that the graph gives."""

    def __init__(self, bundle: Bundle) -> None:
        self.needs = (bundle.require_graph().outputs[0].name,)
        self.score = bundle.outputs[0].kind == "prob" and not bundle.outputs[0].softmax

    def __call__(self, outputs: Mapping[str, Any]) -> Any:
        (name,) = self.needs
        first = outputs[name].reshape(len(outputs[name]), -1)[:, 0]
        return first.clip(min=1e-30).log() if self.score else first


def loaded(shared: Path, name: str, folder: Path) -> Bundle:
    if name.endswith(".onnx"):
        folder.mkdir(exist_ok=True)
        shutil.copy(shared / "models" / name, folder / "model.onnx")
        return as_run(jt.load_bundle(folder))
    return as_run(jt.load_bundle(name if name in SHIPPED else shared / "models" / name))


def real_inputs(bundle: Bundle, shared: Path, file: str) -> list[dict[str, Any]]:
    """Inputs of some real jets; of random ones where there is no file."""
    if not file:
        return usual_jets(bundle, 12)
    with opened(shared / "cms" / file) as events:
        read = events.read(check_columns(bundle, events).columns)
    batches = jt.make_inputs(bundle, read, batch_size=4)
    return [{name: array[:4] for name, array in batch.inputs.items()} for batch in islice(batches, 6)]


def compared_with_session(bundle: Bundle, inputs: Mapping[str, Any]) -> float:
    graph = torch_graph(bundle)
    found = graph.run({name: torch.from_numpy(array) for name, array in inputs.items()})
    return agreement(bundle, inputs, {name: item.numpy() for name, item in found.items()})


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_outputs_for_real_jets(name: str, shared: Path, tmp_path: Path) -> None:
    bundle = loaded(shared, name, tmp_path / "net")
    for inputs in real_inputs(bundle, shared, REAL[name]):
        assert compared_with_session(bundle, inputs) < 1


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_outputs_for_few_and_many_constituents(name: str, shared: Path, tmp_path: Path) -> None:
    bundle = loaded(shared, name, tmp_path / "net")
    for count in (0, 1, 45, 200):
        for inputs in sized_jets(bundle, count, 2):
            assert compared_with_session(bundle, inputs) < 1


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("count", [0, 1, 45, 200])
def test_outputs_of_the_networks_of_the_package(name: str, count: int) -> None:
    for inputs in sized_jets(as_run(jt.load_bundle(name)), count, 2):
        assert compared_with_session(as_run(jt.load_bundle(name)), inputs) < 1


def test_which_networks_the_package_has_weights_of() -> None:
    folders = {path.parent.name for path in (PACKAGE / "models").glob("*/*.onnx")}
    assert folders == {*SHIPPED}


def along_coordinates(bundle: Bundle, inputs: Mapping[str, Any], seed: int) -> tuple[Any, Any, Any]:
    """Derivatives at random positions, central differences in double precision, and those with a tenth of the step."""
    target = Logit(bundle)
    exact = gradients(bundle, inputs, target, dtype="float64", check=False)
    graph = torch_graph(bundle, "float64")
    rng = np.random.default_rng(seed)
    masks = {group.name for group in bundle.groups if group.is_mask}
    wide = {name: torch.from_numpy(array.astype("f8")) for name, array in inputs.items()}
    n_jets = len(next(iter(wide.values())))

    def number(changed: Mapping[str, Any]) -> Any:
        return target(graph.run(changed, target.needs)).numpy()

    found = []
    for name in inputs:
        values = exact.values[name].reshape(n_jets, -1)
        places = np.flatnonzero(np.any(values != 0, axis=0))
        if name in masks or not len(places):
            continue
        for place in rng.choice(places, min(COORDINATES // len(inputs) + 1, len(places)), replace=False):
            slopes = []
            for share in (1e-7, 1e-8):
                up, down = (wide[name].clone().reshape(n_jets, -1) for _ in range(2))
                step = share * up[:, place].abs().clamp(min=1)
                up[:, place] += step
                down[:, place] -= step
                ends = [number({**wide, name: item.reshape(wide[name].shape)}) for item in (up, down)]
                slopes.append((ends[0] - ends[1]) / (2 * step.numpy()))
            found.append((values[:, place], *slopes))
    first, second, third = (np.concatenate([item[n] for item in found]) for n in range(3))
    return first, second, third


def is_right(exact: Any, coarse: Any, fine: Any) -> tuple[float, float]:
    """Which share of the differences is stable, and the largest relative deviation of the derivatives among these."""
    size = np.abs(fine) + 1e-4 * np.nanmax(np.abs(fine))
    stable = np.abs(coarse - fine) < 1e-3 * size
    return float(np.mean(stable)), float((np.abs(exact - fine) / size)[stable].max())


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_derivatives_are_differences_for_real_jets(name: str, shared: Path, tmp_path: Path) -> None:
    bundle = loaded(shared, name, tmp_path / "net")
    inputs = real_inputs(bundle, shared, REAL[name])[1]
    stable, worst = is_right(*along_coordinates(bundle, inputs, 1))
    assert stable > 0.8
    assert worst < 0.01


def test_derivatives_of_the_embedded_tagger_are_differences() -> None:
    bundle = as_run(jt.load_bundle("inclParTToyV1"))
    stable, worst = is_right(*along_coordinates(bundle, sized_jets(bundle, 12, 2)[0], 1))
    assert stable > 0.8
    assert worst < 0.01


@pytest.mark.parametrize("name", SHIPPED)
def test_what_is_padded_has_no_derivative(name: str) -> None:
    """Beyond the constituents, and those are the same with more empty slots."""
    bundle = as_run(jt.load_bundle(name))
    inputs = sized_jets(bundle, 12, 2)[0]
    longer = {key: np.pad(array, [(0, 0), (0, 0), (0, 5)]) for key, array in inputs.items()}
    found, padded = (gradients(bundle, item, Logit(bundle)).values for item in (inputs, longer))
    for key, array in found.items():
        assert not padded[key][:, :, array.shape[2] :].any()
        assert padded[key][:, :, : array.shape[2]] == pytest.approx(
            array, rel=1e-3, abs=1e-5 * float(np.abs(array).max())
        )
