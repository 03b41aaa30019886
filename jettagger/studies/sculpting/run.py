"""A study: from a configuration and skims to maps, heads, and the report that compares them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jettagger.arguments import guard
from jettagger.bundles.registry import load_bundle
from jettagger.display import Brief
from jettagger.errors import InvalidValues, MismatchError, require
from jettagger.files import check_folder, folder_complete_or_absent, refuse_inputs
from jettagger.finetuning import SkimSurvey, finetune
from jettagger.finetuning import survey as survey_training
from jettagger.finetuning.prepare import files_read as training_files
from jettagger.heads import Head, load_head
from jettagger.provenance import provenance_of
from jettagger.runtime.codedigest import code_digest
from jettagger.studies.sculpting.config import HeadTraining, StudyConfig, read_config
from jettagger.studies.sculpting.jets import SampleSurvey, read_jets, score_heads, survey_sample
from jettagger.studies.sculpting.maps import fit_maps
from jettagger.studies.sculpting.measure import Method, MethodResult, check_efficiencies, measure
from jettagger.studies.sculpting.report import REPORT, table, write_report
from jettagger.training import Follow

__all__ = ["READING", "StudyResult", "StudySurvey", "decorrelate", "judged", "survey"]
#: the first line that `decorrelate` calls ``step`` with
READING = "reading jets"


@dataclass(frozen=True)
class StudySurvey(Brief):
    """What a study would read, before it is read.

    Parameters
    ----------
    background, signal : SampleSurvey
    heads : dict of str to SkimSurvey
        Head to be trained -> its skims.
    files : tuple of str
        Every file that is read, apart from configurations.
    """

    background: SampleSurvey
    signal: SampleSurvey
    heads: Mapping[str, SkimSurvey]
    files: tuple[str, ...]

    @property
    def events(self) -> int:
        """Number of events of background and signal."""
        return self.background.events + self.signal.events


@dataclass(frozen=True)
class StudyResult(Brief):
    """The result of a study.

    Parameters
    ----------
    results : tuple of MethodResult
        The discriminant itself first.
    failures : dict of str to str
        Name of a method that could not be fitted -> reason.
    jets : dict of str to dict of str to int
        Kind -> numbers of jets that were fitted to and compared.
    table : str
        The comparison as Markdown.
    files : dict of str to str
        Files of the output folder -> description.
    seconds : float
    """

    results: tuple[MethodResult, ...]
    failures: Mapping[str, str]
    jets: Mapping[str, Mapping[str, int]]
    table: str
    files: Mapping[str, str]
    seconds: float


def survey(config: StudyConfig) -> StudySurvey:
    """Inspect all files of a study: available columns and models. No jets are read.

    Parameters
    ----------
    config : StudyConfig

    Returns
    -------
    StudySurvey

    Raises
    ------
    MissingColumns
        Gives the file and all missing columns.
    MismatchError
        If skims are of different taggers or jets.
    ConfigError, InputFileError
    """
    background, signal = (survey_sample(config, kind) for kind in ("background", "signal"))
    both = {kind: {skim.digest for skim in sample.skims} for kind, sample in (("b", background), ("s", signal))}
    if not both["b"] & both["s"] and "" not in both["b"] | both["s"]:
        place = config.document.where("signal", "files")
        raise MismatchError(f"{place}: signal and background were made with different models")
    if background.jets != signal.jets or background.prefix != signal.prefix:
        place = config.document.where("signal", "files")
        raise MismatchError(
            f"{place}: the signal has {signal.jets} with columns of {signal.prefix!r}, the background "
            f"{background.jets} with {background.prefix!r}"
        )
    files = [skim.path for sample in (background, signal) for skim in sample.skims]
    heads = {}
    for head in config.heads:
        with head.config.document.at("parent"):
            bundle = load_bundle(head.config.parent)
        heads[head.name] = survey_training(head.config, bundle)
        files += training_files(bundle, heads[head.name])
    return StudySurvey(background, signal, heads, tuple(dict.fromkeys(files)))


def decorrelate(
    config: StudyConfig | str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    force: bool = False,
    plots: bool = True,
    found: StudySurvey | None = None,
    progress: Callable[[int], None] | None = None,
    follow: Follow | None = None,
    step: Callable[[str], None] | None = None,
) -> StudyResult:
    """Fit and compare methods of decorrelation: ``jettagger decorrelate`` as a function.

    Events are divided by event number. Maps and heads are fitted to one part, and all methods are compared on the
    other.

    Parameters
    ----------
    config : StudyConfig or path
    output : path
        The folder to write, complete or absent: ``report.json``, ``report.md``, figures, ``maps/`` and ``heads/``.
        Heads that are finished are kept in ``<output>.resume`` until then, so that an interrupted study resumes.
    force : bool
        Whether an existing study may be replaced.
    plots : bool
        Whether figures are drawn.
    found : StudySurvey, optional
        Survey of the skims, if it was made before.
    progress : callable, optional
        Called with the number of events after each chunk that was read.
    follow : callable, optional
        Called with an `Epoch` after each epoch of a head.
    step : callable, optional
        Called with a line of text before each part of the work.

    Returns
    -------
    StudyResult

    Raises
    ------
    ConfigError, InvalidValues, MissingColumns, MismatchError, InputFileError
        As for `read_config` and `survey`; InvalidValues also if the jets cannot resolve an efficiency.
    MissingExtra
        If heads are trained and the extra ``train`` is not installed, or figures are drawn without ``plot``.
    OutputError
        If the folder cannot be written, or contains inputs; nothing is changed in these cases.

    Examples
    --------
    >>> from jettagger.studies import decorrelate
    >>> result = decorrelate("study.yaml", "study")  # doctest: +SKIP
    >>> print(result.table)  # doctest: +SKIP
    """
    start = time.perf_counter()
    if not isinstance(config, StudyConfig):
        config = read_config(config)
    check_folder(output, marker=REPORT, force=force, inputs=[config.document.name])
    found = survey(config) if found is None else found
    refuse_inputs(output, found.files)
    if plots:
        require("mplhep", "plot", "the pictures of the report")
    for wanted in config.heads:
        require("xgboost" if wanted.config.model.kind == "bdt" else "torch", "train", "training a head")
    made = provenance_of(
        None,
        {},
        None,
        found.files,
        step="decorrelate",
        configuration={"file": config.document.name, "digest": config.document.digest},
    )
    tell = step or (lambda _: None)
    with folder_complete_or_absent(output, marker=REPORT, force=force) as folder, _resumable(output) as kept:
        tell(READING)
        samples = {
            kind: read_jets(config, sample, progress)
            for kind, sample in (("background", found.background), ("signal", found.signal))
        }
        check_efficiencies(config, samples["background"])
        failures: dict[str, str] = {}
        heads: dict[HeadTraining, Head] = {}
        facts: dict[str, dict[str, Any]] = {}
        for training in config.heads:
            tell(f"head {training.name}")
            try:
                trained, facts[training.name] = _trained(training, found.heads[training.name], kept, plots, follow)
            except (InvalidValues, FloatingPointError) as error:
                if training.name == config.discriminant:
                    raise
                failures[training.name] = str(error)
                continue
            heads[training] = trained
        if heads:
            for kind, sample in (("background", found.background), ("signal", found.signal)):
                score_heads(config, sample, samples[kind], heads)
        methods = _methods(config, heads, facts)
        if config.maps:
            tell("maps")
            methods += fit_maps(config, found.background, samples, folder, failures)
        results: list[MethodResult] = []
        for method in methods:
            tell(f"measuring {method.name}")
            reference = results[0].point if results else None
            try:
                results.append(measure(config, samples["background"], samples["signal"], method, reference))
            except InvalidValues as error:
                if not results:
                    raise
                failures[method.name] = str(error)
        tell("report")
        if heads:
            (folder / "heads").mkdir()
        for training, head in heads.items():
            shutil.copytree(head.folder, folder / "heads" / training.name)
        written = write_report(config, samples, results, failures, folder, made, plots=plots)
        if Path(config.document.name).is_file():
            shutil.copyfile(config.document.name, folder / "config.yaml")
    shutil.rmtree(_resume_folder(output), ignore_errors=True)
    return StudyResult(
        tuple(results),
        failures,
        {kind: jets.counts() for kind, jets in samples.items()},
        table(config, results, failures),
        written,
        time.perf_counter() - start,
    )


def _resume_folder(output: str | os.PathLike[str]) -> Path:
    target = Path(output)
    return target.with_name(f"{target.name}.resume")


@contextmanager
def _resumable(output: str | os.PathLike[str]) -> Iterator[Path]:
    """The folder of finished heads; it stays after an interrupt if there are any."""
    folder = _resume_folder(output)
    try:
        yield folder
    finally:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _trained(
    training: HeadTraining, found: SkimSurvey, kept: Path, plots: bool, follow: Follow | None
) -> tuple[Head, dict[str, Any]]:
    """A head, trained now or by an interrupted run of the same configuration, files and code."""
    place = kept / f"{training.name}-{_digest(training, found)}"
    if not place.is_dir():
        kept.mkdir(exist_ok=True)
        finetune(training.config, place, plots=plots, found=found, follow=follow)
    head = load_head(place)
    return head, {"digest": head.digest, "metrics": dict(head.card.metrics)}


def _digest(training: HeadTraining, found: SkimSurvey) -> str:
    state = []
    for skim in found.skims:
        status = os.stat(skim.path)
        state.append([os.path.abspath(skim.path), status.st_size, status.st_mtime_ns])
    content = json.dumps([training.config.document.digest, state, code_digest()])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def judged(metrics: Mapping[str, Any]) -> str:
    """Why the decorrelation of a head failed, by the referee of its training.

    Parameters
    ----------
    metrics : mapping
        Those of the head's card.

    Returns
    -------
    str
        Empty if it did not, or if the training had no adversary.

    Examples
    --------
    >>> judged({"adversary": [{"verdict": "failed"}]})
    'its own adversary reads nothing from the scores, a fresh referee does'
    >>> judged({})
    ''
    """
    verdicts = [item.get("verdict") for item in metrics.get("adversary") or ()]
    return "its own adversary reads nothing from the scores, a fresh referee does" if "failed" in verdicts else ""


def _methods(
    config: StudyConfig, heads: Mapping[HeadTraining, Head], facts: Mapping[str, Mapping[str, Any]]
) -> list[Method]:
    """The discriminant first, then heads in the order of the configuration."""
    methods = []
    if not isinstance(config.discriminant, str):
        methods.append(Method("raw", "raw"))
    for training in heads:
        raw = training.name == config.discriminant
        method = Method(
            training.name,
            "raw" if raw else "head",
            training.method or "plain",
            strength=training.strength,
            failure=judged(facts[training.name]["metrics"]),
            facts=facts[training.name],
        )
        methods.insert(0, method) if raw else methods.append(method)
    return methods


guard(globals())
