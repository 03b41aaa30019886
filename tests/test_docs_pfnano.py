"""The page on PFNano: its code runs, its table is that of the declarations."""

from __future__ import annotations

from pathlib import Path

import awkward as ak
import pytest
from pages import blocks, read

import jettagger as jt
from jettagger.inputs.flavours import flavours
from jettagger.testing import make_events

PAGE = "docs/pfnano.md"
#: what is in the block that needs a network of CMS
AK4 = 'particlenet-ak4")'


def test_its_code_runs(capsys: pytest.CaptureFixture[str]) -> None:
    exec("\n".join(block for block in blocks(PAGE, "python") if AK4 not in block), {})
    assert capsys.readouterr().out.startswith("PFCands is not the table that FatJetPFCands was made for: ")


@pytest.mark.data
def test_its_code_for_ak4_jets_runs(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = blocks(PAGE, "python", AK4)
    (tmp_path / "models").symlink_to(shared / "models")
    monkeypatch.chdir(tmp_path)
    names = {"load_tagger": jt.load_tagger, "discriminant": jt.discriminant, "events": make_events(5, seed=1, ak4=True)}
    exec(block, names)
    scores = names["charm"][~ak.is_none(names["charm"], axis=1)]
    assert ak.all((scores > 0) & (scores < 1))
    assert ak.count(scores) > 5


def test_all_names_of_productions_are_in_its_table() -> None:
    table = "\n".join(line for line in read(PAGE).splitlines() if line.startswith("|"))
    for flavour in flavours().values():
        assert [name for name in flavour.names.values() if name is not None and name not in table] == []
