"""Mixing of data sets: nothing lost, the order of each kept, all of them in every part."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from jettagger.assignment.blocks import AssignmentEvents
from jettagger.assignment.mixing import interleaved, mixed

SIZES = st.dictionaries(st.sampled_from("abc"), st.lists(st.integers(0, 300), max_size=5), max_size=3)


@given(SIZES, st.data())
@settings(max_examples=60)
def test_all_events_come_once_in_their_order(sizes: dict[str, list[int]], data: st.DataObject) -> None:
    kept = {name: [data.draw(st.integers(0, number)) for number in numbers] for name, numbers in sizes.items()}
    loaded: list[tuple[str, int]] = []

    def load(name: str, index: int) -> AssignmentEvents:
        loaded.append((name, index))
        begin, number = sum(kept[name][:index]), kept[name][index]
        rows = np.arange(begin, begin + number)
        return AssignmentEvents({}, {name: rows[:, None] * 0 + 1 > 0}, {"p": rows[:, None]})

    made: dict[str, list[int]] = {name: [] for name in sizes}
    for events in mixed(sizes, load):
        made[next(iter(events.masks))] += events.targets["p"][:, 0].tolist()
    assert made == {name: list(range(sum(numbers))) for name, numbers in kept.items()}
    assert sorted(loaded) == sorted((name, index) for name, numbers in sizes.items() for index in range(len(numbers)))


@given(st.lists(st.integers(1, 900), min_size=1, max_size=4), st.lists(st.integers(1, 900), min_size=1, max_size=4))
@settings(max_examples=60)
def test_every_tenth_has_its_share_of_each(one: list[int], other: list[int]) -> None:
    def load(name: str, index: int) -> AssignmentEvents:
        return AssignmentEvents({}, {name: np.ones(({"a": one, "b": other}[name][index], 1), bool)})

    classes = np.concatenate(
        [np.full(len(events), "a" in events.masks) for events in mixed({"a": one, "b": other}, load)]
    )
    # stretches of a hundredth, or of one event, on both sides of both edges
    slack = 4 * max(sum(one) / 100, sum(other) / 100, 1)
    for tenth in np.array_split(classes, 10):
        assert abs(tenth.sum() - classes.mean() * len(tenth)) <= slack


def test_one_data_set_is_not_cut() -> None:
    events = AssignmentEvents({}, {"Jets": np.ones((500, 1), bool)})
    parts = mixed({"a": [500], "b": [0]}, lambda name, _: events.take(slice(500 if name == "a" else 0)))
    assert sorted(len(part) for part in parts) == [0, 500]
    assert interleaved({}) == []


def test_events_are_taken_by_any_sequence_of_rows() -> None:
    events = AssignmentEvents(
        {"Jets": np.arange(12.0, dtype=np.float32).reshape(3, 2, 2)},
        {"Jets": np.ones((3, 2), bool)},
        {"t": np.array([[0], [1], [0]])},
        regressions={"EVENT/x": np.arange(3, dtype=np.float32)},
        start=7,
    )
    for rows in ((1, 2), [1, 2], range(1, 3), slice(1, 3), np.array([1, 2])):
        taken = events.take(rows)
        assert (taken.values["Jets"] == events.values["Jets"][1:]).all()
        assert taken.targets["t"].tolist() == [[1], [0]]
        assert taken.regressions["EVENT/x"].tolist() == [1, 2]
        assert taken.target_masks["t"].shape == (2,)
        assert taken.start == 0
    assert len(events.take(())) == 0
