"""The page on discriminants: its examples run, and its tables are those of the package."""

import re
from pathlib import Path

from jettagger.discriminants import models, presets

PAGE = Path(__file__).resolve().parent.parent / "docs" / "discriminants.md"
TEXT = PAGE.read_text(encoding="utf-8")


def test_the_table_of_presets_is_complete_and_right():
    rows = dict(re.findall(r"^\| `(\w+)` \| (\w+ \| [^|(]+?) (?:\(.*\) )?\|$", TEXT, re.MULTILINE))
    assert list(rows) == list(presets())
    for name, row in rows.items():
        signal, background = row.split(" | ")
        assert str(presets()[name].signal) == f"sum({signal})"
        written = re.sub(r"\b(?!alpha|beta)[A-Za-z]\w*", lambda match: f"sum({match.group()})", background)
        assert str(presets()[name].background) == written


def test_the_numbers_of_the_groups_are_right():
    columns = ["inclParTMDV1", "part-ak8-2023", "globalParT3", "particleNetMD"]
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", TEXT, re.MULTILINE)
    checked = 0
    for group, rest in rows:
        cells = rest.split(" | ")
        if len(cells) != len(columns):
            continue
        for name, cell in zip(columns, cells, strict=True):
            members = models()[name].groups.get(group, ())
            number = re.match(r"\d+", cell)
            assert (cell == "-") == (not members), (group, name)
            if number:
                assert int(number.group()) == len(members), (group, name)
            elif members:
                assert cell == f"`{members[0]}`", (group, name)
            checked += 1
    assert checked == 4 * 10
