"""``jettagger tag`` from the command line: what it says, what it writes, how it fails."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import awkward as ak
import pyarrow.parquet
import pytest
import uproot
from survivors import started

import jettagger
from jettagger.cli import main
from jettagger.cli.console import Console
from jettagger.config.sizes import parse_size
from jettagger.errors import ConfigError
from jettagger.files.root import EventFile
from jettagger.testing import write_pfnano

ROOT = Path(jettagger.__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_pfnano(tmp_path_factory.mktemp("nano") / "nano.root", 25, seed=1))


def tag(*arguments: str) -> int:
    return main(["tag", *arguments])


@pytest.mark.parametrize("suffix", [".parquet", ".root"])
def test_a_run_ends_with_a_table(suffix: str, nano: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / f"scores{suffix}"
    assert tag(nano, "--model", "tinyParT", "-o", str(output), "--where", "pt > 250", "--threads", "1") == 0
    said = capsys.readouterr()
    assert said.err == "", "no progress bar without a terminal"
    assert said.out.splitlines()[0] == str(output)
    numbers = {match[1].strip(): match[2] for match in re.finditer(r"^(.+?)  +([\d.]+(?: %)?)$", said.out, re.M)}
    assert numbers["events"] == "25"
    jets, scored = int(numbers["fat jets"]), int(numbers["scored"])
    left_out = int(numbers["not scored: left out by --where"])
    assert jets == scored + left_out + int(numbers["not scored: no constituents"])
    assert scored > 10 < left_out
    assert int(numbers["vertices recovered"]) > 0
    assert numbers["padding waste"].endswith("%")
    assert float(numbers["jets per second"]) > 0
    assert output.stat().st_size > 10_000


def test_prefix_columns_and_keep(nano: str, tmp_path: Path) -> None:
    output = tmp_path / "s.parquet"
    code = tag(
        *(nano, "-m", "tinyParT", "-o", str(output), "--prefix", "my", "--columns", "probHbb,mass"),
        *("--keep", "SV_*", "--keep", "FatJet_rawFactor", "--memory", "1MB", "--threads", "1"),
    )
    assert code == 0
    names = pyarrow.parquet.read_schema(output).names
    assert [name for name in names if "my_" in name] == ["FatJet_my_probHbb", "FatJet_my_mass"]
    assert {"SV_pt", "SV_dxy", "FatJet_rawFactor", "run", "luminosityBlock", "event"} <= set(names)


def test_a_dry_run_says_all_and_writes_nothing(nano: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "s.parquet"
    bad = tmp_path / "bad.root"
    bad.write_text("no")
    code = tag(
        nano,
        str(bad),
        "-m",
        "tinyParT",
        "-o",
        str(output),
        "--dry-run",
        "--skip-broken",
        "--where",
        "msoftdrop > 9",
    )
    assert code == 0
    said = capsys.readouterr().out
    assert said.startswith(f"ok, can be tagged with tinyParT into {output}; 1 files are left out\n")
    assert "25 events in 1 files" in said
    assert "PFCands.dzErr" in said
    assert "FatJet.msoftdrop" in said
    assert "166 columns like FatJet_tinyParT_" in said
    assert f"skips {bad}" in said
    assert not output.exists()


def test_a_file_that_cannot_be_tagged_is_refused_in_the_first_line(
    nano: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a user reads before a list of columns: that it cannot be done, and what can."""
    few = tmp_path / "few.root"
    with uproot.open(nano) as file:
        arrays = file["Events"].arrays(["FatJet_pt", "FatJet_eta", "FatJet_phi", "FatJet_mass", "FatJet_msoftdrop"])
    with uproot.recreate(few) as file:
        file["Events"] = {"FatJet": ak.zip({name.partition("_")[2]: arrays[name] for name in arrays.fields})}
    assert tag(str(few), "-m", "tinyParT", "-o", str(tmp_path / "o.parquet"), "--dry-run") == 2
    first, second, *rest = capsys.readouterr().err.splitlines()
    start = f"jettagger: error: {few} (central NanoAOD (no candidates)) lacks columns that the model 'tinyParT' needs: "
    assert first.startswith(start)
    assert "no known model runs on it" in first
    assert "use PFNano" in first
    assert second == f"{len(rest)} missing columns:"
    assert len(rest) > 10


@pytest.mark.filterwarnings("always::jettagger.expressions.cutlogic.CutWarning")
@pytest.mark.parametrize(("cut", "word"), [("150 < pt < 90", "never"), ("pt > 90 or pt < 150", "always")])
def test_a_cut_that_selects_nothing_or_everything_is_doubted(
    nano: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], cut: str, word: str
) -> None:
    output = tmp_path / "o.parquet"
    assert tag(nano, "-m", "tinyParT", "-o", str(output), "--columns", "mass", "--where", cut) == 0
    assert capsys.readouterr().err.splitlines() == [f"jettagger: warning: --where: {cut!r} is {word} true"]
    scored = ak.drop_none(ak.flatten(ak.from_parquet(output).FatJet_tinyParT_mass))
    assert (len(scored) == 0) == (word == "never")


def test_broken_files_are_named_at_the_end(nano: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = str(tmp_path / "missing.root")
    output = str(tmp_path / "s.parquet")
    assert tag(nano, missing, "-m", "tinyParT", "-o", output, "--columns", "mass", "--skip-broken") == 0
    assert f"warning: skipped {missing}: no such file" in capsys.readouterr().err
    assert tag(nano, missing, "-m", "tinyParT", "-o", output, "--force") == 2
    assert f"error: no such file: {missing}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "phrase"),
    [
        (["--model", "tinyPart"], "tinyParT"),
        (["--model", "inclParTMDV1"], "model.onnx"),
        (["--model", "tinyParT", "--columns", "probHb"], "probHbb"),
        (["--model", "tinyParT", "--columns", ""], "columns"),
        (["--model", "tinyParT", "--where", "ptt > 2"], "pt"),
        (["--model", "tinyParT", "--where", "pt >"], "where"),
        (["--model", "tinyParT", "--memory", "much"], "500MB"),
        (["--model", "tinyParT", "--workers", "0"], "workers must be at least 1"),
        (["--model", "tinyParT", "--threads", "0"], "threads must be"),
        (["--model", "tinyParT", "--provider", "cuda"], "CPUExecutionProvider"),
        (["--model", "tinyParT", "--prefix", "a-b"], "prefix"),
        (["--model", "tinyParT", "--keep", "Muon_*"], "Muon_"),
    ],
)
def test_wrong_arguments_are_explained_without_a_traceback(
    arguments: list[str], phrase: str, nano: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tag(nano, "-o", str(tmp_path / "s.parquet"), *arguments) == 2
    said = capsys.readouterr()
    assert said.err.startswith("jettagger: error: ")
    assert phrase in said.err
    assert list(tmp_path.iterdir()) == []


def test_outputs_are_checked_before_any_work(
    nano: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "s.root"
    output.write_text("precious")
    monkeypatch.setattr(EventFile, "__init__", lambda *_: pytest.fail("a file was opened"))
    assert tag("nothing.root", "-m", "nothing", "-o", str(output)) == 2
    assert "exists already; use --force" in capsys.readouterr().err
    assert tag(nano, "-m", "tinyParT", "-o", str(tmp_path / "no" / "s.root")) == 2
    assert "does not exist" in capsys.readouterr().err
    assert tag(nano, "-m", "tinyParT", "-o", str(tmp_path / "s.csv")) == 2
    assert "expected .parquet or .root" in capsys.readouterr().err
    assert output.read_text() == "precious"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_folder(nano: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tmp_path.chmod(0o500)
    try:
        assert tag(nano, "-m", "tinyParT", "-o", str(tmp_path / "s.root")) == 2
    finally:
        tmp_path.chmod(0o700)
    assert "not writable" in capsys.readouterr().err


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "tag" in capsys.readouterr().out
    assert tag("--help") == 0
    said = capsys.readouterr().out
    assert "examples:" in said
    for option in (
        "--where",
        "--columns",
        "--memory",
        "--workers",
        "--keep",
        "--dry-run",
        "--force",
        "--prefix",
    ):
        assert option in said
    assert main(["tagg"]) == 2
    assert "nearest: tag" in capsys.readouterr().err
    assert tag() == 2


SLOW = """
import sys
from jettagger.skims import skim
sys.path.append("tests")
from survivors import hold
real = skim.Job.score
def slow(*arguments):
    result = real(*arguments)
    print("chunk", file=sys.stderr, flush=True)
    hold(600)  # until the signal
    return result
skim.Job.score = slow
from jettagger.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("suffix", [".parquet", ".root"])
def test_control_c_leaves_nothing(suffix: str, nano: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SLOW, "tag", nano, "-m", "tinyParT", "-o", str(tmp_path / f"s{suffix}")]
    with started([*command, "--memory", "300KB"], cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stderr is not None
            assert process.stderr.readline() == "chunk\n"
            assert len(list(tmp_path.iterdir())) == 1, "the part is beside the output"
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=300)
        finally:
            process.kill()
    assert process.returncode == 130
    assert said.endswith("jettagger: interrupted, nothing half-written is left\n")
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("500MB", 500_000_000),
        ("1GiB", 2**30),
        ("1.5 kb", 1500),
        ("200000", 200_000),
        (" 2 g ", 2 * 10**9),
        (".5MiB", 2**19),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "-5MB", "0", "5XB", "1e3", "0.1", "five"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(repr(text))):
        parse_size(text)


def test_a_progress_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Console().progress_bar("tagging", 10, "events") as advance:
        advance(4)
        advance(6)
    said = capsys.readouterr()
    assert said.out == ""
    assert "tagging" in said.err or said.err != ""


def test_a_table_can_be_pasted(capsys: pytest.CaptureFixture[str]) -> None:
    rows: Any = [("a", "1"), ("long name", "22")]
    Console().table("title", ("name", "n"), rows)
    assert capsys.readouterr().out == "title\nname       n\n---------  --\na          1\nlong name  22\n"
    Console().table("title", ("", ""), rows)
    assert capsys.readouterr().out == "title\na          1\nlong name  22\n"
