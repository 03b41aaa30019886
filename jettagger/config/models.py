"""Models of configuration files: pydantic validation, with file, line and nearest name in each error.

A file is a `FileModel`, with a description for each key. `validated` checks a document against it; the schema for
editors and the tables of keys in the documentation (`jettagger.config.keys`) are generated from the same model.
"""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import core_schema

from jettagger.config.sizes import parse_size
from jettagger.config.yamlfile import Document, kind_of, lines_of
from jettagger.display import Brief, brief
from jettagger.errors import LONGEST_NAME, ConfigError, JettaggerError, hint, nearest, visible

__all__ = [
    "Between",
    "Expected",
    "FileModel",
    "Names",
    "Shorthand",
    "Shown",
    "Size",
    "fields_of",
    "model_at",
    "options_of",
    "problems",
    "rename_keys",
    "schema_of",
    "shown",
    "validated",
    "validated_json",
]

#: maximum number of problems of one file that are listed
MOST_PROBLEMS = 10


class _KeywordSignature:
    """The signature of a model for `help`: keys with their types and defaults, without what validates them."""

    def __get__(self, instance: Any, owner: type[BaseModel]) -> inspect.Signature:
        if instance is not None:
            raise AttributeError("__signature__")
        empty, keyword = inspect.Parameter.empty, inspect.Parameter.KEYWORD_ONLY
        keys = []
        for name, field in owner.model_fields.items():
            default = empty if field.is_required() else _Default(field)
            keys.append(inspect.Parameter(name, keyword, default=default, annotation=_plain_type(field.annotation)))
        return inspect.Signature(sorted(keys, key=lambda key: key.default is not empty), return_annotation=None)


class _Default:
    """The default of a key, in a few words."""

    def __init__(self, field: FieldInfo) -> None:
        self.field = field

    def __repr__(self) -> str:
        return brief(self.field.get_default(call_default_factory=True))


def _plain_type(annotation: Any) -> Any:
    """A type without annotations for its validation."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _plain_type(inner[0])
    if origin is None or origin is Literal:
        return annotation
    plain = tuple(item if item is ... else _plain_type(item) for item in inner)
    if origin in (Union, types.UnionType):
        return Union[plain]  # noqa: UP007 # of types that are known here only
    return origin[plain] if hasattr(origin, "__class_getitem__") else annotation


class FileModel(Brief, BaseModel):
    """A mapping in a file: unknown keys are refused, types are not converted, a key without a value is absent."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @classmethod
    def __pydantic_init_subclass__(cls, **keywords: Any) -> None:
        super().__pydantic_init_subclass__(**keywords)
        cls.__signature__ = _KeywordSignature()  # type: ignore[assignment]

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, content: Any) -> Any:
        if not isinstance(content, Mapping):
            return content
        null = {name for name, field in fields_of(cls).items() if type(None) in get_args(field.annotation)}
        return {key: value for key, value in content.items() if value is not None or key in null}


@dataclass(frozen=True)
class Expected(Brief):
    """The expected value of a key, in words; replaces pydantic's message for a wrong value.

    Parameters
    ----------
    text : str
        Follows "must be".
    words : tuple of str
        The allowed words, the nearest of which are suggested.
    """

    text: str
    words: tuple[str, ...] = ()

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.custom_error_schema(
            handler(source),
            custom_error_type="expected",
            custom_error_message="must be {expected}",
            # older pydantic takes no lists here
            custom_error_context={"expected": self.text, "words": "\n".join(self.words)},
        )


@dataclass(frozen=True)
class Between(Brief):
    """The limits of a number, inclusive.

    Parameters
    ----------
    low, high : float, optional
    """

    low: float | None = None
    high: float | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        limits = {key: value for key, value in (("ge", self.low), ("le", self.high)) if value is not None}
        words = "a whole number" if source is int else "a number"
        if self.low is not None:
            words += f" of at least {self.low:g}" if self.high is None else f" from {self.low:g} to {self.high:g}"
        schema: Any = {**handler(source), **limits}
        return Expected(words).__get_pydantic_core_schema__(source, lambda _: schema)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Shown(Brief):
    """The default of a key as shown in tables, if the value itself is not informative."""

    text: str


@dataclass(frozen=True)
class Shorthand(Brief):
    """Allows a text instead of a mapping with only this key.

    Parameters
    ----------
    key : str
    """

    key: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        def spelt_out(value: Any) -> Any:
            return {self.key: value} if isinstance(value, str) else value

        return core_schema.no_info_before_validator_function(spelt_out, handler(source))

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return {"anyOf": [{"type": "string"}, handler(schema)]}


class _OneOrMore(Brief):
    """Allows a text instead of a list with this entry."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(
            lambda value: [value] if isinstance(value, str) else value, handler(source)
        )

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return {"anyOf": [{"type": "string"}, handler(schema)]}


def _bytes(value: Any) -> Any:
    if not isinstance(value, (str, int)) or isinstance(value, bool):
        raise ValueError(f"expected a positive size like 500MB or 2GiB, got {shown(value)}")
    try:
        return parse_size(str(value))
    except ConfigError as error:
        raise ValueError(str(error)) from error


#: one name or a list of names
Names = Annotated[tuple[str, ...], Field(strict=False), _OneOrMore(), Expected("a list of names")]

#: a size like ``1GB``, in bytes
Size = Annotated[int, BeforeValidator(_bytes, json_schema_input_type=int | str)]
Model = TypeVar("Model", bound=BaseModel)


def validated(model: type[Model], document: Document, version: int | None = None) -> Model:
    """Validate a document.

    Parameters
    ----------
    model : type
        A `FileModel`.
    document : Document
    version : int, optional
        The expected value of the key ``version``; other versions are refused before the rest is checked.

    Returns
    -------
    model

    Raises
    ------
    ConfigError
        Gives file, line, value and expectation, with the nearest valid name; one line per problem.

    Examples
    --------
    >>> from jettagger.config.yamlfile import read_yaml
    >>> class Jets(FileModel):
    ...     count: Annotated[int, Between(1)] = 2
    >>> validated(Jets, read_yaml("count: 1", "example")).count
    1
    >>> validated(Jets, read_yaml("\\ncuont: 1", "example"))
    Traceback (most recent call last):
        ...
    jettagger.errors.ConfigError: example, line 2: unknown key 'cuont' (nearest: count). Allowed: count
    """
    content = document.mapping()
    if version is not None and content.get("version") is not None and content["version"] != version:
        got = shown(content["version"])
        raise ConfigError(f"{document.where('version')}: version {got}, this version of jettagger reads {version}")
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise ConfigError("\n".join(problems(model, error, document))) from None


def validated_json(
    model: type[Model], path: Any, content: Mapping[str, Any], error: type[JettaggerError], what: str
) -> Model:
    """Validate the content of a JSON file.

    Parameters
    ----------
    model : type
    path : pathlib.Path
        The file, which is read again to find the lines of problems.
    content : mapping
        Its content.
    error : type
        Class of the exception.
    what : str
        What the file should be, for the message: "bundle description".

    Returns
    -------
    model

    Raises
    ------
    JettaggerError
        Of the type ``error``, with every problem, its line and the nearest valid name.
    """
    try:
        return model.model_validate(content)
    except ValidationError as problem:
        text = ""
        with suppress(OSError, ValueError):
            text = path.read_text(encoding="utf-8")
        document = Document(content, path.name, lines_of(text))
        listed = "; ".join(problems(model, problem, document, whole_names=True))
        raise error(f"{path} is not a valid {what}: {listed}") from problem


def problems(
    model: type[BaseModel], error: ValidationError, document: Document, *, whole_names: bool = False
) -> list[str]:
    """The problems found by pydantic in a document, in the words of this project.

    Parameters
    ----------
    model : type
        The model of the document.
    error : pydantic.ValidationError
    document : Document
    whole_names : bool
        Whether to give keys with their full path, as ``mass.unit``, and without the name of the file.

    Returns
    -------
    list of str
        Unknown keys first; a key that is missing because it was misspelt is not listed again.
    """
    items: list[Any] = error.errors(include_url=False)
    misspelt = set()
    for item in items:
        if item["type"] == "extra_forbidden":
            *place, key = item["loc"]
            misspelt |= {(*place, name) for name in nearest(str(key), _keys_at(model, place))}
    items = [item for item in items if item["type"] != "missing" or item["loc"] not in misspelt]
    items.sort(key=lambda item: item["type"] != "extra_forbidden")
    listed = list(dict.fromkeys(_problem(model, item, document, whole_names) for item in items))
    more = [f"{document.name}: and {len(listed) - MOST_PROBLEMS} more"] if len(listed) > MOST_PROBLEMS else []
    return listed[:MOST_PROBLEMS] + more


#: types of pydantic's errors -> expectation
_EXPECTED = {
    "string_type": "text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a number",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "greater_than": "above {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "below {lt:g}",
    "less_than_equal": "at most {le:g}",
    "string_pattern_mismatch": "text that matches {pattern}",
    "string_too_long": "text of at most {max_length} characters",
    "expected": "{expected}",
}


def _problem(model: type[BaseModel], item: Mapping[str, Any], document: Document, whole_names: bool) -> str:
    def place(path: tuple[Any, ...]) -> str:
        text = document.where(*path)
        if whole_names:
            text = text.removeprefix(document.name).removeprefix(", ")
        return f"{text}: " if text else ""

    def label(path: tuple[Any, ...]) -> str:
        text = ".".join(map(str, path)) if whole_names else str(path[-1])
        return repr(visible(text, LONGEST_NAME))

    kind, loc, value, context = item["type"], item["loc"], item["input"], item.get("ctx", {})
    path = _path(loc, document.data)
    if kind == "union_tag_invalid":
        path = _path((*path, context["discriminator"].strip("'")), document.data)
        value, context = context["tag"], {"expected": context["expected_tags"]}
    if loc and loc[-1] == "[key]" and kind == "string_type":
        return f"{place(path)}a name must be text, got {shown(value)}"
    if kind == "missing":
        path = (*_path(loc[:-1], document.data), loc[-1])
        state = "has no value" if path in document.lines else "is missing"
        return f"{place(path)}the key {label(path)} {state}"
    if kind == "extra_forbidden":
        allowed = _keys_at(model, loc[:-1])
        near = hint(str(loc[-1]), allowed)
        return f"{place(path)}unknown key {label(path)}{near}. Allowed: {', '.join(allowed)}"
    if not path:
        return f"{place(path)}{context['error'] if kind == 'value_error' else item['msg']}"
    if kind in ("literal_error", "union_tag_invalid"):
        words = re.findall(r"'([^']*)'", context["expected"])
        if words and isinstance(value, str):
            what = "name" if loc[-1] == "[key]" else visible(str(path[-1]), LONGEST_NAME)
            inside = f"{label(path)}: " if whole_names else ""
            return (
                f"{place(path)}{inside}unknown {what} {shown(value)}{hint(value, words)}, expected {', '.join(words)}"
            )
        return f"{place(path)}{label(path)} must be {', '.join(words) or context['expected']}, got {shown(value)}"
    if kind == "too_short" and not context["actual_length"]:
        of = f" for {path[-2]!r}" if len(path) > 2 else ""
        return f"{place(path)}no {path[-1]}{of}"
    if kind == "value_error":
        return f"{place(path)}{label(path)}: {context['error']}"
    if kind in _EXPECTED:
        near = hint(value, context["words"].split("\n")) if isinstance(value, str) and context.get("words") else ""
        got = shown(value) if kind == "expected" or not isinstance(value, (dict, list)) else kind_of(value)
        return f"{place(path)}{label(path)} must be {_EXPECTED[kind].format(**context)}, got {got}{near}"
    return f"{place(path)}{label(path)}: {item['msg']}, got {shown(value)}"


def shown(value: Any) -> str:
    """A value for a message; integers with thousands of digits cannot be written."""
    try:
        return visible(repr(value), LONGEST_NAME)
    except ValueError:
        return "a number of thousands of digits"


def _path(loc: Iterable[Any], content: Any) -> tuple[Any, ...]:
    """The path of an error in the document, without pydantic's tags of unions and keys of shorthands."""
    path = []
    for part in loc:
        if (isinstance(content, Mapping) and part in content) or (
            isinstance(content, (list, tuple)) and isinstance(part, int) and part < len(content)
        ):
            content = content[part]
            path.append(part)
    return tuple(path)


def fields_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The keys of a model.

    Parameters
    ----------
    model : type

    Returns
    -------
    dict of str to pydantic.fields.FieldInfo
        With their names in files.
    """
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _keys_at(model: type[BaseModel], loc: Iterable[Any]) -> list[str]:
    found = model_at(model, loc)
    return [] if found is None else list(fields_of(found))


def model_at(model: type[BaseModel], loc: Iterable[Any]) -> type[BaseModel] | None:
    """The model of a part of a file.

    Parameters
    ----------
    model : type
        Model of the file.
    loc : iterable
        Keys and indices from the top.

    Returns
    -------
    type or None
        None if this is not a mapping with its own keys.
    """
    kind: Any = model
    for part in loc:
        kind = next(_inside(kind, part), None)
    models = [item for item in options_of(kind) if isinstance(item, type) and issubclass(item, BaseModel)]
    return models[0] if models else None


def options_of(kind: Any) -> list[Any]:
    """The alternatives of an annotation, without None.

    Parameters
    ----------
    kind : type or annotation

    Returns
    -------
    list
    """
    if get_origin(kind) is Annotated:
        return options_of(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        return [option for item in get_args(kind) if item is not type(None) for option in options_of(item)]
    return [kind]


def _inside(kind: Any, part: Any) -> Iterator[Any]:
    """The annotation of a part of a value."""
    options = options_of(kind)
    for option in options:
        if isinstance(option, type) and issubclass(option, BaseModel):
            if part in fields_of(option):
                yield fields_of(option)[part].annotation
            elif (extra := get_type_hints(option).get("__pydantic_extra__")) is not None:  # names chosen by the user
                yield get_args(extra)[1]
            elif any(field.default == part for field in option.model_fields.values()):  # the tag of a union
                yield option
        elif get_origin(option) is dict:
            yield get_args(option)[1]
        elif get_origin(option) in (list, tuple):
            yield get_args(option)[0]


def rename_keys(
    document: Document, names: Mapping[tuple[str, ...], str | tuple[str, ...]]
) -> tuple[Document, list[str]]:
    """Replace former names of keys, or former places, by the current ones.

    Parameters
    ----------
    document : Document
    names : mapping
        Path of a key with its former name -> new name in the same mapping, or new path in another one.

    Returns
    -------
    document : Document
    notes : list of str
        One line for each former name, with its place.

    Raises
    ------
    ConfigError
        If a key is present with both names.

    Examples
    --------
    >>> from jettagger.config.yamlfile import read_yaml
    >>> document, notes = rename_keys(read_yaml("jets: {pick: pt}", "example"), {("jets", "pick"): "select_by"})
    >>> document.data, notes
    ({'jets': {'select_by': 'pt'}}, ["example, line 1: 'pick' is now called 'select_by'"])
    """
    notes = []
    for path, new in names.items():
        *front, old = path
        content: Any = document.data
        for part in front:
            content = content.get(part) if isinstance(content, Mapping) else None
        if not isinstance(content, Mapping) or old not in content:
            continue
        place = document.where(*path)
        target = (*front, new) if isinstance(new, str) else new
        text = repr(target[-1] if isinstance(new, str) else ".".join(new))
        if _has_key(document.data, target):
            raise ConfigError(f"{place}: {old!r} is the old name of {text}, which is given as well")
        notes.append(f"{place}: {old!r} is now called {text}")
        lines = {
            (*target, *key[len(path) :]) if key[: len(path)] == path else key: line
            for key, line in document.lines.items()
        }
        for depth in range(1, len(target)):  # mappings that are made for it are where it was
            lines.setdefault(target[:depth], document.lines.get(path, 1))
        if isinstance(new, str):
            data = _with_key(document.data, path, new)
        else:
            data = _with_value(_without_key(document.data, path), target, content[old])
        document = replace(document, data=data, lines=lines)
    return document, notes


def _has_key(content: Any, path: tuple[str, ...]) -> bool:
    """Whether a key exists, or a parent that is not a mapping."""
    for part in path:
        if not isinstance(content, Mapping):
            return content is not None
        if part not in content:
            return False
        content = content[part]
    return True


def _with_key(content: Mapping[str, Any], path: tuple[str, ...], new: str) -> dict[str, Any]:
    first, *rest = path
    if rest:
        return {**content, first: _with_key(content[first], tuple(rest), new)}
    return {new if key == first else key: value for key, value in content.items()}


def _without_key(content: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    first, *rest = path
    if rest:
        return {**content, first: _without_key(content[first], tuple(rest))}
    return {key: value for key, value in content.items() if key != first}


def _with_value(content: Mapping[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    first, *rest = path
    inner = _with_value(content.get(first) or {}, tuple(rest), value) if rest else value
    return {**content, first: inner}


def schema_of(model: type[BaseModel], title: str) -> dict[str, Any]:
    """The JSON schema of a file, for editors.

    Parameters
    ----------
    model : type
    title : str

    Returns
    -------
    dict
        Draft 2020-12.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **model.model_json_schema(mode="validation"),
        "title": title,
    }
