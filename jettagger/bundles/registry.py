"""Models by name: find, load, add."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from jettagger.arguments import guard
from jettagger.bundles.bundle import Bundle
from jettagger.bundles.checksums import declare
from jettagger.bundles.folder import is_bundle
from jettagger.bundles.places import search_path, user_folder
from jettagger.errors import (
    LONGEST_NAME,
    BundleError,
    BundleNotFound,
    JettaggerError,
    OutputError,
    hint,
    nearest,
    output_exists,
    visible,
)
from jettagger.files import allowed_mode, follow, refuse_inputs, replace_folder
from jettagger.files.parts import forget, part_prefix, remember, remove_stale

__all__ = ["EMBEDDED", "accept", "add", "available", "choice", "load_bundle", "locate"]

_log = logging.getLogger(__name__)

#: the model with weights that is part of the package
EMBEDDED = "inclParTToyV1"


def available() -> dict[str, Path]:
    """All models that can be loaded by name.

    Returns
    -------
    dict of str to pathlib.Path
        Name of the model (that of its folder) -> folder; the first one on the search path is used.

    Examples
    --------
    >>> "tinyParT" in available()
    True
    """
    found: dict[str, Path] = {}
    for place in search_path():
        for folder in _bundles_in(place):
            found.setdefault(folder.name, folder)
    return dict(sorted(found.items()))


def choice() -> str:
    """Available models, and which of them comes with the package, for messages if no model was chosen.

    Returns
    -------
    str
        One line per model with its title, and how to load the embedded default.

    Examples
    --------
    >>> print(choice().splitlines()[-1])
    'inclParTToyV1' is the embedded default: load_tagger('inclParTToyV1')
    """
    lines = []
    for name, folder in available().items():
        try:
            bundle = Bundle.from_folder(folder)
        except JettaggerError:
            lines.append(f"  {name}: broken, see 'jettagger models list'")
            continue
        title = bundle.card.title or "no title"
        lines.append(f"  {name}: {title}{'' if bundle.has_weights else ' (without weights here)'}")
    lines.append(f"{EMBEDDED!r} is the embedded default: load_tagger({EMBEDDED!r})")
    return "\n".join(lines)


def _bundles_in(place: Path) -> Iterator[Path]:
    if not place.is_dir():
        return
    if is_bundle(place):
        yield place
        return
    for folder in sorted(place.iterdir()):
        if folder.is_dir() and not folder.name.startswith(".") and is_bundle(folder):
            yield folder


def locate(name_or_folder: str | os.PathLike[str]) -> Path:
    """The folder of a model.

    Parameters
    ----------
    name_or_folder : str or path
        A name from `available`, or a folder.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    BundleNotFound
        Gives the nearest names and the folders that were searched.
    """
    name = os.fspath(name_or_folder)
    models = available()
    if os.sep not in name and name in models:
        return models[name]
    with suppress(OSError, RuntimeError, ValueError):  # a name that no system takes, a home that nobody has
        folder = Path(name).expanduser()
        if name and folder.is_dir():
            return folder
    for place in (
        models.values() if len(name) <= LONGEST_NAME else ()
    ):  # a folder of another name with the network that is called so
        with suppress(JettaggerError):
            if Bundle.from_folder(place).name == name:
                return place
    shown = visible(name, LONGEST_NAME)
    places = ", ".join(str(place) for place in search_path())
    raise BundleNotFound(
        f"no model {shown!r}{hint(name, models)}: it is neither a folder nor among {', '.join(models) or 'no models'} "
        f"(searched: {places})",
        where=places,
        got=shown,
        expected=f"a folder or one of {', '.join(models)}" if models else "a folder",
        nearest=nearest(name, models),
    )


def load_bundle(name_or_folder: str | os.PathLike[str]) -> Bundle:
    """Read the description of a model.

    Parameters
    ----------
    name_or_folder : str or path

    Returns
    -------
    Bundle

    Raises
    ------
    BundleNotFound
        If there is no such model.
    BundleError
        If its folder is not usable.

    Examples
    --------
    >>> load_bundle("tinyParT")["mass"].kind
    'mass'
    """
    bundle = Bundle.from_folder(locate(name_or_folder))
    _log.info("model %s loaded from %s, digest %s", bundle.name, bundle.folder, bundle.digest)
    return bundle


def add(folder: str | os.PathLike[str], name: str | None = None, *, force: bool = False) -> Path:
    """Copy a model into the user's folder, so that it can be loaded by name; writes ``checksums.json`` there.

    Parameters
    ----------
    folder : path
        A folder that `Bundle.from_folder` accepts.
    name : str, optional
        Name of the copy; default: that of the bundle.
    force : bool
        Whether a model of that name may be replaced.

    Returns
    -------
    pathlib.Path
        The new folder.

    Raises
    ------
    BundleError
        If the folder is not a usable bundle.
    OutputError
        If the name is taken, the model is in this place already, or the copy cannot be completed.
    """
    bundle = Bundle.from_folder(folder)
    bundle.require_weights()
    name = name or bundle.name
    if Path(name).name != name or name.startswith("."):
        raise BundleError(f"{name!r} cannot be the name of a model: expected a plain folder name")
    target = follow(user_folder() / name)
    refuse_inputs(target, [bundle.folder, *bundle.sources])
    if target.exists() and not force:
        raise output_exists(target)
    part: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_stale(target.parent)
        part = Path(tempfile.mkdtemp(prefix=part_prefix(name), dir=target.parent))
        remember(part)
        _copy(bundle, part)
        declare(part, bundle.checksums())
        Bundle.from_folder(part)
        part.chmod(allowed_mode(part, folder=True))
        replace_folder(part, target)
    except OSError as error:
        raise OutputError(
            f"cannot add {folder} as {target}: {error.strerror or error}; no partial output was left"
        ) from error
    finally:
        if part is not None:
            with suppress(FileNotFoundError):
                shutil.rmtree(part)
            forget(part)
    return target


def accept(name_or_folder: str | os.PathLike[str]) -> Bundle:
    """Accept the current network and input description of a model although they have changed.

    Parameters
    ----------
    name_or_folder : str or path

    Returns
    -------
    Bundle

    Raises
    ------
    BundleNotFound
        If there is no such model.
    BundleError
        If its folder is not usable, or its card declares other checksums, which have to be edited by hand.
    OutputError
        If the checksums cannot be written.
    """
    return Bundle.from_folder(locate(name_or_folder), accept=True)


def _copy(bundle: Bundle, target: Path) -> None:
    """Copy all files of a bundle: those of its folder, external data below it, descriptions from the package."""
    for path in sorted(bundle.folder.iterdir()):
        if path.is_file():
            shutil.copy(path, target / path.name)
    for path in bundle.graph.external if bundle.graph else ():
        copy = target / path.relative_to(bundle.folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    for name, path in bundle.files.items():
        if not (target / name).exists():
            shutil.copy(path, target / name)


guard(globals())
