"""Output of commands: options that are numbers, tables, progress without a terminal; counts of jobs add up."""

from __future__ import annotations

import argparse
import math
import re
import sys
from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jettagger.cli import console, options
from jettagger.cli.console import Console
from jettagger.display import LONGEST_CELL, MAX_ROWS, Grid, aligned, shortened
from jettagger.report import Report

WHOLE = 2**31


@pytest.mark.parametrize("text", ["-2147483647", "-1", "0", "+7", " 12 ", "1_000", "2147483647"])
def test_whole_numbers_are_read(text: str) -> None:
    assert options.counted(text) == int(text)
    if int(text) >= 0:
        assert options.seed(text) == int(text)
        return
    with pytest.raises(
        argparse.ArgumentTypeError, match=rf"^expected a whole number from 0 to 2147483647, got '{text}'$"
    ):
        options.seed(text)


@pytest.mark.parametrize(
    "text", ["", "1.0", "1e3", "ten", "2147483648", "-2147483648", "9" * 10_000, "\x1b[2J", "0x10"]
)
def test_what_is_no_whole_number_is_refused(text: str) -> None:
    for read in (options.counted, options.seed):
        with pytest.raises(
            argparse.ArgumentTypeError, match=r"^expected a whole number .*to 2147483647, got "
        ) as caught:
            read(text)
        assert len(str(caught.value)) < 500
        assert "\x1b" not in str(caught.value)


@given(st.floats(allow_nan=False, allow_infinity=False))
@settings(max_examples=25)
def test_finite_numbers_are_read(number: float) -> None:
    assert options.finite(repr(number)) == number


@pytest.mark.parametrize("text", ["", "nan", "inf", "-Infinity", "1e999", "1,5", "0x1", "5 GeV", "x" * 10_000])
def test_what_is_no_finite_number_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"^expected a number, got ") as caught:
        options.finite(text)
    assert len(str(caught.value)) < 500


# ---------------------------------------------------------------------------------------- tables

cells = st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), max_size=6)
tables = st.integers(1, 4).flatmap(
    lambda columns: st.lists(st.lists(cells, min_size=columns, max_size=columns), min_size=1, max_size=5)
)


@given(tables)
@settings(max_examples=25)
def test_columns_are_aligned(rows: list[list[str]]) -> None:
    lines = aligned(rows)
    assert len(lines) == len(rows)
    start = 0
    for column in range(len(rows[0])):
        width = max(len(row[column]) for row in rows)
        assert [line[start : start + width].rstrip() for line in lines] == [row[column] for row in rows]
        assert all(not line[start + width : start + width + 2].strip() for line in lines)  # space between columns
        start += width + 2
    assert all(line == line.rstrip() for line in lines)


def test_tables_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    Console().table("jets", ("name", "n"), [("scored → tt̄", "3"), ("x\x1b[2J", "14")])
    assert capsys.readouterr().out == (
        "jets\n"
        "name          n\n"
        "------------  --\n"
        "scored → tt̄  3\n"
        "x\\x1b[2J      14\n"
    )  # fmt: skip
    Console().counts("counts", [("events", "3"), ("jets", "10")])
    assert capsys.readouterr().out == "counts\nevents  3\njets    10\n"
    Console().table("empty", ("name", "n"), [])
    assert capsys.readouterr().out == "empty\nname  n\n----  -\n"
    Console().counts("nothing", [])
    assert capsys.readouterr() == ("nothing\n", "")


def test_results_and_remarks_go_to_streams_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    Console().say("a" * 10_000)
    Console().tell("busy")
    Console().warn("two\u202e lines\nof it")
    assert capsys.readouterr() == ("a" * 10_000 + "\n", "busy\njettagger: warning: two\\u202e lines\nof it\n")


@pytest.mark.parametrize("total", [0, 8])
def test_progress_without_a_terminal(
    total: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Console().progress_bar("reading", total, "events") as advance:
        sys.stdout.write("said by a library\n")
        advance(3)
    assert capsys.readouterr() == ("", "said by a library\n")  # too short for a line
    monkeypatch.setattr(console, "INTERVAL", 0.0)
    with Console().progress_bar("reading", total, "events") as advance:
        for done in (1, 3):
            advance(done)
    share = ["", ""] if total == 0 else [" (12 %)", " (50 %)"]
    expected = [f"reading: {done} of {total} events{part}" for done, part in zip((1, 4), share, strict=True)]
    said = capsys.readouterr().err.splitlines()
    assert [re.sub(r" in \d+ s$", "", line) for line in said] == expected
    assert not set(said) & set(expected)


# ---------------------------------------------------------------------------------------- summaries


@given(st.text(max_size=600), st.integers(40, 200))
@settings(max_examples=25)
def test_long_texts_keep_their_ends(text: str, longest: int) -> None:
    printable = shortened(text, 10**6)
    short = shortened(text, longest)
    if len(printable) <= longest:
        assert short == printable
        return
    assert len(short) <= longest
    kept = longest // 2 - 18
    assert short == f"{printable[:kept]} ... ({len(printable) - 2 * kept} characters) ... {printable[-kept:]}"


@pytest.mark.parametrize(("number", "left_out"), [(0, ""), (MAX_ROWS, ""), (MAX_ROWS + 1, "... and 1 more")])
def test_rows_of_a_grid(number: int, left_out: str) -> None:
    grid = Grid("rows", ("a", "b", "c"), [("x" * 1000, f"{row}", "1") for row in range(number)], numbers=2)
    assert grid.right == [False, True, True]
    assert (len(grid.shown()), grid.left_out) == (min(number, MAX_ROWS), left_out)
    assert all(len(row[0]) <= LONGEST_CELL and row[1] == f"{place}" for place, row in enumerate(grid.shown()))


# ---------------------------------------------------------------------------------------- counts of jobs

COUNTS = [item.name for item in fields(Report) if item.type == "int"]
reports = st.builds(
    Report,
    **{name: st.integers(0, 10**9) for name in COUNTS},
    seconds=st.integers(0, 2**20).map(lambda eighths: eighths / 8),
    servers=st.lists(st.sampled_from(["a:8001 (1)", "b:8001 (1)", "b:8001 (2)"]), unique=True, max_size=3),
    rounding=st.sampled_from([0.0, 0.01, 0.5]),
)


@given(reports, reports, reports)
@settings(max_examples=25)
def test_reports_add_up_in_any_grouping(one: Report, two: Report, three: Report) -> None:
    assert (one + two) + three == one + (two + three)
    assert one + Report() == Report() + one == one
    total = one + two
    assert len(COUNTS) > 20
    for name in [*COUNTS, "seconds"]:
        assert getattr(total, name) == getattr(one, name) + getattr(two, name)
    assert total.rounding == max(one.rounding, two.rounding)
    assert set(total.servers) == {*one.servers, *two.servers}
    assert len(set(total.servers)) == len(total.servers)  # a server that answered twice is one


def test_reports_are_added_to_reports_alone() -> None:
    with pytest.raises(TypeError):
        Report(jets=1) + 1  # type: ignore[operator]
    assert Report(servers=["a"]) == Report(servers=("a",))  # as JSON gives it
    assert hash(Report(servers=["a"])) == hash(Report(servers=("a",)))


def test_padding_is_the_part_that_is_not_filled() -> None:
    assert Report().padding_waste == 0
    assert Report(slots=128, filled=128).padding_waste == 0
    parts = [Report(slots=100, filled=90), Report(slots=300, filled=30)]
    total = parts[0] + parts[1]
    mean = sum(part.slots * part.padding_waste for part in parts) / 400
    assert math.isclose(total.padding_waste, mean)
    assert total.padding_waste == 0.7
