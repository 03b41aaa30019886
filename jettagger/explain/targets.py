"""Numbers of a jet that are explained: scores, logits, masses, hidden neurons, discriminants, outputs of heads.

A target takes the outputs of a network, as tensors of torch or arrays of NumPy, and gives one number per jet. Sums and
ratios are taken in double precision.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.discriminants import Discriminant
from jettagger.discriminants.columns import Resolved
from jettagger.display import Brief
from jettagger.errors import MismatchError
from jettagger.explain.evaluation import Evaluation, floored_log, in_double_precision
from jettagger.explain.gradients import COLUMNS
from jettagger.heads import Head
from jettagger.heads.folds import EVENT, fold_of
from jettagger.types import Array

__all__ = ["DiscriminantTarget", "HeadTarget", "JetTarget", "LogOdds", "OutputTarget"]

#: smallest probability whose logarithm is taken: the smallest normal number of single precision
SMALLEST = 2.0**-126


@dataclass(frozen=True)
class OutputTarget(Brief):
    """One output of a network: a score, a mass, a logit, a hidden neuron.

    Parameters
    ----------
    name : str
    index : int
        Its position among all output columns.
    unit : str
        ``GeV`` of masses; else ``1``.
    """

    name: str
    index: int
    unit: str = "1"
    needs = (COLUMNS,)
    columns: tuple[str, ...] = field(default=(), init=False, repr=False)

    def __call__(self, outputs: Mapping[str, Any]) -> Any:
        """One number per jet, float[n]; ``outputs`` has float[n, columns] as `COLUMNS`."""
        return outputs[COLUMNS][:, self.index]

    def for_jets(self, get: Callable[[str], Array]) -> OutputTarget:
        """The same: nothing else of a jet is needed."""
        return self


@dataclass(frozen=True)
class LogOdds(Brief):
    """The logit of a score, ``log(p / (1 - p))``.

    Parameters
    ----------
    name : str
    index : int
        Position of the score among all output columns.
    others : tuple of int
        Positions of the other scores if they all add up to one: their sum replaces ``1 - p``, which would lose its
        digits where the score is close to 1. Empty: they do not.

    Notes
    -----
    Unlike the input of the softmax it does not change with a number that is added to all of these inputs.
    """

    name: str
    index: int
    others: tuple[int, ...] = ()
    unit: str = "1"
    needs = (COLUMNS,)
    columns: tuple[str, ...] = field(default=(), init=False, repr=False)

    def __call__(self, outputs: Mapping[str, Any]) -> Any:
        """One number per jet, float64[n]; probabilities below 2**-126 count as this number."""
        columns = in_double_precision(outputs[COLUMNS])
        score = columns[:, self.index]
        other = columns[:, list(self.others)].sum(1) if self.others else 1 - score
        return floored_log(score, SMALLEST) - floored_log(other, SMALLEST)

    def for_jets(self, get: Callable[[str], Array]) -> LogOdds:
        """The same: nothing else of a jet is needed."""
        return self


@dataclass(frozen=True)
class DiscriminantTarget(Brief):
    """A discriminant of the scores of a network.

    Parameters
    ----------
    name : str
    discriminant : Discriminant
    found : Resolved
        Its expression with the names of the scores.
    index : mapping of str to int
        Score -> position among all output columns.
    """

    name: str
    discriminant: Discriminant
    found: Resolved
    index: Mapping[str, int]
    unit: str = "1"
    needs = (COLUMNS,)
    columns: tuple[str, ...] = field(default=(), init=False, repr=False)

    def __call__(self, outputs: Mapping[str, Any]) -> Any:
        """One number per jet, float64[n]."""
        columns = in_double_precision(outputs[COLUMNS])
        scores = {name: columns[:, index] for name, index in self.index.items()}
        return Evaluation(self.discriminant, self.found, scores).value(self.found.expression)

    def for_jets(self, get: Callable[[str], Array]) -> DiscriminantTarget:
        """The same: nothing else of a jet is needed."""
        return self


@dataclass(frozen=True)
class HeadTarget(Brief):
    """An output of a head behind the network.

    Parameters
    ----------
    name : str
    head : Head
    output : int
        Position among the outputs of the head.
    index : mapping of str to int
        Input of the head that the network gives -> position among all output columns.
    given : mapping of str to float[n]
        The other inputs of the head, which are constant: one value per jet, see `for_jets`.
    """

    name: str
    head: Head
    output: int
    index: Mapping[str, int]
    unit: str = "1"
    given: Mapping[str, Array] = field(default_factory=dict, repr=False, compare=False)
    needs = (COLUMNS,)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the jets that the head needs besides the outputs of the network, by their names in a skim."""
        names = [name for name in self.head.inputs if name not in self.index]
        return (*names, *([EVENT] if self.head.card.folds > 1 else []))

    def for_jets(self, get: Callable[[str], Array]) -> HeadTarget:
        """The target for some jets.

        Parameters
        ----------
        get : callable
            Name of a column in a skim -> its values, one per jet.

        Returns
        -------
        HeadTarget
        """
        return replace(self, given={name: np.asarray(get(name)) for name in self.columns})

    def __call__(self, outputs: Mapping[str, Any]) -> Any:
        """The output of the head.

        Parameters
        ----------
        outputs : mapping of str to float[n, columns]
            The output columns of the network as `COLUMNS`.

        Returns
        -------
        float32[n]
            NaN where an input of the head is not finite.

        Raises
        ------
        MismatchError
            If columns of the jets are missing or of other jets, or if a head of boosted trees gets tensors of torch.
        """
        columns = outputs[COLUMNS]
        n_jets, n_given = len(columns), {len(values) for values in self.given.values()}
        if n_given - {n_jets}:
            raise MismatchError(f"{self.name}: columns of {max(n_given)} jets are given for {n_jets} jets")
        lacking = [name for name in self.head.inputs if name not in {*self.index, *self.given}]
        if lacking:
            raise MismatchError(f"{self.name}: the head needs {', '.join(lacking)} of the jets, see for_jets")
        folds = self.head.card.folds
        fold = fold_of(self.given[EVENT], folds) if folds > 1 else np.zeros(n_jets, dtype=np.int64)
        if isinstance(columns, np.ndarray):
            inputs = [columns[:, self.index[n]] if n in self.index else self.given[n] for n in self.head.inputs]
            return self.head.compute_folds(np.stack(inputs, axis=1).astype(np.float32), fold)[:, self.output]
        if self.head.card.model == "bdt":
            raise MismatchError(
                f"{self.name}: the head is made of boosted trees, which have no gradient; use the method occlusion"
            )
        import torch

        from jettagger.explain.graph import TorchGraph
        from jettagger.heads.export import COLUMNS as HEAD_INPUT

        def column(name: str) -> Any:
            if name in self.index:
                return columns[:, self.index[name]]
            return torch.as_tensor(np.asarray(self.given[name], dtype=np.float32), device=columns.device)

        stacked = torch.stack([column(name).to(torch.float32) for name in self.head.inputs], dim=1)
        found = TorchGraph(self.head.graph.path).run({HEAD_INPUT: stacked}, [f"fold{n}" for n in range(folds)])
        every = torch.stack([found[f"fold{number}"] for number in range(folds)])
        return every[torch.as_tensor(fold, device=columns.device), torch.arange(n_jets), self.output]


#: any of these
JetTarget = OutputTarget | LogOdds | DiscriminantTarget | HeadTarget


guard(globals())
