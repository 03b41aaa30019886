"""The options of a tagger as one value, accepted by functions, processors, configurations and the command line."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypedDict, get_args

from jettagger.arguments import guard, is_number
from jettagger.bundles.stored_scores import Cache
from jettagger.display import Brief
from jettagger.errors import ConfigError, MismatchError, UnknownName
from jettagger.formats.naming import Names
from jettagger.formats.pfnano import pfnano
from jettagger.heads import Head
from jettagger.inference.acceleration import check_backend
from jettagger.inputs.flat_tables import Outside
from jettagger.inputs.flavours import declared_names
from jettagger.inputs.selection import BLOCK
from jettagger.sessions.onnx import checked_threads
from jettagger.sessions.remote import Remote

__all__ = ["Cache", "OptionKeywords", "TaggerOptions", "with_keywords"]

#: environment variable with the address of an inference server
REMOTE = "JETTAGGER_REMOTE"


class OptionKeywords(TypedDict, total=False):
    """The fields of `TaggerOptions` as keywords."""

    threads: int | None
    provider: str | None
    backend: str
    precision: str
    remote: Remote | str | bool | None
    cache: Cache
    heads: Sequence[Head | str | os.PathLike[str]]
    jets: str | None
    outside: Outside
    min_pt_share: float | None
    names: Names | None
    format: str | os.PathLike[str] | None
    batch_size: int | None
    block_bytes: int


@dataclass(frozen=True, kw_only=True)
class TaggerOptions(Brief):
    """Options of a tagger; functions, processors, ``search.yaml`` and the command line accept the same ones.

    Parameters
    ----------
    threads : int, optional
        Threads of the network; default: 1 in a worker, all usable cores otherwise.
    provider : str, optional
        Execution provider of ONNX Runtime: ``cpu`` (default), ``cuda`` or a full name, optionally followed by its
        options: ``cuda,device_id=1,gpu_mem_limit=8000000000``. See `jettagger.sessions.providers`.
    backend : {"fast", "onnxruntime", "openvino"}
        ``fast``: ONNX Runtime with the graph rewritten to an equivalent, faster one, which is checked when it is
        loaded; ``onnxruntime``: the original graph; ``openvino``: OpenVINO (extra ``openvino``), whose probabilities
        may differ by 1e-4, and other outputs by 1e-3 relative.
    precision : {"float32", "float16"}
        Of matrix products, with backend ``fast``. ``float16``, for GPUs: probabilities may differ by 2e-3 in the median
        and by 0.05 at most, which is checked when the model is loaded; else it runs in float32, with a warning.
    remote : str or Remote, optional
        Inference server, ``grpc://host:8001/model`` (extra ``remote``); see `jettagger.sessions.remote`. Without a
        model name in the address, that of the bundle is used. Default: the environment variable ``JETTAGGER_REMOTE``
        when the options are made; False: none, regardless of the variable.
    cache : bool, path, DiskCache or (path, bytes), optional
        Score cache, so that each jet runs through the network once: True for the user's cache folder. The key of an
        entry contains the bundle and the content of the columns that the model reads, so that it is not found after any
        change. Heads run each time.
    heads : sequence of Head or path
        Heads that were trained on the model, run on its outputs in the same pass; see `Tagger.with_heads`.
    jets : str, optional
        The collection of jets, if the model applies to several in the events (Delphes, PFNano with ``FatJetAK15``).
    outside : {"score", "skip"}
        Jets outside the training selection of a data configuration of weaver: flagged in the column
        ``<prefix>_inDomain`` and scored, or flagged and not scored.
    min_pt_share : float, optional
        Minimum fraction of the transverse momentum of a jet that its constituents must carry for it to be scored;
        otherwise its scores are None. Default: 0.8, and no dangling links. With a number, links that are dangling or
        refer to an object other than the original one are dropped, and the fraction of the remaining constituents
        decides.
    names : mapping of str to str or None, optional
        For PFNano files of a production with other names: PFNano's current name of a collection or column -> that in
        the file, see `jettagger.formats.pfnano.pfnano`; ``{"PFCands": "JetPFCands", "FatJetPFCands.pFCandsIdx":
        "candIdx"}``.
    format : str or path, optional
        Flavour of PFNano that declares such names: one of those of the package (``"pfnano-106x"``), or a YAML file.
        It is read at once and stored in ``names``. Without it, known flavours are detected by their collections.
    batch_size : int, optional
        Maximum number of jets per run of the network; default: 64, on a GPU 4,096, on a server 256.
    block_bytes : int
        Approximate memory in bytes for what is derived from a chunk at a time; the jets of a larger chunk are linked
        and scored in several blocks.

    Raises
    ------
    ConfigError
        If the backend does not exist, a number is not positive, the fraction is not between 0 and 1, the address of a
        server is invalid, or a server is combined with a local provider or backend.
    MismatchError
        If ``outside`` is invalid, or if both ``names`` and ``format`` are given.
    UnknownName
        If a name is not one of PFNano's, or if the flavour does not exist.
    InputFileError
        If the file of the flavour does not exist.

    Examples
    --------
    >>> options = TaggerOptions(threads=1, jets="FatJetAK15")
    >>> options.given
    {'threads': 1, 'jets': 'FatJetAK15'}
    >>> TaggerOptions(backend="fastest")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    jettagger.errors.ConfigError: ...
    """

    threads: int | None = None
    provider: str | None = None
    backend: str = "fast"
    precision: str = "float32"
    remote: Remote | str | bool | None = None
    cache: Cache = None
    heads: Sequence[Head | str | os.PathLike[str]] = ()
    jets: str | None = None
    outside: Outside = "score"
    min_pt_share: float | None = None
    names: Names | None = field(default=None, hash=False)
    format: str | os.PathLike[str] | None = None
    batch_size: int | None = None
    block_bytes: int = BLOCK

    def __post_init__(self) -> None:
        check_backend(self.backend, self.provider, self.precision)
        object.__setattr__(self, "remote", self._checked_remote())
        if self.threads is not None:
            checked_threads(self.threads)
        share = self.min_pt_share
        if share is not None and not (is_number(share) and 0 <= share <= 1):
            raise ConfigError(f"min_pt_share is {share!r}, expected a share of a jet's pt from 0 to 1")
        if self.outside not in get_args(Outside):
            raise MismatchError(f"outside is {self.outside!r}, expected 'score' or 'skip'")
        for name in ("batch_size", "block_bytes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value!r}, expected at least 1")
        names = declared_names(self.names, self.format)
        if names is not None:
            pfnano(names)
            object.__setattr__(self, "names", dict(names))
            object.__setattr__(self, "format", None)  # a worker need not have the file
        heads = [self.heads] if isinstance(self.heads, (str, os.PathLike)) else self.heads
        object.__setattr__(self, "heads", tuple(heads))

    def _checked_remote(self) -> Remote | str | bool | None:
        remote = self.remote
        local = self.provider is not None or (self.backend, self.precision) != ("fast", "float32")
        if remote is None and not local:
            remote = os.environ.get(REMOTE) or None
        if remote is None or remote is False:
            return remote
        if remote is True:
            raise ConfigError("remote is True, expected an address such as grpc://host:8001/model, or False")
        if isinstance(remote, str):
            Remote.at(remote, "model")
        if local:
            raise ConfigError(
                "remote is a server that runs the network: provider, backend and precision are of this machine"
            )
        return remote

    def server(self, model: str) -> Remote | None:
        """The inference server, if there is one.

        Parameters
        ----------
        model : str
            Name of the model on the server, if the address has none.

        Returns
        -------
        Remote or None
        """
        if not self.remote or isinstance(self.remote, bool):
            return None
        return Remote.at(self.remote, model) if isinstance(self.remote, str) else self.remote

    @property
    def given(self) -> dict[str, Any]:
        """The options that differ from the defaults."""
        default = {item.name: item.default for item in fields(self)}
        values = ((name, getattr(self, name)) for name in default)
        return {name: value for name, value in values if value != default[name]}


def with_keywords(options: TaggerOptions | None, keywords: Mapping[str, Any], what: str) -> TaggerOptions:
    """Options with some of them replaced by keywords.

    Parameters
    ----------
    options : TaggerOptions or None
        None: the defaults.
    keywords : mapping of str to object
        Names of fields of `TaggerOptions` -> values.
    what : str
        Name of the called function, for errors.

    Returns
    -------
    TaggerOptions

    Raises
    ------
    UnknownName
        If a keyword is not an option.
    """
    known = [item.name for item in fields(TaggerOptions)]
    unknown = [name for name in keywords if name not in known]
    if unknown:
        raise UnknownName("option of a tagger", unknown, known, what)
    return TaggerOptions(**keywords) if options is None else replace(options, **keywords)


guard(globals(), "TaggerOptions")
