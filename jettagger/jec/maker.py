"""Jets of simulated events as shards for the training of an energy calibration.

Inputs are computed as for the application of a model, from the same declarations of formats. Jets are matched to
generator jets as in `jettagger.truth.genjets`; jets without one are pile-up and left out, as are those that a tagger
would not score because some of their constituents are missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.display import Brief
from jettagger.errors import MissingColumns, UnknownName
from jettagger.features import FEATURES
from jettagger.formats import EventColumns, ReadPlan, make_plan
from jettagger.formats.base import JetKind, Offer
from jettagger.formats.naming import Names
from jettagger.inputs.batching import feature_of
from jettagger.inputs.flavours import declared_names, detect
from jettagger.inputs.selection import blocks, make_request
from jettagger.jec.estimates import flavour_of
from jettagger.jec.rows import RawJets
from jettagger.jec.sampling import Acceptance, JetSpectrum, Sampling
from jettagger.jec.variables import ABSENT, BLOCKS, BRANCHES
from jettagger.truth import hard_parton_flavour, matched_generator_jets
from jettagger.types import Array, Floats, Ints

__all__ = ["DEFAULT_BRANCHES", "TRUTH", "JetCounts", "MatchedJets", "ShardMaker"]

#: the branches that PFNano has
DEFAULT_BRANCHES = tuple(name for name in BRANCHES if name not in ABSENT)

#: branches beside the inputs: those of the generator jet, and of the event
TRUTH = (
    *("pt_gen", "eta_gen", "phi_gen", "mass_gen", "hadron_flavor", "parton_flavor"),
    *("pt_full_corr", "weight", "gen_weight", "exp_pileup", "event"),
)

#: kind of jets -> their generator jets
_GENERATOR_JETS: Mapping[JetKind, str] = {"AK4": "GenJet", "AK8": "GenJetAK8"}


@dataclass(frozen=True)
class JetCounts(Brief):
    """Numbers of jets of a training set; counts can be added.

    Parameters
    ----------
    events, jets : int
        Number read.
    not_selected : int
        Jets that the cut does not select.
    pileup : int
        Jets without a generator jet.
    partial : int
        Jets of which some constituents are missing, or without a valid momentum.
    without_flavour : int
        Matched jets of unknown flavour.
    sampled_out : int
        Jets left out by the down-sampling.
    written : int
    replaced_values : int
        Values of written jets that were not finite, and replaced by 0.
    """

    events: int = 0
    jets: int = 0
    not_selected: int = 0
    pileup: int = 0
    partial: int = 0
    without_flavour: int = 0
    sampled_out: int = 0
    written: int = 0
    replaced_values: int = 0

    def to_dict(self) -> dict[str, int]:
        """Name -> number, for JSON."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    def __add__(self, other: JetCounts) -> JetCounts:
        return JetCounts(**{item.name: getattr(self, item.name) + getattr(other, item.name) for item in fields(self)})


@dataclass(frozen=True)
class MatchedJets(Brief):
    """Jets of a chunk of events with their generator jets.

    Parameters
    ----------
    index : int64[n]
        Jets with a generator jet, indices in the flat collection of all jets.
    truth : dict of str to array[n]
        Branches of `TRUTH`.
    place : int64[n]
        Index of the jet in its event.
    counts : JetCounts
    """

    index: Ints
    truth: Mapping[str, Array]
    place: Ints
    counts: JetCounts

    @property
    def flavour(self) -> Ints:
        """Flavour of the jets, int64[n]; see `jettagger.jec.flavour_of`."""
        return flavour_of(self.truth["hadron_flavor"], self.truth["parton_flavor"])

    def spectrum(self, sampling: Sampling) -> JetSpectrum:
        """Their numbers in the bins of a down-sampling."""
        return JetSpectrum.of(sampling, self.truth["pt_gen"], self.truth["eta_gen"], self.flavour)


@dataclass(frozen=True)
class ShardMaker(Brief):
    """What becomes a training set, and how.

    Parameters
    ----------
    kind : {"AK4", "AK8"}
        Kind of the jets: AK8 for fat jets of any radius.
    jets : str, optional
        The collection of jets, if there are several of this kind.
    branches : tuple of str
        Branches of the inputs, see `jettagger.jec.variables.BRANCHES`.
    where : str, optional
        Cut in columns of the jets: ``"pt > 15"``.
    generator_jets : str, optional
        Default: ``GenJet``, for fat jets ``GenJetAK8``.
    cone : float, optional
        Maximum distance of a jet and its generator jet; default: half of the radius.
    target : str
        Column of the generator jets with the true momentum: ``pt``, or ``ptNu`` with neutrinos.
    names : mapping, optional
        PFNano's names of collections and columns -> those of the input.
    format : str, optional
        Flavour of PFNano that declares these names.
    min_pt_share : float, optional
        As for `jettagger.TaggerOptions`.

    Raises
    ------
    UnknownName
        If a branch is none that events can provide.

    Examples
    --------
    >>> ShardMaker(branches=("pt", "rho", "ch_pt")).blocks
    {'global': ['pt', 'rho'], 'ch': ['ch_pt']}
    """

    kind: JetKind = "AK4"
    jets: str | None = None
    branches: tuple[str, ...] = DEFAULT_BRANCHES
    where: str | None = None
    generator_jets: str | None = None
    cone: float | None = None
    target: str = "pt"
    names: Names | None = field(default=None, hash=False)
    format: str | None = None
    min_pt_share: float | None = None

    def __post_init__(self) -> None:
        unknown = [name for name in self.branches if name not in BRANCHES]
        if unknown:
            raise UnknownName("branch", unknown, BRANCHES, "the branches of a training set")
        object.__setattr__(self, "branches", tuple(dict.fromkeys(self.branches)))

    @property
    def blocks(self) -> dict[str, list[str]]:
        """Block -> its branches."""
        found = {block: [name for name in self.branches if BRANCHES[name].block == block] for block in BLOCKS}
        return {block: names for block, names in found.items() if names}

    @property
    def _truth(self) -> tuple[str, ...]:
        """Columns of the generator jets that must be there."""
        return (self.target, "eta", "phi")

    @property
    def truth_jets(self) -> str:
        """The collection of generator jets."""
        return self.generator_jets or _GENERATOR_JETS[self.kind]

    def plan(self, offer: Offer, source: str = "these events") -> ReadPlan:
        """Compare the available columns with the required ones; nothing is read.

        Parameters
        ----------
        offer : Offer
            Events or an open file.
        source : str
            Its name, for errors.

        Returns
        -------
        ReadPlan
            Its ``columns`` are those to read.

        Raises
        ------
        MissingColumns
            Lists all missing columns and the branches that need them.
        InputFileError
            If the format is not known.
        """
        format_ = detect(offer.collections, self.jets, declared_names(self.names, self.format), self.kind)
        plan = make_plan(format_, offer, [FEATURES[BRANCHES[name].feature] for name in self.branches])
        lines = [str(item) for item in plan.missing]
        gen = self.truth_jets
        lines += [f"{gen}.{name}, the generator jet" for name in self._truth if not offer.has(f"{gen}.{name}")]
        if not offer.has("event"):
            lines.append("event, the event number")
        if lines:
            listed = "\n".join(f"  {line}" for line in lines)
            absent = [name for name in self.branches if name in ABSENT]
            hint = f"; leave out the branches {', '.join(absent)}, which PFNano does not have" if absent else ""
            raise MissingColumns(
                f"{source} ({format_.title}) lacks columns of a training set{hint}\n{len(lines)} missing columns:\n"
                f"{listed}"
            )
        return ReadPlan(
            plan.format, plan.providers, plan.objects, (), tuple(self._more(offer, format_.jets)), plan.verified
        )

    def _more(self, offer: Offer, jets: str) -> Iterator[str]:
        """Columns that are read beside those of the inputs."""
        gen = self.truth_jets
        if self.where is not None:
            from jettagger.expressions import parse

            for name in parse(self.where, where="where").names:
                if offer.has(f"{jets}.{name}"):
                    yield f"{jets}.{name}"
        wanted = [f"{jets}.{name}" for name in ("pt", "eta", "phi", "hadronFlavour", "partonFlavour")]
        wanted += [f"{gen}.{name}" for name in (*self._truth, "mass", "hadronFlavour", "partonFlavour")]
        wanted += ["event", "genWeight", "Pileup.nTrueInt"]
        if not self._has_parton(offer, jets):
            wanted += _PARTICLES
        yield from (column for column in wanted if offer.has(column))

    def _has_parton(self, offer: Offer, jets: str) -> bool:
        return offer.has(f"{jets}.partonFlavour") or offer.has(f"{self.truth_jets}.partonFlavour")

    def matched(self, events: Any, plan: ReadPlan | None = None) -> MatchedJets:
        """The selected jets with a generator jet; constituents are not read.

        Parameters
        ----------
        events : awkward array or EventColumns
        plan : ReadPlan, optional

        Returns
        -------
        MatchedJets
        """
        columns = events if isinstance(events, EventColumns) else EventColumns(events)
        plan = self.plan(columns) if plan is None else plan
        request = make_request(columns, plan, self.where, None, self.min_pt_share)
        jets, gen = plan.format.jets, self.truth_jets
        event, gen_event = columns.owners(jets), columns.owners(gen)
        eta, phi = (columns.flat(f"{jets}.{name}") for name in ("eta", "phi"))
        gen_eta, gen_phi = (columns.flat(f"{gen}.{name}") for name in ("eta", "phi"))
        radius = plan.format.radius
        cone = radius / 2 if self.cone is None else self.cone
        partner = matched_generator_jets(event, eta, phi, gen_event, gen_eta, gen_phi, len(columns), cone)
        gen_pt = columns.flat(f"{gen}.{self.target}")
        chosen = request.chosen & (partner >= 0)
        index = np.flatnonzero(chosen)
        here, partner = event[index], partner[index]

        def of_gen(name: str) -> Floats:
            column = f"{gen}.{name}"
            values = columns.flat(column) if columns.has(column) else np.full(len(gen_pt), np.nan)
            return np.asarray(values[partner], dtype=np.float32)

        def of_event(name: str) -> Floats:
            found: Floats = columns.per_event(name)[here] if columns.has(name) else np.full(len(here), np.nan, "f4")
            return found

        truth: dict[str, Array] = {f"{name}_gen": of_gen(name) for name in ("eta", "phi", "mass")}
        truth["pt_gen"] = gen_pt[partner].astype(np.float32)
        truth["hadron_flavor"] = self._flavour(columns, "hadronFlavour", jets, index, partner)
        truth["parton_flavor"] = self._flavour(columns, "partonFlavour", jets, index, partner)
        if not self._has_parton(columns, jets) and all(map(columns.has, _PARTICLES)):
            particles = {name.partition(".")[2]: columns.flat(name) for name in _PARTICLES}
            owners = columns.owners("GenPart")
            flavour = hard_parton_flavour(here, eta[index], phi[index], owners, particles, len(columns), radius)
            truth["parton_flavor"] = flavour.astype(np.int32)
        truth["pt_full_corr"] = np.asarray(columns.flat(f"{jets}.pt")[index], dtype=np.float32)
        truth["weight"] = np.ones(len(index), dtype=np.float32)
        truth["gen_weight"] = of_event("genWeight")
        truth["exp_pileup"] = of_event("Pileup.nTrueInt")
        numbers = np.zeros(len(columns), dtype=np.int64)
        numbers[columns.valid] = np.asarray(columns.column("event"))
        truth["event"] = numbers[here]
        counts = JetCounts(
            events=len(columns),
            jets=len(request.chosen),
            not_selected=int(np.count_nonzero(~request.chosen)),
            pileup=int(np.count_nonzero(request.chosen)) - len(index),
            without_flavour=int(np.count_nonzero(flavour_of(truth["hadron_flavor"], truth["parton_flavor"]) == 0)),
        )
        return MatchedJets(index, truth, index - columns.starts(jets)[here], counts)

    def _flavour(self, columns: EventColumns, name: str, jets: str, index: Ints, partner: Ints) -> Ints:
        for collection, rows in ((jets, index), (self.truth_jets, partner)):
            if columns.has(f"{collection}.{name}"):
                return columns.flat(f"{collection}.{name}")[rows].astype(np.int32)
        return np.zeros(len(index), dtype=np.int32)

    def made(self, events: Any, acceptance: Acceptance | None = None) -> tuple[RawJets, JetCounts]:
        """The jets of a chunk of events.

        Parameters
        ----------
        events : awkward array or EventColumns
        acceptance : Acceptance, optional
            Down-sampling; the branch ``weight`` undoes it.

        Returns
        -------
        RawJets
            In the order of the events.
        JetCounts

        Raises
        ------
        MissingColumns
            As for `plan`.
        """
        columns = events if isinstance(events, EventColumns) else EventColumns(events)
        plan = self.plan(columns)
        matched = self.matched(columns, plan)
        truth, index, counts = dict(matched.truth), matched.index, matched.counts
        if acceptance is not None:
            probability = acceptance.of(truth["pt_gen"], truth["eta_gen"], matched.flavour)
            kept = acceptance.keeps(probability, truth["event"], matched.place)
            truth["weight"] = np.divide(1, probability, out=np.zeros(len(kept)), where=kept).astype(np.float32)
            truth, index = {name: values[kept] for name, values in truth.items()}, index[kept]
            counts += JetCounts(sampled_out=int(np.count_nonzero(~kept)))
        request = make_request(columns, plan, None, None, self.min_pt_share)
        chosen = np.zeros(len(request.chosen), dtype=bool)
        chosen[index] = True
        found = list(blocks((), replace(request, chosen=chosen)))
        parts = [self._inputs(selection.jets) for selection in found]
        used = np.concatenate([selection.index for selection in found]) if found else np.zeros(0, dtype=np.int64)
        rows = np.searchsorted(index, used)
        content = {name: np.concatenate([part[0][name] for part in parts]) for name in self.branches} if parts else {}
        sizes = {block: np.concatenate([part[1][block] for part in parts]) for block in self._lists} if parts else {}
        if not parts:
            content = {name: np.zeros(0, _dtype(name)) for name in self.branches}
            sizes = {block: np.zeros(0, dtype=np.int64) for block in self._lists}
        content |= {name: values[rows] for name, values in truth.items()}
        replaced = sum(part[2] for part in parts)
        counts += JetCounts(written=len(used), partial=len(index) - len(used), replaced_values=replaced)
        return RawJets(content, sizes), counts

    @property
    def _lists(self) -> list[str]:
        return [block for block in self.blocks if block != "global"]

    def _inputs(self, jets: Any) -> tuple[dict[str, Array], dict[str, Ints], int]:
        """Branches of linked jets, numbers of constituents, number of replaced values."""
        made: dict[str, Array] = {}
        found, replaced = {}, 0
        for name in self.branches:
            values = feature_of(FEATURES[BRANCHES[name].feature], jets, made)
            bad = ~np.isfinite(values)
            replaced += int(np.count_nonzero(bad))
            found[name] = np.where(bad, np.float32(0), values).astype(_dtype(name))
        objects = {block: FEATURES[BRANCHES[self.blocks[block][0]].feature].object for block in self._lists}
        return found, {block: jets.counts(object_) for block, object_ in objects.items()}, replaced


_PARTICLES = tuple(f"GenPart.{name}" for name in ("pt", "eta", "phi", "pdgId", "status"))


def _dtype(branch: str) -> Any:
    return np.int32 if BRANCHES[branch].categorical else np.float32


guard(globals())
