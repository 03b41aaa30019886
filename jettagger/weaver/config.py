"""A weaver data configuration, read from YAML and validated."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jettagger.arguments import guard, is_number
from jettagger.config.yamlfile import composed
from jettagger.display import Brief
from jettagger.errors import ConfigError, WrongType, hint, nearest
from jettagger.files import refuse_special
from jettagger.weaver.expressions import Formula, parse_formula

__all__ = ["DataConfig", "InputGroup", "InputVariable", "Labels", "read_config"]

PadMode = Literal["constant", "wrap"]

_KEYS = (
    "treename",
    "branch_magic",
    "file_magic",
    "selection",
    "test_time_selection",
    "preprocess",
    "new_variables",
    "inputs",
    "labels",
    "observers",
    "monitor_variables",
    "weights",
    "bucketing",
)
#: keys that scores do not depend on
_IDLE = ("labels", "observers", "monitor_variables", "weights", "bucketing", "names")
_INPUT_KEYS = ("length", "pad_mode", "vars")
_PREPROCESS_KEYS = ("method", "data_fraction", "params")
_PARAMETERS = ("length", "pad_mode", "center", "scale", "min", "max", "pad_value")

#: parts of names of keys that would change the inputs of the network
_OF_INPUTS = re.compile("input|variable|preproc|transform|norm|standard|scal|pad|length|select", re.IGNORECASE)

#: column that weaver adds to each table: whether a jet is read for training
TRAINING_FLAG = "aux_training_"

#: limits on the size of a file in bytes, on its number of nodes after expanding anchors, and on the same without the
#: tables of numbers below "weights"
_MAX_BYTES = 50_000_000
_MAX_ENTRIES = 2_000_000
_MAX_NODES = 200_000

#: maximum number of objects of a jet; longer lists are mistakes, or attacks on the memory
LONGEST_LIST = 100_000


@dataclass(frozen=True)
class InputVariable(Brief):
    """One channel of an input: ``clip((x - center) * scale, low, high)``, or the value itself.

    Parameters
    ----------
    name : str
        A column of the file, or a new variable.
    center : float or None
        None: values are neither scaled nor clipped.
    scale : float
    low, high : float
        Bounds of the scaled value.
    pad : float
        Value of empty slots, after the last entry.
    """

    name: str
    center: float | None = None
    scale: float = 1.0
    low: float = -5.0
    high: float = 5.0
    pad: float = 0.0


@dataclass(frozen=True)
class InputGroup(Brief):
    """One input tensor.

    Parameters
    ----------
    name : str
    length : int or None
        Number of slots; longer lists are truncated. None: jet-level variables, which weaver does not pad and which have
        no axis of slots.
    pad_mode : {"constant", "wrap"}
        Fill with the pad values, or repeat the list from its beginning.
    variables : tuple of InputVariable
    """

    name: str
    length: int | None
    pad_mode: PadMode
    variables: tuple[InputVariable, ...]


@dataclass(frozen=True)
class Labels(Brief):
    """The training targets of the network.

    Parameters
    ----------
    type : {"simple", "custom"}
        ``simple``: for each class a column or variable that is 1 for its jets. ``custom``: names and their expressions.
    names : tuple of str
        The classes (``simple``), or the names of the targets (``custom``).
    index : str or None
        The variable with the index of the class, if the classes have no variables of their own.
    """

    type: Literal["simple", "custom"]
    names: tuple[str, ...]
    index: str | None = None


@dataclass(frozen=True)
class DataConfig(Brief):
    """A weaver data configuration.

    Parameters
    ----------
    where : str
        The file, for messages.
    inputs : tuple of InputGroup
    formulas : mapping of str to Formula
        New variables, and the targets of custom labels.
    selection : Formula or None
        Selection of training jets.
    test_time_selection : Formula or None
        Selection of jets that weaver reads for predictions; None: ``selection``.
    labels : Labels or None
    method : {"manual", "auto"}
    observers, monitor_variables : tuple of str
    treename : str or None
    branch_magic : mapping of str to str
        Parts of names -> their replacements in the file.
    file_magic : tuple of str
        Columns that weaver derives from file names.
    lines : mapping of str to int
        Line of each new variable and input.

    Examples
    --------
    >>> config = read_config(text='''
    ... new_variables:
    ...   part_mask: ak.ones_like(part_px)
    ...   part_pt: np.hypot(part_px, part_py)
    ... inputs:
    ...   pf_features: {length: 128, pad_mode: wrap, vars: [[part_pt, 1.7, 0.7], [part_deta, null]]}
    ...   pf_mask: {length: 128, pad_mode: constant, vars: [[part_mask, null]]}
    ... ''')
    >>> config.columns()
    ('part_px', 'part_py', 'part_deta')
    """

    where: str
    inputs: tuple[InputGroup, ...]
    formulas: Mapping[str, Formula]
    selection: Formula | None = None
    test_time_selection: Formula | None = None
    labels: Labels | None = None
    method: Literal["manual", "auto"] = "manual"
    observers: tuple[str, ...] = ()
    monitor_variables: tuple[str, ...] = ()
    treename: str | None = None
    branch_magic: Mapping[str, str] = field(default_factory=dict)
    file_magic: tuple[str, ...] = ()
    lines: Mapping[str, int] = field(default_factory=dict, repr=False)

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables of all inputs, without repetition."""
        return tuple(dict.fromkeys(variable.name for group in self.inputs for variable in group.variables))

    def is_mask(self, variable: InputVariable) -> bool:
        """Whether a variable is 1 for every entry of a list and 0 for padding, judged by its definition."""
        formula = self.formulas.get(variable.name)
        return variable.center is None and variable.pad == 0 and formula is not None and formula.is_ones

    def place(self, name: str) -> str:
        """Place of the definition of a variable: file and line."""
        return f"{self.where}, line {self.lines[name]}" if name in self.lines else self.where

    def stored(self, name: str) -> str:
        """The name of a column in the file, after ``branch_magic``."""
        for part, other in self.branch_magic.items():
            name = name.replace(part, other)
        return name

    def columns(self, names: Iterable[str] | None = None) -> tuple[str, ...]:
        """The columns of the file from which variables are computed.

        Parameters
        ----------
        names : iterable of str, optional
            Columns and new variables; default: those of all inputs.

        Returns
        -------
        tuple of str
            In the order in which they are needed, with their names in the configuration.

        Raises
        ------
        ConfigError
            If the definition of a variable is circular.
        """
        found: dict[str, None] = {}
        done: set[str] = set()
        for name in self.variables if names is None else names:
            self._descend(name, (), found, done)
        return tuple(found)

    def _descend(self, name: str, path: tuple[str, ...], found: dict[str, None], done: set[str]) -> None:
        if name in path:
            circle = " -> ".join([*path[path.index(name) :], name])
            raise ConfigError(f"{self.place(name)}: {name!r} is defined by itself: {circle}")
        if name in done:
            return
        formula = self.formulas.get(name)
        if formula is None:
            if name != TRAINING_FLAG:
                found[name] = None
        else:
            for needed in formula.names:
                self._descend(needed, (*path, name), found, done)
        done.add(name)

    def needing(self, column: str) -> tuple[str, ...]:
        """The inputs that depend on a column."""
        return tuple(name for name in self.variables if column in self.columns([name]))

    def columns_of(self, formula: Formula | None) -> tuple[str, ...]:
        """The columns of the file that an expression needs."""
        return () if formula is None else self.columns(formula.names)

    def keeping(self, names: Iterable[str]) -> DataConfig:
        """The same configuration restricted to these inputs."""
        names = set(names)
        return replace(self, inputs=tuple(group for group in self.inputs if group.name in names))


class _Reader:
    """The document of a file, with the line of each entry."""

    def __init__(self, text: str, where: str) -> None:
        self.where = where
        #: keys that scores do not depend on, with their lines
        self.passed_over: list[str] = []
        self.lines: dict[tuple[str | int, ...], int] = {}
        self._nodes = 0
        content = None
        with composed(text, where, characters=_MAX_BYTES, entries=_MAX_ENTRIES) as (loader, node):
            if node is not None:
                self._walk(node, ())
                content = loader.construct_document(node)
        if not isinstance(content, dict):
            kind = "nothing" if content is None else f"a {type(content).__name__}"
            raise ConfigError(f"{where}: holds {kind}, expected a data configuration with the key 'inputs'")
        self.content: dict[str, Any] = content

    def _walk(self, node: Any, path: tuple[str | int, ...]) -> None:
        import yaml

        self._nodes += 1
        if self._nodes > _MAX_NODES:
            raise ConfigError(f"{self.where}: more than {_MAX_NODES} entries, expected a data configuration of weaver")
        self.lines.setdefault(path, node.start_mark.line + 1)
        if path and path[0] == "weights":  # tables of numbers, long ones
            return
        if isinstance(node, yaml.MappingNode):
            seen: dict[str, Any] = {}
            for key, value in node.value:
                name = str(key.value)
                if not isinstance(value, yaml.ScalarNode) or name not in seen or seen[name] != value.value:
                    if name in seen:  # with another value; weaver would silently take the last one
                        raise ConfigError(f"{self.where}, line {key.start_mark.line + 1}: {name!r} appears twice")
                    seen[name] = getattr(value, "value", None)
                child = (*path, name)
                self.lines[child] = key.start_mark.line + 1
                self._walk(value, child)
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                self._walk(value, (*path, index))

    def error(self, path: Sequence[str | int], message: str) -> ConfigError:
        """An error with the line of an entry, or of the entry around it."""
        parts = tuple(path)
        while parts and parts not in self.lines:
            parts = parts[:-1]
        name = ".".join(str(part) for part in path)
        line = f", line {self.lines[parts]}" if parts else ""
        return ConfigError(f"{self.where}{line}: {name}: {message}" if name else f"{self.where}: {message}")

    def place(self, path: Sequence[str | int]) -> str:
        """File, line and key of an entry, for messages."""
        return f"{self.where}, line {self.lines.get(tuple(path), 1)}, {'.'.join(str(part) for part in path)}"

    def section(self, key: str) -> dict[str, Any]:
        """A top-level mapping, empty if it is absent."""
        value = self.content.get(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self.error([key], f"expected a mapping, got {_shown(value)}")
        for name in value:
            if not isinstance(name, str):
                raise self.error([key], f"expected names as keys, got {name!r}")
        return value

    def unknown(
        self, path: Sequence[str | int], found: Iterable[Any], known: Sequence[str], *, idle: bool = False
    ) -> None:
        """Refuse unknown keys.

        Those of forks of weaver are recorded if they are ``idle``: they are not a misspelling of a missing key, and
        their names do not refer to inputs.
        """
        found = list(found)
        for key in found:
            if key not in known:
                meant = set(nearest(str(key), known)) - set(found) - set(_IDLE)
                if idle and not meant and not _OF_INPUTS.search(str(key)):
                    self.pass_over([*path, str(key)])
                    continue
                text = f"unknown key{hint(str(key), known)}. Known: {', '.join(known)}"
                raise self.error([*path, str(key)], text)

    def pass_over(self, path: Sequence[str | int]) -> None:
        """Record a key that scores do not depend on."""
        line = self.lines.get(tuple(path))
        self.passed_over.append(".".join(map(str, path)) + (f" (line {line})" if line else ""))

    def names(self, key: str) -> tuple[str, ...]:
        """A list of names."""
        value = self.content.get(key)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.error([key], f"expected a list of names, got {_shown(value)}")
        return tuple(value)

    def formula(self, path: Sequence[str | int], value: Any) -> Formula:
        """An expression; a plain number is also one."""
        if is_number(value):
            value = repr(value)
        if not isinstance(value, str):
            raise self.error(path, f"expected an expression, got {_shown(value)}")
        return parse_formula(value, self.place(path))


def _shown(value: Any) -> str:
    return f"{type(value).__name__} {str(value)[:60]!r}"


def read_config(path: str | os.PathLike[str] | None = None, *, text: str | None = None) -> DataConfig:
    """Read a weaver data configuration.

    Parameters
    ----------
    path : path, optional
        A YAML file.
    text : str, optional
        Its content, if it is not to be read from a file.

    Returns
    -------
    DataConfig

    Raises
    ------
    ConfigError
        Gives file, line and key: unreadable YAML, unknown keys that may change inputs, expressions that are not
        allowed, definitions that are contradictory or circular.
    WrongType
        If neither a path nor a text is given.

    Warns
    -----
    UserWarning
        Once, listing the keys of forks of weaver that scores do not depend on.

    Examples
    --------
    >>> read_config(text="inputs: {jet: {length: 1, vars: [jet_pt]}}").variables
    ('jet_pt',)
    """
    where = "data configuration" if path is None else os.fspath(path)
    if text is None:
        if path is None:
            raise WrongType(
                "read_config() needs a path or a text",
                where="read_config()",
                got="neither",
                expected="a path or a text",
            )
        refuse_special(path, ConfigError)
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read {where}: {error}") from error
    reader = _Reader(text, where)
    reader.unknown([], reader.content, _KEYS, idle=True)
    of_fork = bool(reader.passed_over)
    formulas: dict[str, Formula] = {}
    unread: dict[str, ConfigError] = {}
    for name, value in reader.section("new_variables").items():
        if not name.isidentifier():
            raise reader.error(["new_variables", name], "is not a valid name: expected letters, digits and _")
        if str(value).strip() != name:  # weaver's own shorthand for "the column itself"
            try:
                formulas[name] = reader.formula(["new_variables", name], value)
            except ConfigError as error:
                if not of_fork and not name.startswith("_"):  # which weaver itself wrote there for training
                    raise
                unread[name] = error
    labels = _labels(reader, formulas)
    method, given = _preprocess(reader)
    config = DataConfig(
        where=where,
        inputs=tuple(_inputs(reader, method, given)),
        formulas=formulas,
        selection=_selection(reader, "selection"),
        test_time_selection=_selection(reader, "test_time_selection"),
        labels=labels,
        method=method,
        observers=reader.names("observers"),
        monitor_variables=reader.names("monitor_variables"),
        treename=_treename(reader),
        branch_magic=_magic(reader),
        file_magic=tuple(reader.section("file_magic")),
        lines=_lines(reader, formulas),
    )
    _check(reader, config)
    _pass_over_unread(reader, config, unread)
    if reader.passed_over:
        text = "that scores do not need and that jettagger does not know are ignored"
        warnings.warn(f"{where}: keys {text}: {', '.join(reader.passed_over)}", stacklevel=2)
    return config


def _pass_over_unread(reader: _Reader, config: DataConfig, unread: Mapping[str, ConfigError]) -> None:
    """Ignore variables with expressions that are not allowed, if scores do not depend on them."""
    needed = set(config.columns())
    for formula in (config.selection, config.test_time_selection):
        needed.update(config.columns_of(formula))
    for name, error in unread.items():
        if name in needed:
            raise error
        reader.pass_over(["new_variables", name])


def _lines(reader: _Reader, formulas: Mapping[str, Formula]) -> dict[str, int]:
    lines = {name: reader.lines[key] for name in formulas if (key := ("new_variables", name)) in reader.lines}
    for path, line in reader.lines.items():
        if len(path) >= 4 and path[0] == "inputs" and path[2] == "vars" and isinstance(path[3], int):
            value = reader.content["inputs"][path[1]]["vars"][path[3]]
            name = value[0] if isinstance(value, list) else value
            lines.setdefault(str(name), line)
    return lines


def _treename(reader: _Reader) -> str | None:
    value = reader.content.get("treename")
    if value is not None and not isinstance(value, str):
        raise reader.error(["treename"], f"expected a name, got {_shown(value)}")
    return value


def _magic(reader: _Reader) -> dict[str, str]:
    section = reader.section("branch_magic")
    for name, value in section.items():
        if not name or not isinstance(value, str):
            raise reader.error(["branch_magic", name], f"expected part of a name: its replacement, got {_shown(value)}")
    return section


def _selection(reader: _Reader, key: str) -> Formula | None:
    value = reader.content.get(key)
    return None if value is None or value == "" else reader.formula([key], value)


def _labels(reader: _Reader, formulas: dict[str, Formula]) -> Labels | None:
    section = reader.section("labels")
    if not section:
        return None
    # forks of weaver have targets of further kinds (value_cls_index, value_custom, ...), which scores do not need
    further = [key for key in section if str(key).startswith("value_")]
    reader.unknown(["labels"], [key for key in section if key not in further], ("type", "value", "names"), idle=True)
    kind, value = section.get("type"), section.get("value")
    index = None
    if value is None and section.get("value_cls_names"):
        value = section["value_cls_names"]
        index = "_label_"
        formulas[index] = reader.formula(["labels", "value_cls_index"], section.get("value_cls_index"))
    if kind == "hybrid" and further and not isinstance(value, list):
        return None  # the index of the class alone: what the classes are is not said
    if kind == "simple" or (kind == "hybrid" and further):
        if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
            raise reader.error(["labels", "value"], f"expected a list of classes, got {_shown(value)}")
        twice = sorted({item for item in value if value.count(item) > 1})
        if twice:
            raise reader.error(["labels", "value"], f"classes appear twice: {', '.join(twice)}")
        for number, item in enumerate(value if index is None else ()):
            # a class may be an expression, as a rule it is a name
            formula = reader.formula(["labels", "value", number], item)
            if formula.names != (item,):
                formulas.setdefault(item, formula)
        return Labels("simple", tuple(value), index)
    if kind == "custom":
        if not isinstance(value, dict) or not value or not all(isinstance(name, str) for name in value):
            raise reader.error(["labels", "value"], f"expected names and their expressions, got {_shown(value)}")
        for name, expression in value.items():
            if name in formulas and formulas[name].text.strip() != str(expression).strip():
                raise reader.error(["labels", "value", name], "is also a new variable: give the label another name")
            if str(expression).strip() != name:
                formulas[name] = reader.formula(["labels", "value", name], expression)
        return Labels("custom", tuple(value))
    raise reader.error(["labels", "type"], f"expected simple or custom, got {kind!r}")


def _preprocess(reader: _Reader) -> tuple[Literal["manual", "auto"], dict[str, Any]]:
    section = reader.section("preprocess")
    reader.unknown(["preprocess"], section, _PREPROCESS_KEYS)
    method = section.get("method", "manual")
    if not isinstance(method, str) or not (method.lower() == "manual" or method.lower().startswith("auto")):
        raise reader.error(["preprocess", "method"], f"expected manual or auto, got {method!r}")
    params = section.get("params")
    if params is None:
        params = {}
    if not isinstance(params, dict):
        raise reader.error(["preprocess", "params"], f"expected a mapping of variables, got {_shown(params)}")
    for name, content in params.items():
        path = ["preprocess", "params", str(name)]
        if not isinstance(content, dict):
            raise reader.error(path, f"expected a mapping, got {_shown(content)}")
        reader.unknown(path, content, _PARAMETERS)
        missing = [key for key in _PARAMETERS if key not in content and key != "pad_value"]
        if missing:
            raise reader.error(path, f"lacks {', '.join(missing)}")
    return ("manual" if method.lower() == "manual" else "auto"), params


def _inputs(reader: _Reader, method: str, given: Mapping[str, Any]) -> Iterator[InputGroup]:
    section = reader.section("inputs")
    if not section:
        raise reader.error([], "has no 'inputs', expected at least one group of variables")
    before: dict[str, tuple[str, tuple[Any, ...]]] = {}
    for name, content in section.items():
        path = ["inputs", name]
        if not isinstance(content, dict):
            raise reader.error(path, f"expected length, pad_mode and vars, got {_shown(content)}")
        reader.unknown(path, content, _INPUT_KEYS)
        items = content.get("vars")
        if not isinstance(items, list) or not items:
            raise reader.error([*path, "vars"], f"expected a list of variables, got {_shown(items)}")
        length, pad_mode = content.get("length"), str(content.get("pad_mode", "constant")).lower()
        group: list[InputVariable] = []
        for index, item in enumerate(items):
            here: list[str | int] = [*path, "vars", index]
            variable = _variable(reader, here, item, "manual" if given else method)
            if given:
                if variable.name not in given:
                    raise reader.error(here, f"{variable.name!r} is not among the preprocess.params of this file")
                known = given[variable.name]
                length, pad_mode = known["length"], str(known["pad_mode"]).lower()
                values = [variable.name, *(known.get(key, 0) for key in _PARAMETERS[2:])]
                variable = _variable(reader, ["preprocess", "params", variable.name], values, "manual")
            settings = (length, pad_mode, variable)
            other, same = before.setdefault(variable.name, (name, settings))
            if same != settings:
                text = f"{variable.name!r} is in {other!r} with another length, pad_mode or scaling; weaver keeps one"
                raise reader.error(here, f"{text} set for each variable")
            group.append(variable)
        if "length" not in content:
            raise reader.error(
                [*path, "length"], "missing: expected the number of slots, or null for numbers of the jet"
            )
        if length is not None and (not isinstance(length, int) or isinstance(length, bool) or length < 1):
            raise reader.error([*path, "length"], f"expected a whole number from 1 or null, got {length!r}")
        if length is not None and length > LONGEST_LIST:
            raise reader.error([*path, "length"], f"expected at most {LONGEST_LIST} slots, got {_shown(length)}")
        if pad_mode not in ("constant", "wrap"):
            raise reader.error([*path, "pad_mode"], f"expected constant or wrap, got {pad_mode!r}")
        if name.endswith("_mask") and pad_mode != "constant":
            raise reader.error([*path, "pad_mode"], f"expected constant for a mask, got {pad_mode!r}")
        yield InputGroup(name, length, "wrap" if pad_mode == "wrap" else "constant", tuple(group))


def _variable(reader: _Reader, path: Sequence[str | int], item: Any, method: str) -> InputVariable:
    values = item if isinstance(item, list) else [item]
    if not values or not isinstance(values[0], str) or not values[0].isidentifier():
        raise reader.error(path, f"expected the name of a variable, or a list that starts with one, got {_shown(item)}")
    if len(values) > 6:
        raise reader.error(path, f"expected at most name, centre, scale, min, max, pad value; got {len(values)} items")
    name, center = values[0], values[1] if len(values) > 1 else ("auto" if method == "auto" else None)
    if center == "auto":
        if name.endswith("_mask"):  # weaver never standardises a mask
            center = None
        else:
            raise reader.error(
                path,
                f"{name!r} has no centre and scale, they are found in training: use the file *.auto.yaml that weaver "
                "wrote beside this one",
            )
    numbers = []
    for word, value in zip(
        ("scale", "min", "max", "pad value"), [*values[2:], *(1, -5, 5, 0)[len(values[2:]) :]], strict=True
    ):
        numbers.append(_number(reader, path, word, value))
    if center is not None:
        center = _number(reader, path, "centre", center)
    variable = InputVariable(name, center, *numbers)
    if not variable.low <= variable.high:
        raise reader.error(path, f"min {variable.low:g} exceeds max {variable.high:g}")
    return variable


def _number(reader: _Reader, path: Sequence[str | int], word: str, value: Any) -> float:
    if isinstance(value, str):  # YAML 1.1 takes 1e8 for text
        with suppress(ValueError):
            value = float(value)
    with suppress(OverflowError):  # a whole number beyond any float
        value = float(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(value, float) or np.isnan(value):
        raise reader.error(path, f"{word}: expected a number, got {_shown(value)}")
    if word in ("centre", "scale", "pad value") and not np.isfinite(value):
        raise reader.error(path, f"{word}: expected a finite number, got {value!r}")
    return float(value)


def _check(reader: _Reader, config: DataConfig) -> None:
    if config.observers and config.monitor_variables:  # weaver reads one of them
        reader.pass_over(["monitor_variables"])
    for name in config.formulas:  # circles, also among variables that no input needs
        config.columns([name])


guard(globals())
