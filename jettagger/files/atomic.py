"""Writing of files and folders: an output is complete or absent, and never one of its own inputs."""

from __future__ import annotations

import errno
import os
import posixpath
import re
import shutil
import stat
import tempfile
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from jettagger.errors import InputFileError, JettaggerError, MismatchError, OutputError, output_exists
from jettagger.files.parts import forget, part_prefix, remember, remove_stale

__all__ = [
    "SEPARATOR",
    "allowed_mode",
    "check_folder",
    "complete_or_absent",
    "folder_complete_or_absent",
    "follow",
    "identity",
    "refuse_inputs",
    "refuse_repeats",
    "refuse_special",
    "replace_folder",
    "special",
]

#: separates a tarball and its member: ``QCD_0000-0009.tar::QCD_0003.root``
SEPARATOR = "::"

#: wrappers of fsspec that cache a copy of the same file
_CACHES = re.compile(r"^((simplecache|filecache|blockcache)::)+")

#: default port of a protocol
_PORTS = {"root": 1094, "http": 80, "https": 443}


def identity(path: str | os.PathLike[str]) -> Hashable:
    """A common key of all names of one file: relative and absolute paths, links, spellings of a URL.

    Parameters
    ----------
    path : path or str
        Local, a URL, or a member of a tarball, ``TARBALL::MEMBER``. It need not exist.

    Returns
    -------
    hashable
        Equal for two names of the same file. Local files are compared by device and inode, URLs by protocol, host, port
        and path.

    Examples
    --------
    >>> identity("root://eos.cern.ch//store/a.root") == identity("root://EOS.cern.ch:1094/store/./a.root?auth=x")
    True
    >>> identity("a.root") == identity("./a.root"), identity("a.root") == identity("b.root")
    (True, False)
    """
    text = _CACHES.sub("", os.fspath(path))
    if text.startswith("file:"):
        text = unquote(urlsplit(text).path)
    front, _, member = text.partition(SEPARATOR)
    if "://" in front:
        return _url_identity(text)
    if "\0" in front:  # no file has such a name; who opens it says so
        return ("path", front, member)
    try:
        status = os.stat(front)
    except OSError:  # not there: nothing but its place tells it from others
        return ("path", os.path.realpath(front), member)
    return ("inode", status.st_dev, status.st_ino, member)


def _url_identity(url: str) -> Hashable:
    try:
        parts = urlsplit(url)
    except ValueError:  # who opens it says what is wrong with it
        return ("url", url)
    protocol = {"xroot": "root", "roots": "root", "xroots": "root"}.get(parts.scheme.lower(), parts.scheme.lower())
    port = parts.netloc.rpartition("@")[2].partition(":")[2] or str(_PORTS.get(protocol, ""))
    place = "/" + posixpath.normpath(unquote(parts.path)).lstrip("/")
    # what follows the question mark says in XRootD how a file is reached, elsewhere which one is meant
    return ("url", protocol, (parts.hostname or "").lower(), port, place, "" if protocol == "root" else parts.query)


def refuse_inputs(output: str | os.PathLike[str], inputs: Iterable[str | os.PathLike[str]]) -> None:
    """Refuse an output that is one of its inputs, or a folder that contains one.

    Writing it would destroy the input, so not even ``force`` allows it.

    Parameters
    ----------
    output : path
        The file or folder to write.
    inputs : iterable of path
        All inputs: data, configurations, files of models.

    Raises
    ------
    OutputError

    Examples
    --------
    >>> refuse_inputs("skim.root", ["nano.root"])
    >>> refuse_inputs("nano.root", ["./nano.root"])
    Traceback (most recent call last):
        ...
    jettagger.errors.OutputError: nano.root is an input (./nano.root) and cannot be the output, not even with ...: ...
    """
    output = os.fspath(output)
    mine = identity(output)
    is_folder = os.path.isdir(output)
    known: dict[str, bool] = {}
    for path in (os.fspath(path) for path in inputs):
        whole = path if "://" in path else path.partition(SEPARATOR)[0]
        if identity(whole) == mine:
            raise OutputError(
                f"{output} is an input ({path}) and cannot be the output, not even with --force: it would be "
                "overwritten; choose another output"
            )
        if not is_folder or "://" in whole:
            continue
        for name in (os.path.abspath(whole), os.path.realpath(whole)):
            folder = os.path.dirname(name)
            if folder not in known:
                known[folder] = any(identity(place) == mine for place in (folder, *map(str, Path(folder).parents)))
            if known[folder]:
                raise OutputError(
                    f"the folder {output} holds an input ({path}) and cannot be the output, not even with --force: all "
                    "of it would be replaced; choose another output"
                )


def refuse_repeats(paths: Iterable[str | os.PathLike[str]]) -> None:
    """Refuse inputs given twice, also by different names: their events would be counted twice.

    Parameters
    ----------
    paths : iterable of path
        As for `identity`.

    Raises
    ------
    MismatchError
        Gives both names.

    Examples
    --------
    >>> refuse_repeats(["a.root", "b.root"])
    >>> refuse_repeats(["a.root", "./a.root"])
    Traceback (most recent call last):
        ...
    jettagger.errors.MismatchError: the same file is given twice, a.root and ./a.root: its events would count twice
    """
    seen: dict[Hashable, str] = {}
    for path in (os.fspath(path) for path in paths):
        key = identity(path)
        if key in seen:
            both = path if seen[key] == path else f"{seen[key]} and {path}"
            raise MismatchError(f"the same file is given twice, {both}: its events would count twice")
        seen[key] = path


def follow(target: str | os.PathLike[str]) -> Path:
    """The final location of an output: symbolic links are kept, their target is written.

    Users who link an output to another disk want it there, also if the target does not exist yet.

    Parameters
    ----------
    target : path
        A file or folder that need not exist, or a symbolic link to one.

    Returns
    -------
    pathlib.Path
        ``target`` itself if it is not a link.

    Raises
    ------
    OutputError
        If links are circular, or the name cannot be that of a file.

    Examples
    --------
    >>> folder = Path(tempfile.mkdtemp()).resolve()
    >>> (folder / "link").symlink_to(folder / "disk")
    >>> follow(folder / "link") == folder / "disk", follow(folder / "a") == folder / "a"
    (True, True)
    """
    target = Path(target)
    try:
        if not stat.S_ISLNK(os.lstat(target).st_mode):
            return target
    except (FileNotFoundError, NotADirectoryError):  # who makes it says so
        return target
    except (OSError, ValueError) as error:
        raise OutputError(f"cannot write {target}: {_reason(error)}") from error
    place = Path(os.path.realpath(target))
    if place.is_symlink():
        raise OutputError(f"cannot write {target}: it is a symbolic link that leads back to itself")
    if not place.parent.is_dir():
        raise OutputError(
            f"cannot write {target}: it is a link to {place}, and the folder {place.parent} does not exist"
        )
    return place


def _reason(error: OSError | ValueError) -> str:
    return getattr(error, "strerror", None) or str(error)


def allowed_mode(beside: Path, *, folder: bool = False) -> int:
    """The permissions of a new file or folder, as determined by the umask or the defaults of the folder.

    Parameters
    ----------
    beside : pathlib.Path
        An unused name in the folder in question.
    folder : bool
        Whether the permissions are those of a folder.

    Returns
    -------
    int
        E.g. ``0o644``.

    Notes
    -----
    An empty file is created and removed. The umask can be read only by setting it, for all threads of a process.
    """
    probe = f"{beside}.mode"
    if folder:
        os.mkdir(probe)
        try:
            return stat.S_IMODE(os.stat(probe).st_mode) & 0o777
        finally:
            os.rmdir(probe)
    handle = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        return stat.S_IMODE(os.fstat(handle).st_mode)
    finally:
        os.close(handle)
        os.unlink(probe)


_SPECIAL = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def special(path: str | os.PathLike[str]) -> str:
    """The kind of a path whose opening may block: a named pipe, a socket, a device; empty for all others.

    Parameters
    ----------
    path : path
        Local, a URL, or a member of a tarball, ``TARBALL::MEMBER``. It need not exist.

    Returns
    -------
    str

    Examples
    --------
    >>> special("/dev/null"), special("/dev"), special("root://host//a.root")
    ('a device', '', '')
    """
    front = os.fspath(path).partition(SEPARATOR)[0]
    if "://" in front:
        return ""
    try:
        return _SPECIAL.get(stat.S_IFMT(os.stat(front).st_mode), "")
    except (OSError, ValueError):  # who opens it says what is wrong with it
        return ""


def refuse_special(path: str | os.PathLike[str], error: type[JettaggerError] = InputFileError) -> None:
    """Refuse an input that is not a file before it is opened: opening a named pipe blocks until there is a writer.

    A path that names nothing on any disk, empty, too long or with a zero byte, is refused as well.

    Parameters
    ----------
    path : path
        As for `special`.
    error : type
        Class of the exception.

    Raises
    ------
    JettaggerError

    Examples
    --------
    >>> refuse_special("/dev/null")
    Traceback (most recent call last):
        ...
    jettagger.errors.InputFileError: /dev/null is a device, expected a file; write its content to a file first
    """
    front = os.fspath(path).partition(SEPARATOR)[0]
    if not front:
        raise error("the name of a file is empty, expected a path")
    kind = special(path)
    if kind:
        raise error(f"{front} is {kind}, expected a file; write its content to a file first")
    if "://" not in front:
        try:
            os.lstat(front)
        except ValueError as problem:  # a zero byte
            raise error(f"{front!r} cannot be the name of a file: {problem}") from None
        except OSError as problem:
            if problem.errno == errno.ENAMETOOLONG:
                raise error(f"{front} cannot be the name of a file: {problem.strerror}") from None


@contextmanager
def complete_or_absent(target: str | os.PathLike[str], *, force: bool = True) -> Iterator[Path]:
    """A temporary path in the folder of ``target``, renamed to ``target`` if the block ends without an error.

    Parameters
    ----------
    target : path
        The file to write. A symbolic link is kept, and its target is replaced or created.
    force : bool
        Whether an existing ``target`` may be replaced.

    Yields
    ------
    pathlib.Path
        Path to write to; it has the suffix of ``target``, is in the folder of the final file, and is readable only by
        its owner until it is complete.

    Raises
    ------
    OutputError
        If the folder does not exist or is not writable, if ``target`` exists and ``force`` is not given or it is not a
        file (a folder, a device, a named pipe), or if the disk is full. Nothing is left in these cases.

    Examples
    --------
    >>> folder = Path(tempfile.mkdtemp())
    >>> with complete_or_absent(folder / "a.txt") as part:
    ...     _ = part.write_text("complete")
    >>> sorted(path.name for path in folder.iterdir())
    ['a.txt']
    """
    target = follow(named := Path(target))
    if target.is_dir():
        raise OutputError(f"cannot write {named}: it is a folder, expected the name of a file")
    if not force and target.exists():
        raise output_exists(named)
    if target.exists() and not target.is_file():
        raise OutputError(f"cannot write {named}: it is a device or a pipe, expected the name of a file")
    remove_stale(target.parent, quiet=True)
    try:
        handle, name = tempfile.mkstemp(suffix=named.suffix, prefix=part_prefix(target.stem), dir=target.parent)
    except OSError as error:
        raise OutputError(f"cannot write {named}: {error.strerror or error}") from error
    part = Path(name)
    remember(part)
    try:
        os.close(handle)
        mode = allowed_mode(part)
        yield part
        part.chmod(mode)
        os.replace(part, target)
    except OSError as error:
        if isinstance(error, (FileNotFoundError, PermissionError)) and error.filename not in (name, part):
            raise
        raise OutputError(
            f"cannot write {named} completely: {error.strerror or error}; no partial output was left"
        ) from error
    finally:
        with suppress(FileNotFoundError):
            part.unlink()
        forget(part)


@contextmanager
def folder_complete_or_absent(target: str | os.PathLike[str], *, marker: str, force: bool = False) -> Iterator[Path]:
    """A temporary folder next to ``target``, renamed to ``target`` if the block ends without an error.

    Parameters
    ----------
    target : path
        The folder to write. A symbolic link is kept, and its target is replaced or created.
    marker : str
        A file in every such folder: only a folder that contains it, or an empty one, is ever replaced.
    force : bool
        Whether an existing one may be replaced.

    Yields
    ------
    pathlib.Path
        Accessible only to its owner until it is complete.

    Raises
    ------
    OutputError
        If it exists and ``force`` is not given, is something else, or cannot be written.
    """
    target = follow(named := check_folder(target, marker=marker, force=force))
    try:
        part = Path(tempfile.mkdtemp(prefix=part_prefix(target.name), dir=target.parent))
    except OSError as error:
        raise OutputError(f"cannot write {named}: {error.strerror or error}") from error
    remember(part)
    try:
        mode = allowed_mode(part, folder=True)
        yield part
        part.chmod(mode)
        replace_folder(part, target)
    except OSError as error:
        raise OutputError(
            f"cannot write {named} completely: {error.strerror or error}; no partial output was left"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
        forget(part)


def replace_folder(folder: Path, target: Path) -> None:
    """Rename a folder; an existing target is removed after success, and restored after failure.

    Parameters
    ----------
    folder, target : pathlib.Path
        Both in the same folder.

    Raises
    ------
    OSError
    """
    if not target.exists():
        os.replace(folder, target)
        return
    old = Path(tempfile.mkdtemp(prefix=part_prefix(target.name, "old"), dir=target.parent))
    try:
        os.replace(target, old / "old")
        try:
            os.replace(folder, target)
        except BaseException:
            os.replace(old / "old", target)
            raise
    except BaseException:
        with suppress(OSError):  # empty, unless what was in the way could not be put back
            old.rmdir()
        raise
    shutil.rmtree(old)


def check_folder(
    target: str | os.PathLike[str],
    *,
    marker: str,
    force: bool = False,
    inputs: Iterable[str | os.PathLike[str]] = (),
) -> Path:
    """Refuse an output folder that cannot be written, before any work is done.

    Parameters
    ----------
    target : path
    marker, force
        As for `folder_complete_or_absent`.
    inputs : iterable of path
        The inputs, as for `refuse_inputs`.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    OutputError
    """
    refuse_inputs(target, inputs)
    place = follow(target := Path(target))
    if target.exists() and not target.is_dir():
        raise OutputError(f"cannot write {target}: it is a file, expected the name of a folder")
    if not place.parent.is_dir():
        raise OutputError(f"cannot write {target}: the folder {place.parent} does not exist")
    if not os.access(place.parent, os.W_OK):
        raise OutputError(f"cannot write {target}: the folder {place.parent} is not writable")
    remove_stale(place.parent)
    if target.exists() and any(target.iterdir()):
        if not (target / marker).is_file():
            raise OutputError(f"{target} has no {marker}, so it is something else: it is not replaced")
        if not force:
            raise output_exists(target)
    return target
