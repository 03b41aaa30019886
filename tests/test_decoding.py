"""The decoder: the references, properties of all methods, bad input."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from agreement import Agreement
from hypothesis import given, settings
from hypothesis import strategies as st

from jettagger.assignment import EventDescription, decode, parse_event_text, read_event_file
from jettagger.errors import ConfigError, InvalidValues, MismatchError, UnknownName, WrongType
from jettagger.types import Array, Ints

TEXT = "INPUTS: {SEQUENTIAL: {Jets: {pt: none}}}\nEVENT: %s\nPERMUTATIONS: %s\n"

TOPS = parse_event_text(
    TEXT % ("{t1: [q1, q2, b], t2: [q1, q2, b]}", "{EVENT: [[t1, t2]], t1: [[q1, q2]], t2: [[q1, q2]]}")
)

#: particles, their daughters, and exchanges
EVENTS = {
    "tt": TOPS,
    "ttH": parse_event_text(TEXT % ("{lt: [b], ht: [b, q1, q2], h: [b1, b2]}", "{ht: [[q1, q2]], h: [[b1, b2]]}")),
    "hh": parse_event_text(
        TEXT % ("{h1: [b1, b2], h2: [b1, b2]}", "{EVENT: [[h1, h2]], h1: [[b1, b2]], h2: [[b1, b2]]}")
    ),
    "ordered": parse_event_text(TEXT % ("{a: [x, y], b: [x]}", "{}")),
    "singles": parse_event_text(TEXT % ("{a: [x], b: [x], c: [x]}", "{}")),
    "cycle": parse_event_text(TEXT % ("{a: [x, y, z], b: [x]}", "{a: [[[x, y, z]]]}")),
    "four": parse_event_text(TEXT % ("{a: [w, x, y, z], b: [x]}", "{a: [[w, x], [y, z]]}")),
}


def plain_event(daughters: list[int]) -> EventDescription:
    """Particles without symmetries."""
    particles = (f"p{place}: [{', '.join(f'd{item}' for item in range(n))}]" for place, n in enumerate(daughters))
    return parse_event_text(TEXT % ("{" + ", ".join(particles) + "}", "{}"))


def distributions(
    event: EventDescription, n_events: int, n_slots: int, seed: int, *, hidden: int = 0, spread: float = 2.0
) -> dict[str, Array]:
    """Symmetric log-probabilities over tuples of distinct objects; `hidden` last slots are padding."""
    random = np.random.default_rng(seed)
    found = {}
    for particle in event.particles:
        number = len(particle.daughters)
        values = random.normal(scale=spread, size=(n_events, *[n_slots] * number))
        group = event.daughter_group(particle.name).elements
        values = np.mean([values.transpose(0, *(1 + np.array(element))) for element in group], axis=0)
        grid = np.indices([n_slots] * number).reshape(number, -1)
        valid = np.array([len(set(cell)) == number and max(cell) < n_slots - hidden for cell in grid.T])
        values = np.where(valid.reshape(1, *[n_slots] * number), values, -np.inf)
        with np.errstate(invalid="ignore", divide="ignore"):
            total = np.log(np.exp(values).sum(axis=tuple(range(1, number + 1)), keepdims=True))
            values = np.where(np.isfinite(total), values - total, -np.inf)
        found[particle.name] = values
    return found


def every_hypothesis(
    event: EventDescription, logs: Mapping[str, Array], number: int, detection: Mapping[str, Array] | None, sums: bool
) -> list[tuple[int, float, tuple[tuple[int, ...], ...]]]:
    """All hypotheses of one event by plain loops, the best first, equal ones once: (absent, value, tuples)."""
    options = []
    for name in event.particle_names:
        values = logs[name][number]
        cells = [c for c in np.ndindex(values.shape) if len(set(c)) == len(c) and values[c] > -np.inf]
        options.append([*cells, ()])
    groups = [event.daughter_group(name).elements for name in event.particle_names]
    best: dict[Any, tuple[int, float, tuple[tuple[int, ...], ...]]] = {}
    for choice in itertools.product(*options):
        used = [slot for cell in choice for slot in cell]
        if len(set(used)) < len(used):
            continue
        value, absent = 0.0, 0
        for name, cell, group, cells in zip(event.particle_names, choice, groups, options, strict=True):
            present = 1.0 if detection is None else detection[name][number]
            if cell:
                probability = present * len(group) * math.exp(logs[name][number][cell])
            else:
                absent += 1
                probability = (0.0 if sums else 1.0) if detection is None else 1 - present
                if detection is None and any(c and not set(c) & set(used) for c in cells):
                    break
            value += probability if sums else math.log(max(probability, 1e-300))
        else:
            classes = [
                min(tuple(cell[i] for i in element) for element in group) if cell else ()
                for cell, group in zip(choice, groups, strict=True)
            ]
            key = min(tuple(classes[i] for i in element) for element in event.event_group.elements)
            held = (absent if detection is None and not sums else 0, -value, choice)
            if key not in best or held[:2] < best[key][:2]:
                best[key] = held
    return [(absent, -value, choice) for absent, value, choice in sorted(best.values())]


def objects(assignments: Mapping[str, Ints]) -> Ints:
    return np.concatenate(list(assignments.values()), axis=-1)


def assert_valid(logs: Mapping[str, Array], assignments: Mapping[str, Ints], *, may_be_absent: bool = False) -> None:
    """Nothing overlaps, and what is not assigned is impossible."""
    together = objects(assignments)
    for row, slots in enumerate(together):
        used = slots[slots >= 0]
        assert len(set(used)) == len(used)
        for name, chosen in assignments.items():
            values = logs[name][row]
            if (chosen[row] >= 0).all():
                assert values[tuple(chosen[row])] > -np.inf
                continue
            assert (chosen[row] == -1).all()
            if not may_be_absent:
                free = [slot for slot in range(len(values)) if slot not in used]
                cells = itertools.permutations(free, values.ndim)
                assert not any(values[cell] > -np.inf for cell in cells)


@pytest.mark.data
@pytest.mark.parametrize("case", ["ttbar_3_3", "tth_1_3_2", "hhh_2_2_2", "mixed_1_1_2"])
def test_greedy_is_exactly_the_reference(shared: Path, case: str, agrees: Agreement) -> None:
    with np.load(shared / "spanet" / "decode_reference.npz") as data:
        number = sum(name.startswith(f"{case}__logp") for name in data)
        logs = {f"p{place}": data[f"{case}__logp{place}"] for place in range(number)}
        expected = [data[f"{case}__dec_neginf{place}"] for place in range(number)]
    event = plain_event([array.shape[1] for array in expected])
    decoded = decode(logs, event, threads=1)
    slots: list[Any] = []
    for found, reference in zip(decoded.assignments.values(), expected, strict=True):
        slots.append((found.ravel(), np.where(reference < 0, -1, reference).ravel()))
    made, wanted = (np.concatenate(parts) for parts in zip(*slots, strict=True))
    agrees("spanet/decoding", made, wanted, sample=len(expected[0]), part=case)
    assert (objects(decoded.assignments) < 0).any()
    for name, found in decoded.assignments.items():
        rows = (found[:, 0] >= 0).nonzero()[0]
        np.testing.assert_allclose(
            decoded.probabilities[name][rows], np.exp(logs[name][(rows, *found[rows].T)].astype(np.float64))
        )
        assert np.isnan(decoded.probabilities[name][found[:, 0] < 0]).all()


@pytest.mark.data
def test_four_daughters_do_not_overlap_unlike_those_of_the_reference(shared: Path) -> None:
    with np.load(shared / "spanet" / "decode_reference.npz") as data:
        logs = {f"p{place}": data[f"four_4_2__logp{place}"] for place in range(2)}
        reference = np.concatenate([data[f"four_4_2__dec_neginf{place}"] for place in range(2)], axis=1)
    assignments = decode(logs, plain_event([4, 2]), threads=1).assignments
    assert_valid(logs, assignments)
    found = objects(assignments)
    apart = np.array([len(set(row)) == len(row) for row in reference])
    assert 0 < apart.sum() < len(apart)
    np.testing.assert_array_equal(found[apart], reference[apart])


@given(name=st.sampled_from(sorted(EVENTS)), seed=st.integers(0, 10**6), n_slots=st.integers(1, 5), data=st.data())
@settings(max_examples=150, deadline=None)
def test_properties(name: str, seed: int, n_slots: int, data: st.DataObject) -> None:
    event = EVENTS[name]
    hidden = data.draw(st.integers(0, n_slots - 1))
    logs = distributions(event, 3, n_slots, seed, hidden=hidden)
    if data.draw(st.booleans()):
        logs = {name: values.astype(np.float32) for name, values in logs.items()}
    greedy, best, sums = (decode(logs, event, method, threads=1) for method in ("greedy", "best", "sum"))
    for decoded in (greedy, best, sums):
        assert_valid(logs, decoded.assignments)
    for row in range(3):
        absent = [sum(slots[row, 0] < 0 for slots in decoded.assignments.values()) for decoded in (greedy, best)]
        assert absent[1] <= absent[0]
        if absent[0] == absent[1]:
            assert best.scores[row] >= greedy.scores[row] - 1e-9
        for decoded, method in ((best, "best"), (sums, "sum")):
            _, value, _ = every_hypothesis(event, logs, row, None, method == "sum")[0]
            assert decoded.scores[row] == pytest.approx(value, abs=1e-9)
        assert sums.scores[row] >= np.nansum([values[row] for values in greedy.probabilities.values()]) - 1e-9
    order = np.random.default_rng(seed).permutation(n_slots)
    moved = {name: values[np.ix_([0, 1, 2], *[order] * (values.ndim - 1))] for name, values in logs.items()}
    for decoded, method in ((greedy, "greedy"), (best, "best"), (sums, "sum")):
        again = decode(moved, event, method, threads=1)
        padded = {
            name: np.pad(values, [(0, 0), *[(0, 2)] * (values.ndim - 1)], constant_values=-np.inf)
            for name, values in logs.items()
        }
        wider = decode(padded, event, method, threads=1)
        for particle in event.particle_names:
            np.testing.assert_array_equal(wider.assignments[particle], decoded.assignments[particle])
            slots = again.assignments[particle]
            back = np.where(slots >= 0, order[slots], -1)
            group = event.daughter_group(particle).elements
            for row in range(3):  # symmetric daughters come in ascending order
                assert tuple(decoded.assignments[particle][row]) in {tuple(back[row][list(g)]) for g in group}


@given(name=st.sampled_from(["tt", "ttH", "hh", "ordered", "cycle"]), seed=st.integers(0, 10**6), data=st.data())
@settings(max_examples=150, deadline=None)
def test_several_hypotheses_and_absence_against_plain_loops(name: str, seed: int, data: st.DataObject) -> None:
    event = EVENTS[name]
    n_slots = data.draw(st.integers(2, 5))
    k = data.draw(st.integers(1, 12))
    method = data.draw(st.sampled_from(["best", "sum"]))
    logs = distributions(event, 2, n_slots, seed)
    random = np.random.default_rng(seed)
    detection = {name: random.uniform(size=2) for name in event.particle_names} if data.draw(st.booleans()) else None
    decoded = decode(logs, event, method, k, detection, threads=1)
    for row in range(2):
        expected = every_hypothesis(event, logs, row, detection, method == "sum")[:k]
        count = int(decoded.hypotheses[row])
        assert count == len(expected)
        scores = np.atleast_2d(decoded.scores.reshape(2, k))[row]
        np.testing.assert_allclose(scores[:count], [value for _, value, _ in expected], atol=1e-9)
        assert np.isnan(scores[count:]).all()
        chosen = objects(decoded.assignments).reshape(2, k, -1)[row]
        assert len({tuple(slots) for slots in chosen[:count]}) == count
        assert (chosen[count:] == -1).all()
        for slots in chosen:
            assert len(set(slots[slots >= 0])) == (slots >= 0).sum()


@given(name=st.sampled_from(sorted(EVENTS)), seed=st.integers(0, 10**6))
@settings(max_examples=150, deadline=None)
def test_hypotheses_after_the_greedy_one_are_the_others_in_order(name: str, seed: int) -> None:
    event = EVENTS[name]
    logs = distributions(event, 2, 5, seed)
    first = decode(logs, event, threads=1)
    several = decode(logs, event, "greedy", 4, threads=1)
    best = decode(logs, event, "best", 5, threads=1)
    for row in range(2):
        for particle in event.particle_names:
            np.testing.assert_array_equal(several.assignments[particle][row, 0], first.assignments[particle][row])
        count = int(several.hypotheses[row])
        others = [value for value in best.scores[row] if abs(value - several.scores[row, 0]) > 1e-9]
        assert count == min(4, int(best.hypotheses[row]))
        if event.event_group.order == 1:  # otherwise the exchange of particles may be better than the greedy one
            np.testing.assert_allclose(several.scores[row, 1:count], others[: count - 1], atol=1e-9)


def brute_greedy(
    event: EventDescription, logs: Mapping[str, Array], detection: Mapping[str, Array], row: int
) -> dict[str, tuple[int, ...]]:
    left, used, found = list(event.particle_names), set[int](), {}
    while left:
        options = []
        for name in left:
            order = event.daughter_group(name).order
            values = logs[name][row]
            for cell in np.ndindex(values.shape):
                if len(set(cell)) == len(cell) and not used & set(cell):
                    options.append((order * detection[name][row] * math.exp(values[cell]), name, cell))
            options.append((1 - detection[name][row], name, (-1,) * values.ndim))
        _, name, cell = max(options, key=lambda option: option[0])
        found[name] = cell
        used |= {slot for slot in cell if slot >= 0}
        left.remove(name)
    return found


def test_greedy_with_detection_takes_the_largest_of_presence_and_absence() -> None:
    for name, event in EVENTS.items():
        logs = distributions(event, 20, 5 if name != "four" else 6, seed=4)
        random = np.random.default_rng(5)
        detection = {name: random.uniform(size=20) for name in event.particle_names}
        decoded = decode(logs, event, detection=detection, threads=1)
        absent = 0
        for row in range(20):
            expected = brute_greedy(event, logs, detection, row)
            for particle, cell in expected.items():
                assert tuple(decoded.assignments[particle][row]) == cell
                absent += cell[0] < 0
        assert absent


def test_ties_go_to_the_first_particle_and_the_first_tuple() -> None:
    logs = {name: np.zeros((1, 4, 4, 4)) - math.log(24) for name in ("t1", "t2")}
    for values in logs.values():
        for cell in np.ndindex(4, 4, 4):
            if len(set(cell)) < 3:
                values[(0, *cell)] = -np.inf
    for method in ("greedy", "best", "sum"):
        decoded = decode(logs, TOPS, method)
        assert decoded.assignments["t1"].tolist() == [[0, 1, 2]]
        assert decoded.assignments["t2"].tolist() == [[-1, -1, -1]]
        assert decoded.probabilities["t1"] == pytest.approx([1 / 12])


def test_events_without_enough_objects_are_not_assigned() -> None:
    logs = distributions(TOPS, 4, 6, seed=1)
    logs["t1"][0] = np.nan  # as networks give it where no tuple is possible
    logs["t2"][0] = np.nan
    logs["t1"][1] = -np.inf
    logs["t2"][1] = np.finfo(np.float32).min  # after numpy.nan_to_num
    for method in ("greedy", "best", "sum"):
        decoded = decode(logs, TOPS, method)
        assert (objects(decoded.assignments)[:2] == -1).all()
        assert (objects(decoded.assignments)[2:] >= 0).all()
        assert np.isnan(decoded.probabilities["t1"][:2]).all()
    empty = {name: values[:, :0, :0, :0] for name, values in logs.items()}
    assert (objects(decode(empty, TOPS).assignments) == -1).all()
    none = decode({name: values[:0] for name, values in logs.items()}, TOPS, k=3)
    assert none.assignments["t1"].shape == (0, 3, 3)


def test_certain_and_repeated_cells() -> None:
    logs = {name: np.full((1, 4, 4, 4), -np.inf) for name in ("t1", "t2")}
    logs["t1"][0, 1, 1, 2] = 0.0  # one object for two daughters: impossible
    logs["t1"][0, 0, 1, 2] = 0.0  # probability 1, with either sign of zero
    logs["t2"][0, 1, 2, 3] = -0.0
    logs["t2"][0, 2, 2, 3] = -1e-3
    for dtype in (np.float16, np.float32, np.float64):
        decoded = decode({name: values.astype(dtype) for name, values in logs.items()}, TOPS)
        assert decoded.assignments["t1"].tolist() == [[0, 1, 2]]
        assert decoded.assignments["t2"].tolist() == [[-1, -1, -1]]


def test_more_objects_than_bits_of_a_word() -> None:
    event = plain_event([1, 1, 2])
    random = np.random.default_rng(2)
    logs = {
        name: -random.exponential(size=(3, *[150] * number)) - 1
        for name, number in zip(event.particle_names, [1, 1, 2], strict=True)
    }
    logs["p0"][:, :100] -= 50
    logs["p1"][:, :100] -= 50
    logs["p2"][:, :100] -= 50
    logs["p2"][:, :, :100] -= 50
    greedy, best = decode(logs, event), decode(logs, event, "best")
    for decoded in (greedy, best):
        assert all(len(set(row)) == 4 and min(row) >= 100 for row in objects(decoded.assignments))
    assert (best.scores >= greedy.scores - 1e-12).all()


def test_threads_and_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    logs = distributions(TOPS, 50, 6, seed=3)
    strided = {name: np.asfortranarray(values) for name, values in logs.items()}
    whole = decode(logs, TOPS, "best", 2, threads=1)
    from jettagger.assignment import decoding

    monkeypatch.setattr(decoding._Problem, "_blocks", lambda self: ((s, min(s + 7, 50)) for s in range(0, 50, 7)))
    parts = decode(strided, TOPS, "best", 2, threads=3)
    np.testing.assert_array_equal(objects(whole.assignments), objects(parts.assignments))
    np.testing.assert_array_equal(whole.scores, parts.scores)


def test_a_function_of_the_user_decodes_and_is_checked() -> None:
    logs = distributions(TOPS, 3, 6, seed=1)
    reference = decode(logs, TOPS)

    def mine(found: Mapping[str, Any]) -> dict[str, Any]:
        assert found is logs
        return {name: values.copy() for name, values in reference.assignments.items()}

    decoded = decode(logs, TOPS, mine)
    assert decoded.method == "mine"
    for name in ("t1", "t2"):
        np.testing.assert_array_equal(decoded.assignments[name], reference.assignments[name])
        np.testing.assert_allclose(decoded.probabilities[name], reference.probabilities[name])
    np.testing.assert_allclose(decoded.scores, reference.scores)

    def changed(name: str, row: int, slots: list[int]) -> Any:
        def answer(found: Any) -> Any:
            result = mine(found)
            result[name][row] = slots
            return result

        return answer

    with pytest.raises(
        InvalidValues, match=r"function answer\(\), event 1: an object is used twice: t1 \[0, 1, 2\]; t2 \["
    ):
        decode(logs, TOPS, _twice(reference))
    with pytest.raises(InvalidValues, match=r"'t2', event 2: got \[0, 1, 6\], expected slots from 0 to 5, or -1"):
        decode(logs, TOPS, changed("t2", 2, [0, 1, 6]))
    with pytest.raises(InvalidValues, match=r"event 0: got \[-1, -1, 3\], expected objects for all daughters"):
        decode(logs, TOPS, changed("t2", 0, [-1, -1, 3]))
    with pytest.raises(WrongType, match="returned"):
        decode(logs, TOPS, lambda found: [1])  # type: ignore[arg-type, return-value]
    with pytest.raises(UnknownName, match="nearest: t1"):
        decode(logs, TOPS, lambda found: {"T1": 0, "t2": 0})
    with pytest.raises(MismatchError, match=r"got the shape \(3, 2\), expected \(3, 3\)"):
        decode(logs, TOPS, lambda found: {"t1": np.zeros((3, 2), int), "t2": reference.assignments["t2"]})
    with pytest.raises(InvalidValues, match="whole numbers"):
        decode(logs, TOPS, lambda found: {"t1": np.zeros((3, 3)), "t2": reference.assignments["t2"]})
    with pytest.raises(ConfigError, match="without k and detection"):
        decode(logs, TOPS, mine, k=2)


def _twice(reference: Any) -> Any:
    def answer(found: Any) -> Any:
        result = {name: values.copy() for name, values in reference.assignments.items()}
        result["t1"][1] = [0, 1, 2]
        result["t2"][1] = [2, 3, 4]
        return result

    return answer


def test_bad_input() -> None:
    logs = distributions(TOPS, 3, 6, seed=1)
    with pytest.raises(UnknownName, match=r"'t3' \(nearest: t"):
        decode({**logs, "t3": logs["t1"]}, TOPS)
    with pytest.raises(MismatchError, match="no distribution of the particle t2"):
        decode({"t1": logs["t1"]}, TOPS)
    with pytest.raises(MismatchError, match=r"'t2': got the shape \(3, 5, 5, 5\).*\(3, 6, 6, 6\)"):
        decode({"t1": logs["t1"], "t2": logs["t2"][:, :5, :5, :5]}, TOPS)
    with pytest.raises(MismatchError, match=r"'t1': got the shape \(3, 6, 6\)"):
        decode({"t1": logs["t1"][..., 0], "t2": logs["t2"]}, TOPS)
    with pytest.raises(MismatchError, match=r"got the shape \(2, 6, 6, 6\)"):
        decode({"t1": logs["t1"], "t2": logs["t2"][:2]}, TOPS)
    with pytest.raises(MismatchError, match="no regular array"):
        decode({"t1": [[1, 2], [3]], "t2": logs["t2"]}, TOPS)
    with pytest.raises(InvalidValues, match="type complex"):
        decode({"t1": logs["t1"].astype(complex), "t2": logs["t2"]}, TOPS)
    for dtype in (np.float32, np.float64):
        wrong = logs["t2"].astype(dtype)
        wrong[1] = np.exp(wrong[1])
        with pytest.raises(InvalidValues, match=r"'t2', event 1: got 0\.\d+, expected logarithms .* take numpy.log"):
            decode({"t1": logs["t1"].astype(dtype), "t2": wrong}, TOPS)
        wrong = logs["t1"].astype(dtype)
        for sign in (1, -1):
            wrong[2, 0, 1, 2] = np.copysign(np.nan, sign)
            with pytest.raises(InvalidValues, match="'t1', event 2: 1 of 216 numbers are NaN"):
                decode({"t1": wrong, "t2": logs["t2"].astype(dtype)}, TOPS, "best")
    with pytest.raises(UnknownName, match="nearest: greedy"):
        decode(logs, TOPS, "greedi")
    with pytest.raises(ConfigError, match="argument k: got 0"):
        decode(logs, TOPS, k=0)
    with pytest.raises(ConfigError, match="argument threads: got 0"):
        decode(logs, TOPS, threads=0)
    ones = np.ones(3)
    with pytest.raises(InvalidValues, match="'t2', event 1: got nan, expected a probability"):
        decode(logs, TOPS, detection={"t1": ones, "t2": [1, np.nan, 1]})
    with pytest.raises(MismatchError, match=r"shape \(2,\)"):
        decode(logs, TOPS, detection={"t1": ones, "t2": ones[:2]})
    with pytest.raises(MismatchError, match="no detection probability of the particle t1"):
        decode(logs, TOPS, detection={"t2": ones})


@pytest.mark.data
def test_distributions_of_a_network_are_decoded_as_by_the_original(shared: Path) -> None:
    event = read_event_file(shared / "spanet" / "ttH_event.yaml")
    with np.load(shared / "spanet" / "ttH_forward64.npz") as data:
        logs = {name: data[f"{name}_assignment_log_probability"] for name in event.particle_names}
        expected = {name: data[f"{name}_decoded"] for name in event.particle_names}
    decoded = decode(logs, event)
    for name, slots in decoded.assignments.items():
        # the network is symmetric up to rounding, so which of two symmetric daughters comes first is arbitrary
        group = np.array(event.daughter_group(name).elements)
        assert (slots[:, group] == expected[name][:, None]).all(axis=2).any(axis=1).all()
