"""Interface of an ONNX file: inputs, outputs, and outputs that are results of a softmax.

The file is parsed, never run. External data outside the file's folder is refused.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jettagger.display import Brief
from jettagger.errors import JettaggerError, MissingModelFile, ModelFileError
from jettagger.files import refuse_special

__all__ = ["Axis", "Graph", "Tensor", "file_sha256", "inspect"]

#: a fixed length, or the name of a symbolic axis
Axis = int | str


@dataclass(frozen=True)
class Tensor(Brief):
    """An input or output of the graph.

    Parameters
    ----------
    name : str
    shape : tuple of int or str
        Symbolic axes by their names; unnamed ones are ``"?"``.
    dtype : str
        NumPy name of the element type.
    """

    name: str
    shape: tuple[Axis, ...]
    dtype: str


@dataclass(frozen=True)
class Graph(Brief):
    """The interface of an ONNX file.

    Parameters
    ----------
    path : pathlib.Path
    sha256 : str
        SHA-256 of the file and of its external data, if any.
    inputs, outputs : tuple of Tensor
    softmaxed, linear : dict of str to tuple of (start, stop)
        For each output the column ranges that are direct results of a softmax, or of a linear layer.
    opset : int
    nodes : int
    external : tuple of pathlib.Path
        Files in the same folder with external data.
    """

    path: Path
    sha256: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    softmaxed: dict[str, tuple[tuple[int, int], ...]]
    linear: dict[str, tuple[tuple[int, int], ...]]
    opset: int
    nodes: int
    external: tuple[Path, ...]

    @property
    def fixed_batch(self) -> int | None:
        """The batch size required by the inputs, or None."""
        fixed = [tensor.shape[0] for tensor in self.inputs if tensor.shape and isinstance(tensor.shape[0], int)]
        return int(fixed[0]) if fixed else None


def file_sha256(*paths: Path) -> str:
    """Hexadecimal SHA-256 of the concatenated contents of files.

    Parameters
    ----------
    *paths : pathlib.Path

    Returns
    -------
    str
    """
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def inspect(path: str | os.PathLike[str], before: Callable[[str], None] | None = None) -> Graph:
    """Read the interface of an ONNX file.

    Parameters
    ----------
    path : path
    before : callable of str, optional
        Called with the SHA-256 after the file is parsed, and before its graph is followed; may refuse it.

    Returns
    -------
    Graph

    Raises
    ------
    MissingModelFile
        If the file does not exist.
    ModelFileError
        If it is empty or corrupt, or if its external data is missing or lies outside its folder.
    """
    import onnx

    path = Path(path)
    refuse_special(path, ModelFileError)
    try:
        if not path.is_file():
            raise MissingModelFile(f"no ONNX file at {path}", where=f"{path}", got="no file", expected="an ONNX file")
        if path.stat().st_size == 0:
            raise ModelFileError(f"{path} is empty, expected an ONNX model")
        model = onnx.load(path, load_external_data=False)
        if not model.graph.node or not model.graph.output:
            raise ModelFileError(f"{path} holds no graph with outputs, expected an ONNX model")
        external = sorted(_external_files(model, path))
        sha256 = file_sha256(path, *external)
        if before is not None:
            before(sha256)
        return _graph(model, path, sha256, external)
    except JettaggerError:
        raise
    except Exception as error:  # whatever damage does to those who read it
        raise ModelFileError(f"{path} is not a readable ONNX model: {type(error).__name__}: {error}") from error


def _graph(model: Any, path: Path, sha256: str, external: list[Path]) -> Graph:
    constant = {item.name for item in model.graph.initializer}
    ranges = _ranges(model)
    opset = max((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), default=0)
    return Graph(
        path=path,
        sha256=sha256,
        inputs=tuple(_tensor(item, path) for item in model.graph.input if item.name not in constant),
        outputs=tuple(_tensor(item, path) for item in model.graph.output),
        softmaxed=ranges[_SOFTMAX],
        linear=ranges[_LINEAR],
        opset=opset,
        nodes=len(model.graph.node),
        external=tuple(external),
    )


def _tensor(item: Any, path: Path) -> Tensor:
    from onnx import helper

    if not item.type.HasField("tensor_type"):
        raise ModelFileError(
            f"{path}: {item.name!r} is a {item.type.WhichOneof('value') or 'value without a type'}, expected a tensor"
        )
    kind = item.type.tensor_type
    shape = tuple(
        int(dim.dim_value) if dim.HasField("dim_value") and dim.dim_value >= 0 else (dim.dim_param or "?")
        for dim in kind.shape.dim
    )
    try:
        dtype = str(helper.tensor_dtype_to_np_dtype(kind.elem_type))
    except (KeyError, ValueError, TypeError) as error:
        raise ModelFileError(f"{path}: {item.name!r} has an unknown type of elements ({kind.elem_type})") from error
    return Tensor(item.name, shape, dtype)


def _tensors(graph: Any) -> Iterator[Any]:
    """All constants of a graph, including those in attributes and inner graphs."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Iterable[Any]) -> Iterator[Any]:
    for node in nodes:
        yield from _of_attributes(node.attribute)


def _of_attributes(attributes: Iterable[Any]) -> Iterator[Any]:
    for attribute in attributes:
        yield from (attribute.t, *attribute.tensors)
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            yield from (sparse.values, sparse.indices)
        for inner in (attribute.g, *attribute.graphs):
            yield from _tensors(inner)


def _external_files(model: Any, path: Path) -> set[Path]:
    import onnx

    folder = path.parent.resolve()
    found: set[Path] = set()
    for tensor in _all_tensors(model):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        # a key may stand there twice, and readers differ in which one they take
        for location in [entry.value for entry in tensor.external_data if entry.key == "location"] or [""]:
            target = (folder / location).resolve()
            if not location or Path(location).is_absolute() or not target.is_relative_to(folder):
                text = (
                    f"{path}: tensor {tensor.name!r} keeps its data in {location!r}, outside the model's folder; "
                    "refused. Expected data in the file itself or in a file beside it"
                )
                raise ModelFileError(text)
            refuse_special(target, ModelFileError)
            if not target.is_file():
                raise ModelFileError(f"{path}: tensor {tensor.name!r} needs the file {target}, which is missing")
            found.add(target)
    return found


def _all_tensors(model: Any) -> Iterator[Any]:
    yield from _tensors(model.graph)
    for function in model.functions:
        yield from _of_nodes(function.node)
        yield from _of_attributes(function.attribute_proto)
    for training in model.training_info:
        yield from _tensors(training.initialization)
        yield from _tensors(training.algorithm)


#: kind of the last operator of a column, if it is known
_SOFTMAX, _LINEAR, _OTHER = "softmax", "linear", ""

#: operators that pass on values, each column or some of them
_HANDED_ON = {"Identity", "Cast", "Dropout"}
_MOVED = {"Split", "Slice", "Gather", "Squeeze", "Unsqueeze", "Reshape", "Flatten", "Transpose"}

#: maximum number of operators followed back from an output
_DEPTH = 200


def _ranges(model: Any) -> dict[str, dict[str, tuple[tuple[int, int], ...]]]:
    """For each kind of column, the ranges of such columns in each output."""
    import onnx

    try:
        inferred = onnx.shape_inference.infer_shapes(model)
    except Exception:  # inference is a help, not a requirement: without widths nothing is called a probability
        inferred = model
    widths: dict[str, int] = {}
    for item in [*inferred.graph.value_info, *inferred.graph.output, *inferred.graph.input]:
        dims = [dim.dim_value if dim.HasField("dim_value") else None for dim in item.type.tensor_type.shape.dim]
        if len(dims) == 1:
            widths[item.name] = 1
        elif len(dims) == 2 and dims[1] is not None:
            widths[item.name] = int(dims[1])
    trace = _Trace(model, widths)
    result: dict[str, dict[str, tuple[tuple[int, int], ...]]] = {_SOFTMAX: {}, _LINEAR: {}}
    for output in model.graph.output:
        segments = trace.segments(output.name)
        places: list[tuple[int, int, str]] = []
        start = 0
        for name, origin in segments:
            width = widths.get(name)
            if width is None:
                places = []
                break
            places.append((start, start + width, origin))
            start += width
        for origin, by_output in result.items():
            by_output[output.name] = tuple((low, high) for low, high, found in places if found == origin)
    return result


class _Trace:
    """Follows outputs back to the operators that produced them."""

    def __init__(self, model: Any, widths: dict[str, int]) -> None:
        self.producer = {name: node for node in model.graph.node for name in node.output}
        self.constant = {item.name for item in model.graph.initializer}
        self.constant |= {name for node in model.graph.node if node.op_type == "Constant" for name in node.output}
        self.widths = widths

    def segments(self, name: str, depth: int = 0) -> list[tuple[str, str]]:
        """The tensors that are concatenated to an output, and the kind of each."""
        node = self.producer.get(name)
        if node is None or depth > _DEPTH:
            return [(name, _OTHER)]
        if node.op_type == "Softmax":  # of other ranks the axis of the columns is not known
            return [(name, _SOFTMAX if name in self.widths and _over_columns(node) else _OTHER)]
        if node.op_type in _HANDED_ON:
            return self.segments(node.input[0], depth + 1)
        if node.op_type == "Concat" and _over_columns(node):
            return [segment for part in node.input for segment in self.segments(part, depth + 1)]
        return [(name, _LINEAR if self.linear(name) else _OTHER)]

    def linear(self, name: str, depth: int = 0) -> bool:
        """Whether a tensor is a weighted sum, followed only by a bias and changes of shape."""
        node = self.producer.get(name)
        if node is None or depth > _DEPTH:
            return False
        if node.op_type in ("MatMul", "Gemm", "Conv"):
            return True
        if node.op_type in _HANDED_ON | _MOVED:
            return self.linear(node.input[0], depth + 1)
        varying = [part for part in node.input if part not in self.constant]
        return node.op_type in ("Add", "Sub") and len(varying) == 1 and self.linear(varying[0], depth + 1)


def _over_columns(node: Any) -> bool:
    """Whether a node works along the columns of a matrix; -1 and 1 are the defaults of the ONNX versions."""
    return all(attribute.i in (1, -1) for attribute in node.attribute if attribute.name == "axis")
