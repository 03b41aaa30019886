"""Scale factors of a tagger as weights of a search, beside weights that are expressions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.calibration.weights import EventTagWeights, TagCount, TagWeights
from jettagger.decorrelation.mapfile import as_discriminant
from jettagger.discriminants import DerivedColumn, Discriminant
from jettagger.display import Brief
from jettagger.errors import ConfigError, JettaggerError, MismatchError, UnknownName
from jettagger.expressions import Expression, parse
from jettagger.types import Floats

__all__ = ["NO_CATEGORY", "TagFactor", "tag_notes"]

#: name of the category of jets that meet none of the conditions
NO_CATEGORY = "none of the categories"


#: names of the candidates
CANDIDATES = ("jet1", "jet2")


@dataclass(frozen=True)
class TagFactor(Brief):
    """A correction of simulation by scale factors of a tagger, with a variation for each source of uncertainty.

    The weight of an event is the product of the factors of its candidates; see `jettagger.calibration.TagWeights`.

    Parameters
    ----------
    weights : TagWeights
        Scale factors with efficiencies.
    discriminant : str
        The discriminant or column of the jets on which the thresholds are.
    jets : sequence of str
        The candidates; default: all.
    category : str or Expression, optional
        Expression in columns of the jets with the category as an integer, e.g. ``hadronFlavour``.
    categories : mapping of str to (str or Expression), optional
        Category of the scale factors -> condition in columns of the jets; the first that a jet meets counts.
    samples : mapping of str to str, optional
        Data set -> sample of the efficiencies; default: that of the same name, or the sum of all.

    Raises
    ------
    ConfigError
        If it cannot be known to which category a jet belongs.
    UnknownName
        If the scale factors lack a category, or a candidate does not exist.
    """

    weights: TagWeights
    discriminant: str
    jets: Sequence[str] = ()
    category: str | Expression | None = None
    categories: Mapping[str, Any] = field(default_factory=dict)
    samples: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = self.weights.factors.categories
        if self.category is not None and self.categories:
            raise ConfigError("give either category or categories")
        if self.category is None and not self.categories and len(known) > 1:
            raise ConfigError(
                f"the scale factors depend on the category of a jet ({', '.join(known)}): give category, an "
                "expression, or categories, conditions in columns of the jets"
            )
        if self.category is not None and not all(re.fullmatch(r"\d+", name) for name in known):
            raise ConfigError(
                f"category gives integers, but the scale factors have the categories {', '.join(known)}: give "
                "categories, conditions in columns of the jets"
            )
        strange = [jet for jet in self.jets if jet not in CANDIDATES]
        if strange:
            raise UnknownName("candidate", strange, CANDIDATES)
        unknown = [name for name in self.categories if name not in known]
        if unknown:
            raise UnknownName("category", unknown, known, f"scale factors {self.weights.factors.name!r}")

        def read(text: Any) -> Expression:
            return text if isinstance(text, Expression) else parse(text, "category of scale factors")

        object.__setattr__(self, "jets", tuple(self.jets))
        object.__setattr__(self, "samples", dict(self.samples))
        object.__setattr__(self, "categories", {name: read(text) for name, text in self.categories.items()})
        object.__setattr__(self, "category", None if self.category is None else read(self.category))

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources of uncertainty."""
        return self.weights.sources

    def names(self, name: str) -> tuple[str, ...]:
        """The names of its variations in a search, without ``Up`` and ``Down``.

        Parameters
        ----------
        name : str
            Of the weight.

        Returns
        -------
        tuple of str
        """
        return tuple(f"{name}_{source}" for source in self.sources)

    def candidates(self, n_jets: int) -> tuple[str, ...]:
        """The candidates that it applies to.

        Parameters
        ----------
        n_jets : int
            Number of candidates of the search.

        Returns
        -------
        tuple of str
        """
        return tuple(self.jets) or tuple(f"jet{number}" for number in range(1, n_jets + 1))

    def expressions(self, n_jets: int) -> Iterator[tuple[str, Expression]]:
        """The columns of the candidates that it reads, each with the key of the configuration that asks for it.

        Parameters
        ----------
        n_jets : int

        Yields
        ------
        str, Expression
        """
        conditions = [*self.categories.values(), *([self.category] if isinstance(self.category, Expression) else [])]
        columns = {"discriminant": [self.discriminant], "scale_factors": list(self.weights.columns)}
        columns["categories" if self.category is None else "category"] = [
            name for condition in conditions for name in condition.names
        ]
        for jet in self.candidates(n_jets):
            for key, names in columns.items():
                for name in dict.fromkeys(names):
                    yield key, _column(f"{jet}.{name}")

    def check(self, discriminants: Mapping[str, Discriminant | DerivedColumn], samples: Sequence[str]) -> None:
        """Refuse efficiencies without the samples, and scale factors of another discriminant.

        Parameters
        ----------
        discriminants : mapping of str to (Discriminant or DerivedColumn)
            Of the search.
        samples : sequence of str
            Its data sets of simulation.

        Raises
        ------
        MismatchError
            If the files name another discriminant; those that cannot be read as one are not compared.
        UnknownName
            If the efficiencies lack a sample.
        """
        for sample in samples:
            self.weights.efficiencies.sample(self.samples.get(sample, sample))
        here = discriminants.get(self.discriminant)
        if not isinstance(here, Discriminant):
            return
        for text in (self.weights.factors.discriminant, self.weights.efficiencies.discriminant):
            theirs = None
            with suppress(JettaggerError):
                theirs = as_discriminant(text) if text else None
            if theirs is not None and theirs != here:
                raise MismatchError(f"the scale factors are for {theirs}, {self.discriminant!r} is {here}")

    def check_origin(self, source: Any, discriminants: Mapping[str, Discriminant | DerivedColumn]) -> None:
        """Refuse scores of another model than that of the scale factors and efficiencies.

        Parameters
        ----------
        source : Tagger, Bundle or Origin
        discriminants : mapping of str to (Discriminant or DerivedColumn)
            Of the search; plain columns of the jets are not compared.

        Raises
        ------
        MismatchError
        """
        if self.discriminant in discriminants:
            self.weights.check_origin(source)

    def event_weights(self, columns: Mapping[str, Any], dataset: str, n_jets: int) -> EventTagWeights:
        """The weights of the events of a chunk.

        Parameters
        ----------
        columns : mapping of str to record array
            Each candidate, with one entry per event that is None where there is none.
        dataset : str
        n_jets : int

        Returns
        -------
        EventTagWeights
            1 for events without candidates. Jets are those of events with candidates.

        Raises
        ------
        UnknownName
            If the candidates lack a column.
        """
        import awkward as ak

        size = len(columns["jet1"])
        nominal = np.ones(size)
        shifts = {source: (np.ones(size), np.ones(size)) for source in self.sources}
        count = TagCount()
        for name in self.candidates(n_jets):
            there = np.flatnonzero(~ak.to_numpy(ak.is_none(columns[name])))
            jets = columns[name][there]
            needed = [self.discriminant, *self.weights.columns]
            missing = [column for column in needed if column not in jets.fields]
            if missing:
                raise UnknownName("column", missing, jets.fields, f"{name}, for scale factors")
            read = {column: _flat(jets[column]) for column in needed}
            made = self.weights.jet_factors(
                read[self.discriminant],
                {column: read[column] for column in self.weights.columns},
                self._categories(jets, len(there)),
                self.samples.get(dataset, dataset),
            )
            pairs = [(nominal, made.nominal)]
            for source, sides in made.shifts.items():
                pairs += list(zip(shifts[source], sides, strict=True))
            for total, factors in pairs:
                total[there] *= np.where(np.isnan(factors), 1.0, factors)
            count = count + made.count
        return EventTagWeights(nominal, shifts, count)

    def _categories(self, jets: Any, size: int) -> Any:
        """The category of each jet; None if there is only one."""
        if isinstance(self.category, Expression):
            values = self.category.evaluate(jets)
            return np.broadcast_to(_flat(values), (size,))
        if not self.categories:
            return None
        made = np.full(size, NO_CATEGORY, dtype=object)
        for name, condition in reversed(list(self.categories.items())):
            value = condition.evaluate(jets)
            made[np.broadcast_to(np.nan_to_num(_flat(value)), (size,)) != 0] = name
        return made


@lru_cache(maxsize=256)
def _column(name: str) -> Expression:
    return parse(name)


def _flat(values: Any) -> Floats:
    import awkward as ak

    if not isinstance(values, ak.Array):
        return np.atleast_1d(np.asarray(values, dtype=np.float64))
    return np.asarray(ak.to_numpy(ak.fill_none(ak.values_astype(values, np.float64), np.nan)))


def tag_notes(counts: Mapping[str, Mapping[str, Mapping[str, int]]]) -> list[str]:
    """Jets to which scale factors could not be applied as they are.

    Parameters
    ----------
    counts : mapping
        Data set -> weight -> numbers of jets, as from `TagCount.to_dict`.

    Returns
    -------
    list of str
    """
    notes = []
    for dataset, weights in counts.items():
        for name, numbers in weights.items():
            count = TagCount.of(numbers)
            if any(number for key, number in count.to_dict().items() if key != "jets"):
                notes.append(f"dataset {dataset!r}, weight {name!r}: {count}")
    return notes


guard(globals(), "TagFactor")
