"""The embedded tagger as it is shipped, the samples beside it, and, slow, the whole way there in small."""

from __future__ import annotations

import importlib
import itertools
import json
import os
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import onnx
import pytest
import uproot
from onnx import numpy_helper

import jettagger as jt
from jettagger.bundles.bundle import Bundle
from jettagger.bundles.places import PACKAGE
from jettagger.bundles.registry import EMBEDDED, load_bundle
from jettagger.discriminants import auc, discriminant
from jettagger.inference.checking import check
from jettagger.inference.network import softmax
from jettagger.search import read_config
from jettagger.sessions import open_onnx
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
    (found,) = open_onnx(bundle.graph, 1, "cpu").run(inputs).values()
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

    @pytest.mark.slow
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

    @pytest.mark.slow
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

    @pytest.mark.slow
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

    def test_no_variation_of_the_demo_selects_what_was_cut_away(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Random events near all cuts: what a variation selects is kept, with the two jets that it takes."""
        monkeypatch.syspath_prepend(str(STEPS))
        samples = importlib.import_module("make_samples")
        search = read_config(REPOSITORY / "examples" / "demo.yaml").search
        cuts = set.intersection(*(set(region.passes) for region in search.regions.values()))
        assert cuts == {"hard", "near", "masses"}  # the others cut on scores alone
        shifts = {"nominal": {}} | {
            f"{name} {side}": getattr(item, side) for name, item in search.variations.items() for side in ("up", "down")
        }
        assert len(shifts) > 2
        rng = np.random.default_rng(1)
        number = 40_000
        pt = -np.sort(-rng.choice([300.0, 420.0, 600.0, 1300.0], (number, 3)) * rng.uniform(0.9, 1.1, (number, 3)))
        jets = ak.zip(
            {
                "pt": ak.from_regular(pt),
                "eta": ak.from_regular(rng.uniform(0.8, 2.5, (number, 3)) * rng.choice([-0.3, 1.0], (number, 3))),
                "msoftdrop": ak.from_regular(
                    rng.choice([50.0, 100.0, 200.0], (number, 3)) * rng.uniform(0.9, 1.1, (number, 3))
                ),
                "mass": ak.from_regular(rng.uniform(50, 200, (number, 3))),
                "place": ak.from_regular(np.tile(np.arange(3), (number, 1))),
            }
        )
        kept_jets, kept_events = samples.choose(jets, samples.Preselection())
        started = pt.max(axis=1) > samples.Preselection().start
        selected = {}
        for name, shift in shifts.items():
            varied = {key: shift[key].evaluate(jets) if key in shift else jets[key] for key in jets.fields}
            table = ak.zip(varied)[search.preselection.evaluate(varied)]
            first, second = (ak.pad_none(table, 2)[:, number] for number in range(2))
            columns = {"jet1": first, "jet2": second, "deta": first.eta - second.eta}
            passing = [ak.fill_none(search.cuts[cut].evaluate(columns), False) for cut in sorted(cuts)]
            selected[name] = ak.to_numpy(np.logical_and.reduce(passing))
            assert selected[name].sum() > 100
            for jet in (first, second):
                place = ak.to_numpy(jet.place[selected[name]])
                assert ak.to_numpy(kept_jets)[selected[name], place].all(), name
            assert (ak.to_numpy(kept_events) & started)[selected[name]].all(), name
        for name in list(shifts)[1:]:
            assert (selected[name] & ~selected["nominal"]).sum() > 50

    @pytest.mark.filterwarnings("ignore")
    @pytest.mark.parametrize("name", [*MASSES, "tt", "QCD"])
    def test_were_made_with_these_cuts_and_hold_events_beyond_those_of_the_demo(
        self, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.syspath_prepend(str(STEPS))
        samples = importlib.import_module("make_samples")
        with uproot.open(SAMPLES / f"{name}.root") as file:
            stated, runs = json.loads(str(file["preselection"])), file["Runs"].arrays(library="np")
        cuts = samples.Preselection(start=samples.SAMPLES[name].pt[0])
        assert stated == json.loads(json.dumps(asdict(cuts)))
        jets = sample(name).FatJet
        good, events = samples.choose(jets, cuts)
        assert ak.all(good)
        assert ak.all(events)
        if name == "QCD":  # events that only a varied energy scale selects, as dense below the cut as above it
            heavy = ak.to_numpy(ak.min(jets.msoftdrop[:, :2], axis=1))
            bands = [np.count_nonzero((heavy > low) & (heavy < low + 2)) for low in (48, 50, 52)]
            assert bands[0] > np.mean(bands[1:]) - 3 * np.sqrt(np.mean(bands))
            assert ak.sum(jets.pt < 300) > 10
        generated = {key: runs[key].sum() for key in ("genEventCount", "genEventSumw", "genEventSumw2")}
        assert generated["genEventCount"] > len(jets)
        weights = ak.to_numpy(sample(name).genWeight)
        assert generated["genEventSumw"] > weights.sum()
        assert generated["genEventSumw2"] > (weights**2).sum()


class TestTexts:
    @pytest.fixture
    def report(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        for module in ("torch", "matplotlib"):
            pytest.importorskip(module, reason=f"the texts need {module}")
        monkeypatch.syspath_prepend(str(STEPS))
        return importlib.import_module("report")

    def test_are_those_of_the_stored_results(self, report: Any) -> None:
        found = report.stored(STEPS)
        assert report.goals(found) == found["goals"]
        assert (STEPS / "RESULTS.md").read_text(encoding="utf-8") == report.results(found)
        card = (PACKAGE / "models" / EMBEDDED / "MODEL_CARD.md").read_text(encoding="utf-8")
        assert card == report.model_card(found, load_bundle(EMBEDDED))

    def test_give_a_bound_where_an_uncertainty_says_little(self, report: Any) -> None:
        assert str(report.rejection([7449.0, 640656.0], 360.0)).startswith("> ")
        nothing = report.rejection([None, None], 1000.0)
        assert nothing.above == pytest.approx(1 / (1 - 0.05 ** (1 / 1000)))
        assert report.rejection([100.0, 10.0], 1e4).above is None
        row = {
            "background_effective": 1000.0,
            "network": {"rejection": [400.0, 300.0]},
            "tree": {"rejection": [20.0, 1.0]},
            "ratio": [20.0, 15.0],
        }
        least = report.rejection([400.0, 300.0], 1000.0).above / 20 / np.exp(1.645 * 0.05)
        assert report.gain(row) == f"> {least:.3g} (95 % CL)"
        assert report.area([0.99991, 0.000047]) == "0.999910 ± 0.000047"

    def test_claim_no_more_than_the_uncertainties_leave(self, report: Any) -> None:
        """A preset that ties with the trees, and a spectrum of a handful of jets, reach no goal."""
        found = report.stored(STEPS)
        measured = {"effective_left": 50.0, "rejection": [20.0, 1.0]}
        line = {
            "discriminant": "HbbvsQCD",
            "pt": [200.0, 400.0],
            "mixture": "as in nature",
            "background_effective": 1e4,
        }
        line |= {"network": measured, "tree": {"rejection": [10.0, 0.5]}, "ratio": [2.0, 0.2], "weighed": True}
        for ratio, reached in (([1.1, 0.1], False), ([1.3, 0.1], True), ([0.7, 0.1], False)):
            goals = report.goals(found | {"rejection": [line, line | {"weighed": False, "ratio": ratio}]})
            (weighed, plain, hbb) = (goal for goal in goals if "trees" in goal["goal"])
            assert [weighed["met"], plain["met"], hbb["met"]] == [True, reached, True]
            assert f"{ratio[0]:.2f} ± 0.10 (50 effective multijets left)" in plain["detail"]
            assert "in 0 of 1 lines; HbbvsQCD, weighed" in hbb["detail"]
        item = dict(found["sculpting"][EMBEDDED]["flat in pt and mass"])
        for left, text in ((report.LEAST_SCULPTING, report.pm(item["divergence"], 4)), (99.0, "too few jets")):
            text_of = report._sculpting({"sculpting": {EMBEDDED: {"flat": item | {"effective_left": left}}}})
            assert f"| flat | {text} |" in text_of

    @pytest.mark.parametrize("path", ["embedded_tagger/RESULTS.md", "finetune/RESULTS.md"])
    def test_print_no_uncertainty_that_says_nothing(self, path: str) -> None:
        text = (REPOSITORY / "examples" / path).read_text(encoding="utf-8")
        pairs = [(float(value), float(sigma)) for value, sigma in re.findall(r"([\d.]+) ± ([\d.]+)", text)]
        assert len(pairs) > 50
        assert [pair for pair in pairs if pair[0] > 1 and pair[1] > pair[0] / 2] == []


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


def test_an_export_that_differs_from_the_network_leaves_no_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch", reason="exporting needs torch")
    monkeypatch.syspath_prepend(str(STEPS))
    script, network = importlib.import_module("export"), importlib.import_module("network")
    torch.manual_seed(1)
    state = network.JetTransformer().state_dict()
    torch.save({"average": state, "drawn": 0, "spent": 0.0}, tmp_path / "network.pt")
    monkeypatch.setattr(script, "LENGTHS", (0, 2, 20))
    write, folder = script.export, tmp_path / "bundle"

    def another(model: Any, path: Path) -> None:
        """A bias is not the trained one."""
        copy = network.JetTransformer().eval()
        copy.load_state_dict(state)
        with torch.no_grad():
            list(copy.parameters())[-1].add_(0.1)
        write(copy, path)

    monkeypatch.setattr(script, "export", another)
    with pytest.raises(SystemExit, match=r"ONNX differs from the framework by .* at 0 candidates"):
        script.main(str(tmp_path / "network.pt"), str(folder))
    assert not folder.exists()


def gain(folder: Path, path: Path) -> tuple[float, float]:
    """What the types of jets in a file cost less in nats, to this tagger, than to one that knows their shares alone.

    Types weigh as in training, where those of multijets have twice the share of others. The second number is the
    standard deviation of the first.
    """
    from coffea.nanoevents import NanoEventsFactory, PFNanoAODSchema

    data = importlib.import_module("data")
    events = NanoEventsFactory.from_root({str(path): "Events"}, schemaclass=PFNanoAODSchema, mode="eager").events()
    jets = ak.flatten(jt.load_tagger(str(folder)).attach(events).FatJet)
    jets = jets[(jets.label >= 0) & (jets.label < len(data.TYPES)) & ~ak.is_none(jets[f"{EMBEDDED}_mass"])]
    label = ak.to_numpy(jets.label)
    p = np.stack([ak.to_numpy(ak.drop_none(jets[f"{EMBEDDED}_prob{name}"])) for name in data.TYPES], axis=1)
    share = np.where(np.isin(np.arange(len(data.TYPES)), data.QCD), 2.0, 1.0)
    weight = share[label] / np.bincount(label, minlength=len(share))[label]
    weight /= weight.sum()
    won = np.log(p[np.arange(len(p)), label] / (share / share.sum())[label])
    mean = float(weight @ won)
    return mean, float(np.sqrt(weight**2 @ (won - mean) ** 2))


@pytest.mark.long
def test_the_whole_way_in_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate, prepare, train, export, evaluate: about two minutes on an idle core."""
    for module in ("torch", "pythia8mc", "fastjet", "sklearn", "matplotlib"):
        pytest.importorskip(module, reason=f"the steps need {module}")
    from jettagger.simulation import V1_TYPES, simulate

    monkeypatch.syspath_prepend(str(STEPS))
    for name, seed, events in (("train", 1, 900), ("test", 2, 450)):
        (tmp_path / name).mkdir()
        out = tmp_path / name / f"{name}-{seed}.root"
        # of one mass: a process needs one Pythia, whose start takes longer than these events
        summary = simulate("v1-types", events, out, mass=(120.0, 120.0), seed=seed)
        assert set(summary.labels) == set(V1_TYPES)
        run("prepare.py", tmp_path / f"prepared-{name}", out)
    prepared, checkpoint, folder = tmp_path / "prepared-train", tmp_path / "network.pt", tmp_path / EMBEDDED
    train = importlib.import_module("train")
    # fewer candidates than jets have, also at the end
    monkeypatch.setattr(train, "SETTLED_LENGTHS", (32, 4))
    budget = "--jets 6000 --threads 1 --epoch-jets 3000 --batch 32 --rate 6e-3 --most-pf 32 --most-sv 4"
    monkeypatch.setattr(sys, "argv", ["train.py", str(prepared), str(checkpoint), *budget.split()])
    train.main()
    run("export.py", checkpoint, folder)
    won, uncertainty = gain(folder, tmp_path / "test" / "test-2.root")
    assert won > 3 * uncertainty
    out = tmp_path / "out"
    run(
        "evaluate.py", folder, tmp_path / "prepared-test", "-o", out, "--prepared-train", prepared, "--model-card",
        "--checkpoint", checkpoint, "--simulated", tmp_path / "train", tmp_path / "test", "--most-train-jets", 400,
    )  # fmt: skip

    made = load_bundle(folder)
    assert len(made.outputs) == 166
    assert [item.name for item in check(made) if item.passed is False] == []
    found = json.loads((out / "results.json").read_text(encoding="utf-8"))
    # the only test file is one of the mixture
    mixed = found["accuracy"]["as_mixed"]
    assert [mixed["share"], mixed["jets"]] == [found["accuracy"]["as_generated"], found["accuracy"]["jets"]]
    del found["accuracy"]["as_mixed"]
    (out / "results.json").write_text(json.dumps(found), encoding="utf-8")
    run("mixture.py", folder, tmp_path / "prepared-test", out)
    assert json.loads((out / "results.json").read_text(encoding="utf-8"))["accuracy"]["as_mixed"] == mixed
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
