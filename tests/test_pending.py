"""Outputs that arrive in any order, or not at all: each belongs to its jet."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import Head, write_bundle

from jettagger.bundles.bundle import Bundle
from jettagger.errors import ModelFileError, RemoteError
from jettagger.inference.network import deviation, deviations, evaluate, softmax, stacked
from jettagger.inference.pending import Pending
from jettagger.inputs.batching import Batch
from jettagger.sessions import Traffic
from jettagger.sessions.replay import ReplaySession
from jettagger.types import Array

GROUPS = {"pf_features": ("pfcand_dz",), "pf_mask": ("pfcand_mask",)}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Two numbers for each jet."""
    return make(tmp_path_factory.mktemp("pending") / "toy")


def make(folder: Path, **options: Any) -> Bundle:
    heads, names = (Head("probabilities", 2, softmax=True), Head("mass", 1)), ["label_a", "label_b", "mass"]
    return Bundle.from_folder(write_bundle(folder, groups=GROUPS, heads=heads, output_names=names, **options))


def outputs_of(inputs: Mapping[str, Array]) -> dict[str, Array]:
    """What a network gives: the number of each jet in three columns."""
    number = inputs["pf_features"][:, 0, :1]
    return {"scores": np.concatenate([number, -number, 2 * number], axis=1)}


def batches(sizes: list[int], order: list[int], filled: int = 2) -> Iterator[Batch]:
    """Batches of jets in some order, four slots each."""
    for jets in np.split(np.array(order, dtype=np.int64), np.cumsum(sizes)[:-1]):
        features = np.repeat(jets.astype("f4")[:, np.newaxis, np.newaxis], 4, axis=2)
        inputs = {"pf_features": features, "pf_mask": np.ones_like(features)}
        yield Batch(jets, inputs, slots=4 * len(jets), filled=filled * len(jets), rows={})


class Threads:
    """A session with batches in flight, of which some fail."""

    provider = "threads"

    def __init__(self, in_flight: int, faults: tuple[int, ...] = ()) -> None:
        self.in_flight, self.pool, self.faults = in_flight, ThreadPoolExecutor(in_flight), faults
        self.runs = self.abandoned = 0
        self.lock = threading.Lock()

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        with self.lock:
            self.runs += 1
        if int(inputs["pf_features"][0, 0, 0]) in self.faults:
            raise RemoteError("the server is gone")
        return outputs_of(inputs)

    def abandon(self) -> None:
        self.abandoned += 1


@settings(max_examples=25)
@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=6), seed=st.integers(0, 99), in_flight=st.integers(0, 3))
def test_each_output_is_that_of_its_jet(bundle: Bundle, sizes: list[int], seed: int, in_flight: int) -> None:
    """In any order of jets and batches, one after the other or several in flight."""
    n_jets = sum(sizes)
    order = np.random.default_rng(seed).permutation(n_jets).tolist()
    session: Any = Threads(in_flight) if in_flight else ReplaySession(outputs_of)
    pending = Pending(bundle, session, batches(sizes, order), n_jets).wait()
    number = np.arange(n_jets, dtype="f4")
    np.testing.assert_array_equal(pending.values, np.stack([number, -number, 2 * number], axis=1))
    assert (pending.slots, pending.filled, pending.refused) == (4 * n_jets, 2 * n_jets, 0)
    assert pending.seconds >= 0
    if in_flight:
        assert session.runs == len(sizes)
        session.pool.shutdown()


class Later:
    """A pool, and an answer of it: nothing runs before it is asked for."""

    def __init__(self, *call: Any, asked: list[str] | None = None) -> None:
        self.call = call
        self.asked: list[str] = [] if asked is None else asked

    def submit(self, *call: Any) -> Later:
        return Later(*call, asked=self.asked)

    def result(self) -> Any:
        self.asked.append("asked")
        function, *arguments = self.call
        return function(*arguments)

    def cancel(self) -> None:
        self.asked.append("cancelled")


@pytest.mark.parametrize("in_flight", [1, 2, 4])
def test_inputs_are_made_when_they_are_needed(bundle: Bundle, in_flight: int) -> None:
    """Inputs of batches are memory: there are those in flight and the next, no more."""
    session = Threads(in_flight)
    session.pool = Later()  # type: ignore[assignment]
    made: list[int] = []

    def noted() -> Iterator[Batch]:
        for batch in batches([1] * 7, list(range(7))):
            made.append(session.pool.asked.count("asked"))  # type: ignore[attr-defined]
            yield batch

    pending = Pending(bundle, session, noted(), 7)
    assert made == [max(0, number - in_flight) for number in range(7)]
    assert pending.wait().values[:, 0].tolist() == list(range(7))


def test_what_is_abandoned_is_cancelled_and_not_asked_for(bundle: Bundle) -> None:
    session = Threads(3)
    session.pool = Later()  # type: ignore[assignment]
    pending = Pending(bundle, session, batches([1] * 5, list(range(5))), 5)
    for _ in range(2):  # the second has nothing left to give up
        pending.abandon()
        assert session.pool.asked == ["asked"] * 2 + ["cancelled"] * 3  # type: ignore[attr-defined]
        assert session.abandoned == 1
    assert pending.wait().values[:2, 0].tolist() == [0, 1]


@pytest.mark.parametrize("fault", [0, 3, 5])
def test_an_error_gives_up_the_others(bundle: Bundle, fault: int) -> None:
    """Wherever it arrives: while further batches are made, or in the end."""
    session = Threads(2, faults=(fault,))
    with pytest.raises(RemoteError, match="the server is gone"):
        Pending(bundle, session, batches([1] * 6, list(range(6))), 6).wait()
    assert session.abandoned == 1
    session.pool.shutdown()


def test_an_error_of_the_inputs_gives_up_what_is_in_flight(bundle: Bundle) -> None:
    session = Threads(2)

    def interrupted() -> Iterator[Batch]:
        yield from batches([1, 1], [0, 1])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Pending(bundle, session, interrupted(), 3)
    assert session.abandoned == 1
    session.pool.shutdown()


def test_without_jets_nothing_runs(bundle: Bundle) -> None:
    session = ReplaySession(outputs_of)
    pending = Pending(bundle, session, (), 0).wait()
    assert pending.values.shape == (0, 3)
    assert (session.calls, pending.slots, pending.filled) == ([], 0, 0)
    pending.abandon()
    assert pending.wait() is pending


def test_requests_are_counted_by_run(bundle: Bundle) -> None:
    """Two runs of one session of a server have counts of their own."""

    class Counted:
        def __init__(self, traffic: Traffic) -> None:
            self.traffic = traffic

        def for_run(self, traffic: Traffic) -> Counted:
            return Counted(traffic)

        def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
            self.traffic.add(requests=1, server="grpc://gpu7:8001/toy")
            return outputs_of(inputs)

    shared = Counted(Traffic())
    first, second = (Pending(bundle, shared, batches([1] * n, list(range(n))), n).wait() for n in (3, 2))
    assert (first.traffic.requests, second.traffic.requests, shared.traffic.requests) == (3, 2, 0)
    assert list(first.traffic.servers) == ["grpc://gpu7:8001/toy"]


class TestOneRun:
    def test_a_batch_that_is_full_is_not_copied(self, tmp_path: Path) -> None:
        """With a fixed number of jets; more are an error of the network, not cut off."""
        fixed = make(tmp_path / "fixed", batch=3)
        session = ReplaySession(outputs_of)
        (full,) = batches([3], [2, 0, 1])
        assert evaluate(fixed, session, full.inputs)[:, 0].tolist() == [2, 0, 1]
        assert session.calls[0]["pf_features"] is full.inputs["pf_features"]
        (few,) = batches([2], [4, 5])
        assert evaluate(fixed, session, few.inputs).tolist() == [[4, -4, 8], [5, -5, 10]]
        assert session.calls[1]["pf_features"][:, 0, 0].tolist() == [4, 5, 4]

    @pytest.mark.parametrize("shape", [(2, 3), (1, 2, 3), (2, 1, 3), (2, 3, 1), (2, 1, 3, 1)], ids=str)
    def test_axes_of_size_one_are_dropped(self, bundle: Bundle, shape: tuple[int, ...]) -> None:
        values = np.arange(6, dtype="f8").reshape(shape)
        found = stacked(bundle, {"scores": values}, 2)
        assert found.dtype == np.float32
        assert found.tolist() == [[0, 1, 2], [3, 4, 5]]
        found[:] = -1
        assert values.ravel().tolist() == [0, 1, 2, 3, 4, 5]

    @pytest.mark.parametrize(
        ("shapes", "said"),
        [
            ([(4, 2)], "gave 2 columns for 4 jets, expected 3 .* for 4"),
            ([(4, 2), (4, 2)], "gave 4 columns for 4 jets"),
            ([(3, 3)], "gave 3 columns for 3 jets"),
            ([(4, 2), (3,)], "gave 3 columns for 3 jets"),
            ([(0, 3)], "gave 3 columns for 0 jets"),
        ],
        ids=str,
    )
    def test_other_numbers_of_columns_or_jets(self, bundle: Bundle, shapes: list[tuple[int, ...]], said: str) -> None:
        outputs = {f"{place}": np.zeros(shape, "f4") for place, shape in enumerate(shapes)}
        with pytest.raises(ModelFileError, match=f"the network of 'toy' {said}"):
            stacked(bundle, outputs, 4)

    def test_deviations_are_in_units_of_the_tolerance_of_each_output(self, bundle: Bundle) -> None:
        """1e-5 for probabilities; 1e-4 for a mass up to one, relative above; what is not finite is the same, or not."""
        inf, nan = np.inf, np.nan
        reference = np.array([[0.5, 0, 0.5], [0.5, nan, 200], [inf, nan, -inf], [inf, 0, nan]], dtype="f4")
        values = np.array([[0.5 + 2.0**-15, 0, 0.75], [0.5, nan, 202], [inf, 1, inf], [1, nan, nan]], dtype="f4")
        expected = [[2.0**-15 / 1e-5, 0, 0.25 / 1e-4], [0, 0, 2 / (1e-4 * 200)], [0, inf, inf], [inf, inf, 0]]
        np.testing.assert_allclose(deviations(bundle, values, reference), expected, rtol=1e-12)
        assert deviation(bundle, values[:2], reference[:2]) == pytest.approx(2500)
        assert deviation(bundle, values[:0], reference[:0]) == 0

    @settings(max_examples=25)
    @given(st.lists(st.floats(-700, 700), min_size=1, max_size=6), st.floats(-1e4, 1e4))
    def test_a_softmax_is_that_of_its_formula(self, logits: list[float], shift: float) -> None:
        """In double precision, and a common number changes nothing."""
        exact = np.array(logits)
        found = softmax(exact)
        np.testing.assert_allclose(found, np.exp(exact) / np.exp(exact).sum(), rtol=1e-12, atol=1e-300)
        np.testing.assert_allclose(softmax(exact + shift), found, rtol=1e-9, atol=1e-300)
