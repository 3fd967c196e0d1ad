"""Sums of products of bytes, 16 vectors with some queries: what a search spends its time on, by kinds of processor."""

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir
from numba.core import cgutils, types

from towers.index.instructions import (
    ADDRESS,
    BYTE,
    HALF,
    HALVES,
    LINE,
    SLOTS,
    WORD,
    WORDS,
    ZEROS,
    at,
    byte,
    call,
    long,
    machine_code,
    spread,
)

BYTES = 4
"""Dimensions that stand together: one instruction multiplies and adds so many for each vector."""


class Factors(NamedTuple):
    """Where the bytes stand whose products are summed.

    Attributes:
        vectors: A block's: four dimensions of each of 16 vectors, then the next four.
        queries: The queries', one after the other.
        several: How many queries.
        width: Bytes to a vector, and to a query.
    """

    vectors: ir.Value
    queries: ir.Value
    several: int
    width: ir.Value


Sums = Callable[[ir.IRBuilder, Factors, ir.Value], None]
"""Writes what sums products, 16 sums for each query, and stores them at an address, one query after the other."""
Multiply = Callable[[ir.IRBuilder, ir.Value, ir.Value, ir.Value], ir.Value]


def by_vectors(multiply: Multiply) -> Sums:
    """Return what multiplies four dimensions of 16 vectors with each query in turn."""

    def sums(builder: ir.IRBuilder, factors: Factors, into: ir.Value) -> None:
        # One query keeps four sums: an instruction takes several cycles, and a new one can begin in each.
        unrolled = BYTES if factors.several == 1 else 1
        parts = [[cgutils.alloca_once(builder, WORDS) for _ in range(unrolled)] for _ in range(factors.several)]
        for part in (part for row in parts for part in row):
            builder.store(ZEROS, part)
        rows = [at(builder, factors.queries, builder.mul(factors.width, long(row))) for row in range(factors.several)]

        def add(chunk: ir.Value, step: int) -> None:
            place = builder.mul(chunk, long(BYTES))
            vectors = builder.load(at(builder, factors.vectors, builder.mul(place, long(SLOTS)), WORDS), align=1)
            for row, own in zip(rows, parts, strict=True):
                query = spread(builder, builder.load(at(builder, row, place, WORD), align=1))
                builder.store(multiply(builder, builder.load(own[step]), vectors, query), own[step])

        chunks, each = builder.udiv(factors.width, long(BYTES)), long(unrolled)
        whole = builder.udiv(chunks, each)
        with cgutils.for_range(builder, whole) as loop:
            for step in range(unrolled):
                add(builder.add(builder.mul(loop.index, each), long(step)), step)
        if unrolled > 1:
            with cgutils.for_range(builder, chunks, start=builder.mul(whole, each)) as loop:
                add(loop.index, 0)
        for row, own in enumerate(parts):
            total = _total(builder, [builder.load(part) for part in own])
            builder.store(total, builder.gep(into, [long(row)]), align=LINE)

    return sums


def _total(builder: ir.IRBuilder, parts: list[ir.Value]) -> ir.Value:
    if len(parts) == 1:
        return parts[0]
    half = len(parts) // 2
    return builder.add(_total(builder, parts[:half]), _total(builder, parts[half:]))


def at_once(builder: ir.IRBuilder, total: ir.Value, vectors: ir.Value, query: ir.Value) -> ir.Value:
    """Add four products of bytes for each of 16 vectors: one instruction."""
    return call(builder, "llvm.x86.avx512.vpdpbusd.512", total, vectors, query, to=WORDS)


def by_pairs(builder: ir.IRBuilder, total: ir.Value, vectors: ir.Value, query: ir.Value) -> ir.Value:
    """As :func:`at_once` by products of 16-bit numbers, which any vector unit has."""
    low, eight_bits = ir.Constant(WORDS, [0x00FF00FF] * SLOTS), ir.Constant(WORDS, [8] * SLOTS)
    eight = ir.Constant(HALVES, [8] * 2 * SLOTS)
    halves = builder.bitcast(query, HALVES)
    even = builder.bitcast(builder.and_(vectors, low), HALVES), builder.ashr(builder.shl(halves, eight), eight)
    odd = builder.bitcast(builder.and_(builder.lshr(vectors, eight_bits), low), HALVES), builder.ashr(halves, eight)
    wide = ir.VectorType(WORD, 2 * SLOTS)
    for left, right in (even, odd):
        product = builder.mul(builder.sext(left, wide), builder.sext(right, wide))
        first, second = (
            builder.shuffle_vector(product, product, ir.Constant(WORDS, list(range(begin, 2 * SLOTS, 2))))
            for begin in (0, 1)
        )
        total = builder.add(total, builder.add(first, second))
    return total


_TOTAL, _QUERIES, _VECTORS, _LAST_QUERIES, _LAST_VECTORS = range(5)
"""Tiles, which are registers of 16 rows of 64 bytes: the last two hold what a width leaves beyond whole lines."""


def by_tiles(builder: ir.IRBuilder, factors: Factors, into: ir.Value) -> None:
    """Multiply a line of 16 queries with one of 16 vectors: one instruction, between set_tiles and free_tiles."""
    width = factors.width
    call(builder, "llvm.x86.tilezero", byte(_TOTAL))

    def add(place: ir.Value, left: int, right: int) -> None:
        vectors = at(builder, factors.vectors, builder.mul(place, long(SLOTS)))
        call(builder, "llvm.x86.tileloadd64", byte(left), at(builder, factors.queries, place), width)
        call(builder, "llvm.x86.tileloadd64", byte(right), vectors, long(LINE))
        call(builder, "llvm.x86.tdpbsud", byte(_TOTAL), byte(left), byte(right))

    lines = builder.udiv(width, long(LINE))
    with cgutils.for_range(builder, lines) as loop:
        add(builder.mul(loop.index, long(LINE)), _QUERIES, _VECTORS)
    with builder.if_then(builder.icmp_unsigned("!=", builder.urem(width, long(LINE)), long(0))):
        add(builder.mul(lines, long(LINE)), _LAST_QUERIES, _LAST_VECTORS)
    call(builder, "llvm.x86.tilestored64", byte(_TOTAL), builder.bitcast(into, ADDRESS), long(LINE))


@machine_code
def set_tiles(_context: Any, _width: Any) -> Any:
    """Say of which sizes the tiles are for vectors of so many bytes; they belong to the thread that says so."""

    def generate(context: Any, builder: ir.IRBuilder, _signature: Any, arguments: Any) -> Any:
        rest = builder.urem(arguments[0], long(LINE))
        # A tile of no size is an error, even where it is not used.
        rest = builder.select(builder.icmp_unsigned("==", rest, long(0)), long(LINE), rest)
        whole, some = ir.Constant(HALF, LINE), builder.trunc(rest, HALF)
        all_rows, rows = byte(SLOTS), builder.trunc(builder.udiv(rest, long(BYTES)), BYTE)
        wide = {_TOTAL: whole, _QUERIES: whole, _VECTORS: whole, _LAST_QUERIES: some, _LAST_VECTORS: whole}
        high = dict.fromkeys(wide, all_rows) | {_LAST_VECTORS: rows}
        sizes = cgutils.alloca_once(builder, ir.ArrayType(BYTE, LINE))
        builder.store(ir.Constant(sizes.type.pointee, bytearray(LINE)), sizes)
        # Intel's manual, volume 1, 18.3: the first byte is the palette, bytes to a row begin at 16 and rows at 48.
        builder.store(byte(1), at(builder, sizes, long(0)))
        for tile in wide:
            builder.store(wide[tile], at(builder, sizes, long(16 + 2 * tile), HALF), align=2)
            builder.store(high[tile], at(builder, sizes, long(48 + tile)))
        call(builder, "llvm.x86.ldtilecfg", builder.bitcast(sizes, ADDRESS))
        return context.get_dummy_value()

    return types.void(types.int64), generate


@machine_code
def free_tiles(_context: Any) -> Any:
    """Say that the tiles are not used any more, so that nobody has to keep what they hold."""

    def generate(context: Any, builder: ir.IRBuilder, _signature: Any, _arguments: Any) -> Any:
        call(builder, "llvm.x86.tilerelease")
        return context.get_dummy_value()

    return types.void(), generate


@machine_code
def no_tiles(_context: Any, _width: Any = None) -> Any:
    """Do nothing, where there are no tiles."""
    return types.void(types.int64), lambda context, *_: context.get_dummy_value()
