"""Maps of a study: fitted to the background that is not compared, written, and applied to all jets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jettagger.decorrelation.mapfile import DecorrelationMap
from jettagger.decorrelation.maps import fit_map
from jettagger.errors import InvalidValues
from jettagger.studies.sculpting.config import StudyConfig
from jettagger.studies.sculpting.jets import SampleSurvey, StudyJets
from jettagger.studies.sculpting.measure import Method
from jettagger.types import Floats

__all__ = ["FOLDER", "fit_maps"]

#: folder of the maps in that of a study
FOLDER = "maps"


def fit_maps(
    config: StudyConfig,
    sample: SampleSurvey,
    samples: Mapping[str, StudyJets],
    folder: Path,
    failures: dict[str, str],
) -> list[Method]:
    """Fit all maps, write them as correctionlib JSON, and add their scores to the jets.

    Parameters
    ----------
    config : StudyConfig
    sample : SampleSurvey
        The background.
    samples : mapping of str to StudyJets
        ``background`` and ``signal``; they get the scores.
    folder : pathlib.Path
        Of the study; ``maps/`` is made in it.
    failures : dict of str to str
        Gets maps that cannot be fitted to these jets, with the reason.

    Returns
    -------
    list of Method
        One per map; of thresholds one per efficiency.

    Raises
    ------
    ConfigError, MismatchError
        With file and line of the map.
    """
    (folder / FOLDER).mkdir()
    background = samples["background"]
    fitted = ~background.test
    table = {name: values[fitted] for name, values in background.table.items()}
    protected = [name.removeprefix(f"{sample.jets}_") for name in config.content.protected]
    methods: list[Method] = []
    for name, keys in config.maps.items():
        of = keys.of or (config.discriminant if isinstance(config.discriminant, str) else "raw")
        training = next((head for head in config.heads if head.name == of), None)
        if of in failures:
            failures[name] = f"the head {of!r} failed"
            continue
        discriminant: Any = config.discriminant if training is None else training.score
        options = dict(keys.options)
        axes = options.setdefault("axes", _default_axes(protected)) if keys.method != "linear" else {"mass", "pt"}
        options["columns"] = {axis: column for axis, column in zip(_INPUTS, protected, strict=False) if axis in axes}
        if "rho" in axes:
            options["columns"] = dict(zip(_INPUTS, protected, strict=False))
        if training is None:
            options["model"] = _origin(sample)
        try:
            with config.document.at("maps", name):
                made = fit_map(
                    keys.method, discriminant, table, weights=background.weights[fitted], name=name, **options
                )
        except InvalidValues as error:
            failures[name] = str(error)
            continue
        made.save(folder / FOLDER / f"{name}.json")
        facts = {"file": f"{FOLDER}/{name}.json", **made.report()}
        for label, efficiency in (
            [(name, None)] if not made.efficiencies else [(f"{name}-{key}", key) for key in made.efficiencies]
        ):
            for jets in samples.values():
                jets.scores[label] = _numbers(made, jets.table, efficiency)
            methods.append(Method(label, "map", keys.method, of, facts=facts))
    return methods


#: inputs of maps, in the order of the protected columns
_INPUTS = ("mass", "pt")


def _default_axes(protected: list[str]) -> dict[str, int]:
    return {"mass": 16, "pt": 6} if len(protected) > 1 else {"mass": 16}


def _origin(sample: SampleSurvey) -> Any:
    """The skim that says which model made the scores, if one does."""
    return next((skim.path for skim in sample.skims if skim.digest), None)


def _numbers(made: DecorrelationMap, table: Mapping[str, Floats], efficiency: str | None) -> Floats:
    """The numbers of a map; NaN for jets outside of it, which pass no cut."""
    numbers = np.asarray(made(table, efficiency), dtype=np.float64)
    return np.where(numbers == made.outside, np.nan, numbers)
