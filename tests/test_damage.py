"""Single flipped bits in what is read: noticed wherever there is a checksum."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pyarrow.parquet
import pytest
import uproot

from benchmarks.damage import basket_ranges, chunk_ranges, flipped_copies, page_ranges
from jettagger.errors import InputFileError, MismatchError
from jettagger.files.root import EventFile
from jettagger.files.tables import FlatFile
from jettagger.finetuning.skims import open_skim
from jettagger.formats.nesting import nest
from jettagger.search.skims import ParquetSkim
from jettagger.skims.writers import write_skim

COLUMNS = ("event", "FatJet_pt", "FatJet_eta")


def chunk(rng: np.random.Generator, n_events: int = 200) -> dict[str, Any]:
    counts = rng.poisson(2, n_events)
    pt, eta = rng.exponential(300, counts.sum()), rng.normal(size=counts.sum())
    lists = {f"FatJet_{name}": values.astype(np.float32) for name, values in (("pt", pt), ("eta", eta))}
    events = {"event": rng.integers(0, 2**40, n_events)}
    return events | {name: ak.unflatten(values, counts) for name, values in lists.items()}


def skim(path: Path) -> Path:
    rng = np.random.default_rng(7)
    write_skim(path, [chunk(rng) for _ in range(3)], json.dumps({"model": "some", "digest": "0" * 64}))
    return path


def events_of(path: Path) -> Any:
    with EventFile(path) as file:
        return file.read(COLUMNS)


def rows_of(path: Path) -> Any:
    with FlatFile(path, tree="Events") as file:
        return file.read(COLUMNS)


def count(path: Path, folder: Path, ranges: Any, read: Callable[[Path], Any], number: int = 40) -> tuple[int, int]:
    """How many flips are noticed, and how many change what is read without a word."""
    right = read(path)
    noticed = silent = 0
    folder.mkdir()
    for copy in flipped_copies(path, folder, number, ranges, seed=3):
        try:
            silent += not ak.array_equal(read(copy), right, equal_nan=True)
        except InputFileError:
            noticed += 1
    return noticed, silent


def list_skim(path: Path) -> Any:
    return ak.concatenate(list(open_skim(str(path)).read(COLUMNS, 150)))


@pytest.mark.parametrize("read", [events_of, list_skim, rows_of])
def test_skims_in_root_notice_every_bit_of_what_is_read(read: Callable[[Path], Any], tmp_path: Path) -> None:
    path = skim(tmp_path / "skim.root")
    assert count(path, tmp_path / "copy", basket_ranges(path, COLUMNS), read) == (40, 0)


@pytest.mark.slow
def test_skims_in_root_are_never_wrong_wherever_a_bit_is_flipped(tmp_path: Path) -> None:
    path = skim(tmp_path / "skim.root")
    noticed, silent = count(path, tmp_path / "copy", None, list_skim, 60)
    assert silent == 0
    assert noticed > 20


@pytest.mark.parametrize("read", [list_skim, rows_of])
def test_skims_in_parquet_notice_every_bit_of_their_pages(read: Callable[[Path], Any], tmp_path: Path) -> None:
    path = skim(tmp_path / "skim.parquet")
    noticed, silent = count(path, tmp_path / "copy", chunk_ranges(path, COLUMNS), read)
    assert silent == 0
    assert noticed >= 35, "headers of pages hold statistics that nobody reads"


def test_a_search_looks_at_the_pages_of_parquet_before_coffea_reads_them(tmp_path: Path) -> None:
    path = skim(tmp_path / "skim.parquet")
    ranges = [(start + 100, stop) for start, stop in chunk_ranges(path, ["FatJet_pt"]) if stop - start > 200]
    (tmp_path / "copy").mkdir()
    ParquetSkim(str(path)).verify()
    for copy in flipped_copies(path, tmp_path / "copy", 5, ranges):
        with pytest.raises(InputFileError, match="cannot be read"):
            ParquetSkim(str(copy)).verify()


def test_a_search_looks_at_all_baskets_of_a_skim(tmp_path: Path) -> None:
    path = skim(tmp_path / "skim.root")
    (tmp_path / "copy").mkdir()
    for copy in flipped_copies(path, tmp_path / "copy", 5, basket_ranges(path, ["FatJet_eta"])):
        with (
            EventFile(copy) as file,
            pytest.raises(InputFileError, match=r"FatJet_eta.* in the events \d+ to \d+"),
        ):
            file.verify()


def test_the_note_of_a_skim_is_checked_too(tmp_path: Path) -> None:
    path = skim(tmp_path / "skim.root")
    content = path.read_bytes()
    assert content.count(b'"some"') == 1
    path.write_bytes(content.replace(b'"some"', b'"sole"'))
    with pytest.raises(InputFileError, match="note on how it was made"):
        open_skim(str(path))


def test_other_trees_of_a_skim_are_checked_where_they_are_read(tmp_path: Path) -> None:
    note = {"generated": [{"file": "a.root", "events": 600, "first": 0, "last": 600, "runs": {"genEventSumw": [9.0]}}]}
    path = tmp_path / "skim.root"
    write_skim(path, [chunk(np.random.default_rng(7), 600)], json.dumps(note))
    (tmp_path / "copy").mkdir()
    for copy in flipped_copies(path, tmp_path / "copy", 3, basket_ranges(path, ["genEventSumw"], "Runs")):
        with EventFile(copy) as file, pytest.raises(InputFileError, match="genEventSumw"):
            file.table("Runs")


@pytest.mark.parametrize("codec", [None, uproot.ZSTD(5)])
@pytest.mark.parametrize("kind", ["mktree", "mkrntuple"])
def test_without_checksums_flips_change_values_and_lists_are_compared(codec: Any, kind: str, tmp_path: Path) -> None:
    """What no format can notice here: values of others' trees, and of RNTuples of uproot, which writes no checksums."""
    path = tmp_path / "events.root"
    content = chunk(np.random.default_rng(7), 600)
    with uproot.recreate(path, compression=codec) as file:
        if kind == "mktree":
            kinds = {name: np.int64 if name == "event" else "var * float32" for name in content}
            tree = file.mktree("Events", kinds)
            tree.extend(content)
        else:
            file.mkrntuple("Events", content)
    ranges = (basket_ranges if kind == "mktree" else page_ranges)(path, COLUMNS)
    noticed, silent = count(path, tmp_path / "copy", ranges, events_of)
    assert noticed + silent > 0
    assert silent < 40


@pytest.mark.slow
@pytest.mark.data
def test_pages_of_rntuples_are_checked(shared: Path, tmp_path: Path) -> None:
    path = shared / "cms" / "pfnano_rntuple.root"
    columns = ("FatJet_pt", "PFCands_pt", "FatJetPFCands_jetIdx")

    def read(path: Path) -> Any:
        with EventFile(path) as file:
            return file.read(columns)

    assert count(path, tmp_path / "copy", page_ranges(path, columns), read, 5) == (5, 0)


def test_columns_of_a_collection_have_the_same_lengths() -> None:
    pt, eta = ak.Array([[1.0, 2.0], [3.0]]), ak.Array([[1.0], [2.0, 3.0]])
    with pytest.raises(MismatchError, match=r"FatJet_eta has 1 entries in event 0, expected 2 .*2 of 2 events differ"):
        nest({"FatJet_pt": pt, "FatJet_eta": eta})


def test_pages_of_parquet_skims_have_checksums(tmp_path: Path) -> None:
    path = skim(tmp_path / "skim.parquet")
    _, stop = chunk_ranges(path, ["FatJet_pt"])[0]
    content = bytearray(path.read_bytes())
    content[stop - 1] ^= 1
    path.write_bytes(content)
    with pytest.raises(OSError, match="checksum"):
        pyarrow.parquet.ParquetFile(path, page_checksum_verification=True).read()
