"""Datasets of whole events: SPANet's layout in detail, blocks, and what a bad file says."""

from __future__ import annotations

import json
import re
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

h5py = pytest.importorskip("h5py")

from jettagger.assignment import AssignmentDataset, AssignmentEvents, DatasetWriter  # noqa: E402
from jettagger.errors import (  # noqa: E402
    ConfigError,
    InputFileError,
    InvalidValues,
    MismatchError,
    MissingColumns,
    OutputError,
    UnknownName,
)
from jettagger.provenance import Provenance, read_provenance  # noqa: E402
from jettagger.topology.eventfile import parse_event_text  # noqa: E402

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


@given(st.integers(0, 30), st.integers(1, 40), st.integers(0, 1000))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_blocks_are_the_file_in_parts(tmp_path: Path, count: int, size: int, seed: int) -> None:
    events = random_events(count, seed)
    dataset = AssignmentDataset(written(tmp_path / "events.h5", events), EVENT)
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
    """Ten times the events need no more memory at a time; the file itself does not fit into it."""
    peaks = []
    for repeats in (4, 40):
        path = tmp_path / f"{repeats}.h5"
        events = random_events(2000)
        tracemalloc.start()
        with DatasetWriter(path, EVENT, SLOTS) as writer:
            for _ in range(repeats):
                writer.append(events)
        for block in AssignmentDataset(path, EVENT).blocks(2000):
            assert block.n_events == 2000
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


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
    with pytest.raises(OutputError, match="exists already"), DatasetWriter(path, EVENT, SLOTS, force=False):
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
