"""One correction of a file of correctionlib: its inputs, the keys of its tree, values inside and outside of its bins.

The numbers are those of correctionlib. The tree itself is only followed to know which values lie outside of its bins,
and between which edges they would lie inside.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from jettagger.arguments import guard
from jettagger.errors import ConfigError, InputFileError, InvalidValues, UnknownName, reason_of
from jettagger.files.corrections import CorrectionText, read_correction_text
from jettagger.types import Bools, Floats, Ints

__all__ = ["OUTSIDE", "CorrectionTable"]

#: what happens to values outside of the bins for which the file has no number
OUTSIDE = ("refuse", "clamp", "one")

#: maximum number of keys that a message names
MOST_NAMED = 20


@dataclass(frozen=True)
class _Misfit:
    """Values for which a node has no number.

    Attributes
    ----------
    rows : int[n]
    input : str
    text : str
        Where they would have one.
    """

    rows: Ints
    input: str
    text: str


class CorrectionTable(CorrectionText):
    """One correction of a file of correctionlib, as a value: its pickle is the JSON text.

    Parameters
    ----------
    text : str
        The JSON.
    name : str
        Its name in messages, e.g. that of the file.
    correction : str, optional
        Its name in the file; default: the only one.

    Attributes
    ----------
    correction : str
    inputs : dict of str to str
        Input -> ``string``, ``int`` or ``real``, in the order of the correction.

    Raises
    ------
    InputFileError
        If the text is not a set of corrections of schema version 2, or correctionlib refuses it.
    UnknownName
        If the correction does not exist.
    ConfigError
        If there are several and none is chosen.

    Examples
    --------
    >>> from correctionlib import schemav2
    >>> pt = {"nodetype": "binning", "input": "pt", "edges": [20, 40, 60], "content": [0.9, 1.1], "flow": "error"}
    >>> made = {"name": "id", "version": 1, "inputs": [{"name": "pt", "type": "real"}], "data": pt}
    >>> made["output"] = {"name": "factor", "type": "real"}
    >>> content = schemav2.CorrectionSet(schema_version=2, corrections=[made])
    >>> table = CorrectionTable(content.model_dump_json(exclude_unset=True))
    >>> factors, outside = table.evaluate({"pt": np.array([25.0, 50.0, 80.0])}, 3, "clamp")
    >>> factors.tolist(), outside.tolist()
    ([0.9, 1.1, 1.1], [False, False, True])
    """

    title: ClassVar[str] = "corrections"

    def __init__(self, text: str, name: str = "", correction: str | None = None) -> None:
        super().__init__(text, name)
        content = self._parsed()
        listed = content.get("corrections")
        if content.get("schema_version") != 2 or not isinstance(listed, list):
            raise InputFileError(
                f"{self._name}: not a correctionlib file of schema version 2: found schema_version "
                f"{content.get('schema_version')!r} and the keys {', '.join(map(str, content))}"
            )
        _ = self.corrections
        names = [str(item["name"]) for item in listed]
        if correction is None and len(names) != 1:
            more = ", ..." if len(names) > MOST_NAMED else ""
            raise ConfigError(
                f"{self._name} has {len(names)} corrections, choose one as 'correction': "
                f"{', '.join(names[:MOST_NAMED])}{more}"
            )
        self.correction = names[0] if correction is None else correction
        if self.correction not in names:
            raise UnknownName("correction", self.correction, names, self._name)
        self._content: dict[str, Any] = listed[names.index(self.correction)]
        self.inputs = {str(item["name"]): str(item["type"]) for item in self._content["inputs"]}

    def _arguments(self) -> tuple[Any, ...]:
        return (self.correction,)

    @property
    def name(self) -> str:
        """Its name in messages: that of the file."""
        return self._name

    def __repr__(self) -> str:
        return f"<CorrectionTable {self.correction}: {', '.join(self.inputs)}>"

    @classmethod
    def load(cls, path: str | os.PathLike[str], correction: str | None = None) -> CorrectionTable:
        """Read a file, whoever wrote it; it is validated by correctionlib.

        Parameters
        ----------
        path : path
            JSON, may be compressed with gzip.
        correction : str, optional
            Its name in the file; default: the only one.

        Returns
        -------
        CorrectionTable
            Of this correction alone: others of the file need not be sent to workers.

        Raises
        ------
        InputFileError, UnknownName, ConfigError
            As for the class.
        """
        text, name = read_correction_text(path), os.fspath(path)
        made = cls(text, name, correction)
        content = made._parsed()
        if len(content["corrections"]) == 1:
            return made
        return cls(json.dumps({"schema_version": 2, "corrections": [made._content]}), name)

    # ---------------------------------------------------------------------------------------- keys

    def keys(self, name: str) -> tuple[str, ...] | None:
        """The values that an input of type ``string`` may have.

        Parameters
        ----------
        name : str
            Of the input.

        Returns
        -------
        tuple of str or None
            None if any value has a number.
        """
        return self._keys.get(name)

    @cached_property
    def _keys(self) -> dict[str, tuple[str, ...]]:
        found: dict[str, dict[str, None]] = {}
        free: set[str] = set()

        def follow(node: Any) -> None:
            if not isinstance(node, Mapping):
                return
            kind = node.get("nodetype")
            if kind == "category" and self.inputs.get(node["input"]) == "string":
                if node.get("default") is not None:
                    free.add(node["input"])
                found.setdefault(node["input"], {}).update((str(item["key"]), None) for item in node["content"])
            for inner in _inner(node):
                follow(inner)

        follow(self._content["data"])
        return {name: tuple(keys) for name, keys in found.items() if name not in free}

    def check_key(self, name: str, value: str) -> None:
        """Refuse a value of an input of type ``string`` that the file does not have.

        Parameters
        ----------
        name : str
            Of the input.
        value : str

        Raises
        ------
        UnknownName
            With the nearest of the file.
        """
        keys = self.keys(name)
        if keys is not None and value not in keys:
            raise UnknownName(f"value of the input {name!r}", value, keys, f"{self.correction} ({self._name})")

    # ---------------------------------------------------------------------------------------- numbers

    def evaluate(
        self, values: Mapping[str, Any], size: int, outside: str = "refuse", rows: Sequence[Any] | None = None
    ) -> tuple[Floats, Bools]:
        """The numbers of the correction.

        Parameters
        ----------
        values : mapping of str to (str or float array)
            All inputs: text for those of type ``string``; integers for those of type ``int``.
        size : int
            Length of the arrays.
        outside : {"refuse", "clamp", "one"}
            Where the file has no number: an error, the number at the nearest edge of the bins, or 1.
        rows : sequence, optional
            What to call each entry in messages, e.g. event numbers.

        Returns
        -------
        numbers : float64[size]
        outside : bool[size]
            Values for which the file has no number.

        Raises
        ------
        InvalidValues
            If the file has no number, with ``refuse``; if a value is NaN, or has no nearest edge.
        """
        arrays = {name: value if isinstance(value, str) else np.array(value) for name, value in values.items()}
        mask = np.zeros(size, dtype=bool)
        for name, value in arrays.items():
            if not isinstance(value, str) and np.isnan(value).any():
                first = int(np.flatnonzero(np.isnan(value))[0])
                raise InvalidValues(f"{self._place(values)}: {name} is NaN{_of(rows, first)}")
        for misfit in self._misfits(self._content["data"], arrays, np.arange(size), outside == "clamp"):
            mask[misfit.rows] = True
            if outside == "refuse" or (outside == "clamp" and not misfit.text.startswith(_BETWEEN)):
                row = int(misfit.rows[0])
                found = arrays[misfit.input]
                number = found if isinstance(found, str) else f"{found[row]:g}"
                hints = {"refuse": "; 'outside: clamp' takes the nearest bin, 'outside: one' a factor of 1"}
                raise InvalidValues(
                    f"{self._place(values)}: {misfit.input} is {number}{_of(rows, row)}, {misfit.text}; "
                    f"{len(misfit.rows)} of {size} are outside{hints.get(outside, '')}"
                )
        numbers = np.ones(size)
        inside = ~mask if outside == "one" else np.ones(size, dtype=bool)
        given = [value if isinstance(value, str) else value[inside] for value in (arrays[name] for name in self.inputs)]
        try:
            if inside.any():
                numbers[inside] = self.corrections[self.correction].evaluate(*given)
        except (RuntimeError, IndexError, ValueError) as error:
            raise InvalidValues(f"{self._place(values)}: correctionlib has no number: {reason_of(error)}") from error
        return numbers, mask

    def _place(self, values: Mapping[str, Any]) -> str:
        words = [f"{name} {value!r}" for name, value in values.items() if isinstance(value, str)]
        return f"{self._name}, correction {self.correction!r}{''.join(f', {word}' for word in words)}"

    def _misfits(self, node: Any, values: dict[str, Any], rows: Ints, clamp: bool) -> Iterator[_Misfit]:
        """Values without a number; with ``clamp`` they are moved to the nearest edge, in place."""
        if not isinstance(node, Mapping) or not len(rows):
            return
        kind = node["nodetype"]
        if kind == "category":
            yield from self._of_category(node, values, rows, clamp)
        elif kind in ("binning", "multibinning"):
            yield from self._of_bins(node, values, rows, clamp)
        elif kind == "transform":
            inner = dict(values)
            made = self._rule(node["rule"], values, rows)
            whole = np.array(inner[node["input"]], dtype=np.float64)
            whole[rows] = made
            inner[node["input"]] = whole
            for misfit in self._misfits(node["content"], inner, rows, clamp):
                yield _Misfit(misfit.rows, misfit.input, f"{misfit.text} (after a transformation)")

    def _of_category(
        self, node: Mapping[str, Any], values: dict[str, Any], rows: Ints, clamp: bool
    ) -> Iterator[_Misfit]:
        content = {item["key"]: item["value"] for item in node["content"]}
        value, default = values[node["input"]], node.get("default")
        if isinstance(value, str):
            if value not in content and default is None:
                yield _Misfit(rows, node["input"], f"expected one of {', '.join(map(str, content))}")
            yield from self._misfits(content.get(value, default), values, rows, clamp)
            return
        numbers = value[rows]
        for key in np.unique(numbers):
            chosen = rows[numbers == key]
            if int(key) not in content and default is None:
                yield _Misfit(chosen, node["input"], f"expected one of {', '.join(map(str, content))}")
            yield from self._misfits(content.get(int(key), default), values, chosen, clamp)

    def _of_bins(self, node: Mapping[str, Any], values: dict[str, Any], rows: Ints, clamp: bool) -> Iterator[_Misfit]:
        several = node["nodetype"] == "multibinning"
        names = node["inputs"] if several else [node["input"]]
        edges = [_edges(item) for item in (node["edges"] if several else [node["edges"]])]
        flow, content = node["flow"], node["content"]
        beyond = np.zeros(len(rows), dtype=bool)
        for name, edge in zip(names, edges, strict=True):
            numbers = np.asarray(values[name], dtype=np.float64)[rows]
            strange = (numbers < edge[0]) | (numbers >= edge[-1])
            if strange.any() and flow == "error":
                yield _Misfit(rows[strange & ~beyond], name, f"{_BETWEEN} {edge[0]:g} and below {edge[-1]:g}")
                if clamp:
                    values[name] = np.asarray(values[name], dtype=np.float64)
                    values[name][rows] = np.clip(numbers, edge[0], np.nextafter(edge[-1], edge[0]))
                    strange[:] = False
            beyond |= strange
        if flow not in ("error", "clamp", "wrap"):
            yield from self._misfits(flow, values, rows[beyond], clamp)
        inside = rows if flow in ("clamp", "wrap") else rows[~beyond]
        if not any(isinstance(item, Mapping) for item in content):
            return
        index = np.zeros(len(inside), dtype=int)
        for name, edge in zip(names, edges, strict=True):
            position = np.searchsorted(edge, np.asarray(values[name], dtype=np.float64)[inside], side="right") - 1
            size = len(edge) - 1
            index = index * size + (position % size if flow == "wrap" else np.clip(position, 0, size - 1))
        for number in np.unique(index):
            yield from self._misfits(content[int(number)], values, inside[index == number], clamp)

    def _rule(self, rule: Any, values: Mapping[str, Any], rows: Ints) -> Floats:
        """The values of a rule of a transformation."""
        import correctionlib

        made = {**self._content, "name": "rule", "data": rule}
        text = json.dumps({"schema_version": 2, "corrections": [made]})
        evaluator = correctionlib.CorrectionSet.from_string(text)["rule"]
        given = (values[name] if isinstance(values[name], str) else values[name][rows] for name in self.inputs)
        return np.asarray(evaluator.evaluate(*given), dtype=np.float64)


#: how messages on bins begin: values outside of them have a nearest edge
_BETWEEN = "expected at least"


def _inner(node: Mapping[str, Any]) -> Iterator[Any]:
    content = node.get("content")
    if node.get("nodetype") == "category":
        yield from (item["value"] for item in node["content"])
        yield node.get("default")
    elif isinstance(content, Mapping):
        yield content
    elif isinstance(content, list):
        yield from content
    yield node.get("flow")
    yield node.get("rule")


def _edges(edges: Any) -> Floats:
    if isinstance(edges, Mapping):
        return np.linspace(float(edges["low"]), float(edges["high"]), int(edges["n"]) + 1)
    return np.array([float(edge) for edge in edges])  # also "inf"


def _of(rows: Sequence[Any] | None, row: int) -> str:
    return "" if rows is None else f" for event {rows[row]}"


guard(globals(), "CorrectionTable")
