"""The options of an assigner as one value."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, TypedDict

from jettagger.arguments import guard
from jettagger.assignment.decoding import METHODS, AssignmentFunction
from jettagger.bundles.stored_scores import Cache
from jettagger.display import Brief
from jettagger.errors import ConfigError, UnknownName
from jettagger.sessions.onnx import checked_threads
from jettagger.sessions.providers import Provider

if TYPE_CHECKING:
    from jettagger.topology.mapping import EventMapping

__all__ = ["AssignerKeywords", "AssignerOptions", "with_assigner_keywords"]


class AssignerKeywords(TypedDict, total=False):
    """The fields of `AssignerOptions` as keywords."""

    method: str | AssignmentFunction
    detection: bool
    mapping: EventMapping | str | os.PathLike[str] | None
    input_log: bool | None
    slots: Mapping[str, int] | None
    threads: int | None
    provider: str | None
    cache: Cache
    batch_size: int | None


@dataclass(frozen=True, kw_only=True)
class AssignerOptions(Brief):
    """Options of an assigner.

    Parameters
    ----------
    method : str or callable
        How assignments are chosen: one of the methods of `jettagger.assignment.decode`, or an own function of
        ``{particle: float[events, T, ..., T]}`` (log probabilities, -inf where impossible), which returns ``{particle:
        int[events, daughters]}``, -1 for all daughters of particles that are not assigned. It is sent to workers and
        must be picklable.
    detection : bool
        Whether detection probabilities take part in the choice: a particle that is more likely absent is not assigned.
    mapping : EventMapping or path, optional
        Which columns of events the inputs are; default: ``inputs.yaml`` of the folder.
    input_log, slots
        For folders without ``assigner.json``, see `jettagger.assignment.read_assigner`.
    threads : int, optional
        Threads of network and decoder; default: 1 in a worker, all usable cores otherwise.
    provider : str, optional
        Execution provider of ONNX Runtime, as for `jettagger.TaggerOptions`.
    cache : bool, path, DiskCache or (path, bytes), optional
        Score cache, as for `jettagger.TaggerOptions`: the key of an entry contains network, method and the content of
        the inputs. Not with an own function, whose content is not known.
    batch_size : int, optional
        Maximum number of events in a run of the network; default: 256, fewer if distributions are large.

    Raises
    ------
    ConfigError
        If a number is not positive, or if a cache is given with an own function.
    UnknownName
        If the method does not exist.

    Examples
    --------
    >>> AssignerOptions(method="best", threads=1).given
    {'method': 'best', 'threads': 1}
    """

    method: str | AssignmentFunction = "greedy"
    detection: bool = False
    mapping: EventMapping | str | os.PathLike[str] | None = field(default=None, hash=False)
    input_log: bool | None = None
    slots: Mapping[str, int] | None = field(default=None, hash=False)
    threads: int | None = None
    provider: str | None = None
    cache: Cache = None
    batch_size: int | None = None

    def __post_init__(self) -> None:
        if self.threads is not None:
            checked_threads(self.threads)
        Provider.of(self.provider)
        if self.batch_size is not None and self.batch_size < 1:
            raise ConfigError(f"batch_size is {self.batch_size!r}, expected at least 1")
        if callable(self.method):
            if self.cache:
                raise ConfigError(
                    "a score cache cannot tell what an own assignment function does: leave cache out, or name a method"
                )
            if self.detection:
                raise ConfigError("detection is an option of the methods of decode, not of an own function")
        elif self.method not in METHODS:
            raise UnknownName("method of decoding", self.method, METHODS)

    @property
    def given(self) -> dict[str, Any]:
        """The options that differ from the defaults."""
        default = {item.name: item.default for item in fields(self)}
        values = ((name, getattr(self, name)) for name in default)
        return {name: value for name, value in values if value is not default[name] and value != default[name]}


def with_assigner_keywords(options: AssignerOptions | None, keywords: Mapping[str, Any], what: str) -> AssignerOptions:
    """Options with some of them replaced by keywords.

    Parameters
    ----------
    options : AssignerOptions or None
        None: the defaults.
    keywords : mapping of str to object
        Names of fields of `AssignerOptions` -> values.
    what : str
        Name of the called function, for errors.

    Returns
    -------
    AssignerOptions

    Raises
    ------
    UnknownName
        If a keyword is not an option.
    """
    known = [item.name for item in fields(AssignerOptions)]
    if unknown := [name for name in keywords if name not in known]:
        raise UnknownName("option of an assigner", unknown, known, what)
    return AssignerOptions(**keywords) if options is None else replace(options, **keywords)


guard(globals(), "AssignerOptions")
