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
        nodes = list(ast.walk(scope))
        names = {
            target.id
            for node in nodes
            if isinstance(node, ast.Assign) and reads_a_clock(node.value)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in nodes:
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


def clusters_on_the_default_port(tree: ast.AST) -> Iterator[int]:
    """Dask clusters whose scheduler asks for port 8787, which a cluster of another process may have."""
    for call in calls(tree, "LocalCluster"):
        addresses = [ast.unparse(keyword.value) for keyword in call.keywords if keyword.arg == "dashboard_address"]
        if addresses != ["':0'"]:
            yield call.lineno
    yield from (call.lineno for call in calls(tree, "Client") if not call.args)


KINDS = {
    "wall clock": clocks_in_assertions,
    "hidden state": hidden_state,
    "operator counts": operator_counts,
    "default port": clusters_on_the_default_port,
}

#: words without which a file cannot do it, as reading all of the trees takes seconds
WORDS = {
    "wall clock": CLOCKS - {"time"} | {"time.time"},
    "hidden state": HIDDEN | {"setattr", "delattr", "setitem", "delitem"},
    "operator counts": OPERATORS | {"operators"},
    "default port": {"LocalCluster", "Client"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_no_test_does_it(kind: str) -> None:
    assert len(FILES) > 50
    places = []
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        if any(word in text for word in WORDS[kind]):
            places += [f"{path.name}:{line}" for line in KINDS[kind](ast.parse(text))]
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
        ("default port", "LocalCluster(n_workers=2)"),
        ("default port", "distributed.LocalCluster(dashboard_address=None)"),
        ("default port", "distributed.Client(processes=False)"),
    ],
)
def test_each_kind_would_be_noticed(kind: str, code: str) -> None:
    assert list(KINDS[kind](ast.parse(code)))
    assert any(word in code for word in WORDS[kind])


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("wall clock", "def f():\n    end = time.monotonic() + 5\n    while time.monotonic() < end:\n        wait()"),
        ("wall clock", "def f():\n    assert seconds(new) < seconds(old)"),
        ("hidden state", 'monkeypatch.setitem(sys.modules, "torch", None)'),
        ("hidden state", 'monkeypatch.setattr(os, "replace", refuse)'),
        ("operator counts", 'assert after["Shape"] == before["Shape"]'),
        ("operator counts", 'assert counts["jets"] == 3'),
        ("default port", 'LocalCluster(n_workers=2, dashboard_address=":0")'),
        ("default port", "distributed.Client(cluster)"),
    ],
)
def test_what_is_allowed_is_not(kind: str, code: str) -> None:
    assert not list(KINDS[kind](ast.parse(code)))


def test_no_cluster_of_the_project_takes_the_default_port() -> None:
    project = FILES[0].parent.parent
    paths = [
        path
        for folder in ("jettagger", "processors", "examples", "benchmarks")
        for path in project.joinpath(folder).rglob("*.py")
    ]
    texts = {path: path.read_text(encoding="utf-8") for path in paths}
    users = {path: text for path, text in texts.items() if "LocalCluster" in text}
    assert len(users) >= 3
    assert not [path for path, text in users.items() if list(clusters_on_the_default_port(ast.parse(text)))]


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
