"""What all tagging jobs share: files like the first, chunks without a gap, what is left out and why."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jettagger.errors import ConfigError, InputFileError, MissingColumns
from jettagger.skims.jobs import MOST_ROWS, OVERHEAD, Content, Layout, chunk_rows, output_columns, survey
from jettagger.tagging.tagger import load_tagger

LAYOUT = Layout("FatJet", ("FatJet.pt",), ("event",))


@given(rows=st.lists(st.integers(0, 50), min_size=1, max_size=5), size=st.integers(1, 20))
def test_chunks_cover_each_file_once_and_in_order(rows: list[int], size: int) -> None:
    files = {f"{number}.root": count for number, count in enumerate(rows)}
    edges = np.unique(np.random.default_rng(size).integers(0, 60, 6))
    found = survey(files, lambda path: Content(LAYOUT, files[path], size, edges), skip_broken=False)
    assert found.layout == LAYOUT
    assert list(dict.fromkeys(chunk.path for chunk in found.chunks)) == list(files)
    for path, count in files.items():
        chunks = [chunk for chunk in found.chunks if chunk.path == path]
        assert (chunks[0].start, chunks[-1].stop) == (0, count)
        assert all(one.stop == other.start for one, other in pairwise(chunks))
        for chunk in chunks:
            assert chunk.stop - chunk.start <= size
            within = [int(edge) for edge in edges if chunk.start < edge <= chunk.start + size]
            if within and chunk.stop < count and chunk.start + size < count:
                assert chunk.stop == within[-1], "chunks end where blocks of the file do"


def look(path: str) -> Content:
    if "broken" in path:
        raise InputFileError(f"{path} is damaged")
    return Content(LAYOUT, 10, 4)


def test_broken_files_are_errors_or_left_out_with_the_reason() -> None:
    with pytest.raises(InputFileError, match=r"broken\.root is damaged"):
        survey(["a.root", "broken.root"], look, skip_broken=False)
    found = survey(["broken.root", "a.root"], look, skip_broken=True, skipped={"b.tar": "was cut"})
    assert found.skipped == {"b.tar": "was cut", "broken.root": "broken.root is damaged"}
    assert len(found.chunks) == 3
    with pytest.raises(InputFileError, match=r"none of the 3 files can be read: was cut; broken\.root is damaged"):
        survey(["broken.root", "broken.root"], look, skip_broken=True, skipped={"b.tar": "was cut"})
    with pytest.raises(ConfigError, match="no input files"):
        survey([], look, skip_broken=True)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (LAYOUT._replace(inputs=(), keep=("event", "run")), r"b\.root .* lacks FatJet\.pt and also has run;"),
        (LAYOUT._replace(collection="AK15Puppi"), "lacks FatJet and also has AK15Puppi; tag such files separately"),
    ],
)
def test_all_files_must_be_like_the_first(other: Layout, expected: str) -> None:
    layouts = {"a.root": LAYOUT, "b.root": other}
    with pytest.raises(MissingColumns, match=expected):
        survey(layouts, lambda path: Content(layouts[path], 1, 1), skip_broken=True)


@given(size=st.floats(0, 1e12), budget=st.integers(0, 10**12))
def test_chunks_keep_the_budget_but_never_vanish(size: float, budget: int) -> None:
    rows = chunk_rows(size, budget)
    assert 1 <= rows <= MOST_ROWS
    assert rows == 1 or rows * size * OVERHEAD <= budget * (1 + 1e-9)


def test_jobs_that_would_do_nothing_are_refused() -> None:
    tagger = load_tagger("tinyParT")
    assert output_columns(tagger, ["mass"], "my", 1) == {"mass": "my_mass"}
    with pytest.raises(ConfigError, match="workers must be at least 1, got 0"):
        output_columns(tagger, ["mass"], None, 0)
    with pytest.raises(ConfigError, match="nothing would be written"):
        output_columns(tagger, [], None, 1)
