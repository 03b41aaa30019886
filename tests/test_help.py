"""``help()`` of every public name reads well."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import pydoc
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import jettagger.processors
import pytest
from pydantic import Field

import jettagger
from jettagger.config.models import FileModel
from jettagger.display import Brief
from jettagger.errors import MissingExtra

#: what may not be in a help text, apart from the section that Python writes of each class
UNREADABLE = {
    "an object without a name": r" object at 0x[0-9a-f]+",
    "a factory without its value": r"<factory>",
    "a field of a tuple without meaning": r"lias for field number",
    "a function of Python as a default": r"<built-in",
    "a nameless function": r"<lambda>",
    "a default that is an object": r"<object object",
}
#: attributes that pydantic keeps for itself in each model, and what is only stored
OWN = re.compile(r"^ \|  (__pydantic_\w+__|__annotations__|__validators__|model_\w+) = .*$", re.MULTILINE)


def public_modules() -> list[ModuleType]:
    """Modules with public names, of all packages but the command line."""
    found = [jettagger]
    for package, prefix in ((jettagger, "jettagger."), (jettagger.processors, "jettagger.processors.")):
        for module in pkgutil.walk_packages(package.__path__, prefix):
            if not module.name.endswith("__main__") and ".cli" not in module.name:
                try:
                    found.append(importlib.import_module(module.name))
                except ImportError:  # an extra is not installed
                    continue
    return [jettagger.processors, *found]


MODULES = {module.__name__: module for module in public_modules()}


def public_names() -> Iterator[tuple[str, Any]]:
    """Each public class and function once, under the shortest name of its module."""
    seen = set()
    for name, module in sorted(MODULES.items(), key=lambda item: item[0].count(".")):
        for key in getattr(module, "__all__", ()):
            try:
                value = getattr(module, key)
            except MissingExtra:  # which says how to install it
                continue
            home = str(getattr(value, "__module__", ""))
            place = (home, getattr(value, "__qualname__", key))
            callable_ = inspect.isclass(value) or inspect.isroutine(value)
            if callable_ and home.startswith("jettagger") and place not in seen:
                seen.add(place)
                yield f"{name}.{key}", value


NAMES = dict(public_names())


def text_of(value: Any) -> str:
    return OWN.sub("", pydoc.render_doc(value, renderer=pydoc.plaintext))


@pytest.mark.parametrize("name", NAMES)
def test_help_reads_well(name: str) -> None:
    value = NAMES[name]
    text = text_of(value)
    for what, pattern in UNREADABLE.items():
        found = re.search(rf".{{0,60}}{pattern}.{{0,40}}", text)
        assert found is None, f"{what}: {found[0] if found else ''}"
    own = value.__dict__.get("__doc__") if inspect.isclass(value) else value.__doc__
    assert (own or "").strip(), "no docstring"
    summary = own.strip().splitlines()[0]
    assert summary.endswith((".", ":")), summary
    assert not summary.startswith(f"{value.__name__}("), "the docstring that a dataclass gets without its own"
    assert summary in text


@pytest.mark.parametrize("name", [name for name, value in NAMES.items() if inspect.isclass(value)])
def test_members_have_docstrings(name: str) -> None:
    """Also those that another class describes first."""
    for key, member in inspect.getmembers_static(NAMES[name]) if hasattr(inspect, "getmembers_static") else ():
        if key.startswith("_") or not any(key in vars(base) for base in NAMES[name].__mro__ if _is_ours(base)):
            continue
        if isinstance(member, (property, classmethod, staticmethod)) or inspect.isfunction(member):
            assert inspect.getdoc(getattr(member, "__func__", member)) or inspect.getdoc(getattr(NAMES[name], key)), key


def _is_ours(cls: type) -> bool:
    return cls.__module__.startswith("jettagger")


@pytest.mark.parametrize("name", MODULES)
def test_a_module_says_what_it_is_for(name: str) -> None:
    text = (MODULES[name].__doc__ or "").strip()
    assert text, "no docstring"
    assert text.splitlines()[0].rstrip().endswith((".", ":", ";")) or "\n" in text
    if name == "jettagger.explain":  # one of its classes needs it
        pytest.importorskip("torch")
    assert pydoc.render_doc(MODULES[name], renderer=pydoc.plaintext)


@pytest.mark.parametrize("name", [name for name in MODULES if name.count(".") < 2 and "._" not in name])
def test_dir_lists_public_names_alone(name: str) -> None:
    module = MODULES[name]
    if hasattr(module, "__all__"):
        assert dir(module) == sorted(module.__all__)
    else:  # a package whose public names are in its modules
        own = {item.name for item in pkgutil.iter_modules(module.__path__)}
        names = {item for item in dir(module) if not item.startswith("_")}
        assert names - {"annotations"} <= own


def test_what_a_factory_makes_is_shown() -> None:
    @dataclass
    class Options(Brief):
        """Options."""

        first: int
        names: dict[str, int] = field(default_factory=dict)
        listed: list[str] = field(default_factory=lambda: ["a"])

    assert (
        str(inspect.signature(Options))
        == "(first: 'int', names: 'dict[str, int]' = {}, listed: 'list[str]' = ['a']) -> None"
    )
    text = text_of(Options)
    assert "__init__(self, first: 'int', names: 'dict[str, int]' = {}, listed: 'list[str]' = ['a'])" in text
    made = Options(1)
    assert made.names == {}
    made.listed.append("b")
    assert Options(2).listed == ["a"]
    with pytest.raises(TypeError):
        inspect.signature(made)  # type: ignore[arg-type] # not callable


def test_keys_of_a_model_are_shown_with_types_and_defaults() -> None:
    class Keys(FileModel):
        """Keys."""

        number: int
        names: list[str] = Field(default_factory=list)
        text: str | None = None

    shown = str(inspect.signature(Keys))
    assert shown.startswith("(*, number: int, names: list[str] = [], text: ")
    assert shown.endswith("= None) -> None")
    assert Keys(number=1).names == []
