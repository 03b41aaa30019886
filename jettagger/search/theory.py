"""Uncertainties of theory in a search: weights of parton densities, of scales and of the parton shower in NanoAOD.

Members of a set, or points of an envelope, fill histograms of their own, which are combined in each bin at the end:

- symmetric Hessian sets: ``sqrt(sum (X_i - X_0)^2)``, Eq. 20 of arXiv:1510.03865;
- pairs of a Hessian set: ``sqrt(sum max(X_+ - X_0, X_- - X_0, 0)^2)`` up, and the same of ``X_0 - X`` down, Eq. 3 of
  arXiv:1101.0536;
- replicas: the standard deviation, Eq. 21 of arXiv:1510.03865;
- envelopes: the largest and the smallest yield, that of no variation among them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.display import Brief
from jettagger.errors import ConfigError, InvalidValues, MismatchError, UnknownName
from jettagger.types import Floats

__all__ = ["COMBINATIONS", "TheoryWeight", "combined", "recorded_ratios", "theory_notes"]

#: kind -> how its weights can be combined, the default first
COMBINATIONS: Mapping[str, tuple[str, ...]] = {
    "pdf": ("hessian", "hessian_pairs", "replicas", "each"),
    "scale": ("envelope", "each"),
    "parton_shower": ("each", "envelope"),
}

#: kind -> column of the events, and of the tree ``Runs`` with the sums over all generated events
COLUMNS: Mapping[str, tuple[str, str]] = {
    "pdf": ("LHEPdfWeight", "LHEPdfSumw"),
    "scale": ("LHEScaleWeight", "LHEScaleSumw"),
    "parton_shower": ("PSWeight", "PSSumw"),
}

#: factors of the renormalisation and factorisation scales: positions among nine weights, without the opposite ones
ENVELOPE = (0, 1, 3, 5, 7, 8)

#: source -> positions of up and down among nine weights of scales, and four of the shower
SCALES = {"mur": (7, 1), "muf": (5, 3)}
SHOWER = {"isr": (0, 2), "fsr": (1, 3)}

#: between the name of a weight and the number of a member, which is no variation of the result
MEMBER = "#"

#: weights of a category: a constant, and position -> coefficient
_Combination = tuple[float, Mapping[int, float]]


@dataclass(frozen=True)
class TheoryWeight(Brief):
    """An uncertainty of theory, from weights that the events have.

    Parameters
    ----------
    kind : {"pdf", "scale", "parton_shower"}
    combine : str, optional
        One of `COMBINATIONS`; default: the first of its kind. ``each``: every eigenvector, scale or shower is a
        variation of its own.
    members : int, optional
        For ``pdf``: number of members after the first; default: all. Needed for ``each``.
    alpha_s : bool
        For ``pdf``: whether the last two weights are those of a lower and a higher strong coupling, a variation of its
        own.
    keep_cross_section : bool
        Whether each variation is scaled to the inclusive cross section of no variation.

    Raises
    ------
    UnknownName
        If the kind or the combination is unknown.
    ConfigError
        If an option does not belong to the kind.

    Examples
    --------
    >>> TheoryWeight("scale").names("mu"), TheoryWeight("parton_shower").names("ps")
    (('mu',), ('ps_isr', 'ps_fsr'))
    """

    kind: str
    combine: str = ""
    members: int | None = None
    alpha_s: bool = False
    keep_cross_section: bool = True

    def __post_init__(self) -> None:
        if self.kind not in COMBINATIONS:
            raise UnknownName("kind of weights of theory", self.kind, COMBINATIONS)
        if not self.combine:
            object.__setattr__(self, "combine", COMBINATIONS[self.kind][0])
        if self.combine not in COMBINATIONS[self.kind]:
            raise UnknownName("combination", self.combine, COMBINATIONS[self.kind], f"weights of {self.kind!r}")
        for name in ("members", "alpha_s"):
            if self.kind != "pdf" and getattr(self, name):
                raise ConfigError(f"{name!r} belongs to weights of 'pdf', not of {self.kind!r}")
        if self.kind == "pdf" and self.combine == "each" and self.members is None:
            raise ConfigError("give 'members', the number of eigenvectors that are variations of their own")
        if self.combine == "hessian_pairs" and self.members is not None and self.members % 2:
            raise ConfigError(f"pairs need an even number of members, got {self.members}")

    @property
    def column(self) -> str:
        """The column of the events."""
        return COLUMNS[self.kind][0]

    def names(self, name: str) -> tuple[str, ...]:
        """The names of its variations, without ``Up`` and ``Down``.

        Parameters
        ----------
        name : str
            Of the weight.

        Returns
        -------
        tuple of str
        """
        if self.kind == "pdf":
            alone = [f"{name}_{i}" for i in range(1, (self.members or 0) + 1)] if self.combine == "each" else [name]
            return (*alone, *([f"{name}_alphas"] if self.alpha_s else []))
        if self.combine == "envelope":
            return (name,)
        return tuple(f"{name}_{source}" for source in (SCALES if self.kind == "scale" else SHOWER))

    def categories(self, name: str, size: int) -> dict[str, _Combination]:
        """What fills histograms: the category, with the combination of weights.

        Parameters
        ----------
        name : str
            Of the weight.
        size : int
            Number of weights of each event.

        Returns
        -------
        dict of str to (float, dict of int to float)

        Raises
        ------
        MismatchError
            If this number has no known meaning.
        """
        if self.kind == "pdf":
            return self._of_pdf(name, size)
        expected = (8, 9) if self.kind == "scale" else (4,)
        if size not in expected:
            text = " or ".join(map(str, expected))
            raise MismatchError(
                f"weight {name!r}: {self.column} has {size} weights, whose meaning is not known, not {text}"
            )
        if self.combine == "envelope":
            chosen = ENVELOPE if self.kind == "scale" else range(4)
            return {f"{name}{MEMBER}{i}": (0.0, {_position(i, size): 1.0}) for i in chosen}
        sources = SCALES if self.kind == "scale" else SHOWER
        return {
            f"{name}_{source}{side}": (0.0, {_position(i, size): 1.0})
            for source, pair in sources.items()
            for side, i in zip(("Up", "Down"), pair, strict=True)
        }

    def _of_pdf(self, name: str, size: int) -> dict[str, _Combination]:
        last = size - 1 - 2 * self.alpha_s
        count = last if self.members is None else self.members
        if count < 1 or count > last or (self.combine == "hessian_pairs" and count % 2):
            more = " and two of the strong coupling" if self.alpha_s else ""
            wanted = "members" if self.members is None else f"{self.members} members"
            raise MismatchError(f"weight {name!r}: {self.column} has {size} weights, not those of {wanted}{more}")
        made: dict[str, _Combination] = {}
        if self.combine == "each":
            for i in range(1, count + 1):
                made[f"{name}_{i}Up"], made[f"{name}_{i}Down"] = (1.0, {i: 1.0, 0: -1.0}), (1.0, {i: -1.0, 0: 1.0})
        else:
            made |= {f"{name}{MEMBER}{i}": (0.0, {i: 1.0}) for i in range(count + 1)}
        if self.alpha_s:
            for side, i in (("Up", size - 1), ("Down", size - 2)):
                made[f"{name}_alphas{side}"] = (1.0, {i: 1.0, 0: -1.0})
        return made

    def factors(self, name: str, events: Any, numbers: Sequence[Any]) -> dict[str, Floats]:
        """The weights of the events of a chunk relative to no variation.

        Parameters
        ----------
        name : str
            Of the weight.
        events : NanoEvents
        numbers : sequence
            Event numbers, for messages.

        Returns
        -------
        dict of str to float64[events]
            Category -> factors; empty if the events have no such weights.

        Raises
        ------
        InvalidValues
            If a number is missing or not finite; gives the event.
        MismatchError
            If the number of weights differs between events, or has no known meaning.
        """
        import awkward as ak

        if self.column not in events.fields or not len(events):
            return {}
        weights = events[self.column]
        counts = ak.to_numpy(ak.num(weights, axis=1))
        if (counts <= 1).all():  # what NanoAOD has where the generator gives no such weights
            return {}
        if (counts != counts[0]).any():
            first = int(np.argmax(counts != counts[0]))
            raise MismatchError(
                f"weight {name!r}: {self.column} has {counts[first]} weights for event {numbers[first]}, and "
                f"{counts[0]} for others"
            )
        matrix = np.asarray(ak.to_numpy(ak.fill_none(weights, np.nan, axis=1)), dtype=np.float64)
        bad = np.asarray(~np.isfinite(matrix).all(axis=1))
        if bad.any():
            raise InvalidValues(
                f"weight {name!r}: {self.column} of event {numbers[int(np.argmax(bad))]} is not finite; "
                f"{np.count_nonzero(bad)} of {len(bad)} are not"
            )
        return {
            category: np.sum([size * matrix[:, i] for i, size in parts.items()], axis=0) + constant
            for category, (constant, parts) in self.categories(name, matrix.shape[1]).items()
        }


def _position(number: int, size: int) -> int:
    """Of one of nine weights of scales, where the fifth, of no variation, may be left out."""
    return number - (size == 8 and number > 4)


def recorded_ratios(weights: Mapping[str, TheoryWeight], sources: Iterable[Any]) -> dict[str, dict[str, float]]:
    """Cross sections of variations relative to no variation, from the trees ``Runs``.

    Parameters
    ----------
    weights : mapping of str to TheoryWeight
    sources : iterable of GeneratedFile
        Files of one data set, with the rows of ``Runs``: sums of the weights relative to ``genEventSumw``.

    Returns
    -------
    dict of str to dict of str to float
        Weight -> category -> ratio; only weights whose sums all files have.
    """
    found: dict[str, dict[str, float]] = {}
    distinct = list({source.file: source for source in sources}.values())
    for name, item in weights.items():
        column = COLUMNS[item.kind][1]
        if not distinct or any(column not in source.runs for source in distinct):
            continue
        rows = [(w, row) for s in distinct for w, row in zip(s.runs["genEventSumw"], s.runs[column], strict=True)]
        lists = [row if isinstance(row, (list, tuple)) else [row] for _, row in rows]
        total = math.fsum(weight for weight, _ in rows)
        if len({len(row) for row in lists}) != 1 or len(lists[0]) < 2 or not total > 0:
            continue
        sums = [
            math.fsum(weight * row[i] for (weight, _), row in zip(rows, lists, strict=True)) / total
            for i in range(len(lists[0]))
        ]
        found[name] = {
            category: constant + math.fsum(size * sums[i] for i, size in parts.items())
            for category, (constant, parts) in item.categories(name, len(sums)).items()
        }
    return found


def combined(
    histogram: Any,
    weights: Mapping[str, TheoryWeight],
    ratios: Mapping[str, Mapping[str, Mapping[str, float]]],
    simulated: Sequence[str],
) -> Any:
    """A histogram with variations in the place of the members of sets.

    Parameters
    ----------
    histogram : hist.Hist
        With the categories ``dataset`` and ``variation``.
    weights : mapping of str to TheoryWeight
    ratios : mapping
        Data set -> weight -> category -> cross section relative to no variation, by which it is divided.
    simulated : sequence of str
        Data sets of simulation; those without a weight are not changed by it.

    Returns
    -------
    hist.Hist
        Variances of combinations are those without variation.
    """
    import hist

    if not weights:
        return histogram
    known = list(histogram.axes["variation"])
    members = [item for item in known if MEMBER in item and item.rpartition(MEMBER)[0] in weights]
    made = {
        name: [f"{one}{side}" for one in item.names(name) for side in ("Up", "Down")] for name, item in weights.items()
    }
    final = sorted({*known, *(one for names in made.values() for one in names)} - {*members})
    axes = [
        axis
        if axis.name != "variation"
        else hist.axis.StrCategory(final, growth=True, name=axis.name, label=axis.label)
        for axis in histogram.axes
    ]
    result = hist.Hist(*axes, storage=histogram.storage_type(), name=histogram.name, label=histogram.label)
    places = [[axis.name for axis in axes].index(name) for name in ("dataset", "variation")]
    view, target = (np.moveaxis(item.view(flow=True), places, (0, 1)) for item in (histogram, result))
    for number, dataset in enumerate(histogram.axes["dataset"]):
        old = {category: view[number, position] for position, category in enumerate(known)}
        for position, category in enumerate(final):
            if category in old:
                target[number, position] = old[category]
        for name, item in weights.items() if dataset in simulated else ():
            of_weight = ratios.get(dataset, {}).get(name, {})
            found = {
                category: old[category]["value"] / ratio for category, ratio in of_weight.items() if category in old
            }
            listed = sorted((c for c in found if MEMBER in c), key=lambda c: int(c.rpartition(MEMBER)[2]))
            if listed:
                sides = _sides(item.combine, old["nominal"]["value"], np.stack([found[c] for c in listed]))
                found |= {f"{name}{side}": values for side, values in zip(("Up", "Down"), sides, strict=True)}
            for category in made[name]:
                place = target[number, final.index(category)]
                place["value"] = found.get(category, old["nominal"]["value"])
                if category not in old or category not in found:
                    place["variance"] = old["nominal"]["variance"]
    return result


def _sides(combine: str, nominal: Floats, shapes: Floats) -> tuple[Floats, Floats]:
    """Yields up and down from those of the members, the first of which is the central one."""
    if combine == "envelope":
        every = np.concatenate([nominal[np.newaxis], shapes])
        return every.max(axis=0), every.min(axis=0)
    shifts = shapes[1:] - shapes[0]
    if combine == "hessian_pairs":
        plus, minus = shifts[0::2], shifts[1::2]
        up = np.sqrt((np.maximum(np.maximum(plus, minus), 0.0) ** 2).sum(axis=0))
        down = np.sqrt((np.minimum(np.minimum(plus, minus), 0.0) ** 2).sum(axis=0))
        return nominal + up, nominal - down
    size = shapes[1:].std(axis=0, ddof=1) if combine == "replicas" else np.sqrt((shifts**2).sum(axis=0))
    return nominal + size, nominal - size


def theory_notes(
    weights: Mapping[str, TheoryWeight], counts: Mapping[str, Mapping[str, int]], recorded: Mapping[str, Iterable[str]]
) -> list[str]:
    """Data sets without weights of theory, and those whose cross sections are those of the events read.

    Parameters
    ----------
    weights : mapping of str to TheoryWeight
    counts : mapping
        Data set of simulation -> weight -> events with such weights.
    recorded : mapping of str to iterable of str
        Data set -> weights whose sums over all generated events are known.

    Returns
    -------
    list of str

    Examples
    --------
    >>> theory_notes({"mu": TheoryWeight("scale")}, {"QCD": {"mu": 0}}, {})
    ["dataset 'QCD' has no LHEScaleWeight: 'mu' does not change it"]
    """
    notes = []
    for dataset, of_weights in counts.items():
        for name, item in weights.items():
            if not of_weights.get(name):
                notes.append(f"dataset {dataset!r} has no {item.column}: {name!r} does not change it")
            elif item.keep_cross_section and name not in recorded.get(dataset, ()):
                notes.append(
                    f"dataset {dataset!r}, weight {name!r}: the files do not record {COLUMNS[item.kind][1]} of all "
                    "generated events in 'Runs'; the sums over the events read are taken, which is right only if no "
                    "event was left out before"
                )
    return notes


guard(globals(), "TheoryWeight", "combined")
