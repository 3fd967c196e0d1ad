"""The innermost step of a search: the scores of 16 vectors, and which of them are high enough."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import llvmlite.binding as llvm
import numba
from llvmlite import ir
from numba.core import cgutils, types

from towers.compiled import may_use_tiles
from towers.index.instructions import (
    FLOAT,
    FLOATS,
    HALF,
    LINE,
    LONG,
    SLOTS,
    WORD,
    WORDS,
    at,
    call,
    long,
    machine_code,
    spread,
)
from towers.index.products import (
    Factors,
    Sums,
    at_once,
    by_pairs,
    by_tiles,
    by_vectors,
    free_tiles,
    no_tiles,
    set_tiles,
)

RUN = 8
"""Blocks that are multiplied one after the other, before any of the scores is looked at: so none is waited for."""


def _has(feature: str) -> bool:
    asked = numba.config.CPU_FEATURES
    return bool(llvm.get_host_cpu_features().get(feature)) if asked is None else f"+{feature}" in asked.split(",")


FAST = _has("avx512vnni")
"""Whether this processor multiplies and adds 64 bytes at once; others take a few steps more, to the same numbers."""
TILED = FAST and _has("amx-int8") and may_use_tiles()
"""Whether it multiplies a kilobyte with another at once, 16 queries with 16 vectors; to the same numbers again."""


class _Step(NamedTuple):
    """How one step is done on a kind of processor."""

    sums: Sums
    store: Callable[[ir.IRBuilder, ir.Value, ir.Value, ir.Value], None]


class Tiles(NamedTuple):
    """What scores blocks on a kind of processor; see below.

    Attributes:
        keep_one: For one query.
        keep_several: For several that share one reading of each block.
        lift_one: For one query of which only the highest scores are wanted.
        lift_several: For several such.
        prepare: To be called by a thread before it scores for several, with the width of the vectors.
        finish: To be called after.
        together: How many are several.
    """

    keep_one: Any
    keep_several: Any
    lift_one: Any
    lift_several: Any
    prepare: Any
    finish: Any
    together: int


def _scorer(write: Callable[["_Tile"], ir.Value]) -> Any:
    """Return the function that scores a run of blocks, of which a tile writes the instructions."""

    def score(_context: Any, blocks: Any, may: Any, run: Any, asked: Any, first: Any) -> Any:
        def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
            return write(_Tile(context, builder, signature, arguments))

        return types.int64(blocks, may, run, asked, types.intp), generate

    return machine_code(score)


class _Tile:
    """Writes the instructions that score a run of blocks."""

    def __init__(self, context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> None:
        of, may, run, asked, _ = signature.args
        codes, scales = (builder.extract_value(arguments[0], place) for place in (0, 1))
        order, self.place, last = cgutils.unpack_tuple(builder, arguments[2])
        values = [codes, scales, arguments[1], order, *cgutils.unpack_tuple(builder, arguments[3])]
        kinds = [*of.types[:2], may, run.types[0], *asked.types]
        names = ("codes", "scales", "may", "order", "numbers", "bias", "least", "slots", "high", "kept")
        self.arrays = {
            name: context.make_array(kind)(context, builder, value)
            for name, kind, value in zip(names, kinds, values, strict=True)
        }
        self.builder, self.first, self.count = builder, arguments[4], builder.sub(last, self.place)

    def keep(self, step: _Step, queries: int) -> ir.Value:
        """Keep what is high enough; return the largest count that has grown."""
        builder = self.builder
        most = cgutils.alloca_once(builder, LONG)
        builder.store(long(0), most)
        for scores, row, block, _ in self._scores(step, queries):
            least = spread(builder, self._number("least", row, FLOAT))
            high = builder.bitcast(builder.fcmp_ordered(">=", scores, least), HALF)
            bits = builder.and_(high, self._number("may", block, HALF))
            with builder.if_then(builder.icmp_unsigned("!=", bits, ir.Constant(HALF, 0)), likely=False):
                kept = self._append(step, (bits, scores), row, block)
                larger = builder.icmp_signed(">", kept, builder.load(most))
                builder.store(builder.select(larger, kept, builder.load(most)), most)
        return builder.load(most)

    def lift(self, step: _Step, queries: int) -> ir.Value:
        """Raise what is high to the scores of a block, in the columns that are its own."""
        builder, nothing = self.builder, spread(self.builder, ir.Constant(FLOAT, float("-inf")))
        width = cgutils.unpack_tuple(builder, self.arrays["high"].shape)[1]
        begin = builder.urem(builder.mul(self.place, long(SLOTS)), width)
        for scores, row, block, run in self._scores(step, queries):
            which = builder.bitcast(self._number("may", block, HALF), ir.VectorType(ir.IntType(1), SLOTS))
            some = builder.select(which, scores, nothing)
            column = builder.add(begin, builder.mul(run, long(SLOTS)))
            place = builder.mul(builder.add(builder.mul(row, width), column), long(4))
            high = at(builder, self.arrays["high"].data, place, FLOATS)
            before = builder.load(high, align=4)
            builder.store(builder.select(builder.fcmp_ordered(">", some, before), some, before), high, align=4)
        return long(0)

    def _scores(self, step: _Step, queries: int) -> Iterator[tuple[ir.Value, ...]]:
        """Yield, within loops over queries and blocks, 16 scores, their query, their block, and its place."""
        builder, count = self.builder, self.count
        sums = cgutils.alloca_once(builder, WORDS, size=RUN * queries)
        sums.align = LINE
        width = cgutils.unpack_tuple(builder, self.arrays["numbers"].shape)[1]
        asked = at(builder, self.arrays["numbers"].data, builder.mul(self.first, width))
        with cgutils.for_range(builder, count) as loop:
            vectors = builder.mul(self._block(loop.index), builder.mul(width, long(SLOTS)))
            factors = Factors(at(builder, self.arrays["codes"].data, vectors), asked, queries, width)
            step.sums(builder, factors, builder.gep(sums, [builder.mul(loop.index, long(queries))]))
        left = builder.sub(cgutils.unpack_tuple(builder, self.arrays["bias"].shape)[0], self.first)
        rows = builder.select(builder.icmp_signed("<", left, long(queries)), left, long(queries))
        with cgutils.for_range(builder, rows) as each:
            row = builder.add(self.first, each.index)
            bias = spread(builder, self._number("bias", row, WORD))
            with cgutils.for_range(builder, count) as loop:
                block = self._block(loop.index)
                place = builder.add(builder.mul(loop.index, long(queries)), each.index)
                total = builder.sub(builder.load(builder.gep(sums, [place]), align=LINE), bias)
                worth = self._number("scales", builder.mul(block, long(SLOTS)), FLOATS)
                yield builder.fmul(builder.sitofp(total, FLOATS), worth), row, block, loop.index

    def _append(self, step: _Step, found: tuple[ir.Value, ir.Value], row: ir.Value, block: ir.Value) -> ir.Value:
        """Write the slots and scores whose bits are set behind those kept before; return how many there are."""
        builder, (bits, scores) = self.builder, found
        counted = at(builder, self.arrays["kept"].data, builder.mul(row, long(8)), LONG)
        before = builder.load(counted)
        room = cgutils.unpack_tuple(builder, self.arrays["slots"].shape)[1]
        place = builder.mul(builder.add(builder.mul(row, room), before), long(4))
        first = builder.trunc(builder.mul(block, long(SLOTS)), WORD)
        names = builder.add(spread(builder, first), ir.Constant(WORDS, list(range(SLOTS))))
        which = builder.bitcast(bits, ir.VectorType(ir.IntType(1), SLOTS))
        step.store(builder, names, which, at(builder, self.arrays["slots"].data, place, WORDS))
        step.store(builder, scores, which, at(builder, self.arrays["high"].data, place, FLOATS))
        after = builder.add(before, builder.zext(builder.ctpop(bits), LONG))
        builder.store(after, counted)
        return after

    def _number(self, array: str, place: ir.Value, kind: ir.Type) -> ir.Value:
        """Return what stands at a place of an array, or from there on."""
        size = long(2 if array == "may" else 4)
        address = at(self.builder, self.arrays[array].data, self.builder.mul(place, size), kind)
        return self.builder.load(address, align=size.constant)

    def _block(self, run: ir.Value) -> ir.Value:
        return self.builder.sext(self._number("order", self.builder.add(self.place, run), WORD), LONG)


def _compressed(builder: ir.IRBuilder, values: ir.Value, which: ir.Value, place: ir.Value) -> None:
    """Store those of 16 values that are wanted, close together; what stands behind them is overwritten."""
    name = "v16f32" if values.type == FLOATS else "v16i32"
    empty = ir.Constant(values.type, ir.Undefined)
    compressed = call(builder, f"llvm.x86.avx512.mask.compress.{name}", values, empty, which, to=values.type)
    # In memory the same instruction takes a hundred cycles on some processors.
    builder.store(compressed, place, align=4)


def _one_by_one(builder: ir.IRBuilder, values: ir.Value, which: ir.Value, place: ir.Value) -> None:
    """As :func:`_compressed`, on any processor."""
    name = "v16f32" if values.type == FLOATS else "v16i32"
    call(builder, f"llvm.masked.compressstore.{name}", values, place, which)


def _tiles(one: _Step, several: _Step, together: int, prepare: Any = no_tiles, finish: Any = no_tiles) -> Tiles:
    keep_one = _scorer(lambda tile: tile.keep(one, 1))
    keep_several = _scorer(lambda tile: tile.keep(several, together))
    lift_one = _scorer(lambda tile: tile.lift(one, 1))
    lift_several = _scorer(lambda tile: tile.lift(several, together))
    return Tiles(keep_one, keep_several, lift_one, lift_several, prepare, finish, together)


_portable = _Step(by_vectors(by_pairs), _one_by_one)
_fast = _Step(by_vectors(at_once), _compressed)
portable_tiles = _tiles(_portable, _portable, 4)
fast_tiles = _tiles(_fast, _fast, 8)
large_tiles = _tiles(_fast, _Step(by_tiles, _compressed), SLOTS, set_tiles, free_tiles)
keep_one, keep_several, lift_one, lift_several, prepare, finish, TOGETHER = (
    large_tiles if TILED else fast_tiles if FAST else portable_tiles
)
"""Score at most RUN blocks for one query, or for up to TOGETHER, and keep those vectors that are high enough.

A score is (sum of code × query - bias) × scale. To lift is to keep nothing, but to raise asked.high [q, room] to the
scores of what may be kept: of 16 numbers for each place of an order in turn, beginning again where there is no room;
place and room must be multiples of RUN and 16 RUN.

Args:
    blocks: The vectors; see codes.Blocks.
    may: uint16 [blocks], a bit set where a slot may be kept.
    run: Blocks, int32 [m]; the place of the first among these, and the one after the last, at most RUN further on.
    asked: Of all queries: numbers int8 [q, width], with rows up to a multiple of TOGETHER, bias int32 [q], least
        float32 [q]; what is kept, slots int32 [q, room], high float32 [q, room] and kept int64 [q], is written. There
        must be room for 16 RUN more.
    first: Which query is the first.

Returns:
    The largest count of these queries that has grown, 0 where none has.
"""
