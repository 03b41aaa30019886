"""Simulations that are stopped: no process outlives them, no output is half-written, finished blocks are taken up."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import awkward as ak
import pytest
import uproot
from survivors import PATIENCE, descendants, running, survivors, until

from jettagger.cli import main
from jettagger.simulation import run as run_module

pytest.importorskip("fastjet", reason="extra sim is not installed")
pytest.importorskip("pythia8mc", reason="extra sim is not installed")
pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are counted in /proc")

#: events in a block, and in a run
BLOCK, EVENTS = 4, 28

#: `jettagger simulate` with small blocks that take long, also in workers; those from the fifth wait for the signal
SLOW = f"""
import sys
from jettagger.simulation import run
from survivors import hold
run.BLOCK_EVENTS = {BLOCK}
real = run.make_block

def slow(*arguments):
    hold(0.5 if arguments[1].index < 4 else 600)
    return real(*arguments)

run.make_block = slow
if __name__ == "__main__":
    from jettagger.cli import main
    sys.exit(main())
"""

WAYS = {
    "SIGINT": (signal.SIGINT,),
    "SIGTERM": (signal.SIGTERM,),
    "kill -9": (signal.SIGKILL,),
    "two Ctrl-C": (signal.SIGINT, signal.SIGINT),
}

#: tried in each run; the others are slow
FEW = {("kill -9", 2), ("SIGINT", 1), ("two Ctrl-C", 2)}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a run that nobody stopped."""
    output = tmp_path_factory.mktemp("whole") / "x.root"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "BLOCK_EVENTS", BLOCK)
        assert main([*COMMAND, "-o", str(output)]) == 0
    return output


COMMAND = ["simulate", "--process", "QCD", "--events", str(EVENTS), "--pileup", "0", "--seed", "3"]


def finished(blocks: Path) -> list[str]:
    return sorted(path.name for path in blocks.glob("block-*.json"))


def content(path: Path) -> dict[str, Any]:
    with uproot.open(path) as file:
        return {name: file[name].arrays() for name in ("Events", "Runs")}


@pytest.mark.filterwarnings("always::jettagger.files.parts.StalePartWarning")
@pytest.mark.parametrize(
    ("way", "workers"),
    [
        pytest.param(way, workers, marks=[] if (way, workers) in FEW else pytest.mark.long)
        for way in WAYS
        for workers in (1, 2)
    ],
)
def test_a_simulation_that_is_stopped_goes_on(
    way: str, workers: int, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, work = tmp_path / "slow.py", tmp_path / "work"
    script.write_text(SLOW)
    work.mkdir()
    blocks, output, numbers = work / "x.root.blocks", work / "x.root", WAYS[way]
    with running(script, [*COMMAND, "-o", output, "--workers", workers], work) as process:
        until(lambda: len(finished(blocks)) >= 2, process)
        children = descendants(process.pid)
        assert len(children) >= (workers if workers > 1 else 0)
        for number in numbers:  # Ctrl-C reaches all processes of a terminal, others only the command
            (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
            time.sleep(0.2)
        _, said = process.communicate(timeout=PATIENCE)
    assert survivors(children) == []
    assert [path.name for path in work.iterdir()] == [blocks.name]
    done = finished(blocks)
    assert 2 <= len(done) < EVENTS // BLOCK
    if way == "kill -9":
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 128 + numbers[0], said
        assert len(said.splitlines()) == 1, said
        assert said.endswith("nothing half-written is left\n")
        assert not list(blocks.glob(".*"))

    made: list[str] = []
    real = run_module.make_block

    def counting(run: Any, block: Any, tables: Any) -> Any:
        made.append(f"block-{block.index:06d}.json")
        return real(run, block, tables)

    monkeypatch.setattr(run_module, "make_block", counting)
    monkeypatch.setattr(run_module, "BLOCK_EVENTS", BLOCK)
    assert main([*COMMAND, "-o", str(output)]) == 0
    assert sorted([*made, *done]) == [f"block-{number:06d}.json" for number in range(EVENTS // BLOCK)]
    assert sorted(path.name for path in work.iterdir()) == ["x.root", "x.root.manifest.json"]
    one, two = content(output), content(whole)
    assert all(ak.array_equal(one[name], two[name], equal_nan=True) for name in one)
