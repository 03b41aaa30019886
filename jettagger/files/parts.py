"""Hidden temporary files next to outputs: their owners, and removal of those left by processes that are gone.

The name of a partial file contains the machine, the ID and the start time of the process that writes it, so that other
processes can tell whether it is still running. A process that is killed (``kill -9``, the memory limit of a batch
system) leaves its partial files; the next process that writes to the same folder removes them with a message.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import warnings
from contextlib import suppress
from functools import cache
from pathlib import Path

__all__ = [
    "StalePartWarning",
    "drop_own",
    "forget",
    "owned_by",
    "part_prefix",
    "process_start",
    "remember",
    "remove_stale",
]

_NAME = re.compile(r"^\..*\.(?P<kind>part|old)-(?P<machine>[0-9a-f]{8})-(?P<pid>\d+)-(?P<start>\d+)-")

#: file systems limit names to 255 bytes; the other parts of the name take up to 80 of them
_STEM_BYTES = 120

#: inode of the initial process namespace of a Linux system; containers have others
_FIRST_NAMESPACE = 4026531836

_OWN: set[Path] = set()
_SCANNED: set[str] = set()


class StalePartWarning(UserWarning):
    """The partial file of a killed process was removed."""


def process_start(pid: int) -> int | None:
    """Start time of a process in ticks since boot; together with the process ID it is unique.

    Parameters
    ----------
    pid : int

    Returns
    -------
    int or None
        0 if the system does not provide it; None if there is no such process, or if it is a zombie.

    Examples
    --------
    >>> process_start(os.getpid()) == process_start(os.getpid())
    True
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except OSError:
            pass
        return 0
    return None if fields[0] in "ZX" else int(fields[19])


@cache
def _machine() -> str:
    """The namespace of process IDs: a host, or a container on it."""
    place = socket.gethostname()
    with suppress(OSError):
        namespace = os.stat("/proc/self/ns/pid").st_ino
        if namespace != _FIRST_NAMESPACE:
            place += f" {namespace} {Path('/proc/sys/kernel/random/boot_id').read_text()}"
    return hashlib.sha256(place.encode()).hexdigest()[:8]


def part_prefix(name: str, kind: str = "part") -> str:
    """Prefix of the names of this process's partial files.

    Parameters
    ----------
    name : str
        Name of the output, without suffix; a long one is truncated.
    kind : {"part", "old"}
        A new output, or a former one that is being replaced.

    Returns
    -------
    str

    Examples
    --------
    >>> owned_by(part_prefix("scores") + "x.root") == (os.getpid(), process_start(os.getpid()))
    True
    """
    stem = name.encode()[:_STEM_BYTES].decode(errors="ignore")
    return f".{stem}.{kind}-{_machine()}-{os.getpid()}-{process_start(os.getpid()) or 0}-"


def owned_by(name: str) -> tuple[int, int] | None:
    """Process ID and start time of the writer of a partial file; None for other files and other machines."""
    match = _NAME.match(name)
    if match is None or match["machine"] != _machine():
        return None
    return int(match["pid"]), int(match["start"])


def remember(part: Path) -> None:
    """Register a partial file of this process, for `drop_own`."""
    _OWN.add(part)


def forget(part: Path) -> None:
    """Unregister a partial file that was renamed or removed."""
    _OWN.discard(part)


def drop_own() -> None:
    """Remove all partial files of this process, which is about to end."""
    for part in list(_OWN):
        _delete(part)


def remove_stale(folder: str | os.PathLike[str], *, quiet: bool = False) -> None:
    """Remove partial files of dead processes in a folder, and restore outputs that were being replaced.

    Parameters
    ----------
    folder : path
    quiet : bool
        Give no message, and look only once per process: for folders with many writes.

    Warns
    -----
    StalePartWarning
        Names the removed files.
    """
    folder = Path(folder)
    key = os.path.abspath(folder)
    if quiet and key in _SCANNED:
        return
    _SCANNED.add(key)
    try:
        names = [entry.name for entry in os.scandir(folder) if entry.name.startswith(".")]
    except OSError:  # who writes there says what is wrong
        return
    for name in sorted(names):
        owner = owned_by(name)
        if owner is None or process_start(owner[0]) == owner[1]:
            continue
        path = folder / name
        said = []
        if ".old-" in name and (path / "old").exists():
            output = folder / name[1:].rpartition(".old-")[0]
            if not output.exists():
                with suppress(OSError):
                    os.replace(path / "old", output)
                    said.append(f"{output} is back: process {owner[0]} was killed while it replaced it")
        if _delete(path) and not said:
            said.append(f"removed {path}, which process {owner[0]} left half-written when it was killed")
        for text in said if not quiet else []:
            warnings.warn(text, StalePartWarning, stacklevel=3)


def _delete(path: Path) -> bool:
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError:
        return False
    return True
