"""Attributions as columns beside the constituents of each jet, in bounded memory."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from jettagger.arguments import guard
from jettagger.discriminants import Discriminant
from jettagger.display import Brief
from jettagger.errors import MismatchError, UnknownName
from jettagger.explain.baselines import Baseline, no_constituents
from jettagger.explain.columns import ObjectColumns, put_back
from jettagger.explain.jets import JetInputs, families_of, jet_inputs
from jettagger.explain.methods import gradient_input, integrated, occlude_constituents, saliency
from jettagger.explain.scorer import Attributions, Scorer
from jettagger.explain.targets import JetTarget
from jettagger.expressions.cutlogic import warn_doubt
from jettagger.runtime.memory import freed_memory_kept
from jettagger.tagging.tagger import Tagger
from jettagger.types import Array

__all__ = ["AttributionSettings", "AttributionWarning", "Method", "attribute"]

#: methods that give a number for each constituent
Method = Literal["saliency", "gradient-input", "integrated", "occlusion"]

#: largest residual of complete attributions, as a fraction of what they should add up to
TOLERANCE = 0.01


class AttributionWarning(UserWarning):
    """Something about attributions that does not show in them: no gradient, differences, sums that are incomplete."""


@dataclass(frozen=True)
class AttributionSettings(Brief):
    """What is attributed, how, and the columns of it; made by `attribute`, a value that is sent to workers.

    Parameters
    ----------
    tagger : Tagger
    target : str, Discriminant or target
    method : str
    baseline : Baseline or None
    variables : tuple of str
        Variables with columns of their own.
    prefix : str
        Prefix of the columns.
    """

    tagger: Tagger
    target: str | Discriminant | JetTarget
    method: Method
    baseline: Baseline | None
    variables: tuple[str, ...]
    prefix: str

    @property
    def columns(self) -> dict[str, dict[str, str]]:
        """List of objects (``pf``, ``sv``) -> variable, or empty for their sum -> column; ``jet``: of the jets.

        Columns of the jets are the number itself as ``number``, and its residual.
        """
        bundle = self.tagger.bundle
        groups = {group.name: group for group in bundle.groups}
        found: dict[str, dict[str, str]] = {}
        for family, names in families_of(bundle).items():
            if family == "jet" and self.method == "occlusion":
                continue
            own = {item.feature.name for name in names for item in groups[name].variables if not groups[name].is_mask}
            column = f"{self.prefix}_{self.method.replace('-', '_')}"
            chosen = {name: f"{column}_{name}" for name in self.variables if name in own}
            found[family] = {"": column, **chosen}
        found.setdefault("jet", {})["number"] = self.prefix
        if self.method == "integrated":
            found["jet"]["residual"] = f"{self.prefix}_residual"
        return found


def attribute(
    tagger: Tagger,
    events: Any,
    target: str | Discriminant | JetTarget,
    *,
    method: Method = "saliency",
    where: Any = None,
    variables: Iterable[str] = (),
    baseline: Baseline | None = None,
    prefix: str | None = None,
) -> Any:
    """What each constituent contributes to a number of its jet, as columns beside the constituents.

    Parameters
    ----------
    tagger : Tagger
    events : awkward array or dask-awkward collection
        As for the tagger: events with linked constituents, tables with one row per jet, Delphes events.
    target : str, Discriminant or target
        As for `jettagger.explain.target_of`: ``"log HbbvsQCD"``.
    method : {"saliency", "gradient-input", "integrated", "occlusion"}
        ``saliency``: the sum of the absolute derivatives with respect to the inputs of a constituent;
        ``gradient-input``, ``integrated``: the sum of the contributions of its inputs; ``occlusion``: the number minus
        that without the constituent, which needs no torch.
    where : str or bool array, optional
        As for the tagger: only selected jets are explained.
    variables : iterable of str
        Variables of the network with a column of their own, signed; not with ``occlusion``. ``"all"``: each of them.
    baseline : Baseline, optional
        For ``integrated``; default: `jettagger.explain.no_constituents`. It does not depend on the events.
    prefix : str, optional
        Prefix of the columns; default: those of the tagger and the name of the target.

    Returns
    -------
    awkward array or dask-awkward collection
        New events; columns are float32 or None. ``FatJetPFCands.<prefix>_<method>`` (and ``FatJetSVs``) has one number
        for each row that links a candidate to a jet: None if the jet was not explained, 0 if the network does not see
        the candidate (it fails the selection, or is beyond the number of slots). Variables have columns
        ``<prefix>_<method>_<variable>``. ``FatJet.<prefix>`` is the number itself. In tables the columns are lists
        ``part_<prefix>_<method>`` beside those of the constituents, in Delphes events lists of the jets in the order of
        their constituents.

    Raises
    ------
    MissingColumns, MismatchError
        As for the tagger; MismatchError also for images, whose pixels are no constituents, for columns that exist
        already, and if a baseline does not fit or is given for another method.
    UnknownName, ConfigError
        If the target, the method or a variable does not exist; gives the nearest names.
    MissingModelFile
        If the model has no weights.
    MissingExtra
        If torch is not installed, except for ``occlusion``.

    Warns
    -----
    AttributionWarning
        If the number is constant or has no gradient, if derivatives are differences or not finite, or if sums are
        incomplete.

    Examples
    --------
    >>> from jettagger import load_tagger
    >>> from jettagger.testing import make_events
    >>> tagger = load_tagger("tinyParT", threads=1)
    >>> events = attribute(tagger, make_events(4, seed=1), "probHbb", method="occlusion", where="pt > 250")
    >>> print(events.FatJetPFCands.tinyParT_probHbb_occlusion.type)
    4 * var * ?float32
    """
    settings = settings_of(tagger, target, method, variables, baseline, prefix)
    warn_doubt(where)
    if type(events).__module__.partition(".")[0] == "dask_awkward":
        from jettagger.explain.partitions import attributed

        return attributed(settings, events, where)
    return run(settings, events, where)


def settings_of(
    tagger: Tagger,
    target: str | Discriminant | JetTarget,
    method: Method = "saliency",
    variables: Iterable[str] = (),
    baseline: Baseline | None = None,
    prefix: str | None = None,
) -> AttributionSettings:
    """The validated settings of an attribution.

    Parameters
    ----------
    tagger, target, method, variables, baseline, prefix
        As for `attribute`.

    Returns
    -------
    AttributionSettings

    Raises
    ------
    MismatchError, UnknownName, ConfigError, MissingModelFile
        As for `attribute`.
    """
    bundle = tagger.bundle
    scorer = Scorer(tagger, target)
    if method not in get_args(Method):
        raise UnknownName("method", method, get_args(Method), "attribute()")
    images = [group.name for group in bundle.groups if group.image is not None]
    if images:
        raise MismatchError(
            f"the constituents become an image in the input {images[0]!r} of {bundle.name!r}: its pixels are no "
            "constituents. jettagger explain draws maps of pixels"
        )
    if baseline is not None and method != "integrated":
        raise MismatchError(f"a baseline is for the method 'integrated', not for {method!r}")
    groups = [group for group in bundle.groups if not group.is_mask]
    known = list(dict.fromkeys(item.feature.name for group in groups for item in group.variables))
    chosen = [variables] if isinstance(variables, str) else list(variables)
    if chosen and method == "occlusion":
        raise MismatchError("occlusion leaves out whole constituents: variables have no columns of their own")
    chosen = known if chosen == ["all"] else chosen
    unknown = [name for name in chosen if name not in known]
    if unknown:
        raise UnknownName("variable", unknown, known, f"the inputs of {bundle.name!r}")
    name = re.sub(r"\W+", "_", scorer.target.name).strip("_")
    prefix = f"{bundle.prefix}_{name}" if prefix is None else prefix
    if not prefix.isidentifier():
        raise MismatchError(f"a prefix of letters, digits and _ is required, got {prefix!r}")
    return AttributionSettings(tagger, target, method, baseline, tuple(dict.fromkeys(chosen)), prefix)


def run(settings: AttributionSettings, events: Any, where: Any = None) -> Any:
    """The events with the columns of an attribution, see `attribute`; in memory or virtual."""
    tagger = settings.tagger
    scorer = Scorer(tagger, settings.target)
    request = tagger.request(events, where)
    lists = {family: ObjectColumns.of(request, family, names) for family, names in settings.columns.items()}
    remarks = _Remarks(scorer.target.name)
    with freed_memory_kept():
        for jets in jet_inputs(tagger, request, scorer.target.columns):
            for family, values in _numbers(settings, scorer, jets, remarks).items():
                for name, array in values.items():
                    lists[family].add(name, jets.jets, array)
    for text in filter(None, [*remarks.texts(), scorer.rounding]):
        warnings.warn(text, AttributionWarning, stacklevel=3)
    return put_back(request, events, lists, settings.columns)


def _numbers(
    settings: AttributionSettings, scorer: Scorer, jets: JetInputs, remarks: _Remarks
) -> dict[str, dict[str, Array]]:
    """List of objects -> variable -> numbers, float64[n, longest list], of jets float64[n, 1]."""
    found: dict[str, dict[str, Array]] = {}
    if settings.method == "occlusion":
        for family in jets.families:
            if family != "jet":
                effects = occlude_constituents(scorer, jets, family)
                found[family] = {"": effects.values}
                outputs = effects.outputs
        remarks.add_numbers(outputs)
        return {**found, "jet": {"number": outputs[:, np.newaxis]}}
    made = _METHODS[settings.method](scorer, jets, settings.baseline)
    for family, names in settings.columns.items():
        found[family] = {}
        for variable in names:
            if variable not in ("number", "residual"):
                slots = _slots(made, family, variable, absolute=settings.method == "saliency" and not variable)
                found[family][variable] = jets.per_object(family, slots)
    found["jet"]["number"] = made.outputs[:, np.newaxis]
    if made.residual is not None:
        found["jet"]["residual"] = made.residual[:, np.newaxis]
    remarks.add(made)
    return found


def _slots(made: Attributions, family: str, variable: str, *, absolute: bool) -> dict[str, Array]:
    """Group -> the attributions of each slot to one variable, or to all of them."""
    slots = {}
    for name in made.jets.in_family(family):
        values = np.abs(made.values[name]) if absolute else made.values[name]
        names = [item.feature.name for item in made.jets.groups[name].variables]
        if not variable:
            slots[name] = values.sum(axis=1)
        elif variable in names:
            slots[name] = values[:, names.index(variable)]
    return slots


def _integrated(scorer: Scorer, jets: JetInputs, baseline: Baseline | None) -> Attributions:
    return integrated(scorer, jets, baseline or no_constituents(jets.bundle), tolerance=TOLERANCE)


_METHODS: Mapping[str, Callable[[Scorer, JetInputs, Baseline | None], Attributions]] = {
    "saliency": lambda scorer, jets, baseline: saliency(scorer, jets),
    "gradient-input": lambda scorer, jets, baseline: gradient_input(scorer, jets),
    "integrated": _integrated,
}


@dataclass
class _Remarks:
    """What to say of the attributions of all jets together."""

    name: str
    n_jets: int = 0
    lowest: float = np.inf
    highest: float = -np.inf
    flat: bool = True
    not_finite: int = 0
    bad_jets: list[int] = field(default_factory=list)
    incomplete: int = 0
    reason: str = ""

    def add_numbers(self, outputs: Array) -> None:
        """The numbers of further jets."""
        self.n_jets += len(outputs)
        if len(outputs):
            self.lowest = min(self.lowest, float(outputs.min()))
            self.highest = max(self.highest, float(outputs.max()))
        self.flat = False

    def add(self, made: Attributions) -> None:
        """The attributions of further jets."""
        flat = self.flat
        self.add_numbers(made.outputs)
        self.flat = flat and not any(array.any() for array in made.values.values())
        self.not_finite += int(made.not_finite.sum())
        self.bad_jets += made.jets.jets[made.not_finite > 0].tolist()
        self.reason = self.reason or made.reason
        if made.residual is not None and made.reference is not None:
            allowed = np.maximum(TOLERANCE * np.abs(made.outputs - made.reference), 1e-5)
            self.incomplete += int(np.count_nonzero(~(np.abs(made.residual) <= allowed)))

    def texts(self) -> list[str]:
        """The warnings."""
        texts = []
        if self.n_jets > 1 and self.lowest == self.highest:
            texts.append(f"{self.name} is constant: {self.lowest:g} for all {self.n_jets} jets")
        if self.n_jets and self.flat:
            texts.append(f"{self.name} has no gradient: its derivatives are 0 for all {self.n_jets} jets")
        if self.reason:
            texts.append(f"derivatives of {self.name} are central differences: {self.reason}")
        if self.not_finite:
            first = ", ".join(map(str, sorted(self.bad_jets)[:5]))
            texts.append(
                f"{self.not_finite} derivatives of {self.name} in {len(self.bad_jets)} jets are not finite and count "
                f"as 0 (first jets of the chunk: {first})"
            )
        if self.incomplete:
            texts.append(
                f"the attributions of {self.incomplete} of {self.n_jets} jets do not add up to the change of "
                f"{self.name} within {TOLERANCE:.0%}: see the column of residuals"
            )
        return texts


guard(globals(), "AttributionSettings", "attribute")
