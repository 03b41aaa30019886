"""What the results of the chunks of a search depend on apart from their events, and how two searches differ in it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from jettagger._version import __version__
from jettagger.arguments import guard
from jettagger.display import in_full
from jettagger.errors import visible
from jettagger.runtime.codedigest import code_digest, digest_of
from jettagger.search.interface import EventsConfig, EventsProcessor
from jettagger.skims.resume import source_digest

__all__ = ["differences", "search_identity"]

#: keys that are used after the last chunk, and what jobs ask for
_AFTERWARDS = ("batch", "label", "plots", "styles", "templates")

#: packages of jettagger that its digest of the code of scores leaves out
_ROOMS = ("calibration", "decorrelation", "discriminants", "histograms", "processors", "search")

#: libraries that compute columns, scores and histograms
_LIBRARIES = ("awkward", "boost-histogram", "coffea", "correctionlib", "numpy", "onnxruntime", "uproot")


def search_identity(config: EventsConfig, processor: EventsProcessor) -> dict[str, Any]:
    """All that the results of chunks depend on apart from their events, for JSON.

    Parameters
    ----------
    config : SearchConfig
    processor : SearchProcessor
        Of this configuration.

    Returns
    -------
    dict
        ``configuration``, without the files of samples and what is used after the last chunk; ``files`` that it names,
        with their checksums; ``tagger``, with the checksums of model and heads; ``code`` and ``versions``.
    """
    content = {key: value for key, value in config.document.data.items() if key not in _AFTERWARDS}
    samples = content.get("samples") or {}
    content["samples"] = {
        str(name): {key: value for key, value in sample.items() if key != "files"} for name, sample in samples.items()
    }
    parts = [digest_of(files(f"jettagger.{room}")) for room in _ROOMS]
    return {
        "configuration": _texts(content),
        "files": dict(sorted(_files(content, config.folder))),
        "tagger": None if processor.tagger is None else _texts(processor.tagger.state),
        "code": {
            "jettagger": hashlib.sha256("".join([code_digest(), *parts]).encode()).hexdigest(),
            "processor": source_digest(type(processor)),
        },
        "versions": {"jettagger": __version__, **{name: version(name) for name in _LIBRARIES}},
    }


def differences(now: Mapping[str, Any], before: Mapping[str, Any]) -> list[str]:
    """How two searches differ, of which the results of chunks cannot be added.

    Parameters
    ----------
    now, before : mapping
        From `search_identity`.

    Returns
    -------
    list of str
        Empty if they do not differ.

    Examples
    --------
    >>> before = {"configuration": {"luminosity": 138, "cuts": {"near": "abs(deta) < 2"}}}
    >>> differences({"configuration": {"luminosity": 138, "cuts": {"near": "abs(deta) < 1.3"}}}, before)
    ["cuts.near is 'abs(deta) < 1.3', was 'abs(deta) < 2'"]
    """
    found = _changed(now.get("configuration"), before.get("configuration"), "")
    found += [f"the content of {text}" for text in _changed(now.get("files"), before.get("files"), "", digests=True)]
    found += _changed(now.get("tagger"), before.get("tagger"), "tagger", digests=("model", "heads"))
    found += [f"the code of {text}" for text in _changed(now.get("code"), before.get("code"), "", digests=True)]
    return found + _changed(now.get("versions"), before.get("versions"), "version of")


def _changed(now: Any, before: Any, place: str, *, digests: bool | tuple[str, ...] = False) -> list[str]:
    if now == before:
        return []
    if isinstance(now, Mapping) and isinstance(before, Mapping):
        found = []
        for key in dict.fromkeys([*now, *before]):
            hidden = digests if isinstance(digests, bool) else key in digests
            joint = " " if place.endswith(" of") else "."
            name = f"{place}{joint}{key}" if place else str(key)
            if key not in before:
                found.append(f"{name} is new")
            elif key not in now:
                found.append(f"{name} is gone")
            else:
                found += _changed(now[key], before[key], name, digests=hidden)
        return found
    return [f"{place} has changed"] if digests is True else [f"{place} is {_text(now)}, was {_text(before)}"]


def _text(value: Any) -> str:
    return visible(repr(value))


def _texts(value: Any) -> Any:
    """A value with the keys and the lists that it has after JSON."""
    if isinstance(value, Mapping):
        return {str(key): _texts(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_texts(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    text: Any = type(value).__str__
    return in_full(value) if text is object.__str__ else str(value)


def _files(content: Any, folder: Path) -> Iterator[tuple[str, str]]:
    """The files that a configuration names anywhere, with their checksums."""
    if isinstance(content, Mapping):
        for value in content.values():
            yield from _files(value, folder)
    elif isinstance(content, (list, tuple)):
        for value in content:
            yield from _files(value, folder)
    elif isinstance(content, str):
        with suppress(OSError, ValueError):  # most texts are no names, and too long for one
            path = folder / os.path.expanduser(content)
            if path.is_file():
                yield content, hashlib.sha256(path.read_bytes()).hexdigest()


guard(globals(), "search_identity")
