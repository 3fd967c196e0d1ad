"""Products of small matrices at the rate of a BLAS, without its threads and calls.

LLVM makes half that rate of plain loops. Here a tile of six rows and 64 columns stays in registers while the depth
passes by; on processors with shorter registers LLVM splits it.
"""

import inspect
from typing import Any

import numpy as np
from jaxtyping import Float32
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numpy import ndarray

from towers.compiled import compiled

LANES = 16
"""Floats to a register."""
ROWS, WIDE = 6, 4
"""Rows and registers of a tile: 24 sums and 4 weights, of 32 registers."""
_VECTOR, _LONG = ir.VectorType(ir.FloatType(), LANES), ir.IntType(64)


def _tile(rows: int, registers: int) -> Any:
    """Return the function that writes `out[i : i + rows, j : j + width] = x[:, :depth] @ w[:depth] + bias`."""

    def tile(_context: Any, x: Any, w: Any, bias: Any, out: Any, at: Any) -> Any:
        def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
            arrays = [
                context.make_array(kind)(context, builder, value)
                for kind, value in zip(signature.args[:4], arguments[:4], strict=True)
            ]
            _write(builder, (rows, registers), arrays, cgutils.unpack_tuple(builder, arguments[4]))
            return context.get_dummy_value()

        return types.void(x, w, bias, out, at), generate

    return intrinsic(inspect.unwrap(tile))


def _write(builder: ir.IRBuilder, shape: tuple[int, int], arrays: list[Any], at: list[ir.Value]) -> None:
    """Write the instructions of one tile; at holds its first row, its first column, and the depth."""
    (rows, registers), (x, w, bias, out), (row, column, depth) = shape, arrays, at
    columns = [builder.add(column, _LONG(LANES * register)) for register in range(registers)]
    lines = [builder.add(row, _LONG(line)) for line in range(rows)]
    begins = [_load(builder, _place(builder, bias, _LONG(0), each)) for each in columns]
    sums = [[cgutils.alloca_once_value(builder, begin) for begin in begins] for _ in lines]
    for line in sums:
        for total, begin in zip(line, begins, strict=True):
            builder.store(begin, total)
    with cgutils.for_range(builder, depth) as loop:
        weights = [_load(builder, _place(builder, w, loop.index, each)) for each in columns]
        for line, totals in zip(lines, sums, strict=True):
            value = _everywhere(builder, builder.load(_place(builder, x, line, loop.index)))
            for total, weight in zip(totals, weights, strict=True):
                more = builder.fmul(value, weight, flags=("contract",))
                builder.store(builder.fadd(builder.load(total), more, flags=("contract",)), total)
    for line, totals in zip(lines, sums, strict=True):
        for total, each in zip(totals, columns, strict=True):
            place = builder.bitcast(_place(builder, out, line, each), _VECTOR.as_pointer())
            builder.store(builder.load(total), place).align = 4


def _place(builder: ir.IRBuilder, array: Any, row: ir.Value, column: ir.Value) -> ir.Value:
    """Return the address of an element; of an array of one dimension, every row is the same."""
    strides = cgutils.unpack_tuple(builder, array.strides)
    begin = builder.ptrtoint(array.data, _LONG)
    if len(strides) > 1:
        begin = builder.add(begin, builder.mul(row, strides[0]))
    place = builder.add(begin, builder.mul(column, _LONG(4)))
    return builder.inttoptr(place, ir.FloatType().as_pointer())


def _load(builder: ir.IRBuilder, place: ir.Value) -> ir.Value:
    loaded = builder.load(builder.bitcast(place, _VECTOR.as_pointer()))
    loaded.align = 4
    return loaded


def _everywhere(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """Return a register that holds one float in every lane."""
    nothing = ir.Constant(_VECTOR, ir.Undefined)
    first = builder.insert_element(nothing, value, ir.IntType(32)(0))
    return builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))


_wide_rows, _wide_row, _rows, _row = _tile(ROWS, WIDE), _tile(1, WIDE), _tile(ROWS, 1), _tile(1, 1)


@compiled
def affine(
    x: Float32[ndarray, "n d"], w: Float32[ndarray, "d e"], bias: Float32[ndarray, " e"], out: Float32[ndarray, "n e"]
) -> None:
    """Write `x @ w + bias` to out."""
    for row in range(0, len(x), ROWS):
        rows(x, w, bias, out, (row, w.shape[1], w.shape[0]))


@compiled
def product(x: Float32[ndarray, "n d"], w: Float32[ndarray, "d e"], out: Float32[ndarray, "n e"]) -> None:
    """Write `x @ w` to out."""
    affine(x, w, np.zeros(w.shape[1], np.float32), out)


@compiled
def rows(
    x: Float32[ndarray, "n d"],
    w: Float32[ndarray, "d e"],
    bias: Float32[ndarray, " e"],
    out: Float32[ndarray, "n e"],
    at: tuple[int, int, int],
) -> None:
    """Write `x @ w + bias` to six rows of out, or what is left of them, as far as asked.

    Args:
        x: Left side, [n, d].
        w: Right side, [d, e].
        bias: What to begin with, [e].
        out: Where to write, [n, e].
        at: The first row, how many columns, and how much of the depth.
    """
    row, width, depth = at
    if row + ROWS <= len(x):
        column = 0
        while column + WIDE * LANES <= width:
            _wide_rows(x, w, bias, out, (row, column, depth))
            column += WIDE * LANES
        while column + LANES <= width:
            _rows(x, w, bias, out, (row, column, depth))
            column += LANES
    else:
        for line in range(row, len(x)):
            column = 0
            while column + WIDE * LANES <= width:
                _wide_row(x, w, bias, out, (line, column, depth))
                column += WIDE * LANES
            while column + LANES <= width:
                _row(x, w, bias, out, (line, column, depth))
                column += LANES
    for line in range(row, min(row + ROWS, len(x))):
        for place in range(width - width % LANES, width):
            total = bias[place]
            for step in range(depth):
                total += x[line, step] * w[step, place]
            out[line, place] = total
