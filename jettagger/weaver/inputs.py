"""From a flat table of jets to the variables of a data configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.display import Brief
from jettagger.errors import InvalidValues, MismatchError, UnknownName
from jettagger.formats import FileOrder
from jettagger.types import Array
from jettagger.weaver.config import TRAINING_FLAG, DataConfig
from jettagger.weaver.expressions import Formula

__all__ = ["Values", "WeaverJets"]


class Values(Brief):
    """The columns of a table and the new variables of a configuration, each evaluated on first access.

    Parameters
    ----------
    config : DataConfig
    columns : mapping of str to array
        One entry per jet: numbers or lists of numbers.

    Examples
    --------
    >>> import awkward as ak
    >>> from jettagger.weaver import read_config
    >>> config = read_config(text='''
    ... new_variables: {part_pt: "np.hypot(part_px, part_py)", part_n: ak.num(part_pt)}
    ... inputs: {pf: {length: 2, vars: [part_pt]}}
    ... ''')
    >>> values = Values(config, {"part_px": ak.Array([[3.0], []]), "part_py": ak.Array([[4.0], []])})
    >>> values["part_pt"].tolist(), values["part_n"].tolist()
    ([[5.0], []], [1, 0])
    """

    def __init__(self, config: DataConfig, columns: Mapping[str, Any]) -> None:
        self.config = config
        self.columns = columns
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        """The array of a name; definitions of the configuration take precedence over columns.

        Raises
        ------
        UnknownName
            If the table does not have the column.
        """
        if name not in self._made:
            formula = self.config.formulas.get(name)
            if formula is not None:
                self._made[name] = formula.evaluate(self.__getitem__)
            elif (stored := self.config.stored(name)) in self.columns:
                self._made[name] = self.columns[stored]
            elif name == TRAINING_FLAG:
                first = self.config.stored(self.config.columns()[0])
                self._made[name] = np.zeros(len(self.columns[first]), dtype=bool)
            else:
                raise UnknownName("column", stored, self.columns, self.config.place(name))
        return self._made[name]

    def passes(self, formula: Formula | None, n_jets: int) -> Array:
        """Mask of jets for which an expression is true; all of them if there is none.

        Parameters
        ----------
        formula : Formula or None
        n_jets : int

        Returns
        -------
        bool[n_jets]

        Raises
        ------
        MismatchError
            If the expression does not have one value per jet.
        """
        import awkward as ak

        if formula is None:
            return np.ones(n_jets, dtype=bool)
        result = formula.evaluate(self.__getitem__)
        if getattr(result, "ndim", 0) == 0:
            return np.full(n_jets, bool(result))
        try:
            flags = ak.to_numpy(ak.fill_none(ak.Array(result), False))
        except (ValueError, TypeError):
            flags = np.empty((0, 0))
        if flags.shape != (n_jets,):
            kind = getattr(result, "type", type(result).__name__)
            raise MismatchError(f"{formula.where}: {formula.text.strip()!r} gives {kind}, expected one value per jet")
        return flags.astype(bool)

    def truth(self) -> dict[str, Array]:
        """The training targets.

        Returns
        -------
        dict of str to array
            Custom labels by name; simple ones as ``label``, the index of the class.

        Raises
        ------
        InvalidValues
            If a jet belongs to none or to several of the simple classes.
        """
        import awkward as ak

        labels = self.config.labels
        if labels is None:
            return {}
        if labels.type == "custom":
            return {name: ak.to_numpy(self[name]) for name in labels.names}
        if labels.index is not None:
            return {"label": ak.to_numpy(self[labels.index])}
        table = np.stack([ak.to_numpy(self[name]) for name in labels.names], axis=1)
        bad = np.flatnonzero(table.sum(axis=1) != 1)
        if len(bad):
            text = f"{len(bad)} of {len(table)} jets belong to none or to several of the classes (first: jet {bad[0]})"
            raise InvalidValues(f"{self.config.where}: {text}")
        return {"label": np.argmax(table, axis=1)}


class WeaverJets(Brief):
    """Jets of a flat table in the form needed for batching: lengths and flat columns of the configuration's variables.

    Parameters
    ----------
    values : Values
    n_jets : int
    """

    def __init__(self, values: Values, n_jets: int) -> None:
        self.values = values
        self._size = n_jets
        self._counts: dict[str, tuple[str, Array]] = {}
        self._flat: dict[str, tuple[Array, Array]] = {}
        self._first = {group.name: group.variables[0].name for group in values.config.inputs}
        groups = [group for group in values.config.inputs if group.length is None]
        self._numbers = {variable.name for group in groups for variable in group.variables}

    def __len__(self) -> int:
        return self._size

    def counts(self, object_: str) -> Array:
        """Number of entries of each jet in a group, int64[jets]; 1 for jet-level variables."""
        return self._split(self._first[object_])[0]

    def column(self, object_: str, name: str) -> Array:
        """The values of a variable, float32, jet after jet.

        Raises
        ------
        MismatchError
            If its number of entries per jet differs from that of the other variables of the group.
        """
        counts, flat = self._split(name)
        expected = self.counts(object_)
        different = np.flatnonzero(counts != expected)
        if len(different):
            jet = int(different[0])
            raise MismatchError(
                f"{self.values.config.place(name)}: {name!r} has {counts[jet]} entries in jet {jet} where "
                f"{self._first[object_]!r} has {expected[jet]} ({len(different)} of {len(counts)} jets differ): the "
                f"variables of {object_!r} must have the same lengths"
            )
        return flat

    def file_order(self, object_: str) -> FileOrder:
        """Where the entries of a group are listed in the file.

        Parameters
        ----------
        object_ : str
            A group of the configuration.

        Returns
        -------
        FileOrder
            The entries in the order of the lists of the table; for events, of the rows that link candidates to jets.

        Raises
        ------
        MismatchError
            If the configuration makes lists of another length than the candidates of the events.
        """
        counts = self.counts(object_)
        starts = np.cumsum(counts) - counts
        order = FileOrder(np.arange(counts.sum()) - np.repeat(starts, counts), counts)
        linked = getattr(self.values.columns, "file_order", None)
        if linked is None or self._first[object_] in self._numbers:
            return order
        found: FileOrder = linked()
        if len(found.rank) != len(order.rank):
            place = self.values.config.place(self._first[object_])
            raise MismatchError(
                f"{place}: the group {object_!r} has {len(order.rank)} entries for {len(found.rank)} candidates: "
                "its entries cannot be assigned to them"
            )
        return found

    def _split(self, name: str) -> tuple[Array, Array]:
        import awkward as ak

        if name in self._flat:
            return self._flat[name]
        array = ak.Array(self.values[name])
        if "?" in str(array.type) or "option" in str(array.type):
            array = ak.fill_none(ak.fill_none(array, [], axis=0) if array.ndim > 1 else array, np.nan, axis=-1)
        if array.ndim == 1 and not array.fields:
            counts, flat = np.ones(len(array), dtype=np.int64), ak.to_numpy(array)
            # weaver makes infinities finite here (and leaves them in lists): in single precision where it pads
            flat = np.nan_to_num(flat if name in self._numbers else flat.astype(np.float32), nan=np.nan)
            with np.errstate(over="ignore"):
                flat = flat.astype(np.float32)
        elif array.ndim == 2 and not array.fields and name not in self._numbers:
            counts = ak.to_numpy(ak.num(array, axis=1)).astype(np.int64)
            flat = ak.to_numpy(ak.flatten(array, axis=1)).astype(np.float32)
        else:
            counts, flat = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
        if len(counts) != self._size:
            expected = (
                "one number per jet (length: null)"
                if name in self._numbers
                else "a number or a list of numbers per jet"
            )
            place = self.values.config.place(name)
            raise MismatchError(f"{place}: {name!r} is {array.type}, expected {expected}")
        self._flat[name] = counts, flat
        return self._flat[name]


guard(globals())
