"""Pages of the reference: one for each package and module of the package, with an entry for each public name.

Public names are those in ``__all__`` of a package. Where the ``__init__`` of a package lists none, its modules do.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from types import GenericAlias
from typing import Any

from _site.links import written

#: packages and modules that analysts use, in the order of the index; all others are building blocks
GROUPS = {
    "Scores": [
        "",  # jettagger itself
        "processors",
        "dask",
        "discriminants",
        "histograms",
        "plots",
        "report",
        "provenance",
        "errors",
        "testing",
    ],
    "Capabilities": [
        "heads",
        "finetuning",
        "decorrelation",
        "calibration",
        "jec",
        "assignment",
        "explain",
        "search",
        "statistics",
        "studies",
        "simulation",
        "images",
        "truth",
        "weaver",
        "training",
    ],
}
#: what is left over
OTHERS = "Building blocks"

#: documented as commands
PASSED_OVER = ("jettagger.cli",)

#: length of a value up to which it is shown
LONGEST_VALUE = 80


@dataclass(frozen=True)
class PublicModule:
    """A package or module, and its public names.

    Parameters
    ----------
    name : str
        As it is imported.
    names : tuple of str
    summary : str
        The first line of its docstring.
    """

    name: str
    names: tuple[str, ...]
    summary: str


def _read(path: Path, name: str) -> PublicModule:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names: tuple[str, ...] = ()
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(getattr(target, "id", "") == "__all__" for target in node.targets):
            names = tuple(ast.literal_eval(node.value))
    summary = (ast.get_docstring(tree) or "").partition("\n\n")[0].replace("\n", " ")
    return PublicModule(name, names, summary)


def public_modules(root: Path) -> Iterator[PublicModule]:
    """The packages and modules whose names are documented.

    Parameters
    ----------
    root : Path
        The repository.

    Yields
    ------
    PublicModule
        A package without names precedes its modules.
    """
    folders = {folder.parent: "" for folder in (root / "jettagger").rglob("__init__.py")}
    packages = {folder: ".".join(folder.relative_to(root).parts) for folder in folders}
    packages[root / "processors"] = "jettagger.processors"
    for folder, name in sorted(packages.items(), key=lambda item: item[1]):
        if name in PASSED_OVER:
            continue
        package = _read(folder / "__init__.py", name)
        yield package
        if not package.names or name == "jettagger":
            for path in sorted(folder.glob("[!_]*.py")):
                module = _read(path, f"{name}.{path.stem}")
                if module.names:
                    yield module


def _kind(module: str, name: str) -> tuple[str, Any]:
    """The directive for a name, and its object."""
    value = getattr(importlib.import_module(module), name)
    if isinstance(value, type) and not isinstance(value, GenericAlias):
        return ("autoexception" if issubclass(value, BaseException) else "autoclass"), value
    return ("autofunction" if inspect.isroutine(value) else "autodata"), value


def _entry(module: str, name: str) -> str:
    directive, value = _kind(module, name)
    if isinstance(value, GenericAlias):
        return f".. py:data:: {name}\n   :value: {value}\n"
    options = []
    if directive in ("autoclass", "autoexception"):
        options = [":members:", ":special-members: __call__, __getitem__", ":exclude-members: model_config"]
    elif directive == "autodata" and (isinstance(value, PurePath) or len(repr(value)) > LONGEST_VALUE):
        options = [":no-value:"]
    return "\n".join([f".. {directive}:: {name}", *(f"   {option}" for option in options), ""])


def _section(module: PublicModule, *, mark: str, documented: dict[int, str]) -> str:
    """A heading, what the module is for, a table of its names, and their entries."""
    lines = [module.name, mark * len(module.name), "", f".. automodule:: {module.name}", "   :no-members:", ""]
    if not module.names:
        return "\n".join(lines)
    names = sorted(module.names, key=lambda name: (name.isupper(), name.lower()))
    lines += [f".. currentmodule:: {module.name}", "", ".. autosummary::", "   :nosignatures:", ""]
    values = {name: getattr(importlib.import_module(module.name), name) for name in names}
    lines += [f"   {name}" for name in names if not isinstance(values[name], GenericAlias)]
    lines += [""]
    for name, value in values.items():
        full = f"{module.name}.{name}"
        shared = inspect.isroutine(value) or isinstance(value, type)  # re-exported, it is the same object
        home = documented.setdefault(id(value), full) if shared else full
        if home == full:
            lines += [_entry(module.name, name)]
        else:
            lines += [f".. py:data:: {name}", "", f"   The same as :py:obj:`{home}`.", ""]
    return "\n".join(lines)


def _page_of(module: PublicModule, packages: set[str]) -> str:
    """The name of the page: modules of a package without names are on the page of the package."""
    parent = module.name.rpartition(".")[0]
    return parent if parent in packages and parent != "jettagger" else module.name


def write_reference(root: Path, folder: Path) -> dict[str, str]:
    """Write the pages and their index.

    Parameters
    ----------
    root : Path
        The repository.
    folder : Path
        Where the pages go; others in it are removed.

    Returns
    -------
    dict of str
        Name with the module that defines it -> name in the reference, of functions and classes.
    """
    modules = list(public_modules(root))
    without_names = {module.name for module in modules if not module.names}
    pages: dict[str, list[PublicModule]] = {}
    for module in modules:
        pages.setdefault(_page_of(module, without_names), []).append(module)
    documented: dict[int, str] = {}
    for page, parts in pages.items():
        text = "\n".join(
            _section(part, mark="-" if position else "=", documented=documented) for position, part in enumerate(parts)
        )
        written(folder / f"{page}.rst", text)
    written(folder / "index.rst", _index({page: parts[0].summary for page, parts in pages.items()}))
    for path in folder.glob("*.rst"):
        if path.stem != "index" and path.stem not in pages:
            path.unlink()
    return _homes(set(documented.values()))


def _homes(names: set[str]) -> dict[str, str]:
    homes = {}
    for name in names:
        module, _, attribute = name.rpartition(".")
        value = getattr(importlib.import_module(module), attribute)
        home = f"{getattr(value, '__module__', module)}.{getattr(value, '__qualname__', attribute)}"
        homes[home] = name
    return homes


def _index(summaries: dict[str, str]) -> str:
    left = dict(summaries)
    groups = {
        title: [name for name in (f"jettagger.{part}".rstrip(".") for part in parts) if left.pop(name, "")]
        for title, parts in GROUPS.items()
    }
    groups[OTHERS] = list(left)
    text = textwrap.dedent(
        """\
        Python
        ======

        Every public name, from its docstring. Names that begin with an underscore, and modules that are not here, may
        change without notice.

        """
    )
    for title, names in groups.items():
        text += f"{title}\n{'-' * len(title)}\n\n.. list-table::\n   :widths: 30 70\n\n"
        for name in names:
            text += f"   * - :doc:`{name} <{name}>`\n     - {summaries[name]}\n"
        text += "\n.. toctree::\n   :hidden:\n\n" + "".join(f"   {name}\n" for name in names) + "\n"
    return text
