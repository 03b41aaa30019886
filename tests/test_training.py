"""The loop behind all trainings: what it reaches, where it stops, that it goes on as if nothing had happened."""

from __future__ import annotations

import math
import pickle
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from traced import traced_peak

from jettagger.errors import InputFileError, InvalidValues, MismatchError
from jettagger.training import (
    Epoch,
    LoopSettings,
    Metric,
    Store,
    TrainingBatch,
    cross_entropy,
    epoch_random,
    full_batches,
    residual_losses,
    seeded,
    train_network,
)
from jettagger.training.checkpoints import VERSION


def torch() -> Any:
    return pytest.importorskip("torch", reason="the extra train is not installed")


# ------------------------------------------------------------------------------------------------------------- shards


def test_a_store_gives_all_rows_in_another_order_each_time(tmp_path: Path) -> None:
    rows = np.stack([np.arange(5000), np.repeat(np.arange(10), 500)], axis=1).astype("f4")  # ten "files"
    with Store(tmp_path, 2, rows=5000, memory=60_000, seed=3) as store:
        for piece in np.split(rows, 10):
            store.add(piece)
    assert store.shards > 3
    epochs = [np.concatenate(list(store.epoch(np.random.default_rng([seed])))) for seed in (0, 1, 0)]
    assert all(sorted(epoch[:, 0]) == sorted(rows[:, 0]) for epoch in epochs)
    assert (epochs[0] == epochs[2]).all()
    assert (epochs[0] != epochs[1]).any()
    # any tenth of an epoch has jets of all files
    assert all(len(np.unique(part)) == 10 for part in np.split(epochs[0][:, 1], 10))


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    def use(pieces: int) -> None:
        with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
            with Store(Path(folder), 100, rows=1000 * pieces, memory=3_000_000, seed=1) as store:
                for number in range(pieces):
                    store.add(np.full((1000, 100), number, dtype="f4"))
            for _ in store.epoch(np.random.default_rng(0)):
                pass
            assert sum(path.stat().st_size for path in Path(folder).iterdir()) == 400_000 * pieces

    few, many = (traced_peak(partial(use, pieces)) for pieces in (4, 40))
    assert many < 3_500_000 < 400_000 * 40
    assert many < 1.5 * few


@given(lengths=st.lists(st.integers(0, 20), max_size=8), size=st.integers(1, 12))
def test_batches_are_full_but_the_last_and_keep_the_order(lengths: list[int], size: int) -> None:
    rows = np.arange(2 * sum(lengths), dtype="f4").reshape(-1, 2)
    batches = list(full_batches(np.split(rows, np.cumsum(lengths)), size))
    assert [len(batch) for batch in batches[:-1]] == [size] * (len(batches) - 1)
    assert all(0 < len(batch) <= size for batch in batches)
    np.testing.assert_array_equal(np.concatenate([rows[:0], *batches]), rows)


# ------------------------------------------------------------------------------------------------------------- losses


def test_losses_of_residuals_are_the_closed_forms() -> None:
    r = np.array([-3.0, -0.5, 0.0, 0.2, 4.0])
    s = np.abs(r) / 0.7
    np.testing.assert_allclose(residual_losses(r, "log-cosh", scale=0.7), np.log(np.cosh(s)), rtol=1e-12)
    expected = [x**2 / 2 if x < 1 else x - 0.5 for x in s]
    np.testing.assert_allclose(residual_losses(r, "huber", scale=0.7), expected, rtol=1e-12)
    np.testing.assert_allclose(residual_losses(r, "quantile", q=0.3), [0.9, 0.15, 0, 0.14, 2.8], rtol=1e-12)
    assert np.isfinite(residual_losses(np.array([1e6]), "log-cosh", scale=1e-3)).all()


@pytest.mark.parametrize("kind", ["log-cosh", "huber", "quantile"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_torch_and_numpy_have_the_same_losses(kind: Any, dtype: str) -> None:
    library = torch()
    r = np.linspace(-2, 2, 41, dtype=dtype)
    found = residual_losses(library.from_numpy(r), kind, scale=0.3, q=0.7).numpy()
    assert found.dtype == r.dtype
    np.testing.assert_allclose(found, residual_losses(r, kind, scale=0.3, q=0.7), rtol=1e-5, atol=1e-6)


def test_cross_entropy_is_that_of_torch() -> None:
    library = torch()
    rng = np.random.default_rng(0)
    logits, label, weights = rng.normal(size=(50, 3)), rng.integers(0, 3, 50), rng.uniform(0, 2, 50)
    tensor = library.from_numpy(logits)
    each = library.nn.functional.cross_entropy(tensor, library.from_numpy(label), reduction="none").numpy()
    found = cross_entropy(library.softmax(tensor, dim=1).numpy(), label, weights)
    assert found == pytest.approx(np.average(each, weights=weights))


# -------------------------------------------------------------------------------------------------------------- seeds


def test_random_numbers_and_threads_are_as_before() -> None:
    library = torch()
    library.manual_seed(3)
    expected = library.rand(5)
    library.manual_seed(3)
    threads = library.get_num_threads()
    drawn = []
    for seed, model in ((1, 0), (1, 0), (1, 1), (2, 0)):
        with seeded(seed, model, threads=1):
            assert library.get_num_threads() == 1
            drawn.append(library.rand(5).tolist())
    assert drawn[0] == drawn[1]
    assert len({tuple(numbers) for numbers in drawn}) == 3
    assert library.get_num_threads() == threads
    assert library.rand(5).tolist() == expected.tolist()
    assert len({epoch_random(seed, model, 0).integers(2**60) for seed in range(3) for model in range(3)}) == 9


# ---------------------------------------------------------------------------------------------------------------- loop

X = np.random.default_rng(1).normal(0, 1, (400, 3)).astype("f4")
NOISE = np.random.default_rng(2).normal(0, 1, 400)
#: rows of little weight follow another line
ODD = np.arange(400) % 4 == 0
WEIGHTS = np.where(ODD, 0.05, 1.0).astype("f4")
Y = (np.where(ODD, -X @ [3.0, 1.0, 0.0] - 4, X @ [1.0, -2.0, 0.5] + 0.7) + 0.3 * NOISE).astype("f4")


def batches(size: int = 400, epoch: int | None = None) -> Iterator[TrainingBatch]:
    """The rows of the closed form, in the order of an epoch."""
    order = np.arange(400) if epoch is None else epoch_random(5, 0, epoch).permutation(400)
    for start in range(0, 400, size):
        chosen = order[start : start + size]
        yield TrainingBatch((X[chosen],), Y[chosen], WEIGHTS[chosen])


def squares(outputs: Any, targets: Any, weights: Any) -> Any:
    return (outputs[:, 0] - targets) ** 2 * weights


def small_network(dropout: float = 0.2) -> Any:
    """Made within `seeded`."""
    nn = torch().nn
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 1))


def weights_of(network: Any) -> list[list[float]]:
    return [value.flatten().tolist() for value in network.state_dict().values()]


def trained(
    *,
    seed: int = 1,
    epochs: int = 6,
    patience: int = 99,
    network: Any = None,
    networks: list[Any] | None = None,
    train: Callable[[int], Any] | None = None,
    **options: Any,
) -> tuple[Any, tuple[Epoch, ...]]:
    """A small network with dropout after a training; it is put into ``networks`` before."""
    torch()
    with seeded(seed, threads=1):
        network = small_network() if network is None else network
        if networks is not None:
            networks.append(network)
        history = train_network(
            network,
            options.pop("loss", squares),
            train or (lambda epoch: batches(64, epoch)),
            options.pop("validation", batches),
            LoopSettings(epochs, rate=1e-2, patience=patience),
            **options,
        )
    return network, history


def test_a_linear_network_finds_weighted_least_squares() -> None:
    library = torch()
    with seeded(1, threads=1):
        network = library.nn.Linear(3, 1)
        steps = LoopSettings(epochs=400, rate=0.1, decay=0, patience=400)
        history = train_network(network, squares, lambda _: batches(), batches, steps)
    columns = np.column_stack([X, np.ones(400)]).astype(np.float64)
    root = np.sqrt(WEIGHTS.astype(np.float64))
    expected = np.linalg.lstsq(columns * root[:, None], Y * root, rcond=None)[0]
    got = [*network.weight.flatten().tolist(), *network.bias.tolist()]
    np.testing.assert_allclose(got, expected, atol=1e-3)
    unweighted = np.linalg.lstsq(columns, Y, rcond=None)[0]
    assert np.abs(unweighted - expected).max() > 0.5  # the weights matter
    least = np.average((columns @ expected - Y) ** 2, weights=WEIGHTS)
    assert min(epoch.validation for epoch in history) == pytest.approx(least, rel=1e-5)
    assert history[0].start > 10 * least


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_the_rate_falls_along_a_cosine(decay: float) -> None:
    """A constant gradient moves a weight by the learning rate, whatever its size; decay shrinks it before."""
    library = torch()
    one = TrainingBatch((np.ones((1, 1), "f4"),), np.zeros(1, "f4"), np.ones(1, "f4"))
    seen = []
    with seeded(1, threads=1):
        network = library.nn.Linear(1, 1, bias=False)
        before = network.weight.item()
        train_network(
            network,
            lambda outputs, targets, weights: 100 * outputs[:, 0],
            lambda _: [one],
            lambda: [one],
            LoopSettings(epochs=5, rate=0.2, decay=decay),
            follow=lambda epoch: seen.append(network.weight.item()),
        )
    expected = []
    for epoch in range(5):
        rate = 0.2 * (0.01 + 0.99 * (1 + math.cos(math.pi * epoch / 5)) / 2)
        before = before * (1 - rate * decay) - rate
        expected.append(before)
    np.testing.assert_allclose(seen, expected, rtol=1e-5)


def test_gradients_are_shortened_to_the_longest_that_is_allowed() -> None:
    """The gradient of a single weight is the target: 1000 and then 1 act as 1 and 1."""
    library = torch()

    def weight(targets: list[float], longest: float) -> float:
        rows = [TrainingBatch((np.ones((1, 1), "f4"),), np.full(1, y, "f4"), np.ones(1, "f4")) for y in targets]
        seen = []
        with seeded(1, threads=1):
            network = library.nn.Linear(1, 1, bias=False)
            train_network(
                network,
                lambda outputs, targets, weights: targets * outputs[:, 0],
                lambda _: rows,
                lambda: rows,
                LoopSettings(epochs=1, rate=0.2, max_norm=longest),
                follow=lambda _: seen.append(network.weight.item()),
            )
        return float(seen[0])

    assert weight([1000, 1], 1.0) == pytest.approx(weight([1, 1], 1.0), rel=1e-5)
    assert weight([1000, 1], 1e6) != pytest.approx(weight([1, 1], 1e6), rel=1e-2)


def test_the_same_seed_gives_the_same_network() -> None:
    (first, history), (again, repeated), (other, _) = (trained(seed=seed) for seed in (1, 1, 2))
    assert weights_of(first) == weights_of(again)
    assert history == repeated
    assert weights_of(first) != weights_of(other)


def test_it_stops_after_its_patience_with_the_best_weights() -> None:
    validations = iter([9.0, 4.0, 2.0, 2.0, 3.0, 1.0, 1.5, 1.2, 1.1])
    seen = []
    networks: list[Any] = []
    network, history = trained(
        networks=networks,
        epochs=50,
        patience=3,
        metric=Metric("error", lambda outputs, targets, weights: next(validations)),
        model=2,
        follow=lambda epoch: seen.append((epoch, weights_of(networks[0]))),
    )
    assert [epoch.metric for epoch in history] == [4.0, 2.0, 2.0, 3.0, 1.0, 1.5, 1.2, 1.1]
    assert [epoch.best for epoch in history] == [True, True, False, False, True, False, False, False]
    assert [(epoch.number, epoch.model) for epoch in history] == [(n, 2) for n in range(1, 9)]
    assert [epoch for epoch, _ in seen] == list(history)
    assert weights_of(network) == seen[4][1] != seen[-1][1]
    assert not network.training


def test_a_training_that_makes_it_worse_keeps_the_network_as_it_was() -> None:
    torch()
    with seeded(1, threads=1):
        before = weights_of(small_network())
    numbers = iter([1.0, 2.0, 3.0])
    network, history = trained(patience=2, metric=Metric("error", lambda *_: next(numbers)))
    assert weights_of(network) == before
    assert len(history) == 2


def test_the_metric_sees_all_rows_of_the_validation_as_the_network_is_used() -> None:
    library = torch()
    calls: list[float] = []

    def error(outputs: Any, targets: Any, weights: Any) -> float:
        np.testing.assert_array_equal(targets, Y)
        np.testing.assert_array_equal(weights, WEIGHTS)
        calls.append(float((outputs[:, 0] - targets).abs().max()))
        return calls[-1]

    network, history = trained(validation=lambda: batches(150), metric=Metric("error", error), epochs=3)
    with library.no_grad():
        out = network(library.from_numpy(X))[:, 0].numpy()
    assert len(calls) == 4
    assert calls[1:] == [epoch.criterion for epoch in history]
    assert np.abs(out - Y).max() == pytest.approx(min(calls), rel=1e-5)


def test_a_metric_may_keep_a_part_of_each_batch() -> None:
    seen: list[int] = []

    def reduced(outputs: Any, targets: Any, weights: Any) -> tuple[Any, Any, Any]:
        seen.append(len(outputs))
        return (outputs[:, 0] - targets).abs().max()[None], targets[:1], weights[:1]

    whole = Metric("error", lambda outputs, targets, weights: float((outputs[:, 0] - targets).abs().max()))
    parts = Metric("error", lambda outputs, targets, weights: float(outputs.max()), reduce=reduced)
    expected = trained(validation=lambda: batches(150), metric=whole, epochs=2)[1]
    assert trained(validation=lambda: batches(150), metric=parts, epochs=2)[1] == expected
    assert max(seen) <= 150
    assert sum(seen) == 3 * len(Y)


def test_several_measures_are_kept_and_one_of_them_or_the_loss_decides(tmp_path: Path) -> None:
    def measures(values: Iterator[float]) -> Callable[..., dict[str, float]]:
        return lambda *_: {"right": next(values), "other": math.nan}

    best = [0.1, 0.2, 0.5, 0.3, 0.4]
    metric = Metric("right", measures(iter(best)), higher_is_better=True)
    _, history = trained(epochs=4, metric=metric, checkpoint=tmp_path / "checkpoint.pt")
    assert [epoch.metric for epoch in history] == best[1:]
    assert [epoch.best for epoch in history] == [True, True, False, False]
    assert [epoch.measures["right"] for epoch in history] == best[1:]
    _, again = trained(epochs=4, metric=metric, checkpoint=tmp_path / "checkpoint.pt")
    assert [epoch.measures["right"] for epoch in again] == best[1:]
    _, history = trained(epochs=4, metric=Metric("", measures(iter(best))))
    assert [epoch.metric for epoch in history] == [None] * 4
    assert [epoch.criterion for epoch in history] == [epoch.validation for epoch in history]
    assert [epoch.measures["right"] for epoch in history] == best[1:]


def test_the_loss_decides_between_equal_metrics() -> None:
    def run(ties: bool) -> tuple[Epoch, ...]:
        return trained(epochs=4, metric=Metric("right", lambda *_: 0.5, True, loss_decides_ties=ties))[1]

    assert not any(epoch.best for epoch in run(False))
    history = run(True)
    losses = [history[0].start, *(epoch.validation for epoch in history)]
    assert [epoch.best for epoch in history] == [losses[i + 1] < min(losses[: i + 1]) for i in range(4)]
    assert history[0].best


def test_a_training_may_end_after_any_epoch() -> None:
    answers = iter([False, True])
    _, history = trained(epochs=5, until=lambda: next(answers))
    assert len(history) == 2
    assert history == trained(epochs=5)[1][:2]


def test_a_term_of_the_batch_is_added_to_its_loss() -> None:
    plain, history = trained(epochs=2)
    shifted, moved = trained(epochs=2, loss=lambda *batch: squares(*batch) + 10 * batch[2])
    assert weights_of(plain) == weights_of(shifted)
    assert [epoch.validation + 10 for epoch in history] == pytest.approx([epoch.validation for epoch in moved])
    assert [epoch.train + 10 for epoch in history] == pytest.approx([epoch.train for epoch in moved])


def adversary() -> Any:
    """A loss with a weight of its own, and a number that it counts: made within `seeded`."""
    library = torch()

    class Adversary(library.nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.shift = library.nn.Parameter(library.zeros(1))
            self.register_buffer("calls", library.zeros(1))

        def forward(self, outputs: Any, targets: Any, weights: Any) -> Any:
            if self.training:
                self.calls += 1
            return (outputs[:, 0] + self.shift - targets) ** 2 * weights

    return Adversary()


def test_a_loss_with_weights_of_its_own_is_trained_and_kept(tmp_path: Path) -> None:
    numbers = [3.0, 2.0, 1.0, 5.0, 5.0]
    loss, values, states = adversary(), iter(numbers), []
    trained(
        loss=loss,
        epochs=4,
        metric=Metric("error", lambda *_: next(values)),
        follow=lambda _: states.append(weights_of(loss)),
    )
    assert weights_of(loss) == states[1] != states[-1]
    assert [state[1] for state in states] == [[7.0], [14.0], [21.0], [28.0]]  # batches of 64 in 400 rows
    # the same after a break
    again, values = adversary(), iter([*numbers[:3], *numbers[3:]])
    path = tmp_path / "state.pt"

    def stop(epoch: Epoch) -> None:
        if epoch.number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(loss=again, epochs=4, metric=Metric("error", lambda *_: next(values)), follow=stop, checkpoint=path)
    loss, later = adversary(), []
    metric = Metric("error", lambda *_: next(values))
    trained(loss=loss, epochs=4, metric=metric, follow=lambda _: later.append(weights_of(loss)), checkpoint=path)
    assert later == states[2:]


# --------------------------------------------------------------------------------------------------------- checkpoints


@pytest.mark.parametrize("place", ["within an epoch", "between epochs"])
@pytest.mark.parametrize("epoch", [1, 3, 5])
def test_after_a_break_it_goes_on_as_if_nothing_had_happened(tmp_path: Path, epoch: int, place: str) -> None:
    path = tmp_path / "state.pt"
    reference, history = trained()
    made: list[tuple[Epoch, Any]] = []
    networks: list[Any] = []

    def train(number: int) -> Iterator[TrainingBatch]:
        for position, batch in enumerate(batches(64, number)):
            if place == "within an epoch" and (number, position) == (epoch, 3):
                raise KeyboardInterrupt
            yield batch

    def follow(found: Epoch) -> None:
        made.append((found, weights_of(networks[0])))
        if place == "between epochs" and found.number == epoch:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(networks=networks, train=train, follow=follow, checkpoint=path)
    best = min(made, key=lambda pair: pair[0].validation)
    assert weights_of(networks[0]) == best[1]
    assert not networks[0].training
    followed: list[Epoch] = []
    # neither the weights nor the random numbers that it begins with matter
    again, whole = trained(seed=77, checkpoint=path, follow=followed.append)
    assert whole == history
    assert weights_of(again) == weights_of(reference)
    assert tuple(followed) == history[epoch:]


def test_a_finished_training_is_not_repeated(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    network, history = trained(checkpoint=path, patience=2, epochs=60)
    assert len(history) < 60

    def never(epoch: int) -> Any:
        raise AssertionError(epoch)

    again, repeated = trained(seed=3, checkpoint=path, patience=2, epochs=60, train=never, validation=lambda: never(0))
    assert repeated == history
    assert weights_of(again) == weights_of(network)
    assert [item.name for item in tmp_path.iterdir()] == ["state.pt"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"subject": "b"}, r"another training: subject was 'a' and is 'b'"),
        ({"epochs": 9}, r"another training: epochs was 2 and is 9"),
        ({"model": 1}, r"another training: model was 0 and is 1"),
        ({"network": "wide"}, r"another network: 0\.weight is None, expected \(1, 3\)|another network: 0\."),
        ({"loss": "adversary"}, r"another network: 1\.shift is None, expected \(1,\)"),
    ],
)
def test_the_checkpoint_of_another_training_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "state.pt"
    trained(checkpoint=path, subject="a", epochs=2)
    content = path.read_bytes()
    if "network" in change:
        change = {"network": torch().nn.Linear(3, 1)}
    if "loss" in change:
        change = {"loss": adversary()}
    with pytest.raises(MismatchError, match=message) as caught:
        trained(**{"checkpoint": path, "subject": "a", "epochs": 2, **change})
    assert "delete it to train from the beginning" in str(caught.value)
    assert path.read_bytes() == content


def test_damage_of_a_checkpoint_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    network, history = trained(checkpoint=path, epochs=2)
    content = path.read_bytes()
    refused = 0
    for position in range(7, len(content), 997):
        damaged = bytearray(content)
        damaged[position] ^= 4
        path.write_bytes(damaged)
        try:
            again, repeated = trained(checkpoint=path, epochs=2)
        except InputFileError:
            refused += 1
        else:  # the space between the records of an archive holds nothing
            assert repeated == history
            assert weights_of(again) == weights_of(network)
    assert refused > 5
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(
        InputFileError, match=r"damaged, or not a checkpoint of a training: .*; delete it to train from"
    ):
        trained(checkpoint=path, epochs=2)


class Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> Any:
        return (pytest.fail, ("the file was executed",))


def test_a_checkpoint_is_never_run(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    trained(checkpoint=path, epochs=2)
    content = torch().load(path, weights_only=True)
    torch().save({**content, "about": Trap()}, path)
    with pytest.raises(InputFileError, match="damaged, or not a checkpoint"):
        trained(checkpoint=path, epochs=2)
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(InputFileError, match="damaged, or not a checkpoint"):
        trained(checkpoint=path, epochs=2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "x"}, "its format is 'x', expected 'jettagger checkpoint'"),
        ({"version": VERSION + 1}, f"checkpoint of version {VERSION + 1}, this version of jettagger reads {VERSION}"),
        ({"version": 1, "progress": {}}, f"checkpoint of version 1, this version of jettagger reads {VERSION}"),
        ({"progress": {}}, "damaged, or not a checkpoint"),
        ({"weights": 3}, "damaged, or not a checkpoint"),
        ({"optimisers": [{}]}, "damaged"),
        ({"optimisers": []}, "damaged"),
        ({"random": "x"}, "damaged"),
    ],
)
def test_files_that_are_no_checkpoints(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "state.pt"
    trained(checkpoint=path, epochs=2)
    content = torch().load(path, weights_only=True)
    torch().save({**content, **change}, path)
    with pytest.raises(InputFileError, match=message):
        trained(checkpoint=path, epochs=2)


# -------------------------------------------------------------------------------------------------------- bad numbers


def test_a_loss_that_is_not_finite_is_said_and_the_best_network_stays() -> None:
    seen = []

    def train(epoch: int) -> Iterator[TrainingBatch]:
        for batch in batches(64, epoch):
            yield batch._replace(targets=batch.targets * (np.nan if epoch == 2 else 1))

    network = small_network()
    with pytest.raises(InvalidValues, match=r"epoch 3: the loss is not finite \(training nan"):
        trained(network=network, train=train, follow=lambda _: seen.append(weights_of(network)))
    assert weights_of(network) == seen[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train": lambda _: []}, "the weights of the training add up to 0, expected more than 0"),
        ({"validation": list}, "the weights of the validation add up to 0"),
        (
            {"validation": lambda: [batch._replace(weights=-batch.weights) for batch in batches()]},
            r"the weights of the validation add up to -305",
        ),
        ({"validation": list, "metric": Metric("error", lambda *_: 1.0)}, "the weights of the validation add up to 0"),
    ],
)
def test_a_training_without_rows(options: dict[str, Any], message: str) -> None:
    torch()
    with pytest.raises(InvalidValues, match=message):
        trained(**options)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), epochs=st.integers(1, 4), stop=st.integers(1, 4))
def test_a_break_never_matters(tmp_path_factory: pytest.TempPathFactory, seed: int, epochs: int, stop: int) -> None:
    path = tmp_path_factory.mktemp("state") / "state.pt"
    reference, history = trained(seed=seed, epochs=epochs)

    def follow(epoch: Epoch) -> None:
        if epoch.number == stop:
            raise InterruptedError

    with suppress(InterruptedError):
        trained(seed=seed, epochs=epochs, checkpoint=path, follow=follow)
    network, whole = trained(seed=seed + 1, epochs=epochs, checkpoint=path)
    assert whole == history
    assert weights_of(network) == weights_of(reference)
