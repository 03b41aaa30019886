"""Statements of `benchmarks.architectures` on networks that look at jets in different ways, with their verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.architectures_figures import PIXELS
from benchmarks.architectures_names import TITLES
from benchmarks.architectures_records import Sigma, Study, ratio
from examples.architectures.inputs import TASKS

__all__ = ["best", "shifts", "statements"]

#: networks whose inputs are constituents
ON_CONSTITUENTS = ("cnn1", "cnn6", "gru", "cnn1d", "deepset", "transformer")

#: uncertainty of a ratio above which "within two standard deviations" says nothing
MOST_SIGMA = 0.2


def _verdict(value: Sigma, above: float = 1.0) -> str:
    """``true``, ``false`` or ``not decided`` for "value > above", at two standard deviations."""
    if value.value - 2 * value.sigma > above:
        return "true"
    return "false" if value.value + 2 * value.sigma < above else "not decided"


def _overall(verdicts: Sequence[str]) -> str:
    """That of all together."""
    if not verdicts:
        return "not measured"
    return "false" if "false" in verdicts else "not decided" if "not decided" in verdicts else "true"


def statements(study: Study) -> list[dict[str, Any]]:
    """What was expected or asked, and whether it is so: text, verdict and numbers.

    A verdict is ``true`` or ``false`` beyond two standard deviations of every comparison, else ``not decided``.
    """
    return [
        _transformer(study),
        _channels(study),
        *_sets_and_sequences(study),
        _trees(study),
        _samples(study),
        *_questions(study),
    ]


def _statement(text: str, compared: Mapping[str, Sigma], above: float = 1.0) -> dict[str, Any]:
    verdict = _overall([_verdict(value, above) for value in compared.values()])
    numbers = {name: value.plain() for name, value in compared.items()}
    return {"text": text, "verdict": verdict, "numbers": numbers, "above": above}


def _transformer(study: Study) -> dict[str, Any]:
    text = "The transformer rejects more multijets than every other network in H → bb (ratio of rejections above 1)."
    compared = {}
    for size in study.largest("fat", "transformer"):
        best = study.group("fat", "transformer", size)
        for recipe in study.recipes("fat", size):
            other = study.group("fat", recipe, size)
            if best is not None and other is not None and recipe != "transformer":
                keys = [key for key in best.keys if key.startswith("Hbb")]
                compared[f"over {TITLES[recipe]}, {size:,} jets"] = ratio(best, other, keys)
    return _statement(text, compared)


def _channels(study: Study) -> dict[str, Any]:
    text = "Images with six channels reject more than those with one (ratio above 1)."
    compared = {}
    for task in ("fat", "quark"):
        for pixels in ("-16", "", "-64"):
            for size in study.largest(task, f"cnn6{pixels}", f"cnn1{pixels}"):
                six, one = (study.group(task, f"cnn{number}{pixels}", size) for number in (6, 1))
                if six is not None and one is not None:
                    name = f"{task}, {pixels[1:] or '32'} pixels, {size:,} jets"
                    compared[name] = ratio(six, one, six.keys)
    return _statement(text, compared)


def _sets_and_sequences(study: Study) -> list[dict[str, Any]]:
    text = "DIPS rejects at least as many light jets as RNNIP at 70 % b efficiency, within two standard deviations."
    compared = {}
    for size in study.largest("btag", "dips", "rnnip"):
        sets, sequence = (study.group("btag", name, size) for name in ("dips", "rnnip"))
        if sets is not None and sequence is not None:
            keys = [key for key in sets.keys if "light" in key and key.endswith("0.7")]
            compared[f"{size:,} jets"] = ratio(sets, sequence, keys)
    first = _statement(text, compared)
    known = [value.sigma <= MOST_SIGMA for value in compared.values()]
    if any(value.value + 2 * value.sigma < 1 for value in compared.values()):
        first["verdict"] = "false"
    elif known:
        first["verdict"] = "true" if all(known) else "not decided"
    costs = [study.cost("btag", name) for name in ("dips", "rnnip")]
    made = [first]
    for key, what in (("training_us_per_jet", "of training"), ("onnx_us_per_jet", "in ONNX Runtime")):
        said: dict[str, Any] = {"text": f"DIPS takes a third or less of RNNIP's time {what}, on a CPU."}
        said |= {"verdict": "not measured", "above": 1 / 3}
        numbers = {}
        if costs[0] is not None and costs[1] is not None:
            share = costs[0][key] / costs[1][key]
            said["verdict"] = "true" if share <= 1 / 3 else "false"
            numbers = {"share": [round(share, 3), None, False]}
        made.append({**said, "numbers": numbers})
    return made


def _trees(study: Study) -> dict[str, Any]:
    text = "From 10,000 jets on, boosted trees on substructure reject less than every network on constituents."
    compared = {}
    for task, trees in (("fat", "trees"), ("quark", "trees-shapes")):
        for size in study.sizes(task):
            base = study.group(task, trees, size)
            if size < 10_000 or base is None:
                continue
            for recipe in ON_CONSTITUENTS:
                other = study.group(task, recipe, size)
                if other is not None:
                    compared[f"{task}, {TITLES[recipe]}, {size:,} jets"] = ratio(other, base, base.keys)
    return _statement(text, compared)


def _samples(study: Study) -> dict[str, Any]:
    text = "The change of the test sample moves the rejection more than the change of the training sample."
    compared = {}
    for task in ("fat", "quark"):
        for size in study.modelling_sizes(task)[-1:]:
            for recipe in study.recipes(task, size):
                moves = shifts(study, task, recipe, size, "alternative")
                if moves is not None:
                    test, training = moves["test"], moves["training"]
                    sigma = float(np.hypot(test[1], training[1]))
                    compared[f"{task}, {TITLES[recipe]}"] = Sigma(test[0] - training[0], sigma)
    return _statement(text, compared, above=0.0)


def _questions(study: Study) -> list[dict[str, Any]]:
    """What the tables are read for: who gains from the type of input, from channels, pixels, order and more jets."""
    return [
        _statement(
            "H → bb: networks on constituents reject more than boosted trees on substructure.",
            _compared(study, "fat", ON_CONSTITUENTS, ("trees",), "Hbb"),
        ),
        _statement(
            "H → 4q: boosted trees on substructure reject more than networks on constituents.",
            _compared(study, "fat", ("trees",), ON_CONSTITUENTS, "4q"),
        ),
        _statement(
            "Top quarks: boosted trees on substructure reject more than networks on constituents.",
            _compared(study, "fat", ("trees",), ON_CONSTITUENTS, "top"),
        ),
        _statement(
            "Light quarks against gluons: networks on constituents reject more than boosted trees on substructure.",
            _compared(study, "quark", ON_CONSTITUENTS, ("trees-shapes",)),
        ),
        _statement("H → bb: six channels reject more than one.", _compared(study, "fat", ("cnn6",), ("cnn1",), "Hbb")),
        *(
            _statement(
                f"{more} x {more} pixels reject more than {fewer} x {fewer}.",
                {
                    name: value
                    for channels in ("cnn1", "cnn6")
                    for name, value in _compared(
                        study, "fat", (f"{channels}{PIXELS[more]}",), (f"{channels}{PIXELS[fewer]}",)
                    ).items()
                },
            )
            for fewer, more in ((16, 32), (32, 64))
        ),
        _statement(
            "RNNIP rejects more light jets with tracks in order of significance than in other orders.",
            _compared(
                study, "btag", ("rnnip",), [name for name in TITLES if name.startswith("rnnip-")], "beauty against l"
            ),
        ),
        *(_more_jets(study, task) for task in TASKS),
    ]


def _compared(
    study: Study, task: str, better: Sequence[str], worse: Sequence[str], signal: str = ""
) -> dict[str, Sigma]:
    """Ratios of rejections of one network to another, at the largest training that both have."""
    compared = {}
    for one in better:
        for other in worse:
            for size in study.largest(task, one, other):
                first, second = study.group(task, one, size), study.group(task, other, size)
                assert first is not None
                assert second is not None
                keys = [key for key in first.keys if key.startswith(signal)]
                if keys:
                    compared[f"{TITLES[one]} over {TITLES[other]}, {size:,} jets"] = ratio(first, second, keys)
    return compared


def _more_jets(study: Study, task: str) -> dict[str, Any]:
    compared = {}
    for size in study.sizes(task):
        for recipe in study.recipes(task, size):
            few, many = study.group(task, recipe, size), study.group(task, recipe, 10 * size)
            if few is not None and many is not None:
                compared[f"{TITLES[recipe]}, {10 * size:,} jets"] = ratio(many, few, few.keys)
    return _statement(f"Ten times as many training jets raise the rejection (`{task}`).", compared)


def shifts(study: Study, task: str, recipe: str, size: int, variant: str) -> dict[str, tuple[float, float]] | None:
    """Mean absolute change of the logarithm of the rejection with the test and with the training sample.

    Returns
    -------
    dict of str to (float, float)
        ``test``: with the same training, on the other sample; ``training``: trained on the other sample, with the same
        test; each averaged over both directions, with its uncertainty. None if something is missing.
    """
    groups = {
        (trained, test): study.group(task, recipe, size, trained, test)
        for trained in ("default", variant)
        for test in ("default", variant)
    }
    if any(group is None for group in groups.values()):
        return None
    made = {}
    pairs = {
        "test": [((trained, variant), (trained, "default")) for trained in ("default", variant)],
        "training": [((variant, test), ("default", test)) for test in ("default", variant)],
    }
    for what, both in pairs.items():
        moves = []
        for first, second in both:
            one, other = groups[first], groups[second]
            assert one is not None
            assert other is not None
            change = ratio(one, other, one.keys)
            moves.append((abs(np.log(change.value)), change.sigma / change.value))
        made[what] = (float(np.mean([m for m, _ in moves])), float(np.hypot(*[s for _, s in moves]) / 2))
    return made


def best(study: Study, task: str, size: int) -> dict[str, dict[str, Any]]:
    """The network with the largest rejection for each pair of classes, and how far the next one is behind.

    Variants of a network (other numbers of pixels, other orders) are left out.

    Returns
    -------
    dict of str to dict
        Name of a rejection -> ``recipe``, ``rejection``, ``next`` and ``ratio`` to it on the same replicas.
    """
    groups = {
        recipe: group
        for recipe in study.recipes(task, size)
        if (recipe.endswith("-shapes") or "-" not in recipe) and (group := study.group(task, recipe, size)) is not None
    }
    if len(groups) < 2:
        return {}
    made = {}
    for key in next(iter(groups.values())).keys:
        values = {recipe: group.rejection(key) for recipe, group in groups.items()}
        first, second = sorted(values, key=lambda recipe: values[recipe].value, reverse=True)[:2]
        made[key] = {
            "recipe": first,
            "rejection": values[first].plain(),
            "next": second,
            "ratio": ratio(groups[first], groups[second], [key]).plain(),
        }
    return made
