"""Files with one row per jet: the same jets from every kind of file, in any range, under any name."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st

from jettagger.errors import InputFileError, UnknownName
from jettagger.files.rntuple import field_paths, is_rntuple
from jettagger.files.tables import FlatFile, members

N_JETS = 23
KINDS = ("tree", "ntuple", "parquet", "one group", "member")


def jets() -> dict[str, Any]:
    rng = np.random.default_rng(6)
    counts = rng.integers(0, 4, N_JETS)
    counts[[0, -1]] = 0
    total = int(counts.sum())
    return {
        "jet_pt": rng.uniform(300, 500, N_JETS).astype("f4"),
        "jet_number": np.arange(N_JETS, dtype="i8") * 10**12,
        "part_px": ak.unflatten(rng.normal(size=total).astype("f4"), counts),
        "part_pid": ak.unflatten(rng.choice([211, -211, 22], total).astype("i4"), counts),
    }


COLUMNS = jets()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """In folders whose names are not ASCII; the tree and one parquet file in several pieces."""
    folder = tmp_path_factory.mktemp("tables") / "jets à 1 TeV – η"
    folder.mkdir()
    paths = {kind: str(folder / f"{kind}.{'root' if 'ree' in kind or 'nt' in kind else 'parquet'}") for kind in KINDS}
    with uproot.recreate(paths["tree"]) as file:
        file.mktree("tree", {name: ak.type(column).content for name, column in COLUMNS.items()})
        for start in range(0, N_JETS, 9):
            file["tree"].extend({name: column[start : start + 9] for name, column in COLUMNS.items()})
    with uproot.recreate(paths["ntuple"]) as file:
        file.mkrntuple("tree", COLUMNS)
    for kind, bits, rows in (("parquet", True, 5), ("one group", False, 100)):
        arrays = {name: ak.to_arrow(column, extensionarray=False, list_to32=bits) for name, column in COLUMNS.items()}
        pq.write_table(pa.table(arrays), paths[kind], row_group_size=rows)
    with tarfile.open(folder / "all.tar.gz", "w:gz") as archive:
        for kind in ("parquet", "tree"):
            archive.add(paths[kind], f"dir/{Path(paths[kind]).name}")
        archive.addfile(tarfile.TarInfo("README"))
    paths["member"] = f"{folder / 'all.tar.gz'}::dir/tree.root"
    return paths


@settings(max_examples=25)
@given(kind=st.sampled_from(KINDS), start=st.integers(0, N_JETS), number=st.integers(0, N_JETS + 3), data=st.data())
def test_any_range_of_any_file(files: dict[str, str], kind: str, start: int, number: int, data: st.DataObject) -> None:
    """Also empty ones, and those that end behind the file; two in a row from one file."""
    names = data.draw(st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, unique=True))
    with FlatFile(files[kind]) as file:
        for first in (start, max(start - 2, 0)):
            found = file.read(names, first, first + number)
            assert found.fields == names
            for name in names:
                expected = COLUMNS[name][first : first + number]
                assert found[name].tolist() == expected.tolist()
                if len(expected):
                    assert (
                        str(found[name].type).partition(" * ")[2]
                        == str(ak.type(ak.Array(expected))).partition(" * ")[2]
                    )


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_file_says_of_itself(files: dict[str, str], kind: str) -> None:
    with FlatFile(files[kind]) as file:
        # trees have a counter for each list
        counters = [f"n{name}" for name in COLUMNS if kind in ("tree", "member") and name.startswith("part")]
        assert (file.n_jets, file.names) == (N_JETS, sorted([*COLUMNS, *counters]))
        assert file.fields == file.collections == file.names
        assert file.has("jet_pt")
        assert not file.has("jet_p")
        with pytest.raises(UnknownName, match=r"jet_p.*nearest: jet_pt"):
            file.read(["jet_p"])
        assert file.read().fields == file.names
        assert file.read(["jet_pt", "part_px", "jet_pt"]).fields == ["jet_pt", "part_px"]
        pieces = list(file.chunks(["jet_number"], size=10))
        assert [len(piece) for piece in pieces] == [10, 10, 3]
        assert ak.concatenate(pieces).jet_number.tolist() == COLUMNS["jet_number"].tolist()


def test_members_are_files_of_jets_alone(files: dict[str, str], tmp_path: Path) -> None:
    archive = files["member"].partition("::")[0]
    assert members(archive) == ([f"{archive}::dir/parquet.parquet", files["member"]], "")
    with FlatFile(members(archive)[0][0]) as file:
        assert file.n_jets == N_JETS
    with pytest.raises(InputFileError, match=r"is a tarball, expected one of its members: .*::dir/parquet\.parquet"):
        FlatFile(archive)
    with pytest.raises(InputFileError, match=r"has no member 'dir/tre\.root' \(nearest: dir/tree\.root\)"):
        FlatFile(f"{archive}::dir/tre.root")
    for call in (members, lambda path: FlatFile(f"{path}::x.root")):
        with pytest.raises(InputFileError, match=r"no such file: .*absent\.tar"):
            call(tmp_path / "absent.tar")  # type: ignore[operator]
    (tmp_path / "text.tar").write_text("no tarball")
    with pytest.raises(InputFileError, match="is not a readable tarball"):
        members(tmp_path / "text.tar")


def test_one_of_several_trees_is_named(tmp_path: Path) -> None:
    path = tmp_path / "two.root"
    with uproot.recreate(path) as file:
        for place, name in enumerate(("one", "two")):
            file.mktree(name, {"x": "i4"})
            file[name].extend({"x": np.arange(place, 3, dtype="i4")})
        file["note"] = "text"
    with FlatFile(path, tree="two") as file:
        assert file.read().x.tolist() == [1, 2]
    with pytest.raises(InputFileError, match="has several trees; it holds one, two, note"):
        FlatFile(path)
    with pytest.raises(InputFileError, match=r"has no tree 'tow' \(nearest: two\); it holds one, two, note"):
        FlatFile(path, tree="tow")
    with uproot.recreate(tmp_path / "none.root") as file:
        file["note"] = "text"
    with pytest.raises(InputFileError, match="has no tree; it holds note"):
        FlatFile(tmp_path / "none.root")


@pytest.mark.parametrize("wide", [False, True], ids=["32 bits", "64 bits"])
def test_missing_numbers_of_parquet_stay_missing(wide: bool, tmp_path: Path) -> None:
    """Arrow allows them everywhere: the option goes where there is none, and only there; lists of either width."""

    def widened(kind: pa.DataType) -> pa.DataType:
        return pa.large_list(widened(kind.value_type)) if wide and pa.types.is_list(kind) else kind

    columns = {
        "full": [[1.0], [], [2.0, 3.0]],
        "inside": [[1.0], [None], []],
        "whole": [[1.0], None, []],
        "deep": [[[1.0], []], [], [[2.0, 3.0]]],
        "number": [1, None, 3],
    }
    arrays = {name: pa.array(values) for name, values in columns.items()}
    table = pa.table({name: array.cast(widened(array.type)) for name, array in arrays.items()})
    pq.write_table(table, tmp_path / "jets.parquet")
    with FlatFile(tmp_path / "jets.parquet") as file:
        found = file.read(list(columns))
        part = file.read(["deep", "full"], 1, 3)
    assert {name: found[name].tolist() for name in found.fields} == columns
    assert {name: part[name].tolist() for name in part.fields} == {name: columns[name][1:] for name in ("deep", "full")}
    assert {name: str(found[name].type) for name in found.fields} == {
        "full": "3 * var * float64",
        "inside": "3 * var * ?float64",
        "whole": "3 * option[var * float64]",
        "deep": "3 * var * var * float64",
        "number": "3 * ?int64",
    }


def test_files_without_jets(tmp_path: Path) -> None:
    empty = {"jet_pt": np.zeros(0, "f4")}
    pq.write_table(pa.table(empty), tmp_path / "none.parquet")
    with uproot.recreate(tmp_path / "none.root") as file:
        file.mktree("tree", {"jet_pt": "f4"})
    for name in ("none.parquet", "none.root"):
        with FlatFile(tmp_path / name) as table:
            assert table.n_jets == 0
            assert table.read(["jet_pt"]).jet_pt.tolist() == []
            assert list(table.chunks()) == []


def test_records_of_an_rntuple_are_flat_columns(tmp_path: Path) -> None:
    """Lists of records, records, lists and numbers, as uproot writes them: each path gives what was written."""
    jagged = ak.Array([[{"pt": 1.0, "n_b": 2}], [], [{"pt": 3.0, "n_b": 4}, {"pt": 5.0, "n_b": 6}]])
    content = {
        "FatJet": jagged,
        "MET": ak.Array([{"pt": 7.0}, {"pt": 8.0}, {"pt": 9.0}]),
        "weights": ak.Array([[1.0], [2.0, 3.0], []]),
        "event": np.arange(3),
    }
    with uproot.recreate(tmp_path / "x.root") as file:
        file.mkrntuple("Events", content)
        file.mktree("tree", {"x": "i4"})
    with uproot.open(tmp_path / "x.root") as file:
        events = file["Events"]
        assert is_rntuple(events)
        assert not is_rntuple(file["tree"])
        paths = field_paths(events)
        assert set(paths) == {"FatJet_pt", "FatJet_n_b", "MET_pt", "weights", "event"}
        found = {name: events[path].array().tolist() for name, path in paths.items()}
    assert found["FatJet_pt"] == jagged.pt.tolist()
    assert found["FatJet_n_b"] == jagged.n_b.tolist()
    assert found["MET_pt"] == [7, 8, 9]
    assert (found["weights"], found["event"]) == (content["weights"].tolist(), [0, 1, 2])
