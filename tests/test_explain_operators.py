"""Each operator of the executor gives what ONNX Runtime gives, and a mutation of it does not."""

from __future__ import annotations

import ast
import copy
import inspect
import itertools
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper
from operator_cases import CASES, Case

torch = pytest.importorskip("torch")

from jettagger.explain.fusion import FUSED  # noqa: E402
from jettagger.explain.graph import TorchGraph  # noqa: E402
from jettagger.explain.operators import ARRAYS, TENSORS, Operator  # noqa: E402
from jettagger.explain.plan import CONTROL  # noqa: E402


def expected(case: Case) -> list[Any]:
    """What ONNX Runtime gives."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(case.model().SerializeToString(), options)
    return list(session.run(None, case.feeds))


def executed(case: Case, kind: type[TorchGraph] = TorchGraph) -> list[Any]:
    """What the executor gives."""
    graph = kind(case.model())
    found = graph.run({name: torch.as_tensor(np.asarray(item)) for name, item in case.feeds.items()})
    return [item.numpy() for item in found.values()]


def equal(found: list[Any], wanted: list[Any]) -> bool:
    """The same types, shapes and values."""
    for ours, theirs in zip(found, wanted, strict=True):
        if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
            return False
        if not np.allclose(ours.astype("f8"), theirs.astype("f8"), rtol=1e-5, atol=1e-6, equal_nan=True):
            return False
    return True


ANSWERS: dict[int, list[Any]] = {}


def answers(number: int) -> list[Any]:
    if number not in ANSWERS:
        ANSWERS[number] = expected(CASES[number])
    return ANSWERS[number]


def with_other(operator: str, in_torch: Any = None, in_numpy: Any = None) -> type[TorchGraph]:
    """The executor with other implementations of an operator."""
    tensors = {} if in_torch is None else {operator: Operator(in_torch, TENSORS[operator].plain)}
    arrays = {} if in_numpy is None else {operator: in_numpy}
    return type("Changed", (TorchGraph,), {"in_torch": TENSORS | tensors, "in_numpy": ARRAYS | arrays})


def passes(number: int, case: Case | None = None, kind: type[TorchGraph] = TorchGraph) -> bool:
    """Whether a case, or one that must have the same outputs, gives what is expected."""
    try:
        return equal(executed(case or CASES[number], kind), answers(number))
    except Exception:  # a mutation may end in any error
        return False


def all_fixed(case: Case) -> Case:
    """The same with constants alone, which is arithmetic in NumPy."""
    return replace(case, fixed=tuple(n for n, item in enumerate(case.inputs) if item is not None))


def of(operator: str) -> list[int]:
    return [number for number, case in enumerate(CASES) if case.operator == operator]


@pytest.mark.parametrize("number", range(len(CASES)), ids=[str(case) for case in CASES])
def test_the_outputs_are_those_of_onnx_runtime(number: int) -> None:
    assert equal(executed(CASES[number]), answers(number))


IN_NUMPY = [number for number, case in enumerate(CASES) if case.operator in ARRAYS and case.outputs == 1]


@pytest.mark.parametrize("number", IN_NUMPY, ids=[str(CASES[number]) for number in IN_NUMPY])
def test_arithmetic_of_constants_too(number: int) -> None:
    assert equal(executed(all_fixed(CASES[number])), answers(number))


def test_every_operator_has_cases() -> None:
    tried = {case.operator for case in CASES}
    assert set(TENSORS) - {*FUSED} == tried
    assert set(ARRAYS) <= set(TENSORS)
    assert CONTROL == ("If",)


def broken(run: Any) -> Any:
    """An implementation whose results are changed a little."""

    def changed(result: Any) -> Any:
        if isinstance(result, tuple):
            return tuple(map(changed, result))
        if result.dtype in (torch.bool, np.dtype(bool)):
            return ~result
        return result + (1 if "int" in str(result.dtype) else 1e-3)

    return lambda step, *arguments: changed(run(step, *arguments))


@pytest.mark.parametrize("operator", sorted({*TENSORS} - {*FUSED}))
def test_a_wrong_result_is_noticed(operator: str) -> None:
    in_numpy = broken(ARRAYS[operator]) if operator in ARRAYS else None
    changed = with_other(operator, broken(TENSORS[operator].run), in_numpy)
    for number in of(operator):
        if answers(number)[0].size:
            assert not passes(number, kind=changed)


#: attributes that describe what the shapes of the inputs say, or ask for what is always so
SAID_TWICE = {
    *((name, "hidden_size") for name in ("GRU", "LSTM", "RNN")),
    ("Split", "num_outputs"),
}


def attributes() -> list[tuple[str, str]]:
    found = {(case.operator, name) for case in CASES for name in case.attributes}
    return sorted(found - SAID_TWICE)


@pytest.mark.parametrize(("operator", "attribute"), attributes())
def test_no_attribute_is_ignored(operator: str, attribute: str) -> None:
    """Without it, some case gives something else."""
    caught = False
    for number in of(operator):
        case = CASES[number]
        if attribute not in case.attributes:
            continue
        without = {name: value for name, value in case.attributes.items() if name != attribute}
        caught |= not passes(number, replace(case, attributes=without))
        if operator in ARRAYS and case.outputs == 1:
            caught |= not passes(number, all_fixed(replace(case, attributes=without)))
    assert caught


@pytest.mark.parametrize("operator", sorted({case.operator for case in CASES if len(case.inputs) > 1}))
def test_no_input_is_ignored(operator: str) -> None:
    """Each input, doubled and reversed, changes something in some case."""
    positions = {n for number in of(operator) for n in range(len(CASES[number].inputs))}
    for place in positions:
        caught = all(np.all([item is None for item in CASES[n].inputs[place : place + 1]]) for n in of(operator))
        for number in of(operator):
            case = CASES[number]
            if place >= len(case.inputs) or case.inputs[place] is None:
                continue
            old = np.asarray(case.inputs[place])
            new = ~old if old.dtype == bool else (old + 1 if old.ndim == 0 else (2 * old[::-1] + 1).astype(old.dtype))
            inputs = (*case.inputs[:place], new, *case.inputs[place + 1 :])
            caught |= not passes(number, replace(case, inputs=inputs))
        assert caught, place


SMOOTH = [
    number
    for number, case in enumerate(CASES)
    if case.feeds.get("x0") is not None
    and np.asarray(case.feeds["x0"]).dtype == np.float32
    and np.asarray(case.feeds["x0"]).size
    and len(np.unique(case.feeds["x0"])) == np.size(case.feeds["x0"])
    and case.operator not in ("Range", "Round")
]


@pytest.mark.parametrize("number", SMOOTH, ids=[str(CASES[number]) for number in SMOOTH])
def test_derivatives_are_differences(number: int) -> None:
    """Of the executor in double precision, whose outputs are those of ONNX Runtime, along one random direction."""
    case = CASES[number]
    graph = TorchGraph(case.model(), "float64")
    rng = np.random.default_rng(number)
    feeds = {name: np.asarray(item) for name, item in case.feeds.items()}
    free = [name for name, item in feeds.items() if item.dtype == np.float32]  # in the order of the random directions
    given = {
        name: torch.tensor(item.astype("f8"), requires_grad=True) if name in free else torch.as_tensor(item)
        for name, item in feeds.items()
    }
    outputs = [item for item in graph.run(given).values() if item.is_floating_point()]
    weights = [torch.as_tensor(rng.normal(size=tuple(item.shape))) for item in outputs]
    direction = {name: torch.as_tensor(rng.normal(size=feeds[name].shape)) for name in free}

    def total(step: float) -> float:
        moved = {name: given[name].detach() + step * direction[name] if name in free else given[name] for name in feeds}
        found = [item for item in graph.run(moved).values() if item.is_floating_point()]
        return float(sum((weight * item).sum() for weight, item in zip(weights, found, strict=True)))

    slope = (total(1e-6) - total(-1e-6)) / 2e-6
    sums = sum((weight * item).sum() for weight, item in zip(weights, outputs, strict=True))
    exact = 0.0
    if isinstance(sums, torch.Tensor) and sums.requires_grad:
        found = torch.autograd.grad(sums, [given[name] for name in free], allow_unused=True)
        pairs = zip(free, found, strict=True)
        exact = float(sum((item * direction[name]).sum() for name, item in pairs if item is not None))
    assert exact == pytest.approx(slope, rel=1e-5, abs=1e-6)


#: keywords that change no number here: what is checked, types and places of results that are the default's
UNCHANGED = ("strict", "dtype", "device")

#: functions of two arguments in any order
SYMMETRIC = (
    "np.equal",
    "torch.broadcast_shapes",
    "np.broadcast_shapes",
    "torch.eq",
    "torch.logical_and",
    "torch.logical_or",
    "torch.maximum",
    "torch.minimum",
    "subgradients.larger",
    "subgradients.smaller",
)


class Mutation(ast.NodeTransformer):
    """Changes the n-th place of a function that can be changed."""

    def __init__(self, place: int) -> None:
        self.place, self.seen, self.said = place, 0, ""

    def _is_here(self, node: Any) -> bool:
        self.seen += 1
        if self.seen - 1 == self.place:
            self.said = ast.unparse(node)
            return True
        return False

    def visit_Raise(self, node: Any) -> Any:
        return node

    def visit_FunctionDef(self, node: Any) -> Any:
        node.body = [self.visit(item) for item in node.body]
        return node

    def visit_keyword(self, node: Any) -> Any:
        return node if node.arg in UNCHANGED else self.generic_visit(node)

    def visit_Constant(self, node: Any) -> Any:
        if isinstance(node.value, bool):
            return ast.Constant(not node.value) if self._is_here(node) else node
        if isinstance(node.value, int | float):
            return ast.Constant(0 if node.value == 1 else node.value + 1) if self._is_here(node) else node
        return node

    def visit_BinOp(self, node: Any) -> Any:
        others = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult}
        if type(node.op) in others and self._is_here(node):
            return ast.BinOp(node.left, others[type(node.op)](), node.right)
        return self.generic_visit(node)

    def visit_Compare(self, node: Any) -> Any:
        if self._is_here(node):
            return ast.UnaryOp(ast.Not(), node)
        return self.generic_visit(node)

    def visit_UnaryOp(self, node: Any) -> Any:
        return node.operand if self._is_here(node) else self.generic_visit(node)

    def visit_IfExp(self, node: Any) -> Any:
        if self._is_here(node):
            return ast.IfExp(node.test, node.orelse, node.body)
        return self.generic_visit(node)

    def visit_Call(self, node: Any) -> Any:
        name = ast.unparse(node.func)
        if node.keywords and node.keywords[0].arg not in UNCHANGED and self._is_here(node):
            return ast.Call(node.func, node.args, node.keywords[1:])
        if len(node.args) == 2 and name not in SYMMETRIC and self._is_here(node):
            return ast.Call(node.func, node.args[::-1], node.keywords)
        return self.generic_visit(node)


def mutants(run: Any) -> Iterator[tuple[str, Any]]:
    """Implementations with one change each, and what was changed."""
    source = ast.parse(textwrap.dedent(inspect.getsource(run)))
    for place in itertools.count():
        change = Mutation(place)
        tree = change.visit(copy.deepcopy(source))
        if not change.said:
            return
        tree.body[0].decorator_list = []
        space = dict(vars(inspect.getmodule(run)))
        exec(compile(ast.fix_missing_locations(tree), "mutant", "exec"), space)
        yield f"{run.__name__}: {change.said}", space[run.__name__]


#: changes that change no result
EQUIVALENT: tuple[str, ...] = (
    "array _constant_of_shape: -1",  # of an array of one element
    *("_conv: 1", "_conv: groups == 1"),  # whether a product of matrices is taken, which is the same
    *("_gru: -1", "_lstm: -1", "_rnn: -1"),  # the last of two axes
    *("_identity: len(step.outputs) == 2", "_identity: 2"),  # a second result that nobody reads
    "_pad: place + len(along)",  # counted from the end
    "_pow: not x.is_floating_point()",  # integers in either way
    "_reduce_prod: True",
    "_slice: 0",  # every element of a stride of one, by positions
    "_top_k: True",  # small tensors are sorted in a stable way
)


@pytest.mark.slow
@pytest.mark.parametrize("operator", sorted({*TENSORS} - {*FUSED}))
def test_changes_of_an_implementation_are_noticed(operator: str) -> None:
    survived = []
    for said, run in mutants(TENSORS[operator].run):
        changed = with_other(operator, in_torch=run)
        if all(passes(number, kind=changed) for number in of(operator)):
            survived.append(said)
    for said, run in mutants(ARRAYS[operator]) if operator in ARRAYS else ():
        changed = with_other(operator, in_numpy=run)
        fixed = [number for number in of(operator) if number in IN_NUMPY]
        if all(passes(number, all_fixed(CASES[number]), changed) for number in fixed):
            survived.append(f"array {said}")
    assert [said for said in survived if said not in EQUIVALENT] == []


class TestBranches:
    """If, with graphs inside."""

    def model(self) -> Any:
        bodies = {}
        for name, operator in (("then_branch", "Neg"), ("else_branch", "Exp")):
            node = helper.make_node(operator, ["x"], [f"{name}_out"])
            info = helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, None)
            bodies[name] = helper.make_graph([node], name, [], [info])
        graph = helper.make_graph(
            [helper.make_node("If", ["c"], ["y"], **bodies)],
            "graph",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None]), _flag()],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    @pytest.mark.parametrize("chosen", [True, False])
    def test_the_branch_of_the_condition_runs(self, chosen: bool) -> None:
        model, x = self.model(), np.array([0.5, 2], dtype="f4")
        theirs = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x, "c": np.array(chosen)})
        graph = TorchGraph(model)
        for flag in (not chosen, chosen):  # what the other branch gave is not remembered
            found = graph.run({"x": torch.as_tensor(x), "c": torch.tensor(flag)})["y"].numpy()
        assert found == pytest.approx(theirs[0])


def _flag() -> Any:
    return helper.make_tensor_value_info("c", TensorProto.BOOL, [])
