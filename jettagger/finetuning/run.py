"""Training: from a configuration and skims to the folder of a head with its report."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jettagger.arguments import guard
from jettagger.bundles.bundle import Bundle
from jettagger.bundles.registry import load_bundle
from jettagger.decorrelation.reweighting import SpectrumChange
from jettagger.display import Brief
from jettagger.errors import ConfigError, InvalidValues, require
from jettagger.files import check_folder, folder_complete_or_absent, refuse_inputs
from jettagger.files.parts import part_prefix, remember, remove_stale
from jettagger.finetuning.bdt import train_bdt
from jettagger.finetuning.config import BdtModel, FinetuneConfig, Training, read_config
from jettagger.finetuning.game import Dependence
from jettagger.finetuning.measure import Measures, measure
from jettagger.finetuning.mlp import train_mlp
from jettagger.finetuning.prepare import Prepared, SkimSurvey, files_read, prepare, survey
from jettagger.finetuning.report import STRENGTHS, write_report, write_strengths
from jettagger.finetuning.resume import DEPENDS_ON, training_subject
from jettagger.finetuning.verify import check_export, check_use
from jettagger.heads import Head, load_head, write_head
from jettagger.heads.description import DESCRIPTION, HeadCard, write_head_card
from jettagger.provenance import KEY, Provenance, provenance_of
from jettagger.training import Epoch, Follow
from jettagger.training.devices import open_device
from jettagger.training.kept import kept_checkpoints

__all__ = ["FinetuneResult", "StrengthScan", "finetune", "finetune_strengths"]

#: folder of figures and numbers within that of a head
REPORT = "report"


@dataclass(frozen=True)
class FinetuneResult(Brief):
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
    kinematics : dict of str to SpectrumChange
        Class -> what was done to the spectra of its training jets.
    difference : float
        Maximum difference between the head and the trainer's own predictions, on held-out jets.
    dependence : tuple of Dependence
        For each network of an adversarial training: what its adversary and a referee read from its scores.
    """

    head: Head
    jets: dict[str, dict[str, int]]
    left_out: dict[str, int]
    history: tuple[Epoch, ...]
    measures: Measures
    seconds: dict[str, float]
    report: dict[str, str]
    unknown_model: tuple[str, ...]
    kinematics: dict[str, SpectrumChange]
    difference: float
    dependence: tuple[Dependence, ...] = ()


@dataclass(frozen=True)
class StrengthScan(Brief):
    """The heads of a list of strengths of a decorrelation.

    Parameters
    ----------
    folder : pathlib.Path
        The folder with those of the heads.
    results : dict of float to FinetuneResult
        Strength -> its head.
    report : dict of str to str
        Files that compare them -> description.
    """

    folder: Path
    results: dict[float, FinetuneResult]
    report: dict[str, str]


def finetune(
    config: FinetuneConfig | str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    force: bool = False,
    plots: bool = True,
    resume: bool = False,
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
    resume : bool
        Store a checkpoint of each network in a folder ``OUTPUT.resume`` until the head is complete, and go on with
        those of an interrupted training: the head is the same as without interruption. Trees start again.
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
        trainer, InvalidValues if its loss on held-out jets is larger than that of its prior, ConfigError if the
        configuration has a list of strengths.
    MissingExtra
        If the extra ``train`` is not installed.
    OutputError
        If the folder cannot be written, or contains inputs of the training; nothing is changed in these cases. With
        ``resume``, also if another run is writing the same head.

    Warns
    -----
    ResumeWarning
        If there are checkpoints of an earlier run: whether they are used, or discarded because something has changed.
    """
    if not isinstance(config, FinetuneConfig):
        config = read_config(config)
    if config.is_scan:
        raise ConfigError(
            f"{config.document.where('decorrelate', 'strength')}: a list of strengths makes several heads: use "
            "finetune_strengths, or one number"
        )
    bundle, found = _opened(config, output, DESCRIPTION, force, plots, found)
    subjects = _subjects(config, bundle, found, resume)
    with (
        kept_checkpoints(output, subjects, DEPENDS_ON) as kept,
        folder_complete_or_absent(output, marker=DESCRIPTION, force=force) as folder,
        _prepared(config, bundle, found, progress, begin) as (prepared, scratch, seconds),
    ):
        paths = [None if kept is None else kept.path(f"network{i}", *subjects) for i in range(prepared.models)]
        result = _train(prepared, bundle, found, folder, scratch, seconds, paths, plots=plots, follow=follow)
    return replace(result, head=load_head(output))


def finetune_strengths(
    config: FinetuneConfig | str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    force: bool = False,
    plots: bool = True,
    resume: bool = False,
    found: SkimSurvey | None = None,
    progress: Callable[[int], None] | None = None,
    follow: Follow | None = None,
    begin: Callable[[Prepared], None] | None = None,
    start: Callable[[float], None] | None = None,
) -> StrengthScan:
    """Train a head for each strength of a decorrelation; the skims are read once.

    Parameters
    ----------
    config : FinetuneConfig or path
        With `decorrelate`, and one strength or several.
    output : path
        The folder for those of the heads, ``<name>Disco<strength>``; complete or absent.
    force : bool
        Whether an existing one may be replaced.
    plots, resume, found, progress, follow, begin
        As for `finetune`.
    start : callable, optional
        Called with each strength before its training.

    Returns
    -------
    StrengthScan

    Raises
    ------
    ConfigError, InvalidValues, MissingColumns, MismatchError, InputFileError, MissingExtra, OutputError
        As for `finetune`. All strengths are trained before InvalidValues names those whose loss diverges, or whose head
        is worse than its prior, and those without problems.

    Warns
    -----
    ResumeWarning
        As for `finetune`.
    """
    if not isinstance(config, FinetuneConfig):
        config = read_config(config)
    if config.decorrelate is None:
        raise ConfigError(f"{config.document.name}: there are no strengths without the key 'decorrelate'")
    bundle, found = _opened(config, output, STRENGTHS, force, plots, found)
    subjects = _subjects(config, bundle, found, resume)
    results: dict[float, FinetuneResult] = {}
    failures: dict[float, InvalidValues] = {}
    with (
        kept_checkpoints(output, subjects, DEPENDS_ON) as kept,
        folder_complete_or_absent(output, marker=STRENGTHS, force=force) as folder,
        _prepared(config, bundle, found, progress, begin) as (prepared, scratch, seconds),
    ):
        for strength in config.strengths:
            if start is not None:
                start(strength)
            one = replace(prepared, config=config.with_strength(strength))
            name = one.config.name
            (folder / name).mkdir()
            paths = [
                None if kept is None else kept.path(f"{name}-network{i}", *subjects) for i in range(prepared.models)
            ]
            try:
                results[strength] = _train(
                    one, bundle, found, folder / name, scratch, seconds, paths, plots=plots, follow=follow
                )
            except InvalidValues as error:
                failures[strength] = error
        if failures:
            fine = ", ".join(f"{strength:g}" for strength in results) or "none"
            listed = "; ".join(str(error) for error in failures.values())
            raise InvalidValues(f"{listed}. Strengths without such problems: {fine}")
        measures = {strength: result.measures for strength, result in results.items()}
        made = _provenance(config, bundle, found)
        dependence = {strength: result.dependence for strength, result in results.items() if result.dependence}
        report = write_strengths(measures, config, folder, made, dependence, plots=plots)
    for strength, result in results.items():
        results[strength] = replace(result, head=load_head(Path(output) / result.head.name))
    return StrengthScan(Path(output), results, report)


def _opened(
    config: FinetuneConfig,
    output: str | os.PathLike[str],
    marker: str,
    force: bool,
    plots: bool,
    found: SkimSurvey | None,
) -> tuple[Bundle, SkimSurvey]:
    """The parent and the survey of the skims, after all checks that can be made before jets are read."""
    check_folder(output, marker=marker, force=force, inputs=[config.document.name])
    with config.document.at("parent"):
        bundle = load_bundle(config.parent)
    found = survey(config, bundle) if found is None else found
    refuse_inputs(output, files_read(bundle, found))
    if config.kinematics is not None and config.kinematics.method == "boosted":
        require("hep_ml.reweight", "train", "boosted weights")
    trees = isinstance(config.model, BdtModel)
    require("xgboost" if trees else "torch", "train", "training a head")
    if not trees:
        with config.document.at("training", "device"):
            open_device(config.training.device)
    if config.decorrelate is not None and config.decorrelate.method == "adversary":
        require("sklearn", "train", "the referee of a decorrelation")
    if plots:
        require("mplhep", "plot", "the pictures of the report")
    return bundle, found


def _subjects(config: FinetuneConfig, bundle: Bundle, found: SkimSurvey, resume: bool) -> list[str]:
    """Digest of what the checkpoints of networks depend on; none if no checkpoints are stored."""
    return [training_subject(config, bundle, found)] if resume and not isinstance(config.model, BdtModel) else []


@contextmanager
def _prepared(
    config: FinetuneConfig,
    bundle: Bundle,
    found: SkimSurvey,
    progress: Callable[[int], None] | None,
    begin: Callable[[Prepared], None] | None,
) -> Iterator[tuple[Prepared, Path, float]]:
    """The jets in a temporary folder, this folder, and how many seconds it took."""
    start = time.perf_counter()
    remove_stale(tempfile.gettempdir())
    with tempfile.TemporaryDirectory(prefix=part_prefix("jettagger-finetune")) as name:
        scratch = Path(name)
        remember(scratch)
        prepared = prepare(config, bundle, found, scratch, progress)
        if begin is not None:
            begin(prepared)
        yield prepared, scratch, time.perf_counter() - start


def _train(
    prepared: Prepared,
    bundle: Bundle,
    found: SkimSurvey,
    folder: Path,
    scratch: Path,
    reading: float,
    checkpoints: Sequence[Path | None],
    *,
    plots: bool,
    follow: Follow | None,
) -> FinetuneResult:
    """Train, check and write one head into an existing folder."""
    config = prepared.config
    made = _provenance(config, bundle, found)
    note: Follow = follow or (lambda epoch: None)
    ticks = [time.perf_counter()]
    with _naming_the_strength(config):
        if isinstance(config.model, BdtModel):
            trained = [train_bdt(prepared, i, note, scratch) for i in range(prepared.models)]
        else:
            trained = [
                train_mlp(prepared, i, note, path, "" if path is None else path.stem)  # it has the digest
                for i, path in enumerate(checkpoints)
            ]
        history = [epoch for network in trained for epoch in network.history]
        ticks.append(time.perf_counter())
        card = _write(config, bundle, prepared, [network.part for network in trained], folder, made)
        difference = check_export(load_head(folder), prepared, trained)
        measures = measure(load_head(folder), prepared)
        check_use(config.name, measures)
    dependence = tuple(network.dependence for network in trained if network.dependence is not None)
    summary = {"jets": prepared.jets, "left_out": prepared.left_out, **measures.summary()}
    if dependence:
        summary["adversary"] = [found.summary() for found in dependence]
    write_head_card(card.model_copy(update={"metrics": summary}), folder)
    (folder / REPORT).mkdir()
    report = write_report(measures, history, prepared, folder / REPORT, made, dependence, plots=plots)
    ticks.append(time.perf_counter())
    seconds = {"reading": reading, "training": ticks[1] - ticks[0], "measuring": ticks[2] - ticks[1]}
    return FinetuneResult(
        load_head(folder),
        prepared.jets,
        prepared.left_out,
        tuple(history),
        measures,
        seconds,
        report,
        found.unknown_model,
        prepared.kinematics,
        difference,
        dependence,
    )


@contextmanager
def _naming_the_strength(config: FinetuneConfig) -> Iterator[None]:
    """Add the strength of a decorrelation to errors about numbers raised in the block."""
    try:
        yield
    except InvalidValues as error:
        if not any(config.strengths):
            raise
        (strength,) = config.strengths
        where = config.document.where("decorrelate", "strength")
        raise InvalidValues(f"{where}: with the strength {strength:g}: {error}") from error


def _provenance(config: FinetuneConfig, bundle: Bundle, found: SkimSurvey) -> Provenance:
    return provenance_of(
        bundle,
        {},
        config.select.text if config.select else None,
        [skim.path for skim in found.skims],
        step="finetune",
        configuration={"file": config.document.name, "digest": config.document.digest},
    )


def _chosen(training: Training) -> dict[str, Any]:
    """The options of the training; those added later only if they are not the default."""
    keys, defaults = (item.model_dump(mode="json") for item in (training, Training()))
    later = ("schedule", "warmup", "metric", "device", "precision")
    return {name: value for name, value in keys.items() if name not in later or value != defaults[name]}


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
        # a head without either is described as before there was a choice
        **({"kinematics": config.kinematics.model_dump(mode="json")} if config.kinematics else {"flatten": {}}),
        "model": config.model.model_dump(mode="json"),
        "loss": config.loss.model_dump(mode="json") if config.kind == "mass" else None,
        "training": _chosen(config.training),
        "split": config.split.model_dump(mode="json"),
        "files": list(config.files),
        KEY: made.to_dict(),
    }
    if config.decorrelate is not None:
        training["decorrelate"] = config.decorrelate.record()
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
