"""Distribution of models to the workers of a dask cluster, and their numbers of threads.

Workers without a file system in common with the client get the files of a model and of its heads, or those of an
assigner, through the scheduler, once each, and so do workers that join later. Files are verified against their digest
before they are used.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distributed import KilledWorker, WorkerPlugin

from jettagger.arguments import guard
from jettagger.assignment.assigner import Assigner
from jettagger.assignment.folders import AssignerFolder, read_assigner
from jettagger.bundles.bundle import Bundle
from jettagger.bundles.places import SHIPPED
from jettagger.config.sizes import size_text
from jettagger.display import briefly
from jettagger.errors import BundleError, ConfigError, WorkerError
from jettagger.files.parts import part_prefix, remove_stale
from jettagger.heads import Head, load_head
from jettagger.heads.description import DESCRIPTION, NETWORK
from jettagger.sessions.threads import THREADS, usable_cores
from jettagger.tagging.tagger import Tagger

if TYPE_CHECKING:
    from distributed import Client, Worker

__all__ = ["BundlePlugin", "install", "lost_workers_named", "threads_per_slot"]

_log = logging.getLogger(__name__)
#: the log of the worker, which dask shows
_worker_log = logging.getLogger("distributed.worker")


def threads_per_slot(cores: int, slots: int) -> int:
    """Number of threads of a network in one task slot of a worker.

    Parameters
    ----------
    cores : int
        Cores of the worker.
    slots : int
        Number of concurrent tasks of the worker (dask's ``nthreads``).

    Returns
    -------
    int
        At least 1; otherwise all slots together do not exceed the cores.

    Raises
    ------
    ConfigError
        If a worker has no core or no slot.

    Examples
    --------
    >>> threads_per_slot(8, 2), threads_per_slot(2, 2), threads_per_slot(1, 4)
    (4, 1, 1)
    """
    if cores < 1 or slots < 1:
        raise ConfigError(f"a worker needs at least one core and one slot, got {cores} cores and {slots} slots")
    return max(cores // slots, 1)


@dataclass(frozen=True)
class Parcel:
    """The files of a model, of a head or of an assigner.

    Parameters
    ----------
    label : str
        For messages.
    digest : str
    folder : str
        Name of its folder: a bundle without a card is named after it.
    files : dict of str to bytes
        By path within the folder.
    read : callable
        Reads a folder, and gives an object with its digest.
    """

    label: str
    digest: str
    folder: str
    files: dict[str, bytes]
    read: Callable[[Path], Any]

    def unpack(self, shelf: Path) -> Path:
        """Write the files, verify them, and store them under the digest; complete or not at all."""
        place = shelf / self.digest
        if not place.is_dir():
            shelf.mkdir(parents=True, exist_ok=True)
            remove_stale(shelf, quiet=True)
            part = Path(tempfile.mkdtemp(prefix=part_prefix("model"), dir=shelf))
            try:
                self._write(part / self.folder)
                with suppress(OSError):  # another worker of this folder may have been first
                    os.replace(part, place)
            finally:
                shutil.rmtree(part, ignore_errors=True)
        return place

    def _write(self, folder: Path) -> None:
        for name, content in self.files.items():
            target = folder / name
            if not target.resolve().is_relative_to(folder.resolve()):
                raise BundleError(f"{self.label} has a file {name!r} outside its folder; refused")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        found = self.read(folder).digest
        if found != self.digest:
            raise BundleError(f"{self.label} did not arrive as it was sent: digest {found}, not {self.digest}")


def _model(bundle: Bundle) -> Parcel:
    bundle.require_weights()
    paths = dict(bundle.files)
    for path in bundle.graph.external if bundle.graph else ():
        paths[str(path.relative_to(bundle.folder.resolve()))] = path
    files = {name: path.read_bytes() for name, path in paths.items()}
    return Parcel(f"the model {bundle.name!r}", bundle.digest, bundle.folder.name, files, Bundle.from_folder)


def _head(head: Head) -> Parcel:
    files = {name: (head.folder / name).read_bytes() for name in (DESCRIPTION, NETWORK)}
    return Parcel(f"the head {head.name!r}", head.digest, head.folder.name, files, load_head)


def _assigner(model: AssignerFolder) -> Parcel:
    files = {str(path.relative_to(model.folder)): path.read_bytes() for path in model.sources}
    read = partial(read_assigner, **model.reading)
    return Parcel(f"the assigner {model.name!r}", model.digest, model.folder.name, files, read)


@briefly
class BundlePlugin(WorkerPlugin):
    """Installs a model and its heads, or an assigner, on a worker when it starts.

    Parameters
    ----------
    model : Bundle or AssignerFolder
        With weights.
    cores : int, optional
        Cores of each worker; default: the number of its task slots.
    heads : sequence of Head
        Heads that run on the model.
    """

    idempotent = True

    def __init__(self, model: Bundle | AssignerFolder, cores: int | None = None, heads: Sequence[Head] = ()) -> None:
        threads_per_slot(1 if cores is None else cores, 1)
        first = _assigner(model) if isinstance(model, AssignerFolder) else _model(model)
        self.parcels = [first, *map(_head, heads)]
        self.name = "-".join(["jettagger", *(parcel.digest for parcel in self.parcels)])
        self.cores = cores

    def setup(self, worker: Worker) -> None:
        """Write the files, verify them, and set the number of threads.

        Parameters
        ----------
        worker : distributed.Worker

        Raises
        ------
        BundleError
            If the received files differ from those sent.
        """
        shelf = Path(worker.local_directory) / "jettagger-models"
        os.environ[SHIPPED] = str(shelf)
        places = [str(parcel.unpack(shelf)) for parcel in self.parcels]
        slots = int(worker.state.nthreads)
        cores = min(self.cores or slots, usable_cores())
        os.environ[THREADS] = str(threads_per_slot(max(cores, 1), slots))
        label = self.parcels[0].label
        _log.info("%s at %s, %s threads per task", label, ", ".join(places), os.environ[THREADS])
        _worker_log.info("jettagger: %s at %s, %s threads per task", label, ", ".join(places), os.environ[THREADS])


def install(client: Client, tagger: Tagger | Assigner, cores: int | None = None) -> dict[str, Any]:
    """Send a model to all workers of a cluster, including those that join later.

    Parameters
    ----------
    client : distributed.Client
    tagger : Tagger or Assigner
        Its bundle and its heads, or its folder, are sent; taggers and assigners with these then work on every worker,
        wherever they were loaded.
    cores : int, optional
        Cores of each worker; default: the number of its task slots. A network uses cores / slots threads, fewer if CPU
        affinity or control groups allow fewer cores. Taggers with the option ``threads`` keep their number.

    Returns
    -------
    dict
        Replies of the workers, as returned by dask.

    Raises
    ------
    MissingModelFile
        If the bundle has no weights.
    BundleError
        If the model was not received as sent.

    Examples
    --------
    ::

        client = distributed.Client(cluster)
        jettagger.dask.install(client, jt.load_tagger("inclParTMDV1"))
        jettagger.dask.install(client, jt.load_assigner("ttH/"))
    """
    plugin = (
        BundlePlugin(tagger.model, cores)
        if isinstance(tagger, Assigner)
        else BundlePlugin(tagger.bundle, cores, tagger.heads)
    )
    result: dict[str, Any] = client.register_plugin(plugin)
    return result


@contextmanager
def lost_workers_named() -> Iterator[None]:
    """Report the chunk and the memory limit if workers died while processing it.

    Dask gives up a task after several workers died running it, mostly because they exceeded their memory limit. Its
    error, and that of coffea's ``DaskExecutor``, give neither the limit nor a remedy.

    Raises
    ------
    WorkerError
        Replaces ``distributed.KilledWorker`` and the exception that coffea derives from it.

    Examples
    --------
    ::

        with jettagger.dask.lost_workers_named():
            result = runner(fileset, processor_instance=instance)
    """
    try:
        yield
    except Exception as error:
        killed: BaseException | None = error
        while killed is not None and not isinstance(killed, KilledWorker):
            killed = killed.__cause__ or killed.__context__
        if killed is None:
            raise
        limit = int(killed.last_worker.memory_limit or 0)
        most = f"{size_text(limit)} each" if limit else "none set"
        number, place = killed.allowed_failures + 1, _place(error, killed)
        raise WorkerError(
            f"{number} workers died at {place}, most likely out of memory (memory "
            f"limit of the workers: {most}): use a smaller chunksize or workers with more memory",
            where=place,
            got=f"{number} workers died",
            expected="a smaller chunksize or workers with more memory",
        ) from error


def _place(error: Exception, killed: KilledWorker) -> str:
    """The chunk named by coffea's executor, or dask's key of the task."""
    found = re.search(r"filename='([^']*)'.*entrystart=(\d+), entrystop=(\d+)", str(error))
    return f"events {found[2]} to {found[3]} of {found[1]}" if found else f"the task {killed.task!r}"


def __dir__() -> list[str]:
    return sorted(__all__)


guard(globals())
