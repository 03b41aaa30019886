"""Networks that amplify rounding, in providers other than the CPU: these steps are evaluated on the CPU."""

from __future__ import annotations

import hashlib

import numpy as np

from jettagger.bundles.bundle import Bundle
from jettagger.bundles.places import cache_folder
from jettagger.errors import ProviderError
from jettagger.files.cache import DiskCache
from jettagger.inference.conditioning import response_of
from jettagger.inference.proof import allowed_of, compared, file_answers
from jettagger.inference.sample_jets import probe_jets
from jettagger.runtime.codedigest import code_digest
from jettagger.sessions import Session
from jettagger.sessions.cpusteps import CutNetwork, make_cut_session
from jettagger.sessions.providers import Provider
from jettagger.sessions.rewriting import rewrite
from jettagger.sessions.rewriting.cancelling import cut_at
from jettagger.types import Array

__all__ = ["cut_network", "cut_session"]

#: maximum size in bytes of the stored networks in two parts
LIMIT = 500_000_000


def cut_session(bundle: Bundle, threads: int, provider: Provider) -> Session | None:
    """A session with the steps that amplify rounding on the CPU, if it agrees with the file.

    Parameters
    ----------
    bundle : Bundle
        With weights inside the ONNX file.
    threads : int
    provider : Provider
        Provider of the rest; for a GPU the rest is rewritten.

    Returns
    -------
    Session or None
        None if no step amplifies rounding, such steps cannot be separated, or the scores still differ.

    Raises
    ------
    ProviderError
        If the provider is not available.
    """
    network = cut_network(bundle, threads, provider)
    if bundle.graph is None or network is None:
        return None
    try:
        session = make_cut_session(bundle.graph, threads, provider, network)
        return None if compared(bundle, session, file_answers(bundle, threads), allowed_of(provider)) else session
    except ProviderError:
        raise
    except Exception:  # whatever a graph holds, there is always the file itself
        return None


def cut_network(bundle: Bundle, threads: int, provider: Provider) -> CutNetwork | None:
    """A network in two parts: the steps that amplify rounding, and the rest, which is not compared.

    Parameters
    ----------
    bundle, threads, provider
        As for `cut_session`.

    Returns
    -------
    CutNetwork or None
        None: no step amplifies rounding, or such steps cannot be made apart.
    """
    response = response_of(bundle)
    steps = [] if response is None else response.amplifying
    try:
        return _cut(bundle, steps, threads, gpu=provider.on_gpu) if steps else None
    except Exception:  # whatever a graph holds, there is always the file itself
        return None


def _cut(bundle: Bundle, steps: list[str], threads: int, *, gpu: bool) -> CutNetwork | None:
    """The network in two parts, stored in the user's cache."""
    import onnx
    import onnxruntime

    graph = bundle.graph
    if graph is None:
        return None
    folder = cache_folder()
    cache = None if folder is None else DiskCache(folder / "cut", LIMIT)
    parts = [f"{gpu}", bundle.digest, code_digest(), onnxruntime.__version__, *steps]
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    entry = None if cache is None else cache.get(key)
    if entry is not None:
        made, taken = (tuple(text.split("\n")) for text in entry["names"].tolist())
        return CutNetwork(made, taken, entry["first"].tobytes(), entry["rest"].tobytes())
    probes = [probe_jets(bundle, place) for place in range(3)]
    network = cut_at(onnx.load(graph.path), steps, probes[0])
    if network is None:
        return None
    first = network.first_session(graph, threads)
    given = [{**probe, **first.run({name: probe[name] for name in network.inputs})} for probe in probes]
    rest = (rewrite(network.rest, given, gpu=True) if gpu else None) or network.rest
    if cache is not None:
        arrays: dict[str, Array] = {
            "names": np.array(["\n".join(network.steps), "\n".join(network.inputs)]),
            "first": np.frombuffer(network.first, dtype=np.uint8),
            "rest": np.frombuffer(rest, dtype=np.uint8),
        }
        cache.put(key, arrays)
    return CutNetwork(network.steps, network.inputs, network.first, rest)
