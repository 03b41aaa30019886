"""Arguments of a wrong type: one error of ours from every public name, found by walking the names."""

from __future__ import annotations

import ast
import importlib
import inspect
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import awkward as ak
import numpy as np
import pytest

import jettagger as jt
from jettagger.arguments import Numbers, Records, fits, guard, in_words
from jettagger.errors import JettaggerError, WrongType
from jettagger.testing import make_events

#: where users find public names
MODULES = [
    "",
    "inference.checking",
    "skims.convert",
    "dask",
    "files.delphes",
    "discriminants",
    "expressions",
    "finetuning",
    "files.tables",
    "heads",
    "jec",
    "histograms",
    "jetclass2",
    "plots.jets",
    "statistics.fits",
    "statistics.limits",
    "inputs.pfnano_tables",
    "plots",
    "processors",
    "bundles.registry",
    "calibration",
    "files.root",
    "search",
    "simulation",
    "statistics.building",
    "statistics.specification",
    "statistics.templates",
    "testing",
    "weaver",
    "skims.writers",
]

BAD = {
    "None": None,
    "number": 3,
    "text": "text",
    "array": np.arange(3.0),
    "list": [1, 2],
    "mapping": {"a": 1},
    "path": Path("/nowhere/x.root"),
    "object": object(),
}

#: extras that modules need when they are imported
EXTRAS = {"dask": "distributed"}


def public() -> Iterator[Any]:
    seen = set()
    for name in MODULES:
        if name in EXTRAS:
            try:
                importlib.import_module(EXTRAS[name])
            except ImportError:
                continue
        module = importlib.import_module(f"jettagger.{name}".rstrip("."))
        for item in module.__all__:
            value = getattr(module, item)
            is_error = inspect.isclass(value) and issubclass(value, BaseException)
            # pydantic's models are made from files, and refuse in pydantic's words
            if callable(value) and not is_error and not hasattr(value, "model_fields") and id(value) not in seen:
                seen.add(id(value))
                yield pytest.param(value, id=f"{name}.{item}".lstrip("."))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("function", list(public()))
def test_a_wrong_type_is_an_error_of_ours(
    function: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each argument in turn, beside others that are as wrong: it works, or it is refused in our words."""
    monkeypatch.chdir(tmp_path)
    parameters = [
        parameter
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    required = [parameter.name for parameter in parameters if parameter.default is parameter.empty]
    for value in BAD.values():
        for more in [None, *(parameter.name for parameter in parameters if parameter.name not in required)]:
            arguments = dict.fromkeys(required if more is None else [*required, more], value)
            with suppress(JettaggerError):
                result = function(**arguments)
                if inspect.isgenerator(result):
                    next(result, None)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: jt.load_tagger(3),
            "load_tagger(), argument name_or_folder: got int 3, expected text, a path, a Tagger or None",
        ),
        (
            lambda: jt.load_taggers([1]),
            "load_taggers(), argument names_or_folders: got list [1], expected a list of text",
        ),
        (lambda: jt.tag_files(["a.root"], "tinyParT", 7), "tag_files(), argument output: got int 7, expected text"),
        (lambda: jt.discriminant(None), "discriminant(), argument name: got None, expected text"),
        (lambda: jt.Tagger("tinyParT"), "Tagger(), argument bundle: got str 'tinyParT', expected a Bundle"),
        (
            lambda: jt.load_tagger("tinyParT").attach(make_events(1), columns=3),
            "Tagger.attach(), argument columns: got int 3, expected a list of text",
        ),
    ],
)
def test_the_message_names_function_argument_value_and_what_is_expected(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(WrongType) as caught:
        call()
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("annotation", "good", "bad"),
    [
        (int, [1, np.int64(2)], [1.5, "1", None]),
        (float | None, [1, 2.5, np.float32(1), None], ["1", [1.0]]),
        (bool, [True, np.bool_(False)], [1, None]),
        (Literal["a", "b"], ["a", "c"], [1]),  # which words there are, the function says
        (Sequence[str], [["a"], ("a",), [], "a"], [[1], 3, {"a": 1}, np.arange(2)]),
        (Iterable[float], [[1.0], np.arange(2), iter([1])], [["a"], np.array(1), "1"]),
        (tuple[float, float], [(1, 2), [1.0, 2]], [("a", "b"), 1]),
        (Mapping[str, Sequence[int]], [{}, {"a": [1]}], [{"a": 1}, {1: [1]}, [("a", [1])]]),
        (Callable[[int], int], [len], [3, "len"]),
        (type[int], [int], [3]),
        (Numbers, [np.arange(2), [1, 2.5], ak.Array([1.0])], [None, 1, "1", ["a"], np.array("a"), {"a": 1}]),
        (Records, [ak.Array({"a": [1]})], [np.arange(2), None]),
        (Any, [None, 1], []),
    ],
)
def test_annotations_are_taken_at_their_word(annotation: Any, good: list[Any], bad: list[Any]) -> None:
    assert [fits(value, annotation) for value in good] == [True] * len(good)
    assert [fits(value, annotation) for value in bad] == [False] * len(bad)
    assert in_words(annotation)


def test_what_is_guarded_stays_what_it_was() -> None:
    assert inspect.signature(jt.tag_files).parameters["workers"].default == 1
    assert (jt.load_tagger.__doc__ or "").startswith("Load a tagger by the name")
    assert pickle.loads(pickle.dumps(jt.load_tagger)) is jt.load_tagger
    with pytest.raises(TypeError, match="unexpected keyword argument 'name'"):
        jt.load_bundle(name="tinyParT")  # type: ignore[call-arg]

    class Box:
        def __init__(self, size: int) -> None:
            self.size = size

        @classmethod
        def of(cls, size: int) -> Box:
            return cls(size)

        def grown(self, *by: int, **more: int) -> int:
            return self.size + sum(by) + sum(more.values())

    Box.__module__ = __name__
    guard({"__all__": ["Box"], "__name__": __name__, "Box": Box})
    assert Box.of(2).grown(1, 2, x=3) == 8
    for call in (lambda: Box("2"), lambda: Box.of("2"), lambda: Box(1).grown("2"), lambda: Box(1).grown(x="2")):  # type: ignore[arg-type]
        with pytest.raises(WrongType, match=r"^Box.*expected a whole number"):
            call()


def test_nothing_is_replaced_unless_asked() -> None:
    """The parameters ``force`` of functions that users call are off by default."""
    found = {}
    for path in sorted(Path(jt.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                named, given = [*node.args.posonlyargs, *node.args.args], node.args.defaults
                pairs = [*zip(named[len(named) - len(given) :], given, strict=True)]
                pairs += zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
                found |= {
                    f"{path.name}:{node.name}": ast.unparse(default)
                    for argument, default in pairs
                    if argument.arg == "force" and default is not None
                }
    assert len(found) > 10
    # what writes below them all, and toy events for tests
    others = {"atomic.py:complete_or_absent", "testing.py:write_pfnano"}
    assert {name for name, default in found.items() if default != "False"} <= others
