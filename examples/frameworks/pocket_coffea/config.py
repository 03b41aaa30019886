"""PocketCoffea: configuration of `workflow.TaggedProcessor`; files and their metadata are in ``datasets.json``.

Usage: pocket-coffea run --cfg config.py --outputdir OUT
"""

from pathlib import Path

import cloudpickle
import workflow
from pocket_coffea.lib.cut_functions import get_nObj_min
from pocket_coffea.lib.weights.common import common_weights
from pocket_coffea.parameters import defaults
from pocket_coffea.parameters.cuts import passthrough
from pocket_coffea.parameters.histograms import Axis, HistConf
from pocket_coffea.utils.configurator import Configurator

cloudpickle.register_pickle_by_value(workflow)  # workers get the code of the workflow, not its file

cfg = Configurator(
    parameters=defaults.get_default_parameters(),
    datasets={
        "jsons": [str(Path(__file__).with_name("datasets.json"))],
        "filter": {"samples": ["X"], "samples_exclude": [], "year": ["2018"]},
    },
    workflow=workflow.TaggedProcessor,
    workflow_options={"model": "tinyParT", "where": "pt > 250", "discriminant": "HbbvsQCD", "threshold": 0.2},
    skim=[passthrough],
    preselections=[passthrough],
    categories={"all": [passthrough], "tagged": [get_nObj_min(1, coll="TaggedJet")]},
    weights_classes=common_weights,
    weights={"common": {"inclusive": ["genWeight", "lumi", "XS"], "bycategory": {}}, "bysample": {}},
    variations={"weights": {"common": {"inclusive": [], "bycategory": {}}, "bysample": {}}},
    variables={
        "tag": HistConf([Axis(coll="FatJet", field="tag", bins=20, start=0, stop=1, label="HbbvsQCD")]),
        "mass": HistConf(
            [Axis(coll="TaggedJet", field="msoftdrop", bins=20, start=0, stop=200, label="soft-drop mass [GeV]")]
        ),
    },
)
