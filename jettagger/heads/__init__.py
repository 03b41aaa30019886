"""Classifiers and regressions on stored hidden neurons: rescoring, and heads, i.e. small networks.

Torch is not needed to apply them::

    from jettagger.heads import Rescorer, load_head

    scores = Rescorer(jt.load_bundle("inclParTToyV1"), temperature=1.3)(skim)   # a skim that holds the neurons
    head = load_head("heads/XggHead")
    tagger = jt.load_tagger("inclParTToyV1").with_heads(head)                   # its columns in the same pass
    skim = head.attach(skim)                                                    # or from stored neurons

Heads are trained by `jettagger.finetuning`.
"""

from jettagger.heads.description import HeadCard, Input, Parent
from jettagger.heads.export import Mlp, Trees, head_model, write_head
from jettagger.heads.folds import fold_of
from jettagger.heads.head import Head
from jettagger.heads.output_layers import LastLayer, Tail, cut_tail
from jettagger.heads.reading import load_head
from jettagger.heads.rescore import Rescorer
from jettagger.inputs.jet_table import DERIVED, Derived, JetTable

__all__ = [
    "DERIVED",
    "Derived",
    "Head",
    "HeadCard",
    "Input",
    "JetTable",
    "LastLayer",
    "Mlp",
    "Parent",
    "Rescorer",
    "Tail",
    "Trees",
    "cut_tail",
    "fold_of",
    "head_model",
    "load_head",
    "write_head",
]


def __dir__() -> list[str]:
    return sorted(__all__)
