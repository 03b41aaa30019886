"""Compiled loops of the attention between objects of an event, for many events of few objects.

Events with different numbers of objects are no batch of equal matrices. Queries are the lanes of vectors of 16 numbers,
which the processor has, or which the compiler makes of shorter ones; nothing is summed over lanes. Vectors are written
in LLVM's language, as its vectoriser leaves loops of 16 alone. Imported when a network is trained.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from jettagger.assignment.kernels import compiled

__all__ = ["attend", "attend_back", "share_offsets"]

_LANES = 16
_FLOAT = ir.FloatType()
_FLOATS = ir.VectorType(_FLOAT, _LANES)
_INTEGERS = ir.VectorType(ir.IntType(32), _LANES)

#: sums may be fused with products
_FUSED = ("contract",)

#: ln(2) as a number with few bits and a rest, 1 / ln(2), the least exponent, and coefficients of e^x (Cephes)
_LN2_HIGH, _LN2_LOW, _INVERSE_LN2, _LEAST = 0.693359375, -2.12194440e-4, 1.44269504088896341, -87.0
_POLYNOMIAL = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)


def share_offsets(counts: Any) -> Any:
    """Starts of events among the shares of a head.

    Parameters
    ----------
    counts : int64[events]
        Number of rows of each event.

    Returns
    -------
    int64[events + 1]

    Examples
    --------
    >>> share_offsets(np.array([1, 16, 17])).tolist()
    [0, 16, 272, 816]
    """
    lanes = (counts + _LANES - 1) // _LANES * _LANES
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts * lanes)])


def _constant(value: float) -> Any:
    return ir.Constant(_FLOATS, [float(np.float32(value))] * _LANES)


def _vectors(emit: Callable[..., None], signature: Callable[..., Any]) -> Any:
    """A compiled function of flat arrays and integers; code is emitted for pointers and integers."""

    def build(context: Any, builder: Any, made: Any, arguments: Any) -> Any:
        from numba.core.types import Array

        emit(builder, *(
            context.make_array(kind)(context, builder, argument).data if isinstance(kind, Array) else argument
            for kind, argument in zip(made.args, arguments, strict=True)
        ))  # fmt: skip
        return context.get_dummy_value()

    return intrinsic(signature(build))


def _of_product(build: Any) -> Any:
    def typed(_: Any, left: Any, order: Any, stride: Any, right: Any, made: Any, rows: Any, inner: Any) -> Any:
        return types.none(left, order, stride, right, made, rows, inner), build

    return typed


def _of_pair(build: Any) -> Any:
    return lambda _, values, shares, rows: (types.none(values, shares, rows), build)


def _of_one(build: Any) -> Any:
    return lambda _, values, rows: (types.none(values, rows), build)


def _load(builder: Any, pointer: Any, row: Any) -> Any:
    return builder.load(builder.gep(builder.bitcast(pointer, _FLOATS.as_pointer()), [row]), align=4)


def _store(builder: Any, value: Any, pointer: Any, row: Any) -> None:
    builder.store(value, builder.gep(builder.bitcast(pointer, _FLOATS.as_pointer()), [row]), align=4)


def _emit_product(transposed: bool) -> Callable[..., None]:
    def emit(builder: Any, left: Any, order: Any, stride: Any, right: Any, made: Any, rows: Any, inner: Any) -> None:
        from numba.core import cgutils

        nothing = ir.Constant(_FLOATS, ir.Undefined)
        first = ir.Constant(ir.IntType(32), 0)
        total = cgutils.alloca_once(builder, _FLOATS)
        with cgutils.for_range(builder, rows) as row:
            builder.store(_constant(0), total)
            with cgutils.for_range(builder, inner) as place:
                place_of, column = (place.index, row.index) if transposed else (row.index, place.index)
                start = builder.mul(builder.load(builder.gep(order, [place_of])), stride)
                number = builder.load(builder.gep(left, [builder.add(start, column)]))
                one = builder.insert_element(nothing, number, first)
                same = builder.shuffle_vector(one, nothing, ir.Constant(_INTEGERS, [0] * _LANES))
                term = builder.fmul(same, _load(builder, right, place.index), flags=_FUSED)
                builder.store(builder.fadd(builder.load(total), term, flags=_FUSED), total)
            _store(builder, builder.load(total), made, row.index)

    return emit


def _exponential(builder: Any, x: Any) -> Any:
    """e^x = 2^n e^f of numbers that are not positive, with a polynomial for f in +-ln(2)/2."""

    def sum_of(one: Any, factor: Any, other: Any) -> Any:
        return builder.fadd(builder.fmul(one, factor, flags=_FUSED), other, flags=_FUSED)

    least = _constant(_LEAST)
    x = builder.select(builder.fcmp_ordered("<", x, least), least, x)
    number = builder.fptosi(sum_of(x, _constant(_INVERSE_LN2), _constant(-0.5)), _INTEGERS)
    whole = builder.sitofp(number, _FLOATS)
    f = sum_of(whole, _constant(-_LN2_LOW), sum_of(whole, _constant(-_LN2_HIGH), x))
    made = _constant(_POLYNOMIAL[0])
    for coefficient in _POLYNOMIAL[1:]:
        made = sum_of(made, f, _constant(coefficient))
    made = builder.fadd(sum_of(builder.fmul(made, f), f, f), _constant(1))
    bits = builder.shl(
        builder.add(number, ir.Constant(_INTEGERS, [127] * _LANES)), ir.Constant(_INTEGERS, [23] * _LANES)
    )
    return builder.fmul(made, builder.bitcast(bits, _FLOATS))


def _emit_softmax(builder: Any, values: Any, rows: Any) -> None:
    from numba.core import cgutils

    zero = ir.Constant(rows.type, 0)
    largest, total = cgutils.alloca_once(builder, _FLOATS), cgutils.alloca_once(builder, _FLOATS)
    builder.store(_load(builder, values, zero), largest)
    builder.store(_constant(0), total)
    with cgutils.for_range(builder, rows) as row:
        value, before = _load(builder, values, row.index), builder.load(largest)
        builder.store(builder.select(builder.fcmp_unordered(">", value, before), value, before), largest)
    with cgutils.for_range(builder, rows) as row:
        value = _exponential(builder, builder.fsub(_load(builder, values, row.index), builder.load(largest)))
        _store(builder, value, values, row.index)
        builder.store(builder.fadd(builder.load(total), value), total)
    inverse = builder.fdiv(_constant(1), builder.load(total))
    with cgutils.for_range(builder, rows) as row:
        _store(builder, builder.fmul(_load(builder, values, row.index), inverse), values, row.index)


def _emit_slopes(builder: Any, values: Any, shares: Any, rows: Any) -> None:
    from numba.core import cgutils

    total = cgutils.alloca_once(builder, _FLOATS)
    builder.store(_constant(0), total)
    with cgutils.for_range(builder, rows) as row:
        term = builder.fmul(_load(builder, values, row.index), _load(builder, shares, row.index), flags=_FUSED)
        builder.store(builder.fadd(builder.load(total), term, flags=_FUSED), total)
    with cgutils.for_range(builder, rows) as row:
        difference = builder.fsub(_load(builder, values, row.index), builder.load(total))
        _store(builder, builder.fmul(difference, _load(builder, shares, row.index)), values, row.index)


#: rows of a matrix in an order, float32[rows, inner], times float32[inner * 16]: float32[rows * 16]
_rows_times = _vectors(_emit_product(transposed=False), _of_product)

#: the same with the transpose of the rows in an order, float32[inner, rows]
_columns_times = _vectors(_emit_product(transposed=True), _of_product)

#: in float32[rows * 16], the softmax over rows
_softmax = _vectors(_emit_softmax, _of_one)

#: in float32[rows * 16], gradients with respect to shares become those with respect to logits
_to_logits = _vectors(_emit_slopes, _of_pair)


@compiled
def _largest(starts: Any) -> int:
    count = 1
    for event in range(starts.size - 1):
        count = max(count, starts[event + 1] - starts[event])
    return count


@compiled
def attend(
    projected: Any, order: Any, starts: Any, offsets: Any, heads: int, scale: float, made: Any, shares: Any
) -> None:
    """Attention between the rows of each event.

    Parameters
    ----------
    projected : float32[rows, 3 * width]
        Queries, keys and values.
    order : int64[rows]
        Rows of the events, one event after the other.
    starts : int64[events + 1]
        Of the events in ``order``.
    offsets : int64[events + 1]
        See `share_offsets`.
    heads : int
    scale : float
        Factor of the queries.
    made : float32[rows, width]
        Set to the sums of values.
    shares : float32[heads * offsets[-1]]
        Set to the softmax, of each event, head and 16 queries, with the axes key, query.
    """
    width = projected.shape[1] // 3
    depth = width // heads
    factor = np.float32(scale)
    queries, sums = np.zeros(depth * _LANES, np.float32), np.zeros(depth * _LANES, np.float32)
    flat = projected.reshape(projected.size)
    for event in range(starts.size - 1):
        start, count = starts[event], starts[event + 1] - starts[event]
        begin = heads * offsets[event]
        own_rows = order[start : start + count]
        for head in range(heads):
            first = head * depth
            for block in range(0, count, _LANES):
                number = min(count - block, _LANES)
                for lane in range(number):
                    source = projected[own_rows[block + lane]]
                    for c in range(depth):
                        queries[c * _LANES + lane] = source[first + c] * factor
                shares_here = shares[begin : begin + count * _LANES]
                begin += count * _LANES
                _rows_times(flat[width + first :], own_rows, 3 * width, queries, shares_here, count, depth)
                _softmax(shares_here, count)
                _columns_times(flat[2 * width + first :], own_rows, 3 * width, shares_here, sums, depth, count)
                for lane in range(number):
                    target = made[own_rows[block + lane]]
                    for c in range(depth):
                        target[first + c] = sums[c * _LANES + lane]


@compiled
def attend_back(
    projected: Any,
    order: Any,
    starts: Any,
    offsets: Any,
    heads: int,
    scale: float,
    shares: Any,
    gradient: Any,
    made: Any,
) -> None:
    """The gradient of `attend`.

    Parameters
    ----------
    projected, order, starts, offsets, heads, scale, shares
        As there.
    gradient : float32[rows, width]
        Of what was made there.
    made : float32[rows, 3 * width]
        Set to the gradient of what was projected.
    """
    width = projected.shape[1] // 3
    depth = width // heads
    factor = np.float32(scale)
    largest = _largest(starts)
    blocks = (largest + _LANES - 1) // _LANES
    asked, sums = np.zeros(depth * _LANES, np.float32), np.zeros(depth * _LANES, np.float32)
    slopes = np.zeros(largest * _LANES, np.float32)
    # with keys as lanes
    turned = np.zeros((blocks, largest * _LANES), np.float32)
    turned_slopes = np.zeros((blocks, largest * _LANES), np.float32)
    flat, flat_gradient = projected.reshape(projected.size), gradient.reshape(gradient.size)
    for event in range(starts.size - 1):
        start, count = starts[event], starts[event + 1] - starts[event]
        begin = heads * offsets[event]
        own_rows = order[start : start + count]
        for head in range(heads):
            first = head * depth
            for block in range(0, count, _LANES):
                number = min(count - block, _LANES)
                for lane in range(number):
                    source = gradient[own_rows[block + lane]]
                    for c in range(depth):
                        asked[c * _LANES + lane] = source[first + c]
                shares_here = shares[begin : begin + count * _LANES]
                begin += count * _LANES
                _rows_times(flat[2 * width + first :], own_rows, 3 * width, asked, slopes, count, depth)
                _to_logits(slopes, shares_here, count)
                _columns_times(flat[width + first :], own_rows, 3 * width, slopes, sums, depth, count)
                for lane in range(number):
                    target = made[own_rows[block + lane]]
                    for c in range(depth):
                        target[first + c] = sums[c * _LANES + lane] * factor
                for key in range(count):
                    share, slope = turned[key // _LANES], turned_slopes[key // _LANES]
                    place = block * _LANES + key % _LANES
                    for lane in range(number):
                        share[place + lane * _LANES] = shares_here[key * _LANES + lane]
                        slope[place + lane * _LANES] = slopes[key * _LANES + lane]
            for block in range(0, count, _LANES):
                number = min(count - block, _LANES)
                share, slope = turned[block // _LANES], turned_slopes[block // _LANES]
                _columns_times(flat_gradient[first:], own_rows, width, share, sums, depth, count)
                for lane in range(number):
                    target = made[own_rows[block + lane]]
                    for c in range(depth):
                        target[2 * width + first + c] = sums[c * _LANES + lane]
                _columns_times(flat[first:], own_rows, 3 * width, slope, sums, depth, count)
                for lane in range(number):
                    target = made[own_rows[block + lane]]
                    for c in range(depth):
                        target[width + first + c] = sums[c * _LANES + lane] * factor
