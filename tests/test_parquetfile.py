"""Parquet files: one way to open them, one wording of what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import awkward as ak
import pyarrow.parquet
import pytest

from jettagger.errors import InputFileError
from jettagger.files.generated import read_sources
from jettagger.files.parquet import METADATA, note_of, open_parquet
from jettagger.finetuning.skims import open_skim
from jettagger.provenance import parsed, read_provenance
from jettagger.search.skims import ParquetSkim

READERS: dict[str, Callable[[str], object]] = {
    "open_parquet": open_parquet,
    "provenance": read_provenance,
    "finetuning": open_skim,
    "search": ParquetSkim,
    "generated events": lambda path: read_sources(path, "Events"),
}


@pytest.fixture
def skim(tmp_path: Path) -> str:
    path = tmp_path / "skim.parquet"
    table = pyarrow.table({"event": [1, 2, 3]}).replace_schema_metadata({METADATA: '{"model": "tinyParT"}'})
    pyarrow.parquet.write_table(table, path, write_page_checksum=True)
    return str(path)


def test_the_note_of_a_skim_is_what_was_written(skim: str) -> None:
    with open_parquet(skim) as file:
        assert parsed(note_of(file.schema_arrow)) == {"model": "tinyParT"} == read_provenance(skim)
    assert open_skim(skim).record == {"model": "tinyParT"}


def test_files_of_others_have_no_note(tmp_path: Path) -> None:
    ak.to_parquet(ak.Array({"event": [1]}), tmp_path / "a.parquet")
    assert read_provenance(tmp_path / "a.parquet") == {}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("absent", "no such file"),
        ("folder", "no such file"),
        ("truncated", "not a readable parquet file (truncated or damaged?)"),
        ("empty", "not a readable parquet file (truncated or damaged?)"),
    ],
)
def test_all_readers_say_the_same(reader: str, damage: str, said: str, skim: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.parquet"
    content = Path(skim).read_bytes()
    if damage == "folder":
        path.mkdir()
    elif damage != "absent":
        path.write_bytes(content[: len(content) // 2] if damage == "truncated" else b"")
    with pytest.raises(InputFileError) as caught:
        READERS[reader](str(path))
    text = str(caught.value)
    assert str(path) in text
    assert said in text
    assert "\n" not in text


def test_pages_are_compared_with_their_checksums(skim: str) -> None:
    content = bytearray(Path(skim).read_bytes())
    with open_parquet(skim) as file:
        column = file.metadata.row_group(0).column(0)
        start = column.dictionary_page_offset or column.data_page_offset
        stop = start + column.total_compressed_size
    content[stop - 1] ^= 1
    Path(skim).write_bytes(content)
    with open_parquet(skim) as file, pytest.raises(OSError, match=r"CRC|checksum"):
        file.read()
