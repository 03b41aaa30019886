"""Kinds of outputs by what a network gives, and that no selection of columns is silently empty."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from networks import ENDING_WEIGHTS, Head, write_bundle, write_ending

import jettagger.bundles.probing as probing
from jettagger.bundles.bundle import Bundle
from jettagger.bundles.probing import Behaviour, ProbeInput, observed
from jettagger.errors import BundleError, ConfigError, ModelFileError
from jettagger.runtime.processcache import forget
from jettagger.sessions import flat_columns
from jettagger.tagging.tagger import load_tagger
from jettagger.tagging.taggers import load_taggers
from jettagger.tagging.tensors import make_inputs
from jettagger.testing import make_events

NAMES = ("label_a", "label_b", "label_c")


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JETTAGGER_CACHE", str(tmp_path / "cache"))
    forget()


def logits(folder: Path, events: Any) -> Any:
    """``s W`` of every jet, from the input tensors."""
    values = np.full((int(ak.sum(ak.num(events.FatJet))), 3), np.nan)
    for batch in make_inputs(Bundle.from_folder(folder), events):
        sums = (batch.inputs["pf_features"] * batch.inputs["pf_mask"]).astype(float).sum(axis=2)
        values[batch.jets] = sums @ ENDING_WEIGHTS
    return values


def softmax(values: Any) -> Any:
    powers = np.exp(values)
    return powers / powers.sum(axis=1, keepdims=True)


def sigmoid(values: Any) -> Any:
    return 1 / (1 + np.exp(-values))


PROBABILITIES: dict[str, Callable[[Any], Any]] = {
    "softmax": softmax,
    "written out": softmax,
    "split": softmax,
    "averaged": softmax,
    "permuted": lambda values: softmax(values)[:, [2, 0, 1]],
    "three axes": softmax,
    "leading axis": softmax,
    "untyped": softmax,
    "sigmoid": sigmoid,
}


@pytest.mark.parametrize(
    ("kind", "batch"), [*((kind, "N") for kind in PROBABILITIES), ("written out", 3), ("sigmoid", 3), ("three axes", 1)]
)
def test_probabilities_are_found_and_attached(tmp_path: Path, kind: str, batch: int | str) -> None:
    folder = write_ending(tmp_path / "toy", kind, NAMES, batch=batch)
    events = make_events(12, seed=5)
    jets = load_tagger(folder).attach(events).FatJet
    expected = PROBABILITIES[kind](logits(folder, events))
    for column, name in enumerate(("toy_proba", "toy_probb", "toy_probc")):
        found = ak.to_numpy(ak.fill_none(ak.flatten(jets[name]), np.nan))
        np.testing.assert_allclose(found, expected[:, column], atol=1e-5)


@pytest.mark.parametrize("names", [("out_0", "out_1", "out_2"), ("isTop", "isW", "isQCD")])
def test_names_of_no_known_form_become_columns_too(tmp_path: Path, names: tuple[str, ...]) -> None:
    """Probabilities are such under any name, and keep it."""
    tagger = load_tagger(write_ending(tmp_path / "toy", "written out", names))
    assert tagger.column_names() == {name: f"toy_{name}" for name in names}


def test_p_and_one_minus_p(tmp_path: Path) -> None:
    bundle = Bundle.from_folder(write_ending(tmp_path / "toy", "two", ("label_a", "label_b")))
    assert [output.kind for output in bundle.outputs] == ["prob", "prob"]


@pytest.mark.parametrize(
    ("kind", "batch"),
    [*((kind, "N") for kind in ("linear", "small", "relu", "tanh", "over jets", "constant")), ("over jets", 4)],
)
def test_what_only_looks_like_a_probability_is_none(tmp_path: Path, kind: str, batch: int | str) -> None:
    """Not bounded, bounded elsewhere, within 0 and 1 by chance, dependent on the other jets, always the same."""
    bundle = Bundle.from_folder(write_ending(tmp_path / "toy", kind, NAMES, batch=batch))
    assert [output.name for output in bundle.outputs] == ["logita", "logitb", "logitc"]


def test_hidden_neurons_and_masses_keep_their_kind(tmp_path: Path) -> None:
    bundle = Bundle.from_folder(write_ending(tmp_path / "toy", "sigmoid", ("hidNeuron0", "mass", "label_a")))
    assert [output.kind for output in bundle.outputs] == ["hidden", "mass", "prob"]


def test_a_network_that_cannot_run_is_judged_by_its_graph(tmp_path: Path) -> None:
    folder = write_ending(tmp_path / "toy", "sigmoid", NAMES)
    content = (folder / "model.onnx").read_bytes().replace(b"Sigmoid", b"Sigmoit")
    (folder / "model.onnx").write_bytes(content)
    assert {output.kind for output in Bundle.from_folder(folder).outputs} == {"logit"}


def test_a_card_without_kinds_leaves_them_to_the_network(tmp_path: Path) -> None:
    folder = write_ending(tmp_path / "toy", "sigmoid", NAMES)
    (folder / "bundle.json").write_text(json.dumps({"schema_version": 1, "name": "other", "prefix": "o"}))
    assert load_tagger(folder).column_names() == {f"prob{name}": f"o_prob{name}" for name in "abc"}
    (folder / "bundle.json").write_text(json.dumps({"schema_version": 1, "name": "other", "softmax": ["label_[ab]"]}))
    write_ending(folder, "linear", NAMES)
    assert [output.kind for output in Bundle.from_folder(folder).outputs] == ["prob", "prob", "logit"]


def test_what_was_seen_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_ending(tmp_path / "toy", "sigmoid", NAMES)
    first = Bundle.from_folder(folder).outputs
    forget()
    monkeypatch.setattr(probing, "_values", lambda *_: pytest.fail("run again"))
    assert Bundle.from_folder(folder).outputs == first
    assert len(list((tmp_path / "cache" / "probes").glob("*.jettagger"))) == 1


def test_nothing_is_run_where_graph_and_names_say_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "_values", lambda *_: pytest.fail("was run"))
    assert [output.kind for output in Bundle.from_folder(write_bundle(tmp_path / "toy")).outputs[:4]] == [
        "prob",
        "prob",
        "prob",
        "mass",
    ]


def test_several_axes_are_refused_with_what_was_found(tmp_path: Path) -> None:
    folder = write_ending(tmp_path / "toy", "square", [f"label_{n}" for n in range(9)])
    with pytest.raises(BundleError, match=r"output 'out' is float32\['N', 3, 3\], several numbers along 2 axes"):
        Bundle.from_folder(folder)


def test_whole_numbers_are_no_probabilities(tmp_path: Path) -> None:
    assert {output.kind for output in Bundle.from_folder(write_ending(tmp_path / "i", "integers", NAMES)).outputs} == {
        "logit"
    }


@pytest.mark.parametrize("output", [np.float32(1), [np.zeros(3)], np.array(["a", "b"]), np.zeros((2, 3, 4))], ids=str)
def test_outputs_that_are_no_columns(output: Any) -> None:
    array = np.asarray(output) if isinstance(output, np.float32) else output
    with pytest.raises(ModelFileError, match="the network's output 'x' is"):
        flat_columns("x", array, 2)


@pytest.mark.parametrize("names", [["", "b", "c"], ["a", None, "c"]])
def test_outputs_need_names(tmp_path: Path, names: list[Any]) -> None:
    with pytest.raises(BundleError, match="expected a list of names"):
        Bundle.from_folder(write_ending(tmp_path / "toy", "softmax", names))


class TestNothingSelected:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        return write_bundle(
            tmp_path / "toy", heads=(Head("a", 2), Head("b", 1)), output_names=["label_x", "label_y", "pear"]
        )

    def test_attach(self, folder: Path) -> None:
        expected = r"selects no output of 'toy'.* 2 of kind logit \(logitx, logity\), 1 of kind other \(pear\)"
        tagger = load_tagger(folder)
        for refused in (lambda: tagger.attach(make_events(2, seed=1)), lambda: tagger.column_names(())):
            with pytest.raises(ConfigError, match=expected):
                refused()
        assert "toy_pear" in tagger.attach(make_events(2, seed=1), columns="other").FatJet.fields

    def test_several_models(self, folder: Path) -> None:
        events = make_events(2, seed=1)
        mixed = load_taggers([folder, "tinyParT"])
        assert "tinyParT_mass" in mixed.attach(events, columns=["mass"]).FatJet.fields
        with pytest.raises(ConfigError, match="selects no output of any model: 'toy' gives 2 of kind logit"):
            load_taggers([folder]).attach(events)


class TestBehaviour:
    def test_groups(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Two softmaxes side by side, a sigmoid, a number."""
        rng = np.random.default_rng(1)
        first, second = softmax(rng.normal(size=(12, 3))), softmax(rng.normal(size=(12, 2)))
        values = np.concatenate([first, second, sigmoid(rng.normal(size=(12, 1))), rng.normal(size=(12, 1))], axis=1)
        found = probing._behaviour(values, np.zeros(1))
        assert found == Behaviour((True,) * 6 + (False,), (True,) * 5 + (False,) * 2)

    def test_what_is_not_finite_says_nothing(self) -> None:
        values = softmax(np.random.default_rng(1).normal(size=(12, 3)))
        values[3] = np.nan
        assert probing._behaviour(values, np.zeros(1)).summed == (True,) * 3
        assert probing._behaviour(np.full((12, 3), np.nan), np.zeros(1)).unit == (False,) * 3

    def test_four_momenta_are_such(self) -> None:
        item = ProbeInput("pf_vectors", ("pfcand_px", "pfcand_py", "pfcand_pz", "pfcand_energy"), 7)
        array = probing._random([item], 5, 0, 10.0)["pf_vectors"].astype(float)
        assert ((array[:, 3] ** 2 - (array[:, :3] ** 2).sum(axis=1)) > -1e-3 * array[:, 3] ** 2).all()

    def test_a_file_that_is_refused(self, tmp_path: Path) -> None:
        bundle = Bundle.from_folder(write_ending(tmp_path / "toy", "sigmoid", NAMES))
        assert bundle.graph is not None
        assert observed(bundle.graph, [ProbeInput("pf_features", ("pfcand_pt_log_nopuppi",), 5)]) is None
