"""Docstrings say what is raised: each public function names the errors of its own body."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import jettagger
from jettagger import errors

ROOT = Path(jettagger.__file__).resolve().parent.parent
FILES = [*sorted((ROOT / "jettagger").rglob("*.py")), *sorted((ROOT / "processors").glob("*.py"))]
ERRORS = {
    name: value
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, errors.JettaggerError)
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def public_names(tree: ast.Module) -> set[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(getattr(target, "id", "") == "__all__" for target in node.targets):
            return {str(item) for item in ast.literal_eval(node.value)}
    return set()


def public_functions(tree: ast.Module) -> Iterator[tuple[str, Function, str]]:
    """Qualified name, function and docstring; the class documents what ``__init__`` and ``__post_init__`` raise."""
    names = public_names(tree)
    for node in tree.body:
        if isinstance(node, Function) and node.name in names:
            yield node.name, node, ast.get_docstring(node) or ""
        elif isinstance(node, ast.ClassDef) and node.name in names:
            for member in node.body:
                if isinstance(member, Function):
                    if member.name in ("__init__", "__post_init__"):
                        yield f"{node.name}.{member.name}", member, ast.get_docstring(node) or ""
                    elif not member.name.startswith("_") or member.name in ("__call__", "__getitem__"):
                        yield f"{node.name}.{member.name}", member, ast.get_docstring(member) or ""


def raised(function: Function) -> set[str]:
    """The errors of ours that the function itself raises, not the functions inside it, nor what it catches again."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            return
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            name = getattr(node.exc.func, "id", getattr(node.exc.func, "attr", ""))
            if name in ERRORS:
                found.add(name)
        for child in ast.iter_child_nodes(node):
            visit(child)

    for statement in function.body:
        visit(statement)
    return found


def documented(docstring: str, name: str) -> bool:
    """Whether the section on what is raised names an error or a class that it derives from."""
    section = re.split(r"^Raises\n-+$", docstring, maxsplit=1, flags=re.MULTILINE)
    if len(section) < 2:
        return False
    text = re.split(r"^\w[\w ]*\n-+$", section[1], maxsplit=1, flags=re.MULTILINE)[0]
    named = set(re.findall(r"\w+", text))
    return bool({item.__name__ for item in ERRORS[name].__mro__ if item.__name__ in ERRORS} & named)


def silent(tree: ast.Module) -> list[str]:
    return [
        f"{name}: {error}"
        for name, function, docstring in public_functions(tree)
        for error in sorted(raised(function))
        if not documented(docstring, error)
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_raised_is_documented(path: Path) -> None:
    assert silent(ast.parse(path.read_text(encoding="utf-8"))) == []


def test_what_is_silent_is_found() -> None:
    source = '''
__all__ = ["Thing", "good", "silent"]
def good():
    """Text.

    Raises
    ------
    JettaggerError
        Sometimes.
    """
    raise ConfigError("x")
def silent():
    """Text."""
    def inner():
        raise OutputError("x")
    if inner:
        raise errors.ConfigError("x")
class Thing:
    """Text.

    Raises
    ------
    UnknownName
        If.

    Notes
    -----
    ConfigError is not raised.
    """
    def __init__(self):
        raise UnknownName("x")
    def __post_init__(self):
        raise ConfigError("x")
    def run(self):
        """Text."""
        raise ValueError("x")
def _private():
    raise ConfigError("x")
'''
    assert silent(ast.parse(source)) == ["silent: ConfigError", "Thing.__post_init__: ConfigError"]


# ---------------------------------------------------------------------------------------- shapes

ARRAYS = re.compile(r"\b(Array|NDArray|ndarray|Floats|Ints|Bools|Rows)\b")

#: what tells a shape: brackets after a type, a jagged or broadcast array, one entry a something, or another docstring
SHAPE = re.compile(
    r"\[[^\]]+\]|\b[Jj]agged\b|\bshapes?\b|\bbroadcast|\bnumbers? or arrays?\b|\bscalar\b"
    r"|\b(one|an?) \w+ (an?|for each|of each) \w+|\b(each|every|per|an?) (event|jet|bin|row|entry|class|candidate|"
    r"constituent|particle|vertex|variable|point|object|track)\b|\b[Aa]s (for|in|`)|\b[Ss]ee `",
)


def text_of(docstring: str, name: str) -> str:
    """What the section on parameters says of one, which may stand in a list of several; all of a docstring without."""
    if not re.search(r"^(?:Parameters|Attributes)\n-+$", docstring, flags=re.MULTILINE):
        return docstring
    found = re.search(rf"^(?:\w+, )*{name}(?:, \w+)*(?: :.*)?\n(?:    .*\n|\n)*", f"{docstring}\n", flags=re.MULTILINE)
    return "" if found is None else found[0]


def returned(docstring: str) -> str:
    """What the section on what is returned says; in short docstrings all of it."""
    section = re.split(r"^(?:Returns|Yields)\n-+$", docstring, maxsplit=1, flags=re.MULTILINE)
    return re.split(r"^\w[\w ]*\n-+$", section[-1], maxsplit=1, flags=re.MULTILINE)[0]


def shapeless(tree: ast.Module) -> list[str]:
    """Parameters and results that are arrays, of which the docstring tells no shape."""
    found = []
    for name, function, docstring in public_functions(tree):
        every = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        for argument in every:
            annotation = "" if argument.annotation is None else ast.unparse(argument.annotation)
            if ARRAYS.search(annotation) and not SHAPE.search(text_of(docstring, argument.arg)):
                found.append(f"{name}: {argument.arg}")
        annotation = "" if function.returns is None else ast.unparse(function.returns)
        if ARRAYS.search(annotation) and not SHAPE.search(returned(docstring)):
            found.append(f"{name}: what is returned")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_shapes_of_arrays_are_documented(path: Path) -> None:
    assert shapeless(ast.parse(path.read_text(encoding="utf-8"))) == []


def test_arrays_without_a_shape_are_found() -> None:
    source = '''
__all__ = ["good", "silent", "short"]
def good(x: Array, y: Floats | None, n: int) -> Array:
    """Text.

    Parameters
    ----------
    x, n : float64[jets, 2] and int
    y : array
        One number a jet.

    Returns
    -------
    array
        Jagged, as the events.
    """
def silent(x: Array, y: Mapping[str, Floats]) -> Floats:
    """Text of float64[n].

    Parameters
    ----------
    x : array
        Numbers.
    y : dict

    Returns
    -------
    array
        Numbers.
    """
def short(x: int) -> Array:
    """float32[jets]: numbers."""
'''
    assert shapeless(ast.parse(source)) == ["silent: x", "silent: y", "silent: what is returned"]
