"""One network trained by several processes, each with a part of every batch: several GPUs, by torch's DDP.

Denominators of the loss and batch normalisation are those of the whole batch, so that the network is that of one
process, up to rounding. The processes meet by a file; the first of them measures, reports and writes checkpoints.
"""

from __future__ import annotations

import os
import queue
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from jettagger.arguments import guard
from jettagger.display import Brief
from jettagger.errors import ConfigError, JettaggerError, ProviderError, require
from jettagger.training.history import Epoch

__all__ = ["ProcessGroup", "check_processes", "run_processes"]

#: how long a process waits for the others
_PATIENCE = timedelta(minutes=30)

#: file with the weights, written by the first process
_RESULT = "result.pt"


@dataclass(frozen=True)
class ProcessGroup(Brief):
    """One of the processes of a training.

    Parameters
    ----------
    rank : int
        From 0.
    size : int
        Number of processes.
    device : str
        ``cpu`` or ``cuda``.
    """

    rank: int
    size: int
    device: str

    def wrapped(self, network: Any, device: str) -> Any:
        """The network, whose gradients are means over the processes; on its device.

        Parameters
        ----------
        network : torch.nn.Module
        device : str

        Returns
        -------
        torch.nn.Module
        """
        torch = require("torch", "train", "training a network")
        place = torch.device(device)
        network.to(place)
        for module in network.modules():
            if hasattr(module, "over"):  # normalisation with the statistics of a batch
                module.over = self.sum
        devices = [place.index or 0] if place.type == "cuda" else None
        # heads of scale 0 and frozen weights have no gradient
        return torch.nn.parallel.DistributedDataParallel(network, device_ids=devices, find_unused_parameters=True)

    def sum(self, value: Any) -> Any:
        """The sum of a tensor over the processes, with its gradient.

        Parameters
        ----------
        value : torch.Tensor

        Returns
        -------
        torch.Tensor
        """
        return _sum_over(value)

    def mean(self, value: Any) -> Any:
        """A number with the gradient of this process and the value of the mean over all.

        Parameters
        ----------
        value : torch.Tensor

        Returns
        -------
        torch.Tensor
        """
        return value + (_sum_over(value.detach()) / self.size - value.detach())

    def agreed(self, answer: bool) -> bool:
        """The answer of the first process, in all of them.

        Parameters
        ----------
        answer : bool

        Returns
        -------
        bool
        """
        torch = require("torch", "train", "training a network")
        gathered = [False] * self.size
        torch.distributed.all_gather_object(gathered, answer and self.rank == 0)
        return any(gathered)


def _sum_over(value: Any) -> Any:
    torch = require("torch", "train", "training a network")

    class Sum(torch.autograd.Function):  # type: ignore[misc, name-defined, unused-ignore]
        @staticmethod
        def forward(context: Any, tensor: Any) -> Any:
            made = tensor.clone()
            torch.distributed.all_reduce(made)
            return made

        @staticmethod
        def backward(context: Any, gradient: Any) -> Any:
            made = gradient.clone()
            torch.distributed.all_reduce(made)
            return made

    return Sum.apply(value)


def check_processes(processes: int, device: str) -> None:
    """Refuse numbers of processes that cannot be.

    Parameters
    ----------
    processes : int
    device : str
        ``cuda``: one GPU for each process.

    Raises
    ------
    ProviderError
        If there are more processes than GPUs.
    ConfigError
        If the network cannot be trained by several.
    """
    if processes < 1:
        raise ConfigError(f"processes is {processes}, expected at least 1")
    if processes == 1:
        return
    torch = require("torch", "train", "training a network")
    if device not in ("cpu", "cuda"):
        raise ConfigError(f"{processes} processes train on cpu or cuda, got the device {device!r}")
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "cuda" and processes > there:
        found = f"torch {torch.__version__} finds {there or 'none'} here"
        raise ProviderError(
            f"{processes} GPUs are asked for, {found}", where="here", got=found, expected=f"{processes} GPUs"
        )


def run_processes(
    task: Callable[..., Any],
    processes: int,
    *,
    device: str,
    follow: Callable[[Epoch], None] | None,
    until: Callable[[], bool] | None,
    checkpoint: Path | None,
) -> tuple[dict[str, Any], Any]:
    """Run a training in several processes.

    Parameters
    ----------
    task : callable
        Called in each process with ``group``, ``device``, ``follow``, ``until``, ``checkpoint``; returns tensors by
        names, and what else the first process has to say.
    processes : int
    device : str
        ``cuda``: process n has the GPU n.
    follow, until : callable, optional
        Called here for each epoch of the first process.
    checkpoint : pathlib.Path, optional
        Of the first process; the others start from a copy.

    Returns
    -------
    tensors : dict
    other : object
        Those of the first process.

    Raises
    ------
    JettaggerError
        That of a process.
    """
    torch = require("torch", "train", "training a network")
    context = torch.multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        copies = [folder / f"checkpoint-{rank}.pt" for rank in range(1, processes)]
        for path in copies:
            if checkpoint is not None and checkpoint.exists():
                shutil.copyfile(checkpoint, path)
        paths = [checkpoint, *(copies if checkpoint is not None else [None] * len(copies))]
        said, answers = context.Queue(), context.Queue()
        workers = [
            context.Process(
                target=_work,
                args=(rank, processes, str(folder), device, task, paths[rank], said, answers),
                daemon=True,
            )
            for rank in range(processes)
        ]
        try:
            with _quiet():
                for worker in workers:
                    worker.start()
            other = _listen(workers, said, answers, follow, until)
        finally:
            for worker in workers:
                worker.terminate()
                worker.join()
        return torch.load(folder / _RESULT, weights_only=True), other


@contextmanager
def _quiet() -> Iterator[None]:
    """Processes that are started say errors alone: torch warns that all weights have a gradient."""
    name = "TORCH_CPP_LOG_LEVEL"
    before = os.environ.get(name)
    os.environ.setdefault(name, "ERROR")
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)


def _listen(
    workers: list[Any],
    said: Any,
    answers: Any,
    follow: Callable[[Epoch], None] | None,
    until: Callable[[], bool] | None,
) -> Any:
    """Pass on what the first process says until it has ended; its last word."""
    while True:
        try:
            kind, value = said.get(timeout=0.2)
        except queue.Empty:
            dead = [worker for worker in workers if worker.exitcode not in (None, 0)]
            if dead:
                got = f"the status {dead[0].exitcode}"
                raise ProviderError(
                    f"a process of the training ended with {got}",
                    where="a process of the training",
                    got=got,
                    expected="the status 0",
                ) from None
            continue
        if kind == "error":
            raise value
        if kind == "epoch":
            if follow is not None:
                follow(value)
            answers.put(until is not None and until())
        if kind == "done":
            return value


def _work(
    rank: int,
    size: int,
    folder: str,
    device: str,
    task: Callable[..., Any],
    checkpoint: Path | None,
    said: Any,
    answers: Any,
) -> None:
    """One process of a training."""
    torch = require("torch", "train", "training a network")
    if device == "cuda":
        torch.cuda.set_device(rank)
        device = f"cuda:{rank}"
    group = ProcessGroup(rank, size, device.partition(":")[0])
    answer = False

    def follow(epoch: Epoch) -> None:
        nonlocal answer
        if rank == 0:
            said.put(("epoch", epoch))
            answer = answers.get()

    try:
        with _joined(torch, folder, rank, size, device):
            tensors, other = task(
                group=group,
                device=device,
                follow=follow,
                until=lambda: group.agreed(answer),
                checkpoint=checkpoint,
            )
            if rank == 0:
                torch.save(tensors, Path(folder) / _RESULT)
                said.put(("done", other))
    except JettaggerError as error:
        said.put(("error", error))
    except KeyboardInterrupt:
        os._exit(1)


@contextmanager
def _joined(torch: Any, folder: str, rank: int, size: int, device: str) -> Iterator[None]:
    torch.distributed.init_process_group(
        "nccl" if device.startswith("cuda") else "gloo",
        init_method=f"file://{folder}/meeting",
        rank=rank,
        world_size=size,
        timeout=_PATIENCE,
    )
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


guard(globals())
