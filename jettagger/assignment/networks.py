"""The assignment network: split symmetric attention (Fenton et al. 2022; SPANet 2, Fenton et al. 2024) in torch.

Inputs with slots and global ones become vectors of one width, in which attention mixes the event. Each particle has
its own branch: a token for its detection, and one vector for each daughter and object. The logit of an assignment is
the sum over the features of the product of the vectors of its objects, averaged over the permutations that leave the
particle the same; one log-softmax runs over all ordered tuples of different objects.

The network is imported with torch only: `jettagger.assignment.network_layers` has its layers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jettagger.arguments import guard
from jettagger.assignment.statistics import TrainingStatistics
from jettagger.assignment.training_options import AssignmentOptions
from jettagger.display import briefly
from jettagger.errors import ConfigError, UnknownName, require
from jettagger.topology.eventfile import EventDescription

if TYPE_CHECKING:
    import torch

__all__ = ["AssignmentOutputs", "build_network", "parameter_count"]


@briefly
class AssignmentOutputs(NamedTuple):
    """Outputs of the network, as tensors.

    Parameters
    ----------
    assignments : dict of str to float32[events, slots, ..., slots]
        Particle -> log-probability of each tuple of slots, with an axis for each daughter, in inputs with slots one
        after the other. Minus infinity for tuples with an empty or a repeated slot, and for all tuples of an event with
        too few objects. Probabilities of tuples that are the same assignment are equal and add up: with a group of
        order n, that of an assignment is n times that of a tuple.
    detections : dict of str to float32[events]
        Particle -> logit of its presence.
    regressions : dict of str to float32[events]
        In the units of the targets.
    classifications : dict of str to float32[events, classes]
        Logits.
    vectors : dict of str to float32[events, width]
        Embeddings of the event (``EVENT``), of particles (``t1/PARTICLE``) and of daughters (``t1/b``).
    """

    assignments: dict[str, torch.Tensor]
    detections: dict[str, torch.Tensor]
    regressions: dict[str, torch.Tensor]
    classifications: dict[str, torch.Tensor]
    vectors: dict[str, torch.Tensor]


def build_network(
    description: EventDescription,
    options: AssignmentOptions,
    class_counts: Mapping[str, int] | None = None,
    statistics: TrainingStatistics | None = None,
) -> Any:
    """A network with initial weights from torch's random state, see `jettagger.training.seeds.seeded`.

    Parameters
    ----------
    description : EventDescription
    options : AssignmentOptions
    class_counts : mapping of str to int, optional
        Number of classes of each classification. Default: those of the statistics.
    statistics : TrainingStatistics, optional
        Normalisation, stored in the weights. Default: none, until weights are loaded.

    Returns
    -------
    torch.nn.Module
        Function of ``values`` and ``masks``, mappings from inputs to float32[events, slots, features], with logarithms
        (`jettagger.assignment.statistics.log_inputs`), and bool[events, slots]; values of a relative input are
        float32[events, slots, slots, features]. Returns `AssignmentOutputs`. Has ``description``, ``options`` and
        ``class_counts``.

    Raises
    ------
    ConfigError
        If the number of classes of a classification is not known, if daughters are restricted to inputs that differ
        between symmetric partners, or if the inputs lack what features of pairs need.
    UnknownName
        If numbers of classes are given for what is no classification.
    MissingExtra
        If torch is not installed.
    """
    require("torch", "train", "an assignment network")
    from jettagger.assignment.network_modules import AssignmentNetwork

    counts = dict(class_counts if class_counts is not None else statistics.class_counts if statistics else {})
    for key in counts:
        if key not in description.classifications:
            raise UnknownName("classification", key, description.classifications)
    missing = [key for key in description.classifications if counts.get(key, 0) < 1]
    if missing:
        raise ConfigError(
            f"the number of classes of {', '.join(missing)} is not known: give class_counts or statistics"
        )
    if options.jettagger.restrict_to_collections:
        refuse_different_partners(description)
    if options.jettagger.pair_features or options.jettagger.mass_features:
        kinematic_columns(
            description, "pair_features need" if options.jettagger.pair_features else "mass_features need"
        )
    network = AssignmentNetwork(description, options, {key: counts[key] for key in description.classifications})
    if statistics is not None:
        network.set_statistics(statistics)
    return network


def parameter_count(network: Any) -> int:
    """Number of the weights that are trained.

    Parameters
    ----------
    network : torch.nn.Module

    Returns
    -------
    int
    """
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def refuse_different_partners(description: EventDescription) -> None:
    """Refuse to restrict daughters to inputs that differ between partners of a symmetry.

    Parameters
    ----------
    description : EventDescription

    Raises
    ------
    ConfigError
        Names the partners and their inputs.
    """
    advice = "restrict_to_collections needs equal inputs for symmetric partners"
    for particle in description.particles:
        sources = [daughter.source for daughter in particle.daughters]
        for first, second in description.daughter_group(particle.name).transpositions:
            if sources[first] != sources[second]:
                names = [f"{particle.name}/{particle.daughters[place].name}" for place in (first, second)]
                raise ConfigError(_differ(names, [sources[first], sources[second]]) + advice)
    for first, second in description.event_group.transpositions:
        pair = [description.particles[place] for place in (first, second)]
        for one, other in zip(pair[0].daughters, pair[1].daughters, strict=True):
            if one.source != other.source:
                names = [
                    f"{particle.name}/{daughter.name}" for particle, daughter in zip(pair, (one, other), strict=True)
                ]
                raise ConfigError(_differ(names, [one.source, other.source]) + advice)


def _differ(names: list[str], sources: list[str | None]) -> str:
    first, second = (source or "no input" for source in sources)
    return f"{names[0]} is an object of {first} and its partner {names[1]} of {second}: "


@briefly
class KinematicColumns(NamedTuple):
    """Columns of the momentum of the objects of an input.

    Parameters
    ----------
    pt, eta : int
    phi : tuple of int
        One column, or those of sine and cosine.
    mass : int or None
        None: massless.
    logs : tuple of bool
        Whether each column of the input is a logarithm, ln(x + 1).
    """

    pt: int
    eta: int
    phi: tuple[int, ...]
    mass: int | None
    logs: tuple[bool, ...]


def kinematic_columns(description: EventDescription, what: str = "pair_features need") -> dict[str, KinematicColumns]:
    """Columns of momenta, by the names ``pt``, ``eta``, ``phi`` or ``sin_phi`` and ``cos_phi``, ``mass``.

    Parameters
    ----------
    description : EventDescription
    what : str
        What needs them, and a verb, for the message.

    Returns
    -------
    dict of str to KinematicColumns
        For sequential inputs with momenta.

    Raises
    ------
    ConfigError
        If no input has momenta.
    """
    made = {}
    for item in description.sequential:
        if item.kind != "sequential":
            continue
        names = [feature.name.lower() for feature in item.features]
        phi = ("phi",) if "phi" in names else ("sin_phi", "cos_phi")
        if {"pt", "eta", *phi} <= set(names):
            made[item.name] = KinematicColumns(
                names.index("pt"),
                names.index("eta"),
                tuple(names.index(name) for name in phi),
                names.index("mass") if "mass" in names else None,
                tuple(feature.log for feature in item.features),
            )
    if not made:
        found = "; ".join(
            f"{item.name} has {', '.join(feature.name for feature in item.features)}" for item in description.sequential
        )
        raise ConfigError(f"{what} a sequential input with pt, eta, and phi or sin_phi and cos_phi; {found}")
    return made


def embedding_widths(options: AssignmentOptions, features: int) -> list[int]:
    """Numbers of features before, between and after the blocks of an input.

    Parameters
    ----------
    options : AssignmentOptions
    features : int

    Returns
    -------
    list of int
        The width doubles from ``initial_embedding_dim`` while it stays below ``hidden_dim``.

    Examples
    --------
    >>> embedding_widths(AssignmentOptions(hidden_dim=64), 5)
    [5, 16, 32, 64]
    """
    widths = [features, options.initial_embedding_dim]
    for _ in range(options.num_embedding_layers):
        if 2 * widths[-1] >= options.hidden_dim:
            break
        widths.append(2 * widths[-1])
    return [*widths, options.hidden_dim]


def logit_scale(options: AssignmentOptions, daughters: int) -> float:
    """Factor of the logits of assignments.

    Parameters
    ----------
    options : AssignmentOptions
    daughters : int

    Returns
    -------
    float
        One over the square root of the width, for each daughter.
    """
    return float(np.float32(math.sqrt(options.hidden_dim)) ** -daughters)


guard(globals())
