"""What the checkpoints of the networks of a head depend on: configuration, skims, parent and code."""

from __future__ import annotations

import hashlib
import json
import os
from importlib.metadata import version
from importlib.resources import files

from jettagger.bundles.bundle import Bundle
from jettagger.finetuning.config import FinetuneConfig
from jettagger.finetuning.prepare import SkimSurvey
from jettagger.runtime.codedigest import code_digest, digest_of

__all__ = ["DEPENDS_ON", "training_subject"]

#: what a training depends on, in words
DEPENDS_ON = "skims, parent, configuration or code"

#: packages whose code a training depends on, and which do not count for scores
_CODE = ("decorrelation", "discriminants", "finetuning", "skims", "training")


def training_subject(config: FinetuneConfig, bundle: Bundle, found: SkimSurvey) -> str:
    """Digest of what a training depends on.

    Parameters
    ----------
    config : FinetuneConfig
    bundle : Bundle
        The parent.
    found : SkimSurvey

    Returns
    -------
    str
    """
    skims = []
    for skim in found.skims:
        status = os.stat(skim.path)
        skims.append([os.path.abspath(skim.path), status.st_size, status.st_mtime_ns])
    code = [code_digest(), *(digest_of(files("jettagger") / name) for name in _CODE)]
    libraries = [version("torch"), version("numpy")]
    content = [config.document.digest, bundle.digest, skims, code, libraries]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
