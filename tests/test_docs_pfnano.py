"""The page on PFNano: its code runs, its table is that of the declarations."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jettagger.inputs.flavours import flavours

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "pfnano.md").read_text(encoding="utf-8")


def test_its_code_runs(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```py\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 4
    exec("\n".join(blocks), {})
    assert capsys.readouterr().out.startswith("PFCands is not the table that FatJetPFCands was made for: ")


def test_all_names_of_productions_are_in_its_table() -> None:
    table = "\n".join(line for line in PAGE.splitlines() if line.startswith("|"))
    for flavour in flavours().values():
        assert [name for name in flavour.names.values() if name is not None and name not in table] == []
