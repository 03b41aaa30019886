"""Logs: steps and details under the name ``jettagger``, nothing without a listener, no secrets."""

from __future__ import annotations

import ast
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clusters import local_cluster
from hypothesis import given
from hypothesis import strategies as st
from pages import blocks

import jettagger as jt
from jettagger.files.addresses import masked
from jettagger.files.cache import DiskCache
from jettagger.files.retrying import retried
from jettagger.files.root import EventFile
from jettagger.testing import make_events, write_pfnano

ROOT = Path(jt.__file__).resolve().parent.parent
MODULES = [*sorted((ROOT / "jettagger").rglob("*.py")), *sorted((ROOT / "processors").glob("*.py"))]


def messages(caplog: pytest.LogCaptureFixture, level: int = logging.DEBUG) -> list[tuple[str, str]]:
    """Loggers and texts of at least a level."""
    return [(item.name, item.getMessage()) for item in caplog.records if item.levelno >= level]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "jettagger")
    return caplog


def test_steps_of_scoring_are_info_and_batches_are_debug(log: pytest.LogCaptureFixture) -> None:
    jt.load_tagger("tinyParT", threads=1).run(make_events(6, seed=1))
    steps = messages(log, logging.INFO)
    assert any(name == "jettagger.bundles.registry" and "model tinyParT loaded from" in text for name, text in steps)
    details = [text for name, text in messages(log) if name == "jettagger.inference.pending"]
    assert details
    assert all(text.startswith("tinyParT: ") and " jets in " in text for text in details)
    assert not set(details) & {text for _, text in steps}


def test_a_session_says_what_runs(log: pytest.LogCaptureFixture) -> None:
    from jettagger.sessions.onnx import make_session

    graph = jt.load_bundle("tinyParT").require_graph()
    make_session(graph, 1, "cpu")
    (text,) = [text for name, text in messages(log, logging.INFO) if name == "jettagger.sessions.onnx"]
    assert text == f"session made for {graph.path}: ONNX Runtime, {text.split(', ')[1]}, 1 threads, graph of the file"
    assert "CPU" in text


def test_files_caches_and_retries(
    log: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pfnano(tmp_path / "a.root", 3, seed=1)
    with EventFile(tmp_path / "a.root"):
        assert ("jettagger.files.root", f"opened {tmp_path / 'a.root'}: 3 events in Events") in messages(log)
    cache = DiskCache(tmp_path / "cache", 10**6)
    cache.get("abc")
    cache.put("abc", {"x": np.arange(3)})
    cache.get("abc")
    missed, found = [text for name, text in messages(log, logging.INFO) if name == "jettagger.files.cache"]
    assert missed == f"cache {tmp_path / 'cache'}: no entry abc"
    assert found.startswith(f"cache {tmp_path / 'cache'}: entry abc is there, ")
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    attempts: list[int] = []

    def read() -> int:
        attempts.append(1)
        if len(attempts) < 3:
            raise ConnectionResetError
        return 7

    assert retried(read, "root://me:word@host//a.root?authz=SECRET", 3) == (7, 2)
    texts = [text for name, text in messages(log, logging.INFO) if name == "jettagger.files.retrying"]
    assert texts == [
        f"root://***@host//a.root?authz=***: ConnectionResetError; retry {number} of 3" for number in (1, 2)
    ]


def test_epochs_and_chunks(log: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    write_pfnano(tmp_path / "a.root", 6, seed=1)
    jt.tag_files(
        [str(tmp_path / "a.root")], "tinyParT", str(tmp_path / "out.parquet"), options=jt.TaggerOptions(threads=1)
    )
    (text,) = [text for name, text in messages(log) if name == "jettagger.skims.skim"]
    assert text.startswith(f"events 0 to 6 of {tmp_path / 'a.root'}: ")
    assert " jets scored in " in text


def test_nothing_is_recorded_or_shown_without_a_listener(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    records: list[str] = []
    make = logging.Logger.makeRecord

    def noted(self: logging.Logger, name: str, *arguments: Any, **keywords: Any) -> logging.LogRecord:
        if name.startswith("jettagger"):  # not what threads of other packages say meanwhile
            records.append(name)
        return make(self, name, *arguments, **keywords)

    monkeypatch.setattr(logging.Logger, "makeRecord", noted)
    monkeypatch.setattr(logging.getLogger("jettagger"), "level", logging.WARNING)
    logging.getLogger("jettagger")._cache.clear()  # type: ignore[attr-defined]
    logging.getLogger("jettagger").manager._clear_cache()  # type: ignore[attr-defined]
    jt.load_tagger("tinyParT", threads=1).run(make_events(6, seed=1))
    assert records == []
    assert capfd.readouterr() == ("", "")


def test_importing_changes_no_other_logger_and_stays_light() -> None:
    code = (
        "import logging\nroot = logging.getLogger()\n"
        "before = (root.level, list(root.handlers), logging.raiseExceptions)\n"
        "import jettagger, sys\n"
        "jettagger.load_tagger('tinyParT')\n"
        "assert (root.level, list(root.handlers), logging.raiseExceptions) == before\n"
        "own = logging.getLogger('jettagger')\n"
        "assert [type(item).__name__ for item in own.handlers] == ['NullHandler']\n"
        "assert own.level == 0 and own.propagate\n"
        "assert not [name for name in ('onnxruntime', 'awkward.operations', 'coffea') if name in sys.modules]\n"
        "own.warning('not shown')\n"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_loggers_have_the_names_of_their_modules(path: Path) -> None:
    """No logger of another name, no log of the root, nothing configured; texts are made when they are shown."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        owner, name = getattr(node.func.value, "id", ""), node.func.attr
        if owner == "logging" and name == "getLogger":
            known = {"__name__", "'jettagger'", "'distributed.worker'"}  # the last is shown by dask
            assert ast.unparse(node.args[0]) in known, ast.unparse(node)
        elif owner == "logging":
            assert name not in ("basicConfig", "debug", "info", "warning", "error", "captureWarnings", "disable")
        elif owner in ("_log", "_worker_log") and name != "isEnabledFor":
            assert isinstance(node.args[0], ast.Constant), f"{path}: {ast.unparse(node)}"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("a.root", "a.root"),
        ("/eos/user?x=1/a.root", "/eos/user?x=1/a.root"),
        ("root://host:1094//store/a.root", "root://host:1094//store/a.root"),
        ("root://u:p@host//a.root?authz=Bearer%20abc", "root://***@host//a.root?authz=***"),
        ("https://host/a.root?X-Amz-Signature=abc&x=y#part", "https://host/a.root?X-Amz-Signature=***&x=***#part"),
        ("http://token@host:8000", "http://***@host:8000"),
        ("https://host/user@cern.ch/a.root", "https://host/user@cern.ch/a.root"),
    ],
)
def test_addresses_are_shown_without_secrets(address: str, shown: str) -> None:
    assert masked(address) == shown


@given(st.text(st.characters(categories=("Lu", "Nd")), min_size=8, max_size=30))
def test_no_secret_is_left(secret: str) -> None:
    for address in (
        f"root://me:{secret}@h//a?x=1",
        f"https://h/a?token={secret}",
        f"https://h/a?a=b&token={secret}&c=d",
    ):
        assert secret not in masked(address)


@pytest.mark.slow
def test_workers_of_dask_send_their_logs(tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    """The lines of the page, on a cluster with processes of its own."""
    *_, text = blocks("docs/logging.md", "python")

    def work() -> int:
        return len(jt.load_tagger("tinyParT").outputs)

    with local_cluster(tmp_path, workers=1) as client:
        exec(compile(text, "docs/logging.md", "exec"), {"client": client, "logging": logging})
        client.submit(work).result()
        client.unforward_logging("jettagger")
    assert any("model tinyParT loaded" in text for _, text in messages(log))


def test_the_page(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "basicConfig", lambda **keywords: None)  # the root of this process stays as it is
    monkeypatch.setattr(logging.getLogger("jettagger"), "level", logging.NOTSET)
    names: dict[str, Any] = {}
    for block in blocks("docs/logging.md", "python")[:-1]:
        exec(compile(block, "docs/logging.md", "exec"), names)
    shown = [f"{item.levelname} {item.name}: {item.getMessage()}" for item in caplog.records]
    assert shown[0].startswith("INFO jettagger.bundles.registry: model tinyParT loaded from ")
    assert not [item for item in caplog.records if item.levelno < logging.INFO]
    logging.getLogger("jettagger").manager._clear_cache()  # type: ignore[attr-defined]
