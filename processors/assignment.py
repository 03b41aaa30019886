"""Masses of particles from assigned jets, in a coffea job."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
from coffea import processor

import jettagger as jt
from jettagger.arguments import guard
from jettagger.assignment import AssignmentReport, BTag, EventDescription, MassTerm, chi_square
from jettagger.display import Brief
from jettagger.errors import ConfigError, UnknownName
from jettagger.histograms import AxisSpec, HistSpec

__all__ = ["AssignmentProcessor", "ChiSquareMethod"]

#: category of the network's own assignments
NETWORK = "network"

#: bins of a mass in GeV
MASS_BINS = (60, 0.0, 300.0)


@dataclass(frozen=True)
class ChiSquareMethod(Brief):
    """The smallest chi-square as a further method of `AssignmentProcessor`, on the objects that the network sees.

    Parameters
    ----------
    terms : tuple of MassTerm
        As for `jettagger.assignment.chi_square`; their particles are assigned, and no others.
    b_tag : BTag, optional
        How b tags enter.
    tag : str
        With ``b_tag``: the feature of the input that is one for tagged objects and zero for others.
    objects : str
        The sequential input with the objects.

    Raises
    ------
    ConfigError
        If ``b_tag`` is given without ``tag``, or the other way round.
    """

    terms: tuple[MassTerm, ...]
    b_tag: BTag | None = None
    tag: str = ""
    objects: str = "Jets"

    def __post_init__(self) -> None:
        if (self.b_tag is None) != (not self.tag):
            raise ConfigError("ChiSquareMethod() takes both b_tag and tag, the feature with the tags, or neither")

    def __call__(self, request: Any) -> dict[str, Any]:
        """The assignments of the events of a request.

        Parameters
        ----------
        request : EventRequest

        Returns
        -------
        dict of str to int64[events, daughters]
            Slots of the tensors; -1: none.

        Raises
        ------
        UnknownName
            If the event file has no such input, feature or particle; with the nearest name.
        """
        event, vectors = request.source.event, request.objects(self.objects)
        particles = tuple(event.particle(name) for name in dict.fromkeys(term.particle for term in self.terms))
        tags = None
        if self.tag:
            features = event.input(self.objects).feature_names
            if self.tag not in features:
                raise UnknownName("feature", self.tag, features, f"the input {self.objects!r}")
            mask = request.tensors.masks[self.objects]
            values = request.tensors.values[self.objects][..., features.index(self.tag)][mask]
            tags = ak.unflatten(values > 0.5, mask.sum(axis=1))
        found = chi_square(vectors, EventDescription(event.inputs, particles), self.terms, self.b_tag, tags)
        first = request.first_slots[self.objects]
        return {name: np.where(slots < 0, -1, slots + first) for name, slots in found.assignments.items()}


class AssignmentProcessor(Brief, processor.ProcessorABC):
    """Histograms of the masses of particles, from the jets that a network and other methods assign.

    Parameters
    ----------
    assigner : str, path or Assigner
        As for `jettagger.load_assigner`.
    particles : sequence of str, optional
        Particles of the event file; default: those with two daughters or more.
    methods : mapping of str to callable, optional
        Further methods, e.g. a `ChiSquareMethod`: name -> function of the request for the events
        (`jettagger.assignment.EventRequest`) that returns ``{particle: int64[events, daughters]}``, slots of its
        tensors, -1 where there is no assignment. Particles that it leaves out are not filled. Functions are sent to the
        workers and must be picklable.
    bins : (int, float, float)
        Number of bins of the masses, lower and upper end in GeV.
    min_marginal : float
        Only particles with at least this marginal probability of the network are filled, for all methods alike.
    weight : str, optional
        Column of the events with their weights; default: ``genWeight`` where there is one.
    prefix : str
        Front of the names of the added columns, as for `jettagger.assignment.Assigner.attach`.

    Raises
    ------
    UnknownName
        If a particle does not exist.
    ConfigError
        If a method has the name of the network's, or there is no particle.
    """

    def __init__(
        self,
        assigner: Any,
        particles: Sequence[str] | None = None,
        methods: Mapping[str, Callable[[Any], Mapping[str, Any]]] | None = None,
        bins: tuple[int, float, float] = MASS_BINS,
        min_marginal: float = 0.0,
        weight: str | None = None,
        prefix: str = "assigned",
    ) -> None:
        self.assigner = jt.load_assigner(assigner)
        known = {particle.name: len(particle.daughters) for particle in self.assigner.event.particles}
        if particles is None:
            particles = [name for name, daughters in known.items() if daughters > 1]
        if unknown := [name for name in particles if name not in known]:
            raise UnknownName("particle", unknown, known, "AssignmentProcessor()")
        if not particles:
            raise ConfigError("AssignmentProcessor() has no particle with two daughters or more, expected particles=")
        if NETWORK in (methods or {}):
            raise ConfigError(f"AssignmentProcessor(): {NETWORK!r} is the method of the network, expected another name")
        self.particles = tuple(particles)
        self.methods = dict(methods or {})
        self.min_marginal = min_marginal
        self.weight = weight
        self.prefix = prefix
        self.specs = {
            name: HistSpec(
                f"{name}_mass",
                [AxisSpec("mass", bins=bins, label=f"mass of {name}", unit="GeV")],
                label="events",
                categories=["dataset", "method"],
            )
            for name in self.particles
        }

    def process(self, events: Any) -> dict[str, Any]:
        """Assign the jets of one chunk and fill the masses.

        Parameters
        ----------
        events : NanoEvents

        Returns
        -------
        dict
            ``histograms``: particle -> hist.Hist of ``dataset``, ``method`` and ``mass``; ``reports``: dataset ->
            counts of `jettagger.assignment.AssignmentReport`; ``missing``: dataset -> method -> particle -> events
            without an assignment.
        """
        dataset = events.metadata["dataset"]
        request = self.assigner.source.request(events)
        found = self.assigner.answer(request)
        weights = self.weights(events)
        assignments: dict[str, Mapping[str, Any]] = {NETWORK: found.assignments}
        assignments |= {name: method(request) for name, method in self.methods.items()}
        histograms = {name: spec.make() for name, spec in self.specs.items()}
        missing: dict[str, dict[str, int]] = {}
        for method, slots in assignments.items():
            missing[method] = {}
            for name, spec in self.specs.items():
                if name not in slots:
                    continue
                chosen = self.selected(found, name)
                mass = request.vectors(np.asarray(slots[name]))["mass"][chosen]
                absent = spec.fill(histograms[name], {"mass": mass}, weights[chosen], dataset=dataset, method=method)
                missing[method][name] = absent
        report = found.report.to_dict()
        report["seconds"] = 0.0  # the only count that differs from run to run
        return {"histograms": histograms, "reports": {dataset: report}, "missing": {dataset: missing}}

    def selected(self, found: Any, particle: str) -> Any:
        """The events in which the mass of a particle is filled; to be overridden for other selections.

        Parameters
        ----------
        found : Assigned
        particle : str

        Returns
        -------
        bool[events]
        """
        if self.min_marginal <= 0:
            return np.ones(len(found.scored), dtype=bool)
        return np.nan_to_num(found.marginal_probability[particle]) >= self.min_marginal

    def weights(self, events: Any) -> Any:
        """Weights of the events; to be overridden for further factors.

        Parameters
        ----------
        events : NanoEvents

        Returns
        -------
        float64[events]

        Raises
        ------
        UnknownName
            If the events have no such column.
        """
        name = self.weight
        if name is None:
            name = "genWeight" if "genWeight" in events.fields else None
        if name is None:
            return np.ones(len(events))
        if name not in events.fields:
            raise UnknownName("column", name, events.fields, "these events")
        return ak.to_numpy(events[name]).astype(np.float64)

    def postprocess(self, accumulator: dict[str, Any]) -> dict[str, Any]:
        """Reports as values.

        Parameters
        ----------
        accumulator : dict

        Returns
        -------
        dict
            ``reports``: dataset -> `jettagger.assignment.AssignmentReport`.
        """
        reports = {name: AssignmentReport(**counts) for name, counts in accumulator["reports"].items()}
        return {**accumulator, "reports": reports}


guard(globals(), "AssignmentProcessor", "ChiSquareMethod")
