"""Models of configuration files: pydantic validation, with file, line and nearest name in each error.

A file is a `FileModel`, with a description for each key. `validated` checks a document against it; the schema for
editors and the tables of keys in the documentation (`jettagger.config.keys`) are generated from the same model.
"""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

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
from jettagger.errors import LONGEST_NAME, ConfigError, JettaggerError, hint, nearest, parts_of, visible

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
        raise ConfigError(
            f"{document.where('version')}: version {got}, this version of jettagger reads {version}",
            where=document.where("version"),
            got=f"version {got}",
            expected=f"version {version}",
        )
    try:
        return model.model_validate(content)
    except ValidationError as error:
        found = _problems(model, error, document)
        raise ConfigError("\n".join(_listed(found, document)), **found[0].parts) from None


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
        found = _problems(model, problem, document, whole_names=True)
        parts = {**found[0].parts, "where": f"{path}{found[0].where.removeprefix(path.name)}"}
        raise error(f"{path} is not a valid {what}: {'; '.join(_listed(found, document))}", **parts) from problem


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
    return _listed(_problems(model, error, document, whole_names=whole_names), document)


class _Problem(NamedTuple):
    """A problem in words, with the parts of an error."""

    text: str
    where: str
    got: str | None = None
    expected: str | None = None
    nearest: tuple[str, ...] = ()

    @property
    def parts(self) -> dict[str, Any]:
        return {"where": self.where, "got": self.got, "expected": self.expected, "nearest": self.nearest}


def _problems(
    model: type[BaseModel], error: ValidationError, document: Document, *, whole_names: bool = False
) -> list[_Problem]:
    items: list[Any] = error.errors(include_url=False)
    misspelt = set()
    for item in items:
        if item["type"] == "extra_forbidden":
            *place, key = item["loc"]
            misspelt |= {(*place, name) for name in nearest(str(key), _keys_at(model, place))}
    items = [item for item in items if item["type"] != "missing" or item["loc"] not in misspelt]
    items.sort(key=lambda item: item["type"] != "extra_forbidden")
    return list({made.text: made for made in (_problem(model, item, document, whole_names) for item in items)}.values())


def _listed(found: Sequence[_Problem], document: Document) -> list[str]:
    more = [f"{document.name}: and {len(found) - MOST_PROBLEMS} more"] if len(found) > MOST_PROBLEMS else []
    return [problem.text for problem in found[:MOST_PROBLEMS]] + more


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


def _problem(model: type[BaseModel], item: Mapping[str, Any], document: Document, whole_names: bool) -> _Problem:
    kind, loc, value, context = item["type"], item["loc"], item["input"], item.get("ctx", {})
    path = _path(loc, document.data)
    if kind == "union_tag_invalid":
        path = _path((*path, context["discriminator"].strip("'")), document.data)
        value, context = context["tag"], {"expected": context["expected_tags"]}
    if kind == "missing":
        path = (*_path(loc[:-1], document.data), loc[-1])

    def label(path: tuple[Any, ...]) -> str:
        text = ".".join(map(str, path)) if whole_names else str(path[-1])
        return repr(visible(text, LONGEST_NAME))

    def problem(
        text: str, got: str | None = None, expected: str | None = None, names: tuple[str, Iterable[str]] = ("", ())
    ) -> _Problem:
        where = document.where(*path)
        place = where.removeprefix(document.name).removeprefix(", ") if whole_names else where
        return _Problem(f"{place}: {text}" if place else text, where, got, expected, tuple(nearest(*names)))

    if loc and loc[-1] == "[key]" and kind == "string_type":
        return problem(f"a name must be text, got {shown(value)}", shown(value), "text")
    if kind == "missing":
        state = "has no value" if path in document.lines else "is missing"
        return problem(f"the key {label(path)} {state}", state, f"the key {label(path)}")
    if kind == "extra_forbidden":
        allowed = _keys_at(model, loc[:-1])
        near, names = hint(str(loc[-1]), allowed), ", ".join(allowed)
        text = f"unknown key {label(path)}{near}. Allowed: {names}"
        return problem(text, label(path), f"one of {names}", (str(loc[-1]), allowed))
    if not path:
        return _told(problem(f"{context['error'] if kind == 'value_error' else item['msg']}"))
    if kind in ("literal_error", "union_tag_invalid"):
        words = re.findall(r"'([^']*)'", context["expected"])
        expected = ", ".join(words) or context["expected"]
        if words and isinstance(value, str):
            what = "name" if loc[-1] == "[key]" else visible(str(path[-1]), LONGEST_NAME)
            inside = f"{label(path)}: " if whole_names else ""
            text = f"{inside}unknown {what} {shown(value)}{hint(value, words)}, expected {expected}"
            return problem(text, shown(value), f"one of {expected}", (value, words))
        return problem(f"{label(path)} must be {expected}, got {shown(value)}", shown(value), expected)
    if kind == "too_short" and not context["actual_length"]:
        of = f" for {path[-2]!r}" if len(path) > 2 else ""
        return problem(f"no {path[-1]}{of}", "none", f"{path[-1]}{of}")
    if kind == "value_error":
        return _told(problem(f"{label(path)}: {context['error']}"))
    if kind in _EXPECTED:
        words = context["words"].split("\n") if isinstance(value, str) and context.get("words") else []
        near = hint(value, words) if words else ""
        got = shown(value) if kind == "expected" or not isinstance(value, (dict, list)) else kind_of(value)
        expected = _EXPECTED[kind].format(**context)
        text = f"{label(path)} must be {expected}, got {got}{near}"
        return problem(text, got, expected, (value, words) if words else ("", ()))
    return problem(f"{label(path)}: {item['msg']}, got {shown(value)}", shown(value), item["msg"])


def _told(problem: _Problem) -> _Problem:
    """A problem with what its words say: they are those of a validator."""
    told = parts_of(problem.text)
    return problem._replace(got=told["got"], expected=told["expected"], nearest=tuple(told["nearest"]))


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
