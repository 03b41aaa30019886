"""Freed memory that is kept, and given back: resident pages of a process of its own."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import textwrap
from typing import Any

import pytest

from jettagger.runtime import memory
from jettagger.runtime.memory import freed_memory_kept

SCRIPT = """
    import sys
    import numpy as np
    from jettagger.runtime.memory import freed_memory_kept

    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096 / 2**20

    def use():
        arrays = [np.ones(2**20) for _ in range(20)]  # 8 MB each
        del arrays
        return resident()

    start = resident()
    found = [use() - start]
    with freed_memory_kept():
        with freed_memory_kept():
            found.append(use() - start)
        found.append(resident() - start)
    found.append(resident() - start)
    found.append(use() - start)
    print(*found)
"""


def pages(**variables: str) -> list[bool]:
    """Whether more than 80 of 160 MB are resident: before, inside, after the inner block, at the end, later."""
    environment = {name: value for name, value in os.environ.items() if "MALLOC" not in name}
    environment.pop("GLIBC_TUNABLES", None)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SCRIPT)],
        env={**environment, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return [float(text) > 80 for text in done.stdout.split()]


@pytest.mark.skipif(
    not (sys.platform == "linux" and hasattr(ctypes.CDLL(None), "gnu_get_libc_version")), reason="no glibc"
)
class TestPages:
    def test_they_stay_until_the_end_of_the_outermost_block(self) -> None:
        assert pages() == [False, True, True, False, False]

    def test_settings_of_the_user_stay(self) -> None:
        assert pages(MALLOC_TRIM_THRESHOLD_="131072") == 5 * [False]
        assert pages(GLIBC_TUNABLES="glibc.malloc.trim_threshold=131072") == 5 * [False]


class Recorded:
    """A C library that says what it is asked for."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def mallopt(self, parameter: int, value: int) -> None:
        self.calls.append((parameter, value))

    def malloc_trim(self, pad: int) -> None:
        self.calls.append(("trim", pad))


def test_blocks_in_blocks_and_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Recorded()
    monkeypatch.setattr(memory, "_glibc", lambda: library)

    @freed_memory_kept()
    def failing() -> None:
        raise KeyError("x")

    with freed_memory_kept():
        inside = list(library.calls)
        with pytest.raises(KeyError):
            failing()
        assert library.calls == inside
    assert library.calls[-1] == ("trim", 0)
    assert dict(inside)[-4] == 0
    assert dict(call for call in library.calls if call[0] != "trim")[-4] == 65536


def test_without_glibc(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: None) -> None:
        raise TypeError

    monkeypatch.setattr(memory.ctypes, "CDLL", none)
    assert memory._glibc() is None
    with freed_memory_kept():
        pass
