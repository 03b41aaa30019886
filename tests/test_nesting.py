"""Text of users that is long or nested: it is read, or it is one error; no reader ends in a RecursionError."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from jettagger.config.yamlfile import read_yaml
from jettagger.discriminants import Discriminant, discriminant, load
from jettagger.errors import ConfigError, JettaggerError
from jettagger.expressions import parse
from jettagger.expressions.cutlogic import always, never
from jettagger.expressions.text import MAX_DEPTH
from jettagger.files.jsonfile import parse_json
from jettagger.weaver.expressions import parse_formula

#: terms of a sum; Python's own grammar ends at 2000 to 3000, by its version
MANY = 1000

X = np.array([0.1, 0.7, 0.2])
COLUMNS = {"x": ak.Array([[0.1, 0.7], [0.2]])}


def cut(text: str) -> Any:
    made = pickle.loads(pickle.dumps(parse(text)))
    never(made), always(made)
    return made.evaluate({"x": X})


def formula(text: str) -> Any:
    return parse_formula(text).evaluate({"x": X}.__getitem__)


def scores(text: str) -> Any:
    made = pickle.loads(pickle.dumps(discriminant(text)))
    assert discriminant(str(made)) == made
    assert Discriminant.from_yaml(made.to_yaml()) == made
    assert isinstance(hash(made), int)
    return made({"x": X})


READERS = [cut, formula, scores]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("symbol", ["+", "-", "*"])
def test_long_sums_and_products_are_read(read: Callable[[str], Any], symbol: str) -> None:
    """Against the same operations one by one."""
    expected = X
    for _ in range(MANY - 1):
        expected = {"+": expected + X, "-": expected - X, "*": expected * X}[symbol]
    np.testing.assert_array_equal(read(f" {symbol} ".join(["x"] * MANY)), expected)


@pytest.mark.parametrize("read", [cut, formula])
@pytest.mark.parametrize(("symbol", "expected"), [("&", [False, True, False]), ("|", [False, True, False])])
def test_long_lists_of_conditions_are_read(read: Callable[[str], Any], symbol: str, expected: list[bool]) -> None:
    assert read(symbol.join(["(x>.5)"] * MANY)).tolist() == expected


def test_long_lists_of_words_are_read() -> None:
    assert cut(" and ".join(["x>.5"] * 1000)).tolist() == [False, True, False]
    assert never(parse("&".join(["(x>.5)"] * 1000 + ["(x<.5)"])))
    assert always(parse("|".join(["(x>.5)"] * 1000 + ["(x<.6)"])))
    assert not never(parse("+".join(["x"] * 1500) + " > 3"))  # not taken apart


def test_what_the_grammar_of_python_refuses_is_one_error() -> None:
    """How much it takes depends on the version of Python."""
    with pytest.raises(ConfigError, match="too long or nested too deeply for Python's grammar"):
        parse("-" * 9999 + "x")


NESTED = {
    "signs": lambda n: "-" * n + "x",
    "calls": lambda n: "abs(" * n + "x" + ")" * n,
    "to the right": lambda n: "x-(" * n + "x" + ")" * n,
    "powers": lambda n: "**".join(["x"] * n),
    "negations": lambda n: "~" * n + "(x > 1)",
    "words": lambda n: "not " * n + "x > 1",
    "attributes": lambda n: ".x" * n,
    "lists": lambda n: "[" * n + "x" + "]" * n,
    "indices": lambda n: "x" + "[0]" * n,
    "lambda": lambda n: "lambda:" * n + "x",
    "conditions": lambda n: "x if x else " * n + "x",
    "comparisons": lambda n: "<".join(["x"] * n),
    "parentheses": lambda n: "(" * n + "x" + ")" * n,
    "methods": lambda n: "x" + ".abs()" * n,
}


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("kind", NESTED)
@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 300, 1600, 2400])
def test_deep_nesting_is_one_error_or_works(read: Callable[[str], Any], kind: str, depth: int) -> None:
    with suppress(JettaggerError):
        read(NESTED[kind](depth))


@pytest.mark.parametrize("read", READERS)
def test_the_error_says_the_limit_and_the_place(read: Callable[[str], Any]) -> None:
    read("-" * (MAX_DEPTH - 1) + "x")
    with pytest.raises(
        ConfigError, match=f"position {MAX_DEPTH + 1}: the expression is nested more than {MAX_DEPTH} deep"
    ):
        read("-" * MAX_DEPTH + "x")


def test_files_that_are_nested_are_one_error(tmp_path: Path) -> None:
    path = tmp_path / "deep.yaml"
    path.write_text("version: 1\na: " + "[" * 5000 + "]" * 5000)
    with pytest.raises(ConfigError, match="nested"):
        read_yaml(path)
    with pytest.raises(JettaggerError, match="nested"):
        parse_json("[" * 5000 + "]" * 5000, "deep")
    own = {"version": 1, "discriminants": {"D": {"expression": "-" * 800 + "x"}}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(own))
    with pytest.raises(ConfigError, match=r"own\.yaml.*nested more than"):
        load(tmp_path / "own.yaml")


@given(
    st.lists(
        st.tuples(st.sampled_from("+-*/"), st.sampled_from(["x", "2", "(x - 1)", "-x", "(3 / x)"])),
        min_size=1,
        max_size=30,
    )
)
def test_chains_are_worked_out_as_by_python(rest: list[tuple[str, str]]) -> None:
    text = "x" + "".join(f" {symbol} {operand}" for symbol, operand in rest)
    with np.errstate(all="ignore"):
        expected = eval(text, {"x": X})  # noqa: S307
    for read in (cut, formula):
        np.testing.assert_array_equal(read(text), expected)
    found = scores(text)
    finite = np.isfinite(expected)  # zero in a denominator has a value of its own
    np.testing.assert_array_equal(found[finite], expected[finite])
