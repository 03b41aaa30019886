"""Jet images: against plain loops, published properties, and what is refused or counted."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_reference import make_jets, one_image
from pydantic import ValidationError

from jettagger.errors import InvalidValues, MismatchError, UnknownName
from jettagger.images import PRESETS, ImageSettings, SparseImages, make_images
from jettagger.images.sparse import join_images

SIX = list(PRESETS)
EVERYTHING = [
    "all",
    {"name": "tracks", "selection": "charge != 0", "quantity": "count"},
    {"name": "photon_energy", "selection": "isPhoton > 0", "quantity": "energy"},
    {"name": "displacement", "quantity": "mean of abs(d0val)"},
]


def image_settings(**keys: Any) -> ImageSettings:
    return ImageSettings.model_validate(keys)


def rows_of(columns: dict[str, Any], offsets: Any, jet: int) -> list[dict[str, float]]:
    return [
        {name: float(values[index]) for name, values in columns.items()}
        for index in range(offsets[jet], offsets[jet + 1])
    ]


def reference(made: ImageSettings, columns: Any, offsets: Any, jets: Any) -> Any:
    images = [
        one_image(made, rows_of(columns, offsets, jet), {name: float(values[jet]) for name, values in jets.items()})
        for jet in range(len(offsets) - 1)
    ]
    return np.array(images).reshape(-1, *made.shape)


STEPS = st.fixed_dictionaries(
    {
        "centre": st.sampled_from(["axis", "leading", "centroid"]),
        "rotate": st.sampled_from(["none", "principal", "second"]),
        "flip": st.sampled_from(["none", "eta", "phi", "both"]),
        "subjet_radius": st.sampled_from([0.1, 0.2, 0.4]),
    }
)


@settings(max_examples=40, deadline=None)
@given(
    steps=STEPS,
    size=st.sampled_from([1, 8, 15, [12, 20]]),
    width=st.sampled_from([0.5, 0.8, [0.6, 1.0]]),
    zoom=st.sampled_from([None, 400.0]),
    mirrored=st.booleans(),
    granularity=st.sampled_from(["constituents", "tracks", "cells", "generator"]),
    normalise=st.sampled_from(["none", "image"]),
    seed=st.integers(0, 2**16),
)
def test_images_equal_plain_loops_pixel_by_pixel(
    steps: Any, size: Any, width: Any, zoom: Any, mirrored: bool, granularity: str, normalise: str, seed: int
) -> None:
    columns, offsets, jets = make_jets(4, seed)
    keys: dict[str, Any] = {"size": size, "range": width, "zoom": zoom, "mirrored": mirrored, "normalise": normalise}
    keys["cells"] = {} if granularity == "cells" else None
    made = image_settings(steps=steps, granularity=granularity, channels=EVERYTHING, **keys)
    images = make_images(made, columns, offsets, jets)
    assert images.dense() == pytest.approx(reference(made, columns, offsets, jets), rel=2e-6, abs=1e-6)


def test_constituents_at_the_radius_of_a_subjet_are_inside_in_any_direction() -> None:
    # rounding decides otherwise: the leading subjet is of two constituents or of one
    angles = np.linspace(-3, 3, 60)
    distance = np.array([0.0, 0.4, 0.75])
    columns = {
        "pt": np.tile([100.0, 50.0, 40.0], len(angles)),
        "deta": (np.cos(angles)[:, None] * distance).ravel(),
        "dphi": (np.sin(angles)[:, None] * distance).ravel(),
    }
    columns["energy"] = columns["pt"]
    offsets = 3 * np.arange(len(angles) + 1)
    steps = {"centre": "leading", "rotate": "second", "flip": "none", "subjet_radius": 0.4}
    images = make_images(image_settings(size=40, range=0.8, steps=steps), columns, offsets).dense()
    assert np.count_nonzero(images[0]) == 3
    assert (images == images[0]).all()


@pytest.mark.parametrize("rotate", ["principal", "second"])
def test_jets_of_one_subjet_have_the_same_image_whichever_way_they_lie(rotate: str) -> None:
    columns, offsets, _ = make_jets(20, seed=11)
    columns |= {name: 0.2 * columns[name] for name in ("deta", "dphi")}  # all in one cone: no second subjet
    steps = {"centre": "centroid", "rotate": rotate, "flip": "eta", "subjet_radius": 0.4}
    made = image_settings(size=40, range=0.2, channels=SIX, steps=steps)
    images = [
        make_images(made, turned(columns, offsets, np.full(20, angle), np.ones(20)), offsets).dense()
        for angle in (0.0, 1.0, np.pi, -2.0)
    ]
    assert np.count_nonzero(images[0]) > 100
    for other in images[1:]:
        assert other == pytest.approx(images[0], rel=1e-5, abs=1e-5)


def test_plain_images_are_histograms_of_numpy() -> None:
    columns, offsets, _ = make_jets(5, seed=1, mean=40)
    images = make_images(image_settings(size=[10, 20], range=[0.6, 0.5]), columns, offsets)
    for jet in range(5):
        own = slice(offsets[jet], offsets[jet + 1])
        edges = np.linspace(-0.5, 0.5, 11), np.linspace(-0.6, 0.6, 21)
        expected, *_ = np.histogram2d(columns["dphi"][own], columns["deta"][own], edges, weights=columns["pt"][own])
        assert images.dense()[jet, 0] == pytest.approx(expected, rel=1e-6)


def turned(columns: dict[str, Any], offsets: Any, angles: Any, mirror: Any, shift: Any = 0.0) -> dict[str, Any]:
    """Jets that are mirrored in eta, then rotated, then translated; float64."""
    counts = np.diff(offsets)
    angle, sign = np.repeat(angles, counts), np.repeat(mirror, counts)
    eta, phi = columns["deta"].astype(np.float64) * sign, columns["dphi"].astype(np.float64)
    cosine, sine = np.cos(angle), np.sin(angle)
    moved = {"deta": cosine * eta - sine * phi + shift, "dphi": sine * eta + cosine * phi - 0.5 * shift}
    return columns | moved


@settings(max_examples=30, deadline=None)
@given(
    centre=st.sampled_from(["leading", "centroid"]),
    rotate=st.sampled_from(["principal", "second"]),
    angle=st.floats(-math.pi, math.pi),
    mirror=st.sampled_from([1, -1]),
    shift=st.floats(-0.5, 0.5),
    seed=st.integers(0, 2**16),
)
def test_moved_rotated_and_mirrored_jets_have_the_same_canonical_image(
    centre: str, rotate: str, angle: float, mirror: int, shift: float, seed: int
) -> None:
    columns, offsets, _ = make_jets(6, seed)
    made = image_settings(size=20, channels=SIX, steps={"centre": centre, "rotate": rotate, "flip": "both"})
    first = make_images(made, columns, offsets)
    number = len(offsets) - 1
    other = make_images(made, turned(columns, offsets, np.full(number, angle), np.full(number, mirror), shift), offsets)
    assert np.array_equal(first.pixels, other.pixels)
    assert np.array_equal(first.values, other.values)


@settings(max_examples=20, deadline=None)
@given(
    flip=st.sampled_from(["eta", "phi", "both"]),
    centre=st.sampled_from(["axis", "leading", "centroid"]),
    seed=st.integers(0, 2**16),
)
def test_mirrored_jets_have_the_same_image_bit_for_bit(flip: str, centre: str, seed: int) -> None:
    columns, offsets, _ = make_jets(6, seed)
    made = image_settings(size=21, channels=SIX, steps={"centre": centre, "flip": flip})
    first = make_images(made, columns, offsets)
    for name, axis in (("deta", "eta"), ("dphi", "phi")):
        if flip in (axis, "both"):
            other = make_images(made, columns | {name: -columns[name]}, offsets)
            assert np.array_equal(first.dense(), other.dense())


def test_float32_positions_give_the_same_canonical_image() -> None:
    """Files store positions in single precision, which is why they are rounded to a lattice."""
    columns, offsets, _ = make_jets(200, seed=2, mean=40)
    made = image_settings(size=40, steps={"centre": "leading", "rotate": "second", "flip": "eta"})
    moved = turned(columns, offsets, np.linspace(-3, 3, 200), np.resize([1, -1], 200), 0.25)
    moved = {name: values.astype(np.float32) for name, values in moved.items()}
    first, other = make_images(made, columns, offsets).dense(), make_images(made, moved, offsets).dense()
    same = (np.abs(first - other) <= 1e-5 * first.max(axis=(1, 2, 3), keepdims=True)).all(axis=(1, 2, 3))
    assert same.sum() >= 198  # a constituent can lie within a rounding error of the edge of a pixel


@settings(max_examples=20, deadline=None)
@given(steps=STEPS, width=st.sampled_from([0.2, 0.6, 2.0]), seed=st.integers(0, 2**16))
def test_pt_is_conserved_and_channels_add_up(steps: Any, width: float, seed: int) -> None:
    columns, offsets, _ = make_jets(8, seed)
    images = make_images(image_settings(size=16, range=width, steps=steps, channels=SIX), columns, offsets)
    dense = images.dense().astype(np.float64)
    owner = np.repeat(np.arange(8), np.diff(offsets))
    total = np.bincount(owner, weights=columns["pt"], minlength=8)
    assert dense[:, 0].sum(axis=(1, 2)) + images.pt_outside == pytest.approx(total, rel=1e-6)
    assert dense[:, 1:].sum(axis=1) == pytest.approx(dense[:, 0], rel=1e-6)
    assert images.summed(SIX[1:]) == pytest.approx(dense[:, 0], rel=1e-6)
    assert (images.n_constituents == np.diff(offsets)).all()
    inside = make_images(
        image_settings(size=16, range=width, steps=steps, channels=[EVERYTHING[1] | {"selection": ""}]),
        columns,
        offsets,
    )
    assert (inside.dense().sum(axis=(1, 2, 3)) == images.n_constituents - images.n_outside).all()


def test_normalised_images_add_up_to_one() -> None:
    columns, offsets, jets = make_jets(20, seed=3)
    made = image_settings(channels=SIX, normalise="image", range=3.0)
    dense = make_images(made, columns, offsets, jets).dense()
    assert dense[:, 0].sum(axis=(1, 2)) == pytest.approx(1, rel=1e-5)
    assert dense[:, 1:].sum(axis=(1, 2, 3)) == pytest.approx(1, rel=1e-5)


def test_normalisation_per_pixel_is_applied_to_dense_images() -> None:
    columns, offsets, _ = make_jets(20, seed=3)
    plain = image_settings(size=4)
    images = make_images(plain, columns, offsets).dense().astype(np.float64)
    mean, std = images.mean(axis=0), images.std(axis=0) + 1e-3
    made = image_settings(size=4, normalise="pixel", mean=mean.tolist(), std=std.tolist())
    assert make_images(made, columns, offsets).dense() == pytest.approx((images - mean) / std, rel=1e-4, abs=1e-4)
    assert made == ImageSettings.model_validate(made.model_dump())
    both = image_settings(size=4, normalise="both", mean=mean.tolist(), std=std.tolist())
    shares = make_images(image_settings(size=4, normalise="image"), columns, offsets).dense()
    assert make_images(both, columns, offsets).dense() == pytest.approx((shares - mean) / std, rel=1e-4, abs=1e-4)


def test_zoom_brings_decays_of_one_mass_to_one_distance() -> None:
    """Two prongs of a mass are 2 m / pt apart."""
    pt = np.array([300.0, 600.0, 1200.0])
    distance = 2 * 80.0 / pt
    columns = {
        "pt": np.repeat(pt / 2, 2),
        "deta": np.stack([-distance / 2, distance / 2], 1).ravel(),
        "dphi": np.zeros(6),
    }
    images = make_images(image_settings(size=41, range=0.6, zoom=500.0), columns, np.arange(0, 7, 2), {"pt": pt})
    pixels = images.pixels.reshape(3, 2)
    assert (pixels == pixels[0]).all()
    width = 2 * 0.6 / 41
    assert np.diff(pixels[0] % 41)[0] * width == pytest.approx(2 * 80 / 500, abs=width)


def test_rotation_keeps_pt_and_changes_the_mass_of_a_pair_by_its_fourth_order() -> None:
    """m^2 = 2 pt1 pt2 (cosh deta - cos dphi): equal for both directions up to the fourth order in the distance."""
    distance = 0.8
    along_eta, along_phi = 2 * (math.cosh(distance) - 1), 2 * (1 - math.cos(distance))
    assert along_eta / along_phi == pytest.approx(1 + distance**2 / 6, abs=distance**4 / 60)
    columns = {"pt": np.array([1.0, 1.0]), "deta": np.array([-0.4, 0.4]), "dphi": np.zeros(2)}
    images = make_images(image_settings(size=401, steps={"rotate": "principal"}), columns, np.array([0, 2]))
    assert images.values.sum() == 2
    rows, places = np.nonzero(images.dense()[0, 0])
    assert rows.tolist() == [100, 300]
    assert places.tolist() == [200, 200]


def test_tracks_are_the_charged_constituents_and_cells_hold_their_energy() -> None:
    columns, offsets, jets = make_jets(30, seed=4)
    tracks = make_images(image_settings(granularity="tracks", range=9.0), columns, offsets).dense()
    charged = np.where(columns["charge"] != 0, columns["pt"], 0)
    owner = np.repeat(np.arange(30), np.diff(offsets))
    assert tracks.sum(axis=(1, 2, 3)) == pytest.approx(np.bincount(owner, weights=charged, minlength=30), rel=1e-5)
    energy = {"name": "e", "quantity": "energy"}
    keys = {"granularity": "cells", "range": 9.0, "channels": [energy, {"name": "n", "quantity": "count"}]}
    cells = make_images(image_settings(cells={"hcal_cell": 0.5, "ecal_cell": 0.5}, **keys), columns, offsets, jets)
    assert cells.dense()[:, 0].sum(axis=(1, 2)) == pytest.approx(
        np.bincount(owner, weights=columns["energy"], minlength=30), rel=1e-5
    )
    assert (cells.n_constituents < np.diff(offsets)).any()
    assert (cells.dense()[:, 1].sum(axis=(1, 2)) == cells.n_constituents).all()


def test_jets_without_a_direction_stay_as_they_are_and_are_counted() -> None:
    """No constituent, one, several at one place, and a square of equal ones."""
    places = [
        [],
        [(0.1, 0.2)],
        [(0.1, 0.2)] * 3,
        [(0.2, 0.2), (0.2, -0.2), (-0.2, 0.2), (-0.2, -0.2)],
        [(0, 0), (0.3, 0)],
    ]
    flat = np.array([place for jet in places for place in jet])
    columns = {"pt": np.ones(len(flat)), "deta": flat[:, 0], "dphi": flat[:, 1]}
    offsets = np.concatenate([[0], np.cumsum([len(jet) for jet in places])])
    made = image_settings(steps={"centre": "centroid", "rotate": "principal"}, range=0.1)
    images = make_images(made, columns, offsets)
    assert images.unrotated.tolist() == [True, True, True, True, False]
    assert images.n_outside.tolist() == [0, 0, 0, 4, 2]
    assert images.pt_outside.tolist() == [0, 0, 0, 4, 2]
    summary = images.summary
    assert summary["jets"] == 5
    assert summary["jets without constituents"] == 1
    assert summary["empty images of jets with constituents"] == 2
    assert summary["jets without a direction, not rotated"] == 3
    assert summary["jets in a single pixel"] == 2
    assert summary["constituents outside of the image"] == 6


def test_constituents_that_share_a_pixel_have_a_direction_unless_they_share_a_place() -> None:
    """The steps know no pixels: a jet within one is rotated, which may move it into others."""
    columns = {"pt": np.ones(4), "deta": np.array([0.01, 0.03, 0.02, 0.02]), "dphi": np.full(4, 0.02)}
    made = image_settings(size=5, range=1.0, steps={"centre": "centroid", "rotate": "principal"})
    images = make_images(made, columns, np.array([0, 2, 4]))
    assert images.unrotated.tolist() == [False, True]
    assert images.n_pixels.tolist() == [1, 1]
    assert images.pixels.tolist() == [12, 12]
    assert images.summary["jets in a single pixel"] == 2


@pytest.mark.parametrize("flip", ["none", "both"])
def test_rotations_around_the_axis_of_the_jet_do_not_change_images(flip: str) -> None:
    columns, offsets, _ = make_jets(30, seed=9)
    made = image_settings(size=20, steps={"rotate": "principal", "flip": flip})
    other = turned(columns, offsets, np.linspace(-3, 3, 30), np.ones(30))
    assert np.array_equal(make_images(made, columns, offsets).dense(), make_images(made, other, offsets).dense())


def test_invalid_constituents_are_left_out_and_counted() -> None:
    columns = {
        "pt": np.array([1.0, np.nan, -1.0, 2.0, 3.0]),
        "deta": np.array([0.0, 0, 0, np.inf, 0]),
        "dphi": np.zeros(5),
        "d0val": np.array([1.0, 1, 1, 1, np.nan]),
    }
    channels = ["all", {"name": "d0", "quantity": "mean of d0val"}]
    images = make_images(image_settings(size=1, channels=channels), columns, np.array([0, 4, 5, 5]))
    assert images.n_invalid.tolist() == [3, 0, 0]
    assert images.n_constituents.tolist() == [1, 1, 0]
    assert images.dense().ravel().tolist() == [1, 1, 3, 0, 0, 0]
    assert images.counts.tolist() == [2, 1, 0]  # a mean of nothing is no pixel
    assert images.summary["constituents without a value for a mean"] == 1


SPECIAL = [0.0, -0.0, 1e-40, 1e-7, 0.8, -0.8, 99.0, 1e20, 1e38, -1.0, math.inf, -math.inf, math.nan]


@settings(max_examples=60, deadline=None)
@given(
    steps=STEPS,
    granularity=st.sampled_from(["constituents", "tracks", "cells"]),
    special=st.lists(
        st.tuples(st.sampled_from(["pt", "deta", "dphi", "energy", "d0val"]), st.sampled_from(SPECIAL)), max_size=12
    ),
    seed=st.integers(0, 2**16),
)
def test_special_numbers_are_left_out_and_counted(steps: Any, granularity: str, special: Any, seed: int) -> None:
    columns, offsets, jets = make_jets(3, seed, mean=4)
    made = image_settings(
        size=6, steps=steps, granularity=granularity, channels=EVERYTHING, zoom=500.0, normalise="image"
    )
    number = int(offsets[-1])
    for place, (name, value) in enumerate(special[:number]):
        columns[name][(7 * place) % number] = value
    images = make_images(made, columns, offsets, jets)
    dense = images.dense()
    assert np.isfinite(dense).all()
    bad = np.zeros(number, dtype=bool)
    for name in ("pt", "energy", "deta", "dphi"):
        values = columns[name]
        bad |= ~np.isfinite(values) | (np.abs(values) >= (1e30 if name in ("pt", "energy") else 100))
        bad |= (values < 0) & (name in ("pt", "energy"))
    assert images.n_invalid.sum() == bad.sum()
    if granularity == "constituents":
        assert images.n_constituents.sum() + bad.sum() == number
    assert (images.n_outside <= images.n_constituents).all()


@pytest.mark.parametrize("seed", [5, 6])
def test_batches_hold_the_jets_that_are_asked_for(seed: int) -> None:
    columns, offsets, _ = make_jets(50, seed)
    images = make_images(image_settings(size=8, channels=SIX), columns, offsets)
    dense = images.dense()
    assert dense.shape == (50, 6, 8, 8)
    assert dense.dtype == np.float32
    assert (images.dense(slice(10, 20)) == dense[10:20]).all()
    assert (images.dense(slice(40, 90)) == dense[40:]).all()
    assert (images.dense(slice(0, 50, 7)) == dense[::7]).all()
    index = np.random.default_rng(seed).permutation(50)[:30]
    assert (images.dense(index) == dense[index]).all()
    assert images.dense(slice(20, 10)).shape == (0, 6, 8, 8)
    with pytest.raises(IndexError):
        images.dense(np.array([50]))


def test_blocks_do_not_change_images(monkeypatch: pytest.MonkeyPatch) -> None:
    columns, offsets, jets = make_jets(5000, seed=7, mean=20)  # more than two blocks
    made = image_settings(size=8, zoom=500.0, steps={"rotate": "second"}, channels=EVERYTHING)
    whole = make_images(made, columns, offsets, jets)
    parts = []
    for start in range(0, 5000, 1000):
        own = slice(offsets[start], offsets[start + 1000])
        part = {name: values[own] for name, values in columns.items()}
        of_jets = {name: values[start : start + 1000] for name, values in jets.items()}
        parts.append(make_images(made, part, offsets[start : start + 1001] - offsets[start], of_jets))
    joined = join_images(parts)
    for name in ("pixels", "values", "offsets", "n_outside", "pt_outside", "overlaps", "without_value", "unrotated"):
        assert np.array_equal(getattr(whole, name), getattr(joined, name)), name


def test_no_jets_give_no_images() -> None:
    columns = {name: np.zeros(0) for name in ("pt", "deta", "dphi")}
    images = make_images(image_settings(steps={"rotate": "second", "centre": "leading"}), columns, np.array([0]))
    assert images.dense().shape == (0, 1, 40, 40)
    assert isinstance(images, SparseImages)
    assert repr(images) == "<SparseImages of 0 jets, (1, 40, 40), 0 occupied pixels>"


def test_overlapping_channels_have_no_sum() -> None:
    columns, offsets, _ = make_jets(10, seed=8)
    images = make_images(image_settings(channels=["photons", "all", EVERYTHING[1]]), columns, offsets)
    assert images.overlaps[0, 1] == columns["isPhoton"].sum() == images.overlaps[0, 0]
    with pytest.raises(InvalidValues, match=r"'photons' and 'all' overlap.*: [0-9]+ constituents are in both"):
        images.summed(["photons", "all"])
    with pytest.raises(InvalidValues, match="the same channel"):
        images.summed(["photons", "photons"])
    with pytest.raises(InvalidValues, match="count, pt has no meaning"):
        images.summed(["photons", "tracks"])
    with pytest.raises(UnknownName, match=r"photon.*nearest: photons"):
        images.summed(["photon"])


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"size": 0}, "a number of pixels from 1 to 1024"),
        ({"size": [4]}, "size is .4., expected one number or two"),
        ({"range": -1.0}, "a half width from 0.001 to 10"),
        ({"channels": ["photon"]}, "unknown channel 'photon' .nearest: photons"),
        ({"channels": ["all", "all"]}, "declared twice: all"),
        ({"channels": []}, "at least 1"),
        ({"channels": [{"name": "x", "quantity": "enregy"}]}, "unknown quantity 'enregy' .nearest: energy"),
        ({"channels": [{"name": "x", "selection": "charge"}]}, "'charge' is not a cut"),
        ({"channels": [{"name": "x", "selection": "charge !"}]}, "position"),
        ({"channels": [{"name": "x", "quantity": "mean of pt > 1"}]}, "is not a number"),
        ({"steps": {"rotate": "secnd"}}, "one of none, principal, second"),
        ({"steps": {"rotat": "second"}}, "Extra inputs"),
        ({"cells": {}}, "granularity is 'constituents', expected 'cells'"),
        ({"normalise": "pixel"}, "mean is missing, but normalise is 'pixel'"),
        ({"mean": [[[0.0]]]}, "mean is given, but normalise is 'none'"),
        ({"size": 1, "normalise": "pixel", "mean": [[[0.0]]], "std": [[[0.0]]]}, "expected numbers above 0"),
        ({"size": 1, "normalise": "both", "mean": [[[0.0, 1.0]]], "std": [[[1.0]]]}, r"has the shape \(1, 1, 2\)"),
        ({"size": 1, "normalise": "both", "mean": [[[0.0], [1.0, 1.0]]], "std": [[[1.0]]]}, "different lengths"),
        ({"size": 1024, "channels": [{"name": f"c{i}"} for i in range(17)]}, "more than 16777216 numbers"),
    ],
)
def test_settings_that_cannot_be_are_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        image_settings(**keys)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"isPhoton": None}, UnknownName, "'isPhoton'"),
        ({"deta": np.zeros(3)}, MismatchError, r"'deta' of the constituents is float64\[3\], expected 2 numbers"),
        ({"deta": np.array(["a", "b"])}, MismatchError, "'deta'"),
    ],
)
def test_columns_that_do_not_fit_are_refused(changed: dict[str, Any], error: Any, message: str) -> None:
    columns = {"pt": np.ones(2), "deta": np.zeros(2), "dphi": np.zeros(2), "isPhoton": np.ones(2)} | changed
    columns = {name: values for name, values in columns.items() if values is not None}
    with pytest.raises(error, match=message):
        make_images(image_settings(channels=["photons"]), columns, np.array([0, 2]))


def test_offsets_and_jets_that_do_not_fit_are_refused() -> None:
    columns = {"pt": np.ones(2), "deta": np.zeros(2), "dphi": np.zeros(2)}
    zoomed = image_settings(zoom=500.0)
    for offsets in (np.array([1, 2]), np.array([0.0, 2.0]), np.zeros((0,), int), np.array([0, 3, 2])):
        with pytest.raises(MismatchError, match="offsets"):
            make_images(image_settings(), columns, offsets)
    with pytest.raises(UnknownName, match=r"unknown column of the jets.*'pt'"):
        make_images(zoomed, columns, np.array([0, 2]))
    for pt in (0.0, np.nan):
        with pytest.raises(InvalidValues, match=r"pt of 1 of 1 jets is not a positive number, first: .* of jet 0"):
            make_images(zoomed, columns, np.array([0, 2]), {"pt": np.array([pt])})
