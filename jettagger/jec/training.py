"""Training of a calibration: from a configuration and files of jets to a folder with the model."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

import numpy as np

from jettagger._version import __version__
from jettagger.arguments import guard
from jettagger.bundles.folder import CARD, MODEL
from jettagger.config.yamlfile import yaml_text
from jettagger.display import Brief, in_full
from jettagger.errors import ConfigError, MismatchError, UnknownName, require
from jettagger.files import check_folder, folder_complete_or_absent
from jettagger.jec.architecture import Architecture, architecture_of, refuse_weights
from jettagger.jec.configuration import JecConfig, is_remote, read_config
from jettagger.jec.exporting import calibration_model, feature_branches, output_names
from jettagger.jec.importing import read_weights, write_weights
from jettagger.jec.losses import calibration_loss, quantile_outputs
from jettagger.jec.network import build_network, network_weights, set_weights
from jettagger.jec.prediction import Calibration, JetPredictions, load_calibration, predict_files
from jettagger.jec.rows import FeatureLayout, JetRows, branches_of, prepare, with_target
from jettagger.jec.shards import DATA, jets_of_files, open_data
from jettagger.jec.streaming import TrainingSets, training_sets
from jettagger.jec.transforms import Transforms, read_transform, write_transform
from jettagger.jec.variables import declaration
from jettagger.provenance import KEY, Provenance
from jettagger.runtime.codedigest import digest_of
from jettagger.sessions.graph import file_sha256
from jettagger.training import (
    Adam,
    Constant,
    Epoch,
    Follow,
    LoopSettings,
    Optimiser,
    Piecewise,
    Plateau,
    RAdam,
    Schedule,
    Sgd,
    TrainingBatch,
    seeded,
    train_network,
)
from jettagger.training.curves import TrainingHistory, tensorboard
from jettagger.training.devices import move, open_device
from jettagger.training.kept import kept_checkpoints

__all__ = [
    "CONFIG",
    "MARKER",
    "WEIGHTS",
    "ImportedCalibration",
    "JecTraining",
    "architecture_for",
    "import_model",
    "loop_settings",
    "train",
    "write_model",
]

#: file that only outputs of trainings and imports have: how the model was made
MARKER = "calibration.json"

#: files in the output, besides those of the bundle
CONFIG, WEIGHTS, DRAWING, PREDICTION, INPUTS = (
    "config.yaml",
    "weights.npz",
    "network.txt",
    "prediction.npy",
    "inputs.json",
)

#: added to the root of the second moment in Keras
_EPSILON = 1e-7

#: jets whose outputs of ONNX and torch are compared, and the tolerance of ln(factor), times max(1, |value|)
_COMPARED, _TOLERANCE = 500, 1e-4


@dataclass(frozen=True)
class JecTraining(Brief):
    """The result of a training.

    Parameters
    ----------
    folder : pathlib.Path
    jets : dict of str to int
        Numbers of jets for ``training``, ``validation`` and ``test``.
    dropped : int
        Number of jets without a true momentum above 0, which were left out.
    history : TrainingHistory
    architecture : Architecture
    difference : float
        Maximum difference of ln(factor) between the ONNX model and torch, for jets of the validation set.
    seconds : dict of str to float
        ``reading`` and ``training``, in wall time.
    predictions : JetPredictions or None
        Those for the test set, if the configuration asks for them.
    notes : tuple of str
        What a user should know.
    """

    folder: Path
    jets: dict[str, int]
    dropped: int
    history: TrainingHistory
    architecture: Architecture
    difference: float
    seconds: dict[str, float]
    predictions: JetPredictions | None
    notes: tuple[str, ...]


def train(
    config: JecConfig | str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    force: bool = False,
    plots: bool = True,
    resume: bool = False,
    follow: Follow | None = None,
    begin: Callable[[Architecture, TrainingSets], None] | None = None,
) -> JecTraining:
    """Train a calibration: ``jettagger jec train`` as a function.

    Parameters
    ----------
    config : JecConfig or path
    output : path
        The folder to write; complete or absent.
    force : bool
        Whether an existing one may be replaced.
    plots : bool
        Whether the history is drawn.
    resume : bool
        Store a checkpoint after each epoch in a folder ``OUTPUT.resume`` until the output is complete, and go on with
        that of an interrupted training: the network is the same as without interruption.
    follow : callable, optional
        Called with an `Epoch` after each epoch.
    begin : callable, optional
        Called when the jets are prepared.

    Returns
    -------
    JecTraining

    Raises
    ------
    ConfigError
        If the configuration is not valid.
    InputFileError, MismatchError, MissingColumns, InvalidValues
        If jets, transforms or weights cannot be used, see `jettagger.jec.streaming.training_sets`; MismatchError also
        if the ONNX model differs from the network.
    MissingExtra
        If the extra ``train`` is not installed, or ``plot`` for the pictures.
    OutputError
        If the folder exists or cannot be written.

    Warns
    -----
    ResumeWarning
        If there is a checkpoint of an earlier run: whether it is used, or discarded because something has changed.
    """
    config = config if isinstance(config, JecConfig) else read_config(config)
    check_folder(output, marker=MARKER, force=force, inputs=inputs_of(config))
    require("torch", "train", "training a network")
    open_device(config.train.device)
    if plots:
        require("mplhep", "plot", "the pictures of the history")
    start = time.perf_counter()
    with training_sets(config) as sets:
        config, weights = _with_weights(config)
        architecture = architecture_for(config, sets.transforms)
        if begin is not None:
            begin(architecture, sets)
        read = time.perf_counter()
        subjects = [_subject(config, sets, weights)] if resume else []
        with (
            kept_checkpoints(output, subjects, "files, configuration or code") as kept,
            folder_complete_or_absent(output, marker=MARKER, force=force) as folder,
        ):
            checkpoint = None if kept is None else kept.path("network", *subjects)
            network, history = _trained(config, architecture, sets, weights, folder, checkpoint, follow)
            trained = time.perf_counter()
            quantiles = _quantiles(config)
            made = _provenance("jec train", config, [file.path for file in (*sets.files.train, *sets.files.validation)])
            notes = write_model(folder, config, sets.transforms, architecture, network_weights(network), made)
            model = load_calibration(folder, threads=config.train.threads)
            difference = _compared(network, model, config, sets, quantiles)
            history.write(folder, plots=plots)
            predictions = None
            if config.predict:
                predictions = predict_files(model, sets.files.test, download=config.data.download)
                np.save(folder / PREDICTION, predictions.logarithm, allow_pickle=False)
    return JecTraining(
        Path(output),
        {
            "training": len(sets.train),
            "validation": len(sets.validation),
            "test": 0 if predictions is None else len(predictions.factors),
        },
        sets.train.dropped + sets.validation.dropped,
        history,
        architecture,
        difference,
        {"reading": read - start, "training": trained - read},
        predictions,
        notes,
    )


# ------------------------------------------------------------------------------------------------------- the network


def inputs_of(config: JecConfig) -> list[str]:
    """What a training reads besides its configuration; nothing of it may be overwritten.

    Parameters
    ----------
    config : JecConfig

    Returns
    -------
    list of str
    """
    location = config.data.location
    places = [location if is_remote(location) else os.path.join(location, DATA), config.model.load_weights]
    places += [None if config.model.saved is None else os.path.join(config.model.saved, WEIGHTS)]
    return [place for place in places if place is not None]


def _quantiles(config: JecConfig) -> tuple[float, ...]:
    return tuple(config.loss.quantiles) if config.loss.type == "quantiles" else ()


def architecture_for(config: JecConfig, transforms: Transforms) -> Architecture:
    """The network of a configuration.

    Parameters
    ----------
    config : JecConfig
    transforms : Transforms
        For the numbers of values of categorical features.

    Returns
    -------
    Architecture

    Raises
    ------
    ConfigError, UnknownName
        As for `jettagger.jec.architecture.architecture_of`.
    """
    layout = FeatureLayout.of(config.features)
    categorical = {
        block: {name: transforms.rows(name) - 1 for name in content.categorical}
        for block, content in config.features.items()
    }
    model = {name: part.model_dump() for name, part in config.model.parts.items()}
    return architecture_of(model, layout.numerical, categorical, outputs=max(len(_quantiles(config)), 1))


def _with_weights(config: JecConfig) -> tuple[JecConfig, tuple[str, Mapping[str, Any]] | None]:
    """The configuration with the layers of an earlier training, if it names one, and the initial weights."""
    if config.model.saved is not None:
        folder = Path(config.model.saved)
        earlier = read_config(folder / CONFIG)
        for block in {**config.features, **earlier.features}:
            mine, other = (
                (names.numerical, names.categorical) if (names := each.features.get(block)) else None
                for each in (config, earlier)
            )
            if mine != other:
                raise MismatchError(
                    f"the network in {folder} was trained with other features of the block {block!r}: {other}, here "
                    f"{mine}"
                )
        weights = folder / WEIGHTS
        config = config.model_copy(update={"model": earlier.model.model_copy(update={"load_weights": None})})
        return config, (str(weights), read_weights(weights))
    if config.model.load_weights is None:
        return config, None
    if is_remote(config.model.load_weights):
        raise ConfigError(f"model.load_weights: {config.model.load_weights} is a URL, expected a file (.npz)")
    return config, (config.model.load_weights, read_weights(config.model.load_weights))


def loop_settings(config: JecConfig, jets: int) -> LoopSettings:
    """The settings of the loop: those that the keys have in Keras.

    Parameters
    ----------
    config : JecConfig
    jets : int
        Number of jets in the training set.

    Returns
    -------
    LoopSettings
    """
    keys, algorithm = config.train, config.optimizer.algorithm
    epochs = keys.epochs(jets, config.data.batch_size)
    rate = keys.learning_rate if keys.learning_rate is not None else 1e-2 if algorithm == "sgd" else 1e-3
    schedule: Schedule = Constant()
    if keys.piecewise_linear_schedule is not None:
        points = zip(keys.piecewise_linear_schedule.epochs, keys.piecewise_linear_schedule.learning_rate, strict=True)
        schedule, rate = Piecewise(tuple((float(epoch), value) for epoch, value in points)), 1.0
    elif keys.reduce_lr_on_plateau is not None:
        plateau = keys.reduce_lr_on_plateau
        last = min(plateau.min_lr / rate, 1.0) if rate else 1.0
        # Keras reduces after so many epochs, torch after one more
        schedule = Plateau(plateau.factor, max(plateau.patience - 1, 0), last, plateau.min_delta)
    stopping = keys.early_stopping
    optimiser: Optimiser
    if algorithm == "sgd":
        optimiser = Sgd(config.optimizer.momentum, config.optimizer.nesterov)
    else:
        optimiser = Adam(_EPSILON) if algorithm == "adam" else RAdam(_EPSILON)
    return LoopSettings(
        epochs=epochs,
        rate=rate,
        decay=0.0,
        patience=epochs + 1 if stopping is None else max(stopping.patience, 1),
        max_norm=math.inf,
        schedule=schedule,
        device=keys.device,
        precision=keys.precision,
        optimiser=optimiser,
        min_delta=None if stopping is None else stopping.min_delta,
    )


def _trained(
    config: JecConfig,
    architecture: Architecture,
    sets: TrainingSets,
    weights: tuple[str, Mapping[str, Any]] | None,
    folder: Path,
    checkpoint: Path | None,
    follow: Follow | None,
) -> tuple[Any, TrainingHistory]:
    """The network with its best weights."""
    keys, loss = config.train, config.loss
    settings = loop_settings(config, len(sets.train))
    listeners = [one for one in (follow, tensorboard(folder / "logs", settings)) if one is not None]

    def tell(epoch: Epoch) -> None:
        for one in listeners:
            one(epoch)

    with seeded(keys.seed, threads=keys.threads, device=keys.device):
        network = build_network(architecture)
        if weights is not None:
            set_weights(network, weights[1], weights[0])
        stream = _Steps(sets, config.data.batch_size, keys.steps_per_epoch)
        epochs = train_network(
            network,
            calibration_loss(loss.type, scale=loss.scale, quantiles=_quantiles(config), max_target=loss.max_target),
            stream.epoch,
            lambda: (_batch(rows) for rows in sets.validation),
            settings,
            follow=tell,
            checkpoint=checkpoint,
            subject="" if checkpoint is None else checkpoint.stem,
        )
    return network, TrainingHistory.of(epochs, settings)


class _Steps:
    """Batches of the training set; an epoch is a number of them, wherever the pass over the jets is."""

    def __init__(self, sets: TrainingSets, size: int, steps: int) -> None:
        self.sets, self.size, self.steps = sets, min(size, len(sets.train)), steps
        self.position = -1
        self.batches: Iterator[JetRows] = iter(())

    def epoch(self, number: int) -> Iterator[TrainingBatch]:
        if self.position != number * self.steps:
            self.position = number * self.steps
            self.batches = self.sets.train.batches(self.size, start=self.position)
        for _ in range(self.steps):
            self.position += 1
            yield _batch(next(self.batches))


def _inputs(rows: JetRows) -> dict[str, dict[str, Any]]:
    """Jets as the network takes them."""
    blocks = {
        block: {"numerical": values, "categorical": rows.categorical[block]} for block, values in rows.numerical.items()
    }
    for block, counts in rows.counts.items():
        blocks[block]["counts"] = counts
    return blocks


def _batch(rows: JetRows) -> TrainingBatch:
    return TrainingBatch((_inputs(rows),), rows.target, np.ones(len(rows), dtype=np.float32))


# --------------------------------------------------------------------------------------------------------- the bundle


def _provenance(step: str, config: JecConfig, files: Sequence[str]) -> Provenance:
    return Provenance(step, files=tuple(files), configuration=config.model_dump(mode="json", exclude_none=True))


def write_model(
    folder: Path,
    config: JecConfig,
    transforms: Transforms,
    architecture: Architecture,
    weights: Mapping[str, Any],
    made: Provenance,
) -> tuple[str, ...]:
    """Write the bundle of a network, its weights, configuration, transforms and drawing into an existing folder.

    Parameters
    ----------
    folder : pathlib.Path
    config : JecConfig
    transforms : Transforms
    architecture : Architecture
    weights : mapping of str to float32[inputs, units]
    made : Provenance

    Returns
    -------
    tuple of str
        What a user should know: branches that no events have.

    Raises
    ------
    MismatchError
        If the weights are those of another network.
    """
    quantiles = _quantiles(config)
    model = calibration_model(architecture, weights, config.features, transforms, quantiles=quantiles)
    (folder / MODEL).write_bytes(model.SerializeToString(deterministic=True))
    write_weights(folder / WEIGHTS, weights)
    write_transform(folder / "transform.yaml", transforms)
    content = config.model_dump(mode="json", exclude_none=True)
    (folder / CONFIG).write_text(yaml_text(content), encoding="utf-8")
    (folder / DRAWING).write_text(architecture.drawing(), encoding="utf-8")
    about = {
        KEY: made.to_dict(),
        "outputs": list(output_names(quantiles)),
        "parameters": architecture.parameters,
        "loss": config.loss.type,
        "sha256": file_sha256(folder / MODEL),
    }
    (folder / MARKER).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    name = re.sub(r"[^A-Za-z0-9_.+-]", "_", config.run.name or "jec")
    name = name if name[0].isalnum() else f"jec{name}"
    title = "Calibration of the jet energy: factor on the raw momentum"
    try:
        inputs = declaration(name, feature_branches(config.features), config.data.jets, title)
    except UnknownName as error:
        return (f"the model applies to files of jets only, not to events: {error}",)
    (folder / INPUTS).write_text(json.dumps(inputs, indent=1) + "\n", encoding="utf-8")
    card = {
        "schema_version": 1,
        "name": name,
        "title": title,
        "inputs": INPUTS,
        "jets": config.data.jets,
        "output_names": list(output_names(quantiles)),
        "kinds": {"regression": ["*"]},
        "notes": f"trained with jettagger {__version__}, loss {config.loss.type}, {architecture.parameters} parameters",
    }
    (folder / CARD).write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    return ()


def _compared(
    network: Any, model: Calibration, config: JecConfig, sets: TrainingSets, quantiles: tuple[float, ...]
) -> float:
    """The maximum difference of ln(factor) between the ONNX model and torch.

    Raises
    ------
    MismatchError
        If it is above the tolerance.
    """
    torch = require("torch", "train", "training a network")
    needed = branches_of(config.features)
    for block, names in model.branches.items():
        needed[block] = [*dict.fromkeys([*needed[block], *names])]
    files = jets_of_files(sets.files.validation, needed, download=config.data.download)
    pieces = (with_target(raw)[0] for _, _, raw in files)
    raw = next(raw for raw in pieces if len(raw))
    raw = raw.take(np.arange(min(len(raw), _COMPARED)))
    with torch.no_grad():
        outputs = network(move(_inputs(prepare(raw, config.features, sets.transforms)), "cpu"))
        if quantiles:
            outputs = quantile_outputs(outputs, quantiles.index(0.5))
    expected = outputs[:, quantiles.index(0.5) if quantiles else 0].numpy()
    found = np.log(model.factors(raw)[:, 0])
    deviation = np.abs(found - expected)
    if not (deviation <= _TOLERANCE * np.maximum(1, np.abs(expected))).all():
        raise MismatchError(
            f"the ONNX model differs from the network by {float(np.max(deviation)):.1e} in ln(factor), expected at "
            f"most {_TOLERANCE:g}: a transform may leave the range of single precision"
        )
    return float(deviation.max(initial=0))


@dataclass(frozen=True)
class ImportedCalibration(Brief):
    """A model made from weights.

    Parameters
    ----------
    folder : pathlib.Path
    architecture : Architecture
    legacy_closure : bool
        Whether transforms are computed as in the original.
    notes : tuple of str
        What a user should know.
    """

    folder: Path
    architecture: Architecture
    legacy_closure: bool
    notes: tuple[str, ...]


def import_model(
    weights: str | os.PathLike[str],
    config: JecConfig | str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    transform: str | os.PathLike[str] | None = None,
    force: bool = False,
) -> ImportedCalibration:
    """Make a model from weights of the original: ``jettagger jec import`` as a function.

    Parameters
    ----------
    weights : path
        As for `jettagger.jec.importing.read_weights`.
    config : JecConfig or path
        The configuration of their training. Without the key ``data.legacy_closure``, transforms are computed as in the
        original.
    output : path
        The folder to write, as by `train`; complete or absent.
    transform : path, optional
        Transforms; default: those at the location of the jets.
    force : bool
        Whether an existing folder may be replaced.

    Returns
    -------
    ImportedCalibration

    Raises
    ------
    ConfigError
        If configuration or transforms are not valid.
    InputFileError
        If the weights cannot be read.
    MismatchError
        If they are those of another network: the layers are named with their shapes.
    OutputError
        If the folder exists or cannot be written.
    """
    config = config if isinstance(config, JecConfig) else read_config(config)
    check_folder(output, marker=MARKER, force=force, inputs=[weights, *inputs_of(config)])
    arrays = read_weights(weights)
    legacy = config.data.legacy_closure or "legacy_closure" not in config.data.model_fields_set
    config = config.model_copy(update={"data": config.data.model_copy(update={"legacy_closure": legacy})})
    if transform is None:
        transforms = open_data(config.data.location).transforms(legacy_closure=legacy)
    else:
        transforms = read_transform(transform, legacy_closure=legacy)
    architecture = architecture_for(config, transforms)
    refuse_weights(architecture.weights, {name: value.shape for name, value in arrays.items()}, os.fspath(weights))
    with folder_complete_or_absent(output, marker=MARKER, force=force) as folder:
        made = _provenance("jec import", config, [os.fspath(weights)])
        notes = write_model(folder, config, transforms, architecture, arrays, made)
    return ImportedCalibration(Path(output), architecture, legacy, notes)


# ---------------------------------------------------------------------------------------------------------- resuming


def _subject(config: JecConfig, sets: TrainingSets, weights: tuple[str, Mapping[str, Any]] | None) -> str:
    """Digest of what the training depends on."""
    parts = [*sets.files.train, *sets.files.validation]
    states = []
    for file in parts:
        status = None if is_remote(file.path) else os.stat(file.path)
        states.append([file.path, file.count, *([] if status is None else [status.st_size, status.st_mtime_ns])])
    keys = config.model_dump(mode="json", exclude={"run", "predict"})
    code = [digest_of(resources("jettagger") / name) for name in ("jec", "training")]
    content = [keys, states, in_full(sets.transforms), code, [version("torch"), version("numpy")]]
    digest = hashlib.sha256(json.dumps(content).encode())
    for name, value in sorted((weights[1] if weights else {}).items()):
        digest.update(name.encode() + np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


guard(globals())
