"""PFNano events as a table in JetClass-II format, a source for models with a data configuration of weaver."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from jettagger.bundles.bundle import Bundle
from jettagger.display import Brief
from jettagger.errors import MissingColumns
from jettagger.formats import EventColumns, Jets, ReadPlan
from jettagger.formats.base import Offer
from jettagger.formats.naming import Names
from jettagger.inputs.advice import Others, nobody
from jettagger.inputs.flat_tables import (
    Outside,
    domain_columns,
    filled_jets,
    flags_of,
    missing_of_table,
    needed_columns,
)
from jettagger.inputs.flavours import detect
from jettagger.inputs.memory import check_fits
from jettagger.inputs.pfnano_tables import NANO_COLUMNS, NanoColumns, nano_plan
from jettagger.inputs.put_back import attach_flat
from jettagger.inputs.selection import BLOCK, LinkedRequest, Selection, make_request
from jettagger.inputs.wanted import HeadColumns, columns_of_heads
from jettagger.report import Report
from jettagger.types import Array
from jettagger.weaver import DataConfig, Values, WeaverJets

__all__ = ["NanoJets", "NanoRequest"]


@dataclass(frozen=True)
class NanoJets(Brief):
    """Source for models with a data configuration of weaver, for PFNano events.

    Parameters
    ----------
    bundle : Bundle
    config : DataConfig
    jets : str, optional
        The collection of jets, if there are several of known formats.
    names : mapping, optional
        PFNano's names -> those of the input.
    outside : {"score", "skip"}
        As for `jettagger.inputs.flat_tables.FlatTables`.
    min_pt_share : float, optional
    others : callable
        Finds models that can run on an input.
    """

    bundle: Bundle
    config: DataConfig
    jets: str | None = None
    names: Names | None = None
    outside: Outside = "score"
    min_pt_share: float | None = None
    others: Others = field(default=nobody, compare=False)

    @property
    def flags(self) -> tuple[str, ...]:
        """Names of flags of jets."""
        return flags_of(self.config)

    def check(self, offer: Offer, source: str = "these events", heads: Iterable[HeadColumns] = ()) -> ReadPlan:
        """See `jettagger.inputs.source.Source`."""
        config = self.config
        format_ = detect(offer.collections, self.jets, self.names, self.bundle.card.jets)
        why = {}
        for name in needed_columns(config):
            lacking = nano_plan(format_, offer, [name]).missing
            if name not in NANO_COLUMNS:
                why[name] = "not made of events"
            elif lacking:
                ways = ((need, " or ".join(need.stored) or "not in this format") for need in lacking)
                why[name] = "; ".join(f"{need.object}.{need.column}: {stored}" for need, stored in ways)
        known = [name for name in NANO_COLUMNS if name not in why]
        title = f"{format_.title}, as a table of jets"

        def others() -> list[str]:
            return self.others(offer, self.bundle, self.jets, self.names)

        error = missing_of_table(config, self.bundle.name, known, title, source, others, why)
        if error is not None:
            raise error
        domain = [
            name
            for name in domain_columns(config)
            if name in NANO_COLUMNS and not nano_plan(format_, offer, [name]).missing
        ]
        plan = nano_plan(format_, offer, [*needed_columns(config), *domain])
        return replace(plan, more=columns_of_heads(heads, offer, format_.jets, source))

    def request(
        self,
        events: Any,
        where: Any = None,
        kinematics: Mapping[str, Any] | None = None,
        heads: Iterable[HeadColumns] = (),
    ) -> NanoRequest:
        """See `jettagger.inputs.source.Source`.

        Raises
        ------
        MissingColumns
            If columns of the model's selection are missing.
        """
        config = self.config
        columns = events if isinstance(events, EventColumns) else EventColumns(events)
        plan = self.check(columns, heads=heads)
        check_fits(columns, plan)
        linked = make_request(columns, plan, where, kinematics, self.min_pt_share, (self.bundle,))
        rows = np.flatnonzero(linked.present)
        every = NanoColumns(Jets(columns, plan, rows, linked.moved))
        values = Values(config, every)

        def passing(formula: Any) -> Array | None:
            if formula is None or any(config.stored(name) not in every for name in config.columns_of(formula)):
                return None
            inside = np.zeros(len(linked.chosen), dtype=bool)
            inside[rows] = values.passes(formula, len(rows))
            return inside

        flags = {name: passing(config.selection) for name in self.flags}
        outside = 0
        used = config.test_time_selection or config.selection
        if self.outside == "skip" and used is not None:
            inside = passing(used)
            if inside is None:
                lacking = [name for name in config.columns_of(used) if config.stored(name) not in every]
                raise MissingColumns(
                    f"the selection of {config.where} needs {', '.join(lacking)}, which {plan.format.title} lacks"
                )
            outside = int(np.count_nonzero(linked.chosen & ~inside))
            linked = replace(linked, chosen=linked.chosen & inside)
        return NanoRequest(self.bundle, config, linked, flags, outside)


@dataclass(frozen=True)
class NanoRequest(Brief):
    """The jets of PFNano events as a table, and the requested jets.

    Parameters
    ----------
    bundle : Bundle
    config : DataConfig
    linked : LinkedRequest
        The same jets in the events.
    flags : mapping of str to (bool[jets] or None)
        Flags of all jets; None if the events lack the columns for them.
    outside : int
        Number of jets that are left out because they fail the selection.
    """

    bundle: Bundle
    config: DataConfig
    linked: LinkedRequest
    flags: Mapping[str, Array | None]
    outside: int = 0

    @property
    def plan(self) -> ReadPlan:
        """The stored columns that are read."""
        return self.linked.plan

    @property
    def report(self) -> Report:
        """Counts known before constituents are linked."""
        return self.linked.report + Report(outside_domain=self.outside)

    @property
    def counts(self) -> Array:
        """Number of jets of each event, int64[events]."""
        return self.linked.counts

    @property
    def valid(self) -> Array:
        """Mask of events that are not None, bool[events]."""
        return self.linked.valid

    @property
    def present(self) -> Array:
        """Mask of jets that are not None, bool[jets]."""
        return self.linked.present

    def blocks(self, budget: int = BLOCK) -> Iterator[Selection]:
        """The jets to score in blocks of events, see `jettagger.inputs.selection.blocks`."""
        config = self.config
        for selection in self.linked.blocks(budget):
            linked, index = selection.jets, selection.index
            assert isinstance(linked, Jets)
            jets = WeaverJets(Values(config, NanoColumns(linked)), len(linked))
            filled = filled_jets(self.bundle.groups, jets)
            if not filled.all():
                linked, index = linked.only(filled), index[filled]
                jets = WeaverJets(Values(config, NanoColumns(linked)), len(linked))
            empty = int(np.count_nonzero(~filled))
            yield replace(
                selection, jets=jets, index=index, report=selection.report + Report(without_constituents=empty)
            )

    def content(self) -> Iterator[tuple[str, Array]]:
        """The data that the model's inputs depend on: columns in their stored shapes, before linking."""
        yield from self.linked.content()
        yield "outside", np.array([self.outside])

    def values(self, name: str) -> Array:
        """A jet-level or event-level variable by its name in a skim, one entry per jet; NaN for None."""
        return self.linked.values(name)

    def put_back(self, events: Any, scores: Any, names: Mapping[str, str]) -> Any:
        """The events with columns of scores, see `attach_flat`."""
        return attach_flat(events, scores, names, self.plan.collection, self.counts)

    @property
    def group(self) -> Hashable:
        """Names in expressions are local to a configuration: each model makes its inputs itself."""
        return "nano", id(self)

    def together(self, others: Sequence[NanoRequest]) -> NanoRequest:
        """This request: there are no others in its group."""
        return self
