"""Training of heads on hidden neurons, scores and columns of jets and events; extra ``train``.

One call, or ``jettagger finetune CONFIG.yaml -o HEAD/``::

    from jettagger.finetuning import finetune

    result = finetune("xgg.yaml", "heads/XggHead")

Skims are read once; jets are stored in shards on disk and read from there in random order, so memory does not grow with
the number of jets. Heads are applied with `jettagger.heads`, which does not need this package.
"""

from jettagger.finetuning.config import FinetuneConfig, read_config
from jettagger.finetuning.measure import Comparison, Measures, Response, response
from jettagger.finetuning.prepare import SkimSurvey, survey
from jettagger.finetuning.run import FinetuneResult, StrengthScan, finetune, finetune_strengths
from jettagger.finetuning.score import score_skim
from jettagger.finetuning.skims import Skim, open_skim
from jettagger.training import Epoch

__all__ = [
    "Comparison",
    "Epoch",
    "FinetuneConfig",
    "FinetuneResult",
    "Measures",
    "Response",
    "Skim",
    "SkimSurvey",
    "StrengthScan",
    "finetune",
    "finetune_strengths",
    "open_skim",
    "read_config",
    "response",
    "score_skim",
    "survey",
]


def __dir__() -> list[str]:
    return sorted(__all__)
