"""The methods on one batch of jets of a sample, and what they give beside the numbers of each jet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from jettagger.arguments import guard
from jettagger.discriminants import Measured
from jettagger.display import Brief
from jettagger.errors import ConfigError, UnknownName
from jettagger.explain.attention import attention_weights
from jettagger.explain.baselines import Baseline, another_jet, median_constituent, other_constituents
from jettagger.explain.collecting import FEATURES, GROUPS, SLOTS, JetNumbers, collect
from jettagger.explain.feature_groups import feature_groups, particle_kinds
from jettagger.explain.jets import JetInputs
from jettagger.explain.methods import (
    cumulative,
    gradient_input,
    integrated,
    occlude_constituents,
    occlude_kinds,
    occlude_variables,
    permutation_importance,
    saliency,
)
from jettagger.explain.sampling import By, JetSample, category_names, passing
from jettagger.explain.scorer import Scorer
from jettagger.types import Array, Floats

__all__ = [
    "BASELINES",
    "METHODS",
    "ExplainSettings",
    "Method",
    "SampleFound",
    "baseline_of",
    "mean_attention",
    "mean_curves",
    "numbers_of_batch",
    "permutation_losses",
    "wanted_jets",
]

Method = Literal["saliency", "gradient-input", "integrated", "occlusion", "permutation", "attention"]

#: methods of the command line
METHODS: tuple[str, ...] = get_args(Method)

#: what integrated gradients begin with, and what occlusion puts in the place of variables
BASELINES = ("none", "median", "jet", "others")

#: jets of each group of which single constituents are left out: two runs of the network for each constituent
_SINGLE = 100

#: constituents that are kept, one after the other
_KEPT = 20


@dataclass(frozen=True)
class ExplainSettings(Brief):
    """How jets are explained.

    Parameters
    ----------
    method : str
        One of `METHODS`.
    jets : int
        Maximum number of jets of each sample.
    by : tuple of By
        Groups of jets.
    order : str or None
        Variable by which constituents in maps are ordered; None: as the network has them.
    baseline : str
        One of `BASELINES`, for integrated gradients and occlusion of variables.
    tolerance : float
        Of the sum of integrated gradients.
    signal, background : str or None
        Cuts in columns of the jets, for permutation.
    efficiency : float
        Signal efficiency at which the rejection is taken.
    seed : int

    Raises
    ------
    UnknownName
        If there is no such method or baseline.
    ConfigError
        If a number is out of range, or cuts do not fit the method.
    """

    method: str = "saliency"
    jets: int = 2000
    by: tuple[By, ...] = ()
    order: str | None = None
    baseline: str = "none"
    tolerance: float = 0.01
    signal: str | None = None
    background: str | None = None
    efficiency: float = 0.5
    seed: int = 1

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UnknownName("method", self.method, METHODS)
        if self.baseline not in BASELINES:
            raise UnknownName("baseline", self.baseline, BASELINES)
        if self.jets < 1:
            raise ConfigError(f"--number must be at least 1, got {self.jets}")
        if not 0 < self.efficiency < 1:
            raise ConfigError(f"--efficiency must be between 0 and 1, got {self.efficiency:g}")
        cuts = {"--signal": self.signal, "--background": self.background}
        missing = [name for name, cut in cuts.items() if cut is None]
        if self.method == "permutation" and missing:
            raise ConfigError(
                f"permutation needs {' and '.join(missing)}: cuts in columns of the jets, for the rejection"
            )
        if self.method != "permutation" and len(missing) < len(cuts):
            raise ConfigError(f"--signal and --background are for permutation, the method is {self.method}")


@dataclass
class SampleFound(Brief):
    """What was found in one sample."""

    numbers: list[JetNumbers] = field(default_factory=list)
    inputs: list[JetInputs] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    #: group of jets -> what is kept -> the number with so many constituents, one row per jet
    curves: dict[str, dict[str, list[Array]]] = field(default_factory=dict)
    attention: dict[str, dict[str, list[tuple[Floats, int]]]] = field(default_factory=dict)

    def count(self, what: str, number: int) -> None:
        """Add to a count."""
        self.counts[what] = self.counts.get(what, 0) + number


def wanted_jets(inputs: JetInputs, sample: JetSample, settings: ExplainSettings) -> Array:
    """Jets in one of the groups, and of permutation those that are signal or background.

    Parameters
    ----------
    inputs : JetInputs
    sample : JetSample
    settings : ExplainSettings

    Returns
    -------
    bool[n]
    """
    names = category_names(settings.by, sample, inputs.columns, len(inputs))
    mask = np.array([bool(name) for name in names], dtype=bool)
    if settings.signal is not None and settings.background is not None:
        mask &= signal_of(inputs.columns, len(inputs), sample, settings) >= 0
    return mask


def signal_of(columns: Any, number: int, sample: JetSample, settings: ExplainSettings) -> Array:
    """1 for signal, 0 for background, -1 for others, int[n]."""
    assert settings.signal is not None
    assert settings.background is not None
    signal, background = (passing(cut, sample, columns, number) for cut in (settings.signal, settings.background))
    if (signal & background).any():
        raise ConfigError(f"--signal {settings.signal!r} and --background {settings.background!r} have jets in common")
    return np.where(signal, 1, np.where(background, 0, -1))


def baseline_of(batches: Sequence[JetInputs], settings: ExplainSettings) -> Baseline:
    """The baseline of the first jets that are explained."""
    if settings.baseline == "others":
        return other_constituents(batches, settings.seed)
    whole = batches[0]
    return median_constituent(whole) if settings.baseline == "median" else another_jet(whole, 0)


def numbers_of_batch(
    scorer: Scorer,
    inputs: JetInputs,
    sample: JetSample,
    settings: ExplainSettings,
    baseline: Baseline | None,
    found: SampleFound,
) -> JetNumbers:
    """The numbers of a batch by the method; what is not one number per jet is added to ``found``."""
    if settings.method == "saliency":
        return collect(saliency(scorer, inputs), settings.order)
    if settings.method == "gradient-input":
        return collect(gradient_input(scorer, inputs), settings.order)
    if settings.method == "integrated":
        return collect(integrated(scorer, inputs, baseline, tolerance=settings.tolerance), settings.order)
    if settings.method == "occlusion":
        return _occluded(scorer, inputs, sample, settings, baseline, found)
    if settings.method == "permutation":
        found.inputs.append(inputs)
    else:
        _attend(scorer, inputs, sample, settings, found)
    return JetNumbers(inputs.jets, scorer.values(inputs), {}, {}, {}, columns=dict(inputs.columns))


def _occluded(
    scorer: Scorer,
    inputs: JetInputs,
    sample: JetSample,
    settings: ExplainSettings,
    baseline: Baseline | None,
    found: SampleFound,
) -> JetNumbers:
    """Variables, groups of them, kinds of constituents; single constituents of some jets."""
    bundle = inputs.bundle
    members: dict[str, dict[str, tuple[str, ...]]] = {
        FEATURES: {name: (name,) for name in inputs.variables},
        GROUPS: feature_groups(bundle),
    }
    effects = {
        title: occlude_variables(scorer, inputs, groups, baseline) for title, groups in members.items() if groups
    }
    kinds = particle_kinds(bundle)
    images = any(group.image is not None for group in bundle.groups)
    if kinds and not images:
        effects["kinds"] = occlude_kinds(scorer, inputs, kinds)
    family = _main_family(inputs)
    if family and not images:
        _leave_out(scorer, inputs, family, sample, settings, found)
    return JetNumbers(
        inputs.jets,
        scorer.values(inputs),
        {title: effect.names for title, effect in effects.items()},
        {title: effect.values for title, effect in effects.items()},
        {title: np.abs(effect.values) for title, effect in effects.items()},
        columns=dict(inputs.columns),
    )


def _leave_out(
    scorer: Scorer, inputs: JetInputs, family: str, sample: JetSample, settings: ExplainSettings, found: SampleFound
) -> None:
    """The number from the most important constituents alone, for the first jets of each group."""
    names = category_names(settings.by, sample, inputs.columns, len(inputs))
    for name in dict.fromkeys(names):
        curves = found.curves.setdefault(name, {"largest effect kept": [], "leading in the order of the network": []})
        before = sum(map(len, next(iter(curves.values()))))
        rows = np.flatnonzero(np.asarray(names, dtype=object) == name)[: max(_SINGLE - before, 0)]
        if not len(rows):
            continue
        part = inputs.take(rows)
        effect = np.abs(occlude_constituents(scorer, part, family).values)
        group = next(item for item in part.in_family(family) if not part.groups[item].is_mask)
        leading = part.per_object(
            family, {group: -np.arange(part.ranks[group].shape[1])[np.newaxis] * np.ones((len(part), 1))}
        )
        for title, ranking in zip(curves, (effect, leading), strict=True):
            curves[title].append(cumulative(scorer, part, ranking, family, _KEPT).kept)


def _main_family(inputs: JetInputs) -> str:
    """The list with the candidates: the one with the most slots, but not that of vertices; empty if there is none."""
    sizes = {
        family: max(inputs.groups[name].max_length for name in names)
        for family, names in inputs.families.items()
        if family not in ("sv", "jet")
    }
    return max(sizes, key=lambda family: sizes[family], default="")


def _attend(
    scorer: Scorer, inputs: JetInputs, sample: JetSample, settings: ExplainSettings, found: SampleFound
) -> None:
    """Add the attention weights of a batch, averaged over heads, padded to `SLOTS`."""
    layers = attention_weights(inputs.bundle, inputs.tensors())
    names = category_names(settings.by, sample, inputs.columns, len(inputs))
    for name in dict.fromkeys(names):
        rows = np.flatnonzero(np.asarray(names, dtype=object) == name)
        for layer, weights in layers.items():
            mean = np.asarray(weights, dtype=np.float64)[rows].mean(axis=1).sum(axis=0)[:SLOTS, :SLOTS]
            whole = np.zeros((mean.shape[0] if mean.shape[0] == 1 else SLOTS, SLOTS))
            whole[: mean.shape[0], : mean.shape[1]] = mean
            found.attention.setdefault(name, {}).setdefault(layer, []).append((whole, len(rows)))


def permutation_losses(
    scorer: Scorer, samples: Sequence[JetSample], found: Sequence[SampleFound], settings: ExplainSettings
) -> tuple[dict[str, Measured], Measured]:
    """The loss of rejection by each variable and each group of variables, all samples together."""
    parts, signal = [], []
    for sample, item in zip(samples, found, strict=True):
        for inputs in item.inputs:
            parts.append(inputs)
            signal.append(signal_of(inputs.columns, len(inputs), sample, settings) == 1)
    groups = {**feature_groups(scorer.tagger.bundle), **{name: (name,) for name in parts[0].variables}}
    rejection, importances = permutation_importance(
        scorer, parts, np.concatenate(signal), groups, efficiency=settings.efficiency, seed=settings.seed
    )
    return {item.name: item.loss for item in importances}, rejection


def mean_curves(
    found: Sequence[SampleFound], samples: Sequence[JetSample]
) -> dict[str, dict[str, tuple[Floats, Floats, Floats]]]:
    """Means over the jets of each group of the number with so many constituents, and their uncertainties.

    Parameters
    ----------
    found : sequence of SampleFound
    samples : sequence of JetSample

    Returns
    -------
    dict of str to dict of str to (float64[n], float64[n], float64[n])
        Group -> what is kept -> numbers of constituents, means, uncertainties.
    """
    result = {}
    for name, curves in _named(found, samples, "curves"):
        columns = {}
        for title, parts in curves.items():
            if parts:
                rows = np.concatenate(parts)
                error = (
                    rows.std(axis=0, ddof=1) / np.sqrt(len(rows)) if len(rows) > 1 else np.full(rows.shape[1], np.nan)
                )
                columns[title] = (np.arange(rows.shape[1], dtype=np.float64), rows.mean(axis=0), error)
        if columns:
            result[name] = columns
    return result


def mean_attention(found: Sequence[SampleFound], samples: Sequence[JetSample]) -> dict[str, dict[str, Floats]]:
    """Means over the jets of each group of the attention weights.

    Parameters
    ----------
    found : sequence of SampleFound
    samples : sequence of JetSample

    Returns
    -------
    dict of str to dict of str to float64[queries, keys]
        Group -> layer -> weights.
    """
    result = {}
    for name, layers in _named(found, samples, "attention"):
        result[name] = {
            layer: np.sum([weights for weights, _ in parts], axis=0) / sum(number for _, number in parts)
            for layer, parts in layers.items()
        }
    return result


def _named(found: Sequence[SampleFound], samples: Sequence[JetSample], what: str) -> Iterator[tuple[str, Any]]:
    for sample, item in zip(samples, found, strict=True):
        prefix = f"{sample.name}: " if len(samples) > 1 else ""
        for name, content in getattr(item, what).items():
            yield f"{prefix}{name}", content


guard(globals(), "ExplainSettings")
