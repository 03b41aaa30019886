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


def _vectors(emit: Callable[..., None], arrays: int) -> Any:
    """A compiled function of flat arrays, and of integers behind them; code is emitted for pointers and integers."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointers = [
            context.make_array(kind)(context, builder, argument).data
            for kind, argument in zip(signature.args[:arrays], arguments[:arrays], strict=True)
        ]
        emit(builder, *pointers, *arguments[arrays:])
        return context.get_dummy_value()

    if arrays == 3:

        def product(_: Any, left: Any, right: Any, made: Any, rows: Any, inner: Any) -> Any:
            return types.none(left, right, made, rows, inner), build

        return intrinsic(product)
    if arrays == 2:

        def pair(_: Any, values: Any, shares: Any, rows: Any) -> Any:
            return types.none(values, shares, rows), build

        return intrinsic(pair)

    def single(_: Any, values: Any, rows: Any) -> Any:
        return types.none(values, rows), build

    return intrinsic(single)


def _load(builder: Any, pointer: Any, row: Any) -> Any:
    return builder.load(builder.gep(builder.bitcast(pointer, _FLOATS.as_pointer()), [row]), align=4)


def _store(builder: Any, value: Any, pointer: Any, row: Any) -> None:
    builder.store(value, builder.gep(builder.bitcast(pointer, _FLOATS.as_pointer()), [row]), align=4)


def _emit_product(builder: Any, left: Any, right: Any, made: Any, rows: Any, inner: Any) -> None:
    from numba.core import cgutils

    nothing = ir.Constant(_FLOATS, ir.Undefined)
    first = ir.Constant(ir.IntType(32), 0)
    total = cgutils.alloca_once(builder, _FLOATS)
    with cgutils.for_range(builder, rows) as row:
        builder.store(_constant(0), total)
        start = builder.mul(row.index, inner)
        with cgutils.for_range(builder, inner) as place:
            number = builder.load(builder.gep(left, [builder.add(start, place.index)]))
            one = builder.insert_element(nothing, number, first)
            same = builder.shuffle_vector(one, nothing, ir.Constant(_INTEGERS, [0] * _LANES))
            term = builder.fmul(same, _load(builder, right, place.index), flags=_FUSED)
            builder.store(builder.fadd(builder.load(total), term, flags=_FUSED), total)
        _store(builder, builder.load(total), made, row.index)


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


#: float32[rows * inner] times float32[inner * 16]: float32[rows * 16]
_multiply = _vectors(_emit_product, 3)

#: in float32[rows * 16], the softmax over rows
_softmax = _vectors(_emit_softmax, 1)

#: in float32[rows * 16], gradients with respect to shares become those with respect to logits
_to_logits = _vectors(_emit_slopes, 2)


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
    largest = _largest(starts)
    queries, sums = np.zeros(depth * _LANES, np.float32), np.zeros(depth * _LANES, np.float32)
    keys, values = np.zeros(largest * depth, np.float32), np.zeros(depth * largest, np.float32)
    for event in range(starts.size - 1):
        start, count = starts[event], starts[event + 1] - starts[event]
        begin = heads * offsets[event]
        for head in range(heads):
            first = head * depth
            for place in range(count):
                row = order[start + place]
                for c in range(depth):
                    keys[place * depth + c] = projected[row, width + first + c]
                    values[c * count + place] = projected[row, 2 * width + first + c]
            for block in range(0, count, _LANES):
                asked = min(count - block, _LANES)
                for lane in range(asked):
                    row = order[start + block + lane]
                    for c in range(depth):
                        queries[c * _LANES + lane] = projected[row, first + c] * factor
                own = shares[begin : begin + count * _LANES]
                begin += count * _LANES
                _multiply(keys, queries, own, count, depth)
                _softmax(own, count)
                _multiply(values, own, sums, depth, count)
                for lane in range(asked):
                    row = order[start + block + lane]
                    for c in range(depth):
                        made[row, first + c] = sums[c * _LANES + lane]


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
    keys, queries = np.zeros(depth * largest, np.float32), np.zeros(depth * largest, np.float32)
    values, wanted = np.zeros(largest * depth, np.float32), np.zeros(depth * largest, np.float32)
    asked, sums = np.zeros(depth * _LANES, np.float32), np.zeros(depth * _LANES, np.float32)
    slopes = np.zeros(largest * _LANES, np.float32)
    # with keys as lanes
    turned, turned_slopes = np.zeros((2, blocks, largest * _LANES), np.float32)
    for event in range(starts.size - 1):
        start, count = starts[event], starts[event + 1] - starts[event]
        begin = heads * offsets[event]
        for head in range(heads):
            first = head * depth
            for place in range(count):
                row = order[start + place]
                for c in range(depth):
                    queries[c * count + place] = projected[row, first + c] * factor
                    keys[c * count + place] = projected[row, width + first + c]
                    values[place * depth + c] = projected[row, 2 * width + first + c]
                    wanted[c * count + place] = gradient[row, first + c]
            for block in range(0, count, _LANES):
                number = min(count - block, _LANES)
                for c in range(depth):
                    for lane in range(number):
                        asked[c * _LANES + lane] = wanted[c * count + block + lane]
                own = shares[begin : begin + count * _LANES]
                begin += count * _LANES
                _multiply(values, asked, slopes, count, depth)
                _to_logits(slopes, own, count)
                _multiply(keys, slopes, sums, depth, count)
                for lane in range(number):
                    row = order[start + block + lane]
                    for c in range(depth):
                        made[row, first + c] = sums[c * _LANES + lane] * factor
                for key in range(count):
                    place = block * _LANES + key % _LANES
                    for lane in range(number):
                        turned[key // _LANES, place + lane * _LANES] = own[key * _LANES + lane]
                        turned_slopes[key // _LANES, place + lane * _LANES] = slopes[key * _LANES + lane]
            for block in range(0, count, _LANES):
                number = min(count - block, _LANES)
                _multiply(wanted, turned[block // _LANES], sums, depth, count)
                for lane in range(number):
                    row = order[start + block + lane]
                    for c in range(depth):
                        made[row, 2 * width + first + c] = sums[c * _LANES + lane]
                _multiply(queries, turned_slopes[block // _LANES], sums, depth, count)
                for lane in range(number):
                    row = order[start + block + lane]
                    for c in range(depth):
                        made[row, width + first + c] = sums[c * _LANES + lane]
