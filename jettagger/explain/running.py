"""An explanation of the jets in files: sample, attribute, group, compare."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from jettagger.arguments import guard
from jettagger.errors import InvalidValues
from jettagger.explain.baselines import Baseline
from jettagger.explain.batches import (
    ExplainSettings,
    SampleFound,
    baseline_of,
    mean_attention,
    mean_curves,
    numbers_of_batch,
    permutation_losses,
    wanted_jets,
)
from jettagger.explain.collecting import FEATURES, JetNumbers, joined_numbers, variable_names
from jettagger.explain.keeping import KeptNumbers
from jettagger.explain.report import Difference, ExplainedGroup, Explanation, difference_of, explained_groups
from jettagger.explain.sampling import JetSample, category_names
from jettagger.explain.scorer import Scorer
from jettagger.runtime.memory import freed_memory_kept

__all__ = ["explain_samples"]

#: counts of jets of the chunks that were read
_NOT_SCORED = "without all constituents, or outside the domain of the model"
_BEYOND = "not chosen: more than --number"

#: methods with a baseline
_COMPARED = ("integrated", "occlusion")


@freed_memory_kept()
def explain_samples(
    scorer: Scorer,
    samples: Sequence[JetSample],
    settings: ExplainSettings,
    *,
    progress: Callable[[int], None] | None = None,
    kept: KeptNumbers | None = None,
) -> tuple[Explanation, tuple[JetNumbers, ...]]:
    """Explain the jets of one sample or of two, and compare these.

    Parameters
    ----------
    scorer : Scorer
    samples : sequence of JetSample
        One or two.
    settings : ExplainSettings
    progress : callable, optional
        Called with the number of jets after each batch.
    kept : KeptNumbers, optional
        Numbers of finished chunks of an interrupted run.

    Returns
    -------
    Explanation
    tuple of JetNumbers
        Of each sample; of permutation and attention the numbers without attributions.

    Raises
    ------
    InvalidValues
        If no jet is left.
    MissingExtra
        If the method needs torch, which is not installed.
    """
    found = []
    for place, sample in enumerate(samples):
        found.append(_explained(scorer, sample, settings, place, progress or (lambda _: None), kept))
    bundle = scorer.tagger.bundle
    every = tuple(joined_numbers(item.numbers) for item in found)
    groups: list[ExplainedGroup] = []
    per_sample = []
    for sample, numbers in zip(samples, every, strict=True):
        names = category_names(settings.by, sample, numbers.columns, len(numbers))
        made = explained_groups(numbers, names, sample.name if len(samples) > 1 else "", seed=settings.seed)
        per_sample.append({group.name: group for group in made})
        groups += made
    differences: tuple[Difference, ...] = ()
    if len(samples) == 2:
        first, second = per_sample
        differences = tuple(difference_of(group, second[name]) for name, group in first.items() if name in second)
    counts: dict[str, int] = {}
    for sample, item in zip(samples, found, strict=True):
        prefix = f"{sample.name}: " if len(samples) > 1 else ""
        counts |= {f"{prefix}{text}": number for text, number in item.counts.items()}
    losses, rejection = (
        permutation_losses(scorer, samples, found, settings) if settings.method == "permutation" else ({}, None)
    )
    explanation = Explanation(
        model=bundle.name,
        target=scorer.target.name,
        unit=scorer.target.unit,
        method=settings.method,
        variables=variable_names(bundle),
        order=f"decreasing {settings.order}" if settings.order else "as the network has them",
        groups=tuple(groups),
        differences=differences,
        losses=losses,
        rejection=rejection,
        curves=mean_curves(found, samples),
        attention=mean_attention(found, samples),
        counts=counts,
        checks=_checks(every, settings),
        remarks=_remarks(scorer, every, counts, settings),
    )
    return explanation, every


def _explained(
    scorer: Scorer,
    sample: JetSample,
    settings: ExplainSettings,
    place: int,
    progress: Callable[[int], None],
    kept: KeptNumbers | None,
) -> SampleFound:
    found = SampleFound()
    quotas = sample.quotas(settings.jets)
    baseline: Baseline | None = None
    read = 0
    for number, chunk_of in enumerate(sample.chunks):
        left = quotas[chunk_of.path]
        if left <= 0:
            continue
        read += 1
        stored = None if kept is None else kept.get(place, number)
        if stored is not None:
            found.numbers.append(stored)
            found.count("jets explained", len(stored))
            found.count("of these by an earlier run, whose other jets are not counted", len(stored))
            quotas[chunk_of.path] -= len(stored)
            progress(len(stored))
            continue
        chunk = sample.opened(number)
        batches, in_no_group, offered = [], 0, 0
        for inputs in chunk.inputs:
            mask = wanted_jets(inputs, sample, settings)
            offered += len(mask)
            in_no_group += int(np.count_nonzero(~mask))
            batches.append(inputs.take(np.flatnonzero(mask)))
        total = sum(map(len, batches))
        if total > left:
            found.count(_BEYOND, total - left)
            chosen = np.zeros(total, dtype=bool)
            chosen[np.random.default_rng([settings.seed, place, number]).choice(total, left, replace=False)] = True
            ends = np.cumsum([len(item) for item in batches])
            batches = [
                item.take(np.flatnonzero(part)) for item, part in zip(batches, np.split(chosen, ends[:-1]), strict=True)
            ]
        batches = [item for item in batches if len(item)]
        if baseline is None and batches and settings.method in _COMPARED and settings.baseline != "none":
            baseline = baseline_of(batches, settings)
        made = []
        for inputs in batches:
            made.append(numbers_of_batch(scorer, inputs, sample, settings, baseline, found))
            progress(len(inputs))
        found.count("jets in the chunks that were read", chunk.report.jets)
        found.count("left out by --where", chunk.report.not_selected)
        found.count("in none of the groups", in_no_group)
        found.count(_NOT_SCORED, chunk.report.jets - chunk.report.not_selected - offered)
        if made:
            joined = joined_numbers(made)
            found.numbers.append(joined)
            found.count("jets explained", len(joined))
            quotas[chunk_of.path] -= len(joined)
            if kept is not None and settings.method in ("saliency", "gradient-input", "integrated"):
                kept.put(place, number, joined)
    found.counts["chunks read"] = read
    found.counts["chunks in the files"] = len(sample.chunks)
    if not found.numbers:
        jets, failing, outside = (
            found.counts.get(text, 0)
            for text in ("jets in the chunks that were read", "left out by --where", "in none of the groups")
        )
        raise InvalidValues(
            f"{', '.join(sample.files)}: none of {jets} jets can be explained: {failing} fail --where, {outside} are "
            "in no group, the others have no constituents"
        )
    return found


def _checks(every: Sequence[JetNumbers], settings: ExplainSettings) -> dict[str, float]:
    """Numbers that say whether the method worked."""
    checks = {}
    if all("residual" in numbers.checks for numbers in every):
        residual = np.concatenate([numbers.checks["residual"] for numbers in every])
        change = np.concatenate([numbers.outputs - numbers.checks["reference"] for numbers in every])
        relative = np.abs(residual) / np.maximum(np.abs(change), 1e-12)
        steps = np.concatenate([numbers.checks["steps"] for numbers in every])
        checks["fraction of jets that are complete"] = float(np.mean(relative <= settings.tolerance))
        checks["99 % quantile of the relative residual"] = float(np.quantile(relative, 0.99))
        checks["mean number of steps"] = float(steps.mean())
    return checks


def _remarks(
    scorer: Scorer, every: Sequence[JetNumbers], counts: dict[str, int], settings: ExplainSettings
) -> tuple[str, ...]:
    remarks = [text for numbers in every for text in numbers.remarks]
    remarks += [scorer.rounding] if scorer.rounding else []
    outputs = np.concatenate([numbers.outputs for numbers in every])
    name = scorer.target.name
    if len(outputs) > 1 and np.ptp(outputs) == 0:
        remarks.append(f"{name} is constant: {outputs[0]:g} for all {len(outputs)} jets")
    ranked = [numbers.absolute[FEATURES] for numbers in every if FEATURES in numbers.absolute]
    if ranked and not any(array.any() for array in ranked):
        remarks.append(f"{name} does not depend on the inputs: all attributions are 0")
    broken = [numbers.checks["not_finite"] for numbers in every if "not_finite" in numbers.checks]
    if broken and (values := np.concatenate(broken)).any():
        rows = np.flatnonzero(values)
        remarks.append(
            f"{int(values.sum())} derivatives of {len(rows)} jets are not finite and count as 0 "
            f"(first explained jets: {', '.join(map(str, rows[:5]))})"
        )
    unread = any(
        text.endswith("chunks read") and number < counts[text.replace("read", "in the files")]
        for text, number in counts.items()
    )
    if unread or any(text.endswith(_BEYOND) for text in counts):
        remarks.append(f"a random sample: the files have more than --number {settings.jets} jets")
    return tuple(dict.fromkeys(remarks))


guard(globals(), "explain_samples")
