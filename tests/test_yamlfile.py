"""YAML: what is written is read back unchanged, numbers are numbers, errors name the file and the line."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jettagger.config.yamlfile import check_keys, composed, kind_of, lines_of, read_yaml, yaml_text
from jettagger.errors import ConfigError

#: what looks like something else: numbers, booleans, nothing, dates, marks of YAML
LOOKALIKES = [
    "1e-3",
    "1E5",
    "0x10",
    "1_0",
    "1:30",
    ".5",
    "-.inf",
    "yes",
    "Off",
    "null",
    "~",
    "2024-01-01",
    "- a",
    "a: b",
]
texts = st.text(max_size=20) | st.sampled_from(
    [*LOOKALIKES, "", " ", "#", "&a", "*a", "%", "@", "'", '"', "H → bb̄", "\x85", "a\u2028b", "\ufeff", "\t"]
)
scalars = texts | st.integers() | st.floats(allow_nan=False) | st.booleans() | st.none()
contents = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=8
)


@given(contents)
@example(["\x85", "a\u2028 b\u2029", "\ufeff", "\r\n", "\x1b[2J"])  # line breaks of Unicode, which YAML would fold
@settings(max_examples=50, deadline=None)
def test_what_is_written_is_read_back(content: Any) -> None:
    text = yaml_text(content)
    assert repr(read_yaml(text, name="x").data) == repr(content)  # also the types, and the order of keys
    if not any(mark in text for mark in "eE"):  # other readers of YAML 1.1 may take 1e3 for text
        assert yaml.safe_load(text) == content


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-3", 1e-3),
        ("1E5", 1e5),
        ("-2.5e+6", -2.5e6),
        (".5", 0.5),
        ("-.25", -0.25),
        ("5.", 5.0),
        ("1_000.5", 1000.5),
        ("1_000", 1000),
        ("0x10", 16),
        ("-.inf", -math.inf),
        ("1e", "1e"),
        ("e3", "e3"),
        ("1.2.3", "1.2.3"),
        (".", "."),
        ("1e3x", "1e3x"),
        ("'1e3'", "1e3"),
    ],
)
def test_numbers_and_what_only_looks_like_one(text: str, expected: Any) -> None:
    value = read_yaml(text, name="x").data
    assert (value, type(value)) == (expected, type(expected))
    assert math.isnan(read_yaml(".nan", name="x").data)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=8))
@settings(max_examples=25)
def test_each_part_knows_its_line(blanks: list[int]) -> None:
    text, lines = "", []
    for number, empty in enumerate(blanks):
        text += "\n" * empty + f"key{number}:\n  - first\n  - inner: {number}\n"
        lines.append(text.count("\n") - 2)
    document = read_yaml(text, name="search.yaml")
    for number, line in enumerate(lines):
        key = f"key{number}"
        assert document.where(key) == f"search.yaml, line {line}"
        assert document.where(key, 0) == f"search.yaml, line {line + 1}"
        assert document.where(key, 1, "inner") == f"search.yaml, line {line + 2}"
        assert document.where(key, 1, "absent", 5) == f"search.yaml, line {line + 2}"  # that of its parent
    assert document.where("absent") == f"search.yaml, line {1 + blanks[0]}"
    assert read_yaml("", name="search.yaml").where("absent") == "search.yaml"


def test_the_digest_is_that_of_the_content() -> None:
    one = read_yaml("a: 1\nb: [x, 'y']", name="one.yaml")
    other = read_yaml("# a comment\n\na:   1\nb:\n- x\n- y\n", name="other.yaml")
    assert one.digest == other.digest
    for changed in ("a: 2\nb: [x, y]", "a: 1\nb: [y, x]", "a: 1.0\nb: [x, y]", "a: '1'\nb: [x, y]"):
        assert read_yaml(changed, name="one.yaml").digest != one.digest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2", r"x, line 4: the key 'c' appears twice, first on line 3"),
        ("a: 1\n[1, 2]: 3", r"x, line 2: a key must be text, got a list$"),
        ("a: 1\n? {b: 1}\n: 3", r"x, line 2: a key must be text, got a mapping$"),
        ("a: 1\n~: 3", r"x, line 2: a key must be text, got nothing"),
        ("a:\n  [1", r"x, line 3: not valid YAML: .*',' or .* \(column 1\)$"),
        ("a: 1\nb: !!python/object:os.system {}", r"x, line 2: not valid YAML: could not determine a constructor"),
        ("a: 2024-13-45", r"x: not valid YAML: month must be in 1\.\.12"),
        ("a: " + "9" * 2000, r"x, line 1: not valid YAML: a number of 2000 digits"),
        ("a: *nothing", r"x, line 1: not valid YAML: .*undefined alias"),
        ("a: 1\n---\nb: 2", r"x, line 2: not valid YAML: .*document"),
    ],
)
def test_what_is_refused_is_named_with_its_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match="^" + message):
        read_yaml(text, name="x")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^cannot read .*absent\.yaml: No such file"):
        read_yaml(tmp_path / "absent.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"a: \xff\xfe")
    with pytest.raises(ConfigError, match=r"^cannot read .*bytes\.yaml: .*utf-8"):
        read_yaml(tmp_path / "bytes.yaml")
    (tmp_path / "süche.yaml").write_text("a: ü", encoding="utf-8")
    document = read_yaml(tmp_path / "süche.yaml")
    assert (document.data, document.where("a")) == ({"a": "ü"}, f"{tmp_path / 'süche.yaml'}, line 1")


def test_parts_that_must_be_mappings() -> None:
    document = read_yaml("a: {b: 1}\nc: [1]\nd: text\ne:\nf: 3", name="x")
    assert document.mapping("a") == {"b": 1}
    assert list(document.mapping()) == ["a", "c", "d", "e", "f"]
    for number, (key, kind) in enumerate({"c": "a list", "d": "text", "e": "nothing", "f": "3"}.items(), 2):
        with pytest.raises(ConfigError, match=rf"^x, line {number}: '{key}' must be a mapping, got {kind}$"):
            document.mapping(key)
    with pytest.raises(ConfigError, match=r"^x, line 1: the file must be a mapping, got a list$"):
        read_yaml("- a", name="x").mapping()
    assert kind_of({}) == "a mapping"


def test_keys_that_are_unknown_or_missing() -> None:
    document = read_yaml("top: 1\npart:\n  colour: 1", name="x")
    document.check_keys(["colour", "size"], "part", required=["colour"])
    with pytest.raises(
        ConfigError, match=r"^x, line 3: unknown option 'colour' \(nearest: color\)\. Allowed: color, size$"
    ):
        document.check_keys(["color", "size"], "part", what="option")
    with pytest.raises(ConfigError, match=r"^x, line 2: the key 'size' is missing$"):
        document.check_keys(["colour", "size"], "part", required=["size"])
    with pytest.raises(ConfigError, match=r"^the key 'a' is missing$"):
        check_keys({}, ["a"], ["a"])
    with pytest.raises(ConfigError, match=r"^here: unknown key 3\. Allowed: a$"):
        check_keys({3: 1}, ["a"], where="here")


def test_limits_of_a_document() -> None:
    with composed("a: [1, 2]", "x", characters=9, entries=5) as (loader, node):
        assert loader.construct_document(node) == {"a": [1, 2]}
    with (
        pytest.raises(ConfigError, match=r"^x: 9 characters, expected at most 8$"),
        composed("a: [1, 2]", "x", characters=8),
    ):
        pass
    with pytest.raises(ConfigError, match=r"^x: more than 3 entries"), composed("[1, 2, 3, 4, 5]", "x", entries=3):
        pass
    with composed("", "x") as (_, node):
        assert node is None


@given(contents)
@settings(max_examples=25, deadline=None)
def test_lines_of_json_are_those_of_its_keys(content: Any) -> None:
    import json

    text = json.dumps({"first": content, "last": 1}, indent=1)
    lines = lines_of(text)
    if lines:  # not all of JSON is YAML
        assert lines["first",] == 2
        assert lines["last",] == text.count("\n")
    assert lines_of("{" + text) == {}
