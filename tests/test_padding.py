"""Lengths: where padding is seen the description counts, where it is not jets of similar length run together."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from networks import POOLED_WEIGHTS, write_bundle, write_pooled

import jettagger.inference.padding as padding
from jettagger.bundles.bundle import Bundle
from jettagger.errors import ModelFileError
from jettagger.inference.checking import check
from jettagger.inference.padding import Slots, as_run, measured_slots
from jettagger.runtime.processcache import forget
from jettagger.sessions import ReplaySession
from jettagger.tagging.tagger import Tagger, load_tagger
from jettagger.tagging.tensors import make_inputs
from jettagger.testing import make_events

#: what is said of networks that see padding has tests of its own
pytestmark = pytest.mark.filterwarnings("ignore:the network of '(toy|masked|mean|shared)':RuntimeWarning")

FIXED = {"var_length": 40}
OPEN = {"min_length": 6, "max_length": 40}


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JETTAGGER_CACHE", str(tmp_path / "cache"))
    forget()


EVENTS = make_events(20, seed=8)


def values_of(folder: Path) -> list[Any]:
    """x of the constituents of every jet, at most 40."""
    found: list[Any] = [np.zeros(0)] * int(ak.sum(ak.num(EVENTS.FatJet)))
    for batch in make_inputs(Bundle.from_folder(folder), EVENTS, batch_size=1):
        mask = batch.inputs.get("pf_mask", np.ones((1, 1, 40)))[0, 0] > 0
        found[int(batch.jets[0])] = batch.inputs["pf_features"][0, 0, mask[: batch.inputs["pf_features"].shape[2]]]
    return found


def closed_form(kind: str, x: Any, slots: int) -> float:
    """The first output, for a jet that is padded with zeros to so many slots."""
    padded = np.concatenate([x, np.zeros(slots - len(x))]).astype(float)
    if kind in ("sum", "needs", "slots"):
        pooled = padded.sum()
    elif kind == "mean":
        pooled = padded.mean()
    elif kind == "largest":
        pooled = np.sort(padded)[-4:].sum()
    elif kind == "last":
        pooled = (np.convolve(padded, [0.5, 1, 0.5], mode="same") + 0.25).mean()
    else:
        pooled = padded.sum() / len(x)
    return float(1 / (1 + np.exp(-2 * POOLED_WEIGHTS.get(kind, 1) * pooled)))


def scores(folder: Path, events: Any = EVENTS) -> Any:
    found = ak.flatten(load_tagger(folder)(events).proba)
    return ak.to_numpy(ak.fill_none(found, np.nan))


def expected(folder: Path, kind: str, lengths: dict[str, int]) -> Any:
    low, high = (lengths.get(key, 40) for key in ("min_length", "max_length"))
    jets = values_of(folder)
    found = [closed_form(kind, x, min(max(len(x), low), high)) if len(x) else np.nan for x in jets]
    assert len({len(x) for x in jets}) > 5, "jets of one length would prove nothing"
    return np.array(found)


@pytest.mark.parametrize("kind", ["sum", "mean", "last", "counted", "largest", "needs"])
@pytest.mark.parametrize("lengths", [FIXED, OPEN, {"min_length": 40, "max_length": 40}], ids=str)
def test_scores_are_those_of_the_length_that_is_described(tmp_path: Path, kind: str, lengths: dict[str, int]) -> None:
    folder = write_pooled(tmp_path / "toy", kind, lengths)
    wanted = expected(folder, kind, lengths)
    np.testing.assert_allclose(scores(folder), wanted, atol=1e-5)
    assert np.nanmax(wanted) - np.nanmin(wanted) > 0.01
    one_by_one = np.concatenate([scores(folder, EVENTS[i : i + 1]) for i in range(len(EVENTS))])
    np.testing.assert_allclose(one_by_one, wanted, atol=1e-5)


@pytest.mark.parametrize("lengths", [FIXED, OPEN], ids=str)
@pytest.mark.parametrize("kind", ["sum", "mean", "largest"])
def test_without_a_mask_too(tmp_path: Path, kind: str, lengths: dict[str, int]) -> None:
    folder = write_pooled(tmp_path / "toy", kind, lengths, masked=False)
    masked = write_pooled(tmp_path / "masked", kind, lengths)
    np.testing.assert_allclose(scores(folder), expected(masked, kind, lengths), atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "lengths", "shortest", "exact"),
    [
        ("sum", FIXED, 1, False),
        ("sum", OPEN, 6, False),
        ("counted", FIXED, 1, False),
        ("mean", FIXED, 40, False),
        ("mean", OPEN, 6, True),
        ("last", OPEN, 6, True),
        ("needs", FIXED, 4, False),
        ("needs", {"min_length": 3, "max_length": 40}, 6, False),
        ("largest", FIXED, 40, False),
    ],
)
def test_what_is_measured(tmp_path: Path, kind: str, lengths: dict[str, int], shortest: int, exact: bool) -> None:
    bundle = Bundle.from_folder(write_pooled(tmp_path / "toy", kind, lengths))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        slots = measured_slots(bundle)["pf"]
    assert (slots.shortest, slots.longest, slots.exact) == (shortest, 40, exact)
    harmless = slots.change == 0
    assert len(said) == (0 if harmless else 1)
    if not harmless:
        assert "'toy' gives other scores for another number of slots of 'pf', in spite of" in str(said[0].message)
        assert slots.change > 1
    groups = as_run(bundle).groups
    assert {(group.min_length, group.exact) for group in groups} == {(shortest, exact)}
    assert as_run(bundle).digest == bundle.digest


def test_harmless_networks_run_in_few_batches_of_similar_length(tmp_path: Path) -> None:
    shapes = {}
    for kind in ("sum", "mean"):
        bundle = Bundle.from_folder(write_pooled(tmp_path / kind, kind, FIXED))
        session = ReplaySession(lambda inputs: {"softmax": np.zeros((len(inputs["pf_mask"]), 2), "f4")})
        Tagger(bundle, session=session)(EVENTS)
        shapes[kind] = {call["pf_mask"].shape[2] for call in session.calls}
    assert min(shapes["sum"]) < 25
    assert shapes["mean"] == {40}


def test_it_is_measured_once_and_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = Bundle.from_folder(write_pooled(tmp_path / "toy", "mean", FIXED))
    with pytest.warns(RuntimeWarning, match="each jet gets the 40 slots of the description, as in CMSSW and weaver"):
        first = measured_slots(bundle)
    forget()
    monkeypatch.setattr(padding, "_Measurement", lambda *_: pytest.fail("measured again"))
    assert measured_slots(bundle) == first


def test_a_fixed_axis_needs_no_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(padding, "_Measurement", lambda *_: pytest.fail("measured"))
    bundle = Bundle.from_folder(write_pooled(tmp_path / "toy", "mean", FIXED, length=12))
    assert as_run(bundle) is bundle
    assert bundle.groups[0].max_length == 12


def test_axes_are_judged_apart(tmp_path: Path) -> None:
    """Vertices are pooled behind their mask, candidates are not."""
    groups = {
        "pf_features": ("pfcand_pt_log_nopuppi",),
        "sv_features": ("sv_mass", "sv_ntracks"),
        "sv_mask": ("sv_mask",),
    }
    lengths = {"pf": {"var_length": 20}, "sv": {"min_length": 1, "max_length": 5}}
    bundle = Bundle.from_folder(write_bundle(tmp_path / "toy", groups=groups, lengths=lengths))
    slots = measured_slots(bundle)
    assert (slots["pf"], slots["sv"]) == (Slots(1, 20), Slots(1, 5))


@pytest.mark.parametrize("kind", ["sum", "mean"])
def test_the_check_says_it(tmp_path: Path, kind: str) -> None:
    bundle = Bundle.from_folder(write_pooled(tmp_path / "toy", kind, FIXED))
    found = [item for item in check(bundle) if item.name.startswith("padding of pf")]
    assert [item.passed for item in found] == [True if kind == "sum" else None]
    said = {"sum": "padded to 40", "mean": "all jets are padded to the 40 of the description"}[kind]
    assert said in found[0].detail


class TestFailingRuns:
    """What the network refuses is one error of ours, wherever it runs."""

    @pytest.mark.parametrize(("backend", "k"), [("fast", 41), ("onnxruntime", 42)])
    def test_more_neighbours_than_slots(
        self, tmp_path: Path, backend: str, k: int, capfd: pytest.CaptureFixture[str]
    ) -> None:
        folder = write_pooled(tmp_path / "toy", "largest", {"var_length": 40}, k=k)
        with pytest.raises(ModelFileError) as info:
            load_tagger(folder, backend=backend)(EVENTS)
        text = str(info.value)
        jets = int(ak.sum(ak.num(EVENTS.FatJet)))
        for word in (
            str(folder / "model.onnx"),
            "the model 'toy'",
            "pf_features [",
            ", 1, 40]",
            f"k argument [{k}]",
            "min_length",
        ):
            assert word in text
        assert "\n" not in text
        assert jets >= int(text.partition(" jets with")[0].rpartition(" ")[2]) > 0
        assert "[E:onnxruntime" not in "".join(capfd.readouterr())

    def test_a_number_of_slots_that_is_built_in(self, tmp_path: Path) -> None:
        folder = write_pooled(tmp_path / "toy", "slots", FIXED, k=40)
        np.testing.assert_allclose(scores(folder), expected(folder, "sum", FIXED), atol=1e-5)

    def test_a_number_of_jets_that_is_built_in(self, tmp_path: Path) -> None:
        folder = write_pooled(tmp_path / "toy", "sum", FIXED, baked=1)
        with pytest.raises(ModelFileError, match="jets"):
            load_tagger(folder)(EVENTS)
        found = Tagger(Bundle.from_folder(folder), batch_size=1, backend="onnxruntime")(EVENTS)
        values = ak.to_numpy(ak.fill_none(ak.flatten(found.proba), np.nan))
        np.testing.assert_allclose(values, expected(folder, "sum", FIXED), atol=1e-5)

    def test_the_check_goes_on(self, tmp_path: Path) -> None:
        bundle = Bundle.from_folder(write_pooled(tmp_path / "toy", "largest", {"var_length": 40}, k=43))
        failed = [item for item in check(bundle) if item.passed is False]
        assert failed
        assert all("k argument [43]" in item.detail for item in failed if item.name == "length")


@pytest.mark.slow
@settings(max_examples=8, deadline=None, phases=[Phase.generate])
@given(order=st.permutations(range(len(EVENTS))), size=st.integers(1, 7))
def test_a_jet_never_depends_on_the_others(order: list[int], size: int, tmp_path_factory: Any) -> None:
    folder = tmp_path_factory.getbasetemp() / "shared"
    if not folder.exists():
        write_pooled(folder, "mean", OPEN)
    parts = [scores(folder, EVENTS[order[i : i + size]]) for i in range(0, len(order), size)]
    places = ak.local_index(EVENTS.FatJet.pt, axis=1) + np.cumsum(ak.num(EVENTS.FatJet)) - ak.num(EVENTS.FatJet)
    np.testing.assert_allclose(np.concatenate(parts), scores(folder)[ak.flatten(places[order])], atol=1e-6)
