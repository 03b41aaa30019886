"""Jets with known truth, made with Pythia and FastJet (extra ``sim``).

Other parts of jettagger take the names of its labels alone; pythia8mc and fastjet are loaded when events are generated.
"""

from jettagger.simulation.cards import DetectorCard, card_names, load_card
from jettagger.simulation.processes import LABELS, MIXTURES, PROCESSES, V1_TYPES, label_id, label_name
from jettagger.simulation.run import Summary, plan, simulate

__all__ = [
    "LABELS",
    "MIXTURES",
    "PROCESSES",
    "V1_TYPES",
    "DetectorCard",
    "Summary",
    "card_names",
    "label_id",
    "label_name",
    "load_card",
    "plan",
    "simulate",
]


def __dir__() -> list[str]:
    return sorted(__all__)
