"""The page on the assignment of objects to particles: its Python blocks and its event file are right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jettagger.topology.eventfile import event_text, parse_event_text

TEXT = (Path(__file__).resolve().parents[1] / "docs" / "assignment.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_python_block_runs(
    block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if ".h5" in block:
        pytest.importorskip("h5py", reason="the extra train is not installed")
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "document", "exec"), {"__name__": "document"})
    said = capsys.readouterr().out
    for shown in re.findall(r"print\(.*\) +# ([(\[P].*)$", block, flags=re.MULTILINE):
        assert shown in said


def test_the_event_file_is_valid() -> None:
    (text,) = re.findall(r"^```yaml\n(INPUTS.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)
    event = parse_event_text(text)
    assert parse_event_text(event_text(event)) == event
    assert event.regressions == {"EVENT/neutrino_pz": "laplacian", "t1/PARTICLE/pt": "gaussian"}
