"""The layers after the hidden neurons of a network: a linear last layer, or the rest of its graph.

The stored hidden neurons of a jet determine its scores and mass if the rest of the graph depends on nothing else. The
rest is extracted from the ONNX file. If it is affine up to a softmax, as in GloParT V1 (``W h + b``), W and b are read
from it and nothing is run; otherwise it runs in ONNX Runtime.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jettagger.arguments import guard
from jettagger.bundles.bundle import Bundle
from jettagger.display import Brief
from jettagger.errors import BundleError, MismatchError, ModelFileError
from jettagger.inference.network import softmax
from jettagger.sessions import flat_columns, run_error
from jettagger.sessions.threads import default_threads
from jettagger.types import Floats

__all__ = ["LastLayer", "Tail", "cut_tail", "softmax_groups"]


#: operators that pass columns on; all inputs except the first must be constant
_PASSING = {"Identity", "Cast", "Dropout", "Slice", "Gather", "Split", "Squeeze", "Unsqueeze", "Reshape", "Flatten"}
_PASSING |= {"Transpose", "Neg"}

#: tolerance for rounding: relative difference between the graph and ``W h + b``, both in double precision
_ROUNDING = 1e-9

_INPUT = "hidden"


@dataclass(frozen=True)
class LastLayer(Brief):
    """A linear last layer: ``values = weights @ hidden + bias``, then a softmax over some of the columns.

    Parameters
    ----------
    weights : float64[columns, neurons]
    bias : float64[columns]
    softmaxes : tuple of (start, stop)
        Ranges of columns over which the graph applies a softmax.
    """

    weights: Floats
    bias: Floats
    softmaxes: tuple[tuple[int, int], ...]

    def logits(self, hidden: Any) -> Floats:
        """``W h + b``, without the softmax.

        Parameters
        ----------
        hidden : float[n, neurons]

        Returns
        -------
        float64[n, columns]
        """
        return np.asarray(hidden, dtype=np.float64) @ self.weights.T + self.bias

    def __call__(self, hidden: Any) -> Floats:
        """All columns, including the softmax of the graph, in double precision.

        Parameters
        ----------
        hidden : float[n, neurons]

        Returns
        -------
        float64[n, columns]
        """
        values = self.logits(hidden)
        for start, stop in self.softmaxes:
            values[:, start:stop] = softmax(values[:, start:stop])
        return values


@dataclass(frozen=True)
class Tail(Brief):
    """The part of a network from its hidden neurons to its other outputs.

    Parameters
    ----------
    bundle : Bundle
    hidden : tuple of str
        Names of the hidden neurons, in the order of the input columns.
    outputs : tuple of str
        Names of the output columns: all other outputs of the bundle, in order.
    layer : LastLayer or None
        The last layer, if the part is linear up to a softmax.
    model : bytes
        This part as an ONNX model.
    """

    bundle: Bundle
    hidden: tuple[str, ...]
    outputs: tuple[str, ...]
    layer: LastLayer | None
    model: bytes = field(repr=False)
    _sessions: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def method(self) -> str:
        """``linear`` if W and b are known, ``graph`` if this part of the graph is run."""
        return "graph" if self.layer is None else "linear"

    def __call__(self, hidden: Any) -> Floats:
        """The other outputs, including the softmax that the graph lacks.

        Parameters
        ----------
        hidden : float[n, neurons]

        Returns
        -------
        float64[n, outputs]

        Raises
        ------
        MismatchError
            If the number of neurons is wrong.
        """
        hidden = np.asarray(hidden)
        if hidden.ndim != 2 or hidden.shape[1] != len(self.hidden):
            raise MismatchError(
                f"hidden neurons of the shape {list(hidden.shape)}, {self.bundle.name!r} has [jets, {len(self.hidden)}]"
            )
        values = self._run(hidden) if self.layer is None else self.layer(hidden)
        marked = [column for column, name in enumerate(self.outputs) if self.bundle[name].softmax]
        if marked:
            values[:, marked] = softmax(values[:, marked])
        return values

    def _run(self, hidden: Any) -> Floats:
        if "session" not in self._sessions:
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = default_threads()
            options.log_severity_level = 4  # what fails is raised
            providers = ["CPUExecutionProvider"]
            try:
                session = onnxruntime.InferenceSession(self.model, options, providers=providers)
            except Exception as error:  # ONNX Runtime's exceptions have no common base
                raise ModelFileError(
                    f"ONNX Runtime cannot load the layers after the hidden neurons of {self.bundle.name!r} "
                    f"({self.bundle.require_weights()}): {error}; run the tagger"
                ) from error
            self._sessions["session"] = session
        inputs = {_INPUT: hidden.astype(np.float32)}
        try:
            found = self._sessions["session"].run(None, inputs)
        except Exception as error:
            raise run_error("ONNX Runtime", self.bundle.require_weights(), inputs, error) from error
        parts = [flat_columns(f"number {place}", part, len(hidden)) for place, part in enumerate(found)]
        return np.concatenate(parts, axis=1).astype(np.float64)


def cut_tail(bundle: Bundle) -> Tail:
    """Extract the part after the hidden neurons from a network.

    Parameters
    ----------
    bundle : Bundle
        With weights.

    Returns
    -------
    Tail

    Raises
    ------
    BundleError
        If the model has no hidden neurons, if they are not a tensor of the graph, or if other outputs also depend on
        other tensors: then scores cannot be computed from stored neurons.
    MissingModelFile
        If the bundle has no weights.

    Examples
    --------
    >>> from jettagger.bundles.registry import load_bundle
    >>> tail = cut_tail(load_bundle("inclParTToyV1"))
    >>> tail.method, tail.layer.weights.shape
    ('linear', (38, 128))
    """
    import onnx

    path = bundle.require_weights()
    neurons = bundle.select(["hidden"])
    if not neurons:
        raise BundleError(
            f"the model {bundle.name!r} has no hidden neurons among its outputs: scores cannot be computed from them"
        )
    first, last = neurons[0].index, neurons[-1].index + 1
    if last - first != len(neurons):
        raise BundleError(f"{path}: the hidden neurons of {bundle.name!r} are not next to each other")
    graph = _Graph(onnx.load(path))
    segments = _segments(graph, bundle, first, last)
    source = next((part.name for part in segments if (part.start, part.stop) == (first, last)), None)
    if source is None:
        raise BundleError(
            f"{path}: the hidden neurons of {bundle.name!r} are not a tensor of the graph, so scores cannot be "
            "computed from stored ones; run the tagger"
        )
    others = [part for part in segments if (part.start, part.stop) != (first, last)]
    # the neurons may be handed on by Identity and Cast; the network goes on from one of these tensors
    problem = ""
    for origin in [*graph.handed_on(source), source]:
        try:
            nodes = graph.between(origin, [part.name for part in others])
        except BundleError as error:
            problem = problem or str(error)
            continue
        names = tuple(output.name for output in bundle.outputs if not first <= output.index < last)
        model = graph.extract(origin, nodes, [part.name for part in others], len(neurons))
        layer = _last_layer(graph, origin, others, len(neurons))
        tail = Tail(bundle, tuple(item.name for item in neurons), names, layer, model.SerializeToString())
        if layer is not None or _one_by_one(tail):
            return tail
        problem = "the layers after them do not run on one jet at a time"
    raise BundleError(
        f"{path}: the scores of {bundle.name!r} cannot be computed from its hidden neurons: {problem}; run the tagger"
    )


def _one_by_one(tail: Tail) -> bool:
    """Whether the outputs of a jet are the same in a batch and alone."""
    probe = np.random.default_rng(0).normal(0, 1, (3, len(tail.hidden)))
    try:
        return np.allclose(tail(probe), np.concatenate([tail(row[None]) for row in probe]), rtol=1e-4, atol=1e-4)
    except Exception:  # ONNX Runtime's exceptions have no common base: a fixed number of jets is built in
        return False


@dataclass(frozen=True)
class _Segment:
    """Output columns that are one tensor of the graph."""

    name: str
    start: int
    stop: int


class _Graph:
    """A network from which parts can be extracted."""

    def __init__(self, model: Any) -> None:
        import onnx

        try:
            inferred = onnx.shape_inference.infer_shapes(model)
        except Exception:  # widths that stay unknown are complained about where they are needed
            inferred = model
        self.model = model
        self.producer = {name: node for node in model.graph.node for name in node.output}
        self.initializers = {item.name: item for item in model.graph.initializer}
        self.inputs = {item.name for item in model.graph.input} - set(self.initializers)
        self.widths: dict[str, int] = {}
        for item in [*inferred.graph.value_info, *inferred.graph.output]:
            dims = item.type.tensor_type.shape.dim
            if len(dims) == 1:
                self.widths[item.name] = 1
            elif len(dims) == 2 and dims[1].WhichOneof("value") == "dim_value":
                self.widths[item.name] = int(dims[1].dim_value)

    def handed_on(self, name: str) -> Iterator[str]:
        """The tensors connected to a tensor by Identity and Cast, starting with the farthest."""
        node = self.producer.get(name)
        if node is not None and node.op_type in ("Identity", "Cast"):
            yield from self.handed_on(node.input[0])
            yield node.input[0]

    def between(self, source: str, targets: list[str]) -> list[Any]:
        """The nodes between one tensor, and constants, and others; in the order of the graph."""
        needed: set[str] = set()
        todo = list(targets)
        while todo:
            name = todo.pop()
            if not name or name == source or name in needed or name in self.initializers:
                continue
            if name in self.inputs:
                raise BundleError(f"they also depend on the input {name!r}")
            if name not in self.producer:
                raise BundleError(f"they depend on the tensor {name!r}, which no node gives")
            needed.add(name)
            todo += self.producer[name].input
        return [node for node in self.model.graph.node if needed & set(node.output)]

    def extract(self, source: str, nodes: list[Any], targets: list[str], width: int) -> Any:
        """These nodes as a model with one input."""
        from onnx import TensorProto, helper

        wanted = {name for node in nodes for name in node.input} | set(targets)
        constants = [item for name, item in self.initializers.items() if name in wanted]
        renamed = [helper.make_node("Identity", [_INPUT], [source]), *nodes] if source != _INPUT else list(nodes)
        graph = helper.make_graph(
            renamed,
            "tail",
            [helper.make_tensor_value_info(_INPUT, TensorProto.FLOAT, ["N", width])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in targets],
            initializer=constants,
        )
        model = helper.make_model(
            graph, opset_imports=list(self.model.opset_import), functions=list(self.model.functions)
        )
        model.ir_version = self.model.ir_version
        return model

    def affine(self, name: str, source: str) -> bool:
        """Whether a tensor is an affine function of another one, judged by the operators in between."""
        if name == source:
            return True
        node = self.producer.get(name)
        if node is None:
            return False
        moving = [item for item in node.input if item and self._depends(item, source)]
        if not moving:
            return False
        kind = node.op_type
        if kind in _PASSING:
            fitting = moving == [node.input[0]]
        elif kind in ("Add", "Sub", "Concat"):
            fitting = True
        elif kind in ("Mul", "MatMul"):
            fitting = len(moving) == 1
        elif kind == "Gemm":
            fitting = not {*node.input[:2]} <= set(moving)
        elif kind == "Div":
            fitting = moving == [node.input[0]]
        else:
            fitting = False
        return fitting and all(self.affine(item, source) for item in moving)

    def _depends(self, name: str, source: str) -> bool:
        if name == source:
            return True
        node = self.producer.get(name)
        return node is not None and any(self._depends(item, source) for item in node.input if item)


def _segments(graph: _Graph, bundle: Bundle, first: int, last: int) -> list[_Segment]:
    """The tensors that are concatenated to the outputs; the hidden neurons are kept together if possible."""
    found: list[_Segment] = []

    def collect(name: str, start: int, width: int) -> None:
        node = graph.producer.get(name)
        if (start, start + width) == (first, last) or node is None:
            found.append(_Segment(name, start, start + width))
        elif node.op_type in ("Identity", "Cast"):
            collect(node.input[0], start, width)
        elif node.op_type == "Concat" and all(item.i in (1, -1) for item in node.attribute if item.name == "axis"):
            widths = [graph.widths.get(part) for part in node.input]
            if sum(item is None for item in widths) == 1:  # one unknown width follows from the others
                widths[widths.index(None)] = width - sum(item or 0 for item in widths)
            if None in widths:
                raise BundleError(f"the widths of the parts of {name!r} are not known")
            for part, size in zip(node.input, widths, strict=True):
                collect(part, start, size or 0)
                start += size or 0
        else:
            found.append(_Segment(name, start, start + width))

    start = 0
    for output in graph.model.graph.output:
        width = graph.widths.get(output.name)
        if width is None and len(graph.model.graph.output) == 1:
            width = len(bundle.outputs)
        if width is None:
            raise BundleError(f"{bundle.name!r}: the width of the output {output.name!r} is not known")
        collect(output.name, start, width)
        start += width
    return found


def _last_layer(graph: _Graph, source: str, parts: list[_Segment], width: int) -> LastLayer | None:
    """W and b, if the graph is affine up to a softmax."""
    targets, softmaxes, start = [], [], 0
    for part in parts:
        node, size = graph.producer.get(part.name), part.stop - part.start
        if node is not None and node.op_type == "Softmax":
            if not all(item.i in (1, -1) for item in node.attribute if item.name == "axis"):
                return None
            targets.append(node.input[0])
            softmaxes.append((start, start + size))
        else:
            targets.append(part.name)
        start += size
    if not all(graph.affine(name, source) for name in targets):
        return None
    evaluate = _evaluator(graph, source, targets, width)
    # an operator along the axis of the jets would have passed the judgement of operators, but not this probe
    probe = np.random.default_rng(0).normal(0, 3, (7, width))
    try:
        bias = evaluate(np.zeros((1, width)))[0]
        weights = (evaluate(np.eye(width)) - bias).T
        expected = evaluate(probe)
    except Exception:  # a fixed number of jets is built in, or an operator is unknown: ONNX Runtime will tell
        return None
    layer = LastLayer(np.ascontiguousarray(weights), bias, tuple(softmaxes))
    if not np.allclose(layer.logits(probe), expected, rtol=_ROUNDING, atol=_ROUNDING * (1 + np.abs(expected).max())):
        return None
    return layer


def _evaluator(graph: _Graph, source: str, targets: list[str], width: int) -> Any:
    """The part of the graph up to these tensors, in double precision."""
    import onnx
    from onnx import numpy_helper
    from onnx.reference import ReferenceEvaluator

    model = onnx.ModelProto()
    model.CopyFrom(graph.extract(source, graph.between(source, targets), targets, width))
    _widen(model.graph, numpy_helper)
    evaluator = ReferenceEvaluator(model)

    def evaluate(hidden: Floats) -> Floats:
        # reshaped to the batch: a regressed mass may be a vector
        found: list[Any] = evaluator.run(None, {_INPUT: hidden})
        return np.concatenate([np.asarray(part, dtype=np.float64).reshape(len(hidden), -1) for part in found], axis=1)

    return evaluate


def _widen(graph: Any, numpy_helper: Any) -> None:
    """Convert constants from single to double precision, and remove casts back."""
    from onnx import TensorProto

    def wide(tensor: Any) -> Any:
        if tensor.data_type in (TensorProto.FLOAT, TensorProto.FLOAT16):
            return numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name)
        return tensor

    constants = [wide(item) for item in graph.initializer]
    del graph.initializer[:]
    graph.initializer.extend(constants)
    for node in graph.node:
        for item in node.attribute:
            if node.op_type == "Constant" and item.name == "value":
                item.t.CopyFrom(wide(item.t))
            if node.op_type == "Cast" and item.name == "to" and item.i in (TensorProto.FLOAT, TensorProto.FLOAT16):
                item.i = TensorProto.DOUBLE


def softmax_groups(tail: Tail) -> Mapping[str, tuple[str, ...]]:
    """For each output that is a probability, the outputs with which it sums to one.

    Parameters
    ----------
    tail : Tail

    Returns
    -------
    mapping of str to tuple of str
    """
    groups: list[tuple[str, ...]] = []
    if tail.layer is not None:
        groups += [tail.outputs[start:stop] for start, stop in tail.layer.softmaxes]
    else:
        graph = tail.bundle.graph
        start = 0
        for tensor in graph.outputs if graph is not None else ():
            for low, high in graph.softmaxed[tensor.name] if graph is not None else ():
                groups.append(tuple(item.name for item in tail.bundle.outputs[start + low : start + high]))
            width = tensor.shape[1] if len(tensor.shape) > 1 else 1
            start += width if isinstance(width, int) else 0
    marked = tuple(output.name for output in tail.bundle.outputs if output.softmax)
    if marked:
        groups.append(marked)
    return {name: members for members in groups for name in members}


guard(globals(), "LastLayer", "Tail", "cut_tail")
