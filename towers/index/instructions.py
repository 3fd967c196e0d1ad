"""Words in which machine code is written: types, addresses, and three instructions that numba has no name for."""

import inspect
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

SLOTS = 16
"""Vectors to a block."""
LINE = 64
"""Bytes to a line of a cache."""

BYTE, HALF, WORD, LONG, FLOAT = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64), ir.FloatType()
WORDS, FLOATS, HALVES = ir.VectorType(WORD, SLOTS), ir.VectorType(FLOAT, SLOTS), ir.VectorType(HALF, 2 * SLOTS)
ADDRESS = BYTE.as_pointer()
ZEROS = ir.Constant(WORDS, [0] * SLOTS)


def machine_code(function: Callable[..., Any]) -> Any:
    """Return an intrinsic: a function that writes the instructions of a call, instead of being called."""
    return intrinsic(inspect.unwrap(function))


def byte(value: int) -> ir.Constant:
    """Return a constant of 8 bits."""
    return ir.Constant(BYTE, value)


def long(value: int) -> ir.Constant:
    """Return a constant of 64 bits."""
    return ir.Constant(LONG, value)


def call(builder: ir.IRBuilder, name: str, *arguments: ir.Value, to: ir.Type | None = None) -> ir.Value:
    """Write one of LLVM's own functions, which mostly is one instruction."""
    kind = ir.FunctionType(to or ir.VoidType(), [each.type for each in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


def at(builder: ir.IRBuilder, base: ir.Value, offset: ir.Value, kind: ir.Type = BYTE) -> ir.Value:
    """Return the address so many bytes on."""
    place = builder.gep(builder.bitcast(base, ADDRESS), [offset])
    return builder.bitcast(place, kind.as_pointer())


def spread(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """Return 16 times the same value."""
    empty = ir.Constant(ir.VectorType(value.type, SLOTS), ir.Undefined)
    first = builder.insert_element(empty, value, ir.Constant(WORD, 0))
    return builder.shuffle_vector(first, empty, ZEROS)


@machine_code
def ordered(_context: Any, _score: Any) -> Any:
    """Return an int32 for a float32, in the same order; not for NaN."""

    def generate(_context: Any, builder: ir.IRBuilder, _signature: Any, arguments: Any) -> ir.Value:
        bits = builder.bitcast(arguments[0], WORD)
        sign = builder.ashr(bits, ir.Constant(WORD, 31))
        return builder.xor(bits, builder.and_(sign, ir.Constant(WORD, 0x7FFFFFFF)))

    return types.int32(types.float32), generate


@machine_code
def ones(_context: Any, _word: Any) -> Any:
    """Return how many bits of a uint16 are set."""

    def generate(_context: Any, builder: ir.IRBuilder, _signature: Any, arguments: Any) -> ir.Value:
        return builder.zext(builder.ctpop(arguments[0]), LONG)

    return types.int64(types.uint16), generate


@machine_code
def prefetch(_context: Any, array: Any, row: Any) -> Any:
    """Ask memory for a row of an array [rows, columns], without waiting for it."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        of = context.make_array(signature.args[0])(context, builder, arguments[0])
        stride = cgutils.unpack_tuple(builder, of.strides)[0]
        begin = builder.mul(arguments[1], stride)
        to_read, to_stay, data = (ir.Constant(WORD, number) for number in (0, 3, 1))
        lines = builder.udiv(builder.add(stride, long(LINE - 1)), long(LINE))
        with cgutils.for_range(builder, lines) as loop:
            place = at(builder, of.data, builder.add(begin, builder.mul(loop.index, long(LINE))))
            call(builder, "llvm.prefetch.p0", place, to_read, to_stay, data)
        return context.get_dummy_value()

    return types.void(array, types.intp), generate
