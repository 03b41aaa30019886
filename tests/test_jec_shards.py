"""Files of jets at locations: read, divided, written; what does not fit is an error that says what and where."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import fsspec
import numpy as np
import pytest
import uproot
from hypothesis import given
from hypothesis import strategies as st
from jec_jets import CONFIG, make_jets, write_location
from jecs import SHARED

from jettagger.config.yamlfile import yaml_text
from jettagger.errors import (
    ConfigError,
    InputFileError,
    JettaggerError,
    MismatchError,
    MissingColumns,
    MissingExtra,
    OutputError,
)
from jettagger.jec import RawJets, open_data, read_config, read_shard, write_data, write_shard
from jettagger.jec.rows import branches_of
from jettagger.jec.shards import JetFile, branch_names, jet_files, jets_of_files, split_files

CONFIGURATION = read_config(yaml_text(CONFIG), name="example")
BRANCHES = branches_of(CONFIGURATION.features)


def equal(one: RawJets, other: RawJets) -> None:
    for name, values in one.columns.items():
        np.testing.assert_array_equal(values, other.columns[name], err_msg=name)
        assert values.dtype == other.columns[name].dtype
    for name, counts in one.counts.items():
        np.testing.assert_array_equal(counts, other.counts[name])


def test_shards_of_the_original_have_all_branches() -> None:
    if not SHARED.is_dir():
        pytest.skip("the shards of the original are not here")
    config = read_config(SHARED / "tests" / "test_config.yaml")
    data = open_data(config.data.location)
    assert (len(data.files), len(data)) == (5, 50)
    jets = [read_shard(file, branches_of(config.features)) for file in data.files]
    assert [sum(int(each.counts[name].sum()) for each in jets) for name in ("ch", "ne", "sv")] == [831, 694, 42]
    assert jets[0].columns["ch_pt"].dtype == np.float32
    assert jets[0].columns["ch_id"].dtype == np.int32
    data.checked_transforms(config)


def test_written_jets_are_read_unchanged_in_pieces_of_any_size(tmp_path: Path) -> None:
    jets = make_jets(23)
    write_shard(tmp_path / "a.root", jets)
    columns = {name: jets.columns[name] for names in BRANCHES.values() for name in names}
    equal(RawJets(columns, jets.counts), read_shard(tmp_path / "a.root", BRANCHES))
    for step in (1, 7, 0):
        pieces = list(jets_of_files([tmp_path / "a.root"], BRANCHES, step=step))
        assert [first for _, first, _ in pieces] == list(range(0, 23, step or 23))
        for _, first, piece in pieces:
            equal(piece, RawJets(columns, jets.counts).take(np.arange(first, first + len(piece))))
    equal(
        read_shard(tmp_path / "a.root", BRANCHES, start=5, stop=9), RawJets(columns, jets.counts).take(np.arange(5, 9))
    )
    tree = uproot.open(tmp_path / "a.root")["Jets"]
    assert {"ch_size", "sv_size", "ch_pt", "pt"} <= set(tree.keys())
    np.testing.assert_array_equal(tree["ch_size"].array(library="np"), jets.counts["ch"])
    assert "nch" not in tree


def test_files_without_jets_or_constituents(tmp_path: Path) -> None:
    write_shard(tmp_path / "none.root", make_jets(0))
    assert len(read_shard(tmp_path / "none.root", BRANCHES)) == 0
    write_shard(tmp_path / "empty.root", make_jets(4, most=0))
    assert len(read_shard(tmp_path / "empty.root", BRANCHES).columns["ch_pt"]) == 0


def test_a_shard_is_never_replaced_by_accident(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.root", make_jets(3))
    with pytest.raises(OutputError, match=r"a.root exists already; use --force"):
        write_shard(tmp_path / "a.root", make_jets(4))
    write_shard(tmp_path / "a.root", make_jets(4), force=True)
    assert len(read_shard(tmp_path / "a.root", BRANCHES)) == 4
    write_data(tmp_path, {"a.root": 4})
    with pytest.raises(OutputError, match="exists already"):
        write_data(tmp_path, {"a.root": 4})
    with pytest.raises(OutputError, match="cannot write"):
        write_shard(tmp_path / "absent" / "a.root", make_jets(3))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.root", "data.yaml"]


@given(
    files=st.integers(0, 8),
    split=st.lists(st.integers(-1, 6), min_size=3, max_size=3),
)
def test_every_split_is_complete_and_without_overlap_or_an_error(files: int, split: list[int]) -> None:
    listed = [JetFile(str(number), 1) for number in range(files)]
    try:
        parts = split_files(listed, split)
    except ConfigError:
        named = sum(number for number in split if number > 0)
        counts = [files - named if number == -1 else number for number in split]
        assert split.count(-1) > 1 or named > files or min(counts) < 1
        return
    together = [*parts.train, *parts.validation, *parts.test]
    assert together == listed[: len(together)]
    assert len(together) + parts.unused == files
    for number, part in zip(split, (parts.train, parts.validation, parts.test), strict=True):
        assert part
        assert number in (-1, len(part))


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ([3, 2, 1], r"data.split: the split \[3, 2, 1\] asks for 6 files, there are 5"),
        ([3, 2, -1], "leaves no file for the test"),
        ([0, 2, -1], "leaves no file for the training"),
        ([3, 0, 1], "leaves no file for the validation"),
    ],
)
def test_splits_that_do_not_fit_are_refused(split: list[int], message: str) -> None:
    files = [JetFile(f"{number}.root", 10) for number in range(5)]
    with pytest.raises(ConfigError, match=message):
        split_files(files, split, where="data.split")
    with pytest.raises(ConfigError, match="leaves 2 files without jets for the validation"):
        split_files([files[0], JetFile("a", 0), JetFile("b", 0)], [1, 2, 0])


def test_a_training_without_predictions_needs_no_test_files() -> None:
    files = [JetFile(f"{number}.root", 10) for number in range(3)]
    assert split_files(files, [2, 1, 0], predict=False).test == ()
    with pytest.raises(ConfigError, match="leaves no file for the test"):
        split_files(files, [2, 1, 0])
    with pytest.raises(ConfigError, match="leaves no file for the test"):
        split_files(files, [2, 1, -1], predict=False)


def test_counts_must_be_those_of_the_list(tmp_path: Path) -> None:
    folder = write_location(tmp_path / "jets", files=2)
    write_data(folder, {"shards/0.root": 10, "shards/1.root": 11}, force=True)
    data = open_data(folder)
    with pytest.raises(MismatchError, match=r"1.root has 10 jets, expected 11 as in .*data.yaml, line 3"):
        list(jets_of_files(data.files, BRANCHES))


def test_all_missing_branches_are_listed_with_the_nearest(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.root", make_jets(3))
    wanted = {"global": ["pt", "etta"], "ch": ["ch_ptt", "ch_pt"], "ne": ["ne_pt"]}
    with pytest.raises(MissingColumns, match=r"lacks 4 of 7 .*: etta \(nearest: eta.*ch_ptt \(nearest: ch_pt.*ne_size"):
        read_shard(tmp_path / "a.root", wanted)


def write_tree(path: Path, columns: dict[str, Any]) -> None:
    with uproot.recreate(path) as file:
        file.mktree("Jets", {name: ak.type(ak.Array(values)).content for name, values in columns.items()})
        file["Jets"].extend({name: ak.Array(values) for name, values in columns.items()})


def test_sizes_must_add_up(tmp_path: Path) -> None:
    lists = ak.values_astype(ak.Array([[1.0, 2.0], []]), np.float32)
    write_tree(tmp_path / "a.root", {"pt": np.ones(2, "f4"), "ch_pt": lists, "ch_size": np.array([2, 1], "i4")})
    with pytest.raises(
        InputFileError, match="ch_pt has 0 values in jet 1, expected 1, its ch_size; sizes differ in 1 of 2"
    ):
        read_shard(tmp_path / "a.root", {"global": ["pt"], "ch": ["ch_pt"]})
    with pytest.raises(
        InputFileError, match="ch_pt has a list per jet, expected one value, since it is read for 'global'"
    ):
        read_shard(tmp_path / "a.root", {"global": ["ch_pt"]})
    with pytest.raises(InputFileError, match="pt has one value per jet, expected a list, since it is read for 'ch'"):
        read_shard(tmp_path / "a.root", {"ch": ["pt"]})


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "a.root").write_bytes(b"root" * 100)
    with uproot.recreate(tmp_path / "events.root") as file:
        file["Events"] = {"pt": np.ones(3)}
    for name, message in (
        ("a.root", "is not a readable ROOT file"),
        ("absent.root", "no such file"),
        ("events.root", "has no tree 'Jets'"),
    ):
        with pytest.raises(InputFileError, match=message):
            branch_names(tmp_path / name)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.root", make_jets(50))
    content = (tmp_path / "a.root").read_bytes()
    (tmp_path / "a.root").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputFileError):
        read_shard(tmp_path / "a.root", BRANCHES)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("files: []", "line 1: expected a list of {path: ..., count: ...}, got a mapping"),
        ("", "expected a list of {path: ..., count: ...}, got nothing"),
        ("[]", "no files"),
        ("- path: a.root", "line 1: the key 'count' is missing"),
        ("- {path: a.root, count: 1}\n- {path: b.root, counts: 1}", "line 2: unknown key 'counts' (nearest: count)"),
        ("- {path: a.root, count: -1}", "'count' must be a whole number of at least 0, got -1"),
        (
            "- {path: a.root, count: 1}\n- {path: ./a.root, count: 1}",
            "line 2: ./a.root is listed twice, first as a.root",
        ),
        ("- {path: a.root, count: 1", "not valid YAML"),
    ],
)
def test_mistakes_in_the_list_are_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        open_data(tmp_path)
    assert message in str(caught.value)


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[str]:
    """A location that is not on disk."""
    system = fsspec.filesystem("memory")
    system.put(str(write_location(tmp_path / "jets")), "/bucket/jets", recursive=True)
    yield "memory://bucket/jets"
    system.rm("/bucket", recursive=True)


def test_locations_of_fsspec_are_read_in_place_or_through_copies(remote: str, tmp_path: Path) -> None:
    data = open_data(remote)
    assert data.files[0].path == "memory://bucket/jets/shards/0.root"
    assert data.transforms().categorical == {"ch_id": (-211, 11, 211)}
    local = open_data(tmp_path / "jets")
    for file, own in zip(data.files, local.files, strict=True):
        equal(read_shard(own, BRANCHES), read_shard(file, BRANCHES))
    copies = tmp_path / "copies"
    data = open_data(remote, download=copies)
    for file, own in zip(data.files, local.files, strict=True):
        equal(read_shard(own, BRANCHES), read_shard(file, BRANCHES, download=str(copies)))
    stored = {path: path.stat().st_mtime_ns for path in copies.iterdir() if path.name != "cache"}
    assert len(stored) == 5
    read_shard(data.files[0], BRANCHES, download=str(copies))
    assert {path: path.stat().st_mtime_ns for path in copies.iterdir() if path.name != "cache"} == stored


def test_a_copy_is_made_again_when_the_file_has_changed(remote: str, tmp_path: Path) -> None:
    copies = tmp_path / "copies"
    file = open_data(remote, download=copies).files[0]
    assert len(read_shard(file, BRANCHES, download=str(copies))) == 10
    write_shard(tmp_path / "new.root", make_jets(10, seed=77))
    fsspec.filesystem("memory").put(str(tmp_path / "new.root"), "/bucket/jets/shards/0.root")
    equal(read_shard(tmp_path / "new.root", BRANCHES), read_shard(file, BRANCHES, download=str(copies)))


@pytest.mark.parametrize(
    ("location", "kind", "message"),
    [
        ("memory://absent", InputFileError, "cannot read memory://absent/data.yaml"),
        ("nonsense://bucket", InputFileError, "cannot read nonsense://bucket/data.yaml.*Protocol not known"),
        (
            "/absent/jets",
            InputFileError,
            "cannot read /absent/jets/data.yaml: No such file.*there is no folder /absent",
        ),
    ],
)
def test_locations_that_cannot_be_read(location: str, kind: type[JettaggerError], message: str) -> None:
    with pytest.raises(kind, match=message):
        open_data(location)


def test_the_package_of_a_location_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object, **__: object) -> object:
        raise ImportError("Please install gcsfs to access Google Storage")

    monkeypatch.setattr(fsspec, "open", absent)
    with pytest.raises(MissingExtra, match=r"gs://bucket/data.yaml: a package .* Please install gcsfs"):
        open_data("gs://bucket")


def test_files_and_locations_of_users(tmp_path: Path) -> None:
    folder = write_location(tmp_path / "jets", files=2)
    write_shard(tmp_path / "own.root", make_jets(3))
    files = jet_files([tmp_path / "own.root", folder])
    assert [file.count for file in files] == [None, 10, 10]
    with pytest.raises(MismatchError, match="the same file is given twice"):
        jet_files([folder, folder / "shards" / "1.root"])
    (tmp_path / "jets.txt").write_text("")
    for name, message in (("jets.txt", "neither a file .root of jets nor a folder"), ("absent", "no such file")):
        with pytest.raises(InputFileError, match=message):
            jet_files([tmp_path / name])
