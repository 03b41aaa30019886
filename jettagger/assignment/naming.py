"""Names of the inputs and outputs of a network, as the original exports them, compared with an event file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jettagger.display import Brief
from jettagger.errors import BundleError, hint
from jettagger.sessions.graph import Graph

if TYPE_CHECKING:
    from jettagger.topology.eventfile import EventDescription

__all__ = ["NetworkNames", "fit_network"]

_PROBABILITY, _LOG = "probability", "log_probability"
_EMBEDDING = "/embedding_vector"


@dataclass(frozen=True)
class NetworkNames(Brief):
    """Inputs and outputs of a network by their meaning.

    Attributes
    ----------
    data, mask : dict of str to str
        Input of the event file -> inputs of the network.
    assignment, detection : dict of str to str
        Particle -> output; ``detection`` is empty for a network without.
    embeddings : dict of str to str
        ``EVENT``, ``t1/PARTICLE``, ``t1/b`` -> output; those that the network has.
    output_log : bool
        Whether probabilities are logarithms.
    """

    data: dict[str, str]
    mask: dict[str, str]
    assignment: dict[str, str]
    detection: dict[str, str]
    embeddings: dict[str, str]
    output_log: bool


def fit_network(graph: Graph, event: EventDescription, place: str) -> NetworkNames:
    """Compare a network with an event file.

    Parameters
    ----------
    graph : Graph
    event : EventDescription
    place : str
        Path of the event file, for errors.

    Returns
    -------
    NetworkNames

    Raises
    ------
    BundleError
        Lists everything that is missing with the nearest names, and everything that the event file does not name.
    """
    inputs = {tensor.name: tensor for tensor in graph.inputs}
    outputs = {tensor.name: tensor for tensor in graph.outputs}
    particles = [particle.name for particle in event.particles]
    logs = [f"{name}_assignment_{_LOG}" for name in particles]
    output_log = any(name in outputs for name in logs)
    ending = _LOG if output_log else _PROBABILITY
    data = {item.name: f"{item.name}_data" for item in event.inputs}
    mask = {item.name: f"{item.name}_mask" for item in event.inputs}
    assignment = {name: f"{name}_assignment_{ending}" for name in particles}
    detection = {name: f"{name}_detection_{ending}" for name in particles}
    if not any(name.endswith(f"_detection_{ending}") for name in outputs):
        detection = {}
    further = [*event.regressions, *event.classifications]
    embeddings = {path: f"{path}{_EMBEDDING}" for path in _embedding_paths(event)}
    embeddings = {path: name for path, name in embeddings.items() if name in outputs}
    problems = [
        *_missing("input", [*data.values(), *mask.values()], inputs),
        *_missing("output", [*assignment.values(), *detection.values(), *further], outputs),
        *_unknown("input", inputs, [*data.values(), *mask.values()]),
        *_unknown("output", outputs, [*assignment.values(), *detection.values(), *further, *embeddings.values()]),
    ]
    if not problems:
        problems = _shapes(graph, event, data, mask, assignment)
    if problems:
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise BundleError(f"{graph.path} does not fit the event file {place}:\n{lines}")
    return NetworkNames(data, mask, assignment, detection, embeddings, output_log)


def _embedding_paths(event: EventDescription) -> list[str]:
    paths = ["EVENT"]
    for particle in event.particles:
        paths += [f"{particle.name}/PARTICLE", *(f"{particle.name}/{daughter.name}" for daughter in particle.daughters)]
    return paths


def _missing(what: str, needed: Iterable[str], there: Iterable[str]) -> list[str]:
    there = list(there)
    return [f"{what} {name!r} is missing{hint(name, there)}" for name in needed if name not in there]


def _unknown(what: str, there: Iterable[str], needed: Iterable[str]) -> list[str]:
    needed = list(needed)
    return [
        f"{what} {name!r} belongs to no name of the event file{hint(name, needed)}"
        for name in there
        if name not in needed
    ]


def _shapes(
    graph: Graph, event: EventDescription, data: dict[str, str], mask: dict[str, str], assignment: dict[str, str]
) -> list[str]:
    """What is wrong with types and numbers of axes."""
    inputs = {tensor.name: tensor for tensor in graph.inputs}
    outputs = {tensor.name: tensor for tensor in graph.outputs}
    problems = []
    for item in event.inputs:
        tensor = inputs[data[item.name]]
        features = tensor.shape[-1] if tensor.shape else 0
        axes = ["events", "slots", *["slots"] * (item.kind == "relative"), "features"]
        if tensor.dtype != "float32" or len(tensor.shape) != len(axes):
            problems.append(
                f"input {tensor.name!r} is {tensor.dtype}{list(tensor.shape)}, expected float32 [{', '.join(axes)}], "
                f"as the input {item.name!r} is {item.kind}"
            )
        elif isinstance(features, int) and features != len(item.features):
            names = ", ".join(feature.name for feature in item.features)
            problems.append(
                f"input {tensor.name!r} takes {features} features, the event file has {len(item.features)}: {names}"
            )
        tensor = inputs[mask[item.name]]
        if tensor.dtype != "bool" or len(tensor.shape) != 2:
            problems.append(
                f"input {tensor.name!r} is {tensor.dtype}{list(tensor.shape)}, expected bool [events, slots]"
            )
    for particle in event.particles:
        tensor = outputs[assignment[particle.name]]
        if len(tensor.shape) != 1 + len(particle.daughters):
            problems.append(
                f"output {tensor.name!r} has {len(tensor.shape)} axes, expected one of events and one for each of the "
                f"{len(particle.daughters)} daughters of {particle.name!r}"
            )
    return problems
