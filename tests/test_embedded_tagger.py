"""The embedded tagger as it is shipped, the samples beside it, and, slow, the whole way there in small."""

from __future__ import annotations

import importlib
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import jettagger as jt
from jettagger.bundle import Bundle
from jettagger.checking import check
from jettagger.discriminants import auc, discriminant
from jettagger.network import softmax
from jettagger.places import PACKAGE
from jettagger.registry import EMBEDDED, load_bundle
from jettagger.sessions import open_session
from jettagger.testing import make_events

REPOSITORY = Path(__file__).resolve().parent.parent
STEPS = REPOSITORY / "examples" / "embedded_tagger"
SAMPLES = REPOSITORY / "examples" / "data"
MASSES = {"XHH-1000": 1000.0, "XHH-1500": 1500.0, "XHH-2000": 2000.0}
#: of FatJet_label
HBB = 16


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    folder = PACKAGE / "models" / EMBEDDED
    if not (folder / "model.onnx").is_file():
        pytest.skip(f"{EMBEDDED} is not exported yet (examples/embedded_tagger/export.py)")
    return load_bundle(EMBEDDED)


def sample(name: str) -> Any:
    from coffea.nanoevents import NanoEventsFactory, PFNanoAODSchema

    path = SAMPLES / f"{name}.root"
    return NanoEventsFactory.from_root({str(path): "Events"}, schemaclass=PFNanoAODSchema, mode="eager").events()


def scores(bundle: Bundle, n_pf: int, n_sv: int, n_jets: int = 3, seed: int = 1) -> dict[str, np.ndarray]:
    """Outputs by kind for random jets; without vertices the only slot of them is padding."""
    rng = np.random.default_rng(seed)
    inputs = {}
    for group in bundle.groups:
        number = n_pf if group.object == "pf" else n_sv
        length = max(number, 1)
        values = rng.normal(0, 1, (n_jets, len(group.variables), length)).astype(np.float32)
        if group.is_mask:
            values[:] = 1
        elif "px" in group.variables[0].feature.name:
            values = np.abs(values) * 10
            values[:, 3] = np.sqrt((values[:, :3] ** 2).sum(axis=1) + 0.02)
        if number == 0:
            values[:] = 0
        inputs[group.name] = values
    assert bundle.graph is not None
    (found,) = open_session(bundle.graph, 1, "cpu").run(inputs).values()
    kinds = {}
    for kind in ("prob", "mass", "hidden"):
        kinds[kind] = found[:, [output.index for output in bundle.outputs if output.kind == kind]]
    return kinds


class TestShipped:
    def test_has_the_interface_of_v1(self, bundle: Bundle) -> None:
        reference = load_bundle("inclParTMDV1")
        assert [output.name for output in bundle.outputs] == [output.name for output in reference.outputs]
        assert [output.kind for output in bundle.outputs] == [output.kind for output in reference.outputs]
        assert len(bundle.outputs) == 37 + 1 + 128
        for mine, theirs in zip(bundle.groups, reference.groups, strict=True):
            assert mine.name == theirs.name
            assert mine.variables == theirs.variables
        assert {group.name: len(group.variables) for group in bundle.groups} == {
            "pf_features": 25, "pf_vectors": 4, "pf_mask": 1, "sv_features": 11, "sv_vectors": 4, "sv_mask": 1,
        }  # fmt: skip

    def test_axes_are_free(self, bundle: Bundle) -> None:
        assert bundle.graph is not None
        for tensor in bundle.graph.inputs:
            assert not isinstance(tensor.shape[0], int)
            assert not isinstance(tensor.shape[2], int)

    def test_is_small(self, bundle: Bundle) -> None:
        assert sum(path.stat().st_size for path in bundle.folder.iterdir()) < 5_000_000

    def test_behaves(self, bundle: Bundle) -> None:
        """Lengths, batches, padding, order, no vertices, sums, and the golden vectors that it carries."""
        results = check(bundle)
        assert [item.name for item in results if item.passed is False] == []
        assert [item.passed for item in results if item.name.startswith("golden vectors")] == [True, True]

    @pytest.mark.parametrize("n_pf", [1, 2, 16, 45, 128, 200])
    @pytest.mark.parametrize("n_sv", [0, 1, 10])
    def test_no_nan_at_any_length(self, bundle: Bundle, n_pf: int, n_sv: int) -> None:
        found = scores(bundle, n_pf, n_sv)
        assert all(np.isfinite(values).all() for values in found.values())
        np.testing.assert_allclose(found["prob"].sum(axis=1), 1, atol=1e-5)

    def test_scores_are_linear_in_the_hidden_neurons(self, bundle: Bundle) -> None:
        """One layer makes logits and mass of the 128: what fine-tuning on stored neurons stands on."""
        assert bundle.graph is not None
        tensors = [numpy_helper.to_array(item) for item in onnx.load(bundle.graph.path).graph.initializer]
        (weight,) = (array if array.shape == (38, 128) else array.T for array in tensors if {*array.shape} == {38, 128})
        (bias,) = (array for array in tensors if array.shape == (38,))
        found = scores(bundle, 40, 3, n_jets=20)
        both = found["hidden"].astype(np.float64) @ weight.T.astype(np.float64) + bias
        np.testing.assert_allclose(softmax(both[:, :37]), found["prob"], atol=1e-5)
        np.testing.assert_allclose(both[:, 37:], found["mass"], rtol=1e-4, atol=1e-4)

    def test_tags_events_by_its_name(self, bundle: Bundle) -> None:
        events = jt.load_tagger(EMBEDDED).attach(make_events(20, seed=1))
        mass = ak.drop_none(ak.flatten(events.FatJet[f"{EMBEDDED}_mass"]))
        assert len(mass) > 0
        assert ak.all(np.isfinite(mass))

    def test_card_says_what_it_is_not_for(self, bundle: Bundle) -> None:
        text = (bundle.folder / "MODEL_CARD.md").read_text(encoding="utf-8")
        for part in (EMBEDDED, "Not for physics results", "## Data", "## Training", "## Measured performance"):
            assert part in text
        assert "not for physics" in bundle.card.notes

    def test_results_are_those_of_this_network(self, bundle: Bundle) -> None:
        assert bundle.graph is not None
        found = json.loads((STEPS / "results.json").read_text(encoding="utf-8"))
        assert found["network"]["sha256"] == bundle.graph.sha256
        text = (STEPS / "RESULTS.md").read_text(encoding="utf-8")
        assert bundle.graph.sha256 in text

    @pytest.mark.filterwarnings("ignore")
    def test_finds_higgs_bosons(self, bundle: Bundle) -> None:
        """Independent events: H -> bb against multijets, and the mass of the Higgs boson."""
        tagger = jt.load_tagger(EMBEDDED)
        hbb = discriminant("HbbvsQCD")
        signal = tagger.attach(sample("XHH-1500"))
        multijets = tagger.attach(sample("QCD"))
        true = signal.FatJet[(signal.FatJet.label == HBB) & (signal.FatJet.pt > 300)]
        background = multijets.FatJet[multijets.FatJet.pt > 300]
        area = auc(ak.flatten(hbb(true)), ak.flatten(hbb(background)))
        assert area.value - 2 * area.uncertainty > 0.9
        mass = ak.to_numpy(ak.flatten(true[f"{EMBEDDED}_mass"]), allow_missing=False)
        assert np.median(mass) == pytest.approx(125, rel=0.08)


class TestSamples:
    def test_are_small(self) -> None:
        files = list(SAMPLES.glob("*.root"))
        assert {path.stem for path in files} == {*MASSES, "tt", "QCD"}
        assert sum(path.stat().st_size for path in files) < 5_000_000

    @pytest.mark.filterwarnings("ignore")
    @pytest.mark.parametrize("name", [*MASSES, "tt", "QCD"])
    def test_hold_what_a_tagger_reads_and_the_truth(self, name: str) -> None:
        events = sample(name)
        jt.check_columns(load_bundle("inclParTMDV1"), jt.EventFile(SAMPLES / f"{name}.root"))
        assert ak.max(events.FatJet.label) >= 0
        links, n_candidates = events.FatJetPFCands, ak.num(events.PFCands.pt)
        assert ak.all(links.pFCandsIdx < n_candidates)
        assert ak.all(links.jetIdx < ak.num(events.FatJet.pt))
        # every candidate is in a fat jet, and the jets are what their candidates sum up to
        assert ak.all(ak.num(links.pFCandsIdx) >= n_candidates)
        first = events.PFCands[links.pFCandsIdx[links.jetIdx == 0]]
        px, py = ak.sum(first.pt * np.cos(first.phi), axis=1), ak.sum(first.pt * np.sin(first.phi), axis=1)
        ratio = np.hypot(px, py) / events.FatJet.pt[:, 0]
        assert np.std(ak.to_numpy(ratio)) < 0.01

    @pytest.mark.filterwarnings("ignore")
    def test_peaks(self) -> None:
        for name, mass in MASSES.items():
            events = sample(name)
            jets = events.FatJet[ak.num(events.FatJet.pt) >= 2]
            both = ak.all(jets.label[:, :2] == HBB, axis=1)
            pairs = (jets[both][:, 0] + jets[both][:, 1]).mass
            assert len(pairs) > 40
            assert np.median(ak.to_numpy(pairs)) == pytest.approx(mass, rel=0.06)

    @pytest.mark.filterwarnings("ignore")
    def test_multijets_are_weighted(self) -> None:
        events = sample("QCD")
        weights = ak.to_numpy(events.genWeight)
        assert weights.min() > 0
        assert weights.max() > 5 * weights.min()
        assert ak.min(ak.max(events.FatJet.pt, axis=1)) > 390


def run(*arguments: Any) -> str:
    """A step in a process of its own, one thread, with the package of this checkout."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    }
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "default"}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, env=environment, cwd=STEPS, check=False
    )
    assert done.returncode == 0, f"{arguments[0]}:\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}"
    return done.stdout


def test_the_median_is_held_in_each_bin_of_mass(monkeypatch: pytest.MonkeyPatch) -> None:
    """A regression on a poor measurement pulls to the middle; the tilted loss does not, in any bin."""
    torch = pytest.importorskip("torch", reason="training needs torch")
    monkeypatch.syspath_prepend(str(STEPS))
    train = importlib.import_module("train")
    generator = torch.Generator().manual_seed(1)

    def jets(number: int) -> tuple[Any, Any]:
        mass = 30 + 190 * torch.rand(number, generator=generator)
        return mass, torch.log(mass / 100) + 0.35 * torch.randn(number, generator=generator)

    def log_ratio(points: Any, mass: Any, measured: Any) -> Any:
        place = ((measured + 2) * 8).clamp(0, 34.99)
        left = place.long()
        return measured + torch.lerp(points[left], points[left + 1], place - left) - torch.log(mass / 100)

    label = torch.full((1024,), importlib.import_module("data").HADRONIC[3])
    distances = {}
    for name in ("plain", "held"):
        balance = train.MedianBalance()
        points = torch.zeros(36, requires_grad=True)  # a piecewise linear function of what is measured
        optimiser = torch.optim.Adam([points], lr=0.02)
        for step in range(1200):
            optimiser.param_groups[0]["lr"] = 0.02 * (1 - step / 1200)
            mass, measured = jets(1024)
            ratio = log_ratio(points, mass, measured)
            loss = ratio.abs()
            if name == "held":
                loss = loss + balance(ratio, mass, label)
            optimiser.zero_grad()
            loss.mean().backward()
            optimiser.step()
        mass, measured = jets(60_000)
        with torch.no_grad():
            response = torch.exp(log_ratio(points, mass, measured))
        edges = (40, 60, 80, 120, 160, 200)
        bins = [response[(mass >= low) & (mass < high)] for low, high in itertools.pairwise(edges)]
        distances[name] = max(abs(float(torch.median(one)) - 1) for one in bins)
    assert distances["held"] < 0.04
    assert distances["plain"] > 0.08


def test_scores_weighed_for_the_mixture_of_training_are_the_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("torch", "sklearn", "matplotlib"):
        pytest.importorskip(module, reason=f"the evaluation needs {module}")
    monkeypatch.syspath_prepend(str(STEPS))
    evaluate, data = importlib.import_module("evaluate"), importlib.import_module("data")
    probabilities = np.random.default_rng(1).dirichlet(np.ones(37), 50)
    jets = ak.zip({f"x_prob{name}": probabilities[:, index] for index, name in enumerate(data.TYPES)})
    for name in evaluate.DISCRIMINANTS:
        preset = ak.to_numpy(discriminant(name)(jets))
        assert evaluate.weighed(name, probabilities, dict.fromkeys(data.QCD, 1.0)) == pytest.approx(preset)
        heavier = evaluate.weighed(name, probabilities, dict.fromkeys(data.QCD, 4.0))
        assert heavier == pytest.approx(preset / (preset + 4 * (1 - preset)))  # the odds of the background times four


@pytest.mark.slow
def test_the_whole_way_in_small(tmp_path: Path) -> None:
    """Simulate, prepare, train, export, evaluate: about two minutes on an idle core."""
    for module in ("torch", "pythia8mc", "fastjet", "sklearn", "matplotlib"):
        pytest.importorskip(module, reason=f"the steps need {module}")
    for name, seed, events in (("train", 1, 900), ("test", 2, 450)):
        (tmp_path / name).mkdir()
        out = tmp_path / name / f"{name}-{seed}.root"
        run("-m", "jettagger", "simulate", "--process", "v1-types", "--events", events, "--seed", seed, "-o", out)
        run("prepare.py", tmp_path / f"prepared-{name}", out)
    train, checkpoint, folder = tmp_path / "prepared-train", tmp_path / "network.pt", tmp_path / EMBEDDED
    budget = ("--minutes", 1.2, "--threads", 1, "--epoch-jets", 4000, "--batch", 64)
    assert "jets drawn" in run("train.py", train, checkpoint, *budget)
    run("export.py", checkpoint, folder)
    out = tmp_path / "out"
    run(
        "evaluate.py", folder, tmp_path / "prepared-test", "-o", out, "--prepared-train", train, "--model-card",
        "--checkpoint", checkpoint, "--simulated", tmp_path / "train", tmp_path / "test",
    )  # fmt: skip

    made = load_bundle(folder)
    assert len(made.outputs) == 166
    assert [item.name for item in check(made) if item.passed is False] == []
    found = json.loads((out / "results.json").read_text(encoding="utf-8"))
    accuracy, sigma = found["accuracy"]["as_in_training"]
    assert accuracy - sigma > 2 / 42  # who always names one of the types of multijets is right so often
    assert found["test"]["finite"]
    assert {(row["mixture"], row["weighed"]) for row in found["rejection"]} == {
        ("as in nature", True),
        ("as in nature", False),
        ("as in training", False),
    }
    assert max(found["onnx"].values()) < 1e-4
    text = (out / "RESULTS.md").read_text(encoding="utf-8")
    for picture in out.glob("*.png"):
        assert f"({picture.name})" in text
        assert picture.stat().st_size < 100_000
    assert "Not for physics results" in (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
