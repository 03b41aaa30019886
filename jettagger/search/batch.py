"""Workers as jobs of a batch system, through dask-jobqueue: what a job asks for, logs, and jobs that end too early."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from jettagger.arguments import guard
from jettagger.config.models import Expected, FileModel, Names, Shown, Size
from jettagger.config.sizes import size_text
from jettagger.display import Brief
from jettagger.errors import ConfigError, WorkerError, require

__all__ = ["BATCH", "BatchJobs", "BatchKeys", "BatchOptions", "batch_client", "check_batch"]

#: batch systems -> command that submits, command that lists the jobs of some numbers
BATCH = {
    "condor": ("condor_submit", ("condor_q", "-af", "ClusterId")),
    "slurm": ("sbatch", ("squeue", "-h", "-o", "%i", "-j")),
}

#: seconds that a batch system may take to answer
PATIENCE = 60.0

#: how much of a log is in an error
_LAST = 300

#: number of times that no job may have been submitted when it is asked
_UNKNOWN = 3

_WALLTIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<hours>\d+):(?P<minutes>[0-5]\d):(?P<seconds>[0-5]\d)")


class BatchKeys(FileModel):
    """What each job of a batch system asks for."""

    queue: Annotated[str | None, Shown("that of the batch system")] = Field(
        default=None, description="queue, or partition; HTCondor has none"
    )
    account: Annotated[str | None, Shown("that of the batch system")] = Field(
        default=None, description="account, or accounting group"
    )
    walltime: str = Field(default="08:00:00", description="limit of the time of a job: `hh:mm:ss` or `d-hh:mm:ss`")
    memory: Size = Field(default=2_000_000_000, description="memory of a job")
    cores: Annotated[int, Field(ge=1), Expected("a number of cores")] = Field(
        default=1, description="cores of a job, for the threads of the network"
    )
    prologue: Names = Field(default=(), description="lines of shell that a job runs first, e.g. for its environment")
    directives: Names = Field(
        default=(),
        description="further lines for the batch system: options of `sbatch`, e.g. `-C intel`, or "
        "`name = value` of HTCondor",
    )


@dataclass(frozen=True)
class BatchOptions(Brief):
    """What each job asks for.

    Parameters
    ----------
    logs : str
        Folder for the logs of the jobs; it is made, and left.
    queue, account : str, optional
        Queue, or partition, and account; default: those of the batch system. HTCondor has none.
    walltime : str
        ``hh:mm:ss``, or ``d-hh:mm:ss``.
    memory : int
        In bytes.
    cores : int
        Cores of a job, for the threads of the network.
    prologue : tuple of str
        Lines of shell that a job runs first.
    directives : tuple of str
        Further lines for the batch system, without ``#SBATCH``; for HTCondor ``name = value``.

    Raises
    ------
    ConfigError
        If one of them is invalid.

    Examples
    --------
    >>> BatchOptions("logs", walltime="1-02:00:00").seconds
    93600
    """

    logs: str
    queue: str | None = None
    account: str | None = None
    walltime: str = "08:00:00"
    memory: int = 2_000_000_000
    cores: int = 1
    prologue: tuple[str, ...] = ()
    directives: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if _WALLTIME.fullmatch(self.walltime) is None:
            raise ConfigError(f"walltime: got {self.walltime!r}, expected hh:mm:ss or d-hh:mm:ss, e.g. 08:00:00")
        if self.cores < 1:
            raise ConfigError(f"cores of a job must be at least 1, got {self.cores}")
        if self.memory < 1_000_000:
            raise ConfigError(f"memory of a job must be at least 1 MB, got {size_text(self.memory)}")

    @property
    def seconds(self) -> int:
        """The wall time."""
        match = _WALLTIME.fullmatch(self.walltime)
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0, 0)
        return ((24 * days + hours) * 60 + minutes) * 60 + seconds


def check_batch(system: str, options: BatchOptions | None) -> BatchOptions:
    """Refuse a batch system that cannot be used on this machine, before files are opened.

    Parameters
    ----------
    system : str
        One of `BATCH`.
    options : BatchOptions, optional

    Returns
    -------
    BatchOptions

    Raises
    ------
    MissingExtra
        If dask-jobqueue is not installed.
    ConfigError
        If there are no options, or the commands of the batch system are not here; names them.
    """
    if options is None:
        raise ConfigError(f"the executor {system!r} needs batch=BatchOptions(...), with the folder of logs at least")
    submit, (query, *_) = BATCH[system]
    absent = [name for name in (submit, query) if shutil.which(name) is None]
    if absent:
        raise ConfigError(
            f"--executor {system} submits jobs with {submit} and looks for them with {query}, but "
            f"{' and '.join(absent)} {'is' if len(absent) == 1 else 'are'} not in PATH here: run this where jobs are "
            "submitted, or use --executor futures or dask"
        )
    if system == "condor" and options.queue is not None:
        raise ConfigError(f"HTCondor has no queues: got queue {options.queue!r}; give directives instead, if any")
    require("dask_jobqueue", "batch", f"the executor {system}")
    return options


class BatchJobs(Brief):
    """The jobs behind a cluster of dask-jobqueue.

    Parameters
    ----------
    system : str
    cluster : dask_jobqueue.JobQueueCluster
    count : int
        Number of jobs.
    options : BatchOptions
    """

    #: seconds between two looks at them, while no chunk is finished
    interval = 30.0

    def __init__(self, system: str, cluster: Any, count: int, options: BatchOptions) -> None:
        self.system, self.cluster, self.count, self.options = system, cluster, count, options
        self._progress = -1
        self._unknown = 0

    def check(self, finished: int) -> None:
        """Submit jobs again if all of them have ended, e.g. by their wall time, before the chunks were finished.

        Parameters
        ----------
        finished : int
            Number of chunks that are finished.

        Raises
        ------
        WorkerError
            If no chunk was finished since the last time; with the end of a log.
        """
        if self.cluster.scheduler_info["workers"] or self._alive():
            return
        if finished <= self._progress:
            raise WorkerError(
                f"all jobs have ended before a chunk was finished: {self.failure()}",
                where="all jobs",
                got="have ended before a chunk was finished",
                expected="jobs that run until the work is done",
            )
        self._progress = finished
        self.cluster.scale(0)
        self.cluster.scale(jobs=self.count)

    def _alive(self) -> bool:
        """Whether the batch system still knows any of the jobs: as waiting, or running."""
        numbers = [str(job.job_id) for job in self.cluster.workers.values() if getattr(job, "job_id", None)]
        if not numbers:  # they are being submitted, or could not be
            self._unknown += 1
            return self._unknown < _UNKNOWN
        self._unknown = 0
        command = BATCH[self.system][1]
        listed = [",".join(numbers)] if self.system == "slurm" else numbers
        try:
            found = subprocess.run([*command, *listed], capture_output=True, text=True, timeout=PATIENCE, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return True  # no answer is no evidence
        # squeue does not know the numbers of jobs that ended long ago
        return bool(found.stdout.strip()) or (found.returncode != 0 and "nvalid job id" not in found.stderr)

    def failure(self) -> str:
        """The end of the last log with an error, and where the logs are."""
        logs = sorted(Path(self.options.logs).glob("*.err"), key=lambda path: path.stat().st_mtime)
        for path in reversed(logs):
            text = path.read_text(encoding="utf-8", errors="replace").strip()
            if text:
                return f"{path} ends with: ...{' '.join(text[-_LAST:].split())}"
        return f"the logs in {self.options.logs} say nothing"


def _test(cluster: Any) -> None:
    """Refuse jobs that SLURM would not take: of an unknown partition, with too much memory."""
    with tempfile.NamedTemporaryFile("w", suffix=".sh") as script:
        script.write(cluster.job_script())
        script.flush()
        command = [BATCH["slurm"][0], "--test-only", script.name]
        try:
            found = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise WorkerError(
                f"sbatch does not answer: {error}", where="sbatch", got=f"{error}", expected="an answer to --test-only"
            ) from error
    if found.returncode:
        raise ConfigError(f"SLURM does not take such jobs: {' '.join(found.stderr.split())}")


@contextmanager
def batch_client(system: str, count: int, options: BatchOptions) -> Iterator[tuple[Any, BatchJobs]]:
    """A client of dask whose workers are jobs; they end with the block.

    Parameters
    ----------
    system : str
        One of `BATCH`.
    count : int
        Number of jobs, of one worker each.
    options : BatchOptions

    Yields
    ------
    distributed.Client and BatchJobs
    """
    check_batch(system, options)
    distributed = require("distributed", "dask", "running on dask")
    jobqueue = require("dask_jobqueue", "batch", f"the executor {system}")
    Path(options.logs).mkdir(parents=True, exist_ok=True)
    asked: dict[str, Any] = {
        "cores": options.cores,
        "processes": 1,
        "memory": f"{options.memory}B",
        "log_directory": options.logs,
        "python": sys.executable,
        "job_name": "jettagger",
        "job_script_prologue": list(options.prologue),
        # one chunk at a time: the cores of a job are for the threads of the network
        "worker_extra_args": ["--nthreads", "1"],
        "scheduler_options": {"dashboard_address": ":0"},
    }
    if system == "slurm":
        kind = jobqueue.SLURMCluster
        asked |= {"queue": options.queue, "account": options.account, "walltime": options.walltime}
        asked["job_extra_directives"] = list(options.directives)
    else:
        kind = jobqueue.HTCondorCluster
        further = dict(line.partition("=")[::2] for line in options.directives)
        own = {"+MaxRuntime": str(options.seconds)}
        own |= {} if options.account is None else {"accounting_group": options.account}
        asked["job_extra_directives"] = own | {key.strip(): value.strip() for key, value in further.items()}
        asked["disk"] = "1 GB"
    with kind(**asked) as cluster, distributed.Client(cluster) as client:
        if system == "slurm":
            _test(cluster)
        cluster.scale(jobs=count)
        yield client, BatchJobs(system, cluster, count, options)


guard(globals(), "BatchOptions", "check_batch", "batch_client")
