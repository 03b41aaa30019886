"""Models of files: errors with file, line and nearest name; schemas for editors; tables of keys in the documents."""

from __future__ import annotations

import importlib.util
import json
import re
import warnings
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

import pytest
import yaml
from pydantic import BaseModel, Field

from jettagger.cli import main
from jettagger.cli.schema import FILES, model_of
from jettagger.config.keys import key_table, nested_models, version_of
from jettagger.config.models import (
    Between,
    Expected,
    FileModel,
    Names,
    Shorthand,
    Size,
    model_at,
    schema_of,
    validated,
    validated_json,
)
from jettagger.config.renaming import rename_keys
from jettagger.config.yamlfile import read_yaml
from jettagger.errors import BundleError, ConfigError, UnknownName
from jettagger.images.settings import PRESETS
from jettagger.search import read_config
from jettagger.search.schema import RENAMED

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"


class Leaf(FileModel):
    """A part."""

    size: Size = 1_000
    share: Annotated[float, Between(0, 1)] = 0.5
    number: Annotated[int, Between(1)]


class Whole(FileModel):
    """A file."""

    names: Names = ()
    leaf: Leaf | None = None
    leaves: dict[str, Annotated[Leaf, Shorthand("number")]] = Field(default_factory=dict)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nmaes: a", "x.yaml, line 1: unknown key 'nmaes' (nearest: names, leaves). Allowed: names, leaf, leaves"),
        ("\nleaf: {}", "x.yaml, line 2: the key 'number' is missing"),
        ("leaf:\n  number:", "x.yaml, line 2: the key 'number' has no value"),
        ("leaf: 3", "x.yaml, line 1: 'leaf' must be a mapping, got 3"),
        ("leaf: [3]", "x.yaml, line 1: 'leaf' must be a mapping, got a list"),
        ("names: {a: b}", "x.yaml, line 1: 'names' must be a list of names, got {'a': 'b'}"),
        ("names: [a, 1]", "x.yaml, line 1: 'names' must be a list of names, got ['a', 1]"),
        ("leaves:\n  one:\n    number: 1\n    size: big", "x.yaml, line 4: 'size': expected a positive size"),
        (
            "leaves:\n  one:\n    number: true",
            "x.yaml, line 3: 'number' must be a whole number of at least 1, got True",
        ),
        ("leaves:\n  one:\n    number: '1'", "x.yaml, line 3: 'number' must be a whole number of at least 1, got '1'"),
        ("leaves:\n  one: {share: 2, number: 1}", "x.yaml, line 2: 'share' must be a number from 0 to 1, got 2"),
        ("leaves:\n  one: {share: .nan, number: 1}", "'share' must be a number from 0 to 1, got nan"),
        ("leaves:\n  one: many", "x.yaml, line 2: 'one' must be a whole number of at least 1, got 'many'"),
        ("leaves:\n  5: {number: 1}", "x.yaml, line 2: a name must be text, got 5"),
        ("[]", "x.yaml, line 1: the file must be a mapping, got a list"),
        ("", "x.yaml: the file must be a mapping, got nothing"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validated(Whole, read_yaml(text, "x.yaml"))
    assert message in str(caught.value)


class Network(FileModel):
    """A key that is one of several words."""

    activation: Annotated[Literal["relu", "gelu"], Expected("one of relu, gelu", ("relu", "gelu"))]


def test_the_nearest_of_several_words_is_named() -> None:
    with pytest.raises(ConfigError, match=r"'activation' must be one of relu, gelu, got 'rellu' \(nearest: relu"):
        validated(Network, read_yaml("activation: rellu", "x.yaml"))
    with pytest.raises(ConfigError, match=r"'activation' must be one of relu, gelu, got 3\b"):
        validated(Network, read_yaml("activation: 3", "x.yaml"))


def test_a_misspelt_key_is_not_missing_too_and_all_else_is_listed() -> None:
    text = "leaf:\n  share: 3\n  nubmer: 2\nleaves: {a: {}}\n"
    with pytest.raises(ConfigError) as caught:
        validated(Whole, read_yaml(text, "x.yaml"))
    assert str(caught.value).splitlines() == [
        "x.yaml, line 3: unknown key 'nubmer' (nearest: number). Allowed: size, share, number",
        "x.yaml, line 2: 'share' must be a number from 0 to 1, got 3",
        "x.yaml, line 4: the key 'number' is missing",
    ]
    many = read_yaml("leaves:\n" + "".join(f"  a{number}: {{}}\n" for number in range(30)), "x.yaml")
    with pytest.raises(ConfigError, match="and 20 more") as caught:
        validated(Whole, many)
    assert len(str(caught.value).splitlines()) == 11


@pytest.mark.parametrize(
    ("text", "got", "expected", "nearest"),
    [
        ("{nubmer: 1, share: 2}", "'nubmer'", "one of size, share, number", ["number"]),
        ("{number: 1.5}", "1.5", "a whole number of at least 1", []),
        ("{number: 1, share: 2}", "2", "a number from 0 to 1", []),
        ("{number: 1, size: no}", "False", "a positive size like 500MB or 2GiB", []),
        ("{number: 1, size: big}", "'big'", "a positive size like 500MB or 2GiB", []),
        ("{size: 1GB}", "is missing", "the key 'number'", []),
        ("[1]", "a list", "a mapping", []),
    ],
)
def test_an_error_of_a_file_has_the_parts_of_its_first_problem(
    text: str, got: str, expected: str, nearest: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        validated(Whole, read_yaml(f"names: a\nleaf: {text}\nleaves: {{}}", "x.yaml"))
    parts = {"where": "x.yaml, line 2", "got": got, "expected": expected, "nearest": nearest}
    assert caught.value.parts == parts, str(caught.value)


def test_errors_that_get_a_place_keep_their_parts() -> None:
    document = read_yaml("a:\n  b: 1", "x.yaml")
    with pytest.raises(ConfigError) as caught, document.at("a", "b"):
        raise UnknownName("sample", "ttt", ["tt"])
    assert caught.value.parts == {"where": "x.yaml, line 2", "got": "ttt", "expected": "one of tt", "nearest": ["tt"]}


def test_files_of_another_version_are_refused_before_their_keys() -> None:
    with pytest.raises(ConfigError, match=r"^x, line 2: version 7, this version of jettagger reads 1$"):
        validated(Whole, read_yaml("new: 1\nversion: 7", "x"), 1)


def test_json_has_lines_and_whole_names(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    content = {"leaf": {"nubmer": 1, "share": 2}}
    for text, place in ((json.dumps(content, indent=1), "line 3: "), ("{no json\t", "")):
        path.write_text(text)
        with pytest.raises(BundleError) as caught:
            validated_json(Whole, path, content, BundleError, "example")
        message = str(caught.value)
        assert message.startswith(f"{path} is not a valid example: {place}unknown key 'leaf.nubmer' (nearest: number)")
        assert "'leaf.share' must be a number from 0 to 1, got 2" in message
        where = f"{path}, {place}".removesuffix(": ").removesuffix(", ")
        expected = {"got": "'leaf.nubmer'", "expected": "one of size, share, number", "nearest": ["number"]}
        assert caught.value.parts == {"where": where, **expected}


def test_values_of_files_are_frozen_and_not_converted() -> None:
    made = validated(Whole, read_yaml("{names: a, leaf: {number: 2, size: 2GB}, leaves: {}}", "x"))
    assert made.names == ("a",)
    assert made.leaf is not None
    assert (made.leaf.size, made.leaf.share, made.leaf.number) == (2_000_000_000, 0.5, 2)
    with pytest.raises(ValueError, match="frozen"):
        made.names = ()  # type: ignore[misc]


# ------------------------------------------------------------------------------------------------ renamed keys


def test_old_names_are_read_and_said_with_their_line() -> None:
    document = read_yaml("a:\n  old: {x: 1}\n  b: 2", "x.yaml")
    made, notes = rename_keys(document, {("a", "old"): "new"})
    assert made.data == {"a": {"new": {"x": 1}, "b": 2}}
    assert list(made.data["a"]) == ["new", "b"]
    assert made.where("a", "new", "x") == "x.yaml, line 2"
    assert notes == ["x.yaml, line 2: 'old' is now called 'new'"]
    assert document.data["a"]["old"] == {"x": 1}
    with pytest.raises(ConfigError, match="line 1: 'old' is the old name of 'new', which is given as well"):
        rename_keys(read_yaml("a: {old: 1, new: 2}", "x.yaml"), {("a", "old"): "new"})


SEARCH = """\
version: 1
luminosity: 138
samples: {tt: {files: tt.root, cross_section: 830}}
event_selection: "MET.pt > 100"
jets: {select_by: mass, sort_by: msoftdrop}
cuts: {near: "abs(deta) < 2"}
regions: {SR: {kind: signal, pass: [near]}}
histograms: {mjj: {bins: [10, 500, 3000]}}
templates:
  histogram: mjj
  processes: {tt: [tt]}
  signals: {X: {datasets: tt, mass: 1000}}
  normalisation_uncertainties: {lumi: {tt: 0.02}}
  free_normalisations: [tt]
  empty_bin_yield: 0.1
"""


def test_searches_with_old_names_are_the_same_searches() -> None:
    new = read_config(SEARCH, name="new.yaml")
    old = SEARCH
    renamed = {path: name for path, name in RENAMED.items() if isinstance(name, str)}  # others moved
    for path, name in renamed.items():
        assert f"{name}:" in old
        old = old.replace(f"{name}:", f"{path[-1]}:")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = read_config(old, name="old.yaml")
    said = sorted(str(item.message) for item in caught)
    assert said == sorted(
        f"old.yaml, line {line}: {path[-1]!r} is now called {renamed[path]!r}"
        for path, line in zip(renamed, (4, 5, 5, 14, 15, 13), strict=True)
    )
    assert all(item.category is FutureWarning for item in caught)
    assert found.templates == new.templates
    assert new.templates is not None
    assert new.templates.empty_bin_yield == 0.1
    one, other = found.make_processor(), new.make_processor()
    for key in ("event_cut", "pick", "order", "cuts", "preselection"):
        assert getattr(one, key) == getattr(other, key)
    assert (other.pick, other.order, str(other.event_cut)) == ("mass", "msoftdrop", "MET.pt > 100")


# ------------------------------------------------------------------------------------------------ schemas


def models_in(kind: Any) -> set[type[BaseModel]]:
    """A model and all models in it."""
    found, waiting = set(), [kind]
    while waiting:
        item = waiting.pop()
        if isinstance(item, type) and issubclass(item, BaseModel):
            if item not in found:
                found.add(item)
                waiting += [field.annotation for field in item.model_fields.values()]
        else:
            waiting += [arg for arg in getattr(item, "__args__", ()) if arg is not item]
    return found


@pytest.mark.parametrize("kind", FILES)
def test_every_key_of_every_file_has_a_description(kind: str) -> None:
    for model in models_in(model_of(kind)):
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"


@pytest.mark.parametrize("kind", FILES)
def test_the_command_prints_schemas(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", kind]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["$schema"].endswith("2020-12/schema")
    assert schema["additionalProperties"] is False
    assert all("description" in item for item in schema["properties"].values())


def test_an_unknown_kind_is_named_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "serch"]) == 2
    assert "unknown value of KIND in jettagger schema: 'serch' (nearest: search" in capsys.readouterr().err


def documents() -> list[tuple[str, Path]]:
    """Files in the project that a schema must accept."""
    found = [("search", ROOT / "examples" / "demo.yaml")]
    found += [("finetune", path) for path in sorted((ROOT / "examples" / "finetune").glob("*.yaml"))]
    found += [("detector", path) for path in sorted((ROOT / "jettagger" / "simulation" / "cards").glob("*.yaml"))]
    found += [("card", path) for path in sorted((ROOT / "jettagger" / "known").glob("*.json"))]
    return found


@pytest.mark.parametrize(("kind", "path"), documents(), ids=lambda item: getattr(item, "name", item))
def test_schemas_accept_what_is_read_and_refuse_what_is_misspelt(kind: str, path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    validator = jsonschema.Draft202012Validator(schema_of(model_of(kind), kind))
    content = read_yaml(path).data if path.suffix == ".yaml" else json.loads(path.read_text())
    assert list(validator.iter_errors(content)) == []
    key = next(iter(content))
    assert list(validator.iter_errors({f"{key}x": content[key], **content})) != []


def test_schemas_know_shorthands() -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    validator = jsonschema.Draft202012Validator(schema_of(model_of("search"), "search"))
    content = yaml.safe_load(SEARCH) | {"weights": {"pileup": "puWeight"}, "discriminants": {"mine": "probHbb"}}
    assert list(validator.iter_errors(content)) == []
    assert list(validator.iter_errors(content | {"weights": {"pileup": 3}})) != []
    validator = jsonschema.Draft202012Validator(schema_of(model_of("image"), "image"))
    channels = [*PRESETS, {"name": "displaced", "quantity": "mean of abs(d0val)"}]
    assert list(validator.iter_errors({"version": 1, "image": {"channels": channels}})) == []
    assert list(validator.iter_errors({"version": 1, "image": {"channels": ["neutrals"]}})) != []


# ------------------------------------------------------------------------------------------------ documents


def tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("key_tables", DOCS / "key_tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tables_of_keys_in_the_documents_are_those_of_the_models() -> None:
    filled = tables().filled
    for page in DOCS.glob("*.md"):
        text = page.read_text(encoding="utf-8")
        assert text == filled(text), f"{page.name}: run python docs/key_tables.py"
    assert filled("<!-- keys: search jets -->\nold\n<!-- end of keys -->").count("\n") == 9
    with pytest.raises(ValueError, match="no keys at 'search plots one'"):
        filled("<!-- keys: search plots one -->\n<!-- end of keys -->")


def test_tables_have_values_as_files_do() -> None:
    """No object of Python is a default."""
    defaults = [
        row.rpartition(" | ")[2].removesuffix(" |")
        for page in DOCS.glob("*.md")
        for table in re.findall(r"<!-- keys: .*?<!-- end of keys -->", page.read_text(encoding="utf-8"), re.DOTALL)
        for row in table.splitlines()
        if row.startswith("| `")
    ]
    assert len(defaults) > 300
    assert [text for text in defaults if re.search(r"\w\(|\bNone\b|\bTrue\b|\bFalse\b|<", text)] == []


def test_every_model_of_a_file_has_its_table() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in DOCS.glob("*.md"))
    spread = {"DiscriminantKeys", "Parent", "Input"}  # in discriminants.md, and written by jettagger alone
    for kind in FILES:
        for model in models_in(model_of(kind)):
            if model.__name__ not in spread and model.__name__ != "AxisKeys":
                assert key_table(model) in text, f"{model.__name__} of {kind}"


def test_places_in_models() -> None:
    search = model_of("search")
    assert model_at(search, ()) is search
    assert model_at(search, ("templates", "signals", "X", "datasets")) is None
    axis = model_at(search, ("histograms", "mjj", "axes", "x"))
    assert axis is not None
    assert axis.__name__ == "AxisKeys"
    trees = model_at(model_of("finetune"), ("model", "bdt"))
    assert trees is not None
    assert "trees" in trees.model_fields


class Nesting(FileModel):
    leaf: Leaf | None = None


class NestingFile(FileModel):
    version: Literal[3]
    one: Leaf
    several: dict[str, Nesting]
    listed: tuple[Nesting, ...] = ()


def test_all_mappings_of_a_file_are_found_once_with_their_places() -> None:
    assert nested_models(NestingFile)[:2] == [
        (["one", "several.NAME.leaf"], Leaf),
        (["several.NAME", "listed[]"], Nesting),
    ]
    assert version_of(NestingFile) == ("version", "3")
    assert version_of(Nesting) is None


@pytest.mark.parametrize("kind", FILES)
def test_the_places_of_mappings_are_those_that_a_file_has(kind: str) -> None:
    model = model_of(kind)
    for places, part in nested_models(model):
        for place in places:
            found = model_at(model, re.findall(r"\w+|\[", place))
            assert found is not None, (kind, place)
            assert any(place in other for other, same in nested_models(model) if same is part)
