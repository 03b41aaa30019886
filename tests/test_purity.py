"""Purities and the comparison of methods: references, plain loops, bad input."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from agreement import Agreement
from shown import check_shown

from jettagger.assignment import compare_methods, decode, parse_event_text, purities, read_event_file
from jettagger.assignment.comparison import compare_assignments
from jettagger.assignment.purity import clusters_of, match_events
from jettagger.errors import ConfigError, InvalidValues, MismatchError, UnknownName
from jettagger.types import Array

TEXT = "INPUTS: {SEQUENTIAL: {Jets: {pt: none}}}\nEVENT: %s\nPERMUTATIONS: %s\n"
TOPS = parse_event_text(
    TEXT % ("{t1: [q1, q2, b], t2: [q1, q2, b]}", "{EVENT: [[t1, t2]], t1: [[q1, q2]], t2: [[q1, q2]]}")
)


def reference(shared: Path) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array], Array]:
    """Predictions, targets and masks of the ttH example, and the number of vectors, which counts MET."""
    with np.load(shared / "spanet" / "ttH_full_decoded.npz") as data:
        found = tuple(
            {name: data[f"{name}_{what}"] for name in ("lt", "ht", "h")} for what in ("pred", "target", "mask")
        )
        # the original decodes events with fewer objects than daughters, too, and writes -2 for none
        return found[0], found[1], found[2], data["num_vectors"]


@pytest.mark.data
def test_purities_are_exactly_the_references(shared: Path, agrees: Agreement) -> None:
    predictions, targets, masks, vectors = reference(shared)
    event = read_event_file(shared / "spanet" / "ttH_event.yaml")
    predictions = {name: np.where(slots < 0, -1, slots) for name, slots in predictions.items()}
    made: list[Any] = []
    text = (shared / "spanet" / "ttH_metrics.json").read_text()
    for counts, shift in ((vectors, 0), (vectors - 1, 1)):  # with the MET, as the original counts, and without
        expected = json.loads(text)["results"]
        found = purities(predictions, targets, masks, event, counts)
        assert list(found.bins) == [f"== {8 - shift}", f"== {9 - shift}", f">= {10 - shift}", "all"]
        for categories, numbers in zip(found.bins.values(), expected.values(), strict=True):
            values = {name: value for purity in categories.values() for name, value in purity.values().items()}
            assert numbers.pop("event_jet_proportion", 1) == categories["*lt*ht*h"].all_events / 1000
            assert set(numbers) == set(values)
            known = [name for name, number in numbers.items() if number is not None]
            assert all(values[name] is None for name in set(numbers) - set(known))
            made.append(([values[name] for name in known], [numbers[name] for name in known]))
    own, theirs = (np.concatenate(parts) for parts in zip(*made, strict=True))
    agrees("spanet/purities", own, theirs, sample=len(vectors))
    held = json.loads((shared / "spanet" / "heldout_metrics.json").read_text())
    for label, rows in (("ttH train(0..949)", slice(0, 950)), ("ttH heldout(950..999)", slice(950, 1000))):
        part = [{name: values[rows] for name, values in item.items()} for item in (predictions, targets, masks)]
        found = purities(*part, event)
        total = found["*lt*ht*h"]
        assert total.events == held[label]["n_any"]
        assert total.event_purity == held[label]["event_purity_*"]
        assert {f"{name}_purity": value for name, value in total.cluster_purity.items()} == {
            name: held[label][name] for name in ("lt_purity", "ht_purity", "h_purity")
        }


def random_truth(seed: int, n_events: int) -> tuple[dict[str, Array], dict[str, Array]]:
    random = np.random.default_rng(seed)
    orders = np.argsort(random.uniform(size=(n_events, 7)), axis=1)
    targets = {"t1": orders[:, :3], "t2": orders[:, 3:6]}
    masks = {name: random.uniform(size=n_events) < 0.7 for name in targets}
    return {name: np.where(masks[name][:, None], slots, -1) for name, slots in targets.items()}, masks


def test_purities_of_tops_against_plain_loops() -> None:
    targets, masks = random_truth(1, 300)
    random = np.random.default_rng(2)
    whole = {name: np.where(random.uniform(size=(300, 1)) < 0.6, slots, -1) for name, slots in targets.items()}
    swap = random.uniform(size=(300, 1)) < 0.5
    chosen = {
        "t1": np.where(swap, whole["t2"], whole["t1"])[:, [1, 0, 2]],
        "t2": np.where(swap, whole["t1"], whole["t2"]),
    }
    found = purities(chosen, targets, masks, TOPS)
    right = events = particles = matched = 0
    for row in range(300):
        present = [name for name in targets if masks[name][row]]
        if not present:
            continue
        counts = []
        for order in itertools.permutations(("t1", "t2")):
            counts.append(
                sum(
                    sorted(chosen[of][row, :2]) == sorted(targets[to][row, :2])
                    and chosen[of][row, 2] == targets[to][row, 2]
                    for of, to in zip(order, ("t1", "t2"), strict=True)
                    if to in present
                )
            )
        events += 1
        right += max(counts) == len(present)
        particles += len(present)
        matched += max(counts)
    total = found["*t"]
    assert (total.events, total.right, total.particles["t"], total.matched["t"]) == (events, right, particles, matched)
    assert 0 < right < events
    assert sum(found[f"{n}t"].events for n in range(3)) == 300
    assert found["0t"].event_purity == 1
    assert found["0t"].cluster_purity == {"t": None}
    assert found["0t"].event_purity_uncertainty == 0
    none = purities(
        {n: v[:0] for n, v in chosen.items()},
        {n: v[:0] for n, v in targets.items()},
        {n: v[:0] for n, v in masks.items()},
        TOPS,
        [],
    )
    assert none["2t"].event_purity is None
    assert none["2t"].event_proportion is None


def test_exchanges_are_those_of_the_group() -> None:
    event = parse_event_text(TEXT % ("{a: [w, x, y, z]}", "{a: [[[w, x], [y, z]]]}"))
    target = {"a": np.array([[0, 1, 2, 3]] * 3)}
    found = match_events(
        {"a": np.array([[0, 1, 2, 3], [1, 0, 3, 2], [1, 0, 2, 3]])}, target, {"a": np.ones(3, bool)}, event
    )
    assert found.right.tolist() == [True, True, False]


def test_clusters_have_names_of_their_own() -> None:
    event = parse_event_text(
        TEXT % ("{t1: [b], t2: [b], ta: [b], tb: [b], u: [b], v: [b]}", "{EVENT: [[t1, t2], [ta, tb], [u, v]]}")
    )
    assert clusters_of(event) == {"t1+t2": ("t1", "t2"), "ta+tb": ("ta", "tb"), "u+v": ("u", "v")}


def test_tables_and_json_hold_all_numbers() -> None:
    targets, masks = random_truth(3, 50)
    found = purities(targets, targets, masks, TOPS, np.full(50, 7))
    assert "1.000 ± 0.000" in str(found)
    assert "\\*t" in found.to_markdown()
    content = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert content["bins"]["all"]["2t"]["event_purity"] == 1
    assert content["bins"]["== 8"]["2t"]["event_purity"] is None
    assert "purities" in found.summary().title
    check_shown(found)


def compared(n_events: int = 400) -> tuple[Any, ...]:
    from test_decoding import distributions

    targets, masks = random_truth(5, n_events)
    logs = distributions(TOPS, n_events, 7, seed=6, spread=1.5)
    for name, values in logs.items():
        for row in range(n_events):
            if masks[name][row]:
                first, second, last = targets[name][row]
                values[row, first, second, last] += 4.5
                values[row, second, first, last] += 4.5
        values -= np.log(np.exp(values).sum(axis=(1, 2, 3), keepdims=True))
    return logs, targets, masks, TOPS


def test_methods_are_compared_on_the_same_events() -> None:
    logs, targets, masks, event = compared()

    def nothing(found: Any) -> dict[str, Array]:
        return {name: np.full((400, 3), -1) for name in found}

    found = compare_methods(logs, targets, masks, event, ("greedy", "best", nothing))
    rows = {(item.category, item.measure, item.method): item for item in found.purities}
    for method in ("greedy", "best"):
        expected = purities(decode(logs, event, method).assignments, targets, masks, event)["*t"]
        assert rows["*t", "event", method].purity == expected.event_purity
        assert rows["*t", "t", method].purity == expected.cluster_purity["t"]
    best, greedy = rows["*t", "event", "best"], rows["*t", "event", "greedy"]
    assert best.gained
    assert best.lost
    assert greedy.gained == greedy.lost == 0
    assert best.difference == pytest.approx((best.gained - best.lost) / best.total)
    shares = best.gained / best.total, best.lost / best.total
    assert best.difference_uncertainty == pytest.approx(
        math.sqrt((sum(shares) - (shares[0] - shares[1]) ** 2) / best.total)
    )
    assert greedy.uncertainty == pytest.approx(math.sqrt(greedy.purity * (1 - greedy.purity) / greedy.total))  # type: ignore[operator]
    assert rows["2t", "t", "nothing"].purity == 0
    assert found.differing["greedy"] == 0 < found.differing["best"] < found.differing["nothing"] == 400
    assert "minus greedy" in str(found)
    assert "nothing" in found.to_markdown()
    content = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert content["differing"] == dict(found.differing)
    assert len(content["purities"]) == len(found.purities)
    assert found.summary().grids
    check_shown(found)


def test_bad_input() -> None:
    targets, masks = random_truth(1, 5)
    good = targets
    with pytest.raises(UnknownName, match="nearest: t"):
        purities({**good, "t3": good["t1"]}, targets, masks, TOPS)
    with pytest.raises(UnknownName, match="nearest: t"):
        purities(good, {**targets, "t3": good["t1"]}, masks, TOPS)
    with pytest.raises(MismatchError, match="no target mask of particle 't2'"):
        purities(good, targets, {"t1": masks["t1"]}, TOPS)
    with pytest.raises(MismatchError, match=r"targets of particle 't1': got the shape \(5, 2\), expected \(5, 3\)"):
        purities(good, {**targets, "t1": targets["t1"][:, :2]}, masks, TOPS)
    with pytest.raises(MismatchError, match=r"counts: got the shape \(2,\)"):
        purities(good, targets, masks, TOPS, [1, 2])
    with pytest.raises(InvalidValues, match=r"'t1', event 0: \[-1, -1, -1\] although the particle is present"):
        purities(good, {**targets, "t1": np.full((5, 3), -1)}, {**masks, "t1": np.ones(5, bool)}, TOPS)
    with pytest.raises(UnknownName, match="unknown category"):
        purities(good, targets, masks, TOPS)["3t"]
    logs, targets, masks, event = compared(10)
    with pytest.raises(UnknownName, match="method to compare with"):
        compare_methods(logs, targets, masks, event, ("best",))
    with pytest.raises(ConfigError, match="two of the methods are called 'best'"):
        compare_methods(logs, targets, masks, event, ("best", "best"), "best")
    assert compare_assignments({"greedy": good}, *random_truth(1, 5), TOPS).n_events == 5
