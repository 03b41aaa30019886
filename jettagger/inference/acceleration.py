"""The fastest session that is checked to give the same scores.

By default this is ONNX Runtime with a rewritten graph (`jettagger.sessions.rewriting`). The new graph and the outputs
of the original one for a few random jets are stored in the user's cache; each process that loads it runs these jets
again and compares. If the outputs differ, or if something fails, the original graph is used and a warning gives the
reason.

Other libraries, providers of ONNX Runtime and servers compute some functions less exactly: their tolerance is ten times
larger, 1e-4 for probabilities and 1e-3 relative for other outputs, which is checked with such jets on first use
(`jettagger.inference.proof`).
"""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import time
import warnings
from dataclasses import replace
from typing import Any

import numpy as np

from jettagger.bundles.bundle import Bundle
from jettagger.bundles.places import cache_folder
from jettagger.errors import ConfigError, MismatchError, ProviderError, hint
from jettagger.files.cache import DiskCache
from jettagger.inference.cutting import cut_network, cut_session
from jettagger.inference.golden import golden_sha256
from jettagger.inference.padding import as_run, require_session_trial
from jettagger.inference.precision import PRECISIONS, half_session
from jettagger.inference.proof import Answer, allowed_of, compared, file_answers, shortfall
from jettagger.inference.sample_jets import probe_jets
from jettagger.inference.served import connected
from jettagger.inputs.batching import COST, Cost
from jettagger.runtime.codedigest import code_digest
from jettagger.runtime.processcache import ProcessCache
from jettagger.sessions import ReplaySession, Session, open_onnx, open_openvino
from jettagger.sessions.graph import file_sha256
from jettagger.sessions.onnx import checked_threads, make_session
from jettagger.sessions.providers import Provider
from jettagger.sessions.remote import Remote
from jettagger.sessions.rewriting import rewrite
from jettagger.types import Array

__all__ = ["BACKENDS", "cost_of", "open_session", "proven"]

_log = logging.getLogger(__name__)

#: backends: ``fast`` is ONNX Runtime with a rewritten graph, ``onnxruntime`` with the original one
BACKENDS = ("fast", "onnxruntime", "openvino")

#: OpenVINO has a larger fixed cost per run, and large batches are less of a disadvantage
OPENVINO_COST = replace(COST, fixed=180, cells=130_000)

#: on a GPU a run of few jets takes as long as one of hundreds: 17 ms for 64 jets of a Particle Transformer on an H200,
#: 19 ms for 256, and 0.034 ms, which is 80 units, for each further one. Rounded lengths give few shapes.
GPU_COST = Cost(fixed=40_000, square=66, cells=16_000_000, step=16, jets=4096)

#: a server may have a GPU, where a run takes 17 ms at least, or none, where padding costs most. By these costs and for
#: chunks of 500 to 1300 jets, such requests take a CPU 10 to 20 % longer than batches of `COST`, a GPU a fifth as long.
REMOTE_COST = Cost(fixed=2_000, square=66, cells=256 * 128**2, jets=256)

#: bytes on a GPU per pair of objects: about four tensors of 64 float32
PAIR_BYTES = 1024

#: maximum size in bytes of the stored rewritten graphs
LIMIT = 500_000_000

# sessions do not survive a fork, so the process is part of the key
_SESSIONS: ProcessCache[tuple[int, str, int, str | Remote, Provider], Session] = ProcessCache()


def open_session(
    bundle: Bundle,
    threads: int | None = None,
    provider: str | Provider | None = None,
    backend: str = "fast",
    remote: Remote | None = None,
    precision: str = "float32",
) -> Session:
    """The session of a model in this process; created on first use and kept.

    Parameters
    ----------
    bundle : Bundle
        With weights.
    threads : int, optional
        Default: 1 in a worker, all usable cores otherwise.
    provider : str or Provider, optional
        Provider of ONNX Runtime; on providers other than the CPU and CUDA the original graph is used.
    backend : {"fast", "onnxruntime", "openvino"}
    remote : Remote, optional
        Inference server.
    precision : {"float32", "float16"}
        Of matrix products; ``float16`` if scores stay within `jettagger.inference.precision.TOLERANCES`.

    Returns
    -------
    Session

    Raises
    ------
    ConfigError
        If the backend does not exist, ``threads`` is not a positive integer, or a provider is given for OpenVINO.
    ProviderError
        If the provider is not available, another one became active, or its outputs differ from those of the CPU.
    ModelFileError
        If the backend refuses the file.
    MissingExtra
        If OpenVINO is not installed.
    BundleError
        If the bundle has no weights.

    Examples
    --------
    >>> from jettagger.bundles.registry import load_bundle
    >>> open_session(load_bundle("tinyParT"), threads=1).threads
    1
    """
    graph = bundle.require_graph()
    check_backend(backend, provider, precision)
    provider = Provider.of(provider)
    key = (os.getpid(), bundle.digest, checked_threads(threads), remote or f"{backend} {precision}", provider)
    if key not in _SESSIONS:
        require_session_trial(bundle, backend if remote is None else "onnxruntime")
        bundle = as_run(bundle)
    if remote is not None:
        if key not in _SESSIONS:
            _SESSIONS[key] = connected(bundle, remote, key[2])
        return _SESSIONS[key]
    if precision != "float32":
        if key not in _SESSIONS:
            _SESSIONS[key] = _in_half(bundle, key[2], provider) or open_session(bundle, threads, provider, backend)
        return _SESSIONS[key]
    if backend == "openvino":
        if key not in _SESSIONS:
            _SESSIONS[key] = _checked_openvino(bundle, key[2])
        return _SESSIONS[key]
    if not provider.on_cpu:
        if key not in _SESSIONS:
            _SESSIONS[key] = _on_device(bundle, key[2], provider, backend)
        return _SESSIONS[key]
    if backend == "onnxruntime" or graph.external:
        return open_onnx(graph, threads, provider)
    if key not in _SESSIONS:
        session, why = _rewritten(bundle, key[2], provider)
        if why:
            warnings.warn(why, RuntimeWarning)
        _SESSIONS[key] = session or open_onnx(graph, threads, provider)
    return _SESSIONS[key]


def cost_of(backend: str = "fast", provider: str | Provider | None = None, *, remote: bool = False) -> Cost:
    """The cost model for batching.

    Parameters
    ----------
    backend : str
    provider : str or Provider, optional
    remote : bool
        Whether a server runs the network.

    Returns
    -------
    Cost
        As measured on CPUs and on a GPU. A GPU gets large batches, within the memory that it may use (the option
        ``gpu_mem_limit`` of CUDA; else 16 GB), and a server batches between those of both. Other providers, for which
        nothing was measured, get batches of the maximum size for jets of any length.

    Examples
    --------
    >>> cost_of().jets, cost_of(provider="cuda").jets, cost_of(remote=True).jets
    (64, 4096, 256)
    """
    provider = Provider.of(provider)
    if remote:
        return REMOTE_COST
    if provider.on_gpu:
        memory = provider.memory
        return GPU_COST if memory is None else replace(GPU_COST, cells=min(GPU_COST.cells, memory // PAIR_BYTES))
    if not provider.on_cpu:
        return replace(COST, cells=np.inf)
    return OPENVINO_COST if backend == "openvino" else COST


def proven(bundle: Bundle, session: Session, threads: int | None = None) -> Session:
    """A session made by other code, after it was checked to run the network of a bundle.

    Parameters
    ----------
    bundle : Bundle
    session : Session
    threads : int, optional
        Threads of the reference runs.

    Returns
    -------
    Session
        The same session. A `jettagger.sessions.ReplaySession` replaces a network and is not compared.

    Raises
    ------
    MismatchError
        If its outputs differ from those of the bundle's file.

    Warns
    -----
    RuntimeWarning
        If the bundle has no weights for the comparison.
    """
    if isinstance(session, ReplaySession):
        return session
    if bundle.graph is None:
        text = f"the session that was given for {bundle.name!r} is not proven"
        warnings.warn(f"{text}: the bundle has no weights to compare it with", RuntimeWarning)
        return session
    require_session_trial(bundle, "onnxruntime")
    reason = shortfall(as_run(bundle), session, type(session).__name__, threads)
    if reason:
        raise MismatchError(
            f"the session that was given ({type(session).__name__}) does not run the network of {bundle.name!r} in "
            f"{bundle.folder}: it {reason}"
        )
    return session


def _on_device(bundle: Bundle, threads: int, provider: Provider, backend: str) -> Session:
    """The network in another provider of ONNX Runtime than the CPU: rewritten if equal, else the original graph.

    If neither agrees, because the network amplifies rounding, these steps are evaluated on the CPU.
    """
    graph = bundle.require_graph()
    allowed = allowed_of(provider)
    fast = backend == "fast" and not graph.external
    session: Session | None = None
    why = ""
    if fast and provider.on_gpu:
        session, why = _rewritten(bundle, threads, provider)
    if session is not None:
        return session
    plain = open_onnx(graph, threads, provider)
    different = bool(compared(bundle, plain, file_answers(bundle, threads), allowed))
    if different and fast:
        session = cut_session(bundle, threads, provider)
    if session is not None:
        return session
    if why:
        warnings.warn(why, RuntimeWarning)
    if different and (reason := shortfall(bundle, plain, provider.name, threads, allowed)):
        raise ProviderError(
            f"{provider.name} does not give the numbers of {bundle.name!r} in {bundle.folder}: it {reason}. "
            "Less precise arithmetic of the device (TF32, half precision) must be off; provider 'cpu' is right",
            where=provider.name,
            got=reason,
            expected=f"the numbers of {bundle.name!r} in {bundle.folder}",
        )
    return plain


def _checked_openvino(bundle: Bundle, threads: int) -> Session:
    """OpenVINO, or ONNX Runtime if OpenVINO gives other scores."""
    graph = bundle.require_graph()
    session = open_openvino(graph, threads)
    reason = shortfall(bundle, session, "OpenVINO", threads)
    if not reason:
        return session
    warnings.warn(f"the network of {bundle.name!r} runs in ONNX Runtime: OpenVINO {reason}", RuntimeWarning)
    return open_onnx(graph, threads)


def check_backend(backend: str, provider: str | Provider | None = None, precision: str = "float32") -> None:
    """Refuse invalid combinations of options before anything is loaded."""
    if backend not in BACKENDS:
        raise ConfigError(f"backend {backend!r}{hint(backend, BACKENDS)}, expected one of {', '.join(BACKENDS)}")
    if not Provider.of(provider).on_cpu and backend == "openvino":
        raise ConfigError(f"backend 'openvino' runs on the CPU; provider {provider!r} is for ONNX Runtime")
    if precision not in PRECISIONS:
        near = hint(precision, PRECISIONS)
        raise ConfigError(f"precision {precision!r}{near}, expected one of {', '.join(PRECISIONS)}")
    if precision != "float32" and backend != "fast":
        raise ConfigError(f"precision {precision!r} is for backend 'fast': backend {backend!r} runs the file as it is")


def _in_half(bundle: Bundle, threads: int, provider: Provider) -> Session | None:
    """The network with products in half precision, where it is within what is stated."""
    entry, _ = _entry(bundle, threads, provider)
    model = b"" if entry is None else entry["model"].tobytes()
    answers = _stored_proof(entry) if model and entry is not None else file_answers(bundle, threads)
    model = model or bundle.require_graph().path.read_bytes()
    session, why = half_session(bundle, threads, provider, model, answers)
    network = None if session is not None or provider.on_cpu else cut_network(bundle, threads, provider)
    if network is not None:
        session, why = half_session(bundle, threads, provider, network, answers)
    if why:
        warnings.warn(f"the network of {bundle.name!r} runs in float32: float16 {why}", RuntimeWarning)
    return session


def _rewritten(bundle: Bundle, threads: int, provider: Provider) -> tuple[Session | None, str]:
    """A session checked to be equal; or None, and the reason for using the original graph if there is a problem."""
    entry, why = _entry(bundle, threads, provider)
    model = b"" if entry is None else entry["model"].tobytes()
    if entry is None or not model:
        return None, why
    try:
        session = make_session(bundle.require_graph(), threads, provider, model)
        reason = compared(bundle, session, _stored_proof(entry), allowed_of(provider))
    except ProviderError:
        raise
    except Exception as error:
        reason = f"fails ({type(error).__name__}: {str(error).strip()})"
    if reason:
        return None, f"the network of {bundle.name!r} runs without rewriting: the rewritten graph {reason}"
    return session, ""


def _entry(bundle: Bundle, threads: int, provider: Provider) -> tuple[dict[str, Any] | None, str]:
    """A rewritten graph (empty: no gain) with its reference outputs, from the cache if available; or None and why."""
    import onnxruntime

    graph = bundle.require_graph()
    if not graph.path.is_file() or file_sha256(graph.path) != graph.sha256:
        return None, ""  # opening the file as it is says what became of it
    folder = cache_folder()
    cache = None if folder is None else DiskCache(folder / "graphs", LIMIT)
    parts = [bundle.digest, golden_sha256(bundle), code_digest(), onnxruntime.__version__, platform.machine()]
    parts += ["gpu"] if provider.on_gpu else []
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    entry = None if cache is None else cache.get(key)
    if entry is None:
        try:
            start = time.perf_counter()
            entry = _build(bundle, threads, gpu=provider.on_gpu)
            _log.info("graph of %s rewritten in %.1f s", bundle.name, time.perf_counter() - start)
        except Exception as error:  # whatever a graph holds, there is always the file itself
            text = f"it could not be rewritten ({type(error).__name__}: {str(error).strip()})"
            return None, f"the network of {bundle.name!r} runs without rewriting: {text}"
        if cache is not None:
            cache.put(key, entry)
    return entry, ""


def _build(bundle: Bundle, threads: int, *, gpu: bool = False) -> dict[str, Array]:
    """A rewritten graph, and jets with the outputs of the original one."""
    graph = bundle.require_graph()
    probes = [probe_jets(bundle, place) for place in range(3)]
    model = rewrite(graph.path.read_bytes(), probes, gpu=gpu)
    entry: dict[str, Array] = {"model": np.frombuffer(model or b"", dtype=np.uint8)}
    if model is None:
        return entry
    for number, answer in enumerate(file_answers(bundle, threads)):
        entry |= {f"input{number}__{name}": array for name, array in answer.inputs.items()}
        entry |= {f"values{number}": answer.values, f"jets{number}": np.array(answer.jets)}
    return entry


def _stored_proof(entry: dict[str, Any]) -> list[Answer]:
    count = sum(name.startswith("values") for name in entry)
    return [
        Answer(
            str(entry[f"jets{number}"]),
            {name.split("__", 1)[1]: array for name, array in entry.items() if name.startswith(f"input{number}__")},
            entry[f"values{number}"],
        )
        for number in range(count)
    ]
