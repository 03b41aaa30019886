"""Ctrl-C, SIGTERM and SIGHUP in the middle of each command: one line, nothing half-written, no process left."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from command_lines import LINES
from survivors import PATIENCE, descendants, ended, hold, running, survivors, until

from jettagger.cli import COMMANDS, main, parser_of
from jettagger.cli.console import Console
from jettagger.cli.parser import leaves
from jettagger.cli.stopping import stop_signals

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are counted in /proc")

WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "hung up"}

#: commands of which only the answer can be interrupted
TELLERS = (
    *("models list", "models show", "discriminants list", "discriminants show", "discriminants groups", "schema"),
    *("completion", "provenance"),
)

#: commands without progress or epochs, which are stopped when their output is complete, but has no name yet
WRITERS = (
    *("show", "models check", "models add", "models remove", "models serve-config", "jec import", "jec plot"),
    *("jec standard", "jec predict", "assignment import", "assignment export", "assignment import-weights"),
    *("models accept", "assignment evaluate"),
)

#: a command whose work stops at a point that leaves a file, until a signal comes
SCRIPT = """
import os, sys
from pathlib import Path
import test_signals
from survivors import hold

def reached():
    Path(os.environ["REACHED"]).touch()
    hold(600)

if __name__ == "__main__":
    from jettagger.cli import main
    with test_signals.stopping(os.environ["POINT"], reached):
        sys.exit(main())
"""


def point_of(command: str) -> str:
    """What is interrupted: an answer, a complete file without its name, or the work."""
    return "answer" if command in TELLERS else "name" if command in WRITERS else "work"


@contextmanager
def stopping(point: str, reached: Callable[[], None]) -> Iterator[None]:
    """Have a function called at a point of a command."""
    with pytest.MonkeyPatch.context() as patch:
        if point == "answer":
            for name in ("answer", "say", "table"):
                patch.setattr(Console, name, lambda *_, **__: reached())
        elif point == "name":
            rename = os.replace

            def replace(source: Any, target: Any) -> None:
                if ".resume" not in str(target) and "cache" not in str(target):
                    reached()
                rename(source, target)

            patch.setattr(os, "replace", replace)
        else:
            bar = Console.progress_bar

            @contextmanager
            def progress_bar(console: Console, *arguments: Any) -> Iterator[Callable[[int], None]]:
                with bar(console, *arguments) as advance:

                    def slow(done: int) -> None:
                        advance(done)
                        reached()

                    yield slow

            patch.setattr(Console, "progress_bar", progress_bar)
            with suppress(ImportError):
                from jettagger.training import live

                patch.setattr(live, "_lines", lambda _: lambda _: reached())
        yield


#: the state of what goes on when it is repeated
KEPT = re.compile(r"\.(resume|blocks)\b")


def content(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not KEPT.search(str(path))}


def check_said(said: str, number: signal.Signals) -> None:
    """One line about the signal, after what was said of the work and of what is kept."""
    *others, last = said.splitlines()
    assert last == f"jettagger: {WORDS[number]}, nothing half-written is left"
    assert "Traceback" not in said
    assert not [line for line in others if "half-written" in line]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[list[str], Path]]:
    """The arguments of a command, and the folder of its inputs and outputs, made once."""
    made: dict[str, tuple[list[str], Path]] = {}

    def find(command: str) -> tuple[list[str], Path]:
        if command not in made:
            folder = tmp_path_factory.mktemp(command.replace(" ", "_"))
            made[command] = [str(item) for item in LINES[command](folder)], folder
        for path in [path for path in made[command][1].rglob("*") if KEPT.search(path.name)]:  # of a test before
            shutil.rmtree(path)
        return made[command]

    return find


def test_every_command_is_in_these_tests() -> None:
    found = {" ".join(words) for verb in COMMANDS for words, _ in leaves(parser_of(verb), [verb])}
    assert found == set(LINES)
    assert set(TELLERS) | set(WRITERS) <= found


def of_verb(verb: str) -> str:
    """One command of a verb, which runs as a process."""
    return next(name for name in (verb, f"{verb} train", f"{verb} add", f"{verb} list") if name in LINES)


@pytest.mark.slow
@pytest.mark.parametrize(("place", "verb"), list(enumerate(COMMANDS)), ids=list(COMMANDS))
def test_a_process(place: int, verb: str, inputs: Callable[[str], tuple[list[str], Path]], tmp_path: Path) -> None:
    """Signals take turns; all of them are tried with each command below."""
    number = list(WORDS)[place % 3]
    command = of_verb(verb)
    arguments, folder = inputs(command)
    before = content(folder)
    script, reached = tmp_path / "command.py", tmp_path / "reached"
    script.write_text(SCRIPT)
    settings = {"REACHED": str(reached), "POINT": point_of(command)}
    with running(script, arguments, folder, **settings) as process:
        until(reached.exists, process)
        assert process.poll() is None, process.communicate()
        children = descendants(process.pid)
        os.killpg(process.pid, number)
        out, said = ended(process)
    assert process.returncode == 128 + number, said
    check_said(said, number)
    assert survivors(children) == []
    assert content(folder) == before
    if point_of(command) != "work" and verb != "finetune":
        assert out == ""


@pytest.fixture
def by_hand() -> Iterator[None]:
    """Signals as of a process that is started by hand, also for tests in the background."""
    before = {number: signal.getsignal(number) for number in WORDS}
    for number in WORDS:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


#: commands whose work is in other processes, which are stopped as processes alone: above, in the tests of simulations
#: and below
WITH_PROCESSES = ("simulate", "assignment tune", "jec steer")

#: a command as it is, whose first worker leaves a file when it has what it needs
PLAIN = """
import os, sys
from pathlib import Path

if __name__ == "__mp_main__":
    Path(os.environ["REACHED"]).touch()
if __name__ == "__main__":
    from jettagger.cli import main
    sys.exit(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "number", "send"),
    [("assignment tune", signal.SIGTERM, os.kill), ("jec steer", signal.SIGINT, os.killpg)],
    ids=["tune", "steer"],
)
def test_a_command_that_waits_for_its_processes(
    command: str,
    number: signal.Signals,
    send: Callable[[int, int], None],
    inputs: Callable[[str], tuple[list[str], Path]],
    tmp_path: Path,
) -> None:
    """From a batch system to the command alone, from a keyboard to all of them."""
    arguments, folder = inputs(command)
    before = content(folder)
    (tmp_path / "command.py").write_text(PLAIN)
    reached = tmp_path / "reached"
    with running(tmp_path / "command.py", arguments, folder, REACHED=str(reached)) as process:
        # trainings of steer are commands
        until(lambda: reached.exists() if command == "assignment tune" else descendants(process.pid), process)
        assert process.poll() is None, process.communicate()
        children = descendants(process.pid)
        send(process.pid, number)
        _, said = ended(process)
    assert process.returncode == 128 + number, said
    check_said(said, number)
    assert survivors(children) == []
    assert content(folder) == before


@pytest.mark.slow
@pytest.mark.parametrize("command", [name for name in LINES if name not in WITH_PROCESSES])
@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("by_hand")
def test_all_signals(
    command: str, inputs: Callable[[str], tuple[list[str], Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    """In this process: at its point, and when the output is complete, but has no name yet."""
    other = "answer" if command in TELLERS else "name"
    for number, point in zip(WORDS, (point_of(command), point_of(command), other), strict=True):
        arguments, folder = inputs(command)
        before = content(folder)
        calls = []

        def reached(number: int = number, calls: list[int] = calls) -> None:
            calls.append(1)
            os.kill(os.getpid(), number)
            hold(PATIENCE)

        capsys.readouterr()
        with stopping(point, reached):
            assert main(arguments) == 128 + number
        assert calls == [1]
        check_said(capsys.readouterr().err, number)
        assert content(folder) == before, point


def test_signals_that_are_ignored_stay_ignored() -> None:
    """As under nohup, and SIGINT of a job in the background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stop_signals() as stop:
            os.kill(os.getpid(), signal.SIGINT)
        assert stop.number == 0
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


#: a second signal while a pool has semaphores, which Python would warn of
TWICE = """
import multiprocessing, signal
from jettagger.cli.stopping import stop_signals
signal.signal(signal.SIGINT, signal.default_int_handler)
semaphores = [multiprocessing.get_context("spawn").Semaphore() for _ in range(3)]
with stop_signals(last=True):
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        signal.raise_signal(signal.SIGINT)
"""


def test_a_second_signal_says_one_line() -> None:
    done = subprocess.run([sys.executable, "-c", TWICE], capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert done.stderr == "jettagger: interrupted and ended at once, nothing half-written is left\n"
