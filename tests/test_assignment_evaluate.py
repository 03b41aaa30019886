"""Evaluation of networks on data sets: the references, the same numbers by other ways, files, bad input."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import awkward as ak
import numpy as np
import pytest
from assigners import assigner_folder
from shown import check_shown

from jettagger.assignment import (
    AssignmentEvents,
    BTag,
    DatasetWriter,
    chi_square,
    compare_methods,
    decode,
    evaluate_networks,
    open_model,
    parse_baseline,
    parse_event_text,
    plan_evaluation,
    purities,
    top_terms,
)
from jettagger.assignment.evaluation_report import evaluation_figure, write_evaluation
from jettagger.assignment.measures import ClassSums
from jettagger.assignment.model_outputs import ModelOutputs
from jettagger.assignment.purity import match_events
from jettagger.assignment.resampling import Estimate
from jettagger.cli import main
from jettagger.errors import ConfigError, InvalidValues, MismatchError, OutputError, UnknownName
from jettagger.provenance import Provenance, read_provenance
from jettagger.types import Array

pytest.importorskip("h5py")

TOPS = parse_event_text("""
INPUTS:
  SEQUENTIAL:
    Jets: {mass: log_normalize, pt: log_normalize, eta: normalize, phi: normalize, btag: none}
EVENT: {t1: [q1, q2, b], t2: [q1, q2, b]}
PERMUTATIONS: {EVENT: [[t1, t2]], t1: [[q1, q2]], t2: [[q1, q2]]}
REGRESSIONS: {EVENT: [mass]}
CLASSIFICATIONS: {EVENT: [signal]}
""")
SLOTS = 8


def events(n_events: int = 300, seed: int = 1) -> AssignmentEvents:
    """Events with 6 to 8 jets, in slots with gaps, and 0 to 2 tops."""
    random = np.random.default_rng(seed)
    mask = np.ones((n_events, SLOTS), dtype=bool)
    for row in range(n_events):
        mask[row, random.choice(SLOTS, random.integers(0, 3), replace=False)] = False
    low, high = np.array([1, 25, -2, -3, 0]), np.array([20, 200, 2, 3, 1])
    values = random.uniform(low, high, size=(n_events, SLOTS, 5)) * mask[..., None]
    order = np.argsort(np.where(mask, random.uniform(size=mask.shape), 2), axis=1)
    targets = {"t1": order[:, :3].copy(), "t2": order[:, 3:6].copy()}
    for indices in targets.values():
        indices[random.uniform(size=n_events) < 0.3, random.integers(3)] = -1
    mass = random.normal(500, 50, n_events).astype(np.float32)
    mass[random.uniform(size=n_events) < 0.2] = np.nan
    return AssignmentEvents(
        {"Jets": values.astype(np.float32)},
        {"Jets": mask},
        targets,
        regressions={"EVENT/mass": mass},
        classifications={"EVENT/signal": random.integers(-1, 2, n_events)},
    )


class Network:
    """A network with given answers: the truth with noise."""

    def __init__(self, made: AssignmentEvents, *, seed: int, strength: float = 5.0, name: str = "net") -> None:
        from test_decoding import distributions

        random = np.random.default_rng(seed)
        self.name, self.event, self.digest = name, TOPS, "d" * 64
        self.sources, self.untrained, self.options = (), frozenset(), {}
        logs = distributions(TOPS, made.n_events, SLOTS, seed=seed)
        self.detection, self.logs = {}, {}
        for particle, values in logs.items():
            real, rows = made.masks["Jets"], np.flatnonzero(made.target_masks[particle])
            first, second, last = made.targets[particle][rows].T
            values[rows, first, second, last] += strength
            values[rows, second, first, last] += strength
            allowed = real[:, :, None, None] & real[:, None, :, None] & real[:, None, None, :]
            values = np.where(allowed, values, -np.inf)
            total = np.log(np.exp(values).sum(axis=(1, 2, 3), keepdims=True))
            self.logs[particle] = (values - total).astype(np.float32)
            score = made.target_masks[particle] + random.normal(0, 0.7, made.n_events)
            self.detection[particle] = (1 / (1 + np.exp(-score + 0.5))).astype(np.float32)
        self.regressions = {"EVENT/mass": (500 + random.normal(0, 30, made.n_events)).astype(np.float32)}
        probability = random.uniform(size=made.n_events)
        self.classes = {"EVENT/signal": np.stack([1 - probability, probability], axis=1).astype(np.float32)}
        self.scored = np.ones(made.n_events, dtype=bool)

    def outputs(self, block: AssignmentEvents) -> ModelOutputs:
        rows = slice(block.start, block.start + block.n_events)

        def part(arrays: dict[str, Array]) -> dict[str, Array]:
            return {name: values[rows] for name, values in arrays.items()}

        return ModelOutputs(
            part(self.logs),
            part(self.detection),
            part(self.regressions),
            part(self.classes),
            self.scored[rows],
            ~self.scored[rows],
        )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A data set, its events, and two networks."""
    path = tmp_path_factory.mktemp("evaluate") / "tops.h5"
    sample = events()
    with DatasetWriter(path, TOPS, {"Jets": SLOTS}) as writer:
        writer.append(sample)
    networks = {"good": Network(sample, seed=3), "bad": Network(sample, seed=4, strength=3.0)}
    return SimpleNamespace(path=path, events=sample, networks=networks)


@pytest.fixture(scope="module")
def found(made: Any) -> Any:
    baseline = parse_baseline(TOPS, ["t1=top", "t2=top"], "btag > 0.5")
    return evaluate_networks(plan_evaluation(made.networks, made.path, baseline=baseline), threads=1, size=64)


# ------------------------------------------------------------------------------------------------------- references


@pytest.mark.data
@pytest.mark.slow
def test_purities_of_the_example_are_those_of_the_original(shared: Path, tmp_path: Path) -> None:
    folder = tmp_path / "raw"
    folder.mkdir()
    (folder / "model.onnx").write_bytes((shared / "spanet" / "ttH.onnx").read_bytes())
    (folder / "event.yaml").write_bytes((shared / "spanet" / "ttH_event.yaml").read_bytes())
    model = open_model(folder, threads=1, input_log=False)
    path = shared / "spanet" / "examples" / "ttH.h5"
    plan = plan_evaluation({"ttH": model}, path, methods=["greedy"])
    made = evaluate_networks(plan, replicas=0, threads=1, size=300)
    values = {
        f"{row.objects} {row.category}/{'event_purity' if row.measure == 'event' else f'{row.measure}_purity'}": (
            row.purity.value
        )
        for row in made.purities
        if row.method == "greedy"
    }
    shares = {f"{row.objects} {row.category}/event_proportion": row.proportion.value for row in made.purities}
    expected: dict[str, Any] = {}
    results = json.loads((shared / "spanet" / "ttH_metrics.json").read_text())["results"]
    # the original counts the missing momentum as an object
    for label, numbers in zip(("== 7", "== 8", ">= 9", "all"), results.values(), strict=True):
        assert made.bins[label] == round(1000 * numbers.get("event_jet_proportion", 1))
        expected |= {f"{label} {name}": number for name, number in numbers.items() if name != "event_jet_proportion"}
    for name, number in expected.items():
        own = (values | shares).get(name)
        assert own == (number or own), name  # without events, 0 or None there, and no row here
    assert {name for name, number in expected.items() if number} <= {*values, *shares}
    held = json.loads((shared / "spanet" / "heldout_metrics.json").read_text())["ttH heldout(950..999)"]
    part = evaluate_networks(
        plan_evaluation({"ttH": model}, path, methods=["greedy"], detection=False, start=950), replicas=0
    )
    assert part.purity("greedy") == Estimate(held["event_purity_*"], None)
    for name in ("lt", "ht", "h"):
        assert part.purity("greedy", name).value == held[f"{name}_purity"]


# ------------------------------------------------------------------------------------------------------- purities


def test_purities_are_those_of_the_functions_for_arrays(made: Any, found: Any) -> None:
    network, sample = made.networks["good"], made.events
    counts = sample.masks["Jets"].sum(axis=1)
    for method in ("greedy", "best", "sum"):
        for detection in (None, network.detection):
            chosen = decode(network.logs, TOPS, method, detection=detection, threads=1).assignments
            expected = purities(chosen, sample.targets, sample.target_masks, TOPS, counts)
            label = f"good: {method}" + (", detection" if detection else "")
            rows = [row for row in found.purities if row.method == label]
            assert [row.objects for row in rows if row.category == "*t" and row.measure == "t"] == [*expected.bins]
            for row in rows:
                category = expected.bins[row.objects][row.category]
                numbers = {"event": category.event_purity, **category.cluster_purity}
                assert row.purity.value == numbers[row.measure]
                assert (row.events, row.proportion.value) == (category.events, category.event_proportion)
                right = category.right if row.measure == "event" else category.matched[row.measure]
                assert row.right == right
            assert {row.category for row in rows} == {
                name for name, item in expected.bins["all"].items() if item.events
            }


def test_differences_are_paired(made: Any, found: Any) -> None:
    network, sample = made.networks["good"], made.events
    expected = compare_methods(network.logs, sample.targets, sample.target_masks, TOPS, threads=1)
    assert list(found.comparisons) == ["good", "bad", "between networks"]
    own = {(row.category, row.measure, row.method): row for row in found.comparisons["good"].purities}
    assert len(own) == 2 * len(expected.purities)
    for row in expected.purities:
        same = own[row.category, row.measure, f"good: {row.method}"]
        for name in ("total", "right", "gained", "lost"):
            assert getattr(same, name) == getattr(row, name)
        assert same.purity == pytest.approx(row.purity)
        assert same.difference == pytest.approx(row.difference)
        # of the bootstrap with 200 replicas, good to 5 %
        assert same.uncertainty == pytest.approx(row.uncertainty, rel=0.25)
        assert same.difference_uncertainty == pytest.approx(row.difference_uncertainty, rel=0.25)
    for method, number in expected.differing.items():
        assert found.comparisons["good"].differing[f"good: {method}"] == number
    networks = found.comparisons["between networks"]
    assert (networks.reference, list(networks.differing)) == (
        "good: greedy",
        ["good: greedy", "bad: greedy", "chi-square"],
    )
    worse = next(row for row in networks.purities if (row.measure, row.method) == ("event", "bad: greedy"))
    assert worse.difference is not None
    assert worse.difference_uncertainty is not None
    assert worse.difference < -3 * worse.difference_uncertainty
    assert networks.differing["good: greedy"] == 0 < networks.differing["bad: greedy"]


def test_blocks_do_not_matter(made: Any, found: Any) -> None:
    again = evaluate_networks(
        plan_evaluation(made.networks, made.path, baseline=parse_baseline(TOPS, ["t1=top", "t2=top"], "btag > 0.5")),
        threads=1,
        size=1000,
    )
    for one, other in zip(found.purities, again.purities, strict=True):
        assert replace(one, purity=other.purity, proportion=other.proportion) == other
        assert one.purity.value == pytest.approx(other.purity.value)
        assert one.purity.uncertainty == pytest.approx(other.purity.uncertainty)
    assert found.detections[0].area.value == pytest.approx(again.detections[0].area.value)
    assert found.regressions[0].rms.uncertainty == pytest.approx(again.regressions[0].rms.uncertainty)


def test_bins_and_ranges_are_chosen(made: Any) -> None:
    plan = plan_evaluation(
        {"net": made.networks["good"]}, made.path, methods=["best"], detection=False, start=100, stop=-50
    )
    assert (plan.start, plan.stop, plan.n_events) == (100, 250, 150)
    seen: list[int] = []
    made_of = evaluate_networks(plan, lines=0, replicas=0, threads=1, size=64, progress=seen.append)
    assert seen == [64, 64, 22]
    assert {row.objects for row in made_of.purities} == {"all"}
    assert made_of.methods == ("best",)
    assert made_of.comparisons == {}
    rows = slice(100, 250)
    chosen = decode(
        {name: values[rows] for name, values in made.networks["good"].logs.items()}, TOPS, "best", threads=1
    )
    expected = purities(
        chosen.assignments,
        {name: values[rows] for name, values in made.events.targets.items()},
        {name: values[rows] for name, values in made.events.target_masks.items()},
        TOPS,
    )
    assert made_of.purity("best", "t", "2t") == Estimate(expected["2t"].cluster_purity["t"], None)
    assert "0.0 %" not in str(made_of)


def test_weights_of_events_are_in_all_fractions(made: Any, tmp_path: Path) -> None:
    network, sample = made.networks["good"], made.events
    weights = np.random.default_rng(5).choice([-0.5, 0, 1, 3], 300).astype(np.float32)
    with DatasetWriter(tmp_path / "weights.h5", TOPS, {"Jets": SLOTS}) as writer:
        writer.append(replace(sample, event_weights={"EVENT": weights}))
    plan = plan_evaluation({"net": network}, tmp_path / "weights.h5", methods=["greedy"], weights=True)
    found = evaluate_networks(plan, lines=0, threads=1, size=77)
    assert found.weighted
    assert found.notes == ()
    chosen = decode(network.logs, TOPS, threads=1).assignments
    matched = match_events(chosen, sample.targets, sample.target_masks, TOPS)
    rows = matched.any_present
    expected = weights[rows & matched.right].sum() / weights[rows].sum()
    assert found.purity("greedy").value == pytest.approx(expected)
    top = (weights * matched.matched["t"]).sum() / (weights * matched.present["t"]).sum()
    assert found.purity("greedy", "t").value == pytest.approx(top)
    row = next(row for row in found.purities if row.measure == "event" and row.category == "*t")
    assert (row.events, row.right) == (rows.sum(), (rows & matched.right).sum())
    assert row.proportion.value == pytest.approx(weights[rows].sum() / weights.sum())
    error = weights * (matched.right - expected)
    assert row.purity.uncertainty == pytest.approx(np.sqrt((error[rows] ** 2).sum()) / weights[rows].sum(), rel=0.25)
    difference = network.regressions["EVENT/mass"] - sample.regressions["EVENT/mass"]
    known = ~np.isnan(difference)
    assert found.regressions[0].bias.value == pytest.approx(np.average(difference[known], weights=weights[known]))
    assert "purities, with weights of events" in str(found)
    plan = plan_evaluation({"net": network}, tmp_path / "weights.h5")
    assert "has weights of events: they are not used" in plan.notes[0]
    assert evaluate_networks(plan, replicas=0, threads=1).purity("greedy").value == pytest.approx(
        matched.right[rows].mean()
    )
    with pytest.raises(ConfigError, match=r"has no weights of events \(WEIGHTS/EVENT\)"):
        plan_evaluation({"net": network}, made.path, weights=True)


def test_an_own_function_is_a_method(made: Any) -> None:
    def nothing(logs: Any) -> dict[str, Array]:
        return {name: np.full((len(values), 3), -1) for name, values in logs.items()}

    plan = plan_evaluation({"net": made.networks["good"]}, made.path, methods=["greedy", nothing])
    assert [column.label for column in plan.columns] == ["greedy", "nothing", "greedy, detection"]
    assert evaluate_networks(plan, replicas=0, threads=1).purity("nothing", "t").value == 0


def test_the_chi_square_is_that_of_the_events(made: Any, found: Any) -> None:
    sample = made.events
    values, mask = sample.values["Jets"], sample.masks["Jets"]
    order = np.argsort(-np.where(mask, values[..., 1], -1), axis=1)
    jets = [
        [
            dict(zip(("mass", "pt", "eta", "phi", "btag"), map(float, values[row, slot]), strict=True))
            for slot in order[row]
            if mask[row, slot]
        ]
        for row in range(len(mask))
    ]
    array = ak.Array(jets)
    own = chi_square(
        array,
        TOPS,
        [term for name in ("t1", "t2") for term in top_terms(name)],
        BTag({"t1": ("b",), "t2": ("b",)}),
        array.btag > 0.5,
        threads=1,
    )
    slots = {name: np.take_along_axis(order, places, axis=1) for name, places in own.assignments.items()}
    expected = purities(slots, sample.targets, sample.target_masks, TOPS)["*t"]
    assert found.purity("chi-square").value == expected.event_purity
    assert found.purity("chi-square", "t").value == expected.cluster_purity["t"]


def test_a_chi_square_of_some_particles_has_no_event_purity() -> None:
    event = parse_event_text("""
INPUTS:
  SEQUENTIAL:
    Leptons: {pt: log}
    Jets: {pt: log, eta: none, sin_phi: none, cos_phi: none}
EVENT: {lt: [{b: Jets}], h1: [{b1: Jets}, {b2: Jets}], h2: [{b1: Jets}, {b2: Jets}]}
PERMUTATIONS: {EVENT: [[h1, h2]], h1: [[b1, b2]], h2: [[b1, b2]]}
""")
    baseline = parse_baseline(event, ["h1=higgs", "h2/b1+b2=90,10"])
    assert baseline.event.particle_names == ("h1", "h2")
    assert baseline.event.event_group.order == 2
    jets = np.zeros((1, 5, 4), np.float32)
    jets[0, 1:] = [[45, 0, 0, 1], [62.6, 0, 1, 0], [45, 0, 0, -1], [62.6, 0, -1, 0]]
    block = AssignmentEvents(
        {"Leptons": np.ones((1, 2, 1), np.float32), "Jets": jets},
        {"Leptons": np.ones((1, 2), bool), "Jets": np.array([[False, True, True, True, True]])},
    )
    assert (baseline.cut(block), replace(baseline, max_objects=3).cut(block)) == (0, 1)
    chosen = baseline.assign(block, threads=1)
    assert [sorted(chosen[name][0].tolist()) for name in ("h1", "h2")] == [[4, 6], [3, 5]]
    with pytest.raises(ConfigError, match="one input with momenta"):
        parse_baseline(replace(event, particles=TOPS.particles, permutations=TOPS.permutations), ["t1=top"])


# ---------------------------------------------------------------------------------- detections, regressions, classes


def area(scores: Array, positive: Array) -> float:
    pairs = scores[positive][:, None] - scores[~positive][None, :]
    return float(((pairs > 0) + 0.5 * (pairs == 0)).mean())


def test_detections_of_particles_that_may_be_exchanged(made: Any, found: Any) -> None:
    network, sample = made.networks["good"], made.events
    ordered = np.sort(np.stack([network.detection["t1"], network.detection["t2"]]), axis=0)
    count = sample.target_masks["t1"].astype(int) + sample.target_masks["t2"]
    rows = [row for row in found.detections if row.model == "good"]
    assert [(row.cluster, row.number) for row in rows] == [("t", 1), ("t", 2)]
    for row, scores in zip(rows, ordered[::-1], strict=True):
        there, passing = count >= row.number, scores >= 0.5
        assert (row.present, row.absent) == (there.sum(), (~there).sum())
        assert row.sensitivity.value == pytest.approx(passing[there].mean())
        assert row.specificity.value == pytest.approx((~passing)[~there].mean())
        assert row.accuracy.value == pytest.approx((passing == there).mean())
        assert row.area.value == pytest.approx(area(scores, there), abs=2e-3)
        assert row.accuracy.uncertainty == pytest.approx(np.std(passing == there) / np.sqrt(300), rel=0.25)


def test_regressions_leave_out_what_has_no_target(made: Any, found: Any) -> None:
    network, targets = made.networks["good"], made.events.regressions["EVENT/mass"].astype(float)
    error = (network.regressions["EVENT/mass"] - targets)[~np.isnan(targets)]
    row = next(row for row in found.regressions if row.model == "good")
    assert (row.events, row.without_target, row.not_scored) == (len(error), 300 - len(error), 0)
    assert row.bias.value == pytest.approx(error.mean())
    assert row.absolute.value == pytest.approx(np.abs(error).mean())
    assert row.rms.value == pytest.approx(np.sqrt((error**2).mean()))
    assert row.relative.value == pytest.approx(np.nanmean(np.abs(network.regressions["EVENT/mass"] / targets - 1)))
    assert row.spread.value == pytest.approx(np.nanstd(targets), rel=1e-6)
    assert row.bias.uncertainty == pytest.approx(error.std() / np.sqrt(len(error)), rel=0.25)


def test_classes_leave_out_what_has_none(made: Any, found: Any) -> None:
    network, truth = made.networks["good"], made.events.classifications["EVENT/signal"]
    rows, score = truth >= 0, network.classes["EVENT/signal"][:, 1]
    row = next(row for row in found.classes if row.model == "good")
    assert (row.events, row.without_target) == (rows.sum(), (~rows).sum())
    assert row.counts == tuple(np.bincount(truth[rows]))
    assert row.accuracy.value == pytest.approx(((score > 0.5) == truth)[rows].mean())
    for place in range(2):
        assert row.by_class[place].value == pytest.approx(((score > 0.5) == place)[truth == place].mean())
    assert row.area.value == pytest.approx(area(score[rows], truth[rows] == 1), abs=2e-3)
    with pytest.raises(InvalidValues, match="event 12 has class 2"):
        ClassSums(0).add(np.full((3, 2), 0.5), np.array([0, 1, 2]), np.ones((3, 1)), "a.h5", 10)


def test_events_that_are_not_scored_are_counted(made: Any) -> None:
    network = Network(made.events, seed=3)
    network.scored = np.arange(300) >= 20
    for arrays in (network.detection, network.regressions, network.classes):
        for values in arrays.values():
            values[:20] = np.nan
    for values in network.logs.values():
        values[:20] = -np.inf
    found = evaluate_networks(plan_evaluation({"net": network}, made.path), replicas=0, threads=1)
    assert found.not_scored == found.cut == {"net": 20}
    assert found.detections[0].present + found.detections[0].absent == 280
    assert found.regressions[0].not_scored + found.regressions[0].events + found.regressions[0].without_target == 300
    assert sum(row.assigned for row in found.assigned if row.method == "greedy") == 560
    network.untrained = frozenset({"detection", "regressions", "classes"})  # type: ignore[assignment]
    plan = plan_evaluation({"net": network}, made.path)
    assert plan.notes == tuple(
        f"net: {part} left out, the training had none" for part in ("classes", "detection", "regressions")
    )
    found = evaluate_networks(plan, replicas=0, threads=1)
    assert (found.methods, found.detections, found.regressions, found.classes) == (
        ("greedy", "best", "sum"),
        (),
        (),
        (),
    )
    assert found.notes == plan.notes
    with pytest.raises(ConfigError, match="net was not trained for detections"):
        plan_evaluation({"net": network}, made.path, detection=True)


def test_events_of_the_training_are_named(made: Any, tmp_path: Path) -> None:
    network = Network(made.events, seed=3)
    link = tmp_path / "link.h5"
    link.symlink_to(made.path)
    network.options = {"training_file": str(link), "dataset_limit": 0.8, "train_validation_split": 0.75}
    plans = [plan_evaluation({"net": network}, made.path, start=start) for start in (0, 170, 180)]
    assert [plan.notes for plan in plans] == [
        ("net was trained with 180 of the 300 events: purities of them tell nothing",),
        ("net was trained with 10 of the 130 events: purities of them tell nothing",),
        (),
    ]
    network.options |= {"validation_file": "other.h5"}
    assert plan_evaluation({"net": network}, made.path).notes[0].startswith("net was trained with 240 of the 300")
    network.options |= {"dataset_limit": 0.5, "dataset_randomization": 3}
    assert plan_evaluation({"net": network}, made.path).notes[0].startswith("net was trained with 150 of the 300")
    network.options |= {"training_file": "absent.h5"}
    assert plan_evaluation({"net": network}, made.path).notes == ()


# ------------------------------------------------------------------------------------------------------- outputs


def test_tables_hold_what_is_asked_for(found: Any) -> None:
    bins, first = found.tables()[:2]
    assert [row[0] for row in bins.rows] == ["== 6", "== 7", ">= 8", "all"]
    assert sum(int(row[1]) for row in bins.rows) == 600
    assert {row[1] for row in first.rows} == {"*t", "2t"}
    assert {row[1] for row in found.tables(["1t"])[1].rows} == {"1t"}
    with pytest.raises(UnknownName, match="category"):
        found.tables(["3t"])
    with pytest.raises(UnknownName, match="nearest: good: greedy"):
        found.purity("good: greed")
    text = str(found)
    for title in ("purities", "differences between methods of bad", "differences between networks", "t, at least 2"):
        assert title in text
    assert found.summary().title
    check_shown(found)
    content = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert content["purities"][0]["purity"].keys() == {"value", "uncertainty"}
    assert content["comparisons"]["between networks"]["reference"] == "good: greedy"


def test_the_picture_has_a_panel_for_events_and_each_cluster(found: Any) -> None:
    pytest.importorskip("mplhep")
    figure = evaluation_figure(found)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["event", "t"]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["good: greedy", "good: best", "good: sum", "bad: greedy", "bad: best", "bad: sum", "chi-square"]


def dataset(path: Path, n_events: int = 30) -> str:
    """A data set for the network of `assigners`."""
    from assigners import EVENT
    from test_model_outputs import block

    description, random = parse_event_text(EVENT), np.random.default_rng(2)
    sample = block(n_events)
    order = np.argsort(np.where(sample.masks["Jets"], random.uniform(size=(n_events, 8)), 2), axis=1)
    enough = sample.masks["Jets"].sum(axis=1) >= 6
    targets = {"lt": order[:, :1], "ht": order[:, 1:4], "h": order[:, 4:6]}
    sample = AssignmentEvents(
        sample.values,
        sample.masks,
        {name: np.where(enough[:, None], slots, -1) for name, slots in targets.items()},
        regressions={name: np.zeros(n_events, np.float32) for name in description.regressions},
        classifications={name: random.integers(0, 2, n_events) for name in description.classifications},
    )
    with DatasetWriter(path, description, {"Jets": 8}) as writer:
        writer.append(sample)
    return str(path)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("command")
    return SimpleNamespace(net=str(assigner_folder(folder)), data=dataset(folder / "data.h5"))


def test_the_command_writes_numbers_tables_and_a_picture(
    files: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("mplhep")
    command = ["assignment", "evaluate", f"one={files.net}", f"two={files.net}", files.data, "--threads=1"]
    command += ["--chi-square", "ht=top", "--chi-square", "h=higgs", "--b-tag", "btag > 0.5", "--replicas=20"]
    assert main([*command, "--dry-run", "--output", str(tmp_path / "out.json")]) == 0
    said = capsys.readouterr().out
    assert "greedy, best, sum, greedy, detection" in said
    assert "ht/q1+q2=80.4,12" in said
    assert "ok, 30 events" in said
    assert not list(tmp_path.iterdir())
    outputs = ["--output", "out.json", "--latex", "out.tex", "--picture", "out.png"]
    outputs[1::2] = [str(tmp_path / name) for name in outputs[1::2]]
    assert main([*command, *outputs]) == 0
    said, warned = capsys.readouterr()
    assert "differences between networks" in said
    assert "1 of 30 events are not scored by one" in warned
    assert {path.name for path in tmp_path.iterdir()} == {"out.json", "out.tex", "out.png"}
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["networks"] == ["one", "two"]
    assert {
        row["difference"]
        for row in content["comparisons"]["between networks"]["purities"]
        if row["method"] == "two: greedy"
    } == {0.0}
    text = (tmp_path / "out.tex").read_text()
    assert text.count("\\begin{tabular}") == text.count("\\bottomrule") == 9
    assert "$\\pm$" in text
    assert json.loads(text.splitlines()[0].removeprefix("% provenance: "))["step"] == "evaluate"
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    assert main([*command, *outputs]) == 2
    assert "exists already; --force replaces it" in capsys.readouterr().err
    assert main([*command, *outputs, "--force", "--categories=all", "--lines=0"]) == 0
    assert "0lt0ht0h" in capsys.readouterr().out


def test_outputs_say_how_they_were_made(files: Any, tmp_path: Path) -> None:
    assert (
        main(["assignment", "evaluate", files.net, files.data, "--events=:10", "--output", str(tmp_path / "a.json")])
        == 0
    )
    record = Provenance.of_file(tmp_path / "a.json")
    assert record.step == "evaluate"
    assert record.files[0] == files.data
    assert record.configuration["events"] == [0, 10]
    assert record.configuration["networks"] == {"net": open_model(files.net).digest}
    expected = read_provenance(tmp_path / "a.json")
    assert (
        main(["assignment", "evaluate", files.net, files.data, "--events=:10", "--latex", str(tmp_path / "a.tex")]) == 0
    )
    first = (tmp_path / "a.tex").read_text().splitlines()[0]
    assert json.loads(first.removeprefix("% provenance: ")) == expected


def test_an_interrupted_command_leaves_nothing(files: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from jettagger.assignment import evaluating

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluating._Found, "result", stop)
    assert main(["assignment", "evaluate", files.net, files.data, "--output", str(tmp_path / "a.json")]) == 130
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------------------------------- bad input


def test_what_cannot_be_compared(made: Any) -> None:
    good = made.networks["good"]
    with pytest.raises(MismatchError, match="no networks"):
        plan_evaluation({}, made.path)
    with pytest.raises(ConfigError, match="cannot be called 'between networks'"):
        plan_evaluation({"between networks": good}, made.path)
    with pytest.raises(UnknownName, match="nearest: best"):
        plan_evaluation({"net": good}, made.path, methods=["bst"])
    with pytest.raises(ConfigError, match="expected different ones"):
        plan_evaluation({"net": good}, made.path, methods=["best", "best"])
    with pytest.raises(MismatchError, match=r"has 300 events: none from 300$"):
        plan_evaluation({"net": good}, made.path, start=300)
    with pytest.raises(MismatchError, match=r"has 300 events: none from 0 to 0$"):
        plan_evaluation({"net": good}, made.path, stop=0)
    other = Network(made.events, seed=3)
    other.event = replace(TOPS, permutations={})
    with pytest.raises(MismatchError, match="b and a cannot be compared"):
        plan_evaluation({"a": good, "b": other}, made.path)
    plan = plan_evaluation({"net": good}, made.path)
    for name in ("lines", "replicas", "seed"):
        with pytest.raises(ConfigError, match=name):
            evaluate_networks(plan, **{name: -1})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="size"):
        evaluate_networks(plan, size=0)


def test_terms_of_a_chi_square_that_do_not_exist() -> None:
    for text, expected in (
        ("t1", "expected PARTICLE=top"),
        ("t1/q1+q2=80", "expected PARTICLE=top"),
        ("t1/q1+q2=nan,3", "expected PARTICLE=top"),
        ("t1=higgs", "has 3 daughters, expected 2"),
    ):
        with pytest.raises(ConfigError, match=expected):
            parse_baseline(TOPS, [text])
    with pytest.raises(UnknownName, match="nearest: t"):
        parse_baseline(TOPS, ["t3=top"])
    with pytest.raises(UnknownName, match="nearest: btag"):
        parse_baseline(TOPS, ["t1=top"], "btga > 0.5")
    with pytest.raises(ConfigError, match="two may be exchanged"):
        parse_baseline(replace(TOPS, permutations={}), ["t1=top"])
    with pytest.raises(ConfigError, match="no terms"):
        parse_baseline(TOPS, [])
    baseline = parse_baseline(TOPS, ["t1=top"], "btag")
    with pytest.raises(InvalidValues, match="expected a comparison"):
        baseline.assign(events(3))


def test_arguments_of_the_command(files: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["assignment", "evaluate", files.net, files.data]
    for arguments, expected in (
        (["--events", "3"], "expected a range such as"),
        (["--picture", str(tmp_path / "a.txt")], "expected a file with the suffix"),
        (["--output", str(tmp_path / "absent/a.json")], "its folder does not exist"),
        (["--output", str(Path(files.net) / "model.onnx"), "--force"], "cannot be the output"),
        (["--methods", "greedy,"], "unknown method"),
        (["--categories", "5h", "--events", ":5", "--replicas=0"], "unknown category"),
    ):
        assert main([*command, *arguments]) == 2
        assert expected in capsys.readouterr().err
    assert main(["assignment", "evaluate", files.net, files.net, files.data]) == 2
    assert "two networks are called 'net'" in capsys.readouterr().err


def test_a_file_that_exists_is_kept(found: Any, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("mine")
    with pytest.raises(OutputError):
        write_evaluation(tmp_path / "a.json", found, provenance=Provenance("evaluate"))
    assert (tmp_path / "a.json").read_text() == "mine"
