"""Malformed and hostile models: each loads, or gives one error; none hangs, none takes the process with it."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from heads import make_head
from networks import write_bundle

from benchmarks import hostile
from jettagger.bundles import trials
from jettagger.bundles.bundle import Bundle
from jettagger.bundles.places import PACKAGE
from jettagger.bundles.registry import load_bundle
from jettagger.bundles.trials import TRIALS, require_trial, trial_seconds
from jettagger.cli import main
from jettagger.errors import LONGEST, BundleError, ConfigError, JettaggerError, ModelFileError
from jettagger.heads import load_head
from jettagger.inference.acceleration import open_session
from jettagger.runtime.processcache import forget

#: what a terminal would obey
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@pytest.fixture(autouse=True)
def _tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks are not trusted here; those that do not end are given up soon."""
    monkeypatch.setenv(TRIALS, "2")


@pytest.fixture(scope="module", autouse=True)
def _process_ends() -> Iterator[None]:
    yield
    trials._PROCESS.stop()


def test_there_are_enough_of_them() -> None:
    assert len(hostile.HOSTILE) >= 250


def test_they_depend_on_the_seed_alone(tmp_path: Path) -> None:
    for name in ("random-bytes", "flipped-10", "truncated-0.5"):
        one, two, other = (
            hostile.write(name, tmp_path / str(number), seed).joinpath("model.onnx").read_bytes()
            for number, seed in enumerate((1, 1, 2))
        )
        assert one == two
        assert (one != other) is (name != "truncated-0.5")


#: one in five each time, all of them on request
SWEEP = [
    name if number % 5 == 0 else pytest.param(name, marks=pytest.mark.slow)
    for number, name in enumerate(sorted(hostile.HOSTILE))
]


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", SWEEP)
def test_each_is_used_or_refused_with_one_error(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = hostile.write(name, tmp_path)
    status = main(["models", "check", str(folder)])
    out, err = capsys.readouterr()
    assert status in (0, 1, 2)
    assert not CONTROL.search(out + err)
    assert "Traceback" not in out + err
    assert "this is a bug" not in err
    errors = [line for line in err.splitlines() if not line.startswith("jettagger: warning: ")]
    assert all(len(line) < LONGEST + 100 for line in err.splitlines())
    if status == 2:  # some show under it where in an expression the mistake is
        assert errors[0].startswith("jettagger: error: ")
        assert all(line.startswith("  ") for line in errors[1:])
    else:
        assert errors == []
        assert "loads" in out


#: what is said of networks that no process should run
REFUSED = {
    "loop-huge": "did not end within",
    "loop-for-ever": "did not end within",
    "fan-of-concats": "did not end within",
    "constant-of-shape-terabyte": "asked for more than 4 GB of memory",
    "outer-product": "asked for more than 4 GB of memory",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_loops_without_end_and_tensors_of_any_size_are_refused_with_their_cause(name: str, tmp_path: Path) -> None:
    folder = hostile.write(name, tmp_path)
    with pytest.raises(ModelFileError, match=REFUSED[name]) as caught:
        open_session(load_bundle(folder), 1)
    assert str(folder) in str(caught.value)


def test_the_good_one_is_good(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "good").mkdir()
    hostile._save(tmp_path / "good")
    assert main(["models", "check", str(tmp_path / "good")]) == 0
    assert re.match(r"good passes (\d+) of \1 checks: ok ", capsys.readouterr().out)


class TestTrials:
    def test_what_passed_is_remembered_by_its_content(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[Any] = []
        ask = trials._PROCESS.ask
        monkeypatch.setattr(trials._PROCESS, "ask", lambda *request: asked.append(request) or ask(*request))
        folder = write_bundle(tmp_path / "x", seed=901)
        open_session(Bundle.from_folder(folder), 1)
        assert [request["what"] for request, _ in asked] == ["bundle", "session"]
        open_session(Bundle.from_folder(folder), 1)
        forget()  # what another process knows is in the cache
        open_session(Bundle.from_folder(folder), 1)
        assert len(asked) == 2
        text = (folder / "preprocess.json").read_text()
        (folder / "preprocess.json").write_text(text + "\n")
        Bundle.from_folder(folder)
        assert len(asked) == 3

    def test_without_a_cache_each_process_tries_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("JETTAGGER_CACHE", "off")
        folder = write_bundle(tmp_path / "x", seed=902)
        Bundle.from_folder(folder)
        monkeypatch.setattr(trials._PROCESS, "ask", lambda *_: pytest.fail("tried again"))
        Bundle.from_folder(folder)

    def test_what_failed_is_not_tried_again_in_this_process(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = write_bundle(tmp_path / "x", seed=903)
        monkeypatch.setattr(trials._PROCESS, "ask", lambda *_: "crashed (SIGFPE)")
        with pytest.raises(ModelFileError, match=r"crashed \(SIGFPE\)"):
            Bundle.from_folder(folder)
        monkeypatch.setattr(trials._PROCESS, "ask", lambda *_: pytest.fail("tried again"))
        with pytest.raises(ModelFileError, match=r"JETTAGGER_TRIALS=off trusts it"):
            Bundle.from_folder(folder)
        monkeypatch.setenv(TRIALS, "off")
        assert Bundle.from_folder(folder).has_weights

    def test_networks_of_the_package_are_not_tried(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(trials._PROCESS, "ask", lambda *_: pytest.fail("tried"))
        for folder in (PACKAGE / "models").iterdir():
            if folder.is_dir():
                assert Bundle.from_folder(folder).trusted
        open_session(load_bundle("tinyParT"), 1)

    def test_heads_are_tried(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = make_head(tmp_path / "head").folder
        asked: list[Any] = []
        ask = trials._PROCESS.ask
        forget()
        monkeypatch.setenv("JETTAGGER_CACHE", "off")
        monkeypatch.setattr(trials._PROCESS, "ask", lambda *request: asked.append(request) or ask(*request))
        load_head(folder)
        assert [request["what"] for request, _ in asked] == ["head"]

    def test_a_process_that_ended_is_started_again(self, tmp_path: Path) -> None:
        Bundle.from_folder(write_bundle(tmp_path / "x", seed=904))
        process = trials._PROCESS._process
        assert process is not None
        process.kill()
        process.wait()
        Bundle.from_folder(write_bundle(tmp_path / "y", seed=905))

    @pytest.mark.slow
    def test_a_crash_is_an_error_and_not_the_end(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The process is killed while it works."""
        exchange = trials._PROCESS._exchange

        def killed(process: Any, request: str | None, seconds: float) -> str | None:
            if request is not None:
                process.send_signal(signal.SIGSEGV)
                process.wait()
            return exchange(process, request, seconds)

        monkeypatch.setattr(trials._PROCESS, "_exchange", killed)
        with pytest.raises(ModelFileError, match=r"crashed \(SIGSEGV\)"):
            Bundle.from_folder(write_bundle(tmp_path / "x", seed=906))

    def test_where_no_process_can_be_started_a_warning_says_so(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trials._PROCESS.stop()
        monkeypatch.setattr(sys, "executable", str(tmp_path / "absent"))
        with pytest.warns(RuntimeWarning, match="without a trial"):
            assert Bundle.from_folder(write_bundle(tmp_path / "x", seed=907)).has_weights

    @pytest.mark.slow
    def test_in_a_process_that_may_have_no_children_of_multiprocessing(self, tmp_path: Path) -> None:
        """Workers of pools and of dask are daemons."""
        folder = write_bundle(tmp_path / "x", seed=908)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            assert pool.apply(_loaded, (str(folder),)) == (True, True)

    def test_it_ends_with_the_process_that_asked(self, tmp_path: Path) -> None:
        folder = write_bundle(tmp_path / "x", seed=909)
        code = (
            "import sys, os, signal; from jettagger.bundles import trials; "
            "from jettagger.bundles.bundle import Bundle; "
            "Bundle.from_folder(sys.argv[1]); print(trials._PROCESS._process.pid, flush=True); "
            "os.kill(os.getpid(), signal.SIGKILL)"
        )
        run = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True)
        child = int(run.stdout)
        for _ in range(600):
            if not _is_alive(child):
                return
            time.sleep(0.1)
        pytest.fail("the process outlived the one that asked")

    @pytest.mark.parametrize("text", ["0", "-1", "nan", "1e999", "soon"])
    def test_the_variable_is_checked(self, text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv(TRIALS, text)
        with pytest.raises(ConfigError, match="expected 'off' or the seconds"):
            require_trial("bundle", tmp_path, [])

    def test_the_default(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv(TRIALS)
        assert trial_seconds() == trials.SECONDS
        monkeypatch.setenv(TRIALS, "off")
        assert trial_seconds() is None


def _loaded(folder: str) -> tuple[bool, bool]:
    """In a worker: whether it is a daemon, and whether the model was tried there."""
    bundle = Bundle.from_folder(folder)
    found = (multiprocessing.current_process().daemon, bundle.has_weights and trials._PROCESS._process is not None)
    trials._PROCESS.stop()
    return found


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not (state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z")


@pytest.mark.parametrize("name", ["identity-without-inputs", "external-nul", "json-deep", "card-sha256-nul"])
def test_errors_of_the_library_are_its_own(name: str, tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        load_bundle(hostile.write(name, tmp_path))


@pytest.mark.parametrize("name", ["n" * 5000, "a\x00b", "x" * 300 + "/y", "\x1b[2Jmodel"])
def test_names_that_no_system_takes(name: str) -> None:
    with pytest.raises(JettaggerError) as caught:
        load_bundle(name)
    assert not CONTROL.search(str(caught.value))
    assert len(str(caught.value)) <= LONGEST


def test_the_trial_does_not_change_what_a_model_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_bundle(tmp_path / "x", seed=910)
    tried = Bundle.from_folder(folder)
    monkeypatch.setenv(TRIALS, "off")
    trusted = Bundle.from_folder(folder)
    assert (tried.digest, tried.outputs, tried.groups) == (trusted.digest, trusted.outputs, trusted.groups)
    np.testing.assert_equal(tried.graph, trusted.graph)
