"""What is explained, from its name: a preset, an output, a logit, an output of a head, an expression in scores."""

from __future__ import annotations

import numpy as np

from jettagger.arguments import guard
from jettagger.bundles.bundle import Bundle
from jettagger.bundles.outputs import Output
from jettagger.discriminants import Discriminant, discriminant, presets
from jettagger.discriminants.columns import Unresolvable, resolve_names
from jettagger.discriminants.tables import find_model
from jettagger.errors import ConfigError, UnknownName
from jettagger.explain.targets import DiscriminantTarget, HeadTarget, JetTarget, LogOdds, OutputTarget
from jettagger.heads import Head
from jettagger.tagging.tagger import Tagger

__all__ = ["target_of"]


def target_of(tagger: Tagger | Bundle, what: str | Discriminant | JetTarget) -> JetTarget:
    """The target of a text.

    Parameters
    ----------
    tagger : Tagger or Bundle
        The network; heads are those of a tagger.
    what : str, Discriminant or target
        A preset (``HbbvsQCD``; ``log HbbvsQCD``: its logarithm of signal over background), an output (``probHbb``,
        ``mass``, ``hidNeurons012``), the logit of a score (``logit probHbb``), an output of a head
        (``<head>:<output>``), or an expression in scores (``probHbb / (probHbb + probHcc)``).

    Returns
    -------
    OutputTarget, LogOdds, DiscriminantTarget or HeadTarget

    Raises
    ------
    UnknownName
        If neither an output, a discriminant nor a head has this name, or if the model lacks scores of a discriminant;
        gives the nearest names.
    ConfigError
        If an expression is invalid, or contains no score; if a logit of something other than a score is asked for.

    Examples
    --------
    >>> from jettagger import load_tagger
    >>> from jettagger.explain import COLUMNS
    >>> tagger = load_tagger("tinyParT")
    >>> target_of(tagger, "mass").unit, target_of(tagger, "hidNeuron3").name
    ('GeV', 'hidNeurons003')
    >>> target_of(tagger, "logit probHbb")({COLUMNS: np.full((2, 166), 1 / 37)}).round(3).tolist()
    [-3.584, -3.584]
    >>> target_of(tagger, "HbbvsQDC")
    Traceback (most recent call last):
        ...
    jettagger.errors.UnknownName: unknown target in bundle 'tinyParT': 'HbbvsQDC' (nearest: HbbvsQCD, ...)
    """
    bundle, heads = (tagger.bundle, tagger.heads) if isinstance(tagger, Tagger) else (tagger, ())
    if isinstance(what, Discriminant):
        return _of_discriminant(bundle, what)
    if not isinstance(what, str):
        return what
    text = what.strip()
    form, _, rest = text.partition(" ")
    if form == "logit" and rest.strip():
        return _logit(bundle, rest.strip())
    if ":" in text:
        return _of_head(bundle, heads, *(part.strip() for part in text.split(":", 1)))
    output = bundle._by_name.get(text)
    if output is not None:
        return _of_output(bundle, output)
    for head in heads:
        if text in head.columns:
            return _of_head(bundle, heads, head.name, head.card.outputs[head.columns.index(text)])
    if text in presets():
        return _of_discriminant(bundle, discriminant(text))
    if form == "log" and rest.strip().isidentifier():
        _known(bundle, heads, rest.strip())
        return _of_discriminant(bundle, discriminant(rest.strip(), form="log_ratio"))
    if not text or text.isidentifier():
        _known(bundle, heads, text)
    return _of_discriminant(bundle, Discriminant.from_string(text))


def _known(bundle: Bundle, heads: tuple[Head, ...], name: str) -> None:
    """Refuse a name that is no preset, with the nearest ones of all kinds."""
    if name not in presets():
        columns = [f"{head.name}:{output}" for head in heads for output in head.card.outputs]
        known = [*presets(), *(output.name for output in bundle.outputs), *columns]
        raise UnknownName("target", name, known, f"bundle {bundle.name!r}")


def _of_output(bundle: Bundle, output: Output) -> OutputTarget:
    mass = output.kind == "mass" and (bundle.card.mass is None or bundle.card.mass.unit == "GeV")
    return OutputTarget(output.name, output.index, "GeV" if mass else "1")


def _logit(bundle: Bundle, name: str) -> OutputTarget | LogOdds:
    output = bundle[name]
    if output.kind == "logit":
        return _of_output(bundle, output)
    if output.kind != "prob":
        raise ConfigError(
            f"logit {name}: {output.name!r} is of the kind {output.kind!r}, a logit exists of scores: {bundle.kinds()}"
        )
    return LogOdds(f"logit {output.name}", output.index, tuple(_companions(bundle, output)))


def _companions(bundle: Bundle, output: Output) -> list[int]:
    """The other outputs of the softmax that gives an output; none if no softmax shows."""
    if output.softmax:
        return [item.index for item in bundle.outputs if item.softmax and item is not output]
    first = 0
    graph = bundle.graph
    for tensor in graph.outputs if graph is not None else ():
        assert graph is not None
        for start, stop in graph.softmaxed[tensor.name]:
            if first + start <= output.index < first + stop:
                return [index for index in range(first + start, first + stop) if index != output.index]
        widths = [axis for axis in tensor.shape[1:] if isinstance(axis, int)]
        if len(widths) < len(tensor.shape) - 1:
            break  # the positions of the outputs behind it are not known
        first += int(np.prod(widths))
    return []


def _of_discriminant(bundle: Bundle, item: Discriminant) -> DiscriminantTarget:
    names = frozenset(output.name for output in bundle.outputs)
    what = item.name or str(item.expression)
    try:
        found = resolve_names(item.expression, "", names, find_model("", names))
    except Unresolvable as error:
        place = f"bundle {bundle.name!r}, which {what!r} needs"
        raise UnknownName("score or group", list(error.missing), error.known, place) from None
    if not found.columns:
        raise ConfigError(f"{what}: contains no score, so it is the same number for all jets")
    index = {name: bundle[column].index for name, column in found.columns.items()}
    return DiscriminantTarget(what, item, found, index)


def _of_head(bundle: Bundle, heads: tuple[Head, ...], name: str, output: str) -> HeadTarget:
    by_name = {head.name: head for head in heads}
    if name not in by_name:
        raise UnknownName("head", name, by_name, f"the tagger of {bundle.name!r}")
    head = by_name[name]
    if output not in head.card.outputs:
        raise UnknownName("output", output, head.card.outputs, f"head {name!r}")
    index = {item.name: bundle[item.name].index for item in head.card.inputs if item.source == "tagger"}
    unit = "GeV" if head.card.kind == "mass" else "1"
    return HeadTarget(f"{name}:{output}", head, head.card.outputs.index(output), index, unit)


guard(globals())
