"""Scores and mass from stored hidden neurons: temperature, priors, sums of classes; without running the network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from jettagger.arguments import guard, is_number
from jettagger.bundles.bundle import Bundle
from jettagger.display import Brief
from jettagger.errors import BundleError, ConfigError, UnknownName
from jettagger.heads.output_layers import Tail, cut_tail, softmax_groups
from jettagger.inference.network import softmax
from jettagger.inputs.jet_table import JetTable
from jettagger.types import Array, Floats

__all__ = ["Rescorer"]


class Rescorer(Brief):
    """Computes a tagger's scores and mass from its hidden neurons.

    With the defaults these are the tagger's own outputs (within 1e-5). Modifications of the probabilities after the
    network's softmax are applied in this order: the temperature, ``p**(1/T)`` normalised, which for a softmax is
    ``softmax(logits / T)``; the priors, ``p * w`` normalised; the sums of classes.

    Parameters
    ----------
    bundle : Bundle
        With weights; the model of the neurons.
    temperature : float
        Above 1 the probabilities are softened, below 1 sharpened.
    priors : mapping of str to float, optional
        Name or pattern (``"probQCD*"``) of probabilities -> frequency of the class relative to the training; default 1.
    groups : mapping of str to sequence of str, optional
        New name -> names and patterns of the probabilities to be summed. Probabilities in no group are kept.

    Raises
    ------
    BundleError
        If scores cannot be computed from the neurons of this model; says why.
    MissingModelFile
        If the bundle has no weights.
    ConfigError
        If the temperature or a prior is not a positive number, or if a group's name is taken.
    UnknownName
        If a pattern matches no probability; gives the nearest names.

    Examples
    --------
    >>> from jettagger.bundles.registry import load_bundle
    >>> rescorer = Rescorer(load_bundle("tinyParT"), groups={"probQCD": ["probQCD*"]})
    >>> scores = rescorer.compute(np.zeros((2, 128)))
    >>> scores.shape, rescorer.outputs[-2:]
    ((2, 34), ('probQCD', 'mass'))
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        temperature: float = 1.0,
        priors: Mapping[str, float] | None = None,
        groups: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.bundle = bundle
        self._options = {"temperature": temperature, "priors": priors, "groups": groups}
        self.tail: Tail = cut_tail(bundle)
        self.temperature = _positive(temperature, "the temperature")
        self._normed = softmax_groups(self.tail)
        probabilities = [name for name in self.tail.outputs if name in self._normed]
        changed = temperature != 1 or bool(priors) or bool(groups)
        if changed and not probabilities:
            raise ConfigError(f"{bundle.name!r} has no softmax over its outputs, so there is nothing to rescale")
        self._factors = np.ones(len(self.tail.outputs))
        for pattern, factor in (priors or {}).items():
            for name in _matching(pattern, probabilities, bundle.name):
                self._factors[self.tail.outputs.index(name)] *= _positive(factor, f"the prior of {pattern!r}")
        self._plain = temperature == 1 and not priors
        self._groups = {
            name: [self.tail.outputs.index(item) for item in self._members(name, patterns, probabilities)]
            for name, patterns in (groups or {}).items()
        }
        joined = [index for members in self._groups.values() for index in members]
        if len(joined) != len(set(joined)):
            twice = sorted({self.tail.outputs[index] for index in joined if joined.count(index) > 1})
            raise ConfigError(f"groups overlap: {', '.join(twice)} would be counted twice")
        self._kept = [index for index in range(len(self.tail.outputs)) if index not in set(joined)]
        probs = [self.tail.outputs[index] for index in self._kept if self.tail.outputs[index] in self._normed]
        others = [self.tail.outputs[index] for index in self._kept if self.tail.outputs[index] not in self._normed]
        #: names of the output columns: probabilities, sums of them, then the others such as the mass
        self.outputs: tuple[str, ...] = (*probs, *self._groups, *others)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_restore, (str(self.bundle.folder), self.bundle.digest, self._options))

    def __repr__(self) -> str:
        return f"Rescorer({self.bundle.name!r}, {self.method}, {len(self.outputs)} outputs)"

    @property
    def method(self) -> str:
        """``linear`` if W and b were found in the graph, ``graph`` if its last part is run."""
        return self.tail.method

    def _members(self, name: str, patterns: Sequence[str], known: Sequence[str]) -> list[str]:
        if not name.isidentifier():
            raise ConfigError(f"the name of a group must be letters, digits and _, got {name!r}")
        items = [patterns] if isinstance(patterns, str) else list(patterns)
        members = list(dict.fromkeys(item for pattern in items for item in _matching(pattern, known, self.bundle.name)))
        if not members:
            raise ConfigError(f"the group {name!r} has no outputs, expected at least one name or pattern")
        if name in self.tail.outputs and name not in members:
            raise ConfigError(f"the group {name!r} has the name of an output that is not in it")
        return members

    def compute(self, hidden: Any) -> Array:
        """The output columns of all jets.

        Parameters
        ----------
        hidden : float[jets, neurons]
            In the order of the model's outputs.

        Returns
        -------
        float32[jets, outputs]
            Probabilities (dimensionless), masses in GeV; NaN if a neuron is NaN.

        Raises
        ------
        MismatchError
            If the number of neurons is wrong.
        """
        hidden = np.asarray(hidden)
        values = self.tail(hidden) if len(hidden) else np.empty((0, len(self.tail.outputs)))
        if not self._plain:
            for members in dict.fromkeys(self._normed.values()):
                columns = [self.tail.outputs.index(name) for name in members]
                values[:, columns] = self._reweighted(hidden, values, columns)
        table = {name: values[:, column] for column, name in enumerate(self.tail.outputs)}
        for name, columns in self._groups.items():
            table[name] = values[:, columns].sum(axis=1)
        return np.stack([table[name] for name in self.outputs], axis=1).astype(np.float32)

    def _reweighted(self, hidden: Any, values: Floats, columns: list[int]) -> Floats:
        """Computed with logarithms to avoid underflow if the logits are known."""
        span = (columns[0], columns[-1] + 1)
        with np.errstate(divide="ignore"):
            if self.tail.layer is not None and span in self.tail.layer.softmaxes and len(hidden):
                logits = self.tail.layer.logits(hidden)[:, columns]
            else:
                logits = np.log(values[:, columns])
            return softmax(logits / self.temperature + np.log(self._factors[columns]))

    def __call__(self, events: Any, prefix: str | None = None, collection: str = "FatJet") -> Any:
        """The output columns for jets whose hidden neurons are stored.

        Parameters
        ----------
        events : awkward array
            Tagged events, or a skim with flat columns.
        prefix : str, optional
            Prefix of the neurons' columns; default: that of the bundle.
        collection : str

        Returns
        -------
        awkward array
            ``events * var * ?{output: float32}``; None if a neuron is missing.

        Raises
        ------
        MissingColumns
            If the neurons are not stored; lists them.
        """
        prefix = self.bundle.prefix if prefix is None else prefix
        table = JetTable(events, prefix, collection)
        table.require(self.tail.hidden, f"scores of {self.bundle.name!r} from hidden neurons")
        hidden = np.stack([table.values(name) for name in self.tail.hidden], axis=1)
        present = np.isfinite(hidden).all(axis=1)
        values = np.zeros((len(hidden), len(self.outputs)), dtype=np.float32)
        values[present] = self.compute(hidden[present])
        return table.records({name: values[:, column] for column, name in enumerate(self.outputs)}, present)


def _restore(folder: str, digest: str, options: dict[str, Any]) -> Rescorer:
    bundle = Bundle.from_folder(folder)
    if bundle.digest != digest:
        raise BundleError(f"the bundle in {folder} is not the one that was sent: its content has changed")
    return Rescorer(bundle, **options)


def _positive(value: float, what: str) -> float:
    if not is_number(value) or not (math.isfinite(value) and value > 0):
        raise ConfigError(f"{what} must be a positive number, got {value!r}")
    return float(value)


def _matching(pattern: str, names: Sequence[str], model: str) -> list[str]:
    found = [name for name in names if fnmatchcase(name, pattern)]
    if not found:
        raise UnknownName("probability", pattern, names, f"model {model!r}")
    return found


guard(globals())
