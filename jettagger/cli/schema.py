"""Print the JSON schema of a file that jettagger reads, for editors that complete keys and mark mistakes.

Kinds of files: search (the configuration of 'jettagger search'), finetune (of 'jettagger finetune'), decorrelate (of
'jettagger decorrelate'), calibrate (of 'jettagger calibrate'), jec (of 'jettagger jec train'), jec-transforms (its
transform.yaml), jec-sampling (of 'jettagger jec inputs'), event-mapping (inputs.yaml of 'jettagger
assignment'), card (bundle.json of a model), inputs (its inputs.json), image (settings of jet images), assigner
(assigner.json of 'jettagger assignment import'), head (head.json), flavour (names in a production of PFNano), detector
(a detector card of 'jettagger simulate').

examples:
  jettagger schema search > search.schema.json
  jettagger schema detector > detector.schema.json

In VS Code with the extension "YAML" of Red Hat, in .vscode/settings.json:

  {"yaml.schemas": {"search.schema.json": "search*.yaml", "finetune.schema.json": "finetune*.yaml"}}

or, in the first line of a YAML file, for any editor with the language server for YAML:

  # yaml-language-server: $schema=search.schema.json
"""

from __future__ import annotations

import argparse
import importlib
import json
from typing import TYPE_CHECKING, Any

from jettagger.cli.console import Console

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["FILES", "configure", "model_of", "run"]

#: kind of file -> module and name of its model, and a description
FILES = {
    "search": ("jettagger.search.schema", "SearchFile", "configuration of jettagger search"),
    "finetune": ("jettagger.finetuning.schema", "FinetuneFile", "configuration of jettagger finetune"),
    "decorrelate": (
        "jettagger.studies.sculpting.schema",
        "DecorrelateFile",
        "configuration of jettagger decorrelate",
    ),
    "calibrate": ("jettagger.studies.calibration.schema", "CalibrateFile", "configuration of jettagger calibrate"),
    "jec": ("jettagger.jec.configuration", "JecConfig", "configuration of jettagger jec train"),
    "jec-transforms": ("jettagger.jec.transforms", "TransformFile", "transform.yaml of jettagger jec"),
    "jec-sampling": ("jettagger.jec.sampling", "Sampling", "down-sampling of jettagger jec inputs"),
    "assignment": (
        "jettagger.assignment.training_options",
        "AssignmentOptions",
        "options file (JSON) of SPANet, and our options in it",
    ),
    "event-mapping": (
        "jettagger.topology.mapping",
        "EventMapping",
        "inputs.yaml of jettagger assignment, from collections to the inputs of an event file",
    ),
    "card": ("jettagger.bundles.card", "BundleCard", "bundle.json, the description of a model"),
    "inputs": ("jettagger.bundles.declaration", "InputDeclaration", "inputs.json, the inputs of a model"),
    "assigner": (
        "jettagger.assignment.card",
        "AssignerCard",
        "assigner.json, the card of a network of whole events",
    ),
    "head": ("jettagger.heads.description", "HeadCard", "head.json, the description of a head"),
    "flavour": ("jettagger.inputs.flavours.schema", "FlavourFile", "names in a production of PFNano"),
    "image": ("jettagger.images.settings", "ImageFile", "settings of jet images, of jettagger show image"),
    "mass-factors": (
        "jettagger.calibration.schema",
        "MassFactorsFile",
        "scale and resolution of a jet mass, which the variations of a search can name",
    ),
    "detector": ("jettagger.simulation.schema", "DetectorFile", "detector card of jettagger simulate"),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``jettagger schema``."""
    parser.add_argument("kind", choices=FILES, metavar="KIND", help=f"kind of file: {', '.join(FILES)}")


def model_of(kind: str) -> type[BaseModel]:
    """The pydantic model of a kind of file.

    Parameters
    ----------
    kind : str
        One of `FILES`.

    Returns
    -------
    type

    Raises
    ------
    UnknownName
        If the kind does not exist.
    """
    from jettagger.errors import UnknownName

    if kind not in FILES:
        raise UnknownName("kind of file", kind, FILES)
    module, name, _ = FILES[kind]
    model: Any = getattr(importlib.import_module(module), name)
    return model


def run(args: argparse.Namespace, console: Console) -> int:
    """Run ``jettagger schema``."""
    model = model_of(args.kind)
    from jettagger.config.models import schema_of

    schema = schema_of(model, FILES[args.kind][2])
    console.answer(schema, json.dumps(schema, indent=2, ensure_ascii=False))
    return 0
