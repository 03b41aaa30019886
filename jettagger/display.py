"""Display of objects: one short line, and a summary as HTML in notebooks and through rich in terminals.

A class derives from `Brief`, which shows its fields, or from `Displayed` and defines ``summary``. Nothing is read,
opened or computed for it: arrays are shown as their type and shape. Names chosen by users are escaped, long texts are
shortened in the middle, and long tables end with the number of omitted rows.
"""

from __future__ import annotations

import enum
import html
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import wraps
from pathlib import PurePath
from typing import Any, TypeVar

from jettagger.errors import visible

__all__ = [
    "LONGEST_CELL",
    "LONGEST_LINE",
    "MAX_ROWS",
    "Brief",
    "Displayed",
    "Grid",
    "ObjectSummary",
    "aligned",
    "brief",
    "brief_line",
    "briefly",
    "fields_html",
    "in_full",
    "latex_text",
    "markdown_text",
    "shortened",
    "some",
]

#: maximum number of displayed rows
MAX_ROWS = 40

#: maximum number of characters in a cell
LONGEST_CELL = 400

#: maximum number of characters of an object in one line
LONGEST_LINE = 300

#: maximum number of characters of a value in that line, of items of a collection, and of collections inside each other
_LONGEST_VALUE = 60
_ITEMS = 4
_DEPTH = 3

#: maximum number of tables of an object that shows its fields
_TABLES = 6

_Class = TypeVar("_Class")

#: characters with a meaning in LaTeX
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "±": r"$\pm$",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"$|$",
    "*": r"$*$",
}

_RIGHT = ' style="text-align:right"'


def some(names: Sequence[str], number: int = 6) -> str:
    """The first few of a list of names, and their number.

    Parameters
    ----------
    names : sequence of str
    number : int
        Maximum number of names.

    Returns
    -------
    str

    Examples
    --------
    >>> some(["a", "b"]), some(["a", "b", "c", "d"], 2)
    ('a, b', 'a, b, ... (4)')
    """
    return ", ".join(names[:number]) + (f", ... ({len(names)})" if len(names) > number else "")


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of text with aligned columns, for terminals.

    Parameters
    ----------
    rows : sequence of sequence of str
        All of one length; the first may be the header.

    Returns
    -------
    list of str
        One line per row.

    Examples
    --------
    >>> aligned([("name", "jets"), ("tt", "12")])
    ['name  jets', 'tt    12']
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def shortened(text: str, longest: int = LONGEST_CELL) -> str:
    """A printable text: without control characters, and shortened if it is long.

    Parameters
    ----------
    text : str
    longest : int
        Maximum number of characters; longer texts are shortened in the middle.

    Returns
    -------
    str
    """
    return visible(str(text), longest)


class _Signature:
    """The signature of a dataclass for `help`, with what its factories make in place of ``<factory>``."""

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is not None or not is_dataclass(owner):
            raise AttributeError("__signature__")
        import inspect

        made = {one.name: one.default_factory for one in fields(owner) if one.default_factory is not MISSING}
        form: Any = owner.__init__
        first, *others = inspect.signature(form).parameters.values()
        shown = [item.replace(default=_Made(made[item.name])) if item.name in made else item for item in others]
        if made and "__init__" in owner.__dict__:  # `help` shows that of the method, too
            form.__signature__ = inspect.Signature([first, *shown], return_annotation=None)
        return inspect.Signature(shown, return_annotation=None)


class _Made:
    """A default that a factory makes, shown as what it makes."""

    def __init__(self, factory: Callable[[], Any]) -> None:
        self.factory = factory

    def __repr__(self) -> str:
        return brief(self.factory())


class Brief:
    """Base of objects that show their fields: a short line, and tables in notebooks and in output of rich.

    Fields of dataclasses and of models are shown, of other objects what is stored under a public name; arrays as type
    and shape. A class with its own ``__repr__`` keeps it, printable and at most `LONGEST_LINE` characters long.
    """

    __slots__ = ()
    __signature__ = _Signature()

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if "__repr__" in cls.__dict__:
            cls.__repr__ = _one_line(cls.__repr__)  # type: ignore[method-assign]
        else:  # or a dataclass would make another
            cls.__repr__ = cls.__repr__  # type: ignore[method-assign]

    def __repr__(self) -> str:
        """One short line: class and fields."""
        return brief_line(self)

    def _repr_html_(self) -> str:
        return fields_html(self)

    def __rich__(self) -> Any:
        return _fields_summary(self).to_rich()


def _one_line(form: Callable[[Any], str]) -> Callable[[Any], str]:
    @wraps(form)
    def shown(self: Any) -> str:
        return shortened(" ".join(form(self).splitlines()), LONGEST_LINE)

    shown.__doc__ = form.__doc__ or "One short line: what it is."
    return shown


def briefly(cls: type[_Class]) -> type[_Class]:
    """Decorator of classes that cannot derive from `Brief`, such as named tuples: they are displayed in the same way.

    Parameters
    ----------
    cls : type

    Returns
    -------
    type
        The same class.
    """
    for name in getattr(cls, "_fields", ()):  # or `help` says "Alias for field number 0"
        getattr(cls, name).__doc__ = f"Field {name}; see Parameters."
    cls.__repr__ = brief_line  # type: ignore[method-assign]
    cls._repr_html_ = fields_html  # type: ignore[attr-defined]
    return cls


@dataclass(frozen=True)
class Grid(Brief):
    """A table of a summary.

    Parameters
    ----------
    title : str
    header : sequence of str
    rows : sequence of sequence of str
        With as many cells as the header.
    numbers : int
        Number of columns at the end with numbers, which are right-aligned.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: int = 0

    def shown(self) -> list[list[str]]:
        """The displayed rows as printable texts; at most `MAX_ROWS`."""
        return [[shortened(cell) for cell in row] for row in self.rows[:MAX_ROWS]]

    @property
    def left_out(self) -> str:
        """Number of omitted rows, in words; empty if there are none."""
        number = len(self.rows) - MAX_ROWS
        return f"... and {number} more" if number > 0 else ""

    @property
    def right(self) -> list[bool]:
        """Columns that are right-aligned."""
        return [column >= len(self.header) - self.numbers for column in range(len(self.header))]


def latex_text(grid: Grid) -> str:
    """A table for LaTeX with the rules of ``booktabs``.

    Parameters
    ----------
    grid : Grid
        Where the first column changes, there is a rule, unless it does in each row.

    Returns
    -------
    str

    Examples
    --------
    >>> print(latex_text(Grid("purities", ["category", "event"], [["*t", "0.5 ± 0.1"]], 1)))
    % purities
    \\begin{tabular}{lr}
    \\toprule
    category & event \\\\
    \\midrule
    $*$t & 0.5 $\\pm$ 0.1 \\\\
    \\bottomrule
    \\end{tabular}
    <BLANKLINE>
    """
    columns = len(grid.header)
    lines = [
        f"% {' '.join(grid.title.split())}",
        rf"\begin{{tabular}}{{{'l' * (columns - grid.numbers)}{'r' * grid.numbers}}}",
    ]
    lines += [r"\toprule", _latex_row(grid.header)]
    last = None
    groups = len({row[0] for row in grid.rows}) < len(grid.rows)
    for row in grid.rows:
        if last is None or (groups and row[0] != last):
            lines.append(r"\midrule")
        last = row[0]
        lines.append(_latex_row(row))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _latex_row(cells: Sequence[str]) -> str:
    escaped = ["".join(_LATEX.get(character, character) for character in cell) for cell in cells]
    return f"{' & '.join(escaped)} \\\\"


def markdown_text(grid: Grid) -> str:
    """A table in Markdown, with its title above.

    Parameters
    ----------
    grid : Grid

    Returns
    -------
    str

    Examples
    --------
    >>> print(markdown_text(Grid("SR", ["cut", "tt"], [["a|b", "12"]], 1)))
    SR
    <BLANKLINE>
    | cut | tt |
    |---|--:|
    | a\\|b | 12 |
    <BLANKLINE>
    """
    rows = [
        "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in row) + " |"
        for row in (grid.header, *grid.rows)
    ]
    rows.insert(1, "|" + "|".join("--:" if right else "---" for right in grid.right) + "|")
    return "\n".join([grid.title, "", *rows, ""])


@dataclass(frozen=True)
class ObjectSummary(Brief):
    """The summary of an object.

    Parameters
    ----------
    title : str
    facts : iterable of (str, str)
        Names and values; those with an empty value are omitted.
    grids : iterable of Grid
        Tables; those without rows are omitted.
    """

    title: str
    facts: Iterable[tuple[str, str]] = ()
    grids: Iterable[Grid] = ()

    def __post_init__(self) -> None:
        facts = tuple((name, shortened(text)) for name, text in self.facts if text)
        object.__setattr__(self, "facts", facts)
        object.__setattr__(self, "grids", tuple(grid for grid in self.grids if grid.rows))

    def __str__(self) -> str:
        """All of it as plain text."""

        def row(cells: Iterable[str]) -> list[str]:
            return [" ".join(shortened(cell).split()) for cell in cells]

        lines = row([self.title])
        lines += aligned([row(fact) for fact in self.facts]) if self.facts else []
        for grid in self.grids:
            lines += ["", *row([grid.title]), *aligned([row(cells) for cells in (grid.header, *grid.shown())])]
            lines += [grid.left_out] if grid.left_out else []
        return "\n".join(lines)

    def to_html(self) -> str:
        """Well-formed HTML for notebooks.

        Returns
        -------
        str
        """
        return "".join(self._html())

    def _html(self) -> Iterator[str]:
        yield f'<div class="jettagger"><p><strong>{_escaped(self.title)}</strong></p>'
        if self.facts:
            yield "<table><tbody>"
            for name, text in self.facts:
                yield f'<tr><th scope="row">{_escaped(name)}</th>'
                yield f'<td style="text-align:left">{_escaped(text)}</td></tr>'
            yield "</tbody></table>"
        for grid in self.grids:
            styles = [_RIGHT if right else ' style="text-align:left"' for right in grid.right]
            yield f"<table><caption>{_escaped(grid.title)}</caption><thead><tr>"
            yield from (f"<th{style}>{_escaped(cell)}</th>" for cell, style in zip(grid.header, styles, strict=True))
            yield "</tr></thead><tbody>"
            for row in grid.shown():
                cells = (f"<td{style}>{_escaped(cell)}</td>" for cell, style in zip(row, styles, strict=True))
                yield f"<tr>{''.join(cells)}</tr>"
            if grid.left_out:
                yield f'<tr><td colspan="{len(grid.header)}">{grid.left_out}</td></tr>'
            yield "</tbody></table>"
        yield "</div>"

    def to_rich(self) -> Any:
        """The same for rich.

        Returns
        -------
        rich.console.Group
        """
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        def plain(content: str, style: str = "") -> Text:  # names may hold what rich takes for markup
            return Text(shortened(content), style=style)

        parts: list[Any] = [plain(self.title, "bold")]
        if self.facts:
            facts = Table.grid(padding=(0, 2))
            facts.add_column()
            facts.add_column(overflow="fold")
            for name, content in self.facts:
                facts.add_row(plain(name, "dim"), plain(content))
            parts.append(facts)
        for grid in self.grids:
            table = Table(title=plain(grid.title), title_justify="left", caption=grid.left_out or None)
            for content, right in zip(grid.header, grid.right, strict=True):
                table.add_column(plain(content), justify="right" if right else "left", overflow="fold")
            for row in grid.shown():
                table.add_row(*map(plain, row))
            parts.append(table)
        return Group(*parts)


class Displayed(Brief):
    """Base of objects with a summary in notebooks and in output of rich."""

    __slots__ = ()

    def summary(self) -> ObjectSummary:
        """The summary of the object, for notebooks and rich; by default its fields.

        Returns
        -------
        ObjectSummary
        """
        return _fields_summary(self)

    def _repr_html_(self) -> str:
        return self.summary().to_html()

    def __rich__(self) -> Any:
        return self.summary().to_rich()


def brief_line(item: Any, depth: int = _DEPTH) -> str:
    """An object with its fields in one short line.

    Parameters
    ----------
    item : object
        A dataclass, a named tuple, a model or another object.
    depth : int
        Number of objects and collections inside each other that are shown.

    Returns
    -------
    str
        At most `LONGEST_LINE` characters: fields that are as by default are left out first, then the last ones.

    Examples
    --------
    >>> brief_line(Grid("counts", ["name", "jets"], [["tt", "12"]] * 1000, 1))
    "Grid(title='counts', header=['name', 'jets'], rows=[['tt', '12'], ... (1000)], numbers=1)"
    """
    name = type(item).__name__
    shown = [(key, brief(value, depth=depth), usual) for key, value, usual in _fields(item)]
    parts = [f"{key}={text}" for key, text, _ in shown]
    if len(name) + sum(len(part) + 2 for part in parts) > LONGEST_LINE:
        parts = [f"{key}={text}" for key, text, usual in shown if not usual]
    room = LONGEST_LINE - len(name) - len("(, ...)")
    for number, part in enumerate(parts):
        room -= len(part) + 2
        if room < 0:
            parts = [*parts[:number], "..."]
            break
    return f"{name}({', '.join(parts)})"


def _fields(item: Any) -> Iterator[tuple[str, Any, bool]]:
    """Names and values of the fields of an object, and whether they are as by default."""
    if is_dataclass(item):
        for one in fields(item):
            if one.repr:
                # a frozen one with slots may be incomplete while it is made
                value = getattr(item, one.name, None)
                yield one.name, value, _is_default(value, one)
    elif isinstance(item, tuple):
        yield from ((name, value, False) for name, value in zip(item._fields, item, strict=True))  # type: ignore[attr-defined]
    else:
        kinds = getattr(type(item), "model_fields", {})
        for name, value in getattr(item, "__dict__", {}).items():
            if name in kinds:
                yield name, value, _same(value, kinds[name].get_default(call_default_factory=True))
            elif not name.startswith("_") and (kinds or _is_plain(value)):
                yield name, value, False


def _is_default(value: Any, one: Field[Any]) -> bool:
    if one.default is not MISSING:
        return _same(value, one.default)
    return one.default_factory is not MISSING and isinstance(value, Mapping | Sequence | Set) and not len(value)


def _same(value: Any, default: Any) -> bool:
    """Whether a value is the default; arrays are not compared."""
    if value is default:
        return True
    plain = (bool, int, float, str, tuple, list, dict)
    return type(value) is type(default) and isinstance(value, plain) and repr(value) == repr(default)


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str | PurePath | enum.Enum)


def brief(value: Any, longest: int = _LONGEST_VALUE, depth: int = _DEPTH) -> str:
    """A value in a few words.

    Parameters
    ----------
    value : object
        Of arrays only type and shape are looked at.
    longest : int
        Maximum number of characters, about.
    depth : int
        Number of collections inside each other that are shown.

    Returns
    -------
    str

    Examples
    --------
    >>> brief({"pt": np.zeros((3, 4), np.float32), "names": list("abcdefg")})
    "{'pt': float32[3, 4], 'names': ['a', 'b', 'c', 'd', ... (7)]}"
    >>> brief([1.0, None, "tt"]), brief("x" * 100)
    ("[1.0, None, 'tt']", "'xxxxxxxxxxxx ... (76 characters) ... xxxxxxxxxxxx'")
    """
    if value is None or isinstance(value, bool | int | float | complex | enum.Enum):
        number: Any = value
        return shortened(repr(number.item() if hasattr(number, "dtype") else number), longest)
    if isinstance(value, str):
        return repr(shortened(value, longest))
    if isinstance(value, bytes | bytearray | memoryview):
        return f"{len(value)} bytes"
    if isinstance(value, type):
        return value.__name__
    if isinstance(value, PurePath):
        return repr(shortened(str(value), longest))
    home = type(value).__module__.partition(".")[0]
    if hasattr(type(value), "dtype") and hasattr(type(value), "shape"):
        return _array(value)
    if home == "jettagger" or isinstance(value, Brief):
        return _nested(value, longest, depth)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value).__name__
    if home in ("builtins", "collections", "types"):
        return _collection(value, longest, depth)
    return shortened(getattr(value, "__name__", None) or type(value).__name__, longest)


def _array(value: Any) -> str:
    """Type and shape; of lazy arrays the name of the class."""
    if type(value).__module__.startswith("dask"):
        return type(value).__name__
    try:
        kind, shape = str(value.dtype).rpartition(".")[2], list(value.shape)
    except Exception:  # the shape of some is computed
        return type(value).__name__
    return brief(value.item()) if not shape and type(value).__module__ == "numpy" else f"{kind}{shape}"


def _nested(value: Any, longest: int, depth: int) -> str:
    """An object of the package inside another: in full where it is short, else its class."""
    form: Any = type(value).__repr__
    if depth <= 0 or form in (object.__repr__, tuple.__repr__):
        return f"{type(value).__name__}(...)"
    text = brief_line(value, depth - 1) if form is Brief.__repr__ else repr(value)
    return text if len(text) <= longest and "\n" not in text else f"{type(value).__name__}(...)"


def _collection(value: Any, longest: int, depth: int) -> str:
    if isinstance(value, Mapping):
        marks, number = ("{", "}"), len(value)
        texts: Iterator[str] = (
            f"{brief(key, longest, depth - 1)}: {brief(item, longest, depth - 1)}" for key, item in value.items()
        )
    elif isinstance(value, Sequence | Set) and not isinstance(value, range):
        marks = ("(", ")") if isinstance(value, tuple) else ("{", "}") if isinstance(value, Set) else ("[", "]")
        number = len(value)
        ordered = sorted(value, key=repr) if isinstance(value, Set) and number <= 1000 else value
        texts = (brief(item, longest, depth - 1) for item in ordered)
    else:
        return shortened(getattr(value, "__name__", None) or type(value).__name__, longest)
    if not number:
        return (
            {"{": "{}", "(": "()", "[": "[]"}[marks[0]] if not isinstance(value, Set) else f"{type(value).__name__}()"
        )
    if depth <= 0:
        return f"{marks[0]}... ({number}){marks[1]}"
    shown: list[str] = []
    for text in texts:
        if len(shown) == _ITEMS or (shown and sum(map(len, shown)) + len(text) > 2 * longest):
            break
        shown.append(text)
    more = f", ... ({number})" if len(shown) < number else "," if marks[0] == "(" and number == 1 else ""
    return f"{marks[0]}{', '.join(shown)}{more}{marks[1]}"


def in_full(value: Any) -> str:
    """All of a value as text, for digests and keys: unlike `repr`, nothing is left out.

    Parameters
    ----------
    value : object
        Dataclasses, named tuples, collections and arrays with all their contents, others by `repr`.

    Returns
    -------
    str

    Examples
    --------
    >>> in_full(Grid("a", ["n"], [["1"]] * 2))
    "Grid(title='a', header=['n'], rows=[['1'], ['1']], numbers=0)"
    """
    if is_dataclass(value) and not isinstance(value, type):
        shown = [(one.name, getattr(value, one.name)) for one in fields(value) if one.repr]
        return f"{type(value).__qualname__}({', '.join(f'{name}={in_full(item)}' for name, item in shown)})"
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return f"{type(value).__qualname__}({', '.join(map(in_full, value))})"
    if isinstance(value, list | tuple):
        inside = ", ".join(map(in_full, value))
        return f"[{inside}]" if isinstance(value, list) else f"({inside}{',' if len(value) == 1 else ''})"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{in_full(key)}: {in_full(item)}' for key, item in value.items())}}}"
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return f"{value.dtype}{value.tolist()!r}"
    return repr(value)


def fields_html(item: Any) -> str:
    """The fields of an object as HTML for notebooks, for classes that cannot derive from `Brief`.

    Parameters
    ----------
    item : object
        A dataclass, a named tuple, a model or another object.

    Returns
    -------
    str
    """
    return _fields_summary(item).to_html()


def _fields_summary(item: Any) -> ObjectSummary:
    """Fields as facts, and collections of numbers or of objects as tables."""
    facts: list[tuple[str, str]] = []
    grids: list[Grid] = []
    for name, value, _ in _fields(item):
        grid = _grid(name, value) if len(grids) < _TABLES else None
        if grid is None:
            facts.append((name, value if isinstance(value, str) else brief(value, LONGEST_CELL)))
        else:
            grids.append(grid)
    return ObjectSummary(type(item).__name__, facts, grids)


def _grid(name: str, value: Any) -> Grid | None:
    """A table of a collection with several rows."""
    if isinstance(value, list | tuple) and len(value) > 1 and is_dataclass(value[0]) and not hasattr(value, "_fields"):
        if any(type(row) is not type(value[0]) for row in value[: MAX_ROWS + 1]):
            return None
        header = [one.name for one in fields(value[0]) if one.repr]
        # only rows that are displayed are made
        rows = [[brief(getattr(row, column, None)) for column in header] for row in value[:MAX_ROWS]]
        return Grid(name, header, [*rows, *([[""] * len(header)] * (len(value) - len(rows)))])
    if isinstance(value, dict) and len(value) > _ITEMS:
        rows = [[str(key), brief(entry, LONGEST_CELL)] for key, entry in list(value.items())[:MAX_ROWS]]
        return Grid(name, ["name", "value"], [*rows, *([["", ""]] * (len(value) - len(rows)))])
    return None


def _escaped(text: str) -> str:
    return html.escape(shortened(text))


def __dir__() -> list[str]:
    return sorted(__all__)
