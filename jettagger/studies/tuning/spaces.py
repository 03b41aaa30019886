"""Search spaces of options: JSON files as SPANet reads them, with calls of ray.tune as text.

The original evaluates the text; here it is parsed, and only the calls below exist. Numbers and lists in them are
literals.
"""

from __future__ import annotations

import ast
import math
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from jettagger.arguments import guard
from jettagger.assignment.training_options import UNUSED, AssignmentOptions, OptionsWarning, OwnOptions
from jettagger.config.models import problems
from jettagger.config.yamlfile import Document, lines_of
from jettagger.display import Brief, in_full
from jettagger.errors import LONGEST_NAME, ConfigError, hint, visible
from jettagger.files.jsonfile import read_object

__all__ = ["CALLS", "DEFAULT_SPACE", "OptionRange", "SearchSpace", "parse_call", "read_search_space", "search_space"]

#: call -> its arguments in order, those with a default at the end
CALLS: dict[str, tuple[str, ...]] = {
    "choice": ("categories",),
    "uniform": ("lower", "upper"),
    "quniform": ("lower", "upper", "q"),
    "loguniform": ("lower", "upper", "base"),
    "qloguniform": ("lower", "upper", "q", "base"),
    "randint": ("lower", "upper"),
    "qrandint": ("lower", "upper", "q"),
    "lograndint": ("lower", "upper", "base"),
    "qlograndint": ("lower", "upper", "q", "base"),
}

_DEFAULTS = {("qrandint", "q"): 1, **{(name, "base"): 10 for name, keys in CALLS.items() if "base" in keys}}

#: calls of ray.tune that are refused, and why
_REFUSED = {
    "randn": "a normal distribution has no limits; use tune.uniform",
    "qrandn": "a normal distribution has no limits; use tune.quniform",
    "sample_from": "it runs code of the file; use tune.choice",
    "grid_search": "trials are drawn, not all combinations are tried; use tune.choice",
}

#: the space of the original where no file is given
DEFAULT_SPACE: dict[str, Any] = {
    "hidden_dim": "tune.choice([32, 64, 96, 128])",
    "num_encoder_layers": "tune.choice([1, 2, 3, 4, 5, 6])",
    "num_branch_embedding_layers": "tune.choice([1, 2, 4, 6])",
    "num_branch_encoder_layers": "tune.choice([1, 2, 4, 6])",
    "num_regression_layers": "tune.choice([1, 2, 4, 6])",
    "num_classification_layers": "tune.choice([1, 2, 4, 6])",
    "learning_rate": "tune.loguniform(1e-5, 1e-1)",
    "focal_gamma": "tune.uniform(0.0, 1.0)",
    "l2_penalty": "tune.loguniform(1e-6, 1e-2)",
}

#: options that decide which events validate: trials with different ones could not be compared
_EVENTS = (
    "event_info_file",
    "training_file",
    "validation_file",
    "testing_file",
    "dataset_limit",
    "dataset_randomization",
    "limit_to_num_jets",
    "train_validation_split",
)

#: options without influence on the result of a trial, which are no matter of a search
_SETTINGS = ("num_gpu", "verbose_output")

#: what is meant as a call; any other text is the value of an option
_MEANT = re.compile(r"\s*(?:(?:ray\s*\.\s*)?tune\s*\.|[A-Za-z_][\w.]*\s*\(.*\)\s*\Z)", re.DOTALL)

#: maximum length of a text
_LONGEST = 10_000


@dataclass(frozen=True)
class OptionRange(Brief):
    """An option that is searched.

    Parameters
    ----------
    key : str
        Of `AssignmentOptions`; ``jettagger.<key>`` for those that the original does not have.
    text : str
        The call.
    choices : tuple
        All values; empty for numbers.
    low, high : float
        Smallest and largest number, inclusive.
    step : float, optional
        Distance of the numbers.
    whole : bool
        Whether they are whole.
    log : bool
        Whether the logarithm is uniform.
    """

    key: str
    text: str
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    step: float | None = None
    whole: bool = False
    log: bool = False

    @property
    def labels(self) -> tuple[Any, ...]:
        """Choices as a study stores them: lists as text."""
        return tuple(value if value is None or isinstance(value, (bool, int, float, str)) else in_full(value)
                     for value in self.choices)  # fmt: skip

    def suggested(self, trial: Any) -> Any:
        """What a trial of optuna has for the option, as stored in its study."""
        if self.choices:
            return trial.suggest_categorical(self.key, list(self.labels))
        # optuna has no steps of logarithmic numbers: they are rounded in `value`
        step = None if self.log else self.step
        if self.whole:
            return trial.suggest_int(self.key, int(self.low), int(self.high), step=int(step or 1), log=self.log)
        return trial.suggest_float(self.key, self.low, self.high, step=step, log=self.log)

    def value(self, stored: Any) -> Any:
        """The value of the option.

        Parameters
        ----------
        stored : object
            From `suggested`.

        Returns
        -------
        object

        Examples
        --------
        >>> parse_call("dropout", "tune.quniform(0.0, 0.4, 0.1)").value(0.30000000000000004)
        0.3
        """
        if self.choices:
            return self.choices[self.labels.index(stored)]
        if self.step is not None:
            unit = Decimal(str(self.step))
            stored = min(max(float(unit * round(Decimal(str(stored)) / unit)), self.low), self.high)
        return int(stored) if self.whole else float(stored)

    def examples(self) -> Iterator[Any]:
        """Values that an option must take if it takes all: the choices, or the limits and one between them."""
        if self.choices:
            yield from self.choices
            return
        between = self.low + (math.sqrt(2) - 1) * (self.high - self.low)
        for number in (self.low, self.high, round(between) if self.whole else between):
            yield self.value(number)


def parse_call(key: str, text: str) -> OptionRange:
    """The range that a call of ray.tune describes.

    Parameters
    ----------
    key : str
        The option.
    text : str
        ``tune.NAME(...)`` or ``ray.tune.NAME(...)`` with a name of `CALLS`.

    Returns
    -------
    OptionRange

    Raises
    ------
    ConfigError
        If it is another call, or its arguments are no literals or no range.

    Examples
    --------
    >>> parse_call("hidden_dim", "tune.choice([32, 64])").choices
    (32, 64)
    >>> found = parse_call("num_encoder_layers", "tune.randint(1, 5)")
    >>> found.low, found.high
    (1, 4)
    >>> parse_call("dropout", "tune.unifrom(0.0, 0.4)")
    Traceback (most recent call last):
        ...
    jettagger.errors.ConfigError: tune.unifrom is not known (nearest: uniform, ...). Known: choice, uniform, ...
    """
    if len(text) > _LONGEST:
        raise ConfigError(f"a text of {len(text)} characters, expected at most {_LONGEST}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Python about the text
            tree: ast.expr | None = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        tree = None
    name = _name(tree.func) if isinstance(tree, ast.Call) else None
    if not isinstance(tree, ast.Call) or name is None:
        raise ConfigError(f"expected a call such as tune.choice([1, 2]), got {visible(text, LONGEST_NAME)!r}")
    module, _, call = name.rpartition(".")
    if module not in ("tune", "ray.tune") or call not in CALLS:
        why = _REFUSED.get(call)
        if why is not None:
            raise ConfigError(f"tune.{call} is not supported: {why}")
        raise ConfigError(
            f"{visible(name, LONGEST_NAME)} is not known{hint(call, CALLS)}. Known: {', '.join(CALLS)}, of tune"
        )
    arguments = _arguments(call, tree)
    shown = " ".join(text.split())
    if call == "choice":
        return OptionRange(key, shown, choices=_categories(arguments["categories"]))
    return _numbers(key, shown, call, arguments)


def _name(node: ast.expr) -> str | None:
    """The dotted name of a function."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else None


def _arguments(call: str, node: ast.Call) -> dict[str, Any]:
    """The arguments of a call by their names."""
    names = CALLS[call]
    usage = f"tune.{call}({', '.join(names)})"
    if len(node.args) > len(names) or any(isinstance(argument, ast.Starred) for argument in node.args):
        raise ConfigError(f"too many arguments, expected {usage}")
    found: dict[str, Any] = {}
    for name, argument in [*zip(names, node.args, strict=False), *((item.arg, item.value) for item in node.keywords)]:
        if name not in names:
            raise ConfigError(f"unknown argument {name!r}{hint(str(name), names)}, expected {usage}")
        if name in found:
            raise ConfigError(f"the argument {name} is given twice, expected {usage}")
        found[name] = _literal(name, argument)
    for name in names:
        if name not in found and (call, name) not in _DEFAULTS:
            raise ConfigError(f"the argument {name} is missing, expected {usage}")
        found.setdefault(name, _DEFAULTS.get((call, name)))
    return found


def _literal(name: str, node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        words = {item.id for item in ast.walk(node) if isinstance(item, ast.Name)} & {"true", "false", "null"}
        spelt = {"true": "True", "false": "False", "null": "None"}
        advice = "".join(f"; {word} is {spelt[word]} in a call" for word in sorted(words))
        raise ConfigError(
            f"{name} is {visible(ast.unparse(node), LONGEST_NAME)!r}, expected a number or a list, written out{advice}"
        ) from None


def _categories(value: Any) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)) or not value:
        raise ConfigError(f"categories is {visible(repr(value), LONGEST_NAME)}, expected a list of values")
    made: list[Any] = []
    for item in value:
        item = list(item) if isinstance(item, tuple) else item
        if not _stored(item):
            raise ConfigError(
                f"categories has {visible(repr(item), LONGEST_NAME)}, expected numbers, text, True, False, None, or "
                "lists of these"
            )
        if item in made:  # also 1, 1.0 and True
            raise ConfigError(f"categories has {visible(repr(item), LONGEST_NAME)} twice")
        made.append(item)
    return tuple(made)


def _stored(value: Any) -> bool:
    """Whether a value can be in JSON."""
    if isinstance(value, list):
        return all(map(_stored, value))
    if isinstance(value, (bool, str)) or value is None:
        return True
    return isinstance(value, (float, int)) and _usual(value)


def _usual(value: Any) -> bool:
    """Whether a number is finite, and a whole one also exact as a float."""
    return math.isfinite(value) if isinstance(value, float) else abs(value) < 2**53


def _numbers(key: str, text: str, call: str, arguments: Mapping[str, Any]) -> OptionRange:
    whole, log = call.endswith("randint"), "log" in call
    kinds: tuple[type, ...] = (int,) if whole else (int, float)
    for name, value in arguments.items():
        allowed = (int, float) if name == "base" else kinds
        if not isinstance(value, allowed) or isinstance(value, bool) or not _usual(value):
            word = "whole number" if allowed == (int,) else "number"
            raise ConfigError(f"{name} is {visible(repr(value), LONGEST_NAME)}, expected a {word}")
    low, high, step = arguments["lower"], arguments["upper"], arguments.get("q")
    if whole and step is None:  # ray excludes the upper limit, but where numbers are rounded
        high -= 1
    if log and low <= 0:
        raise ConfigError(f"lower is {low}, expected a number above 0 for a logarithm")
    if log and not arguments["base"] > 1:
        raise ConfigError(f"base is {arguments['base']}, expected a number above 1")
    if low > high or (low == high and not whole):
        raise ConfigError(f"lower is {low} and upper {arguments['upper']}: there is no number between them")
    if step is not None:
        if not step > 0:
            raise ConfigError(f"q is {step}, expected a number above 0")
        for name, value in (("lower", low), ("upper", high)):
            if Decimal(str(value)) % Decimal(str(step)):
                raise ConfigError(f"{name} is {value}, expected a multiple of q = {step}")
    if not whole:
        low, high = float(low), float(high)
    return OptionRange(key, text, low=low, high=high, step=step, whole=whole, log=log)


# -------------------------------------------------------------------------------------------------------------- spaces


@dataclass(frozen=True)
class SearchSpace(Brief):
    """Options that are searched, and options that all trials have.

    Parameters
    ----------
    ranges : tuple of OptionRange
    fixed : mapping of str to object
        As in an options file; they override it.
    name : str
        The file.
    """

    ranges: tuple[OptionRange, ...]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""

    def options(self, base: AssignmentOptions, stored: Mapping[str, Any]) -> AssignmentOptions:
        """The options of a trial.

        Parameters
        ----------
        base : AssignmentOptions
        stored : mapping of str to object
            Option -> what the study has for it.

        Returns
        -------
        AssignmentOptions

        Raises
        ------
        ConfigError
            If the values do not go together.

        Examples
        --------
        >>> space = search_space({"hidden_dim": "tune.choice([6, 8])", "num_attention_heads": 4})
        >>> space.options(AssignmentOptions(), {"hidden_dim": 8}).hidden_dim
        8
        >>> space.options(AssignmentOptions(), {"hidden_dim": 6})
        Traceback (most recent call last):
            ...
        jettagger.errors.ConfigError: hidden_dim is 6, which num_attention_heads = 4 does not divide
        """
        return _options(base, self.fixed, {item.key: item.value(stored[item.key]) for item in self.ranges})

    def common(self, base: AssignmentOptions) -> AssignmentOptions:
        """Options with the values that all trials have.

        Parameters
        ----------
        base : AssignmentOptions

        Returns
        -------
        AssignmentOptions
            Those that are searched are as in ``base``, or at their defaults if that does not go together.

        Raises
        ------
        ConfigError
            If the fixed values do not go together.
        """
        try:
            return _options(base, self.fixed)
        except ConfigError:
            searched = {item.key for item in self.ranges} & {"hidden_dim", "num_attention_heads"}
            if not searched:
                raise
            return _options(base, self.fixed, {"hidden_dim": 1, "num_attention_heads": 1})

    def epochs(self, base: AssignmentOptions) -> int:
        """Number of epochs of the longest trial."""
        for item in self.ranges:
            if item.key == "epochs":
                return int(max(item.examples()))
        return self.common(base).epochs

    def content(self) -> dict[str, Any]:
        """For records: option -> call or value."""
        return {**self.fixed, **{item.key: item.text for item in self.ranges}}


def _options(base: AssignmentOptions, *changes: Mapping[str, Any]) -> AssignmentOptions:
    content = base.model_dump(mode="json")
    for change in changes:
        for key, value in change.items():
            if key == "jettagger":
                content[key] |= value
            elif key.startswith("jettagger."):
                content["jettagger"][key.partition(".")[2]] = value
            else:
                content[key] = value
    try:
        return AssignmentOptions.model_validate(content)
    except ValidationError as error:
        listed = problems(AssignmentOptions, error, Document(content, "", {}), whole_names=True)
        raise ConfigError("; ".join(listed)) from None


def read_search_space(path: str | os.PathLike[str]) -> SearchSpace:
    """Read a search space of the original.

    Parameters
    ----------
    path : path
        JSON: the keys of an options file, with values, or calls of ray.tune as text.

    Returns
    -------
    SearchSpace

    Raises
    ------
    InputFileError
        If it cannot be read.
    ConfigError
        If a key, a call or a value is invalid; gives the line and the nearest valid name.

    Warns
    -----
    OptionsWarning
        If keys without a use are searched: they are left out.

    Examples
    --------
    >>> _ = Path("space.json").write_text('{"learning_rate": "tune.loguniform(1e-5, 1e-2)"}')
    >>> read_search_space("space.json").ranges[0].low
    1e-05
    >>> _ = Path("space.json").write_text('{"hidden_dim": "tune.choice([8, 1.5])"}')
    >>> read_search_space("space.json")
    Traceback (most recent call last):
        ...
    jettagger.errors.ConfigError: space.json is not a valid search space: line 1: 'hidden_dim' must be a whole ...
    """
    file = Path(path)
    content = read_object(file)
    return _checked(content, str(file), lines_of(file.read_text(encoding="utf-8")))


def search_space(content: Mapping[str, Any]) -> SearchSpace:
    """A search space from the content of a file.

    Parameters
    ----------
    content : mapping

    Returns
    -------
    SearchSpace

    Raises
    ------
    ConfigError
        As for `read_search_space`.

    Examples
    --------
    >>> [item.key for item in search_space({"dropout": "tune.uniform(0, 0.4)", "epochs": 10}).ranges]
    ['dropout']
    """
    return _checked(content, "", {})


def _checked(content: Mapping[str, Any], name: str, lines: Mapping[Any, int]) -> SearchSpace:
    document = Document(content, "", lines)
    found: list[str] = []
    unused: list[str] = []
    ranges: list[OptionRange] = []
    fixed: dict[str, Any] = {}
    for path, value in _entries(content):
        key = ".".join(path)
        line = document.where(*path).removeprefix(", ")
        place = f"{line}: " if line else ""
        known = list(OwnOptions.model_fields if len(path) > 1 else AssignmentOptions.model_fields)
        if path[-1] not in known:
            found.append(f"{place}unknown key {visible(key, LONGEST_NAME)!r}{hint(path[-1], known)}")
            continue
        try:
            if not (isinstance(value, str) and _MEANT.match(value)):
                _refuse_value(path, value)
                (fixed.setdefault("jettagger", {}) if len(path) > 1 else fixed)[path[-1]] = value
                continue
            item = parse_call(key, value)
            _refuse_option(key)
            for example in item.examples():
                _refuse_value(path, example)
        except ConfigError as error:
            text = str(error)
            found.append(f"{place}{text}" if text.startswith(f"'{key}'") else f"{place}{key!r}: {text}")
            continue
        if key in UNUSED:
            unused.append(key)
        else:
            ranges.append(item)
    if not ranges and not found:
        found.append("nothing is searched: no option has a call such as tune.choice([1, 2])")
    if found:
        raise ConfigError(f"{name} is not a valid search space: {'; '.join(found)}" if name else "; ".join(found))
    if unused:
        place = f"{name}: " if name else ""
        warnings.warn(f"{place}no use here, not searched: {', '.join(unused)}", OptionsWarning, stacklevel=4)
    return SearchSpace(tuple(ranges), fixed, name)


def _entries(content: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The options of a file, our own ones after the others."""
    for key, value in content.items():
        if not (key == "jettagger" and isinstance(value, Mapping)):
            yield (key,), value
    own = content.get("jettagger")
    for key, value in (own if isinstance(own, Mapping) else {}).items():
        yield ("jettagger", key), value


def _refuse_option(key: str) -> None:
    if key in _EVENTS:
        raise ConfigError("it decides which events there are, and trials are compared on the same ones; give one value")
    if key in _SETTINGS:
        raise ConfigError("the result of a trial does not depend on it; give one value")


def _refuse_value(path: Sequence[str], value: Any) -> None:
    """Refuse a value that the option cannot have, whatever the other options are."""
    content: dict[str, Any] = {path[-1]: value}
    # the width has to be a multiple of the number of heads
    if path[-1] == "num_attention_heads":
        content["hidden_dim"] = value
    elif len(path) == 1:
        content.setdefault("num_attention_heads", 1)
    content = {path[0]: content} if len(path) > 1 else content
    try:
        AssignmentOptions.model_validate(content)
    except ValidationError as error:
        raise ConfigError(
            "; ".join(problems(AssignmentOptions, error, Document(content, "", {}), whole_names=True)[-1:])
        ) from None


guard(globals())
