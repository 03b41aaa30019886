"""Training of assignment networks: what is learned, the same result twice and when resumed, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from assignment_networks import TAGGED, chosen, event, tagged, ttH

from jettagger.assignment.datasets import AssignmentDataset
from jettagger.assignment.losses import AssignmentTargets
from jettagger.assignment.networks import AssignmentOutputs
from jettagger.assignment.training import train_assignment, training_rows
from jettagger.assignment.training_metrics import measure_names, validation_metric
from jettagger.assignment.training_options import AssignmentOptions
from jettagger.assignment.training_settings import loop_settings
from jettagger.errors import ConfigError, InvalidValues, MismatchError, UnknownName
from jettagger.training import Restarts

torch = pytest.importorskip("torch")
pytest.importorskip("h5py")
pytest.importorskip("numba")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> AssignmentDataset:
    return tagged(tmp_path_factory.mktemp("tagged") / "tagged.h5")


def same(one: Any, other: Any) -> bool:
    states = one.network.state_dict(), other.network.state_dict()
    return all(torch.equal(value, states[1][name]) for name, value in states[0].items())


@pytest.mark.slow
def test_what_can_be_learned_is_learned_and_the_best_epoch_is_kept(dataset: AssignmentDataset) -> None:
    seen: list[Any] = []
    made = train_assignment(chosen(epochs=12), dataset, follow=seen.append)
    assert (made.training_events, made.validation_events) == (240, 60)
    assert tuple(seen) == made.history
    purities = [epoch.metric for epoch in made.history]
    assert max(purities) > 0.95
    assert not made.network.training
    # the network is that of the best epoch: the purity once more, from its distributions
    from jettagger.assignment.decoding import decode
    from jettagger.assignment.purity import match_events
    from jettagger.assignment.statistics import log_inputs

    events = dataset.read(240)
    values = log_inputs(events.values, events.masks, dataset.event)
    with torch.no_grad():
        outputs = made.network(*({"Jets": torch.from_numpy(part["Jets"])} for part in (values, events.masks)))
    found = decode({name: value.numpy() for name, value in outputs.assignments.items()}, dataset.event).assignments
    right = match_events(found, events.targets, events.target_masks, dataset.event).right
    assert right.mean() == pytest.approx(max(purities))


@pytest.mark.slow
def test_trainings_with_one_seed_are_equal_also_after_an_interruption(
    tmp_path: Path,
) -> None:
    dataset = tagged(tmp_path / "tagged.h5", 100)
    whole = train_assignment(chosen(), dataset, seed=3)
    again = train_assignment(chosen(), dataset, seed=3)
    assert same(whole, again)
    assert whole.history == again.history
    assert not same(whole, train_assignment(chosen(), dataset, seed=4))

    class Killed(Exception):
        pass

    def kill(epoch: Any) -> None:
        if epoch.number == 2:
            raise Killed

    path = tmp_path / "checkpoint.pt"
    with pytest.raises(Killed):
        train_assignment(chosen(), dataset, seed=3, checkpoint=path, follow=kill)
    resumed = train_assignment(chosen(), dataset, seed=3, checkpoint=path)
    assert same(whole, resumed)
    assert resumed.history == whole.history
    with pytest.raises(MismatchError, match="checkpoint of another training"):
        train_assignment(chosen(), dataset, seed=5, checkpoint=path)


@pytest.mark.slow
def test_weights_are_a_start_and_may_be_frozen(dataset: AssignmentDataset) -> None:
    first = train_assignment(chosen(epochs=1), dataset)
    state = first.network.state_dict()
    part = {name: value.numpy() for name, value in state.items() if not name.startswith("particles")}
    made = train_assignment(chosen(epochs=2), dataset, seed=1, weights=part, freeze=True)
    assert made.loaded is not None
    assert set(made.loaded.loaded) == set(part)
    now = made.network.state_dict()
    parameters = dict(made.network.named_parameters())
    assert all(torch.equal(now[name], state[name]) for name in part if name in parameters)
    assert not torch.equal(now["particles.0.encoder.token"], state["particles.0.encoder.token"])
    with pytest.raises(ConfigError, match="freeze needs weights"):
        train_assignment(chosen(), dataset, freeze=True)


@pytest.mark.slow
@pytest.mark.data
def test_two_epochs_of_the_example(shared: Path) -> None:
    dataset = AssignmentDataset(shared / "spanet" / "examples" / "ttH.h5", ttH().event)
    made = train_assignment(ttH().options.model_copy(update={"epochs": 2}), dataset)
    assert (made.training_events, made.validation_events) == (950, 50)
    assert made.history[1].train < made.history[0].train
    assert all(0 <= epoch.metric <= 1 for epoch in made.history)
    np.testing.assert_array_equal(made.network.state_dict()["inputs.0.mean"], made.statistics.inputs["Momenta"].mean)


def test_events_are_chosen_as_by_the_original() -> None:
    assert training_rows(1000, AssignmentOptions()) == (range(950), range(950, 1000))
    assert training_rows(1000, AssignmentOptions(dataset_limit=0.5)) == (range(475), range(475, 500))
    assert training_rows(1000, AssignmentOptions(dataset_limit=0.5), validation=True)[0] == range(500)
    first, second = training_rows(100, AssignmentOptions(dataset_randomization=2))
    assert (len(first), len(second)) == (95, 5)
    assert list(first) == sorted(first)
    assert set(first) | set(second) == set(range(100))


def test_learning_rates_are_those_of_the_original() -> None:
    options = AssignmentOptions(
        epochs=4, learning_rate=0.1, learning_rate_warmup_epochs=0.5, learning_rate_cycles=2, batch_size=10
    )
    settings = loop_settings(options, 10)
    assert settings.schedule == Restarts(10, 5, 2)
    assert (settings.warmup, settings.rate) == (0, 0.1)
    assert loop_settings(AssignmentOptions(), 7).schedule == Restarts(7, 7, 0)  # a line to zero after one epoch


@pytest.mark.slow
def test_measures_of_all_validation_events_are_kept_and_one_decides(dataset: AssignmentDataset) -> None:
    made = train_assignment(chosen(epochs=4), dataset)
    names = set(measure_names(dataset.event, chosen())) - {"loss"}
    assert names == {
        "event purity", "particle purity", "t purity", "detection accuracy", "EVENT/kind accuracy",
    }  # fmt: skip
    for epoch in made.history:
        assert set(epoch.measures) == names
        assert epoch.metric == epoch.measures["event purity"]
        assert epoch.measures["particle purity"] == epoch.measures["t purity"]  # the only cluster
    # the size of the batches does not matter to measures: before the first step all trainings are the same
    starts = [train_assignment(chosen(epochs=1, batch_size=size, learning_rate=0.0), dataset) for size in (7, 60)]
    assert starts[0].history[0].measures == pytest.approx(starts[1].history[0].measures)
    lowest = train_assignment(chosen(epochs=4), dataset, monitor="loss")
    losses = [epoch.validation for epoch in lowest.history]
    assert [epoch.number for epoch in lowest.history if epoch.best][-1] == int(np.argmin(losses)) + 1
    assert [epoch.validation for epoch in made.history] == losses


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_trains(dataset: AssignmentDataset, precision: Any) -> None:
    made = train_assignment(chosen(epochs=2), dataset, precision=precision)
    assert made.history[1].train < made.history[0].start
    assert all(value.dtype != torch.float16 for value in made.network.state_dict().values())


@pytest.mark.slow
def test_events_count_by_their_weight(tmp_path: Path) -> None:
    """With a weight of zero for half of the events, the others alone are learned and measured."""
    options = chosen(epochs=2, batch_size=100, balance_particles=False, jettagger={"event_weights": True})
    plain = tagged(tmp_path / "plain.h5", 100)
    ones = tagged(tmp_path / "ones.h5", 100, event_weights={"EVENT": np.full(100, 3.0)})
    expected = train_assignment(chosen(epochs=2, batch_size=100, balance_particles=False), plain)
    made = train_assignment(options, ones)
    for one, other in zip(made.history, expected.history, strict=True):
        assert one.train == pytest.approx(other.train, rel=1e-4)
        assert one.measures == pytest.approx(other.measures)
    weights = (np.arange(100) < 90).astype(np.float32)  # ten of twenty validation events
    half = train_assignment(options, tagged(tmp_path / "half.h5", 100, event_weights={"EVENT": weights}))
    kept = plain.read(80, 90)
    there = int((kept.target_masks["t1"] | kept.target_masks["t2"]).sum())
    share = half.history[0].measures["event purity"] * there
    assert share == pytest.approx(round(share))


@pytest.mark.slow  # the decoder is compiled
def test_measures_are_those_of_few_events_by_hand() -> None:
    description = event(TAGGED)
    first, second = torch.full((3, 4, 4), -5.0), torch.full((3, 4, 4), -5.0)
    first[:, 0, 1] = first[:, 1, 0] = -0.1
    second[:, 2, 3] = second[:, 3, 2] = -0.2
    logits = torch.tensor([2.0, 2.0, -2.0])
    outputs = AssignmentOutputs(
        {"t1": first, "t2": second},
        {"t1": logits, "t2": -logits},
        {},
        {"EVENT/kind": torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])},
        {},
    )
    # both tops exchanged and right; one wrong; none there
    targets = AssignmentTargets(
        {"t1": torch.tensor([[3, 2], [0, 2], [-1, -1]]), "t2": torch.tensor([[0, 1], [-1, -1], [-1, -1]])},
        {"t1": torch.tensor([True, True, False]), "t2": torch.tensor([True, False, False])},
        classifications={"EVENT/kind": torch.tensor([1, 1, -1])},
    )
    metric = validation_metric("t purity", description, chosen())
    assert metric.reduce is not None
    parts = metric.reduce(outputs, targets, torch.ones(3))
    assert metric.function(*parts) == pytest.approx({
        "event purity": 1 / 2, "particle purity": 2 / 3, "t purity": 2 / 3, "detection accuracy": 1 / 3,
        "EVENT/kind accuracy": 1 / 2,
    })  # fmt: skip
    assert metric.higher_is_better
    assert not validation_metric("loss", description, chosen()).higher_is_better
    with pytest.raises(UnknownName, match=r"unknown measure: 'event puriti' .nearest: event purity"):
        validation_metric("event puriti", description, chosen())
    absent = {name: torch.zeros(3, dtype=torch.bool) for name in ("t1", "t2")}
    empty = metric.reduce(outputs, targets._replace(masks=absent), torch.ones(3))
    with pytest.raises(InvalidValues, match="no event of the validation set has a particle: there is no t purity"):
        metric.function(*empty)


def test_what_is_wrong_is_named(dataset: AssignmentDataset, tmp_path: Path) -> None:
    with pytest.raises(InvalidValues, match=r"step 2 \(epoch 1, last finite loss [\d.]+\): the loss of t1 is NaN"):
        train_assignment(chosen(learning_rate=1e30, learning_rate_warmup_epochs=0.0), dataset)
    with pytest.raises(UnknownName, match=r"unknown optimizer: 'AdamV' .nearest: Adam"):
        train_assignment(chosen(optimizer="AdamV"), dataset)
    with pytest.raises(InvalidValues, match=r"no event of .* is left for the validation"):
        train_assignment(chosen(train_validation_split=1.0), dataset)
    with pytest.raises(MismatchError, match=r"has no weights of events \(WEIGHTS/EVENT\), which the option event_we"):
        train_assignment(chosen(jettagger={"event_weights": True}), dataset)
    with pytest.raises(InvalidValues, match=r"no event of .* is left for the training"):
        train_assignment(chosen(limit_to_num_jets=5), dataset)
    classes = {"EVENT/kind": np.full(20, 1)}
    with pytest.raises(InvalidValues, match="EVENT/kind has no events of the classes 0"):
        train_assignment(chosen(), tagged(tmp_path / "one.h5", 20, classifications=classes))
    # of events that are left out
    masks = tagged(tmp_path / "all.h5", 60).read().target_masks
    classes = {"EVENT/kind": np.where(np.all(list(masks.values()), axis=0), 1, 0)}
    full = tagged(tmp_path / "full.h5", 60, classifications=classes)
    with pytest.raises(InvalidValues, match=r"the classes 0 .*\(\d+ of 48 events are left out, see partial_events, -f"):
        train_assignment(chosen(partial_events=False, train_validation_split=0.8), full)
    text = TAGGED.replace("tag: none", "tag: normalize")
    other = AssignmentDataset(dataset.path, event(text))
    with pytest.raises(MismatchError, match="has another event file"):
        train_assignment(chosen(), dataset, other)
    kinds = np.tile([0, 1, 2, 1], 5)
    third = tagged(tmp_path / "third.h5", 20, classifications={"EVENT/kind": kinds})
    with pytest.raises(InvalidValues, match=r"third\.h5: .* EVENT/kind has the class 2 in the validation, which no"):
        train_assignment(chosen(), dataset, third)
    made = train_assignment(chosen(epochs=1), dataset, dataset)
    assert (made.training_events, made.validation_events) == (300, 300)
