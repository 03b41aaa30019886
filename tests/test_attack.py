"""The attacks that ``benchmarks/attack.py`` repeats, and the table of them in the documents."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.attack import BEGIN, END, KINDS, PAGE, RNTUPLE, SURVIVED, attack, table
from jettagger.bundles.places import cache_folder

#: the format has no checksum, or a value in range is all that a text can hold: said in docs/robustness.md
WITHOUT_CHECKSUM = re.compile(r"(TTree, (zstd|plain)|RNTuple of uproot, \w+), one bit flipped(, --verify)?$")

#: a process for each attack
SLOW = re.compile("command|named pipe|hostile models")


def test_the_table_in_the_page_has_the_kinds_of_the_script() -> None:
    rows = PAGE.read_text().partition(BEGIN)[2].partition(END)[0].strip().splitlines()
    assert [row.split("|")[1].strip() for row in rows[2:]] == list(KINDS)
    for row in rows[2:]:
        tried, survived = (int(cell) for cell in row.split("|")[2:4])
        assert 0 <= survived <= tried
        assert (row.split("|")[4].strip() == "") == (survived == tried)


def test_what_is_not_survived_is_named() -> None:
    text = table({"a": Counter(same=2, error=1, changed=3, hang=1)})
    assert text.splitlines()[-1] == "| a | 7 | 3 | 3 changed, 1 hang |"


@pytest.mark.slow
@pytest.mark.parametrize("kind", [name for name in KINDS if not SLOW.search(name)])
def test_attacks_are_survived(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JETTAGGER_CACHE", str(tmp_path))
    monkeypatch.setattr("jettagger.bundles.checksums.cache_folder", cache_folder)
    counts = attack(kind, 4, seed=1)
    if "of ROOT" in kind and not RNTUPLE.exists():
        pytest.skip("needs ../shared/data")
    assert counts
    allowed = set(SURVIVED) | ({"changed"} if WITHOUT_CHECKSUM.search(kind) else set())
    assert set(counts) <= allowed


@pytest.mark.slow
@pytest.mark.parametrize("kind", [name for name in KINDS if SLOW.search(name)])
def test_attacks_on_processes_are_survived(kind: str) -> None:
    assert set(attack(kind, 3, seed=1)) <= {"same", "error"}
