"""Jets linked to their constituents in NanoAOD-like events, as a source of the inputs of a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from jettagger.bundles.bundle import Bundle
from jettagger.bundles.interface import Group
from jettagger.display import Brief
from jettagger.errors import InputFileError, MismatchError, MissingColumns
from jettagger.features import Feature
from jettagger.formats import EventColumns, ReadPlan, make_plan
from jettagger.formats.base import Offer
from jettagger.formats.naming import Names
from jettagger.formats.pfnano import pfnano
from jettagger.inputs.advice import Others, advice, nobody
from jettagger.inputs.batching import Objects
from jettagger.inputs.declared_tables import DeclaredTables, is_table
from jettagger.inputs.flat_tables import TableRequest
from jettagger.inputs.flavours import detect, nearest_flavour
from jettagger.inputs.memory import check_fits
from jettagger.inputs.random_jets import ToyJets, object_counts
from jettagger.inputs.selection import LinkedRequest, make_request
from jettagger.inputs.wanted import HeadColumns, columns_of_heads
from jettagger.types import Array

__all__ = ["LinkedJets", "changed_features", "missing_columns"]


@dataclass(frozen=True)
class LinkedJets(Brief):
    """Source for models with a ``preprocess.json`` or declared inputs.

    Parameters
    ----------
    bundle : Bundle
    jets : str, optional
        The collection of jets, if there are several of known formats.
    names : mapping, optional
        PFNano's names -> those of the input.
    outside : str
        Must be ``score``: there is no training selection.
    min_pt_share : float, optional
    others : callable
        Finds models that can run on an input, see `jettagger.inputs.advice.advice`.

    Raises
    ------
    MismatchError
        If ``outside`` is something else.
    UnknownName
        If a name is not one of PFNano's.
    """

    bundle: Bundle
    jets: str | None = None
    names: Names | None = None
    outside: str = "score"
    min_pt_share: float | None = None
    others: Others = field(default=nobody, compare=False)

    def __post_init__(self) -> None:
        if self.outside != "score":
            raise MismatchError(f"outside= is for models with a data configuration, not {self.bundle.name!r}")
        if self.names is not None:
            pfnano(self.names, kind=self.bundle.card.jets)

    @property
    def flags(self) -> tuple[str, ...]:
        """Empty: there are no flags."""
        return ()

    @property
    def constituents(self) -> tuple[Group, ...]:
        """The groups of candidates."""
        return tuple(group for group in self.bundle.groups if group.object == "pf")

    @property
    def tables(self) -> bool:
        """Whether inputs are declared: the columns of tables are converted to those of candidates, if they exist."""
        return is_table(self.bundle, ("jet_pt", "part_px"))

    @property
    def _of_tables(self) -> DeclaredTables:
        return DeclaredTables(self.bundle, self.jets, self.names, self.min_pt_share, self.others)

    @property
    def described(self) -> bool:
        """True: features are identified by their names."""
        return True

    def random_jets(self, counts: Mapping[str, Array], n_jets: int, seed: int) -> Objects:
        """See `jettagger.inputs.source.Source`."""
        return ToyJets(object_counts(self.bundle.groups, counts, n_jets), seed)

    def changed_by(self, columns: Iterable[str]) -> tuple[str, ...]:
        """See `jettagger.inputs.source.Source`."""
        return changed_features(self.bundle.wanted, columns)

    def check(self, offer: Offer, source: str = "these events", heads: Iterable[HeadColumns] = ()) -> Any:
        """See `jettagger.inputs.source.Source`.

        Raises
        ------
        InputFileError
            If these are not events of a known format; names models that can run on them.
        """
        if is_table(self.bundle, offer.collections):
            return self._of_tables.check(offer, source, heads)
        try:
            format_ = detect(offer.collections, self.jets, self.names, self.bundle.card.jets)
        except InputFileError as error:
            others = self.others(offer, self.bundle, self.jets, self.names)
            if not others:
                raise
            raise InputFileError(f"{error}; {advice(others)}") from None
        plan = make_plan(format_, offer, self.bundle.wanted)
        if plan.missing:
            others = self.others(offer, self.bundle, self.jets, self.names)
            raise missing_columns(plan, offer, source, self.bundle.name, others)
        return replace(plan, more=columns_of_heads(heads, offer, format_.jets, source))

    def request(
        self,
        events: Any,
        where: Any = None,
        kinematics: Mapping[str, Any] | None = None,
        heads: Iterable[HeadColumns] = (),
    ) -> LinkedRequest | TableRequest:
        """See `jettagger.inputs.source.Source`."""
        columns = events if isinstance(events, EventColumns) else EventColumns(events)
        if is_table(self.bundle, columns.collections):
            return self._of_tables.request(columns, where, kinematics, heads)
        plan = self.check(columns, heads=heads)
        check_fits(columns, plan)
        return make_request(columns, plan, where, kinematics, self.min_pt_share, (self.bundle,))


def changed_features(features: Iterable[Feature], columns: Iterable[str]) -> tuple[str, ...]:
    """The names of features that depend on given columns of the jets.

    Parameters
    ----------
    features : iterable of Feature
    columns : iterable of str
        Canonical columns of the jets: ``pt``, ``msoftdrop``.

    Returns
    -------
    tuple of str
    """
    columns = set(columns)
    changed = []
    for feature in features:
        needs = {need.removeprefix("jet.") for need in feature.needs if need.startswith("jet.")}
        if feature.object == "jet":
            needs |= set(feature.needs)
        if needs & columns:
            changed.append(feature.name)
    return tuple(changed)


def missing_columns(plan: ReadPlan, offer: Offer, source: str, name: str, others: Sequence[str] = ()) -> MissingColumns:
    """The columns that an input lacks, what needs them, and which models can run on it.

    Parameters
    ----------
    plan : ReadPlan
        With missing columns.
    offer : Offer
    source : str
        Name of the input.
    name : str
        Name of the model.
    others : sequence of str
        Models that can run on it.

    Returns
    -------
    MissingColumns
    """
    lines = "\n".join(f"  {need}" for need in plan.missing)
    remarks = [advice(others), *([plan.format.remark] if plan.format.remark else [])]
    if "pf" not in plan.objects:
        near = nearest_flavour(offer.collections, plan.format.kind, offer)
        remarks += [near] if near else []
    uneven = offer.uneven if isinstance(offer, EventColumns) else []
    if uneven:
        remarks.insert(
            0,
            "tag them separately, before they are concatenated: only some of these events have the columns "
            f"{', '.join(uneven[:6])} (a union of records)",
        )
    expected = f"columns that the model {name!r} needs"
    return MissingColumns(
        f"{source} ({plan.format.title}) lacks {expected}: {'; '.join(remarks)}\n"
        f"{len(plan.missing)} missing columns:\n{lines}",
        where=source,
        got=plan.format.title,
        expected=expected,
    )
