"""What tests may not do: judge by the clock, patch hidden state, count the operators of a rewritten graph."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
from conftest import RecordPassed

FILES = sorted(Path(__file__).resolve().parent.glob("*.py"))
CLOCKS = {"perf_counter", "perf_counter_ns", "monotonic", "monotonic_ns", "time", "time_ns"}
HIDDEN = {"__defaults__", "__kwdefaults__", "__globals__", "__dict__"}
OPERATORS = {schema.name for schema in onnx.defs.get_all_schemas()} | {"FusedMatMul", "SkipLayerNormalization"}


def calls(tree: ast.AST, name: str) -> Iterator[ast.Call]:
    """Calls of a method or function of that name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = node.func
            if name == (function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")):
                yield node


def reads_a_clock(node: ast.AST) -> bool:
    """Whether an expression calls a wall clock: ``time.perf_counter()`` or what was imported from ``time``."""
    functions = [call.func for call in ast.walk(node) if isinstance(call, ast.Call)]
    return any(
        function.attr in CLOCKS and ast.unparse(function.value) == "time"
        if isinstance(function, ast.Attribute)
        else isinstance(function, ast.Name) and function.id in CLOCKS - {"time"}
        for function in functions
    )


def clocks_in_assertions(tree: ast.AST) -> Iterator[int]:
    """Assertions on a wall clock, or on a name that holds one; deadlines of waiting loops are none."""
    for scope in ast.walk(tree):
        if not isinstance(scope, ast.FunctionDef):
            continue
        names = {
            target.id
            for node in ast.walk(scope)
            if isinstance(node, ast.Assign) and reads_a_clock(node.value)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(scope):
            if isinstance(node, ast.Assert):
                used = {name.id for name in ast.walk(node.test) if isinstance(name, ast.Name)}
                if reads_a_clock(node.test) or used & names:
                    yield node.lineno


def hidden_state(tree: ast.AST) -> Iterator[int]:
    """Patches of defaults of functions, of private tables and of dictionaries of modules."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in HIDDEN - {"__dict__"}:
            yield node.lineno
    for call in (*calls(tree, "setattr"), *calls(tree, "delattr")):
        if not ast.unparse(call.func).startswith(("monkeypatch", "setattr", "delattr")):
            continue
        texts = [arg.value for arg in call.args[:2] if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        for name in (text.rpartition(".")[2] for text in texts):
            if name in HIDDEN or (name.startswith("_") and name.isupper()):
                yield call.lineno
    for call in (*calls(tree, "setitem"), *calls(tree, "delitem")):
        patched = ast.unparse(call.args[0])
        if patched.rpartition(".")[2].strip("_").isupper() or "__dict__" in patched:
            yield call.lineno


def operator_counts(tree: ast.AST) -> Iterator[int]:
    """Assertions that compare the number of an ONNX operator, or of all operators, with a number written down."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Compare):
            continue
        sides = [node.left, *node.comparators]
        numbers = any(isinstance(side, ast.Constant) and isinstance(side.value, int) for side in sides)
        keys = {
            item.slice.value
            for side in sides
            for item in ast.walk(side)
            if isinstance(item, ast.Subscript) and isinstance(item.slice, ast.Constant)
        }
        if numbers and (keys & OPERATORS or any(True for side in sides for _ in calls(side, "operators"))):
            yield node.lineno


KINDS = {"wall clock": clocks_in_assertions, "hidden state": hidden_state, "operator counts": operator_counts}


@pytest.mark.parametrize("kind", KINDS)
def test_no_test_does_it(kind: str) -> None:
    assert len(FILES) > 50
    places = [f"{path.name}:{line}" for path in FILES for line in KINDS[kind](ast.parse(path.read_text()))]
    assert places == []


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("wall clock", "def f():\n    start = time.perf_counter()\n    assert time.perf_counter() - start < 5"),
        ("wall clock", "def f():\n    a = perf_counter()\n    b = perf_counter()\n    assert b - a < 5"),
        ("wall clock", "def f():\n    spent = time.time() - 3\n    assert spent < 5"),
        ("hidden state", 'monkeypatch.setattr(function, "__defaults__", (3,))'),
        ("hidden state", "function.__defaults__ = (3,)"),
        ("hidden state", 'monkeypatch.setattr(module, "_KNOWN", {})'),
        ("hidden state", 'monkeypatch.setattr("package.module._KNOWN", {})'),
        ("hidden state", 'monkeypatch.setitem(rules.JET_RULES, "pt", 3)'),
        ("hidden state", 'monkeypatch.setitem(module.__dict__, "limit", 3)'),
        ("operator counts", 'assert after["NonZero"] == 1'),
        ("operator counts", "assert sum(operators(model).values()) < 600"),
    ],
)
def test_each_kind_would_be_noticed(kind: str, code: str) -> None:
    assert list(KINDS[kind](ast.parse(code)))


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("wall clock", "def f():\n    end = time.monotonic() + 5\n    while time.monotonic() < end:\n        wait()"),
        ("wall clock", "def f():\n    assert seconds(new) < seconds(old)"),
        ("hidden state", 'monkeypatch.setitem(sys.modules, "torch", None)'),
        ("hidden state", 'monkeypatch.setattr(os, "replace", refuse)'),
        ("operator counts", 'assert after["Shape"] == before["Shape"]'),
        ("operator counts", 'assert counts["jets"] == 3'),
    ],
)
def test_what_is_allowed_is_not(kind: str, code: str) -> None:
    assert not list(KINDS[kind](ast.parse(code)))


def test_helpers_have_names_that_no_script_of_the_examples_has() -> None:
    """One process imports both by their bare names, and the second would get the first."""
    scripts = {path.name for path in FILES[0].parent.parent.joinpath("examples").rglob("*.py")}
    assert scripts
    assert not scripts & {path.name for path in FILES}


def test_only_tests_that_passed_as_a_whole_are_recorded(tmp_path: Path) -> None:
    record = RecordPassed(tmp_path / "passed.txt")
    stages = {
        "good": ("passed", "passed", "passed"),
        "skipped": ("skipped", "", "passed"),
        "skips itself": ("passed", "skipped", "passed"),
        "fails": ("passed", "failed", "passed"),
        "fails afterwards": ("passed", "passed", "failed"),
    }
    for name, outcomes in stages.items():
        for when, outcome in zip(("setup", "call", "teardown"), outcomes, strict=True):
            if outcome:
                record.pytest_runtest_logreport(pytest.TestReport(name, ("", 0, ""), {}, outcome, None, when))  # type: ignore[arg-type]
    record.pytest_sessionfinish()
    assert record.path.read_text(encoding="utf-8") == "good\n"
