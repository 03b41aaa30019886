"""Reads that fail for a moment are tried again and counted; what is damaged or not there is an error at once."""

from __future__ import annotations

import errno
import http.client
import threading
import zlib
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import awkward as ak
import pytest
import uproot
from coffea import processor
from coffea.nanoevents import PFNanoAODSchema
from jettagger.processors import TaggingProcessor
from searches import make_world
from test_processors import assert_same_columns
from test_resume import same

import jettagger as jt
from jettagger.cli import main
from jettagger.errors import ConfigError, InputFileError
from jettagger.files import retrying
from jettagger.files.retrying import RetryWarning, is_momentary, retried
from jettagger.files.root import EventFile
from jettagger.skims.skim import make_job, run_job
from jettagger.testing import write_pfnano


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What is waited for, which takes no time here."""
    waited: list[float] = []
    # of this module alone: threads of others wait as they do
    monkeypatch.setattr(retrying, "time", SimpleNamespace(sleep=waited.append))
    return waited


@pytest.fixture
def nano(tmp_path: Path) -> str:
    return str(write_pfnano(tmp_path / "nano.root", 20, seed=1))


class Unavailable(http.client.HTTPException):
    status = 503


class Forbidden(http.client.HTTPException):
    status = 403


URL = "root://host//a.root"


@pytest.mark.parametrize(
    ("error", "local", "remote"),
    [
        (ConnectionResetError(), True, True),
        (TimeoutError("timed out"), True, True),
        (OSError(errno.EIO, "Input/output error"), True, True),
        (OSError(errno.ESTALE, "Stale file handle"), True, True),
        (OSError("[ERROR] Server responded with an error: [3012] Internal timeout"), False, True),
        (OSError("expected Chunk of length 8, received 4"), False, True),
        (Unavailable(), True, True),
        (Forbidden(), False, False),
        (FileNotFoundError(errno.ENOENT, "No such file"), False, False),
        (PermissionError(errno.EACCES, "Permission denied"), False, False),
        (OSError(errno.ENAMETOOLONG, "File name too long"), False, False),
        (TypeError("'ClientResponseError' object is not subscriptable"), False, True),
        (TypeError("'NoneType' object is not subscriptable"), False, False),
        (zlib.error("incorrect data check"), False, False),
        (ValueError("basket does not appear to be correct"), False, False),
        (uproot.DeserializationError("damaged", None, None, {}, "a.root"), False, False),
        (InputFileError("it does not match its checksum"), False, False),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_is_tried_again(error: Exception, local: bool, remote: bool) -> None:
    for path, expected in (("a.root", local), (URL, remote)):
        assert is_momentary(error, path) is expected
        for way in ("cause", "context"):
            outer = InputFileError("cannot be read")
            setattr(outer, f"__{way}__", error)
            assert is_momentary(outer, path) is expected


@pytest.mark.parametrize("retries", [0, 1, 2, 4])
def test_attempts_and_pauses(retries: int, pauses: list[float]) -> None:
    calls, resets = [], []

    def read(failures: int) -> str:
        calls.append(1)
        if len(calls) <= failures:
            raise ConnectionResetError
        return "content"

    assert retried(partial(read, retries), URL, retries, lambda: resets.append(1)) == ("content", retries)
    assert len(calls) == retries + 1
    assert len(resets) == retries
    assert pauses == [0.5 * 2**number for number in range(retries)]
    calls.clear()
    with pytest.raises(ConnectionResetError):
        retried(partial(read, retries + 1), URL, retries)
    assert len(calls) == retries + 1


def failing(monkeypatch: pytest.MonkeyPatch, method: str, cause: Exception, times: int) -> list[str]:
    """Let files fail a number of times; the list grows with each time."""
    real, failures = getattr(EventFile, method), []

    def fail(self: EventFile, *arguments: Any, **more: Any) -> Any:
        if len(failures) < times:
            failures.append(method)
            raise InputFileError("the server is busy") from cause
        return real(self, *arguments, **more)

    monkeypatch.setattr(EventFile, method, fail)
    return failures


@pytest.mark.parametrize("method", ["__init__", "read", "edges"])
def test_tagging_goes_on_with_the_same_result(
    method: str, nano: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"columns": ["prob"], "memory": 300_000}
    whole = jt.tag_files([nano], "tinyParT", str(tmp_path / "whole.parquet"), **settings)
    with monkeypatch.context() as patch:
        failures = failing(patch, method, ConnectionResetError(), 2)
        with pytest.warns(RetryWarning, match=r"^2 reads failed temporarily and were tried again, first in .*nano"):
            found = jt.tag_files([nano], "tinyParT", str(tmp_path / "found.parquet"), **settings)
    assert len(failures) == 2
    same(found.path, whole.path)
    for times, cause, tried, retries in ((2, ConnectionResetError(), 2, 1), (1, zlib.error("damaged"), 1, 2)):
        with monkeypatch.context() as patch:
            failures = failing(patch, method, cause, times)
            with pytest.raises(InputFileError, match="the server is busy"):
                jt.tag_files([nano], "tinyParT", str(tmp_path / "none.parquet"), retries=retries, **settings)
        assert len(failures) == tried
    assert not (tmp_path / "none.parquet").exists()
    with pytest.raises(ConfigError, match="retries must not be below zero, got -1"):
        jt.tag_files([nano], "tinyParT", str(tmp_path / "none.parquet"), retries=-1)


def test_chunks_are_counted(nano: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = make_job([nano], jt.load_tagger("tinyParT"), columns=["prob"], memory=300_000)
    assert len(job.chunks) > 1
    failing(monkeypatch, "read", OSError(errno.EIO, "Input/output error"), 1)
    with pytest.warns(RetryWarning, match=r"^1 read failed temporarily and was tried again, first in events 0 to "):
        result = run_job(job, str(tmp_path / "s.parquet"))
    assert result.report.retried == 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::jettagger.processors.search.SearchWarning")
def test_a_search_notes_it_and_does_not_try_damage_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from jettagger.search import read_config, run_search, survey

    config = read_config(make_world(tmp_path))
    tried = failing(monkeypatch, "__init__", ConnectionResetError(), 2)
    found = survey(config, config.make_processor())
    assert len(tried) == 2
    assert sum(found.retried.values()) == 2
    result = run_search(config, found=found)
    (note,) = [note for note in result.notes if "failed temporarily" in note]
    assert note.startswith("2 reads failed temporarily and were tried again, first in ")
    content = bytearray((tmp_path / "tt1.root").read_bytes())
    (tmp_path / "tt1.root").write_bytes(content[:300])
    opened: list[str] = []
    real = uproot.open
    monkeypatch.setattr(uproot, "open", lambda path, **more: (opened.append(str(path)), real(path, **more))[1])
    with pytest.raises(InputFileError, match=r"tt1\.root"):
        survey(config, config.make_processor())
    assert sum("tt1" in path for path in opened) == 1


@pytest.mark.slow
def test_coffea_tries_the_processor_again(nano: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def run() -> Any:
        runner = processor.Runner(processor.IterativeExecutor(status=False), schema=PFNanoAODSchema, chunksize=10)
        instance = TaggingProcessor("tinyParT", columns=["prob"])
        return runner({"A": {"files": {nano: "Events"}}}, processor_instance=instance)

    expected = run()
    real, failures = jt.Tagger.attach, []

    def attach(self: jt.Tagger, *arguments: Any, **more: Any) -> Any:
        if len(failures) < 2:
            failures.append(1)
            raise ConnectionResetError
        return real(self, *arguments, **more)

    monkeypatch.setattr(jt.Tagger, "attach", attach)
    with pytest.warns(UserWarning, match="Performed attempt"):
        found = run()
    assert len(failures) == 2
    assert_same_columns(found, expected)


class Busy(SimpleHTTPRequestHandler):
    """A server of ranges of files that is busy now and then."""

    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        if type(self).asked in (1, 6, 15):
            self.send_error(503)
            return
        content = Path(self.translate_path(self.path)).read_bytes()
        first, last = self.headers["Range"].removeprefix("bytes=").split("-")
        answer = content[int(first) : int(last) + 1 if last else None]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{int(first) + len(answer) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Nothing is said."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Busy, directory=str(tmp_path))) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_address[1]}"
        serving.shutdown()


@pytest.mark.filterwarnings("always::jettagger.files.retrying.RetryWarning")
def test_a_busy_server(server: str, nano: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("aiohttp", reason="fsspec reads URLs with aiohttp, which is not installed")
    command = ["tag", "-m", "tinyParT", "--columns", "prob", "--threads", "1", "--retries", "3", "-o"]
    assert main([*command, str(tmp_path / "local.root"), nano]) == 0
    capsys.readouterr()
    assert main([*command, str(tmp_path / "remote.root"), f"{server}/nano.root"]) == 0
    said = capsys.readouterr()
    assert "failed temporarily and w" in said.err
    assert "reads that failed temporarily" in said.out
    with uproot.open(tmp_path / "local.root") as one, uproot.open(tmp_path / "remote.root") as two:
        left, right = one["Events"].arrays(), two["Events"].arrays()
    assert left.fields == right.fields
    assert ak.array_equal(left, right, equal_nan=True)
