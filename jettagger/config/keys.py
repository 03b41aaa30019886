"""Keys of configuration files for the documentation: tables, nested mappings and versions, from the models."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from jettagger.config.models import Shown, fields_of, options_of

__all__ = ["key_table", "nested_models", "version_of"]


def nested_models(model: type[BaseModel]) -> list[tuple[list[str], type[BaseModel]]]:
    """The mappings with keys of their own inside of a file.

    Parameters
    ----------
    model : type
        Model of the file.

    Returns
    -------
    list of (list of str, type)
        Each model once, with the places where it stands: ``samples.NAME``, where the user chooses a name, and
        ``groups[]`` for the entries of a list.

    Examples
    --------
    >>> from pydantic import create_model
    >>> from jettagger.config.models import FileModel, Names
    >>> Sample = create_model("Sample", __base__=FileModel, files=(Names, ...))
    >>> samples, data = (dict[str, Sample], ...), (Sample | None, None)
    >>> nested_models(create_model("Job", __base__=FileModel, samples=samples, data=data))
    [(['data', 'samples.NAME'], <class '...Sample'>)]
    """
    places: dict[type[BaseModel], list[str]] = {}
    waiting: list[tuple[str, Any]] = [("", model)]
    while waiting:
        place, kind = waiting.pop(0)
        for option in options_of(kind):
            if isinstance(option, type) and issubclass(option, BaseModel):
                inside = places.setdefault(option, [])
                inside.append(place)
                if len(inside) == 1:
                    front = f"{place}." if place else ""
                    waiting += [(f"{front}{name}", field.annotation) for name, field in fields_of(option).items()]
                    waiting += [(f"{front}NAME", kind) for kind in _of_free_keys(option)]
            elif get_origin(option) is dict:
                waiting.append((f"{place}.NAME", get_args(option)[1]))
            elif get_origin(option) in (list, tuple):
                waiting += [(f"{place}[]", item) for item in get_args(option)[:1]]
    del places[model]
    return [(list(dict.fromkeys(found)), part) for part, found in places.items()]


def _of_free_keys(model: type[BaseModel]) -> list[Any]:
    """The type of what stands under keys that the user chooses."""
    name = "__pydantic_extra__"
    declared = [
        each for each in model.__mro__ if each is not BaseModel and name in vars(each).get("__annotations__", {})
    ]
    # types of fields may be unknown here: classes within functions
    return [get_args(get_type_hints(each)[name])[1] for each in declared[:1]]


def version_of(model: type[BaseModel]) -> tuple[str, str] | None:
    """The key of a file that tells the version of its format, and its value.

    Parameters
    ----------
    model : type

    Returns
    -------
    (str, str) or None
        None for files without one.
    """
    for name, field in fields_of(model).items():
        if name in ("version", "schema_version", "format") and get_origin(field.annotation) is Literal:
            return name, str(get_args(field.annotation)[0])
    return None


def key_table(model: type[BaseModel]) -> str:
    """The keys of a mapping as a table in Markdown.

    Parameters
    ----------
    model : type

    Returns
    -------
    str
        One row per key: name, description, default.
    """
    rows = ["| key | meaning | default |", "|---|---|---|"]
    for name, field in fields_of(model).items():
        text = (field.description or "").replace("|", "\\|")
        rows.append(f"| `{name}` | {text} | {_default(field)} |")
    return "\n".join(rows)


def _default(field: FieldInfo) -> str:
    for item in field.metadata:
        if isinstance(item, Shown):
            return item.text
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None or value == "" or (isinstance(value, (tuple, list, dict)) and not value):
        return "none"
    if isinstance(value, BaseModel):
        return "those below"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{list(value) if isinstance(value, tuple) else value}`"
