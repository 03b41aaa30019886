"""Datasets of whole events: SPANet's layout in detail, blocks, and what a bad file says."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pages import blocks
from traced import traced_peak

h5py = pytest.importorskip("h5py")

from shown import check_shown  # noqa: E402

from jettagger.assignment import (  # noqa: E402
    AssignmentDataset,
    AssignmentEvents,
    DatasetWriter,
    check_dataset,
    concatenate_datasets,
    convert_dataset,
)
from jettagger.cli import main  # noqa: E402
from jettagger.errors import (  # noqa: E402
    ConfigError,
    InputFileError,
    InvalidValues,
    JettaggerError,
    MismatchError,
    MissingColumns,
    MissingExtra,
    OutputError,
    UnknownName,
)
from jettagger.provenance import Provenance, read_provenance  # noqa: E402
from jettagger.topology.eventfile import parse_event_text, write_event_file  # noqa: E402

EVENT = parse_event_text("""\
INPUTS:
  GLOBAL:
    Met: {met: log_normalize, phi: none}
  SEQUENTIAL:
    Jets: {pt: log_normalize, eta: normalize}
    Leptons: {pt: log}
EVENT:
  t: [q1: Jets, q2: Jets, b]
  w: [l: Leptons]
PERMUTATIONS:
  t: [[q1, q2]]
REGRESSIONS:
  EVENT: [mass]
  t: {PARTICLE: [pt], b: [pt]}
CLASSIFICATIONS:
  EVENT: [signal]
""")
SLOTS = {"Jets": 5, "Leptons": 2}


def random_events(count: int, seed: int = 1) -> AssignmentEvents:
    """Events with three to five jets and one or two leptons; every fourth top has a quark that is lost."""
    generator = np.random.default_rng(seed)
    masks = {
        "Met": np.ones((count, 1), bool),
        "Jets": np.arange(5) < generator.integers(3, 6, (count, 1)),
        "Leptons": np.arange(2) < generator.integers(1, 3, (count, 1)),
    }
    values = {
        name: generator.uniform(1, 100, (*mask.shape, len(EVENT.input(name).features))).astype(np.float32)
        * mask[..., None]
        for name, mask in masks.items()
    }
    order = generator.permuted(np.tile(np.arange(3), (count, 1)), axis=1)
    order[::4, 0] = -1
    missing = generator.random(count) < 0.3
    return AssignmentEvents(
        values,
        masks,
        {"t": order, "w": np.full((count, 1), 5)},
        weights={"t": generator.uniform(0.5, 2, count).astype(np.float32)},
        regressions={
            path: np.where(missing, np.nan, generator.normal(size=count)).astype(np.float32)
            for path in EVENT.regressions
        },
        classifications={"EVENT/signal": generator.integers(-1, 3, count)},
    )


def written(path: Path, events: AssignmentEvents, **options: Any) -> Path:
    with DatasetWriter(path, EVENT, SLOTS, **options) as writer:
        writer.append(events)
    return path


def same(one: AssignmentEvents, other: AssignmentEvents) -> None:
    for kind in (
        "values",
        "masks",
        "targets",
        "target_masks",
        "weights",
        "regressions",
        "classifications",
        "pair_values",
    ):
        ours, theirs = getattr(one, kind), getattr(other, kind)
        assert set(ours) == set(theirs), kind
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name], err_msg=f"{kind} of {name}")


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return written(tmp_path / "tt.h5", random_events(40))


# ---------------------------------------------------------------------------------------------------------- layout


def test_the_layout_is_that_of_the_original(dataset: Path) -> None:
    """Section by section what SPANet's loader opens: paths, shapes, and dtypes that need no conversion."""
    expected = {
        "INPUTS/Met/MASK": ((40,), "bool"),
        "INPUTS/Met/met": ((40,), "float32"),
        "INPUTS/Met/phi": ((40,), "float32"),
        "INPUTS/Jets/MASK": ((40, 5), "bool"),
        "INPUTS/Jets/pt": ((40, 5), "float32"),
        "INPUTS/Jets/eta": ((40, 5), "float32"),
        "INPUTS/Leptons/MASK": ((40, 2), "bool"),
        "INPUTS/Leptons/pt": ((40, 2), "float32"),
        "TARGETS/t/q1": ((40,), "int64"),
        "TARGETS/t/q2": ((40,), "int64"),
        "TARGETS/t/b": ((40,), "int64"),
        "TARGETS/t/MASK": ((40,), "bool"),
        "TARGETS/t/WEIGHT": ((40,), "float32"),
        "TARGETS/w/l": ((40,), "int64"),
        "TARGETS/w/MASK": ((40,), "bool"),
        "REGRESSIONS/EVENT/mass": ((40,), "float32"),
        "REGRESSIONS/t/PARTICLE/pt": ((40,), "float32"),
        "REGRESSIONS/t/b/pt": ((40,), "float32"),
        "CLASSIFICATIONS/EVENT/signal": ((40,), "int64"),
    }
    events = random_events(40)
    with h5py.File(dataset) as file:
        layout = {}
        file.visititems(
            lambda name, node: layout.update({name: (node.shape, str(node.dtype))}) if hasattr(node, "shape") else None
        )
        assert layout == expected
        # as the original reads: into buffers of exactly this shape
        for place, (shape, _) in expected.items():
            if place.startswith("INPUTS") and not place.endswith("MASK"):
                buffer = np.empty(shape, np.float32)
                file[place].read_direct(buffer)
                assert np.isfinite(buffer).all()
        # local to the input of the daughter where it has one, otherwise over all sequential inputs; -1 for missing ones
        np.testing.assert_array_equal(file["TARGETS/w/l"][:], np.zeros(40))
        np.testing.assert_array_equal(file["TARGETS/t/q1"][:], events.targets["t"][:, 0])
        np.testing.assert_array_equal(file["TARGETS/t/MASK"][:], np.arange(40) % 4 != 0)
        assert (file["INPUTS/Jets/pt"][:][~file["INPUTS/Jets/MASK"][:]] == 0).all()


def test_what_is_written_is_read_back(dataset: Path) -> None:
    read = AssignmentDataset(dataset, EVENT)
    assert (read.n_events, len(read), read.slots) == (40, 40, {"Met": 1, "Jets": 5, "Leptons": 2})
    assert read.offsets == {"Jets": 0, "Leptons": 5}  # not shifted by the global input before them
    events = read.read()
    same(events, random_events(40))
    assert {str(values.dtype) for values in events.values.values()} == {"float32"}
    assert {str(values.dtype) for values in events.targets.values()} == {"int64"}
    assert repr(read) == f"AssignmentDataset({dataset}: 40 events, Met[1], Jets[5], Leptons[2])"
    check_shown(read)


def test_weights_of_one_are_not_written(tmp_path: Path) -> None:
    """The original fails with partial_events = false, its default, if a file has weights."""
    events = replace(random_events(8), weights={})
    first = written(tmp_path / "a.h5", events)
    with h5py.File(first) as file:
        assert "WEIGHT" not in file["TARGETS/t"]
    weights = {"t": np.full(8, 2, np.float32), "w": np.ones(8, np.float32)}
    with DatasetWriter(tmp_path / "b.h5", EVENT, SLOTS) as writer:
        writer.append(events)
        writer.append(replace(events, weights=weights))
    read = AssignmentDataset(tmp_path / "b.h5", EVENT)
    assert read.optional == {"INPUTS/Met/MASK", "TARGETS/t/MASK", "TARGETS/w/MASK", "TARGETS/t/WEIGHT"}
    assert read.read().weights["t"].tolist() == [1.0] * 8 + [2.0] * 8


def test_weights_of_events_are_kept_also_negative_ones(tmp_path: Path) -> None:
    plain, weights = random_events(4), np.array([1, -0.5, 2, 1], np.float32)
    weighted = replace(plain, event_weights={"EVENT": weights})
    assert written(tmp_path / "plain.h5", plain)
    with h5py.File(tmp_path / "plain.h5") as file:
        assert "WEIGHTS" not in file
    with DatasetWriter(tmp_path / "both.h5", EVENT, SLOTS) as writer:
        writer.append(plain)
        writer.append(weighted)
        writer.append(plain)
    read = AssignmentDataset(tmp_path / "both.h5", EVENT)
    assert "WEIGHTS/EVENT" in read.optional
    assert read.read().event_weights["EVENT"].tolist() == [1] * 4 + weights.tolist() + [1] * 4
    assert read.read(5, 7).take([1]).event_weights["EVENT"].tolist() == [2]
    assert AssignmentDataset(tmp_path / "both.h5", EVENT, labels=False).read().event_weights == {}
    concatenate_datasets([tmp_path / "plain.h5", tmp_path / "both.h5"], tmp_path / "all.h5")
    assert AssignmentDataset(tmp_path / "all.h5", EVENT).read(8, 12).event_weights["EVENT"].tolist() == weights.tolist()
    report = check_dataset(tmp_path / "both.h5", EVENT)
    assert report.weights["EVENT"] == pytest.approx((-0.5, 11.5 / 12, 2))
    assert report.usable
    bad = replace(plain, event_weights={"EVENT": np.array([1, np.nan, 1, 1])})
    with pytest.raises(InvalidValues, match=r"WEIGHTS/EVENT: not finite in 1 events, first in event 1"):
        written(tmp_path / "bad.h5", bad)
    with pytest.raises(MismatchError, match=r"event_weights of 'EVENT': shape \(3,\), expected \(4,\)"):
        written(tmp_path / "bad.h5", replace(plain, event_weights={"EVENT": np.ones(3)}))
    with pytest.raises(UnknownName, match="event_weights"):
        written(tmp_path / "bad.h5", replace(plain, event_weights={"t": np.ones(4)}))


@given(st.integers(0, 30), st.integers(1, 40), st.integers(0, 1000))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_blocks_are_the_file_in_parts(tmp_path: Path, count: int, size: int, seed: int) -> None:
    events = random_events(count, seed)
    dataset = AssignmentDataset(written(tmp_path / "events.h5", events, force=True), EVENT)
    blocks = list(dataset.blocks(size))
    assert [block.start for block in blocks] == list(range(0, count, size))
    assert all(len(block) == block.n_events <= size for block in blocks)
    whole = dataset.read()
    same(whole, events)
    if blocks:
        for kind in ("values", "targets", "regressions"):
            for name, values in getattr(whole, kind).items():
                parts = np.concatenate([getattr(block, kind)[name] for block in blocks])
                np.testing.assert_array_equal(parts, values)


def test_a_range_of_events(dataset: Path) -> None:
    read = AssignmentDataset(dataset, EVENT)
    part = read.read(10, 13)
    assert (part.start, part.n_events) == (10, 3)
    np.testing.assert_array_equal(part.targets["t"], read.read().targets["t"][10:13])
    assert read.read(100).n_events == 0
    with pytest.raises(ConfigError, match="size"):
        list(read.blocks(0))


def test_blocks_take_constant_memory(tmp_path: Path) -> None:
    """Five times the events need no more memory at a time."""
    events = random_events(4000)

    def use(repeats: int) -> None:
        path = tmp_path / f"{repeats}.h5"
        with DatasetWriter(path, EVENT, SLOTS) as writer:
            for _ in range(repeats):
                writer.append(events)
        for block in AssignmentDataset(path, EVENT).blocks(4000):
            assert block.n_events == 4000
        path.unlink()

    few, many = (traced_peak(partial(use, repeats)) for repeats in (2, 10))
    assert many < 1.2 * few


def test_events_without_labels(tmp_path: Path) -> None:
    events = random_events(6)
    bare = AssignmentEvents(events.values, events.masks)
    path = written(tmp_path / "bare.h5", bare, labels=False)
    same(AssignmentDataset(path, EVENT, labels=False).read(), bare)
    with pytest.raises(MissingColumns, match="TARGETS/t/q1"):
        AssignmentDataset(path, EVENT)
    with (
        pytest.raises(MismatchError, match="the events have targets, the file is to have none"),
        DatasetWriter(tmp_path / "x.h5", EVENT, SLOTS, labels=False) as writer,
    ):
        writer.append(events)


def test_relative_inputs_have_features_of_pairs(tmp_path: Path) -> None:
    event = parse_event_text(
        "INPUTS: {RELATIVE: {Jets: {dR: log, pt: log, kt: none}}}\nEVENT: {h: [b1: Jets, b2: Jets]}"
    )
    generator = np.random.default_rng(1)
    mask = np.array([[True, True, False], [True, True, True]])
    both = mask[:, :, None] & mask[:, None, :]
    events = AssignmentEvents(
        {"Jets": generator.uniform(size=(2, 3, 1)).astype(np.float32) * mask[..., None]},
        {"Jets": mask},
        {"h": np.array([[0, 1], [2, 1]])},
        pair_values={"Jets": generator.uniform(size=(2, 3, 3, 2)).astype(np.float32) * both[..., None]},
    )
    with DatasetWriter(tmp_path / "r.h5", event, {"Jets": 3}, pair_features={"Jets": ["dR", "kt"]}) as writer:
        writer.append(events)
    with h5py.File(tmp_path / "r.h5") as file:
        assert file["INPUTS/Jets/dR"].shape == (2, 3, 3)
        assert file["INPUTS/Jets/pt"].shape == (2, 3)
    read = AssignmentDataset(tmp_path / "r.h5", event)
    assert read.pair_features == {"Jets": ("dR", "kt")}
    same(read.read(), events)
    taken = read.read().take([1])
    assert taken.pair_features == read.read().pair_features == read.pair_features
    np.testing.assert_array_equal(taken.pair_values["Jets"], events.pair_values["Jets"][1:])
    other = AssignmentEvents(**{**vars(events), "pair_features": {"Jets": ("kt", "dR")}})
    with (
        pytest.raises(MismatchError, match=r"features of pairs of 'Jets' are \['kt', 'dR'\], expected \['dR', 'kt'\]"),
        DatasetWriter(tmp_path / "s.h5", event, {"Jets": 3}, pair_features={"Jets": ["dR", "kt"]}) as writer,
    ):
        writer.append(other)


@pytest.mark.data
@pytest.mark.parametrize(("name", "slots"), [("ttbar", {"Source": 10}), ("ttH", {"Momenta": 19, "Met": 1})])
def test_examples_of_the_original(shared: Path, tmp_path: Path, name: str, slots: dict[str, int]) -> None:
    event = shared / "spanet" / f"{name}_event.yaml"
    dataset = AssignmentDataset(shared / "spanet" / "examples" / f"{name}.h5", event)
    assert dataset.slots == slots
    with DatasetWriter(tmp_path / "copy.h5", event, dataset.slots) as writer:
        for block in dataset.blocks(700):
            writer.append(block)
    same(AssignmentDataset(tmp_path / "copy.h5", event).read(), dataset.read())


# --------------------------------------------------------------------------------------------------------- writing


def test_a_file_is_complete_or_absent(tmp_path: Path) -> None:
    def interrupted() -> None:
        with DatasetWriter(tmp_path / "x.h5", EVENT, SLOTS) as writer:
            writer.append(random_events(3))
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        interrupted()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputError), DatasetWriter(tmp_path / "absent" / "x.h5", EVENT, SLOTS):
        pass
    path = written(tmp_path / "x.h5", random_events(3))
    with pytest.raises(OutputError, match="exists already"), DatasetWriter(path, EVENT, SLOTS):
        pass
    assert AssignmentDataset(path, EVENT).n_events == 3


def test_a_file_without_events_has_the_layout(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "empty.h5", EVENT, SLOTS):
        pass
    dataset = AssignmentDataset(tmp_path / "empty.h5", EVENT)
    assert dataset.n_events == 0
    assert list(dataset.blocks()) == []
    assert dataset.read().targets["t"].shape == (0, 3)


def test_the_file_says_how_it_was_made(tmp_path: Path) -> None:
    files = tuple(
        f"/store/user/file_{number}.root" for number in range(4000)
    )  # more than an attribute of HDF5 1.6 holds
    path = written(tmp_path / "x.h5", random_events(3), provenance=Provenance("dataset", files=files))
    record = read_provenance(path)
    assert record["step"] == "dataset"
    assert record["files"] == list(files)
    with h5py.File(path) as file:
        assert json.loads(file.attrs["jettagger"]) == record
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["a"] = 1
    assert read_provenance(tmp_path / "foreign.h5") == {}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda e: replace(e, values={**e.values, "Jet": e.values["Jets"]}), UnknownName, "'Jet' (nearest: Jets"),
        (lambda e: replace(e, masks={"Jets": e.masks["Jets"]}), UnknownName, "name in masks in the events: 'Met'"),
        (lambda e: replace(e, masks={**e.masks, "Jets": e.masks["Jets"][:, :4]}), MismatchError, "expected (3, 5)"),
        (lambda e: replace(e, regressions={}), UnknownName, "name in regressions in the events: 'EVENT/mass'"),
        (lambda e: AssignmentEvents(e.values, e.masks), MismatchError, "the events have no targets"),
        (
            lambda e: replace(e, targets={**e.targets, "w": e.targets["w"] + 2}),
            InvalidValues,
            "w/l: out of range, -1 to",
        ),
        (lambda e: replace(e, targets={**e.targets, "w": e.targets["w"] - 5}), InvalidValues, "of input 'Leptons'"),
    ],
)
def test_events_that_do_not_fit(
    tmp_path: Path, change: Callable[[Any], Any], error: type[Exception], message: str
) -> None:
    with (
        pytest.raises(error, match=re.escape(message)),
        DatasetWriter(tmp_path / "x.h5", EVENT, SLOTS) as writer,
    ):
        writer.append(change(random_events(3)))
    assert list(tmp_path.iterdir()) == []


def test_slots_are_given(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape("no number of slots for input 'Leptons' (nearest: leptons")):
        DatasetWriter(tmp_path / "x.h5", EVENT, {"Jets": 4, "leptons": 2})
    writer = DatasetWriter(tmp_path / "x.h5", EVENT, SLOTS)
    with pytest.raises(MismatchError, match="is not open"):
        writer.append(random_events(3))


# ------------------------------------------------------------------------------------------------------- bad files


def change(path: Path, place: str, values: Any) -> None:
    with h5py.File(path, "r+") as file:
        del file[place]
        if values is not None:
            file[place] = values


@pytest.mark.parametrize(
    ("place", "values", "error", "message"),
    [
        ("TARGETS/t/q1", None, MissingColumns, "lacks datasets that the event file needs: TARGETS/t/q1 (nearest: q2"),
        ("INPUTS/Jets/MASK", None, MissingColumns, "INPUTS/Jets/MASK"),
        ("INPUTS/Leptons", None, MissingColumns, "INPUTS/Leptons/MASK (nearest: Jets); INPUTS/Leptons/pt"),
        ("TARGETS", None, MissingColumns, "TARGETS/t/q1"),
        ("CLASSIFICATIONS/EVENT/signal", None, MissingColumns, "CLASSIFICATIONS/EVENT/signal"),
        (
            "TARGETS/t/q1",
            np.zeros(39, int),
            MismatchError,
            "unequal length: 40 in INPUTS/Met/MASK and 17 more, 39 in TAR",
        ),
        ("TARGETS/t/q1", np.zeros(40), InputFileError, "TARGETS/t/q1 has the dtype float64, expected whole numbers"),
        ("TARGETS/t/q1", np.zeros((40, 1), int), InputFileError, "has the shape (40, 1), expected (events)"),
        ("INPUTS/Jets/pt", np.zeros((40, 6)), MismatchError, "has the shape (40, 6), and INPUTS/Jets/MASK has (40, 5)"),
        ("INPUTS/Jets/pt", np.zeros(40), InputFileError, "has the shape (40,), expected (events, slots)"),
        ("INPUTS/Jets/MASK", np.zeros((40, 5)), InputFileError, "has the dtype float64, expected booleans"),
        ("INPUTS/Jets/pt", np.full((40, 5), b"1"), InputFileError, "has the dtype |S1, expected numbers"),
        ("INPUTS/Met/met", 5.0, InputFileError, "has the shape (), expected (events)"),
    ],
)
def test_another_layout(dataset: Path, place: str, values: Any, error: type[Exception], message: str) -> None:
    change(dataset, place, values)
    with pytest.raises(error, match=re.escape(message)) as caught:
        AssignmentDataset(dataset, EVENT)
    assert str(dataset) in str(caught.value)


def test_every_missing_dataset_has_its_nearest_names(dataset: Path) -> None:
    with h5py.File(dataset, "r+") as file:
        file.move("INPUTS/Jets/pt", "INPUTS/Jets/pT")
        file.move("INPUTS/Leptons", "INPUTS/Lepton")
        file.move("TARGETS/w", "TARGETS/W")
    with pytest.raises(MissingColumns) as caught:
        AssignmentDataset(dataset, EVENT)
    text = str(caught.value)
    assert "INPUTS/Jets/pt (nearest: pT" in text
    assert "INPUTS/Leptons/MASK (nearest: Lepton" in text
    assert "TARGETS/w/l (nearest: W" in text


def edit(path: Path, place: str, index: Any, value: Any) -> None:
    with h5py.File(path, "r+") as file:
        file[place][index] = value


@pytest.mark.parametrize(
    ("place", "index", "value", "message"),
    [
        ("INPUTS/Jets/pt", (7, 1), np.nan, "INPUTS/Jets/pt: NaN in 1 events, first in event 7"),
        ("INPUTS/Met/met", [3, 9], np.nan, "INPUTS/Met/met: NaN in 2 events, first in event 3"),
        ("INPUTS/Jets/eta", (7, 1), np.inf, "INPUTS/Jets/eta: infinite in 1 events, first in event 7"),
        (
            "INPUTS/Jets/pt",
            (7, 1),
            -1.5,
            "INPUTS/Jets/pt: at most -1 with the option log in 1 events, first in event 7",
        ),
        ("TARGETS/t/b", 7, 7, "TARGETS/t/b: out of range, -1 to 6 of all inputs, in 1 events, first in event 7"),
        ("TARGETS/t/b", 7, -2, "TARGETS/t/b: out of range, -1 to 6 of all inputs, in 1 events, first in event 7"),
        ("TARGETS/t/q1", 7, 5, "TARGETS/t/q1: out of range, -1 to 4 of input 'Jets', in 1 events, first in event 7"),
        ("INPUTS/Leptons/MASK", (7, 0), False, "TARGETS/w/l: on a padded slot in 1 events, first in event 7"),
        ("TARGETS/t/MASK", 8, True, "missing (-1) although TARGETS/t/MASK is true, in 1 events, first in event 8"),
        ("TARGETS/t/WEIGHT", 8, -1.0, "TARGETS/t/WEIGHT: negative or not finite in 1 events, first in event 8"),
        ("REGRESSIONS/EVENT/mass", 8, np.inf, "REGRESSIONS/EVENT/mass: infinite in 1 events, first in event 8"),
        ("CLASSIFICATIONS/EVENT/signal", 8, -2, "CLASSIFICATIONS/EVENT/signal: below -1 in 1 events, first in event 8"),
    ],
)
def test_events_that_cannot_be_used(dataset: Path, place: str, index: Any, value: Any, message: str) -> None:
    edit(dataset, place, index, value)
    read = AssignmentDataset(dataset, EVENT)
    with pytest.raises(InvalidValues, match=re.escape(message)):
        list(read.blocks(10))
    assert sum(block.n_events for block in read.blocks(6, check=False)) == 40


def test_one_object_for_two_daughters(dataset: Path) -> None:
    with h5py.File(dataset, "r+") as file:
        file["TARGETS/t/q1"][7] = file["TARGETS/t/q2"][7]
    with pytest.raises(InvalidValues, match="TARGETS/t: one object for two daughters in 1 events, first in event 7"):
        AssignmentDataset(dataset, EVENT).read()


def test_nan_on_padded_slots_is_none(dataset: Path) -> None:
    with h5py.File(dataset, "r+") as file:
        mask = file["INPUTS/Jets/MASK"][:]
        file["INPUTS/Jets/pt"][...] = np.where(mask, file["INPUTS/Jets/pt"][:], np.nan)
    assert (AssignmentDataset(dataset, EVENT).read().values["Jets"][~mask] == 0).all()


def test_masks_as_integers_are_read_and_nothing_else(dataset: Path) -> None:
    with h5py.File(dataset, "r+") as file:
        mask = file["INPUTS/Jets/MASK"][:].astype(np.uint8)
        del file["INPUTS/Jets/MASK"]
        file["INPUTS/Jets/MASK"] = mask
    read = AssignmentDataset(dataset, EVENT)
    same(read.read(), random_events(40))
    edit(dataset, "INPUTS/Jets/MASK", (3, 2), 2)
    with pytest.raises(InvalidValues, match=r"INPUTS/Jets/MASK of event 3 has values other than 0 and 1"):
        read.read()


def test_a_damaged_file(dataset: Path, tmp_path: Path) -> None:
    content = dataset.read_bytes()
    (tmp_path / "short.h5").write_bytes(content[: len(content) // 2])
    (tmp_path / "other.h5").write_bytes(b"root" * 100)
    for name in ("short", "other"):
        with pytest.raises(InputFileError, match=rf"{name}\.h5 is not a readable HDF5 file \(truncated or damaged\?\)"):
            AssignmentDataset(tmp_path / f"{name}.h5", EVENT)
    with pytest.raises(InputFileError, match="no such file"):
        AssignmentDataset(tmp_path / "absent.h5", EVENT)
    with pytest.raises(InputFileError, match="no such file"):
        AssignmentDataset(tmp_path, EVENT)


def test_a_damaged_chunk_is_named(dataset: Path) -> None:
    with h5py.File(dataset) as file:
        chunk = file["INPUTS/Jets/pt"].id.get_chunk_info(0)
    content = bytearray(dataset.read_bytes())
    for position in range(chunk.byte_offset, chunk.byte_offset + chunk.size):
        content[position] ^= 0xFF
    dataset.write_bytes(bytes(content))
    with pytest.raises(InputFileError, match="cannot read rows 0 to 39 of INPUTS/Jets/pt"):
        AssignmentDataset(dataset, EVENT).read()


# ------------------------------------------------------------------------------------------------ what a file holds


def test_a_report_counts_what_the_file_holds(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    event = tmp_path / "event.yaml"
    write_event_file(event, EVENT)
    report = check_dataset(dataset, event)
    events = random_events(40)
    assert report.usable
    assert report.problems == ()
    assert (report.events, report.slots) == (40, {"Met": 1, "Jets": 5, "Leptons": 2})
    assert report.particles["t"].events == 30
    assert report.partly["t"].events == 10
    assert {label: share.events for label, share in report.combinations.items()} == {
        "none": 0,
        "t": 0,
        "w": 10,
        "t+w": 30,
    }
    objects = events.masks["Jets"].sum(axis=1) + events.masks["Leptons"].sum(axis=1)
    for row in report.by_objects:
        here = objects == row.objects
        assert row.events == here.sum()
        assert row.particles["t"].events == row.complete.events == (events.target_masks["t"] & here).sum()
    classes, counts = np.unique(events.classifications["EVENT/signal"], return_counts=True)
    assert report.classes == {"EVENT/signal": dict(zip(classes.tolist(), counts.tolist(), strict=True))}
    assert report.regressions["EVENT/mass"].events == np.isfinite(events.regressions["EVENT/mass"]).sum()
    assert report.weights["t"][1] == pytest.approx(events.weights["t"].mean(), rel=1e-6)
    assert set(report.weights) == {"t"}

    output = tmp_path / "check.json"
    assert main(["assignment", "check", str(dataset), "--event", str(event), "-o", str(output)]) == 0
    content = json.loads(output.read_text())
    assert content["particles"]["t"]["events"] == 30
    assert content["provenance"] == read_provenance(output)
    assert content["provenance"]["files"] == [str(dataset), str(event)]
    said = capsys.readouterr().out
    assert "no problems" in said
    assert re.search(r"^t +30 +0\.750 \+- 0\.068 +10$", said, re.MULTILINE)


def test_a_report_lists_all_that_is_wrong(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with h5py.File(dataset, "r+") as file:
        file["INPUTS/Jets/pt"][30:33, 0] = np.nan
        file["TARGETS/t/b"][5] = 5  # the object of the lepton, too
        file["TARGETS/t/q1"][6] = file["TARGETS/t/q2"][6]
    report = check_dataset(AssignmentDataset(dataset, EVENT))
    assert not report.usable
    assert [str(problem) for problem in report.problems] == [
        "INPUTS/Jets/pt: NaN in 3 events, first in event 30",
        "TARGETS/t: one object for two daughters in 1 events, first in event 6",
        "TARGETS: one object for two particles in 1 events, first in event 5",
    ]
    assert [problem.fatal for problem in report.problems] == [True, True, False]
    write_event_file(tmp_path / "event.yaml", EVENT)
    assert main(["assignment", "check", str(dataset), "--event", str(tmp_path / "event.yaml")]) == 1
    assert re.search(r"^unusable +INPUTS/Jets/pt +NaN +3 +30$", capsys.readouterr().out, re.MULTILINE)


def test_a_report_without_labels_or_events(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = random_events(6)
    path = written(tmp_path / "bare.h5", AssignmentEvents(events.values, events.masks), labels=False)
    write_event_file(tmp_path / "event.yaml", EVENT)
    line = ["assignment", "check", str(path), "--event", str(tmp_path / "event.yaml")]
    assert main(line) == 2
    assert "lacks datasets that the event file needs: TARGETS/t/q1" in capsys.readouterr().err
    assert main([*line, "--no-labels"]) == 0
    with DatasetWriter(tmp_path / "empty.h5", EVENT, SLOTS):
        pass
    report = check_dataset(tmp_path / "empty.h5", EVENT)
    assert report.events == 0
    assert report.to_dict()["particles"]["t"]["share"] is None
    with pytest.raises(ConfigError, match="expected the event file"):
        check_dataset(path)


@pytest.mark.data
def test_the_example_of_the_original_in_numbers(shared: Path) -> None:
    report = check_dataset(shared / "spanet" / "examples" / "ttbar.h5", shared / "spanet" / "ttbar_event.yaml")
    assert report.usable
    assert {name: share.events for name, share in report.particles.items()} == {"t1": 5009, "t2": 5042}
    assert {name: share.events for name, share in report.combinations.items()} == {
        "none": 2262,
        "t1 or t2": 5425,
        "t1+t2": 2313,
    }
    report = check_dataset(shared / "spanet" / "examples" / "ttH.h5", shared / "spanet" / "ttH_event.yaml")
    assert report.combinations["none"].events == 331
    assert report.classes == {"EVENT/signal": {0: 326, 1: 674}}


@pytest.mark.data
def test_the_output_on_the_page_is_that_of_the_command(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = shared / "spanet"
    event = str(folder / "ttbar_event.yaml")
    assert main(["assignment", "check", str(folder / "examples/ttbar.h5"), "--event", event]) == 0
    (block,) = blocks("docs/assignment.md", "text", "matching efficiency")
    assert block in "".join(f"{line.rstrip()}\n" for line in capsys.readouterr().out.splitlines())


# ------------------------------------------------------------------------------------------------ several as one


def test_files_one_after_the_other(tmp_path: Path) -> None:
    first, second = random_events(7, 1), replace(random_events(5, 2), weights={})
    one, other = written(tmp_path / "a.h5", first), written(tmp_path / "b.h5", second)
    with h5py.File(one, "r+") as file:
        file["NOTES"] = np.arange(3)
    made = concatenate_datasets([one, other], tmp_path / "ab.h5")
    assert made.events == (7, 5)
    assert made.left_out == ("NOTES",)
    both = AssignmentDataset(tmp_path / "ab.h5", EVENT)
    same(both.read(0, 7), first)
    same(both.read(7), second)  # weights that only one of the files has are 1 in the other
    record = read_provenance(tmp_path / "ab.h5")
    assert record["files"] == [str(one), str(other)]
    assert set(record["configuration"]["records"]) == {str(one), str(other)}
    assert main(["assignment", "concatenate", str(one), str(other), "-o", str(tmp_path / "ab.h5")]) == 2
    assert main(["assignment", "concatenate", str(one), str(other), "-o", str(tmp_path / "ab.h5"), "--force"]) == 0


@pytest.mark.parametrize(
    ("place", "values", "error", "message"),
    [
        ("REGRESSIONS/EVENT/mass", None, MismatchError, "REGRESSIONS/EVENT/mass is in {a}, but not in {b}: expected"),
        ("TARGETS/t/MASK", None, MismatchError, "TARGETS/t/MASK is in {a}, but not in {b}"),
        (
            "INPUTS/Jets/pt",
            np.zeros((5, 6)),
            MismatchError,
            "rows of shape (5,) in {a} and (6,) in {b}: expected the same",
        ),
        ("INPUTS/Jets/pt", np.zeros((5, 5), int), MismatchError, "the dtype float32 in {a} and int64 in {b}"),
        (
            "INPUTS/Jets/pt",
            np.zeros((4, 5)),
            MismatchError,
            "{b}: datasets of unequal length: 5 in INPUTS/Jets/MASK, 4",
        ),
        ("INPUTS", None, InputFileError, "{b} has no dataset INPUTS/<input>/MASK"),
    ],
)
def test_files_that_do_not_go_together(
    tmp_path: Path, place: str, values: Any, error: type[Exception], message: str
) -> None:
    one, other = written(tmp_path / "a.h5", random_events(7, 1)), written(tmp_path / "b.h5", random_events(5, 2))
    change(other, place, values)
    with pytest.raises(error, match=re.escape(message.format(a=one, b=other))):
        concatenate_datasets([one, other], tmp_path / "ab.h5")
    assert not (tmp_path / "ab.h5").exists()


def test_no_file_counts_twice(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(MismatchError, match="given twice"):
        concatenate_datasets([dataset, dataset], tmp_path / "x.h5")
    with pytest.raises(OutputError, match="is an input"):
        concatenate_datasets([dataset], dataset, force=True)
    with pytest.raises(ConfigError, match="no files"):
        concatenate_datasets([], tmp_path / "x.h5")


# ------------------------------------------------------------------------------------------------------ old layout

OLD_EVENT = parse_event_text(
    "INPUTS: {SEQUENTIAL: {Source: {pt: log_normalize, eta: normalize}}}\nEVENT: {t1: [q1, q2, b], t2: [q1, q2, b]}\n"
)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return old_file(tmp_path / "old.h5")


def old_file(path: Path) -> Path:
    """As SPANet's documentation of 2021 has it."""
    generator = np.random.default_rng(1)
    with h5py.File(path, "w") as file:
        mask = np.arange(8) < generator.integers(6, 9, (50, 1))
        file["source/mask"] = mask
        for name in ("pt", "eta", "unused"):
            file[f"source/{name}"] = np.where(mask, generator.uniform(1, 2, mask.shape), -5)
        order = generator.permuted(np.tile(np.arange(6), (50, 1)), axis=1)
        order[::5, 1] = -1
        for number, particle in enumerate(("t1", "t2")):
            for column, name in enumerate(("q1", "q2", "b")):
                file[f"{particle}/{name}"] = order[:, 3 * number + column]
            file[f"{particle}/mask"] = (order[:, 3 * number : 3 * number + 3] >= 0).all(axis=1)
    return path


def test_the_old_layout_is_converted(old: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    event = tmp_path / "event.yaml"
    write_event_file(event, OLD_EVENT)
    line = ["assignment", "convert", str(old), "--event", str(event), "-o", str(tmp_path / "new.h5")]
    assert main(line) == 0
    assert "new.h5: 50 events" in capsys.readouterr().out
    events = AssignmentDataset(tmp_path / "new.h5", event).read()
    with h5py.File(old) as file:
        mask = file["source/mask"][:]
        np.testing.assert_array_equal(events.masks["Source"], mask)
        np.testing.assert_allclose(events.values["Source"][..., 0], np.where(mask, file["source/pt"][:], 0), rtol=1e-6)
        for particle in ("t1", "t2"):
            np.testing.assert_array_equal(events.target_masks[particle], file[f"{particle}/mask"][:])
            for column, name in enumerate(("q1", "q2", "b")):
                np.testing.assert_array_equal(events.targets[particle][:, column], file[f"{particle}/{name}"][:])
    assert read_provenance(tmp_path / "new.h5")["step"] == "convert"
    assert main(line) == 2
    assert main([*line, "--force"]) == 0


def test_old_files_with_several_inputs(old: Path, tmp_path: Path) -> None:
    event = parse_event_text(
        "INPUTS: {GLOBAL: {MET: {met: log}}, SEQUENTIAL: {LEPTONS: {pt: log}, JETS: {pt: log}}}\n"
        "EVENT: {t1: [q1: JETS, q2: JETS, b: JETS]}"
    )
    with h5py.File(old, "r+") as file:
        file.move("source", "jets")
        file["LEPTONS/pt"] = np.ones((50, 2))
        file["LEPTONS/mask"] = np.ones((50, 2), bool)
        file["MET/met"] = np.arange(50.0)
    assert convert_dataset(old, event, tmp_path / "new.h5") == 50
    events = AssignmentDataset(tmp_path / "new.h5", event).read()
    with h5py.File(old) as file:
        local = file["t1/b"][:]
    np.testing.assert_array_equal(events.targets["t1"][:, 2], np.where(local >= 0, local + 2, -1))
    assert events.values["MET"][:, 0, 0].tolist() == list(range(50))


@pytest.mark.parametrize(
    ("place", "values", "error", "message"),
    [
        ("source/pt", None, MissingColumns, "lacks datasets of the old layout: source/pt"),
        ("t1/q1", None, MissingColumns, "t1/q1 (nearest: q2"),
        ("t2", None, MissingColumns, "t2/q1 (nearest: t1); t2/q2"),
        ("source", None, MissingColumns, "group 'source' of input 'Source'"),
        ("t1/q1", np.zeros(49, int), MismatchError, "datasets of unequal length"),
        ("t1/q1", np.zeros(50), InputFileError, "t1/q1 has the dtype float64, expected whole numbers"),
        ("source/pt", np.zeros(50), InputFileError, "source/pt has the shape (50,), expected (events, slots)"),
        ("t1/q1", np.full(50, 9), InvalidValues, "TARGETS/t1/q1: out of range, -1 to 7 of all inputs"),
    ],
)
def test_old_files_that_are_not_complete(
    old: Path, tmp_path: Path, place: str, values: Any, error: type[Exception], message: str
) -> None:
    change(old, place, values)
    with pytest.raises(error, match=re.escape(message)):
        convert_dataset(old, OLD_EVENT, tmp_path / "new.h5")
    assert not (tmp_path / "new.h5").exists()


def test_what_is_new_already_is_not_converted(dataset: Path, old: Path, tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="is in the present layout already"):
        convert_dataset(dataset, EVENT, tmp_path / "new.h5")
    with pytest.raises(InputFileError, match="'jettagger assignment convert'"):
        concatenate_datasets([old], tmp_path / "new.h5")


def test_without_h5py_the_install_line_is_said(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtra, match=r"pip install 'jettagger\[hdf5\]'"):
        AssignmentDataset(dataset, EVENT)


def test_random_changes_of_bytes_give_our_errors_or_nothing(tmp_path: Path) -> None:
    """Checked with thousands; what lies in heaps of HDF5 can make its library hang, so that no text does."""
    path = written(tmp_path / "x.h5", random_events(20))
    content = path.read_bytes()
    rng = np.random.default_rng(5)
    refused = 0
    for number in range(150):
        damaged = np.frombuffer(content, np.uint8).copy()
        places = rng.integers(len(damaged), size=rng.integers(1, 6))
        damaged[places] = rng.integers(256, size=len(places))
        other = tmp_path / f"{number}.h5"
        other.write_bytes(damaged.tobytes())
        for read in (lambda name: AssignmentDataset(name, EVENT).read(), read_provenance):
            try:
                read(other)
            except JettaggerError:
                refused += 1
    assert 20 < refused < 280
