"""How many threads: what affinity, control groups, workers and the environment say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jettagger.bundles.bundle import Bundle
from jettagger.errors import ConfigError
from jettagger.inference.acceleration import open_session
from jettagger.sessions import threads
from jettagger.sessions.threads import cgroup_cores, default_threads, usable_cores


def groups(tmp_path: Path, membership: str, **files: str) -> tuple[Path, Path]:
    for name, content in files.items():
        path = tmp_path / "cgroup" / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.with_name(path.name.replace("_max", ".max").replace("cfs", "cpu.cfs"))).write_text(content)
    (tmp_path / "cgroup").mkdir(exist_ok=True)
    (tmp_path / "self").write_text(membership)
    return tmp_path / "cgroup", tmp_path / "self"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"a__cpu_max": "max 100000\n"}, None),
        ({"a__b__cpu_max": "250000 100000\n"}, 2.5),
        ({"a__b__cpu_max": "max 100000\n", "a__cpu_max": "400000 100000\n"}, 4),
        ({"a__b__cpu_max": "800000 100000\n", "a__cpu_max": "400000 100000\n"}, 4),
        ({"cpu_max": "100000 100000\n"}, 1),
        ({"a__cpu_max": "nonsense\n"}, None),
        ({"a__cpu_max": "100000 0\n"}, None),
    ],
)
def test_version_2(tmp_path: Path, files: dict[str, str], expected: float | None) -> None:
    assert cgroup_cores(*groups(tmp_path, "0::/a/b\n", **files)) == expected


def test_version_1(tmp_path: Path) -> None:
    membership = "5:memory:/x\n4:cpu,cpuacct:/slot1\n"
    files = {"cpu,cpuacct__slot1__cfs_quota_us": "300000\n", "cpu,cpuacct__slot1__cfs_period_us": "100000\n"}
    assert cgroup_cores(*groups(tmp_path, membership, **files)) == 3
    none = {"cpu,cpuacct__slot1__cfs_quota_us": "-1\n"}
    assert cgroup_cores(*groups(tmp_path, membership, **none)) is None


def test_without_control_groups(tmp_path: Path) -> None:
    assert cgroup_cores(tmp_path, tmp_path / "none") is None


@pytest.mark.parametrize(("limit", "expected"), [(None, 8), (2.0, 2), (1.5, 1), (0.3, 1), (64.0, 8)])
def test_the_smaller_counts(monkeypatch: pytest.MonkeyPatch, limit: float | None, expected: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(threads, "cgroup_cores", lambda: limit)
    assert usable_cores() == expected
    assert default_threads() == expected


def test_the_environment_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JETTAGGER_THREADS", "3")
    assert default_threads() == 3
    for wrong in ("0", "two", "-1"):
        monkeypatch.setenv("JETTAGGER_THREADS", wrong)
        with pytest.raises(ConfigError, match=r"\$JETTAGGER_THREADS must be a whole number of at least 1"):
            default_threads()


def test_a_worker_takes_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "in_worker", lambda: True)
    assert default_threads() == 1


def test_threads_of_a_network_do_not_spin(tiny: Bundle) -> None:
    """Idle threads of one network leave the cores to the others."""
    for backend in ("fast", "onnxruntime"):
        session: Any = open_session(tiny, 2, backend=backend)
        options = session._session.get_session_options()
        assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 1)
        assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_affinity_is_respected() -> None:
    """As seen by a process that may use one core only."""
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system has no affinity")
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); from jettagger.sessions.threads import *; "
    )
    code += "print(usable_cores(), default_threads())"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["1", "1"]
