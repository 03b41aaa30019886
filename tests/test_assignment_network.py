"""Assignment networks and weights of the original: its numbers, symmetries, and what does not fit."""

from __future__ import annotations

import re
import struct
import zipfile
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vector
from agreement import Agreement
from assignment_networks import EVENT, TOPS, converted, event, inputs, network, options, some_inputs, tensors, ttH

from jettagger.assignment.networks import build_network, parameter_count
from jettagger.assignment.weights import (
    convert_weights,
    load_weights,
    original_names,
    read_network,
    read_state,
    write_network,
)
from jettagger.errors import ConfigError, InputFileError, MismatchError, OutputError, UnknownName
from jettagger.topology.eventfile import EventDescription

torch = pytest.importorskip("torch")


def run(net: Any, values: Any, masks: Any) -> Any:
    with torch.no_grad():
        return net(values, masks)


# -------------------------------------------------------------------------------------------------------- the original


@pytest.mark.data
def test_weights_of_the_original_give_its_numbers(agrees: Agreement) -> None:
    reference = ttH()
    net, loaded = convert_weights(reference.weights, reference.event, reference.options)
    # it counts the normalisation, the balance and the permutations, too
    assert round(parameter_count(net) / 1000) == 439
    assert not loaded.unused
    assert not loaded.kept
    assert set(loaded.ignored) == {"particle_index_tensor", "particle_weights_tensor", "event_permutation_tensor"}
    assert net.class_counts == {"EVENT/signal": 2}
    numbers = reference.forward
    names = [item.name for item in reference.event.inputs]
    values, masks = (tensors({name: numbers[f"in_{name}_{part}"] for name in names}) for part in ("data", "mask"))
    outputs = run(net, values, masks)

    def same(made: Any, expected: Any, part: str) -> None:
        agrees("spanet/network", made.numpy(), expected, sample=64, atol=1e-4, part=part)

    for name, made in outputs.assignments.items():
        expected = numbers[f"{name}_assignment_log_probability"]
        same(made, expected, f"distribution of {name}")
        same(outputs.detections[name], numbers[f"{name}_detection_logit"], f"detection of {name}")
    for key, made in outputs.regressions.items():
        same(made, numbers[key.replace("/", "__")], key)
    same(outputs.classifications["EVENT/signal"], numbers["EVENT__signal_logits"], "EVENT/signal")


@pytest.mark.data
def test_decoded_assignments_are_those_of_the_original() -> None:
    pytest.importorskip("numba")
    from jettagger.assignment.decoding import decode

    numbers, net = ttH().forward, converted()
    names = [item.name for item in net.description.inputs]
    values, masks = (tensors({name: numbers[f"in_{name}_{part}"] for name in names}) for part in ("data", "mask"))
    made = decode({name: value.numpy() for name, value in run(net, values, masks).assignments.items()}, net.description)
    for particle in net.description.particles:
        expected = numbers[f"{particle.name}_decoded"]
        for orbit in net.description.daughter_group(particle.name).orbits:  # in any order there
            columns = list(orbit)
            found = np.sort(made.assignments[particle.name][:, columns], axis=1)
            np.testing.assert_array_equal(found, np.sort(expected[:, columns], axis=1))


@pytest.mark.data
def test_checkpoints_of_torch_are_read_without_their_code(tmp_path: Path) -> None:
    state = {name: torch.from_numpy(value) for name, value in read_state(ttH().weights).items()}
    path = tmp_path / "epoch=9.ckpt"
    torch.save({"epoch": 9, "state_dict": state, "hyper_parameters": {"a": 1}}, path)
    again = read_state(path)
    assert again.keys() == state.keys()
    net, _ = convert_weights(path, ttH().event, ttH().options)
    own = converted().state_dict()
    assert all(torch.equal(value, own[name]) for name, value in net.state_dict().items())
    torch.save({"state_dict": state, "options": Path("x")}, path)  # as Lightning stores objects
    with pytest.raises(InputFileError, match=r"is refused: its pickle holds objects .*pathlib.*state_dict alone"):
        read_state(path)


# ------------------------------------------------------------------------------------------------------ what they mean


ARCHITECTURES = [
    {"linear_block_type": "Basic", "normalization": "BatchNorm", "linear_activation": "PReLU"},
    {"linear_block_type": "Resnet", "normalization": "MaskedBatchNorm", "linear_activation": "ELU"},
    {"linear_block_type": "Gated", "masking": "Multiplicative", "linear_activation": "CELU"},
    {"linear_block_type": "GRU", "normalization": "None", "linear_activation": "ReLU", "masking": "None"},
    {"transformer_type": "Standard"},
    {"transformer_type": "NormFirst", "transformer_activation": "relu"},
    {"transformer_type": "None", "skip_connections": False, "initial_embedding_skip_connections": False},
    {"mask_sequence_vectors": False, "normalize_features": False, "num_regression_layers": 0},
    {"jettagger": {"pair_features": ["ln_delta_r", "ln_kt", "ln_z", "ln_mass"], "restrict_to_collections": True}},
    {"jettagger": {"mass_features": True, "restrict_to_collections": True}},
]


@pytest.mark.parametrize("changes", ARCHITECTURES, ids=lambda changes: "-".join(map(str, changes.values()))[:40])
def test_every_architecture_is_a_distribution_of_finite_numbers(changes: dict[str, Any]) -> None:
    description = event()
    net = network(description, **changes)
    values, masks = some_inputs(description, events=12, slots=6)  # the last have no objects
    for item in description.inputs:
        if item.kind == "global":
            masks[item.name][-1] = False
    for name in ("Jets", "Pairs"):
        values[name] = values[name].abs()
    outputs = run(net, values, masks)
    counts = sum(masks[item.name].sum(1) for item in description.sequential)
    for particle in description.particles:
        made = outputs.assignments[particle.name]
        assert not torch.isnan(made).any()
        own = masks["Jets"].sum(1) if changes.get("jettagger") and particle.name != "x" else counts
        possible = (counts >= len(particle.daughters)) & (own > 0)
        total = torch.exp(made.flatten(1)).sum(1)
        torch.testing.assert_close(total, possible.to(total.dtype))
        assert torch.isfinite(outputs.detections[particle.name]).all()
    others = [*outputs.regressions.values(), *outputs.classifications.values(), *outputs.vectors.values()]
    assert all(torch.isfinite(value).all() for value in others)
    # training, too; a batch of one event has no variance
    net.train()
    for rows in (slice(None), slice(0, 1)):
        made = net(
            {name: value[rows] for name, value in values.items()}, {n: value[rows] for n, value in masks.items()}
        )
        sum(value[torch.isfinite(value)].sum() for value in made.assignments.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


@pytest.mark.parametrize("changes", ARCHITECTURES, ids=lambda changes: "-".join(map(str, changes.values()))[:40])
def test_trainings_run_over_real_objects_alone_with_the_same_gradients(
    changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from jettagger.assignment.network_modules import AssignmentNetwork
    from jettagger.assignment.network_slots import RealSlots  # needs torch

    description = event()
    net = network(description, **changes).train()
    values, masks = some_inputs(description, events=12, slots=6)  # the last have no objects
    for name in ("Jets", "Pairs"):
        values[name] = values[name].abs()
    masks["Met"][[3, -1]] = False
    masks["Jets"][0, 2] = False  # in any slot
    state = {name: value.clone() for name, value in net.state_dict().items()}
    rows: list[int] = []
    attend = RealSlots.attend

    def counted(self: Any, projected: Any, *rest: Any) -> Any:
        rows.append(projected.shape[1])
        return attend(self, projected, *rest)

    monkeypatch.setattr(RealSlots, "attend", counted)
    made = []
    for every in (False, True):
        if every:
            monkeypatch.setattr(AssignmentNetwork, "_has_rows", lambda *_: False)
        net.load_state_dict(state)
        net.zero_grad()
        outputs = net(values, masks)
        parts = [*outputs.assignments.values(), *outputs.vectors.values()]
        real = torch.cat([part[torch.isfinite(part)] for part in parts])
        (real * torch.linspace(-1, 1, len(real))).sum().backward()
        gradients = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
        made.append((
            {str(place): part.detach() for place, part in enumerate(parts)},
            gradients,
            {name: buffer.clone() for name, buffer in net.named_buffers()},
        ))  # fmt: skip
    # where empty slots are counted by the normalisation, they are there
    if changes.get("normalization") != "BatchNorm" and changes.get("transformer_type") != "None":
        jets = sum(int(masks[item.name].sum()) for item in description.inputs)
        assert rows[0] == jets + len(masks["Met"])
    else:
        assert not rows
    for one, other in zip(*made, strict=True):
        assert one.keys() == other.keys()
        for name, value in one.items():
            scale = 1 + float(other[name][torch.isfinite(other[name])].abs().max())
            torch.testing.assert_close(value / scale, other[name] / scale, rtol=0, atol=5e-5, msg=str(name))


@pytest.mark.parametrize(("slots", "heads", "depth"), [(4, 1, 1), (16, 2, 8), (37, 3, 5)])
def test_attention_between_rows_is_that_between_slots(slots: int, heads: int, depth: int) -> None:
    from jettagger.assignment.network_slots import AllSlots, RealSlots  # needs torch

    generator = torch.Generator().manual_seed(slots)
    width = heads * depth
    present = torch.rand(9, slots, generator=generator) < torch.linspace(0, 1, 9)[:, None]
    token = torch.randn(3 * width, generator=generator)
    values = 3 * torch.randn(9, slots, 3 * width, generator=generator)
    made = []
    for places in (AllSlots(present[..., None], ~present), RealSlots(present)):
        every = values.clone().requires_grad_()
        x = every if isinstance(places, AllSlots) else every.reshape(-1, 3 * width)[None, places.places]
        behind, x = places.behind(token, x)
        x, first = behind.split(behind.attend(x, heads, 0.7, 0.0))
        x = places.padded(x).masked_fill(~present[..., None], 0.0)
        ((x * torch.linspace(-1, 1, slots)[:, None]).square().sum() + first.exp().sum()).backward()
        made.append((x, first, every.grad))
    for one, other in zip(*made, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    # a training that has diverged stays so
    lost = RealSlots(present).attend(torch.full((1, int(present.sum()), 3 * width), torch.nan), heads, 0.7, 0.0)
    assert torch.isnan(lost).all()


def test_the_gradient_of_the_gate_is_the_slope() -> None:
    from jettagger.assignment.network_gradients import TrainedGate  # needs torch
    from jettagger.assignment.network_layers import _RecurrentGate

    torch.manual_seed(0)
    gate = _RecurrentGate(3).double()
    weights = [gate.update.weight, gate.update.bias, gate.state.weight, gate.candidate.weight, gate.bias]
    value, residual = torch.randn(2, 2, 4, 3, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(TrainedGate.apply, (value, residual, *weights))
    with torch.no_grad():  # not written out
        expected = gate(value, residual)
    torch.testing.assert_close(TrainedGate.apply(value, residual, *weights), expected)
    for frozen in weights:
        frozen.requires_grad_(False)
    assert torch.autograd.gradcheck(TrainedGate.apply, (value, residual.detach(), *weights))


@pytest.mark.parametrize("changes", ARCHITECTURES[:7], ids=lambda changes: "-".join(map(str, changes.values()))[:40])
def test_weights_with_names_of_the_original_are_loaded_by_name(changes: dict[str, Any]) -> None:
    net = network(**changes)
    names = original_names(net)
    state = net.state_dict()
    assert names.keys() == state.keys()
    flat = [name for group in names.values() for name in group]
    assert len(set(flat)) == len(flat)
    theirs: dict[str, Any] = {}
    for name, group in names.items():
        parts = np.split(state[name].numpy(), len(group)) if len(group) > 1 else [state[name].numpy()]
        theirs |= dict(zip(group, parts, strict=True))
    other = network(seed=1, **changes)
    loaded = load_weights(other, theirs)
    assert len(loaded.loaded) == len(state)
    assert all(torch.equal(value, state[name]) for name, value in other.state_dict().items())


def test_empty_slots_do_not_matter_whatever_they_hold() -> None:
    description = event()
    net = network(description)
    values, masks = some_inputs(description)
    plain = run(net, values, masks)
    for item in description.inputs:
        real = masks[item.name]
        real = real[:, :, None] & real[:, None, :] if item.kind == "relative" else real
        values[item.name][~real] = np.nan
    again = run(net, values, masks)
    for one, other in zip(plain.assignments.values(), again.assignments.values(), strict=True):
        assert torch.equal(one, other)
    # and more of them leave the numbers as they are
    wide = {"Jets": 5, "Pairs": 5}
    counts = {"Jets": [5, 4, 3, 2, 1], "Met": [1] * 5, "Pairs": [3, 3, 2, 1, 0]}
    values, masks = inputs(description, counts, wide)
    plain = run(net, values, masks)
    values["Jets"] = torch.nn.functional.pad(values["Jets"], (0, 0, 0, 3))
    masks["Jets"] = torch.nn.functional.pad(masks["Jets"], (0, 3))
    more = run(net, values, masks).assignments["t1"]
    keep = [0, 1, 2, 3, 4, 8, 9, 10, 11, 12]
    torch.testing.assert_close(more[:, keep][:, :, keep][:, :, :, keep], plain.assignments["t1"], rtol=1e-5, atol=1e-5)


def test_permuted_objects_give_permuted_assignments() -> None:
    description = event(TOPS)
    net = network(description, jettagger={"pair_features": ["ln_mass", "ln_delta_r"]})
    torch.nn.init.normal_(net.pairs.second.weight)
    values, masks = some_inputs(description)
    values["Jets"] = values["Jets"].abs()
    order = torch.randperm(5, generator=torch.Generator().manual_seed(1))
    plain = run(net, values, masks)
    again = run(net, {"Jets": values["Jets"][:, order]}, {"Jets": masks["Jets"][:, order]})
    for name, made in plain.assignments.items():
        torch.testing.assert_close(again.assignments[name], made[:, order][:, :, order], rtol=1e-4, atol=1e-5)


def test_assignments_are_symmetric_under_the_group_of_each_particle() -> None:
    description = event()
    values, masks = some_inputs(description)
    made = run(network(description), values, masks).assignments
    for particle in description.particles:
        value = made[particle.name]
        group = set(description.daughter_group(particle.name).elements)
        for sigma in permutations(range(len(particle.daughters))):
            same = torch.allclose(value, value.permute(0, *(place + 1 for place in sigma)), atol=1e-5)
            assert same == (sigma in group)


def test_pairs_of_objects_bias_the_attention_only_if_wanted() -> None:
    description = event(TOPS)
    values, masks = some_inputs(description)
    values["Jets"] = values["Jets"].abs()
    plain = network(description)
    net = network(description, jettagger={"pair_features": ["ln_delta_r"]})
    load_weights(net, plain.state_dict(), partial=True)
    torch.nn.init.zeros_(net.pairs.second.weight)
    torch.nn.init.zeros_(net.pairs.second.bias)
    start = run(net, values, masks).assignments["t1"]
    torch.testing.assert_close(start, run(plain, values, masks).assignments["t1"])
    torch.nn.init.normal_(net.pairs.second.weight)
    assert not torch.allclose(run(net, values, masks).assignments["t1"], start)
    # a rotation and a boost along the beam leave pairs alone: the same distances, other angles
    with torch.no_grad():
        bias = net.pairs(*net.kinematics([values["Jets"]], [masks["Jets"]], ["Jets"]))
        turned = values["Jets"] + torch.tensor([0.0, 0.0, 0.4, 1.3])
        again = net.pairs(*net.kinematics([turned], [masks["Jets"]], ["Jets"]))
    torch.testing.assert_close(again, bias, rtol=1e-4, atol=1e-5)
    with pytest.raises(ConfigError, match="pair_features need a sequential input with pt, eta, and phi"):
        network(
            event("INPUTS: {SEQUENTIAL: {Jets: {x: none}}}\nEVENT: {t: [a, b]}"), jettagger={"pair_features": ["ln_kt"]}
        )


def test_masses_of_tuples_are_those_of_vector() -> None:
    random = np.random.default_rng(3)
    pt, mass = random.uniform(20, 300, (4, 5)), random.uniform(1, 30, (4, 5))
    eta, phi = random.uniform(-2.5, 2.5, (4, 5)), random.uniform(-3, 3, (4, 5))
    from jettagger.assignment.network_kinematics import log_mass  # needs torch

    objects = vector.array({"pt": pt, "eta": eta, "phi": phi, "mass": mass})
    values = np.stack([np.log(mass + 1), np.log(pt + 1), eta, phi], -1).astype(np.float32)
    net = network(event(TOPS), jettagger={"mass_features": True})
    momenta, known = net.kinematics([torch.from_numpy(values)], [torch.ones(4, 5, dtype=torch.bool)], ["Jets"])
    assert known.all()
    two, three = (np.exp(log_mass(momenta, number).numpy()) for number in (2, 3))
    for i, j, k in combinations(range(5), 3):
        pair = objects[:, i] + objects[:, j]
        np.testing.assert_allclose(two[:, i, j], pair.mass, rtol=1e-4)
        np.testing.assert_allclose(three[:, k, i, j], (pair + objects[:, k]).mass, rtol=1e-4)


def test_masses_enter_the_logits_only_if_wanted() -> None:
    description = event()
    values, masks = some_inputs(description)
    values["Jets"] = values["Jets"].abs()
    plain = network(description)
    net = network(description, jettagger={"mass_features": True})
    load_weights(net, plain.state_dict(), partial=True)
    for branch in net.particles:
        torch.nn.init.zeros_(branch.masses.last.weight)
        torch.nn.init.zeros_(branch.masses.last.bias)
    start, expected = (run(one, values, masks).assignments for one in (net, plain))
    for name in expected:
        torch.testing.assert_close(start[name], expected[name])
    branch = net.particles[0]
    torch.nn.init.normal_(branch.masses.last.weight)
    made = run(net, values, masks).assignments
    assert not torch.allclose(made["t1"], start["t1"])
    torch.testing.assert_close(made["t2"], start["t2"])
    # relative inputs have no momenta: their tuples have no term; a rotation and a boost along the beam change none
    names, both = ["Jets", "Pairs"], [masks["Jets"], masks["Pairs"]]
    turned = values["Jets"] + torch.tensor([0.0, 0.4, 1.3, 0.0])
    with torch.no_grad():
        terms, again = (
            branch.masses(*net.kinematics([jets, values["Pairs"]], both, names)) for jets in (values["Jets"], turned)
        )
    jets = values["Jets"].shape[1]
    assert not terms[:, jets:].any()
    assert not terms[:, :, :, jets:].any()
    assert terms[:, :jets, :jets, :jets].any()
    for i, j, k in permutations(range(jets), 3):
        torch.testing.assert_close(again[:, i, j, k], terms[:, i, j, k], rtol=1e-3, atol=1e-3)
    with pytest.raises(ConfigError, match="mass_features need a sequential input with pt, eta, and phi"):
        network(event("INPUTS: {SEQUENTIAL: {Jets: {x: none}}}\nEVENT: {t: [a, b]}"), jettagger={"mass_features": True})


@pytest.mark.parametrize("description", [event(TOPS), event()], ids=["pairs", "triples"])
def test_masses_of_a_training_leave_out_tuples_that_are_no_assignments(description: EventDescription) -> None:
    values, masks = some_inputs(description)
    net = network(description, jettagger={"mass_features": True})
    masses = net.particles[0].masses
    torch.nn.init.normal_(masses.last.weight)
    names = [item.name for item in net.order]
    found = net.kinematics([values[name].abs() for name in names], [masks[name] for name in names], names)
    made, gradients = [], []
    for training in (True, False):
        masses.train(training).zero_grad()
        made.append(masses(*found))
        slots, axes = made[-1].shape[1], made[-1].ndim - 1
        different = torch.ones_like(made[-1][0], dtype=torch.bool)
        for i, j in combinations(range(axes), 2):
            shape = [slots if place in (i, j) else 1 for place in range(axes)]
            different = different & ~torch.eye(slots, dtype=torch.bool).reshape(shape)
        (made[-1] * different).sin().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in masses.parameters()])
    assert made[0].any()
    assert not (made[0] * ~different).any()
    torch.testing.assert_close(made[0], made[1] * different)
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


TWO = """
INPUTS:
  SEQUENTIAL:
    Jets: {pt: log}
    Leptons: {pt: log}
EVENT:
  t: [{b: Jets}, {l: LEPTON}]
  w: [{q: Jets}, r]
"""


def test_daughters_are_restricted_to_their_input_if_wanted() -> None:
    description = event(TWO.replace("LEPTON", "Leptons"))
    counts = {"Jets": [3, 2, 0], "Leptons": [2, 0, 2]}
    values, masks = inputs(description, counts, {"Jets": 3, "Leptons": 2})
    free = run(network(description), values, masks).assignments["t"]
    assert (torch.isfinite(free).sum((1, 2)) == torch.tensor([5 * 4, 2, 2])).all()
    made = run(network(description, jettagger={"restrict_to_collections": True}), values, masks).assignments
    finite = torch.isfinite(made["t"])
    assert finite[0, :3, 3:].all()
    assert finite.sum((1, 2)).tolist() == [6, 0, 0]
    assert torch.isfinite(made["w"]).sum((1, 2)).tolist() == [3 * 4, 2, 0]
    different = event(TWO.replace("LEPTON", "Leptons") + "PERMUTATIONS: {t: [[b, l]]}\n")
    assert network(different) is not None
    with pytest.raises(ConfigError, match=r"t/b is an object of Jets and its partner t/l of Leptons.*equal inputs"):
        network(different, jettagger={"restrict_to_collections": True})
    different = event(TWO.replace("LEPTON", "Leptons") + "PERMUTATIONS: {EVENT: [[t, w]]}\n")
    with pytest.raises(ConfigError, match=r"t/l is an object of Leptons and its partner w/r of no input"):
        network(different, jettagger={"restrict_to_collections": True})


# -------------------------------------------------------------------------------------------------------- what is wrong


def test_numbers_of_classes_have_to_be_known() -> None:
    with pytest.raises(ConfigError, match="number of classes of EVENT/signal is not known"):
        build_network(event(), options())
    with pytest.raises(UnknownName, match="EVENT/signl"):
        build_network(event(), options(), {"EVENT/signl": 2})


def test_inputs_of_another_shape_are_refused() -> None:
    description = event()
    values, masks = some_inputs(description)
    values["Jets"] = values["Jets"][..., :3]
    with pytest.raises(
        MismatchError, match=r"input Jets: values are \(5, 5, 3\) .*expected values \(events, slots, 4\)"
    ):
        run(network(description), values, masks)


def test_weights_that_do_not_fit_are_named_with_their_shapes() -> None:
    net = network()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = {name: value.numpy() for name, value in network(seed=1).state_dict().items()}
    with pytest.raises(MismatchError, match="fits nowhere in the network of the event file and the options; missing"):
        load_weights(net, {"a": np.zeros(3)}, partial=True)
    wrong = {**state, "encoder.token": np.zeros(3, np.float32), "left": np.zeros((2, 2), np.float32)}
    del wrong["fusion.residual.weight"]
    with pytest.raises(MismatchError) as caught:
        load_weights(net, wrong, where="weights.npz")
    assert "weights.npz does not fit" in str(caught.value)
    for text in ("encoder.token is (3,), expected (8,)", "missing: fusion.residual.weight", "left over: left (2, 2)"):
        assert text in str(caught.value)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    loaded = load_weights(net, wrong, partial=True)
    assert set(loaded.kept) == {"encoder.token", "fusion.residual.weight"}
    assert set(loaded.unused) == {"encoder.token", "left"}
    assert "2 weights of the network are not in the file: " in loaded.summary()


def test_damaged_files_of_weights_are_refused(tmp_path: Path) -> None:
    for name in ("weights.npz", "weights.ckpt"):
        path = tmp_path / name
        path.write_bytes(b"PK\x03\x04 nothing")
        with pytest.raises(InputFileError, match="cannot be read"):
            read_state(path)
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(InputFileError, match="has no state dictionary: it holds list"):
        read_state(tmp_path / "list.pt")
    np.savez(tmp_path / "nan.npz", a=np.array([np.nan]))
    with pytest.raises(InputFileError, match="not finite numbers: a"):
        read_state(tmp_path / "nan.npz")


def test_networks_are_written_with_all_that_they_need(tmp_path: Path) -> None:
    own = {"pair_features": ["ln_kt"], "class_weights": {"EVENT/signal": [1.0, 2.0, 3.0]}}
    net = network(jettagger=own)
    path = write_network(tmp_path / "net.pt", net)
    again = read_network(path)
    assert (again.description, again.options, again.class_counts) == (net.description, net.options, net.class_counts)
    assert not again.training
    values, masks = some_inputs(net.description)
    made, expected = (run(one, values, masks).assignments["x"] for one in (again, net))
    assert torch.equal(made, expected)
    with pytest.raises(OutputError):
        write_network(path, net)
    # a byte of each member: between them are gaps, which hold nothing
    with zipfile.ZipFile(path) as archive:
        members = [(item.header_offset, item.filename, item.file_size) for item in archive.infolist() if item.file_size]
    for offset, name, size in members:
        content = bytearray(path.read_bytes())
        begin = offset + 30 + sum(struct.unpack_from("<HH", content, offset + 26))  # behind name and extra field
        content[begin + size // 2] ^= 255
        (tmp_path / "damaged.pt").write_bytes(bytes(content))
        with pytest.raises(InputFileError, match=f"is damaged, or no network: {re.escape(name)} in it is damaged"):
            read_network(tmp_path / "damaged.pt")
    saved = torch.load(path, weights_only=True)
    for changes, text in (
        ({"version": 2}, "is of version 2, this version of jettagger reads 1"),
        ({"format": "other"}, "its format is 'other'"),
        ({"event": "EVENT: {"}, "is damaged: event file in"),
        ({"classes": {"EVENT/signal": 2}}, "is damaged: "),
    ):
        torch.save({**saved, **changes}, tmp_path / "changed.pt")
        with pytest.raises(InputFileError, match=text):
            read_network(tmp_path / "changed.pt")


def test_the_event_of_these_tests_has_every_kind_of_input() -> None:
    assert {item.kind for item in event(EVENT).inputs} == {"sequential", "global", "relative"}
