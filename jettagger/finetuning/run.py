"""Training: from a configuration and skims to the folder of a head with its report."""

from __future__ import annotations

import itertools
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jettagger.arguments import guard
from jettagger.bundles.bundle import Bundle
from jettagger.bundles.registry import load_bundle
from jettagger.errors import require
from jettagger.files import check_folder, folder_complete_or_absent, refuse_inputs
from jettagger.files.parts import part_prefix, remember, remove_stale
from jettagger.finetuning.bdt import train_bdt
from jettagger.finetuning.config import BdtModel, FinetuneConfig, read_config
from jettagger.finetuning.measure import Measures, measure
from jettagger.finetuning.mlp import train_mlp
from jettagger.finetuning.prepare import Prepared, SkimSurvey, files_read, prepare, survey
from jettagger.finetuning.report import write_report
from jettagger.finetuning.verify import check_export, check_use
from jettagger.heads import Head, load_head, write_head
from jettagger.heads.description import DESCRIPTION, HeadCard, write_head_card
from jettagger.provenance import KEY, Provenance, provenance_of
from jettagger.training import Epoch, Follow

__all__ = ["FinetuneResult", "finetune"]

#: folder of figures and numbers within that of a head
REPORT = "report"


@dataclass(frozen=True)
class FinetuneResult:
    """The result of a training.

    Parameters
    ----------
    head : Head
    jets : dict
        Class -> numbers of training, validation and test jets.
    left_out : dict of str to int
        Reason -> number of jets left out.
    history : tuple of Epoch
    measures : Measures
        Performance on held-out jets.
    seconds : dict of str to float
        ``reading``, ``training``, ``measuring``.
    report : dict of str to str
        Files of the report -> description.
    unknown_model : tuple of str
        Skims that do not record the model of their columns.
    difference : float
        Maximum difference between the head and the trainer's own predictions, on held-out jets.
    """

    head: Head
    jets: dict[str, dict[str, int]]
    left_out: dict[str, int]
    history: tuple[Epoch, ...]
    measures: Measures
    seconds: dict[str, float]
    report: dict[str, str]
    unknown_model: tuple[str, ...]
    difference: float


def finetune(
    config: FinetuneConfig | str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    force: bool = False,
    plots: bool = True,
    found: SkimSurvey | None = None,
    progress: Callable[[int], None] | None = None,
    follow: Follow | None = None,
    begin: Callable[[Prepared], None] | None = None,
) -> FinetuneResult:
    """Train a head: ``jettagger finetune`` as a function.

    Parameters
    ----------
    config : FinetuneConfig or path
    output : path
        The folder to write; complete or absent.
    force : bool
        Whether an existing head may be replaced.
    plots : bool
        Whether figures are drawn.
    found : SkimSurvey, optional
        Survey of the skims, if it was made before.
    progress : callable, optional
        Called with the number of events after each chunk that was read.
    follow : callable, optional
        Called with an `Epoch` after each epoch.
    begin : callable, optional
        Called when the jets are prepared.

    Returns
    -------
    FinetuneResult

    Raises
    ------
    ConfigError, InvalidValues, MissingColumns, MismatchError, InputFileError
        As for `read_config`, `survey` and `prepare`; MismatchError also if the head differs from the predictions of the
        trainer, InvalidValues if its loss on held-out jets is larger than that of its prior.
    MissingExtra
        If the extra ``train`` is not installed.
    OutputError
        If the folder cannot be written, or contains inputs of the training; nothing is changed in these cases.
    """
    if not isinstance(config, FinetuneConfig):
        config = read_config(config)
    check_folder(output, marker=DESCRIPTION, force=force, inputs=[config.document.name])
    with config.at("parent"):
        bundle = load_bundle(config.parent)
    found = survey(config, bundle) if found is None else found
    refuse_inputs(output, files_read(bundle, found))
    require("xgboost" if isinstance(config.model, BdtModel) else "torch", "train", "training a head")
    if plots:
        require("mplhep", "plot", "the pictures of the report")
    history: list[Epoch] = []
    made = _provenance(config, bundle, found)

    def note(epoch: Epoch) -> None:
        history.append(epoch)
        if follow is not None:
            follow(epoch)

    ticks = [time.perf_counter()]
    with folder_complete_or_absent(output, marker=DESCRIPTION, force=force) as folder:
        remove_stale(tempfile.gettempdir())
        with tempfile.TemporaryDirectory(prefix=part_prefix("jettagger-finetune")) as scratch:
            place = Path(scratch)
            remember(place)
            prepared = prepare(config, bundle, found, place, progress)
            if begin is not None:
                begin(prepared)
            ticks.append(time.perf_counter())
            if isinstance(config.model, BdtModel):
                trained = [train_bdt(prepared, i, note, place) for i in range(prepared.models)]
            else:
                trained = [train_mlp(prepared, i, note) for i in range(prepared.models)]
            ticks.append(time.perf_counter())
            card = _write(config, bundle, prepared, [network.part for network in trained], folder, made)
            difference = check_export(load_head(folder), prepared, trained)
            measures = measure(load_head(folder), prepared)
        check_use(config.name, measures)
        summary = {"jets": prepared.jets, "left_out": prepared.left_out, **measures.summary()}
        write_head_card(card.model_copy(update={"metrics": summary}), folder)
        (folder / REPORT).mkdir()
        report = write_report(measures, history, prepared, folder / REPORT, made, plots=plots)
        ticks.append(time.perf_counter())
    seconds = dict(
        zip(("reading", "training", "measuring"), (b - a for a, b in itertools.pairwise(ticks)), strict=True)
    )
    return FinetuneResult(
        load_head(output),
        prepared.jets,
        prepared.left_out,
        tuple(history),
        measures,
        seconds,
        report,
        found.unknown_model,
        difference,
    )


def _provenance(config: FinetuneConfig, bundle: Bundle, found: SkimSurvey) -> Provenance:
    return provenance_of(
        bundle,
        {},
        config.select.text if config.select else None,
        [skim.path for skim in found.skims],
        step="finetune",
        configuration={"file": config.document.name, "digest": config.document.digest},
    )


def _write(
    config: FinetuneConfig, bundle: Bundle, prepared: Prepared, parts: list[Any], folder: Path, made: Provenance
) -> HeadCard:
    def text(expressions: Any) -> Any:
        return {name: item.text for name, item in expressions.items()}

    training = {
        "select": config.select.text if config.select else None,
        "target": config.target.text if config.target else None,
        "weight": config.weight.text if config.weight else None,
        "classes": text(config.classes),
        "flatten": {axis.column: list(axis.edges) for axis in config.flatten},
        "model": config.model.model_dump(mode="json"),
        "loss": config.loss.model_dump(mode="json") if config.kind == "mass" else None,
        "training": config.training.model_dump(mode="json"),
        "split": config.split.model_dump(mode="json"),
        "files": list(config.files),
        KEY: made.to_dict(),
    }
    return write_head(
        folder,
        name=config.name,
        kind=config.kind,
        parent=bundle,
        inputs=prepared.layout.inputs,
        outputs=config.outputs,
        parts=parts,
        prefix=config.prefix,
        title=config.title,
        training=training,
    )


guard(globals())
