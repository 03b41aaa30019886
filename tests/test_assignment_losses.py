"""Losses and statistics of assignment trainings: numbers of the original, symmetries, events without targets."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from agreement import Agreement
from assignment_networks import (
    TOPS,
    converted,
    event,
    network,
    some_inputs,
    tensors,
    ttH,
    ttH_blocks,
    ttH_events,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shown import check_shown

from jettagger.assignment.blocks import AssignmentEvents
from jettagger.assignment.losses import (
    AssignmentLoss,
    AssignmentTargets,
    assignment_cross_entropy,
    jensen_shannon_divergence,
    regression_loss,
)
from jettagger.assignment.networks import AssignmentOutputs
from jettagger.assignment.statistics import (
    class_balance,
    log_inputs,
    object_balance,
    particle_balance,
    training_statistics,
)
from jettagger.errors import ConfigError, InvalidValues, MismatchError

torch = pytest.importorskip("torch")

# -------------------------------------------------------------------------------------------------------- the original


@pytest.fixture(scope="module")
def statistics() -> Any:
    pytest.importorskip("h5py")
    return training_statistics(ttH_blocks(), ttH().event)


@pytest.mark.data
def test_statistics_are_those_of_the_original(statistics: Any, agrees: Agreement) -> None:
    reference = ttH().normalisation
    for name, found in statistics.inputs.items():
        for part in ("mean", "std"):
            wanted = reference[name][part]
            made = getattr(found, part)
            agrees("spanet/normalisation", made, wanted, sample=950, rtol=1e-6, atol=1e-7, part=f"{part} of {name}")
    for key, found in statistics.regressions.items():
        np.testing.assert_allclose(found.mean, reference["regressions"][key]["mean"], rtol=1e-6, atol=1e-7)
        # the original subtracts squares in single precision
        np.testing.assert_allclose(found.std, reference["regressions"][key]["std"], rtol=1e-4)
    assert statistics.class_counts == {"EVENT/signal": 2}
    assert statistics.n_events == 950
    whole = training_statistics(ttH_blocks(950), ttH().event)
    np.testing.assert_allclose(whole.inputs["Momenta"].std, statistics.inputs["Momenta"].std, rtol=1e-6)


@pytest.mark.data
def test_balanced_weights_are_those_of_the_original(statistics: Any) -> None:
    step = ttH().step
    np.testing.assert_allclose(
        particle_balance(statistics, ttH().event), step["particle_balance"]["weights"], rtol=1e-5
    )
    # the original counts the missing momentum as an object
    np.testing.assert_allclose(object_balance(statistics), step["vector_balance"][1:], rtol=2e-5)
    np.testing.assert_allclose(
        class_balance(statistics.classes["EVENT/signal"]), step["classification_balance"]["EVENT/signal"], rtol=1e-5
    )


STEPS: dict[str, dict[str, Any]] = {
    "combine_min_nobalance": {"balance_particles": False},
    "combine_softmin_nobalance": {"balance_particles": False, "combine_pair_loss": "softmin"},
    "combine_mean_nobalance": {"balance_particles": False, "combine_pair_loss": "mean"},
    "min_balance": {},
    "min_nobalance_focal1": {"balance_particles": False, "focal_gamma": 1.0},
    "min_nobalance_det1": {"balance_particles": False},
    "min_nobalance_kl1": {"balance_particles": False, "kl_loss_scale": 1.0},
}


@pytest.mark.data
@pytest.mark.parametrize("name", STEPS)
def test_every_term_of_a_step_is_that_of_the_original(name: str, statistics: Any, agrees: Agreement) -> None:
    batch, description = ttH_events(0, 48), ttH().event
    net = converted(**STEPS[name])
    with torch.no_grad():
        outputs = net(tensors(log_inputs(batch.values, batch.masks, description)), tensors(batch.masks))
    targets = AssignmentTargets(
        tensors(batch.targets),
        tensors(batch.target_masks),
        regressions=tensors(batch.regressions),
        classifications=tensors(batch.classifications),
    )
    made = AssignmentLoss(net, statistics)(outputs, targets)
    expected = dict(ttH().step[name])
    assert made.total.item() == pytest.approx(expected.pop("returned_loss"), rel=1e-5)
    assert sum(made.terms.values()).item() == pytest.approx(expected.pop("loss/total_loss"), rel=1e-5)
    terms = {key.removeprefix("loss/").replace("_loss", ""): value for key, value in expected.items()}
    assert set(made.terms) == set(terms)
    own = [made.terms[key].item() for key in terms]
    agrees("spanet/losses", own, list(terms.values()), sample=48, rtol=1e-5, part=name)


@pytest.mark.data
def test_losses_are_those_of_the_original() -> None:
    with np.load(ttH().losses) as archive:
        z = {name: torch.from_numpy(archive[name]) for name in archive.files}
    for gamma in (0.0, 1.0, 2.0):
        made = assignment_cross_entropy(z["logp"], z["target"], z["mask"], z["weight"], gamma)
        torch.testing.assert_close(made, z[f"ce_gamma{gamma}"])
    torch.testing.assert_close(jensen_shannon_divergence(z["logp"], z["logq"]), z["jsd"])
    valid = ~torch.isnan(z["reg_target"])
    for kind in ("gaussian", "laplacian", "log_gaussian"):
        made = regression_loss(kind, z["reg_pred"], z["reg_target"], z[f"reg_{kind}_std"])
        torch.testing.assert_close(made[valid].mean(), z[f"reg_{kind}_loss"])
        block = SimpleNamespace(
            values={"Jets": np.ones((50, 1, 1), np.float32)},
            masks={"Jets": np.ones((50, 1), bool)},
            target_masks={"t": np.ones(50, bool)},
            regressions={"EVENT/y": z["reg_target"].numpy()},
            classifications={},
        )
        text = (
            f"INPUTS: {{SEQUENTIAL: {{Jets: {{x: none}}}}}}\nEVENT: {{t: [a]}}\nREGRESSIONS: {{EVENT: [[y, {kind}]]}}"
        )
        found = training_statistics(lambda one=block: [one], event(text)).regressions["EVENT/y"]
        np.testing.assert_allclose(found.mean, z[f"reg_{kind}_mean"], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found.std, z[f"reg_{kind}_std"], rtol=1e-5)


# --------------------------------------------------------------------------------------------------------- properties


def tops(events: int, slots: int, seed: int) -> tuple[Any, Any, Any]:
    """A batch of two symmetric tops with the network's inputs and some particles missing."""
    random = np.random.default_rng(seed)
    values, masks = some_inputs(event(TOPS), events=events, slots=slots, seed=seed)
    targets = np.stack([random.permutation(slots)[:4] for _ in range(events)]).reshape(events, 2, 2)
    counts = masks["Jets"].sum(1).numpy()[:, None]
    present = (targets < counts[:, :, None]).all(2) & (random.random((events, 2)) < 0.8)
    targets = np.where(present[..., None], targets, -1)
    names = ("t1", "t2")
    made = AssignmentTargets(
        {name: torch.from_numpy(targets[:, place].copy()) for place, name in enumerate(names)},
        {name: torch.from_numpy(present[:, place].copy()) for place, name in enumerate(names)},
        {name: torch.from_numpy(random.uniform(0.5, 2, events).astype(np.float32)) for name in names},
    )
    return values, masks, made


def loss_of(net: Any, values: Any, masks: Any, targets: Any) -> Any:
    return AssignmentLoss(net)(net(values, masks), targets)


LOSSES = [
    {"combine_pair_loss": "min"},
    {"combine_pair_loss": "softmin", "focal_gamma": 0.5},
    {"combine_pair_loss": "mean", "kl_loss_scale": 1.0, "focal_gamma": 2.0},
]


@pytest.mark.parametrize("changes", LOSSES, ids=lambda changes: changes["combine_pair_loss"])
@given(seed=st.integers(0, 1000))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_gradients_are_finite_and_symmetries_do_not_matter(changes: dict[str, Any], seed: int) -> None:
    net = network(event(TOPS), **changes)
    values, masks, targets = tops(4, 5, seed)
    plain = loss_of(net, values, masks, targets)
    plain.total.backward()
    assert math.isfinite(plain.total.item())
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)

    order = torch.randperm(5, generator=torch.Generator().manual_seed(seed))
    inverse = torch.argsort(order)
    moved = {
        name: torch.where(value < 0, value, inverse[value.clamp(min=0)]) for name, value in targets.targets.items()
    }
    swapped = {"t1": moved["t2"].flip(1), "t2": moved["t1"]}
    flipped = targets._replace(
        targets=swapped,
        masks={"t1": targets.masks["t2"], "t2": targets.masks["t1"]},
        weights={"t1": targets.weights["t2"], "t2": targets.weights["t1"]},
    )
    again = loss_of(net, {"Jets": values["Jets"][:, order]}, {"Jets": masks["Jets"][:, order]}, flipped)
    assert again.total.item() == pytest.approx(plain.total.item(), rel=2e-4)


def test_events_without_targets_add_nothing_to_the_assignment() -> None:
    net = network(event(TOPS), detection_loss_scale=0.0)
    values, masks, targets = tops(4, 5, 3)
    none = targets._replace(
        targets={name: torch.full_like(value, -1) for name, value in targets.targets.items()},
        masks={name: torch.zeros_like(value) for name, value in targets.masks.items()},
    )
    made = loss_of(net, values, masks, none)
    assert made.total.item() == 0
    made.total.backward()
    assert all(not p.grad.any() for p in net.parameters() if p.grad is not None)


def outputs_and_targets(net: Any) -> tuple[Any, AssignmentTargets]:
    description = net.description
    values, masks = some_inputs(description, events=4)
    outputs = net(values, masks)
    targets = {
        particle.name: torch.arange(len(particle.daughters)).expand(4, -1).clone() for particle in description.particles
    }
    there = {name: torch.tensor([True, False, False, False]) for name in targets}
    regressions = {key: torch.tensor([1.0, 2.0, math.nan, -1.0]) for key in description.regressions}
    classes = {"EVENT/signal": torch.tensor([0, 2, -1, 1])}
    return outputs, AssignmentTargets(targets, there, regressions=regressions, classifications=classes)


def test_masked_targets_are_left_out_and_what_is_all_masked_is_zero() -> None:
    net = network()
    loss = AssignmentLoss(net)
    check_shown(loss)
    outputs, targets = outputs_and_targets(net)
    plain = loss(outputs, targets)
    logits = outputs.classifications["EVENT/signal"]
    expected = torch.nn.functional.cross_entropy(logits, targets.classifications["EVENT/signal"], ignore_index=-1)
    torch.testing.assert_close(plain.terms["classification/EVENT/signal"], expected)
    kept = [0, 1, 3]
    difference = outputs.regressions["t1/b/energy"][kept] - torch.tensor([1.0, 2.0, -1.0])
    torch.testing.assert_close(plain.terms["regression/t1/b/energy"], difference.abs().mean())
    masked = targets._replace(
        regressions={key: torch.full_like(value, math.nan) for key, value in targets.regressions.items()},
        classifications={"EVENT/signal": torch.full((4,), -1)},
    )
    made = loss(outputs, masked)
    zeros = [value.item() for key, value in made.terms.items() if key.startswith(("regression", "classification"))]
    assert zeros == [0.0] * 5
    made.total.backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


def test_options_of_ours_change_the_loss_as_they_say() -> None:
    net = network()
    outputs, targets = outputs_and_targets(net)
    targets = targets._replace(event_weights=torch.tensor([1.0, 0.0, 2.0, 3.0]))

    def changed(**own: Any) -> Any:
        net.options = net.options.model_copy(update={"jettagger": type(net.options.jettagger)(**own)})
        return AssignmentLoss(net)(outputs, targets)

    plain = changed()
    assert changed(total_loss="sum").total.item() == pytest.approx(
        sum(v.item() for v in plain.terms.values()), rel=1e-5
    )
    log_p = torch.log_softmax(outputs.classifications["EVENT/signal"], 1)
    losses = -log_p[[0, 1, 3], [0, 2, 1]]

    def mean(values: Any, weights: Any) -> float:
        weights = torch.tensor(weights)
        return (values * weights).sum().item() / weights.sum().item()

    term = "classification/EVENT/signal"
    assert changed(class_weights={"EVENT/signal": (1.0, 2.0, 4.0)}).terms[term].item() == pytest.approx(
        mean(losses, [1.0, 4.0, 2.0]), rel=1e-5
    )
    assert changed(classification_focal_gamma=2.0).terms[term].item() == pytest.approx(
        mean(losses * (1 - torch.exp(-losses)) ** 2, [1.0, 1.0, 1.0]), rel=1e-5
    )
    weighted = changed(event_weights=True)
    assert weighted.terms[term].item() == pytest.approx(mean(losses, [1.0, 0.0, 3.0]), rel=1e-5)
    # one event with all particles, whose weight is 1: the term of its assignments is as before
    assert weighted.terms["x/assignment"].item() == pytest.approx(plain.terms["x/assignment"].item(), rel=1e-5)
    # the size of the weights does not matter, and negative ones leave the loss finite
    ones = changed(event_weights=True)
    targets = targets._replace(event_weights=1e-4 * targets.event_weights)
    for name, value in changed(event_weights=True).terms.items():
        assert value.item() == pytest.approx(ones.terms[name].item(), rel=1e-4), name
    targets = targets._replace(event_weights=torch.tensor([1.0, -1.0, 0.5, -0.5]))
    opposite = changed(event_weights=True)
    assert opposite.terms[term].item() == pytest.approx((losses * torch.tensor([1.0, -1, -0.5])).sum().item() / 2.5)
    assert all(torch.isfinite(value) for value in opposite.terms.values())
    with pytest.raises(ConfigError, match="EVENT/signal is a classification of 3 classes, got 2 weights"):
        changed(class_weights={"EVENT/signal": (1.0, 2.0)})
    targets = targets._replace(event_weights=None)
    with pytest.raises(ConfigError, match="event_weights needs weights of events"):
        changed(event_weights=True)


def test_symmetric_particles_are_pushed_apart_with_the_factor_of_the_original() -> None:
    net = network(event(TOPS), kl_loss_scale=1.0, detection_loss_scale=0.0)
    values, masks, targets = tops(6, 5, 1)
    outputs = net(values, masks)
    made = AssignmentLoss(net)(outputs, targets).terms["symmetric"]
    p, q = (torch.exp(outputs.assignments[name]).flatten(1).double() for name in ("t1", "t2"))
    mixture = (p + q) / 2
    divergence = sum(torch.special.xlogy(x, x / mixture).nan_to_num().sum(1) for x in (p, q)) / 2
    both = targets.masks["t1"] & targets.masks["t2"]
    count = targets.masks["t1"].sum() + targets.masks["t2"].sum()
    expected = 2 * 2 * (torch.exp(-divergence.square()) * both).sum() / count
    assert made.item() == pytest.approx(expected.item(), rel=1e-5)
    assert both.any()
    assert "symmetric" not in AssignmentLoss(network(kl_loss_scale=0.0))(*outputs_and_targets(network())).terms


# -------------------------------------------------------------------------------------------------------- what is wrong


def test_targets_that_cannot_be_and_divergence_are_named() -> None:
    net = network(event(TOPS))
    values, masks, targets = tops(4, 5, 0)
    outputs = net(values, masks)
    bad = targets.targets["t1"].clone()
    bad[2] = torch.tensor([1, 1])
    there = torch.ones(4, dtype=torch.bool)
    twice = targets._replace(
        targets={"t1": bad, "t2": bad}, masks={"t1": there & (bad[:, 0] >= 0), "t2": there & (bad[:, 0] >= 0)}
    )
    with pytest.raises(InvalidValues, match=r"loss of t1 is infinite: .*a slot twice.* in the events (\d, )*2"):
        AssignmentLoss(net)(outputs, twice)
    broken = AssignmentOutputs({name: value * math.nan for name, value in outputs.assignments.items()}, *outputs[1:])
    with pytest.raises(InvalidValues, match="is NaN: the training has diverged"):
        AssignmentLoss(net)(broken, targets)
    with pytest.raises(ConfigError, match="balance_jets needs the statistics"):
        AssignmentLoss(network(event(TOPS), balance_jets=True))


def block(**changes: Any) -> Any:
    content = {
        "values": {"Jets": np.arange(12, dtype=np.float32).reshape(3, 2, 2)},
        "masks": {"Jets": np.array([[True, True], [True, False], [False, False]])},
        "target_masks": {"t1": np.array([True, False, False]), "t2": np.array([True, True, False])},
        "regressions": {},
        "classifications": {"EVENT/signal": np.array([0, 1, -1])},
    }
    return SimpleNamespace(**{**content, **changes})


ONE = """
INPUTS: {SEQUENTIAL: {Jets: {pt: log_normalize, btag: none}}}
EVENT: {t1: [a], t2: [a]}
PERMUTATIONS: {EVENT: [[t1, t2]]}
CLASSIFICATIONS: {EVENT: [signal]}
"""


def test_statistics_count_classes_objects_and_sets_of_particles() -> None:
    found = training_statistics(lambda: [block(), block()], event(ONE))
    logs = np.log1p([0.0, 2.0, 4.0] * 2)
    np.testing.assert_allclose(found.inputs["Jets"].mean, [logs.mean(), 0], rtol=1e-6)
    np.testing.assert_allclose(found.inputs["Jets"].std, [logs.std(ddof=1), 1], rtol=1e-6)
    assert found.subsets.tolist() == [2, 0, 2, 2]
    assert found.objects.tolist() == [2, 2, 2]
    assert found.classes["EVENT/signal"].tolist() == [2, 2]
    weights = particle_balance(found, event(ONE))
    assert weights[1] == weights[2]
    assert (weights[0] + weights[1] + weights[3]) / 3 == pytest.approx(1)
    plain = training_statistics(lambda: [block()], event(ONE), normalize=False).inputs["Jets"]
    assert (plain.mean.tolist(), plain.std.tolist()) == ([0, 0], [1, 1])


@pytest.mark.parametrize("value", [np.nan, 3.0], ids=["masked", "constant"])
def test_regressions_without_a_spread_have_a_finite_loss(value: float) -> None:
    description = event(ONE + "REGRESSIONS: {EVENT: [a, [b, laplacian], [c, log_gaussian]]}\n")
    targets = {f"EVENT/{name}": np.full(3, value, dtype=np.float32) for name in "abc"}
    found = training_statistics(lambda: [block(regressions=targets)], description)
    for key, kind in description.regressions.items():
        assert found.regressions[key].std == 1
        target = torch.from_numpy(targets[key])
        loss = regression_loss(kind, torch.ones(3), target, torch.tensor(float(found.regressions[key].std)))
        assert loss.tolist() == ([0, 0, 0] if math.isnan(value) else [2 if kind == "laplacian" else 4] * 3)


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
@settings(max_examples=50, deadline=None)
def test_medians_are_exact_in_blocks(numbers: list[float]) -> None:
    from jettagger.assignment.statistics import _Median

    values = np.array(numbers, dtype=np.float32)
    median = _Median()
    for part in np.array_split(values, 3):
        median.add_upper(part)
    median.choose()
    for part in np.array_split(values, 3):
        median.add_lower(part)
    assert median.value() == np.sort(values)[(len(values) - 1) // 2]


@pytest.mark.parametrize(
    ("blocks", "text"),
    [
        ([], "the training set has no events"),
        ([block(masks={"Jets": np.zeros((3, 2), bool)})], "no event of the training set has an object in Jets"),
        ([block(classifications={"EVENT/signal": np.array([0, 2, 2])})], "has no events of the classes 1"),
        ([block(classifications={"EVENT/signal": np.array([-1, -1, -1])})], "EVENT/signal is masked in all events"),
        (
            [block(values={"Jets": -np.ones((3, 2, 2), np.float32)})],
            r"event 0: Jets/pt is -1, which has no ln\(x \+ 1\)",
        ),
    ],
    ids=["empty", "objects", "class", "masked", "logarithm"],
)
def test_what_is_missing_in_a_training_set_is_named(blocks: Any, text: str) -> None:
    with pytest.raises(InvalidValues, match=text):
        training_statistics(lambda: blocks, event(ONE))


def test_normalisation_is_stored_in_the_weights_of_the_network() -> None:
    from assignment_networks import options

    from jettagger.assignment.networks import build_network

    found = training_statistics(lambda: [block()], event(ONE))
    net = build_network(event(ONE), options(), statistics=found)
    assert net.class_counts == {"EVENT/signal": 2}
    state = net.state_dict()
    np.testing.assert_array_equal(state["inputs.0.mean"], found.inputs["Jets"].mean)
    np.testing.assert_array_equal(state["inputs.0.std"], found.inputs["Jets"].std)


RELATIVE = """
INPUTS: {RELATIVE: {Jets: {distance: normalize, pt: log_normalize, btag: none}}}
EVENT: {t: [a]}
"""


def test_features_of_objects_and_of_pairs_are_normalised_apart() -> None:
    random = np.random.default_rng(0)
    objects, pairs = random.uniform(0, 2, (4, 3, 2)), random.uniform(0, 2, (4, 3, 3, 1))
    mask = np.arange(3) < np.array([3, 2, 1, 0])[:, None]
    one = AssignmentEvents(
        values={"Jets": objects.astype(np.float32)},
        masks={"Jets": mask},
        targets={"t": np.full((4, 1), -1)},
        pair_values={"Jets": pairs.astype(np.float32)},
    )
    names = {"Jets": ("distance",)}
    found = training_statistics(lambda: [one], event(RELATIVE), pair_features=names).inputs["Jets"]
    both = mask[:, :, None] & mask[:, None, :]
    logs = np.log1p(objects[..., 0])
    np.testing.assert_allclose(found.mean, [pairs[both].mean(), logs[mask].mean(), 0], rtol=1e-5)
    np.testing.assert_allclose(found.std, [pairs[both].std(ddof=1), logs[mask].std(ddof=1), 1], rtol=1e-5)
    values = log_inputs(one.values, one.masks, event(RELATIVE), pair_values=one.pair_values, pair_features=names)[
        "Jets"
    ]
    assert values.shape == (4, 3, 3, 3)
    np.testing.assert_allclose(values[0, 1, 2], [pairs[0, 1, 2, 0], logs[0, 2], objects[0, 2, 1]], rtol=1e-6)
    with pytest.raises(MismatchError, match="relative input Jets: 2 features of objects and no fitting"):
        log_inputs(one.values, one.masks, event(RELATIVE))
