"""Data configurations of weaver: YAML input descriptions with expressions, evaluated on flat tables of jets.

Expressions are parsed into a syntax tree and accepted only if every node is on a list; they are never executed as code.
The semantics are those of weaver-core (``weaver/utils/data``): centre, scale, clip, then NaN becomes 0; infinities are
clipped and not replaced; nothing is clipped if no centre is given.
"""

from jettagger.weaver.config import DataConfig, InputGroup, InputVariable, Labels, read_config
from jettagger.weaver.expressions import Formula, parse_formula
from jettagger.weaver.inputs import Values, WeaverJets

__all__ = [
    "DataConfig",
    "Formula",
    "InputGroup",
    "InputVariable",
    "Labels",
    "Values",
    "WeaverJets",
    "parse_formula",
    "read_config",
]


def __dir__() -> list[str]:
    return sorted(__all__)
