"""What a training may use, each compared with plain code: schedules, opponents, precision; all of it after a break."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jettagger.errors import InvalidValues, MismatchError, ProviderError, UnknownName
from jettagger.training import (
    Adam,
    Constant,
    Cosine,
    Epoch,
    LoopSettings,
    Metric,
    Opponent,
    Piecewise,
    Plateau,
    RAdam,
    Restarts,
    Sgd,
    TrainingBatch,
    epoch_random,
    learning_rate,
    ramp,
    seeded,
    train_network,
)

X = np.random.default_rng(1).normal(0, 1, (300, 4)).astype("f4")
Y = (X[:, 0] + 0.5 * X[:, 1] + np.random.default_rng(2).normal(0, 0.5, 300)).astype("f4")
Z = X[:, 1]
WEIGHTS = np.random.default_rng(3).uniform(0.5, 1.5, 300).astype("f4")


def torch() -> Any:
    return pytest.importorskip("torch", reason="the extra train is not installed")


def batches(size: int = 300, epoch: int | None = None) -> Iterator[TrainingBatch]:
    order = np.arange(300) if epoch is None else epoch_random(5, 0, epoch).permutation(300)
    for start in range(0, 300, size):
        rows = order[start : start + size]
        yield TrainingBatch((X[rows],), (Y[rows], Z[rows]), WEIGHTS[rows])


def squares(outputs: Any, targets: Any, weights: Any) -> Any:
    return (outputs[:, 0] - targets[0]) ** 2 * weights


def networks() -> tuple[Any, Any]:
    """A network with dropout and a reader of its output."""
    nn = torch().nn

    class Reader(nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))

        def forward(self, outputs: Any, targets: Any, weights: Any) -> Any:
            return (self.layers(outputs)[:, 0] - targets[1]) ** 2 * weights

    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 1)), Reader()


def largest(outputs: Any, targets: Any, weights: Any) -> float:
    return -float((outputs[:, 0] - targets[0]).abs().max())


def first_half(targets: Any, weights: Any) -> Any:
    return weights * (targets[0] > 0)


#: what a training may use -> settings, opponents and metric
FEATURES: dict[str, dict[str, Any]] = {
    "default": {},
    "constant": {"settings": {"schedule": Constant()}},
    "piecewise": {"settings": {"schedule": Piecewise(((0, 0.1), (2, 1.0), (5, 0.2))), "warmup": 9}},
    "plateau": {"settings": {"schedule": Plateau(0.5, 0, 0.01), "rate": 0.3}},
    "restarts": {"settings": {"schedule": Restarts(4, 7, 2), "rate": 0.1}},
    "keras plateau": {
        "settings": {"schedule": Plateau(0.5, 0, 0.01, 0.05), "min_delta": 0.01, "optimiser": Adam(1e-7)}
    },
    "sgd": {"settings": {"optimiser": Sgd(0.9, nesterov=True), "max_norm": math.inf}},
    "radam": {"settings": {"optimiser": RAdam()}},
    "metric": {"metric": Metric("largest", largest, higher_is_better=True)},
    "bfloat16": {"settings": {"precision": "bfloat16"}},
    "float16": {"settings": {"precision": "float16"}},
    "opponent": {
        "settings": {"least_epochs": 3, "precision": "bfloat16"},
        "opponents": ({"strength": ramp(2.0, 1, 2), "steps": 3, "schedule": Cosine()}, {"rows": first_half}),
    },
}


def trained(
    *,
    seed: int = 1,
    settings: dict[str, Any] | None = None,
    opponents: tuple[dict[str, Any], ...] = (),
    before: Any = None,
    **options: Any,
) -> tuple[list[Any], tuple[Epoch, ...]]:
    """The weights of all networks at the end, and the history."""
    torch()
    with seeded(seed, threads=1):
        network, reader = networks()
        others = [
            Opponent(**{"module": reader if not place else networks()[1], "strength": ramp(0.5, 0, 0), **keys})
            for place, keys in enumerate(opponents)
        ]
        if before is not None:
            before(network, reader)
        history = train_network(
            network,
            squares,
            options.pop("train", lambda epoch: batches(50, epoch)),
            batches,
            LoopSettings(**{"epochs": 6, "rate": 1e-2, "patience": 99, **(settings or {})}),
            opponents=others,
            **options,
        )
    modules = [network, *(other.module for other in others)]
    return [value.flatten().tolist() for module in modules for value in module.state_dict().values()], history


# --------------------------------------------------------------------------------------------------- against plain code


def test_the_default_is_plain_adamw_with_cosine_and_clipping() -> None:
    library = torch()
    steps = LoopSettings(epochs=6, rate=1e-2, patience=99)
    with seeded(1, threads=1):
        network, _ = networks()
        optimiser = library.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=1e-3)
        losses, best = [], (math.inf, {})
        for epoch in range(6):
            for group in optimiser.param_groups:
                group["lr"] = 1e-2 * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * epoch / 6)))
            network.train()
            for (x,), (y, _), weights in batches(50, epoch):
                out = network(library.from_numpy(x))[:, 0]
                loss = ((out - library.from_numpy(y)) ** 2 * library.from_numpy(weights)).mean()
                optimiser.zero_grad()
                loss.backward()
                library.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
                optimiser.step()
            network.eval()
            with library.no_grad():
                out = network(library.from_numpy(X))[:, 0].numpy()
            losses.append(float(np.sum((out - Y).astype("f4") ** 2 * WEIGHTS, dtype="f8") / WEIGHTS.sum(dtype="f8")))
            if losses[-1] < best[0]:
                best = (losses[-1], {name: value.clone() for name, value in network.state_dict().items()})
    weights, history = trained(settings={"epochs": steps.epochs})
    assert weights == [value.flatten().tolist() for value in best[1].values()]
    np.testing.assert_allclose([epoch.validation for epoch in history], losses, rtol=1e-6)


def test_an_opponent_takes_its_turns_before_each_step() -> None:
    """The same game in plain torch: two steps of the reader on fixed outputs, then one against it."""
    library = torch()
    with seeded(1, threads=1):
        network, reader = networks()
        mine = library.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=1e-3)
        other = library.optim.AdamW(reader.parameters(), lr=5e-3, weight_decay=0.0)
        for epoch in range(4):
            strength = [0.0, 0.0, 1.5, 3.0][epoch]
            for group in mine.param_groups:
                group["lr"] = 1e-2 * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * epoch / 4)))
            network.train()
            for (x,), targets, weights in batches(50, epoch):
                y, z, weight = map(library.from_numpy, (*targets, weights))
                chosen = weight * (y > 0)
                out = network(library.from_numpy(x))
                for _ in range(2):
                    other.zero_grad()
                    ((reader.layers(out.detach())[:, 0] - z) ** 2 * chosen).sum().div(chosen.sum()).backward()
                    library.nn.utils.clip_grad_norm_(reader.parameters(), 5.0)
                    other.step()
                loss = ((out[:, 0] - y) ** 2 * weight).mean()
                if strength:
                    against = ((reader.layers(out)[:, 0] - z) ** 2 * chosen).sum() / chosen.sum()
                    loss = loss - strength * against
                mine.zero_grad()
                loss.backward()
                library.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
                mine.step()
        network.eval()
        with library.no_grad():
            out = network(library.from_numpy(X))
            read = ((reader.layers(out)[:, 0] - library.from_numpy(Z)) ** 2).numpy()
    weights, history = trained(
        settings={"epochs": 4, "least_epochs": 3},
        opponents=({"strength": ramp(3.0, 1, 2), "rows": first_half, "steps": 2, "rate": 5e-3},),
    )
    expected = [value.flatten().tolist() for module in (network, reader) for value in module.state_dict().values()]
    for found, plain in zip(weights, expected, strict=True):
        np.testing.assert_allclose(found, plain, rtol=1e-5, atol=1e-7)
    assert [epoch.best for epoch in history] == [False, False, False, True]
    assert history[-1].opponents[0] == pytest.approx(np.average(read, weights=WEIGHTS * (Y > 0)), rel=1e-5)
    assert trained(settings={"epochs": 4}, opponents=({"strength": Piecewise(((0, 0.0),))},))[0][:4] != weights[:4]


def test_without_strength_the_network_does_not_notice_an_opponent() -> None:
    alone, history = trained(settings={"epochs": 20})
    for rate in (0.0, 5e-3):
        idle = {"strength": Piecewise(((0, 0.0),)), "steps": 2, "rate": rate}
        beside, again = trained(settings={"epochs": 20}, opponents=(idle,))
        assert beside[: len(alone)] == alone
        assert [epoch.validation for epoch in again] == [epoch.validation for epoch in history]
        assert (again[-1].opponents[0] < np.average((Z - np.average(Z)) ** 2, weights=WEIGHTS)) == (rate > 0)


@given(st.lists(st.integers(0, 5), max_size=25), st.integers(0, 3), st.sampled_from([0.1, 0.5]))
def test_plateaus_are_those_of_torch(values: list[int], patience: int, reduce: float) -> None:
    library = torch()
    optimiser = library.optim.SGD([library.zeros(1, requires_grad=True)], lr=1.0)
    reference = library.optim.lr_scheduler.ReduceLROnPlateau(
        optimiser, factor=reduce, patience=patience, threshold=0.0, min_lr=0.01, eps=0.0
    )
    better, lowest = [], math.inf
    for value in values:
        reference.step(value)
        better.append(value < lowest)
        lowest = min(value, lowest)
        found = Plateau(reduce, patience, 0.01).factor(len(better), 60, better)
        assert found == pytest.approx(optimiser.param_groups[0]["lr"], rel=1e-12)


@given(st.lists(st.tuples(st.floats(0, 99), st.floats(0, 9)), min_size=1, max_size=5, unique_by=lambda point: point[0]))
def test_piecewise_schedules_pass_their_points(points: list[tuple[float, float]]) -> None:
    rising = tuple(sorted(points))
    made = Piecewise(rising)
    for epoch, factor in rising:
        assert made.factor(epoch, 60, []) == factor  # type: ignore[arg-type]
    assert made.factor(10**6, 60, []) == rising[-1][1]


@pytest.mark.parametrize("points", [(), ((1, 1.0), (1, 2.0)), ((2, 1.0), (1, 2.0)), ((0, -1.0),), ((0, math.nan),)])
def test_points_that_are_no_schedule(points: Any) -> None:
    with pytest.raises(InvalidValues, match="expected points"):
        Piecewise(points)


def test_ramps() -> None:
    assert [ramp(3.0, 2, 3).factor(epoch, 9, []) for epoch in range(7)] == [0, 0, 0, 1, 2, 3, 3]
    assert [ramp(3.0, 2, 0).factor(epoch, 9, []) for epoch in range(4)] == [0, 0, 3, 3]
    assert ramp(3.0, 0, 0).factor(0, 9, []) == 3


def test_warm_up_is_linear_in_steps() -> None:
    """A constant gradient moves a weight by the learning rate."""
    library = torch()
    one = TrainingBatch((np.ones((1, 1), "f4"),), np.zeros(1, "f4"), np.ones(1, "f4"))
    seen: list[float] = []

    def loss(outputs: Any, targets: Any, weights: Any) -> Any:
        if outputs.requires_grad:
            seen.append(float(outputs[0, 0].detach()))
        return 100 * outputs[:, 0]

    with seeded(1, threads=1):
        network = library.nn.Linear(1, 1, bias=False)
        settings = LoopSettings(epochs=3, rate=0.2, decay=0, schedule=Constant(), warmup=4)
        train_network(network, loss, lambda _: [one, one], lambda: [one], settings)
    np.testing.assert_allclose(-np.diff(seen), 0.2 * np.array([0.25, 0.5, 0.75, 1.0, 1.0]), rtol=1e-5)


def scheduled(library: Any, schedule: Callable[[Any], Any], steps: int) -> list[float]:
    """Learning rates of a schedule of torch."""
    optimiser = library.optim.SGD([library.zeros(1, requires_grad=True)], lr=1.0)
    made, rates = schedule(optimiser), []
    for _ in range(steps):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        made.step()
    return rates


@pytest.mark.parametrize(("warmup", "cycles"), [(0, 0), (6, 0), (0, 1), (6, 1), (6, 3), (5, 5), (60, 2)])
def test_restarts_are_those_of_torch(warmup: int, cycles: int) -> None:
    library = torch()
    schedules = library.optim.lr_scheduler
    schedule, left = Restarts(10, warmup, cycles), 30 - warmup
    found = [schedule.at(step, 3) for step in range(30)]
    assert found[:warmup] == pytest.approx([step / warmup for step in range(min(warmup, 30))])
    if left > 0:
        made = {
            0: lambda optimiser: schedules.PolynomialLR(optimiser, left),
        }.get(cycles, lambda optimiser: schedules.CosineAnnealingWarmRestarts(optimiser, left // cycles))
        assert found[warmup:] == pytest.approx(scheduled(library, made, left), abs=1e-12)
    assert [schedule.factor(epoch, 3, []) for epoch in range(3)] == found[::10]


def test_restarts_with_cycles_that_are_no_whole_number_of_steps() -> None:
    """The closed form, with the phase of each cycle from a remainder of integers."""
    schedule = Restarts(7, 5, 3)
    phases = [(3 * (step - 5)) % (28 - 5) / (28 - 5) for step in range(5, 28)]
    assert [schedule.at(step, 4) for step in range(5, 28)] == pytest.approx(
        list(np.cos(np.pi * np.array(phases) / 2) ** 2)
    )
    assert schedule.at(28, 4) == schedule.at(99, 4) == 0


def test_restarts_change_the_rate_from_step_to_step() -> None:
    """A constant gradient moves a weight by the learning rate."""
    library = torch()
    one = TrainingBatch((np.ones((1, 1), "f4"),), np.zeros(1, "f4"), np.ones(1, "f4"))
    seen: list[float] = []

    def loss(outputs: Any, targets: Any, weights: Any) -> Any:
        if outputs.requires_grad:
            seen.append(float(outputs[0, 0].detach()))
        return 100 * outputs[:, 0]

    schedule = Restarts(3, 2, 2)
    with seeded(1, threads=1):
        network = library.nn.Linear(1, 1, bias=False)
        settings = LoopSettings(epochs=3, rate=0.2, decay=0, schedule=schedule)
        history = train_network(network, loss, lambda _: [one] * 3, lambda: [one], settings)
    np.testing.assert_allclose(-np.diff(seen), [0.2 * schedule.at(step, 3) for step in range(8)], rtol=1e-5, atol=1e-7)
    rates = [learning_rate(settings, history[:number]) for number in range(3)]
    assert rates == [0.2 * schedule.at(step, 3) for step in (0, 3, 6)]  # of the first step of each epoch


def test_the_best_epoch_is_that_of_the_metric_in_its_direction() -> None:
    for higher, expected in ((False, [False, True, False, False]), (True, [False, False, True, False])):
        values = iter([2.0, 2.0, 1.0, 3.0, 2.0])
        metric = Metric("some", lambda *_, values=values: next(values), higher_is_better=higher)
        assert [epoch.best for epoch in trained(settings={"epochs": 4}, metric=metric)[1]] == expected


def test_epochs_that_are_never_the_best_do_not_count_for_the_patience() -> None:
    values = iter([1.0, 0.5, 0.1, 3.0, 2.0, 4.0, 5.0, 6.0])
    _, history = trained(
        settings={"least_epochs": 2, "patience": 2, "epochs": 50}, metric=Metric("some", lambda *_: next(values))
    )
    assert [epoch.best for epoch in history] == [False, False, True, True, False, False]


@pytest.mark.parametrize(
    ("optimiser", "plain"),
    [
        (Adam(1e-7), lambda library, values: library.optim.Adam(values, lr=1e-2, eps=1e-7)),
        (RAdam(), lambda library, values: library.optim.RAdam(values, lr=1e-2)),
        (Sgd(), lambda library, values: library.optim.SGD(values, lr=1e-2)),
        (Sgd(0.8, True), lambda library, values: library.optim.SGD(values, lr=1e-2, momentum=0.8, nesterov=True)),
    ],
)
def test_optimisers_are_those_of_torch_and_clipping_can_be_off(optimiser: Any, plain: Any) -> None:
    library = torch()
    x, y = library.from_numpy(X) * 100, library.from_numpy(Y) * 100  # large gradients
    whole = TrainingBatch((x,), y, library.ones(len(y)))
    loss = lambda outputs, targets, weights: (outputs[:, 0] - targets) ** 2 * weights * 1e-3  # noqa: E731
    found = []
    for number in (0, 1):
        with seeded(1, threads=1):
            network = library.nn.Linear(4, 1)
            if number:
                made = plain(library, network.parameters())
                for _ in range(3):
                    made.zero_grad()
                    loss(network(x), y, whole.weights).mean().backward()
                    made.step()
            else:
                settings = LoopSettings(
                    3, 1e-2, max_norm=math.inf, schedule=Constant(), optimiser=optimiser, least_epochs=2
                )
                train_network(network, loss, lambda _: [whole], lambda: [whole], settings)
        found.append([value.flatten().tolist() for value in network.state_dict().values()])
    assert found[0] == found[1]


@pytest.mark.parametrize(("momentum", "nesterov"), [(-0.1, False), (1.0, False), (0.0, True)])
def test_momenta_that_are_none(momentum: float, nesterov: bool) -> None:
    with pytest.raises(InvalidValues, match="expected a momentum from 0 to below 1"):
        Sgd(momentum, nesterov)


def keras(values: list[float], min_delta: float, stop: int, plateau: int, factor: float) -> list[float]:
    """The learning rates of the epochs with the early stopping and the plateaus of Keras, as it describes them."""
    best, waited, lowest, idle, rate, rates = math.inf, 0, math.inf, 0, 1.0, []
    for value in values:
        rates.append(rate)
        waited += 1
        if value < best - min_delta:
            best, waited = value, 0
        idle += 1
        if value < lowest - min_delta:
            lowest, idle = value, 0
        elif idle >= plateau:
            rate, idle = rate * factor, 0
        if waited and waited >= stop:
            break
    return rates


@given(
    st.lists(st.floats(0, 1, width=16), min_size=1, max_size=25),
    st.sampled_from([0.0, 0.1, 0.3]),
    st.integers(1, 4),
    st.integers(1, 4),
)
def test_improvements_by_more_than_a_number_are_those_of_keras(
    values: list[float], min_delta: float, stop: int, plateau: int
) -> None:
    library = torch()
    given = iter([0.0, *values])  # the network before the training does not count
    settings = LoopSettings(
        len(values), 1.0, patience=stop, schedule=Plateau(0.5, plateau - 1, 0.0, min_delta), min_delta=min_delta
    )
    one = TrainingBatch((np.ones((1, 1), "f4"),), np.zeros(1, "f4"), np.ones(1, "f4"))
    with seeded(1, threads=1):
        history = train_network(
            library.nn.Linear(1, 1), lambda out, y, w: out[:, 0] ** 2 * w, lambda _: [one], lambda: [one], settings,
            metric=Metric("given", lambda *_: next(given)),
        )  # fmt: skip
    rates = [learning_rate(settings, history[:number]) for number in range(len(history))]
    assert rates == pytest.approx(keras(values, min_delta, stop, plateau, 0.5))


def test_settings_that_are_not_used_do_not_change_what_a_checkpoint_depends_on() -> None:
    """Checkpoints written before there were these settings stay valid."""
    names = {
        "epochs",
        "rate",
        "decay",
        "patience",
        "max_norm",
        "schedule",
        "warmup",
        "least_epochs",
        "device",
        "precision",
    }
    assert set(LoopSettings().about) == names
    assert "min_delta" not in LoopSettings(schedule=Plateau()).about["schedule"]
    used = LoopSettings(schedule=Plateau(min_delta=0.1), min_delta=0.0, optimiser=Sgd()).about
    assert used["schedule"]["min_delta"] == 0.1
    assert set(used) == names | {"min_delta", "optimiser"}


# ------------------------------------------------------------------------------------------------- device and precision


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_computes_in_it_and_learns_the_same(precision: Any) -> None:
    library, kinds = torch(), set()

    def watch(network: Any, reader: Any) -> None:
        network[0].register_forward_hook(lambda module, inputs, output: kinds.add(output.dtype))

    _, plain = trained(settings={"epochs": 20})
    _, mixed = trained(settings={"epochs": 20, "precision": precision}, before=watch)
    assert kinds == {getattr(library, precision)}
    assert mixed != plain
    assert mixed[-1].validation == pytest.approx(plain[-1].validation, rel=0.03)
    assert mixed[-1].validation < 0.6 * mixed[0].start


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"device": "cuda:77"}, ProviderError, "the device 'cuda:77' is not there: torch .* finds .* GPU.*; train on"),
        ({"device": "gpu"}, UnknownName, "unknown device: 'gpu'"),
        ({"device": "cud"}, UnknownName, r"unknown device: 'cud' \(nearest: cuda"),
        ({"precision": "bfloat"}, UnknownName, r"unknown precision: 'bfloat' \(nearest: bfloat16"),
    ],
)
def test_devices_and_precisions_that_are_not_there(settings: dict[str, Any], error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        trained(settings=settings)


def test_a_gpu_trains_like_the_cpu_and_goes_on_after_a_break(tmp_path: Path) -> None:
    if not torch().cuda.is_available():
        pytest.skip("there is no GPU")
    _, plain = trained(settings={"epochs": 20})
    reference, history = trained(settings={"epochs": 20, "device": "cuda"})
    assert history[-1].validation == pytest.approx(plain[-1].validation, rel=0.05)
    broken(tmp_path / "state.pt", 3, settings={"epochs": 20, "device": "cuda"})
    again, whole = trained(settings={"epochs": 20, "device": "cuda"}, checkpoint=tmp_path / "state.pt", seed=7)
    assert (again, whole) == (reference, history)


# -------------------------------------------------------------------------------------------------------- interruptions


def broken(path: Path, epoch: int, **options: Any) -> None:
    """A training that ends after an epoch."""

    def stop(found: Epoch) -> None:
        if found.number == epoch:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        trained(checkpoint=path, follow=stop, **options)


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("epoch", [1, 4])
def test_after_a_break_all_is_as_without(tmp_path: Path, feature: str, epoch: int) -> None:
    reference, history = trained(**FEATURES[feature])
    broken(tmp_path / "state.pt", epoch, **FEATURES[feature])
    again, whole = trained(seed=77, checkpoint=tmp_path / "state.pt", **FEATURES[feature])
    assert whole == history
    assert again == reference
    assert (feature == "default") == ((reference, history) == trained())  # each of them matters


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from test_training_options import FEATURES, batches, trained

    def train(epoch):
        for number, batch in enumerate(batches(50, epoch)):
            if (epoch, number) == (4, 3):
                os.kill(os.getpid(), signal.SIGKILL)
            yield batch

    trained(checkpoint=Path(sys.argv[1]), train=train, **FEATURES["opponent"])
"""


def test_a_killed_training_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    reference, history = trained(**FEATURES["opponent"])
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path / "state.pt")],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == -9
    again, whole = trained(seed=77, checkpoint=tmp_path / "state.pt", **FEATURES["opponent"])
    assert (again, whole) == (reference, history)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"settings": {"schedule": Constant()}}, "schedule was .*cosine.* and is .*constant"),
        ({"settings": {"precision": "bfloat16"}}, "precision was 'float32' and is 'bfloat16'"),
        ({"metric": Metric("largest", largest)}, "metric was '' and is 'largest'"),
        ({"opponents": ({"steps": 2},)}, "opponents was .* and is"),
    ],
)
def test_the_checkpoint_of_other_settings_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "state.pt"
    opponents = ({},) if "opponents" in change else ()
    trained(checkpoint=path, settings={"epochs": 1}, opponents=opponents)
    change = {**change, "settings": {"epochs": 1, **change.get("settings", {})}}
    with pytest.raises(MismatchError, match=message):
        trained(**{"checkpoint": path, "opponents": opponents, **change})


# ---------------------------------------------------------------------------------------------------------- bad numbers


def test_opponents_without_rows_or_steps() -> None:
    with pytest.raises(InvalidValues, match="the weights of the validation of opponent 1 add up to 0"):
        trained(opponents=({"rows": lambda targets, weights: 0 * weights},))
    with pytest.raises(InvalidValues, match="an opponent takes 0 steps"):
        Opponent(None, ramp(1.0, 0, 0), steps=0)


def test_a_strength_that_makes_the_loss_diverge_is_said() -> None:
    with pytest.raises(InvalidValues, match=r"epoch 2: the loss is not finite .* try a smaller rate or strength"):
        trained(opponents=({"strength": ramp(1e39, 1, 0)},))


def test_targets_and_outputs_may_be_nested() -> None:
    """Networks with several outputs, and targets by name."""
    library = torch()

    class Two(library.nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.layer = library.nn.Linear(4, 2)

        def forward(self, x: Any) -> Any:
            both = self.layer(x["x"])
            return {"y": both[:, 0], "rest": (both[:, 1],)}

    def loss(outputs: Any, targets: Any, weights: Any) -> Any:
        return ((outputs["y"] - targets["y"]) ** 2 + (outputs["rest"][0] - targets["z"]) ** 2) * weights

    def named(size: int) -> Iterator[TrainingBatch]:
        for (x,), (y, z), weights in batches(size):
            yield TrainingBatch(({"x": x},), {"y": y, "z": z}, weights)

    metric = Metric("error", lambda out, true, weights: float((out["rest"][0] - true["z"]).abs().mean()))
    settings = LoopSettings(epochs=30, rate=0.1, precision="bfloat16")
    with seeded(1, threads=1):
        history = train_network(Two(), loss, lambda _: named(50), lambda: named(70), settings, metric=metric)
    assert history[-1].criterion < 0.05
