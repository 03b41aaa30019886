"""Weights of SPANet: state dictionaries and checkpoints, without the training file, into a network of ours and back.

Names of the original are mapped to names of ours one by one; several matrices of the original's gates are one here.
Checkpoints are pickles: they are read by torch's restricted reader, which makes tensors and plain containers alone.
"""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from jettagger._version import __version__
from jettagger.arguments import Kind, guard
from jettagger.assignment.networks import build_network
from jettagger.assignment.training_options import AssignmentOptions
from jettagger.display import Brief
from jettagger.errors import InputFileError, MismatchError, reason_of, require
from jettagger.files import complete_or_absent, refuse_special
from jettagger.topology.eventfile import EventDescription, event_text, parse_event_text
from jettagger.training.checkpoints import FORMAT as CHECKPOINT_FORMAT
from jettagger.types import Array

__all__ = [
    "VERSION",
    "LoadedWeights",
    "class_counts_of",
    "convert_weights",
    "is_torch_file",
    "load_weights",
    "original_names",
    "read_network",
    "read_state",
    "write_network",
]

_Network = Annotated[Any, Kind("a network of build_network", lambda value: hasattr(value, "class_counts"))]

#: names of the original that belong to its training, not to its network
_TRAINING = re.compile(
    r"(particle_index_tensor|particle_weights_tensor|jet_weights_tensor|event_permutation_tensor|"
    r"classification_weights\..*)$"
)

#: content of the files of `write_network`
_FORMAT, VERSION = "jettagger assignment network", 1

#: maximum number of names in a message
_MOST_NAMES = 8


def read_state(path: str | os.PathLike[str]) -> dict[str, Array]:
    """The tensors of a state dictionary or checkpoint of the original.

    Parameters
    ----------
    path : path
        ``.npz``, an archive of NumPy with one array for each name, or a file of ``torch.save``: a state dictionary, a
        checkpoint of Lightning, whose ``state_dict`` is taken, or a network of `write_network`.

    Returns
    -------
    dict of str to float32[...] or int64[...]
        With the names in the file; ``model.`` in front of them is left out.

    Raises
    ------
    InputFileError
        If it cannot be read, has no tensors, has numbers that are not finite, or holds anything in its pickle but
        tensors and plain containers: it would run code of its author.
    MissingExtra
        If it is a file of torch, which is not installed.
    """
    refuse_special(path)
    file = Path(path)
    state = _archive(file) if _is_numpy(file) else _checkpoint(file)
    state = {name.removeprefix("model."): value for name, value in state.items()}
    if not state:
        raise InputFileError(f"{file} has no weights: it has no tensors")
    wrong = [name for name, value in state.items() if value.dtype.kind == "f" and not np.isfinite(value).all()]
    if wrong:
        raise InputFileError(f"{file} has weights that are not finite numbers: {_listed(wrong)}")
    return state


def _is_numpy(file: Path) -> bool:
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return file.suffix == ".npz"
    return bool(names) and all(name.endswith(".npy") for name in names)


def _archive(file: Path) -> dict[str, Array]:
    try:
        with open(file, "rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return {name: np.asarray(archive[name]) for name in archive.files}
    except Exception as error:  # whatever damage does to those who read it
        raise InputFileError(
            f"{file} cannot be read as weights: {reason_of(error)}; expected an archive of NumPy (.npz) with one array "
            "for each weight, or a checkpoint of torch"
        ) from error


def is_torch_file(file: Path) -> bool:
    """Whether a file begins like one of ``torch.save``: as a zip archive, or, before torch 1.6, as a pickle.

    Parameters
    ----------
    file : pathlib.Path

    Returns
    -------
    bool
        True also for one that cannot be opened.
    """
    try:
        with open(file, "rb") as stream:
            return stream.read(4).startswith((b"PK\x03\x04", b"\x80"))
    except OSError:
        return True


def _checkpoint(file: Path) -> dict[str, Array]:
    torch = require("torch", "train", "a checkpoint")
    if not is_torch_file(file):
        raise InputFileError(
            f"{file} is no file of torch.save (.ckpt, .pt) and no archive of NumPy (.npz): expected one with weights"
        )
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever damage does to those who read it
        if "weights_only" in str(error).lower() or "weights only" in str(error).lower():
            name = re.search(r"GLOBAL ([\w.]+)", str(error))
            what = f" ({name[1]})" if name else ""
            raise InputFileError(
                f"{file} is refused: its pickle holds objects that are no tensors or plain containers{what}, and to "
                "make them would run code from the file. Where you trust it, save its state_dict alone: "
                'torch.save(torch.load(FILE, weights_only=False)["state_dict"], "weights.pt")'
            ) from error
        raise InputFileError(f"{file} cannot be read as a checkpoint of torch: {reason_of(error)}") from error
    state = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if isinstance(content, Mapping) and content.get("format") == _FORMAT:
        state = content.get("state")
    if isinstance(content, Mapping) and content.get("format") == CHECKPOINT_FORMAT:
        raise InputFileError(
            f"{file} is the state of a training here: -cf goes on from it; its best weights are in the network.pt of "
            "its folder"
        )
    if not isinstance(state, Mapping):
        raise InputFileError(f"{file} has no state dictionary: it holds {type(content).__name__}")
    return {str(name): value.detach().numpy() for name, value in state.items() if isinstance(value, torch.Tensor)}


# --------------------------------------------------------------------------------------------------------------- names

#: endings of our names -> endings of the original's, for blocks of each type
_BLOCK_ENDS = {
    "GRU": (
        (r"^norm\.", "normalization."),
        (r"^first\.", "linear_1.0."),
        (r"^first_activation\.", "linear_1.1."),
        (r"^second\.", "linear_2.0."),
        (r"^second_activation\.", "linear_2.1."),
        (r"^gate\.", "gru."),
    ),
    "Basic": ((r"^norm\.", "normalization."),),
    "Gated": (
        (r"^norm\.", "normalization."),
        (r"^first\.", "linear_2."),
        (r"^second\.", "linear_1."),
        (r"^gate\.", "gate.linear_1."),
        (r"^gated\.", "gate.linear_2."),
    ),
    "Resnet": tuple(
        rule
        for place, number in (("first", 1), ("second", 2))
        for rule in (
            (rf"^{place}\.", f"block_{number}.linear."),
            (rf"^{place}_norm\.", f"block_{number}.normalization."),
            (rf"^{place}_activation\.", f"block_{number}.activation."),
        )
    ),
}

#: of a gate, where one matrix holds several of the original
_GATE_ENDS = {
    "update.weight": ("linear_W_r.weight", "linear_W_z.weight", "linear_W_g.weight"),
    "update.bias": ("linear_W_r.bias", "linear_W_z.bias", "linear_W_g.bias"),
    "state.weight": ("linear_U_r.weight", "linear_U_z.weight"),
    "candidate.weight": ("linear_U_g.weight",),
    "bias": ("gate_bias",),
}

#: of attention
_ATTENTION_ENDS = {
    "project.weight": "in_proj_weight",
    "project.bias": "in_proj_bias",
    "out.weight": "out_proj.weight",
    "out.bias": "out_proj.bias",
}

#: of transformer layers without gates
_LAYER_ENDS = (
    (r"^first\.", "linear1."),
    (r"^second\.", "linear2."),
    (r"^norm\.", "norm1."),
    (r"^second_norm\.", "norm2."),
)


def _block_names(end: str, kind: str, options: AssignmentOptions) -> tuple[str, ...]:
    for pattern, replacement in _BLOCK_ENDS[kind]:
        if re.match(pattern, end):
            made = re.sub(pattern, replacement, end, count=1)
            break
    else:
        made = end
    if options.normalization != "MaskedBatchNorm":  # its own module there
        made = re.sub(r"(^|\.)normalization\.", r"\1normalization.normalization.", made, count=1)
    front, found, gate = made.partition("gru.")
    if found and kind == "GRU":
        return tuple(f"{front}{found}{name}" for name in _GATE_ENDS[gate])
    return (made,)


def _encoder_names(end: str, options: AssignmentOptions) -> tuple[str, ...]:
    if end == "token":
        return ("particle_vector",)
    group, number, rest = end.split(".", 2)
    if group == "blocks":
        return tuple(
            f"embedding.layers.{number}.{name}" for name in _block_names(rest, options.linear_block_type, options)
        )
    if options.transformer_type not in ("Gated", "GTrXL"):
        if rest.startswith("attention."):
            made = "self_attn." + _ATTENTION_ENDS[rest.removeprefix("attention.")]
        else:
            pattern, replacement = next(rule for rule in _LAYER_ENDS if re.match(rule[0], rest))
            made = re.sub(pattern, replacement, rest)
        return (f"encoder.transformer.layers.{number}.{made}",)
    front = f"encoder.layers.{number}."
    part, _, last = rest.partition(".")
    if part == "norm":
        return (f"{front}attention_norm.{last}",)
    if part == "attention":
        return (f"{front}attention.{_ATTENTION_ENDS[last]}",)
    if part == "gate":
        return tuple(f"{front}attention_gate.{name}" for name in _GATE_ENDS[last])
    return tuple(f"{front}feed_forward.{name}" for name in _block_names(last, "GRU", options))


def _head_names(end: str, options: AssignmentOptions) -> tuple[str, ...]:
    part, _, rest = end.partition(".")
    if part == "blocks":
        number, _, rest = rest.partition(".")
        return tuple(
            f"hidden_layers.layers.{number}.{name}" for name in _block_names(rest, options.linear_block_type, options)
        )
    return (f"output_{'norm' if part == 'norm' else 'layer'}.{rest}",)


def _input_names(number: str, end: str, kind: str, options: AssignmentOptions) -> tuple[str, ...]:
    front = f"embedding.vector_embedding_layers.{number}."
    if end in ("mean", "std"):
        return (f"{front}normalizer.{end}",)
    if end == "token":
        return (f"{front}position_embedding.position_embedding",)
    part, _, rest = end.partition(".")
    front += "vector_embeddings."
    stack = {"global": "embedding.embedding_stack.", "relative": "shared_embedding_stack."}.get(
        kind, "embedding_stack."
    )
    if part == "stack":
        number, _, rest = rest.partition(".")
        names = _block_names(rest, options.linear_block_type, options)
        return tuple(f"{front}{stack}embedding_layers.{number}.{name}" for name in names)
    if part == "output":
        return tuple(f"{front}output.{name}" for name in _block_names(rest, options.linear_block_type, options))
    words = {"norm": "shared_embedding_norm", "query": "query_embedding", "key": "key_embedding"}
    return (f"{front}{words.get(part, 'value_embedding')}.{rest}",)


def original_names(network: _Network) -> dict[str, tuple[str, ...]]:
    """Names of the original for the weights of a network.

    Parameters
    ----------
    network : torch.nn.Module

    Returns
    -------
    dict of str to tuple of str
        Name here -> names there; of several, one after the other along the first axis. Weights of features of pairs,
        which the original does not have, are left out.
    """
    description, options = network.description, network.options
    regressions, classifications = list(description.regressions), list(network.class_counts)
    made: dict[str, tuple[str, ...]] = {}
    for name in network.state_dict():
        part, _, rest = name.partition(".")
        number, _, end = rest.partition(".")
        if part == "inputs":
            made[name] = _input_names(number, end, description.inputs[int(number)].kind, options)
        elif part == "fusion":
            found = _block_names(rest, options.linear_block_type, options)
            made[name] = tuple(f"embedding.final_embedding_layer.{item}" for item in found)
        elif part == "encoder":
            made[name] = tuple(f"encoder.{item}" for item in _encoder_names(rest, options))
        elif part == "particles":
            made[name] = tuple(f"branch_decoders.{number}.{item}" for item in _branch_names(end, options))
        elif part == "regressions":
            front = f"regression_decoder.networks.{regressions[int(number)]}."
            head, found, last = end.partition("head.")
            items = (f"linear.{item}" for item in _head_names(last, options)) if found else (head,)
            made[name] = tuple(front + item for item in items)
        elif part == "classifications":
            front = f"classification_decoder.networks.{classifications[int(number)]}."
            made[name] = tuple(front + item for item in _head_names(end, options))
    return made


def _branch_names(end: str, options: AssignmentOptions) -> tuple[str, ...]:
    part, _, rest = end.partition(".")
    if part == "encoder":
        return tuple(f"encoder.{item}" for item in _encoder_names(rest, options))
    if part == "detection":
        return tuple(f"detection_classifier.{item}" for item in _head_names(rest, options))
    number, kind, last = rest.split(".", 2)
    if kind == "linear":
        return (f"attention.linear_layers.{number}.{last}",)
    return tuple(f"attention.encoders.{number}.{item}" for item in _encoder_names(last, options))


# ------------------------------------------------------------------------------------------------------------- loading


@dataclass(frozen=True)
class LoadedWeights(Brief):
    """What became of a state dictionary, see `load_weights`.

    Parameters
    ----------
    loaded : tuple of str
        Names of weights of the network that it gave.
    kept : tuple of str
        Names of weights of the network that it did not give: they are as they were.
    unused : tuple of str
        Its names without a place in the network.
    ignored : tuple of str
        Its names that are no part of the original's function: weights of its balance, permutations of the event,
        gates of blocks without a residual.
    """

    loaded: tuple[str, ...]
    kept: tuple[str, ...]
    unused: tuple[str, ...]
    ignored: tuple[str, ...]

    def summary(self) -> str:
        """What was loaded, in lines.

        Returns
        -------
        str
        """
        lines = [f"{len(self.loaded)} weights loaded"]
        lines += [f"{len(self.kept)} weights of the network are not in the file: {_listed(self.kept)}"] * bool(
            self.kept
        )
        lines += [f"{len(self.unused)} weights of the file have no use: {_listed(self.unused)}"] * bool(self.unused)
        return "\n".join(lines)


def load_weights(
    network: _Network, state: Mapping[str, Any], *, partial: bool = False, where: str = "the state dictionary"
) -> LoadedWeights:
    """Load weights into a network, which is modified only if they fit.

    Parameters
    ----------
    network : torch.nn.Module
        Of `jettagger.assignment.networks.build_network`.
    state : mapping of str to array
        With the names of the original, as `read_state` returns it, or with those of the network.
    partial : bool
        Whether weights that are missing, left over or of another shape are allowed: they are listed. It is an error if
        none fits.
    where : str
        Name in messages.

    Returns
    -------
    LoadedWeights

    Raises
    ------
    MismatchError
        If it does not fit: lists names and shapes.
    """
    torch = require("torch", "train", "weights of a network")
    own = network.state_dict()
    names: dict[str, tuple[str, ...]] = {name: (name,) for name in own}
    if not any(name in own for name in state):
        names = original_names(network)
    loaded, problems, missing = {}, [], []
    used: set[str] = set()
    misfits: set[str] = set()
    for name, tensor in own.items():
        parts = names.get(name, ())
        absent = [part for part in parts if part not in state]
        if absent or not parts:
            missing += absent or [name]
            continue
        arrays = [np.asarray(state[part]) for part in parts]
        used.update(parts)
        shapes = ", ".join(f"{part} is {array.shape}" for part, array in zip(parts, arrays, strict=True))
        size = sum(array.size for array in arrays)
        value = np.concatenate([array.reshape(-1) for array in arrays])
        if size != tensor.numel() or not _fits([array.shape for array in arrays], tuple(tensor.shape)):
            expected = _part_shape(tuple(tensor.shape), len(parts))
            problems.append(f"{shapes}, expected {expected}")
            misfits.update(parts)
            continue
        loaded[name] = torch.as_tensor(value.reshape(tuple(tensor.shape))).to(tensor.dtype)
    left = [name for name in state if name not in used or name in misfits]
    ignored = tuple(name for name in left if _TRAINING.match(name) or _idle(name, network.options))
    unused = tuple(name for name in left if name not in ignored)
    weights = [name for name in loaded if not name.endswith("num_batches_tracked")]
    if not weights or (not partial and (problems or missing or unused)):
        texts = []
        if problems:
            texts.append(f"shapes differ: {_listed(problems, '; ')}")
        if missing:
            texts.append(f"missing: {_listed(missing)}")
        over = [f"{name} {np.shape(state[name])}" for name in unused if name not in misfits]
        if over:
            texts.append(f"left over: {_listed(over)}")
        fits = "fits nowhere in" if not weights else "does not fit"
        raise MismatchError(f"{where} {fits} the network of the event file and the options; {'; '.join(texts)}")
    network.load_state_dict({**own, **loaded})
    return LoadedWeights(tuple(loaded), tuple(name for name in own if name not in loaded), unused, ignored)


def _idle(name: str, options: AssignmentOptions) -> bool:
    """Whether this is a gate without a use: the original makes it also for blocks without a residual."""
    if options.linear_block_type != "GRU" or not re.search(r"\.gru\.", name) or ".feed_forward." in name:
        return False
    stacked = re.search(r"\.embedding_stack\.|\.shared_embedding_stack\.", name)
    return not (options.initial_embedding_skip_connections if stacked else options.skip_connections)


def _fits(shapes: list[tuple[int, ...]], whole: tuple[int, ...]) -> bool:
    """Whether tensors, one after the other, are the whole; axes of length one at the front do not count."""
    trimmed = [tuple(_trimmed(shape)) for shape in shapes]
    if len(shapes) == 1:
        return trimmed[0] == tuple(_trimmed(whole))
    return all(shape == _part_shape(whole, len(shapes)) for shape in shapes)


def _trimmed(shape: tuple[int, ...]) -> tuple[int, ...]:
    while len(shape) > 1 and shape[0] == 1:
        shape = shape[1:]
    return shape


def _part_shape(shape: tuple[int, ...], parts: int) -> tuple[int, ...]:
    return shape if parts == 1 else (shape[0] // parts, *shape[1:])


def _listed(names: Any, separator: str = ", ") -> str:
    names = list(names)
    more = f"{separator}and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return separator.join(names[:_MOST_NAMES]) + more


def class_counts_of(state: Mapping[str, Any], description: EventDescription) -> dict[str, int]:
    """Numbers of classes in a state dictionary of the original: the rows of the last layers.

    Parameters
    ----------
    state : mapping of str to array
    description : EventDescription

    Returns
    -------
    dict of str to int

    Raises
    ------
    MismatchError
        If it has no output for a classification of the event file.
    """
    counts = {}
    for key in description.classifications:
        name = f"classification_decoder.networks.{key}.output_layer.weight"
        if name not in state:
            found = [
                item.split(".")[2] for item in state if re.fullmatch(r"classification_.*output_layer\.weight", item)
            ]
            raise MismatchError(
                f"the state dictionary has no output for the classification {key} ({name} is missing); it has "
                f"{', '.join(found) or 'none'}"
            )
        counts[key] = int(np.shape(state[name])[0])
    return counts


def convert_weights(
    path: str | os.PathLike[str], description: EventDescription, options: AssignmentOptions
) -> tuple[Any, LoadedWeights]:
    """A network of ours with the weights of a file of the original, without its training file.

    Parameters
    ----------
    path : path
        See `read_state`. Normalisation and numbers of classes are in it.
    description : EventDescription
    options : AssignmentOptions
        Those of its training.

    Returns
    -------
    network : torch.nn.Module
        In the mode of evaluation.
    loaded : LoadedWeights

    Raises
    ------
    InputFileError
        If it cannot be read, or is a network of ours already.
    MismatchError
        If it does not fit: lists names and shapes.
    MissingExtra
        If torch is not installed.
    """
    require("torch", "train", "weights of a network")
    state = read_state(path)
    if "inputs.0.mean" in state:
        raise InputFileError(
            f"{os.fspath(path)} has the weights of a network of jettagger, not of SPANet: its network file is "
            "evaluated, exported and trained further (-sf) as it is"
        )
    network = build_network(description, options, class_counts_of(state, description))
    loaded = load_weights(network, state, where=os.fspath(path))
    return network.eval(), loaded


# --------------------------------------------------------------------------------------------------------------- files


def write_network(path: str | os.PathLike[str], network: _Network, *, force: bool = False) -> Path:
    """Write a network with all that it needs, complete or not at all: event file, options, classes, weights.

    Parameters
    ----------
    path : path
        A file of torch.
    network : torch.nn.Module
    force : bool
        Whether to replace an existing file.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    OutputError
        If it cannot be written, or exists.
    """
    torch = require("torch", "train", "weights of a network")
    content = {
        "format": _FORMAT,
        "version": VERSION,
        "jettagger": __version__,
        "event": event_text(network.description),
        "options": network.options.model_dump(mode="json"),
        "classes": dict(network.class_counts),
        "state": network.state_dict(),
    }
    with complete_or_absent(path, force=force) as part:
        torch.save(content, part)
    return Path(path)


def read_network(path: str | os.PathLike[str]) -> Any:
    """Read a network, without its training set.

    Parameters
    ----------
    path : path
        Of `write_network`.

    Returns
    -------
    torch.nn.Module
        On the CPU, in the mode of evaluation.

    Raises
    ------
    InputFileError
        If it is damaged, no such file, or of a later version.
    MissingExtra
        If torch is not installed.
    """
    torch = require("torch", "train", "weights of a network")
    refuse_special(path)
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch does not compare the checksums
        if damaged is not None:
            raise ValueError(f"{damaged} in it is damaged")
        content = torch.load(path, map_location="cpu", weights_only=True)
        if content["format"] != _FORMAT:
            raise ValueError(f"its format is {content['format']!r}, expected {_FORMAT!r}")
        version = int(content["version"])
    except Exception as error:  # whatever damage does to those who read it
        raise InputFileError(f"{os.fspath(path)} is damaged, or no network: {reason_of(error)}") from error
    if version != VERSION:
        raise InputFileError(f"{os.fspath(path)} is of version {version}, this version of jettagger reads {VERSION}")
    try:
        description = parse_event_text(content["event"], f"event file in {os.fspath(path)}")
        network = build_network(description, AssignmentOptions(**content["options"]), content["classes"])
        network.load_state_dict(content["state"])
    except Exception as error:
        raise InputFileError(f"{os.fspath(path)} is damaged: {reason_of(error)}") from error
    return network.eval()


guard(globals())
