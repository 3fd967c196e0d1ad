"""The innermost step of a search: the scores of 16 vectors, and which of them are high enough."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import llvmlite.binding as llvm
import numba
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

SLOTS = 16
"""Vectors to a block."""
BYTES = 4
"""Dimensions that stand together: one instruction multiplies and adds so many for each vector."""
TOGETHER = 4
"""Queries that share one reading of a block."""
FAST = (
    bool(llvm.get_host_cpu_features().get("avx512vnni", False))
    if numba.config.CPU_FEATURES is None
    else "+avx512vnni" in numba.config.CPU_FEATURES
)
"""Whether this processor multiplies and adds 64 bytes at once; others take a few steps more, to the same numbers."""

_BYTE, _HALF, _WORD, _LONG, _FLOAT = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64), ir.FloatType()
_WORDS, _FLOATS, _HALVES = ir.VectorType(_WORD, SLOTS), ir.VectorType(_FLOAT, SLOTS), ir.VectorType(_HALF, 2 * SLOTS)
_ZEROS = ir.Constant(_WORDS, [0] * SLOTS)
_LINE = 64


def machine_code(function: Callable[..., Any]) -> Any:
    """Return an intrinsic: a function that writes the instructions of a call, instead of being called."""
    return intrinsic(inspect.unwrap(function))


class _Step(NamedTuple):
    """How one step is done on a kind of processor."""

    multiply: Callable[[ir.IRBuilder, ir.Value, ir.Value, ir.Value], ir.Value]
    store: Callable[[ir.IRBuilder, ir.Value, ir.Value, ir.Value], None]


def _tile(step: _Step, queries: int) -> Any:
    """Return the function that scores a block for so many queries, which read it once."""

    def tile(_context: Any, blocks: Any, may: Any, block: Any, asked: Any, first: Any) -> Any:
        def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
            of, allowed, _, queried, _ = signature.args
            kinds = [*of.types[:2], allowed, *queried.types]
            codes, scales = (builder.extract_value(arguments[0], place) for place in (0, 1))
            values = [codes, scales, arguments[1], *cgutils.unpack_tuple(builder, arguments[3])]
            arrays = [
                context.make_array(kind)(context, builder, each) for kind, each in zip(kinds, values, strict=True)
            ]
            return _Tile(builder, step, queries, arguments[2], arguments[4]).generate(arrays)

        return types.int64(blocks, may, types.intp, asked, types.intp), generate

    return machine_code(tile)


class _Tile:
    """Writes the instructions of one tile."""

    def __init__(self, builder: ir.IRBuilder, step: _Step, queries: int, block: ir.Value, first: ir.Value) -> None:
        self.builder, self.step, self.block = builder, step, block
        self.rows = [builder.add(first, _long(row)) for row in range(queries)]
        # One query keeps four sums: an instruction takes several cycles, and a new one can begin in each.
        self.unrolled = BYTES if queries == 1 else 1

    def generate(self, arrays: list[Any]) -> ir.Value:
        """Score, keep what is high enough, and return the most that any of these queries has kept."""
        builder, (codes, scales, may, numbers, bias, least, slots, high, count) = self.builder, arrays
        width = cgutils.unpack_tuple(builder, numbers.shape)[1]
        begin = _at(builder, codes.data, builder.mul(self.block, builder.mul(width, _long(SLOTS))), _WORDS)
        asked = [_at(builder, numbers.data, builder.mul(row, width), _WORD) for row in self.rows]
        starts = [builder.sub(_ZEROS, _spread(builder, self._number(bias, row, _WORD))) for row in self.rows]
        sums = self._sums(begin, asked, starts, builder.udiv(width, _long(BYTES)))
        worth = builder.load(_at(builder, scales.data, builder.mul(self.block, _long(4 * SLOTS)), _FLOATS), align=4)
        allowed = builder.load(_at(builder, may.data, builder.mul(self.block, _long(2)), _HALF))
        most = cgutils.alloca_once_value(builder, _long(0))
        for row, total in zip(self.rows, sums, strict=True):
            scores = builder.fmul(builder.sitofp(total, _FLOATS), worth)
            bar = _spread(builder, self._number(least, row, _FLOAT))
            bits = builder.and_(builder.bitcast(builder.fcmp_ordered(">=", scores, bar), _HALF), allowed)
            with builder.if_then(builder.icmp_unsigned("!=", bits, ir.Constant(_HALF, 0))):
                kept = self._keep(scores, bits, row, (slots, high, count))
                larger = builder.icmp_signed(">", kept, builder.load(most))
                builder.store(builder.select(larger, kept, builder.load(most)), most)
        return builder.load(most)

    def _keep(self, scores: ir.Value, bits: ir.Value, row: ir.Value, arrays: tuple[Any, Any, Any]) -> ir.Value:
        """Write the slots and scores of the bits that are set behind those kept before; return how many there are."""
        builder, (slots, high, count) = self.builder, arrays
        counted = _at(builder, count.data, builder.mul(row, _long(8)), _LONG)
        before = builder.load(counted)
        room = cgutils.unpack_tuple(builder, slots.shape)[1]
        place = builder.mul(builder.add(builder.mul(row, room), before), _long(4))
        first = builder.trunc(builder.mul(self.block, _long(SLOTS)), _WORD)
        names = builder.add(_spread(builder, first), ir.Constant(_WORDS, list(range(SLOTS))))
        which = builder.bitcast(bits, ir.VectorType(ir.IntType(1), SLOTS))
        self.step.store(builder, names, which, _at(builder, slots.data, place, _WORDS))
        self.step.store(builder, scores, which, _at(builder, high.data, place, _FLOATS))
        after = builder.add(before, builder.zext(builder.ctpop(bits), _LONG))
        builder.store(after, counted)
        return after

    def _sums(self, begin: ir.Value, asked: list[ir.Value], starts: list[ir.Value], chunks: ir.Value) -> list[ir.Value]:
        """Return for each query the sums of products of the block's vectors with it, begun at its start."""
        builder, each = self.builder, _long(self.unrolled)
        sums = [[cgutils.alloca_once(builder, _WORDS) for _ in range(self.unrolled)] for _ in asked]
        for start, parts in zip(starts, sums, strict=True):
            for step, part in enumerate(parts):
                builder.store(start if step == 0 else _ZEROS, part)

        def add(chunk: ir.Value, step: int) -> None:
            vectors = builder.load(builder.gep(begin, [chunk]), align=1)
            for query, parts in zip(asked, sums, strict=True):
                word = _spread(builder, builder.load(builder.gep(query, [chunk]), align=1))
                builder.store(self.step.multiply(builder, builder.load(parts[step]), vectors, word), parts[step])

        whole = builder.udiv(chunks, each)
        with cgutils.for_range(builder, whole) as loop:
            for step in range(self.unrolled):
                add(builder.add(builder.mul(loop.index, each), _long(step)), step)
        if self.unrolled > 1:
            with cgutils.for_range(builder, chunks, start=builder.mul(whole, each)) as loop:
                add(loop.index, 0)
        return [self._total([builder.load(part) for part in parts]) for parts in sums]

    def _total(self, parts: list[ir.Value]) -> ir.Value:
        if len(parts) == 1:
            return parts[0]
        half = len(parts) // 2
        return self.builder.add(self._total(parts[:half]), self._total(parts[half:]))

    def _number(self, array: Any, row: ir.Value, kind: ir.Type) -> ir.Value:
        return self.builder.load(_at(self.builder, array.data, self.builder.mul(row, _long(4)), kind))


def _at_once(builder: ir.IRBuilder, total: ir.Value, vectors: ir.Value, query: ir.Value) -> ir.Value:
    """Add four products of bytes for each of 16 vectors: one instruction."""
    kind = ir.FunctionType(_WORDS, [_WORDS] * 3)
    multiply = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx512.vpdpbusd.512")
    return builder.call(multiply, [total, vectors, query])


def _by_pairs(builder: ir.IRBuilder, total: ir.Value, vectors: ir.Value, query: ir.Value) -> ir.Value:
    """As :func:`_at_once` by products of 16-bit numbers, which any vector unit has."""
    low, byte = ir.Constant(_WORDS, [0x00FF00FF] * SLOTS), ir.Constant(_WORDS, [8] * SLOTS)
    eight = ir.Constant(_HALVES, [8] * 2 * SLOTS)
    halves = builder.bitcast(query, _HALVES)
    even = builder.bitcast(builder.and_(vectors, low), _HALVES), builder.ashr(builder.shl(halves, eight), eight)
    odd = builder.bitcast(builder.and_(builder.lshr(vectors, byte), low), _HALVES), builder.ashr(halves, eight)
    wide = ir.VectorType(_WORD, 2 * SLOTS)
    for left, right in (even, odd):
        product = builder.mul(builder.sext(left, wide), builder.sext(right, wide))
        first, second = (
            builder.shuffle_vector(product, product, ir.Constant(_WORDS, list(range(begin, 2 * SLOTS, 2))))
            for begin in (0, 1)
        )
        total = builder.add(total, builder.add(first, second))
    return total


def _compressed(builder: ir.IRBuilder, values: ir.Value, which: ir.Value, place: ir.Value) -> None:
    """Store those of 16 values that are wanted, close together; what stands behind them is overwritten."""
    name = "v16f32" if values.type == _FLOATS else "v16i32"
    kind = ir.FunctionType(values.type, [values.type, values.type, which.type])
    compress = cgutils.get_or_insert_function(builder.module, kind, f"llvm.x86.avx512.mask.compress.{name}")
    empty = ir.Constant(values.type, ir.Undefined)
    # In memory the same instruction takes a hundred cycles on some processors.
    builder.store(builder.call(compress, [values, empty, which]), place, align=4)


def _one_by_one(builder: ir.IRBuilder, values: ir.Value, which: ir.Value, place: ir.Value) -> None:
    """As :func:`_compressed`, on any processor."""
    name = "v16f32" if values.type == _FLOATS else "v16i32"
    kind = ir.FunctionType(ir.VoidType(), [values.type, place.type, which.type])
    store = cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.compressstore.{name}")
    builder.call(store, [values, place, which])


def _long(value: int) -> ir.Constant:
    return ir.Constant(_LONG, value)


def _at(builder: ir.IRBuilder, base: ir.Value, offset: ir.Value, kind: ir.Type) -> ir.Value:
    """Return the address so many bytes on."""
    place = builder.gep(builder.bitcast(base, _BYTE.as_pointer()), [offset])
    return builder.bitcast(place, kind.as_pointer())


def _spread(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """Return 16 times the same value."""
    empty = ir.Constant(ir.VectorType(value.type, SLOTS), ir.Undefined)
    first = builder.insert_element(empty, value, ir.Constant(_WORD, 0))
    return builder.shuffle_vector(first, empty, _ZEROS)


fast_tiles = tuple(_tile(_Step(_at_once, _compressed), queries) for queries in (1, TOGETHER))
portable_tiles = tuple(_tile(_Step(_by_pairs, _one_by_one), queries) for queries in (1, TOGETHER))
keep_one, keep_several = fast_tiles if FAST else portable_tiles
"""Score the 16 vectors of a block for one query, or for TOGETHER, and keep those that are high enough.

A score is (sum of code × query - bias) × scale.

Args:
    blocks: The vectors; see codes.Blocks.
    may: uint16 [blocks], a bit set where a slot may be kept.
    block: Which block.
    asked: Of all queries: numbers int8 [q, width], bias int32 [q], least float32 [q]; what is kept, slots int32
        [q, room], high float32 [q, room] and kept int64 [q], is written. There must be room for 16 more.
    first: Which query is the first.

Returns:
    The largest count of these queries that has grown, 0 where none has.
"""


@machine_code
def ordered(_context: Any, _score: Any) -> Any:
    """Return an int32 for a float32, in the same order; not for NaN."""

    def generate(_context: Any, builder: ir.IRBuilder, _signature: Any, arguments: Any) -> ir.Value:
        bits = builder.bitcast(arguments[0], _WORD)
        sign = builder.ashr(bits, ir.Constant(_WORD, 31))
        return builder.xor(bits, builder.and_(sign, ir.Constant(_WORD, 0x7FFFFFFF)))

    return types.int32(types.float32), generate


@machine_code
def ones(_context: Any, _word: Any) -> Any:
    """Return how many bits of a uint16 are set."""

    def generate(_context: Any, builder: ir.IRBuilder, _signature: Any, arguments: Any) -> ir.Value:
        return builder.zext(builder.ctpop(arguments[0]), _LONG)

    return types.int64(types.uint16), generate


@machine_code
def prefetch(_context: Any, array: Any, row: Any) -> Any:
    """Ask memory for a row of an array [rows, columns], without waiting for it."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        of = context.make_array(signature.args[0])(context, builder, arguments[0])
        stride = cgutils.unpack_tuple(builder, of.strides)[0]
        begin = builder.mul(arguments[1], stride)
        kind = ir.FunctionType(ir.VoidType(), [_BYTE.as_pointer(), _WORD, _WORD, _WORD])
        ask = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        to_read, to_stay, data = (ir.Constant(_WORD, number) for number in (0, 3, 1))
        lines = builder.udiv(builder.add(stride, _long(_LINE - 1)), _long(_LINE))
        with cgutils.for_range(builder, lines) as loop:
            place = builder.add(begin, builder.mul(loop.index, _long(_LINE)))
            builder.call(ask, [_at(builder, of.data, place, _BYTE), to_read, to_stay, data])
        return context.get_dummy_value()

    return types.void(array, types.intp), generate
