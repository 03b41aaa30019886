"""columnflow: a producer that adds the scores of a tagger to the fat jets.

columnflow reads declared columns alone, before it opens a file: ``uses`` comes from the model. The producer runs in
columnflow's tasks (``cf.ProduceColumns --producer fatjet_scores``) of an analysis whose files are PFNano.
"""

from __future__ import annotations

import awkward as ak
import numpy as np
from columnflow.columnar_util import set_ak_column
from columnflow.production import Producer, producer

import jettagger as jt


@producer(model="tinyParT", outputs=("prob", "mass"), where="pt > 250")
def fatjet_scores(self: Producer, events: ak.Array, **kwargs) -> ak.Array:
    """Add the scores of ``model``, float32; NaN for jets that were not scored, as columnflow's columns hold no None."""
    scored = self.tagger.attach(events, columns=list(self.outputs), where=self.where)
    for column in self.tagger.column_names(self.outputs).values():
        values = ak.fill_none(scored.FatJet[column], float("nan"))
        events = set_ak_column(events, f"FatJet.{column}", values, value_type=np.float32)
    return events


@fatjet_scores.init
def fatjet_scores_init(self: Producer, **kwargs) -> None:
    """Declare the columns that the model reads and gives."""
    self.tagger = jt.load_tagger(self.model, threads=1)
    self.uses |= set(self.tagger.columns("pfnano"))
    self.produces |= {f"FatJet.{column}" for column in self.tagger.column_names(self.outputs).values()}
