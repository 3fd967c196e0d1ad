"""Triton kernels of exact search: product and best of each group in one pass, then only what may still win."""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

FINE, COARSE = tl.constexpr(64), tl.constexpr(512)
"""Vectors of a group that is kept or ruled out as one, and of a group whose best help to find the threshold."""
GROUPS, LEFT = tl.constexpr(512), tl.constexpr(256)
"""Groups of a query that are scored again, and vectors that are sorted, at most."""
CHUNK = tl.constexpr(2048)
ROUNDING = tl.constexpr(2.0**-8 + 2.0**-16)
"""How far a product of two vectors that were rounded to bfloat16 may be off, in their lengths."""


@dataclass(frozen=True)
class Scratch:
    """What the kernels tell each other, and the answer.

    Attributes:
        fine: Best product of each group, [n / FINE, q].
        coarse: The same of larger groups, [q, n / COARSE].
        threshold: Least product that may belong to a list, in bfloat16 and in float32, [2, q].
        found: How many groups, and how many vectors after them, are above it, [2, q].
        groups: Which, [q, GROUPS].
        keys: Float32 products and columns of the vectors that are left, as sortable numbers, [q, LEFT].
        best: Scores of the lists, [q, k].
        where: Columns of these, [q, k].
        proven: 1 where a list is the answer for certain, 0 where more was found than there is room for, [q].
    """

    fine: Tensor
    coarse: Tensor
    threshold: Tensor
    found: Tensor
    groups: Tensor
    keys: Tensor
    best: Tensor
    where: Tensor
    proven: Tensor

    @classmethod
    def of(cls, q: int, n: int, k: int, device: torch.device) -> "Scratch":
        """Return room for lists of k for q queries over n vectors."""
        many = -(-n // COARSE.value)
        groups, fine, left = GROUPS.value, FINE.value, LEFT.value
        return cls(
            fine=torch.empty(many * (COARSE.value // fine), q, device=device),
            coarse=torch.empty(q, many, device=device),
            threshold=torch.empty(2, q, device=device),
            found=torch.zeros(2, q, dtype=torch.int32, device=device),
            groups=torch.empty(q, groups, dtype=torch.int32, device=device),
            keys=torch.empty(q, left, dtype=torch.int64, device=device),
            best=torch.empty(q, k, device=device),
            where=torch.empty(q, k, dtype=torch.int64, device=device),
            proven=torch.empty(q, dtype=torch.int32, device=device),
        )


def search(queries: Tensor, vectors: Tensor, codes: Tensor, longest: Tensor, scratch: Scratch) -> None:
    """Find the best scores and columns.

    Args:
        queries: In float32, [q, d].
        vectors: In float32, [n, d], n at least k * COARSE.
        codes: The same in bfloat16.
        longest: Length of the longest vector, a scalar on the GPU.
        scratch: As large as `Scratch.of` makes it.
    """
    (q, d), n, k = queries.shape, len(vectors), scratch.best.shape[1]
    many, found, threshold = scratch.coarse.shape[1], scratch.found, scratch.threshold
    tile = 16 if q <= 16 else min(128, triton.next_power_of_2(q))
    grid = (triton.cdiv(q, tile), many)
    _maxima[grid]((queries, codes), (scratch.fine, scratch.coarse), (q, n, many), d, tile, num_warps=4)
    wide = triton.next_power_of_2(many)
    given = (scratch.coarse, queries, longest)
    _threshold[(q,)](given, (threshold, found), (q, many, k), d, wide, num_warps=4 if wide <= 4096 else 16)
    groups = len(scratch.fine)
    few = min(64, triton.next_power_of_2(q))
    chunks = (triton.cdiv(q, few), triton.cdiv(groups, CHUNK.value // few))
    _survivors[chunks](scratch.fine, threshold, (found, scratch.groups), groups, q, few, num_warps=4)
    _again[(q, 64)]((queries, vectors), (threshold, scratch.groups), (found, scratch.keys), (q, n), d, num_warps=4)
    _order[(q,)](scratch.keys, found, (scratch.best, scratch.where, scratch.proven), q, k, num_warps=4)


@triton.jit
def _maxima(given, told, sizes, d: tl.constexpr, tile: tl.constexpr):
    queries, codes = given
    fine, coarse = told
    q, n, many = sizes
    block = tl.program_id(1).to(tl.int64)
    at = tl.program_id(0) * tile + tl.arange(0, tile)
    along = tl.arange(0, d)
    asked = tl.load(queries + at[:, None] * d + along[None, :], mask=at[:, None] < q, other=0.0)
    asked = asked.to(codes.dtype.element_ty)
    whole = tl.full([tile], float("-inf"), tl.float32)
    for part in tl.range(0, COARSE // FINE, num_stages=3):
        # Beyond the end comes the last vector once more: its best is one of a real vector, and no mask costs anything.
        rows = tl.minimum(block * COARSE + part * FINE + tl.arange(0, FINE), n - 1)
        group = tl.load(codes + rows[None, :] * d + along[:, None])
        best = tl.max(tl.dot(asked, group), 1)
        tl.store(fine + (block * (COARSE // FINE) + part) * q + at, best, mask=at < q)
        whole = tl.maximum(whole, best)
    tl.store(coarse + at.to(tl.int64) * many + block, whole, mask=at < q)


@triton.jit
def _reached(values, k, low, steps: tl.constexpr):
    """Return a number that at least k values reach, as `low` is, close below the kth largest."""
    high = tl.max(values, 0)
    for _ in range(steps):
        middle = low + (high - low) * 0.5
        enough = tl.sum((values >= middle).to(tl.int32), 0) >= k
        low = tl.where(enough, middle, low)
        high = tl.where(enough, high, middle)
    return low


@triton.jit
def _threshold(given, told, sizes, d: tl.constexpr, wide: tl.constexpr):
    coarse, queries, longest = given
    threshold, found = told
    q, many, k = sizes
    row = tl.program_id(0)
    at = tl.arange(0, wide)
    values = tl.load(coarse + row.to(tl.int64) * many + at, mask=at < many, other=float("-inf"))
    low = tl.min(tl.where(at < many, values, float("inf")), 0)
    asked = tl.load(queries + row * d + tl.arange(0, d))
    apart = tl.sqrt(tl.sum(asked * asked, 0)) * tl.load(longest) * (2 * ROUNDING)
    reached = _reached(values, k, low, 14)
    tl.store(threshold + row, reached - apart)
    tl.store(threshold + q + row, reached - apart * 0.5)
    tl.store(found + row, 0)
    tl.store(found + q + row, 0)


@triton.jit
def _survivors(fine, threshold, told, cells, q, tile: tl.constexpr):
    found, groups = told
    group = tl.program_id(1) * (CHUNK // tile) + tl.arange(0, CHUNK // tile)
    row = tl.program_id(0) * tile + tl.arange(0, tile)
    inside = (group[:, None] < cells) & (row[None, :] < q)
    values = tl.load(fine + group[:, None].to(tl.int64) * q + row[None, :], mask=inside, other=float("-inf"))
    kept = inside & (values >= tl.load(threshold + row, mask=row < q, other=float("inf"))[None, :])
    slot = tl.atomic_add(found + row[None, :] + tl.zeros_like(group)[:, None], 1, mask=kept)
    wanted = groups + row[None, :] * GROUPS + slot
    tl.store(wanted, group[:, None] + tl.zeros_like(row)[None, :], mask=kept & (slot < GROUPS))


@triton.jit
def _again(given, kept, told, sizes, d: tl.constexpr):
    queries, vectors = given
    threshold, groups = kept
    found, keys = told
    q, n = sizes
    row = tl.program_id(0)
    along, least = tl.arange(0, d), tl.load(threshold + q + row)
    asked = tl.load(queries + row * d + along)
    slot, count = tl.program_id(1), tl.minimum(tl.load(found + row), GROUPS)
    while slot < count:
        rows = tl.load(groups + row * GROUPS + slot).to(tl.int64) * FINE + tl.arange(0, FINE)
        group = tl.load(vectors + rows[:, None] * d + along[None, :], mask=rows[:, None] < n, other=0.0)
        products = tl.sum(group * asked[None, :], 1)
        wins = (rows < n) & (products >= least)
        bits = products.to(tl.int32, bitcast=True)
        rising = tl.where(bits < 0, bits ^ 0x7FFFFFFF, bits).to(tl.int64)
        place = tl.atomic_add(found + q + row + tl.zeros_like(bits), 1, mask=wins)
        tl.store(keys + row * LEFT + place, rising * 4294967296 + (4294967295 - rows), mask=wins & (place < LEFT))
        slot += tl.num_programs(1)


@triton.jit
def _order(keys, found, told, q, k):
    best, where, proven = told
    row = tl.program_id(0)
    at = tl.arange(0, LEFT)
    groups, left = tl.load(found + row), tl.load(found + q + row)
    least: tl.constexpr = -9223372036854775807
    ordered = tl.sort(tl.load(keys + row * LEFT + at, mask=at < left, other=least), descending=True)
    rising = (ordered >> 32).to(tl.int32)
    bits = tl.where(rising < 0, rising ^ 0x7FFFFFFF, rising)
    tl.store(best + row * k + at, bits.to(tl.float32, bitcast=True), mask=at < k)
    tl.store(where + row * k + at, 4294967295 - (ordered & 4294967295), mask=at < k)
    tl.store(proven + row, ((groups <= GROUPS) & (left <= LEFT)).to(tl.int32))
