"""Rotations and reflections of events: what they change, and what they leave alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from assignment_networks import TAGGED, chosen, event, tagged

from jettagger.assignment.augmentation import Augmentation
from jettagger.assignment.datasets import AssignmentDataset, DatasetWriter
from jettagger.assignment.losses import AssignmentTargets
from jettagger.assignment.training import prepare_training, train_assignment, train_prepared
from jettagger.assignment.training_options import OwnOptions
from jettagger.errors import ConfigError
from jettagger.topology.eventfile import parse_event_text

torch = pytest.importorskip("torch")
pytest.importorskip("h5py")
pytest.importorskip("numba")

EVENT = """
INPUTS:
  SEQUENTIAL:
    Jets: {pt: log_normalize, eta: normalize, phi: normalize, mass: none}
  GLOBAL:
    Lepton: {pt: log_normalize, eta: normalize, sin_phi: none, cos_phi: none}
    Met: {met: log_normalize, sinphi: none, cosphi: none, charge: none}
EVENT:
  h: [a, b]
REGRESSIONS:
  EVENT: [neutrino_px, neutrino_py, neutrino_pz, mass, h_eta, h_phi]
"""


def events(count: int = 200, seed: int = 1) -> tuple[dict[str, object], AssignmentTargets]:
    random = np.random.default_rng(seed)
    angle = random.uniform(-np.pi, np.pi, (count, 5))

    def tensor(*columns: object) -> object:
        return torch.from_numpy(np.stack(columns, -1).astype(np.float32))

    one = random.uniform(-np.pi, np.pi, (count, 1))
    values = {
        "Jets": tensor(random.exponential(1, (count, 5)), random.normal(0, 1, (count, 5)), angle, np.ones((count, 5))),
        "Lepton": tensor(np.ones((count, 1)), random.normal(0, 1, (count, 1)), np.sin(one), np.cos(one)),
        "Met": tensor(np.ones((count, 1)), np.sin(one + 1), np.cos(one + 1), np.full((count, 1), 7.0)),
    }
    numbers = {
        "EVENT/neutrino_px": 5 * np.cos(one[:, 0] + 0.3),
        "EVENT/neutrino_py": 5 * np.sin(one[:, 0] + 0.3),
        "EVENT/neutrino_pz": random.normal(0, 1, count),
        "EVENT/mass": np.arange(count),
        "EVENT/h_eta": values["Lepton"][:, 0, 1].numpy(),
        "EVENT/h_phi": angle[:, 0],
    }
    regressions = {key: torch.from_numpy(value.astype(np.float32)) for key, value in numbers.items()}
    regressions["EVENT/neutrino_pz"][3] = torch.nan
    return values, AssignmentTargets({}, {}, regressions=regressions, objects=torch.full((count,), 5))


def azimuths(values: dict[str, object], targets: AssignmentTargets) -> np.ndarray:
    """All azimuths of each event, radians, float64[events, 9]."""
    jets, lepton, met = values["Jets"].numpy(), values["Lepton"].numpy()[:, 0], values["Met"].numpy()[:, 0]
    other = [
        np.arctan2(lepton[:, 2], lepton[:, 3]),
        np.arctan2(met[:, 1], met[:, 2]),
        np.arctan2(*(targets.regressions[f"EVENT/neutrino_p{axis}"].numpy() for axis in "yx")),
        targets.regressions["EVENT/h_phi"].numpy(),
    ]
    return np.concatenate([jets[..., 2], np.stack(other, 1)], 1).astype(np.float64)


def draws(seed: int) -> np.ndarray:
    return Augmentation.draws(np.random.default_rng(seed), 200)


@pytest.fixture(scope="module")
def changed() -> tuple[tuple[dict, AssignmentTargets], tuple[dict, AssignmentTargets]]:
    before = events()
    return before, Augmentation(parse_event_text(EVENT))(*before, draws(2))


def test_azimuths_keep_their_differences(changed: tuple) -> None:
    """All azimuths of an event, written as angles, sines or components, turn by one angle, or are mirrored first."""
    (before, after) = (azimuths(*each) for each in changed)
    differences = [np.angle(np.exp(1j * (each - each[:, :1]))) for each in (before, after)]
    same = np.abs(np.angle(np.exp(1j * (differences[0] - differences[1])))).max(1)
    mirrored = np.abs(np.angle(np.exp(1j * (differences[0] + differences[1])))).max(1)
    assert (np.minimum(same, mirrored) < 2e-5).all()
    assert 0.35 < (same < mirrored).mean() < 0.65
    angle = np.angle(np.exp(1j * (after - before)))[same < mirrored, 0]
    assert abs(np.mean(angle / np.pi)) < 0.2
    assert np.std(angle / np.pi) == pytest.approx(1 / np.sqrt(3), rel=0.1)
    assert np.abs(after).max() <= np.pi + 1e-6


def test_pseudorapidities_change_their_sign_together(changed: tuple) -> None:
    (values, targets), (other, turned) = changed
    signs = (other["Jets"][..., 1] / values["Jets"][..., 1]).numpy()
    assert np.array_equal(np.unique(signs), [-1, 1])
    assert (signs == signs[:, :1]).all()
    assert 0.35 < (signs[:, 0] > 0).mean() < 0.65
    assert np.array_equal((other["Lepton"][:, 0, 1] / values["Lepton"][:, 0, 1]).numpy(), signs[:, 0])
    for name in ("EVENT/neutrino_pz", "EVENT/h_eta"):
        expected = targets.regressions[name].numpy() * signs[:, 0]
        np.testing.assert_array_equal(turned.regressions[name].numpy(), expected)
    assert turned.regressions["EVENT/neutrino_pz"][3].isnan()


def test_what_is_invariant_is_left_alone(changed: tuple) -> None:
    (values, targets), (other, turned) = changed
    for name, columns in {"Jets": [0, 3], "Lepton": [0], "Met": [0, 3]}.items():
        assert torch.equal(values[name][..., columns], other[name][..., columns])
    assert torch.equal(targets.regressions["EVENT/mass"], turned.regressions["EVENT/mass"])
    lengths = [
        np.hypot(*(each.regressions[f"EVENT/neutrino_p{axis}"].numpy() for axis in "xy")) for each in (targets, turned)
    ]
    np.testing.assert_allclose(lengths[0], lengths[1], rtol=1e-5)


def test_random_numbers_decide() -> None:
    augment = Augmentation(parse_event_text(EVENT))
    first, again, other = (augment(*events(), draws(seed))[0]["Jets"] for seed in (4, 4, 5))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("sin_phi: none, cos_phi: none}", "cos_phi: none}", "input Lepton: cos_phi lacks the other component"),
        ("eta: normalize, phi: normalize", "eta: log_normalize, phi: normalize", "input Jets: eta has a logarithm"),
        ("h_eta,", "cos_theta,", "regressions of EVENT: what rotations do to cos_theta is not known"),
        ("neutrino_py, ", "", "regressions of EVENT: neutrino_px lacks the other component"),
        (
            "  GLOBAL:",
            "  RELATIVE:\n    Pairs: {dr: none}\n  GLOBAL:",
            "input Pairs: what rotations do to values of pairs of objects is not known",
        ),
    ],
)
def test_what_cannot_be_rotated_is_refused(old: str, new: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Augmentation(parse_event_text(EVENT.replace(old, new)))


def test_nothing_to_rotate_is_refused() -> None:
    with pytest.raises(ConfigError, match="no feature of an input changes"):
        Augmentation(event(TAGGED))


def turned(path: Path) -> AssignmentDataset:
    """Tagged events whose jets have an azimuth, too."""
    plain = tagged(path.with_name("plain.h5"), 100).read()
    random = np.random.default_rng(1)
    angles = random.uniform(-np.pi, np.pi, plain.values["Jets"].shape[:2]).astype(np.float32)
    values = {"Jets": np.concatenate([plain.values["Jets"], angles[..., None]], 2)}
    description = event(TAGGED.replace("tag: none", "tag: none, phi: normalize"))
    with DatasetWriter(path, description, {"Jets": 6}) as writer:
        writer.append(replace(plain, values=values))
    return AssignmentDataset(path, description)


@pytest.mark.slow
def test_trainings_with_rotated_events_are_equal_when_resumed_and_with_two_processes(tmp_path: Path) -> None:
    dataset = turned(tmp_path / "turned.h5")
    options = chosen(epochs=2, optimizer="SGD", learning_rate=0.05, jettagger={"augmentation": True})
    data = prepare_training(options, dataset)
    whole = train_prepared(data, seed=3)
    plain = train_assignment(options.model_copy(update={"jettagger": OwnOptions()}), dataset, seed=3)
    assert whole.history[0].train != plain.history[0].train
    path = tmp_path / "checkpoint.pt"
    train_prepared(data, seed=3, checkpoint=path, until=lambda: True)
    resumed = train_prepared(data, seed=3, checkpoint=path)
    assert resumed.history == whole.history
    two = train_prepared(data, seed=3, processes=2)
    for epoch, other in zip(whole.history, two.history, strict=True):
        assert other.train == pytest.approx(epoch.train, rel=1e-5)
