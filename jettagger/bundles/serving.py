"""Export of a model to the model repository of a Triton server."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from jettagger.arguments import guard
from jettagger.bundles.bundle import Bundle
from jettagger.errors import ModelFileError, OutputError
from jettagger.files import folder_complete_or_absent, refuse_inputs
from jettagger.sessions.graph import Tensor

__all__ = ["LARGEST_BATCH", "serve_config", "write_serving"]

#: maximum batch size of the server, in jets
LARGEST_BATCH = 1024

CONFIG = "config.pbtxt"


def serve_config(bundle: Bundle, name: str | None = None, largest_batch: int = LARGEST_BATCH) -> str:
    """The ``config.pbtxt`` of a model for a Triton server, in protobuf's text format.

    Parameters
    ----------
    bundle : Bundle
        With weights.
    name : str, optional
        Name on the server; default: that of the bundle.
    largest_batch : int
        Maximum batch size in jets; a network with a fixed batch size keeps it.

    Returns
    -------
    str

    Raises
    ------
    MissingModelFile
        If the bundle has no weights.
    ModelFileError
        If a tensor is not float32, or has no leading axis of jets.

    Examples
    --------
    >>> from jettagger.bundles.registry import load_bundle
    >>> print(serve_config(load_bundle("tinyParT")).partition("input")[0].strip())
    name: "tinyParT"
    backend: "onnxruntime"
    max_batch_size: 1024
    """
    bundle.require_weights()
    graph = bundle.graph
    if graph is None:
        raise ModelFileError(f"the model {bundle.name!r} has no network")
    fixed = bundle.fixed_batch is not None
    lines = [
        f'name: "{name or bundle.name}"',
        'backend: "onnxruntime"',
        f"max_batch_size: {0 if fixed else largest_batch}",
    ]
    for kind, tensors in (("input", graph.inputs), ("output", graph.outputs)):
        entries = [f"  {_tensor(tensor, fixed, graph.path)}" for tensor in tensors]
        lines += [f"{kind} [", ",\n".join(entries), "]"]
    if not fixed:
        lines.append("dynamic_batching { }")
    return "\n".join(lines) + "\n"


def _tensor(tensor: Tensor, fixed: bool, path: Path) -> str:
    if tensor.dtype != "float32" or not tensor.shape:
        raise ModelFileError(f"{path}: {tensor.name!r} is {tensor.dtype}{list(tensor.shape)}, expected float32 per jet")
    axes = tensor.shape if fixed else tensor.shape[1:]
    sizes = ", ".join(str(size) if isinstance(size, int) else "-1" for size in axes)
    return f'{{ name: "{tensor.name}", data_type: TYPE_FP32, dims: [ {sizes} ] }}'


def write_serving(
    bundle: Bundle,
    repository: str | os.PathLike[str],
    *,
    name: str | None = None,
    largest_batch: int = LARGEST_BATCH,
    force: bool = False,
) -> Path:
    """Write a model into the repository of a Triton server: ``NAME/config.pbtxt`` and ``NAME/1/model.onnx``.

    Parameters
    ----------
    bundle : Bundle
        With weights.
    repository : path
        The model repository of the server; created if it does not exist.
    name : str, optional
        Name on the server; default: that of the bundle.
    largest_batch : int
        Maximum batch size in jets.
    force : bool
        Whether a model of that name may be replaced.

    Returns
    -------
    pathlib.Path
        The folder of the model, complete or absent.

    Raises
    ------
    MissingModelFile
        If the bundle has no weights.
    ModelFileError
        If a tensor is not float32.
    OutputError
        If the name cannot be that of a folder, the folder exists already, or it cannot be written.
    """
    name = name or bundle.name
    if Path(name).name != name or name.startswith("."):
        raise OutputError(f"{name!r} cannot be the name of a model on a server: expected a plain folder name")
    text = serve_config(bundle, name, largest_batch)
    graph = bundle.graph
    if graph is None:
        raise ModelFileError(f"the model {bundle.name!r} has no network")
    target = Path(repository) / name
    refuse_inputs(target, [bundle.folder, *bundle.sources])
    try:
        Path(repository).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{repository} cannot be made: {error.strerror or error}") from error
    with folder_complete_or_absent(target, marker=CONFIG, force=force) as part:
        (part / CONFIG).write_text(text, encoding="utf-8")
        (part / "1").mkdir()
        shutil.copyfile(graph.path, part / "1" / "model.onnx")
        for path in graph.external:
            inside = part / "1" / path.relative_to(graph.path.parent)
            inside.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, inside)
    return target


guard(globals(), "serve_config", "write_serving")
