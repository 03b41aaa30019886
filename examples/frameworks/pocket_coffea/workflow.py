"""PocketCoffea: scores of a tagger on the fat jets, before objects are selected.

Needs PocketCoffea's branch for coffea 2025 (``update/coffea-v2025``). `process_extra_after_skim` runs once for a chunk,
on the events that pass the skim, so that the network sees no others and systematic variations do not run it again.
"""

import awkward as ak
from pocket_coffea.workflows.base import BaseProcessorABC

import jettagger as jt


class TaggedProcessor(BaseProcessorABC):
    """Fat jets with scores.

    ``workflow_options`` of the configuration: ``model`` (a name or a folder), ``where`` (a cut on fat jets that are
    scored), ``discriminant`` (a preset) and ``threshold``.
    """

    def process_extra_after_skim(self):
        """Add the scores and a discriminant to the fat jets."""
        options = self.workflow_options
        # the session is kept in the process: chunks after the first do not load the network again
        tagger = jt.load_tagger(options["model"], threads=1)
        self.events = tagger.attach(self.events, where=options["where"])
        score = jt.discriminant(options["discriminant"], prefix=tagger.bundle.prefix)(self.events.FatJet)
        self.events["FatJet", "tag"] = score

    def apply_object_preselection(self, variation):
        """Tagged fat jets; jets that were not scored are not among them."""
        jets = self.events.FatJet
        self.events["TaggedJet"] = jets[ak.fill_none(jets.tag > self.workflow_options["threshold"], False)]

    def count_objects(self, variation):
        """Number of tagged jets of an event."""
        self.events["nTaggedJet"] = ak.num(self.events.TaggedJet)
