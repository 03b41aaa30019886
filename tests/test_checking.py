"""The checks of a model: they pass for good networks, and each fails for a network with that fault."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import GROUPS, HEADS, LENGTHS, NAMES, Head, graph, write_bundle

import jettagger.inference.checking as checking
from jettagger.bundles.bundle import Bundle
from jettagger.errors import MissingModelFile, OutputError
from jettagger.inference.checking import OTHER_TOLERANCE, PROB_TOLERANCE, Check, check, write_golden
from jettagger.inference.network import evaluate, softmax, stacked
from jettagger.inputs.batching import tabulate
from jettagger.inputs.random_jets import ToyJets
from jettagger.sessions import ReplaySession, open_onnx

CARD = {"kinds": {"prob": ["label_*"], "mass": ["mass"], "hidden": ["hid*"]}}


@pytest.fixture(autouse=True)
def _no_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    """What rounding does is measured with many jets; test_conditioning.py looks at it."""
    monkeypatch.setattr(checking, "response_of", lambda _: None)


def results(folder: Path, **options: Any) -> dict[str, Check]:
    found = check(Bundle.from_folder(folder), **options)
    names = [result.name for result in found]
    return dict(zip(names, found, strict=True))


def failed(folder: Path, **options: Any) -> list[str]:
    return [result.name for result in check(Bundle.from_folder(folder), **options) if result.passed is False]


class TestGoodNetworks:
    def test_tiny(self, tiny: Bundle) -> None:
        found = check(tiny)
        assert [result for result in found if result.passed is False] == []
        names = [result.name for result in found]
        for part in (
            "loads",
            "length 1",
            "length min",
            "length max",
            "length beyond max: probabilities",
            "no sv",
        ):
            assert part in names
        for stem in (
            "batch size 1",
            "batch size 2",
            "batch size 7",
            "padding of pf",
            "padding of sv",
            "order of pf",
        ):
            assert {f"{stem}: probabilities", f"{stem}: others"} <= set(names)
        sums = [result for result in found if result.name == "sum of probabilities"]
        assert len(sums) == 1
        assert "37 outputs, softmax in the graph" in sums[0].detail

    def test_figures_and_tolerances(self, tiny: Bundle) -> None:
        for result in check(tiny):
            if result.tolerance is None:
                continue
            assert result.measured is not None
            assert result.passed == (result.measured <= result.tolerance)
            if result.name.endswith(": probabilities"):
                assert result.tolerance == PROB_TOLERANCE == 1e-5
            if result.name.endswith(": others"):
                assert result.tolerance == OTHER_TOLERANCE == 1e-4

    @pytest.mark.parametrize("joined", [True, False])
    def test_unseen(self, tmp_path: Path, joined: bool) -> None:
        assert failed(write_bundle(tmp_path / "m", joined=joined)) == []

    def test_softmax_outside_the_graph(self, tmp_path: Path) -> None:
        heads = tuple(head._replace(softmax=False) for head in HEADS)
        folder = write_bundle(tmp_path / "m", heads=heads, card=CARD | {"softmax": ["label_*"]})
        found = results(folder)
        assert all(result.passed is not False for result in found.values())
        assert "softmax by jettagger" in found["sum of probabilities"].detail

    def test_wrapped_padding_does_not_matter(self, tmp_path: Path) -> None:
        assert failed(write_bundle(tmp_path / "m", card=CARD | {"pad_mode": "wrap"})) == []

    def test_fixed_lengths(self, tmp_path: Path) -> None:
        found = results(write_bundle(tmp_path / "m", axes={"pf": 12, "sv": 3}))
        assert all(result.passed is not False for result in found.values())
        assert found["padding of pf"].passed is None
        assert found["padding of pf"].detail == "the length is fixed at 12"

    @pytest.mark.parametrize("batch", [1, 2, 3])
    def test_fixed_batch(self, tmp_path: Path, batch: int) -> None:
        found = results(write_bundle(tmp_path / "m", batch=batch))
        assert all(result.passed is not False for result in found.values())
        assert found["batch size 7"].detail == f"the graph has a fixed batch of {batch}"
        assert ("batch size 2" in found) == (batch < 2)

    def test_groups_without_a_mask(self, tmp_path: Path) -> None:
        groups = {name: variables for name, variables in GROUPS.items() if not name.endswith("_mask")}
        folder = write_bundle(tmp_path / "m", groups=groups, lengths=LENGTHS, fault="padding")
        found = results(folder)
        assert all(result.passed is not False for result in found.values())
        padding = found["padding of pf: others"]
        assert padding.passed is None
        assert padding.measured is not None
        assert padding.measured > 1e-4
        assert padding.detail.endswith("there is no mask, and it does matter")
        assert found["order of pf: others"].detail.endswith("there is no mask, yet it does not matter")

    def test_jets_alone(self, tmp_path: Path) -> None:
        groups = {"jet_features": ("jet_pt_log", "jet_mass_log", "jet_eta")}
        assert failed(write_bundle(tmp_path / "m", groups=groups)) == []

    def test_charged_and_neutral(self, tmp_path: Path) -> None:
        groups = {"cpf_features": ("cpfcandlt_px",), "cpf_mask": ("cpfcandlt_mask",)}
        groups |= {"npf_features": ("npfcand_py",), "npf_mask": ("npfcand_mask",)}
        lengths = {"cpf": {"min_length": 2, "max_length": 9}, "npf": {"min_length": 3, "max_length": 8}}
        folder = write_bundle(tmp_path / "m", groups=groups, lengths=lengths, axes={"cpf": "n_cpf", "npf": "n_npf"})
        found = results(folder)
        assert all(result.passed is not False for result in found.values())
        assert {"no cpf", "no npf"} <= set(found)

    @pytest.mark.slow
    @pytest.mark.data
    @pytest.mark.parametrize("name", ["part-ak8-2023", "particlenet-ak8-md", "scouting-particlenet-ak8"])
    def test_public_networks(self, shared: Path, name: str) -> None:
        assert failed(shared / "models" / name) == []


class TestFaults:
    """Each fault is found, by the check for it."""

    def test_order(self, tmp_path: Path) -> None:
        found = failed(write_bundle(tmp_path / "m", fault="order"))
        assert {name.partition(":")[0] for name in found} == {"order of pf", "order of sv"}

    def test_padding(self, tmp_path: Path) -> None:
        with pytest.warns(RuntimeWarning, match="in spite of their mask: jets run only with others"):
            found = failed(write_bundle(tmp_path / "m", fault="padding", seed=41))
        assert {name.partition(":")[0] for name in found} == {"padding of pf", "padding of sv"}

    def test_batch(self, tmp_path: Path) -> None:
        found = {name.partition(":")[0] for name in failed(write_bundle(tmp_path / "m", fault="batch"))}
        assert {"batch size 2", "batch size 7"} <= found
        assert "batch size 1" not in found

    def test_no_vertices(self, tmp_path: Path) -> None:
        assert failed(write_bundle(tmp_path / "m", fault="empty")) == ["no sv"]

    def test_sums(self, tmp_path: Path) -> None:
        """A description that calls logits probabilities."""
        heads = tuple(head._replace(softmax=False) for head in HEADS)
        found = results(write_bundle(tmp_path / "m", heads=heads, card=CARD))
        assert found["range of probabilities"].passed is False
        assert found["sum of probabilities"].passed is None
        assert "3 probabilities outside any softmax" in found["sum of probabilities"].detail

    def test_probabilities_that_are_called_logits(self, tmp_path: Path) -> None:
        kinds = {"logit": ["label_*"], "mass": ["mass"], "hidden": ["hid*"]}
        found = results(write_bundle(tmp_path / "m", card={"kinds": kinds}))["kinds"]
        assert found.passed is False
        assert found.detail == "3 outputs declared as logits sum to one: they are probabilities"

    def test_onnx_runtime_refuses_the_file(self, tmp_path: Path) -> None:
        folder = write_bundle(tmp_path / "m")
        model = graph()
        model.graph.node[0].op_type = "Fold"
        (folder / "model.onnx").write_bytes(model.SerializeToString())
        (only,) = check(Bundle.from_folder(folder))
        assert (only.name, only.passed) == ("loads", False)
        assert "ONNX Runtime cannot load" in only.detail

    def test_onnx_runtime_refuses_to_run(self, tmp_path: Path) -> None:
        def refuse(inputs: Any) -> Any:
            raise RuntimeError("shapes do not fit")

        folder = write_bundle(tmp_path / "m")
        found = check(Bundle.from_folder(folder), session=ReplaySession(refuse))
        assert {"length", "batch size", "sums"} <= {result.name for result in found if result.passed is False}
        assert "RuntimeError: shapes do not fit" in {result.detail for result in found}

    def test_columns_that_nobody_announced(self, tmp_path: Path) -> None:
        folder = write_bundle(tmp_path / "m")
        session = ReplaySession(lambda inputs: {"scores": np.zeros((len(inputs["pf_mask"]), 5), "f4")})
        (first, *_) = [
            result for result in check(Bundle.from_folder(folder), session=session) if result.passed is False
        ]
        assert "gave 5 columns for 1 jets, expected 8" in first.detail

    def test_no_weights(self, tmp_path: Path) -> None:
        folder = write_bundle(tmp_path / "m")
        (folder / "model.onnx").unlink()
        with pytest.raises(MissingModelFile):
            check(Bundle.from_folder(folder))

    def test_an_output_that_is_not_finite_is_infinitely_off(self, tmp_path: Path) -> None:
        bundle = Bundle.from_folder(write_bundle(tmp_path / "m"))
        session = ReplaySession(lambda inputs: {"scores": np.full((len(inputs["pf_mask"]), 8), np.nan, "f4")})
        found = {result.name: result for result in check(bundle, session=session)}
        assert found["length 1"].measured == 16
        assert found["batch size 2: others"].measured == np.inf
        assert found["sum of probabilities"].passed is False


class TestFacts:
    def test_declared(self, tmp_path: Path) -> None:
        card = CARD | {
            "domain": {"pt": [200, 2500], "abseta": [0, 2.4]},
            "mass": {"unit": "factor", "scales": "mass * (1 - rawFactor)"},
        }
        found = results(write_bundle(tmp_path / "m", card=card))
        assert found["training domain"] == Check("training domain", None, detail="pt 200 to 2500 GeV; |eta| 0 to 2.4")
        assert found["regressed mass"].detail == "mass: a factor on mass * (1 - rawFactor)"
        assert found["description"].detail == "bundle.json; no SHA-256 declared"

    def test_not_declared(self, tmp_path: Path) -> None:
        found = results(write_bundle(tmp_path / "m"))
        assert found["training domain"].detail == "not declared"
        assert found["regressed mass"].detail == "mass: not declared: GeV or a factor?"
        assert found["description"].passed is None
        assert "no bundle.json" in found["description"].detail

    def test_verdict(self) -> None:
        assert [Check("x", passed).verdict for passed in (True, False, None)] == ["ok", "FAILED", "fact"]


class TestGolden:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        folder = write_bundle(tmp_path / "m", card=CARD | {"golden": "golden.npz"})
        write_golden(Bundle.from_folder(folder), folder / "golden.npz", seed=5)
        return folder

    def arrays(self, folder: Path) -> dict[str, Any]:
        with np.load(folder / "golden.npz", allow_pickle=False) as stored:
            return dict(stored)

    def test_content(self, folder: Path) -> None:
        """Somebody else's ONNX Runtime finds the same outputs for these inputs."""
        import onnxruntime

        arrays = self.arrays(folder)
        assert set(arrays) == {*(f"input__{name}" for name in GROUPS), "output__scores"}
        assert arrays["input__pf_features"].shape == (4, 3, 12)
        session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
        inputs = {name.removeprefix("input__"): array for name, array in arrays.items() if name.startswith("input__")}
        (scores,) = session.run(["scores"], inputs)
        assert np.allclose(scores, arrays["output__scores"], rtol=0, atol=1e-6)

    def test_passes(self, folder: Path) -> None:
        found = results(folder)
        assert found["golden vectors: probabilities"].passed
        assert found["golden vectors: others"].passed
        assert found["golden vectors: others"].detail.startswith("4 jets of golden.npz")

    def test_none_carried(self, tmp_path: Path) -> None:
        assert results(write_bundle(tmp_path / "n"))["golden vectors"].passed is None

    @pytest.mark.parametrize(("column", "name"), [(0, "probabilities"), (4, "others")])
    def test_another_number(self, folder: Path, column: int, name: str) -> None:
        arrays = self.arrays(folder)
        arrays["output__scores"][2, column] += 1e-3
        scale = max(1, abs(arrays["output__scores"][2, column]))
        np.savez(folder / "golden.npz", **arrays)
        result = results(folder)[f"golden vectors: {name}"]
        assert result.passed is False
        assert result.measured == pytest.approx(1e-3 / scale, rel=1e-2)
        assert f"worst {'probHbb' if column == 0 else 'hidNeurons000'}" in result.detail

    def test_logits_are_compared_as_logits(self, tmp_path: Path) -> None:
        """Before jettagger's softmax: the tolerance of logits, not that of probabilities."""
        heads = tuple(head._replace(softmax=False) for head in HEADS)
        folder = write_bundle(tmp_path / "m", heads=heads, card=CARD | {"softmax": ["label_*"], "golden": "golden.npz"})
        write_golden(Bundle.from_folder(folder), folder / "golden.npz")
        found = [name for name in results(folder) if name.startswith("golden")]
        assert found == ["golden vectors: others"]

    def test_fixed_batch(self, tmp_path: Path) -> None:
        folder = write_bundle(tmp_path / "m", batch=3, card=CARD | {"golden": "golden.npz"})
        write_golden(Bundle.from_folder(folder), folder / "golden.npz")
        assert self.arrays(folder)["input__pf_mask"].shape[0] == 3
        assert failed(folder) == []

    def test_other_weights(self, folder: Path) -> None:
        write_bundle(folder, seed=99, card=CARD | {"golden": "golden.npz"})
        assert [name.partition(":")[0] for name in failed(folder)] == ["golden vectors"] * 2

    @pytest.mark.parametrize("content", [b"", b"no zip", None, "pickle"])
    def test_unreadable(self, folder: Path, content: Any) -> None:
        path = folder / "golden.npz"
        path.unlink()
        if content == "pickle":
            np.savez(path, input__pf_features=np.array([{"a": 1}], dtype=object))
        elif content is not None:
            path.write_bytes(content)
        result = results(folder)["golden vectors"]
        assert result.passed is False
        assert f"cannot read {path}" in result.detail

    def test_arrays_that_do_not_belong(self, folder: Path) -> None:
        arrays = self.arrays(folder)
        arrays["output__mass"] = arrays.pop("output__scores")
        np.savez(folder / "golden.npz", **arrays)
        detail = results(folder)["golden vectors"].detail
        assert "lacks ['output__scores']" in detail
        assert "it has ['output__mass']" in detail

    def test_arrays_of_another_shape(self, folder: Path) -> None:
        arrays = self.arrays(folder)
        arrays["output__scores"] = arrays["output__scores"][:, :5]
        np.savez(folder / "golden.npz", **arrays)
        result = results(folder)["golden vectors"]
        assert result.passed is False
        assert "5 columns" in result.detail

    def test_unwritable(self, tmp_path: Path, tiny: Bundle) -> None:
        with pytest.raises(OutputError):
            write_golden(tiny, tmp_path / "absent" / "golden.npz")


class TestNetwork:
    def test_softmax(self) -> None:
        logits = np.array([[0.0, np.log(3)], [1000, 1000]], dtype="f4")
        assert np.allclose(softmax(logits), [[0.25, 0.75], [0.5, 0.5]])

    def test_fixed_batch_is_filled_up(self, tmp_path: Path) -> None:
        """And the copies do not come back."""
        one, fixed = (
            Bundle.from_folder(write_bundle(tmp_path / "a")),
            Bundle.from_folder(write_bundle(tmp_path / "b", batch=5)),
        )
        assert fixed.graph is not None
        assert one.graph is not None
        rng = np.random.default_rng(0)
        inputs = {name: rng.normal(0, 1, (2, len(variables), 6)).astype("f4") for name, variables in GROUPS.items()}
        asked = ReplaySession(open_onnx(fixed.graph).run)
        values = evaluate(fixed, asked, inputs)
        assert values.shape == (2, 8)
        assert asked.calls[0]["pf_features"].shape == (5, 3, 6)
        assert np.allclose(values, evaluate(one, open_onnx(one.graph), inputs), atol=1e-6)

    def test_stacked(self, tmp_path: Path) -> None:
        bundle = Bundle.from_folder(write_bundle(tmp_path / "m", joined=False))
        parts = {"a": np.zeros((3, 5)), "b": np.ones(3), "c": np.full((3, 2, 1), 2.0)}
        values = stacked(bundle, parts, 2)
        assert values.dtype == np.float32
        assert values.tolist() == [[0, 0, 0, 0, 0, 1, 2, 2]] * 2


class TestToyJets:
    def test_leading_objects_do_not_depend_on_the_number(self) -> None:
        few, many = ToyJets({"pf": np.array([3, 3])}, 1), ToyJets({"pf": np.array([7, 7])}, 1)
        for name in ("pt", "eta", "phi", "dz", "jet.pt", "charge"):
            assert np.array_equal(few.column("pf", name)[:3], many.column("pf", name)[:3])

    def test_every_feature_can_be_made(self) -> None:
        from jettagger.features import FEATURES

        toys = ToyJets({name: np.array([4, 0, 2]) for name in ("pf", "cpf", "npf", "sv")})
        for feature in FEATURES.values():
            values = feature(*(toys.column(feature.object, need) for need in feature.needs))
            assert values.shape == ((3,) if feature.object == "jet" else (6,))
            assert np.isfinite(values).all(), feature.name

    def test_falling_momenta(self, tiny: Bundle) -> None:
        pt = ToyJets({"pf": np.array([128])}).column("pf", "pt")
        assert pt[:10].mean() > pt[50:60].mean() > pt[-10:].mean() > 1

    def test_another_seed(self, tiny: Bundle) -> None:
        counts = {"pf": np.array([5]), "sv": np.array([2])}
        first, second = (tabulate(tiny.groups, ToyJets(counts, seed))[0].values for seed in (0, 1))
        assert not np.array_equal(first, second)


def test_names_are_those_of_the_bundle() -> None:
    """The toy network of these tests and its names belong together."""
    assert sum(head.width for head in HEADS) == len(NAMES)
    assert json.loads(json.dumps(NAMES)) == NAMES
    assert Head("x", 1).softmax is False
